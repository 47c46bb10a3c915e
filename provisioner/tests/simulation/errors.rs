//! Bad input and bad luck: what each says, and its exit code. docs/errors.md is this table for
//! people.

use super::Run;

mod account;
mod capacity;
mod input;
mod waits;

/// Holds a run that failed against its exit code and the parts of its message, in their order.
fn says(name: &str, run: &Run, code: u8, parts: &[&str]) {
    assert_eq!(run.code, code, "{name}: {}", run.stderr);
    let from =
        run.stderr.find("error: ").unwrap_or_else(|| panic!("{name}: no error in {}", run.stderr));
    let mut rest = &run.stderr[from..];
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| {
            panic!("{name}: {part:?} is missing (in this order) in {}", run.stderr)
        });
        rest = &rest[at + part.len()..];
    }
}
