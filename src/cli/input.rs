//! Finding and loading the policy, and reading questions.

use super::places::{self, How};
use super::{Global, Outcome, Stop, artifacts, consent, output, targets::TargetOptions, trust};
use anyhow::Context;
use polc::backend::Evaluate;
use polc::diagnostics::Diagnostics;
use polc::fidelity::show_bytes;
use polc::frontend::{self, AutoPaths, Disk, FileRead, FindGit, LoadOptions, builtin};
use polc::host::{self, Followed, Found};
use polc::policy::{Platform, Policy, Query};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What the policy is loaded for: it decides what `auto` paths of the subject are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Artifacts for some host, with the same paths everywhere: `/home/agent`, `/workspace`, `/tmp`.
    Emit,
    /// This host: the caller's home, the enclosing repository, the temporary directory. If links of this host lead from
    /// a denied name to another path, that path is denied too.
    Host,
    /// The same, without links.
    Caller,
}

/// A policy, with the name that it was loaded by.
pub struct Loaded {
    pub name: String,
    pub policy: Policy,
    /// What was found on this host of what it denies, where it was looked at.
    pub followed: Followed,
    /// It is written in polc's own language.
    pub native: bool,
    /// The files that it was read from, its own first. Empty for a built-in one and for standard input.
    pub files: Vec<FileRead>,
    /// The paths of the subject that its text sets, without `auto` and `--set`.
    pub written: Vec<&'static str>,
}

/// A policy to start a program with.
pub struct ToStart {
    pub policy: Policy,
    /// Which policy it is, and why it is used: for the first line of a start.
    pub told: String,
    /// Certificate files that variables name and that stay closed, one line each.
    pub unread: Vec<String>,
    /// What the user should know about its workspace, home and temporary directory, one line each.
    pub said: Vec<String>,
    /// The same, for a user who asks for everything.
    pub said_at_length: Vec<String>,
}

/// One of the two things to compare.
pub enum Comparable {
    /// A policy.
    Policy(Box<Loaded>),
    /// An artifact.
    Artifact(Box<dyn Evaluate>),
}

/// Loads a policy or an artifact. It is an artifact if a target recognises it. If its target has two files, the second
/// one must lie beside it.
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

/// Loads the policy that the command line names, and prints its warnings.
pub fn load(global: &Global, purpose: Purpose) -> Result<Loaded, Stop> {
    let (loaded, warnings) = load_with_warnings(global, purpose)?;
    if !warnings.items.is_empty() {
        output::diagnostics(global, &warnings)?;
    }
    Ok(loaded)
}

/// Loads the policy that the command line names, and returns its warnings.
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

/// Loads a policy again from its stored bytes, its own file first.
pub fn load_kept(global: &Global, files: &[FileRead]) -> Result<Policy, Stop> {
    let own = files
        .first()
        .ok_or_else(|| Stop::Usage("no file of the policy was recorded".to_owned()))?;
    let options = LoadOptions {
        disk: Disk::Memory(files.into()),
        ..options(global, Purpose::Host)?
    };
    let loaded = frontend::load_path(&own.named, &options)?;
    Ok(host::follow(loaded.policy, &host::RealLinks).0)
}

/// Loads the policy again with one path of its subject changed, from the bytes that were read the first time.
pub fn with_place(
    global: &Global,
    loaded: &Loaded,
    name: &str,
    path: &str,
) -> Result<Policy, Stop> {
    let mut global = global.clone();
    global.set.push(format!("{name}={path}").into());
    if !loaded.files.is_empty() {
        return load_kept(&global, &loaded.files);
    }
    let (again, _) = load_named(&global, OsStr::new(&loaded.name), Purpose::Host)?;
    Ok(again.policy)
}

/// Loads the policy to start a program with. The command line may name it. Otherwise it is the nearest `polc.yaml`, if
/// the user trusts it. If there is no such file, it is the built-in policy for the program. The result has the rule
/// that protects polc's own state, and a workspace that may be opened.
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
                ", because there is no `polc.yaml` here or above and the program is `{}`",
                program.unwrap_or_default()
            ),
        ),
        (None, None, known) => return Err(no_policy(known)),
    };
    let (loaded, warnings) = load_named(global, &name, Purpose::Host)?;
    let how = match (&found, is_builtin(&name)) {
        (Some(_), _) => How::Found,
        (None, true) => How::Builtin,
        (None, false) => How::Named,
    };
    if how == How::Found {
        // A HOME inside the repository is reported before it counts as a home.
        consent::Candidate::new(global, &loaded)?.state()?;
    }
    let mut said = places::check(global, &loaded, how)?;
    said.extend(open_names(&loaded));
    let said_at_length = unseen(&loaded);
    let why = match found {
        Some(_) => consent::consent(global, &loaded, &warnings)?,
        None => {
            if !warnings.items.is_empty() {
                output::diagnostics(global, &warnings)?;
            }
            why
        }
    };
    if !is_closed(&loaded, allow_gaps)? {
        return Ok(Err(Outcome::BelowRequirement));
    }
    let told = format!("{}{why}", loaded.name);
    for state in trust::states() {
        polc::trust::claim(&loaded.policy, &state);
    }
    let (policy, unread) = with_own_rules(loaded, Purpose::Host);
    Ok(Ok(ToStart {
        policy,
        told,
        unread,
        said,
        said_at_length,
    }))
}

/// The policy as `run` and `enforce` have it: as this host's platform sees it, with the rule that keeps polc's own state,
/// and on this host the one for certificates that variables name. The lines tell of such files that stay closed.
pub fn with_own_rules(loaded: Loaded, purpose: Purpose) -> (Policy, Vec<String>) {
    let Loaded {
        mut policy, files, ..
    } = loaded;
    policy = policy.seen_by(Platform::HOST).into_owned();
    let unread = allow_certificates(&mut policy, purpose);
    polc::trust::protect(&mut policy, &trust::states(), &files);
    (policy, unread)
}

/// Lets the program read the certificates that variables of this process name, if `purpose` is this host.
pub fn allow_certificates(policy: &mut Policy, purpose: Purpose) -> Vec<String> {
    #[cfg(unix)]
    if purpose == Purpose::Host {
        return polc::enforce::certificates::allow(policy, std::env::vars_os());
    }
    let _ = (policy, purpose);
    Vec::new()
}

/// Says that there is no policy, and what to do. `known` is the built-in policy for the program.
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
            Purpose::Host | Purpose::Caller => FindGit(polc::git::paths),
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
            let builtin: Vec<&str> = builtin::policies().iter().map(|b| b.name).collect();
            let near = name.to_str().and_then(|n| builtin::near(n, &builtin));
            let hint = match near {
                Some(near) if name == near => format!("; the built-in one is `builtin:{near}`"),
                Some(near) => format!("; did you mean `builtin:{near}`?"),
                None => String::new(),
            };
            let name = shown(name);
            return Err(Stop::Usage(format!("there is no file `{name}`{hint}")));
        }
        frontend::load_path(Path::new(name), &options)?
    };
    let (policy, followed) = match purpose {
        Purpose::Host => host::follow(loaded.policy, &host::RealLinks),
        Purpose::Emit | Purpose::Caller => (loaded.policy, Followed::default()),
    };
    let subject = &policy.subject;
    let places = [
        ("home", &subject.home),
        ("workspace", &subject.workspace),
        ("tmp", &subject.tmp),
    ];
    let written = |(name, value): (&'static str, &Option<Vec<u8>>)| {
        let given = subject.assumed.contains(&name) || options.set.iter().any(|(n, _)| n == name);
        (value.is_some() && !given).then_some(name)
    };
    let found = Loaded {
        name: shown(name),
        written: places.into_iter().filter_map(written).collect(),
        policy,
        followed,
        native: loaded.native,
        files: loaded.files,
    };
    Ok((found, loaded.warnings))
}

/// Denied directories that were not looked through to the end. A browser has one, so only who asks for all is told.
fn unseen(loaded: &Loaded) -> Vec<String> {
    let directories = loaded.followed.unseen.iter();
    directories
        .map(|d| {
            format!(
                "`{}` holds too much to look for links in all of it: what a link there leads to may be open by its own name",
                show_bytes(d)
            )
        })
        .collect()
}

/// Denied files with another name, which polc cannot protect: at most one line.
fn open_names(loaded: &Loaded) -> Vec<String> {
    let is_wanted = |code: &str| !loaded.policy.lint_allowed.iter().any(|(c, _)| c == code);
    let mut out = Vec::new();
    if is_wanted("L015")
        && let Some((first, more)) = loaded.followed.other_names.split_first()
    {
        let more = match more.len() {
            0 => String::new(),
            n => format!(" (so do {n} more denied files: `polc check`)"),
        };
        out.push(format!(
            "`{}` has another name somewhere, a hard link; polc cannot protect that name{more}",
            show_bytes(first)
        ));
    }
    out
}

/// Whether a program may be started in this policy. Sometimes a denied name is a link to a large tree. If polc denied
/// that tree, the program could not work, so it does not start. With `--allow-gaps`, polc only warns.
pub fn is_closed(loaded: &Loaded, allow_gaps: bool) -> Result<bool, Stop> {
    let mut closed = true;
    for link in &loaded.followed.links {
        let Found::Gap(operation, witness) = &link.found else {
            continue;
        };
        // What only lies beneath a denied directory is named by nobody.
        closed &= link.beneath;
        let word = if allow_gaps || link.beneath {
            "warning"
        } else {
            "error"
        };
        let rule = loaded.policy.decider(Some(link.rule));
        output::stderr(&format!(
            "{word}: {}; polc cannot deny there what {rule} denies by that name: {operation} {} is allowed\n",
            link.followed,
            show_bytes(witness)
        ))?;
    }
    if !closed && !allow_gaps {
        output::stderr(
            "help: remove the link, or put what it leads to in its place; the program was not started\n",
        )?;
    }
    Ok(closed || allow_gaps)
}

/// The policy on standard input. It is read once, but may be loaded twice.
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

/// A name from the command line, for messages. It may have bytes that are not UTF-8.
fn shown(name: &OsStr) -> String {
    show_bytes(name.as_encoded_bytes())
}

/// Larger than the largest policy that the front-end takes. The front-end then says that it is too large.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

/// The nearest `polc.yaml` upwards. A file of that name that cannot be read counts too, and loading it reports the
/// error. To skip it would use another policy silently.
pub fn nearest() -> Result<Option<OsString>, Stop> {
    let here = std::env::current_dir().context("cannot tell the current directory")?;
    for folder in here.ancestors() {
        let file = folder.join("polc.yaml");
        if std::fs::symlink_metadata(&file).is_ok() {
            // Relative if it is here, for shorter messages.
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

/// The caller's home, from the environment.
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

/// A path of `--set`. On this host it may be relative or begin with `~`, and links in it are followed, because a policy
/// is about real paths. For an artifact it stays unchanged.
fn place(path: &[u8], purpose: Purpose) -> Result<Vec<u8>, Stop> {
    if purpose == Purpose::Emit || path.is_empty() {
        return Ok(path.to_vec());
    }
    let typed = Path::new(OsStr::from_bytes(path));
    let path = match (typed.strip_prefix("~"), home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        (Ok(_), None) => {
            return Err(Stop::Usage(
                "`~` in `--set` has no value here: the variable HOME is not an absolute path"
                    .to_owned(),
            ));
        }
        (Err(_), _) => std::path::absolute(typed).context("cannot tell the current directory")?,
    };
    let real = std::fs::canonicalize(&path).unwrap_or(path);
    Ok(real.into_os_string().into_encoded_bytes())
}

/// Reads a question such as `read ~/.ssh/id` from the words of the command line.
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
        // A whole command line in quotes, as in the policy's tests.
        line.clone()
    } else if operation == "run" {
        // The shell has removed the quotes, but a question needs them.
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
