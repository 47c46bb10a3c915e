//! A host, its ECS agent, ECS and IMDS in one piece, on tokio's paused time. It keeps state as they
//! do: a task that is asked to stop takes its time, ECS learns of it later, a host that is powered
//! off is gone.
//!
//! Each call to a port that can wait comes through [`World::act`], where something can befall it.

mod aws;
mod facts;
mod host;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::lifecycle::Registration;
use crate::ports::{
    self, Anchor, Clock, Details, Hooks, Moment, Ports, Saved, StateStore, StoreError, Supervisor,
};

use facts::Said;
pub(crate) use facts::{Facts, FakeTask, Trouble};

/// How long ECS takes to learn what the host knows.
pub(crate) const REPORT: SignedDuration = SignedDuration::from_secs(2);

/// The world.
pub(crate) struct World {
    facts: Mutex<Facts>,
    start: Timestamp,
    started: tokio::time::Instant,
    pub(crate) off: Notify,
    pub(crate) draining: Notify,
    pub(crate) died: Notify,
}

impl World {
    /// A world in which it is this time now.
    #[expect(clippy::disallowed_methods, reason = "tokio's paused time stands in for all clocks")]
    pub(crate) fn at(start: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            facts: Mutex::new(Facts {
                identity: Some(crate::testing::identity()),
                ..Facts::default()
            }),
            start,
            started: tokio::time::Instant::now(),
            off: Notify::new(),
            draining: Notify::new(),
            died: Notify::new(),
        })
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().expect("no test panics while it holds it")
    }

    pub(crate) fn ports(self: &Arc<Self>) -> Ports {
        Ports {
            clock: Arc::<Self>::clone(self),
            metadata: Arc::<Self>::clone(self),
            ecs_agent: Arc::<Self>::clone(self),
            cluster: Arc::<Self>::clone(self),
            host: Arc::<Self>::clone(self),
            supervisor: Arc::<Self>::clone(self),
            store: Arc::<Self>::clone(self),
            hooks: Arc::<Self>::clone(self),
        }
    }

    /// When this was asked for first.
    pub(crate) fn first(&self, what: &str) -> Option<Timestamp> {
        self.facts().log.iter().find(|(_, said)| said == what).map(|(at, _)| *at)
    }

    /// How often this was asked for.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.facts().log.iter().filter(|(_, said)| said == what).count()
    }

    /// Every call comes here first. A process that was killed makes none any more; what it had
    /// asked for before goes on without it. What has a name is written down.
    async fn act(&self, what: &str) -> Said {
        let now = self.now();
        let (dead, trouble) = {
            let mut facts = self.facts();
            let number = facts.acts;
            let trouble = facts
                .trouble
                .filter(|(at, _)| *at == number && !facts.dead)
                .map(|(_, trouble)| trouble);
            let dead = facts.dead || trouble == Some(Trouble::DiesBefore);
            if !facts.dead {
                facts.acts += 1;
                facts.dead = dead || trouble == Some(Trouble::DiesAfter);
                if facts.dead {
                    self.died.notify_one();
                }
            }
            if !dead && !what.is_empty() {
                facts.log.push((now, what.to_owned()));
            }
            (dead, trouble)
        };
        if dead || trouble == Some(Trouble::Hangs) {
            std::future::pending::<()>().await;
        }
        match trouble {
            Some(Trouble::Fails) => Said::Failure,
            Some(Trouble::Lies) => Said::Lie,
            _ => Said::True,
        }
    }

    fn note(&self, what: impl Into<String>) -> MutexGuard<'_, Facts> {
        let now = self.now();
        let mut facts = self.facts();
        facts.log.push((now, what.into()));
        facts
    }
}

fn own() -> Registration {
    Registration { instance: "arn:own".into(), cluster: "c".into() }
}

impl Clock for World {
    #[expect(clippy::disallowed_methods, reason = "tokio's paused time stands in for all clocks")]
    fn now(&self) -> Timestamp {
        let gone = tokio::time::Instant::now().duration_since(self.started);
        self.start + SignedDuration::try_from(gone).expect("a short life")
    }

    fn skew(&self) -> SignedDuration {
        SignedDuration::ZERO
    }

    fn anchored(&self) -> Anchor {
        crate::testing::anchor()
    }
}

impl Supervisor for World {
    fn ready(&self) {}

    fn status(&self, text: &str) {
        text.clone_into(&mut self.facts().status);
    }

    fn alive(&self) {
        drop(self.note("alive"));
    }

    fn expects_alive_every(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }
}

impl Hooks for World {
    fn fire(&self, moment: Moment, _: &Details) {
        drop(self.note(format!("hook {}", moment.word())));
    }
}

impl StateStore for World {
    fn load(&self) -> ports::Answer<'_, Result<Option<Saved>, StoreError>> {
        Box::pin(async {
            let facts = self.facts();
            if facts.disk_fails {
                return Err(StoreError {
                    what: "read state.json".into(),
                    problem: "input/output error".into(),
                });
            }
            Ok(facts.saved.clone())
        })
    }

    fn save<'a>(&'a self, saved: &'a Saved) -> ports::Answer<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let answer = self.act(&format!("save {}", saved.state.phase.word())).await;
            let mut facts = self.facts();
            if facts.disk_fails || answer == Said::Failure {
                return Err(StoreError {
                    what: "write state.json".into(),
                    problem: "no space left".into(),
                });
            }
            if answer == Said::True {
                facts.saved = Some(saved.clone());
            }
            Ok(())
        })
    }
}
