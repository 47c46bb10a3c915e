//! Out of what AWS shows, the blocks that it belongs to.

use std::collections::BTreeSet;

use node_contract::names::tag;

use super::Block;
use crate::capacity_reservation::CapacityReservation;
use crate::instance::Instance;
use crate::ownership::Marks;
use crate::record::Record;
use crate::spot_request::SpotRequest;

/// A part of what blocks are, which has a read of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Their records: DescribeLaunchTemplates.
    Records,
    /// Their spot requests: DescribeSpotInstanceRequests.
    Requests,
    /// Their instances: DescribeInstances.
    Instances,
    /// Their capacity reservations: DescribeCapacityReservations.
    Reservations,
}

impl Part {
    /// What there may be that nobody has seen, where it couldn't be read.
    #[must_use]
    pub fn left(self) -> &'static str {
        match self {
            Self::Records => "records (launch templates), and what only they know of a block",
            Self::Requests => {
                "open spot requests, which bring instances yet, and instances that came of one"
            }
            Self::Instances => "instances",
            Self::Reservations => {
                "capacity reservations, which cost until they are cancelled or over"
            }
        }
    }
}

/// Requests, reservations and instances that may be ours, and the requests of those instances
/// whosesoever they are.
#[derive(Debug, Default)]
pub struct Found {
    /// The spot requests.
    pub requests: Vec<SpotRequest>,
    /// The capacity reservations.
    pub reservations: Vec<CapacityReservation>,
    /// The instances.
    pub instances: Vec<Instance>,
}

/// A block of which nothing is found yet.
#[must_use]
pub fn empty(id: String, record: Option<Record>) -> Block {
    let (requests, reservations, instances, unsure, unread) = Default::default();
    Block { id, record, requests, reservations, instances, unsure, unread }
}

/// The blocks that are in what was found: those with a record first, in the order of their records.
#[must_use]
pub fn assemble(
    environment: &str,
    records: Vec<Record>,
    found: &Found,
    unread: &BTreeSet<Part>,
) -> Vec<Block> {
    let mut blocks: Vec<Block> =
        records.into_iter().map(|record| empty(record.spec.block.clone(), Some(record))).collect();
    let marked =
        found.requests.iter().map(|it| &it.tags).chain(found.instances.iter().map(|it| &it.tags));
    let marked = marked.chain(found.reservations.iter().map(|it| &it.tags));
    let marked: BTreeSet<String> =
        marked.filter_map(|tags| tags.get(tag::BLOCK)).cloned().collect();
    let unrecorded: Vec<String> =
        marked.into_iter().filter(|id| blocks.iter().all(|block| block.id != *id)).collect();
    blocks.extend(unrecorded.into_iter().map(|id| empty(id, None)));
    for block in &mut blocks {
        block.take(environment, found, unread);
    }
    // AWS shows what has ended for hours; without a record that is over for us.
    blocks.retain(|block| {
        block.record.is_some() || block.has_something_left() || !block.unsure.is_empty()
    });
    blocks
}

impl Block {
    /// Takes what is this block's out of what was found.
    pub fn take(&mut self, environment: &str, found: &Found, unread: &BTreeSet<Part>) {
        let marks = self.marks(environment);
        let requests = found.requests.iter().filter(|it| marks.are_on(&it.tags)).cloned().collect();
        let reservations = found.reservations.iter().filter(|it| marks.are_on(&it.tags));
        let reservations = reservations.cloned().collect();
        let owned = |it: &&Instance| marks.claim_instance(it, &found.requests).is_some();
        // Its own tags count where AWS has forgotten its request, not where AWS wasn't to tell.
        let (unsure, sure) = found.instances.iter().filter(owned).cloned().partition(|it| {
            unread.contains(&Part::Requests) && Marks::needs_its_request(it, &found.requests)
        });
        let unsure: Vec<Instance> = unsure;
        self.unread.clone_from(unread);
        (self.requests, self.reservations, self.instances) = (requests, reservations, sure);
        self.unsure = unsure.into_iter().filter(Instance::is_up).map(|it| it.id).collect();
    }

    /// Whether this part of it couldn't be read.
    #[must_use]
    pub fn lacks(&self, part: Part) -> bool {
        self.unread.contains(&part)
    }
}
