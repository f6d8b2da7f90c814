//! What the supervisor does at the end: it tells what was made against the policy, and keeps the clock.

use super::place::{Place, User, have, landlock, said, text};
use std::process::Output;
use std::time::{Duration, Instant};

/// The lines that tell what was made.
fn told(done: &Output) -> Vec<String> {
    let made = "polc: made while the program ran, against the policy: ";
    text(&done.stderr)
        .lines()
        .filter_map(|l| l.strip_prefix(made))
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_was_made_against_the_policy_is_told_and_the_status_stays() {
    if !landlock() || !have("git") {
        return;
    }
    let script = "mkdir -p deep/er && echo x > deep/er/.env && git init -q deep/new \
                  && echo x > deep/new/.git/hooks/pre-commit && echo x > .env.local && echo fine > free; exit 7";
    for options in [&["-q"][..], &["-q", "--no-network"]] {
        let place = Place::new(User::Own);
        let done = place.shell(options, script);
        assert_eq!(done.status.code(), Some(7), "{options:?}: {}", said(&done));
        let told = self::told(&done);
        let line = |what: &str, rule: &str| {
            told.iter()
                .any(|l| l.contains(what) && l.contains(&format!("denied by rule `{rule}` at ")))
        };
        assert!(line("/ws/deep/er/.env`", "credentials/dotenv"), "{told:?}");
        assert!(line("/ws/.env.local`", "credentials/dotenv"), "{told:?}");
        assert!(
            line(
                "/ws/deep/new/.git/hooks/pre-commit`",
                "git-hooks/nested-hooks"
            ),
            "{told:?}"
        );
        // What was there, what may be made, and the samples of git are not told.
        let all = told.join("\n");
        assert_eq!(told.len(), 2, "{all}");
        for other in ["/ws/.env`", "free", ".sample", "polc.yaml"] {
            assert!(!all.contains(other), "{other}: {all}");
        }
        assert!(place.path("ws/deep/er/.env").exists());
        // They are there the next time: covered, and not told again.
        let again = place.shell(
            options,
            "echo y > deep/er/.env || echo y > deep/new/.git/hooks/pre-commit || echo refused",
        );
        assert_eq!(text(&again.stdout), "refused\n", "{}", said(&again));
        assert!(self::told(&again).is_empty(), "{}", said(&again));
    }
}

#[test]
fn what_was_made_against_the_policy_fails_the_run_where_that_was_asked() {
    if !landlock() || !have("git") {
        return;
    }
    let place = Place::new(User::Own);
    for (script, status) in [
        ("echo fine > free", Some(0)),
        ("echo fine > free; exit 7", Some(7)),
        ("echo y > .env; exit 7", Some(7)),
        ("mkdir -p a; echo x > a/.env", Some(3)),
        ("mkdir -p b; echo x > b/.env; exit 7", Some(3)),
        ("mkdir -p c; echo x > c/.env; kill -9 $$", Some(3)),
        // What was made in a run before is there now.
        ("ls a b c", Some(0)),
    ] {
        let done = place.shell(&["-q", "--fail-if-made"], script);
        assert_eq!(done.status.code(), status, "{script}: {}", said(&done));
        assert_eq!(status == Some(3), !told(&done).is_empty(), "{script}");
    }
}

/// Without namespaces nothing covers what is there either: a hook in the directory that was there is told as well.
#[test]
fn what_was_made_without_namespaces_is_told() {
    if !landlock() || !have("git") {
        return;
    }
    let place = Place::new(User::Own);
    let done = place.shell(
        &["-q", "--no-namespaces"],
        "mv .git/hooks .git/away; mkdir .git/hooks; echo x > .git/hooks/pre-commit; exit 3",
    );
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    if place.path("ws/.git/hooks/pre-commit").exists() {
        let told = told(&done).join("\n");
        assert!(
            told.contains("/ws/.git/hooks/pre-commit`"),
            "{}",
            said(&done)
        );
    }
}

const LIMITED: &str = "version: 1
name: limited
subject: {home: /nonexistent, workspace: auto, tmp: /nonexistent}
rules:
  - {name: tree, action: allow, operations: [read, write, execute], paths: [\"${workspace}/**\"]}
  - include: builtin:linux-runtime
  - include: builtin:system-programs
limits: LIMITS
";

fn limited(place: &Place, limits: &str, script: &str) -> Output {
    place.shell_by(&LIMITED.replace("LIMITS", limits), script)
}

/// A process that has gone to another session, and whose parent is gone, that shows that it is alive.
const DAEMON: &str = "setsid sh -c 'setsid sh -c \"while [ ! -e stop ] && date +%N > beat; do sleep 0.05; done\" &' > /dev/null 2>&1 < /dev/null";

/// Whether what shows that it is alive does so no more.
fn quiet(place: &Place) -> bool {
    let beat = || std::fs::read(place.path("ws/beat")).unwrap();
    let before = beat();
    std::thread::sleep(Duration::from_millis(500));
    beat() == before
}

#[test]
fn when_time_is_over_everything_ends() {
    if !landlock() || !have("setsid") {
        return;
    }
    let place = Place::new(User::Own);
    let began = Instant::now();
    let done = limited(
        &place,
        "{wall_time: 2s}",
        &format!("trap '' TERM HUP INT; {DAEMON}; sleep 100 & while :; do :; done"),
    );
    assert_eq!(done.status.code(), Some(124), "{}", said(&done));
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(20)).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    assert!(
        text(&done.stderr).contains("`wall_time` of 2 seconds is over"),
        "{}",
        said(&done)
    );
    assert!(quiet(&place), "a daemon outlives the limit");
}

/// A program that stops stops the part that looks at the clock too; what it had started before would go on for good.
#[test]
fn a_program_that_stops_itself_does_not_stop_the_clock() {
    if !landlock() || !have("setsid") || !have("timeout") {
        return;
    }
    let place = Place::new(User::Own);
    let policy = place.path("own-policy.yaml");
    std::fs::write(&policy, LIMITED.replace("LIMITS", "{wall_time: 2s}")).unwrap();
    let done = std::process::Command::new("timeout")
        .args(["-s", "KILL", "30"])
        .arg(place.path("bin/polc"))
        .args(["run", "-p"])
        .arg(policy)
        .arg("--set")
        .arg(format!("workspace={}", place.path("ws").display()))
        .args(["--", "/bin/sh", "-c", &format!("{DAEMON}; kill -STOP $$")])
        .current_dir(place.path("ws"))
        .output()
        .unwrap();
    let quiet = quiet(&place);
    std::fs::write(place.path("ws/stop"), "").unwrap();
    assert_eq!(done.status.code(), Some(124), "{}", said(&done));
    assert!(quiet, "a daemon outlives the limit");
}

#[test]
fn before_time_is_over_the_status_is_the_program_s_and_daemons_end_with_it() {
    if !landlock() || !have("setsid") {
        return;
    }
    let place = Place::new(User::Own);
    let script = format!("{DAEMON}; sleep 0.5; exit 5");
    let done = limited(&place, "{wall_time: 100s}", &script);
    assert_eq!(done.status.code(), Some(5), "{}", said(&done));
    assert!(quiet(&place), "a daemon outlives the limit");
    let done = limited(&place, "{}", &script);
    assert_eq!(done.status.code(), Some(5), "{}", said(&done));
    assert!(quiet(&place), "a daemon outlives the run");
    // Without polc it lives on: the test can fail.
    let free = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .current_dir(place.path("ws"))
        .status();
    assert_eq!(free.unwrap().code(), Some(5));
    let lives = !quiet(&place);
    std::fs::write(place.path("ws/stop"), "").unwrap();
    assert!(lives);
}

/// What no control group holds is said; where there is one that may be used, the program is in it, and it goes away.
#[test]
fn limits_of_the_whole_program_are_held_or_said_not_to_be() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let done = limited(
        &place,
        "{cpus: 0.5, memory: 512MiB, processes: 64}",
        "cat /proc/self/cgroup",
    );
    assert!(done.status.success(), "{}", said(&done));
    let (inside, message) = (text(&done.stdout), text(&done.stderr));
    let group = inside
        .lines()
        .find_map(|l| l.strip_prefix("0::"))
        .filter(|l| l.contains("/polc-"));
    match group {
        Some(_) => assert!(
            message.contains("cpus") && message.contains("by a control group"),
            "{message}"
        ),
        None => assert!(
            message.contains("limits.cpus") && message.contains("nothing on this host enforces it"),
            "{message}"
        ),
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for line in mounts.lines().filter(|l| l.contains(" - cgroup2 ")) {
        let point = line.split(' ').nth(4).unwrap();
        if let Some(group) = group {
            assert!(!std::path::Path::new(&format!("{point}{group}")).exists());
        }
    }
}

/// What polc cannot know is not told as if nothing had been refused; what it knows without privileges is.
#[test]
fn an_ordinary_user_is_told_what_is_known_and_what_is_not() {
    if !landlock() {
        return;
    }
    let user = if super::place::is_root() {
        User::Nobody
    } else {
        User::Own
    };
    let place = Place::new(user);
    let done = place.shell(&["-q", "--explain"], "cat .env; cat ../outside/secret");
    let message = text(&done.stderr);
    let told = message.split_once("polc: what was refused\n").unwrap().1;
    assert!(!told.contains("nothing is known"), "{message}");
    for part in [
        "hosts: nothing, as far as polc's proxy was asked",
        "files, programs, system calls: not known: ",
        "`polc explain OPERATION OBJECT`",
        "/ws/.env`: read is denied by rule `credentials/dotenv` at ",
    ] {
        assert!(told.contains(part), "{part}: {message}");
    }
    // Nothing covers anything without namespaces.
    let options = ["-q", "--explain", "--no-namespaces", "--allow-gaps"];
    let done = place.shell(&options, "true");
    assert!(
        !text(&done.stderr).contains("covered by a mount"),
        "{}",
        said(&done)
    );
}
