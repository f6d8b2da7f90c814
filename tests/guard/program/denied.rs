//! Calls at names that the policy denies: every call, by every way to name the object.
//!
//! Without polc, the objects are made again before each call, and the answer says what the call would do.

use crate::conf::fill;
use crate::conf_sockets;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, Answer, at, call, into, nr, o,
    text,
};
use crate::tell::print;
use std::sync::atomic::{AtomicBool, Ordering};

/// The objects that the policy denies. Some exist, some do not.
const OBJECTS: &[&str] = &[
    "secret", "secret/key", "secret/new", "secret/deep/new", ".env", "sub/.env", "sub/there/.env", "new.key", "sub/old.key",
    "hooks", "hooks/old", "hooks/new", "sub/hooks", "config",
];

/// A descriptor of a directory, and a path.
type Name = (i64, i64);

type Attempt = (&'static str, fn(Name) -> Answer);

/// Makes the objects in the current directory. The files that may not be read hold these words.
pub fn fixture(words: &str) {
    for directory in ["secret", "secret/deep", "hooks", "sub", "sub/there", "out", "out/d"] {
        let _ = call(nr::MKDIR, &[text(directory), 0o755]);
    }
    for file in ["secret/key", ".env", "sub/there/.env", "sub/old.key"] {
        fill(file, words);
    }
    for file in ["hooks/old", "hooks/key", "config", "out/f", "out/g"] {
        fill(file, "plain");
    }
    for file in ["hooks/old", "config", "secret/key"] {
        let _ = call(nr::SETXATTR, &[text(file), text("user.there"), at("x".as_bytes()), 1, 0]);
    }
    for (to, name) in [("secret", "to-secret"), ("hooks", "to-hooks"), (".", "to-here"), ("sub", "to-sub")] {
        let _ = call(nr::SYMLINK, &[text(to), text(name)]);
    }
}

fn clear() {
    for entry in std::fs::read_dir(".").into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            drop(std::fs::remove_dir_all(path));
        } else {
            drop(std::fs::remove_file(path));
        }
    }
}

/// The ways to name an object.
fn ways(object: &str) -> Vec<(&'static str, Name)> {
    let here = std::env::current_dir().map_or_else(|e| e.to_string(), |d| d.display().to_string());
    let (parent, last) = object.rsplit_once('/').unwrap_or((".", object));
    let mut ways = vec![
        ("relative", (AT_FDCWD, text(object))),
        ("absolute", (AT_FDCWD, text(format!("{here}/{object}")))),
        ("dots", (AT_FDCWD, text(format!("out/..//./{object}")))),
        ("link", (AT_FDCWD, text(format!("to-here/{object}")))),
        ("cwd", (AT_FDCWD, text(format!("/proc/self/cwd/{object}")))),
        ("root", (AT_FDCWD, text(format!("/proc/thread-self/root{here}/{object}")))),
    ];
    for first in ["secret", "hooks", "sub"] {
        if let Some(rest) = object.strip_prefix(first).filter(|r| r.starts_with('/')) {
            ways.push(("link to its directory", (AT_FDCWD, text(format!("to-{first}{rest}")))));
        }
    }
    if let Ok(directory) = sys::open(parent, o::PATH | o::DIRECTORY, 0) {
        ways.push(("descriptor", (directory, text(last))));
        ways.push(("descriptor by /proc", (AT_FDCWD, text(format!("/proc/self/fd/{directory}/{last}")))));
    }
    ways
}

fn openat(name: Name, flags: i64) -> Answer {
    let answer = call(nr::OPENAT, &[name.0, name.1, flags, 0o644]);
    read_out(answer);
    answer
}

/// Prints a line, once, if a descriptor lets the program read a secret.
pub fn read_out(answer: Answer) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Ok(fd @ 3..) = answer {
        if sys::read(fd).is_ok_and(|b| b.starts_with(b"SECRET")) && !TOLD.swap(true, Ordering::Relaxed) {
            print("LEAK: a secret was read");
        }
        sys::close(fd);
    }
}

fn openat2(name: Name, flags: i64, resolve: u64) -> Answer {
    let mode = if flags & (o::CREAT | o::TMPFILE & !o::DIRECTORY) != 0 { 0o644 } else { 0 };
    let how = [flags as u64, mode, resolve];
    let answer = call(nr::OPENAT2, &[name.0, name.1, at(&how), 24]);
    read_out(answer);
    answer
}

/// Opens the object with these flags, and does something with the descriptor.
fn with(name: Name, flags: i64, work: impl Fn(i64) -> Answer) -> Answer {
    let fd = call(nr::OPENAT, &[name.0, name.1, flags, 0])?;
    let answer = work(fd);
    sys::close(fd);
    answer
}

/// The path of one of this process's descriptors in procfs.
fn again(fd: i64) -> i64 {
    text(format!("/proc/self/fd/{fd}"))
}

fn renamed(from: Name, to: Name, flags: i64) -> Answer {
    call(nr::RENAMEAT2, &[from.0, from.1, to.0, to.1, flags])
}

fn out(name: &str) -> Name {
    (AT_FDCWD, text(format!("out/{name}")))
}

/// Calls that read.
const READS: &[Attempt] = &[
    ("open, read", |n| openat(n, o::RDONLY)),
    ("open, read at once", |n| openat(n, o::RDONLY | o::NONBLOCK | o::CLOEXEC)),
    ("openat2, read", |n| openat2(n, o::RDONLY, 0)),
    ("open, again by /proc", |n| with(n, o::PATH, |fd| openat((AT_FDCWD, again(fd)), o::RDONLY))),
];

/// Calls that change contents.
const EDITS: &[Attempt] = &[
    ("open, write", |n| openat(n, o::WRONLY)),
    ("open, both", |n| openat(n, o::RDWR)),
    ("open, neither", |n| openat(n, 3)),
    ("open, append", |n| openat(n, o::WRONLY | o::APPEND)),
    ("open, truncate", |n| openat(n, o::WRONLY | o::TRUNC)),
    ("open, read and truncate", |n| openat(n, o::RDONLY | o::TRUNC)),
    ("open, create", |n| openat(n, o::WRONLY | o::CREAT)),
    ("open, create and truncate", |n| openat(n, o::WRONLY | o::CREAT | o::TRUNC)),
    ("open, create exclusively", |n| openat(n, o::RDWR | o::CREAT | o::EXCL)),
    ("open, create, not follow", |n| openat(n, o::RDWR | o::CREAT | o::NOFOLLOW)),
    ("open, nameless in it", |n| openat(n, o::RDWR | o::TMPFILE)),
    ("openat2, write", |n| openat2(n, o::WRONLY, 0)),
    ("openat2, create", |n| openat2(n, o::RDWR | o::CREAT, 0)),
    ("openat2, create, no links", |n| openat2(n, o::RDWR | o::CREAT | o::EXCL, 4)),
    ("openat2, nameless", |n| openat2(n, o::RDWR | o::TMPFILE, 0)),
    ("write, again by /proc", |n| with(n, o::PATH, |fd| openat((AT_FDCWD, again(fd)), o::RDWR))),
    ("write, a reader again", |n| with(n, o::RDONLY, |fd| openat((AT_FDCWD, again(fd)), o::WRONLY))),
    ("write, a reader by /dev", |n| with(n, o::RDONLY, |fd| openat((AT_FDCWD, text(format!("/dev/fd/{fd}"))), o::WRONLY | o::TRUNC))),
    ("truncate, again by /proc", |n| with(n, o::PATH, |fd| call(nr::TRUNCATE, &[again(fd), 0]))),
    ("creat", |n| plain(n, |p| call(nr::CREAT, &[p, 0o644]))),
    ("open(2), create", |n| plain(n, |p| call(nr::OPEN, &[p, o::RDWR | o::CREAT, 0o644]))),
    ("truncate", |n| plain(n, |p| call(nr::TRUNCATE, &[p, 0]))),
];

/// A call that takes no descriptor. If the name has one, the answer is that there is nothing to try.
fn plain(name: Name, work: impl Fn(i64) -> Answer) -> Answer {
    if name.0 == AT_FDCWD { work(name.1) } else { Err(0) }
}

/// Calls that make, remove and rename.
const NAMES: &[Attempt] = &[
    ("mkdir", |n| call(nr::MKDIRAT, &[n.0, n.1, 0o755])),
    ("mkdir(2)", |n| plain(n, |p| call(nr::MKDIR, &[p, 0o755]))),
    ("fifo", |n| call(nr::MKNODAT, &[n.0, n.1, 0o010_644, 0])),
    ("file by mknod", |n| call(nr::MKNODAT, &[n.0, n.1, 0o100_644, 0])),
    ("mknod(2) of a socket", |n| plain(n, |p| call(nr::MKNOD, &[p, 0o140_644, 0]))),
    ("whiteout", |n| call(nr::MKNODAT, &[n.0, n.1, 0o020_000, 0])),
    ("symlink", |n| call(nr::SYMLINKAT, &[text("out/f"), n.0, n.1])),
    ("symlink(2)", |n| plain(n, |p| call(nr::SYMLINK, &[text("out/f"), p]))),
    ("link there", |n| call(nr::LINKAT, &[AT_FDCWD, text("out/f"), n.0, n.1, 0])),
    ("link(2) there", |n| plain(n, |p| call(nr::LINK, &[text("out/f"), p]))),
    ("link away", |n| call(nr::LINKAT, &[n.0, n.1, AT_FDCWD, text("out/away"), 0])),
    ("link away, followed", |n| call(nr::LINKAT, &[n.0, n.1, AT_FDCWD, text("out/away2"), AT_SYMLINK_FOLLOW])),
    ("link away by a descriptor", |n| with(n, o::PATH, |fd| call(nr::LINKAT, &[fd, text(""), AT_FDCWD, text("out/away3"), AT_EMPTY_PATH]))),
    ("link away by /proc", |n| with(n, o::PATH, |fd| call(nr::LINKAT, &[AT_FDCWD, again(fd), AT_FDCWD, text("out/away4"), AT_SYMLINK_FOLLOW]))),
    ("nameless linked there", |n| nameless(n, false)),
    ("nameless linked there by its descriptor", |n| nameless(n, true)),
    ("unlink", |n| call(nr::UNLINKAT, &[n.0, n.1, 0])),
    ("unlink(2)", |n| plain(n, |p| call(nr::UNLINK, &[p]))),
    ("rmdir", |n| call(nr::UNLINKAT, &[n.0, n.1, AT_REMOVEDIR])),
    ("rmdir(2)", |n| plain(n, |p| call(nr::RMDIR, &[p]))),
    ("rename away", |n| renamed(n, out("away5"), 0)),
    ("rename away over a file", |n| renamed(n, out("g"), 0)),
    ("rename there", |n| renamed(out("f"), n, 0)),
    ("rename(2) there", |n| plain(n, |p| call(nr::RENAME, &[text("out/f"), p]))),
    ("rename(2) away", |n| plain(n, |p| call(nr::RENAME, &[p, text("out/away6")]))),
    ("rename a directory there", |n| renamed(out("d"), n, 0)),
    ("renameat there", |n| call(nr::RENAMEAT, &[AT_FDCWD, text("out/f"), n.0, n.1])),
    ("rename there, not replacing", |n| renamed(out("f"), n, 1)),
    ("exchange with it", |n| renamed(out("f"), n, 2)),
    ("exchange from it", |n| renamed(n, out("f"), 2)),
    ("exchange with a directory", |n| renamed(n, out("d"), 2)),
    ("rename away, whiteout", |n| renamed(n, out("away7"), 4)),
    ("bind", |n| plain(n, bind)),
];

fn nameless(name: Name, by_descriptor: bool) -> Answer {
    let fd = sys::open("out", o::TMPFILE | o::RDWR, 0o644)?;
    let answer = if by_descriptor {
        call(nr::LINKAT, &[fd, text(""), name.0, name.1, AT_EMPTY_PATH])
    } else {
        call(nr::LINKAT, &[AT_FDCWD, again(fd), name.0, name.1, AT_SYMLINK_FOLLOW])
    };
    sys::close(fd);
    answer
}

fn bind(path: i64) -> Answer {
    let fd = conf_sockets::socket(1);
    let answer = conf_sockets::bind(fd, &sys::string(path));
    sys::close(fd);
    answer
}

/// Calls on mode, owner, times, attributes.
const METADATA: &[Attempt] = &[
    ("chmod", |n| plain(n, |p| call(nr::CHMOD, &[p, 0o777]))),
    ("fchmodat", |n| call(nr::FCHMODAT, &[n.0, n.1, 0o777])),
    ("fchmodat2", |n| call(nr::FCHMODAT2, &[n.0, n.1, 0o777, AT_SYMLINK_NOFOLLOW])),
    ("fchmodat2 of a descriptor", |n| with(n, o::PATH, |fd| call(nr::FCHMODAT2, &[fd, text(""), 0o777, AT_EMPTY_PATH]))),
    ("chmod by /proc", |n| with(n, o::PATH, |fd| call(nr::CHMOD, &[again(fd), 0o777]))),
    ("fchmod", |n| with(n, o::RDONLY, |fd| call(nr::FCHMOD, &[fd, 0o777]))),
    ("chown", |n| plain(n, |p| call(nr::CHOWN, &[p, own(), own()]))),
    ("lchown", |n| plain(n, |p| call(nr::LCHOWN, &[p, own(), own()]))),
    ("fchownat", |n| call(nr::FCHOWNAT, &[n.0, n.1, own(), own(), 0])),
    ("fchownat of a descriptor", |n| with(n, o::PATH, |fd| call(nr::FCHOWNAT, &[fd, text(""), own(), own(), AT_EMPTY_PATH]))),
    ("fchown", |n| with(n, o::RDONLY, |fd| call(nr::FCHOWN, &[fd, own(), own()]))),
    ("utimensat", |n| call(nr::UTIMENSAT, &[n.0, n.1, at(&LONG_AGO), 0])),
    ("utimensat, now", |n| call(nr::UTIMENSAT, &[n.0, n.1, 0, AT_SYMLINK_NOFOLLOW])),
    ("utimensat of a descriptor", |n| with(n, o::PATH, |fd| call(nr::UTIMENSAT, &[fd, text(""), at(&LONG_AGO), AT_EMPTY_PATH]))),
    ("futimens", |n| with(n, o::RDONLY, |fd| call(nr::UTIMENSAT, &[fd, 0, at(&LONG_AGO), 0]))),
    ("utime", |n| plain(n, |p| call(nr::UTIME, &[p, at(&LONG_AGO)]))),
    ("utimes", |n| plain(n, |p| call(nr::UTIMES, &[p, at(&LONG_AGO)]))),
    ("futimesat", |n| call(nr::FUTIMESAT, &[n.0, n.1, at(&LONG_AGO)])),
    ("futimesat of a descriptor", |n| with(n, o::RDONLY, |fd| call(nr::FUTIMESAT, &[fd, 0, at(&LONG_AGO)]))),
    ("setxattr", |n| plain(n, |p| call(nr::SETXATTR, &[p, text("user.x"), at("x".as_bytes()), 1, 0]))),
    ("lsetxattr", |n| plain(n, |p| call(nr::LSETXATTR, &[p, text("user.x"), at("x".as_bytes()), 1, 0]))),
    ("fsetxattr", |n| with(n, o::RDONLY, |fd| call(nr::FSETXATTR, &[fd, text("user.x"), at("x".as_bytes()), 1, 0]))),
    ("setxattr by /proc", |n| with(n, o::PATH, |fd| call(nr::SETXATTR, &[again(fd), text("user.x"), at("x".as_bytes()), 1, 0]))),
    ("removexattr", |n| plain(n, |p| call(nr::REMOVEXATTR, &[p, text("user.there")]))),
    ("fremovexattr", |n| with(n, o::RDONLY, |fd| call(nr::FREMOVEXATTR, &[fd, text("user.there")]))),
    ("setxattrat", |n| setxattrat(n, 0)),
    ("setxattrat of a descriptor", |n| with(n, o::PATH, |fd| setxattrat((fd, text("")), AT_EMPTY_PATH))),
    ("removexattrat", |n| call(nr::REMOVEXATTRAT, &[n.0, n.1, 0, text("user.there")])),
    ("file_setattr", |n| call(nr::FILE_SETATTR, &[n.0, n.1, at(&[0x80u64, 0, 0]), 24, 0])),
    ("flags", |n| with(n, o::RDONLY, |fd| set_flags(fd, 0x4008_6602))),
    ("flags, upper half set", |n| with(n, o::RDONLY, |fd| set_flags(fd, 0x4008_6602 | (1 << 32)))),
    ("attributes by ioctl", |n| with(n, o::RDONLY, set_attributes)),
];

static LONG_AGO: [i64; 4] = [1000, 0, 2000, 0];

fn own() -> i64 {
    call(nr::GETUID, &[]).unwrap_or(0)
}

fn setxattrat(name: Name, flags: i64) -> Answer {
    let words = "x".as_bytes();
    let value = [words.as_ptr() as u64, 1];
    call(nr::SETXATTRAT, &[name.0, name.1, flags, text("user.x"), at(&value), 16])
}

fn set_flags(fd: i64, command: i64) -> Answer {
    let mut flags = 0u64;
    call(nr::IOCTL, &[fd, 0x8008_6601, into(&mut flags)])?;
    flags |= 0x40;
    call(nr::IOCTL, &[fd, command, at(&flags)])
}

/// FS_IOC_FSSETXATTR, with the flag "no dump".
fn set_attributes(fd: i64) -> Answer {
    let mut attributes = [0u32; 7];
    call(nr::IOCTL, &[fd, 0x801c_581f, into(&mut attributes)])?;
    attributes[0] |= 0x80;
    call(nr::IOCTL, &[fd, 0x401c_5820, at(&attributes)])
}

/// Tries all ways. Without polc, each call finds the objects unchanged, and there is only one way.
pub fn run(bare: bool) -> i32 {
    let groups: [(&str, &[Attempt]); 4] = [("read", READS), ("edit", EDITS), ("name", NAMES), ("metadata", METADATA)];
    let ready: Vec<_> = OBJECTS.iter().map(|object| if bare { vec![] } else { ways(object) }).collect();
    for (object, ready) in OBJECTS.iter().zip(ready) {
        let readable = object.starts_with("hooks") || object.ends_with("hooks") || *object == "config";
        for (group, attempts) in groups {
            if group == "read" && readable {
                continue;
            }
            for (what, attempt) in attempts {
                let tell = |way: &str, answer: Answer| {
                    let answer = answer.map_or_else(sys::error, |_| "done".to_owned());
                    print(&format!("{group}, {object}, {what}, {way} -> {answer}"));
                };
                if bare {
                    clear();
                    fixture("SECRET");
                    tell("bare", attempt((AT_FDCWD, text(*object))));
                }
                for (way, name) in &ready {
                    tell(way, attempt(*name));
                }
            }
        }
    }
    0
}
