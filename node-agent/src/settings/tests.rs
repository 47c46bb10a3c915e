//! What is taken, what is refused, and what is there when nothing is said.

use super::*;

fn load(toml: &str) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(dir.path().join("etc/spotblock")).expect("etc");
    std::fs::write(dir.path().join(names::path::AGENT_SETTINGS), toml).expect("agent.toml");
    std::fs::write(dir.path().join("etc/spotblock/block.json"), BLOCK).expect("block.json");
    let args = RunArgs { root: dir.path().to_owned(), settings: None, verbose: false };
    Settings::load(&args, Environment::default())
}

const BLOCK: &str = r#"{"version": 1, "block": "sb-1f2c", "environment": "e", "region": "us-east-1", "cluster": "c",
    "source": "spot", "end": {"after-launch-secs": 3600}, "drain_lead_secs": 600, "stop_lead_secs": 60}"#;

#[test]
fn without_a_file_the_defaults_hold() {
    let dir = tempfile::tempdir().expect("a folder");
    let args = RunArgs { root: dir.path().to_owned(), settings: None, verbose: false };
    let settings = Settings::load(&args, Environment::default()).expect("defaults");
    assert_eq!(settings.introspection_url, "http://localhost:51678");
    assert_eq!(settings.commands.start_ecs, ["systemctl", "--no-block", "start", "ecs"]);
    assert_eq!(settings.idle_settle, SignedDuration::from_secs(6));
    assert_eq!(
        (settings.block, settings.metrics_listen),
        (None, None),
        "nothing listens on a network unless asked for"
    );
    let asked_for = RunArgs { settings: Some(dir.path().join("other.toml")), ..args };
    assert!(matches!(
        Settings::load(&asked_for, Environment::default()),
        Err(SettingsError::Read { .. })
    ));
}

#[test]
fn a_file_can_set_everything() {
    let settings = load(
        r#"
        introspection-url = "http://127.0.0.1:4321/"
        log = "json"
        idle-settle = "1500ms"
        warn-lead = "5m"
        max-life = "6h"
        [commands]
        power-off = ["touch", "off"]
        [block]
        version = 1
        block = "sb-1f2c"
        environment = "e"
        region = "us-east-1"
        cluster = "c"
        source = "on-demand"
        end = { at = "2026-11-24T12:00:00Z" }
        drain_lead_secs = 60
        stop_lead_secs = 10
        "#,
    )
    .expect("valid settings");
    assert_eq!(settings.introspection_url, "http://127.0.0.1:4321");
    assert_eq!(settings.log, LogFormat::Json);
    assert_eq!(settings.idle_settle, SignedDuration::from_millis(1500));
    assert_eq!(settings.warn_lead, Some(SignedDuration::from_mins(5)));
    assert_eq!(settings.max_life, Some(SignedDuration::from_hours(6)));
    assert_eq!(settings.commands.power_off, ["touch", "off"]);
    assert_eq!(settings.commands.stop_ecs, ["systemctl", "stop", "ecs"]);
    assert_eq!(settings.block.expect("a block").stop_lead_secs, 10);
}

#[test]
fn the_block_can_come_from_a_file_beside() {
    let settings = load("node-config = \"block.json\"").expect("valid settings");
    assert_eq!(settings.block.expect("a block").block, "sb-1f2c");
}

/// Catches: a node of a test, or an agent below another root, that powers off the machine it runs
/// on.
#[test]
fn systemctl_is_the_default_on_the_host_itself_alone() {
    let limit = SignedDuration::from_secs(30);
    let host = Commands::default().for_root(Path::new("/"), limit);
    let ways: Vec<String> = host.power_off_commands().iter().map(|way| way.join(" ")).collect();
    assert_eq!(ways[..2], ["systemctl poweroff", "systemctl poweroff --force"]);
    assert_eq!(ways.len(), 4);
    // A restart would stop it, which a shutdown that hangs doesn't allow to be undone.
    assert!(
        host.arm_timer.is_some_and(|arm| arm.join(" ").contains(" start spotblock-poweroff.timer"))
    );
    assert!(
        host.run_hook.is_some_and(|run| run.contains(&"--property=RuntimeMaxSec=30".to_owned()))
    );

    let elsewhere = Commands::default().for_root(Path::new("/tmp/root"), limit);
    assert_eq!(elsewhere.power_off_commands(), [["systemctl", "poweroff"]]);
    assert_eq!((elsewhere.arm_timer, elsewhere.run_hook), (Some(Vec::new()), Some(Vec::new())));
    let other = Commands { power_off: vec!["off".to_owned()], ..Commands::default() };
    assert_eq!(other.for_root(Path::new("/"), limit).power_off_commands(), [["off"]]);
    let given =
        Commands { power_off_harder: Some(vec![vec!["harder".to_owned()]]), ..Commands::default() };
    assert_eq!(given.for_root(Path::new("/"), limit).power_off_commands().len(), 2);
}

/// Catches: a key that is silently passed over, and an error that doesn't name what is wrong.
#[test]
fn wrong_settings_are_refused_by_name() {
    let cases = [
        ("introspektion-url = \"x\"", "introspektion-url"),
        ("[commands]\nreboot = []", "reboot"),
        ("log = \"xml\"", "xml"),
        ("introspection-url = \"https://localhost\"", "introspection-url"),
        ("introspection-url = \"localhost:51678\"", "introspection-url"),
        ("idle-settle = \"soon\"", "idle-settle"),
        ("idle-settle = \"10m\"", "idle-settle"),
        ("[commands]\nstop-ecs = []", "commands.stop-ecs"),
        ("[commands]\npower-off-harder = [[\"true\"], []]", "commands.power-off-harder"),
        ("power-off-grace = \"0s\"", "power-off-grace"),
        ("hook-limit = \"1h\"", "hook-limit"),
        ("warn-lead = \"5\"", "warn-lead"),
        ("max-life = \"0s\"", "max-life"),
        ("metrics-listen = \"localhost\"", "metrics-listen"),
        ("node-config = \"nowhere.json\"", "nowhere.json"),
        (
            "node-config = \"block.json\"\n[block]\nversion = 1\nblock = \
             \"sb-1f2c\"\nenvironment = \"e\"\nregion = \"r\"\ncluster = \"c\"\nsource = \
             \"spot\"\nend.after-launch-secs = 3600\ndrain_lead_secs = 60\nstop_lead_secs = 10",
            "node-config can't be given beside [block]",
        ),
        ("[block]\nversion = 1\nblok = 2", "blok"),
        ("[block]\nversion = 7", "version 7"),
    ];
    for (toml, name) in cases {
        let error = load(toml).expect_err(toml);
        let text = crate::ports::error_chain(&error);
        assert!(text.contains(name), "{toml}: {text}");
    }
}

/// Catches: a test or a workstation on which the agent would ask the real metadata address in spite
/// of the switch.
#[test]
fn a_disabled_imds_is_not_asked_unless_it_is_named() {
    let args = RunArgs { root: "/nonexistent".into(), settings: None, verbose: false };
    let disabled = Environment { imds_disabled: true, ..Environment::default() };
    assert!(matches!(
        Settings::load(&args, disabled.clone()),
        Err(SettingsError::MetadataDisabled)
    ));
    let named = Environment { imds_endpoint: Some("http://127.0.0.1:1".into()), ..disabled };
    assert!(Settings::load(&args, named).is_ok());
}

/// As if `text` stood in the real host's own file.
fn on_the_host(text: std::io::Result<&str>) -> Result<Settings, SettingsError> {
    let args = RunArgs { root: "/".into(), settings: None, verbose: false };
    let text = text.map(str::to_owned);
    Settings::read(text, Path::new("/nonexistent/agent.toml"), &args, Environment::default())
}

/// Catches: a typing error for which the agent ends again and again, and leaves its host to the
/// power-off timer.
#[test]
fn on_the_host_itself_what_is_wrong_gives_way_to_its_default_and_is_told() {
    let text = r#"
        introspektion-url = "http://127.0.0.1:1"
        log = "json"
        idle-settle = 6
        warn-lead = "5m"
        max-life = "soon"
        metrics-listen = "localhost"
        [commands]
        reboot = ["true"]
        power-off = "poweroff"
        stop-ecs = []
        start-ecs = ["start", "it"]
        [block]
        version = 7
    "#;
    let settings = on_the_host(Ok(text)).expect("it goes on");
    let defaults = on_the_host(Ok("")).expect("defaults");
    assert_eq!(
        (settings.log, settings.warn_lead),
        (LogFormat::Json, Some(SignedDuration::from_mins(5)))
    );
    assert_eq!(settings.commands.start_ecs, ["start", "it"]);
    let start_ecs = defaults.commands.start_ecs.clone();
    assert_eq!(Commands { start_ecs, ..settings.commands.clone() }, defaults.commands);
    let (log, warn_lead) = (defaults.log, defaults.warn_lead);
    let rest = Settings {
        log,
        warn_lead,
        commands: defaults.commands.clone(),
        wrong: Vec::new(),
        ..settings.clone()
    };
    assert_eq!(rest, defaults);
    let keys = [
        "introspektion-url",
        "idle-settle",
        "max-life",
        "metrics-listen",
        "reboot",
        "power-off",
        "stop-ecs",
        "version 7",
    ];
    let told = |key: &str| settings.wrong.iter().filter(|words| words.contains(key)).count();
    let missing: Vec<&str> = keys.into_iter().filter(|key| told(key) == 0).collect();
    assert!(
        missing.is_empty() && settings.wrong.len() == 8,
        "{missing:?} not in {:#?}",
        settings.wrong
    );
    assert!(settings.wrong.iter().all(|words| !words.contains('\n')), "{:#?}", settings.wrong);
}

#[test]
fn on_the_host_itself_a_file_that_cant_be_read_at_all_leaves_the_defaults() {
    let defaults = on_the_host(Ok("")).expect("defaults");
    assert_eq!(defaults.wrong, Vec::<String>::new());
    let error = |kind: std::io::ErrorKind| Err(std::io::Error::from(kind));
    assert_eq!(
        on_the_host(error(std::io::ErrorKind::NotFound)).expect("no file is no fault"),
        defaults
    );
    let garbage: String = (0..1_000).map(|n| format!("key-{n} = 1\n")).collect();
    for (text, wanted) in [
        (Ok("log = \"json\"\n[commands\npower-off = 1\n"), "line 2"),
        (Ok("log = \"json\"\nlog = \"text\"\n"), "line 2"),
        (Ok("\u{0}\u{1}"), "agent.toml"),
        (error(std::io::ErrorKind::InvalidData), "agent.toml"),
        (error(std::io::ErrorKind::PermissionDenied), "permission denied"),
        (Ok(garbage.as_str()), "and 992 more"),
        // Which of the two was meant nobody knows; the user data's block is there for both.
        (Ok("node-config = \"nowhere.json\"\n[block]\nversion = 1\n"), "nowhere.json"),
    ] {
        let settings = on_the_host(text).expect("it goes on");
        assert!(settings.wrong.join("\n").contains(wanted), "{:#?}", settings.wrong);
        assert_eq!(Settings { wrong: Vec::new(), ..settings }, defaults);
    }
}

/// Catches: a test, or a file tried out by hand, whose typing error powers off the machine that it
/// is tried on.
#[test]
fn elsewhere_a_wrong_file_is_refused_and_no_default_takes_its_place() {
    let wrong = "[commands]\npower-off = []\n";
    let args = |root: &str, settings: Option<&str>| RunArgs {
        root: root.into(),
        settings: settings.map(Into::into),
        verbose: false,
    };
    for args in [args("/tmp/root", None), args("/", Some("mine.toml")), args("/tmp/..", None)] {
        let read =
            |text| Settings::read(text, Path::new("mine.toml"), &args, Environment::default());
        assert!(read(Ok(wrong.to_owned())).is_err(), "{args:?}");
        assert!(read(Err(std::io::ErrorKind::PermissionDenied.into())).is_err(), "{args:?}");
    }
}
