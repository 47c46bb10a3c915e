//! Spot instances with a defined duration: RequestSpotInstances with BlockDurationMinutes. AWS took no new customers
//! from July 2021 and nobody after 2022 `[V]`; the API still has the parameter and refuses it.

use crate::aws::ec2::SpotRequest;
use crate::error::{AwsFailure, Error, Kind};

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

/// What a failed purchase means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// EC2 sells no spot blocks.
    NotSold,
    /// Not at this price, in this number, or not now.
    NotAvailable,
    /// The instance profile is too new to be used.
    ProfileTooNew,
    /// These parameters will never do.
    Never,
    /// It says nothing about this purchase: credentials, network, throttling.
    Passing,
}

/// Codes that say there is no capacity, no quota, or not at this price.
const NOT_AVAILABLE: [&str; 8] = [
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "InsufficientInstanceCapacity",
    "InsufficientCapacity",
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    // A type that isn't offered in the zone.
    "Unsupported",
    "UnsupportedOperation",
];

/// What a refusal of RequestSpotInstances means. The wording of AWS's refusal of a duration may have changed, so it is
/// told by code and parameter name `[A]`.
#[must_use]
pub fn refusal(failure: &AwsFailure) -> Refusal {
    let code = failure.code.as_deref().unwrap_or_default();
    let message = failure.message.to_lowercase();
    if failure.is_transient() || !matches!(failure.kind, Kind::Rejected | Kind::NotFound) {
        return Refusal::Passing;
    }
    if message.contains("blockduration") || message.contains("defined duration") {
        return Refusal::NotSold;
    }
    if NOT_AVAILABLE.contains(&code) {
        return Refusal::NotAvailable;
    }
    if code == "InvalidParameterValue" && message.contains("instance profile") || message.contains("iaminstanceprofile")
    {
        return Refusal::ProfileTooNew;
    }
    // Something was bought with this token, and to begin anew now would buy twice; or the account lacks a role that the
    // purchase needs, which says nothing about these parameters.
    if code == "IdempotentParameterMismatch" || code.starts_with("AuthFailure.") {
        return Refusal::Passing;
    }
    Refusal::Never
}

/// The error that a final refusal ends with.
#[must_use]
pub fn refused(refusal: Refusal, block: &str, failure: Box<AwsFailure>) -> Error {
    match refusal {
        Refusal::NotSold => Error::Capacity {
            what: format!(
                "AWS refuses to sell block {block} as a spot block: EC2 has sold no spot instances with a defined \
                 duration since the end of 2022"
            ),
            source: Some(failure),
            next: "nothing was bought. [block] sources lists \"spot-block\", the only source of this version; spot, \
                   on-demand, reservation and capacity-block are what to list instead once a version has them. The \
                   environment stands: instances that you start yourself with `spotblock user-data` join it"
                .to_owned(),
        },
        Refusal::NotAvailable => Error::Capacity {
            what: format!("AWS has no capacity for block {block} on these terms"),
            source: Some(failure),
            next: "nothing was bought. Raise [block] max-price, ask for fewer instances or another type or zone, or \
                   raise the account's spot quota; then run the same command again"
                .to_owned(),
        },
        _ => Error::Aws(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::request;

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
    fn refusals_are_told_apart() {
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
            (Kind::Rejected, "Unsupported", "t2.micro is not supported in us-east-1e", Refusal::NotAvailable),
            (Kind::Rejected, "MaxSpotInstanceCountExceeded", "", Refusal::NotAvailable),
            (Kind::Rejected, "SpotMaxPriceTooLow", "", Refusal::NotAvailable),
            (
                Kind::Rejected,
                "InvalidParameterValue",
                "Value (p) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
                Refusal::ProfileTooNew,
            ),
            (Kind::NotFound, "InvalidKeyPair.NotFound", "", Refusal::Never),
            (Kind::Rejected, "InvalidParameterValue", "Invalid zone", Refusal::Never),
            (Kind::Rejected, "IdempotentParameterMismatch", "", Refusal::Passing),
            (Kind::Rejected, "AuthFailure.ServiceLinkedRoleCreationNotPermitted", "", Refusal::Passing),
            (Kind::Denied, "UnauthorizedOperation", "", Refusal::Passing),
            (Kind::Throttled, "RequestLimitExceeded", "", Refusal::Passing),
            (Kind::Expired, "RequestExpired", "", Refusal::Passing),
        ] {
            assert_eq!(refusal(&failure(kind, code, message)), expected, "{code}: {message}");
        }
    }
}
