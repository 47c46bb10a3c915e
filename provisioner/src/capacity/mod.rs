//! Where the capacity comes from: one file a source. This version has `spot-block`; settings refuse the others, so a
//! record of another source was made by another version.

use node_contract::Source;

use crate::aws::Aws;
use crate::aws::ec2::SpotRequest;
use crate::error::{Error, Result};
use crate::record::{LaunchData, Record};

pub mod spot_block;

pub use spot_block::{Refusal, Standing, standing};

/// Buys what the record says, or finds that it was bought already.
///
/// # Errors
/// AWS's refusal; [`refusal`] tells what it means.
pub async fn buy(aws: &Aws, record: &Record, launch: &LaunchData) -> Result<Vec<SpotRequest>> {
    match record.terms.source {
        Source::SpotBlock => aws.ec2.request_spot_block(&record.terms, launch).await,
        source => Err(Error::State {
            what: format!("block {} is to be bought as {source}, which this version can't", record.terms.block),
            next: "use the version of spotblock that made it, or end it with `spotblock down`".to_owned(),
        }),
    }
}

/// What a failed purchase means.
#[must_use]
pub fn refusal(error: &Error) -> Refusal {
    error.aws().map_or(Refusal::Passing, spot_block::refusal)
}
