//! AWS's partitions: the separate parts that it consists of, as the SDKs know them.

use aws_sdk_ec2::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};

/// The partition of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Its name in ARNs.
    pub(crate) id: &'static str,
    /// What the names of AWS's services in it end with.
    pub(crate) dns_suffix: String,
}

impl Partition {
    /// The partition of this region; of one that nobody knows, AWS's standard one, as in the SDKs.
    /// Asks nobody.
    pub(crate) async fn of(region: &str) -> Self {
        let dns_suffix = dns_suffix(region).await.unwrap_or_else(|| "amazonaws.com".to_owned());
        Self { id: id(region, &dns_suffix), dns_suffix }
    }
}

/// Taken from EC2's endpoint there: endpoints are all that the SDKs make public of their
/// partitions.
async fn dns_suffix(region: &str) -> Option<String> {
    let params = Params::builder().region(region).build().ok()?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&params).await.ok()?;
    endpoint.url().strip_prefix(&format!("https://ec2.{region}.")).map(str::to_owned)
}

/// By hand, since the SDKs keep the ids to themselves; GovCloud has the suffix of the standard
/// partition.
fn id(region: &str, dns_suffix: &str) -> &'static str {
    match dns_suffix {
        "amazonaws.com.cn" => "aws-cn",
        "amazonaws.eu" => "aws-eusc",
        "c2s.ic.gov" => "aws-iso",
        "sc2s.sgov.gov" => "aws-iso-b",
        "cloud.adc-e.uk" => "aws-iso-e",
        "csp.hci.ic.gov" => "aws-iso-f",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_region_is_of_its_partition() {
        for (region, id, dns_suffix) in [
            ("us-east-1", "aws", "amazonaws.com"),
            ("eu-west-1", "aws", "amazonaws.com"),
            ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
            ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
            ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
            ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
            ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
            ("eu-isoe-west-1", "aws-iso-e", "cloud.adc-e.uk"),
            ("us-isof-south-1", "aws-iso-f", "csp.hci.ic.gov"),
            ("nobody-knows-1", "aws", "amazonaws.com"),
        ] {
            let expected = Partition { id, dns_suffix: dns_suffix.to_owned() };
            assert_eq!(Partition::of(region).await, expected, "{region}");
        }
    }
}
