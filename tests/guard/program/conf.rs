//! Calls with the same answers with and without a guard. Each section has its own process and directory.

use crate::sys::{self, AT_FDCWD, call, nr, o, text};
use crate::tell::Tell;
use crate::{conf_metadata, conf_names, conf_open, conf_paths, conf_process, conf_sockets};

type Section = (&'static str, fn(&Tell));

const SECTIONS: &[Section] = &[
    ("open", conf_open::plain),
    ("open-create", conf_open::create),
    ("open-kinds", conf_open::kinds),
    ("open-wrong", conf_open::wrong),
    ("tmpfile", conf_open::nameless),
    ("openat2", conf_open::openat2),
    ("paths", conf_paths::forms),
    ("deleted", conf_paths::deleted),
    ("procfs", conf_paths::procfs),
    ("procfs-threads", conf_paths::threads),
    ("mkdir", conf_names::mkdir),
    ("mknod", conf_names::mknod),
    ("symlink", conf_names::symlink),
    ("link", conf_names::link),
    ("unlink", conf_names::unlink),
    ("rename", conf_names::rename),
    ("renameat2", conf_names::renameat2),
    ("truncate", conf_names::truncate),
    ("chmod", conf_metadata::chmod),
    ("chown", conf_metadata::chown),
    ("times", conf_metadata::times),
    ("xattr", conf_metadata::attributes),
    ("acl", conf_metadata::default_acl),
    ("flags", conf_metadata::flags),
    ("umask", conf_process::umask),
    ("locks", conf_process::locks),
    ("inotify", conf_process::inotify),
    ("limits", conf_process::limits),
    ("descriptors", conf_process::descriptors),
    ("children", conf_process::children),
    ("terminal", conf_process::terminal),
    ("unix", conf_sockets::stream),
    ("unix-names", conf_sockets::names),
    ("unix-full", conf_sockets::full),
    ("unix-datagram", conf_sockets::datagram),
    ("tcp", conf_sockets::tcp),
];

/// Runs all sections, or only the named one, in the current directory.
pub fn run(only: Option<&str>) -> i32 {
    let _ = call(nr::UMASK, &[0o022]);
    let _ = call(nr::SETSID, &[]);
    for fd in 3..64 {
        sys::close(fd);
    }
    let top = std::env::current_dir().map_or_else(|e| e.to_string(), |d| d.display().to_string());
    let mut failed = 0;
    for (name, section) in SECTIONS {
        if only.is_some_and(|o| o != *name) {
            continue;
        }
        let status = sys::apart(|| {
            let _ = call(nr::ALARM, &[20]);
            let _ = call(nr::MKDIR, &[text(*name), 0o755]);
            let _ = call(nr::CHDIR, &[text(*name)]);
            fixture();
            section(&Tell::new(name, &format!("{top}/{name}")));
            0
        });
        if status != 0 {
            crate::tell::print(&format!("{name}: ended with {status}"));
            failed = 1;
        }
    }
    failed
}

/// The objects at the start of every section.
pub fn fixture() {
    fill("f", "hello");
    let _ = call(nr::MKDIR, &[text("d"), 0o755]);
    fill("d/in", "in");
    for (to, name) in [("f", "l"), ("missing", "dangling"), ("b", "a"), ("a", "b"), ("d", "ld")] {
        let _ = call(nr::SYMLINK, &[text(to), text(name)]);
    }
    fill("ro", "read only");
    let _ = call(nr::CHMOD, &[text("ro"), 0o400]);
    fill("none", "no rights");
    let _ = call(nr::CHMOD, &[text("none"), 0]);
    let _ = call(nr::MKNOD, &[text("p"), 0o010_644, 0]);
}

/// Makes a file with these contents.
pub fn fill(path: &str, words: &str) {
    if let Ok(fd) = call(nr::OPENAT, &[AT_FDCWD, text(path), o::WRONLY | o::CREAT | o::TRUNC, 0o644]) {
        let _ = sys::write(fd, words.as_bytes());
        sys::close(fd);
    }
}
