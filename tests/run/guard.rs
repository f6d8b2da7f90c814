//! `polc run --guard require`: what is decided by path, call by call.

use super::git::users;
use super::place::{Place, User, have, landlock, said, text};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

const POLICY: &str = r#"version: 1
name: guarded
subject: {home: /nonexistent, workspace: auto, tmp: /nonexistent}
rules:
  - name: env
    action: deny
    operations: [write]
    paths: ["${workspace}/**/.env", "${workspace}/kept/**"]
    message: names stay
  - name: mode
    action: deny
    operations: [metadata]
    paths: ["${workspace}/fixed"]
  - name: secret
    action: deny
    operations: [read]
    paths: ["${workspace}/secret"]
  - name: tree
    action: allow
    operations: [read, write, execute]
    paths: ["${workspace}/**"]
  - name: sockets
    action: allow
    operations: [connect]
    paths: ["${workspace}/open/**"]
  - include: builtin:linux-runtime
  - include: builtin:system-programs
  - include: builtin:toolchains
"#;

/// A command in the workspace, by the user of the place.
fn by(place: &Place, arguments: &[&str]) -> Output {
    let mut c = Command::new(place.path("bin/polc"));
    c.args(["run", "--guard", "require"])
        .args(arguments)
        .current_dir(place.path("ws"))
        .env("HOME", place.path("home"))
        .env("TMPDIR", place.path("tmp"))
        .env("PATH", "/usr/local/bin:/usr/bin:/bin");
    if place.user == User::Nobody {
        c.uid(65534).gid(65534);
    }
    c.output().unwrap()
}

fn run(place: &Place, options: &[&str], words: &[&str]) -> Output {
    let file = place.path("guard-policy.yaml");
    std::fs::write(&file, POLICY).unwrap();
    let set = format!("workspace={}", place.path("ws").display());
    let file = file.display().to_string();
    let mut arguments = vec!["-p", &file, "--set", &set];
    arguments.extend(options);
    arguments.push("--");
    arguments.extend(words);
    by(place, &arguments)
}

fn shell(place: &Place, script: &str) -> Output {
    run(place, &[], &["/bin/sh", "-c", script])
}

fn works(place: &Place, script: &str) {
    let done = run(place, &[], &["/bin/sh", "-ec", script]);
    assert!(
        done.status.success(),
        "{:?} {script}: {}",
        place.user,
        said(&done)
    );
}

/// A script that runs each of some, and says which of them worked.
fn each(scripts: &[&str]) -> String {
    let line = |s: &&str| format!("( {s} ) && echo 'it works: {s}'\n");
    format!(
        "set +e\n{}echo end",
        scripts.iter().map(line).collect::<String>()
    )
}

/// A program that writes its state anew beside it and renames it, in a directory that is not its own.
#[test]
fn a_single_file_is_replaced_by_a_rename() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        std::fs::write(place.path("home/.claude.json"), "{}\n").unwrap();
        place.own_all();
        let inside = |script: &str| {
            by(
                &place,
                &["-p", "builtin:claude-code", "--", "/bin/sh", "-ec", script],
            )
        };
        let done = inside(
            "echo '{\"a\": 1}' > ~/.claude.json.tmp.17.ab; chmod 600 ~/.claude.json.tmp.17.ab; \
             mv ~/.claude.json.tmp.17.ab ~/.claude.json; mkdir ~/.claude.json.lock; rmdir ~/.claude.json.lock",
        );
        assert!(done.status.success(), "{user:?}: {}", said(&done));
        let now = std::fs::read_to_string(place.path("home/.claude.json")).unwrap();
        assert_eq!(now, "{\"a\": 1}\n", "{user:?}");
        let done = inside(&each(&[
            "echo x > ~/.claude.txt",
            "echo x > ~/.bashrc",
            "mv ~/.claude.json ~/.claude.txt",
            "echo x > ~/.claude.json.tmp.1; mv ~/.claude.json.tmp.1 ~/.bashrc",
            "ln ~/.ssh/id_ed25519 ~/.claude.json.tmp.2",
            "ln -s x ~/.profile",
            "mkdir ~/.config",
            "rm ~/.bashrc",
        ]));
        assert_eq!(text(&done.stdout), "end\n", "{user:?}: {}", said(&done));
        assert_eq!(
            std::fs::read_to_string(place.path("home/.bashrc")).unwrap(),
            "# mine\n"
        );
        assert!(!place.path("home/.claude.txt").exists() && !place.path("home/.profile").exists());
    }
}

/// A name that is not there when the program starts.
#[test]
fn a_denied_name_is_never_made() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        for d in ["kept", "a", "holds/deep"] {
            std::fs::create_dir_all(place.path("ws").join(d)).unwrap();
        }
        for f in ["kept/file", "a/other", "holds/deep/.env", "secret", "fixed"] {
            std::fs::write(place.path("ws").join(f), "old\n").unwrap();
        }
        place.own_all();
        let scripts = [
            "echo x > a/.env",
            "mkdir a/.env",
            "mkfifo a/.env",
            "ln -s other a/.env",
            "ln a/other a/.env",
            "mv a/other a/.env",
            "ln -s .env a/link; echo x > a/link",
            "echo x > kept/new",
            "echo x > kept/file",
            "truncate -s 0 kept/file",
            "rm kept/file",
            "mv kept away",
            // It holds a name that may neither be removed nor made.
            "mv holds away",
            "rm -r holds",
            "ln secret a/readable",
            "mv secret a/readable",
            "chmod 777 fixed",
            "touch -d 2001-01-01 fixed",
        ];
        for options in [&[][..], &["--no-namespaces"]] {
            let done = run(&place, options, &["/bin/sh", "-c", &each(&scripts)]);
            assert_eq!(text(&done.stdout), "end\n", "{user:?}: {}", said(&done));
        }
        assert!(!place.path("ws/a/.env").exists() && !place.path("ws/kept/new").exists());
        works(
            &place,
            "mkdir -p x/y; echo 1 > x/y/f; mv x z; mv z/y/f f; ln f g; chmod 700 z; touch -d 2001-01-01 f; rm -r z f g; \
             echo x > /dev/null; : > fixed; mkfifo p; (echo through > p &); read l < p; [ $l = through ]; rm p",
        );
        let done = shell(&place, "echo x > a/.env");
        let told = text(&done.stderr);
        let path = place.path("ws/a/.env");
        let line = format!(
            "polc: refused: create `{}`: denied by rule `env`",
            path.display()
        );
        assert!(
            told.contains(&line) && told.contains("names stay"),
            "{told}"
        );
    }
}

/// A socket that somebody binds while the program runs has no cover and needs none.
#[test]
fn a_unix_socket_is_reached_by_its_path() {
    if !landlock() || !have("python3") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        std::fs::create_dir_all(place.path("ws/open")).unwrap();
        place.own_all();
        let script = r#"
import socket, sys, os, time
while not os.path.exists("ready"): time.sleep(0.01)
def reach(path, kind=socket.SOCK_STREAM):
    try:
        s = socket.socket(socket.AF_UNIX, kind)
        s.connect(path)
        return s.recv(2).decode()
    except OSError as e:
        return e.strerror
print(reach("open/later"), "|", reach(os.path.realpath("closed")), "|", reach("open/link"), "|", reach("open/later", socket.SOCK_DGRAM))
own = socket.socket(socket.AF_UNIX)
own.bind("open/own"); own.listen()
other = socket.socket(socket.AF_UNIX); other.connect("open/own")
print(oct(os.stat("open/own").st_mode & 0o777))
try:
    socket.socket(socket.AF_UNIX).bind("kept.env/.env")
except OSError as e:
    print(e.strerror)
"#;
        std::fs::write(place.path("ws/reach.py"), script).unwrap();
        std::fs::create_dir_all(place.path("ws/kept.env")).unwrap();
        place.own_all();
        let there = place.path("ws");
        let served = std::thread::spawn(move || {
            use std::io::Write;
            use std::os::unix::fs::PermissionsExt;
            std::thread::sleep(std::time::Duration::from_millis(300));
            let later = UnixListener::bind(there.join("open/later")).unwrap();
            let closed = UnixListener::bind(there.join("closed")).unwrap();
            std::os::unix::fs::symlink("../closed", there.join("open/link")).unwrap();
            for s in ["open/later", "closed"] {
                let mode = std::fs::Permissions::from_mode(0o777);
                std::fs::set_permissions(there.join(s), mode).unwrap();
            }
            std::fs::write(there.join("ready"), "").unwrap();
            let (mut to, _) = later.accept().unwrap();
            to.write_all(b"hi").unwrap();
            drop(closed);
        });
        let done = run(&place, &[], &["python3", "reach.py"]);
        served.join().unwrap();
        assert_eq!(
            text(&done.stdout),
            "hi | Permission denied | Permission denied | Operation not permitted\n0o755\nPermission denied\n",
            "{user:?}: {}",
            said(&done)
        );
    }
}

/// Hooks and configuration stay, and git works: also what replaces files and removes directories.
#[test]
fn git_works_where_its_hooks_are_kept() {
    if !landlock() || !have("git") {
        return;
    }
    let script = "set -e; export GIT_CONFIG_NOSYSTEM=1; git init -q -b main r; cd r; git config user.name n; git config user.email e@localhost; \
                  echo one > f; git add f; git commit -qm one; \
                  git switch -qc side; echo two > f; mkdir d; echo x > d/g; git add .; git commit -qm two; git switch -q main; \
                  git merge -q side; git stash list; echo three > f; git stash -q; git stash pop -q; git commit -qam three; \
                  git gc -q; git fsck --strict; git clone -q . ../copy; rm -rf ../copy; git rm -rqf d; git reset -q --hard HEAD~1; \
                  [ \"$(cat f)\" = two ]";
    for user in users() {
        let place = Place::new(*user);
        place.own_all();
        let inside = |script: &str| {
            by(
                &place,
                &["-p", "builtin:coding-agent", "--", "sh", "-c", script],
            )
        };
        let done = inside(script);
        assert!(done.status.success(), "{user:?}: {}", said(&done));
        let done = inside(&each(&[
            "echo x > .git/hooks/pre-commit",
            "echo x > h && mv h .git/hooks/pre-commit",
            "mv .git/hooks .git/was",
            "git config core.fsmonitor x",
            "mv .git was",
            // A repository that was made by another run.
            "git -C r config core.fsmonitor x",
        ]));
        assert_eq!(text(&done.stdout), "end\n", "{user:?}: {}", said(&done));
        assert!(!place.path("ws/.git/hooks/pre-commit").exists());
    }
}

/// What may be made is changed and removed only where a rule says so: with `except_new` by the run that made it.
#[test]
fn what_the_program_has_made_itself_is_its_own_where_a_rule_says_so() {
    if !landlock() {
        return;
    }
    let policy = POLICY.replacen(
        "rules:",
        r#"rules:
  - name: once
    action: deny
    operations: [edit, delete, metadata]
    paths: ["${workspace}/once/**"]
    except_new: true
  - name: pinned
    action: deny
    operations: [delete]
    paths: ["${workspace}/*/pinned"]
  - name: records
    action: deny
    operations: [edit, delete]
    paths: ["${workspace}/records/**"]"#,
        1,
    );
    for user in users() {
        let place = Place::new(*user);
        for folder in ["once", "records"] {
            std::fs::create_dir(place.path("ws").join(folder)).unwrap();
            std::fs::write(place.path("ws").join(folder).join("old"), "old\n").unwrap();
        }
        place.own_all();
        let file = place.path("guard-policy.yaml");
        std::fs::write(&file, &policy).unwrap();
        let inside = |options: &[&str], scripts: &[&str]| {
            let set = format!("workspace={}", place.path("ws").display());
            let file = file.display().to_string();
            let script = each(scripts);
            let words = ["--", "/bin/sh", "-c", &script];
            by(
                &place,
                &[&["-p", &file, "--set", &set], options, &words].concat(),
            )
        };
        let works = |done: &Output| text(&done.stdout).matches("it works").count();
        let made = [
            "echo a > once/new && echo b >> once/new && chmod 600 once/new",
            "mkdir once/d && echo a > once/d/f && mv once/d once/e && rm -r once/e",
            "echo a > f && mv f once/moved && echo b >> once/moved && rm once/moved",
            "echo a > once/pinned && echo b >> once/pinned",
            "mkfifo records/pipe && mkdir records/d && ln -s x records/link",
        ];
        let done = inside(&[], &made);
        assert_eq!(works(&done), made.len(), "{user:?}: {}", said(&done));
        let refused = [
            // What was there, what another run made, and what another rule denies.
            "echo x >> once/old",
            "rm once/old",
            "chmod 600 once/old",
            "echo x >> once/new",
            "rm once/new",
            "rm -f once/pinned; echo x > once/pinned",
            "echo x > x && mv x once/old",
            // No rule leaves these out.
            "echo x > records/new",
            "mkfifo records/p && rm records/p",
            "mkdir records/e && rmdir records/e",
        ];
        let done = inside(&[], &refused);
        assert_eq!(text(&done.stdout), "end\n", "{user:?}: {}", said(&done));
        // A rule below holds for what is new.
        std::fs::remove_file(place.path("ws/once/pinned")).unwrap();
        let done = inside(&[], &["echo x > once/pinned && rm once/pinned"]);
        assert_eq!(text(&done.stdout), "end\n", "{user:?}: {}", said(&done));
        assert_eq!(
            std::fs::read_to_string(place.path("ws/once/new")).unwrap(),
            "a\nb\n"
        );
        let set = format!("workspace={}", place.path("ws").display());
        let mut explain = Command::new(place.path("bin/polc"));
        explain.args(["explain", "edit", "once/x", "--set", &set, "-p"]);
        let done = explain.arg(&file).current_dir(place.path("ws")).output();
        let said = text(&done.unwrap().stdout);
        assert!(
            said.starts_with("deny: ") && said.contains("made in the same run"),
            "{said}"
        );
    }
}

/// What was just written is started: nobody holds it open for writing any more.
#[test]
fn what_was_just_written_is_started() {
    if !landlock() || !have("python3") {
        return;
    }
    let place = Place::new(User::Own);
    let script = r##"
import os, subprocess
for i in range(300):
    with open("prog", "w") as f:
        f.write("#!/bin/sh\nexit 0\n")
    os.chmod("prog", 0o755)
    subprocess.run(["./prog"], check=True)
    os.unlink("prog")
"##;
    let done = run(&place, &[], &["python3", "-c", script]);
    assert!(done.status.success(), "{}", said(&done));
}

/// Where another listener is there already, `require` starts nothing and says why.
#[test]
fn where_it_cannot_be_nothing_is_started() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let polc = place.path("bin/polc").display().to_string();
    std::fs::copy(&polc, place.path("ws/polc")).unwrap();
    let inner = |rules: &str| {
        format!(
            "version: 1\nname: inner\nsubject: {{workspace: auto}}\nrules:\n{rules}  \
             - {{name: tree, action: allow, operations: [read, write], paths: [\"${{workspace}}/**\"]}}\n  \
             - include: builtin:linux-runtime\n  - include: builtin:system-programs\n"
        )
    };
    let needed = inner(
        "  - {name: env, action: deny, operations: [write], paths: [\"${workspace}/**/.env\"]}\n",
    );
    let told = "not kept: the program can write more than elsewhere, as polc cannot decide each write here (another program ";
    for (policy, when, starts, says) in [
        (&needed, &["--guard", "require"][..], false, false),
        // Where it was not demanded, the first lines say why less is kept.
        (&needed, &[], true, true),
        (&needed, &["--guard", "off"], true, false),
    ] {
        std::fs::write(place.path("ws/inner.yaml"), policy).unwrap();
        let words = [
            &["./polc", "run", "-p", "inner.yaml"],
            when,
            &["--", "/bin/echo", "started"],
        ]
        .concat();
        let done = run(&place, &[], &words);
        assert_eq!(
            text(&done.stdout).contains("started"),
            starts,
            "{when:?}: {}",
            said(&done)
        );
        let message = text(&done.stderr);
        assert_eq!(message.contains(told), says, "{when:?}: {message}");
        if !starts {
            assert!(message.contains("the kernel takes one"), "{message}");
        }
    }
}
