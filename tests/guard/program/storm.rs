//! Signals during calls, calls that block, programs that were just written, and a supervisor that dies.

use crate::conf::fill;
use crate::denied::read_out;
use crate::sys::{self, AT_FDCWD, Answer, at, call, nr, o, open, text};
use crate::tell::print;
use std::time::{Duration, Instant};

pub fn run(which: &str, count: usize) -> i32 {
    match which {
        "signals" => signals(count),
        "alarm" => alarm(),
        "stop" => stop(),
        "write-exec" => write_exec(count),
        "flood" => flood(count),
        // With a number, the program may read the secret.
        "survive" => survive(if count == 0 { "secret/key" } else { "secret/new" }),
        "killed" => killed(count),
        _ => return 2,
    }
    0
}

/// Calls whose answer would change if they were made twice. A handler may end a call with EINTR before the guard has
/// taken it up. Then the call has had no effect, and is made again.
fn signals(count: usize) {
    let (mut wrong, mut interrupted) = (0, 0);
    for restart in [true, false] {
        let mut expect = |what: &str, attempt: &dyn Fn() -> Answer| {
            let mut answer = attempt();
            while answer == Err(4) && !restart {
                interrupted += 1;
                answer = attempt();
            }
            if let Err(e) = answer {
                wrong += 1;
                if wrong < 10 {
                    print(&format!("{what}, restart {restart}: {}", sys::error(e)));
                }
            }
        };
        sys::catch(14, restart, crate::nothing);
        let timer = [0i64, 500, 0, 500];
        let _ = call(nr::SETITIMER, &[0, at(&timer), 0]);
        let [d, f, g, h] = ["d", "f", "g", "h"].map(text);
        for _ in 0..count / 16 {
            expect("mkdir", &|| call(nr::MKDIR, &[d, 0o755]));
            expect("rmdir", &|| call(nr::RMDIR, &[d]));
            expect("open exclusively", &|| {
                call(nr::OPENAT, &[AT_FDCWD, f, o::WRONLY | o::CREAT | o::EXCL, 0o644]).inspect(|fd| sys::close(*fd))
            });
            expect("link", &|| call(nr::LINK, &[f, g]));
            expect("unlink", &|| call(nr::UNLINK, &[g]));
            expect("rename", &|| call(nr::RENAME, &[f, h]));
            expect("rename back, not replacing", &|| call(nr::RENAMEAT2, &[AT_FDCWD, h, AT_FDCWD, f, 1]));
            expect("remove", &|| call(nr::UNLINK, &[f]));
        }
        let _ = call(nr::SETITIMER, &[0, at(&[0i64; 4]), 0]);
    }
    print(&format!("wrong: {wrong} of {count}"));
    eprintln!("interrupted before they were taken up: {interrupted}");
}

fn fifo(name: &str) {
    let _ = call(nr::MKNOD, &[text(name), 0o010_644, 0]);
}

/// A fifo that no other process opens, and a signal.
fn alarm() {
    fifo("p");
    sys::catch(14, false, crate::nothing);
    let once = [0i64, 0, 0, 200_000];
    let _ = call(nr::SETITIMER, &[0, at(&once), 0]);
    let begun = Instant::now();
    let answer = open("p", o::RDONLY, 0);
    let soon = begun.elapsed() < Duration::from_secs(2);
    print(&format!("interrupted: {} {soon}", crate::tell::shown(answer)));
    // With a handler that restarts the call, only the other end of the fifo ends the wait.
    sys::catch(14, true, crate::nothing);
    let _ = call(nr::SETITIMER, &[0, at(&once), 0]);
    let writer = sys::child(|| {
        sys::sleep_ms(700);
        open("p", o::WRONLY, 0).map_or(1, |_| 0)
    });
    let begun = Instant::now();
    let answer = open("p", o::RDONLY, 0);
    let late = begun.elapsed() > Duration::from_millis(500);
    print(&format!("restarted: {} {late}, the other end {}", answer.is_ok(), sys::wait(writer)));
    answer.map(sys::close).ok();
    // An ignored signal and a blocked one do not end the wait.
    sys::disposition(10, true);
    let other = sys::child(|| open("p", o::WRONLY, 0).map_or(1, |_| 0));
    sys::sleep_ms(100);
    for _ in 0..20 {
        let _ = call(nr::KILL, &[i64::from(std::process::id()), 10]);
    }
    let answer = open("p", o::RDONLY, 0);
    print(&format!("ignored: {}, the other end {}", answer.is_ok(), sys::wait(other)));
    answer.map(sys::close).ok();
    // The default action ends the process.
    let ended = sys::apart(|| {
        sys::disposition(14, false);
        let _ = call(nr::ALARM, &[1]);
        i32::from(open("p", o::WRONLY, 0).is_err())
    });
    print(&format!("ended by: {ended}"));
}

fn state(pid: i64) -> char {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    line.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
}

/// Waits until a process is in one of these states.
fn becomes(pid: i64, states: &str) -> bool {
    (0..150).any(|_| {
        sys::sleep_ms(20);
        states.contains(state(pid))
    })
}

/// A call that blocks is stopped, goes on, and is killed.
fn stop() {
    fifo("p");
    let child = sys::child(|| open("p", o::RDONLY, 0).map_or(1, |_| 0));
    sys::sleep_ms(200);
    for signal in [19, 20] {
        let _ = call(nr::KILL, &[child, signal]);
        print(&format!("stopped by {signal}: {}", becomes(child, "T")));
        let _ = call(nr::KILL, &[child, 18]);
        print(&format!("goes on after {signal}: {}", becomes(child, "SD")));
        sys::sleep_ms(200);
    }
    print(&format!("still waits: {}", "SD".contains(state(child))));
    let writer = open("p", o::WRONLY, 0);
    print(&format!("opened: {} {}", writer.is_ok(), sys::wait(child)));
    writer.map(sys::close).ok();
    let child = sys::child(|| open("p", o::RDONLY, 0).map_or(1, |_| 0));
    sys::sleep_ms(200);
    let _ = call(nr::KILL, &[child, 9]);
    let begun = Instant::now();
    print(&format!("killed: {} {}", sys::wait(child), begun.elapsed() < Duration::from_secs(2)));
    // The fifo has no reader left.
    print(&format!("nobody reads: {}", crate::tell::shown(open("p", o::WRONLY | o::NONBLOCK, 0))));
}

/// The smallest possible program. It ends with status 0.
fn smallest() -> Vec<u8> {
    let code = [0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    let start = 0x40_0000u64;
    for half in [2u16, 62] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1u32.to_le_bytes());
    for word in [start + 120, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [1u32, 5] {
        bytes.extend(word.to_le_bytes());
    }
    let length = 120 + code.len() as u64;
    for word in [0, start, start, length, length, 0x1000] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(code);
    bytes
}

fn write_exec(count: usize) {
    let bytes = smallest();
    let (path, none) = (text("./new"), [0i64]);
    let words = [path, 0];
    let (mut busy, mut other) = (0, 0);
    for i in 0..count {
        // A new file, and an old file that is written again.
        if i % 2 == 0 {
            let _ = call(nr::UNLINK, &[path]);
        }
        if let Ok(fd) = open("new", o::WRONLY | o::CREAT | o::TRUNC, 0o755) {
            let _ = sys::write(fd, &bytes);
            sys::close(fd);
        }
        let status = sys::twin(&|| call(nr::EXECVE, &[path, at(&words), at(&none)]).map_or_else(|e| e, |_| 0));
        busy += usize::from(status == 26);
        other += usize::from(status != 0 && status != 26);
    }
    print(&format!("busy: {busy}, other errors: {other}, of {count}"));
}

/// Many threads wait for a fifo. The others go on.
fn flood(count: usize) {
    fifo("p");
    let waiting: Vec<_> = (0..count).map(|_| sys::child(|| open("p", o::RDONLY, 0).map_or(1, |_| 0))).collect();
    sys::sleep_ms(500);
    let begun = Instant::now();
    let mut made = 0;
    for i in 0..200 {
        made += i32::from(open(&format!("n{i}"), o::WRONLY | o::CREAT | o::EXCL, 0o644).map(sys::close).is_ok());
    }
    print(&format!("made: {made} {}", begun.elapsed() < Duration::from_secs(5)));
    let writer = open("p", o::WRONLY, 0);
    let ended = waiting.into_iter().filter(|pid| sys::wait(*pid) == 0).count();
    print(&format!("opened: {} {ended} of {count}", writer.is_ok()));
}

/// Processes are killed during calls, and others go on.
fn killed(count: usize) {
    let mut wrong = 0;
    for i in 0..count {
        let child = sys::child(|| {
            loop {
                let _ = open("victim", o::WRONLY | o::CREAT, 0o644).map(sys::close);
                read_out(open("secret/key", o::RDONLY, 0));
                let _ = call(nr::MKDIR, &[text("victims"), 0o755]);
                let _ = call(nr::RMDIR, &[text("victims")]);
            }
        });
        for j in 0..4 {
            let name = format!("mine{i}-{j}");
            wrong += usize::from(call(nr::MKDIR, &[text(name.as_str()), 0o755]).is_err());
            wrong += usize::from(call(nr::RMDIR, &[text(name)]).is_err());
        }
        let _ = call(nr::KILL, &[child, 9]);
        sys::wait(child);
    }
    print(&format!("wrong: {wrong} of {}", count * 8));
}

/// A tree of processes that run for ever. They record what they could open although they may not.
fn survive(secret: &str) {
    fill("started", "");
    for kind in 0..4 {
        sys::child(|| {
            if kind > 1 {
                let _ = call(nr::SETSID, &[]);
            }
            if kind == 3 {
                // Its parent ends.
                sys::child(|| attempts(secret));
                return 0;
            }
            attempts(secret)
        });
    }
    attempts(secret);
}

fn attempts(secret: &str) -> i32 {
    let log = open("out/log", o::WRONLY | o::CREAT | o::APPEND, 0o644).unwrap_or(1);
    loop {
        for (path, flags) in [(secret, o::RDONLY), ("hooks/made", o::WRONLY | o::CREAT), ("config", o::WRONLY)] {
            if open(path, flags, 0o644).map(sys::close).is_ok() {
                let _ = sys::write(log, b"LEAK\n");
            }
        }
        let _ = open("out/beat", o::WRONLY | o::CREAT | o::TRUNC, 0o644).map(|fd| {
            let _ = sys::write(fd, b"x");
            sys::close(fd);
        });
        sys::sleep_ms(1);
    }
}
