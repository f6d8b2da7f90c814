//! Rules and patterns without effect.

use super::{Finding, is_own};
use crate::policy::{Action, Objects, Operation, Policy, Rule, RuleId, SyscallName, syscalls};
use crate::semantics::{Decisions, Meaning, PathSet, TooLarge, decide};
use std::collections::BTreeSet;

/// If a policy has more of its own rules than this, the lint does not try it without single rules. Each try needs new
/// automata.
const TRIED: usize = 120;

pub(super) fn find(meaning: &Meaning<'_>, out: &mut Vec<Finding>) -> Result<(), TooLarge> {
    let policy = meaning.policy();
    let mut deciding: BTreeSet<RuleId> = BTreeSet::new();
    for operation in Operation::ON_PATHS {
        paths(meaning.decisions(operation)?, &mut deciding);
    }
    for operation in [Operation::Connect, Operation::Bind] {
        let regions = meaning.hosts(operation).regions();
        deciding.extend(regions.iter().filter_map(|r| r.decision.rule));
    }
    system_calls(policy, &mut deciding);
    let own = policy.rules.iter().filter(|r| is_own(policy, r));
    // A rule for another platform has none.
    let own: Vec<&Rule> = own.filter(|r| !r.operations.is_empty()).collect();
    for rule in &own {
        if matches!(rule.objects, Objects::Tools { .. }) {
            continue;
        }
        if !deciding.contains(&rule.id) {
            out.push(never(meaning, rule)?);
            continue;
        }
        void_patterns(meaning, rule, out)?;
        // A rule that denies with a message is there for its message.
        let silent = rule.message.is_none();
        if own.len() <= TRIED && silent && changes_nothing(meaning, rule)? {
            out.push(
                Finding::new(
                    "L002",
                    Some(rule.id),
                    format!(
                        "rule `{}` changes nothing: the policy means the same without it",
                        rule.name
                    ),
                )
                .help("remove the rule, or give it a `message` if it is there to be read"),
            );
        }
    }
    Ok(())
}

/// The rules that decide about some path, or about some arguments of some program.
fn paths(decisions: &Decisions, out: &mut BTreeSet<RuleId>) {
    let dfa = decisions.dfa();
    for label in dfa.labels_in_use() {
        let verdict = &decisions.verdicts()[label as usize];
        out.extend(verdict.decision.rule);
        for (decision, _) in verdict.command.iter().flat_map(|c| &c.parts) {
            out.extend(decision.rule);
        }
    }
}

fn system_calls(policy: &Policy, out: &mut BTreeSet<RuleId>) {
    let mut names: BTreeSet<&str> = syscalls::all().collect();
    for rule in &policy.rules {
        if let Objects::Syscalls { syscalls, .. } = &rule.objects {
            names.extend(syscalls.iter().filter_map(|s| match s {
                SyscallName::Name(n) => Some(n.as_str()),
                SyscallName::Group(_) => None,
            }));
        }
    }
    for name in names {
        let object = crate::fidelity::Object::Syscall(name.to_owned());
        out.extend(decide(policy, Operation::Syscall, &object).rule);
    }
}

/// A rule that decides nothing, with the rules that decide instead.
fn never(meaning: &Meaning<'_>, rule: &Rule) -> Result<Finding, TooLarge> {
    let policy = meaning.policy();
    let mut others: BTreeSet<RuleId> = BTreeSet::new();
    if let Objects::Paths { paths, except } = &rule.objects {
        let matched = PathSet::first_match_except(
            paths
                .iter()
                .map(|p| (p.sequences.as_slice(), &[][..], true)),
            false,
        )?;
        let excepted = PathSet::of(except.iter().flat_map(|p| &p.sequences))?;
        let matched = matched.difference(&excepted)?;
        for operation in rule.operations.iter() {
            let decisions = meaning.decisions(operation)?;
            decisions.walk_with(&matched, |label, _, inside, _| {
                if inside {
                    others.extend(decisions.verdicts()[label as usize].decision.rule);
                }
            })?;
        }
    }
    let mut finding = Finding::new(
        "L001",
        Some(rule.id),
        format!("rule `{}` never decides anything", rule.name),
    )
    .help(
        "the first rule that matches decides, from top to bottom: move this one up, or remove it",
    );
    finding.others = others
        .into_iter()
        .filter(|id| *id < rule.id)
        .take(4)
        .map(|id| {
            let action = policy.rule(id).action;
            (id, format!("this one matches first: {action}"))
        })
        .collect();
    Ok(finding)
}

/// Patterns of an allow rule that the rules above cover completely.
fn void_patterns(
    meaning: &Meaning<'_>,
    rule: &Rule,
    out: &mut Vec<Finding>,
) -> Result<(), TooLarge> {
    let Objects::Paths { paths, .. } = &rule.objects else {
        return Ok(());
    };
    if rule.action != Action::Allow || paths.len() < 2 {
        return Ok(());
    }
    for pattern in paths {
        let set = PathSet::of(&pattern.sequences)?;
        let mut matters = false;
        for operation in rule.operations.iter() {
            let decided = meaning.decisions(operation)?.decided_by(Some(rule.id));
            matters |= set.common_witness(&decided)?.is_some();
        }
        if !matters {
            out.push(
                Finding::new(
                    "L003",
                    Some(rule.id),
                    format!(
                        "pattern `{1}` of rule `{0}` allows nothing: rules above decide all of it",
                        rule.name, pattern.text
                    ),
                )
                .help("`polc explain` tells which rule decides one of its paths"),
            );
        }
    }
    Ok(())
}

/// Whether the policy means the same without the rule.
fn changes_nothing(meaning: &Meaning<'_>, rule: &Rule) -> Result<bool, TooLarge> {
    let policy = meaning.policy();
    let mut without = policy.clone();
    without.rules.remove(rule.id.0 as usize);
    for (i, r) in without.rules.iter_mut().enumerate() {
        r.id = RuleId(i as u32);
    }
    let other = Meaning::new(&without);
    let sides = (
        crate::diff::Side::Policy(meaning),
        crate::diff::Side::Policy(&other),
    );
    crate::diff::is_same(&sides.0, &sides.1, rule.operations)
}
