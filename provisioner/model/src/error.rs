//! What can go wrong, as people read it: what failed, on which resource, AWS's code and request id,
//! what to do next.
//!
//! There is one [`Error`], told apart by its [`ErrorKind`]. A failed call to AWS is the cause of an
//! error of kind [`ErrorKind::Aws`]; `aws/classify.rs` is the only place that makes one of an SDK's
//! error.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

mod aws;

pub use aws::{AwsError, AwsErrorKind};

use crate::text::human;

/// A result with this program's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command ended without success.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    next: String,
    detail: Detail,
}

/// The kinds of errors that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// spotblock.toml or the flags break rules; each problem is a line of its own.
    Settings,
    /// The command can't be done as asked.
    Usage,
    /// A file could not be read or written.
    File,
    /// A call to AWS failed.
    Aws,
    /// Something in AWS is in a state that this program can't or must not change.
    State,
    /// AWS refuses to sell the capacity, or has none.
    Capacity,
    /// A bounded wait came to its end.
    TimedOut,
    /// Something failed, and the rest was done all the same.
    Unfinished,
    /// Ctrl-C.
    Interrupted,
}

/// What some kinds of errors have besides.
#[derive(Debug)]
enum Detail {
    None,
    File(std::io::Error),
    Aws(Box<AwsError>),
    Wait { limit: Duration, last: String },
    Failures(Vec<Error>),
}

impl Error {
    fn new(kind: ErrorKind, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { kind, what: what.into(), next: next.into(), detail: Detail::None }
    }

    /// Of spotblock.toml and the flags: every problem that there is.
    #[must_use]
    pub fn settings(problems: &[String]) -> Self {
        Self::new(ErrorKind::Settings, problems.join("\n"), "")
    }

    /// Of a command that can't be done as asked: what is wrong, and what to do.
    pub fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, what, next)
    }

    /// Of a file: what was tried, with the file's name, and why it failed.
    pub fn file(what: impl Into<String>, source: std::io::Error) -> Self {
        let next = "check that the file is there and that you may read or write it";
        Self { detail: Detail::File(source), ..Self::new(ErrorKind::File, what, next) }
    }

    /// Of something in AWS that this program can't or must not change: what it is, and what to do.
    pub fn state(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(ErrorKind::State, what, next)
    }

    /// Of capacity that AWS refuses to sell or doesn't have: what was refused, AWS's answer where
    /// one call was refused, and what to do.
    pub fn capacity(
        what: impl Into<String>,
        source: Option<Box<AwsError>>,
        next: impl Into<String>,
    ) -> Self {
        let detail = source.map_or(Detail::None, Detail::Aws);
        Self { detail, ..Self::new(ErrorKind::Capacity, what, next) }
    }

    /// Of a bounded wait that came to its end: what was waited for, the bound, what was seen last,
    /// and what to do.
    pub fn timed_out(
        what: impl Into<String>,
        limit: Duration,
        last: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        let detail = Detail::Wait { limit, last: last.into() };
        Self { detail, ..Self::new(ErrorKind::TimedOut, what, next) }
    }

    /// Of something that failed while the rest was done all the same: the failures, what may be
    /// left, and what to do.
    pub fn unfinished(
        failures: Vec<Self>,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        let detail = Detail::Failures(failures);
        Self { detail, ..Self::new(ErrorKind::Unfinished, what, next) }
    }

    /// Of Ctrl-C: how to go on.
    pub fn interrupted(next: impl Into<String>) -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted", next)
    }

    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The failed call to AWS that is this error; none where a call is the cause of something else.
    #[must_use]
    pub fn aws(&self) -> Option<&AwsError> {
        match (&self.detail, self.kind) {
            (Detail::Aws(failure), ErrorKind::Aws) => Some(failure),
            _ => None,
        }
    }

    /// The failed call to AWS that is this error.
    ///
    /// # Errors
    /// The error itself where it is none.
    pub fn into_aws(self) -> std::result::Result<Box<AwsError>, Self> {
        match (self.detail, self.kind) {
            (Detail::Aws(failure), ErrorKind::Aws) => Ok(failure),
            (detail, kind) => Err(Self { kind, what: self.what, next: self.next, detail }),
        }
    }

    /// What a wait saw last that came to its end.
    #[must_use]
    pub fn last_seen(&self) -> Option<&str> {
        match &self.detail {
            Detail::Wait { last, .. } => Some(last),
            _ => None,
        }
    }

    /// What failed while the rest was done.
    #[must_use]
    pub fn failures(&self) -> &[Self] {
        match &self.detail {
            Detail::Failures(failures) => failures,
            _ => &[],
        }
    }

    /// Whether this is a failed call to AWS of this kind.
    #[must_use]
    pub fn is_aws(&self, kind: AwsErrorKind) -> bool {
        self.aws().is_some_and(|failure| failure.kind == kind)
    }

    /// Whether every other call would fail like this one: it says something about the caller, not
    /// about the call.
    #[must_use]
    pub fn is_about_the_caller(&self) -> bool {
        self.aws().is_some_and(|failure| failure.kind.is_about_the_caller())
    }

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.aws().is_some_and(AwsError::is_transient)
    }

    /// The exit code, as the README lists them.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Settings | ErrorKind::Usage => 2,
            ErrorKind::File | ErrorKind::Aws | ErrorKind::State => 1,
            ErrorKind::Capacity => 3,
            ErrorKind::TimedOut => 4,
            ErrorKind::Interrupted => 130,
            ErrorKind::Unfinished => self.failures().first().map_or(1, Self::exit_code),
        }
    }

    /// What to do next; empty when the error says it itself.
    #[must_use]
    pub fn next(&self) -> String {
        self.aws().map_or_else(|| self.next.clone(), AwsError::next)
    }

    /// The same error with another advice.
    #[must_use]
    pub fn with_next(self, next: impl Into<String>) -> Self {
        Self { next: next.into(), ..self }
    }
}

impl From<Box<AwsError>> for Error {
    fn from(failure: Box<AwsError>) -> Self {
        Self { detail: Detail::Aws(failure), ..Self::new(ErrorKind::Aws, "", "") }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.detail, self.kind) {
            (Detail::Aws(failure), ErrorKind::Aws) => failure.fmt(f),
            (Detail::Wait { limit, .. }, _) => {
                write!(f, "{}: not within {}", self.what, human(*limit))
            }
            _ => f.write_str(&self.what),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match (&self.detail, self.kind) {
            (Detail::File(source), _) => Some(source),
            (Detail::Aws(failure), ErrorKind::Capacity) => Some(failure),
            _ => None,
        }
    }
}
