//! One operation on one object.

use crate::fixture::Needs;
use crate::sys::{self, number};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

/// The object that an attempt needs.
pub fn needs(kind: &str) -> Needs {
    match kind {
        "read" | "append" | "truncate" | "unlink" | "rename" | "chmod" | "touch" => Needs::File,
        "open-truncate" | "rewrite" | "chown" | "utime" | "setxattr" => Needs::File,
        "read-linked" | "open-read-truncate" | "append-linked" | "rename-over" | "exchange" => {
            Needs::File
        }
        "rename-out" | "chmod-read" | "chmod-linked" => Needs::File,
        "rename-above" => Needs::FileInOwn,
        "rename-above-to" => Needs::NothingAbove,
        "map" | "exec" | "exec-fd" | "exec-linked" => Needs::Program,
        "list" | "rmdir" | "rename-dir" | "chmod-dir" | "touch-dir" | "rename-dir-out" => {
            Needs::Directory
        }
        "connect" | "unlink-socket" => Needs::Listener,
        "send" => Needs::Receiver,
        "read-fifo" | "append-fifo" | "unlink-fifo" => Needs::Fifo,
        "unlink-link" => Needs::Link,
        "tcp-connect" | "udp-connect" | "tcp-bind" | "udp-bind" => Needs::NoObject,
        _ => Needs::Nothing,
    }
}

/// The object that must be at the other path.
pub fn needs_of_ally(kind: &str) -> Needs {
    match kind {
        "link" | "rename-to" | "rename-over" | "exchange" => Needs::File,
        "rename-dir-to" => Needs::Directory,
        "rename-above-to" => Needs::FileWithin,
        _ => Needs::Nothing,
    }
}

/// Tries it. Returns the error number, or 0 for success.
pub fn attempt(kind: &str, path: &Path, ally: Option<&Path>) -> i32 {
    // The ways that need another path get one.
    let other = ally.unwrap_or(path);
    match kind {
        "read" => number(File::open(path).and_then(|mut f| f.read(&mut [0; 1]))),
        "map" => number(File::open(path).and_then(|f| sys::map_code(&f))),
        "read-fifo" => number(sys::open_at_once(path, OpenOptions::new().read(true))),
        "read-linked" => {
            let linked = fs::hard_link(path, other).and_then(|()| File::open(other));
            number(linked.and_then(|mut f| f.read(&mut [0; 1])))
        }
        "list" => number(fs::read_dir(path).and_then(|mut d| d.next().transpose())),
        "append" => number(append(path)),
        "append-fifo" => number(sys::open_at_once(path, OpenOptions::new().write(true))),
        "append-linked" => number(fs::hard_link(path, other).and_then(|()| append(other))),
        "truncate" => number(sys::cut(path)),
        "open-truncate" => number(OpenOptions::new().write(true).truncate(true).open(path)),
        "open-read-truncate" => {
            // The standard library refuses this combination.
            const O_TRUNC: i32 = 0o1000;
            number(OpenOptions::new().read(true).custom_flags(O_TRUNC).open(path))
        }
        "rewrite" => number(File::create(path)),
        "creat" => number(OpenOptions::new().write(true).create_new(true).open(path)),
        "tmpfile" => number(sys::nameless(path)),
        "mknod" => number(sys::regular(path)),
        "mkchr" => number(sys::device(path, true)),
        "mkblk" => number(sys::device(path, false)),
        "mkdir" => number(fs::create_dir(path)),
        "symlink" => number(symlink("to", path)),
        "mkfifo" => number(sys::fifo(path)),
        "bind" => number(UnixListener::bind(path)),
        "link" => number(fs::hard_link(other, path)),
        "unlink" | "unlink-link" | "unlink-fifo" | "unlink-socket" => number(fs::remove_file(path)),
        "rmdir" => number(fs::remove_dir(path)),
        "rename" | "rename-dir" => {
            let mut to = path.as_os_str().to_owned();
            to.push("-moved");
            number(fs::rename(path, to))
        }
        "rename-to" | "rename-dir-to" | "rename-over" => number(fs::rename(other, path)),
        "rename-out" | "rename-dir-out" => number(fs::rename(path, other)),
        "rename-above" => number(fs::rename(above(path), other)),
        "rename-above-to" => number(fs::rename(other, above(path))),
        "exchange" => number(sys::exchange(path, other)),
        "chmod" | "chmod-dir" => number(change_mode(path)),
        "chmod-read" => {
            let mode = fs::Permissions::from_mode(0o700);
            number(File::open(path).and_then(|f| f.set_permissions(mode)))
        }
        "chmod-linked" => number(fs::hard_link(path, other).and_then(|()| change_mode(other))),
        "chown" => number(own(path)),
        "touch" | "touch-dir" => number(sys::touch(path, false)),
        "utime" => number(sys::touch(path, true)),
        "setxattr" => number(sys::set_attribute(path, c"user.polc", b"x")),
        "exec" => started(|| sys::exec(path, &[])),
        "exec-fd" => {
            // Opened only as a path, because opening it for reading would be reading.
            const O_PATH: i32 = 0o10_000_000;
            let mut options = OpenOptions::new();
            match options.read(true).custom_flags(O_PATH).open(path) {
                Ok(file) => started(|| sys::exec_open(&file)),
                Err(e) => number::<()>(Err(e)),
            }
        }
        "exec-linked" => match fs::hard_link(path, other) {
            Ok(()) => started(|| sys::exec(other, &[])),
            Err(e) => number::<()>(Err(e)),
        },
        "connect" => number(UnixStream::connect(path)),
        "send" => number(UnixDatagram::unbound().and_then(|s| s.send_to(b"x", path))),
        "tcp-connect" | "udp-connect" | "tcp-bind" | "udp-bind" => on_address(kind, path),
        _ => 255,
    }
}

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn append(path: &Path) -> io::Result<usize> {
    OpenOptions::new().append(true).open(path)?.write(b"x")
}

fn change_mode(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Sets its owner to the owner that it has.
fn own(path: &Path) -> io::Result<()> {
    let is = path.metadata()?;
    chown(path, Some(is.uid()), Some(is.gid()))
}

/// Whether a program starts, in a separate process.
fn started(start: impl FnOnce() -> i32) -> i32 {
    match sys::in_child(start) {
        sys::STARTED => 0,
        error => error,
    }
}

/// Connects or binds a socket. The machine has no network, so a call that is not refused fails because of that.
fn on_address(kind: &str, address: &Path) -> i32 {
    const EADDRINUSE: i32 = 98;
    const EADDRNOTAVAIL: i32 = 99;
    const ENETDOWN: i32 = 100;
    const ENETUNREACH: i32 = 101;
    const ECONNREFUSED: i32 = 111;
    const EHOSTUNREACH: i32 = 113;
    let Some(address) = address.to_str().and_then(|a| a.parse::<SocketAddr>().ok()) else {
        return 255;
    };
    let tcp = kind.starts_with("tcp");
    let done = sys::socket(&address, tcp).and_then(|socket| {
        if kind.ends_with("connect") {
            sys::connect_to(&socket, &address)
        } else {
            sys::bind_to(&socket, &address)?;
            if tcp { sys::listen_on(&socket) } else { Ok(()) }
        }
    });
    match number(done) {
        EADDRINUSE | EADDRNOTAVAIL | ENETDOWN | ENETUNREACH | ECONNREFUSED | EHOSTUNREACH => 0,
        other => other,
    }
}
