//! What is waited for, as a line that moves on a terminal and as lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What stands before the text: the spinner and the time, such as `⠒ [59m59s] `.
const BEFORE: usize = 12;

/// A spinner with the time that has passed. The time comes first: the end of a line may be cut.
pub(super) fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Both on one line where they fit it. Otherwise what was seen, the counts, has a line of its own:
/// only what is longer than that is cut.
pub(super) fn fitted(what: &str, seen: &str, columns: usize) -> String {
    let room = columns.saturating_sub(BEFORE);
    let seen = one_line(seen);
    let whole = format!("waiting for {}: {seen}", one_line(what));
    if console::measure_text_width(&whole) <= room {
        return whole;
    }
    let cut = |text: &str, room: usize| console::truncate_str(text, room, "…").into_owned();
    format!(
        "{}\n    {}",
        cut(&format!("waiting for {}", one_line(what)), room),
        cut(&seen, columns.saturating_sub(5))
    )
}

/// The same as a line of a log, with the time where some has passed.
pub(super) fn line(what: &str, seen: &str, since: Duration) -> String {
    let time = if since.as_secs() == 0 {
        String::new()
    } else {
        format!(" ({})", crate::model::text::human(since))
    };
    format!("waiting for {what}: {seen}{time}")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a count that stands behind the edge of the terminal.
    #[test]
    fn what_was_seen_is_shown_however_long_what_is_waited_for_is() {
        let what = "the instances of block sb-0123456789 to join the cluster";
        assert_eq!(fitted(what, "2 of 3", 140), format!("waiting for {what}: 2 of 3"));
        assert_eq!(
            fitted(what, "2 of 3 joined", 80),
            format!("waiting for {what}\n    2 of 3 joined")
        );
        for columns in [20, 40, 80] {
            let shown = fitted(what, &"long\nwords ".repeat(20), columns);
            assert!(
                shown.lines().all(|line| console::measure_text_width(line) < columns),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_log_has_the_time_once_some_has_passed() {
        assert_eq!(line("a", "1 of 2", Duration::ZERO), "waiting for a: 1 of 2");
        assert_eq!(
            line("a", "1 of 2", Duration::from_secs(62)),
            "waiting for a: 1 of 2 (1 min 2 s)"
        );
    }
}
