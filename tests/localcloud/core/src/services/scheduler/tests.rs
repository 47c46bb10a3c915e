//! Schedules as their callers see them, and what they do.

use serde_json::{Value, json};

use crate::cloud::faults::{Effect, Fault, Who};
use crate::cloud::testing::{World, between};
use crate::journal::record::What;
use crate::protocol::Caller;

const ROLE: &str = "arn:aws:iam::123456789012:role/ends-blocks";

/// A cloud with a role that Scheduler can take, whose right to end instances hangs on a tag.
fn world() -> World {
    let mut world = World::new();
    make_role(&mut world, "ends-blocks", "scheduler.amazonaws.com");
    world.wait_ms(2_000);
    world
}

fn make_role(world: &mut World, name: &str, service: &str) {
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole",
            "Condition": { "StringEquals": { "aws:SourceAccount": "123456789012" } },
        },
    });
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow", "Action": "ec2:TerminateInstances", "Resource": "arn:aws:ec2:*:*:instance/*",
            "Condition": { "StringEquals": { "aws:ResourceTag/spotblock:environment": "e" } },
        },
    });
    let encode = |value: &Value| {
        form_urlencoded::byte_serialize(value.to_string().as_bytes()).collect::<String>()
    };
    world.query(
        "iam",
        &format!("Action=CreateRole&RoleName={name}&AssumeRolePolicyDocument={}", encode(&trust)),
    );
    let put = format!(
        "Action=PutRolePolicy&RoleName={name}&PolicyName=p&PolicyDocument={}",
        encode(&policy)
    );
    world.query("iam", &put);
}

fn body(expression: &str) -> Value {
    json!({
        "ScheduleExpression": expression,
        "FlexibleTimeWindow": { "Mode": "OFF" },
        "ActionAfterCompletion": "DELETE",
        "Target": {
            "Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances",
            "RoleArn": ROLE,
            "Input": "{\"InstanceIds\":[\"i-1\"]}",
        },
    })
}

/// A schedule that ends these instances at 13:00, an hour after the world begins.
fn ending(ids: &[&str]) -> Value {
    let mut body = body("at(2026-11-24T13:00:00)");
    body["Target"]["Input"] = json!(json!({ "InstanceIds": ids }).to_string());
    body
}

fn call(world: &mut World, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    world.scheduler(method, path, body).map_err(|(code, _)| code)
}

/// An instance that runs, with a tag of its environment if one is given.
fn launched(world: &mut World, environment: Option<&str>) -> String {
    let form = "Action=RequestSpotInstances&LaunchSpecification.ImageId=ami-a7a242da\
                &LaunchSpecification.InstanceType=t2.micro";
    let answer = world.query("ec2", form);
    let request = between(&answer, "spotInstanceRequestId").expect("a request").to_owned();
    world.wait_ms(2_000);
    let describe = format!("Action=DescribeSpotInstanceRequests&SpotInstanceRequestId.1={request}");
    let answer = world.query("ec2", &describe);
    let id = between(&answer, "instanceId").expect("an instance").to_owned();
    if let Some(environment) = environment {
        let tag = format!("Tag.1.Key=spotblock%3Aenvironment&Tag.1.Value={environment}");
        world.query("ec2", &format!("Action=CreateTags&ResourceId.1={id}&{tag}"));
    }
    id
}

/// The state of an instance.
fn state(world: &mut World, id: &str) -> String {
    let answer = world.query("ec2", &format!("Action=DescribeInstances&InstanceId.1={id}"));
    let state = between(&answer, "instanceState").expect("a state");
    between(state, "name").expect("its name").to_owned()
}

/// What schedules did: their changes, and the errors.
fn done(world: &World) -> Vec<(String, Option<String>)> {
    let told = |what: &What| match what {
        What::Schedule { change, error, .. } => Some((change.clone(), error.clone())),
        _ => None,
    };
    world.cloud.events().iter().filter_map(|event| told(&event.what)).collect()
}

#[test]
fn a_schedule_is_created_given_back_changed_and_deleted() {
    let mut world = world();
    let at = |hour: u32| body(&format!("at(2026-11-24T{hour:02}:00:00)"));
    call(&mut world, "POST", "/schedules/end-1", &at(13)).expect("created");
    let again = call(&mut world, "POST", "/schedules/end-1", &at(14));
    assert_eq!(again.expect_err("it exists"), "ConflictException");
    call(&mut world, "PUT", "/schedules/end-1", &at(15)).expect("changed");
    let got = call(&mut world, "GET", "/schedules/end-1", &Value::Null).expect("there");
    assert_eq!(got["ScheduleExpression"], "at(2026-11-24T15:00:00)");
    assert_eq!(got["Target"]["Input"], "{\"InstanceIds\":[\"i-1\"]}");
    assert_eq!(got["Target"]["RetryPolicy"]["MaximumRetryAttempts"], 185);
    assert_eq!(got.get("EndDate"), None);
    call(&mut world, "DELETE", "/schedules/end-1", &Value::Null).expect("deleted");
    for method in ["GET", "DELETE", "PUT"] {
        let gone = call(&mut world, method, "/schedules/end-1", &at(13));
        assert_eq!(gone.expect_err(method), "ResourceNotFoundException");
    }
}

#[test]
fn a_client_token_makes_one_schedule() {
    let mut world = world();
    let with_token = |hour: u32| {
        let mut body = body(&format!("at(2026-11-24T{hour}:00:00)"));
        body["ClientToken"] = json!("t-1");
        body
    };
    let first = call(&mut world, "POST", "/schedules/end-1", &with_token(13)).expect("created");
    assert_eq!(call(&mut world, "POST", "/schedules/end-1", &with_token(13)), Ok(first));
    let other = call(&mut world, "POST", "/schedules/end-1", &with_token(14));
    assert_eq!(other.expect_err("another time"), "ConflictException");
}

#[test]
fn wrong_schedules_are_refused() {
    let mut world = world();
    make_role(&mut world, "of-batch", "batch.amazonaws.com");
    world.wait_ms(2_000);
    make_role(&mut world, "too-new", "scheduler.amazonaws.com");
    let expressions = [
        "at(tomorrow)",
        "at(2026-11-24)",
        "at(2026-11-24T11:58:00)",
        "rate(0 minutes)",
        "cron(* *)",
        "12:00",
    ];
    let mut wrong: Vec<Value> = expressions.map(body).to_vec();
    let role = |name: &str| json!(format!("arn:aws:iam::123456789012:role/{name}"));
    for (field, value) in [
        ("/Target/Arn", json!("terminateInstances")),
        ("/Target/RoleArn", role("nobody")),
        ("/Target/RoleArn", role("of-batch")),
        ("/Target/RoleArn", role("too-new")),
        ("/Target/Input", json!("{\"InstanceId\":[\"i-1\"]}")),
        ("/Target/Input", json!("{\"InstanceIds\":\"i-1\"}")),
        ("/Target/RetryPolicy", json!({ "MaximumEventAgeInSeconds": 59 })),
        ("/Target/RetryPolicy", json!({ "MaximumRetryAttempts": 186 })),
        ("/ScheduleExpressionTimezone", json!("Mars/Olympus_Mons")),
        ("/FlexibleTimeWindow/Mode", json!("MAYBE")),
        ("/ActionAfterCompletion", json!("REPEAT")),
        ("/ClientToken", json!("a b")),
    ] {
        let mut body = body("at(2026-11-24T13:00:00)");
        let (parent, name) = field.rsplit_once('/').expect("a path");
        body.pointer_mut(parent).expect(parent)[name] = value;
        wrong.push(body);
    }
    for body in wrong {
        let refused = call(&mut world, "POST", "/schedules/x", &body);
        assert_eq!(refused.expect_err("wrong"), "ValidationException", "{body}");
    }
    for name in ["a%20b".to_owned(), "x".repeat(65)] {
        let badly_named =
            call(&mut world, "POST", &format!("/schedules/{name}"), &body("rate(5 minutes)"));
        assert_eq!(badly_named.expect_err(&name), "ValidationException");
    }
}

#[test]
fn lists_come_in_pages_by_prefix_and_group() {
    let mut world = world();
    for name in ["a-1", "a-2", "a-3", "b-1"] {
        call(&mut world, "POST", &format!("/schedules/{name}"), &body("rate(5 minutes)"))
            .expect("created");
    }
    let first = call(&mut world, "GET", "/schedules?NamePrefix=a-&MaxResults=2", &Value::Null)
        .expect("a page");
    assert_eq!(first["NextToken"], "default/a-2");
    let rest = "/schedules?NamePrefix=a-&MaxResults=2&NextToken=default/a-2";
    let second = call(&mut world, "GET", rest, &Value::Null).expect("a page");
    assert_eq!(second["Schedules"].as_array().map(Vec::len), Some(1));
    assert_eq!(second.get("NextToken"), None);
    let foreign = call(&mut world, "GET", "/schedules?ScheduleGroup=other", &Value::Null);
    assert_eq!(foreign.expect_err("no such group"), "ResourceNotFoundException");
}

#[test]
fn a_group_has_tags_and_takes_its_schedules_with_it() {
    let mut world = world();
    let tagged = json!({ "Tags": [{ "Key": "spotblock:environment", "Value": "e" }] });
    call(&mut world, "POST", "/schedule-groups/blocks", &tagged).expect("created");
    let again = call(&mut world, "POST", "/schedule-groups/blocks", &tagged);
    assert_eq!(again.expect_err("it exists"), "ConflictException");
    let path = "/tags/arn%3Aaws%3Ascheduler%3Aus-east-1%3A123456789012%3Aschedule-group%2Fblocks";
    assert_eq!(call(&mut world, "GET", path, &Value::Null), Ok(tagged));
    let mut of_group = body("at(2026-11-24T13:00:00)");
    of_group["GroupName"] = json!("blocks");
    call(&mut world, "POST", "/schedules/end-1", &of_group).expect("created");
    let elsewhere = call(&mut world, "GET", "/schedules/end-1", &Value::Null);
    assert_eq!(elsewhere.expect_err("it is in another group"), "ResourceNotFoundException");
    call(&mut world, "GET", "/schedules/end-1?groupName=blocks", &Value::Null).expect("there");
    call(&mut world, "DELETE", "/schedule-groups/blocks", &Value::Null).expect("deleted");
    let all = call(&mut world, "GET", "/schedules", &Value::Null).expect("a list");
    assert_eq!(all["Schedules"], json!([]));
}

#[test]
fn a_one_time_schedule_ends_its_instances_at_its_time_and_is_deleted() {
    let mut world = world();
    let ids = [launched(&mut world, Some("e")), launched(&mut world, Some("e"))];
    call(&mut world, "POST", "/schedules/end-1", &ending(&[&ids[0], &ids[1]])).expect("created");
    world.now = "2026-11-24T13:00:00.4Z".parse().expect("a time");
    world.wait_ms(0);
    assert_eq!(state(&mut world, &ids[0]), "running");
    // Everything that is due happens at its own time, however late somebody looks.
    world.wait_ms(600_000);
    for id in &ids {
        assert_eq!(state(&mut world, id), "terminated");
    }
    assert_eq!(done(&world), [("fired".to_owned(), None)]);
    let made =
        world.cloud.calls().iter().find(|call| call.caller == Caller::Scheduler).expect("a call");
    assert_eq!((made.operation.as_str(), made.status), ("TerminateInstances", 200));
    assert_eq!(made.at.to_string(), "2026-11-24T13:00:00.5Z");
    let gone = call(&mut world, "GET", "/schedules/end-1", &Value::Null);
    assert_eq!(gone.expect_err("deleted"), "ResourceNotFoundException");
}

#[test]
fn a_time_is_read_in_its_zone_and_a_moved_one_fires_at_its_new_time_alone() {
    let mut world = world();
    let id = launched(&mut world, Some("e"));
    let mut zoned = ending(&[&id]);
    zoned["ScheduleExpressionTimezone"] = json!("America/New_York");
    zoned["ScheduleExpression"] = json!("at(2026-11-24T08:00:00)");
    call(&mut world, "POST", "/schedules/end-1", &zoned).expect("created");
    zoned["ScheduleExpression"] = json!("at(2026-11-24T09:00:00)");
    call(&mut world, "PUT", "/schedules/end-1", &zoned).expect("moved");
    assert_eq!(
        world.cloud.next_due(world.now).map(|at| at.to_string()),
        Some("2026-11-24T14:00:00.5Z".to_owned())
    );
    world.wait_ms(3_700_000);
    assert_eq!(state(&mut world, &id), "running");
    world.wait_ms(3_600_000);
    assert_eq!(done(&world).len(), 1);
}

#[test]
fn a_role_without_the_right_ends_nothing_and_says_so() {
    let mut world = world();
    let ids = [launched(&mut world, Some("e")), launched(&mut world, Some("other"))];
    let mut kept = ending(&[&ids[0], &ids[1]]);
    kept["ActionAfterCompletion"] = json!("NONE");
    call(&mut world, "POST", "/schedules/end-1", &kept).expect("created");
    world.wait_ms(3_700_000);
    assert_eq!(done(&world), [("failed".to_owned(), Some("UnauthorizedOperation".to_owned()))]);
    for id in &ids {
        assert_eq!(state(&mut world, id), "running");
    }
    call(&mut world, "GET", "/schedules/end-1", &Value::Null).expect("kept");
    world.wait_ms(3_600_000);
    assert_eq!(done(&world).len(), 1, "it is over");
}

#[test]
fn one_unknown_id_makes_the_whole_call_fail() {
    let mut world = world();
    let id = launched(&mut world, Some("e"));
    call(&mut world, "POST", "/schedules/end-1", &ending(&[&id, "i-00000000000000000"]))
        .expect("created");
    world.wait_ms(3_700_000);
    assert_eq!(
        done(&world),
        [("failed".to_owned(), Some("InvalidInstanceID.NotFound".to_owned()))]
    );
    assert_eq!(state(&mut world, &id), "running");
}

#[test]
fn a_role_that_is_gone_can_not_be_taken() {
    let mut world = world();
    call(&mut world, "POST", "/schedules/end-1", &ending(&["i-1"])).expect("created");
    world.query("iam", "Action=DeleteRolePolicy&RoleName=ends-blocks&PolicyName=p");
    world.query("iam", "Action=DeleteRole&RoleName=ends-blocks");
    world.wait_ms(3_700_000);
    assert_eq!(done(&world)[0].0, "failed");
    assert!(world.cloud.calls().iter().all(|call| call.caller != Caller::Scheduler));
}

/// Catches: a schedule that is lost to one throttled call, and one that is tried for ever.
#[test]
fn a_throttled_call_is_made_again_as_often_as_the_retry_policy_says() {
    let mut world = world();
    let id = launched(&mut world, Some("e"));
    let fault = Fault {
        service: Some("ec2".to_owned()),
        operation: Some("TerminateInstances".to_owned()),
        caller: Some(Who::Scheduler),
        skip: 0,
        count: 4,
        effect: Effect::Throttle,
    };
    world.cloud.add_fault(fault);
    let mut once = ending(&[&id]);
    once["Target"]["RetryPolicy"] = json!({ "MaximumRetryAttempts": 1 });
    call(&mut world, "POST", "/schedules/end-1", &once).expect("created");
    call(&mut world, "POST", "/schedules/end-2", &ending(&[&id])).expect("created");
    world.wait_ms(3_700_000);
    let changes: Vec<String> = done(&world).into_iter().map(|(change, _)| change).collect();
    assert_eq!(changes, ["retries", "retries", "failed", "retries", "fired"]);
    assert_eq!(state(&mut world, &id), "terminated");
}

#[test]
fn a_disabled_schedule_and_a_recurring_one_do_not_fire() {
    let mut world = world();
    let mut disabled = ending(&["i-1"]);
    disabled["State"] = json!("DISABLED");
    call(&mut world, "POST", "/schedules/end-1", &disabled).expect("created");
    call(&mut world, "POST", "/schedules/end-2", &body("rate(5 minutes)")).expect("created");
    world.wait_ms(86_400_000);
    assert_eq!(done(&world), []);
}
