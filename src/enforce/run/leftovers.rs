//! Finds and ends what the program has started. polc finds it by its parents.
//!
//! polc adopts orphans beneath it (`PR_SET_CHILD_SUBREAPER`). So each process that the program ever started stays a
//! descendant of polc, in whatever session or group it is. A process cannot escape by `setsid` and two forks. polc
//! first stops all of them, until it finds no more. So none makes another one while polc searches.
//!
//! With a process namespace ([`super::init`]) the kernel does this at once. Without one it is the only way.

use super::sys;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

/// The most rounds of the search. No process makes others faster than polc stops them for so long.
const ROUNDS: usize = 1000;
/// How long polc waits for the processes that it killed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many processes a message names.
const NAMED: usize = 5;

/// Makes this process adopt the orphans beneath it.
///
/// # Errors
/// The system call fails.
pub fn adopt() -> io::Result<()> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(drop)
}

/// Kills every descendant of this process, and returns their names.
pub fn kill() -> Vec<String> {
    let mut stopped = BTreeMap::new();
    for _ in 0..ROUNDS {
        let mut new = descendants(std::process::id() as i32);
        new.retain(|pid| !stopped.contains_key(pid));
        if new.is_empty() {
            break;
        }
        for pid in new {
            send(pid, libc::SIGSTOP);
            stopped.insert(pid, name(pid));
        }
    }
    for pid in descendants(std::process::id() as i32) {
        send(pid, libc::SIGKILL);
    }
    stopped.into_values().collect()
}

/// Reaps the children that have ended. The answer: whether a child is left. Nothing else may wait for children.
#[must_use]
pub fn any() -> bool {
    loop {
        // SAFETY: takes numbers.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
            0 => return true,
            1.. => {}
            _ => return false,
        }
    }
}

/// Kills every descendant, waits a limited time until they are gone, and returns their names.
pub fn end() -> Vec<String> {
    if !any() {
        return Vec::new();
    }
    let names = kill();
    let end = Instant::now() + PATIENCE;
    while any() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    names
}

/// The line that says what polc ended. `None`: nothing.
#[must_use]
pub fn told(names: &[String]) -> Option<String> {
    let mut shown: Vec<String> = names.iter().take(NAMED).cloned().collect();
    if let more @ 1.. = names.len().saturating_sub(NAMED) {
        shown.push(format!("{more} more"));
    }
    let what = match names.len() {
        0 => return None,
        1 => "process that the program had left running was",
        _ => "processes that the program had left running were",
    };
    Some(format!(
        "polc: {} {what} ended with it: {}",
        names.len(),
        shown.join(", ")
    ))
}

/// A process by its name and number.
fn name(pid: i32) -> String {
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = crate::fidelity::show_bytes(name.trim_ascii_end());
    format!("`{name}` ({pid})")
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
        // `PID (NAME) STATE PARENT …`. The name may hold any byte.
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
