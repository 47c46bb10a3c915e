//! A capacity block's extensions: offered until an hour before its end, paid at once; the end moves
//! once they are.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::page::Selection;
use super::super::reservations::{self, Reservation, State, hours};
use super::super::{Service, millis, time};
use super::offerings::{check_hours, take_page};
use super::{Offering, offer, take};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// Until how long before its end a capacity block can be extended.
const EXTENDABLE: SignedDuration = SignedDuration::from_hours(1);

/// A bought extension.
#[derive(Clone, Debug)]
pub(super) struct Extension {
    offering: Offering,
    bought: Timestamp,
    /// When it will be paid; nothing once it is.
    pub(super) paid_at: Option<Timestamp>,
}

/// The block's reservation and its end, if it can still be extended. The code for one that can't is
/// [A].
fn extendable<'a>(
    service: &'a Service<'_>,
    id: &str,
    now: Timestamp,
) -> Result<(&'a Reservation, Timestamp), AwsError> {
    let found = reservations::find(service, id)?;
    let refused = |why: &str| {
        let message = format!("The capacity reservation '{id}' can't be extended: {why}");
        AwsError::new("InvalidCapacityReservationState", message)
    };
    let end = found
        .end
        .filter(|_| found.block.is_some())
        .ok_or_else(|| refused("it is no capacity block"))?;
    if !matches!(found.state, State::Active | State::Scheduled) {
        return Err(refused(&format!("it is {}", found.state.name())));
    }
    if now > end - EXTENDABLE {
        return Err(refused("it ends in less than an hour"));
    }
    Ok((found, end))
}

/// DescribeCapacityBlockExtensionOfferings.
pub(crate) fn extension_offerings(
    service: &mut Service<'_>,
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
    let length = check_hours(
        wanted.capacity_block_extension_duration_hours,
        "CapacityBlockExtensionDurationHours",
    )?;
    let (block, end) = extendable(service, &wanted.capacity_reservation_id, context.now)?;
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
    let offering = offer(service, offering);
    let answer = json!({
        "capacityBlockExtensionOfferingId": offering.id,
        "instanceType": offering.instance_type.name,
        "instanceCount": offering.count,
        "availabilityZone": format!("{}{}", service.options.region, offering.zone),
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
pub(crate) fn purchase_extension(
    service: &mut Service<'_>,
    context: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Purchase {
        capacity_block_extension_offering_id: String,
        capacity_reservation_id: String,
    }
    let request: Purchase = query::parse(parameters)?;
    let id = &request.capacity_reservation_id;
    extendable(service, id, context.now)?;
    let offering = take(service, &request.capacity_block_extension_offering_id, Some(id))?;
    let paid_at = Some(context.now + millis(service.options.pace.payment_ms));
    let extension = Extension { offering, bought: context.now, paid_at };
    let answer = extension.answer(service, id);
    if let Some(block) = reservations::find_mut(service, id).and_then(|it| it.block.as_mut()) {
        block.extensions.push(extension);
    }
    Ok(json!({ "capacityBlockExtensionSet": [answer] }))
}

impl Extension {
    fn answer(&self, service: &Service<'_>, reservation: &str) -> Value {
        let Self { offering, .. } = self;
        json!({
            "capacityReservationId": reservation,
            "instanceType": offering.instance_type.name,
            "instanceCount": offering.count,
            "availabilityZone": format!("{}{}", service.options.region, offering.zone),
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
pub(crate) fn extension_history(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "CapacityReservationId")?;
    let selection = Selection::read(parameters)?;
    for id in &ids {
        reservations::find(service, id)?;
    }
    let mut found = Vec::new();
    for it in service.state.reservations.iter().filter(|it| ids.is_empty() || ids.contains(&it.id))
    {
        for extension in it.block.iter().flat_map(|block| &block.extensions) {
            let field = |name: &str| match name {
                "instance-type" => Some(vec![it.instance_type.name.to_owned()]),
                "availability-zone" => Some(vec![format!("{}{}", service.options.region, it.zone)]),
                _ => None,
            };
            if selection.accepts(None, field)? {
                found.push(extension.answer(service, &it.id));
            }
        }
    }
    let (page, next) = selection.page(found, 1..=1000)?;
    Ok(json!({ "capacityBlockExtensionSet": page, "nextToken": next }))
}

/// An extension is paid: the block ends later.
pub(crate) fn extend(reservation: &mut Reservation, now: Timestamp) {
    let extensions = reservation.block.iter_mut().flat_map(|block| &mut block.extensions);
    for extension in extensions.filter(|extension| extension.paid_at.is_some_and(|at| at <= now)) {
        extension.paid_at = None;
        reservation.end = Some(extension.offering.end);
    }
}
