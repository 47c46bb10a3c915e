//! Jobs to their ends, as somebody who watches them sees it.

use serde_json::Value;

use crate::world::World;

fn state(job: &Value) -> (&str, &str) {
    (job["name"].as_str().unwrap_or_default(), job["status"].as_str().unwrap_or_default())
}

/// Catches: a watch that ends early, never, or with the wrong exit code.
#[tokio::test]
async fn a_watched_job_gives_its_result_as_the_exit_code() {
    let world = World::new("spot-block-test.toml", &[]).await;
    world.spotblock(&["up"]).await.success().expect("up");
    let good = [
        "submit",
        "-j",
        "hello-world",
        "--name",
        "good",
        "--watch",
        "-o",
        "json",
        "--",
        "sleep",
        "1",
    ];
    let run = world.spotblock(&good).await.success().expect("it succeeds");
    assert_eq!(state(&run.json().expect("JSON")[0]), ("good", "SUCCEEDED"), "{}", run.stdout);
    let told: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("good ")).collect();
    assert!(told.last().is_some_and(|line| line.ends_with("SUCCEEDED")), "{}", run.stderr);

    let bad = ["--env", "LOCALCLOUD_EXIT=9", "--attempts", "1", "--watch", "--", "sleep", "1"];
    let bad = [&["submit", "-j", "hello-world", "--name", "bad"][..], &bad].concat();
    let run = world.spotblock(&bad).await.code(5).expect("a failed job");
    assert!(run.stdout.contains("FAILED") && run.stdout.contains("exit 9"), "{}", run.stdout);

    let array = [
        "submit",
        "-j",
        "hello-world",
        "--name",
        "many",
        "--array",
        "2",
        "--watch",
        "--",
        "sleep",
        "1",
    ];
    let run = world.spotblock(&array).await.success().expect("both children succeed");
    assert!(run.stderr.contains("2 children: 2 SUCCEEDED"), "{}", run.stderr);
    let jobs = world.spotblock(&["jobs"]).await.success().expect("jobs").stdout;
    assert!(jobs.contains("exit 9") && jobs.contains("2 children: 2 SUCCEEDED"), "{jobs}");
    world.spotblock(&["down"]).await.success().expect("down");
    world.cloud.stop().await.expect("it ends");
}
