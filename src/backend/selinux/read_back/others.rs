//! What a module says that is about no operation on an object, or that no path shows.
//!
//! A permission is left out of it where the sets of paths say everything of it: that of the domain, on a type that
//! some path has, among those that every way of an operation takes anew. Everything else is compared as it is
//! written, one permission at a time, so that neither order, braces nor repetition count.

use super::contexts::Context;
use super::module::{Allow, Module};
use std::collections::BTreeSet;

/// Without one of these a path is lost that the others do not give, and with one more a path is won.
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

/// All of it.
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
    // Which programs enter the domain.
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
