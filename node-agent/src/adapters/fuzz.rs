//! What comes from outside, whatever it is: user data, the host's files, IMDS, the ECS agent's
//! introspection.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use node_contract::{NodeConfig, Timeline, user_data};

use super::ecs_config::EcsConfig;
use super::imds::Imds;
use super::introspection::Introspection;
use super::state_file::StateFile;
use crate::ports::{EcsAgent as _, Metadata as _, Signal, StateStore as _};
use crate::settings::args::RunArgs;
use crate::settings::{Environment, Settings};
use crate::testing;
use crate::testing::http::serve;

/// Catches: a failure without words, and one that repeats what it was given more often than once or
/// twice.
fn told(error: &impl std::fmt::Display, bytes: &[u8]) {
    let told = error.to_string();
    assert!(
        !told.is_empty() && told.len() < 1024 + 4 * bytes.len(),
        "{} bytes: {told:.300}",
        told.len()
    );
}

#[test]
fn no_node_settings_break_their_parser_and_what_is_taken_is_written_as_it_was() {
    let same = |config: &NodeConfig| {
        assert_eq!(NodeConfig::from_json(&config.to_json()).as_ref().ok(), Some(config));
        let _ = Timeline::new(config, testing::identity().launched);
    };
    fuzz::run("node-config", 6000, |bytes| {
        match NodeConfig::from_json(&String::from_utf8_lossy(bytes)) {
            Ok(config) => same(&config),
            Err(error) => told(&error, bytes),
        }
    });
    fuzz::run("user-data", 6000, |bytes| {
        match user_data::extract(&String::from_utf8_lossy(bytes)) {
            Ok(config) => same(&config),
            Err(error) => told(&error, bytes),
        }
    });
}

#[test]
fn no_agent_toml_breaks_its_parser() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("agent.toml");
    let environment =
        || Environment { imds_endpoint: None, imds_disabled: false, ecs_endpoint: None };
    fuzz::run("agent-toml", 3000, |bytes| {
        std::fs::write(&path, bytes).expect("written");
        let args = RunArgs {
            root: folder.path().to_owned(),
            settings: Some(path.clone()),
            verbose: false,
        };
        if let Err(error) = Settings::load(&args, environment()) {
            told(&error, bytes);
        }
    });
}

/// Catches: a file that each start changes again, and one that the agent leaves without its
/// cluster.
#[test]
fn any_ecs_config_is_merged_once_and_names_the_cluster_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ecs.config");
    let config = testing::config();
    let timeline = Timeline::new(&config, testing::identity().launched);
    let ecs = EcsConfig::new(path.clone(), &config, &testing::identity(), timeline);
    fuzz::run("ecs-config", 600, |bytes| {
        std::fs::write(&path, bytes).expect("written");
        ecs.write().expect("merged");
        let merged = std::fs::read(&path).expect("read");
        assert!(
            !ecs.write().expect("merged again"),
            "changed twice: {:?}",
            String::from_utf8_lossy(&merged)
        );
        let line = format!("ECS_CLUSTER={}", config.cluster);
        let named =
            merged.split(|byte| *byte == b'\n').filter(|found| *found == line.as_bytes()).count();
        assert_eq!(named, 1, "{:?}", String::from_utf8_lossy(&merged));
    });
}

#[test]
fn no_saved_state_breaks_its_parser() {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("state.json");
    let runtime = runtime();
    let load = || runtime.block_on(StateFile::new(path.clone()).load());
    // Else a new version of the state would leave an old one to be fuzzed.
    std::fs::write(&path, include_bytes!("../../../tests/fuzz/corpus/state/state.json"))
        .expect("written");
    load().expect("a state of this version, in the corpus");
    fuzz::run("state", 3000, |bytes| {
        std::fs::write(&path, bytes).expect("written");
        if let Err(error) = load() {
            told(&error, bytes);
        }
    });
}

/// What a server answers next, whatever it is asked.
type Body = Arc<Mutex<Vec<u8>>>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn nothing_that_imds_says_breaks_the_agent() {
    let runtime = runtime();
    let body = Body::default();
    let said = Arc::clone(&body);
    let url = runtime.block_on(serve(move |request| {
        if request.method == "PUT" {
            return (
                200,
                "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n".into(),
                b"token".to_vec(),
            );
        }
        (200, String::new(), said.lock().expect("not poisoned").clone())
    }));
    let imds = Imds::new(Some(url), super::plain_http_client(), Arc::default()).expect("a client");
    fuzz::run("imds", 400, |bytes| {
        *body.lock().expect("not poisoned") = bytes.to_vec();
        runtime.block_on(async {
            let failed = [
                imds.identity().await.err(),
                imds.user_data().await.err(),
                imds.notice().await.err(),
                imds.signal(Signal::TerminationTime).await.err(),
                imds.signal(Signal::Rebalance).await.err(),
                imds.signal(Signal::Maintenance).await.err(),
                imds.signal(Signal::EndTag).await.err(),
            ];
            failed.iter().flatten().for_each(|error| told(error, bytes));
        });
    });
}

#[test]
fn nothing_that_introspection_says_breaks_the_agent() {
    let runtime = runtime();
    let body = Body::default();
    let said = Arc::clone(&body);
    let url = runtime
        .block_on(serve(move |_| (200, String::new(), said.lock().expect("not poisoned").clone())));
    let introspection = Introspection::new(url).expect("a client");
    fuzz::run("introspection", 1500, |bytes| {
        *body.lock().expect("not poisoned") = bytes.to_vec();
        runtime.block_on(async {
            introspection.registration().await.err().iter().for_each(|error| told(error, bytes));
            introspection.tasks().await.err().iter().for_each(|error| told(error, bytes));
        });
    });
}
