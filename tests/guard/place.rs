//! A scratch directory with polc, the program that makes the calls, and a workspace. Also the user who runs them.

use crate::tool::{self, Said};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Who makes the calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The user who runs the tests.
    Own,
    /// An ordinary user. Only root can become one.
    Ordinary,
    /// The user who runs the tests, in a user and mount namespace.
    Namespace,
}

/// The number of the ordinary user.
pub const ORDINARY: u32 = 1000;

impl Who {
    /// The users that can be tried here.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Own];
        if is_root() {
            all.push(Self::Ordinary);
        } else {
            eprintln!("skipped: only root runs the calls as somebody else");
        }
        all.push(Self::Namespace);
        all
    }

    /// The words before the command.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Own => &[],
            Self::Ordinary => &[
                "setpriv",
                "--reuid",
                "1000",
                "--regid",
                "1000",
                "--clear-groups",
            ],
            Self::Namespace => &["unshare", "--user", "--map-root-user", "--mount"],
        }
    }
}

pub fn is_root() -> bool {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::geteuid() == 0 }
}

/// Whether this kernel can have a guard.
pub fn possible() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap_or(0));
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let landlock = polc::enforce::landlock::kernel_abi().is_some_and(|n| n >= 2);
    let there = version >= (5, 19) && landlock && !matches!(yama.trim(), "2" | "3");
    if !there {
        tool::skip("a guard needs Linux 5.19 with Landlock, and Yama's scope below 2");
    }
    there
}

/// The program that makes the calls, built once for each state of its sources.
fn program() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guard/program");
    let mut hash = DefaultHasher::new();
    let mut files: Vec<_> = std::fs::read_dir(&top)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        (file.file_name(), std::fs::read(&file).unwrap()).hash(&mut hash);
    }
    let made = tool::once(&format!("guard-program-{:x}", hash.finish()), |folder| {
        let rustc = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
        tool::build_static(
            &rustc,
            "program",
            &top.join("main.rs"),
            &folder.join("program"),
        );
    });
    made.join("program")
}

pub struct Place {
    folder: tempfile::TempDir,
    who: Who,
}

impl Place {
    pub fn new(who: Who) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("polc-guard-")
            .tempdir()
            .unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let place = Self { folder, who };
        std::fs::create_dir(place.path("bin")).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_polc"), place.path("bin/polc")).unwrap();
        std::fs::copy(program(), place.path("bin/program")).unwrap();
        place.renew();
        place
    }

    /// Makes the workspace, the home and the directory outside again, empty.
    pub fn renew(&self) {
        for name in ["ws", "home", "outside", "tmp"] {
            let path = self.path(name);
            drop(std::fs::remove_dir_all(&path));
            std::fs::create_dir(&path).unwrap();
        }
        self.own();
    }

    /// Makes the calling user the owner of everything but the programs.
    pub fn own(&self) {
        if self.who == Who::Ordinary {
            for name in ["ws", "home", "outside", "tmp"] {
                give(&self.path(name));
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// A command in the workspace, as this user, without polc.
    pub fn bare(&self, words: &[&str]) -> Command {
        self.command(words)
    }

    /// A command in the workspace, under a policy. `PLACE/` in the policy stands for the scratch directory. `options`
    /// come before the command's words.
    pub fn inside(&self, policy: &str, options: &[&str], words: &[&str]) -> Command {
        let file = self.path("policy.yaml");
        let own = self.path("").display().to_string();
        std::fs::write(&file, policy.replace("PLACE/", &own)).unwrap();
        let (polc, file) = (self.path("bin/polc"), file.display().to_string());
        let workspace = format!("workspace={}", self.path("ws").display());
        let polc = polc.display().to_string();
        let mut all = vec![polc.as_str(), "run", "-p", &file, "--set", &workspace];
        all.extend(options);
        all.push("--");
        all.extend(words);
        self.command(&all)
    }

    /// The same with `--guard require`.
    pub fn guarded(&self, policy: &str, words: &[&str]) -> Command {
        self.inside(policy, &["-q", "--guard", "require"], words)
    }

    fn command(&self, words: &[&str]) -> Command {
        let all = [self.who.words(), words].concat();
        let mut command = Command::new(all[0]);
        command.args(&all[1..]).current_dir(self.path("ws"));
        command
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"));
        command
    }

    /// The program's path.
    pub fn program(&self) -> String {
        self.path("bin/program").display().to_string()
    }
}

fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// A policy that allows everything in the workspace. `rules` come first.
pub fn policy(rules: &str) -> String {
    format!(
        "version: 1\nname: guarded\nsubject: {{workspace: auto, home: auto}}\nrules:\n{rules}  \
         - {{name: program, action: allow, operations: [read, execute], paths: ['PLACE/bin/**']}}\n  \
         - {{name: workspace, action: allow, operations: [read, write, execute, connect], paths: ['${{workspace}}/**']}}\n  \
         - {{name: network, action: allow, operations: [connect, bind], hosts: ['*']}}\n  \
         - include: builtin:linux-runtime\n  - include: builtin:system-programs\n"
    )
}

/// Runs the command, and returns its output. It must end well within `seconds`.
pub fn output(command: &mut Command, seconds: u64) -> Said {
    tool::run_with(command, b"", Duration::from_secs(seconds))
}
