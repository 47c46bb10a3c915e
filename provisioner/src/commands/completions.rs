//! `spotblock completions` and `spotblock man`: made from the command line itself, so they can't differ from it.

use std::path::Path;

use clap_complete::{Shell as Generator, generate};
use clap_mangen::Man;

use crate::args::{self, Shell};
use crate::error::{Error, Result};
use crate::ui::Ui;

/// Prints the completions of a shell.
///
/// # Errors
/// When stdout can't be written.
pub fn completions(ui: &Ui, shell: Shell) -> Result<u8> {
    let generator = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut text = Vec::new();
    generate(generator, &mut args::command(), "spotblock", &mut text);
    ui.print(&String::from_utf8_lossy(&text))?;
    Ok(0)
}

/// Prints the main man page, or writes one for each command.
///
/// # Errors
/// When stdout or a file can't be written.
pub fn man(ui: &Ui, folder: Option<&Path>) -> Result<u8> {
    let Some(folder) = folder else {
        let mut text = Vec::new();
        let failed = |source| Error::File { what: "making the man page".to_owned(), source };
        Man::new(args::command()).render(&mut text).map_err(failed)?;
        ui.print(&String::from_utf8_lossy(&text))?;
        return Ok(0);
    };
    let failed = |source| Error::File { what: format!("writing man pages into {}", folder.display()), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(args::command().disable_help_subcommand(true), folder).map_err(failed)?;
    ui.say(format_args!("wrote the man pages into {}", folder.display()));
    Ok(0)
}
