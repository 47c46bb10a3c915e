//! What an operation is given beside its parameters, and what comes of it.

use jiff::Timestamp;
use serde_json::Value;

use super::{AwsError, Caller, Response};

/// What an operation knows about its request.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The time of the request.
    pub now: Timestamp,
    /// The id that goes into the response.
    pub request_id: String,
    /// Who asks.
    pub caller: Caller,
    /// The region in the request's credential scope.
    pub region: String,
    /// Why the caller may not: known beforehand for calls that a service makes with somebody's
    /// role.
    pub refusal: Option<AwsError>,
}

/// An operation's outcome, before it is recorded.
pub(crate) struct Handled {
    /// AWS's name of the operation.
    pub operation: String,
    /// Its parameters, for the record.
    pub parameters: Value,
    /// What goes back on the wire.
    pub response: Response,
    /// AWS's error code, when it failed.
    pub error: Option<String>,
}
