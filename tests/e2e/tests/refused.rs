//! AWS refuses spot blocks today.

use crate::world::{World, accepted};

#[tokio::test]
async fn a_refused_block_ends_with_3_explains_itself_and_leaves_no_instance() {
    let world = World::new("spot-block-test.toml", &["--spot-block", "refuse"]).await;
    let run = world.spotblock(&["up"]).await.code(3).expect("exit code 3");
    for part in ["InvalidParameterValue", "BlockDurationMinutes", "request id", "sources"] {
        assert!(run.stderr.contains(part), "{part:?} is missing in: {}", run.stderr);
    }
    assert_eq!(accepted(&world.calls().await, "RequestSpotInstances").len(), 0);

    // A refusal is remembered, not asked for again under the same token: the next `up` begins
    // another block.
    world.spotblock(&["up"]).await.code(3).expect("exit code 3 again");
    let calls = world.calls().await;
    let tokens: std::collections::BTreeSet<String> = calls
        .iter()
        .filter(|call| call.operation == "RequestSpotInstances")
        .map(|call| call.parameters["ClientToken"].as_str().expect("always a token").to_owned())
        .collect();
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    world.cloud.stop().await.expect("it ends");
}
