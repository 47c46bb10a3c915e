//! What is waited for and never comes.

use std::time::Duration;

use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options};

use super::super::{World, example_with};
use super::says;

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
        "next: nothing was bought. Check `aws iam get-instance-profile --instance-profile-name \
         spotblock-",
    ];
    says("profile", &world.run(&["up"]).await, 4, &parts);
    assert_eq!(world.launched().len(), 0);
    world.cloud(|cloud| cloud.options.pace.profile_ms = 0);
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(world.accepted("CreateLaunchTemplate").len(), 1, "the same block goes on");
}

#[tokio::test(start_paused = true)]
async fn one_of_three_that_never_joins_is_named() {
    let world =
        World::with_config(Options::default(), &example_with("instances = 1", "instances = 3"));
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
    let world = World::with_config(
        Options::default(),
        &example_with("ami-a7a242da", "ami-000a9e4700000f00d"),
    );
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
    let effect =
        Effect::Fail { code: "ServerException".into(), status: 500, message: "sorry".into() };
    // More than the SDK's own retries survive.
    let fault = Fault { service: None, operation, caller: None, skip: 0, count: 12, effect };
    world.cloud(|cloud| cloud.add_fault(fault));
    let run = world.run(&["request"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("ServerException: sorry"),
        "it shows what it waits through: {}",
        run.stderr
    );

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
