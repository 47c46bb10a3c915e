//! The names of what is made for an environment. All of them follow from the environment's name.

/// The longest name of an environment: a launch template's name has up to 128 characters, and ours
/// adds `spotblock-` and a number.
pub const LONGEST: usize = 110;
/// The same where roles are made for it: a role's name has up to 64, and ours adds `spotblock-` and
/// `-scheduler`.
pub const LONGEST_WITH_ROLES: usize = 44;
/// The same where there is a group of schedules: its name has up to 64, and ours adds `spotblock-`.
pub const LONGEST_WITH_SCHEDULES: usize = 54;
/// The description of every role that is made.
pub const ROLE_DESCRIPTION: &str = "Made by spotblock";
/// The name of the instance role's inline policy.
pub const POLICY: &str = "spotblock";

/// Batch's service role.
#[must_use]
pub fn service_role(environment: &str) -> String {
    format!("spotblock-{environment}-batch")
}

/// The instances' role, and the profile that holds it.
#[must_use]
pub fn instance_role(environment: &str) -> String {
    format!("spotblock-{environment}-instance")
}

/// The role as which schedules end instances.
#[must_use]
pub fn scheduler_role(environment: &str) -> String {
    format!("spotblock-{environment}-scheduler")
}

/// The group of the environment's schedules.
#[must_use]
pub fn schedule_group(environment: &str) -> String {
    format!("spotblock-{environment}")
}

/// The record of an environment's block with this number.
#[must_use]
pub fn record(environment: &str, number: u32) -> String {
    format!("spotblock-{environment}-{number}")
}

/// The number in a record's name.
#[must_use]
pub fn record_number(environment: &str, name: &str) -> Option<u32> {
    name.strip_prefix("spotblock-")?.strip_prefix(environment)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_numbered_within_its_environment() {
        assert_eq!(record("spot-block-test", 7), "spotblock-spot-block-test-7");
        assert_eq!(record_number("spot-block-test", "spotblock-spot-block-test-7"), Some(7));
        // `spot-block`'s records are not those of `spot-block-test`.
        assert_eq!(record_number("spot-block", "spotblock-spot-block-test-7"), None);
        assert_eq!(record_number("spot", "other-spot-7"), None);
    }
}
