//! The filter that passes calls to the guard, made from the table of calls ([`super::table`]).
//!
//! ```text
//! another architecture, or x32 ────────────────► ENOSYS
//! a number that is in no class ────────────────► ENOSYS
//! a call that the guard is asked about ────────► the guard, where the arguments in registers say that it matters
//! anything else ───────────────────────────────► the kernel
//! ```
//!
//! It is loaded beside the policy's own filter. Of two answers the kernel takes the stricter one. So a call that the
//! policy's filter refuses never reaches the guard.

use super::table::{About, Call, Class, of_arch};
use crate::policy::syscalls::Arch;

const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
/// Offsets in `struct seccomp_data`. The lower half of the first argument is at `ARGUMENTS`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

const TO_WRITE: u32 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u32 | NAMELESS;
/// `O_TMPFILE` without the bit for directories.
const NAMELESS: u32 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;
/// From linux/fs.h: `FS_IOC_SETFLAGS`, the same for 32 bits, and `FS_IOC_FSSETXATTR`.
pub const SET_FLAGS: [u32; 3] = [0x4008_6602, 0x4004_6602, 0x401c_5820];

/// Commands from linux/fs.h, linux/fsverity.h and linux/btrfs.h that change what a file is, or make and remove names,
/// by a descriptor that is open for reading. They are `FS_IOC_SETVERSION`, the same of ext4, and
/// `FS_IOC_ENABLE_VERITY`. Those of btrfs make, copy and remove a subvolume, each in two versions. Neither Landlock nor
/// the guard sees the names.
const REFUSED: [u32; 9] = [
    0x4008_7602,
    0x4008_6604,
    0x4080_6685,
    0x5000_940e,
    0x5000_9418,
    0x5000_9401,
    0x5000_9417,
    0x5000_940f,
    0x5000_943f,
];

/// What the guard is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Some files may not be changed.
    pub files: bool,
    /// Some mode, owner, times or attributes may not be changed.
    pub metadata: bool,
    /// Some sockets with a path may not be used.
    pub sockets: bool,
}

impl Asked {
    fn about(self, call: Call) -> bool {
        match call.about() {
            About::Files => self.files,
            About::Metadata => self.metadata,
            About::Sockets => self.sockets,
        }
    }
}

/// Makes the filter's program.
#[must_use]
pub fn program(arch: Arch, asked: Asked) -> Vec<libc::sock_filter> {
    let audit = match arch {
        Arch::X86_64 => 0xc000_003e,
        Arch::Aarch64 => 0xc000_00b7,
    };
    let mut out = vec![
        op(LOAD_WORD, ARCH, 0, 0),
        op(JUMP_EQUAL, audit, 1, 0),
        refuse(libc::ENOSYS),
        op(LOAD_WORD, NUMBER, 0, 0),
    ];
    let all = of_arch(arch);
    let mut next = 0;
    for (number, class) in &all {
        // A gap in the numbers.
        if *number > next {
            out.extend([
                op(JUMP_GREATER_EQUAL, next, 0, 2),
                op(JUMP_GREATER_EQUAL, *number, 1, 0),
                refuse(libc::ENOSYS),
            ]);
        }
        next = number + 1;
        let body = body(*class, asked);
        if !body.is_empty() {
            out.push(op(JUMP_EQUAL, *number, 0, body.len() as u8));
            out.extend(body);
        }
    }
    // This also catches x32, whose numbers have bit 30.
    out.extend([
        op(JUMP_GREATER_EQUAL, next, 0, 1),
        refuse(libc::ENOSYS),
        op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ]);
    out
}

/// What happens to a call, as instructions that all end in an answer. Empty: nothing.
fn body(class: Class, asked: Asked) -> Vec<libc::sock_filter> {
    let ask = op(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0);
    let allow = op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
    match class {
        Class::Refused(error) => vec![refuse(error)],
        Class::Asked(call) if asked.about(call) => vec![ask],
        Class::AskedToWrite(call, argument) if asked.about(call) => vec![
            op(LOAD_WORD, ARGUMENTS + 8 * u32::from(argument), 0, 0),
            // A descriptor of the kind `O_PATH` can do nothing with its object, so no policy matters.
            op(JUMP_ANY_BIT, libc::O_PATH as u32, 1, 0),
            op(JUMP_ANY_BIT, TO_WRITE, 1, 0),
            allow,
            ask,
        ],
        Class::AskedToSetFlags if asked.metadata || asked.files => {
            let mut out = vec![op(LOAD_WORD, ARGUMENTS + 8, 0, 0)];
            for command in REFUSED {
                out.extend([op(JUMP_EQUAL, command, 0, 1), refuse(libc::EPERM)]);
            }
            for command in SET_FLAGS.into_iter().filter(|_| asked.metadata) {
                out.extend([op(JUMP_EQUAL, command, 0, 1), ask]);
            }
            out.push(allow);
            out
        }
        Class::NoDatagrams if asked.sockets => vec![
            op(LOAD_WORD, ARGUMENTS, 0, 0),
            op(JUMP_EQUAL, libc::AF_UNIX as u32, 0, 4),
            op(LOAD_WORD, ARGUMENTS + 8, 0, 0),
            // The type, without the flags beside it.
            op(AND, 0xf, 0, 0),
            op(JUMP_EQUAL, libc::SOCK_DGRAM as u32, 2, 0),
            op(JUMP_EQUAL, libc::SOCK_RAW as u32, 1, 0),
            allow,
            refuse(libc::EPERM),
        ],
        Class::StaysReadable => vec![
            op(LOAD_WORD, ARGUMENTS, 0, 0),
            op(JUMP_EQUAL, libc::PR_SET_DUMPABLE as u32, 0, 3),
            op(LOAD_WORD, ARGUMENTS + 8, 0, 0),
            op(JUMP_EQUAL, 0, 0, 1),
            refuse(0),
            allow,
        ],
        _ => Vec::new(),
    }
}

fn op(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn refuse(error: i32) -> libc::sock_filter {
    op(RETURN, libc::SECCOMP_RET_ERRNO | error as u32, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::syscalls::number;

    const ALL: Asked = Asked {
        files: true,
        metadata: true,
        sockets: true,
    };
    const ASKED: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
    const NO_SUCH_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// The machine that runs filters in the kernel, as far as these tests need it.
    fn run(program: &[libc::sock_filter], arch: u32, number: u32, arguments: [u32; 3]) -> u32 {
        let mut a = 0u32;
        let mut at = 0;
        loop {
            let op = program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { op.jt } else { op.jf });
            match op.code {
                LOAD_WORD => {
                    a = match op.k {
                        NUMBER => number,
                        ARCH => arch,
                        k => arguments[((k - ARGUMENTS) / 8) as usize],
                    }
                }
                AND => a &= op.k,
                JUMP_EQUAL => at += jump(a == op.k),
                JUMP_GREATER_EQUAL => at += jump(a >= op.k),
                JUMP_ANY_BIT => at += jump(a & op.k != 0),
                RETURN => return op.k,
                code => panic!("{code:#x}"),
            }
        }
    }

    fn answer(asked: Asked, name: &str, arguments: [u32; 3]) -> u32 {
        let program = program(Arch::X86_64, asked);
        run(
            &program,
            0xc000_003e,
            number(Arch::X86_64, name).unwrap(),
            arguments,
        )
    }

    #[test]
    fn opens_are_asked_about_where_they_write() {
        for (flags, expected) in [
            (libc::O_RDONLY, ALLOWED),
            (
                libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
                ALLOWED,
            ),
            (libc::O_WRONLY, ASKED),
            (libc::O_RDWR, ASKED),
            (libc::O_ACCMODE, ASKED),
            (libc::O_CREAT, ASKED),
            (libc::O_TRUNC, ASKED),
            (libc::O_TMPFILE | libc::O_RDWR, ASKED),
            (libc::O_PATH, ALLOWED),
            (libc::O_PATH | libc::O_RDWR | libc::O_CREAT, ALLOWED),
        ] {
            let flags = flags as u32;
            assert_eq!(answer(ALL, "openat", [0, 0, flags]), expected, "{flags:#o}");
            assert_eq!(answer(ALL, "open", [0, flags, 0]), expected, "{flags:#o}");
        }
    }

    #[test]
    fn registers_decide_where_they_can() {
        let none = Asked {
            files: false,
            metadata: false,
            sockets: false,
        };
        let unix = libc::AF_UNIX as u32;
        let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        for (name, arguments, all, nothing) in [
            ("read", [0, 0, 0], ALLOWED, ALLOWED),
            ("mkdirat", [0, 0, 0], ASKED, ALLOWED),
            ("chmod", [0, 0, 0], ASKED, ALLOWED),
            ("connect", [0, 0, 0], ASKED, ALLOWED),
            ("ioctl", [3, 0x5413, 0], ALLOWED, ALLOWED),
            ("ioctl", [3, SET_FLAGS[0], 0], ASKED, ALLOWED),
            ("ioctl", [3, SET_FLAGS[2], 0], ASKED, ALLOWED),
            ("ioctl", [3, REFUSED[0], 0], refused, ALLOWED),
            ("ioctl", [3, REFUSED[8], 0], refused, ALLOWED),
            ("socket", [unix, 1, 0], ALLOWED, ALLOWED),
            ("socket", [unix, 5, 0], ALLOWED, ALLOWED),
            (
                "socket",
                [unix, 2 | libc::SOCK_CLOEXEC as u32, 0],
                refused,
                ALLOWED,
            ),
            ("socket", [unix, 3, 0], refused, ALLOWED),
            ("socketpair", [unix, 2, 0], refused, ALLOWED),
            ("socket", [libc::AF_INET as u32, 2, 0], ALLOWED, ALLOWED),
            (
                "prctl",
                [4, 0, 0],
                libc::SECCOMP_RET_ERRNO,
                libc::SECCOMP_RET_ERRNO,
            ),
            ("prctl", [4, 1, 0], ALLOWED, ALLOWED),
            ("prctl", [15, 0, 0], ALLOWED, ALLOWED),
            ("io_uring_setup", [0, 0, 0], NO_SUCH_CALL, NO_SUCH_CALL),
            ("execve", [0, 0, 0], ALLOWED, ALLOWED),
        ] {
            assert_eq!(answer(ALL, name, arguments), all, "{name}");
            assert_eq!(answer(none, name, arguments), nothing, "{name}");
        }
    }

    #[test]
    fn what_is_in_no_class_does_not_exist() {
        let program = program(Arch::X86_64, ALL);
        let read = number(Arch::X86_64, "read").unwrap();
        for (arch, number) in [
            (0x4000_0003, read),
            (0xc000_003e, read | 0x4000_0000),
            (0xc000_003e, 380),
            (0xc000_003e, 9999),
            (0xc000_003e, u32::MAX),
        ] {
            assert_eq!(
                run(&program, arch, number, [0; 3]),
                NO_SUCH_CALL,
                "{number}"
            );
        }
        for (number, class) in of_arch(Arch::X86_64) {
            let got = run(&program, 0xc000_003e, number, [0; 3]);
            if class == Class::Native {
                assert_eq!(got, ALLOWED, "{number}");
            }
        }
    }
}
