//! `spotblock status`: the blocks, their instances, and the queue; with `--watch` again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::args;
use crate::block::bounds::Bounds;
use crate::block::find;
use crate::commands::view::{self, BlockView};
use crate::model::batch::JOB_STATES;
use crate::model::error::{Error, Result};
use crate::session::Session;
use crate::terminal::format;
use crate::terminal::screen::{Look, Tone};

/// How often a watched status is looked at: seldom enough that nobody is throttled by it.
const EVERY: Duration = Duration::from_secs(5);

/// How often the terminal's size is looked at.
const RESIZED: Duration = Duration::from_millis(250);

/// What `status` prints. docs/json.md tells of each key, which a test holds.
#[derive(Debug, Serialize)]
struct Status {
    /// When it was looked at.
    at: Timestamp,
    environment: String,
    status: String,
    cluster: Option<String>,
    queue: Queue,
    /// The newest first.
    blocks: Vec<BlockView>,
}

#[derive(Debug, Serialize)]
struct Queue {
    name: String,
    status: String,
    /// Jobs by state. Batch forgets ended ones after some days.
    jobs: BTreeMap<&'static str, usize>,
}

/// Runs it.
///
/// # Errors
/// When a call fails. A watch survives failures that may pass, and is refused where it could
/// neither draw nor print lines.
pub(crate) async fn run(session: &Session<'_>, args: &args::Status) -> Result<u8> {
    if !args.watch {
        let status = look(session, &mut Bounds::default()).await?;
        session.ui.result(&status, |status| text(status, session.ui.look()))?;
        return Ok(0);
    }
    if !session.ui.can_redraw() && !session.ui.is_json() {
        return Err(Error::usage(
            "--watch draws over what it drew before, and stdout is no terminal",
            "`spotblock status --watch -o json` prints a line each time; without --watch it \
             prints once",
        ));
    }
    watch(session).await
}

/// Until the user, or whoever reads the lines, has seen enough.
async fn watch(session: &Session<'_>) -> Result<u8> {
    let (mut last, mut bounds) = (None, Bounds::default());
    loop {
        let failure = match look(session, &mut bounds).await {
            Ok(status) => {
                last = Some(status);
                None
            }
            Err(error) if error.is_transient() => Some(error),
            Err(error) => return Err(error),
        };
        match (&last, &failure) {
            (Some(status), None) if session.ui.is_json() => session.ui.line(status)?,
            (_, Some(error)) if session.ui.is_json() => session.ui.warn(error),
            (status, failure) => {
                session.ui.redraw(|look| screen(status.as_ref(), failure.as_ref(), look))?
            }
        }
        if session.ui.is_unread() {
            return Ok(0);
        }
        pause(session, last.as_ref(), failure.as_ref()).await?;
    }
}

/// Waits for the next look. A terminal that is resized meanwhile is drawn anew at once.
async fn pause(
    session: &Session<'_>,
    status: Option<&Status>,
    failure: Option<&Error>,
) -> Result<()> {
    if session.ui.is_json() {
        session.waits.clock().sleep(EVERY).await;
        return Ok(());
    }
    let mut size = session.ui.size();
    for _ in 0..EVERY.as_millis() / RESIZED.as_millis() {
        session.waits.clock().sleep(RESIZED).await;
        let now = session.ui.size();
        if std::mem::replace(&mut size, now) != now {
            session.ui.redraw(|look| screen(status, failure, look))?;
        }
    }
    Ok(())
}

fn screen(status: Option<&Status>, failure: Option<&Error>, look: Look) -> String {
    let failure =
        failure.map(|error| look.paint(Tone::Bad, &format!("the last look failed: {error}")));
    let at = status.map(|it| format::clock(it.at));
    let title = format!("{}  (every {} s; Ctrl-C leaves)", at.unwrap_or_default(), EVERY.as_secs());
    let shown = status.map(|it| text(it, look));
    [Some(title), failure, Some(String::new()), shown]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

/// `bounds` are kept from look to look: prices are asked for once a type.
async fn look(session: &Session<'_>, bounds: &mut Bounds) -> Result<Status> {
    let settings = &session.settings.environment;
    let environment = session.aws.batch.environment(&settings.name).await?;
    let queue = session.aws.batch.queue(&settings.queue).await?;
    let mut jobs = BTreeMap::new();
    if queue.is_some() {
        for state in JOB_STATES {
            jobs.insert(state, session.aws.batch.count_jobs(&settings.queue, state).await?);
        }
    }
    let cluster =
        environment.as_ref().map(|it| it.cluster.clone()).filter(|cluster| !cluster.is_empty());
    let members = match &cluster {
        Some(cluster) => session.aws.ecs.members(cluster).await?,
        None => BTreeMap::new(),
    };
    let (found, mut blocks) = (find::all(session.aws, &settings.name).await?, Vec::new());
    // Without the price list the cost is unknown, which shows.
    let _ = bounds.learn(session.aws, &found).await;
    for block in found.iter().rev() {
        blocks.push(view::of(session, block, &members, bounds).await?);
    }
    let not_there = || "not there".to_owned();
    Ok(Status {
        at: session.now(),
        environment: settings.name.clone(),
        status: environment.map_or_else(not_there, |it| it.status),
        cluster,
        queue: Queue {
            name: settings.queue.clone(),
            status: queue.map_or_else(not_there, |it| it.status),
            jobs,
        },
        blocks,
    })
}

fn text(status: &Status, look: Look) -> String {
    let paint = |what: &str| look.paint(if what == "VALID" { Tone::Good } else { Tone::Bad }, what);
    let mut lines = vec![
        format!("environment {}: {}", status.environment, paint(&status.status)),
        format!("queue {}: {}", status.queue.name, paint(&status.queue.status)),
    ];
    if !status.queue.jobs.is_empty() {
        lines.push(format!("  {}", jobs(&status.queue.jobs)));
    }
    if status.queue.jobs.get("RUNNABLE").is_some_and(|count| *count > 0) {
        lines.push("  `spotblock doctor` says why a job is RUNNABLE and not running".to_owned());
    }
    lines.extend(status.blocks.iter().map(|block| view::text(block, status.at, look)));
    if status.blocks.is_empty() {
        lines.push("no block".to_owned());
    }
    lines.join("\n")
}

fn jobs(counts: &BTreeMap<&'static str, usize>) -> String {
    let some = |state: &&'static str| {
        counts.get(state).filter(|count| **count > 0).map(|count| format!("{count} {state}"))
    };
    let shown: Vec<String> = JOB_STATES.iter().filter_map(some).collect();
    if shown.is_empty() { "no jobs".to_owned() } else { shown.join(", ") }
}
