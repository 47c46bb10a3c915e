//! How moments and counts are written for people.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::text::human;

/// How far away a moment is, in one unit: a column is narrow.
#[must_use]
pub(crate) fn away(at: Timestamp, now: Timestamp) -> String {
    let away = now.duration_until(at);
    let size = match away.abs().as_secs() {
        secs @ 0..120 => format!("{secs} s"),
        secs @ 120..7200 => format!("{} min", (secs + 30) / 60),
        secs => format!("{} h", (secs + 1800) / 3600),
    };
    if away.is_negative() { format!("{size} ago") } else { format!("in {size}") }
}

/// A time of day, local.
#[must_use]
pub(crate) fn clock(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// The same with its day, where that isn't today.
fn dated(at: Timestamp, now: Timestamp, zone: TimeZone) -> String {
    let (at, now) = (at.to_zoned_datetime(zone.clone()), now.to_zoned_datetime(zone));
    at.strftime(if at.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
}

/// So many of a thing, such as `1 instance` and `2 instances`.
#[must_use]
pub(crate) fn many(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A moment, local and relative.
#[must_use]
pub(crate) fn moment(at: Timestamp, now: Timestamp) -> String {
    let local = dated(at, now, TimeZone::system());
    let away = now.duration_until(at);
    let size = human(rounded(away.abs()).unsigned_abs());
    if away.is_negative() {
        format!("{local} ({size} ago)")
    } else {
        format!("{local} (in {size})")
    }
}

/// How long ago a moment was, such as `3 min`.
#[must_use]
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let away = at.duration_until(now).max(SignedDuration::ZERO);
    human(rounded(away).unsigned_abs())
}

/// Seconds matter below ten minutes only.
pub(crate) fn rounded(duration: SignedDuration) -> SignedDuration {
    if duration < SignedDuration::from_mins(10) {
        return duration;
    }
    SignedDuration::from_mins(duration.saturating_add(SignedDuration::from_secs(30)).as_mins())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_shows_a_moment_in_one_unit() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().expect("a time");
        let of = |secs| away(now + SignedDuration::from_secs(secs), now);
        assert_eq!(
            [of(0), of(119), of(120), of(7199)],
            ["in 0 s", "in 119 s", "in 2 min", "in 120 min"]
        );
        assert_eq!([of(7200), of(-1), of(-600)], ["in 2 h", "1 s ago", "10 min ago"]);
    }

    /// Catches: a block of days whose end looks as if it were today.
    #[test]
    fn a_moment_of_another_day_has_its_date() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().expect("a time");
        let of = |hours| dated(now + SignedDuration::from_hours(hours), now, TimeZone::UTC);
        assert_eq!(
            [of(13), of(14), of(-11)],
            ["23:00:00", "2026-11-25 00:00:00", "2026-11-23 23:00:00"]
        );
    }

    #[test]
    fn moments_are_relative_both_ways() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().expect("a time");
        assert!(moment(now + SignedDuration::from_secs(42 * 60 + 7), now).ends_with("(in 42 min)"));
        assert!(moment(now + SignedDuration::from_millis(3_599_600), now).ends_with("(in 1 h)"));
        assert!(moment(now + SignedDuration::from_secs(65), now).ends_with("(in 1 min 5 s)"));
        assert!(moment(now - SignedDuration::from_secs(3700), now).ends_with("(1 h 2 min ago)"));
    }
}
