//! EC2: what an account has to launch into, for `init`.

use aws_sdk_ec2::types::Filter;

use super::Ec2;
use super::network::Subnet;
use crate::aws::classify::failed;
use crate::aws::text;
use crate::model::error::Result;

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

impl Ec2 {
    /// The region's default VPC, if it has one.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn default_vpc(&self) -> Result<Option<String>> {
        let call = self.client.describe_vpcs().filters(filter("is-default", "true"));
        let answer = call.send().await.map_err(failed("ec2:DescribeVpcs", "the default VPC"))?;
        Ok(answer.vpcs().first().map(|vpc| text(vpc.vpc_id())))
    }

    /// A VPC's subnets, by zone.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn subnets_of(&self, vpc: &str) -> Result<Vec<Subnet>> {
        let call = self.client.describe_subnets().filters(filter("vpc-id", vpc));
        let answer = call.send().await.map_err(failed("ec2:DescribeSubnets", vpc))?;
        let mut subnets: Vec<Subnet> = answer
            .subnets()
            .iter()
            .map(|it| Subnet {
                id: text(it.subnet_id()),
                zone: text(it.availability_zone()),
                vpc: text(it.vpc_id()),
            })
            .collect();
        subnets.sort_by(|a, b| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
        Ok(subnets)
    }

    /// A VPC's security groups as id and name, the default one first.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn groups_of(&self, vpc: &str) -> Result<Vec<(String, String)>> {
        let call = self.client.describe_security_groups().filters(filter("vpc-id", vpc));
        let answer = call.send().await.map_err(failed("ec2:DescribeSecurityGroups", vpc))?;
        let groups = answer.security_groups().iter();
        let mut groups: Vec<_> =
            groups.map(|it| (text(it.group_id()), text(it.group_name()))).collect();
        groups.sort_by_key(|(id, name)| (name != "default", id.clone()));
        Ok(groups)
    }

    /// The names of the key pairs.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn key_pairs(&self) -> Result<Vec<String>> {
        let answer = self.client.describe_key_pairs().send().await;
        let answer = answer.map_err(failed("ec2:DescribeKeyPairs", "this region"))?;
        Ok(answer.key_pairs().iter().map(|it| text(it.key_name())).collect())
    }
}
