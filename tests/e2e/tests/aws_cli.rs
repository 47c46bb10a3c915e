//! The eight steps by hand, with the AWS CLI, as its users did them before.

use std::path::PathBuf;

use serde_json::Value;

use crate::world::{World, any_gone, job_is};

/// The AWS CLI that `make test` installs.
fn aws() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/aws");
    assert!(path.is_file(), "{} is missing: run `make test`, which installs it", path.display());
    path
}

async fn step(world: &World, arguments: &[&str]) -> Value {
    let run = world
        .run(&aws(), arguments)
        .await
        .success()
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    if run.stdout.trim().is_empty() { Value::Null } else { run.json().expect("JSON") }
}

/// Asks until `pointer` has the wanted value, as people do.
async fn until(world: &World, arguments: &[&str], pointer: &str, wanted: &str) -> Value {
    for _ in 0..20 {
        let answer = step(world, arguments).await;
        if answer.pointer(pointer).and_then(Value::as_str) == Some(wanted) {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    panic!("{arguments:?}: never {wanted} at {pointer}");
}

#[tokio::test]
async fn the_aws_cli_does_the_eight_steps_by_hand() {
    let world = World::new("spot-block-test.toml", &[]).await;
    // 1. to 3.: environment, queue, job definition.
    step(
        &world,
        &[
            "batch",
            "create-compute-environment",
            "--compute-environment-name",
            "by-hand",
            "--type",
            "UNMANAGED",
            "--state",
            "ENABLED",
            "--service-role",
            "arn:aws:iam::123456789012:role/BatchServiceRole",
        ],
    )
    .await;
    let described = ["batch", "describe-compute-environments", "--compute-environments", "by-hand"];
    let environment = until(&world, &described, "/computeEnvironments/0/status", "VALID").await;
    step(
        &world,
        &[
            "batch",
            "create-job-queue",
            "--job-queue-name",
            "by-hand",
            "--state",
            "ENABLED",
            "--priority",
            "1",
            "--compute-environment-order",
            "order=1,computeEnvironment=by-hand",
        ],
    )
    .await;
    until(
        &world,
        &["batch", "describe-job-queues", "--job-queues", "by-hand"],
        "/jobQueues/0/status",
        "VALID",
    )
    .await;
    step(
        &world,
        &["batch", "register-job-definition", "--job-definition-name", "hello-world", "--type", "container",
          "--container-properties",
          r#"{"image":"hello-world","resourceRequirements":[{"type":"VCPU","value":"1"},{"type":"MEMORY","value":"256"}]}"#],
    )
    .await;
    // 4. and 5.: the profile is there; the cluster is what Batch says.
    let profile = step(
        &world,
        &["iam", "get-instance-profile", "--instance-profile-name", "ecsInstanceRole"],
    )
    .await;
    assert_eq!(
        profile.pointer("/InstanceProfile/Roles/0/RoleName"),
        Some(&"ecsInstanceRole".into())
    );
    let cluster = environment
        .pointer("/computeEnvironments/0/ecsClusterArn")
        .and_then(Value::as_str)
        .expect("a cluster");
    // 6.: user data.
    let run = world.spotblock(&["user-data", "--cluster", cluster, "--format", "base64"]).await;
    let user_data = run.success().expect("user data").stdout.trim().to_owned();
    // 7. and 8.: a job, and the block.
    step(
        &world,
        &[
            "batch",
            "submit-job",
            "--job-name",
            "TestSpotBlock",
            "--job-queue",
            "by-hand",
            "--job-definition",
            "hello-world",
        ],
    )
    .await;
    let launch = format!(
        r#"{{"ImageId":"ami-a7a242da","InstanceType":"t2.micro","KeyName":"jewart","SubnetId":"subnet-c8d30ae4",
            "SecurityGroupIds":["sg-55964223"],"IamInstanceProfile":{{"Name":"ecsInstanceRole"}},"UserData":"{user_data}"}}"#
    );
    step(
        &world,
        &[
            "ec2",
            "request-spot-instances",
            "--spot-price",
            "0.03",
            "--instance-count",
            "1",
            "--type",
            "one-time",
            "--block-duration-minutes",
            "60",
            "--launch-specification",
            &launch,
        ],
    )
    .await;
    world.until("the job's success", |events| job_is(events, "TestSpotBlock", "SUCCEEDED")).await;

    let list = step(&world, &["ecs", "list-container-instances", "--cluster", cluster]).await;
    assert_eq!(list["containerInstanceArns"].as_array().map(Vec::len), Some(1), "{list}");
    let instance = world.instance().await;
    step(&world, &["ec2", "terminate-instances", "--instance-ids", &instance]).await;
    world.until("the instance's end", any_gone).await;
    world.cloud.stop().await.expect("it ends");
}
