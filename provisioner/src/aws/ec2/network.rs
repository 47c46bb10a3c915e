//! EC2: subnets, security groups, images.

use super::Ec2;
use crate::aws::classify::failed;
use crate::aws::text;
use crate::model::error::{Error, Result};

/// A subnet.
#[derive(Clone, Debug)]
pub(crate) struct Subnet {
    /// Its id.
    pub id: String,
    /// Its Availability Zone.
    pub zone: String,
    /// Its VPC.
    pub vpc: String,
}

/// A security group.
#[derive(Clone, Debug)]
pub(crate) struct SecurityGroup {
    /// Its id.
    pub id: String,
    /// Its VPC.
    pub vpc: String,
}

/// An image.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its id.
    pub id: String,
    /// Its root device's name.
    pub root_device: String,
}

fn nothing_described(what: &str, id: &str) -> Error {
    Error::state(
        format!("{what} {id} is not there"),
        format!("check that {id} exists in this region and account, and that you may see it"),
    )
}

impl Ec2 {
    /// Subnets, in the order of their ids here.
    ///
    /// # Errors
    /// When one isn't there.
    pub(crate) async fn subnets(&self, ids: &[String]) -> Result<Vec<Subnet>> {
        let call = self.client.describe_subnets().set_subnet_ids(Some(ids.to_vec()));
        let answer = call.send().await.map_err(failed("ec2:DescribeSubnets", ids.join(", ")))?;
        let of = |id: &String| {
            let found = answer.subnets().iter().find(|it| it.subnet_id() == Some(id));
            let subnet = found.ok_or_else(|| nothing_described("subnet", id))?;
            Ok(Subnet {
                id: id.clone(),
                zone: text(subnet.availability_zone()),
                vpc: text(subnet.vpc_id()),
            })
        };
        ids.iter().map(of).collect()
    }

    /// Security groups.
    ///
    /// # Errors
    /// When one isn't there.
    pub(crate) async fn groups(&self, ids: &[String]) -> Result<Vec<SecurityGroup>> {
        let call = self.client.describe_security_groups().set_group_ids(Some(ids.to_vec()));
        let answer =
            call.send().await.map_err(failed("ec2:DescribeSecurityGroups", ids.join(", ")))?;
        let groups = answer.security_groups().iter();
        Ok(groups
            .map(|group| SecurityGroup { id: text(group.group_id()), vpc: text(group.vpc_id()) })
            .collect())
    }

    /// One image.
    ///
    /// # Errors
    /// When it isn't there.
    pub(crate) async fn image(&self, id: &str) -> Result<Image> {
        let call = self.client.describe_images().image_ids(id);
        let answer = call.send().await.map_err(failed("ec2:DescribeImages", id))?;
        let image = answer.images().first().ok_or_else(|| nothing_described("image", id))?;
        Ok(Image { id: id.to_owned(), root_device: text(image.root_device_name()) })
    }
}
