//! `polc diff`: what is newly allowed and newly denied.

use super::{Done, Format, Forms, Global, Outcome, Stop, input, output, targets::TargetOptions};
use polc::diff::{Became, Change, Side, diff};
use polc::policy::{Operation, Platform, Policy};
use polc::semantics::{Decision, Meaning, TooLarge};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fmt::Write;

/// Say what one policy or artifact allows that another does not.
///
/// So a review of a changed policy sees what it means, and not only which lines changed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A policy (a file, or `builtin:NAME`), or an artifact of `polc emit`
    old: OsString,
    /// The policy or artifact to compare it with
    new: OsString,
    /// Show every change, each with an example. Without it: all of them if they take few lines, else a summary
    #[arg(long)]
    all: bool,
    /// Exit 1 only if there is a change of this kind
    #[arg(long, value_enum, value_name = "KIND")]
    fail_on: Option<Kind>,
    #[command(flatten)]
    options: TargetOptions,
}

impl Forms for Args {
    const FORMS: &'static [Format] = &[Format::Human, Format::Json];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Something is allowed that was not allowed before
    NewlyAllowed,
    /// Something is no longer allowed
    NewlyDenied,
}

pub fn run(global: &Global, args: &Args) -> Done {
    let sides = [
        input::side(global, &args.old, &args.options)?,
        input::side(global, &args.new, &args.options)?,
    ];
    let [old, new] = &sides;
    let meanings = [old, new].map(|s| match s {
        input::Comparable::Policy(loaded) => Some(Meaning::new(&loaded.policy)),
        input::Comparable::Artifact(_) => None,
    });
    let side = |i: usize| match (&meanings[i], &sides[i]) {
        (Some(meaning), _) => Side::Policy(meaning),
        (None, input::Comparable::Artifact(read)) => Side::Artifact(read.as_ref()),
        (None, input::Comparable::Policy(_)) => unreachable!("a policy has a meaning"),
    };
    let changes = diff(&side(0), &side(1))
        .map_err(|e: TooLarge| Stop::Diagnostics(polc::diagnostics::Diagnostics::from(e)))?;
    let policies = meanings.each_ref().map(|m| m.as_ref().map(Meaning::policy));
    let text = if global.format == Format::Json {
        let all: Vec<Value> = changes.iter().map(|c| to_json(c, policies)).collect();
        format!("{:#}\n", Value::Array(all))
    } else {
        let whole = human(&changes, policies);
        if args.all || whole.lines().count() <= SHORT {
            whole
        } else {
            brief(&changes, "polc diff --all")
        }
    };
    output::stdout(text.as_bytes())?;
    let some = |became: &[Became]| changes.iter().any(|c| became.contains(&c.became));
    let fails = match args.fail_on {
        None => !changes.is_empty(),
        Some(Kind::NewlyAllowed) => some(&[Became::Allowed]),
        Some(Kind::NewlyDenied) => some(&[Became::Denied, Became::Asked]),
    };
    Ok(if fails {
        Outcome::Failure
    } else {
        Outcome::Fine
    })
}

fn word(became: Became) -> &'static str {
    match became {
        Became::Allowed => "newly allowed",
        Became::Denied => "newly denied",
        Became::Asked => "newly asked",
    }
}

/// `rule (place)`, or the default.
fn by(policy: Option<&Policy>, decision: Option<Decision>) -> Option<String> {
    let (policy, decision) = (policy?, decision?);
    Some(match decision.rule {
        Some(id) => {
            let rule = policy.rule(id);
            format!("`{}` at {}", rule.name, policy.sources.place(rule.span))
        }
        None => format!(
            "default_action at {}",
            policy.sources.place(policy.default_span)
        ),
    })
}

/// The changes as text.
pub fn human(changes: &[Change], policies: [Option<&Policy>; 2]) -> String {
    if changes.is_empty() {
        return "they mean the same\n".to_owned();
    }
    let mut out = String::new();
    for became in [Became::Allowed, Became::Asked, Became::Denied] {
        let mut some = changes.iter().filter(|c| c.became == became).peekable();
        if some.peek().is_none() {
            continue;
        }
        let _ = writeln!(out, "{}:", word(became));
        // Operations with the same change share one line.
        let mut told: Vec<(Vec<Operation>, &Change)> = Vec::new();
        for c in some {
            let alike = |t: &&mut (Vec<Operation>, &Change)| {
                t.1.what == c.what
                    && t.1.in_part == c.in_part
                    && t.1.example == c.example
                    && t.1.decisions == c.decisions
                    && t.1.platforms == c.platforms
                    && c.operation.is_some()
            };
            match told.iter_mut().find(alike) {
                Some(t) => t.0.extend(c.operation),
                None => told.push((c.operation.into_iter().collect(), c)),
            }
        }
        for (operations, c) in told {
            let names: Vec<&str> = operations.iter().map(|o| o.name()).collect();
            let part = if c.in_part { "part of " } else { "" };
            let only = c.platforms.limit();
            let only = only.map_or_else(String::new, |only| format!(" ({only})"));
            let _ = write!(out, "  {}", names.join(", "));
            let _ = writeln!(
                out,
                "{}{part}{}{only}",
                if names.is_empty() { "" } else { "  " },
                c.what
            );
            if let Some(example) = &c.example {
                let _ = write!(out, "      for example {example}");
                let by = [
                    by(policies[0], c.decisions[0]),
                    by(policies[1], c.decisions[1]),
                ];
                match by {
                    [Some(a), Some(b)] if a != b => {
                        let _ = write!(out, ": was by {a}, is by {b}");
                    }
                    [Some(a), _] | [_, Some(a)] => {
                        let _ = write!(out, ": by {a}");
                    }
                    [None, None] => {}
                }
                out.push('\n');
            }
        }
    }
    out
}

/// So many lines are short enough to be shown without a summary.
const SHORT: usize = 20;

/// How many changes of a kind a summary has: more of what is newly allowed.
const ALLOWED: usize = 9;
const OTHERS: usize = 2;

/// The changes in at most 20 lines; `whole` is the command that shows all.
pub fn brief(changes: &[Change], whole: &str) -> String {
    if changes.is_empty() {
        return "they mean the same\n".to_owned();
    }
    let mut out = String::new();
    for (became, most) in [
        (Became::Allowed, ALLOWED),
        (Became::Asked, OTHERS),
        (Became::Denied, OTHERS),
    ] {
        // Operations with the same change share one line, and so do the entries of a list of names.
        let mut told: Vec<(Vec<&str>, String)> = Vec::new();
        for c in changes.iter().filter(|c| c.became == became) {
            let part = if c.in_part { "part of " } else { "" };
            let what = format!("{part}{}", c.what);
            let Some(operation) = c.operation else {
                let list = what.split_once(": ");
                let of = |t: &(Vec<&str>, String)| {
                    let (head, _) = list?;
                    (t.0.is_empty() && t.1.starts_with(&format!("{head}: "))).then_some(())
                };
                match (told.iter_mut().find(|t| of(t).is_some()), list) {
                    (Some(t), Some((_, name))) => t.1 = format!("{} {name}", t.1),
                    _ => told.push((Vec::new(), what)),
                }
                continue;
            };
            match told
                .iter_mut()
                .find(|t| !t.0.is_empty() && t.1 == what && !t.0.contains(&operation.name()))
            {
                Some(t) => t.0.push(operation.name()),
                None => told.push((vec![operation.name()], what)),
            }
        }
        if told.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{}:", word(became));
        for (operations, what) in told.iter().take(most) {
            let gap = if operations.is_empty() { "" } else { "  " };
            let _ = writeln!(out, "  {}{gap}{what}", operations.join(", "));
        }
        if told.len() > most {
            let _ = writeln!(out, "  and {} more", told.len() - most);
        }
    }
    let _ = writeln!(out, "(`{whole}` shows all, with examples)");
    out
}

fn to_json(c: &Change, policies: [Option<&Policy>; 2]) -> Value {
    json!({
        "change": word(c.became).replace(' ', "-"),
        "operation": c.operation.map(|o| o.name()),
        "what": c.what,
        "in_part": c.in_part,
        "platforms": c.platforms.iter().map(Platform::name).collect::<Vec<_>>(),
        "example": c.example.as_ref().map(ToString::to_string),
        "was_by": by(policies[0], c.decisions[0]),
        "is_by": by(policies[1], c.decisions[1]),
    })
}
