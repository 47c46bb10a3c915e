//! What EC2's refusal of a purchase means, by AWS's code. Only a lack of capacity, price, quota or
//! offer leads on to the next source: a request that is wrong would be wrong there as well.

use crate::model::error::{AwsError, AwsErrorKind, Error};

/// What a refused purchase means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
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
    pub(crate) fn leads_on(self) -> bool {
        matches!(
            self,
            Self::NotSold | Self::NoCapacity | Self::Price | Self::Quota | Self::NotOffered
        )
    }
}

/// Whether an error is the refusal of an instance profile that is too new.
#[must_use]
pub(crate) fn profile_too_new(error: &Error) -> bool {
    error.aws().is_some_and(|failure| of_call(failure) == Refusal::ProfileTooNew)
}

/// What the refusal of a call to EC2 means.
#[must_use]
pub(crate) fn of_call(failure: &AwsError) -> Refusal {
    let code = failure.code.as_deref().unwrap_or_default();
    // AWS counts a lack of capacity among its own failures (status 500) `[A]`; it lasts longer than
    // a repetition.
    if matches!(failure.kind, AwsErrorKind::Server | AwsErrorKind::Rejected)
        && of_code(code, "") == Refusal::NoCapacity
    {
        return Refusal::NoCapacity;
    }
    // Also a token under which something was bought: to begin anew now would buy twice.
    if failure.is_transient()
        || !matches!(failure.kind, AwsErrorKind::Rejected | AwsErrorKind::NotFound)
    {
        return Refusal::Passing;
    }
    // The account lacks what the purchase needs, which says nothing about these parameters.
    if code.starts_with("AuthFailure.") {
        return Refusal::Passing;
    }
    of_code(code, &failure.message)
}

/// What a code of EC2 means, be it of a refused call or of an answer's list of errors.
#[must_use]
pub(crate) fn of_code(code: &str, message: &str) -> Refusal {
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
        "Unsupported" | "UnsupportedOperation" | "InvalidFleetConfiguration"
            if not_offered(&message, code) =>
        {
            Refusal::NotOffered
        }
        "InvalidParameterValue" if message.contains("instance profile") => Refusal::ProfileTooNew,
        _ if message.contains("iaminstanceprofile") => Refusal::ProfileTooNew,
        _ => Refusal::Never,
    }
}

/// `Unsupported` says so by itself; a fleet's code covers many other mistakes, and is told by its
/// words `[A]`.
fn not_offered(message: &str, code: &str) -> bool {
    code != "InvalidFleetConfiguration"
        || message.contains("not supported in your requested availability zone")
}

/// Whether a launch names a capacity reservation that was made a moment ago, and that EC2 doesn't
/// know everywhere yet.
#[must_use]
pub(crate) fn is_reservation_too_new(error: &Error) -> bool {
    error.aws().is_some_and(|failure| failure.is("InvalidCapacityReservationId.NotFound"))
}

/// What a refusal of RequestSpotInstances means. The wording of AWS's refusal of a duration may
/// have changed, so it is told by the parameter's name `[A]`.
#[must_use]
pub(crate) fn of_spot_block(failure: &AwsError) -> Refusal {
    let message = failure.message.to_lowercase();
    let of_duration = message.contains("blockduration") || message.contains("defined duration");
    match of_call(failure) {
        Refusal::Passing => Refusal::Passing,
        _ if of_duration => Refusal::NotSold,
        refusal => refusal,
    }
}

/// A type that isn't sold so is told by the parameter that AWS names `[A]`.
#[must_use]
pub(crate) fn of_offerings(failure: &AwsError) -> Refusal {
    match of_call(failure) {
        Refusal::Never if failure.message.to_lowercase().contains("instancetype") => {
            Refusal::NotOffered
        }
        refusal => refusal,
    }
}

/// An offering that is gone was somebody else's luck.
#[must_use]
pub(crate) fn of_capacity_block_purchase(failure: &AwsError) -> Refusal {
    match of_call(failure) {
        Refusal::Never if failure.kind == AwsErrorKind::NotFound => Refusal::NoCapacity,
        refusal => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: AwsErrorKind, code: &str, message: &str) -> AwsError {
        AwsError {
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
        let profile = "Value (p) for parameter iamInstanceProfile.name is invalid. Invalid IAM \
                       Instance Profile name";
        for (kind, code, message, expected) in [
            (AwsErrorKind::Rejected, "InsufficientInstanceCapacity", "", Refusal::NoCapacity),
            (AwsErrorKind::Server, "InsufficientInstanceCapacity", "", Refusal::NoCapacity),
            (AwsErrorKind::Server, "InternalError", "", Refusal::Passing),
            (AwsErrorKind::Rejected, "UnfulfillableCapacity", "", Refusal::NoCapacity),
            (
                AwsErrorKind::Rejected,
                "Unsupported",
                "t2.micro is not supported in us-east-1e",
                Refusal::NotOffered,
            ),
            (
                AwsErrorKind::Rejected,
                "InvalidFleetConfiguration",
                "Your requested instance type (t2.micro) is not supported in your requested \
                 Availability Zone",
                Refusal::NotOffered,
            ),
            (
                AwsErrorKind::Rejected,
                "InvalidFleetConfiguration",
                "The fleet configuration is wrong",
                Refusal::Never,
            ),
            (AwsErrorKind::Rejected, "MaxSpotInstanceCountExceeded", "", Refusal::Quota),
            (AwsErrorKind::Rejected, "VcpuLimitExceeded", "", Refusal::Quota),
            (AwsErrorKind::Rejected, "SpotMaxPriceTooLow", "", Refusal::Price),
            (AwsErrorKind::Rejected, "InvalidParameterValue", profile, Refusal::ProfileTooNew),
            (AwsErrorKind::NotFound, "InvalidKeyPair.NotFound", "", Refusal::Never),
            (AwsErrorKind::Rejected, "InvalidParameterValue", "Invalid zone", Refusal::Never),
            (AwsErrorKind::TokenReused, "IdempotentParameterMismatch", "", Refusal::Passing),
            (
                AwsErrorKind::NoServiceLinkedRole,
                "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
                "",
                Refusal::Passing,
            ),
            (AwsErrorKind::Denied, "UnauthorizedOperation", "", Refusal::Passing),
            (AwsErrorKind::Throttled, "RequestLimitExceeded", "", Refusal::Passing),
            (AwsErrorKind::Expired, "RequestExpired", "", Refusal::Passing),
        ] {
            assert_eq!(of_call(&failure(kind, code, message)), expected, "{code}: {message}");
        }
    }

    /// Catches: money spent on the next source after a request that was simply wrong.
    #[test]
    fn only_a_lack_of_capacity_price_quota_or_offer_leads_on() {
        for refusal in [
            Refusal::NotSold,
            Refusal::NoCapacity,
            Refusal::Price,
            Refusal::Quota,
            Refusal::NotOffered,
        ] {
            assert!(refusal.leads_on(), "{refusal:?}");
        }
        for refusal in [Refusal::ProfileTooNew, Refusal::Never, Refusal::Passing] {
            assert!(!refusal.leads_on(), "{refusal:?}");
        }
    }

    #[test]
    fn a_refused_duration_is_told_from_other_refusals() {
        let failure = |kind, code: &str, message: &str| AwsError {
            action: "ec2:RequestSpotInstances",
            resource: "block".into(),
            kind,
            code: Some(code.into()),
            message: message.into(),
            request_id: None,
        };
        for (kind, code, message, expected) in [
            (
                AwsErrorKind::Rejected,
                "InvalidParameterValue",
                "BlockDurationMinutes is not a valid parameter",
                Refusal::NotSold,
            ),
            (
                AwsErrorKind::Rejected,
                "UnsupportedOperation",
                "Spot with a defined duration is not supported",
                Refusal::NotSold,
            ),
            (
                AwsErrorKind::Throttled,
                "RequestLimitExceeded",
                "BlockDurationMinutes",
                Refusal::Passing,
            ),
            (AwsErrorKind::Rejected, "InvalidParameterValue", "Invalid zone", Refusal::Never),
            (AwsErrorKind::Rejected, "SpotMaxPriceTooLow", "", Refusal::Price),
        ] {
            assert_eq!(of_spot_block(&failure(kind, code, message)), expected, "{code}: {message}");
        }
    }

    /// Catches: an offering that somebody else was quicker to buy, taken for a wrong request.
    #[test]
    fn an_offering_that_is_gone_is_a_lack_of_capacity() {
        let judged = |kind| of_capacity_block_purchase(&failure(kind, "X", ""));
        assert_eq!(judged(AwsErrorKind::NotFound), Refusal::NoCapacity);
        assert_eq!(judged(AwsErrorKind::Rejected), Refusal::Never);
    }
}
