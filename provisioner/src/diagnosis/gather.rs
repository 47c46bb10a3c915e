//! Gathers the facts that a diagnosis is made from.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Finding, Looked, Rights, Surroundings};
use crate::aws::ecs::Host;
use crate::block::find;
use crate::model::block::Block;
use crate::model::error::{AwsErrorKind, Result};
use crate::model::instance::Instance;
use crate::session::Session;
use crate::settings::AgentFrom;

/// How many missing instances are looked into, at some calls each: they are missing for the same,
/// mostly.
const MOST_INSTANCES: usize = 5;

/// What keeps an instance of ours from joining, if anything can be found.
///
/// # Errors
/// When a call fails.
pub(crate) async fn of_instance(session: &Session<'_>, id: &str) -> Result<Option<Finding>> {
    let facts = gather(session, Some(id)).await?;
    Ok(facts.instances.iter().find(|it| it.id == id).and_then(|it| super::instance(&facts, it)))
}

/// What is known of an environment and its instances; of one that is named, also when it is gone.
///
/// # Errors
/// When a call fails.
pub(crate) async fn gather(session: &Session<'_>, named: Option<&str>) -> Result<Surroundings> {
    let (aws, settings) = (session.aws, &session.settings.environment);
    let environment = aws.batch.environment(&settings.name).await?;
    let hosts = match environment
        .as_ref()
        .map(|it| it.cluster.as_str())
        .filter(|cluster| !cluster.is_empty())
    {
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
fn worth_a_look<'a>(
    instances: &'a [Instance],
    hosts: &[Host],
    named: Option<&str>,
) -> Vec<&'a Instance> {
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
    for block in
        blocks.iter().filter(|it| it.life(session.now()).goes_on() && !it.instances.is_empty())
    {
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
        Err(error) if error.is_aws(AwsErrorKind::NotFound) => {}
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

/// How far the rights of a profile reach. A role that the user gave may have policies of any name:
/// nothing is said of it.
async fn rights(session: &Session<'_>, profile: Option<&str>) -> Result<Rights> {
    let Some(name) = profile else { return Ok(Rights::NoProfile(None)) };
    let iam = &session.aws.iam;
    let Some(profile) = iam.profile(name).await? else {
        return Ok(Rights::NoProfile(Some(name.to_owned())));
    };
    let Some(role) = profile.roles.first() else { return Ok(Rights::NoRole(name.to_owned())) };
    let given = session.settings.block.instance_profile.is_some();
    if given || iam.policy(role).await?.is_some() || !iam.attached(role).await?.is_empty() {
        return Ok(Rights::Some);
    }
    Ok(Rights::NoPolicy(role.clone()))
}

/// What may not be looked at is left out, and said: the rest is worth as much.
pub(crate) fn if_allowed<T>(session: &Session<'_>, answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.is_aws(AwsErrorKind::Denied) => {
            session.ui.warn(format_args!("not looked at: {error}"));
            Ok(None)
        }
        answer => answer.map(Some),
    }
}
