//! Checks whether the mounts that cover paths still exist. If somebody outside replaces a path, its mount goes with the
//! old object ([`super::cover`]).

use super::startup;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek};

/// The mounts of a process. They can still be read when it has ended.
pub struct Mounts {
    table: File,
    /// By number: the mount point. Nothing more is mounted there, so the kernel gives no number a second time.
    before: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Mounts {
    /// The mounts of a process as they are now. `None`: they cannot be read, or are this process's own.
    #[must_use]
    pub fn of(process: libc::pid_t) -> Option<Self> {
        let own = points(&File::open("/proc/self/mountinfo").ok()?)?;
        let table = File::open(format!("/proc/{process}/mountinfo")).ok()?;
        let before = points(&table)?;
        // The copies of the mounts in another namespace have other numbers.
        let apart = !before.keys().any(|n| own.contains_key(n));
        apart.then_some(Self { table, before })
    }

    /// The mount points at the start.
    #[must_use]
    pub fn points(&self) -> BTreeSet<&[u8]> {
        self.before.values().map(Vec::as_slice).collect()
    }

    /// The mount points that are gone. The program inside cannot remove one.
    #[must_use]
    pub fn lost(&self) -> BTreeSet<Vec<u8>> {
        let Some(now) = points(&self.table) else {
            return BTreeSet::new();
        };
        let gone = self.before.iter().filter(|(n, _)| !now.contains_key(*n));
        gone.map(|(_, path)| path.clone()).collect()
    }
}

/// The mount points of a table, by the number of the mount. The fields are in proc_pid_mountinfo(5).
fn points(mut table: &File) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut text = Vec::new();
    table.rewind().ok()?;
    table.read_to_end(&mut text).ok()?;
    let line = |line: &[u8]| {
        let mut fields = line.split(|b| *b == b' ');
        // Behind a hyphen: type, source and options.
        let rest = line.windows(3).position(|w| w == b" - ")?;
        let source = line.get(rest + 3..)?.split(|b| *b == b' ').nth(1)?;
        if source == startup::SOURCE.to_bytes() {
            return None;
        }
        Some((fields.next()?.to_vec(), unescaped(fields.nth(3)?)))
    };
    Some(text.split(|b| *b == b'\n').filter_map(line).collect())
}

/// The table writes blanks, tabs, newlines and backslashes as a backslash and three octal digits.
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
