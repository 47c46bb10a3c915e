//! What moves the block's moments, or cuts them short.
//!
//! They only come nearer, with one exception: an extension that the user bought, honoured only
//! while serving.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use node_contract::{OnRebalance, Timeline};

use super::{ExtensionAnswer, OnHost, Outcome, Phase, RetrySchedule, Rules, State};

/// What tasks have taken is counted in steps of this, so that it isn't saved anew at each look.
const STEP: SignedDuration = SignedDuration::from_mins(1);

impl Rules {
    /// The instance will be gone, or of no use, at this moment.
    pub(super) fn limited(&self, state: &mut State, now: Timestamp, until: Timestamp) {
        // AWS may be late with it, and tasks are to have their stop all the same.
        let stop_lead = SignedDuration::from_secs(self.config.stop_lead_secs.into());
        let until = until.max(now.checked_add(stop_lead).unwrap_or(Timestamp::MAX));
        state.limit = Some(state.limit.map_or(until, |limit| limit.min(until)));
        let start = state.timeline.start;
        state.timeline =
            state.timeline.tightened_by(Timeline::ending_at(&self.config, start, until));
    }

    /// The block's end was moved to this moment.
    pub(super) fn end_moved(&self, state: &mut State, to: Timestamp) {
        if state.phase != Phase::Serving || state.noticed {
            return;
        }
        state.asked_for = Some(to);
        let start = state.timeline.start;
        let mut moved = Timeline::moved_to(&self.config, start, to);
        if let Some(limit) = state.limit {
            moved = moved.tightened_by(Timeline::ending_at(&self.config, start, limit));
        }
        if self.finds_drain_lead() {
            moved = moved.with_longest_task(state.longest_task());
        }
        // Nearer than it is would be no extension, and a tag that stood there before the launch
        // must not end a block.
        if moved.end > state.timeline.end {
            state.timeline = moved;
            state.moved_to = Some(to);
        }
    }

    /// What is to be told of the tag that moves the end, unless that was told. From the drain on
    /// there is nothing to tell: ECS shows the instance DRAINING.
    pub(super) fn unanswered(state: &State) -> Option<ExtensionAnswer> {
        let asked = state.asked_for.filter(|_| state.phase == Phase::Serving)?;
        let answer =
            ExtensionAnswer { of: state.registration.clone()?, asked, end: state.timeline.end };
        (state.answered.as_ref() != Some(&answer)).then_some(answer)
    }

    pub(super) fn answered(
        &self,
        state: &mut State,
        now: Timestamp,
        answer: ExtensionAnswer,
        outcome: Outcome,
    ) {
        match outcome {
            // A right that the role lacks won't come by asking.
            Outcome::Done | Outcome::Refused => {
                (state.answered, state.answer) = (Some(answer), RetrySchedule::default())
            }
            Outcome::Retry => state.answer.failed(now, self),
        }
    }

    /// Takes note of what runs, before [`State::tasks`] does.
    pub(super) fn watch_tasks(
        &self,
        state: &mut State,
        now: Timestamp,
        seen: &BTreeMap<String, OnHost>,
    ) {
        if state.phase != Phase::Serving {
            return;
        }
        let is_new = |arn: &String| !state.tasks.contains_key(arn);
        let is_quiet = !seen.values().any(|seen| *seen == OnHost::Live) && !seen.keys().any(is_new);
        state.quiet_since = if is_quiet { state.quiet_since.or(Some(now)) } else { None };
        if !self.finds_drain_lead() {
            return;
        }
        let live = state.tasks.iter().filter(|(arn, _)| seen.get(*arn) == Some(&OnHost::Live));
        let ran = live
            .filter_map(|(_, task)| Some(task.seen_at?.duration_until(now)))
            .max()
            .unwrap_or_default();
        let steps = u32::try_from((ran.as_secs() + STEP.as_secs() - 1) / STEP.as_secs())
            .unwrap_or_default();
        if steps > state.longest_minutes {
            state.longest_minutes = steps;
            state.timeline = state.timeline.with_longest_task(state.longest_task());
        }
    }

    fn finds_drain_lead(&self) -> bool {
        self.config.options.longest_timeout_secs.is_some()
    }

    /// Whether no task has run for as long as the block waits for one.
    pub(super) fn is_released(&self, state: &State, now: Timestamp) -> bool {
        self.release_at(state).is_some_and(|at| at <= now)
    }

    /// When the instance is released if no task comes.
    pub(super) fn release_at(&self, state: &State) -> Option<Timestamp> {
        let wait = SignedDuration::from_secs(self.config.options.release_when_idle_secs?.into());
        state.quiet_since?.checked_add(wait).ok()
    }

    pub(super) fn drains_on_rebalance(&self) -> bool {
        self.config.options.on_rebalance == OnRebalance::Drain
    }

    /// When tasks are warned, if they haven't been told of this very moment.
    pub(super) fn warn_at(&self, state: &State) -> Option<Timestamp> {
        let lead =
            self.warn_lead.filter(|_| (Phase::Serving..=Phase::Stopping).contains(&state.phase))?;
        let stop_at =
            Some(state.timeline.stop_at).filter(|stop_at| state.warned_of != Some(*stop_at))?;
        Some(stop_at.checked_sub(lead).unwrap_or(Timestamp::MIN))
    }

    pub(super) fn warned(
        &self,
        state: &mut State,
        now: Timestamp,
        of: Timestamp,
        outcome: Outcome,
    ) {
        match outcome {
            Outcome::Done => (state.warned_of, state.warn) = (Some(of), RetrySchedule::default()),
            Outcome::Retry | Outcome::Refused => state.warn.failed(now, self),
        }
    }
}

impl State {
    fn longest_task(&self) -> SignedDuration {
        SignedDuration::from_mins(self.longest_minutes.into())
    }
}
