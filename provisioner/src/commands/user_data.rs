//! `spotblock user-data`: for instances that somebody else starts.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::args::{self, Format};
use crate::block::user_data::{self, BlockIdentity};
use crate::environment::desired::Desired;
use crate::model::error::{Error, Result};
use crate::settings::Settings;

/// The text to print.
///
/// # Errors
/// When a rule is broken or it is too long.
pub(crate) fn render(
    settings: &Settings,
    args: &args::UserData,
    block: BlockIdentity<'_>,
) -> Result<String> {
    let whole = user_data::whole(settings, block)?;
    let extra = settings.agent.extra_user_data.as_deref();
    let script = user_data::script(
        &user_data::node_config(settings, block)?,
        &settings.agent.from,
        block.dns_suffix,
    );
    Ok(match args.format {
        None => whole,
        Some(Format::Script) => script,
        Some(Format::Base64) => BASE64_STANDARD.encode(whole),
        Some(Format::Mime) => user_data::mime(&script, extra),
    })
}

/// The region, where no call to AWS is needed: a given one, or the cluster ARN's.
///
/// # Errors
/// [`Error::usage`] when there is neither.
pub(crate) fn region(settings: &Settings, cluster: &str) -> Result<String> {
    let of_arn =
        || cluster.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2)).map(str::to_owned);
    settings.region.clone().or_else(of_arn).ok_or_else(|| {
        Error::usage(
            "no region was found",
            "set `region` in spotblock.toml, or give --region or the cluster's ARN",
        )
    })
}

/// The cluster behind the environment.
///
/// # Errors
/// When there is no environment, or it has no cluster yet.
pub(crate) async fn cluster(aws: &crate::aws::Aws, settings: &Settings) -> Result<String> {
    let desired = Desired::new(settings);
    let environment = aws.batch.environment(&desired.environment).await?;
    let cluster = environment.map(|it| it.cluster).filter(|cluster| !cluster.is_empty());
    cluster.ok_or_else(|| super::env::no_environment(&desired))
}
