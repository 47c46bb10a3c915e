//! The ECS agent's introspection: plain HTTP on the host.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::lifecycle::{OnHost, Registration};
use crate::ports::{Answer, EcsAgent, IntrospectionError};

const METADATA: &str = "/v1/metadata";
const TASKS: &str = "/v1/tasks";

/// No answer is longer: a thousand tasks come to less. Jobs share the host's network, and one of
/// them may answer here while the ECS agent is stopped.
const LONGEST: usize = 4 << 20;

/// The ECS agent's introspection.
#[derive(Debug)]
pub(crate) struct Introspection {
    url: String,
    client: reqwest::Client,
}

/// `/v1/metadata`. The ARN is null until the agent has registered.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentMetadata {
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    container_instance_arn: Option<String>,
}

/// `/v1/tasks`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentTasks {
    tasks: Option<Vec<AgentTask>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentTask {
    arn: String,
    #[serde(default)]
    known_status: String,
}

impl Introspection {
    /// Introspection at this URL.
    ///
    /// # Errors
    /// The HTTP client can't be built.
    pub(crate) fn new(url: String) -> Result<Self, IntrospectionError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(2))
            .build()
            .map_err(|error| problem("", &error))?;
        Ok(Self { url, client })
    }

    async fn get<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, IntrospectionError> {
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .map_err(|e| problem(path, &e))?;
        // Before the body: an error's body is an empty struct, which would read as "no tasks".
        if answer.status() != reqwest::StatusCode::OK {
            return Err(IntrospectionError {
                path,
                problem: format!("HTTP {}", answer.status().as_u16()),
            });
        }
        let body = body(path, answer).await?;
        serde_json::from_slice(&body)
            .map_err(|error| IntrospectionError { path, problem: error.to_string() })
    }
}

impl EcsAgent for Introspection {
    fn registration(&self) -> Answer<'_, Result<Option<Registration>, IntrospectionError>> {
        Box::pin(async {
            let metadata: AgentMetadata = self.get(METADATA).await?;
            Ok(metadata.container_instance_arn.filter(|arn| !arn.is_empty()).map(|instance| {
                Registration { instance, cluster: metadata.cluster.unwrap_or_default() }
            }))
        })
    }

    fn tasks(&self) -> Answer<'_, Result<BTreeMap<String, OnHost>, IntrospectionError>> {
        Box::pin(async {
            let tasks: AgentTasks = self.get(TASKS).await?;
            let Some(tasks) = tasks.tasks else {
                return Err(IntrospectionError {
                    path: TASKS,
                    problem: "the answer holds no list".to_owned(),
                });
            };
            let on_host =
                |status: &str| if status == "STOPPED" { OnHost::Stopped } else { OnHost::Live };
            Ok(tasks.into_iter().map(|task| (task.arn, on_host(&task.known_status))).collect())
        })
    }
}

/// The answer's body, up to [`LONGEST`].
async fn body(
    path: &'static str,
    mut answer: reqwest::Response,
) -> Result<Vec<u8>, IntrospectionError> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| problem(path, &error))? {
        if body.len() + part.len() > LONGEST {
            return Err(IntrospectionError {
                path,
                problem: format!("the answer is longer than {LONGEST} bytes"),
            });
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

fn problem(path: &'static str, error: &reqwest::Error) -> IntrospectionError {
    use std::error::Error as _;
    // reqwest's own text repeats the URL; what tells something is at the end of the chain.
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    IntrospectionError { path, problem: text }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Answers one request with this status line and body.
    async fn introspection(status: &'static str, body: impl Into<String>) -> Introspection {
        let body = body.into();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.expect("a request");
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            // Whoever has read enough hangs up.
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        Introspection::new(format!("http://127.0.0.1:{port}")).expect("a client")
    }

    #[tokio::test]
    async fn an_arn_that_is_null_is_no_registration_yet() {
        for body in
            [r#"{"Cluster":"c","ContainerInstanceArn":null,"Version":"v"}"#, r#"{"Cluster":"c"}"#]
        {
            let answer = introspection("200 OK", body).await.registration().await;
            assert_eq!(answer.expect("an answer"), None);
        }
        let body = r#"{"Cluster":"c","ContainerInstanceArn":"arn:1","Version":"v"}"#;
        let registration =
            introspection("200 OK", body).await.registration().await.expect("an answer");
        assert_eq!(
            registration,
            Some(Registration { instance: "arn:1".into(), cluster: "c".into() })
        );
    }

    #[tokio::test]
    async fn tasks_are_live_unless_they_are_known_as_stopped() {
        let body = r#"{"Tasks":[{"Arn":"a","DesiredStatus":"STOPPED","KnownStatus":"RUNNING","Containers":[]},
            {"Arn":"b","KnownStatus":"STOPPED"},{"Arn":"c","KnownStatus":"SOMETHING NEW"}]}"#;
        let tasks = introspection("200 OK", body).await.tasks().await.expect("an answer");
        let wanted = [("a", OnHost::Live), ("b", OnHost::Stopped), ("c", OnHost::Live)];
        assert_eq!(tasks, wanted.map(|(arn, on_host)| (arn.to_owned(), on_host)).into());
    }

    /// Catches: an agent that takes a failing ECS agent for an idle one, and powers off under
    /// running jobs.
    #[tokio::test]
    async fn an_error_with_an_empty_struct_is_not_an_empty_list() {
        let cases = [
            ("500 Internal Server Error", r#"{"Tasks":[]}"#),
            ("404 Not Found", "{}"),
            ("200 OK", "{}"),
        ];
        for (status, body) in cases {
            assert!(introspection(status, body).await.tasks().await.is_err(), "{status} {body}");
        }
        let endless =
            introspection("200 OK", format!("{{\"Tasks\":[]{}", " ".repeat(2 * LONGEST))).await;
        assert!(endless.tasks().await.expect_err("too long").to_string().contains("longer than"));
        let nobody = Introspection::new("http://127.0.0.1:1".into()).expect("a client");
        assert!(nobody.tasks().await.is_err());
    }
}
