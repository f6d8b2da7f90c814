//! Diagnostics for people: annotate-snippets underlines the text.

use super::{Diagnostic, Diagnostics, Label, Severity};
use crate::policy::{SourceFile, Sources, Span, visible};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet};
use std::borrow::Cow;

/// The style of rendered diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Plain text.
    #[default]
    Plain,
    /// With the terminal's colours.
    Coloured,
}

/// Longer lines are not shown, because they would hide the message.
const MAX_LINE: usize = 2_000;

/// Renders them one after the other, with a blank line between. Ends in a newline if there are any.
#[must_use]
pub fn render(diagnostics: &Diagnostics, style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Coloured => Renderer::styled(),
    }
    .decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for (i, d) in diagnostics.items.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        out.push_str(&one(d, &diagnostics.sources, &renderer));
        out.push('\n');
    }
    out
}

fn one(d: &Diagnostic, sources: &Sources, renderer: &Renderer) -> String {
    let level = match d.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group = level
        .primary_title(visible(&d.message))
        .id(d.code)
        .elements(Vec::<annotate_snippets::Message<'_>>::new());
    // One snippet for each file. The primary one comes first.
    let mut labels: Vec<(AnnotationKind, &Label)> = Vec::new();
    labels.extend(d.primary.as_ref().map(|l| (AnnotationKind::Primary, l)));
    labels.extend(d.secondary.iter().map(|l| (AnnotationKind::Context, l)));
    while let Some((_, first)) = labels.first() {
        let file = first.span.file;
        let (here, rest): (Vec<_>, Vec<_>) =
            labels.into_iter().partition(|(_, l)| l.span.file == file);
        labels = rest;
        let Some(source) = sources.get(file) else {
            continue;
        };
        // Places of one file that are far apart are shown separately. Otherwise all lines between them would be shown.
        let window = Window::around(source, here.iter().map(|(_, l)| l.span));
        group = match window {
            Some(window) => {
                let annotations: Vec<_> = here
                    .iter()
                    .map(|(kind, l)| {
                        let a = kind.span(window.range(l.span));
                        if l.text.is_empty() {
                            a
                        } else {
                            a.label(visible(&l.text))
                        }
                    })
                    .collect();
                group.element(
                    Snippet::source(window.text)
                        .line_start(window.line)
                        .path(visible(&source.name))
                        .annotations(annotations),
                )
            }
            None => here.iter().fold(group, |g, (_, l)| {
                g.element(
                    Origin::path(visible(&source.name))
                        .line(l.span.line as usize)
                        .char_column(l.span.column as usize),
                )
            }),
        };
    }
    for help in &d.help {
        group = group.element(Level::HELP.message(visible(help)));
    }
    let mut groups = vec![group];
    if let Some(s) = &d.suggestion
        && let Some(source) = sources.get(s.span.file)
        && let Some(window) = Window::around(source, [s.span].into_iter())
    {
        let range = window.range(s.span);
        groups.push(
            Group::with_title(Level::HELP.secondary_title(visible(&s.text))).element(
                Snippet::source(window.text)
                    .line_start(window.line)
                    .path(visible(&source.name))
                    .patch(Patch::new(range, s.replacement.clone())),
            ),
        );
    }
    renderer.render(&groups)
}

/// The lines of a file that a message shows.
struct Window<'a> {
    text: Cow<'a, str>,
    /// The number of its first line.
    line: usize,
    /// Where it begins in the file.
    start: usize,
}

impl<'a> Window<'a> {
    fn around(source: &'a SourceFile, spans: impl Iterator<Item = Span>) -> Option<Self> {
        let text: &str = &source.text;
        let (mut start, mut end, mut line) = (usize::MAX, 0, usize::MAX);
        for s in spans {
            start = start.min(s.start);
            end = end.max(s.end);
            line = line.min(s.line as usize);
        }
        let start = text
            .get(..start.min(text.len()))?
            .rfind('\n')
            .map_or(0, |i| i + 1);
        let end = end.clamp(start, text.len());
        let end = text.get(end..)?.find('\n').map_or(text.len(), |i| end + i);
        let text = text.get(start..end)?;
        if line == 0 || text.lines().any(|l| l.len() > MAX_LINE) {
            return None;
        }
        // Line ends of Windows are not shown. A blank in their place keeps the offsets right.
        let text = if text.contains('\r') {
            Cow::Owned(text.replace('\r', " "))
        } else {
            Cow::Borrowed(text)
        };
        Some(Self { text, line, start })
    }

    fn range(&self, span: Span) -> std::ops::Range<usize> {
        let start = span.start.saturating_sub(self.start).min(self.text.len());
        let end = span
            .end
            .saturating_sub(self.start)
            .clamp(start, self.text.len());
        start..end
    }
}
