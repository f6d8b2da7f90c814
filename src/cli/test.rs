//! `polc test`: the policy's own tests, against the policy and against every artefact.

use super::{Done, Global, Outcome, input, output};
use polc::backend::{self, Backend, Target};
use polc::fidelity::{Fidelity, Object};
use polc::parallel;
use polc::policy::{Operation, Query};
use polc::semantics::{Meaning, decide, decide_query};
use std::ffi::OsString;
use std::fmt::Write;

/// Run the policy's own tests, against the policy and against each target's artefact.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Policies to test; without any, the policy of `--policy`
    #[arg(value_name = "FILE")]
    files: Vec<OsString>,
    /// Tell each test that a target does not keep, with the reason from its ledger
    #[arg(long)]
    layers: bool,
}

pub fn run(global: &Global, args: &Args) -> Done {
    let names: Vec<Option<OsString>> = if args.files.is_empty() {
        vec![global.policy.clone()]
    } else {
        args.files.iter().cloned().map(Some).collect()
    };
    let mut out = String::new();
    let (mut passed, mut failed) = (0usize, 0usize);
    for name in names {
        let loaded = input::load(
            &Global {
                policy: name,
                ..global.clone()
            },
            input::Purpose::Host,
        )?;
        let policy = &loaded.policy;
        let meaning = Meaning::new(policy);
        if !policy.tests.is_empty() {
            failed += layers(&mut out, &meaning, args.layers);
        }
        for t in &policy.tests {
            let decision = decide_query(policy, &t.query);
            if decision.action == t.expect {
                passed += 1;
                continue;
            }
            failed += 1;
            let by = decision.rule.map_or("default_action".to_owned(), |id| {
                let r = policy.rule(id);
                format!("rule `{}` at {}", r.name, policy.sources.place(r.span))
            });
            let _ = writeln!(
                out,
                "FAILED {}: expected {}, but it is {} by {by}",
                policy.sources.place(t.span),
                t.expect,
                decision.action
            );
        }
    }
    let _ = writeln!(out, "{passed} passed, {failed} failed");
    output::stdout(out.as_bytes())?;
    Ok(if failed == 0 {
        Outcome::Fine
    } else {
        Outcome::Refused
    })
}

/// The operations and objects of a question.
pub fn parts(query: &Query) -> Vec<(Operation, Object)> {
    match query {
        Query::Path(operations, path) => operations
            .iter()
            .map(|o| (o, Object::Path(path.clone())))
            .collect(),
        Query::Host(o, spec) => vec![(*o, Object::Host(spec.clone()))],
        Query::Command(words) => {
            let mut words = words.clone();
            // As the policy reads it; a layer knows paths only.
            if let Some(program) = words.first_mut().filter(|p| !p.contains(&b'/')) {
                program.splice(..0, *b"/usr/bin/");
            }
            vec![(Operation::Execute, Object::Command(words))]
        }
        Query::Syscall(name) => vec![(Operation::Syscall, Object::Syscall(name.clone()))],
        Query::Tool(name) => vec![(Operation::Tool, Object::Tool(name.clone()))],
    }
}

/// Asks each target's artefact what the tests ask. A difference that the target's ledger does not account for is a
/// failure; how many there are of the others is told.
fn layers(out: &mut String, meaning: &Meaning<'_>, all: bool) -> usize {
    // Targets share the decided sets and nothing else.
    let answers = parallel::map(backend::all(), |b| layer(*b, meaning, all));
    out.extend(answers.iter().map(|a| a.0.as_str()));
    answers.iter().map(|a| a.1).sum()
}

fn layer(b: &dyn Backend, meaning: &Meaning<'_>, all: bool) -> (String, usize) {
    let policy = meaning.policy();
    let id = b.id();
    let mut target = Target::default();
    let Ok(made) = b.compile(meaning, &target) else {
        return (format!("{id:<9} has no artefact for this policy\n"), 0);
    };
    target.files = made.files;
    let read = match b.read_back(&made.artifacts, &target) {
        Ok(read) => read,
        Err(d) => return (format!("FAILED {id} cannot be read back: {d}\n"), 1),
    };
    let mut out = String::new();
    let (mut kept, mut silent, mut failed) = (0usize, 0usize, 0usize);
    let mut lost: Vec<String> = Vec::new();
    for t in &policy.tests {
        for (operation, object) in parts(&t.query) {
            let decision = decide(policy, operation, &object);
            let Some(allows) = read.allows(operation, &object) else {
                silent += 1;
                continue;
            };
            if allows == decision.action.permits() {
                kept += 1;
                continue;
            }
            let entry = made
                .ledger
                .entries
                .iter()
                .find(|e| e.rule == decision.rule && e.operation == operation);
            let known = entry.is_some_and(|e| match e.fidelity {
                Fidelity::Exact => false,
                Fidelity::Stricter => !allows,
                Fidelity::Looser | Fidelity::Unenforced => allows,
                Fidelity::Mixed => true,
            });
            let does = if allows { "lets through" } else { "refuses" };
            let line = format!(
                "{}: {id} {does} {operation} {object}",
                policy.sources.place(t.span)
            );
            if known {
                let why = entry.map_or("", |e| e.reason.as_ref());
                lost.push(format!("  {line}: {why}\n"));
            } else {
                failed += 1;
                let _ = writeln!(out, "FAILED {line}, and its ledger does not say so");
            }
        }
    }
    let _ = writeln!(
        out,
        "{id:<9} keeps {kept}, differs on {} as its ledger says, says nothing of {silent}",
        lost.len()
    );
    if all {
        out.extend(lost);
    }
    (out, failed)
}
