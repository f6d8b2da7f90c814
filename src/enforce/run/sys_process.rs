//! System calls about processes and their terminals, each as a function that is safe to call.

use super::sys::{c_path, check};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A descriptor of a process that has not been waited for: `pidfd_open(2)`.
///
/// # Errors
/// The system call fails.
pub fn open(number: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only; the answer is a new descriptor.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_pidfd_open, number, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Enters namespaces of a process, or has its children enter them: `setns(2)`.
///
/// # Errors
/// The system call fails.
pub fn enter(process: &OwnedFd, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes numbers only.
    let answer = unsafe { libc::setns(process.as_raw_fd(), flags) };
    check(libc::c_long::from(answer)).map(drop)
}

/// Sets the name that lists of processes show for this process.
///
/// # Errors
/// The system call fails.
pub fn rename(name: &CStr) -> io::Result<()> {
    // SAFETY: the string ends in NUL, and the kernel copies at most 16 bytes of it.
    let answer = unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
    check(libc::c_long::from(answer)).map(drop)
}

/// The number of the terminal pair that a master of devpts belongs to.
///
/// # Errors
/// The system call fails.
pub fn terminal_number(master: RawFd) -> io::Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the kernel fills in the number.
    let answer = unsafe { libc::ioctl(master, libc::TIOCGPTN, &raw mut number) };
    check(libc::c_long::from(answer)).map(|_| number)
}

/// The device of the terminal of this process's session (proc_pid_stat(5): field 7). `None`: it has none.
#[must_use]
pub fn session_terminal() -> Option<libc::dev_t> {
    let device: u64 = own_stat(7)?.parse().ok()?;
    // The kernel writes the minor number in bits 0 to 7 and 20 to 31, and the major number in bits 8 to 19.
    let major = (device >> 8 & 0xfff) as libc::c_uint;
    let minor = (device & 0xff | device >> 12 & 0xfff00) as libc::c_uint;
    (device != 0).then(|| libc::makedev(major, minor))
}

/// A field of this process's stat file (proc_pid_stat(5)), counted from 1. Fields before the third are not available.
#[must_use]
pub fn own_stat(field: usize) -> Option<String> {
    let text = std::fs::read("/proc/self/stat").ok()?;
    // The second field, in parentheses, may hold any byte.
    let after = text.rsplit(|b| *b == b')').next()?;
    let text = String::from_utf8_lossy(after);
    let mut fields = text.split_ascii_whitespace();
    fields.nth(field.checked_sub(3)?).map(str::to_owned)
}

/// Closes every descriptor but one.
///
/// # Errors
/// The system call fails.
pub fn close_all_but(kept: RawFd) -> io::Result<()> {
    let kept = kept as libc::c_uint;
    let below = kept.checked_sub(1).map(|last| (0, last));
    for (first, last) in below.into_iter().chain([(kept + 1, libc::c_uint::MAX)]) {
        // SAFETY: takes numbers only; the process ends without using what it had open.
        check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    }
    Ok(())
}

/// The bytes of memory that this machine has. `None`: the kernel does not say.
#[must_use]
pub fn memory() -> Option<u64> {
    // SAFETY: an all-zero structure is a valid one, and the kernel fills it in.
    let info = unsafe {
        let mut info: libc::sysinfo = std::mem::zeroed();
        check(libc::c_long::from(libc::sysinfo(&raw mut info))).ok()?;
        info
    };
    info.totalram.checked_mul(u64::from(info.mem_unit))
}

/// Whether the kernel refuses to let this process make something in a directory, with its current rights.
#[must_use]
pub fn may_not_write(folder: &[u8]) -> bool {
    let Ok(folder) = c_path(folder) else {
        return false;
    };
    let asked = libc::W_OK | libc::X_OK;
    // SAFETY: the string ends in NUL and outlives the call.
    let answer =
        unsafe { libc::faccessat(libc::AT_FDCWD, folder.as_ptr(), asked, libc::AT_EACCESS) };
    answer != 0 && io::Error::last_os_error().kind() == io::ErrorKind::PermissionDenied
}
