//! The keys of each command's JSON, which docs/json.md tells of.

use std::collections::BTreeSet;
use std::time::Duration;

use localcloud_core::Options;
use serde_json::{Value, json};

use super::{Run, World, capacity_block, doctor, example_with, fallback};

const PAGE: &str = include_str!("../../../docs/json.md");

/// These print a text or a document that is not this program's own, with and without `-o json`.
const OTHERS: [&str; 7] = ["completions", "iam", "init", "man", "schema", "template", "user-data"];

/// Whose keys are told of elsewhere, or are Batch's states.
const CLOSED: [&str; 3] = ["queue.jobs", "block", "[].array.states"];

/// All keys, as docs/json.md writes them.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(_) if CLOSED.contains(&path) => {}
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

fn printed(run: &Run) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let value = serde_json::from_str(&run.stdout)
        .unwrap_or_else(|_| panic!("{}{}", run.stdout, run.stderr));
    keys(&value, "", &mut found);
    found
}

/// The keys that a section of docs/json.md tells of.
fn told(section: &str) -> BTreeSet<String> {
    let section = PAGE.split("\n## ").find(|part| part.starts_with(section)).expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(key, _)| key.to_owned()).collect()
}

async fn live(sources: &[&str]) -> World {
    let world = World::with_config(fallback::today(&[]), &fallback::config(sources));
    assert_eq!(world.run(&["up"]).await.code, 0);
    world
}

/// Catches: a command of which nobody is told what its JSON means.
#[test]
fn each_command_has_a_section_or_prints_what_is_not_ours() {
    let sections = PAGE.lines().filter_map(|line| line.strip_prefix("## "));
    let told: BTreeSet<&str> =
        sections.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    let commands = leaves(&spotblock::command(), "");
    let ours: BTreeSet<&str> =
        commands.iter().map(String::as_str).filter(|path| !OTHERS.contains(path)).collect();
    assert_eq!(told, ours);
}

/// Each command, `up` or `env apply`: those without commands of their own only.
fn leaves(command: &clap::Command, path: &str) -> Vec<String> {
    let children: Vec<_> =
        command.get_subcommands().filter(|child| child.get_name() != "help").collect();
    if children.is_empty() {
        return vec![path.to_owned()];
    }
    let below =
        |child: &&clap::Command| leaves(child, format!("{path} {}", child.get_name()).trim_start());
    children.iter().flat_map(below).collect()
}

/// Catches: a key that was renamed or dropped, which breaks other people's scripts, and one that
/// nobody is told of.
#[tokio::test(start_paused = true)]
async fn the_documentation_has_each_key_of_status_and_no_other() {
    let mut found = BTreeSet::new();
    let granted = World::new(Options::default());
    assert_eq!(granted.run(&["up"]).await.code, 0);
    for world in [granted, live(&["spot-block", "on-demand"]).await, live(&["reservation"]).await] {
        found.append(&mut printed(&world.run(&["status", "-o", "json"]).await));
    }
    assert_eq!(told("`status`"), found);
}

#[tokio::test(start_paused = true)]
async fn the_documentation_has_each_key_of_a_blocks_commands_and_no_other() {
    let config =
        fallback::config(&["spot"]).replace("instances = 3", "instances = 3\nmax-cost = 9");
    let world = World::with_config(fallback::today(&[]), &config);
    assert_eq!(told("`up` and"), printed(&world.run(&["up", "-o", "json"]).await));
    assert_eq!(
        told("`extend`"),
        printed(&world.run(&["extend", "--by", "1h", "-o", "json"]).await)
    );
    assert_eq!(told("`reap`"), printed(&world.run(&["reap", "--dry-run", "-o", "json"]).await));
    assert_eq!(told("`drain`"), printed(&world.run(&["drain", "-o", "json"]).await));
    assert_eq!(told("`down`"), printed(&world.run(&["down", "-o", "json"]).await));
}

#[tokio::test(start_paused = true)]
async fn the_documentation_has_each_key_of_plan_and_env_and_no_other() {
    let mut found = printed(&World::new(Options::default()).run(&["plan", "-o", "json"]).await);
    let world = World::with_config(Options::default(), &capacity_block::config(""));
    found.append(&mut printed(&world.run(&["plan", "-o", "json"]).await));
    let world = World::new(Options::default());
    let shown = printed(&world.run(&["env", "apply", "-o", "json"]).await);
    assert_eq!(shown, printed(&world.run(&["env", "show", "-o", "json"]).await));
    assert_eq!(told("`env apply` and"), shown);
    world.batch_by_hand("UpdateJobQueue", &json!({"jobQueue": "SpotBlockQueue", "priority": 7}));
    world.pass(Duration::from_secs(5)).await;
    found.append(&mut printed(&world.run(&["plan", "-o", "json"]).await));
    let world = World::with_config(
        Options::default(),
        &example_with("max-price = 0.03", "max-cost = 0.001"),
    );
    found.append(&mut printed(&world.run(&["plan", "-o", "json"]).await));
    found.retain(|key| !key.starts_with("cost."));
    assert_eq!(told("`plan`"), found);
}

/// Of a job that failed, of an array, of one that depends on another.
#[tokio::test(start_paused = true)]
async fn the_documentation_has_each_key_of_jobs_and_no_other() {
    let world = doctor::that_runs(crate::EXAMPLE).await;
    let submit = ["submit", "-j", "hello-world", "-o", "json", "--env", "LOCALCLOUD_EXIT=9"];
    assert_eq!(told("`submit`"), printed(&world.run(&submit).await));
    let watched = world.run(&[&submit[..], &["--watch"]].concat()).await;
    assert_eq!(watched.code, 5, "{}", watched.stderr);
    let mut found = printed(&watched);
    let id = serde_json::from_str::<Value>(&watched.stdout).expect("JSON")[0]["id"].clone();
    world
        .run(
            &[&submit[..], &["--array", "2", "--depends-on", id.as_str().expect("an id")]].concat(),
        )
        .await;
    found.append(&mut printed(&world.run(&["jobs", "-o", "json"]).await));
    assert_eq!(told("`jobs`"), found);
    assert_eq!(
        told("`doctor`"),
        printed(&world.run(&["doctor", "hello-world", "-o", "json"]).await)
    );
    let lines = world.run(&["logs", id.as_str().expect("an id"), "-o", "json"]).await;
    let line = Run { stdout: lines.stdout.lines().next().expect("a line").to_owned(), ..lines };
    assert_eq!(told("`logs`"), printed(&line));
}
