//! What the SDK says of a call that was never answered, in the words of people.

use std::error::Error;

/// The whole of it, in as few lines as say it.
pub(super) fn describe(error: &dyn Error) -> String {
    plain(&whole_chain(error))
}

/// An error's text with those of its sources, each said once. The SDKs' `DisplayErrorContext` adds
/// how all of it looks to a debugger.
fn whole_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        at = error.source();
    }
    text
}

/// What the SDK says of a call that was never answered, without the names of its own layers, and
/// without the places where it found no credentials: those that it looks at follow from its
/// documentation, and `next` says what to do.
fn plain(text: &str) -> String {
    const LAYERS: [&str; 5] = [
        "dispatch failure: ",
        "io error: ",
        "other: ",
        "client error (Connect): ",
        "the credential provider was not enabled: ",
    ];
    let mut text = text;
    while let Some(rest) = LAYERS.iter().find_map(|layer| text.strip_prefix(layer)) {
        text = rest;
    }
    let is_told =
        |line: &&str| !(line.starts_with(' ') && line.contains(LAYERS[4].trim_end_matches(": ")));
    let lines: Vec<&str> = text.lines().filter(is_told).collect();
    match lines.as_slice() {
        // Of a named profile that has none, or isn't there.
        [one] if *one == LAYERS[4].trim_end_matches(": ") => {
            "no credentials found in the profile".to_owned()
        }
        [one] => one.trim_end_matches(". Attempted:").to_owned(),
        several => several.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a screen full of what the SDK looked at, where one line says it.
    #[test]
    fn what_was_never_answered_is_told_in_a_line() {
        let chain = "dispatch failure: other: the credential provider was not enabled: no \
                     credentials found in chain. Attempted:\n    Environment: the credential \
                     provider was not enabled: environment variable not set\n    Profile: the \
                     credential provider was not enabled";
        assert_eq!(plain(chain), "no credentials found in chain");
        let sso = format!("{chain}\n    Profile: the SSO session has expired");
        assert!(
            plain(&sso).ends_with("Attempted:\n    Profile: the SSO session has expired"),
            "{}",
            plain(&sso)
        );
        let refused = "dispatch failure: io error: client error (Connect): tcp connect error: \
                       Connection refused (os error 111)";
        assert_eq!(plain(refused), "tcp connect error: Connection refused (os error 111)");
        let profile = "dispatch failure: other: the credential provider was not enabled";
        assert_eq!(plain(profile), "no credentials found in the profile");
        assert_eq!(plain("response error"), "response error");
    }
}
