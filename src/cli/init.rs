//! `polc init`: a policy of a few lines that builds on a built-in one.

use super::{Done, Outcome, Stop, output};
use polc::frontend::{builtin, native};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Write a policy that extends a built-in one
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The built-in policy to start from
    #[arg(default_value = "coding-agent", value_name = "PROFILE")]
    profile: String,
    /// The file to write
    #[arg(short, long, default_value = "polc.yaml", value_name = "FILE")]
    output: PathBuf,
    /// Write the whole policy out, instead of a few lines that extend it
    #[arg(long)]
    full: bool,
    /// Also write the JSON Schema beside it, for editors
    #[arg(long)]
    schema: bool,
    /// Overwrite files that exist
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
            let _ = writeln!(out, "  {:<23} {}", b.name, b.description());
        }
        out.push_str("rule sets (- include: builtin:NAME):\n");
        for b in builtin::rule_sets() {
            let _ = writeln!(out, "  {:<23} {}", b.name, b.description());
        }
        output::stdout(out.as_bytes())?;
        return Ok(Outcome::Fine);
    }
    let profile = args
        .profile
        .strip_prefix("builtin:")
        .unwrap_or(&args.profile);
    let Some(whole) = builtin::policy(profile) else {
        let names: Vec<&str> = builtin::policies().iter().map(|b| b.name).collect();
        let instead = match builtin::near(profile, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names.join(", ")),
        };
        return Err(Stop::Usage(format!(
            "no built-in policy is called `{profile}`; {instead}"
        )));
    };
    let folder = match args.output.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let schema = folder.join(SCHEMA);
    // The schema file always comes from polc. The policy may be a person's work.
    if args.output.exists() && !args.force {
        return Err(Stop::Usage(format!(
            "`{}` exists; `--force` overwrites it",
            args.output.display()
        )));
    }
    let mut policy = if args.schema {
        format!("# yaml-language-server: $schema=./{SCHEMA}\n")
    } else {
        String::new()
    };
    if args.full {
        policy.push_str(whole);
    } else {
        policy.push_str(&extending(profile, &name_of(folder, profile)));
    }
    let mut files = Vec::new();
    let schema_text = format!("{:#}\n", super::schema::value()?);
    if args.schema {
        files.push((schema.clone(), schema_text.as_bytes()));
    }
    files.push((args.output.clone(), policy.as_bytes()));
    output::write_all(&files)?;
    let (verb, and_schema) = (
        if args.full { "is a copy of" } else { "extends" },
        if args.schema {
            format!("wrote {}\n", schema.display())
        } else {
            String::new()
        },
    );
    output::stderr(&format!(
        "wrote {}, which {verb} builtin:{profile}\n{and_schema}next: add rules, then polc check, polc test, {}\n",
        args.output.display(),
        start_with(&args.output),
    ))?;
    Ok(Outcome::Fine)
}

/// The commands that start a program in the policy of this file. A policy that polc finds must be trusted first.
fn start_with(file: &Path) -> String {
    if file.file_name().is_some_and(|n| n == "polc.yaml") {
        "polc trust, polc run -- COMMAND".to_owned()
    } else {
        format!("polc run -p {} -- COMMAND", file.display())
    }
}

/// The name of a policy for the files in a folder: the folder's name, if it is a valid name.
fn name_of(folder: &Path, otherwise: &str) -> String {
    let full = std::fs::canonicalize(folder).unwrap_or_default();
    let name = full
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    if native::is_name(name) {
        name
    } else {
        otherwise
    }
    .to_owned()
}

/// A policy that extends a built-in one.
fn extending(profile: &str, name: &str) -> String {
    format!(
        r#"# The rules of this file are read first, then those of builtin:{profile}. The first that matches decides.
# `polc explain read ~/.ssh/id_ed25519` says which rule decides. `polc init --full` writes all rules out.
version: 1
name: {name}
extends: builtin:{profile}
rules:
  - name: secrets-of-this-project
    action: deny
    operations: [read, write]
    paths: ["${{workspace}}/secrets/**"]
  # - {{name: our-hosts, action: allow, operations: [connect], hosts: ["packages.example.org:443"]}}
tests:
  - deny: read ${{workspace}}/secrets/key.pem
"#
    )
}
