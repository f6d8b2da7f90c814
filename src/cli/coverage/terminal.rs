//! The table for terminals.
//!
//! If the columns with words do not fit, they become as narrow as their signs, with numbers as heads.

use super::short::{gaps, refused};
use super::{Line, Rows, cells, closers, counts, lines, name, place, sign, titled};
use crate::cli::output::Paint;
use polc::policy::Policy;
use polc::proof::Coverage;
use std::fmt::Write;

/// Most refusals that are told without `--all`.
const TOLD: usize = 10;

/// The text.
pub(super) fn render(
    policy: &Policy,
    table: &Coverage,
    rows: Rows,
    paint: Paint,
    columns: usize,
) -> String {
    let mut out = String::new();
    if !table.refused.is_empty() {
        let s = if table.refused.len() == 1 { "" } else { "s" };
        let title = format!(
            "{} allowed thing{s} that a test of the policy names and a layer refuses:",
            table.refused.len()
        );
        let _ = writeln!(out, "{}", paint.bad(&title));
        let told = match rows {
            Rows::All | Rows::None => usize::MAX,
            Rows::NotKept => TOLD,
        };
        if rows == Rows::None {
            for text in refused(table) {
                let _ = writeln!(out, "  {text}");
            }
        } else {
            for refused in table.refused.iter().take(told) {
                let _ = writeln!(out, "  {}", refused.line(policy));
            }
        }
        if table.refused.len() > told {
            let more = table.refused.len() - told;
            let _ = writeln!(out, "  and {more} more (--all shows them)");
        }
        out.push('\n');
    }
    if rows != Rows::None {
        write_rows(&mut out, policy, table, rows, paint, columns);
    }
    for layer in &table.layers {
        if let Some(why) = &layer.refused {
            let _ = writeln!(out, "{} enforces nothing here: {why}", layer.id);
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
        out.push_str("nothing that the policy denies gets through\n");
        return out;
    }
    let s = if table.gaps.len() == 1 {
        " gets"
    } else {
        "s get"
    };
    let title = format!(
        "{} gap{s} through all layers of the table:",
        table.gaps.len()
    );
    let _ = writeln!(out, "{}", paint.bad(&title));
    if rows == Rows::None {
        for text in gaps(policy, table) {
            let _ = writeln!(out, "  {text}");
        }
        return out;
    }
    for gap in &table.gaps {
        let _ = writeln!(
            out,
            "  {} {}: denied by {} ({}); {}",
            gap.operation,
            gap.object,
            name(policy, gap.rule),
            place(policy, gap.rule),
            closers(table, gap)
        );
    }
    out
}

/// Ends a line, without blanks at its end.
fn trim(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

/// The width of a column with words.
const WIDE: usize = 12;
/// The width of a column with signs.
const NARROW: usize = 2;

fn write_rows(
    out: &mut String,
    policy: &Policy,
    table: &Coverage,
    rows: Rows,
    paint: Paint,
    columns: usize,
) {
    let lines = lines(table, rows);
    let rules: Vec<String> = lines.iter().map(|l| titled(policy, l.rule)).collect();
    let operations: Vec<String> = lines.iter().map(Line::operations).collect();
    let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let first = widest(&mut rules.iter().map(|r| r.chars().count())).max(4);
    let second = widest(&mut operations.iter().map(|o| o.len())).max(10);
    let heads: Vec<&str> = table
        .layers
        .iter()
        .map(|l| l.id)
        .chain(["together"])
        .collect();
    let wide = first + 2 + second + heads.len() * (WIDE + 2) <= columns;
    let (first, second) = if wide {
        (first, second)
    } else {
        fitting(
            columns.saturating_sub(heads.len() * (NARROW + 1) + 2),
            first,
            second,
        )
    };
    let mut head = format!("{:<first$}  {:<second$}", "rule", "operations");
    for (i, id) in heads.iter().enumerate() {
        let _ = if wide {
            write!(head, "  {id:<WIDE$}")
        } else {
            write!(head, " {:>NARROW$}", i + 1)
        };
    }
    let _ = writeln!(out, "{}", paint.head(head.trim_end()));
    for ((line, rule), operations) in lines.iter().zip(&rules).zip(&operations) {
        let rule = wrapped(rule, first, &['/', '-', ' ']);
        let operations = wrapped(operations, second, &[' ']);
        for i in 0..rule.len().max(operations.len()) {
            let part = |list: &[String]| list.get(i).cloned().unwrap_or_default();
            let _ = write!(
                out,
                "{:<first$}  {:<second$}",
                part(&rule).trim_end(),
                part(&operations).trim_end()
            );
            if i == 0 {
                write_cells(out, table, line, paint, wide);
            }
            trim(out);
        }
    }
    let hidden = table.rows.len() - lines.iter().map(|l| l.operations.len()).sum::<usize>();
    if hidden > 0 {
        let _ = writeln!(
            out,
            "and {hidden} more rows that every layer keeps (--all shows them)"
        );
    }
    if !wide {
        write_legend(out, &heads, columns);
    }
}

fn write_cells(out: &mut String, table: &Coverage, line: &Line<'_>, paint: Paint, wide: bool) {
    if !line.row.decides {
        out.push_str(if wide {
            "  - decides nothing"
        } else {
            "  decides nothing"
        });
        return;
    }
    for (_, sign, word) in cells(table, line.row) {
        let text = if wide {
            format!("{:<WIDE$}", format!("{sign} {word}"))
        } else {
            format!("{sign:>NARROW$}")
        };
        let text = match sign {
            '=' => paint.good(&text),
            '<' => paint.middle(&text),
            '/' => text,
            _ => paint.bad(&text),
        };
        out.push_str(if wide { "  " } else { " " });
        out.push_str(&text);
    }
}

/// The widths of the first two columns, which share this room. Neither takes more than it needs.
fn fitting(room: usize, first: usize, second: usize) -> (usize, usize) {
    const LEAST: usize = 14;
    if first + second <= room {
        return (first, second);
    }
    let second = second.min((room / 2).max(room.saturating_sub(first)).max(LEAST));
    (first.min(room.saturating_sub(second).max(LEAST)), second)
}

/// Lines of at most this width. If possible, a line breaks after one of these characters.
fn wrapped(text: &str, width: usize, behind: &[char]) -> Vec<String> {
    let mut out = vec![String::new()];
    for word in text.split_inclusive(behind) {
        for c in word.chars() {
            let fits = |line: &String| line.trim_end().chars().count() < width;
            match out.last_mut() {
                Some(line) if fits(line) || c == ' ' => line.push(c),
                // The word began on this line. Its beginning moves to the next line.
                Some(line) => {
                    let kept = line.rfind(behind).map_or(line.len(), |at| at + 1);
                    let mut next = line.split_off(kept);
                    next.push(c);
                    out.push(next);
                }
                None => {}
            }
        }
    }
    out
}

fn write_legend(out: &mut String, heads: &[&str], columns: usize) {
    let numbered = heads.iter().enumerate();
    let words: Vec<String> = numbered.map(|(i, id)| format!("{} {id}", i + 1)).collect();
    let mut line = String::from("columns: ");
    for (i, word) in words.iter().enumerate() {
        let end = if i + 1 == words.len() { "" } else { ", " };
        if line.len() + word.len() + end.len() > columns {
            let _ = writeln!(out, "{}", line.trim_end());
            line = "  ".to_owned();
        }
        line.push_str(word);
        line.push_str(end);
    }
    let _ = writeln!(out, "{line}");
    out.push_str("signs: = exact, < stricter, > looser, x mixed, . unenforced,\n  - no artifact, / for another platform, ? unknown\n");
}
