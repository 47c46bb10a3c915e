//! What the cloud writes down ([`record`]), and what it asks the outside to do ([`effect`]).

pub mod effect;
pub mod record;

pub use effect::Effect;
pub use record::{Call, Event};

use std::collections::VecDeque;

use jiff::Timestamp;

/// What services tell the cloud: what happened, and what is to be done about it, in order.
#[derive(Default)]
pub(crate) struct Journal {
    events: Vec<Event>,
    effects: VecDeque<(Timestamp, Effect)>,
}

impl Journal {
    pub(crate) fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// All that happened so far.
    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn effect(&mut self, at: Timestamp, effect: Effect) {
        self.effects.push_back((at, effect));
    }

    /// The next thing to do that nobody has taken yet, and since when it is to be done.
    pub(crate) fn take_effect(&mut self) -> Option<(Timestamp, Effect)> {
        self.effects.pop_front()
    }
}
