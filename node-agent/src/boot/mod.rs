//! What has to be known before the agent's life begins or goes on: who this instance is, what time
//! it is, and what its block's settings are. Nothing here gives up: an agent that ends can't end
//! its host.

pub(crate) mod setup;
pub(crate) mod user_data;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use node_contract::{NodeConfig, Timeline};

use crate::clock::BootClock;
use crate::lifecycle::State;
use crate::ports::{
    Anchor, AnchorSource, Clock as _, Identity, Metadata, MetadataError, Saved, StateStore,
    Supervisor, error_chain,
};
use user_data::settings_in;

/// The longest wait between two tries to reach IMDS.
const LONGEST: Duration = Duration::from_secs(15);

/// How long to wait before user data without usable settings is read again: it can change only
/// while the instance is stopped, or when IMDS gave half of it.
const SLOWLY: Duration = Duration::from_secs(60);

/// How long IMDS has, in a boot in which a state was saved, to say that this is another instance.
const SHORTLY: Duration = Duration::from_secs(1);

/// What is known when the life begins or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who this instance is.
    pub identity: Identity,
    /// The settings of the block that the instance belongs to.
    pub config: NodeConfig,
    /// What the block's time rests on in this boot.
    pub anchor: Anchor,
    /// Where in its life the agent is.
    pub state: State,
}

/// Where it is found out.
pub struct Boot<'a> {
    /// IMDS, which tells who the instance is and gives the user data.
    pub metadata: &'a dyn Metadata,
    /// The clock, to be anchored.
    pub clock: &'a BootClock,
    /// Where an earlier process has saved the state.
    pub store: &'a dyn StateStore,
    /// The service manager, which is told what is waited for.
    pub supervisor: &'a dyn Supervisor,
    /// The block's settings, if they don't come from user data.
    pub given: Option<NodeConfig>,
    /// How long the instance lives at most after its launch, whatever the block's settings say.
    pub max_life: Option<SignedDuration>,
}

/// Why user data gave no settings.
#[derive(Debug, thiserror::Error)]
enum NoConfig {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("the instance has no user data")]
    NoUserData,
    #[error(transparent)]
    Config(#[from] node_contract::ConfigError),
}

impl Boot<'_> {
    /// Finds it all out, however long it takes.
    pub async fn find_out(&self) -> Found {
        let saved = self.load().await;
        if let Some(saved) = saved.as_ref().filter(|saved| self.clock.resume(&saved.anchor))
            && self.may_be(&saved.identity).await
        {
            // Saved in this very boot, so nothing else has to be asked.
            tracing::info!(
                phase = saved.state.phase.word(),
                "going on where the agent was in this boot"
            );
            return self.go_on(saved.clone(), saved.anchor.clone());
        }
        let mut identity = self.identity().await;
        let anchor = self.clock.anchor();
        log_clock(&anchor, self.clock);
        // A launch that is ahead can't be one, and would put off the end of agent and timer alike.
        // One after the boot can: a container sees when its machine was booted.
        let now = self.clock.now();
        if now < identity.launched {
            tracing::warn!(launched = %identity.launched, %now, "the launch is said to be ahead, \
                and counts as now");
            identity.launched = now;
        }
        match saved {
            Some(saved) if saved.identity.instance == identity.instance => {
                tracing::info!(
                    phase = saved.state.phase.word(),
                    "going on where the agent was before the reboot"
                );
                self.go_on(saved, anchor)
            }
            other => {
                if let Some(saved) = other {
                    let found = saved.identity.instance;
                    tracing::warn!(found, "the saved state is of another instance and is not used");
                }
                let config = self.config().await;
                let mut state =
                    State::new(Timeline::new(&config, identity.launched), self.clock.now());
                self.limit(&mut state, &config, identity.launched);
                Found { identity, config, anchor, state }
            }
        }
    }

    /// Whether this is that instance, as far as anybody says. A boot has one, but containers see
    /// their host's boot, and a folder may have been copied within it. IMDS that is down, slow or
    /// talks nonsense changes nothing.
    async fn may_be(&self, saved: &Identity) -> bool {
        let told = tokio::time::timeout(SHORTLY, self.metadata.identity()).await;
        !matches!(told, Ok(Ok(identity)) if identity.instance != saved.instance)
    }

    async fn load(&self) -> Option<Saved> {
        self.store.load().await.unwrap_or_else(|error| {
            tracing::error!(%error, "the saved state is not used; the place is found from IMDS, \
                                     the clock and ECS");
            None
        })
    }

    fn go_on(&self, saved: Saved, anchor: Anchor) -> Found {
        let config = self.given.clone().unwrap_or(saved.config);
        let mut state = saved.state;
        // Other settings may bring the end nearer, never further.
        let launched = saved.identity.launched;
        let own = match state.moved_to {
            Some(end) => Timeline::moved_to(&config, launched, end),
            None => Timeline::new(&config, launched),
        };
        state.timeline = state.timeline.tightened_by(own);
        self.limit(&mut state, &config, launched);
        Found { identity: saved.identity, config, anchor, state }
    }

    /// Holds the block's end to the host's given maximum.
    fn limit(&self, state: &mut State, config: &NodeConfig, launched: Timestamp) {
        let Some(longest) = self.max_life else { return };
        let last = launched.checked_add(longest).unwrap_or(Timestamp::MAX);
        state.limit = Some(state.limit.map_or(last, |limit| limit.min(last)));
        state.timeline = state.timeline.tightened_by(Timeline::ending_at(config, launched, last));
    }

    async fn identity(&self) -> Identity {
        let mut wait = Duration::from_millis(250);
        loop {
            match self.metadata.identity().await {
                Ok(identity) => return identity,
                Err(error) => {
                    tracing::warn!(%error, "IMDS doesn't tell who this instance is");
                    self.supervisor.status(&format!("waiting for IMDS: {error}"));
                }
            }
            self.wait(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
    }

    async fn config(&self) -> NodeConfig {
        if let Some(given) = &self.given {
            return given.clone();
        }
        let mut wait = Duration::from_millis(250);
        loop {
            match self.read_config().await {
                Ok(config) => return config,
                Err(error @ NoConfig::Metadata(_)) => {
                    tracing::warn!(%error, "IMDS doesn't give the user data");
                    self.supervisor.status(&format!("waiting for IMDS: {error}"));
                    self.wait(wait).await;
                    wait = (wait * 2).min(LONGEST);
                }
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::error!(
                        error,
                        "there is no block for this instance: nothing is started"
                    );
                    self.supervisor.status(&format!("no block: {error}"));
                    self.wait(SLOWLY).await;
                }
            }
        }
    }

    async fn read_config(&self) -> Result<NodeConfig, NoConfig> {
        let text = self.metadata.user_data().await?.ok_or(NoConfig::NoUserData)?;
        Ok(settings_in(&text)?)
    }

    /// Waits, and shows signs of life meanwhile.
    async fn wait(&self, mut wait: Duration) {
        let longest = self.supervisor.expects_alive_every().map_or(wait, |every| every / 3);
        while !wait.is_zero() {
            self.supervisor.alive();
            let some = wait.min(longest.max(Duration::from_millis(10)));
            tokio::time::sleep(some).await;
            wait -= some;
        }
        self.supervisor.alive();
    }
}

fn log_clock(anchor: &Anchor, clock: &BootClock) {
    let (now, skew): (Timestamp, _) = (clock.now(), clock.skew());
    match anchor.source {
        AnchorSource::Date => {
            tracing::info!(%now, %skew, "the clock is anchored to a Date from IMDS")
        }
        AnchorSource::WallClock => {
            tracing::warn!(%now, "IMDS sent no Date: the block is measured by the host's wall \
                                  clock");
        }
    }
}

#[cfg(test)]
mod tests;
