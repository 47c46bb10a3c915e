//! Jobs: what `submit` sends and refuses, what `jobs` shows.

use localcloud_core::Options;
use serde_json::{Value, json};

use super::{World, example_with};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn environment(config: &str) -> World {
    let world = World::with_config(Options::default(), config);
    let run = world.run(&["env", "apply"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

/// Catches: an override that is lost on its way, or retry rules that `--attempts` removes.
#[tokio::test(start_paused = true)]
async fn what_submit_overrides_is_what_batch_is_sent() {
    let world = environment(&example_with("vcpus = 1", "vcpus = 1\ntimeout = \"20m\"")).await;
    let first = world.run(&["submit", "-j", "hello-world", "--name", "first", "-o", "json"]).await;
    let first = parsed(&first.stdout)[0]["id"].as_str().expect("an id").to_owned();
    let arguments = [
        "submit",
        "-j",
        "hello-world",
        "--array",
        "3",
        "--depends-on",
        &first,
        "--env",
        "A=b",
        "--parameter",
        "s=t",
        "--vcpus",
        "2",
        "--memory",
        "1GiB",
        "--job-timeout",
        "10m",
        "--attempts",
        "5",
        "--",
        "echo",
        "Ref::s",
    ];
    let run = world.run(&arguments).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    let sent = &world.accepted("SubmitJob")[1].parameters;
    assert_eq!(sent["arrayProperties"], json!({"size": 3}));
    assert_eq!(sent["dependsOn"], json!([{"jobId": first}]));
    assert_eq!(sent["parameters"], json!({"s": "t"}));
    assert_eq!(sent["timeout"], json!({"attemptDurationSeconds": 600}));
    let overrides = &sent["containerOverrides"];
    assert_eq!(overrides["command"], json!(["echo", "Ref::s"]));
    assert_eq!(overrides["environment"], json!([{"name": "A", "value": "b"}]));
    assert_eq!(
        overrides["resourceRequirements"],
        json!([{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "1024"}])
    );
    assert_eq!(sent["retryStrategy"]["attempts"], 5);
    assert_eq!(sent["retryStrategy"]["evaluateOnExit"][0]["onStatusReason"], "Host EC2*");

    world.pass(std::time::Duration::from_secs(5)).await;
    let jobs = parsed(&world.run(&["jobs", "-o", "json"]).await.stdout);
    let named = |name: &str| {
        jobs.as_array().and_then(|all| all.iter().find(|job| job["name"] == name)).expect("a job")
    };
    assert_eq!(named("first")["status"], "RUNNABLE");
    assert_eq!(named("hello-world")["status"], "PENDING");
    assert_eq!(
        (&named("hello-world")["vcpus"], &named("hello-world")["memory_mib"]),
        (&json!(2), &json!(1024))
    );
    let text = world.run(&["jobs", "--state", "pending"]).await.stdout;
    assert!(text.contains("3 children: 3 PENDING") && !text.contains("first"), "{text}");
    let text = world.run(&["jobs", "--name", "fir*"]).await.stdout;
    assert!(text.contains("first") && !text.contains("hello-world"), "{text}");
    assert_eq!(world.run(&["jobs", "--state", "FAILED"]).await.stdout, "no jobs\n");
}

/// The guard that no other tool has.
#[tokio::test(start_paused = true)]
async fn a_job_that_can_not_finish_in_a_block_is_refused_or_warned_about() {
    let world = environment(&example_with("vcpus = 1", "vcpus = 1\ntimeout = \"20m\"")).await;
    let submitted = || world.accepted("SubmitJob").len();
    let run = world.run(&["submit", "-j", "hello-world", "--job-timeout", "51m"]).await;
    assert_eq!((run.code, submitted()), (2, 0), "{}", run.stderr);
    assert!(
        run.stderr.contains("the job has a timeout of 51m, and a fresh block has room for 50m"),
        "{}",
        run.stderr
    );
    let run = world.run(&["submit", "-j", "hello-world", "--job-timeout", "45m"]).await;
    assert_eq!((run.code, submitted()), (0, 1), "{}", run.stderr);
    assert!(run.stderr.contains("may be stopped 5m before its end, and retried"), "{}", run.stderr);
    let run = world.run(&["submit", "-j", "hello-world", "--attempts", "1"]).await;
    assert!(run.stderr.contains("is not retried"), "{}", run.stderr);
    let run = world.run(&["submit", "-j", "hello-world"]).await;
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);

    let world = environment(crate::EXAMPLE).await;
    let run = world.run(&["submit", "-j", "hello-world"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("has no timeout"), "{}", run.stderr);
}

/// Catches: jobs beyond a page of AWS's that are lost, and a call for each of those that nobody
/// wants to see.
#[tokio::test(start_paused = true)]
async fn hundreds_of_jobs_are_listed_and_found_with_few_calls() {
    let world = environment(crate::EXAMPLE).await;
    let run = world.run(&["submit", "-j", "hello-world", "--count", "230"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world.pass(std::time::Duration::from_secs(5)).await;
    let described = || world.accepted("DescribeJobs").len();
    let before = described();
    let run = world.run(&["jobs", "-o", "json"]).await;
    assert_eq!(parsed(&run.stdout).as_array().map(Vec::len), Some(100));
    assert_eq!(described() - before, 1, "no more than are shown");
    assert!(
        run.stderr.contains("the newest 100 of 230 jobs: --limit 230 shows all"),
        "{}",
        run.stderr
    );
    let run = world.run(&["jobs", "--limit", "230", "-s", "runnable", "-o", "json"]).await;
    assert_eq!(
        (parsed(&run.stdout).as_array().map(Vec::len), run.stderr.as_str()),
        (Some(230), "")
    );
    let run =
        world.run(&["jobs", "--name", "hello-world-*", "--limit", "1000", "-o", "json"]).await;
    assert_eq!(parsed(&run.stdout).as_array().map(Vec::len), Some(230));
    let run = world.run(&["logs", "hello-world-1"]).await;
    assert!(
        run.code == 1 && run.stderr.contains("job hello-world-1 ("),
        "the oldest by its name: {}",
        run.stderr
    );
}

/// Catches: AWS's own words, and a table of nothing, where one only has to make the environment or
/// look elsewhere.
#[tokio::test(start_paused = true)]
async fn a_queue_that_is_not_there_or_takes_no_jobs_is_told_as_that() {
    let world = World::new(Options::default());
    for arguments in [&["jobs"][..], &["logs", "x"], &["doctor", "x"], &["jobs", "--name", "x"]] {
        let run = world.run(arguments).await;
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}: {}", run.stderr);
        for part in
            ["there is no job queue SpotBlockQueue in us-east-1", "spotblock env apply", "--region"]
        {
            assert!(run.stderr.contains(part), "{arguments:?}: {}", run.stderr);
        }
    }
    let world = environment(crate::EXAMPLE).await;
    world.batch_by_hand(
        "UpdateJobQueue",
        &json!({"jobQueue": "SpotBlockQueue", "state": "DISABLED"}),
    );
    world.pass(std::time::Duration::from_secs(5)).await;
    let run = world.run(&["submit", "-j", "hello-world"]).await;
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{}", run.stderr);
    assert!(run.stderr.contains("job queue SpotBlockQueue is disabled"), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn jobs_can_be_named_wherever_an_id_can_be_given() {
    let world = environment(crate::EXAMPLE).await;
    let submit = ["submit", "-j", "hello-world", "-o", "json"];
    let id = async |more: &[&str]| {
        let run = world.run(&[&submit[..], more].concat()).await;
        world.pass(std::time::Duration::from_secs(1)).await;
        parsed(&run.stdout)[0]["id"].as_str().expect("an id").to_owned()
    };
    let older = id(&["--name", "first"]).await;
    let newer = id(&["--name", "first"]).await;
    id(&["--name", "after", "--depends-on", "first"]).await;
    let sent = world.accepted("SubmitJob").pop().expect("one").parameters;
    assert_eq!(sent["dependsOn"], json!([{"jobId": newer}]));
    let before = world.accepted("SubmitJob").len();
    let run = world.run(&["submit", "-j", "hello-world", "--depends-on", "frist"]).await;
    assert_eq!(
        (run.code, run.stdout.as_str(), world.accepted("SubmitJob").len()),
        (2, "", before),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("there is no job frist in queue SpotBlockQueue in us-east-1"),
        "{}",
        run.stderr
    );
    let array = id(&["--name", "many", "--array", "2"]).await;
    let run = world.run(&["logs", "many:1"]).await;
    assert!(run.stderr.contains(&format!("job many ({array}:1) is RUNNABLE")), "{}", run.stderr);
    let run = world.run(&["logs", "many:2"]).await;
    assert!(run.code == 2 && run.stderr.contains("there is no job many:2"), "{}", run.stderr);
    // The name means the newest: of the older one the id is given.
    let shown = world.run(&["jobs"]).await.stdout;
    for known_as in ["first", &older] {
        assert!(shown.contains(&format!("`spotblock doctor {known_as}` says")), "{shown}");
    }
}
