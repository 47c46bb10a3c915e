//! `spotblock init`: a commented spotblock.toml to start from, filled with what AWS can be asked
//! for.

use std::path::Path;
use std::time::Duration;

use crate::args;
use crate::aws::Aws;
use crate::model::error::{Error, Result};
use crate::runtime::wait::Waits;
use crate::terminal::Ui;

mod answers;

use answers::Answers;

/// The file.
pub(crate) const TEMPLATE: &str = include_str!("init/spotblock.toml");

/// How long AWS may take to answer: a file with gaps is better than a minute of waiting.
const LIMIT: Duration = Duration::from_secs(15);

/// What the account has.
#[derive(Debug, Default)]
struct Found {
    region: String,
    /// Ids with their zones.
    subnets: Vec<(String, String)>,
    /// Ids with their names.
    groups: Vec<(String, String)>,
    keys: Vec<String>,
}

/// Writes it. `connect` is awaited only where AWS is to be asked.
///
/// # Errors
/// When there is one already, unless forced; when it can't be written; Ctrl-C at a question.
pub(crate) async fn run(
    ui: &Ui,
    waits: &Waits,
    path: &Path,
    args: &args::Init,
    connect: impl Future<Output = Result<Aws>>,
) -> Result<u8> {
    if path.exists() && !args.force {
        return Err(there_already(path));
    }
    let answers =
        if args.non_interactive { Answers::default() } else { answers::ask(ui, waits).await? };
    let found = if args.offline { None } else { look(ui, waits, connect).await };
    let mut text = fill(found.as_ref(), args.instance_type.as_deref());
    answers.put_into(&mut text);
    write(path, &text, args.force)?;
    ui.say(match found {
        Some(found) if !found.subnets.is_empty() => format!(
            "wrote {}, with what region {} has: look through it, then run `spotblock plan`",
            path.display(),
            found.region
        ),
        _ => format!(
            "wrote {}: fill in subnet, security group and job definition, then run `spotblock \
             plan`",
            path.display()
        ),
    });
    Ok(0)
}

fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    let options = if force {
        options.write(true).create(true).truncate(true)
    } else {
        options.write(true).create_new(true)
    };
    match options.open(path).and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(there_already(path)),
        Err(source) => Err(Error::file(format!("writing {}", path.display()), source)),
    }
}

fn there_already(path: &Path) -> Error {
    Error::usage(
        format!("{} is there already", path.display()),
        "give another name with --config, or --force to overwrite it",
    )
}

/// What AWS says; nothing, with a word why, when it can't be asked.
async fn look(ui: &Ui, waits: &Waits, connect: impl Future<Output = Result<Aws>>) -> Option<Found> {
    let asked = async { ask(&connect.await?).await };
    let asked = tokio::select! {
        asked = Box::pin(asked) => asked,
        () = waits.clock().sleep(LIMIT) => {
            ui.warn(format_args!("AWS did not answer within {} s: the file has placeholders", LIMIT.as_secs()));
            return None;
        }
    };
    match asked {
        Ok(found) => {
            if found.subnets.is_empty() {
                ui.warn(format_args!(
                    "region {} has no default VPC: the file has placeholders",
                    found.region
                ));
            }
            Some(found)
        }
        Err(error) => {
            ui.warn(format_args!("AWS could not be asked, so the file has placeholders: {error}"));
            None
        }
    }
}

async fn ask(aws: &Aws) -> Result<Found> {
    let mut found = Found { region: aws.region.clone(), ..Found::default() };
    let Some(vpc) = aws.ec2.default_vpc().await? else { return Ok(found) };
    found.subnets =
        aws.ec2.subnets_of(&vpc).await?.into_iter().map(|it| (it.id, it.zone)).collect();
    found.groups = aws.ec2.groups_of(&vpc).await?;
    found.keys = aws.ec2.key_pairs().await?;
    Ok(found)
}

/// The template with what was found.
fn fill(found: Option<&Found>, instance_type: Option<&str>) -> String {
    let mut text = TEMPLATE.to_owned();
    let quoted = |value: &str| toml::Value::from(value).to_string();
    let list = |value: &str| format!("[{}]", quoted(value));
    if let Some(found) = found {
        set(&mut text, "region", &quoted(&found.region), None);
        if let Some(((subnet, zone), others)) = found.subnets.split_first() {
            let others = others.iter().map(|(id, zone)| format!("{id} ({zone})"));
            set(&mut text, "subnets", &list(subnet), Some(&also(&format!("in {zone}"), others)));
        }
        if let Some(((group, name), others)) = found.groups.split_first() {
            let others = others.iter().map(|(id, name)| format!("{id} ({name})"));
            set(&mut text, "security-groups", &list(group), Some(&also(name, others)));
        }
        if let Some((key, others)) = found.keys.split_first() {
            // It stays a comment: nobody needs to log in.
            set(
                &mut text,
                "key-name",
                &quoted(key),
                Some(&also("for ssh", others.iter().cloned())),
            );
        }
    }
    if let Some(instance_type) = instance_type {
        set(&mut text, "instance-types", &list(instance_type), None);
        if is_graviton(instance_type) {
            let image =
                "ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id";
            text =
                text.replace("# image = \"ami-00000000\" ", &format!("image = {} ", quoted(image)));
        }
    }
    text
}

fn also(first: &str, others: impl Iterator<Item = String>) -> String {
    let others: Vec<String> = others.collect();
    match others.as_slice() {
        [] => first.to_owned(),
        [a, b, c, more @ ..] if !more.is_empty() => {
            format!("{first}; there are also {a}, {b}, {c} and {} more", more.len())
        }
        few => format!("{first}; there are also {}", few.join(", ")),
    }
}

/// Gives a key, commented out or not, another value, and its comment another text where one is
/// given.
fn set(text: &mut String, key: &str, value: &str, comment: Option<&str>) {
    let lines = text.lines().map(|line| {
        let Some(rest) =
            line.trim_start_matches("# ").strip_prefix(key).filter(|rest| rest.starts_with(" = "))
        else {
            return line.to_owned();
        };
        let mark = if line.starts_with("# ") { "# " } else { "" };
        let old = rest.rsplit_once(" # ").map(|(_, comment)| comment.trim());
        let assignment = format!("{mark}{key} = {value}");
        match comment.or(old) {
            Some(comment) => format!("{assignment:<43} # {comment}"),
            None => assignment,
        }
    });
    *text = lines.collect::<Vec<_>>().join("\n") + "\n";
}

/// Whether a type has one of AWS's ARM processors: `a1`, or a `g` behind the family's generation,
/// as in `c7gd.large`.
fn is_graviton(instance_type: &str) -> bool {
    let family = instance_type.split('.').next().unwrap_or_default();
    let behind = family
        .trim_start_matches(|c: char| c.is_ascii_alphabetic())
        .trim_start_matches(|c: char| c.is_ascii_digit());
    family == "a1" || behind.starts_with('g')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::BlockFlags;
    use crate::settings::{Image, Settings};

    fn parse(text: &str) -> Settings {
        Settings::parse(Path::new("spotblock.toml"), text, &BlockFlags::default(), None)
            .expect("settings")
    }

    #[test]
    fn what_was_found_stands_in_the_file() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let found = Found {
            region: "eu-west-1".into(),
            subnets: vec![pair("subnet-a", "eu-west-1a"), pair("subnet-b", "eu-west-1b")],
            groups: vec![pair("sg-a", "default")],
            keys: vec!["me \"and\" you".into()],
        };
        let text = fill(Some(&found), Some("m7g.large"));
        let settings = parse(&text);
        assert_eq!(settings.region.as_deref(), Some("eu-west-1"));
        assert!(format!("{:?}", settings.block).contains("subnet-a"), "{text}");
        assert_eq!(settings.block.security_groups, ["sg-a"]);
        assert!(
            matches!(&settings.block.image, Image::Parameter(name) if name.contains("/arm64/")),
            "{text}"
        );
        assert!(text.contains("# in eu-west-1a; there are also subnet-b (eu-west-1b)\n"), "{text}");
        assert!(
            text.contains("# key-name = 'me \"and\" you'")
                || text.contains(r#"# key-name = "me \"and\" you""#),
            "{text}"
        );
        assert_eq!(text.lines().count(), TEMPLATE.lines().count(), "no line is lost");
    }

    #[test]
    fn without_aws_it_is_the_template() {
        assert_eq!(fill(None, None), TEMPLATE);
        parse(TEMPLATE);
    }

    #[test]
    fn arm_is_told_by_the_types_name() {
        for (name, arm) in [
            ("a1.large", true),
            ("t4g.micro", true),
            ("c7gd.large", true),
            ("g5g.xlarge", true),
            ("im4gn.large", true),
            ("t3.micro", false),
            ("g4dn.xlarge", false),
            ("g5.xlarge", false),
            ("gr6.4xlarge", false),
            ("p2.xlarge", false),
        ] {
            assert_eq!(is_graviton(name), arm, "{name}");
        }
    }
}
