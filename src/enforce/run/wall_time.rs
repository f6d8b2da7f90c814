//! The policy's `wall_time`: when it is over, everything that the program has started is killed.
//!
//! The supervisor adopts what is orphaned beneath it (`PR_SET_CHILD_SUBREAPER`), so that each process that the program
//! ever started stays its descendant, in whatever session or group it is: there is no way out by `setsid` and two forks. All of
//! them are stopped first, until no more are found, so that none makes another one while it is looked for.
//! What still runs when the program itself has ended is killed then, or a daemon would outlive the limit.

use super::sys;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The exit status when time is over, as `timeout(1)` has it.
pub const OVER: i32 = 124;
/// Most rounds of looking for processes: none makes another one faster than it is stopped for so long.
const ROUNDS: usize = 1000;

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
                    kill_descendants();
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

/// Makes this process adopt what is orphaned beneath it.
///
/// # Errors
/// The kernel's.
pub fn adopt() -> io::Result<()> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(drop)
}

/// Kills every descendant of this process.
pub fn kill_descendants() {
    let mut stopped = BTreeSet::new();
    for _ in 0..ROUNDS {
        let now = descendants(std::process::id() as i32);
        let new: Vec<i32> = now.difference(&stopped).copied().collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            send(pid, libc::SIGSTOP);
            stopped.insert(pid);
        }
    }
    for pid in descendants(std::process::id() as i32) {
        send(pid, libc::SIGKILL);
    }
}

fn send(pid: i32, signal: libc::c_int) {
    // SAFETY: takes numbers.
    unsafe { libc::kill(pid, signal) };
}

/// The living descendants of a process.
fn descendants(top: i32) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        // `PID (NAME) STATE PARENT …`, where the name may hold anything.
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else {
            continue;
        };
        let after = stat.rsplit(|b| *b == b')').next().unwrap_or_default();
        let text = String::from_utf8_lossy(after);
        let mut fields = text.split_whitespace();
        let state = fields.next();
        if let (Some(parent), false) = (
            fields.next().and_then(|p| p.parse().ok()),
            matches!(state, Some("Z" | "X")),
        ) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut out = BTreeSet::new();
    let mut work = vec![top];
    while let Some(pid) = work.pop() {
        for child in children.remove(&pid).into_iter().flatten() {
            out.insert(child);
            work.push(child);
        }
    }
    out
}
