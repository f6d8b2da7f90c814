//! Diagnostics for programs: JSON, and SARIF 2.1.0 for code scanning services.

use super::{Diagnostic, Diagnostics, Label, codes};
use crate::policy::{Sources, Span};
use serde_json::{Value, json};

/// A JSON array, with one object for each diagnostic. It has `code`, `severity`, `message`, `primary` and `secondary`
/// places (`file`, `line`, `column`, `end_line`, `end_column`, `start`, `end`, `text`), `help`, and `suggestion`.
/// Columns count characters from 1. `start` and `end` count bytes.
#[must_use]
pub fn json(diagnostics: &Diagnostics) -> Value {
    Value::Array(
        diagnostics
            .items
            .iter()
            .map(|d| object(d, &diagnostics.sources))
            .collect(),
    )
}

fn object(d: &Diagnostic, sources: &Sources) -> Value {
    let label = |l: &Label| {
        let mut v = place(l.span, sources);
        v["text"] = l.text.clone().into();
        v
    };
    json!({
        "code": d.code,
        "severity": d.severity.name(),
        "message": d.message,
        "primary": d.primary.as_ref().map(label),
        "secondary": d.secondary.iter().map(label).collect::<Vec<_>>(),
        "help": d.help,
        "suggestion": d.suggestion.as_ref().map(|s| {
            let mut v = place(s.span, sources);
            v["replacement"] = s.replacement.clone().into();
            v["text"] = s.text.clone().into();
            v
        }),
    })
}

fn place(span: Span, sources: &Sources) -> Value {
    let (line, column) = end(span, sources);
    json!({
        "file": sources.get(span.file).map(|f| f.name.clone()),
        "line": span.line,
        "column": span.column,
        "end_line": line,
        "end_column": column,
        "start": span.start,
        "end": span.end,
    })
}

/// The line and column after the last character.
fn end(span: Span, sources: &Sources) -> (u32, u32) {
    let text = sources
        .get(span.file)
        .and_then(|f| f.text.get(span.start..span.end))
        .unwrap_or_default();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    match text.rsplit_once('\n') {
        None => (
            span.line,
            span.column.saturating_add(count(text.chars().count())),
        ),
        Some((before, last)) => {
            let lines = count(before.matches('\n').count() + 1);
            (
                span.line.saturating_add(lines),
                count(last.chars().count() + 1),
            )
        }
    }
}

/// A SARIF 2.1.0 log with one run.
#[must_use]
pub fn sarif(diagnostics: &Diagnostics) -> Value {
    let mut used: Vec<&str> = diagnostics.items.iter().map(|d| d.code).collect();
    used.sort_unstable();
    used.dedup();
    let rules: Vec<Value> = used
        .iter()
        .map(|code| match codes::find(code) {
            Some(c) => json!({
                "id": c.code,
                "shortDescription": {"text": c.title},
                "fullDescription": {"text": c.explanation},
                "help": {"text": c.explanation, "markdown": c.explanation},
            }),
            None => json!({"id": code}),
        })
        .collect();
    let results: Vec<Value> = diagnostics
        .items
        .iter()
        .map(|d| {
            let mut text = d.message.clone();
            for h in &d.help {
                text.push_str("\nhelp: ");
                text.push_str(h);
            }
            let mut result = json!({
                "ruleId": d.code,
                "ruleIndex": used.iter().position(|c| *c == d.code),
                "level": d.severity.name(),
                "message": {"text": text},
                "locations": d.primary.iter().map(|l| location(l, &diagnostics.sources)).collect::<Vec<_>>(),
            });
            if !d.secondary.is_empty() {
                result["relatedLocations"] = d.secondary.iter().map(|l| location(l, &diagnostics.sources)).collect();
            }
            if let Some(s) = &d.suggestion {
                result["fixes"] = json!([{
                    "description": {"text": s.text},
                    "artifactChanges": [{
                        "artifactLocation": artifact(s.span, &diagnostics.sources),
                        "replacements": [{
                            "deletedRegion": region(s.span, &diagnostics.sources),
                            "insertedContent": {"text": s.replacement},
                        }],
                    }],
                }]);
            }
            result
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "polc",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn location(l: &Label, sources: &Sources) -> Value {
    let mut v = json!({
        "physicalLocation": {
            "artifactLocation": artifact(l.span, sources),
            "region": region(l.span, sources),
        }
    });
    if !l.text.is_empty() {
        v["message"] = json!({"text": l.text});
    }
    v
}

fn artifact(span: Span, sources: &Sources) -> Value {
    // `uri` is a URI reference: a relative path in which special characters are encoded.
    let name = sources.get(span.file).map_or("", |f| f.name.as_str());
    let mut uri = String::new();
    for b in name.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(b))
            }
            b':' if name.starts_with("builtin:") => uri.push(':'),
            _ => uri.push_str(&format!("%{b:02X}")),
        }
    }
    json!({"uri": uri})
}

fn region(span: Span, sources: &Sources) -> Value {
    let (line, column) = end(span, sources);
    json!({
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": line,
        "endColumn": column,
        "byteOffset": span.start,
        "byteLength": span.end - span.start,
    })
}
