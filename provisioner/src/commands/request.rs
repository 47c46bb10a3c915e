//! `spotblock request`: step 8 alone, on an environment that is there.

use super::{env, launch_options, up, warn};
use crate::args;
use crate::environment::apply::environment_valid;
use crate::environment::desired::Desired;
use crate::model::error::Result;
use crate::session::Session;

/// Runs it.
///
/// # Errors
/// When there is no environment; otherwise as `up`.
pub(crate) async fn run(session: &Session<'_>, args: &args::Request) -> Result<u8> {
    let options = launch_options(args.new, args.yes_purchase, &args.waiting)?;
    warn(session);
    let desired = Desired::new(session.settings);
    if session.aws.batch.environment(&desired.environment).await?.is_none() {
        return Err(env::no_environment(&desired));
    }
    let environment = environment_valid(session, &desired.environment).await?;
    up::finish(session, &desired, &environment, options, None).await
}
