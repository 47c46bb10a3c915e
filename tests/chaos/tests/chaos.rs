//! A bounded part of `make chaos`: some blocks, one lived twice, and programs that are broken on
//! purpose.

use std::time::Duration;

use chaos::host::{Ill, Lie};
use chaos::mutant::Mutant;
use chaos::other::{At, Other};
use chaos::plan::{Blow, Job, Plan};
use chaos::story;
use localcloud_core::protocol::options::SpotBlock;

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

/// What ten thousand blocks found. Catches: a `down` that ends an instance under a job which ECS
/// has placed across its drain, on the second of the instance's two registrations.
#[test]
fn what_many_blocks_found_stays_mended() {
    all_is_well([6_865].into_iter());
}

/// Catches: anything that comes from outside of the seed, such as a real clock or the order of a
/// hash map.
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

/// Short blocks in which few other things go wrong: what a mutant does isn't hidden by something
/// worse.
fn is_plain(plan: &Plan) -> bool {
    plan.lasts.as_secs() < 1_200
        && plan.ups.is_empty()
        && plan.clumsy.is_none()
        && plan.early.is_none()
        && plan.blows.len() < 5
}

/// From its beginning on there are more jobs than instances, that outlast the block: they run
/// whenever it ends. Two fit on an instance.
fn is_busy(plan: &Plan) -> bool {
    let long =
        plan.jobs.iter().filter(|(at, job)| at.is_zero() && job.seconds >= plan.lasts.as_secs());
    // Of a GPU's instance more than jobs can fill.
    !plan.is_bought_for_good() && is_plain(plan) && long.count() > 2 * (plan.instances - 1)
}

#[test]
fn an_agent_that_leaves_before_ecs_knows_stopped_is_caught() {
    // Reports that take longer than an agent waits before it believes what it sees, of a job that
    // ends by itself while its host drains, and is alone on it.
    let fits = |plan: &Plan| {
        let (drains, stops) = (plan.lasts - plan.drain_lead, plan.lasts - plan.stop_lead);
        let ends = |(at, job): &(Duration, Job)| {
            at.is_zero() && drains.as_secs() < job.seconds && job.seconds + 40 < stops.as_secs()
        };
        let slow = plan.options.pace.report_ms > 8_000;
        is_plain(plan) && slow && plan.jobs.len() <= plan.instances && plan.jobs.iter().any(ends)
    };
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
        let first_half =
            |(at, blow): &(_, Blow)| *at < early(plan) && matches!(blow, Blow::Notice(..));
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
        let draining =
            plan.lasts - plan.drain_lead..plan.lasts - plan.stop_lead - Duration::from_secs(30);
        let killed =
            |(at, blow): &(_, Blow)| draining.contains(at) && matches!(blow, Blow::KillAgent(..));
        plan.drain_lead > plan.stop_lead + Duration::from_secs(30)
            && is_busy(plan)
            && plan.blows.iter().any(killed)
    };
    is_caught(Mutant::Undrains, fits, &["undrained"]);
}

#[test]
fn a_provisioner_that_acts_twice_is_caught() {
    is_caught(Mutant::BuysTwice, is_plain, &["bought twice"]);
}

/// Blocks that AWS doesn't end itself, in which nothing goes wrong but this.
fn with(family: impl Fn(&Plan) -> bool) -> impl Fn(&Plan) -> bool {
    move |plan: &Plan| {
        let sole = plan.early.is_none()
            && plan.ups.is_empty()
            && plan.clumsy.is_none()
            && plan.company_is_calm();
        sole && plan.lasts.as_secs() < 1_200
            && plan.options.spot_block == SpotBlock::Refuse
            && family(plan)
    }
}

fn is_stuck(plan: &Plan) -> bool {
    let stuck = plan.blows.iter().any(|(_, blow)| matches!(blow, Blow::Stuck(_)));
    stuck && plan.blows.len() < 4 && plan.others.is_empty()
}

#[test]
fn an_extension_that_leaves_the_schedules_where_they_are_is_caught() {
    let in_time = |plan: &Plan| {
        let drains = plan.lasts - plan.drain_lead;
        let early = |other: &Other| matches!(other.at, At::Launch(at) if at + Duration::from_secs(90) < drains);
        plan.others.iter().any(|other| other.words[0] == "extend" && early(other))
            && plan.blows.is_empty()
    };
    is_caught(Mutant::KeepsSchedules, with(in_time), &["cut short"]);
}

#[test]
fn a_block_without_its_schedules_is_caught() {
    is_caught(Mutant::MakesNoSchedule, with(|plan| is_stuck(plan) && plan.schedules), &["overdue"]);
}

#[test]
fn a_reap_that_ends_what_goes_on_is_caught() {
    let fits = |plan: &Plan| {
        plan.reaps.is_some_and(|every| every * 2 < plan.lasts) && plan.blows.len() < 4
    };
    is_caught(Mutant::ReapsEarly, with(fits), &["reaped early"]);
}

#[test]
fn a_reap_that_ends_nothing_is_caught() {
    is_caught(Mutant::NeverReaps, with(|plan| is_stuck(plan) && !plan.schedules), &["overdue"]);
}

#[test]
fn two_runs_that_each_buy_a_block_are_caught() {
    let fits = |plan: &Plan| plan.runs("up") && !plan.runs("down") && plan.blows.len() < 4;
    is_caught(Mutant::NamesFreely, with(fits), &["bought twice"]);
}

#[test]
fn a_host_that_goes_down_without_a_guard_is_caught() {
    let down = |(_, blow): &(_, Blow)| matches!(blow, Blow::GoesDown(..));
    is_caught(
        Mutant::Unguarded,
        |plan| is_busy(plan) && plan.blows.iter().any(down),
        &["killed unwarned"],
    );
}

#[test]
fn an_agent_that_ignores_scheduled_events_is_caught() {
    let announced = |plan: &Plan| {
        let in_time = |(at, blow): &(Duration, Blow)| match blow {
            Blow::Maintenance(_, secs) => {
                *at + Duration::from_secs(secs.unsigned_abs()) < plan.lasts - plan.stop_lead
            }
            _ => false,
        };
        plan.blows.iter().any(in_time)
    };
    is_caught(
        Mutant::IgnoresMaintenance,
        |plan| is_busy(plan) && announced(plan),
        &["killed unwarned"],
    );
}

#[test]
fn a_down_that_keeps_reservations_is_caught() {
    let fits =
        |plan: &Plan| is_plain(plan) && plan.config.contains("[\"reservation\"]") && !plan.reaped;
    is_caught(Mutant::KeepsReservations, fits, &["`down` fails", "left: a capacity reservation"]);
}

#[test]
fn purchases_under_one_token_are_caught_by_the_second_block() {
    let fits = |plan: &Plan| {
        plan.again && plan.others.is_empty() && plan.blows.is_empty() && is_plain(plan)
    };
    is_caught(Mutant::ReusesToken, fits, &["no second block"]);
}

#[test]
fn an_agent_that_ends_by_a_moment_long_ago_is_caught() {
    let lie = |(at, blow): &(Duration, Blow)| {
        *at < Duration::from_secs(120)
            && matches!(blow, Blow::Ill(_, Ill::Lies(Lie::EndLongAgo), 31..))
    };
    let fits = |plan: &Plan| {
        let sole = plan.others.is_empty() && !plan.again && plan.blows.len() < 4;
        is_plain(plan) && sole && plan.blows.iter().any(lie) && plan.drain_lead * 2 < plan.lasts
    };
    is_caught(Mutant::BelievesTag, fits, &["left early"]);
}
