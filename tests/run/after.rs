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

/// Without the guard: with it nothing is made against the policy.
#[test]
fn what_was_made_against_the_policy_is_told_and_the_status_stays() {
    if !landlock() || !have("git") {
        return;
    }
    let script = "mkdir -p deep/er && echo x > deep/er/.env && git init -q deep/new \
                  && echo x > deep/new/.git/hooks/pre-commit && echo x > .env.local && echo fine > free; exit 7";
    for options in [
        &["-q", "--guard", "off"][..],
        &["-q", "--guard", "off", "--no-network"],
    ] {
        let place = Place::new(User::Own);
        let done = place.shell(options, script);
        assert_eq!(done.status.code(), Some(7), "{options:?}: {}", said(&done));
        let told = self::told(&done);
        let line = |what: &str, rule: &str| {
            let todo = "; look at it, or remove it, before a program outside uses it";
            let by = format!("denied by rule `{rule}` at ");
            told.iter()
                .any(|l| l.contains(what) && l.contains(&by) && l.ends_with(todo))
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

/// The same names by default: each is refused, and at the end the rule is named.
#[test]
fn what_the_policy_denies_is_not_made_and_told() {
    if !landlock() || !have("git") {
        return;
    }
    for user in super::git::users() {
        let place = Place::new(*user);
        let script = "mkdir -p deep/er; git init -q deep/new && echo x > free
            (echo x > deep/er/.env); (echo x > deep/new/.git/hooks/pre-commit); (echo x > .env.local); exit 7";
        let done = place.shell(&["--fail-if-made"], script);
        assert_eq!(done.status.code(), Some(7), "{user:?}: {}", said(&done));
        assert!(told(&done).is_empty() && place.path("ws/free").exists());
        let message = text(&done.stderr);
        for (name, rule) in [
            ("deep/er/.env", "credentials/dotenv"),
            ("deep/new/.git/hooks/pre-commit", "git-hooks/nested-hooks"),
            (".env.local", "credentials/dotenv"),
        ] {
            let named = format!("create `{}`", place.path("ws").join(name).display());
            let line = message
                .lines()
                .find(|l| l.starts_with("polc: refused: ") && l.contains(&named));
            let by = format!("denied by rule `{rule}` at ");
            assert!(line.is_some_and(|l| l.contains(&by)), "{name}: {message}");
            assert!(!place.path("ws").join(name).exists(), "{name}");
        }
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
        let done = place.shell(&["-q", "--guard", "off", "--fail-if-made"], script);
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
const DAEMON: &str = "setsid sh -c 'setsid sh -c \"for n in \\$(seq 1200); do [ ! -e stop ] && date +%N > beat || exit; sleep 0.05; done\" &' > /dev/null 2>&1 < /dev/null";

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

/// polc names the limits that no cgroup enforces. If polc may use one, the program is in it, and polc removes it at the
/// end.
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

/// Somebody whom modes of directories bind.
fn bound() -> Place {
    let root = super::place::is_root();
    Place::new(if root { User::Nobody } else { User::Own })
}

fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A directory from which the program takes the right to list it hides nothing, and keeps its mode.
#[test]
fn what_was_made_in_a_directory_that_cannot_be_listed_is_told() {
    if !landlock() {
        return;
    }
    for (script, closed, made) in [
        (
            "mkdir .vscode; echo x > .vscode/tasks.json; chmod 311 .vscode .",
            "ws",
            "/ws/.vscode`",
        ),
        (
            "mkdir -p t/er; echo x > t/er/.env; chmod 0 t/er; chmod 111 t",
            "ws/t",
            "/ws/t/er/.env`",
        ),
        (
            "echo x > .git/commondir; chmod 311 .git",
            "ws/.git",
            "/ws/.git/commondir`",
        ),
    ] {
        let place = bound();
        let done = place
            .polc(&["-q", "--guard", "off", "--fail-if-made"], false)
            .args(["/bin/sh", "-c", script])
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(3), "{script}: {}", said(&done));
        let told = told(&done).join("\n");
        assert!(told.contains(made), "{script}: {}", said(&done));
        assert_ne!(mode(&place.path(closed)) & 0o400, 0o400, "{script}");
        std::process::Command::new("chmod")
            .args(["-R", "u+rwx"])
            .arg(place.path("ws"))
            .status()
            .unwrap();
    }
}

/// What polc could not see at the start is not said to be made.
#[test]
fn what_may_have_been_there_is_not_said_to_be_made() {
    use std::os::unix::fs::PermissionsExt;
    if !landlock() {
        return;
    }
    let place = bound();
    std::fs::create_dir(place.path("ws/u")).unwrap();
    std::fs::create_dir(place.path("ws/u/v")).unwrap();
    std::fs::write(place.path("ws/u/v/.env"), "").unwrap();
    place.own_all();
    let closed = std::fs::Permissions::from_mode(0o311);
    std::fs::set_permissions(place.path("ws/u"), closed).unwrap();
    let mut child = place
        .polc(&["-q", "--guard", "off"], false)
        .args(["/bin/sh", "-c", "touch started; sleep 3"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !place.path("ws/started").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path("ws/u"), open).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert!(told(&done).is_empty(), "{}", said(&done));
    assert!(
        text(&done.stderr).contains("could not list at the start: `")
            && text(&done.stderr).contains("/ws/u/v/.env`"),
        "{}",
        said(&done)
    );
}

/// Many names of one rule hide none of another directory, and `--explain` names all; a path as long as a page is cut.
#[test]
fn many_names_do_not_hide_the_one_that_matters() {
    if !landlock() {
        return;
    }
    let script =
        "mkdir -p a/z; for i in $(seq 100 160); do echo x > a/.env.$i; done; echo x > a/z/.env
        n=$(printf 'n%.0s' $(seq 200)); mkdir -p d/$n/$n/$n; echo x > d/$n/$n/$n/.env";
    let place = Place::new(User::Own);
    let done = place.shell(&["-q", "--guard", "off"], script);
    let line = told(&done).join("\n");
    assert!(line.contains("/ws/a/z/.env`"), "{}", said(&done));
    assert!(
        line.contains("more beneath `") && line.contains("/ws/a` (`--explain` names all)"),
        "{line}"
    );
    assert!(
        line.contains('…') && !line.contains(&"n".repeat(201)),
        "{line}"
    );
    let place = Place::new(User::Own);
    let done = place.shell(&["-q", "--guard", "off", "--explain"], script);
    let line = told(&done).join("\n");
    for i in 100..=160 {
        assert!(line.contains(&format!("/ws/a/.env.{i}`")), "{i}: {line}");
    }
}

/// `git status` of the outer repository obeys the configuration of an inner one.
#[test]
fn a_new_configuration_that_names_programs_is_told() {
    if !landlock() || !have("git") {
        return;
    }
    let nested = "mkdir n; cd n; git init -q; cp .git/config c; git config -f c core.fsmonitor 'sh -c id'; cat c > .git/config";
    let led_away = "mkdir n; git init -q --bare store; cp store/config c; git config -f c alias.st '!sh'; cat c > store/config
        echo 'gitdir: ../store' > n/.git";
    let fine = "git init -q n; git clone -q n m 2>/dev/null; cd n; git commit -q --allow-empty -m x; git worktree add -q ../w";
    for (script, told_of) in [
        (nested, Some("`core.fsmonitor=sh -c id` in `")),
        (led_away, Some("`alias.st=!sh` in `")),
        (fine, None),
    ] {
        let place = Place::new(User::Own);
        let done = place.shell(&["-q", "--fail-if-made"], script);
        let told = told(&done).join("\n");
        match told_of {
            Some(what) => {
                assert_eq!(done.status.code(), Some(3), "{}", said(&done));
                assert!(told.contains(what), "{}", said(&done));
            }
            None => assert!(told.is_empty() && done.status.success(), "{}", said(&done)),
        }
        // What was there is not told again.
        let done = place.shell(&["-q", "--fail-if-made"], "true");
        assert!(done.status.success(), "{}", said(&done));
    }
}
