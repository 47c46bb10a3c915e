//! Giving back what isn't to be kept: cancel, describe again, terminate.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::block::drain::Members;
use crate::block::end::Ender;
use crate::block::find;
use crate::model::block::Block;
use crate::model::capacity_reservation::CapacityReservation;
use crate::model::error::Result;
use crate::model::instance::Instance;
use crate::model::ownership::Owned;
use crate::model::record::{Record, attempt_of};
use crate::model::spot_request::{SpotRequest, SpotRequestStatus};
use crate::runtime::wait::{Poll, WaitSpec};
use crate::session::Session;

/// Instances take seconds to minutes to be terminated; what is waited for here is that AWS has
/// begun.
const LIMIT: Duration = Duration::from_secs(300);

/// What is given back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chosen<'a> {
    /// What attempts left whose refusal stands on the record, and that nothing is kept of.
    Strays,
    /// This attempt's requests that may still be fulfilled. What came of others stays.
    OpenRequests(u32),
    /// Everything but what still has jobs: these instances.
    Idle(&'a BTreeSet<String>),
}

impl Chosen<'_> {
    fn attempt(self, record: &Record, attempt: Option<u32>) -> bool {
        match self {
            Self::Idle(_) => true,
            Self::Strays => attempt.is_some_and(|number| !record.keeps(number)),
            Self::OpenRequests(number) => attempt == Some(number),
        }
    }

    /// A reservation holds capacity that nobody else gets: of a refused attempt none is kept,
    /// whatever else is.
    fn reservation(self, record: &Record, it: &CapacityReservation) -> bool {
        let of_refused = || attempt_of(&it.tags).is_some_and(|number| record.has_refused(number));
        it.is_held() && matches!(self, Self::Idle(_))
            || it.is_held() && matches!(self, Self::Strays) && of_refused()
    }

    fn instances(self) -> bool {
        !matches!(self, Self::OpenRequests(_))
    }

    fn ends(self, instance: &Instance) -> bool {
        self.instances() && !matches!(self, Self::Idle(busy) if busy.contains(&instance.id))
    }
}

/// Gives back what is chosen, also what comes up late, and waits until nothing of it may still come
/// up.
pub(super) async fn run(
    session: &Session<'_>,
    block: &Block,
    record: &Record,
    chosen: Chosen<'_>,
) -> Result<()> {
    if left(block, record, chosen).is_none() {
        return Ok(());
    }
    let bound = WaitSpec {
        what: format!("what is not kept of block {} to be given back", block.id),
        limit: LIMIT,
        next: "run the same command again, or `spotblock down` to end the block".to_owned(),
    };
    let (mut seen, mut asked) = (Some(block.clone()), Vec::new());
    let look = async || {
        let now = match seen.take() {
            Some(seen) => seen,
            None => {
                find::refresh(session.aws, session.environment(), &block.id, Some(record.clone()))
                    .await?
            }
        };
        let Some(what) = left(&now, record, chosen) else { return Ok(Poll::Done(())) };
        give_back(session, &now, record, chosen, &mut asked).await?;
        Ok(Poll::NotYet(what))
    };
    session.waits.until(session.ui, bound, look).await
}

/// Gives everything back: no instance takes a further job, the idle ones are ended, and those that
/// have jobs are left to their agents, which leave when nothing is left on them.
pub(super) async fn idle(session: &Session<'_>, block: &Block, record: &Record) -> Result<()> {
    let members = Members::drain(session, &[block]).await?;
    let busy = members.busy(session).await?;
    if !busy.is_empty() {
        session.ui.say(format_args!(
            "{} instances have jobs: they take no more, and leave after them",
            busy.len()
        ));
    }
    run(session, block, record, Chosen::Idle(&busy)).await
}

/// What is left of it, in words.
fn left(block: &Block, record: &Record, chosen: Chosen<'_>) -> Option<String> {
    let request =
        |it: &&SpotRequest| chosen.attempt(record, attempt_of(&it.tags)) && block.may_come(it);
    let requests = block.requests.iter().filter(request).count();
    let instances = instances(block, record, chosen).len();
    let reservations =
        block.reservations.iter().filter(|it| chosen.reservation(record, it)).count();
    let reserved = if reservations > 0 {
        format!(", {reservations} capacity reservations")
    } else {
        String::new()
    };
    (requests + instances + reservations > 0)
        .then(|| format!("{instances} instances and {requests} requests{reserved} are left"))
}

fn instances<'a>(block: &'a Block, record: &Record, chosen: Chosen<'_>) -> Vec<&'a Instance> {
    let is = |it: &&Instance| {
        chosen.ends(it) && it.is_up() && chosen.attempt(record, block.attempt_of(it))
    };
    block.instances.iter().filter(is).collect()
}

/// `asked` are the instances that are on their way out already, whatever AWS still shows.
async fn give_back(
    session: &Session<'_>,
    block: &Block,
    record: &Record,
    chosen: Chosen<'_>,
    asked: &mut Vec<String>,
) -> Result<()> {
    let marks = block.marks(session.environment());
    let ender = Ender::new(session.aws, Some(session.ui), marks);
    let of_chosen =
        |it: &&SpotRequest| it.is_open() && chosen.attempt(record, attempt_of(&it.tags));
    let cancelled =
        |it: &&SpotRequest| chosen.instances() || it.status() == SpotRequestStatus::Holding;
    ender.cancel_requests(block.requests.iter().filter(of_chosen).filter(cancelled)).await?;
    let reserved =
        block.reservations.iter().filter(|it| it.is_active() && chosen.reservation(record, it));
    ender.cancel_reservations(reserved, &mut Vec::new()).await?;
    let new = instances(block, record, chosen).into_iter().filter(|it| !asked.contains(&it.id));
    let new: Vec<&Instance> = new.collect();
    ender.mark(&new, &block.requests).await?;
    let owned: Vec<Owned> =
        new.iter().filter_map(|it| marks.claim_instance(it, &block.requests)).collect();
    ender.terminate(&owned, asked).await
}
