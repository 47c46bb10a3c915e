//! Bounded waits: they start at one second, back off to fifteen with jitter, survive single
//! failures, and say what they wait for.

use std::cell::RefCell;
use std::time::Duration;

use crate::model::error::{Error, Result};
use crate::runtime::clock::Clock;
use crate::terminal::Ui;

/// A new profile takes seconds to be usable `[I]`; a describe after a creation, less.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How much longer the first pause is for each hundred things.
const FOR_A_HUNDRED: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What a look at the awaited thing gave.
#[derive(Debug)]
pub(crate) enum Poll<T> {
    /// It is there.
    Done(T),
    /// Not yet; the text says what was seen.
    NotYet(String),
}

/// What every wait needs.
pub(crate) struct Waits {
    clock: Clock,
    rng: RefCell<fastrand::Rng>,
}

/// One wait's description and bound.
#[derive(Clone, Debug)]
pub(crate) struct WaitSpec {
    /// What is waited for, such as `compute environment x to be VALID`.
    pub what: String,
    /// How long.
    pub limit: Duration,
    /// What to do when it does not come.
    pub next: String,
}

impl Waits {
    /// Waits on this clock, with jitter from this seed.
    #[must_use]
    pub(crate) fn new(clock: Clock, seed: u64) -> Self {
        Self { clock, rng: RefCell::new(fastrand::Rng::with_seed(seed)) }
    }

    /// The clock of the waits.
    #[must_use]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// `digits` random hexadecimal digits.
    pub(crate) fn hex(&self, digits: usize) -> String {
        let mut rng = self.rng.borrow_mut();
        (0..digits).map(|_| char::from_digit(rng.u32(0..16), 16).unwrap_or('0')).collect()
    }

    /// A pause of `base` more or less a fifth, so that many waiters don't ask in step.
    pub(crate) fn jittered(&self, base: Duration) -> Duration {
        base.mul_f64(0.8 + 0.4 * self.rng.borrow_mut().f64())
    }

    /// Looks until the thing is there. A look that fails in a way that may pass is another "not
    /// yet".
    ///
    /// # Errors
    /// [`Error::timed_out`] at the bound, with what was seen last; any failure that will not pass,
    /// at once.
    pub(crate) async fn until<T>(
        &self,
        ui: &Ui,
        bound: WaitSpec,
        look: impl AsyncFnMut() -> Result<Poll<T>>,
    ) -> Result<T> {
        self.until_all(ui, bound, 1, look).await
    }

    /// The same for `count` things, whose looks cost the more calls the more there are: the pauses
    /// begin longer.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub(crate) async fn until_all<T>(
        &self,
        ui: &Ui,
        bound: WaitSpec,
        count: usize,
        mut look: impl AsyncFnMut() -> Result<Poll<T>>,
    ) -> Result<T> {
        let start = self.clock.now();
        let more = FOR_A_HUNDRED * u32::try_from(count / 100).unwrap_or(u32::MAX).min(30);
        let (mut pause, mut slept) = ((FIRST_PAUSE + more).min(LONGEST_PAUSE), Duration::ZERO);
        loop {
            let seen = match look().await {
                Ok(Poll::Done(value)) => {
                    ui.waited();
                    return Ok(value);
                }
                Ok(Poll::NotYet(seen)) => seen,
                Err(error) if error.is_transient() => error.to_string(),
                Err(error) => {
                    ui.waited();
                    return Err(error);
                }
            };
            // A clock that is set back meanwhile must not make a wait endless.
            let left = bound.limit.saturating_sub(since(start, self.clock.now()).max(slept));
            if left.is_zero() {
                ui.waited();
                let WaitSpec { what, limit, next } = bound;
                return Err(Error::timed_out(what, limit, seen, next));
            }
            ui.waiting(&bound.what, &seen, since(start, self.clock.now()).max(slept));
            let this = self.jittered(pause).min(left);
            self.clock.sleep(this).await;
            slept += this;
            pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
        }
    }
}

/// How long it is from then to now; nothing where the clock was set back.
#[must_use]
pub(crate) fn since(start: jiff::Timestamp, now: jiff::Timestamp) -> Duration {
    start.duration_until(now).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::model::error::{AwsError, AwsErrorKind, ErrorKind};
    use crate::testing;

    fn bound() -> WaitSpec {
        WaitSpec { what: "a thing".into(), limit: Duration::from_secs(120), next: "look".into() }
    }

    fn failure(kind: AwsErrorKind) -> Error {
        let message = "down".to_owned();
        let (resource, code, request_id) = ("r".to_owned(), None, None);
        Box::new(AwsError { action: "ec2:X", resource, kind, code, message, request_id }).into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_bound_and_says_what_it_saw() {
        let clock = testing::clock();
        let waits = Waits::new(clock.clone(), 1);
        let (start, looks) = (clock.now(), Cell::new(0));
        let result: Result<()> = waits
            .until(&Ui::silent(), bound(), async || {
                looks.set(looks.get() + 1);
                Ok(Poll::NotYet("CREATING".into()))
            })
            .await;
        let error = result.expect_err("it never came");
        assert_eq!((error.kind(), error.last_seen()), (ErrorKind::TimedOut, Some("CREATING")));
        let took = since(start, clock.now()).as_secs();
        assert!((119..=121).contains(&took), "{took}");
        // 1 s, then ever longer: neither a busy loop nor a minute's silence.
        assert!((10..=20).contains(&looks.get()), "{}", looks.get());
    }

    #[tokio::test(start_paused = true)]
    async fn single_failures_are_survived_and_lasting_ones_end_the_wait_at_once() {
        let waits = Waits::new(testing::clock(), 1);
        let looks = Cell::new(0);
        let done = waits
            .until(&Ui::silent(), bound(), async || {
                looks.set(looks.get() + 1);
                if looks.get() < 3 {
                    Err(failure(AwsErrorKind::Throttled))
                } else {
                    Ok(Poll::Done(looks.get()))
                }
            })
            .await;
        assert_eq!(done.expect("it came"), 3);
        let denied: Result<()> =
            waits.until(&Ui::silent(), bound(), async || Err(failure(AwsErrorKind::Denied))).await;
        assert!(denied.expect_err("at once").is_aws(AwsErrorKind::Denied));
    }
}
