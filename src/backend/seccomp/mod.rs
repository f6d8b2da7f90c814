//! seccomp: an OCI profile for container runtimes, or the filter itself.
//!
//! # Quirks
//!
//! - A filter sees the number of a call and its arguments as numbers: no path, no address, no name, and
//!   nothing behind a pointer. A rule about a path or a host is kept here only where the policy
//!   allows *no* object at all, so that a whole family of calls can go; the ledger says so.
//! - A family goes whole or its denial is empty: `unlinkat` and `renameat2` delete as `unlink` does.
//!   io_uring does it all without those calls: it is refused unless a `syscall` rule allows it by name,
//!   and then no family counts as closed.
//! - `clone` without flags for namespaces; `clone3` has its flags behind a pointer and answers ENOSYS,
//!   so that C libraries fall back to `clone` (with EPERM they don't). `openat2` the same,
//!   where opening with `O_CREAT` is refused.
//! - A refused call answers EPERM. A call that is not known, or newer than the base, answers ENOSYS:
//!   programs that probe for it then use an older one.
//! - Only the 64-bit calls of x86_64 and aarch64. Docker's profile adds 32-bit x86, x32 and 32-bit Arm;
//!   their calls have other numbers and other ways in (`socketcall` hides all its arguments behind a
//!   pointer), so they are left out, and a program that uses them is killed. Stricter, and said here.
//! - An `int` argument is the lower half of a register: an "equals" over 64 bits refuses a program that
//!   leaves rubbish in the upper half, and a "not equals" over 64 bits is a hole. Every
//!   comparison is masked. In OCI's `MASKED_EQ`, `value` is the mask and `valueTwo` the value.
//! - In runc, crun and Podman, the conditions of a rule on one argument are ORed if it is
//!   repeated; libseccomp lets a rule without conditions swallow the others of the same call. The
//!   model allows neither ([`model::Rule`]).
//! - Sockets: local, IPv4, IPv6 and the routing part of netlink (C libraries ask it for the
//!   machine's addresses), unless the policy leaves the network entirely open. Of IPv4 and IPv6 only
//!   what the language can name: TCP and UDP. MPTCP is TCP that Landlock and others do not see, and
//!   is refused where hosts are restricted. A pair of datagram sockets (`socketpair`) can send to
//!   any path, so it goes with local sockets.
//! - A socket that the policy does not allow to listen anywhere is refused `listen`; `bind` stays, since
//!   the resolver binds netlink sockets.
//! - On x86_64 the kernel itself lets `uretprobe` and `uprobe` pass by every filter, where it has them (seen on 6.18): its own
//!   trampolines make these calls, and from anywhere else they fail.
//! - The runtime starts the program under the filter: `execve` can't be refused, nor `getdents64`, with
//!   which runc finds the descriptors that it has to close (seen: no container starts). Without
//!   `no_new_privs` the runtime also changes user and capabilities under it; a policy that denies
//!   `setuid` and its like by name needs `no_new_privs` to start. A descriptor to a fifo is opened for writing
//!   by runc at the very end, so opening for writing cannot be refused either.
//! - JSON has no comments; the ledger is `polc emit --ledger json`.
//!
//! The file of `--bpf` holds `struct sock_filter` records, one file an architecture: what bubblewrap's
//! `--seccomp FD` and `prctl(PR_SET_SECCOMP)` take.

#[cfg(target_os = "linux")]
mod bpf;
mod lower;
mod model;
mod read_back;

pub use read_back::Filters;

use super::{Artifact, Backend, Compiled, Evaluate, OptionSpec, Options};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::policy::Platform;
use crate::policy::syscalls::Arch;
use crate::semantics::Meaning;

/// The back-end.
pub struct Seccomp;

const ARCH: OptionSpec = OptionSpec {
    name: "arch",
    value_name: Some("ARCH"),
    values: &["x86_64", "aarch64", "all"],
    default: Some("all"),
    help: "the architecture that the filter is for",
};

const BPF: OptionSpec = OptionSpec {
    name: "bpf",
    value_name: None,
    values: &[],
    default: None,
    help: "write the filter as BPF instructions, one file for each architecture, instead of OCI JSON",
};

impl Backend for Seccomp {
    fn id(&self) -> &'static str {
        "seccomp"
    }

    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn summary(&self) -> &'static str {
        "an OCI seccomp profile for runc, crun, Docker, Podman and Kubernetes, or raw BPF"
    }

    fn options(&self) -> &'static [OptionSpec] {
        const ALL: &[OptionSpec] = &[ARCH, BPF];
        ALL
    }

    fn compile(&self, meaning: &Meaning<'_>, options: &Options) -> Result<Compiled, Diagnostics> {
        let meaning = meaning.on(self.platform());
        let arches = match options.value(&ARCH) {
            Some("x86_64") => vec![Arch::X86_64],
            Some("aarch64") => vec![Arch::Aarch64],
            _ => Arch::ALL.to_vec(),
        };
        let (profile, ledger) = lower::lower(meaning, arches)?;
        let name = &meaning.policy().name;
        let artifacts = if options.is_set(&BPF) {
            let one = |arch: &Arch| -> Result<Artifact, Diagnostics> {
                Ok(Artifact {
                    file_name: format!("{name}.{}.bpf", arch.name()),
                    bytes: instructions(&profile, *arch)?,
                })
            };
            profile.arches.iter().map(one).collect::<Result<_, _>>()?
        } else {
            vec![Artifact {
                file_name: format!("{name}.seccomp.json"),
                bytes: profile.to_oci().map_err(|e| cannot(&e))?,
            }]
        };
        Ok(Compiled {
            artifacts,
            ledger,
            files: Vec::new(),
        })
    }

    fn recognises(&self, artifact: &Artifact) -> bool {
        read_back::recognises(artifact)
    }

    fn read_back(
        &self,
        artifacts: &[Artifact],
        _: &Options,
    ) -> Result<Box<dyn Evaluate>, Diagnostics> {
        Ok(Box::new(read_back::read(artifacts)?))
    }
}

/// Reads filters back for questions about calls and their arguments: [`Filters::may`].
///
/// # Errors
/// They are not ones that the reader understands.
pub fn filters(artifacts: &[Artifact]) -> Result<Filters, Diagnostics> {
    read_back::read(artifacts)
}

/// The filter of a policy for one architecture, as `struct sock_filter` records: what `--bpf` writes.
///
/// # Errors
/// The policy's automata are too large, or the filter is.
pub fn program(meaning: &Meaning<'_>, arch: Arch) -> Result<Vec<u8>, Diagnostics> {
    let profile = lower::filter(meaning, vec![arch])?;
    instructions(&profile, arch)
}

#[cfg(target_os = "linux")]
fn instructions(profile: &model::Profile, arch: Arch) -> Result<Vec<u8>, Diagnostics> {
    bpf::compile(profile, arch).map_err(|e| cannot(&e))
}

/// seccompiler, which makes the instructions, builds on Linux alone.
#[cfg(not(target_os = "linux"))]
fn instructions(_: &model::Profile, _: Arch) -> Result<Vec<u8>, Diagnostics> {
    let error = Diagnostic::error("E112", "BPF instructions are made on Linux only");
    Err(error
        .help("without `--bpf` the profile is OCI JSON, which is made everywhere")
        .into())
}

fn cannot(error: &dyn std::error::Error) -> Diagnostics {
    Diagnostic::error("E112", format!("the filter cannot be written: {error}")).into()
}
