//! An EC2 instance, as far as rules need it.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// An instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its state, such as `running`.
    pub state: String,
    /// Its type.
    pub instance_type: String,
    /// When it was launched.
    pub launched: Timestamp,
    /// Its Availability Zone.
    pub zone: String,
    /// The spot request that brought it.
    pub spot_request: Option<String>,
    /// Why it is in this state, where AWS says so.
    pub reason: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Instance {
    /// Whether it is, or will be, running.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "pending" | "running" | "stopping" | "stopped")
    }

    /// The launch template that it was launched from: a tag that AWS alone can set `[V]`.
    #[must_use]
    pub fn template(&self) -> Option<&str> {
        self.tags.get("aws:ec2launchtemplate:id").map(String::as_str)
    }
}
