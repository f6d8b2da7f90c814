//! Finds the filter on paths that decides one path.
//!
//! A profile repeats its patterns some thousand times, and a comparison asks for thousands of paths. So the patterns
//! are found by the literal directory that they begin with. Of a formula, only those parts are evaluated that have a
//! matching pattern. The value of every other part is known before.

use super::profile::Profile;
use super::sets::Formula;
use crate::semantics::{StepsIndex, steps_match};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// A part of a formula, and its value if none of its patterns matches.
#[derive(Debug)]
struct Node {
    kind: Kind,
    /// Its leaves: from this number up to that one.
    leaves: (u32, u32),
    holds: bool,
}

#[derive(Debug)]
enum Kind {
    Const,
    One,
    None,
    Any(Parts),
    All(Parts),
}

#[derive(Debug)]
struct Parts {
    list: Vec<Node>,
    /// The parts that settle the formula if none of their patterns matches, ascending. In `Any` they are those that
    /// hold then, in `All` those that do not.
    settling: Vec<usize>,
}

/// A pattern that matches: its leaf, its index in the leaf, and the filter.
type Hit = (u32, u32, u32);

/// A formula of filters on paths, prepared for many paths.
#[derive(Debug)]
pub(super) struct Prepared {
    root: Node,
    /// Where each pattern occurs.
    positions: FxHashMap<u32, Vec<Hit>>,
}

impl Prepared {
    pub fn new(profile: &Profile, formula: &Formula) -> Self {
        let mut positions: FxHashMap<u32, Vec<Hit>> = FxHashMap::default();
        let mut leaves = 0;
        let root = Node::new(formula, &mut leaves, &mut |leaf, at, paths| {
            let pattern = profile.paths[paths as usize].pattern;
            positions
                .entry(pattern)
                .or_default()
                .push((leaf, at, paths));
        });
        Self { root, positions }
    }

    /// Whether the formula holds for a path, and the filter that matches, if one decides it.
    pub fn decide(
        &self,
        profile: &Profile,
        index: &StepsIndex,
        path: &[u8],
    ) -> (bool, Option<u32>) {
        let path = if path == b"/" { b"" } else { path };
        let mut hits: Vec<Hit> = Vec::new();
        for pattern in index.candidates(path) {
            let Some(positions) = self.positions.get(&(pattern as u32)) else {
                continue;
            };
            let lines = &profile.patterns[pattern];
            if lines.iter().any(|steps| steps_match(steps, path)) {
                hits.extend(positions);
            }
        }
        hits.sort_unstable();
        // The first hit of each leaf.
        hits.dedup_by_key(|h| h.0);
        self.root.decide(&hits)
    }
}

impl Node {
    fn new(formula: &Formula, leaves: &mut u32, place: &mut impl FnMut(u32, u32, u32)) -> Self {
        let from = *leaves;
        let (kind, holds) = match formula {
            Formula::Const(b) => (Kind::Const, *b),
            Formula::One(paths) | Formula::None(paths) => {
                for (at, p) in (0..).zip(paths) {
                    place(from, at, *p);
                }
                *leaves += 1;
                match formula {
                    Formula::One(_) => (Kind::One, false),
                    _ => (Kind::None, true),
                }
            }
            Formula::Any(parts) => {
                let parts = Parts::new(parts, true, leaves, place);
                let holds = !parts.settling.is_empty();
                (Kind::Any(parts), holds)
            }
            Formula::All(parts) => {
                let parts = Parts::new(parts, false, leaves, place);
                let holds = parts.settling.is_empty();
                (Kind::All(parts), holds)
            }
        };
        Self {
            kind,
            leaves: (from, *leaves),
            holds,
        }
    }

    /// The value with these hits in its leaves.
    fn decide(&self, hits: &[Hit]) -> (bool, Option<u32>) {
        let Some(first) = hits.first() else {
            return (self.holds, None);
        };
        match &self.kind {
            Kind::Const => (self.holds, None),
            Kind::One => (true, Some(first.2)),
            Kind::None => (false, Some(first.2)),
            Kind::Any(parts) => {
                let mut why = None;
                // The first part that holds, with or without a hit.
                let mut before = 0;
                for (at, hits) in parts.touched(hits) {
                    if parts.settles(before..at) {
                        return (true, None);
                    }
                    before = at + 1;
                    let (holds, from) = parts.list[at].decide(hits);
                    if holds {
                        return (true, from);
                    }
                    why = why.or(from);
                }
                match parts.settles(before..parts.list.len()) {
                    true => (true, None),
                    false => (false, why),
                }
            }
            Kind::All(parts) => {
                let mut before = 0;
                let mut all = Vec::new();
                for (at, hits) in parts.touched(hits) {
                    if parts.settles(before..at) {
                        return (false, None);
                    }
                    before = at + 1;
                    all.push(parts.list[at].decide(hits));
                }
                // An exception is the reason only if nothing else is missing.
                let missing = |(holds, from): &(bool, Option<u32>)| !holds && from.is_none();
                if parts.settles(before..parts.list.len()) || all.iter().any(missing) {
                    return (false, None);
                }
                let holds = all.iter().all(|(holds, _)| *holds);
                let why = all.iter().filter(|(part, _)| *part == holds);
                let why = why.map(|(_, from)| *from).find(Option::is_some).flatten();
                (holds, why)
            }
        }
    }
}

impl Parts {
    fn new(
        parts: &[Formula],
        settles: bool,
        leaves: &mut u32,
        place: &mut impl FnMut(u32, u32, u32),
    ) -> Self {
        let list = parts.iter().map(|p| Node::new(p, leaves, place));
        let list: Vec<Node> = list.collect();
        let settling = list.iter().enumerate();
        let settling = settling.filter(|(_, p)| p.holds == settles);
        Self {
            settling: settling.map(|(at, _)| at).collect(),
            list,
        }
    }

    /// Whether one of these parts settles it without a match.
    fn settles(&self, range: Range<usize>) -> bool {
        let first = self.settling.partition_point(|at| *at < range.start);
        self.settling.get(first).is_some_and(|at| *at < range.end)
    }

    /// The parts with hits in their leaves, each with its hits.
    fn touched<'h>(&'h self, mut hits: &'h [Hit]) -> impl Iterator<Item = (usize, &'h [Hit])> {
        std::iter::from_fn(move || {
            let leaf = hits.first()?.0;
            let at = self.list.partition_point(|p| p.leaves.1 <= leaf);
            let end = self.list.get(at)?.leaves.1;
            let (own, rest) = hits.split_at(hits.partition_point(|h| h.0 < end));
            hits = rest;
            Some((at, own))
        })
    }
}
