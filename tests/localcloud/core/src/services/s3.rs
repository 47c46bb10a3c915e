//! S3: whole objects by path-style addresses, for an agent that is fetched at boot.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::protocol::wire;
use crate::protocol::{AwsError, Caller, Context, Handled, Request, Response};

/// S3's state: what was put, by bucket and key. A bucket is there as soon as something is put into
/// it.
#[derive(Default)]
pub(crate) struct S3 {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
}

struct Object {
    bytes: Vec<u8>,
    content_type: String,
    modified: Timestamp,
}

pub(crate) fn handle(s3: &mut S3, context: &Context, request: &Request) -> Handled {
    let path =
        percent_decode_str(request.path.trim_start_matches('/')).decode_utf8_lossy().into_owned();
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    let (operation, result) = match request.method.as_str() {
        _ if bucket.is_empty() || key.is_empty() || !is_plain(request) => {
            ("Unknown", Err(not_implemented()))
        }
        "GET" => ("GetObject", get(s3, request, bucket, key)),
        "HEAD" => ("HeadObject", get(s3, request, bucket, key)),
        "PUT" => ("PutObject", put(s3, context, request, bucket, key)),
        _ => ("Unknown", Err(not_implemented())),
    };
    let (response, error) = match result {
        Ok(response) => (identified(response, context), None),
        Err(error) => (wire::xml::s3_error(&context.request_id, &error), Some(error.code)),
    };
    Handled {
        operation: operation.to_owned(),
        parameters: json!({ "Bucket": bucket, "Key": key }),
        response: if operation == "HeadObject" { without_body(response) } else { response },
        error,
    }
}

/// Whether a request is about an object's bytes, and not about one of the many things that S3 keeps
/// beside them, such as `?acl`. SDKs name the operation in `x-id`, and what is signed beforehand
/// carries its signature in `X-Amz-...`.
fn is_plain(request: &Request) -> bool {
    let plain = |name: &str| name == "x-id" || name.starts_with("X-Amz-");
    let copies = request.header("x-amz-copy-source").is_some();
    !copies && form_urlencoded::parse(request.query.as_bytes()).all(|(name, _)| plain(&name))
}

/// S3 has a name of its own for the request id.
fn identified(mut response: Response, context: &Context) -> Response {
    response.headers.push(("x-amz-request-id".to_owned(), context.request_id.clone()));
    response
}

/// What answers a HEAD has no body, but says how long it would be.
fn without_body(mut response: Response) -> Response {
    response.headers.push(("content-length".to_owned(), response.body.len().to_string()));
    response.body.clear();
    response
}

fn not_implemented() -> AwsError {
    let message =
        "A header or operation you provided implies functionality that is not implemented.";
    AwsError::new("NotImplemented", message).with_status(501)
}

fn etag(bytes: &[u8]) -> String {
    // S3's is the MD5 of small objects; nobody may count on it, and this one differs just as well.
    let digest = Sha256::digest(bytes);
    format!("\"{}\"", digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn get(s3: &S3, request: &Request, bucket: &str, key: &str) -> Result<Response, AwsError> {
    let objects = s3.buckets.get(bucket).ok_or_else(|| {
        AwsError::new("NoSuchBucket", "The specified bucket does not exist").with_status(404)
    })?;
    let object = objects.get(key).ok_or_else(|| {
        AwsError::new("NoSuchKey", "The specified key does not exist.").with_status(404)
    })?;
    let mut headers = vec![
        ("content-type".to_owned(), object.content_type.clone()),
        ("etag".to_owned(), etag(&object.bytes)),
        ("last-modified".to_owned(), wire::http_date(object.modified)),
        ("accept-ranges".to_owned(), "bytes".to_owned()),
    ];
    let length = object.bytes.len();
    let Some(range) = request.header("range").and_then(|text| range(text, length)) else {
        return Ok(Response { status: 200, headers, body: object.bytes.clone() });
    };
    let body = object.bytes.get(range.clone()).filter(|bytes| !bytes.is_empty());
    let body = body.ok_or_else(|| {
        AwsError::new("InvalidRange", "The requested range is not satisfiable").with_status(416)
    })?;
    headers.push((
        "content-range".to_owned(),
        format!("bytes {}-{}/{length}", range.start, range.end - 1),
    ));
    Ok(Response { status: 206, headers, body: body.to_vec() })
}

/// The bytes that a Range header asks for, such as `bytes=0-99`, `bytes=100-` or `bytes=-100`. What
/// isn't one range is left out of account.
fn range(text: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        return Some(length.saturating_sub(last.parse().ok()?)..length);
    }
    let first: usize = first.parse().ok()?;
    let end = if last.is_empty() {
        length
    } else {
        last.parse::<usize>().ok()?.saturating_add(1).min(length)
    };
    Some(first..end)
}

fn put(
    s3: &mut S3,
    context: &Context,
    request: &Request,
    bucket: &str,
    key: &str,
) -> Result<Response, AwsError> {
    if context.caller == Caller::Anonymous {
        return Err(AwsError::new("AccessDenied", "Access Denied").with_status(403));
    }
    let content_type = request.header("content-type").unwrap_or("binary/octet-stream").to_owned();
    let object = Object { bytes: unchunked(request), content_type, modified: context.now };
    let response = Response {
        status: 200,
        headers: vec![("etag".to_owned(), etag(&object.bytes))],
        body: Vec::new(),
    };
    s3.buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), object);
    Ok(response)
}

/// Clients that sign or sum what they stream send it in chunks, each with its length in hexadecimal
/// digits on a line before it and perhaps a signature behind a semicolon.
fn unchunked(request: &Request) -> Vec<u8> {
    let streamed =
        request.header("x-amz-content-sha256").is_some_and(|value| value.starts_with("STREAMING-"));
    if !streamed {
        return request.body.clone();
    }
    let mut rest = request.body.as_slice();
    let mut bytes = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = String::from_utf8_lossy(&rest[..end]);
        let digits = line.split(';').next().unwrap_or_default();
        let Ok(length @ 1..) = usize::from_str_radix(digits, 16) else { break };
        let Some(chunk) = rest.get(end + 2..end + 2 + length) else { break };
        bytes.extend_from_slice(chunk);
        rest = rest.get(end + 2 + length + 2..).unwrap_or_default();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::testing::{World, signed};

    fn request(method: &str, path: &str, body: &[u8]) -> Request {
        Request {
            method: method.to_owned(),
            path: path.to_owned(),
            body: body.to_vec(),
            ..Request::default()
        }
    }

    #[test]
    fn what_a_user_puts_anybody_can_get() {
        let mut world = World::new();
        let put = signed("s3", request("PUT", "/artifacts/v1/agent%20x", b"\x7fELF"));
        assert_eq!(world.send(&put).status, 200);
        let got = world.send(&request("GET", "/artifacts/v1/agent%20x", b""));
        assert_eq!((got.status, got.body.as_slice()), (200, b"\x7fELF".as_slice()));
        let head = world.send(&request("HEAD", "/artifacts/v1/agent%20x", b""));
        assert!(head.body.is_empty());
        assert!(head.headers.contains(&("content-length".to_owned(), "4".to_owned())));
        assert!(
            head.headers.contains(&(
                "last-modified".to_owned(),
                "Tue, 24 Nov 2026 12:00:00 GMT".to_owned()
            ))
        );
    }

    #[test]
    fn a_range_gives_a_part() {
        let mut world = World::new();
        let put = signed("s3", request("PUT", "/b/k", b"0123456789"));
        world.send(&put);
        for (range, status, part) in [
            ("bytes=2-4", 206, "234"),
            ("bytes=8-", 206, "89"),
            ("bytes=-3", 206, "789"),
            ("bytes=5-99", 206, "56789"),
            ("lines=1-2", 200, "0123456789"),
        ] {
            let mut get = request("GET", "/b/k", b"");
            get.headers.push(("range".to_owned(), range.to_owned()));
            let response = world.send(&get);
            assert_eq!(
                (response.status, response.body.as_slice()),
                (status, part.as_bytes()),
                "{range}"
            );
        }
        let mut get = request("GET", "/b/k", b"");
        get.headers.push(("range".to_owned(), "bytes=10-".to_owned()));
        assert_eq!(world.send(&get).status, 416);
    }

    /// Catches: the bytes given for `?acl` and the like, or an object overwritten by `?tagging`.
    #[test]
    fn what_is_beside_the_bytes_is_not_implemented() {
        let mut world = World::new();
        let mut ask = |method: &str, query: &str| {
            let request = Request { query: query.to_owned(), ..request(method, "/b/k", b"x") };
            let request = signed("s3", request);
            world.send(&request).status
        };
        assert_eq!(ask("PUT", "x-id=PutObject"), 200);
        assert_eq!(ask("GET", "x-id=GetObject"), 200);
        assert_eq!(ask("GET", "acl"), 501);
        assert_eq!(ask("PUT", "tagging"), 501);
        assert_eq!(ask("PUT", "partNumber=1&uploadId=u"), 501);
    }

    #[test]
    fn streamed_chunks_are_put_together() {
        let mut world = World::new();
        let body =
            b"4;chunk-signature=0\r\nabcd\r\n2\r\nef\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        let mut put = signed("s3", request("PUT", "/b/k", body));
        put.headers.push((
            "x-amz-content-sha256".to_owned(),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        ));
        assert_eq!(world.send(&put).status, 200);
        assert_eq!(world.send(&request("GET", "/b/k", b"")).body, b"abcdef");
    }

    #[test]
    fn missing_buckets_and_keys_are_told_apart_and_nobody_puts_unsigned() {
        let mut world = World::new();
        let put = signed("s3", request("PUT", "/b/k", b"x"));
        world.send(&put);
        for (request, status, code) in [
            (request("GET", "/nowhere/k", b""), 404, "<Code>NoSuchBucket</Code>"),
            (request("GET", "/b/other", b""), 404, "<Code>NoSuchKey</Code>"),
            (request("PUT", "/b/k", b"y"), 403, "<Code>AccessDenied</Code>"),
            (request("DELETE", "/b/k", b""), 501, "<Code>NotImplemented</Code>"),
        ] {
            let response = world.send(&request);
            let text = String::from_utf8_lossy(&response.body);
            assert!(
                response.status == status && text.contains(code),
                "{} {}: {text}",
                request.method,
                request.path
            );
        }
    }
}
