//! What a job's container is and needs: the definition's properties under the job's overrides.

use serde_json::{Map, Value, json};

use crate::services::ecs::Resources;

/// ECS's share of a vCPU.
const CPU_SHARES: f64 = 1024.0;

/// Batch gives no container less memory than this, in MiB.
const MIN_MEMORY: u64 = 4;

/// What Batch shows of a container even when the definition says nothing about it.
const LISTS: [&str; 7] = [
    "command",
    "volumes",
    "environment",
    "mountPoints",
    "ulimits",
    "resourceRequirements",
    "secrets",
];

/// Holds the properties of a definition against Batch's rules, and fills in what Batch shows.
pub(super) fn check(properties: &Value) -> Result<Value, String> {
    let Some(given) = properties.as_object() else {
        return Err("containerProperties must be provided".to_owned());
    };
    if given.get("image").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("containerProperties.image must not be empty".to_owned());
    }
    let mut shown = given.clone();
    for list in LISTS {
        shown.entry(list).or_insert_with(|| json!([]));
    }
    let shown = Value::Object(shown);
    resources(&shown)?;
    Ok(shown)
}

/// The properties under the overrides of a job: what is given replaces, variables and requirements
/// one by one.
pub(super) fn overridden(properties: &Value, overrides: Option<&Value>) -> Value {
    let mut merged = properties.clone();
    let Some(overrides) = overrides.and_then(Value::as_object) else { return merged };
    for (key, value) in overrides {
        match key.as_str() {
            "environment" => merge_list(&mut merged[key], value, "name"),
            "resourceRequirements" => merge_list(&mut merged[key], value, "type"),
            _ => merged[key] = value.clone(),
        }
    }
    // An overridden requirement also stands for its deprecated form.
    for (old, kind) in [("vcpus", "VCPU"), ("memory", "MEMORY")] {
        let deprecated = merged.get(old).is_some() && overrides.get(old).is_none();
        let required = merged["resourceRequirements"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|r| r["type"] == kind);
        if let (true, true, Some(merged)) = (deprecated, required, merged.as_object_mut()) {
            merged.remove(old);
        }
    }
    merged
}

fn merge_list(target: &mut Value, changes: &Value, key: &str) {
    let mut items = target.as_array().cloned().unwrap_or_default();
    for change in changes.as_array().into_iter().flatten() {
        items.retain(|item| item[key] != change[key]);
        items.push(change.clone());
    }
    *target = Value::Array(items);
}

/// The resources that the container takes: by `resourceRequirements`, else by the deprecated
/// members.
pub(super) fn resources(properties: &Value) -> Result<Resources, String> {
    let required = |kind: &str| {
        let items = properties["resourceRequirements"].as_array().into_iter().flatten();
        items
            .filter(|item| item["type"] == kind)
            .find_map(|item| item["value"].as_str())
            .map(str::to_owned)
    };
    let deprecated = |key: &str| properties[key].as_u64().map(|value| value.to_string());
    for item in properties["resourceRequirements"].as_array().into_iter().flatten() {
        if !matches!(item["type"].as_str(), Some("VCPU" | "MEMORY" | "GPU")) {
            return Err(format!(
                "resourceRequirements type {} is not one of [GPU, VCPU, MEMORY]",
                item["type"]
            ));
        }
    }
    let vcpus = required("VCPU").or_else(|| deprecated("vcpus"));
    let memory = required("MEMORY").or_else(|| deprecated("memory"));
    let vcpus =
        vcpus.ok_or("Container vcpus must be provided: resourceRequirements of type VCPU")?;
    let memory =
        memory.ok_or("Container memory must be provided: resourceRequirements of type MEMORY")?;
    // On EC2 vCPUs are whole numbers; fractions are for Fargate.
    let vcpus: u32 = vcpus
        .parse()
        .ok()
        .filter(|n| *n >= 1)
        .ok_or(format!("Container vcpus {vcpus} is invalid"))?;
    let memory: u64 = memory
        .parse()
        .ok()
        .filter(|n| *n >= MIN_MEMORY)
        .ok_or(format!("Container memory {memory} is invalid"))?;
    let gpus = match required("GPU") {
        None => 0,
        Some(gpus) => gpus
            .parse()
            .ok()
            .filter(|n| *n >= 1)
            .ok_or(format!("Container GPUs {gpus} is invalid"))?,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole vCPUs of a u32"
    )]
    let cpu = (f64::from(vcpus) * CPU_SHARES) as u64;
    Ok(Resources { cpu, memory, gpus })
}

/// The command with `Ref::name` replaced by the job's parameters; one without a parameter stays as
/// it is.
pub(super) fn command(properties: &Value, parameters: &Map<String, Value>) -> Vec<String> {
    let words = properties["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let replaced =
        words.map(|word| match word.strip_prefix("Ref::").and_then(|name| parameters.get(name)) {
            Some(Value::String(value)) => value.clone(),
            _ => word.to_owned(),
        });
    replaced.collect()
}

/// The environment of the container.
pub(super) fn environment(properties: &Value) -> Vec<(String, String)> {
    let variables = properties["environment"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    variables.map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> Value {
        json!({
            "image": "busybox",
            "command": ["sleep", "Ref::seconds", "Ref::unknown"],
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
        })
    }

    #[test]
    fn an_image_vcpus_and_memory_are_required() {
        type Spoil = fn(&mut Value);
        let cases: [(&str, Spoil); 6] = [
            ("image", |p| p["image"] = json!("")),
            ("vcpus", |p| p["resourceRequirements"] = json!([{"type": "MEMORY", "value": "256"}])),
            ("memory", |p| p["resourceRequirements"] = json!([{"type": "VCPU", "value": "1"}])),
            ("memory", |p| p["resourceRequirements"][1]["value"] = json!("3")),
            ("vcpus", |p| p["resourceRequirements"][0]["value"] = json!("0.5")),
            ("type", |p| p["resourceRequirements"][0]["type"] = json!("CPU")),
        ];
        for (part, spoil) in cases {
            let mut properties = properties();
            spoil(&mut properties);
            let error = check(&properties).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        let deprecated = json!({"image": "busybox", "vcpus": 2, "memory": 512});
        let resources =
            resources(&check(&deprecated).expect("the deprecated members")).expect("the same");
        assert_eq!(resources, Resources { cpu: 2048, memory: 512, gpus: 0 });
    }

    #[test]
    fn overrides_replace_variables_and_requirements_one_by_one() {
        let overrides = json!({
            "command": ["true"],
            "environment": [{"name": "B", "value": "3"}],
            "resourceRequirements": [{"type": "MEMORY", "value": "512"}, {"type": "GPU", "value": "1"}],
        });
        let merged = overridden(&properties(), Some(&overrides));
        assert_eq!(command(&merged, &Map::new()), ["true"]);
        assert_eq!(environment(&merged), [("A".into(), "1".into()), ("B".into(), "3".into())]);
        assert_eq!(
            resources(&merged).expect("complete"),
            Resources { cpu: 1024, memory: 512, gpus: 1 }
        );
    }

    #[test]
    fn parameters_fill_the_command_and_unknown_ones_stay() {
        let parameters = json!({"seconds": "7"});
        let parameters = parameters.as_object().expect("an object");
        assert_eq!(command(&properties(), parameters), ["sleep", "7", "Ref::unknown"]);
    }
}
