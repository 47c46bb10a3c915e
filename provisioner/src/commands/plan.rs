//! `spotblock plan`: what `up` would do.

use jiff::Timestamp;
use node_contract::{Source, Timeline};
use serde::Serialize;

use crate::block;
use crate::bring::{next_number, record_name};
use crate::capacity::{self, capacity_block};
use crate::desired::Desired;
use crate::error::{Error, Kind, Result};
use crate::names;
use crate::observe::{self, observe};
use crate::plan::{self, Plan, Verdict};
use crate::session::Session;
use crate::ui::{table, view};
use crate::user_data;

/// What `plan` prints.
#[derive(Debug, Serialize)]
struct Shown {
    environment: String,
    region: String,
    changes: bool,
    #[serde(flatten)]
    plan: Plan,
    warnings: Vec<String>,
    /// The capacity blocks that are on offer, or the one that is launched into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capacity_blocks: Vec<String>,
    /// The new block's moments, were it launched now.
    #[serde(skip_serializing_if = "Option::is_none")]
    if_launched_now: Option<Timeline>,
}

/// The steps around the block.
///
/// # Errors
/// When a call fails.
pub async fn of_environment(session: &Session<'_>, desired: &Desired) -> Result<Plan> {
    Ok(plan::environment(desired, &observe(session.aws, desired).await?))
}

/// Prints the plan; 10 with `detailed` when there is something to do.
///
/// # Errors
/// When a call fails, or the block could not be launched where the settings say.
pub async fn show(session: &Session<'_>, new: bool, detailed: bool) -> Result<u8> {
    let settings = session.settings;
    let desired = Desired::new(settings);
    let mut plan = of_environment(session, &desired).await?;
    let blocks = block::all(session.aws, &desired.environment).await?;
    let live = block::current(&blocks, session.now(), new);
    plan.steps.push(plan::block(live.map(record_name), &names::record(&desired.environment, next_number(&blocks))));
    let mut warnings = settings.warnings.clone();
    let (mut if_launched_now, mut capacity_blocks) = (None, Vec::new());
    if live.is_none() {
        observe::site(session.aws, settings).await?;
        warnings.extend(foreseen(&settings.block.sources));
        if_launched_now = Some(timeline(session)?);
        if settings.block.sources.contains(&Source::CapacityBlock) {
            capacity_blocks = of_capacity_blocks(session).await?;
        }
    }
    let shown = Shown {
        environment: desired.environment.clone(),
        region: session.aws.region.clone(),
        changes: plan.has_changes(),
        plan,
        warnings,
        capacity_blocks,
        if_launched_now,
    };
    for warning in &shown.warnings {
        session.ui.warn(warning);
    }
    session.ui.result(&shown, |shown| text(shown, session.now()))?;
    Ok(if detailed && shown.changes { 10 } else { 0 })
}

fn timeline(session: &Session<'_>) -> Result<Timeline> {
    let source = session.settings.block.first_source();
    let of = user_data::Block { id: "sb-0000", region: &session.aws.region, cluster: "c", source };
    Ok(Timeline::new(&user_data::node_config(session.settings, of)?, session.now()))
}

/// The capacity block that is launched into; or those on offer, with their prices.
async fn of_capacity_blocks(session: &Session<'_>) -> Result<Vec<String>> {
    let block = &session.settings.block;
    if let Some(id) = &block.capacity_block {
        let end = capacity_block::existing(session, id).await?.reclaimed_at();
        return Ok(vec![format!("{id} is launched into; AWS ends its instances from {end} on")]);
    }
    let start_by = session.now().checked_add(block.start_within).unwrap_or(Timestamp::MAX);
    let mut lines = Vec::new();
    for kind in &block.instance_types {
        let found =
            capacity_block::offerings(session, kind, block.instances, block.duration, start_by, &block.subnets).await;
        match found {
            Ok(found) if found.is_empty() => lines.push(format!("none of {kind} begins by {start_by}")),
            Ok(found) => {
                let gpus = session.aws.ec2.gpus(kind).await?;
                lines.extend(found.iter().map(|it| format!("{}: {}", it.id, capacity_block::priced(it, Some(gpus)))));
            }
            Err(Error::Aws(failure)) if failure.kind == Kind::Rejected => {
                lines.push(format!("none of {kind}: {}", failure.message));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(lines)
}

/// What is known beforehand about the sources.
fn foreseen(sources: &[Source]) -> Vec<String> {
    let mut all: Vec<String> =
        sources.iter().filter_map(|source| capacity::of(*source)?.foreseen().map(str::to_owned)).collect();
    if sources == [Source::SpotBlock] {
        all.push(
            "\"spot-block\" is the only source: on AWS, `up` makes the environment and ends with exit code 3. List others \
             after it, such as \"spot\" or \"on-demand\""
                .to_owned(),
        );
    }
    all
}

fn text(shown: &Shown, now: Timestamp) -> String {
    let rows = shown.plan.steps.iter().map(|step| {
        let (verdict, detail) = match &step.verdict {
            Verdict::Keep => ("keep", String::new()),
            Verdict::Create => ("create", String::new()),
            Verdict::Change { changes } => {
                let fields: Vec<_> =
                    changes.iter().map(|it| format!("{}: {} -> {}", it.field, it.from, it.to)).collect();
                ("change", fields.join("; "))
            }
            Verdict::Refuse { why, .. } => ("refuse", why.clone()),
        };
        [step.step.to_string(), verdict.to_owned(), step.resource.to_owned(), step.name.clone(), detail]
    });
    let mut text = table::plain(["STEP", "DO", "RESOURCE", "NAME", "DETAIL"], rows);
    if !shown.capacity_blocks.is_empty() {
        text.push_str(&format!("\n\ncapacity blocks:\n  {}", shown.capacity_blocks.join("\n  ")));
    }
    if let Some(it) = &shown.if_launched_now {
        let moments = [("drain", it.drain_at), ("stop", it.stop_at), ("end", it.end)];
        let moments: Vec<_> = moments.iter().map(|(name, at)| format!("{name} {}", view::moment(*at, now))).collect();
        text.push_str(&format!("\n\nif launched now: {}", moments.join(", ")));
    }
    text
}
