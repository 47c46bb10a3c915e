//! STS.

use super::{Cloud, Context, Handled, Request};

pub(super) fn handle(_cloud: &mut Cloud, _context: &Context, _request: &Request) -> Handled {
    unreachable!("to be written")
}
