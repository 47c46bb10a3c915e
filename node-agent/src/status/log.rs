//! The log: lines for people or JSON objects, on standard error, from where systemd takes them into
//! the journal.

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::settings::LogFormat;
use crate::status::problems::Problems;

/// Takes what is logged, and writes it in this format; problems are shown to `problems` too.
/// `verbose` lets through what the watchers see.
pub fn subscriber<W>(
    format: LogFormat,
    verbose: bool,
    problems: Problems,
    writer: W,
) -> impl Subscriber + Send + Sync + 'static
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    // The SDK's own debug output holds requests and answers, credentials among them: it is never
    // let through.
    let own = if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
    // Not an EnvFilter, which nothing would feed: it brings a quarter of a megabyte of regular
    // expressions.
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("spotblock_agent", own);
    let text = (format == LogFormat::Text)
        .then(|| fmt::layer().with_writer(writer.clone()).with_ansi(false));
    let json = (format == LogFormat::Json)
        .then(|| fmt::layer().with_writer(writer).with_ansi(false).json().flatten_event(true));
    tracing_subscriber::registry().with(filter).with(problems).with(text).with(json)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, some: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(some);
            Ok(some.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, verbose: bool) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        tracing::subscriber::with_default(
            subscriber(format, verbose, Problems::default(), move || writer.clone()),
            || {
                tracing::info!(from = "serving", to = "draining", why = "drain-time", "transition");
                tracing::debug!("what a watcher sees");
                tracing::debug!(target: "aws_smithy_runtime", secret = "x", "a request with its \
                    credentials");
                tracing::info!(target: "hyper", "a connection");
                tracing::warn!(target: "aws_config", "somebody else's warning");
            },
        );
        let bytes = kept.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    /// Catches: a line that is no object, and one that hides what it tells in a nested one.
    #[test]
    fn the_log_is_lines_for_people_or_an_object_a_line() {
        let text = logged(LogFormat::Text, false);
        let line = r#"transition from="serving" to="draining" why="drain-time""#;
        assert!(text.lines().next().expect("a line").ends_with(line), "{text}");
        let json = logged(LogFormat::Json, false);
        let lines: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        assert_eq!(lines.len(), 2, "{json}");
        let told =
            ["message", "from", "to", "why", "level"].map(|key| lines[0][key].as_str().expect(key));
        assert_eq!(told, ["transition", "serving", "draining", "drain-time", "INFO"]);
    }

    /// Catches: credentials in the journal, by way of the SDK's own words.
    #[test]
    fn of_others_words_only_warnings_are_logged_however_much_is_asked_for() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (usual, verbose) = (logged(format, false), logged(format, true));
            assert!(
                !usual.contains("what a watcher sees") && verbose.contains("what a watcher sees"),
                "{verbose}"
            );
            assert!(
                usual.contains("somebody else's warning")
                    && verbose.contains("somebody else's warning")
            );
            assert!(
                !verbose.contains("credentials") && !verbose.contains("a connection"),
                "{verbose}"
            );
        }
    }
}
