//! What `guard` and `drain` find on the host, as processes beside the agent.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use node_contract::names;

use super::guard_ports::NoOp;
use crate::adapters;
use crate::adapters::imds::Imds;
use crate::adapters::introspection::Introspection;
use crate::adapters::state_file::StateFile;
use crate::boot::setup::{self, StartError};
use crate::boot::{Boot, Found};
use crate::clock::BootClock;
use crate::lifecycle::Registration;
use crate::ports::{EcsAgent as _, SAVED_VERSION, Saved, StateStore as _};
use crate::settings::Settings;

/// How long the ECS agent has to tell whether it is registered.
const LOOK: Duration = Duration::from_secs(3);

/// How long IMDS has to tell what the agent couldn't save.
const FIND_OUT: Duration = Duration::from_secs(10);

/// What a process beside the agent finds on the host.
pub(super) struct FoundHost {
    pub(super) saved: Saved,
    pub(super) clock: Arc<BootClock>,
    pub(super) http: SharedHttpClient,
    pub(super) imds: Arc<Imds>,
    pub(super) introspection: Introspection,
    pub(super) registration: Option<Registration>,
}

impl FoundHost {
    /// `None` where there is no block.
    pub(super) async fn find(settings: &Settings) -> Result<Option<Self>, StartError> {
        let clock = Arc::new(BootClock::new());
        let http = adapters::http_client();
        let imds = setup::imds(settings, &clock)?;
        let introspection = setup::introspection(settings)?;
        let answer = tokio::time::timeout(LOOK, introspection.registration()).await;
        let registered = answer.ok().and_then(Result::ok).flatten();

        let loaded = StateFile::new(settings.root.join(names::path::STATE)).load().await;
        let saved = loaded.unwrap_or_else(|error| {
            tracing::error!(%error, "the agent's state can't be read");
            None
        });
        let saved = match saved {
            Some(saved) => {
                clock.resume(&saved.anchor);
                Some(saved)
            }
            // A disk that was full: the instance is in a cluster all the same.
            None if registered.is_some() => found_anew(settings, &clock, &imds).await,
            None => None,
        };
        let Some(saved) = saved else {
            tracing::info!("there is no block on this host");
            return Ok(None);
        };
        let registration = registered.or_else(|| saved.state.registration.clone());
        Ok(Some(Self { saved, clock, http, imds, introspection, registration }))
    }
}

/// What the agent would have saved, as its beginning.
async fn found_anew(
    settings: &Settings,
    clock: &Arc<BootClock>,
    imds: &Arc<Imds>,
) -> Option<Saved> {
    let boot = Boot {
        metadata: imds.as_ref(),
        clock,
        store: &NoOp,
        supervisor: &NoOp,
        given: settings.block.clone(),
        max_life: settings.max_life,
    };
    let Found { identity, config, anchor, state } =
        tokio::time::timeout(FIND_OUT, boot.find_out()).await.ok()?;
    Some(Saved { version: SAVED_VERSION, identity, config, anchor, state })
}
