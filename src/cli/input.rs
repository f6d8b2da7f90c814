//! Finding and loading the policy, and reading questions.

use super::{Global, Outcome, Stop, artifacts, output, targets::TargetOptions, trust, workspace};
use anyhow::Context;
use polc::backend::Evaluate;
use polc::diagnostics::Diagnostics;
use polc::fidelity::show_bytes;
use polc::frontend::{self, AutoPaths, Disk, FileRead, FindGit, LoadOptions, builtin};
use polc::host::{self, Found, Link};
use polc::policy::{Platform, Policy, Query};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What the policy is loaded for: it decides what `auto` paths of the subject are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Artifacts for some host: `/home/agent`, `/workspace`, `/tmp`, the same everywhere.
    Emit,
    /// This host: the caller's home, the enclosing repository, the temporary directory. What denied names lead to
    /// through links of this host is denied as well.
    Host,
    /// The same without a look at links.
    Caller,
}

/// A policy with the name it was asked for by.
pub struct Loaded {
    pub name: String,
    pub policy: Policy,
    /// The links of this host that denied names lead through, where it was looked at.
    pub links: Vec<Link>,
    /// It is written in polc's own language.
    pub native: bool,
    /// The files that it was read from, its own first; none for a built-in one and for standard input.
    pub files: Vec<FileRead>,
}

/// A policy that a program is started with.
pub struct ToStart {
    pub policy: Policy,
    /// Which one it is, and why it is used: for the first line of a start.
    pub told: String,
}

/// One of the two that are compared.
pub enum Comparable {
    /// A policy.
    Policy(Box<Loaded>),
    /// An artifact.
    Artifact(Box<dyn Evaluate>),
}

/// Loads a policy or an artifact: it is an artifact if a target recognises it, and there is a second file
/// beside it where its target has two.
pub fn side(global: &Global, name: &OsStr, options: &TargetOptions) -> Result<Comparable, Stop> {
    let path = Path::new(name);
    if name != "-" && !is_builtin(name) && path.is_file() {
        let artifact = artifacts::read(path)?;
        if let Some(backend) = artifacts::backend_of(&artifact) {
            let mut all = vec![artifact];
            for other in backend.companions(path) {
                if other.is_file() {
                    all.push(artifacts::read(&other)?);
                }
            }
            return Ok(Comparable::Artifact(artifacts::meant(
                backend, &all, options, None,
            )?));
        }
    }
    let global = Global {
        policy: Some(name.to_owned()),
        ..global.clone()
    };
    Ok(Comparable::Policy(Box::new(load(&global, Purpose::Emit)?)))
}

fn is_builtin(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"builtin:")
}

/// Loads the policy that the command line names, and prints the warnings.
pub fn load(global: &Global, purpose: Purpose) -> Result<Loaded, Stop> {
    let (loaded, warnings) = load_with_warnings(global, purpose)?;
    if !warnings.items.is_empty() {
        output::diagnostics(global, &warnings)?;
    }
    Ok(loaded)
}

/// Loads the policy that the command line names; the warnings are yet to be printed.
pub fn load_with_warnings(
    global: &Global,
    purpose: Purpose,
) -> Result<(Loaded, Diagnostics), Stop> {
    let name = match &global.policy {
        Some(name) => name.clone(),
        None => nearest()?.ok_or_else(|| no_policy(None))?,
    };
    load_named(global, &name, purpose)
}

/// Loads a policy again from the bytes that were kept of it, its own file first.
pub fn load_kept(global: &Global, files: &[FileRead]) -> Result<Policy, Stop> {
    let own = files
        .first()
        .ok_or_else(|| Stop::Usage("nothing is kept of the policy".to_owned()))?;
    let options = LoadOptions {
        disk: Disk::Kept(files.into()),
        ..options(global, Purpose::Host)?
    };
    let loaded = frontend::load_path(&own.named, &options)?;
    Ok(host::follow(loaded.policy, &host::RealLinks).0)
}

/// Loads the policy that a program is started with: the one that the command line names, or the nearest `polc.yaml`
/// if the user trusts it, or the built-in one for the program where there is no such file. It gets the rule that keeps
/// polc's own state, and its workspace is one that may be opened.
pub fn load_to_start(
    global: &Global,
    command: &[OsString],
    builtin_for_program: bool,
    allow_gaps: bool,
) -> Result<Result<ToStart, Outcome>, Stop> {
    let program = command.first().and_then(|w| w.to_str());
    let known = program.and_then(builtin::for_program);
    let found = match &global.policy {
        Some(_) => None,
        None => nearest()?,
    };
    let (name, why) = match (&global.policy, &found, known) {
        (Some(name), ..) | (None, Some(name), _) => (name.clone(), String::new()),
        (None, None, Some(own)) if builtin_for_program => (
            format!("builtin:{}", own.name).into(),
            format!(
                ", as there is no `polc.yaml` here or above and the program is `{}`",
                program.unwrap_or_default()
            ),
        ),
        (None, None, known) => return Err(no_policy(known)),
    };
    let (loaded, warnings) = load_named(global, &name, Purpose::Host)?;
    workspace::check(&loaded.policy)?;
    let why = match found {
        Some(_) => trust::consent(global, &loaded, &warnings)?,
        None => {
            if !warnings.items.is_empty() {
                output::diagnostics(global, &warnings)?;
            }
            why
        }
    };
    if !is_closed(&loaded, allow_gaps)? {
        return Ok(Err(Outcome::BelowDemand));
    }
    let told = format!("{}{why}", loaded.name);
    for state in trust::states() {
        polc::trust::claim(&loaded.policy, &state);
    }
    let policy = with_own_rule(loaded);
    Ok(Ok(ToStart { policy, told }))
}

/// The policy as `run` and `enforce` have it: as this host's platform sees it, with the rule that keeps polc's own state.
pub fn with_own_rule(loaded: Loaded) -> Policy {
    let Loaded {
        mut policy, files, ..
    } = loaded;
    policy = policy.seen_by(Platform::HOST).into_owned();
    polc::trust::protect(&mut policy, &trust::states(), &files);
    policy
}

/// That there is no policy, and what to do; `known` is the built-in one for the program that is to be started.
fn no_policy(known: Option<builtin::Builtin>) -> Stop {
    let name = known.map_or("coding-agent", |b| b.name);
    Stop::Usage(format!(
        "there is no `polc.yaml` here or above; write one with `polc init`, or name one with `--policy builtin:{name}`"
    ))
}

fn options(global: &Global, purpose: Purpose) -> Result<LoadOptions, Stop> {
    Ok(LoadOptions {
        auto: auto_paths(purpose)?,
        set: overrides(&global.set, purpose)?,
        git: match purpose {
            Purpose::Emit => FindGit::default(),
            Purpose::Host | Purpose::Caller => FindGit(polc::git::places),
        },
        ..LoadOptions::default()
    })
}

fn load_named(
    global: &Global,
    name: &OsStr,
    purpose: Purpose,
) -> Result<(Loaded, Diagnostics), Stop> {
    let options = options(global, purpose)?;
    let loaded = if name == "-" {
        frontend::load_bytes("<stdin>", from_stdin()?, &options)?
    } else {
        if !is_builtin(name) && !Path::new(name).exists() {
            let hint = name
                .to_str()
                .and_then(builtin::policy)
                .map(|_| format!("; the built-in one is `builtin:{}`", shown(name)))
                .unwrap_or_default();
            let name = shown(name);
            return Err(Stop::Usage(format!("there is no file `{name}`{hint}")));
        }
        frontend::load_path(Path::new(name), &options)?
    };
    let (policy, links) = match purpose {
        Purpose::Host => host::follow(loaded.policy, &host::RealLinks),
        Purpose::Emit | Purpose::Caller => (loaded.policy, Vec::new()),
    };
    let found = Loaded {
        name: shown(name),
        policy,
        links,
        native: loaded.native,
        files: loaded.files,
    };
    Ok((found, loaded.warnings))
}

/// Whether a program may be started in this policy. It may not where a name that the policy denies is a link to so much
/// that to deny all of it would keep the program from working; with `--allow-gaps` that is only told.
pub fn is_closed(loaded: &Loaded, allow_gaps: bool) -> Result<bool, Stop> {
    let mut closed = true;
    let word = if allow_gaps { "warning" } else { "error" };
    for link in &loaded.links {
        let Found::Gap(operation, witness) = &link.found else {
            continue;
        };
        closed = false;
        let rule = loaded.policy.decider(Some(link.rule));
        output::stderr(&format!(
            "{word}: {}; what {rule} denies by that name cannot be denied there: {operation} {} is allowed\n",
            link.followed,
            show_bytes(witness)
        ))?;
    }
    if !closed && !allow_gaps {
        output::stderr(
            "help: remove the link, or put what it stands for in its place; the program was not started\n",
        )?;
    }
    Ok(closed || allow_gaps)
}

/// The policy that stands on standard input: it may be loaded twice, and is read once.
fn from_stdin() -> anyhow::Result<&'static [u8]> {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(text) = TEXT.get() {
        return Ok(text);
    }
    let mut text = Vec::new();
    let mut input = std::io::stdin().lock().take(MAX_INPUT);
    input
        .read_to_end(&mut text)
        .context("cannot read the policy from standard input")?;
    Ok(TEXT.get_or_init(|| text))
}

/// A name of the command line, for messages: it need not be UTF-8.
fn shown(name: &OsStr) -> String {
    show_bytes(name.as_encoded_bytes())
}

/// More than the largest policy that is taken: the front-end says that it is too large.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

/// The nearest `polc.yaml` upwards. What has that name and is no file that can be read is found as well: loading it
/// says what is wrong, where passing over it would take another policy in silence.
pub fn nearest() -> Result<Option<OsString>, Stop> {
    let here = std::env::current_dir().context("cannot tell the current directory")?;
    for folder in here.ancestors() {
        let file = folder.join("polc.yaml");
        if std::fs::symlink_metadata(&file).is_ok() {
            // Relative where it is here: messages read better.
            let shown = if folder == here {
                PathBuf::from("polc.yaml")
            } else {
                file
            };
            return Ok(Some(shown.into_os_string()));
        }
    }
    Ok(None)
}

fn auto_paths(purpose: Purpose) -> Result<AutoPaths, Stop> {
    match purpose {
        Purpose::Emit => Ok(AutoPaths::default()),
        Purpose::Host | Purpose::Caller => {
            let here = std::env::current_dir().context("cannot tell the current directory")?;
            let repository = here
                .ancestors()
                .find(|a| a.join(".git").exists())
                .unwrap_or(&here)
                .to_owned();
            let resolved = |p: &Path| {
                std::fs::canonicalize(p)
                    .ok()
                    .map(|p| p.into_os_string().into_encoded_bytes())
            };
            Ok(AutoPaths {
                home: home().and_then(|h| resolved(&h)),
                workspace: resolved(&repository),
                tmp: resolved(&std::env::temp_dir()),
            })
        }
    }
}

/// The caller's home, as the environment has it.
pub fn home() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.filter(|h| h.is_absolute())
}

fn overrides(set: &[OsString], purpose: Purpose) -> Result<Vec<(String, Vec<u8>)>, Stop> {
    set.iter()
        .map(|s| {
            let mut parts = s.as_encoded_bytes().splitn(2, |b| *b == b'=');
            let name = show_bytes(parts.next().unwrap_or_default());
            let s = shown(s);
            match (name.as_str(), parts.next()) {
                (
                    "workspace" | "home" | "tmp" | "git_dir" | "git_common_dir" | "git_hooks"
                    | "git_config",
                    Some(path),
                ) => Ok((name, place(path, purpose)?)),
                (_, Some(_)) => Err(Stop::Usage(format!(
                    "`--set {s}`: `{name}` cannot be set; it is workspace, home, tmp, git_dir, git_common_dir, git_hooks or git_config"
                ))),
                (_, None) => Err(Stop::Usage(format!(
                    "`--set {s}`: write `--set workspace=/path`"
                ))),
            }
        })
        .collect()
}

/// A path of `--set`. On this host it may be relative or begin with `~`, and links are followed: a policy speaks of where
/// things are. For an artifact it stays as it is.
fn place(path: &[u8], purpose: Purpose) -> Result<Vec<u8>, Stop> {
    if purpose == Purpose::Emit || path.is_empty() {
        return Ok(path.to_vec());
    }
    let typed = Path::new(OsStr::from_bytes(path));
    let path = match (typed.strip_prefix("~"), home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        (Ok(_), None) => {
            return Err(Stop::Usage(
                "`~` in `--set` stands for nothing here: the variable HOME is no absolute path"
                    .to_owned(),
            ));
        }
        (Err(_), _) => std::path::absolute(typed).context("cannot tell the current directory")?,
    };
    let real = std::fs::canonicalize(&path).unwrap_or(path);
    Ok(real.into_os_string().into_encoded_bytes())
}

/// Reads a question such as `read ~/.ssh/id`: the words of the command line.
pub fn query(policy: &Policy, words: &[String]) -> Result<Query, Stop> {
    if let [line] = words {
        return Ok(frontend::question(line, &policy.subject)?);
    }
    let (operation, object) = words
        .split_first()
        .ok_or_else(|| Stop::Usage("a question is an operation and an object".to_owned()))?;
    let object = if let ("run", [line]) = (operation.as_str(), object)
        && line.contains(char::is_whitespace)
    {
        // A whole command line in quotes, as the policy's tests write it.
        line.clone()
    } else if operation == "run" {
        // The shell has taken the quotes off; the question has its own.
        object
            .iter()
            .map(|w| format!("'{}'", w.replace('\'', "'\\''")))
            .collect::<Vec<_>>()
            .join(" ")
    } else {
        object.join(" ")
    };
    Ok(frontend::question(
        &format!("{operation} {object}"),
        &policy.subject,
    )?)
}
