//! Calls on mode, owner, times, attributes.

use crate::conf::fill;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, at, call, into, nr, o, open, text,
};
use crate::tell::Tell;

pub fn chmod(t: &Tell) {
    for (path, mode) in [
        ("f", 0o600), ("f", 0o7777), ("f", 0), ("f", 0o644), ("l", 0o640), ("d", 0o1777), ("d", 0o2755), ("missing", 0o600), ("dangling", 0o600),
        ("a", 0o600), ("p", 0o600), ("none", 0o600), ("", 0o600), ("f/", 0o600), ("d/", 0o755), (".", 0o755), ("ld/..", 0o755),
        ("/dev/null", 0o666),
    ] {
        if path == "/dev/null" {
            continue; // Root's is changed for everybody.
        }
        t.call(&format!("{path:?} {mode:o}"), call(nr::CHMOD, &[text(path), mode]), &["f", path]).ok();
    }
    t.call("fchmodat", call(nr::FCHMODAT, &[AT_FDCWD, text("f"), 0o604]), &["f"]).ok();
    let second = |fd, path: &str, mode, flags| call(nr::FCHMODAT2, &[fd, text(path), mode, flags]);
    t.call("fchmodat2", second(AT_FDCWD, "f", 0o640, 0), &["f"]).ok();
    t.call("fchmodat2, a file not followed", second(AT_FDCWD, "f", 0o600, AT_SYMLINK_NOFOLLOW), &["f"]).ok();
    t.call("fchmodat2, a link not followed", second(AT_FDCWD, "l", 0o600, AT_SYMLINK_NOFOLLOW), &["l"]).ok();
    t.call("fchmodat2, unknown flag", second(AT_FDCWD, "f", 0o600, 1), &["f"]).ok();
    t.call("fchmodat2, the directory", second(AT_FDCWD, "", 0o755, AT_EMPTY_PATH), &["."]).ok();
    for (name, flags) in [("read", o::RDONLY), ("path", o::PATH)] {
        if let Ok(fd) = open("f", flags, 0) {
            t.call(&format!("fchmod of {name}"), call(nr::FCHMOD, &[fd, 0o660]), &["f"]).ok();
            t.call(&format!("fchmodat2 of {name}"), second(fd, "", 0o606, AT_EMPTY_PATH), &["f"]).ok();
            t.call(&format!("fchmodat2 of {name}, without the flag"), second(fd, "", 0o600, 0), &["f"]).ok();
            let again = text(format!("/proc/self/fd/{fd}"));
            t.call(&format!("chmod of {name} by /proc"), call(nr::CHMOD, &[again, 0o622]), &["f"]).ok();
            sys::close(fd);
        }
    }
    t.call("fchmod, closed", call(nr::FCHMOD, &[99, 0o600]), &[]).ok();
    let (end, _) = sys::pipe();
    t.call("fchmod of a pipe", call(nr::FCHMOD, &[end, 0o600]), &[]).ok();
    if let Ok(fd) = call(nr::SOCKET, &[1, 1, 0]) {
        t.call("fchmod of a socket", call(nr::FCHMOD, &[fd, 0o600]), &[]).ok();
    }
    t.call("another's file", call(nr::CHMOD, &[text("/proc/self/status"), 0o600]), &[]).ok();
}

pub fn chown(t: &Tell) {
    let me = call(nr::GETUID, &[]).unwrap_or(0);
    let files = &["f"];
    t.call("nobody changes", call(nr::CHOWN, &[text("f"), -1, -1]), files).ok();
    t.call("to oneself", call(nr::CHOWN, &[text("f"), me, me]), files).ok();
    t.call("to another", call(nr::CHOWN, &[text("f"), 12345, -1]), files).ok();
    t.call("to another group", call(nr::CHOWN, &[text("f"), -1, 12345]), files).ok();
    let _ = call(nr::CHMOD, &[text("f"), 0o6755]);
    t.call("takes setuid away", call(nr::CHOWN, &[text("f"), me, me]), files).ok();
    t.call("through a link", call(nr::CHOWN, &[text("l"), me, -1]), files).ok();
    t.call("of a link", call(nr::LCHOWN, &[text("l"), me, me]), &["l"]).ok();
    t.call("of a dangling link", call(nr::LCHOWN, &[text("dangling"), me, me]), &["dangling"]).ok();
    t.call("dangling", call(nr::CHOWN, &[text("dangling"), me, me]), &[]).ok();
    t.call("missing", call(nr::CHOWN, &[text("missing"), me, me]), &[]).ok();
    let at = |fd, path: &str, flags| call(nr::FCHOWNAT, &[fd, text(path), me, me, flags]);
    t.call("fchownat", at(AT_FDCWD, "d", 0), &["d"]).ok();
    t.call("fchownat of a link", at(AT_FDCWD, "l", AT_SYMLINK_NOFOLLOW), &["l"]).ok();
    t.call("fchownat, unknown flag", at(AT_FDCWD, "f", 1), files).ok();
    for (name, flags) in [("read", o::RDONLY), ("path", o::PATH)] {
        if let Ok(fd) = open("f", flags, 0) {
            t.call(&format!("fchown of {name}"), call(nr::FCHOWN, &[fd, me, me]), files).ok();
            t.call(&format!("fchownat of {name}"), at(fd, "", AT_EMPTY_PATH), files).ok();
            t.call(&format!("fchownat of {name}, without the flag"), at(fd, "", 0), files).ok();
            sys::close(fd);
        }
    }
}

/// The times of the last access and change of a path, without following a link, in seconds.
fn stamps(path: &str) -> String {
    let mut fields = [0u64; 18];
    match call(nr::LSTAT, &[text(path), into(&mut fields)]) {
        // Times from the clock differ from run to run.
        Ok(_) => [(fields[9], fields[10]), (fields[11], fields[12])]
            .map(|(s, n)| if s > 1_000_000_000 { "now".to_owned() } else { format!("{s}.{n}") })
            .join(" "),
        Err(e) => sys::error(e),
    }
}

pub fn times(t: &Tell) {
    const NOW: i64 = (1 << 30) - 1;
    const OMIT: i64 = (1 << 30) - 2;
    let told = |what: &str, answer, path: &str| {
        t.call(what, answer, &[]).ok();
        t.say(&format!("{what}, stamps"), stamps(path));
    };
    let set = |fd, path: &str, times: [i64; 4], flags| call(nr::UTIMENSAT, &[fd, text(path), at(&times), flags]);
    told("utimensat", set(AT_FDCWD, "f", [1000, 5, 2000, 7], 0), "f");
    told("through a link", set(AT_FDCWD, "l", [1001, 5, 2001, 7], 0), "f");
    told("of a link", set(AT_FDCWD, "l", [1002, 5, 2002, 7], AT_SYMLINK_NOFOLLOW), "l");
    told("of a dangling link", set(AT_FDCWD, "dangling", [1002, 5, 2002, 7], AT_SYMLINK_NOFOLLOW), "dangling");
    told("dangling", set(AT_FDCWD, "dangling", [1002, 5, 2002, 7], 0), "dangling");
    told("one left", set(AT_FDCWD, "f", [0, OMIT, 2003, 7], 0), "f");
    told("both left", set(AT_FDCWD, "f", [0, OMIT, 0, OMIT], 0), "f");
    told("both left of what is missing", set(AT_FDCWD, "missing", [0, OMIT, 0, OMIT], 0), "f");
    told("one now", set(AT_FDCWD, "f", [1004, 1, 0, NOW], 0), "f");
    told("wrong nanoseconds", set(AT_FDCWD, "f", [1, 1_000_000_000, 2, 0], 0), "f");
    told("unknown flag", set(AT_FDCWD, "f", [1005, 0, 2005, 0], 1), "f");
    told("directory", set(AT_FDCWD, "d", [1006, 0, 2006, 0], 0), "d");
    told("missing", set(AT_FDCWD, "missing", [1, 0, 2, 0], 0), "missing");
    told("none", call(nr::UTIMENSAT, &[AT_FDCWD, text("f"), 0, 0]), "f");
    if let Ok(fd) = open("f", o::RDONLY, 0) {
        let times = [1007i64, 1, 2007, 2];
        told("of a descriptor", call(nr::UTIMENSAT, &[fd, 0, at(&times), 0]), "f");
        told("of a descriptor, no path", set(fd, "", [1008, 1, 2008, 2], AT_EMPTY_PATH), "f");
        told("of a descriptor, no path, without the flag", set(fd, "", [1009, 1, 2009, 2], 0), "f");
        sys::close(fd);
    }
    if let Ok(fd) = open("f", o::PATH, 0) {
        let times = [1010i64, 1, 2010, 2];
        told("of a path alone", call(nr::UTIMENSAT, &[fd, 0, at(&times), 0]), "f");
        told("of a path alone, no path", set(fd, "", [1011, 1, 2011, 2], AT_EMPTY_PATH), "f");
        sys::close(fd);
    }
    told("neither", call(nr::UTIMENSAT, &[AT_FDCWD, 0, 0, 0]), "f");
    let two = [1012i64, 2012];
    told("utime", call(nr::UTIME, &[text("f"), at(&two)]), "f");
    told("utime, none", call(nr::UTIME, &[text("f"), 0]), "f");
    let four = [1013i64, 5, 2013, 7];
    told("utimes", call(nr::UTIMES, &[text("f"), at(&four)]), "f");
    told("futimesat", call(nr::FUTIMESAT, &[AT_FDCWD, text("d"), at(&four)]), "d");
    let wrong = [1i64, 1_000_000, 2, 0];
    told("utimes, wrong", call(nr::UTIMES, &[text("f"), at(&wrong)]), "f");
    told("wild times", call(nr::UTIMENSAT, &[AT_FDCWD, text("f"), 0x10, 0]), "f");
    let _ = call(nr::CHMOD, &[text("ro"), 0o400]);
    told("read only, own", set(AT_FDCWD, "ro", [1014, 0, 2014, 0], 0), "ro");
}

/// The value of an attribute of a path, after following a link.
fn value(path: &str, name: &str) -> String {
    let mut bytes = [0u8; 256];
    match call(nr::GETXATTR, &[text(path), text(name), into(&mut bytes), 256]) {
        Ok(n) => format!("{:?}", String::from_utf8_lossy(&bytes[..n as usize])),
        Err(e) => sys::error(e),
    }
}

pub fn attributes(t: &Tell) {
    let set = |number, path: &str, name: &str, words: &str, flags| {
        call(number, &[text(path), text(name), at(words.as_bytes()), words.len() as i64, flags])
    };
    let told = |what: &str, answer, path: &str| {
        t.call(what, answer, &[]).ok();
        t.say(&format!("{what}, value"), value(path, "user.x"));
    };
    told("set", set(nr::SETXATTR, "f", "user.x", "one", 0), "f");
    told("through a link", set(nr::SETXATTR, "l", "user.x", "two", 0), "f");
    told("of a link", set(nr::LSETXATTR, "l", "user.x", "three", 0), "f");
    told("not there", set(nr::SETXATTR, "f", "user.x", "four", 1), "f");
    told("there", set(nr::SETXATTR, "f", "user.x", "five", 2), "f");
    told("there, which is not", set(nr::SETXATTR, "d", "user.x", "six", 2), "d");
    told("unknown flag", set(nr::SETXATTR, "f", "user.x", "seven", 4), "f");
    told("empty", set(nr::SETXATTR, "f", "user.x", "", 0), "f");
    told("trusted", set(nr::SETXATTR, "f", "trusted.x", "one", 0), "f");
    told("security", set(nr::SETXATTR, "f", "security.x", "one", 0), "f");
    told("no class", set(nr::SETXATTR, "f", "x", "one", 0), "f");
    told("no name", set(nr::SETXATTR, "f", "", "one", 0), "f");
    told("name of 256 bytes", set(nr::SETXATTR, "f", &format!("user.{}", "n".repeat(251)), "one", 0), "f");
    told("missing", set(nr::SETXATTR, "missing", "user.x", "one", 0), "f");
    told("directory", set(nr::SETXATTR, "d", "user.x", "one", 0), "d");
    told("fifo", set(nr::SETXATTR, "p", "user.x", "one", 0), "p");
    told("too large", call(nr::SETXATTR, &[text("f"), text("user.x"), at("x".as_bytes()), 1 << 20, 0]), "f");
    told("wild value", call(nr::SETXATTR, &[text("f"), text("user.x"), 0x10, 5, 0]), "f");
    for (name, flags) in [("read", o::RDONLY), ("path", o::PATH)] {
        if let Ok(fd) = open("f", flags, 0) {
            let words = "by descriptor".as_bytes();
            let answer = call(nr::FSETXATTR, &[fd, text("user.x"), at(words), words.len() as i64, 0]);
            told(&format!("of {name}"), answer, "f");
            told(&format!("removed of {name}"), call(nr::FREMOVEXATTR, &[fd, text("user.x")]), "f");
            sys::close(fd);
        }
    }
    told("again", set(nr::SETXATTR, "f", "user.x", "one", 0), "f");
    told("removed", call(nr::REMOVEXATTR, &[text("f"), text("user.x")]), "f");
    told("removed again", call(nr::REMOVEXATTR, &[text("f"), text("user.x")]), "f");
    told("removed of a link", call(nr::LREMOVEXATTR, &[text("l"), text("user.x")]), "f");
    let words = "newer call".as_bytes();
    let value = [words.as_ptr() as u64, words.len() as u64];
    let answer = call(nr::SETXATTRAT, &[AT_FDCWD, text("f"), 0, text("user.x"), at(&value), 16]);
    told("setxattrat", answer, "f");
    told("removexattrat", call(nr::REMOVEXATTRAT, &[AT_FDCWD, text("f"), 0, text("user.x")]), "f");
    if let Ok(fd) = open("f", o::RDONLY, 0) {
        let answer = call(nr::SETXATTRAT, &[fd, text(""), AT_EMPTY_PATH, text("user.x"), at(&value), 16]);
        told("setxattrat of a descriptor", answer, "f");
        let answer = call(nr::REMOVEXATTRAT, &[fd, text(""), AT_EMPTY_PATH, text("user.x")]);
        told("removexattrat of a descriptor", answer, "f");
        sys::close(fd);
    }
}

/// New objects in a directory with a default list of rights. The process's mask does not count there.
pub fn default_acl(t: &Tell) {
    // Version 2; entries of tag, rights, number: the owner, user 12345, the group, the mask, others.
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, number) in [(1u16, 7u16, u32::MAX), (2, 6, 12345), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 4, u32::MAX)] {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(number.to_le_bytes());
    }
    let name = text("system.posix_acl_default");
    t.call("set", call(nr::SETXATTR, &[text("d"), name, at(&list[..]), list.len() as i64, 0]), &["d"]).ok();
    for mask in [0o022, 0o077] {
        let _ = call(nr::UMASK, &[mask]);
        let names = ["file", "directory", "fifo", "nameless", "socket"].map(|n| format!("d/{n}-{mask:o}"));
        let [file, directory, fifo, _, socket] = &names;
        t.fd("file", open(file, o::RDWR | o::CREAT, 0o666), &[file]);
        t.call("directory", call(nr::MKDIR, &[text(directory.as_str()), 0o777]), &[directory]).ok();
        t.call("fifo", call(nr::MKNOD, &[text(fifo.as_str()), 0o010_666, 0]), &[fifo]).ok();
        t.fd("nameless", open("d", o::TMPFILE | o::RDWR, 0o666), &[]);
        let fd = call(nr::SOCKET, &[1, 1, 0]).unwrap_or(-1);
        t.call("socket", crate::conf_sockets::bind(fd, socket), &[socket]).ok();
        sys::close(fd);
    }
    let name = text("system.posix_acl_access");
    t.call("of a file", call(nr::SETXATTR, &[text("f"), name, at(&list[..]), list.len() as i64, 0]), &["f"]).ok();
    t.call("removed", call(nr::REMOVEXATTR, &[text("f"), name]), &["f"]).ok();
}

/// Flags of files by ioctl(2), and by file_setattr(2).
pub fn flags(t: &Tell) {
    const GET: i64 = 0x8008_6601;
    const SET: i64 = 0x4008_6602;
    const NODUMP: u64 = 0x40;
    fill("g", "flags");
    let Ok(fd) = open("g", o::RDONLY, 0) else {
        return;
    };
    let mut flags = 0u64;
    t.call("get", call(nr::IOCTL, &[fd, GET, into(&mut flags)]), &[]).ok();
    let new = flags | NODUMP;
    t.call("set", call(nr::IOCTL, &[fd, SET, at(&new)]), &[]).ok();
    t.call("get again", call(nr::IOCTL, &[fd, GET, into(&mut flags)]), &[]).ok();
    t.say("changed", flags & NODUMP != 0);
    let immutable = flags | 0x10;
    t.call("immutable", call(nr::IOCTL, &[fd, SET, at(&immutable)]), &[]).ok();
    t.call("wild", call(nr::IOCTL, &[fd, SET, 0x10]), &[]).ok();
    sys::close(fd);
    if let Ok(fd) = open("g", o::PATH, 0) {
        t.call("of a path alone", call(nr::IOCTL, &[fd, SET, at(&new)]), &[]).ok();
        sys::close(fd);
    }
    let attributes = [0x80u64, 0, 0];
    let answer = call(nr::FILE_SETATTR, &[AT_FDCWD, text("g"), at(&attributes), 24, 0]);
    t.call("file_setattr", answer, &[]).ok();
    // FIONREAD, which no file system handles.
    let (reader, writer) = sys::pipe();
    let _ = sys::write(writer, b"123");
    let mut count = 0i32;
    t.call("another ioctl", call(nr::IOCTL, &[reader, 0x541b, into(&mut count)]), &[]).ok();
    t.say("its answer", count);
}
