//! Goodput: the share of paid block time that ended in finished jobs. `make goodput` prints it.
//!
//! Streams of jobs run through blocks, one block after the other, under each way to meet a block's
//! end. What the agent decides isn't modelled: the instances step its own state machine
//! (`spotblock_agent::lifecycle`) with the settings of its own contract. What is modelled is the
//! rest: Batch places jobs in their order wherever there is room, ECS says what is so at once,
//! tasks stop within seconds.
//!
//! - `stream.rs`: jobs, drawn from a heavy-tailed distribution or read from a trace
//! - `policy.rs`: the ways to meet a block's end
//! - `host.rs`: one instance and its agent
//! - `world.rs`: the queue, the blocks, and what became of it all

mod host;
mod policy;
mod stream;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use policy::Policy;
use stream::{Drawn, Job};
use world::{Outcome, Terms};

/// The share of paid block time that ends in finished jobs.
#[derive(Debug, Parser)]
struct Args {
    /// A trace in the Standard Workload Format, instead of streams drawn from a distribution.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// How many streams are drawn, with the seeds 1, 2, 3, ...
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The drawn jobs' median duration, in minutes.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=600))]
    median_minutes: u32,
    /// How many blocks follow each other.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    blocks: u32,
    /// Instances in a block.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    instances: u32,
    /// Virtual processors of an instance. A drawn job takes one.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=192))]
    vcpus: u32,
    /// How long a block lasts, in hours.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=24))]
    hours: u32,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let terms = Terms {
        blocks: args.blocks,
        instances: args.instances,
        vcpus: args.vcpus,
        secs: i64::from(args.hours) * 3600,
    };
    let (streams, passed_over) = streams(args, &terms)?;
    say(&format!(
        "{} blocks of {} instances with {} vCPUs for {} h, one after the other; {}",
        args.blocks,
        args.instances,
        args.vcpus,
        args.hours,
        told(args, &streams, passed_over)
    ));
    say(&format!(
        "\n{:<34} {:>8} {:>17} {:>7} {:>9} {:>9} {:>6}",
        "the block's end is met by",
        "goodput",
        "least to most",
        "ratio",
        "stopped",
        "unwarned",
        "lost"
    ));
    let mut first = None;
    for policy in Policy::all() {
        let outcomes = outcomes(&terms, policy, &streams);
        let goodputs = sorted(&outcomes, Outcome::goodput);
        let middle = median(&goodputs);
        let ratio = middle / *first.get_or_insert(middle);
        let per_100 = |of: fn(&Outcome) -> u64| {
            median(&sorted(&outcomes, |outcome| {
                100.0 * of(outcome) as f64 / outcome.finished.max(1) as f64
            }))
        };
        let range =
            format!("{:.1} to {:.1} %", 100.0 * goodputs[0], 100.0 * goodputs[goodputs.len() - 1]);
        say(&format!(
            "{:<34} {:>6.1} % {range:>17} {ratio:>7.2} {:>9.1} {:>9.1} {:>6.1}",
            policy.name(),
            100.0 * middle,
            per_100(|outcome| outcome.stopped),
            per_100(|outcome| outcome.unwarned),
            per_100(|outcome| outcome.lost),
        ));
    }
    say("\nMedians over the streams. goodput: the finished jobs' time, of the time paid. ratio: \
         to the first line. stopped:");
    say("attempts that the agent stopped with their warning; unwarned: attempts cut off with the \
         host; lost: jobs whose");
    say("attempts were used up; each for 100 finished jobs.");
    Ok(())
}

/// Each stream in a thread: they have nothing to do with each other.
fn outcomes(terms: &Terms, policy: Policy, streams: &[Vec<Job>]) -> Vec<Outcome> {
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            streams.iter().map(|jobs| scope.spawn(|| world::run(terms, policy, jobs))).collect();
        // A stream that failed would make the figures wrong: its panic ends this one.
        runs.into_iter()
            .map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// The streams, and how many of a trace's jobs are passed over.
fn streams(args: &Args, terms: &Terms) -> anyhow::Result<(Vec<Vec<Job>>, usize)> {
    let Some(path) = &args.trace else {
        let drawn = Drawn { median_secs: i64::from(args.median_minutes) * 60 };
        return Ok(((1..=args.seeds).map(|seed| drawn.jobs(seed, terms)).collect(), 0));
    };
    let bytes = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    let trace = stream::text_of(&bytes).and_then(|text| stream::from_trace(&text, terms));
    let trace = trace.with_context(|| format!("{}", path.display()))?;
    Ok((vec![trace.jobs], trace.passed_over))
}

fn told(args: &Args, streams: &[Vec<Job>], passed_over: usize) -> String {
    let jobs: usize = streams.iter().map(Vec::len).sum();
    match &args.trace {
        Some(path) => format!("{jobs} jobs of {}, {passed_over} passed over", path.display()),
        None => format!(
            "{} streams of some {} jobs, log-normal durations, median {} min, seeds 1 to {}",
            streams.len(),
            jobs / streams.len().max(1),
            args.median_minutes,
            args.seeds
        ),
    }
}

fn sorted(outcomes: &[Outcome], of: impl Fn(&Outcome) -> f64) -> Vec<f64> {
    let mut values: Vec<_> = outcomes.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

#[expect(clippy::print_stdout, reason = "it is this program's result")]
fn say(line: &str) {
    println!("{line}");
}
