//! Checks against a fake world and a folder.

use std::os::unix::net::UnixListener;

use node_contract::user_data;

use super::*;
use crate::settings::Environment;
use crate::settings::args::RunArgs;
use crate::testing::{self, World, at};

fn settings(root: &Path) -> Settings {
    let args = RunArgs { root: root.to_owned(), settings: None, verbose: false };
    Settings::load(&args, Environment::default()).expect("defaults")
}

fn verdict_of<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.name == name).expect("it was looked at")
}

#[test]
fn a_failure_makes_the_check_fail_and_a_warning_does_not() {
    let warned =
        Findings(vec![finding("a", Verdict::Ok, "well"), finding("b", Verdict::Warn, "so so")]);
    assert!(warned.pass());
    assert_eq!(warned.to_string(), "ok       a              well\nwarn     b              so so\n");
    let json = serde_json::to_string(&warned).expect("JSON");
    assert!(json.starts_with(r#"[{"name":"a","verdict":"ok","says":"well"}"#), "{json}");
    assert!(!Findings(vec![finding("a", Verdict::Fail, "broken")]).pass());
}

/// Catches: an image that is baked with settings of which half don't hold.
#[test]
fn wrong_settings_fail_the_check() {
    let mut settings = settings(Path::new("/nonexistent"));
    assert_eq!(settings_file(&settings).verdict, Verdict::Ok);
    settings.wrong = vec!["agent.toml: log is no log".into()];
    let found = settings_file(&settings);
    assert_eq!(found.verdict, Verdict::Fail);
    assert!(found.says.ends_with("agent.toml: log is no log"), "{}", found.says);
}

#[test]
fn folders_are_held_against_what_the_agent_writes() {
    let dir = tempfile::tempdir().expect("a folder");
    let found = files(&settings(dir.path()));
    assert_eq!(
        verdict_of(&found, "ecs-config").verdict,
        Verdict::Fail,
        "no ECS agent was installed"
    );
    assert_eq!(verdict_of(&found, "state-folder").verdict, Verdict::Warn, "the agent makes it");
    std::fs::create_dir_all(dir.path().join("etc/ecs")).expect("etc/ecs");
    assert_eq!(verdict_of(&files(&settings(dir.path())), "ecs-config").verdict, Verdict::Ok);
}

#[test]
fn docker_has_to_answer_on_its_socket() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = settings(dir.path());
    assert_eq!(docker(&settings).verdict, Verdict::Skipped);
    std::fs::create_dir_all(dir.path().join("run")).expect("run");
    let listener = UnixListener::bind(dir.path().join("run/docker.sock")).expect("a socket");
    let answers = std::thread::spawn(move || {
        for answer in ["HTTP/1.0 200 OK\r\n\r\nOK", "HTTP/1.0 500 Internal Server Error\r\n\r\n"] {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 256];
            let length = stream.read(&mut request).expect("a request");
            assert!(request[..length].starts_with(b"GET /_ping "));
            stream.write_all(answer.as_bytes()).expect("answered");
        }
    });
    assert_eq!(docker(&settings).verdict, Verdict::Ok);
    assert_eq!(docker(&settings).verdict, Verdict::Fail);
    answers.join().expect("no panic");
    assert_eq!(docker(&settings).verdict, Verdict::Fail, "nobody listens any more");
}

#[tokio::test]
async fn the_block_is_found_or_its_absence_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = settings(dir.path());
    let world = World::at(at("2026-11-24T10:00:00Z"));
    world.facts().identity = None;
    let (identity, config, found) = block(&settings, world.as_ref()).await;
    assert_eq!((identity, config), (None, None));
    assert_eq!(verdict_of(&found, "imds").verdict, Verdict::Fail);
    assert_eq!(verdict_of(&found, "block").says, "the instance has no user data");
    world.facts().identity = Some(testing::identity());
    world.facts().user_data = Some(
        [user_data::BEGIN, "\n", &testing::config().to_json(), "\n", user_data::END, "\n"].concat(),
    );
    let (_, config, found) = block(&settings, world.as_ref()).await;
    assert_eq!(config, Some(testing::config()), "{found:?}");
    assert!(
        verdict_of(&found, "block")
            .says
            .contains("sb-1f2c in cluster c, until 2026-11-24T11:00:00Z"),
        "{found:?}"
    );
}

#[test]
fn a_state_of_another_instance_is_called_stale() {
    let (saved, own) = (testing::saved(), testing::identity());
    assert_eq!(state(None, None, Some(&own)).verdict, Verdict::Ok);
    assert_eq!(state(Some(&saved), None, Some(&own)).verdict, Verdict::Ok);
    let other = Identity { instance: "i-0f0f".into(), ..own };
    let stale = state(Some(&saved), None, Some(&other));
    assert!(stale.verdict == Verdict::Warn && stale.says.contains("i-0a1b"), "{stale:?}");
}

#[tokio::test]
async fn the_timer_has_to_be_where_the_block_wants_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = settings(dir.path());
    let clock = World::at(at("2026-11-24T10:00:00Z"));
    let saved = testing::saved();
    let verdict = |saved: Option<&Saved>| power_off_timer(&settings, saved, clock.as_ref()).verdict;
    assert_eq!(verdict(None), Verdict::Skipped);
    assert_eq!(verdict(Some(&saved)), Verdict::Fail, "there is none");
    let timer = setup::power_off_timer(&settings, &saved.identity);
    timer.write(timer::moment(&saved.state)).await.expect("written");
    assert_eq!(verdict(Some(&saved)), Verdict::Ok);
    timer.write(at("2026-11-24T12:00:00Z")).await.expect("written");
    assert_eq!(verdict(Some(&saved)), Verdict::Fail, "an hour late");
}

#[tokio::test(start_paused = true)]
async fn what_ecs_refuses_or_doesnt_answer_is_named() {
    let world = World::at(at("2026-11-24T10:00:00Z"));
    assert_eq!(permissions(world.as_ref(), world.as_ref()).await.verdict, Verdict::Ok);
    world.facts().ecs_fails = true;
    assert!(permissions(world.as_ref(), world.as_ref()).await.says.contains("ServerException"));
    world.facts().ecs_hangs = true;
    assert_eq!(permissions(world.as_ref(), world.as_ref()).await.says, "ECS doesn't answer");
}
