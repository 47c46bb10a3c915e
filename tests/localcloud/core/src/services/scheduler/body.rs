//! What a schedule is made of, and AWS's checks on it.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DEFAULT_GROUP, check_name, invalid, target};
use crate::protocol::AwsError;
use crate::protocol::wire::json;

/// How long past the time of a one-time schedule may be when it is made. That AWS refuses a time
/// that has passed is said by those who ran into it; the limit, and that its precision of one
/// minute counts, is ours [A].
const PAST: SignedDuration = SignedDuration::from_secs(60);

/// What a schedule is made of.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Body {
    pub(super) action_after_completion: Option<String>,
    pub(super) client_token: Option<String>,
    pub(super) description: Option<String>,
    pub(super) end_date: Option<Value>,
    pub(super) flexible_time_window: FlexibleTimeWindow,
    group_name: Option<String>,
    pub(super) kms_key_arn: Option<String>,
    pub(super) schedule_expression: String,
    schedule_expression_timezone: Option<String>,
    pub(super) start_date: Option<Value>,
    state: Option<String>,
    pub(super) target: Target,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FlexibleTimeWindow {
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_window_in_minutes: Option<u32>,
}

/// What a schedule calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Target {
    pub(super) arn: String,
    pub(super) role_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<String>,
    #[serde(default)]
    pub(super) retry_policy: RetryPolicy,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// How often a call is tried again, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RetryPolicy {
    pub(super) maximum_event_age_in_seconds: u32,
    pub(super) maximum_retry_attempts: u32,
}

impl Default for RetryPolicy {
    /// A day, and 185 times (Scheduler's API model).
    fn default() -> Self {
        Self { maximum_event_age_in_seconds: 86_400, maximum_retry_attempts: 185 }
    }
}

impl Body {
    pub(super) fn read(body: &[u8], now: Timestamp) -> Result<Self, AwsError> {
        let body: Self = json::parse(body).map_err(|error| invalid(error.message))?;
        body.check(now)?;
        Ok(body)
    }

    fn check(&self, now: Timestamp) -> Result<(), AwsError> {
        check_name(self.group())?;
        self.check_expression(now)?;
        if !self.target.arn.starts_with("arn:aws:") {
            return Err(invalid(format!(
                "Provided Arn is not in correct format: {}",
                self.target.arn
            )));
        }
        if !(self.target.role_arn.starts_with("arn:aws:iam::")
            && self.target.role_arn.contains(":role/"))
        {
            return Err(invalid(format!("Invalid RoleArn: {}", self.target.role_arn)));
        }
        target::check(&self.target)?;
        let RetryPolicy { maximum_event_age_in_seconds: age, maximum_retry_attempts: attempts } =
            self.target.retry_policy;
        if !(60..=86_400).contains(&age) || attempts > 185 {
            return Err(invalid(
                "retryPolicy: an event's age must be 60 to 86400 seconds, its retries 0 to 185",
            ));
        }
        match (
            self.flexible_time_window.mode.as_str(),
            self.flexible_time_window.maximum_window_in_minutes,
        ) {
            ("OFF", None) | ("FLEXIBLE", Some(1..=1440)) => {}
            _ => return Err(invalid("Flexible time window configuration is invalid.")),
        }
        if !matches!(self.state.as_deref(), None | Some("ENABLED" | "DISABLED")) {
            return Err(invalid("state: Member must satisfy enum value set: [ENABLED, DISABLED]"));
        }
        if !matches!(self.action_after_completion.as_deref(), None | Some("NONE" | "DELETE")) {
            return Err(invalid(
                "actionAfterCompletion: Member must satisfy enum value set: [NONE, DELETE]",
            ));
        }
        check_token(self.client_token.as_deref())
    }

    fn check_expression(&self, now: Timestamp) -> Result<(), AwsError> {
        let zone = self.time_zone().ok_or_else(|| {
            invalid(format!(
                "Invalid Schedule Expression Timezone {}.",
                self.expression_time_zone()
            ))
        })?;
        let expression = &self.schedule_expression;
        let refused = || invalid(format!("Invalid Schedule Expression {expression}."));
        if inside(expression, "at").is_none() {
            return if is_recurring(expression) { Ok(()) } else { Err(refused()) };
        }
        let at = one_time(expression, &zone).ok_or_else(refused)?;
        if at + PAST < now { Err(refused()) } else { Ok(()) }
    }

    /// The last moment at which a one-time schedule fires that is enabled: its time, and the whole
    /// window that it gives.
    pub(super) fn fires_at(&self) -> Option<Timestamp> {
        let at = one_time(&self.schedule_expression, &self.time_zone()?)?;
        let window = self.flexible_time_window.maximum_window_in_minutes.unwrap_or_default();
        (self.state() == "ENABLED").then(|| at + SignedDuration::from_mins(window.into()))
    }

    pub(super) fn group(&self) -> &str {
        self.group_name.as_deref().unwrap_or(DEFAULT_GROUP)
    }

    pub(super) fn state(&self) -> &str {
        self.state.as_deref().unwrap_or("ENABLED")
    }

    pub(super) fn action_after_completion(&self) -> &str {
        self.action_after_completion.as_deref().unwrap_or("NONE")
    }

    pub(super) fn expression_time_zone(&self) -> &str {
        self.schedule_expression_timezone.as_deref().unwrap_or("UTC")
    }

    fn time_zone(&self) -> Option<TimeZone> {
        match self.expression_time_zone() {
            "UTC" => Some(TimeZone::UTC),
            name => TimeZone::get(name).ok(),
        }
    }
}

/// A client token in the characters and the length that Scheduler allows.
pub(super) fn check_token(token: Option<&str>) -> Result<(), AwsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    match token {
        Some(token) if !(1..=64).contains(&token.len()) || !token.chars().all(allowed) => {
            Err(invalid(format!(
                "clientToken: Value '{token}' must satisfy ^[a-zA-Z0-9-_]+$ and have 1 to 64 \
                 characters"
            )))
        }
        _ => Ok(()),
    }
}

fn inside<'a>(expression: &'a str, kind: &str) -> Option<&'a str> {
    expression.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')')
}

/// The moment of `at(2026-11-24T12:00:00)`.
fn one_time(expression: &str, zone: &TimeZone) -> Option<Timestamp> {
    let at = inside(expression, "at").filter(|at| at.len() == "2026-11-24T12:00:00".len())?;
    let at: civil::DateTime = at.parse().ok()?;
    zone.to_timestamp(at).ok()
}

/// `rate(5 minutes)`, or `cron(...)` with its six fields.
fn is_recurring(expression: &str) -> bool {
    if let Some(rate) = inside(expression, "rate") {
        let Some((number, unit)) = rate.split_once(' ') else { return false };
        let units = ["minute", "minutes", "hour", "hours", "day", "days"];
        return number.parse::<u32>().is_ok_and(|number| number > 0) && units.contains(&unit);
    }
    inside(expression, "cron").is_some_and(|fields| fields.split_whitespace().count() == 6)
}
