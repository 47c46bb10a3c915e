//! S3.

use super::{Cloud, Context, Handled, Request};

/// S3's state.
#[derive(Default)]
pub struct S3 {}

pub(super) fn handle(_cloud: &mut Cloud, _context: &Context, _request: &Request) -> Handled {
    unreachable!("to be written")
}
