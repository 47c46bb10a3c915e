//! Capacity blocks: offered for a day or longer, paid at once, used through a reservation, and taken back half an hour
//! before they end. The purchases have no client token: what is asked for twice is bought twice.
//!
//! UltraServers, which are taken back a whole hour before, are not on offer here.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{AwsError, Cloud, Context};
use super::account::ZONES;
use super::capacity::Claims;
use super::instance::{self, How, Market};
use super::page::Selection;
use super::reservations::{self, Reservation, State, hours};
use super::tags::{self, TagSpecification};
use super::types::InstanceType;
use super::{millis, prices, time};
use crate::wire::query;

/// How long before a capacity block's end AWS begins to end its instances.
pub(super) const RECLAIM: SignedDuration = SignedDuration::from_mins(30);

/// Until how long before its end a capacity block can be extended.
const EXTENDABLE: SignedDuration = SignedDuration::from_hours(1);

/// How many instances a capacity block can have.
const MAX_INSTANCES: u32 = 64;

/// At which seconds a block that has begun ends, where options say how soon.
const STEP_SECS: i64 = 5;

/// On how many days to come blocks begin that are on offer, in how many zones.
const DAYS: u32 = 5;
const OFFERED_ZONES: usize = 2;

/// Something that can be bought.
#[derive(Clone, Debug)]
pub(super) struct Offering {
    id: String,
    /// The reservation whose extension it is.
    extends: Option<String>,
    pub(super) instance_type: &'static InstanceType,
    pub(super) zone: char,
    pub(super) count: u32,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    hours: u32,
}

/// What a reservation has that is a capacity block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) id: String,
    extensions: Vec<Extension>,
}

/// A bought extension.
#[derive(Clone, Debug)]
struct Extension {
    offering: Offering,
    bought: Timestamp,
    /// When it will be paid; nothing once it is.
    paid_at: Option<Timestamp>,
}

impl Block {
    /// When the next extension is paid.
    pub(super) fn paid_at(&self) -> Option<Timestamp> {
        self.extensions.iter().find_map(|extension| extension.paid_at)
    }
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidParameterValue", message)
}

fn missing(name: &str) -> AwsError {
    AwsError::new("MissingParameter", format!("The request must contain the parameter {name}"))
}

impl Offering {
    /// What has to be paid, in dollars: here what the instances cost on demand.
    fn fee(&self) -> String {
        let dollars = prices::on_demand(self.instance_type) * f64::from(self.count) * f64::from(self.hours);
        format!("{dollars:.4}")
    }

    fn answer(&self, region: &str) -> Value {
        json!({
            "capacityBlockOfferingId": self.id,
            "instanceType": self.instance_type.name,
            "availabilityZone": format!("{region}{}", self.zone),
            "instanceCount": self.count,
            "startDate": time(self.start),
            "endDate": time(self.end),
            "capacityBlockDurationHours": self.hours,
            "capacityBlockDurationMinutes": self.hours * 60,
            "upfrontFee": self.fee(),
            "currencyCode": "USD",
            "tenancy": "default",
        })
    }

    /// The same thing as another one, but for its id.
    fn same(&self, other: &Self) -> bool {
        (self.instance_type, self.zone, self.count, self.start, self.hours, &self.extends)
            == (other.instance_type, other.zone, other.count, other.start, other.hours, &other.extends)
    }
}

/// Remembers an offering, so that it can be bought, and keeps its id when it was offered before.
fn offer(cloud: &mut Cloud, mut offering: Offering) -> Offering {
    if let Some(known) = cloud.ec2.offerings.iter().find(|known| known.same(&offering)) {
        return known.clone();
    }
    offering.id = cloud.ids.resource(if offering.extends.is_some() { "cbe" } else { "cbo" });
    cloud.ec2.offerings.push(offering.clone());
    offering
}

/// Takes an offering that is bought off the list.
fn take(cloud: &mut Cloud, id: &str, extends: Option<&str>) -> Result<Offering, AwsError> {
    let at = cloud.ec2.offerings.iter().position(|it| it.id == id && it.extends.as_deref() == extends);
    // The code is [A].
    let not_found =
        || AwsError::new("InvalidCapacityBlockOfferingId.NotFound", format!("The offering ID '{id}' does not exist"));
    Ok(cloud.ec2.offerings.remove(at.ok_or_else(not_found)?))
}

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
pub(super) fn offerings(cloud: &mut Cloud, context: &Context, mut parameters: Value) -> Result<Value, AwsError> {
    let selection = take_page(&mut parameters)?;
    let wanted: Wanted = query::parse(parameters)?;
    let searched = wanted.search(cloud, context.now)?;
    let offered: Vec<Offering> = searched.into_iter().map(|offering| offer(cloud, offering)).collect();
    let found: Vec<Value> = offered.iter().map(|offering| offering.answer(&cloud.options.region)).collect();
    let (page, next) = selection.page(found, 1..=1000)?;
    Ok(json!({ "capacityBlockOfferingSet": page, "nextToken": next }))
}

/// Takes out what pages are asked for with.
fn take_page(parameters: &mut Value) -> Result<Selection, AwsError> {
    let names = ["MaxResults", "NextToken"];
    Selection::read(
        names.iter().filter_map(|name| Some(((*name).to_owned(), query::take(parameters, name)?))).collect(),
    )
}

/// A day to 14 days in steps of one, from there on in steps of seven (EC2's API model).
fn check_hours(hours: Option<u32>, name: &str) -> Result<u32, AwsError> {
    let hours = hours.ok_or_else(|| missing(name))?;
    let days = hours / 24;
    let known = hours % 24 == 0 && ((1..=14).contains(&days) || (days % 7 == 0 && (21..=182).contains(&days)));
    if known { Ok(hours) } else { Err(invalid(format!("Value ({hours}) for parameter {name} is invalid."))) }
}

impl Wanted {
    fn search(&self, cloud: &Cloud, now: Timestamp) -> Result<Vec<Offering>, AwsError> {
        if self.ultraserver_type.is_some() || self.ultraserver_count.is_some() {
            return Err(AwsError::new("UnsupportedOperation", "The local cloud has no UltraServers"));
        }
        let length = check_hours(self.capacity_duration_hours, "CapacityDurationHours")?;
        let name = self.instance_type.as_deref().ok_or_else(|| missing("InstanceType"))?;
        let instance_type = reservations::instance_type(name)?;
        if !instance_type.usage_classes.contains(&"capacity-block") {
            return Err(invalid(format!("Value ({name}) for parameter InstanceType is not supported.")));
        }
        let count = match self.instance_count {
            Some(count @ 1..=MAX_INSTANCES) => count,
            Some(other) => return Err(invalid(format!("Value ({other}) for parameter InstanceCount is invalid."))),
            None => return Err(missing("InstanceCount")),
        };
        let (claims, market) = (Claims::default(), Market::CapacityBlock);
        let zones = ZONES.into_iter().filter(|zone| {
            instance_type.is_offered(*zone)
                && claims.free(cloud, instance_type, *zone, market).is_none_or(|free| free >= count)
        });
        let starts = self.starts(cloud, now, length);
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
        let all = zones.take(OFFERED_ZONES).flat_map(|zone| starts.iter().map(move |start| (zone, *start)));
        Ok(all.map(offering).collect())
    }

    /// When blocks begin: at 11:30 UTC, and, where options say so, sooner.
    fn starts(&self, cloud: &Cloud, now: Timestamp, length: u32) -> Vec<Timestamp> {
        let options = &cloud.options;
        if let Some(ends_in) = options.block_ends_in {
            // In steps, so that the same question has the same answer for a while.
            let end = now + ends_in + RECLAIM;
            return vec![whole(end, STEP_SECS) - hours(length)];
        }
        let from = self.start_date_range.map_or(now, |from| from.max(now));
        let in_time = |start: &Timestamp| self.end_date_range.is_none_or(|last| *start + hours(length) <= last);
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Purchase {
    capacity_block_offering_id: String,
    instance_platform: String,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

/// PurchaseCapacityBlock: paid a while later, and there from its start on.
pub(super) fn purchase(cloud: &mut Cloud, context: &Context, parameters: Value) -> Result<Value, AwsError> {
    let request: Purchase = query::parse(parameters)?;
    if request.instance_platform != "Linux/UNIX" {
        return Err(invalid(format!("The local cloud has no instances of the platform {}", request.instance_platform)));
    }
    tags::check_kinds(&request.tag_specification, &["capacity-reservation", "capacity-block"])?;
    let of_reservation = tags::of_kind(&request.tag_specification, "capacity-reservation")?;
    let of_block = tags::of_kind(&request.tag_specification, "capacity-block")?;
    let offering = take(cloud, &request.capacity_block_offering_id, None)?;
    let block = Block { id: cloud.ids.resource("cb"), extensions: Vec::new() };
    let id = cloud.ids.resource("cr");
    for (id, tags) in [(&id, of_reservation), (&block.id, of_block)] {
        if !tags.is_empty() {
            cloud.ec2.tags.insert(id.clone(), tags);
        }
    }
    let paid = context.now + millis(cloud.options.pace.payment_ms);
    let reservation = Reservation::of_block(id, block, &offering, context.now, paid);
    let answer = json!({
        "capacityReservation": reservation.answer(cloud),
        "capacityBlockSet": [block_answer(cloud, &reservation)],
    });
    cloud.ec2.reservations.push(reservation);
    Ok(answer)
}

fn block_answer(cloud: &Cloud, reservation: &Reservation) -> Value {
    let id = reservation.block.as_ref().map(|block| block.id.as_str()).unwrap_or_default();
    json!({
        "capacityBlockId": id,
        "availabilityZone": format!("{}{}", cloud.options.region, reservation.zone),
        "capacityReservationIdSet": [reservation.id],
        "startDate": time(reservation.start),
        "endDate": reservation.end.map(time),
        "createDate": time(reservation.created),
        "state": reservation.state.name(),
        "tagSet": tags::answer(cloud.ec2.tags.get(id)),
    })
}

/// DescribeCapacityBlocks.
pub(super) fn describe(cloud: &mut Cloud, _: &Context, mut parameters: Value) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "CapacityBlockId")?;
    let selection = Selection::read(parameters)?;
    let blocks = || cloud.ec2.reservations.iter().filter_map(|it| Some((it, it.block.as_ref()?)));
    if let Some(unknown) = ids.iter().find(|id| !blocks().any(|(_, block)| block.id == **id)) {
        let message = format!("The capacity block ID '{unknown}' does not exist");
        return Err(AwsError::new("InvalidCapacityBlockId.NotFound", message));
    }
    let mut found = Vec::new();
    for (it, block) in blocks().filter(|(_, block)| ids.is_empty() || ids.contains(&block.id)) {
        let field = |name: &str| match name {
            "capacity-block-id" => Some(vec![block.id.clone()]),
            "availability-zone" => Some(vec![format!("{}{}", cloud.options.region, it.zone)]),
            "state" => Some(vec![it.state.name().to_owned()]),
            "start-date" => Some(vec![time(it.start)]),
            "end-date" => Some(it.end.map(time).into_iter().collect()),
            "create-date" => Some(vec![time(it.created)]),
            _ => None,
        };
        if selection.accepts(cloud.ec2.tags.get(&block.id), field)? {
            found.push(block_answer(cloud, it));
        }
    }
    let (page, next) = selection.page(found, 1..=1000)?;
    Ok(json!({ "capacityBlockSet": page, "nextToken": next }))
}

/// The block's reservation and its end, if it can still be extended. The code for one that can't is [A].
fn extendable<'a>(cloud: &'a Cloud, id: &str, now: Timestamp) -> Result<(&'a Reservation, Timestamp), AwsError> {
    let found = reservations::find(cloud, id)?;
    let refused = |why: &str| {
        let message = format!("The capacity reservation '{id}' can't be extended: {why}");
        AwsError::new("InvalidCapacityReservationState", message)
    };
    let end = found.end.filter(|_| found.block.is_some()).ok_or_else(|| refused("it is no capacity block"))?;
    if !matches!(found.state, State::Active | State::Scheduled) {
        return Err(refused(&format!("it is {}", found.state.name())));
    }
    if now > end - EXTENDABLE {
        return Err(refused("it ends in less than an hour"));
    }
    Ok((found, end))
}

/// DescribeCapacityBlockExtensionOfferings.
pub(super) fn extension_offerings(
    cloud: &mut Cloud,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Wanted {
        capacity_reservation_id: String,
        #[serde(default, deserialize_with = "query::text")]
        capacity_block_extension_duration_hours: Option<u32>,
    }
    let selection = take_page(&mut parameters)?;
    let wanted: Wanted = query::parse(parameters)?;
    let length = check_hours(wanted.capacity_block_extension_duration_hours, "CapacityBlockExtensionDurationHours")?;
    let (block, end) = extendable(cloud, &wanted.capacity_reservation_id, context.now)?;
    let (start_of_block, offering) = (
        block.start,
        Offering {
            id: String::new(),
            extends: Some(block.id.clone()),
            instance_type: block.instance_type,
            zone: block.zone,
            count: block.total,
            start: end,
            end: end + hours(length),
            hours: length,
        },
    );
    let offering = offer(cloud, offering);
    let answer = json!({
        "capacityBlockExtensionOfferingId": offering.id,
        "instanceType": offering.instance_type.name,
        "instanceCount": offering.count,
        "availabilityZone": format!("{}{}", cloud.options.region, offering.zone),
        "startDate": time(start_of_block),
        "capacityBlockExtensionStartDate": time(offering.start),
        "capacityBlockExtensionEndDate": time(offering.end),
        "capacityBlockExtensionDurationHours": offering.hours,
        "upfrontFee": offering.fee(),
        "currencyCode": "USD",
        "tenancy": "default",
    });
    let (page, next) = selection.page(vec![answer], 1..=1000)?;
    Ok(json!({ "capacityBlockExtensionOfferingSet": page, "nextToken": next }))
}

/// PurchaseCapacityBlockExtension: the end moves once it is paid.
pub(super) fn purchase_extension(cloud: &mut Cloud, context: &Context, parameters: Value) -> Result<Value, AwsError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Purchase {
        capacity_block_extension_offering_id: String,
        capacity_reservation_id: String,
    }
    let request: Purchase = query::parse(parameters)?;
    let id = &request.capacity_reservation_id;
    extendable(cloud, id, context.now)?;
    let offering = take(cloud, &request.capacity_block_extension_offering_id, Some(id))?;
    let paid_at = Some(context.now + millis(cloud.options.pace.payment_ms));
    let extension = Extension { offering, bought: context.now, paid_at };
    let answer = extension.answer(cloud, id);
    if let Some(block) = reservations::find_mut(cloud, id).and_then(|it| it.block.as_mut()) {
        block.extensions.push(extension);
    }
    Ok(json!({ "capacityBlockExtensionSet": [answer] }))
}

impl Extension {
    fn answer(&self, cloud: &Cloud, reservation: &str) -> Value {
        let Self { offering, .. } = self;
        json!({
            "capacityReservationId": reservation,
            "instanceType": offering.instance_type.name,
            "instanceCount": offering.count,
            "availabilityZone": format!("{}{}", cloud.options.region, offering.zone),
            "capacityBlockExtensionOfferingId": offering.id,
            "capacityBlockExtensionDurationHours": offering.hours,
            "capacityBlockExtensionStatus": if self.paid_at.is_some() { "payment-pending" } else { "payment-succeeded" },
            "capacityBlockExtensionPurchaseDate": time(self.bought),
            "capacityBlockExtensionStartDate": time(offering.start),
            "capacityBlockExtensionEndDate": time(offering.end),
            "upfrontFee": offering.fee(),
            "currencyCode": "USD",
        })
    }
}

/// DescribeCapacityBlockExtensionHistory.
pub(super) fn extension_history(cloud: &mut Cloud, _: &Context, mut parameters: Value) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "CapacityReservationId")?;
    let selection = Selection::read(parameters)?;
    for id in &ids {
        reservations::find(cloud, id)?;
    }
    let mut found = Vec::new();
    for it in cloud.ec2.reservations.iter().filter(|it| ids.is_empty() || ids.contains(&it.id)) {
        for extension in it.block.iter().flat_map(|block| &block.extensions) {
            let field = |name: &str| match name {
                "instance-type" => Some(vec![it.instance_type.name.to_owned()]),
                "availability-zone" => Some(vec![format!("{}{}", cloud.options.region, it.zone)]),
                _ => None,
            };
            if selection.accepts(None, field)? {
                found.push(extension.answer(cloud, &it.id));
            }
        }
    }
    let (page, next) = selection.page(found, 1..=1000)?;
    Ok(json!({ "capacityBlockExtensionSet": page, "nextToken": next }))
}

/// An extension is paid: the block ends later.
pub(super) fn extend(reservation: &mut Reservation, now: Timestamp) {
    let extensions = reservation.block.iter_mut().flat_map(|block| &mut block.extensions);
    for extension in extensions.filter(|extension| extension.paid_at.is_some_and(|at| at <= now)) {
        extension.paid_at = None;
        reservation.end = Some(extension.offering.end);
    }
}

/// AWS takes back what runs in the block; nothing told the instances so.
pub(super) fn reclaim(cloud: &mut Cloud, now: Timestamp, index: usize) {
    let instances = std::mem::take(&mut cloud.ec2.reservations[index].instances);
    for instance in instances {
        instance::end(cloud, now, &instance, How::Taken { at_block_end: true });
    }
}
