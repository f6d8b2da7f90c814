//! What a private mount namespace protects, so that Landlock can grant the trees around it whole.
//!
//! Landlock grants trees. It cannot take away anything inside a tree that it grants. Alone it therefore grants the
//! entries of such a tree one by one: the directory itself can neither be listed nor written, and entries made later
//! get nothing. With mounts the tree is granted whole, and a mount lies over each object in it that the policy denies:
//!
//! - **Hidden** ([`Cover::HIDDEN`]): the program may not read it. An empty file or directory of mode 000 lies over it.
//! - **Read-only** ([`Cover::READ_ONLY`]): the program may not write it. The kernel answers `EROFS`.
//! - **No program** ([`Cover::NO_PROGRAM`]): the program may not start it. The kernel answers `EACCES`. Mounted with
//!   `noexec`, it cannot be mapped as code either (`EPERM`), so `ld.so PROGRAM` fails too, which Landlock does not see.
//! - **Pinned** ([`Cover::PINNED`]): the program may write into it, but may not remove, rename or replace it (`EBUSY`).
//!   A symbolic link at a denied name is pinned. It still leads where it led, and what it leads to is judged by its own
//!   name.
//!
//! Every directory between the top of the tree and a covered object is pinned too. Otherwise the program could move
//! such a directory away and make another one in its place. The price is that a rename or a link between such a
//! directory and its parent answers `EXDEV`, as between two file systems (`mv` then copies).
//!
//! The kernel looks at the mount before it asks Landlock. So what is covered is refused with the mount's error, and
//! the rest with Landlock's (`EACCES`, `EXDEV`).
//!
//! # Each object by itself
//!
//! Protection is found, put on and lost for each object alone. A link, a huge directory or an object that cannot be
//! covered never changes the rights on the rest, or its protection:
//!
//! - The search ([`scan`]) reads every directory in which something may be denied. It has no limit that a tree of
//!   ordinary size reaches. What it could not look through in time is a [`Gap`], not a note.
//! - A directory that this user cannot list, or that is too deep for a path, is hidden whole. So is one that may be read
//!   but not listed: a mount cannot hide names alone.
//! - Where there are more covers than the kernel takes mounts, directories that hold very many of them are covered
//!   whole ([`coarse`]). That refuses more than the policy does, never less.
//! - An object that is there and cannot be protected is a [`Gap`]: the program is not started, unless `--allow-gaps` is
//!   given.
//!
//! # What mounts cannot do
//!
//! - A file that does not exist at start cannot be protected. It is named before the start if the policy names it, and
//!   told at the end if it was made ([`super::created`] says why it is not prevented).
//! - A protected file that something outside replaces loses its protection: the mount belongs to the file, not to its
//!   name. `git config` and most editors replace a file when they write it. [`super::mounts`] tells this at the end.
//!   Another `polc run` in the same tree cannot do it, as the mounts of one are mounts to the other.
//! - What the policy allows again beneath a hidden directory is refused.
//! - A protected file cannot be replaced by the same contents. `git init` in a repository that is there writes
//!   `config.lock` and renames it over `config`; with `builtin:git-hooks` it answers `EBUSY`, ends with 128 and has
//!   changed nothing.
//! - Second names of a file (hard links, bind mounts in the tree) are judged by those names.
//! - A standard descriptor was opened outside, so it passes the covers: [`super::stdio`] closes that.
//! - `/proc` of processes that do not exist yet can have no grant. Where the policy lets the program read the status of
//!   any process, `/proc` is granted whole to read, and each of its entries that is no process and that the policy
//!   denies is hidden. More than the policy says is then readable below `/proc/PID`. The files there that tell anything
//!   (`environ`, `mem`, `maps`, and where `fd`, `cwd` and `root` lead) the kernel guards with its check for `ptrace`,
//!   which Landlock refuses for every process outside. With `--require` this is left out.

mod coarse;
mod gaps;
mod judge;
pub mod mount;
mod notes;
mod scan;
mod widen;

pub use gaps::{Gap, left_open, refusal};
pub use notes::{allowed_gaps, narrow, told};
pub use scan::plan;
pub use widen::Reduced;

use crate::backend::landlock::Kind;
use crate::policy::Operation;
use std::collections::BTreeMap;

/// What is mounted over an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cover {
    /// Something empty lies over it.
    pub hidden: bool,
    /// It is mounted read-only.
    pub read_only: bool,
    /// It is mounted `noexec`.
    pub no_program: bool,
}

impl Cover {
    /// It cannot be moved away, removed or replaced.
    pub const PINNED: Self = Self {
        hidden: false,
        read_only: false,
        no_program: false,
    };
    /// It cannot be started, nor mapped as code.
    pub const NO_PROGRAM: Self = Self {
        no_program: true,
        ..Self::PINNED
    };
    /// It cannot be written.
    pub const READ_ONLY: Self = Self {
        read_only: true,
        ..Self::PINNED
    };
    /// Nothing of it is seen.
    pub const HIDDEN: Self = Self {
        hidden: true,
        ..Self::PINNED
    };

    /// Both together.
    fn and(self, other: Self) -> Self {
        Self {
            hidden: self.hidden || other.hidden,
            read_only: self.read_only || other.read_only,
            no_program: self.no_program || other.no_program,
        }
    }
}

/// Why a directory is covered whole, though the policy allows some of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whole {
    /// The policy lets its files be read and its names not be listed.
    Unlisted,
    /// This user cannot list it, so polc does not know what is in it.
    Unreadable,
    /// The paths of what is in it are too long for the kernel.
    TooDeep,
    /// It holds more denied objects than can be covered one by one.
    TooMany,
}

/// A tree that is granted whole for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wide {
    /// By its place in [`OPERATIONS`].
    operation: usize,
    path: Vec<u8>,
}

/// What is to be covered, and what may then be granted.
#[derive(Debug, Default)]
pub struct Plan {
    /// By path, so that what lies beneath another object comes after it; with what stands there.
    pub covers: BTreeMap<Vec<u8>, (Cover, Kind)>,
    /// Paths that the policy names and denies making, and that do not exist.
    pub missing: Vec<Vec<u8>>,
    /// What is denied and cannot be protected, as far as the search tells.
    pub gaps: Vec<Gap>,
    /// Directories that are covered whole.
    coarse: Vec<(Vec<u8>, Whole)>,
    wide: Vec<Wide>,
    /// The paths of `wide`, each with its operations: one bit each.
    whole: BTreeMap<Vec<u8>, judge::Set>,
}

/// The operations on objects that mounts and Landlock keep.
pub(super) const OPERATIONS: [Operation; 6] = [
    Operation::Read,
    Operation::List,
    Operation::Edit,
    Operation::Create,
    Operation::Delete,
    Operation::Execute,
];
const READ: usize = 0;
const LIST: usize = 1;
const EDIT: usize = 2;
const CREATE: usize = 3;
const DELETE: usize = 4;
const EXECUTE: usize = 5;

/// What mounts have to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Everything.
    All,
    /// What is read, listed and started: the guard decides what is written.
    Reads,
}

impl Kept {
    fn set(self) -> judge::Set {
        match self {
            Self::All => judge::Set::MAX,
            Self::Reads => 1 << READ | 1 << LIST | 1 << EXECUTE,
        }
    }
}

/// Whether `path` is `top` or lies beneath it.
fn beneath(path: &[u8], top: &[u8]) -> bool {
    top == b"/"
        || path
            .strip_prefix(top)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The directories above a path, `/` first; the path itself is not among them.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
    slashes
        .filter(move |_| path != b"/")
        .map(move |(i, _)| path.get(..i.max(1)).unwrap_or_default())
}

impl Plan {
    /// Whether there is anything that mounts make better.
    #[must_use]
    pub fn helps(&self) -> bool {
        !self.covers.is_empty() || !self.missing.is_empty()
    }

    /// Whether the object cannot be started, and not be mapped as code.
    #[must_use]
    pub fn is_no_program(&self, path: &[u8]) -> bool {
        self.over(path).is_some_and(|c| c.hidden || c.no_program)
    }

    /// Whether something empty lies over a path or above it.
    #[must_use]
    pub fn hides(&self, path: &[u8]) -> bool {
        self.over(path).is_some_and(|c| c.hidden)
    }

    /// What the covers over an object and the directories above it keep from the program; `None`: nothing but moving it.
    #[must_use]
    pub fn over(&self, path: &[u8]) -> Option<Cover> {
        let places = above(path).chain([path]);
        let covers = places.filter_map(|p| self.covers.get(p)).map(|(c, _)| *c);
        covers
            .filter(|c| *c != Cover::PINNED)
            .reduce(|a, b| a.and(b))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_directories_above_a_path_are_its_beginnings() {
        let above = |p: &str| -> Vec<String> {
            super::above(p.as_bytes())
                .map(|p| String::from_utf8(p.to_vec()).unwrap())
                .collect()
        };
        assert_eq!(above("/a/b c/d"), ["/", "/a", "/a/b c"]);
        assert_eq!(above("/a"), ["/"]);
        assert!(above("/").is_empty());
    }
}
