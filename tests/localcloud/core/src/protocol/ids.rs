//! Identifiers from a seed.

/// Gives out identifiers in the shapes that AWS uses.
pub(crate) struct Ids {
    rng: fastrand::Rng,
}

impl Ids {
    /// Equal seeds give equal identifiers.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    /// `digits` hexadecimal digits.
    pub(crate) fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from_digit(self.rng.u32(0..16), 16).unwrap_or('0')).collect()
    }

    /// A resource id such as `i-` and 17 digits.
    pub(crate) fn resource(&mut self, prefix: &str) -> String {
        format!("{prefix}-{}", self.hex(17))
    }

    /// A UUID's shape.
    pub(crate) fn uuid(&mut self) -> String {
        format!(
            "{}-{}-4{}-8{}-{}",
            self.hex(8),
            self.hex(4),
            self.hex(3),
            self.hex(3),
            self.hex(12)
        )
    }

    /// A request id.
    pub(crate) fn request_id(&mut self) -> String {
        self.uuid()
    }
}
