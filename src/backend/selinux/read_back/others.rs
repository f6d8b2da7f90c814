//! The statements of a module that are about no operation on an object, or that have no effect on a set of paths.
//!
//! A permission of the domain is left out if the sets of paths show it completely. That is so for those in [`SHOWN`],
//! on a type that some path has. Everything else is compared as it is written, one permission at a time. So order,
//! braces and repetition do not matter.

use super::contexts::Context;
use super::module::{Allow, Module};
use std::collections::BTreeSet;

/// Without one of these, the domain loses a path that no other permission gives. With one more, it gains a path.
const SHOWN: [(&str, &[&str]); 2] = [
    (
        "file",
        &[
            "append",
            "create",
            "execute_no_trans",
            "read",
            "rename",
            "setattr",
            "unlink",
            "write",
        ],
    ),
    (
        "dir",
        &[
            "add_name",
            "create",
            "read",
            "remove_name",
            "rename",
            "rmdir",
            "setattr",
            "write",
        ],
    ),
];

fn written(word: &str, rule: &Allow, permission: &str) -> String {
    let Allow {
        source,
        target,
        class,
        ..
    } = rule;
    format!("{word} {source} {target}:{class} {permission}")
}

/// All these statements, one permission each.
pub(super) fn of(module: &Module, domain: &str, contexts: &[Context]) -> BTreeSet<String> {
    let labelled: BTreeSet<&str> = contexts.iter().filter_map(|c| c.label.as_deref()).collect();
    let shown = |rule: &Allow, permission: &str| {
        rule.source == domain
            && labelled.contains(rule.target.as_str())
            && SHOWN
                .iter()
                .any(|(class, list)| *class == rule.class && list.contains(&permission))
    };
    let mut out = BTreeSet::new();
    for rule in &module.allows {
        let hidden = rule.permissions.iter().filter(|p| !shown(rule, p));
        out.extend(hidden.map(|p| written("allow", rule, p)));
    }
    for rule in &module.nevers {
        out.extend(
            rule.permissions
                .iter()
                .map(|p| written("neverallow", rule, p)),
        );
    }
    // The programs that enter the domain.
    let entry = |label: &str| {
        let mut rules = module.allows.iter();
        rules.any(|r| {
            r.source == domain && r.target == label && r.permissions.contains("entrypoint")
        })
    };
    for context in contexts.iter().filter(|c| c.line > 0) {
        if context.label.as_deref().is_some_and(entry) {
            out.insert(format!("file context {}", context.text));
        }
    }
    for [source, target, class, new] in &module.transitions {
        out.insert(format!("type_transition {source} {target}:{class} {new}"));
    }
    for (role, types) in &module.roles {
        out.extend(types.iter().map(|t| format!("role {role} types {t}")));
    }
    for (name, attributes) in &module.types {
        out.insert(format!("type {name}"));
        out.extend(
            attributes
                .iter()
                .map(|a| format!("typeattribute {name} {a}")),
        );
    }
    out
}
