//! From a policy's ordered rules to one rule for each operation.
//!
//! A path is allowed if some allow rule matches it, and no deny rule above that rule does. So an operation is a flat
//! union: each run of allow rules, without the denies above that intersect it.

use super::model::{Filter, Profile, ProfileRule};
use super::network;
use super::path_rules::{Named, Part, PathRules};
use super::private::with_names_in_private;
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Ledger};
use crate::policy::{Operation, Policy, Rule, Sequence};
use crate::semantics::{LedgerBuilder, Meaning};
use std::borrow::Cow;

fn literal(path: &str) -> Sequence {
    Sequence::literal(path.as_bytes())
}

/// What a program needs to start. These rules come below the policy's rules.
pub fn base(operation: Operation) -> Vec<Sequence> {
    let libraries = [
        "/usr/lib",
        "/System/Library",
        "/System/Volumes/Preboot/Cryptexes/OS",
        "/private/var/db/dyld",
        "/Library/Apple",
    ];
    let devices = [
        "/dev/null",
        "/dev/zero",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
    ];
    match operation {
        // Listing what may be read shows nothing new. One answer for both halves the profile.
        Operation::Read | Operation::List => {
            let mut out = vec![literal("/")];
            out.extend(devices.iter().map(|d| literal(d)));
            out.extend(libraries.iter().map(|d| literal(d).tree()));
            out
        }
        Operation::Edit => ["/dev/null", "/dev/zero", "/dev/tty"]
            .iter()
            .map(|d| literal(d))
            .collect(),
        _ => Vec::new(),
    }
}

/// The operations of SBPL for each operation of the policy.
const OPERATIONS: [(Operation, &str, &[&str]); 6] = [
    (Operation::Edit, "edit", &["file-write-data"]),
    (Operation::Create, "create", &["file-write-create"]),
    (Operation::Delete, "delete", &["file-write-unlink"]),
    (
        Operation::Metadata,
        "metadata",
        &[
            "file-write-mode",
            "file-write-owner",
            "file-write-flags",
            "file-write-times",
            "file-write-xattr",
        ],
    ),
    (Operation::Execute, "execute", &["process-exec*"]),
    (
        Operation::Connect,
        "connect to unix sockets",
        &["network-outbound"],
    ),
];

pub fn lower(meaning: &Meaning<'_>, proxy: Option<u16>) -> Result<(Profile, Ledger), Diagnostics> {
    match with_names_in_private(meaning.policy()) {
        Some(policy) => lower_as_named(&meaning.of_another(&policy), proxy),
        None => lower_as_named(meaning, proxy),
    }
}

/// Lowers a policy that names objects by all their names.
fn lower_as_named(
    meaning: &Meaning<'_>,
    proxy: Option<u16>,
) -> Result<(Profile, Ledger), Diagnostics> {
    let policy = meaning.policy();
    let default_allow = policy.default_action.permits();
    let mut ledger = LedgerBuilder::new(meaning, "sbpl");
    let mut rules = Vec::new();
    let reason = |operation: Operation| {
        move |rule: Option<&Rule>, fidelity: Fidelity| -> Cow<'static, str> {
            match (operation, fidelity) {
                (Operation::Create, Fidelity::Stricter) => {
                    "a directory above a denied path can be neither renamed nor replaced".into()
                }
                (Operation::Delete, Fidelity::Stricter) => {
                    "moving a directory moves everything beneath it: only a directory in which everything may be deleted can be removed".into()
                }
                (_, Fidelity::Looser) if rule.is_none() => {
                    "the runtime base: what dyld and every program need to start".into()
                }
                (Operation::Execute, _) => "this layer sees the program, not its arguments".into(),
                _ => "the filters of this layer".into(),
            }
        }
    };

    let path_rules = PathRules::of(policy);
    // Only the ledger needs the sets of the filters.
    let sets = match ledger.is_asked() {
        true => Some(path_rules.sets()?),
        false => None,
    };
    // Reading and listing are one operation of SBPL. The type of the object tells them apart.
    for operation in [Operation::Read, Operation::List] {
        if let Some(sets) = &sets {
            ledger.paths(operation, sets.of(operation), &reason(operation))?;
        }
    }
    let mut named = Named::default();
    let mut filter = |operation, part| path_rules.filter(operation, part, &mut named);
    let read = filter(Operation::Read, Part::Whole);
    let list = match path_rules.alike(Operation::Read, Operation::List) {
        true => read.clone(),
        false => filter(Operation::List, Part::Whole),
    };
    let data = if read == list {
        read.clone()
    } else {
        let typed = |f: Option<Filter>, directory: bool| {
            let kind = if directory {
                Filter::Directory
            } else {
                Filter::Not(Box::new(Filter::Directory))
            };
            f.map(|f| Filter::All(vec![kind, f]))
        };
        Some(Filter::Any(
            typed(read.clone(), false)
                .into_iter()
                .chain(typed(list, true))
                .collect(),
        ))
    };
    let mut rule = |comment, operations: &[&'static str], filter: Option<Filter>| {
        if let Some(filter) = filter {
            rules.push(ProfileRule {
                comment,
                allow: !default_allow,
                operations: operations.to_vec(),
                filter,
            });
        }
    };
    rule("read and list", &["file-read-data"], data);
    rule(
        "read extended attributes, map as code",
        &["file-read-xattr", "file-map-executable"],
        read,
    );

    for (operation, comment, names) in OPERATIONS {
        if let Some(sets) = &sets {
            ledger.paths(operation, sets.of(operation), &reason(operation))?;
        }
        let mut filters = Vec::new();
        let mut part = Part::Whole;
        if operation == Operation::Delete {
            if let Some(sets) = &sets {
                let directories = sets.trees();
                ledger.paths(operation, directories, &reason(operation))?;
                ledger.moved_away(directories, sets.of(operation))?;
            }
            // An object that is no tree may be removed unless it is a directory.
            if let Some(f) = filter(operation, Part::Single) {
                let file = Filter::Not(Box::new(Filter::Directory));
                filters.push(Filter::All(vec![file, f]));
            }
            part = Part::Trees;
        }
        filters.extend(filter(operation, part));
        let either = if filters.len() > 1 {
            Some(Filter::Any(filters))
        } else {
            filters.pop()
        };
        rule(comment, names, either);
    }
    network::lower(meaning, &mut ledger, &mut rules, default_allow, proxy);
    let (named, numbers, patterns) = path_rules.into_named(named);
    for r in &mut rules {
        r.filter.renumber(&numbers);
    }
    ledger.syscalls_unenforced("a profile names operations, not system calls of Linux");
    settings(policy, &mut ledger);
    Ok((
        Profile {
            default_allow,
            named,
            rules,
            patterns,
            with_base: !default_allow,
        },
        ledger.finish(),
    ))
}

fn settings(policy: &Policy, ledger: &mut LedgerBuilder<'_, '_>) {
    let absent = "a profile has no such thing";
    if !policy.limits.is_empty() {
        ledger.setting("limits", Fidelity::Unenforced, absent);
    }
    if policy.environment.pass.is_some() || !policy.environment.set.is_empty() {
        ledger.setting("environment", Fidelity::Unenforced, absent);
    }
    if policy.subject.executable.is_some() {
        ledger.setting(
            "subject.executable",
            Fidelity::Unenforced,
            "the profile confines what sandbox-exec starts",
        );
    }
}
