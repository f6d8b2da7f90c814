//! What one layer keeps, for standard error.

use crate::fidelity::{Fidelity, Ledger};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How much the layer keeps, and what a program in it can still do: one line for each reason.
#[must_use]
pub fn unenforced(layer: &str, ledger: &Ledger) -> String {
    let mut out = String::new();
    if let Some(warning) = &ledger.warning {
        let _ = writeln!(out, "warning: {warning}");
    }
    let _ = writeln!(
        out,
        "{layer}: {} exact, {} stricter, {} looser, {} unenforced of {} rules and operations",
        ledger.count(Fidelity::Exact),
        ledger.count(Fidelity::Stricter),
        ledger.count(Fidelity::Looser) + ledger.count(Fidelity::Mixed),
        ledger.count(Fidelity::Unenforced),
        ledger.entries.len()
    );
    // One line for each reason, with what it is about.
    let mut reasons: Vec<(&str, BTreeSet<&str>)> = Vec::new();
    for entry in ledger.entries.iter().filter(|e| e.fidelity.leaks()) {
        let operation = entry.operation.name();
        match reasons.iter_mut().find(|r| r.0 == entry.reason) {
            Some(known) => {
                known.1.insert(operation);
            }
            None => reasons.push((&entry.reason, BTreeSet::from([operation]))),
        }
    }
    for (reason, operations) in reasons {
        let words: Vec<&str> = operations.into_iter().collect();
        let _ = writeln!(out, "  not enforced: {}: {reason}", words.join(", "));
    }
    let lost: Vec<&str> = ledger.lost().map(|s| s.setting.as_ref()).collect();
    if !lost.is_empty() {
        let _ = writeln!(out, "  not enforced: {}", lost.join(", "));
    }
    out
}
