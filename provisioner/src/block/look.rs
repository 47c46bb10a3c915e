//! Looking for blocks in AWS. Whoever buys needs all that there is ([`all`], [`again`]) and ends at the first read that
//! fails. Whoever ends what is left goes on with what the other reads show ([`seen`], [`seen_again`]), and knows of each
//! block what it doesn't know.

use std::collections::{BTreeMap, BTreeSet};

use node_contract::names::tag;

use super::Block;
use crate::aws::Aws;
use crate::aws::ec2::{HeldCapacity, Instance, SpotRequest};
use crate::error::{Error, Result};
use crate::ownership::Marks;
use crate::record::Record;

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
            Self::Requests => "open spot requests, which bring instances yet, and instances that came of one",
            Self::Instances => "instances",
            Self::Reservations => "capacity reservations, which cost until they are cancelled or over",
        }
    }
}

/// The parts that couldn't be read, each with the reason.
pub type Unread = BTreeMap<Part, Error>;

/// All blocks of an environment, in the order of their records; those without a record come last.
///
/// # Errors
/// When a call fails.
pub async fn all(aws: &Aws, environment: &str) -> Result<Vec<Block>> {
    let mut reads = Reads { goes_on: false, unread: Unread::new() };
    blocks(aws, environment, false, &mut reads).await
}

/// What can be seen of all blocks of an environment, and what could not be read: for whoever ends what is left. With
/// `reserved`, reservations whose records are gone are looked for as well.
///
/// # Errors
/// When a call fails in a way that all others would: the credentials.
pub async fn seen(aws: &Aws, environment: &str, reserved: bool) -> Result<(Vec<Block>, Unread)> {
    let mut reads = Reads { goes_on: true, unread: Unread::new() };
    let blocks = blocks(aws, environment, reserved, &mut reads).await?;
    Ok((blocks, reads.unread))
}

async fn blocks(aws: &Aws, environment: &str, reserves: bool, reads: &mut Reads) -> Result<Vec<Block>> {
    let records = reads.of(Part::Records, aws.ec2.records(environment).await)?;
    let reserves = reserves || records.iter().any(Record::reserves);
    let found = look(aws, (tag::ENVIRONMENT, environment), reserves, reads).await?;
    Ok(assemble(environment, records, &found, &reads.parts()))
}

/// A block as it is now, by its id; its record is taken as given.
///
/// # Errors
/// When a call fails.
pub async fn again(aws: &Aws, environment: &str, id: &str, record: Option<Record>) -> Result<Block> {
    let mut reads = Reads { goes_on: false, unread: Unread::new() };
    one(aws, environment, (id, record), &mut reads).await
}

/// What can be seen of a block now, as [`seen`].
///
/// # Errors
/// As [`seen`].
pub async fn seen_again(aws: &Aws, environment: &str, of: &Block) -> Result<(Block, Unread)> {
    let mut reads = Reads { goes_on: true, unread: Unread::new() };
    let mut block = one(aws, environment, (&of.id, of.record.clone()), &mut reads).await?;
    // Why it has no record, only the first look knows.
    block.unread.extend(of.unread.get(&Part::Records));
    Ok((block, reads.unread))
}

async fn one(aws: &Aws, environment: &str, (id, record): (&str, Option<Record>), reads: &mut Reads) -> Result<Block> {
    let reserves = record.as_ref().is_none_or(Record::reserves);
    let found = look(aws, (tag::BLOCK, id), reserves, reads).await?;
    let mut block = empty(id.to_owned(), record);
    block.take(environment, &found, &reads.parts());
    Ok(block)
}

/// How a read that fails is taken.
struct Reads {
    goes_on: bool,
    unread: Unread,
}

impl Reads {
    /// What was read; nothing, where the read failed and the look goes on.
    fn of<T: Default>(&mut self, part: Part, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if self.goes_on && !error.is_about_the_caller() => {
                self.unread.entry(part).or_insert(error);
                Ok(T::default())
            }
            result => result,
        }
    }

    fn parts(&self) -> BTreeSet<Part> {
        self.unread.keys().copied().collect()
    }
}

/// Requests, reservations and instances that may be ours, and the requests of those instances whosesoever they are.
#[derive(Default)]
pub(super) struct Found {
    pub(super) requests: Vec<SpotRequest>,
    pub(super) reservations: Vec<HeldCapacity>,
    pub(super) instances: Vec<Instance>,
}

/// Reservations are looked for only where there may be some: few callers need the right to.
async fn look(aws: &Aws, (key, value): (&str, &str), reserves: bool, reads: &mut Reads) -> Result<Found> {
    let mut requests = reads.of(Part::Requests, aws.ec2.spot_requests(key, value).await)?;
    let mut instances = reads.of(Part::Instances, aws.ec2.instances_tagged(key, value).await)?;
    if !reads.unread.contains_key(&Part::Instances) {
        let tagged: BTreeSet<&str> = instances.iter().map(|instance| instance.id.as_str()).collect();
        // Only what the tag doesn't find: a filter takes 200 ids, and a block can have a thousand instances.
        let is_untagged = |it: &&SpotRequest| it.instance.as_deref().is_some_and(|id| !tagged.contains(id));
        let untagged: Vec<SpotRequest> = requests.iter().filter(is_untagged).cloned().collect();
        instances.extend(reads.of(Part::Instances, aws.ec2.instances_of_requests(&untagged).await)?);
    }
    if !reads.unread.contains_key(&Part::Requests) {
        let unknown = |id: &String| requests.iter().all(|request| request.id != *id);
        let of_none = instances.iter().filter(|it| it.template().is_none());
        let others: Vec<String> = of_none.filter_map(|it| it.spot_request.clone()).filter(unknown).collect();
        requests.extend(reads.of(Part::Requests, aws.ec2.spot_requests_of(&others).await)?);
    }
    let mut reservations = Vec::new();
    if reserves {
        reservations = reads.of(Part::Reservations, aws.ec2.reservations_tagged(key, value).await)?;
    }
    Ok(Found { requests, reservations, instances })
}

pub(super) fn empty(id: String, record: Option<Record>) -> Block {
    let (requests, reservations, instances, unsure, unread) = Default::default();
    Block { id, record, requests, reservations, instances, unsure, unread }
}

pub(super) fn assemble(environment: &str, records: Vec<Record>, found: &Found, unread: &BTreeSet<Part>) -> Vec<Block> {
    let mut blocks: Vec<Block> =
        records.into_iter().map(|record| empty(record.terms.block.clone(), Some(record))).collect();
    let marked = found.requests.iter().map(|it| &it.tags).chain(found.instances.iter().map(|it| &it.tags));
    let marked = marked.chain(found.reservations.iter().map(|it| &it.tags));
    let marked: BTreeSet<String> = marked.filter_map(|tags| tags.get(tag::BLOCK)).cloned().collect();
    let unrecorded: Vec<String> = marked.into_iter().filter(|id| blocks.iter().all(|block| block.id != *id)).collect();
    blocks.extend(unrecorded.into_iter().map(|id| empty(id, None)));
    for block in &mut blocks {
        block.take(environment, found, unread);
    }
    // AWS shows what has ended for hours; without a record that is over for us.
    blocks.retain(|block| block.record.is_some() || block.has_something_left() || !block.unsure.is_empty());
    blocks
}

impl Block {
    /// Takes what is this block's out of what was found.
    fn take(&mut self, environment: &str, found: &Found, unread: &BTreeSet<Part>) {
        let id = self.id.clone();
        let template = self.record.as_ref().map(|record| record.template.id().to_owned());
        let marks = Marks::of_block(environment, &id).of_template(template.as_deref());
        self.unread.clone_from(unread);
        self.requests = found.requests.iter().filter(|it| marks.are_on(&it.tags)).cloned().collect();
        self.reservations = found.reservations.iter().filter(|it| marks.are_on(&it.tags)).cloned().collect();
        let ours = |it: &&Instance| marks.claim_instance(it, &found.requests).is_some();
        // Its own tags count where AWS has forgotten its request, not where AWS wasn't to tell.
        let (unsure, sure) = found
            .instances
            .iter()
            .filter(ours)
            .cloned()
            .partition(|it| unread.contains(&Part::Requests) && Marks::needs_its_request(it, &found.requests));
        self.instances = sure;
        let unsure: Vec<Instance> = unsure;
        self.unsure = unsure.into_iter().filter(Instance::is_up).map(|it| it.id).collect();
    }

    /// Whether this part of it couldn't be read.
    #[must_use]
    pub fn lacks(&self, part: Part) -> bool {
        self.unread.contains(&part)
    }
}
