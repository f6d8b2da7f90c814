//! `polc check`: validation, and lints.

use super::{Done, Format, Global, Outcome, input, output};
use polc::diagnostics::Diagnostics;
use polc::lint::lints;
use polc::policy::Sources;
use polc::semantics::Meaning;
use std::ffi::OsString;

/// Validate policies, and say what is probably not meant.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to check; without any, the policy of `--policy`
    #[arg(value_name = "FILE")]
    files: Vec<OsString>,
    /// Exit 1 if there is a lint
    #[arg(long)]
    strict: bool,
}

pub fn run(global: &Global, args: &Args) -> Done {
    let names: Vec<Option<&OsString>> = if args.files.is_empty() {
        vec![None]
    } else {
        args.files.iter().map(Some).collect()
    };
    let mut worst = Outcome::Fine;
    // A program reads one document, about all files, and there is one where there is nothing to tell.
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
        match input::load_with_warnings(&global, input::Purpose::Host) {
            Ok((loaded, warnings)) => {
                if !warnings.items.is_empty() {
                    tell(warnings)?;
                }
                let mut found = lints(&Meaning::new(&loaded.policy))
                    .unwrap_or_else(|e| Diagnostics::from(e).items);
                let count = found.len();
                if !found.is_empty() {
                    for d in found.iter_mut().filter(|d| d.code.starts_with('L')) {
                        d.help.push(format!(
                            "if it is meant so: `allow_lints: [{{code: {}, reason: why}}]` on the rule",
                            d.code
                        ));
                    }
                    tell(Diagnostics {
                        items: found,
                        sources: loaded.policy.sources.clone(),
                    })?;
                    if args.strict && worst == Outcome::Fine {
                        worst = Outcome::Failure;
                    }
                }
                if for_people {
                    let p = &loaded.policy;
                    let s = if p.rules.len() == 1 { "" } else { "s" };
                    output::stderr(&format!(
                        "{}: {}: {} rule{s}, {} tests\n",
                        loaded.name,
                        match count {
                            0 => "fine".to_owned(),
                            1 => "valid, 1 lint".to_owned(),
                            n => format!("valid, {n} lints"),
                        },
                        p.rules.len(),
                        p.tests.len()
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
    if !for_people {
        output::diagnostics(global, &all)?;
    }
    Ok(worst)
}
