//! The outside, one thing a file.

pub mod atomic_file;
pub mod ecs;
pub mod ecs_config;
pub mod ecs_data;
pub mod host;
pub mod imds;
pub mod introspection;
pub mod lock;
pub mod power;
pub mod state_file;
pub mod systemd;
pub mod timer;

use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The HTTP client of both AWS adapters. It knows no proxy: IMDS must never be asked through one.
#[must_use]
pub fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
