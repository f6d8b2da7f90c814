//! Lints about this host's directories and symbolic links.

use super::{Finding, is_own};
use crate::fidelity::{Object, show_bytes};
use crate::host::{Followed, Found, Link, Resolver, View, through_links};
use crate::policy::{Component, Objects, Operation, Policy, Rule, RuleId, Sequence};
use crate::semantics::{Meaning, PathSet, TooLarge, decide};
use std::collections::BTreeSet;

pub(super) fn find(
    meaning: &Meaning<'_>,
    followed: &Followed,
    view: &dyn View,
    out: &mut Vec<Finding>,
) -> Result<(), TooLarge> {
    wide(meaning.policy(), &followed.links, out);
    other_names(meaning.policy(), &followed.other_names, out);
    unseen(&followed.unseen, out);
    let resolver = Resolver::new(view);
    for rule in &meaning.policy().rules {
        if rule.action.permits() {
            if is_own(meaning.policy(), rule) {
                elsewhere(meaning, rule, &resolver, out)?;
            }
        } else if rule.link.is_some() {
            bypassed(meaning, rule, out)?;
        } else if is_own(meaning.policy(), rule) {
            directories(meaning, rule, view, out)?;
        }
    }
    Ok(())
}

/// The set of paths that a rule matches.
fn matched(rule: &Rule) -> Result<Option<PathSet>, TooLarge> {
    let Objects::Paths { paths, except } = &rule.objects else {
        return Ok(None);
    };
    let set = PathSet::of(paths.iter().flat_map(|p| &p.sequences))?;
    let except = PathSet::of(except.iter().flat_map(|p| &p.sequences))?;
    Ok(Some(set.difference(&except)?))
}

/// L012: links whose target is too large to deny.
fn wide(policy: &Policy, followed: &[Link], out: &mut Vec<Finding>) {
    for link in followed {
        let Found::Gap(operation, witness) = &link.found else {
            continue;
        };
        let rule = policy.rule(link.rule);
        out.push(
            Finding::new(
                "L012",
                Some(link.rule),
                format!(
                    "{}, which rule `{}` cannot deny as a whole: {operation} {} is allowed",
                    link.followed,
                    rule.name,
                    show_bytes(witness)
                ),
            )
            .help("remove the link, or put what it leads to in its place"),
        );
    }
}

/// L015: denied files that have another name.
fn other_names(policy: &Policy, files: &[Vec<u8>], out: &mut Vec<Finding>) {
    for file in files {
        let object = Object::Path(file.clone());
        let denied = [Operation::Read, Operation::Edit]
            .into_iter()
            .find_map(|o| {
                let decision = decide(policy, o, &object);
                (!decision.action.permits()).then_some(decision.rule)
            });
        out.push(
            Finding::new(
                "L015",
                denied.flatten(),
                format!(
                    "`{}` is denied, and the file has another name somewhere, a hard link",
                    show_bytes(file)
                ),
            )
            .help("`find / -xdev -samefile FILE` finds the name; remove it, or deny it too"),
        );
    }
}

/// L016: denied directories that polc did not search completely.
fn unseen(directories: &[Vec<u8>], out: &mut Vec<Finding>) {
    for directory in directories {
        out.push(Finding::new(
            "L016",
            None,
            format!(
                "`{}` is denied, and holds too much to look for links in all of it",
                show_bytes(directory)
            ),
        ));
    }
}

/// L012: a rule above allows the target of a denied name.
fn bypassed(meaning: &Meaning<'_>, rule: &Rule, out: &mut Vec<Finding>) -> Result<(), TooLarge> {
    let policy = meaning.policy();
    let (Some(link), Some(set)) = (&rule.link, matched(rule)?) else {
        return Ok(());
    };
    let mut told: BTreeSet<Option<RuleId>> = BTreeSet::new();
    for operation in rule.operations.iter() {
        let allowed = meaning.decisions(operation)?.allowed();
        let Some(witness) = set.common_witness(allowed)? else {
            continue;
        };
        let object = Object::Path(witness);
        let by = decide(policy, operation, &object).rule;
        // If a rule below decides, this rule does not deny the object.
        if by.is_none_or(|by| by > rule.id) || !told.insert(by) {
            continue;
        }
        let mut finding = Finding::new(
            "L012",
            Some(rule.id),
            format!(
                "{link}, and what rule `{}` denies by that name is allowed there: {operation} {object}",
                rule.name
            ),
        )
        .help("put the rule above the one that allows it");
        finding
            .others
            .extend(by.map(|by| (by, "this one allows it".to_owned())));
        out.push(finding);
    }
    Ok(())
}

/// L014: an allowed name whose target is not allowed.
fn elsewhere(
    meaning: &Meaning<'_>,
    rule: &Rule,
    resolver: &Resolver<'_>,
    out: &mut Vec<Finding>,
) -> Result<(), TooLarge> {
    for there in through_links(rule, resolver) {
        let (Some(link), Some(set)) = (&there.link, matched(&there)?) else {
            continue;
        };
        let mut refused: Vec<&str> = Vec::new();
        for operation in rule.operations.iter() {
            // Removing or replacing the link itself is a different question.
            if matches!(operation, Operation::Delete | Operation::Create) {
                continue;
            }
            let allowed = meaning.decisions(operation)?.allowed();
            if set.common_witness(allowed)?.is_none() {
                refused.push(operation.name());
            }
        }
        if refused.is_empty() {
            continue;
        }
        out.push(
            Finding::new(
                "L014",
                Some(rule.id),
                format!(
                    "{link}: rule `{}` allows that name, but no rule allows {} where it leads",
                    rule.name,
                    refused.join(", ")
                ),
            )
            .help(format!(
                "add `{}` to the paths of the rule, or leave the name out",
                crate::policy::escape_literal(&link.real)
            )),
        );
    }
    Ok(())
}

/// L011: a rule denies a directory, but not its contents.
fn directories(
    meaning: &Meaning<'_>,
    rule: &Rule,
    view: &dyn View,
    out: &mut Vec<Finding>,
) -> Result<(), TooLarge> {
    // A rule against listing, creating or moving a directory names the directory alone, and that is right.
    const CONTENTS: [Operation; 3] = [Operation::Read, Operation::Edit, Operation::Execute];
    let Objects::Paths { paths, .. } = &rule.objects else {
        return Ok(());
    };
    for sequence in paths.iter().flat_map(|p| &p.sequences) {
        let Some(path) = sequence.as_literal() else {
            continue;
        };
        if path == b"/" || !view.is_directory(&path) {
            continue;
        }
        let beneath = Sequence {
            components: sequence
                .components
                .iter()
                .cloned()
                .chain([
                    Component::Name([crate::policy::Token::Star].into()),
                    Component::AnyDepth,
                ])
                .collect(),
        };
        let beneath = PathSet::of([&beneath])?;
        for operation in CONTENTS {
            if !rule.operations.contains(operation) {
                continue;
            }
            let allowed = meaning.decisions(operation)?.allowed();
            let Some(witness) = beneath.common_witness(allowed)? else {
                continue;
            };
            let shown = show_bytes(&path);
            out.push(
                Finding::new(
                    "L011",
                    Some(rule.id),
                    format!(
                        "rule `{}` denies the directory `{shown}`, but not what is in it: {operation} {} is allowed",
                        rule.name,
                        show_bytes(&witness)
                    ),
                )
                .help(format!("write `{shown}/**`: the directory and everything beneath it")),
            );
            break;
        }
    }
    Ok(())
}
