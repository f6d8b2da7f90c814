//! The table as a page: one file, without scripts and without anything from another host.

use super::{Rows, cells, closers, counts, lines, name, place, sign};
use anyhow::Context;
use askama::Template;
use polc::policy::Policy;
use polc::proof::{Cell, Coverage};

#[derive(Template)]
#[template(path = "coverage/coverage.html", escape = "html")]
struct Page<'p> {
    policy: &'p str,
    description: Option<&'p str>,
    safe: bool,
    exact: bool,
    heads: Vec<Head>,
    rows: Vec<PageRow<'p>>,
    gaps: Vec<PageGap<'p>>,
    /// What a layer refuses and a test allows.
    refused: Vec<String>,
    version: &'static str,
}

struct Head {
    id: String,
    counts: Vec<(&'static str, usize)>,
    refused: Option<String>,
}

struct PageRow<'p> {
    rule: &'p str,
    /// Where it is, and its platforms where they are not all.
    place: String,
    operations: String,
    decides: bool,
    cells: Vec<PageCell<'p>>,
}

struct PageCell<'p> {
    layer: &'p str,
    word: &'static str,
    /// The class for its colour: the word without blanks.
    class: &'static str,
    sign: char,
    examples: Vec<String>,
}

struct PageGap<'p> {
    what: String,
    rule: &'p str,
    place: String,
    closers: String,
}

fn cell<'p>(
    layer: &'p str,
    (cell, sign, word): (Option<&Cell>, char, &'static str),
) -> PageCell<'p> {
    PageCell {
        layer,
        word,
        class: match sign {
            '-' | '/' => "unenforced",
            _ => word,
        },
        sign,
        examples: cell
            .iter()
            .flat_map(|c| &c.witnesses)
            .take(6)
            .map(|w| {
                let does = if w.layer_allows {
                    "lets through"
                } else {
                    "refuses"
                };
                format!("{does} {}", w.object)
            })
            .collect(),
    }
}

/// The page.
pub(super) fn render(policy: &Policy, table: &Coverage) -> anyhow::Result<String> {
    let refused = |id: &str| {
        let layer = table.layers.iter().find(|l| l.id == id);
        layer.and_then(|l| l.refused.clone())
    };
    let ids: Vec<&str> = table
        .layers
        .iter()
        .map(|l| l.id)
        .chain(["together"])
        .collect();
    let counted = counts(table);
    let page = Page {
        policy: &policy.name,
        description: policy.description.as_deref(),
        safe: table.is_safe(),
        exact: table.is_exact(),
        heads: ids
            .iter()
            .map(|id| Head {
                refused: refused(id),
                counts: counted
                    .iter()
                    .filter(|(of, _)| of == id)
                    .flat_map(|(_, c)| c)
                    .filter(|c| c.1 > 0)
                    .map(|(f, n)| (sign(*f).1, *n))
                    .collect(),
                id: (*id).to_owned(),
            })
            .collect(),
        rows: lines(table, Rows::All)
            .iter()
            .map(|l| PageRow {
                rule: name(policy, l.rule),
                place: match l.rule.and_then(|id| policy.rule(id).platforms.limit()) {
                    Some(only) => format!("{} ({only})", place(policy, l.rule)),
                    None => place(policy, l.rule),
                },
                operations: l.operations(),
                decides: l.row.decides,
                cells: ids
                    .iter()
                    .zip(cells(table, l.row))
                    .map(|(id, c)| cell(id, c))
                    .collect(),
            })
            .collect(),
        gaps: table
            .gaps
            .iter()
            .map(|g| PageGap {
                what: format!("{} {}", g.operation, g.object),
                rule: name(policy, g.rule),
                place: place(policy, g.rule),
                closers: closers(table, g),
            })
            .collect(),
        refused: table.refused.iter().map(|r| r.line(policy)).collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    page.render().context("cannot make the page")
}
