//! The directories that a program may use: those that `auto` stands for, and those that a policy sets.
//!
//! A policy with `workspace: auto` opens the repository around the current directory, or that directory. In the home
//! directory, that would open every key and start-up file of the user. `tmp: auto` uses TMPDIR, which an `.envrc` may
//! set. So `auto` never stands for certain directories, unless the policy gives no right by them. `--set
//! workspace=PATH` and `--set tmp=PATH` take every directory.
//!
//! A policy that polc found by walking up may come with a cloned repository. It may only set directories within its
//! own. Otherwise `workspace: /home` would apply polc's own rules for a repository to every home.

use super::homes::{Homes, More};
use super::input::{self, Loaded};
use super::{Global, Stop};
use polc::fidelity::show_bytes;
use polc::policy::{Operation, Policy};
use polc::semantics::{Meaning, TooLarge};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a policy is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was found in the current directory or above, so a stranger may have written it.
    Found,
    /// The user named its file, which is consent.
    Named,
    /// It comes with polc.
    Builtin,
}

/// Directories for the temporary files of all users. `run` gives a program its own instead of each.
const SHARED: [&str; 5] = [
    "/dev/shm",
    "/private/tmp",
    "/private/var/tmp",
    "/tmp",
    "/var/tmp",
];

/// A path that does not exist. A policy with this value shows which rights the real directory gives.
const NOWHERE: &str = "/polc: no such directory";

/// Checks the directories of a policy that is about to start a program. Returns what the user should know about them,
/// one line each.
///
/// # Errors
/// A directory does not exist, or the user must name it.
pub fn check(global: &Global, loaded: &Loaded, how: How) -> Result<Vec<String>, Stop> {
    let subject = &loaded.policy.subject;
    let homes = Homes::of_this_host();
    if let Some(workspace) = &subject.workspace {
        exists(workspace)?;
    }
    if how == How::Found {
        check_written(loaded, homes)?;
    }
    let mut said = told(&loaded.policy, homes);
    for name in ["workspace", "tmp"] {
        let Some(place) = Place::assumed(&loaded.policy, name) else {
            continue;
        };
        let Some((more, why)) = place.too_much(&loaded.policy, homes) else {
            continue;
        };
        let rights = rights(global, loaded, name)?;
        if rights.is_empty() {
            continue;
        }
        // A user who names a policy that only reads has chosen what may be read.
        let reads = |o: &Operation| matches!(o, Operation::Read | Operation::List);
        let home = name == "workspace" && more == Some(More::Home);
        if how == How::Named && home && rights.iter().all(reads) {
            continue;
        }
        return Err(place.refused(&why, &rights, homes));
    }
    said.extend(by_variable(global, loaded, homes)?);
    said.dedup();
    Ok(said)
}

/// Trees for temporary files. What `auto` takes in one of them is what everybody expects.
const TEMPORARY: [&str; 9] = [
    "/dev/shm",
    "/private/tmp",
    "/private/var/folders",
    "/private/var/tmp",
    "/run/user",
    "/tmp",
    "/usr/tmp",
    "/var/folders",
    "/var/tmp",
];

/// That the variable TMPDIR names a directory that nobody would expect to be a temporary one.
fn by_variable(global: &Global, loaded: &Loaded, homes: &Homes) -> Result<Option<String>, Stop> {
    let Some(tmp) = Place::assumed(&loaded.policy, "tmp") else {
        return Ok(None);
    };
    let temporary = TEMPORARY.iter().any(|t| tmp.path.starts_with(t));
    let own = homes.own.iter().any(|h| tmp.path.starts_with(h));
    let workspace = loaded.policy.subject.workspace.as_deref();
    let workspace = workspace.map(|w| Path::new(OsStr::from_bytes(w)));
    let within = workspace.is_some_and(|w| tmp.path.starts_with(w));
    if within || temporary && !own || rights(global, loaded, "tmp")?.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "the temporary directory is `{}`, by the variable TMPDIR: what the policy allows in `${{tmp}}` it allows there",
        text(tmp.path)
    )))
}

fn exists(workspace: &[u8]) -> Result<(), Stop> {
    let shown = show_bytes(workspace);
    let wrong = match std::fs::metadata(OsStr::from_bytes(workspace)) {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => "is no directory".to_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(e) => format!("cannot be read: {e}"),
    };
    Err(Stop::Usage(format!(
        "the workspace `{shown}` {wrong}; `--set workspace=PATH` names another"
    )))
}

/// A directory that the user has not named.
struct Place<'a> {
    name: &'static str,
    path: &'a Path,
}

impl<'a> Place<'a> {
    fn assumed(policy: &'a Policy, name: &'static str) -> Option<Self> {
        let path = Path::new(OsStr::from_bytes(of(policy, name)?));
        let assumed = policy.subject.assumed.contains(&name);
        assumed.then_some(Self { name, path })
    }

    /// Why `auto` must not stand for the directory.
    fn too_much(&self, policy: &Policy, homes: &Homes) -> Option<(Option<More>, String)> {
        let is_tmp = self.name == "tmp";
        let shared = is_tmp && SHARED.iter().any(|s| self.path == Path::new(s));
        match homes.more(self.path) {
            Some(More::System) if shared => return None,
            Some(more) => {
                let words = more.words();
                return Some((Some(more), words));
            }
            None => {}
        }
        let workspace = Path::new(OsStr::from_bytes(of(policy, "workspace")?));
        if !is_tmp || shared || !workspace.starts_with(self.path) {
            return None;
        }
        let why = if workspace == self.path {
            "the workspace itself"
        } else {
            "which contains the workspace"
        };
        Some((None, why.to_owned()))
    }

    fn refused(&self, why: &str, rights: &[Operation], homes: &Homes) -> Stop {
        let shown = text(self.path);
        let changes =
            |o: &Operation| matches!(o, Operation::Edit | Operation::Create | Operation::Delete);
        let can = if rights.iter().any(changes) {
            "change"
        } else {
            "read"
        };
        if self.name == "workspace" {
            return Stop::Usage(format!(
                "the workspace would be `{shown}`, {why}: the program could {can} everything in it; go to your \
                 project, or name the workspace: `--set workspace=.` is the current directory"
            ));
        }
        let from = match std::env::var_os("TMPDIR") {
            Some(_) => " (the variable TMPDIR)",
            None => "",
        };
        let other = ["/tmp", "/var/tmp", "/private/tmp"].into_iter().find(|p| {
            let path = Path::new(p);
            path.is_dir() && homes.within(path).is_none()
        });
        let type_this = match other {
            Some(other) => format!("type `TMPDIR={other} polc …`, or name one"),
            None => "name another".to_owned(),
        };
        Stop::Usage(format!(
            "the temporary directory would be `{shown}`{from}, {why}: the program could {can} everything in it; \
             {type_this}: `--set tmp=PATH` takes any directory"
        ))
    }
}

/// The operations that the policy allows because of this directory. It would not allow them if the directory were an
/// empty one elsewhere.
pub fn rights(global: &Global, loaded: &Loaded, name: &str) -> Result<Vec<Operation>, Stop> {
    let elsewhere = input::with_place(global, loaded, name, NOWHERE)?;
    let (here, elsewhere) = (Meaning::new(&loaded.policy), Meaning::new(&elsewhere));
    let more = |operation: Operation| -> Result<bool, TooLarge> {
        let here = here.decisions(operation)?.allowed();
        let elsewhere = elsewhere.decisions(operation)?.allowed();
        Ok(here.difference_witness(elsewhere)?.is_some())
    };
    let all = Operation::ON_PATHS.into_iter();
    // If this cannot be computed, it counts as a right.
    Ok(all.filter(|o| more(*o).unwrap_or(true)).collect())
}

/// A directory that the policy's text sets, instead of `auto` or `--set`.
pub struct Written {
    /// `home`, `workspace` or `tmp`.
    pub name: &'static str,
    /// Its path.
    pub path: PathBuf,
    /// Why a policy that polc found may not set it.
    pub wrong: Option<String>,
}

/// The directories that the policy's text sets.
#[must_use]
pub fn written(loaded: &Loaded, homes: &Homes) -> Vec<Written> {
    let names = ["home", "workspace", "tmp"].into_iter();
    let set = names.filter(|n| loaded.written.contains(n));
    set.filter_map(|name| {
        let path = Path::new(OsStr::from_bytes(of(&loaded.policy, name)?));
        let path = real(path);
        let wrong = wrong(name, &path, own_directory(loaded).as_deref(), homes);
        Some(Written { name, path, wrong })
    })
    .collect()
}

fn wrong(name: &str, path: &Path, own: Option<&Path>, homes: &Homes) -> Option<String> {
    if name == "home" {
        let yours = homes.own.iter().any(|h| h == path);
        return (!yours).then(|| "which is not your home directory".to_owned());
    }
    let temporary = |s: &str| name == "tmp" && path.starts_with(s);
    let shared = SHARED.iter().any(|s| temporary(s)) && homes.within(path).is_none();
    let within = own.is_some_and(|own| path.starts_with(own));
    match homes.more(path) {
        _ if shared => None,
        Some(more) => Some(more.words()),
        None if within => None,
        None => Some("which is not within the policy's own directory".to_owned()),
    }
}

/// Checks that a policy that polc found sets no directory that it may not set.
///
/// # Errors
/// It sets one.
pub fn check_written(loaded: &Loaded, homes: &Homes) -> Result<(), Stop> {
    let mut wrong = Vec::new();
    let mut instead = Vec::new();
    for place in written(loaded, homes) {
        let Some(why) = place.wrong else {
            continue;
        };
        wrong.push(format!(
            "`{}` to `{}`, {why}",
            place.name,
            text(&place.path)
        ));
        instead.push(match place.name {
            "home" => "--set home=~",
            "workspace" => "--set workspace=.",
            _ => "--set tmp=/tmp",
        });
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let name = &loaded.name;
    Err(Stop::Usage(format!(
        "`{name}` sets {}; a policy that is found in a repository may not: type `{}` to use your own, or `-p {name}` to use \
         the policy as it is, once",
        wrong.join(", and "),
        instead.join(" "),
    )))
}

/// The directory in which the policy's file was found.
#[must_use]
pub fn own_directory(loaded: &Loaded) -> Option<PathBuf> {
    let directory = loaded.files.first()?.named.parent()?;
    std::fs::canonicalize(directory).ok()
}

/// What the user should know about the directories, whoever chose them.
fn told(policy: &Policy, homes: &Homes) -> Vec<String> {
    let mut said = Vec::new();
    for (name, words) in [("workspace", "workspace"), ("tmp", "temporary directory")] {
        let Some(path) = of(policy, name) else {
            continue;
        };
        let shown = show_bytes(path);
        let path = real(Path::new(OsStr::from_bytes(path)));
        let Some(home) = homes.within(&path) else {
            continue;
        };
        let is = if home == path {
            format!("the {words} is your home directory `{shown}`")
        } else {
            let home = text(home);
            format!("the {words} `{shown}` holds your home directory `{home}`")
        };
        said.push(format!(
            "{is}: the program may do there all that the policy allows in a {words}"
        ));
    }
    let home = policy.subject.home.as_deref();
    let home = home.map(|h| real(Path::new(OsStr::from_bytes(h))));
    if let (Some(home), Some(own)) = (home, homes.own.first())
        && !homes.own.contains(&home)
    {
        said.push(format!(
            "`~` of the policy is `{}`, not your home directory `{}`: what it denies in `~` it does not deny in yours",
            text(&home),
            text(own)
        ));
    }
    said
}

fn of<'a>(policy: &'a Policy, name: &str) -> Option<&'a [u8]> {
    match name {
        "home" => policy.subject.home.as_deref(),
        "workspace" => policy.subject.workspace.as_deref(),
        _ => policy.subject.tmp.as_deref(),
    }
}

/// The real path, or the given path if it leads nowhere.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn text(path: &Path) -> String {
    show_bytes(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_is_found_sets_places_of_its_own_alone() {
        let homes = Homes {
            own: vec!["/home/me".into()],
            others: vec![("bob".to_owned(), "/srv/bob".into())],
            listed: None,
        };
        let judged = |name: &str, path: &str| {
            wrong(name, Path::new(path), Some(Path::new("/home/me/p")), &homes).is_none()
        };
        for (name, path) in [
            ("home", "/home/me"),
            ("workspace", "/home/me/p"),
            ("workspace", "/home/me/p/sub"),
            ("tmp", "/home/me/p/tmp"),
            ("tmp", "/tmp"),
            ("tmp", "/var/tmp/x"),
            ("tmp", "/dev/shm"),
        ] {
            assert!(judged(name, path), "{name} {path}");
        }
        for (name, path) in [
            ("home", "/nonexistent"),
            ("home", "/home"),
            ("workspace", "/"),
            ("workspace", "/home"),
            ("workspace", "/home/me"),
            ("workspace", "/home/me/pp"),
            ("workspace", "/home/me/.ssh"),
            ("workspace", "/tmp"),
            ("tmp", "/home/me"),
            ("tmp", "/home/me/.config"),
            ("tmp", "/srv/bob"),
            ("tmp", "/"),
            ("tmp", "/tmpx"),
        ] {
            assert!(!judged(name, path), "{name} {path}");
        }
        // A home in a directory for temporary files.
        let homes = Homes {
            own: vec!["/tmp/me".into()],
            ..homes
        };
        let own = Path::new("/tmp/me/p");
        assert!(wrong("tmp", Path::new("/tmp"), Some(own), &homes).is_some());
        // A policy in the home itself does not turn the home into a project.
        let own = Path::new("/tmp/me");
        assert!(wrong("workspace", own, Some(own), &homes).is_some());
    }
}
