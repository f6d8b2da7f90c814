//! `polc verify`: does an artifact still mean the policy?

use super::coverage::refused_json;
use super::{
    Done, Format, Forms, Global, Outcome, Stop, artifacts, input, output, targets::TargetOptions,
};
use polc::backend::{Artifact, Backend, Evaluate, Form as ObjectForm, Options};
use polc::policy::Policy;
use polc::proof::{
    Bound, Comparison, Difference, Refused, answers, compare, compare_unaccounted, refused,
    subjects,
};
use polc::semantics::Meaning;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Say whether artifacts, perhaps edited by hand or made long ago, still mean the policy.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Artifacts of one target or several, or folders with artifacts
    #[arg(required = true, value_name = "ARTIFACT")]
    artifacts: Vec<PathBuf>,
    /// Fail on every difference. Without it: artifacts may differ as the ledger of their target says
    #[arg(long)]
    strict: bool,
    /// Exit 3 if an artifact refuses what an `allow` test of the policy names
    #[arg(long, value_name = "HOW", value_parser = ["usable"])]
    require: Option<String>,
    #[command(flatten)]
    options: TargetOptions,
}

impl Forms for Args {
    const FORMS: &'static [Format] = &[Format::Human, Format::Json];
}

/// The files of one target.
struct Group {
    backend: &'static dyn Backend,
    paths: Vec<PathBuf>,
    artifacts: Vec<Artifact>,
}

pub fn run(global: &Global, args: &Args) -> Done {
    let groups = groups(&args.artifacts)?;
    let used: Vec<&'static dyn Backend> = groups.iter().map(|g| g.backend).collect();
    args.options.check(&used).map_err(Stop::Usage)?;
    let loaded = input::load(global, input::Purpose::Emit)?;
    let policy = &loaded.policy;
    // This reads the artifacts, and not their ledgers.
    let meaning = Meaning::new(policy).without_ledgers();
    let mut text = String::new();
    let mut all: Vec<Value> = Vec::new();
    let mut worst = Outcome::Fine;
    for group in &groups {
        let options = args.options.of(group.backend, policy);
        let fresh = group.backend.compile(&meaning, &options)?;
        let known = Some((policy, fresh.files.as_slice()));
        let found = artifacts::meant(group.backend, &group.artifacts, &args.options, known)?;
        let fresh = artifacts::meant(group.backend, &fresh.artifacts, &args.options, known)?;
        let comparison = if args.strict {
            compare(&meaning, found.as_ref())
        } else {
            compare_unaccounted(&meaning, found.as_ref(), fresh.as_ref())
        };
        let refused = refusals(group.backend, policy, &options, found.as_ref())?;
        if !refused.is_empty() && args.require.is_some() {
            worst = Outcome::BelowRequirement;
        }
        let others = Others::of(found.as_ref(), fresh.as_ref());
        if !comparison.is_equal() || !others.is_empty() || others.bound.is_none() {
            worst = Outcome::BelowRequirement;
        }
        if global.format == Format::Json {
            let mut value = to_json(policy, group, &comparison, &others);
            value["refused"] = refused.iter().map(|r| refused_json(policy, r)).collect();
            all.push(value);
        } else {
            for r in &refused {
                let _ = writeln!(text, "{}: {}", names(group), r.line(policy));
            }
            human(
                &mut text,
                policy,
                group,
                (&comparison, &others),
                args.strict,
            );
        }
    }
    if global.format == Format::Json {
        text = format!("{:#}\n", Value::Array(all));
    }
    output::stdout(text.as_bytes())?;
    Ok(worst)
}

/// What the artifact refuses though a test of the policy allows it.
fn refusals(
    backend: &dyn Backend,
    policy: &Policy,
    options: &Options,
    found: &dyn Evaluate,
) -> Result<Vec<Refused>, Stop> {
    let answered = answers(policy, backend, found);
    if !answered.iter().any(|a| a.is_refused()) {
        return Ok(Vec::new());
    }
    // Only the ledger has the reasons.
    let ledger = backend.compile(&Meaning::new(policy), options)?.ledger;
    Ok(refused(policy, backend, found, &ledger))
}

/// What is about no operation on an object, and not as in the artifact that the compiler makes.
struct Others {
    missing: Vec<String>,
    added: Vec<String>,
    /// Who only one of the two artifacts confines. `None`: there are too many patterns to compare.
    bound: Option<Vec<Bound>>,
}

impl Others {
    fn of(found: &dyn Evaluate, fresh: &dyn Evaluate) -> Self {
        let bound = subjects(found, fresh).ok();
        let (found, fresh) = (found.others(), fresh.others());
        Self {
            bound,
            missing: fresh.difference(&found).cloned().collect(),
            added: found.difference(&fresh).cloned().collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.added.is_empty() && self.bound().is_empty()
    }

    fn bound(&self) -> &[Bound] {
        self.bound.as_deref().unwrap_or_default()
    }
}

/// The artifacts by target, with the contents of folders.
fn groups(paths: &[PathBuf]) -> Result<Vec<Group>, Stop> {
    let mut groups: Vec<Group> = Vec::new();
    for path in paths {
        let from_folder = path.is_dir();
        for file in files(path)? {
            let artifact = artifacts::read(&file)?;
            let Some(backend) = artifacts::backend_of(&artifact) else {
                // A folder may have other files in it. A file that the user named is meant.
                if from_folder {
                    continue;
                }
                return Err(Stop::Usage(format!(
                    "`{}` is not an artifact that polc knows: neither its name nor its content tells its target",
                    file.display()
                )));
            };
            match groups
                .iter_mut()
                .find(|g| g.backend.id() == backend.id() && belongs(g, &file))
            {
                Some(group) => {
                    group.paths.push(file);
                    group.artifacts.push(artifact);
                }
                None => groups.push(Group {
                    backend,
                    paths: vec![file],
                    artifacts: vec![artifact],
                }),
            }
        }
    }
    // The user may have named only one file of a target with several.
    for group in &mut groups {
        for other in group.backend.companions(&group.paths[0]) {
            if other.is_file() && !group.paths.contains(&other) {
                group.artifacts.push(artifacts::read(&other)?);
                group.paths.push(other);
            }
        }
    }
    if groups.is_empty() {
        return Err(Stop::Usage(
            "there is no artifact that polc knows".to_owned(),
        ));
    }
    Ok(groups)
}

/// Whether a file is a further part of an artifact in the group.
fn belongs(group: &Group, file: &Path) -> bool {
    group
        .paths
        .iter()
        .any(|p| group.backend.companions(p).iter().any(|c| c == file))
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Stop> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let listed = std::fs::read_dir(path).and_then(|entries| {
        entries
            .map(|e| e.map(|e| e.path()))
            .collect::<Result<Vec<_>, _>>()
    });
    let mut files: Vec<PathBuf> = listed
        .map_err(|e| anyhow::Error::new(e).context(format!("cannot list `{}`", path.display())))?
        .into_iter()
        .filter(|p| p.is_file())
        .collect();
    files.sort();
    Ok(files)
}

fn names(group: &Group) -> String {
    let names: Vec<String> = group
        .paths
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    names.join(", ")
}

fn human(
    out: &mut String,
    policy: &Policy,
    group: &Group,
    (comparison, others): (&Comparison, &Others),
    strict: bool,
) {
    let differences: Vec<&Difference> = comparison.differences().collect();
    let name = names(group);
    let id = group.backend.id();
    let unknown = comparison.is_unknown() || others.bound.is_none();
    if unknown {
        let _ = writeln!(
            out,
            "{name}: polc cannot tell whether it means the policy: there are too many patterns to compare"
        );
    }
    if differences.is_empty() && others.is_empty() {
        if !unknown {
            let beyond = if strict {
                "means the policy"
            } else {
                "means the policy, except for what the ledger of its target says"
            };
            let _ = writeln!(out, "{name}: {id}: {beyond}");
        }
        return;
    }
    let count =
        differences.len() + others.missing.len() + others.added.len() + others.bound().len();
    let s = if count == 1 { "" } else { "s" };
    let _ = writeln!(
        out,
        "{name}: {id}: does not mean the policy: {count} difference{s}"
    );
    for bound in others.bound() {
        let _ = if bound.by_found {
            writeln!(
                out,
                "  confines {}, which is not the policy's subject",
                bound.what
            )
        } else {
            writeln!(
                out,
                "  does not confine {}, which is the policy's subject",
                bound.what
            )
        };
    }
    for text in &others.missing {
        let _ = writeln!(out, "  lacks `{text}`, which the policy's own artifact has");
    }
    for text in &others.added {
        let _ = writeln!(
            out,
            "  has `{text}`, which the policy's own artifact does not have"
        );
    }
    for d in differences {
        let (does, says) = if d.looser() {
            ("lets through", "denies")
        } else {
            ("refuses", "allows")
        };
        let _ = writeln!(
            out,
            "  {does} {} {}{}{}, which the policy {says}",
            d.operation,
            d.witness.object,
            if d.ways.is_empty() {
                String::new()
            } else {
                format!(" by {}", d.ways.join(", "))
            },
            match d.form {
                Some(ObjectForm::Directory) => " as a directory",
                Some(ObjectForm::Moved) => ", moved with everything beneath it",
                _ => "",
            }
        );
        let _ = writeln!(out, "      the policy: {}", policy.decider(d.rule));
        if let Some(clause) = &d.clause {
            let file = group
                .paths
                .get(clause.artifact)
                .map_or_else(String::new, |p| p.display().to_string());
            if clause.line > 0 {
                let _ = writeln!(
                    out,
                    "      the artifact: {file}:{}: {}",
                    clause.line, clause.text
                );
            } else {
                let _ = writeln!(out, "      the artifact: {file}: {}", clause.text);
            }
        }
    }
}

fn to_json(policy: &Policy, group: &Group, comparison: &Comparison, others: &Others) -> Value {
    let differences: Vec<Value> = comparison
        .differences()
        .map(|d| {
            json!({
                "rule": d.rule.map_or("default_action", |id| policy.rule(id).name.as_str()),
                "operation": d.operation.name(),
                "object": d.witness.object.to_string(),
                "ways": d.ways,
                "policy": d.witness.policy.name(),
                "artifact": if d.looser() { "allow" } else { "deny" },
                "clause": d.clause.as_ref().map(|c| json!({
                    "file": group.paths.get(c.artifact).map(|p| p.display().to_string()),
                    "line": c.line,
                    "text": c.text,
                })),
            })
        })
        .collect();
    let bound: Vec<Value> = others
        .bound()
        .iter()
        .map(|b| json!({"what": b.what, "policy": !b.by_found, "artifact": b.by_found}))
        .collect();
    json!({
        "target": group.backend.id(),
        "files": group.paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>(),
        "equal": comparison.is_equal() && others.is_empty() && others.bound.is_some(),
        "unknown": comparison.is_unknown() || others.bound.is_none(),
        "subject": bound,
        "differences": differences,
        "lacks": others.missing,
        "adds": others.added,
    })
}
