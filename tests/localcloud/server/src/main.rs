//! The local cloud as a program; see the library's header for its controls.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use localcloud::server::{self, Settings};
use localcloud_core::protocol::Options;
use localcloud_core::protocol::options::SpotBlock;
use tokio::signal::unix::{SignalKind, signal};

/// A local cloud: EC2, ECS, Batch, IAM, SSM and IMDS on loopback, with nodes that boot for real.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a cloud until it is told to end.
    Serve(Box<Serve>),
    /// Print the environment in which `aws` and `spotblock` talk to a running cloud, for `eval`.
    Env {
        /// The cloud's port.
        #[arg(long)]
        port: u16,
    },
}

#[derive(Args)]
struct Serve {
    /// The address to listen at; loopback alone is accepted, unless the hosts are booted elsewhere.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The port to listen at; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The folder that gets a root folder for each node [default: a new one below the system's
    /// temporary folder].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The program that nodes run as their agent.
    #[arg(long, required_unless_present = "metadata_at")]
    agent: Option<PathBuf>,
    /// Start no nodes: the hosts are booted elsewhere, and this address is theirs to ask for
    /// metadata.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "agent")]
    metadata_at: Option<SocketAddr>,
    /// Whether spot requests with a duration are granted, as AWS did, or refused, as it does.
    #[arg(long, value_enum, default_value_t = Answer::Grant)]
    spot_block: Answer,
    /// Start blocks this near to their end, such as `40s`.
    #[arg(long, value_name = "DURATION")]
    block_ends_in: Option<SignedDuration>,
    /// While so many instances live, the next ones are light nodes: without sockets, processes and
    /// agent.
    #[arg(long, value_name = "COUNT", default_value_t = 30)]
    light_nodes_above: u32,
    /// Identifiers follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long state changes take, such as `batch-ms=200`; can be repeated.
    #[arg(long, value_name = "KEY=MS", value_parser = pace)]
    pace: Vec<(String, u64)>,
    /// End when standard input ends.
    #[arg(long)]
    until_stdin_closes: bool,
    /// The log filter of the cloud and of the nodes' agents.
    #[arg(long, env = "RUST_LOG")]
    log: Option<String>,
    /// The search path of the nodes' processes.
    #[arg(long, env = "PATH", hide = true, default_value = "/usr/local/bin:/usr/bin:/bin")]
    path: OsString,
}

#[derive(Clone, Copy, ValueEnum)]
enum Answer {
    Grant,
    Refuse,
}

fn pace(text: &str) -> Result<(String, u64), String> {
    let (key, millis) = text.split_once('=').ok_or("not KEY=MS")?;
    Ok((key.to_owned(), millis.parse().map_err(|error| format!("{millis}: {error}"))?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(serve) => run(*serve).await,
        Command::Env { port } => print_environment(port),
    }
}

async fn run(serve: Serve) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::new(serve.log.as_deref().unwrap_or("info"));
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    let options = options(&serve)?;
    let address = SocketAddr::new(serve.address, serve.port);
    let stop = until_stopped(serve.until_stdin_closes)?;
    let agent = serve.agent.unwrap_or_default();
    let is_there = serve.metadata_at.is_some() || agent.is_file();
    anyhow::ensure!(is_there, "--agent {}: there is no such program", agent.display());
    let is_ours = serve.dir.is_none();
    let dir = folder(serve.dir)?;
    let settings = Settings {
        dir: dir.clone(),
        agent: std::path::absolute(&agent).unwrap_or(agent),
        metadata_at: serve.metadata_at,
        rust_log: serve.log,
        path: serve.path,
    };
    let outcome = server::serve(address, options, settings, say_ready, stop).await;
    if is_ours {
        // Goes if no node was ever started; what nodes left is kept to be looked at.
        let _ = std::fs::remove_dir(dir);
    }
    outcome
}

fn say_ready(url: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "localcloud {url}")?;
    out.flush()
}

/// The options of the command line; an unknown pace is refused by name.
fn options(serve: &Serve) -> anyhow::Result<Options> {
    let pace: serde_json::Map<_, _> =
        serve.pace.iter().map(|(key, millis)| (key.clone(), (*millis).into())).collect();
    Ok(Options {
        seed: serve.seed,
        spot_block: match serve.spot_block {
            Answer::Grant => SpotBlock::Grant,
            Answer::Refuse => SpotBlock::Refuse,
        },
        block_ends_in: serve.block_ends_in,
        // Hosts that somebody else boots are never light.
        light_nodes_above: if serve.metadata_at.is_some() {
            u32::MAX
        } else {
            serve.light_nodes_above
        },
        pace: serde_json::from_value(pace.into()).context("--pace")?,
        ..Options::default()
    })
}

/// The given folder or a new one. The nodes' paths end up in files, so it is absolute.
fn folder(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let dir = given
        .unwrap_or_else(|| std::env::temp_dir().join(format!("localcloud-{}", std::process::id())));
    std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    tracing::info!(dir = %dir.display(), "nodes are below this folder");
    std::path::absolute(&dir).context("the nodes' folder")
}

/// Done at SIGTERM or SIGINT, or when standard input ends if that counts.
fn until_stopped(
    until_stdin_closes: bool,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let (ended, input) = tokio::sync::oneshot::channel::<()>();
    // Held while input doesn't count, so that the channel never closes.
    let held = if until_stdin_closes {
        // A thread of its own, which no one waits for: a read of standard input can't be given up.
        std::thread::spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            let _ = ended.send(());
        });
        None
    } else {
        Some(ended)
    };
    Ok(async move {
        let _held = held;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = input => {}
        }
    })
}

fn print_environment(port: u16) -> anyhow::Result<()> {
    let url = format!("http://127.0.0.1:{port}");
    let lines = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_ACCESS_KEY_ID", "AKIALOCALCLOUD"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_SESSION_TOKEN", ""),
        // What would beat the endpoint or the credentials above.
        ("AWS_PROFILE", ""),
        ("AWS_DEFAULT_PROFILE", ""),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ""),
        ("AWS_ENDPOINT_URL_EC2", ""),
        ("AWS_ENDPOINT_URL_BATCH", ""),
        ("AWS_ENDPOINT_URL_ECS", ""),
        ("AWS_ENDPOINT_URL_IAM", ""),
        ("AWS_ENDPOINT_URL_SSM", ""),
        ("AWS_ENDPOINT_URL_STS", ""),
        ("AWS_ENDPOINT_URL_S3", ""),
        ("AWS_ENDPOINT_URL_SCHEDULER", ""),
        ("SPOTBLOCK_ENDPOINT_URL", ""),
        ("SPOTBLOCK_PROFILE", ""),
        ("SPOTBLOCK_REGION", ""),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        // Two variables, because neither alone keeps every program away from the real metadata
        // address.
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1"),
        ("NO_PROXY", "127.0.0.1,localhost"),
    ];
    let mut out = io::stdout().lock();
    for (name, value) in lines {
        if value.is_empty() {
            writeln!(out, "unset {name}")?;
        } else {
            writeln!(out, "export {name}={value}")?;
        }
    }
    Ok(())
}
