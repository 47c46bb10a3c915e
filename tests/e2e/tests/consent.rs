//! `up` asks on a real terminal: util-linux's `script` makes one.

use std::process::Stdio;

use e2e::{cli, guard};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{LIMIT, World, accepted, binaries, fixture};

const QUESTION: &str = "Do all this?";

/// `spotblock up` on a terminal, where this is typed.
async fn on_a_terminal(world: &World, typed: &[u8]) -> (Option<i32>, String) {
    let program = binaries().spotblock;
    let line = format!(
        "exec {} --config {} up",
        program.display(),
        fixture("spot-block-test.toml").display()
    );
    let arguments = ["--quiet", "--return", "--command", &line, "/dev/null"];
    let mut command =
        cli::command(std::path::Path::new("/usr/bin/script"), &world.cloud.url, &arguments);
    command.env_remove("SPOTBLOCK_YES").env("SHELL", "/bin/sh");
    guard::check(&command).expect("a confined command");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().expect("it starts");
    let (mut keyboard, mut screen) =
        (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let mut shown = Vec::new();
    let story = async {
        // Typed before it is asked for, Ctrl-C would be the shell's.
        while !String::from_utf8_lossy(&shown).contains(QUESTION) {
            assert!(
                screen.read_buf(&mut shown).await.expect("read") > 0,
                "{}",
                String::from_utf8_lossy(&shown)
            );
        }
        keyboard.write_all(typed).await.expect("typed");
        screen.read_to_end(&mut shown).await.expect("read");
        child.wait().await.expect("it ends").code()
    };
    let code = tokio::time::timeout(LIMIT, story).await.expect("in time");
    (code, String::from_utf8_lossy(&shown).into_owned())
}

/// Catches: a question that a real terminal doesn't show, an answer that is not read, Ctrl-C that
/// is taken for one.
#[tokio::test]
async fn up_asks_on_a_terminal_and_takes_a_no_a_ctrl_c_and_a_yes() {
    let world = World::new("spot-block-test.toml", &[]).await;
    for (typed, expected) in [(&b"no\n"[..], 1), (b"\x03", 130)] {
        let (code, shown) = on_a_terminal(&world, typed).await;
        assert_eq!(code, Some(expected), "{shown}");
        assert!(shown.contains("+ create  8     block"), "{shown}");
        assert!(accepted(&world.calls().await, "CreateComputeEnvironment").is_empty(), "{shown}");
    }
    let (code, shown) = on_a_terminal(&world, b"yes\n").await;
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(accepted(&world.calls().await, "RequestSpotInstances").len(), 1);
    world.spotblock(&["down"]).await.success().expect("down");
    world.cloud.stop().await.expect("it ends");
}
