//! A spot request of EC2, and where it stands.

use std::collections::BTreeMap;

/// A spot request.
#[derive(Clone, Debug, Default)]
pub struct SpotRequest {
    /// Its id.
    pub id: String,
    /// Its state, such as `open`.
    pub state: String,
    /// Its status code, such as `price-too-low`.
    pub code: String,
    /// What AWS says about the status.
    pub message: String,
    /// The instance that it brought.
    pub instance: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Where a spot request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpotRequestStatus {
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
const FAILED: [&str; 5] = [
    "schedule-expired",
    "canceled-before-fulfillment",
    "bad-parameters",
    "system-error",
    "limit-exceeded",
];
/// Of those whose instance lives `[V]`.
const LIVE: [&str; 3] =
    ["fulfilled", "marked-for-termination", "request-canceled-and-instance-running"];

impl SpotRequest {
    /// Whether it can be cancelled.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "open" | "active" | "disabled")
    }

    /// Judges the request by its status code, and by its state where the code is unknown.
    #[must_use]
    pub fn status(&self) -> SpotRequestStatus {
        let code = self.code.as_str();
        if FAILED.contains(&code) {
            return SpotRequestStatus::Failed;
        }
        if LIVE.contains(&code) {
            return SpotRequestStatus::Live;
        }
        if HOLDING.contains(&code) && self.state == "open" {
            return SpotRequestStatus::Holding;
        }
        match self.state.as_str() {
            "active" => SpotRequestStatus::Live,
            "closed" | "cancelled" if self.instance.is_some() => SpotRequestStatus::Over,
            "closed" | "cancelled" | "failed" | "disabled" => SpotRequestStatus::Failed,
            _ => SpotRequestStatus::Holding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::request;

    #[test]
    fn a_request_is_judged_by_its_code_and_by_its_state_where_the_code_is_unknown() {
        for code in HOLDING {
            assert_eq!(
                request("sir-1", "open", code, None).status(),
                SpotRequestStatus::Holding,
                "{code}"
            );
        }
        for code in FAILED {
            assert_eq!(
                request("sir-1", "closed", code, None).status(),
                SpotRequestStatus::Failed,
                "{code}"
            );
        }
        for (state, code) in [
            ("active", "fulfilled"),
            ("active", "marked-for-termination"),
            ("cancelled", "request-canceled-and-instance-running"),
        ] {
            assert_eq!(
                request("sir-1", state, code, Some("i-1")).status(),
                SpotRequestStatus::Live,
                "{code}"
            );
        }
        for (state, instance, expected) in [
            ("open", None, SpotRequestStatus::Holding),
            ("active", Some("i-1"), SpotRequestStatus::Live),
            ("closed", Some("i-1"), SpotRequestStatus::Over),
            ("cancelled", None, SpotRequestStatus::Failed),
            ("failed", None, SpotRequestStatus::Failed),
            ("disabled", None, SpotRequestStatus::Failed),
            ("something-new", None, SpotRequestStatus::Holding),
        ] {
            assert_eq!(
                request("sir-1", state, "a-code-of-tomorrow", instance).status(),
                expected,
                "{state}"
            );
        }
    }
}
