//! CloudWatch Logs: what a stream holds.

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::error::SdkError;
use aws_sdk_cloudwatchlogs::operation::get_log_events::GetLogEventsError;
use aws_sdk_cloudwatchlogs::operation::get_log_events::builders::GetLogEventsFluentBuilder;
use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
use jiff::Timestamp;
use serde::Serialize;

use super::text;
use crate::aws::classify::failed;
use crate::model::error::{AwsErrorKind, Error, Result};

/// The client.
pub(crate) struct Logs {
    client: Client,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// When it was written.
    pub at: Option<Timestamp>,
    /// What.
    pub text: String,
}

/// A part of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Its lines.
    pub lines: Vec<Line>,
    /// Goes on behind it; the one that was given comes back when there is nothing more for now
    /// `[V]`.
    pub next: Option<String>,
}

impl Logs {
    pub(super) fn new(base: &super::calls::Base) -> Self {
        Self { client: super::calls::client!(aws_sdk_cloudwatchlogs, base) }
    }

    /// A stream's lines behind a token, or from its beginning; none when there is no such stream
    /// (yet): it comes with the first line. Not by the SDK's paginator, which keeps to itself the
    /// token on which a follower goes on.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn page(
        &self,
        group: &str,
        stream: &str,
        token: Option<&str>,
    ) -> Result<Option<Page>> {
        let token = token.map(str::to_owned);
        self.ask(group, stream, |call| call.start_from_head(true).set_next_token(token)).await
    }

    /// A stream's last lines, at most so many (1 to 10,000); none when there is no such stream.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn tail(&self, group: &str, stream: &str, most: u32) -> Result<Vec<Line>> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let page = self.ask(group, stream, |call| call.start_from_head(false).limit(most)).await?;
        Ok(page.map(|page| page.lines).unwrap_or_default())
    }

    async fn ask(
        &self,
        group: &str,
        stream: &str,
        with: impl FnOnce(GetLogEventsFluentBuilder) -> GetLogEventsFluentBuilder,
    ) -> Result<Option<Page>> {
        let call = with(self.client.get_log_events().log_group_name(group).log_stream_name(stream));
        match call.send().await.map_err(|error| refused(error, format!("{group}:{stream}"))) {
            Ok(answer) => Ok(Some(Page {
                lines: answer.events().iter().map(line).collect(),
                next: answer.next_forward_token().map(str::to_owned),
            })),
            Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Classifies a refusal. What stands between here and AWS answers in its own words, which the SDK
/// can't read: such an answer is told by its status.
fn refused(error: SdkError<GetLogEventsError>, of: String) -> Error {
    let silent = error.as_service_error().is_some_and(|refusal| refusal.meta().message().is_none());
    let status = error.raw_response().filter(|_| silent).map(|answer| answer.status().as_u16());
    let error = failed("logs:GetLogEvents", of)(error);
    let Some(status) = status else { return error };
    match error.into_aws() {
        Ok(mut failure) => {
            failure.message = format!("HTTP status {status}");
            failure.into()
        }
        Err(error) => error,
    }
}

fn line(event: &OutputLogEvent) -> Line {
    Line {
        at: event.timestamp().and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        text: text(event.message()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_config::retry::RetryConfig;
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};

    use super::*;
    use crate::aws::calls::{Base, CallLog};

    /// The answer's `x-amzn-errortype`.
    type Header = Option<&'static str>;

    /// Gives all requests one answer, and keeps where they went.
    #[derive(Clone, Debug)]
    struct Stub {
        header: Header,
        body: &'static str,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl HttpConnector for Stub {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.asked.lock().expect("a list").push(request.uri().to_owned());
            let status = 400.try_into().expect("a status");
            let mut response = HttpResponse::new(status, self.body.into());
            if let Some(code) = self.header {
                response.headers_mut().insert("x-amzn-errortype", code);
            }
            HttpConnectorFuture::ready(Ok(response))
        }
    }

    /// The code and message of a refusal, and where it came from.
    async fn refusal(sdk: SdkConfig, header: Header, body: &'static str) -> [Option<String>; 3] {
        let stub = Stub { header, body, asked: Arc::default() };
        let connector = SharedHttpConnector::new(stub.clone());
        let credentials = Credentials::new("x", "x", None, None, "test");
        let sdk = sdk
            .into_builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .retry_config(RetryConfig::disabled())
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        let logs = Logs::new(&Base { sdk: sdk.build(), calls: CallLog::default() });
        let error = logs.page("g", "s", None).await.expect_err("a refusal");
        let error = error.aws().expect("AWS's");
        [error.code.clone(), Some(error.message.clone()), stub.asked.lock().expect("a list").pop()]
    }

    fn sdk(region: &'static str) -> SdkConfig {
        SdkConfig::builder().region(Region::from_static(region)).build()
    }

    #[tokio::test]
    async fn a_refusal_is_read_wherever_the_service_writes_its_code() {
        let answer = async |header, body| {
            let [code, message, _] = refusal(sdk("eu-west-1"), header, body).await;
            (code, message)
        };
        let denied = (Some("AccessDeniedException".to_owned()), Some("no".to_owned()));
        let in_body = r#"{"__type":"com.amazonaws#AccessDeniedException","Message":"no"}"#;
        assert_eq!(answer(None, in_body).await, denied);
        let header = Some("AccessDeniedException:http://x#y");
        assert_eq!(answer(header, r#"{"message":"no"}"#).await, denied);
        assert_eq!(answer(None, "<html>").await, (None, Some("HTTP status 400".to_owned())));
    }

    #[tokio::test]
    async fn each_partition_has_its_endpoint() {
        let endpoint = async |sdk| {
            let [_, _, uri] = refusal(sdk, None, "{}").await;
            uri.expect("a request").trim_end_matches('/').to_owned()
        };
        for (region, expected) in [
            ("eu-west-1", "https://logs.eu-west-1.amazonaws.com"),
            ("us-gov-west-1", "https://logs.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://logs.cn-north-1.amazonaws.com.cn"),
            ("us-isob-east-1", "https://logs.us-isob-east-1.sc2s.sgov.gov"),
        ] {
            assert_eq!(endpoint(sdk(region)).await, expected);
        }
        for (region, expected) in [
            ("us-east-1", "https://logs-fips.us-east-1.amazonaws.com"),
            ("us-gov-west-1", "https://logs.us-gov-west-1.amazonaws.com"),
        ] {
            assert_eq!(endpoint(sdk(region).into_builder().use_fips(true).build()).await, expected);
        }
        let given = sdk("eu-west-1").into_builder().endpoint_url("http://127.0.0.1:5").build();
        assert_eq!(endpoint(given).await, "http://127.0.0.1:5");
    }
}
