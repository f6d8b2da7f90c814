//! What `run` prints on standard error before the program starts: at most four lines, or everything.

use polc::diagnostics::Style;
use polc::enforce::run::{Item, Report};
use polc::fidelity::show_bytes;
use std::fmt::Write;

/// A start, as it is printed.
pub struct Start<'a> {
    /// The policy: its file or its built-in name, and why it is used.
    pub policy: &'a str,
    /// The workspace, if the policy has one.
    pub workspace: Option<&'a [u8]>,
    /// What to do about this program or this environment, one line each.
    pub advice: &'a [String],
    /// What is enforced, and what is not.
    pub report: &'a Report,
    /// Colours.
    pub style: Style,
}

impl Start<'_> {
    /// At most four lines of text.
    #[must_use]
    pub fn short(&self) -> String {
        let mut out = self.head();
        self.line(
            &mut out,
            Paint::Plain,
            &format!("in force: {}", shorts(&self.report.in_force, usize::MAX)),
        );
        let mut parts = Vec::new();
        if !self.report.not_kept.is_empty() {
            let can = shorts(&self.report.not_kept, SHOWN);
            parts.push(format!("not kept: the program can {can}"));
        }
        if !self.report.stricter.is_empty() {
            let lost = shorts(&self.report.stricter, SHOWN);
            parts.push(format!("refused although allowed: {lost}"));
        }
        if !parts.is_empty() {
            let text = format!("{} (`--explain-start` says why)", parts.join("; "));
            self.line(&mut out, Paint::Warning, &text);
        }
        let todo: Vec<&str> = self.todo().collect();
        if !todo.is_empty() {
            self.line(&mut out, Paint::Warning, &todo.join("; "));
        }
        out
    }

    /// What the user has to do for this program or this workspace.
    fn todo(&self) -> impl Iterator<Item = &str> {
        let lines = self.advice.iter().chain(&self.report.to_do);
        lines.map(String::as_str)
    }

    /// Everything, one line for each.
    #[must_use]
    pub fn long(&self) -> String {
        let mut out = self.head();
        self.list(&mut out, "in force:", Paint::Plain, &self.report.in_force);
        self.list(
            &mut out,
            "not kept in every case:",
            Paint::Warning,
            &self.report.not_kept,
        );
        self.list(
            &mut out,
            "refused although allowed:",
            Paint::Warning,
            &self.report.stricter,
        );
        for line in self.todo() {
            self.line(&mut out, Paint::Warning, line);
        }
        out
    }

    fn head(&self) -> String {
        let mut out = String::new();
        let workspace = self.workspace.map_or_else(String::new, |path| {
            format!("; workspace {}", show_bytes(path))
        });
        let text = format!("policy {}{workspace}", self.policy);
        self.line(&mut out, Paint::Plain, &text);
        out
    }

    fn list(&self, out: &mut String, head: &str, paint: Paint, items: &[Item]) {
        if items.is_empty() {
            return;
        }
        self.line(out, paint, head);
        for item in items {
            let _ = writeln!(out, "  {}", item.long);
        }
    }

    fn line(&self, out: &mut String, paint: Paint, text: &str) {
        let _ = match (self.style, paint) {
            (Style::Plain, _) => writeln!(out, "polc: {text}"),
            (Style::Coloured, Paint::Plain) => writeln!(out, "\x1b[1mpolc:\x1b[0m {text}"),
            (Style::Coloured, Paint::Warning) => {
                writeln!(out, "\x1b[1mpolc:\x1b[0m \x1b[33m{text}\x1b[0m")
            }
        };
    }
}

#[derive(Clone, Copy)]
enum Paint {
    Plain,
    Warning,
}

/// How many items the short form shows of what is not kept, or is refused.
const SHOWN: usize = 4;

/// The short words, each once, at most `most` of them.
fn shorts(items: &[Item], most: usize) -> String {
    let mut all: Vec<&str> = Vec::new();
    for item in items {
        if !all.contains(&item.short.as_str()) {
            all.push(&item.short);
        }
    }
    let more = all.len().saturating_sub(most);
    all.truncate(most);
    if more > 0 {
        format!("{}; and {more} more", all.join("; "))
    } else {
        all.join("; ")
    }
}
