//! The instance metadata service, version 2 only.

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::imds::client::error::{ImdsError, TokenError};
use aws_config::imds::{self, credentials::ImdsCredentialsProvider};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::clock::{BootClock, sdk_time};
use crate::ports::{Answer, Clock as _, Identity, Metadata, MetadataError, Signal, error_chain};

const IDENTITY: &str = "/latest/dynamic/instance-identity/document";
const LIFE_CYCLE: &str = "/latest/meta-data/instance-life-cycle";
const USER_DATA: &str = "/latest/user-data";
const INSTANCE_ACTION: &str = "/latest/meta-data/spot/instance-action";

const TERMINATION_TIME: &str = "/latest/meta-data/spot/termination-time";
const REBALANCE: &str = "/latest/meta-data/events/recommendations/rebalance";
const MAINTENANCE: &str = "/latest/meta-data/events/maintenance/scheduled";
/// [`node_contract::names::tag::END`] below the instance's tags.
const END_TAG: &str = "/latest/meta-data/tags/instance/spotblock:end";

/// How EC2 writes the moments of scheduled events, with `+0000` in the place of `GMT`: `21 Jan 2019
/// 09:00:43 GMT`.
const EVENT_TIME: &str = "%d %b %Y %H:%M:%S %z";

/// EC2's notice, where it doesn't say a time.
const NOTICE: SignedDuration = SignedDuration::from_mins(2);

/// The instance metadata service.
#[derive(Debug)]
pub(crate) struct Imds {
    endpoint: Option<String>,
    http: SharedHttpClient,
    clock: Arc<BootClock>,
    client: Mutex<imds::Client>,
}

/// Reads what a signal's place holds.
type Read = fn(&str) -> Result<Option<Timestamp>, String>;

/// The parts of the identity document that are used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    instance_id: String,
    region: String,
    pending_time: Timestamp,
}

/// `spot/instance-action`. The action itself makes no difference: terminated, stopped or
/// hibernated, the tasks end.
#[derive(Deserialize)]
struct InstanceAction {
    #[serde(rename = "action")]
    _action: String,
    time: Option<String>,
}

/// An entry of `events/maintenance/scheduled`. Whatever its code, tasks don't outlive it: reboots,
/// stops and retirements end them, and maintenance of the host's power or network may.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScheduledEvent {
    #[serde(default)]
    not_before: Option<String>,
    #[serde(default)]
    state: Option<String>,
}

/// `events/recommendations/rebalance`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rebalance {
    notice_time: Timestamp,
}

impl Imds {
    /// IMDS at its usual address, or at `endpoint`. Dates in its answers are shown to the clock.
    ///
    /// # Errors
    /// The endpoint is no URL.
    pub(crate) fn new(
        endpoint: Option<String>,
        http: SharedHttpClient,
        clock: Arc<BootClock>,
    ) -> Result<Self, MetadataError> {
        let http = SharedHttpClient::new(ShowsDates { inner: http, clock: Arc::clone(&clock) });
        let client = build(endpoint.as_deref(), &http, &clock)?;
        Ok(Self { endpoint, http, clock, client: Mutex::new(client) })
    }

    /// Reads a path; `None` when there is nothing. The paths are constants of this file: one with a
    /// space in it would make the SDK panic.
    async fn get(&self, path: &'static str) -> Result<Option<String>, MetadataError> {
        match self.client().get(path).await {
            Err(error) if status(&error) == Some(401) => {
                // The SDK's client keeps using a token that was refused; a new one asks for
                // another.
                self.renew()?;
                answer(path, self.client().get(path).await)
            }
            result => answer(path, result),
        }
    }

    async fn must_get(&self, path: &'static str) -> Result<String, MetadataError> {
        self.get(path).await?.ok_or_else(|| MetadataError {
            path,
            problem: "there is nothing (HTTP 404)".to_owned(),
        })
    }

    fn client(&self) -> imds::Client {
        self.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn renew(&self) -> Result<(), MetadataError> {
        let client = build(self.endpoint.as_deref(), &self.http, &self.clock)?;
        *self.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = client;
        Ok(())
    }

    /// The instance role's credentials, fresh.
    async fn credentials(&self) -> provider::Result {
        // A client of its own each time: this happens every few hours, and a token that was refused
        // stays out of it.
        let client = build(self.endpoint.as_deref(), &self.http, &self.clock)
            .map_err(provider::error::CredentialsError::invalid_configuration)?;
        let config = provider_config(&self.http, &self.clock);
        ImdsCredentialsProvider::builder()
            .configure(&config)
            .imds_client(client)
            .build()
            .provide_credentials()
            .await
    }
}

impl Metadata for Imds {
    fn identity(&self) -> Answer<'_, Result<Identity, MetadataError>> {
        Box::pin(async {
            let document = self.must_get(IDENTITY).await?;
            let document: Document = serde_json::from_str(&document)
                .map_err(|error| MetadataError { path: IDENTITY, problem: error.to_string() })?;
            let life_cycle = self.get(LIFE_CYCLE).await?;
            Ok(Identity {
                instance: document.instance_id,
                region: document.region,
                launched: document.pending_time,
                is_spot: life_cycle.is_some_and(|life_cycle| life_cycle.trim() == "spot"),
            })
        })
    }

    fn user_data(&self) -> Answer<'_, Result<Option<String>, MetadataError>> {
        Box::pin(self.get(USER_DATA))
    }

    fn signal(&self, signal: Signal) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        Box::pin(async move {
            let (path, read): (_, Read) = match signal {
                Signal::TerminationTime => (TERMINATION_TIME, termination_time),
                Signal::Rebalance => (REBALANCE, rebalance),
                Signal::Maintenance => (MAINTENANCE, maintenance),
                Signal::EndTag => (END_TAG, end_tag),
            };
            match self.get(path).await? {
                Some(text) => read(text.trim()).map_err(|problem| MetadataError { path, problem }),
                None => Ok(None),
            }
        })
    }

    fn notice(&self) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        Box::pin(async {
            let Some(text) = self.get(INSTANCE_ACTION).await? else { return Ok(None) };
            let action: InstanceAction = serde_json::from_str(&text).map_err(|error| {
                MetadataError { path: INSTANCE_ACTION, problem: error.to_string() }
            })?;
            let time = action.time.and_then(|time| time.parse().ok());
            // A notice without a readable time is a notice all the same.
            Ok(Some(
                time.unwrap_or_else(|| {
                    self.clock.now().checked_add(NOTICE).unwrap_or(Timestamp::MAX)
                }),
            ))
        })
    }
}

/// The place is known to hold what is no time [V]; that says nothing, and is no error.
fn termination_time(text: &str) -> Result<Option<Timestamp>, String> {
    Ok(text.parse().ok())
}

fn rebalance(text: &str) -> Result<Option<Timestamp>, String> {
    let rebalance: Rebalance = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(Some(rebalance.notice_time))
}

/// The earliest one that is still to come about. One whose moment can't be read hides none of the
/// others.
fn maintenance(text: &str) -> Result<Option<Timestamp>, String> {
    let events: Vec<ScheduledEvent> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let active =
        events.iter().filter(|event| event.state.as_deref().is_none_or(|state| state == "active"));
    let moments = active.map(|event| {
        let at = event.not_before.as_deref().ok_or("an event has no NotBefore")?;
        Timestamp::strptime(EVENT_TIME, at.replace("GMT", "+0000"))
            .map_err(|error| error.to_string())
    });
    let moments: Vec<Result<Timestamp, String>> = moments.collect();
    match moments.iter().flatten().min() {
        Some(earliest) => Ok(Some(*earliest)),
        None => moments.into_iter().next().transpose(),
    }
}

/// Whoever may tag the instance writes it; so what is no time is told, but not repeated.
fn end_tag(text: &str) -> Result<Option<Timestamp>, String> {
    text.parse().map(Some).map_err(|_| "it is no moment such as 2026-11-24T12:00:00Z".to_owned())
}

/// The instance role's credentials, for the SDK.
#[derive(Debug)]
pub(crate) struct RoleCredentials(pub Arc<Imds>);

impl ProvideCredentials for RoleCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.credentials())
    }
}

fn provider_config(http: &SharedHttpClient, clock: &Arc<BootClock>) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_http_client(http.clone())
        .with_time_source(sdk_time(clock))
}

fn build(
    endpoint: Option<&str>,
    http: &SharedHttpClient,
    clock: &Arc<BootClock>,
) -> Result<imds::Client, MetadataError> {
    let builder = imds::Client::builder()
        .configure(&provider_config(http, clock))
        // Whoever asks comes back by itself, and on a link to the host an answer takes a
        // millisecond.
        .max_attempts(1)
        .connect_timeout(Duration::from_secs(1))
        .read_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(3));
    match endpoint {
        None => Ok(builder.build()),
        Some(url) => builder.endpoint(url).map(imds::client::Builder::build).map_err(|error| {
            MetadataError { path: "", problem: format!("{url:?} is no endpoint: {error}") }
        }),
    }
}

fn answer<T: Into<String>>(
    path: &'static str,
    result: Result<T, ImdsError>,
) -> Result<Option<String>, MetadataError> {
    match result {
        Ok(text) => Ok(Some(text.into())),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(MetadataError { path, problem: problem(&error) }),
    }
}

fn status(error: &ImdsError) -> Option<u16> {
    match error {
        ImdsError::ErrorResponse(context) => Some(context.response().status().as_u16()),
        _ => None,
    }
}

/// What went wrong, without the answer's body.
fn problem(error: &ImdsError) -> String {
    if let Some(status) = status(error) {
        return format!("HTTP {status}");
    }
    let words = error_chain(error);
    if words.contains("invalid UTF-8") {
        return "it is no text (compressed?); it is read as plain text alone".to_owned();
    }
    match token_status(error) {
        Some(status) => format!("failed to load IMDS session token: HTTP {status}"),
        None => words,
    }
}

/// The status with which a token was refused. The SDK's error reads "invalid token" then, whatever
/// it was, and only its source has the response.
fn token_status(error: &ImdsError) -> Option<u16> {
    let source = error.source()?.downcast_ref::<SdkError<TokenError, HttpResponse>>()?;
    let status = source.raw_response()?.status();
    (!status.is_success()).then(|| status.as_u16())
}

/// Shows the Date of every answer to the clock. The SDK's IMDS client hands out bodies only.
#[derive(Debug)]
struct ShowsDates<T> {
    inner: T,
    clock: Arc<BootClock>,
}

impl HttpClient for ShowsDates<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        parts: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, parts);
        SharedHttpConnector::new(ShowsDates { inner, clock: Arc::clone(&self.clock) })
    }
}

impl HttpConnector for ShowsDates<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answer, clock) = (self.inner.call(request), Arc::clone(&self.clock));
        HttpConnectorFuture::new(async move {
            let response = answer.await?;
            if let Some(date) = response.headers().get("date") {
                clock.saw_date(date);
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests;
