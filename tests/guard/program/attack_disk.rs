//! Another thread exchanges links and directories on disk while a call looks up its path.

use crate::conf::fill;
use crate::denied::read_out;
use crate::sys::{self, AT_FDCWD, AT_SYMLINK_FOLLOW, Answer, at, call, nr, o, open, text};
use crate::tell::print;
use std::sync::atomic::{AtomicBool, Ordering};

/// Does `work` repeatedly while another thread does `other` repeatedly.
fn race(what: &str, count: usize, other: impl Fn() + Sync, work: impl Fn() -> Answer) {
    let stop = AtomicBool::new(false);
    let mut done = 0;
    std::thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                other();
            }
        });
        for _ in 0..count {
            done += usize::from(work().is_ok());
        }
        stop.store(true, Ordering::Relaxed);
    });
    print(&format!("{what}: {done} of {count}"));
}

fn exchange(one: i64, other: i64) {
    let _ = call(nr::RENAMEAT2, &[AT_FDCWD, one, AT_FDCWD, other, 2]);
}

pub fn links(count: usize) {
    // A link to a directory, and a link to a file. Each leads to an allowed object, and to a denied one.
    for (to, name) in [
        ("secreA", "way"), ("secret", "other-way"), ("secreA/key", "file"), ("secret/key", "other-file"),
        ("out/real", "dangling"), ("secret/made", "other-dangling"),
    ] {
        let _ = call(nr::SYMLINK, &[text(to), text(name)]);
    }
    let ways = [text("way"), text("other-way")];
    let flip = || exchange(ways[0], ways[1]);
    let (key, made) = (text("way/key"), text("way/made"));
    let removed = text("secreA/made");
    race("read through a link", count, flip, || {
        let answer = call(nr::OPENAT, &[AT_FDCWD, key, o::RDONLY, 0]);
        read_out(answer);
        answer
    });
    race("create through a link", count, flip, || {
        let answer = call(nr::OPENAT, &[AT_FDCWD, made, o::WRONLY | o::CREAT, 0o644]);
        answer.map(sys::close).ok();
        let _ = call(nr::UNLINK, &[removed]);
        answer
    });
    let few = count / 4;
    race("mkdir through a link", few, flip, || {
        let answer = call(nr::MKDIR, &[made, 0o755]);
        let _ = call(nr::RMDIR, &[removed]);
        answer
    });
    let source = text("out/source");
    race("rename through a link", few, flip, || {
        let answer = call(nr::RENAME, &[source, made]);
        let _ = call(nr::RENAME, &[removed, source]);
        answer
    });
    race("unlink through a link", few, flip, || {
        let answer = call(nr::UNLINK, &[key]);
        fill("secreA/key", "plain");
        answer
    });
    race("truncate through a link", few, flip, || call(nr::TRUNCATE, &[key, 3]));
    race("chmod through a link", few, flip, || call(nr::CHMOD, &[key, 0o755]));
    let times = [1000i64, 0, 2000, 0];
    race("utimensat through a link", few, flip, || call(nr::UTIMENSAT, &[AT_FDCWD, key, at(&times), 0]));
    let value = "x".as_bytes();
    race("setxattr through a link", few, flip, || call(nr::SETXATTR, &[key, text("user.x"), at(value), 1, 0]));
    let away = text("out/away");
    race("link away through a link", few, flip, || {
        let answer = call(nr::LINKAT, &[AT_FDCWD, key, AT_FDCWD, away, 0]);
        read_out(sys::open("out/away", o::RDONLY, 0));
        let _ = call(nr::UNLINK, &[away]);
        answer
    });
    let files = [text("file"), text("other-file")];
    let flip = || exchange(files[0], files[1]);
    race("read a link", few, flip, || {
        let answer = call(nr::OPENAT, &[AT_FDCWD, files[0], o::RDONLY, 0]);
        read_out(answer);
        answer
    });
    race("write a link", few, flip, || {
        let answer = call(nr::OPENAT, &[AT_FDCWD, files[0], o::WRONLY | o::APPEND, 0]);
        if let Ok(fd) = answer {
            let _ = sys::write(fd, b"x");
            sys::close(fd);
        }
        answer
    });
    race("link away a link, followed", few, flip, || {
        let answer = call(nr::LINKAT, &[AT_FDCWD, files[0], AT_FDCWD, away, AT_SYMLINK_FOLLOW]);
        read_out(sys::open("out/away", o::RDONLY, 0));
        let _ = call(nr::UNLINK, &[away]);
        answer
    });
    let dangling = [text("dangling"), text("other-dangling")];
    let flip = || exchange(dangling[0], dangling[1]);
    race("create behind a dangling link", few, flip, || {
        let answer = call(nr::OPENAT, &[AT_FDCWD, dangling[0], o::WRONLY | o::CREAT, 0o644]);
        answer.map(sys::close).ok();
        let _ = call(nr::UNLINK, &[text("out/real")]);
        answer
    });
}

/// An entry that is first a directory, and then a link.
pub fn directories(count: usize) {
    for name in ["real", "real/in"] {
        let _ = call(nr::MKDIR, &[text(name), 0o755]);
    }
    fill("real/key", "plain");
    let _ = call(nr::SYMLINK, &[text("secret"), text("unreal")]);
    let names = [text("real"), text("unreal")];
    let (key, made) = (text("real/key"), text("real/made"));
    race("read in what is exchanged", count, || exchange(names[0], names[1]), || {
        let answer = call(nr::OPENAT, &[AT_FDCWD, key, o::RDONLY, 0]);
        read_out(answer);
        answer
    });
    race("create in what is exchanged", count, || exchange(names[0], names[1]), || {
        let answer = call(nr::OPENAT, &[AT_FDCWD, made, o::WRONLY | o::CREAT, 0o644]);
        answer.map(sys::close).ok();
        answer
    });
    let up = text("real/in/../../secret/key");
    race("dot dot from what is exchanged", count / 4, || exchange(names[0], names[1]), || {
        let answer = call(nr::OPENAT, &[AT_FDCWD, up, o::RDONLY, 0]);
        read_out(answer);
        answer
    });
}

/// `vault/in` may not be made, but `stage` may become `vault`. To make `stage/in` at that moment is to make `vault/in`.
pub fn parents(count: usize) {
    let (stage, vault) = (text("stage"), text("vault"));
    let inside = text("stage/in");
    let _ = call(nr::MKDIR, &[stage, 0o755]);
    let mut made = 0;
    let flip = || {
        let _ = call(nr::RENAME, &[stage, vault]);
        let _ = call(nr::RENAME, &[vault, stage]);
    };
    let looked = || {
        if sys::open("vault/in", o::PATH, 0).is_ok() {
            print("LEAK: `vault/in` was made");
        }
    };
    race("made while its parent moves", count, flip, || {
        let answer = call(nr::OPENAT, &[AT_FDCWD, inside, o::WRONLY | o::CREAT | o::EXCL, 0o644]);
        answer.map(sys::close).ok();
        looked();
        let _ = call(nr::UNLINK, &[inside]);
        answer
    });
    race("made a directory while its parent moves", count / 4, flip, || {
        let answer = call(nr::MKDIR, &[inside, 0o755]);
        looked();
        let _ = call(nr::RMDIR, &[inside]);
        answer
    });
    race("linked while its parent moves", count / 4, flip, || {
        let answer = call(nr::LINK, &[text("out/f"), inside]);
        looked();
        let _ = call(nr::UNLINK, &[inside]);
        answer
    });
    let held = sys::open("stage", o::PATH, 0).or_else(|_| sys::open("vault", o::PATH, 0)).unwrap_or(-1);
    race("made by a descriptor while it moves", count / 4, flip, || {
        let answer = call(nr::OPENAT, &[held, text("in"), o::WRONLY | o::CREAT | o::EXCL, 0o644]);
        answer.map(sys::close).ok();
        looked();
        let _ = call(nr::UNLINK, &[inside]);
        answer
    });
    // A directory with an entry that would be denied at its new name.
    let _ = call(nr::RENAME, &[vault, stage]);
    let _ = call(nr::MKDIR, &[text("full"), 0o755]);
    fill("full/in", "plain");
    for (what, answer) in [
        ("rename", call(nr::RENAME, &[text("full"), vault])),
        ("exchange", call(nr::RENAMEAT2, &[AT_FDCWD, text("full"), AT_FDCWD, stage, 2]).and_then(|_| call(nr::RENAME, &[stage, vault]))),
        ("a directory with a secret beneath", call(nr::RENAME, &[text("sub"), text("sub2")])),
        ("exchanged with one that has a secret beneath", call(nr::RENAMEAT2, &[AT_FDCWD, text("out"), AT_FDCWD, text("sub"), 2])),
        ("moved deeper", call(nr::RENAME, &[text("sub"), text("out/sub")])),
    ] {
        made += usize::from(answer.is_ok());
        if answer.is_ok() {
            print(&format!("LEAK: moved by {what}"));
        }
    }
    print(&format!("moved: {made} of 5"));
}

/// A directory that the program may write becomes one in which `in` may not be made. Rights on it must not move along.
/// Then calls that look harmless, and are not any more when the kernel does them.
pub fn moved(count: usize) {
    for (from, to) in [("stage", "vault"), ("above", "cellar")] {
        print(&format!("moved -> {}", crate::tell::shown(call(nr::RENAME, &[text(from), text(to)]))));
    }
    // A process outside makes it.
    for name in ["vault/in", "cellar/stage/in"] {
        let made = (0..100).any(|_| {
            sys::sleep_ms(20);
            open(name, o::PATH, 0).is_ok()
        });
        sys::sleep_ms(50);
        let answer = open(name, o::WRONLY | o::TRUNC, 0);
        print(&format!("{name} made outside: {made}, written: {}", answer.is_ok()));
        answer.map(sys::close).ok();
    }
    let (vault, cellar) = (open("vault", o::PATH, 0).is_ok(), open("cellar", o::PATH, 0).is_ok());
    // Then they are removed again.
    for (name, there) in [("vault/in", vault), ("cellar/stage/in", cellar)] {
        let gone = !there || (0..500).any(|_| {
            sys::sleep_ms(20);
            open(name, o::PATH, 0).is_err()
        });
        print(&format!("{name} gone: {gone}"));
    }
    let denied = text("vault/in");
    let how = [o::RDONLY as u64, 0, 0];
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut n = 0u32;
            while !stop.load(Ordering::Relaxed) {
                // O_RDONLY, then O_WRONLY | O_CREAT.
                sys::poke(at(&how), [0, 0o101][(n & 1) as usize]);
                n = n.wrapping_add(1);
                for _ in 0..(n.wrapping_mul(2_654_435_761) >> 20) {
                    std::hint::spin_loop();
                }
            }
        });
        for _ in 0..count {
            let answer = call(nr::OPENAT2, &[AT_FDCWD, denied, at(&how), 24]);
            answer.map(sys::close).ok();
        }
        stop.store(true, Ordering::Relaxed);
    });
    // A path that the kernel decides about, and then another path of the same length.
    let (harmless, other) = (*b"/proc/self/comm\0", *b"././/./vault/in\0");
    let path = harmless;
    stop.store(false, Ordering::Relaxed);
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut n = 0u32;
            while !stop.load(Ordering::Relaxed) {
                let words = if n & 1 == 0 { harmless } else { other };
                for (i, byte) in words.iter().enumerate() {
                    sys::poke(at(&path) + i as i64, *byte);
                }
                n = n.wrapping_add(1);
                for _ in 0..(n.wrapping_mul(2_654_435_761) >> 20) {
                    std::hint::spin_loop();
                }
            }
        });
        for _ in 0..count {
            let answer = call(nr::OPENAT, &[AT_FDCWD, at(&path), o::WRONLY | o::CREAT, 0o644]);
            answer.map(sys::close).ok();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Hard links, descriptors and procfs, without a race.
pub fn ways() {
    let here = std::env::current_dir().map_or_else(|e| e.to_string(), |d| d.display().to_string());
    let mut lines = vec![];
    let mut tried = |what: &str, answer: Answer| {
        read_out(answer);
        lines.push((what.to_owned(), answer.is_ok()));
    };
    let directory = sys::open("secret", o::PATH | o::DIRECTORY, 0).unwrap_or(-1);
    let file = sys::open("secret/key", o::PATH, 0).unwrap_or(-1);
    for path in [
        "secret/key".to_owned(), format!("{here}/secret/key"), format!("/proc/self/root{here}/secret/key"),
        "/proc/self/cwd/secret/key".to_owned(), format!("/proc/self/fd/{directory}/key"), format!("/proc/self/fd/{file}"),
        format!("/dev/fd/{file}"), format!("/dev/fd/{directory}/key"), format!("/proc/thread-self/fd/{file}"),
        format!("/proc/{}/cwd/secret/key", std::process::id()), format!("/proc/{}/fd/{file}", std::process::id()),
        format!("/proc/self/task/{}/cwd/secret/key", std::process::id()), format!("/proc/self/fd/{directory}/../secret/key"),
        format!("/proc/1/root{here}/secret/key"), "out/../secret/./key".to_owned(), "to-secret/key".to_owned(),
        format!("/proc/self/task/{}/root{here}/to-here/secret/key", std::process::id()),
    ] {
        for flags in [o::RDONLY, o::RDWR, o::WRONLY | o::TRUNC, o::WRONLY | o::CREAT, o::RDONLY | o::NONBLOCK] {
            tried(&path, sys::open(&path, flags, 0o644));
        }
    }
    for name in ["key", "./key", "../secret/key", "deep/../key"] {
        tried(name, call(nr::OPENAT, &[directory, text(name), o::RDONLY, 0]));
        tried(name, call(nr::OPENAT, &[directory, text(name), o::RDWR | o::CREAT, 0o644]));
    }
    // From inside: by the name alone, and by the links of another process.
    let status = sys::apart(|| {
        // A hidden directory cannot be entered.
        if call(nr::FCHDIR, &[directory]).is_err() {
            return 0;
        }
        let mut got = 0;
        for name in ["key", "./key", "/proc/self/cwd/key", "new", "../secret/key", "deep/../key"] {
            for flags in [o::RDONLY, o::RDWR | o::CREAT] {
                let answer = sys::open(name, flags, 0o644);
                read_out(answer);
                got += i32::from(answer.is_ok());
            }
        }
        got + i32::from(call(nr::MKDIR, &[text("m"), 0o755]).is_ok()) + i32::from(call(nr::UNLINK, &[text("key")]).is_ok())
            + i32::from(call(nr::LINK, &[text("key"), text("../out/away")]).is_ok())
    });
    tried("in the directory", if status == 0 { Err(13) } else { Ok(0) });
    // A hidden secret cannot be entered. Then another directory in which nothing may be written is used.
    let (reader, writer) = sys::pipe();
    let child = sys::child(|| {
        let entered = call(nr::FCHDIR, &[directory]).is_ok();
        let _ = call(nr::CHDIR, &[text(if entered { "." } else { "hooks" })]);
        let _ = sys::write(writer, if entered { b"x" } else { b"-" });
        sys::sleep_ms(5000);
        0
    });
    let entered = sys::read(reader).is_ok_and(|b| b == b"x");
    for path in [
        format!("/proc/{child}/cwd/key"), format!("/proc/{child}/fd/{file}"), format!("/proc/{child}/fd/{directory}/key"),
        format!("/proc/{child}/root{here}/secret/key"), format!("/proc/{child}/task/{child}/cwd/key"),
    ] {
        for flags in [o::RDWR, o::WRONLY | o::CREAT, o::WRONLY | o::TRUNC, o::RDONLY] {
            if flags != o::RDONLY || entered || !path.contains("cwd") {
                tried(&path, sys::open(&path, flags, 0o644));
            }
        }
    }
    tried("made in another's directory", sys::open(&format!("/proc/{child}/cwd/new"), o::RDWR | o::CREAT, 0o644));
    tried("mkdir in another's directory", call(nr::MKDIR, &[text(format!("/proc/{child}/cwd/m")), 0o755]));
    tried("rename from another's directory", call(nr::RENAME, &[text(format!("/proc/{child}/cwd/key")), text("out/away")]));
    let _ = call(nr::KILL, &[child, 9]);
    sys::wait(child);
    // A file that may only be read must not become writable when its descriptor is opened again.
    let hook = sys::open("hooks/old", o::RDONLY, 0).unwrap_or(-1);
    for path in [format!("/proc/self/fd/{hook}"), format!("/dev/fd/{hook}"), format!("/proc/thread-self/fd/{hook}")] {
        for flags in [o::RDWR, o::WRONLY | o::TRUNC, o::WRONLY | o::APPEND, o::RDONLY | o::TRUNC] {
            tried(&path, sys::open(&path, flags, 0o644));
        }
        tried(&path, call(nr::TRUNCATE, &[text(path.as_str()), 0]));
    }
    let got = lines.iter().filter(|l| l.1).count();
    for (what, _) in lines.iter().filter(|l| l.1) {
        print(&format!("LEAK: {what} was opened"));
    }
    print(&format!("ways: {got} of {}", lines.len()));
}
