//! From rules to sets of paths.

use super::profile::{Filter, Paths, Profile, Rule, chain};
use crate::semantics::{PathSet, Step, TooLarge, steps_match};

/// What is asked of a filter on paths.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// The object is a directory.
    pub directory: bool,
    /// It is a unix socket that is connected to.
    pub socket: bool,
}

/// A filter over paths alone, what else it asks being known: negations at the leaves, what is of one kind together.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Formula<'p> {
    Const(bool),
    /// One of these.
    One(Vec<&'p Paths>),
    /// None of these.
    None(Vec<&'p Paths>),
    Any(Vec<Formula<'p>>),
    All(Vec<Formula<'p>>),
}

/// `(include, except)`
type Clause = (Vec<Vec<Step>>, Vec<Vec<Step>>);

/// Most patterns that clauses are allowed to repeat as exceptions.
const MAX_REPEATED: usize = 20_000;

impl<'p> Formula<'p> {
    pub fn of(filter: &'p Filter, asked: Asked, negated: bool) -> Self {
        match filter {
            Filter::Paths(paths) if negated => Self::None(vec![paths]),
            Filter::Paths(paths) => Self::One(vec![paths]),
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

    fn all(list: &'p [Filter], asked: Asked, negated: bool) -> Self {
        Self::all_of(list.iter().map(|f| Self::of(f, asked, negated)))
    }

    fn any_of(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut one: Vec<&Paths> = Vec::new();
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
        let mut none: Vec<&Paths> = Vec::new();
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

    /// The same as clauses of which one must match; `None`: it is no such thing, or too long.
    fn clauses(&self) -> Option<Vec<Clause>> {
        let everything = || vec![vec![Step::AnyDepth]];
        match self {
            Self::Const(true) => Some(vec![(everything(), Vec::new())]),
            Self::Const(false) => Some(Vec::new()),
            Self::One(paths) => Some(vec![(steps(paths), Vec::new())]),
            Self::None(paths) => Some(vec![(everything(), steps(paths))]),
            Self::Any(parts) => {
                let mut out = Vec::new();
                for part in parts {
                    out.extend(part.clauses()?);
                }
                Some(out)
            }
            Self::All(parts) => {
                let [what, Self::None(paths)] = parts.as_slice() else {
                    return None;
                };
                let except = steps(paths);
                let mut out = what.clauses()?;
                if out.len() * except.len() > MAX_REPEATED {
                    return None;
                }
                out.iter_mut()
                    .for_each(|c| c.1.extend(except.iter().cloned()));
                Some(out)
            }
        }
    }

    fn set(&self) -> Result<PathSet, TooLarge> {
        if let Some(clauses) = self.clauses() {
            return PathSet::first_match_steps(
                clauses
                    .iter()
                    .map(|c| (c.0.as_slice(), c.1.as_slice(), true)),
                false,
            );
        }
        match self {
            Self::Any(parts) => {
                // What can be said by clauses goes into one automaton.
                let (plain, odd): (Vec<_>, Vec<_>) =
                    parts.iter().partition(|p| p.clauses().is_some());
                let mut sets = Vec::new();
                if !plain.is_empty() {
                    sets.push(Self::Any(plain.into_iter().cloned().collect()).set()?);
                }
                for part in odd {
                    sets.push(part.set()?);
                }
                pairwise(sets, PathSet::empty(), PathSet::union)
            }
            Self::All(parts) => {
                let sets: Result<Vec<_>, _> = parts.iter().map(Self::set).collect();
                pairwise(sets?, PathSet::all(), PathSet::intersection)
            }
            // The others are clauses.
            _ => Ok(PathSet::empty()),
        }
    }

    /// Whether it holds of a path, and a filter that it comes from: the one that matches.
    pub fn decide(&self, path: &[u8]) -> (bool, Option<&'p Paths>) {
        let path = if path == b"/" { b"" } else { path };
        let matching = |paths: &[&'p Paths]| {
            let hit = |p: &&&'p Paths| p.patterns.iter().any(|s| steps_match(s, path));
            paths.iter().find(hit).copied()
        };
        match self {
            Self::Const(b) => (*b, None),
            Self::One(paths) => {
                let hit = matching(paths);
                (hit.is_some(), hit)
            }
            Self::None(paths) => {
                let hit = matching(paths);
                (hit.is_none(), hit)
            }
            Self::Any(parts) => {
                let mut why = None;
                for part in parts {
                    let (holds, from) = part.decide(path);
                    if holds {
                        return (true, from);
                    }
                    why = why.or(from);
                }
                (false, why)
            }
            Self::All(parts) => {
                let all: Vec<_> = parts.iter().map(|p| p.decide(path)).collect();
                // An exception is why only where nothing else is missing.
                if all.iter().any(|(holds, from)| !holds && from.is_none()) {
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

fn steps(paths: &[&Paths]) -> Vec<Vec<Step>> {
    paths
        .iter()
        .flat_map(|p| p.patterns.iter().cloned())
        .collect()
}

/// All of them together, two and two, so that none is gone through more often than need be.
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

/// What decides an operation: the first entry that holds, else the default.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Decider<'p> {
    pub entries: Vec<(bool, Formula<'p>)>,
    pub default_allow: bool,
}

/// The rules that decide an operation, the first that matches first: of rules on one operation that have a filter
/// the last; then one without; then those on what it falls back on.
pub(super) fn order<'p>(profile: &'p Profile, operation: &'static str) -> Vec<&'p Rule> {
    let mut out = Vec::new();
    for operation in chain(operation) {
        let own = |r: &&Rule| r.operations.contains(&operation);
        let rules = profile.rules.iter().rev();
        out.extend(rules.clone().filter(own).filter(|r| r.filter.is_some()));
        if let Some(rule) = rules.filter(own).find(|r| r.filter.is_none()) {
            out.push(rule);
            break;
        }
    }
    out
}

impl<'p> Decider<'p> {
    pub fn new(profile: &'p Profile, operation: &'static str, asked: Asked) -> Self {
        let formula = |r: &'p Rule| match &r.filter {
            Some(filter) => Formula::of(filter, asked, false),
            None => Formula::Const(true),
        };
        Self {
            entries: order(profile, operation)
                .into_iter()
                .map(|r| (r.allow, formula(r)))
                .collect(),
            default_allow: profile.default_allow,
        }
    }

    pub fn set(&self) -> Result<PathSet, TooLarge> {
        let mut clauses = Vec::new();
        for (allow, formula) in &self.entries {
            match formula.clauses() {
                Some(own) => clauses.extend(own.into_iter().map(|c| (c, *allow))),
                None => return self.formula().set(),
            }
        }
        PathSet::first_match_steps(
            clauses
                .iter()
                .map(|((include, except), allow)| (include.as_slice(), except.as_slice(), *allow)),
            self.default_allow,
        )
    }

    /// As one formula: an allow adds to what comes below it, a deny takes away.
    fn formula(&self) -> Formula<'p> {
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

impl Formula<'_> {
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
