//! Writes lines about a call's answer and its effects. They leave out everything that differs from run to run.

use crate::sys::{self, Answer, at, call, into, nr, o, text};

/// Writes the lines of one section.
pub struct Tell {
    section: &'static str,
    /// The directory that the lines show as `$W`.
    top: String,
}

impl Tell {
    pub fn new(section: &'static str, top: &str) -> Self {
        Self {
            section,
            top: top.to_owned(),
        }
    }

    /// One line: the call, its answer, and the state of these paths.
    pub fn call(&self, what: &str, answer: Answer, paths: &[&str]) -> Answer {
        let mut line = format!("{}: {what} -> {}", self.section, shown(answer));
        for path in paths {
            line.push_str(&format!("; {path} {}", self.state(path)));
        }
        print(&line);
        answer
    }

    /// One line for a call that returns a descriptor. Closes the descriptor.
    pub fn fd(&self, what: &str, answer: Answer, paths: &[&str]) {
        if let Some(fd) = self.opened(what, answer, paths) {
            sys::close(fd);
        }
    }

    /// One line for a call that returns a descriptor.
    pub fn opened(&self, what: &str, answer: Answer, paths: &[&str]) -> Option<i64> {
        let mut line = format!("{}: {what} -> ", self.section);
        match answer {
            Ok(fd) => line.push_str(&format!("fd {}", self.descriptor(fd))),
            Err(e) => line.push_str(&sys::error(e)),
        }
        for path in paths {
            line.push_str(&format!("; {path} {}", self.state(path)));
        }
        print(&line);
        answer.ok()
    }

    /// One line about anything else.
    pub fn say(&self, what: &str, found: impl std::fmt::Display) {
        print(&format!("{}: {what} -> {found}", self.section));
    }

    /// A descriptor: its number, its flags, and its file.
    pub fn descriptor(&self, fd: i64) -> String {
        const F_GETFD: i64 = 1;
        const F_GETFL: i64 = 3;
        let status = call(nr::FCNTL, &[fd, F_GETFL]).unwrap_or(-1);
        let close = call(nr::FCNTL, &[fd, F_GETFD]).unwrap_or(-1);
        let mut fields = [0u64; 18];
        let kept = call(nr::FSTAT, &[fd, into(&mut fields)]);
        let kind = kept.map_or("?".to_owned(), |_| kind(&fields));
        let name = self.link(&format!("/proc/self/fd/{fd}"));
        format!("{fd} flags {status:o} close-on-exec {close} {kind} {name}")
    }

    /// The object at a path, without following a link: kind, mode, links, size, contents.
    pub fn state(&self, path: &str) -> String {
        let mut fields = [0u64; 18];
        if let Err(e) = call(nr::LSTAT, &[text(path), into(&mut fields)]) {
            return sys::error(e);
        }
        let mut line = kind(&fields);
        match mode(&fields) & 0o170_000 {
            0o120_000 => line.push_str(&format!(" to {}", self.link(path))),
            0o100_000 => {
                if let Ok(fd) = sys::open(path, o::RDONLY | o::NONBLOCK, 0) {
                    let found = sys::read(fd).unwrap_or_default();
                    let start = String::from_utf8_lossy(&found[..found.len().min(40)]).into_owned();
                    line.push_str(&format!(" {start:?}"));
                    sys::close(fd);
                }
            }
            _ => {}
        }
        line
    }

    /// The target of a link. The workspace's path is shortened, and inode numbers are left out.
    pub fn link(&self, path: &str) -> String {
        let mut bytes = [0u8; 4096];
        match call(nr::READLINK, &[text(path), into(&mut bytes), 4096]) {
            Ok(n) => {
                let found = String::from_utf8_lossy(&bytes[..n as usize]).into_owned();
                let own = format!("/proc/{}", std::process::id());
                let found = found.replace(&self.top, "$W").replace(&own, "/proc/$$");
                match found.split_once(":[") {
                    Some((kind, _)) => format!("{kind}:[]"),
                    // The name of a file without a name has its inode number.
                    None if found.contains("/#") => "without a name".to_owned(),
                    None => found,
                }
            }
            Err(e) => sys::error(e),
        }
    }
}

/// A line on standard output, in one write.
pub fn print(line: &str) {
    let line = format!("{line}\n");
    let _ = call(nr::WRITE, &[1, at(line.as_bytes()), line.len() as i64]);
}

pub fn shown(answer: Answer) -> String {
    answer.map_or_else(sys::error, |n| n.to_string())
}

fn mode(fields: &[u64; 18]) -> u64 {
    fields[3] & 0xffff_ffff
}

/// Kind, permissions, number of links, and the size of a regular file.
fn kind(fields: &[u64; 18]) -> String {
    let mode = mode(fields);
    let name = match mode & 0o170_000 {
        0o040_000 => "directory",
        0o100_000 => "file",
        0o120_000 => "link",
        0o010_000 => "fifo",
        0o140_000 => "socket",
        0o020_000 => "character-device",
        _ => "other",
    };
    let (user, group) = (fields[3] >> 32, fields[4] & 0xffff_ffff);
    let mut line = format!("{name} {:o} of {user}:{group}", mode & 0o7777);
    if name == "file" {
        line.push_str(&format!(" links {} size {}", fields[2], fields[6]));
    }
    line
}
