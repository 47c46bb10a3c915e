//! Without AWS: no credentials, no region, nobody at the endpoint. As the real program finds out,
//! with its own chain.

use std::time::Duration;

use e2e::cli::{self, Run};

use crate::world::{binaries, fixture};

/// Nobody listens here.
const NOBODY: &str = "http://127.0.0.1:1";

async fn run(
    config: &std::path::Path,
    variables: &[(&str, Option<&str>)],
    arguments: &[&str],
) -> Run {
    let mut command = cli::command(&binaries().spotblock, NOBODY, &[]);
    command.arg("--config").arg(config).args(arguments);
    for (key, value) in variables {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    cli::run(command, Duration::from_secs(60)).await.expect("it ends in time")
}

fn says(run: &Run, code: i32, parts: &[&str]) {
    assert_eq!(run.code, code, "{}", run.stderr);
    for part in parts {
        assert!(run.stderr.contains(part), "{part:?} is missing in {}", run.stderr);
    }
}

#[tokio::test]
async fn without_credentials_it_says_where_to_get_some() {
    let none = [("AWS_ACCESS_KEY_ID", Some("")), ("AWS_SECRET_ACCESS_KEY", Some(""))];
    let run = run(&fixture("spot-block-test.toml"), &none, &["up"]).await;
    let parts = [
        "error: batch:DescribeComputeEnvironments for spot-block-test failed: ",
        "next: no credentials were found",
    ];
    says(&run, 1, &parts);
    assert!(!run.stderr.contains("Attempted"), "{}", run.stderr);
}

/// Catches: a run on the account whose keys are exported, where a profile of another one was asked
/// for.
#[tokio::test]
async fn a_named_profile_goes_before_keys_in_the_environment() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "[profile empty]\nregion = us-east-1\n").expect("written");
    let variables = [("AWS_CONFIG_FILE", file.path().to_str())];
    for profile in ["empty", "nobodys"] {
        let config = fixture("spot-block-test.toml");
        let run = run(&config, &variables, &["--profile", profile, "status"]).await;
        says(&run, 1, &["next: no credentials were found"]);
    }
    let keys = "[profile other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = secret\n";
    std::fs::write(file.path(), keys).expect("written");
    let run =
        run(&fixture("spot-block-test.toml"), &variables, &["--profile", "other", "status"]).await;
    says(&run, 1, &["Connection refused"]);
}

#[tokio::test]
async fn without_a_region_it_says_where_to_set_one() {
    let text = std::fs::read_to_string(fixture("spot-block-test.toml")).expect("the example");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text.replace("region = \"us-east-1\"\n", "")).expect("written");
    let none = [("AWS_REGION", None), ("AWS_DEFAULT_REGION", None)];
    let run = run(file.path(), &none, &["up"]).await;
    says(
        &run,
        2,
        &[
            "error: no region was found",
            "next: set `region` in spotblock.toml, give --region, or set AWS_REGION",
        ],
    );
}

#[tokio::test]
async fn when_aws_can_not_be_reached_it_says_what_to_check() {
    let run = run(&fixture("spot-block-test.toml"), &[], &["up"]).await;
    let parts = [
        "error: batch:DescribeComputeEnvironments for spot-block-test failed: ",
        "Connection refused",
        "next: AWS's endpoint gave no answer: check the network, --region and --endpoint-url \
         (AWS_ENDPOINT_URL)",
    ];
    says(&run, 1, &parts);
}
