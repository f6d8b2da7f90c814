//! The filters of system calls: the policy's own, and one for what the other layers leave open.
//!
//! The second filter refuses:
//!
//! - data sent while a connection is made (`MSG_FASTOPEN`), where hosts are restricted: before Linux 7.2, Landlock's
//!   rule on TCP ports does not see that
//! - the two terminal commands by which a program types into the terminal that it was started from (`TIOCSTI`,
//!   `TIOCLINUX`)
//! - setting the limits of another process (`prlimit64`). The same user needs no right for that, and Landlock's scope
//!   of signals does not see it. A limit of one second of processor time would kill the process. Number 0, which is the
//!   program itself, and reading limits stay allowed.
//! - UDP, if there is no network namespace: nothing else restricts where it goes then
//!
//! The program can change the priority and the processors of the same user's processes outside. The calls take the
//! numbers of a program's own threads as well, so the filter cannot refuse them.

use super::{Error, sys};
use crate::backend::seccomp::{self, UnixSockets};
use crate::policy::syscalls::{Arch, number};
use crate::semantics::Meaning;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

const MSG_FASTOPEN: u64 = 0x2000_0000;
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// The architecture of this program; `None`: there is no filter for it.
#[must_use]
pub fn own_arch() -> Option<Arch> {
    if cfg!(target_arch = "x86_64") {
        Some(Arch::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Arch::Aarch64)
    } else {
        None
    }
}

/// What the filters have to refuse beside what the rules say.
#[derive(Debug, Clone, Copy)]
pub struct Holes {
    /// Which unix sockets the program may make.
    pub unix: UnixSockets,
    /// Hosts are restricted.
    pub hosts: bool,
    /// Nothing else restricts UDP.
    pub udp: bool,
}

/// Filters in the form that the kernel takes, in the order in which they are loaded.
pub struct Filters(Vec<Vec<libc::sock_filter>>);

/// Makes the filters.
///
/// # Errors
/// There is no filter for this architecture, or the policy's filter is too long.
pub fn prepare(meaning: &Meaning<'_>, holes: Holes) -> Result<Filters, Error> {
    let arch = own_arch().ok_or(Error::Architecture)?;
    let bytes = seccomp::program(meaning, holes.unix, arch)?;
    let policy = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|r| libc::sock_filter {
            code: u16::from_le_bytes([r[0], r[1]]),
            jt: r[2],
            jf: r[3],
            k: u32::from_le_bytes([r[4], r[5], r[6], r[7]]),
        })
        .collect();
    Ok(Filters(vec![second(arch, holes)?, policy]))
}

fn second(arch: Arch, holes: Holes) -> Result<Vec<libc::sock_filter>, Error> {
    let masked = |index, mask, value| {
        SeccompCondition::new(
            index,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(mask),
            value,
        )
    };
    let not_zero = |index, length| SeccompCondition::new(index, length, SeccompCmpOp::Ne, 0);
    let mut wanted = vec![
        ("ioctl", vec![masked(1, 0xffff_ffff, TIOCSTI)]),
        ("ioctl", vec![masked(1, 0xffff_ffff, TIOCLINUX)]),
        // The process, and the limit to set.
        (
            "prlimit64",
            vec![
                not_zero(0, SeccompCmpArgLen::Dword),
                not_zero(2, SeccompCmpArgLen::Qword),
            ],
        ),
    ];
    if holes.hosts {
        for (name, index) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
            wanted.push((name, vec![masked(index, MSG_FASTOPEN, MSG_FASTOPEN)]));
        }
    }
    if holes.udp {
        for family in [libc::AF_INET, libc::AF_INET6] {
            wanted.push((
                "socket",
                vec![
                    masked(0, 0xffff_ffff, family as u64),
                    masked(1, 0xf, libc::SOCK_DGRAM as u64),
                ],
            ));
        }
    }
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (name, conditions) in wanted {
        let Some(n) = number(arch, name) else {
            continue;
        };
        let conditions = conditions
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(Error::Filter)?;
        let rule = SeccompRule::new(conditions).map_err(Error::Filter)?;
        rules.entry(i64::from(n)).or_default().push(rule);
    }
    compile(arch, rules, SeccompAction::Allow, refuse())
}

/// A filter for the first process of a process namespace, which only sleeps and ends.
///
/// # Errors
/// There is no filter for this architecture.
pub fn sleeping() -> Result<Vec<libc::sock_filter>, Error> {
    let arch = own_arch().ok_or(Error::Architecture)?;
    let calls = ["pause", "ppoll", "restart_syscall", "exit_group"];
    let numbers = calls.iter().filter_map(|name| number(arch, name));
    let rules = numbers.map(|n| (i64::from(n), Vec::new())).collect();
    compile(arch, rules, refuse(), SeccompAction::Allow)
}

fn refuse() -> SeccompAction {
    SeccompAction::Errno(libc::EPERM as u32)
}

fn compile(
    arch: Arch,
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<Vec<libc::sock_filter>, Error> {
    let target = match arch {
        Arch::X86_64 => TargetArch::x86_64,
        Arch::Aarch64 => TargetArch::aarch64,
    };
    let filter = SeccompFilter::new(rules, otherwise, matched, target).map_err(Error::Filter)?;
    let program: BpfProgram = filter.try_into().map_err(Error::Filter)?;
    Ok(program
        .iter()
        .map(|f| libc::sock_filter {
            code: f.code,
            jt: f.jt,
            jf: f.jf,
            k: f.k,
        })
        .collect())
}

impl Filters {
    /// Loads them, for good. This is the last step before the program starts, because the policy may refuse what the
    /// steps before need. With `log`, the kernel records each call that they refuse. `between` runs before the policy's
    /// filter is loaded.
    ///
    /// # Errors
    /// The kernel refuses one, or `between` fails.
    pub fn load(
        &self,
        log: bool,
        between: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let load = |f: &Vec<libc::sock_filter>| sys::load_filter(f, log).map_err(Error::LoadFilter);
        let (last, first) = self.0.split_last().ok_or(Error::Architecture)?;
        first.iter().try_for_each(load)?;
        between()?;
        load(last)
    }
}
