//! Holds this workspace's crates to the layers that their lib.rs tells of.

use std::fs;
use std::path::Path;

use house::{Crate, layers};

const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// What the bottom crate may not depend on, by the start of the name.
const OUTSIDE: [&str; 4] = ["aws-sdk-", "aws-config", "clap", "tokio"];

fn read(src: &str) -> Crate {
    Crate::read(Path::new(CHECKOUT), src).unwrap_or_else(|why| panic!("{why:#}"))
}

#[track_caller]
fn has_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn provisioner() {
    has_none(&layers::problems(&read("provisioner/src")));
}

/// A small crate, which can do without a table.
#[test]
fn provisioner_model() {
    let model = read("provisioner/model/src");
    match layers::has_table(&model) {
        true => has_none(&layers::problems(&model)),
        false => has_none(&layers::circles_of_modules(&model)),
    }
}

#[test]
fn node_agent() {
    has_none(&layers::problems(&read("node-agent/src")));
}

#[test]
fn localcloud_core() {
    has_none(&layers::problems(&read("tests/localcloud/core/src")));
}

#[test]
fn localcloud() {
    has_none(&layers::problems(&read("tests/localcloud/server/src")));
}

#[test]
fn provisioner_model_reads_no_clock() {
    let model = read("provisioner/model/src");
    for clock in ["SystemTime", "Instant", "Timestamp", "Zoned"] {
        has_none(&model.places_of(&[clock, "now"]));
    }
}

#[test]
fn provisioner_model_depends_on_nothing_outside() {
    let manifest = Path::new(CHECKOUT).join("provisioner/model/Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let mut names = Vec::new();
    keys(&manifest, &mut names);
    names.retain(|name| OUTSIDE.iter().any(|outside| name.starts_with(outside)));
    has_none(&names);
}

/// Every key at every depth, so that no kind of dependency is forgotten.
fn keys(table: &toml::Table, found: &mut Vec<String>) {
    for (key, value) in table {
        found.push(key.clone());
        if let Some(table) = value.as_table() {
            keys(table, found);
        }
    }
}
