//! When a thing is asked for, and when again.

use jiff::{SignedDuration, Timestamp};
use node_contract::Timeline;
use serde::{Deserialize, Serialize};

use super::{Action, LeaveStep, Phase, Rules, State};

/// How long an answer is waited for before the same is asked again. Every action has a time limit
/// of its own below it.
const ANSWER: SignedDuration = SignedDuration::from_secs(30);

/// The longest wait after a failure.
const LONGEST: SignedDuration = SignedDuration::from_secs(30);

/// How long after it was started the ECS agent has to register before it is started again.
pub(super) const REGISTER: SignedDuration = SignedDuration::from_secs(60);

/// How long after StopTask a task is given before it is asked to stop again: ECS took the first
/// one, so this is for the odd case that it never reached the host.
pub(super) const STOP_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// How often ECS is asked while introspection shows tasks that are being stopped. It is for one
/// that ECS placed just before DRAINING and the host has not heard of; the moment the last one on
/// the host ends, ECS is asked anyway.
const SURVEY_LIVE: SignedDuration = SignedDuration::from_secs(60);

/// How long the first look at introspection may take.
const FIRST_LOOK: SignedDuration = SignedDuration::from_secs(3);

/// How often containers that outlive their stop are killed again: one may have been placed just
/// now.
pub(super) const KILL_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// How often a step of leaving that isn't essential is tried.
pub(super) const LEAVE_TRIES: u32 = 3;

/// How long a host that was told to power off has before it is told again.
const POWER_OFF_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// The longest time for stopping the ECS agent.
const STOP_ECS_AGENT: SignedDuration = SignedDuration::from_secs(60);

/// The shortest limit for anything: less than this is no time.
const SHORTEST: SignedDuration = SignedDuration::from_millis(500);

/// The longest time for ECS to take a StopTask.
const STOP_TASK: SignedDuration = SignedDuration::from_secs(15);

/// The longest time for a request while leaving.
const LEAVE_REQUEST: SignedDuration = SignedDuration::from_secs(20);

/// When something that is asked for until it is done is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetrySchedule {
    /// How often in a row it failed.
    pub(crate) failures: u32,
    /// When it is due; at once when empty.
    pub(crate) again_at: Option<Timestamp>,
}

impl RetrySchedule {
    /// Whether it is to be asked for now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.again_at.is_none_or(|at| at <= now)
    }

    /// Puts it off until so long after `now`.
    pub(super) fn after(&mut self, now: Timestamp, wait: SignedDuration) {
        self.again_at = Some(now.checked_add(wait).unwrap_or(Timestamp::MAX));
    }

    /// Puts it off, longer with each failure.
    pub(super) fn failed(&mut self, now: Timestamp, rules: &Rules) {
        let wait = rules.backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.after(now, wait);
    }
}

impl Rules {
    /// 1 s, 2 s, 4 s, ... 30 s, and up to half as much again, by which instances differ.
    pub(super) fn backoff(&self, failures: u32) -> SignedDuration {
        let base = SignedDuration::from_secs(1 << failures.min(5)).min(LONGEST);
        let spread = i32::from(self.spread.min(999));
        base + base * spread / 2000
    }

    /// All that is due now, each put off until its answer can be there.
    pub(super) fn due_actions(&self, state: &mut State, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        request_repair(state, now, &mut actions);
        if state.phase <= Phase::Stopping
            && let Some(start) = state.start.as_mut().filter(|start| start.is_due(now))
        {
            start.after(now, ANSWER);
            actions.push(Action::StartEcsAgent);
        }
        self.request_warning(state, now, &mut actions);
        match state.phase {
            Phase::Joining => {}
            Phase::Serving => request_answer(state, now, &mut actions),
            Phase::Draining => {
                request_drain(state, now, &mut actions);
                if state.drained && state.host_known && state.live_tasks_on_host() == 0 {
                    request_survey(state, now, &mut actions);
                }
            }
            Phase::Stopping => {
                request_drain(state, now, &mut actions);
                request_stops(state, now, &mut actions);
                request_kill(state, now, &mut actions);
                request_survey(state, now, &mut actions);
            }
            Phase::Leaving => request_leave_step(state, now, &mut actions),
            Phase::Gone => {
                request_stops(state, now, &mut actions);
                if state.power_off.is_due(now) {
                    state.power_off.after(now, POWER_OFF_AGAIN);
                    actions.push(Action::PowerOff);
                }
            }
        }
        actions
    }

    fn request_warning(&self, state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
        if self.warn_at(state).is_some_and(|at| at <= now) && state.warn.is_due(now) {
            state.warn.after(now, ANSWER);
            let Timeline { stop_at, end, .. } = state.timeline;
            actions.push(Action::Warn { why: state.why, stop_at, end });
        }
    }

    /// The next moment after `now` at which something may be due.
    #[must_use]
    pub fn wake_at(&self, state: &State, now: Timestamp) -> Option<Timestamp> {
        let own = [self.warn_at(state), self.release_at(state)].into_iter().flatten();
        state.wake_at(now).into_iter().chain(own.filter(|at| *at > now)).min()
    }

    /// How long to wait after ECS was asked and something ran.
    pub(super) fn put_off_survey(&self, state: &mut State, now: Timestamp) {
        if state.live_tasks_on_host() > 0 {
            state.survey.after(now, SURVEY_LIVE);
        } else {
            state.survey.failed(now, self);
        }
    }
}

impl State {
    /// Whether introspection isn't just about to be looked at. Until it has been, what it said of a
    /// task may be from before a restart, and one that has ended meanwhile must not be stopped: its
    /// job may have succeeded.
    fn is_silent(&self, now: Timestamp) -> bool {
        self.silent_since
            .is_none_or(|since| since.checked_add(FIRST_LOOK).is_ok_and(|due| due <= now))
    }

    /// How many tasks introspection showed as live when it answered last.
    pub(super) fn live_tasks_on_host(&self) -> usize {
        self.tasks.values().filter(|task| task.on_host == Some(super::OnHost::Live)).count()
    }

    /// The next moment after `now` at which something may be due, as far as the state alone tells.
    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let timeline = self.timeline;
        let moments = [
            timeline.drain_at,
            timeline.stop_at,
            self.kill_at(),
            self.leave_at(),
            self.power_off_at(),
        ];
        let schedules = [
            &self.drain,
            &self.survey,
            &self.step,
            &self.power_off,
            &self.kill,
            &self.warn,
            &self.answer,
        ]
        .into_iter()
        .chain(&self.start)
        .chain(&self.repair);
        let stops = self.tasks.values().filter_map(|task| task.stop.as_ref());
        let again = schedules.chain(stops).filter_map(|schedule| schedule.again_at);
        let unheard = self
            .tasks
            .values()
            .filter_map(|task| task.stop_since)
            .chain(self.unheard_since())
            .chain(self.undrained_since());
        let deaf = self.deaf_at();
        let unheard = unheard.filter_map(|since| since.checked_add(self.patience()).ok());
        let silent = self.silent_since.and_then(|since| since.checked_add(FIRST_LOOK).ok());
        moments
            .into_iter()
            .chain(again)
            .chain(unheard)
            .chain(silent)
            .chain(deaf)
            .filter(|at| *at > now)
            .min()
    }

    /// A limit for one step of leaving: at most half the time that is left, so that the next one
    /// has some too.
    fn limit(&self, now: Timestamp, longest: SignedDuration) -> SignedDuration {
        (now.duration_until(self.power_off_at()) / 2).clamp(SHORTEST, longest)
    }
}

/// Not while a task lives: in a foreign cluster it is foreign, and nobody would know of its
/// containers any more.
fn request_repair(state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    let idle = state.phase == Phase::Joining && state.live_tasks() == 0;
    if let Some(repair) = state.repair.as_mut().filter(|repair| idle && repair.is_due(now)) {
        let limit = STOP_ECS_AGENT;
        repair.after(now, limit + SignedDuration::from_secs(1));
        // It brings the ECS agent up by itself.
        state.start.get_or_insert_default().after(now, limit + REGISTER);
        actions.push(Action::RepairEcsAgent(limit));
    }
}

fn request_answer(state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    if let Some(answer) = Rules::unanswered(state).filter(|_| state.answer.is_due(now)) {
        state.answer.after(now, ANSWER);
        actions.push(Action::AnswerExtension(answer));
    }
}

fn request_drain(state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    if let Some(of) = state.registration.clone()
        && !state.drained
        && state.drain.is_due(now)
    {
        state.drain.after(now, ANSWER);
        state.drain_since.get_or_insert(now);
        actions.push(Action::SetDraining(of));
    }
}

fn request_stops(state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    // One that hangs must leave time for another before the containers are stopped without ECS.
    let limit = (state.patience() / 2).clamp(SHORTEST, STOP_TASK);
    let may_have_ended =
        state.phase == Phase::Stopping && !state.host_known && !state.is_silent(now);
    let Some(of) = &state.registration else { return };
    for (arn, task) in &mut state.tasks {
        let wait = may_have_ended && task.on_host == Some(super::OnHost::Live);
        let due = !wait && task.stop.is_none_or(|stop| stop.is_due(now));
        if task.is_live() && due {
            task.stop.get_or_insert_default().after(now, limit + SignedDuration::from_secs(1));
            task.stop_since.get_or_insert(now);
            actions.push(Action::StopTask { of: of.clone(), task: arn.clone(), limit });
        }
    }
}

/// For what outlived its stop. A moment's grace is for a task that was never asked: its ECS agent
/// may be the one at fault.
fn request_kill(state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    if state.kill_at() <= now && state.live_tasks_on_host() > 0 && state.kill.is_due(now) {
        let left = now.duration_until(state.leave_at());
        let (grace, limit) = (left / 4, (left / 2).max(SHORTEST));
        state.kill.after(now, limit + SignedDuration::from_secs(1));
        actions.push(Action::StopContainers { grace, limit });
    }
}

fn request_survey(state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    if let Some(of) = state.registration.clone()
        && state.survey.is_due(now)
    {
        state.survey.after(now, ANSWER);
        let unknown = state.tasks.iter().filter(|(_, task)| !task.stopped_for_ecs);
        actions.push(Action::Survey { of, tasks: unknown.map(|(arn, _)| arn.clone()).collect() });
    }
}

fn request_leave_step(state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
    if !state.step.is_due(now) {
        return;
    }
    // One that hangs must leave time for another, and for stopping the containers without ECS.
    let until_deaf = state.deaf_at().map_or(SignedDuration::MAX, |at| now.duration_until(at) / 2);
    let request = state.limit(now, until_deaf.clamp(state.patience() / 2, LEAVE_REQUEST));
    let (action, limit) = match (state.leave, state.registration.clone()) {
        (LeaveStep::StopEcsAgent, _) => {
            let longest = if state.local { STOP_ECS_AGENT / 4 } else { STOP_ECS_AGENT };
            let limit = state.limit(now, longest);
            (Action::StopEcsAgent(limit), limit)
        }
        (LeaveStep::StopContainers, _) => {
            // The greatest part of what is left is theirs; an eighth is for deregistering.
            let left = now.duration_until(state.power_off_at()).max(SignedDuration::ZERO);
            let (grace, limit) = (left * 3 / 4, (left * 7 / 8).max(SHORTEST));
            (Action::StopContainers { grace, limit }, limit)
        }
        (LeaveStep::Find, _) => (Action::FindRegistration(request), request),
        (LeaveStep::Inspect, Some(of)) => (Action::Survey { of, tasks: Vec::new() }, request),
        (LeaveStep::Deregister, Some(of)) => (Action::Deregister(of, request), request),
        // Nothing to look into or to deregister: the transition to Gone is next.
        (LeaveStep::Inspect | LeaveStep::Deregister | LeaveStep::Done, _) => return,
    };
    // A little longer than the action itself may take: its outcome comes first.
    state.step.after(now, limit + SignedDuration::from_secs(1));
    actions.push(action);
}
