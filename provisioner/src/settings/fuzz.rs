//! spotblock.toml, whatever stands in it.

use std::path::Path;

use super::*;

/// The longest that all problems of a file may be told in: each names a line, and a file has so
/// many.
const LONGEST: usize = 1 << 20;

/// Catches: a panic, an endless loop, and a problem without words.
#[test]
fn no_spotblock_toml_breaks_its_parser() {
    ::fuzz::run("spotblock-toml", 3000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let path = Path::new("spotblock.toml");
        match Settings::parse(path, &text, &BlockFlags::default(), Some("us-east-1")) {
            Ok(settings) => assert!(
                settings.longest_job() > SignedDuration::ZERO,
                "a block in which no job fits"
            ),
            Err(error) => {
                let told = error.to_string();
                assert!(
                    told.contains("spotblock.toml") && told.len() < LONGEST,
                    "{} bytes: {told:.300}",
                    told.len()
                );
            }
        }
    });
}
