//! Looking for blocks in AWS. Whoever buys needs all that there is ([`all`], [`refresh`]) and ends
//! at the first read that fails. Whoever ends what is left goes on with what the other reads show
//! ([`all_tolerant`], [`refresh_tolerant`]), and knows of each block what it doesn't know.

use std::collections::{BTreeMap, BTreeSet};

use node_contract::names::tag;

use crate::aws::Aws;
use crate::model::block::{Block, Found, Part, assemble, empty};
use crate::model::error::{Error, Result};
use crate::model::record::Record;
use crate::model::spot_request::SpotRequest;

/// The parts that couldn't be read, each with the reason.
pub(crate) type Unread = BTreeMap<Part, Error>;

/// What may be left by each part that couldn't be read, with the reason.
pub(crate) fn left_by(unread: Unread) -> impl Iterator<Item = (&'static str, Error)> {
    unread.into_iter().map(|(part, error)| (part.left(), error))
}

/// All blocks of an environment, in the order of their records; those without a record come last.
///
/// # Errors
/// When a call fails.
pub(crate) async fn all(aws: &Aws, environment: &str) -> Result<Vec<Block>> {
    let mut reads = Reads { goes_on: false, unread: Unread::new() };
    blocks(aws, environment, false, &mut reads).await
}

/// What can be seen of all blocks of an environment, and what could not be read: for whoever ends
/// what is left. With `reserved`, reservations whose records are gone are looked for as well.
///
/// # Errors
/// When a call fails in a way that all others would: the credentials.
pub(crate) async fn all_tolerant(
    aws: &Aws,
    environment: &str,
    reserved: bool,
) -> Result<(Vec<Block>, Unread)> {
    let mut reads = Reads { goes_on: true, unread: Unread::new() };
    let blocks = blocks(aws, environment, reserved, &mut reads).await?;
    Ok((blocks, reads.unread))
}

async fn blocks(
    aws: &Aws,
    environment: &str,
    reserves: bool,
    reads: &mut Reads,
) -> Result<Vec<Block>> {
    let records = reads.of(Part::Records, aws.ec2.records(environment).await)?;
    let reserves = reserves || records.iter().any(Record::reserves);
    let found = look(aws, (tag::ENVIRONMENT, environment), reserves, reads).await?;
    Ok(assemble(environment, records, &found, &reads.parts()))
}

/// A block as it is now, by its id; its record is taken as given.
///
/// # Errors
/// When a call fails.
pub(crate) async fn refresh(
    aws: &Aws,
    environment: &str,
    id: &str,
    record: Option<Record>,
) -> Result<Block> {
    let mut reads = Reads { goes_on: false, unread: Unread::new() };
    one(aws, environment, (id, record), &mut reads).await
}

/// What can be seen of a block now, as [`all_tolerant`].
///
/// # Errors
/// As [`all_tolerant`].
pub(crate) async fn refresh_tolerant(
    aws: &Aws,
    environment: &str,
    of: &Block,
) -> Result<(Block, Unread)> {
    let mut reads = Reads { goes_on: true, unread: Unread::new() };
    let mut block = one(aws, environment, (&of.id, of.record.clone()), &mut reads).await?;
    // Why it has no record, only the first look knows.
    block.unread.extend(of.unread.get(&Part::Records));
    Ok((block, reads.unread))
}

async fn one(
    aws: &Aws,
    environment: &str,
    (id, record): (&str, Option<Record>),
    reads: &mut Reads,
) -> Result<Block> {
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

/// Reservations are looked for only where there may be some: few callers need the right to.
async fn look(
    aws: &Aws,
    (key, value): (&str, &str),
    reserves: bool,
    reads: &mut Reads,
) -> Result<Found> {
    let mut requests = reads.of(Part::Requests, aws.ec2.spot_requests(key, value).await)?;
    let mut instances = reads.of(Part::Instances, aws.ec2.instances_tagged(key, value).await)?;
    if !reads.unread.contains_key(&Part::Instances) {
        let tagged: BTreeSet<&str> =
            instances.iter().map(|instance| instance.id.as_str()).collect();
        // Only what the tag doesn't find: a filter takes 200 ids, and a block can have a thousand
        // instances.
        let is_untagged =
            |it: &&SpotRequest| it.instance.as_deref().is_some_and(|id| !tagged.contains(id));
        let untagged: Vec<SpotRequest> = requests.iter().filter(is_untagged).cloned().collect();
        instances
            .extend(reads.of(Part::Instances, aws.ec2.instances_of_requests(&untagged).await)?);
    }
    if !reads.unread.contains_key(&Part::Requests) {
        let unknown = |id: &String| requests.iter().all(|request| request.id != *id);
        let of_none = instances.iter().filter(|it| it.template().is_none());
        let others: Vec<String> =
            of_none.filter_map(|it| it.spot_request.clone()).filter(unknown).collect();
        requests.extend(reads.of(Part::Requests, aws.ec2.spot_requests_of(&others).await)?);
    }
    let mut reservations = Vec::new();
    if reserves {
        reservations =
            reads.of(Part::Reservations, aws.ec2.reservations_tagged(key, value).await)?;
    }
    Ok(Found { requests, reservations, instances })
}
