//! Ssm.

use super::{Cloud, Context, Handled, Request};

/// Ssm's state.
#[derive(Default)]
pub struct Ssm {}

pub(super) fn handle(_cloud: &mut Cloud, _context: &Context, _request: &Request) -> Handled {
    unreachable!("to be written")
}
