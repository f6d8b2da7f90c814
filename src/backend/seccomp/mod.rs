//! seccomp: an OCI profile for container runtimes, or the filter itself.
//!
//! # Quirks
//!
//! - A filter sees the number of a call and its arguments as numbers. It sees no path, no address, no name, and nothing
//!   behind a pointer. So it keeps a rule about paths or hosts only if the policy allows *no* object at all. Then a
//!   whole family of calls is refused. The ledger says so.
//! - A family is refused as a whole, or its denial means nothing: `unlinkat` and `renameat2` delete as `unlink` does.
//!   io_uring does all of this without those calls. So it is refused, unless a `syscall` rule allows it by name. If one
//!   does, no family counts as closed.
//! - `clone` is allowed without flags for namespaces. `clone3` has its flags behind a pointer, so it answers ENOSYS: C
//!   libraries then use `clone`. With EPERM they would not. If opening with `O_CREAT` is refused, `openat2` answers the
//!   same.
//! - A refused call answers EPERM. A call that is unknown, or newer than the base, answers ENOSYS: programs that probe
//!   for it then use an older one.
//! - Only the 64-bit calls of x86_64 and aarch64 are allowed. Docker's profile adds 32-bit x86, x32 and 32-bit Arm.
//!   Their calls have other numbers, and `socketcall` hides all its arguments behind a pointer. So a program that uses
//!   them is killed: stricter.
//! - An `int` argument is the lower half of a register. An "equals" over 64 bits refuses a program that leaves rubbish
//!   in the upper half, and a "not equals" over 64 bits is a hole. So every comparison is masked. In OCI's `MASKED_EQ`,
//!   `value` is the mask and `valueTwo` the value.
//! - runc, crun and Podman combine repeated conditions on one argument with OR. libseccomp lets a rule without
//!   conditions swallow the other rules of the same call. The model allows neither ([`model::Rule`]).
//! - Sockets are local, IPv4, IPv6 and the routing part of netlink, which C libraries ask for the machine's addresses.
//!   If the policy leaves the whole network open, all others are allowed too. Of IPv4 and IPv6 only TCP and UDP are
//!   allowed, because the language names only these. MPTCP is TCP that Landlock and others do not see. So it is refused
//!   where hosts are restricted. A pair of datagram sockets (`socketpair`) can send to any path, so it goes with local
//!   sockets.
//! - If the policy allows listening nowhere, `listen` is refused. `bind` is not: the resolver binds netlink sockets.
//! - On x86_64 the kernel lets `uretprobe` and `uprobe` pass every filter, if it has them (seen on 6.18). Its own
//!   trampolines make these calls. From anywhere else they fail.
//! - The runtime starts the program under the filter. So `execve` cannot be refused, nor `getdents64`, with which runc
//!   finds the descriptors that it must close (seen: no container starts). Without `no_new_privs` the runtime also
//!   changes user and capabilities under the filter. A policy that denies `setuid` and its like by name needs
//!   `no_new_privs` to start. At the very end runc opens a fifo for writing, so opening for writing cannot be refused
//!   either.
//! - JSON has no comments, so the ledger is not in the artifact: use `polc emit --ledger json`.
//!
//! The file of `--bpf` has `struct sock_filter` records, one file for each architecture. bubblewrap's `--seccomp FD`
//! and `prctl(PR_SET_SECCOMP)` take such a file.

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

/// Which unix sockets a filter lets a program make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnixSockets {
    /// None, where no rule lets it connect to one. What `--bpf` writes.
    ByRule,
    /// Its own. Something else keeps those of other programs out of reach.
    Own,
}

/// The filter of a policy for one architecture, as `struct sock_filter` records.
///
/// # Errors
/// The policy's automata are too large, or the filter is.
pub fn program(
    meaning: &Meaning<'_>,
    unix: UnixSockets,
    arch: Arch,
) -> Result<Vec<u8>, Diagnostics> {
    let profile = lower::filter(meaning, unix, vec![arch])?;
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
        .help("leave `--bpf` out: OCI JSON can be made everywhere")
        .into())
}

fn cannot(error: &dyn std::error::Error) -> Diagnostics {
    Diagnostic::error("E112", format!("the filter cannot be written: {error}")).into()
}
