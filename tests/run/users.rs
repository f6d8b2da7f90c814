//! Somebody who is not root: with namespaces where the host lets them have some, with a message where it does not.

use super::place::{Place, User, have, is_root, landlock, said, text};
use std::process::{Command, Output};

/// A number that nobody has to have.
const SOMEBODY: &str = "1000";

/// Whether this can be tried: only root becomes somebody else.
fn possible() -> bool {
    if !landlock() || !have("setpriv") || !have("unshare") {
        return false;
    }
    if !is_root() {
        println!("skipped: the tests run as an ordinary user already");
    }
    is_root()
}

/// A place whose files are somebody's.
fn place() -> Place {
    let place = Place::new(User::Own);
    let owner = format!("{SOMEBODY}:{SOMEBODY}");
    let done = Command::new("chown")
        .args(["-R", &owner])
        .arg(place.path(""))
        .status();
    assert!(done.unwrap().success());
    std::fs::create_dir(place.path("root")).unwrap();
    place
}

/// The command as somebody. In a changed root the kernel lets nobody make a user namespace (`EPERM`, as where a
/// host forbids them to users).
fn somebody(place: &Place, forbidden: bool, words: &[&str], script: &str) -> Output {
    let mut command = Command::new("unshare");
    let enter = if forbidden {
        "mount --rbind / \"$0\" && exec chroot \"$0\" \"$@\""
    } else {
        "exec \"$@\""
    };
    command
        .args(["-m", "sh", "-c", enter])
        .arg(place.path("root"));
    command.args([
        "setpriv",
        "--reuid",
        SOMEBODY,
        "--regid",
        SOMEBODY,
        "--clear-groups",
    ]);
    // A changed root begins at its top.
    command
        .args(["sh", "-c", "cd \"$0\" && exec \"$@\""])
        .arg(place.path("ws"));
    command.arg(place.path("bin/polc")).args(words);
    command.args(["-p", "builtin:coding-agent", "--set"]);
    command.arg(format!("workspace={}", place.path("ws").display()));
    command.args(["--", "/bin/sh", "-c", script]);
    command
        .env("HOME", place.path("home"))
        .env("TMPDIR", place.path("tmp"))
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .current_dir(place.path("ws"));
    command.output().unwrap()
}

/// What holds in any case, for files that are there.
const SCRIPT: &str = "id -u; echo two > existing && cat existing; \
    cat \"$HOME/.ssh/id_ed25519\" .env; echo x >> polc.yaml; echo x > /etc/polc-was-here; echo x > .git/config; \
    cat /etc/shadow; while read name value; do test \"$name\" = CapEff: && echo \"$name $value\"; done < /proc/$$/status; true";

fn holds(place: &Place, done: &Output, status: bool) {
    let capabilities = if status {
        "CapEff: 0000000000000000\n"
    } else {
        ""
    };
    assert_eq!(
        text(&done.stdout),
        format!("{SOMEBODY}\ntwo\n{capabilities}"),
        "{}",
        said(done)
    );
    let policy = std::fs::read_to_string(place.path("ws/polc.yaml")).unwrap();
    assert_eq!(policy, "version: 1\nname: here\nrules: []\n");
    let config = std::fs::read_to_string(place.path("ws/.git/config")).unwrap();
    assert!(config.contains("[core]"), "{config}");
}

#[test]
fn an_ordinary_user_has_namespaces_where_the_host_permits() {
    if !possible() {
        return;
    }
    let place = place();
    for (guard, covered) in [
        ("auto", " covered by mounts\n"),
        ("off", " covered by mounts; everything else is read-only\n"),
    ] {
        let words = ["run", "--explain-start", "--guard", guard];
        let done = somebody(&place, false, &words, SCRIPT);
        holds(&place, &done, true);
        let message = text(&done.stderr);
        assert!(
            message.contains(covered) && message.contains(" in a namespace of its own\n"),
            "{message}"
        );
        assert!(!message.contains("not permitted"), "{message}");
    }
    let done = somebody(
        &place,
        false,
        &["run", "-q"],
        "echo x > beside && cat beside",
    );
    assert_eq!(text(&done.stdout), "x\n", "{}", said(&done));
}

#[test]
fn an_ordinary_user_is_told_where_the_host_does_not_permit_them() {
    if !possible() {
        return;
    }
    let place = place();
    let done = somebody(&place, true, &["run"], SCRIPT);
    holds(&place, &done, true);
    let message = text(&done.stderr);
    assert!(
        message.contains("namespaces are not permitted here"),
        "{message}"
    );
    assert!(
        message.contains("network only through the proxy") && !message.contains(" covered"),
        "{message}"
    );
    // Nothing that is not the proxy's is reached, though the network is the host's own.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}",
        listener.local_addr().unwrap().port()
    );
    let free = Command::new("bash")
        .args(["-c", &connect])
        .status()
        .unwrap();
    assert!(free.success(), "it does not work unconfined");
    let done = somebody(
        &place,
        true,
        &["run", "-q"],
        &format!("bash -c '{connect}' && echo out"),
    );
    assert!(
        !text(&done.stdout).contains("out") && text(&done.stderr).contains("ermission denied"),
        "{}",
        said(&done)
    );
    // The program does not start where what is lost may not be.
    let done = somebody(
        &place,
        true,
        &["run", "-q", "--require", "safe"],
        "echo started",
    );
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    assert!(done.stdout.is_empty());
}

#[test]
fn an_ordinary_user_enforces_with_and_without_namespaces() {
    if !possible() {
        return;
    }
    for forbidden in [false, true] {
        let place = place();
        // What is denied inside the workspace stays closed only so.
        let options = ["enforce", "landlock", "--holes", "closed", "-q"];
        let done = somebody(&place, forbidden, &options, SCRIPT);
        // Of processes Landlock alone grants nothing, as they are not there yet: not what they tell of themselves, either.
        holds(&place, &done, false);
        let refused = text(&done.stderr).matches("ermission denied").count();
        assert_eq!(refused, 7, "{forbidden}: {}", said(&done));
    }
}

/// Namespaces that can be made, and in which nothing can be mounted: in a domain of Landlock, as on a host whose AppArmor
/// restricts user namespaces.
#[test]
fn where_nothing_may_be_mounted_it_does_without() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    std::fs::create_dir(place.path("ws/vault")).unwrap();
    std::fs::write(place.path("ws/vault/key"), "key\n").unwrap();
    let (outer, inner) = (place.path("outer.yaml"), place.path("inner.yaml"));
    std::fs::write(
        &outer,
        "version: 1\nname: outer\nrules:\n  \
         - {name: elsewhere, action: deny, operations: [create], paths: ['/nowhere/**']}\n  \
         - {name: all, action: allow, operations: [read, write, execute, connect], paths: ['/**']}\n  \
         - {name: net, action: allow, operations: [connect, bind], hosts: ['*']}\n",
    )
    .unwrap();
    std::fs::write(
        &inner,
        "version: 1\nname: inner\nsubject: {workspace: auto}\nrules:\n  \
         - {name: vault, action: deny, operations: [read, write], paths: ['${workspace}/vault/**']}\n  \
         - {name: all, action: allow, operations: [read, execute], paths: ['/**']}\n",
    )
    .unwrap();
    let polc = place.path("bin/polc");
    let done = Command::new(&polc)
        .args(["enforce", "landlock", "--holes", "closed", "-q", "-p"])
        .arg(outer)
        .arg("--")
        .arg(&polc)
        .args(["run", "-p"])
        .arg(inner)
        .arg("--set")
        .arg(format!("workspace={}", place.path("ws").display()))
        .args(["--", "/bin/sh", "-c", "cat existing vault/key"])
        .current_dir(place.path("ws"))
        .output()
        .unwrap();
    assert_eq!(text(&done.stdout), "one\n", "{}", said(&done));
    assert!(
        text(&done.stderr).contains("namespaces are not permitted here"),
        "{}",
        said(&done)
    );
}

/// A container's root, whose workspace is mounted from the host: without its capabilities it is a user as any other.
#[test]
fn root_is_told_that_another_user_s_workspace_cannot_be_written() {
    if !possible() {
        return;
    }
    let place = place();
    let run = |capabilities: &str, folder: &str| {
        let policy = format!(
            "version: 1\nname: here\nsubject: {{workspace: auto}}\ncapabilities: [{capabilities}]\nrules:\n\
             - {{name: w, action: allow, operations: [read, write], paths: ['${{workspace}}/**']}}\n\
             - include: builtin:system-programs\n- include: builtin:linux-runtime\n"
        );
        let file = place.path("own-policy.yaml");
        std::fs::write(&file, policy).unwrap();
        Command::new(place.path("bin/polc"))
            .args(["run", "--explain-start", "-p"])
            .arg(file)
            .arg("--set")
            .arg(format!("workspace={}", place.path(folder).display()))
            .args(["--", "/bin/sh", "-c", "echo x > made && cat made"])
            .current_dir(place.path(folder))
            .output()
            .unwrap()
    };
    let told = |done: &Output| text(&done.stderr).contains("belongs to user 1000. Root without");
    let done = run("", "ws");
    assert!(done.stdout.is_empty() && told(&done), "{}", said(&done));
    let done = run("DAC_OVERRIDE", "ws");
    assert_eq!(text(&done.stdout), "x\n", "{}", said(&done));
    assert!(!told(&done), "{}", said(&done));
    // Its own.
    let done = run("", "root");
    assert_eq!(text(&done.stdout), "x\n", "{}", said(&done));
    assert!(!told(&done), "{}", said(&done));
}
