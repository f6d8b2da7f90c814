//! The change to a policy that would allow the refused access, as YAML to insert.

use super::Access;
use crate::fidelity::Object;
use crate::policy::{
    FileId, HostSpec, Operation, OperationSet, Policy, Protocol, RuleId, escape_literal,
};
use std::fmt::Write;

/// A change to the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Lines of YAML: a rule, or a key of the policy.
    pub yaml: String,
    /// Where to insert it.
    pub put: String,
}

/// The change that allows an operation on an object. `first` is the rule that refuses it. `None`: the default does. If
/// no rule can name the object, there is no change.
#[must_use]
pub fn allowing(
    policy: &Policy,
    operation: Operation,
    object: &Object,
    first: Option<RuleId>,
) -> Option<Change> {
    let operations = OperationSet::from_iter([operation]);
    let access = Access::Known(operations, object.clone());
    change(policy, &access, operations, first)
}

/// The change that allows these operations of an access. `first` is the first rule that refuses. `None`: the default
/// does.
pub(super) fn change(
    policy: &Policy,
    access: &Access,
    operations: OperationSet,
    first: Option<RuleId>,
) -> Option<Change> {
    if first.is_some_and(|id| policy.is_own(id)) {
        return None;
    }
    if let Access::Capability(name) = access {
        let mut all = policy.capabilities.clone();
        all.push(name.clone());
        all.sort();
        all.dedup();
        return Some(Change {
            yaml: format!("capabilities: [{}]\n", all.join(", ")),
            put: "at the top level of the policy, in place of its `capabilities`".to_owned(),
        });
    }
    let (kind, objects, hint, with_operations) = match access {
        Access::Known(_, Object::Path(p)) => ("paths", pattern(p), name_of(p), true),
        Access::Within(_, directory) => {
            let tree = if directory == b"/" {
                "/*".to_owned()
            } else {
                format!("{}/*", pattern(directory))
            };
            ("paths", tree, name_of(directory), true)
        }
        Access::Known(_, Object::Host(spec)) => ("hosts", spec.to_string(), host_name(spec), true),
        Access::Port(_, protocol, port) => (
            "hosts",
            format!("{}://HOST:{port}", protocol.name()),
            port.to_string(),
            true,
        ),
        Access::Known(_, Object::Syscall(name)) => ("syscalls", name.clone(), name.clone(), false),
        _ => return None,
    };
    let words: Vec<&str> = operations
        .iter()
        // In a rule, `read` includes `list`.
        .filter(|o| *o != Operation::List || !operations.contains(Operation::Read))
        .map(Operation::name)
        .collect();
    let name = unique(
        policy,
        &slug(words.first().copied().unwrap_or("allow"), &hint),
    );
    let mut yaml = String::new();
    let _ = writeln!(yaml, "- name: {name}");
    let _ = writeln!(yaml, "  action: allow");
    if with_operations {
        let _ = writeln!(yaml, "  operations: [{}]", words.join(", "));
    }
    let _ = writeln!(yaml, "  {kind}: [{}]", quoted(&objects));
    Some(Change {
        yaml,
        put: place(policy, first),
    })
}

fn place(policy: &Policy, first: Option<RuleId>) -> String {
    match first.and_then(|id| policy.rules.get(id.0 as usize)) {
        None => "under `rules`, at the end".to_owned(),
        Some(r) if policy.base_rules.is_some_and(|first| r.id >= first) => format!(
            "under `rules` of {}, which polc reads before the rules of the policy that it extends",
            policy
                .sources
                .get(FileId(0))
                .map_or("the policy", |f| &f.name)
        ),
        Some(r) if r.span.file == FileId(0) => format!(
            "under `rules`, above rule `{}` at {}",
            r.name,
            policy.sources.place(r.span)
        ),
        Some(r) => format!(
            "under `rules`, above the `include` that has rule `{}` ({})",
            r.name,
            policy.sources.place(r.span)
        ),
    }
}

/// A pattern that matches only this path. Bytes that could control a terminal are written as numbers.
fn pattern(path: &[u8]) -> String {
    let mut out = String::new();
    for c in escape_literal(path).chars() {
        if crate::fidelity::show_bytes(c.encode_utf8(&mut [0; 4]).as_bytes()).starts_with("\\x") {
            for b in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "\\x{b:02x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A text in YAML's single quotes. Only a quote is special, and it is doubled.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn name_of(path: &[u8]) -> String {
    let last = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    String::from_utf8_lossy(last).into_owned()
}

fn host_name(spec: &HostSpec) -> String {
    let bare = HostSpec {
        protocol: None::<Protocol>,
        ..spec.clone()
    };
    bare.to_string()
}

/// A name for the rule: the word, and the plain letters of the hint.
fn slug(word: &str, hint: &str) -> String {
    let plain: String = hint
        .chars()
        .take(40)
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                ' '
            }
        })
        .collect();
    let mut out = word.to_owned();
    for part in plain.split_ascii_whitespace() {
        out.push('-');
        out.push_str(part);
    }
    out
}

fn unique(policy: &Policy, name: &str) -> String {
    let taken = |n: &str| policy.rules.iter().any(|r| r.name == n);
    if !taken(name) {
        return name.to_owned();
    }
    (2u32..)
        .map(|n| format!("{name}-{n}"))
        .find(|n| !taken(n))
        .unwrap_or_else(|| name.to_owned())
}
