//! Schedules fire: at its time, one takes its role, makes its call as anybody else would, and is done with, tries
//! again, or gives up.

use jiff::{SignedDuration, Timestamp};

use super::body::Body;
use super::{Key, Scheduler, target};
use crate::cloud::{Cloud, Delivery};
use crate::journal::Event;
use crate::journal::record::What;
use crate::services::ecs::later;
use crate::services::iam;

/// The longest wait between two tries. That waits grow exponentially is AWS's; how far is ours [A].
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(10);

/// When a schedule makes its next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    at: Timestamp,
    /// When its first try was due.
    first: Timestamp,
    /// How many tries there were.
    tried: u32,
}

/// When a schedule of this kind that is made or changed at `now` makes its first call. AWS is precise to a minute; here
/// `pace.schedule_ms` says how late one is.
pub(super) fn first(cloud: &Cloud, body: &Body, now: Timestamp) -> Option<Due> {
    let at = later(body.fires_at()?.max(now), cloud.options.pace.schedule_ms);
    Some(Due { at, first: at, tried: 0 })
}

/// How a try ended that did not succeed.
struct Failure {
    error: String,
    /// Whether AWS tries again: when it was throttled, and when the service failed [A].
    again: bool,
}

fn next(scheduler: &Scheduler) -> Option<(Timestamp, &Key)> {
    let due = scheduler.schedules.iter().filter_map(|(key, schedule)| Some((schedule.due?.at, key)));
    due.min_by_key(|(at, _)| *at)
}

/// The next moment at which a schedule fires.
pub(crate) fn next_due(cloud: &Cloud) -> Option<Timestamp> {
    next(&cloud.scheduler).map(|(at, _)| at)
}

/// Fires the schedule whose time has come.
pub(crate) fn fire(cloud: &mut Cloud, now: Timestamp) {
    let Some((_, key)) = next(&cloud.scheduler).filter(|(at, _)| *at <= now) else { return };
    let key = key.clone();
    let outcome = attempt(cloud, now, &key);
    let Some(schedule) = cloud.scheduler.schedules.get_mut(&key) else { return };
    let Some(due) = schedule.due.take() else { return };
    let (change, error) = match outcome {
        Ok(()) => ("fired", None),
        Err(failure) => {
            schedule.due = if failure.again { due.again(now, &schedule.body) } else { None };
            (if schedule.due.is_some() { "retries" } else { "failed" }, Some(failure.error))
        }
    };
    // A one-time schedule is complete when it has given up, too [A].
    if schedule.due.is_none() && schedule.body.action_after_completion() == "DELETE" {
        cloud.scheduler.schedules.remove(&key);
    }
    let what = What::Schedule { schedule: key.1, change: change.to_owned(), error };
    cloud.event(Event { at: now, what });
}

/// Makes the call once.
fn attempt(cloud: &mut Cloud, now: Timestamp, key: &Key) -> Result<(), Failure> {
    let Some(schedule) = cloud.scheduler.schedules.get(key) else { return Ok(()) };
    let target = schedule.body.target.clone();
    let fatal = |error: String| Failure { error, again: false };
    if !may_assume(cloud, &key.0, &target.role_arn, now) {
        return Err(fatal(format!("scheduler.amazonaws.com can't assume {}", target.role_arn)));
    }
    let call = target::call(cloud, &target).map_err(fatal)?;
    let refusal = call.refusal(cloud, &target.role_arn);
    let answer = cloud.call(&call.request, now, refusal);
    let error = cloud.calls().last().and_then(|call| call.error.clone());
    match (answer.delivery, error) {
        (Delivery::NeverAfter { .. }, _) => Err(Failure { error: "no answer".to_owned(), again: true }),
        (_, None) => Ok(()),
        (_, Some(error)) => {
            let again = answer.response.status >= 500 || error.contains("Throttling");
            Err(Failure { error, again })
        }
    }
}

/// Whether Scheduler can take the role for schedules of this group.
pub(super) fn may_assume(cloud: &Cloud, group: &str, role: &str, now: Timestamp) -> bool {
    let (region, account) = (&cloud.options.region, &cloud.options.account);
    let keys = [
        ("aws:SourceAccount".to_owned(), account.clone()),
        ("aws:SourceArn".to_owned(), format!("arn:aws:scheduler:{region}:{account}:schedule-group/{group}")),
    ];
    iam::service_may_assume(cloud, role, "scheduler.amazonaws.com", &keys, now)
}

impl Due {
    /// The next try, if the retry policy gives one.
    fn again(self, now: Timestamp, body: &Body) -> Option<Self> {
        let policy = body.target.retry_policy;
        let wait = SignedDuration::from_secs(1 << self.tried.min(20)).min(LONGEST_WAIT);
        let at = now + wait;
        let last = self.first + SignedDuration::from_secs(policy.maximum_event_age_in_seconds.into());
        (self.tried < policy.maximum_retry_attempts && at <= last).then_some(Self { at, tried: self.tried + 1, ..self })
    }
}
