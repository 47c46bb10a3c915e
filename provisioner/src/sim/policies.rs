//! Whether a user who has the policies of `spotblock iam` and nothing else could have done all that is done here.

use std::collections::BTreeSet;

use localcloud::core::{Caller, Options};
use serde_json::Value;

use super::{World, example_with};

/// Catches: a call that no label in the adapters' source tells of, and so one that the policy doesn't allow.
#[tokio::test(start_paused = true)]
async fn a_whole_life_makes_no_call_that_the_policy_does_not_allow() {
    let config = example_with("sources = [\"spot-block\"]", "sources = [\"on-demand\"]");
    a_life_within_the_policy(Options::default(), &config.replacen("max-price = 0.03\n", "", 1), &["up", "--new"]).await;
}

/// Catches: a capacity block that is bought, launched into or looked for without leave.
#[tokio::test(start_paused = true)]
async fn nor_does_one_in_a_capacity_block() {
    let options = Options { capacity_block_starts_in: Some(jiff::SignedDuration::ZERO), ..Options::default() };
    let config = super::capacity_block::config("max-cost = 2000\n");
    a_life_within_the_policy(options, &config, &["up", "--new", "--yes-purchase"]).await;
}

async fn a_life_within_the_policy(options: Options, config: &str, new: &[&str]) {
    let world = World::with_config(options, config);
    let mut policies = String::new();
    for command in [
        &["plan"][..],
        &[&["up"], new.get(2..).unwrap_or_default()].concat(),
        &["env", "show"],
        &["submit", "-j", "hello-world"],
        &["jobs"],
        &["status"],
        &["doctor"],
        &["iam"],
        &["extend", "--by", "24h", "--yes-purchase"],
        &["drain"],
        &["reap"],
        new,
        &["down", "--all", "--discard-jobs"],
    ] {
        let run = world.run(command).await;
        assert!([0, 1, 4].contains(&run.code), "{command:?}: {}", run.stderr);
        if command == ["iam"] {
            policies = run.stdout;
        }
    }
    let policies: Value = serde_json::from_str(&policies).expect("JSON");
    let statements =
        ["environment", "blocks"].map(|who| policies[who]["policy"]["Statement"].as_array().expect("statements"));
    let allowed: BTreeSet<&str> = statements
        .into_iter()
        .flatten()
        .flat_map(|it| it["Action"].as_array().expect("actions"))
        .filter_map(Value::as_str)
        .collect();
    let called: BTreeSet<String> = world.cloud(|cloud| {
        let by_user = cloud.calls().iter().filter(|call| call.caller == Caller::User);
        by_user.map(|call| format!("{}:{}", call.service, call.operation)).collect()
    });
    assert!(called.len() > 35, "{called:?}");
    let denied: Vec<_> = called.iter().filter(|it| !allowed.contains(it.as_str())).collect();
    assert!(denied.is_empty(), "{denied:?}");
    let cluster = policies["blocks"]["policy"].to_string();
    assert!(cluster.contains(":cluster/") && !cluster.contains("cluster/*"), "held to the environment's cluster");
}

/// Catches: policies for every cluster of the account, where an administrator makes them before the environment is there.
#[tokio::test(start_paused = true)]
async fn before_the_environment_is_there_the_policies_are_for_the_forms_of_its_clusters_name() {
    let world = World::new(Options::default());
    let run = world.run(&["iam"]).await;
    assert!(run.code == 0 && run.stderr.contains("warning: environment spot-block-test is not there yet"), "{run:?}");
    assert!(!run.stdout.contains("cluster/*"), "{}", run.stdout);
    for form in ["cluster/AWSBatch-spot-block-test-????????-", "task/spot-block-test_Batch_????????-"] {
        assert!(run.stdout.contains(form), "{form} is missing in {}", run.stdout);
    }
}
