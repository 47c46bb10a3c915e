//! A block's record: an EC2 launch template, created before anything is bought.
//!
//! Its name, `spotblock-<environment>-<n>`, is a create-if-absent that every account has. Its data freezes what is
//! launched; its tags freeze the block's id, attempt, count, duration, price, source and the time until which the
//! request is valid. A purchase takes its parameters from here and never from spotblock.toml, and its client token is
//! a hash of id, source and attempt: asked again, AWS gives the old result instead of selling twice.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use node_contract::{Source, names::tag};
use sha2::{Digest as _, Sha256};

use crate::block::LATE;
use crate::error::{Error, Result};
use crate::ownership::Ours;

const INSTANCES: &str = "spotblock:instances";
const DURATION: &str = "spotblock:duration";
const MAX_PRICE: &str = "spotblock:max-price";
const VALID_UNTIL: &str = "spotblock:valid-until";
const SOURCE: &str = "spotblock:source";
const ATTEMPT: &str = "spotblock:attempt";
/// The tag that says how a purchase ended that brought nothing.
pub const OUTCOME: &str = "spotblock:outcome";
/// The tag that says that a run has told its user how the block came up. Until then `--new` goes on with it: a run that
/// was killed and is run again with the same words must not buy twice.
pub const REPORTED: &str = "spotblock:reported";

/// What a block is, from its record's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The block's id.
    pub block: String,
    /// The environment's name.
    pub environment: String,
    /// How many instances.
    pub instances: u32,
    /// How long.
    pub duration: SignedDuration,
    /// Dollars per instance-hour.
    pub max_price: Option<String>,
    /// How long the request stays open.
    pub valid_until: Timestamp,
    /// Where it is bought.
    pub source: Source,
    /// Which attempt at it this is, from 1.
    pub attempt: u32,
    /// The user's tags for everything.
    pub user_tags: BTreeMap<String, String>,
}

/// A record in AWS.
#[derive(Clone, Debug)]
pub struct Record {
    /// The launch template.
    pub template: Ours,
    /// Its name.
    pub name: String,
    /// The number in its name.
    pub number: u32,
    /// When it was made.
    pub created: Timestamp,
    /// The terms.
    pub terms: Terms,
    /// How the purchase ended, where it brought nothing.
    pub outcome: Option<String>,
    /// How the block came up, once a run has told its user.
    pub reported: Option<String>,
}

/// What is launched, from the record's data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchData {
    /// The image's id.
    pub image: String,
    /// The instance type.
    pub instance_type: String,
    /// The key pair.
    pub key_name: Option<String>,
    /// The security groups.
    pub security_groups: Vec<String>,
    /// The subnet.
    pub subnet: String,
    /// The Availability Zone.
    pub zone: Option<String>,
    /// The instance profile's name.
    pub instance_profile: String,
    /// The user data in base64.
    pub user_data: String,
    /// The root volume: its device name, and its size in GiB.
    pub root_volume: Option<(String, u32)>,
}

impl Terms {
    /// The token of this purchase: 40 hexadecimal digits, where EC2 takes up to 64 ASCII characters.
    #[must_use]
    pub fn client_token(&self) -> String {
        let hash = Sha256::digest(format!("{}|{}|{}", self.block, self.source, self.attempt));
        hash.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
    }

    /// From when on no request of this purchase can turn up any more.
    #[must_use]
    pub fn late(&self) -> Timestamp {
        self.valid_until.checked_add(LATE).unwrap_or(Timestamp::MAX)
    }

    /// The tags of everything that belongs to this block.
    #[must_use]
    pub fn resource_tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.user_tags.clone();
        tags.entry("Name".to_owned()).or_insert_with(|| format!("spotblock {}", self.environment));
        tags.insert(tag::BLOCK.to_owned(), self.block.clone());
        tags.insert(tag::ENVIRONMENT.to_owned(), self.environment.clone());
        tags
    }

    /// The record's tags.
    #[must_use]
    pub fn to_tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.user_tags.clone();
        let own = [
            (tag::BLOCK, self.block.clone()),
            (tag::ENVIRONMENT, self.environment.clone()),
            (INSTANCES, self.instances.to_string()),
            (DURATION, self.duration.to_string()),
            (VALID_UNTIL, self.valid_until.to_string()),
            (SOURCE, self.source.to_string()),
            (ATTEMPT, self.attempt.to_string()),
        ];
        tags.extend(own.map(|(key, value)| (key.to_owned(), value)));
        if let Some(price) = &self.max_price {
            tags.insert(MAX_PRICE.to_owned(), price.clone());
        }
        tags
    }

    /// Reads the record's tags back.
    ///
    /// # Errors
    /// [`Error::State`] when one is missing or was changed into something else.
    pub fn from_tags(name: &str, tags: &BTreeMap<String, String>) -> Result<Self> {
        let text = |key: &'static str| tags.get(key).cloned().ok_or_else(|| spoiled(name, key, "is missing"));
        let number = |key| text(key)?.parse::<u32>().map_err(|_| spoiled(name, key, "is not a number"));
        let user_tags = tags.iter().filter(|(key, _)| !key.starts_with("spotblock:") && !key.starts_with("aws:"));
        let terms = Self {
            block: text(tag::BLOCK)?,
            environment: text(tag::ENVIRONMENT)?,
            instances: number(INSTANCES)?,
            duration: text(DURATION)?.parse().map_err(|_| spoiled(name, DURATION, "is not a duration"))?,
            max_price: tags.get(MAX_PRICE).cloned(),
            valid_until: text(VALID_UNTIL)?.parse().map_err(|_| spoiled(name, VALID_UNTIL, "is not a time"))?,
            source: source(&text(SOURCE)?).ok_or_else(|| spoiled(name, SOURCE, "is not a source"))?,
            attempt: number(ATTEMPT)?,
            user_tags: user_tags.map(|(key, value)| (key.clone(), value.clone())).collect(),
        };
        if !node_contract::is_block_id(&terms.block) {
            return Err(spoiled(name, tag::BLOCK, "is not a block's id"));
        }
        Ok(terms)
    }
}

fn source(name: &str) -> Option<Source> {
    [Source::SpotBlock, Source::Spot, Source::OnDemand, Source::Reservation, Source::CapacityBlock]
        .into_iter()
        .find(|source| source.to_string() == name)
}

fn spoiled(name: &str, key: &str, problem: &str) -> Error {
    Error::State {
        what: format!("launch template {name} is marked as a block's record, but its tag {key} {problem}"),
        next: "restore the tag, or delete the launch template if no instance of its block is left".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn terms() -> Terms {
        Terms {
            block: "sb-0123456789".into(),
            environment: "spot-block-test".into(),
            instances: 3,
            duration: SignedDuration::from_hours(1),
            max_price: Some("0.03".into()),
            valid_until: "2026-11-24T10:10:00Z".parse().expect("a time"),
            source: Source::SpotBlock,
            attempt: 1,
            user_tags: BTreeMap::from([("team".into(), "imaging".into())]),
        }
    }

    #[test]
    fn the_terms_survive_their_tags() {
        assert_eq!(Terms::from_tags("t", &terms().to_tags()).expect("its own tags"), terms());
        let free = Terms { max_price: None, user_tags: BTreeMap::new(), ..terms() };
        assert_eq!(Terms::from_tags("t", &free.to_tags()).expect("its own tags"), free);
    }

    #[test]
    fn a_spoiled_record_is_not_guessed_at() {
        for key in [tag::BLOCK, tag::ENVIRONMENT, INSTANCES, DURATION, VALID_UNTIL, SOURCE, ATTEMPT] {
            let mut tags = terms().to_tags();
            tags.remove(key);
            let error = Terms::from_tags("t", &tags).expect_err(key);
            assert!(error.to_string().contains(key), "{error}");
            tags.insert(key.into(), "?".into());
            assert!(key == tag::ENVIRONMENT || Terms::from_tags("t", &tags).is_err(), "{key}");
        }
    }

    /// Catches: a token that doesn't change with each of the three, or changes with anything else. The literal holds it
    /// against a block that an older version bought.
    #[test]
    fn the_token_follows_from_id_source_and_attempt_alone() {
        let token = terms().client_token();
        assert_eq!(token, "dce2cdcfaf5d87223a27857dc9b2f6407d513f4e");
        assert_ne!(Terms { block: "sb-0123456780".into(), ..terms() }.client_token(), token);
        assert_ne!(Terms { attempt: 2, ..terms() }.client_token(), token);
        assert_ne!(Terms { source: Source::OnDemand, ..terms() }.client_token(), token);
        let other = Terms { instances: 9, max_price: None, valid_until: Timestamp::UNIX_EPOCH, ..terms() };
        assert_eq!(other.client_token(), token);
    }

    #[test]
    fn everything_of_a_block_carries_both_marks() {
        let tags = terms().resource_tags();
        assert_eq!(tags[tag::BLOCK], "sb-0123456789");
        assert_eq!(tags[tag::ENVIRONMENT], "spot-block-test");
        assert_eq!((tags["team"].as_str(), tags["Name"].as_str()), ("imaging", "spotblock spot-block-test"));
    }
}
