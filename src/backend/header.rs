//! The comment at the head of an artifact: what made it, how to use it, and what it does not keep.

use super::Options;
use crate::fidelity::{Entry, Fidelity, Ledger, show_bytes};
use crate::policy::Policy;
use std::fmt::Write;

/// Most lines of a header.
const MOST: usize = 15;

/// Entries of a ledger that have one reason.
struct Loss<'l> {
    fidelity: Fidelity,
    entries: Vec<&'l Entry>,
}

/// The lines, in which nothing of the policy can end a comment. `usage` says how to load it, to try it and to undo that.
pub(super) fn lines(
    policy: &Policy,
    ledger: &Ledger,
    options: &Options,
    usage: impl IntoIterator<Item = String>,
) -> Vec<String> {
    let mut out = Vec::new();
    out.extend(options.banner.iter().map(|b| show_bytes(b.as_bytes())));
    out.extend(usage);
    let losses = losses(ledger);
    let entries: usize = losses.iter().map(|l| l.entries.len()).sum();
    let settings: Vec<&str> = ledger.lost().map(|s| &*s.setting).collect();
    if entries == 0 && settings.is_empty() {
        return out;
    }
    out.push(format!(
        "not kept as the policy says: {entries} of {}; all of them: polc emit {} --ledger human",
        ledger.entries.len(),
        ledger.target
    ));
    let room = MOST - usize::from(!settings.is_empty());
    let room = room.saturating_sub(out.len());
    let shown = match losses.len() {
        all if all <= room => all,
        // The last line counts the others.
        _ => room.saturating_sub(1),
    };
    out.extend(losses.iter().take(shown).map(|l| line(policy, l)));
    if let Some(rest) = losses.get(shown..).filter(|rest| !rest.is_empty()) {
        let more: usize = rest.iter().map(|l| l.entries.len()).sum();
        out.push(format!("- {more} for {} other reasons", rest.len()));
    }
    if !settings.is_empty() {
        out.push(show_bytes(
            format!("- not enforced beside the rules: {}", settings.join(", ")).as_bytes(),
        ));
    }
    out
}

/// What is not exact, by reason: what lets something through first, and of that the most frequent.
fn losses(ledger: &Ledger) -> Vec<Loss<'_>> {
    let mut out: Vec<Loss<'_>> = Vec::new();
    let differs = |e: &&Entry| e.fidelity != Fidelity::Exact;
    for entry in ledger.entries.iter().filter(differs) {
        let same =
            |l: &&mut Loss<'_>| l.fidelity == entry.fidelity && l.entries[0].reason == entry.reason;
        match out.iter_mut().find(same) {
            Some(loss) => loss.entries.push(entry),
            None => out.push(Loss {
                fidelity: entry.fidelity,
                entries: vec![entry],
            }),
        }
    }
    out.sort_by_key(|l| (!l.fidelity.leaks(), std::cmp::Reverse(l.entries.len())));
    out
}

/// How many entries, why, and one of them.
fn line(policy: &Policy, loss: &Loss<'_>) -> String {
    let first = loss.entries[0];
    let mut out = format!(
        "- {} {}: {}",
        loss.entries.len(),
        loss.fidelity,
        show_bytes(first.reason.as_bytes())
    );
    let name = first
        .rule
        .map_or("default_action", |id| &policy.rule(id).name);
    let name = show_bytes(name.as_bytes());
    let _ = match first.witnesses.first() {
        Some(w) => {
            let does = if w.layer_allows { "allows" } else { "denies" };
            write!(out, "; {does} {} {} ({name})", first.operation, w.object)
        }
        None => write!(out, "; {} ({name})", first.operation),
    };
    out
}
