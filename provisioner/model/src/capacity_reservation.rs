//! A capacity reservation of EC2, as far as rules need it.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// A capacity reservation.
#[derive(Clone, Debug, Default)]
pub struct CapacityReservation {
    /// Its id.
    pub id: String,
    /// Its state, such as `active`.
    pub state: String,
    /// The type of its instances.
    pub instance_type: String,
    /// Its Availability Zone.
    pub zone: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself; none where it doesn't.
    pub end: Option<Timestamp>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl CapacityReservation {
    /// Whether it holds capacity, or will: it is paid for until it is cancelled. AWS lets one be
    /// cancelled that is active `[V]`, and one that is pending soon is.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.state.as_str(), "active" | "pending" | "assessing" | "delayed")
    }

    /// Whether it can be launched into, and cancelled.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == "active"
    }
}
