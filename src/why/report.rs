//! The findings as text for people.

use super::{Finding, Log, Place, Ruling};
use crate::fidelity::show_bytes;
use crate::policy::Action;
use std::fmt::Write;

/// One refusal with its explanation, and an empty line after it.
#[must_use]
pub fn human(f: &Finding) -> String {
    let mut out = String::new();
    let d = &f.denial;
    let times = if f.count == 1 {
        String::new()
    } else {
        format!(" ({} times)", f.count)
    };
    let verb = if d.only_logged {
        "would refuse"
    } else {
        "refused"
    };
    let _ = writeln!(out, "{} {verb}: {}{times}", d.layer.name(), d.access);
    if let Some(p) = &d.program {
        let _ = writeln!(out, "  program: {}", show_bytes(p));
    }
    for (operation, ruling) in &f.rulings {
        let what = operation.map_or_else(String::new, |o| format!("{o}: "));
        match ruling {
            Ruling::Refuses(action, place) => {
                let _ = writeln!(out, "  {what}{} by {}", said(*action), named(place));
                if let Some(m) = &place.message {
                    let _ = writeln!(out, "    message: {}", show_bytes(m.as_bytes()));
                }
            }
            Ruling::Allows(place, text) => {
                let _ = writeln!(out, "  {what}allowed by {}", named(place));
                let _ = writeln!(out, "    {text}");
            }
            Ruling::Unknown(text) => {
                let _ = writeln!(out, "  {what}not known: {text}");
            }
        }
    }
    if f.rulings.is_empty() {
        let _ = writeln!(
            out,
            "  the language has no rule for this: no rule refused it, and no rule can allow it"
        );
    }
    for note in &d.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    if f.ours == Some(false) {
        let _ = writeln!(
            out,
            "  note: it was refused by `{}`, which is not made from this policy",
            show_bytes(d.by.as_deref().unwrap_or_default())
        );
    }
    if let Some(c) = &f.change {
        let _ = writeln!(out, "  to allow it, {}:", c.put);
        for line in c.yaml.lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
    out.push('\n');
    out
}

fn said(action: Action) -> &'static str {
    match action {
        Action::Ask => "not asked, because this layer cannot ask: denied",
        _ => "denied",
    }
}

fn named(place: &Place) -> String {
    let name = show_bytes(place.name.as_bytes());
    if place.rule.is_some() {
        format!("rule `{name}` at {}", place.place)
    } else {
        format!("{name} at {}", place.place)
    }
}

/// How many refusals there were, and what polc did not understand in the log: one line each.
#[must_use]
pub fn summary(log: &Log, findings: &[Finding]) -> String {
    let mut out = String::new();
    let count: u64 = findings.iter().map(|f| f.count).sum();
    if count == 0 {
        let _ = writeln!(out, "no refusal in {} lines", log.lines);
    } else {
        let _ = writeln!(
            out,
            "{count} refusals in {} lines, {} of them different",
            log.lines,
            findings.len()
        );
    }
    let unexplained = findings.iter().filter(|f| !f.is_explained()).count();
    if unexplained > 0 {
        let _ = writeln!(out, "{unexplained} of them do not name the whole object");
    }
    if log.unread_count > 0 {
        let first: Vec<String> = log.unread.iter().map(u64::to_string).collect();
        let _ = writeln!(
            out,
            "warning: polc did not understand {} lines that tell of a refusal: line {}{}",
            log.unread_count,
            first.join(", "),
            if log.unread_count > first.len() as u64 {
                ", …"
            } else {
                ""
            }
        );
    }
    if log.dropped > 0 {
        let _ = writeln!(
            out,
            "warning: {} more refusals are not shown: there are too many different ones",
            log.dropped
        );
    }
    out
}
