//! Whole lives of a block, as far as the provisioner goes.

use std::time::Duration;

use localcloud_core::journal::record::What;
use localcloud_core::protocol::options::SpotBlock;
use localcloud_core::{Event, Options};
use node_contract::names::tag;
use serde_json::Value;

use super::{World, example_with, fresh_path};

fn refusing() -> Options {
    Options { spot_block: SpotBlock::Refuse, ..Options::default() }
}

fn launched(world: &World) -> usize {
    let is = |event: &&Event| matches!(event.what, What::Launched { .. });
    world.cloud(|cloud| cloud.events().iter().filter(is).count())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(start_paused = true)]
async fn up_makes_everything_and_waits_until_all_have_joined() {
    let world =
        World::with_config(Options::default(), &example_with("instances = 1", "instances = 3"));
    let run = world.run(&["up", "--output", "json"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let result = json(&run.stdout);
    assert_eq!(result["block"]["life"], "live");
    let instances = result["block"]["instances"].as_array().expect("instances");
    assert_eq!(instances.len(), 3);
    assert!(
        instances.iter().all(|it| it["joined"] == true && it["container_instance"] == "ACTIVE"),
        "{result}"
    );
    // Each is marked: a spot request's tags don't reach its instance.
    let tagged: String =
        world.accepted("CreateTags").iter().map(|call| call.parameters.to_string()).collect();
    for instance in instances {
        assert!(tagged.contains(instance["id"].as_str().expect("an id")), "{tagged}");
    }
    assert!(tagged.contains(tag::BLOCK) && tagged.contains(tag::ENVIRONMENT));
    // The request's moments come from the settings that the agent got.
    let moments: Vec<&str> = ["start", "drain_at", "stop_at", "end"]
        .iter()
        .map(|key| result["block"][key].as_str().expect(key))
        .collect();
    assert!(moments.is_sorted(), "{moments:?}");
    assert_eq!(world.accepted("RequestSpotInstances")[0].parameters["InstanceCount"], "3");
}

#[tokio::test(start_paused = true)]
async fn a_second_up_changes_nothing_and_buys_nothing() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    let before = world.calls();
    let plan = world.run(&["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}{}", plan.stdout, plan.stderr);
    let again = world.run(&["up"]).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(world.changing(before), Vec::<String>::new());
    assert_eq!(launched(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn the_file_can_change_while_a_block_goes_on() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    // Flags are another file: the live block keeps its parameters, which its record froze.
    let run = world.run(&["up", "--instances", "5", "--max-price", "1"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(world.accepted("RequestSpotInstances").len(), 1);
    assert!(run.stderr.contains("continuing block"), "{}", run.stderr);
    assert!(run.stderr.contains("1 instances, not 5; $0.03, not $1"), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn when_a_block_has_ended_up_starts_the_next() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    world.pass(Duration::from_secs(3700)).await;
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let purchases = world.accepted("RequestSpotInstances");
    assert_eq!(purchases.len(), 2);
    assert_ne!(purchases[0].parameters["ClientToken"], purchases[1].parameters["ClientToken"]);
    let status = world.run(&["status", "--output", "json"]).await;
    let blocks = json(&status.stdout)["blocks"].clone();
    assert_eq!(
        (blocks[0]["life"].clone(), blocks[1]["life"].clone()),
        ("live".into(), "ended".into()),
        "{blocks}"
    );
}

#[tokio::test(start_paused = true)]
async fn new_starts_another_beside_the_live_one() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(world.run(&["up", "--new"]).await.code, 0);
    assert_eq!(world.accepted("RequestSpotInstances").len(), 2);
    assert_eq!(launched(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn of_two_at_once_one_wins_and_the_other_follows() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let (one, other) = tokio::join!(world.run(&["request"]), world.run(&["request"]));
    assert_eq!((one.code, other.code), (0, 0), "{}\n{}", one.stderr, other.stderr);
    assert_eq!(launched(&world), 1, "bought once");
    assert!(
        format!("{}{}", one.stderr, other.stderr).contains("another run was first"),
        "{}{}",
        one.stderr,
        other.stderr
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_block_ends_with_3_and_is_not_asked_for_again() {
    let world = World::new(refusing());
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 3, "{}", run.stderr);
    for part in [
        "InvalidParameterValue",
        "BlockDurationMinutes",
        "request id",
        "sources",
        "since the end of 2022",
    ] {
        assert!(run.stderr.contains(part), "{part:?} is missing in {}", run.stderr);
    }
    assert_eq!(launched(&world), 0);
    let status = json(&world.run(&["status", "--output", "json"]).await.stdout);
    assert_eq!(status["blocks"][0]["life"], "refused");
    assert_eq!(status["blocks"][0]["outcome"], "refused:InvalidParameterValue");
    // AWS changes its mind: the next `up` begins another block, under another token.
    world.cloud(|cloud| cloud.options.spot_block = SpotBlock::Grant);
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(launched(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_fulfilled_ends_with_3_when_it_is_no_longer_valid() {
    let world = World::new(Options { spot_price: Some(1.0), ..Options::default() });
    let start = world.now();
    let run = world.run(&["up", "--valid-for", "5m"]).await;
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("price-too-low"), "it says what it waits for: {}", run.stderr);
    assert!(run.stderr.contains("schedule-expired"), "{}", run.stderr);
    let took = start.duration_until(world.now()).as_mins();
    assert!((5..8).contains(&took), "{took} minutes");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_joins_is_named_when_the_time_is_up() {
    let world = World::new(Options::default());
    world.break_instances(1);
    let run = world.run(&["up", "--timeout", "3m"]).await;
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(run.stderr.contains("0 of 1 joined; not yet: i-"), "{}", run.stderr);
    assert!(run.stderr.contains("spotblock doctor i-"), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn down_all_leaves_nothing_that_was_made_and_all_that_was_not() {
    let config = example_with("service-role = \"BatchServiceRole\"\n", "");
    let config = config.replace("instance-profile = \"ecsInstanceRole\"\n", "");
    let world = World::with_config(Options::default(), &config);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(world.accepted("CreateRole").len(), 3);
    let plan = world.run(&["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "made roles are kept: {}", plan.stdout);
    let down = world.run(&["down", "--all", "--output", "json"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
    let ended = json(&down.stdout);
    assert_eq!(ended["instances"].as_array().map(Vec::len), Some(1), "{ended}");
    for operation in [
        "DeleteLaunchTemplate",
        "DeleteJobQueue",
        "DeleteComputeEnvironment",
        "DeregisterJobDefinition",
        "DeleteInstanceProfile",
        "DeleteSchedule",
        "DeleteScheduleGroup",
    ] {
        assert_eq!(world.accepted(operation).len(), 1, "{operation}");
    }
    assert_eq!(world.accepted("DeleteRole").len(), 3);
    let plan = json(&world.run(&["plan", "--output", "json"]).await.stdout);
    let steps = plan["steps"].as_array().expect("steps");
    assert!(steps.iter().all(|step| step["verdict"] == "create"), "{plan}");
    // Again: nothing to do, and no error.
    let again = world.run(&["down", "--all"]).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
}

#[tokio::test(start_paused = true)]
async fn down_alone_ends_the_block_and_keeps_the_environment() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    let down = world.run(&["down"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
    assert!(down.stdout.contains("kept: compute environment spot-block-test"), "{}", down.stdout);
    let plan = world.run(&["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 10, "the next block is to be bought: {}", plan.stdout);
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(launched(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn down_all_refuses_to_lose_jobs() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let submit = world
        .run(&["submit", "-j", "hello-world", "--count", "2", "--env", "A=b", "--", "sleep", "5"])
        .await;
    assert_eq!(submit.code, 0, "{}", submit.stderr);
    let down = world.run(&["down", "--all"]).await;
    assert_eq!(down.code, 1);
    assert!(down.stderr.contains("jobs that would be lost"), "{}", down.stderr);
    let down = world.run(&["down", "--all", "--discard-jobs"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
}

#[tokio::test(start_paused = true)]
async fn submit_knows_what_does_not_fit_and_what_is_not_there() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let run = world.run(&["submit", "-j", "helo-world"]).await;
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("did you mean hello-world?"), "{}", run.stderr);
    let run = world.run(&["submit", "-j", "hello-world", "--name", "my job"]).await;
    assert_eq!(run.code, 2, "{}", run.stderr);
    let submit = world
        .run(&["submit", "-j", "hello-world", "--name", "TestSpotBlock", "--output", "json"])
        .await;
    assert_eq!(json(&submit.stdout)[0]["name"], "TestSpotBlock", "{}", submit.stderr);
}

#[tokio::test(start_paused = true)]
async fn commands_that_need_an_environment_say_how_to_make_one() {
    let world = World::new(Options::default());
    for arguments in [&["env", "show"][..], &["request"], &["user-data"]] {
        let run = world.run(arguments).await;
        assert_eq!(run.code, 1, "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains("spotblock env apply"), "{arguments:?}: {}", run.stderr);
    }
    assert_eq!(world.run(&["status"]).await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn what_disagrees_at_the_site_is_refused_before_anything_is_bought() {
    let world = World::with_config(Options::default(), &example_with("us-east-1c", "us-east-1a"));
    let run = world.run(&["plan"]).await;
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("subnet subnet-c8d30ae4 is in us-east-1c"), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn init_writes_a_file_once() {
    let world = World::new(Options::default());
    let folder = tempfile::tempdir().expect("a folder");
    let path = fresh_path(folder.path());
    let run = world.run(&["init", "--config", &path]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(world.run(&["init", "--config", &path]).await.code, 2);
    assert_eq!(world.run(&["init", "--config", &path, "--force"]).await.code, 0);
}

/// Catches: a file out of `init` that needs to be filled in although AWS could be asked.
#[tokio::test(start_paused = true)]
async fn what_init_finds_out_is_a_file_that_plan_accepts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = super::fresh_path(folder.path());
    let world = World::new(Options::default());
    let run = world
        .run(&["init", "--config", &path, "--region", "us-east-1", "--instance-type", "t2.micro"])
        .await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("with what region us-east-1 has"), "{}", run.stderr);
    let plan = world.run(&["plan", "--config", &path]).await;
    assert_eq!(
        plan.code,
        0,
        "{}\n{}",
        plan.stderr,
        std::fs::read_to_string(&path).expect("the file")
    );

    let other = folder.path().join("offline.toml");
    let other = other.to_str().expect("a path");
    let calls = world.calls();
    assert_eq!(world.run(&["init", "--config", other, "--offline"]).await.code, 0);
    assert_eq!(world.calls(), calls, "no call");
    world.cut_off();
    let run = world.run(&["init", "--config", &path, "--region", "us-east-1", "--force"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("the file has placeholders"), "{}", run.stderr);
}

/// Catches: a question that stands in the way of a script, and an answer that the file doesn't
/// have.
#[tokio::test(start_paused = true)]
async fn init_asks_on_a_terminal_what_it_cannot_find_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = super::fresh_path(folder.path());
    let world = World::new(Options::default()).asking(Some("genomes"));
    let run = world.run(&["init", "--config", &path, "--region", "us-east-1"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("The environment's name [blocks]: "), "{}", run.stderr);
    let plan = world.run(&["plan", "--config", &path]).await;
    assert!(plan.stdout.contains("compute environment  genomes"), "{}{}", plan.stdout, plan.stderr);
    let run =
        world.run(&["init", "--config", &path, "--offline", "--force", "--non-interactive"]).await;
    assert!(
        run.code == 0 && !run.stderr.contains('?') && !run.stderr.contains("name ["),
        "{}",
        run.stderr
    );
    assert!(std::fs::read_to_string(&path).expect("the file").contains("name = \"blocks\""));

    let silent = World::new(Options::default()).asking(Some(super::SILENCE));
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    std::fs::remove_file(&path).expect("removed");
    let init = ["init", "--config", &path];
    let (run, _) = tokio::join!(silent.run_with(&init, None, receiver), async {
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        sender.send(())
    });
    let run = run.expect("it is not killed");
    assert!(run.code == 130 && run.stderr.contains("no file was written"), "{}", run.stderr);
    assert!(!std::path::Path::new(&path).exists());
}

/// Catches: a misspelt type that is found out only when it is bought, after everything else was
/// made.
#[tokio::test(start_paused = true)]
async fn a_type_that_no_zone_has_is_refused_before_anything_is_made() {
    let world = World::new(Options::default());
    let up = world.run(&["up", "--instance-type", "t2.micor"]).await;
    assert_eq!(up.code, 2, "{}", up.stderr);
    assert!(
        up.stderr.contains("[block] instance-types: us-east-1c has no t2.micor\n"),
        "{}",
        up.stderr
    );
    assert_eq!(world.changing(0), [""; 0]);
    let plan = world.run(&["plan", "--instance-type", "t2.micro,t2.micor"]).await;
    assert!(
        plan.code == 0
            && plan.stderr.contains("warning: [block] instance-types: us-east-1c has no t2.micor")
    );
}
