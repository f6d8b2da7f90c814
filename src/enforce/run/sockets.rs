//! Unix sockets with a path that something on this host has bound.
//!
//! `/proc/net/unix` lists each socket with the path that it was bound with. A relative path starts at the directory
//! that the process was in then. If the process still exists, and this user may look at it, polc uses its current
//! directory.

use super::own_dirs::OwnDirs;
use super::sys;
use crate::backend::landlock::{Host, Kind, RealHost};
use crate::fidelity::Object;
use crate::policy::{Operation, Policy};
use crate::semantics::decide;
use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Names or directories, by the number of the socket.
type ByNumber = BTreeMap<Vec<u8>, Vec<u8>>;

/// The sockets that something listens on at this host, and that the program can see.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Those that the policy does not let the program connect to.
    pub denied: Vec<Vec<u8>>,
    /// Those that it lets the program connect to.
    pub allowed: Vec<Vec<u8>>,
    /// The names of those whose directory is unknown.
    pub nowhere: Vec<Vec<u8>>,
}

impl Sockets {
    /// Reads them from `/proc`.
    #[must_use]
    pub fn of_host(policy: &Policy, own: &OwnDirs) -> Self {
        let text = std::fs::read("/proc/net/unix").unwrap_or_default();
        let (mut bound, relative) = read(&text);
        let mut nowhere = Vec::new();
        if !relative.is_empty() {
            let folders = folders(&relative);
            for (number, name) in relative {
                match folders.get(&number) {
                    Some(folder) => bound.push([folder.as_slice(), b"/", &name].concat()),
                    None => nowhere.push(name),
                }
            }
        }
        let mut paths: Vec<Vec<u8>> = bound
            .into_iter()
            .filter_map(|p| std::fs::canonicalize(sys::path(&p)).ok())
            .map(|p| p.into_os_string().into_vec())
            .filter(|p| RealHost.kind(p) == Kind::File && !own.hides(p))
            .collect();
        paths.sort();
        paths.dedup();
        nowhere.sort();
        nowhere.dedup();
        let (allowed, denied) = paths.into_iter().partition(|p| {
            decide(policy, Operation::Connect, &Object::Path(p.clone()))
                .action
                .permits()
        });
        Self {
            denied,
            allowed,
            nowhere,
        }
    }
}

/// Absolute paths, and relative paths with the number of the socket. A name that begins with `@` is abstract.
fn read(text: &[u8]) -> (Vec<Vec<u8>>, ByNumber) {
    let (mut absolute, mut relative) = (Vec::new(), BTreeMap::new());
    for line in text.split(|b| *b == b'\n').skip(1) {
        // The fields are: Num RefCount Protocol Flags Type St Inode Path. Blanks pad the numbers, and the path may hold
        // blanks.
        let mut rest = line;
        let mut number = &b""[..];
        for _ in 0..7 {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
            (number, rest) = rest.split_at(end);
        }
        match rest.strip_prefix(b" ") {
            None | Some([] | [b'@', ..]) => {}
            Some(path @ [b'/', ..]) => absolute.push(path.to_vec()),
            Some(path) => {
                relative.insert(number.to_vec(), path.to_vec());
            }
        }
    }
    (absolute, relative)
}

/// By the number of a socket: the directory of a process that has it open.
fn folders(wanted: &ByNumber) -> ByNumber {
    let mut out = BTreeMap::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let all_digits = process
            .file_name()
            .as_bytes()
            .iter()
            .all(u8::is_ascii_digit);
        let Some(entries) = all_digits
            .then(|| std::fs::read_dir(process.path().join("fd")).ok())
            .flatten()
        else {
            continue;
        };
        for link in entries.flatten() {
            let Ok(to) = std::fs::read_link(link.path()) else {
                continue;
            };
            let number = to
                .as_os_str()
                .as_bytes()
                .strip_prefix(b"socket:[")
                .and_then(|n| n.strip_suffix(b"]"));
            let Some(number) = number.filter(|n| wanted.contains_key(*n)) else {
                continue;
            };
            if let Ok(folder) = std::fs::read_link(process.path().join("cwd")) {
                out.insert(number.to_vec(), folder.into_os_string().into_vec());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_relative_name_is_told_from_an_absolute_and_an_abstract_one() {
        let text = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b/s\n\
            0000000000000000: 00000003 00000000 00000000 0001 03   678\n\
            0000000000000000: 00000002 00000000 00010000 0001 01   901 sub/my sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01  2345 @abstract\n";
        let (absolute, relative) = super::read(text);
        assert_eq!(absolute, [b"/run/a b/s"]);
        let relative: Vec<_> = relative.into_iter().collect();
        assert_eq!(relative, [(b"901".to_vec(), b"sub/my sock".to_vec())]);
    }
}
