//! Prints the ledger: a summary for people, or all of it.

use polc::fidelity::{Entry, Fidelity, Ledger};
use polc::policy::Policy;
use serde_json::{Value, json};
use std::fmt::Write;

/// The form of the whole ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LedgerFormat {
    /// A line for every rule and operation.
    Human,
    /// One JSON array, an object for each target.
    Json,
}

/// The most lines in the summary about entries of a target that are not exact.
const SHOWN: usize = 6;

/// The ledgers as text with a line break at its end.
pub fn report<'a>(
    policy: &Policy,
    ledgers: impl Iterator<Item = &'a Ledger>,
    format: Option<LedgerFormat>,
) -> String {
    match format {
        Some(LedgerFormat::Json) => {
            let all: Vec<Value> = ledgers.map(|l| to_json(policy, l)).collect();
            format!("{:#}\n", Value::Array(all))
        }
        Some(LedgerFormat::Human) => ledgers
            .map(|l| human(policy, l, usize::MAX, true))
            .collect(),
        None => {
            let all: Vec<&Ledger> = ledgers.collect();
            match all.as_slice() {
                [one] => human(policy, one, SHOWN, false),
                several => lines(several),
            }
        }
    }
}

/// A line for each target, and how to see more.
fn lines(ledgers: &[&Ledger]) -> String {
    let mut out = String::new();
    for ledger in ledgers {
        if let Some(warning) = &ledger.warning {
            let _ = writeln!(out, "warning: {}: {warning}", ledger.target);
        }
    }
    for ledger in ledgers {
        let leaks = if ledger.leaks() {
            "; lets through some of what the policy denies"
        } else {
            ""
        };
        let _ = writeln!(out, "{}{leaks}", counts(ledger));
    }
    if !ledgers.is_empty() {
        out.push_str(
            "`--ledger human` shows each rule, and what each target does not keep of it\n",
        );
    }
    out
}

/// How many rules and operations a target keeps, and how well.
fn counts(ledger: &Ledger) -> String {
    let kinds = [
        Fidelity::Exact,
        Fidelity::Stricter,
        Fidelity::Looser,
        Fidelity::Mixed,
        Fidelity::Unenforced,
    ];
    let counts: Vec<String> = kinds
        .into_iter()
        .map(|k| (ledger.count(k), k))
        .filter(|(n, k)| *n > 0 || *k == Fidelity::Exact)
        .map(|(n, k)| format!("{n} {k}"))
        .collect();
    format!("{}: {}", ledger.target, counts.join(", "))
}

fn rule_name<'p>(policy: &'p Policy, entry: &Entry) -> &'p str {
    entry
        .rule
        .map_or("default_action", |id| &policy.rule(id).name)
}

fn to_json(policy: &Policy, ledger: &Ledger) -> Value {
    let entries: Vec<Value> = ledger
        .entries
        .iter()
        .map(|e| {
            let span = e
                .rule
                .map_or(policy.default_span, |id| policy.rule(id).span);
            let witnesses: Vec<Value> = e
                .witnesses
                .iter()
                .map(|w| {
                    json!({
                        "object": w.object.to_string(),
                        "policy": w.policy.name(),
                        "layer": if w.layer_allows { "allow" } else { "deny" },
                    })
                })
                .collect();
            json!({
                "rule": rule_name(policy, e),
                "place": policy.sources.place(span),
                "operation": e.operation.name(),
                "fidelity": e.fidelity.name(),
                "reason": e.reason,
                "witnesses": witnesses,
            })
        })
        .collect();
    let settings: Vec<Value> = ledger
        .settings
        .iter()
        .map(|s| json!({"setting": s.setting, "fidelity": s.fidelity.name(), "reason": s.reason}))
        .collect();
    json!({
        "policy": policy.name,
        "target": ledger.target,
        "warning": ledger.warning,
        "entries": entries,
        "settings": settings,
    })
}

fn human(policy: &Policy, ledger: &Ledger, limit: usize, exact_too: bool) -> String {
    let mut out = String::new();
    if let Some(warning) = &ledger.warning {
        let _ = writeln!(out, "warning: {}: {warning}", ledger.target);
    }
    let _ = writeln!(out, "{}", counts(ledger));
    // What leaks comes first: it is what a reader has to know.
    let mut shown: Vec<&Entry> = ledger
        .entries
        .iter()
        .filter(|e| exact_too || e.fidelity != Fidelity::Exact)
        .collect();
    if !exact_too {
        shown.sort_by_key(|e| !e.fidelity.leaks());
    }
    let mut merged: Vec<(Fidelity, &str, Vec<&str>, &Entry)> = Vec::new();
    for e in shown {
        let name = rule_name(policy, e);
        match merged
            .iter_mut()
            .rev()
            .take(8)
            .find(|m| m.0 == e.fidelity && m.1 == name && m.3.reason == e.reason)
        {
            Some(m) => m.2.push(e.operation.name()),
            None => merged.push((e.fidelity, name, vec![e.operation.name()], e)),
        }
    }
    for (fidelity, name, operations, e) in merged.iter().take(limit) {
        let _ = write!(out, "  {fidelity}: {name} ({})", operations.join(", "));
        if !e.reason.is_empty() {
            let _ = write!(out, ": {}", e.reason);
        }
        if let Some(w) = e.witnesses.first() {
            let layer = if w.layer_allows { "allows" } else { "denies" };
            let _ = write!(out, "; {layer} {} {}", e.operation, w.object);
        }
        out.push('\n');
    }
    if merged.len() > limit {
        let _ = writeln!(
            out,
            "  and {} more: `--ledger human` or `--ledger json` shows all",
            merged.len() - limit
        );
    }
    for s in ledger
        .settings
        .iter()
        .filter(|s| exact_too || (limit > SHOWN && s.fidelity != Fidelity::Exact))
    {
        let _ = writeln!(
            out,
            "  {}: {}{}{}",
            s.fidelity,
            s.setting,
            if s.reason.is_empty() { "" } else { ": " },
            s.reason
        );
    }
    let lost: Vec<&str> = ledger.lost().map(|s| s.setting.as_ref()).collect();
    if !exact_too && !lost.is_empty() {
        let _ = writeln!(out, "  unenforced: {}", lost.join(", "));
    }
    out
}
