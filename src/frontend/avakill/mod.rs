//! Reads AvaKill's policy files, as users of AvaKill 1.x have them.
//!
//! A file is recognised by its `policies` key. A profile (`agent` and `sandbox`, no rules) is recognised by its `agent`
//! key. polc checks the file strictly ([`mod@file`]) and lowers its rules in order ([`lower`]): in both languages the
//! first rule that matches decides.
//!
//! # What the file means here
//!
//! | in the file | in the IR |
//! |---|---|
//! | tools (canonical or an agent's own names, globs, `all`) | the operations that they stand for ([`tools`]), and a rule over `tools` for the gate |
//! | `require_approval` | ask: what cannot ask denies |
//! | `enforcement: advisory` on a denial | allow, as AvaKill does; `soft` denies |
//! | `path_match`, `path_not_match` on a file | trees, on a `/` boundary, and `except` |
//! | `args_match` on a file's path | paths with that text in a name, where it says enough |
//! | `args_match` on a URL | that host and those below, where it names one |
//! | `command_allowlist` | programs by base name |
//! | `shell_safe`, `content_scan`, other arguments, `rate_limit` | the gate alone, with a note |
//! | `sandbox` | rules before and behind those of the file ([`base`]), limits, environment |
//!
//! Rules keep the names from the file, shortened to what every target can write. The parts of one rule for the kernel
//! layers are called `name/paths`, `name/commands`, `name/programs` and `name/hosts`.
//!
//! `~`, `$HOME`, `$PWD`, `$TMPDIR` and `__workspace__` are the subject's paths. AvaKill's self-protection, its
//! approvals and its hooks are not in its files, so polc does not have them.

mod base;
mod enforceable;
mod file;
mod lower;
mod paths;
mod tools;

use super::native::node::Node;
use super::native::reader::Report;
use super::native::{subject, value};
use super::{LoadOptions, Loaded};
use crate::diagnostics::{Diagnostic, Diagnostics, Label, Severity, codes};
use crate::policy::{Environment, FileId, Note, Policy};
use std::rc::Rc;

/// Whether the file is one of AvaKill's.
pub(crate) fn recognises(root: &Node) -> bool {
    let has = |key| root.get(key).is_some();
    !has("rules") && (has("policies") || (has("agent") && has("sandbox")))
}

/// Reads one.
///
/// # Errors
/// All errors in the file.
pub(crate) fn load(
    root: &Rc<Node>,
    file: FileId,
    options: &LoadOptions,
    mut report: Report,
) -> Result<Loaded, Diagnostics> {
    let places = LoadOptions {
        auto_without_subject: true,
        ..options.clone()
    };
    let subject = subject::subject(&[], &places, &mut report);
    let read = file::read(root, &subject, &mut report);
    let Some(read) = read.filter(|_| !report.failed()) else {
        return Err(report.finish());
    };
    let sandbox = read.sandbox.as_ref();
    let base = base::Base::new(sandbox, options, &mut report.sources)?;
    let mut out = lower::Output::default();
    base.before(sandbox, read.agent.as_ref(), &mut out);
    lower::rules(&read.policies, &base, &mut out);
    base.after(
        sandbox,
        read.policies.is_empty(),
        read.default_action,
        &mut out,
    );
    base.notes(sandbox, read.default_action, read.default_span, &mut out);
    if let Some(span) = read.notifications {
        out.note(None, "`notifications` are AvaKill's own", span);
    }

    let name = match &read.agent {
        Some(a) => a.name.clone(),
        None => None,
    };
    let name = name.unwrap_or_else(|| {
        let path = report.sources.get(file).map_or("", |f| f.name.as_str());
        let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
        last.trim_end_matches(".yaml")
            .trim_end_matches(".yml")
            .to_owned()
    });
    tell(&out.notes, &mut report);
    let mut policy = Policy::of_rules(&policy_name(&name), read.default_action, out.rules);
    policy.notes = out.notes;
    policy.default_span = read.default_span;
    policy.subject = subject;
    policy.description = read
        .agent
        .and_then(|a| a.description)
        .filter(|d| !d.is_empty());
    if let Some(s) = &read.sandbox {
        policy.limits = s.limits.clone();
        policy.environment = Environment {
            pass: (!s.inherit_env).then(Vec::new),
            set: Vec::new(),
        };
    }
    let warnings = report.finish();
    policy.sources = warnings.sources.clone();
    Ok(Loaded {
        policy,
        warnings,
        native: false,
        files: Vec::new(),
    })
}

/// Reports the notes, each text once with all its places.
fn tell(notes: &[Note], report: &mut Report) {
    let mut said: Vec<Diagnostic> = Vec::new();
    for n in once(notes) {
        match said.iter_mut().find(|d| d.message == n.text) {
            Some(d) => {
                let again = Label {
                    span: n.span,
                    text: String::new(),
                };
                d.secondary.push(again);
            }
            None => said.push(Diagnostic {
                severity: Severity::Note,
                ..Diagnostic::error(codes::PEER_MEANING, n.text.clone()).at(n.span, "")
            }),
        }
    }
    for d in said {
        report.push(d);
    }
}

/// A note that is the same for files, programs and hosts appears once for a rule.
fn once(notes: &[Note]) -> Vec<Note> {
    let mut out: Vec<(Vec<&str>, &str, &Note)> = Vec::new();
    for note in notes {
        let (kind, text) = match note.text.split_once(": ") {
            Some((kind @ ("files" | "programs" | "hosts"), text)) => (Some(kind), text),
            _ => (None, note.text.as_str()),
        };
        let same = |o: &&mut (Vec<&str>, &str, &Note)| {
            kind.is_some()
                && !o.0.is_empty()
                && o.1 == text
                && o.2.rule == note.rule
                && o.2.span == note.span
        };
        match (out.iter_mut().find(same), kind) {
            (Some(known), Some(kind)) => known.0.push(kind),
            _ => out.push((kind.into_iter().collect(), text, note)),
        }
    }
    out.into_iter()
        .map(|(mut kinds, text, note)| {
            kinds.dedup();
            let kinds = kinds.join(", ");
            let colon = if kinds.is_empty() { "" } else { ": " };
            Note {
                text: format!("{kinds}{colon}{text}"),
                ..note.clone()
            }
        })
        .collect()
}

/// A valid name for the policy.
fn policy_name(wanted: &str) -> String {
    let mut name: String = wanted
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    if !value::is_name(&name) {
        name = format!("avakill-{name}").chars().take(63).collect();
    }
    if value::is_name(&name) {
        name
    } else {
        "avakill".to_owned()
    }
}
