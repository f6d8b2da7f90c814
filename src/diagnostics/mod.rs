//! Diagnostics: what is wrong with a policy, a command line or an artifact, where, and what to do.
//!
//! A [`Diagnostic`] is data; [`render()`], [`json`] and [`sarif`] turn it into text. [`codes`] explains each code.

pub mod codes;
mod machine;
mod render;

pub use machine::{json, sarif};
pub use render::{Style, render};

use crate::policy::{Sources, Span};
use std::fmt;

/// The severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// polc makes nothing.
    Error,
    /// polc makes something, but it may not be what the author wanted.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// The word in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A place with a text.
#[derive(Debug, Clone)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// One line. It may be empty.
    pub text: String,
}

/// A replacement for a piece of a file.
#[derive(Debug, Clone)]
pub struct Suggestion {
    /// The text to replace.
    pub span: Span,
    /// The new text.
    pub replacement: String,
    /// One line.
    pub text: String,
}

/// One problem.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Its code, such as `P001`. `polc explain CODE` tells more.
    pub code: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// One line: no capital, no full stop, user input in backticks.
    pub message: String,
    /// The place. `None`: there is no file (a command line).
    pub primary: Option<Label>,
    /// Other places that matter.
    pub secondary: Vec<Label>,
    /// What to do, one line each.
    pub help: Vec<String>,
    /// A replacement, if there is one.
    pub suggestion: Option<Suggestion>,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            primary: None,
            secondary: Vec::new(),
            help: Vec::new(),
            suggestion: None,
        }
    }

    /// A warning.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.primary = Some(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn and_at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Adds a line of help.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Adds a replacement.
    #[must_use]
    pub fn suggest(
        mut self,
        span: Span,
        replacement: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        self.suggestion = Some(Suggestion {
            span,
            replacement: replacement.into(),
            text: text.into(),
        });
        self
    }
}

/// Diagnostics, with the files that they point into.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    /// In the order of the files.
    pub items: Vec<Diagnostic>,
    /// The files.
    pub sources: Sources,
}

impl Diagnostics {
    /// Whether there is an error among them.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(|d| d.severity == Severity::Error)
    }

    /// Appends the diagnostics of another policy.
    pub fn append(&mut self, other: Self) {
        let by = self.sources.append(other.sources);
        let moved = |span: &mut Span| span.file.0 = span.file.0.saturating_add(by);
        self.items.extend(other.items.into_iter().map(|mut d| {
            let labels = d.primary.iter_mut().chain(&mut d.secondary);
            labels.for_each(|l| moved(&mut l.span));
            if let Some(s) = &mut d.suggestion {
                moved(&mut s.span);
            }
            d
        }));
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(d: Diagnostic) -> Self {
        Self {
            items: vec![d],
            sources: Sources::default(),
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.items.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            if let Some(l) = &d.primary {
                write!(f, "{}: ", self.sources.place(l.span))?;
            }
            write!(f, "{}[{}]: {}", d.severity.name(), d.code, d.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
