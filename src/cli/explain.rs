//! `polc explain`: which rule decides, or what a code means.
//!
//! There are two answers to one question. The first is for this host: what `polc run` does here, with the caller's home
//! and workspace, through this host's symbolic links. The second is for the artifacts that `polc emit` writes. They do
//! not know this host's paths, so the question is about the same object at the artifacts' paths.

use super::answer::{Answer, answer, moved, relative, subject_paths};
use super::{Done, Format, Forms, Global, Outcome, Stop, input, output};
use output::Paint;
use polc::backend::{self, Backend, Options};
use polc::diagnostics::codes::{self, Code};
use polc::fidelity::{Fidelity, Object, show_bytes};
use polc::host::{RealLinks, Resolver};
use polc::policy::{Action, Operation, Platform, Policy, Query, Rule, RuleId};
use polc::semantics::{Decision, Meaning, decide, rule_matches};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long polc waits for the artifacts. A policy of ordinary size takes a second.
const LONGEST: Duration = Duration::from_secs(20);

/// Say which rule decides, or what a diagnostic's code means.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An operation and its object (`read ~/.ssh/id_ed25519`, `edit src/main.rs`, `connect example.org:443`, `run git
    /// push`), or a code such as P001. Put `--` before words that begin with `-`
    #[arg(required = true, value_name = "OPERATION OBJECT | CODE")]
    words: Vec<String>,
    /// Do not follow the symbolic links of this host
    #[arg(long)]
    no_host: bool,
}

impl Forms for Args {
    const FORMS: &'static [Format] = &[Format::Human, Format::Json];
}

/// The answer for one operation.
struct Part {
    operation: Operation,
    object: Object,
    answer: Answer,
    /// The rules below the deciding one that would match too.
    below: Vec<(String, Action)>,
    /// The object as artifacts name it, and what each layer's artifact does.
    emitted: Object,
    layers: Vec<(&'static str, String)>,
    /// The platforms of which the policy says something else than of this host's.
    elsewhere: Vec<Elsewhere>,
}

/// What the policy says on another platform.
struct Elsewhere {
    platform: Platform,
    action: Action,
    by: String,
}

pub fn run(global: &Global, args: &Args) -> Done {
    if let [code] = args.words.as_slice()
        && !code.contains(char::is_whitespace)
    {
        let known = codes::find(code).ok_or_else(|| {
            Stop::Usage(format!(
                "`{code}` is neither a code (such as P001) nor an operation and an object (such as `read /etc/passwd`)"
            ))
        })?;
        output::stdout(explained(known, global.format).as_bytes())?;
        return Ok(Outcome::Fine);
    }
    let resolver = Resolver::new(&RealLinks);
    let purpose = if args.no_host {
        input::Purpose::Caller
    } else {
        input::Purpose::Host
    };
    let loaded = input::load(global, purpose)?;
    let (emitted, _) = input::load_with_warnings(global, input::Purpose::Emit)?;
    // What `run` does, with polc's own rules. Artifacts do not have these.
    let (policy, _) = &input::with_own_rules(loaded, purpose);
    let query = match relative(&args.words, &resolver) {
        Some((operation, path)) => {
            let root = [operation, "/".to_owned()];
            match input::query(policy, &root)? {
                Query::Path(operations, _) => Query::Path(operations, path),
                other => other,
            }
        }
        None => input::query(policy, &args.words)?,
    };
    // Kept until the process ends, because threads that take too long still use it.
    let kept: &'static Policy = Box::leak(Box::new(emitted.policy));
    let meaning: &'static Meaning<'static> = Box::leak(Box::new(Meaning::new(kept)));
    let end = Instant::now() + LONGEST;
    let resolver = (!args.no_host).then_some(&resolver);
    let parts: Vec<Part> = polc::proof::parts(&query)
        .into_iter()
        .map(|(operation, object)| part(policy, (meaning, end), operation, object, resolver))
        .collect();
    let strictest = parts.iter().fold(Action::Allow, |action, p| {
        action.strictest(p.answer.decision.action)
    });
    let text = if global.format == Format::Json {
        let all: Vec<Value> = parts.iter().map(|p| to_json(policy, p)).collect();
        format!("{:#}\n", Value::Array(all))
    } else {
        let paint = Paint::stdout(global);
        let places = subject_paths(&kept.subject, &policy.subject);
        parts
            .iter()
            .map(|p| human(policy, p, places.as_deref(), paint))
            .collect()
    };
    output::stdout(text.as_bytes())?;
    Ok(if strictest == Action::Allow {
        Outcome::Fine
    } else {
        Outcome::Refused
    })
}

fn explained(code: &Code, format: Format) -> String {
    if format == Format::Json {
        let value = json!({
            "code": code.code,
            "title": code.title,
            "explanation": code.explanation.trim(),
        });
        return format!("{value:#}\n");
    }
    format!(
        "{}: {}\n\n{}\n",
        code.code,
        code.title,
        code.explanation.trim()
    )
}

fn part(
    policy: &Policy,
    (emitted, end): (&'static Meaning<'static>, Instant),
    operation: Operation,
    object: Object,
    resolver: Option<&Resolver<'_>>,
) -> Part {
    let answer = answer(policy, operation, &object, resolver);
    let decision = answer.decision;
    let below = |r: &&Rule| {
        decision.rule.is_some_and(|d| r.id > d) && rule_matches(r, operation, &answer.object)
    };
    let below = policy
        .rules
        .iter()
        .filter(below)
        .map(|r| (policy.decider(Some(r.id)), r.action))
        .collect();
    let there = moved(&object, &policy.subject, &emitted.policy().subject);
    let layers = layers(emitted, operation, &there, end);
    let decided = |platform| decide(emitted.on(platform).policy(), operation, &there);
    let here = decided(Platform::HOST);
    let elsewhere = Platform::ALL
        .into_iter()
        .map(|platform| (platform, decided(platform)))
        .filter(|(_, other)| other.action != here.action)
        .map(|(platform, other)| Elsewhere {
            platform,
            action: other.action,
            by: emitted.policy().decider(other.rule),
        })
        .collect();
    Part {
        operation,
        object,
        answer,
        below,
        emitted: there,
        layers,
        elsewhere,
    }
}

/// How links of this host affect the answer, one line each.
fn links(policy: &Policy, p: &Part) -> Vec<String> {
    let mut out = Vec::new();
    let a = &p.answer;
    if a.nowhere {
        out.push("the path is a loop of symbolic links here: it leads to nothing".to_owned());
    }
    if let Some(by_name) = a.by_name {
        let leads = match &a.object {
            Object::Command(words) => {
                let program = words.first().map(Vec::as_slice).unwrap_or_default();
                format!("here that starts {}", show_bytes(program))
            }
            other => format!("here {} leads to {other}", p.object),
        };
        out.push(leads);
        if by_name.action != a.decision.action {
            out.push(format!(
                "this answer is about what it leads to; for the name alone the policy says {}, by {}",
                by_name.action,
                policy.decider(by_name.rule)
            ));
        }
    }
    let rule = a.decision.rule.map(|id| policy.rule(id));
    if let Some(link) = rule.and_then(|r| r.link.as_ref()) {
        out.push(format!("{link}, and the rule is about both names"));
    }
    out
}

/// The rule that would allow the object, if a link leads the allowed name somewhere else.
fn would_allow(policy: &Policy, p: &Part) -> Option<String> {
    let by_name = p.answer.by_name?;
    if !by_name.action.permits() || p.answer.decision.action.permits() {
        return None;
    }
    polc::why::allowing(
        policy,
        p.operation,
        &p.answer.object,
        p.answer.decision.rule,
    )
    .map(|c| format!("{}, {}", c.yaml.trim_end(), c.put))
}

/// What `run` does otherwise where the program has made the object itself.
fn new(policy: &Policy, p: &Part) -> Option<&'static str> {
    let rule = policy.rule(p.answer.decision.rule?);
    let new = policy
        .for_what_is_new()
        .filter(|_| rule.except_new && cfg!(target_os = "linux"))?;
    let permits = |policy, operation| decide(policy, operation, &p.answer.object).action.permits();
    (permits(&new, p.operation) && permits(policy, Operation::Create)).then_some(
        "with the guard, allows it for what the program itself has made in the same run (`except_new`)",
    )
}

fn human(policy: &Policy, p: &Part, places: Option<&str>, paint: Paint) -> String {
    let mut out = String::new();
    let decision = p.answer.decision;
    let word = decision.action.to_string();
    let word = match decision.action {
        Action::Allow => paint.good(&word),
        Action::Ask => paint.middle(&word),
        Action::Deny => paint.bad(&word),
    };
    let _ = writeln!(out, "{word}: {} {}", p.operation, p.object);
    let limit = |rule: Option<RuleId>| rule.and_then(|id| policy.rule(id).platforms.limit());
    let only = limit(decision.rule).map_or_else(String::new, |only| format!(" ({only})"));
    let _ = writeln!(out, "  by {}{only}", policy.decider(decision.rule));
    for other in &p.elsewhere {
        let _ = writeln!(
            out,
            "  on {}: {}, by {}",
            other.platform, other.action, other.by
        );
    }
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
    for line in links(policy, p) {
        let _ = writeln!(out, "  {line}");
    }
    if let Some(change) = would_allow(policy, p) {
        let _ = writeln!(out, "  to allow it there:");
        for line in change.lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
    for (rule, action) in &p.below {
        let _ = writeln!(out, "  below it, {rule} would match too: {action}");
    }
    #[cfg(target_os = "linux")]
    if let (Some(rule), Object::Path(path)) = (decision.rule, &p.answer.object)
        && decision.action.permits()
        && let Some(line) = polc::enforce::run::missing::told(policy, rule, path)
    {
        let _ = writeln!(out, "  {:<9} {line}", "run");
    }
    if let Some(line) = new(policy, p) {
        let _ = writeln!(out, "  {:<9} {line}", "run");
    }
    match places {
        Some(places) => {
            let _ = writeln!(
                out,
                "  artifacts of `polc emit` ({places}), answers for {}:",
                p.emitted
            );
        }
        None => out.push_str("  artifacts of `polc emit`:\n"),
    }
    for (id, says) in &p.layers {
        let _ = writeln!(out, "  {id:<9} {says}");
    }
    out
}

fn to_json(policy: &Policy, p: &Part) -> Value {
    let by = |decision: Decision| {
        let span = decision
            .rule
            .map_or(policy.default_span, |id| policy.rule(id).span);
        json!({
            "decision": decision.action.name(),
            "rule": decision.rule.map(|id| policy.rule(id).name.as_str()),
            "place": policy.sources.place(span),
            "platforms": decision.rule.map(|id| {
                let platforms = policy.rule(id).platforms;
                platforms.iter().map(Platform::name).collect::<Vec<_>>()
            }),
        })
    };
    let layers: serde_json::Map<String, Value> = p
        .layers
        .iter()
        .map(|(id, says)| ((*id).to_owned(), json!(says)))
        .collect();
    let rule = p.answer.decision.rule.map(|id| policy.rule(id));
    json!({
        "operation": p.operation.name(),
        "object": p.object.to_string(),
        "answer": by(p.answer.decision),
        "elsewhere": p.elsewhere.iter().map(|e| json!({
            "platform": e.platform.name(),
            "decision": e.action.name(),
            "by": e.by,
        })).collect::<Vec<_>>(),
        "allowed_if_new": new(policy, p).is_some(),
        "message": rule.and_then(|r| r.message.as_ref()),
        "decided_on": p.answer.object.to_string(),
        "of_the_name": p.answer.by_name.map(by),
        "link": rule.and_then(|r| r.link.as_ref()).map(|l| json!({
            "name": show_bytes(&l.named),
            "leads_to": show_bytes(&l.real),
        })),
        "below": p.below.iter().map(|(rule, action)| json!({"rule": rule, "action": action.name()})).collect::<Vec<_>>(),
        "artifacts": {"object": p.emitted.to_string(), "layers": layers},
    })
}

/// What each layer does with the object. A layer that is not ready at `end` is named and left out.
fn layers(
    meaning: &'static Meaning<'static>,
    operation: Operation,
    object: &Object,
    end: Instant,
) -> Vec<(&'static str, String)> {
    let (sender, answers) = channel();
    for b in backend::all() {
        let (sender, object) = (sender.clone(), object.clone());
        std::thread::spawn(move || {
            let decided = decide(meaning.on(b.platform()).policy(), operation, &object);
            let says = layer(*b, meaning, operation, &object, decided);
            // The receiver may have given up.
            let _ = sender.send((b.id(), says));
        });
    }
    drop(sender);
    let mut known = BTreeMap::new();
    while let Ok((id, says)) = answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
        known.insert(id, says);
    }
    let all = backend::all().iter().map(|b| b.id());
    all.map(|id| {
        let late = || {
            format!(
                "not known: the policy did not compile for it in {} seconds; `polc emit {id}` takes the time it needs",
                LONGEST.as_secs()
            )
        };
        (id, known.remove(id).unwrap_or_else(late))
    })
    .collect()
}

/// What a layer does with the object according to its artifact, and how that compares with the policy.
fn layer(
    b: &'static dyn Backend,
    meaning: &Meaning<'_>,
    operation: Operation,
    object: &Object,
    decision: Decision,
) -> String {
    let mut options = Options::default();
    let made = match b.compile(meaning, &options) {
        Ok(made) => made,
        Err(d) => {
            let why = d.items.first().map_or("", |d| &d.message);
            return format!("no artifact: {why}");
        }
    };
    options.files = made.files;
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
    let read = match b.read_back(&made.artifacts, &options) {
        Ok(read) => read,
        Err(d) => return format!("cannot be read back: {d}"),
    };
    let Some(allows) = read.allows(operation, object) else {
        let why = match entry.map_or("", |e| e.reason.as_ref()) {
            "" if operation == Operation::Tool => {
                "only the tool-call gate, which an agent asks before each call, sees tool calls"
            }
            why => why,
        };
        let colon = if why.is_empty() { "" } else { ": " };
        return format!("does not restrict it, so it happens{colon}{why}");
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
            (false, _) if decision.action == Action::Ask => ", because it cannot ask",
            (false, true) => ", because nothing in it grants it",
            _ => "",
        };
        format!("{word} it{why}{clause}")
    } else {
        format!("{word} it all the same{}{clause}", reason(allows))
    }
}
