//! The flags of what looks at a block and moves its end.

use clap::Args;

/// `status`.
#[derive(Clone, Debug, Default, Args)]
pub struct Status {
    /// Look every 5 seconds, and draw over what was drawn; with -o json print a line each time
    #[arg(long, short)]
    pub watch: bool,
}

/// `extend`.
#[derive(Clone, Debug, Default, Args)]
#[command(group = clap::ArgGroup::new("end").required(true))]
pub struct Extend {
    /// The block; it can be left out where only one goes on
    #[arg(long, value_name = "ID")]
    pub block: Option<String>,
    /// By how much, such as 1h, counted from its latest instance's end
    #[arg(long, value_name = "DURATION", group = "end")]
    pub by: Option<String>,
    /// To which moment, such as 2026-11-24T18:00:00Z; said again it changes nothing
    #[arg(long, value_name = "TIME", group = "end")]
    pub to: Option<String>,
    /// Buy the extension of a capacity block if one is needed, up to [block] max-cost: it is paid
    /// at once, and can't be given back
    #[arg(long)]
    pub yes_purchase: bool,
}

/// `drain`.
#[derive(Clone, Debug, Default, Args)]
pub struct Drain {
    /// This block only
    #[arg(long, value_name = "ID")]
    pub block: Option<String>,
    /// Wait until the running jobs have ended
    #[arg(long)]
    pub wait: bool,
    /// Wait so long, then stop those that still run, to be retried
    #[arg(long, value_name = "DURATION")]
    pub limit: Option<String>,
}

/// `down`.
#[derive(Clone, Debug, Default, Args)]
pub struct Down {
    /// This block only
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub block: Option<String>,
    /// The queue, the compute environment, the job definitions and the roles that spotblock made,
    /// too
    #[arg(long, visible_alias = "environment-too")]
    pub all: bool,
    /// With --all: delete the queue although jobs wait or run in it; they are lost
    #[arg(long, requires = "all")]
    pub discard_jobs: bool,
    /// How long running jobs may go on before they are stopped, to be retried [default: not at all]
    #[arg(long, value_name = "DURATION", conflicts_with = "now")]
    pub limit: Option<String>,
    /// End the instances at once: no job is stopped first, and Batch learns of their end only later
    #[arg(long)]
    pub now: bool,
}

/// `reap`.
#[derive(Clone, Debug, Default, Args)]
pub struct Reap {
    /// Show what would be ended, and end nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also end instances of ours that have no record, and so no known end, if they were launched
    /// so long ago
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,
    /// This environment, instead of the file's
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// All environments of the account in this region
    #[arg(long, conflicts_with = "environment")]
    pub all: bool,
}
