//! Reads filters back, as OCI JSON and as BPF, and finds what a program could still do.
//!
//! Sources:
//!
//! - seccomp(2), and seccomp_rule_add(3) of libseccomp 2.5.4 with its `db.c` (a rule without conditions swallows those
//!   with)
//! - runc's `libcontainer/seccomp` (repeated conditions on an argument are ORed)
//! - `kernel/seccomp.c` and `net/core/filter.c` of Linux 6.12, for running BPF
//!
//! The reader shares nothing with the lowering. `tests/native/seccomp.rs` compares it with libseccomp and the kernel,
//! `tests/seccomp.rs` compares one form with the other.
//!
//! A filter knows no objects. It only shows whether a whole family of calls is refused:
//!
//! - `create`: every call that makes a name: `mkdir`, `mknod`, `symlink`, `link`, `rename` and their `…at` forms,
//!   `creat`, and opening with `O_CREAT`. Binding a local socket also makes a name.
//! - `delete`: `unlink`, `rmdir`, `rename` and their forms. `metadata`: mode, owner, times, attributes.
//! - `connect` to a unix socket: making a local socket, or a pair of datagram sockets, which can send anywhere.
//! - TCP and UDP: making such a socket. For `bind` also `bind`, and `listen` for TCP.
//! - io_uring does all of these without those calls. If it is allowed, no family counts as refused.
//! - Reading, listing, changing contents and executing use calls that the runtime itself makes under the filter. The
//!   reader says nothing about them.
//!
//! If a family is not refused, the reader says nothing about its operation, because a filter sees no paths or
//! addresses.

mod bpf;
mod oci;
#[cfg(test)]
mod tests;

use crate::backend::{Artifact, Clause, Evaluate, HostCuts, OnPaths};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::Object;
use crate::policy::{Operation, Platform, Protocol};
use crate::semantics::{PathSet, TooLarge};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// An error in an artifact.
fn refuse(message: String) -> Diagnostics {
    Diagnostic::error("E115", message)
        .help("`polc emit seccomp` makes a filter anew; what was added by hand can be written as it writes it")
        .into()
}

/// What one filter does with calls.
trait Filter {
    /// Whether the call may happen with these arguments, for some values of the others.
    fn may(&self, name: &str, fixed: &[(u8, u64)]) -> bool;

    /// The conditions of calls that are allowed for some arguments only.
    fn conditions(&self) -> BTreeSet<String>;

    /// The clause that allows a call, or refuses it.
    fn clause(&self, name: &str, allows: bool) -> Option<Clause>;
}

/// Filters that were read back: one JSON file, or one BPF file for each architecture. Something is allowed if one of
/// them allows it.
pub struct Filters {
    filters: Vec<Box<dyn Filter + Send + Sync>>,
    /// Whether hosts can be reached: by `connect` and by `bind`, over TCP and over UDP.
    reached: [[OnceLock<bool>; 2]; 2],
}

/// Reads them.
///
/// # Errors
/// The reader does not understand them.
pub(super) fn read(artifacts: &[Artifact]) -> Result<Filters, Diagnostics> {
    let mut filters: Vec<Box<dyn Filter + Send + Sync>> = Vec::new();
    for (i, artifact) in artifacts.iter().enumerate() {
        if bpf::recognises(&artifact.bytes) {
            filters.push(Box::new(bpf::read(artifact, i)?));
        } else {
            filters.push(Box::new(oci::read(artifact, i)?));
        }
    }
    if filters.is_empty() {
        return Err(refuse("there is no filter to read".to_owned()));
    }
    Ok(Filters {
        filters,
        reached: Default::default(),
    })
}

/// Whether it looks like one.
pub(super) fn recognises(artifact: &Artifact) -> bool {
    bpf::recognises(&artifact.bytes) || oci::recognises(&artifact.bytes)
}

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const SOCK_STREAM: u64 = 1;
const SOCK_DGRAM: u64 = 2;
const O_CREAT: u64 = 0o100;
const O_EXCL: u64 = 0o200;
const O_TMPFILE: u64 = 0o20_200_000;

const RING: &[&str] = &["io_uring_setup", "io_uring_enter", "io_uring_register"];
const MAKE: &[&str] = &[
    "creat",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "rename",
    "renameat",
    "renameat2",
    "symlink",
    "symlinkat",
];
const REMOVE: &[&str] = &[
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
];
const LABEL: &[&str] = &[
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "fchownat",
    "lchown",
    "utime",
    "utimes",
    "futimesat",
    "utimensat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "setxattrat",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "removexattrat",
    "file_setattr",
];

impl Filters {
    /// Whether a call may happen with these arguments (by index, from 0), for some values of the others.
    #[must_use]
    pub fn may(&self, name: &str, fixed: &[(u8, u64)]) -> bool {
        self.filters.iter().any(|f| f.may(name, fixed))
    }

    fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|n| self.may(n, &[]))
    }

    fn socket(&self, family: u64, kind: u64, protocol: u64) -> bool {
        [0, protocol]
            .iter()
            .any(|p| self.may("socket", &[(0, family), (1, kind), (2, *p)]))
    }

    fn opens_new(&self) -> bool {
        let flags = [
            O_CREAT,
            O_CREAT | 1,
            O_CREAT | 2,
            O_CREAT | O_EXCL | 1,
            O_CREAT | O_EXCL | 2,
            O_TMPFILE | 2,
        ];
        flags
            .iter()
            .any(|f| self.may("open", &[(1, *f)]) || self.may("openat", &[(2, *f)]))
            || self.may("openat2", &[])
    }

    /// Whether a program can reach hosts by this protocol.
    fn network(&self, protocol: Protocol) -> bool {
        let (kind, number) = match protocol {
            Protocol::Tcp => (SOCK_STREAM, 6),
            Protocol::Udp => (SOCK_DGRAM, 17),
        };
        self.any(RING)
            || [AF_INET, AF_INET6]
                .iter()
                .any(|family| self.socket(*family, kind, number))
    }

    fn listens(&self, protocol: Protocol) -> bool {
        self.any(RING)
            || (self.network(protocol)
                && self.may("bind", &[])
                && (protocol == Protocol::Udp || self.may("listen", &[])))
    }

    fn reaches(&self, operation: Operation, protocol: Protocol) -> bool {
        let binds = operation == Operation::Bind;
        // This is asked for every region of addresses.
        let known = &self.reached[usize::from(binds)][usize::from(protocol == Protocol::Udp)];
        *known.get_or_init(|| match binds {
            true => self.listens(protocol),
            false => self.network(protocol),
        })
    }

    /// Whether a family of calls on paths is open. `None`: a filter cannot refuse such a family.
    fn open(&self, operation: Operation) -> Option<bool> {
        let ring = self.any(RING);
        match operation {
            Operation::Create => {
                Some(ring || self.any(MAKE) || self.may("bind", &[]) || self.opens_new())
            }
            Operation::Delete => Some(ring || self.any(REMOVE)),
            Operation::Metadata => Some(ring || self.any(LABEL)),
            Operation::Connect => Some(
                ring || self.socket(AF_UNIX, SOCK_STREAM, 0)
                    || self.socket(AF_UNIX, SOCK_DGRAM, 0)
                    || self.may("socketpair", &[(0, AF_UNIX), (1, SOCK_DGRAM)]),
            ),
            _ => None,
        }
    }
}

impl Evaluate for Filters {
    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        Ok(match self.open(operation) {
            Some(false) => OnPaths::either(PathSet::empty()),
            _ => OnPaths::Silent,
        })
    }

    fn host_cuts(&self, operation: Operation) -> Option<HostCuts> {
        let open = Protocol::ALL.iter().all(|p| self.reaches(operation, *p));
        (!open).then(HostCuts::default)
    }

    fn allows(&self, operation: Operation, object: &Object) -> Option<bool> {
        match object {
            Object::Syscall(name) => Some(self.may(name, &[])),
            Object::Host(spec) => {
                self.host_cuts(operation)?;
                let asked: &[Protocol] = match &spec.protocol {
                    Some(one) => std::slice::from_ref(one),
                    None => &Protocol::ALL,
                };
                Some(asked.iter().any(|p| self.reaches(operation, *p)))
            }
            Object::Path(_) => match self.open(operation) {
                Some(false) => Some(false),
                _ => None,
            },
            Object::Command(_) | Object::Tool(_) => None,
        }
    }

    fn others(&self) -> BTreeSet<String> {
        self.filters.iter().flat_map(|f| f.conditions()).collect()
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        match (operation, object) {
            (_, Object::Syscall(name)) => {
                let allows = self.may(name, &[]);
                self.filters.iter().find_map(|f| f.clause(name, allows))
            }
            (_, Object::Host(_)) => {
                let allows = self.allows(operation, object)?;
                self.filters.iter().find_map(|f| f.clause("socket", allows))
            }
            _ => None,
        }
    }
}
