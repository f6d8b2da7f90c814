//! Directories that are moved with what is beneath them.

use super::lower::Clause;
use crate::fidelity::{Object, Witness};
use crate::policy::{Action, Component, Objects, Operation, Policy, RuleId, Sequence, Token};
use crate::semantics::{LedgerBuilder, Meaning, PathSet, TooLarge};
use std::collections::BTreeSet;

/// The directories above denied patterns, as patterns.
pub fn ancestors(policy: &Policy) -> Vec<Sequence> {
    let mut out = Vec::new();
    let mut seen = rustc_hash::FxHashSet::default();
    for rule in &policy.rules {
        let Objects::Paths { paths, except } = &rule.objects else {
            continue;
        };
        // An exception of what is allowed may be denied by a rule below it, or by the default.
        let denied = if rule.action.permits() { except } else { paths };
        for s in denied.iter().flat_map(|p| &p.sequences) {
            // What the kernel calls /private/etc can be moved with /private.
            let private = Sequence::literal(b"/private");
            if super::lower::has_twin(s) && seen.insert(private.clone()) {
                out.push(private);
            }
            let mut above = s.components.as_slice();
            if above.last() == Some(&Component::AnyDepth) {
                above = &above[..above.len() - 1];
            }
            while let Some((_, rest)) = above.split_last() {
                above = rest;
                // Above `**` there is nothing that the pattern holds on to.
                let wild = |t: &Token| matches!(t, Token::Star);
                match above.last() {
                    Some(Component::Name(tokens)) if !tokens.iter().all(wild) => {
                        let s = Sequence {
                            components: above.to_vec(),
                        };
                        if !seen.insert(s.clone()) {
                            break;
                        }
                        out.push(s);
                    }
                    _ => {}
                }
            }
        }
    }
    out
}

/// The clauses with only the trees that they allow, and with only what is none. Where everything is allowed by
/// default there is nothing to tell apart.
pub fn by_form(clauses: &[Clause], default_allow: bool) -> (Vec<Clause>, Vec<Clause>) {
    if default_allow {
        return (clauses.to_vec(), Vec::new());
    }
    let of = |tree: bool| {
        let mut out = clauses.to_vec();
        for clause in out.iter_mut().filter(|c| c.allows) {
            let is_tree = |s: &Sequence| s.components.last() == Some(&Component::AnyDepth);
            clause.include.retain(|s| is_tree(s) == tree);
        }
        out.retain(|c| !c.include.is_empty());
        out
    };
    (of(true), of(false))
}

/// Directories that can be moved away although something beneath may not be deleted: a pattern with `**`
/// could deny something in any of them.
pub fn movable(
    meaning: &Meaning<'_>,
    ledger: &mut LedgerBuilder<'_, '_>,
    directories: &PathSet,
) -> Result<(), TooLarge> {
    let decisions = meaning.decisions(Operation::Delete)?;
    let deletable = decisions.dfa().all_below(|l| decisions.permits(l));
    let mut rules: BTreeSet<Option<RuleId>> = BTreeSet::new();
    let mut found: Vec<(Option<RuleId>, Vec<u8>)> = Vec::new();
    decisions.walk_with(directories, |label, state, granted, spell| {
        let decision = decisions.verdicts()[label as usize].decision;
        let beneath = decisions.dfa().step(state, b'/');
        let whole = beneath.is_none_or(|s| deletable[s.index()]);
        if granted && decision.action.permits() && !whole && rules.insert(decision.rule) {
            found.push((decision.rule, spell()));
        }
    })?;
    for (rule, path) in found {
        let witness = Witness {
            object: Object::Path(path),
            policy: Action::Deny,
            layer_allows: true,
        };
        let reason = "a directory can be moved away with what a pattern denies beneath it";
        ledger.differs(rule, Operation::Delete, witness, reason);
    }
    Ok(())
}
