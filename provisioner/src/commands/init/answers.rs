//! What `init` can't find out, and so asks on a terminal: what the environment is called and what
//! its jobs run.

use crate::model::error::{Error, Result};
use crate::runtime::wait::Waits;
use crate::settings::is_batch_name;
use crate::terminal::Ui;

/// The answers; the template's own words where none was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// The environment's name.
    pub(super) environment: Option<String>,
    /// The first job definition's container image.
    pub(super) image: Option<String>,
}

/// Asks, where somebody can answer.
///
/// # Errors
/// [`Error::interrupted`] on Ctrl-C.
pub(super) async fn ask(ui: &Ui, waits: &Waits) -> Result<Answers> {
    let is_name =
        |it: &str| is_batch_name(it).then_some(()).ok_or("1 to 128 letters, digits, - and _");
    let is_image = |it: &str| {
        (!it.contains(char::is_whitespace)).then_some(()).ok_or("an image's name has no blanks")
    };
    Ok(Answers {
        environment: one(ui, waits, "The environment's name [blocks]: ", is_name).await?,
        image: one(ui, waits, "The container image of your jobs [hello-world]: ", is_image).await?,
    })
}

/// Asks until the answer is empty or fits.
async fn one(
    ui: &Ui,
    waits: &Waits,
    question: &str,
    fits: impl Fn(&str) -> std::result::Result<(), &'static str>,
) -> Result<Option<String>> {
    loop {
        let Some(answer) = waits.clock().until_stopped(ui.ask(question)).await else {
            ui.after_ctrl_c();
            return Err(Error::interrupted("no file was written"));
        };
        let Some(answer) = answer? else { return Ok(None) };
        match answer.trim() {
            "" => return Ok(None),
            given => match fits(given) {
                Ok(()) => return Ok(Some(given.to_owned())),
                Err(why) => ui.say(why),
            },
        }
    }
}

impl Answers {
    /// The template with them.
    pub(super) fn put_into(&self, text: &mut String) {
        if let Some(name) = &self.environment {
            let queue = "queue = { name = \"blocks\"";
            let line = |name: &str| format!("{:<43} # the Batch", format!("name = \"{name}\""));
            *text = text.replacen(&line("blocks"), &line(name), 1);
            *text = text.replacen(queue, &queue.replace("blocks", name), 1);
        }
        if let Some(image) = &self.image {
            let quoted = toml::Value::from(image.as_str()).to_string();
            *text = text.replacen(
                "name = \"hello-world\"\n",
                &format!("name = \"{}\"\n", job_name(image)),
                1,
            );
            *text = text.replacen("image = \"hello-world\"\n", &format!("image = {quoted}\n"), 1);
        }
    }
}

/// A job definition's name after its image: the last part of its path, without tag and digest.
fn job_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    let name = last.split([':', '@']).next().unwrap_or_default();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let name = name.trim_matches('-').chars().take(128).collect::<String>();
    if is_batch_name(&name) { name } else { "work".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_called_after_its_image() {
        for (image, name) in [
            ("hello-world", "hello-world"),
            ("ubuntu:24.04", "ubuntu"),
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com/team/align.er@sha256:00ff", "align-er"),
            ("...", "work"),
        ] {
            assert_eq!(job_name(image), name, "{image}");
        }
    }

    /// Catches: an answer that stands nowhere in the file, because the template was worded anew.
    #[test]
    fn answers_stand_in_the_file() {
        let mut text = super::super::TEMPLATE.to_owned();
        let answers = Answers {
            environment: Some("genomes".to_owned()),
            image: Some("ubuntu:24.04".to_owned()),
        };
        answers.put_into(&mut text);
        for line in [
            "queue = { name = \"genomes\", priority = 1 }",
            "name = \"ubuntu\"",
            "image = \"ubuntu:24.04\"",
        ] {
            assert!(text.lines().any(|it| it == line), "{line:?} is missing in {text}");
        }
        assert!(
            text.contains("\nname = \"genomes\"                            # the Batch"),
            "{text}"
        );
    }
}
