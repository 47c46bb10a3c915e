//! Marking what came, and waiting until it has joined the cluster.

use std::time::Duration;

use crate::aws::ec2::{Instance, SpotRequest};
use crate::error::{Error, Result};
use crate::ownership::{Marks, Ours};
use crate::record::Record;
use crate::session::Session;
use crate::settings::AgentFrom;
use crate::wait::{Bound, Seen};

/// Marks instances of ours that are not marked yet: a spot request's tags don't reach them `[V]`.
async fn mark(session: &Session<'_>, record: &Record, requests: &[SpotRequest], instances: &[Instance]) -> Result<()> {
    let marks = Marks::of_block(session.environment(), &record.terms.block);
    let unmarked: Vec<Ours> = instances
        .iter()
        .filter(|it| it.is_up() && !marks.are_on(&it.tags))
        .filter_map(|it| marks.claim_instance(it, requests))
        .collect();
    if unmarked.is_empty() { Ok(()) } else { session.aws.ec2.tag(&unmarked, &record.terms.resource_tags()).await }
}

/// Waits until each instance is a connected container instance of the cluster, and gives those that ended meanwhile.
pub(super) async fn join(
    session: &Session<'_>,
    record: &Record,
    cluster: &str,
    requests: &[SpotRequest],
    limit: Duration,
) -> Result<Vec<Instance>> {
    let expected = requests.iter().filter(|it| it.instance.is_some()).count();
    let bound = Bound {
        what: format!("the instances of block {} to join the cluster", record.terms.block),
        limit,
        next: String::new(),
    };
    let mut absent = None;
    let result = session
        .waits
        .until(session.ui, bound, async || {
            let instances = session.aws.ec2.instances_of_requests(requests).await?;
            mark(session, record, requests, &instances).await?;
            if instances.len() < expected {
                return Ok(Seen::NotYet(format!("{} of {expected} instances shown so far", instances.len())));
            }
            let members = session.aws.ecs.members(cluster).await?;
            let joined = |it: &Instance| members.get(&it.id).is_some_and(crate::aws::ecs::Member::has_joined);
            let missing: Vec<&Instance> = instances.iter().filter(|it| it.is_up() && !joined(it)).collect();
            if let Some(first) = missing.first() {
                absent = Some(first.id.clone());
                let named: Vec<String> = missing.iter().take(5).map(|it| format!("{} ({})", it.id, it.state)).collect();
                let here = instances.iter().filter(|it| joined(it)).count();
                let rest = if missing.len() > 5 { ", ..." } else { "" };
                return Ok(Seen::NotYet(format!(
                    "{here} of {} joined; not yet: {}{rest}",
                    instances.len(),
                    named.join(", ")
                )));
            }
            Ok(Seen::Done(instances.into_iter().filter(|it| !it.is_up()).collect()))
        })
        .await;
    match result {
        Err(Error::TimedOut { what, limit, last, .. }) => {
            let next = why_not_joined(session, record, absent.as_deref().unwrap_or("INSTANCE")).await?;
            Err(Error::TimedOut { what, limit, last, next })
        }
        result => result,
    }
}

/// What keeps an instance from joining, in the order of likelihood.
async fn why_not_joined(session: &Session<'_>, record: &Record, instance: &str) -> Result<String> {
    let launch = session.aws.ec2.launch_data(record).await?;
    let agent = match &session.settings.agent.from {
        AgentFrom::Ami => format!("image {} carries spotblock-agent ([agent] from = \"ami\")", launch.image),
        AgentFrom::Url { url, .. } => format!("the instance can fetch {url}"),
    };
    Ok(format!(
        "the block is bought and its clock runs. Check with `aws ec2 get-console-output --instance-id {instance} --latest` \
         that {agent}, that subnet {} reaches ECS, and that the role of {} has the policy of the agent; then run the same \
         command again to wait on, or `spotblock down` to end the block",
        launch.subnet, launch.instance_profile
    ))
}

pub(super) fn ended_early(record: &Record, gone: &[Instance]) -> Option<Error> {
    let first = gone.first()?;
    let (block, wanted) = (&record.terms.block, record.terms.instances);
    Some(Error::State {
        what: format!(
            "{} of {wanted} instances of block {block} have ended: {} is {} ({})",
            gone.len(),
            first.id,
            first.state,
            first.reason
        ),
        next:
            "the others, if there are any, have joined and work; `spotblock status` shows them, `spotblock up --new` \
               starts another block"
                .to_owned(),
    })
}
