//! An error as AWS gives it, before a protocol puts it into its own shape.

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AwsError {
    /// The HTTP status.
    pub status: u16,
    /// AWS's code, such as `InvalidParameterValue`.
    pub code: String,
    /// The text.
    pub message: String,
}

impl AwsError {
    /// An error with status 400, as most are.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.to_owned(), message: message.into() }
    }

    /// The same with another status.
    #[must_use]
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}
