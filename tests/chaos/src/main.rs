//! `chaos`: lives blocks of many seeds, and says which promises they broke.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use chaos::mutant::Mutant;
use chaos::story::{self, Outcome};
use clap::Parser;

/// Lives whole blocks under every fault there is, on simulated time.
#[derive(Parser)]
struct Args {
    /// The one block to live, with all that happened printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many blocks.
    #[arg(long, default_value_t = 1_000)]
    blocks: u64,
    /// The seed of the first.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many at once.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Break the programs under test: leaves-early, never-stops, ignores-notice, loosens-end,
    /// undrains, buys-twice, keeps-schedules, makes-no-schedule, reaps-early, never-reaps,
    /// names-freely, unguarded, ignores-maintenance, keeps-reservations, reuses-token,
    /// believes-tag.
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
}

fn mutant(text: &str) -> Result<Mutant, String> {
    let all = Mutant::ALL.into_iter();
    all.into_iter().find(|it| it.name() == text).ok_or_else(|| "there is no such mutant".to_owned())
}

#[expect(clippy::print_stdout, reason = "what it has to say is its result")]
fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        let outcome = story::live(seed, args.mutant);
        println!("{}", outcome.log.join("\n"));
        println!("{:#?}", chaos::plan::Plan::of(seed));
        return told(&outcome);
    }
    let (next, until) = (AtomicU64::new(args.from), args.from + args.blocks);
    let (outcomes, inbox) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            let (outcomes, next) = (outcomes.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= until || outcomes.send(story::live(seed, args.mutant)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(outcomes);
        sum_up(inbox)
    })
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it has to say is its result and its progress"
)]
fn sum_up(inbox: mpsc::Receiver<Outcome>) -> ExitCode {
    let (mut blocks, mut instances, mut processes, mut unforeseen, mut failed) =
        (0, 0, 0, 0, Vec::new());
    for outcome in inbox {
        blocks += 1;
        if blocks % 20 == 0 {
            eprintln!("{blocks} blocks so far");
        }
        instances += outcome.instances;
        processes += outcome.processes;
        unforeseen += outcome.unforeseen;
        if !outcome.broken.is_empty() {
            println!("{}", outcome.events.join("\n"));
            told(&outcome);
            failed.push(outcome.seed);
        }
    }
    println!(
        "{blocks} blocks, {instances} instances, {processes} jobs' processes ({unforeseen} ended \
         with a host that AWS took without notice or that crashed), {} blocks with a broken \
         promise",
        failed.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "what it has to say is its result")]
fn told(outcome: &Outcome) -> ExitCode {
    for broken in &outcome.broken {
        println!("seed {}: {broken}", outcome.seed);
    }
    if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
