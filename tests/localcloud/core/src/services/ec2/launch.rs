//! What an instance is launched from: the parameters, AWS's checks on them, and what they come to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Service;
use super::account::{self, Group, Image, Subnet};
use super::types::{self, InstanceType};
use crate::protocol::AwsError;
use crate::protocol::wire::query;
use crate::services::iam;

/// EC2's limit for user data, in bytes before base64.
const MAX_USER_DATA: usize = 16 * 1024;

/// A launch specification as RequestSpotInstances takes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(super) struct LaunchParameters {
    pub(super) image_id: Option<String>,
    instance_type: Option<String>,
    key_name: Option<String>,
    subnet_id: Option<String>,
    security_group_id: Vec<String>,
    security_group: Vec<String>,
    user_data: Option<String>,
    placement: Placement,
    iam_instance_profile: ProfileParameter,
    network_interface: Vec<NetworkInterface>,
    block_device_mapping: Vec<BlockDevice>,
    #[serde(deserialize_with = "query::text")]
    ebs_optimized: Option<bool>,
    monitoring: Monitoring,
    kernel_id: Option<String>,
    ramdisk_id: Option<String>,
    addressing_type: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Placement {
    availability_zone: Option<String>,
    group_name: Option<String>,
    tenancy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct ProfileParameter {
    arn: Option<String>,
    name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Monitoring {
    #[serde(deserialize_with = "query::text")]
    enabled: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct NetworkInterface {
    #[serde(deserialize_with = "query::text")]
    device_index: Option<u32>,
    subnet_id: Option<String>,
    security_group_id: Vec<String>,
    #[serde(deserialize_with = "query::text")]
    associate_public_ip_address: Option<bool>,
    #[serde(deserialize_with = "query::text")]
    delete_on_termination: Option<bool>,
    description: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct BlockDevice {
    device_name: Option<String>,
    virtual_name: Option<String>,
    ebs: Ebs,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Ebs {
    #[serde(deserialize_with = "query::text")]
    delete_on_termination: Option<bool>,
    #[serde(deserialize_with = "query::text")]
    encrypted: Option<bool>,
    #[serde(deserialize_with = "query::text")]
    iops: Option<u32>,
    #[serde(deserialize_with = "query::text")]
    throughput: Option<u32>,
    #[serde(deserialize_with = "query::text")]
    volume_size: Option<u32>,
    snapshot_id: Option<String>,
    volume_type: Option<String>,
    kms_key_id: Option<String>,
}

/// A launch that passed the checks.
#[derive(Clone, Debug)]
pub(super) struct LaunchSpec {
    pub(super) image: &'static Image,
    pub(super) instance_type: &'static InstanceType,
    pub(super) subnet: &'static Subnet,
    pub(super) groups: Vec<&'static Group>,
    pub(super) key: Option<String>,
    pub(super) profile: Option<iam::UsableProfile>,
    pub(super) user_data: Option<Vec<u8>>,
    pub(super) metadata: Metadata,
    pub(super) shutdown: Shutdown,
    parameters: LaunchParameters,
}

/// What a host that powers itself off comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shutdown {
    #[default]
    Stop,
    Terminate,
}

/// How an instance's metadata can be reached, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) enabled: bool,
    /// Whether a token has to be asked for; the local cloud's IMDS wants one in any case.
    pub(super) token_required: bool,
    pub(super) hop_limit: u32,
    pub(super) tags: bool,
}

impl Metadata {
    /// What an instance gets of whose metadata nothing was said: the account's defaults, and those
    /// of ECS's images.
    pub(super) fn default_of(service: &Service<'_>) -> Self {
        Self {
            enabled: true,
            token_required: true,
            hop_limit: 2,
            tags: service.options.instance_metadata_tags,
        }
    }

    pub(super) fn answer(&self) -> Value {
        json!({
            "state": "applied",
            "httpTokens": if self.token_required { "required" } else { "optional" },
            "httpPutResponseHopLimit": self.hop_limit,
            "httpEndpoint": if self.enabled { "enabled" } else { "disabled" },
            "httpProtocolIpv6": "disabled",
            "instanceMetadataTags": if self.tags { "enabled" } else { "disabled" },
        })
    }
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidParameterValue", message)
}

impl LaunchParameters {
    /// Lays over what a fleet says about one way to launch. A subnet goes to the network interface
    /// where there is one.
    pub(super) fn override_with(
        &mut self,
        image: Option<&String>,
        instance_type: Option<&String>,
        subnet: Option<&String>,
        zone: Option<&String>,
    ) {
        let lay_over = |over: Option<&String>, own: &mut Option<String>| {
            if let Some(over) = over {
                *own = Some(over.clone());
            }
        };
        lay_over(image, &mut self.image_id);
        lay_over(instance_type, &mut self.instance_type);
        lay_over(zone, &mut self.placement.availability_zone);
        match self.network_interface.first_mut() {
            Some(interface) => lay_over(subnet, &mut interface.subnet_id),
            None => lay_over(subnet, &mut self.subnet_id),
        }
    }

    /// What an interface says of subnet and groups can't be said a second time beside it.
    fn check_interfaces(&self) -> Result<(), AwsError> {
        let what = if self.network_interface.is_empty() {
            None
        } else if self.subnet_id.is_some() {
            Some("subnet ID")
        } else if !self.security_group_id.is_empty() || !self.security_group.is_empty() {
            Some("security groups")
        } else {
            None
        };
        let Some(what) = what else { return Ok(()) };
        let message = format!(
            "Network interfaces and an instance-level {what} may not be specified on the same \
             request"
        );
        Err(AwsError::new("InvalidParameterCombination", message))
    }

    /// Holds the parameters against the account and AWS's rules.
    pub(super) fn resolve(
        self,
        service: &Service<'_>,
        now: Timestamp,
    ) -> Result<LaunchSpec, AwsError> {
        self.check_interfaces()?;
        let image = self.image()?;
        let instance_type = self.instance_type()?;
        if image.architecture != instance_type.architecture {
            return Err(invalid(format!(
                "The architecture '{}' of the specified instance type does not match the \
                 architecture '{}' of the specified AMI. Specify an instance type and an AMI \
                 that have matching architectures, and try again.",
                instance_type.architecture, image.architecture
            )));
        }
        let subnet = self.subnet(&service.options.region)?;
        Ok(LaunchSpec {
            image,
            instance_type,
            subnet,
            groups: self.groups(subnet)?,
            key: self.key()?,
            profile: self.profile(service, now)?,
            user_data: self.user_data()?,
            metadata: Metadata::default_of(service),
            shutdown: Shutdown::default(),
            parameters: self,
        })
    }

    fn image(&self) -> Result<&'static Image, AwsError> {
        let Some(id) = &self.image_id else {
            return Err(AwsError::new(
                "MissingParameter",
                "The request must contain the parameter ImageId",
            ));
        };
        if !id.starts_with("ami-") {
            let message = format!("Invalid id: \"{id}\" (expecting \"ami-...\")");
            return Err(AwsError::new("InvalidAMIID.Malformed", message));
        }
        account::image_by_id(id).ok_or_else(|| {
            AwsError::new("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist"))
        })
    }

    /// m1.small is what EC2 takes when nothing is said; it is gone from the local cloud.
    fn instance_type(&self) -> Result<&'static InstanceType, AwsError> {
        let name = self.instance_type.as_deref().unwrap_or("m1.small");
        types::find(name)
            .ok_or_else(|| invalid(format!("Invalid value '{name}' for InstanceType.")))
    }

    /// The subnet can stand with its network interface instead.
    fn subnet_id(&self) -> Option<&String> {
        self.subnet_id.as_ref().or_else(|| self.network_interface.first()?.subnet_id.as_ref())
    }

    fn subnet(&self, region: &str) -> Result<&'static Subnet, AwsError> {
        let zone = match self.placement.availability_zone.as_deref().filter(|zone| !zone.is_empty())
        {
            None => None,
            Some(name) => Some(zone_letter(name, region)?),
        };
        let Some(id) = self.subnet_id() else {
            let zone = zone.unwrap_or(account::ZONES[0]);
            return account::default_subnet(zone).ok_or_else(|| {
                AwsError::new("MissingInput", format!("No default subnet in {region}{zone}"))
            });
        };
        let subnet = account::subnet_by_id(id).ok_or_else(|| {
            AwsError::new(
                "InvalidSubnetID.NotFound",
                format!("The subnet ID '{id}' does not exist"),
            )
        })?;
        match zone {
            // The code is AWS's; the wording is ours [A].
            Some(zone) if zone != subnet.zone => Err(invalid(format!(
                "The availability zone '{region}{zone}' does not match that of the subnet \
                 '{id}', '{region}{}'",
                subnet.zone
            ))),
            _ => Ok(subnet),
        }
    }

    fn groups(&self, subnet: &Subnet) -> Result<Vec<&'static Group>, AwsError> {
        if !self.security_group.is_empty() && self.subnet_id().is_some() {
            let message = "The parameter groupName cannot be used with the parameter subnet";
            return Err(AwsError::new("InvalidParameterCombination", message));
        }
        let of_interface =
            self.network_interface.first().map(|interface| interface.security_group_id.as_slice());
        let ids = self.security_group_id.iter().chain(of_interface.unwrap_or_default());
        let not_found = |group: &str| {
            AwsError::new(
                "InvalidGroup.NotFound",
                format!("The security group '{group}' does not exist"),
            )
        };
        let mut groups = Vec::new();
        for id in ids {
            let group = account::group_by_id(id).ok_or_else(|| not_found(id))?;
            if group.vpc != subnet.vpc {
                let message = format!(
                    "Security group {id} and subnet {} belong to different networks.",
                    subnet.id
                );
                return Err(AwsError::new("InvalidParameter", message));
            }
            groups.push(group);
        }
        for name in &self.security_group {
            groups.push(account::group_by_name(name, subnet.vpc).ok_or_else(|| not_found(name))?);
        }
        if groups.is_empty() {
            groups.extend(account::group_by_name("default", subnet.vpc));
        }
        Ok(groups)
    }

    fn key(&self) -> Result<Option<String>, AwsError> {
        match &self.key_name {
            Some(name) if !account::KEY_PAIRS.iter().any(|key| key.name == name) => {
                Err(AwsError::new(
                    "InvalidKeyPair.NotFound",
                    format!("The key pair '{name}' does not exist"),
                ))
            }
            name => Ok(name.clone()),
        }
    }

    fn profile(
        &self,
        service: &Service<'_>,
        now: Timestamp,
    ) -> Result<Option<iam::UsableProfile>, AwsError> {
        let ProfileParameter { arn, name } = &self.iam_instance_profile;
        let (wanted, parameter, kind) = match (arn, name) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                let message = "The parameter 'iamInstanceProfile.name' may not be used in \
                               combination with 'iamInstanceProfile.arn'";
                return Err(AwsError::new("InvalidParameterCombination", message));
            }
            (Some(arn), None) => (arn, "arn", "ARN"),
            (None, Some(name)) => (name, "name", "name"),
        };
        let profile =
            iam::usable_profile(service.iam, service.options, wanted, now).ok_or_else(|| {
                invalid(format!(
                    "Value ({wanted}) for parameter iamInstanceProfile.{parameter} is invalid. \
                 Invalid IAM Instance Profile {kind}"
                ))
            })?;
        if profile.role.is_none() {
            return Err(invalid(format!(
                "IAM Instance Profile \"{}\" has no associated IAM Roles",
                profile.arn
            )));
        }
        Ok(Some(profile))
    }

    fn user_data(&self) -> Result<Option<Vec<u8>>, AwsError> {
        let Some(text) = &self.user_data else { return Ok(None) };
        let bytes = BASE64.decode(text).map_err(|_| {
            AwsError::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data")
        })?;
        if bytes.len() > MAX_USER_DATA {
            return Err(invalid(format!("User data is limited to {MAX_USER_DATA} bytes")));
        }
        Ok(Some(bytes))
    }
}

/// The letter of a zone of this region.
fn zone_letter(name: &str, region: &str) -> Result<char, AwsError> {
    let mut rest = name.strip_prefix(region).unwrap_or_default().chars();
    match (rest.next(), rest.next()) {
        (Some(letter), None) if account::ZONES.contains(&letter) => Ok(letter),
        _ => Err(invalid(format!("Invalid availability zone: [{name}]"))),
    }
}

impl LaunchSpec {
    /// The specification as DescribeSpotInstanceRequests gives it back, user data left out as AWS
    /// does.
    pub(super) fn answer(&self) -> Value {
        let LaunchParameters { placement, iam_instance_profile: profile, .. } = &self.parameters;
        json!({
            "imageId": self.image.id,
            "keyName": self.key,
            "groupSet": groups_answer(&self.groups),
            "instanceType": self.instance_type.name,
            "placement": {
                "availabilityZone": placement.availability_zone,
                "groupName": placement.group_name,
                "tenancy": placement.tenancy,
            },
            "kernelId": self.parameters.kernel_id,
            "ramdiskId": self.parameters.ramdisk_id,
            "addressingType": self.parameters.addressing_type,
            "blockDeviceMapping": self.parameters.block_device_mapping.iter().map(BlockDevice::answer).collect::<Vec<_>>(),
            "monitoring": { "enabled": self.parameters.monitoring.enabled.unwrap_or(false) },
            "subnetId": self.parameters.subnet_id,
            "networkInterfaceSet":
                self.parameters.network_interface.iter().map(NetworkInterface::answer).collect::<Vec<_>>(),
            "iamInstanceProfile": self.profile.as_ref().map(|_| json!({ "arn": profile.arn, "name": profile.name })),
            "ebsOptimized": self.parameters.ebs_optimized.unwrap_or(false),
        })
    }

    pub(super) fn ebs_optimized(&self) -> bool {
        self.parameters.ebs_optimized.unwrap_or(false)
    }
}

/// Groups as EC2's answers list them.
pub(super) fn groups_answer(groups: &[&Group]) -> Value {
    groups.iter().map(|group| json!({ "groupId": group.id, "groupName": group.name })).collect()
}

impl NetworkInterface {
    fn answer(&self) -> Value {
        json!({
            "deviceIndex": self.device_index,
            "subnetId": self.subnet_id,
            "description": self.description,
            "associatePublicIpAddress": self.associate_public_ip_address,
            "deleteOnTermination": self.delete_on_termination,
            "SecurityGroupId": { "#SecurityGroupId": self.security_group_id },
        })
    }
}

impl BlockDevice {
    fn answer(&self) -> Value {
        json!({
            "deviceName": self.device_name,
            "virtualName": self.virtual_name,
            "ebs": {
                "deleteOnTermination": self.ebs.delete_on_termination,
                "encrypted": self.ebs.encrypted,
                "iops": self.ebs.iops,
                "throughput": self.ebs.throughput,
                "volumeSize": self.ebs.volume_size,
                "snapshotId": self.ebs.snapshot_id,
                "volumeType": self.ebs.volume_type,
                "kmsKeyId": self.ebs.kms_key_id,
            },
        })
    }
}
