//! The instance metadata service, version 2 only.
//!
//! A token is fetched with PUT and required on each GET, as on an instance whose `HttpTokens` is `required`. What the
//! tree holds for an instance is in [`tree`].

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cloud::Cloud;
use crate::hosts::node_faults;
use crate::hosts::node_faults::{Asked as About, NodeAnswer, NodeEffect, Place, Way};
use crate::protocol::wire::http_date;
use crate::protocol::{Request, Response};
use crate::services::ec2;

mod tree;

const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// How long a token can be good for, in seconds.
const MAX_TTL: i64 = 21_600;

/// What IMDS keeps of one instance.
#[derive(Default)]
pub(crate) struct Host {
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

/// Everything that this instance's IMDS was asked, in order.
#[must_use]
pub fn asked<'a>(cloud: &'a Cloud, instance: &str) -> &'a [Asked] {
    ec2::instance(cloud, instance).map_or(&[], |instance| &instance.imds.asked)
}

/// Answers a request that came to this instance's IMDS, faults apart. The answer carries its own Date.
pub fn respond(cloud: &mut Cloud, now: Timestamp, instance: &str, request: &Request) -> Response {
    let response = dated(cloud, now, SignedDuration::ZERO, instance, request);
    note(cloud, now, instance, request, response.status);
    response
}

/// Answers a request that came to this instance's IMDS, as the fault script lets it.
pub fn answer(cloud: &mut Cloud, now: Timestamp, instance: &str, request: &Request) -> NodeAnswer {
    let operation = if request.method == "PUT" { "token" } else { &request.path };
    let number = ec2::number(cloud, instance);
    let fault = cloud.faults.nodes.take(now, About { place: Place::Imds, operation, instance, number });
    let mut usual = || dated(cloud, now, SignedDuration::ZERO, instance, request);
    let answer = match fault {
        None => usual().into(),
        Some(NodeEffect::Status(status)) => headed(page_of(status), now).into(),
        Some(NodeEffect::ClockOff { secs }) => {
            dated(cloud, now, SignedDuration::from_secs(secs.into()), instance, request).into()
        }
        Some(NodeEffect::ShortToken { uses }) => {
            let response = usual();
            let newest = ec2::instance_mut(cloud, instance).and_then(|found| found.imds.tokens.last_mut());
            if let Some(token) = newest.filter(|token| token.text.as_bytes() == response.body) {
                token.uses = Some(uses);
            }
            response.into()
        }
        Some(effect) => node_faults::befall(effect, usual),
    };
    let status = if matches!(answer.way, Way::CutAfter { .. }) { 0 } else { answer.response.status };
    note(cloud, now, instance, request, status);
    answer
}

/// The answer by a clock that is off by so much.
fn dated(cloud: &mut Cloud, now: Timestamp, off: SignedDuration, instance: &str, request: &Request) -> Response {
    cloud.advance(now);
    let disabled = ec2::instance(cloud, instance).is_some_and(|found| !found.has_metadata());
    let response = match request.method.as_str() {
        _ if disabled => page_of(403),
        "PUT" => put(cloud, now, instance, request),
        "GET" | "HEAD" => get(cloud, now, off, instance, request),
        _ => page_of(405),
    };
    headed(response, now + off)
}

fn headed(mut response: Response, date: Timestamp) -> Response {
    response.headers.push(("date".to_owned(), http_date(date)));
    response.headers.push(("server".to_owned(), "EC2ws".to_owned()));
    response
}

fn note(cloud: &mut Cloud, now: Timestamp, instance: &str, request: &Request, status: u16) {
    if let Some(found) = ec2::instance_mut(cloud, instance) {
        found.imds.asked.push(Asked {
            at: now,
            method: request.method.clone(),
            path: request.path.clone(),
            with_token: request.header(TOKEN_HEADER).is_some(),
            status,
        });
    }
}

/// PUT /latest/api/token. A request that a proxy forwarded gets none.
fn put(cloud: &mut Cloud, now: Timestamp, instance: &str, request: &Request) -> Response {
    if request.path != "/latest/api/token" {
        return page_of(405);
    }
    if request.header("x-forwarded-for").is_some() {
        return page_of(403);
    }
    let ttl = request.header(TTL_HEADER).and_then(|text| text.trim().parse::<i64>().ok());
    let Some(ttl) = ttl.filter(|ttl| (1..=MAX_TTL).contains(ttl)) else { return page_of(400) };
    let token = format!("AQAAA{}==", cloud.ids.hex(49));
    let Some(found) = ec2::instance_mut(cloud, instance) else { return page_of(404) };
    found.imds.tokens.retain(|token| token.until > now);
    let until = now + SignedDuration::from_secs(ttl);
    found.imds.tokens.push(Token { text: token.clone(), until, uses: None });
    let mut response = text("text/plain", token.into_bytes());
    response.headers.push((TTL_HEADER.to_owned(), ttl.to_string()));
    response
}

fn get(cloud: &mut Cloud, now: Timestamp, off: SignedDuration, instance: &str, request: &Request) -> Response {
    let Some(found) = ec2::instance_mut(cloud, instance) else { return page_of(404) };
    if !found.imds.admits(now, request.header(TOKEN_HEADER)) {
        return page_of(401);
    }
    let Some(found) = ec2::instance(cloud, instance) else { return page_of(404) };
    let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy();
    match tree::look_up(cloud, found, tree::Times { now, off }, &path) {
        Some(tree::Found::Text(body)) => text("text/plain", body.into_bytes()),
        Some(tree::Found::Json(body)) => text("application/json", body.into_bytes()),
        Some(tree::Found::Bytes(body)) => text("application/octet-stream", body),
        None => page_of(404),
    }
}

impl Host {
    /// Whether this token is good; it is used up by that.
    fn admits(&mut self, now: Timestamp, token: Option<&str>) -> bool {
        let known = self.tokens.iter_mut().find(|known| Some(known.text.as_str()) == token && known.until > now);
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
    Response { status: 200, headers: vec![("content-type".to_owned(), content_type.to_owned())], body }
}

/// Errors come as a small page.
fn page_of(status: u16) -> Response {
    let title = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n\
         <!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \
         \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n \
         <head>\n  <title>{status} - {title}</title>\n </head>\n \
         <body>\n  <h1>{status} - {title}</h1>\n </body>\n</html>\n"
    );
    Response { status, headers: vec![("content-type".to_owned(), "text/html".to_owned())], body: body.into_bytes() }
}

#[cfg(test)]
mod tests;
