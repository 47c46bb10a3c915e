//! What is known of prices before anything is bought, the limit on what a block may cost, and types
//! that follow from needs.

use localcloud_core::cloud::faults::Effect;
use localcloud_core::protocol::options::SpotBlock;
use localcloud_core::{Fault, Options};
use serde_json::{Value, json};

use super::fallback::{config, today};
use super::{Run, World, example_with};

fn json_of(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str(&run.stdout).expect("JSON")
}

fn broken(world: &World, operation: &str, code: &str, status: u16) {
    let effect = Effect::Fail { code: code.into(), status, message: "as the script says".into() };
    let operation = Some(operation.to_owned());
    let fault = Fault { service: None, operation, caller: None, skip: 0, count: 100, effect };
    world.cloud(|cloud| cloud.add_fault(fault));
}

/// Three instances, an hour, these sources, no max-price.
fn free(sources: &[&str]) -> World {
    World::with_config(today(&[]), &config(sources).replacen("max-price = 0.03\n", "", 1))
}

#[tokio::test(start_paused = true)]
async fn plan_shows_each_price_and_the_worst_case() {
    let world = World::with_config(
        Options { spot_price: Some(0.0042), ..today(&[]) },
        &config(&["spot", "on-demand"]),
    );
    let plan = world.run(&["plan"]).await;
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    for line in
        ["spot       t2.micro  us-east-1c  $0.0042", "on-demand  t2.micro  any         $0.0116"]
    {
        assert!(plan.stdout.contains(line), "{line:?} is missing in {}", plan.stdout);
    }
    assert!(
        plan.stdout.contains("at worst $0.09 for 3 x 1 h (estimate; instances alone)"),
        "{}",
        plan.stdout
    );
    let cost = json_of(&world.run(&["plan", "--output", "json"]).await)["cost"].clone();
    assert_eq!(cost["worst_case_usd_estimate"], "0.09");
    let spot = json!({
        "source": "spot", "instance_type": "t2.micro", "zone": "us-east-1c",
        "usd_per_instance_hour_estimate": "0.0042", "usd_per_instance_hour_at_most": "0.03",
    });
    let on_demand = json!({
        "source": "on-demand", "instance_type": "t2.micro",
        "usd_per_instance_hour_estimate": "0.0116", "usd_per_instance_hour_at_most": "0.0116",
    });
    assert_eq!(cost["prices"], json!([spot, on_demand]));
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    for line in [
        "spot       t2.micro  us-east-1c  $0.0042",
        "at worst $0.09 for 3 x 1 h (estimate; instances alone)\n",
    ] {
        assert!(run.stderr.contains(line), "{line:?} is missing in {}", run.stderr);
    }
    let shown = run.stderr.find("at worst").expect("the worst case");
    assert!(
        run.stderr.find("recorded block").is_some_and(|at| at > shown),
        "before the purchase: {}",
        run.stderr
    );
}

/// Catches: a spot price that is a day old, or of another zone.
#[tokio::test(start_paused = true)]
async fn the_spot_price_is_the_one_that_the_purchase_is_held_to() {
    let world = free(&["spot"]);
    let cost = json_of(&world.run(&["plan", "--output", "json"]).await)["cost"].clone();
    let price =
        cost["prices"][0]["usd_per_instance_hour_estimate"].as_str().expect("a price").to_owned();
    assert_eq!(
        cost["worst_case_usd_estimate"], "0.0348",
        "without a max-price the on-demand price bounds it: {cost}"
    );
    let run = world.run(&["up", "--max-price", &price]).await;
    assert_eq!(run.code, 0, "at its own price it is sold: {}", run.stderr);
    assert_eq!(world.run(&["down"]).await.code, 0);
    let below = format!("{:.4}", price.parse::<f64>().expect("a number") - 0.0001);
    let run = world.run(&["up", "--max-price", &below]).await;
    assert_eq!(run.code, 3, "below it isn't: {}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn above_max_cost_nothing_is_bought() {
    let world = free(&["spot", "on-demand"]);
    let run = world.run(&["up", "--max-cost", "0.03"]).await;
    assert_eq!(run.code, 3, "{}", run.stderr);
    for said in [
        "could cost up to $0.0348 (estimate), and max-cost is $0.03",
        "nothing was bought",
        "raise [block] max-cost",
    ] {
        assert!(run.stderr.contains(said), "{said:?} is missing in {}", run.stderr);
    }
    assert_eq!(
        (world.accepted("CreateLaunchTemplate").len(), world.accepted("CreateFleet").len()),
        (0, 0)
    );
    let plan = json_of(&world.run(&["plan", "--max-cost", "0.03", "--output", "json"]).await);
    let step = plan["steps"].as_array().and_then(|steps| steps.last()).expect("steps");
    assert_eq!(
        (&step["resource"], &step["verdict"]),
        (&json!("block"), &json!("refuse")),
        "{plan}"
    );
    let run = world.run(&["up", "--max-cost", "0.0348"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    // What was bought is paid for: a limit stops no block that goes on.
    let run = world.run(&["up", "--max-cost", "0.001"]).await;
    assert_eq!((run.code, world.launched().len()), (0, 3), "{}", run.stderr);
}

/// Catches: a price list that can't be asked, and so no block; or a limit that holds nothing
/// because of it.
#[tokio::test(start_paused = true)]
async fn an_unknown_price_stops_nobody_but_who_set_a_limit() {
    for (name, operation, code, status) in [
        ("denied", "GetProducts", "AccessDeniedException", 400),
        ("failing", "GetProducts", "InternalErrorException", 500),
        ("spot denied", "DescribeSpotPriceHistory", "UnauthorizedOperation", 403),
    ] {
        let world = free(&["spot", "on-demand"]);
        broken(&world, operation, code, status);
        let run = world.run(&["up", "--max-cost", "100"]).await;
        if operation == "GetProducts" {
            assert_eq!(
                (run.code, world.accepted("CreateFleet").len()),
                (3, 0),
                "{name}: {}",
                run.stderr
            );
            assert!(
                run.stderr.contains("the price of spot t2.micro is unknown"),
                "{name}: {}",
                run.stderr
            );
        } else {
            assert_eq!(run.code, 0, "{name}: it is bounded all the same: {}", run.stderr);
        }
        let run = world.run(&["up", "--new"]).await;
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        assert!(run.stderr.contains("prices are unknown: "), "{name}: {}", run.stderr);
        let plan = world.run(&["plan", "--new"]).await;
        assert!(plan.code == 0 && plan.stdout.contains("unknown"), "{name}: {}", plan.stdout);
    }
}

/// Catches: a spot block, which needs no price to be bounded, held up by calls for some.
#[tokio::test(start_paused = true)]
async fn nothing_is_asked_that_bounds_nothing() {
    let world = World::new(Options { spot_block: SpotBlock::Grant, ..Options::default() });
    assert_eq!(world.run(&["up", "--max-cost", "0.03"]).await.code, 0);
    assert_eq!(
        (world.accepted("GetProducts").len(), world.accepted("DescribeSpotPriceHistory").len()),
        (0, 0)
    );
}

/// The example with needs instead of a type.
fn needing(needs: &str, sources: &[&str]) -> String {
    let text = config(sources).replacen("instance-types = [\"t2.micro\"]", needs, 1);
    let text =
        text.replacen("max-price = 0.03\n", "", 1).replacen("image = \"ami-a7a242da\"\n", "", 1);
    assert!(text.contains(needs), "the example has instance-types");
    text
}

#[tokio::test(start_paused = true)]
async fn types_follow_from_needs_and_stand_on_the_record() {
    let world = World::with_config(
        today(&[]),
        &needing("vcpus = 4\nmemory = \"8GiB\"", &["spot", "on-demand"]),
    );
    let plan = json_of(&world.run(&["plan", "--output", "json"]).await);
    let types: Vec<&str> = plan["instance_types"]
        .as_array()
        .expect("types")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    // Of 4 vCPUs and 8 GiB by price, then of 16 GiB; neither burstable nor ARM nor with a GPU.
    assert_eq!(types[..4], ["c5.xlarge", "c6i.xlarge", "c7i.xlarge", "m5.xlarge"], "{types:?}");
    assert_eq!(types.len(), 10);
    let shown = world.run(&["plan"]).await.stdout;
    assert!(shown.contains("instance types that fit: c5.xlarge, c6i.xlarge"), "{shown}");
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let record = &world.accepted("CreateLaunchTemplate")[0].parameters.to_string();
    assert!(record.contains(&types.join(" ")), "{record}");
}

#[tokio::test(start_paused = true)]
async fn needs_pick_the_image_and_keep_to_zones_and_architecture() {
    for (needs, first, image) in [
        ("vcpus = 2\narch = \"arm64\"", "c6g.large", "amazon-linux-2023/arm64/recommended"),
        ("gpus = 1", "g4dn.xlarge", "amazon-linux-2023/gpu/recommended"),
    ] {
        let world = World::with_config(today(&[]), &needing(needs, &["on-demand"]));
        let plan = json_of(&world.run(&["plan", "--output", "json"]).await);
        assert_eq!(plan["instance_types"][0], first, "{needs}");
        let asked = world.accepted("GetParameter")[0].parameters.to_string();
        assert!(asked.contains(image), "{asked}");
    }
    let world = World::with_config(today(&[]), &needing("vcpus = 1024", &["on-demand"]));
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(
        run.stderr.contains("no x86_64 instance type that is sold as on-demand in us-east-1c"),
        "{}",
        run.stderr
    );
    assert_eq!(world.accepted("CreateFleet").len(), 0);
}

/// Catches: flags of the one way that fail for keys of the other.
#[tokio::test(start_paused = true)]
async fn flags_for_types_beat_needs_in_the_file_and_the_other_way_round() {
    let world = World::with_config(today(&[]), &needing("vcpus = 4", &["on-demand"]));
    let plan =
        json_of(&world.run(&["plan", "--instance-type", "t3.micro", "--output", "json"]).await);
    assert_eq!(plan["instance_types"], json!(["t3.micro"]));
    let world = World::with_config(today(&[]), &example_with("\"spot-block\"", "\"on-demand\""));
    let plan = json_of(&world.run(&["plan", "--vcpus", "36", "--output", "json"]).await);
    assert_eq!(plan["instance_types"][0], "c5.9xlarge", "{plan}");
}

/// Catches: a plan that says what is bought and not what it promises, or whose lines wrap on a
/// terminal.
#[tokio::test(start_paused = true)]
async fn a_plan_is_marked_as_a_diff_and_says_what_each_source_promises() {
    let world = World::with_config(today(&[]), &config(&["spot", "on-demand"]));
    let plan = world.run(&["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 10, "{}", plan.stderr);
    for part in [
        "+ create  1     compute environment",
        "  keep    4     instance profile",
        "guarantee:",
        "on-demand: firm",
    ] {
        assert!(plan.stdout.contains(part), "{part:?} is missing in {}", plan.stdout);
    }
    assert!(plan.stdout.lines().all(|line| line.len() <= 80), "{}", plan.stdout);
    let json = json_of(&world.run(&["plan", "-o", "json"]).await);
    assert_eq!(json["guarantees"][1]["source"], "on-demand");
    assert_eq!(json["guarantees"][1]["label"], "firm once launched");
}
