//! Where the capacity comes from: one file a source, each a [`Capacity`]. Nothing else knows how a source is bought.
//!
//! - `refusal.rs`: what AWS's refusals mean, and which of them lead on to the next source
//! - `spot_block.rs`: spot instances with a defined duration
//! - `capacity_block.rs`: capacity blocks, bought or there already
//! - `spot.rs`, `on_demand.rs`: what they have in common is in `fleet.rs`
//! - `reservation.rs`: a capacity reservation, made for the block or the user's own, and launches into it
//!
//! `bring/ladder.rs` climbs from one to the next.

use std::pin::Pin;

use jiff::{SignedDuration, Timestamp};
use node_contract::{NodeConfig, Source};
use serde::Serialize;

use crate::block::Block;
use crate::bring::SETTLE_LIMIT;
use crate::error::Result;
use crate::record::{Attempt, LaunchData, Pool, Record, Terms};
use crate::session::Session;
use crate::wait::{Bound, Seen};

pub mod capacity_block;
mod fleet;
pub mod on_demand;
pub mod refusal;
pub mod reservation;
pub mod spot;
pub mod spot_block;

pub use refusal::{Refusal, Short};
pub use spot_block::{Standing, standing};

/// An answer that takes its time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// What a source promises of the instances that it brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Guarantee {
    /// In a word or two.
    pub label: &'static str,
    /// Who ends the instances at the block's end, first of all.
    pub ended_by: &'static str,
}

/// One attempt that is to be made.
#[derive(Clone, Copy)]
pub struct Buying<'a> {
    /// The run.
    pub session: &'a Session<'a>,
    /// The block's record.
    pub record: &'a Record,
    /// The attempt.
    pub attempt: &'a Attempt,
    /// How many instances it is asked for.
    pub asked: u32,
    /// What is launched; its user data is this source's.
    pub launch: &'a LaunchData,
    /// The block as it was seen last: the attempt may have been made already.
    pub block: &'a Block,
    /// Whether the user agreed to a purchase that is paid at once and for good.
    pub consent: bool,
}

impl Buying<'_> {
    /// How many instances the attempt is seen to have brought already.
    fn made(&self) -> u32 {
        let of_it = self.block.instances.iter().filter(|it| self.block.attempt_of(it) == Some(self.attempt.number));
        u32::try_from(of_it.count()).unwrap_or(u32::MAX)
    }

    /// What the attempt came to, where there is nothing left to ask for: all is there, or the block's time to buy is over.
    fn decided(&self) -> Option<Came> {
        let made = self.made();
        let over = self.session.now() >= self.record.terms.closes();
        if made >= self.asked || over && made > 0 {
            return Some(Came { instances: made, short: None });
        }
        over.then(|| Came { instances: 0, short: Some(Short::too_late()) })
    }
}

/// What came of an attempt.
#[derive(Debug, Default)]
pub struct Came {
    /// How many instances are there, or on their way.
    pub instances: u32,
    /// Why there are fewer than asked for.
    pub short: Option<Short>,
}

/// A source.
pub trait Capacity: Sync {
    /// Which one.
    fn source(&self) -> Source;

    /// What it promises.
    fn guarantee(&self) -> Guarantee;

    /// Why a block can't last so long, if it can't.
    fn impossible(&self, duration: SignedDuration) -> Option<String>;

    /// How many instances it sells at most, where it says.
    fn most(&self) -> Option<u32> {
        None
    }

    /// Whether its purchase may be made by one run only, however few attempts there are.
    fn takes_turns(&self, _terms: &Terms) -> bool {
        false
    }

    /// What is known beforehand, for `plan`.
    fn foreseen(&self) -> Option<&'static str> {
        None
    }

    /// The pools that are tried one after the other.
    fn pools(&self, terms: &Terms) -> Vec<Pool>;

    /// What the agent on its instances is told.
    fn tell(&self, config: &mut NodeConfig, _terms: &Terms) {
        config.source = self.source();
    }

    /// When an instance's block ends: its launch plus the duration.
    fn end(&self, terms: &Terms, launched: Timestamp) -> Option<Timestamp> {
        launched.checked_add(terms.duration).ok()
    }

    /// Buys what the attempt says, or finds that it was bought already, and waits until it is known what came. Asked for
    /// again it must not buy again.
    ///
    /// # Errors
    /// What says nothing about the capacity: credentials, network, a wait that came to its end. A refusal is no error
    /// but in [`Came::short`].
    fn buy<'a>(&'a self, buying: Buying<'a>) -> Pending<'a, Came>;
}

static ALL: [&dyn Capacity; 5] = [
    &spot_block::SpotBlock,
    &spot::Spot,
    &on_demand::OnDemand,
    &reservation::CapacityReservation,
    &capacity_block::CapacityBlock,
];

/// A source; none where this version doesn't have it.
#[must_use]
pub fn of(source: Source) -> Option<&'static dyn Capacity> {
    ALL.into_iter().find(|it| it.source() == source)
}

/// A source by its name, of this version or not.
#[must_use]
pub fn named(name: &str) -> Option<Source> {
    [Source::SpotBlock, Source::Spot, Source::OnDemand, Source::Reservation, Source::CapacityBlock]
        .into_iter()
        .find(|source| source.to_string() == name)
}

/// The names of all sources that this version has.
#[must_use]
pub fn names() -> Vec<String> {
    ALL.iter().map(|it| it.source().to_string()).collect()
}

/// A pool for each type in each subnet, the preferred type first.
fn by_type_and_subnet(terms: &Terms) -> Vec<Pool> {
    let pool = |kind: &String, subnet: &String| Pool { types: vec![kind.clone()], subnets: vec![subnet.clone()] };
    terms.types.iter().flat_map(|kind| terms.subnets.iter().map(move |subnet| pool(kind, subnet))).collect()
}

/// A purchase, repeated while the instance profile is too new to be used.
async fn with_profile<T>(session: &Session<'_>, launch: &LaunchData, ask: impl AsyncFn() -> Result<T>) -> Result<T> {
    let bound = Bound {
        what: format!("instance profile {} to be usable", launch.instance_profile),
        limit: SETTLE_LIMIT,
        next: format!(
            "nothing was bought. Check `aws iam get-instance-profile --instance-profile-name {}`: it must exist and have \
             a role; then run the same command again",
            launch.instance_profile
        ),
    };
    let look = async || match ask().await {
        Err(error) if refusal::profile_too_new(&error) => Ok(Seen::NotYet(error.to_string())),
        result => result.map(Seen::Done),
    };
    session.waits.until(session.ui, bound, look).await
}
