//! What AWS's protocols share.
//!
//! - [`json`]: JSON 1.1 (ECS, SSM, Pricing) and REST JSON (Batch, Scheduler)
//! - [`query`]: form bodies of EC2, IAM and STS, as nested JSON
//! - [`xml`]: the answers of EC2, IAM, STS and S3

use jiff::Timestamp;

use crate::protocol::{AwsError, Context, Response};

pub(crate) mod json;
pub(crate) mod query;
pub(crate) mod xml;

/// An error in the shape of the service's protocol.
pub(crate) fn error(service: &str, context: &Context, error: &AwsError) -> Response {
    match service {
        "ec2" => xml::ec2_error(&context.request_id, error),
        "iam" | "sts" => xml::query_error(service, &context.request_id, error),
        "batch" | "scheduler" => json::rest_error(service, &context.request_id, error),
        "ecs" | "logs" | "ssm" | "pricing" => {
            json::target_error(service, &context.request_id, error)
        }
        _ => xml::s3_error(&context.request_id, error),
    }
}

/// A time as HTTP's headers write it.
pub(crate) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
