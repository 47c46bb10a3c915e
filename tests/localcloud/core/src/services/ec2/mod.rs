//! EC2: spot requests, instances, tags, launch templates, and what an account has to launch into.
//!
//! - `account.rs`: what the example account holds
//! - `launch.rs`: launch parameters and AWS's checks on them
//! - `spot.rs`, `spot_life.rs`: spot requests, and what becomes of them
//! - `instance.rs`: an instance's life; `instances.rs`: the operations on them
//! - `templates.rs`, `versions.rs`, `template_launch.rs`: launch templates, and what a launch from
//!   one comes to
//! - `fleets.rs`, `fleet_request.rs`, `fleet_life.rs`: fleets: the operations, what is asked for,
//!   where it is launched
//! - `run.rs`: RunInstances; `reservations.rs`, `capacity_blocks.rs`: capacity that is held for it
//! - `types.rs`, `prices.rs`, `capacity.rs`: the types on offer, what they cost, how many are left;
//!   `offers.rs`: the operations that tell of types and prices
//! - `console.rs`, `routes.rs`: what shows why an instance doesn't come up
//! - `network.rs`, `tags.rs`: the other operations
//! - `page.rs`: filters and pages, for all of them

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::journal::Journal;
use crate::protocol::ids::Ids;
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context, Handled, Options, Request};
use crate::services::iam::Iam;

mod account;
mod capacity;
mod capacity_blocks;
mod console;
mod fleet_life;
mod fleet_request;
mod fleets;
mod instance;
mod instances;
mod launch;
mod network;
mod offers;
mod page;
mod prices;
mod reservations;
mod routes;
mod run;
mod spot;
mod spot_life;
mod tags;
mod template_launch;
mod templates;
#[cfg(test)]
mod tests;
mod types;
mod versions;

pub(crate) use account::ECS_IMAGES;
pub use instance::{Instance, Market, State};
pub(crate) use prices::on_demand as on_demand_price;
pub(crate) use types::InstanceType;

/// EC2 at work: its state, and what it shares with the other services or looks up there.
pub(crate) struct Service<'a> {
    /// Changed as well: what is launched takes of the spot capacity.
    pub(crate) options: &'a mut Options,
    pub(crate) ids: &'a mut Ids,
    pub(crate) journal: &'a mut Journal,
    pub(crate) iam: &'a Iam,
    pub(crate) state: &'a mut Ec2,
}

/// EC2's state.
#[derive(Default)]
pub(crate) struct Ec2 {
    /// In the order of their launch.
    instances: Vec<Instance>,
    /// In the order of their creation.
    spot: Vec<spot::SpotRequest>,
    spot_tokens: Vec<spot::Token>,
    templates: Vec<templates::LaunchTemplate>,
    /// In the order of their creation.
    fleets: Vec<fleets::Fleet>,
    /// Of both kinds, in the order of their creation.
    reservations: Vec<reservations::Reservation>,
    /// Capacity blocks and extensions that were offered and not bought.
    offerings: Vec<capacity_blocks::Offering>,
    run_tokens: Vec<run::Token>,
    /// Of any resource, by its id.
    tags: BTreeMap<String, tags::Tags>,
    /// What hosts showed on their consoles beside what every boot shows, by the instance.
    consoles: BTreeMap<String, Vec<String>>,
    /// How many instances were ever launched.
    launched: u32,
}

impl Ec2 {
    /// An instance, while it can be described.
    #[must_use]
    pub(crate) fn instance(&self, id: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.id == id)
    }

    /// The instance's place in the order of all launches, from 1.
    pub(crate) fn number(&self, id: &str) -> Option<usize> {
        self.instance(id).map(|instance| instance.number)
    }

    /// All instances that can be described.
    #[must_use]
    pub(crate) fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The tags of everything that has any, by its id.
    #[must_use]
    pub(crate) fn all_tags(&self) -> &BTreeMap<String, BTreeMap<String, String>> {
        &self.tags
    }

    /// The tags of an instance or anything else, in the order of their keys.
    pub(crate) fn tags_of(&self, id: &str) -> Vec<(String, String)> {
        let tags = self.tags.get(id).into_iter().flatten();
        tags.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// What ARNs call things of this id's kind, if there is one of this id that can carry tags.
    pub(crate) fn kind_of(&self, id: &str) -> Option<&'static str> {
        tags::resource_type(self, id).ok()
    }

    /// The id of the launch template that parameters name, and the data of the version that they
    /// name, or of the first.
    pub(crate) fn template_asked(&self, parameters: &Value) -> Option<(String, Value)> {
        templates::asked(self, parameters)
    }

    /// A line on a host's console.
    pub(crate) fn console_says(&mut self, id: &str, line: &str) {
        self.consoles.entry(id.to_owned()).or_default().push(line.to_owned());
    }

    /// AWS recommends to leave the instance.
    pub(crate) fn rebalance(&mut self, now: Timestamp, id: &str) {
        if let Some(instance) = self.instance_mut(id).filter(|instance| instance.alive()) {
            instance.rebalance.get_or_insert(now);
        }
    }

    fn instance_mut(&mut self, id: &str) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|instance| instance.id == id)
    }
}

pub(crate) fn handle(service: &mut Service<'_>, context: &Context, request: &Request) -> Handled {
    query::handle("ec2", context, request, |action, parameters| {
        operation(service, context, action, parameters)
    })
}

type Operation = fn(&mut Service<'_>, &Context, Value) -> Result<Value, AwsError>;

fn operation(
    service: &mut Service<'_>,
    context: &Context,
    action: &str,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let run: Operation = match action {
        "RequestSpotInstances" => spot::request,
        "DescribeSpotInstanceRequests" => spot::describe,
        "CancelSpotInstanceRequests" => spot::cancel,
        "DescribeInstances" => instances::describe,
        "DescribeInstanceStatus" => instances::describe_status,
        "TerminateInstances" => instances::terminate,
        "CreateTags" => tags::create,
        "DeleteTags" => tags::delete,
        "DescribeTags" => tags::describe,
        "DescribeSubnets" => network::subnets,
        "DescribeVpcs" => network::vpcs,
        "DescribeRouteTables" => routes::describe,
        "GetConsoleOutput" => console::get,
        "DescribeSecurityGroups" => network::security_groups,
        "DescribeKeyPairs" => network::key_pairs,
        "DescribeImages" => network::images,
        "DescribeInstanceTypes" => offers::instance_types,
        "DescribeInstanceTypeOfferings" => offers::instance_type_offerings,
        "DescribeAvailabilityZones" => network::availability_zones,
        "DescribeSpotPriceHistory" => offers::spot_price_history,
        "CreateLaunchTemplate" => templates::create,
        "DescribeLaunchTemplates" => templates::describe,
        "CreateLaunchTemplateVersion" => versions::create,
        "DescribeLaunchTemplateVersions" => versions::describe,
        "DeleteLaunchTemplate" => templates::delete,
        "RunInstances" => run::run,
        "CreateCapacityReservation" => reservations::create,
        "DescribeCapacityReservations" => reservations::describe,
        "ModifyCapacityReservation" => reservations::modify,
        "CancelCapacityReservation" => reservations::cancel,
        "DescribeCapacityBlockOfferings" => capacity_blocks::offerings,
        "PurchaseCapacityBlock" => capacity_blocks::purchase,
        "DescribeCapacityBlocks" => capacity_blocks::describe,
        "DescribeCapacityBlockExtensionOfferings" => capacity_blocks::extension_offerings,
        "PurchaseCapacityBlockExtension" => capacity_blocks::purchase_extension,
        "DescribeCapacityBlockExtensionHistory" => capacity_blocks::extension_history,
        "CreateFleet" => fleets::create,
        "DescribeFleets" => fleets::describe,
        "DescribeFleetInstances" => fleets::describe_instances,
        "DeleteFleets" => fleets::delete,
        _ => {
            let message = format!("The action {action} is not valid for this web service.");
            return Err(AwsError::new("InvalidAction", message));
        }
    };
    // AWS answers a dry run once it knows that the caller may; here everybody may.
    if query::take_flag(&mut parameters, "DryRun")? {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(AwsError::new("DryRunOperation", message).with_status(412));
    }
    run(service, context, parameters)
}

/// Lets everything happen that is due, each thing at its own time.
pub(crate) fn advance(service: &mut Service<'_>, now: Timestamp) {
    while let Some((at, thing)) = next(service.state).filter(|(at, _)| *at <= now) {
        match thing {
            Thing::Instance(index, change) => instance::apply(service, at, index, change),
            Thing::Request(index, change) => spot_life::apply(service, at, index, change),
            Thing::Reservation(index, change) => reservations::apply(service, at, index, change),
        }
    }
    spot_life::retry_holding(service, now);
}

/// Something that has its time.
enum Thing {
    Instance(usize, instance::Change),
    Request(usize, spot_life::Change),
    Reservation(usize, reservations::Change),
}

fn next(ec2: &Ec2) -> Option<(Timestamp, Thing)> {
    let instances = ec2.instances.iter().enumerate();
    let instances = instances
        .filter_map(|(i, it)| it.next().map(|(at, change)| (at, Thing::Instance(i, change))));
    let requests = ec2.spot.iter().enumerate();
    let requests = requests
        .filter_map(|(i, it)| it.next().map(|(at, change)| (at, Thing::Request(i, change))));
    let reserved = ec2.reservations.iter().enumerate();
    let reserved = reserved
        .filter_map(|(i, it)| it.next().map(|(at, change)| (at, Thing::Reservation(i, change))));
    instances.chain(requests).chain(reserved).min_by_key(|(at, _)| *at)
}

/// The next moment at which something is due in EC2.
pub(crate) fn next_due(ec2: &Ec2) -> Option<Timestamp> {
    next(ec2).map(|(at, _)| at)
}

/// All instance types on offer.
pub(crate) fn types() -> &'static [InstanceType] {
    &types::TYPES
}

/// The host shut itself down. A one-time spot instance is terminated by that.
pub(crate) fn power_off(service: &mut Service<'_>, now: Timestamp, id: &str) {
    instance::end(service, now, id, instance::How::PowerOff);
}

/// The host dies without notice.
pub(crate) fn vanish(service: &mut Service<'_>, now: Timestamp, id: &str) {
    instance::end(service, now, id, instance::How::Vanished);
}

/// AWS announces that it takes the instance at `taken_at`; `action` is `terminate`, `stop` or
/// `hibernate`, all of which end the host here.
pub(crate) fn interrupt(
    service: &mut Service<'_>,
    now: Timestamp,
    id: &str,
    action: &str,
    taken_at: Timestamp,
) {
    // AWS takes only spot instances back.
    if !service.state.instance(id).is_some_and(|instance| instance.market == Market::Spot) {
        return;
    }
    instance::announce(service, now, id, action, taken_at);
    spot::marked_for_termination(service, now, id);
}

fn millis(number: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A time as EC2's answers write it.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}
