//! The mounts that protect single objects, so that Landlock can grant the trees around them whole.
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
//!   A symbolic link at a denied name is pinned. It still leads where it led. The object that it leads to is judged by
//!   its own name.
//!
//! Every directory between the top of the tree and a covered object is pinned too. Otherwise the program could move
//! such a directory away and make another one in its place. This has a price: a rename or a link between such a
//! directory and its parent answers `EXDEV`, as between two file systems. `mv` then copies.
//!
//! The kernel looks at the mount before it asks Landlock. So a covered object answers with the error of its mount, and
//! every other object with the error of Landlock (`EACCES`, `EXDEV`).
//!
//! # Each object by itself
//!
//! polc finds, adds and loses the protection of each object alone. A link, a huge directory or an object that cannot be
//! covered never changes the rights on other objects, or their protection:
//!
//! - The search ([`scan`]) reads every directory in which something may be denied. It has no limit that a tree of
//!   ordinary size reaches. A directory that it could not read in time is a [`Gap`], not a note.
//! - polc hides a whole directory if this user cannot list it, or if it is too deep for a path. It also hides one that
//!   the program may read but not list: a mount cannot hide names alone.
//! - If there are more covers than the kernel takes mounts, polc covers directories with very many of them as a whole
//!   ([`coarse`]). That refuses more than the policy does, never less.
//! - An object that exists and cannot be protected is a [`Gap`]. The program does not start then, unless the user gives
//!   `--allow-gaps`.
//!
//! # What mounts cannot do
//!
//! - A file that does not exist at start cannot be protected. If the policy names it, polc names it before the start.
//!   If the program made it, polc says so at the end ([`super::created`] says why this is not prevented).
//! - A protected file that something outside replaces loses its protection: the mount belongs to the file, not to its
//!   name. `git config` and most editors replace a file when they write it. [`super::mounts`] reports this at the end.
//!   Another `polc run` in the same tree cannot do it: the mounts of one run are mounts to the other run as well.
//! - If the policy allows something beneath a hidden directory, the program cannot reach it.
//! - A program cannot replace a protected file, not even by the same contents. `git init` in an existing repository
//!   writes `config.lock` and renames it over `config`. With `builtin:git-hooks` the rename answers `EBUSY`, and git
//!   exits with 128. It has changed nothing then.
//! - Other names of a file (hard links, bind mounts in the tree) are judged by those names.
//! - A standard descriptor was opened outside, so it goes past the covers. [`super::stdio`] mends that.
//! - Nothing can be granted on the `/proc` entries of processes that do not exist yet. If the policy lets the program
//!   read the status of any process, Landlock therefore grants reading all of `/proc`. polc hides each entry that is no
//!   process and that the policy denies. So the program can read more below `/proc/PID` than the policy says. The
//!   kernel itself protects the secret files there (`environ`, `mem`, `maps`, and the targets of `fd`, `cwd` and
//!   `root`): it makes its check for `ptrace`, and Landlock refuses that for every process outside. With `--require`,
//!   polc grants none of this.

mod coarse;
mod decider;
mod gaps;
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
    /// An empty object lies over it.
    pub hidden: bool,
    /// It is mounted read-only.
    pub read_only: bool,
    /// It is mounted `noexec`.
    pub no_program: bool,
}

impl Cover {
    /// The program cannot move, remove or replace it.
    pub const PINNED: Self = Self {
        hidden: false,
        read_only: false,
        no_program: false,
    };
    /// The program can neither start it nor map it as code.
    pub const NO_PROGRAM: Self = Self {
        no_program: true,
        ..Self::PINNED
    };
    /// The program cannot write it.
    pub const READ_ONLY: Self = Self {
        read_only: true,
        ..Self::PINNED
    };
    /// The program sees nothing of it.
    pub const HIDDEN: Self = Self {
        hidden: true,
        ..Self::PINNED
    };

    /// Both covers together.
    fn and(self, other: Self) -> Self {
        Self {
            hidden: self.hidden || other.hidden,
            read_only: self.read_only || other.read_only,
            no_program: self.no_program || other.no_program,
        }
    }
}

/// Why polc covers a whole directory although the policy allows some of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whole {
    /// The policy lets the program read its files, but not list their names.
    Unlisted,
    /// This user cannot list it, so polc does not know what is in it.
    Unreadable,
    /// The paths of its entries are too long for the kernel.
    TooDeep,
    /// It holds more denied objects than polc can cover one by one.
    TooMany,
}

/// A tree that Landlock grants whole for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wide {
    /// The index of the operation in [`OPERATIONS`].
    operation: usize,
    path: Vec<u8>,
}

/// What polc covers, and what Landlock may then grant.
#[derive(Debug, Default)]
pub struct Plan {
    /// Each cover, with the kind of its object. In the order of paths, so that an object comes after its directory.
    pub covers: BTreeMap<Vec<u8>, (Cover, Kind)>,
    /// Paths that do not exist, and that the policy names and forbids to make.
    pub missing: Vec<Vec<u8>>,
    /// Denied objects that cannot be protected, as far as the search knows.
    pub gaps: Vec<Gap>,
    /// Directories that are covered whole.
    coarse: Vec<(Vec<u8>, Whole)>,
    wide: Vec<Wide>,
    /// The paths of `wide`, each with its operations (one bit each).
    whole: BTreeMap<Vec<u8>, decider::Set>,
}

/// The operations on objects that mounts and Landlock enforce.
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

/// What the mounts have to enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All operations.
    All,
    /// Reading, listing and starting. The guard decides about writing.
    Reads,
}

impl Scope {
    fn set(self) -> decider::Set {
        match self {
            Self::All => decider::Set::MAX,
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
    /// Whether mounts make anything better.
    #[must_use]
    pub fn helps(&self) -> bool {
        !self.covers.is_empty() || !self.missing.is_empty()
    }

    /// Whether the program can neither start the object nor map it as code.
    #[must_use]
    pub fn is_no_program(&self, path: &[u8]) -> bool {
        self.over(path).is_some_and(|c| c.hidden || c.no_program)
    }

    /// Whether an empty object lies over a path, or over a directory above it.
    #[must_use]
    pub fn hides(&self, path: &[u8]) -> bool {
        self.over(path).is_some_and(|c| c.hidden)
    }

    /// The protection of an object by its own cover and by those of the directories above it. `None`: at most, it is
    /// pinned.
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
