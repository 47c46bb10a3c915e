//! How each call of ECS ends, for the status line: an operation that fails is named there until it
//! succeeds. Expired or missing credentials and denied requests look like a drain that takes long
//! otherwise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::lifecycle::{ExtensionAnswer, InstanceStatus, Outcome, Registration, Survey};
use crate::ports::{Answer, Cluster, ClusterError};

/// The most characters of a failure that a status line takes.
const LONGEST: usize = 160;

/// The operations that fail, by their names.
#[derive(Debug, Default)]
pub(super) struct FailingCalls(Mutex<BTreeMap<&'static str, String>>);

impl FailingCalls {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worst of them in words; empty when nothing fails. What is refused for good comes before
    /// what may pass.
    pub(super) fn words(&self) -> String {
        let failing = self.lock();
        let refused = failing.values().find(|words| words.contains(" is refused: "));
        refused.or_else(|| failing.values().next()).cloned().unwrap_or_default()
    }

    fn note_outcome<T>(
        &self,
        call: &'static str,
        answer: Result<T, ClusterError>,
    ) -> Result<T, ClusterError> {
        match &answer {
            Ok(_) => drop(self.lock().remove(call)),
            Err(error) => {
                let how = if error.outcome == Outcome::Refused { "is refused" } else { "fails" };
                let problem: String = error.problem.chars().take(LONGEST).collect();
                self.lock().insert(call, format!("ECS {} {how}: {problem}", error.operation));
            }
        }
        answer
    }
}

/// ECS, with the outcome of each call noted.
pub(super) struct ObservedCluster {
    pub(super) inner: Arc<dyn Cluster>,
    pub(super) failing: Arc<FailingCalls>,
}

impl Cluster for ObservedCluster {
    fn drain<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async { self.failing.note_outcome("drain", self.inner.drain(of).await) })
    }

    fn answer_extension<'a>(
        &'a self,
        answer: &'a ExtensionAnswer,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            self.failing.note_outcome("answer", self.inner.answer_extension(answer).await)
        })
    }

    fn status<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async { self.failing.note_outcome("status", self.inner.status(of).await) })
    }

    fn survey<'a>(
        &'a self,
        of: &'a Registration,
        tasks: &'a [String],
    ) -> Answer<'a, Result<Survey, ClusterError>> {
        Box::pin(async { self.failing.note_outcome("survey", self.inner.survey(of, tasks).await) })
    }

    fn stop_task<'a>(
        &'a self,
        of: &'a Registration,
        task: &'a str,
        reason: &'a str,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            self.failing.note_outcome("stop", self.inner.stop_task(of, task, reason).await)
        })
    }

    fn find(&self) -> Answer<'_, Result<Option<Registration>, ClusterError>> {
        Box::pin(async { self.failing.note_outcome("find", self.inner.find().await) })
    }

    fn deregister<'a>(&'a self, of: &'a Registration) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async { self.failing.note_outcome("deregister", self.inner.deregister(of).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(operation: &'static str, outcome: Outcome) -> Result<(), ClusterError> {
        Err(ClusterError { operation, object: "o".into(), problem: "x".repeat(500), outcome })
    }

    #[test]
    fn what_is_refused_is_told_first_and_what_works_again_is_not_told_any_more() {
        let failing = FailingCalls::default();
        assert_eq!(failing.words(), "");
        let _ = failing.note_outcome("drain", failed("Update", Outcome::Retry));
        assert!(
            failing.words().starts_with("ECS Update fails: xxx") && failing.words().len() < 200
        );
        let _ = failing.note_outcome("stop", failed("StopTask", Outcome::Refused));
        assert!(failing.words().starts_with("ECS StopTask is refused: xxx"), "{}", failing.words());
        let _ = failing.note_outcome("stop", Ok(()));
        let _ = failing.note_outcome("drain", Ok(()));
        assert_eq!(failing.words(), "");
    }
}
