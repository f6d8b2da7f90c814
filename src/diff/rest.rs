//! Differences about system calls, tools, and parts that are not rules.

use super::{Became, Change, Side};
use crate::fidelity::Object;
use crate::policy::{Action, Objects, Operation, Platforms, Policy, SyscallName, syscalls};
use crate::semantics::{Decision, decide};
use std::collections::BTreeSet;
use std::fmt::Debug;

pub(super) fn syscalls(old: &Side<'_>, new: &Side<'_>, out: &mut Vec<Change>) {
    let mut names: BTreeSet<String> = syscalls::all().map(str::to_owned).collect();
    for side in [old, new] {
        let Side::Policy(meaning) = side else {
            continue;
        };
        for rule in &meaning.policy().rules {
            if let Objects::Syscalls { syscalls, except } = &rule.objects {
                names.extend(syscalls.iter().chain(except).filter_map(|s| match s {
                    SyscallName::Name(n) => Some(n.clone()),
                    SyscallName::Group(_) => None,
                }));
            }
        }
    }
    // One entry for each new decision and its reasons.
    type Group = (Action, Option<Decision>, Option<Decision>, Vec<String>);
    let mut groups: Vec<Group> = Vec::new();
    for name in names {
        let object = Object::Syscall(name.clone());
        let (was, before) = old.decide(Operation::Syscall, &object);
        let (is, after) = new.decide(Operation::Syscall, &object);
        if was == is {
            continue;
        }
        match groups
            .iter_mut()
            .find(|g| g.0 == is && g.1 == before && g.2 == after)
        {
            Some(group) => group.3.push(name),
            None => groups.push((is, before, after, vec![name])),
        }
    }
    for (action, before, after, names) in groups {
        out.push(Change {
            operation: Some(Operation::Syscall),
            became: Became::of(action),
            what: names.join(" "),
            in_part: false,
            platforms: Platforms::ALL,
            example: names.into_iter().next().map(Object::Syscall),
            decisions: [before, after],
        });
    }
}

/// Tools by the names that the policies mention, and one name that they do not mention.
pub(super) fn tools(old: &Policy, new: &Policy, out: &mut Vec<Change>) {
    let mut names: BTreeSet<String> = BTreeSet::from(["another_tool".to_owned()]);
    for rule in old.rules.iter().chain(&new.rules) {
        if let Objects::Tools { tools, .. } = &rule.objects {
            names.extend(tools.iter().map(|t| t.text.clone()));
        }
    }
    if names.len() == 1 {
        return;
    }
    for name in names {
        let object = Object::Tool(name.clone());
        let before = decide(old, Operation::Tool, &object);
        let after = decide(new, Operation::Tool, &object);
        if before.action != after.action {
            out.push(Change {
                operation: Some(Operation::Tool),
                became: Became::of(after.action),
                what: name,
                in_part: false,
                platforms: Platforms::ALL,
                example: Some(object),
                decisions: [Some(before), Some(after)],
            });
        }
    }
}

/// Limits, environment, capabilities.
pub(super) fn settings(old: &Policy, new: &Policy, out: &mut Vec<Change>) {
    let mut say = |became, what: String| {
        out.push(Change {
            operation: None,
            became,
            what,
            in_part: false,
            platforms: Platforms::ALL,
            example: None,
            decisions: [None, None],
        });
    };
    for kept in new
        .capabilities
        .iter()
        .filter(|c| !old.capabilities.contains(c))
    {
        say(Became::Allowed, format!("capabilities: {kept}"));
    }
    for dropped in old
        .capabilities
        .iter()
        .filter(|c| !new.capabilities.contains(c))
    {
        say(Became::Denied, format!("capabilities: {dropped}"));
    }
    // A program that is not confined any more may do everything.
    let programs = |p: &Policy| p.subject.executable.as_ref().map(ToString::to_string);
    let pods = |p: &Policy| {
        let pods = p.subject.kubernetes.as_ref()?;
        let labels = pods.labels.iter().map(|(k, v)| format!("{k}={v}"));
        let namespace = pods.namespace.iter().map(|n| format!("namespace {n}"));
        Some(namespace.chain(labels).collect::<Vec<_>>().join(", "))
    };
    for (name, before, after) in [
        ("executable", programs(old), programs(new)),
        ("kubernetes", pods(old), pods(new)),
    ] {
        if before != after {
            if let Some(who) = before {
                let what = format!("subject.{name}: {who} is no longer confined");
                say(Became::Allowed, what);
            }
            if let Some(who) = after {
                say(Became::Denied, format!("subject.{name}: {who} is confined"));
            }
        }
    }
    let (a, b) = (&old.limits, &new.limits);
    let mut limit = |name: &str, before: Option<u64>, after: Option<u64>| {
        if before != after {
            // No limit counts as the highest.
            let more = after.unwrap_or(u64::MAX) > before.unwrap_or(u64::MAX);
            let became = if more {
                Became::Allowed
            } else {
                Became::Denied
            };
            say(
                became,
                format!("limits.{name}: {} to {}", show(before), show(after)),
            );
        }
    };
    limit("memory", a.memory, b.memory);
    limit(
        "cpus (thousandths)",
        a.cpus.map(u64::from),
        b.cpus.map(u64::from),
    );
    limit("processes", a.processes, b.processes);
    limit("open_files", a.open_files, b.open_files);
    limit("cpu_time (seconds)", a.cpu_time, b.cpu_time);
    limit("wall_time (seconds)", a.wall_time, b.wall_time);
    limit("file_size", a.file_size, b.file_size);
    let passed = |p: &Policy| -> Vec<String> {
        p.environment
            .pass
            .clone()
            .unwrap_or_else(|| vec!["*".to_owned()])
    };
    let (before, after) = (passed(old), passed(new));
    for name in after.iter().filter(|n| !before.contains(n)) {
        say(Became::Allowed, format!("environment.pass: {name}"));
    }
    for name in before.iter().filter(|n| !after.contains(n)) {
        say(Became::Denied, format!("environment.pass: {name}"));
    }
    if old.environment.set != new.environment.set {
        let names: Vec<&str> = new
            .environment
            .set
            .iter()
            .filter(|v| !old.environment.set.contains(v))
            .chain(
                old.environment
                    .set
                    .iter()
                    .filter(|v| !new.environment.set.contains(v)),
            )
            .map(|v| v.0.as_str())
            .collect();
        say(
            Became::Allowed,
            format!("environment.set: {}", names.join(" ")),
        );
    }
}

fn show(value: Option<impl Debug>) -> String {
    value.map_or_else(|| "none".to_owned(), |v| format!("{v:?}"))
}
