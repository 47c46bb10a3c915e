//! Each cause that the doctor knows, made to happen, and found; and what it says of some of them.

use std::time::Duration;

use localcloud_core::Options;
use serde_json::json;
use spotblock::Cause;

use super::{Run, World, example_with};
use scenes::scene;
pub(super) use scenes::that_runs;

mod scenes;

/// Catches: a cause that can't happen or is not found when it does. docs/troubleshooting.md has a
/// row for each, which src/diagnosis/tests.rs holds.
#[tokio::test(start_paused = true)]
async fn each_cause_happens_on_the_local_cloud_and_is_found() {
    for cause in Cause::ALL {
        let scene = Box::pin(scene(*cause)).await;
        let about = scene.about.as_slice().iter().map(String::as_str);
        let arguments: Vec<&str> = ["doctor", "-o", "json"].into_iter().chain(about).collect();
        let run = scene.world.run(&arguments).await;
        assert_eq!(run.code, 1, "{cause:?}: {}{}", run.stdout, run.stderr);
        let found: Vec<serde_json::Value> = serde_json::from_str(&run.stdout).expect("JSON");
        let word = serde_json::to_value(cause).expect("a word");
        let its = found.iter().find(|it| it["cause"] == word);
        let its = its.unwrap_or_else(|| panic!("{cause:?} is not found: {}", run.stdout));
        assert_eq!(its["finding"], cause.says());
        for part in ["about", "evidence", "next"] {
            assert!(
                its[part].as_str().is_some_and(|text| !text.is_empty()),
                "{cause:?} has no {part}: {its}"
            );
        }
    }
}

/// Whether a run says all of these.
fn says(run: &Run, parts: &[&str]) {
    let found = parts.iter().all(|part| !part.contains("nothing is wrong"));
    assert_eq!(run.code, u8::from(found), "{}{}", run.stdout, run.stderr);
    for part in parts {
        assert!(run.stdout.contains(part), "{part:?} is missing in {}", run.stdout);
    }
}

impl World {
    fn cluster_of(&self, instance: &str) -> String {
        self.state().cluster(instance).expect("its user data names a cluster")
    }

    /// Drains an instance, as somebody does with the AWS CLI.
    pub(super) fn drain_by_hand(&self, instance: &str) {
        let cluster = self.cluster_of(instance);
        let read = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
        let listed = read(self.ecs_by_hand("ListContainerInstances", &json!({"cluster": cluster})));
        let all =
            json!({"cluster": cluster, "containerInstances": listed["containerInstanceArns"]});
        let all = read(self.ecs_by_hand("DescribeContainerInstances", &all));
        let all = all["containerInstances"].as_array().expect("a list");
        let its = all.iter().find(|it| it["ec2InstanceId"] == instance).expect("it is registered");
        let arns = [&its["containerInstanceArn"]];
        let body = json!({"cluster": cluster, "containerInstances": arns, "status": "DRAINING"});
        self.ecs_by_hand("UpdateContainerInstancesState", &body);
    }

    fn ecs_by_hand(&self, operation: &str, body: &serde_json::Value) -> String {
        let mut request = harness::by_hand("ecs", "POST", "/", &body.to_string());
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        request.headers.push(("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()));
        request.headers.push(("x-amz-target".to_owned(), target));
        let now = self.now();
        let response = self.state().answer(&request, now).response;
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
    world.batch_by_hand(
        "UpdateJobQueue",
        &json!({"jobQueue": "SpotBlockQueue", "state": "DISABLED"}),
    );
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
    let world = live(crate::EXAMPLE).await;
    submitted(&world, &["--name", "wide", "--vcpus", "4"]).await;
    says(
        &world.run(&["doctor", "wide"]).await,
        &[
            "it is too big for any instance",
            "it wants 4 vCPU, 256 MiB; the largest instance has 1 vCPU, 900 MiB",
        ],
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
    let world = live(crate::EXAMPLE).await;
    let first =
        world.run(&["submit", "-j", "hello-world", "--name", "first", "-o", "json"]).await.stdout;
    let first = serde_json::from_str::<serde_json::Value>(&first).expect("JSON")[0]["id"].clone();
    submitted(&world, &["--name", "after", "--depends-on", first.as_str().expect("an id")]).await;
    says(&world.run(&["doctor", "after"]).await, &["it waits for other jobs to succeed"]);
    let instance = world.launched()[0].clone();
    world.drain_by_hand(&instance);
    says(&world.run(&["doctor", &instance]).await, &["it drains"]);
    submitted(&world, &["--name", "late"]).await;
    says(
        &world.run(&["doctor", "late"]).await,
        &["no instance takes jobs any more", "next:    spotblock up --new"],
    );
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_does_not_join_is_told_why() {
    let config = example_with("instances = 1", "instances = 2");
    let world = World::with_config(Options::default(), &config);
    world.break_instances(2);
    up_for(&world, 60).await;
    let launched = world.launched();
    let [first, second] = &launched[..] else { panic!("two instances: {launched:?}") };
    says(&world.run(&["doctor", first]).await, &["it still boots"]);
    world.pass(Duration::from_secs(600)).await;
    says(
        &world.run(&["doctor", first]).await,
        &["it never came to ECS", "aws ec2 get-console-output"],
    );
    submitted(&world, &[]).await;
    says(
        &world.run(&["doctor", "hello-world"]).await,
        &["no instance has joined", "2 instances up, none in the cluster"],
    );
    world.ecs_by_hand("CreateCluster", &json!({"clusterName": "default"}));
    world.register(second, "default");
    says(&world.run(&["doctor", second]).await, &["it joined the wrong cluster"]);
}

/// An `up` that its user leaves while instances are waited for: a time-out would end them.
async fn up_for(world: &World, secs: u64) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let (run, _) = tokio::join!(world.run_with(&["up"], None, receiver), async {
        tokio::time::sleep(Duration::from_secs(secs)).await;
        sender.send(())
    });
    assert_eq!(run.expect("it is not killed").code, 130);
}

/// Catches: a time-out that ends the instances together with what would have told why.
#[tokio::test(start_paused = true)]
async fn an_up_that_times_out_says_what_the_doctor_finds() {
    let config = example_with("subnet-c8d30ae4", "subnet-b508ea4b");
    let world = World::with_config(Options::default(), &config);
    world.break_instances(1);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(run.stderr.contains("its subnet has no way to ECS (nat-"), "{}", run.stderr);
    let world = World::new(Options::default());
    world.break_instances(1);
    let run = world.run(&["up"]).await;
    let instance = &world.launched()[0];
    assert!(run.stderr.contains(&format!("`spotblock doctor {instance}`")), "{}", run.stderr);
}

/// One instance that is up and doesn't join, with this in place of that in the example's file.
async fn stuck(changes: &[(&str, &str)]) -> (World, String) {
    let mut config = crate::EXAMPLE.to_owned();
    for (from, to) in changes {
        assert!(config.contains(from), "the example has {from:?}");
        config = config.replacen(from, to, 1);
    }
    let world = World::with_config(Options::default(), &config);
    world.break_instances(1);
    up_for(&world, 600).await;
    let instance = world.launched()[0].clone();
    (world, instance)
}

#[tokio::test(start_paused = true)]
async fn what_the_console_says_of_a_failed_boot_is_told_also_when_the_instance_is_gone() {
    let (world, instance) = stuck(&[]).await;
    let said = "spotblock: can't fetch https://x/agent.tgz: powering off";
    world.cloud(|cloud| localcloud_core::ec2::console_says(cloud, &instance, said));
    says(&world.run(&["doctor"]).await, &["its user data failed", said, "check [agent] from"]);
    let (world, instance) = stuck(&[("ami-a7a242da", "ami-000a9e4700000f00d")]).await;
    says(&world.run(&["doctor", &instance]).await, &["its console has no line of spotblock-agent"]);
    let said = "spotblock: this image has no spotblock-agent: powering off";
    let now = world.now();
    world.cloud(|cloud| {
        localcloud_core::ec2::console_says(cloud, &instance, said);
        localcloud_core::ec2::power_off(cloud, now, &instance);
    });
    world.pass(Duration::from_secs(5)).await;
    says(&world.run(&["doctor", &instance]).await, &["its image has no spotblock-agent", said]);
}

#[tokio::test(start_paused = true)]
async fn a_subnet_without_a_way_to_ecs_is_found() {
    let in_subnet = async |subnet| stuck(&[("subnet-c8d30ae4", subnet)]).await;
    let elsewhere = [("subnet-c8d30ae4", "subnet-71c4a607"), ("sg-55964223", "sg-82d5b718")];
    let (world, _) = stuck(&elsewhere).await;
    says(
        &world.run(&["doctor"]).await,
        &["its subnet has no way to ECS", "subnet-71c4a607 has no route to 0.0.0.0/0"],
    );
    let (world, _) = in_subnet("subnet-b508ea4b").await;
    says(
        &world.run(&["doctor"]).await,
        &["its subnet has no way to ECS", "leads nowhere (blackhole)"],
    );
    let (world, _) = in_subnet("subnet-93e6c829").await;
    says(
        &world.run(&["doctor"]).await,
        &[
            "needs a public address, and it has none",
            "modify-subnet-attribute --subnet-id subnet-93e6c829",
        ],
    );
    let (world, _) = in_subnet("subnet-a4f7d93a").await;
    says(&world.run(&["doctor"]).await, &["it never came to ECS"]);
}

#[tokio::test(start_paused = true)]
async fn rights_that_are_missing_are_found() {
    let (world, _) = stuck(&[("instance-profile = \"ecsInstanceRole\"\n", "")]).await;
    let role = "spotblock-spot-block-test-instance";
    world.by_hand("iam", &format!("Action=DeleteRolePolicy&RoleName={role}&PolicyName=spotblock"));
    says(
        &world.run(&["doctor"]).await,
        &["its role has no policy", &format!("role {role} has neither")],
    );
    world.by_hand(
        "iam",
        &format!("Action=RemoveRoleFromInstanceProfile&RoleName={role}&InstanceProfileName={role}"),
    );
    says(
        &world.run(&["doctor"]).await,
        &["its instance profile has no role", "next:    spotblock env apply"],
    );
    world.by_hand("iam", &format!("Action=DeleteInstanceProfile&InstanceProfileName={role}"));
    says(&world.run(&["doctor"]).await, &["it has no instance profile", "is not there any more"]);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_looked_at_is_left_out_and_said() {
    let (world, instance) = stuck(&[]).await;
    let denied = json!({
        "service": "ec2", "operation": "GetConsoleOutput", "count": 9,
        "effect": {"fail": {"code": "UnauthorizedOperation", "status": 403, "message": "not you"}},
    });
    world.cloud(|cloud| cloud.add_fault(serde_json::from_value(denied).expect("a fault")));
    let run = world.run(&["doctor", &instance]).await;
    says(&run, &["it never came to ECS", "its console shows nothing yet"]);
    assert!(
        run.stderr.contains("not looked at: ") && run.stderr.contains("ec2:GetConsoleOutput"),
        "{}",
        run.stderr
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_found() {
    let world = live(crate::EXAMPLE).await;
    let (instance, now) = (world.launched()[0].clone(), world.now());
    world.cloud(|cloud| cloud.agent_connected(now, &instance, false));
    let run = world.run(&["doctor", "-o", "json"]).await;
    says(&run, &["agentConnected false"]);
    let found: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(found[0]["cause"], "agent-disconnected");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_environment_and_a_queue_of_another_are_found() {
    let world = World::new(Options::default());
    let nobody = json!({
        "computeEnvironmentName": "spot-block-test", "type": "UNMANAGED",
        "serviceRole": "arn:aws:iam::123456789012:role/Nobody",
    });
    world.batch_by_hand("CreateComputeEnvironment", &nobody);
    world.pass(Duration::from_secs(5)).await;
    says(&world.run(&["doctor"]).await, &["it is INVALID, so Batch places no job", "CLIENT_ERROR"]);
    let world = environment(World::new(Options::default())).await;
    let role = world.batch_by_hand("DescribeComputeEnvironments", &json!({}));
    let role: serde_json::Value = serde_json::from_str(&role).expect("JSON");
    let role = role["computeEnvironments"][0]["serviceRole"].clone();
    let other =
        json!({"computeEnvironmentName": "other", "type": "UNMANAGED", "serviceRole": role});
    world.batch_by_hand("CreateComputeEnvironment", &other);
    world.pass(Duration::from_secs(5)).await;
    let order = json!([{"order": 1, "computeEnvironment": "other"}]);
    world.batch_by_hand(
        "UpdateJobQueue",
        &json!({"jobQueue": "SpotBlockQueue", "computeEnvironmentOrder": order}),
    );
    world.pass(Duration::from_secs(5)).await;
    says(
        &world.run(&["doctor"]).await,
        &["its jobs never reach this environment", "bound to other, not to spot-block-test"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_would_not_fit_before_the_stop_is_told_so() {
    let world = live(crate::EXAMPLE).await;
    world.pass(Duration::from_secs(30 * 60)).await;
    world.batch_by_hand(
        "SubmitJob",
        &json!({"jobName": "long", "jobQueue": "SpotBlockQueue", "jobDefinition": "hello-world",
                "timeout": {"attemptDurationSeconds": 2400}}),
    );
    says(
        &world.run(&["doctor", "long"]).await,
        &["it may not end before its block stops it", "it may take 40 min"],
    );
}

/// Runs a job to its end on an instance that runs what it is given, and asks the doctor about it.
async fn asked_after(more: &[&str]) -> (World, Run) {
    let world = scenes::that_runs(crate::EXAMPLE).await;
    submitted(&world, &[&["--name", "over"], more].concat()).await;
    world.pass_slowly(Duration::from_secs(130)).await;
    let run = world.run(&["doctor", "over"]).await;
    (world, run)
}

/// Catches: a failure of which one is told no more than that it was one.
#[tokio::test(start_paused = true)]
async fn a_job_that_failed_is_told_with_what_it_wrote_and_what_to_do() {
    let (world, run) = asked_after(&["--env", "LOCALCLOUD_EXIT=9"]).await;
    says(
        &run,
        &["it failed", "exit 9", "the last line it wrote: \"localcloud: ended with exit code 9\""],
    );
    let jobs = world.run(&["jobs", "-o", "json"]).await.stdout;
    let jobs: serde_json::Value = serde_json::from_str(&jobs).expect("JSON");
    let id = jobs[0]["id"].as_str().expect("an id").to_owned();
    says(&run, &[&format!("next:    spotblock logs {id} shows what it wrote")]);
    let (_, run) = asked_after(&["--job-timeout", "1m", "--", "sleep", "300"]).await;
    says(
        &run,
        &[
            "Job attempt duration exceeded timeout",
            "a longer --job-timeout, if it didn't hang: spotblock logs ",
        ],
    );
    let (_, run) = asked_after(&["--env", "LOCALCLOUD_PLATFORM=linux/arm64"]).await;
    says(&run, &["no matching manifest for linux/amd64", "look at the image's name and tag"]);
    assert!(!run.stdout.contains("spotblock logs"), "it never began: {}", run.stdout);
    let submitted_after =
        world.run(&["submit", "-j", "hello-world", "--name", "after", "--depends-on", &id]).await;
    assert_eq!(submitted_after.code, 0, "{}", submitted_after.stderr);
    world.pass(Duration::from_secs(5)).await;
    says(
        &world.run(&["doctor", "after"]).await,
        &["Dependent Job failed", &format!("spotblock doctor {id}")],
    );
}

/// The kernel's word for another architecture stands nowhere but in what the container wrote.
#[tokio::test(start_paused = true)]
async fn an_image_for_other_processors_that_could_be_pulled_is_found_by_what_it_wrote() {
    let (world, run) = asked_after(&[
        "--env",
        "LOCALCLOUD_EXIT=1",
        "--",
        "echo",
        "exec /hello: exec format error",
    ])
    .await;
    says(
        &run,
        &["another architecture than the instances", "it wrote \"exec /hello: exec format error\""],
    );
    let denied = json!({
        "service": "logs", "operation": "GetLogEvents", "count": 9,
        "effect": {"fail": {"code": "AccessDeniedException", "status": 400, "message": "not you"}},
    });
    world.cloud(|cloud| cloud.add_fault(serde_json::from_value(denied).expect("a fault")));
    let run = world.run(&["doctor", "over"]).await;
    says(&run, &["it failed", "exit 1"]);
    assert!(
        run.stderr.contains("not looked at: ") && run.stderr.contains("logs:GetLogEvents"),
        "{}",
        run.stderr
    );
}

/// Catches: an array of which nothing is said but that it depends on no one.
#[tokio::test(start_paused = true)]
async fn an_array_is_where_its_children_are() {
    let world = environment(World::new(Options::default())).await;
    submitted(&world, &["--name", "many", "--array", "3"]).await;
    for arguments in [&["doctor", "many"][..], &["doctor"]] {
        let run = world.run(arguments).await;
        says(&run, &[":0): there is no instance to run it", "next:    spotblock up\n"]);
        assert!(!run.stdout.contains("depends on"), "{}", run.stdout);
    }
    let (world, run) = asked_after(&["--array", "2", "--env", "LOCALCLOUD_EXIT=9"]).await;
    says(
        &run,
        &["it failed: ", "lists the children that failed"].map(|part| part.trim_end_matches(": ")),
    );
    let shown = world.run(&["jobs", "--array", "over", "--state", "FAILED"]).await;
    assert_eq!(shown.stdout.matches("exit 9").count(), 2, "{}", shown.stdout);
    submitted(&world, &["--name", "alone"]).await;
    let run = world.run(&["jobs", "--array", "alone"]).await;
    assert!(run.code == 2 && run.stderr.contains("is no array"), "{}", run.stderr);
    let runs = environment(world).await;
    submitted(&runs, &["--name", "runs", "--array", "2", "--", "sleep", "600"]).await;
    runs.pass_slowly(Duration::from_secs(10)).await;
    let run = runs.run(&["doctor", "runs"]).await;
    says(&run, &["all room is taken"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_another_queue_is_not_held_against_this_environment() {
    let world = environment(World::new(Options::default())).await;
    let queue = json!({
        "jobQueueName": "theirs", "priority": 1,
        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "spot-block-test"}],
    });
    world.batch_by_hand("CreateJobQueue", &queue);
    world.pass(Duration::from_secs(5)).await;
    let job = json!({"jobName": "x", "jobQueue": "theirs", "jobDefinition": "hello-world"});
    let job: serde_json::Value =
        serde_json::from_str(&world.batch_by_hand("SubmitJob", &job)).expect("JSON");
    let run = world.run(&["doctor", job["jobId"].as_str().expect("an id")]).await;
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    assert!(
        run.stderr.contains("is in queue theirs, and this environment's is SpotBlockQueue"),
        "{}",
        run.stderr
    );
}
