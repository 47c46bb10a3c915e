//! What the record's launch template says, and what of it each source launches.

use node_contract::Source;

use crate::block::user_data;
use crate::model::error::{AwsErrorKind, Result};
use crate::model::record::{BlockSpec, LaunchData, Record};
use crate::runtime::wait::{Poll, SETTLE_LIMIT, WaitSpec};
use crate::session::Session;

/// The record's first version.
pub(super) struct Template {
    name: String,
    launch: LaunchData,
}

impl Template {
    /// Reads it. Right after its creation AWS may not show it yet.
    pub(super) async fn of(session: &Session<'_>, record: &Record) -> Result<Self> {
        let bound = WaitSpec {
            what: format!("launch template {} to be shown", record.name),
            limit: SETTLE_LIMIT,
            next: "look whether `spotblock down` was run at the same time; then run the same \
                   command again"
                .to_owned(),
        };
        let look = async || match session.aws.ec2.launch_data(record).await {
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => {
                Ok(Poll::NotYet(error.to_string()))
            }
            result => result.map(Poll::Done),
        };
        let launch = session.waits.until(session.ui, bound, look).await?;
        Ok(Self { name: record.name.clone(), launch })
    }

    /// What this source launches: the same, but for what its agents are told. It follows from the
    /// record alone.
    pub(super) fn launch_of(&self, source: Source, spec: &BlockSpec) -> Result<LaunchData> {
        user_data::launch_for_source(&self.launch, source, spec, &self.name)
    }
}
