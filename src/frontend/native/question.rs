//! Questions: `read /etc/hosts`, `connect example.org:443`, `run git push`, and the tests that use them.

use super::command;
use super::expand::{Mode, Use, expand, for_each_value};
use super::node::Node;
use super::reader::{Fields, Report, fields, list, nearest, nonempty, one_of, quoted, texts};
use super::rule::ACTIONS;
use crate::diagnostics::{Diagnostic, Diagnostics, codes};
use crate::policy::{
    HostSpec, LAYERS, Operation, OperationSet, PathPattern, PolicyTest, Query, Sources, Span,
    Subject, syscalls,
};
use std::rc::Rc;

/// The first words of questions.
pub(crate) const WORDS: [&str; 13] = [
    "read", "list", "edit", "create", "delete", "metadata", "write", "execute", "connect", "bind",
    "run", "syscall", "tool",
];

/// The error in a question: the bytes of the text, a line, what to do, a replacement.
pub(crate) struct QuestionError {
    code: &'static str,
    from: usize,
    to: usize,
    message: String,
    help: Option<String>,
    replacement: Option<String>,
}

fn fail<T>(
    code: &'static str,
    (from, to): (usize, usize),
    message: impl Into<String>,
    help: impl Into<Option<String>>,
) -> Result<T, QuestionError> {
    Err(QuestionError {
        code,
        from,
        to,
        message: message.into(),
        help: help.into(),
        replacement: None,
    })
}

/// Parses a question.
pub(crate) fn parse(t: &str, subject: &Subject) -> Result<Query, QuestionError> {
    let (operation, object) = t.split_once(' ').unwrap_or((t, ""));
    let word = (0, operation.len());
    if !WORDS.contains(&operation) {
        let near = nearest(operation, WORDS);
        return Err(QuestionError {
            code: codes::UNKNOWN_OPERATION,
            from: 0,
            to: operation.len(),
            message: format!("unknown operation {}", quoted(operation)),
            help: near
                .is_none()
                .then(|| format!("a question begins with {}", one_of(&WORDS))),
            replacement: near.map(str::to_owned),
        });
    }
    let start = operation.len() + 1;
    if object.trim().is_empty() {
        return fail(
            codes::BAD_TEST,
            word,
            format!("`{operation}` of what?"),
            format!("write `{operation}` and one object"),
        );
    }
    let whole = (start, t.len());
    let is_path = object.starts_with('/') || object.starts_with('~') || object.starts_with("${");
    match operation {
        "run" => {
            let words = command::split(object).map_err(|e| QuestionError {
                code: e.code,
                from: start + e.from,
                to: start + e.to,
                message: e.message,
                help: e.help,
                replacement: e.replacement,
            })?;
            let mut out: Vec<Vec<u8>> = words.iter().map(|w| w.bytes.clone()).collect();
            if let Some(first) = words.first()
                && first.literal.first() == Some(&false)
                && (first.bytes.starts_with(b"~") || first.bytes.starts_with(b"${"))
            {
                let raw = String::from_utf8_lossy(&first.bytes).into_owned();
                out[0] = path(&raw, start + first.from, subject)?;
            } else if out[0].contains(&b'/') && super::subject::path_as_it_is(&out[0]).is_err() {
                return fail(
                    codes::BAD_TEST,
                    (start, start + words[0].to),
                    "the program is an absolute path without `.` and `..`, or a name without `/`",
                    None,
                );
            } else if out[0].is_empty() {
                return fail(codes::BAD_TEST, whole, "the program's name is empty", None);
            }
            Ok(Query::Command(out))
        }
        "syscall" => {
            if syscalls::known(object)
                && object
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            {
                Ok(Query::Syscall(object.to_owned()))
            } else {
                fail(
                    codes::UNKNOWN_SYSCALL,
                    whole,
                    format!("{} is not a system call", quoted(object)),
                    "a question names one system call, as in syscalls(2)".to_owned(),
                )
            }
        }
        "tool" => Ok(Query::Tool(object.to_owned())),
        "bind" if is_path => fail(
            codes::WRONG_OPERATION,
            word,
            "binding a unix socket to a path is `create`",
            None,
        ),
        "connect" | "bind" if !is_path => match HostSpec::parse(object) {
            Ok(h) => Ok(Query::Host(
                if operation == "bind" {
                    Operation::Bind
                } else {
                    Operation::Connect
                },
                h,
            )),
            Err(e) => fail(codes::BAD_HOST, whole, e, None),
        },
        _ => {
            let operations = match operation {
                "write" => OperationSet::WRITE,
                // In a question, `read` is reading alone. In a rule, it includes `list`.
                "read" => OperationSet::from_iter([Operation::Read]),
                other => OperationSet::from_word(other).unwrap_or_default(),
            };
            Ok(Query::Path(operations, path(object, start, subject)?))
        }
    }
}

/// One path, in the syntax of patterns, without wildcards.
fn path(object: &str, start: usize, subject: &Subject) -> Result<Vec<u8>, QuestionError> {
    let e = expand(object, subject, Mode::Pattern).map_err(|e| QuestionError {
        code: e.code,
        from: start + e.from,
        to: start + e.to,
        message: e.message,
        help: e.help,
        replacement: e.replacement,
    })?;
    let p = match PathPattern::parse(&e.text) {
        Ok(p) => p,
        Err(err) => {
            let at = start + e.origin(err.offset);
            return fail(codes::BAD_PATH, (at, at + 1), err.message, err.help);
        }
    };
    match p.sequences.as_slice() {
        [one] => match one.as_literal() {
            Some(bytes) => Ok(bytes),
            None => wildcard(object, start),
        },
        _ => wildcard(object, start),
    }
}

fn wildcard<T>(object: &str, start: usize) -> Result<T, QuestionError> {
    let at = object.find(['*', '?', '[', '{']).unwrap_or(0);
    fail(
        codes::BAD_TEST,
        (start + at, start + at + 1),
        "a question is about one object, not a pattern",
        "write one path; `\\*` is the character itself".to_owned(),
    )
}

/// A question from a command line: an operation and its object.
///
/// # Errors
/// The error, without a place.
pub fn question(text: &str, subject: &Subject) -> Result<Query, Diagnostics> {
    parse(text, subject).map_err(|e| {
        let mut d = Diagnostic::error(e.code, e.message);
        let mut sources = Sources::default();
        let file = sources.add("the question", text);
        // A question has only one line. In a text with more lines, the place would be wrong.
        if let (Some(before), false) = (text.get(..e.from), text.contains('\n')) {
            let span = Span {
                file,
                start: e.from,
                end: e.to,
                line: 1,
                column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
            };
            d = d.at(span, "");
        }
        d.help.extend(e.help);
        d.help
            .extend(e.replacement.map(|r| format!("did you mean `{r}`?")));
        Diagnostics {
            items: vec![d],
            sources,
        }
    })
}

/// The layers that a test is for.
fn layers(node: &Rc<Node>, report: &mut Report) -> Vec<&'static str> {
    let mut out = Vec::new();
    for (n, t) in texts(node, "`layers`", false, report).unwrap_or_default() {
        if let Some(known) = LAYERS.iter().find(|l| **l == t) {
            if !out.contains(known) {
                out.push(*known);
            }
            continue;
        }
        let mut d = Diagnostic::error(codes::BAD_TEST, format!("{} is not a layer", quoted(t)))
            .at(n.span, "unknown");
        d = match nearest(t, LAYERS) {
            Some(near) => d.suggest(n.span, near, format!("did you mean `{near}`?")),
            None => d.help(format!("the layers are {}", one_of(&LAYERS))),
        };
        report.push(d);
    }
    out
}

/// An entry of `tests`.
pub(crate) fn test(node: &Rc<Node>, subject: &Subject, report: &mut Report) -> Option<PolicyTest> {
    let known = ["allow", "deny", "ask", "platforms", "layers"];
    let f = fields(node, "a test", &known, report)?;
    let layers = f.get("layers").map_or_else(Vec::new, |n| layers(n, report));
    let found: Vec<_> = ACTIONS
        .iter()
        .filter_map(|(k, a)| f.get(k).map(|n| (*k, *a, n)))
        .collect();
    let (expect, question) = match found[..] {
        [(_, action, n)] => (action, n),
        [] => {
            let others = ["platforms", "layers"];
            let others = others.iter().filter(|k| f.get(k).is_some()).count();
            if let super::node::Kind::Map(entries) = &node.kind
                && entries.len() == others
            {
                report.error(
                    codes::BAD_TEST,
                    "the test is empty",
                    node.span,
                    "",
                    "write `allow: read /etc/hosts`",
                );
            }
            return None;
        }
        [(first, ..), (second, ..), ..] => {
            report.error(
                codes::BAD_TEST,
                format!(
                    "a test expects one decision, and this one expects `{first}` and `{second}`"
                ),
                f.key_span(second).unwrap_or(f.span),
                "a second decision",
                "write two tests, each behind a `-`",
            );
            return None;
        }
    };
    let platforms = f.get("platforms");
    let platforms = platforms.and_then(|n| super::value::platforms(n, report));
    let t = nonempty(question, "the question", report)?;
    // A question about a repository is skipped if there is no repository.
    let object = t.split_once(' ').map_or("", |(_, object)| object);
    if for_each_value(object, subject, Use::Other).is_empty() {
        return None;
    }
    match parse(t, subject) {
        Ok(query) => Some(PolicyTest {
            expect,
            query,
            platforms,
            layers,
            span: question.span,
        }),
        Err(e) => {
            let span = question.part(e.from, e.to);
            let mut d = Diagnostic::error(e.code, e.message).at(span, "");
            d.help.extend(e.help);
            if let Some(r) = e.replacement
                && span.end - span.start == e.to - e.from
            {
                let line = format!("did you mean `{r}`?");
                d = d.suggest(span, r, line);
            }
            report.push(d);
            None
        }
    }
}
/// The tests of a policy.
pub(crate) fn tests(f: &Fields<'_>, subject: &Subject, report: &mut Report) -> Vec<PolicyTest> {
    let Some(n) = f.get("tests") else {
        return Vec::new();
    };
    list(n, "`tests`", true, report)
        .unwrap_or_default()
        .iter()
        .filter_map(|t| test(t, subject, report))
        .collect()
}
