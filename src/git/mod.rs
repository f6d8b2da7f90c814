//! Finds the files of a workspace's repository: the values of `${git_dir}` and the other git variables on this host.
//!
//! A program that tries to leave the sandbox may have written everything that is read here: the `.git` file of the
//! workspace, a configuration, links. So a directory outside the workspace counts as the repository's own only if the
//! directory itself confirms that:
//!
//! - For a linked worktree, `COMMON/worktrees/NAME/gitdir` names the workspace's `.git`, and `COMMON` is a repository.
//! - For a submodule, `core.worktree` leads back to the workspace, and the directory is in `modules` of the repository
//!   of a directory around the workspace.
//!
//! A program inside can write neither of these, unless it could write the repository anyway. If `.git` is anything else
//! (a link, or a file that leads somewhere else), the policy sees no repository, and git does not work inside.
//!
//! Configurations name hooks and other configuration files. The names in the user's own configuration are *trusted*.
//! The names in the repository's configuration are not. Rules that deny are about both. Rules that allow are only about
//! trusted names.

mod config;
mod programs;

pub use programs::programs;

use crate::fidelity::{Object, show_bytes};
use crate::policy::{GitFiles, GitPaths, Operation, Policy};
use crate::semantics::decide;
use config::Entry;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The largest file that is read. git's own files are far smaller.
const MAX_BYTES: u64 = 4 << 20;
/// The most files that one configuration leads to.
const MAX_INCLUDED: usize = 64;
/// How deep submodules may be nested.
const MAX_DEPTH: usize = 8;
/// The most links that are followed in a directory of hooks.
const MAX_HOOKS: usize = 256;

/// Directories of the system, which belong to no repository.
const SYSTEM: [&str; 12] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
    "/var/lib",
];

/// The paths of the repository that is checked out at the workspace.
#[must_use]
pub fn paths(workspace: &[u8], home: Option<&[u8]>) -> GitPaths {
    let given = Path::new(OsStr::from_bytes(workspace));
    let home = home.map(|h| Path::new(OsStr::from_bytes(h)));
    let Ok(workspace) = std::fs::canonicalize(given) else {
        return GitPaths::default();
    };
    let found = repository(&workspace, home, 0);
    let users = users_config(home);
    let own = found.as_ref().map_or(Vec::new(), |r| r.config_files());
    let mut out = GitPaths::default();
    let trusted = Configuration::read(&users, home);
    let all = Configuration::read(&[users.as_slice(), &own].concat(), home);
    if let Some(r) = &found {
        out.dir = one(&r.dir);
        out.common_dir = one(&r.common);
        for list in [&mut out.hooks.trusted, &mut out.hooks.all] {
            hooks_in(&r.common.join("hooks"), list);
        }
    }
    for (list, from) in [
        (&mut out.hooks.trusted, &trusted),
        (&mut out.hooks.all, &all),
    ] {
        for path in from.values(b"core", b"hookspath") {
            if let Some(path) = named(path, &workspace, home) {
                hooks_in(&path, list);
            }
        }
    }
    out.config = GitFiles {
        trusted: trusted.included(&users),
        all: all.included(&own),
    };
    for files in [&mut out.hooks, &mut out.config] {
        for path in &files.trusted {
            if !files.all.contains(path) {
                files.all.push(path.clone());
            }
        }
    }
    out
}

/// What a start says about the repository: its directory lies outside the workspace and the policy does not open it, or
/// there is no repository that could be opened.
#[must_use]
pub fn told(policy: &Policy) -> Option<String> {
    let workspace = Path::new(OsStr::from_bytes(policy.subject.workspace.as_deref()?));
    let git = &policy.subject.git;
    let Some(dir) = git.dir.first() else {
        let dot = workspace.join(".git");
        let leads_away = dot.symlink_metadata().is_ok_and(|m| !m.is_dir());
        return leads_away.then(|| {
            format!(
                "`{}` does not lead to a git directory of this workspace: git does not work inside",
                shown(&dot)
            )
        });
    };
    let closed = |dir: &Vec<u8>, name: &str| {
        let path = [dir.as_slice(), name.as_bytes()].concat();
        let outside = !Path::new(OsStr::from_bytes(dir)).starts_with(workspace);
        let decision = decide(policy, Operation::Create, &Object::Path(path));
        outside && !decision.action.permits()
    };
    let shut =
        closed(dir, "/index.lock") || git.common_dir.iter().any(|d| closed(d, "/objects/00"));
    shut.then(|| {
        format!(
            "the git directory of this workspace is `{}`, outside it, and no rule allows writing there: add `- include: builtin:git-directories` to the rules, below builtin:git-hooks",
            show_bytes(dir)
        )
    })
}

fn shown(path: &Path) -> String {
    show_bytes(path.as_os_str().as_bytes())
}

/// A repository: the directory of this checkout, and the directory that it shares with others.
struct Repository {
    dir: PathBuf,
    common: PathBuf,
}

impl Repository {
    /// The configurations that git reads in it. They may not exist.
    fn config_files(&self) -> Vec<PathBuf> {
        vec![self.common.join("config"), self.dir.join("config.worktree")]
    }
}

fn repository(workspace: &Path, home: Option<&Path>, depth: usize) -> Option<Repository> {
    let dot = workspace.join(".git");
    let kind = std::fs::symlink_metadata(&dot).ok()?;
    if kind.is_dir() {
        return Some(Repository {
            dir: dot.clone(),
            common: dot,
        });
    }
    if !kind.is_file() || depth > MAX_DEPTH {
        return None;
    }
    let text = read(&dot)?;
    let target = line(text.strip_prefix(b"gitdir: ")?)?;
    let dir = std::fs::canonicalize(workspace.join(target)).ok()?;
    let fits = is_fit(&dir, workspace, home) && is_owned(&dir, workspace);
    if !fits {
        return None;
    }
    worktree(workspace, &dir, home).or_else(|| submodule(workspace, &dir, home, depth))
}

/// The repository of a linked worktree, if its directory names the workspace too.
fn worktree(workspace: &Path, dir: &Path, home: Option<&Path>) -> Option<Repository> {
    let list = dir.parent()?;
    let common = list.parent()?;
    if list.file_name()? != "worktrees" {
        return None;
    }
    let back = dir.join(line(&read(&dir.join("gitdir"))?)?);
    let leads_back =
        back.file_name()? == ".git" && std::fs::canonicalize(back.parent()?).ok()? == workspace;
    let shared = dir.join(line(&read(&dir.join("commondir"))?)?);
    let same = std::fs::canonicalize(shared).ok()? == common;
    let fits = is_fit(common, workspace, home) && is_owned(common, workspace);
    (leads_back && same && fits && is_repository(common)).then(|| Repository {
        dir: dir.to_owned(),
        common: common.to_owned(),
    })
}

/// The repository of a submodule, if it lies in the repository around the workspace and leads back to the workspace.
fn submodule(
    workspace: &Path,
    dir: &Path,
    home: Option<&Path>,
    depth: usize,
) -> Option<Repository> {
    let entries = config::entries(&read(&dir.join("config"))?);
    let back = entries
        .iter()
        .rfind(|e| e.section == b"core" && e.subsection.is_empty() && e.name == b"worktree")?;
    let back = dir.join(OsStr::from_bytes(&back.value));
    let leads_back = std::fs::canonicalize(back).ok()? == workspace;
    let around = workspace
        .ancestors()
        .skip(1)
        .find(|a| a.join(".git").symlink_metadata().is_ok())?;
    let around = repository(around, home, depth + 1)?;
    let within = [&around.dir, &around.common].into_iter().any(|d| {
        let modules = d.join("modules");
        dir != modules && dir.starts_with(&modules)
    });
    (leads_back && within && is_repository(dir)).then(|| Repository {
        dir: dir.to_owned(),
        common: dir.to_owned(),
    })
}

/// Whether git would take a directory for a repository.
fn is_repository(dir: &Path) -> bool {
    let is_dir = |name: &str| dir.join(name).symlink_metadata().is_ok_and(|m| m.is_dir());
    is_dir("objects") && is_dir("refs") && dir.join("HEAD").symlink_metadata().is_ok()
}

/// Whether rights on a directory are only rights on a repository. It must not contain the workspace or the home
/// directory, and must not belong to the system.
fn is_fit(dir: &Path, workspace: &Path, home: Option<&Path>) -> bool {
    let system = SYSTEM.iter().any(|s| dir.starts_with(s));
    !system && !workspace.starts_with(dir) && !home.is_some_and(|h| h.starts_with(dir))
}

/// Whether it has the same owner as the workspace. git itself checks that.
fn is_owned(dir: &Path, workspace: &Path) -> bool {
    let owner = |p: &Path| p.symlink_metadata().map(|m| m.uid()).ok();
    owner(dir).is_some() && owner(dir) == owner(workspace)
}

/// The user's own configuration, and the system's.
fn users_config(home: Option<&Path>) -> Vec<PathBuf> {
    let mut out = vec![PathBuf::from("/etc/gitconfig")];
    if let Some(home) = home {
        out.push(home.join(".config/git/config"));
        out.push(home.join(".gitconfig"));
    }
    out
}

/// Configuration files, with every file that they include under any condition.
struct Configuration {
    /// Each file, with its contents.
    files: Vec<(PathBuf, Vec<Entry>)>,
}

impl Configuration {
    fn read(roots: &[PathBuf], home: Option<&Path>) -> Self {
        let mut files: Vec<(PathBuf, Vec<Entry>)> = Vec::new();
        let mut wanted: Vec<PathBuf> = roots.to_vec();
        while let Some(path) = wanted.pop() {
            if files.len() >= MAX_INCLUDED + roots.len() || files.iter().any(|(p, _)| *p == path) {
                continue;
            }
            let entries = read(&path).map_or(Vec::new(), |text| config::entries(&text));
            // A relative path starts at the real path of the file.
            let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            let beside = real.parent().unwrap_or(&real).to_owned();
            wanted.extend(
                entries
                    .iter()
                    .filter(|e| {
                        e.name == b"path"
                            && [&b"include"[..], b"includeif"].contains(&e.section.as_slice())
                    })
                    .filter_map(|e| named(&e.value, &beside, home)),
            );
            files.push((path, entries));
        }
        Self { files }
    }

    fn values<'s>(&'s self, section: &'s [u8], name: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
        let all = self.files.iter().flat_map(|(_, entries)| entries);
        all.filter(move |e| e.section == section && e.subsection.is_empty() && e.name == name)
            .map(|e| e.value.as_slice())
    }

    /// The included files, and the targets of all files that are links.
    fn included(&self, roots: &[PathBuf]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for (path, _) in &self.files {
            if !roots.contains(path) {
                push(&mut out, path);
            }
            if let Some(real) = resolved(path) {
                push(&mut out, &real);
            }
        }
        out
    }
}

/// Adds a directory of hooks, with its target and the targets of its hooks if they are links.
fn hooks_in(directory: &Path, out: &mut Vec<Vec<u8>>) {
    push(out, directory);
    if let Some(real) = resolved(directory) {
        push(out, &real);
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.take(MAX_HOOKS) {
        if let Some(real) = entry
            .file_type()
            .is_ok_and(|t| t.is_symlink())
            .then(|| resolved(&entry.path()))
            .flatten()
        {
            push(out, &real);
        }
    }
}

/// The real path, if it differs.
fn resolved(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok().filter(|real| real != path)
}

/// A path in a configuration. `~/` is the home directory. A relative path starts at `beside`.
fn named(text: &[u8], beside: &Path, home: Option<&Path>) -> Option<PathBuf> {
    if text.is_empty() || text.contains(&0) || text.starts_with(b"%(") {
        return None;
    }
    let path = match text.strip_prefix(b"~/") {
        Some(rest) => home?.join(OsStr::from_bytes(rest)),
        None if text == b"~" => home?.to_owned(),
        // Another user's home.
        None if text.starts_with(b"~") => return None,
        None => beside.join(OsStr::from_bytes(text)),
    };
    // Without `.` and `..`, like the policy's paths.
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    (out.is_absolute() && out.as_os_str().len() <= 4095).then_some(out)
}

fn one(path: &Path) -> Vec<Vec<u8>> {
    vec![path.as_os_str().as_bytes().to_vec()]
}

fn push(out: &mut Vec<Vec<u8>>, path: &Path) {
    let bytes = path.as_os_str().as_bytes();
    if !out.iter().any(|p| p == bytes) {
        out.push(bytes.to_vec());
    }
}

/// The line of a file that has only one line.
fn line(text: &[u8]) -> Option<PathBuf> {
    let end = text.iter().rposition(|b| *b != b'\n' && *b != b'\r')?;
    let line = text.get(..=end)?;
    (!line.contains(&0)).then(|| PathBuf::from(std::ffi::OsString::from_vec(line.to_vec())))
}

/// Reads a regular file that is not too large. It checks the kind before it opens the file, because opening a fifo
/// blocks.
fn read(path: &Path) -> Option<Vec<u8>> {
    let fits = |m: &std::fs::Metadata| m.is_file() && m.len() <= MAX_BYTES;
    std::fs::metadata(path).ok().filter(fits)?;
    let file = std::fs::File::open(path).ok()?;
    let mut out = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests;
