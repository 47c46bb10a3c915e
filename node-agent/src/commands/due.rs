//! `spotblock-agent due`: tells the power-off timer by the exit code whether the block is over.

use std::path::Path;

use node_contract::names;

use crate::adapters::state_file::StateFile;
use crate::adapters::timer;
use crate::clock::BootClock;

/// The exit code: 0 where the block of this host is over, another where it isn't.
pub async fn exit_code(root: &Path) -> u8 {
    if is_due(root).await { 0 } else { timer::NOT_DUE }
}

/// Whether the block of this host is over ([`timer::is_due`]).
async fn is_due(root: &Path) -> bool {
    let agent_saw = std::fs::read_to_string(root.join(names::path::BOOT_ID)).ok();
    let state = StateFile::new(root.join(names::path::STATE));
    timer::is_due(&state, &BootClock::new(), agent_saw.as_deref()).await
}
