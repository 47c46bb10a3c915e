//! What went wrong while the rest went on. Of what ends things, one call that AWS denies must keep
//! nothing else alive: the failure is noted, what else there is is ended, and then the run fails
//! with it.

use std::collections::BTreeSet;

use crate::model::error::{Error, Result};
use crate::terminal::Ui;

/// What went wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    failed: Vec<Error>,
    left: BTreeSet<String>,
}

impl Failures {
    /// Notes a failure, each call's once, and what may be left by it. The user is told at once, for
    /// what follows can take minutes.
    ///
    /// # Errors
    /// The failure itself, where every other call would fail like it.
    pub(crate) fn note(&mut self, ui: &Ui, error: Error, left: impl Into<String>) -> Result<()> {
        if error.is_about_the_caller() {
            return Err(error);
        }
        self.left.insert(left.into());
        if !self.failed.iter().any(|known| is_same(known, &error)) {
            ui.warn(format_args!("going on without this: {error}"));
            self.failed.push(error);
        }
        Ok(())
    }

    /// What a step gave; none where it failed, which is noted.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub(crate) fn ok_or_note<T>(
        &mut self,
        ui: &Ui,
        result: Result<T>,
        left: impl Into<String>,
    ) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => self.note(ui, error, left).map(|()| None),
        }
    }

    /// Notes several failures, each with what may be left by it.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub(crate) fn note_all<T: Into<String>>(
        &mut self,
        ui: &Ui,
        failures: impl IntoIterator<Item = (T, Error)>,
    ) -> Result<()> {
        failures.into_iter().try_for_each(|(left, error)| self.note(ui, error, left))
    }

    /// Notes more of what may be left by a failure.
    pub(crate) fn may_be_left(&mut self, what: String) {
        self.left.insert(what);
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }

    /// The end of the run.
    ///
    /// # Errors
    /// [`Error::unfinished`] when something went wrong.
    pub(crate) fn into_result(self, next: &str) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        let left: Vec<String> = self.left.into_iter().collect();
        Err(Error::unfinished(
            self.failed,
            format!(
                "not everything could be looked at and ended. There may be left: {}",
                left.join("; ")
            ),
            next.to_owned(),
        ))
    }
}

/// Whether it is the same call, and AWS's same answer.
fn is_same(one: &Error, other: &Error) -> bool {
    match (one.aws(), other.aws()) {
        (Some(one), Some(other)) => one.action == other.action && one.code == other.code,
        _ => one.to_string() == other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::{AwsError, AwsErrorKind};

    fn failure(action: &'static str, resource: &str, kind: AwsErrorKind) -> Error {
        let (resource, message, request_id) =
            (resource.to_owned(), String::new(), Some("r-1".to_owned()));
        Box::new(AwsError { action, resource, kind, code: Some("X".into()), message, request_id })
            .into()
    }

    /// Catches: a denial told once for each of a hundred blocks, and one that is told of nobody.
    #[test]
    fn each_calls_failure_is_told_once_and_all_that_may_be_left() {
        let (ui, mut failures) = (Ui::silent(), Failures::default());
        for (action, block) in [("ec2:A", "sb-1"), ("ec2:A", "sb-2"), ("ec2:B", "sb-1")] {
            failures
                .note(&ui, failure(action, block, AwsErrorKind::Denied), block)
                .expect("it goes on");
        }
        let error = failures.into_result("again").expect_err("it failed");
        assert_eq!(error.failures().len(), 2);
        assert!(error.to_string().ends_with("sb-1; sb-2"), "{error}");
        assert!(Failures::default().into_result("again").is_ok());
    }

    /// Catches: minutes of calls with credentials that have expired.
    #[test]
    fn what_every_call_would_meet_ends_the_run() {
        for kind in
            [AwsErrorKind::Expired, AwsErrorKind::BadCredentials, AwsErrorKind::NoCredentials]
        {
            let error = Failures::default().note(&Ui::silent(), failure("ec2:A", "x", kind), "all");
            assert!(error.expect_err("at once").is_aws(kind));
        }
    }
}
