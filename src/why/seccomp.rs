//! seccomp's records (`SECCOMP`, 1326): they name the system call by its number and its architecture.

use super::record::Record;
use super::{Access, Denial, Layer, Line, one};
use crate::fidelity::Object;
use crate::policy::Operation;
use crate::policy::syscalls::{Arch, of_arch};

/// Numbers of x32, the 64-bit calls with 32-bit pointers, have this bit (asm/unistd.h).
const X32: u64 = 0x4000_0000;

pub(super) fn line(record: &Record<'_>) -> Line {
    let arch = record
        .word("arch")
        .and_then(|a| u64::from_str_radix(a, 16).ok());
    let (Some(arch), Some(number)) = (arch, record.number("syscall")) else {
        return Line::Unread;
    };
    // AUDIT_ARCH_* of linux/audit.h.
    let name = match arch {
        0xc000_003e if number & X32 == 0 => Some(Arch::X86_64),
        0xc000_00b7 => Some(Arch::Aarch64),
        _ => None,
    }
    .and_then(|a| of_arch(a).find(|(_, n)| u64::from(*n) == number));
    let access = match name {
        Some((name, _)) => Access::Known(one(Operation::Syscall), Object::Syscall(name.to_owned())),
        None => {
            let of = match arch {
                0xc000_003e if number & X32 != 0 => "x32",
                0x4000_0003 => "32-bit x86",
                0x4000_0028 => "32-bit Arm",
                0xc000_003e | 0xc000_00b7 => "this architecture",
                _ => "another architecture",
            };
            Access::Other(format!(
                "system call {} of {of}; filters know the native calls of x86_64 and aarch64 by name",
                number & !X32
            ))
        }
    };
    let mut denial = Denial::new(Layer::Seccomp, access);
    denial.program = record
        .untrusted("exe")
        .or_else(|| record.untrusted("comm"))
        .map(|p| p.into_owned());
    // SECCOMP_RET_* of linux/seccomp.h; 0x7ffc0000 is LOG, 0x7fff0000 ALLOW.
    let code = record.number("code").map(|c| c & 0xffff_0000);
    denial.only_logged = matches!(code, Some(0x7ffc_0000 | 0x7fff_0000));
    if matches!(code, Some(0 | 0x8000_0000)) {
        denial = denial.note("the program was killed for it");
    }
    Line::Denials(vec![denial])
}
