//! The attempts of a block: one for each pool of each source in turn. All of them follow from the
//! record.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use node_contract::Source;
use sha2::{Digest as _, Sha256};

use super::{ATTEMPT, BlockSpec};
use crate::source;

/// A pool of capacity: any of these types in any of these subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The instance types.
    pub types: Vec<String>,
    /// The subnets.
    pub subnets: Vec<String>,
}

/// One attempt to buy a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurchaseAttempt {
    /// Its number, from 1 on through all sources.
    pub number: u32,
    /// Where it buys.
    pub source: Source,
    /// What, of that.
    pub pool: Pool,
    /// How long its requests stay open, where the source has any.
    pub valid_until: Timestamp,
    /// The number of the source's last attempt.
    pub last: u32,
}

impl PurchaseAttempt {
    /// Its types and subnets, as people read them.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{} in {}", self.pool.types.join(" or "), self.pool.subnets.join(" or "))
    }
}

impl BlockSpec {
    /// All attempts, in their order. Those of one source share the time in which requests stay
    /// open.
    #[must_use]
    pub fn attempts(&self) -> Vec<PurchaseAttempt> {
        let mut attempts: Vec<PurchaseAttempt> = Vec::new();
        for source in &self.sources {
            let pools = source::rules(*source).pools(self);
            let (before, count) = (attempts.len(), pools.len());
            let number = |n: usize| u32::try_from(before + n).unwrap_or(u32::MAX);
            attempts.extend(pools.into_iter().enumerate().map(|(n, pool)| PurchaseAttempt {
                number: number(n + 1),
                source: *source,
                pool,
                valid_until: self.share(n + 1, count),
                last: number(count),
            }));
        }
        attempts
    }

    /// The end of the nth of so many equal parts of the time for requests, in whole seconds, as EC2
    /// keeps them.
    fn share(&self, n: usize, of: usize) -> Timestamp {
        if n == of {
            return self.valid_until;
        }
        let whole = self.opened.duration_until(self.valid_until).as_secs();
        let (n, of) = (i64::try_from(n).unwrap_or(1), i64::try_from(of).unwrap_or(1));
        self.opened
            .checked_add(SignedDuration::from_secs(whole * n / of))
            .unwrap_or(self.valid_until)
    }

    /// The token of a purchase: 40 hexadecimal digits, where EC2 takes up to 64 ASCII characters.
    /// `round` is zero but for a purchase that AWS answered with an error that passes.
    #[must_use]
    pub fn client_token(&self, attempt: &PurchaseAttempt, round: u32) -> String {
        let again = if round > 0 { format!("|{round}") } else { String::new() };
        let hash =
            Sha256::digest(format!("{}|{}|{}{again}", self.block, attempt.source, attempt.number));
        hash.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The tags of what an attempt buys.
    #[must_use]
    pub fn tags_of(&self, attempt: u32) -> BTreeMap<String, String> {
        let mut tags = self.resource_tags();
        tags.insert(ATTEMPT.to_owned(), attempt.to_string());
        tags
    }
}

/// The attempt that bought the thing with these tags.
#[must_use]
pub fn attempt_of(tags: &BTreeMap<String, String>) -> Option<u32> {
    tags.get(ATTEMPT)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::spec;

    fn attempt(number: u32, source: Source) -> PurchaseAttempt {
        PurchaseAttempt { number, source, ..spec().attempts().remove(0) }
    }

    /// Catches: a token that doesn't change with each of the three, or changes with anything else.
    /// The literal holds it against a block that an older version bought.
    #[test]
    fn the_token_follows_from_id_source_and_attempt_alone() {
        let first = attempt(1, Source::SpotBlock);
        let token = spec().client_token(&first, 0);
        assert_eq!(token, "dce2cdcfaf5d87223a27857dc9b2f6407d513f4e");
        assert_ne!(
            BlockSpec { block: "sb-0123456780".into(), ..spec() }.client_token(&first, 0),
            token
        );
        assert_ne!(spec().client_token(&first, 1), token);
        assert_ne!(spec().client_token(&attempt(2, Source::SpotBlock), 0), token);
        assert_ne!(spec().client_token(&attempt(1, Source::OnDemand), 0), token);
        let other = BlockSpec {
            instances: 9,
            max_price: None,
            valid_until: Timestamp::UNIX_EPOCH,
            ..spec()
        };
        assert_eq!(other.client_token(&first, 0), token);
    }

    #[test]
    fn a_block_of_one_source_type_and_subnet_has_one_attempt() {
        let attempts = spec().attempts();
        assert_eq!((attempts.len(), attempts[0].number, attempts[0].last), (1, 1, 1));
        assert_eq!(attempts[0].valid_until, spec().valid_until);
    }

    /// Catches: pools whose requests all stay open to the end, so that the second is made when none
    /// is valid any more.
    #[test]
    fn the_pools_of_a_spot_block_share_the_time() {
        let several = BlockSpec {
            types: vec!["t2.micro".into(), "t3.micro".into()],
            subnets: vec!["subnet-1".into(), "subnet-2".into()],
            ..spec()
        };
        let attempts = several.attempts();
        let minutes: Vec<i64> = attempts
            .iter()
            .map(|it| several.opened.duration_until(it.valid_until).as_secs())
            .collect();
        assert_eq!(minutes, [150, 300, 450, 600]);
        assert!(attempts.iter().all(|it| it.last == 4));
        assert_eq!(attempts[2].shown(), "t3.micro in subnet-1");
    }
}
