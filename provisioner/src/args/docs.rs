//! Whether the commands in README.md and docs/ are there as they are written.

use clap::error::ErrorKind;

use super::command;

#[path = "../../../tests/docs/commands.rs"]
mod commands;

/// Catches: a page that tells of a command or flag that isn't there any more.
#[test]
fn every_command_in_the_documents_is_one() {
    let lines = commands::of("spotblock");
    assert!(lines.len() > 100, "{lines:?}");
    for line in lines {
        let Err(error) = command().try_get_matches_from(&line.words) else { continue };
        let only_named = [
            ErrorKind::MissingRequiredArgument,
            ErrorKind::MissingSubcommand,
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ];
        let fine = line.named && only_named.contains(&error.kind());
        assert!(
            fine || matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion),
            "{}\n{error}",
            line.place
        );
    }
}
