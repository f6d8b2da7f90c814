//! `polc emit`: artifacts.

use super::require::{Demand, Found};
use super::{Done, Global, Outcome, Stop, input, ledger, output, targets::TargetOptions};
use anyhow::anyhow;
use polc::backend::{self, Artifact, Backend, Options};
use polc::diagnostics::Diagnostics;
use polc::fidelity::{Ledger, show_bytes};
use polc::parallel;
use polc::policy::Policy;
use polc::proof::{self, Refused};
use polc::semantics::Meaning;
use std::path::{Path, PathBuf};

/// Compile the policy for one target, several, or all.
///
/// An artifact is a file for the target's own tool. The ledger lists what it keeps and loses of each rule.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A target (`polc targets` lists them), several, or `all`
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Where to write: a file for one artifact, a folder for several. Without it: standard output
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Print the whole ledger instead of its summary: to standard output if artifacts go to files, else to standard
    /// error
    #[arg(long, value_enum, value_name = "FORMAT")]
    ledger: Option<ledger::LedgerFormat>,
    /// Write nothing and exit 3 unless each artifact is so
    #[arg(long, value_enum, value_delimiter = ',', value_name = "HOW,…")]
    require: Vec<Demand>,
    /// The same as `--require safe`
    #[arg(long)]
    strict: bool,
    /// Write nothing: compare with the files at `-o`, and print the difference. Exit 1 if there is one
    #[arg(long, requires = "output")]
    check: bool,
    /// Leave out the summary
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    options: TargetOptions,
}

impl Args {
    /// The command that `polc enforce sandbox --output F` and similar ones stand for.
    pub fn for_target(
        target: &str,
        output: Option<PathBuf>,
        strict: bool,
        options: TargetOptions,
    ) -> Self {
        Self {
            targets: vec![target.to_owned()],
            output,
            ledger: None,
            require: Vec::new(),
            strict,
            check: false,
            quiet: false,
            options,
        }
    }
}

/// The artifacts and the ledger of one target.
struct Made {
    artifacts: Vec<Artifact>,
    ledger: Ledger,
    /// What the policy's `allow` tests name and the artifact refuses.
    refused: Vec<Refused>,
}

/// Most refusals of a target that are told.
const TOLD: usize = 5;

/// What artifacts refuse though a test of the policy allows it. It is told first, and also with `--quiet`.
fn refusals(policy: &Policy, made: &[Made]) -> String {
    let mut out = String::new();
    for m in made {
        for refused in m.refused.iter().take(TOLD) {
            out.push_str(&format!("warning: {}\n", refused.line(policy)));
        }
        if m.refused.len() > TOLD {
            let id = m.ledger.target;
            out.push_str(&format!(
                "warning: {id} refuses {} more that tests allow: `polc test --layers {id}` shows them\n",
                m.refused.len() - TOLD
            ));
        }
    }
    out
}

pub fn run(global: &Global, args: &Args) -> Done {
    let backends = select(&args.targets)?;
    args.options.check(&backends).map_err(Stop::Usage)?;
    let loaded = input::load(global, input::Purpose::Emit)?;
    let policy = &loaded.policy;
    let meaning = Meaning::new(policy);
    let made = compile(&backends, &meaning, args, policy)?;

    output::stderr(&refusals(policy, &made))?;
    // Who compares wants to know whether there is a difference.
    let quiet = args.quiet || args.check;
    if !quiet {
        output::stderr(&assumed(&backends, policy))?;
    }
    if !quiet || args.ledger.is_some() {
        let to_stdout = args.output.is_some() && args.ledger.is_some();
        let text = ledger::report(policy, made.iter().map(|m| &m.ledger), args.ledger);
        if to_stdout {
            output::stdout(text.as_bytes())?
        } else {
            output::stderr(&text)?
        }
    }
    let found = Found {
        exact: made.iter().all(|m| m.ledger.is_exact()),
        safe: !made.iter().any(|m| m.ledger.leaks()),
        usable: made.iter().all(|m| m.refused.is_empty()),
    };
    let strict = args.strict.then_some(Demand::Safe);
    let demands: Vec<Demand> = strict.into_iter().chain(args.require.clone()).collect();
    if let Some(demand) = found.falls_short(&demands) {
        let option = match demand {
            Demand::Safe if args.strict => "--strict".to_owned(),
            other => format!("--require {}", other.word()),
        };
        let why = match demand {
            Demand::Exact => "a layer differs from the policy",
            Demand::Safe => "a layer lets through what the policy denies",
            Demand::Usable => "a layer refuses what a test of the policy allows",
        };
        output::stderr(&format!("error: `{option}`: {why}; nothing was written\n"))?;
        return Ok(Outcome::BelowRequirement);
    }
    let artifacts: Vec<&Artifact> = made.iter().flat_map(|m| &m.artifacts).collect();
    match &args.output {
        None => {
            let [m] = made.as_slice() else {
                return Err(Stop::Usage(
                    "several targets need a folder: add `-o FOLDER`".to_owned(),
                ));
            };
            let (first, rest) = m
                .artifacts
                .split_first()
                .ok_or_else(|| anyhow!("the target made no artifact"))?;
            for other in rest {
                output::stderr(&format!(
                    "note: `{}` belongs to this artifact and is not shown: write both with `-o FOLDER`\n",
                    other.file_name
                ))?;
            }
            output::stdout(&first.bytes)?;
        }
        Some(path) => {
            let files = destinations(path, &artifacts)?;
            if args.check {
                return check(&files, path, args.quiet);
            }
            output::write_all(&files)?;
        }
    }
    Ok(Outcome::Fine)
}

/// Who the artifacts are for, if the policy leaves that open: at most two lines.
fn assumed(backends: &[&'static dyn Backend], policy: &Policy) -> String {
    let subject = &policy.subject;
    let path = |name: &&'static str| {
        let path = match *name {
            "home" => &subject.home,
            "workspace" => &subject.workspace,
            _ => &subject.tmp,
        };
        let path = path.as_deref().unwrap_or_default();
        format!("{name} {}", show_bytes(path))
    };
    let mut out = String::new();
    if let Some(first) = subject.assumed.first() {
        let paths: Vec<String> = subject.assumed.iter().map(path).collect();
        out.push_str(&format!(
            "note: made for {}, because the policy says `auto`; `--set {first}=PATH` chooses another\n",
            paths.join(", ")
        ));
    }
    let others: Vec<String> = backends
        .iter()
        .filter_map(|b| b.assumes(policy).map(|a| format!("{} {a}", b.id())))
        .collect();
    if !others.is_empty() {
        out.push_str(&format!(
            "note: made for {}; `subject.executable` and `subject.kubernetes` choose others\n",
            others.join(", ")
        ));
    }
    out
}

/// The back-ends that the words name, each once, in the order of the registry.
pub fn select(words: &[String]) -> Result<Vec<&'static dyn Backend>, Stop> {
    for w in words {
        if w != "all" && backend::find(w).is_none() {
            let known: Vec<&str> = backend::all()
                .iter()
                .map(|b| b.id())
                .chain(["all"])
                .collect();
            let near = known
                .iter()
                .max_by(|a, b| strsim::jaro(a, w).total_cmp(&strsim::jaro(b, w)));
            let hint = near
                .filter(|n| strsim::jaro(n, w) > 0.7)
                .map(|n| format!(" (did you mean `{n}`?)"))
                .unwrap_or_default();
            return Err(Stop::Usage(format!(
                "unknown target `{w}`{hint}; the targets are {}",
                known.join(", ")
            )));
        }
    }
    Ok(backend::all()
        .iter()
        .copied()
        .filter(|b| words.iter().any(|w| w == "all" || w == b.id()))
        .collect())
}

fn compile(
    backends: &[&'static dyn Backend],
    meaning: &Meaning<'_>,
    args: &Args,
    policy: &Policy,
) -> Result<Vec<Made>, Stop> {
    let mut made = Vec::new();
    let mut failed = Diagnostics {
        items: Vec::new(),
        sources: policy.sources.clone(),
    };
    // Back-ends share only the decided sets. The last ones of the registry take longest. So they begin first, and no
    // processor is idle at the end.
    let order: Vec<_> = backends.iter().rev().collect();
    let results = parallel::map(&order, |b| one(**b, meaning, args.options.of(**b, policy)));
    for result in results.into_iter().rev() {
        match result {
            Ok(one) => made.push(one),
            Err(d) => failed.items.extend(d.items),
        }
    }
    if failed.items.is_empty() {
        Ok(made)
    } else {
        Err(Stop::Diagnostics(failed))
    }
}

/// The artifacts of one target, with what they refuse of the policy's own tests.
fn one(b: &dyn Backend, meaning: &Meaning<'_>, mut options: Options) -> Result<Made, Diagnostics> {
    let made = b.compile(meaning, &options)?;
    let policy = meaning.policy();
    // The ledger knows of most that nothing is refused.
    let refused = if proof::may_refuse(policy, b, &made.ledger) {
        options.files = made.files;
        let read = b.read_back(&made.artifacts, &options)?;
        proof::refused(policy, b, read.as_ref(), &made.ledger)
    } else {
        Vec::new()
    };
    Ok(Made {
        artifacts: made.artifacts,
        ledger: made.ledger,
        refused,
    })
}

/// Where each artifact goes.
fn destinations<'a>(
    path: &Path,
    artifacts: &[&'a Artifact],
) -> Result<Vec<(PathBuf, &'a [u8])>, Stop> {
    let wants_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir();
    if let ([one], false) = (artifacts, wants_folder) {
        return Ok(vec![(path.to_owned(), one.bytes.as_slice())]);
    }
    if path.exists() && !path.is_dir() {
        return Err(Stop::Usage(format!(
            "`{}` is a file, and several artifacts need a folder",
            path.display()
        )));
    }
    Ok(artifacts
        .iter()
        .map(|a| (path.join(&a.file_name), a.bytes.as_slice()))
        .collect())
}

fn check(files: &[(PathBuf, &[u8])], place: &Path, quiet: bool) -> Done {
    let mut differs = false;
    let mut out = String::new();
    for (path, bytes) in files {
        let on_disk = match std::fs::read(path) {
            Ok(b) => b,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                differs = true;
                out.push_str(&format!("{}: is missing\n", path.display()));
                continue;
            }
            Err(e) => {
                return Err(anyhow::Error::new(e)
                    .context(format!("cannot read `{}`", path.display()))
                    .into());
            }
        };
        if on_disk == *bytes {
            continue;
        }
        differs = true;
        let (old, new) = (
            String::from_utf8_lossy(&on_disk),
            String::from_utf8_lossy(bytes),
        );
        let diff = similar::TextDiff::from_lines(old.as_ref(), new.as_ref());
        let name = path.display().to_string();
        out.push_str(
            &diff
                .unified_diff()
                .context_radius(3)
                .header(&name, &format!("{name} (from the policy)"))
                .to_string(),
        );
    }
    output::stdout(out.as_bytes())?;
    if !differs && !quiet {
        let files = match files.len() {
            1 => "the file is as the policy makes it".to_owned(),
            n => format!("all {n} files are as the policy makes them"),
        };
        output::stderr(&format!("{}: {files}\n", place.display()))?;
    }
    Ok(if differs {
        Outcome::Failure
    } else {
        Outcome::Fine
    })
}
