//! Each cause that the doctor knows, made to happen, and found.

use std::time::Duration;

use localcloud::core::{Options, Request};
use serde_json::json;

use super::{Run, World, example_with};

/// Whether a run says all of these.
fn says(run: &Run, parts: &[&str]) {
    assert_eq!(run.code, 0, "{}", run.stderr);
    for part in parts {
        assert!(run.stdout.contains(part), "{part:?} is missing in {}", run.stdout);
    }
}

impl World {
    fn cluster_of(&self, instance: &str) -> String {
        self.state().cluster(instance).expect("its user data names a cluster")
    }

    /// Drains an instance, as somebody does with the AWS CLI.
    fn drain_by_hand(&self, instance: &str) {
        let cluster = self.cluster_of(instance);
        let listed = self.ecs_by_hand("ListContainerInstances", &json!({"cluster": cluster}));
        let arns = serde_json::from_str::<serde_json::Value>(&listed).expect("JSON")["containerInstanceArns"].clone();
        let body = json!({"cluster": cluster, "containerInstances": arns, "status": "DRAINING"});
        self.ecs_by_hand("UpdateContainerInstancesState", &body);
    }

    fn ecs_by_hand(&self, operation: &str, body: &serde_json::Value) -> String {
        let scope = "AWS4-HMAC-SHA256 Credential=AKIAHAND/20261124/us-east-1/ecs/aws4_request, SignedHeaders=host";
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = Request {
            method: "POST".into(),
            path: "/".into(),
            query: String::new(),
            headers: vec![
                header("authorization", &format!("{scope}, Signature=0")),
                header("content-type", "application/x-amz-json-1.1"),
                header("x-amz-target", &target),
            ],
            body: body.to_string().into_bytes(),
        };
        let now = self.now();
        let (response, _) = self.state().answer(&request, now);
        let text = String::from_utf8(response.body).expect("text");
        assert_eq!(response.status, 200, "{body}: {text}");
        text
    }
}

async fn environment(world: World) -> World {
    let run = world.run(&["env", "apply"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

async fn live(config: &str) -> World {
    let world = World::with_config(Options::default(), config);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

async fn submitted(world: &World, more: &[&str]) {
    let run = world.run(&[&["submit", "-j", "hello-world"][..], more].concat()).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world.pass(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn an_environment_or_queue_that_takes_no_jobs_is_found() {
    let world = World::new(Options::default());
    says(
        &world.run(&["doctor"]).await,
        &["environment spot-block-test: it is not there", "next:    spotblock env apply"],
    );
    let world = environment(world).await;
    says(&world.run(&["doctor"]).await, &["nothing is wrong"]);
    submitted(&world, &[]).await;
    world.batch_by_hand("UpdateJobQueue", &json!({"jobQueue": "SpotBlockQueue", "state": "DISABLED"}));
    says(&world.run(&["doctor", "hello-world"]).await, &["queue SpotBlockQueue: it is disabled"]);
    world.batch_by_hand(
        "UpdateComputeEnvironment",
        &json!({"computeEnvironment": "spot-block-test", "state": "DISABLED"}),
    );
    says(&world.run(&["doctor"]).await, &["environment spot-block-test: it is disabled"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_an_instance_is_told_to_get_one() {
    let world = environment(World::new(Options::default())).await;
    submitted(&world, &[]).await;
    let parts = ["there is no instance to run it", "no block is live", "next:    spotblock up\n"];
    says(&world.run(&["doctor", "hello-world"]).await, &parts);
    assert!(world.run(&["jobs"]).await.stdout.contains("`spotblock doctor hello-world`"));
    assert_eq!(world.run(&["doctor", "nobody"]).await.code, 2);
    assert_eq!(world.run(&["doctor", "i-0123456789abcdef0"]).await.code, 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_no_instance_can_hold_is_told_so() {
    let world = live(crate::testing::EXAMPLE).await;
    submitted(&world, &["--name", "wide", "--vcpus", "4"]).await;
    says(
        &world.run(&["doctor", "wide"]).await,
        &["it is too big for any instance", "it wants 4 vCPU, 256 MiB; the largest instance has 1 vCPU, 900 MiB"],
    );
    submitted(&world, &["--name", "seeing", "--gpus", "1"]).await;
    says(&world.run(&["doctor", "seeing"]).await, &["no instance has a GPU"]);
    // The first takes the whole CPU; nobody runs it here, so it stays.
    submitted(&world, &["--name", "first"]).await;
    submitted(&world, &["--name", "second"]).await;
    says(&world.run(&["doctor", "second"]).await, &["all room is taken"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_behind_others_or_behind_a_drain_is_told_so() {
    let world = live(crate::testing::EXAMPLE).await;
    let first = world.run(&["submit", "-j", "hello-world", "--name", "first", "-o", "json"]).await.stdout;
    let first = serde_json::from_str::<serde_json::Value>(&first).expect("JSON")[0]["id"].clone();
    submitted(&world, &["--name", "after", "--depends-on", first.as_str().expect("an id")]).await;
    says(&world.run(&["doctor", "after"]).await, &["it waits for other jobs to succeed"]);
    let instance = world.launched()[0].clone();
    world.drain_by_hand(&instance);
    says(&world.run(&["doctor", &instance]).await, &["it drains"]);
    submitted(&world, &["--name", "late"]).await;
    says(&world.run(&["doctor", "late"]).await, &["no instance takes jobs any more", "next:    spotblock up --new"]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_does_not_join_is_told_why() {
    let config = example_with("instances = 1", "instances = 2");
    let world = World::with_config(Options::default(), &config);
    world.break_instances(2);
    // Somebody loses patience and closes the terminal; at its bound `up` itself would give the instances back.
    let up = tokio::time::timeout(Duration::from_secs(60), world.run(&["up"])).await;
    assert!(up.is_err(), "it still waits: {up:?}");
    let launched = world.launched();
    let [first, second] = &launched[..] else { panic!("two instances: {launched:?}") };
    says(&world.run(&["doctor", first]).await, &["it still boots"]);
    world.pass(Duration::from_secs(600)).await;
    says(&world.run(&["doctor", first]).await, &["it never came to ECS", "aws ec2 get-console-output"]);
    submitted(&world, &[]).await;
    says(&world.run(&["doctor", "hello-world"]).await, &["no instance has joined", "2 instances are up, none"]);
    world.ecs_by_hand("CreateCluster", &json!({"clusterName": "default"}));
    world.register(second, "default");
    says(&world.run(&["doctor", second]).await, &["it joined the wrong cluster"]);
}
