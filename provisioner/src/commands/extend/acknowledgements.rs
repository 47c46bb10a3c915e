//! What the agents made of it. Each reads the tag through IMDS, and shows at its container instance
//! which moment it has read and what its end is now.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Answer, Node};
use crate::aws::ecs::Member;
use crate::model::error::{ErrorKind, Result};
use crate::runtime::wait::{Poll, WaitSpec};
use crate::session::Session;
use crate::terminal::format;

/// How long the agents are listened for: they look at the tag every 30 s, and as long again is left
/// for EC2 to show it in IMDS `[A]` and for ECS to take the answer.
const LIMIT: Duration = Duration::from_secs(60);

/// What the agents were asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// The moment in the tag.
    pub(super) tag: Timestamp,
    /// The end that follows from it: a capacity block's instances are taken back before that.
    pub(super) end: Timestamp,
}

/// Waits for the answers of those that were asked and are in the cluster. Who says nothing in time
/// is [`Answer::NotHeard`].
///
/// # Errors
/// When ECS can't be asked.
pub(super) async fn wait(
    session: &Session<'_>,
    cluster: &str,
    asked: Asked,
    nodes: &mut [Node],
) -> Result<()> {
    let silent = |nodes: &[Node]| nodes.iter().filter(|node| node.is_awaited()).count();
    let all = silent(nodes);
    if all == 0 {
        return Ok(());
    }
    let bound = WaitSpec {
        what: format!("{} to take the new end", format::many(all, "agent")),
        limit: LIMIT,
        next: String::new(),
    };
    let look = async || {
        let members = session.aws.ecs.members(cluster).await?;
        for node in nodes.iter_mut().filter(|node| node.is_awaited()) {
            hear(node, asked, members.get(&node.instance));
        }
        Ok(match silent(nodes) {
            0 => Poll::Done(()),
            some => Poll::NotYet(format!("{} of {all} have answered", all - some)),
        })
    };
    match session.waits.until(session.ui, bound, look).await {
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        result => result,
    }
}

/// What a container instance says of one instance.
fn hear(node: &mut Node, asked: Asked, member: Option<&Member>) {
    let Some(member) = member else {
        (node.answer, node.why) = (Answer::TooLate, "it has left the cluster".to_owned());
        return;
    };
    let answered = member.end.filter(|_| member.end_asked == Some(asked.tag));
    match answered {
        Some(end) if end > node.was || end >= asked.end => {
            node.end = Some(end);
            node.answer = Answer::Accepted;
            node.why = match end < asked.end {
                true => format!(
                    "its agent goes on until {end} and no further: its host has a limit of its \
                     own"
                ),
                false => {
                    "its agent has moved its drain, its stop and its power-off timer".to_owned()
                }
            };
        }
        Some(end) => {
            node.end = Some(end);
            (node.answer, node.why) =
                (Answer::Refused, format!("its host has a limit of its own: it ends at {end}"));
        }
        None if member.status != "ACTIVE" => {
            (node.answer, node.why) =
                (Answer::TooLate, format!("it became {} meanwhile", member.status));
        }
        None => {}
    }
}

/// What those are to be taken for that said nothing.
pub(super) fn why_silent(drain_at: Timestamp) -> String {
    format!(
        "its agent has said nothing within {} s (an older agent, or a role without \
         ecs:PutAttributes, can't). If it takes jobs after {drain_at}, it has accepted",
        LIMIT.as_secs()
    )
}

/// The cluster's container instances; none without a cluster.
///
/// # Errors
/// When a call fails.
pub(super) async fn members(session: &Session<'_>) -> Result<(String, BTreeMap<String, Member>)> {
    let environment = session.aws.batch.environment(session.environment()).await?;
    match environment.map(|it| it.cluster).filter(|cluster| !cluster.is_empty()) {
        Some(cluster) => {
            let members = session.aws.ecs.members(&cluster).await?;
            Ok((cluster, members))
        }
        None => Ok((String::new(), BTreeMap::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        "2026-11-24T10:00:00Z".parse::<Timestamp>().expect("a time")
            + jiff::SignedDuration::from_mins(minutes)
    }

    fn heard(member: Option<(&str, Option<(i64, i64)>)>) -> Answer {
        let mut node = Node {
            instance: "i-1".into(),
            answer: Answer::NotHeard,
            was: at(60),
            end: None,
            why: String::new(),
            awaited: true,
        };
        let member = member.map(|(status, said)| Member {
            arn: "arn".into(),
            status: status.into(),
            connected: true,
            running_tasks: 0,
            pending_tasks: 0,
            end: said.map(|(_, end)| at(end)),
            end_asked: said.map(|(asked, _)| at(asked)),
            others: Vec::new(),
        });
        hear(&mut node, Asked { tag: at(120), end: at(120) }, member.as_ref());
        node.answer
    }

    /// Catches: an answer to an earlier extension that is taken for one to this, or silence for
    /// consent.
    #[test]
    fn only_the_answer_to_this_moment_counts() {
        for (member, answer) in [
            (Some(("ACTIVE", Some((120, 120)))), Answer::Accepted),
            (Some(("ACTIVE", Some((120, 90)))), Answer::Accepted),
            (Some(("ACTIVE", Some((120, 60)))), Answer::Refused),
            (Some(("DRAINING", Some((120, 120)))), Answer::Accepted),
            (Some(("ACTIVE", Some((110, 110)))), Answer::NotHeard),
            (Some(("ACTIVE", None)), Answer::NotHeard),
            (Some(("DRAINING", None)), Answer::TooLate),
            (Some(("DRAINING", Some((110, 110)))), Answer::TooLate),
            (None, Answer::TooLate),
        ] {
            assert_eq!(heard(member), answer, "{member:?}");
        }
    }
}
