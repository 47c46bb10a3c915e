use std::path::Path;

use super::*;
use crate::testing;

/// Both in one.
fn policy() -> Value {
    let mut settings = testing::settings("");
    settings.block.sources.push(node_contract::Source::CapacityBlock);
    settings.block.max_cost = Some(500.0);
    let clusters = ["arn:aws:ecs:us-east-1:123456789012:cluster/c".to_owned()];
    let place = PolicyScope {
        partition: "aws",
        region: "us-east-1",
        account: "123456789012",
        clusters: &clusters,
    };
    let desired = Desired::new(&settings);
    let both = [environment(&desired, &place), blocks(&desired, &place)];
    let statements =
        both.iter().flat_map(|it| it["Statement"].as_array().cloned().unwrap_or_default());
    json!({"Statement": statements.collect::<Vec<_>>()})
}

fn allowed(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().expect("statements").iter();
    let actions = statements.flat_map(|it| it["Action"].as_array().expect("actions").iter());
    actions.map(|action| action.as_str().expect("a name").to_owned()).collect()
}

/// The actions that the adapters' source names, each where a call's failure is told.
fn in_source(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            in_source(&path, found);
        } else {
            let text = std::fs::read_to_string(&path).expect("source");
            let calls = text.split("failed(").skip(1).map(str::trim_start);
            for part in calls.filter_map(|call| call.strip_prefix('"')) {
                found.insert(part.split('"').next().unwrap_or_default().to_owned());
            }
        }
    }
}

/// Catches: a call that a user with this policy isn't allowed to make, and a right that nothing
/// needs. The rights below are asked for by AWS beside the calls: tags at creation, and roles
/// that are passed on.
#[test]
fn every_call_is_allowed_and_nothing_else() {
    const BESIDE: [&str; 5] = [
        "batch:TagResource",
        "iam:PassRole",
        "iam:TagInstanceProfile",
        "iam:TagRole",
        "scheduler:TagResource",
    ];
    let mut called = BTreeSet::new();
    in_source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/aws"), &mut called);
    assert!(called.len() > 50, "the source was read: {called:?}");
    let allowed = allowed(&policy());
    let missing: Vec<_> = called.difference(&allowed).collect();
    assert!(missing.is_empty(), "called and not allowed by `spotblock iam`: {missing:?}");
    let never_used: Vec<_> = allowed.difference(&called).map(String::as_str).collect();
    assert_eq!(never_used, BESIDE, "allowed by `spotblock iam` and never called");
}

/// Catches: `logs` of a job that writes into another group than Batch's, without the right to
/// read it.
#[test]
fn logs_can_be_read_where_the_job_definitions_send_them() {
    let mut settings = testing::settings("");
    let mut job = settings.job_definitions[0].clone();
    let group = ("awslogs-group".to_owned(), "/jobs".to_owned());
    job.log = Some(crate::model::job_definition::Log {
        driver: "awslogs".to_owned(),
        options: [group].into(),
    });
    settings.job_definitions.push(job);
    let clusters = ["arn:aws:ecs:us-east-1:1:cluster/c".to_owned()];
    let place =
        PolicyScope { partition: "aws", region: "us-east-1", account: "1", clusters: &clusters };
    let streams = output(&Desired::new(&settings), &place)["Resource"].clone();
    let of = |group: &str| format!("arn:aws:logs:us-east-1:1:log-group:{group}:log-stream:*");
    assert_eq!(streams, json!([of("/aws/batch/job"), of("/jobs")]));
}

/// Catches: a right to change what isn't the environment's.
#[test]
fn what_changes_things_is_held_to_the_environment() {
    let policy = policy();
    for statement in policy["Statement"].as_array().expect("statements") {
        let resource = statement["Resource"].to_string();
        let held = statement.get("Condition").is_some() || !resource.contains("\"*\"");
        for action in statement["Action"].as_array().expect("actions") {
            let action = action.as_str().expect("a name");
            let reads =
                ["Describe", "List", "Get"].iter().any(|verb| action.contains(&format!(":{verb}")));
            assert!(held || reads, "{action} on {resource}");
            assert!(!action.contains('*'), "{action}");
        }
    }
}
