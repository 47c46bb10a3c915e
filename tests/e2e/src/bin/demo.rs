//! `make demo`: the first example's life on a local cloud, with three instances and eight jobs, in
//! under two minutes. With a source as its argument the block is bought there, once the cloud has
//! refused it as a spot block, as AWS does.
//!
//! It exits with 0 only if the local cloud's own records show that every promise was kept, and that
//! the story had what it is about: jobs that finished early, one that finished during the drain,
//! and one that was too long for the first block, was stopped, retried, and succeeded in a second
//! one.

// What it prints is all it is for.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::binaries::Binaries;
use e2e::cloud::LocalCloud;
use e2e::lives::{self, Terms};
use e2e::story::Story;
use e2e::{cli, promises};
use jiff::SignedDuration;
use localcloud_core::Event;
use localcloud_core::journal::record::What;
use serde_json::json;

/// demo.toml's terms once more, so that the judge doesn't rely on the accused.
const TERMS: Terms = Terms {
    duration: SignedDuration::from_hours(1),
    drain_lead: SignedDuration::from_secs(25),
    stop_lead: SignedDuration::from_secs(10),
};

/// Eight jobs and how many seconds each works. With one job at a time on each of three nodes, the
/// seventh finishes during the drain and the eighth doesn't fit the block any more.
const JOBS: [(&str, u32); 8] = [
    ("TestSpotBlock-1", 4),
    ("TestSpotBlock-2", 4),
    ("TestSpotBlock-3", 4),
    ("TestSpotBlock-4", 6),
    ("TestSpotBlock-5", 6),
    ("TestSpotBlock-6", 6),
    ("TestSpotBlock-7", 17),
    ("TestSpotBlock-8", 30),
];

/// The sources that the demo can be shown on.
const SOURCES: [&str; 5] = ["spot-block", "spot", "on-demand", "reservation", CAPACITY_BLOCK];

/// This one is for GPUs and a day at least, has a configuration of its own, and is bought with a
/// flag. Its end counts from the look for offers, so its blocks are offered 5 s longer.
const CAPACITY_BLOCK: &str = "capacity-block";

const LIMIT: Duration = Duration::from_secs(90);

struct Demo {
    cloud: LocalCloud,
    binaries: Binaries,
    config: PathBuf,
    source: String,
    story: Story,
}

impl Demo {
    /// Runs `spotblock` as a user would, and shows the command and what it says.
    async fn spotblock(&self, arguments: &[&str]) -> anyhow::Result<()> {
        println!("\n$ spotblock {}", arguments.join(" "));
        let mut command = cli::command(&self.binaries.spotblock, &self.cloud.url, &[]);
        command.arg("--config").arg(&self.config).args(arguments);
        let run = cli::run(command, LIMIT).await?.success()?;
        print!("{}{}", run.stderr, run.stdout);
        Ok(())
    }

    /// Tells what happens until `done`.
    async fn watch(&mut self, what: &str, done: impl Fn(&[Event]) -> bool) -> anyhow::Result<()> {
        let watch = async {
            loop {
                let events = self.cloud.events().await?;
                for line in self.story.next(&events) {
                    println!("{line}");
                }
                if done(&events) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(LIMIT, watch)
            .await
            .with_context(|| format!("{what}: not within {} s", LIMIT.as_secs()))?
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let instances = if self.source == CAPACITY_BLOCK { "p5.4xlarge" } else { "t2.micro" };
        println!(
            "A block that ends in 50 s: three {instances}, drained 25 s and stopped 10 s before \
             its end."
        );
        let source = self.source.clone();
        let up = match source.as_str() {
            "spot-block" => vec!["up", "--yes"],
            CAPACITY_BLOCK => vec!["up", "--yes", "--yes-purchase"],
            other => vec!["up", "--yes", "--source", "spot-block", "--source", other],
        };
        self.spotblock(&up).await?;
        for (name, seconds) in JOBS {
            let seconds = seconds.to_string();
            let arguments = [
                "submit",
                "--job-definition",
                "hello-world",
                "--name",
                name,
                "--",
                "sleep",
                &seconds,
            ];
            self.spotblock(&arguments).await?;
        }
        println!();
        self.watch("the first block's end", |events| all_gone(events, 3)).await?;

        println!(
            "\nThe first block is gone; what it could not finish waits in the queue. A second \
             one, of 55 s:"
        );
        let ends_in = if self.source == CAPACITY_BLOCK { "PT60S" } else { "PT55S" };
        self.cloud.set(&json!({"block-ends-in": ends_in})).await?;
        self.spotblock(&up).await?;
        println!();
        self.watch("the second block's end", |events| all_gone(events, 6)).await?;
        self.spotblock(&["down", "--all"]).await
    }

    /// Prints the timeline and the verdicts.
    async fn judge(&self) -> anyhow::Result<()> {
        let (calls, events) = (self.cloud.calls().await?, self.cloud.events().await?);
        println!("\n{}", self.story.timeline(&calls, &events, &TERMS));
        let mut verdicts = promises::verdicts(&calls, &events, &TERMS, 2);
        verdicts.extend(promises::of_the_story(&calls, &events, &TERMS));
        let mut broken = 0;
        for verdict in verdicts {
            println!(
                "{}  {}",
                if verdict.broken.is_empty() { "kept  " } else { "BROKEN" },
                verdict.promise
            );
            for finding in &verdict.broken {
                println!("          {finding}");
            }
            broken += verdict.broken.len();
        }
        println!("\n{} calls recorded, {} jobs.", calls.len(), lives::jobs(&events).len());
        ensure!(broken == 0, "{broken} findings against the promises");
        Ok(())
    }
}

fn all_gone(events: &[Event], count: usize) -> bool {
    events.iter().filter(|event| matches!(event.what, What::Gone { .. })).count() >= count
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let source = std::env::args()
        .nth(1)
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| "spot-block".to_owned());
    ensure!(SOURCES.contains(&source.as_str()), "{source:?} is none of {}", SOURCES.join(", "));
    let binaries = Binaries::of_this_build()?;
    let folder = tempfile::tempdir()?;
    let fixture = if source == CAPACITY_BLOCK { "demo-capacity-block.toml" } else { "demo.toml" };
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
    let answer = if source == "spot-block" { "grant" } else { "refuse" };
    let ends_in = if source == CAPACITY_BLOCK { "55s" } else { "50s" };
    let options = ["--spot-block", answer, "--block-ends-in", ends_in];
    let cloud = LocalCloud::start(&binaries, folder.path(), &options).await?;
    println!("A local cloud listens on {}; nothing here talks to AWS.", cloud.url);
    let mut demo = Demo { cloud, binaries, config, source, story: Story::default() };
    let outcome = match demo.run().await {
        Ok(()) => demo.judge().await,
        Err(error) => Err(error),
    };
    demo.cloud.stop().await?;
    outcome
}
