//! The purchase of a capacity block: once, or not at all. The five steps are told in
//! `capacity_block.rs`.

use node_contract::names::tag;

use super::super::{PurchaseRequest, Shortfall, outcome};
use super::{frozen, offering};
use crate::aws::ec2::{CapacityBlockReservation, Named};
use crate::aws::refusal;
use crate::model::error::{AwsErrorKind, Error, ErrorKind, Result};
use crate::model::ownership::Marks;
use crate::model::record::{Purchase, Reserved};
use crate::runtime::wait::{Poll, SETTLE_LIMIT, WaitSpec};

/// The capacity block of this block: the record's, the one that a run bought which didn't live to
/// write it down, or one that is bought now.
pub(super) async fn secured(
    request: PurchaseRequest<'_>,
) -> Result<std::result::Result<Reserved, Shortfall>> {
    let PurchaseRequest { session, record, .. } = request;
    if let Some(reserved) = &record.spec.reserved {
        return Ok(Ok(reserved.clone()));
    }
    if let Some(found) = bought(request).await? {
        return written_down(request, &found).await.map(Ok);
    }
    if let Some(purchase) = &record.spec.purchase {
        let found = bought_soon(request, purchase).await?;
        return written_down(request, &found).await.map(Ok);
    }
    let offering = match offering::chosen(request).await? {
        Ok(offering) => offering,
        Err(short) => return Ok(Err(short)),
    };
    let purchase = Purchase { offering: offering.id.clone(), at: session.now() };
    session.aws.ec2.set_purchase(record, &purchase, false).await?;
    still_ours(request, &purchase).await?;
    session.ui.say(format_args!(
        "buying capacity block offering {}: {}",
        offering.id,
        offering::priced(&offering, None)
    ));
    let tags = record.spec.tags_of(request.attempt.number);
    match session.aws.ec2.purchase_capacity_block(&offering.id, &tags).await {
        Ok(Some(bought)) => written_down(request, &bought).await.map(Ok),
        Ok(None) => written_down(request, &bought_soon(request, &purchase).await?).await.map(Ok),
        Err(error) if is_unsure(&error) => {
            session.ui.warn(format_args!(
                "whether the purchase was made is not known, so it is looked for: {error}"
            ));
            written_down(request, &bought_soon(request, &purchase).await?).await.map(Ok)
        }
        Err(error) if error.kind() == ErrorKind::Aws => {
            session.aws.ec2.set_purchase(record, &purchase, true).await?;
            let outcome = outcome(error, refusal::of_capacity_block_purchase)?;
            Ok(Err(outcome.short.unwrap_or_else(Shortfall::too_late)))
        }
        Err(error) => Err(error),
    }
}

/// Whether the purchase may have been made though the call failed.
pub(super) fn is_unsure(error: &Error) -> bool {
    [AwsErrorKind::Unreachable, AwsErrorKind::Server, AwsErrorKind::Busy]
        .into_iter()
        .any(|kind| error.is_aws(kind))
}

/// What carries this block's tags.
async fn bought(request: PurchaseRequest<'_>) -> Result<Option<CapacityBlockReservation>> {
    let PurchaseRequest { session, record, .. } = request;
    let marks = Marks::of_block(session.environment(), &record.spec.block);
    let found = session.aws.ec2.capacity_blocks_tagged(tag::BLOCK, &record.spec.block).await?;
    Ok(found.into_iter().find(|it| marks.are_on(&it.tags)))
}

/// Looks for what may have been bought. Where nothing is shown, nothing more is bought for this
/// block.
async fn bought_soon(
    request: PurchaseRequest<'_>,
    purchase: &Purchase,
) -> Result<CapacityBlockReservation> {
    let PurchaseRequest { session, record, .. } = request;
    let block = &record.spec.block;
    let bound = WaitSpec {
        what: format!("what may have been bought for block {block}"),
        limit: SETTLE_LIMIT,
        next: String::new(),
    };
    let look = async || match bought(request).await? {
        Some(found) => Ok(Poll::Done(found)),
        None => Ok(Poll::NotYet("nothing is shown".to_owned())),
    };
    match session.waits.until(session.ui, bound, look).await {
        Err(error) if error.kind() == ErrorKind::TimedOut => Err(Error::state(
            format!(
                "offering {} may have been bought for block {block} at {}, and AWS shows no such \
                 capacity block: nothing more is bought for this block",
                purchase.offering, purchase.at
            ),
            format!(
                "run the same command again later: it looks again. If `aws ec2 \
                 describe-capacity-reservations` and the bill show none, let go of it with \
                 `spotblock down --block {block}`, and start anew"
            ),
        )),
        result => result,
    }
}

async fn written_down(
    request: PurchaseRequest<'_>,
    bought: &CapacityBlockReservation,
) -> Result<Reserved> {
    let reserved = frozen(bought)?;
    request.session.aws.ec2.set_reserved(request.record, &reserved).await?;
    let (start, end) = (bought.start, reserved.reclaimed_at());
    request.session.ui.say(format_args!(
        "block {} has capacity block {}, from {start} until {end}",
        request.record.spec.block, reserved.id
    ));
    Ok(reserved)
}

/// Whether it is still this run's turn, now that its mark is written.
async fn still_ours(request: PurchaseRequest<'_>, purchase: &Purchase) -> Result<()> {
    let PurchaseRequest { session, record, .. } = request;
    match session.aws.ec2.named(session.environment(), &record.name).await? {
        Named::Record(now)
            if now.driver == record.driver
                && now.spec.block == record.spec.block
                && now.spec.reserved.is_none()
                && now.spec.purchase.as_ref() == Some(purchase) =>
        {
            Ok(())
        }
        _ => Err(Error::state(
            format!(
                "another run goes on with block {}, so this one buys nothing",
                record.spec.block
            ),
            "run the same command again to follow it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::AwsError;

    /// Catches: a lost answer taken for a refusal, after which another would be bought.
    #[test]
    fn only_what_says_that_nothing_was_bought_counts_as_a_refusal() {
        let failure = |kind| -> Error {
            Box::new(AwsError {
                action: "ec2:PurchaseCapacityBlock",
                resource: "offering".into(),
                kind,
                code: Some("X".into()),
                message: String::new(),
                request_id: None,
            })
            .into()
        };
        for kind in [AwsErrorKind::Unreachable, AwsErrorKind::Server, AwsErrorKind::Busy] {
            assert!(is_unsure(&failure(kind)), "{kind:?}");
        }
        for kind in [
            AwsErrorKind::Rejected,
            AwsErrorKind::NotFound,
            AwsErrorKind::Denied,
            AwsErrorKind::Throttled,
            AwsErrorKind::Expired,
        ] {
            assert!(!is_unsure(&failure(kind)), "{kind:?}");
        }
    }
}
