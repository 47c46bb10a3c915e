//! The moments of a block. The agent acts on them and the provisioner shows them; nobody else
//! computes them.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{End, NodeConfig};

/// How long after its block's end a power-off timer ends a host whose agent hasn't: the timer of
/// the user data, and that of the agent. The agent's own ways, the gentle and the hard, come first.
pub const POWER_OFF_GRACE: SignedDuration = SignedDuration::from_mins(2);

/// The moments of one instance's block, in order: `drain_at <= stop_at <= end`.
///
/// `start` stands apart: an instance launched late into a block with a given end can be past its
/// `drain_at` already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The instance's launch: `pendingTime` in its identity document, the best proxy that a host
    /// has for the moment from which EC2 counts.
    pub start: Timestamp,
    /// From here on no new task is taken (the container instance is DRAINING).
    pub drain_at: Timestamp,
    /// From here on tasks that still run are stopped.
    pub stop_at: Timestamp,
    /// The instance is gone.
    pub end: Timestamp,
}

impl Timeline {
    /// The moments of a block with these settings on an instance launched at `start`.
    #[must_use]
    pub fn new(config: &NodeConfig, start: Timestamp) -> Self {
        Self::ending_at(config, start, Self::end(config.end, config.early_reclaim_secs, start))
    }

    /// The end of a block with this rule, on an instance launched at `start`.
    #[must_use]
    pub fn end(end: End, early_reclaim_secs: u32, start: Timestamp) -> Timestamp {
        let nominal = match end {
            End::AfterLaunchSecs(length) => later(start, length),
            End::At(end) => end,
        };
        earlier(nominal, early_reclaim_secs)
    }

    /// The moments with these settings' leads, where the instance is gone at `end` whatever the
    /// settings say.
    #[must_use]
    pub fn ending_at(config: &NodeConfig, start: Timestamp, end: Timestamp) -> Self {
        let stop_at = earlier(end, config.stop_lead_secs);
        let drain_at = earlier(end, config.drain_lead_secs.max(config.stop_lead_secs));
        let timeline = Self { start, drain_at, stop_at, end };
        match config.options.longest_timeout_secs {
            Some(longest) => timeline.with_longest_task(SignedDuration::from_secs(longest.into())),
            None => timeline,
        }
    }

    /// The moments of the block after its end was moved to `end`.
    #[must_use]
    pub fn moved_to(config: &NodeConfig, start: Timestamp, end: Timestamp) -> Self {
        Self::ending_at(config, start, earlier(end, config.early_reclaim_secs))
    }

    /// The moments where tasks can take this long: one that starts just before the drain can end
    /// before tasks are stopped. For a tenth of the time between start and stop tasks are taken,
    /// however long they are: a block that takes none is of no use.
    #[must_use]
    pub fn with_longest_task(self, longest: SignedDuration) -> Self {
        let served = self.start.duration_until(self.stop_at) / 10;
        let first = self.start.checked_add(served).unwrap_or(Timestamp::MAX);
        let drain_at = self.stop_at.checked_sub(longest).unwrap_or(Timestamp::MIN).max(first);
        Self { drain_at: self.drain_at.min(drain_at), ..self }
    }

    /// The moments after AWS said at `now` that it takes the instance at `taken_at`: drain and stop
    /// now, be gone by then. A notice moves nothing further away.
    #[must_use]
    pub fn interrupted(self, now: Timestamp, taken_at: Timestamp) -> Self {
        Self { start: self.start, drain_at: now, stop_at: now, end: taken_at }.tightened_by(self)
    }

    /// The earlier of each moment of the two.
    #[must_use]
    pub fn tightened_by(self, other: Self) -> Self {
        let end = self.end.min(other.end);
        let stop_at = self.stop_at.min(other.stop_at).min(end);
        let drain_at = self.drain_at.min(other.drain_at).min(stop_at);
        Self { start: self.start, drain_at, stop_at, end }
    }
}

/// `at` plus seconds, held at the last moment there is instead of overflowing.
fn later(at: Timestamp, secs: u32) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(secs.into())).unwrap_or(Timestamp::MAX)
}

/// `at` less seconds, held at the first moment there is instead of overflowing.
fn earlier(at: Timestamp, secs: u32) -> Timestamp {
    at.checked_sub(SignedDuration::from_secs(secs.into())).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Source, VERSION};

    fn config(
        end: End,
        early_reclaim_secs: u32,
        drain_lead_secs: u32,
        stop_lead_secs: u32,
    ) -> NodeConfig {
        NodeConfig {
            version: VERSION,
            block: "sb-1f2c".into(),
            environment: "e".into(),
            region: "us-east-1".into(),
            cluster: "c".into(),
            source: Source::SpotBlock,
            end,
            early_reclaim_secs,
            drain_lead_secs,
            stop_lead_secs,
            stop_reason: None,
            options: crate::Options::default(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_duration_counts_from_the_launch() {
        let timeline = Timeline::new(
            &config(End::AfterLaunchSecs(3600), 0, 2700, 300),
            at("2026-11-24T10:00:00Z"),
        );
        assert_eq!(
            timeline,
            Timeline {
                start: at("2026-11-24T10:00:00Z"),
                drain_at: at("2026-11-24T10:15:00Z"),
                stop_at: at("2026-11-24T10:55:00Z"),
                end: at("2026-11-24T11:00:00Z"),
            }
        );
    }

    #[test]
    fn a_given_end_is_moved_by_what_aws_takes_back_early() {
        let end = End::At(at("2026-11-25T11:30:00Z"));
        let timeline = Timeline::new(&config(end, 1800, 600, 60), at("2026-11-24T11:30:00Z"));
        assert_eq!(timeline.end, at("2026-11-25T11:00:00Z"));
        assert_eq!(timeline.stop_at, at("2026-11-25T10:59:00Z"));
        assert_eq!(timeline.drain_at, at("2026-11-25T10:50:00Z"));
    }

    #[test]
    fn a_notice_drains_and_stops_at_once_and_never_loosens() {
        let timeline = Timeline::new(
            &config(End::AfterLaunchSecs(3600), 0, 2700, 300),
            at("2026-11-24T10:00:00Z"),
        );
        let now = at("2026-11-24T10:10:00Z");
        let taken = timeline.interrupted(now, at("2026-11-24T10:12:00Z"));
        assert_eq!(
            (taken.drain_at, taken.stop_at, taken.end),
            (now, now, at("2026-11-24T10:12:00Z"))
        );
        let late = timeline.interrupted(at("2026-11-24T10:58:00Z"), at("2026-11-24T12:00:00Z"));
        assert_eq!(late, timeline);
    }

    #[test]
    fn the_drain_comes_early_enough_for_the_longest_task_and_not_before_any_could_start() {
        let fixed = config(End::AfterLaunchSecs(3600), 0, 600, 300);
        let drain_at = |longest: u32| {
            let options =
                crate::Options { longest_timeout_secs: Some(longest), ..Default::default() };
            let config = NodeConfig { options, ..fixed.clone() };
            Timeline::new(&config, at("2026-11-24T10:00:00Z")).drain_at
        };
        assert_eq!(drain_at(60), at("2026-11-24T10:50:00Z"), "never later than the given lead");
        assert_eq!(drain_at(2400), at("2026-11-24T10:15:00Z"));
        assert_eq!(drain_at(3300), at("2026-11-24T10:05:30Z"), "a tenth of 55 minutes");
        assert_eq!(drain_at(u32::MAX), at("2026-11-24T10:05:30Z"));
    }

    proptest! {
        /// Catches: an order of the moments that an odd combination of leads breaks, and arithmetic
        /// that overflows.
        #[test]
        fn the_moments_stand_in_order(
            start in -377_705_023_201_i64..=253_402_207_200,
            length: u32, reclaim: u32, drain: u32, stop: u32, notice in -377_705_023_201_i64..=253_402_207_200,
        ) {
            let start = Timestamp::from_second(start).expect("in range");
            let timeline = Timeline::new(&config(End::AfterLaunchSecs(length), reclaim, drain, stop), start);
            prop_assert!(timeline.drain_at <= timeline.stop_at && timeline.stop_at <= timeline.end);
            let taken = timeline.interrupted(start, Timestamp::from_second(notice).expect("in \
                range"));
            prop_assert!(taken.drain_at <= taken.stop_at && taken.stop_at <= taken.end);
            prop_assert!(taken.drain_at <= timeline.drain_at && taken.stop_at <= timeline.stop_at);
            prop_assert!(taken.end <= timeline.end);
        }
    }
}
