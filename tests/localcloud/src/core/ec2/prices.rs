//! What instances cost, in dollars an hour. Prices don't change with time.

use super::super::Cloud;
use super::types::InstanceType;

/// What an instance of the type costs by the hour, on demand.
pub(super) fn on_demand(instance_type: &InstanceType) -> f64 {
    f64::from(instance_type.microdollars) / 1e6
}

/// What one costs on the spot market of a zone: the option's price, or between 28 and 45 % of the on-demand price,
/// which follows from the type's name and the zone, so that pools differ and runs don't.
pub(super) fn spot(cloud: &Cloud, instance_type: &InstanceType, zone: char) -> f64 {
    if let Some(price) = cloud.options.spot_price {
        return price;
    }
    let spread = instance_type.name.bytes().fold(u32::from(zone) * 7, |sum, byte| (sum * 31 + u32::from(byte)) % 1009);
    let percent = 28 + spread % 18;
    // Prices have four digits behind the point, and are never zero.
    (on_demand(instance_type) * f64::from(percent) * 100.0).round().max(1.0) / 10_000.0
}

/// A price with six decimals, as EC2 writes it.
pub(super) fn dollars(amount: f64) -> String {
    format!("{amount:.6}")
}
