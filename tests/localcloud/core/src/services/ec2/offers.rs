//! What is on offer: the operations that tell of instance types, where they are, and what they cost
//! on the spot market.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::ZONES;
use super::network::{Row, Wanted, list, zone_id};
use super::types::{self, InstanceType, TYPES};
use super::{Service, prices, time};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// How far the history of prices goes back, in days. AWS's goes back 90.
const HISTORY: i64 = 7;

/// What spot prices are quoted for; both stand for the same here.
const PRODUCTS: [&str; 2] = ["Linux/UNIX", "Linux/UNIX (Amazon VPC)"];

/// DescribeInstanceTypes. Its pages have at most 100.
pub(super) fn instance_types(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let wanted = query::take_list(&mut parameters, "InstanceType")?;
    let unknown: Vec<&str> =
        wanted.iter().map(String::as_str).filter(|name| types::find(name).is_none()).collect();
    if !unknown.is_empty() {
        let message =
            format!("The following supplied instance types do not exist: [{}]", unknown.join(", "));
        return Err(AwsError::new("InvalidInstanceType", message));
    }
    let wanted = Wanted { ids: wanted, ..Wanted::default() };
    let row = |it: &InstanceType| Row {
        id: it.name.to_owned(),
        name: String::new(),
        answer: it.answer(),
        fields: it.fields(),
    };
    list(service, &wanted, parameters, 5..=100, "instanceTypeSet", TYPES.iter().map(row).collect())
}

/// DescribeInstanceTypeOfferings: which types there are in the region, or in each zone.
pub(super) fn instance_type_offerings(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let kind: Option<String> =
        query::take(&mut parameters, "LocationType").map(query::parse).transpose()?;
    let kind = kind.unwrap_or_else(|| "region".to_owned());
    let region = &service.options.region;
    // Where a type is, by the names of that kind.
    let locations = |it: &InstanceType| -> Result<Vec<String>, AwsError> {
        let zones = ZONES.iter().filter(|letter| it.is_offered(**letter));
        match kind.as_str() {
            "region" => Ok(vec![region.clone()]),
            "availability-zone" => Ok(zones.map(|letter| format!("{region}{letter}")).collect()),
            "availability-zone-id" => Ok(zones.map(|letter| zone_id(*letter)).collect()),
            "outpost" => Ok(Vec::new()),
            other => Err(AwsError::new(
                "InvalidParameterValue",
                format!("Value ({other}) for parameter LocationType is invalid."),
            )),
        }
    };
    let mut rows = Vec::new();
    for it in TYPES.iter() {
        for location in locations(it)? {
            rows.push(Row {
                id: String::new(),
                name: String::new(),
                answer: json!({ "instanceType": it.name, "locationType": kind, "location": location }),
                fields: vec![("instance-type", it.name.to_owned()), ("location", location)],
            });
        }
    }
    list(service, &Wanted::default(), parameters, 5..=1000, "instanceTypeOfferingSet", rows)
}

/// What DescribeSpotPriceHistory takes besides filters and pages.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asked {
    instance_type: Vec<String>,
    product_description: Vec<String>,
    availability_zone: Option<String>,
    availability_zone_id: Option<String>,
    #[serde(deserialize_with = "query::text")]
    start_time: Option<Timestamp>,
    #[serde(deserialize_with = "query::text")]
    end_time: Option<Timestamp>,
}

impl Asked {
    /// Takes its parameters out of those of the request.
    fn take(parameters: &mut Value) -> Result<Self, AwsError> {
        let names = [
            "InstanceType",
            "ProductDescription",
            "AvailabilityZone",
            "AvailabilityZoneId",
            "StartTime",
            "EndTime",
        ];
        let own = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), query::take(parameters, name)?)));
        let asked: Self = query::parse(Value::Object(own.collect()))?;
        if asked.availability_zone.is_some() && asked.availability_zone_id.is_some() {
            let message =
                "Either AvailabilityZone or AvailabilityZoneId can be specified, but not both";
            return Err(AwsError::new("InvalidParameterCombination", message));
        }
        Ok(asked)
    }

    fn wants_type(&self, name: &str) -> bool {
        self.instance_type.is_empty() || self.instance_type.iter().any(|wanted| wanted == name)
    }

    fn wants_zone(&self, region: &str, letter: char) -> bool {
        self.availability_zone.as_ref().is_none_or(|wanted| *wanted == format!("{region}{letter}"))
            && self.availability_zone_id.as_ref().is_none_or(|wanted| *wanted == zone_id(letter))
    }

    fn wants_linux(&self) -> bool {
        let known = |wanted: &String| PRODUCTS.contains(&wanted.as_str());
        self.product_description.is_empty() || self.product_description.iter().any(known)
    }

    /// Whether it asks for a price that held from `from` to `until`.
    fn wants_time(&self, from: Timestamp, until: Timestamp) -> bool {
        self.start_time.is_none_or(|start| start < until)
            && self.end_time.is_none_or(|end| from <= end)
    }
}

/// DescribeSpotPriceHistory, the latest first: who asks from now on gets each pool's price of
/// today, with the time since when it holds, which is before the time asked for.
pub(super) fn spot_price_history(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let asked = Asked::take(&mut parameters)?;
    let region = &service.options.region;
    let day = SignedDuration::from_hours(24);
    let today = context.now.as_second().div_euclid(86_400) * 86_400;
    let today = Timestamp::from_second(today).unwrap_or(context.now);
    let mut rows = Vec::new();
    for ago in (0..=HISTORY).filter(|_| asked.wants_linux()) {
        let from = today - SignedDuration::from_hours(24 * ago);
        let until = if ago == 0 { Timestamp::MAX } else { from + day };
        if !asked.wants_time(from, until) {
            continue;
        }
        for instance_type in TYPES.iter().filter(|it| asked.wants_type(it.name)) {
            let zones = ZONES.iter().filter(|zone| {
                instance_type.is_offered(**zone) && asked.wants_zone(region, **zone)
            });
            rows.extend(zones.map(|letter| price_row(service, instance_type, *letter, from, ago)));
        }
    }
    // Its first page may be smaller than elsewhere.
    list(service, &Wanted::default(), parameters, 1..=1000, "spotPriceHistorySet", rows)
}

fn price_row(
    service: &Service<'_>,
    instance_type: &InstanceType,
    letter: char,
    from: Timestamp,
    days_ago: i64,
) -> Row {
    let zone = format!("{}{letter}", service.options.region);
    let price = prices::dollars(prices::spot_before(service, instance_type, letter, days_ago));
    let since = time(from);
    Row {
        id: String::new(),
        name: String::new(),
        answer: json!({
            "instanceType": instance_type.name,
            "productDescription": PRODUCTS[0],
            "spotPrice": price,
            "timestamp": since,
            "availabilityZone": zone,
            "availabilityZoneId": zone_id(letter),
        }),
        fields: vec![
            ("availability-zone", zone),
            ("availability-zone-id", zone_id(letter)),
            ("instance-type", instance_type.name.to_owned()),
            ("product-description", PRODUCTS[0].to_owned()),
            ("spot-price", price),
            ("timestamp", since),
        ],
    }
}
