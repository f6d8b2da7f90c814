//! A scratch repository with a home and a temporary directory of its own.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Who runs `polc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum User {
    /// Whoever runs the tests.
    Own,
    /// `nobody`, which only root can become.
    Nobody,
}

pub fn is_root() -> bool {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::geteuid() == 0 }
}

/// Says that something is not there; in CI that is a failure.
pub fn skip(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}: CI skips nothing");
    eprintln!("skipped: {what}");
}

pub fn have(tool: &str) -> bool {
    let there = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|d| d.join(tool).is_file());
    if !there {
        skip(&format!("there is no `{tool}`"));
    }
    there
}

/// Landlock with everything that is tested here (ABI 6: scopes).
pub fn landlock() -> bool {
    crate::landlock::landlock(6)
}

pub struct Place {
    folder: tempfile::TempDir,
    pub user: User,
}

impl Place {
    pub fn new(user: User) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("polc-run-")
            .tempdir()
            .unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let place = Self { folder, user };
        for d in ["ws", "tmp", "home/.ssh", "home/.aws", "outside", "bin"] {
            std::fs::create_dir_all(place.path(d)).unwrap();
        }
        // Where `nobody` can reach it.
        std::fs::copy(env!("CARGO_BIN_EXE_polc"), place.path("bin/polc")).unwrap();
        for (file, text) in [
            ("home/.ssh/id_ed25519", "key\n"),
            ("home/.aws/credentials", "key\n"),
            ("home/.bashrc", "# mine\n"),
            ("outside/secret", "secret\n"),
            ("ws/existing", "one\n"),
            ("ws/.env", "TOKEN=secret\n"),
            ("ws/polc.yaml", "version: 1\nname: here\nrules: []\n"),
        ] {
            std::fs::write(place.path(file), text).unwrap();
        }
        let git = |args: &[&str]| {
            let done = Command::new("git")
                .args(args)
                .current_dir(place.path("ws"))
                .output();
            assert!(done.unwrap().status.success(), "git {args:?}");
        };
        git(&["init", "-q", "."]);
        git(&["config", "user.name", "Nobody"]);
        git(&["config", "user.email", "nobody@localhost"]);
        std::fs::create_dir_all(place.path("ws/.git/hooks")).unwrap();
        place.own_all();
        place
    }

    /// Gives everything to the user.
    pub fn own_all(&self) {
        fn walk(path: &Path) {
            if !path.is_symlink() {
                chown(path, Some(65534), Some(65534)).unwrap();
            }
            if path.is_dir() && !path.is_symlink() {
                for e in std::fs::read_dir(path).unwrap() {
                    walk(&e.unwrap().path());
                }
            }
        }
        if self.user == User::Nobody {
            walk(self.folder.path());
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// `polc run` with the built-in policy and these options.
    pub fn polc(&self, options: &[&str], own_home: bool) -> Command {
        let mut c = Command::new(self.path("bin/polc"));
        c.args(["run", "-p", "builtin:coding-agent", "--set"])
            .arg(format!("workspace={}", self.path("ws").display()))
            .args(options)
            .arg("--")
            .current_dir(self.path("ws"))
            .env("TMPDIR", self.path("tmp"))
            .stdin(Stdio::null());
        if !own_home {
            c.env("HOME", self.path("home"));
            c.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        }
        if self.user == User::Nobody {
            c.uid(65534).gid(65534);
        }
        c
    }

    /// Runs a script of the shell inside a policy of its own, for which the workspace is `auto`.
    pub fn shell_by(&self, policy: &str, script: &str) -> Output {
        self.shell_by_with(policy, &[], script)
    }

    /// The same with these options.
    pub fn shell_by_with(&self, policy: &str, options: &[&str], script: &str) -> Output {
        let file = self.path("own-policy.yaml");
        std::fs::write(&file, policy).unwrap();
        Command::new(self.path("bin/polc"))
            .args(["run", "--explain-start", "-p"])
            .arg(file)
            .arg("--set")
            .arg(format!("workspace={}", self.path("ws").display()))
            .args(options)
            .args(["--", "/bin/sh", "-c", script])
            .current_dir(self.path("ws"))
            .output()
            .unwrap()
    }

    /// Runs a script of the shell inside.
    pub fn shell(&self, options: &[&str], script: &str) -> Output {
        self.polc(options, true)
            .args(["/bin/sh", "-c", script])
            .output()
            .unwrap()
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it said, for the message of a failed test.
pub fn said(o: &Output) -> String {
    format!("{:?}\n{}{}", o.status, text(&o.stdout), text(&o.stderr))
}
