//! The whole program on simulated time, against the local cloud's core, in one process
//! (tests/harness), with nodes that do nothing but register.

use std::path::Path;

pub(crate) use harness::Kill;
pub(crate) use runs::{Run, SILENCE};
pub(crate) use world::World;

mod capacity_block;
mod capacity_extension;
mod concurrent_runs;
mod consent;
mod denied;
mod doctor;
mod down_during_up;
mod drift;
mod end_state;
mod errors;
mod extend;
mod fallback;
mod fallback_killed;
mod faults;
mod foreign;
mod head;
mod interrupted;
mod jobs;
mod json;
mod killed;
mod lives;
mod logs;
mod messages;
mod named;
mod nodes;
mod pause;
mod policies;
mod prices;
mod reap;
mod reservation;
mod runs;
mod scale;
mod status;
mod template;
mod termination_schedules;
mod unreadable;
mod world;

/// The first example's file.
const EXAMPLE: &str = include_str!("../../../tests/e2e/fixtures/spot-block-test.toml");

/// The example's file, for tests that change it.
pub(crate) fn example_with(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "the example has {from:?}");
    EXAMPLE.replacen(from, to, 1)
}

/// A path that is never there, for commands that write.
pub(crate) fn fresh_path(folder: &Path) -> String {
    folder.join("spotblock.toml").to_str().expect("a path").to_owned()
}
