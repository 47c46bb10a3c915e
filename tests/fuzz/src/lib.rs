//! A fuzzer for parsers of foreign input: it takes the files of a corpus, breaks them in ways that
//! parsers dislike, and hands them to a check. The same runs give the same inputs; what broke a
//! check is kept for a look, and belongs into the corpus.
//!
//! `make fuzz RUNS=1000000` runs all of them for longer than `make test` does.

mod mutate;

use std::path::{Path, PathBuf};

use fastrand::Rng;

/// No input is longer: whatever is read here has a limit of its own at its edge.
const LONGEST: usize = 64 * 1024;

/// By how many bytes the process may grow.
const GROWTH: u64 = 256 << 20;

/// Hands each file of `corpus/<target>` to the check, and then at least `runs` mutations of them.
///
/// # Panics
/// The corpus can't be read or the process grew beyond all need. When the check panics, its input
/// is written below `target/fuzz` first.
pub fn run(target: &str, runs: u32, mut check: impl FnMut(&[u8])) {
    let entries = corpus(target);
    let before = peak();
    for (name, bytes) in &entries {
        let _kept = Kept { target, name: name.clone(), bytes };
        check(bytes);
    }
    for run in 0..runs.max(asked_for()) {
        let bytes = mutant(target, run, &entries);
        let _kept = Kept { target, name: run.to_string(), bytes: &bytes };
        check(&bytes);
    }
    let grown = peak().saturating_sub(before);
    assert!(grown < GROWTH, "{target}: the process grew by {grown} bytes");
}

/// How many runs `make fuzz` asks for.
fn asked_for() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a test has no other way to be told")]
    let asked = std::env::var("SPOTBLOCK_FUZZ_RUNS");
    asked.ok().and_then(|runs| runs.parse().ok()).unwrap_or_default()
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("corpus").join(target);
    let files =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut entries: Vec<_> = files
        .map(|file| {
            let path = file.expect("a file").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("its bytes"))
        })
        .collect();
    entries.sort();
    assert!(!entries.is_empty(), "{} holds nothing", folder.display());
    entries
}

fn mutant(target: &str, run: u32, entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let seed = target
        .bytes()
        .fold(u64::from(run), |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = Rng::with_seed(seed);
    let mut bytes = entries[random.usize(..entries.len())].1.clone();
    let other = &entries[random.usize(..entries.len())].1;
    for _ in 0..random.u32(1..=4) {
        mutate::once(&mut bytes, other, &mut random);
        bytes.truncate(LONGEST);
    }
    bytes
}

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
}

/// An input that is written down if its check panics.
struct Kept<'a> {
    target: &'a str,
    name: String,
    bytes: &'a [u8],
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path: PathBuf =
                folder().join("../../target/fuzz").join(format!("{}-{}", self.target, self.name));
            let written = path
                .parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| std::fs::write(&path, self.bytes));
            let told = format!(
                "{}: {}",
                path.display(),
                written.map_or_else(|error| error.to_string(), |()| "the input".into())
            );
            #[expect(clippy::print_stderr, reason = "it is for whoever reads the test's output")]
            {
                eprintln!("{told}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Catches: a fuzzer that tries the same again and again, or whose failures nobody could
    /// repeat.
    #[test]
    fn the_same_run_gives_the_same_input_and_most_runs_differ() {
        let entries = vec![
            ("a".to_owned(), br#"{"key": [1, "text"]}"#.to_vec()),
            ("b".to_owned(), b"x = 1\n".to_vec()),
        ];
        let all: BTreeSet<_> = (0..1000).map(|run| mutant("t", run, &entries)).collect();
        assert!(all.len() > 700, "{}", all.len());
        assert_eq!(mutant("t", 7, &entries), mutant("t", 7, &entries));
        assert!(all.iter().all(|bytes| bytes.len() <= LONGEST));
        assert!(all.iter().any(|bytes| std::str::from_utf8(bytes).is_err()), "never broken UTF-8");
    }

    #[test]
    fn every_corpus_is_handed_over_unbroken_first() {
        for target in std::fs::read_dir(folder().join("corpus")).expect("corpora") {
            let target = target.expect("a folder").file_name().to_string_lossy().into_owned();
            let mut seen = Vec::new();
            run(&target, 1, |bytes| seen.push(bytes.to_vec()));
            assert!(corpus(&target).iter().all(|(_, bytes)| seen.contains(bytes)), "{target}");
        }
    }
}
