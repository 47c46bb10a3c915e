//! What is wrong in the file and the flags, by itself or beside what is in AWS: said before
//! anything is bought.

use localcloud_core::Options;

use super::super::{World, example_with};
use super::says;

/// What is found in the file or the flags before any call.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_in_the_file_is_said_before_any_call() {
    let job = |extra: &str| format!("vcpus = 1\n{extra}");
    let cases = [
        (
            "61 minutes",
            "duration = \"60m\"",
            "duration = \"61m\"".to_owned(),
            &[":17: [block] duration: 1h 1m is not possible: a spot block lasts 60, 120, 180, \
                 240, 300 or 360 minutes"][..],
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
            &[":13: [[job-definition]] hello-world memory: \"40m\" is a duration, not a size: \
                 write one such as \"256MiB\""],
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
            &["timeout: 55m fits no fresh block: at most 50m (the block lasts 1h, less 5m to \
                 boot and stop-lead 5m)"],
        ),
        (
            "job name with a space",
            "name = \"hello-world\"",
            "name = \"hello world\"".to_owned(),
            &[":10: [[job-definition]] name: \"hello world\" must be 1 to 128 letters, digits, \
                 `-` and `_`"],
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
            &["[block] instance-types is missing: give instance-types (--instance-type), or \
                 what an instance needs"],
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
    let agent =
        format!("instance-profile = \"ecsInstanceRole\"\n[agent]\nextra-user-data = {path:?}");
    let config = example_with("instance-profile = \"ecsInstanceRole\"", &agent);
    let world = World::with_config(Options::default(), &config);
    let parts = [
        "the user data has ",
        " bytes, and EC2 takes 16384",
        "next: make the file of [agent] extra-user-data smaller",
    ];
    says("16 KiB", &world.run(&["up"]).await, 2, &parts);
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_can_not_be_are_not_submitted() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let run = world.run(&["submit", "-j", "hello-world", "--name", "my job"]).await;
    says(
        "job name",
        &run,
        2,
        &["\"my job\" is no name for a job", "next: a job's name has 1 to 128 letters"],
    );
    let run = world.run(&["submit", "-j", "hello-wrld"]).await;
    says(
        "definition",
        &run,
        2,
        &["there is no job definition hello-wrld", "next: did you mean hello-world?"],
    );
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
            &[
                "[block] zone is us-east-1a, but subnet subnet-c8d30ae4 is in us-east-1c",
                "next: leave zone out",
            ][..],
        ),
        (
            "security group of another VPC",
            "sg-55964223",
            "sg-82d5b718",
            2,
            &[
                "security group sg-82d5b718 is in vpc-0d3c7b51, but subnet subnet-c8d30ae4 is in \
                 vpc-9f4a21e8",
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
            &[
                "ec2:DescribeImages for ami-00000000 failed: InvalidAMIID.NotFound",
                "(request id ",
                "next: check that",
            ],
        ),
        (
            "profile that isn't there",
            "ecsInstanceRole",
            "nobody",
            1,
            &[
                "instance profile nobody is not there",
                "next: create it, or change [block] instance-profile",
            ],
        ),
        (
            "service role that isn't there",
            "BatchServiceRole",
            "nobody",
            1,
            &[
                "service role nobody is not there",
                "next: create it, or change [environment] service-role",
            ],
        ),
    ] {
        let world = World::with_config(Options::default(), &example_with(from, to));
        says(name, &world.run(&["up"]).await, code, parts);
        assert_eq!(world.accepted("CreateLaunchTemplate").len(), 0, "{name}");
        assert_eq!(world.launched().len(), 0, "{name}");
    }
}
