//! `polc why`: which line of the policy was it.

use super::{Done, Format, Global, Outcome, Stop, input, output};
use anyhow::Context;
use polc::fidelity::show_bytes;
use polc::policy::Action;
use polc::semantics::Meaning;
use polc::why::{Finding, Log, Place, Reader, Ruling, explain};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;

/// Say for each refusal in a kernel's log which rule it was, and what would allow it.
///
/// Reads audit logs, `dmesg`, `journalctl` (also `-o json`), Tetragon's events and what polc's own proxy prints:
/// Landlock, AppArmor, SELinux and seccomp records among other lines. Exit status 1: the log cannot be read, or some
/// refusals in it could not be understood.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The log; `-` is standard input
    #[arg(value_name = "LOG")]
    log: String,
}

pub fn run(global: &Global, args: &Args) -> Done {
    if args.log == "-" && global.policy.as_deref() == Some("-") {
        return Err(Stop::Usage(
            "the log and the policy cannot both be standard input".to_owned(),
        ));
    }
    let loaded = input::load(global, input::Purpose::Host)?;
    let mut reader = Reader::new();
    let shown = show_bytes(args.log.as_bytes());
    let taken = if args.log == "-" {
        reader.take(std::io::stdin().lock())
    } else {
        File::open(&args.log).and_then(|f| reader.take(BufReader::new(f)))
    };
    taken.with_context(|| format!("cannot read the log `{shown}`"))?;
    let log = reader.finish();
    let meaning = Meaning::new(&loaded.policy);
    let findings = explain(&meaning, &log);
    let text = if global.format == Format::Json {
        format!("{:#}\n", to_json(&loaded.name, &log, &findings))
    } else {
        let mut out = String::new();
        for f in &findings {
            human(&mut out, f);
        }
        out
    };
    output::stdout(text.as_bytes())?;
    output::stderr(&summary(&log, &findings))?;
    Ok(if log.unread_count > 0 || log.dropped > 0 {
        Outcome::Failure
    } else {
        Outcome::Fine
    })
}

fn human(out: &mut String, f: &Finding) {
    let d = &f.denial;
    let times = if f.count == 1 {
        String::new()
    } else {
        format!(" ({} times)", f.count)
    };
    let verb = if d.only_logged {
        "would refuse"
    } else {
        "refused"
    };
    let _ = writeln!(out, "{} {verb}: {}{times}", d.layer.name(), d.access);
    if let Some(p) = &d.program {
        let _ = writeln!(out, "  program: {}", show_bytes(p));
    }
    for (operation, ruling) in &f.rulings {
        let what = operation.map_or_else(String::new, |o| format!("{o}: "));
        match ruling {
            Ruling::Refuses(action, place) => {
                let _ = writeln!(out, "  {what}{} by {}", said(*action), named(place));
                if let Some(m) = &place.message {
                    let _ = writeln!(out, "    message: {}", show_bytes(m.as_bytes()));
                }
            }
            Ruling::Allows(place, text) => {
                let _ = writeln!(out, "  {what}allowed by {}", named(place));
                let _ = writeln!(out, "    {text}");
            }
            Ruling::Unknown(text) => {
                let _ = writeln!(out, "  {what}not known: {text}");
            }
        }
    }
    if f.rulings.is_empty() {
        let _ = writeln!(
            out,
            "  the language has no rule for this, so none of the policy refused it, and none can allow it"
        );
    }
    for note in &d.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    if f.ours == Some(false) {
        let _ = writeln!(
            out,
            "  note: what refused is called `{}`, which is not what this policy makes",
            show_bytes(d.by.as_deref().unwrap_or_default())
        );
    }
    if let Some(c) = &f.change {
        let _ = writeln!(out, "  to allow it, {}:", c.put);
        for line in c.yaml.lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
    out.push('\n');
}

fn said(action: Action) -> &'static str {
    match action {
        Action::Ask => "asked, which this layer cannot,",
        _ => "denied",
    }
}

fn named(place: &Place) -> String {
    let name = show_bytes(place.name.as_bytes());
    if place.rule.is_some() {
        format!("rule `{name}` at {}", place.place)
    } else {
        format!("{name} at {}", place.place)
    }
}

fn summary(log: &Log, findings: &[Finding]) -> String {
    let mut out = String::new();
    let count: u64 = findings.iter().map(|f| f.count).sum();
    if count == 0 {
        let _ = writeln!(out, "no refusal in {} lines", log.lines);
    } else {
        let _ = writeln!(
            out,
            "{count} refusals in {} lines, {} of them different",
            log.lines,
            findings.len()
        );
    }
    let unexplained = findings.iter().filter(|f| !f.is_explained()).count();
    if unexplained > 0 {
        let _ = writeln!(
            out,
            "{unexplained} of them do not name their object in whole"
        );
    }
    if log.unread_count > 0 {
        let first: Vec<String> = log.unread.iter().map(u64::to_string).collect();
        let _ = writeln!(
            out,
            "warning: {} lines tell of a refusal and were not understood: line {}{}",
            log.unread_count,
            first.join(", "),
            if log.unread_count > first.len() as u64 {
                ", …"
            } else {
                ""
            }
        );
    }
    if log.dropped > 0 {
        let _ = writeln!(
            out,
            "warning: {} more refusals are left out: there are too many different ones",
            log.dropped
        );
    }
    out
}

fn to_json(policy: &str, log: &Log, findings: &[Finding]) -> Value {
    let text = |b: &Option<Vec<u8>>| b.as_ref().map(|b| show_bytes(b));
    let place = |p: &Place| {
        json!({
            "rule": p.rule.map(|_| p.name.clone()),
            "name": p.name,
            "place": p.place,
            "message": p.message,
        })
    };
    let findings: Vec<Value> = findings
        .iter()
        .map(|f| {
            let rulings: Vec<Value> = f
                .rulings
                .iter()
                .map(|(operation, ruling)| {
                    let (decision, by, why) = match ruling {
                        Ruling::Refuses(a, p) => (a.name(), Some(place(p)), None),
                        Ruling::Allows(p, why) => ("allow", Some(place(p)), Some(why.clone())),
                        Ruling::Unknown(why) => ("unknown", None, Some(why.clone())),
                    };
                    json!({
                        "operation": operation.map(|o| o.name()),
                        "decision": decision,
                        "by": by,
                        "why": why,
                    })
                })
                .collect();
            json!({
                "layer": f.denial.layer.name(),
                "access": f.denial.access.to_string(),
                "count": f.count,
                "program": text(&f.denial.program),
                "refused_by": text(&f.denial.by),
                "of_this_policy": f.ours,
                "only_logged": f.denial.only_logged,
                "rulings": rulings,
                "notes": f.denial.notes,
                "change": f.change.as_ref().map(|c| json!({"yaml": c.yaml, "put": c.put})),
            })
        })
        .collect();
    json!({
        "policy": policy,
        "lines": log.lines,
        "not_understood": log.unread_count,
        "left_out": log.dropped,
        "refusals": findings,
    })
}
