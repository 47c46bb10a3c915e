//! Why the instances of a block did not join, and what the user can do.

use super::{Cause, gather};
use crate::block::launch::{NotJoined, Reason};
use crate::model::error::Result;
use crate::session::Session;
use crate::settings::AgentFrom;

/// What keeps an instance from joining, in the order of likelihood.
///
/// # Errors
/// When the record's launch template can't be read.
pub(crate) async fn why_not_joined(
    session: &Session<'_>,
    not_joined: &NotJoined,
) -> Result<Option<String>> {
    let Reason::TimedOut { absent } = not_joined.reason() else { return Ok(None) };
    let (record, instance) = (not_joined.record(), absent.as_deref().unwrap_or("INSTANCE"));
    let launch = session.aws.ec2.launch_data(record).await?;
    let agent = match &session.settings.agent.from {
        AgentFrom::Ami => {
            format!("image {} carries spotblock-agent ([agent] from = \"ami\")", launch.image)
        }
        AgentFrom::Url { url, .. } => format!("the instance can fetch {url}"),
        AgentFrom::S3 { object, .. } => {
            format!(
                "the instance's role may s3:GetObject s3://{object}, and the bucket is in the \
                 block's region"
            )
        }
    };
    let found = match gather::of_instance(session, instance).await {
        Ok(found) => found.filter(|it| !matches!(it.cause, Cause::Booting | Cause::NeverJoined)),
        // The time-out is what is told; this only explains it.
        Err(_) => None,
    };
    let cause = match found {
        Some(it) => format!("Instance {instance}: {} ({}); {}", it.finding, it.evidence, it.next),
        None => format!(
            "Check with `spotblock doctor {instance}`, which can read its console for some time \
             yet, that {agent}, that ECS can be reached from {}, and that the role of {} has the \
             policy of the agent",
            record.spec.subnets.join(" and "),
            launch.instance_profile
        ),
    };
    Ok(Some(format!(
        "it is all or nothing: idle instances were ended, those with jobs leave when they are \
         done (--partial K keeps K or more; --timeout waits longer). {cause}. Then run the same \
         command again"
    )))
}
