//! `spotblock schema`: the JSON schema of spotblock.toml, for editors. It is written by hand, with
//! the words that an editor shows; the tests below hold it against the parser, key by key.

use crate::model::error::Result;
use crate::terminal::Ui;

/// The schema, JSON Schema draft 7, which editors' TOML extensions read.
pub(crate) const SCHEMA: &str = include_str!("schema.json");

/// Prints it.
///
/// # Errors
/// When stdout can't be written.
pub(crate) fn run(ui: &Ui) -> Result<u8> {
    ui.print(SCHEMA)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::args::BlockFlags;
    use crate::commands::init::TEMPLATE;
    use crate::settings::Settings;

    fn schema() -> Value {
        serde_json::from_str(SCHEMA).expect("JSON")
    }

    fn validator() -> jsonschema::Validator {
        jsonschema::validator_for(&schema()).expect("a schema")
    }

    fn to_json(text: &str) -> Value {
        serde_json::to_value(text.parse::<toml::Table>().expect("TOML")).expect("JSON")
    }

    fn problems(document: &Value) -> Vec<String> {
        validator()
            .iter_errors(document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    fn parse(document: &Value) -> Result<Settings> {
        let text = toml::to_string(document).expect("TOML");
        Settings::parse(Path::new("spotblock.toml"), &text, &BlockFlags::default(), None)
    }

    /// A file with one key of everything that can nest.
    fn full() -> Value {
        json!({
            "environment": {"name": "e", "queue": {"name": "q"}},
            "job-definition": [
                {"name": "j", "image": "i", "vcpus": 1, "memory": "256MiB", "log": {"driver": "awslogs"}}
            ],
            "block": {
                "instances": 1, "duration": "1h", "instance-types": ["t3.micro"], "subnets": ["subnet-1"],
                "security-groups": ["sg-1"],
            },
            "agent": {"from": {"url": "https://example.org/agent", "sha256": "0".repeat(64)}},
        })
    }

    /// The tables of a file: where they stand in it, and in the schema.
    const TABLES: [(&str, &str); 7] = [
        ("", ""),
        ("/environment", "/properties/environment"),
        ("/environment/queue", "/properties/environment/properties/queue"),
        ("/job-definition/0", "/properties/job-definition/items"),
        ("/job-definition/0/log", "/properties/job-definition/items/properties/log"),
        ("/block", "/properties/block"),
        ("/agent", "/properties/agent"),
    ];

    /// Catches: a key that the parser learnt and the schema didn't, or the other way round. The
    /// parser says itself, of an unknown key, which ones it knows.
    #[test]
    fn the_schema_has_the_keys_that_the_parser_has() {
        for (place, in_schema) in TABLES {
            let mut file = full();
            file.pointer_mut(place).expect(place)["zzzzzz"] = json!(1);
            let said = parse(&file).expect_err(place).to_string();
            let known = said
                .split_once("the keys here are ")
                .unwrap_or_else(|| panic!("{place}: {said}"))
                .1;
            let known: BTreeSet<&str> = known.split(", ").collect();
            let schema = schema();
            let listed = schema.pointer(in_schema).expect(in_schema)["properties"]
                .as_object()
                .expect("properties");
            assert_eq!(
                listed.keys().map(String::as_str).collect::<BTreeSet<_>>(),
                known,
                "{place:?}"
            );
            assert!(!problems(&file).is_empty(), "an unknown key in {place:?} passes the schema");
        }
    }

    #[test]
    fn what_is_in_use_passes_both() {
        assert_eq!(problems(&full()), Vec::<String>::new());
        parse(&full()).expect("the parser takes it too");
        let mut files = vec![("init's".to_owned(), TEMPLATE.to_owned())];
        // What `init` comments out has to be right too. Lines such as `# from = ...` stand beside
        // one of the same key.
        let uncommented: Vec<&str> = TEMPLATE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if is_assignment(rest) && !rest.starts_with("from = ") => rest,
                _ => line,
            })
            .collect();
        files.push(("init's, with every comment".to_owned(), uncommented.join("\n")));
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/fixtures");
        for entry in std::fs::read_dir(fixtures).expect("fixtures") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|it| it == "toml") {
                files.push((
                    path.display().to_string(),
                    std::fs::read_to_string(&path).expect("a file"),
                ));
            }
        }
        assert!(files.len() > 4, "the fixtures were found");
        for (name, text) in files {
            assert_eq!(problems(&to_json(&text)), Vec::<String>::new(), "{name}");
        }
    }

    fn is_assignment(line: &str) -> bool {
        line.split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
    }

    /// Catches: a schema that passes what the parser refuses, or the other way round.
    #[test]
    fn both_judge_values_alike() {
        for (place, value, good) in [
            ("/block/duration", json!("2h"), true),
            ("/block/duration", json!(60), false),
            ("/block/instances", json!(0), false),
            ("/block/instances", json!(1001), false),
            ("/block/max-price", json!(0.03), true),
            ("/block/max-price", json!("3 cents"), false),
            ("/block/max-price", json!(0), false),
            ("/block/max-cost", json!(100), true),
            ("/block/max-cost", json!("100 dollars"), false),
            ("/block/max-cost", json!(0), false),
            ("/block/vcpus", json!(0), false),
            ("/block/gpus", json!(65), false),
            ("/block/memory", json!(16), false),
            ("/block/arch", json!("arm"), false),
            ("/block/sources", json!(["moon"]), false),
            ("/block/reservation", json!("r-1"), false),
            ("/block/subnets", json!(["vpc-1"]), false),
            ("/block/security-groups", json!([]), false),
            ("/block/image", json!("ssm:/a"), true),
            ("/block/image", json!("latest"), false),
            ("/block/instance-profile", json!("arn:aws:iam::1:instance-profile/p"), false),
            ("/environment/name", json!("my env"), false),
            ("/environment/queue/priority", json!(-1), false),
            ("/environment/tags", json!({"team": "imaging"}), true),
            ("/environment/tags", json!({"team": 1}), false),
            ("/job-definition/0/mounts", json!(["/a:/b:ro"]), true),
            ("/job-definition/0/mounts", json!(["a:/b"]), false),
            ("/job-definition/0/memory", json!(256), false),
            ("/job-definition/0/vcpus", json!(0), false),
            ("/agent/from", json!("ami"), true),
            ("/agent/from", json!("moon"), false),
            ("/agent/from", json!({"url": "https://example.org/a"}), false),
            ("/agent/drain-lead", json!("auto"), true),
        ] {
            let mut file = full();
            let (table, key) = place.rsplit_once('/').expect("a place");
            file.pointer_mut(table).expect(table)[key] = value.clone();
            assert_eq!(problems(&file).is_empty(), good, "the schema on {place} = {value}");
            assert_eq!(parse(&file).is_ok(), good, "the parser on {place} = {value}");
        }
    }

    /// Catches: a source that editors offer and the parser refuses.
    #[test]
    fn each_source_that_the_schema_offers_is_known() {
        let schema = schema();
        let sources =
            schema.pointer("/properties/block/properties/sources/items/enum").expect("sources");
        for source in sources.as_array().expect("a list") {
            let mut file = full();
            file["block"]["sources"] = json!([source]);
            if let Err(error) = parse(&file) {
                assert!(!error.to_string().contains("sources"), "{source}: {error}");
            }
        }
    }
}
