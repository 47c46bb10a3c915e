//! Foreign look-alikes beside ours: none is tagged, changed or ended.

use localcloud_core::{Options, ec2};
use node_contract::names::tag;
use serde_json::json;

use super::{World, example_with};

pub(super) const INSTANCE: &str = "LaunchSpecification.ImageId=ami-a7a242da&LaunchSpecification.InstanceType=t2.micro&LaunchSpecification.SubnetId=subnet-c8d30ae4&LaunchSpecification.SecurityGroupId.1=sg-55964223";

/// Launches an instance through a spot request of somebody else's, with these tags on the instance.
pub(super) async fn launched(world: &World, tags: &[(&str, &str)]) -> String {
    world.by_hand("ec2", &format!("Action=RequestSpotInstances&SpotPrice=0.03&{INSTANCE}"));
    world.pass(std::time::Duration::from_secs(5)).await;
    let instance = world.launched().pop().expect("an instance");
    tag(world, &instance, tags);
    instance
}

pub(super) fn tag(world: &World, id: &str, tags: &[(&str, &str)]) {
    if tags.is_empty() {
        return;
    }
    let pairs = tags
        .iter()
        .enumerate()
        .map(|(n, (key, value))| format!("&Tag.{n}.Key={key}&Tag.{n}.Value={value}"));
    let pairs: String = pairs.collect::<String>().replace(' ', "%20");
    world.by_hand("ec2", &format!("Action=CreateTags&ResourceId.1={id}{}", renumbered(&pairs)));
}

/// EC2 counts from 1.
fn renumbered(pairs: &str) -> String {
    (0..10).rev().fold(pairs.to_owned(), |text, n| {
        text.replace(&format!("Tag.{n}."), &format!("Tag.{}.", n + 1))
    })
}

pub(super) fn value_of(world: &World, key: &str) -> String {
    let tags = world.cloud(|cloud| ec2::all_tags(cloud).clone());
    tags.values().find_map(|tags| tags.get(key)).expect("a tag").clone()
}

/// Catches: anything ended because it has our name, our cluster, or one of our tags, or all of them
/// copied by hand.
#[tokio::test(start_paused = true)]
async fn foreign_look_alikes_live_on_untouched() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    let ours = world.launched();
    let block = value_of(&world, tag::BLOCK);
    let both = [(tag::ENVIRONMENT, "spot-block-test"), (tag::BLOCK, block.as_str())];
    let mut foreign = Vec::new();
    for tags in [
        &[][..],
        &[("Name", "spotblock spot-block-test")],
        &[(tag::ENVIRONMENT, "spot-block-test")],
        &[(tag::BLOCK, &block)],
        &both,
        &[(tag::ENVIRONMENT, "spot-block"), (tag::BLOCK, &block)],
        &[(tag::ENVIRONMENT, "spot-block-test"), (tag::BLOCK, "SB-123456789012")],
        &[(tag::ENVIRONMENT, "spot-block-test"), (tag::BLOCK, "sb-000000000000000000")],
    ] {
        foreign.push(launched(&world, tags).await);
    }
    // In the same cluster, too.
    let cluster = world.run(&["env", "show", "--output", "json"]).await.stdout;
    let cluster: serde_json::Value = serde_json::from_str(&cluster).expect("JSON");
    for instance in &foreign {
        world.register(instance, cluster["cluster"].as_str().expect("a cluster"));
    }
    // A spot request that is still open, with one of the marks.
    world.cloud(|cloud| cloud.options.spot_price = Some(1.0));
    world.by_hand("ec2", &format!("Action=RequestSpotInstances&SpotPrice=0.01&{INSTANCE}"));
    // Templates: the name without the mark, the mark without the name.
    for name in ["spotblock-spot-block-test-7", "spotblock-of-somebody"] {
        let data = "LaunchTemplateData.InstanceType=t2.micro";
        world.by_hand(
            "ec2",
            &format!("Action=CreateLaunchTemplate&LaunchTemplateName={name}&{data}"),
        );
    }
    let marked = template(&world, "spotblock-of-somebody");
    tag(&world, &marked, &both);
    let tags = world.cloud(|cloud| ec2::all_tags(cloud).clone());

    let before = world.calls();
    for command in [&["up"][..], &["status"], &["plan"], &["down"]] {
        let run = world.run(command).await;
        assert_eq!(run.code, 0, "{command:?}: {}", run.stderr);
    }
    // AWS deletes no cluster that still has container instances, and they are not ours to take out.
    let down = world.run(&["down", "--all"]).await;
    assert_eq!(down.code, 1, "{}", down.stderr);
    assert!(
        down.stderr.contains("compute environment spot-block-test can't be deleted"),
        "{}",
        down.stderr
    );
    let calls = world.cloud(|cloud| cloud.calls()[before..].to_vec());
    let changing = |name: &str| {
        ["Terminate", "Cancel", "CreateTags", "Delete"].iter().any(|it| name.starts_with(it))
    };
    let said: Vec<String> = calls
        .iter()
        .filter(|call| changing(&call.operation))
        .map(|call| format!("{} {}", call.operation, call.parameters))
        .collect();
    assert!(
        said.iter().any(|it| it.starts_with("TerminateInstances") && it.contains(&ours[0])),
        "{said:?}"
    );
    for id in foreign.iter().chain([&marked]) {
        assert!(said.iter().all(|it| !it.contains(id.as_str())), "{id}: {said:?}");
    }
    let cancelled: Vec<&String> = said.iter().filter(|it| it.starts_with("Cancel")).collect();
    assert_eq!(cancelled.len(), 1, "{said:?}");
    assert_eq!(cancelled[0].matches("sir-").count(), 1, "ours alone: {cancelled:?}");
    assert_eq!(
        said.iter().filter(|it| it.starts_with("DeleteLaunchTemplate")).count(),
        1,
        "{said:?}"
    );
    let now = world.cloud(|cloud| ec2::all_tags(cloud).clone());
    for id in &foreign {
        assert_eq!(now.get(id), tags.get(id), "{id}");
        assert!(
            world.cloud(|cloud| ec2::instance(cloud, id).expect("it is there").alive()),
            "{id}"
        );
    }
}

fn template(world: &World, name: &str) -> String {
    let answer = world
        .by_hand("ec2", &format!("Action=DescribeLaunchTemplates&LaunchTemplateName.1={name}"));
    let start = answer.find("<launchTemplateId>").expect("an id") + "<launchTemplateId>".len();
    answer[start..].split('<').next().expect("an id").to_owned()
}

/// Catches: another environment's block ended, whose name begins as ours does.
#[tokio::test(start_paused = true)]
async fn another_environments_block_lives_on() {
    let other = example_with("name = \"spot-block-test\"", "name = \"spot-block\"")
        .replace("SpotBlockQueue", "Other");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.toml");
    std::fs::write(&path, other).expect("written");
    let path = path.to_str().expect("a path");
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    let run = world.run(&["up", "--config", path]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let down = world.run(&["down", "--all", "--config", path]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
    assert_eq!(world.alive(), 1);
    let plan = world.run(&["plan", "--detailed-exitcode"]).await;
    assert_eq!(
        plan.code, 0,
        "the job definition that both use is the first one's: {}",
        plan.stdout
    );
    assert_eq!(world.accepted("TerminateInstances").len(), 1);
}

/// Catches: a queue, an environment, definitions and roles deleted or changed that somebody else
/// made under our names.
#[tokio::test(start_paused = true)]
async fn what_somebody_else_made_under_our_names_is_used_or_refused_but_never_changed() {
    let role = "arn:aws:iam::123456789012:role/BatchServiceRole";
    let config = example_with("instance-profile = \"ecsInstanceRole\"\n", "");
    let config = config.replace("service-role = \"BatchServiceRole\"\n", "");
    let world = World::with_config(Options::default(), &config);
    let environment = json!({"computeEnvironmentName": "spot-block-test", "type": "UNMANAGED", "serviceRole": role});
    world.batch_by_hand("CreateComputeEnvironment", &environment);
    world.pass(std::time::Duration::from_secs(5)).await;
    let order = json!([{"order": 1, "computeEnvironment": "spot-block-test"}]);
    let queue =
        json!({"jobQueueName": "SpotBlockQueue", "priority": 1, "computeEnvironmentOrder": order});
    world.batch_by_hand("CreateJobQueue", &queue);
    let trust = percent_encoding::utf8_percent_encode(
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#,
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string();
    for suffix in ["batch", "instance"] {
        let name = format!("RoleName=spotblock-spot-block-test-{suffix}");
        let document = format!("AssumeRolePolicyDocument={trust}");
        world.by_hand("iam", &format!("Action=CreateRole&Version=2010-05-08&{name}&{document}"));
    }
    world.pass(std::time::Duration::from_secs(5)).await;
    let before = world.calls();
    let up = world.run(&["up"]).await;
    assert_eq!(up.code, 1, "{}", up.stderr);
    assert!(up.stderr.contains("was not made by spotblock"), "{}", up.stderr);
    let down = world.run(&["down", "--all"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
    assert_eq!(world.changing(before), Vec::<String>::new());
    for kept in [
        "job queue SpotBlockQueue",
        "role spotblock-spot-block-test-batch",
        "role spotblock-spot-block-test-instance",
    ] {
        assert!(
            down.stdout.contains(&format!("kept: {kept}, which spotblock did not make")),
            "{kept}: {}",
            down.stdout
        );
    }
}
