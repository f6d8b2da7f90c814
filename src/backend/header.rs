//! The comment at the head of an artifact: what made it, how to use it, and what it does not keep.

use super::Options;
use crate::fidelity::{Entry, Fidelity, Ledger, show_bytes};
use crate::policy::Policy;
use std::fmt::Write;

/// The most lines of a header.
const MOST: usize = 15;

/// Entries of a ledger with the same reason.
struct Loss<'l> {
    fidelity: Fidelity,
    reason: &'l str,
    entries: Vec<&'l Entry>,
}

/// The comment's lines. No text of the policy in them can end a comment. `usage` says how to load the artifact, how to
/// try it, and how to undo that.
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
        out.push("exact: every rule means here what the policy says".to_owned());
        return out;
    }
    out.push(format!(
        "differs from the policy in {entries} of {} entries of the ledger; `polc emit {} --ledger human` lists them all",
        ledger.entries.len(),
        ledger.target
    ));
    let room = MOST.saturating_sub(out.len() + usize::from(!settings.is_empty()));
    let shown = match losses.len() {
        all if all <= room => all,
        // The last line counts the remaining reasons.
        _ => room.saturating_sub(1),
    };
    out.extend(losses.iter().take(shown).map(|l| l.line(policy)));
    if let Some(rest) = losses.get(shown..).filter(|rest| !rest.is_empty()) {
        let more: usize = rest.iter().map(|l| l.entries.len()).sum();
        out.push(format!("- {more} for {} other reasons", rest.len()));
    }
    if !settings.is_empty() {
        let text = format!("- not enforced besides: {}", settings.join(", "));
        out.push(show_bytes(text.as_bytes()));
    }
    out
}

/// The entries that are not exact, by reason. Losses come first, the most frequent before the others.
fn losses(ledger: &Ledger) -> Vec<Loss<'_>> {
    let mut out: Vec<Loss<'_>> = Vec::new();
    for entry in &ledger.entries {
        if entry.fidelity == Fidelity::Exact {
            continue;
        }
        let same = |l: &&mut Loss<'_>| l.fidelity == entry.fidelity && l.reason == entry.reason;
        match out.iter_mut().find(same) {
            Some(loss) => loss.entries.push(entry),
            None => out.push(Loss {
                fidelity: entry.fidelity,
                reason: &entry.reason,
                entries: vec![entry],
            }),
        }
    }
    out.sort_by_key(|l| (!l.fidelity.leaks(), std::cmp::Reverse(l.entries.len())));
    out
}

impl Loss<'_> {
    /// The number of entries, the reason, and one example.
    fn line(&self, policy: &Policy) -> String {
        let reason = show_bytes(self.reason.as_bytes());
        let mut out = format!("- {} {}: {reason}", self.entries.len(), self.fidelity);
        let Some(entry) = self.entries.first() else {
            return out;
        };
        let name = match entry.rule {
            Some(id) => show_bytes(policy.rule(id).name.as_bytes()),
            None => "default_action".to_owned(),
        };
        let operation = entry.operation;
        let _ = match entry.witnesses.first() {
            Some(w) => {
                let does = if w.layer_allows { "allows" } else { "denies" };
                let (object, says) = (&w.object, w.policy);
                write!(
                    out,
                    "; for example it {does} {operation} {object} ({name}: {says})"
                )
            }
            None => write!(out, "; for example {operation} ({name})"),
        };
        out
    }
}
