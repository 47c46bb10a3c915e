//! Hosts that fail: what the image left, and the disk. One block: each of its instances has another
//! fault.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::lives::Terms;
use jiff::SignedDuration;
use serde_json::Value;

use crate::fleet::Fleet;
use crate::host::problem;
use crate::world::{World, binaries};

/// one-node.toml's terms.
const TERMS: Terms = Terms {
    duration: SignedDuration::from_hours(1),
    drain_lead: SignedDuration::from_secs(15),
    stop_lead: SignedDuration::from_secs(10),
};

/// Stands in the agent's place: each host takes the next fault that is left, breaks what it breaks,
/// and becomes the agent. What is mounted is so in a namespace of the agent's own.
const BREAK: &str = r#"#!/bin/sh
root=$3
if [ ! -e "$root/fault" ]; then
    for fault in FAULTS; do
        if mkdir "FOLDER/taken-$fault" 2>/dev/null; then echo "$fault" >"$root/fault"; break; fi
    done
    db="$root/var/lib/ecs/data/agent.db"
    case "$(cat "$root/fault")" in
    joined-default) printf '{"cluster":"default","container_instance":"arn:1","ec2_instance":"%s"}' "$(basename "$root")" >"$db" ;;
    foreign-data) printf '{"cluster":"another","container_instance":"arn:1","ec2_instance":"i-0fffffffffffffff1"}' >"$db" ;;
    esac
fi
state="$root/var/lib/spotblock"
case "$(cat "$root/fault")" in
full-disk)
    exec unshare --mount sh -c 'mount -t tmpfs -o size=64k none "$0" && { head -c 1m /dev/zero >"$0/fill" 2>/dev/null
        exec AGENT "$@"; }' "$state" "$@" ;;
read-only)
    exec unshare --mount sh -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec AGENT "$@"' "$state" "$@" ;;
esac
exec AGENT "$@"
"#;

/// The faults; the first two need no mount.
const FAULTS: [&str; 4] = ["joined-default", "foreign-data", "full-disk", "read-only"];

fn breaking(folder: &Path, faults: &[&str]) -> PathBuf {
    let agent = binaries().agent;
    let script = BREAK
        .replace("FAULTS", &faults.join(" "))
        .replace("FOLDER", &folder.display().to_string())
        .replace("AGENT", &agent.display().to_string());
    let path = folder.join("breaking-agent");
    std::fs::write(&path, script).expect("the script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

/// Whether this user may make a namespace with mounts of its own.
fn may_mount() -> bool {
    std::process::Command::new("unshare")
        .args(["--mount", "true"])
        .status()
        .is_ok_and(|status| status.success())
}

/// Catches: an agent that doesn't repair its ECS agent, repairs it again and again, or goes on as
/// another instance; and one that can't live without its disk.
#[tokio::test]
async fn no_fault_of_the_host_costs_a_job_or_the_end() {
    let faults = if may_mount() {
        &FAULTS[..]
    } else {
        println!(
            "left out: disks that are full or read-only, since this user may not mount anything \
             (run as root)"
        );
        &FAULTS[..2]
    };
    let arguments = ["--block-ends-in", "50s"];
    let world =
        World::with_agent("one-node.toml", &arguments, |folder| breaking(folder, faults)).await;
    let names: Vec<_> = faults.iter().map(|fault| (*fault, Value::Null)).collect();
    let mut fleet = Fleet::start(world, &names, names.len()).await;
    // Which host took which is known only now.
    fleet
        .hosts
        .sort_by_key(|host| faults.iter().position(|fault| host.file("fault").trim() == *fault));
    for fault in faults.iter().filter(|fault| !["joined-default", "foreign-data"].contains(fault)) {
        fleet.world.control(&fleet.host(fault).node.instance, "kill-agent").await;
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    for (name, status) in fleet.statuses().await {
        assert_eq!(status["life"]["state"], "serving", "{name}: {status:#}");
        assert_eq!(
            status["life"]["tasks"].as_object().map(serde_json::Map::len),
            Some(1),
            "{name}: {status:#}"
        );
        let unsaved =
            "the state can't be saved: a restart of the agent would look for its place anew";
        let shown = problem(&status, unsaved).unwrap_or_default();
        match name {
            "full-disk" => assert!(shown.contains("No space left"), "{status:#}"),
            "read-only" => assert!(shown.contains("Read-only file system"), "{status:#}"),
            "joined-default" => {
                let repaired =
                    "the ECS agent belongs to another cluster: it is given a new beginning";
                let count = status["problems"].as_array().map(|all| {
                    all.iter().filter(|p| p["what"] == repaired && p["count"] == 1).count()
                });
                assert_eq!(count, Some(1), "repaired once: {status:#}");
            }
            _ => assert_eq!(shown, "", "{status:#}"),
        }
    }
    let kept = fleet.host("foreign-data").file("var/lib/ecs/data/agent.db");
    assert!(
        !kept.contains("i-0fffffffffffffff1")
            && kept.contains(&fleet.host("foreign-data").node.instance),
        "{kept}"
    );
    let events = fleet.end().await;
    fleet.kept_its_promises(&events, &TERMS, &[]).await;
    fleet.world.cloud.stop().await.expect("it ends");
}
