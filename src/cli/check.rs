//! `polc check`: validation, and lints.

use super::{Done, Format, Global, Outcome, input, output};
use polc::lint::lints;
use polc::semantics::Meaning;

/// Validate policies, and say what is probably not meant.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to check; without any, the policy of `--policy`
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Exit 1 if there is a lint
    #[arg(long)]
    strict: bool,
}

pub fn run(global: &Global, args: &Args) -> Done {
    let names: Vec<Option<&str>> = if args.files.is_empty() {
        vec![None]
    } else {
        args.files.iter().map(|f| Some(f.as_str())).collect()
    };
    let mut worst = Outcome::Fine;
    for name in names {
        let global = Global {
            policy: name.map(str::to_owned).or_else(|| global.policy.clone()),
            ..global.clone()
        };
        match input::load(&global, input::Purpose::Host) {
            Ok(loaded) => {
                let mut found = lints(&Meaning::new(&loaded.policy))
                    .unwrap_or_else(|e| polc::diagnostics::Diagnostics::from(e).items);
                let count = found.len();
                if !found.is_empty() {
                    for d in found.iter_mut().filter(|d| d.code.starts_with('L')) {
                        d.help.push(format!(
                            "if it is meant so: `allow_lints: [{{code: {}, reason: why}}]` on the rule",
                            d.code
                        ));
                    }
                    let all = polc::diagnostics::Diagnostics {
                        items: found,
                        sources: loaded.policy.sources.clone(),
                    };
                    output::diagnostics(&global, &all)?;
                    if args.strict && worst == Outcome::Fine {
                        worst = Outcome::Failure;
                    }
                }
                if global.format == Format::Human {
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
                output::diagnostics(&global, &d)?;
                worst = Outcome::Wrong;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(worst)
}
