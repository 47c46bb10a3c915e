//! What a block costs at worst, before anything is bought. All amounts are estimates: they are of
//! instances alone, without volumes, traffic, addresses or the extra CPU credits of burstable
//! types, and without taxes.

use jiff::SignedDuration;
use node_contract::Source;
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::text::human;

/// An amount in millionths of a US dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dollars(u64);

const MILLION: u64 = 1_000_000;

impl Dollars {
    /// Out of decimal digits, as AWS writes them; what is below a millionth is rounded up.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |it: &str| it.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) {
            return None;
        }
        let (kept, rest) = part.split_at(part.len().min(6));
        let millionths: u64 = format!("{kept:0<6}").parse().ok()?;
        let up = u64::from(rest.bytes().any(|b| b != b'0'));
        let whole: u64 = whole.parse().ok()?;
        whole.checked_mul(MILLION)?.checked_add(millionths)?.checked_add(up).map(Self)
    }

    /// What so many instances cost for so long at this price per instance-hour, rounded up.
    #[must_use]
    pub fn for_block(self, instances: u32, duration: SignedDuration) -> Self {
        let seconds = u128::from(duration.unsigned_abs().as_secs());
        let total = (u128::from(self.0) * u128::from(instances) * seconds).div_ceil(3600);
        Self(u64::try_from(total).unwrap_or(u64::MAX))
    }

    /// In dollars, for JSON's numbers.
    #[must_use]
    pub fn to_number(self) -> f64 {
        self.digits().parse().unwrap_or(f64::MAX)
    }

    /// Whole cents, rounded up.
    #[must_use]
    pub fn cents_up(self) -> Self {
        Self(self.0.div_ceil(MILLION / 100).saturating_mul(MILLION / 100))
    }

    /// At least two digits behind the point, no dollar sign.
    fn digits(self) -> String {
        let part = format!("{:06}", self.0 % MILLION);
        let shown = part.trim_end_matches('0').len().max(2);
        format!("{}.{}", self.0 / MILLION, part.get(..shown).unwrap_or(&part))
    }
}

impl std::iter::Sum for Dollars {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        Self(all.fold(0, |sum, it| sum.saturating_add(it.0)))
    }
}

impl std::fmt::Display for Dollars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "${}", self.digits())
    }
}

/// As text: a binary fraction would not be the amount.
impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.digits())
    }
}

/// What one type costs from one source, in US dollars per instance-hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// The source.
    pub source: Source,
    /// The type.
    pub instance_type: String,
    /// The Availability Zone, where the price is that of a zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The price now; none where it isn't known.
    #[serde(rename = "usd_per_instance_hour_estimate")]
    pub now: Option<Dollars>,
    /// What it can be at most while the block lasts; none where nothing bounds it.
    #[serde(rename = "usd_per_instance_hour_at_most")]
    pub at_most: Option<Dollars>,
}

/// The prices of a block that is to be bought, and what follows from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// What each source asks, type by type.
    pub prices: Vec<Quote>,
    /// All instances for the whole duration, from the dearest source and type; none where a price
    /// has no bound.
    pub worst_case_usd_estimate: Option<Dollars>,
    /// The user's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<Dollars>,
}

/// What is known of prices, by type; spot prices by type and zone.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Spot prices now.
    pub spot: Vec<(String, String, Dollars)>,
    /// On-demand prices.
    pub on_demand: Vec<(String, Dollars)>,
}

impl Known {
    /// The on-demand price of a type.
    #[must_use]
    pub fn list(&self, kind: &str) -> Option<Dollars> {
        self.on_demand.iter().find(|(name, _)| name == kind).map(|(_, price)| *price)
    }
}

/// What an instance-hour can cost at most. Spot prices move up to `max-price`, which without one is
/// the on-demand price `[V]`. An on-demand fleet is told `max-price` too, as far as AWS keeps to it
/// `[A]`. A reservation is billed at the on-demand price, whatever `max-price` says. A capacity
/// block has its own price, which its offering names.
#[must_use]
pub fn at_most(
    source: Source,
    max_price: Option<Dollars>,
    list: Option<Dollars>,
) -> Option<Dollars> {
    match source {
        Source::SpotBlock | Source::Spot => max_price.or(list),
        Source::OnDemand => max_price.into_iter().chain(list).min(),
        Source::Reservation => list,
        Source::CapacityBlock => None,
    }
}

/// The prices of each source in turn. Pure.
#[must_use]
pub fn quotes(
    sources: &[Source],
    types: &[String],
    zones: &[String],
    max_price: Option<Dollars>,
    known: &Known,
) -> Vec<Quote> {
    let mut all = Vec::new();
    for source in sources {
        for kind in types {
            let list = known.list(kind);
            let quote = |zone: Option<&String>, now| Quote {
                source: *source,
                instance_type: kind.clone(),
                zone: zone.cloned(),
                now,
                at_most: at_most(*source, max_price, list),
            };
            match source {
                Source::Spot => all.extend(zones.iter().map(|zone| {
                    let found = known.spot.iter().find(|(name, at, _)| name == kind && at == zone);
                    quote(Some(zone), found.map(|(.., price)| *price))
                })),
                Source::OnDemand | Source::Reservation => all.push(quote(None, list)),
                // What a spot block costs is said by nobody beforehand.
                Source::SpotBlock | Source::CapacityBlock => all.push(quote(None, None)),
            }
        }
    }
    all
}

/// All instances for the whole duration at the dearest bound; none where one has none. A capacity
/// block is bought as a whole, and never above `max-cost` (`purchase/capacity_block.rs`). Pure.
#[must_use]
pub fn worst_case(
    quotes: &[Quote],
    instances: u32,
    duration: SignedDuration,
    max_cost: Option<Dollars>,
) -> Option<Dollars> {
    let bound = |quote: &Quote| match quote.source {
        Source::CapacityBlock => max_cost,
        _ => Some(quote.at_most?.for_block(instances, duration)),
    };
    let bounds: Option<Vec<Dollars>> = quotes.iter().map(bound).collect();
    bounds?.into_iter().max()
}

impl Cost {
    /// Why the block is not to be bought, and what to do: it could cost more than the user's limit,
    /// or nobody knows how much.
    #[must_use]
    pub fn refusal(&self) -> Option<(String, String)> {
        let limit = self.max_cost_usd?;
        let worst = self.worst_case_usd_estimate;
        match worst {
            Some(worst) if worst <= limit => None,
            Some(worst) => Some((
                format!("could cost up to {worst} (estimate), and max-cost is {limit}"),
                "raise [block] max-cost (--max-cost), lower max-price, or ask for fewer \
                 instances, a shorter duration, cheaper types or other sources"
                    .to_owned(),
            )),
            None => {
                let unbound = self
                    .prices
                    .iter()
                    .find(|it| it.at_most.is_none() && it.source != Source::CapacityBlock);
                let which = unbound.map_or("a price".to_owned(), |it| {
                    format!("the price of {} {}", it.source, it.instance_type)
                });
                Some((
                    format!("could cost more than max-cost, {limit}: {which} is unknown"),
                    "set [block] max-price, allow pricing:GetProducts, or leave max-cost out"
                        .to_owned(),
                ))
            }
        }
    }

    /// Nothing, or the error before the purchase.
    ///
    /// # Errors
    /// [`Error::capacity`] where [`Cost::refusal`] has a reason.
    pub fn within_limit(&self) -> Result<()> {
        match self.refusal() {
            None => Ok(()),
            Some((why, next)) => Err(Error::capacity(
                format!("the block {why}"),
                None,
                format!("nothing was bought. To go on, {next}"),
            )),
        }
    }

    /// A line for each source, and one for the whole block.
    #[must_use]
    pub fn lines(&self, instances: u32, duration: SignedDuration) -> Vec<String> {
        let mut lines = Vec::new();
        let mut rest = self.prices.as_slice();
        while let Some(first) = rest.first() {
            let (of_source, others) =
                rest.split_at(rest.iter().take_while(|it| it.source == first.source).count());
            rest = others;
            lines.push(format!("{}: {}", first.source, summary(of_source)));
        }
        let block = format!("{instances} x {}", human(duration.unsigned_abs()));
        lines.push(match self.worst_case_usd_estimate {
            Some(worst) => format!("at worst {worst} for {block} (estimate; instances alone)"),
            None => format!("the cost of {block} has no known bound"),
        });
        lines
    }
}

/// One source's prices in one line.
fn summary(quotes: &[Quote]) -> String {
    let known = || quotes.iter().filter_map(|it| it.now);
    let now = match (known().min(), known().max()) {
        (Some(low), Some(high)) if low == high => format!("{low} per instance-hour now (estimate)"),
        (Some(low), Some(high)) => format!("{low} to {high} per instance-hour now (estimate)"),
        _ => "price unknown".to_owned(),
    };
    let bounds: Option<Vec<Dollars>> = quotes.iter().map(|it| it.at_most).collect();
    match bounds.and_then(|bounds| bounds.into_iter().max()) {
        Some(bound) => format!("{now}, at most {bound} per instance-hour"),
        None => now,
    }
}

/// Whether the on-demand price has a part in what an instance-hour can cost.
#[must_use]
pub fn is_bound_by_list(source: Source, max_price: Option<Dollars>) -> bool {
    match source {
        Source::SpotBlock | Source::Spot => max_price.is_none(),
        Source::OnDemand | Source::Reservation => true,
        Source::CapacityBlock => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dollars(text: &str) -> Dollars {
        Dollars::parse(text).expect("an amount")
    }

    fn known() -> Known {
        Known {
            spot: vec![
                ("a.x".into(), "z1".into(), dollars("0.01")),
                ("a.x".into(), "z2".into(), dollars("0.012")),
            ],
            on_demand: vec![("a.x".into(), dollars("0.04"))],
        }
    }

    fn cost(
        sources: &[Source],
        types: &[&str],
        max_price: Option<&str>,
        max_cost: Option<&str>,
    ) -> Cost {
        let types: Vec<String> = types.iter().map(|it| (*it).to_owned()).collect();
        let zones = ["z1".to_owned(), "z2".to_owned()];
        let prices = quotes(sources, &types, &zones, max_price.map(dollars), &known());
        let max_cost = max_cost.map(dollars);
        let worst = worst_case(&prices, 3, SignedDuration::from_mins(90), max_cost);
        Cost { prices, worst_case_usd_estimate: worst, max_cost_usd: max_cost }
    }

    #[test]
    fn amounts_are_exact_and_rounded_up() {
        for (text, shown) in [
            ("0.0850000000", "$0.085"),
            ("3", "$3.00"),
            ("0.00000001", "$0.000001"),
            ("12.5", "$12.50"),
            ("0", "$0.00"),
        ] {
            assert_eq!(dollars(text).to_string(), shown);
        }
        for text in ["", ".5", "-1", "1e3", "1.2.3", "99999999999999999999"] {
            assert_eq!(Dollars::parse(text), None, "{text:?}");
        }
        assert_eq!(
            dollars("0.0116").for_block(20, SignedDuration::from_hours(3)),
            dollars("0.696")
        );
        assert_eq!(
            dollars("0.000001").for_block(1, SignedDuration::from_secs(1)),
            dollars("0.000001")
        );
        assert_eq!(serde_json::to_string(&dollars("0.0116")).expect("JSON"), "\"0.0116\"");
    }

    /// Catches: a worst case that a source or a moving spot price can exceed.
    #[test]
    fn the_worst_case_is_the_dearest_bound_of_all_rungs() {
        use Source::{CapacityBlock, OnDemand, Reservation, Spot, SpotBlock};
        for (sources, types, max_price, worst) in [
            (&[Spot][..], &["a.x"][..], None, Some("0.18")),
            (&[Spot], &["a.x"], Some("0.02"), Some("0.09")),
            (&[SpotBlock], &["b.x"], Some("0.02"), Some("0.09")),
            (&[SpotBlock], &["b.x"], None, None),
            (&[OnDemand], &["a.x"], None, Some("0.18")),
            (&[OnDemand], &["a.x"], Some("0.02"), Some("0.09")),
            (&[OnDemand], &["a.x"], Some("1"), Some("0.18")),
            (&[Spot, OnDemand], &["a.x", "b.x"], Some("0.02"), Some("0.09")),
            (&[Spot, OnDemand], &["a.x", "b.x"], None, None),
            (&[Spot, Reservation], &["a.x"], Some("0.02"), Some("0.18")),
            (&[CapacityBlock], &["a.x"], Some("0.02"), None),
            (&[], &["a.x"], Some("0.02"), None),
        ] {
            let cost = cost(sources, types, max_price, None);
            assert_eq!(
                cost.worst_case_usd_estimate,
                worst.map(dollars),
                "{sources:?} {types:?} {max_price:?}"
            );
        }
    }

    #[test]
    fn a_limit_refuses_what_is_above_it_and_what_nobody_knows() {
        let refusal =
            |types: &[&str], max_cost| cost(&[Source::OnDemand], types, None, max_cost).refusal();
        assert_eq!(refusal(&["a.x"], None), None);
        assert_eq!(refusal(&["b.x"], None), None, "without a limit nothing is refused");
        assert_eq!(refusal(&["a.x"], Some("0.18")), None);
        let (why, _) = refusal(&["a.x"], Some("0.179999")).expect("refused");
        assert_eq!(why, "could cost up to $0.18 (estimate), and max-cost is $0.179999");
        let bought = |max_cost| {
            cost(&[Source::Spot, Source::CapacityBlock], &["a.x"], None, Some(max_cost)).refusal()
        };
        assert_eq!(bought("0.18"), None, "the purchase itself is held to it");
        assert!(bought("0.17").is_some(), "but the other source isn't");
        let (why, next) = refusal(&["b.x"], Some("1000")).expect("refused");
        assert!(
            why.contains("the price of on-demand b.x is unknown") && next.contains("max-price"),
            "{why}; {next}"
        );
    }

    #[test]
    fn prices_are_shown_with_unit_and_the_word_estimate() {
        let cost = cost(&[Source::SpotBlock, Source::Spot, Source::OnDemand], &["a.x"], None, None);
        assert_eq!(
            cost.lines(3, SignedDuration::from_mins(90)),
            [
                "spot-block: price unknown, at most $0.04 per instance-hour",
                "spot: $0.01 to $0.012 per instance-hour now (estimate), at most $0.04 per \
                 instance-hour",
                "on-demand: $0.04 per instance-hour now (estimate), at most $0.04 per \
                 instance-hour",
                "at worst $0.18 for 3 x 1 h 30 min (estimate; instances alone)",
            ]
        );
        let cost = super::tests::cost(&[Source::OnDemand], &["b.x"], None, None);
        assert_eq!(
            cost.lines(3, SignedDuration::from_mins(90)),
            ["on-demand: price unknown", "the cost of 3 x 1 h 30 min has no known bound"]
        );
    }
}
