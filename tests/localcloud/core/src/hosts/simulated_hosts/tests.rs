use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use node_contract::{End, NodeConfig, Options as Optional, Source, VERSION};
use serde_json::json;

use super::*;
use crate::cloud::ec2;
use crate::cloud::testing::{World, all};
use crate::journal::record::What;
use crate::protocol::{Caller, Options};
use crate::services::ec2::{ECS_IMAGES, State};
use crate::services::ecs;

/// An hour, no task from 20 minutes before its end on, tasks stopped 5 minutes before it.
fn config() -> NodeConfig {
    NodeConfig {
        version: VERSION,
        block: "sb-1f2c".into(),
        environment: "e".into(),
        region: "us-east-1".into(),
        cluster: "c".into(),
        source: Source::OnDemand,
        end: End::AfterLaunchSecs(3600),
        early_reclaim_secs: 0,
        drain_lead_secs: 1200,
        stop_lead_secs: 300,
        stop_reason: None,
        options: Optional::default(),
    }
}

/// A cluster and so many instances that have joined it.
fn joined(config: &NodeConfig, count: usize) -> (World, Vec<String>) {
    let mut world = World::with(Options { light_nodes_above: 0, ..Options::default() });
    world.call("ecs", "CreateCluster", json!({"clusterName": "c"})).expect("a cluster");
    let data = BASE64_STANDARD.encode(node_contract::user_data::embed(config));
    let data: String = form_urlencoded::byte_serialize(data.as_bytes()).collect();
    let image = ECS_IMAGES[0].1;
    let form = format!(
        "Action=RunInstances&MinCount={count}&MaxCount={count}&ImageId={image}&InstanceType=t2.micro&UserData={data}&SubnetId=subnet-c8d30ae4&InstanceInitiatedShutdownBehavior=terminate"
    );
    let xml = world.query("ec2", &form);
    let ids: Vec<String> = all(&xml, "instanceId").into_iter().map(str::to_owned).collect();
    let outside = world.pass(3_000);
    assert_eq!(outside, [], "nobody outside has anything to do");
    (world, ids)
}

fn statuses(world: &World, id: &str) -> Vec<(String, i64)> {
    let start = ec2::instance(&world.cloud, id).expect("an instance").launch_time;
    let of = |event: &crate::journal::Event| match &event.what {
        What::ContainerInstanceStatus { instance, status } if instance == id => {
            Some((status.clone(), start.duration_until(event.at).as_secs()))
        }
        _ => None,
    };
    world.cloud.events().iter().filter_map(of).collect()
}

fn state(world: &World, id: &str) -> State {
    ec2::instance(&world.cloud, id).expect("an instance").state
}

fn member(world: &mut World) -> String {
    let list =
        world.call("ecs", "ListContainerInstances", json!({"cluster": "c"})).expect("a list");
    list["containerInstanceArns"][0].as_str().expect("one").to_owned()
}

fn task(world: &mut World, seconds: u32) -> String {
    task_with(world, seconds, &[])
}

fn task_with(world: &mut World, seconds: u32, environment: &[(&str, &str)]) -> String {
    let member = member(world);
    let container = crate::journal::effect::Container {
        name: "default".into(),
        family: "f".into(),
        revision: "1".into(),
        command: vec!["sleep".into(), seconds.to_string()],
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
    };
    let new = ecs::NewTask {
        container_instance: member,
        container,
        image: "i".into(),
        resources: ecs::Resources::default(),
        started_by: "batch".into(),
    };
    let now = world.now;
    let arn = ecs::start_task(&mut world.cloud.ecs(), now, new).expect("a task");
    world.pass(2_000);
    arn
}

fn shown(world: &mut World, arn: &str) -> Value {
    world.call("ecs", "DescribeTasks", json!({"cluster": "c", "tasks": [arn]})).expect("a task")["tasks"][0].clone()
}

#[test]
fn a_light_node_joins_with_its_blocks_attributes_at_a_moment_of_its_own() {
    let (mut world, ids) = joined(&config(), 3);
    let of = |event: &crate::journal::Event| {
        matches!(event.what, What::Joined { .. }).then_some(event.at)
    };
    let moments: std::collections::BTreeSet<_> =
        world.cloud.events().iter().filter_map(of).collect();
    assert_eq!(moments.len(), 3, "not all at once");
    let member = member(&mut world);
    let asked = json!({"cluster": "c", "containerInstances": [member]});
    let it =
        world.call("ecs", "DescribeContainerInstances", asked).expect("one")["containerInstances"]
            [0]
        .clone();
    assert_eq!((&it["status"], &it["agentConnected"]), (&json!("ACTIVE"), &json!(true)));
    for attribute in ["spotblock.block", "spotblock.end", "ecs.instance-type"] {
        assert!(it["attributes"].to_string().contains(attribute), "{attribute}: {it}");
    }
    let registered = |call: &&crate::journal::Call| call.operation == "RegisterContainerInstance";
    let callers: Vec<&Caller> =
        world.cloud.calls().iter().filter(registered).map(|call| &call.caller).collect();
    assert!(
        ids.iter().all(|id| callers.contains(&&Caller::Instance(id.clone()))),
        "with their own credentials"
    );
}

#[test]
fn it_runs_a_task_for_as_long_as_the_task_says_and_reports_it() {
    let (mut world, _) = joined(&config(), 1);
    let arn = task(&mut world, 7);
    assert_eq!(shown(&mut world, &arn)["lastStatus"], "RUNNING");
    world.pass(7_000);
    let it = shown(&mut world, &arn);
    assert_eq!(
        (&it["lastStatus"], &it["containers"][0]["exitCode"]),
        (&json!("STOPPED"), &json!(0))
    );
}

/// Catches: moments of its own instead of the contract's, a task killed without the reason that
/// retry rules look for.
#[test]
fn it_drains_stops_and_leaves_when_its_block_says() {
    let (mut world, ids) = joined(&config(), 1);
    let arn = task(&mut world, 100_000);
    world.wait_ms(2_399_000 - 5_000);
    assert_eq!(statuses(&world, &ids[0]), []);
    world.wait_ms(10_000);
    assert_eq!(statuses(&world, &ids[0]), [("DRAINING".to_owned(), 2400)]);
    world.wait_ms(800_000);
    assert_eq!(shown(&mut world, &arn)["lastStatus"], "RUNNING");
    world.wait_ms(100_000);
    world.pass(3_000);
    let it = shown(&mut world, &arn);
    assert_eq!(it["lastStatus"], "STOPPED");
    assert_eq!(
        it["stoppedReason"],
        format!("Host EC2 (instance {}) leaves: the block ends", ids[0])
    );
    assert_eq!(it["containers"][0]["exitCode"], 143);
    assert!(
        !ec2::instance(&world.cloud, &ids[0]).expect("one").alive(),
        "nothing keeps it any longer"
    );
}

#[test]
fn draining_from_outside_is_noticed_and_an_idle_node_leaves() {
    let (mut world, ids) = joined(&config(), 1);
    let member = member(&mut world);
    let drain = json!({"cluster": "c", "containerInstances": [member], "status": "DRAINING"});
    world.call("ecs", "UpdateContainerInstancesState", drain).expect("taken");
    world.pass(16_000);
    assert!(!ec2::instance(&world.cloud, &ids[0]).expect("one").alive());
}

#[test]
fn a_terminated_or_powered_off_node_is_gone_with_its_tasks() {
    let (mut world, ids) = joined(&config(), 2);
    let now = world.now;
    world.query("ec2", &format!("Action=TerminateInstances&InstanceId.1={}", ids[0]));
    ec2::power_off(&mut world.cloud, now, &ids[1]);
    world.pass(5_000);
    assert_eq!(ids.iter().map(|id| state(&world, id)).collect::<Vec<_>>(), [State::Terminated; 2]);
    assert!(ec2::light_nodes(&world.cloud).iter().all(|node| !node.up));
    assert!(
        ids.iter()
            .all(|id| statuses(&world, id).last().is_some_and(|(status, _)| status == "INACTIVE"))
    );
}

/// Catches: a failed registration that is never tried again.
#[test]
fn what_fails_is_tried_again() {
    let mut world = World::with(Options { light_nodes_above: 0, ..Options::default() });
    let now = world.now;
    let mut node = Node::new(now, now, Some(config()), 0, 1);
    assert!(matches!(node.step("i-1", now, 0), Some(Wish::Register { .. })));
    node.registered(now, None);
    assert_eq!(node.step("i-1", now, 0), None);
    world.wait_ms(1_000);
    assert!(matches!(node.step("i-1", world.now, 0), Some(Wish::Register { .. })));
}

#[test]
fn only_the_instances_above_the_number_are_light() {
    let mut world = World::with(Options { light_nodes_above: 2, ..Options::default() });
    let form = "Action=RunInstances&MinCount=5&MaxCount=5&ImageId=IMAGE&InstanceType=t2.micro&SubnetId=subnet-c8d30ae4";
    world.query("ec2", &form.replace("IMAGE", ECS_IMAGES[0].1));
    assert_eq!(ec2::light_nodes(&world.cloud).len(), 3);
    let starts = world.cloud.take_effects();
    assert_eq!(starts.iter().filter(|it| matches!(it, Effect::StartNode { .. })).count(), 2);
}

/// Catches: a container that begins although nobody has an image for its host.
#[test]
fn a_task_whose_image_is_for_another_platform_fails_to_start() {
    let (mut world, _) = joined(&config(), 1);
    let task = task_with(&mut world, 60, &[("LOCALCLOUD_PLATFORM", "linux/arm64")]);
    world.pass(5_000);
    let answer = world
        .call("ecs", "DescribeTasks", json!({"cluster": "c", "tasks": [task]}))
        .expect("a task");
    let task = &answer["tasks"][0];
    assert_eq!(
        (&task["lastStatus"], &task["stopCode"]),
        (&json!("STOPPED"), &json!("TaskFailedToStart")),
        "{task}"
    );
    assert_eq!(task["stoppedReason"], "Task failed to start");
    let container = &task["containers"][0];
    let said = "CannotPullContainerError: no matching manifest for linux/amd64 in the manifest \
                list entries";
    assert_eq!((&container["reason"], &container["exitCode"]), (&json!(said), &json!(null)));
}
