//! One file a command. Each gets a [`Session`] and prints its result.

use std::time::Duration;

use jiff::SignedDuration;

use crate::args::Waiting;
use crate::block::launch;
use crate::model::block::Block;
use crate::model::error::{Error, Result};
use crate::runtime::failures::Failures;
use crate::session::Session;
use crate::settings::parse_duration;

pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod drain;
pub(crate) mod env;
pub(crate) mod extend;
pub(crate) mod iam;
pub(crate) mod init;
pub(crate) mod jobs;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod reap;
pub(crate) mod request;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod template;
pub(crate) mod up;
pub(crate) mod user_data;
pub(crate) mod view;

const JOIN: SignedDuration = SignedDuration::from_mins(15);
const VALID_FOR: SignedDuration = SignedDuration::from_mins(10);

/// How to launch a block, from the flags.
///
/// # Errors
/// [`Error::settings`] when a duration is none.
pub(crate) fn launch_options(
    new: bool,
    yes_purchase: bool,
    waiting: &Waiting,
) -> Result<launch::Options> {
    let read = |flag: &str, given: &Option<String>, default: SignedDuration| match given {
        None => Ok(default),
        Some(text) => {
            parse_duration(text).map_err(|problem| Error::settings(&[format!("{flag}: {problem}")]))
        }
    };
    let join = read("--timeout", &waiting.timeout, JOIN)?;
    let valid_for = read("--valid-for", &waiting.valid_for, VALID_FOR)?;
    Ok(launch::Options { new, join: join.unsigned_abs(), valid_for, yes_purchase })
}

/// The blocks that a command is for: this one, or all.
///
/// # Errors
/// [`Error::usage`] when there is no such block.
pub(crate) fn chosen<'a>(
    session: &Session<'_>,
    blocks: &'a [Block],
    id: Option<&str>,
) -> Result<Vec<&'a Block>> {
    let chosen: Vec<&Block> = blocks.iter().filter(|it| id.is_none_or(|id| it.id == id)).collect();
    match id {
        Some(id) if chosen.is_empty() => Err(Error::usage(
            format!("environment {} has no block {id}", session.environment()),
            "see `spotblock status` for those it has",
        )),
        _ => Ok(chosen),
    }
}

/// The same out of what could be seen: where something couldn't be read, a block that isn't among
/// them is one of which only that may know, and no mistake.
///
/// # Errors
/// As [`chosen`].
pub(crate) fn chosen_of_seen<'a>(
    session: &Session<'_>,
    seen: &'a [Block],
    id: Option<&str>,
    failures: &Failures,
) -> Result<Vec<&'a Block>> {
    match chosen(session, seen, id) {
        Err(_) if !failures.is_empty() => Ok(Vec::new()),
        chosen => chosen,
    }
}

/// A flag's duration.
///
/// # Errors
/// [`Error::settings`] when it is none.
pub(crate) fn limit(flag: &str, given: Option<&str>, default: Duration) -> Result<Duration> {
    let Some(text) = given else { return Ok(default) };
    let parsed =
        parse_duration(text).map_err(|problem| Error::settings(&[format!("{flag}: {problem}")]))?;
    Ok(parsed.unsigned_abs())
}

/// Says what settings allow but may surprise.
pub(crate) fn warn(session: &Session<'_>) {
    for warning in &session.settings.warnings {
        session.ui.warn(warning);
    }
}
