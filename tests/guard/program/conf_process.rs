//! The things that a process has of its own: mask, locks, limits, descriptors, children.

use crate::conf::fill;
use crate::sys::{self, AT_FDCWD, at, call, into, nr, o, open, text};
use crate::tell::Tell;

pub fn umask(t: &Tell) {
    for mask in [0, 0o022, 0o077, 0o777] {
        let _ = call(nr::UMASK, &[mask]);
        let name = |kind: &str| format!("{kind}-{mask:o}");
        let (file, directory, fifo) = (name("file"), name("directory"), name("fifo"));
        t.fd("file", open(&file, o::RDWR | o::CREAT, 0o7777), &[&file]);
        t.call("directory", call(nr::MKDIR, &[text(directory.as_str()), 0o7777]), &[&directory]).ok();
        t.call("fifo", call(nr::MKNOD, &[text(fifo.as_str()), 0o010_666, 0]), &[&fifo]).ok();
        t.fd("nameless", open("d", o::TMPFILE | o::RDWR, 0o666), &[]);
        t.call("chmod does not ask it", call(nr::CHMOD, &[text("f"), 0o666]), &["f"]).ok();
    }
    let _ = call(nr::UMASK, &[0o022]);
    let child = sys::apart(|| {
        let _ = call(nr::UMASK, &[0o027]);
        t.fd("in a child", open("child", o::RDWR | o::CREAT, 0o666), &["child"]);
        0
    });
    t.say("child", child);
    t.fd("in the parent", open("parent", o::RDWR | o::CREAT, 0o666), &["parent"]);
}

pub fn locks(t: &Tell) {
    const SHARED: i64 = 1;
    const EXCLUSIVE: i64 = 2;
    const AT_ONCE: i64 = 4;
    let (one, two) = (open("f", o::RDWR, 0).unwrap_or(-1), open("f", o::RDWR, 0).unwrap_or(-1));
    t.call("flock", call(nr::FLOCK, &[one, EXCLUSIVE]), &[]).ok();
    t.call("flock, held", call(nr::FLOCK, &[two, EXCLUSIVE | AT_ONCE]), &[]).ok();
    t.call("flock, shared", call(nr::FLOCK, &[one, SHARED]), &[]).ok();
    t.call("flock, shared twice", call(nr::FLOCK, &[two, SHARED | AT_ONCE]), &[]).ok();
    t.call("unlocked", call(nr::FLOCK, &[one, 8]), &[]).ok();
    sys::close(two);
    // struct flock: type 1 (write) and whence 0, start, length, process.
    let lock = [1u64, 0, 0, 0];
    t.call("posix", call(nr::FCNTL, &[one, 6, at(&lock)]), &[]).ok();
    let held = sys::apart(|| {
        let fd = open("f", o::RDWR, 0).unwrap_or(-1);
        let answer = call(nr::FCNTL, &[fd, 6, at(&[1u64, 0, 0, 0])]);
        answer.err().unwrap_or(0)
    });
    t.say("posix, held", sys::error(held));
    t.call("of the open file", call(nr::FCNTL, &[one, 37, at(&[2u64, 0, 0, 0])]), &[]).ok();
    let three = open("f", o::RDWR, 0).unwrap_or(-1);
    t.call("of the open file, one", call(nr::FCNTL, &[one, 37, at(&lock)]), &[]).ok();
    t.call("of the open file, other", call(nr::FCNTL, &[three, 37, at(&lock)]), &[]).ok();
    sys::close(one);
    t.call("of the open file, after close", call(nr::FCNTL, &[three, 37, at(&lock)]), &[]).ok();
    sys::close(three);
    sys::disposition(29, true);
    let lease = open("g", o::RDWR | o::CREAT, 0o644).unwrap_or(-1);
    t.call("write lease", call(nr::FCNTL, &[lease, 1024, 1]), &[]).ok();
    t.call("lease asked", call(nr::FCNTL, &[lease, 1025]), &[]).ok();
    t.fd("lease broken at once", open("g", o::RDONLY | o::NONBLOCK, 0), &[]);
    t.call("lease asked again", call(nr::FCNTL, &[lease, 1025]), &[]).ok();
    t.call("lease given back", call(nr::FCNTL, &[lease, 1024, 2]), &[]).ok();
    let lease = open("h", o::RDONLY | o::CREAT, 0o644).unwrap_or(-1);
    t.call("read lease", call(nr::FCNTL, &[lease, 1024, 0]), &[]).ok();
    t.fd("read lease broken", open("h", o::WRONLY | o::NONBLOCK, 0), &[]);
}

pub fn inotify(t: &Tell) {
    let fd = call(nr::INOTIFY_INIT1, &[o::NONBLOCK]).unwrap_or(-1);
    // Every event but reading: create, delete, move, modify, metadata, opened, closed after writing.
    t.call("watch", call(nr::INOTIFY_ADD_WATCH, &[fd, text("d"), 0x3ee]), &[]).ok();
    if let Ok(file) = open("d/new", o::RDWR | o::CREAT, 0o644) {
        let _ = sys::write(file, b"x");
        sys::close(file);
    }
    let _ = call(nr::CHMOD, &[text("d/new"), 0o600]);
    let _ = call(nr::MKDIR, &[text("d/m"), 0o755]);
    let _ = call(nr::RENAME, &[text("d/new"), text("d/newer")]);
    let _ = call(nr::LINK, &[text("d/newer"), text("d/hard")]);
    let _ = call(nr::SYMLINK, &[text("newer"), text("d/soft")]);
    let _ = call(nr::TRUNCATE, &[text("d/newer"), 0]);
    let _ = call(nr::UNLINK, &[text("d/newer")]);
    let _ = call(nr::RMDIR, &[text("d/m")]);
    let bytes = sys::read(fd).unwrap_or_default();
    let mut rest = &bytes[..];
    while rest.len() >= 16 {
        let word = |at: usize| u32::from_ne_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let (mask, length) = (word(4), word(12) as usize);
        let name = String::from_utf8_lossy(&rest[16..16 + length]).trim_end_matches('\0').to_owned();
        t.say("event", format!("{mask:x} {name}"));
        rest = &rest[16 + length..];
    }
}

pub fn limits(t: &Tell) {
    const FSIZE: i64 = 1;
    const NOFILE: i64 = 7;
    let under = |what: &str, limit: i64, value: u64, ignored: bool, work: &dyn Fn()| {
        let status = sys::apart(|| {
            let _ = call(nr::SETRLIMIT, &[limit, at(&[value, value])]);
            sys::disposition(25, ignored);
            work();
            0
        });
        t.say(&format!("{what}, ended with"), status);
    };
    fill("g", &"x".repeat(200));
    for ignored in [false, true] {
        let say = |what: &str| format!("{what}, signal {}", if ignored { "ignored" } else { "fatal" });
        under(&say("truncate beyond"), FSIZE, 100, ignored, &|| {
            t.call("truncate beyond", call(nr::TRUNCATE, &[text("f"), 1000]), &["f"]).ok();
        });
        under(&say("truncate to it"), FSIZE, 100, ignored, &|| {
            t.call("truncate to it", call(nr::TRUNCATE, &[text("f"), 100]), &["f"]).ok();
        });
        under(&say("truncate what is larger"), FSIZE, 100, ignored, &|| {
            t.call("shorter", call(nr::TRUNCATE, &[text("g"), 150]), &["g"]).ok();
        });
        under(&say("ftruncate beyond"), FSIZE, 100, ignored, &|| {
            let fd = open("f", o::RDWR, 0).unwrap_or(-1);
            t.call("ftruncate beyond", call(nr::FTRUNCATE, &[fd, 1000]), &["f"]).ok();
        });
        under(&say("write beyond"), FSIZE, 100, ignored, &|| {
            let fd = open("h", o::RDWR | o::CREAT | o::TRUNC, 0o644).unwrap_or(-1);
            t.call("write up to it", sys::write(fd, &[b'x'; 150]), &["h"]).ok();
            t.call("write beyond", sys::write(fd, &[b'x'; 150]), &["h"]).ok();
        });
    }
    under("few descriptors", NOFILE, 8, false, &|| {
        for i in 0..7 {
            t.call(&format!("open {i}"), open("f", o::RDWR, 0), &[]).ok();
        }
        t.call("made all the same", open("made", o::RDWR | o::CREAT, 0o644), &["made"]).ok();
        t.call("truncated all the same", open("f", o::RDWR | o::TRUNC, 0o644), &["f"]).ok();
        sys::close(4);
        t.fd("one given back", open("f", o::RDWR, 0), &[]);
        t.call("mkdir needs none", call(nr::MKDIR, &[text("m"), 0o755]), &["m"]).ok();
    });
    under("no descriptors", NOFILE, 0, false, &|| {
        t.call("open", open("f", o::RDWR, 0), &[]).ok();
        t.call("mkdir", call(nr::MKDIR, &[text("m2"), 0o755]), &[]).ok();
        t.call("rename", call(nr::RENAME, &[text("m2"), text("m3")]), &[]).ok();
        t.call("path alone", open("f", o::PATH, 0), &[]).ok();
    });
}

pub fn descriptors(t: &Tell) {
    let mut open_ones = vec![];
    for fd in 0..64 {
        if call(nr::FCNTL, &[fd, 1]).is_ok() {
            open_ones.push(fd);
        }
    }
    t.say("open at the start", format!("{open_ones:?}"));
    let all: Vec<_> = (0..5).map(|_| open("f", o::RDWR, 0)).collect();
    t.say("in order", format!("{all:?}"));
    sys::close(4);
    sys::close(6);
    t.say("the lowest", format!("{:?}", open("f", o::RDWR, 0)));
    t.say("the next lowest", format!("{:?}", open("f", o::RDWR, 0)));
    let kept = open("f", o::RDWR, 0).unwrap_or(-1);
    let closed = open("f", o::RDWR | o::CLOEXEC, 0).unwrap_or(-1);
    let own = std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default();
    let status = sys::apart(|| sys::exec(&own, &["open-ones", &kept.to_string(), &closed.to_string()]));
    t.say("after exec", status);
    let shared = open("f", o::RDWR, 0).unwrap_or(-1);
    let status = sys::apart(|| i32::from(sys::write(shared, b"abc").is_err()));
    t.say("place shared with a child", format!("{status} {:?}", call(nr::LSEEK, &[shared, 0, 1])));
    // A descriptor that is sent through a socket.
    let mut pair = [0i32; 2];
    t.call("socket pair", call(nr::SOCKETPAIR, &[1, 1, 0, into(&mut pair)]), &[]).ok();
    t.say("file passed on", crate::conf_sockets::pass(pair.map(i64::from), shared));
}

pub fn children(t: &Tell) {
    let status = sys::apart(|| {
        t.fd("in a child", open("n1", o::RDWR | o::CREAT, 0o644), &["n1"]);
        sys::apart(|| {
            t.fd("in its child", open("n2", o::RDWR | o::CREAT, 0o644), &["n2"]);
            0
        })
    });
    t.say("child", status);
    std::thread::scope(|s| {
        s.spawn(|| t.fd("in a thread", open("n3", o::RDWR | o::CREAT, 0o644), &["n3"]));
    });
    // vfork(2) by clone(2): the child uses the parent's memory, and the parent waits. Then a child whose parent ends
    // first.
    let (reader, writer) = sys::pipe();
    let first = sys::apart(|| {
        sys::child(|| {
            sys::sleep_ms(100);
            let made = open("n4", o::RDWR | o::CREAT, 0o644).is_ok();
            let _ = sys::write(writer, if made { b"made" } else { b"none" });
            0
        });
        0
    });
    t.say("orphan's parent", first);
    t.say("orphan", format!("{:?}", sys::read(reader).map(|b| String::from_utf8_lossy(&b).into_owned())));
    let status = sys::apart(|| {
        let _ = call(nr::SETSID, &[]);
        t.fd("in a session of its own", open("n5", o::RDWR | o::CREAT, 0o644), &["n5"]);
        0
    });
    t.say("session", status);
    let status = sys::apart(|| {
        // PR_SET_DUMPABLE 0, as ssh-agent sets it.
        t.call("not dumpable", call(nr::PRCTL, &[4, 0, 0, 0, 0]), &[]).ok();
        t.fd("not dumpable, new", open("n6", o::RDWR | o::CREAT, 0o644), &["n6"]);
        t.call("not dumpable, rename", call(nr::RENAME, &[text("n6"), text("n7")]), &["n7"]).ok();
        0
    });
    t.say("not dumpable", status);
    let status = sys::apart(|| {
        let own = std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default();
        sys::exec(&own, &["make", "n8"])
    });
    t.say("started program", status);
    t.say("it made", t.state("n8"));
    let removed = call(nr::UNLINKAT, &[AT_FDCWD, text("n8"), 0]);
    t.call("removed", removed, &["n8"]).ok();
    let mut threads = vec![];
    for i in 0..16 {
        threads.push(std::thread::spawn(move || {
            (0..50).filter(|j| open(&format!("t{i}-{j}"), o::WRONLY | o::CREAT | o::EXCL, 0o644).map(sys::close).is_ok()).count()
        }));
    }
    let made: usize = threads.into_iter().map(|h| h.join().unwrap_or(0)).sum();
    t.say("made by 16 threads", made);
}

/// A terminal that becomes the terminal of a session.
pub fn terminal(t: &Tell) {
    let Some(master) = t.opened("master", open("/dev/ptmx", o::RDWR | 0o400, 0), &[]) else {
        return;
    };
    let (mut number, zero) = (0i32, 0i32);
    t.call("unlocked", call(nr::IOCTL, &[master, 0x4004_5431, at(&zero)]), &[]).ok();
    let _ = call(nr::IOCTL, &[master, 0x8004_5430, into(&mut number)]);
    let name = format!("/dev/pts/{number}");
    let status = sys::apart(|| {
        let _ = call(nr::SETSID, &[]);
        let own = open(&name, o::RDWR, 0);
        t.say("opened", own.is_ok());
        t.say("is the session's", open("/dev/tty", o::RDWR, 0).is_ok());
        0
    });
    t.say("session", status);
}
