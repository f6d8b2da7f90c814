//! `polc explain`: which rule decides, or what a code means.

use super::{Done, Global, Outcome, Stop, input, output};
use polc::backend::{self, Backend, Target};
use polc::diagnostics::codes;
use polc::fidelity::{Fidelity, Object, show_bytes};
use polc::policy::{Action, Operation, Rule};
use polc::semantics::{Decision, Meaning, decide, rule_matches};
use std::fmt::Write;

/// Say which rule decides, or what a diagnostic's code means.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An operation and its object (`read ~/.ssh/id_ed25519`, `connect example.org:443`, `run git push`), or a
    /// code such as P001. Words that begin with `-` go behind `--`
    #[arg(required = true, value_name = "OPERATION OBJECT | CODE")]
    words: Vec<String>,
}

pub fn run(global: &Global, args: &Args) -> Done {
    if let [code] = args.words.as_slice()
        && !code.contains(char::is_whitespace)
    {
        let known = codes::find(code);
        let Some(known) = known else {
            return Err(Stop::Usage(format!(
                "`{code}` is neither a code nor an operation with an object; codes look like P001, questions like `read /etc/passwd`"
            )));
        };
        output::stdout(
            format!(
                "{}: {}\n\n{}\n",
                known.code,
                known.title,
                known.explanation.trim()
            )
            .as_bytes(),
        )?;
        return Ok(Outcome::Fine);
    }
    let loaded = input::load(global, input::Purpose::Host)?;
    let policy = &loaded.policy;
    let query = input::query(policy, &args.words)?;
    let mut out = String::new();
    let mut action = Action::Allow;
    let meaning = Meaning::new(policy);
    for (operation, object) in super::test::parts(&query) {
        let decision = decide(policy, operation, &object);
        action = action.strictest(decision.action);
        one(&mut out, &meaning, operation, &object, decision);
    }
    output::stdout(out.as_bytes())?;
    Ok(if action == Action::Allow {
        Outcome::Fine
    } else {
        Outcome::Refused
    })
}

fn one(
    out: &mut String,
    meaning: &Meaning<'_>,
    operation: Operation,
    object: &Object,
    decision: Decision,
) {
    let policy = meaning.policy();
    let _ = writeln!(out, "{}: {operation} {object}", decision.action);
    let _ = writeln!(out, "  by {}", policy.decider(decision.rule));
    if let Some(message) = decision
        .rule
        .and_then(|id| policy.rule(id).message.as_ref())
    {
        let _ = writeln!(
            out,
            "  message: {}",
            show_bytes(message.replace('\n', " ").as_bytes())
        );
    }
    let below =
        |r: &&Rule| decision.rule.is_some_and(|d| r.id > d) && rule_matches(r, operation, object);
    for r in policy.rules.iter().filter(below) {
        let _ = writeln!(
            out,
            "  below it, {} would match too: {}",
            policy.decider(Some(r.id)),
            r.action
        );
    }
    #[cfg(target_os = "linux")]
    if let (Some(rule), Object::Path(path)) = (decision.rule, object)
        && decision.action.permits()
        && let Some(line) = polc::enforce::run::missing::told(policy, rule, path)
    {
        let _ = writeln!(out, "  {:<9} {line}", "run");
    }
    for b in backend::all() {
        let _ = writeln!(
            out,
            "  {:<9} {}",
            b.id(),
            layer(*b, meaning, operation, object, decision)
        );
    }
}

/// What a layer does with the object, by its artefact, and how that stands to the policy.
fn layer(
    b: &'static dyn Backend,
    meaning: &Meaning<'_>,
    operation: Operation,
    object: &Object,
    decision: Decision,
) -> String {
    let mut target = Target::default();
    let made = match b.compile(meaning, &target) {
        Ok(made) => made,
        Err(d) => {
            let why = d.items.first().map_or("", |d| &d.message);
            return format!("no artefact: {why}");
        }
    };
    target.files = made.files;
    let entry = made
        .ledger
        .entries
        .iter()
        .find(|e| e.rule == decision.rule && e.operation == operation);
    let reason = |leaks: bool| {
        let reasons = entry
            .filter(|e| e.fidelity != Fidelity::Exact)
            .map(|e| e.reason.as_ref());
        match reasons {
            Some(why) if !why.is_empty() => format!(": {why}"),
            _ if leaks => ": another part of it lets it through".to_owned(),
            _ => String::new(),
        }
    };
    let read = match b.read_back(&made.artifacts, &target) {
        Ok(read) => read,
        Err(d) => return format!("cannot be read back: {d}"),
    };
    let Some(allows) = read.allows(operation, object) else {
        let why = match entry.map_or("", |e| e.reason.as_ref()) {
            "" if operation == Operation::Tool => "only the tool-call gate sees tool calls",
            why => why,
        };
        let colon = if why.is_empty() { "" } else { ": " };
        return format!("says nothing, and lets it happen{colon}{why}");
    };
    let word = if allows { "allows" } else { "denies" };
    let same = allows == decision.action.permits();
    let clause = read
        .clause(operation, object)
        .map_or_else(String::new, |c| {
            let file = made
                .artifacts
                .get(c.artifact)
                .map_or("", |a| a.file_name.as_str());
            if c.line > 0 {
                format!(", by {file}:{}: {}", c.line, c.text)
            } else {
                format!(", by {}", c.text)
            }
        });
    if same {
        let why = match (allows, clause.is_empty()) {
            (false, _) if decision.action == Action::Ask => ", as it cannot ask",
            (false, true) => ", as nothing in it grants that",
            _ => "",
        };
        format!("{word} it{why}{clause}")
    } else {
        format!("{word} it all the same{}{clause}", reason(allows))
    }
}
