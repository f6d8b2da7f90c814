//! What an artifact's comments say of its ledger, in every language that has comments.

use crate::fidelity::{Fidelity, Ledger, show_bytes};
use crate::policy::Policy;
use std::fmt::Write;

/// Entries that are shown; the rest is counted.
const SHOWN: usize = 40;

/// A line for each entry that is not exact, in which nothing of the policy can end a comment.
pub(super) fn differing(policy: &Policy, ledger: &Ledger) -> Vec<String> {
    let differing: Vec<_> = ledger
        .entries
        .iter()
        .filter(|e| e.fidelity != Fidelity::Exact)
        .collect();
    let mut out = Vec::new();
    for e in differing.iter().take(SHOWN) {
        let name = e.rule.map_or("default_action", |id| &policy.rule(id).name);
        let mut line = format!(
            "{}: {} ({}): {}",
            e.fidelity,
            show_bytes(name.as_bytes()),
            e.operation,
            show_bytes(e.reason.as_bytes())
        );
        if let Some(w) = e.witnesses.first() {
            let _ = write!(
                line,
                "; {} {}",
                if w.layer_allows { "allows" } else { "denies" },
                w.object
            );
        }
        out.push(line);
    }
    if differing.len() > SHOWN {
        out.push(format!(
            "and {} more: polc emit {} --ledger json",
            differing.len() - SHOWN,
            ledger.target
        ));
    }
    out
}
