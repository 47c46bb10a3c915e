//! Spot instances with a defined duration: RequestSpotInstances with BlockDurationMinutes. AWS took no new customers
//! from July 2021 and nobody after 2022 `[V]`; the API still has the parameter and refuses it.

use std::time::Duration;

use jiff::SignedDuration;
use node_contract::{Source, names::tag};

use super::refusal::{self, Refusal, Short};
use super::{Buying, Came, Capacity, Guarantee, Pending, by_type_and_subnet, with_profile};
use crate::aws::ec2::SpotRequest;
use crate::error::{AwsFailure, Result};
use crate::ownership::Marks;
use crate::record::{Attempt, Pool, Terms, attempt_of};
use crate::wait::{Bound, Seen};

/// How long after ValidUntil a request may still be shown open.
const GRACE: Duration = Duration::from_secs(60);

/// Where a spot request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may still be fulfilled.
    Holding,
    /// It was fulfilled.
    Live,
    /// It will not be fulfilled.
    Failed,
    /// It was fulfilled, and that is over.
    Over,
}

/// Status codes of requests that may still be fulfilled `[V]`.
const HOLDING: [&str; 9] = [
    "pending-evaluation",
    "pending-fulfillment",
    "capacity-not-available",
    "price-too-low",
    "not-scheduled-yet",
    "az-group-constraint",
    "launch-group-constraint",
    "placement-group-constraint",
    "constraint-not-fulfillable",
];
/// Of those that will not be `[V]`.
const FAILED: [&str; 5] =
    ["schedule-expired", "canceled-before-fulfillment", "bad-parameters", "system-error", "limit-exceeded"];
/// Of those whose instance lives `[V]`.
const LIVE: [&str; 3] = ["fulfilled", "marked-for-termination", "request-canceled-and-instance-running"];

/// Judges a request by its status code, and by its state where the code is unknown.
#[must_use]
pub fn standing(request: &SpotRequest) -> Standing {
    let code = request.code.as_str();
    if FAILED.contains(&code) {
        return Standing::Failed;
    }
    if LIVE.contains(&code) {
        return Standing::Live;
    }
    if HOLDING.contains(&code) && request.state == "open" {
        return Standing::Holding;
    }
    match request.state.as_str() {
        "active" => Standing::Live,
        "closed" | "cancelled" if request.instance.is_some() => Standing::Over,
        "closed" | "cancelled" | "failed" | "disabled" => Standing::Failed,
        _ => Standing::Holding,
    }
}

/// What a refusal of RequestSpotInstances means. The wording of AWS's refusal of a duration may have changed, so it is
/// told by the parameter's name `[A]`.
#[must_use]
pub fn refusal(failure: &AwsFailure) -> Refusal {
    let message = failure.message.to_lowercase();
    let of_duration = message.contains("blockduration") || message.contains("defined duration");
    match refusal::of_call(failure) {
        Refusal::Passing => Refusal::Passing,
        _ if of_duration => Refusal::NotSold,
        refusal => refusal,
    }
}

/// What it means that a request was not fulfilled.
fn unfulfilled(request: &SpotRequest, held: Option<&str>) -> Refusal {
    match request.code.as_str() {
        "bad-parameters" | "system-error" | "canceled-before-fulfillment" => Refusal::Never,
        "limit-exceeded" => Refusal::Quota,
        _ if held.is_some_and(|code| code.starts_with("price-too-low")) => Refusal::Price,
        _ => Refusal::NoCapacity,
    }
}

/// The source.
pub struct SpotBlock;

impl Capacity for SpotBlock {
    fn source(&self) -> Source {
        Source::SpotBlock
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee { label: "firm", ended_by: "AWS" }
    }

    /// 60, 120, 180, 240, 300 or 360 minutes `[V]`.
    fn impossible(&self, duration: SignedDuration) -> Option<String> {
        let possible = duration.as_secs() % 3600 == 0 && (1..=6).contains(&duration.as_hours());
        (!possible).then(|| "a spot block lasts 60, 120, 180, 240, 300 or 360 minutes".to_owned())
    }

    fn foreseen(&self) -> Option<&'static str> {
        Some("AWS has sold no spot blocks since the end of 2022: on AWS the source \"spot-block\" is refused")
    }

    /// A request has one type and one subnet.
    fn pools(&self, terms: &Terms) -> Vec<Pool> {
        by_type_and_subnet(terms)
    }

    fn buy<'a>(&'a self, buying: Buying<'a>) -> Pending<'a, Came> {
        Box::pin(buy(buying))
    }
}

/// The requests of one attempt.
fn of_attempt(requests: &[SpotRequest], attempt: &Attempt) -> Vec<SpotRequest> {
    requests.iter().filter(|it| attempt_of(&it.tags) == Some(attempt.number)).cloned().collect()
}

/// Where AWS doesn't show all requests, the purchase is repeated: under the same token it gives those that were made.
async fn buy(buying: Buying<'_>) -> Result<Came> {
    let requests = of_attempt(&buying.block.requests, buying.attempt);
    let asked = usize::try_from(buying.asked).unwrap_or(usize::MAX);
    let mut expected = requests.len();
    if requests.len() < asked {
        if buying.session.now() < buying.attempt.valid_until {
            match purchase(buying).await {
                Ok(()) => expected = asked,
                Err(error) => return refusal::outcome(error, refusal).map(|came| explained(buying, came)),
            }
        } else if requests.is_empty() {
            return Ok(Came { instances: 0, short: Some(Short::too_late()) });
        }
    }
    let fulfilment = fulfilment(buying, expected).await?;
    let is_failed = |it: &&SpotRequest| standing(it) == Standing::Failed;
    let failed: Vec<&SpotRequest> = fulfilment.requests.iter().filter(is_failed).collect();
    let came = fulfilment.requests.len() - failed.len();
    let short = failed.first().map(|first| Short {
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
            "Raise [block] max-price, or ask for fewer instances, another type or subnet; --valid-for waits longer",
        ),
    });
    Ok(Came { instances: u32::try_from(came).unwrap_or(u32::MAX), short })
}

/// What the user is told of a refusal.
fn explained(buying: Buying<'_>, mut came: Came) -> Came {
    let block = &buying.record.terms.block;
    if let Some(short) = came.short.as_mut().filter(|short| short.refusal == Refusal::NotSold) {
        short.why = format!(
            "AWS refuses to sell block {block} as a spot block: EC2 has sold no spot instances with a defined duration \
             since the end of 2022"
        );
        short.next = Some(
            "List other sources in [block] sources, such as \"spot\" (cheap, best effort) or \"on-demand\" (firm), after \
             \"spot-block\" or instead of it. The environment stands: instances that you start yourself with `spotblock \
             user-data` join it",
        );
    }
    came
}

async fn purchase(buying: Buying<'_>) -> Result<()> {
    let Buying { session, record, attempt, asked, launch, .. } = buying;
    let ask = async || session.aws.ec2.request_spot_block(&record.terms, attempt, asked, launch).await;
    with_profile(session, launch, ask).await
}

/// What became of the requests.
struct Fulfilment {
    requests: Vec<SpotRequest>,
    /// What the last that was not fulfilled waited for.
    held: Option<String>,
}

/// Waits until no request may still be fulfilled that isn't. All of a purchase are made at once, and AWS may show some of
/// them later.
async fn fulfilment(buying: Buying<'_>, expected: usize) -> Result<Fulfilment> {
    let Buying { session, record, attempt, .. } = buying;
    let mut held = None;
    let terms = &record.terms;
    let marks = Marks::of_block(session.environment(), &terms.block);
    let left: Duration = session.now().duration_until(attempt.valid_until).try_into().unwrap_or_default();
    let bound = Bound {
        what: format!("{expected} spot requests of block {}", terms.block),
        limit: left + GRACE,
        next: "run the same command again to wait on, or `spotblock down` to cancel the requests".to_owned(),
    };
    let look = async || {
        let seen = session.aws.ec2.spot_requests(tag::BLOCK, &terms.block).await?;
        let ours: Vec<SpotRequest> = seen.into_iter().filter(|it| marks.are_on(&it.tags)).collect();
        let ours = of_attempt(&ours, attempt);
        if ours.len() < expected {
            return Ok(Seen::NotYet(format!("{} shown so far", ours.len())));
        }
        let holding = ours.iter().filter(|it| match standing(it) {
            Standing::Holding => true,
            Standing::Live => it.instance.is_none(),
            Standing::Failed | Standing::Over => false,
        });
        match holding.clone().next() {
            None => Ok(Seen::Done(Fulfilment { requests: ours, held: held.take() })),
            Some(first) => {
                held = Some(format!("{} ({})", first.code, first.message));
                let done = ours.len() - holding.count();
                Ok(Seen::NotYet(format!("{done} fulfilled; {} is {}", first.id, first.code)))
            }
        }
    };
    session.waits.until(session.ui, bound, look).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::request;
    use crate::error::Kind;

    #[test]
    fn a_request_is_judged_by_its_code_and_by_its_state_where_the_code_is_unknown() {
        for code in HOLDING {
            assert_eq!(standing(&request("sir-1", "open", code, None)), Standing::Holding, "{code}");
        }
        for code in FAILED {
            assert_eq!(standing(&request("sir-1", "closed", code, None)), Standing::Failed, "{code}");
        }
        for (state, code) in [
            ("active", "fulfilled"),
            ("active", "marked-for-termination"),
            ("cancelled", "request-canceled-and-instance-running"),
        ] {
            assert_eq!(standing(&request("sir-1", state, code, Some("i-1"))), Standing::Live, "{code}");
        }
        for (state, instance, expected) in [
            ("open", None, Standing::Holding),
            ("active", Some("i-1"), Standing::Live),
            ("closed", Some("i-1"), Standing::Over),
            ("cancelled", None, Standing::Failed),
            ("failed", None, Standing::Failed),
            ("disabled", None, Standing::Failed),
            ("something-new", None, Standing::Holding),
        ] {
            assert_eq!(standing(&request("sir-1", state, "a-code-of-tomorrow", instance)), expected, "{state}");
        }
    }

    #[test]
    fn a_refused_duration_is_told_from_other_refusals() {
        let failure = |kind, code: &str, message: &str| AwsFailure {
            action: "ec2:RequestSpotInstances",
            resource: "block".into(),
            kind,
            code: Some(code.into()),
            message: message.into(),
            request_id: None,
        };
        for (kind, code, message, expected) in [
            (
                Kind::Rejected,
                "InvalidParameterValue",
                "BlockDurationMinutes is not a valid parameter",
                Refusal::NotSold,
            ),
            (Kind::Rejected, "UnsupportedOperation", "Spot with a defined duration is not supported", Refusal::NotSold),
            (Kind::Throttled, "RequestLimitExceeded", "BlockDurationMinutes", Refusal::Passing),
            (Kind::Rejected, "InvalidParameterValue", "Invalid zone", Refusal::Never),
            (Kind::Rejected, "SpotMaxPriceTooLow", "", Refusal::Price),
        ] {
            assert_eq!(refusal(&failure(kind, code, message)), expected, "{code}: {message}");
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
            assert_eq!(unfulfilled(&request("sir-1", "closed", code, None), held), expected, "{code} {held:?}");
        }
    }
}
