//! The system calls that neither the standard library nor libc wraps, each as a function that is safe to call.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// From linux/mount.h.
const OPEN_TREE_CLONE: libc::c_uint = 1;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOEXEC: u64 = 8;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

pub(super) fn check(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}

/// A path as C has it.
///
/// # Errors
/// It holds a NUL.
pub fn c_path(path: &[u8]) -> io::Result<CString> {
    CString::new(path).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// `unshare(2)`.
///
/// # Errors
/// The system call fails.
pub fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes a number, touches no memory of ours.
    check(libc::c_long::from(unsafe { libc::unshare(flags) })).map(drop)
}

/// Makes every mount of this namespace private, so that mounts from now on are not seen outside.
///
/// # Errors
/// The system call fails.
pub fn make_private() -> io::Result<()> {
    mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)
}

/// `mount(2)`.
///
/// # Errors
/// The system call fails.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> io::Result<()> {
    let pointer = |s: Option<&CStr>| s.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the strings end in NUL and outlive the call; the kernel only reads them.
    let answer = unsafe {
        libc::mount(
            pointer(source),
            target.as_ptr(),
            pointer(kind),
            flags,
            pointer(data).cast(),
        )
    };
    check(libc::c_long::from(answer)).map(drop)
}

/// Takes the top mount off a path, lazily.
///
/// # Errors
/// The system call fails.
pub fn unmount(target: &CStr) -> io::Result<()> {
    // SAFETY: the string ends in NUL and outlives the call.
    let answer = unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    check(libc::c_long::from(answer)).map(drop)
}

/// A copy of the tree of mounts at a path, attached nowhere. A link at its end is not followed.
///
/// # Errors
/// The system call fails: with `ELOOP` for a link.
pub fn copy_mount(path: &[u8]) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = OPEN_TREE_CLONE
        | AT_RECURSIVE
        | libc::AT_SYMLINK_NOFOLLOW as libc::c_uint
        | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: the string ends in NUL and outlives the call; the answer is a new descriptor.
    unsafe {
        let fd = check(libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Whether the descriptor is a directory.
#[must_use]
pub fn is_directory(status: &libc::stat) -> bool {
    status.st_mode & libc::S_IFMT == libc::S_IFDIR
}

/// Attaches a copy at a path, over the object that is there. Does not follow a link at the end of the path.
///
/// # Errors
/// The system call fails.
pub fn attach(mount: &OwnedFd, path: &[u8]) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the strings end in NUL and outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// A copy of the object that a descriptor stands for, with all mounts in it, attached nowhere.
///
/// # Errors
/// The system call fails.
pub fn copy_object(object: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE
        | AT_RECURSIVE
        | libc::AT_EMPTY_PATH as libc::c_uint
        | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: the string ends in NUL and outlives the call; the answer is a new descriptor.
    unsafe {
        let fd = check(libc::syscall(
            libc::SYS_open_tree,
            object.as_raw_fd(),
            c"".as_ptr(),
            flags,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Attaches a copy over the object that a descriptor stands for, even if its name has changed.
///
/// # Errors
/// The system call fails.
pub fn attach_over(mount: &OwnedFd, object: &OwnedFd) -> io::Result<()> {
    // SAFETY: the strings end in NUL and outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            object.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// The status of the object that a descriptor stands for. The descriptor may be of the kind `O_PATH`.
///
/// # Errors
/// The system call fails.
pub fn status(object: &impl AsRawFd) -> io::Result<libc::stat> {
    // SAFETY: an all-zero stat is a valid one, and the kernel fills it in.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        check(libc::c_long::from(libc::fstat(
            object.as_raw_fd(),
            &raw mut stat,
        )))?;
        Ok(stat)
    }
}

/// The status of the object at a name in a directory. Does not follow a link.
///
/// # Errors
/// The system call fails.
pub fn status_in(directory: &OwnedFd, name: &CStr) -> io::Result<libc::stat> {
    // SAFETY: an all-zero stat is a valid one, and the kernel fills it in. The string ends in NUL and outlives the call.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        check(libc::c_long::from(libc::fstatat(
            directory.as_raw_fd(),
            name.as_ptr(),
            &raw mut stat,
            libc::AT_SYMLINK_NOFOLLOW,
        )))?;
        Ok(stat)
    }
}

/// Reads the next entries of a directory, as `struct linux_dirent64` records. 0: there are no more.
///
/// # Errors
/// The system call fails.
pub fn entries(directory: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes into the buffer, and no more than its length.
    check(unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            directory.as_raw_fd(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    })
    .map(|n| n as usize)
}

/// Whether this user may walk through a directory, by its effective user and groups.
#[must_use]
pub fn may_walk_through(directory: &[u8]) -> bool {
    let Ok(path) = c_path(directory) else {
        return false;
    };
    // SAFETY: the string ends in NUL and outlives the call.
    let answer = unsafe {
        libc::faccessat(
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::X_OK,
            libc::AT_EACCESS | libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    answer == 0
}

/// Makes a copy, and all mounts in it, read-only.
///
/// # Errors
/// The system call fails.
pub fn freeze(mount: &OwnedFd) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH as libc::c_uint | AT_RECURSIVE;
    set_attributes(mount.as_raw_fd(), c"", flags, MOUNT_ATTR_RDONLY, 0)
}

/// Makes a copy from which nothing can be started or mapped as code.
///
/// # Errors
/// The system call fails.
pub fn no_program(mount: &OwnedFd) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH as libc::c_uint | AT_RECURSIVE;
    set_attributes(mount.as_raw_fd(), c"", flags, MOUNT_ATTR_NOEXEC, 0)
}

/// Makes everything beneath a path read-only, or only the mount at the path writable again.
///
/// # Errors
/// The system call fails.
pub fn set_read_only(path: &CStr, read_only: bool) -> io::Result<()> {
    if read_only {
        set_attributes(libc::AT_FDCWD, path, AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0)
    } else {
        set_attributes(libc::AT_FDCWD, path, 0, 0, MOUNT_ATTR_RDONLY)
    }
}

/// Makes the mount at a path read-only, and none beneath it.
///
/// # Errors
/// The system call fails.
pub fn set_read_only_here(path: &CStr) -> io::Result<()> {
    set_attributes(libc::AT_FDCWD, path, 0, MOUNT_ATTR_RDONLY, 0)
}

fn set_attributes(
    fd: RawFd,
    path: &CStr,
    flags: libc::c_uint,
    set: u64,
    clear: u64,
) -> io::Result<()> {
    let attributes = MountAttr {
        set,
        clear,
        ..MountAttr::default()
    };
    // SAFETY: the string ends in NUL; the structure is the kernel's, of the size that is given, and only read.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// `prctl(2)` with numbers.
///
/// # Errors
/// The system call fails.
pub fn prctl(option: libc::c_int, a: libc::c_ulong, b: libc::c_ulong) -> io::Result<libc::c_int> {
    // SAFETY: only used with options whose arguments are numbers.
    let answer = unsafe { libc::prctl(option, a, b, 0 as libc::c_ulong, 0 as libc::c_ulong) };
    check(libc::c_long::from(answer)).map(|n| n as libc::c_int)
}

/// Marks every descriptor from 3 on, so that the program does not inherit it.
///
/// # Errors
/// The system call fails.
pub fn close_on_exec() -> io::Result<()> {
    // From linux/close_range.h.
    const CLOEXEC: libc::c_uint = 4;
    // SAFETY: takes numbers only; the descriptors stay open in this process.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, CLOEXEC) }).map(drop)
}

/// Whether one of the three standard descriptors is a directory. The program could reach the files in it past the
/// mounts that cover them.
#[must_use]
pub fn directory_among_standard() -> bool {
    (0..3).any(|fd| status(&fd).is_ok_and(|s| is_directory(&s)))
}

/// How a descriptor was opened: `F_GETFL`.
///
/// # Errors
/// The system call fails.
pub fn flags(fd: RawFd) -> io::Result<libc::c_int> {
    // SAFETY: takes numbers only.
    let answer = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    check(libc::c_long::from(answer)).map(|n| n as libc::c_int)
}

/// Makes a descriptor a copy of another one. Closes what it was before.
///
/// # Errors
/// The system call fails.
pub fn replace(fd: RawFd, by: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers only; nothing in this process owns a standard descriptor.
    check(libc::c_long::from(unsafe { libc::dup2(by, fd) })).map(drop)
}

/// Loads a filter of system calls for this thread: `program` is `struct sock_filter` records.
///
/// # Errors
/// The system call fails.
pub fn load_filter(program: &[libc::sock_filter], log: bool) -> io::Result<()> {
    let len =
        u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let filter = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the program is as long as `len` says, outlives the call, and the kernel copies it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER as libc::c_ulong,
            if log {
                libc::SECCOMP_FILTER_FLAG_LOG as libc::c_ulong
            } else {
                0
            },
            &raw const filter,
        )
    };
    check(answer).map(drop)
}

/// Brings the loopback interface of this network namespace up.
///
/// # Errors
/// The system call fails.
pub fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is a valid one; the kernel reads the name and fills in or reads the flags.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        check(libc::c_long::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS,
            &raw mut request,
        )))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::c_long::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )))
        .map(drop)
    }
}

/// Reads a limit: the soft and the hard value.
///
/// # Errors
/// The system call fails.
pub fn limit(resource: libc::__rlimit_resource_t) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel fills in the structure.
    let answer = unsafe { libc::getrlimit(resource, &raw mut limit) };
    check(libc::c_long::from(answer)).map(|_| (limit.rlim_cur, limit.rlim_max))
}

/// Sets a limit.
///
/// # Errors
/// The system call fails.
pub fn set_limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the kernel reads the structure.
    let answer = unsafe { libc::setrlimit(resource, &raw const limit) };
    check(libc::c_long::from(answer)).map(drop)
}

/// A descriptor that a system call has just returned.
fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a directory, in another directory or by an absolute path. Does not open a symbolic link.
///
/// # Errors
/// The system call fails, or the name holds a NUL.
pub fn open_directory(folder: Option<BorrowedFd<'_>>, name: &[u8]) -> io::Result<OwnedFd> {
    let name = c_path(name)?;
    let at = folder.map_or(libc::AT_FDCWD, |f| f.as_raw_fd());
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name ends in NUL and outlives the call.
    let fd = check(libc::c_long::from(unsafe {
        libc::openat(at, name.as_ptr(), flags)
    }))?;
    owned(fd)
}

/// Makes a directory in another one.
///
/// # Errors
/// The system call fails, or the name holds a NUL.
pub fn make_directory(folder: BorrowedFd<'_>, name: &[u8], mode: libc::mode_t) -> io::Result<()> {
    let name = c_path(name)?;
    // SAFETY: the name ends in NUL and outlives the call.
    let answer = unsafe { libc::mkdirat(folder.as_raw_fd(), name.as_ptr(), mode) };
    check(libc::c_long::from(answer)).map(drop)
}

/// Makes a file with these contents in a directory.
///
/// # Errors
/// The system call fails, also if the name is taken; the name holds a NUL.
pub fn make_file(
    folder: BorrowedFd<'_>,
    name: &[u8],
    mode: libc::mode_t,
    contents: &[u8],
) -> io::Result<()> {
    let name = c_path(name)?;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name ends in NUL and outlives the call.
    let fd = check(libc::c_long::from(unsafe {
        libc::openat(folder.as_raw_fd(), name.as_ptr(), flags, mode)
    }))?;
    let mut file = std::fs::File::from(owned(fd)?);
    std::io::Write::write_all(&mut file, contents)
}

/// The owner of an open file.
///
/// # Errors
/// The system call fails.
pub fn owner(file: BorrowedFd<'_>) -> io::Result<libc::uid_t> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills in the structure, which is read only where it did.
    let answer = unsafe { libc::fstat(file.as_raw_fd(), stat.as_mut_ptr()) };
    check(libc::c_long::from(answer))?;
    // SAFETY: the call succeeded.
    Ok(unsafe { stat.assume_init() }.st_uid)
}

/// The user that this process acts as.
#[must_use]
pub fn user() -> libc::uid_t {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::geteuid() }
}

/// A path in Rust's form.
#[must_use]
pub fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
