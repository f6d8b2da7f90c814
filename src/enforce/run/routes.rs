//! Routes of the program's network namespace. They refuse everything but the loopback interface.
//!
//! Without them, `connect` answers "network is unreachable". That looks like an outage, and tools try again. A route of
//! the kind "prohibit" answers "permission denied".

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// From linux/rtnetlink.h.
const RTN_PROHIBIT: u8 = 8;
const TABLE_MAIN: u8 = 254;

/// `struct nlmsghdr` and `struct rtmsg`. It names no address, so it is a default route.
#[repr(C)]
struct Request {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    destination_bits: u8,
    source_bits: u8,
    service: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    route: u8,
    route_flags: u32,
}

/// Refuses every address that no other route leads to. A kernel without IPv6 has no addresses to refuse there.
///
/// # Errors
/// The system call fails for IPv4.
pub fn prohibit() -> io::Result<()> {
    add(libc::AF_INET)?;
    let _ = add(libc::AF_INET6);
    Ok(())
}

fn add(family: libc::c_int) -> io::Result<()> {
    let request = Request {
        length: size_of::<Request>() as u32,
        kind: libc::RTM_NEWROUTE,
        flags: (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE) as u16,
        sequence: 1,
        port: 0,
        family: family as u8,
        destination_bits: 0,
        source_bits: 0,
        service: 0,
        table: TABLE_MAIN,
        protocol: libc::RTPROT_STATIC,
        scope: libc::RT_SCOPE_UNIVERSE,
        route: RTN_PROHIBIT,
        route_flags: 0,
    };
    let mut answer = [0u8; 64];
    // SAFETY: the request is as long as is said and outlives the call; the answer is cut where it is longer than its buffer; the
    // descriptor is a new one.
    let got = unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let socket = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let (to, length) = ((&raw const request).cast(), size_of::<Request>());
        if libc::send(socket.as_raw_fd(), to, length, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::recv(
            socket.as_raw_fd(),
            answer.as_mut_ptr().cast(),
            answer.len(),
            0,
        )
    };
    // Behind the header comes `struct nlmsgerr`: the error as a negative number, or 0.
    match (got, answer.get(16..20)) {
        (20.., Some([a, b, c, d])) => match i32::from_ne_bytes([*a, *b, *c, *d]) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        },
        _ => Err(io::Error::last_os_error()),
    }
}
