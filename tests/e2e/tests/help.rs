//! Help, completions and man pages, as the program gives them.

use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long `--help` may take, from start to end, on a machine that does other things too.
const LIMIT: Duration = Duration::from_millis(15);

fn spotblock(arguments: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spotblock"));
    command.args(arguments).env_clear().stdin(Stdio::null()).output().expect("it starts")
}

/// What this process's children have used of processors so far.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // Behind the name, which can hold blanks; in hundredths of a second.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[13..=14].iter().map(|it| it.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}

/// Catches: work before the command line is read. Other load can only make a run longer, so the
/// fastest of many is what the program needs; where all processors are busy all the time, it is the
/// time that it had one.
#[test]
#[expect(clippy::disallowed_methods, reason = "a real process is measured, in real time")]
fn help_is_there_at_once() {
    let before = used();
    let mut times: Vec<Duration> = (0..30)
        .map(|_| {
            let began = Instant::now();
            assert!(spotblock(&["--help"]).status.success());
            began.elapsed()
        })
        .collect();
    times.sort();
    let busy = (used() - before) / 30;
    println!(
        "--help: fastest {:?}, median {:?}, slowest {:?}, busy {busy:?}",
        times[0], times[15], times[29]
    );
    assert!(times[0].min(busy) < LIMIT, "--help takes {:?} at best", times[0]);
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
    command
        .args(["--norc", "-c", script])
        .arg(env!("CARGO_BIN_EXE_spotblock"))
        .stdin(Stdio::null());
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
    assert!(up.contains(".SH EXAMPLES") && up.contains("SPOTBLOCK_DURATION"), "{up}");
}

/// Catches: completions that zsh or fish don't take. Where one isn't there, it has nothing to say.
#[test]
fn zsh_and_fish_take_their_completions() {
    let folder = tempfile::tempdir().expect("a folder");
    for (shell, wanted) in [("zsh", ""), ("fish", "--duration")] {
        let file = folder.path().join(shell);
        std::fs::write(&file, spotblock(&["completions", shell]).stdout).expect("written");
        let mut command = std::process::Command::new(shell);
        match shell {
            "zsh" => command.args(["-f", "-n"]).arg(&file),
            _ => command
                .arg("-Nc")
                .arg(format!("source {}; complete -C'spotblock up --dur'", file.display())),
        };
        let Ok(output) = command.env("HOME", folder.path()).stdin(Stdio::null()).output() else {
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(wanted), "{shell}: {output:?}");
    }
}
