//! The command line as help, completions and man pages show it: with examples, and without what
//! happens to be set in the caller's environment.

use clap::{Command, CommandFactory as _, FromArgMatches as _};

use super::Cli;

/// Examples by command. A test parses each of them.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "up",
        &[
            "spotblock up                            # shows the plan, asks, and does it",
            "spotblock up --yes --duration 2h        # in scripts; a flag beats its key",
            "spotblock up --new                      # another block beside the live one",
        ],
    ),
    (
        "plan",
        &[
            "spotblock plan                          # what `up` would do, and the block's \
             timeline",
            "spotblock plan --vcpus 4 --memory 16GiB # which types fit, and what the block costs \
             at worst",
            "spotblock plan --detailed-exitcode      # 10 when there is something to do",
        ],
    ),
    ("env apply", &["spotblock env apply"]),
    ("env show", &["spotblock env show -o json"]),
    (
        "user-data",
        &[
            "spotblock user-data --format mime",
            "spotblock user-data --cluster arn:aws:ecs:us-east-1:123456789012:cluster/c    # \
             asks nothing of AWS",
        ],
    ),
    (
        "submit",
        &[
            "spotblock submit -j hello-world",
            "spotblock submit -j hello-world --env GREETING=hi -- echo hello",
        ],
    ),
    (
        "jobs",
        &[
            "spotblock jobs                          # the newest first",
            "spotblock jobs -s RUNNABLE,RUNNING",
            "spotblock jobs --name align* -o json",
            "spotblock jobs --array sample -s FAILED # which children failed, and why",
        ],
    ),
    (
        "logs",
        &[
            "spotblock logs hello-world              # what the newest job of that name wrote",
            "spotblock logs hello-world --follow     # until it has ended",
            "spotblock logs hello-world --attempt 1 -o json",
        ],
    ),
    (
        "doctor",
        &[
            "spotblock doctor                        # whatever waits or is wrong",
            "spotblock doctor i-0123456789abcdef0",
            "spotblock doctor hello-world -o json",
        ],
    ),
    ("request", &["spotblock request --instances 3"]),
    (
        "status",
        &[
            "spotblock status",
            "spotblock status --watch                # until Ctrl-C",
            "spotblock status -o json | jq -r '.blocks[].instances[].id'",
        ],
    ),
    (
        "down",
        &[
            "spotblock down                          # ends the blocks; the environment stays, \
             and costs nothing",
            "spotblock down --block sb-1f2c3d4e5f",
            "spotblock down --limit 30m              # running jobs may go on for half an hour",
            "spotblock down --all                    # removes what spotblock made for the \
             environment",
        ],
    ),
    (
        "extend",
        &[
            "spotblock extend --by 1h",
            "spotblock extend --block sb-1f2c3d4e5f --to 2026-11-24T18:00:00Z",
        ],
    ),
    (
        "drain",
        &[
            "spotblock drain                         # jobs finish, then the instances leave",
            "spotblock drain --block sb-1f2c3d4e5f --limit 30m",
        ],
    ),
    (
        "reap",
        &[
            "spotblock reap --dry-run                # what has outlived its block",
            "spotblock reap --all --region us-east-1 # needs no spotblock.toml",
        ],
    ),
    (
        "init",
        &[
            "spotblock init                          # with the default VPC's subnet, group and \
             key of your region",
            "spotblock init --config gpu.toml --instance-type g5.xlarge",
            "spotblock init --offline                # placeholders, no call",
        ],
    ),
    ("iam", &["spotblock iam blocks > policy.json", "spotblock iam"]),
    (
        "template",
        &["spotblock template > environment.json   # deploy it with --capabilities \
             CAPABILITY_NAMED_IAM"],
    ),
    ("schema", &["spotblock schema > spotblock.schema.json"]),
    (
        "completions",
        &[
            "spotblock completions bash > ~/.local/share/bash-completion/completions/spotblock",
            "spotblock completions zsh > ~/.zfunc/_spotblock",
            "spotblock completions fish > ~/.config/fish/completions/spotblock.fish",
        ],
    ),
    ("man", &["spotblock man | man -l -", "spotblock man ~/.local/share/man/man1"]),
];

/// The command line.
#[must_use]
pub fn command() -> Command {
    tidy(Cli::command(), "").after_help(
        "Start with `spotblock init`, then `spotblock plan`. `spotblock help COMMAND` has \
         examples of each command.\n\nExit codes: 0 done; 1 failed; 2 usage or configuration; 3 \
         capacity refused or not available; 4 timed out; 5 a watched job failed; 10 changes \
         found by `plan --detailed-exitcode`; 130 interrupted.",
    )
}

/// Reads this process's command line; ends it on `--help`, `--version` and what can't be read.
#[must_use]
pub fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn tidy(command: Command, path: &str) -> Command {
    let command = match EXAMPLES.iter().find(|(name, _)| *name == path) {
        Some((_, lines)) => command.after_help(format!("Examples:\n  {}", lines.join("\n  "))),
        None => command,
    };
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(|child| {
        let path = format!("{path} {}", child.get_name());
        tidy(child, path.trim_start())
    })
}

/// Each command with its path, `up` or `env apply`, those without commands of their own only.
#[cfg(test)]
fn leaves(command: &Command, path: &str) -> Vec<(String, Command)> {
    let children: Vec<_> =
        command.get_subcommands().filter(|child| child.get_name() != "help").collect();
    if children.is_empty() {
        return vec![(path.to_owned(), command.clone())];
    }
    let below =
        |child: &&Command| leaves(child, format!("{path} {}", child.get_name()).trim_start());
    children.iter().flat_map(below).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;

    #[test]
    fn every_command_has_examples_and_each_of_them_is_a_command_line() {
        for (path, _) in leaves(&command(), "") {
            assert!(EXAMPLES.iter().any(|(name, _)| *name == path), "{path} has no example");
        }
        for (path, lines) in EXAMPLES {
            for line in *lines {
                let words: Vec<_> = line
                    .split(['#', '|', '>'])
                    .next()
                    .unwrap_or_default()
                    .split_whitespace()
                    .collect();
                assert!(
                    words.join(" ").starts_with(&format!("spotblock {path}")),
                    "{line} under {path}"
                );
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{line}: {error}");
                }
            }
        }
    }

    /// Catches: a flag that changes its name or meaning without anybody having wanted it.
    #[test]
    fn the_help_of_every_command_is_as_it_was_snapshot() {
        let whole = built();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/help");
        harness::snapshot(&folder.join("spotblock.txt"), &page(&mut whole.clone()));
        for (path, leaf) in leaves(&whole, "") {
            let file = folder.join(format!("{}.txt", path.replace(' ', "-")));
            harness::snapshot(&file, &page(&mut leaf.clone()));
        }
    }

    /// With the flags of every command in every command.
    fn built() -> Command {
        let mut whole = command();
        whole.build();
        whole
    }

    fn page(command: &mut Command) -> String {
        let text = command.clone().term_width(80).render_help().to_string();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
    }

    /// Catches: an option whose help makes the long form spread over two screens.
    #[test]
    fn short_and_long_help_are_the_same() {
        for (path, _) in leaves(&command(), "") {
            let [short, long] = ["-h", "--help"].map(|flag| {
                let words = ["spotblock"].into_iter().chain(path.split(' ')).chain([flag]);
                command().try_get_matches_from(words).expect_err("help").to_string()
            });
            assert_eq!(short, long, "{path}");
        }
    }
}
