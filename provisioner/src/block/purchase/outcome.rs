//! What came of an attempt, and why it may have brought too little.

use crate::aws::refusal::Refusal;
use crate::model::error::{AwsError, Error, Result};

/// What AWS's answer to a purchase names as bought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bought {
    /// The ids of the instances.
    pub instances: Vec<String>,
    /// The ids of the spot requests.
    pub requests: Vec<String>,
}

/// What came of an attempt.
#[derive(Debug, Default)]
pub(crate) struct PurchaseOutcome {
    /// How many instances are there, or on their way.
    pub instances: u32,
    /// Why there are fewer than asked for.
    pub short: Option<Shortfall>,
    /// What AWS's answer named, where this run had one.
    pub bought: Bought,
}

impl PurchaseOutcome {
    /// Of an attempt that brought all that was asked for, as far as it goes.
    #[must_use]
    pub(crate) fn of(instances: u32) -> Self {
        Self { instances, ..Self::default() }
    }

    /// Of an attempt that brought no more than this.
    #[must_use]
    pub(crate) fn short(instances: u32, short: Shortfall) -> Self {
        Self { instances, short: Some(short), ..Self::default() }
    }

    /// The same, with what AWS's answer named.
    #[must_use]
    pub(crate) fn naming(self, bought: Bought) -> Self {
        Self { bought, ..self }
    }
}

/// Why an attempt brought fewer instances than it was asked for.
#[derive(Debug)]
pub(crate) struct Shortfall {
    /// What it means.
    pub refusal: Refusal,
    /// AWS's code.
    pub code: String,
    /// In words.
    pub why: String,
    /// The failed call, where one failed.
    pub failure: Option<Box<AwsError>>,
    /// What the user can do, where the source knows better than a general word.
    pub next: Option<&'static str>,
}

impl Shortfall {
    /// Of a failed call.
    #[must_use]
    pub(crate) fn of_call(refusal: Refusal, failure: Box<AwsError>) -> Self {
        let code = failure.code.clone().unwrap_or_default();
        Self { refusal, code, why: failure.message.clone(), failure: Some(failure), next: None }
    }

    /// Of an attempt that a killed run left, and whose time is over.
    #[must_use]
    pub(crate) fn too_late() -> Self {
        let why = "its time was over before it was asked for".to_owned();
        Self {
            refusal: Refusal::NoCapacity,
            code: "too-late".to_owned(),
            why,
            failure: None,
            next: None,
        }
    }
}

/// A failed purchase as an outcome, where it says something about the capacity.
///
/// # Errors
/// The failure itself, where it says nothing about it.
pub(crate) fn outcome(
    error: Error,
    judge: impl Fn(&AwsError) -> Refusal,
) -> Result<PurchaseOutcome> {
    let failure = error.into_aws()?;
    match judge(&failure) {
        Refusal::Passing | Refusal::ProfileTooNew => Err(failure.into()),
        refusal => Ok(PurchaseOutcome::short(0, Shortfall::of_call(refusal, failure))),
    }
}
