//! `spotblock plan`: what `up` would do.

use jiff::Timestamp;
use node_contract::{Source, Timeline};
use serde::Serialize;

use crate::block::launch::{Foreseen, foresee, next_number, record_name};
use crate::block::purchase::capacity_block;
use crate::block::{find, user_data};
use crate::environment::desired::Desired;
use crate::environment::given_profile;
use crate::environment::observe::observe;
use crate::environment::plan::{self, Plan, Verdict};
use crate::model::cost::{Cost, Dollars};
use crate::model::error::{AwsErrorKind, Result};
use crate::model::source::{self, Guarantee};
use crate::model::{block, names};
use crate::session::Session;
use crate::settings;
use crate::terminal::screen::{Look, Tone};
use crate::terminal::{format, table};

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
    /// What each source of the new block promises.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    guarantees: Vec<Promise>,
    /// The new block's instance types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instance_types: Vec<String>,
    /// What the new block can cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
    /// The new block's moments, were it launched now.
    #[serde(skip_serializing_if = "Option::is_none")]
    if_launched_now: Option<Timeline>,
}

/// What a source promises.
#[derive(Debug, Serialize)]
struct Promise {
    source: Source,
    #[serde(flatten)]
    guarantee: Guarantee,
}

/// What `up` would do, and what it is to know for it.
pub(crate) struct Outlook {
    shown: Shown,
    /// The steps around the block.
    pub environment: Plan,
    /// What is known of the new block; none when a live one is continued.
    pub foreseen: Option<Foreseen>,
    /// The live block's id, if no run has told yet how it came up: something may still be bought
    /// for it.
    unfinished: Option<String>,
}

impl Outlook {
    /// Whether anything would be made, changed or bought.
    #[must_use]
    pub(crate) fn changes_anything(&self) -> bool {
        self.shown.changes || self.unfinished.is_some()
    }

    /// The plan as people read it.
    #[must_use]
    pub(crate) fn text(&self, session: &Session<'_>, look: Look) -> String {
        let begun = self.unfinished.as_ref();
        let begun = begun
            .map(|id| format!("block {id} was begun and is not complete: what it lacks is bought"));
        let summary = match (begun, self.shown.changes) {
            (Some(begun), false) => begun,
            (begun, _) => [Some(summary(&self.shown.plan)), begun]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("\n"),
        };
        text(&self.shown, &summary, &session.settings.block, session.now(), look)
    }

    /// Says what the settings allow but may surprise.
    pub(crate) fn warn(&self, session: &Session<'_>) {
        for warning in &self.shown.warnings {
            session.ui.warn(warning);
        }
    }
}

/// The steps around the block.
///
/// # Errors
/// When a call fails.
pub(crate) async fn of_environment(session: &Session<'_>, desired: &Desired) -> Result<Plan> {
    Ok(plan::environment(desired, &observe(session.aws, desired).await?))
}

/// Prints the plan; 10 with `detailed` when there is something to do.
///
/// # Errors
/// When a call fails, or the block could not be launched where the settings say.
pub(crate) async fn show(session: &Session<'_>, new: bool, detailed: bool) -> Result<u8> {
    let outlook = look(session, &Desired::new(session.settings), new).await?;
    outlook.warn(session);
    session.ui.result(&outlook.shown, |_| outlook.text(session, session.ui.look()))?;
    Ok(if detailed && outlook.shown.changes { 10 } else { 0 })
}

/// Finds out what there is to do.
///
/// # Errors
/// When a call fails, or the block could not be launched where the settings say.
pub(crate) async fn look(session: &Session<'_>, desired: &Desired, new: bool) -> Result<Outlook> {
    let settings = session.settings;
    let observed = observe(session.aws, desired).await?;
    let environment = plan::environment(desired, &observed);
    let blocks = find::all(session.aws, &desired.environment).await?;
    let live = block::current(&blocks, session.now(), new);
    let step = plan::block(
        live.map(record_name),
        &names::record(&desired.environment, next_number(&blocks)),
    );
    let mut shown = Shown {
        environment: desired.environment.clone(),
        region: session.aws.region.clone(),
        changes: false,
        plan: environment.clone(),
        warnings: settings.warnings.clone(),
        capacity_blocks: Vec::new(),
        guarantees: Vec::new(),
        instance_types: Vec::new(),
        cost: None,
        if_launched_now: None,
    };
    let foreseen = match live {
        Some(_) => None,
        None => Some(foresee(session).await?),
    };
    shown.plan.steps.push(step.too_dear(foreseen.as_ref().and_then(|it| it.cost.refusal())));
    shown.changes = shown.plan.has_changes();
    if let Some(foreseen) = &foreseen {
        shown.instance_types.clone_from(&foreseen.types);
        shown.cost = Some(foreseen.cost.clone());
        shown.warnings.extend(warnings(&settings.block.sources));
        shown.warnings.extend(given_profile::warning(session, desired, &observed).await);
        shown.guarantees = promises(&settings.block.sources);
        shown.if_launched_now = Some(timeline(session)?);
        if settings.block.sources.contains(&Source::CapacityBlock) {
            shown.capacity_blocks = of_capacity_blocks(session, &foreseen.types).await?;
        }
    }
    let unfinished = live.filter(|block| !block.is_reported()).map(|block| block.id.clone());
    Ok(Outlook { shown, environment, foreseen, unfinished })
}

fn timeline(session: &Session<'_>) -> Result<Timeline> {
    let source = session.settings.block.first_source();
    let of = user_data::BlockIdentity {
        id: "sb-0000",
        region: &session.aws.region,
        dns_suffix: &session.aws.partition.dns_suffix,
        cluster: "c",
        source,
    };
    Ok(Timeline::new(&user_data::node_config(session.settings, of)?, session.now()))
}

/// The capacity block that is launched into; or those on offer, with their prices.
async fn of_capacity_blocks(session: &Session<'_>, types: &[String]) -> Result<Vec<String>> {
    let block = &session.settings.block;
    if let Some(id) = &block.capacity_block {
        let end = capacity_block::existing(session, id).await?.reclaimed_at();
        return Ok(vec![format!("{id} is launched into; AWS ends its instances from {end} on")]);
    }
    let start_by = session.now().checked_add(block.start_within).unwrap_or(Timestamp::MAX);
    let mut lines = Vec::new();
    for kind in types {
        let found = capacity_block::offerings(
            session,
            kind,
            block.instances,
            block.duration,
            start_by,
            &block.subnets,
        )
        .await;
        match found {
            Ok(found) if found.is_empty() => {
                lines.push(format!("none of {kind} begins by {start_by}"))
            }
            Ok(found) => {
                let gpus = session.aws.ec2.gpus(kind).await?;
                lines.extend(
                    found
                        .iter()
                        .map(|it| format!("{}: {}", it.id, capacity_block::priced(it, Some(gpus)))),
                );
            }
            Err(error) => {
                let failure = error.into_aws()?;
                if failure.kind != AwsErrorKind::Rejected {
                    return Err(failure.into());
                }
                lines.push(format!("none of {kind}: {}", failure.message));
            }
        }
    }
    Ok(lines)
}

fn promises(sources: &[Source]) -> Vec<Promise> {
    let promise = |source: &Source| Promise {
        source: *source,
        guarantee: source::rules(*source).guarantee(),
    };
    sources.iter().map(promise).collect()
}

/// What is known beforehand about the sources.
fn warnings(sources: &[Source]) -> Vec<String> {
    let mut all: Vec<String> = sources
        .iter()
        .filter_map(|source| source::rules(*source).foreseen().map(str::to_owned))
        .collect();
    if sources == [Source::SpotBlock] {
        all.push(
            "\"spot-block\" is the only source: on AWS, `up` makes the environment and ends with \
             exit code 3. List others after it, such as \"spot\" or \"on-demand\""
                .to_owned(),
        );
    }
    all
}

fn text(
    shown: &Shown,
    summary: &str,
    block: &settings::BlockSettings,
    now: Timestamp,
    look: Look,
) -> String {
    let mut text = format!("{}\n\n{summary}", steps(&shown.plan, look));
    if !shown.capacity_blocks.is_empty() {
        text.push_str(&format!("\n\ncapacity blocks:\n  {}", shown.capacity_blocks.join("\n  ")));
    }
    if block.requirements.is_some() && !shown.instance_types.is_empty() {
        text.push_str(&format!("\n\ninstance types that fit: {}", shown.instance_types.join(", ")));
    }
    if let Some(cost) = &shown.cost {
        text.push_str(&format!("\n\n{}\n\n", price_table(cost)));
        text.extend(cost.lines(block.instances, block.duration).last().cloned());
    }
    if !shown.guarantees.is_empty() {
        let line = |it: &Promise| {
            let Guarantee { label, ended_by } = it.guarantee;
            format!("  {}: {label}\n    ended by {ended_by}", it.source)
        };
        let lines: Vec<String> = shown.guarantees.iter().map(line).collect();
        text.push_str(&format!("\n\nguarantee:\n{}", lines.join("\n")));
    }
    if let Some(it) = &shown.if_launched_now {
        let moments = [("drain", it.drain_at), ("stop", it.stop_at), ("end", it.end)];
        let moments = moments.map(|(name, at)| format!("  {name} {}", format::moment(at, now)));
        text.push_str(&format!("\n\nif launched now:\n{}", moments.join("\n")));
    }
    text
}

/// A line a step, marked and coloured as a diff is; below it what is to change, or why it can't be.
fn steps(plan: &Plan, look: Look) -> String {
    let rows = plan.steps.iter().map(|step| {
        let verdict = match &step.verdict {
            Verdict::Keep => "  keep",
            Verdict::Create => "+ create",
            Verdict::Change { .. } => "~ change",
            Verdict::Refuse { .. } => "! refuse",
        };
        [verdict.to_owned(), step.step.to_string(), step.resource.to_owned(), step.name.clone()]
    });
    let table = table::plain(["  DO", "STEP", "RESOURCE", "NAME"], rows);
    let mut rows = table.lines();
    let mut lines: Vec<String> = rows.next().map(str::to_owned).into_iter().collect();
    for (row, step) in rows.zip(&plan.steps) {
        let tone = match &step.verdict {
            Verdict::Keep => None,
            Verdict::Create => Some(Tone::Good),
            Verdict::Change { .. } => Some(Tone::Soon),
            Verdict::Refuse { .. } => Some(Tone::Bad),
        };
        let row = std::iter::once(row.to_owned()).chain(details(&step.verdict));
        lines.extend(row.map(|line| tone.map_or(line.clone(), |tone| look.paint(tone, &line))));
    }
    lines.join("\n")
}

fn details(verdict: &Verdict) -> Vec<String> {
    let detail = |text: String| format!("            {text}");
    match verdict {
        Verdict::Keep | Verdict::Create => Vec::new(),
        Verdict::Change { changes } => changes
            .iter()
            .map(|it| detail(format!("{}: {} -> {}", it.field, it.from, it.to)))
            .collect(),
        Verdict::Refuse { why, next } => vec![detail(why.clone()), detail(format!("next: {next}"))],
    }
}

/// The steps in numbers.
fn summary(plan: &Plan) -> String {
    let count =
        |of: fn(&Verdict) -> bool| plan.steps.iter().filter(|step| of(&step.verdict)).count();
    let counts = [
        (count(|it| *it == Verdict::Create), "to create"),
        (count(|it| matches!(it, Verdict::Change { .. })), "to change"),
        (count(|it| matches!(it, Verdict::Refuse { .. })), "refused"),
    ];
    let some: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if some.is_empty() { "nothing to do".to_owned() } else { some.join(", ") }
}

fn price_table(cost: &Cost) -> String {
    let shown = |price: Option<Dollars>| price.map_or("unknown".to_owned(), |it| it.to_string());
    let rows = cost.prices.iter().map(|it| {
        let zone = it.zone.clone().unwrap_or_else(|| "any".to_owned());
        [it.source.to_string(), it.instance_type.clone(), zone, shown(it.now), shown(it.at_most)]
    });
    table::plain(["SOURCE", "TYPE", "ZONE", "$/INSTANCE-HOUR (ESTIMATE)", "AT MOST"], rows)
}
