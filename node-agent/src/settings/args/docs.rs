//! Whether the agent's commands in README.md and docs/ are there as they are written.

use clap::Parser as _;
use clap::error::ErrorKind;

use super::Args;

#[path = "../../../../tests/docs/commands.rs"]
mod commands;

/// Catches: a page that tells of a command or flag that isn't there any more.
#[test]
fn every_command_in_the_documents_is_one() {
    let lines = commands::of("spotblock-agent");
    assert!(lines.len() > 8, "{lines:?}");
    for line in lines {
        let Err(error) = Args::try_parse_from(&line.words) else { continue };
        // A drawing has the program's name alone, too.
        let only_named = line.named || line.words.len() == 1;
        let fine =
            only_named && error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        assert!(
            fine || matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion),
            "{}\n{error}",
            line.place
        );
    }
}
