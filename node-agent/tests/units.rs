//! The systemd units, as systemd's own tools judge them. Without `systemd-analyze` these tests say
//! so and look at nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use node_contract::names::unit;
use spotblock_agent::adapters::timer::PowerOffTimer;

/// The exposure that the packaged units may have at most, in tenths.
const EXPOSURE: &str = "30";

#[expect(clippy::print_stdout, reason = "a test that looks at nothing has to say so")]
fn systemd_analyze(arguments: &[&str]) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!(
                "SKIP: systemd-analyze can't be run ({error}); Debian and Ubuntu have it in the \
                 package systemd"
            );
            None
        }
    }
}

fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(name);
    std::fs::read_to_string(&path).expect("the packaged unit")
}

/// Writes a packaged unit to where systemd finds a program for it.
fn installed(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, packaged(name).replace("/usr/bin/spotblock-agent", "/bin/true"))
        .expect("the unit");
    path
}

/// `verify` exits with 0 on keys that it doesn't know: silence is what counts.
fn verify(unit: &Path) {
    let Some(output) =
        systemd_analyze(&["verify", "--recursive-errors=no", &unit.to_string_lossy()])
    else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{}: {said}", unit.display());
}

#[test]
fn the_packaged_units_are_valid() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in [unit::AGENT, unit::GUARD] {
        verify(&installed(dir.path(), name));
    }
}

/// Catches: a host that is left without its agent because that ended too often, an agent that hangs
/// unseen, an ECS agent that starts before ecs.config is there, and a guard that is asked when ECS
/// or Docker have gone down already.
#[test]
fn the_packaged_units_keep_the_agent_up_and_the_guard_before_ecs_goes_down() {
    let agent = packaged(unit::AGENT);
    for line in [
        "Type=notify",
        "Restart=always",
        "StartLimitIntervalSec=0",
        "WatchdogSec=60s",
        "KillMode=process",
    ] {
        assert!(agent.lines().any(|found| found == line), "{line} in {agent}");
    }
    assert!(agent.lines().any(|line| line == "Before=ecs.service"), "{agent}");
    let guard = packaged(unit::GUARD);
    let after = guard.lines().find_map(|line| line.strip_prefix("After=")).expect("an order");
    for unit in ["ecs.service", "docker.service", "network-online.target"] {
        assert!(after.split(' ').any(|found| found == unit), "{unit} in {after}");
    }
    assert!(
        guard.lines().any(|line| line.starts_with("ExecStop=") && line.contains(" guard --stop ")),
        "{guard}"
    );
}

#[test]
fn the_packaged_units_are_hardened() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in [unit::AGENT, unit::GUARD] {
        let unit = installed(dir.path(), name);
        let threshold = format!("--threshold={EXPOSURE}");
        let judged =
            ["security", "--offline=true", "--no-pager", &threshold, &unit.to_string_lossy()];
        let Some(output) = systemd_analyze(&judged) else { return };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {}", said.lines().last().unwrap_or_default());
    }
}

/// Catches: a unit that systemd doesn't load, so that the host outlives its block when the agent
/// fails.
#[tokio::test]
async fn the_power_off_timer_and_its_service_are_valid() {
    let words =
        |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let dir = tempfile::tempdir().expect("a folder");
    let timer = PowerOffTimer {
        folder: dir.path().into(),
        arm: Vec::new(),
        power_off_commands: vec![
            words(&["systemctl", "poweroff"]),
            words(&["systemctl", "poweroff", "--force"]),
            words(&["sh", "-c", "echo o >/proc/sysrq-trigger"]),
        ],
        instance: "i-0a1b".into(),
        due: words(&["/bin/true", "due", "--root", "/"]),
    };
    timer.write("2026-11-24T11:02:00Z".parse().expect("a time")).await.expect("written");
    for name in [unit::POWER_OFF_TIMER, unit::POWER_OFF_SERVICE] {
        verify(&dir.path().join(name));
    }
    let text = std::fs::read_to_string(dir.path().join(unit::POWER_OFF_TIMER)).expect("the timer");
    let moment = text.lines().find_map(|line| line.strip_prefix("OnCalendar=")).expect("a moment");
    let Some(output) = systemd_analyze(&["calendar", moment]) else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("2026-11-24 11:02:00"), "{said}");
}
