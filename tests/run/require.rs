//! `--require`: what the layers leave open keeps the program from starting.

use super::place::{Place, User, landlock, said, text};
use std::process::Output;

/// Everything that is denied is there, and nothing of it floats.
const POLICY: &str = "version: 1
name: required
subject: {home: /nonexistent, workspace: auto, tmp: /nonexistent}
rules:
  - {name: vault, action: deny, operations: [read, write], paths: [\"${workspace}/vault/**\"]}
  - {name: tree, action: allow, operations: [read, write], paths: [\"${workspace}/**\"]}
  - {name: programs, action: allow, operations: [read, execute], paths: [\"/usr/**\", \"/lib/**\", \"/lib64/**\", \"/bin/**\", /etc/ld.so.cache]}
  - {name: terminals, action: allow, operations: [read, edit], paths: [\"/dev/pts/**\", /dev/null]}
MORE";

fn run(place: &Place, more: &str, options: &[&str], script: &str) -> Output {
    let policy = place.path("required.yaml");
    std::fs::write(&policy, POLICY.replace("MORE", more)).unwrap();
    std::process::Command::new(place.path("bin/polc"))
        .args(["run", "-q", "-p"])
        .arg(policy)
        .arg("--set")
        .arg(format!("workspace={}", place.path("ws").display()))
        .args(options)
        .args(["--", "/bin/sh", "-c", script])
        .current_dir(place.path("ws"))
        .output()
        .unwrap()
}

fn place() -> Place {
    let place = Place::new(User::Own);
    std::fs::create_dir(place.path("ws/vault")).unwrap();
    std::fs::write(place.path("ws/vault/key"), "key\n").unwrap();
    place
}

#[test]
fn what_is_kept_starts() {
    if !landlock() {
        return;
    }
    let place = place();
    let done = run(&place, "", &["--require", "safe"], "echo started");
    assert_eq!(text(&done.stdout), "started\n", "{}", said(&done));
    // Covers answer EXDEV and EBUSY where the policy allows: not exact.
    let done = run(&place, "", &["--require", "exact"], "echo started");
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    assert!(done.stdout.is_empty());
}

#[test]
fn what_is_left_open_is_named_and_nothing_starts() {
    if !landlock() {
        return;
    }
    let cases: [(&str, &[&str], &str); 4] = [
        (
            "",
            &["--no-namespaces", "--guard", "off"],
            "metadata: allowed although denied, such as `/",
        ),
        // Nothing counts root's processes, and without a control group nothing holds processors.
        ("limits: {cpus: 0.5}\n", &[], "limits.cpus"),
        (
            "  - {name: args, action: allow, commands: [\"${workspace}/tool status\"]}\n",
            &[],
            "its arguments",
        ),
        (
            "  - {name: sockets, action: allow, operations: [connect], paths: [\"${workspace}/**\"]}\n",
            &["--guard", "off"],
            "connect: ",
        ),
    ];
    for (more, options, what) in cases {
        let place = place();
        std::fs::copy("/bin/true", place.path("ws/tool")).unwrap();
        let options = [options, &["--require", "safe"]].concat();
        let done = run(&place, more, &options, "echo started");
        if what == "limits.cpus" && done.status.success() {
            println!("a control group holds processors here");
            continue;
        }
        assert_eq!(done.status.code(), Some(3), "{more}: {}", said(&done));
        assert!(done.stdout.is_empty(), "{more}: {}", said(&done));
        assert!(text(&done.stderr).contains(what), "{more}: {}", said(&done));
    }
    // What is denied and not there can be made: the path is named.
    let place = place();
    std::fs::remove_dir_all(place.path("ws/vault")).unwrap();
    let options = ["--require", "safe", "--guard", "off"];
    let done = run(&place, "", &options, "echo started");
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    assert!(
        text(&done.stderr).contains("allowed although denied, such as `")
            && text(&done.stderr).contains("/ws/vault`"),
        "{}",
        said(&done)
    );
}

/// What the guard decides is kept: mode and owner without mounts, sockets by their paths, names that are not there yet.
#[test]
fn what_the_guard_keeps_starts() {
    if !landlock() {
        return;
    }
    let sockets =
        "  - {name: sockets, action: allow, operations: [connect], paths: [\"${workspace}/**\"]}\n";
    for (more, options, vault) in [
        ("", &["--no-namespaces"][..], true),
        (sockets, &[], true),
        ("", &[], false),
    ] {
        let place = place();
        if !vault {
            std::fs::remove_dir_all(place.path("ws/vault")).unwrap();
        }
        let options = [options, &["--require", "safe"]].concat();
        let script =
            "mkdir vault || echo x > vault/new || echo x > vault || rm vault/key || echo refused";
        let done = run(&place, more, &options, script);
        assert_eq!(text(&done.stdout), "refused\n", "{more}: {}", said(&done));
    }
}

/// Mode and times of what lies outside: Landlock does not see it, and the policy has no path to cover.
#[test]
fn mode_and_times_outside_stay_without_anything_to_cover() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let outside = place.path("outside/secret");
    let script = format!(
        "chmod 777 {0} || touch {0} || echo refused; chmod 700 existing && echo fine",
        outside.display()
    );
    let policy = place.path("plain.yaml");
    let text_of_policy = POLICY
        .lines()
        .filter(|l| !l.contains("name: vault") && *l != "MORE")
        .collect::<Vec<_>>()
        .join("\n");
    std::fs::write(&policy, text_of_policy).unwrap();
    let done = std::process::Command::new(place.path("bin/polc"))
        .args(["run", "-p"])
        .arg(policy)
        .arg("--set")
        .arg(format!("workspace={}", place.path("ws").display()))
        .args(["--", "/bin/sh", "-c", &script])
        .current_dir(place.path("ws"))
        .output()
        .unwrap();
    assert_eq!(text(&done.stdout), "refused\nfine\n", "{}", said(&done));
}

/// Without a network namespace the proxy's port is open on every host: Landlock has no addresses.
#[test]
fn the_proxy_alone_does_not_keep_hosts() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let policy = place.path("ws/hosts.yaml");
    let rules = "version: 1\nname: hosts\ndefault_action: allow\nrules:\n  \
        - {name: net, action: deny, operations: [connect], hosts: [192.0.2.0/24]}\n";
    std::fs::write(&policy, rules).unwrap();
    let run = |options: &[&str]| {
        std::process::Command::new(place.path("bin/polc"))
            .args(["run", "-p"])
            .arg(&policy)
            .args(options)
            .args(["--", "/bin/echo", "started"])
            .current_dir(place.path("ws"))
            .output()
            .unwrap()
    };
    let done = run(&["--require", "safe"]);
    assert_eq!(text(&done.stdout), "started\n", "{}", said(&done));
    let done = run(&["--require", "safe", "--no-namespaces"]);
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    assert!(
        text(&done.stderr).contains("not kept: connect: "),
        "{}",
        said(&done)
    );
    let done = run(&["--no-namespaces", "--explain-start"]);
    assert!(
        text(&done.stderr).contains("is open to every host, not only to the proxy"),
        "{}",
        said(&done)
    );
}
