//! Whether a user who has the policies of `spotblock iam` and nothing else can do all that is done
//! here: IAM's side of it, by action, resource and condition, is the local cloud's
//! (`tests/localcloud/core/src/services/iam`).

use localcloud_core::{Caller, Options};
use serde_json::Value;

use super::{World, example_with};

/// The example, where everything is made that can be made, and instances are bought from here.
fn made_from(source: &str) -> String {
    let config = example_with("service-role = \"BatchServiceRole\"\n", "");
    let config = config.replace("instance-profile = \"ecsInstanceRole\"\n", "");
    let config = config.replace("sources = [\"spot-block\"]", &format!("sources = [\"{source}\"]"));
    let priced = ["spot-block", "spot"].contains(&source);
    if priced { config } else { config.replacen("max-price = 0.03\n", "", 1) }
}

/// The documents that `spotblock iam` prints for users.
async fn policies(world: &World) -> Vec<Value> {
    let run = world.run(&["iam"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let printed: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let documents = ["environment", "blocks"].map(|who| printed[who]["policy"].clone());
    assert!(documents.iter().all(Value::is_object), "{printed}");
    documents.into()
}

/// Catches: a call that the policies don't allow, as AWS asks about it: on its resources, with its
/// tags and conditions.
#[tokio::test(start_paused = true)]
async fn a_whole_life_is_allowed_by_the_policies_from_every_source() {
    for source in ["spot-block", "spot", "on-demand", "reservation"] {
        a_life_within_the_policy(Options::default(), &made_from(source), &["up", "--new"]).await;
    }
}

/// Catches: roles that were given by name and can't be passed on.
#[tokio::test(start_paused = true)]
async fn so_is_one_with_roles_that_were_there() {
    a_life_within_the_policy(Options::default(), super::EXAMPLE, &["up", "--new"]).await;
}

/// Catches: a capacity block that is bought, launched into or looked for without leave.
#[tokio::test(start_paused = true)]
async fn so_is_one_in_a_capacity_block() {
    let options = Options {
        capacity_block_starts_in: Some(jiff::SignedDuration::ZERO),
        ..Options::default()
    };
    let config = super::capacity_block::config("max-cost = 2000\n");
    a_life_within_the_policy(options, &config, &["up", "--new", "--yes-purchase"]).await;
}

async fn a_life_within_the_policy(options: Options, config: &str, new: &[&str]) {
    let world = World::with_config(options, config);
    let before = policies(&world).await;
    world.cloud(|cloud| cloud.hold_users_to(before));
    let mut cluster = String::new();
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
        let denied = denied(&world);
        assert!(denied.is_empty(), "{command:?}: {denied:?}: {}", run.stderr);
        if command == ["iam"] {
            // Now that the cluster is there, the policies name it.
            let documents = policies(&world).await;
            cluster = documents[1].to_string();
            world.cloud(|cloud| cloud.hold_users_to(documents));
        }
    }
    assert!(
        cluster.contains(":cluster/") && !cluster.contains("cluster/*"),
        "held to the environment's cluster"
    );
    let called = super::denied::operations(&world, 0);
    assert!(called.len() > 35, "{called:?}");
}

/// The users' calls that IAM refused.
fn denied(world: &World) -> Vec<String> {
    world.cloud(|cloud| {
        let by_user = cloud.calls().iter().filter(|call| call.caller == Caller::User);
        let denied = by_user.filter(|call| {
            call.error
                .as_deref()
                .is_some_and(|code| code.contains("Unauthorized") || code.contains("AccessDenied"))
        });
        denied
            .map(|call| format!("{}:{} {}", call.service, call.operation, call.parameters))
            .collect()
    })
}

/// Catches: policies for every cluster of the account, where an administrator makes them before the
/// environment is there.
#[tokio::test(start_paused = true)]
async fn before_the_environment_is_there_the_policies_are_for_the_forms_of_its_clusters_name() {
    let world = World::new(Options::default());
    let run = world.run(&["iam"]).await;
    assert!(
        run.code == 0
            && run.stderr.contains("warning: environment spot-block-test is not there yet"),
        "{run:?}"
    );
    assert!(!run.stdout.contains("cluster/*"), "{}", run.stdout);
    for form in
        ["cluster/AWSBatch-spot-block-test-????????-", "task/spot-block-test_Batch_????????-"]
    {
        assert!(run.stdout.contains(form), "{form} is missing in {}", run.stdout);
    }
}

/// Catches: a block on instances whose role can't see and stop tasks, of which nobody hears before
/// it ends. AWS's own policy for container instances, which the profiles of most accounts have, is
/// such a one.
#[tokio::test(start_paused = true)]
async fn a_given_profile_whose_role_lacks_rights_is_told_of_beforehand() {
    let world = World::new(Options::default());
    let told = "warning: instance profile ecsInstanceRole: its role is not allowed ";
    let run = world.run(&["plan"]).await;
    assert!(run.code == 0 && !run.stderr.contains(told), "{}", run.stderr);
    world.by_hand(
        "iam",
        "Action=DeleteRolePolicy&RoleName=ecsInstanceRole&PolicyName=spotblock-agent",
    );
    let lacking = "ecs:DescribeContainerInstances, ecs:DescribeTasks, \
                   ecs:ListContainerInstances, ecs:ListTasks, ecs:PutAttributes, ecs:StopTask: ";
    let run = world.run(&["plan"]).await;
    assert!(run.code == 0 && run.stderr.contains(&format!("{told}{lacking}")), "{}", run.stderr);
    assert!(run.stderr.contains("`spotblock iam instance`"), "{}", run.stderr);
    let arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role";
    world.by_hand(
        "iam",
        &format!("Action=DetachRolePolicy&RoleName=ecsInstanceRole&PolicyArn={arn}"),
    );
    let run = world.run(&["plan"]).await;
    assert!(run.stderr.contains("its instances can't join the cluster"), "{}", run.stderr);
    // With what is printed for instances all is well, before the cluster is there and after.
    let printed = world.run(&["iam", "instance"]).await.stdout;
    let policy: Value = serde_json::from_str(&printed).expect("JSON");
    let policy = policy.get("policy").unwrap_or(&policy).to_string();
    let encoded: String =
        percent_encoding::utf8_percent_encode(&policy, percent_encoding::NON_ALPHANUMERIC)
            .collect();
    let put = format!(
        "Action=PutRolePolicy&RoleName=ecsInstanceRole&PolicyName=p&PolicyDocument={encoded}"
    );
    world.by_hand("iam", &put);
    for command in [&["plan"][..], &["env", "apply"], &["plan"]] {
        let run = world.run(command).await;
        assert!(run.code == 0 && !run.stderr.contains(told), "{command:?}: {}", run.stderr);
    }
}
