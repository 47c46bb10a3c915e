//! Containers on a host, as the ECS agent and the container runtime see them: processes of
//! simulated time.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::hosts::behaviour::{Behaviour, OnTerm};
use localcloud_core::journal::effect::Container as Wanted;

/// How long a container takes from its task's arrival to its start.
const CREATION: SignedDuration = SignedDuration::from_millis(100);

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself, with this code.
    Own(i32),
    /// On SIGTERM, with this code.
    Term(i32),
    /// By SIGKILL, after a SIGTERM.
    Kill,
    /// With its host.
    Host,
    /// It had not begun when its task was stopped.
    Never,
}

/// One process of a job: an attempt, as the host knows it.
#[derive(Clone, Debug)]
pub struct Life {
    /// The job's id.
    pub job: String,
    /// The EC2 instance.
    pub instance: String,
    /// The task's ARN.
    pub task: String,
    /// When it began.
    pub began: Timestamp,
    /// When it got SIGTERM.
    pub term_at: Option<Timestamp>,
    /// When it ended, and how.
    pub ended: Option<(Timestamp, How)>,
}

/// Where a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not begun.
    Pending,
    /// Its process runs.
    Running,
    /// It has ended.
    Stopped,
}

/// A state that ECS is to be told.
#[derive(Clone, Debug)]
pub struct Report {
    /// `PENDING`, `RUNNING`, `STOPPED`.
    pub status: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// The exit code of one that stopped.
    pub exit_code: Option<i32>,
    /// Not before this, when it failed.
    pub again: Option<Timestamp>,
}

/// A task's one container.
pub struct Container {
    /// Its name in the task definition.
    pub name: String,
    /// The job's id.
    pub job: String,
    behaviour: Behaviour,
    /// Where it is.
    pub stage: Stage,
    begins: Timestamp,
    ends: Option<(Timestamp, How)>,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When it got SIGTERM.
    pub term_at: Option<Timestamp>,
    /// What ECS doesn't know yet, in order.
    pub reports: VecDeque<Report>,
}

impl Container {
    /// One that was given to the host just now.
    #[must_use]
    pub fn new(now: Timestamp, wanted: &Wanted) -> Self {
        let job = wanted.environment.iter().find(|(key, _)| key == "AWS_BATCH_JOB_ID");
        let mut this = Self {
            name: wanted.name.clone(),
            job: job.map(|(_, id)| id.clone()).unwrap_or_default(),
            behaviour: Behaviour::of(wanted),
            stage: Stage::Pending,
            begins: now + CREATION,
            ends: None,
            began: None,
            term_at: None,
            reports: VecDeque::new(),
        };
        this.report("PENDING", now, None);
        this
    }

    fn report(&mut self, status: &'static str, since: Timestamp, exit_code: Option<i32>) {
        self.reports.push_back(Report { status, since, exit_code, again: None });
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.stage != Stage::Stopped
    }

    /// SIGTERM, and SIGKILL after `grace`. A second one changes nothing but to bring SIGKILL
    /// nearer.
    pub fn stop(&mut self, now: Timestamp, grace: SignedDuration) {
        let killed = now.checked_add(grace).unwrap_or(Timestamp::MAX);
        let end = match (self.stage, self.behaviour.on_term) {
            (Stage::Stopped, _) => return,
            (Stage::Pending, _) => (now, How::Never),
            (Stage::Running, OnTerm::Die) => (now, How::Term(143)),
            // It writes a checkpoint for a moment.
            (Stage::Running, OnTerm::Exit(code)) => (
                now.checked_add(SignedDuration::from_millis(800)).unwrap_or(now).min(killed),
                How::Term(code.into()),
            ),
            (Stage::Running, OnTerm::Ignore) => (killed, How::Kill),
        };
        if self.stage == Stage::Running {
            self.term_at.get_or_insert(now);
        }
        if self.ends.as_ref().is_none_or(|(at, _)| end.0 < *at) {
            self.ends = Some(end);
        }
    }

    /// When its state changes by itself.
    #[must_use]
    pub fn changes_at(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Pending => {
                Some(self.ends.as_ref().map_or(self.begins, |(at, _)| (*at).min(self.begins)))
            }
            Stage::Running => self.ends.as_ref().map(|(at, _)| *at),
            Stage::Stopped => None,
        }
    }

    /// When ECS can be told its next state.
    #[must_use]
    pub fn reports_at(&self, delay: SignedDuration) -> Option<Timestamp> {
        let due = |report: &Report| {
            report.again.unwrap_or(report.since.checked_add(delay).unwrap_or(Timestamp::MAX))
        };
        self.reports.front().map(due)
    }

    /// Its process begins or ends, which was due.
    pub fn change(&mut self) {
        let Some(at) = self.changes_at() else { return };
        if self.stage == Stage::Pending && self.ends.is_none() {
            let runs = SignedDuration::try_from_secs_f64(self.behaviour.seconds)
                .unwrap_or(SignedDuration::MAX);
            self.ends = Some((
                at.checked_add(runs).unwrap_or(Timestamp::MAX),
                How::Own(self.behaviour.exit.into()),
            ));
            (self.stage, self.began) = (Stage::Running, Some(at));
            self.report("RUNNING", at, None);
            return;
        }
        let code = match self.ends.as_ref().map(|(_, how)| how) {
            Some(How::Own(code) | How::Term(code)) => Some(*code),
            Some(How::Kill) => Some(137),
            Some(How::Host | How::Never) | None => None,
        };
        self.stage = Stage::Stopped;
        self.report("STOPPED", at, code);
    }

    /// It ends with its host. When the host is back, the container runtime gives it exit code 255.
    pub fn dies_with_host(&mut self, now: Timestamp) {
        if self.lives() {
            self.ends = Some((now, How::Host));
            self.stage = Stage::Stopped;
            self.report("STOPPED", now, Some(255));
        }
    }

    /// What its process went through, if it ever began.
    #[must_use]
    pub fn life(&self, instance: &str, task: &str) -> Option<Life> {
        Some(Life {
            job: self.job.clone(),
            instance: instance.to_owned(),
            task: task.to_owned(),
            began: self.began?,
            term_at: self.term_at,
            ended: self.ends.clone().filter(|_| self.stage == Stage::Stopped),
        })
    }
}
