//! `polc enforce landlock -- CMD`, against this machine's own kernel.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![cfg(target_os = "linux")]

mod landlock;

use landlock::landlock;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const POLICY: &str = r#"version: 1
name: enforced
subject: {home: /nonexistent, workspace: auto, tmp: /tmp}
rules:
  - name: secret
    action: deny
    operations: [read, write]
    paths: ["${workspace}/vault/**"]
  - name: part-a
    action: allow
    operations: [read, write]
    paths: ["${workspace}/a/**", "${workspace}/b/**"]
  - name: no-id
    action: deny
    commands: ["id -u"]
    message: nobody needs to know
  - name: asks
    action: ask
    commands: ["env **"]
  - include: builtin:linux-runtime
  - include: builtin:system-programs
  - name: null-device
    action: allow
    operations: [read, edit]
    paths: [/dev/null]
"#;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        // Not in the temporary directory, which some policies open.
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = tempfile::tempdir_in(base).unwrap();
        for (name, text) in [
            ("polc.yaml", POLICY),
            ("a/file", "one\n"),
            ("b/other", "two\n"),
            ("vault/key", "secret\n"),
            ("outside", "out\n"),
        ] {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        Self { folder }
    }

    fn run(&self, options: &[&str], command: &[&str]) -> Output {
        // The folder itself, not the repository that it lies in.
        let workspace = format!("workspace={}", self.folder.path().display());
        Command::new(env!("CARGO_BIN_EXE_polc"))
            .args([
                "enforce",
                "landlock",
                "-p",
                "polc.yaml",
                "--set",
                &workspace,
            ])
            .args(options)
            .arg("--")
            .args(command)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn sh(&self, script: &str) -> Output {
        self.run(&["--quiet"], &["sh", "-c", script])
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn works(place: &Place, script: &str) {
    let o = place.sh(script);
    assert!(o.status.success(), "{script}: {}", text(&o.stderr));
}

fn denied(place: &Place, script: &str) {
    let o = place.sh(script);
    assert!(!o.status.success(), "{script} worked: {}", text(&o.stdout));
    assert!(
        text(&o.stderr).contains("ermission denied"),
        "{script}: {}",
        text(&o.stderr)
    );
}

#[test]
fn what_the_policy_allows_works() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    works(&place, "test \"$(cat a/file)\" = one");
    // Cutting an existing file, renaming across directories, links: other tools handle these rights and never grant
    // them.
    works(&place, "echo two > a/file && test \"$(cat a/file)\" = two");
    works(
        &place,
        "mv a/file b/moved && ln -s moved b/link && cat b/link > /dev/null",
    );
    works(&place, "mkdir a/d && echo x > a/d/x && rm -r a/d && ls a");
}

#[test]
fn what_it_denies_fails_with_a_plain_error() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    for script in [
        "cat vault/key",
        "ls vault",
        "echo x > vault/new",
        "cat outside",
        "echo x > outside",
        "mkdir c",
        "mv b/other c",
        "cat /etc/shadow",
        "echo x > /etc/polc-test",
        "cat < vault/key",
        "cd vault && cat key",
    ] {
        denied(&place, script);
    }
    assert_eq!(
        std::fs::read_to_string(place.folder.path().join("vault/key")).unwrap(),
        "secret\n"
    );
    // A hard link would take the file out. The kernel answers EXDEV unless `refer` is granted on both sides.
    let o = place.sh("ln vault/key a/key");
    assert!(!o.status.success() && text(&o.stderr).contains("Invalid cross-device link"));
    // A link or a descriptor gives no way around.
    denied(&place, "ln -s ../vault/key a/l; cat a/l");
    denied(&place, "cat /proc/self/cwd/vault/key");
}

#[test]
fn the_network_is_shut_where_the_policy_names_no_host() {
    if !landlock(4) {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let free = Command::new("bash").args(["-c", &script]).status().unwrap();
    assert!(free.success(), "it does not work unconfined");
    let place = Place::new();
    let o = place.run(&["-q"], &["bash", "-c", &script]);
    assert!(!o.status.success());
    assert!(
        text(&o.stderr).contains("ermission denied"),
        "{}",
        text(&o.stderr)
    );
}

#[test]
fn a_program_that_the_policy_denies_does_not_start() {
    let place = Place::new();
    let o = place.run(&[], &["id", "-u"]);
    assert_eq!(o.status.code(), Some(126));
    let err = text(&o.stderr);
    assert!(err.contains("rule `no-id` at polc.yaml:13"), "{err}");
    assert!(
        err.contains("nobody needs to know") && o.stdout.is_empty(),
        "{err}"
    );
    let asks = place.run(&[], &["env"]);
    assert_eq!(asks.status.code(), Some(126));
    let none = place.run(&[], &["no-such-program"]);
    assert_eq!(none.status.code(), Some(127));
    let unfit = place.run(&[], &["./outside"]);
    assert_eq!(unfit.status.code(), Some(126));
}

#[test]
fn status_and_words_are_the_programs_own() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    assert_eq!(place.sh("exit 7").status.code(), Some(7));
    let o = place.sh("kill -TERM $$");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&o.status),
        Some(15)
    );
    let o = place.sh("echo to-stdout; echo to-stderr >&2");
    assert_eq!(
        (text(&o.stdout), text(&o.stderr)),
        ("to-stdout\n".into(), "to-stderr\n".into())
    );
    // Without --quiet, it first says what Landlock does not enforce.
    let o = place.run(&[], &["true"]);
    assert!(o.status.success());
    assert!(
        text(&o.stderr).contains("not enforced: "),
        "{}",
        text(&o.stderr)
    );
}

#[test]
fn nothing_starts_unless_it_keeps_what_require_asks_for() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    for how in ["safe", "exact"] {
        let o = place.run(&["--require", how], &["sh", "-c", "echo started"]);
        assert_eq!(o.status.code(), Some(3));
        assert!(o.stdout.is_empty());
    }
}

#[test]
fn descriptors_that_were_closed_are_no_file_of_polc_s() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    let workspace = format!("workspace={}", place.folder.path().display());
    for (closed, inside) in [
        ("0<&-", "cat && echo fine > a/file"),
        ("1>&-", "echo out && echo fine > a/file"),
        ("2>&-", "echo err >&2 && echo fine > a/file"),
        (
            "0<&- 1>&- 2>&-",
            "cat && echo out && echo err >&2 && echo fine > a/file",
        ),
    ] {
        std::fs::write(place.folder.path().join("a/file"), "").unwrap();
        let script = format!(
            "exec \"$0\" enforce landlock -q -p polc.yaml --set \"$1\" -- sh -ec '{inside}' {closed}"
        );
        let done = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_polc"), &workspace])
            .current_dir(place.folder.path())
            .status()
            .unwrap();
        assert!(done.success(), "{closed}: {done}");
        let written = std::fs::read_to_string(place.folder.path().join("a/file")).unwrap();
        assert_eq!(written, "fine\n", "{closed}");
    }
    // polc's own messages must not go into a file that it opened.
    let script = "exec \"$0\" check polc.yaml 0<&- 1>&- 2>&-";
    let done = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_polc")])
        .current_dir(place.folder.path())
        .status()
        .unwrap();
    assert!(done.code().is_some_and(|c| c < 100), "{done}");
    let policy = std::fs::read_to_string(place.folder.path().join("polc.yaml")).unwrap();
    assert_eq!(policy, POLICY);
}

/// What an agent does with a fresh repository, each by itself. `$HOME/rust` is a toolchain.
const WORK: [&str; 9] = [
    "ls -a . src",
    "echo one > new && echo two > new && mkdir -p deep/er && mv new deep/er/f && grep two deep/er/f && rm -r deep",
    "ln -s src link && ln src/main.rs hard && ls link/ && cmp hard src/main.rs",
    "git init -q && git config user.name a && git config user.email a@localhost",
    "git add -A && git commit -qm one && git status && git log | grep one",
    "git checkout -q -b side && echo more > file && git add file && git commit -qm two && git checkout -q -",
    "python3 -c 'import json, subprocess, tempfile; tempfile.TemporaryFile(); print(subprocess.check_output([\"ls\"]))'",
    "cargo build --offline && target/debug/small && cargo test --offline",
    "git gc -q && git stash list",
];

/// A directory with a small crate, a home, and a toolchain in it where root can lend its own.
struct Fresh {
    folder: tempfile::TempDir,
    /// The number of the user whose it is.
    user: u32,
}

impl Fresh {
    fn new(user: u32) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("polc-holes-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in("/var/tmp")
            .unwrap();
        let fresh = Self { folder, user };
        for dir in ["ws/src", "tmp", "home/.rustup/toolchains/own", "bin"] {
            std::fs::create_dir_all(fresh.path(dir)).unwrap();
        }
        // Where everybody can reach it.
        std::fs::copy(env!("CARGO_BIN_EXE_polc"), fresh.path("bin/polc")).unwrap();
        let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
        std::fs::write(fresh.path("ws/Cargo.toml"), manifest).unwrap();
        let main = "fn main() {}\n#[test]\nfn works() {}\n";
        std::fs::write(fresh.path("ws/src/main.rs"), main).unwrap();
        let owner = format!("{user}:{user}");
        let done = Command::new("chown")
            .args(["-R", &owner])
            .arg(fresh.path(""))
            .status()
            .unwrap();
        assert!(done.success() || user == own_user());
        fresh
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// `polc enforce landlock -p builtin:coding-agent` as the user, in a mount namespace in which the toolchain lies in
    /// the home.
    fn enforce(&self, options: &[&str], script: &str) -> Output {
        let toolchain = Command::new("rustc").args(["--print", "sysroot"]).output();
        let toolchain = text(&toolchain.unwrap().stdout);
        let lent = self.path("home/.rustup/toolchains/own");
        let mut command = if own_user() == 0 {
            let mut c = Command::new("unshare");
            let user = self.user.to_string();
            let become_user = "mount --bind \"$0\" \"$1\" && shift && exec setpriv --reuid \"$1\" --regid \"$1\" --clear-groups -- \"${@:2}\"";
            c.args(["-m", "bash", "-c", become_user, toolchain.trim()]);
            c.arg(&lent).arg(user);
            c.arg(self.path("bin/polc"));
            c
        } else {
            Command::new(self.path("bin/polc"))
        };
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            lent.join("bin").display()
        );
        command
            .args(["enforce", "landlock", "-p", "builtin:coding-agent", "--set"])
            .arg(format!("workspace={}", self.path("ws").display()))
            .args(options)
            .args(["--", "sh", "-ec", script])
            .current_dir(self.path("ws"))
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("PATH", path)
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

fn own_user() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// Whom to try it as.
fn users() -> Vec<u32> {
    let own = own_user();
    if own == 0 { vec![0, 65534] } else { vec![own] }
}

#[test]
fn the_work_that_the_built_in_policy_allows_is_done() {
    if !landlock(1) {
        return;
    }
    for user in users() {
        let fresh = Fresh::new(user);
        for script in WORK {
            let o = fresh.enforce(&["-q"], script);
            let said = [text(&o.stdout), text(&o.stderr)].concat();
            assert!(o.status.success(), "as {user}: {script}: {said}");
        }
    }
}

#[test]
fn what_it_costs_is_said_first_and_refused_where_it_must_not_be() {
    if !landlock(1) {
        return;
    }
    for user in users() {
        let fresh = Fresh::new(user);
        let o = fresh.enforce(&[], "mkdir -p .git/hooks && echo x > .git/hooks/pre-commit");
        let said = text(&o.stderr);
        assert!(o.status.success(), "{said}");
        assert!(
            said.starts_with("warning: Landlock does not keep denies inside allowed trees"),
            "{said}"
        );
        assert!(said.contains("git-hooks/hooks"), "{said}");
        let o = fresh.enforce(&["--require", "safe"], "echo started");
        assert_eq!(o.status.code(), Some(3), "{}", text(&o.stderr));
        assert!(o.stdout.is_empty());
        // What lies in no tree in which something can be made is kept all the same.
        let o = fresh.enforce(&["-q"], "cat /etc/shadow");
        assert!(!o.status.success());
        // Closed, the deny is kept, and the work is not.
        let o = fresh.enforce(
            &["-q", "--holes", "closed"],
            "! echo x > .git/hooks/post-commit && ! ls && ! echo x > new",
        );
        assert!(o.status.success(), "{}", text(&o.stderr));
    }
}

/// `run` stays as it is: mounts keep what Landlock cannot.
#[test]
fn run_does_not_open_holes() {
    if !landlock(1) {
        return;
    }
    let fresh = Fresh::new(own_user());
    std::fs::create_dir_all(fresh.path("ws/.git/hooks")).unwrap();
    for mode in [&[][..], &["--no-namespaces"]] {
        let o = Command::new(fresh.path("bin/polc"))
            .args(["run", "-q", "-p", "builtin:coding-agent", "--set"])
            .arg(format!("workspace={}", fresh.path("ws").display()))
            .args(mode)
            .args(["--", "sh", "-c", "echo x > .git/hooks/pre-commit"])
            .current_dir(fresh.path("ws"))
            .env("HOME", fresh.path("home"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!o.status.success(), "{mode:?}");
        assert!(!fresh.path("ws/.git/hooks/pre-commit").exists(), "{mode:?}");
    }
}
