//! Ways to name an object: relative paths, descriptors, links, procfs, and removed directories.

use crate::sys::{self, AT_FDCWD, Answer, call, nr, o, open, text};
use crate::tell::Tell;

fn here() -> String {
    std::env::current_dir().map_or_else(|e| e.to_string(), |d| d.display().to_string())
}

pub fn forms(t: &Tell) {
    let (top, new) = (here(), o::RDWR | o::CREAT);
    t.fd("absolute", open(&format!("{top}/f"), o::RDWR, 0), &[]);
    t.fd("absolute, new", open(&format!("{top}/n1"), new, 0o644), &["n1"]);
    t.fd("doubled slashes and dots", open(&format!("/{top}//.//d/..///f"), o::RDWR, 0), &[]);
    t.fd("dot dot", open("d/../n2", new, 0o644), &["n2"]);
    t.fd("dot dot through a link", open("ld/../n3", new, 0o644), &["n3"]);
    t.fd("dot dot out and back", open(&format!("../{}/f", name(&top)), o::RDWR, 0), &[]);
    t.fd("dot dot above the root", open(&format!("{}{top}/f", "/..".repeat(20)), o::RDWR, 0), &[]);
    t.fd("dot dot of a file", open("f/../f", o::RDWR, 0), &[]);
    t.fd("dot dot of nothing", open("missing/../f", o::RDWR, 0), &[]);
    t.fd("directory with a slash", open("d/", o::RDONLY, 0), &[]);
    t.fd("link to a directory with a slash", open("ld/", o::RDONLY | o::NOFOLLOW, 0), &[]);
    let _ = call(nr::SYMLINK, &[text(format!("{top}/d")), text("abs")]);
    t.fd("absolute link", open("abs/in", o::RDWR, 0), &[]);
    let _ = call(nr::SYMLINK, &[text(format!("../{}/d/in", name(&top))), text("up")]);
    t.fd("link upwards", open("up", o::RDWR, 0), &[]);
    let _ = call(nr::SYMLINK, &[text("f"), text("c0")]);
    for i in 0..40 {
        let _ = call(nr::SYMLINK, &[text(format!("c{i}")), text(format!("c{}", i + 1))]);
    }
    // The kernel's limit is 40. But links that it follows again, after a race or for lack of memory, count twice.
    t.fd("20 links", open("c19", o::RDWR, 0), &[]);
    t.fd("41 links", open("c40", o::RDWR, 0), &[]);
    t.fd("41 links, create", open("c40", new, 0o644), &[]);
    for (what, flags) in [("read", o::RDONLY), ("path", o::PATH)] {
        let Ok(d) = open("d", flags | o::DIRECTORY, 0) else { continue };
        t.fd(&format!("by {what}"), call(nr::OPENAT, &[d, text("in"), o::RDWR, 0]), &[]);
        t.fd(&format!("by {what}, new"), call(nr::OPENAT, &[d, text("n4"), new, 0o644]), &["d/n4"]);
        t.fd(&format!("by {what}, up"), call(nr::OPENAT, &[d, text("../f"), o::RDWR, 0]), &[]);
        t.fd(&format!("by {what}, a link"), call(nr::OPENAT, &[d, text("../l"), o::RDWR, 0]), &[]);
        t.fd(&format!("by {what}, no path"), call(nr::OPENAT, &[d, text(""), o::RDWR, 0]), &[]);
        t.call(&format!("mkdirat by {what}"), call(nr::MKDIRAT, &[d, text("m"), 0o755]), &["d/m"]).ok();
        t.call(&format!("unlinkat by {what}"), call(nr::UNLINKAT, &[d, text("n4"), 0]), &["d/n4"]).ok();
        t.call(&format!("rmdir by {what}"), call(nr::UNLINKAT, &[d, text("m"), 0x200]), &["d/m"]).ok();
        let renamed = call(nr::RENAMEAT, &[d, text("in"), AT_FDCWD, text("out")]);
        t.call(&format!("renameat by {what}"), renamed, &["d/in", "out"]).ok();
        let back = call(nr::RENAMEAT, &[AT_FDCWD, text("out"), d, text("in")]);
        t.call(&format!("and back by {what}"), back, &["d/in", "out"]).ok();
        sys::close(d);
    }
    let _ = call(nr::CHDIR, &[text("d")]);
    t.fd("after chdir", open("in", o::RDWR, 0), &[]);
    t.fd("after chdir, new", open("n5", new, 0o644), &["n5"]);
    t.fd("after chdir, up", open("../f", o::RDWR, 0), &[]);
    if let Ok(d) = open("..", o::PATH, 0) {
        let _ = call(nr::FCHDIR, &[d]);
        sys::close(d);
    }
    t.fd("after fchdir", open("d/n5", o::RDWR, 0), &[]);
    let _ = call(nr::RENAME, &[text("d"), text("e")]);
    if let Ok(d) = open("e", o::PATH, 0) {
        let _ = call(nr::RENAME, &[text("e"), text("d")]);
        t.fd("by a directory that was renamed", call(nr::OPENAT, &[d, text("n6"), new, 0o644]), &["d/n6"]);
        sys::close(d);
    }
    t.fd("not UTF-8", open_bytes(b"\xff\xfe\n", new), &[]);
}

fn open_bytes(name: &[u8], flags: i64) -> Answer {
    call(nr::OPENAT, &[AT_FDCWD, text(name), flags, 0o644])
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

pub fn deleted(t: &Tell) {
    let new = o::RDWR | o::CREAT;
    let _ = call(nr::MKDIR, &[text("gone"), 0o755]);
    let fd = open("gone", o::RDONLY | o::DIRECTORY, 0).unwrap_or(-1);
    let held = open("f", o::RDWR, 0).unwrap_or(-1);
    let top = here();
    let _ = call(nr::CHDIR, &[text("gone")]);
    let _ = call(nr::RMDIR, &[text("../gone")]);
    t.fd("dot", open(".", o::RDONLY, 0), &[]);
    t.fd("dot dot", open("..", o::RDONLY, 0), &[]);
    t.fd("new", open("n", new, 0o644), &["n"]);
    t.fd("missing", open("n", o::RDWR, 0), &[]);
    t.fd("up", open("../f", o::RDWR, 0), &[]);
    t.call("mkdir", call(nr::MKDIR, &[text("m"), 0o755]), &["m"]).ok();
    t.call("symlink", call(nr::SYMLINK, &[text("m"), text("s")]), &["s"]).ok();
    t.call("rename in", call(nr::RENAME, &[text(format!("{top}/f")), text("f")]), &[]).ok();
    t.call("unlink", call(nr::UNLINK, &[text("n")]), &[]).ok();
    t.call("chmod dot", call(nr::CHMOD, &[text("."), 0o700]), &[]).ok();
    t.fd("nameless", open(".", o::TMPFILE | o::RDWR, 0o600), &[]);
    let _ = call(nr::CHDIR, &[text(top)]);
    t.fd("by descriptor, new", call(nr::OPENAT, &[fd, text("n"), new, 0o644]), &[]);
    t.fd("by descriptor, dot", call(nr::OPENAT, &[fd, text("."), o::RDONLY, 0]), &[]);
    t.call("by descriptor, mkdirat", call(nr::MKDIRAT, &[fd, text("m"), 0o755]), &[]).ok();
    let _ = call(nr::UNLINK, &[text("f")]);
    t.fd("deleted file by its descriptor", open(&format!("/proc/self/fd/{held}"), o::RDWR, 0), &[]);
    t.call("truncated", call(nr::TRUNCATE, &[text(format!("/proc/self/fd/{held}")), 2]), &[]).ok();
    t.call("chmod", call(nr::CHMOD, &[text(format!("/proc/self/fd/{held}")), 0o600]), &[]).ok();
    t.say("what is left", t.descriptor(held));
    let again = call(nr::LINKAT, &[held, text(""), AT_FDCWD, text("again"), sys::AT_EMPTY_PATH]);
    t.call("linked again", again, &["again"]).ok();
}

pub fn procfs(t: &Tell) {
    let fd = open("f", o::RDWR, 0).unwrap_or(-1);
    let top = here();
    let mut ways = vec![];
    for directory in ["/proc/self/fd", "/proc/thread-self/fd", "/dev/fd", "/proc/self/task/../fd"] {
        ways.push(format!("{directory}/{fd}"));
    }
    ways.push("/proc/self/cwd/f".to_owned());
    ways.push(format!("/proc/self/root{top}/f"));
    ways.push(format!("/proc/self/fd/../cwd/{}", "f"));
    for way in &ways {
        let shown = way.replace(&top, "$W");
        t.fd(&shown, open(way, o::RDWR, 0), &[]);
        t.fd(&format!("{shown}, create and truncate"), open(way, o::WRONLY | o::CREAT | o::TRUNC, 0o644), &["f"]);
        t.fd(&format!("{shown}, exclusive"), open(way, o::RDWR | o::CREAT | o::EXCL, 0o644), &[]);
        t.fd(&format!("{shown}, nofollow"), open(way, o::RDWR | o::NOFOLLOW, 0), &[]);
        t.call(&format!("chmod {shown}"), call(nr::CHMOD, &[text(way.as_str()), 0o640]), &["f"]).ok();
        t.call(&format!("truncate {shown}"), call(nr::TRUNCATE, &[text(way.as_str()), 3]), &["f"]).ok();
        t.call(&format!("unlink {shown}"), if way.ends_with("/f") { Ok(0) } else { call(nr::UNLINK, &[text(way.as_str())]) }, &["f"]).ok();
    }
    t.fd("new by cwd", open("/proc/self/cwd/n1", o::RDWR | o::CREAT, 0o644), &["n1"]);
    t.fd("new by root", open(&format!("/proc/self/root{top}/n2"), o::RDWR | o::CREAT, 0o644), &["n2"]);
    let d = open("d", o::PATH, 0).unwrap_or(-1);
    t.fd("new by a directory's descriptor", open(&format!("/proc/self/fd/{d}/n3"), o::RDWR | o::CREAT, 0o644), &["d/n3"]);
    t.call("mkdir by it", call(nr::MKDIR, &[text(format!("/proc/self/fd/{d}/m")), 0o755]), &["d/m"]).ok();
    let renamed = call(nr::RENAME, &[text(format!("/proc/self/fd/{d}/m")), text("/proc/self/cwd/m")]);
    t.call("rename by it", renamed, &["m"]).ok();
    let _ = call(nr::SYMLINK, &[text(format!("/proc/self/fd/{fd}")), text("tofd")]);
    t.fd("a link to a descriptor", open("tofd", o::RDWR, 0), &[]);
    t.fd("a link to a descriptor, create", open("tofd", o::RDWR | o::CREAT, 0o644), &["tofd"]);
    t.fd("closed", open("/proc/self/fd/99", o::RDWR, 0), &[]);
    t.fd("/dev/stdin", open("/dev/stdin", o::RDONLY, 0), &[]);
    let (reader, writer) = sys::pipe();
    if let Some(copy) = t.opened("a pipe again", open(&format!("/dev/fd/{writer}"), o::WRONLY, 0), &[]) {
        t.call("write to it", sys::write(copy, b"through"), &[]).ok();
        t.say("read from it", format!("{:?}", sys::read(reader).map(|b| b.len())));
        sys::close(copy);
    }
    for file in ["comm", "status", "maps", "exe", "mem", "oom_score_adj", "attr/current"] {
        t.fd(&format!("read {file}"), open(&format!("/proc/self/{file}"), o::RDONLY, 0), &[]);
    }
    if let Some(comm) = t.opened("write comm", open("/proc/self/comm", o::WRONLY | o::TRUNC, 0), &[]) {
        t.call("written", sys::write(comm, b"renamed"), &[]).ok();
        t.say("comm", format!("{:?}", std::fs::read_to_string("/proc/self/comm").ok()));
        sys::close(comm);
    }
    t.fd("new in /proc", open("/proc/new", o::RDWR | o::CREAT, 0o644), &[]);
    t.call("mkdir in /proc", call(nr::MKDIR, &[text("/proc/self/m"), 0o755]), &[]).ok();
    t.call("unlink in /proc", call(nr::UNLINK, &[text("/proc/self/fd/0")]), &[]).ok();
}

/// Threads with a directory, a mask and descriptors of their own.
pub fn threads(t: &Tell) {
    const CLONE_FS: i64 = 0x200;
    const CLONE_FILES: i64 = 0x400;
    sys::thread(CLONE_FILES, &|| {
        let _ = call(nr::CHDIR, &[text("d")]);
        let _ = call(nr::UMASK, &[0o077]);
        t.fd("in a thread's directory", open("in", o::RDWR, 0), &[]);
        t.fd("new with a thread's mask", open("n1", o::RDWR | o::CREAT, 0o666), &["n1"]);
        t.call("mkdir with it", call(nr::MKDIR, &[text("m"), 0o777]), &["m"]).ok();
        t.fd("by cwd", open("/proc/thread-self/cwd/in", o::RDWR, 0), &[]);
        t.fd("by the leader's cwd", open("/proc/self/cwd/f", o::RDWR, 0), &[]);
    });
    t.fd("in the leader's directory", open("n2", o::RDWR | o::CREAT, 0o666), &["n2"]);
    let before = open("f", o::RDWR, 0).unwrap_or(-1);
    sys::thread(CLONE_FS, &|| {
        sys::close(before);
        t.fd("descriptors of a thread's own", open("d/in", o::RDWR, 0), &[]);
        t.fd("a closed one", open(&format!("/proc/thread-self/fd/{before}"), o::RDWR, 0), &[]);
        t.fd("the leader's", open(&format!("/proc/self/fd/{before}"), o::RDWR, 0), &[]);
        let d = open("d", o::PATH, 0).unwrap_or(-1);
        t.fd("beneath an own one", call(nr::OPENAT, &[d, text("n3"), o::RDWR | o::CREAT, 0o644]), &["d/n3"]);
    });
    t.fd("the leader's are whole", open("f", o::RDWR, 0), &[]);
}
