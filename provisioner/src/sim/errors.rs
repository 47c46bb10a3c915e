//! Bad input and bad luck: what each says, and its exit code. docs/errors.md is this table for people.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use localcloud::core::faults::Effect;
use localcloud::core::options::{SpotBlock, SpotFailure};
use localcloud::core::{Fault, Options};

use super::{Run, World, example_with};

/// Holds a run that failed against its exit code and the parts of its message, in their order.
fn says(name: &str, run: &Run, code: u8, parts: &[&str]) {
    assert_eq!(run.code, code, "{name}: {}", run.stderr);
    let from = run.stderr.find("error: ").unwrap_or_else(|| panic!("{name}: no error in {}", run.stderr));
    let mut rest = &run.stderr[from..];
    for part in parts {
        let at =
            rest.find(part).unwrap_or_else(|| panic!("{name}: {part:?} is missing (in this order) in {}", run.stderr));
        rest = &rest[at + part.len()..];
    }
}

/// What is found in the file or the flags before any call.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_in_the_file_is_said_before_any_call() {
    let job = |extra: &str| format!("vcpus = 1\n{extra}");
    let cases = [
        (
            "61 minutes",
            "duration = \"60m\"",
            "duration = \"61m\"".to_owned(),
            &[":17: [block] duration: 1h 1m is not possible: a spot block lasts 60, 120, 180, 240, 300 or 360 minutes"]
                [..],
        ),
        (
            "unknown key",
            "max-price = 0.03",
            "max-prize = 0.03".to_owned(),
            &[":20: unknown key `max-prize`: did you mean `max-price`?"],
        ),
        (
            "wrong unit",
            "memory = \"256MiB\"",
            "memory = \"40m\"".to_owned(),
            &[
                ":13: [[job-definition]] hello-world memory: \"40m\" is a duration, not a size: write one such as \"256MiB\"",
            ],
        ),
        (
            "no unit",
            "duration = \"60m\"",
            "duration = 60".to_owned(),
            &[":17: [block] duration: 60 has no unit: write \"60s\", \"60m\" or \"60h\""],
        ),
        (
            "lead longer than the block",
            "instance-profile = \"ecsInstanceRole\"",
            "instance-profile = \"ecsInstanceRole\"\n[agent]\ndrain-lead = \"61m\"".to_owned(),
            &[":28: [agent] drain-lead: 1h 1m leaves no time in a block of 1h"],
        ),
        (
            "timeout that fits no fresh block",
            "vcpus = 1",
            job("timeout = \"55m\""),
            &["timeout: 55m fits no fresh block: at most 50m (the block lasts 1h, less 5m to boot and stop-lead 5m)"],
        ),
        (
            "job name with a space",
            "name = \"hello-world\"",
            "name = \"hello world\"".to_owned(),
            &[":10: [[job-definition]] name: \"hello world\" must be 1 to 128 letters, digits, `-` and `_`"],
        ),
        (
            "a subnet twice",
            "subnets = [\"subnet-c8d30ae4\"]",
            "subnets = [\"subnet-c8d30ae4\", \"subnet-c8d30ae4\"]".to_owned(),
            &[":24: [block] subnets: \"subnet-c8d30ae4\" is listed twice"],
        ),
        (
            "zone of another region",
            "zone = \"us-east-1c\"",
            "zone = \"eu-west-1c\"".to_owned(),
            &[":25: [block] zone: \"eu-west-1c\" is not in region \"us-east-1\""],
        ),
        (
            "types and needs",
            "instances = 1",
            "instances = 1\nvcpus = 2".to_owned(),
            &[":19: [block] instance-types: given together with vcpus, memory, gpus or arch"],
        ),
        (
            "neither types nor needs",
            "instance-types = [\"t2.micro\"]\n",
            String::new(),
            &["[block] instance-types is missing: give instance-types (--instance-type), or what an instance needs"],
        ),
        (
            "needs of no size",
            "instance-types = [\"t2.micro\"]",
            "arch = \"arm64\"".to_owned(),
            &[":18: [block] arch: goes with vcpus, memory or gpus: give one of them too"],
        ),
        (
            "an architecture that isn't",
            "instance-types = [\"t2.micro\"]",
            "vcpus = 1\narch = \"arm\"".to_owned(),
            &[":19: [block] arch: \"arm\" is neither \"x86_64\" nor \"arm64\""],
        ),
        (
            "no region",
            "region = \"us-east-1\"",
            String::new(),
            &["error: no region was found", "next: set `region` in"],
        ),
    ];
    for (name, from, to, parts) in cases {
        let world = World::with_config(Options::default(), &example_with(from, &to));
        says(name, &world.run(&["up"]).await, 2, parts);
        assert_eq!(world.calls(), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn user_data_over_16_kib_is_said_before_any_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("extra.sh");
    std::fs::write(&path, format!("#!/bin/sh\n#{}\n", "x".repeat(16 * 1024))).expect("written");
    let agent = format!("instance-profile = \"ecsInstanceRole\"\n[agent]\nextra-user-data = {path:?}");
    let config = example_with("instance-profile = \"ecsInstanceRole\"", &agent);
    let world = World::with_config(Options::default(), &config);
    let parts =
        ["the user data has ", " bytes, and EC2 takes 16384", "next: make the file of [agent] extra-user-data smaller"];
    says("16 KiB", &world.run(&["up"]).await, 2, &parts);
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_can_not_be_are_not_submitted() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let run = world.run(&["submit", "-j", "hello-world", "--name", "my job"]).await;
    says("job name", &run, 2, &["\"my job\" is no name for a job", "next: a job's name has 1 to 128 letters"]);
    let run = world.run(&["submit", "-j", "hello-wrld"]).await;
    says("definition", &run, 2, &["there is no job definition hello-wrld", "next: did you mean hello-world?"]);
    // Registered with a timeout by hand: the file says nothing of it.
    let definition = serde_json::json!({
        "jobDefinitionName": "hello-world", "type": "container", "timeout": {"attemptDurationSeconds": 7200},
        "containerProperties": {"image": "x", "resourceRequirements": [
            {"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "4"}]},
    });
    world.batch_by_hand("RegisterJobDefinition", &definition);
    let run = world.run(&["submit", "-j", "hello-world"]).await;
    let parts = [
        "has a timeout of 2h, and a fresh block has room for 50m",
        "next: make the block longer or the timeout shorter",
    ];
    says("timeout", &run, 2, &parts);
    assert_eq!(world.accepted("SubmitJob").len(), 0);
}

/// What only AWS can know: found before anything is recorded or bought.
#[tokio::test(start_paused = true)]
async fn what_disagrees_in_aws_is_said_before_anything_is_bought() {
    for (name, from, to, code, parts) in [
        (
            "zone and subnet",
            "zone = \"us-east-1c\"",
            "zone = \"us-east-1a\"",
            2,
            &["[block] zone is us-east-1a, but subnet subnet-c8d30ae4 is in us-east-1c", "next: leave zone out"][..],
        ),
        (
            "security group of another VPC",
            "sg-55964223",
            "sg-82d5b718",
            2,
            &[
                "security group sg-82d5b718 is in vpc-0d3c7b51, but subnet subnet-c8d30ae4 is in vpc-9f4a21e8",
                "next: give",
            ],
        ),
        (
            "subnet that isn't there",
            "subnet-c8d30ae4",
            "subnet-00000000",
            1,
            &[
                "ec2:DescribeSubnets for subnet-00000000 failed: InvalidSubnetID.NotFound",
                "(request id ",
                "next: check that",
            ],
        ),
        (
            "image that isn't there",
            "ami-a7a242da",
            "ami-00000000",
            1,
            &["ec2:DescribeImages for ami-00000000 failed: InvalidAMIID.NotFound", "(request id ", "next: check that"],
        ),
        (
            "profile that isn't there",
            "ecsInstanceRole",
            "nobody",
            1,
            &["instance profile nobody is not there", "next: create it, or change [block] instance-profile"],
        ),
        (
            "service role that isn't there",
            "BatchServiceRole",
            "nobody",
            1,
            &["service role nobody is not there", "next: create it, or change [environment] service-role"],
        ),
    ] {
        let world = World::with_config(Options::default(), &example_with(from, to));
        says(name, &world.run(&["up"]).await, code, parts);
        assert_eq!(world.accepted("CreateLaunchTemplate").len(), 0, "{name}");
        assert_eq!(world.launched().len(), 0, "{name}");
    }
}

#[derive(Debug)]
struct NoCredentials(fn() -> CredentialsError);

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test(start_paused = true)]
async fn missing_credentials_are_said_with_where_to_get_some() {
    let none = || CredentialsError::not_loaded("no providers in chain provided credentials");
    let sso = || CredentialsError::provider_error("the SSO token has expired, or is missing");
    for (name, problem, next) in [
        ("none", none as fn() -> CredentialsError, "next: no credentials were found: run `aws configure` or"),
        ("expired SSO", sso, "next: the credentials have expired: sign in again (`aws sso login`, or new keys)"),
    ] {
        let world = World::new(Options::default());
        let world = world.with_credentials(SharedCredentialsProvider::new(NoCredentials(problem)));
        let run = world.run(&["up"]).await;
        says(name, &run, 1, &["batch:DescribeComputeEnvironments for spot-block-test failed: ", next]);
        assert_eq!(world.calls(), 0);
    }
}

fn fault(world: &World, operation: &str, effect: Effect) {
    let operation = Some(operation.to_owned());
    let fault = Fault { service: None, operation, caller: None, skip: 0, count: u32::MAX, effect };
    world.cloud(|cloud| cloud.add_fault(fault));
}

/// What AWS says about the caller rather than about the call.
#[tokio::test(start_paused = true)]
async fn what_aws_says_about_the_caller_is_said_with_what_to_do() {
    let expired = "next: the credentials have expired: sign in again";
    for (operation, code, next) in [
        ("DescribeComputeEnvironments", "ExpiredTokenException", expired),
        ("GetRole", "ExpiredToken", expired),
        ("CreateLaunchTemplate", "RequestExpired", expired),
        ("RequestSpotInstances", "RequestExpired", expired),
        (
            "GetRole",
            "InvalidClientTokenId",
            "next: AWS doesn't accept these credentials: check `aws sts get-caller-identity`",
        ),
        ("DescribeSubnets", "AuthFailure", "next: AWS doesn't accept these credentials"),
        (
            "RequestSpotInstances",
            "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
            "next: this account has never had spot instances: run `aws iam create-service-linked-role",
        ),
        (
            "RequestSpotInstances",
            "IdempotentParameterMismatch",
            "next: the block was bought already, with other parameters",
        ),
    ] {
        let world = World::new(Options::default());
        fault(&world, operation, Effect::Fail { code: code.into(), status: 400, message: "so it is".into() });
        let run = world.run(&["up"]).await;
        says(code, &run, 1, &[&format!(":{operation} for "), &format!(" failed: {code}: so it is (request id "), next]);
        assert_eq!(world.launched().len(), 0, "{code}");
        // It says nothing about the block: when it is repaired, the same one is bought.
        world.cloud(localcloud::core::Cloud::clear_faults);
        let again = world.run(&["up"]).await;
        assert_eq!(again.code, 0, "{code}: {}", again.stderr);
        assert_eq!(world.accepted("CreateLaunchTemplate").len(), 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn aws_that_can_not_be_reached_is_given_up_after_some_time() {
    let world = World::new(Options::default());
    world.cut_off();
    let start = world.now();
    let run = world.run(&["up"]).await;
    let parts = [
        "batch:DescribeComputeEnvironments for spot-block-test failed: ",
        "connection refused",
        "next: AWS's endpoint gave no answer: check the network, --region and --endpoint-url",
    ];
    says("connection refused", &run, 1, &parts);
    assert!(start.duration_until(world.now()).as_secs() < 60);

    let world = World::new(Options::default());
    fault(&world, "DescribeComputeEnvironments", Effect::Hang { secs: 3600 });
    let start = world.now();
    says("no answer", &world.run(&["up"]).await, 1, &["batch:DescribeComputeEnvironments", "gave no answer"]);
    assert!(start.duration_until(world.now()).as_secs() < 120);
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_never_becomes_usable_is_given_up() {
    let config = example_with("instance-profile = \"ecsInstanceRole\"\n", "");
    let mut options = Options::default();
    options.pace.profile_ms = 3_600_000;
    let world = World::with_config(options, &config);
    let parts = [
        "instance profile spotblock-spot-block-test-instance to be usable: not within 2 min",
        "seen last: ec2:RequestSpotInstances for block sb-",
        "InvalidParameterValue",
        "Invalid IAM Instance Profile name",
        "(request id ",
        "next: nothing was bought. Check `aws iam get-instance-profile --instance-profile-name spotblock-",
    ];
    says("profile", &world.run(&["up"]).await, 4, &parts);
    assert_eq!(world.launched().len(), 0);
    world.cloud(|cloud| cloud.options.pace.profile_ms = 0);
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(world.accepted("CreateLaunchTemplate").len(), 1, "the same block goes on");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_brings_nothing_says_why() {
    let failing = |failure| Options { spot_failure: Some(failure), ..Options::default() };
    for (name, options, code, parts) in [
        (
            "bad-parameters",
            failing(SpotFailure::BadParameters),
            1,
            &[
                "ended with bad-parameters (Your Spot request failed due to bad parameters.)",
                "next: nothing was bought",
            ][..],
        ),
        (
            "system-error",
            failing(SpotFailure::SystemError),
            1,
            &["ended with system-error", "next: nothing was bought"],
        ),
        (
            "limit-exceeded",
            failing(SpotFailure::LimitExceeded),
            3,
            &["ended with limit-exceeded", "next: nothing was bought"],
        ),
        (
            "price-too-low",
            Options { spot_price: Some(1.0), ..Options::default() },
            3,
            &[
                "ended with schedule-expired",
                "after price-too-low (Your Spot request price of 0.03",
                "Raise [block] max-price",
            ],
        ),
        (
            "capacity-not-available",
            Options { spot_capacity: Some(0), ..Options::default() },
            3,
            &["ended with schedule-expired", "after capacity-not-available (", "--valid-for waits longer"],
        ),
        (
            "spot blocks are not sold",
            Options { spot_block: SpotBlock::Refuse, ..Options::default() },
            3,
            &[
                "AWS refuses to sell block sb-",
                "cause: ec2:RequestSpotInstances",
                "InvalidParameterValue",
                "next: nothing was",
            ],
        ),
    ] {
        let world = World::new(options);
        let run = world.run(&["up"]).await;
        says(name, &run, code, parts);
        assert_eq!(world.launched().len(), 0, "{name}");
        // It is written down: the next run begins another block.
        world.cloud(|cloud| cloud.options = Options::default());
        assert_eq!(world.run(&["up"]).await.code, 0, "{name}");
        assert_eq!(world.accepted("CreateLaunchTemplate").len(), 2, "{name}");
    }
}

/// Catches: a part of a block that is left running, paid for, after the user was told that there is none.
#[tokio::test(start_paused = true)]
async fn it_is_all_or_nothing() {
    let options = Options { spot_capacity: Some(2), ..Options::default() };
    let world = World::with_config(options, &example_with("instances = 1", "instances = 3"));
    let parts = ["too few instances came", "schedule-expired", "next: what came was given back"];
    says("2 of 3", &world.run(&["up"]).await, 3, &parts);
    assert_eq!((world.launched().len(), world.alive()), (2, 0));
    let status = world.run(&["status"]).await;
    assert!(status.stdout.contains("spot-block refused: schedule-expired"), "{}", status.stdout);
}

#[tokio::test(start_paused = true)]
async fn part_of_a_block_is_kept_where_it_is_enough() {
    let options = Options { spot_capacity: Some(2), ..Options::default() };
    let world = World::with_config(options, &example_with("instances = 1", "instances = 3"));
    let command = ["up", "--partial", "2"];
    for _ in 0..2 {
        let run = world.run(&command).await;
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stderr.contains("has 2 of 3 instances"), "{}", run.stderr);
    }
    assert_eq!((world.alive(), world.accepted("CreateLaunchTemplate").len()), (2, 1));
    world.cloud(|cloud| cloud.options.spot_capacity = None);
    assert_eq!(world.run(&["up", "--new"]).await.code, 0);
    assert_eq!(world.alive(), 5);
    // Too little is nothing.
    world.cloud(|cloud| cloud.options.spot_capacity = Some(1));
    says("1 of 3", &world.run(&["up", "--new", "--partial", "2"]).await, 3, &["next: what came was given back"]);
    assert_eq!(world.alive(), 5);
}

#[tokio::test(start_paused = true)]
async fn one_of_three_that_never_joins_is_named() {
    let world = World::with_config(Options::default(), &example_with("instances = 1", "instances = 3"));
    world.break_instances(1);
    let run = world.run(&["up", "--timeout", "3m"]).await;
    let broken = world.launched()[0].clone();
    let parts = [
        "the instances of block sb-",
        " to join the cluster: not within 3 min",
        &format!("seen last: 2 of 3 joined; not yet: {broken} (running)"),
        "Check with `spotblock doctor ",
        &broken,
    ];
    says("one of three", &run, 4, &parts);
    assert_eq!(world.accepted("RequestSpotInstances").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_image_without_the_agent_is_named_with_what_to_check() {
    let world = World::with_config(Options::default(), &example_with("ami-a7a242da", "ami-000a9e4700000f00d"));
    let run = world.run(&["up", "--timeout", "2m"]).await;
    let parts = [
        "seen last: 0 of 1 joined; not yet: i-",
        "that image ami-000a9e4700000f00d carries spotblock-agent ([agent] from = \"ami\")",
        "that ECS can be reached from subnet-c8d30ae4",
        "the role of ecsInstanceRole has the policy of the agent",
    ];
    says("no agent", &run, 4, &parts);
}

/// Catches: a wait that a single failure ends, and one that nothing ends.
#[tokio::test(start_paused = true)]
async fn a_wait_survives_a_minute_of_failing_calls_but_no_lasting_one() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let operation = Some("DescribeContainerInstances".to_owned());
    let effect = Effect::Fail { code: "ServerException".into(), status: 500, message: "sorry".into() };
    // More than the SDK's own retries survive.
    let fault = Fault { service: None, operation, caller: None, skip: 0, count: 12, effect };
    world.cloud(|cloud| cloud.add_fault(fault));
    let run = world.run(&["request"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("ServerException: sorry"), "it shows what it waits through: {}", run.stderr);

    let world = World::new(Options::default());
    world.cloud(|cloud| cloud.options.pace.batch_ms = 3_600_000);
    let start = world.now();
    let run = world.run(&["up"]).await;
    let parts = [
        "compute environment spot-block-test to be VALID: not within 5 min",
        "seen last: CREATING",
        "next: run the same",
    ];
    says("CREATING for ever", &run, 4, &parts);
    assert!(start.duration_until(world.now()).unsigned_abs() < Duration::from_secs(320));
}
