//! CloudWatch Logs: what the containers of Batch's jobs write. They are stand-ins, so their lines
//! are too: what was started, what an `echo` says, and the exit code.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::protocol::wire::json;
use crate::protocol::{AwsError, Context, Handled, Request};

/// GetLogEvents gives at most 10,000 events at once.
const MOST: usize = 10_000;

/// All streams by group and name.
#[derive(Default)]
pub(crate) struct Logs {
    streams: BTreeMap<(String, String), Vec<Line>>,
}

struct Line {
    at: Timestamp,
    text: String,
}

impl Logs {
    /// Adds a line to a stream, which comes with its first one.
    pub(crate) fn write(&mut self, now: Timestamp, group: &str, stream: &str, text: String) {
        self.streams
            .entry((group.to_owned(), stream.to_owned()))
            .or_default()
            .push(Line { at: now, text });
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetLogEvents {
    log_group_name: Option<String>,
    log_stream_name: String,
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    start_from_head: bool,
}

pub(crate) fn handle(logs: &Logs, context: &Context, request: &Request) -> Handled {
    let action = json::target(request).unwrap_or_default();
    let result = match action {
        "GetLogEvents" => json::parse(&request.body).and_then(|asked| get(logs, asked)),
        _ => Err(AwsError::new("UnknownOperationException", format!("unknown operation {action}"))),
    };
    let (response, error) = match result {
        Ok(body) => (json::target_response(&context.request_id, &body), None),
        Err(error) => (json::target_error("logs", &context.request_id, &error), Some(error.code)),
    };
    Handled {
        operation: action.to_owned(),
        parameters: serde_json::from_slice(&request.body).unwrap_or_default(),
        response,
        error,
    }
}

/// A page of a stream. Tokens are `f/N` and `b/N` with the index of the next line in that
/// direction; at an end the token that was given comes back.
fn get(logs: &Logs, asked: GetLogEvents) -> Result<Value, AwsError> {
    let group = asked.log_group_name.unwrap_or_default();
    if !logs.streams.keys().any(|(known, _)| *known == group) {
        return Err(AwsError::new(
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ));
    }
    let lines = logs.streams.get(&(group, asked.log_stream_name));
    let lines = lines.ok_or_else(|| {
        AwsError::new("ResourceNotFoundException", "The specified log stream does not exist.")
    })?;
    let size = asked.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&size) {
        return Err(AwsError::new(
            "InvalidParameterException",
            "limit must be between 1 and 10000",
        ));
    }
    let in_time = |line: &&Line| {
        let at = line.at.as_millisecond();
        asked.start_time.is_none_or(|start| at >= start)
            && asked.end_time.is_none_or(|end| at < end)
    };
    let lines: Vec<&Line> = lines.iter().filter(in_time).collect();
    let (from, to) = match asked.next_token.as_deref().map(token).transpose()? {
        Some(('f', from)) => (from.min(lines.len()), (from + size).min(lines.len())),
        Some((_, to)) => (to.min(lines.len()).saturating_sub(size), to.min(lines.len())),
        None if asked.start_from_head => (0, size.min(lines.len())),
        None => (lines.len().saturating_sub(size), lines.len()),
    };
    let event = |line: &&Line| {
        let at = line.at.as_millisecond();
        json!({"timestamp": at, "message": line.text, "ingestionTime": at})
    };
    Ok(json!({
        "events": lines[from..to].iter().map(event).collect::<Vec<_>>(),
        "nextForwardToken": format!("f/{to}"),
        "nextBackwardToken": format!("b/{from}"),
    }))
}

fn token(token: &str) -> Result<(char, usize), AwsError> {
    let read = |token: &str| {
        let (direction, index) = token.split_once('/')?;
        let direction = direction.chars().next().filter(|it| matches!(it, 'f' | 'b'))?;
        Some((direction, index.parse().ok()?))
    };
    read(token).ok_or_else(|| {
        AwsError::new("InvalidParameterException", "The specified nextToken is invalid.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(logs: &Logs, more: Value) -> Result<Value, AwsError> {
        let mut asked = json!({"logGroupName": "g", "logStreamName": "s", "startFromHead": true});
        asked
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        get(logs, serde_json::from_value(asked).expect("a request"))
    }

    /// Catches: lines that come twice or never, on which `logs --follow` stands.
    #[test]
    fn a_stream_is_read_in_pages_to_its_end_and_on() {
        let mut logs = Logs::default();
        assert_eq!(ask(&logs, json!({})).expect_err("no stream").code, "ResourceNotFoundException");
        let now = Timestamp::UNIX_EPOCH;
        for text in ["a", "b", "c"] {
            logs.write(now, "g", "s", text.to_owned());
        }
        let first = ask(&logs, json!({"limit": 2})).expect("a page");
        assert_eq!(first["events"].as_array().map(Vec::len), Some(2));
        let rest = ask(&logs, json!({"nextToken": first["nextForwardToken"]})).expect("a page");
        assert_eq!(rest["events"][0]["message"], "c");
        let end = ask(&logs, json!({"nextToken": rest["nextForwardToken"]})).expect("a page");
        assert_eq!(
            (&end["events"], &end["nextForwardToken"]),
            (&json!([]), &rest["nextForwardToken"])
        );
        logs.write(now, "g", "s", "d".to_owned());
        let more = ask(&logs, json!({"nextToken": end["nextForwardToken"]})).expect("a page");
        assert_eq!(more["events"][0]["message"], "d");
        assert!(ask(&logs, json!({"nextToken": "x"})).is_err());
    }
}
