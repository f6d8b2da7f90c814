//! This host's file system, as Landlock's lowering sees it.

use crate::policy::Operation;
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::FileType;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::rc::Rc;

/// The kind of object at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A file, a device, a socket: anything without entries.
    File,
    /// A symbolic link.
    Link,
}

/// A file system to look at.
pub trait Host {
    /// The kind of object at the path. Does not follow a link.
    fn kind(&self, path: &[u8]) -> Kind;
    /// The final target of a symbolic link, if it exists.
    fn leads_to(&self, path: &[u8]) -> Option<Vec<u8>>;
    /// The names in a directory, ascending, with their kinds. Does not follow links. Empty if the directory cannot be
    /// read.
    fn list(&self, path: &[u8]) -> Vec<(Vec<u8>, Kind)>;
    /// Whether another layer grants the operation on everything in a directory. Then its entries need no rights, and
    /// are not examined.
    fn is_granted(&self, _operation: Operation, _directory: &[u8]) -> bool {
        false
    }
}

/// The file system of this host.
pub struct RealHost;

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn kind_of(kind: FileType) -> Kind {
    if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Link
    } else {
        Kind::File
    }
}

impl Host for RealHost {
    fn kind(&self, bytes: &[u8]) -> Kind {
        std::fs::symlink_metadata(path(bytes)).map_or(Kind::Missing, |m| kind_of(m.file_type()))
    }

    fn leads_to(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let end = std::fs::canonicalize(path(bytes)).ok()?;
        Some(end.into_os_string().into_vec())
    }

    fn list(&self, bytes: &[u8]) -> Vec<(Vec<u8>, Kind)> {
        let mut names: Vec<(Vec<u8>, Kind)> = std::fs::read_dir(path(bytes))
            .into_iter()
            .flatten()
            .flatten()
            // On most file systems, the directory itself has the kinds of its entries.
            .map(|e| {
                let kind = e.file_type().map_or(Kind::Missing, kind_of);
                (e.file_name().into_vec(), kind)
            })
            // Processes end, and their numbers are used again. So a right on a process could become a right on another
            // one.
            .filter(|(name, _)| bytes != b"/proc" || !name.iter().all(u8::is_ascii_digit))
            .collect();
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        names
    }
}

/// The host's answers so far. Each operation is lowered separately, and most look at the same paths.
pub(super) struct Remembered<'h> {
    host: &'h dyn Host,
    kinds: RefCell<FxHashMap<Vec<u8>, Kind>>,
    lists: RefCell<FxHashMap<Vec<u8>, List>>,
}

type List = Rc<Vec<(Vec<u8>, Kind)>>;

impl<'h> Remembered<'h> {
    pub(super) fn new(host: &'h dyn Host) -> Self {
        Self {
            host,
            kinds: RefCell::default(),
            lists: RefCell::default(),
        }
    }

    /// As [`Host::kind`].
    pub(super) fn kind(&self, path: &[u8]) -> Kind {
        if let Some(known) = self.kinds.borrow().get(path) {
            return *known;
        }
        let kind = self.host.kind(path);
        self.kinds.borrow_mut().insert(path.to_vec(), kind);
        kind
    }

    /// As [`Host::is_granted`].
    pub(super) fn is_granted(&self, operation: Operation, directory: &[u8]) -> bool {
        self.host.is_granted(operation, directory)
    }

    /// As [`Host::list`].
    pub(super) fn list(&self, path: &[u8]) -> List {
        if let Some(known) = self.lists.borrow().get(path) {
            return Rc::clone(known);
        }
        let list = Rc::new(self.host.list(path));
        self.lists
            .borrow_mut()
            .insert(path.to_vec(), Rc::clone(&list));
        list
    }
}
