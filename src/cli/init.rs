//! `polc init`: a starter policy.

use super::{Done, Outcome, Stop, output};
use polc::frontend::builtin;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Write a starter policy.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The built-in policy to start from
    #[arg(default_value = "coding-agent", value_name = "PROFILE")]
    profile: String,
    /// The file to write
    #[arg(short, long, default_value = "polc.yaml", value_name = "FILE")]
    output: PathBuf,
    /// Write over files that exist
    #[arg(long)]
    force: bool,
    /// List the built-in policies, and the rule sets to include
    #[arg(long)]
    list: bool,
}

/// The name of the schema file, written beside the policy.
const SCHEMA: &str = "polc.schema.json";

pub fn run(args: &Args) -> Done {
    if args.list {
        let mut out = String::from("policies (polc init NAME, --policy builtin:NAME):\n");
        for b in builtin::policies() {
            let _ = writeln!(out, "  {:<22} {}", b.name, b.description());
        }
        out.push_str("rule sets (- include: builtin:NAME):\n");
        for b in builtin::rule_sets() {
            let _ = writeln!(out, "  {:<22} {}", b.name, b.description());
        }
        output::stdout(out.as_bytes())?;
        return Ok(Outcome::Fine);
    }
    let profile = args
        .profile
        .strip_prefix("builtin:")
        .unwrap_or(&args.profile);
    let Some(text) = builtin::policies()
        .iter()
        .find(|b| b.name == profile)
        .map(|b| b.text)
    else {
        let names: Vec<&str> = builtin::policies().iter().map(|b| b.name).collect();
        return Err(Stop::Usage(format!(
            "no built-in policy is called `{profile}`; there are {}",
            names.join(", ")
        )));
    };
    let folder = match args.output.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let schema = folder.join(SCHEMA);
    // The schema is ours whatever it says; the policy may be somebody's work.
    if args.output.exists() && !args.force {
        return Err(Stop::Usage(format!(
            "`{}` exists; `--force` writes over it",
            args.output.display()
        )));
    }
    let policy = format!("# yaml-language-server: $schema=./{SCHEMA}\n{text}");
    let schema_text = format!("{:#}\n", super::schema::value()?);
    output::write_all(&[
        (schema.clone(), schema_text.as_bytes()),
        (args.output.clone(), policy.as_bytes()),
    ])?;
    output::stderr(&format!(
        "wrote {} (from builtin:{profile}) and {}\nnext: polc check, polc test, polc emit all -o artefacts\n",
        args.output.display(),
        schema.display()
    ))?;
    Ok(Outcome::Fine)
}
