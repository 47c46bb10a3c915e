//! The program itself: its port, its nodes' processes, and that it leaves nothing behind.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Plays the agent: it names the cluster and starts the ECS agent.
const AGENT: &str = r#"#!/bin/sh
root=$3
echo $$ > "$root/agent.pid"
printf 'ECS_CLUSTER=rehearsal\nECS_CONTAINER_STOP_TIMEOUT=1s\n' > "$root/etc/ecs/ecs.config"
touch "$root/run/localcloud/start-ecs"
sleep 600
"#;

/// The cluster that it names.
const CLUSTER: &str = "rehearsal";

/// A running program.
struct Program {
    child: Child,
    port: u16,
}

impl Program {
    async fn start(dir: &Path) -> Self {
        let agent = dir.join("agent");
        std::fs::write(&agent, AGENT).expect("the agent's script");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&agent, mode).expect("executable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_localcloud"));
        command
            .args(["serve", "--until-stdin-closes", "--pace", "delivery-ms=50", "--dir"])
            .arg(dir);
        command
            .arg("--agent")
            .arg(&agent)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // Not killed on drop: its input closes with the child, and so it ends its nodes even when a
        // test fails.
        let mut child = command.spawn().expect("localcloud");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut line).await.expect("its first line");
        let port = line.trim().strip_prefix("localcloud http://127.0.0.1:").expect("its address");
        Self { child, port: port.parse().expect("a port") }
    }

    /// One request; the answer's status and body, or nothing when the connection was cut.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: \
             {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    async fn control(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, answer) =
            self.send(method, &format!("/_localcloud/{path}"), "", body).await.expect("an answer");
        assert!(status < 300, "{path}: {status} {answer}");
        serde_json::from_str(&answer).unwrap_or_default()
    }

    async fn aws(
        &self,
        service: &str,
        path: &str,
        target: &str,
        body: &str,
    ) -> Option<(u16, String)> {
        let headers = format!(
            "Authorization: AWS4-HMAC-SHA256 \
             Credential=AKIA/20261124/us-east-1/{service}/aws4_request, x\r\n{target}"
        );
        self.send("POST", path, &headers, body).await
    }

    async fn ecs(&self, operation: &str, parameters: Value) -> Option<(u16, String)> {
        let target = format!("X-Amz-Target: AmazonEC2ContainerServiceV20141113.{operation}\r\n");
        self.aws("ecs", "/", &target, &parameters.to_string()).await
    }

    async fn ec2(&self, form: &str) -> (u16, String) {
        self.aws("ec2", "/", "", form).await.expect("an answer")
    }

    /// Waits until a node's ECS agent is in this state, and gives the node.
    async fn node(&self, state: &str) -> Value {
        for _ in 0..200 {
            let nodes = self.control("GET", "nodes", "").await;
            if nodes[0]["ecs-agent"] == state {
                return nodes[0].clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no node became {state}");
    }
}

/// Whether a process lives.
fn lives(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[tokio::test]
async fn an_instance_boots_joins_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(dir.path()).await;
    program.ecs("CreateCluster", json!({"clusterName": CLUSTER})).await.expect("a cluster");
    let request = "Action=RequestSpotInstances&Version=2016-11-15&InstanceCount=1&BlockDurationMinutes=60&SpotPrice=0.03&LaunchSpecification.ImageId=ami-a7a242da&LaunchSpecification.InstanceType=t2.micro&LaunchSpecification.SubnetId=subnet-c8d30ae4";
    let (status, answer) = program.ec2(request).await;
    assert_eq!(status, 200, "{answer}");
    let node = program.node("registered").await;
    let instance = node["instance"].as_str().expect("an id");
    let pid = std::fs::read_to_string(dir.path().join(instance).join("agent.pid"))
        .expect("the agent's pid");
    assert!(lives(pid.trim()));
    let events = program.control("GET", "events", "").await;
    let joined = events
        .as_array()
        .expect("events")
        .iter()
        .find(|event| event["what"] == "joined")
        .expect("it joined");
    assert_eq!((&joined["cluster"], &joined["instance"]), (&json!(CLUSTER), &json!(instance)));
    let calls = program.control("GET", "calls", "").await;
    let registered = calls
        .as_array()
        .expect("calls")
        .iter()
        .find(|c| c["operation"] == "RegisterContainerInstance");
    assert_eq!(registered.expect("it was recorded")["caller"], json!({"instance": instance}));

    drop(program.child.stdin.take());
    let ended = tokio::time::timeout(Duration::from_secs(10), program.child.wait()).await;
    assert!(ended.expect("it ends").expect("its status").success());
    assert!(!lives(pid.trim()), "the agent is gone with it");
}

#[tokio::test]
async fn a_lost_answer_has_its_effect() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = Program::start(dir.path()).await;
    let fault = json!({"service": "ecs", "operation": "CreateCluster", "effect": "lost-answer"});
    program.control("POST", "faults", &fault.to_string()).await;
    assert_eq!(program.ecs("CreateCluster", json!({"clusterName": "c"})).await, None);
    let (_, clusters) = program.ecs("ListClusters", json!({})).await.expect("an answer");
    assert!(clusters.contains("cluster/c"), "{clusters}");
}

#[tokio::test]
async fn only_loopback_is_served() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_localcloud"));
    command
        .args(["serve", "--address", "0.0.0.0", "--agent", "/bin/true", "--dir"])
        .arg(dir.path());
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(10), output)
        .await
        .expect("it ends")
        .expect("its output");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not loopback"));
}
