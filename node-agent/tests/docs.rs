//! The pages on faults and threats against the tests.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of all functions in the Rust and Python files below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if let Some(keyword) = keyword(&path) {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let names = text.split(keyword).skip(1).filter_map(|rest| rest.split('(').next());
            found.extend(names.map(str::to_owned));
        }
    }
}

/// What a function begins with in this file, where it is source.
fn keyword(path: &Path) -> Option<&'static str> {
    match path.extension()?.to_str()? {
        "rs" => Some("fn "),
        "py" => Some("def "),
        _ => None,
    }
}

/// Catches: a row whose test was renamed or removed, and which promises what nothing shows any more.
#[test]
fn every_test_that_the_pages_on_faults_and_threats_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    for folder in ["src", "../tests/e2e/tests", "../provisioner/src", "../tests/boot"] {
        functions(&root.join(folder), &mut known);
    }
    let is_test = |word: &&str| word.len() > 20 && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    for (page, least) in [("agent-faults.md", 50), ("security.md", 15)] {
        let text = std::fs::read_to_string(root.join("../docs").join(page)).expect("the page");
        let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_test).collect();
        assert!(named.len() > least, "{page}: {}", named.len());
        let missing: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(missing.is_empty(), "{page}: {missing:?}");
    }
}
