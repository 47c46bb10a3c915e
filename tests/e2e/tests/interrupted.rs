//! Ctrl-C, as the real program gets it.

use std::process::Stdio;
use std::time::Duration;

use e2e::{cli, guard};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use crate::world::{LIMIT, World, accepted, binaries, fixture};

/// A `spotblock` that runs, and its progress.
struct Running {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(world: &World, arguments: &[&str]) -> Self {
        let mut command = cli::command(&binaries().spotblock, &world.cloud.url, &[]);
        command.arg("--config").arg(fixture("spot-block-test.toml")).args(arguments);
        guard::check(&command).expect("a confined command");
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped")).lines();
        Self { child, stderr }
    }

    /// Reads its progress until a line has this part.
    async fn until(&mut self, part: &str) {
        let read = async {
            while let Some(line) = self.stderr.next_line().await.expect("text") {
                if line.contains(part) {
                    return;
                }
            }
            panic!("it ended without {part:?}");
        };
        tokio::time::timeout(LIMIT, read).await.expect(part);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().expect("it runs")).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("it can be signalled");
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }

    /// Its exit code and the rest of its progress, if it ends within this time.
    async fn end(mut self, limit: Duration) -> (Option<i32>, String) {
        let status = tokio::time::timeout(limit, self.child.wait())
            .await
            .expect("it ends in time")
            .expect("a status");
        let mut rest = String::new();
        self.stderr.into_inner().read_to_string(&mut rest).await.expect("text");
        (status.code(), rest)
    }
}

/// Catches: a program that ends by the signal without a word, or that waits on for its instances.
#[tokio::test]
async fn a_signal_ends_a_waiting_up_with_130_and_the_next_run_goes_on() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let world = World::new("spot-block-test.toml", &[]).await;
        // Nothing on this image joins a cluster.
        let mut up = Running::start(&world, &["up", "--image", "ami-000a9e4700000f00d"]);
        up.until("0 of 1 joined; not yet: i-").await;
        up.signal(signal);
        let (code, said) = up.end(Duration::from_secs(5)).await;
        assert_eq!(code, Some(130), "{signal}: {said}");
        for part in ["error: interrupted", "next: nothing was undone: run the same command again"] {
            assert!(said.contains(part), "{signal}: {part:?} is missing in {said}");
        }
        let again = world.spotblock(&["up", "--timeout", "1s"]).await.code(4).expect("a time-out");
        assert!(again.stderr.contains("continuing block sb-"), "{}", again.stderr);
        assert_eq!(accepted(&world.calls().await, "RequestSpotInstances").len(), 1);
        world.spotblock(&["down"]).await.success().expect("down");
        world.cloud.stop().await.expect("it ends");
    }
}

/// Catches: a user who can't get out while AWS gives no answer.
#[tokio::test]
async fn the_first_signal_lets_a_call_finish_and_the_second_leaves_at_once() {
    let world = World::new("spot-block-test.toml", &[]).await;
    let operation = "DescribeJobQueues";
    world
        .cloud
        .post("faults", &json!({"operation": operation, "effect": {"hang": {"secs": 15}}}))
        .await
        .expect("a fault");
    let mut status = Running::start(&world, &["status"]);
    for _ in 0..200 {
        if world.calls().await.iter().any(|call| call.operation == operation) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    status.signal(Signal::SIGINT);
    status.until("stopping; a call in flight may finish").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(status.is_running(), "the call is still in flight");
    status.signal(Signal::SIGINT);
    let (code, said) = status.end(Duration::from_secs(2)).await;
    assert_eq!(code, Some(130), "{said}");
    world.cloud.stop().await.expect("it ends");
}
