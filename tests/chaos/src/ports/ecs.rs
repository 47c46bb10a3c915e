//! ECS, as the agent's adapter asks it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use localcloud_core::agent_calls;
use node_contract::names::attribute;
use serde_json::{Value, json};
use spotblock_agent::lifecycle::{ExtensionAnswer, InstanceStatus, Outcome, Registration, Survey};
use spotblock_agent::ports::{Answer, Cluster, ClusterError};

use super::Agent;
use crate::trouble::Caller;

/// How often the adapter's SDK tries a call, and how long each attempt may take.
const ATTEMPTS: u32 = 3;
const ATTEMPT: Duration = Duration::from_secs(5);

impl Agent {
    /// A call of ECS with the instance's credentials.
    ///
    /// # Errors
    /// As the adapter classifies them.
    pub async fn ecs(
        &self,
        operation: &'static str,
        object: &str,
        parameters: Value,
    ) -> Result<Value, ClusterError> {
        let request = agent_calls::request("us-east-1", &self.instance(), operation, &parameters);
        let failed = |problem: String, outcome| ClusterError {
            operation,
            object: object.to_owned(),
            problem,
            outcome,
        };
        let mut problem = String::new();
        for attempt in 0..ATTEMPTS {
            self.process.before().await;
            let answer =
                tokio::time::timeout(ATTEMPT, self.world.request(Caller::Instance, &request)).await;
            self.process.after().await;
            match answer {
                Ok(Ok(response)) if response.status == 200 => {
                    return serde_json::from_slice(&response.body)
                        .map_err(|error| failed(error.to_string(), Outcome::Retry));
                }
                Ok(Ok(response)) => {
                    let named =
                        |name: &str| response.headers.iter().find(|(header, _)| header == name);
                    let code =
                        named("x-amzn-errortype").map(|(_, code)| code.clone()).unwrap_or_default();
                    problem = format!("{code}: {}", String::from_utf8_lossy(&response.body));
                    let refused = [
                        "AccessDeniedException",
                        "InvalidParameterException",
                        "ClusterNotFoundException",
                    ];
                    if response.status < 500 && refused.contains(&code.as_str()) {
                        return Err(failed(problem, Outcome::Refused));
                    }
                }
                Ok(Err(_)) => problem = "the connection was cut".to_owned(),
                Err(_) => problem = "timed out".to_owned(),
            }
            tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
        }
        Err(failed(problem, Outcome::Retry))
    }

    async fn describe(&self, of: &Registration) -> Result<Option<Value>, ClusterError> {
        let parameters = json!({"cluster": of.cluster, "containerInstances": [of.instance]});
        let answer = self.ecs("DescribeContainerInstances", &of.instance, parameters).await?;
        Ok(answer["containerInstances"].as_array().and_then(|all| all.first()).cloned())
    }

    async fn list_tasks(
        &self,
        of: &Registration,
        desired: &str,
    ) -> Result<Vec<String>, ClusterError> {
        let parameters = json!({"cluster": of.cluster, "containerInstance": of.instance, "desiredStatus": desired});
        let answer = self.ecs("ListTasks", &of.instance, parameters).await?;
        Ok(texts(&answer["taskArns"]))
    }

    /// As the adapter looks: the instance first, then the lists, then each task.
    async fn look(&self, of: &Registration, asked: &[String]) -> Result<Survey, ClusterError> {
        let Some(instance) = self.describe(of).await? else {
            let gone = asked.iter().map(|task| (task.clone(), true)).collect();
            return Ok(Survey {
                instance: of.instance.clone(),
                status: InstanceStatus::Gone,
                pending: 0,
                tasks: gone,
            });
        };
        let running = self.list_tasks(of, "RUNNING").await?;
        let stopping = self.list_tasks(of, "STOPPED").await?;
        let all: BTreeSet<&String> = asked.iter().chain(&running).chain(&stopping).collect();
        let mut tasks: BTreeMap<String, bool> =
            all.into_iter().map(|task| (task.clone(), !running.contains(task))).collect();
        let names: Vec<String> = tasks.keys().cloned().collect();
        for names in names.chunks(100) {
            let parameters = json!({"cluster": of.cluster, "tasks": names});
            let answer = self.ecs("DescribeTasks", &of.instance, parameters).await?;
            for task in answer["tasks"].as_array().into_iter().flatten() {
                if let Some(arn) = task["taskArn"].as_str() {
                    tasks.insert(arn.to_owned(), task["lastStatus"] == "STOPPED");
                }
            }
        }
        let pending =
            instance["pendingTasksCount"].as_u64().and_then(|count| count.try_into().ok());
        let status = status_of(&instance);
        Ok(Survey {
            instance: of.instance.clone(),
            status,
            pending: pending.unwrap_or_default(),
            tasks,
        })
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

fn status_of(instance: &Value) -> InstanceStatus {
    match instance["status"].as_str() {
        Some("ACTIVE") => InstanceStatus::Active,
        Some("DRAINING") => InstanceStatus::Draining,
        Some("INACTIVE") => InstanceStatus::Gone,
        other => InstanceStatus::Other(other.unwrap_or_default().to_owned()),
    }
}
impl Cluster for Agent {
    fn drain<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            let parameters = json!({"cluster": of.cluster, "containerInstances": [of.instance], "status": "DRAINING"});
            let answer =
                self.ecs("UpdateContainerInstancesState", &of.instance, parameters).await?;
            let changed = answer["containerInstances"].as_array().and_then(|all| all.first());
            changed.map(status_of).ok_or_else(|| ClusterError {
                operation: "UpdateContainerInstancesState",
                object: of.instance.clone(),
                problem: answer["failures"].to_string(),
                outcome: Outcome::Retry,
            })
        })
    }

    fn answer_extension<'a>(
        &'a self,
        answer: &'a ExtensionAnswer,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            let of = &answer.of;
            let shown = |name: &str, value: Timestamp| json!({"name": name, "value": value.to_string(), "targetId": of.instance});
            let attributes =
                [shown(attribute::END, answer.end), shown(attribute::END_ASKED, answer.asked)];
            let parameters = json!({"cluster": of.cluster, "attributes": attributes});
            self.ecs("PutAttributes", &of.instance, parameters).await.map(drop)
        })
    }

    fn status<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            let instance = self.describe(of).await?;
            Ok(instance.map_or(InstanceStatus::Gone, |instance| status_of(&instance)))
        })
    }

    fn survey<'a>(
        &'a self,
        of: &'a Registration,
        tasks: &'a [String],
    ) -> Answer<'a, Result<Survey, ClusterError>> {
        Box::pin(self.look(of, tasks))
    }

    fn stop_task<'a>(
        &'a self,
        of: &'a Registration,
        task: &'a str,
        reason: &'a str,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let parameters = json!({"cluster": of.cluster, "task": task, "reason": reason});
            unless_forgotten(self.ecs("StopTask", task, parameters).await)
        })
    }

    fn find(&self) -> Answer<'_, Result<Option<Registration>, ClusterError>> {
        Box::pin(async {
            let Some(known) = self.known.get() else { return Ok(None) };
            let listed = json!({"cluster": known.cluster});
            let arns = texts(
                &self.ecs("ListContainerInstances", &known.cluster, listed).await?["containerInstanceArns"],
            );
            if arns.is_empty() {
                return Ok(None);
            }
            let parameters = json!({"cluster": known.cluster, "containerInstances": arns});
            let answer = self.ecs("DescribeContainerInstances", &known.cluster, parameters).await?;
            let all = answer["containerInstances"].as_array().cloned().unwrap_or_default();
            let own = all.iter().find(|it| it["ec2InstanceId"] == known.instance.as_str());
            Ok(own.and_then(|it| it["containerInstanceArn"].as_str()).map(|instance| {
                Registration { instance: instance.to_owned(), cluster: known.cluster.clone() }
            }))
        })
    }

    fn deregister<'a>(&'a self, of: &'a Registration) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            let parameters =
                json!({"cluster": of.cluster, "containerInstance": of.instance, "force": true});
            unless_forgotten(
                self.ecs("DeregisterContainerInstance", &of.instance, parameters).await,
            )
        })
    }
}

fn unless_forgotten(answer: Result<Value, ClusterError>) -> Result<(), ClusterError> {
    match answer {
        Err(error)
            if !(error.outcome == Outcome::Refused && error.problem.contains("not found")) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}
