//! Sockets: unix ones by path, abstract ones, and TCP on the loopback interface.

use crate::sys::{self, Answer, at, call, into, nr, o, text};
use crate::tell::Tell;

const UNIX: i64 = 1;
const STREAM: i64 = 1;
const DATAGRAM: i64 = 2;
const SEQPACKET: i64 = 5;

pub fn socket(kind: i64) -> i64 {
    call(nr::SOCKET, &[UNIX, kind, 0]).unwrap_or(-1)
}

/// `struct sockaddr_un`, and its length. A name that begins with NUL is abstract.
pub fn address(path: &str) -> (Vec<u8>, i64) {
    let mut bytes = 1u16.to_ne_bytes().to_vec();
    bytes.extend(path.as_bytes());
    if !path.starts_with('\0') {
        bytes.push(0);
    }
    let length = bytes.len() as i64;
    (bytes, length)
}

pub fn bind(fd: i64, path: &str) -> Answer {
    let (bytes, length) = address(path);
    call(nr::BIND, &[fd, at(&bytes[..]), length])
}

pub fn connect(fd: i64, path: &str) -> Answer {
    let (bytes, length) = address(path);
    call(nr::CONNECT, &[fd, at(&bytes[..]), length])
}

/// The name of a socket (`nr::GETSOCKNAME`), or the name of its other end.
fn name(number: i64, fd: i64) -> String {
    let (mut bytes, mut length) = ([0u8; 128], 128u32);
    match call(number, &[fd, into(&mut bytes), into(&mut length)]) {
        Ok(_) => format!("{length} {:?}", String::from_utf8_lossy(&bytes[2..(length as usize).clamp(2, 128)])),
        Err(e) => sys::error(e),
    }
}

/// Sends a descriptor through a pair of sockets, and says what arrives.
pub fn pass(pair: [i64; 2], fd: i64) -> String {
    let byte = [b'x'];
    let part = [at(&byte), 1];
    // Length, level SOL_SOCKET, type SCM_RIGHTS, the descriptor.
    let control = [20u64, 1 | (1 << 32), fd as u64];
    let message = [0, 0, at(&part), 1, at(&control), 24, 0];
    let sent = call(nr::SENDMSG, &[pair[0], at(&message), 0]);
    let mut control = [0u64; 3];
    let message = [0, 0, at(&part), 1, into(&mut control), 24, 0];
    let got = call(nr::RECVMSG, &[pair[1], at(&message), 0]);
    let new = control[2] & 0xffff_ffff;
    format!("{sent:?} {got:?} {}", call(nr::FCNTL, &[new as i64, 3]).is_ok())
}

pub fn stream(t: &Tell) {
    for (kind, what) in [(STREAM, "stream"), (SEQPACKET, "seqpacket")] {
        let path = format!("d/{what}");
        let (server, client) = (socket(kind), socket(kind));
        t.call(&format!("{what}, nobody there"), connect(client, &path), &[]).ok();
        t.call(&format!("{what}, bind"), bind(server, &path), &[&path]).ok();
        t.call(&format!("{what}, bind again"), bind(server, &format!("{path}2")), &[]).ok();
        t.call(&format!("{what}, nobody listens"), connect(client, &path), &[]).ok();
        t.call(&format!("{what}, listen"), call(nr::LISTEN, &[server, 4]), &[]).ok();
        t.call(&format!("{what}, connect"), connect(client, &path), &[]).ok();
        t.call(&format!("{what}, connect again"), connect(client, &path), &[]).ok();
        let accepted = call(nr::ACCEPT, &[server, 0, 0]).unwrap_or(-1);
        t.call("sent", sys::write(client, b"question"), &[]).ok();
        t.say("got", format!("{:?}", sys::read(accepted).map(|b| b.len())));
        let mut peer = [0u32; 3];
        let mut length = 12u32;
        let _ = call(nr::GETSOCKOPT, &[accepted, 1, 17, into(&mut peer), into(&mut length)]);
        t.say("user of the other end", format!("{} {}", peer[1], peer[2]));
        t.say("its process is the client", i64::from(peer[0]) == call(nr::GETPID, &[]).unwrap_or(0));
        t.say("name of the server", name(nr::GETSOCKNAME, server));
        t.say("name of the other end", name(nr::GETPEERNAME, client));
        t.say("name of the client", name(nr::GETSOCKNAME, client));
        let (another, other) = (socket(kind), socket(DATAGRAM));
        let _ = call(nr::SYMLINK, &[text(what), text(format!("d/to-{what}"))]);
        t.call("through a link", connect(another, &format!("ld/to-{what}")), &[]).ok();
        t.call("of another kind", connect(other, &path), &[]).ok();
        t.call("unlinked", call(nr::UNLINK, &[text(path.as_str())]), &[&path]).ok();
        t.call("after that", connect(socket(kind), &path), &[]).ok();
        t.say("still there", format!("{:?}", sys::write(client, b"more")));
    }
    t.call("to a file", connect(socket(STREAM), "f"), &[]).ok();
    t.call("to a directory", connect(socket(STREAM), "d"), &[]).ok();
    t.call("to a loop", connect(socket(STREAM), "a"), &[]).ok();
    t.call("beneath a file", connect(socket(STREAM), "f/x"), &[]).ok();
    t.call("to a file without rights", connect(socket(STREAM), "none"), &[]).ok();
    t.call("not a socket", connect(0, "f"), &[]).ok();
    t.call("closed", connect(99, "f"), &[]).ok();
    let (bytes, length) = address("f");
    t.call("address too short", call(nr::CONNECT, &[socket(STREAM), at(&bytes[..]), 1]), &[]).ok();
    t.call("address too long", call(nr::CONNECT, &[socket(STREAM), at(&bytes[..]), 200]), &[]).ok();
    t.call("no address", call(nr::CONNECT, &[socket(STREAM), 0, length]), &[]).ok();
    let wrong = [9u8, 0, b'f', 0];
    t.call("another family", call(nr::CONNECT, &[socket(STREAM), at(&wrong), 4]), &[]).ok();
}

pub fn names(t: &Tell) {
    let made = |path: &str| {
        let fd = socket(STREAM);
        let answer = bind(fd, path);
        (fd, answer)
    };
    for path in ["s1", "d/../s2", "ld/s3", "f", "dangling", "d", "missing/s", "f/s", "s4/", "."] {
        let (fd, answer) = made(path);
        t.call(&format!("bind {path:?}"), answer, &[path.trim_end_matches('/')]).ok();
        t.say(&format!("name of {path:?}"), name(nr::GETSOCKNAME, fd));
        sys::close(fd);
    }
    let _ = call(nr::UMASK, &[0o077]);
    t.call("with a mask", made("s5").1, &["s5"]).ok();
    let _ = call(nr::UMASK, &[0o022]);
    t.call("107 bytes", made(&format!("d/{}", "n".repeat(105))).1, &[]).ok();
    let full = format!("d/{}", "m".repeat(106));
    let mut bytes = 1u16.to_ne_bytes().to_vec();
    bytes.extend(full.as_bytes());
    let fd = socket(STREAM);
    t.call("108 bytes, no NUL", call(nr::BIND, &[fd, at(&bytes[..]), 110]), &[&full]).ok();
    t.call("listen", call(nr::LISTEN, &[fd, 1]), &[]).ok();
    t.call("connect to it", call(nr::CONNECT, &[socket(STREAM), at(&bytes[..]), 110]), &[]).ok();
    let (fd, answer) = made("\0polc-guard-conf");
    t.call("abstract", answer, &[]).ok();
    let _ = call(nr::LISTEN, &[fd, 1]);
    t.call("connect to it", connect(socket(STREAM), "\0polc-guard-conf"), &[]).ok();
    t.call("connect to none", connect(socket(STREAM), "\0polc-guard-none"), &[]).ok();
    let family = 1u16.to_ne_bytes();
    t.call("name of the kernel's choice", call(nr::BIND, &[socket(STREAM), at(&family), 2]), &[]).ok();
    let _ = call(nr::CHMOD, &[text("d"), 0o555]);
    t.call("in a read only directory", made("d/never").1, &["d/never"]).ok();
    let (fd, _) = made("s6");
    let _ = call(nr::LISTEN, &[fd, 1]);
    let _ = call(nr::CHMOD, &[text("s6"), 0]);
    t.call("connect without rights", connect(socket(STREAM), "s6"), &[]).ok();
    t.call("chmod of it", call(nr::CHMOD, &[text("s6"), 0o755]), &["s6"]).ok();
    t.call("rename of it", call(nr::RENAME, &[text("s6"), text("s7")]), &["s7"]).ok();
    t.call("connect by its new name", connect(socket(STREAM), "s7"), &[]).ok();
    t.fd("open of it", sys::open("s7", o::RDWR, 0), &[]);
}

/// A server that accepts no connection.
pub fn full(t: &Tell) {
    let server = socket(STREAM);
    let _ = bind(server, "s");
    let _ = call(nr::LISTEN, &[server, 0]);
    t.call("first", connect(socket(STREAM), "s"), &[]).ok();
    let nonblocking = call(nr::SOCKET, &[UNIX, STREAM | o::NONBLOCK, 0]).unwrap_or(-1);
    t.call("at once", connect(nonblocking, "s"), &[]).ok();
    let patient = socket(STREAM);
    let time = [0i64, 100_000];
    let _ = call(nr::SETSOCKOPT, &[patient, 1, 21, at(&time), 16]);
    t.call("for a tenth of a second", connect(patient, "s"), &[]).ok();
    let interrupted = socket(STREAM);
    sys::catch(14, false, crate::nothing);
    let timer = [0i64, 0, 0, 100_000];
    let _ = call(nr::SETITIMER, &[0, at(&timer), 0]);
    t.call("until a signal", connect(interrupted, "s"), &[]).ok();
    std::thread::scope(|s| {
        s.spawn(|| {
            sys::sleep_ms(100);
            let _ = call(nr::ACCEPT, &[server, 0, 0]);
        });
        t.call("until there is room", connect(socket(STREAM), "s"), &[]).ok();
    });
}

pub fn datagram(t: &Tell) {
    let (server, client) = (socket(DATAGRAM), socket(DATAGRAM));
    t.say("made", server >= 0);
    t.call("bind", bind(server, "g"), &["g"]).ok();
    t.call("connect", connect(client, "g"), &[]).ok();
    t.call("sent", sys::write(client, b"one"), &[]).ok();
    t.say("got", format!("{:?}", sys::read(server).map(|b| b.len())));
    let mut pair = [0i32; 2];
    t.call("pair", call(nr::SOCKETPAIR, &[UNIX, DATAGRAM, 0, into(&mut pair)]), &[]).ok();
}

/// `struct sockaddr_in` of 127.0.0.1.
pub fn loopback(port: u16) -> [u8; 16] {
    let mut bytes = [0u8; 16];
    bytes[..2].copy_from_slice(&2u16.to_ne_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4..8].copy_from_slice(&[127, 0, 0, 1]);
    bytes
}

pub fn tcp(t: &Tell) {
    let tcp = |flags| call(nr::SOCKET, &[2, STREAM | flags, 0]).unwrap_or(-1);
    let server = tcp(0);
    let any = loopback(0);
    t.call("bind", call(nr::BIND, &[server, at(&any), 16]), &[]).ok();
    let (mut bytes, mut length) = ([0u8; 16], 16u32);
    let _ = call(nr::GETSOCKNAME, &[server, into(&mut bytes), into(&mut length)]);
    let to = |fd: i64| call(nr::CONNECT, &[fd, at(&bytes), 16]);
    t.call("nobody listens", to(tcp(0)), &[]).ok();
    t.call("listen", call(nr::LISTEN, &[server, 4]), &[]).ok();
    let client = tcp(0);
    t.call("connect", to(client), &[]).ok();
    t.call("connect again", to(client), &[]).ok();
    let accepted = call(nr::ACCEPT, &[server, 0, 0]).unwrap_or(-1);
    let _ = sys::write(client, b"question");
    t.say("got", format!("{:?}", sys::read(accepted).map(|b| b.len())));
    let early = tcp(o::NONBLOCK);
    t.call("at once", to(early), &[]).ok();
    sys::sleep_ms(50);
    t.call("at once, again", to(early), &[]).ok();
    let unspecified = [0u8; 16];
    t.call("dissolved", call(nr::CONNECT, &[client, at(&unspecified), 16]), &[]).ok();
    t.call("connected anew", to(client), &[]).ok();
    t.call("address too short", call(nr::CONNECT, &[tcp(0), at(&bytes), 8]), &[]).ok();
    t.call("wild address", call(nr::CONNECT, &[tcp(0), 0x10, 16]), &[]).ok();
    let udp = call(nr::SOCKET, &[2, DATAGRAM, 0]).unwrap_or(-1);
    t.call("udp connect", to(udp), &[]).ok();
}
