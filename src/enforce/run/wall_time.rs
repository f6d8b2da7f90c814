//! The policy's `wall_time`: when it is over, everything that the program has started is killed.
//!
//! What that is, is found by descent ([`super::leftovers`]).

use super::leftovers;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The exit status when time is over, as `timeout(1)` has it.
pub const OVER: i32 = 124;

/// Set before anything is stopped.
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// After `time` every descendant of this process is killed.
///
/// # Errors
/// There can be no thread.
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

/// Whether the time was over. A program that stops from now on was stopped to be killed.
#[must_use]
pub fn is_over() -> bool {
    IS_OVER.load(Ordering::SeqCst)
}

/// Leaves a process that continues this one after `time`, should it be stopped then; `None`: there can be none.
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
