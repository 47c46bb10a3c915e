//! A whole block, from nothing to nothing left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::ec2;
use serde_json::json;

use crate::host::{Host, Ill, Lie};
use crate::mutant::Mutant;
use crate::other;
use crate::plan::{Blow, Job, Plan};
use crate::process;
use crate::provision::{self, Mishap, Run};
use crate::time::sleep_until;
use crate::trouble::{Caller, Window};
use crate::verdict;
use crate::world::{State, World};

/// How often `up` and `down` are run when nobody kills them; for the last time, nothing goes wrong
/// with their calls.
const TRIES: usize = 4;

/// How often `reap` is run in the end: its records go an hour and some minutes after the block
/// began.
const REAPS: u64 = 12;

/// How long after its end a block is looked after: longer than anything may live on.
const AFTER: Duration = Duration::from_secs(1_800);

/// The longest that a story may be: somebody waits for what never happens.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What became of a block.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// All that happened, and who called what, in order.
    pub log: Vec<String>,
    /// The same without the calls.
    pub events: Vec<String>,
    /// The promises that were broken.
    pub broken: Vec<String>,
    /// How many instances there were.
    pub instances: usize,
    /// How many jobs' processes there were.
    pub processes: usize,
    /// How many of them ended with a host that was gone without notice.
    pub unforeseen: usize,
}

/// Lives the block of this seed.
///
/// # Panics
/// When there is no runtime to be had.
#[must_use]
pub fn live(seed: u64, mutant: Option<Mutant>) -> Outcome {
    // The SDK's jitter comes from here.
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    // A runtime for each block: with it goes all that dead processes have left.
    #[expect(clippy::expect_used, reason = "without a runtime there is nothing to be told")]
    let runtime = runtime.expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, Box::pin(lived(seed, mutant)))
}

async fn lived(seed: u64, mutant: Option<Mutant>) -> Outcome {
    let plan = Plan::of(seed);
    let world = World::new(plan.options.clone(), mutant);
    {
        let mut state = world.state();
        state.kills.clone_from(&plan.kills);
        state.length = plan.length;
    }
    let mut broken = Vec::new();
    let foreign = foreign(&world).unwrap_or_else(|error| {
        broken.push(format!("the story can't begin: {error}"));
        Vec::new()
    });
    tokio::spawn(Arc::clone(&world).pump());
    tokio::spawn(go_wrong(Arc::clone(&world), plan.blows.clone()));
    tokio::spawn(submit(Arc::clone(&world), plan.jobs.clone()));
    match tempfile::NamedTempFile::new() {
        Ok(file) => {
            let written = std::fs::write(file.path(), &plan.config);
            broken.extend(written.err().map(|error| format!("spotblock.toml: {error}")));
            let story = provision(&world, &plan, file.path(), &mut broken);
            if tokio::time::timeout(LONGEST, Box::pin(story)).await.is_err() {
                broken.push(format!("the story doesn't end within {LONGEST:?}"));
            }
        }
        Err(error) => broken.push(format!("spotblock.toml: {error}")),
    }
    broken.extend(verdict::of(&world, &plan, &foreign));
    let state = world.state();
    let lives = || state.hosts.iter().flat_map(|host| &host.lives);
    Outcome {
        seed,
        broken,
        log: log(&state, true),
        events: log(&state, false),
        instances: state.hosts.len(),
        processes: lives().count(),
        unforeseen: state.hosts.iter().map(verdict::unforeseen).sum(),
    }
}

/// Brings the block, waits for its end, and ends what is left.
async fn provision(world: &Arc<World>, plan: &Plan, config: &Path, broken: &mut Vec<String>) {
    let seed = plan.options.seed.wrapping_mul(1_000);
    let mut runs = 0;
    let mut spotblock = async |words: &[&str], kill| {
        runs += 1;
        provision::run(world, config, words, Mishap { kill, trouble: None }, seed + runs).await
    };
    let mut others = other::begin(world, plan, config, seed);
    clumsy(world, plan);
    for kill in &plan.ups {
        spotblock(&plan.up(), Some(*kill)).await;
    }
    let mut run = Run::default();
    for attempt in 1..=TRIES {
        if attempt == TRIES {
            calm(world);
        }
        run = spotblock(&plan.up(), None).await;
        // One whose instances AWS took, or that couldn't join, is told from one that lives; the
        // next would be another.
        if run.code == Some(0) || any_lost(world, 0) {
            break;
        }
    }
    {
        let mut state = world.state();
        state.brought = run.code == Some(0);
        state.secured = state.brought && plan.schedules;
    }
    if run.code != Some(0) && !any_lost(world, 0) && !is_undecided(world, &run) {
        broken.push(format!("`up` never comes to its end: {:?} {}", run.code, run.stderr));
    }
    if let Some((at, command)) = plan.early {
        tokio::time::sleep(at).await;
        spotblock(&[command], None).await;
    }
    wait_for_the_end(world, plan).await;
    world.state().over = true;
    while others.join_next().await.is_some() {}
    // One that was late may have brought something.
    wait_for_the_end(world, plan).await;
    if plan.again && !is_cut_off(world) {
        calm(world);
        let before = world.state().hosts.len();
        let run = spotblock(&plan.up(), None).await;
        let came = world.state().hosts.len() > before;
        let failed = run.code != Some(0) && !any_lost(world, before) && !is_undecided(world, &run);
        if run.code == Some(0) && !came || failed {
            broken.push(format!("no second block for what waits: {:?} {}", run.code, run.stderr));
        }
        wait_for_the_end(world, plan).await;
    }
    if plan.reaped {
        broken.extend(reaped(world, config, seed).await);
    }
    clumsy(world, plan);
    for kill in &plan.downs {
        spotblock(&["down"], Some(*kill)).await;
    }
    calm(world);
    let run = spotblock(&["down"], None).await;
    if run.code != Some(0) {
        broken.push(format!("`down` fails: {:?} {}", run.code, run.stderr));
    }
    // ECS may miss a host late.
    let late = Duration::from_millis(plan.options.pace.host_loss_ms);
    tokio::time::sleep(Duration::from_secs(120) + late).await;
    world.settle();
}

fn clumsy(world: &World, plan: &Plan) {
    let Some((percent, kind)) = plan.clumsy else { return };
    let (from, until) = (world.now(), world.now() + SignedDuration::from_hours(24));
    world.state().troubles.windows.push(Window {
        caller: Caller::User,
        service: None,
        from,
        until,
        percent,
        kind,
    });
}

fn calm(world: &World) {
    world.state().troubles.windows.retain(|window| window.caller != Caller::User);
}

/// Whether instances' calls go wrong now: what comes up may not be able to join.
fn is_cut_off(world: &World) -> bool {
    let now = world.now();
    world.state().troubles.windows.iter().any(|it| it.caller == Caller::Instance && now < it.until)
}

/// Whether a run was killed in the middle of buying for good, before AWS had heard of it: nobody
/// can tell, so `up` buys no more and says who has to.
fn is_undecided(world: &World, run: &Run) -> bool {
    let state = world.state();
    let bought = |call: &localcloud_core::Call| {
        call.operation == "PurchaseCapacityBlock" && call.error.is_none()
    };
    run.stderr.contains("let go of it with `spotblock down")
        && !state.cloud.calls().iter().any(bought)
}

/// Whether a host that `up` waits for may have been lost to it.
fn any_lost(world: &World, from: usize) -> bool {
    world.state().hosts[from..].iter().any(|host| host.gone || !host.crashes.is_empty() || !host.up)
}

/// What `reap` alone leaves, once all is over: nothing.
async fn reaped(world: &Arc<World>, config: &Path, seed: u64) -> Vec<String> {
    for number in 1..=REAPS {
        provision::run(world, config, &["reap"], Mishap::default(), seed + 900 + number).await;
        if verdict::left(world).is_empty() {
            return Vec::new();
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    verdict::left(world).into_iter().map(|left| format!("not reaped: {left}")).collect()
}

async fn wait_for_the_end(world: &Arc<World>, plan: &Plan) {
    let last = || {
        let state = world.state();
        let ends = state.hosts.iter().map(|host| end_of(&state, plan, host));
        ends.max().unwrap_or_else(|| world.now())
            + SignedDuration::try_from(AFTER).unwrap_or_default()
    };
    while !world.state().hosts.iter().all(|host| host.gone) && world.now() < last() {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// When the host's block ends, by its settings or by the tag that moves it.
#[must_use]
pub fn end_of(state: &State, plan: &Plan, host: &Host) -> Timestamp {
    let end = block_end(plan, host);
    state.moved.get(&host.instance).map_or(end, |moved| end.max(*moved))
}

/// The same end, as long as nobody moves it.
#[must_use]
pub fn block_end(plan: &Plan, host: &Host) -> Timestamp {
    host.reclaimed.unwrap_or(host.launched + plan.length)
}

/// Instances that are somebody else's: an untagged one, and one of another environment.
fn foreign(world: &Arc<World>) -> Result<Vec<String>, String> {
    let run = "Action=RunInstances&ImageId=ami-000a9e4700000f00d&InstanceType=t2.micro&MinCount=1&MaxCount=1";
    let tag = "TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=spotblock:environment&TagSpecification.1.Tag.1.Value=another";
    let mut ids = Vec::new();
    for form in [run.to_owned(), format!("{run}&{tag}")] {
        let xml = world.by_hand("ec2", "POST", "/", &form)?;
        let id = xml.split("<instanceId>").nth(1).and_then(|rest| rest.split('<').next());
        ids.extend(id.map(str::to_owned));
    }
    Ok(ids)
}

/// Submits the jobs, as soon as there is a queue to submit them to.
async fn submit(world: Arc<World>, mut jobs: Vec<(Duration, Job)>) {
    jobs.sort_by_key(|(at, _)| *at);
    let mut from = None;
    for (number, (at, job)) in jobs.into_iter().enumerate() {
        if let Some(from) = from {
            sleep_until(world.time, from + SignedDuration::try_from(at).unwrap_or_default()).await;
        }
        let variable = |name: &str, value: &str| json!({"name": name, "value": value});
        let mut variables = vec![variable("LOCALCLOUD_SECONDS", &job.seconds.to_string())];
        if !job.on_term.is_empty() {
            variables.push(variable("LOCALCLOUD_ON_TERM", job.on_term));
        }
        let mut body = json!({
            "jobName": format!("job-{number}"), "jobQueue": "SpotBlockQueue", "jobDefinition": "hello-world",
            "containerOverrides": {"environment": variables},
        });
        if job.plain_retry {
            body["retryStrategy"] = json!({"attempts": 10});
        }
        while world.by_hand("batch", "POST", "/v1/submitjob", &body.to_string()).is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        from.get_or_insert_with(|| world.now());
    }
}

/// Lets everything go wrong that is to, counted from the first launch.
async fn go_wrong(world: Arc<World>, blows: Vec<(Duration, Blow)>) {
    while world.state().hosts.is_empty() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let from = world.now();
    for (at, blow) in blows {
        sleep_until(world.time, from + SignedDuration::try_from(at).unwrap_or_default()).await;
        strike(&world, &blow);
        world.settle();
        world.poke();
    }
}

fn strike(world: &Arc<World>, blow: &Blow) {
    world.note(format!("{blow:?}"));
    let now = world.now();
    let mut state = world.state();
    let State { cloud, hosts, troubles, .. } = &mut *state;
    let later = |secs: i64| now + SignedDuration::from_secs(secs);
    if let Blow::Trouble(caller, service, secs, percent, kind) = *blow {
        let window = Window { caller, service, from: now, until: later(secs), percent, kind };
        troubles.windows.push(window);
        return;
    }
    let Some(host) =
        number(blow).and_then(|number| hosts.get_mut(number)).filter(|host| !host.gone)
    else {
        return;
    };
    match *blow {
        Blow::Notice(_, secs) => {
            ec2::interrupt(cloud, now, &host.instance, "terminate", later(secs))
        }
        Blow::Vanish(_) => {
            host.crashes.push(now);
            ec2::vanish(cloud, now, &host.instance);
        }
        Blow::Reboot(_, secs) if host.up => {
            host.reboot(cloud, now, SignedDuration::from_secs(secs))
        }
        Blow::Reboot(..) | Blow::Trouble(..) => {}
        Blow::KillAgent(_, forgets, secs) => {
            (host.forgets, host.restart) = (forgets, SignedDuration::from_secs(secs));
            if let Some(process) = &host.process {
                process.kill();
            }
        }
        Blow::GoesDown(_, back) if host.up => {
            host.shut_down = true;
            drop(tokio::spawn(process::goes_down(Arc::clone(world), host.number, back)))
        }
        Blow::GoesDown(..) => {}
        Blow::Maintenance(_, secs) => {
            host.maintenance = Some(host.maintenance.unwrap_or(Timestamp::MAX).min(later(secs)))
        }
        Blow::Stuck(_) => {
            (host.stuck, host.timer) = (true, None);
            if let Some(process) = &host.process {
                process.kill();
            }
        }
        Blow::Ill(_, ill, secs) => {
            host.born.1 |= ill == Ill::Lies(Lie::LaunchedLater);
            host.ills.push((ill, now, later(secs)));
        }
        Blow::Clock(_, secs) => host.wall_ahead = SignedDuration::from_secs(secs),
        Blow::Rebalance(_) => ec2::rebalance(cloud, now, &host.instance),
        Blow::SetStatus(_, status) => {
            let Some((cluster, arn)) = host.data.clone() else { return };
            drop(state);
            let body = json!({"cluster": cluster, "containerInstances": [arn], "status": status});
            let request = localcloud_core::agent_calls::request(
                "us-east-1",
                "i-",
                "UpdateContainerInstancesState",
                &body,
            );
            world.state().cloud.handle(&request, now);
        }
    }
}

pub(crate) fn number(blow: &Blow) -> Option<usize> {
    match blow {
        Blow::Notice(host, _)
        | Blow::Vanish(host)
        | Blow::Reboot(host, _)
        | Blow::KillAgent(host, ..)
        | Blow::Ill(host, ..)
        | Blow::Clock(host, _)
        | Blow::SetStatus(host, _)
        | Blow::Rebalance(host)
        | Blow::Stuck(host)
        | Blow::GoesDown(host, _)
        | Blow::Maintenance(host, _) => Some(*host),
        Blow::Trouble(..) => None,
    }
}

/// What happened, and if wanted who called what.
fn log(state: &State, calls: bool) -> Vec<String> {
    let mut all: Vec<(Timestamp, String)> = state.notes.clone();
    let told = |event: &localcloud_core::Event| {
        (
            event.at,
            serde_json::to_value(&event.what).map(|what| what.to_string()).unwrap_or_default(),
        )
    };
    all.extend(state.cloud.events().iter().map(told));
    all.extend(state.cloud.calls().iter().filter(|_| calls).map(|call| {
        let error = call.error.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
        (
            call.at,
            format!("{:?} {}:{} {}{error}", call.caller, call.service, call.operation, call.status),
        )
    }));
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(at, text)| format!("{} {text}", at.strftime("%H:%M:%S%.3f"))).collect()
}
