//! What happens to each system call: one table, by name.
//!
//! A call that is not in the table does not exist for the program (`ENOSYS`). A kernel that is newer than the table may
//! have a call that names a path. A test compares the table with the calls in all headers.

use crate::policy::syscalls::{self, Arch};

/// A call that the guard is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "by the names of the calls")]
pub enum Call {
    Open,
    Creat,
    Openat,
    Openat2,
    Mkdir,
    Mkdirat,
    Mknod,
    Mknodat,
    Unlink,
    Rmdir,
    Unlinkat,
    Rename,
    Renameat,
    Renameat2,
    Link,
    Linkat,
    Symlink,
    Symlinkat,
    Truncate,
    Chmod,
    Fchmod,
    Fchmodat,
    Fchmodat2,
    Chown,
    Lchown,
    Fchown,
    Fchownat,
    Utime,
    Utimes,
    Futimesat,
    Utimensat,
    Setxattr,
    Lsetxattr,
    Fsetxattr,
    Removexattr,
    Lremovexattr,
    Fremovexattr,
    Ioctl,
    Connect,
    Bind,
}

/// What a call is about. The filter asks the guard only if the policy does not allow all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Contents and names of files.
    Files,
    /// Mode, owner, times and attributes.
    Metadata,
    /// Sockets with a path.
    Sockets,
}

impl Call {
    /// What it is about.
    #[must_use]
    pub fn about(self) -> About {
        match self {
            Self::Open
            | Self::Creat
            | Self::Openat
            | Self::Openat2
            | Self::Mkdir
            | Self::Mkdirat
            | Self::Mknod
            | Self::Mknodat
            | Self::Unlink
            | Self::Rmdir
            | Self::Unlinkat
            | Self::Rename
            | Self::Renameat
            | Self::Renameat2
            | Self::Link
            | Self::Linkat
            | Self::Symlink
            | Self::Symlinkat
            | Self::Truncate
            | Self::Bind => About::Files,
            Self::Connect => About::Sockets,
            _ => About::Metadata,
        }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The kernel does it: it names no path, or the layers beneath decide.
    Native,
    /// The guard is asked.
    Asked(Call),
    /// The guard is asked if the flags in this argument open for writing, or make something.
    AskedToWrite(Call, u8),
    /// The guard is asked about the commands that change attributes.
    AskedToSetFlags,
    /// Refused for datagrams, which reach a socket by a path without a connect.
    NoDatagrams,
    /// Answered as done if a process makes itself unreadable: then the guard could not read it any more.
    StaysReadable,
    /// Refused with this error.
    Refused(i32),
}

/// The calls that are not native.
const SPECIAL: &[(&str, Class)] = &[
    ("open", Class::AskedToWrite(Call::Open, 1)),
    ("creat", Class::Asked(Call::Creat)),
    ("openat", Class::AskedToWrite(Call::Openat, 2)),
    ("openat2", Class::Asked(Call::Openat2)),
    ("mkdir", Class::Asked(Call::Mkdir)),
    ("mkdirat", Class::Asked(Call::Mkdirat)),
    ("mknod", Class::Asked(Call::Mknod)),
    ("mknodat", Class::Asked(Call::Mknodat)),
    ("unlink", Class::Asked(Call::Unlink)),
    ("rmdir", Class::Asked(Call::Rmdir)),
    ("unlinkat", Class::Asked(Call::Unlinkat)),
    ("rename", Class::Asked(Call::Rename)),
    ("renameat", Class::Asked(Call::Renameat)),
    ("renameat2", Class::Asked(Call::Renameat2)),
    ("link", Class::Asked(Call::Link)),
    ("linkat", Class::Asked(Call::Linkat)),
    ("symlink", Class::Asked(Call::Symlink)),
    ("symlinkat", Class::Asked(Call::Symlinkat)),
    ("truncate", Class::Asked(Call::Truncate)),
    ("chmod", Class::Asked(Call::Chmod)),
    ("fchmod", Class::Asked(Call::Fchmod)),
    ("fchmodat", Class::Asked(Call::Fchmodat)),
    ("fchmodat2", Class::Asked(Call::Fchmodat2)),
    ("chown", Class::Asked(Call::Chown)),
    ("lchown", Class::Asked(Call::Lchown)),
    ("fchown", Class::Asked(Call::Fchown)),
    ("fchownat", Class::Asked(Call::Fchownat)),
    ("utime", Class::Asked(Call::Utime)),
    ("utimes", Class::Asked(Call::Utimes)),
    ("futimesat", Class::Asked(Call::Futimesat)),
    ("utimensat", Class::Asked(Call::Utimensat)),
    ("setxattr", Class::Asked(Call::Setxattr)),
    ("lsetxattr", Class::Asked(Call::Lsetxattr)),
    ("fsetxattr", Class::Asked(Call::Fsetxattr)),
    ("removexattr", Class::Asked(Call::Removexattr)),
    ("lremovexattr", Class::Asked(Call::Lremovexattr)),
    ("fremovexattr", Class::Asked(Call::Fremovexattr)),
    ("ioctl", Class::AskedToSetFlags),
    ("connect", Class::Asked(Call::Connect)),
    ("bind", Class::Asked(Call::Bind)),
    ("socket", Class::NoDatagrams),
    ("socketpair", Class::NoDatagrams),
    ("prctl", Class::StaysReadable),
    // Some kernels lack them, so programs can do without them.
    ("setxattrat", Class::Refused(libc::ENOSYS)),
    ("removexattrat", Class::Refused(libc::ENOSYS)),
    ("file_setattr", Class::Refused(libc::ENOSYS)),
    // They open, make and connect without a filter seeing it.
    ("io_uring_setup", Class::Refused(libc::ENOSYS)),
    ("io_uring_enter", Class::Refused(libc::ENOSYS)),
    ("io_uring_register", Class::Refused(libc::ENOSYS)),
    ("open_by_handle_at", Class::Refused(libc::EPERM)),
    // It opens a shared library by its path.
    ("uselib", Class::Refused(libc::ENOSYS)),
];

/// The calls that the kernel does as usual, one name for each word.
const NATIVE: &str = include_str!("native.txt");

/// Every call of an architecture by number, ascending, with what happens to it.
#[must_use]
pub fn of_arch(arch: Arch) -> Vec<(u32, Class)> {
    let native: std::collections::HashSet<&str> = NATIVE.split_ascii_whitespace().collect();
    let mut all: Vec<(u32, Class)> = syscalls::of_arch(arch)
        .filter_map(|(name, number)| {
            let special = SPECIAL.iter().find(|(n, _)| *n == name).map(|(_, c)| *c);
            let class = special.or_else(|| native.contains(name).then_some(Class::Native))?;
            Some((number, class))
        })
        .collect();
    all.sort_unstable_by_key(|(number, _)| *number);
    all
}

/// The call with a number.
#[must_use]
pub fn call(arch: Arch, number: u32) -> Option<Call> {
    SPECIAL.iter().find_map(|(name, class)| {
        let call = match class {
            Class::Asked(call) | Class::AskedToWrite(call, _) => *call,
            Class::AskedToSetFlags => Call::Ioctl,
            _ => return None,
        };
        (syscalls::number(arch, name) == Some(number)).then_some(call)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that is in no class could name a path.
    #[test]
    fn every_call_of_the_headers_is_in_one_class() {
        let special: Vec<&str> = SPECIAL.iter().map(|(n, _)| *n).collect();
        let native: Vec<&str> = NATIVE.split_ascii_whitespace().collect();
        for arch in Arch::ALL {
            for (name, _) in syscalls::of_arch(arch) {
                let times = special
                    .iter()
                    .chain(&native)
                    .filter(|n| **n == name)
                    .count();
                assert_eq!(times, 1, "{name}");
            }
        }
        for name in special.iter().chain(&native) {
            assert!(syscalls::known(name), "{name}");
        }
    }

    /// The numbers that libc takes from the kernel's header.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_numbers_are_the_headers() {
        for (number, call) in [
            (libc::SYS_open, Call::Open),
            (libc::SYS_openat2, Call::Openat2),
            (libc::SYS_renameat2, Call::Renameat2),
            (libc::SYS_utimensat, Call::Utimensat),
            (libc::SYS_fchmodat2, Call::Fchmodat2),
            (libc::SYS_ioctl, Call::Ioctl),
            (libc::SYS_connect, Call::Connect),
        ] {
            assert_eq!(super::call(Arch::X86_64, number as u32), Some(call));
        }
        assert_eq!(call(Arch::X86_64, libc::SYS_read as u32), None);
    }

    #[test]
    fn a_path_is_named_by_no_native_call_that_changes_something() {
        // The names of all calls that take a path and change what is there.
        let changes = [
            "open",
            "mkdir",
            "mknod",
            "unlink",
            "rmdir",
            "rename",
            "link",
            "truncate",
            "chmod",
            "chown",
            "utime",
            "setxattr",
            "removexattr",
            "creat",
            "setattr",
        ];
        let free = [
            "create_module",
            "epoll_create",
            "epoll_create1",
            "fsopen",
            "ftruncate",
            "landlock_create_ruleset",
            "memfd_create",
            "mount_setattr",
            "mq_getsetattr",
            "mq_open",
            "mq_unlink",
            "open_tree",
            "open_tree_attr",
            "perf_event_open",
            "pidfd_open",
            "readlink",
            "readlinkat",
            "sched_setattr",
            "timer_create",
            "timerfd_create",
        ];
        for name in NATIVE.split_ascii_whitespace() {
            let suspect = changes.iter().any(|c| name.contains(c));
            assert!(!suspect || free.contains(&name), "{name}");
        }
    }
}
