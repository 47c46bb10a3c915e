//! Spot instances with a defined duration: RequestSpotInstances with BlockDurationMinutes. AWS took
//! no new customers from July 2021 and nobody after 2022 `[V]`; the API still has the parameter and
//! refuses it.

use std::time::Duration;

use node_contract::names::tag;

use super::{Bought, PurchaseOutcome, PurchaseRequest, Shortfall, outcome, with_profile};
use crate::aws::refusal::{self, Refusal};
use crate::model::error::Result;
use crate::model::ownership::Marks;
use crate::model::record::{PurchaseAttempt, attempt_of};
use crate::model::spot_request::{SpotRequest, SpotRequestStatus};
use crate::runtime::wait::{Poll, WaitSpec};

/// How long after ValidUntil a request may still be shown open.
const GRACE: Duration = Duration::from_secs(60);

/// What it means that a request was not fulfilled.
fn unfulfilled(request: &SpotRequest, held: Option<&str>) -> Refusal {
    match request.code.as_str() {
        "bad-parameters" | "system-error" | "canceled-before-fulfillment" => Refusal::Never,
        "limit-exceeded" => Refusal::Quota,
        _ if held.is_some_and(|code| code.starts_with("price-too-low")) => Refusal::Price,
        _ => Refusal::NoCapacity,
    }
}

/// The requests of one attempt.
fn of_attempt(requests: &[SpotRequest], attempt: &PurchaseAttempt) -> Vec<SpotRequest> {
    requests.iter().filter(|it| attempt_of(&it.tags) == Some(attempt.number)).cloned().collect()
}

/// Where AWS doesn't show all requests, the purchase is repeated: under the same token it gives
/// those that were made.
pub(super) async fn buy(request: PurchaseRequest<'_>) -> Result<PurchaseOutcome> {
    let requests = of_attempt(&request.block.requests, request.attempt);
    let asked = usize::try_from(request.asked).unwrap_or(usize::MAX);
    let (mut expected, mut named) = (requests.len(), Vec::new());
    if requests.len() < asked {
        if request.session.now() < request.attempt.valid_until {
            match purchase(request).await {
                Ok(requests) => (expected, named) = (asked, requests),
                Err(error) => {
                    return outcome(error, refusal::of_spot_block)
                        .map(|outcome| explained(request, outcome));
                }
            }
        } else if requests.is_empty() {
            return Ok(PurchaseOutcome::short(0, Shortfall::too_late()));
        }
    }
    let fulfilment = fulfilment(request, expected, &named).await?;
    let is_failed = |it: &&SpotRequest| it.status() == SpotRequestStatus::Failed;
    let failed: Vec<&SpotRequest> = fulfilment.requests.iter().filter(is_failed).collect();
    let outcome = fulfilment.requests.len() - failed.len();
    let short = failed.first().map(|first| Shortfall {
        refusal: unfulfilled(first, fulfilment.held.as_deref()),
        code: first.code.clone(),
        why: format!(
            "spot request {} ended with {} ({}){}",
            first.id,
            first.code,
            first.message,
            fulfilment.held.map(|why| format!(" after {why}")).unwrap_or_default()
        ),
        failure: None,
        next: Some(
            "Raise [block] max-price, or ask for fewer instances, another type or subnet; \
             --valid-for waits longer",
        ),
    });
    let instances = u32::try_from(outcome).unwrap_or(u32::MAX);
    let bought = Bought { requests: named, ..Bought::default() };
    Ok(PurchaseOutcome { instances, short, bought })
}

/// What the user is told of a refusal.
fn explained(request: PurchaseRequest<'_>, mut outcome: PurchaseOutcome) -> PurchaseOutcome {
    let block = &request.record.spec.block;
    if let Some(short) = outcome.short.as_mut().filter(|short| short.refusal == Refusal::NotSold) {
        short.why = format!(
            "AWS refuses to sell block {block} as a spot block: EC2 has sold no spot instances \
             with a defined duration since the end of 2022"
        );
        short.next = Some(
            "List other sources in [block] sources, such as \"spot\" (cheap, best effort) or \
             \"on-demand\" (firm), after \"spot-block\" or instead of it. The environment \
             stands: instances that you start yourself with `spotblock user-data` join it",
        );
    }
    outcome
}

async fn purchase(request: PurchaseRequest<'_>) -> Result<Vec<String>> {
    let PurchaseRequest { session, record, attempt, asked, launch, .. } = request;
    let ask =
        async || session.aws.ec2.request_spot_block(&record.spec, attempt, asked, launch).await;
    with_profile(session, launch, ask).await
}

/// What became of the requests.
struct Fulfilment {
    requests: Vec<SpotRequest>,
    /// What the last that was not fulfilled waited for.
    held: Option<String>,
}

/// Waits until no request may still be fulfilled that isn't. All of a purchase are made at once,
/// and AWS may show some of them later; `named` are the ids that its answer gave.
async fn fulfilment(
    request: PurchaseRequest<'_>,
    expected: usize,
    named: &[String],
) -> Result<Fulfilment> {
    let PurchaseRequest { session, record, attempt, .. } = request;
    let mut held = None;
    let spec = &record.spec;
    let marks = Marks::of_block(session.environment(), &spec.block);
    let left: Duration =
        session.now().duration_until(attempt.valid_until).try_into().unwrap_or_default();
    let bound = WaitSpec {
        what: format!("{expected} spot requests of block {}", spec.block),
        limit: left + GRACE,
        next: "run the same command again to wait on, or `spotblock down` to cancel the requests"
            .to_owned(),
    };
    let look = async || {
        let seen = session.aws.ec2.spot_requests(tag::BLOCK, &spec.block).await?;
        let owned: Vec<SpotRequest> =
            seen.into_iter().filter(|it| marks.are_on(&it.tags)).collect();
        let mut owned = of_attempt(&owned, attempt);
        // What AWS's answer named is this attempt's, whether its tags show or not.
        let unshown = |id: &&String| owned.iter().all(|request| request.id != **id);
        let unshown: Vec<String> = named.iter().filter(unshown).cloned().collect();
        owned.extend(session.aws.ec2.spot_requests_of(&unshown).await?);
        if owned.len() < expected {
            return Ok(Poll::NotYet(format!("{} shown so far", owned.len())));
        }
        let holding = owned.iter().filter(|it| match it.status() {
            SpotRequestStatus::Holding => true,
            SpotRequestStatus::Live => it.instance.is_none(),
            SpotRequestStatus::Failed | SpotRequestStatus::Over => false,
        });
        match holding.clone().next() {
            None => Ok(Poll::Done(Fulfilment { requests: owned, held: held.take() })),
            Some(first) => {
                held = Some(format!("{} ({})", first.code, first.message));
                let done = owned.len() - holding.count();
                Ok(Poll::NotYet(format!("{done} fulfilled; {} is {}", first.id, first.code)))
            }
        }
    };
    session.waits.until(session.ui, bound, look).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, state: &str, code: &str) -> SpotRequest {
        SpotRequest {
            id: id.into(),
            state: state.into(),
            code: code.into(),
            ..SpotRequest::default()
        }
    }

    #[test]
    fn why_a_request_was_not_fulfilled_decides_whether_the_next_source_is_asked() {
        for (code, held, expected) in [
            ("schedule-expired", Some("price-too-low (...)"), Refusal::Price),
            ("schedule-expired", Some("capacity-not-available (...)"), Refusal::NoCapacity),
            ("schedule-expired", None, Refusal::NoCapacity),
            ("limit-exceeded", None, Refusal::Quota),
            ("bad-parameters", None, Refusal::Never),
            ("canceled-before-fulfillment", None, Refusal::Never),
        ] {
            assert_eq!(
                unfulfilled(&request("sir-1", "closed", code), held),
                expected,
                "{code} {held:?}"
            );
        }
    }
}
