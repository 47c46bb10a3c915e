//! What the sources have in common that launch a fleet of type instant: AWS's answer says at once
//! what came.
//!
//! All or nothing, a fleet is of one zone, so each subnet is a pool of its own with all types in
//! it. Where gaps may be filled, one fleet is spread over all of them and takes what there is.

use std::collections::BTreeSet;

use super::{Bought, PurchaseOutcome, PurchaseRequest, Shortfall, outcome};
use crate::aws::ec2::{Fleet, Market, Order};
use crate::aws::refusal::{self, Refusal};
use crate::model::error::Result;
use crate::runtime::wait::{Poll, SETTLE_LIMIT, WaitSpec};

/// Launches the fleet, or finds what it launched before.
pub(super) async fn buy(request: PurchaseRequest<'_>, market: Market) -> Result<PurchaseOutcome> {
    let asked = request.asked;
    if let Some(outcome) = request.decided() {
        return Ok(outcome);
    }
    let fleet = match launched(request, market).await {
        Ok(fleet) => fleet,
        Err(error) => return outcome(error, refusal::of_call),
    };
    let instances = u32::try_from(fleet.instances.len()).unwrap_or(u32::MAX);
    let short = (instances < asked).then(|| why(&fleet, instances, asked));
    let bought = Bought { instances: fleet.instances, ..Bought::default() };
    Ok(PurchaseOutcome { instances, short, bought })
}

/// A fleet that a too new instance profile kept from launching anything is asked for again under
/// the next token: under the same one AWS would give the same answer. Whoever repeats this goes
/// through the same tokens, and finds the one that worked.
async fn launched(request: PurchaseRequest<'_>, market: Market) -> Result<Fleet> {
    let PurchaseRequest { session, record, attempt, asked, launch, .. } = request;
    let version = session.aws.ec2.version_for(record, &attempt.source.to_string(), launch).await?;
    let bound = WaitSpec {
        what: format!("instance profile {} to be usable", launch.instance_profile),
        limit: SETTLE_LIMIT,
        next: format!(
            "nothing was bought. Check `aws iam get-instance-profile --instance-profile-name \
             {}`: it must exist and have a role; then run the same command again",
            launch.instance_profile
        ),
    };
    let mut round = 0;
    let look = async || {
        let token = record.spec.client_token(attempt, round);
        let order = Order { record, version, attempt, asked, market, token: &token };
        let fleet = match session.aws.ec2.create_fleet(order).await {
            Err(error) if refusal::profile_too_new(&error) => {
                return Ok(Poll::NotYet(error.to_string()));
            }
            result => result?,
        };
        let too_new = |(code, message): &&(String, String)| {
            refusal::of_code(code, message) == Refusal::ProfileTooNew
        };
        match fleet.errors.iter().find(too_new) {
            Some((code, message)) if fleet.instances.is_empty() => {
                round += 1;
                Ok(Poll::NotYet(format!("{code}: {message}")))
            }
            _ => Ok(Poll::Done(fleet)),
        }
    };
    session.waits.until(session.ui, bound, look).await
}

/// Why a fleet has too few instances. A pool that could never do is a mistake, and no reason to
/// spend money elsewhere.
fn why(fleet: &Fleet, instances: u32, asked: u32) -> Shortfall {
    let judged = || {
        fleet.errors.iter().map(|(code, message)| (refusal::of_code(code, message), code, message))
    };
    let worst = judged().find(|(refusal, ..)| !refusal.leads_on()).or_else(|| judged().next());
    let codes: BTreeSet<&str> = fleet.errors.iter().map(|(code, _)| code.as_str()).collect();
    let (refusal, code, message) = match worst {
        Some((refusal, code, message)) => (refusal, code.clone(), message.clone()),
        None => (Refusal::NoCapacity, "no-reason".to_owned(), "AWS gave no reason".to_owned()),
    };
    let others: Vec<&str> = codes.into_iter().filter(|it| *it != code).collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(" (other pools: {})", others.join(", "))
    };
    let request =
        fleet.request_id.iter().map(|id| format!(" (request id {id})")).collect::<String>();
    let why = format!(
        "the fleet has {instances} of {asked} instances: {code}: {message}{others}{request}"
    );
    Shortfall { refusal, code, why, failure: None, next: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(errors: &[(&str, &str)]) -> Fleet {
        let errors = errors
            .iter()
            .map(|(code, message)| ((*code).to_owned(), (*message).to_owned()))
            .collect();
        Fleet { instances: Vec::new(), errors, request_id: Some("r-1".into()) }
    }

    /// Catches: money spent on the next source because one pool of several was full and another
    /// simply wrong.
    #[test]
    fn one_pool_that_could_never_do_decides() {
        let full = ("InsufficientInstanceCapacity", "We currently do not have sufficient capacity");
        let wrong = ("InvalidParameterValue", "The architecture 'arm64' does not match the image");
        assert_eq!(why(&fleet(&[full]), 0, 3).refusal, Refusal::NoCapacity);
        let mixed = why(&fleet(&[full, wrong]), 0, 3);
        assert_eq!((mixed.refusal, mixed.code.as_str()), (Refusal::Never, "InvalidParameterValue"));
        assert!(
            mixed.why.contains("0 of 3") && mixed.why.contains("other pools: Insufficient"),
            "{}",
            mixed.why
        );
        assert_eq!(why(&fleet(&[]), 0, 3).refusal, Refusal::NoCapacity);
    }
}
