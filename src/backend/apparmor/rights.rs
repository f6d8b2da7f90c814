//! One right: from a policy's ordered rules to what is granted and what is denied.

use super::carve::without;
use super::model::{Access, Origin, Piece};
use crate::policy::{Component, Sequence};
use crate::semantics::{SequenceIndex, intersects};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// A rule of the policy, as far as it speaks of one right.
#[derive(Debug, Clone)]
pub struct PathRule {
    pub origin: Origin,
    pub include: Vec<Sequence>,
    pub except: Vec<Sequence>,
    pub allows: bool,
}

impl PathRule {
    fn piece(&self, pattern: Sequence) -> Piece {
        Piece {
            pattern,
            origin: self.origin,
        }
    }
}

/// The patterns of all allows.
#[derive(Default)]
struct Allows {
    patterns: SequenceIndex,
    /// The rule of each, by its number.
    of: Vec<usize>,
}

impl Allows {
    fn of(rules: &[PathRule]) -> Self {
        let mut out = Self::default();
        for (at, rule) in rules.iter().enumerate().filter(|(_, r)| r.allows) {
            for pattern in &rule.include {
                out.patterns.add(pattern);
                out.of.push(at);
            }
        }
        out
    }

    /// Those of the rules that meet the pattern, with their rules.
    fn meet(&self, pattern: &Sequence) -> impl Iterator<Item = (&Sequence, usize)> {
        let numbers = self.patterns.numbers(pattern).into_iter();
        numbers.filter_map(|n| Some((self.patterns.get(n), *self.of.get(n)?)))
    }

    /// Whether an allow of another rule than this one meets the pattern.
    fn others_meet(&self, pattern: &Sequence, rule: usize) -> bool {
        self.meet(pattern).any(|(_, of)| of != rule)
    }

    /// Whether an allow below the rule meets the pattern elsewhere than in `except`.
    fn below_meet(&self, pattern: &Sequence, except: &[&Sequence], rule: usize) -> bool {
        self.meet(pattern)
            .any(|(s, of)| of > rule && !except.iter().any(|e| holds(e, s)))
    }
}

/// Literal trees, with the rules that speak of the whole of one, but for what they except.
fn trees(rules: &[PathRule]) -> FxHashMap<&[Component], Vec<usize>> {
    let mut out: FxHashMap<&[Component], Vec<usize>> = FxHashMap::default();
    for (at, rule) in rules.iter().enumerate() {
        for s in &rule.include {
            if s.as_literal_tree().is_some()
                && let Some((_, path)) = s.components.split_last()
            {
                let by = out.entry(path).or_default();
                // One that excepts nothing leaves nothing to those below it.
                let last = by.last().and_then(|last| rules.get(*last));
                if last.is_none_or(|last| !last.except.is_empty()) {
                    by.push(at);
                }
            }
        }
    }
    out
}

/// What of a rule's pattern the rules above leave to it. A tree that a rule above speaks of leaves nothing but what
/// that rule excepts: so `deny /** except /w/**` above `allow /**` leaves `/w/**`.
fn left(
    s: &Sequence,
    at: usize,
    rules: &[PathRule],
    trees: &FxHashMap<&[Component], Vec<usize>>,
) -> Vec<Sequence> {
    let mut left = vec![s.clone()];
    let prefixes = (0..=s.components.len()).filter_map(|n| s.components.get(..n));
    let above = prefixes.filter_map(|path| trees.get(path)).flatten();
    let above: BTreeSet<usize> = above.copied().filter(|by| *by < at).collect();
    for rule in above.into_iter().filter_map(|by| rules.get(by)) {
        if left.is_empty() {
            break;
        }
        let mut still: Vec<Sequence> = Vec::new();
        for piece in &left {
            let except: Vec<&Sequence> = rule
                .except
                .iter()
                .filter(|e| intersects(e, piece))
                .collect();
            if except.iter().any(|e| holds(e, piece)) {
                still.push(piece.clone());
            } else if except.iter().all(|e| holds(piece, e)) {
                still.extend(except.into_iter().cloned());
            } else {
                // Patterns that only overlap: the rule above is a deny of the profile, or is cut out.
                still.push(piece.clone());
            }
        }
        left = still;
    }
    left
}

/// The rules, each with what those above leave to it.
fn reached(rules: &[PathRule]) -> Vec<PathRule> {
    let trees = trees(rules);
    let mut out = rules.to_vec();
    for (at, rule) in out.iter_mut().enumerate() {
        let include = rule.include.iter();
        rule.include = include.flat_map(|s| left(s, at, rules, &trees)).collect();
    }
    out
}

/// What is lowered so far.
#[derive(Default)]
struct Lowered {
    out: Access,
    /// The allows above: their patterns, what they leave out, and what is left of them.
    above: SequenceIndex,
    left_out: SequenceIndex,
    granted: SequenceIndex,
    /// Denies that are cut out of the allows below them.
    cuts: SequenceIndex,
}

/// Lowers ordered rules to what is granted and denied.
///
/// What an allow leaves out becomes a deny where no other allow meets it, and nothing of `kept`. Else it is cut out of
/// the pattern.
pub fn lower(rules: &[PathRule], kept: &[Sequence]) -> Access {
    let rules = &reached(rules);
    // What some allow below a deny meets decides whether it is needed at all.
    let all = Allows::of(rules);
    let mut done = Lowered::default();
    for (at, rule) in rules.iter().enumerate() {
        match rule.allows {
            true => done.allow(rule, |e| {
                !all.others_meet(e, at) && !kept.iter().any(|k| intersects(k, e))
            }),
            false => done.deny(rule, at, &all),
        }
    }
    let mut out = done.out;
    for list in [&mut out.allow, &mut out.deny] {
        let mut seen = FxHashSet::default();
        list.retain(|p| seen.insert(p.pattern.clone()));
    }
    out
}

impl Lowered {
    /// `alone`: whether no other rule allows something of what this one leaves out.
    fn allow(&mut self, rule: &PathRule, alone: impl Fn(&Sequence) -> bool) {
        let (alone, shared): (Vec<&Sequence>, Vec<&Sequence>) =
            rule.except.iter().partition(|e| alone(e));
        for s in &rule.include {
            let met = |e: &&&Sequence| intersects(e, s);
            let alone: Vec<&Sequence> = alone.iter().filter(met).copied().collect();
            let shared: Vec<&Sequence> = shared.iter().filter(met).copied().collect();
            let mut holes = self.cuts.intersecting(s);
            holes.extend(&shared);
            let (rest, denied) = cut(s, &holes);
            let denied: Vec<Sequence> = denied.into_iter().cloned().collect();
            self.out
                .allow
                .extend(rest.into_iter().map(|p| rule.piece(p)));
            // What cannot be cut out of the pattern is denied for everybody: stricter.
            let denies = alone.iter().copied().cloned().chain(denied);
            self.out.deny.extend(denies.map(|p| rule.piece(p)));

            self.above.add(s);
            for e in alone.iter().chain(&shared) {
                self.left_out.add(e);
            }
            // What is not cut out here is denied already.
            for rest in cut(s, &shared).0 {
                self.granted.add(&rest);
            }
        }
    }

    fn deny(&mut self, rule: &PathRule, at: usize, all: &Allows) {
        for s in &rule.include {
            let except: Vec<&Sequence> = rule.except.iter().filter(|e| intersects(e, s)).collect();
            if !all.below_meet(s, &except, at) {
                continue;
            }
            let pieces = match except.is_empty() {
                true => vec![s.clone()],
                // Exceptions that cannot be cut out stay denied: stricter.
                false => without(s, &except).unwrap_or_else(|| vec![s.clone()]),
            };
            let needed = |s: &Sequence| all.below_meet(s, &[], at);
            for denied in pieces.into_iter().filter(|s| needed(s)) {
                let met = self.above.intersecting(&denied);
                if met.is_empty() {
                    self.out.deny.push(rule.piece(denied));
                } else if is_literal(&denied) && cuttable(&denied, &all.patterns) {
                    self.cuts.add(&denied);
                } else if let Some(rest) = without(&denied, &met) {
                    let rest = rest.into_iter().filter(|s| needed(s));
                    self.out.deny.extend(rest.map(|p| rule.piece(p)));
                    // What those allows leave out is denied all the same, but for what others of them allow.
                    for e in self.left_out.intersecting(&denied) {
                        let both = if holds(&denied, e) { e } else { &denied };
                        if needed(both) {
                            let rest = without(both, &self.granted.intersecting(both));
                            let rest = rest.unwrap_or_else(|| vec![both.clone()]);
                            self.out
                                .deny
                                .extend(rest.into_iter().map(|p| rule.piece(p)));
                        }
                    }
                } else {
                    self.out.deny.push(rule.piece(denied));
                }
            }
        }
    }
}

/// The pattern less those of the holes that can be cut out of it, and the other holes.
fn cut<'h>(s: &Sequence, holes: &[&'h Sequence]) -> (Vec<Sequence>, Vec<&'h Sequence>) {
    let whole = || vec![s.clone()];
    if holes.is_empty() {
        return (whole(), Vec::new());
    }
    if holes.iter().any(|h| holds(h, s)) {
        return (Vec::new(), Vec::new());
    }
    let (literal, patterns): (Vec<&Sequence>, Vec<&Sequence>) =
        holes.iter().partition(|h| is_literal(h));
    match without(s, &literal) {
        Some(rest) => (rest, patterns),
        None => (whole(), holes.to_vec()),
    }
}

/// Whether it is one object or one tree.
fn is_literal(s: &Sequence) -> bool {
    s.as_literal().is_some() || s.as_literal_tree().is_some()
}

/// Whether everything that `inner` matches lies in `outer`: they are the same, or `outer` is a tree around it.
fn holds(outer: &Sequence, inner: &Sequence) -> bool {
    outer == inner
        || outer.components.split_last().is_some_and(|(last, path)| {
            *last == Component::AnyDepth && inner.components.starts_with(path)
        })
}

/// Whether every allow that meets the literal piece is literal, so that the piece can be cut out of it.
fn cuttable(piece: &Sequence, allows: &SequenceIndex) -> bool {
    allows.intersecting(piece).into_iter().all(is_literal)
}
