//! Batch.

use super::{Cloud, Context, Handled, Request};

/// Batch's state.
#[derive(Default)]
pub struct Batch {}

pub(super) fn handle(_cloud: &mut Cloud, _context: &Context, _request: &Request) -> Handled {
    unreachable!("to be written")
}

pub(super) fn advance(_cloud: &mut Cloud, _now: jiff::Timestamp) {}
