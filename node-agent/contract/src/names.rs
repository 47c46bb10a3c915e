//! Names that both sides use.

/// Tags that mark what belongs to a block. `aws:` is AWS's; this prefix is the product's.
pub mod tag {
    /// The block's id.
    pub const BLOCK: &str = "spotblock:block";
    /// The compute environment's name.
    pub const ENVIRONMENT: &str = "spotblock:environment";
}

/// Attributes that the agent gives the container instance at its registration. ECS allows letters, digits, `-`, `_`,
/// `.`, `/` and `\` in a name.
pub mod attribute {
    /// The block's id.
    pub const BLOCK: &str = "spotblock.block";
    /// The block's end, RFC 3339 in UTC.
    pub const END: &str = "spotblock.end";
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
}
