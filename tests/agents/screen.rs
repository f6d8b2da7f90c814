//! An agent's full-screen interface in a terminal: it starts, takes keys, can be resized, and ends with Ctrl-C.
//! Afterwards the terminal has its old settings.

use super::agent::Agent;
use super::model::Model;
use super::place::{Place, User, can_be};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A program in a terminal of its own.
struct Terminal {
    master: File,
    /// The program's side. It stays open, because the test reads its settings at the end.
    slave: OwnedFd,
    output: Receiver<Vec<u8>>,
    program: Child,
    seen: Vec<u8>,
}

/// The answer of `tcgetattr`, as values to compare.
fn settings(slave: &OwnedFd) -> ([u32; 4], Vec<u8>) {
    // SAFETY: an all-zero `termios` is a value of it, and the call fills it.
    let mut t: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `t` is writable.
    let done = unsafe { libc::tcgetattr(slave.as_raw_fd(), &raw mut t) };
    assert_eq!(done, 0);
    (
        [t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag],
        t.c_cc.to_vec(),
    )
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let (mut master, mut slave) = (0, 0);
        let size = window(100, 30);
        // SAFETY: two places for descriptors, no name, default settings, and a size that outlives the call.
        let done = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(done, 0);
        // SAFETY: both descriptors were just made and belong to nobody else.
        let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        let standard = || Stdio::from(slave.try_clone().unwrap());
        command
            .stdin(standard())
            .stdout(standard())
            .stderr(standard());
        // SAFETY: only calls that are allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let program = command.spawn().unwrap();
        let (send, output) = channel();
        let mut reader = master.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut part = [0u8; 8192];
            while let Ok(n) = reader.read(&mut part) {
                if n == 0 || send.send(part[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            master,
            slave,
            output,
            program,
            seen: Vec::new(),
        }
    }

    fn keys(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    fn resize(&self, columns: u16, rows: u16) {
        let size = window(columns, rows);
        // SAFETY: the descriptor is open and the size outlives the call.
        let done =
            unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(done, 0);
    }

    /// Presses keys until certain words are drawn. A program that has just drawn a question may not listen yet.
    fn presses_until(&mut self, keys: &[u8], words: &str) {
        self.seen.clear();
        for _ in 0..12 {
            self.keys(keys);
            let end = Instant::now() + Duration::from_secs(5);
            while let Ok(part) = self
                .output
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                self.seen.extend(part);
                if plain(&self.seen).contains(words) {
                    return;
                }
            }
        }
        panic!("no `{words}`: {}", plain(&self.seen));
    }

    /// Forgets what was drawn, and waits until certain words are drawn.
    fn waits_for(&mut self, words: &str, does: impl FnOnce(&mut Self)) {
        self.seen.clear();
        does(self);
        let end = Instant::now() + Duration::from_secs(60);
        while !plain(&self.seen).contains(words) {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(part) => self.seen.extend(part),
                Err(e) => panic!(
                    "no `{words}` ({}): {}",
                    match e {
                        RecvTimeoutError::Timeout => "timeout",
                        RecvTimeoutError::Disconnected => "it ended",
                    },
                    plain(&self.seen)
                ),
            }
        }
    }

    fn ends(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.program.try_wait().unwrap() {
                return status;
            }
            while let Ok(part) = self.output.try_recv() {
                self.seen.extend(part);
            }
            if Instant::now() > end {
                let _ = self.program.kill();
                panic!("it does not end: {}", plain(&self.seen));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn window(columns: u16, rows: u16) -> libc::winsize {
    libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// The drawn text without escapes, with one blank between words. Programs draw a blank by moving the cursor.
fn plain(drawn: &[u8]) -> String {
    let text = String::from_utf8_lossy(drawn);
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        out.push(' ');
        match chars.next() {
            Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
            Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\\') {},
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Settings that stop Claude Code from asking its first questions.
fn known(workspace: &Path) -> String {
    serde_json::json!({
        "hasCompletedOnboarding": true,
        "theme": "dark",
        "customApiKeyResponses": {"approved": ["sk-test"], "rejected": []},
        "projects": {workspace.to_str().unwrap(): {"hasTrustDialogAccepted": true}},
    })
    .to_string()
}

#[test]
fn claude_code_draws_takes_keys_is_resized_and_leaves_the_terminal_as_it_was() {
    let agent = Agent::of("claude-code");
    let users = [User::Root, User::Ordinary];
    for (user, guard) in users.iter().flat_map(|u| [(*u, "off"), (*u, "require")]) {
        if !agent.is_there() || !can_be(user) {
            continue;
        }
        let place = Place::new(user, agent);
        place.write("home/.claude.json", &known(&place.workspace()));
        place.own_all();
        let model = Model::start(&place.path(""), &[]);
        let mut words = vec![place.path("bin/polc").display().to_string()];
        words.extend(["run", "-q", "--guard", guard, "-p"].map(str::to_owned));
        words.push(place.policy(agent, &model.host).display().to_string());
        words.push("--".to_owned());
        words.extend(agent.program_words());
        let mut command = place.command(&words);
        command.envs(agent.variables(&place, &model.url));
        let mut terminal = Terminal::start(command);
        let before = settings(&terminal.slave);

        // Without the guard it cannot replace `~/.claude.json`, so it asks which renderer to use. With the guard it
        // asks only what it asks without polc.
        if guard == "off" {
            terminal.waits_for("Not now", |_| {});
            terminal.presses_until(b"2", "auto mode on");
        } else {
            terminal.waits_for("auto mode on", |_| {});
        }
        terminal.presses_until(b"typed-", "typed-");
        // For the new size, the agent draws everything again.
        terminal.waits_for("typed-", |t| t.resize(60, 24));
        terminal.waits_for("finished", |t| t.keys(b"\r"));
        // The first one may only interrupt, if it arrives before the answer is drawn.
        terminal.presses_until(b"\x03", "again to exit");
        terminal.keys(b"\x03");
        terminal.ends();
        assert_eq!(settings(&terminal.slave), before, "{user:?} {guard}");
    }
}
