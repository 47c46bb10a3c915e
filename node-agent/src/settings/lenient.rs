//! A settings file that may be wrong in parts. On the host itself an agent that ends over a typing
//! error would be started again for ever, and its host outlive the block but for the power-off
//! timer: so what is right in the file holds, in the place of what is wrong there is the default,
//! and it is told wherever somebody may look.

use std::path::Path;

use toml::{Table, Value};

use super::args::RunArgs;
use super::{Environment, Settings, SettingsError, validate};
use crate::ports::error_chain;

/// How many things that are wrong are told one by one.
const TOLD: usize = 8;

/// Reads one table of settings, as if it were all there is.
struct Reader<'a> {
    path: &'a Path,
    args: &'a RunArgs,
    environment: &'a Environment,
    wrong: Vec<String>,
}

/// The settings that hold, and what is wrong with the others.
///
/// # Errors
/// None that follow from the text: what is left when all that is wrong was taken out is right.
pub(super) fn settings(
    text: &str,
    path: &Path,
    args: &RunArgs,
    environment: &Environment,
) -> Result<Settings, SettingsError> {
    let mut reader = Reader { path, args, environment, wrong: Vec::new() };
    let table = toml::from_str(text).unwrap_or_else(|error| {
        reader.wrong.push(no_toml(text, path, &error));
        Table::new()
    });
    let mut right = reader.right_of(table);
    if let Err(error) = reader.read("", &right) {
        // Each is right by itself, so it is the two that exclude each other.
        reader.wrong.push(error_chain(&error));
        right.retain(|key, _| key != "block" && key != "node-config");
    }
    let settings = reader.read("", &right)?;
    Ok(Settings { wrong: told(reader.wrong), ..settings })
}

impl Reader<'_> {
    fn right_of(&mut self, table: Table) -> Table {
        let mut right = Table::new();
        for (key, value) in table {
            match value {
                // Each command is right or wrong by itself.
                Value::Table(mut commands) if key == "commands" => {
                    commands.retain(|name, command| {
                        let alone = one("commands", Value::Table(one(name, command.clone())));
                        self.is_right(&format!("commands.{name}"), &alone)
                    });
                    right.insert(key, Value::Table(commands));
                }
                value if self.is_right(&key, &one(&key, value.clone())) => {
                    drop(right.insert(key, value))
                }
                _ => {}
            }
        }
        right
    }

    /// Whether a table is right where it is all there is. If not, that is noted.
    fn is_right(&mut self, key: &str, table: &Table) -> bool {
        match self.read(key, table) {
            Ok(_) => true,
            Err(error) => {
                self.wrong.push(error_chain(&error));
                false
            }
        }
    }

    fn read(&self, key: &str, table: &Table) -> Result<Settings, SettingsError> {
        // By way of JSON, as the block's settings are read: a second way would cost the program a
        // tenth of a megabyte.
        let json = serde_json::to_string(table).unwrap_or_default();
        let raw = serde_json::from_str(&json).map_err(|error| {
            let words = error.to_string();
            // Lines and columns are the JSON's.
            let problem = words
                .rsplit_once(" at line ")
                .map_or(words.as_str(), |(problem, _)| problem)
                .to_owned();
            SettingsError::Syntax { path: self.path.to_owned(), key: key.to_owned(), problem }
        })?;
        validate(raw, self.path, self.args, self.environment.clone())
    }
}

fn one(key: &str, value: Value) -> Table {
    Table::from_iter([(key.to_owned(), value)])
}

/// In one line, without the text that it is about.
fn no_toml(text: &str, path: &Path, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("{}: line {line}: {}; nothing in it is used", path.display(), error.message())
}

/// A few of them in words; of more, how many.
fn told(mut wrong: Vec<String>) -> Vec<String> {
    // A parser's words may go over several lines; a status is one.
    wrong
        .iter_mut()
        .for_each(|words| *words = words.split_whitespace().collect::<Vec<_>>().join(" "));
    let more = wrong.len().saturating_sub(TOLD);
    if more > 0 {
        wrong.truncate(TOLD);
        wrong.push(format!("and {more} more"));
    }
    wrong
}
