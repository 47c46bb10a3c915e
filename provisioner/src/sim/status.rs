//! `status`: what it shows, and the keys of its JSON.

use std::collections::BTreeSet;
use std::time::Duration;

use localcloud::core::Options;
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;

use super::{World, ladder};

async fn live() -> World {
    let world = World::new(Options::default());
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

/// All keys, as docs/json.md writes them.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        // Its keys are Batch's states.
        Value::Object(_) if path == "queue.jobs" => {}
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                keys(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(all) => all.iter().for_each(|it| keys(it, &format!("{path}[]"), found)),
        _ => {}
    }
}

/// Catches: a key that was renamed or dropped, which breaks other people's scripts, and one that nobody is told of.
#[tokio::test(start_paused = true)]
async fn the_documentation_has_each_key_of_status_and_no_other() {
    let refused = World::with_config(ladder::today(&[]), &ladder::config(&["spot-block", "on-demand"]));
    assert_eq!(refused.run(&["up"]).await.code, 0);
    let mut found = BTreeSet::new();
    for world in [live().await, refused] {
        let run = world.run(&["status", "-o", "json"]).await;
        keys(&serde_json::from_str(&run.stdout).expect("JSON"), "", &mut found);
    }
    let text = include_str!("../../../docs/json.md");
    let section = text.split("\n## ").find(|part| part.starts_with("`status`")).expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let told: BTreeSet<String> = rows.map(|(key, _)| key.to_owned()).collect();
    assert_eq!(told, found);
}

#[tokio::test(start_paused = true)]
async fn a_live_block_shows_its_time_its_cost_and_when_each_instance_drains() {
    let world = live().await;
    world.pass(Duration::from_secs(30 * 60)).await;
    let shown = world.run(&["status"]).await.stdout;
    for part in
        ["30 min left of 1 h", "0.5 instance-hours so far, at most 0.0", "dollars (estimate", "DRAINS", "in 15 min"]
    {
        assert!(shown.contains(part), "{part:?} is missing in {shown}");
    }
    let bar = shown.lines().find(|line| line.contains("left of")).expect("a bar");
    assert!(bar.contains("==--") && bar.contains('D') && bar.contains('S'), "{bar}");
    assert!(!shown.contains('\x1b'), "no colour where stdout is no terminal");
    assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_prints_a_line_each_time_and_is_refused_where_it_could_not_draw() {
    let world = live().await;
    let run = world.run(&["status", "--watch"]).await;
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("stdout is no terminal") && run.stderr.contains("-o json"), "{}", run.stderr);
    let (sender, receiver) = unbounded_channel();
    let (run, _) = tokio::join!(world.run_with(&["status", "--watch", "-o", "json"], None, receiver), async {
        tokio::time::sleep(Duration::from_secs(17)).await;
        sender.send(())
    });
    let run = run.expect("it is not killed");
    assert_eq!(run.code, 130);
    let at: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON")["at"].clone())
        .collect();
    assert!((3..=4).contains(&at.len()) && at[0] != at[1], "{at:?}");
}
