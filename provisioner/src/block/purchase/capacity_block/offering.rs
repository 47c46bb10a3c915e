//! What is on offer: which capacity blocks fit, what they cost, and whether one may be bought.

use jiff::{SignedDuration, Timestamp};

use super::super::{PurchaseRequest, Shortfall, outcome};
use super::short;
use crate::aws::ec2::{Offering, Search};
use crate::aws::refusal::{self, Refusal};
use crate::model::error::Result;
use crate::session::Session;

/// The cheapest offering that fits, if it may be bought.
pub(super) async fn chosen(
    request: PurchaseRequest<'_>,
) -> Result<std::result::Result<Offering, Shortfall>> {
    let PurchaseRequest { session, record, attempt, asked, .. } = request;
    let spec = &record.spec;
    if session.now() >= spec.valid_until {
        return Ok(Err(Shortfall::too_late()));
    }
    let kind = attempt.pool.types.first().map(String::as_str).unwrap_or_default();
    let found =
        offerings(session, kind, asked, spec.duration, spec.start_by, &attempt.pool.subnets).await;
    let found = match found {
        Err(error) => {
            let outcome = outcome(error, refusal::of_offerings)?;
            return Ok(Err(outcome.short.unwrap_or_else(Shortfall::too_late)));
        }
        Ok(found) => found,
    };
    let Some(cheapest) = found.into_iter().next() else {
        let why = format!(
            "no capacity block of {asked} x {kind} for {:#} begins by {}",
            spec.duration, spec.start_by
        );
        let next = "Raise [block] start-within, or ask for another duration, fewer instances, \
                    another type or subnet";
        return Ok(Err(short(Refusal::NoCapacity, "no-offering", why, next)));
    };
    Ok(match session.settings.block.max_cost {
        Some(most) if cheapest.fee > most => {
            let why = format!(
                "the cheapest capacity block costs {}, more than max-cost ${most:.2}",
                shown_fee(&cheapest)
            );
            Err(short(Refusal::Price, "too-dear", why, "Raise [block] max-cost, or ask for less"))
        }
        Some(_) if request.consent => Ok(cheapest),
        _ => {
            let why = format!(
                "a capacity block would cost {} at once and for good, which takes --yes-purchase \
                 and [block] max-cost",
                shown_fee(&cheapest)
            );
            let next = "Set [block] max-cost (--max-cost) and give --yes-purchase, or name a \
                        block that you have with [block] capacity-block";
            Err(short(Refusal::Price, "no-consent", why, next))
        }
    })
}

/// The offerings that fit, the cheapest first, and of those the earliest.
///
/// # Errors
/// When a call fails.
pub(crate) async fn offerings(
    session: &Session<'_>,
    instance_type: &str,
    instances: u32,
    duration: SignedDuration,
    start_by: Timestamp,
    subnets: &[String],
) -> Result<Vec<Offering>> {
    let zones: Vec<String> =
        session.aws.ec2.subnets(subnets).await?.into_iter().map(|it| it.zone).collect();
    let search = Search { instance_type, instances, duration, start_by };
    let mut found = session.aws.ec2.capacity_block_offerings(search).await?;
    found.retain(|it| {
        it.instance_type == instance_type
            && it.instances == instances
            && zones.contains(&it.zone)
            && it.start <= start_by
            && it.currency == "USD"
    });
    found.sort_by(|a, b| a.fee.total_cmp(&b.fee).then(a.start.cmp(&b.start)));
    Ok(found)
}

fn shown_fee(offering: &Offering) -> String {
    format!("${:.2}", offering.fee)
}

/// An offering as people read it, with its price per GPU-hour where the GPUs of an instance are
/// known.
#[must_use]
pub(crate) fn priced(offering: &Offering, gpus: Option<u32>) -> String {
    let hours = offering.start.duration_until(offering.end).as_secs_f64() / 3600.0;
    let per_instance = offering.fee / (hours * f64::from(offering.instances)).max(1.0);
    let (unit, price) = match gpus {
        Some(gpus) if gpus > 0 => ("GPU-hour", per_instance / f64::from(gpus)),
        _ => ("instance-hour", per_instance),
    };
    format!(
        "{} x {} in {} from {} to {}, {} at once, ${price:.2} per {unit}",
        offering.instances,
        offering.instance_type,
        offering.zone,
        offering.start,
        offering.end,
        shown_fee(offering)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offering_is_shown_with_its_price_per_gpu_hour_or_instance_hour() {
        let start: Timestamp = "2026-11-24T11:30:00Z".parse().expect("a time");
        let (end, fee) = (start + SignedDuration::from_hours(24), 480.0);
        let text = |value: &str| value.to_owned();
        let (zone, currency) = (text("us-east-1c"), text("USD"));
        let (id, instance_type) = (text("cbo-1"), text("p5.4xlarge"));
        let offering =
            Offering { id, instance_type, zone, instances: 2, start, end, fee, currency };
        assert!(priced(&offering, Some(2)).ends_with("$480.00 at once, $5.00 per GPU-hour"));
        assert!(priced(&offering, None).ends_with("$10.00 per instance-hour"));
    }
}
