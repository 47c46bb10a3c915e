//! Arrows between names: circles, and the arrows that run back.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::Import;

/// A graph of names; an arrow leads from who uses to what is used.
pub(crate) struct Graph<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Graph<'a> {
    /// The files, and which uses which.
    pub(crate) fn of_files(imports: &'a [Import]) -> Self {
        Self::new(imports.iter().filter_map(|import| {
            let to = import.to_file.as_deref()?;
            Some((import.file.as_str(), to))
        }))
    }

    /// The modules of the root with lib.rs itself, and which uses which.
    pub(crate) fn of_modules(imports: &'a [Import]) -> Self {
        Self::new(imports.iter().map(|import| (import.from.as_str(), import.to.as_str())))
    }

    /// Takes arrows; one from a name to itself is left out.
    fn new(arrows: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut graph = BTreeMap::<_, BTreeSet<_>>::new();
        for (from, to) in arrows.into_iter().filter(|(from, to)| from != to) {
            graph.entry(from).or_default().insert(to);
            graph.entry(to).or_default();
        }
        Self(graph)
    }

    /// The circles: groups of two names or more that all lead to each other.
    pub(crate) fn circles(&self) -> Vec<Vec<&'a str>> {
        let reach: BTreeMap<_, _> = self.0.keys().map(|name| (*name, self.reach(name))).collect();
        let circles = reach.iter().map(|(name, reached)| {
            let both_ways = |other: &&str| reach[other].contains(name);
            reached.iter().copied().filter(both_ways).collect::<Vec<_>>()
        });
        let circles: BTreeSet<_> = circles.filter(|circle| circle.len() > 1).collect();
        circles.into_iter().collect()
    }

    /// Everything that arrows lead to from here.
    fn reach(&self, name: &str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<&str> = self.0[name].iter().copied().collect();
        while let Some(name) = waiting.pop() {
            if let Some((name, next)) = self.0.get_key_value(name)
                && reached.insert(*name)
            {
                waiting.extend(next);
            }
        }
        reached
    }

    /// How many arrows run against the order that the heuristic of Eades, Lin and Smyth finds: few,
    /// not always the fewest, and the same at each run.
    pub(crate) fn arrows_back(&self) -> usize {
        let order = self.order();
        let place = |name: &str| order.iter().position(|other| *other == name);
        let arrows = self.0.iter().flat_map(|(from, tos)| tos.iter().map(move |to| (*from, *to)));
        arrows.filter(|(from, to)| place(from) > place(to)).count()
    }

    /// Users before what they use: what uses nothing more goes to the end, what nothing uses more
    /// to the front; in a circle the one goes to the front that uses most and is used least.
    fn order(&self) -> Vec<&'a str> {
        let mut left: BTreeSet<&str> = self.0.keys().copied().collect();
        let (mut front, mut end) = (Vec::new(), Vec::new());
        while !left.is_empty() {
            let uses = |name: &str| self.0[name].intersection(&left).count();
            let uses_name = |user: &str, name: &str| self.0[user].contains(name);
            let users = |name: &str| left.iter().filter(|user| uses_name(user, name)).count();
            let spare = |name: &str| users(name) as i64 - uses(name) as i64;
            let bottom = left.iter().copied().find(|name| uses(name) == 0);
            let top = left.iter().copied().find(|name| users(name) == 0);
            let next = left.iter().copied().min_by_key(|name| spare(name));
            let chosen = bottom.or(top).or(next).unwrap_or_default();
            if bottom.is_some() {
                end.push(chosen)
            } else {
                front.push(chosen)
            }
            left.remove(chosen);
        }
        front.extend(end.into_iter().rev());
        front
    }
}
