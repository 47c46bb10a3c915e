//! Prints the structure of checkouts in figures, one column each: `house [CHECKOUT...]`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use house::measure;

fn main() -> Result<()> {
    let mut checkouts: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if checkouts.is_empty() {
        checkouts.push(concat!(env!("CARGO_MANIFEST_DIR"), "/../..").into());
    }
    let mut columns = Vec::new();
    for checkout in &checkouts {
        let checkout = checkout.canonicalize()?;
        let title = checkout.file_name().unwrap_or_default().display().to_string();
        let measures = measure::checkout(&checkout)?;
        if columns.is_empty() {
            columns.push(column("", measures.iter().map(|(name, _)| name.clone())));
        }
        columns.push(column(&title, measures.iter().map(|(_, value)| value.clone())));
    }
    let mut out = io::stdout().lock();
    for row in 0..columns[0].len() {
        let cells: Vec<_> = columns.iter().map(|column| column[row].as_str()).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// A title and its cells, all as wide as the widest.
fn column(title: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    let cells: Vec<_> = std::iter::once(title.to_owned()).chain(cells).collect();
    let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    cells.iter().map(|cell| format!("{cell:width$}")).collect()
}
