//! AWS, and the only place that builds the SDKs' configuration.
//!
//! Each file has only the calls that are used, turns answers into this program's types, and
//! classifies errors once ([`crate::model::error`]).

use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use jiff::Timestamp;

use self::calls::CallLog;
use crate::model::error::{Error, Result};

pub(crate) mod batch;
pub(crate) mod calls;
pub(crate) mod classify;
pub(crate) mod ec2;
pub(crate) mod ecs;
pub(crate) mod iam;
pub(crate) mod logs;
pub(crate) mod partition;
pub(crate) mod pricing;
pub(crate) mod refusal;
pub(crate) mod scheduler;
pub(crate) mod ssm;
mod unanswered;

/// Where credentials, region and endpoint come from.
#[derive(Clone, Debug, Default)]
pub enum Account {
    /// The SDK's usual chain: environment, profiles, SSO, instance metadata.
    #[default]
    Chain,
    /// These, and nothing of this machine's settings.
    Given {
        /// The credentials.
        credentials: SharedCredentialsProvider,
        /// The endpoint of all services.
        endpoint: String,
    },
}

/// What all SDK clients are made on.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What all SDK clients talk through.
    pub http: SharedHttpClient,
    /// How all waits sleep, the SDK's included.
    pub sleep: SharedAsyncSleep,
    /// The only clock.
    pub time: SharedTimeSource,
    /// Where credentials come from.
    pub account: Account,
    /// Who is told of each call; [`run`](crate::run) fills it in for `-v`.
    pub calls: CallLog,
}

/// What the user said about where AWS is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Location {
    /// The region.
    pub region: Option<String>,
    /// The profile.
    pub profile: Option<String>,
    /// The endpoint of all services.
    pub endpoint_url: Option<String>,
}

/// The clients.
pub(crate) struct Aws {
    /// EC2.
    pub ec2: ec2::Ec2,
    /// Batch.
    pub batch: batch::Batch,
    /// ECS.
    pub ecs: ecs::Ecs,
    /// IAM.
    pub iam: iam::Iam,
    /// CloudWatch Logs.
    pub logs: logs::Logs,
    /// The price list.
    pub pricing: pricing::Pricing,
    /// EventBridge Scheduler.
    pub scheduler: scheduler::Scheduler,
    /// Systems Manager.
    pub ssm: ssm::Ssm,
    /// The region.
    pub region: String,
    /// Its partition.
    pub(crate) partition: partition::Partition,
}

impl Aws {
    /// Clients for this place, on these ports.
    ///
    /// # Errors
    /// [`Error::usage`] without a region, or with an endpoint that is no URL.
    pub(crate) async fn connect(ports: &Connection, place: Location) -> Result<Self> {
        let config = match &ports.account {
            Account::Chain => from_chain(ports, place).await,
            Account::Given { credentials, endpoint } => {
                given(ports, place, credentials.clone(), endpoint)
            }
        };
        let region = config.region().map(ToString::to_string).ok_or_else(|| {
            Error::usage(
                "no region was found",
                "set `region` in spotblock.toml, give --region, or set AWS_REGION",
            )
        })?;
        check_endpoint(config.endpoint_url())?;
        let base = calls::Base { sdk: config, calls: ports.calls.clone() };
        Ok(Self {
            ec2: ec2::Ec2::new(&base),
            batch: batch::Batch::new(&base),
            ecs: ecs::Ecs::new(&base),
            iam: iam::Iam::new(&base),
            logs: logs::Logs::new(&base),
            pricing: pricing::Pricing::new(&base),
            scheduler: scheduler::Scheduler::new(&base),
            ssm: ssm::Ssm::new(&base),
            partition: partition::Partition::of(&region).await,
            region,
        })
    }
}

/// The SDKs take anything for an endpoint, and fail at the first call with all they know of it.
fn check_endpoint(url: Option<&str>) -> Result<()> {
    match url {
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            Err(Error::usage(
                format!("the endpoint {url:?} is no URL"),
                "begin --endpoint-url (SPOTBLOCK_ENDPOINT_URL, AWS_ENDPOINT_URL) with http:// or \
                 https://",
            ))
        }
        _ => Ok(()),
    }
}

/// By default the SDKs bound nothing but the connect.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(20))
        .operation_attempt_timeout(Duration::from_secs(25))
        .operation_timeout(Duration::from_secs(90))
        .build()
}

/// Exponential back-off with jitter, for throttling and what may pass.
fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(5)
}

/// Names this program in the user agent, which CloudTrail shows.
fn app_name() -> Option<AppName> {
    AppName::new(concat!("spotblock-", env!("CARGO_PKG_VERSION"))).ok()
}

async fn from_chain(ports: &Connection, place: Location) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(ports.http.clone())
        .sleep_impl(ports.sleep.clone())
        .time_source(ports.time.clone())
        .timeout_config(timeouts())
        .retry_config(retries());
    if let Some(name) = app_name() {
        loader = loader.app_name(name);
    }
    if let Some(region) = place.region {
        loader = loader.region(Region::new(region));
    }
    if let Some(profile) = &place.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = place.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    let config = loader.load().await;
    match place.profile {
        Some(profile) => {
            let credentials = of_profile(ports, &config, profile);
            config.into_builder().credentials_provider(credentials).build()
        }
        None => config,
    }
}

/// A named profile's credentials. The usual chain would take keys in the environment first, and so
/// work on another account than the one that was asked for; the AWS CLI's --profile goes before
/// them as well `[V]`.
fn of_profile(ports: &Connection, config: &SdkConfig, name: String) -> SharedCredentialsProvider {
    let inner = ProviderConfig::default()
        .with_http_client(ports.http.clone())
        .with_sleep_impl(ports.sleep.clone())
        .with_time_source(ports.time.clone())
        .with_region(config.region().cloned());
    SharedCredentialsProvider::new(
        ProfileFileCredentialsProvider::builder().profile_name(name).configure(&inner).build(),
    )
}

fn given(
    ports: &Connection,
    place: Location,
    credentials: SharedCredentialsProvider,
    endpoint: &str,
) -> SdkConfig {
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(ports.http.clone())
        .sleep_impl(ports.sleep.clone())
        .time_source(ports.time.clone())
        .timeout_config(timeouts())
        .retry_config(retries())
        .credentials_provider(credentials)
        .endpoint_url(endpoint);
    builder.set_app_name(app_name());
    builder.set_region(place.region.map(Region::new));
    builder.build()
}

/// An SDK time as ours, which the SDKs can't convert to; AWS leaves some out, and those count as
/// the earliest.
fn time(at: Option<&aws_sdk_ec2::primitives::DateTime>) -> Timestamp {
    at.and_then(|at| Timestamp::new(at.secs(), at.subsec_nanos().try_into().ok()?).ok())
        .unwrap_or(Timestamp::MIN)
}

/// An SDK time from ours, in whole seconds: EC2 keeps no fractions, and a repeated request must be
/// equal to the first.
fn to_sdk_time(at: Timestamp) -> aws_sdk_ec2::primitives::DateTime {
    aws_sdk_ec2::primitives::DateTime::from_secs(at.as_second())
}

/// A required text of an answer that AWS left out is an empty one.
fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_scheme_is_refused_before_any_call() {
        for url in ["127.0.0.1:5599", "localhost", "ftp://127.0.0.1"] {
            let error = check_endpoint(Some(url)).expect_err(url);
            assert_eq!(error.exit_code(), 2, "{error}");
        }
        assert!(
            check_endpoint(Some("http://127.0.0.1:5599")).is_ok() && check_endpoint(None).is_ok()
        );
    }
}
