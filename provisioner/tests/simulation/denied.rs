//! Every call that is denied: the missing permission is named, nothing is bought or left half, and
//! with the permission the same command goes on to the end that it would have had.

use std::collections::BTreeMap;

use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Caller, Fault, Options};

use super::end_state::EndState;
use super::{World, example_with};

/// Each operation that was called, with its service.
pub(super) fn operations(world: &World, since: usize) -> BTreeMap<String, String> {
    world.cloud(|cloud| {
        let calls = cloud.calls()[since..].iter().filter(|call| call.caller == Caller::User);
        calls.map(|call| (call.operation.clone(), call.service.clone())).collect()
    })
}

pub(super) fn deny(world: &World, service: &str, operation: &str) {
    let code = match service {
        "ec2" => "UnauthorizedOperation",
        "iam" => "AccessDenied",
        _ => "AccessDeniedException",
    };
    let message = "You are not authorized to perform this operation.".to_owned();
    let effect = Effect::Fail { code: code.into(), status: 403, message };
    let operation = Some(operation.to_owned());
    world.cloud(|cloud| {
        cloud.add_fault(Fault {
            service: None,
            operation,
            caller: None,
            skip: 0,
            count: u32::MAX,
            effect,
        });
    });
}

/// A world in which everything is made that can be made.
fn with_roles() -> World {
    let config = example_with("service-role = \"BatchServiceRole\"\n", "");
    World::with_config(
        Options::default(),
        &config.replace("instance-profile = \"ecsInstanceRole\"\n", ""),
    )
}

async fn whichever_is_denied(prepare: impl AsyncFn() -> World, command: &[&str], least: usize) {
    let world = prepare().await;
    let before = world.calls();
    assert_eq!(world.run(command).await.code, 0);
    let operations = operations(&world, before);
    assert!(operations.len() >= least, "{operations:?}");
    let wanted = EndState::of(&world).await;
    for (operation, service) in harness::cases(&operations) {
        let world = prepare().await;
        deny(&world, service, operation);
        let run = world.run(command).await;
        let told = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, 1, "{operation}: {told}");
        assert!(
            run.stderr.contains(&format!("error: {service}:{operation} for ")),
            "{operation}: {told}"
        );
        assert!(run.stderr.contains("(request id "), "{operation}: {told}");
        assert!(
            run.stderr.contains(&format!("next: the permission {service}:{operation} on ")),
            "{operation}: {told}"
        );
        world.cloud(localcloud_core::Cloud::clear_faults);
        let again = world.run(command).await;
        assert_eq!(again.code, 0, "{operation}: {}", again.stderr);
        assert_eq!(EndState::of(&world).await, wanted, "{operation}: {}", again.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn whichever_call_of_up_is_denied_its_permission_is_named_and_nothing_is_left_half() {
    whichever_is_denied(async || with_roles(), &["up"], 25).await;
}

#[tokio::test(start_paused = true)]
async fn whichever_call_of_down_is_denied_its_permission_is_named_and_nothing_is_left_half() {
    let prepare = async || {
        let world = with_roles();
        assert_eq!(world.run(&["up"]).await.code, 0);
        world
    };
    whichever_is_denied(prepare, &["down", "--all"], 20).await;
}

/// Catches: a purchase made although the run can't see what it bought.
#[tokio::test(start_paused = true)]
async fn what_is_denied_before_the_purchase_buys_nothing() {
    let world = with_roles();
    assert_eq!(world.run(&["up"]).await.code, 0);
    let order = world.operations_of_users();
    let purchase =
        order.iter().position(|name| name == "RequestSpotInstances").expect("a purchase");
    let services = operations(&world, 0);
    let before = services.keys().filter(|name| order[..=purchase].contains(name));
    for operation in harness::cases(before) {
        let world = with_roles();
        deny(&world, &services[operation], operation);
        assert_eq!(world.run(&["up"]).await.code, 1, "{operation}");
        assert_eq!(world.launched().len(), 0, "{operation}");
    }
}
