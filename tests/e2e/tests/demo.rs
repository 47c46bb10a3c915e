//! The demo is a test as well: it judges by the records and exits accordingly.

use std::time::Duration;

use e2e::cli;

use crate::world::binaries;

#[tokio::test]
async fn the_demo_keeps_every_promise_in_under_two_minutes() {
    let binaries = binaries();
    let demo = binaries.spotblock.with_file_name("demo");
    assert!(demo.is_file(), "{} is not built: run `cargo build --workspace`", demo.display());
    let command = cli::command(&demo, "http://127.0.0.1:1", &[]);
    let run = cli::run(command, Duration::from_secs(120)).await.expect("a run of the demo");
    let run = run.success().expect("every promise kept");
    assert!(!run.stdout.contains("BROKEN"), "{}", run.stdout);
    assert_eq!(run.stdout.matches("kept  ").count(), 10, "{}", run.stdout);
}
