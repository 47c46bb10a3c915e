//! Whether the CloudFormation template says what `env apply` asks AWS for, field by field.

use std::collections::BTreeMap;

use localcloud_core::{Call, Options};
use serde_json::{Map, Value, json};

use super::World;

const EVERYTHING: &str = include_str!("../../../tests/e2e/fixtures/everything.toml");

/// Catches: a property that one of both ways sets and the other doesn't, or sets otherwise.
#[tokio::test(start_paused = true)]
async fn the_template_has_what_env_apply_asks_for() {
    let world = World::with_config(Options::default(), EVERYTHING);
    let printed = world.run(&["template"]).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    assert!(world.cloud(|cloud| cloud.calls().is_empty()), "nothing is asked of AWS");
    let template: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    let resources = template["Resources"].as_object().expect("resources");
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let of = |kind: &str| -> Vec<Value> {
        let of_kind = resources.values().filter(|it| it["Type"] == kind);
        sorted(of_kind.map(|it| as_api(&it["Properties"])).collect())
    };
    let asked = |operation: &str| -> Vec<Value> {
        sorted(
            world
                .accepted(operation)
                .iter()
                .map(|call: &Call| in_order(call.parameters.clone()))
                .collect(),
        )
    };
    assert_eq!(of("AWS::Batch::JobDefinition"), asked("RegisterJobDefinition"));
    let mut queue = of("AWS::Batch::JobQueue");
    assert_eq!(
        queue[0]["computeEnvironmentOrder"][0]["computeEnvironment"],
        json!({"ref": "ComputeEnvironment"})
    );
    queue[0]["computeEnvironmentOrder"][0]["computeEnvironment"] = json!("everything");
    assert_eq!(queue, asked("CreateJobQueue"));
    let mut environment = of("AWS::Batch::ComputeEnvironment");
    assert_eq!(environment[0]["serviceRole"], json!({"fn::GetAtt": ["ServiceRole", "Arn"]}));
    environment[0]["serviceRole"] =
        json!("arn:aws:iam::123456789012:role/spotblock-everything-batch");
    assert_eq!(environment, asked("CreateComputeEnvironment"));
    // IAM's documents are held against each other on moto, in tests/peers/template.py, and here
    // their names.
    let names = |kind: &str, key: &str| -> Vec<Value> {
        of(kind).into_iter().map(|it| it[key].clone()).collect()
    };
    let made = |operation: &str, key: &str| -> Vec<Value> {
        asked(operation).into_iter().map(|parameters| parameters[key].clone()).collect()
    };
    assert_eq!(names("AWS::IAM::Role", "roleName"), made("CreateRole", "RoleName"));
    let profiles = names("AWS::IAM::InstanceProfile", "instanceProfileName");
    assert_eq!(profiles, made("CreateInstanceProfile", "InstanceProfileName"));
    assert_eq!(resources.len(), 2 + 1 + 1 + 3 + 1 + 1, "{resources:?}");
}

/// A template's fields named as the API names them. What a user names, options and tags, stays as
/// it is.
fn as_api(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let mut letters = key.chars();
                let first = letters.next().map(|letter| letter.to_ascii_lowercase());
                let users = matches!(key.as_str(), "Tags" | "Options");
                let value = if users { value.clone() } else { as_api(value) };
                (first.into_iter().chain(letters).collect::<String>(), value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(all) => all.iter().map(as_api).collect(),
        plain => plain.clone(),
    }
}

/// As it is, but for pairs that are in no order.
fn in_order(mut parameters: Value) -> Value {
    if let Some(pairs) =
        parameters.pointer_mut("/containerProperties/environment").and_then(Value::as_array_mut)
    {
        pairs.sort_by_key(|pair| pair["name"].to_string());
    }
    parameters
}

fn sorted(values: Vec<Value>) -> Vec<Value> {
    let named: BTreeMap<String, Value> =
        values.into_iter().map(|value| (value.to_string(), value)).collect();
    named.into_values().collect()
}

/// Catches: a role whose path isn't `/` under an ARN that it doesn't have, and a template for a
/// role that isn't there.
#[tokio::test(start_paused = true)]
async fn a_role_that_is_given_by_name_stands_by_its_arn() {
    let config = EVERYTHING.replace(
        "name = \"everything\"",
        "name = \"everything\"\nservice-role = \"BatchServiceRole\"",
    );
    let world = World::with_config(Options::default(), &config);
    let printed = world.run(&["template"]).await;
    let template: Value = serde_json::from_str(&printed.stdout).expect(&printed.stderr);
    let role = template["Resources"]["ComputeEnvironment"]["Properties"]["ServiceRole"]
        .as_str()
        .expect("an ARN");
    assert!(role.starts_with("arn:aws:iam::") && role.ends_with("/BatchServiceRole"), "{role}");
    let world =
        World::with_config(Options::default(), &config.replace("BatchServiceRole", "NoSuchRole"));
    let refused = world.run(&["template"]).await;
    assert!(refused.code == 1 && refused.stdout.is_empty(), "{refused:?}");
    assert!(refused.stderr.contains("service role NoSuchRole is not there"), "{}", refused.stderr);
}

/// Catches: a stack that can't be updated or deleted any more, since half of it is gone.
#[tokio::test(start_paused = true)]
async fn down_all_leaves_a_stack_to_cloudformation() {
    let world = World::new(Options::default());
    let tags =
        json!({"spotblock:environment": "spot-block-test", "aws:cloudformation:stack-name": "s"});
    let environment = json!({
        "computeEnvironmentName": "spot-block-test", "type": "UNMANAGED", "tags": tags,
        "serviceRole": "arn:aws:iam::123456789012:role/BatchServiceRole",
    });
    world.batch_by_hand("CreateComputeEnvironment", &environment);
    world.pass(std::time::Duration::from_secs(30)).await;
    let order = json!([{"order": 1, "computeEnvironment": "spot-block-test"}]);
    let queue = json!({"jobQueueName": "SpotBlockQueue", "priority": 1, "computeEnvironmentOrder": order, "tags": tags});
    world.batch_by_hand("CreateJobQueue", &queue);
    world.pass(std::time::Duration::from_secs(30)).await;
    let before = world.cloud(|cloud| cloud.calls().len());
    let down = world.run(&["down", "--all"]).await;
    assert_eq!(down.code, 1, "{}", down.stderr);
    assert!(
        down.stderr.contains("aws cloudformation delete-stack --stack-name s"),
        "{}",
        down.stderr
    );
    assert_eq!(world.changing(before), Vec::<String>::new());
    let down = world.run(&["down"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
}

/// Catches: an environment of which half is removed, because IAM deletes no role that a profile
/// holds.
#[tokio::test(start_paused = true)]
async fn a_profile_without_the_mark_that_holds_our_role_is_used_and_kept_with_it() {
    let world = World::with_config(Options::default(), EVERYTHING);
    let name = "spotblock-everything-instance";
    let mark = "Tags.member.1.Key=spotblock:environment&Tags.member.1.Value=everything";
    let assume = json!({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"});
    let trust = json!({"Version": "2012-10-17", "Statement": [assume]}).to_string();
    let trust = percent_encoding::utf8_percent_encode(&trust, percent_encoding::NON_ALPHANUMERIC);
    world.by_hand(
        "iam",
        &format!("Action=CreateRole&RoleName={name}&AssumeRolePolicyDocument={trust}&{mark}"),
    );
    world.by_hand("iam", &format!("Action=CreateInstanceProfile&InstanceProfileName={name}"));
    world.by_hand(
        "iam",
        &format!("Action=AddRoleToInstanceProfile&InstanceProfileName={name}&RoleName={name}"),
    );
    let apply = world.run(&["env", "apply"]).await;
    assert_eq!(apply.code, 0, "{}", apply.stderr);
    let down = world.run(&["down", "--all"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
    for kept in ["instance profile", "role"] {
        assert!(down.stdout.contains(&format!("kept: {kept} {name}, which ")), "{}", down.stdout);
    }
    assert_eq!(world.run(&["env", "apply"]).await.code, 0, "and it can be made again");
}
