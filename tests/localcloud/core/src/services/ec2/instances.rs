//! The operations on instances.

use serde_json::{Value, json};

use super::instance::{self, How, Instance, Market, State};
use super::page::{LIMITS, Selection};
use super::{Service, launch, reservations, tags, time};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// All ids have to be known, or nothing is done to any.
pub(super) fn check_ids(service: &Service<'_>, ids: &[String]) -> Result<(), AwsError> {
    if let Some(id) = ids.iter().find(|id| !id.starts_with("i-")) {
        return Err(AwsError::new("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")));
    }
    let unknown: Vec<&str> =
        ids.iter().filter(|id| service.state.instance(id).is_none()).map(String::as_str).collect();
    if unknown.is_empty() { Ok(()) } else { Err(not_found(&unknown)) }
}

fn not_found(ids: &[&str]) -> AwsError {
    let message = match ids {
        [id] => format!("The instance ID '{id}' does not exist"),
        ids => format!("The instance IDs '{}' do not exist", ids.join(", ")),
    };
    AwsError::new("InvalidInstanceID.NotFound", message)
}

/// The instances that a Describe operation asks for. Ids and MaxResults exclude each other.
fn selected<'a>(
    service: &'a Service<'_>,
    context: &Context,
    ids: &[String],
    selection: &Selection,
    passes: impl Fn(&Instance) -> bool,
) -> Result<(Vec<&'a Instance>, Option<String>), AwsError> {
    if !ids.is_empty() && selection.max_results.is_some() {
        let message = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(AwsError::new("InvalidParameterCombination", message));
    }
    check_ids(service, ids)?;
    let hidden = |instance: &&Instance| instance.shown_from > context.now;
    if let Some(young) =
        service.state.instances.iter().filter(hidden).find(|it| ids.contains(&it.id))
    {
        return Err(not_found(&[young.id.as_str()]));
    }
    let mut found = Vec::new();
    for instance in service.state.instances.iter().filter(|instance| !hidden(instance)) {
        let wanted = (ids.is_empty() || ids.contains(&instance.id)) && passes(instance);
        if wanted
            && selection.accepts(service.state.tags.get(&instance.id), |name| {
                field(service, instance, name)
            })?
        {
            found.push(instance);
        }
    }
    selection.page(found, LIMITS)
}

/// Its public address, from a network that is for documentation: nobody has it.
fn public(private: String) -> String {
    format!("203.0.113.{}", private.rsplit('.').next().unwrap_or_default())
}

/// DescribeInstances.
pub(super) fn describe(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "InstanceId")?;
    let selection = Selection::read(parameters)?;
    let (page, next) = selected(service, context, &ids, &selection, |_| true)?;
    // Those of one launch share a reservation's id; each is listed alone, as AWS may do too.
    let reservations: Vec<Value> = page
        .into_iter()
        .map(|instance| {
            let (id, owner) = (&instance.reservation, &service.options.account);
            let mut reservation = json!({ "reservationId": id, "ownerId": owner, "groupSet": [] });
            reservation["instancesSet"] = vec![instance.answer(service)].into();
            reservation
        })
        .collect();
    Ok(json!({ "reservationSet": reservations, "nextToken": next }))
}

/// DescribeInstanceStatus: running instances, unless all are asked for.
pub(super) fn describe_status(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "InstanceId")?;
    let all = query::take_flag(&mut parameters, "IncludeAllInstances")?;
    let selection = Selection::read(parameters)?;
    let (page, next) = selected(service, context, &ids, &selection, |instance| {
        all || instance.state == State::Running
    })?;
    let statuses: Vec<Value> = page
        .into_iter()
        .map(|instance| {
            let running = instance.state == State::Running;
            let (summary, reachability) = if running { ("ok", Some("passed")) } else { ("not-applicable", None) };
            let health = json!({
                "status": summary,
                "details": reachability.map(|status| json!([{ "name": "reachability", "status": status }])),
            });
            json!({
                "instanceId": instance.id,
                "availabilityZone": zone(service, instance),
                "eventsSet": [],
                "instanceState": state(instance.state),
                "systemStatus": health,
                "instanceStatus": health,
            })
        })
        .collect();
    Ok(json!({ "instanceStatusSet": statuses, "nextToken": next }))
}

/// TerminateInstances: one unknown id and none is ended.
pub(super) fn terminate(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let mut ids = query::take_list(&mut parameters, "InstanceId")?;
    for flag in ["Force", "SkipOsShutdown"] {
        query::take_flag(&mut parameters, flag)?;
    }
    Selection::read(parameters)?;
    if ids.is_empty() {
        return Err(AwsError::new(
            "MissingParameter",
            "The request must contain the parameter InstanceId",
        ));
    }
    check_ids(service, &ids)?;
    ids.sort();
    ids.dedup();
    let mut changes = Vec::new();
    for id in ids {
        let before = service.state.instance(&id).map(|instance| state(instance.state));
        instance::end(service, context.now, &id, How::Terminated);
        let after = service.state.instance(&id).map(|instance| state(instance.state));
        changes.push(json!({ "instanceId": id, "previousState": before, "currentState": after }));
    }
    Ok(json!({ "instancesSet": changes }))
}

fn state(state: State) -> Value {
    let (code, name) = state.answer();
    json!({ "code": code, "name": name })
}

fn zone(service: &Service<'_>, instance: &Instance) -> String {
    format!("{}{}", service.options.region, instance.zone())
}

/// Left out for on-demand instances.
fn life_cycle(instance: &Instance) -> Option<&'static str> {
    (instance.market != Market::OnDemand).then(|| instance.market.life_cycle())
}

/// What filters are held against.
fn field(service: &Service<'_>, instance: &Instance, name: &str) -> Option<Vec<String>> {
    let one = |value: &str| Some(vec![value.to_owned()]);
    let spec = &instance.spec;
    match name {
        "instance-id" => one(&instance.id),
        "instance-state-name" => one(instance.state.answer().1),
        "instance-state-code" => one(&instance.state.answer().0.to_string()),
        "instance-type" => one(spec.instance_type.name),
        "instance-lifecycle" => Some(life_cycle(instance).into_iter().map(str::to_owned).collect()),
        "spot-instance-request-id" => Some(instance.spot_request.iter().cloned().collect()),
        "availability-zone" => one(&zone(service, instance)),
        "image-id" => one(spec.image.id),
        "key-name" => Some(spec.key.iter().cloned().collect()),
        "subnet-id" | "network-interface.subnet-id" => one(spec.subnet.id),
        "vpc-id" | "network-interface.vpc-id" => one(spec.subnet.vpc),
        "instance.group-id" | "group-id" => {
            Some(spec.groups.iter().map(|group| group.id.to_owned()).collect())
        }
        "instance.group-name" | "group-name" => {
            Some(spec.groups.iter().map(|g| g.name.to_owned()).collect())
        }
        "iam-instance-profile.arn" => {
            Some(spec.profile.iter().map(|profile| profile.arn.clone()).collect())
        }
        "iam-instance-profile.id" => {
            Some(spec.profile.iter().map(|profile| profile.id.clone()).collect())
        }
        "iam-instance-profile.name" => {
            Some(spec.profile.iter().map(|profile| profile.name.clone()).collect())
        }
        "private-ip-address" => one(&instance.private_ip),
        "private-dns-name" => one(&instance.private_dns()),
        "launch-time" => one(&time(instance.launch_time)),
        "reservation-id" => one(&instance.reservation),
        "capacity-reservation-id" => Some(
            reservations::of_instance(service, &instance.id)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        ),
        "owner-id" => one(&service.options.account),
        "architecture" => one(spec.image.architecture),
        _ => None,
    }
}

/// Why an instance ended: the text of its transition, and AWS's code and message.
fn reason(instance: &Instance) -> Option<(String, &'static str, &'static str)> {
    let (at, how) = instance.ended?;
    let initiated = || format!("User initiated ({})", at.strftime("%Y-%m-%d %H:%M:%S GMT"));
    Some(match how {
        How::Terminated => (initiated(), "Client.UserInitiatedShutdown", "User initiated shutdown"),
        How::PowerOff => {
            (String::new(), "Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
        }
        // Nothing says how AWS shows it [A].
        How::Taken { .. } if instance.market == Market::CapacityBlock => {
            (String::new(), "Server.CapacityBlockExpired", "The capacity block has expired")
        }
        How::Taken { .. } => {
            (String::new(), "Server.SpotInstanceTermination", "Spot instance termination")
        }
        How::Vanished => (String::new(), "Server.InternalError", "Internal error"),
    })
}

impl Instance {
    pub(super) fn answer(&self, service: &Service<'_>) -> Value {
        let spec = &self.spec;
        let reason = reason(self);
        let reservation = reservations::of_instance(service, &self.id);
        // An ended instance has left the network, as at AWS.
        let placed = |value: &str| self.alive().then(|| value.to_owned());
        json!({
            "instanceId": self.id,
            "imageId": spec.image.id,
            "instanceState": state(self.state),
            "privateDnsName": placed(&self.private_dns()).unwrap_or_default(),
            "dnsName": "",
            "reason": reason.as_ref().map_or("", |(text, ..)| text.as_str()),
            "stateReason": reason.as_ref().map(|(_, code, message)| {
                json!({ "code": code, "message": format!("{code}: {message}") })
            }),
            "keyName": spec.key,
            "amiLaunchIndex": 0,
            "instanceType": spec.instance_type.name,
            "launchTime": time(self.launch_time),
            "placement": { "availabilityZone": zone(service, self), "groupName": "", "tenancy": "default" },
            "monitoring": { "state": "disabled" },
            "subnetId": placed(spec.subnet.id),
            "vpcId": placed(spec.subnet.vpc),
            "privateIpAddress": placed(&self.private_ip),
            "ipAddress": placed(&self.private_ip).filter(|_| spec.subnet.public).map(public),
            "sourceDestCheck": true,
            "groupSet": if self.alive() { launch::groups_answer(&spec.groups) } else { json!([]) },
            "architecture": spec.image.architecture,
            "rootDeviceType": "ebs",
            "rootDeviceName": "/dev/xvda",
            "blockDeviceMapping": [],
            "virtualizationType": "hvm",
            "instanceLifecycle": life_cycle(self),
            "spotInstanceRequestId": self.spot_request,
            "capacityReservationId": reservation,
            "capacityReservationSpecification": match reservation {
                Some(id) => json!({ "capacityReservationTarget": { "capacityReservationId": id } }),
                None => json!({ "capacityReservationPreference": "open" }),
            },
            "clientToken": "",
            "tagSet": tags::answer(service.state.tags.get(&self.id)),
            "hypervisor": "xen",
            "networkInterfaceSet": if self.alive() { json!([self.interface_answer(service)]) } else { json!([]) },
            "iamInstanceProfile": spec.profile.as_ref().map(|profile| json!({ "arn": profile.arn, "id": profile.id })),
            "ebsOptimized": spec.ebs_optimized(),
            "enaSupport": true,
            "cpuOptions": { "coreCount": spec.instance_type.vcpus.div_ceil(2), "threadsPerCore": 2 },
            "hibernationOptions": { "configured": false },
            "metadataOptions": spec.metadata.answer(),
        })
    }

    fn interface_answer(&self, service: &Service<'_>) -> Value {
        json!({
            "networkInterfaceId": self.interface,
            "subnetId": self.spec.subnet.id,
            "vpcId": self.spec.subnet.vpc,
            "description": "",
            "ownerId": service.options.account,
            "status": "in-use",
            "macAddress": self.mac,
            "privateIpAddress": self.private_ip,
            "sourceDestCheck": true,
            "groupSet": launch::groups_answer(&self.spec.groups),
            "attachment": {
                "attachmentId": self.interface.replacen("eni", "eni-attach", 1),
                "deviceIndex": 0,
                "status": "attached",
                "attachTime": time(self.launch_time),
                "deleteOnTermination": true,
            },
            "privateIpAddressesSet": [{ "privateIpAddress": self.private_ip, "primary": true }],
            "interfaceType": "interface",
        })
    }
}
