//! `polc coverage`: rules by layers.

mod page;

use super::{Done, Global, Outcome, Stop, emit, input, output, targets::TargetOptions};
use polc::backend;
use polc::fidelity::{Fidelity, Witness};
use polc::policy::{Operation, Policy, RuleId};
use polc::proof::{Cell, Coverage, Gap, Row, coverage};
use polc::semantics::Meaning;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// Show what each layer keeps of each rule, what the layers keep together, and what gets through.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The layers, as the names of targets; without it all of them
    #[arg(long, value_delimiter = ',', value_name = "TARGET,…")]
    layers: Vec<String>,
    /// Exit 3 unless the layers together keep the policy: `safe` lets nothing through that it denies, `exact` is
    /// equal to it
    #[arg(long, value_enum, value_name = "HOW")]
    require: Option<Require>,
    /// How it is printed
    #[arg(long = "as", value_enum, value_name = "FORM", default_value_t = Form::Table)]
    form: Form,
    /// Where to write it. Without it: standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Every row: also those that all layers keep
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    options: TargetOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Require {
    /// Equal to the policy
    Exact,
    /// Nothing gets through that the policy denies
    Safe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A table for terminals
    Table,
    /// Markdown
    Markdown,
    /// JSON
    Json,
    /// A page that needs nothing else
    Html,
}

pub fn run(global: &Global, args: &Args) -> Done {
    let words = if args.layers.is_empty() {
        vec!["all".to_owned()]
    } else {
        args.layers.clone()
    };
    let chosen = emit::select(&words)?;
    args.options.check(backend::all()).map_err(Stop::Usage)?;
    let loaded = input::load(global, input::Purpose::Emit)?;
    let policy = &loaded.policy;
    let meaning = Meaning::new(policy);
    let is_chosen = |id: &str| chosen.iter().any(|c| c.id() == id);
    let (chosen, others): (Vec<_>, Vec<_>) = backend::all()
        .iter()
        .map(|b| (*b, args.options.target(*b, policy)))
        .partition(|(b, _)| is_chosen(b.id()));
    let table = coverage(&meaning, &chosen, &others)?;
    let text = match args.form {
        Form::Table => terminal(policy, &table, args.all),
        Form::Markdown => markdown(policy, &table, args.all),
        Form::Json => format!("{:#}\n", to_json(policy, &table)),
        Form::Html => page::render(policy, &table)?,
    };
    match &args.output {
        Some(path) => output::write_all(&[(path.clone(), text.as_bytes())])?,
        None => output::stdout(text.as_bytes())?,
    }
    let kept = match args.require {
        None => true,
        Some(Require::Exact) => table.is_exact(),
        Some(Require::Safe) => table.is_safe(),
    };
    Ok(if kept {
        Outcome::Fine
    } else {
        Outcome::BelowDemand
    })
}

/// A sign and a word: legible without colour, and where only the sign fits.
fn sign(fidelity: Option<Fidelity>) -> (char, &'static str) {
    match fidelity {
        Some(Fidelity::Exact) => ('=', "exact"),
        Some(Fidelity::Stricter) => ('<', "stricter"),
        Some(Fidelity::Looser) => ('>', "looser"),
        Some(Fidelity::Mixed) => ('x', "mixed"),
        Some(Fidelity::Unenforced) => ('.', "unenforced"),
        None => ('?', "unknown"),
    }
}

/// What a cell says: a layer without an artefact keeps nothing, though what is allowed stays allowed.
fn shown(table: &Coverage, layer: Option<usize>, cell: &Cell) -> (char, &'static str) {
    match layer {
        Some(at) if table.layers[at].refused.is_some() => ('-', "no artefact"),
        _ => sign(cell.fidelity),
    }
}

/// The cells of a row with what they say, all layers together last.
fn cells<'c>(
    table: &'c Coverage,
    row: &'c Row,
) -> impl Iterator<Item = (&'c Cell, char, &'static str)> {
    let layers = row.cells.iter().enumerate().map(|(i, c)| (Some(i), c));
    layers.chain([(None, &row.together)]).map(|(at, cell)| {
        let (sign, word) = shown(table, at, cell);
        (cell, sign, word)
    })
}

fn name(policy: &Policy, rule: Option<RuleId>) -> &str {
    rule.map_or("default_action", |id| &policy.rule(id).name)
}

fn place(policy: &Policy, rule: Option<RuleId>) -> String {
    let span = rule.map_or(policy.default_span, |id| policy.rule(id).span);
    policy.sources.place(span)
}

/// Rows of one rule that have the same cells, told once.
struct Line<'c> {
    rule: Option<RuleId>,
    operations: Vec<Operation>,
    row: &'c Row,
}

impl Line<'_> {
    fn operations(&self) -> String {
        let names: Vec<&str> = self.operations.iter().map(|o| o.name()).collect();
        names.join(" ")
    }
}

fn lines(table: &Coverage, all: bool) -> Vec<Line<'_>> {
    let fidelities = |r: &Row| {
        let cells: Vec<Option<Fidelity>> = r.cells.iter().map(|c| c.fidelity).collect();
        (cells, r.together.fidelity, r.decides)
    };
    let mut out: Vec<Line<'_>> = Vec::new();
    for row in &table.rows {
        let kept = |c: &Cell| c.fidelity == Some(Fidelity::Exact);
        if !all && kept(&row.together) && row.cells.iter().all(kept) {
            continue;
        }
        let same = |l: &&mut Line<'_>| l.rule == row.rule && fidelities(l.row) == fidelities(row);
        match out.iter_mut().find(same) {
            Some(line) => line.operations.push(row.operation),
            None => out.push(Line {
                rule: row.rule,
                operations: vec![row.operation],
                row,
            }),
        }
    }
    out
}

/// How many rows there are of each fidelity.
type Counts = Vec<(Option<Fidelity>, usize)>;

/// The counts of each column; the last is all layers together.
fn counts(table: &Coverage) -> Vec<(String, Counts)> {
    const ALL: [Option<Fidelity>; 6] = [
        Some(Fidelity::Exact),
        Some(Fidelity::Stricter),
        Some(Fidelity::Looser),
        Some(Fidelity::Mixed),
        Some(Fidelity::Unenforced),
        None,
    ];
    let count = |of: &dyn Fn(&Row) -> Option<Fidelity>| {
        ALL.iter()
            .map(|f| (*f, table.rows.iter().filter(|r| of(r) == *f).count()))
            .collect()
    };
    let mut out: Vec<(String, Counts)> = Vec::new();
    for (i, layer) in table.layers.iter().enumerate() {
        out.push((layer.id.to_owned(), count(&|r| r.cells[i].fidelity)));
    }
    out.push(("together".to_owned(), count(&|r| r.together.fidelity)));
    out
}

fn terminal(policy: &Policy, table: &Coverage, all: bool) -> String {
    let lines = lines(table, all);
    let mut out = String::new();
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
    trim(&mut out);
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
        trim(&mut out);
    }
    let hidden = table.rows.len() - lines.iter().map(|l| l.operations.len()).sum::<usize>();
    if hidden > 0 {
        let _ = writeln!(
            out,
            "and {hidden} more that every layer keeps (--all shows them)"
        );
    }
    for layer in &table.layers {
        if let Some(why) = &layer.refused {
            let _ = writeln!(out, "{} counts for nothing here: {why}", layer.id);
        }
    }
    out.push('\n');
    let has_artefact = |id: &str| {
        table
            .layers
            .iter()
            .all(|l| l.id != id || l.refused.is_none())
    };
    for (id, counted) in counts(table).into_iter().filter(|c| has_artefact(&c.0)) {
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

fn closers(gap: &Gap) -> String {
    if gap.closed_by.is_empty() {
        "no layer closes it".to_owned()
    } else {
        format!("{} would close it", gap.closed_by.join(", "))
    }
}

/// For a cell of a Markdown table.
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

fn markdown(policy: &Policy, table: &Coverage, all: bool) -> String {
    let mut out = String::new();
    let heads: Vec<&str> = table
        .layers
        .iter()
        .map(|l| l.id)
        .chain(["together"])
        .collect();
    let _ = writeln!(out, "| rule | operations | {} |", heads.join(" | "));
    let _ = writeln!(out, "|---|---|{}", "---|".repeat(heads.len()));
    for line in lines(table, all) {
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
            escape_markdown(name(policy, line.rule)),
            line.operations(),
            cells.join(" | ")
        );
    }
    out.push('\n');
    for layer in &table.layers {
        if let Some(why) = &layer.refused {
            let _ = writeln!(
                out,
                "- {} counts for nothing here: {}",
                layer.id,
                escape_markdown(why)
            );
        }
    }
    for gap in &table.gaps {
        let _ = writeln!(
            out,
            "- gets through: {} {} (denied by {}); {}",
            gap.operation,
            escape_markdown(&gap.object.to_string()),
            escape_markdown(name(policy, gap.rule)),
            closers(gap)
        );
    }
    out
}

fn witness(w: &Witness) -> Value {
    json!({
        "object": w.object.to_string(),
        "policy": w.policy.name(),
        "layer": if w.layer_allows { "allow" } else { "deny" },
    })
}

fn to_json(policy: &Policy, table: &Coverage) -> Value {
    let cell = |(c, _, word): (&Cell, char, &'static str)| {
        json!({
            "fidelity": word,
            "witnesses": c.witnesses.iter().map(witness).collect::<Vec<_>>(),
        })
    };
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|r| {
            let mut all = cells(table, r).map(cell);
            let layers: serde_json::Map<String, Value> = table
                .layers
                .iter()
                .map(|l| l.id.to_owned())
                .zip(&mut all)
                .collect();
            json!({
                "rule": name(policy, r.rule),
                "place": place(policy, r.rule),
                "operation": r.operation.name(),
                "decides": r.decides,
                "layers": layers,
                "together": all.next(),
            })
        })
        .collect();
    let gaps: Vec<Value> = table
        .gaps
        .iter()
        .map(|g| {
            json!({
                "rule": name(policy, g.rule),
                "place": place(policy, g.rule),
                "operation": g.operation.name(),
                "object": g.object.to_string(),
                "closed_by": g.closed_by,
            })
        })
        .collect();
    let layers: Vec<Value> = table
        .layers
        .iter()
        .map(|l| json!({"target": l.id, "refused": l.refused}))
        .collect();
    json!({
        "policy": policy.name,
        "layers": layers,
        "safe": table.is_safe(),
        "exact": table.is_exact(),
        "rows": rows,
        "gaps": gaps,
    })
}
