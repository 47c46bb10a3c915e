//! Calls that somebody makes beside the program.

use localcloud_core::Request;

/// A request that somebody makes by hand, as a user of the account.
#[must_use]
pub fn by_hand(service: &str, method: &str, path: &str, body: &str) -> Request {
    let scope = format!("AKIAHAND/20261124/us-east-1/{service}/aws4_request");
    let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: String::new(),
        headers: vec![("authorization".to_owned(), signed)],
        body: body.into(),
    }
}
