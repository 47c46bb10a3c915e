//! Whole lives of environments, queues and jobs, on their own time.

use serde_json::{Value, json};

use crate::cloud::testing::{Failure, World};
use crate::journal::effect::Effect;

const ROLE: &str = "arn:aws:iam::123456789012:role/BatchServiceRole";

/// A world with an environment, a queue and a definition, all in order; and the cluster's ARN.
fn ready() -> (World, String) {
    let mut world = World::new();
    batch(&mut world, "CreateComputeEnvironment", environment()).expect("an environment");
    world.pass(1000);
    batch(&mut world, "CreateJobQueue", queue()).expect("a queue");
    world.pass(1000);
    batch(&mut world, "RegisterJobDefinition", definition()).expect("a definition");
    let answer = batch(&mut world, "DescribeComputeEnvironments", json!({})).expect("environments");
    let cluster =
        answer["computeEnvironments"][0]["ecsClusterArn"].as_str().expect("a cluster").to_owned();
    (world, cluster)
}

fn batch(world: &mut World, operation: &str, parameters: Value) -> Result<Value, Failure> {
    world.call("batch", operation, parameters)
}

fn environment() -> Value {
    json!({"computeEnvironmentName": "env", "type": "UNMANAGED", "state": "ENABLED", "serviceRole": ROLE})
}

fn queue() -> Value {
    json!({
        "jobQueueName": "queue",
        "priority": 1,
        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "env"}],
    })
}

fn definition() -> Value {
    json!({
        "jobDefinitionName": "def",
        "type": "container",
        "containerProperties": {
            "image": "busybox",
            "command": ["sleep", "Ref::seconds"],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
        },
        "parameters": {"seconds": "5"},
        "retryStrategy": {"attempts": 2, "evaluateOnExit": [
            {"onStatusReason": "Host EC2*", "action": "RETRY"},
            {"onExitCode": "143", "action": "RETRY"},
            {"onReason": "*", "action": "EXIT"},
        ]},
    })
}

fn submit(world: &mut World, more: Value) -> String {
    let mut parameters = json!({"jobName": "job", "jobQueue": "queue", "jobDefinition": "def"});
    for (key, value) in more.as_object().expect("an object") {
        parameters[key] = value.clone();
    }
    let answer = batch(world, "SubmitJob", parameters).expect("a job");
    answer["jobId"].as_str().expect("an id").to_owned()
}

fn job(world: &mut World, id: &str) -> Value {
    batch(world, "DescribeJobs", json!({"jobs": [id]})).expect("jobs")["jobs"][0].clone()
}

fn status(world: &mut World, id: &str) -> String {
    job(world, id)["status"].as_str().expect("a status").to_owned()
}

/// The tasks that the outside was told to run.
fn tasks(effects: &[Effect]) -> Vec<String> {
    let run = effects.iter().filter_map(|effect| match effect {
        Effect::RunTask { task, .. } => Some(task.clone()),
        _ => None,
    });
    run.collect()
}

/// Runs a job's next attempt as far as RUNNING, and gives its task.
fn run(world: &mut World, cluster: &str) -> String {
    let task = tasks(&world.pass(1000)).pop().expect("a task for the node");
    world.report(cluster, &task, "RUNNING", None);
    task
}

#[test]
fn a_job_goes_through_all_states_to_success() {
    let (mut world, cluster) = ready();
    let id = submit(&mut world, json!({}));
    assert_eq!(status(&mut world, &id), "RUNNABLE");
    world.pass(5000);
    assert_eq!(status(&mut world, &id), "RUNNABLE", "there is no instance");
    world.register("i-1", &cluster);
    world.pass(400);
    assert_eq!(status(&mut world, &id), "RUNNABLE", "the scheduler takes its time");
    world.pass(150);
    assert_eq!(status(&mut world, &id), "STARTING");
    let effects = world.pass(250);
    let [Effect::RunTask { container, task, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(container.command, ["sleep", "5"]);
    assert!(container.environment.contains(&("AWS_BATCH_JOB_ATTEMPT".into(), "1".into())));
    world.report(&cluster, task, "RUNNING", None);
    assert_eq!(status(&mut world, &id), "RUNNING");
    world.report(&cluster, task, "STOPPED", Some(0));
    let job = job(&mut world, &id);
    assert_eq!(job["status"], "SUCCEEDED");
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!(job["container"]["exitCode"], 0);
    assert!(job["stoppedAt"].as_i64() >= job["startedAt"].as_i64());
}

/// Catches: a local cloud in which DRAINING and a placement never cross, so that no agent is tested
/// on it.
#[test]
fn a_task_placed_before_draining_reaches_the_host_after_it() {
    let (mut world, cluster) = ready();
    let instance = world.register("i-1", &cluster);
    let id = submit(&mut world, json!({}));
    world.pass(550);
    assert_eq!(status(&mut world, &id), "STARTING");
    let drain = json!({"cluster": cluster, "containerInstances": [instance], "status": "DRAINING"});
    let drained = world.call("ecs", "UpdateContainerInstancesState", drain).expect("DRAINING");
    assert_eq!(drained["containerInstances"][0]["pendingTasksCount"], 1);
    assert_eq!(tasks(&world.pass(250)).len(), 1, "it arrives all the same");
}

#[test]
fn a_decision_for_an_instance_that_drains_meanwhile_is_dropped() {
    let (mut world, cluster) = ready();
    let instance = world.register("i-1", &cluster);
    let id = submit(&mut world, json!({}));
    world.pass(300);
    let drain = json!({"cluster": cluster, "containerInstances": [instance], "status": "DRAINING"});
    world.call("ecs", "UpdateContainerInstancesState", drain).expect("DRAINING");
    assert!(tasks(&world.pass(3000)).is_empty());
    assert_eq!(status(&mut world, &id), "RUNNABLE");
    world.register("i-2", &cluster);
    assert_eq!(tasks(&world.pass(1000)).len(), 1, "the next instance takes it");
}

#[test]
fn jobs_take_turns_where_there_is_room_for_two() {
    let (mut world, cluster) = ready();
    world.register("i-1", &cluster);
    let ids: Vec<String> = (0..3).map(|_| submit(&mut world, json!({}))).collect();
    let first = tasks(&world.pass(1000));
    assert_eq!(first.len(), 2);
    assert_eq!(status(&mut world, &ids[2]), "RUNNABLE");
    world.report(&cluster, &first[0], "STOPPED", Some(0));
    assert_eq!(tasks(&world.pass(1000)).len(), 1);
}

#[test]
fn gpus_and_memory_are_counted_too() {
    let (mut world, cluster) = ready();
    world.register("i-1", &cluster);
    let gpu =
        json!({"containerOverrides": {"resourceRequirements": [{"type": "GPU", "value": "1"}]}});
    let big = json!({"containerOverrides": {"resourceRequirements": [{"type": "MEMORY", "value": "1900"}]}});
    submit(&mut world, gpu.clone());
    submit(&mut world, gpu);
    submit(&mut world, big);
    assert_eq!(tasks(&world.pass(1000)).len(), 1, "one GPU, and too little memory beside it");
}

#[test]
fn a_stopped_job_is_tried_again_with_the_reason_in_its_attempt() {
    let (mut world, cluster) = ready();
    world.register("i-1", &cluster);
    let id = submit(&mut world, json!({}));
    let task = run(&mut world, &cluster);
    let reason = "Host EC2 (instance i-1) leaves: its block ends";
    world
        .call("ecs", "StopTask", json!({"cluster": cluster, "task": task, "reason": reason}))
        .expect("a stop");
    let effects = world.pass(300);
    assert!(matches!(&effects[..], [Effect::StopTask { .. }]), "{effects:?}");
    world.report(&cluster, &task, "STOPPED", Some(143));
    let first = job(&mut world, &id);
    assert_eq!(first["status"], "RUNNABLE");
    assert_eq!(first["attempts"][0]["statusReason"], reason);
    assert_eq!(first["attempts"][0]["container"]["exitCode"], 143);
    let task = run(&mut world, &cluster);
    world.report(&cluster, &task, "STOPPED", Some(1));
    let second = job(&mut world, &id);
    assert_eq!(second["status"], "FAILED");
    assert_eq!(second["attempts"].as_array().map(Vec::len), Some(2));
    assert_eq!(second["statusReason"], "Essential container in task exited");
}

#[test]
fn exit_0_after_a_stop_is_success() {
    let (mut world, cluster) = ready();
    world.register("i-1", &cluster);
    let id = submit(&mut world, json!({}));
    let task = run(&mut world, &cluster);
    world
        .call("ecs", "StopTask", json!({"cluster": cluster, "task": task, "reason": "x"}))
        .expect("a stop");
    world.report(&cluster, &task, "STOPPED", Some(0));
    assert_eq!(status(&mut world, &id), "SUCCEEDED");
}

#[test]
fn a_vanished_host_sends_its_jobs_back() {
    let (mut world, cluster) = ready();
    world.register("i-1", &cluster);
    let id = submit(&mut world, json!({}));
    run(&mut world, &cluster);
    let now = world.now;
    crate::services::ecs::host_gone(&mut world.cloud.ecs(), now, "i-1");
    world.pass(2500);
    assert_eq!(status(&mut world, &id), "RUNNING", "ECS has not noticed yet");
    world.pass(1000);
    let job = job(&mut world, &id);
    assert_eq!(job["status"], "RUNNABLE");
    assert_eq!(job["attempts"][0]["statusReason"], "Host EC2 (instance i-1) terminated.");
    assert!(job["attempts"][0]["container"].get("exitCode").is_none());
}

#[test]
fn a_timeout_and_a_termination_are_final() {
    let (mut world, cluster) = ready();
    world.register("i-1", &cluster);
    let late = submit(&mut world, json!({"timeout": {"attemptDurationSeconds": 60}}));
    let late_task = run(&mut world, &cluster);
    let ended = submit(&mut world, json!({}));
    let ended_task = run(&mut world, &cluster);
    batch(&mut world, "TerminateJob", json!({"jobId": ended, "reason": "Host EC2 like"}))
        .expect("an end");
    world.pass(58_000);
    assert_eq!(status(&mut world, &late), "RUNNING");
    let stops = world.pass(3000);
    assert!(
        stops
            .iter()
            .any(|effect| matches!(effect, Effect::StopTask { task, .. } if *task == late_task))
    );
    world.report(&cluster, &late_task, "STOPPED", Some(143));
    world.report(&cluster, &ended_task, "STOPPED", Some(0));
    let late = job(&mut world, &late);
    assert_eq!(
        (&late["status"], &late["statusReason"]),
        (&json!("FAILED"), &json!("Job attempt duration exceeded timeout"))
    );
    let ended = job(&mut world, &ended);
    assert_eq!(
        (&ended["status"], &ended["statusReason"]),
        (&json!("FAILED"), &json!("Host EC2 like"))
    );
}

#[test]
fn a_job_waits_for_those_it_depends_on() {
    let (mut world, cluster) = ready();
    world.register("i-1", &cluster);
    let first = submit(&mut world, json!({}));
    let second = submit(&mut world, json!({"dependsOn": [{"jobId": first}]}));
    let third = submit(&mut world, json!({"dependsOn": [{"jobId": second}]}));
    let task = run(&mut world, &cluster);
    assert_eq!(status(&mut world, &second), "PENDING");
    world.report(&cluster, &task, "STOPPED", Some(0));
    assert_eq!(status(&mut world, &second), "RUNNABLE");
    let task = run(&mut world, &cluster);
    world.report(&cluster, &task, "STOPPED", Some(1));
    assert_eq!(status(&mut world, &third), "FAILED");
    assert_eq!(job(&mut world, &third)["statusReason"], "Dependent Job failed");
}

#[test]
fn an_array_is_over_when_its_children_are() {
    let (mut world, cluster) = ready();
    world.register("i-1", &cluster);
    let parent = submit(&mut world, json!({"arrayProperties": {"size": 2}}));
    let tasks = tasks(&world.pass(1000));
    assert_eq!(tasks.len(), 2);
    assert_eq!(status(&mut world, &parent), "PENDING");
    for task in &tasks {
        world.report(&cluster, task, "STOPPED", Some(0));
    }
    assert_eq!(status(&mut world, &parent), "SUCCEEDED");
    let list = json!({"arrayJobId": parent, "jobStatus": "SUCCEEDED", "maxResults": 1});
    let page = batch(&mut world, "ListJobs", list).expect("children");
    assert_eq!(page["jobSummaryList"][0]["jobId"], format!("{parent}:0"));
    assert!(page["nextToken"].is_string());
}

#[test]
fn things_are_deleted_in_batchs_order() {
    let (mut world, cluster) = ready();
    let instance = world.register("i-1", &cluster);
    let refused = |result: Result<Value, Failure>, text: &str| {
        let (code, message) = result.expect_err(text);
        assert_eq!(code, "ClientException");
        assert!(message.contains(text), "{message}");
    };
    let delete_queue = || json!({"jobQueue": "queue"});
    let delete_environment = || json!({"computeEnvironment": "env"});
    refused(batch(&mut world, "DeleteJobQueue", delete_queue()), "must be DISABLED");
    refused(
        batch(&mut world, "DeleteComputeEnvironment", delete_environment()),
        "must be DISABLED",
    );
    let disable = json!({"computeEnvironment": "env", "state": "DISABLED"});
    batch(&mut world, "UpdateComputeEnvironment", disable).expect("a change");
    refused(
        batch(&mut world, "DeleteComputeEnvironment", delete_environment()),
        "resource is being modified",
    );
    world.pass(1000);
    refused(
        batch(&mut world, "DeleteComputeEnvironment", delete_environment()),
        "found existing JobQueue relationship",
    );
    batch(&mut world, "UpdateJobQueue", json!({"jobQueue": "queue", "state": "DISABLED"}))
        .expect("a change");
    refused(batch(&mut world, "DeleteJobQueue", delete_queue()), "resource is being modified");
    world.pass(1000);
    batch(&mut world, "DeleteJobQueue", delete_queue()).expect("a deletion");
    refused(
        batch(&mut world, "DeleteComputeEnvironment", delete_environment()),
        "found existing JobQueue relationship",
    );
    world.pass(1000);
    batch(&mut world, "DeleteComputeEnvironment", delete_environment()).expect("a deletion");
    world.pass(1000);
    let left = batch(&mut world, "DescribeComputeEnvironments", json!({})).expect("environments");
    assert_eq!(
        left["computeEnvironments"][0]["status"], "INVALID",
        "an instance is still in its cluster"
    );
    let deregister = json!({"cluster": cluster, "containerInstance": instance});
    world.call("ecs", "DeregisterContainerInstance", deregister).expect("a deregistration");
    batch(&mut world, "DeleteComputeEnvironment", delete_environment()).expect("a deletion");
    world.pass(1000);
    let left = batch(&mut world, "DescribeComputeEnvironments", json!({})).expect("environments");
    assert_eq!(left["computeEnvironments"], json!([]));
}

#[test]
fn what_batch_refuses_is_refused() {
    let (mut world, _) = ready();
    let with = |base: fn() -> Value, key: &str, value: Value| {
        let mut parameters = base();
        parameters[key] = value;
        parameters
    };
    let job = || json!({"jobName": "job", "jobQueue": "queue", "jobDefinition": "def"});
    let other_environment =
        || json!({"computeEnvironmentName": "other", "type": "UNMANAGED", "serviceRole": ROLE});
    let other_queue = || json!({"jobQueueName": "other", "priority": 1, "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "env"}]});
    let cases = [
        ("CreateComputeEnvironment", environment(), "Object already exists"),
        (
            "CreateComputeEnvironment",
            with(other_environment, "serviceRole", json!(null)),
            "ServiceRole is required",
        ),
        (
            "CreateComputeEnvironment",
            with(other_environment, "serviceRole", json!("BatchServiceRole")),
            "ARN",
        ),
        (
            "CreateComputeEnvironment",
            with(other_environment, "computeEnvironmentName", json!("a b")),
            "pattern",
        ),
        (
            "CreateComputeEnvironment",
            with(other_environment, "computeResources", json!({})),
            "computeResources",
        ),
        ("CreateJobQueue", queue(), "Object already exists"),
        ("CreateJobQueue", with(other_queue, "computeEnvironmentOrder", json!([])), "at least one"),
        (
            "CreateJobQueue",
            with(
                other_queue,
                "computeEnvironmentOrder",
                json!([{"order": 1, "computeEnvironment": "no"}]),
            ),
            "does not exist",
        ),
        (
            "RegisterJobDefinition",
            with(definition, "timeout", json!({"attemptDurationSeconds": 59})),
            "at least 60",
        ),
        (
            "RegisterJobDefinition",
            with(definition, "retryStrategy", json!({"attempts": 11})),
            "between 1 and 10",
        ),
        (
            "RegisterJobDefinition",
            with(definition, "containerProperties", json!({"image": ""})),
            "image",
        ),
        ("SubmitJob", with(job, "jobName", json!("a job")), "jobName"),
        ("SubmitJob", with(job, "jobName", json!("x".repeat(129))), "jobName"),
        ("SubmitJob", with(job, "jobQueue", json!("no")), "not found"),
        ("SubmitJob", with(job, "jobDefinition", json!("def:7")), "not found"),
        ("SubmitJob", with(job, "arrayProperties", json!({"size": 1})), "between 2 and 10000"),
        ("SubmitJob", with(job, "dependsOn", json!([{"jobId": "no"}])), "does not exist"),
    ];
    for (operation, parameters, text) in cases {
        let (code, message) = batch(&mut world, operation, parameters).expect_err(text);
        assert_eq!(code, "ClientException", "{operation}");
        assert!(message.contains(text), "{operation}: {message}");
    }
}

#[test]
fn a_queue_needs_a_valid_environment() {
    let mut world = World::new();
    batch(&mut world, "CreateComputeEnvironment", environment()).expect("an environment");
    let (_, message) =
        batch(&mut world, "CreateJobQueue", queue()).expect_err("it is still CREATING");
    assert!(message.contains("is not valid"), "{message}");
}

#[test]
fn an_environment_whose_role_does_not_exist_becomes_invalid() {
    let mut world = World::new();
    let mut environment = environment();
    environment["serviceRole"] = json!("arn:aws:iam::123456789012:role/Nobody");
    batch(&mut world, "CreateComputeEnvironment", environment).expect("accepted at first");
    world.pass(1000);
    let answer = batch(&mut world, "DescribeComputeEnvironments", json!({})).expect("environments");
    assert_eq!(answer["computeEnvironments"][0]["status"], "INVALID");
    assert!(answer["computeEnvironments"][0].get("ecsClusterArn").is_none());
}

#[test]
fn revisions_count_up_and_a_deregistered_one_takes_no_jobs() {
    let (mut world, _) = ready();
    let second = batch(&mut world, "RegisterJobDefinition", definition()).expect("a revision");
    assert_eq!(second["revision"], 2);
    batch(&mut world, "DeregisterJobDefinition", json!({"jobDefinition": "def:2"}))
        .expect("a deregistration");
    let id = submit(&mut world, json!({}));
    assert!(
        job(&mut world, &id)["jobDefinition"].as_str().is_some_and(|arn| arn.ends_with("def:1"))
    );
    let active = json!({"jobDefinitionName": "def", "status": "ACTIVE"});
    let active = batch(&mut world, "DescribeJobDefinitions", active).expect("definitions");
    assert_eq!(active["jobDefinitions"].as_array().map(Vec::len), Some(1));
}

/// Catches: a queue that looks usable although an environment of it is not.
#[test]
fn a_queue_that_changes_while_an_environment_of_it_is_invalid_becomes_invalid() {
    let (mut world, _) = ready();
    let nobody = "arn:aws:iam::123456789012:role/Nobody";
    let update = json!({"computeEnvironment": "env", "serviceRole": nobody});
    world.call("batch", "UpdateComputeEnvironment", update).expect("it is taken");
    world.wait_ms(1_000);
    let status = |world: &mut World| {
        let answer = world.call("batch", "DescribeJobQueues", json!({})).expect("queues");
        (answer["jobQueues"][0]["status"].clone(), answer["jobQueues"][0]["statusReason"].clone())
    };
    assert_eq!(status(&mut world).0, "VALID", "nobody looks at a queue that doesn't change");
    world
        .call("batch", "UpdateJobQueue", json!({"jobQueue": "queue", "priority": 2}))
        .expect("it is taken");
    world.wait_ms(1_000);
    let (status, reason) = status(&mut world);
    assert_eq!(status, "INVALID");
    assert!(
        reason.as_str().is_some_and(|it| it.ends_with("compute-environment/env is not valid")),
        "{reason}"
    );
}
