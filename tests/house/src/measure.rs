//! The structure of a checkout in figures. None of them needs a table of layers.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use proc_macro2::TokenStream;

use crate::graph::Graph;
use crate::tokens;
use crate::tree::Crate;

/// The packages that are measured, with their source folders; the local cloud became two crates.
const ROOTS: &[(&str, &[&str])] = &[
    ("provisioner", &["src"]),
    ("provisioner/model", &["src"]),
    ("node-agent", &["src"]),
    ("tests/localcloud", &["src", "core/src", "server/src"]),
];

/// From this many columns on a line is long.
const COLUMNS: usize = 100;

/// A name that says nothing about a closure's argument.
const NAMELESS: &str = "it";

/// The measures of a checkout, with their names; the names are the same for each checkout.
///
/// # Errors
/// A file can't be read, or git doesn't know the checkout.
pub fn checkout(checkout: &Path) -> Result<Vec<(String, String)>> {
    let mut measures = Vec::new();
    for (title, folders) in ROOTS {
        let folders = folders.iter().map(|folder| format!("{title}/{folder}"));
        let there = folders.filter(|src| checkout.join(src).join("lib.rs").is_file());
        let crates = there.map(|src| Crate::read(checkout, &src)).collect::<Result<Vec<_>>>()?;
        for (name, value) in of_crates(&crates) {
            measures.push((format!("{title}: {name}"), value));
        }
    }
    measures.extend(of_all_files(checkout)?);
    Ok(measures)
}

/// The measures of one source root; it can be more than one crate.
fn of_crates(crates: &[Crate]) -> Vec<(&'static str, String)> {
    let imports: Vec<_> = crates.iter().map(Crate::imports).collect();
    let sum = |each: fn(&Crate) -> usize| crates.iter().map(each).sum::<usize>();
    let back: usize = imports.iter().map(|imports| Graph::of_modules(imports).arrows_back()).sum();
    let circles = imports.iter().flat_map(|imports| Graph::of_files(imports).circles());
    let circles: Vec<_> = circles.map(|circle| circle.len()).collect();
    let longest = crates.iter().flat_map(|one| &one.files).max_by_key(|(_, lines)| **lines);
    let measures = vec![
        ("modules of the root", sum(|one| one.top_modules().count()).to_string()),
        ("imports that run back", back.to_string()),
        ("circles of files", circles.len().to_string()),
        ("files in the largest", circles.iter().max().unwrap_or(&0).to_string()),
        ("public items", sum(|one| one.public_items).to_string()),
        ("lines of the longest file", longest.map_or(0, |(_, lines)| *lines).to_string()),
        ("the longest file", longest.map(|(file, _)| file.clone()).unwrap_or_default()),
    ];
    let missing = |(name, value)| (name, if crates.is_empty() { "-".to_owned() } else { value });
    measures.into_iter().map(missing).collect()
}

fn of_all_files(checkout: &Path) -> Result<[(String, String); 2]> {
    let (mut long, mut nameless) = (0, 0);
    for file in tracked(checkout)? {
        let text = fs::read_to_string(checkout.join(&file)).context(file.clone())?;
        long += text.lines().filter(|line| line.chars().count() > COLUMNS).count();
        let tokens: TokenStream = text.parse().map_err(|why| anyhow::anyhow!("{file}: {why}"))?;
        nameless += tokens::closures_of(NAMELESS, &tokens);
    }
    Ok([
        (format!("all files: lines over {COLUMNS} columns"), long.to_string()),
        (format!("all files: closures of `{NAMELESS}` alone"), nameless.to_string()),
    ])
}

/// The Rust files that git tracks and that are there.
fn tracked(checkout: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    let listed = git.arg("-C").arg(checkout).args(["ls-files", "-z", "--", "*.rs"]).output()?;
    let complaint = String::from_utf8_lossy(&listed.stderr);
    anyhow::ensure!(listed.status.success(), "git ls-files: {}", complaint.trim());
    let names = String::from_utf8(listed.stdout)?;
    let names = names.split_terminator('\0').map(str::to_owned);
    Ok(names.filter(|name| checkout.join(name).is_file()).collect())
}
