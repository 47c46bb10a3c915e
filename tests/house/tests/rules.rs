//! Holds the reader of layers to small crates with one fault each.

use std::fs;

use house::{Crate, layers};

/// Two layers, `low` below `high`, and a third crate under the name `bottom`.
const ROOT: &str = "\
//! | layer | what it is |
//! |---|---|
//! | `bottom` | another crate |
//! | `low/` | below |
//! | `high`, `beside` | above |
use another as bottom;
use high::Thing;
mod low;
mod high;
mod beside;
pub struct Ports;
";

/// What is wrong with a crate of these files; those that aren't given are empty.
fn problems(files: &[(&str, &str)]) -> Vec<String> {
    layers::problems(&read(files))
}

fn read(files: &[(&str, &str)]) -> Crate {
    let folder = tempfile::tempdir().expect("a folder");
    let usual = [("lib.rs", ROOT), ("low.rs", ""), ("high.rs", ""), ("beside/mod.rs", "")];
    for (name, text) in usual.iter().chain(files) {
        let path = folder.path().join("src").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    Crate::read(folder.path(), "src").expect("a crate")
}

/// What is wrong with this text in `low.rs`, without the file's name.
fn problems_of_low(text: &str) -> Vec<String> {
    let problems = problems(&[("low.rs", text)]);
    problems.iter().map(|told| told.replacen("src/low.rs:", "", 1)).collect()
}

#[track_caller]
fn runs_up(text: &str, line: usize, path: &str) {
    let expected = format!("{line}: `low` may not use `high` ({path})");
    assert_eq!(problems_of_low(text), [expected], "{text}");
}

#[test]
fn an_import_that_runs_up_is_found_in_every_syntax() {
    runs_up("\nuse crate::high::Thing;", 2, "crate::high::Thing");
    runs_up("use {\n std::fmt,\n crate::high::{\n Thing as It},\n};", 4, "crate::high::Thing");
    runs_up("use crate::high::{self};", 1, "crate::high");
    runs_up("use super::high::*;", 1, "crate::high::*");
    runs_up("use self::super::high::Thing;", 1, "crate::high::Thing");
    runs_up("mod inner {\n  use super::super::high::Thing;\n}", 2, "crate::high::Thing");
    runs_up("fn a() {\n  crate::high::run();\n}", 2, "crate::high::run");
    runs_up("fn a() {\n  let b = super::high::B { c: 1 };\n}", 2, "crate::high::B");
    runs_up("fn a() {\n  match 1 { crate::high::ONE => {} }\n}", 2, "crate::high::ONE");
    runs_up("struct A {\n  b: Vec<crate::high::Thing>,\n}", 2, "crate::high::Thing");
    runs_up("impl crate::high::Trait for u8 {}", 1, "crate::high::Trait");
    runs_up("#[derive(crate::high::Derive)]\nstruct A;", 1, "crate::high::Derive");
    runs_up("struct A {\n  #[serde(with = \"crate::high::w\")]\n  b: u8,\n}", 2, "crate::high::w");
    runs_up("fn a() {\n  crate::high::run!();\n}", 2, "crate::high::run");
    runs_up("fn a() {\n  format!(\"{}\",\n    [super::high::B]);\n}", 3, "crate::high::B");
    runs_up("macro_rules! a { () => {\n  $crate::high::run()\n} }", 2, "crate::high::run");
    runs_up("a! {\n  use crate::{\n    high::Thing};\n}", 3, "crate::high::Thing");
}

#[test]
fn what_lib_rs_defines_is_above_all_and_what_it_passes_on_is_its_modules() {
    let root = ["1: `low` may not use `lib.rs` (crate::Ports)"];
    assert_eq!(problems_of_low("use crate::Ports;"), root);
    runs_up("use crate::Thing;", 1, "crate::high::Thing");
}

#[test]
fn an_import_that_runs_down_or_stays_in_its_row_passes() {
    let high = "use crate::{bottom::Block, low};\nuse super::beside::B;\nfn a() { low::b() }";
    assert_eq!(problems(&[("high.rs", high), ("beside/mod.rs", "use crate::high::A;")]), [""; 0]);
    let low = "use crate::bottom::Block;\npub(in crate::high) fn a() {}";
    assert_eq!(problems_of_low(low), [""; 0]);
}

#[test]
fn files_are_found_by_mod_rs_by_name_and_by_path() {
    let files = [
        ("low.rs", "mod a; mod b { mod c; } #[path = \"else/where.rs\"] mod d;"),
        ("low/a/mod.rs", "mod deep;"),
        ("low/a/deep.rs", "use crate::high::A;"),
        ("low/b/c.rs", "use crate::high::C;"),
        ("else/where.rs", "use crate::high::D;"),
    ];
    let expected = [
        "src/else/where.rs:1: `low` may not use `high` (crate::high::D)",
        "src/low/a/deep.rs:1: `low` may not use `high` (crate::high::A)",
        "src/low/b/c.rs:1: `low` may not use `high` (crate::high::C)",
    ];
    assert_eq!(problems(&files), expected);
}

#[test]
fn tests_are_free() {
    for item in [
        "mod tests { use crate::high::Thing; }",
        "mod tests;",
        "use crate::high::Thing;",
        "fn a() { crate::high::run() }",
        "impl crate::high::Trait for u8 {}",
    ] {
        let files = |cfg: &str| problems_of_low(&format!("{cfg} {item}"));
        if item != "mod tests;" {
            assert_ne!(files("#[cfg(not(test))]"), [""; 0], "{item}");
            assert_ne!(files("#[cfg(any(test, unix))]"), [""; 0], "{item}");
        }
        assert_eq!(files("#[cfg(test)]"), [""; 0], "{item}");
        assert_eq!(files("#[cfg(all(unix, test))]"), [""; 0], "{item}");
    }
    let root = format!("{ROOT}#[cfg(test)] mod simulation;");
    assert_eq!(problems(&[("lib.rs", &root)]), [""; 0]);
    let method = "struct A; impl A { #[cfg(test)] fn a() { crate::high::a() } }";
    assert_eq!(problems_of_low(method), [""; 0]);
}

#[test]
fn the_table_has_each_module_once_and_nothing_else() {
    let told = |from: &str, to: &str| problems(&[("lib.rs", &ROOT.replace(from, to))]);
    assert_eq!(told("`high`, ", ""), ["src/lib.rs: `high` is missing in the table"]);
    assert_eq!(told("`low/`", "`low/`, `no`"), ["src/lib.rs: `no` is no module of this crate"]);
    assert_eq!(told("`high`", "`high`, `low`"), ["src/lib.rs: `low` is in the table twice"]);
    assert_eq!(told("`high`", "`high`, low"), ["src/lib.rs: no module in backquotes: low"]);
    assert_eq!(told("| layer", "| request"), ["src/lib.rs has 0 tables of layers, not one"]);
    let two = format!("//! | layer | twice |\n//!\n{ROOT}");
    assert_eq!(problems(&[("lib.rs", &two)]), ["src/lib.rs has 2 tables of layers, not one"]);
}

#[test]
fn a_circle_of_files_across_layers_is_told() {
    let files = [("low.rs", "use crate::high::A;"), ("high.rs", "use crate::low::B;")];
    let circle = "a circle across layers: src/high.rs, src/low.rs";
    assert_eq!(problems(&files).last().unwrap(), circle);
    assert_eq!(layers::circles_of_modules(&read(&files)), ["use each other: high, low"]);
    assert_eq!(layers::circles_of_modules(&read(&files[..1])), [""; 0]);
}
