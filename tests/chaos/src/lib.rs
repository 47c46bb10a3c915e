//! Whole blocks under every fault there is, in one process on simulated time: the provisioner's
//! real program and the agent's real life against the local cloud's core. docs/chaos.md tells what
//! is simulated, and what is held against it.
//!
//! 1. [`plan`] says what a seed means: a block, its jobs, and what goes wrong.
//! 2. [`story`] lives it: [`provision`] runs `spotblock` with its SDK code, [`process`] the agent
//!    with its loop, on [`ports`] that reach into the [`world`] of the cloud's core and simulated
//!    [`host`]s with their [`container`]s. Beside it, [`other`] commands are run.
//! 3. [`verdict`] holds what happened against the promises; what can't be told afterwards any more,
//!    [`look_out`] does.
//! 4. [`mutant`] breaks the programs on purpose, to show that a broken promise is seen.

pub mod container;
pub mod host;
pub mod look_out;
pub mod mutant;
pub mod other;
pub mod plan;
pub mod ports;
pub mod process;
pub mod provision;
pub mod story;
pub mod time;
pub mod trouble;
pub mod verdict;
pub mod world;
