//! `polc explain`: which rule decides, or what a code means.

use super::{Done, Global, Outcome, Stop, input, output};
use polc::backend;
use polc::diagnostics::codes;
use polc::fidelity::{Fidelity, Object};
use polc::policy::{Action, Operation, Policy, Query, Rule, RuleId};
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
    if let [code] = args.words.as_slice() {
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
    for (operation, object) in parts(&query) {
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

/// The operations and objects of a question.
fn parts(query: &Query) -> Vec<(Operation, Object)> {
    match query {
        Query::Path(operations, path) => operations
            .iter()
            .map(|o| (o, Object::Path(path.clone())))
            .collect(),
        Query::Host(o, spec) => vec![(*o, Object::Host(spec.clone()))],
        Query::Command(words) => vec![(Operation::Execute, Object::Command(words.clone()))],
        Query::Syscall(name) => vec![(Operation::Syscall, Object::Syscall(name.clone()))],
        Query::Tool(name) => vec![(Operation::Tool, Object::Tool(name.clone()))],
    }
}

fn place(policy: &Policy, rule: Option<RuleId>) -> String {
    match rule {
        Some(id) => {
            let r = policy.rule(id);
            format!("rule `{}` at {}", r.name, policy.sources.place(r.span))
        }
        None => format!(
            "default_action at {}",
            policy.sources.place(policy.default_span)
        ),
    }
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
    let _ = writeln!(out, "  by {}", place(policy, decision.rule));
    if let Some(message) = decision
        .rule
        .and_then(|id| policy.rule(id).message.as_ref())
    {
        let _ = writeln!(out, "  message: {}", message.replace('\n', " "));
    }
    let below =
        |r: &&Rule| decision.rule.is_some_and(|d| r.id > d) && rule_matches(r, operation, object);
    for r in policy.rules.iter().filter(below) {
        let _ = writeln!(
            out,
            "  below it, {} would match too: {}",
            place(policy, Some(r.id)),
            r.action
        );
    }
    for b in backend::all() {
        let target = polc::backend::Target::default();
        let line = match b.compile(meaning, &target) {
            Err(d) => format!(
                "no artefact: {}",
                d.items.first().map_or("", |d| &d.message)
            ),
            Ok(c) => match c
                .ledger
                .entries
                .iter()
                .find(|e| e.rule == decision.rule && e.operation == operation)
            {
                None => "no entry".to_owned(),
                Some(e) if e.fidelity == Fidelity::Exact => "exact".to_owned(),
                Some(e) => {
                    let example = e.witnesses.first().map(|w| {
                        format!(
                            "; for example it {} {}",
                            if w.layer_allows { "allows" } else { "denies" },
                            w.object
                        )
                    });
                    format!(
                        "{}: {}{}",
                        e.fidelity,
                        e.reason,
                        example.unwrap_or_default()
                    )
                }
            },
        };
        let _ = writeln!(out, "  {:<9} {line}", b.id());
    }
}
