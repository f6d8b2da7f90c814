//! Linux system calls: their names, their numbers, the groups that a policy can name, and which of them every ordinary
//! program gets.
//!
//! # Sources
//!
//! The table (`syscalls.tsv`) has the name, the number on x86_64, the number on aarch64, and whether the call is
//! ordinary. It has every system call that a Linux header defines up to 6.18, on any architecture, except those of
//! other systems (OSF/1). Numbers are from the kernel's own headers (`asm/unistd_64.h`, 6.12). Those of later calls are
//! from `include/uapi/asm-generic/unistd.h` and `arch/x86/entry/syscalls/syscall_64.tbl`.
//!
//! A call is *ordinary* if the default profiles of both Docker and Podman allow it to a container without capabilities.
//! These calls are not ordinary:
//!
//! - `ptrace`, `process_vm_readv` and `process_vm_writev`, by which one process reads or changes another
//! - `modify_ldt`, which only emulators of 16-bit programs need
//! - `clone3`, whose flags a filter cannot see; C libraries fall back to `clone`
//! - calls that exist only on 32-bit architectures

use std::sync::LazyLock;

/// An architecture that filters are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Arch {
    /// Both.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The name that `uname -m` prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    name: &'static str,
    x86_64: Option<u32>,
    aarch64: Option<u32>,
    ordinary: bool,
}

static TABLE: LazyLock<Vec<Call>> = LazyLock::new(|| {
    let mut table: Vec<Call> = include_str!("syscalls.tsv")
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            Some(Call {
                name: fields.next()?,
                x86_64: fields.next()?.parse().ok(),
                aarch64: fields.next()?.parse().ok(),
                ordinary: fields.next()? == "ordinary",
            })
        })
        .collect();
    table.sort_unstable_by_key(|c| c.name);
    table
});

fn find(name: &str) -> Option<&'static Call> {
    let table: &'static [Call] = &TABLE;
    let at = table.binary_search_by(|c| c.name.cmp(name)).ok()?;
    table.get(at)
}

/// Every known name, sorted.
pub fn all() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|c| c.name)
}

/// Whether Linux has, or had, a system call of this name on some architecture.
#[must_use]
pub fn known(name: &str) -> bool {
    find(name).is_some()
}

/// Whether every program gets this system call, unless a rule says otherwise.
#[must_use]
pub fn ordinary(name: &str) -> bool {
    find(name).is_some_and(|c| c.ordinary)
}

/// The number of a system call on an architecture. `None`: it does not exist there.
#[must_use]
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    let call = find(name)?;
    match arch {
        Arch::X86_64 => call.x86_64,
        Arch::Aarch64 => call.aarch64,
    }
}

/// The system calls of an architecture with their numbers, sorted by name.
pub fn of_arch(arch: Arch) -> impl Iterator<Item = (&'static str, u32)> {
    TABLE.iter().filter_map(move |c| {
        let number = match arch {
            Arch::X86_64 => c.x86_64,
            Arch::Aarch64 => c.aarch64,
        };
        Some((c.name, number?))
    })
}

/// A group of system calls, which a policy names with `@` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Its name, without `@`.
    pub name: &'static str,
    /// What its members do, in one line.
    pub help: &'static str,
    /// Its members, sorted.
    pub members: &'static [&'static str],
}

/// Every group, sorted by name.
#[must_use]
pub fn groups() -> &'static [Group] {
    GROUPS
}

/// The members of a group (its name is without `@`), sorted.
#[must_use]
pub fn group(name: &str) -> Option<&'static [&'static str]> {
    GROUPS.iter().find(|g| g.name == name).map(|g| g.members)
}

/// The system calls beyond the ordinary ones that a container's default profile opens for a capability
/// (`CAP_SYS_CHROOT`). A policy that keeps a capability also allows its calls.
///
/// In Docker's profile, `CAP_SYS_ADMIN` opens `clone3`. Here it does not: `clone` does everything that programs need,
/// and a filter can see its flags.
#[must_use]
pub fn of_capability(capability: &str) -> &'static [&'static str] {
    match capability {
        "CAP_BPF" => &["bpf"],
        "CAP_DAC_READ_SEARCH" => &["open_by_handle_at"],
        "CAP_PERFMON" => &["perf_event_open"],
        "CAP_SYSLOG" => &["syslog"],
        "CAP_SYS_ADMIN" => &[
            "bpf",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "lsm_get_self_attr",
            "lsm_list_modules",
            "lsm_set_self_attr",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
        "CAP_SYS_BOOT" => &["reboot"],
        "CAP_SYS_CHROOT" => &["chroot"],
        "CAP_SYS_MODULE" => &["delete_module", "finit_module", "init_module"],
        "CAP_SYS_NICE" => &[
            "get_mempolicy",
            "mbind",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
        "CAP_SYS_PACCT" => &["acct"],
        "CAP_SYS_PTRACE" => &[
            "kcmp",
            "pidfd_getfd",
            "process_madvise",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
        ],
        "CAP_SYS_RAWIO" => &["ioperm", "iopl"],
        "CAP_SYS_TIME" => &["clock_settime", "clock_settime64", "settimeofday", "stime"],
        "CAP_SYS_TTY_CONFIG" => &["vhangup"],
        _ => &[],
    }
}

const GROUPS: &[Group] = &[
    Group {
        name: "aio",
        help: "asynchronous input and output of the old kind",
        members: &[
            "io_cancel",
            "io_destroy",
            "io_getevents",
            "io_pgetevents",
            "io_pgetevents_time64",
            "io_setup",
            "io_submit",
        ],
    },
    Group {
        name: "bpf",
        help: "loading programs into the kernel",
        members: &["bpf"],
    },
    Group {
        name: "clock",
        help: "setting the system's clock",
        members: &[
            "adjtimex",
            "clock_adjtime",
            "clock_adjtime64",
            "clock_settime",
            "clock_settime64",
            "settimeofday",
            "stime",
        ],
    },
    Group {
        name: "debug",
        help: "looking into or changing other processes, and measuring the system",
        members: &[
            "kcmp",
            "lookup_dcookie",
            "perf_event_open",
            "pidfd_getfd",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
            "rtas",
            "s390_runtime_instr",
            "sys_debug_setcontext",
            "uprobe",
            "uretprobe",
        ],
    },
    Group {
        name: "fanotify",
        help: "watching whole file systems",
        members: &["fanotify_init", "fanotify_mark"],
    },
    Group {
        name: "io_uring",
        help: "a queue of operations that passes by filters of the calls they stand for",
        members: &["io_uring_enter", "io_uring_register", "io_uring_setup"],
    },
    Group {
        name: "ipc",
        help: "System V and POSIX message queues, semaphores and shared memory",
        members: &[
            "ipc",
            "memfd_create",
            "mq_getsetattr",
            "mq_notify",
            "mq_open",
            "mq_timedreceive",
            "mq_timedreceive_time64",
            "mq_timedsend",
            "mq_timedsend_time64",
            "mq_unlink",
            "msgctl",
            "msgget",
            "msgrcv",
            "msgsnd",
            "process_vm_readv",
            "process_vm_writev",
            "semctl",
            "semget",
            "semop",
            "semtimedop",
            "semtimedop_time64",
            "shmat",
            "shmctl",
            "shmdt",
            "shmget",
        ],
    },
    Group {
        name: "kexec",
        help: "starting another kernel",
        members: &["kexec_file_load", "kexec_load"],
    },
    Group {
        name: "keyring",
        help: "the kernel's keys",
        members: &["add_key", "keyctl", "request_key"],
    },
    Group {
        name: "metadata",
        help: "changing mode, owner, times, extended attributes and flags of files",
        members: &[
            "chmod",
            "chown",
            "chown32",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "fchown",
            "fchown32",
            "fchownat",
            "file_setattr",
            "fremovexattr",
            "fsetxattr",
            "futimesat",
            "lchown",
            "lchown32",
            "lremovexattr",
            "lsetxattr",
            "removexattr",
            "removexattrat",
            "setxattr",
            "setxattrat",
            "utime",
            "utimensat",
            "utimensat_time64",
            "utimes",
        ],
    },
    Group {
        name: "module",
        help: "kernel modules",
        members: &[
            "create_module",
            "delete_module",
            "finit_module",
            "get_kernel_syms",
            "init_module",
            "query_module",
        ],
    },
    Group {
        name: "mount",
        help: "mounting, unmounting and changing the root",
        members: &[
            "chroot",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "mount",
            "mount_setattr",
            "move_mount",
            "oldumount",
            "open_tree",
            "open_tree_attr",
            "pivot_root",
            "umount",
            "umount2",
        ],
    },
    Group {
        name: "namespace",
        help: "entering or making namespaces; `clone` with such flags is refused with `unshare`",
        members: &["clone3", "setns", "unshare"],
    },
    Group {
        name: "network",
        help: "sockets of every kind, local ones too",
        members: &[
            "accept",
            "accept4",
            "bind",
            "connect",
            "getpeername",
            "getsockname",
            "getsockopt",
            "listen",
            "recv",
            "recvfrom",
            "recvmmsg",
            "recvmmsg_time64",
            "recvmsg",
            "send",
            "sendmmsg",
            "sendmsg",
            "sendto",
            "setsockopt",
            "shutdown",
            "socket",
            "socketcall",
            "socketpair",
        ],
    },
    Group {
        name: "obsolete",
        help: "calls that were removed from the kernel, or that only old programs use",
        members: &[
            "_sysctl",
            "afs_syscall",
            "bdflush",
            "break",
            "create_module",
            "ftime",
            "get_kernel_syms",
            "getpmsg",
            "gtty",
            "idle",
            "lock",
            "modify_ldt",
            "mpx",
            "nfsservctl",
            "oldfstat",
            "oldlstat",
            "oldolduname",
            "oldstat",
            "olduname",
            "prof",
            "profil",
            "putpmsg",
            "query_module",
            "security",
            "sgetmask",
            "ssetmask",
            "stime",
            "stty",
            "sysfs",
            "tuxcall",
            "ulimit",
            "uselib",
            "ustat",
            "vm86",
            "vm86old",
            "vserver",
        ],
    },
    Group {
        name: "perf",
        help: "the performance counters",
        members: &["perf_event_open"],
    },
    Group {
        name: "privileged",
        help: "what only an administrator's program needs",
        members: &[
            "_sysctl",
            "acct",
            "bpf",
            "chroot",
            "clock_settime",
            "clock_settime64",
            "create_module",
            "delete_module",
            "fanotify_init",
            "finit_module",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "init_module",
            "ioperm",
            "iopl",
            "kexec_file_load",
            "kexec_load",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "nfsservctl",
            "oldumount",
            "open_by_handle_at",
            "open_tree",
            "open_tree_attr",
            "pciconfig_iobase",
            "pciconfig_read",
            "pciconfig_write",
            "perf_event_open",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "reboot",
            "s390_pci_mmio_read",
            "s390_pci_mmio_write",
            "setdomainname",
            "sethostname",
            "setns",
            "settimeofday",
            "stime",
            "swapoff",
            "swapon",
            "syslog",
            "umount",
            "umount2",
            "vhangup",
        ],
    },
    Group {
        name: "ptrace",
        help: "tracing other processes, or reading and writing their memory and descriptors",
        members: &[
            "kcmp",
            "pidfd_getfd",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
        ],
    },
    Group {
        name: "raw_io",
        help: "the ports and the buses of the machine",
        members: &[
            "ioperm",
            "iopl",
            "pciconfig_iobase",
            "pciconfig_read",
            "pciconfig_write",
            "s390_pci_mmio_read",
            "s390_pci_mmio_write",
        ],
    },
    Group {
        name: "reboot",
        help: "stopping or restarting the machine",
        members: &["kexec_file_load", "kexec_load", "reboot"],
    },
    Group {
        name: "setuid",
        help: "changing user, group and capabilities; without them a container's runtime needs no_new_privs",
        members: &[
            "capset",
            "setfsgid",
            "setfsgid32",
            "setfsuid",
            "setfsuid32",
            "setgid",
            "setgid32",
            "setgroups",
            "setgroups32",
            "setregid",
            "setregid32",
            "setresgid",
            "setresgid32",
            "setresuid",
            "setresuid32",
            "setreuid",
            "setreuid32",
            "setuid",
            "setuid32",
        ],
    },
    Group {
        name: "swap",
        help: "swap space",
        members: &["swapoff", "swapon"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_sound() {
        let names: Vec<&str> = all().collect();
        assert!(names.len() > 450);
        assert!(names.is_sorted_by(|a, b| a < b));
        let lines = include_str!("syscalls.tsv").lines().count();
        assert_eq!(lines, names.len(), "a line was not understood");
        for arch in Arch::ALL {
            let numbers: Vec<u32> = of_arch(arch).map(|c| c.1).collect();
            let set: BTreeSet<u32> = numbers.iter().copied().collect();
            assert_eq!(set.len(), numbers.len(), "{arch:?}: a number stands twice");
            assert!(numbers.len() > 300);
        }
        // From the manual and the kernel's headers.
        for (arch, name, nr) in [
            (Arch::X86_64, "read", 0),
            (Arch::X86_64, "execve", 59),
            (Arch::X86_64, "openat2", 437),
            (Arch::X86_64, "uprobe", 336),
            (Arch::X86_64, "file_setattr", 469),
            (Arch::Aarch64, "read", 63),
            (Arch::Aarch64, "execve", 221),
            (Arch::Aarch64, "io_uring_setup", 425),
            (Arch::Aarch64, "file_setattr", 469),
        ] {
            assert_eq!(number(arch, name), Some(nr), "{name}");
        }
        assert_eq!(number(Arch::Aarch64, "open"), None);
    }

    #[test]
    fn groups_name_known_calls_in_order() {
        assert!(GROUPS.is_sorted_by(|a, b| a.name < b.name));
        for g in GROUPS {
            assert!(g.members.is_sorted_by(|a, b| a < b), "{}", g.name);
            for m in g.members {
                assert!(known(m), "{m}");
            }
        }
        for name in ["mount", "io_uring", "module", "keyring", "ptrace"] {
            assert!(group(name).is_some(), "{name}");
        }
        assert!(group("@mount").is_none());
    }

    #[test]
    fn nothing_dangerous_is_ordinary() {
        let dangerous = [
            "bpf",
            "debug",
            "io_uring",
            "kexec",
            "keyring",
            "module",
            "mount",
            "namespace",
            "perf",
            "privileged",
            "ptrace",
            "raw_io",
            "reboot",
            "swap",
        ];
        for g in dangerous {
            for m in group(g).unwrap() {
                assert!(!ordinary(m), "{m} of @{g}");
            }
        }
        for cap in ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_CHROOT"] {
            assert!(!of_capability(cap).is_empty());
            for m in of_capability(cap) {
                assert!(known(m) && !ordinary(m), "{m}");
            }
        }
        for m in ["userfaultfd", "modify_ldt", "clone3", "personalityx"] {
            assert!(!ordinary(m), "{m}");
        }
    }

    #[test]
    fn what_every_program_needs_is_ordinary() {
        for m in [
            "read",
            "write",
            "openat",
            "mmap",
            "brk",
            "execve",
            "exit_group",
            "clone",
            "futex",
            "wait4",
            "socket",
            "rt_sigreturn",
            "prctl",
            "arch_prctl",
            "getrandom",
            "rseq",
        ] {
            assert!(ordinary(m), "{m}");
        }
    }
}
