//! The record: what happened when, a JSON object a line, for those who ask afterwards. It is kept
//! small, and a disk that fails or hangs holds up nothing but the record.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::lifecycle::{Phase, State, Task};
use crate::ports::Saved;

/// A file that has grown beyond this is put aside; one older one is kept. A block of 200 tasks
/// writes some 100 KB.
const LONGEST: u64 = 512 * 1024;

/// How many entries may wait for the disk. What comes then is lost: the log has it.
const WAITING: usize = 512;

/// How long the end of the process waits for the last entries.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The record's open end: entries go in, and a thread writes them.
#[derive(Debug)]
pub(crate) struct Record {
    entries: Option<SyncSender<Value>>,
    done: Mutex<Receiver<()>>,
}

impl Record {
    /// A record in this file, written by a thread of its own.
    #[must_use]
    pub(crate) fn in_file(path: PathBuf) -> Self {
        let (entries, inbox) = sync_channel::<Value>(WAITING);
        let (over, done) = sync_channel(1);
        let writer = std::thread::Builder::new().name("record".to_owned()).spawn(move || {
            let mut fails = false;
            for entry in inbox {
                match append(&path, &entry) {
                    Ok(()) => fails = false,
                    Err(error) if !fails => {
                        fails = true;
                        tracing::warn!(%error, "the record can't be written");
                    }
                    Err(_) => {}
                }
            }
            let _ = over.send(());
        });
        if let Err(error) = writer {
            tracing::warn!(%error, "there is no record");
        }
        Self { entries: Some(entries), done: Mutex::new(done) }
    }

    /// A record that nobody keeps.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        let (_, done) = sync_channel(1);
        Self { entries: None, done: Mutex::new(done) }
    }

    /// Adds an entry, without waiting.
    pub(crate) fn note(&self, entry: Value) {
        if let Some(entries) = &self.entries
            && entries.try_send(entry).is_err()
        {
            tracing::debug!("an entry is missing in the record: the disk is too slow for it");
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.entries.take().is_some()
            && let Ok(done) = self.done.lock()
        {
            let _ = done.recv_timeout(LAST_WORDS);
        }
    }
}

fn append(path: &Path, entry: &Value) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::fs::metadata(path).is_ok_and(|file| file.len() > LONGEST) {
        std::fs::rename(path, path.with_extension("jsonl.1"))?;
    }
    let mut file = File::options().append(true).create(true).open(path)?;
    // In one write: a process that is killed in between leaves no half a line.
    file.write_all(format!("{entry}\n").as_bytes())?;
    file.sync_data()
}

/// The first entry of a process.
#[must_use]
pub(crate) fn begins(now: Timestamp, saved: &Saved) -> Value {
    let state = &saved.state;
    json!({
        "at": now, "what": "agent-started", "version": env!("CARGO_PKG_VERSION"), "block": saved.config.block,
        "instance": saved.identity.instance, "state": state.phase.word(), "drain_at": state.timeline.drain_at,
        "stop_at": state.timeline.stop_at, "end": state.timeline.end,
    })
}

/// What has changed between two states.
#[must_use]
pub(crate) fn changes(now: Timestamp, old: &State, new: &State) -> Vec<Value> {
    let mut entries = Vec::new();
    if new.noticed && !old.noticed {
        entries.push(json!({"at": now, "what": "notice", "end": new.timeline.end}));
    }
    if new.timeline != old.timeline {
        let timeline = new.timeline;
        entries.push(json!({
            "at": now, "what": "timeline", "drain_at": timeline.drain_at, "stop_at": timeline.stop_at,
            "end": timeline.end,
        }));
    }
    if let Some(registration) =
        new.registration.as_ref().filter(|new| old.registration.as_ref() != Some(*new))
    {
        let (instance, cluster) = (&registration.instance, &registration.cluster);
        entries.push(json!({"at": now, "what": "registered", "container_instance": instance, "cluster": cluster}));
    }
    for (arn, task) in &new.tasks {
        task_changes(now, arn, old.tasks.get(arn), task, &mut entries);
    }
    for arn in old.tasks.keys().filter(|arn| !new.tasks.contains_key(*arn)) {
        entries.push(json!({"at": now, "what": "task-forgotten", "task": arn}));
    }
    if new.drained != old.drained {
        entries.push(json!({"at": now, "what": if new.drained { "draining-confirmed" } else { "draining-undone" }}));
    }
    if new.phase != old.phase {
        let (from, to, why) = (old.phase.word(), new.phase.word(), new.why.word());
        entries.push(json!({"at": now, "what": "transition", "from": from, "to": to, "why": why}));
    }
    if new.phase == Phase::Gone && old.phase != Phase::Gone {
        entries.push(summary(now, new));
    }
    entries
}

fn task_changes(
    now: Timestamp,
    arn: &str,
    old: Option<&Task>,
    new: &Task,
    entries: &mut Vec<Value>,
) {
    let mut note = |what: &str| entries.push(json!({"at": now, "what": what, "task": arn}));
    if old.is_none() {
        note("task-seen");
    }
    // A restart forgets what it asked for and asks again.
    if new.stop.is_some() && old.is_none_or(|old| old.stop.is_none()) {
        note("task-stop-asked");
    }
    if old.is_some_and(Task::is_live) && !new.is_live() {
        note("task-ended-on-host");
    }
    if new.stopped_for_ecs && old.is_some_and(|old| !old.stopped_for_ecs) {
        note("task-stopped-for-ecs");
    }
}

/// How it ended, in the record and in the log.
fn summary(now: Timestamp, state: &State) -> Value {
    let count =
        |wanted: fn(&Task) -> bool| state.tasks.values().filter(|task| wanted(task)).count();
    let (finished, stopped, unfinished) = (
        count(|task| task.is_over() && task.stop.is_none()),
        count(|task| task.is_over() && task.stop.is_some()),
        count(|task| !task.is_over()),
    );
    let (drained, why, noticed) = (state.drained, state.why.word(), state.noticed);
    tracing::info!(why, noticed, drained, finished, stopped, unfinished, "how the drain went");
    json!({
        "at": now, "what": "drain", "why": why, "noticed": noticed, "drained": drained, "tasks_finished": finished,
        "tasks_stopped": stopped, "tasks_unfinished": unfinished,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Event, OnHost, Registration};
    use crate::testing::{self, at};

    fn whats(entries: &[Value]) -> Vec<&str> {
        entries.iter().map(|entry| entry["what"].as_str().expect("a word")).collect()
    }

    #[test]
    fn each_change_has_its_entry() {
        let (rules, first) = (testing::rules(), testing::state());
        let now = at("2026-11-24T10:01:00Z");
        let joined = Registration { instance: "arn:1".into(), cluster: "c".into() };
        let (serving, _) = rules.step(&first, now, Event::Registered(joined));
        assert_eq!(whats(&changes(now, &first, &serving)), ["registered", "transition"]);
        let (busy, _) =
            rules.step(&serving, now, Event::OnHost(Some([("t".to_owned(), OnHost::Live)].into())));
        assert_eq!(whats(&changes(now, &serving, &busy)), ["task-seen"]);
        let mut gone = busy.clone();
        let task = gone.tasks.get_mut("t").expect("the task");
        (task.on_host, task.stopped_for_ecs, task.stop) =
            (Some(OnHost::Stopped), true, Some(Default::default()));
        (gone.phase, gone.drained) = (Phase::Gone, true);
        let entries = changes(now, &busy, &gone);
        assert_eq!(
            whats(&entries),
            [
                "task-stop-asked",
                "task-ended-on-host",
                "task-stopped-for-ecs",
                "draining-confirmed",
                "transition",
                "drain"
            ]
        );
        assert_eq!(entries[5]["tasks_stopped"], 1);
        assert!(changes(now, &gone, &gone).is_empty());
    }

    #[test]
    fn entries_are_lines_of_json_and_the_file_stays_small() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("var/lib/spotblock/record.jsonl");
        let record = Record::in_file(path.clone());
        record.note(json!({"what": "one"}));
        record.note(json!({"what": "two"}));
        drop(record);
        assert_eq!(
            std::fs::read_to_string(&path).expect("written"),
            "{\"what\":\"one\"}\n{\"what\":\"two\"}\n"
        );
        std::fs::write(&path, vec![b'x'; 600 * 1024]).expect("a long one");
        append(&path, &json!({"what": "three"})).expect("appended");
        assert_eq!(std::fs::read_to_string(&path).expect("a new file"), "{\"what\":\"three\"}\n");
        assert!(path.with_extension("jsonl.1").exists());
    }

    #[test]
    fn a_record_that_cant_be_written_holds_nothing_up() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("var"), "no folder").expect("a file");
        let record = Record::in_file(dir.path().join("var/record.jsonl"));
        for _ in 0..10_000 {
            record.note(json!({"what": "lost"}));
        }
    }
}
