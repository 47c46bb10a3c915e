//! `spotblock doctor`: gathers the facts, and prints what `doctor.rs` makes of them.

use std::collections::BTreeMap;

use crate::args;
use crate::aws::batch::Detail;
use crate::aws::ecs::Host;
use crate::block::find;
use crate::diagnosis::{self, Finding, Looked, Rights, Surroundings};
use crate::model::block::Block;
use crate::model::error::{Error, Kind, Result};
use crate::model::instance::Instance;
use crate::session::Session;
use crate::settings::AgentFrom;
use jiff::Timestamp;

use super::jobs;

/// How many waiting jobs are looked at when nothing is named: they wait for the same, mostly.
const MOST_JOBS: usize = 5;
/// How many missing instances are looked into, at some calls each: they are missing for the same, mostly.
const MOST_INSTANCES: usize = 5;
/// How many of the last lines that a job wrote are looked at.
const LAST_LINES: u32 = 20;
/// The exit code when something was found.
const FOUND: u8 = 1;

/// Runs it.
///
/// # Errors
/// When what is named isn't there, or a call fails.
pub async fn run(session: &Session<'_>, args: &args::Doctor) -> Result<u8> {
    let about = args.about.as_deref();
    let mut facts = gather(session, about.filter(|id| id.starts_with("i-"))).await?;
    let found = match about {
        Some(id) if id.starts_with("i-") => {
            let instance = facts.instances.iter().find(|it| it.id == id).ok_or_else(|| unknown(session, id))?;
            diagnosis::instance(&facts, instance).into_iter().collect()
        }
        Some(job) => {
            let job = jobs::find(session, job).await?;
            of_our_queue(session, &job)?;
            of_job(session, &mut facts, job).await?
        }
        None => everything(session, &mut facts).await?,
    };
    session.ui.result(&found, |found| text(found, about))?;
    Ok(if found.is_empty() { 0 } else { FOUND })
}

/// What keeps an instance of ours from joining, if anything can be found.
///
/// # Errors
/// When a call fails.
pub async fn of_instance(session: &Session<'_>, id: &str) -> Result<Option<Finding>> {
    let facts = gather(session, Some(id)).await?;
    Ok(facts.instances.iter().find(|it| it.id == id).and_then(|it| diagnosis::instance(&facts, it)))
}

fn unknown(session: &Session<'_>, id: &str) -> Error {
    Error::Usage {
        what: format!("instance {id} is in no block of environment {}, or was forgotten by EC2", session.environment()),
        next: "`spotblock status` lists the blocks' instances".to_owned(),
    }
}

async fn gather(session: &Session<'_>, named: Option<&str>) -> Result<Surroundings> {
    let (aws, settings) = (session.aws, &session.settings.environment);
    let environment = aws.batch.environment(&settings.name).await?;
    let hosts = match environment.as_ref().map(|it| it.cluster.as_str()).filter(|cluster| !cluster.is_empty()) {
        Some(cluster) => aws.ecs.hosts(cluster).await?,
        None => Vec::new(),
    };
    let blocks = find::all(aws, &settings.name).await?;
    let stops = stops(session, &blocks).await?;
    let instances: Vec<Instance> = blocks.into_iter().flat_map(|block| block.instances).collect();
    let mut in_default = Vec::new();
    let mut missing = BTreeMap::new();
    for it in worth_a_look(&instances, &hosts, named) {
        if missing.is_empty() && it.is_up() {
            in_default = if_allowed(session, aws.ecs.hosts("default").await)?.unwrap_or_default();
        }
        missing.insert(it.id.clone(), look(session, it).await?);
    }
    Ok(Surroundings {
        name: settings.name.clone(),
        queue_name: settings.queue.clone(),
        environment,
        queue: aws.batch.queue(&settings.queue).await?,
        hosts,
        in_default,
        instances,
        missing,
        wrote: BTreeMap::new(),
        stops,
        baked: matches!(session.settings.agent.from, AgentFrom::Ami),
        now: session.now(),
    })
}

/// The instances that should be in the cluster and aren't; one that is named, also when it is gone.
fn worth_a_look<'a>(instances: &'a [Instance], hosts: &[Host], named: Option<&str>) -> Vec<&'a Instance> {
    let missing = |it: &&Instance| hosts.iter().all(|host| host.instance != it.id);
    let asked = |it: &&Instance| match named {
        Some(id) => it.id == id,
        None => it.is_up(),
    };
    instances.iter().filter(asked).filter(missing).take(MOST_INSTANCES).collect()
}

/// When the instances of the blocks that go on stop their jobs.
async fn stops(session: &Session<'_>, blocks: &[Block]) -> Result<BTreeMap<String, Timestamp>> {
    let mut stops = BTreeMap::new();
    for block in blocks.iter().filter(|it| it.life(session.now()).goes_on() && !it.instances.is_empty()) {
        let Some(record) = &block.record else { continue };
        let launch = session.aws.ec2.launch_data(record).await?;
        let Some(config) = launch.node_config() else { continue };
        for it in &block.instances {
            stops.insert(it.id.clone(), block.timeline(&config, it).stop_at);
        }
    }
    Ok(stops)
}

/// Looks into an instance that is missing in its cluster.
async fn look(session: &Session<'_>, instance: &Instance) -> Result<Looked> {
    let ec2 = &session.aws.ec2;
    let mut looked = Looked::default();
    match ec2.console(&instance.id).await {
        // It was forgotten meanwhile.
        Err(error) if error.is(Kind::NotFound) => {}
        answer => looked.console = if_allowed(session, answer)?,
    }
    if !instance.is_up() {
        return Ok(looked);
    }
    looked.place = ec2.place(&instance.id).await?;
    let Some(place) = &looked.place else { return Ok(looked) };
    looked.way = if_allowed(session, ec2.way_out(place).await)?;
    looked.rights = if_allowed(session, rights(session, place.profile.as_deref()).await)?;
    Ok(looked)
}

/// How far the rights of a profile reach. A role that the user gave may have policies of any name: nothing is said of it.
async fn rights(session: &Session<'_>, profile: Option<&str>) -> Result<Rights> {
    let Some(name) = profile else { return Ok(Rights::NoProfile(None)) };
    let iam = &session.aws.iam;
    let Some(profile) = iam.profile(name).await? else { return Ok(Rights::NoProfile(Some(name.to_owned()))) };
    let Some(role) = profile.roles.first() else { return Ok(Rights::NoRole(name.to_owned())) };
    let given = session.settings.block.instance_profile.is_some();
    if given || iam.policy(role).await?.is_some() || !iam.attached(role).await?.is_empty() {
        return Ok(Rights::Some);
    }
    Ok(Rights::NoPolicy(role.clone()))
}

/// What may not be looked at is left out, and said: the rest is worth as much.
fn if_allowed<T>(session: &Session<'_>, answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.is(Kind::Denied) => {
            session.ui.warn(format_args!("not looked at: {error}"));
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

/// A job of another queue has other instances: what is known of ours says nothing of it.
fn of_our_queue(session: &Session<'_>, job: &Detail) -> Result<()> {
    let ours = &session.settings.environment.queue;
    if job.queue == *ours {
        return Ok(());
    }
    Err(Error::Usage {
        what: format!("job {} ({}) is in queue {}, and this environment's is {ours}", job.name, job.id, job.queue),
        next: "ask with the spotblock.toml of that queue (--config)".to_owned(),
    })
}

/// Why a job is where it is; of an array that waits, one of its children, since they wait for the same, mostly.
async fn of_job(session: &Session<'_>, facts: &mut Surroundings, job: Detail) -> Result<Vec<Finding>> {
    let job = match waiting_child(session, &job).await? {
        Some(child) => child,
        None => job,
    };
    if let Some((group, stream)) = diagnosis::worth_reading(&job) {
        let read = session.aws.logs.tail(group, stream, LAST_LINES).await;
        let lines = if_allowed(session, read)?.unwrap_or_default();
        facts.wrote.insert(job.id.clone(), lines.into_iter().map(|line| line.text).collect());
    }
    Ok(diagnosis::job(facts, &job))
}

/// An array is PENDING as long as its children are not over `[V]`; one that depends on others says so itself.
async fn waiting_child(session: &Session<'_>, job: &Detail) -> Result<Option<Detail>> {
    if job.array.is_none() || job.is_over() {
        return Ok(None);
    }
    let batch = &session.aws.batch;
    let states: &[&str] = if job.depends_on.is_empty() { &["RUNNABLE", "PENDING", "SUBMITTED"] } else { &["RUNNABLE"] };
    for state in states {
        if let Some(child) = batch.children_in_state(&job.id, state, 1).await?.into_iter().next() {
            return Ok(batch.jobs(&[child.id]).await?.into_iter().next());
        }
    }
    Ok(None)
}

async fn everything(session: &Session<'_>, facts: &mut Surroundings) -> Result<Vec<Finding>> {
    let mut found = diagnosis::surroundings(facts);
    found.extend(facts.instances.iter().filter(|it| it.is_up()).filter_map(|it| diagnosis::instance(facts, it)));
    if facts.queue.is_some() {
        for state in ["PENDING", "RUNNABLE"] {
            let listed = session.aws.batch.jobs_in_state(&facts.queue_name, state, MOST_JOBS).await?;
            let ids: Vec<String> = listed.into_iter().map(|job| job.id).collect();
            for job in session.aws.batch.jobs(&ids).await? {
                found.extend(of_job(session, facts, job).await?);
            }
        }
    }
    let mut told = Vec::new();
    found.retain(|it| {
        let new = !told.contains(it);
        told.push(it.clone());
        new
    });
    Ok(found)
}

fn text(found: &[Finding], about: Option<&str>) -> String {
    if found.is_empty() {
        return format!("nothing is wrong with {}", about.unwrap_or("the environment, its instances and its queue"));
    }
    let one =
        |it: &Finding| format!("{}: {}\n  because: {}\n  next:    {}", it.about, it.finding, it.evidence, it.next);
    found.iter().map(one).collect::<Vec<_>>().join("\n")
}
