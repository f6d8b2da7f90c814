//! Whose policy is used: trust in the `polc.yaml` of a repository, the workspace, the built-in policy of a program.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    unsafe_code,
    clippy::undocumented_unsafe_blocks
)]
#![cfg(target_os = "linux")]

#[path = "../landlock/mod.rs"]
mod landlock;
mod places;
mod shown;
mod state;

use landlock::landlock;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const POLICY: &str = r#"version: 1
name: repo
subject: {home: auto, workspace: auto, tmp: auto}
rules:
  - name: work
    action: allow
    operations: [read, write]
    paths: ["${workspace}/**"]
  - include: builtin:linux-runtime
  - include: builtin:system-programs
"#;

/// A home with a repository that has a policy.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let place = Self { folder };
        for d in ["home/repo/.git", "home/repo/sub", "bin"] {
            std::fs::create_dir_all(place.path(d)).unwrap();
        }
        place.write("home/repo/polc.yaml", POLICY);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn state(&self) -> PathBuf {
        self.path("home/.local/state/polc")
    }

    fn command(&self, folder: &str, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_polc"));
        c.args(args)
            .current_dir(self.path(folder))
            .env("HOME", self.path("home"))
            .env_remove("XDG_STATE_HOME")
            .env_remove("POLC_SANDBOX")
            .stdin(Stdio::null());
        c
    }

    fn polc(&self, folder: &str, args: &[&str]) -> Output {
        self.command(folder, args).output().unwrap()
    }

    /// `run` and `enforce landlock` of a shell's script, without `-p`.
    fn starts(&self, folder: &str, script: &str) -> [Output; 2] {
        [
            self.polc(folder, &["run", "--", "sh", "-c", script]),
            self.polc(folder, &["enforce", "landlock", "--", "sh", "-c", script]),
        ]
    }

    fn trust(&self) -> Output {
        let done = self.polc("home/repo", &["trust"]);
        assert_eq!(status(&done), 0, "{}", err(&done));
        done
    }
}

fn status(o: &Output) -> i32 {
    o.status.code().unwrap_or(-1)
}

fn err(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

fn out(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

/// It stopped before the program, with this in its message.
fn stopped(o: &Output, message: &str) {
    assert_eq!(status(o), 2, "{}", err(o));
    assert_eq!(out(o), "", "{}", err(o));
    assert!(err(o).contains(message), "`{message}` in: {}", err(o));
}

fn started(o: &Output) {
    assert_eq!((status(o), out(o).as_str()), (0, "here\n"), "{}", err(o));
}

#[test]
fn a_policy_that_is_found_starts_nothing_before_it_is_trusted() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    for folder in ["home/repo", "home/repo/sub"] {
        for done in place.starts(folder, "echo here") {
            stopped(&done, "is not trusted yet");
            assert!(err(&done).contains("`polc trust`"), "{}", err(&done));
        }
    }
    assert!(!place.state().exists(), "nothing is made by refusing");
    let done = place.trust();
    let message = err(&done);
    let digest = Command::new("sha256sum")
        .arg(place.path("home/repo/polc.yaml"))
        .output()
        .unwrap();
    let digest = out(&digest);
    assert!(
        message.contains(digest.split(' ').next().unwrap()),
        "{message}"
    );
    // The lints and what it allows have been shown.
    assert!(message.contains("warning[L006]"), "{message}");
    let work = format!("  write        {}/**", place.path("home/repo").display());
    assert!(message.contains(&work), "{message}");
    for folder in ["home/repo", "home/repo/sub"] {
        place.starts(folder, "echo here").iter().for_each(started);
    }
    let [run, _] = place.starts("home/repo", "true");
    assert!(err(&run).contains("polc.yaml, trusted 20"), "{}", err(&run));
    let again = place.trust();
    assert!(err(&again).contains("already trusted"), "{}", err(&again));
}

#[test]
fn looking_needs_no_trust() {
    let place = Place::new();
    for args in [
        &["check"][..],
        &["test"],
        &["explain", "read", "/etc/hosts"],
        &["emit", "landlock"],
        &["coverage"],
        &["enforce", "landlock", "--dry-run"],
        &["diff", "polc.yaml", "polc.yaml"],
    ] {
        let done = place.polc("home/repo", args);
        assert_ne!(status(&done), 2, "{args:?}: {}", err(&done));
        assert!(
            !err(&done).contains("is not trusted"),
            "{args:?}: {}",
            err(&done)
        );
    }
}

#[test]
fn a_policy_that_is_named_is_used_for_that_call_alone() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    let done = place.polc(
        "home/repo",
        &["run", "-p", "polc.yaml", "--", "sh", "-c", "echo here"],
    );
    started(&done);
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "is not trusted yet");
    }
}

#[test]
fn what_changed_is_told_and_asked_again() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.trust();
    let more = format!(
        "{POLICY}  - name: more\n    action: allow\n    operations: [read]\n    paths: [/srv/more/**]\n"
    );
    place.write("home/repo/polc.yaml", &more);
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "has changed since you trusted it on 20");
    }
    let done = place.trust();
    let message = err(&done);
    for words in [
        "has other contents",
        "newly allowed:\n  read, list  /srv/more/**",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(!message.contains("newly denied"), "{message}");
    place
        .starts("home/repo", "echo here")
        .iter()
        .for_each(started);
    // A change that means nothing is one as well: what was seen is what is used.
    place.write("home/repo/polc.yaml", &format!("{more}# a word\n"));
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "has changed since");
    }
    assert!(err(&place.trust()).contains("they mean the same"));
    // The old contents are another change.
    place.write("home/repo/polc.yaml", POLICY);
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "has changed since");
    }
}

#[test]
fn what_a_policy_includes_is_trusted_with_it() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    let set = |path: &str| {
        format!(
            "version: 1\nname: more\nrules:\n  - name: more\n    action: allow\n    operations: [read]\n    paths: [{path}]\n"
        )
    };
    let text = POLICY.replacen("rules:\n", "rules:\n  - include: sub/more.yaml\n", 1);
    place.write("home/repo/polc.yaml", &text);
    place.write("home/repo/sub/more.yaml", &set("/srv/a"));
    place.trust();
    place
        .starts("home/repo", "echo here")
        .iter()
        .for_each(started);
    place.write("home/repo/sub/more.yaml", &set("/srv/b"));
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "has changed since");
    }
    let done = place.trust();
    let message = err(&done);
    for words in [
        "repo/sub/more.yaml has other contents",
        "newly allowed:\n  read, list  /srv/b",
        "newly denied:\n  read, list  /srv/a",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    // The same contents, from elsewhere.
    place.write("home/other.yaml", &set("/srv/b"));
    std::fs::remove_file(place.path("home/repo/sub/more.yaml")).unwrap();
    symlink("../../other.yaml", place.path("home/repo/sub/more.yaml")).unwrap();
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "has changed since");
    }
    assert!(err(&place.trust()).contains("leads to another file"));
    place
        .starts("home/repo", "echo here")
        .iter()
        .for_each(started);
}

#[test]
fn a_link_is_trusted_by_both_names() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    std::fs::create_dir_all(place.path("home/other/.git")).unwrap();
    std::fs::rename(
        place.path("home/repo/polc.yaml"),
        place.path("home/shared.yaml"),
    )
    .unwrap();
    for repo in ["repo", "other"] {
        symlink(
            "../shared.yaml",
            place.path(&format!("home/{repo}/polc.yaml")),
        )
        .unwrap();
    }
    let done = place.trust();
    let leads = format!(
        "which leads to `{}`",
        place.path("home/shared.yaml").display()
    );
    assert!(err(&done).contains(&leads), "{}", err(&done));
    place
        .starts("home/repo", "echo here")
        .iter()
        .for_each(started);
    // Another name that leads there, and the same name that leads to a copy.
    for done in place.starts("home/other", "echo here") {
        stopped(&done, "is not trusted yet");
    }
    place.write("home/copy.yaml", POLICY);
    std::fs::remove_file(place.path("home/repo/polc.yaml")).unwrap();
    symlink("../copy.yaml", place.path("home/repo/polc.yaml")).unwrap();
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "has changed since");
    }
}

#[test]
fn trust_is_listed_and_taken_back() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    let done = place.polc("home/repo", &["trust", "--list"]);
    assert_eq!(
        (status(&done), out(&done).as_str()),
        (0, ""),
        "{}",
        err(&done)
    );
    place.trust();
    let name = place.path("home/repo/polc.yaml");
    let list = || out(&place.polc("home", &["trust", "--list"]));
    assert!(
        list().starts_with(&format!("{}\n  trusted 20", name.display())),
        "{}",
        list()
    );
    assert!(!list().contains("changed"), "{}", list());
    place.write("home/repo/polc.yaml", &format!("{POLICY}# more\n"));
    assert!(list().contains("changed since"), "{}", list());
    std::fs::remove_file(&name).unwrap();
    assert!(list().contains("gone since"), "{}", list());
    place.write("home/repo/polc.yaml", POLICY);
    let by_name = place.polc("home", &["trust", "--revoke", "repo/sub/../polc.yaml"]);
    assert_eq!(status(&by_name), 0, "{}", err(&by_name));
    for done in place.starts("home/repo", "echo here") {
        stopped(&done, "is not trusted yet");
    }
    stopped(
        &place.polc("home/repo", &["trust", "--revoke"]),
        "was not trusted",
    );
    place.trust();
    let nearest = place.polc("home/repo/sub", &["trust", "--revoke"]);
    assert_eq!(
        (status(&nearest), list().as_str()),
        (0, ""),
        "{}",
        err(&nearest)
    );
}

#[test]
fn what_the_program_inside_writes_trusts_nothing() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    // Everything is allowed, as far as a policy can say so.
    let open = r#"version: 1
name: open
default_action: allow
subject: {home: auto, workspace: auto, tmp: auto}
rules:
  - name: all
    action: allow
    operations: [read, write]
    paths: [/**]
"#;
    place.write("home/repo/polc.yaml", open);
    place.trust();
    let state = place.state();
    let record = std::fs::read_dir(state.join("trust"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension() == Some(OsStr::new("json")))
        .unwrap();
    let before = std::fs::read(&record).unwrap();
    let polc = env!("CARGO_BIN_EXE_polc");
    let script = format!(
        "echo x >> '{record}'; rm -f '{record}'; mv '{state}' '{state}.old'; echo x > '{state}/trust/new.json'; \
         echo '# x' >> polc.yaml; mv polc.yaml other; rm -f polc.yaml; ln -sf /dev/null polc.yaml; \
         '{polc}' trust --revoke; env -u POLC_SANDBOX '{polc}' trust --revoke; \
         mkdir -p evil; cp polc.yaml evil/; cd evil; '{polc}' trust; env -u POLC_SANDBOX '{polc}' trust; echo end",
        record = record.display(),
        state = state.display(),
    );
    let enforce = ["enforce", "landlock", "--holes"];
    let (open_holes, closed_holes) = ([&enforce[..], &["open"]], [&enforce[..], &["closed"]]);
    let (open_holes, closed_holes) = (open_holes.concat(), closed_holes.concat());
    for how in [&["run"][..], &closed_holes, &open_holes] {
        let mut args = how.to_vec();
        args.extend(["--", "sh", "-c", &script]);
        let done = place.polc("home/repo", &args);
        assert_eq!(out(&done), "end\n", "{}", err(&done));
        assert!(
            err(&done).contains("inside a sandbox of polc"),
            "{}",
            err(&done)
        );
        assert_eq!(std::fs::read(&record).unwrap(), before, "{how:?}");
        // Open holes lose the policy in the workspace. When it has changed, polc asks again.
        if how != open_holes {
            let left = std::fs::read_to_string(place.path("home/repo/polc.yaml")).unwrap();
            assert_eq!(left, open, "{how:?}: {}", err(&done));
        }
        let all = std::fs::read_dir(state.join("trust")).unwrap().count();
        assert_eq!(all, 2, "{how:?}: the record and the lock");
        let _ = std::fs::remove_dir_all(place.path("home/repo/evil"));
        if how == open_holes {
            let _ = std::fs::remove_file(place.path("home/repo/polc.yaml"));
            place.write("home/repo/polc.yaml", open);
        }
    }
    for object in [
        record.display().to_string(),
        place.path("home/repo/polc.yaml").display().to_string(),
    ] {
        let done = place.polc("home/repo", &["explain", "edit", &object]);
        assert_eq!(status(&done), 4, "{}", out(&done));
        assert!(out(&done).contains("rule `polc/state`"), "{}", out(&done));
    }
}

#[test]
fn what_is_no_file_of_a_policy_is_never_waited_for_or_passed_over() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.trust();
    let own = place.path("home/repo/sub/polc.yaml");
    let fifo = || {
        let name = std::ffi::CString::new(own.as_os_str().as_bytes()).unwrap();
        // SAFETY: a path that ends in a NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o644) }, 0);
    };
    let large = || {
        let file = std::fs::File::create(&own).unwrap();
        file.set_len(4 << 30).unwrap();
    };
    let cases: [(&dyn Fn(), &str); 5] = [
        (&fifo, "not a regular file"),
        (&large, "the most that a policy has"),
        (&|| std::fs::create_dir(&own).unwrap(), "is a directory"),
        (&|| symlink("nowhere", &own).unwrap(), "there is no "),
        (
            &|| symlink("/dev/zero", &own).unwrap(),
            "not a regular file",
        ),
    ];
    for (make, message) in cases {
        make();
        for done in place.starts("home/repo/sub", "echo here") {
            stopped(&done, message);
        }
        let trust = place.polc("home/repo/sub", &["trust"]);
        stopped(&trust, message);
        if own.is_dir() {
            std::fs::remove_dir(&own).unwrap();
        } else {
            std::fs::remove_file(&own).unwrap();
        }
    }
    place
        .starts("home/repo/sub", "echo here")
        .iter()
        .for_each(started);
}

#[test]
fn a_hostile_name_does_not_reach_the_terminal() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    let name = OsStr::from_bytes(b"a\x1b]0;x\x07\n\xffpolc: trusted");
    let repo = place.path("home").join(name);
    std::fs::create_dir_all(repo.join(".git")).unwrap();
    std::fs::create_dir_all(repo.join("sub")).unwrap();
    std::fs::write(repo.join("polc.yaml"), POLICY).unwrap();
    let polc = |folder: &Path, args: &[&str]| {
        let done = place.command("home", args).current_dir(folder).output();
        done.unwrap()
    };
    let clean = |o: &Output| {
        let text = err(o) + &out(o);
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text:?}");
        assert!(!text.contains("\npolc: trusted"), "{text:?}");
    };
    for folder in [repo.clone(), repo.join("sub")] {
        let done = polc(&folder, &["run", "--", "sh", "-c", "echo here"]);
        clean(&done);
        stopped(&done, "is not trusted yet");
    }
    let done = polc(&repo.join("sub"), &["trust"]);
    clean(&done);
    assert_eq!(status(&done), 0, "{}", err(&done));
    let done = polc(&repo, &["run", "--", "sh", "-c", "echo here"]);
    clean(&done);
    started(&done);
    std::fs::write(
        repo.join("polc.yaml"),
        POLICY.replace("[read, write]", "[read]"),
    )
    .unwrap();
    clean(&polc(&repo.join("sub"), &["run", "--", "true"]));
    clean(&polc(&repo.join("sub"), &["trust", "--list"]));
    clean(&polc(&repo.join("sub"), &["explain", "edit", "/etc/hosts"]));
    let done = polc(&repo.join("sub"), &["trust"]);
    clean(&done);
    assert!(err(&done).contains("newly denied"), "{}", err(&done));
    let done = polc(&repo.join("sub"), &["trust", "--revoke"]);
    clean(&done);
    assert_eq!(status(&done), 0, "{}", err(&done));
}

#[test]
fn a_store_that_somebody_else_can_write_is_not_believed() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.trust();
    let trust = place.state().join("trust");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    assert_eq!(
        std::fs::metadata(&trust).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let cases = [
        trust.clone(),
        place.state(),
        place.path("home/.local/state"),
    ];
    for path in cases {
        mode(&path, 0o777);
        for done in place.starts("home/repo", "echo here") {
            stopped(&done, "can be written by others");
        }
        stopped(
            &place.polc("home/repo", &["trust"]),
            "can be written by others",
        );
        mode(&path, 0o700);
    }
    place
        .starts("home/repo", "echo here")
        .iter()
        .for_each(started);
    // SAFETY: takes nothing and always succeeds.
    if unsafe { libc::geteuid() } == 0 {
        chown(&trust, Some(12345), Some(12345)).unwrap();
        for done in place.starts("home/repo", "echo here") {
            stopped(&done, "belongs to another user");
        }
    }
}

#[test]
fn many_at_once_trust_what_they_say() {
    let place = Place::new();
    for i in 0..8 {
        std::fs::create_dir_all(place.path(&format!("home/r{i}/.git"))).unwrap();
        place.write(&format!("home/r{i}/polc.yaml"), &format!("{POLICY}# {i}\n"));
    }
    let mut children: Vec<_> = (0..24)
        .map(|i| {
            let folder = format!("home/r{}", i % 8);
            let mut c = place.command(&folder, &["trust"]);
            c.stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for c in &mut children {
        assert!(c.wait().unwrap().success());
    }
    let list = out(&place.polc("home", &["trust", "--list"]));
    for i in 0..8 {
        let name = place.path(&format!("home/r{i}/polc.yaml"));
        assert!(list.contains(&format!("{}\n", name.display())), "{list}");
    }
    assert!(!list.contains("since,"), "{list}");
    let left = std::fs::read_dir(place.state().join("trust"))
        .unwrap()
        .count();
    assert_eq!(left, 9, "eight records and the lock");
}

/// Runs polc on a terminal and types an answer once the question is there. What the terminal showed comes back.
fn on_a_terminal(command: Command, answer: &str) -> (i32, String) {
    asked(command, answer, || {})
}

/// The same, and something happens between the question and the answer.
fn asked(mut command: Command, answer: &str, meanwhile: impl Fn()) -> (i32, String) {
    let (mut ours, mut theirs) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: two numbers are written; the other arguments may be null.
    let made = unsafe { libc::openpty(&mut ours, &mut theirs, none, none.cast(), none.cast()) };
    assert_eq!(made, 0);
    // SAFETY: both are open, and nobody else has them.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    let side = || Stdio::from(theirs.try_clone().unwrap());
    let mut child = command
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .spawn()
        .unwrap();
    drop((theirs, command));
    // One that waits for ever is ended, and the test fails.
    let number = i32::try_from(child.id()).unwrap();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if wait
            .recv_timeout(std::time::Duration::from_secs(60))
            .is_err()
        {
            // SAFETY: the child has not been waited for, so the number is still its own.
            unsafe { libc::kill(number, libc::SIGKILL) };
        }
    });
    let mut terminal = std::fs::File::from(ours);
    // Typed before anything is asked: no answer.
    terminal.write_all(b"y\n").unwrap();
    let (mut shown, mut answered) = (Vec::new(), false);
    let mut some = [0; 4096];
    // The end of the other side is an error here.
    while let Ok(n @ 1..) = terminal.read(&mut some) {
        shown.extend_from_slice(some.get(..n).unwrap());
        if !answered && String::from_utf8_lossy(&shown).contains("[y/N] ") {
            answered = true;
            meanwhile();
            terminal.write_all(answer.as_bytes()).unwrap();
        }
    }
    done.send(()).unwrap_or_default();
    watch.join().unwrap();
    let ended = child.wait().unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    (ended.code().unwrap_or(-1), shown.replace("\r\n", "\n"))
}

#[test]
fn on_a_terminal_the_user_is_asked() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    let ask = |how: &[&str], answer: &str| {
        let mut args = how.to_vec();
        args.extend(["--", "sh", "-c", "echo started; exit 7"]);
        on_a_terminal(place.command("home/repo", &args), answer)
    };
    let (run, enforce) = (&["run"][..], &["enforce", "landlock"][..]);
    for (how, answer) in [
        (run, "n\n"),
        (run, "\n"),
        (enforce, "\u{4}"),
        (enforce, "nay\n"),
    ] {
        let (status, shown) = ask(how, answer);
        assert_eq!(status, 2, "{answer:?}: {shown}");
        assert!(shown.contains("is not trusted yet\n"), "{shown}");
        assert!(
            shown.contains("L006") && shown.contains("it allows"),
            "{shown}"
        );
        assert!(!shown.contains("\nstarted\n"), "{shown}");
    }
    assert!(!place.state().exists());
    let (status, shown) = ask(run, "y\n");
    assert_eq!(status, 7, "{shown}");
    assert!(
        shown.contains("polc.yaml, trusted now; workspace "),
        "{shown}"
    );
    // Not asked again, and on no terminal neither.
    let (status, shown) = ask(enforce, "n\n");
    assert_eq!(status, 7, "{shown}");
    place
        .starts("home/repo", "echo here")
        .iter()
        .for_each(started);
    let more = POLICY.replace("[read, write]", "[read]");
    place.write("home/repo/polc.yaml", &more);
    let (status, shown) = ask(run, "no\n");
    assert_eq!(status, 2, "{shown}");
    assert!(
        shown.contains("has changed since") && shown.contains("newly denied:"),
        "{shown}"
    );
    let (status, shown) = ask(enforce, "YES\n");
    assert_eq!(status, 7, "{shown}");
}

/// The file is swapped while the user reads: what was shown is what is used and kept.
#[test]
fn what_is_asked_about_is_what_is_used() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.write("home/outside", "secret\n");
    let wide = POLICY.replace("\"${workspace}/**\"", "\"${home}/**\"");
    let script = "cat ../outside; echo end";
    for how in [&["run"][..], &["enforce", "landlock"]] {
        let mut args = how.to_vec();
        args.extend(["--", "sh", "-c", script]);
        place.write("home/repo/polc.yaml", POLICY);
        let command = place.command("home/repo", &args);
        let (_, shown) = asked(command, "y\n", || {
            place.write("home/repo/.new", &wide);
            let (new, own) = ("home/repo/.new", "home/repo/polc.yaml");
            std::fs::rename(place.path(new), place.path(own)).unwrap();
        });
        assert!(
            shown.contains("\nend\n") && !shown.contains("\nsecret\n"),
            "{shown}"
        );
        for done in place.starts("home/repo", script) {
            stopped(&done, "has changed since");
        }
        let revoked = place.polc("home/repo", &["trust", "--revoke"]);
        assert_eq!(status(&revoked), 0, "{}", err(&revoked));
    }
}

#[test]
fn a_home_is_no_workspace_of_itself() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    let run = |folder: &str, options: &[&str]| {
        let mut args = vec!["run", "-p"];
        let policy = place.path("home/repo/polc.yaml");
        args.push(policy.to_str().unwrap());
        args.extend(options);
        args.extend(["--", "sh", "-c", "echo here"]);
        place.polc(folder, &args)
    };
    for (folder, why) in [
        ("home", "your home directory"),
        (".", "which contains your home directory"),
    ] {
        std::fs::create_dir_all(place.path(folder).join(".git")).unwrap();
        let done = run(folder, &[]);
        stopped(&done, why);
        let named = format!("`{}`", place.path(folder).canonicalize().unwrap().display());
        assert!(err(&done).contains(&named), "{}", err(&done));
        assert!(err(&done).contains("--set workspace=."), "{}", err(&done));
        for consent in ["workspace=.", "workspace=./", "workspace=~"] {
            started(&run(folder, &["--set", consent]));
        }
        // The repository around is the home.
        std::fs::create_dir_all(place.path("home/plain")).unwrap();
        let done = run("home/plain", &[]);
        stopped(&done, "your home directory");
        started(&run("home/plain", &["--set", "workspace=."]));
        std::fs::remove_dir(place.path(folder).join(".git")).unwrap();
    }
    let enforce = place.polc(
        "home",
        &["enforce", "landlock", "-p", "repo/polc.yaml", "--", "true"],
    );
    stopped(&enforce, "your home directory");
    for folder in ["/", "/usr", "/etc", "/var/lib"] {
        let policy = place.path("home/repo/polc.yaml");
        let mut c = place.command("home", &["run", "-p"]);
        let done = c
            .arg(policy)
            .args(["--", "true"])
            .current_dir(folder)
            .output();
        stopped(
            &done.unwrap(),
            &format!("the workspace would be `{folder}`"),
        );
    }
    stopped(
        &run("home", &["--set", "workspace=nowhere"]),
        "nowhere` does not exist",
    );
    stopped(
        &run("home", &["--set", "workspace=repo/polc.yaml"]),
        "polc.yaml` is no directory",
    );
    // By a link.
    std::fs::create_dir(place.path("home/plain/.git")).unwrap();
    symlink("home/plain", place.path("link")).unwrap();
    started(&run("link", &[]));
    started(&run("home", &["--set", "workspace=repo"]));
    started(&run("home/repo", &["--set", "workspace=../repo/sub"]));
}

#[test]
fn without_a_policy_a_known_program_gets_its_own() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    std::fs::remove_file(place.path("home/repo/polc.yaml")).unwrap();
    let missing = "there is no `polc.yaml` here or above; write one with `polc init`";
    let nothing: [&[&str]; 3] = [
        &["run", "--", "sh", "-c", "echo here"],
        &["run"],
        &["run", "--", "claude-code"],
    ];
    for args in nothing {
        let done = place.polc("home/repo", args);
        stopped(&done, missing);
        assert!(
            err(&done).contains("builtin:coding-agent"),
            "{}",
            err(&done)
        );
    }
    let Some(own) = polc::frontend::builtin::for_program("claude") else {
        return;
    };
    std::fs::write(place.path("home/repo/claude"), "#!/bin/sh\necho here\n").unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path("home/repo/claude"), mode).unwrap();
    let done = place.polc("home/repo", &["run", "--", "./claude"]);
    let said = format!(
        "policy builtin:{}, because there is no `polc.yaml` here or above and the program is `./claude`",
        own.name
    );
    assert!(err(&done).contains(&said), "{}", err(&done));
    started(&done);
    // One that is not trusted is not passed over.
    place.write("home/repo/polc.yaml", POLICY);
    let done = place.polc("home/repo/sub", &["run", "--", "../claude"]);
    stopped(&done, "is not trusted yet");
}
