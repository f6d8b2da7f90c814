//! Whether what covers a path is still there: somebody outside who replaces the path takes the mount along
//! ([`super::cover`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek};

/// The mounts of a process, which stay to be looked at when it has ended.
pub struct Mounts {
    table: File,
    /// By number: where it is. Nothing more is mounted there, so that none is given again.
    before: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Mounts {
    /// Those of a process as they are now; `None`: they cannot be read, or are this process's own.
    #[must_use]
    pub fn of(process: libc::pid_t) -> Option<Self> {
        let own = points(&File::open("/proc/self/mountinfo").ok()?)?;
        let table = File::open(format!("/proc/{process}/mountinfo")).ok()?;
        let before = points(&table)?;
        // Copies in a namespace of its own have numbers of their own.
        let apart = !before.keys().any(|n| own.contains_key(n));
        apart.then_some(Self { table, before })
    }

    /// Where something was mounted at the start.
    #[must_use]
    pub fn points(&self) -> BTreeSet<&[u8]> {
        self.before.values().map(Vec::as_slice).collect()
    }

    /// Where there was a mount and is none any more. Inside nobody can take one away.
    #[must_use]
    pub fn lost(&self) -> BTreeSet<Vec<u8>> {
        let Some(now) = points(&self.table) else {
            return BTreeSet::new();
        };
        let gone = self.before.iter().filter(|(n, _)| !now.contains_key(*n));
        gone.map(|(_, path)| path.clone()).collect()
    }
}

/// The mount points of a table, by the number of the mount (proc_pid_mountinfo(5): number, parent, device, root, point).
fn points(mut table: &File) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut text = Vec::new();
    table.rewind().ok()?;
    table.read_to_end(&mut text).ok()?;
    let line = |line: &[u8]| {
        let mut fields = line.split(|b| *b == b' ');
        Some((fields.next()?.to_vec(), unescaped(fields.nth(3)?)))
    };
    Some(text.split(|b| *b == b'\n').filter_map(line).collect())
}

/// Blanks, tabs, newlines and backslashes stand there as three octal digits behind a backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'\\').then(|| after.get(..3)).flatten();
        let digits = digits.and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_is_read_as_the_kernel_writes_it() {
        for (field, path) in [
            (&b"/a\\040b\\134c\\012"[..], &b"/a b\\c\n"[..]),
            (b"/plain", b"/plain"),
            (b"/cut\\04", b"/cut\\04"),
            (b"/\xff\\9x", b"/\xff\\9x"),
        ] {
            assert_eq!(super::unescaped(field), path);
        }
    }
}
