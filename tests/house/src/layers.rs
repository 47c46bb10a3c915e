//! The table of layers, and what is against it.

use std::collections::BTreeMap;

use crate::graph::Graph;
use crate::imports::{Import, ROOT};
use crate::tree::Crate;

/// The names of the layers' modules, with the number of their row from the bottom up.
type Rows = BTreeMap<String, usize>;

/// Whether the docs of lib.rs have a table of layers.
pub fn has_table(of: &Crate) -> bool {
    !tables(&of.root).is_empty()
}

/// Everything that is wrong with the table of layers, or against it.
pub fn problems(of: &Crate) -> Vec<String> {
    let mut problems = Vec::new();
    let rows = rows(of, &mut problems);
    let imports = of.imports();
    problems.extend(imports.iter().filter_map(|import| against(import, &rows)));
    problems.extend(circles_across(of, &imports, &rows));
    problems
}

/// The circles among the modules of the root, for a crate without a table.
pub fn circles_of_modules(of: &Crate) -> Vec<String> {
    let imports = of.imports();
    let circles = Graph::of_modules(&imports).circles();
    circles.iter().map(|circle| format!("use each other: {}", circle.join(", "))).collect()
}

/// Reads the table, and holds it against the modules that there are.
fn rows(of: &Crate, problems: &mut Vec<String>) -> Rows {
    let mut rows = Rows::new();
    let tables = tables(&of.root);
    if tables.len() != 1 {
        problems.push(format!("{} has {} tables of layers, not one", of.root_file, tables.len()));
        return rows;
    }
    for (number, cell) in tables[0].iter().enumerate() {
        for name in cell.split(',').map(str::trim) {
            let quoted = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
            let Some(name) = quoted.map(|name| name.trim_end_matches('/')) else {
                problems.push(format!("{}: no module in backquotes: {name}", of.root_file));
                continue;
            };
            if rows.insert(name.to_owned(), number).is_some() {
                problems.push(format!("{}: `{name}` is in the table twice", of.root_file));
            }
            let exists = of.top_modules().any(|module| module == name);
            if !exists && !of.is_another_crates(name) {
                problems.push(format!("{}: `{name}` is no module of this crate", of.root_file));
            }
        }
    }
    for module in of.top_modules().filter(|module| !rows.contains_key(*module)) {
        problems.push(format!("{}: `{module}` is missing in the table", of.root_file));
    }
    rows
}

/// The first cells of each table of layers in the docs.
fn tables(root: &str) -> Vec<Vec<&str>> {
    let mut tables: Vec<Vec<&str>> = Vec::new();
    let mut within = false;
    for line in root.lines().filter_map(|line| line.strip_prefix("//!")) {
        let cell = line.trim().strip_prefix('|').and_then(|row| row.split('|').next());
        match cell.map(str::trim) {
            Some("layer") => {
                tables.push(Vec::new());
                within = true;
            }
            Some(cell) if within && !cell.starts_with("--") => {
                tables.last_mut().into_iter().for_each(|rows| rows.push(cell));
            }
            Some(_) => {}
            None => within = false,
        }
    }
    tables
}

/// What to say of an import that runs up.
fn against(import: &Import, rows: &Rows) -> Option<String> {
    let from = rows.get(&import.from)?;
    let up = import.to == ROOT || rows.get(&import.to).is_some_and(|to| to > from);
    let Import { file, line, from, to, path, .. } = import;
    up.then(|| format!("{file}:{line}: `{from}` may not use `{to}` ({path})"))
}

/// Circles of files that belong to more than one layer.
fn circles_across(of: &Crate, imports: &[Import], rows: &Rows) -> Vec<String> {
    let row_of = |file: &str| {
        let module = of.modules.iter().find(|(_, own)| own.as_str() == file);
        module.and_then(|(names, _)| names.first()).and_then(|top| rows.get(top))
    };
    let mut circles = Graph::of_files(imports).circles();
    circles.retain(|circle| circle.iter().any(|file| row_of(file) != row_of(circle[0])));
    let told = |circle: &Vec<&str>| format!("a circle across layers: {}", circle.join(", "));
    circles.iter().map(told).collect()
}
