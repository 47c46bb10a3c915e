//! What AWS's answers to purchases name, where a look by its tags doesn't show it.

use harness::Kill;
use localcloud_core::Options;

use super::World;
use super::fallback::{config, today};

/// A world with an environment, whose next block comes from this source.
async fn prepared(source: &str) -> World {
    let options = if source == "spot-block" { Options::default() } else { today(&[]) };
    let world = World::with_config(options, &config(&[source]));
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    world
}

/// Takes all tags from instances and spot requests, as a tag cleaner would.
fn strip_tags(world: &World) {
    let requests = world.by_hand("ec2", "Action=DescribeSpotInstanceRequests");
    let requests = requests.split("<spotInstanceRequestId>").skip(1);
    let requests = requests.filter_map(|rest| rest.split('<').next().map(str::to_owned));
    for id in requests.chain(world.launched()) {
        world.by_hand("ec2", &format!("Action=DeleteTags&ResourceId.1={id}"));
    }
}

/// Catches: what was bought, and whose tags never came, waited for in vain and left running.
#[tokio::test(start_paused = true)]
async fn what_an_answer_names_is_marked_though_its_tags_are_gone() {
    for (source, purchase) in [
        ("spot-block", "RequestSpotInstances"),
        ("spot", "CreateFleet"),
        ("on-demand", "CreateFleet"),
        ("reservation", "RunInstances"),
    ] {
        let first = prepared(source).await;
        let before = first.calls_of_users();
        assert_eq!(first.run(&["request"]).await.code, 0, "{source}");
        let order = first.operations_of_users().split_off(before);
        let nth = 1 + order.iter().position(|name| name == purchase).expect("a purchase");

        let world = prepared(source).await;
        let strip = async { strip_tags(&world) };
        let (run, stripped) = world.run_paused(&["request"], Kill::After(nth), strip).await;
        assert!(stripped.is_some(), "{source}: it never stood still");
        assert_eq!(run.code, 0, "{source}: {}", run.stderr);
        let down = world.run(&["down"]).await;
        assert_eq!((down.code, world.alive()), (0, 0), "{source}: {}", down.stderr);
        assert_eq!(world.launched().len(), 3, "{source}: bought once");
    }
}
