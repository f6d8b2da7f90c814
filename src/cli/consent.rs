//! Asks whether the user trusts a policy that polc found, and shows what the user should know first.
//!
//! A stranger may have written the policy. So polc checks it against the user's real homes, and ignores its
//! `allow_lints`. It names the directories that the policy sets, with their effect.

use super::homes::Homes;
use super::trust::{date, failed, is_inside, needed_state, text, usage};
use super::{Global, Stop, allows, check, diff, input, output, places};
use polc::diagnostics::{Diagnostic, Diagnostics};
use polc::diff::{Side, diff as compare};
use polc::lint::Judge;
use polc::policy::{Platform, Policy};
use polc::semantics::Meaning;
use polc::trust::{Record, Standing, Store, apart};
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes sure that the user trusts a policy that polc found, or asks. Returns since when the user trusts it, for the
/// first line of a start.
///
/// # Errors
/// The user does not trust it, or cannot be asked.
pub fn consent(
    global: &Global,
    loaded: &input::Loaded,
    warnings: &Diagnostics,
) -> Result<String, Stop> {
    let candidate = Candidate::new(global, loaded)?;
    let state = candidate.state()?;
    let store = Store::open(&state).map_err(usage)?;
    let standing = candidate.standing(store.as_ref())?;
    if let Standing::Trusted(since) = standing {
        if !warnings.items.is_empty() {
            output::diagnostics(global, warnings)?;
        }
        return Ok(format!(", trusted {}", date(since)));
    }
    let shown = candidate.shown();
    let what = match &standing {
        Standing::Changed(old) => format!(
            "{shown} has changed since you trusted it on {}: {}",
            date(old.since),
            candidate.changed_files(old).join(", ")
        ),
        _ => format!("{shown} is not trusted yet"),
    };
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !terminal || is_inside() {
        let look = match standing {
            Standing::Changed(_) => "look at what that changes",
            _ => "whoever wrote this repository may have written it; look at what it allows",
        };
        return Err(Stop::Usage(format!(
            "{what}; {look} (`polc trust --show`), then type `polc trust`, or use it once with `-p FILE`"
        )));
    }
    output::stderr(&format!("{what}\n"))?;
    candidate.show(&standing, warnings, false)?;
    // Earlier keys were typed before the question was visible, so they are no answer.
    polc::enforce::terminal::forget_typed();
    output::stderr("trust it and start the program? [y/N] ")?;
    if !answer() {
        return Err(Stop::Usage(
            "the policy is not trusted; the program was not started".to_owned(),
        ));
    }
    let store = Store::make(&state).map_err(usage)?;
    store.keep(&candidate.record()).map_err(failed)?;
    Ok(", trusted now".to_owned())
}

/// The state directory, if trust in a policy from this directory may be stored there.
///
/// # Errors
/// There is none, or it could have come with the policy.
pub fn state_for(directory: Option<&Path>, workspace: Option<&[u8]>) -> Result<PathBuf, Stop> {
    let state = needed_state()?;
    let homes = Homes::of_this_host();
    let workspace = workspace.map(|w| PathBuf::from(std::ffi::OsStr::from_bytes(w)));
    let mut from: Vec<PathBuf> = directory
        .into_iter()
        .flat_map(repositories)
        .chain(workspace)
        .collect();
    // The user's own home is no stranger's repository. The variable HOME proves nothing, because a repository may set
    // it.
    from.retain(|d| homes.listed.as_ref().is_none_or(|h| !h.starts_with(d)));
    apart(&state, &from).map_err(|e| {
        let listed = homes.listed.as_deref().filter(|h| *h != Path::new("/"));
        let fix = match (std::env::var_os("XDG_STATE_HOME"), listed) {
            (Some(_), _) => "unset XDG_STATE_HOME, or set it to a directory elsewhere".to_owned(),
            (None, Some(home)) => format!("set HOME to your own home directory, `{}`", text(home)),
            (None, None) => "set XDG_STATE_HOME to a directory elsewhere".to_owned(),
        };
        Stop::Usage(format!("{e}; {fix}"))
    })?;
    Ok(state)
}

/// The directory, and the repository around it. A repository inside another one has a file `.git`. Then both count.
fn repositories(directory: &Path) -> Vec<PathBuf> {
    let mut out = vec![directory.to_owned()];
    for above in directory.ancestors() {
        let git = above.join(".git");
        if git.exists() {
            out.push(above.to_owned());
        }
        if git.is_dir() {
            break;
        }
    }
    out.dedup();
    out
}

/// A policy that the user may trust.
pub struct Candidate<'a> {
    global: &'a Global,
    loaded: &'a input::Loaded,
    /// The name under which trust is stored.
    name: PathBuf,
}

impl<'a> Candidate<'a> {
    pub fn new(global: &'a Global, loaded: &'a input::Loaded) -> Result<Self, Stop> {
        let own = loaded.files.first().map(|f| f.named.as_path());
        let own = own.ok_or_else(|| {
            Stop::Usage(format!(
                "`{}` is not a file: only a `polc.yaml` can be trusted",
                loaded.name
            ))
        })?;
        Ok(Self {
            global,
            loaded,
            name: name_of(own),
        })
    }

    /// The state directory that may store trust in this policy.
    pub fn state(&self) -> Result<PathBuf, Stop> {
        let workspace = self.loaded.policy.subject.workspace.as_deref();
        // A workspace that the policy itself sets lies within its directory, or polc refuses it.
        let workspace = workspace.filter(|_| !self.loaded.written.contains(&"workspace"));
        state_for(self.name.parent(), workspace)
    }

    /// Its name, and the target if the name is a link.
    pub fn shown(&self) -> String {
        let resolved = self.loaded.files.first().map(|f| f.path.as_path());
        match resolved {
            Some(path) if path != self.name => {
                format!("`{}`, which leads to `{}`,", text(&self.name), text(path))
            }
            _ => format!("`{}`", text(&self.name)),
        }
    }

    pub fn standing(&self, store: Option<&Store>) -> Result<Standing, Stop> {
        match store {
            Some(store) => store
                .standing(&self.name, &self.loaded.files)
                .map_err(usage),
            None => Ok(Standing::Unknown),
        }
    }

    pub fn record(&self) -> Record {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Record {
            name: self.name.clone(),
            since: since.map_or(0, |d| d.as_secs()),
            files: self.loaded.files.clone(),
        }
    }

    /// Shows what a user should know before trusting it: lints, what changed or what it allows, the directories that it
    /// sets, and the keys that it opens. `all`: without a limit.
    pub fn show(&self, standing: &Standing, warnings: &Diagnostics, all: bool) -> Result<(), Stop> {
        let policy = &self.loaded.policy;
        let meaning = Meaning::new(policy);
        let homes = Homes::of_this_host();
        if !warnings.items.is_empty() {
            output::diagnostics(self.global, warnings)?;
        }
        let before = match standing {
            Standing::Changed(old) => input::load_kept(self.global, &old.files).ok(),
            _ => None,
        };
        let mut lints = self.lints(&meaning, homes, true);
        if let (Some(before), false) = (&before, all) {
            // The user has seen these lints when they trusted the policy.
            let known = self.lints(&Meaning::new(before), homes, false);
            let seen = |d: &Diagnostic| {
                let same = |k: &&Diagnostic| k.code == d.code && k.message == d.message;
                known.items.iter().any(|k| same(&k))
            };
            lints.items.retain(|d| !seen(d));
        }
        if !lints.items.is_empty() {
            output::diagnostics(self.global, &lints)?;
        }
        let changes = match (standing, &before) {
            (Standing::Changed(old), Some(before)) => self.changes(old, before, &meaning, all),
            _ => None,
        };
        let here = meaning.on(Platform::HOST);
        let mut out = changes.unwrap_or_else(|| allows::summary(here.policy(), all));
        out.push_str(&self.places(homes)?);
        out.push_str(&allows::keys(here, homes, all));
        output::stderr(&out)
    }

    fn lints(&self, meaning: &Meaning<'_>, homes: &Homes, host: bool) -> Diagnostics {
        let judge = Judge {
            homes: homes.judged(),
            of_a_stranger: true,
        };
        check::lints_of(meaning, &judge, self.loaded, host)
    }

    /// The directories that the policy itself sets, with the effect.
    fn places(&self, homes: &Homes) -> Result<String, Stop> {
        let mut out = String::new();
        for place in places::written(self.loaded, homes) {
            let shown = text(&place.path);
            let effect = if place.name == "home" {
                "what its rules say of `~` holds there".to_owned()
            } else {
                let rights = places::rights(self.global, self.loaded, place.name)?;
                let names: Vec<&str> = rights.iter().map(|o| o.name()).collect();
                match names.as_slice() {
                    [] => "no rule uses it".to_owned(),
                    names => format!("by that its rules allow there: {}", names.join(", ")),
                }
            };
            let wrong = place.wrong.map_or_else(String::new, |why| {
                format!(" ({})", why.to_ascii_uppercase())
            });
            allows::line(&mut out, place.name, &format!("{shown}{wrong}; {effect}"));
        }
        let subject = &self.loaded.policy.subject;
        let workspace = subject.workspace.as_deref().unwrap_or(b"/");
        let workspace = Path::new(std::ffi::OsStr::from_bytes(workspace));
        for git in subject.git.dir.iter().chain(&subject.git.common_dir) {
            let git = Path::new(std::ffi::OsStr::from_bytes(git));
            let shown = format!("{}, outside of the workspace", text(git));
            if !git.starts_with(workspace) && !out.contains(&shown) {
                allows::line(&mut out, "git", &shown);
            }
        }
        if !out.is_empty() {
            out.insert_str(0, "it sets, or takes from the repository:\n");
        }
        Ok(out)
    }

    /// The files that differ from the trusted ones.
    fn changed_files(&self, old: &Record) -> Vec<String> {
        let mut out = Vec::new();
        for file in &self.loaded.files {
            let kept = old.files.iter().find(|f| f.named == file.named);
            let what = match kept {
                None => "is new",
                Some(k) if k.path != file.path => "leads to another file",
                Some(k) if k.bytes != file.bytes => "has other contents",
                Some(_) => continue,
            };
            out.push(format!("{} {what}", text(&file.named)));
        }
        for gone in &old.files {
            if !self.loaded.files.iter().any(|f| f.named == gone.named) {
                out.push(format!("{} is not used any more", text(&gone.named)));
            }
        }
        if out.is_empty() {
            out.push("its files are read in another order".to_owned());
        }
        out
    }

    /// What changed since the user trusted it. `None`: polc cannot compare the two.
    fn changes(
        &self,
        old: &Record,
        before: &Policy,
        meaning: &Meaning<'_>,
        all: bool,
    ) -> Option<String> {
        let before = Meaning::new(before);
        let changes = compare(&Side::Policy(&before), &Side::Policy(meaning)).ok()?;
        let mut out = String::new();
        for line in self.changed_files(old) {
            let _ = writeln!(out, "{line}");
        }
        let policies = [Some(before.policy()), Some(meaning.policy())];
        out.push_str(&if all {
            diff::human(&changes, policies)
        } else {
            diff::brief(&changes, "polc trust --show")
        });
        Some(out)
    }
}

/// The name of a file for the store: its own name, in the real path of its directory.
pub fn name_of(file: &Path) -> PathBuf {
    match (file.parent().map(std::fs::canonicalize), file.file_name()) {
        (Some(Ok(directory)), Some(name)) => directory.join(name),
        _ => file.to_owned(),
    }
}

/// Reads one line from the terminal. Returns whether it means yes.
fn answer() -> bool {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
