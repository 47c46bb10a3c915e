//! `spotblock-agent drain`: sets this instance DRAINING, as anybody could from outside.

use super::found_host::FoundHost;
use crate::boot::setup::{self, StartError};
use crate::lifecycle::InstanceStatus;
use crate::ports::{Cluster as _, ClusterError, Saved};
use crate::settings::Settings;

/// Sets this instance DRAINING, as anybody could from outside; the agent that runs sees it and
/// leaves when the tasks have ended. Returns what was done, in words.
///
/// # Errors
/// Nothing was done: there is no block here, or ECS refused.
pub async fn drain(settings: &Settings) -> Result<String, DrainError> {
    let found = FoundHost::find(settings).await?.ok_or(DrainError::NoBlock)?;
    let of = found.registration.ok_or(DrainError::NotRegistered)?;
    let Saved { identity, config, .. } = found.saved;
    let cluster = setup::ecs(settings, found.http, &found.imds, &found.clock, &config, &identity);
    match cluster.drain(&of).await? {
        InstanceStatus::Draining => {
            Ok(format!("{} is DRAINING; it leaves when its tasks have ended", of.instance))
        }
        status => Err(DrainError::NotConfirmed(status)),
    }
}

/// Why this instance isn't DRAINING.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// An adapter can't be set up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The agent has saved no state.
    #[error("there is no block on this host: the agent has saved no state that can be read")]
    NoBlock,
    /// There is nothing to be set DRAINING.
    #[error("this instance isn't registered in a cluster")]
    NotRegistered,
    /// ECS failed or refused.
    #[error(transparent)]
    Ecs(#[from] ClusterError),
    /// ECS answered, and the status is another one.
    #[error("ECS took the request and says {0:?}")]
    NotConfirmed(InstanceStatus),
}
