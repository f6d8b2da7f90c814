//! `polc coverage`: a table of rules and layers.

mod markdown;
mod page;
mod short;
mod terminal;

use super::require::{Demand, Found};
use super::{
    Done, Format, Forms, Global, Outcome, Stop, emit, input, output, targets::TargetOptions,
};
use polc::backend;
use polc::fidelity::{Fidelity, Witness};
use polc::policy::{Operation, Platform, Platforms, Policy, RuleId};
use polc::proof::{Cell, Coverage, Gap, Layer, Refused, Row, coverage};
use polc::semantics::Meaning;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Show what each layer keeps of each rule, what the layers keep together, and what gets through.
///
/// A layer is what enforces the artifact of one target while the program runs: mostly a part of the kernel.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The layers, by the names of their targets. Without it: all of them
    #[arg(long, value_delimiter = ',', value_name = "TARGET,…")]
    layers: Vec<String>,
    /// Exit 3 unless the layers together keep the policy so, or each of them is usable
    #[arg(long, value_enum, value_delimiter = ',', value_name = "HOW,…")]
    require: Vec<Demand>,
    /// Where to write it. Without it: standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show every row, also the rows that all layers keep
    #[arg(long, conflicts_with = "summary")]
    all: bool,
    /// Show no rows, but how many of them each layer keeps, and an example of what gets through for each operation
    #[arg(long)]
    summary: bool,
    #[command(flatten)]
    options: TargetOptions,
}

impl Forms for Args {
    const FORMS: &'static [Format] = &[Format::Human, Format::Markdown, Format::Json, Format::Html];
}

/// Which rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    None,
    /// The rows that some layer does not keep.
    NotKept,
    All,
}

pub fn run(global: &Global, args: &Args) -> Done {
    let words = if args.layers.is_empty() {
        vec!["all".to_owned()]
    } else {
        args.layers.clone()
    };
    let chosen = emit::select(&words)?;
    args.options.check(backend::all()).map_err(Stop::Usage)?;
    if args.summary && global.format == Format::Html {
        return Err(Stop::Usage(
            "the page always shows all rows: use `--summary` with the forms `human`, `markdown` and `json`"
                .to_owned(),
        ));
    }
    let loaded = input::load(global, input::Purpose::Emit)?;
    let policy = &loaded.policy;
    // This reads the artifacts, and not their ledgers.
    let meaning = Meaning::new(policy).without_ledgers();
    let is_chosen = |id: &str| chosen.iter().any(|c| c.id() == id);
    let (chosen, others): (Vec<_>, Vec<_>) = backend::all()
        .iter()
        .map(|b| (*b, args.options.of(*b, policy)))
        .partition(|(b, _)| is_chosen(b.id()));
    let table = coverage(&meaning, &chosen, &others)?;
    let rows = match (args.summary, args.all) {
        (true, _) => Rows::None,
        (_, true) => Rows::All,
        _ => Rows::NotKept,
    };
    let text = match global.format {
        Format::Markdown => markdown::render(policy, &table, rows),
        Format::Json => format!("{:#}\n", to_json(policy, &table, rows)),
        Format::Html => page::render(policy, &table)?,
        Format::Human | Format::Sarif => {
            let (paint, columns) = match args.output {
                Some(_) => (output::Paint::file(global), usize::MAX),
                None => (output::Paint::stdout(global), output::columns()),
            };
            terminal::render(policy, &table, rows, paint, columns)
        }
    };
    match &args.output {
        Some(path) => output::write_all(&[(path.clone(), text.as_bytes())])?,
        None => output::stdout(text.as_bytes())?,
    }
    let found = Found {
        exact: table.is_exact(),
        safe: table.is_safe(),
        usable: table.is_usable(),
    };
    Ok(match found.falls_short(&args.require) {
        None => Outcome::Fine,
        Some(_) => Outcome::BelowRequirement,
    })
}

/// A sign and a word. The sign is readable without colour, and alone where there is no room for the word.
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

/// Where the rule is for other platforms than the layer's.
const ELSEWHERE: (char, &str) = ('/', "not here");

/// The text of a cell. A layer without an artifact keeps nothing, but what the policy allows stays allowed.
fn shown(table: &Coverage, layer: Option<usize>, cell: Option<&Cell>) -> (char, &'static str) {
    let Some(cell) = cell else {
        return ELSEWHERE;
    };
    match layer {
        Some(at) if table.layers[at].refused.is_some() => ('-', "no artifact"),
        _ => sign(cell.fidelity),
    }
}

/// The cells of a row with their texts. The last one is for all layers together.
fn cells<'c>(
    table: &'c Coverage,
    row: &'c Row,
) -> impl Iterator<Item = (Option<&'c Cell>, char, &'static str)> {
    let layers = row.cells.iter().enumerate().map(|(i, c)| (Some(i), c));
    layers.chain([(None, &row.together)]).map(|(at, cell)| {
        let cell = cell.as_ref();
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

/// Rows of one rule with the same cells, shown as one.
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

fn lines(table: &Coverage, rows: Rows) -> Vec<Line<'_>> {
    let fidelity = |c: &Option<Cell>| c.as_ref().map(|c| c.fidelity);
    let fidelities = |r: &Row| {
        let cells: Vec<_> = r.cells.iter().map(fidelity).collect();
        (cells, fidelity(&r.together), r.decides)
    };
    let mut out: Vec<Line<'_>> = Vec::new();
    for row in &table.rows {
        let kept = |c: &Option<Cell>| fidelity(c).is_none_or(|f| f == Some(Fidelity::Exact));
        if rows == Rows::NotKept && kept(&row.together) && row.cells.iter().all(kept) {
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

/// The number of rows of each fidelity.
type Counts = Vec<(Option<Fidelity>, usize)>;

/// The counts of each column that has an artifact. The last one is for all layers together.
fn counts(table: &Coverage) -> Vec<(String, Counts)> {
    const ALL: [Option<Fidelity>; 6] = [
        Some(Fidelity::Exact),
        Some(Fidelity::Stricter),
        Some(Fidelity::Looser),
        Some(Fidelity::Mixed),
        Some(Fidelity::Unenforced),
        None,
    ];
    let count = |of: &dyn Fn(&Row) -> &Option<Cell>| {
        let counted = |f| {
            let cells = table.rows.iter().filter_map(|r| of(r).as_ref());
            cells.filter(|c| c.fidelity == f).count()
        };
        ALL.iter().map(|f| (*f, counted(*f))).collect()
    };
    let mut out: Vec<(String, Counts)> = Vec::new();
    let has_artifact = |l: &(usize, &Layer)| l.1.refused.is_none();
    for (i, layer) in table.layers.iter().enumerate().filter(has_artifact) {
        out.push((layer.id.to_owned(), count(&|r| &r.cells[i])));
    }
    out.push(("together".to_owned(), count(&|r| &r.together)));
    out
}

/// As the language writes them; of the default all.
fn platforms(of: Option<Platforms>) -> Vec<&'static str> {
    of.unwrap_or_default().iter().map(Platform::name).collect()
}

/// The rule and, where it is not for all, its platforms.
fn titled(policy: &Policy, rule: Option<RuleId>) -> String {
    let only = rule.and_then(|id| policy.rule(id).platforms.limit());
    let only = only.map_or_else(String::new, |only| format!(" ({only})"));
    format!("{}{only}", name(policy, rule))
}

/// Where the gap is, if the table has hosts of other platforms too, and what closes it.
fn closers(table: &Coverage, gap: &Gap) -> String {
    let elsewhere = table
        .layers
        .iter()
        .any(|l| !gap.platforms.contains(l.platform));
    match gap.platforms.limit().filter(|_| elsewhere) {
        Some(only) => format!("{only}: {}", closed(gap)),
        None => closed(gap),
    }
}

fn closed(gap: &Gap) -> String {
    if gap.closed_by.is_empty() {
        "no layer closes it".to_owned()
    } else {
        format!("{} would close it", gap.closed_by.join(", "))
    }
}

/// What a layer refuses and a test allows, for forms that programs read.
pub fn refused_json(policy: &Policy, r: &Refused) -> Value {
    json!({
        "target": r.layer,
        "test": policy.sources.place(r.test),
        "operation": r.operation.name(),
        "object": r.object.to_string(),
        "rule": name(policy, r.rule),
        "place": place(policy, r.rule),
        "reason": r.reason,
    })
}

fn witness(w: &Witness) -> Value {
    json!({
        "object": w.object.to_string(),
        "policy": w.policy.name(),
        "layer": if w.layer_allows { "allow" } else { "deny" },
    })
}

fn to_json(policy: &Policy, table: &Coverage, wanted: Rows) -> Value {
    // A rule that is for other platforms is `null` there.
    let cell = |(c, _, word): (Option<&Cell>, char, &'static str)| {
        c.map(|c| {
            json!({
                "fidelity": word,
                "witnesses": c.witnesses.iter().map(witness).collect::<Vec<_>>(),
            })
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
                .zip((&mut all).map(Value::from))
                .collect();
            json!({
                "rule": name(policy, r.rule),
                "place": place(policy, r.rule),
                "operation": r.operation.name(),
                "decides": r.decides,
                "layers": layers,
                "platforms": platforms(r.rule.map(|id| policy.rule(id).platforms)),
                "together": all.next().flatten(),
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
                "platforms": platforms(Some(g.platforms)),
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
    let counted: serde_json::Map<String, Value> = counts(table)
        .into_iter()
        .map(|(id, of)| {
            let of = of
                .into_iter()
                .map(|(f, n)| (sign(f).1.to_owned(), json!(n)));
            (id, Value::Object(of.collect()))
        })
        .collect();
    let mut out = json!({
        "policy": policy.name,
        "layers": layers,
        "safe": table.is_safe(),
        "exact": table.is_exact(),
        "usable": table.is_usable(),
        "refused": table.refused.iter().map(|r| refused_json(policy, r)).collect::<Vec<_>>(),
        "counts": counted,
        "gaps": gaps,
    });
    if wanted != Rows::None {
        out["rows"] = Value::Array(rows);
    }
    out
}
