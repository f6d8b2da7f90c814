//! The table of results: printed, kept beside the build, and in docs/assurance.md.
//!
//! `POLC_BLESS=1 cargo nextest run --test kernel` writes that page's table. The table says how much was tried. A number
//! may change a little (one more rule, another witness) until somebody writes it again. A missing policy, a missing
//! column or a difference fails the test.

use crate::rows::Counts;
use std::collections::BTreeMap;
use std::path::Path;

/// The page's columns, in order. Other results depend on this machine.
const COLUMNS: [&str; 6] = [
    "AppArmor 6.1",
    "AppArmor 6.12",
    "Landlock 6.1",
    "Landlock 6.12",
    "SELinux 6.1",
    "SELinux 6.12",
];

const BEGIN: &str = "<!-- kernel-lab:begin -->\n";
const END: &str = "<!-- kernel-lab:end -->";

type Table = BTreeMap<String, BTreeMap<String, Counts>>;

fn cell(counts: Counts) -> String {
    format!(
        "{} / {} / {}",
        counts.agree, counts.differs, counts.unusable
    )
}

fn parse(text: &str) -> Table {
    let mut table = Table::new();
    for line in text.lines().skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        for (column, cell) in COLUMNS.iter().zip(cells.iter().skip(1)) {
            let n: Vec<usize> = cell.split(" / ").filter_map(|w| w.parse().ok()).collect();
            if let [agree, differs, unusable] = n[..] {
                let row = table.entry(cells[0].to_owned()).or_default();
                row.insert(
                    (*column).to_owned(),
                    Counts {
                        agree,
                        differs,
                        unusable,
                    },
                );
            }
        }
    }
    table
}

fn render(table: &Table) -> String {
    let mut text = format!(
        "| policy | {} |\n|---|{}\n",
        COLUMNS.join(" | "),
        "---|".repeat(COLUMNS.len())
    );
    for (policy, row) in table {
        let cells = COLUMNS.map(|c| row.get(c).map_or(String::new(), |c| cell(*c)));
        text.push_str(&format!("| {policy} | {} |\n", cells.join(" | ")));
    }
    text
}

/// Prints a column and stores it. Says what is outdated in the page, or writes it there.
pub fn record(column: &str, counts: &[(&str, Counts)]) -> String {
    println!("{column}: agree / differs / unusable");
    let mut lines = String::new();
    for (policy, count) in counts {
        println!("  {policy}: {}", cell(*count));
        lines.push_str(&format!("{policy}\t{}\n", cell(*count)));
    }
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernel-lab");
    std::fs::create_dir_all(&base).unwrap();
    std::fs::write(base.join(format!("{column}.txt")), lines).unwrap();
    if !COLUMNS.contains(&column) {
        return String::new();
    }
    // The columns come from different processes.
    let lock = std::fs::File::create(base.join("assurance.lock")).unwrap();
    lock.lock().unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/assurance.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    let mut table = parse(shown);
    if std::env::var_os("POLC_BLESS").is_some() {
        for row in table.values_mut() {
            row.remove(column);
        }
        for (policy, count) in counts {
            table
                .entry((*policy).to_owned())
                .or_default()
                .insert(column.to_owned(), *count);
        }
        table.retain(|_, row| !row.is_empty());
        std::fs::write(
            path,
            format!("{before}{BEGIN}{}{END}{after}", render(&table)),
        )
        .unwrap();
        return String::new();
    }
    let near = |a: usize, b: usize| a.abs_diff(b) * 5 <= a.max(b).max(50);
    let holds = |policy: &str, count: &Counts| {
        let shown = table.get(policy).and_then(|row| row.get(column));
        shown.is_some_and(|s| {
            s.differs == count.differs
                && near(s.agree, count.agree)
                && near(s.unusable, count.unusable)
        })
    };
    let listed = table
        .values()
        .filter(|row| row.contains_key(column))
        .count();
    let stale: Vec<&str> = counts
        .iter()
        .filter(|(p, c)| !holds(p, c))
        .map(|(p, _)| *p)
        .collect();
    if stale.is_empty() && listed == counts.len() {
        return String::new();
    }
    format!(
        "docs/assurance.md's table of {column} is stale ({}): POLC_BLESS=1 cargo nextest run --test kernel writes it anew",
        stale.join(", ")
    )
}
