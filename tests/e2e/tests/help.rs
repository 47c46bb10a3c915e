//! Help, completions and man pages, as the program gives them.

use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long `--help` may take, from start to end, on a machine that does other things too.
const LIMIT: Duration = Duration::from_millis(15);

fn spotblock(arguments: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spotblock"));
    command.args(arguments).env_clear().stdin(Stdio::null()).output().expect("it starts")
}

/// Catches: work before the command line is read. Other load can only make a run longer, so the fastest of many is
/// what the program needs.
#[test]
#[expect(clippy::disallowed_methods, reason = "a real process is measured, in real time")]
fn help_is_there_at_once() {
    let mut times: Vec<Duration> = (0..30)
        .map(|_| {
            let began = Instant::now();
            assert!(spotblock(&["--help"]).status.success());
            began.elapsed()
        })
        .collect();
    times.sort();
    println!("--help: fastest {:?}, median {:?}, slowest {:?}", times[0], times[15], times[29]);
    assert!(times[0] < LIMIT, "--help takes {:?} at best", times[0]);
}

/// Catches: completions that bash doesn't take, or that don't know a command or flag.
#[test]
fn bash_completes_commands_and_flags() {
    let script = r#"
        source <("$0" completions bash)
        complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _spotblock spotblock "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[*]}"; }
        complete_line spotblock sub
        complete_line spotblock up --dur
        complete_line spotblock completions f
    "#;
    let mut command = std::process::Command::new("bash");
    command.args(["--norc", "-c", script]).arg(env!("CARGO_BIN_EXE_spotblock")).stdin(Stdio::null());
    let output = command.output().expect("bash starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text.lines().collect::<Vec<_>>(), ["submit", "--duration", "fish"], "{errors}");
}

#[test]
fn each_command_has_a_man_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = spotblock(&["man", folder.path().to_str().expect("a path")]);
    assert!(output.status.success(), "{output:?}");
    for name in ["spotblock", "spotblock-up", "spotblock-env-apply", "spotblock-submit"] {
        let text = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).expect(name);
        assert!(text.contains(".SH SYNOPSIS"), "{name}: {text}");
    }
    let up = std::fs::read_to_string(folder.path().join("spotblock-up.1")).expect("up");
    assert!(up.contains("Examples:") && up.contains("SPOTBLOCK_DURATION"), "{up}");
}
