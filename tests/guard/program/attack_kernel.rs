//! Attempts to avoid a filter: other entries to the kernel, namespaces, handles, datagrams. Also attacks on the
//! supervisor.

use crate::conf_sockets;
use crate::denied::read_out;
use crate::sys::{self, AT_FDCWD, Answer, at, call, into, nr, o, text};
use crate::tell::{print, shown};
use std::arch::asm;

fn told(what: &str, answer: Answer) {
    print(&format!("{what} -> {}", shown(answer)));
}

/// A call by the 32-bit entry. Its pointers must lie below 4 GiB.
fn by_interrupt(number: u32, one: u32, two: u32, three: u32) -> Answer {
    let result: i32;
    // SAFETY: the entry keeps all but its result; it may change r8 to r11.
    unsafe {
        asm!(
            "push rbx", "mov ebx, {one:e}", "int 0x80", "pop rbx",
            one = in(reg) one, inlateout("eax") number => result, in("ecx") two, in("edx") three,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if result < 0 { Err(-result) } else { Ok(result.into()) }
}

/// Each attempt runs in a child, because a filter may kill.
fn tried(what: &str, work: impl FnOnce() -> Answer) {
    let status = sys::apart(|| {
        let answer = work();
        read_out(answer);
        answer.map_or_else(|e| e, |_| 0)
    });
    print(&format!("{what} -> {}", if status == 0 { "done".to_owned() } else { sys::error(status) }));
}

pub fn entries() {
    const FIXED: i64 = 0x10;
    let low = call(nr::MMAP, &[0x1000_0000, 4096, 3, 0x22 | FIXED, -1, 0]).unwrap_or(0);
    for (i, byte) in b"secret/key\0hooks/made\0".iter().enumerate() {
        sys::poke(low + i as i64, *byte);
    }
    let (key, hook) = (low as u32, low as u32 + 11);
    tried("int 0x80, open", || by_interrupt(5, key, 0, 0));
    tried("int 0x80, openat", || by_interrupt(295, -100i32 as u32, key, 0));
    tried("int 0x80, create", || by_interrupt(5, hook, 0o101, 0o644));
    tried("int 0x80, creat", || by_interrupt(8, hook, 0o644, 0));
    tried("int 0x80, unlink", || by_interrupt(10, key, 0, 0));
    tried("int 0x80, chmod", || by_interrupt(15, key, 0o777, 0));
    tried("int 0x80, mkdir", || by_interrupt(39, hook, 0o755, 0));
    for (what, number, path, flags) in [
        ("open", nr::OPEN, "secret/key", o::RDONLY), ("create", nr::CREAT, "hooks/made", 0o644), ("mkdir", nr::MKDIR, "hooks/made", 0o755),
        ("unlink", nr::UNLINK, "secret/key", 0), ("chmod", nr::CHMOD, "secret/key", 0o777),
    ] {
        tried(&format!("x32, {what}"), || call(number | 0x4000_0000, &[text(path), flags, 0o644]));
    }
    tried("io_uring", || {
        let mut parameters = [0u32; 30];
        call(nr::IO_URING_SETUP, &[4, into(&mut parameters)])
    });
    // Numbers that no kernel knows yet.
    for number in [470, 480, 511, 547, 600, 1023] {
        tried(&format!("call {number}"), || call(number, &[AT_FDCWD, text("hooks/made"), o::RDWR | o::CREAT, 0o644]));
    }
    tried("handle", || {
        let mut handle = [0u8; 136];
        handle[0] = 128;
        let mut mount = 0i32;
        call(nr::NAME_TO_HANDLE_AT, &[AT_FDCWD, text("secret/key"), into(&mut handle), into(&mut mount), 0])?;
        let here = sys::open(".", o::RDONLY | o::DIRECTORY, 0)?;
        call(nr::OPEN_BY_HANDLE_AT, &[here, at(&handle), o::RDONLY])
    });
    tried("open_tree, a copy", || {
        let tree = call(nr::OPEN_TREE, &[AT_FDCWD, text("secret"), 1])?;
        call(nr::OPENAT, &[tree, text("key"), o::RDONLY, 0])
    });
    tried("open_tree", || {
        let tree = call(nr::OPEN_TREE, &[AT_FDCWD, text("secret"), 0])?;
        call(nr::OPENAT, &[tree, text("key"), o::RDONLY, 0])
    });
}

/// In a new user namespace, with every capability over what is in it.
pub fn namespaces() {
    const NEWNS: i64 = 0x2_0000;
    const NEWUSER: i64 = 0x1000_0000;
    let (user, group) = (own(nr::GETUID), own(104));
    let apart = |what: &str, work: &dyn Fn() -> Answer| {
        tried(what, || {
            call(nr::UNSHARE, &[NEWUSER | NEWNS])?;
            let _ = std::fs::write("/proc/self/setgroups", "deny");
            let _ = std::fs::write("/proc/self/uid_map", format!("0 {user} 1"));
            let _ = std::fs::write("/proc/self/gid_map", format!("0 {group} 1"));
            work()
        });
    };
    tried("a namespace", || call(nr::UNSHARE, &[NEWUSER | NEWNS]));
    apart("open in a namespace", &|| sys::open("secret/key", o::RDONLY, 0));
    apart("create in a namespace", &|| sys::open("hooks/made", o::RDWR | o::CREAT, 0o644));
    apart("bind mount", &|| {
        call(nr::MOUNT, &[text("secret"), text("out/d"), 0, 4096, 0])?;
        sys::open("out/d/key", o::RDONLY, 0)
    });
    apart("bind mount of the hooks", &|| {
        call(nr::MOUNT, &[text("hooks"), text("out/d"), 0, 4096, 0])?;
        sys::open("out/d/made", o::RDWR | o::CREAT, 0o644)
    });
    apart("tree, a copy", &|| {
        let tree = call(nr::OPEN_TREE, &[AT_FDCWD, text("secret"), 1])?;
        call(nr::OPENAT, &[tree, text("key"), o::RDONLY, 0])
    });
    apart("tree of the workspace, a copy, read", &|| {
        let tree = call(nr::OPEN_TREE, &[AT_FDCWD, text("."), 1])?;
        call(nr::OPENAT, &[tree, text("secret/key"), o::RDONLY, 0])
    });
    apart("tree of the workspace, a copy, create", &|| {
        let tree = call(nr::OPEN_TREE, &[AT_FDCWD, text("."), 1])?;
        call(nr::OPENAT, &[tree, text("hooks/made"), o::RDWR | o::CREAT, 0o644])
    });
    apart("tree of the hooks, a copy, mkdir", &|| {
        let tree = call(nr::OPEN_TREE, &[AT_FDCWD, text("hooks"), 1])?;
        call(nr::MKDIRAT, &[tree, text("made"), 0o755])
    });
    // With everything that is mounted beneath.
    const RECURSIVE: i64 = 0x8001;
    for (what, directory) in [("the workspace", "."), ("the hooks", "hooks"), ("the parent", "..")] {
        let top = if directory == "hooks" { String::new() } else { format!("{}hooks/", if directory == ".." { "ws/" } else { "" }) };
        let (made, old) = (text(format!("{top}made")), text(format!("{top}old")));
        let tree = || call(nr::OPEN_TREE, &[AT_FDCWD, text(directory), RECURSIVE]);
        apart(&format!("all of {what}, create"), &|| call(nr::OPENAT, &[tree()?, made, o::RDWR | o::CREAT, 0o644]));
        apart(&format!("all of {what}, write"), &|| call(nr::OPENAT, &[tree()?, old, o::RDWR | o::TRUNC, 0]));
        apart(&format!("all of {what}, mkdir"), &|| call(nr::MKDIRAT, &[tree()?, made, 0o755]));
        apart(&format!("all of {what}, chmod"), &|| call(nr::FCHMODAT, &[tree()?, old, 0o777]));
        apart(&format!("all of {what}, times"), &|| call(nr::UTIMENSAT, &[tree()?, old, 0, 0]));
        apart(&format!("all of {what}, unlink"), &|| call(nr::UNLINKAT, &[tree()?, old, 0]));
        apart(&format!("all of {what}, link"), &|| call(nr::LINKAT, &[tree()?, old, AT_FDCWD, text("out/away"), 0]));
        apart(&format!("all of {what}, entered, create"), &|| {
            call(nr::FCHDIR, &[tree()?])?;
            call(nr::OPENAT, &[AT_FDCWD, made, o::RDWR | o::CREAT, 0o644])
        });
        apart(&format!("all of {what}, as root, create"), &|| {
            call(nr::FCHDIR, &[tree()?])?;
            call(nr::CHROOT, &[text(".")])?;
            let absolute = text(format!("/{}", sys::string(made)));
            call(nr::OPENAT, &[AT_FDCWD, absolute, o::RDWR | o::CREAT, 0o644])
        });
    }
    apart("tree moved", &|| {
        let tree = call(nr::OPEN_TREE, &[AT_FDCWD, text("secret"), 1])?;
        call(nr::MOVE_MOUNT, &[tree, text(""), AT_FDCWD, text("out/d"), 4])?;
        sys::open("out/d/key", o::RDONLY, 0)
    });
    apart("changed root", &|| {
        call(nr::CHROOT, &[text("secret")])?;
        sys::open("/key", o::RDONLY, 0)
    });
    apart("changed root, create", &|| {
        call(nr::CHROOT, &[text("hooks")])?;
        sys::open("/made", o::RDWR | o::CREAT, 0o644)
    });
    apart("changed root, metadata", &|| {
        call(nr::CHROOT, &[text("hooks")])?;
        call(nr::CHMOD, &[text("/old"), 0o777])
    });
    apart("changed root, up again", &|| {
        let top = sys::open(".", o::PATH, 0)?;
        call(nr::CHROOT, &[text("out")])?;
        call(nr::OPENAT, &[top, text("secret/key"), o::RDONLY, 0])
    });
    apart("changed root, link", &|| {
        let _ = call(nr::SYMLINK, &[text("/../../secret/key"), text("out/up")]);
        call(nr::CHROOT, &[text("out")])?;
        sys::open("/up", o::RDONLY, 0)
    });
    apart("setuid in a namespace", &|| {
        call(nr::SETUID, &[0])?;
        sys::open("secret/key", o::RDONLY, 0)
    });
    apart("device in a namespace", &|| call(nr::MKNOD, &[text("hooks/made"), 0o020_666, 0x103]));
}

fn own(number: i64) -> i64 {
    call(number, &[]).unwrap_or(0)
}

/// Other ways to send to a socket by its path.
pub fn datagrams() {
    let (address, length) = conf_sockets::address("secret/datagram");
    let part = [at("through".as_bytes()), 7];
    let message = [at(&address[..]), length, at(&part), 1, 0, 0, 0];
    for (what, kind) in [("stream", 1), ("datagram", 2), ("raw", 3), ("seqpacket", 5)] {
        tried(&format!("{what}, sendto"), || {
            let fd = call(nr::SOCKET, &[1, kind, 0])?;
            call(nr::SENDTO, &[fd, part[0], 7, 0, at(&address[..]), length])
        });
        tried(&format!("{what}, sendmsg"), || {
            let fd = call(nr::SOCKET, &[1, kind, 0])?;
            call(nr::SENDMSG, &[fd, at(&message), 0])
        });
        tried(&format!("{what}, connect"), || {
            let fd = call(nr::SOCKET, &[1, kind, 0])?;
            call(nr::CONNECT, &[fd, at(&address[..]), length])
        });
        tried(&format!("{what}, pair"), || {
            let mut pair = [0i32; 2];
            call(nr::SOCKETPAIR, &[1, kind, 0, into(&mut pair)])?;
            call(nr::SENDMSG, &[pair[0].into(), at(&message), 0])
        });
        tried(&format!("{what}, sendmmsg"), || {
            let fd = call(nr::SOCKET, &[1, kind, 0])?;
            let many = [message[0], message[1], message[2], message[3], 0, 0, 0, 0];
            call(307, &[fd, at(&many), 1, 0])
        });
    }
    for (what, path) in [
        ("by its path", "secret/stream".to_owned()), ("through a link", "to-secret/stream".to_owned()),
        ("by cwd", "/proc/self/cwd/secret/stream".to_owned()),
    ] {
        tried(&format!("connect {what}"), || conf_sockets::connect(conf_sockets::socket(1), &path));
    }
    tried("connect by a descriptor", || {
        let fd = sys::open("secret/stream", o::PATH, 0)?;
        conf_sockets::connect(conf_sockets::socket(1), &format!("/proc/self/fd/{fd}"))
    });
    tried("connect with MSG_FASTOPEN", || {
        let fd = conf_sockets::socket(1);
        let (address, length) = conf_sockets::address("secret/stream");
        call(nr::SENDTO, &[fd, part[0], 7, 0x2000_0000, at(&address[..]), length])
    });
}

/// Sockets of others without a path, and ports.
pub fn outside() {
    for (what, kind) in [("stream", 1), ("seqpacket", 5)] {
        tried(&format!("abstract {what}"), || conf_sockets::connect(conf_sockets::socket(kind), "\0polc-guard-outside"));
    }
    let port = std::env::var("POLC_GUARD_PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(1u16);
    for (what, flags) in [("blocking", 0), ("at once", o::NONBLOCK)] {
        tried(&format!("port, {what}"), || {
            let address = conf_sockets::loopback(port);
            let fd = call(nr::SOCKET, &[2, 1 | flags, 0])?;
            match call(nr::CONNECT, &[fd, at(&address), 16]) {
                // No layer refused it: the connection is in progress.
                Err(115) => Ok(0),
                answer => answer,
            }
        });
    }
}

/// All processes that are not of this program's family. The supervisor is among them.
fn others() -> Vec<i64> {
    let me = i64::from(std::process::id());
    (1..65536).filter(|p| *p != me && call(nr::KILL, &[*p, 0]) != Err(3)).collect()
}

/// Only in a process namespace that the test made. Otherwise an attack that succeeds ends processes of the machine.
pub fn supervisor() {
    let others = others();
    if others.len() > 12 || std::env::var_os("POLC_GUARD_APART").is_none() {
        return print("not in a process namespace of its own");
    }
    print(&format!("others that are seen: {}", others.len()));
    for pid in &others {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let mut done = vec![];
        let mut tried = |what: &'static str, answer: Answer| {
            if let Ok(fd) = answer {
                done.push(format!("{what} {fd}"));
            }
        };
        // PTRACE_ATTACH and PTRACE_SEIZE.
        tried("attached", call(nr::PTRACE, &[16, *pid, 0, 0]));
        tried("seized", call(nr::PTRACE, &[0x4206, *pid, 0, 0]));
        for file in ["mem", "fd/0", "fd/3", "fd/4", "fd/5", "fd/6", "fd/7", "fd/8", "environ", "maps", "syscall"] {
            tried(file, sys::open(&format!("/proc/{pid}/{file}"), o::RDWR, 0));
        }
        for (file, words) in [("oom_score_adj", "1000"), ("comm", "other"), ("setgroups", "deny")] {
            let answer = sys::open(&format!("/proc/{pid}/{file}"), o::WRONLY, 0);
            let written = answer.and_then(|fd| sys::write(fd, words.as_bytes()));
            tried(file, written);
        }
        if let Ok(fd) = call(nr::PIDFD_OPEN, &[*pid, 0]) {
            for number in 0..32 {
                tried("descriptor", call(nr::PIDFD_GETFD, &[fd, number, 0]));
            }
        }
        let part = [at("x".as_bytes()), 1];
        tried("memory", call(nr::PROCESS_VM_WRITEV, &[*pid, at(&part), 1, at(&part), 1, 0]));
        let limit = [0u64, 0];
        tried("limit", call(302, &[*pid, 7, at(&limit), 0]));
        for signal in [19, 9, 15, 11, 6, 2, 1] {
            tried("signal", call(nr::KILL, &[*pid, signal]));
        }
        print(&format!("{}: {done:?}", name.trim()));
    }
    for signal in [15, 2, 1, 10, 12, 9] {
        told("signal to its parent", call(nr::KILL, &[call(nr::GETPPID, &[]).unwrap_or(0), signal]));
    }
    // The group is the program's own, so a signal to it also reaches the sender.
    sys::disposition(15, true);
    told("signal to all", call(nr::KILL, &[-1, 15]));
}

/// A listener of the program's own. It would see the calls first.
pub fn listener() {
    #[repr(C)]
    struct Program {
        length: u16,
        code: u64,
    }
    // The listener gets every call, or every call is allowed.
    for (what, value) in [("to its own listener", 0x7fc0_0000u64), ("allowed", 0x7fff_0000), ("traced", 0x7ff0_0000)] {
        tried(&format!("filter, {what}"), || {
            let code = [0x06u64 | (value << 32)];
            let program = Program { length: 1, code: at(&code) as u64 };
            let flags = if value == 0x7fc0_0000 { 8 } else { 0 };
            // PR_SET_NO_NEW_PRIVS.
            let _ = call(nr::PRCTL, &[38, 1, 0, 0, 0]);
            let _ = call(nr::ALARM, &[5]);
            let loaded = call(nr::SECCOMP, &[1, flags, at(&program)]);
            if flags == 8 {
                return loaded;
            }
            loaded?;
            sys::open("secret/key", o::RDONLY, 0).or(sys::open("hooks/made", o::RDWR | o::CREAT, 0o644))
        });
    }
    tried("not dumpable, read", || {
        let _ = call(nr::PRCTL, &[4, 0, 0, 0, 0]);
        sys::open("secret/key", o::RDONLY, 0)
    });
    tried("not dumpable, create", || {
        let _ = call(nr::PRCTL, &[4, 0, 0, 0, 0]);
        sys::open("hooks/made", o::RDWR | o::CREAT, 0o644)
    });
    let mut open_ones = vec![];
    for fd in 3..1024 {
        if call(nr::FCNTL, &[fd, 1]).is_ok() {
            open_ones.push(fd);
        }
    }
    print(&format!("descriptors that were left open: {open_ones:?}"));
}
