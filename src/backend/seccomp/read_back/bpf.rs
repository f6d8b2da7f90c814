//! Runs classic BPF on `struct seccomp_data`, as the kernel does.

use super::{Filter, refuse};
use crate::backend::{Artifact, Clause};
use crate::diagnostics::Diagnostics;
use crate::policy::syscalls::{Arch, number};
use std::collections::{BTreeSet, VecDeque};

/// `struct sock_filter`.
#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    k: u32,
}

/// A program that was read back.
pub(super) struct Program {
    code: Vec<Instruction>,
    arch: Arch,
    artifact: usize,
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const GREATER_EQUAL: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
const RET_ALLOW: u32 = 0x7fff_0000;
const RET_LOG: u32 = 0x7ffc_0000;
/// The bits of a return value that are the action.
const ACTION: u32 = 0xffff_0000;
const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_AARCH64: u32 = 0xc000_00b7;

fn instructions(bytes: &[u8]) -> impl Iterator<Item = Instruction> + '_ {
    bytes.chunks_exact(8).map(|c| Instruction {
        code: u16::from_le_bytes([c[0], c[1]]),
        jump_true: c[2],
        jump_false: c[3],
        k: u32::from_le_bytes([c[4], c[5], c[6], c[7]]),
    })
}

/// Whether it looks like one: records that begin by loading the architecture.
pub(super) fn recognises(bytes: &[u8]) -> bool {
    bytes.len().is_multiple_of(8)
        && instructions(bytes)
            .next()
            .is_some_and(|first| first.code == LOAD && first.k == 4)
}

/// Reads a program, and checks it as the kernel does.
pub(super) fn read(artifact: &Artifact, number: usize) -> Result<Program, Diagnostics> {
    let name = &artifact.file_name;
    let code: Vec<Instruction> = instructions(&artifact.bytes).collect();
    if code.len() > 4096 {
        return Err(refuse(format!(
            "`{name}` has {} instructions, and the kernel takes 4096",
            code.len()
        )));
    }
    for (at, i) in code.iter().enumerate() {
        let wrong = |what: &str| {
            Err(refuse(format!(
                "`{name}`: instruction {at} {what} (code {:#x})",
                i.code
            )))
        };
        let target = |offset: usize| at + 1 + offset < code.len();
        match i.code {
            LOAD if !i.k.is_multiple_of(4) || i.k >= 64 => return wrong("loads from no field"),
            JUMP if !target(i.k as usize) => return wrong("jumps out of the program"),
            EQUAL | GREATER | GREATER_EQUAL | ANY_BIT => {
                if !target(usize::from(i.jump_true)) || !target(usize::from(i.jump_false)) {
                    return wrong("jumps out of the program");
                }
            }
            LOAD | JUMP | AND | RETURN => {}
            _ => return wrong("is one that polc does not run"),
        }
    }
    if code.last().is_none_or(|i| i.code != RETURN) {
        return Err(refuse(format!("`{name}` does not end by returning")));
    }
    let mut program = Program {
        code,
        arch: Arch::X86_64,
        artifact: number,
    };
    // The program is for the architecture of which it allows some call.
    let lets = |arch| {
        let calls = crate::policy::syscalls::of_arch(arch);
        let mut calls = calls.map(|(_, n)| n);
        calls.any(|n| program.run(audit(arch), n, &[0; 6], &mut Vec::new()))
    };
    program.arch = match (lets(Arch::X86_64), lets(Arch::Aarch64)) {
        (_, false) => Arch::X86_64,
        (false, true) => Arch::Aarch64,
        (true, true) => {
            return Err(refuse(format!(
                "`{name}` is for two architectures at once, which polc does not read"
            )));
        }
    };
    Ok(program)
}

fn audit(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => AUDIT_X86_64,
        Arch::Aarch64 => AUDIT_AARCH64,
    }
}

/// One comparison that a run made with an argument.
struct Compared {
    argument: usize,
    /// It compared the upper half of the register.
    upper: bool,
    /// The bits that were compared.
    mask: u32,
    constant: u32,
}

impl Program {
    /// Whether the call is allowed, and which of its arguments that depended on.
    fn run(&self, arch: u32, number: u32, arguments: &[u64; 6], seen: &mut Vec<Compared>) -> bool {
        let mut accumulator = 0u32;
        // Which half of which argument is in the accumulator, and which of its bits.
        let mut holds: Option<(usize, bool, u32)> = None;
        let mut at = 0;
        // INVARIANT: jumps go forward and stay inside, so this ends.
        while let Some(i) = self.code.get(at) {
            let branch = |yes: bool| usize::from(if yes { i.jump_true } else { i.jump_false });
            at += 1;
            if matches!(i.code, EQUAL | GREATER | GREATER_EQUAL | ANY_BIT)
                && let Some((argument, upper, mask)) = holds
            {
                seen.push(Compared {
                    argument,
                    upper,
                    mask,
                    constant: i.k,
                });
            }
            match i.code {
                LOAD => {
                    holds = None;
                    accumulator = match i.k {
                        0 => number,
                        4 => arch,
                        // No filter decides by the instruction pointer.
                        8 | 12 => 0,
                        offset => {
                            let (argument, half) = ((offset - 16) / 8, offset % 8);
                            let word = arguments[argument as usize];
                            holds = Some((argument as usize, half != 0, u32::MAX));
                            if half == 0 {
                                word as u32
                            } else {
                                (word >> 32) as u32
                            }
                        }
                    };
                }
                AND => {
                    accumulator &= i.k;
                    if let Some(holds) = &mut holds {
                        holds.2 &= i.k;
                    }
                }
                JUMP => at += i.k as usize,
                EQUAL => at += branch(accumulator == i.k),
                GREATER => at += branch(accumulator > i.k),
                GREATER_EQUAL => at += branch(accumulator >= i.k),
                ANY_BIT => at += branch(accumulator & i.k != 0),
                _ => {
                    let action = i.k & ACTION;
                    return action == RET_ALLOW || action == RET_LOG;
                }
            }
        }
        false
    }
}

/// How many lists of arguments are tried for one call. polc's own filters need a few dozen.
const TRIES: usize = 4000;

impl Filter for Program {
    fn may(&self, name: &str, fixed: &[(u8, u64)]) -> bool {
        let Some(number) = number(self.arch, name) else {
            return false;
        };
        let mut base = [0u64; 6];
        for (index, value) in fixed {
            base[usize::from(*index)] = *value;
        }
        // The next runs reverse each comparison that this run made, because the other outcome leads to another part of
        // the program.
        let mut known: BTreeSet<[u64; 6]> = BTreeSet::from([base]);
        let mut queue = VecDeque::from([base]);
        let mut compared = Vec::new();
        while let Some(arguments) = queue.pop_front() {
            compared.clear();
            if self.run(audit(self.arch), number, &arguments, &mut compared) {
                return true;
            }
            for c in &compared {
                if fixed.iter().any(|f| usize::from(f.0) == c.argument) {
                    continue;
                }
                let shift = if c.upper { 32 } else { 0 };
                for value in [
                    c.constant,
                    c.constant.wrapping_add(1),
                    c.constant.wrapping_sub(1),
                    0,
                ] {
                    let mut other = arguments;
                    let word = &mut other[c.argument];
                    *word &= !(u64::from(c.mask) << shift);
                    *word |= u64::from(value & c.mask) << shift;
                    if known.len() < TRIES && known.insert(other) {
                        queue.push_back(other);
                    }
                }
            }
        }
        false
    }

    fn conditions(&self) -> BTreeSet<String> {
        // The program itself. Two programs that decide the same in different words are different here.
        let code: Vec<String> = self
            .code
            .iter()
            .map(|i| format!("{:x},{},{},{:x}", i.code, i.jump_true, i.jump_false, i.k))
            .collect();
        BTreeSet::from([code.join(" ")])
    }

    fn clause(&self, _: &str, _: bool) -> Option<Clause> {
        Some(Clause {
            artifact: self.artifact,
            line: 0,
            text: "the program".to_owned(),
        })
    }
}
