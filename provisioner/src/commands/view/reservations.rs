//! The capacity that is reserved for a block.

use jiff::Timestamp;
use serde::Serialize;

use super::moment;
use crate::model::block::Block;

/// A capacity reservation or a capacity block.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReservationView {
    /// Its id.
    pub id: String,
    /// `capacity-reservation` or `capacity-block`.
    pub kind: &'static str,
    /// Whether it was made for this block, and goes with it; or is the user's, or paid for its
    /// whole time.
    pub goes_with_block: bool,
    /// Its state; none where it isn't looked up.
    pub state: Option<String>,
    /// The type of its instances.
    pub instance_type: Option<String>,
    /// Its Availability Zone.
    pub zone: Option<String>,
    /// When it ends.
    pub end: Option<Timestamp>,
}

/// A purchase of a capacity block that may have been sent.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PurchaseView {
    /// The offering.
    pub offering: String,
    /// When.
    pub at: Timestamp,
}

/// Those that were made for the block, and those that its record names.
pub(super) fn of(block: &Block) -> Vec<ReservationView> {
    let made = block.reservations.iter().map(|it| ReservationView {
        id: it.id.clone(),
        kind: "capacity-reservation",
        goes_with_block: true,
        state: Some(it.state.clone()),
        instance_type: Some(it.instance_type.clone()),
        zone: Some(it.zone.clone()),
        end: it.end,
    });
    let named = |id: &str, kind, end| ReservationView {
        id: id.to_owned(),
        kind,
        goes_with_block: false,
        state: None,
        instance_type: None,
        zone: None,
        end,
    };
    let spec = block.record.as_ref().map(|record| &record.spec);
    let given = spec
        .and_then(|spec| spec.reservation.as_deref())
        .map(|id| named(id, "capacity-reservation", None));
    let bought = spec.and_then(|spec| spec.reserved.as_ref());
    let bought = bought.map(|it| named(&it.id, "capacity-block", Some(it.end)));
    made.chain(given).chain(bought).collect()
}

/// What the record says of a purchase whose outcome isn't known yet.
pub(super) fn purchase(block: &Block) -> Option<PurchaseView> {
    let spec = &block.record.as_ref()?.spec;
    let sent = spec.purchase.as_ref().filter(|_| spec.reserved.is_none())?;
    Some(PurchaseView { offering: sent.offering.clone(), at: sent.at })
}

/// In a line each.
pub(super) fn lines(
    all: &[ReservationView],
    purchase: Option<&PurchaseView>,
    now: Timestamp,
) -> Vec<String> {
    let line = |it: &ReservationView| {
        let of = it.kind.replace('-', " ");
        let whose = if it.goes_with_block || it.kind == "capacity-block" { "" } else { ", yours" };
        let state = it.state.as_ref().map(|state| format!(", {state}")).unwrap_or_default();
        let end = it.end.map(|end| format!(", ends {}", moment(end, now))).unwrap_or_default();
        format!("  {of} {}{whose}{state}{end}", it.id)
    };
    let sent = purchase.map(|it| {
        format!("  offering {} may have been bought {}", it.offering, moment(it.at, now))
    });
    all.iter().map(line).chain(sent).collect()
}
