//! RunInstances: on demand, spot, or into reserved capacity; from a launch template or without.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::capacity::{self, Claims};
use super::instance::{self, Market, Order};
use super::launch::LaunchSpec;
use super::spot::{self, Price, SpotRequest};
use super::tags::{self, Tags};
use super::template_launch::{Launch, MarketParameters};
use super::templates::{self, Which};
use super::{Service, prices, reservations};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// What a client token stands for.
pub(super) struct Token {
    token: String,
    parameters: Value,
    reservation: String,
    instances: Vec<String>,
}

/// What RunInstances takes besides what launch templates hold.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Own {
    #[serde(deserialize_with = "query::text")]
    min_count: Option<u32>,
    #[serde(deserialize_with = "query::text")]
    max_count: Option<u32>,
    client_token: Option<String>,
    launch_template: Option<TemplateReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TemplateReference {
    launch_template_id: Option<String>,
    launch_template_name: Option<String>,
    version: Option<String>,
}

/// What is to be launched, once it passed the checks.
struct Run {
    spec: Arc<LaunchSpec>,
    market: Market,
    price: Option<Price>,
    /// The reservation that is targeted.
    target: Option<String>,
    /// Whether it may run in open reservations.
    open: bool,
    tags: Tags,
    request_tags: Tags,
}

/// RunInstances.
pub(super) fn run(
    service: &mut Service<'_>,
    context: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let mut rest = parameters.clone();
    let own = Own::take(&mut rest)?;
    if let Some(token) = &own.client_token
        && let Some(known) = service.state.run_tokens.iter().find(|known| known.token == *token)
    {
        if known.parameters == parameters {
            return Ok(answer(service, &known.reservation, &known.instances));
        }
        let message =
            "The request uses the same client token as a previous, but non-identical request.";
        return Err(AwsError::new("IdempotentParameterMismatch", message));
    }
    let (min, max) = own.counts()?;
    let (data, template) = own.over_template(service, context, rest)?;
    let run = Run::resolve(service, context.now, data, template)?;
    let places = run.places(service, context.now, min, max)?;
    let reservation = service.ids.resource("r");
    let mut instances = Vec::new();
    for (place, count) in places {
        for _ in 0..count {
            instances.push(run.launch(service, context.now, &reservation, place.as_deref()));
        }
    }
    let answer = answer(service, &reservation, &instances);
    if let Some(token) = own.client_token {
        service.state.run_tokens.push(Token { token, parameters, reservation, instances });
    }
    Ok(answer)
}

fn answer(service: &Service<'_>, reservation: &str, instances: &[String]) -> Value {
    let instances: Vec<Value> = instances
        .iter()
        .filter_map(|id| service.state.instance(id))
        .map(|instance| instance.answer(service))
        .collect();
    json!({
        "reservationId": reservation,
        "ownerId": service.options.account,
        "groupSet": [],
        "instancesSet": instances,
    })
}

impl Own {
    fn take(parameters: &mut Value) -> Result<Self, AwsError> {
        let names = ["MinCount", "MaxCount", "ClientToken", "LaunchTemplate"];
        let own: Map<String, Value> = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), query::take(parameters, name)?)))
            .collect();
        query::parse(Value::Object(own))
    }

    fn counts(&self) -> Result<(u32, u32), AwsError> {
        match (self.min_count, self.max_count) {
            (Some(min), Some(max)) if min >= 1 && min <= max => Ok((min, max)),
            (min, max) => {
                let (min, max) = (min.unwrap_or_default(), max.unwrap_or_default());
                let message = format!(
                    "Value ({min}) for parameter minCount is invalid. Expecting a value of at \
                     least 1 and at most maxCount, {max}."
                );
                Err(AwsError::new("InvalidParameterValue", message))
            }
        }
    }

    /// The request's parameters laid over the template's, and the template's id and version. What
    /// is given in both counts as the request says, tags too.
    fn over_template(
        &self,
        service: &Service<'_>,
        context: &Context,
        request: Value,
    ) -> Result<(Value, Option<(String, usize)>), AwsError> {
        let Some(named) = &self.launch_template else { return Ok((request, None)) };
        let which = Which {
            id: named.launch_template_id.clone(),
            name: named.launch_template_name.clone(),
        };
        let (template, version) =
            templates::to_launch(service, context, &which, named.version.as_deref())?;
        let mut data = template.versions[version - 1].requested.clone();
        if let (Value::Object(data), Value::Object(request)) = (&mut data, request) {
            data.extend(request);
        }
        Ok((data, Some((template.id.clone(), version))))
    }
}

impl Run {
    fn resolve(
        service: &Service<'_>,
        now: Timestamp,
        data: Value,
        template: Option<(String, usize)>,
    ) -> Result<Self, AwsError> {
        let preference = data
            .pointer("/CapacityReservationSpecification/CapacityReservationPreference")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let launch = Launch::read(data)?;
        tags::check_kinds(
            &launch.tags,
            &["instance", "volume", "network-interface", "spot-instances-request"],
        )?;
        let mut tags = tags::of_kind(&launch.tags, "instance")?;
        let request_tags = tags::of_kind(&launch.tags, "spot-instances-request")?;
        if let Some((template, version)) = template {
            tags.insert("aws:ec2launchtemplate:id".to_owned(), template);
            tags.insert("aws:ec2launchtemplate:version".to_owned(), version.to_string());
        }
        let (market, price) = market(launch.market.as_ref())?;
        let target = launch.reservation().map(str::to_owned);
        check_target(market, target.as_deref(), preference.as_deref())?;
        let spec = launch.resolve(service, now)?;
        let open = market == Market::OnDemand && preference.as_deref() != Some("none");
        Ok(Self { spec: Arc::new(spec), market, price, target, open, tags, request_tags })
    }

    /// Where instances can be launched, and how many: into reservations, and outside of them.
    fn places(
        &self,
        service: &Service<'_>,
        now: Timestamp,
        min: u32,
        max: u32,
    ) -> Result<Vec<(Option<String>, u32)>, AwsError> {
        let spec = &self.spec;
        if let Some(target) = &self.target {
            let room = reservations::room(service, target, spec, self.market, now)?;
            if room < min {
                let message = format!(
                    "The requested reservation {target} does not have sufficient compatible and \
                     available capacity for this request."
                );
                return Err(AwsError::new("ReservationCapacityExceeded", message));
            }
            return Ok(vec![(Some(target.clone()), room.min(max))]);
        }
        if !spec.instance_type.is_offered(spec.subnet.zone) {
            return Err(reservations::unsupported(service, spec.instance_type, spec.subnet.zone));
        }
        self.check_price(service)?;
        let mut left = max;
        let mut places = Vec::new();
        let open = if self.open { reservations::open_for(service, spec) } else { Vec::new() };
        for (id, room) in open {
            places.push((Some(id), room.min(left)));
            left -= room.min(left);
        }
        let (granted, shortage) = Claims::default().grant(service, spec, self.market, left);
        places.push((None, granted));
        match shortage {
            Some(shortage) if max - left + granted < min => {
                Err(shortage.error(service, spec, self.market))
            }
            _ => Ok(places),
        }
    }

    fn check_price(&self, service: &Service<'_>) -> Result<(), AwsError> {
        let price = prices::spot(service, self.spec.instance_type, self.spec.subnet.zone);
        match &self.price {
            Some(max) if max.dollars < price => Err(AwsError::new(
                "SpotMaxPriceTooLow",
                format!(
                    "Your Spot request price of {} is lower than the minimum required Spot \
                     request fulfillment price of {price}.",
                    max.text
                ),
            )),
            _ => Ok(()),
        }
    }

    fn launch(
        &self,
        service: &mut Service<'_>,
        now: Timestamp,
        reservation: &str,
        place: Option<&str>,
    ) -> String {
        let request = (self.market == Market::Spot).then(|| format!("sir-{}", service.ids.hex(8)));
        let order = Order {
            spec: Arc::clone(&self.spec),
            market: self.market,
            by: reservation.to_owned(),
            spot_request: request.clone(),
            reservation: Some(reservation.to_owned()),
            block: None,
            taken_back: place.and_then(|id| reservations::find(service, id).ok()?.reclaim_at()),
            tags: self.tags.clone(),
        };
        let instance = instance::launch(service, now, order);
        if let Some(request) = request {
            capacity::take_spot(service, 1);
            if !self.request_tags.is_empty() {
                service.state.tags.insert(request.clone(), self.request_tags.clone());
            }
            let (spec, price) = (Arc::clone(&self.spec), self.price.clone());
            service.state.spot.push(SpotRequest::of_launch(
                request,
                now,
                spec,
                price,
                instance.clone(),
            ));
        }
        if let Some(place) = place.and_then(|id| reservations::find_mut(service, id)) {
            place.instances.insert(instance.clone());
        }
        instance
    }
}

/// How the instances are bought, and the most that a spot instance may cost.
fn market(parameters: Option<&MarketParameters>) -> Result<(Market, Option<Price>), AwsError> {
    let Some(parameters) = parameters else { return Ok((Market::OnDemand, None)) };
    let options = &parameters.spot_options;
    match parameters.market_type.as_deref() {
        Some("capacity-block") => Ok((Market::CapacityBlock, None)),
        Some("spot") => {
            if options.block_duration_minutes.is_some() {
                let message = "BlockDurationMinutes is not a valid parameter";
                return Err(AwsError::new("InvalidParameterValue", message));
            }
            if options.spot_instance_type.as_deref().is_some_and(|kind| kind != "one-time") {
                let message =
                    "The local cloud's RunInstances launches one-time spot instances only";
                return Err(AwsError::new("UnsupportedOperation", message));
            }
            Ok((Market::Spot, options.max_price.as_deref().map(spot::price).transpose()?))
        }
        other => {
            let message = format!(
                "Value ({}) for parameter MarketType is invalid.",
                other.unwrap_or_default()
            );
            Err(AwsError::new("InvalidParameterValue", message))
        }
    }
}

/// What goes together of market, target and preference; the codes are [A].
fn check_target(
    market: Market,
    target: Option<&str>,
    preference: Option<&str>,
) -> Result<(), AwsError> {
    let combination = |message: &str| Err(AwsError::new("InvalidParameterCombination", message));
    match (market, target, preference) {
        (_, _, Some(other)) if !["open", "none", "capacity-reservations-only"].contains(&other) => {
            let message =
                format!("Value ({other}) for parameter CapacityReservationPreference is invalid.");
            Err(AwsError::new("InvalidParameterValue", message))
        }
        (_, Some(_), Some("open" | "none")) => combination(
            "CapacityReservationPreference and CapacityReservationTarget exclude each other",
        ),
        (_, None, Some("capacity-reservations-only")) => combination(
            "The local cloud's CapacityReservationPreference capacity-reservations-only needs a \
             target",
        ),
        (Market::Spot, Some(_), _) => {
            combination("Spot instances can't be launched into a capacity reservation")
        }
        (Market::CapacityBlock, None, _) => combination(
            "MarketType capacity-block needs the capacity block's reservation as \
             CapacityReservationTarget",
        ),
        _ => Ok(()),
    }
}
