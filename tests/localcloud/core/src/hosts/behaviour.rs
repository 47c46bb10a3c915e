//! What a stand-in for a container does; the crate's header tells what a job can say of it.

use crate::journal::effect::Container;

/// What a container does.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// How long it runs.
    pub seconds: f64,
    /// The exit code it ends with by itself.
    pub exit: u8,
    /// What it does on SIGTERM.
    pub on_term: OnTerm,
    /// The platforms that its image is for, such as `linux/arm64`; none: all.
    pub platforms: Vec<String>,
}

/// What a container does on SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTerm {
    /// It dies of it.
    Die,
    /// It ends with this code.
    Exit(u8),
    /// Nothing.
    Ignore,
}

impl Behaviour {
    /// What this container does.
    #[must_use]
    pub fn of(container: &Container) -> Self {
        let variable = |name: &str| {
            container
                .environment
                .iter()
                .rev()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let on_term = match variable("LOCALCLOUD_ON_TERM") {
            Some("ignore") => OnTerm::Ignore,
            Some(text) => text
                .strip_prefix("exit:")
                .and_then(|code| code.parse().ok())
                .map_or(OnTerm::Die, OnTerm::Exit),
            None => OnTerm::Die,
        };
        Self {
            seconds: variable("LOCALCLOUD_SECONDS")
                .and_then(number)
                .or_else(|| slept(&container.command).and_then(number))
                .unwrap_or(2.0),
            exit: variable("LOCALCLOUD_EXIT").and_then(|code| code.parse().ok()).unwrap_or(0),
            on_term,
            platforms: variable("LOCALCLOUD_PLATFORM").into_iter().flat_map(words).collect(),
        }
    }

    /// Why a host of this architecture, `x86_64` or `arm64`, can't pull its image.
    #[must_use]
    pub fn pull_error(&self, architecture: &str) -> Option<String> {
        // Docker's name for the platform, and what it says where an image's list has no such one
        // `[A]`.
        let (own, shown) = if architecture == "arm64" {
            ("linux/arm64", "linux/arm64/v8")
        } else {
            ("linux/amd64", "linux/amd64")
        };
        let fits = self.platforms.is_empty() || self.platforms.iter().any(|it| it == own);
        (!fits).then(|| {
            format!(
                "CannotPullContainerError: no matching manifest for {shown} in the \
                              manifest list entries"
            )
        })
    }
}

fn words(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty())
}

/// `N` of `sleep N` in a command, alone or as a shell's script.
fn slept(command: &[String]) -> Option<&str> {
    let mut words = command.iter().flat_map(|word| word.split_whitespace());
    words.find(|word| word.rsplit('/').next() == Some("sleep"))?;
    words.next().map(|word| word.trim_end_matches([';', 's']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(command: &[&str], environment: &[(&str, &str)]) -> Container {
        Container {
            name: "default".into(),
            family: "f".into(),
            revision: "1".into(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            environment: environment
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn the_command_and_the_environment_say_what_a_container_does() {
        let plain =
            Behaviour { seconds: 2.0, exit: 0, on_term: OnTerm::Die, platforms: Vec::new() };
        assert_eq!(Behaviour::of(&container(&[], &[])), plain);
        assert_eq!(Behaviour::of(&container(&["/hello"], &[])), plain);
        assert_eq!(Behaviour::of(&container(&["sleep", "7"], &[])).seconds, 7.0);
        assert_eq!(
            Behaviour::of(&container(&["sh", "-c", "/bin/sleep 1.5; echo done"], &[])).seconds,
            1.5
        );
        let environment = [
            ("LOCALCLOUD_SECONDS", "3"),
            ("LOCALCLOUD_EXIT", "9"),
            ("LOCALCLOUD_ON_TERM", "exit:0"),
        ];
        assert_eq!(
            Behaviour::of(&container(&["sleep", "7"], &environment)),
            Behaviour { seconds: 3.0, exit: 9, on_term: OnTerm::Exit(0), ..plain.clone() }
        );
        let ignores = container(&[], &[("LOCALCLOUD_ON_TERM", "ignore")]);
        assert_eq!(Behaviour::of(&ignores).on_term, OnTerm::Ignore);
    }

    /// Catches: a job's text that reaches a shell on the developer's machine.
    #[test]
    fn nothing_of_the_job_reaches_the_shell() {
        let nasty = container(
            &["sleep", "1;touch /tmp/x"],
            &[
                ("LOCALCLOUD_SECONDS", "$(id)"),
                ("LOCALCLOUD_EXIT", "`id`"),
                ("LOCALCLOUD_ON_TERM", "exit:$(id)"),
            ],
        );
        let plain =
            Behaviour { seconds: 2.0, exit: 0, on_term: OnTerm::Die, platforms: Vec::new() };
        assert_eq!(Behaviour::of(&nasty), plain);
    }

    /// Catches: an image for other processors that runs all the same.
    #[test]
    fn an_image_for_another_platform_can_not_be_pulled() {
        let error = |platforms: &str, architecture| {
            Behaviour::of(&container(&[], &[("LOCALCLOUD_PLATFORM", platforms)]))
                .pull_error(architecture)
        };
        assert_eq!(error("linux/amd64, linux/arm64", "arm64"), None);
        assert_eq!(error("linux/arm64", "arm64"), None);
        assert_eq!(error("", "x86_64"), None);
        let said = error("linux/arm64", "x86_64").expect("an error");
        assert!(
            said.ends_with("no matching manifest for linux/amd64 in the manifest list entries"),
            "{said}"
        );
        assert!(error("linux/amd64", "arm64").is_some_and(|said| said.contains("linux/arm64/v8")));
    }
}
