//! `polc why`: which line of the policy refused it.

use super::{Done, Format, Forms, Global, Outcome, Stop, input, output};
use anyhow::Context;
use polc::fidelity::show_bytes;
use polc::semantics::Meaning;
use polc::why::{Finding, Log, Place, Reader, Ruling, explain_each, human, summary};
use serde_json::{Value, json};
use std::fs::File;
use std::io::BufReader;

/// Say for each refusal in a kernel's log which rule refused it, and what would allow it.
///
/// It reads audit logs, `dmesg`, `journalctl` (also `-o json`), Tetragon's events and the lines of polc's own proxy. In
/// them it finds the records of Landlock, AppArmor, SELinux and seccomp. Exit status 1: polc cannot read the log, or does
/// not understand a refusal in it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The log, or `-` for standard input
    #[arg(value_name = "LOG")]
    log: String,
}

impl Forms for Args {
    const FORMS: &'static [Format] = &[Format::Human, Format::Json];
}

pub fn run(global: &Global, args: &Args) -> Done {
    if args.log == "-" && global.policy.as_deref().is_some_and(|p| p == "-") {
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
    // Artifacts have the home and the workspace that they were made for, and not the caller's.
    let (emitted, _) = input::load_with_warnings(global, input::Purpose::Emit)?;
    let name = loaded.name.clone();
    let (own, _) = input::with_own_rules(loaded, input::Purpose::Host);
    let meanings = [&own, &emitted.policy].map(Meaning::new);
    let [here, there] = &meanings;
    let findings = explain_each(here, there, &log);
    let text = if global.format == Format::Json {
        format!("{:#}\n", to_json(&name, &log, &findings))
    } else {
        findings.iter().map(human).collect()
    };
    output::stdout(text.as_bytes())?;
    output::stderr(&summary(&log, &findings))?;
    Ok(if log.unread_count > 0 || log.dropped > 0 {
        Outcome::Failure
    } else {
        Outcome::Fine
    })
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
