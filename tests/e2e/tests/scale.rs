//! Two hundred instances with the real programs, over sockets. The simulation has a thousand
//! (provisioner/tests/simulation/scale.rs); here the wire's sizes count too, and real time. The
//! nodes are light ones: in the cloud's process.

use std::time::Duration;

use localcloud::client::NodeInfo;
use localcloud_core::journal::record::What;
use localcloud_core::{Call, Caller, Event};

use crate::world::World;

const INSTANCES: usize = 200;
/// One for every other instance. The local cloud looks at each instance for each job, and is in no
/// hurry when it was built for debugging.
const JOBS: usize = INSTANCES / 2;
/// Of which a half is for a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// How many calls of users came since the nth of all; and the most of one operation, for a message.
fn since(calls: &[Call], nth: usize) -> (usize, String) {
    let own: Vec<&str> = calls
        .iter()
        .skip(nth)
        .filter(|it| it.caller == Caller::User)
        .map(|it| it.operation.as_str())
        .collect();
    let most = own.iter().max_by_key(|name| own.iter().filter(|it| it == name).count());
    (own.len(), most.map(|name| (*name).to_owned()).unwrap_or_default())
}

#[tokio::test]
async fn two_hundred_instances_come_up_run_an_array_and_go_with_few_calls() {
    tokio::time::timeout(LIMIT, two_hundred()).await.expect("all of it within a minute");
}

/// Catches: a call an instance or a job; a page that is taken for the whole; rounds that follow too
/// soon upon one another.
async fn two_hundred() {
    let world = World::new("one-node.toml", &["--light-nodes-above", "0"]).await;
    let (instances, jobs) = (INSTANCES.to_string(), JOBS.to_string());
    let array = [
        "submit",
        "--job-definition",
        "hello-world",
        "--name",
        "many",
        "--array",
        &jobs,
        "--",
        "sleep",
        "1",
    ];
    let up =
        ["up", "--yes", "--instances", &instances, "--source", "on-demand", "--output", "json"];
    let status = ["status", "--output", "json"];
    let mut block = serde_json::Value::Null;
    for (command, most) in
        [(&up[..], 80), (&status[..], 25), (&array[..], 10), (&["down", "--now"][..], 60)]
    {
        let nth = world.calls().await.len();
        let run = world.spotblock(command).await.success().expect("it succeeds");
        let (count, often) = since(&world.calls().await, nth);
        assert!(
            count <= most,
            "{} made {count} calls, more than {most}, most of them {often}",
            command[0]
        );
        if command[0] == "status" {
            let shown: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
            block = shown["blocks"][0].clone();
        }
        if command[0] == "submit" {
            let children = |events: &[Event]| {
                let done = events
                    .iter()
                    .filter(|event| matches!(&event.what, What::Job { status, .. } if status == "SUCCEEDED"));
                done.count()
            };
            // The array itself is a job, too.
            world.until("all jobs to succeed", |events| children(events) > JOBS).await;
        }
    }
    let shown = block["instances"].as_array().expect("a list");
    let joined = shown.iter().filter(|it| it["joined"] == true && it["state"] == "running").count();
    assert_eq!((shown.len(), joined), (INSTANCES, INSTANCES));
    let nodes = world.cloud.get::<Vec<NodeInfo>>("nodes").await.expect("the nodes");
    assert_eq!(nodes.iter().filter(|it| it.up).count(), 0, "nothing is left");
    world.cloud.stop().await.expect("it ends");
}
