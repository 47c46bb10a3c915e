//! What jobs wrote, as `spotblock logs` prints it.

use serde_json::{Value, json};

use crate::world::World;

/// Catches: a follower that ends before the job's last line or never, that prints a line twice, or
/// that loses an attempt.
#[tokio::test]
async fn what_a_job_wrote_is_printed_once_through_its_retries_to_its_end() {
    let world = World::new("spot-block-test.toml", &[]).await;
    world.spotblock(&["up"]).await.success().expect("up");
    let job = [
        "submit",
        "-j",
        "hello-world",
        "--name",
        "twice",
        "--attempts",
        "2",
        "--env",
        "LOCALCLOUD_EXIT=255",
    ];
    let job = [&job[..], &["--env", "LOCALCLOUD_SECONDS=3", "--", "echo", "\u{1b}[2Jred"]].concat();
    world.spotblock(&job).await.success().expect("it is taken");
    let attempt = "localcloud: running echo \u{fffd}[2Jred\n\u{fffd}[2Jred\nlocalcloud: ended \
                   with exit code 255\n";

    let run = world
        .spotblock(&["logs", "twice", "--follow"])
        .await
        .success()
        .expect("it ends with the job");
    assert_eq!(run.stdout, attempt.repeat(2), "{}", run.stderr);
    assert!(
        run.stderr.contains("attempt 2 of job twice") && run.stderr.contains("is FAILED: "),
        "{}",
        run.stderr
    );

    for arguments in [&["logs", "twice"][..], &["logs", "twice", "--attempt", "1"]] {
        let run = world.spotblock(arguments).await.success().expect("one attempt");
        assert_eq!(run.stdout, attempt, "{arguments:?}");
    }
    let run = world.spotblock(&["logs", "twice", "--attempt", "2", "--follow", "-o", "json"]).await;
    let run = run.success().expect("an attempt that is over");
    let lines: Vec<Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), &lines[1]["text"]), (3, &json!("\u{1b}[2Jred")), "{}", run.stdout);
    assert!(lines[0]["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{}", run.stdout);
    let run = world
        .spotblock(&["logs", "twice", "--attempt", "3"])
        .await
        .code(2)
        .expect("there were two");
    assert!(run.stderr.contains("has no attempt 3: it has had 2 of 2"), "{}", run.stderr);

    refused(&world).await;
    world.spotblock(&["down"]).await.success().expect("down");
    world.cloud.stop().await.expect("it ends");
}

/// What the service says is told as the other services' answers are, and what passes is tried
/// again.
async fn refused(world: &World) {
    let fault = |code: &str, status: u16, message: &str| {
        let effect = json!({"fail": {"code": code, "status": status, "message": message}});
        json!({"operation": "GetLogEvents", "count": 1, "effect": effect})
    };
    world
        .cloud
        .post("faults", &fault("AccessDeniedException", 400, "not for you"))
        .await
        .expect("a fault");
    let run = world.spotblock(&["logs", "twice"]).await.code(1).expect("denied");
    for part in [
        "error: logs:GetLogEvents for /aws/batch/job:hello-world/default/",
        "AccessDeniedException",
        "not for you (request id ",
        "next: the permission logs:GetLogEvents on /aws/batch/job:hello-world/default/",
    ] {
        assert!(run.stderr.contains(part), "{part:?} is missing in {}", run.stderr);
    }
    let gone = fault("ResourceNotFoundException", 400, "The specified log stream does not exist.");
    world.cloud.post("faults", &gone).await.expect("a fault");
    let run = world.spotblock(&["logs", "twice"]).await.code(1).expect("no stream");
    assert!(run.stderr.contains("it has written nothing\n"), "{}", run.stderr);
    world
        .cloud
        .post("faults", &fault("ThrottlingException", 400, "Rate exceeded"))
        .await
        .expect("a fault");
    let run = world.spotblock(&["logs", "twice", "-v"]).await.success().expect("it is tried again");
    assert!(run.stderr.contains("< logs:GetLogEvents: 400, request id "), "{}", run.stderr);
    assert!(run.stderr.contains("< logs:GetLogEvents: 200, request id "), "{}", run.stderr);
}

/// Catches: a client that looks elsewhere than the others. Nobody listens where everything else is.
#[tokio::test]
async fn an_endpoint_of_its_own_is_honoured_as_that_of_any_service_is() {
    let world = World::new("spot-block-test.toml", &[]).await;
    world.spotblock(&["up"]).await.success().expect("up");
    world.submit("short", 1, &[]).await;
    world.spotblock(&["logs", "short", "--follow"]).await.success().expect("it runs");
    let url = world.cloud.url.as_str();
    for settings in [
        &[("AWS_ENDPOINT_URL_BATCH", url), ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", url)][..],
        // What the user says to spotblock beats it.
        &[
            ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://127.0.0.1:1"),
            ("SPOTBLOCK_ENDPOINT_URL", url),
        ],
    ] {
        let run = world.spotblock_with("http://127.0.0.1:1", settings, &["logs", "short"]).await;
        let run = run.success().unwrap_or_else(|error| panic!("{settings:?}: {error}"));
        assert!(run.stdout.contains("localcloud: running sleep 1"), "{settings:?}: {}", run.stdout);
    }
    world.spotblock(&["down"]).await.success().expect("down");
    world.cloud.stop().await.expect("it ends");
}
