//! What an event teaches.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::retry_schedule::{KILL_AGAIN, LEAVE_TRIES, REGISTER, STOP_AGAIN};
use super::{
    Event, Idle, InstanceStatus, LeaveStep, OnHost, Outcome, Phase, Registration, RetrySchedule,
    Rules, State, Survey,
};

/// The ECS agent's exit code for "Data mismatch": it has registered in another cluster than its
/// settings name. systemd doesn't start it again.
const DATA_MISMATCH: i32 = 5;

/// What is left after a notice whose time has passed: enough for SIGTERM, SIGKILL and the report.
const LATE_NOTICE: SignedDuration = SignedDuration::from_secs(20);

impl Rules {
    pub(super) fn learn(&self, state: &mut State, now: Timestamp, event: Event) {
        match event {
            Event::Tick | Event::PoweredOff(_) => {}
            Event::Started { registration } => {
                restarted(state, now);
                if let Some(registration) = registration {
                    self.registered(state, registration);
                }
            }
            Event::Registered(registration) => self.registered(state, registration),
            Event::Notice { taken_at } => {
                state.noticed = true;
                // A time that has passed can't be true, and tasks are to have their stop all the
                // same.
                let late = now.checked_add(LATE_NOTICE).unwrap_or(Timestamp::MAX);
                let taken_at = if taken_at > now { taken_at } else { late };
                state.timeline = state.timeline.interrupted(now, taken_at);
            }
            Event::Limited { until } => self.limited(state, now, until),
            Event::Rebalance => state.rebalance = true,
            Event::EndMoved { to } => self.end_moved(state, to),
            Event::ExtensionAnswered { answer, outcome } => {
                self.answered(state, now, answer, outcome)
            }
            Event::Warned { stop_at, outcome } => self.warned(state, now, stop_at, outcome),
            Event::OnHost(tasks) => {
                if let Some(tasks) = &tasks {
                    self.watch_tasks(state, now, tasks);
                }
                seen_on_host(state, now, tasks);
            }
            Event::StatusRead { instance, status } if state.is_registered_as(&instance) => {
                status_read(state, &status)
            }
            Event::EcsUnitSeen(unit) => {
                if unit.exit == Some(DATA_MISMATCH) && unit.runs == Some(false) {
                    want_repair(state);
                }
            }
            Event::EcsAgentRepaired(outcome) => self.ecs_agent_repaired(state, now, outcome),
            Event::Hindered(why) if state.phase == Phase::Joining => state.hindrance = Some(why),
            Event::EcsAgentStarted(outcome) => self.ecs_agent_started(state, now, outcome),
            Event::DrainingSet { instance, outcome } if state.is_registered_as(&instance) => {
                match outcome {
                    Outcome::Done => state.drained = true,
                    Outcome::Retry | Outcome::Refused => state.drain.failed(now, self),
                }
            }
            Event::Surveyed(result) => self.surveyed(state, now, result),
            Event::TaskStopAsked { task, outcome } => self.stop_asked(state, now, &task, outcome),
            Event::EcsAgentStopped(_)
                if state.phase == Phase::Leaving && state.leave == LeaveStep::StopEcsAgent =>
            {
                let next = match (state.local, state.look, &state.registration) {
                    (true, _, _) => LeaveStep::StopContainers,
                    (false, true, None) => LeaveStep::Find,
                    (false, true, Some(_)) => LeaveStep::Inspect,
                    (false, false, _) => state.deregister_or_not(),
                };
                go_on(state, next);
            }
            Event::ContainersStopped(outcome) => self.containers_stopped(state, now, outcome),
            Event::Found(result)
                if state.phase == Phase::Leaving && state.leave == LeaveStep::Find =>
            {
                match result {
                    Ok(Some(registration)) => {
                        state.registration = Some(registration);
                        go_on(state, LeaveStep::Inspect);
                    }
                    Ok(None) => go_on(state, LeaveStep::Done),
                    // Whether it has tasks isn't known, and won't be: if it has any, they are to have
                    // their SIGTERM.
                    Err(Outcome::Refused | Outcome::Done) => {
                        go_on(state, LeaveStep::StopContainers)
                    }
                    Err(Outcome::Retry) => state.step.failed(now, self),
                }
            }
            Event::Deregistered(outcome)
                if state.phase == Phase::Leaving && state.leave == LeaveStep::Deregister =>
            {
                match outcome {
                    Outcome::Done | Outcome::Refused => go_on(state, LeaveStep::Done),
                    Outcome::Retry => state.step.failed(now, self),
                }
            }
            // Of an instance that is not this one any more, or of a step that is over.
            Event::StatusRead { .. }
            | Event::DrainingSet { .. }
            | Event::Hindered(_)
            | Event::EcsAgentStopped(_)
            | Event::Found(_)
            | Event::Deregistered(_) => {}
        }
        if state.step.failures > 0 && state.deaf_at().is_some_and(|at| at <= now) {
            go_on(state, LeaveStep::StopContainers);
        }
    }

    fn registered(&self, state: &mut State, registration: Registration) {
        let own = self.is_own_cluster(&registration.cluster);
        let is_news = state.registration.as_ref() != Some(&registration);
        // In a foreign cluster the instance has not joined; its registration is kept for the day it
        // leaves.
        let counts = match state.phase {
            Phase::Joining => true,
            Phase::Serving | Phase::Draining | Phase::Stopping => own,
            Phase::Leaving | Phase::Gone => false,
        };
        if is_news && counts {
            state.registration = Some(registration);
            // A new container instance is ACTIVE, whatever the old one was.
            state.drained = false;
            (state.drain, state.drain_since) = (RetrySchedule::default(), None);
            state.idle = Idle::No;
        }
        if !own {
            want_repair(state);
        }
    }

    fn ecs_agent_repaired(&self, state: &mut State, now: Timestamp, outcome: Outcome) {
        let Some(repair) = state.repair.as_mut().filter(|_| state.phase == Phase::Joining) else {
            return;
        };
        if outcome != Outcome::Done {
            return repair.failed(now, self);
        }
        (state.repair, state.repaired) = (None, true);
        state.registration = None;
        if let Some(start) = state.start.as_mut() {
            start.after(now, REGISTER);
        }
    }

    fn ecs_agent_started(&self, state: &mut State, now: Timestamp, outcome: Outcome) {
        let joining = state.phase == Phase::Joining;
        match (&mut state.start, outcome) {
            (Some(start), Outcome::Done) if joining => {
                start.failures = 0;
                start.after(now, REGISTER);
            }
            (start, Outcome::Done) => *start = None,
            (Some(start), Outcome::Retry | Outcome::Refused) => start.failed(now, self),
            (None, _) => {}
        }
    }

    fn stop_asked(&self, state: &mut State, now: Timestamp, task: &str, outcome: Outcome) {
        let Some(task) = state.tasks.get_mut(task) else { return };
        let Some(stop) = task.stop.as_mut() else { return };
        match outcome {
            Outcome::Done => {
                stop.failures = 0;
                stop.after(now, STOP_AGAIN);
                task.stop_taken = true;
            }
            Outcome::Retry | Outcome::Refused => stop.failed(now, self),
        }
    }

    fn containers_stopped(&self, state: &mut State, now: Timestamp, outcome: Outcome) {
        match (state.phase, outcome) {
            (Phase::Stopping, Outcome::Done) => {
                state.kill.failures = 0;
                state.kill.after(now, KILL_AGAIN);
                // The ECS agent reports it within a moment.
                state.survey = RetrySchedule::default();
            }
            (Phase::Stopping, Outcome::Retry | Outcome::Refused) => state.kill.failed(now, self),
            (Phase::Leaving, _) if state.leave == LeaveStep::StopContainers => {
                if outcome == Outcome::Done || state.step.failures + 1 >= LEAVE_TRIES {
                    go_on(state, state.deregister_or_not());
                } else {
                    state.step.failed(now, self);
                }
            }
            _ => {}
        }
    }

    fn surveyed(&self, state: &mut State, now: Timestamp, result: Result<Survey, Outcome>) {
        let inspecting = state.phase == Phase::Leaving && state.leave == LeaveStep::Inspect;
        let draining = matches!(state.phase, Phase::Draining | Phase::Stopping);
        match result {
            Ok(survey) if !state.is_registered_as(&survey.instance) => {}
            Ok(survey) if inspecting => {
                take_tasks(state, &survey.tasks);
                go_on(state, state.deregister_or_not());
            }
            Ok(survey) if draining => {
                status_read(state, &survey.status);
                take_tasks(state, &survey.tasks);
                self.judge_idle(state, now, survey.pending);
            }
            // Whether tasks hang on it isn't known: as above.
            Err(Outcome::Refused | Outcome::Done) if inspecting => {
                go_on(state, LeaveStep::StopContainers)
            }
            Err(_) if inspecting => state.step.failed(now, self),
            Err(_) if draining => {
                state.idle = Idle::No;
                state.survey.failed(now, self);
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Idle means: nothing is placed here any more, nothing is on its way, nothing lives on the
    /// host, and ECS knows each task as stopped; and all of that again after the settle time.
    fn judge_idle(&self, state: &mut State, now: Timestamp, pending: u32) {
        let quiet = state.drained
            && state.host_known
            && pending == 0
            && state.tasks.values().all(super::Task::is_over);
        if !quiet {
            state.idle = Idle::No;
            self.put_off_survey(state, now);
            return;
        }
        let since = match state.idle {
            Idle::No => now,
            Idle::Since(at) => at,
            Idle::Sure => return,
        };
        let settled = since.checked_add(self.idle_settle).unwrap_or(Timestamp::MAX);
        if state.idle != Idle::No && settled <= now {
            state.idle = Idle::Sure;
        } else {
            state.idle = Idle::Since(since);
            state.survey = RetrySchedule { failures: 0, again_at: Some(settled) };
        }
    }
}

impl State {
    /// Deregistering by force ends whatever ECS takes for running with a reason of its own,
    /// "Container instance deregistration forced by user" [A], which no retry rule knows: the job
    /// would be lost. Where a task has neither ended for ECS nor been given the agent's reason, the
    /// instance is left to ECS, which says `Host EC2 (instance i-...) terminated.` once it is gone.
    /// One that ECS says has ended and that the host shows as live has not. And where ECS could not
    /// be asked which tasks there are, there may be some.
    fn deregister_or_not(&self) -> LeaveStep {
        let is_settled = |task: &super::Task| task.is_over() || task.stop_taken;
        let is_deaf = self.look && self.leave == LeaveStep::StopContainers;
        if !is_deaf && self.tasks.values().all(is_settled) {
            LeaveStep::Deregister
        } else {
            LeaveStep::Done
        }
    }

    fn is_registered_as(&self, instance: &str) -> bool {
        self.registration.as_ref().is_some_and(|registration| registration.instance == instance)
    }
}

/// The ECS agent is in another cluster, or keeps the state of one. As long as it has not joined
/// there is one remedy, and it is taken once.
fn want_repair(state: &mut State) {
    if state.phase == Phase::Joining && !state.repaired {
        state.repair.get_or_insert_default();
    }
}

/// What was under way when the process ended has no outcome: everything is due again.
fn restarted(state: &mut State, now: Timestamp) {
    state.start = (state.phase <= Phase::Stopping).then(RetrySchedule::default);
    (state.drain, state.survey) = (RetrySchedule::default(), RetrySchedule::default());
    (state.step, state.power_off, state.kill) =
        (RetrySchedule::default(), RetrySchedule::default(), RetrySchedule::default());
    state.host_known = false;
    state.drain_since = None;
    state.repair = state.repair.map(|_| RetrySchedule::default());
    (state.warn, state.answer) = (RetrySchedule::default(), RetrySchedule::default());
    // Tasks may have come and gone meanwhile.
    state.quiet_since = None;
    if state.phase <= Phase::Stopping {
        state.idle = Idle::No;
    }
    // Silence before the restart was heard by nobody; what it means is found out anew.
    state.silent_since = Some(now);
    for task in state.tasks.values_mut() {
        task.stop = None;
        // The first try of the new process has to be given its time too.
        task.stop_since = None;
    }
}

fn go_on(state: &mut State, next: LeaveStep) {
    state.leave = next;
    state.step = RetrySchedule::default();
}

fn status_read(state: &mut State, status: &InstanceStatus) {
    match status {
        InstanceStatus::Draining => state.drained = true,
        // Nothing is placed on it; while serving it may be too new for ECS to know it everywhere.
        InstanceStatus::Gone => state.drained |= state.phase >= Phase::Draining,
        InstanceStatus::Active if state.drained => {
            state.drained = false;
            (state.drain, state.drain_since) = (RetrySchedule::default(), None);
            state.idle = Idle::No;
        }
        InstanceStatus::Active | InstanceStatus::Other(_) => {}
    }
}

fn seen_on_host(state: &mut State, now: Timestamp, tasks: Option<BTreeMap<String, OnHost>>) {
    let Some(tasks) = tasks else {
        // Unknown is not idle; what was seen last may still be so.
        state.host_known = false;
        state.quiet_since = None;
        if state.phase <= Phase::Stopping {
            state.idle = Idle::No;
        }
        state.silent_since.get_or_insert(now);
        return;
    };
    let had_live = state.live_tasks_on_host() > 0;
    state.host_known = true;
    state.silent_since = None;
    for task in state.tasks.values_mut() {
        // What has stopped stays so, even if it isn't listed any more.
        task.on_host = task.on_host.filter(|seen| *seen == OnHost::Stopped);
    }
    if state.phase <= Phase::Serving {
        state.tasks.retain(|arn, _| tasks.contains_key(arn));
    }
    for (arn, seen) in tasks {
        let task = state.tasks.entry(arn).or_default();
        task.on_host = Some(seen);
        task.seen_at.get_or_insert(now);
    }
    if state.phase > Phase::Stopping {
        return;
    }
    if state.live_tasks_on_host() > 0 {
        state.idle = Idle::No;
    } else if had_live {
        // The last one has ended on the host: ECS is worth asking now, not at the next round.
        state.survey = RetrySchedule::default();
    }
}

fn take_tasks(state: &mut State, tasks: &BTreeMap<String, bool>) {
    for (arn, stopped) in tasks {
        state.tasks.entry(arn.clone()).or_default().stopped_for_ecs = *stopped;
    }
}
