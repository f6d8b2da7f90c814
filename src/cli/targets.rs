//! `polc targets`, and the options of targets on the command line.

use super::{Done, Outcome, output};
use clap::{Arg, ArgAction, ArgMatches, Command};
use polc::backend::{self, Backend, OptionSpec, Options};
use polc::policy::Policy;
use std::collections::BTreeMap;
use std::fmt::Write;

/// List the targets and their options.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Done {
    let mut out = String::new();
    for b in backend::all() {
        let _ = writeln!(out, "{:<10} {}", b.id(), b.summary());
        for o in b.options() {
            let _ = writeln!(out, "{:10}   {}  {}", "", spelling(o), o.help);
        }
    }
    output::stdout(out.as_bytes())?;
    Ok(Outcome::Fine)
}

/// `--abi N (1, 2; default 6)`.
pub fn spelling(o: &OptionSpec) -> String {
    let mut text = format!("--{}", o.name);
    if let Some(v) = o.value_name {
        let _ = write!(text, " {v}");
    }
    let mut more: Vec<String> = Vec::new();
    if !o.values.is_empty() {
        more.push(o.values.join(", "));
    }
    if let Some(d) = o.default {
        more.push(format!("default {d}"));
    }
    if !more.is_empty() {
        let _ = write!(text, " ({})", more.join("; "));
    }
    text
}

/// The values of all targets' options on the command line. The options come from the registry.
#[derive(Debug, Clone, Default)]
pub struct TargetOptions {
    given: BTreeMap<&'static str, String>,
}

impl TargetOptions {
    /// Checks that every given option belongs to one of the targets.
    pub fn check(&self, backends: &[&'static dyn Backend]) -> Result<(), String> {
        for name in self.given.keys() {
            if !backends
                .iter()
                .any(|b| b.options().iter().any(|o| o.name == *name))
            {
                let owners: Vec<&str> = backend::all()
                    .iter()
                    .filter(|b| b.options().iter().any(|o| o.name == *name))
                    .map(|b| b.id())
                    .collect();
                return Err(format!(
                    "`--{name}` is an option of {}, which is not among the targets",
                    owners.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// The values for one back-end.
    pub fn of(&self, backend: &dyn Backend, policy: &Policy) -> Options {
        let values = self
            .given
            .iter()
            .filter(|(n, _)| backend.options().iter().any(|o| o.name == **n))
            .map(|(n, v)| (*n, v.clone()))
            .collect();
        Options {
            values,
            banner: Some(format!(
                "made by polc {} from the policy {}",
                env!("CARGO_PKG_VERSION"),
                policy.name
            )),
            files: Vec::new(),
        }
    }
}

impl clap::FromArgMatches for TargetOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut out = Self::default();
        out.update_from_arg_matches(matches)?;
        Ok(out)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for o in backend::all().iter().flat_map(|b| b.options()) {
            if matches.value_source(o.name) != Some(clap::parser::ValueSource::CommandLine) {
                continue;
            }
            let value = match o.value_name {
                Some(_) => matches
                    .get_one::<String>(o.name)
                    .cloned()
                    .unwrap_or_default(),
                None => String::new(),
            };
            self.given.insert(o.name, value);
        }
        Ok(())
    }
}

impl clap::Args for TargetOptions {
    fn augment_args(mut cmd: Command) -> Command {
        for b in backend::all() {
            for o in b.options() {
                let mut arg = Arg::new(o.name)
                    .long(o.name)
                    .help(o.help)
                    .help_heading(format!("Options of {}", b.id()));
                arg = match o.value_name {
                    Some(v) => arg.value_name(v).action(ArgAction::Set),
                    None => arg.action(ArgAction::SetTrue),
                };
                if !o.values.is_empty() {
                    arg = arg.value_parser(clap::builder::PossibleValuesParser::new(o.values));
                }
                if let Some(d) = o.default {
                    arg = arg.default_value(d);
                }
                cmd = cmd.arg(arg);
            }
        }
        cmd
    }

    fn augment_args_for_update(cmd: Command) -> Command {
        Self::augment_args(cmd)
    }
}
