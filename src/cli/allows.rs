//! What a policy allows, in a few lines, for a user who is asked to trust it.

use polc::fidelity::show_bytes;
use polc::policy::{Action, Objects, Operation, Policy, Rule};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How many objects a line names.
const NAMED: usize = 6;

/// What the rules of a policy allow, the widest objects first. What comes from polc's own rule sets is told by their names.
#[must_use]
pub fn summary(policy: &Policy) -> String {
    let allowing = || policy.rules.iter().filter(|r| r.action == Action::Allow);
    let source = |r: &Rule| {
        policy
            .sources
            .get(r.span.file)
            .map_or("", |f| f.name.as_str())
    };
    let own = |r: &&Rule| !source(r).starts_with("builtin:");
    let builtin: BTreeSet<&str> = allowing()
        .filter_map(|r| source(r).strip_prefix("builtin:"))
        .collect();
    let mut out = if builtin.is_empty() {
        "it allows:\n".to_owned()
    } else {
        let names: Vec<&str> = builtin.into_iter().collect();
        format!(
            "it allows, besides what polc's own {} allow:\n",
            names.join(", ")
        )
    };
    let objects = |operations: &[Operation]| {
        let speaks = |r: &&Rule| operations.iter().any(|o| r.operations.contains(*o));
        let all: Vec<String> = allowing()
            .filter(own)
            .filter(speaks)
            .flat_map(objects_of)
            .collect();
        widest_first(all)
    };
    if policy.default_action == Action::Allow {
        line(&mut out, "default", "everything that no rule denies");
    }
    const LINES: [(&str, &[Operation]); 6] = [
        ("read", &[Operation::Read]),
        (
            "write",
            &[Operation::Edit, Operation::Create, Operation::Delete],
        ),
        ("start", &[Operation::Execute]),
        ("connect", &[Operation::Connect]),
        ("listen", &[Operation::Bind]),
        ("tools", &[Operation::Tool]),
    ];
    for (word, operations) in LINES {
        let found = objects(operations);
        if !found.is_empty() {
            line(&mut out, word, &found);
        }
    }
    let variables = match &policy.environment.pass {
        None => "all".to_owned(),
        Some(list) if list.is_empty() => "none".to_owned(),
        Some(list) => few(list),
    };
    line(&mut out, "variables", &variables);
    if !policy.capabilities.is_empty() {
        line(&mut out, "capabilities", &policy.capabilities.join(", "));
    }
    out
}

fn line(out: &mut String, word: &str, what: &str) {
    let _ = writeln!(out, "  {word:<12} {}", show_bytes(what.as_bytes()));
}

fn objects_of(rule: &Rule) -> Vec<String> {
    match &rule.objects {
        Objects::Paths { paths, .. } => paths.iter().map(|p| p.text.clone()).collect(),
        Objects::Hosts { hosts, .. } => hosts.iter().map(|h| h.text.clone()).collect(),
        Objects::Commands { commands, .. } => commands.iter().map(|c| c.text.clone()).collect(),
        Objects::Syscalls { .. } => Vec::new(),
        Objects::Tools { tools, .. } => tools.iter().map(|t| t.text.clone()).collect(),
    }
}

/// The objects with the fewest names before their first wildcard come first: they hold the most.
fn widest_first(mut all: Vec<String>) -> String {
    let width = |text: &String| {
        let literal = text
            .find(['*', '?', '[', '{'])
            .map_or(text.as_str(), |i| &text[..i]);
        let tree = text.ends_with("/**") || text == "*" || text == "**";
        (!tree, literal.matches('/').count(), text.len())
    };
    all.sort_by(|a, b| width(a).cmp(&width(b)).then_with(|| a.cmp(b)));
    all.dedup();
    few(&all)
}

fn few(all: &[String]) -> String {
    let shown = all
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
