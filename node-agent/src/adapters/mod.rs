//! The outside, one thing a file: each implements a port, or serves one that does.

pub mod atomic_file;
mod command;
pub mod ecs;
pub mod ecs_config;
pub mod ecs_data;
pub mod hooks;
pub mod host;
pub mod imds;
pub mod introspection;
pub mod lock;
pub mod power;
pub mod state_file;
pub mod systemd;
pub mod timer;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod soak;

use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The HTTP client for IMDS, which speaks no TLS: asking it needs none of the host's certificates. It knows no proxy:
/// IMDS must never be asked through one.
#[must_use]
pub fn plain_http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}

/// The HTTP client for AWS. It knows no proxy either.
#[must_use]
pub fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
