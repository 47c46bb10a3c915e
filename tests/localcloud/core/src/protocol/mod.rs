//! Requests, answers and errors, and what AWS's protocols make of them on the wire.
//!
//! - `request`, `context`, `error`: a call, what its operation knows about it, and how it fails
//! - `wire`: JSON, query forms and XML; `page`: lists in pages
//! - [`options`]: how the cloud behaves; `ids`: identifiers from its seed
//! - [`sdk`]: the cloud in the place of the AWS SDK's HTTP client

mod context;
mod error;
pub(crate) mod ids;
pub mod options;
pub(crate) mod page;
pub mod request;
pub mod sdk;
pub(crate) mod wire;

pub(crate) use context::{Context, Handled};
pub(crate) use error::AwsError;
pub use options::Options;
pub use request::{Caller, Request, Response};
