//! What the example account holds before anybody calls: network, key and images.

use serde_json::{Value, json};

/// The zones of the region, by their letters.
pub(super) const ZONES: [char; 6] = ['a', 'b', 'c', 'd', 'e', 'f'];

/// An image.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// `x86_64` or `arm64`.
    pub architecture: &'static str,
    /// Whether `spotblock-agent` is baked into it.
    pub carries_agent: bool,
    created: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Vpc {
    pub(super) id: &'static str,
    pub(super) cidr: &'static str,
    pub(super) default: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    pub(super) id: &'static str,
    pub(super) vpc: &'static str,
    pub(super) zone: char,
    /// The first three numbers of its /24 network.
    pub(super) network: &'static str,
    pub(super) default: bool,
    /// Whether its instances get a public address.
    pub(super) public: bool,
}

/// A route table: the way to everywhere is an internet gateway, a NAT gateway, or there is none.
#[derive(Debug)]
pub(super) struct RouteTable {
    pub(super) id: &'static str,
    pub(super) vpc: &'static str,
    /// Whether it holds for the VPC's subnets that have none of their own.
    pub(super) main: bool,
    pub(super) subnets: &'static [&'static str],
    pub(super) everywhere: Option<&'static str>,
    /// Whether what the way leads to is gone.
    pub(super) blackhole: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) vpc: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyPair {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
}

const VPC: &str = "vpc-9f4a21e8";
const OTHER_VPC: &str = "vpc-0d3c7b51";

pub(super) static VPCS: [Vpc; 2] = [
    Vpc { id: VPC, cidr: "172.31.0.0/16", default: true },
    Vpc { id: OTHER_VPC, cidr: "10.20.0.0/16", default: false },
];

pub(super) static SUBNETS: [Subnet; 11] = [
    subnet("subnet-c8d30ae4", VPC, 'c', "172.31.32"),
    subnet("subnet-1b6e40a1", VPC, 'a', "172.31.0"),
    subnet("subnet-2c7f51b2", VPC, 'b', "172.31.16"),
    Subnet { default: false, ..subnet("subnet-3d8062c3", VPC, 'c', "172.31.40") },
    subnet("subnet-4e9173d4", VPC, 'd', "172.31.48"),
    subnet("subnet-5fa284e5", VPC, 'e', "172.31.64"),
    subnet("subnet-60b395f6", VPC, 'f', "172.31.80"),
    Subnet { default: false, ..subnet("subnet-71c4a607", OTHER_VPC, 'c', "10.20.1") },
    Subnet { default: false, public: false, ..subnet("subnet-93e6c829", VPC, 'c', "172.31.96") },
    Subnet { default: false, public: false, ..subnet("subnet-a4f7d93a", VPC, 'c', "172.31.97") },
    Subnet { default: false, public: false, ..subnet("subnet-b508ea4b", VPC, 'c', "172.31.98") },
];

pub(super) static ROUTE_TABLES: [RouteTable; 4] = [
    RouteTable {
        everywhere: Some("igw-5d1b9c0e"),
        main: true,
        ..route_table("rtb-0e1f2a3b", VPC, &[])
    },
    // No way out at all, as in a VPC that was just made.
    RouteTable { main: true, ..route_table("rtb-1f2a3b4c", OTHER_VPC, &[]) },
    RouteTable {
        everywhere: Some("nat-0a9b8c7d6e5f41230"),
        ..route_table("rtb-2a3b4c5d", VPC, &["subnet-a4f7d93a"])
    },
    // Its NAT gateway was deleted.
    RouteTable {
        everywhere: Some("nat-0b8c7d6e5f4a32101"),
        blackhole: true,
        ..route_table("rtb-3b4c5d6e", VPC, &["subnet-b508ea4b"])
    },
];

const fn route_table(
    id: &'static str,
    vpc: &'static str,
    subnets: &'static [&'static str],
) -> RouteTable {
    RouteTable { id, vpc, main: false, subnets, everywhere: None, blackhole: false }
}

const fn subnet(id: &'static str, vpc: &'static str, zone: char, network: &'static str) -> Subnet {
    Subnet { id, vpc, zone, network, default: true, public: true }
}

pub(super) static GROUPS: [Group; 4] = [
    Group { id: "sg-55964223", name: "batch-block", vpc: VPC },
    Group { id: "sg-0a1b2c3d", name: "default", vpc: VPC },
    Group { id: "sg-82d5b718", name: "elsewhere", vpc: OTHER_VPC },
    Group { id: "sg-1b2c3d4e", name: "default", vpc: OTHER_VPC },
];

pub(super) static KEY_PAIRS: [KeyPair; 1] = [KeyPair { id: "key-0f5e8a3d", name: "jewart" }];

/// The image behind each of SSM's names for the ECS images.
pub(crate) const ECS_IMAGES: [(&str, &str); 6] = [
    ("amazon-linux-2023/recommended", "ami-0b1f8c2a4d6e90371"),
    ("amazon-linux-2023/gpu/recommended", "ami-0c2a9d3b5e7fa1482"),
    ("amazon-linux-2023/arm64/recommended", "ami-0d3bae4c6f80b2593"),
    ("amazon-linux-2/recommended", "ami-0e4cbf5d7091c36a4"),
    ("amazon-linux-2/gpu/recommended", "ami-0f5dc06e81a2d47b5"),
    ("amazon-linux-2/arm64/recommended", "ami-006ed17f92b3e58c6"),
];

pub(super) static IMAGES: [Image; 8] = [
    image("ami-a7a242da", "batch-block-ecs-optimized", "x86_64", "2018-05-11T09:00:00.000Z"),
    image(
        ECS_IMAGES[0].1,
        "al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-x86_64",
        "x86_64",
        "2026-11-01T00:00:00.000Z",
    ),
    image(
        ECS_IMAGES[1].1,
        "al2023-ami-ecs-gpu-hvm-2023.0.20261101-kernel-6.1-x86_64",
        "x86_64",
        "2026-11-01T00:00:00.000Z",
    ),
    image(
        ECS_IMAGES[2].1,
        "al2023-ami-ecs-hvm-2023.0.20261101-kernel-6.1-arm64",
        "arm64",
        "2026-11-01T00:00:00.000Z",
    ),
    image(
        ECS_IMAGES[3].1,
        "amzn2-ami-ecs-hvm-2.0.20261101-x86_64-ebs",
        "x86_64",
        "2026-11-01T00:00:00.000Z",
    ),
    image(
        ECS_IMAGES[4].1,
        "amzn2-ami-ecs-gpu-hvm-2.0.20261101-x86_64-ebs",
        "x86_64",
        "2026-11-01T00:00:00.000Z",
    ),
    image(
        ECS_IMAGES[5].1,
        "amzn2-ami-ecs-hvm-2.0.20261101-arm64-ebs",
        "arm64",
        "2026-11-01T00:00:00.000Z",
    ),
    Image {
        carries_agent: false,
        ..image(
            "ami-000a9e4700000f00d",
            "plain-without-agent",
            "x86_64",
            "2026-11-01T00:00:00.000Z",
        )
    },
];

const fn image(
    id: &'static str,
    name: &'static str,
    architecture: &'static str,
    created: &'static str,
) -> Image {
    Image { id, name, architecture, carries_agent: true, created }
}

/// The image of this id.
pub(super) fn image_by_id(id: &str) -> Option<&'static Image> {
    IMAGES.iter().find(|image| image.id == id)
}

/// The subnet of this id.
pub(super) fn subnet_by_id(id: &str) -> Option<&'static Subnet> {
    SUBNETS.iter().find(|subnet| subnet.id == id)
}

/// The security group of this id.
pub(super) fn group_by_id(id: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.id == id)
}

/// The security group of this name in the VPC.
pub(super) fn group_by_name(name: &str, vpc: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name && group.vpc == vpc)
}

/// Where an instance goes that names no subnet: the zone's default one.
pub(super) fn default_subnet(zone: char) -> Option<&'static Subnet> {
    SUBNETS.iter().find(|subnet| subnet.default && subnet.zone == zone)
}

impl Image {
    pub(super) fn answer(&self, owner: &str, tags: Value) -> Value {
        json!({
            "imageId": self.id,
            "imageLocation": format!("amazon/{}", self.name),
            "imageState": "available",
            "imageOwnerId": owner,
            "creationDate": self.created,
            "isPublic": true,
            "architecture": self.architecture,
            "imageType": "machine",
            "name": self.name,
            "description": if self.carries_agent { "ECS image that carries spotblock-agent" } else { "no \
                agent" },
            "rootDeviceType": "ebs",
            "rootDeviceName": "/dev/xvda",
            "blockDeviceMapping": [{
                "deviceName": "/dev/xvda",
                "ebs": { "volumeSize": 30, "volumeType": "gp3", "deleteOnTermination": true, "encrypted": false },
            }],
            "virtualizationType": "hvm",
            "hypervisor": "xen",
            "enaSupport": true,
            "tagSet": tags,
        })
    }
}
