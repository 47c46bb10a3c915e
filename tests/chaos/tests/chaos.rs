//! A bounded part of `make chaos`: some blocks, one lived twice, and programs that are broken on purpose.

use std::time::Duration;

use chaos::mutant::Mutant;
use chaos::plan::{Blow, Plan};
use chaos::story;
use localcloud::core::options::SpotBlock;

/// In how many blocks that have what it takes a broken program has to be caught.
const WITHIN: usize = 4;

#[track_caller]
fn all_is_well(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let outcome = story::live(seed, None);
        assert!(
            outcome.broken.is_empty(),
            "{}\n{:#?}\nseed {seed}: `make chaos SEED={seed}` shows the same again",
            outcome.events.join("\n"),
            outcome.broken
        );
        assert!(outcome.instances > 0, "seed {seed}: a block without an instance shows nothing");
    }
}

#[test]
fn blocks_keep_their_promises_whatever_goes_wrong() {
    all_is_well(1..=16);
}

/// Catches: anything that comes from outside of the seed, such as a real clock or the order of a hash map.
#[test]
fn a_seed_tells_the_same_story_twice() {
    let seed = 7;
    let (one, other) = (story::live(seed, None), story::live(seed, None));
    let first = one.log.iter().zip(&other.log).find(|(one, other)| one != other);
    assert_eq!(first, None);
    assert_eq!(one.log.len(), other.log.len());
    assert!(one.log.len() > 100);
}

/// Lives blocks with a broken program until one shows it, and wants it shown by one of these words.
#[track_caller]
fn is_caught(mutant: Mutant, fits: impl Fn(&Plan) -> bool, words: &[&str]) {
    let mut lived = Vec::new();
    for seed in (1..100_000).filter(|seed| fits(&Plan::of(*seed))).take(WITHIN) {
        let broken = story::live(seed, Some(mutant)).broken;
        if broken.iter().any(|told| words.iter().any(|words| told.starts_with(words))) {
            return;
        }
        lived.push((seed, broken));
    }
    panic!("{} is not caught: {lived:?}", mutant.name());
}

/// Short blocks in which few other things go wrong: what a mutant does isn't hidden by something worse.
fn is_plain(plan: &Plan) -> bool {
    plan.lasts.as_secs() < 1_200
        && plan.ups.is_empty()
        && plan.clumsy.is_none()
        && plan.early.is_none()
        && plan.blows.len() < 5
}

/// From its beginning on there are more jobs than instances, that outlast the block: they run whenever it ends. Two fit on
/// an instance.
fn is_busy(plan: &Plan) -> bool {
    let long = plan.jobs.iter().filter(|(at, job)| at.is_zero() && job.seconds >= plan.lasts.as_secs());
    is_plain(plan) && long.count() > 2 * (plan.instances - 1)
}

#[test]
fn an_agent_that_leaves_before_ecs_knows_stopped_is_caught() {
    // Reports that take longer than an agent waits before it believes what it sees.
    let fits = |plan: &Plan| is_plain(plan) && plan.options.pace.report_ms > 8_000 && plan.jobs.len() > 6;
    is_caught(Mutant::LeavesEarly, fits, &["job lost", "run twice"]);
}

#[test]
fn an_agent_that_never_stops_a_task_is_caught() {
    is_caught(Mutant::NeverStops, is_busy, &["killed unwarned"]);
}

#[test]
fn an_agent_that_ignores_interruptions_is_caught() {
    let early = |plan: &Plan| plan.lasts / 2;
    let taken = |plan: &Plan| {
        let first_half = |(at, blow): &(_, Blow)| *at < early(plan) && matches!(blow, Blow::Notice(..));
        plan.blows.iter().any(first_half)
    };
    let fits = |plan: &Plan| is_busy(plan) && taken(plan) && !plan.config.contains("\"on-demand\"");
    is_caught(Mutant::IgnoresNotice, fits, &["killed unwarned"]);
}

#[test]
fn an_agent_that_loosens_its_end_is_caught() {
    // Where AWS doesn't end the block itself.
    let fits = |plan: &Plan| is_plain(plan) && plan.options.spot_block == SpotBlock::Refuse;
    is_caught(Mutant::LoosensEnd, fits, &["overdue"]);
}

#[test]
fn an_agent_that_forgets_and_undrains_is_caught() {
    // It is killed while it drains, and half a minute is left to look.
    let fits = |plan: &Plan| {
        let draining = plan.lasts - plan.drain_lead..plan.lasts - plan.stop_lead - Duration::from_secs(30);
        let killed = |(at, blow): &(_, Blow)| draining.contains(at) && matches!(blow, Blow::KillAgent(..));
        plan.drain_lead > plan.stop_lead + Duration::from_secs(30) && is_busy(plan) && plan.blows.iter().any(killed)
    };
    is_caught(Mutant::Undrains, fits, &["undrained"]);
}

#[test]
fn a_provisioner_that_acts_twice_is_caught() {
    is_caught(Mutant::BuysTwice, is_plain, &["bought twice"]);
}
