//! At every single call of a life the process is killed, or the call fails, hangs or lies; and each
//! life is lived to its end. Blocks are short here, so that no call needs to be left out.

use node_contract::{End, Timeline};

use super::*;
use crate::ports::Clock as _;
use crate::testing::{REPORT, Trouble};

/// What becomes of the host between the process's death and its next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// systemd starts the agent again after two seconds.
    Restarts,
    /// And what it had saved is lost.
    Forgets,
    /// The host went down with all that ran on it, and is up again after half a minute.
    Reboots,
}

const POINTS: [(Trouble, Then); 7] = [
    (Trouble::Fails, Then::Restarts),
    (Trouble::Hangs, Then::Restarts),
    (Trouble::Lies, Then::Restarts),
    (Trouble::DiesBefore, Then::Restarts),
    (Trouble::DiesAfter, Then::Restarts),
    (Trouble::DiesBefore, Then::Forgets),
    (Trouble::DiesBefore, Then::Reboots),
];

/// A kind of life.
struct Kind {
    name: &'static str,
    prepare: fn(&Arc<World>),
    /// When the instance is gone at the latest.
    end: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind { name: "a whole life", prepare: |_| {}, end: END },
    Kind {
        name: "a notice",
        prepare: |world| later(world, 20_000, |facts| facts.notice = Some(today("10:01:00"))),
        end: "10:01:00",
    },
    Kind {
        name: "a notice while joining",
        prepare: |world| {
            world.facts().introspection_blind = true;
            world.facts().tasks.clear();
            later(world, 5_000, |facts| facts.notice = Some(today("10:00:45")));
            // Placed on the registration that got through.
            later(world, 4_000, |facts| drop(facts.tasks.insert("long".into(), long())));
        },
        end: "10:00:45",
    },
    Kind {
        name: "StopTask is denied",
        prepare: |world| world.facts().stop_task_is = Some(Outcome::Refused),
        end: END,
    },
    Kind { name: "ECS hangs", prepare: |world| world.facts().ecs_hangs = true, end: END },
    Kind {
        name: "another cluster",
        prepare: |world| {
            let tasks = std::mem::take(&mut world.facts().tasks);
            world.facts().joins = Some("default".into());
            let world = Arc::clone(world);
            tokio::spawn(async move {
                while world.facts().joins.is_some() || !world.facts().registered {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                world.facts().tasks = tasks;
            });
        },
        end: END,
    },
];

/// The end of a block of less than two minutes: drain at 10:00:35, stop at 10:01:10.
const END: &str = "10:01:50";

fn short_node() -> Node {
    let mut node = node();
    (node.config.end, node.config.drain_lead_secs, node.config.stop_lead_secs) =
        (End::AfterLaunchSecs(110), 75, 40);
    node.rules.config = node.config.clone();
    node
}

fn first_state() -> State {
    State::new(Timeline::new(&short_node().config, today("10:00:00")), today("10:00:00"))
}

fn long() -> FakeTask {
    FakeTask::until(today("18:00:00"))
}

/// Lives such a life to the host's end, with this trouble at this call. Returns the world and when
/// the process that had died was started again.
fn lived(kind: &Kind, point: Option<(usize, Trouble, Then)>) -> (Arc<World>, Option<Timestamp>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    // A runtime for each life: with it goes all that a dead process has left.
    runtime.expect("a runtime").block_on(async {
        let world = World::at(today("10:00:00"));
        world.facts().tasks.insert("long".into(), long());
        world.facts().tasks.insert("short".into(), FakeTask::until(today("10:00:45")));
        (kind.prepare)(&world);
        world.facts().trouble = point.map(|(place, trouble, _)| (place, trouble));
        let mut rose = None;
        if is_killed(&world, first_state()).await {
            rises(&world, point.map_or(Then::Restarts, |(_, _, then)| then)).await;
            let saved = world.facts().saved.clone();
            let state =
                saved.map_or_else(first_state, |saved| crate::testing::as_on_disk(&saved).state);
            rose = Some(world.now());
            assert!(!is_killed(&world, state).await, "once is enough");
        }
        (world, rose)
    })
}

/// Lives until the host is off or the process is killed.
async fn is_killed(world: &Arc<World>, state: State) -> bool {
    tokio::select! {
        biased;
        () = run(short_node(), state, world.ports(), std::future::pending()) => false,
        () = world.died.notified() => true,
        () = world.off.notified() => false,
        () = tokio::time::sleep(Duration::from_secs(1_800)) => false,
    }
}

async fn rises(world: &World, then: Then) {
    let down = if then == Then::Reboots { 30 } else { 2 };
    if then == Then::Reboots {
        let now = world.now();
        let mut facts = world.facts();
        facts.ecs_agent_runs = false;
        facts.tasks.values_mut().for_each(|task| task.ends_at = task.ends_at.min(now));
    }
    tokio::time::sleep(Duration::from_secs(down)).await;
    let mut facts = world.facts();
    (facts.dead, facts.trouble) = (false, None);
    if then == Then::Forgets {
        facts.saved = None;
    }
}

/// What has to be true of every life, whatever befell it.
fn check(
    kind: &Kind,
    world: &World,
    trouble: Trouble,
    then: Then,
    rose: Option<Timestamp>,
) -> Result<(), String> {
    let off = world.first("power-off").ok_or("never powered off")?;
    // A host that is down at its end is powered off at once when it comes up.
    if off
        > rose.map_or(today(kind.end), |rose| {
            today(kind.end).max(rose + SignedDuration::from_secs(1))
        })
    {
        return Err(format!("powered off at {off}"));
    }
    let facts = world.facts();
    for (name, task) in &facts.tasks {
        let asked =
            facts.log.iter().any(|(at, what)| *at <= off && *what == format!("stop {name}"));
        // What ECS never hears of stops no task. A container runtime that says it did and didn't is
        // past help.
        let asked = asked && (!facts.ecs_hangs || trouble == Trouble::Lies);
        if facts.registered && task.ended_at() > off && !asked && task.local.is_none() {
            return Err(format!("{name} lived at {off} and had not been asked to stop"));
        }
    }
    if facts.lost != Vec::<String>::new() {
        return Err(format!("lost: {:?}", facts.lost));
    }
    let saves = facts.log.iter().filter_map(|(_, what)| what.strip_prefix("save "));
    let takes_tasks = |phase: &&str| ["joining", "serving"].contains(phase);
    let undrained = saves.skip_while(takes_tasks).find(takes_tasks);
    if undrained.is_some() && then != Then::Forgets {
        return Err("drained, and then serving again".to_owned());
    }
    if let Some(short) = facts.tasks.get("short").filter(|_| kind.end == END)
        && (short.stop.is_some() || short.local.is_some())
    {
        return Err("the short job would have ended in time".to_owned());
    }
    let had_jobs = facts.registered && !facts.tasks.is_empty();
    if kind.end == END && then != Then::Reboots && had_jobs && off < today("10:01:10") {
        return Err(format!("off at {off}, with time left for the long job"));
    }
    Ok(())
}

/// Where a process dies, a call fails or one hangs, every job's end is known to ECS before its
/// agent is stopped. What ECS or the host lies about can cost that.
fn check_reported(kind: &Kind, world: &World, trouble: Trouble, then: Then) -> Result<(), String> {
    let heard =
        !["StopTask is denied", "ECS hangs"].contains(&kind.name) && world.facts().registered;
    let heard = heard && trouble != Trouble::Lies;
    // A process that has forgotten all stops the ECS agent first and asks ECS then.
    let last = if then == Then::Forgets { "power-off" } else { "stop-ecs" };
    let stopped = world.facts().log.iter().rev().find(|(_, what)| what == last).map(|(at, _)| *at);
    let ended = world.facts().tasks.values().map(|task| task.ended_at() + REPORT).max();
    match stopped.zip(ended).filter(|_| heard && then != Then::Reboots) {
        Some((stopped, ended)) if stopped < ended => {
            Err(format!("ECS agent stopped at {stopped}, reports by {ended}"))
        }
        _ => Ok(()),
    }
}

/// Tries all of a kind's points; returns how many there were, and what broke.
/// Every nth point is tried where `SPOTBLOCK_EVERY_NTH` says so, as in `make check`; else all are.
#[expect(clippy::disallowed_methods, reason = "said to the test, not to the program")]
fn every_nth() -> usize {
    let said = std::env::var("SPOTBLOCK_EVERY_NTH").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

fn tried(kind: &Kind) -> (usize, Vec<String>) {
    let (world, _) = lived(kind, None);
    let calls = world.facts().acts;
    let (mut points, mut broken) = (0, Vec::new());
    for (trouble, then) in POINTS {
        for place in (0..calls).filter(|place| place % every_nth() == 0) {
            let (world, rose) = lived(kind, Some((place, trouble, then)));
            points += 1;
            let kills = matches!(trouble, Trouble::DiesBefore | Trouble::DiesAfter);
            let killed =
                if rose.is_some() == kills { Ok(()) } else { Err(format!("up again: {rose:?}")) };
            let held = killed
                .and(check(kind, &world, trouble, then, rose))
                .and(check_reported(kind, &world, trouble, then));
            if let Err(problem) = held {
                broken.push(format!(
                    "{}, call {place} of {calls}, {trouble:?}, {then:?}: {problem}",
                    kind.name
                ));
            }
        }
    }
    (points, broken)
}

/// Catches: any place in a life from which a restart doesn't finish, anything that is asked for
/// once only or waited for without a limit, and anything that is done on one side's word.
#[test]
fn killed_failed_hung_or_lied_to_at_any_call_the_agent_comes_to_the_same_end() {
    let results: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
        let kinds: Vec<_> = KINDS.iter().map(|kind| scope.spawn(move || tried(kind))).collect();
        kinds.into_iter().map(|kind| kind.join().expect("no panic")).collect()
    });
    let points: usize = results.iter().map(|(points, _)| points).sum();
    println!("{points} points were tried");
    let broken: Vec<String> = results.into_iter().flat_map(|(_, broken)| broken).collect();
    assert!(broken.is_empty(), "{} of {points}:\n{}", broken.len(), broken.join("\n"));
    assert!(points > 5_000 / every_nth(), "{points}");
}
