//! The instance metadata service, version 2 only.
//!
//! A token is fetched with PUT and required on each GET, as on an instance whose `HttpTokens` is
//! `required`. What the tree holds for an instance is in [`tree`].

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::node_faults::{self, NodeAnswer, NodeEffect, Way};
use crate::protocol::ids::Ids;
use crate::protocol::wire::http_date;
use crate::protocol::{Options, Request, Response};
use crate::services::ec2::Ec2;

mod tree;

const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// How long a token can be good for, in seconds.
const MAX_TTL: i64 = 21_600;

/// What IMDS keeps of one instance.
#[derive(Default)]
struct Host {
    tokens: Vec<Token>,
    asked: Vec<Asked>,
}

struct Token {
    text: String,
    /// When it expires.
    until: Timestamp,
    /// How many requests it is still good for, where a fault made them few.
    uses: Option<u32>,
}

/// A request that an instance's IMDS got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// GET, PUT.
    pub method: String,
    /// What for.
    pub path: String,
    /// Whether it carried a token, good or not.
    pub with_token: bool,
    /// The status of the answer; 0 when there was none.
    pub status: u16,
}

/// The metadata services of all instances, by the instance's id.
#[derive(Default)]
pub(crate) struct Imds {
    hosts: BTreeMap<String, Host>,
}

/// The metadata services at work, and what they tell of.
pub(crate) struct Service<'a> {
    pub(crate) options: &'a Options,
    pub(crate) ids: &'a mut Ids,
    pub(crate) ec2: &'a Ec2,
    pub(crate) state: &'a mut Imds,
}

impl Imds {
    /// Everything that this instance's IMDS was asked, in order.
    pub(crate) fn asked(&self, instance: &str) -> &[Asked] {
        self.hosts.get(instance).map_or(&[], |host| &host.asked)
    }

    fn host(&mut self, instance: &str) -> &mut Host {
        self.hosts.entry(instance.to_owned()).or_default()
    }
}

/// What the fault script calls a request: `token`, or its path.
pub(crate) fn operation(request: &Request) -> &str {
    if request.method == "PUT" { "token" } else { &request.path }
}

/// Answers a request that came to this instance's IMDS, faults apart. The answer carries its own
/// Date.
pub(crate) fn respond(
    service: &mut Service<'_>,
    now: Timestamp,
    instance: &str,
    request: &Request,
) -> Response {
    let response = dated(service, now, SignedDuration::ZERO, instance, request);
    note(service, now, instance, request, response.status);
    response
}

/// Answers a request that came to this instance's IMDS, as this fault lets it.
pub(crate) fn answer(
    service: &mut Service<'_>,
    now: Timestamp,
    instance: &str,
    request: &Request,
    fault: Option<NodeEffect>,
) -> NodeAnswer {
    let mut usual = || dated(service, now, SignedDuration::ZERO, instance, request);
    let answer = match fault {
        None => usual().into(),
        Some(NodeEffect::Status(status)) => headed(page_of(status), now).into(),
        Some(NodeEffect::ClockOff { secs }) => {
            dated(service, now, SignedDuration::from_secs(secs.into()), instance, request).into()
        }
        Some(NodeEffect::ShortToken { uses }) => {
            let response = usual();
            let newest = service.state.host(instance).tokens.last_mut();
            if let Some(token) = newest.filter(|token| token.text.as_bytes() == response.body) {
                token.uses = Some(uses);
            }
            response.into()
        }
        Some(effect) => node_faults::befall(effect, usual),
    };
    let status =
        if matches!(answer.way, Way::CutAfter { .. }) { 0 } else { answer.response.status };
    note(service, now, instance, request, status);
    answer
}

/// The answer by a clock that is off by so much.
fn dated(
    service: &mut Service<'_>,
    now: Timestamp,
    off: SignedDuration,
    instance: &str,
    request: &Request,
) -> Response {
    let disabled = service.ec2.instance(instance).is_some_and(|found| !found.has_metadata());
    let response = match request.method.as_str() {
        _ if disabled => page_of(403),
        "PUT" => put(service, now, instance, request),
        "GET" | "HEAD" => get(service, now, off, instance, request),
        _ => page_of(405),
    };
    headed(response, now + off)
}

fn headed(mut response: Response, date: Timestamp) -> Response {
    response.headers.push(("date".to_owned(), http_date(date)));
    response.headers.push(("server".to_owned(), "EC2ws".to_owned()));
    response
}

fn note(service: &mut Service<'_>, now: Timestamp, instance: &str, request: &Request, status: u16) {
    if service.ec2.instance(instance).is_some() {
        service.state.host(instance).asked.push(Asked {
            at: now,
            method: request.method.clone(),
            path: request.path.clone(),
            with_token: request.header(TOKEN_HEADER).is_some(),
            status,
        });
    }
}

/// PUT /latest/api/token. A request that a proxy forwarded gets none.
fn put(service: &mut Service<'_>, now: Timestamp, instance: &str, request: &Request) -> Response {
    if request.path != "/latest/api/token" {
        return page_of(405);
    }
    if request.header("x-forwarded-for").is_some() {
        return page_of(403);
    }
    let ttl = request.header(TTL_HEADER).and_then(|text| text.trim().parse::<i64>().ok());
    let Some(ttl) = ttl.filter(|ttl| (1..=MAX_TTL).contains(ttl)) else { return page_of(400) };
    let token = format!("AQAAA{}==", service.ids.hex(49));
    if service.ec2.instance(instance).is_none() {
        return page_of(404);
    }
    let host = service.state.host(instance);
    host.tokens.retain(|token| token.until > now);
    let until = now + SignedDuration::from_secs(ttl);
    host.tokens.push(Token { text: token.clone(), until, uses: None });
    let mut response = text("text/plain", token.into_bytes());
    response.headers.push((TTL_HEADER.to_owned(), ttl.to_string()));
    response
}

fn get(
    service: &mut Service<'_>,
    now: Timestamp,
    off: SignedDuration,
    instance: &str,
    request: &Request,
) -> Response {
    let Some(found) = service.ec2.instance(instance) else { return page_of(404) };
    if !service.state.host(instance).admits(now, request.header(TOKEN_HEADER)) {
        return page_of(401);
    }
    let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy();
    match tree::look_up(service, found, tree::Times { now, off }, &path) {
        Some(tree::Found::Text(body)) => text("text/plain", body.into_bytes()),
        Some(tree::Found::Json(body)) => text("application/json", body.into_bytes()),
        Some(tree::Found::Bytes(body)) => text("application/octet-stream", body),
        None => page_of(404),
    }
}

impl Host {
    /// Whether this token is good; it is used up by that.
    fn admits(&mut self, now: Timestamp, token: Option<&str>) -> bool {
        let known = self
            .tokens
            .iter_mut()
            .find(|known| Some(known.text.as_str()) == token && known.until > now);
        match known {
            None => false,
            Some(Token { uses: Some(0), .. }) => false,
            Some(known) => {
                known.uses = known.uses.map(|uses| uses - 1);
                true
            }
        }
    }
}

fn text(content_type: &str, body: Vec<u8>) -> Response {
    Response {
        status: 200,
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body,
    }
}

/// Errors come as a small page.
fn page_of(status: u16) -> Response {
    let title = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n\
         <!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \
         \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n \
         <head>\n  <title>{status} - {title}</title>\n </head>\n \
         <body>\n  <h1>{status} - {title}</h1>\n </body>\n</html>\n"
    );
    Response {
        status,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: body.into_bytes(),
    }
}

#[cfg(test)]
mod tests;
