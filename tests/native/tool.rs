//! Finding and running the targets' own tools.
//!
//! A tool that is missing skips its test with a line that says so; with `CI=true` it fails, so
//! that a machine which was meant to check everything cannot pass by checking nothing.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a tool may take where the caller has no better idea.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Whether nothing may be skipped.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|v| v == "true")
}

/// Says that something is not checked here, or fails in CI.
pub fn skip(what: &str) {
    assert!(!in_ci(), "in CI nothing is skipped: {what}");
    eprintln!("skipped: {what}");
}

/// The tool's place on `PATH` or where Debian keeps tools of the administrator.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// The tool, or `None` after a line that says what is skipped; panics in CI.
pub fn skip_or_fail(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip(&format!(
            "`{name}` is not installed (scripts/test installs it)"
        ));
    }
    found
}

/// What a tool said.
#[derive(Debug)]
pub struct Said {
    /// How it ended; `None`: it was stopped because it took too long.
    pub status: Option<ExitStatus>,
    /// Its output.
    pub stdout: Vec<u8>,
    /// Its words.
    pub stderr: Vec<u8>,
}

impl Said {
    /// Whether it ended with status 0.
    pub fn ok(&self) -> bool {
        self.status.is_some_and(|s| s.success())
    }

    /// Both streams, for a message.
    pub fn words(&self) -> String {
        let how = match self.status {
            Some(s) => s.to_string(),
            None => "stopped: took too long".to_owned(),
        };
        format!(
            "{how}\n{}{}",
            String::from_utf8_lossy(&self.stderr),
            String::from_utf8_lossy(&self.stdout)
        )
    }
}

/// Builds a small Rust program of the tests from its `main.rs`: static, as it runs where there are no libraries.
#[allow(dead_code, reason = "only two of the test programs build one")]
pub fn build_static(rustc: &Path, name: &str, source: &Path, program: &Path) {
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-name", name, "-D", "warnings"]);
    for setting in [
        "opt-level=1",
        "panic=abort",
        "strip=symbols",
        "target-feature=+crt-static",
    ] {
        command.args(["-C", setting]);
    }
    command.arg("-o").arg(program).arg(source);
    let said = run_with(&mut command, b"", PATIENCE);
    assert!(said.ok(), "`{name}` does not build: {}", said.words());
}

/// Runs a command with this input, and stops it after `patience`.
pub fn run_with(command: &mut Command, input: &[u8], patience: Duration) -> Said {
    let program = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A tool that does not read its input closes the pipe: no failure of ours.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let reader = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(from.read_to_end(&mut bytes));
            bytes
        })
    };
    let stdout = reader(Box::new(child.stdout.take().unwrap()));
    let stderr = reader(Box::new(child.stderr.take().unwrap()));
    let end = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > end {
            drop(child.kill());
            drop(child.wait());
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    drop(writer.join());
    Said {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// Runs a tool with these arguments and no input.
pub fn run<A: AsRef<OsStr>>(tool: &Path, arguments: impl IntoIterator<Item = A>) -> Said {
    run_with(Command::new(tool).args(arguments), b"", PATIENCE)
}

/// A new folder under the build's own temporary directory, removed when dropped.
pub fn folder(prefix: &str) -> tempfile::TempDir {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(base).unwrap();
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(base)
        .unwrap()
}

/// Makes `dir` once for all test processes: `make` fills a folder that then gets this name.
pub fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(base).unwrap();
    let lock = std::fs::File::create(base.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let done = base.join(name);
    if !done.exists() {
        let draft = folder(name);
        make(draft.path());
        std::fs::rename(draft.keep(), &done).unwrap();
    }
    done
}
