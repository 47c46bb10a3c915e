//! DescribeCapacityBlockOfferings: what is on offer.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Service;
use super::super::account::ZONES;
use super::super::capacity::Claims;
use super::super::instance::Market;
use super::super::page::Selection;
use super::super::reservations::{self, hours};
use super::{MAX_INSTANCES, Offering, RECLAIM, invalid, missing, offer};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// On how many days to come blocks begin that are on offer, in how many zones.
const DAYS: u32 = 5;
const OFFERED_ZONES: usize = 2;

/// At which seconds a block that has begun ends, where options say how soon.
const STEP_SECS: i64 = 5;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Wanted {
    instance_type: Option<String>,
    #[serde(default, deserialize_with = "query::text")]
    instance_count: Option<u32>,
    #[serde(default, deserialize_with = "query::text")]
    start_date_range: Option<Timestamp>,
    #[serde(default, deserialize_with = "query::text")]
    end_date_range: Option<Timestamp>,
    #[serde(default, deserialize_with = "query::text")]
    capacity_duration_hours: Option<u32>,
    ultraserver_type: Option<String>,
    ultraserver_count: Option<String>,
    #[expect(dead_code, reason = "there are no other zones here")]
    all_availability_zones: Option<String>,
}

/// DescribeCapacityBlockOfferings.
pub(crate) fn offerings(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let selection = take_page(&mut parameters)?;
    let wanted: Wanted = query::parse(parameters)?;
    let searched = wanted.search(service, context.now)?;
    let offered: Vec<Offering> =
        searched.into_iter().map(|offering| offer(service, offering)).collect();
    let found: Vec<Value> =
        offered.iter().map(|offering| offering.answer(&service.options.region)).collect();
    let (page, next) = selection.page(found, 1..=1000)?;
    Ok(json!({ "capacityBlockOfferingSet": page, "nextToken": next }))
}

/// Takes out what pages are asked for with.
pub(super) fn take_page(parameters: &mut Value) -> Result<Selection, AwsError> {
    let names = ["MaxResults", "NextToken"];
    Selection::read(
        names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), query::take(parameters, name)?)))
            .collect(),
    )
}

/// A day to 14 days in steps of one, from there on in steps of seven (EC2's API model).
pub(super) fn check_hours(hours: Option<u32>, name: &str) -> Result<u32, AwsError> {
    let hours = hours.ok_or_else(|| missing(name))?;
    let days = hours / 24;
    let known = hours % 24 == 0
        && ((1..=14).contains(&days) || (days % 7 == 0 && (21..=182).contains(&days)));
    if known {
        Ok(hours)
    } else {
        Err(invalid(format!("Value ({hours}) for parameter {name} is invalid.")))
    }
}

impl Wanted {
    fn search(&self, service: &Service<'_>, now: Timestamp) -> Result<Vec<Offering>, AwsError> {
        if self.ultraserver_type.is_some() || self.ultraserver_count.is_some() {
            return Err(AwsError::new(
                "UnsupportedOperation",
                "The local cloud has no UltraServers",
            ));
        }
        let length = check_hours(self.capacity_duration_hours, "CapacityDurationHours")?;
        let name = self.instance_type.as_deref().ok_or_else(|| missing("InstanceType"))?;
        let instance_type = reservations::instance_type(name)?;
        if !instance_type.usage_classes.contains(&"capacity-block") {
            return Err(invalid(format!(
                "Value ({name}) for parameter InstanceType is not supported."
            )));
        }
        let count = match self.instance_count {
            Some(count @ 1..=MAX_INSTANCES) => count,
            Some(other) => {
                return Err(invalid(format!(
                    "Value ({other}) for parameter InstanceCount is invalid."
                )));
            }
            None => return Err(missing("InstanceCount")),
        };
        let (claims, market) = (Claims::default(), Market::CapacityBlock);
        let zones = ZONES.into_iter().filter(|zone| {
            instance_type.is_offered(*zone)
                && claims
                    .free(service, instance_type, *zone, market)
                    .is_none_or(|free| free >= count)
        });
        let starts = self.starts(service, now, length);
        let offering = |(zone, start)| Offering {
            id: String::new(),
            extends: None,
            instance_type,
            zone,
            count,
            start,
            end: start + hours(length),
            hours: length,
        };
        let all = zones
            .take(OFFERED_ZONES)
            .flat_map(|zone| starts.iter().map(move |start| (zone, *start)));
        Ok(all.map(offering).collect())
    }

    /// When blocks begin: at 11:30 UTC, and, where options say so, sooner.
    fn starts(&self, service: &Service<'_>, now: Timestamp, length: u32) -> Vec<Timestamp> {
        let options = &service.options;
        if let Some(ends_in) = options.block_ends_in {
            // In steps, so that the same question has the same answer for a while.
            let end = now + ends_in + RECLAIM;
            return vec![whole(end, STEP_SECS) - hours(length)];
        }
        let from = self.start_date_range.map_or(now, |from| from.max(now));
        let in_time = |start: &Timestamp| {
            self.end_date_range.is_none_or(|last| *start + hours(length) <= last)
        };
        let soon = options.capacity_block_starts_in.map(|in_time| whole(now + in_time, 60));
        let days = (0..=DAYS).filter_map(|day| half_past_eleven(from + hours(24 * day)));
        let days = days.filter(|start| *start >= from).take(DAYS as usize);
        soon.into_iter().chain(days).filter(in_time).collect()
    }
}

/// The moment cut to so many seconds.
fn whole(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(at.as_second().div_euclid(seconds) * seconds).unwrap_or(at)
}

/// 11:30 UTC of this moment's day.
fn half_past_eleven(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(whole(at, 86_400).as_second() + (11 * 60 + 30) * 60).ok()
}
