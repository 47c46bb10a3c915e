//! EC2: spot requests, instances, tags, launch templates, and what an account has to launch into.
//!
//! - `account.rs`: what the example account holds
//! - `launch.rs`: launch parameters and AWS's checks on them
//! - `spot.rs`, `spot_life.rs`: spot requests, and what becomes of them
//! - `instance.rs`: an instance's life; `instances.rs`: the operations on them
//! - `templates.rs`, `versions.rs`, `template_launch.rs`: launch templates, and what a launch from one comes to
//! - `fleets.rs`, `fleet_request.rs`, `fleet_life.rs`: fleets: the operations, what is asked for, where it is launched
//! - `run.rs`: RunInstances; `reservations.rs`, `capacity_blocks.rs`: capacity that is held for it
//! - `types.rs`, `prices.rs`, `capacity.rs`: the types on offer, what they cost, how many are left;
//!   `offers.rs`: the operations that tell of types and prices
//! - `console.rs`, `routes.rs`: what shows why an instance doesn't come up
//! - `network.rs`, `tags.rs`: the other operations
//! - `page.rs`: filters and pages, for all of them

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::cloud::Cloud;
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context, Handled, Options, Request};

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
pub use account::Image;
pub use instance::{Instance, Market, Notice, Placed, State};
pub(crate) use prices::on_demand as on_demand_price;
pub use types::InstanceType;

/// EC2's state.
#[derive(Default)]
pub struct Ec2 {
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
    tags: std::collections::BTreeMap<String, tags::Tags>,
    /// What hosts showed on their consoles beside what every boot shows, by the instance.
    consoles: std::collections::BTreeMap<String, Vec<String>>,
    /// How many instances were ever launched.
    launched: u32,
}

impl Ec2 {
    pub(crate) fn with_example_account(_: &Options) -> Self {
        Self::default()
    }

    fn find(&self, id: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.id == id)
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|instance| instance.id == id)
    }
}

pub(crate) fn handle(cloud: &mut Cloud, context: &Context, request: &Request) -> Handled {
    query::handle("ec2", context, request, |action, parameters| operation(cloud, context, action, parameters))
}

type Operation = fn(&mut Cloud, &Context, Value) -> Result<Value, AwsError>;

fn operation(cloud: &mut Cloud, context: &Context, action: &str, mut parameters: Value) -> Result<Value, AwsError> {
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
    run(cloud, context, parameters)
}

/// Lets everything happen that is due, each thing at its own time.
pub(crate) fn advance(cloud: &mut Cloud, now: Timestamp) {
    while let Some((at, thing)) = next(cloud).filter(|(at, _)| *at <= now) {
        match thing {
            Thing::Instance(index, change) => instance::apply(cloud, at, index, change),
            Thing::Request(index, change) => spot_life::apply(cloud, at, index, change),
            Thing::Reservation(index, change) => reservations::apply(cloud, at, index, change),
        }
    }
    spot_life::retry_holding(cloud, now);
}

/// Something that has its time.
enum Thing {
    Instance(usize, instance::Change),
    Request(usize, spot_life::Change),
    Reservation(usize, reservations::Change),
}

fn next(cloud: &Cloud) -> Option<(Timestamp, Thing)> {
    let instances = cloud.ec2.instances.iter().enumerate();
    let instances = instances.filter_map(|(i, it)| it.next().map(|(at, change)| (at, Thing::Instance(i, change))));
    let requests = cloud.ec2.spot.iter().enumerate();
    let requests = requests.filter_map(|(i, it)| it.next().map(|(at, change)| (at, Thing::Request(i, change))));
    let reserved = cloud.ec2.reservations.iter().enumerate();
    let reserved = reserved.filter_map(|(i, it)| it.next().map(|(at, change)| (at, Thing::Reservation(i, change))));
    instances.chain(requests).chain(reserved).min_by_key(|(at, _)| *at)
}

/// The next moment at which something is due in EC2.
#[must_use]
pub fn next_due(cloud: &Cloud) -> Option<Timestamp> {
    next(cloud).map(|(at, _)| at)
}

/// All instance types on offer.
pub(crate) fn types() -> &'static [InstanceType] {
    &types::TYPES
}

/// An instance, while it can be described.
#[must_use]
pub fn instance<'a>(cloud: &'a Cloud, id: &str) -> Option<&'a Instance> {
    cloud.ec2.find(id)
}

/// The instance's place in the order of all launches, from 1.
pub(crate) fn number(cloud: &Cloud, id: &str) -> Option<usize> {
    cloud.ec2.find(id).map(|instance| instance.number)
}

/// All instances that can be described.
#[must_use]
pub fn all(cloud: &Cloud) -> &[Instance] {
    &cloud.ec2.instances
}

/// Whether `spotblock-agent` is baked into the instance's image.
#[must_use]
pub fn carries_agent(cloud: &Cloud, id: &str) -> bool {
    instance(cloud, id).is_some_and(|instance| instance.image().carries_agent)
}

/// The tags of everything that has any, by its id.
#[must_use]
pub fn all_tags(cloud: &Cloud) -> &std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>> {
    &cloud.ec2.tags
}

pub(crate) fn instance_mut<'a>(cloud: &'a mut Cloud, id: &str) -> Option<&'a mut Instance> {
    cloud.ec2.find_mut(id)
}

/// Whether something of this id exists that can carry tags.
pub(crate) fn exists(cloud: &Cloud, id: &str) -> bool {
    tags::resource_type(cloud, id).is_ok()
}

/// What ARNs call things of this id's kind, if there is one of this id.
pub(crate) fn kind_of(cloud: &Cloud, id: &str) -> Option<&'static str> {
    tags::resource_type(cloud, id).ok()
}

/// The id of the launch template that parameters name, and the data of the version that they name, or of the first.
pub(crate) fn template_asked(cloud: &Cloud, parameters: &Value) -> Option<(String, Value)> {
    templates::asked(cloud, parameters)
}

/// The tags of an instance or anything else, in the order of their keys.
pub(crate) fn tags_of(cloud: &Cloud, id: &str) -> Vec<(String, String)> {
    let tags = cloud.ec2.tags.get(id).into_iter().flatten();
    tags.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The host shut itself down. A one-time spot instance is terminated by that.
pub fn power_off(cloud: &mut Cloud, now: Timestamp, id: &str) {
    instance::end(cloud, now, id, instance::How::PowerOff);
}

/// The host dies without notice.
pub fn vanish(cloud: &mut Cloud, now: Timestamp, id: &str) {
    instance::end(cloud, now, id, instance::How::Vanished);
}

/// A line on a host's console.
pub fn console_says(cloud: &mut Cloud, id: &str, line: &str) {
    cloud.ec2.consoles.entry(id.to_owned()).or_default().push(line.to_owned());
}

/// AWS announces that it takes the instance at `taken_at`; `action` is `terminate`, `stop` or `hibernate`, all of
/// which end the host here.
pub fn interrupt(cloud: &mut Cloud, now: Timestamp, id: &str, action: &str, taken_at: Timestamp) {
    // AWS takes only spot instances back.
    if !cloud.ec2.find(id).is_some_and(|instance| instance.market == Market::Spot) {
        return;
    }
    instance::announce(cloud, now, id, action, taken_at);
    spot::marked_for_termination(cloud, now, id);
}

/// AWS recommends to leave the instance.
pub fn rebalance(cloud: &mut Cloud, now: Timestamp, id: &str) {
    if let Some(instance) = cloud.ec2.find_mut(id).filter(|instance| instance.alive()) {
        instance.rebalance.get_or_insert(now);
    }
}

fn millis(number: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A time as EC2's answers write it.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}
