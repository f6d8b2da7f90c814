//! What lies denied inside an allowed tree: files, directories, links, patterns that float, what is not there yet.

use super::place::{Place, User, is_root, landlock, said, text};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

pub const POLICY: &str = r#"version: 1
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

fn filled() -> Place {
    filled_for(User::Own)
}

pub fn filled_for(user: User) -> Place {
    let place = Place::new(user);
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
    place.own_all();
    place
}

#[test]
fn what_is_denied_inside_is_kept_and_what_is_around_is_free() {
    if !landlock() {
        return;
    }
    for guard in ["auto", "off"] {
        kept_inside_and_free_around(guard);
    }
}

fn kept_inside_and_free_around(guard: &str) {
    let place = filled();
    let run =
        |place: &Place, script: &str| place.shell_by_with(POLICY, &["--guard", guard], script);
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
fn what_is_not_there_yet_is_said_without_the_guard() {
    if !landlock() {
        return;
    }
    let place = filled();
    let run = |place: &Place, script| place.shell_by_with(POLICY, &["--guard", "off"], script);
    let done = run(&place, "true");
    let message = text(&done.stderr);
    assert!(
        message.contains("does not exist at start cannot be protected")
            && message.contains("/ws/later`"),
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

/// By default it is not made, so that nothing is to be said before.
#[test]
fn what_is_not_there_yet_is_not_made() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = filled_for(user);
        let done = by(&place, POLICY, &[], "echo new > later || echo kept");
        assert_eq!(text(&done.stdout), "kept\n", "{user:?}: {}", said(&done));
        let message = text(&done.stderr);
        let told = "/ws/later`: denied by rule `kept` at ";
        assert!(
            message.contains("polc: refused: create `") && message.contains(told),
            "{message}"
        );
        assert!(!message.contains("does not exist at start"), "{message}");
        assert!(!place.path("ws/later").exists());
    }
}

/// The users that the tests can be.
pub fn users() -> Vec<User> {
    let all = [User::Own, User::Nobody];
    all.into_iter()
        .filter(|u| *u == User::Own || is_root())
        .collect()
}

/// A script by whoever the place is for.
pub fn by(place: &Place, policy: &str, options: &[&str], script: &str) -> Output {
    let file = place.path("own-policy.yaml");
    std::fs::write(&file, policy).unwrap();
    let mut c = Command::new(place.path("bin/polc"));
    // The long form names what the four lines only count.
    let told = if options.contains(&"-q") {
        &[][..]
    } else {
        &["--explain-start"]
    };
    c.arg("run").args(told).arg("-p").arg(file).arg("--set");
    c.arg(format!("workspace={}", place.path("ws").display()));
    c.args(options).args(["--", "/bin/sh", "-c", script]);
    c.current_dir(place.path("ws")).stdin(Stdio::null());
    if place.user == User::Nobody {
        c.uid(65534).gid(65534);
    }
    c.output().unwrap()
}

/// The top directory can be used, and what is denied in it cannot.
pub fn rest_is_usable(done: &Output) {
    for word in ["made", "listed", "removed"] {
        assert!(
            text(&done.stdout).lines().any(|l| l == word),
            "{word}: {}",
            said(done)
        );
    }
}

pub const USE: &str =
    "echo new > fresh && echo made; ls > /dev/null && echo listed; rm fresh && echo removed; ";

#[test]
fn a_link_at_a_denied_name_stays_and_takes_nothing_from_the_rest() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = filled_for(user);
        std::fs::create_dir_all(place.path("ws/sub/sub")).unwrap();
        symlink("existing", place.path("ws/linked")).unwrap();
        symlink("../../existing", place.path("ws/sub/sub/token")).unwrap();
        place.own_all();
        let script = "rm -f linked; mv linked elsewhere; ln -sf kept linked; mv existing linked; rm -rf sub; mv sub away; \
                      echo two >> linked; cat sub/sub/token; readlink linked";
        let done = by(&place, POLICY, &[], &format!("{USE}{script}"));
        rest_is_usable(&done);
        // It leads where it led. What a denied name leads to may be read, and is not written by either name.
        let out = text(&done.stdout);
        assert!(
            out.ends_with("one\nexisting\n"),
            "{user:?}: {}",
            said(&done)
        );
        for (link, to) in [("linked", "existing"), ("sub/sub/token", "../../existing")] {
            let now = std::fs::read_link(place.path("ws").join(link)).unwrap();
            assert_eq!(now.to_str(), Some(to), "{user:?}: {}", said(&done));
        }
    }
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

/// `polc run` of the policy above with this program.
fn command(place: &Place, options: &[&str], script: &str) -> Command {
    let policy = place.path("own-policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    let mut c = Command::new(place.path("bin/polc"));
    c.args(["run", "-q", "-p"]).arg(policy).arg("--set");
    c.arg(format!("workspace={}", place.path("ws").display()));
    c.args(options).args(["--", "/bin/sh", "-c", script]);
    c.current_dir(place.path("ws"));
    c
}

/// What was opened outside is of the mounts outside, and can be opened anew by its descriptor.
#[test]
fn a_covered_file_as_a_standard_descriptor_is_no_way_round() {
    if !landlock() {
        return;
    }
    let place = filled();
    let kept = place.path("ws/kept/file");
    std::fs::write(&kept, "old\nline\n").unwrap();
    let mut input = File::open(&kept).unwrap();
    // It is read from where it was left.
    input.read_exact(&mut [0; 4]).unwrap();
    let script = "cat; echo new >> /proc/self/fd/0; echo new > /dev/stdin; echo done";
    let done = command(&place, &[], script).stdin(input).output().unwrap();
    assert_eq!(text(&done.stdout), "line\ndone\n", "{}", said(&done));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "old\nline\n");

    let append = |f: &str| File::options().append(true).open(place.path(f)).unwrap();
    for (name, file) in [("input", "ws/vault/key"), ("output", "ws/kept/file")] {
        let mut c = command(&place, &[], "echo begun >&2");
        let c = if name == "input" {
            c.stdin(File::open(place.path(file)).unwrap())
        } else {
            c.stdout(append(file))
        };
        let done = c.output().unwrap();
        let message = text(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{}", said(&done));
        assert!(
            message.contains(&format!("standard {name} is the file `"))
                && !message.contains("begun"),
            "{message}"
        );
    }
    // What is not covered is as it was.
    let done = command(&place, &[], "echo more; echo over >/proc/self/fd/1")
        .stdout(append("ws/existing"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", said(&done));
    let got = std::fs::read_to_string(place.path("ws/existing")).unwrap();
    assert_eq!(got, "over\n");
}

/// The kernel takes a mount along when somebody outside puts another file in the place of the covered one.
#[test]
fn a_cover_that_is_lost_is_told() {
    if !landlock() {
        return;
    }
    // The guard goes by names, so that it needs covers for what may not be read alone.
    for (guard, name, replaced, status) in [
        ("off", "deep/er/file", true, 3),
        ("off", "deep/er/file", false, 5),
        ("auto", "deep/er/file", true, 5),
        ("auto", "a/b/token", true, 3),
        ("auto", "a/b/token", false, 5),
    ] {
        let place = filled();
        let script = "echo ready; read line; echo changed > deep/er/file; exit 5";
        let mut child = command(&place, &["--fail-if-made", "--guard", guard], script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        let out = child.stdout.as_mut().unwrap();
        out.read_exact(&mut ready).unwrap();
        let kept = place.path("ws").join(name);
        if replaced {
            std::fs::write(place.path("ws/deep/er/new"), "new\n").unwrap();
            std::fs::rename(place.path("ws/deep/er/new"), &kept).unwrap();
        } else {
            // Its contents alone: it stays covered.
            std::fs::write(&kept, "new\n").unwrap();
        }
        drop(child.stdin.take());
        let done = child.wait_with_output().unwrap();
        let lost = format!("/ws/{name}`: from then on it was not protected");
        let told = text(&done.stderr).contains(&lost);
        assert_eq!(told, status == 3, "{guard} {name}: {}", said(&done));
        assert_eq!(
            done.status.code(),
            Some(status),
            "{guard} {name}: {}",
            said(&done)
        );
        if guard == "auto" {
            let now = std::fs::read_to_string(place.path("ws/deep/er/file")).unwrap();
            assert_ne!(now, "changed\n");
        }
    }
}

/// Written there may be, made and removed not: nothing is, and what may not be made is not.
#[test]
fn where_nothing_may_be_made_nothing_is() {
    if !landlock() {
        return;
    }
    for (denied, script) in [
        ("create", "echo new > kept/more"),
        ("delete", "echo new > kept/more; rm kept/more && echo gone"),
        ("create, delete", "mkdir kept/more; rm kept/file"),
    ] {
        let place = filled();
        let policy = POLICY.replace(
            "operations: [write]\n    paths: [\"${workspace}/kept/**\", ",
            &format!(
                "operations: [{denied}]\n    paths: [\"${{workspace}}/kept/**\"]\n  - name: more\n    action: deny\n    operations: [write]\n    paths: ["
            ),
        );
        assert_ne!(policy, POLICY);
        let done = place.shell_by_with(
            &policy,
            &["--guard", "off"],
            &format!("{script}; echo beside > beside && cat beside kept/file"),
        );
        assert_eq!(text(&done.stdout), "beside\nold\n", "{}", said(&done));
        assert!(
            !place.path("ws/kept/more").exists() || denied == "delete",
            "{denied}"
        );
    }
}

/// A directory that may be read and not listed, one that is allowed again, a program that may not be started where others
/// may: each loses its own, and nothing else.
#[test]
fn what_a_mount_cannot_say_costs_that_object_alone() {
    if !landlock() {
        return;
    }
    let own_rules = r#"
  - name: quiet
    action: deny
    operations: [list]
    paths: ["${workspace}/quiet/**"]
  - name: again
    action: allow
    operations: [read]
    paths: ["${workspace}/vault/public/**"]
  - name: tool
    action: deny
    operations: [execute]
    paths: ["${workspace}/bin/tool"]"#;
    let policy = POLICY.replacen("rules:", &format!("rules:{own_rules}"), 1);
    for user in users() {
        let place = filled_for(user);
        for (folder, file) in [
            ("quiet", "name"),
            ("vault/public", "file"),
            ("bin", "other"),
        ] {
            std::fs::create_dir_all(place.path("ws").join(folder)).unwrap();
            std::fs::write(place.path("ws").join(folder).join(file), "text\n").unwrap();
        }
        for name in ["tool", "free"] {
            std::fs::copy("/usr/bin/echo", place.path("ws/bin").join(name)).unwrap();
        }
        place.own_all();
        let loader = polc::backend::landlock::LOADER;
        let script = format!(
            "ls quiet; cat vault/key; ls vault; bin/tool STARTED; {loader} bin/tool STARTED; mv bin/tool bin/renamed; \
             bin/free free; rm bin/free && mv bin/other bin/tool2 && echo changed"
        );
        let done = by(&place, &policy, &[], &format!("{USE}{script}"));
        rest_is_usable(&done);
        let out = text(&done.stdout);
        assert!(
            out.ends_with("free\nchanged\n"),
            "{user:?}: {}",
            said(&done)
        );
        for word in ["name", "key", "old", "STARTED"] {
            assert!(!out.contains(word), "{user:?}: {word}: {}", said(&done));
        }
        let message = text(&done.stderr);
        assert!(
            message.contains("hidden as a whole: ") && message.contains("/ws/quiet`"),
            "{user:?}: {message}"
        );
    }
}

/// `/dev/stderr` and its like work whatever they are, and with the rights that the descriptor has.
#[test]
fn standard_descriptors_can_be_opened_by_name() {
    if !landlock() {
        return;
    }
    for user in users() {
        let place = filled_for(user);
        let file = |name: &str| place.path("outside").join(name);
        std::fs::write(file("input"), "input\n").unwrap();
        std::fs::write(file("log"), "").unwrap();
        std::fs::write(file("deleted"), "deleted\n").unwrap();
        std::fs::set_permissions(file("log"), std::fs::Permissions::from_mode(0o666)).unwrap();
        let policy = POLICY.replacen(
            "rules:",
            &format!(
                "rules:\n  - {{name: secret, action: deny, operations: [read], paths: [\"{}\"]}}",
                file("secret").display()
            ),
            1,
        );
        std::fs::write(place.path("own-policy.yaml"), policy).unwrap();
        let polc = |stdin: Stdio, stderr: Stdio, script: &str| {
            // The pipe is the user's own.
            let mut c = Command::new("/bin/sh");
            c.args(["-c", "\"$@\" | cat", "sh"]);
            c.arg(place.path("bin/polc")).args(["run", "-q", "-p"]);
            c.arg(place.path("own-policy.yaml"));
            c.arg("--set")
                .arg(format!("workspace={}", place.path("ws").display()));
            c.args(["--", "/bin/sh", "-c", script]);
            c.current_dir(place.path("ws")).stdin(stdin).stderr(stderr);
            c.stdout(Stdio::piped());
            if place.user == User::Nobody {
                c.uid(65534).gid(65534);
            }
            let done = c.spawn().unwrap().wait_with_output().unwrap();
            text(&done.stdout)
        };
        let open = |name: &str| Stdio::from(File::open(file(name)).unwrap());
        let log = || Stdio::from(File::options().append(true).open(file("log")).unwrap());
        // Files that no rule speaks of; a pipe.
        let script = "cat /dev/stdin; echo log > /dev/stderr; echo pipe > /dev/stdout; echo fd >> /proc/self/fd/2";
        assert_eq!(
            polc(open("input"), log(), script),
            "input\npipe\n",
            "{user:?}"
        );
        let logged = || std::fs::read_to_string(file("log")).unwrap();
        assert_eq!(logged(), "log\nfd\n", "{user:?}");
        // What is open to write cannot be read, nor what is open to read be written; nor by its path.
        let script = format!(
            "exec 9>&2; cat /proc/self/fd/9 <&- 2>/dev/null; cat {} 2>/dev/null; echo over > /dev/stdin; echo over > {}",
            file("log").display(),
            file("input").display()
        );
        assert_eq!(polc(open("input"), log(), &script), "", "{user:?}");
        assert_eq!(std::fs::read_to_string(file("input")).unwrap(), "input\n");
        // Another file beside it is as closed as it was.
        std::fs::write(file("beside"), "beside\n").unwrap();
        let script = format!("cat {}; cat /dev/stdin", file("beside").display());
        assert_eq!(
            polc(open("input"), Stdio::null(), &script),
            "input\n",
            "{user:?}"
        );
        // A file that a rule denies: as far as the descriptor goes, and no further.
        let script = "cat /dev/stdin /proc/self/fd/0; cat";
        let got = polc(open("secret"), Stdio::null(), script);
        assert_eq!(got, "secret\n", "{user:?}");
        let script = "cat /dev/stdin || echo refused";
        let got = polc(open("secret"), Stdio::null(), script);
        assert_eq!(got, "refused\n", "{user:?}");
        // A file without a name, a pipe, nothing.
        let gone = open("deleted");
        std::fs::remove_file(file("deleted")).unwrap();
        assert_eq!(polc(gone, Stdio::null(), "cat /dev/stdin"), "deleted\n");
        let got = polc(
            Stdio::null(),
            Stdio::null(),
            "cat /dev/stdin; echo x > /dev/stderr && echo fine",
        );
        assert_eq!(got, "fine\n", "{user:?}");
    }
}
