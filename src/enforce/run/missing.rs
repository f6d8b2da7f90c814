//! `create_missing`: before the program starts, polc makes what a rule names and what does not exist.
//!
//! Landlock grants rights on directories that exist. The program could not make a cache in the home directory, even if
//! the policy allows it, because it may not write the home directory itself. So polc makes it first.
//!
//! What polc makes:
//!
//! - for a path that ends in `/**` and has no other wildcard: the directory
//! - for a path without wildcards: an empty file (`{}` if its name ends in `.json`)
//! - for every other path: nothing
//!
//! It makes an object only where the policy permits everything that the rule allows. What an earlier rule denies is not
//! made. It never makes the home directory, the workspace or the temporary directory itself. It never follows a
//! symbolic link, and makes objects only in directories that the user or root owns. So no other user can mislead it.
//!
//! Directories in the home directory get mode 0700, others get 0755 without the bits of the umask.

use super::report::Report;
use super::sys;
use crate::fidelity::{Object, show_bytes};
use crate::policy::{CreateMissing, Objects, Operation, Policy, Rule, RuleId};
use crate::semantics::decide;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most objects that one start makes. No serious policy needs more.
const MOST: usize = 512;

/// What polc makes at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
}

/// Something that a rule names and that does not exist.
#[derive(Debug, PartialEq, Eq)]
struct Missing {
    path: Vec<u8>,
    kind: Kind,
}

/// Why something could not be made.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("`{}` does not exist either, and no rule makes it", show_bytes(.0))]
    Place(Vec<u8>),
    #[error("rule `{}` denies making `{}`", .1, show_bytes(.0))]
    Denied(Vec<u8>, String),
    #[error("`{}` is a symbolic link, or not a directory", show_bytes(.0))]
    NoDirectory(Vec<u8>),
    #[error("`{}` belongs to another user", show_bytes(.0))]
    Owner(Vec<u8>),
    #[error("`{}`: {}", show_bytes(.0), .1)]
    System(Vec<u8>, std::io::Error),
}

/// Makes what rules with `create_missing` name and what does not exist. Reports what it could not make.
pub(super) fn make(policy: &Policy, report: &mut Report) {
    let mut left = MOST;
    for rule in &policy.rules {
        if !is_wanted(&rule.create_missing) {
            continue;
        }
        for missing in of_rule(policy, rule) {
            if left == 0 {
                report.stricter(
                    "paths that do not exist",
                    format!("more than {MOST} paths of `create_missing` do not exist: polc does not make the others"),
                );
                return;
            }
            left -= 1;
            if let Err(why) = create(policy, &missing) {
                report.stricter(
                    "paths that do not exist",
                    format!(
                        "`{}`, which rule `{}` allows, does not exist, and polc cannot make it: {why}",
                        show_bytes(&missing.path),
                        rule.name
                    ),
                );
            }
        }
    }
}

/// What `run` does about an object that the rule allows, if the directory that the rule names does not exist: one line
/// for `explain`.
#[must_use]
pub fn told(policy: &Policy, rule: RuleId, path: &[u8]) -> Option<String> {
    let rule = policy.rules.get(rule.0 as usize)?;
    let beneath = |m: &Missing| {
        path.strip_prefix(m.path.as_slice())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let missing = of_rule(policy, rule).into_iter().find(beneath)?;
    let shown = show_bytes(&missing.path);
    Some(match &rule.create_missing {
        CreateMissing::No
            if missing.kind == Kind::Directory && needs_help(policy, &missing.path) =>
        {
            format!(
                "`{shown}` does not exist, and the program cannot make it: write `create_missing: true` on the rule, and `run` makes it"
            )
        }
        CreateMissing::No => return None,
        CreateMissing::For(programs) if !is_wanted(&rule.create_missing) => format!(
            "`{shown}` does not exist, and `run` does not make it, because none of {} is installed",
            programs.join(", ")
        ),
        CreateMissing::Always | CreateMissing::For(_) => {
            format!("`{shown}` does not exist: `run` makes it before the program starts")
        }
    })
}

/// Whether the program cannot make a directory itself, because it may not write in the nearest directory that exists.
fn needs_help(policy: &Policy, path: &[u8]) -> bool {
    let mut there = path;
    while !there.is_empty() && sys::path(there).symlink_metadata().is_err() {
        let end = there.iter().rposition(|b| *b == b'/').unwrap_or(0);
        there = &there[..end];
    }
    // No real file has this name. It stands for any file that the program might make.
    let beside = [there, b"/.polc-any-name"].concat();
    !decide(policy, Operation::Create, &Object::Path(beside))
        .action
        .permits()
}

/// What a rule names and what does not exist.
fn of_rule(policy: &Policy, rule: &Rule) -> Vec<Missing> {
    let Objects::Paths { paths, .. } = &rule.objects else {
        return Vec::new();
    };
    let named = paths.iter().flat_map(|p| &p.sequences).filter_map(|s| {
        let tree = s.as_literal_tree().map(|path| (path, Kind::Directory));
        tree.or_else(|| Some((s.as_literal()?, Kind::File)))
    });
    let permitted = |path: &[u8]| {
        rule.operations.iter().all(|operation| {
            decide(policy, operation, &Object::Path(path.to_vec()))
                .action
                .permits()
        })
    };
    let absent = |path: &[u8]| {
        let found = sys::path(path).symlink_metadata();
        found.is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    };
    named
        .filter(|(path, _)| absent(path) && permitted(path))
        .map(|(path, kind)| Missing { path, kind })
        .collect()
}

fn is_wanted(wish: &CreateMissing) -> bool {
    match wish {
        CreateMissing::No => false,
        CreateMissing::Always => true,
        CreateMissing::For(programs) => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path)
                .filter(|d| d.is_absolute())
                .any(|d| programs.iter().any(|p| d.join(p).is_file()))
        }
    }
}

/// Makes one object, and the directories that it lies in.
fn create(policy: &Policy, missing: &Missing) -> Result<(), Failed> {
    let home = policy.subject.home.as_deref();
    let names: Vec<&[u8]> = missing
        .path
        .split(|b| *b == b'/')
        .filter(|n| !n.is_empty())
        .collect();
    let error = |at: &[u8], e: std::io::Error| Failed::System(at.to_vec(), e);
    let mut at: Vec<u8> = Vec::new();
    let mut folder = sys::open_directory(None, b"/").map_err(|e| error(b"/", e))?;
    for (i, name) in names.iter().enumerate() {
        at.push(b'/');
        at.extend_from_slice(name);
        let in_home = home.is_some_and(|h| is_beneath(&at, h));
        if i + 1 == names.len() && missing.kind == Kind::File {
            let mode = if in_home { 0o600 } else { 0o644 };
            return match sys::make_file(folder.as_fd(), name, mode, contents(name)) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(error(&at, e)),
                _ => Ok(()),
            };
        }
        folder = match enter(folder.as_fd(), name, &at) {
            Err(Failed::System(_, e)) if e.kind() == std::io::ErrorKind::NotFound => {
                may_make(policy, &at)?;
                let mode = if in_home { 0o700 } else { 0o755 };
                match sys::make_directory(folder.as_fd(), name, mode) {
                    Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                        return Err(error(&at, e));
                    }
                    _ => enter(folder.as_fd(), name, &at)?,
                }
            }
            other => other?,
        };
    }
    Ok(())
}

/// Makes an empty object in an existing directory, unless something is at its path. No directory on the way may be a
/// link, and each must belong to the user or to root.
pub(super) fn placeholder(path: &[u8], directory: bool) {
    let mut names: Vec<&[u8]> = path
        .split(|b| *b == b'/')
        .filter(|n| !n.is_empty())
        .collect();
    let Some(last) = names.pop() else {
        return;
    };
    let mut at: Vec<u8> = Vec::new();
    let top = sys::open_directory(None, b"/").ok();
    let folder = names.into_iter().try_fold(top, |folder, name| {
        at.push(b'/');
        at.extend_from_slice(name);
        Some(enter(folder.as_ref()?.as_fd(), name, &at).ok())
    });
    if let Some(folder) = folder.flatten() {
        // No caller relies on the object, so an error has no effect.
        let _ = if directory {
            sys::make_directory(folder.as_fd(), last, 0o755)
        } else {
            sys::make_file(folder.as_fd(), last, 0o644, b"")
        };
    }
}

/// The contents of a new file: nothing, or an empty object for JSON, because an empty file is an error there.
fn contents(name: &[u8]) -> &'static [u8] {
    if name.ends_with(b".json") {
        b"{}\n"
    } else {
        b""
    }
}

/// Opens a directory in another one, if it is no link and belongs to the user or to root.
fn enter(folder: BorrowedFd<'_>, name: &[u8], at: &[u8]) -> Result<OwnedFd, Failed> {
    let opened = sys::open_directory(Some(folder), name).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOTDIR | libc::ELOOP) => Failed::NoDirectory(at.to_vec()),
        _ => Failed::System(at.to_vec(), e),
    })?;
    let owner = sys::owner(opened.as_fd()).map_err(|e| Failed::System(at.to_vec(), e))?;
    if owner != 0 && owner != sys::user() {
        return Err(Failed::Owner(at.to_vec()));
    }
    Ok(opened)
}

/// Whether polc may make a directory on the way: no rule denies it, and it is not the home, the workspace or `${tmp}`.
fn may_make(policy: &Policy, path: &[u8]) -> Result<(), Failed> {
    if is_place(policy, path) {
        return Err(Failed::Place(path.to_vec()));
    }
    let decision = decide(policy, Operation::Create, &Object::Path(path.to_vec()));
    match decision.rule {
        Some(id) if !decision.action.permits() => {
            let name = policy.rule(id).name.clone();
            Err(Failed::Denied(path.to_vec(), name))
        }
        _ => Ok(()),
    }
}

/// Whether the path is the home, the workspace or `${tmp}`, or a directory above one of them.
fn is_place(policy: &Policy, path: &[u8]) -> bool {
    let s = &policy.subject;
    [&s.home, &s.workspace, &s.tmp]
        .into_iter()
        .flatten()
        .any(|place| place == path || is_beneath(place, path))
}

/// Whether the first path lies beneath the second.
fn is_beneath(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with(b"/"))
}
