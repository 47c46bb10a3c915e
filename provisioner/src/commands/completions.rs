//! `spotblock completions` and `spotblock man`: made from the command line itself, so they can't
//! differ from it.

use std::path::Path;

use clap::Command;
use clap_complete::{Shell as Generator, generate};
use clap_mangen::Man;

use crate::args::{self, Shell};
use crate::model::error::{Error, Result};
use crate::terminal::Ui;

/// Prints the completions of a shell.
///
/// # Errors
/// When stdout can't be written.
pub(crate) fn completions(ui: &Ui, shell: Shell) -> Result<u8> {
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
pub(crate) fn man(ui: &Ui, folder: Option<&Path>) -> Result<u8> {
    let mut whole = args::command().disable_help_subcommand(true);
    whole.build();
    let Some(folder) = folder else {
        let failed = |source| Error::file("making the man page", source);
        ui.print(&page(&Man::new(whole)).map_err(failed)?)?;
        return Ok(0);
    };
    let failed =
        |source| Error::file(format!("writing man pages into {}", folder.display()), source);
    std::fs::create_dir_all(folder).and_then(|()| write_pages(&whole, folder)).map_err(failed)?;
    ui.say(format_args!("wrote the man pages into {}", folder.display()));
    Ok(0)
}

fn write_pages(command: &Command, folder: &Path) -> std::io::Result<()> {
    let man = Man::new(command.clone());
    std::fs::write(folder.join(man.get_filename()), page(&man)?)?;
    command.get_subcommands().try_for_each(|child| write_pages(child, folder))
}

fn page(man: &Man) -> std::io::Result<String> {
    let mut text = Vec::new();
    man.render(&mut text)?;
    Ok(as_written(&String::from_utf8_lossy(&text)))
}

/// What stands behind the options, line by line: `man` would fill examples up to a paragraph.
fn as_written(page: &str) -> String {
    const EXTRA: &str = ".SH EXTRA\n";
    let Some((before, extra)) = page.split_once(EXTRA) else { return page.to_owned() };
    let (lines, behind) = extra
        .split_once(".SH ")
        .map_or((extra, String::new()), |(lines, behind)| (lines, format!(".SH {behind}")));
    let (title, lines) = match lines.strip_prefix("Examples:\n") {
        Some(lines) => ("EXAMPLES", lines),
        None => ("NOTES", lines),
    };
    format!("{before}.SH {title}\n.nf\n{}\n.fi\n{behind}", lines.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: examples that `man` runs together, with their remarks in the middle of the next
    /// command.
    #[test]
    fn examples_keep_their_lines() {
        let mut whole = args::command();
        whole.build();
        let up = whole.find_subcommand("up").cloned().expect("a command");
        let text = page(&Man::new(up)).expect("a page");
        let examples = text.split(".SH EXAMPLES\n.nf\n").nth(1).expect("a section");
        assert!(examples.starts_with("  spotblock up  "), "{examples}");
        assert!(examples.contains("\n.fi\n.SH VERSION\n") && !text.contains("EXTRA"), "{examples}");
    }
}
