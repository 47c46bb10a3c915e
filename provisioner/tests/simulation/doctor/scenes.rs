//! A scene on the local cloud for each cause that the doctor knows. A cause that is new doesn't
//! compile until it has one.

use std::time::Duration;

use localcloud_core::{Options, ec2};
use serde_json::{Value, json};
use spotblock::Cause;

use super::super::{World, example_with};
use super::{environment, live, stuck, submitted};
use crate::EXAMPLE;

/// The role that Batch can't assume: there is none of this name.
const NOBODY: &str = "arn:aws:iam::123456789012:role/Nobody";

/// A world in which a cause holds, and what the doctor is asked about.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) about: Option<String>,
}

fn all_of(world: World) -> Scene {
    Scene { world, about: None }
}

fn one(world: World, about: impl Into<String>) -> Scene {
    Scene { world, about: Some(about.into()) }
}

/// Makes a cause happen.
pub(super) async fn scene(cause: Cause) -> Scene {
    match cause {
        Cause::EnvironmentMissing => all_of(World::new(Options::default())),
        Cause::EnvironmentInvalid => all_of(invalid_environment().await),
        Cause::EnvironmentDisabled => all_of(disabled_environment().await),
        Cause::QueueMissing => all_of(without_queue().await),
        Cause::QueueDisabled => all_of(disabled_queue().await),
        Cause::QueueInvalid => all_of(invalid_queue().await),
        Cause::QueueElsewhere => all_of(queue_of_another().await),
        Cause::InstanceGone => gone().await,
        Cause::AgentDisconnected => disconnected().await,
        Cause::Draining => draining().await,
        Cause::WrongCluster => in_the_wrong_cluster().await,
        Cause::NoProfile => without_rights(Without::Profile).await,
        Cause::NoRole => without_rights(Without::Role).await,
        Cause::NoPolicy => without_rights(Without::Policy).await,
        Cause::NoAgent => {
            says_on_console("spotblock: this image has no spotblock-agent: powering off").await
        }
        Cause::UserDataFailed => {
            says_on_console("spotblock: can't fetch https://x/agent.tgz: powering off").await
        }
        Cause::NoRoute => in_subnet("subnet-b508ea4b").await,
        Cause::NoPublicAddress => in_subnet("subnet-93e6c829").await,
        Cause::Booting => booting().await,
        Cause::NeverJoined => never_joined().await,
        Cause::Submitted => just_submitted().await,
        Cause::Dependent => dependent().await,
        Cause::NoInstance => waits(environment(World::new(Options::default())).await, &[]).await,
        Cause::NoneJoined => waits(stuck(&[]).await.0, &[]).await,
        Cause::NoneOpen => waits(draining().await.world, &[]).await,
        Cause::NoGpu => waits(live(EXAMPLE).await, &["--gpus", "1"]).await,
        Cause::TooBig => waits(live(EXAMPLE).await, &["--vcpus", "4"]).await,
        Cause::NoRoom => behind_another().await,
        Cause::Room => about_to_be_placed().await,
        Cause::TooLate => too_long_for_what_is_left().await,
        Cause::Architecture => ran(&["--env", "LOCALCLOUD_PLATFORM=linux/arm64"]).await,
        Cause::StoppedAgain => stopped_by_two_blocks().await,
        Cause::Failed => ran(&["--env", "LOCALCLOUD_EXIT=9"]).await,
    }
}

async fn a_moment(world: &World) {
    world.pass(Duration::from_secs(5)).await;
}

async fn invalid_environment() -> World {
    let world = World::new(Options::default());
    let nobody = json!({"computeEnvironmentName": "spot-block-test", "type": "UNMANAGED", "serviceRole": NOBODY});
    world.batch_by_hand("CreateComputeEnvironment", &nobody);
    a_moment(&world).await;
    world
}

async fn applied() -> World {
    environment(World::new(Options::default())).await
}

async fn disabled_environment() -> World {
    let world = applied().await;
    let disabled = json!({"computeEnvironment": "spot-block-test", "state": "DISABLED"});
    world.batch_by_hand("UpdateComputeEnvironment", &disabled);
    world
}

async fn disabled_queue() -> World {
    let world = applied().await;
    world.batch_by_hand(
        "UpdateJobQueue",
        &json!({"jobQueue": "SpotBlockQueue", "state": "DISABLED"}),
    );
    a_moment(&world).await;
    world
}

async fn without_queue() -> World {
    let world = disabled_queue().await;
    world.batch_by_hand("DeleteJobQueue", &json!({"jobQueue": "SpotBlockQueue"}));
    a_moment(&world).await;
    world
}

/// A second environment, beside the one that was applied.
async fn with_another() -> World {
    let world = applied().await;
    let described = world.batch_by_hand("DescribeComputeEnvironments", &json!({}));
    let described: Value = serde_json::from_str(&described).expect("JSON");
    let role = &described["computeEnvironments"][0]["serviceRole"];
    let other =
        json!({"computeEnvironmentName": "other", "type": "UNMANAGED", "serviceRole": role});
    world.batch_by_hand("CreateComputeEnvironment", &other);
    a_moment(&world).await;
    world
}

async fn bind(world: &World, environments: &[&str]) {
    let order = environments.iter().enumerate();
    let order: Vec<Value> =
        order.map(|(n, name)| json!({"order": n + 1, "computeEnvironment": name})).collect();
    world.batch_by_hand(
        "UpdateJobQueue",
        &json!({"jobQueue": "SpotBlockQueue", "computeEnvironmentOrder": order}),
    );
    a_moment(world).await;
}

async fn queue_of_another() -> World {
    let world = with_another().await;
    bind(&world, &["other"]).await;
    world
}

/// It is bound to a second environment whose role is gone.
async fn invalid_queue() -> World {
    let world = with_another().await;
    bind(&world, &["spot-block-test", "other"]).await;
    let broken = json!({"computeEnvironment": "other", "serviceRole": NOBODY});
    world.batch_by_hand("UpdateComputeEnvironment", &broken);
    a_moment(&world).await;
    world.batch_by_hand("UpdateJobQueue", &json!({"jobQueue": "SpotBlockQueue", "priority": 7}));
    a_moment(&world).await;
    world
}

async fn with_instance() -> (World, String) {
    let world = live(EXAMPLE).await;
    let instance = world.launched()[0].clone();
    (world, instance)
}

async fn gone() -> Scene {
    let (world, instance) = with_instance().await;
    let now = world.now();
    world.cloud(|cloud| ec2::power_off(cloud, now, &instance));
    a_moment(&world).await;
    one(world, instance)
}

async fn disconnected() -> Scene {
    let (world, instance) = with_instance().await;
    let now = world.now();
    world.cloud(|cloud| cloud.agent_connected(now, &instance, false));
    one(world, instance)
}

async fn draining() -> Scene {
    let (world, instance) = with_instance().await;
    world.drain_by_hand(&instance);
    one(world, instance)
}

async fn in_the_wrong_cluster() -> Scene {
    let (world, instance) = stuck(&[]).await;
    world.ecs_by_hand("CreateCluster", &json!({"clusterName": "default"}));
    world.register(&instance, "default");
    one(world, instance)
}

/// What is missing of a chain, of which all that comes before is there.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Without {
    Policy,
    Role,
    Profile,
}

async fn without_rights(without: Without) -> Scene {
    let (world, instance) = stuck(&[("instance-profile = \"ecsInstanceRole\"\n", "")]).await;
    let role = "spotblock-spot-block-test-instance";
    world.by_hand("iam", &format!("Action=DeleteRolePolicy&RoleName={role}&PolicyName=spotblock"));
    let removed =
        format!("Action=RemoveRoleFromInstanceProfile&RoleName={role}&InstanceProfileName={role}");
    if without >= Without::Role {
        world.by_hand("iam", &removed);
    }
    if without >= Without::Profile {
        world.by_hand("iam", &format!("Action=DeleteInstanceProfile&InstanceProfileName={role}"));
    }
    one(world, instance)
}

async fn says_on_console(said: &str) -> Scene {
    let (world, instance) = stuck(&[]).await;
    world.cloud(|cloud| ec2::console_says(cloud, &instance, said));
    one(world, instance)
}

async fn in_subnet(subnet: &str) -> Scene {
    let (world, instance) = stuck(&[("subnet-c8d30ae4", subnet)]).await;
    one(world, instance)
}

async fn booting() -> Scene {
    let world = World::new(Options::default());
    world.break_instances(1);
    super::up_for(&world, 60).await;
    let instance = world.launched()[0].clone();
    one(world, instance)
}

async fn never_joined() -> Scene {
    let (world, instance) = stuck(&[]).await;
    one(world, instance)
}

async fn waits(world: World, more: &[&str]) -> Scene {
    submitted(&world, more).await;
    one(world, "hello-world")
}

async fn just_submitted() -> Scene {
    let mut options = Options::default();
    options.pace.submitted_ms = 60_000;
    waits(environment(World::new(options)).await, &[]).await
}

async fn dependent() -> Scene {
    let world = applied().await;
    let first = world.run(&["submit", "-j", "hello-world", "-o", "json"]).await.stdout;
    let first = serde_json::from_str::<Value>(&first).expect("JSON")[0]["id"].clone();
    submitted(&world, &["--name", "after", "--depends-on", first.as_str().expect("an id")]).await;
    one(world, "after")
}

/// The first takes the whole CPU; nobody runs it here, so it stays.
async fn behind_another() -> Scene {
    let world = live(EXAMPLE).await;
    submitted(&world, &["--name", "first"]).await;
    waits(world, &[]).await
}

async fn about_to_be_placed() -> Scene {
    let world = live(EXAMPLE).await;
    let run = world.run(&["submit", "-j", "hello-world"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    one(world, "hello-world")
}

async fn too_long_for_what_is_left() -> Scene {
    let world = live(EXAMPLE).await;
    world.pass(Duration::from_secs(30 * 60)).await;
    let long = json!({
        "jobName": "long", "jobQueue": "SpotBlockQueue", "jobDefinition": "hello-world",
        "timeout": {"attemptDurationSeconds": 2400},
    });
    world.batch_by_hand("SubmitJob", &long);
    one(world, "long")
}

/// Instances that run what they are given, and end with their block.
pub(crate) async fn that_runs(config: &str) -> World {
    let world = World::with_config(Options { light_nodes_above: 0, ..Options::default() }, config);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

/// A job that has run by now.
async fn ran(more: &[&str]) -> Scene {
    let scene = waits(that_runs(EXAMPLE).await, more).await;
    scene.world.pass_slowly(Duration::from_secs(10)).await;
    scene
}

async fn stopped_by_two_blocks() -> Scene {
    let world =
        that_runs(&example_with("vcpus = 1", "vcpus = 1\ncommand = [\"sleep\", \"86400\"]")).await;
    submitted(&world, &["--attempts", "3"]).await;
    world.pass_slowly(Duration::from_secs(65 * 60)).await;
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world.pass_slowly(Duration::from_secs(65 * 60)).await;
    one(world, "hello-world")
}
