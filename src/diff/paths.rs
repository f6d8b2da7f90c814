//! Differences about paths and programs.

use super::{Became, Change, Side};
use crate::fidelity::Object;
use crate::policy::{Action, Objects, Operation, Platforms, Policy, RuleId, Sequence};
use crate::semantics::{Meaning, PathSet, TooLarge, compare_arguments};
use std::collections::BTreeSet;

/// How many patterns describe one difference. The rest is described by an example alone.
const PATTERNS: usize = 400;

pub(super) fn compare(
    old: &Side<'_>,
    new: &Side<'_>,
    operation: Operation,
    out: &mut Vec<Change>,
) -> Result<(), TooLarge> {
    // Programs whose arguments matter are described by their arguments.
    let whole = match (old, new) {
        (Side::Policy(old), Side::Policy(new)) if operation == Operation::Execute => {
            programs(old, new, out)?;
            Some(plain(old)?.intersection(&plain(new)?)?)
        }
        _ => None,
    };
    let candidates = candidates(old, new, operation);
    for action in [Action::Allow, Action::Deny, Action::Ask] {
        let mut changed = new
            .paths(operation, action)?
            .difference(&old.paths(operation, action)?)?;
        if let Some(whole) = &whole {
            changed = changed.intersection(whole)?;
        }
        if changed.is_empty() {
            continue;
        }
        tell(&candidates, changed, |what, in_part, path| {
            let object = Object::Path(path);
            out.push(Change {
                operation: Some(operation),
                became: Became::of(action),
                what,
                in_part,
                platforms: Platforms::ALL,
                decisions: [
                    old.decision(operation, &object),
                    new.decision(operation, &object),
                ],
                example: Some(object),
            });
        })?;
    }
    Ok(())
}

/// Every pattern that the policies have for the operation, the widest first.
fn candidates(old: &Side<'_>, new: &Side<'_>, operation: Operation) -> Vec<Sequence> {
    let mut seen = BTreeSet::new();
    let mut out: Vec<Sequence> = Vec::new();
    for side in [old, new] {
        let Side::Policy(meaning) = side else {
            continue;
        };
        let policy = meaning.policy();
        for rule in policy.rules.iter().filter(|r| r.concerns_paths(operation)) {
            for s in rule.sequences() {
                if seen.insert(s.to_string()) {
                    out.push(s.clone());
                }
            }
        }
    }
    out.sort_by_key(|s| s.components.len());
    out
}

/// Describes a set by patterns: first those that lie in it whole, then those that lie in it in part, then by an example
/// of the rest.
fn tell(
    candidates: &[Sequence],
    changed: PathSet,
    mut say: impl FnMut(String, bool, Vec<u8>),
) -> Result<(), TooLarge> {
    let mut rest = changed.clone();
    let mut told = 0;
    for whole in [true, false] {
        for pattern in candidates {
            if told >= PATTERNS {
                break;
            }
            let set = PathSet::of([pattern])?;
            let Some(example) = set.common_witness(&rest)? else {
                continue;
            };
            if whole && !set.is_subset(&changed)? {
                continue;
            }
            told += 1;
            say(pattern.to_string(), !whole, example);
            rest = rest.difference(&set)?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }
    if let Some(example) = rest.witness() {
        let what = if rest.is_all() { "/**" } else { "other paths" };
        say(what.to_owned(), !rest.is_all(), example);
    }
    Ok(())
}

/// The programs whose arguments do not matter.
fn plain(meaning: &Meaning<'_>) -> Result<PathSet, TooLarge> {
    let decisions = meaning.decisions(Operation::Execute)?;
    let verdicts = decisions.verdicts();
    Ok(PathSet::from_dfa(decisions.dfa(), |l| {
        verdicts[l as usize].command.is_none()
    }))
}

/// Programs whose arguments matter in one of the policies, or in both.
fn programs(old: &Meaning<'_>, new: &Meaning<'_>, out: &mut Vec<Change>) -> Result<(), TooLarge> {
    const OPERATION: Operation = Operation::Execute;
    let (mine, theirs) = (old.decisions(OPERATION)?, new.decisions(OPERATION)?);
    // One program for each pair of labels, because the policies cannot tell the others apart.
    let mut pairs: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut samples: Vec<Vec<u8>> = Vec::new();
    mine.walk_both(theirs, |a, b, spell| {
        let by_arguments = mine.verdicts()[a as usize].command.is_some()
            || theirs.verdicts()[b as usize].command.is_some();
        if by_arguments && pairs.insert((a, b)) {
            samples.push(spell());
        }
    })?;
    let mut told: BTreeSet<(Became, String)> = BTreeSet::new();
    for program in samples {
        for case in compare_arguments(old.policy(), new.policy(), &program)? {
            if case.old.action == case.new.action {
                continue;
            }
            let became = Became::of(case.new.action);
            let what = [(old, case.old.rule), (new, case.new.rule)]
                .iter()
                .rev()
                .find_map(|(m, rule)| pattern_of(m.policy(), *rule, &program, &case.arguments))
                .unwrap_or_else(|| "other arguments".to_owned());
            if !told.insert((became, what.clone())) {
                continue;
            }
            let mut words = vec![program.clone()];
            words.extend(case.arguments);
            out.push(Change {
                operation: Some(OPERATION),
                became,
                what,
                // Rules above it may decide about some of it.
                in_part: true,
                platforms: Platforms::ALL,
                example: Some(Object::Command(words)),
                decisions: [Some(case.old), Some(case.new)],
            });
        }
    }
    Ok(())
}

/// The command of a rule that matches, as the policy writes it.
fn pattern_of(
    policy: &Policy,
    rule: Option<RuleId>,
    program: &[u8],
    arguments: &[Vec<u8>],
) -> Option<String> {
    match &policy.rule(rule?).objects {
        Objects::Commands { commands, .. } => commands
            .iter()
            .find(|c| crate::semantics::matches_command(c, program, arguments))
            .map(|c| c.text.clone()),
        Objects::Paths { paths, .. } => paths
            .iter()
            .find(|p| crate::semantics::matches_path(p, program))
            .map(|p| p.text.clone()),
        _ => None,
    }
}
