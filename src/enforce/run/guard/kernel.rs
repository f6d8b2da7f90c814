//! The guard's system calls, each as a function that is safe to call. The error is the number that the program gets.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// An error of the kernel, as a program gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub libc::c_int);

impl From<io::Error> for Errno {
    fn from(e: io::Error) -> Self {
        Self(e.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// `statfs(2)`: the file system of processes.
const PROC: i64 = 0x9fa0;

fn check(answer: libc::c_long) -> Result<libc::c_long, Errno> {
    if answer < 0 {
        Err(io::Error::last_os_error().into())
    } else {
        Ok(answer)
    }
}

fn done(answer: libc::c_int) -> Result<(), Errno> {
    check(libc::c_long::from(answer)).map(drop)
}

fn owned(answer: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(check(answer)?).map_err(|_| Errno(libc::EBADF))?;
    // SAFETY: only called with what a call that makes a descriptor has answered: nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A path or a name in C's form. The kernel also stops at a NUL.
pub fn text(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    CString::new(bytes.get(..end).unwrap_or_default()).unwrap_or_default()
}

/// The path in `/proc` of an open descriptor of this process. By it the kernel finds the same object again.
pub fn link_of(object: &impl AsRawFd) -> CString {
    text(format!("/proc/self/fd/{}", object.as_raw_fd()).as_bytes())
}

/// `openat(2)`, closed on exec.
pub fn open(
    at: &impl AsRawFd,
    name: &CStr,
    flags: libc::c_int,
    mode: libc::mode_t,
) -> Result<OwnedFd, Errno> {
    // SAFETY: the string ends in NUL and outlives the call; the answer is a new descriptor.
    owned(libc::c_long::from(unsafe {
        libc::openat(
            at.as_raw_fd(),
            name.as_ptr(),
            flags | libc::O_CLOEXEC,
            libc::c_uint::from(mode),
        )
    }))
}

/// Opens the object of a descriptor again.
pub fn reopen(object: &impl AsRawFd, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    // The path is absolute, so no directory is needed.
    open(&libc::AT_FDCWD, &link_of(object), flags, 0)
}

/// `openat2(2)` for a descriptor of the kind `O_PATH`.
pub fn find(
    at: &impl AsRawFd,
    path: &CStr,
    flags: libc::c_int,
    resolve: u64,
) -> Result<OwnedFd, Errno> {
    // SAFETY: an all-zero `open_how` is a valid one. The string ends in NUL and outlives the call. The structure is of
    // the size that is given, and only read.
    owned(unsafe {
        let mut how: libc::open_how = std::mem::zeroed();
        how.flags = (flags | libc::O_PATH | libc::O_CLOEXEC) as u64;
        how.resolve = resolve;
        libc::syscall(
            libc::SYS_openat2,
            at.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    })
}

/// `fstat(2)`.
pub fn status(object: &impl AsRawFd) -> Result<libc::stat, Errno> {
    // SAFETY: an all-zero stat is a valid one, and the kernel fills it in.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        done(libc::fstat(object.as_raw_fd(), &raw mut stat))?;
        Ok(stat)
    }
}

/// `fstatat(2)`, without following a link at the end.
pub fn status_at(at: &impl AsRawFd, name: &CStr) -> Result<libc::stat, Errno> {
    // SAFETY: as above; the string ends in NUL and outlives the call.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        done(libc::fstatat(
            at.as_raw_fd(),
            name.as_ptr(),
            &raw mut stat,
            libc::AT_SYMLINK_NOFOLLOW,
        ))?;
        Ok(stat)
    }
}

/// `statx(2)`, without following a link at the end. With an empty name: the descriptor's own object.
pub fn extended_status(at: &impl AsRawFd, name: &CStr) -> Result<libc::statx, Errno> {
    // SAFETY: an all-zero structure is a valid one, and the kernel fills it in; the string ends in NUL.
    unsafe {
        let mut out: libc::statx = std::mem::zeroed();
        done(libc::statx(
            at.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH,
            libc::STATX_BASIC_STATS | libc::STATX_BTIME,
            &raw mut out,
        ))?;
        Ok(out)
    }
}

/// Whether the object lies in a file system of processes (`/proc`).
pub fn is_of_processes(object: &impl AsRawFd) -> Result<bool, Errno> {
    file_system(object).map(|kind| kind == PROC)
}

/// The kind of file system that an object lies in.
pub fn file_system(object: &impl AsRawFd) -> Result<i64, Errno> {
    // SAFETY: an all-zero structure is a valid one, and the kernel fills it in.
    unsafe {
        let mut system: libc::statfs = std::mem::zeroed();
        done(libc::fstatfs(object.as_raw_fd(), &raw mut system))?;
        Ok(system.f_type as i64)
    }
}

/// `readlinkat(2)`. With an empty name: the link that the descriptor stands for.
pub fn read_link(at: &impl AsRawFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the string ends in NUL; the kernel writes no more than the buffer holds.
    let got = check(unsafe {
        libc::readlinkat(
            at.as_raw_fd(),
            name.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    } as libc::c_long)? as usize;
    if got >= buffer.len() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    buffer.truncate(got);
    Ok(buffer)
}

/// `read(2)`, one time.
pub fn read(file: &impl AsRawFd, most: usize) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0u8; most];
    // SAFETY: the kernel writes no more than the buffer holds.
    let got =
        check(
            unsafe { libc::read(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) }
                as libc::c_long,
        )?;
    buffer.truncate(got as usize);
    Ok(buffer)
}

/// Sets the umask of this thread, which has its own.
pub fn set_umask(mask: libc::mode_t) {
    // SAFETY: takes a number and always succeeds.
    unsafe { libc::umask(mask) };
}

/// Gives this thread its own umask and its own current directory.
pub fn apart() -> Result<(), Errno> {
    // SAFETY: takes a number.
    done(unsafe { libc::unshare(libc::CLONE_FS) })
}

/// `fchdir(2)`, for this thread.
pub fn enter(directory: &impl AsRawFd) -> Result<(), Errno> {
    // SAFETY: takes a number.
    done(unsafe { libc::fchdir(directory.as_raw_fd()) })
}

/// `mkdirat(2)`.
pub fn make_directory(at: &impl AsRawFd, name: &CStr, mode: libc::mode_t) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL and outlives the call.
    done(unsafe { libc::mkdirat(at.as_raw_fd(), name.as_ptr(), mode) })
}

/// `mknodat(2)`.
pub fn make_node(
    at: &impl AsRawFd,
    name: &CStr,
    mode: libc::mode_t,
    device: libc::dev_t,
) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL and outlives the call.
    done(unsafe { libc::mknodat(at.as_raw_fd(), name.as_ptr(), mode, device) })
}

/// `symlinkat(2)`.
pub fn make_link(to: &CStr, at: &impl AsRawFd, name: &CStr) -> Result<(), Errno> {
    // SAFETY: the strings end in NUL and outlive the call.
    done(unsafe { libc::symlinkat(to.as_ptr(), at.as_raw_fd(), name.as_ptr()) })
}

/// `linkat(2)` for the object of a descriptor.
pub fn link(object: &impl AsRawFd, at: &impl AsRawFd, name: &CStr) -> Result<(), Errno> {
    let from = link_of(object);
    // SAFETY: the strings end in NUL and outlive the call.
    done(unsafe {
        libc::linkat(
            libc::AT_FDCWD,
            from.as_ptr(),
            at.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    })
}

/// `unlinkat(2)`.
pub fn remove(at: &impl AsRawFd, name: &CStr, flags: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL and outlives the call.
    done(unsafe { libc::unlinkat(at.as_raw_fd(), name.as_ptr(), flags) })
}

/// `renameat2(2)`.
pub fn rename(
    from: (&OwnedFd, &CStr),
    to: (&OwnedFd, &CStr),
    flags: libc::c_uint,
) -> Result<(), Errno> {
    // SAFETY: the strings end in NUL and outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            from.0.as_raw_fd(),
            from.1.as_ptr(),
            to.0.as_raw_fd(),
            to.1.as_ptr(),
            flags,
        )
    })
    .map(drop)
}

/// `truncate(2)` for the object of a descriptor.
pub fn truncate(object: &impl AsRawFd, length: i64) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL and outlives the call.
    done(unsafe { libc::truncate(link_of(object).as_ptr(), length) })
}

/// `chmod(2)` for the object of a descriptor.
pub fn change_mode(object: &impl AsRawFd, mode: libc::mode_t) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL and outlives the call.
    done(unsafe { libc::chmod(link_of(object).as_ptr(), mode) })
}

/// `fchownat(2)` for the object of a descriptor, which may be a link.
pub fn change_owner(
    object: &impl AsRawFd,
    user: libc::uid_t,
    group: libc::gid_t,
) -> Result<(), Errno> {
    // SAFETY: the string ends in NUL and outlives the call.
    done(unsafe {
        libc::fchownat(
            object.as_raw_fd(),
            c"".as_ptr(),
            user,
            group,
            libc::AT_EMPTY_PATH,
        )
    })
}

/// `utimensat(2)` for the object of a descriptor, which may be a link. `None`: now.
pub fn change_times(
    object: &impl AsRawFd,
    times: Option<&[libc::timespec; 2]>,
) -> Result<(), Errno> {
    let times = times.map_or(std::ptr::null(), |t| t.as_slice().as_ptr());
    // SAFETY: the string ends in NUL; the two times are there, or a null pointer says now.
    done(unsafe { libc::utimensat(object.as_raw_fd(), c"".as_ptr(), times, libc::AT_EMPTY_PATH) })
}

/// `setxattr(2)` at a path that this process has made.
pub fn set_attribute(
    path: &CStr,
    name: &CStr,
    value: &[u8],
    flags: libc::c_int,
) -> Result<(), Errno> {
    // SAFETY: the strings end in NUL, the value is as long as it is said to be, and all outlive the call.
    done(unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags,
        )
    })
}

/// `removexattr(2)` at a path that this process has made.
pub fn remove_attribute(path: &CStr, name: &CStr) -> Result<(), Errno> {
    // SAFETY: the strings end in NUL and outlive the call.
    done(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) })
}

/// An `ioctl(2)` that only reads `data`.
pub fn control(object: &impl AsRawFd, command: u32, data: &[u8]) -> Result<(), Errno> {
    // SAFETY: only called with commands that read no more than `data` holds.
    done(unsafe {
        libc::ioctl(
            object.as_raw_fd(),
            libc::Ioctl::from(command),
            data.as_ptr(),
        )
    })
}

/// Reads a thread's memory, as much as there is in one piece.
pub fn read_memory(thread: libc::pid_t, address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: buffer.len(),
    };
    // SAFETY: the kernel writes into the buffer, no more than its length; the other address is not this process's.
    let got =
        unsafe { libc::process_vm_readv(thread, &raw const local, 1, &raw const remote, 1, 0) };
    check(got as libc::c_long).map(|n| n as usize)
}

/// A descriptor of a process: `pidfd_open(2)`.
pub fn process(number: libc::pid_t) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers only; the answer is a new descriptor.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) })
}

/// A copy of a descriptor of another process: `pidfd_getfd(2)`.
pub fn copy_of(process: &OwnedFd, descriptor: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers only; the answer is a new descriptor.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0) })
}

/// The soft limit of a process: `prlimit(2)`.
pub fn limit_of(thread: libc::pid_t, resource: libc::__rlimit_resource_t) -> Result<u64, Errno> {
    // SAFETY: nothing is set; the kernel fills in the structure.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        done(libc::prlimit(
            thread,
            resource,
            std::ptr::null(),
            &raw mut limit,
        ))?;
        Ok(limit.rlim_cur)
    }
}

/// Sends a signal to a thread.
pub fn signal_thread(process: libc::pid_t, thread: libc::pid_t, signal: libc::c_int) {
    // SAFETY: takes numbers.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
}

/// A numeric option of a socket.
pub fn socket_option(socket: &impl AsRawFd, option: libc::c_int) -> Result<libc::c_int, Errno> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes a number, of the length that is given.
    done(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

/// `F_GETFL`.
pub fn flags_of(object: &impl AsRawFd) -> Result<libc::c_int, Errno> {
    // SAFETY: takes numbers only.
    let answer = unsafe { libc::fcntl(object.as_raw_fd(), libc::F_GETFL) };
    check(libc::c_long::from(answer)).map(|n| n as libc::c_int)
}

/// `connect(2)` with an address as bytes.
pub fn connect(socket: &impl AsRawFd, address: &[u8]) -> Result<(), Errno> {
    // SAFETY: the address is as long as is said, and only read.
    done(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            address.as_ptr().cast(),
            address.len() as libc::socklen_t,
        )
    })
}

/// `bind(2)` with an address as bytes.
pub fn bind(socket: &impl AsRawFd, address: &[u8]) -> Result<(), Errno> {
    // SAFETY: the address is as long as is said, and only read.
    done(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            address.as_ptr().cast(),
            address.len() as libc::socklen_t,
        )
    })
}

/// Loads a filter with a listener for this thread. It cannot be unloaded. Returns the listener.
pub fn load_with_listener(program: &[libc::sock_filter]) -> Result<OwnedFd, Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno(libc::EINVAL))?;
    let filter = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast_mut(),
    };
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the program is as long as `len` says, outlives the call, and the kernel copies it. The answer is a new
    // descriptor.
    owned(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            flags,
            &raw const filter,
        )
    })
}

/// Tells the kernel to wake the waiting thread on the same processor, for the listener and for the caller. Kernels
/// before 6.6 cannot do this, and are only slower.
pub fn wake_at_once(listener: BorrowedFd<'_>) {
    // From linux/seccomp.h: SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, a number and not an address.
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: takes numbers.
    unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            SYNC_WAKE_UP,
        )
    };
}

/// Waits for the next call.
pub fn receive(listener: BorrowedFd<'_>) -> Result<libc::seccomp_notif, Errno> {
    // SAFETY: an all-zero structure is a valid one, and what the kernel demands before it fills it in.
    unsafe {
        let mut call: libc::seccomp_notif = std::mem::zeroed();
        done(libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut call,
        ))?;
        Ok(call)
    }
}

/// Whether the thread still waits in this call.
pub fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads a number.
    unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            &raw const id,
        ) == 0
    }
}

/// Answers a call.
pub fn send(listener: BorrowedFd<'_>, reply: &libc::seccomp_notif_resp) -> Result<(), Errno> {
    // SAFETY: the kernel reads the structure.
    done(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            std::ptr::from_ref(reply),
        )
    })
}

/// Puts a copy of a descriptor into the process that waits. Returns its number there.
pub fn hand_over(
    listener: BorrowedFd<'_>,
    id: u64,
    descriptor: &OwnedFd,
    flags: u32,
) -> Result<libc::c_int, Errno> {
    let request = libc::seccomp_notif_addfd {
        id,
        flags: 0,
        srcfd: descriptor.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: flags,
    };
    // SAFETY: the kernel reads the structure.
    let answer = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ADDFD,
            &raw const request,
        )
    };
    check(libc::c_long::from(answer)).map(|n| n as libc::c_int)
}

/// Blocks every signal in this thread, and in those that it starts. Returns what was blocked before.
pub fn block_signals() -> libc::sigset_t {
    // SAFETY: the calls fill in the sets and read them.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, &raw mut before);
        before
    }
}

/// Blocks these signals in this thread, and no others.
pub fn set_blocked(set: &libc::sigset_t) {
    // SAFETY: the call reads the set.
    unsafe {
        libc::pthread_sigmask(
            libc::SIG_SETMASK,
            std::ptr::from_ref(set),
            std::ptr::null_mut(),
        )
    };
}

/// The calling thread.
pub fn own_thread() -> libc::pid_t {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::gettid() }
}
