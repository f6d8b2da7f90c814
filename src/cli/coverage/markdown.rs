//! The table as Markdown.

use super::short::{gaps, refused};
use super::{Rows, cells, closers, counts, lines, name, sign, titled};
use polc::policy::Policy;
use polc::proof::Coverage;
use std::fmt::Write;

/// Escapes text for a cell of a Markdown table.
fn escape_markdown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// The text.
pub(super) fn render(policy: &Policy, table: &Coverage, rows: Rows) -> String {
    let mut out = String::new();
    if rows == Rows::None {
        for text in refused(table) {
            let _ = writeln!(out, "- refused though allowed: {}", escape_markdown(&text));
        }
    } else {
        for refused in &table.refused {
            let line = escape_markdown(&refused.line(policy));
            let _ = writeln!(out, "- refused though allowed: {line}");
        }
    }
    if !table.refused.is_empty() {
        out.push('\n');
    }
    if rows == Rows::None {
        write_counts(&mut out, table);
    } else {
        write_rows(&mut out, policy, table, rows);
    }
    out.push('\n');
    for layer in &table.layers {
        if let Some(why) = &layer.refused {
            let _ = writeln!(
                out,
                "- {} enforces nothing here: {}",
                layer.id,
                escape_markdown(why)
            );
        }
    }
    if rows == Rows::None {
        for text in gaps(policy, table) {
            let _ = writeln!(out, "- gets through: {}", escape_markdown(&text));
        }
        return out;
    }
    for gap in &table.gaps {
        let _ = writeln!(
            out,
            "- gets through: {} {} (denied by {}); {}",
            gap.operation,
            escape_markdown(&gap.object.to_string()),
            escape_markdown(name(policy, gap.rule)),
            closers(table, gap)
        );
    }
    out
}

fn write_rows(out: &mut String, policy: &Policy, table: &Coverage, rows: Rows) {
    let heads: Vec<&str> = table
        .layers
        .iter()
        .map(|l| l.id)
        .chain(["together"])
        .collect();
    let _ = writeln!(out, "| rule | operations | {} |", heads.join(" | "));
    let _ = writeln!(out, "|---|---|{}", "---|".repeat(heads.len()));
    for line in lines(table, rows) {
        let cells: Vec<&str> = cells(table, line.row)
            .map(|(_, _, word)| {
                if line.row.decides {
                    word
                } else {
                    "decides nothing"
                }
            })
            .collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            escape_markdown(&titled(policy, line.rule)),
            line.operations(),
            cells.join(" | ")
        );
    }
}

fn write_counts(out: &mut String, table: &Coverage) {
    let counted = counts(table);
    // Rows that could not be compared are rare, so the column is shown only if there are some.
    let has = |at: usize| counted.iter().any(|(_, c)| c[at].1 > 0);
    let columns: Vec<usize> = counted.first().map_or_else(Vec::new, |(_, c)| {
        (0..c.len())
            .filter(|at| c[*at].0.is_some() || has(*at))
            .collect()
    });
    let heads: Vec<&str> = columns
        .iter()
        .map(|at| sign(counted[0].1[*at].0).1)
        .collect();
    let _ = writeln!(out, "| layer | {} |", heads.join(" | "));
    let _ = writeln!(out, "|---|{}", "---|".repeat(heads.len()));
    for (id, of) in &counted {
        let numbers: Vec<String> = columns.iter().map(|at| of[*at].1.to_string()).collect();
        let _ = writeln!(out, "| {id} | {} |", numbers.join(" | "));
    }
}
