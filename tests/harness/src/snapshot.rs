//! Texts that are held against a file.

use std::path::Path;

/// Holds a text against this file. `make snapshots` writes the file anew.
///
/// # Panics
/// When the text is not as it was.
#[expect(clippy::disallowed_methods, reason = "said to the test, not to the program")]
pub fn snapshot(path: &Path, text: &str) {
    if std::env::var_os("SPOTBLOCK_WRITE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let wanted = std::fs::read_to_string(path).unwrap_or_default();
    let shown = path.display();
    assert!(
        wanted == text,
        "{shown} is not as it was; if it should change: `make snapshots`, then look at the diff\n\
         {text}"
    );
}
