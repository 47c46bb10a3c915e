//! DescribeRouteTables: the ways out of the account's subnets.

use serde_json::{Value, json};

use super::account::{ROUTE_TABLES, RouteTable, VPCS};
use super::network::{Row, Wanted, list};
use super::{Service, tags};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// DescribeRouteTables.
pub(super) fn describe(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let wanted = Wanted {
        ids: query::take_list(&mut parameters, "RouteTableId")?,
        names: Vec::new(),
        code: "InvalidRouteTableID.NotFound",
        what: "routeTable ID",
    };
    let rows = ROUTE_TABLES.iter().map(|table| row(service, table)).collect();
    list(service, &wanted, parameters, 5..=100, "routeTableSet", rows)
}

fn row(service: &Service<'_>, table: &RouteTable) -> Row {
    let vpc = VPCS.iter().find(|vpc| vpc.id == table.vpc).map(|vpc| vpc.cidr).unwrap_or_default();
    let mut routes = vec![
        json!({ "destinationCidrBlock": vpc, "gatewayId": "local", "state": "active", "origin": "CreateRouteTable" }),
    ];
    routes.extend(table.everywhere.map(|target| {
        let key = if target.starts_with("nat-") { "natGatewayId" } else { "gatewayId" };
        let state = if table.blackhole { "blackhole" } else { "active" };
        json!({ "destinationCidrBlock": "0.0.0.0/0", key: target, "state": state, "origin": "CreateRoute" })
    }));
    let association = |n: usize, subnet: Option<&str>| {
        let mut it = json!({
            "routeTableAssociationId": format!("rtbassoc-{}{n}", table.id.trim_start_matches("rtb-")),
            "routeTableId": table.id,
            "main": subnet.is_none(),
            "associationState": { "state": "associated" },
        });
        if let Some(subnet) = subnet {
            it["subnetId"] = json!(subnet);
        }
        it
    };
    let subnets =
        table.subnets.iter().enumerate().map(|(n, subnet)| association(n + 1, Some(subnet)));
    let main = table.main.then(|| association(0, None));
    let mut fields = vec![
        ("route-table-id", table.id.to_owned()),
        ("vpc-id", table.vpc.to_owned()),
        ("owner-id", service.options.account.clone()),
        ("association.main", table.main.to_string()),
    ];
    // A table without any is still one that can be filtered by it.
    let none = table.subnets.is_empty().then_some("");
    fields.extend(
        table
            .subnets
            .iter()
            .copied()
            .chain(none)
            .map(|it| ("association.subnet-id", it.to_owned())),
    );
    Row {
        id: table.id.to_owned(),
        name: String::new(),
        answer: json!({
            "routeTableId": table.id,
            "vpcId": table.vpc,
            "ownerId": service.options.account,
            "routeSet": routes,
            "associationSet": main.into_iter().chain(subnets).collect::<Vec<_>>(),
            "propagatingVgwSet": [],
            "tagSet": tags::answer(service.state.tags.get(table.id)),
        }),
        fields,
    }
}
