//! Follows a path through symbolic links.

use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a path is, without following a link at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A symbolic link with this text.
    Link(Vec<u8>),
    /// Something else, or something that cannot be looked at.
    Other,
    /// Nothing exists there.
    Missing,
}

/// A file system to look at.
pub trait View {
    /// What the path is. It has no links above its last name.
    fn place(&self, path: &[u8]) -> Place;

    /// Whether the path is a directory. A link at the end is followed.
    fn is_directory(&self, path: &[u8]) -> bool;

    /// At most `most` entries of a directory, by name. It is empty if there is no directory that can be listed.
    fn entries(&self, directory: &[u8], most: usize) -> Vec<(Vec<u8>, Entry)>;

    /// The regular file at the path.
    fn file(&self, path: &[u8]) -> Option<FileOnDisk>;
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Something else.
    Other,
}

/// A file, independent of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileOnDisk {
    /// The file system that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many names it has.
    pub names: u64,
}

/// The file system of this host.
#[derive(Debug, Clone, Copy)]
pub struct RealLinks;

impl View for RealLinks {
    fn place(&self, path: &[u8]) -> Place {
        // These links have another target for each process that reads them.
        if path.starts_with(b"/proc/") {
            return Place::Other;
        }
        match std::fs::read_link(Path::new(OsStr::from_bytes(path))) {
            Ok(target) => Place::Link(target.into_os_string().into_vec()),
            Err(e) if matches!(e.kind(), NotFound | NotADirectory) => Place::Missing,
            Err(_) => Place::Other,
        }
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        Path::new(OsStr::from_bytes(path)).is_dir()
    }

    fn entries(&self, directory: &[u8], most: usize) -> Vec<(Vec<u8>, Entry)> {
        let Ok(listed) = std::fs::read_dir(Path::new(OsStr::from_bytes(directory))) else {
            return Vec::new();
        };
        let mut out: Vec<(Vec<u8>, Entry)> = listed
            .take(most)
            .filter_map(Result::ok)
            .map(|entry| {
                let kind = match entry.file_type() {
                    Ok(t) if t.is_symlink() => Entry::Link,
                    Ok(t) if t.is_dir() => Entry::Directory,
                    Ok(t) if t.is_file() => Entry::File,
                    _ => Entry::Other,
                };
                (entry.file_name().into_vec(), kind)
            })
            .collect();
        out.sort_unstable();
        out
    }

    fn file(&self, path: &[u8]) -> Option<FileOnDisk> {
        let found = std::fs::symlink_metadata(Path::new(OsStr::from_bytes(path))).ok()?;
        found.is_file().then(|| FileOnDisk {
            device: found.dev(),
            inode: found.ino(),
            names: found.nlink(),
        })
    }
}

/// Linux follows at most this many links in one path.
const MAX_LINKS: usize = 40;

/// Resolves paths. It looks at each path only once.
pub struct Resolver<'v> {
    view: &'v dyn View,
    known: RefCell<FxHashMap<Vec<u8>, Place>>,
}

/// Another name that a link gives to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alias {
    /// How many names of the path it replaces.
    pub named: usize,
    /// The names that replace them.
    pub real: Vec<Vec<u8>>,
    /// The link is on the way, and `..` follows it. So what is beneath the path is not beneath this name.
    pub alone: bool,
}

/// Where the names of a path lead.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The other names that links give to the path, in the order of the walk.
    pub aliases: Vec<Alias>,
    /// The path without links. `None`: it has a loop, or more links than the kernel follows.
    pub end: Option<Vec<Vec<u8>>>,
}

/// Names as a path. The root is `/`.
pub(super) fn join(names: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    for name in names {
        out.push(b'/');
        out.extend_from_slice(name.as_ref());
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// The names of a path or of a link's text, without empty ones and `.`.
pub(super) fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/')
        .filter(|n| !n.is_empty() && *n != b".")
}

impl<'v> Resolver<'v> {
    /// A resolver for a file system.
    #[must_use]
    pub fn new(view: &'v dyn View) -> Self {
        Self {
            view,
            known: RefCell::default(),
        }
    }

    fn place(&self, path: Vec<u8>) -> Place {
        if let Some(known) = self.known.borrow().get(&path) {
            return known.clone();
        }
        let place = self.view.place(&path);
        self.known.borrow_mut().insert(path, place.clone());
        place
    }

    /// The path without links, as the kernel resolves it. A name that does not exist stays as it is. `None`: it has a
    /// loop, or more links than the kernel follows.
    #[must_use]
    pub fn resolve(&self, path: &[u8]) -> Option<Vec<u8>> {
        let names: Vec<&[u8]> = names(path).collect();
        self.walk(&names).end.map(|end| join(&end))
    }

    /// Like [`Self::resolve`], for calls that do not follow a link at the end, such as unlink.
    #[must_use]
    pub fn resolve_parent(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut names: Vec<&[u8]> = names(path).collect();
        let last = names.pop();
        let mut end = self.walk(&names).end?;
        match last {
            Some(b"..") => drop(end.pop()),
            Some(name) => end.push(name.to_vec()),
            None => {}
        }
        Some(join(&end))
    }

    pub(super) fn walk(&self, names: &[&[u8]]) -> Walk {
        let mut out = Walk::default();
        let mut real: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        let mut missing = false;
        for (i, name) in names.iter().enumerate() {
            let mut left: VecDeque<Vec<u8>> = VecDeque::from([name.to_vec()]);
            let mut linked = false;
            while let Some(next) = left.pop_front() {
                if next == b".." {
                    real.pop();
                    continue;
                }
                real.push(next);
                if missing {
                    continue;
                }
                let target = match self.place(join(&real)) {
                    Place::Link(target) => target,
                    Place::Other => continue,
                    Place::Missing => {
                        missing = true;
                        continue;
                    }
                };
                links += 1;
                if links > MAX_LINKS {
                    return out;
                }
                if linked {
                    out.aliases.push(on_the_way(i + 1, &real, &left));
                }
                linked = true;
                real.pop();
                if target.starts_with(b"/") {
                    real.clear();
                }
                for name in self::names(&target).rev() {
                    left.push_front(name.to_vec());
                }
            }
            if linked {
                out.aliases.push(Alias {
                    named: i + 1,
                    real: real.clone(),
                    alone: false,
                });
            }
        }
        out.end = Some(real);
        out
    }
}

/// The other name of a link at `real` that another link led to. `left` are the names after it.
fn on_the_way(named: usize, real: &[Vec<u8>], left: &VecDeque<Vec<u8>>) -> Alias {
    let alone = left.iter().any(|n| n == b"..");
    let mut real = real.to_vec();
    if !alone {
        real.extend(left.iter().cloned());
    }
    Alias { named, real, alone }
}
