//! Systems Manager: the parameter that names an image.

use aws_sdk_ssm::Client;

use super::text;
use crate::aws::classify::failed;
use crate::model::error::Result;

/// The client.
pub(crate) struct Ssm {
    client: Client,
}

impl Ssm {
    pub(super) fn new(base: &super::calls::Base) -> Self {
        Self { client: super::calls::client!(aws_sdk_ssm, base) }
    }

    /// A parameter's value.
    ///
    /// # Errors
    /// When it isn't there.
    pub(crate) async fn parameter(&self, name: &str) -> Result<String> {
        let answer = self
            .client
            .get_parameter()
            .name(name)
            .send()
            .await
            .map_err(failed("ssm:GetParameter", name))?;
        Ok(text(answer.parameter().and_then(|parameter| parameter.value())))
    }
}
