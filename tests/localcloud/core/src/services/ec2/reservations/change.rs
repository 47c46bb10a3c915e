//! The calls that change capacity reservations: made, modified, cancelled.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::account::ZONES;
use super::super::capacity::{Claims, Shortage};
use super::super::instance::Market;
use super::super::page::Selection;
use super::super::tags::{self, TagSpecification};
use super::super::types::InstanceType;
use super::super::{Service, millis};
use super::{Reservation, State, find, find_mut, instance_type, invalid, unsupported};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// How many instances one call can add to a reservation or take away (EC2's API model).
const MAX_CHANGE: u32 = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Create {
    client_token: Option<String>,
    instance_type: String,
    instance_platform: String,
    availability_zone: Option<String>,
    tenancy: Option<String>,
    #[serde(default, deserialize_with = "query::text")]
    instance_count: Option<u32>,
    #[serde(default, deserialize_with = "query::text")]
    ebs_optimized: Option<bool>,
    #[serde(default, deserialize_with = "query::text")]
    ephemeral_storage: Option<bool>,
    #[serde(default, deserialize_with = "query::text")]
    end_date: Option<Timestamp>,
    end_date_type: Option<String>,
    instance_match_criteria: Option<String>,
    /// AWS spells this one in the plural.
    #[serde(default)]
    tag_specifications: Vec<TagSpecification>,
}

/// CreateCapacityReservation: for at once, or nothing.
pub(crate) fn create(
    service: &mut Service<'_>,
    context: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let request: Create = query::parse(parameters.clone())?;
    if let Some(token) = &request.client_token
        && let Some(known) = service
            .state
            .reservations
            .iter()
            .find(|it| it.token.as_ref().is_some_and(|(t, _)| t == token))
    {
        if known.token.as_ref().is_some_and(|(_, before)| *before == parameters) {
            return Ok(json!({ "capacityReservation": known.answer(service) }));
        }
        let message =
            "The request uses the same client token as a previous, but non-identical request.";
        return Err(AwsError::new("IdempotentParameterMismatch", message));
    }
    let (instance_type, zone) = request.place(service)?;
    let count = request.check(context.now)?;
    let tags = tags::of_specifications(&request.tag_specifications, "capacity-reservation")?;
    grant(service, instance_type, zone, count)?;
    let reservation = Reservation {
        id: service.ids.resource("cr"),
        created: context.now,
        start: context.now,
        end: request.end_date,
        instance_type,
        zone,
        total: count,
        targeted: request.instance_match_criteria.as_deref() == Some("targeted"),
        ebs_optimized: request.ebs_optimized.unwrap_or(false),
        state: State::Pending,
        due: Some(context.now + millis(service.options.pace.reservation_ms)),
        block: None,
        instances: BTreeSet::new(),
        token: request.client_token.map(|token| (token, parameters)),
    };
    if !tags.is_empty() {
        service.state.tags.insert(reservation.id.clone(), tags);
    }
    let answer = reservation.answer(service);
    service.state.reservations.push(reservation);
    Ok(json!({ "capacityReservation": answer }))
}

/// Whether AWS has so many more, and the account's quota allows them.
fn grant(
    service: &Service<'_>,
    instance_type: &'static InstanceType,
    zone: char,
    count: u32,
) -> Result<(), AwsError> {
    let claims = Claims::default();
    let market = Market::OnDemand;
    if let Some(allowed) =
        claims.allowed(service, instance_type, market).filter(|allowed| *allowed < count)
    {
        // Code and wording are [A].
        let message = format!(
            "Your quota allows for {allowed} more running instance(s). You requested at least \
             {count}."
        );
        return Err(AwsError::new("InstanceLimitExceeded", message));
    }
    match claims.free(service, instance_type, zone, market) {
        Some(free) if free < count => {
            Err(Shortage::Capacity.error_at(service, instance_type, zone, market))
        }
        _ => Ok(()),
    }
}

impl Create {
    fn place(&self, service: &Service<'_>) -> Result<(&'static InstanceType, char), AwsError> {
        let instance_type = instance_type(&self.instance_type)?;
        let Some(name) = &self.availability_zone else {
            return Err(AwsError::new(
                "MissingParameter",
                "The request must contain the parameter AvailabilityZone",
            ));
        };
        let region = &service.options.region;
        let letter = name.strip_prefix(region.as_str()).and_then(|rest| rest.parse().ok());
        let Some(zone) = letter.filter(|letter| ZONES.contains(letter)) else {
            return Err(invalid(format!("Invalid availability zone: [{name}]")));
        };
        if instance_type.is_offered(zone) {
            return Ok((instance_type, zone));
        }
        Err(unsupported(service, instance_type, zone))
    }

    /// AWS's rules; gives the count.
    fn check(&self, now: Timestamp) -> Result<u32, AwsError> {
        if self.instance_platform != "Linux/UNIX" {
            return Err(invalid(format!(
                "The local cloud has no instances of the platform {}",
                self.instance_platform
            )));
        }
        if self.tenancy.as_deref().is_some_and(|tenancy| tenancy != "default") {
            return Err(invalid("The local cloud has instances of the default tenancy only"));
        }
        if !matches!(self.instance_match_criteria.as_deref(), None | Some("open" | "targeted")) {
            return Err(invalid("Invalid value for InstanceMatchCriteria: it is open or targeted"));
        }
        if self.ephemeral_storage == Some(true) {
            return Err(invalid("EphemeralStorage is deprecated and not supported"));
        }
        check_end(self.end_date_type.as_deref(), self.end_date, now)?;
        match self.instance_count {
            None => Err(AwsError::new(
                "MissingParameter",
                "The request must contain the parameter InstanceCount",
            )),
            Some(count @ 1..=MAX_CHANGE) => Ok(count),
            Some(other) => {
                Err(invalid(format!("Value ({other}) for parameter InstanceCount is invalid.")))
            }
        }
    }
}

/// An end date goes with the type `limited`, and only with it.
fn check_end(kind: Option<&str>, end: Option<Timestamp>, now: Timestamp) -> Result<(), AwsError> {
    match (kind, end) {
        (None | Some("unlimited"), None) => Ok(()),
        (Some("limited"), Some(end)) if end > now => Ok(()),
        (Some("limited"), Some(_)) => Err(invalid("The EndDate has to be in the future")),
        (Some("limited"), None) => Err(AwsError::new(
            "MissingParameter",
            "EndDate is required when EndDateType is limited",
        )),
        (None | Some("unlimited"), Some(_)) => Err(AwsError::new(
            "InvalidParameterCombination",
            "EndDate can be given only when EndDateType is limited",
        )),
        (Some(other), _) => {
            Err(invalid(format!("Value ({other}) for parameter EndDateType is invalid.")))
        }
    }
}

/// The reservation with this id, if it can be changed. The code for one that can't is [A].
fn changeable<'a>(
    service: &'a Service<'_>,
    id: &str,
    what: &str,
) -> Result<&'a Reservation, AwsError> {
    let found = find(service, id)?;
    if found.block.is_some() {
        let message =
            format!("The capacity reservation '{id}' is a capacity block, which you can't {what}");
        return Err(AwsError::new("OperationNotPermitted", message));
    }
    if found.state != State::Active {
        let message = format!(
            "You can't {what} the capacity reservation '{id}': it is {}",
            found.state.name()
        );
        return Err(AwsError::new("InvalidCapacityReservationState", message));
    }
    Ok(found)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Modify {
    capacity_reservation_id: String,
    #[serde(default, deserialize_with = "query::text")]
    instance_count: Option<u32>,
    #[serde(default, deserialize_with = "query::text")]
    end_date: Option<Timestamp>,
    end_date_type: Option<String>,
    instance_match_criteria: Option<String>,
}

/// ModifyCapacityReservation.
pub(crate) fn modify(
    service: &mut Service<'_>,
    context: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let request: Modify = query::parse(parameters)?;
    let id = &request.capacity_reservation_id;
    let before = changeable(service, id, "modify")?;
    let ends = request.end_date_type.is_some() || request.end_date.is_some();
    if ends {
        check_end(request.end_date_type.as_deref(), request.end_date, context.now)?;
    }
    let total = request.instance_count.unwrap_or(before.total);
    let used = before.used(service);
    if total == 0 || total < used || total.abs_diff(before.total) > MAX_CHANGE {
        return Err(invalid(format!(
            "InstanceCount {total} is not possible: {used} instances run in '{id}'"
        )));
    }
    if total > before.total {
        grant(service, before.instance_type, before.zone, total - before.total)?;
    }
    let targeted = match request.instance_match_criteria.as_deref() {
        None => before.targeted,
        Some("targeted") => true,
        Some("open") => false,
        Some(other) => {
            return Err(invalid(format!("Value ({other}) for InstanceMatchCriteria is invalid.")));
        }
    };
    if let Some(it) = find_mut(service, id) {
        (it.total, it.targeted) = (total, targeted);
        if ends {
            it.end = request.end_date;
        }
    }
    Ok(json!({ "return": true }))
}

/// CancelCapacityReservation. What runs in it lives on, on demand.
pub(crate) fn cancel(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let id = query::take(&mut parameters, "CapacityReservationId")
        .map(query::parse::<String>)
        .transpose()?;
    Selection::read(parameters)?;
    let message = "The request must contain the parameter CapacityReservationId";
    let id = id.ok_or_else(|| AwsError::new("MissingParameter", message))?;
    changeable(service, &id, "cancel")?;
    if let Some(it) = find_mut(service, &id) {
        it.state = State::Cancelled;
        it.instances.clear();
    }
    Ok(json!({ "return": true }))
}
