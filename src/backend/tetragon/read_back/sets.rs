//! Makes sets of paths from hooks.

use super::document::{Choice, Filter, Hook, Kind, Operator, number};
use crate::policy::ByteSet;
use crate::semantics::{Case, PathSet, Step, TooLarge};

/// Which path a hook sees, relative to the object of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// The object's own path.
    Object,
    /// The path of the object's directory.
    Parent,
}

/// A way to do an operation: the function that the kernel calls, the argument with the path, and the values of its
/// other arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub call: &'static str,
    pub index: u32,
    pub sees: Sees,
    pub with: &'static [(u32, u64)],
}

/// Patterns of paths.
pub(super) type Patterns = Vec<Vec<Step>>;

/// Whether the filters on numbers let a choice match at all.
pub(super) fn numbers_match(choice: &Choice, with: &[(u32, u64)]) -> bool {
    choice.filters.iter().all(|(filter, kind)| {
        let Some((_, value)) = with
            .iter()
            .find(|(index, _)| *kind == Kind::Number && *index == filter.index)
        else {
            return true;
        };
        let mut values = filter.values.iter().filter_map(|v| number(v));
        match filter.operator {
            Operator::Equal => values.any(|v| v == *value),
            Operator::NotEqual => values.all(|v| v != *value),
            Operator::Mask => values.any(|v| v & *value != 0),
            _ => false,
        }
    })
}

/// The filters on the path of a way. Another path of the call (the other end of a rename) may have any value.
fn on_path<'c>(choice: &'c Choice, way: &'c Way) -> impl Iterator<Item = &'c Filter> {
    choice
        .filters
        .iter()
        .filter(|(f, kind)| *kind == Kind::Path && f.index == way.index)
        .map(|(f, _)| f)
}

/// Whether a choice asks only for another path of the call. A program can choose another value for that path, so such a
/// choice does not close this way.
fn elsewhere(choice: &Choice, way: &Way) -> bool {
    let mut paths = choice.filters.iter().filter(|(_, k)| *k == Kind::Path);
    paths.clone().next().is_some() && paths.all(|(f, _)| f.index != way.index)
}

/// Whether a choice matters for a way, without regard to its filters on paths.
pub(super) fn live(choice: &Choice, way: &Way) -> bool {
    numbers_match(choice, way.with) && !elsewhere(choice, way)
}

/// Whether a choice depends on both paths of a call, or allows for one path what another choice refuses for the other.
pub(super) fn tangled(choice: &Choice, way: &Way) -> bool {
    let paths = choice.filters.iter().filter(|(_, k)| *k == Kind::Path);
    let (own, other): (Vec<_>, Vec<_>) = paths.partition(|(f, _)| f.index == way.index);
    !other.is_empty() && (!own.is_empty() || !choice.denies)
}

/// One more name. No name is empty.
fn name() -> [Step; 2] {
    let mut set = ByteSet::ALL;
    set.remove(b'/');
    [Step::Byte(b'/'), Step::Star(set)]
}

/// The paths that an operator's values match, as the object's own paths.
fn patterns(filter: &Filter, sees: Sees) -> Patterns {
    let bytes = |v: &str| v.bytes().map(Step::Byte).collect::<Vec<_>>();
    let mut out = Vec::new();
    for value in &filter.values {
        let mut steps = match filter.operator {
            Operator::Prefix | Operator::NotPrefix => match value.strip_suffix('/') {
                // Everything beneath a directory.
                Some(directory) => {
                    let mut steps = bytes(directory);
                    steps.extend(name());
                    if sees == Sees::Parent {
                        // It comes before the tree, not after it: then all have the same rest to match.
                        steps.extend(name());
                    }
                    steps.push(Step::AnyDepth);
                    out.push(steps);
                    continue;
                }
                None => {
                    let mut steps = bytes(value);
                    steps.push(Step::Star(ByteSet::ALL));
                    steps
                }
            },
            Operator::Postfix | Operator::NotPostfix => {
                let mut steps = vec![Step::Star(ByteSet::ALL)];
                steps.extend(bytes(value));
                steps
            }
            _ => bytes(value),
        };
        if sees == Sees::Parent {
            steps.extend(name());
        }
        out.push(steps);
    }
    out
}

/// A choice as one case. `None`: it asks for several things at once.
fn as_case(choice: &Choice, way: &Way) -> Option<(Patterns, Patterns)> {
    let mut include: Option<Patterns> = None;
    let mut except = Vec::new();
    for filter in on_path(choice, way) {
        let own = patterns(filter, way.sees);
        match filter.operator {
            Operator::NotEqual | Operator::NotPrefix | Operator::NotPostfix => except.extend(own),
            // A prefix that matches everywhere, beside other values.
            Operator::Prefix if filter.values.iter().any(|v| v == "/") => {
                include.get_or_insert(own);
            }
            _ => match &include {
                None => include = Some(own),
                Some(all) if *all == everywhere(way.sees) => include = Some(own),
                Some(_) => return None,
            },
        }
    }
    let include = include.unwrap_or_else(|| vec![vec![Step::AnyDepth]]);
    Some((include, except))
}

fn everywhere(sees: Sees) -> Patterns {
    let filter = Filter {
        index: 0,
        operator: Operator::Prefix,
        values: vec!["/".to_owned()],
        addresses: Vec::new(),
        ports: Vec::new(),
    };
    patterns(&filter, sees)
}

/// The objects that reach the filters as the empty string, which matches none: the root, or what is in it.
fn unseen(way: &Way) -> Patterns {
    let mut out = vec![Vec::new()];
    if way.sees == Sees::Parent {
        out.push(name().to_vec());
    }
    out
}

/// One case: what it matches, its exceptions, and whether it allows that.
type Plain = (Patterns, Patterns, bool);

/// What hooks refuse of a way, as one list of cases, and the hooks that have no such form.
fn split<'h>(hooks: &'h [Hook], way: &Way) -> (Vec<Plain>, Vec<&'h Hook>) {
    let mut plain = vec![(unseen(way), Vec::new(), true)];
    let mut odd: Vec<&Hook> = Vec::new();
    for hook in hooks.iter().filter(|h| h.call == way.call) {
        let live: Vec<&Choice> = hook.choices.iter().filter(|c| live(c, way)).collect();
        let cases: Option<Vec<_>> = live.iter().map(|c| as_case(c, way)).collect();
        // Hooks of one function are asked one after the other, and each may refuse. So their choices form one list only
        // if none of them allows anything.
        match cases {
            Some(cases) if live.iter().all(|c| c.denies) => {
                plain.extend(cases.into_iter().map(|(i, e)| (i, e, false)));
            }
            _ => odd.push(hook),
        }
    }
    (plain, odd)
}

/// The most ways whose sets share an automaton.
const TOGETHER: usize = 16;

/// The paths at which each of some ways is open, in one automaton. `None`: it would be too large, or one way is more
/// than a list of refusals.
pub(super) fn open_together(hooks: &[Hook], ways: &[Way]) -> Option<Vec<PathSet>> {
    // The order of refusals does not matter. The paths that hooks do not see come first.
    let mut cases: Vec<(Plain, u16)> = Vec::new();
    let mut refused: Vec<(Plain, u16)> = Vec::new();
    if ways.len() > TOGETHER {
        return None;
    }
    for (at, way) in ways.iter().enumerate() {
        let (plain, odd) = split(hooks, way);
        if !odd.is_empty() {
            return None;
        }
        for case in plain {
            let list = if case.2 { &mut cases } else { &mut refused };
            match list.iter_mut().find(|(known, _)| *known == case) {
                Some((_, sets)) => *sets |= 1 << at,
                None => list.push((case, 1 << at)),
            }
        }
    }
    cases.append(&mut refused);
    let cases = cases.iter().map(|((include, except, allows), sets)| Case {
        include,
        except,
        sets: *sets,
        allows: *allows,
    });
    let made: [PathSet; TOGETHER] = PathSet::family(cases, true).ok()?;
    Some(made.into_iter().take(ways.len()).collect())
}

/// The choices that decide a way, in order. `None`: the way is more than a list of refusals.
pub(super) fn refusing<'h>(
    hooks: &'h [Hook],
    way: &Way,
) -> Option<Vec<(Patterns, Patterns, Option<&'h Choice>)>> {
    let (_, odd) = split(hooks, way);
    let mut out = vec![(unseen(way), Vec::new(), None)];
    for choice in hooks
        .iter()
        .filter(|h| h.call == way.call)
        .flat_map(|h| &h.choices)
        .filter(|c| live(c, way))
    {
        let (include, except) = as_case(choice, way)?;
        out.push((include, except, Some(choice)));
    }
    odd.is_empty().then_some(out)
}

/// The paths at which a way is open.
pub(super) fn open(hooks: &[Hook], way: &Way) -> Result<PathSet, TooLarge> {
    let (plain, odd) = split(hooks, way);
    let of = |cases: &[(Patterns, Patterns, bool)], default: bool| {
        let cases = cases
            .iter()
            .map(|(i, e, allows)| (i.as_slice(), e.as_slice(), *allows));
        PathSet::first_match_except(cases, default)
    };
    let mut out = of(&plain, true)?;
    for hook in odd {
        let mut denied = PathSet::empty();
        for choice in hook.choices.iter().rev() {
            if !live(choice, way) {
                continue;
            }
            // All its filters must match at once.
            let mut matching = of(&[(unseen(way), Vec::new(), false)], true)?;
            for filter in on_path(choice, way) {
                let own = of(&[(patterns(filter, way.sees), Vec::new(), true)], false)?;
                let negated = matches!(
                    filter.operator,
                    Operator::NotEqual | Operator::NotPrefix | Operator::NotPostfix
                );
                matching = if negated {
                    matching.difference(&own)?
                } else {
                    matching.intersection(&own)?
                };
            }
            denied = if choice.denies {
                denied.union(&matching)?
            } else {
                denied.difference(&matching)?
            };
        }
        out = out.difference(&denied)?;
    }
    Ok(out)
}

/// The choice that decides a way for one path (its own, or the directory's), if its filters match.
pub(super) fn deciding<'h>(hooks: &'h [Hook], way: &Way, path: &[u8]) -> Option<&'h Choice> {
    let seen: &[u8] = match way.sees {
        Sees::Object => path,
        Sees::Parent => &path[..path.iter().rposition(|b| *b == b'/')?],
    };
    if seen.is_empty() || seen == b"/" {
        return None;
    }
    let mut first = None;
    for hook in hooks.iter().filter(|h| h.call == way.call) {
        let choice = hook
            .choices
            .iter()
            .find(|c| live(c, way) && on_path(c, way).all(|f| filter_matches(f, seen)));
        match choice {
            Some(choice) if choice.denies => return Some(choice),
            other => first = first.or(other),
        }
    }
    first
}

fn filter_matches(filter: &Filter, path: &[u8]) -> bool {
    let mut values = filter.values.iter().map(String::as_bytes);
    match filter.operator {
        Operator::Equal => values.any(|v| v == path),
        Operator::NotEqual => values.all(|v| v != path),
        Operator::Prefix => values.any(|v| path.starts_with(v)),
        Operator::NotPrefix => values.all(|v| !path.starts_with(v)),
        Operator::Postfix => values.any(|v| path.ends_with(v)),
        Operator::NotPostfix => values.all(|v| !path.ends_with(v)),
        _ => false,
    }
}
