//! Calls that make, remove and rename.

use crate::conf::fill;
use crate::sys::{self, AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, call, nr, o, open, text};
use crate::tell::Tell;

pub fn mkdir(t: &Tell) {
    let make = |path: &str, mode| call(nr::MKDIR, &[text(path), mode]);
    for (path, mode) in [("m1", 0o777), ("m2", 0), ("m3", 0o1777), ("m4", 0o2755), ("m5/", 0o755), ("m6//", 0o755)] {
        t.call(&format!("{path} {mode:o}"), make(path, mode), &[path.trim_end_matches('/')]).ok();
    }
    for path in ["m1", "f", "l", "dangling", "a", ".", "..", "d/.", "d/..", "/", "", "missing/m", "f/m", "ld/m", "dangling/", "ld/"] {
        t.call(&format!("{path:?}"), make(path, 0o755), &[]).ok();
    }
    t.call("mkdirat", call(nr::MKDIRAT, &[AT_FDCWD, text("m7"), 0o750]), &["m7"]).ok();
    t.call("mkdirat, closed descriptor", call(nr::MKDIRAT, &[99, text("m8"), 0o750]), &["m8"]).ok();
    t.call("null", call(nr::MKDIR, &[0, 0o755]), &[]).ok();
    t.call("name too long", make(&"n".repeat(256), 0o755), &[]).ok();
    let _ = call(nr::CHMOD, &[text("d"), 0o2755]);
    t.call("in a setgid directory", make("d/g", 0o755), &["d/g"]).ok();
    let _ = call(nr::CHMOD, &[text("d"), 0o555]);
    t.call("in a read only directory", make("d/never", 0o755), &["d/never"]).ok();
}

pub fn mknod(t: &Tell) {
    let make = |path: &str, mode, device| call(nr::MKNOD, &[text(path), mode, device]);
    for (name, kind) in [("fifo", 0o010_000), ("file", 0o100_000), ("nothing", 0), ("socket", 0o140_000)] {
        t.call(name, make(name, kind | 0o666, 0), &[name]).ok();
    }
    t.call("character device", make("chr", 0o020_666, 0x0103), &["chr"]).ok();
    t.call("block device", make("blk", 0o060_666, 0x0700), &["blk"]).ok();
    t.call("whiteout", make("white", 0o020_000, 0), &["white"]).ok();
    t.call("directory", make("dir", 0o040_755, 0), &["dir"]).ok();
    t.call("link", make("lnk", 0o120_777, 0), &["lnk"]).ok();
    t.call("there", make("f", 0o010_666, 0), &["f"]).ok();
    t.call("dangling", make("dangling", 0o010_666, 0), &["missing"]).ok();
    t.call("slash at the end", make("n/", 0o010_666, 0), &["n"]).ok();
    t.call("mknodat", call(nr::MKNODAT, &[AT_FDCWD, text("at"), 0o010_600, 0]), &["at"]).ok();
    t.call("in nothing", make("missing/n", 0o010_666, 0), &[]).ok();
}

pub fn symlink(t: &Tell) {
    let make = |to: &str, path: &str| call(nr::SYMLINK, &[text(to), text(path)]);
    for (to, path) in [
        ("f", "s1"), ("/nowhere/at/all", "s2"), ("", "s3"), ("f", "f"), ("f", "dangling"), ("f", "s4/"), ("f", "d"),
        ("f", ""), ("f", "missing/s"), ("f", "."), ("f", "ld/s5"),
    ] {
        t.call(&format!("{to:?} {path:?}"), make(to, path), &[path]).ok();
    }
    t.call("4095 bytes", make(&"t".repeat(4095), "s6"), &[]).ok();
    t.call("4096 bytes", make(&"t".repeat(4096), "s7"), &["s7"]).ok();
    t.call("symlinkat", call(nr::SYMLINKAT, &[text("f"), AT_FDCWD, text("s8")]), &["s8"]).ok();
    t.call("symlinkat, closed", call(nr::SYMLINKAT, &[text("f"), 99, text("s9")]), &["s9"]).ok();
    t.call("null", call(nr::SYMLINK, &[0, text("s10")]), &["s10"]).ok();
    t.call("to itself", make("s11", "s11"), &["s11"]).ok();
}

pub fn link(t: &Tell) {
    let make = |from: &str, to: &str| call(nr::LINK, &[text(from), text(to)]);
    for (from, to) in [
        ("f", "h1"), ("f", "f"), ("f", "d"), ("d", "h2"), ("l", "h3"), ("dangling", "h4"), ("missing", "h5"), ("f", "dangling"),
        ("f", "h6/"), ("f/", "h7"), ("f", "missing/h"), ("", "h8"), ("f", ""), ("ld/in", "h9"), ("p", "h10"), ("none", "h11"),
        ("f", "ld/h12"), ("a", "h13"),
    ] {
        t.call(&format!("{from:?} {to:?}"), make(from, to), &["f", to]).ok();
    }
    let at = |from: &str, to: &str, flags| call(nr::LINKAT, &[AT_FDCWD, text(from), AT_FDCWD, text(to), flags]);
    t.call("followed", at("l", "k1", AT_SYMLINK_FOLLOW), &["k1", "f"]).ok();
    t.call("followed, dangling", at("dangling", "k2", AT_SYMLINK_FOLLOW), &["k2"]).ok();
    t.call("unknown flag", at("f", "k3", 1), &["k3"]).ok();
    if let Ok(fd) = open("f", o::RDONLY, 0) {
        let made = call(nr::LINKAT, &[fd, text(""), AT_FDCWD, text("k4"), AT_EMPTY_PATH]);
        t.call("of a descriptor", made, &["k4"]).ok();
        let made = call(nr::LINKAT, &[fd, text(""), AT_FDCWD, text("k5"), 0]);
        t.call("of a descriptor, without the flag", made, &["k5"]).ok();
        let from = format!("/proc/self/fd/{fd}");
        t.call("by /proc", at(&from, "k6", AT_SYMLINK_FOLLOW), &["k6"]).ok();
        t.call("by /proc, not followed", at(&from, "k7", 0), &["k7"]).ok();
        sys::close(fd);
    }
    if let Ok(fd) = open("f", o::PATH, 0) {
        let made = call(nr::LINKAT, &[fd, text(""), AT_FDCWD, text("k8"), AT_EMPTY_PATH]);
        t.call("of a path alone", made, &["k8"]).ok();
        sys::close(fd);
    }
    let made = call(nr::LINKAT, &[AT_FDCWD, text(""), AT_FDCWD, text("k9"), AT_EMPTY_PATH]);
    t.call("of the directory", made, &["k9"]).ok();
}

pub fn unlink(t: &Tell) {
    for path in ["missing", "d", "l", "dangling", "a", "p", "none", "f/", "ld/", "f/x", ".", "..", "d/..", "", "/", "ld/in", "f", "f"] {
        t.call(&format!("{path:?}"), call(nr::UNLINK, &[text(path)]), &["f", "d/in"]).ok();
    }
    fill("d/in", "in");
    for path in ["missing", "d", "f", "ld", "ld/", ".", "d/.", "d/..", "..", "", "/"] {
        t.call(&format!("rmdir {path:?}"), call(nr::RMDIR, &[text(path)]), &[]).ok();
    }
    let _ = call(nr::MKDIR, &[text("e"), 0o755]);
    t.call("rmdir", call(nr::RMDIR, &[text("e")]), &["e"]).ok();
    let _ = call(nr::MKDIR, &[text("e"), 0o755]);
    t.call("rmdir with a slash", call(nr::RMDIR, &[text("e/")]), &["e"]).ok();
    let _ = call(nr::MKDIR, &[text("e"), 0o755]);
    let at = |path: &str, flags| call(nr::UNLINKAT, &[AT_FDCWD, text(path), flags]);
    t.call("unlinkat a directory", at("e", 0), &["e"]).ok();
    t.call("unlinkat a directory, said so", at("e", AT_REMOVEDIR), &["e"]).ok();
    t.call("unlinkat a file as a directory", at("ro", AT_REMOVEDIR), &["ro"]).ok();
    t.call("unlinkat, unknown flag", at("ro", 0x400), &["ro"]).ok();
    t.call("unlinkat", at("ro", 0), &["ro"]).ok();
    t.call("closed descriptor", call(nr::UNLINKAT, &[99, text("d/in"), 0]), &["d/in"]).ok();
    fill("open", "still here");
    if let Ok(fd) = open("open", o::RDWR, 0) {
        t.call("open file", call(nr::UNLINK, &[text("open")]), &["open"]).ok();
        t.say("and read", format!("{:?}", sys::read(fd).map(|b| b.len())));
    }
    let _ = call(nr::CHMOD, &[text("d"), 0o555]);
    t.call("in a read only directory", call(nr::UNLINK, &[text("d/in")]), &["d/in"]).ok();
}

pub fn rename(t: &Tell) {
    let to = |from: &str, to: &str| call(nr::RENAME, &[text(from), text(to)]);
    let _ = call(nr::MKDIR, &[text("e"), 0o755]);
    let _ = call(nr::LINK, &[text("f"), text("h")]);
    fill("g", "other");
    for (a, b) in [
        ("f", "f2"), ("f2", "f"), ("f", "g"), ("g", "f"), ("f", "f"), ("f", "h"), ("l", "l2"), ("dangling", "l3"), ("l2", "l3"),
        ("f", "l3"), ("l3", "f"), ("d", "e"), ("e", "d"), ("d", "f"), ("f", "d"), ("d", "d/x"), ("d", "d"), ("missing", "x"), ("f", ""),
        ("", "x"), ("f", "missing/x"), ("f", "f3/"), ("f/", "f3"), ("d/", "d2/"), ("d2", "d3/"), ("d3", "d"), (".", "x"), ("d", "."),
        ("d", ".."), ("..", "x"), ("d/..", "x"), ("/", "x"), ("d", "/"), ("ld", "ld2"), ("ld2/", "ld3"), ("ld2/in", "in"),
        ("in", "ld2/"), ("in", "ld2/in2"), ("p", "p2"), ("a", "a2"), ("none", "none2"),
    ] {
        t.call(&format!("{a:?} {b:?}"), to(a, b), &[a, b]).ok();
    }
    let _ = call(nr::MKDIR, &[text("e2"), 0o755]);
    fill("e2/x", "x");
    t.call("over a directory that is not empty", to("d", "e2"), &["d", "e2/x"]).ok();
    let _ = call(nr::MKDIR, &[text("e3"), 0o755]);
    t.call("over an empty directory", to("d", "e3"), &["d", "e3", "e3/in2"]).ok();
    t.call("renameat", call(nr::RENAMEAT, &[AT_FDCWD, text("e3"), AT_FDCWD, text("d")]), &["d"]).ok();
    t.call("renameat, closed", call(nr::RENAMEAT, &[99, text("d"), AT_FDCWD, text("x")]), &["d"]).ok();
    t.call("renameat, closed at the end", call(nr::RENAMEAT, &[AT_FDCWD, text("d"), 99, text("x")]), &["d"]).ok();
    let _ = call(nr::CHMOD, &[text("d"), 0o555]);
    t.call("out of a read only directory", to("d/in2", "out"), &["out"]).ok();
    t.call("into a read only directory", to("e2/x", "d/x"), &["d/x"]).ok();
    t.call("null", call(nr::RENAME, &[0, text("x")]), &[]).ok();
}

pub fn renameat2(t: &Tell) {
    const NOREPLACE: i64 = 1;
    const EXCHANGE: i64 = 2;
    const WHITEOUT: i64 = 4;
    let to = |from: &str, to: &str, flags| call(nr::RENAMEAT2, &[AT_FDCWD, text(from), AT_FDCWD, text(to), flags]);
    fill("g", "other");
    t.call("plain", to("f", "f2", 0), &["f", "f2"]).ok();
    t.call("not replaced, new", to("f2", "f", NOREPLACE), &["f", "f2"]).ok();
    t.call("not replaced, there", to("f", "g", NOREPLACE), &["f", "g"]).ok();
    t.call("not replaced, dangling", to("f", "dangling", NOREPLACE), &["f", "dangling"]).ok();
    t.call("not replaced, itself", to("f", "f", NOREPLACE), &["f"]).ok();
    t.call("exchanged", to("f", "g", EXCHANGE), &["f", "g"]).ok();
    t.call("exchanged, file and directory", to("f", "d", EXCHANGE), &["f", "d"]).ok();
    t.call("exchanged back", to("f", "d", EXCHANGE), &["f", "d"]).ok();
    t.call("exchanged, links", to("l", "ld", EXCHANGE), &["l", "ld"]).ok();
    t.call("exchanged, missing", to("f", "missing", EXCHANGE), &["f"]).ok();
    t.call("exchanged, beneath itself", to("d", "d/in", EXCHANGE), &["d", "d/in"]).ok();
    t.call("exchanged and not replaced", to("f", "g", NOREPLACE | EXCHANGE), &["f", "g"]).ok();
    t.call("whiteout", to("f", "f3", WHITEOUT), &["f", "f3"]).ok();
    t.call("whiteout and exchanged", to("g", "f", WHITEOUT | EXCHANGE), &["f", "g"]).ok();
    t.call("unknown flag", to("g", "f4", 8), &["g", "f4"]).ok();
}

pub fn truncate(t: &Tell) {
    let to = |path: &str, length| call(nr::TRUNCATE, &[text(path), length]);
    for (path, length) in [
        ("f", 2), ("f", 10), ("f", 0), ("f", -1), ("l", 4), ("d", 0), ("missing", 0), ("dangling", 0), ("a", 0), ("p", 0), ("ro", 0),
        ("none", 0), ("", 0), ("f/", 0), ("f", i64::MAX), ("/dev/null", 0),
    ] {
        t.call(&format!("{path:?} {length}"), to(path, length), &["f"]).ok();
    }
    if let Ok(fd) = open("f", o::RDWR, 0) {
        t.call("ftruncate", call(nr::FTRUNCATE, &[fd, 7]), &["f"]).ok();
        t.call("fallocate", call(nr::FALLOCATE, &[fd, 0, 0, 9]), &["f"]).ok();
        sys::close(fd);
    }
    if let Ok(fd) = open("f", o::RDONLY, 0) {
        t.call("ftruncate, read only", call(nr::FTRUNCATE, &[fd, 1]), &["f"]).ok();
        sys::close(fd);
    }
}
