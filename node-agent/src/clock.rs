//! The only reader of clocks: the time of the block, and the [`Beat`] of all that is looked at
//! again and again.
//!
//! A block's end is a wall time, but a host's wall clock can be set while the block runs. So the
//! wall time is taken once per boot, from the Date of an answer of IMDS (`[A]`: that it sends one,
//! and the right one), and counted on CLOCK_BOOTTIME from there, which nobody sets and which goes
//! on while the host is suspended. Later jumps of the wall clock are reported as skew and move
//! nothing.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use jiff::{SignedDuration, Timestamp};
use nix::time::ClockId;

use crate::ports::{Anchor, AnchorSource, Clock};

/// What a host's clocks show.
pub trait HostClocks: Send + Sync {
    /// What the wall clock shows, right or wrong.
    fn wall(&self) -> Timestamp;
    /// How long the host has been up, time suspended included.
    fn up(&self) -> SignedDuration;
    /// The id of this boot; empty if the kernel doesn't tell.
    fn boot_id(&self) -> String;
}

/// The clocks of the host that this process runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel;

impl HostClocks for Kernel {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place where the wall clock is read"
    )]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn up(&self) -> SignedDuration {
        // The clock exists since Linux 2.6.39, so this can't fail; zero would only mean that time
        // stands still.
        ClockId::CLOCK_BOOTTIME
            .now()
            .map(|time| SignedDuration::new(time.tv_sec(), clamp_nanos(time.tv_nsec())))
            .unwrap_or_default()
    }

    fn boot_id(&self) -> String {
        let boot_id = std::fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"));
        boot_id.map(|id| id.trim().to_owned()).unwrap_or_default()
    }
}

/// How far apart the wall clock and a Date can be while both are right: a Date counts whole
/// seconds, and an answer takes a moment.
const AGREEMENT: SignedDuration = SignedDuration::from_secs(2);

/// A Date falls on average half a second behind the moment it was made.
const HALF_A_SECOND: SignedDuration = SignedDuration::from_millis(500);

/// A Date and the moment it came.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    date: Timestamp,
    up: SignedDuration,
    wall: Timestamp,
}

/// The time of a block, counted on CLOCK_BOOTTIME.
pub struct BootClock {
    host: Box<dyn HostClocks>,
    /// The wall time of the boot, in nanoseconds since 1970.
    booted_at: AtomicI64,
    /// The same by the last Date, for signing: AWS refuses what it thinks is minutes old, whatever
    /// the block is measured by.
    signs_by: AtomicI64,
    source: Mutex<AnchorSource>,
    sighting: Mutex<Option<Sighting>>,
    boot_id: String,
}

impl BootClock {
    /// A clock that goes by the wall clock of this moment, until it is anchored.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::on(Box::new(Kernel))
    }

    /// The same, on a host with these clocks.
    #[must_use]
    pub fn on(host: Box<dyn HostClocks>) -> Self {
        let (boot_id, booted_at) = (host.boot_id(), booted_at(host.wall(), host.up()));
        let clock = Self {
            host,
            booted_at: AtomicI64::new(0),
            signs_by: AtomicI64::new(0),
            source: Mutex::new(AnchorSource::WallClock),
            sighting: Mutex::new(None),
            boot_id,
        };
        clock.count_from(booted_at, AnchorSource::WallClock);
        clock
    }

    /// Takes note of a Date header. Anything that isn't a date is passed over.
    pub fn saw_date(&self, header: &str) {
        if let Ok(date) = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header)
            && let Ok(mut sighting) = self.sighting.lock()
        {
            let seen = Sighting { date, up: self.host.up(), wall: self.host.wall() };
            *sighting = Some(seen);
            self.anchor_again(seen);
        }
    }

    /// A clock that has gone by the wall clock so far goes by the Date from now on, if that brings
    /// the end nearer. The other way it would give time back that AWS may not give; then the Date
    /// only serves for signing.
    fn anchor_again(&self, seen: Sighting) {
        let Ok(mut source) = self.source.lock() else { return };
        if *source == AnchorSource::Date {
            return;
        }
        let by_date = anchored(seen);
        self.signs_by.store(nanos(by_date), Ordering::Relaxed);
        if self.booted_at.load(Ordering::Relaxed) <= nanos(by_date) {
            self.booted_at.store(nanos(by_date), Ordering::Relaxed);
            *source = AnchorSource::Date;
        }
    }

    /// Anchors the clock to what was seen, and returns the anchor to be kept for this boot.
    pub(crate) fn anchor(&self) -> Anchor {
        let sighting = self.sighting.lock().ok().and_then(|sighting| *sighting);
        let (booted_at, source) = match sighting {
            Some(sighting) => (anchored(sighting), AnchorSource::Date),
            None => (booted_at(self.host.wall(), self.host.up()), AnchorSource::WallClock),
        };
        self.count_from(booted_at, source);
        Anchor { boot_id: self.boot_id.clone(), booted_at, source }
    }

    /// The id of this boot; empty if the kernel doesn't tell.
    #[must_use]
    pub(crate) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Takes up an anchor of this boot. Returns false, and changes nothing, when it is of another
    /// one.
    pub fn resume(&self, anchor: &Anchor) -> bool {
        self.resume_in(anchor, &self.boot_id)
    }

    /// The same where this boot is known by an id that may be another one than this process sees.
    pub(crate) fn resume_in(&self, anchor: &Anchor, boot_id: &str) -> bool {
        let same = !boot_id.is_empty() && anchor.boot_id == boot_id;
        if same {
            self.count_from(anchor.booted_at, anchor.source);
        }
        same
    }

    /// Now, where the boot was so many nanoseconds after 1970.
    fn since(&self, booted_at: &AtomicI64) -> Timestamp {
        let booted_at = Timestamp::from_nanosecond(booted_at.load(Ordering::Relaxed).into());
        booted_at.unwrap_or_default().checked_add(self.host.up()).unwrap_or(Timestamp::MAX)
    }

    fn count_from(&self, booted_at: Timestamp, source: AnchorSource) {
        self.booted_at.store(nanos(booted_at), Ordering::Relaxed);
        self.signs_by.store(nanos(booted_at), Ordering::Relaxed);
        *self.source.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = source;
    }
}

/// The moments at which whatever looks for something again and again looks. They are the same for
/// all, so that looks whose paces are multiples of each other share one wake-up of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    start: tokio::time::Instant,
    lead: Duration,
}

impl Beat {
    /// A beat that began `lead` ago: two agents that start together and have different leads don't
    /// look together.
    #[expect(clippy::disallowed_methods, reason = "this is where clocks are read")]
    #[must_use]
    pub(crate) fn new(lead: Duration) -> Self {
        Self { start: tokio::time::Instant::now(), lead }
    }

    /// How many times `every` has come.
    #[must_use]
    pub(crate) fn count(self, every: Duration) -> u64 {
        u64::try_from(self.gone().as_nanos() / every.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    /// When it comes the next time. Exactly the same moment for all who ask: those a microsecond
    /// apart would be woken one after the other.
    #[must_use]
    pub(crate) fn next(self, every: Duration) -> tokio::time::Instant {
        let count = u32::try_from(self.count(every)).unwrap_or(u32::MAX);
        let gone = every.saturating_mul(count.saturating_add(1));
        self.start + gone.saturating_sub(self.lead)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where clocks are read")]
    fn gone(self) -> Duration {
        tokio::time::Instant::now().duration_since(self.start) + self.lead
    }
}

impl Default for BootClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for BootClock {
    fn now(&self) -> Timestamp {
        self.since(&self.booted_at)
    }

    fn skew(&self) -> SignedDuration {
        self.now().duration_until(self.host.wall())
    }

    fn anchored(&self) -> Anchor {
        let source = *self.source.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let booted_at = Timestamp::from_nanosecond(self.booted_at.load(Ordering::Relaxed).into())
            .unwrap_or_default();
        Anchor { boot_id: self.boot_id.clone(), booted_at, source }
    }
}

impl fmt::Debug for BootClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootClock").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The block's time for the SDK: it signs requests and judges tokens by it, and a wrong wall clock
/// would make AWS refuse them.
#[must_use]
pub(crate) fn sdk_time(clock: &Arc<BootClock>) -> SharedTimeSource {
    SharedTimeSource::new(SdkTime(Arc::clone(clock)))
}

#[derive(Debug)]
struct SdkTime(Arc<BootClock>);

impl TimeSource for SdkTime {
    fn now(&self) -> SystemTime {
        let nanos =
            u64::try_from(self.0.since(&self.0.signs_by).as_nanosecond()).unwrap_or_default();
        UNIX_EPOCH + Duration::from_nanos(nanos)
    }
}

fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn booted_at(wall: Timestamp, up: SignedDuration) -> Timestamp {
    wall.checked_sub(up).unwrap_or(Timestamp::MIN)
}

/// The wall time of the boot, by a Date. Where the wall clock agrees with the Date it is right, and
/// finer.
fn anchored(sighting: Sighting) -> Timestamp {
    let off = sighting.date.duration_until(sighting.wall);
    if -AGREEMENT <= off && off <= AGREEMENT {
        booted_at(sighting.wall, sighting.up)
    } else {
        booted_at(sighting.date.checked_add(HALF_A_SECOND).unwrap_or(Timestamp::MAX), sighting.up)
    }
}

fn clamp_nanos(nanos: i64) -> i32 {
    i32::try_from(nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: looks that drift apart, each with a wake-up of its own.
    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the paused clock itself")]
    async fn the_beat_is_the_same_for_all_paces_and_doesnt_drift() {
        let started = tokio::time::Instant::now();
        let beat = Beat::new(Duration::from_secs(7));
        let (second, five) = (Duration::from_secs(1), Duration::from_secs(5));
        assert_eq!((beat.count(five), beat.next(five) - started), (1, Duration::from_secs(3)));
        assert_eq!(beat.next(second) - started, second);
        for _ in 0..2 {
            tokio::time::sleep_until(beat.next(five)).await;
            // However long a look takes, the next one is on the beat.
            tokio::time::sleep(Duration::from_millis(1_234)).await;
        }
        assert_eq!((beat.count(five), beat.next(five) - started), (3, Duration::from_secs(13)));
        tokio::time::sleep_until(beat.next(second)).await;
        tokio::time::sleep_until(beat.next(second)).await;
        assert_eq!(beat.next(five) - started, Duration::from_secs(13));
    }

    const SECOND: SignedDuration = SignedDuration::from_secs(1);

    fn sighting(date: &str, wall: &str) -> Sighting {
        Sighting {
            date: date.parse().expect("a date"),
            up: SignedDuration::from_secs(100),
            wall: wall.parse().expect("a wall time"),
        }
    }

    #[test]
    fn a_wall_clock_that_agrees_with_the_date_gives_the_fraction() {
        let at = anchored(sighting("2026-11-24T10:01:40Z", "2026-11-24T10:01:40.7Z"));
        assert_eq!(at.to_string(), "2026-11-24T10:00:00.7Z");
    }

    #[test]
    fn a_wall_clock_that_is_hours_off_is_overruled_by_the_date() {
        for wall in ["2026-11-24T04:00:00Z", "2026-11-25T00:00:00Z"] {
            let at = anchored(sighting("2026-11-24T10:01:40Z", wall));
            assert_eq!(at.to_string(), "2026-11-24T10:00:00.5Z");
        }
    }

    #[test]
    fn without_a_date_the_wall_clock_serves_and_the_anchor_says_so() {
        let clock = BootClock::new();
        clock.saw_date("soon");
        assert_eq!(clock.anchor().source, AnchorSource::WallClock);
        assert!(clock.skew().abs() < SECOND, "{}", clock.skew());
    }

    /// Catches: a date format that IMDS doesn't use, and an anchor that is computed but not counted
    /// from.
    #[test]
    fn a_date_header_anchors_the_clock() {
        let clock = BootClock::new();
        clock.saw_date("Tue, 24 Nov 2020 11:15:44 GMT");
        let anchor = clock.anchor();
        assert_eq!(anchor.source, AnchorSource::Date);
        let date: Timestamp = "2020-11-24T11:15:44.5Z".parse().expect("a time");
        assert!(date.duration_until(clock.now()).abs() < SECOND, "{clock:?}");
        assert!(clock.skew() > SignedDuration::from_hours(24), "{}", clock.skew());
    }

    #[test]
    fn an_anchor_is_taken_up_in_its_own_boot_only() {
        let first = BootClock::new();
        first.saw_date("Tue, 24 Nov 2020 11:15:44 GMT");
        let anchor = first.anchor();
        let second = BootClock::new();
        assert!(!second.resume(&Anchor { boot_id: "another".into(), ..anchor.clone() }));
        assert!(second.skew().abs() < SECOND);
        assert!(second.resume(&anchor));
        assert!(first.now().duration_until(second.now()).abs() < SECOND);
    }

    /// Catches: a host whose wall clock was behind at its boot, and that lives on beyond its block
    /// for that; and a Date that gives a block more time.
    #[test]
    fn a_clock_without_a_date_is_anchored_again_when_one_comes_if_that_brings_the_end_nearer() {
        let ahead = BootClock::new();
        assert_eq!(ahead.anchor().source, AnchorSource::WallClock);
        ahead.saw_date("Tue, 24 Nov 2020 11:15:44 GMT");
        assert!(ahead.skew().abs() < SECOND, "the block keeps the time it had: {}", ahead.skew());
        assert_eq!(ahead.anchored().source, AnchorSource::WallClock);
        let signs: Timestamp = sdk_time(&Arc::new(ahead)).now().try_into().expect("a time");
        let date: Timestamp = "2020-11-24T11:15:44.5Z".parse().expect("a time");
        assert!(
            date.duration_until(signs).abs() < SECOND,
            "requests are signed by the Date: {signs}"
        );

        let behind = BootClock::new();
        behind.anchor();
        behind.saw_date("Sat, 24 Nov 2096 11:15:44 GMT");
        let date: Timestamp = "2096-11-24T11:15:44.5Z".parse().expect("a time");
        assert!(date.duration_until(behind.now()).abs() < SECOND, "{behind:?}");
        assert_eq!(behind.anchored().source, AnchorSource::Date);
        behind.saw_date("Sat, 24 Nov 2097 11:15:44 GMT");
        assert!(date.duration_until(behind.now()).abs() < SECOND, "once: {behind:?}");
    }
}
