//! The block's settings in user data that others have put together. `spotblock` writes them as
//! plain text, alone or as a part of a MIME message; cloud-init's own `make-mime` encodes the parts
//! of its messages.

use aws_smithy_types::base64;
use node_contract::{ConfigError, NodeConfig, user_data};

/// How a part's header says that it is encoded.
const ENCODED: &str = "content-transfer-encoding: base64";

/// Finds and reads the settings, in plain sight or in a part that is encoded.
///
/// # Errors
/// As of [`user_data::extract`]: of the text, or of the first part that has settings.
pub(crate) fn settings_in(text: &str) -> Result<NodeConfig, ConfigError> {
    let plain = user_data::extract(text);
    if !matches!(plain, Err(ConfigError::NoSettings)) {
        return plain;
    }
    let mut parts = encoded_parts(text).map(|part| user_data::extract(&part));
    parts.find(|found| !matches!(found, Err(ConfigError::NoSettings))).unwrap_or(plain)
}

/// The texts of the parts that are encoded.
fn encoded_parts(text: &str) -> impl Iterator<Item = String> {
    let mut lines = text.lines().map(str::trim);
    std::iter::from_fn(move || {
        lines.find(|line| line.eq_ignore_ascii_case(ENCODED))?;
        // The part's other headers end with an empty line, and the part with another or its
        // boundary.
        let body = lines.by_ref().skip_while(|line| !line.is_empty()).skip(1);
        Some(
            body.take_while(|line| !line.is_empty() && !line.starts_with("--")).collect::<String>(),
        )
    })
    .filter_map(|body| String::from_utf8(base64::decode(body).ok()?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;

    /// As Python's email package writes them, which is what cloud-init's `make-mime` does.
    fn message(script: &str) -> String {
        let encoded = base64::encode(script);
        let wrapped: Vec<&str> = encoded
            .as_bytes()
            .chunks(76)
            .filter_map(|line| std::str::from_utf8(line).ok())
            .collect();
        let part = |kind: &str, body: &str| {
            format!(
                "--===7==\nContent-Type: text/{kind}; charset=\"utf-8\"\nMIME-Version: \
                 1.0\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; \
                 filename=\"x\"\n\n{body}\n\n"
            )
        };
        let other = part("cloud-config", &base64::encode("#cloud-config\nruncmd: []\n"));
        let own = part("x-shellscript", &wrapped.join("\n"));
        format!(
            "Content-Type: multipart/mixed; boundary=\"===7==\"\nMIME-Version: \
             1.0\n\n{other}{own}--===7==--\n"
        )
    }

    #[test]
    fn settings_in_an_encoded_part_of_a_mime_message_are_found() {
        let script = format!("#!/bin/sh\n{}echo started\n", user_data::embed(&config()));
        let mime = message(&script);
        let headers = mime.replace("Content-Transfer-Encoding", "content-transfer-encoding");
        for text in [script, mime.replace('\n', "\r\n"), headers, mime] {
            assert_eq!(settings_in(&text).expect("found"), config(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_settings_in_an_encoded_part_is_told() {
        let embedded = user_data::embed(&config());
        let cut = &embedded[..embedded.len() - user_data::END.len() - 1];
        assert!(matches!(settings_in(&message(cut)), Err(ConfigError::CutOff)));
        for foreign in [
            "#!/bin/sh\necho hello\n".to_owned(),
            message("#!/bin/sh\n"),
            message("").replace('=', "*"),
        ] {
            assert!(matches!(settings_in(&foreign), Err(ConfigError::NoSettings)), "{foreign}");
        }
    }
}
