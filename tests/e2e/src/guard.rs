//! The guard: no test and no demo starts a program that could reach AWS or the real metadata
//! address.
//!
//! Both variables are needed: the SDK's IMDS client ignores `AWS_EC2_METADATA_DISABLED`, and the
//! credential chain asks IMDS unless it is set.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// A port on which nothing listens: a program that asks for metadata is refused at once.
const NO_METADATA: &str = "http://127.0.0.1:1";

/// Gives `command` an environment in which AWS is the local cloud at `endpoint` and nothing else of
/// the caller's settings is left.
pub fn confine(command: &mut Command, endpoint: &str) {
    command.env_clear().envs([
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", NO_METADATA),
        ("AWS_ACCESS_KEY_ID", "AKIALOCALCLOUD"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_REGION", "us-east-1"),
        // The AWS CLI of version 1 knows the region by this name alone.
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_PAGER", ""),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("NO_PROXY", "127.0.0.1,localhost"),
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
    ]);
}

/// Lets `command` ask the metadata service of a local cloud's node, for the agent alone: the role's
/// credentials come from there, and the SDK doesn't ask for them while `AWS_EC2_METADATA_DISABLED`
/// is set. The endpoint stands by name.
///
/// # Errors
/// When it isn't on loopback.
pub fn let_ask(command: &mut Command, imds: &str) -> anyhow::Result<()> {
    ensure!(is_loopback(imds), "the node's metadata service {imds} is not on loopback");
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds).env_remove("AWS_EC2_METADATA_DISABLED");
    Ok(())
}

/// Holds the environment that `command` will have against the rules.
///
/// # Errors
/// Names the variable that would let the program out.
pub fn check(command: &Command) -> anyhow::Result<()> {
    let set: BTreeMap<String, String> = command
        .as_std()
        .get_envs()
        .filter_map(|(key, value)| Some((key.to_str()?.to_owned(), value?.to_str()?.to_owned())))
        .collect();
    for key in ["AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT"] {
        let value = set
            .get(key)
            .with_context(|| format!("{key} is not set: the program could reach AWS"))?;
        ensure!(is_loopback(value), "{key}={value} is not on loopback");
    }
    ensure!(
        set.get("AWS_EC2_METADATA_DISABLED").map(String::as_str) == Some("true"),
        "AWS_EC2_METADATA_DISABLED is not true: the credential chain would ask for metadata"
    );
    ensure!(
        set.contains_key("AWS_ACCESS_KEY_ID"),
        "no credentials of its own: the chain would go looking for some"
    );
    for (key, value) in &set {
        let endpoint =
            key.starts_with("AWS_ENDPOINT_URL") || key.to_ascii_lowercase().ends_with("_proxy");
        let exempt = key.eq_ignore_ascii_case("no_proxy");
        ensure!(exempt || !endpoint || is_loopback(value), "{key}={value} is not on loopback");
    }
    Ok(())
}

fn is_loopback(url: &str) -> bool {
    url.strip_prefix("http://127.0.0.1:")
        .is_some_and(|rest| rest.split('/').next().is_some_and(|port| port.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confined() -> Command {
        let mut command = Command::new("true");
        confine(&mut command, "http://127.0.0.1:4000");
        command
    }

    #[test]
    fn a_confined_command_passes() {
        check(&confined()).expect("it is confined");
    }

    #[test]
    fn only_a_nodes_own_metadata_may_be_asked() {
        let mut command = confined();
        let_ask(&mut command, "http://127.0.0.1:4001/").expect("a node's");
        let_ask(&mut command, "http://169.254.169.254").expect_err("the real one");
        check(&command).expect_err("anything but the agent needs both variables");
    }

    #[test]
    fn what_could_reach_out_is_refused_by_name() {
        let cases = [
            ("AWS_ENDPOINT_URL", Some("https://ec2.us-east-1.amazonaws.com")),
            ("AWS_ENDPOINT_URL", Some("http://127.0.0.1.example.com:80")),
            ("AWS_ENDPOINT_URL_EC2", Some("https://ec2.us-east-1.amazonaws.com")),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", Some("http://169.254.169.254")),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", None),
            ("AWS_EC2_METADATA_DISABLED", Some("false")),
            ("AWS_ACCESS_KEY_ID", None),
            ("HTTPS_PROXY", Some("http://10.0.0.1:3128")),
        ];
        for (key, value) in cases {
            let mut command = confined();
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
            check(&command).expect_err(key);
        }
    }
}
