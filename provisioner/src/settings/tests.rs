use jiff::SignedDuration;

use super::*;
use crate::model::error::ErrorKind;
use crate::testing::{EXAMPLE, settings};

fn parse(text: &str) -> Result<Settings> {
    Settings::parse(Path::new("spotblock.toml"), text, &BlockFlags::default(), None)
}

/// An error's problems, each a line.
fn lines(error: &Error) -> Vec<String> {
    assert_eq!(error.kind(), ErrorKind::Settings, "{error}");
    error.to_string().lines().map(str::to_owned).collect()
}

/// The problems of the example after one replacement.
fn problems(from: &str, to: &str) -> Vec<String> {
    assert!(EXAMPLE.contains(from), "the example has {from:?}");
    match parse(&EXAMPLE.replacen(from, to, 1)) {
        Err(error) if error.kind() == ErrorKind::Settings => lines(&error),
        other => panic!("{from:?} -> {to:?}: {other:?}"),
    }
}

#[test]
fn the_first_example_reads_as_given() {
    let settings = settings("");
    assert_eq!(settings.region.as_deref(), Some("us-east-1"));
    assert_eq!(settings.environment.name, "spot-block-test");
    assert_eq!(settings.environment.service_role.as_deref(), Some("BatchServiceRole"));
    assert_eq!(
        (settings.environment.queue.as_str(), settings.environment.queue_priority),
        ("SpotBlockQueue", 1)
    );
    assert_eq!(settings.block.duration, SignedDuration::from_hours(1));
    assert_eq!(settings.block.max_price.as_deref(), Some("0.03"));
    assert_eq!(settings.block.image, Image::Id("ami-a7a242da".into()));
    assert_eq!(settings.agent.from, AgentFrom::Ami);
    assert_eq!(settings.agent.stop_lead, SignedDuration::from_mins(5));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let job = &settings.job_definitions[0];
    assert_eq!((job.vcpus, job.memory_mib, job.attempts, job.privileged), (1, 256, 3, false));
}

#[test]
fn a_job_that_needs_a_gpu_picks_the_image_for_gpus() {
    let image = |text: &str| parse(text).expect("settings").block.image;
    let free = EXAMPLE.replace("image = \"ami-a7a242da\"\n", "");
    let Image::Parameter(plain) = image(&free) else { panic!("a parameter") };
    assert!(plain.ends_with("/amazon-linux-2023/recommended/image_id"), "{plain}");
    let Image::Parameter(gpu) = image(&free.replace("vcpus = 1", "vcpus = 1\ngpus = 1")) else {
        panic!("a parameter")
    };
    assert!(gpu.ends_with("/amazon-linux-2023/gpu/recommended/image_id"), "{gpu}");
}

#[test]
fn the_init_template_is_valid_and_honest() {
    let text = crate::commands::init::TEMPLATE;
    let settings = parse(text).expect("the template");
    assert_eq!(settings.environment.name, "blocks");
    assert!(text.contains("AWS has sold no spot blocks since the end of 2022"));
    // Each commented key is one that exists.
    let whole: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key)
                if key.contains(" = ") && !key.starts_with("from") && !key.starts_with("extra") =>
            {
                key.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    parse(&whole.join("\n")).expect("the template with every key");
}

#[test]
fn flags_beat_the_file() {
    let flags = BlockFlags {
        instances: Some(20),
        duration: Some("3h".into()),
        max_price: Some(0.05),
        subnets: Some(vec!["subnet-1".into()]),
        ..BlockFlags::default()
    };
    let settings = Settings::parse(Path::new("f"), EXAMPLE, &flags, None).expect("settings");
    assert_eq!(
        (settings.block.instances, settings.block.duration),
        (20, SignedDuration::from_hours(3))
    );
    assert_eq!(
        (settings.block.max_price.as_deref(), settings.block.subnets[0].as_str()),
        (Some("0.05"), "subnet-1")
    );
    let flags = BlockFlags { duration: Some("61m".into()), ..BlockFlags::default() };
    let error = Settings::parse(Path::new("f"), EXAMPLE, &flags, None).expect_err("61 minutes");
    let problems = lines(&error);
    assert!(problems[0].starts_with("--duration (or its variable): "), "{problems:?}");
}

#[test]
fn the_drain_lead_follows_from_the_longest_timeout() {
    let lead = |timeout: &str| settings_with_timeout(timeout).agent.drain_lead;
    assert_eq!(settings("").agent.drain_lead, SignedDuration::from_mins(15));
    assert_eq!(lead("20m"), SignedDuration::from_mins(25));
    // At most the block less ten minutes.
    assert_eq!(lead("48m"), SignedDuration::from_mins(50));
}

fn settings_with_timeout(timeout: &str) -> Settings {
    parse(&EXAMPLE.replace("vcpus = 1", &format!("vcpus = 1\ntimeout = \"{timeout}\"")))
        .expect("settings")
}

#[test]
fn a_timeout_that_outlasts_the_drain_is_warned_about() {
    let settings = settings_with_timeout("48m");
    assert_eq!(settings.warnings.len(), 1);
    assert!(settings.warnings[0].contains("may be stopped and retried"), "{:?}", settings.warnings);
    assert_eq!(settings.longest_job(), SignedDuration::from_mins(50));
    assert!(settings_with_timeout("20m").warnings.is_empty());
}

/// Bad input, its line, and what is said about it.
#[test]
fn each_bad_input_is_named_with_its_line_and_what_would_be_right() {
    let cases = [
        (
            "duration = \"60m\"",
            "duration = \"61m\"",
            "spotblock.toml:17: [block] duration: 1h 1m is not possible: a spot block lasts 60, \
             120, 180, 240, 300 or 360 minutes",
        ),
        ("duration = \"60m\"", "duration = \"7h\"", "7h is not possible"),
        (
            "duration = \"60m\"",
            "duration = 60",
            "60 has no unit: write \"60s\", \"60m\" or \"60h\"",
        ),
        ("duration = \"60m\"", "duration = \"1 GiB\"", "\"1 GiB\" is not a duration"),
        (
            "duration = \"60m\"",
            "durration = \"60m\"",
            "spotblock.toml:17: unknown key `durration`: did you mean `duration`?",
        ),
        (
            "zone = \"us-east-1c\"",
            "colour = \"red\"",
            "unknown key `colour`: the keys here are instances, duration",
        ),
        (
            "memory = \"256MiB\"",
            "memory = 256",
            "spotblock.toml:13: [[job-definition]] hello-world memory: 256 has no unit: write \
             \"256MiB\"",
        ),
        ("memory = \"256MiB\"", "memory = \"256MB\"", "not a whole number of MiB"),
        ("memory = \"256MiB\"", "memory = \"1MiB\"", "at least 4MiB"),
        ("vcpus = 1", "vcpus = 0", "0 is not a number from 1 to 1024"),
        ("vcpus = 1", "vcpus = 1\nattempts = 11", "11 is not a number from 1 to 10"),
        (
            "vcpus = 1",
            "vcpus = 1\ntimeout = \"30s\"",
            "30s is under 1m, the shortest that Batch takes",
        ),
        (
            "vcpus = 1",
            "vcpus = 1\ntimeout = \"55m\"",
            "55m fits no fresh block: at most 50m (the block lasts 1h, less 5m to boot and \
             stop-lead 5m)",
        ),
        (
            "vcpus = 1",
            "vcpus = 1\nmounts = [\"scratch\"]",
            "\"scratch\" is not \"/on/the/host:/in/the/container\"",
        ),
        ("vcpus = 1", "vcpus = 1\nenvironment = { AWS_BATCH_X = \"1\" }", "Batch keeps the names"),
        (
            "name = \"hello-world\"",
            "name = \"hello world\"",
            "\"hello world\" must be 1 to 128 letters",
        ),
        ("instances = 1", "instances = 0", "0 is not a number from 1 to 1000"),
        (
            "instances = 1\n",
            "",
            "[block] instances is missing: set it in the file or with --instances",
        ),
        ("instances = 1", "instances = \"one\"", "invalid type"),
        ("max-price = 0.03", "max-price = \"3 cents\"", "write dollars as a number, such as 0.03"),
        ("max-price = 0.03", "max-price = -1", "above 0"),
        (
            "instance-types = [\"t2.micro\"]",
            "instance-types = [\"t2.micro\", \"t2.micro\"]",
            "\"t2.micro\" is listed twice",
        ),
        ("subnets = [\"subnet-c8d30ae4\"]", "subnets = [\"a\"]", "it begins with `subnet-`"),
        ("subnets = [\"subnet-c8d30ae4\"]", "subnets = []", "is empty: give at least one subnet"),
        (
            "security-groups = [\"sg-55964223\"]",
            "security-groups = [\"web\"]",
            "it begins with `sg-`",
        ),
        (
            "zone = \"us-east-1c\"",
            "zone = \"eu-west-1c\"",
            "\"eu-west-1c\" is not in region \"us-east-1\"",
        ),
        (
            "image = \"ami-a7a242da\"",
            "image = \"latest\"",
            "\"latest\" is neither `ami-...` nor `ssm:/...`",
        ),
        (
            "sources = [\"spot-block\"]",
            "sources = [\"spot-block\", \"spot-block\"]",
            "\"spot-block\" is listed twice",
        ),
        ("instances = 1", "instances = 1\npartial = 2", "2 is not a number from 1 to instances, 1"),
        ("instances = 1", "instances = 1\npartial = 0", "0 is not a number from 1 to instances, 1"),
        ("sources = [\"spot-block\"]", "sources = [\"cheap\"]", "\"cheap\" is not a source"),
        (
            "zone = \"us-east-1c\"",
            "release-when-idle = \"30s\"",
            "30s is under 1m: instances would leave between two jobs",
        ),
        (
            "instance-profile = \"ecsInstanceRole\"",
            "instance-profile = \"arn:aws:iam::1:instance-profile/p\"",
            "give the profile's name, not its ARN",
        ),
        (
            "queue = { name = \"SpotBlockQueue\", priority = 1 }",
            "queue = { name = \"a b\" }",
            "\"a b\" must be 1 to 128 letters",
        ),
        (
            "queue = { name = \"SpotBlockQueue\", priority = 1 }",
            "queue = { name = \"q\", priority = -1 }",
            "-1 is not a number from 0 up",
        ),
        ("service-role = \"BatchServiceRole\"", "tags = { \"aws:x\" = \"1\" }", "are not yours"),
        ("name = \"spot-block-test\"", "name = \"spot.block\"", "must be 1 to 44 letters"),
    ];
    for (from, to, expected) in cases {
        let found = problems(from, to);
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{to:?}: {found:?} has no {expected:?}"
        );
    }
}

#[test]
fn bad_settings_of_the_agent_are_named() {
    let problems_of = |agent: &str| match parse(&format!("{EXAMPLE}\n[agent]\n{agent}\n")) {
        Err(error) if error.kind() == ErrorKind::Settings => error.to_string(),
        other => panic!("{agent}: {other:?}"),
    };
    for (agent, expected) in [
        ("drain-lead = \"1h\"", "1h leaves no time in a block of 1h"),
        ("drain-lead = \"2m\"", "2m is under stop-lead, 5m"),
        ("stop-lead = \"2s\"", "2s is under 5s"),
        ("stop-lead = \"2h\"", "2h leaves no time in a block of 1h"),
        ("from = \"apt\"", "\"apt\" is neither \"ami\" nor"),
        ("from = { s3 = \"s3://b\", sha256 = \"0\" }", "is not s3://BUCKET/KEY"),
        ("from = { s3 = \"s3://b/a b\", sha256 = \"0\" }", "is not s3://BUCKET/KEY"),
        (
            "from = { s3 = \"s3://b/k\", url = \"https://x/a\", sha256 = \"0\" }",
            "either a `url` or `s3`",
        ),
        ("from = { sha256 = \"0\" }", "either a `url` or `s3`"),
        (
            "from = { url = \"https://x/a\", endpoint = \"https://y\", sha256 = \"0\" }",
            "an `endpoint` belongs to `s3`",
        ),
        ("from = { url = \"ftp://x\", sha256 = \"0\" }", "is not an http or https URL"),
        (
            "from = { url = \"https://x/'; rm -rf /\", sha256 = \"0\" }",
            "is not an http or https URL of plain characters",
        ),
        ("from = { url = \"https://x/a\", sha256 = \"0\" }", "64 hexadecimal digits"),
        ("from = { link = \"https://x/a\" }", "\"ami\", { url, sha256 } or { s3, sha256 }"),
        ("extra-user-data = \"missing.sh\"", "missing.sh can't be read"),
        ("stop-led = \"5m\"", "did you mean `stop-lead`?"),
    ] {
        let found = problems_of(agent);
        assert!(found.contains(expected), "{agent}: {found}");
    }
}

/// Catches: a user who mends one line only to be told of the next.
#[test]
fn all_problems_are_told_at_once() {
    let text = EXAMPLE
        .replace("\"60m\"", "\"61m\"")
        .replace("instances = 1", "instances = 0")
        .replace("256MiB", "256");
    let problems = lines(&parse(&text).expect_err("three problems"));
    assert_eq!(problems.len(), 3, "{problems:?}");
}

#[test]
fn without_a_file_the_error_says_how_to_get_one() {
    let global = Global { config: Some("/nonexistent/spotblock.toml".into()), ..Global::default() };
    let error = Settings::load(&global, &BlockFlags::default()).expect_err("no file");
    assert_eq!(error.to_string(), "there is no /nonexistent/spotblock.toml");
    assert_eq!(error.exit_code(), 2);
    assert!(error.next().contains("spotblock init"));
}

/// Catches: a zone that is held against the file's region although a flag gave another.
#[test]
fn a_zone_is_held_against_the_region_that_counts() {
    let text = EXAMPLE.replace("us-east-1\"", "us-west-2\"");
    let parse = |region| Settings::parse(Path::new("f"), &text, &BlockFlags::default(), region);
    assert_eq!(
        parse(Some("us-east-1")).expect("the flag's region").region.as_deref(),
        Some("us-east-1")
    );
    assert!(parse(None).is_err(), "us-east-1c is not in us-west-2");
}

/// Catches: a fleet that AWS refuses for a tag, after the environment was made.
#[test]
fn tags_that_instances_can_not_read_in_their_metadata_are_refused_where_they_would() {
    let tagged = |key: &str, source: &str| {
        let text = EXAMPLE.replace("[\"spot-block\"]", &format!("[{source:?}]"));
        parse(&format!("{text}\n[environment.tags]\n{key:?} = \"x\"\n")).map(|_| ())
    };
    for key in ["cost center", "team/imaging", "groesse\u{e4}", "..", "_index"] {
        let error = tagged(key, "on-demand").expect_err(key).to_string();
        assert!(error.contains("[environment] tags: ") && error.contains("metadata"), "{error}");
        tagged(key, "spot-block").expect("a spot block's instances don't read them there");
    }
    tagged("Team+a-b=c.d,e_f:g@h", "spot").expect("allowed");
}

#[test]
fn arm_with_gpus_needs_an_image_of_ones_own() {
    let requirements = "gpus = 1\narch = \"arm64\"";
    let text = EXAMPLE.replace("instance-types = [\"t2.micro\"]", requirements);
    parse(&text).expect("it has an image");
    let error =
        parse(&text.replace("image = \"ami-a7a242da\"\n", "")).expect_err("no image").to_string();
    assert!(error.contains("AWS recommends no ECS image for GPUs beside ARM"), "{error}");
}
