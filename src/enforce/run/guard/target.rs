//! The thread that waits in a call: its memory, its directories and descriptors, its mask.
//!
//! Memory is read once, because another thread may write to it at any time. The guard acts on what it has read. It
//! opens directories and descriptors first, and asks afterwards whether the thread still waits
//! ([`super::kernel::is_waiting`]). Another process may have got the thread's number meanwhile.

use super::kernel::{self, Errno};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Memory is read in pieces that do not cross the end of a page, because the next page may not exist.
const PAGE: usize = 4096;

/// A thread that waits.
pub struct Target {
    /// Its number, as the guard sees it.
    pub thread: libc::pid_t,
    /// Its entry in `/proc`.
    entry: OwnedFd,
}

/// The parts of `/proc/TID/status` that the guard needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// The process that it belongs to.
    pub process: libc::pid_t,
    /// The mode bits that new files do not get.
    pub umask: libc::mode_t,
    /// How many threads the process has.
    pub threads: u32,
    /// How many descriptors its table has room for, before the table grows.
    pub table: u64,
    /// The signals that are pending for the thread.
    pub pending: u64,
    /// The signals that are pending for its process.
    pub shared: u64,
    /// The signals that it blocks.
    pub blocked: u64,
    /// The signals that it ignores.
    pub ignored: u64,
    /// The signals that it handles.
    pub caught: u64,
}

impl Status {
    fn read(text: &[u8]) -> Self {
        let mut out = Self::default();
        for line in text.split(|b| *b == b'\n') {
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                continue;
            };
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let value = std::str::from_utf8(value).unwrap_or_default();
            let hex = || u64::from_str_radix(value, 16).unwrap_or(0);
            match name {
                b"Tgid" => out.process = value.parse().unwrap_or(0),
                b"Umask" => out.umask = libc::mode_t::from_str_radix(value, 8).unwrap_or(0o77),
                b"FDSize" => out.table = value.parse().unwrap_or(0),
                b"Threads" => out.threads = value.parse().unwrap_or(0),
                b"SigPnd" => out.pending = hex(),
                b"ShdPnd" => out.shared = hex(),
                b"SigBlk" => out.blocked = hex(),
                b"SigIgn" => out.ignored = hex(),
                b"SigCgt" => out.caught = hex(),
                _ => {}
            }
        }
        out
    }

    /// The signals that would end a wait: pending ones that are not blocked, and that have an effect.
    #[must_use]
    pub fn deliverable(&self) -> u64 {
        let bit = |signal: libc::c_int| 1u64 << (signal - 1);
        // Without a handler, these have no effect.
        let idle =
            bit(libc::SIGCHLD) | bit(libc::SIGURG) | bit(libc::SIGWINCH) | bit(libc::SIGCONT);
        let some = self.caught | !idle;
        (self.pending | self.shared) & !self.blocked & !self.ignored & some
    }
}

impl Target {
    /// The thread with a number.
    ///
    /// # Errors
    /// It is gone, or not visible.
    pub fn of(thread: u32) -> Result<Self, Errno> {
        let thread = libc::pid_t::try_from(thread).map_err(|_| Errno(libc::ESRCH))?;
        let name = kernel::text(format!("/proc/{thread}").as_bytes());
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        Ok(Self {
            thread,
            entry: kernel::open(&libc::AT_FDCWD, &name, flags, 0)?,
        })
    }

    fn at(&self, name: &str) -> Result<OwnedFd, Errno> {
        kernel::open(&self.entry, &kernel::text(name.as_bytes()), libc::O_PATH, 0)
    }

    /// Its root directory.
    ///
    /// # Errors
    /// It is gone.
    pub fn root(&self) -> Result<OwnedFd, Errno> {
        self.at("root")
    }

    /// Its current directory, or the object of one of its descriptors.
    ///
    /// # Errors
    /// It has no such descriptor.
    pub fn base(&self, descriptor: RawFd) -> Result<OwnedFd, Errno> {
        if descriptor == libc::AT_FDCWD {
            return self.at("cwd");
        }
        self.descriptor(descriptor)
    }

    /// The object of one of its descriptors.
    ///
    /// # Errors
    /// It has no such descriptor.
    pub fn descriptor(&self, descriptor: RawFd) -> Result<OwnedFd, Errno> {
        if descriptor < 0 {
            return Err(Errno(libc::EBADF));
        }
        self.at(&format!("fd/{descriptor}"))
            .map_err(|_| Errno(libc::EBADF))
    }

    /// Whether a descriptor is of the kind `O_PATH`.
    #[must_use]
    pub fn only_stands(&self, descriptor: RawFd) -> bool {
        let Ok(text) = self.file(&format!("fdinfo/{descriptor}")) else {
            return true;
        };
        let flags = text.split(|b| *b == b'\n').find_map(|line| {
            let value = line.strip_prefix(b"flags:")?.trim_ascii();
            libc::c_int::from_str_radix(std::str::from_utf8(value).ok()?, 8).ok()
        });
        flags.is_none_or(|f| f & libc::O_PATH != 0)
    }

    /// A copy of a descriptor.
    ///
    /// # Errors
    /// It has no such descriptor, or has a table of its own that the guard cannot read.
    pub fn copy(&self, descriptor: RawFd, process: libc::pid_t) -> Result<OwnedFd, Errno> {
        // The object in its own table. On an old kernel, only the table of the process's first thread can be copied
        // from.
        let own = kernel::status(&self.descriptor(descriptor)?)?;
        let copy = kernel::copy_of(&kernel::process(process)?, descriptor)?;
        let got = kernel::status(&copy)?;
        if (own.st_dev, own.st_ino) != (got.st_dev, got.st_ino) {
            return Err(Errno(libc::EPERM));
        }
        Ok(copy)
    }

    /// Its status, as the kernel shows it.
    ///
    /// # Errors
    /// It is gone.
    pub fn status(&self) -> Result<Status, Errno> {
        self.file("status").map(|text| Status::read(&text))
    }

    /// Whether one more descriptor would have a number below the limit.
    ///
    /// # Errors
    /// It is gone.
    pub fn has_room(&self, status: &Status) -> Result<bool, Errno> {
        let limit = kernel::limit_of(self.thread, libc::RLIMIT_NOFILE)?;
        if status.table < limit {
            return Ok(true);
        }
        let taken = std::fs::read_dir(format!("/proc/{}/fd", self.thread))?
            .flatten()
            .filter_map(|e| e.file_name().to_str()?.parse::<u64>().ok())
            .filter(|n| *n < limit);
        Ok((taken.count() as u64) < limit)
    }

    /// A file of its entry in `/proc`. The kernel gives the whole file in one piece.
    fn file(&self, name: &str) -> Result<Vec<u8>, Errno> {
        let name = kernel::text(name.as_bytes());
        let fd = kernel::open(&self.entry, &name, libc::O_RDONLY, 0)?;
        kernel::read(&fd, 2 * PAGE)
    }

    /// Bytes of its memory.
    ///
    /// # Errors
    /// There is no such memory.
    pub fn bytes(&self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut out = vec![0u8; length];
        let got = if length == 0 {
            0
        } else {
            kernel::read_memory(self.thread, address, &mut out)?
        };
        if got == length {
            Ok(out)
        } else {
            Err(Errno(libc::EFAULT))
        }
    }

    /// Some numbers from its memory.
    ///
    /// # Errors
    /// There is no such memory.
    pub fn numbers<const N: usize>(&self, address: u64) -> Result<[i64; N], Errno> {
        let bytes = self.bytes(address, N * 8)?;
        let mut out = [0; N];
        for (to, from) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *to = i64::from_ne_bytes(*from);
        }
        Ok(out)
    }

    /// A string from its memory, without the NUL at its end.
    ///
    /// # Errors
    /// There is no such memory, or the string is longer than `most`.
    pub fn string(&self, address: u64, most: usize) -> Result<Vec<u8>, Errno> {
        let mut out: Vec<u8> = Vec::new();
        let mut buffer = [0u8; PAGE];
        let mut at = address;
        if address == 0 {
            return Err(Errno(libc::EFAULT));
        }
        while out.len() < most {
            let left = PAGE - (at as usize % PAGE);
            let want = left.min(most - out.len());
            let piece = buffer.get_mut(..want).unwrap_or_default();
            let got = kernel::read_memory(self.thread, at, piece)?;
            let piece = piece.get(..got).unwrap_or_default();
            if let Some(end) = piece.iter().position(|b| *b == 0) {
                out.extend(piece.iter().take(end));
                return Ok(out);
            }
            if got < want {
                return Err(Errno(libc::EFAULT));
            }
            out.extend(piece);
            at += got as u64;
        }
        Err(Errno(libc::ENAMETOOLONG))
    }

    /// A path from its memory.
    ///
    /// # Errors
    /// There is no such memory, or the path is too long.
    pub fn path(&self, address: u64) -> Result<Vec<u8>, Errno> {
        self.string(address, libc::PATH_MAX as usize)
    }
}

/// Whether two descriptors stand for the same directory.
pub fn same(a: &impl AsRawFd, b: &impl AsRawFd) -> Result<bool, Errno> {
    let (a, b) = (kernel::status(a)?, kernel::status(b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Target {
        // SAFETY: takes nothing.
        let thread = unsafe { libc::gettid() };
        Target::of(thread as u32).unwrap()
    }

    #[test]
    fn strings_are_read_within_pages_and_no_further() {
        let target = own();
        let long = vec![b'x'; 9000];
        let text = std::ffi::CString::new(long.clone()).unwrap();
        assert_eq!(target.string(text.as_ptr() as u64, 10_000).unwrap(), long);
        let short = target.path(text.as_ptr() as u64);
        assert_eq!(short.unwrap_err(), Errno(libc::ENAMETOOLONG));
        assert_eq!(target.path(0).unwrap_err(), Errno(libc::EFAULT));
        assert_eq!(target.path(8).unwrap_err(), Errno(libc::EFAULT));
        let numbers = [7i64, -1];
        assert_eq!(
            target.numbers::<2>(numbers.as_ptr() as u64).unwrap(),
            numbers
        );
    }

    #[test]
    fn a_status_is_read() {
        let text = b"Name:\tx\nUmask:\t0027\nTgid:\t12\nThreads:\t3\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000010000\n\
                     SigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\n";
        let status = Status::read(text);
        assert_eq!(
            (status.umask, status.process, status.threads),
            (0o27, 12, 3)
        );
        // SIGCHLD has no effect without a handler.
        assert_eq!(status.deliverable(), 1);
        let caught = Status {
            caught: 0x1_0000,
            ..status
        };
        assert_eq!(caught.deliverable(), 0x1_0001);
        let own = own().status().unwrap();
        assert_eq!(own.process, std::process::id() as i32);
    }

    #[test]
    fn a_descriptor_that_only_stands_is_told() {
        let open = std::fs::File::open("/").unwrap();
        let stands = kernel::reopen(&open, libc::O_PATH).unwrap();
        let target = own();
        assert!(!target.only_stands(open.as_raw_fd()));
        assert!(target.only_stands(stands.as_raw_fd()));
        assert!(target.descriptor(9999).is_err());
    }
}
