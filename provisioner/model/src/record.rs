//! A block's record: an EC2 launch template, created before anything is bought.
//!
//! Its name, `spotblock-<environment>-<n>`, is a create-if-absent that every account has. Its data
//! freezes what is launched; its tags freeze the block's id, count, duration, price, the sources in
//! their order with their types and subnets, and the time until which requests are valid. From
//! these follow the attempts, one for each pool of each source in turn (`record/attempt.rs`). A
//! purchase takes its parameters from here and never from spotblock.toml, and its client token is a
//! hash of id, source and attempt: asked again, AWS gives the old result instead of selling twice.
//!
//! Later tags say how far that went: which attempts were refused, and what they brought all the
//! same.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use node_contract::{NodeConfig, Source, names::tag};

use crate::error::{Error, Result};
use crate::ownership::Owned;
use crate::source;

mod attempt;
mod refused;
mod reserved;

pub use attempt::{Pool, PurchaseAttempt, attempt_of};
pub use refused::Refused;
pub use reserved::{EXTENSION, Extension, PURCHASE, Purchase, RESERVED, Reserved};

const INSTANCES: &str = "spotblock:instances";
const DURATION: &str = "spotblock:duration";
const MAX_PRICE: &str = "spotblock:max-price";
const OPENED: &str = "spotblock:opened";
const VALID_UNTIL: &str = "spotblock:valid-until";
const SOURCES: &str = "spotblock:sources";
const TYPES: &str = "spotblock:types";
const SUBNETS: &str = "spotblock:subnets";
const PARTIAL: &str = "spotblock:partial";
const MIX: &str = "spotblock:mix";
const START_BY: &str = "spotblock:start-by";
const RESERVATION: &str = "spotblock:reservation";
/// The tag of what an attempt bought: its number.
pub const ATTEMPT: &str = "spotblock:attempt";
/// The tag that says how a purchase ended that brought nothing.
pub const OUTCOME: &str = "spotblock:outcome";
/// The tag that says that a run has told its user how the block came up. Until then `--new` goes on
/// with it: a run that was killed and is run again with the same words must not buy twice.
pub const REPORTED: &str = "spotblock:reported";
/// The tag that says since when a block is being ended, whatever is up of it yet: nothing more is
/// bought for it.
pub const ENDED: &str = "spotblock:ended";
/// The tag that names the run whose turn it is to buy, where there is more than one attempt
/// (`launch/lease.rs`).
pub const DRIVER: &str = "spotblock:driver";
/// A tag's value has up to 256 characters `[V]`.
pub const TAG_VALUE: usize = 256;
/// How long after the time until which a request is valid one may still turn up that was made in
/// time: its maker may have been killed, and AWS may not show it at once.
pub const LATE: SignedDuration = SignedDuration::from_secs(60);
/// How long a reservation outlasts a block that began at the last moment: what is left of it is
/// terminated by then.
const RESERVED_LONGER: SignedDuration = SignedDuration::from_mins(10);
/// How long after the last request's validity a further source is still asked.
const NEXT_SOURCE: SignedDuration = SignedDuration::from_mins(10);

/// What a block is, from its record's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSpec {
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
    /// When the record was written, in whole seconds.
    pub opened: Timestamp,
    /// How long requests stay open.
    pub valid_until: Timestamp,
    /// Where it is bought: the first that has it.
    pub sources: Vec<Source>,
    /// The instance types, the preferred first.
    pub types: Vec<String>,
    /// The subnets.
    pub subnets: Vec<String>,
    /// So many instances are enough; left out, all of them are needed.
    pub partial: Option<u32>,
    /// Whether one source may fill what another left open.
    pub mix: bool,
    /// By when a capacity block that is bought begins.
    pub start_by: Timestamp,
    /// The capacity block that instances are launched into, once it is known.
    pub reserved: Option<Reserved>,
    /// The purchase of one that may have been sent.
    pub purchase: Option<Purchase>,
    /// The user's capacity reservation that the source `reservation` launches into; left out, it
    /// makes one.
    pub reservation: Option<String>,
    /// The user's tags for everything.
    pub user_tags: BTreeMap<String, String>,
}

/// A record in AWS.
#[derive(Clone, Debug)]
pub struct Record {
    /// The launch template.
    pub template: Owned,
    /// Its name.
    pub name: String,
    /// The number in its name.
    pub number: u32,
    /// When it was made.
    pub created: Timestamp,
    /// The spec.
    pub spec: BlockSpec,
    /// What the sources refused, in the order of the attempts.
    pub refused: Vec<Refused>,
    /// The run whose turn it is to buy.
    pub driver: Option<String>,
    /// How the purchase ended, where it brought nothing.
    pub outcome: Option<String>,
    /// How the block came up, once a run has told its user.
    pub reported: Option<String>,
    /// Since when it is being ended by `spotblock down`.
    pub ended: Option<String>,
    /// The purchase of an extension of its capacity block that may have been sent.
    pub extension: Option<Extension>,
}

/// What is launched, from the record's data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchData {
    /// The image's id.
    pub image: String,
    /// The key pair.
    pub key_name: Option<String>,
    /// The security groups.
    pub security_groups: Vec<String>,
    /// The Availability Zone.
    pub zone: Option<String>,
    /// The instance profile's name.
    pub instance_profile: String,
    /// The user data in base64.
    pub user_data: String,
    /// The root volume: its device name, and its size in GiB.
    pub root_volume: Option<(String, u32)>,
}

impl LaunchData {
    /// The agent's settings in the user data: what the agent acts on.
    #[must_use]
    pub fn node_config(&self) -> Option<NodeConfig> {
        let text = String::from_utf8(BASE64_STANDARD.decode(&self.user_data).ok()?).ok()?;
        node_contract::user_data::extract(&text).ok()
    }
}

impl BlockSpec {
    /// Whether one source, or one pool of it, may fill what another left open.
    #[must_use]
    pub fn fills_gaps(&self) -> bool {
        self.mix || self.partial.is_some()
    }

    /// How many instances are enough.
    #[must_use]
    pub fn least(&self) -> u32 {
        self.partial.unwrap_or(self.instances)
    }

    /// From when on no attempt begins. A single request is made while it is valid; a further source
    /// is asked for some time after a request that was held to its end.
    #[must_use]
    pub fn closes(&self) -> Timestamp {
        let more = if self.attempts().len() > 1 { NEXT_SOURCE } else { SignedDuration::ZERO };
        let closes = self.valid_until.checked_add(more).unwrap_or(Timestamp::MAX);
        match (&self.reserved, &self.purchase) {
            (Some(reserved), _) => closes.max(reserved.reclaimed_at()),
            // Until somebody looks: something may be paid for.
            (None, Some(_)) => Timestamp::MAX,
            (None, None) => closes,
        }
    }

    /// From when on no request of this block can turn up any more.
    #[must_use]
    pub fn late(&self) -> Timestamp {
        self.closes().checked_add(LATE).unwrap_or(Timestamp::MAX)
    }

    /// Until when its capacity reservation stands if nobody cancels it. It follows from the record
    /// alone, so it is that of a block that begins at the last moment. AWS takes up to an hour
    /// longer `[V]`.
    #[must_use]
    pub fn reserved_until(&self) -> Timestamp {
        let last =
            self.late().checked_add(self.duration).and_then(|end| end.checked_add(RESERVED_LONGER));
        last.unwrap_or(Timestamp::MAX)
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
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        let own = [
            (tag::BLOCK, Some(self.block.clone())),
            (tag::ENVIRONMENT, Some(self.environment.clone())),
            (INSTANCES, Some(self.instances.to_string())),
            (DURATION, Some(self.duration.to_string())),
            (OPENED, Some(self.opened.to_string())),
            (VALID_UNTIL, Some(self.valid_until.to_string())),
            (SOURCES, Some(sources.join(" "))),
            (TYPES, Some(self.types.join(" "))),
            (SUBNETS, Some(self.subnets.join(" "))),
            (MAX_PRICE, self.max_price.clone()),
            (PARTIAL, self.partial.map(|least| least.to_string())),
            (MIX, self.mix.then(|| "true".to_owned())),
            (START_BY, (self.start_by != self.opened).then(|| self.start_by.to_string())),
            (RESERVED, self.reserved.as_ref().map(Reserved::to_tag)),
            (PURCHASE, self.purchase.as_ref().map(|it| it.to_tag(false))),
            (RESERVATION, self.reservation.clone()),
        ];
        let given = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        self.user_tags.clone().into_iter().chain(given).collect()
    }

    /// Reads the record's tags back.
    ///
    /// # Errors
    /// [`Error::state`] when one is missing or was changed into something else.
    pub fn from_tags(name: &str, tags: &BTreeMap<String, String>) -> Result<Self> {
        let text = |key: &'static str| {
            tags.get(key).cloned().ok_or_else(|| spoiled(name, key, "is missing"))
        };
        let number =
            |key| text(key)?.parse::<u32>().map_err(|_| spoiled(name, key, "is not a number"));
        let moment =
            |key| text(key)?.parse::<Timestamp>().map_err(|_| spoiled(name, key, "is not a time"));
        let words = |key| {
            Ok::<_, Error>(text(key)?.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let several = |key| match words(key)? {
            none if none.is_empty() => Err(spoiled(name, key, "is empty")),
            some => Ok(some),
        };
        let sources =
            several(SOURCES)?.iter().map(|name| source::named(name)).collect::<Option<Vec<_>>>();
        let partial = tags.contains_key(PARTIAL).then(|| number(PARTIAL)).transpose()?;
        let user_tags = tags
            .iter()
            .filter(|(key, _)| !key.starts_with("spotblock:") && !key.starts_with("aws:"));
        let spec = Self {
            block: text(tag::BLOCK)?,
            environment: text(tag::ENVIRONMENT)?,
            instances: number(INSTANCES)?,
            duration: text(DURATION)?
                .parse()
                .map_err(|_| spoiled(name, DURATION, "is not a duration"))?,
            max_price: tags.get(MAX_PRICE).cloned(),
            opened: moment(OPENED)?,
            valid_until: moment(VALID_UNTIL)?,
            sources: sources.ok_or_else(|| spoiled(name, SOURCES, "names what is not a source"))?,
            types: several(TYPES)?,
            subnets: several(SUBNETS)?,
            partial,
            mix: tags.contains_key(MIX),
            start_by: if tags.contains_key(START_BY) { moment(START_BY)? } else { moment(OPENED)? },
            reserved: tags.get(RESERVED).map(|value| Reserved::of_tag(name, value)).transpose()?,
            purchase: tags
                .get(PURCHASE)
                .map(|value| Purchase::of_tag(name, value))
                .transpose()?
                .flatten(),
            reservation: tags.get(RESERVATION).cloned(),
            user_tags: user_tags.map(|(key, value)| (key.clone(), value.clone())).collect(),
        };
        if !node_contract::is_block_id(&spec.block) {
            return Err(spoiled(name, tag::BLOCK, "is not a block's id"));
        }
        Ok(spec)
    }
}

impl Record {
    /// Whether this attempt's refusal stands here.
    #[must_use]
    pub fn has_refused(&self, attempt: u32) -> bool {
        self.refused.iter().any(|it| attempt <= it.through)
    }

    /// Whether the block may hold a capacity reservation of its own.
    #[must_use]
    pub fn reserves(&self) -> bool {
        self.spec.reservation.is_none() && self.spec.sources.contains(&Source::Reservation)
    }

    /// How many instances the attempts that are over have brought.
    #[must_use]
    pub fn got(&self) -> u32 {
        self.refused.iter().map(|it| it.got).sum()
    }

    /// The attempt that is to be made now, or was made and is not known to have been refused; none
    /// where all were.
    #[must_use]
    pub fn attempt(&self) -> Option<PurchaseAttempt> {
        let through = self.refused.iter().map(|it| it.through).max().unwrap_or_default();
        self.spec.attempts().into_iter().find(|attempt| attempt.number > through)
    }

    /// Whether what this attempt brought is kept. The attempt that goes on is; of those before it,
    /// only where the next one fills a gap.
    #[must_use]
    pub fn keeps(&self, attempt: u32) -> bool {
        self.spec.fills_gaps() || self.attempt().is_some_and(|it| it.number <= attempt)
    }
}

/// The error of a record whose tag has become something else.
#[must_use]
pub fn spoiled(name: &str, key: &str, problem: &str) -> Error {
    Error::state(
        format!(
            "launch template {name} is marked as a block's record, but its tag {key} {problem}"
        ),
        "restore the tag, or delete the launch template if no instance of its block is left",
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn spec() -> BlockSpec {
        BlockSpec {
            block: "sb-0123456789".into(),
            environment: "spot-block-test".into(),
            instances: 3,
            duration: SignedDuration::from_hours(1),
            max_price: Some("0.03".into()),
            valid_until: "2026-11-24T10:10:00Z".parse().expect("a time"),
            opened: "2026-11-24T10:00:00Z".parse().expect("a time"),
            sources: vec![Source::SpotBlock],
            types: vec!["t2.micro".into()],
            subnets: vec!["subnet-c8d30ae4".into()],
            partial: None,
            mix: false,
            start_by: "2026-11-24T10:00:00Z".parse().expect("a time"),
            reserved: None,
            purchase: None,
            reservation: None,
            user_tags: BTreeMap::from([("team".into(), "imaging".into())]),
        }
    }

    #[test]
    fn the_terms_survive_their_tags() {
        assert_eq!(BlockSpec::from_tags("t", &spec().to_tags()).expect("its own tags"), spec());
        let free = BlockSpec { max_price: None, user_tags: BTreeMap::new(), ..spec() };
        assert_eq!(BlockSpec::from_tags("t", &free.to_tags()).expect("its own tags"), free);
        let several = BlockSpec {
            sources: vec![Source::SpotBlock, Source::Spot, Source::OnDemand],
            types: vec!["t2.micro".into(), "t3.micro".into()],
            partial: Some(2),
            mix: true,
            reservation: Some("cr-1".into()),
            ..spec()
        };
        assert_eq!(BlockSpec::from_tags("t", &several.to_tags()).expect("its own tags"), several);
    }

    #[test]
    fn a_spoiled_record_is_not_guessed_at() {
        for key in [
            tag::BLOCK,
            tag::ENVIRONMENT,
            INSTANCES,
            DURATION,
            OPENED,
            VALID_UNTIL,
            SOURCES,
            TYPES,
            SUBNETS,
        ] {
            let mut tags = spec().to_tags();
            tags.remove(key);
            let error = BlockSpec::from_tags("t", &tags).expect_err(key);
            assert!(error.to_string().contains(key), "{error}");
            let free = [tag::ENVIRONMENT, TYPES, SUBNETS].contains(&key);
            tags.insert(key.into(), if free { String::new() } else { "?".into() });
            assert!(key == tag::ENVIRONMENT || BlockSpec::from_tags("t", &tags).is_err(), "{key}");
        }
    }

    #[test]
    fn everything_of_a_block_carries_both_marks() {
        let tags = spec().resource_tags();
        assert_eq!(tags[tag::BLOCK], "sb-0123456789");
        assert_eq!(tags[tag::ENVIRONMENT], "spot-block-test");
        assert_eq!(
            (tags["team"].as_str(), tags["Name"].as_str()),
            ("imaging", "spotblock spot-block-test")
        );
    }
}
