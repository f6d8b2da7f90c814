//! One right: from a policy's ordered rules to what is granted and what is denied.

use super::carve::without;
use super::model::{Access, Origin, Piece};
use crate::policy::{Component, Sequence};
use crate::semantics::{SequenceIndex, intersects};
use rustc_hash::{FxHashMap, FxHashSet};

/// A rule of the policy, as far as it speaks of one right.
#[derive(Debug, Clone)]
pub struct PathRule {
    pub origin: Origin,
    pub include: Vec<Sequence>,
    pub except: Vec<Sequence>,
    pub allows: bool,
}

/// What allows the rules around one have.
#[derive(Default)]
struct Allows {
    patterns: SequenceIndex,
    /// The first and the last rule that has a pattern.
    of: FxHashMap<Sequence, (usize, usize)>,
}

impl Allows {
    fn add(&mut self, pattern: &Sequence, rule: usize) {
        self.patterns.add(pattern);
        let of = self.of.entry(pattern.clone()).or_insert((rule, rule));
        of.1 = rule;
    }

    /// Whether an allow of another rule than this one meets the pattern.
    fn others_meet(&self, pattern: &Sequence, rule: usize) -> bool {
        let met = self.patterns.intersecting(pattern);
        met.iter()
            .any(|s| self.of.get(*s).is_none_or(|of| *of != (rule, rule)))
    }
}

/// The literal trees that rules deny as a whole, with the first rule that does.
fn closed(rules: &[PathRule]) -> FxHashMap<&[Component], usize> {
    let mut out = FxHashMap::default();
    for (at, rule) in rules.iter().enumerate() {
        if rule.allows || !rule.except.is_empty() {
            continue;
        }
        for s in &rule.include {
            if s.as_literal_tree().is_some()
                && let Some((_, path)) = s.components.split_last()
            {
                out.entry(path).or_insert(at);
            }
        }
    }
    out
}

/// The rules without the patterns of allows that lie in a tree which a rule above denies: they allow nothing.
fn reached(rules: &[PathRule]) -> Vec<PathRule> {
    let closed = closed(rules);
    let mut out = rules.to_vec();
    for (at, rule) in out.iter_mut().enumerate().filter(|(_, r)| r.allows) {
        rule.include.retain(|s| {
            let mut above = (0..=s.components.len()).map(|n| &s.components[..n]);
            !above.any(|path| closed.get(path).is_some_and(|by| *by < at))
        });
    }
    out
}

/// Lowers ordered rules to what is granted and denied.
///
/// What an allow leaves out becomes a deny where no other allow meets it, and nothing of `kept`. Else it is cut out of
/// the pattern.
pub fn lower(rules: &[PathRule], kept: &[Sequence]) -> Access {
    let rules = &reached(rules);
    let mut out = Access::default();
    // The allows above: their patterns, what they leave out, and what is left of them.
    let mut above = SequenceIndex::default();
    let mut left_out = SequenceIndex::default();
    let mut granted = SequenceIndex::default();
    // Denies that are cut out of the allows below them.
    let mut cuts = SequenceIndex::default();
    // What some allow below a deny meets decides whether it is needed at all.
    let mut all = Allows::default();
    for (at, c) in rules.iter().enumerate().filter(|(_, c)| c.allows) {
        c.include.iter().for_each(|s| all.add(s, at));
    }
    kept.iter().for_each(|s| all.add(s, rules.len()));
    for (at, rule) in rules.iter().enumerate() {
        let piece = |pattern: Sequence| Piece {
            pattern,
            origin: rule.origin,
        };
        for s in &rule.include {
            let except: Vec<&Sequence> = rule.except.iter().filter(|e| intersects(e, s)).collect();
            if rule.allows {
                let (alone, shared): (Vec<&Sequence>, Vec<&Sequence>) =
                    except.into_iter().partition(|e| !all.others_meet(e, at));
                out.deny.extend(alone.into_iter().cloned().map(piece));
                let mut holes = cuts.intersecting(s);
                holes.extend(shared);
                if holes.is_empty() {
                    out.allow.push(piece(s.clone()));
                } else if let Some(rest) = without(s, &holes) {
                    out.allow.extend(rest.into_iter().map(piece));
                } else {
                    // What cannot be cut out of the pattern stays denied for everybody: stricter.
                    out.allow.push(piece(s.clone()));
                    out.deny.extend(holes.into_iter().cloned().map(piece));
                }
                continue;
            }
            if all.patterns.intersecting(s).is_empty() {
                continue;
            }
            let pieces = if except.is_empty() {
                vec![s.clone()]
            } else {
                // Exceptions that cannot be cut out stay denied: stricter.
                without(s, &except).unwrap_or_else(|| vec![s.clone()])
            };
            for denied in pieces {
                let literal = denied.as_literal().is_some() || denied.as_literal_tree().is_some();
                let met = above.intersecting(&denied);
                if met.is_empty() {
                    out.deny.push(piece(denied));
                } else if literal && cuttable(&denied, &all.patterns) {
                    cuts.add(&denied);
                } else if let Some(rest) = without(&denied, &met) {
                    out.deny.extend(rest.into_iter().map(piece));
                    // What those allows leave out is denied all the same, but for what others of them allow.
                    for e in left_out.intersecting(&denied) {
                        let both = if holds(&denied, e) { e } else { &denied };
                        if !all.patterns.intersecting(both).is_empty() {
                            let rest = without(both, &granted.intersecting(both));
                            let rest = rest.unwrap_or_else(|| vec![both.clone()]);
                            out.deny.extend(rest.into_iter().map(piece));
                        }
                    }
                } else {
                    out.deny.push(piece(denied));
                }
            }
        }
        if rule.allows {
            for s in &rule.include {
                above.add(s);
                let except: Vec<&Sequence> =
                    rule.except.iter().filter(|e| intersects(e, s)).collect();
                except.iter().for_each(|e| {
                    left_out.add(e);
                });
                // What cannot be cut out of an allow is denied already.
                let rest = if except.is_empty() {
                    None
                } else {
                    without(s, &except)
                };
                for s in rest.as_deref().unwrap_or(std::slice::from_ref(s)) {
                    granted.add(s);
                }
            }
        }
    }
    for list in [&mut out.allow, &mut out.deny] {
        let mut seen = FxHashSet::default();
        list.retain(|p| seen.insert(p.pattern.clone()));
    }
    out
}

/// Whether everything that `inner` matches lies in the literal tree `outer`.
fn holds(outer: &Sequence, inner: &Sequence) -> bool {
    outer.components.split_last().is_some_and(|(last, path)| {
        *last == Component::AnyDepth && inner.components.starts_with(path)
    })
}

/// Whether every allow that meets the literal piece is a literal tree, so that it can be cut out of it.
fn cuttable(piece: &Sequence, allows: &SequenceIndex) -> bool {
    allows
        .intersecting(piece)
        .iter()
        .all(|s| s.as_literal_tree().is_some() || s.as_literal().is_some())
}
