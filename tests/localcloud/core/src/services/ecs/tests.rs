//! Clusters, container instances and tasks as their callers see them.

use serde_json::{Value, json};

use super::{NewTask, Resources, start_task};
use crate::cloud::testing::World;
use crate::journal::effect::{Container, Effect};

/// A world with a cluster `c` and an instance in it, whose ARN is given.
fn ready() -> (World, String) {
    let mut world = World::new();
    world.call("ecs", "CreateCluster", json!({"clusterName": "c"})).expect("a cluster");
    let instance = world.register("i-1", "c");
    (world, instance)
}

fn task_on(world: &mut World, container_instance: &str) -> String {
    let container = Container {
        name: "default".into(),
        family: "f".into(),
        revision: "1".into(),
        command: Vec::new(),
        environment: Vec::new(),
    };
    let new = NewTask {
        container_instance: container_instance.to_owned(),
        container,
        image: "busybox".into(),
        resources: Resources { cpu: 1024, memory: 256, gpus: 0 },
        started_by: "job".into(),
    };
    let now = world.now;
    start_task(&mut world.cloud.ecs(), now, new).expect("the instance takes tasks")
}

fn ecs(world: &mut World, operation: &str, parameters: Value) -> Value {
    world.call("ecs", operation, parameters).expect(operation)
}

fn refused(world: &mut World, operation: &str, parameters: Value) -> String {
    world.call("ecs", operation, parameters).expect_err(operation).0
}

/// Catches: an agent that takes "nothing is listed" for "nothing runs".
#[test]
fn a_task_being_stopped_vanishes_from_lists_while_its_container_lives() {
    let (mut world, instance) = ready();
    let task = task_on(&mut world, &instance);
    world.pass(300);
    world.report("c", &task, "RUNNING", None);
    let running = json!({"cluster": "c", "containerInstance": instance});
    assert_eq!(ecs(&mut world, "ListTasks", running.clone())["taskArns"], json!([task]));
    ecs(&mut world, "StopTask", json!({"cluster": "c", "task": task, "reason": "why"}));
    assert_eq!(ecs(&mut world, "ListTasks", running)["taskArns"], json!([]));
    let stopped = json!({"cluster": "c", "desiredStatus": "STOPPED"});
    assert_eq!(ecs(&mut world, "ListTasks", stopped)["taskArns"], json!([task]));
    let shown = ecs(&mut world, "DescribeTasks", json!({"cluster": "c", "tasks": [task]}));
    let shown = &shown["tasks"][0];
    assert_eq!(
        (&shown["lastStatus"], &shown["desiredStatus"]),
        (&json!("RUNNING"), &json!("STOPPED"))
    );
    assert_eq!(
        (&shown["stoppedReason"], &shown["stopCode"]),
        (&json!("why"), &json!("UserInitiated"))
    );
    let instances = json!({"cluster": "c", "containerInstances": [instance]});
    let shown = ecs(&mut world, "DescribeContainerInstances", instances);
    let shown = &shown["containerInstances"][0];
    assert_eq!((&shown["runningTasksCount"], &shown["pendingTasksCount"]), (&json!(0), &json!(0)));
    assert_eq!(shown["remainingResources"][0]["integerValue"], 1024, "its share is still taken");
}

#[test]
fn reports_only_go_forward() {
    let (mut world, instance) = ready();
    let task = task_on(&mut world, &instance);
    world.report("c", &task, "STOPPED", Some(3));
    world.report("c", &task, "RUNNING", None);
    let shown = ecs(&mut world, "DescribeTasks", json!({"cluster": "c", "tasks": [task]}));
    assert_eq!(shown["tasks"][0]["lastStatus"], "STOPPED");
    assert_eq!(shown["tasks"][0]["containers"][0]["exitCode"], 3);
    assert_eq!(shown["tasks"][0]["stopCode"], "EssentialContainerExited");
}

#[test]
fn nothing_reaches_an_agent_that_is_not_connected() {
    let (mut world, instance) = ready();
    let task = task_on(&mut world, &instance);
    let now = world.now;
    world.cloud.agent_connected(now, "i-1", false);
    assert_eq!(world.pass(2000), []);
    let now = world.now;
    world.cloud.agent_connected(now, "i-1", true);
    let effects = world.pass(50);
    assert!(
        matches!(&effects[..], [Effect::RunTask { task: arn, .. }] if *arn == task),
        "{effects:?}"
    );
}

#[test]
fn draining_is_refused_once_the_instance_has_gone() {
    let (mut world, instance) = ready();
    let drain = json!({"cluster": "c", "containerInstances": [instance], "status": "DRAINING"});
    let drained = ecs(&mut world, "UpdateContainerInstancesState", drain.clone());
    assert_eq!(drained["containerInstances"][0]["status"], "DRAINING");
    ecs(
        &mut world,
        "DeregisterContainerInstance",
        json!({"cluster": "c", "containerInstance": instance}),
    );
    assert_eq!(
        refused(&mut world, "UpdateContainerInstancesState", drain),
        "InvalidParameterException"
    );
    let missing = json!({"cluster": "c", "containerInstances": ["0123"], "status": "DRAINING"});
    let missing = ecs(&mut world, "UpdateContainerInstancesState", missing);
    assert_eq!(missing["failures"][0]["reason"], "MISSING");
    let many = json!({"cluster": "c", "containerInstances": vec!["0"; 11], "status": "DRAINING"});
    assert_eq!(
        refused(&mut world, "UpdateContainerInstancesState", many),
        "InvalidParameterException"
    );
}

#[test]
fn a_deregistration_with_wanted_tasks_needs_force() {
    let (mut world, instance) = ready();
    let task = task_on(&mut world, &instance);
    let plain = json!({"cluster": "c", "containerInstance": instance});
    assert_eq!(
        refused(&mut world, "DeregisterContainerInstance", plain),
        "InvalidParameterException"
    );
    let force = json!({"cluster": "c", "containerInstance": instance, "force": true});
    let gone = ecs(&mut world, "DeregisterContainerInstance", force);
    assert_eq!(gone["containerInstance"]["status"], "INACTIVE");
    let shown = ecs(&mut world, "DescribeTasks", json!({"cluster": "c", "tasks": [task]}));
    assert_eq!(shown["tasks"][0]["lastStatus"], "STOPPED");
    assert_eq!(
        ecs(&mut world, "ListContainerInstances", json!({"cluster": "c"}))["containerInstanceArns"],
        json!([])
    );
}

#[test]
fn a_cluster_with_instances_is_not_deleted() {
    let (mut world, instance) = ready();
    let delete = json!({"cluster": "c"});
    let code = refused(&mut world, "DeleteCluster", delete.clone());
    assert_eq!(code, "ClusterContainsContainerInstancesException");
    ecs(
        &mut world,
        "DeregisterContainerInstance",
        json!({"cluster": "c", "containerInstance": instance}),
    );
    assert_eq!(ecs(&mut world, "DeleteCluster", delete)["cluster"]["status"], "INACTIVE");
    assert_eq!(
        refused(&mut world, "ListTasks", json!({"cluster": "c"})),
        "ClusterNotFoundException"
    );
}

#[test]
fn clusters_go_by_name_and_by_arn_and_default_must_be_made() {
    let (mut world, instance) = ready();
    let arn = "arn:aws:ecs:us-east-1:123456789012:cluster/c";
    let listed = ecs(&mut world, "ListContainerInstances", json!({"cluster": arn}));
    assert_eq!(listed["containerInstanceArns"], json!([instance]));
    assert_eq!(
        refused(&mut world, "ListContainerInstances", json!({})),
        "ClusterNotFoundException"
    );
    let shown = ecs(&mut world, "DescribeClusters", json!({}));
    assert_eq!(shown["failures"][0]["reason"], "MISSING");
}

#[test]
fn a_restarted_agent_keeps_its_arn_and_its_status() {
    let (mut world, instance) = ready();
    let drain = json!({"cluster": "c", "containerInstances": [instance], "status": "DRAINING"});
    ecs(&mut world, "UpdateContainerInstancesState", drain);
    let again = json!({"cluster": "c", "containerInstanceArn": instance, "totalResources": []});
    let again = world.call_from("i-1", "RegisterContainerInstance", again).expect("again");
    assert_eq!(again["containerInstance"]["containerInstanceArn"], json!(instance));
    assert_eq!(again["containerInstance"]["status"], "DRAINING");
}

#[test]
fn attributes_follow_ecs_rules() {
    let (mut world, _) = ready();
    let registration = json!({
        "cluster": "c",
        "instanceIdentityDocument": "{\"instanceId\": \"i-2\"}",
        "attributes": [{"name": "no spaces", "value": "x"}],
    });
    assert_eq!(
        refused(&mut world, "RegisterContainerInstance", registration),
        "InvalidParameterException"
    );
}

#[test]
fn attributes_can_be_set_later_all_of_them_or_none() {
    let (mut world, instance) = ready();
    let put = |name: &str, target: &str| json!({"name": name, "value": "x", "targetId": target});
    let both = json!({"cluster": "c", "attributes": [put("a", &instance), put("b", &instance)]});
    let answer = ecs(&mut world, "PutAttributes", both.clone());
    assert_eq!(answer["attributes"][0]["targetType"], "container-instance");
    ecs(&mut world, "PutAttributes", both);
    let shown = |world: &mut World| {
        let seen = ecs(
            world,
            "DescribeContainerInstances",
            json!({"cluster": "c", "containerInstances": [instance]}),
        );
        let mut names: Vec<String> = seen["containerInstances"][0]["attributes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| it["name"].as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    let before = shown(&mut world);
    assert!(
        before.iter().filter(|it| ["a", "b"].contains(&it.as_str())).count() == 2,
        "each once: {before:?}"
    );
    let short = instance.rsplit('/').next().expect("an id");
    for (attributes, code) in [
        (
            json!([
                put("c", &instance),
                put("d", "arn:aws:ecs:us-east-1:1:container-instance/c/gone")
            ]),
            "TargetNotFoundException",
        ),
        (json!([put("c", short)]), "InvalidParameterException"),
        (json!([put("no spaces", &instance)]), "InvalidParameterException"),
        (json!([]), "InvalidParameterException"),
        (
            (0..10).map(|n| put(&format!("n{n}"), &instance)).collect(),
            "AttributeLimitExceededException",
        ),
    ] {
        assert_eq!(
            refused(&mut world, "PutAttributes", json!({"cluster": "c", "attributes": attributes})),
            code
        );
        assert_eq!(shown(&mut world), before);
    }
}

#[test]
fn lists_come_in_pages() {
    let (mut world, _) = ready();
    for instance in ["i-2", "i-3"] {
        world.register(instance, "c");
    }
    let first = ecs(&mut world, "ListContainerInstances", json!({"cluster": "c", "maxResults": 2}));
    assert_eq!(first["containerInstanceArns"].as_array().map(Vec::len), Some(2));
    let second = json!({"cluster": "c", "maxResults": 2, "nextToken": first["nextToken"]});
    let second = ecs(&mut world, "ListContainerInstances", second);
    assert_eq!(second["containerInstanceArns"].as_array().map(Vec::len), Some(1));
    assert!(second.get("nextToken").is_none());
}
