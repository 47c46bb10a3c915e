//! Spot requests: the operations on them, and AWS's checks. What becomes of a request is in
//! `spot_life.rs`.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::capacity::{self, Claims, Shortage};
use super::instance::Market;
use super::launch::{LaunchParameters, LaunchSpec};
use super::page::{LIMITS, Selection};
use super::prices::{self, dollars};
use super::tags::{self, TagSpecification};
use super::{Service, millis, time};
use crate::protocol::options::SpotBlock;
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

pub(super) use super::spot_life::{Status, instance_ended, marked_for_termination};

/// How long a request without ValidUntil stays open.
const DEFAULT_VALIDITY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// EC2's limit for a client token, in characters.
const MAX_TOKEN: usize = 64;

/// A request's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Active,
    Closed,
    Cancelled,
    Failed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Active => "active",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// A spot request.
#[derive(Clone, Debug)]
pub(super) struct SpotRequest {
    pub(super) id: String,
    pub(super) created: Timestamp,
    pub(super) state: State,
    pub(super) status: Status,
    /// When the status was taken.
    pub(super) updated: Timestamp,
    /// When the next step of an open request is due; a holding one has none.
    pub(super) due: Option<Timestamp>,
    pub(super) price: Option<Price>,
    pub(super) block: Option<SignedDuration>,
    pub(super) persistent: bool,
    pub(super) valid_from: Option<Timestamp>,
    pub(super) valid_until: Timestamp,
    pub(super) spec: Arc<LaunchSpec>,
    pub(super) instance: Option<String>,
    launch_group: Option<String>,
    zone_group: Option<String>,
    interruption: String,
}

/// A price as it was written, and what it comes to in dollars an hour.
#[derive(Clone, Debug)]
pub(super) struct Price {
    pub(super) text: String,
    pub(super) dollars: f64,
}

/// What a client token stands for.
pub(super) struct Token {
    token: String,
    parameters: Value,
    requests: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Parameters {
    spot_price: Option<String>,
    client_token: Option<String>,
    #[serde(default, deserialize_with = "query::text")]
    instance_count: Option<u32>,
    r#type: Option<String>,
    #[serde(default, deserialize_with = "query::text")]
    valid_from: Option<Timestamp>,
    #[serde(default, deserialize_with = "query::text")]
    valid_until: Option<Timestamp>,
    launch_group: Option<String>,
    availability_zone_group: Option<String>,
    #[serde(default, deserialize_with = "query::text")]
    block_duration_minutes: Option<i64>,
    instance_interruption_behavior: Option<String>,
    #[serde(default)]
    launch_specification: LaunchParameters,
    #[serde(default)]
    tag_specification: Vec<TagSpecification>,
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidParameterValue", message)
}

/// RequestSpotInstances.
pub(super) fn request(
    service: &mut Service<'_>,
    context: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let request: Parameters = query::parse(parameters.clone())?;
    if let Some(ids) = answered_before(service, &request, &parameters)? {
        return Ok(
            json!({ "spotInstanceRequestSet": answers(service, |spot| ids.contains(&spot.id)) }),
        );
    }
    let ids = create(service, context.now, request, parameters)?;
    Ok(json!({ "spotInstanceRequestSet": answers(service, |spot| ids.contains(&spot.id)) }))
}

/// The requests that the client token brought already.
fn answered_before(
    service: &Service<'_>,
    request: &Parameters,
    parameters: &Value,
) -> Result<Option<Vec<String>>, AwsError> {
    let Some(token) = &request.client_token else { return Ok(None) };
    if token.is_empty() || token.chars().count() > MAX_TOKEN || !token.is_ascii() {
        let message = "The specified client token is not valid. Token length should be between 1 \
                       and 64 ASCII characters.";
        return Err(AwsError::new("InvalidClientToken", message));
    }
    match service.state.spot_tokens.iter().find(|known| known.token == *token) {
        None => Ok(None),
        Some(known) if known.parameters == *parameters => Ok(Some(known.requests.clone())),
        Some(_) => Err(AwsError::new(
            "IdempotentParameterMismatch",
            "The request uses the same client token as a previous, but non-identical request.",
        )),
    }
}

fn create(
    service: &mut Service<'_>,
    now: Timestamp,
    request: Parameters,
    parameters: Value,
) -> Result<Vec<String>, AwsError> {
    let block = check_block(service, &request)?;
    let price = request.spot_price.as_deref().map(price).transpose()?;
    let persistent = match request.r#type.as_deref() {
        None | Some("one-time") => false,
        Some("persistent") => true,
        Some(other) => {
            return Err(invalid(format!("Value ({other}) for parameter type is invalid.")));
        }
    };
    let interruption = interruption_behavior(&request, persistent)?;
    check_times(&request, now)?;
    let count = request.instance_count.unwrap_or(1);
    if count == 0 {
        return Err(invalid(
            "Value (0) for parameter instanceCount is invalid. Expecting a value greater than 0.",
        ));
    }
    let tags = tags::of_specifications(&request.tag_specification, "spot-instances-request")?;
    let spec = Arc::new(request.launch_specification.resolve(service, now)?);
    check_room(service, &spec, count)?;
    let mut ids = Vec::new();
    for _ in 0..count {
        let id = format!("sir-{}", service.ids.hex(8));
        if !tags.is_empty() {
            service.state.tags.insert(id.clone(), tags.clone());
        }
        let mut spot = SpotRequest {
            id: id.clone(),
            created: now,
            state: State::Open,
            status: Status::PendingEvaluation,
            updated: now,
            due: None,
            price: price.clone(),
            block,
            persistent,
            valid_from: request.valid_from,
            valid_until: request.valid_until.unwrap_or(now + DEFAULT_VALIDITY),
            spec: spec.clone(),
            instance: None,
            launch_group: request.launch_group.clone(),
            zone_group: request.availability_zone_group.clone(),
            interruption: interruption.clone(),
        };
        spot.begin(now, &service.options.pace);
        service.state.spot.push(spot);
        ids.push(id);
    }
    if let Some(token) = request.client_token {
        service.state.spot_tokens.push(Token { token, parameters, requests: ids.clone() });
    }
    Ok(ids)
}

/// What AWS refuses at once: more than the account's quota, open requests counted, and types that a
/// zone doesn't have.
fn check_room(service: &Service<'_>, spec: &LaunchSpec, count: u32) -> Result<(), AwsError> {
    if !spec.instance_type.is_offered(spec.subnet.zone) {
        return Err(capacity::not_offered("Unsupported", service, spec));
    }
    let mut claims = Claims::default();
    for open in service.state.spot.iter().filter(|spot| spot.state == State::Open) {
        claims.add(&open.spec, Market::Spot, 1);
    }
    match claims.grant(service, spec, Market::Spot, count).1 {
        Some(Shortage::Quota) => Err(Shortage::Quota.error(service, spec, Market::Spot)),
        // A request waits for capacity.
        Some(Shortage::Capacity) | None => Ok(()),
    }
}

/// The rules of a request with a duration. What AWS answered when it broke one is known by its
/// code; but for the refusal of today, the wording is ours [A].
fn check_block(
    service: &Service<'_>,
    request: &Parameters,
) -> Result<Option<SignedDuration>, AwsError> {
    let Some(minutes) = request.block_duration_minutes else { return Ok(None) };
    if service.options.spot_block == SpotBlock::Refuse {
        return Err(invalid("BlockDurationMinutes is not a valid parameter"));
    }
    if !(60..=360).contains(&minutes) || minutes % 60 != 0 {
        return Err(invalid(format!(
            "Value ({minutes}) for parameter blockDurationMinutes is invalid. Valid values are \
             60, 120, 180, 240, 300 and 360."
        )));
    }
    let excluded = [
        (request.availability_zone_group.is_some(), "availabilityZoneGroup"),
        (request.launch_group.is_some(), "launchGroup"),
    ];
    if let Some((_, name)) = excluded.iter().find(|(given, _)| *given) {
        let message =
            format!("The parameter {name} cannot be used with the parameter blockDurationMinutes");
        return Err(AwsError::new("InvalidParameterCombination", message));
    }
    if request
        .instance_interruption_behavior
        .as_deref()
        .is_some_and(|behavior| behavior != "terminate")
    {
        let message = "Only terminate can be the instance interruption behavior of a request \
                       with blockDurationMinutes";
        return Err(AwsError::new("InvalidParameterCombination", message));
    }
    Ok(Some(SignedDuration::from_mins(minutes)))
}

/// A price is a positive decimal number.
pub(super) fn price(text: &str) -> Result<Price, AwsError> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let dollars = text.parse::<f64>().ok().filter(|dollars| plain && *dollars > 0.0);
    dollars.map(|dollars| Price { text: text.to_owned(), dollars }).ok_or_else(|| {
        invalid(format!(
            "Value ({text}) for parameter price is invalid. \"{text}\" is an invalid \
                         spot instance price"
        ))
    })
}

fn interruption_behavior(request: &Parameters, persistent: bool) -> Result<String, AwsError> {
    match request.instance_interruption_behavior.as_deref() {
        None | Some("terminate") => Ok("terminate".to_owned()),
        Some(other @ ("stop" | "hibernate")) if persistent => Ok(other.to_owned()),
        Some(other @ ("stop" | "hibernate")) => Err(AwsError::new(
            "InvalidParameterCombination",
            format!("The instance interruption behavior {other} is only for persistent requests"),
        )),
        Some(other) => Err(invalid(format!(
            "Value ({other}) for parameter instanceInterruptionBehavior is invalid."
        ))),
    }
}

/// [A] on the code: that AWS refuses them is certain.
fn check_times(request: &Parameters, now: Timestamp) -> Result<(), AwsError> {
    if request.valid_until.is_some_and(|until| until <= now) {
        return Err(AwsError::new("InvalidTime", "The specified validUntil time is in the past."));
    }
    if let (Some(from), Some(until)) = (request.valid_from, request.valid_until)
        && from >= until
    {
        return Err(AwsError::new(
            "InvalidTimeRange",
            "The validUntil time must be later than the validFrom time.",
        ));
    }
    Ok(())
}

/// DescribeSpotInstanceRequests.
pub(super) fn describe(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "SpotInstanceRequestId")?;
    let selection = Selection::read(parameters)?;
    check_ids(service, &ids, Some(context.now))?;
    let mut found = Vec::new();
    for spot in &service.state.spot {
        let wanted =
            (ids.is_empty() || ids.contains(&spot.id)) && visible(service, spot, context.now);
        if wanted
            && selection
                .accepts(service.state.tags.get(&spot.id), |name| field(service, spot, name))?
        {
            found.push(spot.answer(service));
        }
    }
    let (page, next) = selection.page(found, LIMITS)?;
    Ok(json!({ "spotInstanceRequestSet": page, "nextToken": next }))
}

/// Right after its creation a request can be unknown to whoever describes it.
fn visible(service: &Service<'_>, spot: &SpotRequest, now: Timestamp) -> bool {
    now >= spot.created + millis(service.options.pace.consistency_ms)
}

/// All ids have to be known; with a time, known to whoever asks at that time.
fn check_ids(service: &Service<'_>, ids: &[String], at: Option<Timestamp>) -> Result<(), AwsError> {
    for id in ids {
        if !id.starts_with("sir-") {
            let message = format!("Invalid id: \"{id}\" (expecting \"sir-...\")");
            return Err(AwsError::new("InvalidSpotInstanceRequestID.Malformed", message));
        }
        let found = service.state.spot.iter().find(|spot| spot.id == *id);
        if found.is_none_or(|spot| at.is_some_and(|at| !visible(service, spot, at))) {
            let message = format!("The spot instance request ID '{id}' does not exist");
            return Err(AwsError::new("InvalidSpotInstanceRequestID.NotFound", message));
        }
    }
    Ok(())
}

/// What filters are held against.
fn field(service: &Service<'_>, spot: &SpotRequest, name: &str) -> Option<Vec<String>> {
    let one = |value: &str| Some(vec![value.to_owned()]);
    let zone = || format!("{}{}", service.options.region, spot.spec.subnet.zone);
    match name {
        "spot-instance-request-id" => one(&spot.id),
        "state" => one(spot.state.name()),
        "status-code" => one(spot.status.code()),
        "type" => one(if spot.persistent { "persistent" } else { "one-time" }),
        "instance-id" => Some(spot.instance.iter().cloned().collect()),
        "spot-price" => Some(spot.price.iter().map(|price| price.text.clone()).collect()),
        "launch-group" => Some(spot.launch_group.iter().cloned().collect()),
        "availability-zone-group" => Some(spot.zone_group.iter().cloned().collect()),
        "create-time" => one(&time(spot.created)),
        "valid-from" => Some(spot.valid_from.map(time).into_iter().collect()),
        "valid-until" => one(&time(spot.valid_until)),
        "product-description" => one("Linux/UNIX"),
        "launch.image-id" => one(spot.spec.image.id),
        "launch.instance-type" => one(spot.spec.instance_type.name),
        "launch.key-name" => Some(spot.spec.key.iter().cloned().collect()),
        "launch.group-id" => {
            Some(spot.spec.groups.iter().map(|group| group.id.to_owned()).collect())
        }
        "network-interface.subnet-id" => one(spot.spec.subnet.id),
        "launched-availability-zone" => Some(spot.instance.iter().map(|_| zone()).collect()),
        _ => None,
    }
}

/// CancelSpotInstanceRequests. It doesn't end what the requests brought.
pub(super) fn cancel(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids: HashSet<String> =
        query::take_list(&mut parameters, "SpotInstanceRequestId")?.into_iter().collect();
    let Selection { .. } = Selection::read(parameters)?;
    if ids.is_empty() {
        let message = "The request must contain the parameter SpotInstanceRequestId";
        return Err(AwsError::new("MissingParameter", message));
    }
    let listed: Vec<String> = ids.iter().cloned().collect();
    check_ids(service, &listed, None)?;
    let mut cancelled = Vec::new();
    for spot in service.state.spot.iter_mut().filter(|spot| ids.contains(&spot.id)) {
        spot.cancel(context.now);
        cancelled.push(json!({ "spotInstanceRequestId": spot.id, "state": spot.state.name() }));
    }
    Ok(json!({ "spotInstanceRequestSet": cancelled }))
}

fn answers(service: &Service<'_>, wanted: impl Fn(&SpotRequest) -> bool) -> Vec<Value> {
    service.state.spot.iter().filter(|spot| wanted(spot)).map(|spot| spot.answer(service)).collect()
}

impl SpotRequest {
    /// The request that a launch from a fleet or by RunInstances makes: one-time, and fulfilled at
    /// once.
    pub(super) fn of_launch(
        id: String,
        now: Timestamp,
        spec: Arc<LaunchSpec>,
        price: Option<Price>,
        instance: String,
    ) -> Self {
        Self {
            id,
            created: now,
            state: State::Active,
            status: Status::Fulfilled,
            updated: now,
            due: None,
            price,
            block: None,
            persistent: false,
            valid_from: None,
            valid_until: now + DEFAULT_VALIDITY,
            spec,
            instance: Some(instance),
            launch_group: None,
            zone_group: None,
            interruption: "terminate".to_owned(),
        }
    }

    fn answer(&self, service: &Service<'_>) -> Value {
        let options = &service.options;
        let zone = format!("{}{}", options.region, self.spec.subnet.zone);
        let spot_price = prices::spot(service, self.spec.instance_type, self.spec.subnet.zone);
        // Without a price of their own, requests pay up to the on-demand price.
        let price = self.price.as_ref().map_or_else(
            || dollars(prices::on_demand(self.spec.instance_type)),
            |price| price.text.clone(),
        );
        json!({
            "spotInstanceRequestId": self.id,
            "spotPrice": price,
            "type": if self.persistent { "persistent" } else { "one-time" },
            "state": self.state.name(),
            "status": {
                "code": self.status.code(),
                "updateTime": time(self.updated),
                "message": self.status.message(self.price.as_ref().map(|price| price.text.as_str()), spot_price),
            },
            "availabilityZoneGroup": self.zone_group,
            "launchGroup": self.launch_group,
            "launchSpecification": self.spec.answer(),
            "instanceId": self.instance,
            "createTime": time(self.created),
            "productDescription": "Linux/UNIX",
            "tagSet": tags::answer(service.state.tags.get(&self.id)),
            "validFrom": self.valid_from.map(time),
            "validUntil": time(self.valid_until),
            "launchedAvailabilityZone": self.instance.as_ref().map(|_| zone),
            "instanceInterruptionBehavior": self.interruption,
            "blockDurationMinutes": self.block.map(|length| length.as_mins()),
            "actualBlockHourlyPrice":
                self.block.and(self.instance.as_ref()).map(|_| dollars(spot_price)),
        })
    }
}
