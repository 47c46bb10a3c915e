//! Scheduler.

use super::{Cloud, Context, Handled, Request};

/// Scheduler's state.
#[derive(Default)]
pub struct Scheduler {}

pub(super) fn handle(_cloud: &mut Cloud, _context: &Context, _request: &Request) -> Handled {
    unreachable!("to be written")
}
