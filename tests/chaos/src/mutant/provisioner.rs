//! What is wrong with the provisioner: calls that it makes twice or not at all, and its clock.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use harness::SimulatedTime;
use localcloud_core::{Request, Response};

use super::Mutant;
use crate::world::World;

/// What buys, under a client token.
const BUYS: [&str; 4] =
    ["RequestSpotInstances", "CreateFleet", "RunInstances", "CreateCapacityReservation"];

/// A purchase under another client token.
#[must_use]
pub fn again(body: &[u8]) -> Option<Vec<u8>> {
    let token = token_of(body)?;
    Some(std::str::from_utf8(body).ok()?.replacen(token, &format!("{token}-again"), 1).into_bytes())
}

/// The client token of a purchase.
fn token_of(body: &[u8]) -> Option<&str> {
    let form = form(body);
    let buys = form.get("Action").is_some_and(|action| BUYS.contains(action));
    form.get("ClientToken").copied().filter(|_| buys)
}

/// The request as `up` sends it.
#[must_use]
pub fn spoilt(mutant: Option<Mutant>, run: u64, request: Request) -> Request {
    let text = String::from_utf8_lossy(&request.body);
    let body = match mutant {
        Some(Mutant::NamesFreely) => renamed(&text, run),
        Some(Mutant::ReusesToken) => one_token(&text),
        _ => None,
    };
    match body {
        Some(body) => Request { body: body.into_bytes(), ..request },
        None => request,
    }
}

/// Another name of the record, which follows from the run.
fn renamed(text: &str, run: u64) -> Option<String> {
    const NAME: &str = "=spotblock-spot-block-test-";
    let (before, after) = text.split_once(NAME)?;
    let (number, rest) = after.split_at(after.find('&').unwrap_or(after.len()));
    // One that it has read is as it should be already.
    (number.len() <= 2).then(|| format!("{before}{NAME}{}{number}{rest}", 100 + run % 900))
}

fn one_token(text: &str) -> Option<String> {
    let token = token_of(text.as_bytes())?;
    Some(text.replacen(&format!("ClientToken={token}"), "ClientToken=one", 1))
}

/// The answer to a call of this command that is never sent.
#[must_use]
pub fn swallows(mutant: Option<Mutant>, command: &str, request: &Request) -> Option<Response> {
    let of_schedule = request.path.starts_with("/schedules/");
    let action = form(&request.body).get("Action").copied().unwrap_or_default().to_owned();
    let body = match (mutant?, command, request.method.as_str()) {
        (Mutant::KeepsSchedules, "extend", "PUT") | (Mutant::MakesNoSchedule, _, "POST")
            if of_schedule =>
        {
            r#"{"ScheduleArn":"arn:aws:scheduler:us-east-1:123456789012:schedule/none/none"}"#
                .to_owned()
        }
        (Mutant::KeepsReservations, "down", _) if action == "CancelCapacityReservation" => {
            format!(
                "<{action}Response><requestId>none</requestId><return>true</return></{action}Response>"
            )
        }
        (Mutant::NeverReaps, "reap", _) if action == "TerminateInstances" => {
            empty(&action, "instancesSet")
        }
        _ => return None,
    };
    Some(Response { status: 200, headers: Vec::new(), body: body.into_bytes() })
}

fn empty(action: &str, list: &str) -> String {
    format!("<{action}Response><requestId>none</requestId><{list}/></{action}Response>")
}

fn form(body: &[u8]) -> BTreeMap<&str, &str> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    text.split('&').filter_map(|pair| pair.split_once('=')).collect()
}

/// The clock of a command.
#[must_use]
pub fn clock(world: &World, command: &str) -> Ahead {
    let early = world.mutant == Some(Mutant::ReapsEarly) && command == "reap";
    Ahead(world.time, Duration::from_secs(if early { 7_200 } else { 0 }))
}

/// A clock that is ahead.
#[derive(Debug)]
pub struct Ahead(SimulatedTime, Duration);

impl TimeSource for Ahead {
    fn now(&self) -> SystemTime {
        TimeSource::now(&self.0) + self.1
    }
}
