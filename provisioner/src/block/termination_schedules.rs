//! The third line of defence: one-time schedules at AWS that end a block's instances when both
//! their agent and their power-off timer have failed. docs/defences.md tells of all four.
//!
//! 1. [`TerminationSchedules::prepare`] looks, before anything is bought, whether what schedules
//!    need is there
//! 2. [`TerminationSchedules::secure`] makes the block's schedules, right after its instances are
//!    known and tagged
//! 3. [`forget`] deletes them once the instances are gone
//!
//! A schedule's name follows from the block and from what it ends, so it is a create-if-absent like
//! a block's record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::aws::classify::is_scheduler_role_too_new;
use crate::aws::scheduler::Schedule;
use crate::environment::desired::{Choice, Desired};
use crate::model::block::Block;
use crate::model::error::{Error, Result};
use crate::model::instance::Instance;
use crate::model::ownership::{Marks, Owned};
use crate::runtime::wait::{Poll, WaitSpec};
use crate::session::Session;
use crate::terminal::format;

/// How long after a block's end its schedule fires: later than the agent, which is done by the end,
/// and than the power-off timer, which comes two minutes after it.
pub(crate) const GRACE: SignedDuration = SignedDuration::from_mins(5);
/// Up to so many instances each have a schedule of their own: TerminateInstances ends none of its
/// list when one of it is unknown `[V]`, and an instance that left early is unknown an hour later.
const EACH: usize = 50;
/// How many share one in a larger block: each schedule is a call.
const TOGETHER: usize = 40;
/// The tag that EC2 puts on what a fleet launched `[V]`; nobody else can set one that begins with
/// `aws:`.
pub(crate) const FLEET: &str = "aws:ec2:fleet-id";
/// A new role takes seconds to be usable `[I]`.
const ROLE_LIMIT: Duration = Duration::from_secs(60);

/// An instance of ours, and what a schedule for it has to know.
#[derive(Clone, Debug)]
pub(crate) struct Guarded {
    /// The instance.
    pub instance: Owned,
    /// When its block ends.
    pub end: Timestamp,
    /// The fleet that brought it.
    pub fleet: Option<String>,
}

/// What schedules need.
#[derive(Clone, Debug)]
pub(crate) struct TerminationSchedules {
    group: Owned,
    role: String,
}

impl TerminationSchedules {
    /// Looks for the group and the role of an environment's schedules; nothing where the user wants
    /// none.
    ///
    /// # Errors
    /// When a call fails, or one of them isn't there.
    pub(crate) async fn prepare(session: &Session<'_>, desired: &Desired) -> Result<Option<Self>> {
        let Some(scheduler) = &desired.scheduler else { return Ok(None) };
        let absent = |what: &str| {
            Error::state(
                format!(
                    "the schedules that end a block when all else fails need {what}, which is \
                     not there"
                ),
                "make it with `spotblock env apply`, then run the same command again; or do \
                 without them with [environment] schedules = false",
            )
        };
        let name = &scheduler.group;
        let group = session.aws.scheduler.group(name).await?.filter(|group| group.active);
        let group = group.ok_or_else(|| absent(&format!("schedule group {name}")))?;
        let group = desired.marks().claim(name, &group.tags).ok_or_else(|| {
            Error::state(
                format!("schedule group {name} is there, but was not made by spotblock"),
                "give another [environment] name, or remove it by hand if nothing needs it",
            )
        })?;
        let role = match &scheduler.role {
            Choice::Existing(arn) if arn.starts_with("arn:") => arn.clone(),
            role => {
                let found = session.aws.iam.role(role.name()).await?;
                found.ok_or_else(|| absent(&format!("role {}", role.name())))?.arn
            }
        };
        Ok(Some(Self { group, role }))
    }

    /// Makes those of the block's schedules that aren't there yet.
    ///
    /// # Errors
    /// When a call fails for good.
    pub(crate) async fn secure(&self, session: &Session<'_>, of: &Block) -> Result<()> {
        let block = &of.id;
        let wanted = schedules(block, &self.role, &guarded(session.environment(), of));
        let now = session.now();
        // A moment that is past can't be scheduled; such a block is for `reap`.
        let wanted: Vec<Schedule> = wanted.into_iter().filter(|it| it.at > now).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let there = session.aws.scheduler.names(self.group.id(), &prefix(block)).await?;
        let there: BTreeSet<String> = there.into_iter().collect();
        let missing: Vec<&Schedule> =
            wanted.iter().filter(|it| !there.contains(&it.name)).collect();
        for schedule in &missing {
            if let Err(error) = self.create(session, schedule).await {
                let without =
                    "no schedule ends its instances if their agents and power-off timers fail";
                session.ui.warn(format_args!("block {block} is bought and goes on, but {without}"));
                return Err(error);
            }
        }
        if let Some(last) = missing.iter().map(|it| it.at).max() {
            let many = missing.len();
            let made = if many == 1 {
                "1 schedule that ends".to_owned()
            } else {
                format!("{many} schedules that end")
            };
            session.ui.say(format_args!(
                "made {made} what is left of block {block} at {}",
                format::moment(last, session.now())
            ));
        }
        Ok(())
    }

    /// Moves the block's schedules so that they fire after this end, and gives how many were moved.
    /// None is moved nearer.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn postpone(
        &self,
        session: &Session<'_>,
        block: &str,
        end: Timestamp,
    ) -> Result<usize> {
        let (scheduler, at) = (&session.aws.scheduler, fires_at(end));
        let mut moved = 0;
        for name in scheduler.names(self.group.id(), &prefix(block)).await? {
            let Some(schedule) =
                scheduler.schedule(&self.group, &name).await?.filter(|it| it.at < at)
            else {
                continue;
            };
            scheduler.replace(&self.group, &Schedule { at, ..schedule }).await?;
            moved += 1;
        }
        Ok(moved)
    }

    /// A new role can't be assumed at once, which is waited out.
    async fn create(&self, session: &Session<'_>, schedule: &Schedule) -> Result<()> {
        let bound = WaitSpec {
            what: format!("EventBridge Scheduler to accept role {}", self.role),
            limit: ROLE_LIMIT,
            next: "check that the role trusts scheduler.amazonaws.com; then run the same command \
                   again"
                .to_owned(),
        };
        session
            .waits
            .until(session.ui, bound, async || {
                match session.aws.scheduler.create(&self.group, schedule).await {
                    // One of this name ends the same, and may have been moved by `extend`.
                    Ok(_) => Ok(Poll::Done(())),
                    Err(error) if is_scheduler_role_too_new(&error) => {
                        Ok(Poll::NotYet(error.to_string()))
                    }
                    Err(error) => Err(error),
                }
            })
            .await
    }
}

/// The block's instances that are up, as their schedules see them.
#[must_use]
pub(crate) fn guarded(environment: &str, block: &Block) -> Vec<Guarded> {
    let marks = block.marks(environment);
    let up = block.instances.iter().filter(|it| it.is_up());
    let guarded = |it: &Instance| {
        let instance = marks.claim_instance(it, &block.requests)?;
        Some(Guarded { instance, end: block.end_of(it)?, fleet: it.tags.get(FLEET).cloned() })
    };
    up.filter_map(guarded).collect()
}

/// What the names of a block's schedules begin with.
#[must_use]
pub(crate) fn prefix(block: &str) -> String {
    format!("{block}-")
}

/// Deletes the schedules of a block whose instances are gone, and gives their names.
///
/// # Errors
/// When a call fails.
pub(crate) async fn forget(
    session: &Session<'_>,
    desired: &Desired,
    block: &str,
) -> Result<Vec<String>> {
    let Some(scheduler) = &desired.scheduler else { return Ok(Vec::new()) };
    let names = session.aws.scheduler.names(&scheduler.group, &prefix(block)).await?;
    let Some(group) = group_of(session, desired.marks(), &scheduler.group, &names).await? else {
        return Ok(Vec::new());
    };
    for name in &names {
        session.aws.scheduler.delete(&group, name).await?;
    }
    Ok(names)
}

/// The group, if it is ours and there is something in it to delete.
async fn group_of(
    session: &Session<'_>,
    marks: Marks<'_>,
    name: &str,
    found: &[String],
) -> Result<Option<Owned>> {
    if found.is_empty() {
        return Ok(None);
    }
    let group = session.aws.scheduler.group(name).await?;
    Ok(group.and_then(|group| marks.claim(name, &group.tags)))
}

/// The schedules that end these instances: one a fleet, and for what no fleet brought one an
/// instance, or where they are many one for some of them together.
#[must_use]
pub(crate) fn schedules(block: &str, role: &str, instances: &[Guarded]) -> Vec<Schedule> {
    let mut fleets: BTreeMap<&str, Timestamp> = BTreeMap::new();
    let mut alone: Vec<&Guarded> = Vec::new();
    for instance in instances {
        match &instance.fleet {
            Some(fleet) => {
                let end = fleets.entry(fleet).or_insert(instance.end);
                *end = instance.end.max(*end);
            }
            None => alone.push(instance),
        }
    }
    alone.sort_by_key(|it| it.instance.id());
    let together = if alone.len() <= EACH { 1 } else { TOGETHER };
    let of_fleets = fleets.into_iter().map(|(fleet, end)| {
        let input = json!({ "FleetIds": [fleet], "TerminateInstances": true });
        schedule(block, role, "deleteFleets", &[fleet], input, end)
    });
    let of_instances = alone.chunks(together).filter_map(|some| {
        let ids: Vec<&str> = some.iter().map(|it| it.instance.id()).collect();
        let end = some.iter().map(|it| it.end).max()?;
        Some(schedule(block, role, "terminateInstances", &ids, json!({ "InstanceIds": ids }), end))
    });
    of_fleets.chain(of_instances).collect()
}

/// Up to a whole second: an instance must not be ended a moment early.
fn fires_at(end: Timestamp) -> Timestamp {
    let at = end.checked_add(GRACE).unwrap_or(Timestamp::MAX);
    let second = at.as_second().saturating_add(i64::from(at.subsec_nanosecond() > 0));
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

fn schedule(
    block: &str,
    role: &str,
    call: &str,
    ids: &[&str],
    input: serde_json::Value,
    end: Timestamp,
) -> Schedule {
    let hash = Sha256::digest(ids.join(","));
    let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Schedule {
        name: format!("{}{hash}", prefix(block)),
        description: format!(
            "spotblock block {block}: {call} for {} of its instances or fleets",
            ids.len()
        ),
        at: fires_at(end),
        target: format!("arn:aws:scheduler:::aws-sdk:ec2:{call}"),
        input: input.to_string(),
        role: role.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/r";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn guarded(id: &str, end: &str, fleet: Option<&str>) -> Guarded {
        Guarded { instance: Owned::created(id), end: at(end), fleet: fleet.map(str::to_owned) }
    }

    /// Catches: an instance ended with its block still running, or no schedule for one that came
    /// last.
    #[test]
    fn a_fleet_has_one_schedule_after_its_last_instance() {
        let instances = [
            guarded("i-1", "2026-11-24T13:00:00Z", Some("fleet-1")),
            guarded("i-2", "2026-11-24T13:00:09.5Z", Some("fleet-1")),
            guarded("i-3", "2026-11-24T12:00:00Z", Some("fleet-2")),
        ];
        let made = schedules("sb-0123456789", ROLE, &instances);
        assert_eq!(made.len(), 2);
        assert_eq!(made[0].at, at("2026-11-24T13:05:10Z"));
        assert_eq!(made[0].target, "arn:aws:scheduler:::aws-sdk:ec2:deleteFleets");
        assert_eq!(made[0].input, r#"{"FleetIds":["fleet-1"],"TerminateInstances":true}"#);
        assert_eq!(made[1].at, at("2026-11-24T12:05:00Z"));
    }

    /// Catches: one unknown id that keeps all others alive.
    #[test]
    fn up_to_fifty_instances_each_have_their_own_and_more_share_them() {
        let many = |count: usize| -> Vec<Guarded> {
            (0..count)
                .map(|n| guarded(&format!("i-{n:04}"), "2026-11-24T13:00:00Z", None))
                .collect()
        };
        for (count, expected) in
            [(0, 0), (1, 1), (50, 50), (51, 2), (80, 2), (1000, 25), (1001, 26)]
        {
            let made = schedules("sb-0123456789", ROLE, &many(count));
            assert_eq!(made.len(), expected, "{count}");
            let ids: usize = made.iter().map(|it| it.input.matches("i-").count()).sum();
            assert_eq!(ids, count, "each is in one");
            let names: BTreeSet<&str> = made.iter().map(|it| it.name.as_str()).collect();
            assert_eq!(names.len(), expected, "no two have one name");
        }
    }

    /// Catches: a second run that makes its schedules again because it saw the instances in another
    /// order.
    #[test]
    fn a_name_follows_from_the_block_and_what_is_ended_and_fits() {
        let end = "2026-11-24T13:00:00Z";
        let name = |block: &str, ids: &[&str]| {
            let instances: Vec<Guarded> = ids.iter().map(|id| guarded(id, end, None)).collect();
            schedules(block, ROLE, &instances).pop().expect("one").name
        };
        assert_eq!(name("sb-0123456789", &["i-1", "i-2"]), name("sb-0123456789", &["i-2", "i-1"]));
        assert_ne!(name("sb-0123456789", &["i-1"]), name("sb-0123456789", &["i-2"]));
        assert_ne!(name("sb-0123456789", &["i-1"]), name("sb-0123456780", &["i-1"]));
        // The longest id that a block can have.
        assert!(name(&format!("sb-{}", "0".repeat(32)), &["i-1"]).len() <= 64);
    }
}
