//! What the record says of a capacity block: which one is launched into, and whether one may have
//! been bought.
//!
//! AWS's purchases have no client token. So the offering is written down before it is asked for,
//! and what was bought after.

use jiff::{SignedDuration, Timestamp};

use crate::error::Result;
use crate::record::spoiled;

/// The tag of the capacity block that instances are launched into: its reservation, its end, and
/// how many seconds before that AWS takes its instances back.
pub const RESERVED: &str = "spotblock:capacity-block";
/// The tag of a purchase: what became of it, the offering, and when.
pub const PURCHASE: &str = "spotblock:purchase";

/// The tag of an extension's purchase: what became of it, the offering, and the run that sent it.
pub const EXTENSION: &str = "spotblock:extension";

/// A capacity block that instances are launched into, as it was when that was decided. An extension
/// doesn't show here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The capacity reservation's id.
    pub id: String,
    /// When it ends.
    pub end: Timestamp,
    /// How many seconds before its end AWS begins to end its instances.
    pub reclaim_secs: u32,
}

impl Reserved {
    /// When AWS begins to end its instances: the end of the block.
    #[must_use]
    pub fn reclaimed_at(&self) -> Timestamp {
        self.end
            .checked_sub(SignedDuration::from_secs(self.reclaim_secs.into()))
            .unwrap_or(Timestamp::MIN)
    }

    /// The tag's value.
    #[must_use]
    pub fn to_tag(&self) -> String {
        format!("{} {} {}", self.id, self.end, self.reclaim_secs)
    }

    pub(super) fn of_tag(name: &str, value: &str) -> Result<Self> {
        let words: Vec<&str> = value.split(' ').collect();
        let read = || match words.as_slice() {
            [id, end, secs] => Some(Self {
                id: (*id).to_owned(),
                end: end.parse().ok()?,
                reclaim_secs: secs.parse().ok()?,
            }),
            _ => None,
        };
        read()
            .ok_or_else(|| spoiled(name, RESERVED, "is not a capacity block, its end, and seconds"))
    }
}

/// A purchase that was about to be sent: whether it was, nobody may have lived to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// The offering's id.
    pub offering: String,
    /// When.
    pub at: Timestamp,
}

impl Purchase {
    /// The tag's value: before the purchase is sent, or once AWS has refused it.
    #[must_use]
    pub fn to_tag(&self, refused: bool) -> String {
        format!("{} {} {}", if refused { "refused" } else { "sent" }, self.offering, self.at)
    }

    /// None where AWS refused it.
    pub(super) fn of_tag(name: &str, value: &str) -> Result<Option<Self>> {
        let words: Vec<&str> = value.split(' ').collect();
        match words.as_slice() {
            ["refused", ..] => Ok(None),
            ["sent", offering, at] if at.parse::<Timestamp>().is_ok() => Ok(Some(Self {
                offering: (*offering).to_owned(),
                at: at.parse().unwrap_or(Timestamp::MIN),
            })),
            _ => Err(spoiled(name, PURCHASE, "is not a purchase")),
        }
    }
}

/// The purchase of an extension that was about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The offering's id.
    pub offering: String,
    /// The run's name: of two runs that write at once, one finds the other's.
    pub by: String,
}

impl Extension {
    /// The tag's value: before the purchase is sent, or once AWS has refused it.
    #[must_use]
    pub fn to_tag(&self, refused: bool) -> String {
        format!("{} {} {}", if refused { "refused" } else { "sent" }, self.offering, self.by)
    }

    /// None where AWS refused it.
    ///
    /// # Errors
    /// When the tag holds something else.
    pub fn of_tag(name: &str, value: &str) -> Result<Option<Self>> {
        let words: Vec<&str> = value.split(' ').collect();
        match words.as_slice() {
            ["refused", ..] => Ok(None),
            ["sent", offering, by] => {
                Ok(Some(Self { offering: (*offering).to_owned(), by: (*by).to_owned() }))
            }
            _ => Err(spoiled(name, EXTENSION, "is not an extension's purchase")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a purchase that may have been made, read as none.
    #[test]
    fn what_is_written_down_is_read_back() {
        let at: Timestamp = "2026-11-24T11:30:00Z".parse().expect("a time");
        let reserved = Reserved { id: "cr-1".into(), end: at, reclaim_secs: 1800 };
        assert_eq!(Reserved::of_tag("t", &reserved.to_tag()).expect("its own"), reserved);
        assert_eq!(reserved.reclaimed_at(), "2026-11-24T11:00:00Z".parse().expect("a time"));
        let purchase = Purchase { offering: "cbo-1".into(), at };
        assert_eq!(
            Purchase::of_tag("t", &purchase.to_tag(false)).expect("its own"),
            Some(purchase.clone())
        );
        assert_eq!(Purchase::of_tag("t", &purchase.to_tag(true)).expect("its own"), None);
        assert!(
            Purchase::of_tag("t", "").is_err() && Purchase::of_tag("t", "sent cbo-1 soon").is_err()
        );
        assert!(Reserved::of_tag("t", "cr-1").is_err());
        let extension = Extension { offering: "cbe-1".into(), by: "0123abcd".into() };
        assert_eq!(
            Extension::of_tag("t", &extension.to_tag(false)).expect("its own"),
            Some(extension.clone())
        );
        assert_eq!(Extension::of_tag("t", &extension.to_tag(true)).expect("its own"), None);
        assert!(Extension::of_tag("t", "sent cbe-1").is_err());
    }
}
