//! Trees in which polc could lose sight of what is denied: very many entries, very deep, not to be listed, changing. A
//! program inside can make each of them for the next run.

use super::covers::{POLICY, USE, by, filled_for, rest_is_usable, users};
use super::place::{Place, User, have, is_root, landlock, said, text};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// More entries than anybody would look through one by one, and 500 denied files, each in a directory of its own.
#[test]
fn in_a_huge_tree_what_is_denied_is_kept_and_the_rest_is_usable() {
    if !landlock() {
        return;
    }
    // The making of it takes long: for one user.
    for user in users().into_iter().rev().take(1) {
        let place = filled_for(user);
        for i in 0..500 {
            let folder = place.path("ws").join(format!("services/s{i}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("token"), "old\n").unwrap();
        }
        // Second names of a few files: quickly made, and entries like any other.
        for i in 0..210 {
            let folder = place.path("ws").join(format!("modules/{i}"));
            std::fs::create_dir_all(&folder).unwrap();
            let first = folder.join("0");
            std::fs::write(&first, "").unwrap();
            for j in 1..1000 {
                std::fs::hard_link(&first, folder.join(j.to_string())).unwrap();
            }
        }
        own(&place, &["ws/services", "ws/modules"]);
        let script = "cat services/s*/token a/b/token; echo new > kept/file; rm -rf services; mv modules/7 . && echo moved";
        let done = by(&place, POLICY, &[], &format!("{USE}{script}"));
        rest_is_usable(&done);
        let out = text(&done.stdout);
        assert!(
            !out.contains("old") && out.ends_with("moved\n"),
            "{user:?}: {}",
            said(&done)
        );
        let kept = (0..500).all(|i| place.path(&format!("ws/services/s{i}/token")).exists());
        assert!(kept, "{user:?}");
        let file = std::fs::read_to_string(place.path("ws/kept/file")).unwrap();
        assert_eq!(file, "old\n", "{user:?}");
    }
}

/// Gives a few trees to whoever the place is for, without looking at each entry of the others.
fn own(place: &Place, trees: &[&str]) {
    if place.user == User::Nobody {
        let mut chown = Command::new("chown");
        chown.args(["-R", "65534:65534"]);
        let done = chown.args(trees.iter().map(|t| place.path(t))).status();
        assert!(done.unwrap().success());
    }
}

#[test]
fn thousands_of_denied_files_in_one_directory_are_hidden_each() {
    if !landlock() {
        return;
    }
    let policy = POLICY.replace("**/token\"", "**/{token,*.secret}\"");
    assert_ne!(policy, POLICY);
    for user in users() {
        let place = filled_for(user);
        let folder = place.path("ws/many");
        std::fs::create_dir(&folder).unwrap();
        for i in 0..5000 {
            std::fs::write(folder.join(format!("{i}.secret")), "old\n").unwrap();
        }
        std::fs::write(folder.join("plain"), "plain\n").unwrap();
        own(&place, &["ws/many"]);
        let script = "cat many/*.secret; cat many/plain; rm many/4999.secret; mv many/17.secret x; echo y > many/new && echo wrote";
        let done = by(&place, &policy, &[], &format!("{USE}{script}"));
        rest_is_usable(&done);
        let out = text(&done.stdout);
        assert!(
            !out.contains("old") && out.ends_with("plain\nwrote\n"),
            "{user:?}: {}",
            said(&done)
        );
        assert!(folder.join("4999.secret").exists() && folder.join("17.secret").exists());
    }
}

/// The first run makes what it can so that the next one does not see the denied file in it.
#[test]
fn a_program_cannot_bring_about_that_the_next_run_is_open() {
    if !landlock() || !have("python3") {
        return;
    }
    // What is denied and not there may be made, by today's means; the next run has to find it.
    let first = r#"
import os, socket
def put(folder):
    os.makedirs(folder, exist_ok=True)
    open(folder + "/token", "w").write("old\n")
for name in ["it's", 'a "quote"', "new\nline", " ", "-rf", "\\", "$(x)", "b\xff".encode("latin-1").decode("utf-8", "surrogateescape")]:
    put("odd/" + name)
put("closed"); os.chmod("closed", 0)
put("blind"); os.chmod("blind", 0o300)
os.mkdir("pipe"); os.mkfifo("pipe/token")
os.mkdir("sock")
try:
    socket.socket(socket.AF_UNIX).bind("sock/token")
except OSError:
    open("sock/token", "w").write("old\\n")
os.mkdir("dir"); put("dir/token")
os.mkdir("loop"); os.symlink(".", "loop/loop"); os.symlink("/", "root"); put("loop")
os.mkdir("links"); os.symlink("../closed/token", "links/token"); os.symlink("nowhere", "links/kept")
# Deeper than a path can say.
os.mkdir("abyss"); os.chdir("abyss")
for i in range(30):
    os.mkdir("d" * 200); os.chdir("d" * 200)
open("token", "w").write("old\n")
"#;
    let second = r#"
import os, errno
def attempt(what, *args):
    try:
        return what(*args)
    except OSError:
        return None
def read(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    data = os.read(fd, 100)
    print("READ", path, data)
attempt(os.chmod, "closed", 0o700); attempt(os.chmod, "blind", 0o700)
attempt(os.rename, "closed", "opened"); attempt(os.rename, "blind", "seen"); attempt(os.rename, "odd", "even")
for folder in ["closed", "blind", "opened", "seen", "pipe", "sock", "dir/token", "loop", "loop/loop/loop", "root/proc/self/cwd/loop"]:
    attempt(read, folder + "/token")
for top in ["odd", "even"]:
    for name in attempt(os.listdir, os.fsencode(top)) or []:
        attempt(read, os.fsencode(top) + b"/" + name + b"/token")
attempt(os.rename, "abyss", "moved")
def down():
    os.chdir("abyss")
    for i in range(30):
        os.chdir("d" * 200)
    read("token")
attempt(down)
print("tried")
"#;
    for user in users() {
        let place = filled_for(user);
        for (name, script) in [("first.py", first), ("second.py", second)] {
            std::fs::write(place.path("ws").join(name), script).unwrap();
        }
        own(&place, &["ws"]);
        // With the guard the program cannot make what is denied.
        let options = ["-q", "--guard", "off"];
        let done = by(&place, POLICY, &options, "python3 first.py && echo made");
        assert!(
            text(&done.stdout).ends_with("made\n"),
            "{user:?}: {}",
            said(&done)
        );
        let done = by(&place, POLICY, &[], &format!("python3 second.py; {USE}"));
        rest_is_usable(&done);
        let out = text(&done.stdout);
        assert!(
            out.contains("tried\n") && !out.contains("READ"),
            "{user:?}: {}",
            said(&done)
        );
        // What is hidden beyond the policy is said.
        let message = text(&done.stderr);
        assert!(message.contains("/ws/abyss/ddd"), "{user:?}: {message}");
        // The scratch directory could not be removed otherwise.
        let remove = Command::new("sh")
            .args(["-c", "chmod -R u+rwX ws/closed ws/blind; rm -rf ws/abyss"])
            .current_dir(place.path(""))
            .status();
        assert!(remove.unwrap().success());
    }
}

/// Of somebody else's directory, in which names are known and cannot be listed.
#[test]
fn a_directory_that_cannot_be_listed_is_hidden() {
    if !landlock() {
        return;
    }
    if !is_root() {
        super::place::skip("only root can make a directory of somebody else's");
        return;
    }
    let place = filled_for(User::Nobody);
    for (name, mode) in [("passable", 0o711), ("shut", 0o700)] {
        let folder = place.path("ws").join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("token"), "old\n").unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
    }
    let script = "cat passable/token shut/token; chmod 777 passable shut";
    let done = by(&place, POLICY, &[], &format!("{USE}{script}"));
    rest_is_usable(&done);
    assert!(!text(&done.stdout).contains("old"), "{}", said(&done));
    let message = text(&done.stderr);
    assert!(message.contains("hidden as a whole: "), "{message}");
    assert!(message.contains("/ws/passable`"), "{message}");
    // Nothing of it can be reached anyway.
    assert!(!message.contains("/ws/shut`"), "{message}");
}

/// File systems that are mounted in the workspace, and a second name of a directory.
#[test]
fn what_is_mounted_in_the_workspace_is_searched_too() {
    if !landlock() || !have("unshare") || !have("mount") {
        return;
    }
    if !is_root() {
        super::place::skip("only root mounts");
        return;
    }
    let place = filled_for(User::Own);
    let ws = place.path("ws");
    for name in ["memory", "alias", "fixed"] {
        std::fs::create_dir(ws.join(name)).unwrap();
    }
    let policy = place.path("own-policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    let inside = "cat memory/token memory/deep/token alias/b/token fixed/b/token; mv memory away; rm -rf memory; \
                  echo n > memory/new && echo wrote; echo n > fixed/new; echo n > kept/more; ls memory/deep > /dev/null && echo seen";
    let script = format!(
        "set -e; mount -t tmpfs none memory; mkdir memory/deep; echo old > memory/token; echo old > memory/deep/token
         mount --bind a alias; mount --bind a fixed; mount -o remount,bind,ro fixed
         exec {} run -p {} --set workspace={} -- /bin/sh -c '{USE}{inside}'",
        place.path("bin/polc").display(),
        policy.display(),
        ws.display(),
    );
    let done = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .current_dir(&ws)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    rest_is_usable(&done);
    let out = text(&done.stdout);
    assert!(
        !out.contains("old") && out.ends_with("wrote\nseen\n"),
        "{}",
        said(&done)
    );
}

/// While polc looks, somebody outside puts links and directories in each other's place.
#[test]
fn a_tree_that_changes_during_the_start_opens_nothing_else() {
    if !landlock() {
        return;
    }
    let place = filled_for(User::Own);
    let ws = place.path("ws");
    let outside = place.path("outside");
    std::fs::create_dir_all(outside.join("token")).unwrap();
    for i in 0..200 {
        std::fs::create_dir_all(ws.join(format!("d{i}/e"))).unwrap();
        std::fs::write(ws.join(format!("d{i}/e/token")), "old\n").unwrap();
    }
    let stop = AtomicBool::new(false);
    let swap = |from: &Path, i: usize| {
        let (folder, aside) = (from.join(format!("d{i}")), from.join(format!("aside{i}")));
        if std::fs::rename(&folder, &aside).is_ok() {
            let _ = symlink(&outside, &folder);
            std::thread::yield_now();
            let _ = std::fs::remove_file(&folder);
            let _ = std::fs::rename(&aside, &folder);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in (0..200).cycle() {
                swap(&ws, i);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..10 {
            let script = format!("cat {}/secret; echo started", outside.display());
            let done = by(&place, POLICY, &[], &script);
            let out = text(&done.stdout);
            assert_eq!(out, "started\n", "{}", said(&done));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Without namespaces there is no cover: what is there and open stops the start.
#[test]
fn what_is_there_and_cannot_be_protected_stops_the_start() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = filled_for(user);
        let done = by(&place, POLICY, &["--no-namespaces", "-q"], "echo started");
        let message = text(&done.stderr);
        assert_eq!(done.status.code(), Some(3), "{user:?}: {}", said(&done));
        assert!(done.stdout.is_empty(), "{user:?}: {}", said(&done));
        for part in [
            "/ws/a/b/token` cannot be protected: ",
            "without namespaces",
            "denied by rule `vault` at ",
            "--allow-gaps",
        ] {
            assert!(message.contains(part), "{user:?}: {part}: {message}");
        }
        // What Landlock alone keeps is no gap.
        assert!(!message.contains("/ws/vault/key"), "{message}");
        let options = ["--no-namespaces", "--allow-gaps"];
        let done = by(&place, POLICY, &options, "cat vault/key; cat a/b/token");
        assert_eq!(text(&done.stdout), "old\n", "{user:?}: {}", said(&done));
        let message = text(&done.stderr);
        let told = message
            .lines()
            .filter(|l| l.contains("denied and not protected"));
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 1, "{message}");
        assert!(told[0].contains("/ws/a/b/token`"), "{message}");
        // Without the guard the directory is not usable, and that is said as well, before the start.
        let unusable = "can make, rename and remove nothing directly in `";
        assert!(!message.contains(unusable), "{message}");
        let done = by(&place, POLICY, &options, USE);
        let out = text(&done.stdout);
        assert!(
            out.contains("made\n") && out.contains("removed\n"),
            "{}",
            said(&done)
        );
        let off = ["--no-namespaces", "--allow-gaps", "--guard", "off"];
        let message = text(&by(&place, POLICY, &off, "true").stderr);
        assert!(
            message.contains(unusable) && message.contains("git cannot write"),
            "{message}"
        );
        std::fs::remove_dir_all(place.path("ws/a")).unwrap();
        let done = by(&place, POLICY, &["--no-namespaces", "-q"], "echo started");
        assert_eq!(text(&done.stdout), "started\n", "{user:?}: {}", said(&done));
    }
}

/// Rights by a pattern are found beside a huge directory, and hundreds of them take nothing from what lies outside.
#[test]
fn hundreds_of_writable_places_leave_the_rest_read_only() {
    if !landlock() {
        return;
    }
    let policy = r#"version: 1
name: places
subject: {home: /nonexistent, workspace: auto, tmp: /nonexistent}
rules:
  - {name: out, action: allow, operations: [write], paths: ["${workspace}/*/out/**"]}
  - {name: tree, action: allow, operations: [read], paths: ["${workspace}/**"]}
  - include: builtin:linux-runtime
  - include: builtin:system-programs
"#;
    for user in users() {
        let place = filled_for(user);
        for i in 0..400 {
            std::fs::create_dir_all(place.path("ws").join(format!("d{i}/out"))).unwrap();
        }
        let huge = place.path("ws/zzz");
        std::fs::create_dir(&huge).unwrap();
        let first = huge.join("0");
        std::fs::write(&first, "").unwrap();
        for i in 1..21_000 {
            std::fs::hard_link(&first, huge.join(i.to_string())).unwrap();
        }
        place.own_all();
        let outside = place.path("outside/secret");
        let script = format!(
            "chmod 777 {0} || touch {0} || echo kept; chmod 777 d7 || echo also; \
             for d in d0 d399; do echo x > $d/out/f && chmod 700 $d/out/f && echo $d; done",
            outside.display()
        );
        let done = by(&place, policy, &["-q"], &script);
        let want = "kept\nalso\nd0\nd399\n";
        assert_eq!(text(&done.stdout), want, "{user:?}: {}", said(&done));
    }
}
