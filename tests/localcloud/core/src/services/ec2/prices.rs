//! What instances cost, in dollars an hour. The prices of today don't change while the cloud runs.

use super::Service;
use super::types::InstanceType;

/// What an instance of the type costs by the hour, on demand.
pub(crate) fn on_demand(instance_type: &InstanceType) -> f64 {
    f64::from(instance_type.microdollars) / 1e6
}

/// What one costs on the spot market of a zone: the option's price, or between 28 and 45 % of the
/// on-demand price, which follows from the type's name and the zone, so that pools differ and runs
/// don't.
pub(super) fn spot(service: &Service<'_>, instance_type: &InstanceType, zone: char) -> f64 {
    if let Some(price) = service.options.spot_price {
        return price;
    }
    let spread = instance_type
        .name
        .bytes()
        .fold(u32::from(zone) * 7, |sum, byte| (sum * 31 + u32::from(byte)) % 1009);
    let percent = 28 + spread % 18;
    rounded(on_demand(instance_type) * f64::from(percent) / 100.0)
}

/// What one cost so many days ago: up to 3 % more or less than today.
pub(super) fn spot_before(
    service: &Service<'_>,
    instance_type: &InstanceType,
    zone: char,
    days: i64,
) -> f64 {
    const CHANGES: [f64; 4] = [1.0, 1.02, 0.97, 1.03];
    let index = usize::try_from(days.rem_euclid(4)).unwrap_or_default();
    if days == 0 {
        spot(service, instance_type, zone)
    } else {
        rounded(spot(service, instance_type, zone) * CHANGES[index])
    }
}

/// Spot prices have four digits behind the point, and are never zero.
fn rounded(dollars: f64) -> f64 {
    (dollars * 10_000.0).round().max(1.0) / 10_000.0
}

/// A price with six decimals, as EC2 writes it.
pub(super) fn dollars(amount: f64) -> String {
    format!("{amount:.6}")
}
