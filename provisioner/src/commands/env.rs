//! `spotblock env`: the environment without a block.

use serde::Serialize;

use super::{plan as planning, warn};
use crate::args;
use crate::environment::apply::apply;
use crate::environment::desired::Desired;
use crate::model::error::{Error, Result};
use crate::session::Session;

/// What `env` prints.
#[derive(Debug, Serialize)]
struct Shown {
    compute_environment: String,
    status: String,
    state: String,
    cluster: String,
    service_role: String,
    queue: String,
    queue_status: String,
    job_definitions: Vec<String>,
    instance_profile: String,
}

/// Runs it.
///
/// # Errors
/// When a call fails, or for `show` when there is no environment.
pub(crate) async fn run(session: &Session<'_>, args: &args::Env) -> Result<u8> {
    let desired = Desired::new(session.settings);
    if matches!(args, args::Env::Apply) {
        warn(session);
        let plan = planning::of_environment(session, &desired).await?.possible()?;
        apply(session, &desired, &plan).await?;
    }
    show(session, &desired).await
}

async fn show(session: &Session<'_>, desired: &Desired) -> Result<u8> {
    let batch = &session.aws.batch;
    let environment =
        batch.environment(&desired.environment).await?.ok_or_else(|| no_environment(desired))?;
    let queue = batch.queue(&desired.queue).await?;
    let mut job_definitions = Vec::new();
    for wanted in &desired.definitions {
        if let Some(newest) = batch.definitions(&wanted.name).await?.first() {
            job_definitions.push(format!("{}:{}", wanted.name, newest.revision));
        }
    }
    let shown = Shown {
        compute_environment: environment.name,
        status: environment.status,
        state: environment.state,
        cluster: environment.cluster,
        service_role: environment.service_role,
        queue: desired.queue.clone(),
        queue_status: queue.map_or_else(|| "not there".to_owned(), |queue| queue.status),
        job_definitions,
        instance_profile: desired.profile.name().to_owned(),
    };
    session.ui.result(&shown, text)?;
    Ok(0)
}

/// The error of commands that need an environment.
#[must_use]
pub(crate) fn no_environment(desired: &Desired) -> Error {
    Error::state(
        format!("compute environment {} is not there", desired.environment),
        "make it with `spotblock env apply`, or with `spotblock up` together with a block",
    )
}

fn text(shown: &Shown) -> String {
    [
        (
            "compute environment",
            format!("{} ({}, {})", shown.compute_environment, shown.status, shown.state),
        ),
        ("ECS cluster", shown.cluster.clone()),
        ("job queue", format!("{} ({})", shown.queue, shown.queue_status)),
        ("job definitions", shown.job_definitions.join(", ")),
        ("service role", shown.service_role.clone()),
        ("instance profile", shown.instance_profile.clone()),
    ]
    .map(|(name, value)| format!("{name:<20}{value}").trim_end().to_owned())
    .join("\n")
}
