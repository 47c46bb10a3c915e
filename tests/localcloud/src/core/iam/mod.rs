//! Iam.

use super::{Cloud, Context, Handled, Options, Request};

/// Iam's state.
#[derive(Default)]
pub struct Iam {}

impl Iam {
    pub(super) fn with_example_account(_options: &Options) -> Self {
        Self::default()
    }
}

pub(super) fn handle(_cloud: &mut Cloud, _context: &Context, _request: &Request) -> Handled {
    unreachable!("to be written")
}

pub(super) fn advance(_cloud: &mut Cloud, _now: jiff::Timestamp) {}
