//! `spotblock`: brings fixed-length blocks of EC2 capacity to AWS Batch, and ends them.
//!
//! # The layers
//!
//! Bottom up: each uses those above it in this table and nothing else. `tests/house` holds it.
//!
//! | layer | what it is |
//! |---|---|
//! | `model` | what a block, a job definition and a purchase are: plain types and pure rules |
//! | `args` | the command line |
//! | `terminal` | streams, progress, tables, and how times and counts are written |
//! | `runtime` | the clock, bounded waits, interruption, failures collected on the way |
//! | `settings` | spotblock.toml, flags and variables, as checked settings |
//! | `aws` | one adapter a service, and the only place that classifies an SDK error |
//! | `session` | what a running command has |
//! | `environment` | what stands around blocks: desired, observed, plan, apply; CloudFormation; policies |
//! | `block` | a block's life: find, launch, purchase, join, drain, end |
//! | `diagnosis` | why something hasn't moved |
//! | `commands` | one file a command, and how results are shown |
//!
//! A new source of capacity is a file in `model/src/source/` (what it sells and promises) and one
//! in `block/purchase/` (how it is bought). A new command is a file in `commands/` and its flags in
//! `args/`. A new call to AWS goes into its service's file in `aws/`; what its errors mean, into
//! `aws/classify.rs`.
//!
//! # From spotblock.toml to a joined block
//!
//! What `spotblock up` does, and where:
//!
//! 1. `main.rs` reads the command line (`args/`), makes the real [`Ports`] (HTTP client, sleep,
//!    clock, streams) and calls [`run`]. Nothing else knows the outside, so a test can run all of
//!    it in one process on simulated time.
//! 2. `settings/` merges flags, variables and spotblock.toml, and holds them against every rule
//!    (`settings/check.rs`, `settings/jobs.rs`) before anything is asked of AWS.
//! 3. `environment/desired.rs` says which resources these settings want; `environment/observe.rs`
//!    looks at what is there, through `aws/`, whose files have only the calls that are used.
//! 4. `environment/plan.rs` compares both, without I/O, into ordered steps: keep, create, change,
//!    refuse. `spotblock plan` ends here.
//! 5. `environment/apply.rs` does the steps around the block (product steps 1 to 5: compute
//!    environment, queue, job definitions, roles with `environment/policy.rs`, and the ECS cluster
//!    that Batch makes), waiting for Batch with `runtime/wait.rs`.
//! 6. `block/launch.rs` launches the block (step 8). `block/find.rs` looks whether one goes on; if
//!    none does, `model/src/record.rs` says how the next is written down: a launch template,
//!    created before anything is bought, that freezes every parameter. Before that,
//!    `block/instance_types.rs` finds instance types where none were listed, and `block/prices.rs`
//!    asks what the block costs at worst.
//! 7. Part of it is the user data (step 6, `block/user_data.rs`): the agent's settings as
//!    `node-contract` has them, in a script that cloud-init runs. From here on `spotblock-agent`
//!    has everything it needs; its manual is node-agent/src/lib.rs.
//! 8. `block/launch/try_sources.rs` asks the sources in turn; `block/purchase/` buys what the
//!    record says, under a client token that follows from it: asked again, AWS sells nothing twice.
//! 9. `block/launch/join.rs` marks the instances with the block's tags, has them ended by a
//!    schedule at AWS if all else fails (`block/termination_schedules.rs`), and waits until each is
//!    a connected container instance of the cluster. Where one isn't, `diagnosis/` says why.
//! 10. `terminal/` prints the result to stdout; progress, warnings and errors went to stderr.
//!
//! The commands are in `commands/`, one file each: `submit` (step 7) puts jobs into the queue,
//! `status` shows, `down` ends. There is no local state: everything is found again in AWS, so any
//! command can be stopped and run again.
//!
//! # What identifies a block
//!
//! Its id, `sb-` and ten hexadecimal digits, made with its record and put as a tag on everything
//! that belongs to it. The record's name, `spotblock-<environment>-<n>`, is a create-if-absent: of
//! two runs at once, one creates it and the other follows. A block goes on until its instances, or
//! all hope of them, are gone ([`Block::life`](model::block::Block::life)). docs/block-identity.md
//! tells the whole of it on one page.
//!
//! # What is ours
//!
//! Whatever ends, tags or changes a thing takes an [`Owned`](model::ownership::Owned), which only
//! the check in `model/src/ownership.rs` makes.

use std::io::Write;
use std::path::PathBuf;

use tokio::sync::mpsc::UnboundedReceiver;

use provisioner_model as model;

mod args;
mod aws;
mod block;
mod commands;
mod diagnosis;
mod environment;
mod runtime;
mod session;
mod settings;
mod terminal;

#[cfg(test)]
mod testing;

// What `main.rs` needs, and whoever drives the program in a test.
pub use args::{Cli, command, parse};
pub use aws::calls::CallLog;
pub use aws::{Account, Connection};
pub use diagnosis::Cause;
pub use terminal::Answers;
pub use terminal::screen::Size;

use args::{BlockFlags, Command, Global};
use aws::partition::Partition;
use aws::{Aws, Location};
use model::error::{Error, Result};
use runtime::clock::Clock;
use runtime::interrupt::Interrupt;
use runtime::wait::Waits;
use session::Session;
use settings::Settings;
use terminal::Ui;

/// The outside world of a run.
pub struct Ports {
    /// What AWS is reached through; the clock and the sleep are those of the whole run.
    pub connection: Connection,
    /// Results.
    pub stdout: Box<dyn Write>,
    /// Progress and errors.
    pub stderr: Box<dyn Write>,
    /// Whether stderr is a terminal.
    pub terminal: bool,
    /// Somebody who answers questions, if stdin and stderr are a terminal.
    pub answers: Option<Answers>,
    /// How large a terminal stdout is.
    pub screen: Size,
    /// How large a terminal stderr is.
    pub progress: Size,
    /// New blocks' ids and the jitter of waits follow from it.
    pub seed: u64,
    /// One message each time the user wants to stop (Ctrl-C, SIGTERM).
    pub interrupts: UnboundedReceiver<()>,
}

/// Runs a command to its end and gives the exit code.
pub async fn run(cli: Cli, mut ports: Ports) -> u8 {
    let out = std::mem::replace(&mut ports.stdout, Box::new(std::io::sink()));
    let err = std::mem::replace(&mut ports.stderr, Box::new(std::io::sink()));
    let plain = cli.global.no_color.as_ref().is_some_and(|value| !value.is_empty());
    let ui = Ui::new(out, err, cli.global.output, ports.terminal && !plain)
        .on(ports.screen, !plain)
        .telling_on(ports.progress)
        .answered_by(ports.answers.take());
    let interrupt = Interrupt::default();
    ports.connection.http = interrupt.guard(&ports.connection.http);
    let (lines, told) = tokio::sync::mpsc::unbounded_channel();
    ports.connection.calls =
        CallLog::new(cli.global.verbose, ports.terminal, ports.connection.time.clone(), lines);
    ui.also_tell(told);
    let mut interrupts =
        std::mem::replace(&mut ports.interrupts, tokio::sync::mpsc::unbounded_channel().1);
    // Dropping the command's future stops it between any two steps, or on a second Ctrl-C in a call
    // whose answer is then lost: both are what a run has to be able to continue from anyway.
    let outcome = tokio::select! {
        outcome = Box::pin(execute(&cli, &ports, &ui, &interrupt)) => outcome,
        never = ui.telling() => match never {},
        () = interrupted(&mut interrupts, &interrupt, &ui, &cli.command) => match is_watch(&cli.command) {
            true => {
                ui.after_ctrl_c();
                Ok(0)
            }
            false => Err(Error::interrupted(go_on(&cli.command))),
        },
    };
    ui.tell_calls();
    match outcome {
        Ok(code) => code,
        Err(error) => {
            ui.error(&error);
            error.exit_code()
        }
    }
}

/// Completes when the run has stopped after the first interrupt, or at the second. A watch ends at
/// the first: that is how one leaves it, and nothing is under way that anybody would have to be
/// told of.
async fn interrupted(
    interrupts: &mut UnboundedReceiver<()>,
    interrupt: &Interrupt,
    ui: &Ui,
    command: &Command,
) {
    if interrupts.recv().await.is_none() {
        // Nobody is left who could interrupt.
        return std::future::pending().await;
    }
    if is_watch(command) {
        return;
    }
    interrupt.request();
    // What can end by itself now does so, without a word about stopping.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    ui.say("stopping; a call in flight may finish. Ctrl-C again leaves at once");
    tokio::select! {
        () = interrupt.blocked() => {}
        _ = interrupts.recv() => {}
    }
}

fn is_watch(command: &Command) -> bool {
    matches!(command, Command::Status(args) if args.watch)
}

/// How to go on after an interrupted command.
fn go_on(command: &Command) -> String {
    let text = match command {
        Command::Up(_) | Command::Request(_) => {
            "nothing was undone: run the same command again and it goes on where it stopped, or \
             `spotblock down` to end the block"
        }
        Command::Drain(_) => {
            "what is DRAINING stays so: its jobs finish, and its instances leave; run the same \
             command again to wait on"
        }
        Command::Extend(_) => {
            "look with `spotblock status` at which end it stands: --to with the same moment goes \
             on, --by would count from there"
        }
        Command::Reap(_) => "what was ended is ended: run the same command again for what is left",
        Command::Down(_) => {
            "nothing was undone: run the same command again and it ends what is left"
        }
        Command::Env(_) => {
            "nothing was undone: run the same command again and it goes on where it stopped"
        }
        Command::Submit(args) if args.watch => {
            "jobs that were submitted go on: `spotblock jobs` lists them, and the same command \
             again would submit others"
        }
        Command::Submit(_) => {
            "look with `spotblock status` how many jobs are in the queue: the same command again \
             would submit all of them"
        }
        Command::Plan(_)
        | Command::UserData(_)
        | Command::Status(_)
        | Command::Jobs(_)
        | Command::Logs(_)
        | Command::Doctor(_)
        | Command::Iam(_)
        | Command::Template
        | Command::Init(_)
        | Command::Schema
        | Command::Completions(_)
        | Command::Man(_) => "nothing was changed",
    };
    text.to_owned()
}

async fn execute(cli: &Cli, ports: &Ports, ui: &Ui, interrupt: &Interrupt) -> Result<u8> {
    if let Command::Init(args) = &cli.command {
        let path = cli.global.config.clone().unwrap_or_else(|| PathBuf::from("spotblock.toml"));
        let waits = waits(ports, interrupt);
        let place = Location {
            region: cli.global.region.clone(),
            profile: cli.global.profile.clone(),
            endpoint_url: cli.global.endpoint_url.clone(),
        };
        return Box::pin(commands::init::run(
            ui,
            &waits,
            &path,
            args,
            Aws::connect(&ports.connection, place),
        ))
        .await;
    }
    match &cli.command {
        Command::Schema => return commands::schema::run(ui),
        Command::Completions(args) => return commands::completions::completions(ui, args.shell),
        Command::Man(args) => return commands::completions::man(ui, args.folder.as_deref()),
        _ => {}
    }
    let waits = waits(ports, interrupt);
    if let Command::Reap(args) = &cli.command
        && (args.all || args.environment.is_some())
    {
        return reap_without_settings(cli, ports, ui, &waits, args).await;
    }
    let settings = Settings::load(&cli.global, block_flags(&cli.command))?;
    block::user_data::preview(&settings)?;
    if let Command::UserData(args) = &cli.command {
        return print_user_data(cli, ports, ui, &settings, &waits, args).await;
    }
    if matches!(cli.command, Command::Template) && !commands::template::needs_aws(&settings) {
        return commands::template::run(ui, &settings, None).await;
    }
    let aws = Aws::connect(&ports.connection, place(&cli.global, &settings)).await?;
    let session = Session { settings: &settings, aws: &aws, ui, waits: &waits };
    match &cli.command {
        Command::Up(args) => Box::pin(commands::up::run(&session, args)).await,
        Command::Plan(args) => {
            commands::plan::show(&session, args.new, args.detailed_exitcode).await
        }
        Command::Env(args) => commands::env::run(&session, args).await,
        Command::Submit(args) => commands::submit::run(&session, args).await,
        Command::Request(args) => Box::pin(commands::request::run(&session, args)).await,
        Command::Jobs(args) => commands::jobs::run(&session, args).await,
        Command::Logs(args) => commands::logs::run(&session, args).await,
        Command::Doctor(args) => commands::doctor::run(&session, args).await,
        Command::Iam(args) => commands::iam::run(&session, args).await,
        Command::Template => commands::template::run(ui, &settings, Some(&aws)).await,
        Command::Status(args) => commands::status::run(&session, args).await,
        Command::Down(args) => commands::down::run(&session, args).await,
        Command::Extend(args) => commands::extend::run(&session, args).await,
        Command::Drain(args) => commands::drain::run(&session, args).await,
        Command::Reap(args) => {
            let of = commands::reap::Of::One(session.environment().to_owned());
            commands::reap::run(&commands::reap::Reaper { aws: &aws, ui, waits: &waits }, of, args)
                .await
        }
        Command::Init(_)
        | Command::UserData(_)
        | Command::Schema
        | Command::Completions(_)
        | Command::Man(_) => Ok(0),
    }
}

fn waits(ports: &Ports, interrupt: &Interrupt) -> Waits {
    Waits::new(
        Clock::new(
            ports.connection.time.clone(),
            ports.connection.sleep.clone(),
            interrupt.clone(),
        ),
        ports.seed,
    )
}

/// `reap` for other environments than the file's needs no file.
async fn reap_without_settings(
    cli: &Cli,
    ports: &Ports,
    ui: &Ui,
    waits: &Waits,
    args: &args::Reap,
) -> Result<u8> {
    let place = Location {
        region: cli.global.region.clone(),
        profile: cli.global.profile.clone(),
        endpoint_url: cli.global.endpoint_url.clone(),
    };
    let aws = Aws::connect(&ports.connection, place).await?;
    let reaper = commands::reap::Reaper { aws: &aws, ui, waits };
    let of = args.environment.clone().map_or(commands::reap::Of::All, commands::reap::Of::One);
    commands::reap::run(&reaper, of, args).await
}

/// With a given cluster it needs no AWS at all.
async fn print_user_data(
    cli: &Cli,
    ports: &Ports,
    ui: &Ui,
    settings: &Settings,
    waits: &Waits,
    args: &args::UserData,
) -> Result<u8> {
    let (cluster, region) = match &args.cluster {
        Some(cluster) => (cluster.clone(), commands::user_data::region(settings, cluster)?),
        None => {
            let aws = Aws::connect(&ports.connection, place(&cli.global, settings)).await?;
            (commands::user_data::cluster(&aws, settings).await?, aws.region.clone())
        }
    };
    let id = args.block_id.clone().unwrap_or_else(|| format!("sb-{}", waits.hex(10)));
    let partition = Partition::of(&region).await;
    let block = block::user_data::BlockIdentity {
        id: &id,
        region: &region,
        dns_suffix: &partition.dns_suffix,
        cluster: &cluster,
        source: settings.block.first_source(),
    };
    ui.print(&commands::user_data::render(settings, args, block)?)?;
    Ok(0)
}

fn block_flags(command: &Command) -> &BlockFlags {
    static NONE: std::sync::OnceLock<BlockFlags> = std::sync::OnceLock::new();
    match command {
        Command::Up(args) => &args.block,
        Command::Plan(args) => &args.block,
        Command::UserData(args) => &args.block,
        Command::Request(args) => &args.block,
        _ => NONE.get_or_init(BlockFlags::default),
    }
}

fn place(global: &Global, settings: &Settings) -> Location {
    Location {
        region: settings.region.clone(),
        profile: global.profile.clone(),
        endpoint_url: global.endpoint_url.clone(),
    }
}
