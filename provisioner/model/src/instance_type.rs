//! Which instance types fit what an instance needs.

use std::collections::BTreeSet;

use node_contract::Source;

use crate::cost::Dollars;
use crate::record::TAG_VALUE;

/// So many types are enough to find capacity.
const TYPES: usize = 10;

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// Intel's and AMD's.
    X86,
    /// ARM's.
    Arm64,
}

impl Arch {
    /// As EC2 names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::X86, Self::Arm64].into_iter().find(|it| it.name() == name)
    }
}

/// What an instance needs at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceRequirements {
    /// vCPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// GPUs.
    pub gpus: u32,
    /// The architecture.
    pub arch: Arch,
}

/// An instance type, as far as needs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceType {
    /// Its name.
    pub name: String,
    /// Its vCPUs.
    pub vcpus: u32,
    /// Its memory in MiB.
    pub memory_mib: u32,
    /// Its GPUs, of those that ECS drives.
    pub gpus: u32,
    /// Whether it has GPUs or other accelerators of any maker.
    pub accelerated: bool,
    /// How it is sold, as EC2 names it.
    pub usage_classes: Vec<String>,
}

impl InstanceType {
    fn fits(&self, requirements: InstanceRequirements) -> bool {
        self.vcpus >= requirements.vcpus
            && self.memory_mib >= requirements.memory_mib
            && self.gpus >= requirements.gpus
            // What isn't needed is not paid for.
            && (requirements.gpus > 0 || !self.accelerated)
    }

    fn size(&self) -> (u32, u32, u32) {
        (self.gpus, self.vcpus, self.memory_mib)
    }
}

/// How the sources' instances are sold, as EC2 names it.
#[must_use]
pub fn usage_classes(sources: &[Source]) -> Vec<&'static str> {
    let class = |source: &Source| match source {
        Source::SpotBlock | Source::Spot => "spot",
        Source::OnDemand | Source::Reservation => "on-demand",
        Source::CapacityBlock => "capacity-block",
    };
    let mut classes: Vec<_> = sources.iter().map(class).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// The types that fit and are sold in all of these ways, the smallest first. Where some are offered
/// in all zones, it is those alone. Pure.
#[must_use]
pub fn fitting(
    requirements: InstanceRequirements,
    mut kinds: Vec<InstanceType>,
    classes: &[&str],
    offered: &BTreeSet<(String, String)>,
    zones: &[String],
) -> Vec<InstanceType> {
    let zones_of = |kind: &InstanceType| {
        zones.iter().filter(|zone| offered.contains(&(kind.name.clone(), (*zone).clone()))).count()
    };
    kinds.retain(|kind| {
        let sold = classes.iter().all(|class| kind.usage_classes.iter().any(|it| it == class));
        kind.fits(requirements) && sold && zones_of(kind) > 0
    });
    if kinds.iter().any(|kind| zones_of(kind) == zones.len()) {
        kinds.retain(|kind| zones_of(kind) == zones.len());
    }
    kinds.sort_by(|a, b| (a.size(), &a.name).cmp(&(b.size(), &b.name)));
    kinds
}

/// The first of them, of the same size the cheaper first, and those without a known price last.
/// Pure.
#[must_use]
pub fn chosen(
    mut kinds: Vec<InstanceType>,
    price: impl Fn(&str) -> Option<Dollars>,
) -> Vec<String> {
    kinds.sort_by_cached_key(|kind| {
        let price = price(&kind.name);
        (kind.size(), price.is_none(), price, kind.name.clone())
    });
    let mut names: Vec<String> = kinds.into_iter().map(|kind| kind.name).take(TYPES).collect();
    while names.join(" ").len() > TAG_VALUE {
        names.pop();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str, (gpus, vcpus, gib): (u32, u32, u32)) -> InstanceType {
        InstanceType {
            name: name.into(),
            vcpus,
            memory_mib: gib * 1024,
            gpus,
            accelerated: gpus > 0,
            usage_classes: vec!["on-demand".into(), "spot".into()],
        }
    }

    fn names(kinds: Vec<InstanceType>) -> Vec<String> {
        kinds.into_iter().map(|kind| kind.name).collect()
    }

    fn everywhere(kinds: &[InstanceType]) -> BTreeSet<(String, String)> {
        kinds
            .iter()
            .flat_map(|it| ["a", "b"].map(|zone| (it.name.clone(), zone.to_owned())))
            .collect()
    }

    const FOUR: InstanceRequirements =
        InstanceRequirements { vcpus: 4, memory_mib: 8192, gpus: 0, arch: Arch::X86 };

    #[test]
    fn what_fits_is_sorted_by_size_and_pays_for_no_gpu() {
        let kinds = vec![
            kind("g.x", (1, 4, 8)),
            kind("m.x", (0, 4, 16)),
            kind("c.l", (0, 2, 4)),
            kind("c.x", (0, 4, 8)),
        ];
        let (offered, zones) = (everywhere(&kinds), ["a".to_owned(), "b".to_owned()]);
        let found = |requirements, classes: &[&str]| {
            names(fitting(requirements, kinds.clone(), classes, &offered, &zones))
        };
        assert_eq!(found(FOUR, &["spot"]), ["c.x", "m.x"]);
        assert_eq!(found(InstanceRequirements { gpus: 1, ..FOUR }, &["spot"]), ["g.x"]);
        assert!(
            found(FOUR, &["on-demand", "capacity-block"]).is_empty(),
            "sold in every way that is listed"
        );
    }

    /// Catches: a type that most of the block's zones don't have before one that all have.
    #[test]
    fn types_that_all_zones_have_are_taken_alone_where_there_are_some() {
        let kinds = vec![kind("c.x", (0, 4, 8)), kind("m.x", (0, 4, 16)), kind("r.x", (0, 4, 32))];
        let mut offered = everywhere(&kinds);
        offered.remove(&("c.x".to_owned(), "b".to_owned()));
        offered.retain(|(name, _)| name != "r.x");
        let found = |zones: &[&str]| {
            let zones: Vec<String> = zones.iter().map(|zone| (*zone).to_owned()).collect();
            names(fitting(FOUR, kinds.clone(), &["spot"], &offered, &zones))
        };
        assert_eq!(found(&["a", "b"]), ["m.x"]);
        assert_eq!(found(&["a"]), ["c.x", "m.x"]);
        assert_eq!(
            found(&["a", "b", "nowhere"]),
            ["c.x", "m.x"],
            "none has all of them: some is enough"
        );
    }

    #[test]
    fn of_one_size_the_cheapest_comes_first_and_an_unknown_price_last() {
        let mut kinds: Vec<InstanceType> =
            ["u", "dear", "cheap"].map(|name| kind(name, (0, 4, 8))).into();
        kinds.push(kind("small", (0, 2, 4)));
        let price = |name: &str| match name {
            "dear" | "small" => Dollars::parse("2"),
            "cheap" => Dollars::parse("1"),
            _ => None,
        };
        assert_eq!(chosen(kinds, price), ["small", "cheap", "dear", "u"]);
        let many: Vec<InstanceType> =
            (0..30).map(|n| kind(&format!("{n:0>40}"), (0, 4, 8))).collect();
        let names = chosen(many, |_| None);
        assert!(names.len() == 6 && names.join(" ").len() <= TAG_VALUE, "{names:?}");
        let many: Vec<InstanceType> = (0..30).map(|n| kind(&format!("t{n}"), (0, 4, 8))).collect();
        assert_eq!(chosen(many, |_| None).len(), TYPES);
    }
}
