//! The timer in a folder, and its service's conditions in a shell.

use super::*;
use crate::testing::at;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn timer(folder: PathBuf, arm: Vec<String>) -> PowerOffTimer {
    PowerOffTimer {
        folder,
        arm,
        power_off_commands: vec![
            words(&["systemctl", "poweroff"]),
            words(&["sh", "-c", "echo 100% \"$o\" > /dev/null"]),
        ],
        instance: "i-0a1b".into(),
        due: words(&["/usr/bin/spotblock-agent", "due"]),
    }
}

fn armed_at(folder: &Path) -> Option<Timestamp> {
    moment_of(&std::fs::read_to_string(folder.join(names::unit::POWER_OFF_TIMER)).ok()?)
}

#[tokio::test]
async fn the_units_are_written_whole_and_linked_so_that_the_next_boot_has_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("etc/systemd/system");
    let written = timer(folder.clone(), Vec::new());
    for _ in 0..2 {
        written.write(at("2026-11-24T11:02:00.7Z")).await.expect("written");
    }
    let unit =
        std::fs::read_to_string(folder.join(names::unit::POWER_OFF_TIMER)).expect("the timer");
    assert!(unit.contains("OnCalendar=2026-11-24 11:02:00 UTC\n"), "{unit}");
    assert_eq!(moment_of(&unit), Some(at("2026-11-24T11:02:00Z")));
    // A shutdown that hangs keeps what it doesn't stop, and starts nothing that comes after what it
    // stops.
    assert!(unit.contains("\nDefaultDependencies=no\n") && !unit.contains("\nAfter="), "{unit}");
    let link = std::fs::read_to_string(folder.join("timers.target.wants/spotblock-poweroff.timer"));
    assert_eq!(link.expect("the link leads to the timer"), unit);
    let service =
        std::fs::read_to_string(folder.join(names::unit::POWER_OFF_SERVICE)).expect("the service");
    assert!(service.contains("ExecStart=-systemctl poweroff\nExecStart=-sleep 60\n"), "{service}");
    assert!(service.contains(r#"ExecStart=-sh -c "echo 100%% \"$$o\" > /dev/null""#), "{service}");
}

#[tokio::test]
async fn a_timer_that_cant_be_set_says_why() {
    let dir = tempfile::tempdir().expect("a folder");
    let refused = timer(dir.path().into(), words(&["sh", "-c", "echo no bus >&2; exit 1"]));
    let error = refused.arm().await.expect_err("it fails").to_string();
    assert!(error.contains("no bus"), "{error}");
    std::fs::write(dir.path().join("file"), "").expect("a file");
    let nowhere = timer(dir.path().join("file/folder"), Vec::new());
    let error = nowhere.write(at("2026-11-24T11:02:00Z")).await.expect_err("no folder").to_string();
    assert!(error.contains("spotblock-poweroff.timer"), "{error}");
}

/// A clock whose host's wall clock can be set.
struct Set(std::sync::Mutex<SignedDuration>);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        at("2026-11-24T10:00:00Z")
    }

    fn skew(&self) -> SignedDuration {
        *self.0.lock().expect("no panic")
    }

    fn anchored(&self) -> crate::ports::Anchor {
        crate::testing::anchor()
    }
}

async fn until(folder: &Path, wanted: &str) {
    for _ in 0..200 {
        if armed_at(folder) == Some(at(wanted)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?} instead of {wanted}", armed_at(folder));
}

/// Catches: a timer that stays where it was when the end moves, or that goes by a wall clock which
/// is hours ahead and ends a fresh block.
#[tokio::test]
async fn the_timer_follows_the_end_and_the_wall_clock() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(Set(std::sync::Mutex::default()));
    let (moments, wanted) = watch::channel(at("2026-11-24T11:02:00Z"));
    let kept = tokio::spawn(keep(
        timer(dir.path().into(), words(&["true"])),
        Arc::<Set>::clone(&clock),
        wanted,
    ));
    until(dir.path(), "2026-11-24T11:02:00Z").await;
    moments.send_replace(at("2026-11-24T10:32:00Z"));
    until(dir.path(), "2026-11-24T10:32:00Z").await;
    *clock.0.lock().expect("no panic") = SignedDuration::from_hours(3);
    moments.send_replace(at("2026-11-24T10:31:00Z"));
    until(dir.path(), "2026-11-24T13:31:00Z").await;
    moments.send_replace(at("2026-11-24T09:00:00Z"));
    until(dir.path(), "2026-11-24T13:01:00Z").await;
    drop(moments);
    kept.await.expect("it ends");
}

/// Catches: a wall clock that is set forward and ends a fresh block by way of the timer.
#[tokio::test]
async fn the_timer_is_early_only_where_the_agents_own_clock_says_so() {
    let clock = BootClock::new();
    let mut saved = crate::testing::saved();
    saved.anchor = clock.anchor();
    saved.state.timeline.end = clock.now() + SignedDuration::from_mins(10);
    let dir = tempfile::tempdir().expect("a folder");
    let store = crate::adapters::state_file::StateFile::new(dir.path().join("state.json"));
    assert!(is_due(&store, &clock, None).await, "no state");
    store.save(&saved).await.expect("saved");
    assert!(!is_due(&store, &clock, None).await, "the block goes on");
    saved.state.timeline.end = clock.now() - POWER_OFF_GRACE;
    store.save(&saved).await.expect("saved");
    assert!(is_due(&store, &clock, None).await, "it is over");
    saved.state.timeline.end = clock.now() + SignedDuration::from_mins(10);
    saved.anchor.boot_id = "another".into();
    store.save(&saved).await.expect("saved");
    assert!(is_due(&store, &clock, None).await, "a state of another boot");
    assert!(is_due(&store, &clock, Some("a third")).await, "a state of another boot still");
    // Catches: containers, where the agent's sandbox shows the kernel's boot id and the timer's
    // service the container's.
    assert!(
        !is_due(&store, &clock, Some("another")).await,
        "the agent knows this boot by another id"
    );
}

#[test]
fn the_moment_is_after_the_end_or_after_the_agent_powered_the_host_off() {
    let mut state = crate::testing::state();
    assert_eq!(moment(&state), at("2026-11-24T11:02:00Z"));
    (state.phase, state.since) = (Phase::Gone, at("2026-11-24T10:20:00Z"));
    assert_eq!(moment(&state), at("2026-11-24T10:22:00Z"));
    state.since = at("2026-11-24T12:00:00Z");
    assert_eq!(moment(&state), at("2026-11-24T11:02:00Z"));
}

/// Runs the shell parts of the service's conditions as systemd would, less its own escapes.
fn condition(service: &str, number: usize) -> String {
    let lines = service.lines().filter_map(|line| line.strip_prefix("ExecCondition=/bin/sh -c '"));
    let script = lines.map(|line| line.trim_end_matches('\'')).nth(number).expect("a condition");
    script.replace("$$", "$")
}

fn shell(script: &str) -> Option<i32> {
    std::process::Command::new("sh").args(["-c", script]).status().expect("a shell").code()
}

/// Catches: a host that stays on because the agent can't say whether it is due, or is gone
/// altogether.
#[test]
fn the_service_goes_ahead_unless_the_agent_says_that_it_is_too_early() {
    let dir = tempfile::tempdir().expect("a folder");
    let agent = dir.path().join("agent");
    let mut unit = timer(dir.path().into(), Vec::new());
    unit.due = vec![agent.to_string_lossy().into_owned(), "due".into()];
    assert_eq!(shell(&condition(&unit.service(), 1)), Some(0), "there is no agent");
    for (exit, wanted) in [(0, 0), (1, 0), (101, 0), (3, 1)] {
        std::fs::write(&agent, format!("#!/bin/sh\n[ \"$1\" = due ] && exit {exit}\n"))
            .expect("an agent");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&agent, mode).expect("its mode");
        assert_eq!(shell(&condition(&unit.service(), 1)), Some(wanted), "exit {exit}");
    }
}

/// Catches: an image made of a host in a block whose instances power off at their first boot.
#[test]
fn the_service_does_nothing_on_another_instance() {
    let dir = tempfile::tempdir().expect("a folder");
    let tag = dir.path().join("tag");
    let script = condition(&timer(dir.path().into(), Vec::new()).service(), 0);
    let script =
        script.replace("/sys/devices/virtual/dmi/id/board_asset_tag", &tag.to_string_lossy());
    assert_eq!(shell(&script), Some(0), "no tag");
    for (text, wanted) in [("i-0a1b\n", 0), ("i-0a1c\n", 1), ("\n", 0), ("Not Specified\n", 0)] {
        std::fs::write(&tag, text).expect("a tag");
        assert_eq!(shell(&script), Some(wanted), "{text}");
    }
}
