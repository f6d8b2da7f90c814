//! `polc check`: validation.

use super::{Done, Format, Global, Outcome, input, output};

/// Validate policies.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to check; without any, the policy of `--policy`
    #[arg(value_name = "FILE")]
    files: Vec<String>,
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
                if global.format == Format::Human {
                    let p = &loaded.policy;
                    let s = if p.rules.len() == 1 { "" } else { "s" };
                    output::stderr(&format!(
                        "{}: fine: {} rule{s}, {} tests\n",
                        loaded.name,
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
