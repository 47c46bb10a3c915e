//! The lifecycle against its table, its rules, and whatever may happen.

mod deadlines;
mod joining;
mod random;
mod rules;
mod table;
mod unheard;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::testing;

fn secs(secs: i64) -> SignedDuration {
    SignedDuration::from_secs(secs)
}

fn own() -> Registration {
    Registration { instance: "arn:own".into(), cluster: "c".into() }
}

fn on_host(tasks: &[(&str, OnHost)]) -> Event {
    Event::OnHost(Some(tasks.iter().map(|(arn, seen)| ((*arn).to_owned(), *seen)).collect()))
}

fn survey(status: InstanceStatus, pending: u32, tasks: &[(&str, bool)]) -> Event {
    let tasks = tasks.iter().map(|(arn, stopped)| ((*arn).to_owned(), *stopped)).collect();
    Event::Surveyed(Ok(Survey { instance: own().instance, status, pending, tasks }))
}

fn draining_set(outcome: Outcome) -> Event {
    Event::DrainingSet { instance: own().instance, outcome }
}

fn status(status: InstanceStatus) -> Event {
    Event::StatusRead { instance: own().instance, status }
}

/// A life that is stepped through: block from 10:00, drain at 10:15, stop at 10:55, end at 11:00.
struct Life {
    rules: Rules,
    state: State,
    now: Timestamp,
}

impl Life {
    fn new() -> Self {
        let state = testing::state();
        Self { rules: testing::rules(), now: state.timeline.start, state }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        let (state, actions) = self.rules.step(&self.state, self.now, event);
        self.state = state;
        actions
    }

    fn at(&mut self, time: &str) -> &mut Self {
        self.now = testing::at(&format!("2026-11-24T{time}Z"));
        self
    }

    fn after(&mut self, secs: i64) -> &mut Self {
        self.now += SignedDuration::from_secs(secs);
        self
    }

    fn serving() -> Self {
        let mut life = Self::new();
        life.step(Event::Started { registration: None });
        life.after(20).step(Event::Registered(own()));
        assert_eq!(life.state.phase, Phase::Serving);
        life
    }

    /// Draining, confirmed, with these tasks on the host.
    fn draining(tasks: &[(&str, OnHost)]) -> Self {
        let mut life = Self::serving();
        life.at("10:15:00").step(Event::Tick);
        life.step(draining_set(Outcome::Done));
        life.step(on_host(tasks));
        assert_eq!((life.state.phase, life.state.drained), (Phase::Draining, true));
        life
    }

    fn stopping(tasks: &[(&str, OnHost)]) -> Self {
        let mut life = Self::draining(tasks);
        life.at("10:55:00").step(Event::Tick);
        assert_eq!(life.state.phase, Phase::Stopping);
        life
    }

    fn leaving() -> Self {
        let mut life = Self::stopping(&[]);
        life.at("10:59:30").step(Event::Tick);
        assert_eq!(life.state.phase, Phase::Leaving);
        life
    }

    /// Leaving without having served.
    fn leaving_early() -> Self {
        let mut life = Self::new();
        life.step(Event::Started { registration: None });
        life.at("10:15:00").step(Event::Tick);
        assert_eq!(life.state.phase, Phase::Leaving);
        life
    }
}

fn stops(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::StopTask { task, .. } => Some(task.as_str()),
            _ => None,
        })
        .collect()
}

fn is_survey(action: &Action) -> bool {
    matches!(action, Action::Survey { .. })
}
