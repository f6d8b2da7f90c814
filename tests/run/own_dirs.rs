//! The directories of the program's own: what is in them, and what of the host's stays reachable.

use super::git::users;
use super::place::{Place, User, have, landlock, said, text};
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

/// `polc run` by a policy of its own with these rules, and with these variables.
fn run(place: &Place, rules: &str, variables: &[(&str, &Path)], script: &str) -> Output {
    let file = place.path("own-policy.yaml");
    let policy = format!(
        "version: 1\nname: own\nsubject: {{home: auto, workspace: auto, tmp: auto}}\nrules:\n{rules}\
         - {{name: files, action: allow, operations: [read, write], paths: ['${{workspace}}/**', '${{tmp}}/**']}}\n\
         - include: builtin:system-programs\n- include: builtin:linux-runtime\n"
    );
    std::fs::write(&file, policy).unwrap();
    let mut c = Command::new(place.path("bin/polc"));
    c.args(["run", "--explain-start", "-p"])
        .arg(file)
        .arg("--set")
        .arg(format!("workspace={}", place.path("ws").display()))
        // These are taken only if somebody names them.
        .args(
            variables
                .iter()
                .filter(|v| v.0 == "TMPDIR")
                .flat_map(|v| ["--set".to_owned(), format!("tmp={}", v.1.display())]),
        )
        .args(["--", "/bin/sh", "-c", script])
        .current_dir(place.path("ws"))
        .env("TMPDIR", place.path("tmp"))
        .envs(variables.iter().copied());
    if place.user == User::Nobody {
        std::os::unix::process::CommandExt::uid(&mut c, 65534);
        std::os::unix::process::CommandExt::gid(&mut c, 65534);
    }
    c.output().unwrap()
}

#[test]
fn temporary_files_are_the_program_s_own_and_go_with_it() {
    if !landlock() {
        return;
    }
    let script = "ls -A \"$TMPDIR\"; for d in /tmp /var/tmp /dev/shm \"$TMPDIR\"; do \
        echo x > $d/polc-test-own && cat $d/polc-test-own; done; stat -c '%a' /tmp";
    let rules = "- {name: t, action: allow, operations: [read, write], paths: ['/{,var/}tmp/**', '/dev/shm/**']}\n";
    for user in users() {
        let place = Place::new(*user);
        std::fs::write(place.path("tmp/theirs"), "").unwrap();
        let done = run(&place, rules, &[], script);
        assert_eq!(text(&done.stdout), "x\nx\nx\nx\n1777\n", "{}", said(&done));
        for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
            assert!(!Path::new(folder).join("polc-test-own").exists());
        }
        assert!(!place.path("tmp/polc-test-own").exists());
        // As it was, for whoever wants that.
        let done = place.shell(
            &["-q", "--share-tmp"],
            "ls -A \"$TMPDIR\"; echo x > \"$TMPDIR/mine\"",
        );
        assert_eq!(text(&done.stdout), "theirs\n", "{}", said(&done));
        assert!(place.path("tmp/mine").exists());
    }
}

#[test]
fn a_directory_that_holds_the_workspace_or_the_home_is_not_taken_from_them() {
    if !landlock() {
        return;
    }
    let script = "cat existing && echo y > new && cat new && ls \"$HOME/.bashrc\"";
    for user in users() {
        for (tmp, shared) in [("ws", true), ("home", true), ("", false), ("ws/sub", false)] {
            let place = Place::new(*user);
            std::fs::create_dir(place.path("ws/sub")).unwrap();
            place.own_all();
            let home = place.path("home");
            let tmp = place.path(tmp);
            let variables = [("HOME", home.as_path()), ("TMPDIR", tmp.as_path())];
            let done = run(&place, "", &variables, script);
            let listed = format!("one\ny\n{}\n", home.join(".bashrc").display());
            assert_eq!(text(&done.stdout), listed, "{tmp:?}: {}", said(&done));
            let told = text(&done.stderr).contains("stays the host's");
            assert_eq!(told, shared, "{tmp:?}: {}", said(&done));
        }
        let place = Place::new(*user);
        let done = run(&place, "", &[("TMPDIR", Path::new("/"))], "cat existing");
        assert_eq!(text(&done.stdout), "one\n", "{}", said(&done));
        assert!(
            text(&done.stderr).contains("`/` stays the host's"),
            "{}",
            said(&done)
        );
    }
}

#[test]
fn what_a_rule_names_in_a_temporary_directory_is_there_unless_a_link_leads_to_it() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        let top = place.path("");
        let top = top.to_str().unwrap().trim_end_matches('/');
        std::fs::create_dir(place.path("named")).unwrap();
        std::fs::write(place.path("named/file"), "named\n").unwrap();
        symlink("outside", place.path("linked")).unwrap();
        symlink(place.path("outside/secret"), place.path("ws/link")).unwrap();
        place.own_all();
        let rules = format!(
            "- {{name: named, action: allow, operations: [read, write], paths: ['{top}/named/**', '{top}/linked/**', '{top}/linked/secret']}}\n"
        );
        let script = format!(
            "cat {top}/named/file; echo z > {top}/named/new; ls {top}; cat {top}/linked/secret {top}/outside/secret ws/link link"
        );
        let done = run(&place, &rules, &[("TMPDIR", Path::new("/tmp"))], &script);
        assert_eq!(
            text(&done.stdout),
            "named\nlinked\nnamed\nws\n",
            "{}",
            said(&done)
        );
        assert!(place.path("named/new").exists());
    }
}

#[test]
fn standard_descriptors_and_the_current_directory_stay() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        std::fs::write(place.path("outside/input"), "from a file\n").unwrap();
        std::fs::write(place.path("outside/output"), "").unwrap();
        place.own_all();
        let outside = place.path("outside");
        let mut command = place.polc(&["-q"], true);
        let output = File::options().append(true).open(outside.join("output"));
        let done = command
            .args(["/bin/sh", "-c", "pwd; cat; cat input"])
            .arg(&outside)
            .current_dir(&outside)
            .stdin(File::open(outside.join("input")).unwrap())
            .stdout(output.unwrap())
            .output()
            .unwrap();
        let written = std::fs::read_to_string(outside.join("output")).unwrap();
        let expected = format!("{}\nfrom a file\n", outside.display());
        assert!(written.starts_with(&expected), "{written}: {}", said(&done));
    }
}

#[test]
fn a_full_directory_is_an_error_and_nothing_more() {
    if !landlock() || !have("dd") {
        return;
    }
    let place = Place::new(User::Own);
    let script = "dd if=/dev/zero of=/tmp/full bs=1M count=80 2>&1 | grep -c 'No space'; \
        rm /tmp/full && echo x > /tmp/f && cat /tmp/f";
    let rules = "- {name: t, action: allow, operations: [read, write], paths: ['/tmp/**']}\n";
    let file = place.path("own-policy.yaml");
    let done = run(&place, rules, &[], "true");
    assert!(done.status.success(), "{}", said(&done));
    let policy = std::fs::read_to_string(&file).unwrap() + "limits: {memory: 128MiB}\n";
    std::fs::write(&file, policy).unwrap();
    let done = Command::new(place.path("bin/polc"))
        .args(["run", "-q", "-p"])
        .arg(file)
        .args(["--", "/bin/sh", "-c", script])
        .current_dir(place.path("ws"))
        .output()
        .unwrap();
    assert_eq!(text(&done.stdout), "1\nx\n", "{}", said(&done));
}

/// A directory in which nothing is allowed tells no names, and a socket that is made there later is out of reach.
#[test]
fn a_denied_directory_tells_nothing_and_lends_no_socket() {
    if !landlock() || !super::place::have("python3") {
        return;
    }
    let script = "
import ctypes, os, socket, sys, time
home = os.environ['HOME']
c = ctypes.CDLL(None)
fd = c.inotify_init1(os.O_NONBLOCK)
for d in ('.ssh', '.docker', 'private'):
    c.inotify_add_watch(fd, (home + '/' + d).encode(), 0xfff)
print('started', flush=True)
sys.stdin.readline()
for name in ('.ssh/cm.sock', '.docker/run/docker.sock', 'private/s'):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(home + '/' + name)
        print('reached', name)
    except OSError as e:
        print(e.errno, name)
try:
    print(os.read(fd, 4096))
except BlockingIOError:
    print('quiet')
try:
    open(home + '/.ssh/id_ed25519')
except OSError as e:
    print(e.errno, 'key')
";
    for user in users() {
        let place = Place::new(*user);
        for folder in ["home/.docker/run", "home/private"] {
            std::fs::create_dir_all(place.path(folder)).unwrap();
        }
        place.own_all();
        let mut child = place
            .polc(&["-q"], false)
            .args(["python3", "-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let listeners: Vec<_> = [".ssh/cm.sock", ".docker/run/docker.sock", "private/s"]
            .into_iter()
            .map(|name| {
                let path = place.path("home").join(name);
                let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
                let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
                std::fs::set_permissions(&path, open).unwrap();
                listener
            })
            .collect();
        drop(child.stdin.take());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
        let done = child.wait_with_output().unwrap();
        drop(listeners);
        assert_eq!(
            rest,
            "13 .ssh/cm.sock\n13 .docker/run/docker.sock\n13 private/s\nquiet\n13 key\n",
            "{line}{}",
            said(&done)
        );
    }
}

/// What a rule allows beneath such a directory by its name stays, and the rest is not there.
#[test]
fn what_is_allowed_in_a_denied_directory_stays() {
    if !landlock() {
        return;
    }
    let rules = "- {name: known, action: allow, operations: [read], paths: ['~/.ssh/known_hosts']}\n\
                 - {name: public, action: allow, operations: [read], paths: ['~/.gnupg/*.pub']}\n\
                 - include: builtin:credentials\n";
    for user in users() {
        let place = Place::new(*user);
        std::fs::create_dir(place.path("home/.gnupg")).unwrap();
        for file in [".ssh/known_hosts", ".gnupg/a.pub", ".gnupg/secret"] {
            std::fs::write(place.path("home").join(file), "here\n").unwrap();
        }
        place.own_all();
        let home = place.path("home");
        let script =
            "cd \"$HOME\"; cat .ssh/known_hosts .gnupg/a.pub; cat .ssh/id_ed25519 .gnupg/secret";
        let done = run(&place, rules, &[("HOME", &home)], script);
        assert_eq!(text(&done.stdout), "here\nhere\n", "{}", said(&done));
    }
}

/// A program that is started by a link in the home directory still starts, and one that is found there.
#[test]
fn a_link_to_a_program_still_starts_it() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        for folder in ["home/tools", "home/bin"] {
            std::fs::create_dir(place.path(folder)).unwrap();
        }
        for link in ["home/tools/echo", "home/bin/repeat"] {
            symlink("/usr/bin/echo", place.path(link)).unwrap();
        }
        place.own_all();
        let path = format!("{}:/usr/bin:/bin", place.path("home/bin").display());
        let echo = place.path("home/tools/echo");
        let mut command = place.polc(&["-q"], false);
        let done = command
            .env("PATH", &path)
            .arg(&echo)
            .arg("x")
            .output()
            .unwrap();
        assert_eq!(text(&done.stdout), "x\n", "{}", said(&done));
        let mut command = place.polc(&["-q"], false);
        let words = ["/bin/sh", "-c", "repeat y"];
        let done = command.env("PATH", &path).args(words).output().unwrap();
        assert_eq!(text(&done.stdout), "y\n", "{}", said(&done));
    }
}
