//! Attempts to reach what the policy denies: by threads that exchange paths in memory and links on disk, and by other
//! entries to the kernel. Afterwards nothing denied was made, read or changed.

use crate::denied::{rules, snapshot};
use crate::place::{Place, Who, is_root, output, policy, possible};
use crate::tool;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// System calls that a policy refuses unless it names them. The attacker gets them.
pub const CALLS: &str = "  - {name: calls, action: allow, syscalls: [unshare, mount, umount2, setns, chroot, pivot_root, open_tree, move_mount, \
    open_by_handle_at, name_to_handle_at, ptrace, process_vm_readv, process_vm_writev, pidfd_open, pidfd_getfd, seccomp, \
    io_uring_setup, io_uring_enter, io_uring_register, setxattrat, removexattrat, file_setattr, kcmp, userfaultfd]}\n";

/// The attacks, how often each runs, and whether it is a race. A race must sometimes succeed and sometimes be refused.
const ATTACKS: &[(&str, usize, bool)] = &[
    ("opens", 20_000, true),
    ("names", 1_000, true),
    ("metadata", 1_000, true),
    ("sockets", 2_000, true),
    ("descriptors", 5_000, true),
    ("directory", 5_000, true),
    ("processes", 5_000, true),
    ("links", 3_000, true),
    ("directories", 3_000, true),
    ("parents", 4_000, false),
    ("ways", 0, false),
    ("entries", 0, false),
    ("namespaces", 0, false),
    ("datagrams", 0, false),
    ("listener", 0, false),
];

/// With the guard and with mounts, which protect reading.
#[test]
fn nothing_denied_is_reached() {
    if possible() {
        attacks(Who::Own, &[], &policy(&rules(CALLS)), 5);
    }
}

/// With the guard and Landlock alone, which protect writing and connecting.
#[test]
fn nothing_denied_is_written_without_namespaces() {
    if possible() {
        let rules = rules(CALLS).replace(
            "[read, write, execute, connect], paths: ['${workspace}/secret",
            "[write, connect], paths: ['${workspace}/secret",
        );
        attacks(Who::Own, &["--no-namespaces"], &policy(&rules), 1);
    }
}

#[test]
fn nothing_denied_is_reached_where_all_else_is_allowed() {
    if possible() {
        let head =
            "version: 1\nname: open\ndefault_action: allow\nsubject: {workspace: auto}\nrules:\n";
        attacks(Who::Own, &[], &format!("{head}{}", rules(CALLS)), 10);
    }
}

#[test]
fn nothing_denied_is_reached_by_an_ordinary_user() {
    if possible() && is_root() {
        attacks(Who::Ordinary, &[], &policy(&rules("")), 10);
    }
}

/// Runs all attacks. Races run with a part of the tries.
fn attacks(who: Who, options: &[&str], policy: &str, part: usize) {
    let readable =
        !policy.contains("[read, write, execute, connect], paths: ['${workspace}/secret");
    let only = std::env::var("POLC_GUARD_ATTACK").ok();
    let place = Place::new(who);
    let program = place.program();
    let mut faults = Vec::new();
    for (attack, count, race) in ATTACKS {
        if only.as_ref().is_some_and(|o| o != attack) {
            continue;
        }
        place.renew();
        let made = output(
            &mut place.bare(&[
                &program,
                "attack",
                "objects",
                if readable { "1" } else { "0" },
            ]),
            20,
        );
        assert!(made.ok(), "{}", made.words());
        let stream = UnixListener::bind(place.path("ws/secret/stream")).unwrap();
        stream.set_nonblocking(true).unwrap();
        let datagram = UnixDatagram::bind(place.path("ws/secret/datagram")).unwrap();
        datagram.set_nonblocking(true).unwrap();
        place.own();
        let before = snapshot(&place);
        let words = [
            program.as_str(),
            "attack",
            attack,
            &(count / part).to_string(),
        ]
        .map(str::to_owned);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let options = [&["-q", "--guard", "require"], options].concat();
        let said = output(&mut place.inside(policy, &options, &words), 100);
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        if !said.ok() || !said.stderr.is_empty() {
            faults.push(format!("{attack}: {}", said.words()));
        }
        faults.extend(
            text.lines()
                .filter(|l| l.starts_with("LEAK") && !(readable && *attack == "ways"))
                .map(|l| format!("{attack}: {l}")),
        );
        let after = snapshot(&place);
        for line in before.difference(&after) {
            faults.push(format!("{attack}: gone: {line}"));
        }
        for line in after.difference(&before) {
            faults.push(format!("{attack}: new: {line}"));
        }
        if stream.accept().is_ok() {
            faults.push(format!("{attack}: connected to `secret/stream`"));
        }
        if datagram.recv(&mut [0; 16]).is_ok() {
            faults.push(format!("{attack}: sent to `secret/datagram`"));
        }
        if *race && !raced(&text) {
            faults.push(format!("{attack}: nothing was raced:\n{text}"));
        }
        eprintln!("{attack}:\n{text}");
    }
    assert!(faults.is_empty(), "{who:?}:\n{}", faults.join("\n"));
}

/// Whether some call was both done and refused. Otherwise no thread changed anything at the right time.
fn raced(text: &str) -> bool {
    text.lines().any(|line| {
        let numbers = line
            .rsplit_once(": ")
            .and_then(|(_, rest)| rest.split_once(" of "));
        numbers.is_some_and(|(done, count)| done != "0" && done != count)
    })
}

/// A right on a directory must not move with it to a place with fewer rights.
#[test]
fn a_moved_directory_takes_no_rights_along() {
    if !possible() {
        return;
    }
    // The inner domain grants something on the directories that the policy names.
    let text = policy(
        "  - {name: vault, action: deny, operations: [write], paths: ['${workspace}/vault/in', '${workspace}/cellar/stage/in']}\n  \
         - {name: named, action: allow, operations: [read, write], paths: ['${workspace}/stage/**', '${workspace}/above/stage/**']}\n",
    );
    for options in [
        &["-q", "--guard", "require"][..],
        &["-q", "--guard", "require", "--no-namespaces"],
    ] {
        let place = Place::new(Who::Own);
        for name in ["ws/stage", "ws/above/stage"] {
            std::fs::create_dir_all(place.path(name)).unwrap();
        }
        let program = place.program();
        let mut command = place.inside(&text, options, &[&program, "attack", "moved", "3000"]);
        let ended = AtomicBool::new(false);
        let said = std::thread::scope(|s| {
            let outside = s.spawn(|| make_outside(&place, &ended));
            let said = output(&mut command, 90);
            ended.store(true, Ordering::Relaxed);
            for (name, contents) in outside.join().unwrap() {
                assert_eq!(
                    contents,
                    "original",
                    "{options:?}: {name}: {}",
                    said.words()
                );
            }
            said
        });
        for name in DENIED {
            assert!(
                !place.path(name).exists(),
                "{options:?}: {name} was made: {}",
                said.words()
            );
        }
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(
            said.ok() && text.contains("in gone: true"),
            "{}",
            said.words()
        );
    }
}

const DENIED: [&str; 2] = ["ws/vault/in", "ws/cellar/stage/in"];

/// Makes denied files in their directories, gives the program time to write to them, and removes them.
fn make_outside(place: &Place, ended: &AtomicBool) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let until = |mut ready: Box<dyn FnMut() -> bool>| {
        while !ended.load(Ordering::Relaxed) && !ready() {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let paths = DENIED.map(|name| (name, place.path(name)));
    for (_, path) in paths.clone() {
        let folder = path.parent().unwrap().to_owned();
        until(Box::new(move || folder.is_dir()));
        drop(std::fs::write(path, "original"));
    }
    let end = Instant::now() + Duration::from_secs(5);
    until(Box::new(move || Instant::now() > end));
    for (name, path) in paths {
        if let Ok(contents) = std::fs::read_to_string(&path) {
            found.push((name, contents));
            drop(std::fs::remove_file(path));
        }
    }
    found
}

/// The supervisor connects for the program. It must reach no more than the program itself could.
#[test]
fn the_supervisor_connects_nowhere_else() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    if !possible() {
        return;
    }
    let outside = SocketAddr::from_abstract_name("polc-guard-outside").unwrap();
    let server = UnixListener::bind_addr(&outside).unwrap();
    server.set_nonblocking(true).unwrap();
    let ports = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    ports.set_nonblocking(true).unwrap();
    let port = ports.local_addr().unwrap().port().to_string();
    let closed = policy("").replace("hosts: ['*']", "hosts: ['127.0.0.2:9']");
    for (options, text) in [
        (&[][..], &closed),
        (&["--no-namespaces"], &closed),
        (&["--no-network"], &policy("")),
        (&["--no-namespaces", "--no-network"], &policy("")),
        (&["--no-namespaces"], &policy("")),
    ] {
        let place = Place::new(Who::Own);
        let program = place.program();
        let open = !text.contains("127.0.0.2") && !options.contains(&"--no-network");
        let options = [&["-q", "--guard", "require"], options].concat();
        let mut command = place.inside(text, &options, &[&program, "attack", "outside", "0"]);
        let said = output(command.env("POLC_GUARD_PORT", &port), 60);
        assert!(
            said.ok() && said.stdout.starts_with(b"abstract stream"),
            "{options:?}: {}",
            said.words()
        );
        assert!(
            server.accept().is_err(),
            "{options:?}: an abstract socket: {}",
            said.words()
        );
        if open {
            // If the policy allows every host, this shows that the test can see a connection.
            assert!(ports.accept().is_ok(), "{}", said.words());
            while ports.accept().is_ok() {}
        } else {
            assert!(
                ports.accept().is_err(),
                "{options:?}: a port: {}",
                said.words()
            );
        }
    }
}

/// Attacks on the supervisor and on polc itself, in a process namespace of the test. So an attack that succeeds ends no
/// other process of this machine.
#[test]
fn the_supervisor_is_out_of_reach() {
    if !possible() || !is_root() {
        return tool::skip("only root makes the process namespace for this");
    }
    let place = Place::new(Who::Own);
    let program = place.program();
    let made = output(&mut place.bare(&[&program, "attack", "objects", "0"]), 20);
    assert!(made.ok(), "{}", made.words());
    let all = rules(CALLS);
    let writes = all.replace("[read, write, execute, connect]", "[write]");
    for (options, rules) in [
        (&["-q", "--guard", "require"][..], &all),
        (&["-q", "--guard", "require", "--no-namespaces"], &writes),
    ] {
        let mut inner = place.inside(
            &policy(rules),
            options,
            &[&program, "attack", "supervisor", "0"],
        );
        inner.env("POLC_GUARD_APART", "1");
        let mut command = std::process::Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        command.arg(inner.get_program()).args(inner.get_args());
        command
            .current_dir(place.path("ws"))
            .env("HOME", place.path("home"))
            .env("POLC_GUARD_APART", "1");
        let said = output(&mut command, 60);
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        eprintln!("{options:?}: {}", said.words());
        assert!(
            text.contains("others that are seen") && text.contains("signal to all"),
            "{}",
            said.words()
        );
        for line in text.lines() {
            assert!(
                !line.ends_with(']') || line.ends_with(": []"),
                "{options:?}: {line}"
            );
        }
    }
}
