//! One operation on one object.

use crate::fixture::Needs;
use crate::sys::{self, number};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::net::SocketAddr;
use std::path::Path;

/// What must be there for an attempt.
pub fn needs(kind: &str) -> Needs {
    match kind {
        "read" | "append" | "truncate" | "unlink" | "rename" | "chmod" | "touch" => Needs::File,
        "exec" => Needs::Program,
        "list" | "rmdir" | "rename-dir" | "chmod-dir" | "touch-dir" => Needs::Directory,
        "connect" => Needs::Listener,
        "tcp-connect" | "udp-connect" | "tcp-bind" | "udp-bind" => Needs::NoObject,
        _ => Needs::Nothing,
    }
}

/// Tries it; the error number, 0 for success.
pub fn attempt(kind: &str, path: &Path) -> i32 {
    match kind {
        "read" => number(File::open(path).and_then(|mut f| f.read(&mut [0; 1]))),
        "list" => number(fs::read_dir(path).and_then(|mut d| d.next().transpose())),
        "append" => {
            let file = OpenOptions::new().append(true).open(path);
            number(file.and_then(|mut f| f.write(b"x")))
        }
        "truncate" => number(sys::cut(path)),
        "creat" => number(OpenOptions::new().write(true).create_new(true).open(path)),
        "mknod" => number(sys::regular(path)),
        "mkdir" => number(fs::create_dir(path)),
        "symlink" => number(symlink("to", path)),
        "mkfifo" => number(sys::fifo(path)),
        "unlink" => number(fs::remove_file(path)),
        "rmdir" => number(fs::remove_dir(path)),
        "rename" | "rename-dir" => {
            let mut to = path.as_os_str().to_owned();
            to.push("-moved");
            number(fs::rename(path, to))
        }
        "chmod" | "chmod-dir" => {
            number(fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        }
        "touch" | "touch-dir" => number(sys::touch(path)),
        "exec" => match sys::in_child(|| sys::exec(path, &[])) {
            sys::STARTED => 0,
            error => error,
        },
        "connect" => number(UnixStream::connect(path)),
        "tcp-connect" | "udp-connect" | "tcp-bind" | "udp-bind" => on_address(kind, path),
        _ => 255,
    }
}

/// Connects or binds a socket. The machine has no network: what is not refused fails for want of one.
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
