//! What lies denied inside an allowed tree: files, directories, links, patterns that float, what is not there yet.

use super::place::{Place, User, landlock, said, text};
use std::os::unix::fs::symlink;
use std::process::Output;

const POLICY: &str = r#"version: 1
name: covers
subject: {home: /nonexistent, workspace: auto, tmp: /nonexistent}
rules:
  - name: vault
    action: deny
    operations: [read, write]
    paths: ["${workspace}/vault/**", "${workspace}/**/token"]
  - name: kept
    action: deny
    operations: [write]
    paths: ["${workspace}/kept/**", "${workspace}/deep/er/file", "${workspace}/linked", "${workspace}/later"]
  - name: tree
    action: allow
    operations: [read, write, execute]
    paths: ["${workspace}/**"]
  - include: builtin:linux-runtime
  - include: builtin:system-programs
"#;

fn run(place: &Place, script: &str) -> Output {
    place.shell_by(POLICY, script)
}

fn filled() -> Place {
    let place = Place::new(User::Own);
    for d in ["vault", "kept", "deep/er", "a/b"] {
        std::fs::create_dir_all(place.path("ws").join(d)).unwrap();
    }
    for f in [
        "vault/key",
        "kept/file",
        "deep/er/file",
        "deep/er/other",
        "a/b/token",
        "a/b/it's\n#odd",
    ] {
        std::fs::write(place.path("ws").join(f), "old\n").unwrap();
    }
    place
}

#[test]
fn what_is_denied_inside_is_kept_and_what_is_around_is_free() {
    if !landlock() {
        return;
    }
    let place = filled();
    for script in [
        "cat vault/key",
        "ls vault",
        "cat a/b/token",
        "echo new > kept/file",
        "echo new > kept/more",
        "rm -rf kept",
        "mv kept elsewhere",
        "echo new > deep/er/file",
        "rm -f deep/er/file",
        "mv deep elsewhere",
        "mv deep/er elsewhere",
        "mv a elsewhere",
        "ln a/b/token taken",
        "cd vault && ls",
        "cat ../ws/vault/key",
        "cat /proc/self/cwd/vault/key",
    ] {
        let done = run(&place, script);
        assert!(!done.status.success(), "{script}: {}", said(&done));
        let out = text(&done.stdout);
        assert!(
            !out.contains("old") && !out.contains("key"),
            "{script}: {}",
            said(&done)
        );
    }
    for file in ["vault/key", "kept/file", "deep/er/file", "a/b/token"] {
        let now = std::fs::read_to_string(place.path("ws").join(file)).unwrap();
        assert_eq!(now, "old\n", "{file}");
    }
    let around = "echo new > fresh && ls > listing && grep fresh listing && cat kept/file && echo new > deep/er/other \
                  && rm deep/er/other && echo x > deep/er/third && mkdir a/b/c && mv fresh a/b/c && rm -r a/b/c";
    let done = run(&place, around);
    assert!(done.status.success(), "{}", said(&done));
    let done = run(&place, "cat a/b/it*");
    assert_eq!(text(&done.stdout), "old\n", "{}", said(&done));
}

#[test]
fn what_is_not_there_yet_is_said() {
    if !landlock() {
        return;
    }
    let place = filled();
    let done = run(&place, "true");
    let message = text(&done.stderr);
    assert!(
        message.contains("not there yet") && message.contains("/ws/later`"),
        "{message}"
    );
    assert!(!message.contains("made while"), "{message}");
    let done = run(&place, "echo new > later");
    let message = text(&done.stderr);
    let told = "/ws/later`: denied by rule `kept` at ";
    assert!(
        message.contains("made while the program ran") && message.contains(told),
        "{message}"
    );
    assert!(message.contains("own-policy.yaml:9"), "{message}");
    // It is there the next time.
    std::fs::write(place.path("ws/later"), "old\n").unwrap();
    let done = run(&place, "echo new > later || echo kept");
    assert_eq!(text(&done.stdout), "kept\n", "{}", said(&done));
    assert!(
        !text(&done.stderr).contains("/ws/later`"),
        "{}",
        said(&done)
    );
}

#[test]
fn a_link_that_must_stay_keeps_its_tree_narrow() {
    if !landlock() {
        return;
    }
    let place = filled();
    symlink("a", place.path("ws/linked")).unwrap();
    let done = run(
        &place,
        "rm linked; echo x > beside; mv linked elsewhere; cat kept/file",
    );
    assert_eq!(text(&done.stdout), "old\n", "{}", said(&done));
    assert!(place.path("ws/linked").is_symlink() && !place.path("ws/beside").exists());
    assert!(
        text(&done.stderr).contains("/ws/linked` cannot be covered"),
        "{}",
        said(&done)
    );
}

/// A program that a rule denies by its name, in a directory where nothing may be started, and beside it one that no rule
/// speaks of; and one in the workspace, which is replaced as anything there is.
#[test]
fn the_loader_starts_nothing_that_a_rule_denies_by_name() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let outside = place.path("outside");
    for to in [
        outside.join("denied"),
        outside.join("unsaid"),
        place.path("ws").join("mine"),
    ] {
        std::fs::copy("/usr/bin/echo", to).unwrap();
    }
    symlink("outside", place.path("link")).unwrap();
    place.own_all();
    let top = place.path("");
    let top = top.to_str().unwrap().trim_end_matches('/');
    let policy = format!(
        r#"version: 1
name: loader
subject: {{home: /nonexistent, workspace: auto, tmp: /nonexistent}}
rules:
  - name: no-start
    action: deny
    operations: [execute]
    paths: ["{top}/link/denied", "${{workspace}}/mine"]
  - name: tree
    action: allow
    operations: [read, write]
    paths: ["${{workspace}}/**"]
  - name: outside
    action: allow
    operations: [read]
    paths: ["{top}/outside/**", "{top}/link/**"]
  - include: builtin:linux-runtime
  - include: builtin:system-programs
"#
    );
    let loader = polc::backend::landlock::LOADER;
    let start = |path: &str| place.shell_by(&policy, &format!("{loader} {path} started"));
    let answer = |path: &str| text(&start(path).stdout).contains("started");
    // By its own name it is denied by no rule, but it is the same program.
    for path in ["link/denied", "outside/denied"] {
        let path = format!("{top}/{path}");
        let done = start(&path);
        assert!(!text(&done.stdout).contains("started"), "{}", said(&done));
        let read = place.shell_by(&policy, &format!("cmp {path} {top}/outside/unsaid"));
        assert!(read.status.success(), "{}", said(&read));
    }
    assert!(answer(&format!("{top}/outside/unsaid")));
    let replaced = place.shell_by(&policy, "cp mine other && mv other mine && echo done");
    assert_eq!(text(&replaced.stdout), "done\n", "{}", said(&replaced));
}
