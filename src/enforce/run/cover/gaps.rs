//! Objects that exist, that the policy denies, and that polc cannot protect.

use super::{CREATE, DELETE, EDIT, EXECUTE, LIST, OPERATIONS, Plan, READ, Whole, above, widen};
use crate::backend::landlock::{AccessFs, Kind, Ruleset};
use crate::fidelity::{Object, show_bytes};
use crate::policy::Policy;
use crate::semantics::{Meaning, TooLarge, decide};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// An object that exists and that polc cannot protect, although the policy denies something on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The object, or a directory in which it may be.
    pub path: Vec<u8>,
    /// `path` is a directory in which there may be denied objects.
    pub inside: bool,
    /// Why it cannot be protected.
    pub reason: String,
}

/// How many gaps a message names.
const NAMED: usize = 10;

/// What a ruleset leaves open if nothing can be mounted.
///
/// # Errors
/// The policy's automata are too large.
pub fn left_open(
    plan: &Plan,
    meaning: &Meaning<'_>,
    ruleset: &Ruleset,
) -> Result<Vec<Gap>, TooLarge> {
    let mut denies = Vec::with_capacity(OPERATIONS.len());
    for operation in OPERATIONS {
        denies.push(meaning.decisions(operation)?);
    }
    let granted = Granted::of(ruleset);
    let mut gaps = plan.gaps.clone();
    for (path, (_, kind)) in &plan.covers {
        let open = |o: usize| {
            denies.get(o).is_some_and(|d| !d.permits_path(path)) && granted.allows(o, path)
        };
        // The program may replace a link. The object that the link leads to is judged by its own name.
        let open = match kind {
            Kind::Link | Kind::Missing => false,
            Kind::Directory => open(LIST) || open(DELETE),
            Kind::File => open(READ) || open(EDIT) || open(DELETE) || open(EXECUTE),
        };
        // The program may remove the object and make it again.
        let again = |o: usize| denies.get(o).is_some_and(|d| !d.permits_path(path));
        let replaced = *kind != Kind::Link
            && again(CREATE)
            && granted.allows(CREATE, path)
            && granted.allows(DELETE, path);
        if open || replaced {
            gaps.push(Gap {
                path: path.clone(),
                inside: false,
                reason: "nothing can be mounted over it without namespaces".to_owned(),
            });
        }
    }
    for (path, why) in &plan.coarse {
        let unknown = matches!(why, Whole::Unreadable | Whole::TooDeep);
        if unknown && (granted.allows(READ, path) || granted.allows(EDIT, path)) {
            gaps.push(Gap {
                path: path.clone(),
                inside: true,
                reason: "polc cannot look into it, and cannot hide it without namespaces"
                    .to_owned(),
            });
        }
    }
    Ok(gaps)
}

/// What a ruleset grants, by path.
struct Granted<'r> {
    handled: &'r BTreeSet<AccessFs>,
    by_path: BTreeMap<&'r [u8], &'r BTreeSet<AccessFs>>,
}

impl<'r> Granted<'r> {
    fn of(ruleset: &'r Ruleset) -> Self {
        let paths = ruleset.paths.iter();
        Self {
            handled: &ruleset.handled_fs,
            by_path: paths.map(|p| (p.parent.as_slice(), &p.allowed)).collect(),
        }
    }

    /// Whether the ruleset allows the operation on an object.
    fn allows(&self, operation: usize, path: &[u8]) -> bool {
        let rights = widen::rights(operation);
        let any = |set: &BTreeSet<AccessFs>| rights.iter().any(|r| set.contains(r));
        // To make or remove an object, the program needs a right on a directory above it.
        let own = (!matches!(operation, CREATE | DELETE)).then_some(path);
        !any(self.handled)
            || above(path)
                .chain(own)
                .filter_map(|p| self.by_path.get(p))
                .any(|set| any(set))
    }
}

/// Why the program does not start, as lines of text.
#[must_use]
pub fn refusal(policy: &Policy, gaps: &[Gap]) -> String {
    let mut out = String::new();
    for gap in gaps.iter().take(NAMED) {
        let path = show_bytes(&gap.path);
        let denied = OPERATIONS.into_iter().find_map(|operation| {
            let object = Object::Path(gap.path.clone());
            let decision = decide(policy, operation, &object);
            (!decision.action.permits()).then_some((operation, decision))
        });
        let _ = match denied.filter(|_| !gap.inside) {
            Some((operation, decision)) => writeln!(
                out,
                "  `{path}` cannot be protected: {}; to {} it is denied by {}",
                gap.reason,
                operation.name(),
                policy.decider(decision.rule)
            ),
            None => writeln!(
                out,
                "  what is denied in `{path}` cannot be protected: {}",
                gap.reason
            ),
        };
    }
    if let more @ 1.. = gaps.len().saturating_sub(NAMED) {
        let _ = writeln!(out, "  and {more} more");
    }
    out
}
