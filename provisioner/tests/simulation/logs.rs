//! What `logs` says where there is nothing to read yet. tests/e2e/tests/logs.rs reads what real
//! containers' stand-ins write.

use std::time::Duration;

use localcloud_core::Options;
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;

use super::World;

async fn environment() -> World {
    let world = World::new(Options::default());
    let run = world.run(&["env", "apply"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

async fn submitted(world: &World, more: &[&str]) -> String {
    let run = world.run(&[&["submit", "-j", "hello-world", "-o", "json"], more].concat()).await;
    let jobs: Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.stderr));
    jobs[0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_written_nothing_has_no_such_attempt_or_is_not_there_is_told_of() {
    let world = environment().await;
    let id = submitted(&world, &["--name", "waits"]).await;
    let array = submitted(&world, &["--name", "many", "--array", "3"]).await;
    let child = format!("{array}:1");
    let cases: [(&[&str], u8, &str); 6] = [
        (&["waits"], 1, "it has written nothing yet"),
        (&[&id], 1, "next: wait for it with --follow"),
        (&[&id, "--attempt", "2"], 2, "has no attempt 2: it has had 0 of 3"),
        (&[&id, "--attempt", "4", "--follow"], 2, "has no attempt 4: it has had 0 of 3"),
        (&["many"], 2, "is an array of 3, and each child has a log of its own"),
        (&["nobody"], 2, "there is no job nobody in queue SpotBlockQueue"),
    ];
    for (arguments, code, part) in cases {
        let run = world.run(&[&["logs"], arguments].concat()).await;
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{arguments:?}: {}", run.stderr);
    }
    let run = world.run(&["logs", "many"]).await;
    assert!(
        run.stderr.contains(&format!("`spotblock logs {array}:0` to `{array}:2`")),
        "{}",
        run.stderr
    );
    let run = world.run(&["logs", &child]).await;
    assert!(
        run.code == 1 && run.stderr.contains("nothing yet"),
        "a child is a job like any other: {}",
        run.stderr
    );
}

/// Catches: a follower that gives up before the job begins, or that an interrupt can't end.
#[tokio::test(start_paused = true)]
async fn following_a_job_that_waits_goes_on_until_ctrl_c() {
    let world = environment().await;
    let id = submitted(&world, &[]).await;
    let (interrupter, interrupts) = unbounded_channel();
    let follow = ["logs", &id, "--follow"];
    let (run, ()) = tokio::join!(world.run_with(&follow, None, interrupts), async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        interrupter.send(()).expect("it still runs");
    });
    let run = run.expect("it is not killed");
    assert_eq!((run.code, run.stdout.as_str()), (130, ""), "{}", run.stderr);
    assert_eq!(run.stderr.matches("it has written nothing yet").count(), 1, "{}", run.stderr);
    assert!(!run.stderr.contains("error"), "{}", run.stderr);
}
