//! Directories of the program's own: `/tmp`, `/var/tmp`, `/dev/shm`, and the policy's `${tmp}` where that is another one.
//!
//! Other programs of the same user leave sockets in a shared `/tmp`, and whoever may connect to them acts outside the
//! sandbox. A cover helps only against sockets that are there at the start. So each of these directories is an empty file system in memory (tmpfs)
//! that nobody else sees and that is gone at the end.
//!
//! `/run` is such a directory too, and nothing can be written there, unless the policy allows something in it by a pattern: services listen
//! there, and make their sockets anew when they are started again.
//!
//! So is a directory in which the policy allows nothing ([`closed`]).
//!
//! Some of what the host has in them the run needs. It is mounted in from the host, at its own path:
//!
//! - the workspace, the home directory, the current directory and the program itself;
//! - files that are standard input, output or error;
//! - what an allow rule names by a literal path that lies deeper than the directory itself.
//!
//! A path of a rule is taken without links: another user may put a link into `/tmp`, and what it leads to is not what the rule
//! names. The workspace and the other places are resolved once, before anything is changed. Links on the way to one of these, and those
//! in `/run`, some of which lead to programs, are made again: a link gives no right to what it leads to.
//!
//! A directory stays the host's where it is the workspace or the home directory itself, or one without which nothing works
//! (`TMPDIR=/`). A note says so.

mod closed;

use super::{Error, sys, sys_process};
use crate::enforce::unlinked;
use crate::fidelity::show_bytes;
use crate::policy::{Operation, Policy, Rule, Sequence};
use crate::semantics::{Meaning, TooLarge};
use closed::Closed;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

/// Where programs put temporary files and shared memory on every Linux.
const USUAL: [&[u8]; 3] = [b"/tmp", b"/var/tmp", b"/dev/shm"];
/// Where services listen.
const RUN: &[u8] = b"/run";
/// What can be done beneath a path.
const OPERATIONS: [Operation; 7] = [
    Operation::Read,
    Operation::List,
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
    Operation::Execute,
    Operation::Connect,
];
/// Without the contents of one of these nothing works.
const NEEDED: [&[u8]; 19] = [
    b"/", b"/bin", b"/boot", b"/dev", b"/etc", b"/gnu", b"/home", b"/lib", b"/lib32", b"/lib64",
    b"/nix", b"/opt", b"/proc", b"/root", b"/run", b"/sbin", b"/sys", b"/usr", b"/var",
];

/// The directories that the program gets of its own.
#[derive(Debug, Default)]
pub struct OwnDirs {
    /// By their paths, so that one inside another comes after it.
    tops: BTreeMap<Vec<u8>, Inside>,
    /// Those in which everybody may make something.
    temporary: BTreeSet<Vec<u8>>,
    /// Those in which the policy allows nothing.
    closed: BTreeSet<Vec<u8>>,
    /// Those that stay the host's.
    pub shared: Vec<Vec<u8>>,
}

/// What is in such a directory at the start.
#[derive(Debug, Default)]
struct Inside {
    /// The host's, mounted in at the same path.
    bound: BTreeSet<Vec<u8>>,
    /// Empty directories for everybody.
    made: BTreeSet<Vec<u8>>,
    /// Links, and where they lead.
    links: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What stands at a path once the directories are there.
enum Place {
    /// What the host has.
    Host,
    /// What is made.
    Made,
    /// Nothing.
    Nothing,
}

/// Whether `path` lies beneath `top`, and is not `top`.
fn deeper(path: &[u8], top: &[u8]) -> bool {
    top != path && beneath(path, top)
}

/// Whether `path` is `top` or lies beneath it.
fn beneath(path: &[u8], top: &[u8]) -> bool {
    top == b"/"
        || path
            .strip_prefix(top)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn resolved(path: &[u8]) -> Option<Vec<u8>> {
    let path = std::fs::canonicalize(sys::path(path)).ok()?;
    Some(path.into_os_string().into_vec())
}

/// Looks for the directories, and for what of the host's is needed in them. `needed` are paths beside those that the policy
/// names. With `share_tmp` those for temporary files stay the host's.
///
/// # Errors
/// The policy's automata are too large.
pub fn plan(
    meaning: &Meaning<'_>,
    needed: &[Vec<u8>],
    share_tmp: bool,
) -> Result<OwnDirs, TooLarge> {
    let policy = meaning.policy();
    let subject = &policy.subject;
    let places: Vec<&Vec<u8>> = subject.home.iter().chain(&subject.workspace).collect();
    let mut out = OwnDirs::default();
    let usual = USUAL.into_iter().chain(subject.tmp.as_deref());
    let mut wanted: Vec<Vec<u8>> = usual
        .filter(|_| !share_tmp)
        .filter_map(resolved)
        .filter(|p| sys::path(p).is_dir())
        .collect();
    wanted.sort();
    wanted.dedup();
    let resolved_places: Vec<Vec<u8>> = places.iter().filter_map(|p| resolved(p)).collect();
    wanted.retain(|path| {
        let stays = NEEDED.contains(&path.as_slice()) || resolved_places.contains(path);
        if stays {
            out.shared.push(path.clone());
        }
        !stays
    });
    // A directory that others hold is needed whole, unless it is one of these itself.
    let allowed = literal_paths(policy);
    let mut named: Vec<Vec<u8>> = allowed.clone();
    let within = |path: &Vec<u8>| deeper(path, RUN) || wanted.iter().any(|w| deeper(path, w));
    named.retain(within);
    let mut links = Vec::new();
    named.retain(|path| {
        let before = links.len();
        links.extend(links_on_the_way(path));
        links.len() == before
    });
    for path in places.into_iter().chain(needed) {
        if let Some(end) = resolved(path) {
            if end != *path {
                links.extend(links_on_the_way(path));
            }
            named.push(end);
        }
    }
    named.retain(|n| !wanted.contains(n));
    let closed = Closed::new(meaning)?;
    if resolved(RUN).as_deref() == Some(RUN) && closed.holds(RUN, 1) {
        links.extend(links_in(RUN));
        out.add(RUN, &named, &links);
    }
    for path in &wanted {
        out.add(path, &named, &links);
    }
    // Also what leads to it: a program may be started by a link.
    let leading = links.iter().flat_map(|(link, end)| [link, end]);
    let kept: Vec<Vec<u8>> = named
        .iter()
        .chain(&wanted)
        .chain(needed)
        .chain(leading)
        .cloned()
        .collect();
    for (path, inner) in closed::directories(policy, &closed, &kept, &allowed) {
        if matches!(out.place(&path), Place::Host) {
            out.add(&path, &inner, &[]);
            out.closed.insert(path);
        }
    }
    out.temporary.extend(wanted);
    Ok(out)
}

/// The links in a directory, and where each leads in the end.
fn links_in(folder: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = std::fs::read_dir(sys::path(folder)).into_iter().flatten();
    let link = |entry: std::fs::DirEntry| {
        let path = entry.path().into_os_string().into_vec();
        let end = entry
            .file_type()
            .ok()?
            .is_symlink()
            .then(|| resolved(&path))??;
        Some((path, end))
    };
    entries.flatten().filter_map(link).collect()
}

/// What the rules that allow something name, as far as it is literal.
fn literal_paths(policy: &Policy) -> Vec<Vec<u8>> {
    let allow = policy.rules.iter().filter(|r| r.action.permits());
    let paths: BTreeSet<Vec<u8>> = allow
        .flat_map(Rule::sequences)
        .map(Sequence::literal_prefix)
        .collect();
    paths.into_iter().collect()
}

/// The links in a path, and where each leads in the end.
fn links_on_the_way(path: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let ends = (1..=path.len()).filter(|n| path.get(*n).is_none_or(|b| *b == b'/'));
    ends.filter_map(|n| {
        let part = path.get(..n)?;
        let link = std::fs::symlink_metadata(sys::path(part)).ok()?;
        let end = link.is_symlink().then(|| resolved(part))??;
        Some((part.to_vec(), end))
    })
    .collect()
}

impl OwnDirs {
    fn add(&mut self, top: &[u8], named: &[Vec<u8>], links: &[(Vec<u8>, Vec<u8>)]) {
        if !matches!(self.place(top), Place::Host)
            && let Some((_, inside)) = self.around(top)
        {
            inside.made.insert(top.to_vec());
            return;
        }
        let mut inside = Inside::default();
        for path in named.iter().filter(|p| deeper(p, top)) {
            if !inside.bound.iter().any(|b| beneath(path, b)) {
                inside.bound.retain(|b| !beneath(b, path));
                inside.bound.insert(path.clone());
            }
        }
        for (path, end) in links.iter().filter(|(p, _)| deeper(p, top)) {
            if !inside.bound.iter().any(|b| beneath(path, b)) {
                inside.links.insert(path.clone(), end.clone());
            }
        }
        self.tops.insert(top.to_vec(), inside);
    }

    /// The innermost of the directories that a path lies in.
    fn around(&mut self, path: &[u8]) -> Option<(&Vec<u8>, &mut Inside)> {
        let mut all = self.tops.iter_mut();
        all.rfind(|(top, _)| beneath(path, top))
    }

    fn place(&self, path: &[u8]) -> Place {
        let mut all = self.tops.iter();
        let Some((top, inside)) = all.rfind(|(top, _)| beneath(path, top)) else {
            return Place::Host;
        };
        let leads = |list: &BTreeSet<Vec<u8>>| list.iter().any(|p| beneath(p, path));
        if inside.bound.iter().any(|b| beneath(path, b)) {
            Place::Host
        } else if path == top
            || leads(&inside.bound)
            || leads(&inside.made)
            || inside.links.keys().any(|l| beneath(l, path))
        {
            Place::Made
        } else {
            Place::Nothing
        }
    }

    /// The paths of those in which the program may find or make something.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        let open = self.tops.keys().filter(|p| !self.closed.contains(*p));
        open.map(Vec::as_slice)
    }

    /// Whether the program sees nothing of what the host has at a path and beneath it.
    #[must_use]
    pub fn hides(&self, path: &[u8]) -> bool {
        matches!(self.place(path), Place::Nothing)
    }

    /// Mounts them. Together they have room for half of the memory that the machine has, or that the program may use, so that a full
    /// one is an error of whoever writes, and not the end of all.
    ///
    /// # Errors
    /// A mount fails.
    pub fn mount(&self, memory: Option<u64>) -> Result<(), Error> {
        let Some(first) = self.tops.keys().next() else {
            return Ok(());
        };
        let at = |path: &[u8]| {
            let path = show_bytes(path);
            move |e| Error::Mount(path, e)
        };
        // What is needed of the host's, while it can be seen.
        let mut found = Vec::new();
        for (top, inside) in &self.tops {
            found.push(inside.find(top).map_err(at(top))?);
        }
        let memory = memory.into_iter().chain(sys_process::memory()).min();
        let folders = self.empty(first, memory).map_err(at(first))?;
        for ((top, inside), (folder, found)) in self.tops.iter().zip(folders.iter().zip(&found)) {
            sys::attach(folder, top)
                .and_then(|()| inside.fill(top, found))
                .map_err(at(top))?;
        }
        Ok(())
    }

    /// An empty directory for each, all in one file system. It is mounted over `point` for a moment.
    fn empty(&self, point: &[u8], memory: Option<u64>) -> io::Result<Vec<OwnedFd>> {
        // A size of 0 would be none.
        let size = memory.map_or(String::new(), |m| format!(",size={}", (m / 2).max(4096)));
        let (target, data) = (
            sys::c_path(point)?,
            sys::c_path(format!("mode=755{size}").as_bytes())?,
        );
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        sys::mount(Some(c"polc"), &target, Some(c"tmpfs"), flags, Some(&data))?;
        let folder = |(number, top): (usize, &Vec<u8>)| {
            let path = [point, b"/", number.to_string().as_bytes()].concat();
            std::fs::create_dir(sys::path(&path))?;
            let empty = self.tops.get(top).is_some_and(|i| i.bound.is_empty());
            let mode = if self.temporary.contains(top) {
                0o1777
            } else if self.closed.contains(top) && empty {
                0o000
            } else {
                0o755
            };
            std::fs::set_permissions(sys::path(&path), PermissionsExt::from_mode(mode))?;
            sys::copy_mount(&path)
        };
        let folders = self.tops.keys().enumerate().map(folder).collect();
        sys::unmount(&target)?;
        folders
    }
}

/// Something of the host's that is mounted in.
struct Found<'a> {
    path: &'a [u8],
    copy: OwnedFd,
    directory: bool,
}

impl Inside {
    /// What is there of the host's.
    fn find(&self, top: &[u8]) -> io::Result<Vec<Found<'_>>> {
        let folder = unlinked::open(None, top, libc::O_PATH)?;
        let mut out = Vec::new();
        for path in &self.bound {
            let Some(below) = path.get(top.len() + 1..) else {
                continue;
            };
            // What is not there, or is reached by a link, is not the object that the rule speaks of.
            let Ok(object) = unlinked::open(Some(&folder), below, libc::O_PATH) else {
                continue;
            };
            let kind = sys::status(&object)?.st_mode & libc::S_IFMT;
            if kind == libc::S_IFLNK {
                continue;
            }
            out.push(Found {
                path,
                copy: sys::copy_object(&object)?,
                directory: kind == libc::S_IFDIR,
            });
        }
        Ok(out)
    }

    /// Puts everything into the empty directory.
    fn fill(&self, top: &[u8], found: &[Found<'_>]) -> io::Result<()> {
        for path in &self.made {
            make_folder(top, path)?;
            std::fs::set_permissions(sys::path(path), PermissionsExt::from_mode(0o1777))?;
        }
        for (link, end) in &self.links {
            make_folder(top, above(link))?;
            std::os::unix::fs::symlink(sys::path(end), sys::path(link))?;
        }
        for object in found {
            if object.directory {
                make_folder(top, object.path)?;
            } else {
                make_folder(top, above(object.path))?;
                std::fs::File::create_new(sys::path(object.path))?;
            }
            sys::attach(&object.copy, object.path)?;
        }
        Ok(())
    }
}

/// The directory that a path lies in.
fn above(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

/// Makes a directory and those on the way to it from `top`, which is there.
fn make_folder(top: &[u8], path: &[u8]) -> io::Result<()> {
    if !deeper(path, top) {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(sys::path(path))
}

/// The current directory and, with those that are given, what a run needs beside what its policy names.
#[must_use]
pub fn needed<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let here = std::env::current_dir().ok();
    let mut out: Vec<Vec<u8>> = here
        .iter()
        .map(|p| p.as_os_str().as_bytes().to_vec())
        .collect();
    out.extend(paths.into_iter().map(<[u8]>::to_vec));
    out
}
