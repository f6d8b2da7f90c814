//! What a policy allows that an agent could use to escape, now or later.

use super::{Finding, path};
use crate::fidelity::{Object, show_bytes};
use crate::frontend::{AutoPaths, LoadOptions, load};
use crate::policy::{Action, FileId, Objects, Operation, Policy, RuleId};
use crate::semantics::{Meaning, PathSet, TooLarge, decide};
use std::collections::BTreeSet;

/// `homes` count beside the policy's own home.
pub(super) fn find(
    meaning: &Meaning<'_>,
    homes: &[Vec<u8>],
    out: &mut Vec<Finding>,
) -> Result<(), TooLarge> {
    let own = meaning.policy().subject.home.clone();
    let others = homes.iter().filter(|h| own.as_ref() != Some(h)).cloned();
    let all: Vec<Vec<u8>> = own.clone().into_iter().chain(others).collect();
    built_and_run(meaning, out)?;
    sets(meaning, &all, out)?;
    own_file(meaning, out);
    moved_and_read(meaning, out)?;
    interpreted(meaning, out)?;
    asked(meaning.policy(), out);
    for home in &all {
        whole_home(meaning.policy(), home, out);
    }
    Ok(())
}

/// L004: an object that can be written and then started.
fn built_and_run(meaning: &Meaning<'_>, out: &mut Vec<Finding>) -> Result<(), TooLarge> {
    let execute = meaning.decisions(Operation::Execute)?;
    let policy = meaning.policy();
    let mut seen: BTreeSet<Option<RuleId>> = BTreeSet::new();
    for operation in [Operation::Create, Operation::Edit] {
        let writable = meaning.decisions(operation)?.allowed();
        let mut found: Vec<(Option<RuleId>, Vec<u8>)> = Vec::new();
        execute.walk_with(writable, |label, _, writable, spell| {
            let decision = execute.verdicts()[label as usize].decision;
            if writable && decision.action.permits() && !seen.contains(&decision.rule) {
                seen.insert(decision.rule);
                found.push((decision.rule, spell()));
            }
        })?;
        for (rule, witness) in found {
            let name = rule.map_or("default_action", |id| &policy.rule(id).name);
            out.push(
                Finding::new(
                    "L004",
                    rule,
                    format!(
                        "`{name}` allows starting programs that the policy also allows writing: {}",
                        path(witness)
                    ),
                )
                .help("rules about programs then hold only for installed programs"),
            );
        }
    }
    Ok(())
}

/// A built-in rule set alone, with this policy's paths and this home.
pub(super) fn set_of(policy: &Policy, home: &[u8], name: &str) -> Option<Policy> {
    let text = format!(
        "version: 1\nname: lint\nsubject: {{home: auto, workspace: auto, tmp: auto}}\nrules:\n  - include: builtin:{name}\n"
    );
    let options = LoadOptions {
        auto: AutoPaths {
            home: Some(home.to_vec()),
            workspace: policy
                .subject
                .workspace
                .clone()
                .or(Some(b"/workspace".to_vec())),
            tmp: policy.subject.tmp.clone().or(Some(b"/tmp".to_vec())),
        },
        ..LoadOptions::default()
    };
    load("lint", &text, &options).ok().map(|l| l.policy)
}

/// L005 to L007: what the built-in sets deny and this policy allows.
fn sets(meaning: &Meaning<'_>, homes: &[Vec<u8>], out: &mut Vec<Finding>) -> Result<(), TooLarge> {
    const SETS: [(&str, &str, &[Operation], &str); 6] = [
        (
            "L005",
            "credentials",
            &[Operation::Read],
            "allows reading keys or tokens",
        ),
        (
            "L006",
            "git-hooks",
            &[Operation::Create, Operation::Edit],
            "allows writing what git runs later",
        ),
        (
            "L006",
            "startup-files",
            &[Operation::Create, Operation::Edit],
            "allows writing what a shell or session runs later",
        ),
        (
            "L006",
            "editor-and-agent-config",
            &[Operation::Create, Operation::Edit],
            "allows writing what an editor or agent runs later",
        ),
        (
            "L006",
            "ci-files",
            &[Operation::Create, Operation::Edit],
            "allows writing what a build server runs later",
        ),
        (
            "L007",
            "container-sockets",
            &[Operation::Connect],
            "allows reaching a container engine, which starts anything as root",
        ),
    ];
    let policy = meaning.policy();
    let nobody = [b"/home/agent".to_vec()];
    let homes = if homes.is_empty() { &nobody } else { homes };
    for (code, name, operations, says) in SETS {
        let sets: Vec<Policy> = homes
            .iter()
            .filter_map(|home| set_of(policy, home, name))
            .collect();
        let mut seen: BTreeSet<Option<RuleId>> = BTreeSet::new();
        for operation in operations {
            let allowed = meaning.decisions(*operation)?.allowed();
            let denies =
                |r: &&crate::policy::Rule| !r.action.permits() && r.operations.contains(*operation);
            for rule in sets.iter().flat_map(|s| &s.rules).filter(denies) {
                let Objects::Paths { paths, except } = &rule.objects else {
                    continue;
                };
                let wanted = PathSet::of(paths.iter().flat_map(|p| &p.sequences))?;
                let excepted = PathSet::of(except.iter().flat_map(|p| &p.sequences))?;
                let Some(witness) = wanted.difference(&excepted)?.common_witness(allowed)? else {
                    continue;
                };
                let object = path(witness);
                let by = decide(policy, *operation, &object).rule;
                if !seen.insert(by) {
                    continue;
                }
                let who = by.map_or("default_action", |id| &policy.rule(id).name);
                out.push(
                    Finding::new(code, by, format!("`{who}` {says}: {operation} {object}"))
                        .help(format!("put `- include: builtin:{name}` above it")),
                );
            }
        }
    }
    Ok(())
}

/// L006 too: the policy's own file.
fn own_file(meaning: &Meaning<'_>, out: &mut Vec<Finding>) {
    let policy = meaning.policy();
    let Some(name) = policy.sources.get(FileId(0)).map(|f| f.name.clone()) else {
        return;
    };
    let Ok(file) = std::fs::canonicalize(&name) else {
        return;
    };
    let object = path(file.into_os_string().into_encoded_bytes());
    for operation in [Operation::Edit, Operation::Create, Operation::Delete] {
        let decision = decide(policy, operation, &object);
        if decision.action.permits() {
            let who = decision
                .rule
                .map_or("default_action", |id| &policy.rule(id).name);
            out.push(
                Finding::new(
                    "L006",
                    decision.rule,
                    format!("`{who}` allows changing this policy: {operation} {object}"),
                )
                .help("deny `write` on it in a rule above, or keep it where the subject may not write"),
            );
            return;
        }
    }
}

/// L008: moving the object away avoids a rule that denies reading it.
fn moved_and_read(meaning: &Meaning<'_>, out: &mut Vec<Finding>) -> Result<(), TooLarge> {
    let policy = meaning.policy();
    let read = meaning.decisions(Operation::Read)?;
    let removable = meaning.decisions(Operation::Delete)?.allowed();
    let makeable = meaning.decisions(Operation::Create)?.allowed();
    let Some(elsewhere) = read.allowed().common_witness(makeable)? else {
        return Ok(());
    };
    let mut seen: BTreeSet<RuleId> = BTreeSet::new();
    let mut found = Vec::new();
    read.walk_with(removable, |label, _, removable, spell| {
        let decision = read.verdicts()[label as usize].decision;
        if let (true, false, Some(rule)) = (removable, decision.action.permits(), decision.rule)
            && seen.insert(rule)
        {
            found.push((rule, spell()));
        }
    })?;
    for (rule, witness) in found {
        out.push(
            Finding::new(
                "L008",
                Some(rule),
                format!(
                    "rule `{}` denies reading it, but the policy allows moving it to where it can be read: {} to {}",
                    policy.rule(rule).name,
                    show_bytes(&witness),
                    show_bytes(&elsewhere)
                ),
            )
            .help("deny `delete` on it too (`operations: [read, write]`)"),
        );
    }
    Ok(())
}

/// Programs that run what they get as an argument.
const INTERPRETERS: [&str; 12] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/usr/lib64/ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/usr/lib/ld-linux-aarch64.so.1",
    "/usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1",
    "/bin/sh",
    "/bin/bash",
    "/usr/bin/sh",
    "/usr/bin/bash",
    "/usr/bin/python3",
    "/usr/bin/perl",
];

/// L009: an interpreter or the loader avoids a rule that denies starting a program.
fn interpreted(meaning: &Meaning<'_>, out: &mut Vec<Finding>) -> Result<(), TooLarge> {
    let policy = meaning.policy();
    let starts = |program: &&&str| {
        let object = Object::Path(program.as_bytes().to_vec());
        decide(policy, Operation::Execute, &object).action.permits()
    };
    let Some(interpreter) = INTERPRETERS.iter().find(starts) else {
        return Ok(());
    };
    let execute = meaning.decisions(Operation::Execute)?;
    let readable = meaning.decisions(Operation::Read)?.allowed();
    let mut seen: BTreeSet<RuleId> = BTreeSet::new();
    let mut found = Vec::new();
    execute.walk_with(readable, |label, _, readable, spell| {
        let decision = execute.verdicts()[label as usize].decision;
        if let (true, Action::Deny, Some(rule)) = (readable, decision.action, decision.rule)
            && seen.insert(rule)
        {
            found.push((rule, spell()));
        }
    })?;
    for (rule, witness) in found {
        out.push(
            Finding::new(
                "L009",
                Some(rule),
                format!(
                    "rule `{}` denies starting it, but `{interpreter}` can read and run it: {}",
                    policy.rule(rule).name,
                    show_bytes(&witness)
                ),
            )
            .help("deny `read` on it too, or deny `execute` on interpreters and the loader"),
        );
    }
    Ok(())
}

/// L010: a rule that asks, but no layer can ask.
fn asked(policy: &Policy, out: &mut Vec<Finding>) {
    for rule in policy.rules.iter().filter(|r| r.action == Action::Ask) {
        let what = match &rule.objects {
            Objects::Syscalls { .. } => "system calls",
            Objects::Paths { .. } if only(rule, &[Operation::Metadata, Operation::List]) => {
                "mode, owner, times or the entries of a directory"
            }
            Objects::Paths { .. } if only(rule, &[Operation::Connect]) => "local sockets",
            Objects::Hosts { .. } if only(rule, &[Operation::Bind]) => "listening",
            _ => continue,
        };
        out.push(
            Finding::new(
                "L010",
                Some(rule.id),
                format!(
                    "rule `{}` asks about {what}, but no tool call names these: it denies",
                    rule.name
                ),
            )
            .help("write `deny`: every layer denies it"),
        );
    }
}

/// L013: files may be changed in a tree that is the home directory, or contains it.
fn whole_home(policy: &Policy, home: &[u8], out: &mut Vec<Finding>) {
    let above = |tree: &[u8]| {
        let rest = home.strip_prefix(tree);
        tree == b"/" || rest.is_some_and(|r| r.is_empty() || r.starts_with(b"/"))
    };
    for rule in policy.rules.iter().filter(|r| r.action.permits()) {
        let Objects::Paths { paths, .. } = &rule.objects else {
            continue;
        };
        let mut trees = paths.iter().flat_map(|p| &p.sequences);
        if !trees.any(|s| s.as_literal_tree().is_some_and(|t| above(&t))) {
            continue;
        }
        for operation in [Operation::Create, Operation::Edit] {
            if !rule.operations.contains(operation) {
                continue;
            }
            // A name that no other rule is about.
            let object = path([home, b"/.new/file"].concat());
            if decide(policy, operation, &object).rule == Some(rule.id) {
                let workspace = policy.subject.workspace.as_ref();
                let help = if workspace.is_some_and(|w| above(w)) {
                    "the workspace is the home directory, or above it: name a directory beneath, `--set workspace=PATH`"
                } else {
                    "name the directories in it that you mean"
                };
                out.push(
                    Finding::new(
                        "L013",
                        Some(rule.id),
                        format!(
                            "rule `{}` allows changing the whole home directory: {operation} {object}",
                            rule.name
                        ),
                    )
                    .help(help),
                );
                break;
            }
        }
    }
}

fn only(rule: &crate::policy::Rule, operations: &[Operation]) -> bool {
    rule.operations.iter().all(|o| operations.contains(&o))
}
