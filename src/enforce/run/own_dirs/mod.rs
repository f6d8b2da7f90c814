//! The program's own directories: `/tmp`, `/var/tmp`, `/dev/shm`, and the policy's `${tmp}` if that is another one.
//!
//! Other programs of the same user leave sockets in a shared `/tmp`. A program that connects to one can act outside the
//! sandbox. A cover helps only against sockets that exist at the start. So each of these directories is an empty file
//! system in memory (tmpfs). Nothing else sees it, and it is gone at the end.
//!
//! `/run` becomes such a directory too, and nothing can be written there, unless the policy allows something in it by a
//! pattern. Services listen there, and make new sockets when they start again.
//!
//! A directory in which the policy allows nothing also becomes one ([`closed`]).
//!
//! The run needs some of the host's objects in these directories. polc mounts them in, at their own paths:
//!
//! - the workspace, the home directory, the current directory and the program itself;
//! - files that are standard input, output or error;
//! - what an allow rule names by a literal path that lies deeper than the directory itself.
//!
//! polc follows no link in the path of a rule. Another user may put a link into `/tmp`, and its target is not the
//! object that the rule names. polc resolves the workspace and the other places once, before it changes anything. It
//! makes the links on the way to one of them again. It also makes the links in `/run` again, as some lead to programs.
//! A link gives no right to its target.
//!
//! A directory stays the host's if it is the workspace or the home directory itself, or if nothing works without it
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
/// The operations on paths.
const OPERATIONS: [Operation; 7] = [
    Operation::Read,
    Operation::List,
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
    Operation::Execute,
    Operation::Connect,
];
/// Nothing works without the contents of one of these.
const NEEDED: [&[u8]; 19] = [
    b"/", b"/bin", b"/boot", b"/dev", b"/etc", b"/gnu", b"/home", b"/lib", b"/lib32", b"/lib64",
    b"/nix", b"/opt", b"/proc", b"/root", b"/run", b"/sbin", b"/sys", b"/usr", b"/var",
];

/// The program's own directories.
#[derive(Debug, Default)]
pub struct OwnDirs {
    /// By path, so that a directory comes after the one that it lies in.
    tops: BTreeMap<Vec<u8>, Inside>,
    /// Those in which every user may make something.
    temporary: BTreeSet<Vec<u8>>,
    /// Those in which the policy allows nothing.
    closed: BTreeSet<Vec<u8>>,
    /// Those that stay the host's.
    pub shared: Vec<Vec<u8>>,
}

/// What is in such a directory at the start.
#[derive(Debug, Default)]
struct Inside {
    /// Objects of the host, mounted in at the same path.
    bound: BTreeSet<Vec<u8>>,
    /// Empty directories that every user may write.
    made: BTreeSet<Vec<u8>>,
    /// Links, and their targets.
    links: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What is at a path once the directories exist.
enum Place {
    /// An object of the host.
    Host,
    /// An object that polc makes.
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

/// Plans the directories, and the objects of the host that they need. `needed` are paths that the policy does not name.
/// With `share_tmp`, the directories for temporary files stay the host's.
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
    // The run needs all of a directory that contains others, unless it is one of these itself.
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
    if resolved(RUN).as_deref() == Some(RUN) && closed.is_closed(RUN, 1) {
        links.extend(links_in(RUN));
        out.add(RUN, &named, &links);
    }
    for path in &wanted {
        out.add(path, &named, &links);
    }
    // Includes the links that lead to it: a program may be started through a link.
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

/// The links in a directory, and their final targets.
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

/// The literal beginnings of the paths that rules allow.
fn literal_paths(policy: &Policy) -> Vec<Vec<u8>> {
    let allow = policy.rules.iter().filter(|r| r.action.permits());
    let paths: BTreeSet<Vec<u8>> = allow
        .flat_map(Rule::sequences)
        .map(Sequence::literal_prefix)
        .collect();
    paths.into_iter().collect()
}

/// The links in a path, and their final targets.
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

    /// The innermost of these directories that a path lies in.
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

    /// The paths of the directories in which the program may find or make something.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        let open = self.tops.keys().filter(|p| !self.closed.contains(*p));
        open.map(Vec::as_slice)
    }

    /// Whether the program sees nothing of the host's at a path and beneath it.
    #[must_use]
    pub fn hides(&self, path: &[u8]) -> bool {
        matches!(self.place(path), Place::Nothing)
    }

    /// Mounts them. Together they may fill half of the machine's memory, or half of the program's limit. So a program
    /// that fills them gets an error, and the machine goes on.
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
        // Objects of the host, opened while they are still visible.
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

    /// An empty directory for each, all in one file system, which is mounted over `point` for a moment.
    fn empty(&self, point: &[u8], memory: Option<u64>) -> io::Result<Vec<OwnedFd>> {
        // The kernel takes a size of 0 for no limit.
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

/// An object of the host that is mounted in.
struct Found<'a> {
    path: &'a [u8],
    copy: OwnedFd,
    directory: bool,
}

impl Inside {
    /// The objects of the host that exist.
    fn find(&self, top: &[u8]) -> io::Result<Vec<Found<'_>>> {
        let folder = unlinked::open(None, top, libc::O_PATH)?;
        let mut out = Vec::new();
        for path in &self.bound {
            let Some(below) = path.get(top.len() + 1..) else {
                continue;
            };
            // An object that is missing, or that a link leads to, is not the object that the rule names.
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

    /// Puts all objects into the empty directory.
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

/// Makes a directory, and the directories from `top` to it. `top` exists.
fn make_folder(top: &[u8], path: &[u8]) -> io::Result<()> {
    if !deeper(path, top) {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(sys::path(path))
}

/// The paths that a run needs although the policy may not name them: the current directory, and the given ones.
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
