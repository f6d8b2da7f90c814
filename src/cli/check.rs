//! `polc check`: validation, and lints.

use super::homes::Homes;
use super::{Done, Format, Forms, Global, Outcome, input, output};
use polc::diagnostics::{self, Diagnostic, Diagnostics};
use polc::host::RealLinks;
use polc::lint::{Judge, lints, on_host};
use polc::policy::Sources;
use polc::semantics::Meaning;
use std::ffi::OsString;

/// Check policies for errors, and for what you probably do not mean (lints).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files to check. Without it: the policy of `--policy`
    #[arg(value_name = "FILE")]
    files: Vec<OsString>,
    /// Exit 1 if there is a lint
    #[arg(long)]
    strict: bool,
    /// Do not look at the symbolic links of this host. A link can lead around a rule
    #[arg(long)]
    no_host: bool,
}

impl Forms for Args {
    const FORMS: &'static [Format] = &[Format::Human, Format::Json, Format::Sarif];
}

/// The lints of a policy, each with advice. `host`: also those that this host's links cause.
pub fn lints_of(
    meaning: &Meaning<'_>,
    judge: &Judge,
    loaded: &input::Loaded,
    host: bool,
) -> Diagnostics {
    let mut found = lints(meaning, judge).unwrap_or_else(|e| Diagnostics::from(e).items);
    if host {
        found.extend(on_host(meaning, judge, &loaded.followed, &RealLinks));
    }
    // The reason of a stranger does not count.
    if !(judge.of_a_stranger && loaded.native) {
        advise(&mut found, loaded.native);
    }
    Diagnostics {
        items: found,
        sources: meaning.policy().sources.clone(),
    }
}

pub fn run(global: &Global, args: &Args) -> Done {
    let names: Vec<Option<&OsString>> = if args.files.is_empty() {
        vec![None]
    } else {
        args.files.iter().map(Some).collect()
    };
    let mut worst = Outcome::Fine;
    // A program expects one document about all files, also if there is nothing to report.
    let mut all = Diagnostics {
        items: Vec::new(),
        sources: Sources::default(),
    };
    let for_people = global.format == Format::Human;
    let mut tell = |d: Diagnostics| -> anyhow::Result<()> {
        if for_people {
            return output::diagnostics(global, &d);
        }
        all.append(d);
        Ok(())
    };
    for name in names {
        let global = Global {
            policy: name.cloned().or_else(|| global.policy.clone()),
            ..global.clone()
        };
        let purpose = if args.no_host {
            input::Purpose::Caller
        } else {
            input::Purpose::Host
        };
        match input::load_with_warnings(&global, purpose) {
            Ok((loaded, warnings)) => {
                if !warnings.items.is_empty() {
                    tell(warnings)?;
                }
                let meaning = Meaning::new(&loaded.policy);
                let homes = if args.no_host {
                    Vec::new()
                } else {
                    Homes::of_this_host().judged()
                };
                let judge = Judge {
                    homes,
                    of_a_stranger: false,
                };
                let found = lints_of(&meaning, &judge, &loaded, !args.no_host);
                let count = found.items.len();
                if count > 0 {
                    tell(found)?;
                    if args.strict && worst == Outcome::Fine {
                        worst = Outcome::Failure;
                    }
                }
                if for_people {
                    let p = &loaded.policy;
                    let rules = p.rules.iter().filter(|r| r.link.is_none()).count();
                    let s = |n: usize| if n == 1 { "" } else { "s" };
                    let tests = p.tests.len();
                    output::stderr(&format!(
                        "{}: {}: {rules} rule{}, {tests} test{}\n",
                        loaded.name,
                        match count {
                            0 => "fine".to_owned(),
                            1 => "valid, 1 lint".to_owned(),
                            n => format!("valid, {n} lints"),
                        },
                        s(rules),
                        s(tests)
                    ))?;
                }
            }
            Err(super::Stop::Diagnostics(d)) => {
                tell(d)?;
                worst = Outcome::Wrong;
            }
            Err(e) => return Err(e),
        }
    }
    let document = match global.format {
        Format::Json => Some(diagnostics::json(&all)),
        Format::Sarif => Some(diagnostics::sarif(&all)),
        _ => None,
    };
    if let Some(document) = document {
        output::stdout(format!("{document:#}\n").as_bytes())?;
    }
    Ok(worst)
}

/// Adds how to answer a lint in the file's own language. Files of other tools have no words for most answers, and their
/// authors cannot change rules that the front-end made.
fn advise(found: &mut Vec<Diagnostic>, native: bool) {
    if native {
        for d in found.iter_mut().filter(|d| d.code.starts_with('L')) {
            d.help.push(format!(
                "if you want this: `allow_lints: [{{code: {}, reason: why}}]` on the rule",
                d.code
            ));
        }
        return;
    }
    found.retain(|d| !matches!(d.code, "L001" | "L002" | "L003"));
    for d in found.iter_mut().filter(|d| d.code.starts_with('L')) {
        d.help = vec![match d.code {
            "L005" => "list it under `sandbox.deny_paths.read`".to_owned(),
            _ => "a file of AvaKill cannot say this, but a policy of polc can (`polc init`)"
                .to_owned(),
        }];
    }
}
