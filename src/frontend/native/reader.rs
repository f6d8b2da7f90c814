//! Reads typed values from nodes, and collects every error.

use super::node::{Kind, Node, Type};
use crate::diagnostics::{Diagnostic, Diagnostics, Label, Severity, codes};
use crate::frontend::FileRead;
use crate::policy::{Sources, Span};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// The most diagnostics that one load reports.
const MAX_REPORTED: usize = 100;
/// The most further places that one error points to.
const MAX_PLACES: usize = 3;

/// The errors so far, and the files that were read.
#[derive(Default)]
pub(crate) struct Report {
    items: Vec<Diagnostic>,
    left_out: usize,
    failed: bool,
    pub sources: Sources,
    /// The files that were read, without the policy's own.
    pub files: Vec<FileRead>,
}

impl Report {
    /// Adds one.
    pub fn push(&mut self, d: Diagnostic) {
        self.failed |= d.severity == Severity::Error;
        // The subject may lack a value that is used at many places. That is one error.
        if d.code == codes::UNDEFINED_VARIABLE
            && let Some(known) = self
                .items
                .iter_mut()
                .find(|k| k.code == d.code && k.help == d.help)
        {
            if known.secondary.len() < MAX_PLACES {
                known.secondary.extend(d.primary.map(|l| Label {
                    text: "and here".to_owned(),
                    ..l
                }));
            }
            return;
        }
        // An error without a place is about the command line, so it appears once.
        let again =
            |k: &Diagnostic| k.primary.is_none() && k.code == d.code && k.message == d.message;
        if d.primary.is_none() && self.items.iter().any(again) {
            return;
        }
        if self.items.len() < MAX_REPORTED {
            self.items.push(d);
        } else {
            self.left_out += 1;
        }
    }

    /// Adds an error with its place and a help line.
    pub fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: &str,
        help: &str,
    ) {
        let mut d = Diagnostic::error(code, message).at(span, label);
        if !help.is_empty() {
            d = d.help(help);
        }
        self.push(d);
    }

    /// Whether there was an error.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// All of them, in the order of files and places.
    pub fn finish(mut self) -> Diagnostics {
        self.items
            .sort_by_key(|d| d.primary.as_ref().map(|l| (l.span.file, l.span.start)));
        if self.left_out > 0 {
            let mut d = Diagnostic::error(
                codes::MANY_ERRORS,
                format!("{} more that are not shown", self.left_out),
            );
            d.severity = if self.failed {
                Severity::Error
            } else {
                Severity::Warning
            };
            self.items.push(d);
        }
        Diagnostics {
            items: self.items,
            sources: self.sources,
        }
    }
}

/// The nearest known word, if it is so near that it was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|(d, k)| *d <= (k.chars().count().max(lower.chars().count()) / 3).max(1))
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// A text of the user in a message: in backticks, on one line, and shortened if it is long.
pub(crate) fn quoted(text: &str) -> String {
    let text = crate::policy::visible(text);
    if text.chars().count() <= 80 {
        return format!("`{text}`");
    }
    let head: String = text.chars().take(77).collect();
    format!("`{head}…`")
}

/// The known words in a help line.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [init @ .., last] => {
            let init: Vec<String> = init.iter().map(|w| format!("`{w}`")).collect();
            format!("{} or `{last}`", init.join(", "))
        }
    }
}

/// A mapping with checked keys.
pub(crate) struct Fields<'n> {
    /// The place to point to if a key is missing.
    pub span: Span,
    found: FxHashMap<&'static str, (Span, &'n Rc<Node>)>,
    /// Known keys for which a wrong key was probably meant. Their absence has been reported.
    guessed: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The value of a key.
    pub fn get(&self, key: &'static str) -> Option<&'n Rc<Node>> {
        self.found.get(key).map(|(_, v)| *v)
    }

    /// The place of the key.
    pub fn key_span(&self, key: &'static str) -> Option<Span> {
        self.found.get(key).map(|(s, _)| *s)
    }

    /// Whether an unknown key was probably meant as this one.
    pub fn is_guessed(&self, key: &str) -> bool {
        self.guessed.contains(&key)
    }

    /// The value of a required key.
    pub fn require(
        &self,
        key: &'static str,
        what: &str,
        report: &mut Report,
    ) -> Option<&'n Rc<Node>> {
        let found = self.get(key);
        if found.is_none() && !self.is_guessed(key) {
            report.error(
                codes::MISSING_KEY,
                format!("{what} has no `{key}`"),
                self.span,
                "it belongs here",
                if key == "version" {
                    "add `version: 1`"
                } else {
                    ""
                },
            );
        }
        found
    }
}

/// The words that other tools use for a key of ours.
const SYNONYMS: &[(&str, &str)] = &[
    ("default", "default_action"),
    ("effect", "action"),
    ("decision", "action"),
    ("path", "paths"),
    ("files", "paths"),
    ("host", "hosts"),
    ("ops", "operations"),
    ("exclude", "except"),
    ("exceptions", "except"),
    ("command", "commands"),
    ("env", "environment"),
    ("workdir", "workspace"),
    ("reason", "message"),
    ("cpu", "cpus"),
    ("nofile", "open_files"),
    ("timeout", "wall_time"),
    ("permit", "allow"),
    ("block", "deny"),
    ("refuse", "deny"),
    ("prompt", "ask"),
];

/// Checks the keys of a mapping: each is known, and none appears twice.
pub(crate) fn fields<'n>(
    node: &'n Rc<Node>,
    what: &str,
    known: &[&'static str],
    report: &mut Report,
) -> Option<Fields<'n>> {
    let Kind::Map(entries) = &node.kind else {
        report.error(
            codes::WRONG_TYPE,
            format!("{what} is a mapping, not {}", node.type_name()),
            node.span,
            "expected `key: value`",
            "",
        );
        return None;
    };
    let mut found: FxHashMap<&'static str, (Span, &'n Rc<Node>)> = FxHashMap::default();
    let mut others: FxHashMap<&str, Span> = FxHashMap::default();
    let mut guessed = Vec::new();
    for (key, value) in entries {
        let Some(name) = key_text(key, report) else {
            continue;
        };
        let Some(&word) = known.iter().find(|k| **k == name) else {
            if let Some(first) = others.insert(name, key.span) {
                duplicate(name, key.span, first, report);
            } else {
                guessed.extend(unknown_key(name, what, key, known, report));
            }
            continue;
        };
        if let Some((first, _)) = found.get(word) {
            duplicate(word, key.span, *first, report);
        } else {
            found.insert(word, (key.span, value));
        }
    }
    Some(Fields {
        span: node.span,
        found,
        guessed,
    })
}

/// The text of a key.
pub(crate) fn key_text<'n>(key: &'n Node, report: &mut Report) -> Option<&'n str> {
    let Some(s) = key.scalar() else {
        report.error(
            codes::YAML_FEATURE,
            format!("a key is a text, not {}", key.type_name()),
            key.span,
            "not a text",
            "",
        );
        return None;
    };
    Some(&s.text)
}

fn duplicate(name: &str, second: Span, first: Span, report: &mut Report) {
    report.push(
        Diagnostic::error(
            codes::DUPLICATE_KEY,
            format!("the key {} is written twice", quoted(name)),
        )
        .at(second, "again")
        .and_at(first, "first here")
        .help("keep one of them, or join their lists"),
    );
}

fn unknown_key(
    name: &str,
    what: &str,
    key: &Node,
    known: &[&'static str],
    report: &mut Report,
) -> Option<&'static str> {
    if name == "<<" {
        report.error(
            codes::YAML_FEATURE,
            "merge keys are not part of the language",
            key.span,
            "a merge key",
            "write the keys out, or use an alias for a whole value",
        );
        return None;
    }
    let mut d = Diagnostic::error(
        codes::UNKNOWN_KEY,
        format!("{what} has no key {}", quoted(name)),
    )
    .at(key.span, "unknown key");
    let near = nearest(name, known.iter().copied()).or_else(|| {
        SYNONYMS
            .iter()
            .find(|(other, ours)| other.eq_ignore_ascii_case(name) && known.contains(ours))
            .map(|(_, ours)| *ours)
    });
    d = match near {
        Some(near) => d.suggest(key.span, near, format!("did you mean `{near}`?")),
        None => d.help(format!("known here: {}", one_of(known))),
    };
    report.push(d);
    near
}

/// A text. If YAML may read it as another type, it needs quotes.
pub(crate) fn text<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n str> {
    let Some(s) = node.scalar() else {
        report.error(
            codes::WRONG_TYPE,
            format!("{what} is a text, not {}", node.type_name()),
            node.span,
            "expected a text",
            "",
        );
        return None;
    };
    match s.resolve() {
        Type::Text => Some(&s.text),
        Type::Null => {
            report.error(
                codes::WRONG_TYPE,
                format!("{what} has no value"),
                node.span,
                "",
                if s.text == "~" {
                    "the home directory itself is written `\"~\"`, in quotes"
                } else {
                    "write one, or leave the key out"
                },
            );
            None
        }
        other => {
            report.push(
                Diagnostic::error(
                    codes::NOT_TEXT,
                    format!(
                        "{what} is a text, and YAML takes {} for {}",
                        quoted(&s.text),
                        other.name()
                    ),
                )
                .at(node.span, other.name())
                .suggest(
                    node.span,
                    format!("\"{}\"", s.text),
                    "if the text is meant, quote it",
                ),
            );
            None
        }
    }
}

/// A text that is not empty.
pub(crate) fn nonempty<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n str> {
    let t = text(node, what, report)?;
    if t.is_empty() {
        report.error(
            codes::EMPTY_VALUE,
            format!("{what} is empty"),
            node.span,
            "empty",
            "",
        );
        return None;
    }
    Some(t)
}

/// A list.
pub(crate) fn list<'n>(
    node: &'n Node,
    what: &str,
    may_be_empty: bool,
    report: &mut Report,
) -> Option<&'n [Rc<Node>]> {
    match &node.kind {
        Kind::List(items) if items.is_empty() && !may_be_empty => {
            report.error(
                codes::EMPTY_VALUE,
                format!("{what} is an empty list, which matches nothing"),
                node.span,
                "empty",
                "write what you mean, or leave it out",
            );
            None
        }
        Kind::List(items) => Some(items),
        Kind::Scalar(s) if s.resolve() != Type::Null && !s.text.contains('\n') => {
            let replacement = if s.resolve() != Type::Text {
                None
            } else if s.plain
                && !s
                    .text
                    .contains(['[', ']', '{', '}', ',', '"', '\\', '*', '#'])
            {
                Some(format!("[{}]", s.text))
            } else if !s.text.contains(['\'', '\n']) {
                Some(format!("['{}']", s.text))
            } else {
                None
            };
            let mut d = Diagnostic::error(
                codes::WRONG_TYPE,
                format!("{what} is a list, not {}", s.resolve().name()),
            )
            .at(node.span, "expected a list");
            if let Some(r) = replacement {
                d = d.suggest(node.span, r, "a list of one is a list too");
            }
            report.push(d);
            None
        }
        Kind::Scalar(s) if s.resolve() == Type::Null => {
            report.error(
                codes::WRONG_TYPE,
                format!("{what} has no value"),
                node.span,
                "expected a list",
                if may_be_empty {
                    "an empty list is `[]`"
                } else {
                    ""
                },
            );
            None
        }
        _ => {
            report.error(
                codes::WRONG_TYPE,
                format!("{what} is a list, not {}", node.type_name()),
                node.span,
                "expected a list",
                "",
            );
            None
        }
    }
}

/// A list of texts, each with its node.
pub(crate) fn texts<'n>(
    node: &'n Node,
    what: &str,
    may_be_empty: bool,
    report: &mut Report,
) -> Option<Vec<(&'n Node, &'n str)>> {
    let items = list(node, what, may_be_empty, report)?;
    let entry = format!("an entry of {what}");
    // A wrong entry does not remove the others.
    Some(
        items
            .iter()
            .filter_map(|i| text(i, &entry, report).map(|t| (&**i, t)))
            .collect(),
    )
}

/// One of some words.
pub(crate) fn word<T: Copy>(
    node: &Node,
    what: &str,
    code: &'static str,
    known: &[(&'static str, T)],
    report: &mut Report,
) -> Option<T> {
    let t = text(node, &format!("the {what}"), report)?;
    if let Some((_, v)) = known.iter().find(|(k, _)| *k == t) {
        return Some(*v);
    }
    let words: Vec<&str> = known.iter().map(|(k, _)| *k).collect();
    let mut d =
        Diagnostic::error(code, format!("unknown {what} {}", quoted(t))).at(node.span, "unknown");
    let synonym = match t.to_ascii_lowercase().as_str() {
        "require_approval" | "prompt" | "confirm" | "approve" => Some("ask"),
        "block" | "forbid" | "reject" | "refuse" => Some("deny"),
        "permit" | "accept" | "grant" => Some("allow"),
        _ => None,
    }
    .filter(|w| words.contains(w));
    d = match nearest(t, words.iter().copied()).or(synonym) {
        Some(near) => d.suggest(node.span, near, format!("did you mean `{near}`?")),
        None => d.help(format!("it is {}", one_of(&words))),
    };
    report.push(d);
    None
}
