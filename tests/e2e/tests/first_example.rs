//! The two examples this project began with, as given.

use localcloud_core::journal::record::What;
use serde_json::Value;

use crate::world::{World, accepted, any_gone, job_is};

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer} in {value}"))
}

#[tokio::test]
async fn the_first_example_works_as_given() {
    let world = World::new("spot-block-test.toml", &[]).await;
    world.spotblock(&["up"]).await.success().expect("up");
    let calls = world.calls().await;

    let environment = &accepted(&calls, "CreateComputeEnvironment")[0].parameters;
    assert_eq!(text(environment, "/computeEnvironmentName"), "spot-block-test");
    assert_eq!(text(environment, "/type"), "UNMANAGED");
    assert_eq!(text(environment, "/state"), "ENABLED");
    assert!(text(environment, "/serviceRole").ends_with("BatchServiceRole"));

    let queue = &accepted(&calls, "CreateJobQueue")[0].parameters;
    assert_eq!(text(queue, "/jobQueueName"), "SpotBlockQueue");
    assert_eq!(text(queue, "/state"), "ENABLED");
    assert_eq!(queue.pointer("/priority"), Some(&1.into()));
    assert_eq!(queue.pointer("/computeEnvironmentOrder/0/order"), Some(&1.into()));

    let definition = &accepted(&calls, "RegisterJobDefinition")[0].parameters;
    assert_eq!(text(definition, "/jobDefinitionName"), "hello-world");
    assert_eq!(text(definition, "/type"), "container");
    let container = definition.pointer("/containerProperties").expect("a container");
    assert_eq!(text(container, "/image"), "hello-world");
    assert_ne!(container.pointer("/privileged"), Some(&true.into()));
    assert_eq!(container.pointer("/linuxParameters/initProcessEnabled"), Some(&true.into()));
    let requirements = container["resourceRequirements"].as_array().expect("requirements");
    let needed =
        |kind: &str| requirements.iter().find(|r| r["type"] == kind).map(|r| r["value"].clone());
    assert_eq!(
        (needed("VCPU"), needed("MEMORY"), needed("GPU")),
        (Some("1".into()), Some("256".into()), None)
    );
    let rules = definition.pointer("/retryStrategy/evaluateOnExit").expect("retry rules");
    assert_eq!(
        (text(rules, "/0/action"), text(rules, "/0/onStatusReason")),
        ("RETRY", "Host EC2*")
    );
    assert_eq!((text(rules, "/1/action"), text(rules, "/1/onExitCode")), ("RETRY", "143"));
    assert_eq!((text(rules, "/2/action"), text(rules, "/2/onExitCode")), ("RETRY", "255"));
    assert_eq!((text(rules, "/3/action"), text(rules, "/3/onReason")), ("EXIT", "*"));

    the_request_is_the_articles(&world).await;

    world.submit("TestSpotBlock", 2, &[]).await;
    world.until("the job's success", |events| job_is(events, "TestSpotBlock", "SUCCEEDED")).await;

    let status = world.spotblock(&["status", "--output", "json"]).await.success().expect("status");
    let status = status.json().expect("JSON");
    assert_eq!(text(&status, "/blocks/0/instances/0/id"), world.instance().await);

    again_changes_nothing(&world).await;
    world.spotblock(&["down", "--all"]).await.success().expect("down");
    let events = world.until("the instance's end", any_gone).await;
    assert!(
        events.iter().all(
            |event| !matches!(&event.what, What::Joined { cluster, .. } if cluster == "default")
        )
    );
    nothing_is_left(&world).await;
    world.cloud.stop().await.expect("it ends");
}

async fn the_request_is_the_articles(world: &World) {
    let calls = world.calls().await;
    let requests = accepted(&calls, "RequestSpotInstances");
    assert_eq!(requests.len(), 1);
    let request = &requests[0].parameters;
    assert_eq!(text(request, "/InstanceCount"), "1");
    assert_eq!(text(request, "/Type"), "one-time");
    assert_eq!(text(request, "/BlockDurationMinutes"), "60");
    assert_eq!(text(request, "/SpotPrice"), "0.03");
    assert!(!text(request, "/ClientToken").is_empty());
    assert!(!text(request, "/ValidUntil").is_empty(), "or it would stay open for seven days");
    let launch = request.pointer("/LaunchSpecification").expect("a launch specification");
    assert_eq!(text(launch, "/ImageId"), "ami-a7a242da");
    assert_eq!(text(launch, "/InstanceType"), "t2.micro");
    assert_eq!(text(launch, "/KeyName"), "jewart");
    assert_eq!(text(launch, "/IamInstanceProfile/Name"), "ecsInstanceRole");
    assert!(!text(launch, "/UserData").is_empty());
    let whole = launch.to_string();
    assert!(whole.contains("sg-55964223") && whole.contains("subnet-c8d30ae4"), "{whole}");

    let tagged = accepted(&calls, "CreateTags");
    let instance = world.instance().await;
    assert!(
        tagged.iter().any(|call| call.parameters.to_string().contains(&instance)),
        "the instance is tagged"
    );
}

/// Catches: a second `up` that buys again, or that changes what is already right.
async fn again_changes_nothing(world: &World) {
    let before = world.calls().await.len();
    world.spotblock(&["plan", "--detailed-exitcode"]).await.success().expect("no changes");
    world.spotblock(&["up"]).await.success().expect("up again");
    let calls = world.calls().await;
    let user = |call: &&localcloud_core::Call| call.caller == localcloud_core::Caller::User;
    let changing: Vec<&str> = calls[before..]
        .iter()
        .filter(|call| user(call) && !call.only_reads())
        .map(|call| call.operation.as_str())
        .collect();
    assert_eq!(changing, Vec::<&str>::new());
}

async fn nothing_is_left(world: &World) {
    let run = world.spotblock(&["plan", "--output", "json"]).await.success().expect("plan");
    let plan = run.json().expect("JSON").to_string();
    assert!(plan.contains("create"), "the environment is to be made anew: {plan}");
    let calls = world.calls().await;
    for operation in ["DeleteJobQueue", "DeleteComputeEnvironment", "DeregisterJobDefinition"] {
        assert_eq!(accepted(&calls, operation).len(), 1, "{operation}");
    }
    // The role and the profile were there before: they are not ours to delete.
    let deleted = accepted(&calls, "DeleteRole");
    let deleted: Vec<&str> =
        deleted.iter().map(|call| text(&call.parameters, "/RoleName")).collect();
    assert_eq!(
        deleted,
        ["spotblock-spot-block-test-scheduler"],
        "which spotblock made for its schedules"
    );
    assert_eq!(accepted(&calls, "DeleteInstanceProfile").len(), 0);
}

#[tokio::test]
async fn the_gpu_example_runs_its_job_on_the_gpu_image() {
    let world = World::new("gpu.toml", &[]).await;
    // What a p2.xlarge cost where it was asked for at no more than $0.30.
    world.cloud.set(&serde_json::json!({"spot-price": 0.27})).await.expect("a price");
    world.spotblock(&["up"]).await.success().expect("up");
    let calls = world.calls().await;
    let image = &accepted(&calls, "GetParameter")[0].parameters;
    assert!(text(image, "/Name").contains("/gpu/"), "{image}");
    let submit = ["submit", "--job-definition", "GPUJob"];
    world.spotblock(&submit).await.success().expect("submit");
    world.until("the job's success", |events| job_is(events, "GPUJob", "SUCCEEDED")).await;
    world.spotblock(&["down"]).await.success().expect("down");
    world.until("the instance's end", any_gone).await;
    world.cloud.stop().await.expect("it ends");
}
