//! `spotblock init`: a commented spotblock.toml to start from.

use std::path::Path;

use crate::args;
use crate::error::{Error, Result};
use crate::ui::Ui;

/// The file.
pub(crate) const TEMPLATE: &str = include_str!("init/spotblock.toml");

/// Writes it.
///
/// # Errors
/// When there is one already, unless forced; when it can't be written.
pub fn run(ui: &Ui, path: &Path, args: &args::Init) -> Result<u8> {
    let write = |path: &Path| {
        if args.force {
            return std::fs::write(path, TEMPLATE);
        }
        use std::io::Write as _;
        std::fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(TEMPLATE.as_bytes())
    };
    match write(path) {
        Ok(()) => {
            ui.say(format_args!(
                "wrote {}: fill in subnet, security group and job definition, then run `spotblock plan`",
                path.display()
            ));
            Ok(0)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Usage {
            what: format!("{} is there already", path.display()),
            next: "give another name with --config, or --force to overwrite it".to_owned(),
        }),
        Err(source) => Err(Error::File { what: format!("writing {}", path.display()), source }),
    }
}
