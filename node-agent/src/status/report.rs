//! What the agent tells of itself: as JSON over its socket, and as people read it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use node_contract::{Source, Timeline};
use serde::{Deserialize, Serialize};

use super::line::length;
use super::problems::Problem;
use crate::adapters::timer;
use crate::lifecycle::{OnHost, Phase, Registration, Task, Why};
use crate::ports::{AnchorSource, Saved};

/// All there is to tell. Times are UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub(crate) version: String,
    pub(crate) process: u32,
    /// The block's time at which this was told.
    pub(crate) now: Timestamp,
    /// The line that `systemctl status` shows.
    pub(crate) text: String,
    /// How far the host's wall clock is ahead of the block's, in milliseconds.
    pub(crate) skew_millis: i64,
    /// How many transitions this process has made.
    pub(crate) transitions: u64,
    /// What is wrong in the host's settings, so that the defaults hold in its place.
    #[serde(default)]
    pub(crate) wrong_settings: Vec<String>,
    /// The block and the agent's place in it; none while that is still being found out.
    pub(crate) life: Option<Life>,
    /// What went wrong lately, the last one last.
    pub(crate) problems: Vec<Problem>,
}

/// The block and the agent's place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) block: String,
    /// The compute environment.
    pub(crate) environment: String,
    pub(crate) instance: String,
    /// The cluster to be in.
    pub(crate) cluster: String,
    /// Where the capacity comes from.
    pub(crate) source: Source,
    /// Whether AWS may take the instance at two minutes' notice.
    pub(crate) is_spot: bool,
    /// The version of the block's settings.
    pub(crate) settings_version: u32,
    /// What the clock rests on.
    pub(crate) clock: AnchorSource,
    /// Where in its life the agent is.
    pub(crate) state: Phase,
    pub(crate) why: Why,
    /// Since when it is in that state.
    pub(crate) since: Timestamp,
    pub(crate) timeline: Timeline,
    /// When the power-off timer on disk goes off, by the block's clock.
    pub(crate) power_off_timer: Timestamp,
    /// Whether AWS gave notice.
    pub(crate) noticed: bool,
    /// Whether ECS confirmed that no task is placed here any more.
    pub(crate) drained: bool,
    pub(crate) registration: Option<Registration>,
    /// The tasks by ARN.
    pub(crate) tasks: BTreeMap<String, TaskReport>,
}

/// What there is to tell of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskReport {
    /// Whether a container of it may still run.
    pub(crate) live: bool,
    /// What introspection said of it last.
    pub(crate) on_host: Option<OnHost>,
    /// Whether ECS knows it as STOPPED.
    pub(crate) stopped_for_ecs: bool,
    /// Whether it was asked to stop.
    pub(crate) stop_asked: bool,
}

impl Life {
    /// The life that was saved.
    #[must_use]
    pub(crate) fn of(saved: &Saved) -> Self {
        let (identity, config, state) = (&saved.identity, &saved.config, &saved.state);
        Self {
            block: config.block.clone(),
            environment: config.environment.clone(),
            instance: identity.instance.clone(),
            cluster: config.cluster.clone(),
            source: config.source,
            is_spot: identity.is_spot,
            settings_version: config.version,
            clock: saved.anchor.source,
            state: state.phase,
            why: state.why,
            since: state.since,
            timeline: state.timeline,
            power_off_timer: timer::moment(state),
            noticed: state.noticed,
            drained: state.drained,
            registration: state.registration.clone(),
            tasks: state
                .tasks
                .iter()
                .map(|(arn, task)| (arn.clone(), TaskReport::of(task)))
                .collect(),
        }
    }
}

impl TaskReport {
    fn of(task: &Task) -> Self {
        Self {
            live: task.is_live(),
            on_host: task.on_host,
            stopped_for_ecs: task.stopped_for_ecs,
            stop_asked: task.stop.is_some(),
        }
    }

    fn word(&self) -> &'static str {
        match (self.live, self.stop_asked) {
            (true, true) => "being stopped",
            (true, false) => "live",
            (false, _) if self.stopped_for_ecs => "over",
            (false, _) => "over, ECS doesn't know it yet",
        }
    }
}

/// A moment as people read it: the time, and how far off it is.
fn relative(now: Timestamp, at: Timestamp) -> String {
    let ahead = now.duration_until(at);
    let distance = length(ahead.abs());
    let distance =
        if ahead.is_negative() { format!("{distance} ago") } else { format!("in {distance}") };
    format!("{} UTC  {distance}", at.strftime("%Y-%m-%d %H:%M:%S"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        writeln!(f, "  agent        {} (process {})", self.version, self.process)?;
        if let Some(life) = &self.life {
            life.write(f, self.now)?;
        }
        let clock = match self.life.as_ref().map(|life| life.clock) {
            Some(AnchorSource::Date) => ", by a date from IMDS",
            Some(AnchorSource::WallClock) => ", by the host's wall clock alone",
            None => "",
        };
        // Whole seconds; a host's own clock isn't finer than its answer takes.
        let skew = self.skew_millis / 1000;
        writeln!(f, "  clock        the host's is off by {skew} s{clock}")?;
        for wrong in &self.wrong_settings {
            writeln!(f, "  settings     wrong, the default holds: {wrong}")?;
        }
        for problem in &self.problems {
            let last = problem.last.map(|at| relative(self.now, at)).unwrap_or_default();
            let why = if problem.error.is_empty() {
                String::new()
            } else {
                format!(": {}", problem.error)
            };
            writeln!(f, "  problem      {last}  {}{why} ({} times)", problem.what, problem.count)?;
        }
        Ok(())
    }
}

impl Life {
    fn write(&self, f: &mut fmt::Formatter<'_>, now: Timestamp) -> fmt::Result {
        writeln!(f, "  block        {} of {}, from {}", self.block, self.environment, self.source)?;
        let spot = if self.is_spot { ", spot" } else { "" };
        writeln!(f, "  instance     {}{spot}", self.instance)?;
        writeln!(f, "  cluster      {}", self.cluster)?;
        if let Some(registration) = &self.registration {
            let drained = if self.drained { ", DRAINING" } else { "" };
            writeln!(f, "  registered   {}{drained}", registration.instance)?;
        }
        writeln!(f, "  state        {} ({})", self.state.word(), self.why.word())?;
        let timeline = self.timeline;
        for (name, at) in [
            ("since", self.since),
            ("start", timeline.start),
            ("drain", timeline.drain_at),
            ("stop", timeline.stop_at),
            ("end", timeline.end),
            ("power-off", self.power_off_timer),
        ] {
            writeln!(f, "  {name:<12} {}", relative(now, at))?;
        }
        for (arn, task) in &self.tasks {
            writeln!(f, "  task         {arn}  {}", task.word())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, saved};

    #[test]
    fn people_read_where_the_agent_is_and_what_comes_when() {
        let mut saved = saved();
        saved
            .state
            .tasks
            .insert("arn:task".into(), Task { on_host: Some(OnHost::Live), ..Task::default() });
        let report = Report {
            version: "0.1.0".into(),
            process: 7,
            now: at("2026-11-24T10:05:00Z"),
            text: "joining c for block sb-1f2c, drain in 10 min".into(),
            skew_millis: -7_200_400,
            transitions: 0,
            wrong_settings: vec!["agent.toml: max-life \"soon\" is no length of time".into()],
            life: Some(Life::of(&saved)),
            problems: vec![Problem {
                what: "setting DRAINING failed".into(),
                error: "throttled".into(),
                last: Some(at("2026-11-24T10:04:00Z")),
                count: 3,
            }],
        };
        let text = report.to_string();
        for wanted in [
            "joining c for block sb-1f2c, drain in 10 min\n",
            "block        sb-1f2c of e",
            "state        joining (boot)",
            "drain        2026-11-24 10:15:00 UTC  in 10 min",
            "power-off    2026-11-24 11:02:00 UTC  in 57 min",
            "task         arn:task  live",
            "off by -7200 s, by a date from IMDS",
            "settings     wrong, the default holds: agent.toml: max-life",
            "60 s ago  setting DRAINING failed: throttled (3 times)",
        ] {
            assert!(text.contains(wanted), "{wanted:?} in {text}");
        }
        let json = serde_json::to_string(&report).expect("JSON");
        assert_eq!(serde_json::from_str::<Report>(&json).expect("its own output"), report);
        assert!(json.contains(r#""state":"joining","why":"boot""#), "{json}");
    }
}
