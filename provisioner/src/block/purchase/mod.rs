//! How capacity is bought: one file a source. Nothing else knows how a source is bought.
//!
//! - `outcome.rs`: what came of an attempt, and why it may have brought too little
//! - `spot_block.rs`: spot instances with a defined duration
//! - `fleet.rs`: spot and on-demand instances, launched by a fleet of type instant
//! - `reservation.rs`: a capacity reservation, made for the block or the user's own, and launches
//!   into it
//! - `capacity_block.rs`: capacity blocks, bought or there already
//!
//! `launch/try_sources.rs` goes from one to the next. What a source sells and promises is told in
//! `model/src/source/`; what AWS's refusals mean, in `aws/refusal.rs`.

use node_contract::Source;

use crate::aws::ec2::Market;
use crate::aws::refusal;
use crate::model::block::Block;
use crate::model::error::Result;
use crate::model::record::{LaunchData, PurchaseAttempt, Record};
use crate::runtime::wait::{Poll, SETTLE_LIMIT, WaitSpec};
use crate::session::Session;

pub(crate) mod capacity_block;
mod fleet;
mod outcome;
mod reservation;
mod spot_block;

pub(crate) use outcome::{Bought, PurchaseOutcome, Shortfall, outcome};

/// One attempt that is to be made.
#[derive(Clone, Copy)]
pub(crate) struct PurchaseRequest<'a> {
    /// The run.
    pub session: &'a Session<'a>,
    /// The block's record.
    pub record: &'a Record,
    /// The attempt.
    pub attempt: &'a PurchaseAttempt,
    /// How many instances it is asked for.
    pub asked: u32,
    /// What is launched; its user data is this source's.
    pub launch: &'a LaunchData,
    /// The block as it was seen last: the attempt may have been made already.
    pub block: &'a Block,
    /// Whether the user agreed to a purchase that is paid at once and for good.
    pub consent: bool,
}

impl PurchaseRequest<'_> {
    /// How many instances the attempt is seen to have brought already.
    fn made(&self) -> u32 {
        let of_it = self
            .block
            .instances
            .iter()
            .filter(|it| self.block.attempt_of(it) == Some(self.attempt.number));
        u32::try_from(of_it.count()).unwrap_or(u32::MAX)
    }

    /// What the attempt came to, where there is nothing left to ask for: all is there, or the
    /// block's time to buy is over.
    fn decided(&self) -> Option<PurchaseOutcome> {
        let made = self.made();
        let over = self.session.now() >= self.record.spec.closes();
        if made >= self.asked || over && made > 0 {
            return Some(PurchaseOutcome::of(made));
        }
        over.then(|| PurchaseOutcome::short(0, Shortfall::too_late()))
    }
}

/// Buys what the attempt says, or finds that it was bought already, and waits until it is known
/// what came. Asked for again it must not buy again.
///
/// # Errors
/// What says nothing about the capacity: credentials, network, a wait that came to its end. A
/// refusal is no error but in [`PurchaseOutcome::short`].
pub(crate) async fn buy(request: PurchaseRequest<'_>) -> Result<PurchaseOutcome> {
    match request.attempt.source {
        Source::SpotBlock => Box::pin(spot_block::buy(request)).await,
        Source::Spot => Box::pin(fleet::buy(request, Market::Spot)).await,
        Source::OnDemand => Box::pin(fleet::buy(request, Market::OnDemand)).await,
        Source::Reservation => Box::pin(reservation::buy(request)).await,
        Source::CapacityBlock => Box::pin(capacity_block::buy(request)).await,
    }
}

/// A purchase, repeated while the instance profile is too new to be used.
async fn with_profile<T>(
    session: &Session<'_>,
    launch: &LaunchData,
    ask: impl AsyncFn() -> Result<T>,
) -> Result<T> {
    let bound = WaitSpec {
        what: format!("instance profile {} to be usable", launch.instance_profile),
        limit: SETTLE_LIMIT,
        next: format!(
            "nothing was bought. Check `aws iam get-instance-profile --instance-profile-name \
             {}`: it must exist and have a role; then run the same command again",
            launch.instance_profile
        ),
    };
    let look = async || match ask().await {
        Err(error) if refusal::profile_too_new(&error) => Ok(Poll::NotYet(error.to_string())),
        result => result.map(Poll::Done),
    };
    session.waits.until(session.ui, bound, look).await
}
