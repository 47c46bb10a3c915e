//! GetConsoleOutput: what a host shows while it boots, as far as the cloud can know: whether its
//! image starts the agent, and what was told by [`super::console_says`].

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::instance::Instance;
use super::{Service, instances, time};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// A console keeps this much, the end of it.
const KEPT: usize = 64 * 1024;

/// GetConsoleOutput.
pub(super) fn get(
    service: &mut Service<'_>,
    context: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let id =
        query::take(&mut parameters, "InstanceId").map_or_else(|| Err(missing()), query::parse)?;
    let latest = query::take_flag(&mut parameters, "Latest")?;
    instances::check_ids(service, std::slice::from_ref(&id))?;
    let Some(instance) = service.state.instance(&id) else { return Ok(json!({})) };
    if latest && !nitro(instance) {
        let message = "This instance type does not support retrieving the latest console logs.";
        return Err(AwsError::new("UnsupportedOperation", message));
    }
    // EC2 has nothing of a host that has just begun to boot.
    let text = if instance.state == super::State::Pending {
        String::new()
    } else {
        text(service, instance)
    };
    let kept = text.len().saturating_sub(KEPT);
    let text = text.get(kept..).unwrap_or(&text);
    Ok(
        json!({ "instanceId": id, "timestamp": time(context.now), "output": BASE64_STANDARD.encode(text) }),
    )
}

fn missing() -> AwsError {
    AwsError::new("MissingParameter", "The request must contain the parameter instanceId")
}

/// Of the types on offer here these families are older than the Nitro system.
fn nitro(instance: &Instance) -> bool {
    !["t2.", "m4.", "c4.", "p2.", "p3."]
        .iter()
        .any(|family| instance.instance_type().name.starts_with(family))
}

fn text(service: &Service<'_>, instance: &Instance) -> String {
    let mut lines = vec![
        "[    0.000000] Linux version 6.1.0".to_owned(),
        "[  OK  ] Reached target network-online.target - Network is Online.".to_owned(),
        "[  OK  ] Started docker.service - Docker Application Container Engine.".to_owned(),
    ];
    if instance.image().carries_agent {
        lines.push(
            "[  OK  ] Started spotblock-agent.service - Keeps this instance's block.".to_owned(),
        );
    }
    lines.extend(service.state.consoles.get(&instance.id).into_iter().flatten().cloned());
    lines.join("\r\n")
}
