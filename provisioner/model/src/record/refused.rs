//! Which sources refused what, as it stands on the record: one tag a source.

use std::collections::BTreeMap;

use node_contract::Source;

use super::{TAG_VALUE, spoiled};
use crate::error::Result;
use crate::source;

const PREFIX: &str = "spotblock:refused:";

/// What a source refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The source.
    pub source: Source,
    /// The number of its last attempt that is over. All before it are.
    pub through: u32,
    /// How many instances they brought that are kept.
    pub got: u32,
    /// AWS's codes, each once.
    pub codes: Vec<String>,
}

impl Refused {
    /// The tag.
    #[must_use]
    pub fn to_tag(&self) -> (String, String) {
        let mut value = format!("{} {}", self.through, self.got);
        for code in &self.codes {
            let code: String =
                code.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).collect();
            if !code.is_empty() && value.len() + 1 + code.len() <= TAG_VALUE {
                value = format!("{value} {code}");
            }
        }
        (format!("{PREFIX}{}", self.source), value)
    }

    /// Those that a record's tags tell of, in the order of their attempts.
    ///
    /// # Errors
    /// [`crate::error::Error::State`] when one can't be read.
    pub fn of_tags(name: &str, tags: &BTreeMap<String, String>) -> Result<Vec<Self>> {
        let owned =
            tags.iter().filter_map(|(key, value)| Some((key, key.strip_prefix(PREFIX)?, value)));
        let read = |(key, source, value): (&String, &str, &String)| {
            let mut words = value.split_whitespace();
            let mut number = || words.next()?.parse().ok();
            let (through, got) = (number(), number());
            match (source::named(source), through, got) {
                (Some(source), Some(through), Some(got)) => {
                    Ok(Self { source, through, got, codes: words.map(str::to_owned).collect() })
                }
                _ => Err(spoiled(name, key, "can't be read")),
            }
        };
        let mut all = owned.map(read).collect::<Result<Vec<_>>>()?;
        all.sort_by_key(|it| it.through);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_survives_its_tags_in_the_order_of_the_attempts() {
        let refused = |source, through, got, codes: &[&str]| Refused {
            source,
            through,
            got,
            codes: codes.iter().map(|code| (*code).to_owned()).collect(),
        };
        let all = vec![
            refused(Source::SpotBlock, 2, 0, &["InvalidParameterValue"]),
            refused(Source::Spot, 4, 3, &["InsufficientInstanceCapacity", "VcpuLimitExceeded"]),
            refused(Source::OnDemand, 5, 0, &[]),
        ];
        let tags: BTreeMap<String, String> = all.iter().map(Refused::to_tag).collect();
        assert_eq!(
            tags["spotblock:refused:spot"],
            "4 3 InsufficientInstanceCapacity VcpuLimitExceeded"
        );
        assert_eq!(Refused::of_tags("t", &tags).expect("its own tags"), all);
    }

    /// Catches: a tag that AWS refuses, whatever its codes are, and with it a refusal that is never
    /// written down.
    #[test]
    fn a_tag_is_never_longer_or_stranger_than_ec2_takes() {
        let codes = vec!["a code (with <signs>)".repeat(5), "x".repeat(200), "y".repeat(200)];
        let (_, value) = Refused { source: Source::Spot, through: 1, got: 0, codes }.to_tag();
        assert!(value.len() <= TAG_VALUE && !value.contains(['(', '<']), "{value}");
    }

    #[test]
    fn a_spoiled_tag_is_not_guessed_at() {
        for (key, value) in [("spotblock:refused:cheap", "1 0"), ("spotblock:refused:spot", "none")]
        {
            let tags = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            assert!(Refused::of_tags("t", &tags).is_err(), "{key}={value}");
        }
    }
}
