//! The outside, one thing a file: each implements a port, or serves one that does.

pub(crate) mod atomic_file;
mod command;
pub(crate) mod ecs;
pub mod ecs_config;
pub(crate) mod ecs_data;
pub(crate) mod hooks;
pub(crate) mod host;
pub(crate) mod imds;
pub(crate) mod introspection;
pub(crate) mod lock;
pub(crate) mod power;
pub(crate) mod state_file;
pub(crate) mod systemd;
pub mod timer;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod soak;

use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The HTTP client for IMDS, which speaks no TLS: asking it needs none of the host's certificates.
/// It knows no proxy: IMDS must never be asked through one.
#[must_use]
pub(crate) fn plain_http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}

/// The HTTP client for AWS. It knows no proxy either.
#[must_use]
pub(crate) fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}
