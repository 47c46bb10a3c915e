//! An environment that is not as it should be: what of it `plan` shows and `up` repairs, and what
//! is only said.

use std::time::Duration;

use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options};
use serde_json::{Value, json};

use super::{World, example_with};

const ROLE: &str = "arn:aws:iam::123456789012:role/BatchServiceRole";

async fn settle(world: &World) {
    world.pass(Duration::from_secs(10)).await;
}

async fn by_hand(world: &World, operation: &str, body: Value) {
    world.batch_by_hand(operation, &body);
    settle(world).await;
}

async fn made() -> World {
    let world = World::with_config(
        Options::default(),
        &example_with("instance-profile = \"ecsInstanceRole\"\n", ""),
    );
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    world
}

/// The fields that `plan` would change: resource, field, from, to.
async fn drift(world: &World) -> Vec<(String, String, String, String)> {
    let plan = world.run(&["plan", "--output", "json"]).await;
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let steps =
        plan["steps"].as_array().expect("steps").iter().filter(|step| step["verdict"] == "change");
    let fields = steps.flat_map(|step| {
        let changes = step["changes"].as_array().expect("changes").clone();
        changes.into_iter().map(move |it| {
            (text(&step["resource"]), text(&it["field"]), text(&it["from"]), text(&it["to"]))
        })
    });
    fields.collect()
}

#[tokio::test(start_paused = true)]
async fn drift_is_shown_field_by_field_and_repaired() {
    let world = made().await;
    assert_eq!(drift(&world).await, []);
    let other = "arn:aws:iam::123456789012:role/ecsInstanceRole";
    let change =
        json!({"computeEnvironment": "spot-block-test", "state": "DISABLED", "serviceRole": other});
    by_hand(&world, "UpdateComputeEnvironment", change).await;
    by_hand(
        &world,
        "UpdateJobQueue",
        json!({"jobQueue": "SpotBlockQueue", "state": "DISABLED", "priority": 7}),
    )
    .await;
    let container = json!({
        "image": "busybox",
        "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
    });
    let definition = json!({"jobDefinitionName": "hello-world", "type": "container", "containerProperties": container});
    by_hand(&world, "RegisterJobDefinition", definition).await;
    let role = "RoleName=spotblock-spot-block-test-instance&PolicyName=spotblock";
    world.by_hand("iam", &format!("Action=DeleteRolePolicy&Version=2010-05-08&{role}"));

    let drift_now = drift(&world).await;
    let row = |resource: &str, field: &str, from: &str, to: &str| {
        (resource.to_owned(), field.to_owned(), from.to_owned(), to.to_owned())
    };
    for wanted in [
        row("compute environment", "state", "DISABLED", "ENABLED"),
        row("compute environment", "serviceRole", other, ROLE),
        row("job queue", "state", "DISABLED", "ENABLED"),
        row("job queue", "priority", "7", "1"),
        row("job definition", "image", "\"busybox\"", "\"hello-world\""),
        row("job definition", "memory_mib", "512", "256"),
        row("job definition", "init_process", "false", "true"),
        row(
            "instance profile",
            "policy",
            "differs",
            "the agent's needs on the environment's cluster",
        ),
    ] {
        assert!(drift_now.contains(&wanted), "{wanted:?} is missing in {drift_now:?}");
    }
    let apply = world.run(&["env", "apply"]).await;
    assert_eq!(apply.code, 0, "{}", apply.stderr);
    assert!(apply.stderr.contains(
        "changing job queue SpotBlockQueue (state: DISABLED -> ENABLED; priority: 7 -> 1)"
    ));
    settle(&world).await;
    assert_eq!(drift(&world).await, []);
    let before = world.calls();
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    assert_eq!(world.changing(before), Vec::<String>::new(), "a second time changes nothing");
}

/// What `up` and `plan` say of an environment that somebody left like this; neither changes
/// anything.
async fn refused(world: &World, part: &str, next: &str) {
    let before = world.calls();
    let up = world.run(&["up"]).await;
    assert_eq!(up.code, 1, "{part}: {}", up.stderr);
    assert!(up.stderr.contains(part), "{part:?} is missing in {}", up.stderr);
    assert!(up.stderr.contains(next), "{next:?} is missing in {}", up.stderr);
    let plan = world.run(&["plan"]).await;
    assert!(plan.stdout.contains("refuse"), "{part}: {}{}", plan.stdout, plan.stderr);
    assert_eq!(world.changing(before), Vec::<String>::new(), "{part}");
}

async fn environment(world: &World, name: &str, kind: &str, role: &str) {
    let mut body = json!({"computeEnvironmentName": name, "type": kind, "serviceRole": role});
    if kind == "MANAGED" {
        body["computeResources"] =
            json!({"type": "SPOT", "maxvCpus": 4, "subnets": [], "instanceTypes": []});
    }
    by_hand(world, "CreateComputeEnvironment", body).await;
}

async fn queue(world: &World, environments: &[&str]) {
    let order: Vec<Value> = environments
        .iter()
        .enumerate()
        .map(|(n, it)| json!({"order": n + 1, "computeEnvironment": it}))
        .collect();
    let body =
        json!({"jobQueueName": "SpotBlockQueue", "priority": 1, "computeEnvironmentOrder": order});
    by_hand(world, "CreateJobQueue", body).await;
}

#[tokio::test(start_paused = true)]
async fn a_managed_environment_of_the_same_name_is_refused() {
    let world = World::new(Options::default());
    environment(&world, "spot-block-test", "MANAGED", ROLE).await;
    refused(
        &world,
        "is MANAGED: a block needs an UNMANAGED one",
        "give another [environment] name",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_invalid_environment_is_refused_with_batchs_reason() {
    let world = World::new(Options::default());
    environment(&world, "spot-block-test", "UNMANAGED", "arn:aws:iam::123456789012:role/gone")
        .await;
    refused(
        &world,
        "is INVALID: CLIENT_ERROR - Not authorized to perform sts:AssumeRole",
        "repair what Batch names",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_being_deleted_is_refused_until_it_is_gone() {
    let mut options = Options::default();
    options.pace.batch_ms = 1_000;
    let world = World::new(options);
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    by_hand(&world, "UpdateJobQueue", json!({"jobQueue": "SpotBlockQueue", "state": "DISABLED"}))
        .await;
    world.cloud(|cloud| cloud.options.pace.batch_ms = 120_000);
    world.batch_by_hand("DeleteJobQueue", &json!({"jobQueue": "SpotBlockQueue"}));
    refused(
        &world,
        "job queue SpotBlockQueue is being deleted",
        "run the same command again when it is gone",
    )
    .await;
    world.pass(Duration::from_secs(200)).await;
    world.cloud(|cloud| cloud.options.pace.batch_ms = 1_000);
    let disable = json!({"computeEnvironment": "spot-block-test", "state": "DISABLED"});
    by_hand(&world, "UpdateComputeEnvironment", disable).await;
    world.cloud(|cloud| cloud.options.pace.batch_ms = 120_000);
    world.batch_by_hand(
        "DeleteComputeEnvironment",
        &json!({"computeEnvironment": "spot-block-test"}),
    );
    refused(
        &world,
        "compute environment spot-block-test is being deleted",
        "run the same command again",
    )
    .await;
    world.pass(Duration::from_secs(200)).await;
    world.cloud(|cloud| cloud.options.pace.batch_ms = 1_000);
    assert_eq!(world.run(&["up"]).await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_bound_elsewhere_too_is_refused() {
    for (environments, bound) in [
        (&["elsewhere"][..], "is bound to elsewhere, not to spot-block-test alone"),
        (
            &["spot-block-test", "elsewhere"],
            "is bound to spot-block-test, elsewhere, not to spot-block-test alone",
        ),
        (
            &["elsewhere", "spot-block-test"],
            "is bound to elsewhere, spot-block-test, not to spot-block-test alone",
        ),
    ] {
        let world = World::new(Options::default());
        environment(&world, "elsewhere", "UNMANAGED", ROLE).await;
        environment(&world, "spot-block-test", "UNMANAGED", ROLE).await;
        queue(&world, environments).await;
        refused(&world, bound, "give another queue in [environment]").await;
    }
}

#[tokio::test(start_paused = true)]
async fn drift_of_what_was_made_by_hand_is_said_and_not_repaired() {
    let world = World::new(Options::default());
    environment(&world, "spot-block-test", "UNMANAGED", ROLE).await;
    queue(&world, &["spot-block-test"]).await;
    let change = json!({"computeEnvironment": "spot-block-test", "state": "DISABLED"});
    by_hand(&world, "UpdateComputeEnvironment", change).await;
    refused(
        &world,
        "was not made by spotblock, and its state is DISABLED, not ENABLED",
        "change it by hand",
    )
    .await;
}

/// Catches: advice that doesn't work.
#[tokio::test(start_paused = true)]
async fn an_invalid_environment_of_ours_can_be_removed_and_made_anew() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let gone = "arn:aws:iam::123456789012:role/gone";
    by_hand(
        &world,
        "UpdateComputeEnvironment",
        json!({"computeEnvironment": "spot-block-test", "serviceRole": gone}),
    )
    .await;
    refused(
        &world,
        "is INVALID: ",
        "remove it with `spotblock down --all` and run `spotblock up` again",
    )
    .await;
    let down = world.run(&["down", "--all"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
    let up = world.run(&["up"]).await;
    assert_eq!(up.code, 0, "{}", up.stderr);
}

/// Catches: a `down --all` that ends half-way because Batch remembers for a moment the queue that
/// it has deleted.
#[tokio::test(start_paused = true)]
async fn a_stale_relationship_to_a_deleted_queue_is_waited_out() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let message = "Cannot delete, found existing JobQueue relationship".to_owned();
    let effect = Effect::Fail { code: "ClientException".into(), status: 400, message };
    let operation = Some("DeleteComputeEnvironment".to_owned());
    world.cloud(|cloud| {
        cloud.add_fault(Fault { service: None, operation, caller: None, skip: 0, count: 3, effect })
    });
    let down = world.run(&["down", "--all"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
    assert!(
        down.stderr.contains("existing JobQueue relationship"),
        "it was waited for: {}",
        down.stderr
    );
    assert_eq!(world.accepted("DeleteComputeEnvironment").len(), 1);
    assert!(down.stdout.contains("compute environment spot-block-test"), "{}", down.stdout);
}
