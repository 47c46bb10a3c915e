//! Capacity blocks: offered for a day or longer, paid at once, used through a reservation, and
//! taken back half an hour before they end. The purchases have no client token: what is asked for
//! twice is bought twice.
//!
//! UltraServers, which are taken back a whole hour before, are not on offer here.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::instance::{self, How};
use super::page::Selection;
use super::reservations::Reservation;
use super::tags::{self, TagSpecification};
use super::types::InstanceType;
use super::{Service, millis, prices, time};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

mod extensions;
mod offerings;

use extensions::Extension;
pub(super) use extensions::{extend, extension_history, extension_offerings, purchase_extension};
pub(super) use offerings::offerings;

/// How long before a capacity block's end AWS begins to end its instances.
pub(super) const RECLAIM: SignedDuration = SignedDuration::from_mins(30);

/// How many instances a capacity block can have.
const MAX_INSTANCES: u32 = 64;

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
        let dollars =
            prices::on_demand(self.instance_type) * f64::from(self.count) * f64::from(self.hours);
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
            == (
                other.instance_type,
                other.zone,
                other.count,
                other.start,
                other.hours,
                &other.extends,
            )
    }
}

/// Remembers an offering, so that it can be bought, and keeps its id when it was offered before.
fn offer(service: &mut Service<'_>, mut offering: Offering) -> Offering {
    if let Some(known) = service.state.offerings.iter().find(|known| known.same(&offering)) {
        return known.clone();
    }
    offering.id = service.ids.resource(if offering.extends.is_some() { "cbe" } else { "cbo" });
    service.state.offerings.push(offering.clone());
    offering
}

/// Takes an offering that is bought off the list.
fn take(service: &mut Service<'_>, id: &str, extends: Option<&str>) -> Result<Offering, AwsError> {
    let at = service
        .state
        .offerings
        .iter()
        .position(|it| it.id == id && it.extends.as_deref() == extends);
    // The code is [A].
    let not_found = || {
        AwsError::new(
            "InvalidCapacityBlockOfferingId.NotFound",
            format!("The offering ID '{id}' does not exist"),
        )
    };
    Ok(service.state.offerings.remove(at.ok_or_else(not_found)?))
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
pub(super) fn purchase(
    service: &mut Service<'_>,
    context: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let request: Purchase = query::parse(parameters)?;
    if request.instance_platform != "Linux/UNIX" {
        return Err(invalid(format!(
            "The local cloud has no instances of the platform {}",
            request.instance_platform
        )));
    }
    tags::check_kinds(&request.tag_specification, &["capacity-reservation", "capacity-block"])?;
    let of_reservation = tags::of_kind(&request.tag_specification, "capacity-reservation")?;
    let of_block = tags::of_kind(&request.tag_specification, "capacity-block")?;
    let offering = take(service, &request.capacity_block_offering_id, None)?;
    let block = Block { id: service.ids.resource("cb"), extensions: Vec::new() };
    let id = service.ids.resource("cr");
    for (id, tags) in [(&id, of_reservation), (&block.id, of_block)] {
        if !tags.is_empty() {
            service.state.tags.insert(id.clone(), tags);
        }
    }
    let paid = context.now + millis(service.options.pace.payment_ms);
    let reservation = Reservation::of_block(id, block, &offering, context.now, paid);
    let answer = json!({
        "capacityReservation": reservation.answer(service),
        "capacityBlockSet": [block_answer(service, &reservation)],
    });
    service.state.reservations.push(reservation);
    Ok(answer)
}

fn block_answer(service: &Service<'_>, reservation: &Reservation) -> Value {
    let id = reservation.block.as_ref().map(|block| block.id.as_str()).unwrap_or_default();
    json!({
        "capacityBlockId": id,
        "availabilityZone": format!("{}{}", service.options.region, reservation.zone),
        "capacityReservationIdSet": [reservation.id],
        "startDate": time(reservation.start),
        "endDate": reservation.end.map(time),
        "createDate": time(reservation.created),
        "state": reservation.state.name(),
        "tagSet": tags::answer(service.state.tags.get(id)),
    })
}

/// DescribeCapacityBlocks.
pub(super) fn describe(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "CapacityBlockId")?;
    let selection = Selection::read(parameters)?;
    let blocks =
        || service.state.reservations.iter().filter_map(|it| Some((it, it.block.as_ref()?)));
    if let Some(unknown) = ids.iter().find(|id| !blocks().any(|(_, block)| block.id == **id)) {
        let message = format!("The capacity block ID '{unknown}' does not exist");
        return Err(AwsError::new("InvalidCapacityBlockId.NotFound", message));
    }
    let mut found = Vec::new();
    for (it, block) in blocks().filter(|(_, block)| ids.is_empty() || ids.contains(&block.id)) {
        let field = |name: &str| match name {
            "capacity-block-id" => Some(vec![block.id.clone()]),
            "availability-zone" => Some(vec![format!("{}{}", service.options.region, it.zone)]),
            "state" => Some(vec![it.state.name().to_owned()]),
            "start-date" => Some(vec![time(it.start)]),
            "end-date" => Some(it.end.map(time).into_iter().collect()),
            "create-date" => Some(vec![time(it.created)]),
            _ => None,
        };
        if selection.accepts(service.state.tags.get(&block.id), field)? {
            found.push(block_answer(service, it));
        }
    }
    let (page, next) = selection.page(found, 1..=1000)?;
    Ok(json!({ "capacityBlockSet": page, "nextToken": next }))
}

/// AWS takes back what runs in the block; nothing told the instances so.
pub(super) fn reclaim(service: &mut Service<'_>, now: Timestamp, index: usize) {
    let instances = std::mem::take(&mut service.state.reservations[index].instances);
    for instance in instances {
        instance::end(service, now, &instance, How::Taken { at_block_end: true });
    }
}
