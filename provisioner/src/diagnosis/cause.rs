//! What the doctor can find. docs/troubleshooting.md has a row for each, which a test holds against
//! this list.

use serde::Serialize;

use super::Finding;

/// Each cause, and how it is said.
macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident: $says:literal,)+) => {
        /// Why something doesn't move. Written with hyphens it is the `cause` of JSON output, which
        /// stays.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Cause {
            $($(#[$doc])* $name,)+
        }

        impl Cause {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// How it is said.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self {
                    $(Self::$name => $says,)+
                }
            }
        }
    };
}

causes! {
    /// Batch has no such compute environment.
    EnvironmentMissing: "it is not there",
    /// Batch can't use it.
    EnvironmentInvalid: "it is INVALID, so Batch places no job",
    /// Somebody disabled it.
    EnvironmentDisabled: "it is disabled, so Batch places no job",
    /// Batch has no such queue.
    QueueMissing: "there is no such queue",
    /// Somebody disabled it.
    QueueDisabled: "it is disabled: it takes no jobs",
    /// Batch can't use it.
    QueueInvalid: "it is INVALID, so its jobs wait",
    /// It is bound to other environments.
    QueueElsewhere: "its jobs never reach this environment",
    /// It was ended, or ended itself.
    InstanceGone: "it is gone",
    /// ECS doesn't hear of its agent any more.
    AgentDisconnected: "its ECS agent has lost its connection, so it takes no jobs",
    /// ECS places nothing on it.
    Draining: "it drains: it finishes its jobs and takes no more",
    /// It went to ECS's cluster `default`.
    WrongCluster: "it joined the wrong cluster",
    /// Launched without a profile, or the profile is gone.
    NoProfile: "it has no instance profile, and so no right to join",
    /// The profile is empty.
    NoRole: "its instance profile has no role, and so no right to join",
    /// The role is empty.
    NoPolicy: "its role has no policy, and so no right to join",
    /// User data powers such an instance off.
    NoAgent: "its image has no spotblock-agent",
    /// Fetching the agent failed, or the user's own script.
    UserDataFailed: "its user data failed",
    /// Nothing leads out of its subnet.
    NoRoute: "its subnet has no way to ECS",
    /// The subnet's way is for public addresses alone.
    NoPublicAddress: "its subnet's only way out needs a public address, and it has none",
    /// Too early to say.
    Booting: "it still boots",
    /// Nothing else was found.
    NeverJoined: "it never came to ECS",
    /// Too early to say.
    Submitted: "Batch looks at it",
    /// Others have to succeed first.
    Dependent: "it waits for other jobs to succeed",
    /// No block is live.
    NoInstance: "there is no instance to run it",
    /// Instances are up, and none came.
    NoneJoined: "no instance has joined",
    /// All drain or are disconnected.
    NoneOpen: "no instance takes jobs any more",
    /// It wants one.
    NoGpu: "no instance has a GPU",
    /// Even an empty instance doesn't hold it.
    TooBig: "it is too big for any instance",
    /// Others run.
    NoRoom: "all room is taken: it waits for other jobs to end",
    /// Batch needs a moment.
    Room: "there is room: Batch is about to place it",
    /// Its timeout is longer than what every instance has left.
    TooLate: "it may not end before its block stops it",
    /// Its image is for other processors.
    Architecture: "its image is for another architecture than the instances",
    /// Retries won't help.
    StoppedAgain: "the ends of blocks have stopped it again and again",
    /// It is over.
    Failed: "it failed",
}

impl Cause {
    /// The finding, with its grounds and the command that helps.
    pub(super) fn found(
        self,
        about: impl Into<String>,
        evidence: impl Into<String>,
        next: impl Into<String>,
    ) -> Finding {
        Finding {
            cause: self,
            about: about.into(),
            finding: self.says().to_owned(),
            evidence: evidence.into(),
            next: next.into(),
        }
    }
}
