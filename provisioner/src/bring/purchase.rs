//! Buying what the record says, and waiting until it is known what came of it.

use std::time::Duration;

use node_contract::names::tag;

use super::{SETTLE_LIMIT, lost_record};
use crate::aws::ec2::SpotRequest;
use crate::capacity::{self, Refusal, Standing, spot_block};
use crate::error::{Error, Kind, Result, human};
use crate::ownership::Marks;
use crate::record::{LaunchData, Record};
use crate::session::Session;
use crate::wait::{Bound, Seen};

/// How long after ValidUntil a request may still be shown open.
const GRACE: Duration = Duration::from_secs(60);

/// What the record says is launched. Right after its creation AWS may not show it yet.
async fn launch_data(session: &Session<'_>, record: &Record) -> Result<LaunchData> {
    let bound = Bound {
        what: format!("launch template {} to be shown", record.name),
        limit: SETTLE_LIMIT,
        next: "look whether `spotblock down` was run at the same time; then run the same command again".to_owned(),
    };
    let look = async || match session.aws.ec2.launch_data(record).await {
        Err(error) if error.is(Kind::NotFound) => Ok(Seen::NotYet(error.to_string())),
        result => result.map(Seen::Done),
    };
    session.waits.until(session.ui, bound, look).await
}

/// Buys what the record says. A final refusal is written down on the record, so that the next run begins anew.
pub(super) async fn purchase(session: &Session<'_>, record: &Record) -> Result<Vec<SpotRequest>> {
    let terms = &record.terms;
    let launch = launch_data(session, record).await?;
    session.ui.say(format_args!(
        "requesting {} x {} for {} ({}{})",
        terms.instances,
        launch.instance_type,
        human(terms.duration.unsigned_abs()),
        terms.source,
        terms.max_price.as_ref().map(|price| format!(", at most ${price} per instance-hour")).unwrap_or_default(),
    ));
    let bound = Bound {
        what: format!("instance profile {} to be usable", launch.instance_profile),
        limit: SETTLE_LIMIT,
        next: format!(
            "nothing was bought. Check `aws iam get-instance-profile --instance-profile-name {}`: it must exist and have \
             a role; then run the same command again",
            launch.instance_profile
        ),
    };
    let result = session
        .waits
        .until(session.ui, bound, async || match capacity::buy(session.aws, record, &launch).await {
            Ok(requests) => Ok(Seen::Done(requests)),
            Err(error) if capacity::refusal(&error) == Refusal::ProfileTooNew => Ok(Seen::NotYet(error.to_string())),
            Err(error) => Err(error),
        })
        .await;
    let error = match result {
        Ok(requests) => return Ok(requests),
        Err(error) => error,
    };
    let refusal = capacity::refusal(&error);
    match error {
        Error::Aws(failure) if refusal != Refusal::Passing => {
            let code = failure.code.clone().unwrap_or_default();
            session.aws.ec2.set_outcome(record, &format!("refused:{code}")).await?;
            Err(spot_block::refused(refusal, &terms.block, failure))
        }
        error => Err(error),
    }
}

/// What became of the requests.
pub(super) struct Fulfilment {
    pub(super) requests: Vec<SpotRequest>,
    /// What the last that was not fulfilled waited for.
    pub(super) held: Option<String>,
}

/// Waits until no request may still be fulfilled that isn't.
pub(super) async fn fulfilment(session: &Session<'_>, record: &Record, bought: &[SpotRequest]) -> Result<Fulfilment> {
    let mut held = None;
    let terms = &record.terms;
    // All of a purchase are made at once, and AWS may show some of them later. What it has forgotten long afterwards is
    // not waited for.
    let wanted = usize::try_from(terms.instances).unwrap_or(usize::MAX);
    let expected = if session.now() < terms.late() { wanted } else { bought.len() };
    let marks = Marks::of_block(session.environment(), &terms.block);
    let left: Duration = session.now().duration_until(terms.valid_until).try_into().unwrap_or_default();
    let bound = Bound {
        what: format!("{expected} spot requests of block {}", terms.block),
        limit: left + GRACE,
        next: "run the same command again to wait on, or `spotblock down` to cancel the requests".to_owned(),
    };
    session
        .waits
        .until(session.ui, bound, async || {
            let seen = session.aws.ec2.spot_requests(tag::BLOCK, &terms.block).await?;
            let ours: Vec<SpotRequest> = seen.into_iter().filter(|it| marks.are_on(&it.tags)).collect();
            if ours.len() < expected {
                return Ok(Seen::NotYet(format!("{} shown so far", ours.len())));
            }
            let holding = ours.iter().filter(|it| match capacity::standing(it) {
                Standing::Holding => true,
                Standing::Live => it.instance.is_none(),
                Standing::Failed | Standing::Over => false,
            });
            match holding.clone().next() {
                None => Ok(Seen::Done(Fulfilment { requests: ours, held: held.take() })),
                Some(first) => {
                    held = Some(format!("{} ({})", first.code, first.message));
                    let done = ours.len() - holding.count();
                    Ok(Seen::NotYet(format!("{done} fulfilled; {} is {}", first.id, first.code)))
                }
            }
        })
        .await
}

pub(super) async fn nothing_came(
    session: &Session<'_>,
    record: &Record,
    failed: &[&SpotRequest],
    held: Option<String>,
) -> Error {
    let Some(first) = failed.first() else { return lost_record(&record.terms.block) };
    if let Err(error) = session.aws.ec2.set_outcome(record, &format!("not-fulfilled:{}", first.code)).await {
        return error;
    }
    let what = format!(
        "no instance came for block {}: spot request {} ended with {} ({}){}",
        record.terms.block,
        first.id,
        first.code,
        first.message,
        held.map(|why| format!(" after {why}")).unwrap_or_default()
    );
    match first.code.as_str() {
        "bad-parameters" | "system-error" | "canceled-before-fulfillment" => Error::State {
            what,
            next: "nothing was bought. Change what AWS names, then run the same command again".to_owned(),
        },
        _ => Error::Capacity {
            what,
            source: None,
            next: "nothing was bought. Raise [block] max-price, or ask for fewer instances, another type or zone; \
                   --valid-for waits longer for capacity"
                .to_owned(),
        },
    }
}
