//! A short summary of what a policy allows, for a user who is asked to trust it.

use super::homes::Homes;
use polc::fidelity::show_bytes;
use polc::policy::{Action, Objects, Operation, Policy, Rule, SyscallName};
use polc::semantics::Meaning;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// How many objects one line names.
const NAMED: usize = 6;

/// What the rules of a policy allow, the widest objects first. Rules from polc's own sets appear by the names of the
/// sets. `all`: name every object.
#[must_use]
pub fn summary(policy: &Policy, all: bool) -> String {
    let most = if all { usize::MAX } else { NAMED };
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
    let objects = |operations: &[Operation], told: &[Operation]| {
        // A line above has named these already.
        let speaks = |r: &&Rule| {
            operations.iter().any(|o| r.operations.contains(*o))
                && !told.iter().any(|o| r.operations.contains(*o))
        };
        let all: Vec<String> = allowing()
            .filter(own)
            .filter(speaks)
            .flat_map(objects_of)
            .collect();
        widest_first(all, most)
    };
    if policy.default_action == Action::Allow {
        line(&mut out, "default", "everything that no rule denies");
    }
    const WRITE: &[Operation] = &[Operation::Edit, Operation::Create, Operation::Delete];
    const LINES: [(&str, &[Operation], &[Operation]); 9] = [
        ("read", &[Operation::Read], &[]),
        ("list", &[Operation::List], &[Operation::Read]),
        ("write", WRITE, &[]),
        ("metadata", &[Operation::Metadata], WRITE),
        ("start", &[Operation::Execute], &[]),
        ("connect", &[Operation::Connect], &[]),
        ("listen", &[Operation::Bind], &[]),
        ("tools", &[Operation::Tool], &[]),
        ("syscalls", &[Operation::Syscall], &[]),
    ];
    for (word, operations, told) in LINES {
        let found = objects(operations, told);
        if !found.is_empty() {
            line(&mut out, word, &found);
        }
    }
    let variables = match &policy.environment.pass {
        None => "all".to_owned(),
        Some(list) if list.is_empty() => "none".to_owned(),
        Some(list) => few(list, most),
    };
    line(&mut out, "variables", &variables);
    if !policy.capabilities.is_empty() {
        line(&mut out, "capabilities", &policy.capabilities.join(", "));
    }
    if out.contains(MORE) {
        out.push_str("  (`polc trust --show` names all)\n");
    }
    out
}

/// The keys in the user's homes that a policy allows reading. Existing keys are named one by one.
#[must_use]
pub fn keys(meaning: &Meaning<'_>, homes: &Homes, all: bool) -> String {
    let mut out = String::new();
    for home in homes.judged() {
        let found = match polc::lint::keys(meaning, &home) {
            Ok(found) => found,
            Err(_) => {
                out.push_str("which keys it can read cannot be told: the policy is too large\n");
                continue;
            }
        };
        let there = |k: &&polc::lint::Key| {
            // polc does not search for what a wildcard may match. It only checks that its directory exists.
            let path = std::ffi::OsStr::from_bytes(&k.literal);
            k.literal != home && std::fs::symlink_metadata(path).is_ok()
        };
        let (there, missing): (Vec<_>, Vec<_>) = found.iter().partition(there);
        for key in &there {
            let _ = writeln!(out, "it can read {}", show_bytes(key.pattern.as_bytes()));
        }
        if all {
            for key in &missing {
                let pattern = show_bytes(key.pattern.as_bytes());
                let _ = writeln!(out, "it could read {pattern}, which is not there now");
            }
        } else if !missing.is_empty() {
            let (places, are) = match missing.len() {
                1 => ("1 place".to_owned(), "is"),
                n => (format!("{n} places"), "are"),
            };
            let _ = writeln!(
                out,
                "it could read {places} of keys in {} that {are} not there now (`polc trust --show` names them)",
                show_bytes(&home)
            );
        }
    }
    out
}

/// Adds one line: a word, and a text about it.
pub fn line(out: &mut String, word: &str, what: &str) {
    let _ = writeln!(out, "  {word:<12} {}", show_bytes(what.as_bytes()));
}

fn objects_of(rule: &Rule) -> Vec<String> {
    match &rule.objects {
        Objects::Paths { paths, .. } => paths.iter().map(|p| p.text.clone()).collect(),
        Objects::Hosts { hosts, .. } => hosts.iter().map(|h| h.text.clone()).collect(),
        Objects::Commands { commands, .. } => commands.iter().map(|c| c.text.clone()).collect(),
        Objects::Syscalls { syscalls, .. } => syscalls
            .iter()
            .map(|s| match s {
                SyscallName::Name(name) => name.clone(),
                SyscallName::Group(group) => format!("@{group}"),
            })
            .collect(),
        Objects::Tools { tools, .. } => tools.iter().map(|t| t.text.clone()).collect(),
    }
}

/// The objects with the fewest names before their first wildcard come first, because they contain the most.
fn widest_first(mut all: Vec<String>, most: usize) -> String {
    let width = |text: &String| {
        let literal = text
            .find(['*', '?', '[', '{'])
            .map_or(text.as_str(), |i| &text[..i]);
        let tree = text.ends_with("/**") || text == "*" || text == "**";
        (!tree, literal.matches('/').count(), text.len())
    };
    all.sort_by(|a, b| width(a).cmp(&width(b)).then_with(|| a.cmp(b)));
    all.dedup();
    few(&all, most)
}

/// The end of a list that does not name everything.
const MORE: &str = " more\n";

fn few(all: &[String], most: usize) -> String {
    let shown = all
        .iter()
        .take(most)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match all.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
