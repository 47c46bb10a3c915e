//! Thousands of polls of the real adapters, many of them answered badly, against servers on
//! loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_credential_types::Credentials;
use aws_sdk_ecs::config::SharedCredentialsProvider;

use super::ecs::{Ecs, Parts};
use super::imds::Imds;
use super::introspection::Introspection;
use super::state_file::StateFile;
use crate::clock::{BootClock, sdk_time};
use crate::lifecycle::Registration;
use crate::ports::{Cluster as _, EcsAgent as _, Metadata as _, Signal, StateStore as _};
use crate::testing::http::{Reply, Request, serve};
use crate::testing::saved;

/// As many as two and a half hours of a life make.
const CYCLES: u32 = 3_000;

/// What the process holds: kilobytes of memory, and descriptors.
fn held() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let rss = rss.trim().trim_end_matches("kB").trim().parse().expect("kilobytes");
    (rss, std::fs::read_dir("/proc/self/fd").expect("its descriptors").count())
}

fn say(status: u16, body: &str) -> Reply {
    (status, String::new(), body.as_bytes().to_vec())
}

/// IMDS: no notice, a token that is refused now and then, errors, garbage.
fn imds(request: &Request, turn: u32) -> Reply {
    if request.method == "PUT" {
        let headers = "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n".to_owned();
        return (200, headers, b"token".to_vec());
    }
    match turn % 7 {
        0 => say(401, ""),
        1 => say(500, "<html>no</html>"),
        2 => say(200, "garbage"),
        _ => say(404, ""),
    }
}

fn introspection(request: &Request, turn: u32) -> Reply {
    match (turn % 5, request.path.as_str()) {
        (0, _) => say(500, "{}"),
        (1, _) => say(200, "{\"Tasks\": [{"),
        (_, "/v1/tasks") => say(200, r#"{"Tasks":[{"Arn":"a","KnownStatus":"RUNNING"}]}"#),
        _ => say(200, r#"{"Cluster":"c","ContainerInstanceArn":"arn:own"}"#),
    }
}

fn ecs(turn: u32) -> Reply {
    match turn % 4 {
        0 => say(400, r#"{"__type":"AccessDeniedException","message":"no"}"#),
        1 => say(200, "{\"containerInstances\": ["),
        _ => say(
            200,
            r#"{"containerInstances":[{"containerInstanceArn":"arn:own","status":"ACTIVE"}]}"#,
        ),
    }
}

async fn serve_turns(answer: impl Fn(&Request, u32) -> Reply + Send + Sync + 'static) -> String {
    let turns = AtomicU32::new(0);
    serve(move |request| answer(&request, turns.fetch_add(1, Ordering::Relaxed))).await
}

/// Catches: aws-node-termination-handler#665's kin, memory that grows with each poll or each
/// failure until the agent is killed; and connections that nobody closes.
#[tokio::test]
async fn after_thousands_of_polls_neither_memory_nor_descriptors_have_grown() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(BootClock::new());
    let url = serve_turns(imds).await;
    let imds =
        Imds::new(Some(url), super::plain_http_client(), Arc::clone(&clock)).expect("a client");
    let introspection = Introspection::new(serve_turns(introspection).await).expect("a client");
    let parts = Parts {
        region: "us-east-1".into(),
        endpoint: Some(serve_turns(|_, turn| ecs(turn)).await),
        http: super::plain_http_client(),
        credentials: SharedCredentialsProvider::new(Credentials::new(
            "AKID", "secret", None, None, "test",
        )),
        time: sdk_time(&clock),
    };
    let ecs = Ecs::new(parts, "c".into(), "i-0a1b".into());
    let store = StateFile::new(dir.path().join("state.json"));
    let own = Registration { instance: "arn:own".into(), cluster: "c".into() };

    let mut before = (0, 0);
    for cycle in 0..CYCLES {
        // Whatever each answers: it is the poll that counts.
        let _ = imds.notice().await;
        let _ = imds.signal(Signal::Maintenance).await;
        let _ = introspection.tasks().await;
        let _ = introspection.registration().await;
        if cycle % 4 == 0 {
            let _ = ecs.status(&own).await;
            store.save(&saved()).await.expect("saved");
        }
        if cycle == CYCLES / 3 {
            before = held();
        }
    }
    let after = held();
    assert!(after.0 < before.0 + 1024, "kB of memory: {} and then {}", before.0, after.0);
    assert!(after.1 <= before.1 + 4, "descriptors: {} and then {}", before.1, after.1);
}
