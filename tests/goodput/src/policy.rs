//! The ways to meet a block's end.

use node_contract::Options;

/// How long before the end tasks are stopped, in seconds: `init`'s own setting.
pub(crate) const STOP_LEAD: u32 = 300;

/// A way to meet a block's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// No agent: whatever runs at the end is cut off with the host, as where user data does nothing
    /// but join.
    NoDrain,
    /// The agent with a fixed `drain-lead` of so many minutes.
    FixedLead(u32),
    /// The agent with `drain-lead = "auto"`, and no job has a timeout: it goes by what it has seen.
    AutoLead,
    /// The agent that drains only when it stops: all of the block is used, and much of it for
    /// nothing.
    StopOnly,
    /// What starts is known to end in time, the longest that fits first, and an instance leaves
    /// when nothing fits. Nobody can do that; nobody does better by waiting.
    KnowsTheFuture,
}

impl Policy {
    /// All of them. The longer of the fixed leads is `init`'s own setting.
    pub(crate) fn all() -> [Self; 6] {
        let fixed = Self::FixedLead;
        [Self::NoDrain, Self::StopOnly, fixed(15), fixed(45), Self::AutoLead, Self::KnowsTheFuture]
    }

    pub(crate) fn name(self) -> String {
        let name = match self {
            Self::NoDrain => "nothing (no agent)",
            Self::StopOnly => "the agent, stopping only",
            Self::FixedLead(minutes) => return format!("the agent, drain-lead {minutes}m"),
            Self::AutoLead => "the agent, drain-lead auto",
            Self::KnowsTheFuture => "whoever knows the future",
        };
        name.to_owned()
    }

    /// The agent's drain lead in seconds and its options, where there is an agent.
    pub(crate) fn agent(self) -> Option<(u32, Options)> {
        match self {
            Self::NoDrain => None,
            Self::StopOnly | Self::KnowsTheFuture => Some((STOP_LEAD, Options::default())),
            Self::FixedLead(minutes) => Some((minutes * 60, Options::default())),
            Self::AutoLead => {
                Some((STOP_LEAD, Options { longest_timeout_secs: Some(0), ..Options::default() }))
            }
        }
    }
}
