//! The instance metadata service, version 2 only.
//!
//! A token is fetched with PUT and required on each GET, as on an instance whose `HttpTokens` is `required`. What the
//! tree holds for an instance is in [`tree`].

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Cloud, Request, Response, ec2};
use crate::wire::http_date;

mod tree;

const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// How long a token can be good for, in seconds.
const MAX_TTL: i64 = 21_600;

/// What IMDS keeps of one instance.
#[derive(Default)]
pub(crate) struct Host {
    /// Tokens and when they expire.
    tokens: Vec<(String, Timestamp)>,
    asked: Vec<Asked>,
}

/// A request that an instance's IMDS got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// The status of the answer.
    pub status: u16,
}

/// Everything that this instance's IMDS was asked, in order.
#[must_use]
pub fn asked<'a>(cloud: &'a Cloud, instance: &str) -> &'a [Asked] {
    ec2::instance(cloud, instance).map_or(&[], |instance| &instance.imds.asked)
}

/// Answers a request that came to this instance's IMDS. The answer carries its own Date.
pub fn respond(cloud: &mut Cloud, now: Timestamp, instance: &str, request: &Request) -> Response {
    cloud.advance(now);
    let mut response = match request.method.as_str() {
        "PUT" => put(cloud, now, instance, request),
        "GET" | "HEAD" => get(cloud, now, instance, request),
        _ => page(405, "Method Not Allowed"),
    };
    response.headers.push(("date".to_owned(), http_date(now)));
    response.headers.push(("server".to_owned(), "EC2ws".to_owned()));
    if let Some(found) = ec2::instance_mut(cloud, instance) {
        found.imds.asked.push(Asked {
            at: now,
            method: request.method.clone(),
            path: request.path.clone(),
            with_token: request.header(TOKEN_HEADER).is_some(),
            status: response.status,
        });
    }
    response
}

/// PUT /latest/api/token. A request that a proxy forwarded gets none.
fn put(cloud: &mut Cloud, now: Timestamp, instance: &str, request: &Request) -> Response {
    if request.path != "/latest/api/token" {
        return page(405, "Method Not Allowed");
    }
    if request.header("x-forwarded-for").is_some() {
        return page(403, "Forbidden");
    }
    let ttl = request.header(TTL_HEADER).and_then(|text| text.trim().parse::<i64>().ok());
    let Some(ttl) = ttl.filter(|ttl| (1..=MAX_TTL).contains(ttl)) else { return page(400, "Bad Request") };
    let token = format!("AQAAA{}==", cloud.ids.hex(49));
    let Some(found) = ec2::instance_mut(cloud, instance) else { return page(404, "Not Found") };
    found.imds.tokens.retain(|(_, until)| *until > now);
    found.imds.tokens.push((token.clone(), now + SignedDuration::from_secs(ttl)));
    let mut response = text("text/plain", token.into_bytes());
    response.headers.push((TTL_HEADER.to_owned(), ttl.to_string()));
    response
}

fn get(cloud: &Cloud, now: Timestamp, instance: &str, request: &Request) -> Response {
    let Some(found) = ec2::instance(cloud, instance) else { return page(404, "Not Found") };
    let token = request.header(TOKEN_HEADER);
    if !found.imds.tokens.iter().any(|(known, until)| Some(known.as_str()) == token && *until > now) {
        return page(401, "Unauthorized");
    }
    let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy();
    match tree::look_up(cloud, found, now, &path) {
        Some(tree::Found::Text(body)) => text("text/plain", body.into_bytes()),
        Some(tree::Found::Json(body)) => text("application/json", body.into_bytes()),
        Some(tree::Found::Bytes(body)) => text("application/octet-stream", body),
        None => page(404, "Not Found"),
    }
}

fn text(content_type: &str, body: Vec<u8>) -> Response {
    Response { status: 200, headers: vec![("content-type".to_owned(), content_type.to_owned())], body }
}

/// Errors come as a small page.
fn page(status: u16, title: &str) -> Response {
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
