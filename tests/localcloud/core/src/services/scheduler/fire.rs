//! Schedules fire: at its time, one takes its role, makes its call as anybody else would, and is
//! done with, tries again, or gives up.

use jiff::{SignedDuration, Timestamp};

use super::body::{Body, Target};
use super::target::{self, Call};
use super::{Key, Scheduler, Service};
use crate::journal::Event;
use crate::journal::record::What;
use crate::protocol::options::later;
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

/// When a schedule of this kind that is made or changed at `now` makes its first call. AWS is
/// precise to a minute; here `pace.schedule_ms` says how late one is.
pub(super) fn first(service: &Service<'_>, body: &Body, now: Timestamp) -> Option<Due> {
    let at = later(body.fires_at()?.max(now), service.options.pace.schedule_ms);
    Some(Due { at, first: at, tried: 0 })
}

/// How a try ended that did not succeed.
pub(crate) struct Failure {
    error: String,
    /// Whether AWS tries again: when it was throttled, and when the service failed [A].
    again: bool,
}

impl Failure {
    /// The call was answered with this error.
    pub(crate) fn answered(status: u16, error: String) -> Self {
        let again = status >= 500 || error.contains("Throttling");
        Self { error, again }
    }

    /// The call was never answered.
    pub(crate) fn unanswered() -> Self {
        Self { error: "no answer".to_owned(), again: true }
    }

    fn fatal(error: String) -> Self {
        Self { error, again: false }
    }
}

fn next(scheduler: &Scheduler) -> Option<(Timestamp, &Key)> {
    let due =
        scheduler.schedules.iter().filter_map(|(key, schedule)| Some((schedule.due?.at, key)));
    due.min_by_key(|(at, _)| *at)
}

/// The next moment at which a schedule fires.
pub(crate) fn next_due(scheduler: &Scheduler) -> Option<Timestamp> {
    next(scheduler).map(|(at, _)| at)
}

/// The schedule whose time has come, and the call that it makes or why it can't.
pub(crate) fn next_call(
    service: &Service<'_>,
    now: Timestamp,
) -> Option<(Key, Result<Call, Failure>)> {
    let (_, key) = next(service.state).filter(|(at, _)| *at <= now)?;
    let target = &service.state.schedules.get(key)?.body.target;
    Some((key.clone(), call(service, now, key, target)))
}

fn call(
    service: &Service<'_>,
    now: Timestamp,
    key: &Key,
    target: &Target,
) -> Result<Call, Failure> {
    if !may_assume(service, &key.0, &target.role_arn, now) {
        return Err(Failure::fatal(format!(
            "scheduler.amazonaws.com can't assume {}",
            target.role_arn
        )));
    }
    target::call(service, target).map_err(Failure::fatal)
}

/// A schedule's call was made, or not: it is done with, tries again, or gives up.
pub(crate) fn done(
    service: &mut Service<'_>,
    now: Timestamp,
    key: Key,
    outcome: Result<(), Failure>,
) {
    let Some(schedule) = service.state.schedules.get_mut(&key) else { return };
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
        service.state.schedules.remove(&key);
    }
    let what = What::Schedule { schedule: key.1, change: change.to_owned(), error };
    service.journal.event(Event { at: now, what });
}

/// Whether Scheduler can take the role for schedules of this group.
pub(super) fn may_assume(service: &Service<'_>, group: &str, role: &str, now: Timestamp) -> bool {
    let (region, account) = (&service.options.region, &service.options.account);
    let keys = [
        ("aws:SourceAccount".to_owned(), account.clone()),
        (
            "aws:SourceArn".to_owned(),
            format!("arn:aws:scheduler:{region}:{account}:schedule-group/{group}"),
        ),
    ];
    iam::service_may_assume(
        service.iam,
        service.options,
        role,
        "scheduler.amazonaws.com",
        &keys,
        now,
    )
}

impl Due {
    /// The next try, if the retry policy gives one.
    fn again(self, now: Timestamp, body: &Body) -> Option<Self> {
        let policy = body.target.retry_policy;
        let wait = SignedDuration::from_secs(1 << self.tried.min(20)).min(LONGEST_WAIT);
        let at = now + wait;
        let last =
            self.first + SignedDuration::from_secs(policy.maximum_event_age_in_seconds.into());
        (self.tried < policy.maximum_retry_attempts && at <= last).then_some(Self {
            at,
            tried: self.tried + 1,
            ..self
        })
    }
}
