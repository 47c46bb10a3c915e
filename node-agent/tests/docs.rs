//! The pages on promises, faults and threats against the tests: what a page says is shown by
//! something has to be there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where tests are: the package, as `cargo nextest run -p` takes it, and a folder of its sources.
/// The boots are Python.
const SOURCES: [(&str, &str); 9] = [
    ("node-agent", "node-agent/src"),
    ("node-agent", "node-agent/tests"),
    ("node-contract", "node-agent/contract/src"),
    ("provisioner", "provisioner/src"),
    ("provisioner", "provisioner/tests/simulation"),
    ("provisioner", "tests/e2e/tests"),
    ("chaos", "tests/chaos/src"),
    ("chaos", "tests/chaos/tests"),
    ("boot", "tests/boot"),
];

/// A test by its package and its name, modules included.
#[derive(Debug)]
struct Test {
    package: &'static str,
    name: String,
}

impl Test {
    /// Its function's name.
    fn function(&self) -> &str {
        self.name.rsplit("::").next().unwrap_or_default()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).expect("the page")
}

fn tests() -> Vec<Test> {
    let mut found = Vec::new();
    for (package, folder) in SOURCES {
        gather(&root().join(folder), package, "", &mut found);
    }
    assert!(found.len() > 500, "{} tests", found.len());
    found
}

/// All tests below a folder; `module` is what stands before their names.
fn gather(folder: &Path, package: &'static str, module: &str, found: &mut Vec<Test>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let inner = if ["lib", "main", "mod"].contains(&stem.as_str()) {
            module.to_owned()
        } else {
            format!("{module}{stem}::")
        };
        if path.is_dir() {
            gather(&path, package, &inner, found);
            continue;
        }
        let functions = match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => tests_in(&read(&path)),
            Some("py") => scenarios_in(&read(&path)),
            _ => continue,
        };
        found.extend(
            functions
                .into_iter()
                .map(|function| Test { package, name: format!("{inner}{function}") }),
        );
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a source file")
}

/// The functions that an attribute makes tests.
fn tests_in(text: &str) -> Vec<String> {
    let mut is_test = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) =
            line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))
            && std::mem::take(&mut is_test)
        {
            found.extend(rest.split('(').next().map(str::to_owned));
        }
    }
    found
}

fn scenarios_in(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| Some(line.strip_prefix("def ")?.split('(').next()?.to_owned()))
        .collect()
}

/// What stands between backquotes.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of a page's tables, without their heads, each in its cells.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_row = |line: &str| line.starts_with('|') && !line.starts_with("|---");
    (0..lines.len())
        .filter(|at| {
            is_row(lines[*at]) && lines.get(at + 1).is_none_or(|next| !next.starts_with("|---"))
        })
        .map(|at| lines[at].trim_matches('|').split(" | ").map(str::trim).collect())
        .collect::<Vec<_>>()
        .into_iter()
}

fn is_test_name(word: &str) -> bool {
    word.len() > 20 && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Catches: a row whose test was renamed or removed, and which promises what nothing shows any
/// more.
#[test]
fn every_test_that_the_pages_on_faults_and_threats_name_exists() {
    let tests = tests();
    let known: BTreeSet<&str> = tests.iter().map(Test::function).collect();
    for (name, least) in [("agent-faults.md", 50), ("security.md", 15)] {
        let text = page(name);
        let named: Vec<&str> = code(&text).filter(|word| is_test_name(word)).collect();
        assert!(named.len() > least, "{name}: {}", named.len());
        let missing: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}

/// Catches: a fault or a threat that somebody wrote down with nothing to show what is said of it.
#[test]
fn every_fault_and_every_threat_has_its_test_or_says_that_nothing_holds_it() {
    let (faults, threats) = (page("agent-faults.md"), page("security.md"));
    let untested: Vec<_> = rows(&faults).filter(|row| !row[2].contains('`')).collect();
    assert!(untested.is_empty(), "{untested:#?}");
    let unheld = |row: &Vec<&str>| row.get(2).is_none_or(|shown| !shown.contains('`'));
    let untold: Vec<_> =
        rows(&threats).filter(|row| unheld(row) && !row[1].contains("nothing")).collect();
    assert!(untold.is_empty(), "{untold:#?}");
    assert!(rows(&faults).count() > 60 && rows(&threats).count() > 20);
    for script in code(&threats).filter(|code| code.ends_with(".py") || code.ends_with(".sh")) {
        assert!(root().join(script).exists(), "security.md: {script} isn't there");
    }
}

/// Catches: a promise whose command selects no test any more, so that it passes for ever.
#[test]
fn every_command_that_the_pages_name_has_something_to_run() {
    let tests = tests();
    let makefile = read(&root().join("Makefile"));
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("docs")).expect("docs/") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if !name.ends_with(".md") {
            continue;
        }
        for command in code(&page(&name)) {
            if let Some(arguments) = command.strip_prefix("cargo nextest run ") {
                selects(arguments, &tests)
                    .unwrap_or_else(|word| panic!("{name}: `{command}`: {word} is no test"));
                seen += 1;
            } else if let Some(target) =
                command.strip_prefix("make ").and_then(|rest| rest.split_whitespace().next())
            {
                assert!(makefile.contains(&format!("\n{target}:")), "{name}: `{command}`");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen} commands");
}

/// Whether each word selects a test of the package, as nextest would. Words in capitals stand for a
/// test's name.
fn selects<'a>(arguments: &'a str, tests: &[Test]) -> Result<(), &'a str> {
    let (mut package, mut words) = (None, Vec::new());
    let mut arguments = arguments.split(' ');
    while let Some(word) = arguments.next() {
        match word {
            "-p" => package = arguments.next(),
            "--test" => drop(arguments.next()),
            word if word.bytes().all(|b| b.is_ascii_uppercase()) => {}
            word => words.push(word),
        }
    }
    let of_package = |test: &&Test| package.is_none_or(|package| test.package == package);
    let is_there =
        |word: &str| tests.iter().filter(of_package).any(|test| test.name.contains(word));
    match words.into_iter().find(|word| !is_there(word)) {
        Some(word) => Err(word),
        None if is_there("") => Ok(()),
        None => Err(package.unwrap_or_default()),
    }
}

/// Catches: a promise of the product without a line of its own.
#[test]
fn each_promise_has_its_line_with_a_command() {
    let text = page("promises.md");
    for number in 1..=6 {
        let begins = format!("**{number}. ");
        let line =
            rows(&text).find(|row| row[0].starts_with(&begins)).expect("a line for each promise");
        assert!(line.len() == 3 && line[1].contains('`') && !line[2].is_empty(), "{line:?}");
    }
}

/// The number before a word in what the row whose command is this one says was printed.
fn figure(promises: &str, command: &str, word: &str) -> usize {
    let row = rows(promises).find(|row| row[1].contains(command)).expect("the promise");
    let before = row[2].split(word).next().expect("the figure");
    before.split_whitespace().next_back().and_then(|number| number.parse().ok()).expect("a number")
}

/// Catches: figures of what is there that nobody changed when more came, or some went.
#[test]
fn what_the_promises_count_is_as_many_as_there_are() {
    let promises = page("promises.md");
    let boots = read(&root().join("tests/boot/scenarios.py"));
    let (functions, all) = boots.split_once("\nALL = {").expect("the scenarios");
    let scenarios = scenarios_in(functions)
        .into_iter()
        .filter(|name| all.contains(&format!("\n    {name},")))
        .count();
    assert_eq!(figure(&promises, "`make boot`", " scenarios"), scenarios, "scenarios of make boot");
    let checks = read(&root().join("tests/peers/peers.py")).matches("\": Check(").count();
    assert_eq!(figure(&promises, "`make peers`", " checks"), checks, "checks of make peers");
    let causes: BTreeSet<String> = rows(&page("troubleshooting.md"))
        .filter_map(|row| row[0].starts_with('`').then(|| row[0].to_owned()))
        .collect();
    assert_eq!(
        figure(&promises, " doctor diagnosis`", " causes"),
        causes.len(),
        "causes that doctor finds"
    );
}
