//! Which points of a run a test goes through.

/// The points of a run with so many calls, counted from 1: all of them. Where the variable
/// `SPOTBLOCK_EVERY_NTH` says n, it is every nth, and another one of them in each process: that is
/// the quick loop of `make check`.
pub fn points(calls: usize) -> impl Iterator<Item = usize> {
    cases(1..=calls)
}

/// Those of these cases that a test goes through, chosen as [`points`] are.
pub fn cases<T>(all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let every = every_nth();
    let first = usize::try_from(std::process::id()).unwrap_or_default() % every;
    all.into_iter().enumerate().filter(move |(nth, _)| nth % every == first).map(|(_, case)| case)
}

/// Whether a test goes through all points, so that it may count what it met on the way.
#[must_use]
pub fn takes_all_points() -> bool {
    every_nth() == 1
}

#[expect(clippy::disallowed_methods, reason = "said to the tests, not to the program")]
fn every_nth() -> usize {
    let said = std::env::var("SPOTBLOCK_EVERY_NTH").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_points_are_gone_through_unless_somebody_asks_for_fewer() {
        let every = every_nth();
        let points: Vec<usize> = points(80).collect();
        assert_eq!(points.len(), 80 / every);
        assert!(points.iter().all(|point| (1..=80).contains(point)));
    }
}
