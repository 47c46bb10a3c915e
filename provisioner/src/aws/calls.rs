//! What `-v` shows: each call to AWS with its status, request id and time, for a support case or a
//! slow run.
//!
//! Names, times and ids only: a request's body can hold user data, and jobs' variables can hold
//! secrets.

use std::fmt;
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_sdk_ec2::operation::RequestId as _;
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use tokio::sync::mpsc::UnboundedSender;

/// From this attempt on a call takes long: single ones that fail are nothing to tell of.
const LONG: u32 = 3;

/// Where calls are told, and how much of them.
#[derive(Clone, Default)]
pub struct CallLog {
    level: u8,
    to: Option<(UnboundedSender<String>, SharedTimeSource)>,
}

impl fmt::Debug for CallLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CallLog").field("level", &self.level).finish_non_exhaustive()
    }
}

impl CallLog {
    /// Tells each answer at level 1; also each attempt as it begins, and where it goes, from 2 on.
    /// At 0 it tells nothing, or where somebody waits, of calls that are tried again and again.
    #[must_use]
    pub fn new(
        level: u8,
        somebody_waits: bool,
        time: SharedTimeSource,
        lines: UnboundedSender<String>,
    ) -> Self {
        Self { level, to: (level > 0 || somebody_waits).then_some((lines, time)) }
    }

    fn tell(&self, line: String) {
        if let Some((lines, _)) = &self.to {
            // Nobody reads any more once the run is over.
            let _ = lines.send(line);
        }
    }

    fn now(&self) -> Option<SystemTime> {
        self.to.as_ref().map(|(_, time)| time.now())
    }
}

/// When an attempt began.
#[derive(Debug)]
struct Began(SystemTime);

impl Storable for Began {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for CallLog {
    fn name(&self) -> &'static str {
        "CallLog"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(now) = self.now() else { return Ok(()) };
        bag.interceptor_state().store_put(Began(now));
        let request = context.request();
        let attempt = bag.load::<RequestAttempts>().map_or(1, RequestAttempts::attempts);
        if self.level == 0 && attempt >= LONG {
            let place = request.uri().splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            self.tell(format!("{} at {place} has no answer yet: attempt {attempt}", action(bag)));
        }
        if self.level > 1 {
            self.tell(format!(
                "> {} attempt {attempt}: {} {}",
                action(bag),
                request.method(),
                request.uri()
            ));
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(now) = self.now().filter(|_| self.level > 0) else { return Ok(()) };
        let Some(Began(began)) = bag.load::<Began>() else { return Ok(()) };
        let millis = now.duration_since(*began).unwrap_or_default().as_millis();
        let answer = match context.response() {
            Some(response) => {
                format!("{}, request id {}", response.status().as_u16(), request_id(response))
            }
            None => "no answer".to_owned(),
        };
        self.tell(format!("< {}: {answer}, {millis} ms", action(bag)));
        Ok(())
    }
}

/// Service and operation, as permissions name them.
fn action(bag: &ConfigBag) -> String {
    bag.load::<Metadata>().map_or_else(
        || "a call".to_owned(),
        |call| format!("{}:{}", prefix(call.service()), call.name()),
    )
}

/// The service's prefix in permissions, from the name that its model has. By hand: the SDKs don't
/// know permissions.
fn prefix(service: &str) -> String {
    match service {
        "CloudWatch Logs" => "logs".to_owned(),
        other => other.to_lowercase().replace(' ', ""),
    }
}

/// From the header that all services send, else from EC2's or IAM's body, where the SDKs don't
/// look.
fn request_id(response: &HttpResponse) -> String {
    let id = response.request_id().map(str::to_owned).or_else(|| {
        let body = std::str::from_utf8(response.body().bytes()?).ok()?;
        ["requestId", "RequestId", "RequestID"].iter().find_map(|tag| {
            let after = body.split_once(&format!("<{tag}>"))?.1;
            Some(after.split_once('<')?.0.to_owned())
        })
    });
    id.unwrap_or_else(|| "unknown".to_owned())
}

/// What all clients are built from.
pub(crate) struct Base {
    pub(super) sdk: SdkConfig,
    pub(super) calls: CallLog,
}

impl std::ops::Deref for Base {
    type Target = SdkConfig;

    fn deref(&self) -> &SdkConfig {
        &self.sdk
    }
}

/// An SDK's client whose calls are told.
macro_rules! client {
    ($sdk:ident, $base:expr) => {
        $sdk::Client::from_conf(
            $sdk::config::Builder::from(&$base.sdk).interceptor($base.calls.clone()).build(),
        )
    };
}
pub(super) use client;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_as_permissions_name_them() {
        for (service, expected) in
            [("EC2", "ec2"), ("CloudWatch Logs", "logs"), ("Scheduler", "scheduler")]
        {
            assert_eq!(prefix(service), expected);
        }
    }

    #[test]
    fn a_request_id_is_found_in_the_header_or_the_body() {
        let answer =
            |body: &'static str| HttpResponse::new(200.try_into().expect("a status"), body.into());
        let mut with_header = answer("<requestId>in-the-body</requestId>");
        with_header.headers_mut().insert("x-amzn-requestid", "in-the-header");
        assert_eq!(request_id(&with_header), "in-the-header");
        assert_eq!(request_id(&answer("<A><RequestId>in-the-body</RequestId></A>")), "in-the-body");
        assert_eq!(request_id(&answer("{}")), "unknown");
    }
}
