//! Sockets with a path: connecting to one, and making one.
//!
//! The address lies in the program's memory, and another thread may change it. So the guard makes every connection
//! itself, with the bytes that it has read. Its domain has the same rules on ports as the program's.

use super::blocking::Work;
use super::calls::{Answer, Halt, Request};
use super::kernel::{self, Errno};
use super::resolve::{Object, View};
use crate::policy::Operation;
use std::os::fd::{OwnedFd, RawFd};

/// The longest address.
const LONGEST: u64 = 128;
/// The offset of the path in `struct sockaddr_un`.
const PATH: usize = 2;
/// The room for the path.
const ROOM: usize = 110;

type Done = Result<Answer, Halt>;

/// The path in the address of a unix socket. `None`: it has none.
fn path_of(address: &[u8]) -> Option<&[u8]> {
    let (family, rest) = address.split_at_checked(PATH)?;
    if family != (libc::AF_UNIX as u16).to_ne_bytes() {
        return None;
    }
    let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
    rest.get(..end).filter(|p| !p.is_empty())
}

/// An address with a path.
fn address_of(path: &[u8]) -> Vec<u8> {
    let family = (libc::AF_UNIX as u16).to_ne_bytes();
    [family.as_slice(), path, &[0]].concat()
}

impl Request<'_> {
    /// The socket, and the address.
    fn socket(
        &self,
        descriptor: RawFd,
        address: u64,
        length: u64,
    ) -> Result<(OwnedFd, Vec<u8>), Halt> {
        let length = length as libc::c_int;
        if !(0..=LONGEST as libc::c_int).contains(&length) {
            return Err(Halt::Error(Errno(libc::EINVAL)));
        }
        let bytes = self.readable(self.target.bytes(address, length as usize))?;
        let process = self.target.status()?.process;
        let socket = self.target.copy(descriptor, process)?;
        self.still()?;
        Ok((socket, bytes))
    }

    pub(super) fn connect(&self, descriptor: RawFd, address: u64, length: u64) -> Done {
        let (socket, bytes) = self.socket(descriptor, address, length)?;
        let kind = kernel::socket_option(&socket, libc::SO_TYPE)?;
        let mut held = None;
        let address = match path_of(&bytes) {
            // A socket of another family does not take such an address.
            Some(path) if kernel::socket_option(&socket, libc::SO_DOMAIN)? == libc::AF_UNIX => {
                if bytes.len() > ROOM {
                    return Err(Halt::Error(Errno(libc::EINVAL)));
                }
                let object = self.view(libc::AT_FDCWD, path)?.object(path, true)?;
                let name = object.name.as_ref().ok_or(Halt::Unjudged)?;
                self.guard.judge.ask(Operation::Connect, name)?;
                let address = address_of(kernel::link_of(&object.held).as_bytes());
                held = Some(object.held);
                address
            }
            _ => bytes,
        };
        let blocks = kernel::flags_of(&socket)? & libc::O_NONBLOCK == 0;
        if blocks && kind != libc::SOCK_DGRAM {
            return Ok(Answer::Later(Work::Connect {
                socket,
                address,
                _held: held,
            }));
        }
        kernel::connect(&socket, &address)?;
        Ok(Answer::Value(0))
    }

    pub(super) fn bind(&self, descriptor: RawFd, address: u64, length: u64) -> Done {
        let (socket, bytes) = self.socket(descriptor, address, length)?;
        let Some(path) = path_of(&bytes) else {
            // Landlock decides about ports.
            return Ok(Answer::Continue);
        };
        let given = path.to_vec();
        if kernel::socket_option(&socket, libc::SO_DOMAIN)? != libc::AF_UNIX || bytes.len() > ROOM {
            return Ok(Answer::Continue);
        }
        let place = self.place_of(path)?;
        if place.is_dots() || place.there()?.is_some() {
            return Err(Halt::Error(Errno(libc::EADDRINUSE)));
        }
        let path = place.path();
        self.guard.judge.ask(Operation::Create, &path)?;
        self.take_umask()?;
        // With the name that the program gave, so that the program sees this name, if no part of it leads somewhere
        // else. Nothing is renamed meanwhile.
        let (folder, address) = match self.as_given(&given, &path)? {
            Some(folder) => (folder, bytes),
            None => {
                let address = address_of(place.last().as_bytes());
                (place.folder, address)
            }
        };
        kernel::enter(&folder)?;
        let bound = kernel::bind(&socket, &address);
        self.guard.go_home();
        bound?;
        Ok(Answer::Value(0))
    }

    /// The directory from which the kernel finds the same path by the name that the program gave. `None`: there is
    /// none.
    fn as_given(&self, given: &[u8], path: &[u8]) -> Result<Option<OwnedFd>, Halt> {
        if given.starts_with(b"/") {
            let root = kernel::open(&libc::AT_FDCWD, c"/", libc::O_PATH, 0)?;
            let same = given == path && super::target::same(&root, &self.target.root()?)?;
            return Ok(same.then_some(root));
        }
        let here = self.target.base(libc::AT_FDCWD)?;
        let name = Object::of(self.target.base(libc::AT_FDCWD)?)?.name;
        let joined = name.map(|n| [n.as_slice(), b"/", given].concat());
        Ok((joined.as_deref() == Some(path)).then_some(here))
    }

    fn place_of(&self, path: &[u8]) -> Result<super::resolve::Place, Halt> {
        let mut view: View<'_> = self.view(libc::AT_FDCWD, path)?;
        Ok(view.place(path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_kernel_reads_it() {
        assert_eq!(path_of(&address_of(b"/run/x")), Some(&b"/run/x"[..]));
        let unix = (libc::AF_UNIX as u16).to_ne_bytes();
        // Without a NUL, with bytes after it, an abstract address, an address without a name.
        for (rest, path) in [
            (&b"/a"[..], Some(&b"/a"[..])),
            (b"/a\0/b", Some(b"/a")),
            (b"\0abstract", None),
            (b"", None),
        ] {
            assert_eq!(path_of(&[unix.as_slice(), rest].concat()), path);
        }
        assert_eq!(path_of(&[2, 0, 0, 80, 127, 0, 0, 1]), None);
        assert_eq!(path_of(&[1]), None);
    }
}
