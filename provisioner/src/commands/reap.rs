//! `spotblock reap`: the fourth line of defence. It ends what is ours and past its end, and says of
//! the rest why not.
//!
//! One thing that can't be ended keeps nothing else alive: it is listed with AWS's answer, and the
//! exit code is 1. So does one read that fails: what the others show to be over is ended.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use node_contract::names::tag;
use serde::Serialize;

use crate::args;
use crate::aws::Aws;
use crate::block::end::Ender;
use crate::block::{find, termination_schedules};
use crate::model::block::{Block, Part};
use crate::model::capacity_reservation::CapacityReservation;
use crate::model::error::{Error, Result};
use crate::model::instance::Instance;
use crate::model::names;
use crate::model::ownership::{Marks, Owned};
use crate::model::spot_request::{SpotRequest, SpotRequestStatus};
use crate::runtime::failures::Failures;
use crate::runtime::wait::Waits;
use crate::settings::parse_duration;
use crate::terminal::Ui;

/// How long after its end something is left to the lines of defence before this one.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

/// What it works with: no settings, since it is for environments whose file nobody has any more,
/// too.
pub(crate) struct Reaper<'a> {
    /// AWS.
    pub aws: &'a Aws,
    /// The outputs.
    pub ui: &'a Ui,
    /// The clock.
    pub waits: &'a Waits,
}

/// What became of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// It was ended, or deleted.
    Ended,
    /// It would be.
    WouldEnd,
    /// It lives on.
    Spared,
    /// AWS refused.
    Failed,
}

/// One thing.
#[derive(Clone, Debug, Serialize)]
struct Item {
    verdict: Verdict,
    kind: &'static str,
    id: String,
    environment: String,
    why: String,
}

/// What is to happen to a thing: its end, with the leave for it, or not.
type Judged<T> = std::result::Result<(T, String), String>;

/// The environments that it is for.
#[derive(Clone, Debug)]
pub(crate) enum Of {
    /// The one of this name.
    One(String),
    /// Those that something in the account carries the mark of.
    All,
}

/// Runs it for these environments.
///
/// # Errors
/// When the credentials are none; after all else was ended, when something couldn't be looked at.
/// What can't be ended is in the result.
pub(crate) async fn run(reaper: &Reaper<'_>, of: Of, args: &args::Reap) -> Result<u8> {
    let older_than = args.older_than.as_deref().map(parse_duration).transpose();
    let older_than =
        older_than.map_err(|problem| Error::settings(&[format!("--older-than: {problem}")]))?;
    let now = reaper.waits.clock().now();
    let (mut items, mut failures) = (Vec::new(), Failures::default());
    let environments = match of {
        Of::One(name) => vec![name],
        Of::All => reaper.environments(&mut failures).await?,
    };
    for environment in &environments {
        let of = Environment { reaper, name: environment, now, older_than, dry_run: args.dry_run };
        of.reap(&mut items, &mut failures).await?;
    }
    let failed = items.iter().any(|it| it.verdict == Verdict::Failed);
    reaper.ui.result(&items, |items| text(items))?;
    failures.into_result(
        "put right what failed, then run `spotblock reap` again: it ends what is left",
    )?;
    Ok(u8::from(failed))
}

impl Reaper<'_> {
    /// The environments that something in the account carries the mark of.
    async fn environments(&self, failures: &mut Failures) -> Result<Vec<String>> {
        let left = "what belongs to environments that nothing else shows";
        let mut names = BTreeSet::new();
        for values in self.aws.ec2.values_of_tag(tag::ENVIRONMENT).await {
            names.extend(failures.ok_or_note(self.ui, values, left)?.unwrap_or_default());
        }
        let groups = self.aws.scheduler.groups(&names::schedule_group("")).await;
        let groups = failures.ok_or_note(self.ui, groups, left)?.unwrap_or_default();
        names
            .extend(groups.into_iter().filter_map(|mut group| group.tags.remove(tag::ENVIRONMENT)));
        Ok(names.into_iter().collect())
    }
}

/// One environment.
struct Environment<'a> {
    reaper: &'a Reaper<'a>,
    name: &'a str,
    now: Timestamp,
    older_than: Option<SignedDuration>,
    dry_run: bool,
}

impl Environment<'_> {
    /// What can't be looked at is noted, and of what can be, nothing is ended that may go on as far
    /// as anybody knows.
    async fn reap(&self, items: &mut Vec<Item>, failures: &mut Failures) -> Result<()> {
        let (aws, ui) = (self.reaper.aws, self.reaper.ui);
        let (blocks, unread) = find::all_tolerant(aws, self.name, true).await?;
        let lacks: BTreeSet<Part> = unread.keys().copied().collect();
        failures.note_all(ui, find::left_by(unread))?;
        if !lacks.contains(&Part::Instances) {
            let tagged = aws.ec2.instances_tagged(tag::ENVIRONMENT, self.name).await;
            let tagged = failures.ok_or_note(ui, tagged, Part::Instances.left())?;
            self.others(&blocks, &tagged.unwrap_or_default(), items);
        }
        for block in &blocks {
            let ender = Ender::new(aws, None, block.marks(self.name));
            for instance in block.instances.iter().filter(|it| it.is_up()) {
                let judged = self.judge_instance(block, instance);
                self.end(items, "instance", &instance.id, judged, async |owned: &Owned| {
                    ender.terminate(std::slice::from_ref(owned), &mut Vec::new()).await
                })
                .await;
            }
            let holding = |it: &&SpotRequest| it.status() == SpotRequestStatus::Holding;
            for request in block.requests.iter().filter(holding) {
                let judged = self.judge_request(block, request);
                self.end(items, "spot request", &request.id, judged, async |_: &Owned| {
                    ender.cancel_requests(std::iter::once(request)).await.map(drop)
                })
                .await;
            }
            self.reservations(block, items).await;
            if let Some(record) = &block.record {
                let judged = self.judge_record(block).map(|why| (record, why));
                self.end(
                    items,
                    "record",
                    &record.name,
                    judged,
                    async |record: &&crate::model::record::Record| {
                        aws.ec2.delete_record(record).await
                    },
                )
                .await;
            }
        }
        if let Some(part) = lacks.iter().find(|part| **part != Part::Reservations) {
            let why = format!("{} may be left, and their blocks go on", part.left());
            self.note(
                items,
                Verdict::Spared,
                "schedule group",
                &names::schedule_group(self.name),
                why,
            );
            return Ok(());
        }
        let reaped = self.schedules(&blocks, items).await;
        failures.ok_or_note(ui, reaped, format!("schedules of environment {}", self.name)).map(drop)
    }

    /// Instances with the environment's tag that are no block's, or not known to be.
    fn others(&self, blocks: &[Block], tagged: &[Instance], items: &mut Vec<Item>) {
        let known: BTreeSet<&str> =
            blocks.iter().flat_map(|it| &it.instances).map(|it| it.id.as_str()).collect();
        for other in tagged.iter().filter(|it| it.is_up() && !known.contains(it.id.as_str())) {
            let is_unsure = blocks.iter().any(|it| it.unsure.contains(&other.id));
            let why = match is_unsure {
                true => "whose it is only its spot request says, which couldn't be looked at",
                false => "carries the environment's tag, but was not brought by spotblock",
            };
            self.note(items, Verdict::Spared, "instance", &other.id, why.to_owned());
        }
    }

    fn judge_instance(&self, block: &Block, instance: &Instance) -> Judged<Owned> {
        let marks = block.marks(self.name);
        let owned = marks
            .claim_instance(instance, &block.requests)
            .ok_or("its spot request is not ours")?;
        let id = &block.id;
        if block.record.is_none() && block.lacks(Part::Records) {
            return Err(format!(
                "when block {id} ends only its record says, which couldn't be looked at"
            ));
        }
        match block.end_of(instance) {
            Some(end) if self.is_over(end) => Ok((owned, format!("block {id} ended at {end}"))),
            Some(end) if self.now < end => Err(format!("block {id} goes on until {end}")),
            Some(end) => Err(format!(
                "block {id} ended at {end}: its timer and its schedule have until {}",
                later(end, GRACE)
            )),
            None => match self.older_than {
                Some(age) if later(instance.launched, age) < self.now => Ok((
                    owned,
                    format!(
                        "no record says when block {id} ends, and it was launched at {}",
                        instance.launched
                    ),
                )),
                Some(_) => Err(format!(
                    "no record says when block {id} ends, and it is not older than that"
                )),
                None => Err(format!("no record says when block {id} ends: --older-than ends it")),
            },
        }
    }

    /// Reservations in which nothing of the block runs any more, or only what is past its end.
    async fn reservations(&self, block: &Block, items: &mut Vec<Item>) {
        let ender = Ender::new(self.reaper.aws, None, block.marks(self.name));
        for reservation in block.reservations.iter().filter(|it| it.is_held()) {
            let judged = self.judge_reservation(block, reservation);
            self.end(items, "capacity reservation", &reservation.id, judged, async |_: &Owned| {
                ender.cancel_reservations(std::iter::once(reservation), &mut Vec::new()).await
            })
            .await;
        }
    }

    fn judge_reservation(&self, block: &Block, reservation: &CapacityReservation) -> Judged<Owned> {
        let marks = block.marks(self.name);
        let owned = marks.claim(&reservation.id, &reservation.tags).ok_or("it is not ours")?;
        if block.lacks(Part::Instances) || block.record.is_none() && block.lacks(Part::Records) {
            return Err(format!("whether block {} goes on couldn't be looked at", block.id));
        }
        let lives =
            |it: &&Instance| it.is_up() && block.end_of(it).is_none_or(|end| !self.is_over(end));
        if let Some(instance) = block.instances.iter().find(lives) {
            return Err(format!("instance {} of block {} is up", instance.id, block.id));
        }
        let refused = block
            .record
            .as_ref()
            .is_some_and(|record| record.outcome.is_some() || record.ended.is_some());
        if block.life(self.now).goes_on() && !refused {
            return Err(format!("block {} goes on", block.id));
        }
        // Its record may not be shown yet.
        if block.record.is_none() && !self.is_over(reservation.created) {
            return Err(format!("it is new, and no record says what block {} is", block.id));
        }
        Ok((owned, format!("nothing of block {} runs in it any more", block.id)))
    }

    fn judge_request(&self, block: &Block, request: &SpotRequest) -> Judged<Owned> {
        let marks = block.marks(self.name);
        let owned = marks.claim(&request.id, &request.tags).ok_or("it is not ours")?;
        if block.record.is_none() && block.lacks(Part::Records) {
            return Err(format!(
                "until when it is valid only the record of block {} says, which can't be read",
                block.id
            ));
        }
        match &block.record {
            Some(record) if self.now < record.spec.late() => {
                Err(format!("it may be fulfilled until {}", record.spec.valid_until))
            }
            Some(record) => Ok((owned, format!("it was valid until {}", record.spec.valid_until))),
            None => Ok((owned, "its block has no record".to_owned())),
        }
    }

    /// A record goes last: when nothing of its block is left, and nothing can come any more.
    fn judge_record(&self, block: &Block) -> std::result::Result<String, String> {
        if block.has_something_left() {
            return Err("something of its block is left".to_owned());
        }
        let Some(record) = &block.record else { return Err(String::new()) };
        let matters = |part: &&Part| **part != Part::Reservations || record.reserves();
        if let Some(part) = block.unread.iter().find(matters) {
            return Err(format!("{} of its block may be left", part.left()));
        }
        let end = later(record.spec.late(), record.spec.duration);
        if self.is_over(end) {
            Ok(format!("its block was over at {end}"))
        } else {
            Err(format!("its block was to go on until {end}"))
        }
    }

    fn is_over(&self, end: Timestamp) -> bool {
        later(end, GRACE) <= self.now
    }

    /// Schedules of blocks of which nothing is left. One that is to fire yet does no harm; it is
    /// only of no use.
    async fn schedules(&self, blocks: &[Block], items: &mut Vec<Item>) -> Result<()> {
        let (aws, name) = (&self.reaper.aws.scheduler, names::schedule_group(self.name));
        let Some(group) = aws.group(&name).await? else { return Ok(()) };
        let Some(owned) = Marks::of_environment(self.name).claim(&name, &group.tags) else {
            self.note(
                items,
                Verdict::Spared,
                "schedule group",
                &name,
                "was not made by spotblock".to_owned(),
            );
            return Ok(());
        };
        let needed = |it: &&Block| it.has_something_left() || it.life(self.now).goes_on();
        let needed: Vec<String> =
            blocks.iter().filter(needed).map(|it| termination_schedules::prefix(&it.id)).collect();
        for schedule in aws.names(&name, "").await? {
            let judged = match needed.iter().any(|prefix| schedule.starts_with(prefix)) {
                true => Err("its block goes on, or something of it is left".to_owned()),
                false => Ok(((), "nothing of its block is left".to_owned())),
            };
            self.end(items, "schedule", &schedule, judged, async |(): &()| {
                aws.delete(&owned, &schedule).await
            })
            .await;
        }
        Ok(())
    }

    /// Ends a thing if it was judged so, and notes what became of it.
    async fn end<T>(
        &self,
        items: &mut Vec<Item>,
        kind: &'static str,
        id: &str,
        judged: Judged<T>,
        end: impl AsyncFnOnce(&T) -> Result<()>,
    ) {
        let (thing, why) = match judged {
            Ok(found) => found,
            Err(why) => return self.note(items, Verdict::Spared, kind, id, why),
        };
        if self.dry_run {
            return self.note(items, Verdict::WouldEnd, kind, id, why);
        }
        match end(&thing).await {
            Ok(()) => self.note(items, Verdict::Ended, kind, id, why),
            Err(error) => {
                self.reaper.ui.error(&error);
                self.note(items, Verdict::Failed, kind, id, error.to_string());
            }
        }
    }

    fn note(
        &self,
        items: &mut Vec<Item>,
        verdict: Verdict,
        kind: &'static str,
        id: &str,
        why: String,
    ) {
        items.push(Item {
            verdict,
            kind,
            id: id.to_owned(),
            environment: self.name.to_owned(),
            why,
        });
    }
}

/// Held at the last moment there is.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn text(items: &[Item]) -> String {
    let line = |item: &Item| {
        let verdict = match item.verdict {
            Verdict::Ended => "ended",
            Verdict::WouldEnd => "would end",
            Verdict::Spared => "spared",
            Verdict::Failed => "FAILED",
        };
        format!("{verdict}: {} {} of {}: {}", item.kind, item.id, item.environment, item.why)
    };
    match items {
        [] => "nothing of spotblock's is left".to_owned(),
        items => items.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}
