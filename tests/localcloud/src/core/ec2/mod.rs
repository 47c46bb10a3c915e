//! Ec2.

use super::{Cloud, Context, Handled, Options, Request};

/// Ec2's state.
#[derive(Default)]
pub struct Ec2 {}

impl Ec2 {
    pub(super) fn with_example_account(_options: &Options) -> Self {
        Self::default()
    }
}

pub(super) fn handle(_cloud: &mut Cloud, _context: &Context, _request: &Request) -> Handled {
    unreachable!("to be written")
}

pub(super) fn advance(_cloud: &mut Cloud, _now: jiff::Timestamp) {}
