//! Names that both sides use.

/// Tags that mark what belongs to a block. `aws:` is AWS's; this prefix is the product's.
pub mod tag {
    /// The block's id.
    pub const BLOCK: &str = "spotblock:block";
    /// The compute environment's name.
    pub const ENVIRONMENT: &str = "spotblock:environment";
    /// On an instance: the moment to which its block's end was moved, RFC 3339 in UTC. The agent
    /// reads it through IMDS, where instance tags are shown only if the instance was launched with
    /// `InstanceMetadataTags` enabled, and honours it only while the instance takes tasks.
    pub const END: &str = "spotblock:end";
}

/// Attributes that the agent gives the container instance at its registration. ECS allows letters,
/// digits, `-`, `_`, `.`, `/` and `\` in a name.
pub mod attribute {
    /// The block's id.
    pub const BLOCK: &str = "spotblock.block";
    /// The block's end, RFC 3339 in UTC. Set again when an extension was accepted.
    pub const END: &str = "spotblock.end";
    /// The moment in the tag [`super::tag::END`] that the agent has read and answered: what it made
    /// of it is in [`END`]. `spotblock extend` reads both.
    pub const END_ASKED: &str = "spotblock.end-asked";
    /// The agent's version.
    pub const AGENT_VERSION: &str = "spotblock.agent-version";
}

/// Files on an instance, below its root folder.
pub mod path {
    /// The ECS agent's settings.
    pub const ECS_CONFIG: &str = "etc/ecs/ecs.config";
    /// The settings of `spotblock-agent` that belong to the host, not to the block.
    pub const AGENT_SETTINGS: &str = "etc/spotblock/agent.toml";
    /// Where `spotblock-agent` keeps its state.
    pub const STATE: &str = "var/lib/spotblock/state.json";
    /// Where it writes down what happened when, a JSON object a line.
    pub const RECORD: &str = "var/lib/spotblock/record.jsonl";
    /// A folder for each of `drain`, `warn`, `stop` and `leave`, with executables to be run then.
    pub const HOOKS: &str = "etc/spotblock/hooks.d";
    /// Held by the one `spotblock-agent` that keeps the instance.
    pub const LOCK: &str = "run/spotblock/agent.lock";
    /// The id of this boot, as the agent sees it: `run` is emptied at each boot. In a container its
    /// sandbox can show it another one than a process outside sees.
    pub const BOOT_ID: &str = "run/spotblock/boot-id";
    /// Where it tells its status.
    pub const SOCKET: &str = "run/spotblock/agent.sock";
    /// Where the power-off timer's units are written.
    pub const UNITS: &str = "etc/systemd/system";
    /// What tells jobs that they will be stopped. Its folder is there to be mounted into
    /// containers.
    pub const NOTICE: &str = "run/spotblock/notice/notice.json";
    /// Where the ECS agent keeps its data.
    pub const ECS_DATA: &str = "var/lib/ecs/data";
}

/// systemd units on an instance.
pub mod unit {
    /// The agent.
    pub const AGENT: &str = "spotblock-agent.service";
    /// Stops tasks when the host goes down for a reason of its own.
    pub const GUARD: &str = "spotblock-guard.service";
    /// Powers the host off after its block's end, whatever became of the agent.
    pub const POWER_OFF_TIMER: &str = "spotblock-poweroff.timer";
    /// What that timer starts.
    pub const POWER_OFF_SERVICE: &str = "spotblock-poweroff.service";
}
