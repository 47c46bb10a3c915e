//! The flags of `submit`.

use clap::Args;

/// `submit`.
#[derive(Clone, Debug, Default, Args)]
pub struct Submit {
    /// The job definition's name
    #[arg(long, short = 'j', value_name = "NAME")]
    pub job_definition: String,
    /// The job's name [default: the job definition's]
    #[arg(long)]
    pub name: Option<String>,
    /// How many jobs, each by itself; above 1 their names end in -1, -2, ...
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
    /// One array job of so many children, which find their number in AWS_BATCH_JOB_ARRAY_INDEX
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000), conflicts_with = "count")]
    pub array: Option<u32>,
    /// A job that has to succeed first, by its id or name; can be repeated
    #[arg(long, value_name = "JOB", value_delimiter = ',')]
    pub depends_on: Vec<String>,
    /// A variable of the job's environment; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// A value for Ref::KEY in the job definition's command; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub parameter: Vec<String>,
    /// Virtual CPUs, instead of the job definition's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub vcpus: Option<u32>,
    /// Memory, such as 2GiB, instead of the job definition's
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// GPUs, instead of the job definition's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub gpus: Option<u32>,
    /// How long an attempt may take, instead of the job definition's
    #[arg(long = "job-timeout", value_name = "DURATION")]
    pub timeout: Option<String>,
    /// How often it may be tried, instead of the job definition's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    pub attempts: Option<u32>,
    /// Wait until the jobs have ended, and exit with 5 when one failed
    #[arg(long, short)]
    pub watch: bool,
    /// The command, instead of the job definition's
    #[arg(last = true)]
    pub command: Vec<String>,
}
