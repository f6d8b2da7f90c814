//! open(2) and similar calls, with every flag.

use crate::conf::fill;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, Answer, at, call, nr, o, open, text,
};
use crate::tell::Tell;

pub fn plain(t: &Tell) {
    let f = &["f"];
    t.fd("read", open("f", o::RDONLY, 0), f);
    t.fd("write", open("f", o::WRONLY, 0), f);
    t.fd("both", open("f", o::RDWR, 0), f);
    t.fd("neither", open("f", 3, 0), f);
    t.fd("open(2) both", call(nr::OPEN, &[text("f"), o::RDWR, 0]), f);
    t.fd("truncate", open("f", o::WRONLY | o::TRUNC, 0), f);
    fill("f", "hello");
    t.fd("truncate, read only", open("f", o::RDONLY | o::TRUNC, 0), f);
    fill("f", "hello");
    if let Some(fd) = t.opened("append", open("f", o::WRONLY | o::APPEND, 0), f) {
        let _ = sys::write(fd, b"+1");
        let _ = call(nr::LSEEK, &[fd, 0, 0]);
        let _ = sys::write(fd, b"+2");
        sys::close(fd);
    }
    t.say("appended", t.state("f"));
    for (name, flag) in [
        ("sync", o::SYNC), ("dsync", o::DSYNC), ("nonblock", o::NONBLOCK), ("noatime", o::NOATIME),
        ("cloexec", o::CLOEXEC), ("largefile", 0o100_000), ("async", 0o20_000), ("noctty", 0o400),
        ("direct", 0o40_000), ("unknown bit", 1 << 30),
    ] {
        t.fd(name, open("f", o::RDWR | flag, 0), &[]);
    }
    t.fd("nofollow", open("f", o::RDWR | o::NOFOLLOW, 0), f);
    t.fd("nofollow a link", open("l", o::RDWR | o::NOFOLLOW, 0), &["l"]);
    t.fd("nofollow a link to a directory", open("ld", o::RDONLY | o::NOFOLLOW | o::DIRECTORY, 0), &[]);
    t.fd("link", open("l", o::RDWR, 0), &["l"]);
    t.fd("through a link", open("ld/in", o::RDWR, 0), &[]);
    t.fd("loop", open("a", o::RDWR, 0), &[]);
    t.fd("directory, write", open("d", o::WRONLY, 0), &[]);
    t.fd("directory, read", open("d", o::RDONLY, 0), &[]);
    t.fd("directory, demanded", open("d", o::RDONLY | o::DIRECTORY, 0), &[]);
    t.fd("directory, demanded of a file", open("f", o::RDWR | o::DIRECTORY, 0), &[]);
    t.fd("missing", open("missing", o::RDWR, 0), &[]);
    t.fd("dangling", open("dangling", o::RDWR, 0), &[]);
    t.fd("write what is read only", open("ro", o::WRONLY, 0), &["ro"]);
    t.fd("truncate what is read only", open("ro", o::RDONLY | o::TRUNC, 0), &["ro"]);
    t.fd("no rights", open("none", o::RDONLY, 0), &[]);
}

pub fn create(t: &Tell) {
    t.fd("new", open("n1", o::WRONLY | o::CREAT, 0o666), &["n1"]);
    t.fd("new, read only", open("n2", o::RDONLY | o::CREAT, 0o600), &["n2"]);
    t.fd("new, mode 0", open("n3", o::RDWR | o::CREAT, 0), &["n3"]);
    t.fd("new, mode 6777", open("n4", o::RDWR | o::CREAT, 0o6777), &["n4"]);
    t.fd("new, open(2)", call(nr::OPEN, &[text("n5"), o::RDWR | o::CREAT, 0o644]), &["n5"]);
    t.fd("new, creat(2)", call(nr::CREAT, &[text("n6"), 0o640]), &["n6"]);
    t.fd("creat(2) of what is there", call(nr::CREAT, &[text("f"), 0o640]), &["f"]);
    fill("f", "hello");
    t.fd("what is there", open("f", o::RDWR | o::CREAT, 0o600), &["f"]);
    t.fd("what is there, truncate", open("f", o::RDWR | o::CREAT | o::TRUNC, 0o600), &["f"]);
    t.fd("exclusive", open("n7", o::RDWR | o::CREAT | o::EXCL, 0o644), &["n7"]);
    t.fd("exclusive, there", open("f", o::RDWR | o::CREAT | o::EXCL, 0o644), &["f"]);
    t.fd("exclusive, dangling", open("dangling", o::RDWR | o::CREAT | o::EXCL, 0o644), &["dangling"]);
    t.fd("exclusive, loop", open("a", o::RDWR | o::CREAT | o::EXCL, 0o644), &[]);
    t.fd("exclusive alone", open("f", o::RDWR | o::EXCL, 0o644), &[]);
    t.fd("loop", open("a", o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("dangling, nofollow", open("dangling", o::RDWR | o::CREAT | o::NOFOLLOW, 0o644), &["dangling"]);
    t.fd("dangling", open("dangling", o::RDWR | o::CREAT, 0o644), &["dangling", "missing"]);
    let _ = call(nr::SYMLINK, &[text("nowhere/x"), text("far")]);
    t.fd("dangling, no parent", open("far", o::RDWR | o::CREAT, 0o644), &["far"]);
    let _ = call(nr::SYMLINK, &[text("d/new/"), text("slash")]);
    t.fd("dangling, slash at its end", open("slash", o::RDWR | o::CREAT, 0o644), &["slash", "d/new"]);
    let _ = call(nr::SYMLINK, &[text("dangling2"), text("chain")]);
    let _ = call(nr::SYMLINK, &[text("d/at-last"), text("dangling2")]);
    t.fd("chain of dangling", open("chain", o::RDWR | o::CREAT, 0o644), &["d/at-last"]);
    t.fd("directory", open("d", o::RDONLY | o::CREAT, 0o644), &[]);
    t.fd("directory, write", open("d", o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("with O_DIRECTORY", open("n8", o::RDONLY | o::CREAT | o::DIRECTORY, 0o644), &["n8"]);
    t.fd("in a link to a directory", open("ld/n", o::RDWR | o::CREAT, 0o644), &["d/n"]);
    t.fd("in a missing directory", open("missing2/n", o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("beneath a file", open("f/n", o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("slash at the end", open("n9/", o::RDWR | o::CREAT, 0o644), &["n9"]);
    t.fd("slash at a file's end", open("f/", o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("dot", open(".", o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("dot dot", open("d/..", o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("fifo", open("p", o::RDWR | o::CREAT, 0o644), &[]);
    let _ = call(nr::CHMOD, &[text("d"), 0o555]);
    t.fd("in a read only directory", open("d/more", o::RDWR | o::CREAT, 0o644), &["d/more"]);
    let _ = call(nr::CHMOD, &[text("d"), 0]);
    t.fd("in a closed directory", open("d/more", o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("read in a closed directory", open("d/in", o::RDONLY, 0), &[]);
    let _ = call(nr::CHMOD, &[text("d"), 0o2755]);
    t.fd("in a setgid directory", open("d/g", o::RDWR | o::CREAT, 0o644), &["d/g"]);
}

pub fn kinds(t: &Tell) {
    t.fd("fifo, write at once", open("p", o::WRONLY | o::NONBLOCK, 0), &[]);
    let reader = t.opened("fifo, read at once", open("p", o::RDONLY | o::NONBLOCK, 0), &[]);
    if let Some(fd) = t.opened("fifo, write with a reader", open("p", o::WRONLY, 0), &[]) {
        t.call("fifo, written", sys::write(fd, b"through"), &[]).ok();
        t.say("fifo, read", format!("{:?}", reader.and_then(|r| sys::read(r).ok())));
        sys::close(fd);
    }
    if let Some(fd) = reader {
        sys::close(fd);
    }
    t.fd("fifo, both", open("p", o::RDWR, 0), &[]);
    t.fd("fifo, truncate", open("p", o::RDWR | o::TRUNC, 0), &[]);
    for name in ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"] {
        if let Some(fd) = t.opened(name, open(name, o::RDWR, 0), &[]) {
            t.call("write to it", sys::write(fd, b"x"), &[]).ok();
            sys::close(fd);
        }
    }
    t.fd("/dev/null, create and truncate", open("/dev/null", o::WRONLY | o::CREAT | o::TRUNC, 0o666), &[]);
    t.fd("/dev/tty without one", open("/dev/tty", o::RDWR, 0), &[]);
    if let Some(fd) = t.opened("path alone", open("f", o::PATH, 0), &[]) {
        t.call("write to it", sys::write(fd, b"x"), &[]).ok();
        t.call("fchmod of it", call(nr::FCHMOD, &[fd, 0o600]), &["f"]).ok();
        t.fd("open it again", open(&format!("/proc/self/fd/{fd}"), o::RDWR, 0), &[]);
        sys::close(fd);
    }
    t.fd("path alone, with create", open("n1", o::PATH | o::CREAT | o::RDWR, 0o644), &["n1"]);
    t.fd("path alone of a link", open("l", o::PATH | o::NOFOLLOW, 0), &[]);
    if let Some(fd) = t.opened("path alone of a directory", open("d", o::PATH, 0), &[]) {
        t.fd("beneath it", call(nr::OPENAT, &[fd, text("in"), o::RDWR, 0]), &[]);
        t.fd("new beneath it", call(nr::OPENAT, &[fd, text("new"), o::RDWR | o::CREAT, 0o644]), &["d/new"]);
        sys::close(fd);
    }
    if let Some(fd) = t.opened("map", open("f", o::RDWR, 0), &[]) {
        // 3: read and write; 1: shared.
        match call(nr::MMAP, &[0, 5, 3, 1, fd, 0]) {
            Ok(place) => {
                sys::poke(place, b'J');
                t.say("mapped and written", t.state("f"));
            }
            Err(e) => t.say("not mapped", sys::error(e)),
        }
        sys::close(fd);
    }
    let own = std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default();
    if let Ok(bytes) = std::fs::read(&own) {
        let _ = std::fs::write("program", bytes);
        let _ = call(nr::CHMOD, &[text("program"), 0o755]);
        let pid = sys::child(|| sys::exec("./program", &["wait"]));
        sys::sleep_ms(200);
        t.fd("write to a running program", open("program", o::WRONLY, 0), &[]);
        t.call("truncate a running program", call(nr::TRUNCATE, &[text("program"), 0]), &[]).ok();
        let _ = call(nr::KILL, &[pid, 9]);
        sys::wait(pid);
        t.fd("write to an ended program", open("program", o::WRONLY, 0), &[]);
    }
}

pub fn wrong(t: &Tell) {
    let long = "n".repeat(255);
    t.fd("name of 255 bytes", open(&long, o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("name of 256 bytes", open(&"n".repeat(256), o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("path of 4095 bytes", open(&format!("{}f", "./".repeat(2047)), o::RDWR, 0), &[]);
    t.fd("path of 4096 bytes", open(&format!("{}.f", "./".repeat(2047)), o::RDWR, 0), &[]);
    t.fd("path of 9000 bytes", open(&format!("{}f", "./".repeat(4500)), o::RDWR, 0), &[]);
    t.fd("no path", open("", o::RDWR, 0), &[]);
    t.fd("no path, create", open("", o::RDWR | o::CREAT, 0o644), &[]);
    t.fd("null", call(nr::OPENAT, &[AT_FDCWD, 0, o::RDWR, 0]), &[]);
    t.fd("wild pointer", call(nr::OPENAT, &[AT_FDCWD, 0x10, o::RDWR, 0]), &[]);
    t.fd("kernel's pointer", call(nr::OPENAT, &[AT_FDCWD, -4096, o::RDWR, 0]), &[]);
    // Two pages, of which the second is unmapped. One string ends at the edge, and one goes over it.
    if let Ok(place) = call(nr::MMAP, &[0, 8192, 3, 0x22, -1, 0]) {
        let _ = call(11, &[place + 4096, 4096]);
        let edge = place + 4096;
        sys::poke(edge - 2, b'f');
        t.fd("string that ends at the page's end", call(nr::OPENAT, &[AT_FDCWD, edge - 2, o::RDWR, 0]), &[]);
        sys::poke(edge - 1, b'f');
        t.fd("string that goes over it", call(nr::OPENAT, &[AT_FDCWD, edge - 2, o::RDWR, 0]), &[]);
    }
    t.fd("closed descriptor", call(nr::OPENAT, &[99, text("f"), o::RDWR, 0]), &[]);
    t.fd("closed descriptor, create", call(nr::OPENAT, &[99, text("f"), o::RDWR | o::CREAT, 0o644]), &[]);
    t.fd("negative descriptor", call(nr::OPENAT, &[-7, text("f"), o::RDWR, 0]), &[]);
    let absolute = std::env::current_dir().map(|d| d.join("f").display().to_string()).unwrap_or_default();
    t.fd("closed descriptor, absolute", call(nr::OPENAT, &[99, text(absolute), o::RDWR, 0]), &[]);
    if let Ok(file) = open("f", o::RDONLY, 0) {
        t.fd("descriptor of a file", call(nr::OPENAT, &[file, text("f"), o::RDWR, 0]), &[]);
        t.fd("descriptor of a file, no path", call(nr::OPENAT, &[file, text(""), o::RDWR, 0]), &[]);
        sys::close(file);
    }
    t.fd("upper half of the flags", call(nr::OPENAT, &[AT_FDCWD, text("f"), (1 << 40) | o::RDWR, 0]), &[]);
    t.fd("upper half of the descriptor", call(nr::OPENAT, &[AT_FDCWD & 0xffff_ffff, text("f"), o::RDWR, 0]), &[]);
}

pub fn nameless(t: &Tell) {
    if let Some(fd) = t.opened("nameless", open("d", o::TMPFILE | o::RDWR, 0o640), &[]) {
        let _ = sys::write(fd, b"made");
        let from = format!("/proc/self/fd/{fd}");
        let answer = call(nr::LINKAT, &[AT_FDCWD, text(from), AT_FDCWD, text("d/linked"), AT_SYMLINK_FOLLOW]);
        t.call("linked by /proc", answer, &["d/linked"]).ok();
        sys::close(fd);
    }
    if let Some(fd) = t.opened("nameless, write", open("d", o::TMPFILE | o::WRONLY, 0o600), &[]) {
        let answer = call(nr::LINKAT, &[fd, text(""), AT_FDCWD, text("d/empty"), AT_EMPTY_PATH]);
        t.call("linked by its descriptor", answer, &["d/empty"]).ok();
        sys::close(fd);
    }
    if let Some(fd) = t.opened("nameless, exclusive", open("d", o::TMPFILE | o::RDWR | o::EXCL, 0o600), &[]) {
        let from = format!("/proc/self/fd/{fd}");
        let answer = call(nr::LINKAT, &[AT_FDCWD, text(from), AT_FDCWD, text("d/never"), AT_SYMLINK_FOLLOW]);
        t.call("linked all the same", answer, &["d/never"]).ok();
        sys::close(fd);
    }
    t.fd("nameless, read only", open("d", o::TMPFILE | o::RDONLY, 0o600), &[]);
    t.fd("nameless, in a file", open("f", o::TMPFILE | o::RDWR, 0o600), &[]);
    t.fd("nameless, in nothing", open("missing", o::TMPFILE | o::RDWR, 0o600), &[]);
    t.fd("nameless, with create", open("d", o::TMPFILE | o::RDWR | o::CREAT, 0o600), &[]);
    t.fd("nameless, behind a link", open("ld", o::TMPFILE | o::RDWR, 0o600), &[]);
    t.fd("nameless, link not followed", open("ld", o::TMPFILE | o::RDWR | o::NOFOLLOW, 0o600), &[]);
}

/// openat2(2) with `struct open_how` of this size.
fn how(path: &str, flags: i64, mode: u64, resolve: u64, size: i64) -> Answer {
    let mut how = [0u64; 8];
    (how[0], how[1], how[2]) = (flags as u64, mode, resolve);
    if size == 40 {
        how[4] = 1;
    }
    call(nr::OPENAT2, &[AT_FDCWD, text(path), at(&how), size])
}

pub fn openat2(t: &Tell) {
    const RESOLVE: &[(&str, u64)] = &[
        ("no xdev", 1), ("no magic links", 2), ("no links", 4), ("beneath", 8), ("in root", 16), ("cached", 32),
        ("unknown", 64), ("beneath and in root", 24),
    ];
    t.fd("plain", how("f", o::RDWR, 0, 0, 24), &[]);
    t.fd("new", how("n1", o::RDWR | o::CREAT, 0o640, 0, 24), &["n1"]);
    for (name, resolve) in RESOLVE {
        t.fd(name, how("f", o::RDWR, 0, *resolve, 24), &[]);
        t.fd(&format!("{name}, a link"), how("l", o::RDWR, 0, *resolve, 24), &[]);
        t.fd(&format!("{name}, up"), how("d/../f", o::RDWR, 0, *resolve, 24), &[]);
        t.fd(&format!("{name}, out"), how("../f", o::RDWR, 0, *resolve, 24), &[]);
    }
    let absolute = std::env::current_dir().map(|d| d.join("f").display().to_string()).unwrap_or_default();
    t.fd("absolute", how(&absolute, o::RDWR, 0, 0, 24), &[]);
    t.fd("absolute, beneath", how(&absolute, o::RDWR, 0, 8, 24), &[]);
    t.fd("absolute, in root", how("/f", o::RDWR, 0, 16, 24), &[]);
    t.fd("new, in root", how("/../n2", o::RDWR | o::CREAT, 0o600, 16, 24), &["n2"]);
    t.fd("new, beneath", how("d/n3", o::RDWR | o::CREAT | o::EXCL, 0o600, 8, 24), &["d/n3"]);
    t.fd("new, no links", how("dangling", o::RDWR | o::CREAT, 0o600, 4, 24), &["missing"]);
    if let Ok(fd) = open("f", o::RDWR, 0) {
        let magic = format!("/proc/self/fd/{fd}");
        t.fd("magic link", how(&magic, o::RDWR, 0, 0, 24), &[]);
        t.fd("magic link, refused", how(&magic, o::RDWR, 0, 2, 24), &[]);
        sys::close(fd);
    }
    t.fd("nameless", how("d", o::TMPFILE | o::RDWR, 0o600, 0, 24), &[]);
    t.fd("path alone", how("f", o::PATH, 0, 0, 24), &[]);
    t.fd("mode without create", how("f", o::RDWR, 0o600, 0, 24), &[]);
    t.fd("mode too large", how("n4", o::RDWR | o::CREAT, 0o100_644, 0, 24), &["n4"]);
    t.fd("unknown flag", how("f", o::RDWR | (1 << 40), 0, 0, 24), &[]);
    t.fd("structure too short", how("f", o::RDWR, 0, 0, 16), &[]);
    t.fd("structure longer, zeros", how("f", o::RDWR, 0, 0, 32), &[]);
    t.fd("structure longer, not zeros", how("f", o::RDWR, 0, 0, 40), &[]);
    t.fd("structure too long", how("f", o::RDWR, 0, 0, 1 << 20), &[]);
    t.fd("no structure", call(nr::OPENAT2, &[AT_FDCWD, text("f"), 0, 24]), &[]);
}
