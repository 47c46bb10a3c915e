//! The extension of a capacity block: bought once, or not at all, like the block itself.
//!
//! 1. where the capacity block ends is looked up, and what was bought before: a run that was
//!    stopped between its purchase and what follows is gone on with, and buys nothing
//! 2. the mark of a purchase without anything to show for it stands: nothing more is bought
//! 3. the mark is written, with this run's name, soon after that look; a while later the record is
//!    read again: of several runs at once the last to write finds its own name, and it alone buys
//!    (`launch/lease.rs` tells of the same)
//! 4. the purchase is sent once, without the SDK's repetitions, and looked for where its answer is
//!    lost
//! 5. it is paid, and the capacity block's end has moved; only then is anybody told
//!
//! The record's own words of the capacity block stay as they were: the tag on the instances says
//! where their end is now.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use node_contract::Source;

use super::purchase::is_unsure;
use crate::aws::ec2::{BoughtExtension, ExtensionOffering, Named};
use crate::model::error::{Error, ErrorKind, Result};
use crate::model::record::{Extension, Record, Reserved};
use crate::model::source;
use crate::runtime::wait::{Poll, SETTLE_LIMIT, WaitSpec};
use crate::session::Session;

/// Until how long before its end a capacity block can be extended `[V]`.
const EXTENDABLE: SignedDuration = SignedDuration::from_hours(1);
/// How long after its look a run may write its mark, and how long it waits after that before it
/// looks again.
const HASTE: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_secs(10);
/// How long a payment is waited for `[A]`.
const PAYMENT: Duration = Duration::from_secs(10 * 60);
const PAID: &str = "payment-succeeded";
const UNPAID: &str = "payment-failed";

/// What is to be extended.
#[derive(Clone, Copy)]
pub(crate) struct Extending<'a> {
    /// The run.
    pub session: &'a Session<'a>,
    /// The block's record.
    pub record: &'a Record,
    /// Its capacity block.
    pub reserved: &'a Reserved,
    /// Whether the user agreed to a purchase that is paid at once and for good.
    pub consent: bool,
}

/// Sees to it that the capacity block's instances can go on until `until`, and gives the capacity
/// block with its end as it is now.
///
/// # Errors
/// When it can't be extended so, or not without leave; when a purchase is not known to have been
/// made; when a call fails.
pub(crate) async fn reach(extending: Extending<'_>, until: Timestamp) -> Result<Reserved> {
    let Extending { session, record, reserved, .. } = extending;
    let wanted = until
        .checked_add(SignedDuration::from_secs(reserved.reclaim_secs.into()))
        .unwrap_or(Timestamp::MAX);
    let looked = session.now();
    let end = end_now(extending).await?;
    if wanted <= end {
        return Ok(Reserved { end, ..reserved.clone() });
    }
    let bought = session.aws.ec2.extensions(&reserved.id).await?;
    if let Some(pending) = bought.iter().find(|it| it.end >= wanted && it.status != UNPAID) {
        return paid(extending, &pending.offering).await;
    }
    if let Some(sent) = record
        .extension
        .as_ref()
        .filter(|sent| !bought.iter().any(|it| it.offering == sent.offering))
    {
        let found = bought_soon(extending, sent).await?;
        if found.end >= wanted {
            return paid(extending, &found.offering).await;
        }
    }
    let offering = chosen(extending, end, wanted, &bought).await?;
    let mark = Extension { offering: offering.id.clone(), by: session.waits.hex(8) };
    marked(extending, &mark, looked).await?;
    session.ui.say(format_args!(
        "buying {}: capacity block {} until {}, ${:.2} at once",
        offering.id, reserved.id, offering.end, offering.fee
    ));
    sent(extending, &mark).await?;
    paid(extending, &offering.id).await
}

/// When it ends, as AWS says.
async fn end_now(extending: Extending<'_>) -> Result<Timestamp> {
    let it = extending.session.aws.ec2.capacity_block(&extending.reserved.id).await?;
    Ok(it.end.unwrap_or(extending.reserved.end))
}

/// The offering, if it may be bought. The cap holds for all extensions of a capacity block
/// together.
async fn chosen(
    extending: Extending<'_>,
    end: Timestamp,
    wanted: Timestamp,
    bought: &[BoughtExtension],
) -> Result<ExtensionOffering> {
    let Extending { session, reserved, consent, .. } = extending;
    let id = &reserved.id;
    if session.now() > end - EXTENDABLE {
        return Err(Error::state(
            format!(
                "capacity block {id} ends at {end}, and can be extended until an hour before that"
            ),
            "nothing was changed. `spotblock up --new` starts another block",
        ));
    }
    let by = SignedDuration::from_secs(end.duration_until(wanted).as_secs());
    if let Some(rule) = source::rules(Source::CapacityBlock).impossible(by) {
        return Err(Error::usage(
            format!("capacity block {id} can't be extended by {by:#}: {rule}"),
            "give such a length with --by: an extension has the same lengths",
        ));
    }
    let mut found = session.aws.ec2.extension_offerings(id, by).await?;
    found.retain(|it| it.end == wanted && it.currency == "USD");
    found.sort_by(|a, b| a.fee.total_cmp(&b.fee));
    let refused = |what: String, next: &str| {
        let next = format!("nothing was bought. {next}; then run the same command again");
        Err(Error::capacity(what, None, next))
    };
    let Some(cheapest) = found.into_iter().next() else {
        return refused(
            format!("AWS has no extension of capacity block {id} by {by:#}"),
            "Try another length, or later: until an hour before its end it can be extended",
        );
    };
    let before: f64 = bought.iter().filter(|it| it.status != UNPAID).map(|it| it.fee).sum();
    let fee = format!("${:.2}", cheapest.fee);
    match session.settings.block.max_cost {
        Some(most) if before + cheapest.fee > most => {
            let with = if before > 0.0 {
                format!(" beside the ${before:.2} of those before it")
            } else {
                String::new()
            };
            refused(
                format!(
                    "the extension of capacity block {id} costs {fee}{with}, more than max-cost \
                     ${most:.2}"
                ),
                "Raise [block] max-cost, or ask for less",
            )
        }
        Some(_) if consent => Ok(cheapest),
        _ => refused(
            format!(
                "the extension of capacity block {id} would cost {fee} at once and for good, \
                 which takes --yes-purchase and [block] max-cost"
            ),
            "Set [block] max-cost and give --yes-purchase",
        ),
    }
}

/// Writes the mark, and gives up where another run has written its own.
async fn marked(extending: Extending<'_>, mark: &Extension, looked: Timestamp) -> Result<()> {
    let Extending { session, record, .. } = extending;
    let other = || {
        Error::state(
            format!("another run extends block {}, so this one buys nothing", record.spec.block),
            "run the same command again to follow it",
        )
    };
    match read(extending).await? {
        Some(now) if now == record.extension => {}
        _ => return Err(other()),
    }
    session.aws.ec2.set_extension(record, mark, false).await?;
    let took: Duration = looked.duration_until(session.now()).try_into().unwrap_or_default();
    if took > HASTE {
        // Others may have looked, and seen nothing, since. The mark says that nothing was sent.
        session.aws.ec2.set_extension(record, mark, true).await?;
        return Err(Error::state(
            format!(
                "AWS took {} s to answer, too long to buy the extension safely",
                took.as_secs()
            ),
            "nothing was bought; run the same command again",
        ));
    }
    session.waits.clock().sleep(SETTLE).await;
    match read(extending).await? {
        Some(Some(now)) if now == *mark => Ok(()),
        _ => Err(other()),
    }
}

/// The mark as it is on the record now; none where the record is gone.
async fn read(extending: Extending<'_>) -> Result<Option<Option<Extension>>> {
    let Extending { session, record, .. } = extending;
    Ok(match session.aws.ec2.named(session.environment(), &record.name).await? {
        Named::Record(now) if now.spec.block == record.spec.block => Some(now.extension),
        _ => None,
    })
}

/// Sends the purchase, once.
async fn sent(extending: Extending<'_>, mark: &Extension) -> Result<()> {
    let Extending { session, record, reserved, .. } = extending;
    match session.aws.ec2.purchase_extension(&reserved.id, &mark.offering).await {
        Ok(_) => Ok(()),
        Err(error) if is_unsure(&error) => {
            session.ui.warn(format_args!(
                "whether the purchase was made is not known, so it is looked for: {error}"
            ));
            bought_soon(extending, mark).await.map(|_| ())
        }
        Err(error) => {
            session.aws.ec2.set_extension(record, mark, true).await?;
            Err(error)
        }
    }
}

/// Looks for what may have been bought. Where nothing is shown, nothing more is bought.
async fn bought_soon(extending: Extending<'_>, mark: &Extension) -> Result<BoughtExtension> {
    let Extending { session, record, reserved, .. } = extending;
    let (id, offering) = (&reserved.id, &mark.offering);
    let bound = WaitSpec {
        what: format!("extension {offering} of capacity block {id}, which may have been bought"),
        limit: SETTLE_LIMIT,
        next: String::new(),
    };
    let look = async || {
        let bought = session.aws.ec2.extensions(id).await?;
        Ok(match bought.into_iter().find(|it| it.offering == *offering) {
            Some(found) => Poll::Done(found),
            None => Poll::NotYet("nothing is shown".to_owned()),
        })
    };
    match session.waits.until(session.ui, bound, look).await {
        Err(error) if error.kind() == ErrorKind::TimedOut => Err(Error::state(
            format!(
                "extension {offering} of capacity block {id} may have been bought, and AWS shows \
                 none: nothing more is bought"
            ),
            format!(
                "run the same command again later: it looks again. If `aws ec2 \
                 describe-capacity-block-extension-history` and the bill show none, take the \
                 mark away with `aws ec2 delete-tags --resources {} --tags \
                 Key=spotblock:extension`, and run it again",
                record.template.id()
            ),
        )),
        result => result,
    }
}

/// Waits until it is paid and the capacity block ends later.
async fn paid(extending: Extending<'_>, offering: &str) -> Result<Reserved> {
    let Extending { session, record, reserved, .. } = extending;
    let id = &reserved.id;
    let bound = WaitSpec {
        what: format!("extension {offering} of capacity block {id} to be paid"),
        limit: PAYMENT,
        next: "run the same command again: it waits on, and buys nothing more".to_owned(),
    };
    let look = async || {
        let bought = session.aws.ec2.extensions(id).await?;
        let Some(it) = bought.into_iter().find(|it| it.offering == offering) else {
            return Ok(Poll::NotYet("it isn't shown yet".to_owned()));
        };
        Ok(match it.status.as_str() {
            UNPAID => Poll::Done(None),
            PAID => match end_now(extending).await? {
                end if end >= it.end => Poll::Done(Some(end)),
                end => Poll::NotYet(format!("it is paid, and still ends at {end}")),
            },
            status => Poll::NotYet(status.to_owned()),
        })
    };
    match session.waits.until(session.ui, bound, look).await? {
        Some(end) => Ok(Reserved { end, ..reserved.clone() }),
        None => Err(Error::state(
            format!("the payment of extension {offering} of capacity block {id} failed"),
            format!(
                "block {} ends as before. See to the account's payment, then run the same \
                 command again",
                record.spec.block
            ),
        )),
    }
}
