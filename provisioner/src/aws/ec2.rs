//! EC2: spot requests, instances, the network, images. Records are in `ec2/records.rs`.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, Filter, IamInstanceProfileSpecification, InstanceType,
    RequestSpotLaunchSpecification, ResourceType, SpotInstanceRequest, SpotInstanceType,
    SpotPlacement, Tag, TagSpecification, VolumeType,
};

use super::{text, time, to_sdk_time};
use crate::aws::classify::failed;
use crate::model::error::{AwsErrorKind, Result};
use crate::model::instance::Instance;
use crate::model::ownership::{Owned, ids};
use crate::model::record::{BlockSpec, LaunchData, PurchaseAttempt};
use crate::model::spot_request::SpotRequest;

mod account;
mod capacity_blocks;
mod fleets;
mod network;
mod placement;
mod records;
mod reservations;
mod types;

pub(crate) use capacity_blocks::{
    BoughtExtension, CapacityBlockReservation, ExtensionOffering, Offering, Search,
};
pub(crate) use fleets::{Fleet, Market, Order};
pub(crate) use network::Image;
pub(crate) use placement::{InstancePlacement, Way};
pub(crate) use records::Named;
pub(crate) use reservations::LaunchInto;

/// EC2 takes up to 200 values in a filter.
const FILTER_VALUES: usize = 200;

/// The client.
pub(crate) struct Ec2 {
    client: Client,
}

impl Ec2 {
    pub(super) fn new(base: &super::calls::Base) -> Self {
        Self { client: super::calls::client!(aws_sdk_ec2, base) }
    }

    /// Asks for a spot block. Everything in the request follows from the record, so that a
    /// repetition is equal to the first and its client token brings the first one's result. Gives
    /// the ids of the requests.
    ///
    /// # Errors
    /// AWS's refusal among others.
    pub(crate) async fn request_spot_block(
        &self,
        spec: &BlockSpec,
        attempt: &PurchaseAttempt,
        asked: u32,
        launch: &LaunchData,
    ) -> Result<Vec<String>> {
        let minutes = i32::try_from(spec.duration.as_mins()).unwrap_or(i32::MAX);
        let answer = self
            .client
            .request_spot_instances()
            .client_token(spec.client_token(attempt, 0))
            .instance_count(i32::try_from(asked).unwrap_or(i32::MAX))
            .r#type(SpotInstanceType::OneTime)
            .block_duration_minutes(minutes)
            .set_spot_price(spec.max_price.clone())
            .valid_until(to_sdk_time(attempt.valid_until))
            .launch_specification(launch_specification(launch, attempt))
            .tag_specifications(specification(
                ResourceType::SpotInstancesRequest,
                &spec.tags_of(attempt.number),
            ))
            .send()
            .await
            .map_err(failed("ec2:RequestSpotInstances", format!("block {}", spec.block)))?;
        let requests = answer.spot_instance_requests().iter();
        Ok(requests.map(|request| text(request.spot_instance_request_id())).collect())
    }

    /// The spot requests with this tag.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn spot_requests(&self, tag: &str, value: &str) -> Result<Vec<SpotRequest>> {
        self.described(filter(&format!("tag:{tag}"), [value.to_owned()])).await
    }

    /// Those of these spot requests that AWS still shows.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn spot_requests_of(&self, ids: &[String]) -> Result<Vec<SpotRequest>> {
        let mut requests = Vec::new();
        for some in ids.chunks(FILTER_VALUES) {
            requests
                .extend(self.described(filter("spot-instance-request-id", some.to_vec())).await?);
        }
        Ok(requests)
    }

    async fn described(&self, by: Filter) -> Result<Vec<SpotRequest>> {
        let shown = shown(&by);
        let mut pages =
            self.client.describe_spot_instance_requests().filters(by).into_paginator().send();
        let mut requests = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("ec2:DescribeSpotInstanceRequests", shown.clone()))?;
            requests.extend(page.spot_instance_requests().iter().map(spot_request));
        }
        Ok(requests)
    }

    /// Cancels spot requests. What they brought already lives on.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn cancel_spot_requests(&self, requests: &[Owned]) -> Result<()> {
        for some in ids(requests).chunks(FILTER_VALUES) {
            self.client
                .cancel_spot_instance_requests()
                .set_spot_instance_request_ids(Some(some.to_vec()))
                .send()
                .await
                .map_err(failed("ec2:CancelSpotInstanceRequests", some.join(", ")))?;
        }
        Ok(())
    }

    /// The instances that these spot requests brought, as far as the requests name them. A filter,
    /// unlike a list of ids, doesn't fail on what EC2 has forgotten or doesn't show yet.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn instances_of_requests(
        &self,
        requests: &[SpotRequest],
    ) -> Result<Vec<Instance>> {
        let ids: Vec<String> =
            requests.iter().filter_map(|request| request.instance.clone()).collect();
        self.instances_with_ids(&ids).await
    }

    /// Those of these instances that AWS shows, by their ids.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn instances_with_ids(&self, ids: &[String]) -> Result<Vec<Instance>> {
        let mut instances = Vec::new();
        for some in ids.chunks(FILTER_VALUES) {
            instances.extend(self.instances(filter("instance-id", some.to_vec())).await?);
        }
        Ok(instances)
    }

    /// The instances with this tag.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn instances_tagged(&self, tag: &str, value: &str) -> Result<Vec<Instance>> {
        self.instances(filter(&format!("tag:{tag}"), [value.to_owned()])).await
    }

    /// All values of this tag on instances, spot requests, capacity reservations and launch
    /// templates: a result for each kind, since one can be denied and the others not.
    pub(crate) async fn values_of_tag(&self, tag: &str) -> [Result<BTreeSet<String>>; 4] {
        type Tags = BTreeMap<String, String>;
        let by = || filter("tag-key", [tag.to_owned()]);
        let values =
            |all: Vec<Tags>| all.into_iter().filter_map(|mut tags| tags.remove(tag)).collect();
        let instances =
            self.instances(by()).await.map(|all| all.into_iter().map(|it| it.tags).collect());
        let requests =
            self.described(by()).await.map(|all| all.into_iter().map(|it| it.tags).collect());
        let reservations =
            self.reservations(by()).await.map(|all| all.into_iter().map(|it| it.tags).collect());
        [instances, requests, reservations, self.tags_of_templates(by()).await]
            .map(|tags| tags.map(values))
    }

    async fn tags_of_templates(&self, by: Filter) -> Result<Vec<BTreeMap<String, String>>> {
        let shown = shown(&by);
        let mut pages =
            self.client.describe_launch_templates().filters(by).into_paginator().items().send();
        let mut tags = Vec::new();
        while let Some(template) = pages.next().await {
            let template =
                template.map_err(failed("ec2:DescribeLaunchTemplates", shown.clone()))?;
            tags.push(our_tags(template.tags()));
        }
        Ok(tags)
    }

    async fn instances(&self, by: Filter) -> Result<Vec<Instance>> {
        let shown = shown(&by);
        let mut pages = self.client.describe_instances().filters(by).into_paginator().send();
        let mut instances = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("ec2:DescribeInstances", shown.clone()))?;
            instances
                .extend(page.reservations().iter().flat_map(|it| it.instances()).map(instance));
        }
        Ok(instances)
    }

    /// Terminates instances. One that EC2 has forgotten is gone already; AWS then ends none of the
    /// list, so the rest is asked for one by one.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn terminate(&self, instances: &[Owned]) -> Result<()> {
        for some in ids(instances).chunks(FILTER_VALUES) {
            match self.terminate_some(some).await {
                Err(error) if error.is_aws(AwsErrorKind::NotFound) && some.len() > 1 => {
                    for id in some {
                        gone_is_fine(self.terminate_some(std::slice::from_ref(id)).await)?;
                    }
                }
                result => gone_is_fine(result)?,
            }
        }
        Ok(())
    }

    async fn terminate_some(&self, ids: &[String]) -> Result<()> {
        let call = self.client.terminate_instances().set_instance_ids(Some(ids.to_vec()));
        call.send().await.map(|_| ()).map_err(failed("ec2:TerminateInstances", ids.join(", ")))
    }

    /// Sets tags on resources of any kind.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn tag(
        &self,
        things: &[Owned],
        tags: &BTreeMap<String, String>,
    ) -> Result<()> {
        for some in ids(things).chunks(FILTER_VALUES) {
            self.client
                .create_tags()
                .set_resources(Some(some.to_vec()))
                .set_tags(Some(sdk_tags(tags)))
                .send()
                .await
                .map_err(failed("ec2:CreateTags", some.join(", ")))?;
        }
        Ok(())
    }
}

fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(()),
        result => result,
    }
}

fn launch_specification(
    launch: &LaunchData,
    attempt: &PurchaseAttempt,
) -> RequestSpotLaunchSpecification {
    let root = launch.root_volume.as_ref().map(|(device, gib)| {
        let volume = EbsBlockDevice::builder()
            .volume_size(i32::try_from(*gib).unwrap_or(i32::MAX))
            .volume_type(VolumeType::Gp3)
            .delete_on_termination(true)
            .build();
        vec![BlockDeviceMapping::builder().device_name(device).ebs(volume).build()]
    });
    let placement =
        launch.zone.as_ref().map(|zone| SpotPlacement::builder().availability_zone(zone).build());
    RequestSpotLaunchSpecification::builder()
        .image_id(&launch.image)
        .set_instance_type(attempt.pool.types.first().map(|kind| InstanceType::from(kind.as_str())))
        .set_key_name(launch.key_name.clone())
        .set_security_group_ids(Some(launch.security_groups.clone()))
        .set_subnet_id(attempt.pool.subnets.first().cloned())
        .set_placement(placement)
        .iam_instance_profile(
            IamInstanceProfileSpecification::builder().name(&launch.instance_profile).build(),
        )
        .set_block_device_mappings(root)
        .user_data(&launch.user_data)
        .build()
}

fn spot_request(request: &SpotInstanceRequest) -> SpotRequest {
    let status = request.status();
    SpotRequest {
        id: text(request.spot_instance_request_id()),
        state: text(request.state().map(|state| state.as_str())),
        code: text(status.and_then(|status| status.code())),
        message: text(status.and_then(|status| status.message())),
        instance: request.instance_id().map(str::to_owned),
        tags: our_tags(request.tags()),
    }
}

fn instance(instance: &aws_sdk_ec2::types::Instance) -> Instance {
    let reason = instance
        .state_reason()
        .and_then(|reason| reason.message())
        .or(instance.state_transition_reason());
    Instance {
        id: text(instance.instance_id()),
        state: text(instance.state().and_then(|state| state.name()).map(|name| name.as_str())),
        instance_type: text(instance.instance_type().map(|it| it.as_str())),
        launched: time(instance.launch_time()),
        zone: text(instance.placement().and_then(|placement| placement.availability_zone())),
        spot_request: instance
            .spot_instance_request_id()
            .filter(|id| !id.is_empty())
            .map(str::to_owned),
        reason: text(reason),
        tags: our_tags(instance.tags()),
    }
}

/// A filter as messages show it.
fn shown(by: &Filter) -> String {
    format!("{}={}", by.name().unwrap_or_default(), by.values().join(","))
}

fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().collect())).build()
}

fn sdk_tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn our_tags(tags: &[Tag]) -> BTreeMap<String, String> {
    tags.iter().map(|tag| (text(tag.key()), text(tag.value()))).collect()
}

fn specification(kind: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(sdk_tags(tags))).build()
}
