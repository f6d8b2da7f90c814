//! Reads OCI JSON.

use super::{Filter, refuse};
use crate::backend::{Artifact, Clause};
use crate::diagnostics::Diagnostics;
use crate::fidelity::show_bytes;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    names: Vec<String>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<Argument>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// `value` is the mask, and `value_two` is the value.
    Masked,
}

#[derive(Debug, Clone, Copy)]
struct Condition {
    index: u8,
    operator: Operator,
    value: u64,
    value_two: u64,
}

impl Condition {
    fn holds(self, argument: u64) -> bool {
        match self.operator {
            Operator::Equal => argument == self.value,
            Operator::NotEqual => argument != self.value,
            Operator::Less => argument < self.value,
            Operator::LessEqual => argument <= self.value,
            Operator::Greater => argument > self.value,
            Operator::GreaterEqual => argument >= self.value,
            Operator::Masked => argument & self.value == self.value_two,
        }
    }

    /// Whether no argument satisfies both.
    fn excludes(self, other: Self) -> bool {
        let bits = |c: Self| match c.operator {
            Operator::Equal => Some((u64::MAX, c.value)),
            Operator::Masked => Some((c.value, c.value_two)),
            _ => None,
        };
        match (bits(self), bits(other)) {
            (Some((m, v)), Some((n, w))) => self.index == other.index && v & m & n != w & m & n,
            _ => false,
        }
    }
}

struct Rule {
    allows: bool,
    conditions: Vec<Condition>,
    line: usize,
    text: String,
}

/// A profile that was read back.
pub(super) struct Profile {
    default: bool,
    default_text: String,
    rules: BTreeMap<String, Vec<Rule>>,
    artifact: usize,
}

fn allows(action: &str, errno: Option<u32>, name: &str) -> Result<bool, Diagnostics> {
    match action {
        "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" if errno.is_some() => Err(refuse(format!(
            "`{name}` has an `errnoRet` beside {action}, which crun refuses"
        ))),
        "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" => Ok(true),
        "SCMP_ACT_ERRNO"
        | "SCMP_ACT_KILL"
        | "SCMP_ACT_KILL_PROCESS"
        | "SCMP_ACT_KILL_THREAD"
        | "SCMP_ACT_TRAP" => Ok(false),
        // A tracer or a listener decides. The file does not say how.
        other => Err(refuse(format!(
            "`{name}` has the action `{}`, which polc does not read",
            show_bytes(other.as_bytes())
        ))),
    }
}

fn operator(word: &str) -> Option<Operator> {
    Some(match word {
        "SCMP_CMP_EQ" => Operator::Equal,
        "SCMP_CMP_NE" => Operator::NotEqual,
        "SCMP_CMP_LT" => Operator::Less,
        "SCMP_CMP_LE" => Operator::LessEqual,
        "SCMP_CMP_GT" => Operator::Greater,
        "SCMP_CMP_GE" => Operator::GreaterEqual,
        "SCMP_CMP_MASKED_EQ" => Operator::Masked,
        _ => return None,
    })
}

/// Reads a profile.
pub(super) fn read(artifact: &Artifact, number: usize) -> Result<Profile, Diagnostics> {
    let name = &artifact.file_name;
    let text = std::str::from_utf8(&artifact.bytes).map_err(|e| {
        refuse(format!(
            "`{name}` is not UTF-8, at byte {}",
            e.valid_up_to()
        ))
    })?;
    let file: File = serde_json::from_str(text)
        .map_err(|e| refuse(format!("`{name}` is not a profile that polc can read: {e}")))?;
    for arch in &file.architectures {
        if !matches!(arch.as_str(), "SCMP_ARCH_X86_64" | "SCMP_ARCH_AARCH64") {
            return Err(refuse(format!(
                "`{name}` is for `{}` too, whose calls polc does not know",
                show_bytes(arch.as_bytes())
            )));
        }
    }
    // Neither changes what is allowed.
    let known = [
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    ];
    if let Some(flag) = file.flags.iter().find(|f| !known.contains(&f.as_str())) {
        return Err(refuse(format!(
            "`{name}` has the flag `{}`, which polc does not know",
            show_bytes(flag.as_bytes())
        )));
    }
    let default = allows(&file.default_action, file.default_errno_ret, name)?;
    let mut rules: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    let lines: Vec<usize> = entry_lines(text);
    for (at, entry) in file.syscalls.iter().enumerate() {
        let allows = allows(&entry.action, entry.errno_ret, name)?;
        if entry.names.is_empty() {
            return Err(refuse(format!("`{name}` has an entry without a call")));
        }
        let mut conditions = Vec::new();
        for a in &entry.args {
            let Some(operator) = operator(&a.op) else {
                return Err(refuse(format!(
                    "`{name}` compares by `{}`, which polc does not know",
                    show_bytes(a.op.as_bytes())
                )));
            };
            if a.index > 5 {
                return Err(refuse(format!(
                    "`{name}` compares argument {}, and a call has six",
                    a.index
                )));
            }
            if entry.args.iter().filter(|b| b.index == a.index).count() > 1 {
                return Err(refuse(format!(
                    "`{name}` compares argument {} twice in one entry, which runtimes read as `or`",
                    a.index
                )));
            }
            conditions.push(Condition {
                index: a.index,
                operator,
                value: a.value,
                value_two: a.value_two,
            });
        }
        for call in &entry.names {
            rules.entry(call.clone()).or_default().push(Rule {
                allows,
                conditions: conditions.clone(),
                line: lines.get(at).copied().unwrap_or(0),
                text: format!("{} {}", show_bytes(call.as_bytes()), entry.action),
            });
        }
    }
    for (call, list) in &rules {
        check(name, call, list)?;
    }
    Ok(Profile {
        default,
        default_text: format!("defaultAction {}", file.default_action),
        rules,
        artifact: number,
    })
}

/// Checks that the order of the entries does not matter, because runtimes treat it differently.
fn check(name: &str, call: &str, list: &[Rule]) -> Result<(), Diagnostics> {
    for (i, a) in list.iter().enumerate() {
        for b in list[..i].iter().filter(|b| b.allows != a.allows) {
            let apart = a
                .conditions
                .iter()
                .any(|c| b.conditions.iter().any(|d| c.excludes(*d)));
            if !apart {
                return Err(refuse(format!(
                    "`{name}` both allows and refuses `{}` for some arguments, and runtimes differ in which they take",
                    show_bytes(call.as_bytes())
                )));
            }
        }
    }
    Ok(())
}

/// The line of each entry's names. Entries come in order, and each has the key once.
fn entry_lines(text: &str) -> Vec<usize> {
    text.lines()
        .enumerate()
        .filter(|(_, l)| l.contains("\"names\""))
        .map(|(n, _)| n + 1)
        .collect()
}

impl Filter for Profile {
    fn may(&self, name: &str, fixed: &[(u8, u64)]) -> bool {
        let list = self.rules.get(name).map_or(&[][..], Vec::as_slice);
        let fits = |r: &&Rule| {
            r.conditions.iter().all(|c| {
                // An argument that is not fixed can have any value, as an entry compares each argument once.
                let fixed = fixed.iter().find(|f| f.0 == c.index);
                fixed.is_none_or(|f| c.holds(f.1))
            })
        };
        if list.iter().filter(fits).any(|r| r.allows) {
            return true;
        }
        // The default can apply, unless an entry refuses the call for all other arguments.
        let surely = |r: &&Rule| {
            fits(r)
                && r.conditions
                    .iter()
                    .all(|c| fixed.iter().any(|f| f.0 == c.index))
        };
        self.default && !list.iter().any(|r| surely(&r))
    }

    fn conditions(&self) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for (name, list) in &self.rules {
            // If the answer is not the default's, an entry gave it.
            let rules = list
                .iter()
                .filter(|r| !r.conditions.is_empty() && r.allows != self.default);
            out.extend(rules.map(|r| {
                let mut conditions: Vec<String> =
                    r.conditions.iter().map(|c| format!("{c:?}")).collect();
                conditions.sort();
                format!("{} {}", show_bytes(name.as_bytes()), conditions.join(" "))
            }));
        }
        out
    }

    fn clause(&self, name: &str, allows: bool) -> Option<Clause> {
        let rule = self
            .rules
            .get(name)
            .and_then(|list| list.iter().find(|r| r.allows == allows));
        Some(match rule {
            Some(rule) => Clause {
                artifact: self.artifact,
                line: rule.line,
                text: rule.text.clone(),
            },
            None => Clause {
                artifact: self.artifact,
                line: 0,
                text: self.default_text.clone(),
            },
        })
    }
}

/// Whether it looks like one: JSON with a key that no other target has.
pub(super) fn recognises(bytes: &[u8]) -> bool {
    matches!(
        serde_json::from_slice(bytes),
        Ok(serde_json::Value::Object(root)) if root.contains_key("defaultAction")
    )
}
