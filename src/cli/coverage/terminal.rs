//! The table for terminals.

use super::{Line, Rows, cells, closers, counts, lines, name, place, sign};
use polc::policy::Policy;
use polc::proof::Coverage;
use std::fmt::Write;

/// The text.
pub(super) fn render(policy: &Policy, table: &Coverage, rows: Rows) -> String {
    let mut out = String::new();
    if rows != Rows::None {
        write_rows(&mut out, policy, table, rows);
    }
    for layer in &table.layers {
        if let Some(why) = &layer.refused {
            let _ = writeln!(out, "{} counts for nothing here: {why}", layer.id);
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    for (id, counted) in counts(table) {
        let texts: Vec<String> = counted
            .iter()
            .filter(|c| c.1 > 0)
            .map(|(f, n)| format!("{n} {}", sign(*f).1))
            .collect();
        let _ = writeln!(out, "{id:<9} {}", texts.join(", "));
    }
    out.push('\n');
    if table.gaps.is_empty() {
        out.push_str("nothing gets through that the policy denies\n");
        return out;
    }
    let s = if table.gaps.len() == 1 {
        " gets"
    } else {
        "s get"
    };
    let _ = writeln!(
        out,
        "{} gap{s} through all layers of the table:",
        table.gaps.len()
    );
    for gap in &table.gaps {
        let _ = writeln!(
            out,
            "  {} {}: denied by {} ({}); {}",
            gap.operation,
            gap.object,
            name(policy, gap.rule),
            place(policy, gap.rule),
            closers(gap)
        );
    }
    out
}

/// Ends a line, without blanks at its end.
fn trim(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

fn write_rows(out: &mut String, policy: &Policy, table: &Coverage, rows: Rows) {
    let lines = lines(table, rows);
    let rules: Vec<&str> = lines.iter().map(|l| name(policy, l.rule)).collect();
    let operations: Vec<String> = lines.iter().map(Line::operations).collect();
    let width =
        |texts: &mut dyn Iterator<Item = usize>, least: usize| texts.max().unwrap_or(0).max(least);
    let first = width(&mut rules.iter().map(|r| r.chars().count()), 4);
    let second = width(&mut operations.iter().map(|o| o.len()), 10);
    const COLUMN: usize = 12;
    let heads = table.layers.iter().map(|l| l.id).chain(["together"]);
    let _ = write!(out, "{:<first$}  {:<second$}", "rule", "operations");
    for head in heads {
        let _ = write!(out, "  {head:<COLUMN$}");
    }
    trim(out);
    for ((line, rule), operations) in lines.iter().zip(&rules).zip(&operations) {
        let _ = write!(out, "{rule:<first$}  {operations:<second$}");
        for (_, sign, word) in cells(table, line.row) {
            let text = if line.row.decides {
                format!("{sign} {word}")
            } else {
                "- decides nothing".to_owned()
            };
            let _ = write!(out, "  {text:<COLUMN$}");
            if !line.row.decides {
                break;
            }
        }
        trim(out);
    }
    let hidden = table.rows.len() - lines.iter().map(|l| l.operations.len()).sum::<usize>();
    if hidden > 0 {
        let _ = writeln!(
            out,
            "and {hidden} more that every layer keeps (--all shows them)"
        );
    }
}
