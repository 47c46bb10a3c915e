//! What goes over the wire: requests, answers, errors, and what each of AWS's protocols makes of them.

pub mod context;
pub mod error;
pub mod ids;
pub mod options;
pub(crate) mod page;
pub mod request;
pub mod sdk;
pub mod wire;

pub use context::{Context, Handled};
pub use error::AwsError;
pub use options::Options;
pub use request::{Caller, Request, Response};
