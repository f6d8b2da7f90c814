//! A filter as the kernel takes it: `struct sock_filter` records for one architecture.
//!
//! seccompiler makes the part that tells allowed calls from others. It knows one action for calls that match and one
//! for the rest, and it does not check for x32. So a prologue comes before it. The prologue answers ENOSYS for the
//! calls that must look absent, and for every number that is not in the table. The x32 calls are among those: they have
//! bit 30 set. The prologue falls through to seccompiler's part, so no jump crosses from one to the other.
//!
//! For arguments that no rule of a conditional call names (an unusual socket family), the answer is EPERM here. It is
//! ENOSYS in the OCI profile, where only the default is left for them. Both allow the same calls. A test compares them
//! with libseccomp 2.5.4's own code for each policy of the repository.

use super::model::{Condition, ENOSYS, EPERM, Profile, Verdict};
use crate::policy::syscalls::{Arch, of_arch};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use std::collections::{BTreeMap, BTreeSet};

const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;
const RETURN_ERRNO: u32 = 0x0005_0000;
const RETURN_KILL_PROCESS: u32 = 0x8000_0000;
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Why a program could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// seccompiler's own check failed: more than 4,096 instructions, or an invalid number.
    #[error(transparent)]
    Backend(#[from] seccompiler::BackendError),
    /// With the prologue, the program is longer than the kernel takes.
    #[error("the filter has {0} instructions, but the kernel takes only 4096")]
    TooLong(usize),
}

/// The program for one architecture, in the byte order that both architectures have (little-endian).
///
/// # Errors
/// The program is too long.
pub fn compile(profile: &Profile, arch: Arch) -> Result<Vec<u8>, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut absent: BTreeSet<u32> = BTreeSet::new();
    let mut numbers: BTreeSet<u32> = BTreeSet::new();
    for (name, number) in of_arch(arch) {
        numbers.insert(number);
        let mut open = Vec::new();
        let mut decided = false;
        for rule in profile.rules_for(name) {
            decided = true;
            match rule.verdict {
                Verdict::Allow => open.push(rule.conditions.as_slice()),
                Verdict::Errno(ENOSYS) => {
                    absent.insert(number);
                }
                Verdict::Errno(_) => {}
            }
        }
        if !decided {
            absent.insert(number);
        }
        if !open.is_empty() {
            // An empty chain has no conditions. For seccompiler that means "always".
            let chain = open.iter().filter(|c| !c.is_empty()).map(|c| chain(c));
            let chain = chain.collect::<Result<Vec<_>, _>>()?;
            rules.insert(i64::from(number), chain);
        }
    }
    let (target, audit) = match arch {
        Arch::X86_64 => (TargetArch::x86_64, 0xc000_003e),
        Arch::Aarch64 => (TargetArch::aarch64, 0xc000_00b7),
    };
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(u32::from(EPERM)),
        SeccompAction::Allow,
        target,
    )?;
    let body: BpfProgram = filter.try_into()?;
    let mut program = prologue(audit, &numbers, &absent);
    program.extend(body);
    if program.len() > 4096 {
        return Err(Error::TooLong(program.len()));
    }
    Ok(program.iter().flat_map(record).collect())
}

fn chain(conditions: &[Condition]) -> Result<SeccompRule, Error> {
    let conditions = conditions.iter().map(|c| {
        // Every mask fits into 32 bits, so only the lower half of the register is compared.
        SeccompCondition::new(
            c.index,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(c.mask),
            c.value,
        )
    });
    Ok(SeccompRule::new(conditions.collect::<Result<_, _>>()?)?)
}

fn prologue(audit: u32, numbers: &BTreeSet<u32>, absent: &BTreeSet<u32>) -> Vec<sock_filter> {
    let op = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let no_such_call = op(RETURN, RETURN_ERRNO | u32::from(ENOSYS), 0, 0);
    let mut out = vec![
        op(LOAD_WORD, ARCH, 0, 0),
        op(JUMP_EQUAL, audit, 1, 0),
        op(RETURN, RETURN_KILL_PROCESS, 0, 0),
        op(LOAD_WORD, NUMBER, 0, 0),
    ];
    // Runs of numbers that answer ENOSYS: absent calls, gaps, and everything after the last call.
    let mut first = None;
    let last = numbers.last().copied().unwrap_or(0);
    for n in 0..=last {
        let no = absent.contains(&n) || !numbers.contains(&n);
        match (no, first) {
            (true, None) => first = Some(n),
            (false, Some(from)) => {
                first = None;
                if from == n - 1 {
                    out.push(op(JUMP_EQUAL, from, 0, 1));
                } else {
                    out.push(op(JUMP_GREATER_EQUAL, from, 0, 2));
                    out.push(op(JUMP_GREATER, n - 1, 1, 0));
                }
                out.push(no_such_call.clone());
            }
            _ => {}
        }
    }
    out.push(op(JUMP_GREATER_EQUAL, first.unwrap_or(last + 1), 0, 1));
    out.push(no_such_call);
    out
}

fn record(f: &sock_filter) -> [u8; 8] {
    let [c0, c1] = f.code.to_le_bytes();
    let [k0, k1, k2, k3] = f.k.to_le_bytes();
    [c0, c1, f.jt, f.jf, k0, k1, k2, k3]
}
