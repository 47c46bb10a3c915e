//! A difference between what is wanted and what is there.

use serde::Serialize;

/// A field that is to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub field: String,
    /// What it is.
    pub from: String,
    /// What it will be.
    pub to: String,
}
