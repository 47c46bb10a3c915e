//! EC2: launch templates as records of blocks.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    LaunchTemplate, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateInstanceMetadataTagsState,
    LaunchTemplatePlacementRequest, RequestLaunchTemplateData, ResourceType,
    ResponseLaunchTemplateData, ShutdownBehavior, VolumeType,
};
use node_contract::names::tag;

use super::{Ec2, filter, our_tags, specification};
use crate::aws::classify::failed;
use crate::aws::{text, time};
use crate::model::error::{AwsErrorKind, Error, Result};
use crate::model::names;
use crate::model::ownership::Marks;
use crate::model::record::{
    BlockSpec, DRIVER, ENDED, EXTENSION, Extension, LaunchData, OUTCOME, PURCHASE, Purchase,
    REPORTED, RESERVED, Record, Refused, Reserved,
};

impl Ec2 {
    /// The records of an environment's blocks, in the order of their numbers.
    ///
    /// # Errors
    /// When the call fails, or a record was tampered with.
    pub(crate) async fn records(&self, environment: &str) -> Result<Vec<Record>> {
        let by = filter(&format!("tag:{}", tag::ENVIRONMENT), [environment.to_owned()]);
        let mut pages = self.client.describe_launch_templates().filters(by).into_paginator().send();
        let mut records = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("ec2:DescribeLaunchTemplates", environment))?;
            for template in page.launch_templates() {
                records.extend(record(environment, template)?);
            }
        }
        records.sort_by_key(|record| record.number);
        Ok(records)
    }

    /// What has the name of a record.
    ///
    /// # Errors
    /// When the call fails, or it is a record that was tampered with.
    pub(crate) async fn named(&self, environment: &str, name: &str) -> Result<Named> {
        let call = self.client.describe_launch_templates().launch_template_names(name);
        let answer = match call.send().await.map_err(failed("ec2:DescribeLaunchTemplates", name)) {
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => return Ok(Named::Absent),
            answer => answer?,
        };
        let Some(template) = answer.launch_templates().first() else { return Ok(Named::Absent) };
        Ok(record(environment, template)?
            .map_or(Named::Foreign, |record| Named::Record(Box::new(record))))
    }

    /// Creates a record if no launch template has its name; `false` says that one has.
    ///
    /// # Errors
    /// When the call fails otherwise.
    pub(crate) async fn create_record(
        &self,
        name: &str,
        spec: &BlockSpec,
        launch: &LaunchData,
        driver: &str,
    ) -> Result<bool> {
        let mut tags = spec.to_tags();
        tags.insert(DRIVER.to_owned(), driver.to_owned());
        let result = self
            .client
            .create_launch_template()
            .launch_template_name(name)
            // The name alone makes it a create-if-absent; the token makes the SDK's own retry find
            // its first attempt.
            .client_token(format!("{}-record", spec.block))
            .launch_template_data(request_data(launch))
            .tag_specifications(specification(ResourceType::LaunchTemplate, &tags))
            .send()
            .await
            .map_err(failed("ec2:CreateLaunchTemplate", name));
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.is_aws(AwsErrorKind::Exists) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a record says is launched: its first version, whatever anybody added since.
    ///
    /// # Errors
    /// When it isn't there.
    pub(crate) async fn launch_data(&self, record: &Record) -> Result<LaunchData> {
        let answer = self
            .client
            .describe_launch_template_versions()
            .launch_template_id(record.template.id())
            .versions("1")
            .send()
            .await
            .map_err(failed("ec2:DescribeLaunchTemplateVersions", &record.name))?;
        let version = answer.launch_template_versions().first();
        version.and_then(|version| version.launch_template_data()).map(response_data).ok_or_else(
            || {
                Error::state(
                    format!("launch template {} has no version 1", record.name),
                    "end the block with `spotblock down`",
                )
            },
        )
    }

    /// Writes down what a source refused, and how the purchase ended if that was the end of it.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn set_refused(
        &self,
        record: &Record,
        refused: &Refused,
        outcome: Option<&str>,
    ) -> Result<()> {
        let outcome = outcome.map(|outcome| (OUTCOME.to_owned(), outcome.to_owned()));
        let tags = outcome.into_iter().chain([refused.to_tag()]).collect();
        self.tag(std::slice::from_ref(&record.template), &tags).await
    }

    /// Writes down how a block ended whose instances came, and weren't enough.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn set_outcome(&self, record: &Record, outcome: &str) -> Result<()> {
        let tags = BTreeMap::from([(OUTCOME.to_owned(), outcome.to_owned())]);
        self.tag(std::slice::from_ref(&record.template), &tags).await
    }

    /// Writes down whose turn it is to buy.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn set_driver(&self, record: &Record, driver: &str) -> Result<()> {
        let tags = BTreeMap::from([(DRIVER.to_owned(), driver.to_owned())]);
        self.tag(std::slice::from_ref(&record.template), &tags).await
    }

    /// Writes down that a run has told its user how the block came up.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn set_reported(&self, record: &Record, how: &str) -> Result<()> {
        let tags = BTreeMap::from([(REPORTED.to_owned(), how.to_owned())]);
        self.tag(std::slice::from_ref(&record.template), &tags).await
    }

    /// Writes down that a block is being ended, before anything of it is.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn set_ended(&self, record: &Record, at: jiff::Timestamp) -> Result<()> {
        let tags = BTreeMap::from([(ENDED.to_owned(), at.to_string())]);
        self.tag(std::slice::from_ref(&record.template), &tags).await
    }

    /// Writes down which capacity block instances are launched into.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn set_reserved(&self, record: &Record, reserved: &Reserved) -> Result<()> {
        let tags = BTreeMap::from([(RESERVED.to_owned(), reserved.to_tag())]);
        self.tag(std::slice::from_ref(&record.template), &tags).await
    }

    /// Writes down that a capacity block is about to be bought, or that AWS refused the purchase.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn set_purchase(
        &self,
        record: &Record,
        purchase: &Purchase,
        refused: bool,
    ) -> Result<()> {
        let tags = BTreeMap::from([(PURCHASE.to_owned(), purchase.to_tag(refused))]);
        self.tag(std::slice::from_ref(&record.template), &tags).await
    }

    /// Writes down that an extension is about to be bought, or that AWS refused the purchase.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn set_extension(
        &self,
        record: &Record,
        extension: &Extension,
        refused: bool,
    ) -> Result<()> {
        let tags = BTreeMap::from([(EXTENSION.to_owned(), extension.to_tag(refused))]);
        self.tag(std::slice::from_ref(&record.template), &tags).await
    }

    /// Deletes a record. One that is gone already is what was wanted.
    ///
    /// # Errors
    /// When the call fails otherwise.
    pub(crate) async fn delete_record(&self, record: &Record) -> Result<()> {
        let call = self.client.delete_launch_template().launch_template_id(record.template.id());
        match call.send().await.map_err(failed("ec2:DeleteLaunchTemplate", &record.name)) {
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

/// What a launch template of a record's name is.
#[derive(Debug)]
pub(crate) enum Named {
    /// There is none, or it isn't shown yet.
    Absent,
    /// Somebody else's.
    Foreign,
    /// A record of this environment.
    Record(Box<Record>),
}

/// The record that a launch template is. The tag alone makes none, nor the name alone.
fn record(environment: &str, template: &LaunchTemplate) -> Result<Option<Record>> {
    let (name, tags) = (text(template.launch_template_name()), our_tags(template.tags()));
    let Some(number) = names::record_number(environment, &name) else { return Ok(None) };
    let id = text(template.launch_template_id());
    let Some(template_of_ours) = Marks::of_environment(environment).claim(&id, &tags) else {
        return Ok(None);
    };
    Ok(Some(Record {
        template: template_of_ours,
        number,
        created: time(template.create_time()),
        spec: BlockSpec::from_tags(&name, &tags)?,
        refused: Refused::of_tags(&name, &tags)?,
        driver: tags.get(DRIVER).cloned(),
        outcome: tags.get(OUTCOME).cloned(),
        reported: tags.get(REPORTED).cloned(),
        ended: tags.get(ENDED).cloned(),
        extension: tags
            .get(EXTENSION)
            .map(|value| Extension::of_tag(&name, value))
            .transpose()?
            .flatten(),
        name,
    }))
}

/// What is launched, but for types and subnets: those are an attempt's. The agent reads tags
/// through the metadata, which only version 2 of their service gives; containers with a network of
/// their own are one hop too far from it. An instance that shuts itself down is gone.
fn request_data(launch: &LaunchData) -> RequestLaunchTemplateData {
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_tokens(LaunchTemplateHttpTokensState::Required)
        .http_put_response_hop_limit(1)
        .instance_metadata_tags(LaunchTemplateInstanceMetadataTagsState::Enabled)
        .build();
    let placement = launch
        .zone
        .as_ref()
        .map(|zone| LaunchTemplatePlacementRequest::builder().availability_zone(zone).build());
    let root = launch.root_volume.as_ref().map(|(device, gib)| {
        let volume = LaunchTemplateEbsBlockDeviceRequest::builder()
            .volume_size(i32::try_from(*gib).unwrap_or(i32::MAX))
            .volume_type(VolumeType::Gp3)
            .delete_on_termination(true)
            .build();
        vec![
            LaunchTemplateBlockDeviceMappingRequest::builder()
                .device_name(device)
                .ebs(volume)
                .build(),
        ]
    });
    let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder()
        .name(&launch.instance_profile)
        .build();
    RequestLaunchTemplateData::builder()
        .image_id(&launch.image)
        .set_key_name(launch.key_name.clone())
        .set_security_group_ids(Some(launch.security_groups.clone()))
        .metadata_options(metadata)
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .set_placement(placement)
        .iam_instance_profile(profile)
        .set_block_device_mappings(root)
        .user_data(&launch.user_data)
        .build()
}

fn response_data(data: &ResponseLaunchTemplateData) -> LaunchData {
    let root = data.block_device_mappings().first().and_then(|mapping| {
        let gib = u32::try_from(mapping.ebs()?.volume_size()?).ok()?;
        Some((text(mapping.device_name()), gib))
    });
    LaunchData {
        image: text(data.image_id()),
        key_name: data.key_name().map(str::to_owned),
        security_groups: data.security_group_ids().to_vec(),
        zone: data
            .placement()
            .and_then(|placement| placement.availability_zone())
            .map(str::to_owned),
        instance_profile: text(data.iam_instance_profile().and_then(|profile| profile.name())),
        user_data: text(data.user_data()),
        root_volume: root,
    }
}
