//! `spotblock iam`: the policies that an administrator may want to make, or read, beforehand.

use serde_json::{Map, Value, json};

use crate::args::{self, Who};
use crate::environment::desired::Desired;
use crate::environment::policy::{self, workstation};
use crate::model::error::Result;
use crate::model::names;
use crate::session::Session;

/// Runs it.
///
/// # Errors
/// When the environment can't be asked for, or stdout can't be written.
pub(crate) async fn run(session: &Session<'_>, args: &args::Iam) -> Result<u8> {
    let desired = Desired::new(session.settings);
    let region = &session.aws.region;
    let partition = session.aws.partition.id;
    let environment = session.aws.batch.environment(&desired.environment).await?;
    let account = match (&args.account, &environment) {
        (Some(account), _) => account.clone(),
        (None, Some(environment)) => policy::account(&environment.arn).to_owned(),
        (None, None) => "*".to_owned(),
    };
    let cluster = environment.map(|it| it.cluster).filter(|it| !it.is_empty());
    let clusters = cluster.map(|it| vec![it]).unwrap_or_else(|| {
        session.ui.warn(format_args!(
            "environment {} is not there yet, so these policies are for the two forms in which \
             Batch names its cluster. Print them again after `spotblock env apply` to hold them \
             to that one",
            desired.environment
        ));
        policy::clusters(partition, region, &account, &desired.environment).to_vec()
    });
    let place =
        workstation::PolicyScope { partition, region, account: &account, clusters: &clusters };
    let one = |who: Who| match who {
        Who::Environment => workstation::environment(&desired, &place),
        Who::Blocks => workstation::blocks(&desired, &place),
        Who::Instance => policy::instance(&clusters, desired.object.as_deref()),
        Who::Batch => json!({"ManagedPolicyArn": policy::batch_service_policy(partition)}),
        Who::Scheduler => policy::scheduler(partition, &account, &desired.environment),
    };
    let answer = match args.who {
        Some(who) => one(who),
        None => {
            let group = names::schedule_group(&desired.environment);
            let mut all = Map::new();
            all.insert("environment".to_owned(), json!({"policy": one(Who::Environment)}));
            all.insert("blocks".to_owned(), json!({"policy": one(Who::Blocks)}));
            all.insert(
                "instance".to_owned(),
                with_trust(one(Who::Instance), policy::trust("ec2.amazonaws.com")),
            );
            all.insert(
                "batch".to_owned(),
                with_trust(one(Who::Batch), policy::trust("batch.amazonaws.com")),
            );
            let trust = policy::trust_schedules(partition, &account, &group);
            all.insert("scheduler".to_owned(), with_trust(one(Who::Scheduler), trust));
            Value::Object(all)
        }
    };
    // Values have no way to fail.
    session.ui.print(&serde_json::to_string_pretty(&answer).unwrap_or_default())?;
    Ok(0)
}

fn with_trust(policy: Value, trust: Value) -> Value {
    json!({"policy": policy, "trust": trust})
}
