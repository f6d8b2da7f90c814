//! Sends descriptors from the program's side to polc outside (`SCM_RIGHTS`, unix(7)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The most descriptors in one message.
pub const MOST: usize = 8;
/// Room for them. `cmsghdr` must be aligned.
#[repr(C, align(8))]
struct Control([u8; 64]);

fn message(iov: &mut libc::iovec, control: &mut Control, room: usize) -> libc::msghdr {
    // SAFETY: an all-zero header is a valid one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = iov;
    header.msg_iovlen = 1;
    if room > 0 {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = room as _;
    }
    header
}

/// Sends one byte and at most [`MOST`] descriptors.
///
/// # Errors
/// The system call fails.
pub fn send(line: &UnixStream, byte: u8, descriptors: &[RawFd]) -> io::Result<()> {
    let descriptors = descriptors.get(..MOST).unwrap_or(descriptors);
    let length = size_of_val(descriptors) as libc::c_uint;
    let mut byte = [byte];
    let mut iov = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = Control([0; 64]);
    let room = match descriptors {
        [] => 0,
        // SAFETY: only computes a number.
        _ => unsafe { libc::CMSG_SPACE(length) as usize },
    };
    let header = message(&mut iov, &mut control, room);
    // SAFETY: the buffers outlive the call; `control` is aligned, and has room for the descriptors.
    let sent = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        if !first.is_null() {
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(length) as _;
            let to = libc::CMSG_DATA(first).cast::<RawFd>();
            for (i, fd) in descriptors.iter().enumerate() {
                to.add(i).write_unaligned(*fd);
            }
        }
        libc::sendmsg(line.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL)
    };
    if sent == 1 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Receives one byte, and the descriptors that came with it.
///
/// # Errors
/// The other end is closed, or the system call fails.
pub fn receive(line: &UnixStream) -> io::Result<(u8, Vec<OwnedFd>)> {
    let mut byte = [0u8];
    let mut iov = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = Control([0; 64]);
    let room = control.0.len();
    let mut header = message(&mut iov, &mut control, room);
    let mut descriptors = Vec::new();
    // SAFETY: the buffers outlive the call; descriptors are taken only from a message of that kind, as many as it holds.
    unsafe {
        let got = libc::recvmsg(line.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC);
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        if !first.is_null() && (*first).cmsg_type == libc::SCM_RIGHTS {
            let length = ((*first).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let from = libc::CMSG_DATA(first).cast::<RawFd>();
            for i in 0..length / size_of::<RawFd>() {
                descriptors.push(OwnedFd::from_raw_fd(from.add(i).read_unaligned()));
            }
        }
    }
    let [byte] = byte;
    Ok((byte, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_come_through_in_their_order() {
        let (a, b) = UnixStream::pair().unwrap();
        let files: Vec<_> = ["/dev/null", "/dev/zero"]
            .iter()
            .map(|f| std::fs::File::open(f).unwrap())
            .collect();
        let numbers: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        for list in [&numbers[..], &[]] {
            send(&a, 7, list).unwrap();
            let (byte, got) = receive(&b).unwrap();
            assert_eq!((byte, got.len()), (7, list.len()));
            for (old, new) in list.iter().zip(&got) {
                let path = |fd: RawFd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
                assert_eq!(path(*old), path(new.as_raw_fd()));
            }
        }
        drop(a);
        assert!(receive(&b).is_err());
    }
}
