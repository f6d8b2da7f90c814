//! `polc test`: the policy's own tests, against the policy and against the artifacts of layers.

use super::host_layers::{self, Layer};
use super::{Done, Format, Forms, Global, Outcome, answer, emit, input, output};
use polc::backend::Options;
use polc::fidelity::Fidelity;
use polc::host::{RealLinks, Resolver};
use polc::parallel;
use polc::policy::{Platform, Policy, PolicyTest};
use polc::proof;
use polc::semantics::Meaning;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Write;

/// Run the policy's own tests, against the policy and against the layers of this host.
///
/// A layer is what enforces the artifact of one target while the program runs. What a test allows must work under each
/// layer, unless the test names the layers that it is for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The policies to test. Without it: the policy of `--policy`
    #[arg(value_name = "FILE")]
    files: Vec<OsString>,
    /// The layers to ask, by the names of their targets, or `all`. Without it: those that this host has
    #[arg(long, value_delimiter = ',', value_name = "TARGET,…")]
    layers: Vec<String>,
    /// Show each test that a layer does not keep, with the reason from its ledger
    #[arg(long)]
    lost: bool,
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
    /// What layers fail, as text.
    layer_failures: Vec<String>,
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
    let layers: Vec<Layer> = if args.layers.is_empty() {
        host_layers::of_this_host()
    } else {
        let chosen = emit::select(&args.layers)?;
        chosen.into_iter().map(Layer::plain).collect()
    };
    let mut out = Results {
        text: asked_of(&layers, args.layers.is_empty()),
        ..Results::default()
    };
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
            let answered = ask_layers(&meaning, &layers, args.lost);
            for failure in answered.iter().flat_map(|a| &a.failures) {
                out.text.push_str(failure);
                out.layer_failures.push(failure.trim_end().to_owned());
                out.failures += 1;
            }
            out.text.extend(answered.iter().map(|a| a.summary.as_str()));
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
            "layers": layers.iter().map(|l| l.backend.id()).collect::<Vec<_>>(),
            "layer_failures": out.layer_failures,
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

/// Whom the tests are asked of, as a line.
fn asked_of(layers: &[Layer], of_host: bool) -> String {
    let names: Vec<&str> = layers.iter().map(|l| l.shown.as_str()).collect();
    match (names.is_empty(), of_host) {
        (true, _) => "asked: the policy; this host has no layer that polc knows\n".to_owned(),
        (false, true) => format!(
            "asked: the policy, and the layers of this host: {}\n",
            names.join(", ")
        ),
        (false, false) => format!("asked: the policy, and {}\n", names.join(", ")),
    }
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

/// What a layer made of the tests.
#[derive(Default)]
struct Answered {
    /// What fails, a line or two each.
    failures: Vec<String>,
    /// How the rest went.
    summary: String,
}

/// Asks each layer's artifact what the tests ask.
fn ask_layers(meaning: &Meaning<'_>, layers: &[Layer], lost: bool) -> Vec<Answered> {
    // Targets share the decided sets and nothing else.
    parallel::map(layers, |layer| ask_layer(meaning, layer, lost))
}

/// A failure is: an `allow` test that the layer refuses, a test that names the layer and that it does not keep, and a
/// difference of which the ledger does not tell. What the layer lets through besides, as its ledger says, is counted.
fn ask_layer(meaning: &Meaning<'_>, layer: &Layer, lost: bool) -> Answered {
    let policy = meaning.policy();
    let b = layer.backend;
    let id = b.id();
    let mut options = Options {
        values: layer.options.iter().cloned().collect(),
        ..Options::default()
    };
    let Ok(made) = b.compile(meaning, &options) else {
        return Answered {
            summary: format!("{id:<9} has no artifact for this policy\n"),
            ..Answered::default()
        };
    };
    options.files = made.files;
    let read = match b.read_back(&made.artifacts, &options) {
        Ok(read) => read,
        Err(d) => {
            return Answered {
                failures: vec![format!("FAILED {id} cannot be read back: {d}\n")],
                ..Answered::default()
            };
        }
    };
    let mut out = Answered::default();
    let (mut kept, mut silent) = (0usize, 0usize);
    let mut told: Vec<String> = Vec::new();
    for answer in proof::answers(policy, b, read.as_ref()) {
        let action = answer.decision.action;
        // What no layer of a kernel keeps (an argument, a tool) is in the ledger, too.
        let Some(allows) = answer.allows else {
            silent += 1;
            continue;
        };
        if allows == action.permits() {
            kept += 1;
            continue;
        }
        let entry = made
            .ledger
            .entries
            .iter()
            .find(|e| e.rule == answer.decision.rule && e.operation == answer.operation);
        let known = entry.is_some_and(|e| match e.fidelity {
            Fidelity::Exact => false,
            Fidelity::Stricter => !allows,
            Fidelity::Looser | Fidelity::Unenforced => allows,
            Fidelity::Mixed => true,
        });
        let does = if allows { "lets through" } else { "refuses" };
        let line = format!(
            "{}: {id} {does} {} {}",
            policy.sources.place(answer.test.span),
            answer.operation,
            answer.object
        );
        let why = entry.map_or("", |e| e.reason.as_ref());
        let by = policy.decider(answer.decision.rule);
        let named = !answer.test.layers.is_empty();
        if !known {
            out.failures
                .push(format!("FAILED {line}, and its ledger does not say so\n"));
        } else if named || answer.is_refused() {
            out.failures.push(format!(
                "FAILED {line}\n  the policy says {action} by {by}\n  {id}: {why}\n"
            ));
        } else {
            told.push(format!("  {line}: {why}\n"));
        }
    }
    out.summary = format!(
        "{id:<9} keeps {kept}, does not keep {} as its ledger says, has no answer to {silent}\n",
        told.len()
    );
    if lost {
        out.summary.extend(told);
    }
    out
}
