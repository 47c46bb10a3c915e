//! The transitions.

use jiff::Timestamp;

use super::retry_schedule::LEAVE_TRIES;
use super::{Action, Event, Idle, LeaveStep, Phase, RetrySchedule, Rules, State, Why};

impl Rules {
    /// One step of the agent's life: what the event teaches, at most one transition, and what is to
    /// be done.
    ///
    /// It is total: late, doubled and foreign events change nothing. Deadlines only tighten, and
    /// draining never goes back to serving. A step that makes one transition can make the next one
    /// due; [`Rules::is_restless`] tells.
    ///
    /// | from | to | why | when |
    /// |---|---|---|---|
    /// | joining | serving | registered | introspection names a registration in the block's cluster |
    /// | joining | leaving | drain-time | the drain's time has come |
    /// | joining | leaving | notice | AWS gave notice |
    /// | joining | gone | end | what is left of the block is what powering off takes |
    /// | serving | draining | drain-time | the drain's time has come |
    /// | serving | draining | set-outside | ECS says DRAINING |
    /// | serving | draining | rebalance | AWS recommends to leave, and the block's settings follow it |
    /// | serving | draining | released | no task has run for as long as the block's settings say |
    /// | serving | stopping | stop-time | the time to stop tasks has come |
    /// | serving | stopping | notice | AWS gave notice |
    /// | serving | gone | end | what is left of the block is what powering off takes |
    /// | draining | stopping | stop-time | the time to stop tasks has come |
    /// | draining | stopping | notice | AWS gave notice |
    /// | draining | leaving | idle | nothing runs, twice over the settle time |
    /// | draining | gone | end | what is left of the block is what powering off takes |
    /// | stopping | leaving | idle | nothing runs, twice over the settle time |
    /// | stopping | leaving | unheard | ECS takes no DRAINING or no StopTask, or its agent is silent, for part of the margin |
    /// | stopping | leaving | leave-time | what is left of the block is what leaving takes |
    /// | stopping | gone | end | what is left of the block is what powering off takes |
    /// | leaving | stopping | late-tasks | a registration got through while joining and has tasks |
    /// | leaving | gone | left | the ECS agent is stopped, the instance deregistered |
    /// | leaving | gone | end | what is left of the block is what powering off takes |
    #[must_use]
    pub fn step(&self, state: &State, now: Timestamp, event: Event) -> (State, Vec<Action>) {
        let mut next = state.clone();
        self.learn(&mut next, now, event);
        if let Some((to, why)) = self.transition(&next, now) {
            enter(&mut next, now, to, why);
        }
        let actions = self.due_actions(&mut next, now);
        (next, actions)
    }

    /// Whether the next step makes a transition even if nothing happens.
    #[must_use]
    pub fn is_restless(&self, state: &State, now: Timestamp) -> bool {
        self.transition(state, now).is_some()
    }

    fn transition(&self, state: &State, now: Timestamp) -> Option<(Phase, Why)> {
        let timeline = state.timeline;
        if state.phase != Phase::Gone && state.power_off_at() <= now {
            return Some((Phase::Gone, Why::End));
        }
        let or_notice = |why| if state.noticed { Why::Notice } else { why };
        match state.phase {
            Phase::Joining if self.has_joined(state) => Some((Phase::Serving, Why::Registered)),
            Phase::Joining if timeline.drain_at <= now => {
                Some((Phase::Leaving, or_notice(Why::DrainTime)))
            }
            Phase::Serving | Phase::Draining if timeline.stop_at <= now => {
                Some((Phase::Stopping, or_notice(Why::StopTime)))
            }
            Phase::Serving if timeline.drain_at <= now => Some((Phase::Draining, Why::DrainTime)),
            Phase::Serving if state.drained => Some((Phase::Draining, Why::SetOutside)),
            Phase::Serving if state.rebalance && self.drains_on_rebalance() => {
                Some((Phase::Draining, Why::Rebalance))
            }
            Phase::Serving if self.is_released(state, now) => {
                Some((Phase::Draining, Why::Released))
            }
            Phase::Draining | Phase::Stopping if state.idle == Idle::Sure => {
                Some((Phase::Leaving, Why::Idle))
            }
            Phase::Stopping if state.is_unheard(now) => Some((Phase::Leaving, Why::Unheard)),
            Phase::Stopping if state.leave_at() <= now => Some((Phase::Leaving, Why::LeaveTime)),
            Phase::Leaving if state.has_late_tasks(now) => Some((Phase::Stopping, Why::LateTasks)),
            Phase::Leaving if state.has_left() => Some((Phase::Gone, Why::Left)),
            _ => None,
        }
    }

    fn has_joined(&self, state: &State) -> bool {
        state
            .registration
            .as_ref()
            .is_some_and(|registration| self.is_own_cluster(&registration.cluster))
    }
}

impl State {
    /// Whether a registration was found after leaving without having served, with tasks that live
    /// or whose end ECS doesn't know, in time to stop them.
    fn has_late_tasks(&self, now: Timestamp) -> bool {
        let looked = matches!(self.leave, LeaveStep::Deregister | LeaveStep::Done);
        self.look
            && looked
            && self.tasks.values().any(|task| !task.is_over())
            && now < self.leave_at()
    }

    /// Whether waiting for ECS is of no use: it took no StopTask for a task that lives, or the ECS
    /// agent that would carry it out does not answer. And where it took no DRAINING, each task that
    /// ends makes room for another, which would be stopped as soon as it had begun: jobs would
    /// spend all their attempts here.
    fn is_unheard(&self, now: Timestamp) -> bool {
        let since = |at: Timestamp| at.checked_add(self.patience()).is_ok_and(|due| due <= now);
        let untaken = |task: &super::Task| {
            task.is_live() && !task.stop_taken && task.stop_since.is_some_and(since)
        };
        [self.unheard_since(), self.undrained_since()].into_iter().flatten().any(since)
            || self.tasks.values().any(untaken)
    }

    /// Since when ECS has not confirmed DRAINING, though tasks are to be stopped.
    pub(super) fn undrained_since(&self) -> Option<Timestamp> {
        self.drain_since.filter(|_| self.phase == Phase::Stopping && !self.drained)
    }

    /// Since when the ECS agent has been silent while tasks were to be stopped.
    pub(super) fn unheard_since(&self) -> Option<Timestamp> {
        self.silent_since
            .map(|since| since.max(self.since))
            .filter(|_| self.phase == Phase::Stopping)
    }

    /// Until when ECS is asked whether a registration got through unseen, and has tasks. If it
    /// gives no answer the containers are stopped without it, whether there are any or not.
    pub(super) fn deaf_at(&self) -> Option<Timestamp> {
        let looks = self.phase == Phase::Leaving
            && matches!(self.leave, LeaveStep::Find | LeaveStep::Inspect);
        let since = self.since.max(self.timeline.stop_at);
        let moment = since.checked_add(self.patience()).unwrap_or(Timestamp::MAX);
        looks.then(|| moment.min(self.leave_at()))
    }

    fn has_left(&self) -> bool {
        match self.leave {
            // Cut short only by the end: the containers' time is the more important one.
            LeaveStep::StopEcsAgent | LeaveStep::StopContainers => false,
            // Tasks may hang on it: looked for until they would have to be stopped without ECS.
            LeaveStep::Find | LeaveStep::Inspect => false,
            LeaveStep::Deregister => {
                self.registration.is_none() || self.step.failures >= LEAVE_TRIES
            }
            LeaveStep::Done => true,
        }
    }
}

/// Goes into a phase.
fn enter(state: &mut State, now: Timestamp, to: Phase, why: Why) {
    let from = std::mem::replace(&mut state.phase, to);
    state.why = why;
    state.since = now;
    match to {
        Phase::Joining => {}
        Phase::Serving => (state.start, state.repair, state.hindrance) = (None, None, None),
        Phase::Draining => {
            state.timeline.drain_at = state.timeline.drain_at.min(now);
            (state.drain, state.survey) = (RetrySchedule::default(), RetrySchedule::default());
            state.drain_since = None;
        }
        Phase::Stopping => {
            state.timeline = state.timeline.interrupted(now, state.timeline.end);
            (state.drain, state.survey, state.kill) =
                (RetrySchedule::default(), RetrySchedule::default(), RetrySchedule::default());
            if from == Phase::Leaving {
                // Only the ECS agent can end the tasks so that ECS knows it.
                state.start = Some(RetrySchedule::default());
                state.look = false;
            }
        }
        Phase::Leaving => {
            state.leave = LeaveStep::StopEcsAgent;
            state.look = from == Phase::Joining;
            state.start = None;
            state.step = RetrySchedule::default();
            state.local = why == Why::Unheard;
        }
        Phase::Gone => state.power_off = RetrySchedule::default(),
    }
}
