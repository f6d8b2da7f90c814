//! The system calls that the standard library lacks.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

unsafe extern "C" {
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(status: c_int) -> !;
    fn execv(path: *const c_char, argv: *const *const c_char) -> c_int;
    fn mkfifo(path: *const c_char, mode: u32) -> c_int;
    fn mknod(path: *const c_char, mode: u32, device: u64) -> c_int;
    fn utimensat(
        directory: c_int,
        path: *const c_char,
        times: *const c_void,
        flags: c_int,
    ) -> c_int;
    fn truncate(path: *const c_char, length: i64) -> c_int;
    fn linkat(
        directory: c_int,
        path: *const c_char,
        to_directory: c_int,
        to: *const c_char,
        flags: c_int,
    ) -> c_int;
    fn renameat2(
        directory: c_int,
        path: *const c_char,
        to_directory: c_int,
        to: *const c_char,
        flags: u32,
    ) -> c_int;
    fn mmap(
        at: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn chroot(path: *const c_char) -> c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn geteuid() -> u32;
    fn reboot(command: c_int) -> c_int;
    #[link_name = "socket"]
    fn c_socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(socket: c_int, address: *const c_void, length: u32) -> c_int;
    fn bind(socket: c_int, address: *const c_void, length: u32) -> c_int;
    fn listen(socket: c_int, backlog: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn lsetxattr(
        path: *const c_char,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int;
}

/// The status of a process that could not be confined.
pub const NOT_CONFINED: i32 = 253;
/// The status of the program that the fixture starts.
pub const STARTED: i32 = 250;

fn text(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}

fn name(path: &Path) -> CString {
    text(path.as_os_str().as_bytes())
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The error number of a result, 0 for success.
pub fn number<T>(result: io::Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(e) => e.raw_os_error().unwrap_or(255),
    }
}

/// Ends the process, without flushing the buffers that it copied from its parent.
pub fn exit(status: i32) -> ! {
    // SAFETY: no pointers; it does not return.
    unsafe { _exit(status) }
}

/// Runs `work` in a new process, and returns its exit status.
pub fn in_child(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: there is one thread, so the child may do what the parent could.
    let child = unsafe { fork() };
    if child == 0 {
        exit(work());
    }
    let mut status = 0;
    // SAFETY: `status` lives until the call returns.
    if child < 0 || unsafe { waitpid(child, &mut status, 0) } != child {
        return NOT_CONFINED;
    }
    if status & 0x7f != 0 {
        return 128; // killed
    }
    (status >> 8) & 0xff
}

/// Becomes another program. Returns only if that fails.
pub fn exec(program: &Path, arguments: &[&str]) -> i32 {
    let program = name(program);
    let words: Vec<CString> = arguments.iter().map(|a| text(a.as_bytes())).collect();
    let mut list = vec![program.as_ptr()];
    list.extend(words.iter().map(|w| w.as_ptr()));
    list.push(std::ptr::null());
    // SAFETY: the strings end in NUL, the list in a null pointer, and all live until the call fails.
    unsafe { execv(program.as_ptr(), list.as_ptr()) };
    number::<()>(Err(io::Error::last_os_error()))
}

/// mkfifo(3)
pub fn fifo(path: &Path) -> io::Result<()> {
    // SAFETY: the string ends in NUL.
    check(unsafe { mkfifo(name(path).as_ptr(), 0o644) }.into()).map(drop)
}

/// mknod(2) for a file, which is not opened.
pub fn regular(path: &Path) -> io::Result<()> {
    const S_IFREG: u32 = 0o100_000;
    // SAFETY: the string ends in NUL.
    check(unsafe { mknod(name(path).as_ptr(), S_IFREG | 0o644, 0) }.into()).map(drop)
}

/// mknod(2) for a device that does not exist.
pub fn device(path: &Path, character: bool) -> io::Result<()> {
    const S_IFCHR: u32 = 0o020_000;
    const S_IFBLK: u32 = 0o060_000;
    let kind = if character { S_IFCHR } else { S_IFBLK };
    // SAFETY: the string ends in NUL.
    check(unsafe { mknod(name(path).as_ptr(), kind | 0o600, 0xf0f0) }.into()).map(drop)
}

/// Makes a file without a name, in the directory of a path, and gives it that name.
pub fn nameless(path: &Path) -> io::Result<()> {
    const O_TMPFILE: i32 = 0o20_200_000;
    const AT_FDCWD: c_int = -100;
    const AT_SYMLINK_FOLLOW: c_int = 0x400;
    let directory = path.parent().unwrap_or(path);
    let mut options = OpenOptions::new();
    let file = options.write(true).custom_flags(O_TMPFILE).open(directory)?;
    let from = text(format!("/proc/self/fd/{}", file.as_raw_fd()).as_bytes());
    let to = name(path);
    // SAFETY: the strings end in NUL.
    let made = unsafe { linkat(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), AT_SYMLINK_FOLLOW) };
    check(made.into()).map(drop)
}

/// renameat2(2): two objects exchange their places.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    const AT_FDCWD: c_int = -100;
    const RENAME_EXCHANGE: u32 = 2;
    let (one, other) = (name(one), name(other));
    // SAFETY: the strings end in NUL.
    let done = unsafe {
        renameat2(AT_FDCWD, one.as_ptr(), AT_FDCWD, other.as_ptr(), RENAME_EXCHANGE)
    };
    check(done.into()).map(drop)
}

/// Opens without waiting for the other end of a fifo.
pub fn open_at_once(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    const O_NONBLOCK: i32 = 0o4000;
    options.custom_flags(O_NONBLOCK).open(path)
}

/// mmap(2) of the beginning of a file, as code.
pub fn map_code(file: &File) -> io::Result<()> {
    const PROT_READ: c_int = 1;
    const PROT_EXEC: c_int = 4;
    const MAP_PRIVATE: c_int = 2;
    // SAFETY: the kernel chooses where, so that nothing else is there; it is never looked at.
    let at = unsafe {
        mmap(
            std::ptr::null_mut(),
            1,
            PROT_READ | PROT_EXEC,
            MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    check(at as c_long).map(drop)
}

/// execveat(2) of an open file.
pub fn exec_open(file: &File) -> i32 {
    const AT_EMPTY_PATH: c_int = 0x1000;
    let nothing: [*const c_char; 1] = [std::ptr::null()];
    let arguments = [c"x".as_ptr(), std::ptr::null()];
    // SAFETY: the strings end in NUL, the lists in null pointers, and all live until the call fails.
    unsafe {
        syscall(
            322,
            c_long::from(file.as_raw_fd()),
            c"".as_ptr(),
            arguments.as_ptr(),
            nothing.as_ptr(),
            c_long::from(AT_EMPTY_PATH),
        )
    };
    number::<()>(Err(io::Error::last_os_error()))
}

/// utimensat(2): the times are now, or the beginning of 1970.
pub fn touch(path: &Path, long_ago: bool) -> io::Result<()> {
    const AT_FDCWD: c_int = -100;
    let times = [0i64; 4];
    let times = if long_ago { times.as_ptr().cast() } else { std::ptr::null() };
    // SAFETY: the string ends in NUL; the times are two pairs of 64-bit numbers, and none means now.
    let result = unsafe { utimensat(AT_FDCWD, name(path).as_ptr(), times, 0) };
    check(result.into()).map(drop)
}

/// truncate(2), which opens no file.
pub fn cut(path: &Path) -> io::Result<()> {
    // SAFETY: the string ends in NUL.
    check(unsafe { truncate(name(path).as_ptr(), 0) }.into()).map(drop)
}

/// Gives an object its SELinux label.
pub fn set_label(path: &Path, context: &str) -> io::Result<()> {
    set_attribute(path, c"security.selinux", text(context.as_bytes()).as_bytes_with_nul())
}

/// lsetxattr(2)
pub fn set_attribute(path: &Path, attribute: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the strings end in NUL, and the size is the value's own.
    let result = unsafe {
        lsetxattr(
            name(path).as_ptr(),
            attribute.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    check(result.into()).map(drop)
}

/// Mounts the file systems that the probe needs as the first process.
pub fn start_machine() {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("securityfs", "/sys/kernel/security"),
    ] {
        if let Err(e) = mount_at(kind, at) {
            println!("@fail mount {kind}: {e}");
        }
    }
    if let Err(e) = open_ports() {
        println!("@fail ports: {e}");
    }
}

/// Lets every user bind ports below 1024. Otherwise a capability would decide, and not the rules on hosts.
fn open_ports() -> io::Result<()> {
    std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
}

/// Mounts a file system of the kernel's own.
pub fn mount_at(kind: &str, at: &str) -> io::Result<()> {
    let (kind, at) = (text(kind.as_bytes()), text(at.as_bytes()));
    // SAFETY: the strings end in NUL; no data.
    let result = unsafe {
        mount(
            kind.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            0,
            std::ptr::null(),
        )
    };
    check(result.into()).map(drop)
}

/// Makes a folder the root of this process, and cuts it off from the network, so that nothing outside hears of the
/// attempts. A process that is not root does this in a user namespace.
pub fn change_root(root: &str) -> io::Result<()> {
    const CLONE_NEWUSER: c_int = 0x1000_0000;
    const CLONE_NEWNET: c_int = 0x4000_0000;
    let root = text(root.as_bytes());
    // SAFETY: the strings end in NUL; no thread shares what is changed.
    unsafe {
        let user = geteuid();
        if user != 0 {
            check(unshare(CLONE_NEWUSER).into())?;
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        }
        check(unshare(CLONE_NEWNET).into())?;
        open_ports()?;
        check(chroot(root.as_ptr()).into())?;
        check(chdir(c"/".as_ptr()).into()).map(drop)
    }
}

/// The kernel's Landlock ABI; 0: none.
pub fn landlock_version() -> c_long {
    // SAFETY: no structure is read where the version is asked.
    unsafe { syscall(444, std::ptr::null::<c_void>(), 0usize, 1 as c_ulong) }.max(0)
}

/// Ends the machine.
pub fn power_off() -> ! {
    const RB_POWER_OFF: c_int = 0x4321_fedc;
    // SAFETY: no pointers.
    unsafe { reboot(RB_POWER_OFF) };
    // A machine without ACPI cannot: then the kernel panics as its first process ends, and `-no-reboot` ends it.
    std::process::exit(0)
}

/// Sets `no_new_privs`: without it, Landlock is only for root.
pub fn no_new_privileges() -> io::Result<()> {
    const PR_SET_NO_NEW_PRIVS: c_int = 38;
    // SAFETY: no pointers.
    check(
        unsafe {
            prctl(
                PR_SET_NO_NEW_PRIVS,
                1 as c_ulong,
                0 as c_ulong,
                0 as c_ulong,
                0 as c_ulong,
            )
        }
        .into(),
    )
    .map(drop)
}

/// landlock_create_ruleset(2)
pub fn landlock_create(attributes: &[u64; 3], size: usize) -> io::Result<i32> {
    // SAFETY: the attributes are three 64-bit fields of which the kernel reads `size` bytes.
    check(unsafe { syscall(444, attributes.as_ptr(), size, 0 as c_ulong) }).map(|fd| fd as i32)
}

/// landlock_add_rule(2) for what is beneath an open directory, or for an open file.
pub fn landlock_path(ruleset: i32, access: u64, parent: i32) -> io::Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    let rule = PathBeneath { access, parent };
    // SAFETY: the structure is laid out as the kernel's, packed.
    check(unsafe { syscall(445, ruleset, 1 as c_long, &raw const rule, 0 as c_ulong) }).map(drop)
}

/// landlock_add_rule(2) for a port.
pub fn landlock_port(ruleset: i32, access: u64, port: u64) -> io::Result<()> {
    let rule: [u64; 2] = [access, port];
    // SAFETY: two 64-bit fields, as the kernel's structure.
    check(unsafe { syscall(445, ruleset, 2 as c_long, rule.as_ptr(), 0 as c_ulong) }).map(drop)
}

/// landlock_restrict_self(2)
pub fn landlock_restrict(ruleset: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { syscall(446, ruleset, 0 as c_ulong) }).map(drop)
}

/// socket(2) for TCP or for UDP.
pub fn socket(address: &SocketAddr, tcp: bool) -> io::Result<OwnedFd> {
    let (family, kind) = (family(address), if tcp { 1 } else { 2 });
    // SAFETY: no pointers; the descriptor is new and nobody else's.
    unsafe {
        let fd = check(c_socket(family.into(), kind, 0).into())?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

fn family(address: &SocketAddr) -> u16 {
    if address.is_ipv4() { 2 } else { 10 }
}

/// `struct sockaddr_in` or `sockaddr_in6`.
fn raw(address: &SocketAddr) -> Vec<u8> {
    let mut bytes = family(address).to_ne_bytes().to_vec();
    bytes.extend(address.port().to_be_bytes());
    match address {
        SocketAddr::V4(a) => {
            bytes.extend(a.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(a) => {
            bytes.extend([0; 4]);
            bytes.extend(a.ip().octets());
            bytes.extend([0; 4]);
        }
    }
    bytes
}

/// connect(2)
pub fn connect_to(socket: &OwnedFd, address: &SocketAddr) -> io::Result<()> {
    let raw = raw(address);
    // SAFETY: the address is laid out as the kernel's, and as long as is said.
    let result = unsafe { connect(socket.as_raw_fd(), raw.as_ptr().cast(), raw.len() as u32) };
    check(result.into()).map(drop)
}

/// bind(2)
pub fn bind_to(socket: &OwnedFd, address: &SocketAddr) -> io::Result<()> {
    let raw = raw(address);
    // SAFETY: the address is laid out as the kernel's, and as long as is said.
    let result = unsafe { bind(socket.as_raw_fd(), raw.as_ptr().cast(), raw.len() as u32) };
    check(result.into()).map(drop)
}

/// listen(2)
pub fn listen_on(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { listen(socket.as_raw_fd(), 1) }.into()).map(drop)
}
