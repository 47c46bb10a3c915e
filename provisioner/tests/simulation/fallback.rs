//! From source to source: what each brings, what leads on to the next, and what never does.

use std::collections::BTreeMap;

use localcloud_core::cloud::faults::Effect;
use localcloud_core::protocol::options::SpotBlock;
use localcloud_core::{Fault, Options, ec2};
use node_contract::Source;
use serde_json::Value;

use super::{Run, World, example_with};

/// The example with these sources, and three instances.
pub(super) fn config(sources: &[&str]) -> String {
    let sources: Vec<String> = sources.iter().map(|source| format!("{source:?}")).collect();
    let text = example_with("instances = 1", "instances = 3");
    text.replace("sources = [\"spot-block\"]", &format!("sources = [{}]", sources.join(", ")))
}

/// A cloud that refuses spot blocks, as AWS does, with so much capacity.
pub(super) fn today(capacity: &[(&str, u32)]) -> Options {
    let capacity: BTreeMap<String, u32> =
        capacity.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect();
    Options { spot_block: SpotBlock::Refuse, capacity, ..Options::default() }
}

fn world(capacity: &[(&str, u32)], sources: &[&str]) -> World {
    World::with_config(today(capacity), &config(sources))
}

const NO_SPOT: (&str, u32) = ("*/*/spot", 0);

fn block(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.stderr);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    result["block"].clone()
}

fn sources_of(block: &Value) -> Vec<&str> {
    let mut all: Vec<&str> = block["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["source"].as_str())
        .collect();
    all.sort_unstable();
    all
}

/// What the agent of each living instance was told that it is.
fn told(world: &World) -> Vec<Source> {
    let of = |id: &String| {
        world.cloud(|cloud| {
            let it = ec2::instance(cloud, id).filter(|it| it.alive())?;
            let text = String::from_utf8(it.user_data()?.to_vec()).ok()?;
            node_contract::user_data::extract(&text).ok().map(|config| config.source)
        })
    };
    world.launched().iter().filter_map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn each_source_brings_a_block_with_its_guarantee() {
    for (name, source, label) in [
        ("spot", Source::Spot, "best effort"),
        ("on-demand", Source::OnDemand, "firm once launched"),
    ] {
        let world = world(&[], &[name]);
        let found = block(&world.run(&["up", "--output", "json", "--duration", "95m"]).await);
        assert_eq!(
            (found["source"].as_str(), found["guarantee"]["label"].as_str()),
            (Some(name), Some(label))
        );
        assert_eq!(sources_of(&found), [name; 3]);
        assert_eq!(told(&world), [source; 3]);
        assert_eq!(found["end"], found["instances"][0]["end"]);
        let fleet = &world.accepted("CreateFleet")[0].parameters;
        let options =
            &fleet[if source == Source::Spot { "SpotOptions" } else { "OnDemandOptions" }];
        assert_eq!(
            (&options["MinTargetCapacity"], &options["SingleAvailabilityZone"]),
            (&"3".into(), &"true".into())
        );
        let launched = &world.accepted("CreateLaunchTemplate")[0].parameters["LaunchTemplateData"];
        let metadata = &launched["MetadataOptions"];
        assert_eq!(
            (&metadata["HttpTokens"], &metadata["InstanceMetadataTags"]),
            (&"required".into(), &"enabled".into())
        );
        assert_eq!(launched["InstanceInitiatedShutdownBehavior"], "terminate");
        // Tagged from birth, by nobody afterwards but the record.
        let tagged: String =
            world.accepted("CreateTags").iter().map(|it| it.parameters.to_string()).collect();
        assert!(!tagged.contains("i-"), "{tagged}");
        let again = world.run(&["up"]).await;
        assert_eq!(again.code, 0, "{}", again.stderr);
        assert_eq!(world.accepted("CreateFleet").len(), 1, "a live block is continued");
        assert_eq!(world.run(&["down"]).await.code, 0);
        assert_eq!((world.launched().len(), world.alive()), (3, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_source_refuses_the_next_is_asked_for() {
    let world = world(&[NO_SPOT], &["spot-block", "spot", "on-demand"]);
    let run = world.run(&["up", "--output", "json"]).await;
    let found = block(&run);
    assert_eq!(sources_of(&found), ["on-demand"; 3]);
    assert_eq!(told(&world), [Source::OnDemand; 3]);
    for said in [
        "spot-block refused t2.micro",
        "trying spot (",
        "InsufficientInstanceCapacity",
        "trying on-demand (",
    ] {
        assert!(run.stderr.contains(said), "{said:?} is missing in {}", run.stderr);
    }
    let refused: Vec<&str> = found["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["source"].as_str())
        .collect();
    assert_eq!(refused, ["spot-block", "spot"]);
    assert_eq!(found["refused"][0]["codes"][0], "InvalidParameterValue");
}

/// Catches: the next pool or source asked before the refusal stands on the record.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_written_down_before_the_next_attempt() {
    let world = world(&[NO_SPOT], &["spot-block", "spot", "on-demand"]);
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let before = world.calls();
    assert_eq!(world.run(&["request"]).await.code, 0);
    let order: Vec<String> = world.changing(before);
    let order: Vec<&str> = order
        .iter()
        .map(String::as_str)
        .filter(|it| !it.contains("LaunchTemplate"))
        .take(5)
        .collect();
    assert_eq!(
        order,
        ["RequestSpotInstances", "CreateTags", "CreateFleet", "CreateTags", "CreateFleet"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_atomic_fleet_is_tried_zone_by_zone() {
    let text = config(&["on-demand"]).replace("zone = \"us-east-1c\"\n", "");
    let text = text.replace("[\"subnet-c8d30ae4\"]", "[\"subnet-1b6e40a1\", \"subnet-c8d30ae4\"]");
    // Two in each zone are enough for none of them.
    let world = World::with_config(today(&[("t2.micro/us-east-1a", 2)]), &text);
    let run = world.run(&["up", "--output", "json"]).await;
    let found = block(&run);
    let zones: Vec<&str> = found["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["zone"].as_str())
        .collect();
    assert_eq!((zones, world.launched().len()), (vec!["us-east-1c"; 3], 3));
    assert!(run.stderr.contains("refused t2.micro in subnet-1b6e40a1"), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn only_a_lack_of_capacity_price_quota_or_offer_leads_on() {
    for (name, options, code) in [
        ("capacity", today(&[NO_SPOT]), "InsufficientInstanceCapacity"),
        ("price", Options { spot_price: Some(1.0), ..today(&[]) }, "SpotMaxPriceTooLow"),
        ("quota", Options { spot_vcpus: Some(2), ..today(&[]) }, "MaxSpotInstanceCountExceeded"),
    ] {
        let world = World::with_config(options, &config(&["spot", "on-demand"]));
        let run = world.run(&["up", "--output", "json"]).await;
        let found = block(&run);
        assert_eq!(sources_of(&found), ["on-demand"; 3], "{name}");
        assert_eq!(found["refused"][0]["codes"][0], code, "{name}: {}", run.stderr);
    }
    for (name, code, status) in [
        ("a bad request", "InvalidKeyPair.NotFound", 400),
        ("no permission", "UnauthorizedOperation", 403),
        ("another request under the token", "IdempotentParameterMismatch", 400),
    ] {
        let world = world(&[], &["spot", "on-demand"]);
        let effect =
            Effect::Fail { code: code.into(), status, message: "as the script says".into() };
        let operation = Some("CreateFleet".to_owned());
        world.cloud(|cloud| {
            cloud.add_fault(Fault {
                service: None,
                operation,
                caller: None,
                skip: 0,
                count: 1,
                effect,
            })
        });
        let run = world.run(&["up"]).await;
        assert_eq!(run.code, 1, "{name}: {}", run.stderr);
        assert_eq!(world.launched().len(), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_refuse_nothing_is_left_and_each_answer_is_told() {
    let world = world(&[("*/*", 2)], &["spot-block", "spot", "on-demand"]);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 3, "{}", run.stderr);
    for said in [
        "spot-block: InvalidParameterValue",
        "spot: Insufficient",
        "on-demand: Insufficient",
        "nothing was bought",
    ] {
        assert!(run.stderr.contains(said), "{said:?} is missing in {}", run.stderr);
    }
    assert_eq!(world.launched().len(), 0, "a fleet of all or nothing launches nothing");
    let status = world.run(&["status"]).await;
    assert!(status.stdout.contains("refused"), "{}", status.stdout);
}

/// Catches: a gap filled though nobody allowed it, or filled with more than it is.
#[tokio::test(start_paused = true)]
async fn with_mix_the_next_source_fills_the_gap() {
    let world = world(&[("*/*/spot", 2)], &["spot", "on-demand"]);
    let run = world.run(&["up", "--mix", "--output", "json"]).await;
    let found = block(&run);
    assert_eq!(sources_of(&found), ["on-demand", "spot", "spot"]);
    assert_eq!(world.launched().len(), 3);
    assert_eq!(
        (&found["refused"][0]["source"], &found["refused"][0]["instances"]),
        (&"spot".into(), &2.into())
    );
    let fleets = world.accepted("CreateFleet");
    let counts: Vec<&Value> = fleets
        .iter()
        .map(|it| &it.parameters["TargetCapacitySpecification"]["TotalTargetCapacity"])
        .collect();
    assert_eq!(counts, ["3", "1"]);
    assert_eq!(world.run(&["down"]).await.code, 0);
    assert_eq!(world.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn with_mix_too_little_from_all_together_is_given_back() {
    let world = world(&[("*/*", 2)], &["spot", "on-demand"]);
    let run = world.run(&["up", "--mix"]).await;
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("what came was given back"), "{}", run.stderr);
    assert_eq!((world.launched().len(), world.alive()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn with_partial_so_many_are_enough() {
    let world = world(&[("*/*", 2)], &["spot", "on-demand"]);
    let run = world.run(&["up", "--partial", "2", "--output", "json"]).await;
    assert_eq!(sources_of(&block(&run)), ["spot", "spot"]);
    assert!(run.stderr.contains("has 2 of 3 instances"), "{}", run.stderr);
    let again = world.run(&["up"]).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(world.launched().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_spot_block_of_several_pools_is_asked_for_one_by_one() {
    let text = config(&["spot-block", "on-demand"])
        .replace("[\"t2.micro\"]", "[\"t3.micro\", \"t2.micro\"]");
    // The first pool holds its requests to the end of its share of the time.
    let options = Options { spot_block: SpotBlock::Grant, ..today(&[("t3.micro/*/spot", 0)]) };
    let world = World::with_config(options, &text);
    let found = block(&world.run(&["up", "--output", "json"]).await);
    assert_eq!(sources_of(&found), ["spot-block"; 3]);
    assert!(
        found["instances"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|it| it["instance_type"] == "t2.micro")
    );
    assert_eq!(world.accepted("RequestSpotInstances").len(), 2);
    assert_eq!(world.accepted("CreateFleet").len(), 0);
}

/// Catches: a fleet under a token whose answer AWS remembers, asked for again and again.
#[tokio::test(start_paused = true)]
async fn a_fleet_waits_for_a_profile_that_is_too_new() {
    let text = config(&["on-demand"]).replace("instance-profile = \"ecsInstanceRole\"\n", "");
    let mut options = today(&[]);
    options.pace.profile_ms = 20_000;
    let world = World::with_config(options, &text);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("to be usable"), "{}", run.stderr);
    assert_eq!(world.launched().len(), 3);
}

/// Catches: a part of a block that stays and is paid for because the rest never joined, and a job
/// lost with its instance.
#[tokio::test(start_paused = true)]
async fn when_too_few_join_idle_instances_are_ended_and_busy_ones_drained() {
    for source in ["spot-block", "spot", "on-demand"] {
        let options = Options { spot_block: SpotBlock::Grant, ..today(&[]) };
        let world = World::with_config(options, &config(&[source]));
        assert_eq!(world.run(&["env", "apply"]).await.code, 0);
        assert_eq!(world.run(&["submit", "-j", "hello-world"]).await.code, 0);
        world.break_instances(1);
        let run = world.run(&["up", "--timeout", "3m"]).await;
        assert_eq!(run.code, 4, "{source}: {}", run.stderr);
        for said in [
            "2 of 3 joined",
            "1 instances have jobs",
            "it is all or nothing",
            "spotblock doctor i-",
        ] {
            assert!(run.stderr.contains(said), "{source}: {said:?} is missing in {}", run.stderr);
        }
        assert_eq!((world.launched().len(), world.alive()), (3, 1), "{source}");
        let status = world.run(&["status", "--output", "json"]).await;
        assert!(status.stdout.contains("DRAINING"), "{source}: {}", status.stdout);
        // It was told, so the same words mean another block.
        let again = world.run(&["up"]).await;
        assert_eq!((again.code, world.launched().len()), (0, 6), "{source}: {}", again.stderr);
    }
}

#[tokio::test(start_paused = true)]
async fn with_partial_those_that_joined_stay() {
    let world = world(&[], &["on-demand"]);
    world.break_instances(1);
    let run = world.run(&["up", "--timeout", "3m", "--partial", "2"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("warning: ") && run.stderr.contains("2 of 3 joined"),
        "{}",
        run.stderr
    );
    assert_eq!(world.alive(), 3);
}
