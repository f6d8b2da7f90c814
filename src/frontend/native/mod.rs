//! The native front-end: the language that polc's own policies are written in.
//!
//! A file becomes a tree of [nodes](node) that know their places. polc reads the tree by hand, so it reports every
//! error of a file at once, each at its place, with the nearest known word. It reads the parts in the order in which
//! they depend on each other: first the files that the policy [builds on](extends), then the subject (its paths are the
//! values of `~` and `${…}`), then the rules with what they include, then settings, then tests.
//!
//! What the design left open, and how it is here:
//!
//! - Every rule has a name; only `include` has none.
//! - A rule of an included set is called `set/rule`, after the `name` that the file gives itself. A rule of a set
//!   within a set is named after the inner set. A set comes in once.
//! - [`extends`] says what `extends` means in detail.
//! - `~` and `${…}` in an included file have the values of the including policy.
//! - In the first word of a command, `~` and `${…}` are expanded if the word is a path. In its arguments nothing is.
//! - `environment.set` expands `${…}`, not `~`; `\$` is a `$`.
//! - A question (`tests`, `explain`) about `read` is about reading alone. In a rule, `read` includes `list`.
//! - `platforms` of a file is for its rules and its tests, and goes along with what it includes. A rule is for the
//!   platforms that it and all of these name.
//! - Words that some readers of YAML take for booleans (`yes`, `on`) need quotes where a text belongs.

pub(crate) mod command;
pub(crate) mod expand;
mod extends;
mod files;
mod include;
pub(crate) use extends::policy;
pub(crate) mod node;
pub(crate) mod question;
pub(crate) mod reader;
pub(crate) mod rule;
pub mod schema;
pub(crate) mod subject;
pub(crate) mod value;
pub use value::is_name;

use crate::diagnostics::{Diagnostic, codes};
use crate::policy::{Action, FileId, Span};
use node::Node;
use reader::{Fields, Report, fields, quoted, word};
use std::rc::Rc;

/// The keys of a policy.
pub(crate) const POLICY_KEYS: [&str; 13] = [
    "version",
    "name",
    "description",
    "extends",
    "platforms",
    "default_action",
    "subject",
    "rules",
    "limits",
    "environment",
    "capabilities",
    "allow_lints",
    "tests",
];

/// The keys of a file that is included.
pub(crate) const SET_KEYS: [&str; 7] = [
    "version",
    "name",
    "description",
    "platforms",
    "default_action",
    "rules",
    "tests",
];

/// The keys of a file, and its version.
fn head<'n>(
    root: &'n Rc<Node>,
    file: FileId,
    what: &str,
    known: &[&'static str],
    report: &mut Report,
) -> Option<Fields<'n>> {
    let mut f = fields(root, what, known, report)?;
    if let Some(n) = f.get("name") {
        f.span = n.span;
    } else {
        f.span = Span { file, ..root.span };
    }
    if let Some(n) = f.require("version", what, report) {
        version(n, report);
    }
    Some(f)
}

fn version(n: &Node, report: &mut Report) {
    let ok = n.scalar().is_some_and(|s| s.plain && s.text == "1");
    if !ok {
        let shown = n
            .scalar()
            .map_or_else(|| n.type_name().to_owned(), |s| quoted(&s.text));
        report.push(
            Diagnostic::error(codes::VERSION, format!("`version` is 1, not {shown}"))
                .at(n.span, "unknown version")
                .suggest(
                    n.span,
                    "1",
                    "the version of the language, not of the policy",
                ),
        );
    }
}

fn default_action(f: &Fields<'_>, report: &mut Report) -> Action {
    let Some(n) = f.get("default_action") else {
        return Action::Deny;
    };
    if n.scalar().is_some_and(|s| s.text == "ask") {
        report.error(
            codes::UNKNOWN_VALUE,
            "`default_action` cannot be `ask`",
            n.span,
            "`allow` or `deny`",
            "to ask by default, write a last rule with `action: ask`, such as one over `paths: [\"/**\"]`",
        );
        return Action::Deny;
    }
    word(
        n,
        "default action",
        codes::UNKNOWN_VALUE,
        &rule::ACTIONS[..2],
        report,
    )
    .unwrap_or(Action::Deny)
}
