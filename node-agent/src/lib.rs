//! The agent on an instance: it joins the instance to its block's ECS cluster, and sees to it that
//! no job dies unannounced and that the instance doesn't outlive its block.
//!
//! # From boot to power-off
//! 1. [`settings::args`] reads the flags; [`settings`] reads `/etc/spotblock/agent.toml`, if there
//!    is one: how the ECS agent is started and stopped and the host powered off. What is wrong in
//!    it gives way to its default, and is told. [`commands::run`] puts the agent together: a lock
//!    sees to it that no other agent keeps this instance ([`adapters::lock`]). systemd is told that
//!    the agent is ready, so that a boot never waits for it ([`adapters::systemd`]). From here on
//!    the status can be asked for ([`status::socket`], [`status::metrics`]).
//! 2. [`boot`] loads the saved state, `/var/lib/spotblock/state.json` ([`adapters::state_file`]).
//!    Saved in this very boot, it holds all that follows up to step 5.
//! 3. IMDS tells who the instance is, when it was launched and whether it is a spot instance
//!    ([`adapters::imds`]). While IMDS is down it is asked again, for ever.
//! 4. [`clock`] is anchored to the Date of that answer and counts on CLOCK_BOOTTIME from there.
//! 5. The block's settings ([`node_contract::NodeConfig`]) are read from the user data. Without
//!    any, the agent says so in the log and in its status, and starts nothing. They and the launch
//!    make the block's moments: [`node_contract::Timeline`].
//! 6. The power-off timer is written, which ends the host after its block whatever becomes of the
//!    agent; it is moved when the end moves ([`adapters::timer`]).
//! 7. [`event_loop`] is the loop from here on: an event comes in, [`lifecycle`] takes a step, the
//!    new state is saved, the actions are begun. The lifecycle's transitions are listed at
//!    [`lifecycle::Rules::step`].
//! 8. *Joining*: `/etc/ecs/ecs.config` gets the cluster, the block's attributes and the stop
//!    timeout, whatever else is in it stays ([`adapters::ecs_config`]); then the ECS agent is asked
//!    to start ([`adapters::host`]).
//! 9. *Serving*: once introspection names a registration in the right cluster
//!    ([`adapters::introspection`], [`watch::registration`]). Meanwhile [`watch::interruption`]
//!    looks for AWS's notice, [`watch::tasks`] lists the tasks, and every 15 s ECS is asked whether
//!    somebody else set DRAINING.
//! 10. *Draining*, from `drain_at`: the instance is set DRAINING until ECS confirms it
//!     ([`adapters::ecs`]). When nothing
//!     lives on the host any more and ECS knows every task as STOPPED, twice over the settle time, the agent leaves.
//! 11. *Stopping*, from `stop_at` or a notice: each task that still lives is stopped with a reason
//!     that retry rules
//!     recognise, and ECS's word that it stopped is waited for. What outlives its stop is killed.
//! 12. *Leaving*: the ECS agent is stopped, the instance deregistered. Where ECS took no stop the
//!     containers are stopped
//!     through the container runtime in between, and the instance is left for ECS to miss; so too where the agent knows
//!     of no registration and ECS doesn't say whether there is one.
//! 13. *Gone*: the host is powered off, at `end` at the latest whatever has failed, and told again
//!     every ten seconds if
//!     it lives on.
//!
//! What is done is told in the [log](status::log). A restart in any of these finds its place again.
//! SIGTERM ends the agent and touches nothing. What happens is written down in the
//! [record](status::record), and [hooks](adapters::hooks) are told of it. When the host goes down
//! for a reason of its own, [`commands::guard`] stops its tasks while there is still an ECS agent
//! to report that.
//!
//! # The layers
//! Bottom up. A module uses those of its own row and of the rows above it, and never those below
//! it.
//!
//! | layer | what it is |
//! |---|---|
//! | `lifecycle` | what is to be done when, decided by a pure state machine: no I/O, no clock |
//! | `ports` | what the agent needs from outside, as traits, and what is said through them |
//! | `clock` | the block's time; the only reader of clocks |
//! | `settings` | the command line, agent.toml and the environment, validated once |
//! | `adapters` | the outside, one thing a file; each implements a port or serves one that does |
//! | `boot` | what has to be known and set up before the loop begins |
//! | `watch` | the watchers: each polls a port and emits events |
//! | `status` | what the agent tells of itself: status, metrics, log, record |
//! | `event_loop` | the only loop: an event comes in, the lifecycle takes a step, actions are begun |
//! | `commands` | what the command line runs, one file a command |

// The manual leads to what only this crate sees, too: `cargo doc --document-private-items` shows
// it.
#![allow(rustdoc::private_intra_doc_links)]

pub mod adapters;
pub mod boot;
pub mod clock;
pub mod commands;
pub mod event_loop;
pub mod lifecycle;
pub mod ports;
pub mod settings;
pub mod status;
mod watch;

#[cfg(test)]
mod testing;
