//! Compares a ledger with what the bytes of its artifact say.

use super::compare::{Comparison, Difference};
use crate::fidelity::{Fidelity, Ledger};
use crate::policy::{Operation, RuleId};
use rustc_hash::FxHashSet;

/// One claim of a ledger that its artifact does not confirm.
#[derive(Debug, Clone)]
pub struct Disagreement {
    /// The rule; `None`: the default.
    pub rule: Option<RuleId>,
    /// The operation.
    pub operation: Operation,
    /// The ledger's claim. `None`: it has no entry.
    pub claimed: Option<Fidelity>,
    /// What the artifact says. `None`: unknown.
    pub found: Option<Fidelity>,
    /// A difference that shows this. `None`: the ledger claims a difference that does not exist.
    pub shown: Option<Difference>,
}

/// (denies what the policy allows, allows what it denies)
fn directions(fidelity: Fidelity) -> (bool, bool) {
    match fidelity {
        Fidelity::Exact => (false, false),
        Fidelity::Stricter => (true, false),
        Fidelity::Looser | Fidelity::Unenforced => (false, true),
        Fidelity::Mixed => (true, true),
    }
}

/// The disagreements between a ledger and a comparison, by rule, operation and direction. Looser and unenforced are one
/// direction. What could not be compared is no disagreement: [`Comparison::is_unknown`] reports that.
#[must_use]
pub fn disagreements(ledger: &Ledger, comparison: &Comparison) -> Vec<Disagreement> {
    let mut out = Vec::new();
    for entry in &ledger.entries {
        // Only the gate sees tool calls. The comparison includes a program's arguments.
        if entry.operation == Operation::Tool {
            continue;
        }
        let account = comparison.account(entry.rule, entry.operation);
        let found = account.map_or(Some(Fidelity::Exact), |a| a.fidelity());
        let Some(fidelity) = found else { continue };
        let (claimed_stricter, claimed_looser) = directions(entry.fidelity);
        let (stricter, looser) = directions(fidelity);
        if (claimed_stricter, claimed_looser) == (stricter, looser) {
            continue;
        }
        let missed = |d: &&Difference| {
            if d.looser() {
                !claimed_looser
            } else {
                !claimed_stricter
            }
        };
        out.push(Disagreement {
            rule: entry.rule,
            operation: entry.operation,
            claimed: Some(entry.fidelity),
            found,
            shown: account
                .and_then(|a| a.differences.iter().find(missed))
                .cloned(),
        });
    }
    let entries = ledger.entries.iter().map(|e| (e.rule, e.operation));
    let entries: FxHashSet<(Option<RuleId>, Operation)> = entries.collect();
    for (rule, operation, account) in comparison.accounts() {
        if account.decides && !entries.contains(&(rule, operation)) {
            out.push(Disagreement {
                rule,
                operation,
                claimed: None,
                found: account.fidelity(),
                shown: account.differences.first().cloned(),
            });
        }
    }
    out
}
