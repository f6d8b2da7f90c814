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
