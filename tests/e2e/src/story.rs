//! The records as a person reads them: lines as life goes on, and a timeline at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use localcloud_core::journal::record::What;
use localcloud_core::{Call, Event};

use crate::lives::{self, Attempt, Job, Terms};

/// Tells events as lines, with short names for instances.
#[derive(Default)]
pub struct Story {
    told: usize,
    begin: Option<Timestamp>,
    names: BTreeMap<String, String>,
}

impl Story {
    /// The lines for the events that were not told yet.
    pub fn next(&mut self, events: &[Event]) -> Vec<String> {
        let fresh = events.get(self.told..).unwrap_or_default();
        self.told = events.len();
        fresh.iter().filter_map(|event| self.line(event)).collect()
    }

    /// The short name of an instance.
    #[must_use]
    pub fn name(&self, instance: &str) -> String {
        self.names.get(instance).cloned().unwrap_or_else(|| instance.to_owned())
    }

    fn line(&mut self, event: &Event) -> Option<String> {
        if let What::Launched { instance, .. } = &event.what {
            let name = format!("node {}", self.names.len() + 1);
            self.names.insert(instance.clone(), name);
        }
        let text = self.text(&event.what)?;
        let begin = *self.begin.get_or_insert(event.at);
        Some(format!("{:>7}  {text}", seconds(begin, event.at)))
    }

    fn text(&self, what: &What) -> Option<String> {
        Some(match what {
            What::Launched { instance, .. } => {
                format!("{}  launched ({instance})", self.name(instance))
            }
            What::Joined { instance, .. } => format!("{}  joined the cluster", self.name(instance)),
            What::ContainerInstanceStatus { instance, status } if status == "DRAINING" => {
                format!("{}  drains: no new jobs", self.name(instance))
            }
            What::InterruptionNotice { instance, .. } => {
                format!("{}  AWS will take it", self.name(instance))
            }
            What::Gone { instance, how } => format!("{}  gone ({how})", self.name(instance)),
            What::Schedule { schedule, change, error } => {
                format!(
                    "schedule {schedule}  {change}{}",
                    error.iter().map(|error| format!(": {error}")).collect::<String>()
                )
            }
            What::Job { name, status, attempt, instance, exit_code, reason, .. } => {
                let place =
                    instance.as_deref().map(|instance| format!(" on {}", self.name(instance)));
                match (status.as_str(), exit_code) {
                    ("RUNNING", _) => {
                        format!("{name}  runs{}, attempt {attempt}", place.unwrap_or_default())
                    }
                    ("SUCCEEDED", _) => format!("{name}  SUCCEEDED"),
                    ("FAILED", _) => format!(
                        "{name}  FAILED: {}",
                        reason.as_deref().unwrap_or("no reason given")
                    ),
                    ("RUNNABLE", Some(code)) => {
                        format!(
                            "{name}  exit {code}, back into the queue: {}",
                            reason.as_deref().unwrap_or_default()
                        )
                    }
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    /// The timeline: a table of nodes and one of jobs.
    #[must_use]
    pub fn timeline(&self, calls: &[Call], events: &[Event], terms: &Terms) -> String {
        let mut text = String::new();
        let begin = self.begin.unwrap_or_default();
        let at = |moment: Option<Timestamp>| {
            moment.map_or_else(|| "never".to_owned(), |t| seconds(begin, t))
        };
        let _ = writeln!(
            text,
            "{:<8}{:>10}{:>10}{:>10}{:>12}{:>10}{:>10}{:>10}",
            "node", "launched", "joined", "drains", "last task", "stop_at", "gone", "end"
        );
        for node in lives::nodes(calls, events, terms) {
            let _ = writeln!(
                text,
                "{:<8}{:>10}{:>10}{:>10}{:>12}{:>10}{:>10}{:>10}",
                self.name(&node.instance),
                at(Some(node.launched)),
                at(node.joined.as_ref().map(|(t, _)| *t)),
                at(node.draining),
                node.last_task_ended.map_or_else(|| "none ran".to_owned(), |t| seconds(begin, t)),
                at(Some(node.stop_at(terms))),
                at(node.gone.as_ref().map(|(t, _)| *t)),
                at(Some(node.end)),
            );
        }
        let _ = writeln!(text, "\n{:<18}{:<10}attempts", "job", "state");
        let mut jobs: Vec<Job> = lives::jobs(events).into_values().collect();
        jobs.sort_by(|a, b| a.name.cmp(&b.name));
        for job in jobs {
            let attempts: Vec<String> =
                job.attempts.iter().map(|a| self.attempt(begin, a)).collect();
            let _ = writeln!(text, "{:<18}{:<10}{}", job.name, job.status, attempts.join("; "));
        }
        text
    }

    fn attempt(&self, begin: Timestamp, attempt: &Attempt) -> String {
        let ended = attempt.ended.map_or_else(|| "...".to_owned(), |t| seconds(begin, t));
        let code = attempt.exit_code.map_or_else(String::new, |code| format!(", exit {code}"));
        format!(
            "{} {} to {ended}{code}",
            self.name(&attempt.instance),
            seconds(begin, attempt.started)
        )
    }
}

/// Seconds after the beginning, with a tenth.
fn seconds(begin: Timestamp, at: Timestamp) -> String {
    format!("{:.1} s", begin.duration_until(at).as_secs_f64())
}
