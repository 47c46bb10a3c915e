//! EC2: what shows why an instance hasn't joined: what it was launched with, the way out of its
//! subnet, its console.

use aws_sdk_ec2::types::{Filter, RouteState, RouteTable};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Ec2, filter};
use crate::aws::classify::failed;
use crate::aws::text;
use crate::model::error::{AwsErrorKind, Result};

/// What an instance was launched with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstancePlacement {
    /// Its subnet.
    pub subnet: String,
    /// The subnet's VPC.
    pub vpc: String,
    /// Whether it has a public address.
    pub public: bool,
    /// Its instance profile's name.
    pub profile: Option<String>,
}

/// The route to everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The route table.
    pub table: String,
    /// Where it leads: an internet or NAT gateway, an interface and so on.
    pub target: String,
    /// Whether that is gone.
    pub blackhole: bool,
}

impl Ec2 {
    /// What an instance was launched with, if EC2 still knows.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn place(&self, instance: &str) -> Result<Option<InstancePlacement>> {
        let by = filter("instance-id", [instance.to_owned()]);
        let answer = self.client.describe_instances().filters(by).send().await;
        let answer = answer.map_err(failed("ec2:DescribeInstances", instance))?;
        let it = answer.reservations().iter().flat_map(|it| it.instances()).next();
        Ok(it.map(|it| InstancePlacement {
            subnet: text(it.subnet_id()),
            vpc: text(it.vpc_id()),
            public: it.public_ip_address().is_some_and(|address| !address.is_empty()),
            profile: it
                .iam_instance_profile()
                .and_then(|it| it.arn())
                .and_then(|arn| arn.rsplit('/').next())
                .map(str::to_owned),
        }))
    }

    /// The way from a subnet to everywhere; none, where its route table has none. A subnet without
    /// a table of its own goes by the VPC's main one `[A]`.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn way_out(&self, place: &InstancePlacement) -> Result<Option<Way>> {
        let own = self
            .route_tables(vec![filter("association.subnet-id", [place.subnet.clone()])])
            .await?;
        let tables = if own.is_empty() {
            let main = filter("association.main", ["true".to_owned()]);
            self.route_tables(vec![filter("vpc-id", [place.vpc.clone()]), main]).await?
        } else {
            own
        };
        Ok(tables.iter().find_map(everywhere))
    }

    async fn route_tables(&self, by: Vec<Filter>) -> Result<Vec<RouteTable>> {
        let shown = by.iter().map(super::shown).collect::<Vec<_>>().join(" and ");
        let mut pages = self
            .client
            .describe_route_tables()
            .set_filters(Some(by))
            .into_paginator()
            .items()
            .send();
        let mut tables = Vec::new();
        while let Some(table) = pages.next().await {
            tables.push(table.map_err(failed("ec2:DescribeRouteTables", shown.clone()))?);
        }
        Ok(tables)
    }

    /// What an instance's console shows; empty while EC2 has none. Only types of the Nitro system
    /// give the latest `[A]`; the others give what they had after the boot.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn console(&self, instance: &str) -> Result<String> {
        let ask = async |latest: bool| {
            let call = self
                .client
                .get_console_output()
                .instance_id(instance)
                .set_latest(latest.then_some(true));
            call.send().await.map_err(failed("ec2:GetConsoleOutput", instance))
        };
        let answer = match ask(true).await {
            Err(error) if error.is_aws(AwsErrorKind::Rejected) => ask(false).await?,
            answer => answer?,
        };
        // The SDK leaves it in base64.
        let bytes = BASE64_STANDARD.decode(answer.output().unwrap_or_default()).unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn everywhere(table: &RouteTable) -> Option<Way> {
    let route =
        table.routes().iter().find(|it| it.destination_cidr_block() == Some("0.0.0.0/0"))?;
    let targets = [
        route.gateway_id(),
        route.nat_gateway_id(),
        route.transit_gateway_id(),
        route.network_interface_id(),
        route.instance_id(),
        route.vpc_peering_connection_id(),
        route.local_gateway_id(),
        route.carrier_gateway_id(),
    ];
    Some(Way {
        table: text(table.route_table_id()),
        target: targets.into_iter().flatten().next().unwrap_or("an unknown target").to_owned(),
        blackhole: route.state() == Some(&RouteState::Blackhole),
    })
}
