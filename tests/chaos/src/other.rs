//! Commands that somebody runs beside the block's life.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use harness::Kill;
use jiff::SignedDuration;
use tokio::task::JoinSet;

use crate::plan::Plan;
use crate::provision::{self, Mishap};
use crate::time::sleep_until;
use crate::trouble::Kind;
use crate::world::World;

/// A command.
#[derive(Clone, Debug)]
pub struct Other {
    /// When it is run.
    pub at: At,
    /// Its command line.
    pub words: Vec<String>,
    /// What befalls it.
    pub mishap: Mishap,
}

/// A moment of the story.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// So long after its beginning.
    Start(Duration),
    /// So long after the first launch.
    Launch(Duration),
}

impl Other {
    /// `extend` by so much.
    #[must_use]
    pub fn extend(at: Duration, by: Duration, dice: &mut Rng) -> Self {
        let by = format!("{}s", by.as_secs());
        Self::of(At::Launch(at), &["extend", "--by", &by, "--output", "json"], mishap(dice, 16))
    }

    /// A command, whatever befalls it.
    #[must_use]
    pub fn of(at: At, words: &[&str], mishap: Mishap) -> Self {
        Self { at, words: words.iter().map(|word| (*word).to_owned()).collect(), mishap }
    }
}

/// What befalls a run of about so many calls; half of them nothing.
pub fn mishap(dice: &mut Rng, calls: usize) -> Mishap {
    let kinds = [Kind::Failure, Kind::Throttle, Kind::LostAnswer, Kind::Slow, Kind::Hang];
    match dice.u8(0..4) {
        0 => Mishap { kill: Some(killed(dice, calls)), trouble: None },
        1 => Mishap {
            kill: None,
            trouble: Some((dice.u8(5..=40), kinds[dice.usize(0..kinds.len())])),
        },
        _ => Mishap::default(),
    }
}

/// Killed at one of so many calls.
pub fn killed(dice: &mut Rng, calls: usize) -> Kill {
    let nth = dice.usize(1..=calls);
    if dice.bool() { Kill::Before(nth) } else { Kill::After(nth) }
}

/// Begins with all of them; each is run when its time comes. The provisioner stays on its thread,
/// so these are local tasks.
pub fn begin(world: &Arc<World>, plan: &Plan, config: &Path, seed: u64) -> JoinSet<()> {
    let mut running = JoinSet::new();
    for (number, other) in (500..).zip(plan.others.clone()) {
        running.spawn_local(run(Arc::clone(world), config.to_owned(), other, seed + number));
    }
    if let Some(every) = plan.reaps {
        running.spawn_local(reap(Arc::clone(world), config.to_owned(), every, seed + 700));
    }
    running
}

async fn run(world: Arc<World>, config: std::path::PathBuf, other: Other, seed: u64) {
    let (from, after) = match other.at {
        At::Start(after) => (world.now(), after),
        At::Launch(after) => {
            while world.state().hosts.is_empty() {
                if world.state().over {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            (world.now(), after)
        }
    };
    sleep_until(world.time, from + SignedDuration::try_from(after).unwrap_or_default()).await;
    let words: Vec<&str> = other.words.iter().map(String::as_str).collect();
    provision::run(&world, &config, &words, other.mishap, seed).await;
}

/// What a cron job does: `reap` now and then, until the story is over.
async fn reap(world: Arc<World>, config: std::path::PathBuf, every: Duration, seed: u64) {
    let mut dice = Rng::with_seed(seed);
    for number in 1.. {
        tokio::time::sleep(every).await;
        if world.state().over {
            return;
        }
        provision::run(&world, &config, &["reap"], mishap(&mut dice, 12), seed + number).await;
    }
}
