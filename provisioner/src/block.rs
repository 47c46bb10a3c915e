//! A block as AWS shows it: its record, its spot requests, its instances; and whether it lives.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use node_contract::names::tag;
use serde::Serialize;

use crate::aws::Aws;
use crate::aws::ec2::{Instance, SpotRequest};
use crate::capacity::{self, Standing};
use crate::error::Result;
use crate::record::Record;

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its id.
    pub id: String,
    /// Its record. Without one, something was bought whose record is gone.
    pub record: Option<Record>,
    /// Its spot requests.
    pub requests: Vec<SpotRequest>,
    /// Its instances.
    pub instances: Vec<Instance>,
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

/// Whether an instance is ours: the one check before anything is tagged or ended. Ours is what carries the marks of one
/// of the environment's blocks, or what a spot request brought that does.
#[must_use]
pub fn is_ours(instance: &Instance, environment: &str, block: &str, requests: &[SpotRequest]) -> bool {
    carries_marks(&instance.tags, environment, block)
        || requests.iter().any(|request| {
            let brought =
                instance.spot_request.as_ref() == Some(&request.id) || request.instance.as_ref() == Some(&instance.id);
            brought && carries_marks(&request.tags, environment, block)
        })
}

/// Whether tags are those of this block.
#[must_use]
pub fn carries_marks(tags: &BTreeMap<String, String>, environment: &str, block: &str) -> bool {
    let is = |key: &str, value: &str| tags.get(key).is_some_and(|found| found == value);
    is(tag::ENVIRONMENT, environment) && is(tag::BLOCK, block)
}

/// All blocks of an environment, in the order of their records; those without a record come last.
///
/// # Errors
/// When a call fails.
pub async fn all(aws: &Aws, environment: &str) -> Result<Vec<Block>> {
    let records = aws.ec2.records(environment).await?;
    let requests = aws.ec2.spot_requests(tag::ENVIRONMENT, environment).await?;
    let mut instances = aws.ec2.instances_of_requests(&requests).await?;
    let known: BTreeSet<String> = instances.iter().map(|instance| instance.id.clone()).collect();
    let tagged = aws.ec2.instances_tagged(tag::ENVIRONMENT, environment).await?;
    instances.extend(tagged.into_iter().filter(|instance| !known.contains(&instance.id)));
    Ok(assemble(environment, records, requests, instances))
}

fn assemble(
    environment: &str,
    records: Vec<Record>,
    requests: Vec<SpotRequest>,
    instances: Vec<Instance>,
) -> Vec<Block> {
    let empty = |id: String, record| Block { id, record, requests: Vec::new(), instances: Vec::new() };
    let mut blocks: Vec<Block> =
        records.into_iter().map(|record| empty(record.terms.block.clone(), Some(record))).collect();
    let marked = requests.iter().map(|request| &request.tags).chain(instances.iter().map(|instance| &instance.tags));
    let marked: BTreeSet<String> = marked.filter_map(|tags| tags.get(tag::BLOCK)).cloned().collect();
    let unrecorded: Vec<String> = marked.into_iter().filter(|id| blocks.iter().all(|block| block.id != *id)).collect();
    blocks.extend(unrecorded.into_iter().map(|id| empty(id, None)));
    for block in &mut blocks {
        block.requests.extend(requests.iter().filter(|it| carries_marks(&it.tags, environment, &block.id)).cloned());
        let ours = |instance: &&Instance| is_ours(instance, environment, &block.id, &block.requests);
        block.instances = instances.iter().filter(ours).cloned().collect();
    }
    // AWS shows what has ended for hours; without a record that is over for us.
    blocks.retain(|block| block.record.is_some() || block.has_something_left());
    blocks
}

impl Block {
    /// Where it is in its life at `now`.
    #[must_use]
    pub fn life(&self, now: Timestamp) -> Life {
        let standings = || self.requests.iter().map(capacity::standing);
        if self.instances.iter().any(|instance| instance.is_up() && self.end_of(instance).is_none_or(|end| now < end)) {
            return Life::Live;
        }
        if standings().any(|standing| standing == Standing::Holding) {
            return Life::Requested;
        }
        // Fulfilled, and the instance isn't shown yet.
        let shown = |id: &String| self.instances.iter().any(|instance| instance.id == *id);
        let coming =
            |it: &&SpotRequest| capacity::standing(it) == Standing::Live && !it.instance.as_ref().is_some_and(shown);
        if self.requests.iter().any(|request| coming(&request)) {
            return Life::Live;
        }
        match &self.record {
            Some(record) if record.outcome.is_some() => Life::Refused,
            Some(record) if self.requests.is_empty() && now < record.terms.valid_until => Life::Recorded,
            _ => Life::Ended,
        }
    }

    /// Whether something of it is up or may still come up.
    #[must_use]
    pub fn has_something_left(&self) -> bool {
        let may_come = |it: &SpotRequest| match capacity::standing(it) {
            Standing::Holding => true,
            Standing::Live => !self.instances.iter().any(|instance| Some(&instance.id) == it.instance.as_ref()),
            Standing::Failed | Standing::Over => false,
        };
        self.instances.iter().any(Instance::is_up) || self.requests.iter().any(may_come)
    }

    /// When an instance's block ends: its launch plus the duration.
    #[must_use]
    pub fn end_of(&self, instance: &Instance) -> Option<Timestamp> {
        instance.launched.checked_add(self.record.as_ref()?.terms.duration).ok()
    }
}

/// The block that `up` continues: the newest that goes on.
#[must_use]
pub fn current(blocks: &[Block], now: Timestamp) -> Option<&Block> {
    blocks.iter().rev().find(|block| block.record.is_some() && block.life(now).goes_on())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::tests::terms;

    fn at(minutes: i64) -> Timestamp {
        "2026-11-24T10:00:00Z".parse::<Timestamp>().expect("a time") + jiff::SignedDuration::from_mins(minutes)
    }

    pub(crate) fn request(id: &str, state: &str, code: &str, instance: Option<&str>) -> SpotRequest {
        let (state, code, instance) = (state.into(), code.into(), instance.map(str::to_owned));
        SpotRequest { id: id.into(), state, code, instance, tags: terms().resource_tags(), ..SpotRequest::default() }
    }

    fn instance(id: &str, state: &str, request: Option<&str>) -> Instance {
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
        let (template, name) = ("lt-1".into(), "spotblock-spot-block-test-1".into());
        Record { template, name, number: 1, created: at(0), terms: terms(), outcome: None }
    }

    fn block(requests: Vec<SpotRequest>, instances: Vec<Instance>) -> Block {
        Block { id: terms().block, record: Some(record()), requests, instances }
    }

    #[test]
    fn a_block_lives_from_its_record_to_its_end() {
        let open = || request("sir-1", "open", "pending-fulfillment", None);
        let active = || request("sir-1", "active", "fulfilled", Some("i-1"));
        let closed = || request("sir-1", "closed", "instance-terminated-by-user", Some("i-1"));
        let cases = [
            ("recorded", block(vec![], vec![]), 5, Life::Recorded),
            ("recorded, but the request is no longer valid", block(vec![], vec![]), 11, Life::Ended),
            ("requested", block(vec![open()], vec![]), 5, Life::Requested),
            ("fulfilled, instance not shown yet", block(vec![active()], vec![]), 5, Life::Live),
            ("running", block(vec![active()], vec![instance("i-1", "running", None)]), 30, Life::Live),
            ("running past its end", block(vec![active()], vec![instance("i-1", "running", None)]), 60, Life::Ended),
            ("gone early", block(vec![closed()], vec![instance("i-1", "terminated", None)]), 30, Life::Ended),
            ("going", block(vec![closed()], vec![instance("i-1", "shutting-down", None)]), 30, Life::Ended),
        ];
        for (name, block, minute, expected) in cases {
            assert_eq!(block.life(at(minute)), expected, "{name}");
        }
        let mut refused = block(vec![], vec![]);
        refused.record.as_mut().expect("a record").outcome = Some("refused:InvalidParameterValue".into());
        assert_eq!(refused.life(at(1)), Life::Refused);
        assert!(current(&[refused], at(1)).is_none());
    }

    /// Catches: foreign look-alikes taken for ours, and our own untagged instances taken for foreign.
    #[test]
    fn ours_is_what_carries_both_marks_or_what_our_request_brought() {
        let (environment, id) = ("spot-block-test", "sb-0123456789");
        let ours = request("sir-1", "active", "fulfilled", Some("i-1"));
        let mut foreign = request("sir-2", "active", "fulfilled", Some("i-2"));
        foreign.tags = BTreeMap::from([("Name".into(), "spotblock spot-block-test".into())]);
        let requests = [ours, foreign];
        let tagged = |tags: &[(&str, &str)]| Instance {
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..instance("i-3", "running", None)
        };
        let is = |instance: &Instance| is_ours(instance, environment, id, &requests);
        assert!(is(&instance("i-1", "running", Some("sir-1"))), "untagged, but of our request");
        assert!(is(&tagged(&[(tag::ENVIRONMENT, environment), (tag::BLOCK, id)])));
        assert!(!is(&instance("i-2", "running", Some("sir-2"))), "a foreign request");
        assert!(!is(&instance("i-4", "running", None)), "in the same cluster, nothing else");
        assert!(!is(&tagged(&[("Name", "spotblock spot-block-test")])), "the same name");
        assert!(!is(&tagged(&[(tag::ENVIRONMENT, environment)])), "one mark of two");
        assert!(!is(&tagged(&[(tag::ENVIRONMENT, "other"), (tag::BLOCK, id)])), "another environment");
        assert!(!is(&tagged(&[(tag::ENVIRONMENT, environment), (tag::BLOCK, "sb-9999999999")])), "another block");
    }

    #[test]
    fn what_was_bought_without_a_record_is_found_all_the_same() {
        let blocks = assemble(
            "spot-block-test",
            Vec::new(),
            vec![request("sir-1", "active", "fulfilled", Some("i-1"))],
            vec![instance("i-1", "running", Some("sir-1")), instance("i-2", "running", None)],
        );
        assert_eq!(blocks.len(), 1);
        assert!(blocks[0].record.is_none());
        assert_eq!(blocks[0].instances.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["i-1"]);
        assert!(current(&blocks, at(5)).is_none(), "nothing says how to continue it");
        let over = assemble(
            "spot-block-test",
            Vec::new(),
            vec![request("sir-1", "closed", "instance-terminated-by-user", Some("i-1"))],
            vec![instance("i-1", "terminated", Some("sir-1"))],
        );
        assert!(over.is_empty(), "{over:?}");
    }
}
