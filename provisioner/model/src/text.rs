//! Rules of texts: how durations are written for people, and what cloud-init takes.

use std::time::Duration;

/// A duration in whole seconds, as people write it.
#[must_use]
pub fn human(duration: Duration) -> String {
    let secs = duration.as_secs();
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// The type that cloud-init knows a text by; it warns about others.
#[must_use]
pub fn cloud_init_type(text: &str) -> Option<&'static str> {
    [
        ("#!", "text/x-shellscript"),
        ("#cloud-config", "text/cloud-config"),
        ("#cloud-boothook", "text/cloud-boothook"),
    ]
    .into_iter()
    .find(|(start, _)| text.starts_with(start))
    .map(|(_, kind)| kind)
}
