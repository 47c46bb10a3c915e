//! The price list: what EC2's instances cost on demand. Its products come as JSON documents inside
//! of JSON, as AWS's do; of each type there are some that nobody means who asks for Linux, so that
//! a loose filter finds too many.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::protocol::wire::json;
use crate::protocol::{AwsError, Context, Handled, Options, Request};
use crate::services::ec2;
use crate::services::ec2::InstanceType;

/// The list's name of the region; its prices are near those of us-east-1 whatever the region is.
const LOCATION: &str = "US East (N. Virginia)";

/// AWS's code of the terms of use by the hour.
const HOURLY: &str = "JRTCKXETXF";

/// AWS's code of a price for an hour.
const PER_HOUR: &str = "6YS6EN2CT7";

/// What Windows costs besides, in dollars for each vCPU and hour.
const WINDOWS: f64 = 0.046;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetProducts {
    service_code: String,
    #[serde(default)]
    filters: Vec<Filter>,
    format_version: Option<String>,
    next_token: Option<String>,
    max_results: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    r#type: String,
    field: String,
    value: String,
}

pub(crate) fn handle(options: &Options, context: &Context, request: &Request) -> Handled {
    let action = json::target(request).unwrap_or_default();
    let result = match action {
        "GetProducts" => get_products(options, &request.body),
        _ => Err(AwsError::new("UnknownOperationException", format!("unknown operation {action}"))),
    };
    let (response, error) = match result {
        Ok(body) => (json::target_response(&context.request_id, &body), None),
        Err(error) => {
            (json::target_error("pricing", &context.request_id, &error), Some(error.code))
        }
    };
    Handled {
        operation: action.to_owned(),
        parameters: serde_json::from_slice(&request.body).unwrap_or_default(),
        response,
        error,
    }
}

fn get_products(options: &Options, body: &[u8]) -> Result<Value, AwsError> {
    let asked: GetProducts = json::parse(body)?;
    let invalid = |message: String| AwsError::new("InvalidParameterException", message);
    if asked.service_code != "AmazonEC2" {
        return Err(invalid(format!(
            "Input Parameters are invalid. Unknown service code {}",
            asked.service_code
        )));
    }
    if asked.format_version.as_ref().is_some_and(|version| version != "aws_v1") {
        return Err(invalid(
            "Input Parameters are invalid. The format version is aws_v1".to_owned(),
        ));
    }
    let size = asked.max_results.unwrap_or(100);
    if !(1..=100).contains(&size) {
        return Err(invalid(
            "Input Parameters are invalid. MaxResults is between 1 and 100".to_owned(),
        ));
    }
    let start: usize = match &asked.next_token {
        None => 0,
        Some(token) => token.parse().map_err(|_| {
            AwsError::new(
                "InvalidNextTokenException",
                "The pagination token is invalid. Try again.",
            )
        })?,
    };
    let mut found = Vec::new();
    for product in types(&asked.filters)?.into_iter().flat_map(|it| products(options, it)) {
        let mut wanted = true;
        for filter in &asked.filters {
            wanted &= filter.takes(&product)?;
        }
        if wanted {
            found.push(product);
        }
    }
    let page: Vec<String> = found.iter().skip(start).take(size).map(Value::to_string).collect();
    let mut body = json!({ "FormatVersion": "aws_v1", "PriceList": page });
    if found.len() > start + size {
        body["NextToken"] = json!((start + size).to_string());
    }
    Ok(body)
}

/// The types whose products may pass: those of all types would be documents by the hundred, made
/// for the few that are asked for.
fn types(filters: &[Filter]) -> Result<Vec<&'static InstanceType>, AwsError> {
    // A filter of no known type is refused whatever it is held against.
    for filter in filters {
        filter.matches("")?;
    }
    let of_type = || filters.iter().filter(|filter| filter.field == "instanceType");
    let may_pass =
        |it: &&InstanceType| of_type().all(|filter| filter.matches(it.name).unwrap_or(false));
    Ok(ec2::types().iter().filter(may_pass).collect())
}

impl Filter {
    /// A field that a product doesn't have takes nothing.
    fn takes(&self, product: &Value) -> Result<bool, AwsError> {
        let attributes = &product["product"]["attributes"];
        let own = match self.field.as_str() {
            "ServiceCode" => "AmazonEC2",
            "productFamily" => product["product"]["productFamily"].as_str().unwrap_or_default(),
            "sku" => product["product"]["sku"].as_str().unwrap_or_default(),
            field => match attributes[field].as_str() {
                Some(text) => text,
                None => return Ok(false),
            },
        };
        self.matches(own)
    }

    fn matches(&self, own: &str) -> Result<bool, AwsError> {
        let mut listed = self.value.split(',').map(str::trim);
        match self.r#type.as_str() {
            "TERM_MATCH" | "EQUALS" => Ok(own.eq_ignore_ascii_case(&self.value)),
            "CONTAINS" => Ok(own.contains(&self.value)),
            "ANY_OF" => Ok(listed.any(|value| value == own)),
            "NONE_OF" => Ok(listed.all(|value| value != own)),
            other => {
                let message = format!("Input Parameters are invalid. Unknown filter type {other}");
                Err(AwsError::new("InvalidParameterException", message))
            }
        }
    }
}

/// What there is to buy of a type: Linux, Linux that waits in an unused reservation, Windows.
fn products(options: &Options, it: &InstanceType) -> [Value; 3] {
    let linux = ec2::on_demand_price(it);
    [
        product(options, it, "Linux", "Used", linux),
        product(options, it, "Linux", "UnusedCapacityReservation", linux),
        product(options, it, "Windows", "Used", linux + WINDOWS * f64::from(it.vcpus)),
    ]
}

fn product(
    options: &Options,
    it: &InstanceType,
    system: &str,
    status: &str,
    dollars: f64,
) -> Value {
    let sku = sku(&format!("{}/{system}/{status}", it.name));
    let (term, rate) = (format!("{sku}.{HOURLY}"), format!("{sku}.{HOURLY}.{PER_HOUR}"));
    let usage = if status == "Used" { "BoxUsage" } else { "UnusedBox" };
    let mut product = json!({
        "product": {
            "productFamily": "Compute Instance",
            "attributes": {
                "capacitystatus": status,
                "currentGeneration": if it.current { "Yes" } else { "No" },
                "instanceType": it.name,
                "licenseModel": "No License required",
                "location": LOCATION,
                "locationType": "AWS Region",
                "marketoption": "OnDemand",
                "memory": format!("{} GiB", it.memory_mib / 1024),
                "operatingSystem": system,
                "operation": if system == "Linux" { "RunInstances" } else { "RunInstances:0002" },
                "preInstalledSw": "NA",
                "regionCode": options.region,
                "servicecode": "AmazonEC2",
                "servicename": "Amazon Elastic Compute Cloud",
                "tenancy": "Shared",
                "usagetype": format!("{usage}:{}", it.name),
                "vcpu": it.vcpus.to_string(),
            },
            "sku": sku,
        },
        "serviceCode": "AmazonEC2",
        "terms": { "OnDemand": { term: {
            "priceDimensions": { rate.clone(): {
                "unit": "Hrs",
                "endRange": "Inf",
                "description": format!("${dollars} per On Demand {system} {} Instance Hour", it.name),
                "appliesTo": [],
                "rateCode": rate,
                "beginRange": "0",
                "pricePerUnit": { "USD": format!("{dollars:.10}") },
            } },
            "sku": sku,
            "effectiveDate": "2026-11-01T00:00:00Z",
            "offerTermCode": HOURLY,
            "termAttributes": {},
        } } },
        "version": "20261101000000",
        "publicationDate": "2026-11-01T00:00:00Z",
    });
    if it.gpus > 0 {
        product["product"]["attributes"]["gpu"] = json!(it.gpus.to_string());
    }
    product
}

/// Sixteen letters and digits that follow from the product.
fn sku(product: &str) -> String {
    const DIGITS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ23456789XY";
    // FNV-1a, for something that is the same in every run.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut text = String::new();
    for number in 0..16_u8 {
        for byte in product.bytes().chain([number]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let digit = usize::try_from((hash >> 32) % 36).unwrap_or_default();
        text.push(char::from(DIGITS[digit]));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::cloud::testing::World;

    fn filters(fields: &[(&str, &str)]) -> Value {
        fields
            .iter()
            .map(|(field, value)| json!({ "Type": "TERM_MATCH", "Field": field, "Value": value }))
            .collect()
    }

    #[test]
    fn one_product_is_left_of_a_type_once_all_is_said() {
        let mut world = World::new();
        let mut fields =
            vec![("instanceType", "c5.large"), ("operatingSystem", "Linux"), ("tenancy", "Shared")];
        let mut ask = json!({ "ServiceCode": "AmazonEC2", "Filters": filters(&fields) });
        let answer = world.pricing("GetProducts", &ask).expect("products");
        assert_eq!(
            answer["PriceList"].as_array().map(Vec::len),
            Some(2),
            "also what waits in reservations"
        );
        fields.extend([
            ("capacitystatus", "Used"),
            ("preInstalledSw", "NA"),
            ("regionCode", "us-east-1"),
        ]);
        ask["Filters"] = filters(&fields);
        let answer = world.pricing("GetProducts", &ask).expect("a product");
        assert_eq!(answer["PriceList"].as_array().map(Vec::len), Some(1));
        let text = answer["PriceList"][0].as_str().expect("a document inside of the document");
        let product: Value = serde_json::from_str(text).expect("JSON");
        let term = product["terms"]["OnDemand"]
            .as_object()
            .and_then(|terms| terms.values().next())
            .expect("a term");
        let price = term["priceDimensions"]
            .as_object()
            .and_then(|prices| prices.values().next())
            .expect("a price");
        assert_eq!(price["pricePerUnit"]["USD"], "0.0850000000");
        assert_eq!(price["unit"], "Hrs");
    }

    #[test]
    fn pages_end_and_wrong_questions_are_refused() {
        let mut world = World::new();
        let mut ask = json!({ "ServiceCode": "AmazonEC2", "Filters": filters(&[("instanceType", "c5.large")]) });
        ask["MaxResults"] = json!(2);
        let first = world.pricing("GetProducts", &ask).expect("the first page");
        ask["NextToken"] = first["NextToken"].clone();
        let second = world.pricing("GetProducts", &ask).expect("the second page");
        assert_eq!(
            (second["PriceList"].as_array().map(Vec::len), second.get("NextToken")),
            (Some(1), None)
        );
        for (changed, value, code) in [
            ("ServiceCode", json!("AmazonEC3"), "InvalidParameterException"),
            ("MaxResults", json!(101), "InvalidParameterException"),
            ("NextToken", json!("x"), "InvalidNextTokenException"),
        ] {
            let mut wrong = ask.clone();
            wrong[changed] = value;
            assert_eq!(world.pricing("GetProducts", &wrong).expect_err(code).0, code);
        }
    }
}
