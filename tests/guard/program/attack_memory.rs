//! Another thread changes the memory that a call's pointers lead to, between an allowed name and a denied one.
//!
//! The names differ in one byte, so each read sees one or the other.

use crate::conf_sockets;
use crate::denied::read_out;
use crate::sys::{self, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, Answer, at, call, nr, o, text};
use crate::tell::print;
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes the call `count` times while another thread keeps changing the byte at `place`. The line says how often the
/// call worked. "Never" or "always" would mean that there was no race.
pub fn race(what: &str, count: usize, place: i64, bytes: [u8; 2], work: impl Fn(usize) -> Answer) {
    let stop = AtomicBool::new(false);
    let mut done = 0;
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut n = 0u32;
            while !stop.load(Ordering::Relaxed) {
                sys::poke(place, bytes[(n & 1) as usize]);
                n = n.wrapping_add(1);
                // This keeps the two threads out of step.
                for _ in 0..(n.wrapping_mul(2_654_435_761) >> 22) {
                    std::hint::spin_loop();
                }
            }
        });
        for i in 0..count {
            done += usize::from(work(i).is_ok());
        }
        stop.store(true, Ordering::Relaxed);
    });
    print(&format!("{what}: {done} of {count}"));
}

/// `secreA` and `hookA` are allowed. `secret` and `hooks` are denied.
pub fn fixture() {
    for directory in ["secreA", "hookA"] {
        let _ = call(nr::MKDIR, &[text(directory), 0o755]);
        crate::conf::fill(&format!("{directory}/old"), "plain");
        crate::conf::fill(&format!("{directory}/key"), "plain");
    }
    crate::conf::fill("out/source", "plain");
}

/// A denied directory, and the allowed one whose name differs in the last byte.
#[derive(Clone, Copy)]
pub struct Pair {
    denied: &'static str,
    allowed: &'static str,
    bytes: [u8; 2],
}

/// Nothing in the first denied directory may be read or written. Files in the second may be read.
pub const PAIRS: [Pair; 2] = [
    Pair { denied: "secret", allowed: "secreA", bytes: *b"tA" },
    Pair { denied: "hooks", allowed: "hookA", bytes: *b"sA" },
];

impl Pair {
    /// A path in the directory, and the byte to change.
    fn flipped(self, name: &str) -> (i64, i64) {
        let address = text(format!("{}/{name}", self.denied));
        (address, address + self.denied.len() as i64 - 1)
    }

    /// A path in the allowed directory.
    fn allowed(self, name: &str) -> i64 {
        text(format!("{}/{name}", self.allowed))
    }

    fn race(self, what: &str, count: usize, place: i64, work: impl Fn(usize) -> Answer) {
        race(&format!("{}, {what}", self.denied), count, place, self.bytes, work);
    }
}

pub fn opens(count: usize, pair: Pair) {
    let (new, place) = pair.flipped("made");
    let removed = pair.allowed("made");
    pair.race("create", count, place, |_| {
        let answer = call(nr::OPENAT, &[AT_FDCWD, new, o::WRONLY | o::CREAT, 0o644]);
        if let Ok(fd) = answer {
            let _ = sys::write(fd, b"made");
            sys::close(fd);
        }
        let _ = call(nr::UNLINKAT, &[AT_FDCWD, removed, 0]);
        answer
    });
    pair.race("create exclusively", count / 4, place, |_| {
        let answer = call(nr::OPENAT, &[AT_FDCWD, new, o::WRONLY | o::CREAT | o::EXCL, 0o644]);
        answer.map(sys::close).ok();
        let _ = call(nr::UNLINKAT, &[AT_FDCWD, removed, 0]);
        answer
    });
    let (old, place) = pair.flipped("key");
    pair.race("read", count, place, |_| {
        let answer = call(nr::OPENAT, &[AT_FDCWD, old, o::RDONLY, 0]);
        read_out(answer);
        answer
    });
    pair.race("write", count / 4, place, |_| {
        let answer = call(nr::OPENAT, &[AT_FDCWD, old, o::WRONLY | o::TRUNC, 0]);
        if let Ok(fd) = answer {
            let _ = sys::write(fd, b"changed");
            sys::close(fd);
        }
        answer
    });
    pair.race("truncate", count / 4, place, |_| call(nr::TRUNCATE, &[old, 3]));
    // The structure of openat2. The flags change from reading to making, and the path stays denied.
    let how = [o::RDONLY as u64, 0, 0];
    let hook = text("hooks/made");
    // O_WRONLY and O_CREAT are in the first byte. A mode without O_CREAT is an error, so the mode alternates too.
    race("flags of openat2", count / 4, at(&how), [0, 0o101], |i| {
        sys::poke(at(&how) + 8, if i % 2 == 0 { 0o200 } else { 0 });
        let answer = call(nr::OPENAT2, &[AT_FDCWD, hook, at(&how), 24]);
        answer.map(sys::close).ok();
        answer
    });
    let (old, place) = pair.flipped("key");
    let how = [o::RDONLY as u64, 0, 0];
    pair.race("path of openat2", count / 4, place, |_| {
        let answer = call(nr::OPENAT2, &[AT_FDCWD, old, at(&how), 24]);
        read_out(answer);
        answer
    });
}

pub fn names(count: usize, pair: Pair) {
    let (new, place) = pair.flipped("made");
    let removed = pair.allowed("made");
    let undo = || {
        let _ = call(nr::UNLINKAT, &[AT_FDCWD, removed, 0]);
        let _ = call(nr::UNLINKAT, &[AT_FDCWD, removed, 0x200]);
    };
    let source = text("out/source");
    let tries: [(&str, &dyn Fn() -> Answer); 7] = [
        ("mkdir", &|| call(nr::MKDIR, &[new, 0o755])),
        ("mkdirat", &|| call(nr::MKDIRAT, &[AT_FDCWD, new, 0o755])),
        ("mknod", &|| call(nr::MKNOD, &[new, 0o010_644, 0])),
        ("symlink", &|| call(nr::SYMLINK, &[source, new])),
        ("link there", &|| call(nr::LINK, &[source, new])),
        ("nameless linked there", &|| {
            let fd = sys::open("out", o::TMPFILE | o::WRONLY, 0o644)?;
            let answer = call(nr::LINKAT, &[fd, text(""), AT_FDCWD, new, AT_EMPTY_PATH]);
            sys::close(fd);
            answer
        }),
        ("creat", &|| call(nr::CREAT, &[new, 0o644]).inspect(|fd| sys::close(*fd))),
    ];
    for (what, attempt) in tries {
        pair.race(what, count, place, |_| {
            let answer = attempt();
            undo();
            answer
        });
    }
    pair.race("rename there", count, place, |_| {
        let answer = call(nr::RENAME, &[source, new]);
        let _ = call(nr::RENAME, &[removed, source]);
        answer
    });
    let (old, place) = pair.flipped("key");
    let away = text("out/away");
    let back = pair.allowed("key");
    pair.race("rename away", count, place, |_| {
        let answer = call(nr::RENAME, &[old, away]);
        let _ = call(nr::RENAME, &[away, back]);
        answer
    });
    pair.race("link away", count, place, |_| {
        let answer = call(nr::LINKAT, &[AT_FDCWD, old, AT_FDCWD, away, AT_SYMLINK_FOLLOW]);
        read_out(sys::open("out/away", o::RDONLY, 0));
        let _ = call(nr::UNLINK, &[away]);
        answer
    });
    pair.race("exchange", count, place, |_| call(nr::RENAMEAT2, &[AT_FDCWD, old, AT_FDCWD, source, 2]));
    pair.race("unlink", count, place, |_| {
        let answer = call(nr::UNLINK, &[old]);
        crate::conf::fill(&format!("{}/key", pair.allowed), "plain");
        answer
    });
}

pub fn metadata(count: usize, pair: Pair) {
    let (old, place) = pair.flipped("key");
    let times = [1000i64, 0, 2000, 0];
    let value = "x".as_bytes();
    let tries: [(&str, &dyn Fn() -> Answer); 7] = [
        ("chmod", &|| call(nr::CHMOD, &[old, 0o755])),
        ("fchmodat2", &|| call(nr::FCHMODAT2, &[AT_FDCWD, old, 0o755, 0])),
        ("chown", &|| call(nr::CHOWN, &[old, -1, call(nr::GETUID, &[]).unwrap_or(0)])),
        ("utimensat", &|| call(nr::UTIMENSAT, &[AT_FDCWD, old, at(&times), 0])),
        ("utimes", &|| call(nr::UTIMES, &[old, at(&times)])),
        ("setxattr", &|| call(nr::SETXATTR, &[old, text("user.x"), at(value), 1, 0])),
        ("removexattr", &|| {
            let _ = call(nr::SETXATTR, &[pair.allowed("key"), text("user.there"), at(value), 1, 0]);
            call(nr::REMOVEXATTR, &[old, text("user.there")])
        }),
    ];
    for (what, attempt) in tries {
        pair.race(what, count, place, |_| attempt());
    }
}

/// The address of connect and bind. The path begins at the third byte.
pub fn sockets(count: usize) {
    let pair = PAIRS[0];
    let server = conf_sockets::socket(1);
    let _ = conf_sockets::bind(server, "secreA/sock");
    let _ = call(nr::LISTEN, &[server, 64]);
    let (address, length) = conf_sockets::address("secret/sock");
    let place = at(&address[..]) + 7;
    pair.race("connect", count, place, |_| {
        let fd = conf_sockets::socket(1);
        let answer = call(nr::CONNECT, &[fd, at(&address[..]), length]);
        if answer.is_ok() {
            let _ = call(nr::ACCEPT, &[server, 0, 0]).inspect(|a| sys::close(*a));
        }
        sys::close(fd);
        answer
    });
    let (address, length) = conf_sockets::address("secret/made");
    let place = at(&address[..]) + 7;
    pair.race("bind", count, place, |_| {
        let fd = conf_sockets::socket(1);
        let answer = call(nr::BIND, &[fd, at(&address[..]), length]);
        let _ = call(nr::UNLINK, &[pair.allowed("made")]);
        sys::close(fd);
        answer
    });
}

/// A number that means one directory, and then another.
pub fn descriptors(count: usize, pair: Pair) {
    let (open, closed) = (sys::open(pair.allowed, o::PATH, 0).unwrap_or(-1), sys::open(pair.denied, o::PATH, 0).unwrap_or(-1));
    let shared = call(nr::DUP, &[open]).unwrap_or(-1);
    let stop = AtomicBool::new(false);
    let (made, key) = (text("made"), text("key"));
    let (mut done, mut read) = (0, 0);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for from in [closed, open] {
                    let _ = call(nr::DUP2, &[from, shared]);
                }
            }
        });
        for _ in 0..count {
            let answer = call(nr::OPENAT, &[shared, made, o::WRONLY | o::CREAT | o::EXCL, 0o644]);
            answer.map(sys::close).ok();
            done += usize::from(answer.is_ok());
            let _ = call(nr::UNLINKAT, &[open, made, 0]);
            let answer = call(nr::OPENAT, &[shared, key, o::RDONLY, 0]);
            read_out(answer);
            read += usize::from(answer.is_ok());
        }
        stop.store(true, Ordering::Relaxed);
    });
    print(&format!("{}, descriptor, create: {done} of {count}", pair.denied));
    print(&format!("{}, descriptor, read: {read} of {count}", pair.denied));
}

/// A current directory that another thread shares and changes.
pub fn directory(count: usize, pair: Pair) {
    let (open, closed) = (sys::open(pair.allowed, o::PATH, 0).unwrap_or(-1), sys::open(pair.denied, o::PATH, 0).unwrap_or(-1));
    let top = sys::open(".", o::PATH, 0).unwrap_or(-1);
    let stop = AtomicBool::new(false);
    let (made, key) = (text("made"), text("key"));
    let (mut done, mut read) = (0, 0);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = call(nr::FCHDIR, &[closed]);
                let _ = call(nr::FCHDIR, &[open]);
            }
        });
        for _ in 0..count {
            let answer = call(nr::OPENAT, &[AT_FDCWD, made, o::WRONLY | o::CREAT | o::EXCL, 0o644]);
            answer.map(sys::close).ok();
            done += usize::from(answer.is_ok());
            let _ = call(nr::UNLINKAT, &[open, made, 0]);
            let answer = call(nr::OPENAT, &[AT_FDCWD, key, o::RDONLY, 0]);
            read_out(answer);
            read += usize::from(answer.is_ok());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let _ = call(nr::FCHDIR, &[top]);
    print(&format!("{}, directory, create: {done} of {count}", pair.denied));
    print(&format!("{}, directory, read: {read} of {count}", pair.denied));
}

/// Two processes that share the page with the path.
pub fn processes(count: usize, pair: Pair) {
    const SHARED: i64 = 0x21;
    let page = call(nr::MMAP, &[0, 4096, 3, SHARED, -1, 0]).unwrap_or(0);
    for (i, byte) in format!("{}/made\0", pair.denied).bytes().enumerate() {
        sys::poke(page + i as i64, byte);
    }
    let place = page + pair.denied.len() as i64 - 1;
    let other = sys::child(|| {
        let mut n = 0u32;
        loop {
            sys::poke(place, pair.bytes[(n & 1) as usize]);
            n = n.wrapping_add(1);
            for _ in 0..(n.wrapping_mul(2_654_435_761) >> 22) {
                std::hint::spin_loop();
            }
        }
    });
    let mut done = 0;
    for _ in 0..count {
        let answer = call(nr::OPENAT, &[AT_FDCWD, page, o::WRONLY | o::CREAT | o::EXCL, 0o644]);
        answer.map(sys::close).ok();
        done += usize::from(answer.is_ok());
        let _ = call(nr::UNLINK, &[pair.allowed("made")]);
    }
    let _ = call(nr::KILL, &[other, 9]);
    sys::wait(other);
    print(&format!("{}, shared page: {done} of {count}", pair.denied));
    // Two processes with one memory (CLONE_VM). Each has its own descriptors, directory and number.
    let (new, place) = pair.flipped("made");
    pair.race("shared memory", count / 10, place, |_| {
        let status = sys::twin(&|| {
            let answer = call(nr::OPENAT, &[AT_FDCWD, new, o::WRONLY | o::CREAT | o::EXCL, 0o644]);
            answer.map(sys::close).ok();
            i32::from(answer.is_err())
        });
        let _ = call(nr::UNLINK, &[pair.allowed("made")]);
        if status == 0 { Ok(0) } else { Err(status) }
    });
}
