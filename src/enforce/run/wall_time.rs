//! The policy's `wall_time`. When it is over, polc kills everything that the program has started.
//!
//! [`super::leftovers`] finds those processes.

use super::leftovers;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The exit status when the time is over, as in `timeout(1)`.
pub const OVER: i32 = 124;

/// Set before anything is stopped.
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Starts the timer. After `time`, every descendant of this process is killed.
///
/// # Errors
/// The kernel makes no thread.
pub fn start(time: Duration) -> io::Result<()> {
    let end = Instant::now().checked_add(time);
    std::thread::Builder::new()
        .name("polc-clock".to_owned())
        .spawn(move || {
            while let Some(left) = end.map(|e| e.saturating_duration_since(Instant::now())) {
                if left.is_zero() {
                    IS_OVER.store(true, Ordering::SeqCst);
                    leftovers::kill();
                    return;
                }
                std::thread::sleep(left);
            }
        })
        .map(drop)
}

/// Whether the time is over. If the program stops from now on, polc stopped it to kill it.
#[must_use]
pub fn is_over() -> bool {
    IS_OVER.load(Ordering::SeqCst)
}

/// Starts a process that continues this one after `time`, in case it is stopped then. `None`: the kernel makes none.
#[must_use]
pub fn wake_after(time: Duration) -> Option<libc::pid_t> {
    let mut left = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: this process may have threads, so that the child makes system calls alone, and ends; the time is its own.
    unsafe {
        let own = libc::getpid();
        match libc::fork() {
            0 => {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
                for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM] {
                    libc::signal(signal, libc::SIG_IGN);
                }
                while libc::nanosleep(&raw const left, &raw mut left) != 0 {}
                libc::kill(own, libc::SIGCONT);
                libc::_exit(0)
            }
            child => (child > 0).then_some(child),
        }
    }
}
