//! System calls by their numbers, so that a test makes the call that it names, and not one that a library prefers.

use std::ffi::{CString, c_int, c_long, c_void};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn fork() -> c_int;
    fn _exit(status: c_int) -> !;
    fn signal(number: c_int, handler: usize) -> usize;
    fn sigaction(number: c_int, new: *const Action, old: *mut Action) -> c_int;
}

/// glibc's `struct sigaction` on x86-64.
#[repr(C)]
struct Action {
    handler: usize,
    mask: [u64; 16],
    flags: c_int,
    restorer: usize,
}

/// The result of a call: a number, or the number of the error.
pub type Answer = Result<i64, i32>;

/// The numbers of the calls on x86-64.
pub mod nr {
    #![allow(dead_code)]
    pub const READ: i64 = 0;
    pub const WRITE: i64 = 1;
    pub const OPEN: i64 = 2;
    pub const CLOSE: i64 = 3;
    pub const STAT: i64 = 4;
    pub const FSTAT: i64 = 5;
    pub const LSTAT: i64 = 6;
    pub const LSEEK: i64 = 8;
    pub const MMAP: i64 = 9;
    pub const IOCTL: i64 = 16;
    pub const PIPE: i64 = 22;
    pub const DUP: i64 = 32;
    pub const DUP2: i64 = 33;
    pub const ALARM: i64 = 37;
    pub const SETITIMER: i64 = 38;
    pub const GETPID: i64 = 39;
    pub const SOCKET: i64 = 41;
    pub const CONNECT: i64 = 42;
    pub const ACCEPT: i64 = 43;
    pub const SENDTO: i64 = 44;
    pub const SENDMSG: i64 = 46;
    pub const RECVMSG: i64 = 47;
    pub const SHUTDOWN: i64 = 48;
    pub const BIND: i64 = 49;
    pub const LISTEN: i64 = 50;
    pub const GETSOCKNAME: i64 = 51;
    pub const GETPEERNAME: i64 = 52;
    pub const SOCKETPAIR: i64 = 53;
    pub const SETSOCKOPT: i64 = 54;
    pub const GETSOCKOPT: i64 = 55;
    pub const CLONE: i64 = 56;
    pub const EXECVE: i64 = 59;
    pub const WAIT4: i64 = 61;
    pub const KILL: i64 = 62;
    pub const FCNTL: i64 = 72;
    pub const FLOCK: i64 = 73;
    pub const TRUNCATE: i64 = 76;
    pub const FTRUNCATE: i64 = 77;
    pub const GETCWD: i64 = 79;
    pub const CHDIR: i64 = 80;
    pub const FCHDIR: i64 = 81;
    pub const RENAME: i64 = 82;
    pub const MKDIR: i64 = 83;
    pub const RMDIR: i64 = 84;
    pub const CREAT: i64 = 85;
    pub const LINK: i64 = 86;
    pub const UNLINK: i64 = 87;
    pub const SYMLINK: i64 = 88;
    pub const READLINK: i64 = 89;
    pub const CHMOD: i64 = 90;
    pub const FCHMOD: i64 = 91;
    pub const CHOWN: i64 = 92;
    pub const FCHOWN: i64 = 93;
    pub const LCHOWN: i64 = 94;
    pub const UMASK: i64 = 95;
    pub const PTRACE: i64 = 101;
    pub const GETUID: i64 = 102;
    pub const SETUID: i64 = 105;
    pub const GETEUID: i64 = 107;
    pub const SETPGID: i64 = 109;
    pub const GETPPID: i64 = 110;
    pub const SETSID: i64 = 112;
    pub const CAPSET: i64 = 126;
    pub const UTIME: i64 = 132;
    pub const MKNOD: i64 = 133;
    pub const PRCTL: i64 = 157;
    pub const SETRLIMIT: i64 = 160;
    pub const CHROOT: i64 = 161;
    pub const MOUNT: i64 = 165;
    pub const UMOUNT2: i64 = 166;
    pub const GETTID: i64 = 186;
    pub const SETXATTR: i64 = 188;
    pub const LSETXATTR: i64 = 189;
    pub const FSETXATTR: i64 = 190;
    pub const GETXATTR: i64 = 191;
    pub const LISTXATTR: i64 = 194;
    pub const REMOVEXATTR: i64 = 197;
    pub const LREMOVEXATTR: i64 = 198;
    pub const FREMOVEXATTR: i64 = 199;
    pub const UTIMES: i64 = 235;
    pub const INOTIFY_ADD_WATCH: i64 = 254;
    pub const OPENAT: i64 = 257;
    pub const MKDIRAT: i64 = 258;
    pub const MKNODAT: i64 = 259;
    pub const FCHOWNAT: i64 = 260;
    pub const FUTIMESAT: i64 = 261;
    pub const UNLINKAT: i64 = 263;
    pub const RENAMEAT: i64 = 264;
    pub const LINKAT: i64 = 265;
    pub const SYMLINKAT: i64 = 266;
    pub const READLINKAT: i64 = 267;
    pub const FCHMODAT: i64 = 268;
    pub const UNSHARE: i64 = 272;
    pub const UTIMENSAT: i64 = 280;
    pub const FALLOCATE: i64 = 285;
    pub const INOTIFY_INIT1: i64 = 294;
    pub const NAME_TO_HANDLE_AT: i64 = 303;
    pub const OPEN_BY_HANDLE_AT: i64 = 304;
    pub const PROCESS_VM_WRITEV: i64 = 311;
    pub const RENAMEAT2: i64 = 316;
    pub const SECCOMP: i64 = 317;
    pub const EXECVEAT: i64 = 322;
    pub const IO_URING_SETUP: i64 = 425;
    pub const OPEN_TREE: i64 = 428;
    pub const MOVE_MOUNT: i64 = 429;
    pub const FSOPEN: i64 = 430;
    pub const PIDFD_OPEN: i64 = 434;
    pub const OPENAT2: i64 = 437;
    pub const PIDFD_GETFD: i64 = 438;
    pub const FCHMODAT2: i64 = 452;
    pub const SETXATTRAT: i64 = 463;
    pub const REMOVEXATTRAT: i64 = 466;
    pub const FILE_SETATTR: i64 = 469;
}

/// The current directory, in place of a descriptor.
pub const AT_FDCWD: i64 = -100;
pub const AT_SYMLINK_NOFOLLOW: i64 = 0x100;
pub const AT_REMOVEDIR: i64 = 0x200;
pub const AT_SYMLINK_FOLLOW: i64 = 0x400;
pub const AT_EMPTY_PATH: i64 = 0x1000;

/// Flags of open(2).
pub mod o {
    pub const RDONLY: i64 = 0;
    pub const WRONLY: i64 = 1;
    pub const RDWR: i64 = 2;
    pub const CREAT: i64 = 0o100;
    pub const EXCL: i64 = 0o200;
    pub const TRUNC: i64 = 0o1000;
    pub const APPEND: i64 = 0o2000;
    pub const NONBLOCK: i64 = 0o4000;
    pub const DSYNC: i64 = 0o10000;
    pub const DIRECTORY: i64 = 0o200_000;
    pub const NOFOLLOW: i64 = 0o400_000;
    pub const NOATIME: i64 = 0o1_000_000;
    pub const CLOEXEC: i64 = 0o2_000_000;
    pub const SYNC: i64 = 0o4_010_000;
    pub const PATH: i64 = 0o10_000_000;
    pub const TMPFILE: i64 = 0o20_200_000;
}

/// Makes a call. The caller must keep the memory that pointers lead to.
pub fn call(number: i64, arguments: &[i64]) -> Answer {
    let mut all = [0i64; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the calls are those of a test: the pointers among the arguments live on, or are wrong on purpose, which
    // the kernel answers with EFAULT.
    let result = unsafe { syscall(number, a, b, c, d, e, f) };
    if result < 0 {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok(result)
    }
}

/// The address of a string that ends in NUL and lives for ever.
pub fn text(words: impl Into<Vec<u8>>) -> i64 {
    CString::new(words).map_or(0, |s| s.into_raw() as i64)
}

/// The address of something that outlives the call.
pub fn at<T: ?Sized>(what: &T) -> i64 {
    std::ptr::from_ref(what).cast::<c_void>() as i64
}

/// The address of memory that the kernel writes to.
pub fn into<T: ?Sized>(what: &mut T) -> i64 {
    std::ptr::from_mut(what).cast::<c_void>() as i64
}

pub fn open(path: &str, flags: i64, mode: i64) -> Answer {
    call(nr::OPENAT, &[AT_FDCWD, text(path), flags, mode])
}

pub fn close(fd: i64) {
    let _ = call(nr::CLOSE, &[fd]);
}

pub fn write(fd: i64, bytes: &[u8]) -> Answer {
    call(nr::WRITE, &[fd, at(bytes), bytes.len() as i64])
}

/// Reads up to 4,096 bytes.
pub fn read(fd: i64) -> Result<Vec<u8>, i32> {
    let mut bytes = vec![0u8; 4096];
    let length = call(nr::READ, &[fd, into(&mut bytes[..]), 4096])?;
    bytes.truncate(length as usize);
    Ok(bytes)
}

/// Runs `work` in a new process, and returns its number.
pub fn child(work: impl FnOnce() -> i32) -> i64 {
    // SAFETY: the child does what the parent could; in a program of several threads it keeps to system calls.
    let pid = unsafe { fork() };
    if pid == 0 {
        leave(work());
    }
    i64::from(pid)
}

/// Ends the process without flushing the parent's buffers.
pub fn leave(status: i32) -> ! {
    // SAFETY: no pointers.
    unsafe { _exit(status) }
}

/// Waits for a child. Returns its status, or 128 and its signal.
pub fn wait(pid: i64) -> i32 {
    let mut status = 0i32;
    while let Err(4) = call(nr::WAIT4, &[pid, into(&mut status), 0, 0]) {}
    if status & 0x7f == 0 { (status >> 8) & 0xff } else { 128 + (status & 0x7f) }
}

/// Runs `work` in a new process, and waits for its end.
pub fn apart(work: impl FnOnce() -> i32) -> i32 {
    wait(child(work))
}

/// Ignores a signal, or lets it end the process again.
pub fn disposition(number: i32, ignored: bool) {
    // SAFETY: neither is a function.
    unsafe { signal(number, usize::from(ignored)) };
}

/// Lets a signal only interrupt. `restart`: the call begins again.
pub fn catch(number: i32, restart: bool, handler: extern "C" fn(i32)) {
    const SA_RESTART: i32 = 0x1000_0000;
    let action = Action {
        handler: handler as *const () as usize,
        mask: [0; 16],
        flags: if restart { SA_RESTART } else { 0 },
        restorer: 0,
    };
    // SAFETY: the structure is glibc's, and the handler does what a handler may do.
    unsafe { sigaction(number, &raw const action, std::ptr::null_mut()) };
}

/// Drops every capability of this process.
pub fn drop_capabilities() {
    let (head, sets) = ([0x2008_0522u32, 0], [0u32; 6]);
    let _ = call(nr::CAPSET, &[at(&head), at(&sets)]);
}

pub fn sleep_ms(n: u64) {
    std::thread::sleep(std::time::Duration::from_millis(n));
}

/// The name of an error.
pub fn error(number: i32) -> String {
    const NAMES: &[(i32, &str)] = &[
        (1, "EPERM"), (2, "ENOENT"), (3, "ESRCH"), (4, "EINTR"), (5, "EIO"), (6, "ENXIO"), (7, "E2BIG"), (8, "ENOEXEC"),
        (9, "EBADF"), (11, "EAGAIN"), (12, "ENOMEM"), (13, "EACCES"), (14, "EFAULT"), (16, "EBUSY"), (17, "EEXIST"),
        (18, "EXDEV"), (19, "ENODEV"), (20, "ENOTDIR"), (21, "EISDIR"), (22, "EINVAL"), (24, "EMFILE"), (25, "ENOTTY"),
        (26, "ETXTBSY"), (27, "EFBIG"), (28, "ENOSPC"), (29, "ESPIPE"), (30, "EROFS"), (31, "EMLINK"), (32, "EPIPE"),
        (34, "ERANGE"), (36, "ENAMETOOLONG"), (38, "ENOSYS"), (39, "ENOTEMPTY"), (40, "ELOOP"), (61, "ENODATA"),
        (88, "ENOTSOCK"), (91, "EPROTOTYPE"), (93, "EPROTONOSUPPORT"), (95, "EOPNOTSUPP"), (97, "EAFNOSUPPORT"),
        (98, "EADDRINUSE"), (99, "EADDRNOTAVAIL"), (106, "EISCONN"), (107, "ENOTCONN"), (110, "ETIMEDOUT"),
        (111, "ECONNREFUSED"), (114, "EALREADY"), (115, "EINPROGRESS"), (512, "ERESTARTSYS"),
    ];
    let name = NAMES.iter().find(|n| n.0 == number).map(|n| n.1.to_owned());
    name.unwrap_or_else(|| format!("E{number}"))
}

/// Writes one byte to memory that the caller has mapped.
pub fn poke(place: i64, byte: u8) {
    // SAFETY: the caller has just mapped it, for writing.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(place as usize).write_volatile(byte) };
}

/// Becomes another program. Returns if that fails.
pub fn exec(program: &str, arguments: &[&str]) -> i32 {
    let mut words = vec![text(program)];
    words.extend(arguments.iter().map(|a| text(*a)));
    words.push(0);
    let none = [0i64];
    call(nr::EXECVE, &[words[0], at(&words[..]), at(&none)]).map_or_else(|e| e, |_| 0)
}

/// The two ends of a pipe.
pub fn pipe() -> (i64, i64) {
    let mut ends = [0i32; 2];
    let _ = call(nr::PIPE, &[into(&mut ends)]);
    (ends[0].into(), ends[1].into())
}

/// The words at an address that [`text`] gave.
pub fn string(address: i64) -> String {
    // SAFETY: `text` made it, and it lives for ever.
    let words = unsafe { std::ffi::CStr::from_ptr(std::ptr::with_exposed_provenance(address as usize)) };
    words.to_string_lossy().into_owned()
}

unsafe extern "C" {
    fn clone(work: extern "C" fn(*mut c_void) -> c_int, stack: *mut c_void, flags: c_int, argument: *mut c_void, ...) -> c_int;
}

extern "C" fn begin(work: *mut c_void) -> c_int {
    // SAFETY: `task` gives the address of a closure that outlives the task.
    let work = unsafe { &*work.cast::<&dyn Fn() -> i32>() };
    work()
}

/// Starts a task that shares the caller's memory, and more if `flags` say so. The caller does nothing until the task
/// has ended, because both use the same thread storage.
fn task(flags: i64, work: &dyn Fn() -> i32) -> i64 {
    const SIZE: i64 = 1 << 18;
    let stack = call(nr::MMAP, &[0, SIZE, 3, 0x22, -1, 0]).unwrap_or(0);
    let top = std::ptr::with_exposed_provenance_mut::<c_void>((stack + SIZE) as usize);
    // SAFETY: the stack is new and large enough, and the closure lives until the task has ended.
    let pid = unsafe { clone(begin, top, flags as c_int, std::ptr::from_ref(&work).cast_mut().cast()) };
    pid.into()
}

/// Runs `work` in a process with the same memory, and waits for its end.
pub fn twin(work: &dyn Fn() -> i32) -> i32 {
    const CLONE_VM: i64 = 0x100;
    const CLONE_VFORK: i64 = 0x4000;
    const SIGCHLD: i64 = 17;
    let pid = task(CLONE_VM | CLONE_VFORK | SIGCHLD, work);
    wait(pid)
}

/// Runs `work` in a thread that shares memory, and more if `shared` says so (CLONE_FS, CLONE_FILES). Waits for its end.
pub fn thread(shared: i64, work: &dyn Fn()) {
    const CLONE_VM: i64 = 0x100;
    const CLONE_SIGHAND: i64 = 0x800;
    const CLONE_THREAD: i64 = 0x10000;
    let ended = std::sync::atomic::AtomicBool::new(false);
    let work = || {
        work();
        ended.store(true, std::sync::atomic::Ordering::Release);
        0
    };
    if task(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | shared, &work) < 0 {
        return;
    }
    while !ended.load(std::sync::atomic::Ordering::Acquire) {
        std::hint::spin_loop();
    }
    // The task's last call is its exit.
    sleep_ms(5);
}
