//! `spotblock template`: the environment as CloudFormation, for those who keep their infrastructure
//! that way.

use std::collections::BTreeMap;

use crate::aws::Aws;
use crate::environment::desired::{Choice, Desired};
use crate::environment::{cloudformation, observe};
use crate::model::error::Result;
use crate::settings::Settings;
use crate::terminal::Ui;

/// Whether AWS has to be asked: roles that are given by name stand in the template by their ARNs,
/// as `env apply` has them.
#[must_use]
pub(crate) fn needs_aws(settings: &Settings) -> bool {
    !named_roles(&Desired::new(settings)).is_empty()
}

/// The roles whose ARNs aren't known: their names, and what they are.
fn named_roles(desired: &Desired) -> BTreeMap<&str, (&'static str, &'static str)> {
    let service = match &desired.service_role {
        Choice::Existing(name) => {
            Some((name.as_str(), ("service role", "[environment] service-role")))
        }
        Choice::Made(_) => None,
    };
    let jobs = desired.definitions.iter().filter_map(|it| it.job_role.as_deref());
    let all = service.into_iter().chain(jobs.map(|name| (name, ("job role", "job-role"))));
    all.filter(|(name, _)| !name.starts_with("arn:")).collect()
}

/// Prints it. `aws` is asked for roles that are given by name.
///
/// # Errors
/// When a role isn't there, or stdout can't be written.
pub(crate) async fn run(ui: &Ui, settings: &Settings, aws: Option<&Aws>) -> Result<u8> {
    for warning in &settings.warnings {
        ui.warn(warning);
    }
    let desired = Desired::new(settings);
    let mut arns = BTreeMap::new();
    if let Some(aws) = aws {
        for (name, (what, key)) in named_roles(&desired) {
            arns.insert(name.to_owned(), observe::given_role(aws, what, name, key).await?.arn);
        }
    }
    // Values have no way to fail.
    ui.print(
        &serde_json::to_string_pretty(&cloudformation::cloudformation(&desired, &arns))
            .unwrap_or_default(),
    )?;
    Ok(0)
}
