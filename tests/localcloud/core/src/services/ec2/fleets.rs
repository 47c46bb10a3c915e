//! Fleets of type instant: the operations. What is asked for is in `fleet_request.rs`, what is
//! launched where in `fleet_life.rs`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fleet_life::{self, Outcome, Pool};
use super::fleet_request::{Config, Override, Parameters, Target};
use super::instance::{self, How, Market, State};
use super::page::Selection;
use super::template_launch::Launch;
use super::templates::{self, Which};
use super::{Service, spot, tags, time};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// How many instant fleets one DeleteFleets takes.
const MAX_DELETED: usize = 25;

/// Above this many living instances, a fleet's deletion fails.
const MAX_TERMINATED: usize = 1000;

/// A fleet.
pub(super) struct Fleet {
    pub(super) id: String,
    created: Timestamp,
    deleted: bool,
    parameters: Parameters,
    target: Target,
    /// What the client token stands for.
    requested: Value,
    /// The templates' ids, of each of the configurations.
    templates: Vec<String>,
    groups: Vec<Group>,
    errors: Vec<Failure>,
}

/// Instances that were launched in the same way.
struct Group {
    way: Way,
    market: Market,
    instance_type: &'static str,
    weight: f64,
    instances: Vec<String>,
}

/// A pool that refused.
struct Failure {
    way: Way,
    market: Market,
    error: AwsError,
}

/// A configuration, and which of its overrides.
#[derive(Clone, Copy)]
struct Way {
    config: usize,
    over: Option<usize>,
}

/// CreateFleet, of type instant: when it answers, all is launched that will be.
pub(super) fn create(
    service: &mut Service<'_>,
    context: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let request: Parameters = query::parse(parameters.clone())?;
    if let Some(known) = known(service, &request) {
        if known.requested == parameters {
            return Ok(known.created_answer());
        }
        let message =
            "The request uses the same client token as a previous, but non-identical request.";
        return Err(AwsError::new("IdempotentParameterMismatch", message));
    }
    request.check()?;
    let target = request.target()?;
    let (spot_rules, on_demand_rules) = request.rules()?;
    let fleet_tags = tags::of_kind(&request.tag_specification, "fleet")?;
    let mut fleet = Fleet {
        id: format!("fleet-{}", service.ids.uuid()),
        created: context.now,
        deleted: false,
        templates: Vec::new(),
        groups: Vec::new(),
        errors: Vec::new(),
        requested: parameters,
        parameters: request,
        target,
    };
    for (market, units, rules) in [
        (Market::OnDemand, target.on_demand, on_demand_rules),
        (Market::Spot, target.spot, spot_rules),
    ] {
        // Even for nothing, so that what can't be found is refused before anything is launched.
        let (ways, pools) = fleet.pools(service, context, market)?;
        if units > 0 {
            let outcome =
                fleet_life::fulfill(service, context.now, &fleet.id, market, &pools, &rules, units);
            fleet.note(market, &ways, &pools, outcome);
        }
    }
    if !fleet_tags.is_empty() {
        service.state.tags.insert(fleet.id.clone(), fleet_tags);
    }
    let answer = fleet.created_answer();
    service.state.fleets.push(fleet);
    Ok(answer)
}

fn known<'a>(service: &'a Service<'_>, request: &Parameters) -> Option<&'a Fleet> {
    let token = request.client_token.as_ref()?;
    service.state.fleets.iter().find(|fleet| fleet.parameters.client_token.as_ref() == Some(token))
}

impl Fleet {
    /// All ways to launch for this market.
    fn pools(
        &mut self,
        service: &Service<'_>,
        context: &Context,
        market: Market,
    ) -> Result<(Vec<Way>, Vec<Pool>), AwsError> {
        self.templates.clear();
        let (mut ways, mut pools) = (Vec::new(), Vec::new());
        for (config, Config { launch_template_specification: named, overrides }) in
            self.parameters.launch_template_configs.iter().enumerate()
        {
            let which = Which {
                id: named.launch_template_id.clone(),
                name: named.launch_template_name.clone(),
            };
            let (template, version) =
                templates::to_launch(service, context, &which, named.version.as_deref())?;
            let launch = Launch::read(template.versions[version - 1].requested.clone())?;
            self.templates.push(template.id.clone());
            let none = [Override::default()];
            let listed = if overrides.is_empty() { &none[..] } else { overrides };
            for (number, over) in listed.iter().enumerate() {
                ways.push(Way { config, over: (!overrides.is_empty()).then_some(number) });
                pools.push(self.pool(
                    service,
                    context.now,
                    market,
                    (&template.id, version),
                    launch.clone(),
                    over,
                )?);
            }
        }
        Ok((ways, pools))
    }

    fn pool(
        &self,
        service: &Service<'_>,
        now: Timestamp,
        market: Market,
        (template, version): (&str, usize),
        mut launch: Launch,
        over: &Override,
    ) -> Result<Pool, AwsError> {
        let mut own = [
            tags::of_kind(&launch.tags, "instance")?,
            tags::of_kind(&launch.tags, "spot-instances-request")?,
        ];
        // The fleet's tags and the template's come together.
        for (kind, tags) in ["instance", "spot-instances-request"].iter().zip(&mut own) {
            tags.extend(tags::of_kind(&self.parameters.tag_specification, kind)?);
        }
        let [mut tags, request_tags] = own;
        tags.insert("aws:ec2launchtemplate:id".to_owned(), template.to_owned());
        tags.insert("aws:ec2launchtemplate:version".to_owned(), version.to_string());
        let Override { image_id, instance_type, subnet_id, availability_zone, .. } = over;
        launch.parameters.override_with(
            image_id.as_ref(),
            instance_type.as_ref(),
            subnet_id.as_ref(),
            availability_zone.as_ref(),
        );
        let refused = if market != Market::Spot && !request_tags.is_empty() {
            Some(
                "You cannot specify tags for Spot instances requests if there are no Spot \
                 instances requests being created by the request.",
            )
        } else if launch.market.is_some() {
            // The code and the wording are [A].
            Some("A launch template with InstanceMarketOptions can't be used in a fleet")
        } else if launch.reservation().is_some() {
            // That CreateFleet takes no such template is known from ParallelCluster; code and
            // wording are [A].
            Some("A launch template with a CapacityReservationId can't be used in a fleet")
        } else {
            None
        };
        let spec = match refused {
            Some(message) => Err(AwsError::new("InvalidParameterValue", message)),
            None => launch.resolve(service, now).map(Into::into),
        };
        Ok(Pool {
            spec,
            max_price: over.max_price.as_deref().map(spot::price).transpose()?,
            weight: over.weighted_capacity.unwrap_or(1.0),
            priority: over.priority,
            tags,
            request_tags,
        })
    }

    /// Writes down what came of a market's target.
    fn note(&mut self, market: Market, ways: &[Way], pools: &[Pool], outcome: Outcome) {
        for (pool, instances) in outcome.launched {
            let Ok(spec) = &pools[pool].spec else { continue };
            let (instance_type, weight) = (spec.instance_type.name, pools[pool].weight);
            self.groups.push(Group { way: ways[pool], market, instance_type, weight, instances });
        }
        for (pool, error) in outcome.errors {
            self.errors.push(Failure { way: ways[pool], market, error });
        }
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().flat_map(|group| &group.instances)
    }

    fn template(&self, config: usize) -> Value {
        let version = self.parameters.launch_template_configs[config]
            .launch_template_specification
            .version
            .as_deref();
        json!({ "launchTemplateId": self.templates[config], "version": version })
    }

    fn way(&self, way: Way) -> Value {
        let overrides = &self.parameters.launch_template_configs[way.config].overrides;
        json!({
            "launchTemplateSpecification": self.template(way.config),
            "overrides": way.over.map(|number| overrides[number].answer()).unwrap_or_else(|| json!({})),
        })
    }

    fn instances_answer(&self) -> Value {
        let group = |group: &Group| {
            json!({
                "launchTemplateAndOverrides": self.way(group.way),
                "lifecycle": group.market.life_cycle(),
                "instanceIds": group.instances,
                "instanceType": group.instance_type,
            })
        };
        self.groups.iter().map(group).collect()
    }

    fn errors_answer(&self) -> Value {
        let failure = |failure: &Failure| {
            json!({
                "launchTemplateAndOverrides": self.way(failure.way),
                "lifecycle": failure.market.life_cycle(),
                "errorCode": failure.error.code,
                "errorMessage": failure.error.message,
            })
        };
        self.errors.iter().map(failure).collect()
    }

    fn created_answer(&self) -> Value {
        json!({
            "fleetId": self.id,
            "errorSet": self.errors_answer(),
            "fleetInstanceSet": self.instances_answer(),
        })
    }

    fn state(&self, service: &Service<'_>) -> &'static str {
        let lives = |id: &String| {
            service.state.instance(id).is_some_and(|it| it.state != State::Terminated)
        };
        match self.deleted {
            false => "active",
            true if self.instances().any(lives) => "deleted_terminating",
            true => "deleted",
        }
    }

    fn fulfilled(&self, market: Option<Market>) -> f64 {
        let groups =
            self.groups.iter().filter(|group| market.is_none_or(|market| market == group.market));
        groups.map(|group| group.weight * group.instances.iter().map(|_| 1.0).sum::<f64>()).sum()
    }

    fn answer(&self, service: &Service<'_>) -> Value {
        let Target { total, on_demand, spot, default } = self.target;
        let configs = self.parameters.launch_template_configs.iter().enumerate();
        let configs: Vec<Value> = configs
            .map(|(number, config)| {
                let overrides: Vec<Value> = config.overrides.iter().map(Override::answer).collect();
                json!({ "launchTemplateSpecification": self.template(number), "overrides": overrides })
            })
            .collect();
        json!({
            "activityStatus": "fulfilled",
            "createTime": time(self.created),
            "fleetId": self.id,
            "fleetState": self.state(service),
            "clientToken": self.parameters.client_token,
            "fulfilledCapacity": self.fulfilled(None),
            "fulfilledOnDemandCapacity": self.fulfilled(Some(Market::OnDemand)),
            "launchTemplateConfigs": configs,
            "targetCapacitySpecification": {
                "totalTargetCapacity": total,
                "onDemandTargetCapacity": on_demand,
                "spotTargetCapacity": spot,
                "defaultTargetCapacityType": default.life_cycle(),
            },
            "terminateInstancesWithExpiration": false,
            "type": "instant",
            "replaceUnhealthyInstances": false,
            "spotOptions": self.parameters.spot_options(),
            "onDemandOptions": self.parameters.on_demand_options(),
            "tagSet": tags::answer(service.state.tags.get(&self.id)),
            "errorSet": self.errors_answer(),
            "fleetInstanceSet": self.instances_answer(),
        })
    }

    fn field(&self, service: &Service<'_>, name: &str) -> Option<Vec<String>> {
        let one = |value: &str| Some(vec![value.to_owned()]);
        match name {
            "activity-status" => one("fulfilled"),
            "excess-capacity-termination-policy" | "replace-unhealthy-instances" => one("false"),
            // The filter's values have hyphens where the answer's have not.
            "fleet-state" => {
                Some(vec![self.state(service).to_owned(), self.state(service).replace('_', "-")])
            }
            "type" => one("instant"),
            _ => None,
        }
    }
}

fn find<'a>(service: &'a Service<'_>, id: &str) -> Result<&'a Fleet, AwsError> {
    if !id.starts_with("fleet-") {
        return Err(AwsError::new(
            "InvalidFleetId.Malformed",
            format!("The fleet ID '{id}' is malformed"),
        ));
    }
    let found = service.state.fleets.iter().find(|fleet| fleet.id == id);
    found.ok_or_else(|| {
        AwsError::new("InvalidFleetId.NotFound", format!("The fleet ID '{id}' does not exist"))
    })
}

/// DescribeFleets. Fleets of type instant are shown only to who asks by their ids.
pub(super) fn describe(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "FleetId")?;
    let selection = Selection::read(parameters)?;
    for id in &ids {
        find(service, id)?;
    }
    let mut found = Vec::new();
    for fleet in service.state.fleets.iter().filter(|fleet| ids.contains(&fleet.id)) {
        if selection
            .accepts(service.state.tags.get(&fleet.id), |name| fleet.field(service, name))?
        {
            found.push(fleet.answer(service));
        }
    }
    let (page, next) = selection.page(found, 1..=1000)?;
    Ok(json!({ "fleetSet": page, "nextToken": next }))
}

/// DescribeFleetInstances, which AWS has for fleets of the other types only; its code for an
/// instant one is [A].
pub(super) fn describe_instances(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let id = query::take(&mut parameters, "FleetId").map(query::parse::<String>).transpose()?;
    Selection::read(parameters)?;
    let id = id.ok_or_else(|| {
        AwsError::new("MissingParameter", "The request must contain the parameter FleetId")
    })?;
    let fleet = find(service, &id)?;
    let message = format!(
        "DescribeFleetInstances does not support fleets of type instant, such as {}. Use \
         DescribeFleets.",
        fleet.id
    );
    Err(AwsError::new("UnsupportedOperation", message))
}

/// DeleteFleets. Instant fleets take their instances with them.
pub(super) fn delete(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "FleetId")?;
    let missing = |name: &str| {
        AwsError::new("MissingParameter", format!("The request must contain the parameter {name}"))
    };
    if ids.is_empty() {
        return Err(missing("FleetId"));
    }
    if parameters.get("TerminateInstances").is_none() {
        return Err(missing("TerminateInstances"));
    }
    let terminate = query::take_flag(&mut parameters, "TerminateInstances")?;
    Selection::read(parameters)?;
    let known = ids.iter().filter(|id| find(service, id).is_ok()).count();
    if known > MAX_DELETED {
        // The code is [A].
        let message = format!(
            "Up to {MAX_DELETED} fleets of type instant can be deleted in a single request."
        );
        return Err(AwsError::new("InvalidParameterValue", message));
    }
    if known > 0 && !terminate {
        let message = "NoTerminateInstances option is not supported for instant fleet";
        return Err(AwsError::new("NoTerminateInstancesNotSupported", message));
    }
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for id in ids {
        match delete_one(service, context.now, &id) {
            Ok((before, after)) => {
                done.push(json!({ "fleetId": id, "currentFleetState": after, "previousFleetState": before }));
            }
            Err((code, message)) => {
                failed
                    .push(json!({ "fleetId": id, "error": { "code": code, "message": message } }));
            }
        }
    }
    Ok(json!({ "successfulFleetDeletionSet": done, "unsuccessfulFleetDeletionSet": failed }))
}

/// The states before and after, or the code and the message of the refusal.
fn delete_one(
    service: &mut Service<'_>,
    now: Timestamp,
    id: &str,
) -> Result<(&'static str, &'static str), (&'static str, String)> {
    let fleet = find(service, id).map_err(|error| {
        let malformed = error.code.ends_with("Malformed");
        (if malformed { "fleetIdMalformed" } else { "fleetIdDoesNotExist" }, error.message)
    })?;
    if fleet.deleted {
        return Err(("fleetNotInDeletableState", format!("The fleet '{id}' is deleted already")));
    }
    let before = fleet.state(service);
    let living =
        |id: &&String| service.state.instance(id).is_some_and(|it| it.state != State::Terminated);
    let living: Vec<String> = fleet.instances().filter(living).cloned().collect();
    if living.len() > MAX_TERMINATED {
        let message = format!("The fleet '{id}' has more than {MAX_TERMINATED} instances");
        return Err(("unexpectedError", message));
    }
    for instance in &living {
        instance::end(service, now, instance, How::Terminated);
    }
    if let Some(fleet) = service.state.fleets.iter_mut().find(|fleet| fleet.id == id) {
        fleet.deleted = true;
    }
    Ok((before, find(service, id).map_or("deleted", |fleet| fleet.state(service))))
}
