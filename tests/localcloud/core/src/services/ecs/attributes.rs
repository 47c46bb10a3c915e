//! The attributes of container instances: those they register with, and PutAttributes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::instances::resolve;
use super::{Service, Status, invalid};
use crate::protocol::AwsError;

/// How many custom attributes a container instance can have.
const MOST: usize = 10;

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attribute {
    pub(super) name: String,
    value: Option<String>,
    target_id: Option<String>,
    target_type: Option<String>,
}

impl Attribute {
    /// ECS's rules for names and values.
    pub(super) fn check(&self) -> Result<(), AwsError> {
        let in_name = |c: char| c.is_ascii_alphanumeric() || "-_./\\".contains(c);
        let in_value = |c: char| in_name(c) || "@: ".contains(c);
        if self.name.is_empty() || self.name.len() > 128 || !self.name.chars().all(in_name) {
            return Err(invalid(format!("The attribute name {:?} is invalid", self.name)));
        }
        match &self.value {
            Some(value)
                if value.is_empty() || value.len() > 128 || !value.chars().all(in_value) =>
            {
                Err(invalid(format!("The value {value:?} of attribute {} is invalid", self.name)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn view(&self) -> Value {
        match &self.value {
            Some(value) => json!({"name": self.name, "value": value}),
            None => json!({"name": self.name}),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Put {
    cluster: Option<String>,
    attributes: Vec<Attribute>,
}

/// All of them or none. An id that is no ARN needs the type of what it is of.
pub(super) fn put(service: &mut Service<'_>, put: Put) -> Result<Value, AwsError> {
    let cluster = service.state.cluster(put.cluster.as_deref())?.name.clone();
    if put.attributes.is_empty() || put.attributes.len() > MOST {
        return Err(invalid("Attributes must be between 1 and 10."));
    }
    let mut targets = Vec::new();
    for attribute in &put.attributes {
        attribute.check()?;
        let target = attribute.target_id.as_deref().unwrap_or_default();
        if !target.starts_with("arn:")
            && attribute.target_type.as_deref() != Some("container-instance")
        {
            return Err(invalid(
                "The target type is required for a target that is given by its short id.",
            ));
        }
        let arn = resolve(service.state, &cluster, target);
        let arn = arn.filter(|arn| service.state.instances[arn].status != Status::Inactive);
        let gone = || {
            AwsError::new("TargetNotFoundException", format!("The target {target} was not found."))
        };
        targets.push(arn.ok_or_else(gone)?);
    }
    let changed = targets
        .iter()
        .filter_map(|arn| Some((arn.clone(), service.state.instances.get(arn)?.clone())));
    let mut changed: BTreeMap<_, _> = changed.collect();
    for (attribute, arn) in put.attributes.iter().zip(&targets) {
        let Some(registered) = changed.get_mut(arn) else { continue };
        registered.attributes.retain(|it| it["name"] != attribute.name.as_str());
        registered.attributes.push(attribute.view());
        registered.version += 1;
        if registered.attributes.len() > MOST {
            return Err(AwsError::new(
                "AttributeLimitExceededException",
                "Attribute limit exceeded.",
            ));
        }
    }
    service.state.instances.append(&mut changed);
    let shown: Vec<Value> = put
        .attributes
        .iter()
        .zip(&targets)
        .map(|(attribute, arn)| {
            let mut view = attribute.view();
            view["targetId"] = json!(arn);
            view["targetType"] = json!("container-instance");
            view
        })
        .collect();
    Ok(json!({"attributes": shown}))
}
