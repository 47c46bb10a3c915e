//! What a refusal means, by AWS's code. Only a lack of capacity, price, quota or offer leads on to the next source: a
//! request that is wrong would be wrong there as well.

use super::PurchaseOutcome;
use crate::model::error::{AwsFailure, Error, Kind, Result};

/// What a refused purchase means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// EC2 doesn't sell this at all, in no pool.
    NotSold,
    /// There is none now.
    NoCapacity,
    /// Not at this price.
    Price,
    /// The account may not have so many.
    Quota,
    /// The type isn't offered there.
    NotOffered,
    /// The instance profile is too new to be used.
    ProfileTooNew,
    /// These parameters will never do.
    Never,
    /// It says nothing about this purchase: credentials, network, throttling.
    Passing,
}

impl Refusal {
    /// Whether the next attempt may have what this one lacked.
    #[must_use]
    pub fn leads_on(self) -> bool {
        matches!(self, Self::NotSold | Self::NoCapacity | Self::Price | Self::Quota | Self::NotOffered)
    }
}

/// Why an attempt brought fewer instances than it was asked for.
#[derive(Debug)]
pub struct Shortfall {
    /// What it means.
    pub refusal: Refusal,
    /// AWS's code.
    pub code: String,
    /// In words.
    pub why: String,
    /// The failed call, where one failed.
    pub failure: Option<Box<AwsFailure>>,
    /// What the user can do, where the source knows better than a general word.
    pub next: Option<&'static str>,
}

impl Shortfall {
    /// Of a failed call.
    #[must_use]
    pub fn of_call(refusal: Refusal, failure: Box<AwsFailure>) -> Self {
        let code = failure.code.clone().unwrap_or_default();
        Self { refusal, code, why: failure.message.clone(), failure: Some(failure), next: None }
    }
}

impl Shortfall {
    /// Of an attempt that a killed run left, and whose time is over.
    #[must_use]
    pub fn too_late() -> Self {
        let why = "its time was over before it was asked for".to_owned();
        Self { refusal: Refusal::NoCapacity, code: "too-late".to_owned(), why, failure: None, next: None }
    }
}

/// A failed purchase as an outcome, where it says something about the capacity.
///
/// # Errors
/// The failure itself, where it says nothing about it.
pub fn outcome(error: Error, judge: impl Fn(&AwsFailure) -> Refusal) -> Result<PurchaseOutcome> {
    match error {
        Error::Aws(failure) => match judge(&failure) {
            Refusal::Passing | Refusal::ProfileTooNew => Err(Error::Aws(failure)),
            refusal => Ok(PurchaseOutcome { instances: 0, short: Some(Shortfall::of_call(refusal, failure)) }),
        },
        error => Err(error),
    }
}

/// Whether an error is the refusal of an instance profile that is too new.
#[must_use]
pub fn profile_too_new(error: &Error) -> bool {
    error.aws().is_some_and(|failure| of_call(failure) == Refusal::ProfileTooNew)
}

/// What the refusal of a call to EC2 means.
#[must_use]
pub fn of_call(failure: &AwsFailure) -> Refusal {
    let code = failure.code.as_deref().unwrap_or_default();
    // AWS counts a lack of capacity among its own failures (status 500) `[A]`; it lasts longer than a repetition.
    if matches!(failure.kind, Kind::Server | Kind::Rejected) && of_code(code, "") == Refusal::NoCapacity {
        return Refusal::NoCapacity;
    }
    if failure.is_transient() || !matches!(failure.kind, Kind::Rejected | Kind::NotFound) {
        return Refusal::Passing;
    }
    // Something was bought with this token, and to begin anew now would buy twice; or the account lacks a role that the
    // purchase needs, which says nothing about these parameters.
    if code == "IdempotentParameterMismatch" || code.starts_with("AuthFailure.") {
        return Refusal::Passing;
    }
    of_code(code, &failure.message)
}

/// What a code of EC2 means, be it of a refused call or of an answer's list of errors.
#[must_use]
pub fn of_code(code: &str, message: &str) -> Refusal {
    let message = message.to_lowercase();
    match code {
        "InsufficientInstanceCapacity"
        | "InsufficientCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientCapacityOnHost"
        | "UnfulfillableCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "Server.InsufficientInstanceCapacity" => Refusal::NoCapacity,
        "SpotMaxPriceTooLow" => Refusal::Price,
        "MaxSpotInstanceCountExceeded"
        | "MaxSpotFleetRequestCountExceeded"
        | "VcpuLimitExceeded"
        | "InstanceLimitExceeded"
        | "ReservationCapacityExceeded" => Refusal::Quota,
        // A type that isn't offered in the zone.
        "Unsupported" | "UnsupportedOperation" | "InvalidFleetConfiguration" if not_offered(&message, code) => {
            Refusal::NotOffered
        }
        "InvalidParameterValue" if message.contains("instance profile") => Refusal::ProfileTooNew,
        _ if message.contains("iaminstanceprofile") => Refusal::ProfileTooNew,
        _ => Refusal::Never,
    }
}

/// `Unsupported` says so by itself; a fleet's code covers many other mistakes, and is told by its words `[A]`.
fn not_offered(message: &str, code: &str) -> bool {
    code != "InvalidFleetConfiguration" || message.contains("not supported in your requested availability zone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind, code: &str, message: &str) -> AwsFailure {
        AwsFailure {
            action: "ec2:CreateFleet",
            resource: "block".into(),
            kind,
            code: Some(code.into()),
            message: message.into(),
            request_id: None,
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let profile = "Value (p) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
        for (kind, code, message, expected) in [
            (Kind::Rejected, "InsufficientInstanceCapacity", "", Refusal::NoCapacity),
            (Kind::Server, "InsufficientInstanceCapacity", "", Refusal::NoCapacity),
            (Kind::Server, "InternalError", "", Refusal::Passing),
            (Kind::Rejected, "UnfulfillableCapacity", "", Refusal::NoCapacity),
            (Kind::Rejected, "Unsupported", "t2.micro is not supported in us-east-1e", Refusal::NotOffered),
            (
                Kind::Rejected,
                "InvalidFleetConfiguration",
                "Your requested instance type (t2.micro) is not supported in your requested Availability Zone",
                Refusal::NotOffered,
            ),
            (Kind::Rejected, "InvalidFleetConfiguration", "The fleet configuration is wrong", Refusal::Never),
            (Kind::Rejected, "MaxSpotInstanceCountExceeded", "", Refusal::Quota),
            (Kind::Rejected, "VcpuLimitExceeded", "", Refusal::Quota),
            (Kind::Rejected, "SpotMaxPriceTooLow", "", Refusal::Price),
            (Kind::Rejected, "InvalidParameterValue", profile, Refusal::ProfileTooNew),
            (Kind::NotFound, "InvalidKeyPair.NotFound", "", Refusal::Never),
            (Kind::Rejected, "InvalidParameterValue", "Invalid zone", Refusal::Never),
            (Kind::Rejected, "IdempotentParameterMismatch", "", Refusal::Passing),
            (Kind::Rejected, "AuthFailure.ServiceLinkedRoleCreationNotPermitted", "", Refusal::Passing),
            (Kind::Denied, "UnauthorizedOperation", "", Refusal::Passing),
            (Kind::Throttled, "RequestLimitExceeded", "", Refusal::Passing),
            (Kind::Expired, "RequestExpired", "", Refusal::Passing),
        ] {
            assert_eq!(of_call(&failure(kind, code, message)), expected, "{code}: {message}");
        }
    }

    /// Catches: money spent on the next source after a request that was simply wrong.
    #[test]
    fn only_a_lack_of_capacity_price_quota_or_offer_leads_on() {
        for refusal in [Refusal::NotSold, Refusal::NoCapacity, Refusal::Price, Refusal::Quota, Refusal::NotOffered] {
            assert!(refusal.leads_on(), "{refusal:?}");
        }
        for refusal in [Refusal::ProfileTooNew, Refusal::Never, Refusal::Passing] {
            assert!(!refusal.leads_on(), "{refusal:?}");
        }
    }
}
