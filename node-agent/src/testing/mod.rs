//! What the tests share: a block, and a world of fakes with state in which an agent can live.

pub(crate) mod http;
mod world;

pub(crate) use world::{Facts, FakeTask, REPORT, Trouble, World};

use jiff::{SignedDuration, Timestamp};
use node_contract::{End, NodeConfig, Source, Timeline, VERSION};

use crate::lifecycle::{Rules, State};
use crate::ports::{Anchor, AnchorSource, Identity, SAVED_VERSION, Saved};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A block of an hour from 10:00: drain at 10:15, stop at 10:55, end at 11:00.
pub(crate) fn config() -> NodeConfig {
    NodeConfig {
        version: VERSION,
        block: "sb-1f2c".into(),
        environment: "e".into(),
        region: "us-east-1".into(),
        cluster: "c".into(),
        source: Source::SpotBlock,
        end: End::AfterLaunchSecs(3600),
        early_reclaim_secs: 0,
        drain_lead_secs: 2700,
        stop_lead_secs: 300,
        stop_reason: None,
        options: node_contract::Options::default(),
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        instance: "i-0a1b".into(),
        region: "us-east-1".into(),
        launched: at("2026-11-24T10:00:00Z"),
        is_spot: true,
    }
}

pub(crate) fn rules() -> Rules {
    Rules {
        cluster: "c".into(),
        config: config(),
        warn_lead: None,
        idle_settle: SignedDuration::from_secs(6),
        spread: 500,
    }
}

pub(crate) fn state() -> State {
    State::new(Timeline::new(&config(), identity().launched), identity().launched)
}

pub(crate) fn anchor() -> Anchor {
    Anchor {
        boot_id: "b".into(),
        booted_at: at("2026-11-24T10:00:00Z"),
        source: AnchorSource::Date,
    }
}

pub(crate) fn saved() -> Saved {
    Saved {
        version: SAVED_VERSION,
        identity: identity(),
        config: config(),
        anchor: anchor(),
        state: state(),
    }
}

/// What a fresh process finds on the disk: what isn't written isn't there afterwards.
pub(crate) fn as_on_disk(saved: &Saved) -> Saved {
    let json = serde_json::to_string(saved).expect("JSON");
    serde_json::from_str(&json).expect("its own JSON")
}
