//! Makes one call for each line of a plan: the call, a path, and perhaps a second path.

use crate::sys::{self, AT_FDCWD, Answer, at, call, nr, o, open, text};
use crate::tell::{print, shown};

pub fn run(file: &str) -> i32 {
    let Ok(plan) = std::fs::read_to_string(file) else {
        return 1;
    };
    for line in plan.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            [what, path] => one(what, path),
            [what, path, other] => two(what, path, other),
            _ => Err(0),
        };
        let answer = answer.map(|_| 0);
        print(&format!("{line} -> {}", shown(answer)));
    }
    0
}

fn closed(answer: Answer) -> Answer {
    answer.inspect(|fd| sys::close(*fd))
}

fn one(what: &str, path: &str) -> Answer {
    let name = text(path);
    match what {
        "read" => closed(open(path, o::RDONLY, 0)),
        "list" => closed(open(path, o::RDONLY | o::DIRECTORY, 0)),
        "edit" => closed(open(path, o::WRONLY, 0)),
        "both" => closed(open(path, o::RDWR | o::APPEND, 0)),
        "empty" => closed(open(path, o::WRONLY | o::TRUNC, 0)),
        "truncate" => call(nr::TRUNCATE, &[name, 1]),
        "make" => closed(open(path, o::WRONLY | o::CREAT | o::EXCL, 0o644)),
        "directory" => call(nr::MKDIR, &[name, 0o755]),
        "fifo" => call(nr::MKNOD, &[name, 0o010_644, 0]),
        "symlink" => call(nr::SYMLINK, &[text("nowhere"), name]),
        "nameless" => {
            let (directory, _) = path.rsplit_once('/').unwrap_or((".", path));
            let fd = open(directory, o::WRONLY | o::TMPFILE, 0o644)?;
            let answer = call(nr::LINKAT, &[fd, text(""), AT_FDCWD, name, sys::AT_EMPTY_PATH]);
            sys::close(fd);
            answer
        }
        "unlink" => call(nr::UNLINK, &[name]),
        "rmdir" => call(nr::RMDIR, &[name]),
        "chmod" => call(nr::CHMOD, &[name, 0o755]),
        "times" => call(nr::UTIMENSAT, &[AT_FDCWD, name, at(&[1i64, 0, 2, 0]), 0]),
        "attribute" => call(nr::SETXATTR, &[name, text("user.x"), at("x".as_bytes()), 1, 0]),
        _ => Err(0),
    }
}

fn two(what: &str, path: &str, other: &str) -> Answer {
    let (from, to) = (text(path), text(other));
    match what {
        "rename" => call(nr::RENAME, &[from, to]),
        "exchange" => call(nr::RENAMEAT2, &[AT_FDCWD, from, AT_FDCWD, to, 2]),
        "link" => call(nr::LINK, &[from, to]),
        _ => Err(0),
    }
}
