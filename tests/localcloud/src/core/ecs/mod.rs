//! Ecs.

use super::{Cloud, Context, Handled, Request};

/// Ecs's state.
#[derive(Default)]
pub struct Ecs {}

pub(super) fn handle(_cloud: &mut Cloud, _context: &Context, _request: &Request) -> Handled {
    unreachable!("to be written")
}

pub(super) fn advance(_cloud: &mut Cloud, _now: jiff::Timestamp) {}
