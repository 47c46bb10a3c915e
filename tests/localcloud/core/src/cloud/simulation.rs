//! Lets light nodes do what they want to: their calls are made as those of any host.

use jiff::Timestamp;
use node_contract::names::attribute;
use serde_json::{Value, json};

use super::{Cloud, ec2};
use crate::hosts::agent_calls;
use crate::hosts::simulated_hosts::{self, Node, Wish};

/// Light nodes see what has changed, and do what is due.
pub(super) fn advance(cloud: &mut Cloud, now: Timestamp) {
    cloud.simulated_hosts.see(now, &cloud.ec2, &cloud.ecs);
    for id in cloud.simulated_hosts.due(&cloud.options, now) {
        while cloud.simulated_hosts.is_due(&cloud.options, now, &id) {
            if let Some(wish) = cloud.simulated_hosts.step(&cloud.options, now, &id) {
                fulfil(cloud, now, &id, wish);
            }
        }
    }
}

/// Does what a node wants done, and tells it what came of it.
fn fulfil(cloud: &mut Cloud, now: Timestamp, id: &str, wish: Wish) {
    match wish {
        Wish::Register { cluster, block, end } => {
            let instance = cloud.ec2.instance(id);
            let parameters = instance.map_or(Value::Null, |instance| {
                simulated_hosts::registration(&cloud.options, instance, &cluster, &block, end)
            });
            let answer = call(cloud, now, id, "RegisterContainerInstance", &parameters);
            let arn = answer.and_then(|it| {
                it["containerInstance"]["containerInstanceArn"].as_str().map(str::to_owned)
            });
            cloud.simulated_hosts.tell(id, |node| node.registered(now, arn));
        }
        Wish::Drain { cluster, member } => {
            let parameters =
                json!({"cluster": cluster, "containerInstances": [member], "status": "DRAINING"});
            let done = call(cloud, now, id, "UpdateContainerInstancesState", &parameters).is_some();
            cloud.simulated_hosts.tell(id, |node| node.drained(now, done));
        }
        Wish::Answer { cluster, member, asked, end } => {
            let put = |name: &str, value: Timestamp| json!({"name": name, "value": value.to_string(), "targetId": member});
            let both = [put(attribute::END, end), put(attribute::END_ASKED, asked)];
            let parameters = json!({"cluster": cluster, "attributes": both});
            let done = call(cloud, now, id, "PutAttributes", &parameters).is_some();
            cloud.simulated_hosts.tell(id, |node| node.answered(now, asked, done));
        }
        Wish::Stop { cluster, task, reason } => {
            let parameters = json!({"cluster": cluster, "task": task, "reason": reason});
            let done = call(cloud, now, id, "StopTask", &parameters).is_some();
            cloud.simulated_hosts.tell(id, |node| node.stop_asked(now, &task, done));
        }
        Wish::Report { cluster, task, container, status, since, exit_code, not_started } => {
            let runtime_id = format!("{:0>64}", task.rsplit('/').next().unwrap_or_default());
            let report = agent_calls::Report {
                cluster: &cluster,
                task: &task,
                container: &container,
                runtime_id: &runtime_id,
                status,
                since,
                exit_code,
                not_started: not_started.as_deref(),
            };
            let done = call(cloud, now, id, "SubmitTaskStateChange", &agent_calls::report(&report))
                .is_some();
            cloud.simulated_hosts.tell(id, |node| node.reported(now, &task, done));
        }
        Wish::Process { task, exit_code } => cloud.process(now, id, &task, exit_code),
        Wish::PowerOff => {
            cloud.simulated_hosts.tell(id, Node::end);
            ec2::power_off(cloud, now, id);
        }
    }
}

/// One call of ECS; nothing when it failed.
fn call(
    cloud: &mut Cloud,
    now: Timestamp,
    id: &str,
    operation: &str,
    parameters: &Value,
) -> Option<Value> {
    let request = agent_calls::request(&cloud.options.region, id, operation, parameters);
    let response = cloud.call(&request, now, None).response;
    (response.status == 200).then(|| serde_json::from_slice(&response.body).unwrap_or_default())
}
