//! How the settings travel in user data: commented lines between two markers, so that the same text
//! is a shell script that cloud-init knows how to run and a file the agent can read, alone or as
//! one part of a MIME message.

use crate::{ConfigError, NodeConfig};

/// The line before the settings.
pub const BEGIN: &str = "# --- spotblock node settings: begin ---";
/// The line after the settings.
pub const END: &str = "# --- spotblock node settings: end ---";

/// EC2's limit for user data, in bytes before base64.
pub const MAX_BYTES: usize = 16 * 1024;

/// The settings as shell comments between the markers, ending in a newline.
#[must_use]
pub fn embed(config: &NodeConfig) -> String {
    format!("{BEGIN}\n# {}\n{END}\n", config.to_json())
}

/// Finds and reads the settings in user data. Line ends may be those of MIME (CR LF).
///
/// # Errors
/// [`ConfigError::NoSettings`] when it isn't spotblock's, [`ConfigError::CutOff`] without the end
/// marker, and what [`NodeConfig::from_json`] says.
pub fn extract(user_data: &str) -> Result<NodeConfig, ConfigError> {
    let mut lines = user_data.lines().map(str::trim_end).skip_while(|line| *line != BEGIN);
    lines.next().ok_or(ConfigError::NoSettings)?;
    let mut json = String::new();
    for line in lines {
        if line == END {
            return NodeConfig::from_json(&json);
        }
        json.push_str(line.trim_start_matches('#'));
        json.push('\n');
    }
    Err(ConfigError::CutOff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NodeConfig {
        NodeConfig::from_json(include_str!("../fixtures/node-config-v1.json")).expect("the fixture")
    }

    #[test]
    fn what_is_embedded_is_extracted() {
        let script = format!("#!/bin/sh\n{}echo started\n", embed(&config()));
        assert_eq!(extract(&script).expect("a script"), config());
        let mime =
            format!("Content-Type: text/x-shellscript\n\n{script}--x--\n").replace('\n', "\r\n");
        assert_eq!(extract(&mime).expect("a MIME part"), config());
    }

    #[test]
    fn foreign_and_cut_user_data_are_told_apart() {
        assert!(matches!(extract("#!/bin/sh\necho hello\n"), Err(ConfigError::NoSettings)));
        let whole = embed(&config());
        assert!(matches!(extract(&whole[..whole.len() - END.len() - 1]), Err(ConfigError::CutOff)));
    }
}
