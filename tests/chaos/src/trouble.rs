//! What is wrong with AWS for a while: calls that fail, hang, are throttled or lose their answers.

use fastrand::Rng;
use jiff::Timestamp;
use localcloud_core::Fault;
use localcloud_core::cloud::faults::{Effect, Who};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The agent, or the ECS agent.
    Instance,
    /// The provisioner.
    User,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody answers: the connection is refused at once.
    Refuse,
    /// No answer, for longer than anybody waits.
    Hang,
    /// An error of AWS's own.
    Failure,
    /// Too many calls.
    Throttle,
    /// It has its effect, and the answer is lost.
    LostAnswer,
    /// It has its effect, and the answer comes late.
    Slow,
}

impl Kind {
    /// The same as a line of the local cloud's fault script, for one call.
    #[must_use]
    pub fn fault(self, who: Who) -> Fault {
        let effect = match self {
            Self::Refuse | Self::Hang => Effect::Hang { secs: 60 },
            Self::Failure => Effect::Fail {
                code: "InternalError".into(),
                status: 500,
                message: "An internal error".into(),
            },
            Self::Throttle => Effect::Throttle,
            Self::LostAnswer => Effect::LostAnswer,
            Self::Slow => Effect::Slow { millis: 3_000 },
        };
        Fault { service: None, operation: None, caller: Some(who), skip: 0, count: 1, effect }
    }
}

/// A time in which calls fail.
#[derive(Clone, Debug)]
pub struct Window {
    /// Whose calls.
    pub caller: Caller,
    /// The service; left out, any.
    pub service: Option<&'static str>,
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How many of a hundred calls.
    pub percent: u8,
    /// What happens to them.
    pub kind: Kind,
}

/// All that is wrong, and the dice.
#[derive(Debug)]
pub struct Troubles {
    /// The times of trouble.
    pub windows: Vec<Window>,
    dice: Rng,
}

impl Troubles {
    /// None so far.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { windows: Vec::new(), dice: Rng::with_seed(seed) }
    }

    /// What befalls this call.
    pub fn strike(&mut self, now: Timestamp, caller: Caller, service: &str) -> Option<Kind> {
        let hits = |it: &&Window| {
            it.caller == caller
                && it.from <= now
                && now < it.until
                && it.service.is_none_or(|wanted| wanted == service)
        };
        let window = self.windows.iter().find(hits)?;
        (self.dice.u8(0..100) < window.percent).then_some(window.kind)
    }
}
