//! Calls that fail, and what the user is told.

use std::collections::BTreeSet;

use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options};

use super::World;
use super::end_state::EndState;

fn fault(operation: &str, count: u32, effect: Effect) -> Fault {
    Fault { service: None, operation: Some(operation.into()), caller: None, skip: 0, count, effect }
}

fn fail(code: &str, status: u16) -> Effect {
    Effect::Fail { code: code.into(), status, message: "as the script says".into() }
}

async fn up_with(operation: &str, count: u32, effect: Effect) -> (World, super::Run) {
    let world = World::new(Options::default());
    world.cloud(|cloud| cloud.add_fault(fault(operation, count, effect)));
    let run = world.run(&["up"]).await;
    (world, run)
}

/// Catches: a purchase repeated under another token after its answer was lost.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_purchase_buys_once() {
    for operation in ["RequestSpotInstances", "CreateLaunchTemplate"] {
        let (world, run) = up_with(operation, 1, Effect::LostAnswer).await;
        assert_eq!(run.code, 0, "{operation}: {}", run.stderr);
        let status = world.run(&["status", "--output", "json"]).await.stdout;
        assert_eq!(status.matches("\"instance_type\"").count(), 1, "{operation}: {status}");
        assert_eq!(status.matches("\"record\"").count(), 1, "{operation}: {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_and_failing_servers_are_survived() {
    for operation in [
        "RequestSpotInstances",
        "DescribeSpotInstanceRequests",
        "CreateComputeEnvironment",
        "DescribeContainerInstances",
    ] {
        let (_, run) = up_with(operation, 3, Effect::Throttle).await;
        assert_eq!(run.code, 0, "{operation} throttled: {}", run.stderr);
        let (_, run) = up_with(operation, 2, fail("InternalError", 500)).await;
        assert_eq!(run.code, 0, "{operation} failing: {}", run.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_named_whichever_call_it_is() {
    for (operation, code, permission) in [
        (
            "DescribeComputeEnvironments",
            "AccessDeniedException",
            "batch:DescribeComputeEnvironments",
        ),
        ("CreateComputeEnvironment", "AccessDeniedException", "batch:CreateComputeEnvironment"),
        ("GetRole", "AccessDenied", "iam:GetRole"),
        ("CreateLaunchTemplate", "UnauthorizedOperation", "ec2:CreateLaunchTemplate"),
        ("RequestSpotInstances", "UnauthorizedOperation", "ec2:RequestSpotInstances"),
        ("CreateTags", "UnauthorizedOperation", "ec2:CreateTags"),
        ("ListContainerInstances", "AccessDeniedException", "ecs:ListContainerInstances"),
    ] {
        let (world, run) = up_with(operation, 1, fail(code, 403)).await;
        assert_eq!(run.code, 1, "{operation}: {}", run.stderr);
        assert!(
            run.stderr.contains(&format!("the permission {permission} on ")),
            "{operation}: {}",
            run.stderr
        );
        assert!(run.stderr.contains("(request id "), "{operation}: {}", run.stderr);
        // With the permission it goes on where it stopped, and buys once.
        let again = world.run(&["up"]).await;
        assert_eq!(again.code, 0, "{operation}: {}", again.stderr);
        assert_eq!(world.accepted("CreateLaunchTemplate").len(), 1, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_and_parameters_that_never_do_are_told_apart() {
    let (world, run) = up_with("RequestSpotInstances", 1, fail("RequestExpired", 400)).await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("sign in again"), "{}", run.stderr);
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(world.accepted("CreateLaunchTemplate").len(), 1, "the same block goes on");

    let (world, run) =
        up_with("RequestSpotInstances", 1, fail("InvalidKeyPair.NotFound", 400)).await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(
        world.accepted("CreateLaunchTemplate").len(),
        2,
        "its parameters are frozen: the next block begins"
    );
}

/// Catches: a submission repeated by the SDK after its answer was lost, which would run the job
/// twice.
#[tokio::test(start_paused = true)]
async fn a_job_whose_submission_got_no_answer_is_not_submitted_again() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    world.cloud(|cloud| cloud.add_fault(fault("SubmitJob", 1, Effect::LostAnswer)));
    let run = world.run(&["submit", "-j", "hello-world"]).await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("whether job hello-world was submitted is not known"),
        "{}",
        run.stderr
    );
    assert_eq!(world.accepted("SubmitJob").len(), 1);
    // Throttled means not done.
    world.cloud(|cloud| cloud.add_fault(fault("SubmitJob", 2, Effect::Throttle)));
    assert_eq!(world.run(&["submit", "-j", "hello-world"]).await.code, 0);
    assert_eq!(world.accepted("SubmitJob").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_instance_profile_that_is_too_new_is_waited_for() {
    let config = super::example_with("instance-profile = \"ecsInstanceRole\"\n", "");
    let mut options = Options::default();
    options.pace.profile_ms = 20_000;
    let world = World::with_config(options, &config);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("to be usable"), "{}", run.stderr);
}

/// Loses the answer of each of `command`'s operations in turn, each in a world of its own, and
/// gives those operations; the SDK repeats the call.
pub(super) async fn whichever_answer_is_lost(
    prepare: impl AsyncFn() -> World,
    command: &[&str],
) -> BTreeSet<String> {
    let world = prepare().await;
    let before = world.calls_of_users();
    assert_eq!(world.run(command).await.code, 0);
    let operations: BTreeSet<String> =
        world.operations_of_users().split_off(before).into_iter().collect();
    let wanted = EndState::of(&world).await;
    let mut broken = Vec::new();
    for operation in harness::cases(&operations) {
        let world = prepare().await;
        world.cloud(|cloud| cloud.add_fault(fault(operation, 1, Effect::LostAnswer)));
        let run = world.run(command).await;
        if run.code != 0 || EndState::of(&world).await != wanted {
            broken.push(format!("{operation}: {}", run.stderr));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    operations
}

/// The example, with roles and profile that spotblock makes, after these commands.
async fn with_own_roles(first: &[&str]) -> World {
    let config = super::example_with("service-role = \"BatchServiceRole\"\n", "");
    let config = config.replace("instance-profile = \"ecsInstanceRole\"\n", "");
    let world = World::with_config(Options::default(), &config);
    assert!(first.is_empty() || world.run(first).await.code == 0);
    world
}

/// Catches: a call that the SDK repeats after its answer was lost, and whose repetition fails
/// because the first worked.
#[tokio::test(start_paused = true)]
async fn whichever_answer_is_lost_up_ends_as_if_none_had_been() {
    whichever_answer_is_lost(async || with_own_roles(&[]).await, &["up"]).await;
}

#[tokio::test(start_paused = true)]
async fn whichever_answer_is_lost_down_ends_as_if_none_had_been() {
    whichever_answer_is_lost(async || with_own_roles(&["up"]).await, &["down", "--all"]).await;
}
