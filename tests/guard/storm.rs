//! Signals, waits, programs that were just written, and a supervisor that is killed.

use crate::denied::{rules, snapshot};
use crate::place::{Place, Who, output, policy, possible};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Runs a part of the storm inside, and returns its lines.
fn storm(part: &str, count: usize) -> String {
    let place = Place::new(Who::Own);
    let program = place.program();
    let words = [program.as_str(), "storm", part, &count.to_string()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert!(output(&mut place.bare(&[&program, "attack", "objects", "0"]), 20).ok());
    let said = output(&mut place.guarded(&policy(&rules("")), &words), 120);
    assert!(said.ok(), "{part}: {}", said.words());
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[test]
fn signals_change_no_answer() {
    if possible() {
        assert_eq!(storm("signals", 20_000), "wrong: 0 of 20000\n");
    }
}

#[test]
fn a_wait_for_a_fifo_ends_as_without_a_guard() {
    if possible() {
        assert_eq!(
            storm("alarm", 0),
            "interrupted: EINTR true\nrestarted: true true, the other end 0\nignored: true, the other end 0\nended by: 142\n"
        );
    }
}

#[test]
fn what_waits_can_be_stopped_and_killed() {
    if possible() {
        assert_eq!(
            storm("stop", 0),
            "stopped by 19: true\ngoes on after 19: true\nstopped by 20: true\ngoes on after 20: true\nstill waits: true\n\
             opened: true 0\nkilled: 137 true\nnobody reads: ENXIO\n"
        );
    }
}

#[test]
fn a_program_that_was_just_written_starts() {
    if possible() {
        assert_eq!(
            storm("write-exec", 2_000),
            "busy: 0, other errors: 0, of 2000\n"
        );
    }
}

#[test]
fn many_who_wait_hold_up_nobody() {
    if possible() {
        assert_eq!(
            storm("flood", 100),
            "made: 200 true\nopened: true 100 of 100\n"
        );
    }
}

#[test]
fn killed_callers_hold_up_nobody() {
    if possible() {
        assert_eq!(storm("killed", 200), "wrong: 0 of 1600\n");
    }
}

/// The processes of a place: their numbers, and whether each is polc's.
fn processes(place: &Place) -> Vec<(u32, bool)> {
    let programs = [place.path("bin/polc"), place.path("bin/program")];
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let Ok(program) = std::fs::read_link(entry.path().join("exe")) else {
            continue;
        };
        if programs.contains(&program) {
            found.push((pid, program == programs[0]));
        }
    }
    found
}

/// Whether a process holds the filter's listener.
fn is_supervisor(pid: u32) -> bool {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let links = descriptors
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| std::fs::read_link(e.path()).ok());
    links
        .into_iter()
        .any(|l| l.as_os_str() == "anon_inode:seccomp notify")
}

fn kill(pid: u32) {
    // SAFETY: no pointers.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}

#[test]
fn a_killed_supervisor_ends_the_tree() {
    if !possible() {
        return;
    }
    // Without namespaces, only writing is decided call by call.
    let all = rules("");
    let writes = all.replace("[read, write, execute, connect]", "[write]");
    for (options, rules) in [
        (&["-q", "--guard", "require"][..], &all),
        (&["-q", "--guard", "require", "--no-namespaces"], &writes),
    ] {
        for after in [5, 30, 60, 100, 150, 400] {
            killed_after(options, rules, Duration::from_millis(after));
        }
    }
}

fn killed_after(options: &[&str], rules: &str, after: Duration) {
    let readable = !rules.contains("[read, write");
    let place = Place::new(Who::Own);
    let program = place.program();
    assert!(output(&mut place.bare(&[&program, "attack", "objects", "0"]), 20).ok());
    let before = snapshot(&place);
    let mut command = place.inside(
        &policy(rules),
        options,
        &[
            &program,
            "storm",
            "survive",
            if readable { "1" } else { "0" },
        ],
    );
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    let supervisor = loop {
        let found = processes(&place)
            .into_iter()
            .find(|p| p.1 && is_supervisor(p.0));
        if let Some((pid, _)) = found {
            break pid;
        }
        if Instant::now() > end {
            drop(child.kill());
            panic!("no process of polc holds the listener: {:?}", child.wait());
        }
    };
    std::thread::sleep(after);
    kill(supervisor);
    let end = Instant::now() + Duration::from_secs(5);
    let mut left = processes(&place);
    while left.iter().any(|p| p.0 != child.id()) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        drop(child.try_wait());
        left = processes(&place);
    }
    drop(child.try_wait());
    let left: Vec<_> = left.into_iter().filter(|p| p.0 != child.id()).collect();
    for (pid, _) in &left {
        kill(*pid);
    }
    drop(child.kill());
    drop(child.wait());
    assert!(
        left.is_empty(),
        "{options:?}, {after:?}: these live on: {left:?}"
    );
    let log = std::fs::read_to_string(place.path("ws/out/log")).unwrap_or_default();
    assert!(log.is_empty(), "{options:?}, {after:?}: {log}");
    assert_eq!(snapshot(&place), before, "{options:?}, {after:?}");
}
