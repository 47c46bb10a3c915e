//! The only loop: an event comes in, the lifecycle takes a step, the new state is saved, the
//! actions are begun.
//!
//! Actions run as tasks of their own and come back as events, so that a slow answer from AWS holds
//! up neither a notice nor a deadline.

mod act;
mod call_outcomes;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use node_contract::{NodeConfig, Timeline};
use tokio::sync::{mpsc, watch};

use crate::clock::Beat;
use crate::lifecycle::{Event, Phase, Registration, Rules, State, Why};
use crate::ports::{Details, Identity, Moment, Ports, SAVED_VERSION, Saved, StoreError};
use crate::status::line;
use crate::watch::{self as watchers, View, WatchContext};
use call_outcomes::{FailingCalls, ObservedCluster};

/// How long the loop sleeps at most: timers stand still while a host is suspended, and the block's
/// clock does not.
const LONGEST_SLEEP: Duration = Duration::from_secs(15);

/// How long the ECS agent has to tell at the start whether it is registered already.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// How far the wall clock's skew has to move before it is reported again.
const SKEW: SignedDuration = SignedDuration::from_secs(2);

/// The longest that saving the state may hold up what is to be done: less than the shortest time
/// that StopTask has to find a hearing.
const SAVE_LIMIT: Duration = Duration::from_millis(2_500);

/// What is known of this instance and doesn't change.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which instance this is.
    pub identity: Identity,
    /// The settings of the block that the instance belongs to.
    pub config: NodeConfig,
    /// The rules that the lifecycle goes by here.
    pub rules: Rules,
}

impl Node {
    /// The reason given to StopTask. The default begins with what the world's retry rules look for.
    #[must_use]
    pub(crate) fn stop_reason(&self) -> String {
        let default =
            || format!("Host EC2 (instance {}) leaves: the block ends", self.identity.instance);
        self.config.stop_reason.clone().unwrap_or_else(default)
    }

    /// What hooks and tasks are told.
    fn details(&self, why: Why, stop_at: Timestamp, end: Timestamp) -> Details {
        let (block, instance) = (self.config.block.clone(), self.identity.instance.clone());
        Details { block, instance, why: why.word(), stop_at, end }
    }
}

/// Lives the agent's life, from where it is, until `stop` comes to its end. The tasks are then left
/// as they are.
pub async fn run(node: Node, state: State, ports: Ports, stop: impl Future<Output = ()>) {
    let (events, mut inbox) = mpsc::channel(64);
    let mut agent = Agent::new(node, state, ports, events);
    let first = agent.look().await;
    agent.take(Event::Started { registration: first }).await;
    let _watchers = agent.watch();
    let mut stop = std::pin::pin!(stop);
    loop {
        let event = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(event) = inbox.recv() => event,
            () = tokio::time::sleep(agent.sleep()) => Event::Tick,
        };
        agent.take(event).await;
    }
    agent.save().await;
    tracing::info!(phase = agent.state.phase.word(), "the agent ends; tasks are left as they are");
}

struct Agent {
    node: Arc<Node>,
    state: State,
    ports: Ports,
    failing: Arc<FailingCalls>,
    events: mpsc::Sender<Event>,
    view: watch::Sender<View>,
    told: String,
    saves: u64,
    save_fails: bool,
    skew: SignedDuration,
}

impl Agent {
    fn new(node: Node, state: State, mut ports: Ports, events: mpsc::Sender<Event>) -> Self {
        let failing = Arc::new(FailingCalls::default());
        ports.cluster =
            Arc::new(ObservedCluster { inner: ports.cluster, failing: Arc::clone(&failing) });
        let view = watch::Sender::new(view_of(&state));
        Self {
            node: Arc::new(node),
            state,
            ports,
            failing,
            events,
            view,
            told: String::new(),
            saves: 0,
            save_fails: false,
            skew: SignedDuration::ZERO,
        }
    }

    /// Looks once whether the ECS agent is registered already: after a restart whose state was lost
    /// it may be.
    async fn look(&self) -> Option<Registration> {
        let answer = tokio::time::timeout(FIRST_LOOK, self.ports.ecs_agent.registration()).await;
        answer.ok().and_then(Result::ok).flatten()
    }

    /// Starts the watchers. They end with the set.
    fn watch(&self) -> tokio::task::JoinSet<()> {
        // Instances that started together don't ask ECS together.
        let lead = u64::from(self.node.rules.spread) % watchers::registration::STATUS.as_secs();
        let beat = Beat::new(Duration::from_secs(lead));
        let context =
            || WatchContext { events: self.events.clone(), view: self.view.subscribe(), beat };
        let notice = if self.node.identity.is_spot {
            watchers::interruption::ON_SPOT
        } else {
            watchers::interruption::ELSEWHERE
        };
        let (looked, after_looks) = watch::channel(());
        let ports = &self.ports;
        let mut set = tokio::task::JoinSet::new();
        set.spawn(watchers::interruption::watch(
            Arc::clone(&ports.metadata),
            notice,
            looked,
            context(),
        ));
        let is_spot = self.node.identity.is_spot;
        set.spawn(watchers::signals::watch(
            Arc::clone(&ports.metadata),
            is_spot,
            after_looks,
            context(),
        ));
        set.spawn(watchers::tasks::watch(Arc::clone(&ports.ecs_agent), context()));
        let (host, agent, ecs) =
            (Arc::clone(&ports.host), Arc::clone(&ports.ecs_agent), Arc::clone(&ports.cluster));
        set.spawn(watchers::joining::watch(
            host,
            Arc::clone(&ports.metadata),
            agent,
            ecs,
            context(),
        ));
        set.spawn(watchers::registration::watch(Arc::clone(&ports.ecs_agent), context()));
        set.spawn(watchers::registration::watch_status(Arc::clone(&ports.cluster), context()));
        set
    }

    /// Takes an event, and every transition that is due after it.
    async fn take(&mut self, event: Event) {
        let now = self.ports.clock.now();
        let before = self.saves;
        self.step(now, event).await;
        while self.node.rules.is_restless(&self.state, now) {
            self.step(now, Event::Tick).await;
        }
        if self.save_fails && self.saves == before {
            // Nothing may change for an hour: what the disk didn't take then is tried again.
            self.save().await;
        }
        self.tell(now);
    }

    async fn step(&mut self, now: Timestamp, event: Event) {
        let (next, actions) = self.node.rules.step(&self.state, now, event);
        if next != self.state {
            self.log(&next);
            let entered = (next.phase != self.state.phase).then_some(next.phase);
            self.state = next;
            self.save().await;
            if let Some(moment) = entered.and_then(moment_of) {
                let Timeline { stop_at, end, .. } = self.state.timeline;
                self.ports.hooks.fire(moment, &self.node.details(self.state.why, stop_at, end));
            }
        }
        let view = view_of(&self.state);
        self.view.send_if_modified(|old| {
            let change = *old != view;
            if change {
                *old = view;
            }
            change
        });
        for action in actions {
            let (node, ports, events) =
                (Arc::clone(&self.node), self.ports.clone(), self.events.clone());
            tokio::spawn(async move {
                let outcome = act::act(&node, &ports, action).await;
                // The loop has ended when nobody listens.
                let _ = events.send(outcome).await;
            });
        }
    }

    fn log(&self, next: &State) {
        let (block, instance) = (&self.node.config.block, &self.node.identity.instance);
        let old = &self.state;
        let (was, is) = (old.timeline.end, next.timeline.end);
        if is != was {
            let what = if is < was { "the end is nearer" } else { "the block was extended" };
            tracing::info!(%was, end = %is, block, instance, "{what}");
        }
        if next.rebalance && !old.rebalance {
            tracing::warn!(
                block,
                instance,
                "AWS recommends to leave: the instance is likelier than others to be taken"
            );
        }
        if old.drained && !next.drained {
            tracing::warn!(
                block,
                instance,
                "the container instance is ACTIVE again and is put back to DRAINING"
            );
        }
        if let Some(found) =
            next.registration.as_ref().filter(|found| old.registration.as_ref() != Some(*found))
        {
            let (registered, cluster) = (&found.instance, &found.cluster);
            if self.node.rules.is_own_cluster(cluster) {
                tracing::info!(registered, cluster, block, instance, "registered");
            } else {
                tracing::error!(
                    registered,
                    cluster,
                    wanted = self.node.rules.cluster,
                    block,
                    instance,
                    "registered in the wrong cluster: the instance gets no job of its block"
                );
            }
        }
        if next.phase != old.phase {
            tracing::info!(
                from = old.phase.word(),
                to = next.phase.word(),
                why = next.why.word(),
                block,
                instance,
                "transition"
            );
        }
    }

    /// Saves the state. A disk that fails holds nothing up: the block's end doesn't wait for it.
    async fn save(&mut self) {
        self.saves += 1;
        let saved = Saved {
            version: SAVED_VERSION,
            identity: self.node.identity.clone(),
            config: self.node.config.clone(),
            anchor: self.ports.clock.anchored(),
            state: self.state.clone(),
        };
        let written = tokio::time::timeout(SAVE_LIMIT, self.ports.store.save(&saved)).await;
        let hangs = || StoreError {
            what: "save the state".to_owned(),
            problem: "the disk takes too long".to_owned(),
        };
        match written.unwrap_or_else(|_| Err(hangs())) {
            Ok(()) if self.save_fails => {
                tracing::info!("the state can be saved again");
                self.save_fails = false;
            }
            Ok(()) => {}
            Err(error) if self.save_fails => {
                tracing::debug!(%error, "the state still can't be saved")
            }
            Err(error) => {
                tracing::error!(%error, "the state can't be saved: a restart of the agent would \
                                         look for its place anew");
                self.save_fails = true;
            }
        }
    }

    /// Tells the service manager and the log how things are.
    fn tell(&mut self, now: Timestamp) {
        let mut line = line::line(&self.node.config.block, &self.node.rules, &self.state, now);
        let failing = self.failing.words();
        if !failing.is_empty() {
            line = format!("{line}; {failing}");
        }
        if line != self.told {
            self.ports.supervisor.status(&line);
            self.told = line;
        }
        self.ports.supervisor.alive();
        let skew = self.ports.clock.skew();
        if (skew - self.skew).abs() > SKEW {
            tracing::warn!(%skew, "the host's wall clock is off; the block is measured by the \
                                   clock of the boot");
            self.skew = skew;
        }
    }

    fn sleep(&self) -> Duration {
        let now = self.ports.clock.now();
        let due = self
            .node
            .rules
            .wake_at(&self.state, now)
            .map_or(LONGEST_SLEEP, |at| now.duration_until(at).unsigned_abs());
        let alive =
            self.ports.supervisor.expects_alive_every().map_or(LONGEST_SLEEP, |every| every / 3);
        // A millisecond more: a timer that fires early would find nothing due.
        due.min(alive).min(LONGEST_SLEEP) + Duration::from_millis(1)
    }
}

/// What hooks hear when a phase begins.
fn moment_of(phase: Phase) -> Option<Moment> {
    match phase {
        Phase::Draining => Some(Moment::Drain),
        Phase::Stopping => Some(Moment::Stop),
        Phase::Leaving => Some(Moment::Leave),
        Phase::Joining | Phase::Serving | Phase::Gone => None,
    }
}

fn view_of(state: &State) -> View {
    let registration = state.registration.clone().filter(|_| state.phase != Phase::Joining);
    View { phase: state.phase, registration }
}
