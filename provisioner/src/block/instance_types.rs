//! The instance types of a new block, as EC2 offers them.

use crate::aws::Aws;
use crate::block::prices;
use crate::model::cost::Known;
use crate::model::error::{Error, Result};
use crate::model::instance_type::{chosen, fitting, usage_classes};
use crate::settings::Settings;
use crate::terminal::Ui;

/// So many are priced before the choice: their names fit into one question to the price list (1,024
/// characters `[V]`).
const PRICED: usize = 40;

/// The types of a new block: those that were given, or those that fit what was asked for.
///
/// # Errors
/// When a call fails; [`Error::usage`] when nothing fits, or the zones have none of those that were
/// given.
pub(crate) async fn types(
    aws: &Aws,
    ui: &Ui,
    settings: &Settings,
    zones: &[String],
) -> Result<Vec<String>> {
    let block = &settings.block;
    let Some(requirements) = block.requirements else {
        return listed(aws, ui, &block.instance_types, zones).await;
    };
    let classes = usage_classes(&block.sources);
    let kinds = aws.ec2.types(requirements.arch, &classes).await?;
    let offered = aws.ec2.offered(zones, &[]).await?;
    let mut kinds = fitting(requirements, kinds, &classes, &offered, zones);
    if kinds.is_empty() {
        let (sold, zones) = (classes.join(" and "), zones.join(", "));
        return Err(Error::usage(
            format!(
                "no {} instance type that is sold as {sold} in {zones} has what [block] needs",
                requirements.arch.name()
            ),
            "ask for less, give other subnets or sources, or list instance-types",
        ));
    }
    kinds.truncate(PRICED);
    let names: Vec<String> = kinds.iter().map(|kind| kind.name.clone()).collect();
    let known = Known { spot: Vec::new(), on_demand: prices::on_demand(aws, ui, &names).await };
    Ok(chosen(kinds, |name| known.list(name)))
}

/// Those that were listed, if the zones have any of them: a misspelt one would be refused only once
/// it is bought.
async fn listed(aws: &Aws, ui: &Ui, types: &[String], zones: &[String]) -> Result<Vec<String>> {
    let offered = aws.ec2.offered(zones, types).await?;
    let is_missing = |it: &&String| offered.iter().all(|(name, _)| name != *it);
    let missing: Vec<&str> = types.iter().filter(is_missing).map(String::as_str).collect();
    let what = || {
        format!("[block] instance-types: {} has no {}", zones.join(", "), missing.join(" and no "))
    };
    if missing.len() == types.len() {
        return Err(Error::usage(
            what(),
            "give other types or other subnets; `aws ec2 describe-instance-type-offerings \
             --location-type availability-zone` lists what each zone has",
        ));
    }
    if !missing.is_empty() {
        ui.warn(what());
    }
    Ok(types.to_vec())
}
