//! Signals and the terminal, as polc outside passes them on to the program and back.
//!
//! Both stay in one process group, so that the terminal's signals reach the program without help:
//!
//! - The program gets SIGINT, SIGQUIT and SIGTSTP of the terminal. If somebody sends these to polc, polc passes them
//!   on, as it does SIGTERM, SIGUSR1, SIGUSR2 and SIGWINCH. It always passes on SIGHUP: when a terminal goes away, the
//!   kernel tells only the leader of the session, and that may be polc.
//! - When the program stops, polc stops too, so that the shell outside sees a stopped job. When polc is continued, it
//!   continues the program. It stops for no other reason. If the terminal stopped it beside the program, it would stop
//!   a second time when it is continued.
//! - While polc is stopped, nobody watches the clock, and what the program started before could go on without end. So
//!   if there is a `wall_time`, another process wakes polc when it is over.
//! - A program that lets itself be traced by its parent (`PTRACE_TRACEME`) is traced by polc, and stops at each signal
//!   until polc lets it go on. polc traces nobody: it lets the program go with that signal.
//! - polc ends as the program ended: with its status, or by its signal.
//! - A shell inside a process namespace makes a group of its own the terminal's foreground. It cannot name the group
//!   outside to give the terminal back. polc takes it back at the end, if it had it at the start.

use super::{sys, wall_time};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// The program's process, for the signal handler.
static PROGRAM: AtomicI32 = AtomicI32::new(0);

/// The signals that are passed on.
const ALL: [libc::c_int; 10] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

extern "C" fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // The terminal sends its signals to the program too, except SIGHUP. So only signals that a process sent, and
    // SIGHUP, are passed on.
    // SAFETY: the kernel gives a valid pointer to a handler with SA_SIGINFO.
    let from_terminal = unsafe { !info.is_null() && (*info).si_code > 0 };
    let child = PROGRAM.load(Ordering::SeqCst);
    if (!from_terminal || signal == libc::SIGHUP) && child > 0 {
        // SAFETY: kill is safe in a handler and takes numbers.
        unsafe { libc::kill(child, signal) };
    }
}

/// Handles signals from now on. Those that arrive are held back until [`begin`].
pub fn handle() {
    block(libc::SIG_BLOCK, &ALL);
    for signal in ALL {
        // SAFETY: the handler does what is allowed in one.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = pass_on as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Passes signals on to the program. Its number is known now.
pub fn begin(program: libc::pid_t) {
    PROGRAM.store(program, Ordering::SeqCst);
    block(libc::SIG_UNBLOCK, &ALL);
}

fn block(how: libc::c_int, signals: &[libc::c_int]) {
    // SAFETY: an all-zero set is a valid one; the calls fill it in and read it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(how, &raw const set, std::ptr::null_mut());
    }
}

/// Waits until the program has ended, and returns its status. This process stops when the program stops.
pub fn wait(child: libc::pid_t, deadline: Option<Instant>) -> libc::c_int {
    wait_and(child, || {
        // SAFETY: takes numbers.
        stop_too(deadline, || unsafe {
            libc::kill(child, libc::SIGCONT);
        });
    })
}

/// Waits until the program has ended, and returns its status. Calls `stopped` each time the program stops.
pub fn wait_and(child: libc::pid_t, mut stopped: impl FnMut()) -> libc::c_int {
    let mut status = 0;
    loop {
        // Also reaps adopted processes.
        // SAFETY: the kernel fills in the number.
        let got = unsafe { libc::waitpid(-1, &raw mut status, libc::WUNTRACED) };
        if got > 0 && libc::WIFSTOPPED(status) {
            let traced = release(got, libc::WSTOPSIG(status));
            if got == child && !traced && !wall_time::is_over() {
                stopped();
            }
            continue;
        }
        if got == child {
            PROGRAM.store(0, Ordering::SeqCst);
            return status;
        }
        if got < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return 1 << 8;
        }
    }
}

/// Lets a process or thread go that has made this process its tracer and has stopped at a signal, which it gets then.
/// `false`: it is no tracee.
fn release(tracee: libc::pid_t, signal: libc::c_int) -> bool {
    // SAFETY: an all-zero structure is a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel fills in the structure; it takes nothing else but numbers.
    let asked = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tracee, nothing, &raw mut info) };
    let signal = match (asked, io::Error::last_os_error().raw_os_error()) {
        // The kernel sends this one to tracees that have become another program, and to nobody else.
        (0, _) if signal == libc::SIGTRAP && info.si_code == libc::SI_USER => 0,
        (0, _) => signal,
        // Its group has stopped, and it stays stopped.
        (_, Some(libc::EINVAL)) => libc::SIGSTOP,
        _ => return false,
    };
    // SAFETY: takes numbers.
    unsafe {
        libc::ptrace(
            libc::PTRACE_DETACH,
            tracee,
            nothing,
            libc::c_long::from(signal),
        ) == 0
    }
}

/// Stops this process, because the program has stopped. After it is continued, `go_on` continues the program, unless
/// the time is over.
pub fn stop_too(deadline: Option<Instant>, go_on: impl FnOnce()) {
    let left = || deadline.map(|d| d.saturating_duration_since(Instant::now()));
    let waker = left().and_then(wall_time::wake_after);
    // SAFETY: they take numbers; the waker is a child of this process that has not been waited for.
    unsafe {
        libc::raise(libc::SIGSTOP);
        if let Some(waker) = waker {
            libc::kill(waker, libc::SIGKILL);
        }
    }
    if left() != Some(Duration::ZERO) {
        go_on();
    }
}

/// The terminal of this process's session, if this process's group was its foreground.
pub struct Foreground(Option<File>);

impl Foreground {
    /// The state now.
    #[must_use]
    pub fn now() -> Self {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok();
        // SAFETY: they take numbers.
        let own = |t: &File| unsafe { libc::tcgetpgrp(t.as_raw_fd()) == libc::getpgrp() };
        Self(terminal.filter(own))
    }

    /// Makes this process's group the foreground again, if the foreground group has no process any more.
    pub fn restore(&self) {
        let Some(terminal) = &self.0 else { return };
        // SAFETY: they take numbers; a group in the background may do this where it blocks SIGTTOU.
        unsafe {
            let front = libc::tcgetpgrp(terminal.as_raw_fd());
            let gone = front > 0 && libc::kill(-front, 0) != 0;
            if gone && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) {
                block(libc::SIG_BLOCK, &[libc::SIGTTOU]);
                libc::tcsetpgrp(terminal.as_raw_fd(), libc::getpgrp());
                block(libc::SIG_UNBLOCK, &[libc::SIGTTOU]);
            }
        }
    }
}

/// Ends as the program ended.
pub fn end(status: libc::c_int) -> ! {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        // The program has written its own core file, if any.
        let _ = sys::set_limit(libc::RLIMIT_CORE, 0, 0);
        // SAFETY: the default action for the signal, which is then let through and ends this process.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            block(libc::SIG_UNBLOCK, &[signal]);
            libc::raise(signal);
        }
        std::process::exit(128 + signal)
    }
    std::process::exit(libc::WEXITSTATUS(status))
}
