//! A process namespace: the program sees only its own processes, and all of them end with it.
//!
//! ```text
//! polc (outside) ─┬─ init: the first process of the namespace; it sleeps, and has no rights
//!                 └─ the program: the second one, polc's own child
//! ```
//!
//! The process that has entered the other namespaces makes both, as children of its own parent (`CLONE_PARENT`). Then
//! it ends. So the kernel tells polc outside how the program ends and when it stops, as if there were no namespace.
//! When the program has ended, polc kills init, and the kernel kills everything that is left. When polc is killed, the
//! kernel kills init.
//!
//! Init mounts a `/proc` of the namespace. A container may cover parts of its `/proc`. Then the kernel does not let a
//! user mount another one, and there is no process namespace. Instead polc adopts orphaned processes, and ends them
//! ([`super::leftovers`]).
//!
//! The program can see init, so init has nothing to give: no descriptor, no capability, no memory that the program may
//! read, no command line. Its filter refuses every system call but sleeping. The kernel lets nobody inside send it a
//! signal.

use super::{Error, capabilities, filter, sys, sys_process};
use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

/// The processes that polc outside waits for, by the numbers that they have outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processes {
    /// The program, or the process that becomes it.
    pub program: libc::pid_t,
    /// The first process of the program's namespace; 0: there is no such namespace.
    pub init: libc::pid_t,
    /// There is a mount namespace.
    pub mounts: bool,
}

impl Processes {
    /// The bytes that are sent.
    #[must_use]
    pub fn bytes(self) -> [u8; 9] {
        let [a, b, c, d] = self.program.to_ne_bytes();
        let [e, f, g, h] = self.init.to_ne_bytes();
        [a, b, c, d, e, f, g, h, u8::from(self.mounts)]
    }

    /// Reads the bytes that were sent.
    #[must_use]
    pub fn read(bytes: [u8; 9]) -> Self {
        let [a, b, c, d, e, f, g, h, mounts] = bytes;
        Self {
            program: libc::pid_t::from_ne_bytes([a, b, c, d]),
            init: libc::pid_t::from_ne_bytes([e, f, g, h]),
            mounts: mounts != 0,
        }
    }
}

/// Makes the namespace. It returns in the process that becomes the program, after `line` has got that process's number.
/// `outside` is the parent. `false`: no namespace can be made here, and this process becomes the program.
///
/// # Errors
/// The namespace exists, and this process cannot enter it.
pub fn enter(line: &UnixStream, outside: libc::pid_t) -> Result<bool, Error> {
    let error = |e| Error::Namespace("cannot set up the process namespace", e);
    let (mut near, far) = UnixStream::pair().map_err(error)?;
    // SAFETY: this process has one thread, so that the child may do whatever it likes; it does not come back.
    let init = match unsafe { fork_beside(libc::CLONE_NEWPID) } {
        Ok(0) => {
            drop(near);
            sleep(far)
        }
        Ok(init) => init,
        Err(_) => return Ok(false),
    };
    drop(far);
    // Init has mounted its `/proc`, and this process may still enter the namespace.
    if near.read_exact(&mut [0]).is_err() {
        return Ok(false);
    }
    let entered = sys_process::open(init).and_then(|i| sys_process::enter(&i, libc::CLONE_NEWPID));
    let ready = entered.and_then(|()| {
        near.write_all(&[0])?;
        // Init holds nothing any more, and dies with this process's parent.
        near.read_exact(&mut [0])
    });
    let second = ready.and_then(|()| second(line, outside, init));
    second.map(|()| true).map_err(|e| {
        // SAFETY: takes numbers; nobody has waited for that process.
        unsafe { libc::kill(init, libc::SIGKILL) };
        error(e)
    })
}

/// Goes on in a child that is in the namespace of `init`. This process ends.
fn second(mut line: &UnixStream, outside: libc::pid_t, init: libc::pid_t) -> io::Result<()> {
    // If polc was killed before init was ready, nobody would kill init.
    // SAFETY: takes nothing.
    if unsafe { libc::getppid() } != outside {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let (mut gone, stays) = UnixStream::pair()?;
    // SAFETY: as above; the child becomes the program.
    match unsafe { fork_beside(0) }? {
        0 => {
            drop(stays);
            // Waits until the process between has sent the number, and is gone.
            let _ = gone.read(&mut [0]);
            Ok(())
        }
        program => {
            let told = line.write_all(
                &Processes {
                    program,
                    init,
                    mounts: true,
                }
                .bytes(),
            );
            // SAFETY: takes a number; nothing of this process is left to be done.
            unsafe { libc::_exit(i32::from(told.is_err())) }
        }
    }
}

/// Makes a child of this process's parent.
///
/// # Safety
/// As `fork(2)`: this process has one thread.
unsafe fn fork_beside(flags: libc::c_int) -> io::Result<libc::pid_t> {
    let flags = libc::c_long::from(flags | libc::CLONE_PARENT | libc::SIGCHLD);
    // SAFETY: without a stack of its own the child goes on with a copy of this one, as after fork.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(child as libc::pid_t)
}

/// The first process of the namespace: it says when it is ready, and sleeps.
fn sleep(line: UnixStream) -> ! {
    let prepared = prepare(line);
    while prepared.is_ok() {
        // SAFETY: takes nothing; the filter lets it and the end of the process through.
        unsafe { libc::pause() };
    }
    // SAFETY: takes a number.
    unsafe { libc::_exit(1) }
}

fn prepare(mut line: UnixStream) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    sys::mount(Some(c"proc"), c"/proc", Some(c"proc"), flags, None)?;
    rename(c"polc-init")?;
    line.write_all(&[0])?;
    line.read_exact(&mut [0])?;
    // The terminal belongs to the program.
    // SAFETY: takes nothing; the kernel reaps the children of who ignores this signal.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
    }
    std::env::set_current_dir("/")?;
    capabilities::keep(&[]).map_err(io::Error::other)?;
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0)?;
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    let filter = filter::sleeping().map_err(io::Error::other)?;
    sys_process::close_all_but(line.as_raw_fd())?;
    line.write_all(&[0])?;
    drop(line);
    sys::load_filter(&filter, false)
}

/// Overwrites this process's command line, which the program may read.
///
/// # Errors
/// The kernel does not say where the command line lies, or refuses the change.
pub fn rename(name: &CStr) -> io::Result<()> {
    sys_process::rename(name)?;
    let field = |n| sys_process::own_stat(n).and_then(|text| text.parse::<usize>().ok());
    // The addresses of this process's command line.
    let (Some(begin), Some(end)) = (field(48), field(49)) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut words = vec![0; end.saturating_sub(begin)];
    for (to, from) in words.iter_mut().zip(name.to_bytes()) {
        *to = *from;
    }
    let memory = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/mem")?;
    memory.write_all_at(&words, begin as u64)
}
