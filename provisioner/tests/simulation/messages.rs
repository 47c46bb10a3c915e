//! The main messages, whole, as people read them: fixtures/messages.txt. `errors/` holds the rest
//! by its parts.

use std::path::Path;

use localcloud_core::cloud::faults::Effect;
use localcloud_core::protocol::options::SpotBlock;
use localcloud_core::{Fault, Options};

use super::{World, example_with};

/// What a run says, with what differs from run to run taken out.
async fn said(world: &World, arguments: &[&str]) -> String {
    let run = world.run(arguments).await;
    let config = world.config.path().to_str().expect("a path");
    let mut text = format!(
        "$ spotblock {}\n{}",
        arguments.join(" "),
        run.stderr.replace(config, "spotblock.toml")
    );
    for (from, to) in [("sb-", 10), ("request id ", 36)] {
        text = masked(&text, from, to);
    }
    // Local times, wherever the test runs.
    let is_moment =
        |line: &str| ["  drain ", "  stop ", "  end "].iter().any(|name| line.starts_with(name));
    let timeless = |line: &str| format!("{}\n", if is_moment(line) { "  ..." } else { line });
    let text: String = text.lines().map(timeless).collect();
    format!("{text}exit code {}\n\n", run.code)
}

/// The text with the characters after each `prefix` made equal.
fn masked(text: &str, prefix: &str, longest: usize) -> String {
    let mut parts = text.split(prefix);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_id = |c: char| c.is_ascii_hexdigit() || c == '-';
        let end = part.find(|c| !is_id(c)).unwrap_or(part.len()).min(longest);
        let shown = if end == 0 { "" } else { "..." };
        whole = format!("{whole}{prefix}{shown}{}", &part[end..]);
    }
    whole
}

/// Catches: a message that loses its resource, its request id or its next step without anybody
/// having wanted it.
#[tokio::test(start_paused = true)]
async fn the_main_messages_are_as_they_were_snapshot() {
    let mut text = String::new();
    let broken = example_with("duration = \"60m\"", "duration = \"61m\"\nmax-prize = 0.03");
    text += &said(&World::with_config(Options::default(), &broken), &["plan"]).await;
    let rules =
        example_with("duration = \"60m\"", "duration = 60").replacen("vcpus = 1", "vcpus = 0", 1);
    text += &said(&World::with_config(Options::default(), &rules), &["plan"]).await;
    text +=
        &said(&World::new(Options::default()), &["submit", "--job-definition", "hello-wrld"]).await;
    text += &said(&World::new(Options::default()).asking(None), &["up"]).await;
    text += &said(
        &World::new(Options { spot_block: SpotBlock::Refuse, ..Options::default() }),
        &["up"],
    )
    .await;
    let denied = World::new(Options::default());
    let fault = Fault {
        service: Some("batch".into()),
        operation: Some("CreateComputeEnvironment".into()),
        caller: None,
        skip: 0,
        count: 1,
        effect: Effect::Fail {
            code: "AccessDeniedException".into(),
            message: "User: arn:aws:iam::123456789012:user/u is not authorized to perform: \
                      batch:CreateComputeEnvironment"
                .into(),
            status: 403,
        },
    };
    denied.cloud(|cloud| cloud.add_fault(fault));
    text += &said(&denied, &["up"]).await;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    harness::snapshot(&fixtures.join("messages.txt"), &text);
}

/// Catches: `-v` that loses its lines, or that shows what must not be shown.
#[tokio::test(start_paused = true)]
async fn verbose_shows_each_call_with_its_request_id_and_no_user_data() {
    let world = World::new(Options::default());
    let run = world.run(&["up", "-vv"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let answers = run.stderr.lines().filter(|line| line.starts_with("< ")).count();
    assert_eq!(answers, world.calls_of_users(), "{}", run.stderr);
    let one = run
        .stderr
        .lines()
        .find(|line| line.starts_with("< ec2:RequestSpotInstances: 200, request id "));
    assert!(
        one.is_some_and(|line| !line.contains("unknown") && line.ends_with(" ms")),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr
            .contains("> batch:CreateComputeEnvironment attempt 1: POST http://cloud.invalid/"),
        "{}",
        run.stderr
    );
    assert!(
        !run.stderr.contains("ECS_CLUSTER") && !run.stderr.contains("secret"),
        "{}",
        run.stderr
    );
    let quiet = world.run(&["status"]).await;
    assert!(!quiet.stderr.contains("request id"), "{}", quiet.stderr);
}

/// Catches: half a minute of silence in front of an endpoint that doesn't answer.
#[tokio::test(start_paused = true)]
async fn who_waits_is_told_of_a_call_without_an_answer() {
    let world = World::new(Options::default());
    world.cut_off();
    assert!(
        !world.run(&["status"]).await.stderr.contains("no answer yet"),
        "in a log the error says it"
    );
    let run = world.on_a_terminal().run(&["status"]).await;
    let line =
        "batch:DescribeComputeEnvironments at http://cloud.invalid has no answer yet: attempt 3\n";
    assert!(run.code == 1 && run.stderr.starts_with(line), "{}", run.stderr);
}
