//! The ways to try an operation on a path.

use polc::policy::Operation;
use polc::semantics::{Meaning, PathSet};

/// The ways to try each operation. `rename` also needs the right to create, so it only shows that a denied object
/// cannot be moved away. `creat` opens the file for writing, so it also needs the right to edit.
pub const WAYS: [(Operation, &[&str]); 8] = [
    (Operation::Read, &["read"]),
    (Operation::List, &["list"]),
    (Operation::Edit, &["append", "truncate"]),
    (
        Operation::Create,
        &["creat", "mknod", "mkdir", "symlink", "mkfifo"],
    ),
    (
        Operation::Delete,
        &["unlink", "rmdir", "rename", "rename-dir"],
    ),
    (
        Operation::Metadata,
        &["chmod", "chmod-dir", "touch", "touch-dir"],
    ),
    (Operation::Execute, &["exec"]),
    (Operation::Connect, &["connect"]),
];

/// Further ways, for short policies: other calls, and other kinds of objects.
pub const FURTHER: [(Operation, &[&str]); 7] = [
    (Operation::Read, &["map", "read-fifo"]),
    (
        Operation::Edit,
        &["open-truncate", "rewrite", "append-fifo"],
    ),
    (Operation::Create, &["bind"]),
    (
        Operation::Delete,
        &["unlink-link", "unlink-fifo", "unlink-socket"],
    ),
    (Operation::Metadata, &["chown", "utime", "setxattr"]),
    (Operation::Execute, &["exec-fd"]),
    (Operation::Connect, &["send"]),
];

/// Ways that need other rights too, mostly on another path (`ally`). They are tried where the policy denies. Through
/// that path, a file gets to the object's path, or the object there is reached.
pub const ROUND: [(Operation, &[&str]); 6] = [
    (Operation::Read, &["read-linked"]),
    (Operation::Edit, &["open-read-truncate", "append-linked"]),
    (
        Operation::Create,
        &[
            "mkchr",
            "mkblk",
            "tmpfile",
            "link",
            "rename-to",
            "rename-dir-to",
            "rename-above-to",
        ],
    ),
    (
        Operation::Delete,
        &[
            "rename-over",
            "exchange",
            "rename-out",
            "rename-dir-out",
            "rename-above",
        ],
    ),
    (Operation::Metadata, &["chmod-read", "chmod-linked"]),
    (Operation::Execute, &["exec-linked"]),
];

/// Those ways that need no other path.
const WITHOUT_ALLY: [&str; 5] = [
    "open-read-truncate",
    "mkchr",
    "mkblk",
    "tmpfile",
    "chmod-read",
];

/// A policy with more rules than this says the same about many objects. [`FURTHER`] and [`ROUND`] are not for it.
pub const LONG: usize = 20;

pub fn ways_of<'w>(
    list: &[(Operation, &'w [&'static str])],
    operation: Operation,
) -> &'w [&'static str] {
    let found = list.iter().find(|(o, _)| *o == operation);
    found.map_or(&[], |(_, ways)| *ways)
}

/// A path at which the policy allows everything. It is beneath a directory with the same rights, if there is one.
pub fn free(meaning: &Meaning<'_>) -> Option<Vec<u8>> {
    let mut all: Option<PathSet> = None;
    for operation in Operation::ON_PATHS {
        // Hardly any policy allows these two operations together with all others.
        if matches!(operation, Operation::Metadata | Operation::Connect) {
            continue;
        }
        let allowed = meaning.decisions(operation).ok()?.allowed().clone();
        all = Some(match all {
            None => allowed,
            Some(set) => set.intersection(&allowed).ok()?,
        });
    }
    let all = all?;
    let top = all.witness()?;
    let top = top.strip_suffix(b"/").unwrap_or(&top);
    let mut found = ["/free/ally", "/free"]
        .map(|end| [top, end.as_bytes()].concat())
        .into_iter();
    found.find(|p| all.contains(p))
}

/// The other paths for a way: one beside the object (or beside the directory that is moved), and one at which
/// everything is allowed.
pub fn allies(way: &str, path: &[u8], free: Option<&[u8]>) -> Vec<Option<Vec<u8>>> {
    if WITHOUT_ALLY.contains(&way) {
        return vec![None];
    }
    let moved = match way {
        "rename-above" | "rename-above-to" => {
            let at = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
            &path[..at]
        }
        _ => path,
    };
    if moved.is_empty() {
        return Vec::new();
    }
    let mut all = vec![Some([moved, b"-ally"].concat())];
    // No directory can be moved into itself, or beneath itself.
    let apart = |free: &&[u8]| {
        let within = |a: &[u8], b: &[u8]| {
            let rest = b.strip_prefix(a);
            rest.is_some_and(|r| r.is_empty() || r.starts_with(b"/"))
        };
        !within(moved, free) && !within(free, path)
    };
    all.extend(free.filter(apart).map(|f| Some(f.to_vec())));
    all
}

/// Ways that are about a directory.
pub const ON_DIRECTORIES: [&str; 5] = ["list", "mkdir", "rmdir", "rename-dir", "chmod-dir"];
