//! What somebody else does with the block meanwhile.

use std::time::Duration;

use fastrand::Rng;

use super::Plan;
use crate::other::{At, Other, mishap};
use crate::provision::Mishap;

/// How often `reap` is run where it is what ends a host.
const REAPS: Duration = Duration::from_secs(300);

impl Plan {
    /// Most in time, some around the drain, where it may be too late.
    pub(super) fn extended(&mut self, dice: &mut Rng) {
        for _ in 0..dice.usize(1..=2) {
            let by = Duration::from_secs(dice.u64(300..=1_200));
            let other = Other::extend(self.moment(dice), by, dice);
            self.others.push(other);
        }
    }

    pub(super) fn reaped(&mut self, dice: &mut Rng) {
        self.reaps = Some(Duration::from_secs(dice.u64(60..=600)));
        // A capacity block's record is of use for a day.
        self.reaped = dice.bool() && !self.is_bought_for_good();
    }

    /// From the story's beginning on, when nothing is there yet.
    pub(super) fn beside(&mut self, dice: &mut Rng) {
        let soon = |dice: &mut Rng| At::Start(Duration::from_millis(dice.u64(0..=60_000)));
        let what = dice.u8(0..3);
        if what != 2 {
            let at = soon(dice);
            self.others.push(Other::of(at, &self.up(), mishap(dice, 50)));
        }
        if what != 0 {
            let at = soon(dice);
            let words: &[&str] = if dice.bool() { &["down"] } else { &["down", "--now"] };
            self.others.push(Other::of(at, words, mishap(dice, 20)));
        }
    }

    /// Half of them without schedules: `reap` is all that is left.
    pub(super) fn outlived(&mut self, dice: &mut Rng) {
        if dice.bool() {
            self.schedules = false;
            self.config =
                self.config.replace("[environment]\n", "[environment]\nschedules = false\n");
        }
        self.reaps.get_or_insert(REAPS);
    }
}

/// The same block in a capacity block, by the day and where some are on offer.
pub(super) fn in_capacity_block(config: &str) -> String {
    let config = config.replace("\"60m\"", "\"24h\"").replace("\"c5.large\"", "\"p5.4xlarge\"");
    let config =
        config.replace("subnet-c8d30ae4", "subnet-1b6e40a1").replace("zone = \"us-east-1c\"\n", "");
    config.replace("max-price = 0.5\n", "")
}

impl Plan {
    /// Whether its instances run in a capacity block, which is paid at once.
    #[must_use]
    pub fn is_bought_for_good(&self) -> bool {
        self.config.contains("\"capacity-block\"")
    }

    /// `up`, with all the consent that its purchases need.
    #[must_use]
    pub fn up(&self) -> Vec<&'static str> {
        let consent: &[&str] = if self.is_bought_for_good() {
            &["--yes-purchase", "--max-cost", "100000"]
        } else {
            &[]
        };
        [&["up", "--yes"], consent].concat()
    }

    /// Whether a run of one of these commands may take what another one brings.
    #[must_use]
    pub fn runs(&self, command: &str) -> bool {
        self.others.iter().any(|other| other.words[0] == command)
    }

    /// Whether nothing befalls what is run meanwhile.
    #[must_use]
    pub fn company_is_calm(&self) -> bool {
        let calm = |mishap: &Mishap| mishap.kill.is_none() && mishap.trouble.is_none();
        self.others.iter().all(|other| calm(&other.mishap))
    }
}
