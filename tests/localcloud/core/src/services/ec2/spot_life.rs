//! What becomes of a spot request: evaluated, held, fulfilled, cancelled, expired, and what it
//! shows of its instance's end. AWS's status codes, with their messages in its words or near them
//! [A].

use std::sync::Arc;

use jiff::Timestamp;

use super::instance::{self, How, Market, Order};
use super::spot::{SpotRequest, State};
use super::tags::Tags;
use super::{Service, capacity, millis, prices};
use crate::protocol::options::{Pace, SpotFailure};

/// The status of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    NotScheduledYet,
    PendingEvaluation,
    PriceTooLow,
    CapacityNotAvailable,
    PendingFulfillment,
    Fulfilled,
    MarkedForTermination,
    ScheduleExpired,
    BadParameters,
    SystemError,
    LimitExceeded,
    CanceledBeforeFulfillment,
    CanceledAndInstanceRunning,
    TerminatedByUser,
    TerminatedBySchedule,
    TerminatedNoCapacity,
    TerminatedByService,
}

impl Status {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NotScheduledYet => "not-scheduled-yet",
            Self::PendingEvaluation => "pending-evaluation",
            Self::PriceTooLow => "price-too-low",
            Self::CapacityNotAvailable => "capacity-not-available",
            Self::PendingFulfillment => "pending-fulfillment",
            Self::Fulfilled => "fulfilled",
            Self::MarkedForTermination => "marked-for-termination",
            Self::ScheduleExpired => "schedule-expired",
            Self::BadParameters => "bad-parameters",
            Self::SystemError => "system-error",
            Self::LimitExceeded => "limit-exceeded",
            Self::CanceledBeforeFulfillment => "canceled-before-fulfillment",
            Self::CanceledAndInstanceRunning => "request-canceled-and-instance-running",
            Self::TerminatedByUser => "instance-terminated-by-user",
            Self::TerminatedBySchedule => "instance-terminated-by-schedule",
            Self::TerminatedNoCapacity => "instance-terminated-no-capacity",
            Self::TerminatedByService => "instance-terminated-by-service",
        }
    }

    pub(super) fn message(self, price: Option<&str>, spot_price: f64) -> String {
        let text = match self {
            Self::PriceTooLow => {
                let price = price.unwrap_or_default();
                return format!(
                    "Your Spot request price of {price} is lower than the minimum required Spot \
                     request fulfillment price of {spot_price}."
                );
            }
            Self::NotScheduledYet => {
                "Your Spot request will not be evaluated until the date that you specified."
            }
            Self::PendingEvaluation => {
                "Your Spot request has been submitted for review, and is pending evaluation."
            }
            Self::CapacityNotAvailable => {
                "There is no Spot capacity available that matches your request."
            }
            Self::PendingFulfillment => "Your Spot request is pending fulfillment.",
            Self::Fulfilled => "Your Spot request is fulfilled.",
            Self::MarkedForTermination => "Your Spot Instance is marked for termination.",
            Self::ScheduleExpired => {
                "Your Spot request expired because it was not fulfilled before the date that you \
                 specified."
            }
            Self::BadParameters => "Your Spot request failed due to bad parameters.",
            Self::SystemError => "Your Spot request failed due to a system error.",
            Self::LimitExceeded => {
                "Your Spot request failed because your account's Spot limit is exceeded."
            }
            Self::CanceledBeforeFulfillment => {
                "Your Spot request is canceled before it was fulfilled."
            }
            Self::CanceledAndInstanceRunning => {
                "Your Spot request is canceled, but your instance is still running."
            }
            Self::TerminatedByUser => "Your Spot Instance was terminated by you.",
            Self::TerminatedBySchedule => {
                "Your Spot Instance was terminated at the end of its scheduled duration."
            }
            Self::TerminatedNoCapacity => {
                "Your Spot Instance was terminated because there is no longer enough Spot \
                 capacity."
            }
            Self::TerminatedByService => "Your Spot Instance was terminated by the service.",
        };
        text.to_owned()
    }
}

/// What is next for an open request.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Begin,
    Evaluate,
    Fulfill,
    Expire,
}

impl SpotRequest {
    /// Puts an open request at its beginning.
    pub(super) fn begin(&mut self, now: Timestamp, pace: &Pace) {
        self.state = State::Open;
        match self.valid_from {
            Some(from) if from > now => {
                self.set(Status::NotScheduledYet, now);
                self.due = Some(from);
            }
            _ => {
                self.set(Status::PendingEvaluation, now);
                self.due = Some(now + millis(pace.spot_ms / 2));
            }
        }
    }

    fn set(&mut self, status: Status, now: Timestamp) {
        if self.status != status {
            self.status = status;
            self.updated = now;
        }
    }

    /// Cancels what can still be cancelled.
    pub(super) fn cancel(&mut self, now: Timestamp) {
        match self.state {
            State::Open => self.set(Status::CanceledBeforeFulfillment, now),
            State::Active => self.set(Status::CanceledAndInstanceRunning, now),
            State::Closed | State::Cancelled | State::Failed => return,
        }
        self.state = State::Cancelled;
        self.due = None;
    }

    pub(super) fn next(&self) -> Option<(Timestamp, Change)> {
        if self.state != State::Open {
            return None;
        }
        let step = self.due.map(|at| {
            let change = match self.status {
                Status::NotScheduledYet => Change::Begin,
                Status::PendingFulfillment => Change::Fulfill,
                _ => Change::Evaluate,
            };
            (at, change)
        });
        match step {
            Some((at, change)) if at < self.valid_until => Some((at, change)),
            _ => Some((self.valid_until, Change::Expire)),
        }
    }

    fn holds(&self) -> bool {
        self.state == State::Open
            && matches!(self.status, Status::PriceTooLow | Status::CapacityNotAvailable)
    }
}

/// Lets happen what is next for the request at this place.
pub(super) fn apply(service: &mut Service<'_>, at: Timestamp, index: usize, change: Change) {
    match change {
        Change::Begin => {
            let pace = service.options.pace.clone();
            service.state.spot[index].begin(at, &pace);
        }
        Change::Evaluate => evaluate(service, at, index),
        Change::Fulfill => fulfill(service, at, index),
        Change::Expire => {
            let spot = &mut service.state.spot[index];
            spot.set(Status::ScheduleExpired, at);
            spot.state = State::Cancelled;
            spot.due = None;
        }
    }
}

/// Why the request can't be fulfilled now.
fn obstacle(service: &Service<'_>, spot: &SpotRequest) -> Option<Status> {
    let (instance_type, zone) = (spot.spec.instance_type, spot.spec.subnet.zone);
    let spot_price = prices::spot(service, instance_type, zone);
    if spot.price.as_ref().is_some_and(|price| price.dollars < spot_price) {
        Some(Status::PriceTooLow)
    } else if capacity::Claims::default().free(service, instance_type, zone, Market::Spot)
        == Some(0)
    {
        Some(Status::CapacityNotAvailable)
    } else {
        None
    }
}

fn evaluate(service: &mut Service<'_>, now: Timestamp, index: usize) {
    if let Some(failure) = service.options.spot_failure {
        let spot = &mut service.state.spot[index];
        spot.state = State::Failed;
        spot.due = None;
        return spot.set(
            match failure {
                SpotFailure::BadParameters => Status::BadParameters,
                SpotFailure::SystemError => Status::SystemError,
                SpotFailure::LimitExceeded => Status::LimitExceeded,
            },
            now,
        );
    }
    let obstacle = obstacle(service, &service.state.spot[index]);
    let half = millis(service.options.pace.spot_ms.div_ceil(2));
    let spot = &mut service.state.spot[index];
    spot.set(obstacle.unwrap_or(Status::PendingFulfillment), now);
    spot.due = obstacle.is_none().then(|| now + half);
}

fn fulfill(service: &mut Service<'_>, now: Timestamp, index: usize) {
    if obstacle(service, &service.state.spot[index]).is_some() {
        return evaluate(service, now, index);
    }
    if let Some(left) = &mut service.options.spot_capacity {
        *left -= 1;
    }
    let spot = &mut service.state.spot[index];
    spot.state = State::Active;
    spot.set(Status::Fulfilled, now);
    spot.due = None;
    let order = Order {
        spec: Arc::clone(&spot.spec),
        market: Market::Spot,
        by: spot.id.clone(),
        spot_request: Some(spot.id.clone()),
        reservation: None,
        block: spot.block,
        taken_back: None,
        tags: Tags::new(),
    };
    let instance = instance::launch(service, now, order);
    service.state.spot[index].instance = Some(instance);
}

/// Looks again at requests that wait for a price or for capacity, since both can change at any
/// time.
pub(super) fn retry_holding(service: &mut Service<'_>, now: Timestamp) {
    for index in 0..service.state.spot.len() {
        if service.state.spot[index].holds() {
            evaluate(service, now, index);
        }
    }
}

/// The request of this instance shows that AWS is about to end it.
pub(super) fn marked_for_termination(service: &mut Service<'_>, now: Timestamp, instance: &str) {
    let alive = service.state.instance(instance).is_some_and(instance::Instance::alive);
    if let Some(spot) =
        of_instance(service, instance).filter(|spot| alive && spot.state == State::Active)
    {
        spot.set(Status::MarkedForTermination, now);
    }
}

/// The request of this instance shows how it ended; a persistent one begins again.
pub(super) fn instance_ended(service: &mut Service<'_>, now: Timestamp, instance: &str, how: How) {
    let pace = service.options.pace.clone();
    let Some(spot) = of_instance(service, instance) else { return };
    spot.set(
        match how {
            How::PowerOff | How::Terminated => Status::TerminatedByUser,
            How::Taken { at_block_end: true } => Status::TerminatedBySchedule,
            How::Taken { at_block_end: false } => Status::TerminatedNoCapacity,
            How::Vanished => Status::TerminatedByService,
        },
        now,
    );
    if spot.state == State::Active {
        spot.state = State::Closed;
        if spot.persistent {
            spot.begin(now, &pace);
        }
    }
}

fn of_instance<'a>(service: &'a mut Service<'_>, instance: &str) -> Option<&'a mut SpotRequest> {
    service.state.spot.iter_mut().find(|spot| spot.instance.as_deref() == Some(instance))
}
