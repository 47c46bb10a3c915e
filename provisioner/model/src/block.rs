//! A block as AWS shows it: its record, its spot requests, its reservations, its instances; and
//! whether it lives.

use std::collections::BTreeSet;

use jiff::Timestamp;
use node_contract::names::tag;
use node_contract::{NodeConfig, Source, Timeline};
use serde::Serialize;

use crate::capacity_reservation::CapacityReservation;
use crate::instance::Instance;
use crate::ownership::Marks;
use crate::record::{Record, Reserved, attempt_of};
use crate::source;
use crate::spot_request::{SpotRequest, SpotRequestStatus};

mod assemble;

pub use assemble::{Found, Part, assemble, empty};

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its id.
    pub id: String,
    /// Its record. Without one, something was bought whose record is gone.
    pub record: Option<Record>,
    /// Its spot requests.
    pub requests: Vec<SpotRequest>,
    /// The capacity reservations that were made for it.
    pub reservations: Vec<CapacityReservation>,
    /// Its instances.
    pub instances: Vec<Instance>,
    /// Instances that are up and carry its marks, of which only their spot requests, which couldn't
    /// be read, say whose they are.
    pub unsure: Vec<String>,
    /// What couldn't be read of it.
    pub unread: BTreeSet<Part>,
}

/// Where a block is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    /// Recorded, and nothing is known to be bought yet.
    Recorded,
    /// Requested, and not fulfilled yet.
    Requested,
    /// Instances are there or coming.
    Live,
    /// Over.
    Ended,
    /// AWS brought nothing.
    Refused,
}

impl Life {
    /// Whether `up` continues it.
    #[must_use]
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Recorded | Self::Requested | Self::Live)
    }
}

impl Block {
    /// The marks of what belongs to it. Where its record is known, that is the template its
    /// instances are launched from.
    #[must_use]
    pub fn marks<'a>(&'a self, environment: &'a str) -> Marks<'a> {
        let template = self.record.as_ref().map(|record| record.template.id());
        Marks::of_block(environment, &self.id).of_template(template)
    }

    /// Whether this request of its may still bring an instance, or has brought one that isn't shown
    /// yet.
    #[must_use]
    pub fn may_come(&self, request: &SpotRequest) -> bool {
        match request.status() {
            SpotRequestStatus::Holding => true,
            SpotRequestStatus::Live => !self
                .instances
                .iter()
                .any(|instance| Some(&instance.id) == request.instance.as_ref()),
            SpotRequestStatus::Failed | SpotRequestStatus::Over => false,
        }
    }

    /// Whether a run has told its user how it came up.
    #[must_use]
    pub fn is_reported(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.reported.is_some())
    }

    /// Whether a run has told its user that it came to nothing. Instances with jobs may still be on
    /// their way out.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.is_reported() && self.record.as_ref().is_some_and(|record| record.outcome.is_some())
    }

    /// Whether `spotblock down` has begun to end it. It may have been stopped before it was done.
    #[must_use]
    pub fn is_being_ended(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.ended.is_some())
    }

    /// Where it is in its life at `now`.
    #[must_use]
    pub fn life(&self, now: Timestamp) -> Life {
        let standings = || self.requests.iter().map(SpotRequest::status);
        if self
            .instances
            .iter()
            .any(|instance| instance.is_up() && self.end_of(instance).is_none_or(|end| now < end))
        {
            return Life::Live;
        }
        if standings().any(|standing| standing == SpotRequestStatus::Holding) {
            return Life::Requested;
        }
        // Fulfilled, and the instance isn't shown yet.
        let shown = |id: &String| self.instances.iter().any(|instance| instance.id == *id);
        let coming = |it: &&SpotRequest| {
            it.status() == SpotRequestStatus::Live && !it.instance.as_ref().is_some_and(shown)
        };
        if self.requests.iter().any(|request| coming(&request)) {
            return Life::Live;
        }
        match &self.record {
            // What it reserved is to be given back yet.
            Some(record) if record.outcome.is_some() && self.holds_a_reservation() => {
                Life::Requested
            }
            Some(record) if record.outcome.is_some() => Life::Refused,
            Some(record) if now < record.spec.late() && self.may_still_be_bought(record) => {
                Life::Recorded
            }
            _ => Life::Ended,
        }
    }

    /// Whether an attempt is left of which nothing has come.
    fn may_still_be_bought(&self, record: &Record) -> bool {
        let Some(attempt) = record.attempt().filter(|_| record.ended.is_none()) else {
            return false;
        };
        // Its capacity block goes on, but its instances came, and are gone.
        if record.reported.is_some() && record.spec.reserved.is_some() {
            return false;
        }
        let of_it = |made: Option<u32>| made == Some(attempt.number);
        let bought = |it: &SpotRequest| {
            of_it(attempt_of(&it.tags)) && it.status() != SpotRequestStatus::Failed
        };
        !self.requests.iter().any(bought)
            && !self.instances.iter().any(|it| of_it(self.attempt_of(it)))
    }

    /// The attempt that brought an instance: its spot request's, for a request's tags don't reach
    /// its instance.
    #[must_use]
    pub fn attempt_of(&self, instance: &Instance) -> Option<u32> {
        let brought = |it: &&SpotRequest| it.instance.as_ref() == Some(&instance.id);
        let tags =
            self.requests.iter().find(brought).map_or(&instance.tags, |request| &request.tags);
        attempt_of(tags)
    }

    /// The source that brought an instance.
    #[must_use]
    pub fn source_of(&self, instance: &Instance) -> Option<Source> {
        let number = self.attempt_of(instance)?;
        let attempts = self.record.as_ref()?.spec.attempts();
        attempts.into_iter().find(|attempt| attempt.number == number).map(|attempt| attempt.source)
    }

    /// Whether anything was bought, or asked for.
    #[must_use]
    pub fn has_anything(&self) -> bool {
        !self.requests.is_empty() || !self.reservations.is_empty() || !self.instances.is_empty()
    }

    /// Whether capacity is reserved for it, and paid for.
    #[must_use]
    pub fn holds_a_reservation(&self) -> bool {
        self.reservations.iter().any(CapacityReservation::is_held)
    }

    /// Whether something of it is up or may still come up.
    #[must_use]
    pub fn has_something_left(&self) -> bool {
        self.instances.iter().any(Instance::is_up)
            || self.requests.iter().any(|request| self.may_come(request))
            || self.holds_a_reservation()
    }

    /// Where `extend` moved the end of an instance's block.
    #[must_use]
    pub fn moved_to(&self, instance: &Instance) -> Option<Timestamp> {
        instance.tags.get(tag::END).and_then(|text| text.parse().ok())
    }

    /// When its block ends after that: the tag is the end that AWS gives, a capacity block's before
    /// that is taken back.
    fn moved_end_of(&self, instance: &Instance) -> Option<Timestamp> {
        let moved = self.moved_to(instance)?;
        let reserved = self.record.as_ref().and_then(|record| record.spec.reserved.as_ref());
        match reserved.filter(|_| self.source_of(instance) == Some(Source::CapacityBlock)) {
            Some(reserved) => Some(Reserved { end: moved, ..reserved.clone() }.reclaimed_at()),
            None => Some(moved),
        }
    }

    /// The moments of an instance's block as its agent, with these settings, has them.
    #[must_use]
    pub fn timeline(&self, config: &NodeConfig, instance: &Instance) -> Timeline {
        let mut config = config.clone();
        if let (Some(record), Some(source)) =
            (&self.record, self.source_of(instance).map(source::rules))
        {
            source.configure(&mut config, &record.spec);
        }
        let own = Timeline::new(&config, instance.launched);
        let moved =
            self.moved_to(instance).map(|end| Timeline::moved_to(&config, instance.launched, end));
        moved.filter(|moved| moved.end > own.end).unwrap_or(own)
    }

    /// When an instance's block ends.
    #[must_use]
    pub fn end_of(&self, instance: &Instance) -> Option<Timestamp> {
        let spec = &self.record.as_ref()?.spec;
        // An instance that no attempt names lasts the duration, as those of most sources do.
        let source = self.source_of(instance).unwrap_or(Source::OnDemand);
        let end = source::rules(source).end_rule(spec).map(|rule| rule.end_for(instance.launched));
        // The agent takes none that is nearer either.
        end.max(self.moved_end_of(instance))
    }
}

/// The block that `up` continues: the newest that goes on. With `new` it is continued only until a
/// run has told how it came up, for then this run is that run's repetition.
#[must_use]
pub fn current(blocks: &[Block], now: Timestamp, new: bool) -> Option<&Block> {
    let goes_on = |block: &&Block| {
        block.record.is_some()
            && block.life(now).goes_on()
            && !block.is_given_up()
            && !block.is_being_ended()
    };
    let newest = blocks.iter().rev().find(goes_on);
    newest.filter(|block| !new || !block.is_reported())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ownership::Owned;
    use crate::record::tests::spec;

    fn at(minutes: i64) -> Timestamp {
        "2026-11-24T10:00:00Z".parse::<Timestamp>().expect("a time")
            + jiff::SignedDuration::from_mins(minutes)
    }

    pub(crate) fn request(
        id: &str,
        state: &str,
        code: &str,
        instance: Option<&str>,
    ) -> SpotRequest {
        let (state, code, instance) = (state.into(), code.into(), instance.map(str::to_owned));
        SpotRequest {
            id: id.into(),
            state,
            code,
            instance,
            tags: spec().tags_of(1),
            ..SpotRequest::default()
        }
    }

    pub(crate) fn instance(id: &str, state: &str, request: Option<&str>) -> Instance {
        Instance {
            id: id.into(),
            state: state.into(),
            instance_type: "t2.micro".into(),
            launched: at(0),
            zone: "us-east-1c".into(),
            spot_request: request.map(str::to_owned),
            reason: String::new(),
            tags: BTreeMap::new(),
        }
    }

    fn record() -> Record {
        let (template, name) = (Owned::created("lt-1"), "spotblock-spot-block-test-1".into());
        let refused = Vec::new();
        Record {
            template,
            name,
            number: 1,
            created: at(0),
            spec: spec(),
            refused,
            driver: None,
            outcome: None,
            reported: None,
            ended: None,
            extension: None,
        }
    }

    fn block(requests: Vec<SpotRequest>, instances: Vec<Instance>) -> Block {
        Block { requests, instances, ..empty(spec().block, Some(record())) }
    }

    #[test]
    fn a_block_lives_from_its_record_to_its_end() {
        let open = || request("sir-1", "open", "pending-fulfillment", None);
        let active = || request("sir-1", "active", "fulfilled", Some("i-1"));
        let closed = || request("sir-1", "closed", "instance-terminated-by-user", Some("i-1"));
        let cases = [
            ("recorded", block(vec![], vec![]), 5, Life::Recorded),
            (
                "recorded, and a request may still turn up",
                block(vec![], vec![]),
                10,
                Life::Recorded,
            ),
            ("recorded, and it is too late for a request", block(vec![], vec![]), 11, Life::Ended),
            ("requested", block(vec![open()], vec![]), 5, Life::Requested),
            ("fulfilled, instance not shown yet", block(vec![active()], vec![]), 5, Life::Live),
            (
                "running",
                block(vec![active()], vec![instance("i-1", "running", None)]),
                30,
                Life::Live,
            ),
            (
                "running past its end",
                block(vec![active()], vec![instance("i-1", "running", None)]),
                60,
                Life::Ended,
            ),
            (
                "gone early",
                block(vec![closed()], vec![instance("i-1", "terminated", None)]),
                30,
                Life::Ended,
            ),
            (
                "going",
                block(vec![closed()], vec![instance("i-1", "shutting-down", None)]),
                30,
                Life::Ended,
            ),
        ];
        for (name, block, minute, expected) in cases {
            assert_eq!(block.life(at(minute)), expected, "{name}");
        }
        let mut refused = block(vec![], vec![]);
        refused.record.as_mut().expect("a record").outcome =
            Some("refused:InvalidParameterValue".into());
        assert_eq!(refused.life(at(1)), Life::Refused);
        assert!(current(&[refused], at(1), false).is_none());
    }

    /// Catches: `up --new` that was killed and run again with the same words, and bought twice.
    #[test]
    fn new_goes_on_with_a_block_whose_end_nobody_was_told() {
        let live = || block(vec![request("sir-1", "active", "fulfilled", None)], vec![]);
        let mut told = live();
        told.record.as_mut().expect("a record").reported = Some("joined".into());
        for (name, block, new, continued) in [
            ("plain, not told", live(), false, true),
            ("plain, told", told.clone(), false, true),
            ("new, not told", live(), true, true),
            ("new, told", told, true, false),
        ] {
            assert_eq!(current(&[block], at(5), new).is_some(), continued, "{name}");
        }
    }

    #[test]
    fn what_was_bought_without_a_record_is_found_all_the_same() {
        let blocks = assemble(
            "spot-block-test",
            Vec::new(),
            &Found {
                requests: vec![request("sir-1", "active", "fulfilled", Some("i-1"))],
                instances: vec![
                    instance("i-1", "running", Some("sir-1")),
                    instance("i-2", "running", None),
                ],
                ..Found::default()
            },
            &BTreeSet::new(),
        );
        assert_eq!(blocks.len(), 1);
        assert!(blocks[0].record.is_none());
        assert_eq!(
            blocks[0].instances.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
            ["i-1"]
        );
        assert!(current(&blocks, at(5), false).is_none(), "nothing says how to continue it");
        let over = assemble(
            "spot-block-test",
            Vec::new(),
            &Found {
                requests: vec![request(
                    "sir-1",
                    "closed",
                    "instance-terminated-by-user",
                    Some("i-1"),
                )],
                instances: vec![instance("i-1", "terminated", Some("sir-1"))],
                ..Found::default()
            },
            &BTreeSet::new(),
        );
        assert!(over.is_empty(), "{over:?}");
    }
}
