//! Makes sets of paths from rules.

use super::operations::chain;
use super::profile::{Filter, Profile, Rule};
use crate::semantics::{PathSet, Step, TooLarge};
use rustc_hash::{FxHashMap, FxHashSet};

/// What a filter on paths is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// The object is a directory.
    pub directory: bool,
    /// It is a unix socket that the program connects to.
    pub socket: bool,
}

impl Asked {
    /// Drops what makes no difference to these rules.
    pub fn of_rules(self, profile: &Profile, rules: &[usize]) -> Self {
        if rules.iter().any(|r| profile.rules[*r].typed) {
            return self;
        }
        Self {
            directory: false,
            socket: false,
        }
    }
}

/// A filter over paths alone, because everything else that it asks is known. Negations are at the leaves, and equal
/// kinds are joined. Leaves are numbers: of filters on paths ([`Profile::paths`]), or of their patterns
/// ([`Profile::patterns`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Formula {
    Const(bool),
    /// One of these.
    One(Vec<u32>),
    /// None of these.
    None(Vec<u32>),
    Any(Vec<Formula>),
    All(Vec<Formula>),
}

/// Patterns, with exceptions.
#[derive(Debug, Clone)]
struct Alternative {
    include: Vec<u32>,
    except: Vec<u32>,
}

/// The most patterns that alternatives may repeat as exceptions.
const MAX_REPEATED: usize = 20_000;

/// With more repeated exceptions than this, the reader looks for those that alternatives share.
const FEW_REPEATED: usize = 200;

/// Every path. It stands beside the numbers of patterns.
const EVERYTHING: u32 = u32::MAX;

impl Formula {
    pub fn of(filter: &Filter, asked: Asked, negated: bool) -> Self {
        match filter {
            Filter::Paths(paths) if negated => Self::None(vec![*paths]),
            Filter::Paths(paths) => Self::One(vec![*paths]),
            Filter::Directory => Self::Const(asked.directory != negated),
            Filter::Network(n) => Self::Const((n.unix && asked.socket) != negated),
            Filter::Not(f) => Self::of(f, asked, !negated),
            Filter::Any(list) if negated => Self::all(list, asked, negated),
            Filter::All(list) if !negated => Self::all(list, asked, negated),
            Filter::Any(list) | Filter::All(list) => {
                Self::any_of(list.iter().map(|f| Self::of(f, asked, negated)))
            }
        }
    }

    fn all(list: &[Filter], asked: Asked, negated: bool) -> Self {
        Self::all_of(list.iter().map(|f| Self::of(f, asked, negated)))
    }

    fn any_of(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut one: Vec<u32> = Vec::new();
        let mut out = Vec::new();
        for part in parts {
            match part {
                Self::Const(true) => return part,
                Self::Const(false) => {}
                Self::One(paths) => one.extend(paths),
                Self::Any(inner) => {
                    for part in inner {
                        match part {
                            Self::One(paths) => one.extend(paths),
                            other => out.push(other),
                        }
                    }
                }
                other => out.push(other),
            }
        }
        if !one.is_empty() {
            out.insert(0, Self::One(one));
        }
        match out.len() {
            0 => Self::Const(false),
            1 => out.remove(0),
            _ => Self::Any(out),
        }
    }

    fn all_of(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut none: Vec<u32> = Vec::new();
        let mut out = Vec::new();
        for part in parts {
            match part {
                Self::Const(false) => return part,
                Self::Const(true) => {}
                Self::None(paths) => none.extend(paths),
                Self::All(inner) => {
                    for part in inner {
                        match part {
                            Self::None(paths) => none.extend(paths),
                            other => out.push(other),
                        }
                    }
                }
                other => out.push(other),
            }
        }
        if !none.is_empty() {
            out.push(Self::None(none));
        }
        match out.len() {
            0 => Self::Const(true),
            1 => out.remove(0),
            _ => Self::All(out),
        }
    }

    /// The same, with the numbers of the filters' patterns.
    fn by_pattern(&self, profile: &Profile) -> Self {
        let patterns = |paths: &[u32]| {
            let of = |p: &u32| profile.paths[*p as usize].pattern;
            paths.iter().map(of).collect()
        };
        let all = |parts: &[Self]| parts.iter().map(|p| p.by_pattern(profile)).collect();
        match self {
            Self::Const(b) => Self::Const(*b),
            Self::One(paths) => Self::One(patterns(paths)),
            Self::None(paths) => Self::None(patterns(paths)),
            Self::Any(parts) => Self::Any(all(parts)),
            Self::All(parts) => Self::All(all(parts)),
        }
    }

    /// The same as alternatives, of which one must match. `None`: it has another form, or is too long.
    fn alternatives(&self) -> Option<Vec<Alternative>> {
        let alternative =
            |include: Vec<u32>, except: Vec<u32>| Some(vec![Alternative { include, except }]);
        match self {
            Self::Const(true) => alternative(vec![EVERYTHING], Vec::new()),
            Self::Const(false) => Some(Vec::new()),
            Self::One(patterns) => alternative(patterns.clone(), Vec::new()),
            Self::None(patterns) => alternative(vec![EVERYTHING], patterns.clone()),
            Self::Any(parts) => {
                let mut out = Vec::new();
                for part in parts {
                    out.extend(part.alternatives()?);
                }
                Some(out)
            }
            Self::All(parts) => {
                let [what, Self::None(except)] = parts.as_slice() else {
                    return None;
                };
                let mut out = what.alternatives()?;
                if out.len() * except.len() > MAX_REPEATED {
                    return None;
                }
                out.iter_mut().for_each(|c| c.except.extend(except));
                Some(out)
            }
        }
    }

    fn set(&self, profile: &Profile) -> Result<PathSet, TooLarge> {
        if let Some(alternatives) = self.alternatives() {
            return first_match(profile, &apart(alternatives, true), false);
        }
        match self {
            Self::Any(parts) => {
                // The alternatives go into one automaton.
                let (plain, odd): (Vec<_>, Vec<_>) =
                    parts.iter().partition(|p| p.alternatives().is_some());
                let mut sets = Vec::new();
                if !plain.is_empty() {
                    sets.push(Self::Any(plain.into_iter().cloned().collect()).set(profile)?);
                }
                for part in odd {
                    sets.push(part.set(profile)?);
                }
                pairwise(sets, PathSet::empty(), PathSet::union)
            }
            Self::All(parts) => {
                let sets: Result<Vec<_>, _> = parts.iter().map(|p| p.set(profile)).collect();
                pairwise(sets?, PathSet::all(), PathSet::intersection)
            }
            // The rest are alternatives.
            _ => Ok(PathSet::empty()),
        }
    }
}

/// Turns alternatives into cases for a first match, each with whether it allows. If none matches, the answer is the
/// opposite of `allow`, which is the answer of all the alternatives.
///
/// Exceptions that many alternatives share come once: above the alternatives that have them, and below those that lack
/// them. Otherwise a pattern without an anchor would be in every state once for each alternative.
fn apart(mut alternatives: Vec<Alternative>, allow: bool) -> Vec<(Alternative, bool)> {
    let repeated: usize = alternatives.iter().map(|c| c.except.len()).sum();
    if repeated <= FEW_REPEATED {
        return alternatives.into_iter().map(|c| (c, allow)).collect();
    }
    let mut out = Vec::new();
    for c in &mut alternatives {
        c.except.sort_unstable();
        c.except.dedup();
    }
    let mut of: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
    for (at, alternative) in alternatives.iter().enumerate() {
        for p in &alternative.except {
            of.entry(*p).or_default().push(at);
        }
    }
    let mut often: Vec<(u32, Vec<usize>)> = of.into_iter().filter(|(_, c)| c.len() > 1).collect();
    // Exceptions of the most alternatives come first. Those of the same alternatives stay together.
    often.sort_unstable_by(|(p, a), (q, b)| b.len().cmp(&a.len()).then(a.cmp(b)).then(p.cmp(q)));
    let mut taken: FxHashSet<u32> = FxHashSet::default();
    let mut left: Vec<usize> = (0..alternatives.len()).collect();
    let mut with = vec![false; alternatives.len()];
    for same in often.chunk_by(|(_, a), (_, b)| a == b) {
        let having = &same[0].1;
        having.iter().for_each(|c| with[*c] = true);
        let both = left.iter().filter(|c| with[**c]).count();
        // Earlier alternatives lack the exceptions that follow. So these must not cut anything out of them.
        if both > 1 && both * 2 >= left.len() {
            let without = left.extract_if(.., |c| !with[*c]);
            push(&mut out, without.map(|c| &alternatives[c]), &taken, allow);
            let carved = Alternative {
                include: same.iter().map(|(p, _)| *p).collect(),
                except: Vec::new(),
            };
            taken.extend(&carved.include);
            push(&mut out, [&carved], &FxHashSet::default(), !allow);
        }
        having.iter().for_each(|c| with[*c] = false);
    }
    push(
        &mut out,
        left.iter().map(|c| &alternatives[*c]),
        &taken,
        allow,
    );
    out
}

/// Adds alternatives of one action, without the exceptions that come before them. Those without other exceptions become
/// one.
fn push<'c>(
    out: &mut Vec<(Alternative, bool)>,
    alternatives: impl IntoIterator<Item = &'c Alternative>,
    taken: &FxHashSet<u32>,
    allow: bool,
) {
    let mut plain = Vec::new();
    for c in alternatives {
        let except = c.except.iter().copied();
        let except: Vec<u32> = except.filter(|p| !taken.contains(p)).collect();
        if except.is_empty() {
            plain.extend_from_slice(&c.include);
        } else {
            let include = c.include.clone();
            out.push((Alternative { include, except }, allow));
        }
    }
    if !plain.is_empty() {
        let (include, except) = (plain, Vec::new());
        out.push((Alternative { include, except }, allow));
    }
}

/// The members, by first match.
fn first_match(
    profile: &Profile,
    cases: &[(Alternative, bool)],
    default_allow: bool,
) -> Result<PathSet, TooLarge> {
    let everything = [vec![Step::AnyDepth]];
    let steps = |list: &[u32]| -> Vec<&[Step]> {
        let of = |p: &u32| -> &[Vec<Step>] {
            let known = profile.patterns.get(*p as usize);
            known.map_or(&everything, Vec::as_slice)
        };
        list.iter().flat_map(of).map(Vec::as_slice).collect()
    };
    let written: Vec<_> = cases
        .iter()
        .map(|(c, allow)| (steps(&c.include), steps(&c.except), *allow))
        .collect();
    let cases = written
        .iter()
        .map(|(include, except, allow)| (include.as_slice(), except.as_slice(), *allow));
    PathSet::first_match_except(cases, default_allow)
}

/// Joins all of them in pairs, so that each is visited as few times as possible.
fn pairwise(
    mut sets: Vec<PathSet>,
    none: PathSet,
    join: impl Fn(&PathSet, &PathSet) -> Result<PathSet, TooLarge>,
) -> Result<PathSet, TooLarge> {
    while sets.len() > 1 {
        let mut next = Vec::with_capacity(sets.len().div_ceil(2));
        for pair in sets.chunks(2) {
            next.push(match pair {
                [a, b] => join(a, b)?,
                [a, ..] => a.clone(),
                [] => continue,
            });
        }
        sets = next;
    }
    Ok(sets.pop().unwrap_or(none))
}

/// What decides an operation: the first entry that matches, or the default.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Decider {
    pub entries: Vec<(bool, Formula)>,
    pub default_allow: bool,
}

/// The rules that decide an operation, the strongest first. Filtered rules on the operation come first, the last one
/// before the others. Then come rules without a filter, and then the rules of the operation that it falls back on.
pub(super) fn order(profile: &Profile, operation: &'static str) -> Vec<usize> {
    let mut out = Vec::new();
    for operation in chain(operation) {
        let rules = profile.rules.iter().enumerate().rev();
        let own = rules.filter(|(_, r)| r.operations.contains(&operation));
        out.extend(
            own.clone()
                .filter(|(_, r)| r.filter.is_some())
                .map(|(i, _)| i),
        );
        if let Some((rule, _)) = own.into_iter().find(|(_, r)| r.filter.is_none()) {
            out.push(rule);
            break;
        }
    }
    out
}

impl Decider {
    #[cfg(test)]
    pub fn new(profile: &Profile, operation: &'static str, asked: Asked) -> Self {
        Self::of(profile, &order(profile, operation), asked)
    }

    /// From these rules, in this order.
    pub fn of(profile: &Profile, rules: &[usize], asked: Asked) -> Self {
        let formula = |r: &Rule| match &r.filter {
            Some(filter) => Formula::of(filter, asked, false),
            None => Formula::Const(true),
        };
        let rules = rules.iter().map(|r| &profile.rules[*r]);
        Self {
            entries: rules.map(|r| (r.allow, formula(r))).collect(),
            default_allow: profile.default_allow,
        }
    }

    /// The same, with the numbers of the filters' patterns. Two that are equal in this form have the same set.
    pub fn by_pattern(&self, profile: &Profile) -> Self {
        let entries = self.entries.iter();
        Self {
            entries: entries.map(|(a, f)| (*a, f.by_pattern(profile))).collect(),
            default_allow: self.default_allow,
        }
    }

    /// The members. The entries must have numbers of patterns.
    pub fn set(&self, profile: &Profile) -> Result<PathSet, TooLarge> {
        let mut cases = Vec::new();
        for (i, (allow, formula)) in self.entries.iter().enumerate() {
            let Some(own) = formula.alternatives() else {
                return self.formula().set(profile);
            };
            // Only the default comes below this entry, so the default may take its answer.
            if i + 1 == self.entries.len() && *allow != self.default_allow {
                cases.extend(apart(own, *allow));
            } else {
                cases.extend(own.into_iter().map(|c| (c, *allow)));
            }
        }
        first_match(profile, &cases, self.default_allow)
    }

    /// As one formula: an allow adds to what comes below it, and a deny takes away from it.
    fn formula(&self) -> Formula {
        let mut out = Formula::Const(self.default_allow);
        for (allow, formula) in self.entries.iter().rev() {
            out = if *allow {
                Formula::any_of([formula.clone(), out])
            } else {
                Formula::all_of([out, formula.negated()])
            };
        }
        out
    }
}

impl Formula {
    fn negated(&self) -> Self {
        match self {
            Self::Const(b) => Self::Const(!b),
            Self::One(paths) => Self::None(paths.clone()),
            Self::None(paths) => Self::One(paths.clone()),
            Self::Any(parts) => Self::all_of(parts.iter().map(Self::negated)),
            Self::All(parts) => Self::any_of(parts.iter().map(Self::negated)),
        }
    }
}
