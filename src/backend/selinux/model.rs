//! A module as data, and its text.

use crate::backend::Options;
use crate::backend::header;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::Ledger;
use crate::policy::{Operation, Policy};
use askama::Template;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A set of operations on paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rights(pub u8);

/// The letter of each operation in the names of types.
const LETTERS: [(Operation, char); 7] = [
    (Operation::Read, 'r'),
    (Operation::List, 'l'),
    (Operation::Edit, 'e'),
    (Operation::Create, 'c'),
    (Operation::Delete, 'd'),
    (Operation::Metadata, 'm'),
    (Operation::Execute, 'x'),
];

impl Rights {
    pub const OPERATIONS: [Operation; 7] = [
        Operation::Read,
        Operation::List,
        Operation::Edit,
        Operation::Create,
        Operation::Delete,
        Operation::Metadata,
        Operation::Execute,
    ];

    pub fn has(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u8) != 0
    }

    pub fn has_all(self, operations: &[Operation]) -> bool {
        operations.iter().all(|o| self.has(*o))
    }

    pub fn add(&mut self, operation: Operation) {
        self.0 |= 1 << operation as u8;
    }

    /// The type's name in a module, with a letter for each operation.
    pub fn type_name(self, module: &str) -> String {
        let letters: String = LETTERS
            .iter()
            .filter(|(o, _)| self.has(*o))
            .map(|(_, c)| *c)
            .collect();
        format!(
            "{module}_{}_t",
            if letters.is_empty() { "none" } else { &letters }
        )
    }

    /// Whether a directory with these rights can be written, which sets its times.
    pub fn writes_directories(self) -> bool {
        [Operation::Create, Operation::Delete, Operation::Metadata]
            .into_iter()
            .any(|o| self.has(o))
    }

    /// Permissions by class, without those for walking.
    fn permissions(self) -> Vec<(&'static str, BTreeSet<&'static str>)> {
        let mut classes: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
        let mut add = |classes_of: &[&'static str], list: &[&'static str]| {
            for c in classes_of {
                classes.entry(c).or_default().extend(list);
            }
        };
        if self.has(Operation::Read) {
            add(
                &["file"],
                &["open", "read", "getattr", "map", "lock", "ioctl"],
            );
            add(
                &["fifo_file"],
                &["open", "read", "getattr", "lock", "ioctl"],
            );
        }
        if self.has(Operation::List) {
            add(&["dir"], &["open", "read", "getattr", "lock", "ioctl"]);
        }
        if self.has(Operation::Edit) {
            add(
                &["file", "fifo_file"],
                &["open", "write", "append", "getattr", "lock", "ioctl"],
            );
        }
        if self.has(Operation::Create) {
            add(
                &["file", "lnk_file", "fifo_file", "sock_file"],
                &["create", "getattr"],
            );
            add(&["dir"], &["create", "add_name", "write"]);
        }
        if self.has(Operation::Delete) {
            add(
                &["file", "lnk_file", "fifo_file", "sock_file"],
                &["unlink", "rename"],
            );
            add(
                &["dir"],
                &["rmdir", "rename", "reparent", "remove_name", "write"],
            );
        }
        if self.has(Operation::Metadata) {
            add(
                &["file", "lnk_file", "fifo_file", "sock_file", "dir"],
                &["setattr"],
            );
            // For setting times to now. Changing the entries of a directory needs more than that.
            add(&["dir"], &["write"]);
        }
        if self.has(Operation::Execute) {
            add(&["file"], &["execute", "execute_no_trans", "getattr"]);
        }
        classes.into_iter().collect()
    }

    /// The allow rules for a type.
    pub fn rules(self, module: &str, target: &str) -> Vec<String> {
        let rule = |(class, list): (&str, BTreeSet<&str>)| {
            format!(
                "allow {module}_t {target}:{class} {{ {} }}",
                list.into_iter().collect::<Vec<_>>().join(" ")
            )
        };
        self.permissions().into_iter().map(rule).collect()
    }

    /// What must never be granted on a type of the module's own.
    pub fn never(self, module: &str, target: &str) -> Option<String> {
        let all = [
            (Operation::Read, "read"),
            (Operation::Edit, "write append"),
            (Operation::Create, "create"),
            (Operation::Delete, "unlink rename"),
            (Operation::Metadata, "setattr"),
            (Operation::Execute, "execute_no_trans"),
        ];
        let list: Vec<&str> = all
            .iter()
            .filter(|(o, _)| !self.has(*o))
            .map(|(_, p)| *p)
            .collect();
        (!list.is_empty()).then(|| {
            format!(
                "neverallow {module}_t {target}:file {{ {} }}",
                list.join(" ")
            )
        })
    }
}

/// A file context: a literal path, whether it is also for what lies beneath, and the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub path: Vec<u8>,
    pub beneath: bool,
    pub label: String,
}

/// A module.
#[derive(Debug, Clone)]
pub struct Module {
    pub name: String,
    pub rules: Vec<String>,
    pub own_types: BTreeSet<String>,
    pub base_types: BTreeSet<String>,
    pub attributes: BTreeSet<&'static str>,
    pub contexts: Vec<Context>,
}

/// The classes and permissions that rules mention, for the require block.
fn classes(rules: &[String]) -> Vec<String> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in rules
        .iter()
        .filter(|r| r.starts_with("allow ") || r.starts_with("neverallow "))
    {
        let Some((head, list)) = rule.rsplit_once(" {") else {
            continue;
        };
        let Some((_, class)) = head.rsplit_once(':') else {
            continue;
        };
        let names: Vec<&str> = list.trim_end_matches('}').split_whitespace().collect();
        for class in class.trim_matches(['{', '}', ' ']).split_whitespace() {
            found
                .entry(class.to_owned())
                .or_default()
                .extend(names.iter().map(|n| (*n).to_owned()));
        }
    }
    // Transitions name a class without a permission.
    found
        .entry("process".to_owned())
        .or_default()
        .insert("transition".to_owned());
    found
        .into_iter()
        .map(|(c, p)| {
            format!(
                "class {c} {{ {} }}",
                p.into_iter().collect::<Vec<_>>().join(" ")
            )
        })
        .collect()
}

#[derive(Template)]
#[template(path = "selinux/module.te", escape = "none")]
struct Te<'a> {
    comments: Vec<String>,
    name: &'a str,
    base_types: &'a BTreeSet<String>,
    attributes: &'a BTreeSet<&'static str>,
    classes: Vec<String>,
    own_types: &'a BTreeSet<String>,
    rules: &'a [String],
}

/// The `.te`.
///
/// # Errors
/// The template fails, which would be a bug.
pub fn render_te(
    module: &Module,
    policy: &Policy,
    ledger: &Ledger,
    options: &Options,
) -> Result<String, Diagnostics> {
    let n = &module.name;
    let usage = [
        format!(
            "build: checkmodule -M -m -o {n}.mod {n}.te && semodule_package -o {n}.pp -m {n}.mod -f {n}.fc"
        ),
        format!("load: semodule -i {n}.pp && restorecon -RF on the labelled trees"),
        format!("try: semanage permissive -a {n}_t (it only logs; -d ends that)"),
        format!("undo: semodule -r {n} && restorecon -RF on the same trees"),
    ];
    let comments = header::lines(policy, ledger, options, usage);
    Te {
        comments,
        name: &module.name,
        base_types: &module.base_types,
        attributes: &module.attributes,
        classes: classes(&module.rules),
        own_types: &module.own_types,
        rules: &module.rules,
    }
    .render()
    .map_err(|e| Diagnostic::error("E112", format!("the module cannot be written: {e}")).into())
}

/// Writes a byte of a literal path as a regular expression of file contexts.
fn escape(b: u8, out: &mut String) {
    match b {
        b'/' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(b)),
        b'.' | b'+' | b'^' | b'$' | b'*' | b'?' | b'(' | b')' | b'|' => {
            out.push('\\');
            out.push(char::from(b));
        }
        _ => {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
}

/// A context's path as a regular expression of file contexts.
///
/// libselinux (3.4: `get_stem_from_spec`) compares the first component of an expression with that of a path byte by
/// byte. It does so if another component follows, and if the first has none of `.^$?*+|[({`. It does not remove
/// backslashes, so an entry with other escapes in the first component matches no path. That is why the first escaped
/// byte there is written as a class.
///
/// A class counts as a wildcard, so the entry is not a literal one any more. Of entries with wildcards the longest wins
/// (secilc, `cil_post_filecon_compare`). The class for an object repeats its byte three times. So the entry is longer
/// than that of a tree around the path.
fn expression(context: &Context) -> String {
    let mut out = String::new();
    let end = context.path.iter().skip(1).position(|b| *b == b'/');
    let first = match end {
        Some(at) => at + 1,
        None if context.beneath => context.path.len(),
        None => 0,
    };
    let mut name = String::new();
    for b in &context.path[..first] {
        escape(*b, &mut name);
    }
    let mut hidden =
        name.contains('\\') && !name.contains(['.', '^', '$', '?', '*', '+', '|', '(']);
    for (at, b) in context.path.iter().enumerate() {
        let mut byte = String::new();
        escape(*b, &mut byte);
        if at < first && hidden && byte.starts_with('\\') {
            hidden = false;
            byte = format!("[{}]", byte.repeat(if context.beneath { 1 } else { 3 }));
        }
        out.push_str(&byte);
    }
    out
}

/// The `.fc`.
pub fn render_fc(module: &Module) -> String {
    let mut out = String::new();
    for c in &module.contexts {
        let tail = if c.beneath { "/.*" } else { "" };
        let _ = writeln!(
            out,
            "{}{tail}\tsystem_u:object_r:{}:s0",
            expression(c),
            c.label
        );
    }
    out
}
