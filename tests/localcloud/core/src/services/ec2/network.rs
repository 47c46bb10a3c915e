//! What an account has to launch into: networks, groups, keys, images and zones. What is on offer
//! is in `offers.rs`.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::account::{self, Group, IMAGES, Image, KEY_PAIRS, SUBNETS, Subnet, VPCS, ZONES};
use super::page::{LIMITS, Selection};
use super::{Service, tags};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// The account that owns Amazon's ECS images.
const AMAZON: &str = "591542846629";

/// One thing of the account: how it is asked for, how it is answered, and what filters are held
/// against.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) answer: Value,
    pub(super) fields: Vec<(&'static str, String)>,
}

/// What is asked for, and the error when it isn't there.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) ids: Vec<String>,
    pub(super) names: Vec<String>,
    pub(super) code: &'static str,
    pub(super) what: &'static str,
}

impl Wanted {
    fn ids(
        parameters: &mut Value,
        parameter: &str,
        code: &'static str,
        what: &'static str,
    ) -> Result<Self, AwsError> {
        Ok(Self { ids: query::take_list(parameters, parameter)?, names: Vec::new(), code, what })
    }

    fn or_names(mut self, parameters: &mut Value, parameter: &str) -> Result<Self, AwsError> {
        self.names = query::take_list(parameters, parameter)?;
        Ok(self)
    }

    fn takes(&self, row: &Row) -> bool {
        let everything = self.ids.is_empty() && self.names.is_empty();
        everything || self.ids.contains(&row.id) || self.names.contains(&row.name)
    }

    /// Each id and name that is asked for has to be there.
    fn check(&self, rows: &[Row]) -> Result<(), AwsError> {
        let missing_id = self.ids.iter().find(|id| rows.iter().all(|row| row.id != **id));
        let missing_name = self.names.iter().find(|name| rows.iter().all(|row| row.name != **name));
        match missing_id.or(missing_name) {
            None => Ok(()),
            Some(missing) => Err(AwsError::new(
                self.code,
                format!("The {} '{missing}' does not exist", self.what),
            )),
        }
    }
}

/// The wanted rows that pass the filters, one page of them, in an element called `set`.
pub(super) fn list(
    service: &Service<'_>,
    wanted: &Wanted,
    parameters: Value,
    limits: RangeInclusive<u32>,
    set: &str,
    rows: Vec<Row>,
) -> Result<Value, AwsError> {
    let selection = Selection::read(parameters)?;
    wanted.check(&rows)?;
    let mut found = Vec::new();
    for row in rows {
        let field = |name: &str| {
            let named = row.fields.iter().filter(|(field, _)| *field == name);
            let values: Vec<String> = named.map(|(_, value)| value.clone()).collect();
            (!values.is_empty()).then_some(values)
        };
        if wanted.takes(&row) && selection.accepts(service.state.tags.get(&row.id), field)? {
            found.push(row.answer);
        }
    }
    let (page, next) = selection.page(found, limits)?;
    Ok(json!({ set: page, "nextToken": next }))
}

/// DescribeVpcs.
pub(super) fn vpcs(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let wanted = Wanted::ids(&mut parameters, "VpcId", "InvalidVpcID.NotFound", "vpc ID")?;
    let row = |vpc: &account::Vpc| Row {
        id: vpc.id.to_owned(),
        name: String::new(),
        answer: json!({
            "vpcId": vpc.id,
            "ownerId": service.options.account,
            "state": "available",
            "cidrBlock": vpc.cidr,
            "dhcpOptionsId": "dopt-3f1d2c5a",
            "instanceTenancy": "default",
            "isDefault": vpc.default,
            "tagSet": tags::answer(service.state.tags.get(vpc.id)),
        }),
        fields: vec![
            ("vpc-id", vpc.id.to_owned()),
            ("cidr", vpc.cidr.to_owned()),
            ("state", "available".to_owned()),
            ("is-default", vpc.default.to_string()),
            ("isDefault", vpc.default.to_string()),
            ("owner-id", service.options.account.clone()),
        ],
    };
    list(service, &wanted, parameters, LIMITS, "vpcSet", VPCS.iter().map(row).collect())
}

/// DescribeSubnets.
pub(super) fn subnets(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let wanted = Wanted::ids(&mut parameters, "SubnetId", "InvalidSubnetID.NotFound", "subnet ID")?;
    let rows = SUBNETS.iter().map(|subnet| subnet_row(service, subnet)).collect();
    list(service, &wanted, parameters, LIMITS, "subnetSet", rows)
}

fn subnet_row(service: &Service<'_>, subnet: &Subnet) -> Row {
    let zone = format!("{}{}", service.options.region, subnet.zone);
    let cidr = format!("{}.0/24", subnet.network);
    let used = service
        .state
        .instances
        .iter()
        .filter(|it| it.alive() && it.spec.subnet.id == subnet.id)
        .count();
    Row {
        id: subnet.id.to_owned(),
        name: String::new(),
        answer: json!({
            "subnetId": subnet.id,
            "subnetArn": format!(
                "arn:aws:ec2:{}:{}:subnet/{}", service.options.region, service.options.account, subnet.id
            ),
            "state": "available",
            "ownerId": service.options.account,
            "vpcId": subnet.vpc,
            "cidrBlock": cidr,
            "availableIpAddressCount": 251_usize.saturating_sub(used),
            "availabilityZone": zone,
            "availabilityZoneId": zone_id(subnet.zone),
            "defaultForAz": subnet.default,
            "mapPublicIpOnLaunch": subnet.public,
            "assignIpv6AddressOnCreation": false,
            "tagSet": tags::answer(service.state.tags.get(subnet.id)),
        }),
        fields: vec![
            ("subnet-id", subnet.id.to_owned()),
            ("vpc-id", subnet.vpc.to_owned()),
            ("availability-zone", zone.clone()),
            ("availabilityZone", zone),
            ("availability-zone-id", zone_id(subnet.zone)),
            ("cidr-block", cidr),
            ("default-for-az", subnet.default.to_string()),
            ("state", "available".to_owned()),
            ("owner-id", service.options.account.clone()),
        ],
    }
}

/// An id such as use1-az3: which zone has which differs from account to account.
pub(super) fn zone_id(letter: char) -> String {
    let number = ZONES.iter().position(|zone| *zone == letter).unwrap_or_default() + 1;
    format!("use1-az{number}")
}

/// DescribeSecurityGroups.
pub(super) fn security_groups(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let wanted =
        Wanted::ids(&mut parameters, "GroupId", "InvalidGroup.NotFound", "security group")?
            .or_names(&mut parameters, "GroupName")?;
    let rows = account::GROUPS.iter().map(|group| group_row(service, group)).collect();
    list(service, &wanted, parameters, LIMITS, "securityGroupInfo", rows)
}

fn group_row(service: &Service<'_>, group: &Group) -> Row {
    let anywhere =
        json!([{ "ipProtocol": "-1", "groups": [], "ipRanges": [{ "cidrIp": "0.0.0.0/0" }] }]);
    Row {
        id: group.id.to_owned(),
        name: group.name.to_owned(),
        answer: json!({
            "ownerId": service.options.account,
            "groupId": group.id,
            "groupName": group.name,
            "groupDescription": format!("{} group", group.name),
            "vpcId": group.vpc,
            "ipPermissions": [],
            "ipPermissionsEgress": anywhere,
            "tagSet": tags::answer(service.state.tags.get(group.id)),
        }),
        fields: vec![
            ("group-id", group.id.to_owned()),
            ("group-name", group.name.to_owned()),
            ("vpc-id", group.vpc.to_owned()),
            ("owner-id", service.options.account.clone()),
        ],
    }
}

/// DescribeKeyPairs.
pub(super) fn key_pairs(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let wanted = Wanted::ids(&mut parameters, "KeyPairId", "InvalidKeyPair.NotFound", "key pair")?
        .or_names(&mut parameters, "KeyName")?;
    query::take_flag(&mut parameters, "IncludePublicKey")?;
    let row = |key: &account::KeyPair| Row {
        id: key.id.to_owned(),
        name: key.name.to_owned(),
        answer: json!({
            "keyPairId": key.id,
            "keyName": key.name,
            "keyType": "rsa",
            "keyFingerprint": "1f:51:ae:28:bf:89:e9:d8:1f:25:5d:37:2d:7d:b8:ca:9f:f5:f1:6f",
            "tagSet": [],
        }),
        fields: vec![("key-pair-id", key.id.to_owned()), ("key-name", key.name.to_owned())],
    };
    list(service, &wanted, parameters, LIMITS, "keySet", KEY_PAIRS.iter().map(row).collect())
}

/// DescribeImages.
pub(super) fn images(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let wanted = Wanted::ids(&mut parameters, "ImageId", "InvalidAMIID.NotFound", "image id")?;
    let owners = query::take_list(&mut parameters, "Owner")?;
    for ignored in ["ExecutableBy", "IncludeDeprecated", "IncludeDisabled"] {
        query::take(&mut parameters, ignored);
    }
    let owned = |image: &&Image| {
        let owner = owner(service, image);
        owners.is_empty()
            || owners.iter().any(|wanted| match wanted.as_str() {
                "self" => owner == service.options.account,
                "amazon" => owner == AMAZON,
                id => owner == id,
            })
    };
    let rows = IMAGES.iter().filter(owned).map(|image| image_row(service, image)).collect();
    list(service, &wanted, parameters, LIMITS, "imagesSet", rows)
}

/// The images that SSM names are Amazon's, the others the account's own.
fn owner(service: &Service<'_>, image: &Image) -> String {
    let of_amazon = account::ECS_IMAGES.iter().any(|(_, id)| *id == image.id);
    if of_amazon { AMAZON.to_owned() } else { service.options.account.clone() }
}

fn image_row(service: &Service<'_>, image: &Image) -> Row {
    let owner = owner(service, image);
    Row {
        id: image.id.to_owned(),
        name: image.name.to_owned(),
        answer: image.answer(&owner, tags::answer(service.state.tags.get(image.id))),
        fields: vec![
            ("image-id", image.id.to_owned()),
            ("name", image.name.to_owned()),
            ("architecture", image.architecture.to_owned()),
            ("owner-id", owner),
            ("state", "available".to_owned()),
            ("virtualization-type", "hvm".to_owned()),
            ("root-device-type", "ebs".to_owned()),
            ("is-public", "true".to_owned()),
        ],
    }
}

/// DescribeAvailabilityZones.
pub(super) fn availability_zones(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let wanted =
        Wanted::ids(&mut parameters, "ZoneId", "InvalidParameterValue", "availability zone")?
            .or_names(&mut parameters, "ZoneName")?;
    query::take_flag(&mut parameters, "AllAvailabilityZones")?;
    let region = &service.options.region;
    let row = |letter: &char| {
        let name = format!("{region}{letter}");
        Row {
            id: zone_id(*letter),
            name: name.clone(),
            answer: json!({
                "zoneName": name,
                "zoneId": zone_id(*letter),
                "zoneState": "available",
                "regionName": region,
                "groupName": region,
                "networkBorderGroup": region,
                "optInStatus": "opt-in-not-required",
                "zoneType": "availability-zone",
                "messageSet": [],
            }),
            fields: vec![
                ("zone-name", name),
                ("zone-id", zone_id(*letter)),
                ("state", "available".to_owned()),
                ("region-name", region.clone()),
                ("zone-type", "availability-zone".to_owned()),
                ("opt-in-status", "opt-in-not-required".to_owned()),
            ],
        }
    };
    let answer = list(
        service,
        &wanted,
        parameters,
        LIMITS,
        "availabilityZoneInfo",
        ZONES.iter().map(row).collect(),
    );
    // This operation has no pages.
    answer.map(|mut answer| {
        query::take(&mut answer, "nextToken");
        answer
    })
}
