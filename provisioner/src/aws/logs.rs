//! CloudWatch Logs: what a stream holds.
//!
//! The only call is made by hand on the SDKs' own orchestrator, since aws-sdk-cloudwatchlogs would bring its event streams
//! with it: signing, credentials, retries, timeouts and the told calls are the same as those of the other clients. The
//! protocol is JSON 1.1 `[V]`.

use std::fmt;

use aws_config::{Region, SdkConfig};
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
};
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use aws_types::service_config::ServiceConfigKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::classify::failed;
use crate::model::error::{AwsErrorKind, Result};

/// The client.
pub struct Logs {
    get: Operation<GetLogEvents, Events, Refusal>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When it was written.
    pub at: Option<Timestamp>,
    /// What.
    pub text: String,
}

/// A part of a stream.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its lines.
    pub lines: Vec<Line>,
    /// Goes on behind it; the one that was given comes back when there is nothing more for now `[V]`.
    pub next: Option<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct GetLogEvents {
    log_group_name: String,
    log_stream_name: String,
    start_from_head: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Events {
    #[serde(default)]
    events: Vec<Event>,
    next_forward_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Event {
    timestamp: Option<i64>,
    message: Option<String>,
}

/// An error as the service tells it.
#[derive(Debug)]
struct Refusal(ErrorMetadata);

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for Refusal {}

impl ProvideErrorMetadata for Refusal {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

impl Logs {
    pub(super) fn new(base: &super::calls::Base, region: &str) -> Self {
        let sdk = &base.sdk;
        let mut builder = Operation::builder()
            .service_name("CloudWatch Logs")
            .operation_name("GetLogEvents")
            .endpoint_url(&endpoint(sdk, region))
            .standard_retry(sdk.retry_config().unwrap_or(&super::retries()))
            .timeout_config(sdk.timeout_config().cloned().unwrap_or_else(super::timeouts))
            .retry_classifier(AwsErrorCodeClassifier::<Refusal>::new())
            .retry_classifier(TransientErrorClassifier::<Refusal>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .interceptor(base.calls.clone())
            .with_connection_poisoning()
            .runtime_plugin(signing(sdk, region));
        if let Some(version) = sdk.behavior_version() {
            builder = builder.behavior_version(version);
        }
        if let Some(client) = sdk.http_client() {
            builder = builder.http_client(client);
        }
        if let Some(sleep) = sdk.sleep_impl() {
            builder = builder.sleep_impl(sleep);
        }
        if let Some(time) = sdk.time_source() {
            builder = builder.time_source(time);
        }
        Self { get: builder.serializer(request).deserializer(answer).build() }
    }

    /// A stream's lines behind a token, or from its beginning; none when there is no such stream (yet): it comes with the
    /// first line.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn page(&self, group: &str, stream: &str, token: Option<&str>) -> Result<Option<Page>> {
        let token = token.map(str::to_owned);
        self.ask(group, stream, |asked| GetLogEvents { start_from_head: true, next_token: token, ..asked }).await
    }

    /// A stream's last lines, at most so many (1 to 10,000); none when there is no such stream.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn tail(&self, group: &str, stream: &str, most: u32) -> Result<Vec<Line>> {
        let page = self.ask(group, stream, |asked| GetLogEvents { limit: Some(most), ..asked }).await?;
        Ok(page.map(|page| page.lines).unwrap_or_default())
    }

    async fn ask(
        &self,
        group: &str,
        stream: &str,
        with: impl FnOnce(GetLogEvents) -> GetLogEvents,
    ) -> Result<Option<Page>> {
        let asked = with(GetLogEvents {
            log_group_name: group.to_owned(),
            log_stream_name: stream.to_owned(),
            ..GetLogEvents::default()
        });
        let answer = self.get.invoke(asked).await;
        match answer.map_err(failed("logs:GetLogEvents", format!("{group}:{stream}"))) {
            Ok(Events { events, next_forward_token: next }) => {
                Ok(Some(Page { lines: events.into_iter().map(line).collect(), next }))
            }
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn line(event: Event) -> Line {
    Line {
        at: event.timestamp.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        text: event.message.unwrap_or_default(),
    }
}

/// Who signs, and for what.
fn signing(sdk: &SdkConfig, region: &str) -> StaticRuntimePlugin {
    let mut layer = Layer::new("CloudWatch Logs");
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(SigV4OperationSigningConfig {
        region: Some(SigningRegion::from(Region::new(region.to_owned()))),
        region_set: None,
        name: Some(SigningName::from_static("logs")),
        signing_options: SigningOptions::default(),
    });
    let mut components = RuntimeComponentsBuilder::new("CloudWatch Logs")
        .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
        .with_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(
            StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]),
        )))
        .with_identity_cache(sdk.identity_cache());
    if let Some(credentials) = sdk.credentials_provider() {
        components.set_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(credentials));
    }
    StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(components)
}

/// As the SDKs choose it: what was given to all clients, then what is configured for this service, then what is
/// configured for all, then AWS's.
fn endpoint(sdk: &SdkConfig, region: &str) -> String {
    let key = ServiceConfigKey::builder()
        .service_id("CloudWatch Logs")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok();
    let own = || sdk.service_config().zip(key).and_then(|(config, key)| config.load_config(key));
    let own = if sdk.get_origin("endpoint_url").is_client_config() { None } else { own() };
    own.or_else(|| sdk.endpoint_url().map(str::to_owned))
        .unwrap_or_else(|| format!("https://{}.{region}.{}", host(sdk, region), suffix(region)))
}

/// With validated cryptography where that was asked for (`AWS_USE_FIPS_ENDPOINT`); GovCloud's only endpoints have it `[V]`.
fn host(sdk: &SdkConfig, region: &str) -> &'static str {
    let separate = sdk.use_fips().unwrap_or_default() && !region.starts_with("us-gov-");
    if separate { "logs-fips" } else { "logs" }
}

/// The DNS suffix of a region's partition, as the SDKs' endpoint rules have it `[V]`.
fn suffix(region: &str) -> &'static str {
    const OTHERS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    OTHERS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("amazonaws.com", |(_, suffix)| suffix)
}

fn request(asked: GetLogEvents) -> std::result::Result<HttpRequest, BoxError> {
    let body = serde_json::to_string(&asked)?;
    let length = body.len().to_string();
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST")?;
    request.set_uri("/")?;
    let headers = request.headers_mut();
    headers.insert("content-type", "application/x-amz-json-1.1");
    headers.insert("content-length", length);
    headers.insert("x-amz-target", "Logs_20140328.GetLogEvents");
    headers.insert("user-agent", concat!("spotblock-", env!("CARGO_PKG_VERSION")));
    Ok(request)
}

fn answer(response: &HttpResponse) -> std::result::Result<Events, OrchestratorError<Refusal>> {
    let body = response.body().bytes().unwrap_or_default();
    if !response.status().is_success() {
        return Err(OrchestratorError::operation(refusal(response, body)));
    }
    serde_json::from_slice(body).map_err(|error| OrchestratorError::response(error.into()))
}

/// The code is in the body or a header, sometimes with a namespace before it or an address behind it `[V]`.
fn refusal(response: &HttpResponse, body: &[u8]) -> Refusal {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = response.headers().get("x-amzn-errortype").or_else(|| body["__type"].as_str());
    let code = code.map(bare);
    let message = body["message"].as_str().or_else(|| body["Message"].as_str()).map(str::to_owned);
    // What stands between here and AWS answers in its own words.
    let message = message.unwrap_or_else(|| format!("HTTP status {}", response.status().as_u16()));
    let mut error = ErrorMetadata::builder().message(message);
    if let Some(code) = code {
        error = error.code(code);
    }
    Refusal(error.build())
}

fn bare(code: &str) -> &str {
    let code = code.split(':').next().unwrap_or_default();
    code.rsplit('#').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_wherever_the_service_writes_its_code() {
        let answer = |header: Option<&'static str>, body: &'static str| {
            let mut response = HttpResponse::new(400.try_into().expect("a status"), body.into());
            if let Some(code) = header {
                response.headers_mut().insert("x-amzn-errortype", code);
            }
            let error = refusal(&response, body.as_bytes());
            (error.code().map(str::to_owned), error.message().map(str::to_owned))
        };
        let denied = (Some("AccessDeniedException".to_owned()), Some("no".to_owned()));
        assert_eq!(answer(None, r#"{"__type":"com.amazonaws#AccessDeniedException","Message":"no"}"#), denied);
        assert_eq!(answer(Some("AccessDeniedException:http://x#y"), r#"{"message":"no"}"#), denied);
        assert_eq!(answer(None, "<html>"), (None, Some("HTTP status 400".to_owned())));
    }

    #[test]
    fn each_partition_has_its_endpoint() {
        let sdk = SdkConfig::builder().build();
        assert_eq!(endpoint(&sdk, "eu-west-1"), "https://logs.eu-west-1.amazonaws.com");
        assert_eq!(endpoint(&sdk, "us-gov-west-1"), "https://logs.us-gov-west-1.amazonaws.com");
        assert_eq!(endpoint(&sdk, "cn-north-1"), "https://logs.cn-north-1.amazonaws.com.cn");
        assert_eq!(endpoint(&sdk, "us-isob-east-1"), "https://logs.us-isob-east-1.sc2s.sgov.gov");
        let sdk = SdkConfig::builder().use_fips(true).build();
        assert_eq!(endpoint(&sdk, "us-east-1"), "https://logs-fips.us-east-1.amazonaws.com");
        assert_eq!(endpoint(&sdk, "us-gov-west-1"), "https://logs.us-gov-west-1.amazonaws.com");
        let sdk = SdkConfig::builder().endpoint_url("http://127.0.0.1:5").build();
        assert_eq!(endpoint(&sdk, "eu-west-1"), "http://127.0.0.1:5");
    }
}
