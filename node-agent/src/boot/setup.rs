//! The adapters and the rules of a life, set up as the host's settings and the block's say.

use std::sync::Arc;

use aws_sdk_ecs::config::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use node_contract::{NodeConfig, Timeline, names};

use crate::adapters;
use crate::adapters::ecs::{Ecs, Parts};
use crate::adapters::ecs_config::EcsConfig;
use crate::adapters::ecs_data::EcsData;
use crate::adapters::host::CommandHost;
use crate::adapters::imds::{Imds, RoleCredentials};
use crate::adapters::introspection::Introspection;
use crate::adapters::lock::Taken;
use crate::adapters::power::Power;
use crate::adapters::timer::PowerOffTimer;
use crate::clock::{self, BootClock};
use crate::lifecycle::{self, Rules};
use crate::ports::{Identity, IntrospectionError, MetadataError};
use crate::settings::Settings;

/// Why the agent can't begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// IMDS can't be addressed.
    #[error("set up the IMDS client")]
    Metadata(#[source] MetadataError),
    /// Introspection can't be addressed.
    #[error("set up the client for introspection")]
    Introspection(#[source] IntrospectionError),
    /// Another agent is there.
    #[error(transparent)]
    Taken(#[from] Taken),
}

/// IMDS, whose answers tell `clock` the time.
pub(crate) fn imds(settings: &Settings, clock: &Arc<BootClock>) -> Result<Arc<Imds>, StartError> {
    let http = adapters::plain_http_client();
    let imds = Imds::new(settings.imds_endpoint.clone(), http, Arc::clone(clock));
    imds.map(Arc::new).map_err(StartError::Metadata)
}

/// The ECS agent's introspection.
pub(crate) fn introspection(settings: &Settings) -> Result<Introspection, StartError> {
    Introspection::new(settings.introspection_url.clone()).map_err(StartError::Introspection)
}

/// ECS, as this instance's role.
pub(crate) fn ecs(
    settings: &Settings,
    http: SharedHttpClient,
    imds: &Arc<Imds>,
    clock: &Arc<BootClock>,
    config: &NodeConfig,
    identity: &Identity,
) -> Ecs {
    let parts = Parts {
        region: identity.region.clone(),
        endpoint: settings.ecs_endpoint.clone(),
        http,
        credentials: SharedCredentialsProvider::new(RoleCredentials(Arc::clone(imds))),
        time: clock::sdk_time(clock),
    };
    Ecs::new(parts, config.cluster.clone(), identity.instance.clone())
}

/// The host, by its settings.
pub(crate) fn host(
    settings: &Settings,
    clock: &Arc<BootClock>,
    config: &NodeConfig,
    identity: &Identity,
    timeline: Timeline,
) -> CommandHost {
    let ecs_config = settings.root.join(names::path::ECS_CONFIG);
    let ecs_config = EcsConfig::new(ecs_config, config, identity, timeline);
    let ecs_data = settings.root.join(names::path::ECS_DATA);
    let ecs_data = EcsData::new(ecs_data, identity.instance.clone(), identity.launched);
    let power = Power::new(
        settings.commands.power_off_commands(),
        settings.power_off_grace,
        Arc::<BootClock>::clone(clock),
    );
    let notice = settings.root.join(names::path::NOTICE);
    CommandHost::new(settings.commands.clone(), ecs_config, ecs_data, notice, power)
}

/// The power-off timer of this instance.
pub(crate) fn power_off_timer(settings: &Settings, identity: &Identity) -> PowerOffTimer {
    let agent = std::env::current_exe().unwrap_or_else(|_| "/usr/bin/spotblock-agent".into());
    let root = settings.root.to_string_lossy().into_owned();
    PowerOffTimer {
        folder: settings.root.join(names::path::UNITS),
        arm: settings.commands.arm_timer.clone().unwrap_or_default(),
        power_off_commands: settings.commands.power_off_commands(),
        instance: identity.instance.clone(),
        due: vec![
            agent.to_string_lossy().into_owned(),
            "due".to_owned(),
            "--root".to_owned(),
            root,
        ],
    }
}

/// The rules of this life.
pub(crate) fn rules(settings: &Settings, config: &NodeConfig, identity: &Identity) -> Rules {
    Rules {
        cluster: config.cluster.clone(),
        config: config.clone(),
        warn_lead: settings.warn_lead,
        idle_settle: settings.idle_settle,
        spread: lifecycle::spread_of(&identity.instance),
    }
}
