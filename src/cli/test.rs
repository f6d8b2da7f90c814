//! `polc test`: the policy's own tests, against the policy and against every artifact.

use super::{Done, Format, Forms, Global, Outcome, answer, input, output};
use polc::backend::{self, Backend, Options};
use polc::fidelity::{Fidelity, Object};
use polc::host::{RealLinks, Resolver};
use polc::parallel;
use polc::policy::{Operation, Platform, Policy, PolicyTest, Query};
use polc::semantics::{Meaning, decide};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Write;

/// Run the policy's own tests, against the policy and against each target's artifact.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The policies to test. Without it: the policy of `--policy`
    #[arg(value_name = "FILE")]
    files: Vec<OsString>,
    /// Show each test that a target does not keep, with the reason from its ledger
    #[arg(long)]
    layers: bool,
    /// Do not follow the symbolic links of this host
    #[arg(long)]
    no_host: bool,
}

impl Forms for Args {
    const FORMS: &'static [Format] = &[Format::Human, Format::Json];
}

/// The results.
#[derive(Default)]
struct Results {
    text: String,
    failed: Vec<Value>,
    passed: usize,
    failures: usize,
}

pub fn run(global: &Global, args: &Args) -> Done {
    let names: Vec<Option<OsString>> = if args.files.is_empty() {
        vec![global.policy.clone()]
    } else {
        args.files.iter().cloned().map(Some).collect()
    };
    let purpose = if args.no_host {
        input::Purpose::Caller
    } else {
        input::Purpose::Host
    };
    let resolver = Resolver::new(&RealLinks);
    let resolver = (!args.no_host).then_some(&resolver);
    let mut out = Results::default();
    for name in names {
        let global = Global {
            policy: name,
            ..global.clone()
        };
        let mut loaded = input::load(&global, purpose)?;
        input::allow_certificates(&mut loaded.policy, purpose);
        let policy = &loaded.policy;
        if !policy.tests.is_empty() {
            // Artifacts are tested with their own paths. This host's links do not affect those.
            let (emitted, _) = input::load_with_warnings(&global, input::Purpose::Emit)?;
            let meaning = Meaning::new(&emitted.policy);
            out.failures += layers(&mut out.text, &meaning, args.layers);
        }
        for t in &policy.tests {
            one(&mut out, policy, t, resolver);
        }
    }
    let text = if global.format == Format::Json {
        let all = json!({
            "passed": out.passed,
            "failed": out.failures,
            "failures": out.failed,
        });
        format!("{all:#}\n")
    } else {
        format!(
            "{}{} passed, {} failed\n",
            out.text, out.passed, out.failures
        )
    };
    output::stdout(text.as_bytes())?;
    Ok(if out.failures == 0 {
        Outcome::Fine
    } else {
        Outcome::Refused
    })
}

/// One test of the policy.
fn one(out: &mut Results, policy: &Policy, t: &PolicyTest, resolver: Option<&Resolver<'_>>) {
    // Without platforms it is put to all rules: what decides is then the rule that decides on its own platforms.
    let views: Vec<(Option<Platform>, Cow<'_, Policy>)> = match t.platforms {
        Some(all) => all.iter().map(|p| (Some(p), policy.seen_by(p))).collect(),
        None => vec![(None, Cow::Borrowed(policy))],
    };
    let answers = views.iter().map(|(platform, view)| {
        let (decision, reached) = answer::test(view, &t.query, resolver);
        (*platform, decision, reached)
    });
    let mut wrong = answers.filter(|(_, decision, _)| decision.action != t.expect);
    let Some((platform, decision, reached)) = wrong.next() else {
        out.passed += 1;
        return;
    };
    let on = platform.map_or_else(String::new, |p| format!(" on {p}"));
    out.failures += 1;
    let place = policy.sources.place(t.span);
    let question = asked(policy, t);
    let by = policy.decider(decision.rule);
    let _ = writeln!(
        out.text,
        "FAILED {place}: {}: {question}\n  but it is {}{on} by {by}",
        t.expect, decision.action
    );
    if let Some(object) = &reached {
        let _ = writeln!(out.text, "  here the path leads to {object}");
    }
    out.failed.push(json!({
        "place": place,
        "question": question,
        "platform": platform.map(Platform::name),
        "expected": t.expect.name(),
        "decision": decision.action.name(),
        "by": by,
        "decided_on": reached.map(|o| o.to_string()),
    }));
}

/// The question as the file writes it.
fn asked(policy: &Policy, t: &PolicyTest) -> String {
    let file = policy.sources.get(t.span.file);
    let text = file.and_then(|f| f.text.get(t.span.start..t.span.end));
    let text = text.unwrap_or_default().trim_matches(['"', '\'']);
    polc::fidelity::show_bytes(text.as_bytes())
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

/// Asks each target's artifact what the tests ask. A difference that the target's ledger does not account for is a
/// failure; how many there are of the others is told.
fn layers(out: &mut String, meaning: &Meaning<'_>, all: bool) -> usize {
    // Targets share the decided sets and nothing else.
    let answers = parallel::map(backend::all(), |b| layer(*b, meaning, all));
    out.extend(answers.iter().map(|a| a.0.as_str()));
    answers.iter().map(|a| a.1).sum()
}

fn layer(b: &dyn Backend, meaning: &Meaning<'_>, all: bool) -> (String, usize) {
    // A test without platforms is asked everywhere: what counts is that the layer does as the policy does there.
    let meaning = meaning.on(b.platform());
    let policy = meaning.policy();
    let id = b.id();
    let mut options = Options::default();
    let Ok(made) = b.compile(meaning, &options) else {
        return (format!("{id:<9} has no artifact for this policy\n"), 0);
    };
    options.files = made.files;
    let read = match b.read_back(&made.artifacts, &options) {
        Ok(read) => read,
        Err(d) => return (format!("FAILED {id} cannot be read back: {d}\n"), 1),
    };
    let mut out = String::new();
    let (mut kept, mut silent, mut failed) = (0usize, 0usize, 0usize);
    let mut lost: Vec<String> = Vec::new();
    let asked = |t: &&PolicyTest| t.platforms.is_none_or(|all| all.contains(b.platform()));
    for t in policy.tests.iter().filter(asked) {
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
        "{id:<9} keeps {kept}, loses {} as its ledger says (`polc emit {id} --ledger human`), cannot answer {silent}",
        lost.len()
    );
    if all {
        out.extend(lost);
    }
    (out, failed)
}
