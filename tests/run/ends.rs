//! How it starts and how it ends: status, signals, environment, limits, messages.

use super::place::{Place, User, have, landlock, said, text};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

#[test]
fn the_status_is_the_program_s() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    for options in [
        &["-q"][..],
        &["-q", "--no-network"],
        &["-q", "--no-namespaces"],
    ] {
        assert_eq!(
            place.shell(options, "exit 7").status.code(),
            Some(7),
            "{options:?}"
        );
        let killed = place.shell(options, "kill -TERM $$");
        assert_eq!(
            killed.status.signal(),
            Some(15),
            "{options:?}: {}",
            said(&killed)
        );
        let done = place.shell(options, "true");
        assert!(
            done.status.success() && done.stderr.is_empty(),
            "{options:?}: {}",
            said(&done)
        );
    }
}

#[test]
fn what_may_not_start_does_not() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let done = place
        .polc(&[], true)
        .args(["git", "push", "origin"])
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(126), "{}", said(&done));
    let message = text(&done.stderr);
    assert!(
        message.contains("rule `publish` at builtin:coding-agent:"),
        "{message}"
    );
    let done = place
        .polc(&[], true)
        .arg("no-such-program-here")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(127), "{}", said(&done));
}

#[test]
fn four_lines_say_what_is_in_force_and_what_is_not() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let done = place.shell(&["--no-network"], "true");
    let message = text(&done.stderr);
    let lines: Vec<&str> = message.lines().collect();
    let first = format!(
        "polc: policy builtin:coding-agent; workspace {}",
        place.path("ws").display()
    );
    // A fourth one is advice about this environment.
    let [policy, in_force, not_kept, ..] = lines.as_slice() else {
        panic!("{message}");
    };
    assert!(lines.len() <= 4, "{message}");
    assert_eq!(*policy, first);
    for word in [
        "in force: files and programs",
        "system calls",
        "no network",
        "no capabilities",
        "limits",
    ] {
        assert!(in_force.contains(word), "{word}: {message}");
    }
    assert!(
        in_force.contains("; writes by their paths; ")
            && not_kept.contains("not kept: the program can ")
            && not_kept.ends_with("(`--explain-start` says why)"),
        "{message}"
    );
    // What does not exist cannot be protected without the guard, and it is said.
    let missing = "make protected files that do not exist yet";
    assert!(!message.contains(missing), "{message}");
    let off = place.shell(&["--no-network", "--guard", "off"], "true");
    let off = text(&off.stderr);
    assert!(
        off.contains(&format!("not kept: the program can {missing}; ")),
        "{off}"
    );
    let not_there = "\n  a file that does not exist at start cannot be protected. ";
    let by_path = "\n  each call that writes, and each connection to a unix socket, by its path, by the guard\n";
    for (guard, has, has_not) in [("auto", by_path, not_there), ("off", not_there, by_path)] {
        let options = ["--no-network", "--explain-start", "--guard", guard];
        let message = text(&place.shell(&options, "true").stderr);
        for line in [
            "polc: in force:\n  files and programs, by Landlock (ABI ",
            "\n  system calls, by seccomp\n",
            "polc: not kept in every case:\n",
            has,
        ] {
            assert!(message.contains(line), "{line}: {message}");
        }
        assert!(!message.contains(has_not), "{has_not}: {message}");
    }
    let quiet = place.shell(&["--no-network", "-q"], "true");
    assert_eq!(text(&quiet.stderr), "");
    // Colours come when they are asked for.
    let coloured = place.shell(&["--no-network", "--color", "always"], "true");
    let coloured = text(&coloured.stderr);
    assert!(
        coloured.starts_with("\x1b[1mpolc:\x1b[0m policy "),
        "{coloured:?}"
    );
}

#[test]
fn the_environment_is_reduced() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let mut command = place.polc(&["-q", "--no-network"], true);
    command.env("GITHUB_TOKEN", "secret").env("LANG", "C.UTF-8");
    let done = command.args(["/usr/bin/env"]).output().unwrap();
    let got = text(&done.stdout);
    assert!(
        got.contains("LANG=C.UTF-8") && !got.contains("TOKEN"),
        "{got}"
    );
}

#[test]
fn limits_hold() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let done = place.shell(&["-q"], "ulimit -n; ulimit -Hn; ulimit -t");
    // As builtin:coding-agent says: 4096 files, four hours.
    assert_eq!(text(&done.stdout), "4096\n4096\n14400\n", "{}", said(&done));
    let done = place.shell(
        &["-q"],
        "grep -E '^(CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status",
    );
    let got = text(&done.stdout);
    assert!(
        got.contains("NoNewPrivs:\t1") && got.contains("Seccomp:\t2"),
        "{got}"
    );
    for line in got
        .lines()
        .filter(|l| l.starts_with("CapPrm") || l.starts_with("CapEff") || l.starts_with("CapAmb"))
    {
        assert!(line.ends_with("\t0000000000000000"), "{got}");
    }
}

#[test]
fn signals_reach_the_program() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    for options in [&["-q"][..], &["-q", "--no-network"]] {
        let mut child = place
            .polc(options, true)
            .args([
                "/bin/sh",
                "-c",
                "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        // SAFETY: takes numbers; the child has not been waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        assert_eq!(child.wait().unwrap().code(), Some(9), "{options:?}");
    }
}

/// A terminal: what is typed arrives, Ctrl-C stops the program and not the shell, jobs can be stopped and continued.
#[test]
fn a_terminal_stays_usable() {
    if !landlock() || !have("python3") || !have("bash") {
        return;
    }
    const DRIVER: &str = r#"
import os, pty, select, sys, time
def session(words):
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    seen = b""
    def until(what):
        nonlocal seen
        end = time.time() + 20
        while what not in seen:
            if time.time() > end or not select.select([fd], [], [], 20)[0]:
                print("waited in vain for", what, "and saw", seen); sys.exit(1)
            seen += os.read(fd, 4096)
        seen = seen.split(what, 1)[1]
    os.write(fd, b"PS1=; echo re''ady\n"); until(b"ready")
    os.write(fd, b"sleep 100\n"); time.sleep(0.7)
    os.write(fd, b"\x03"); time.sleep(0.2)
    os.write(fd, b"echo st''atus $?\n"); until(b"status 130")
    os.write(fd, b"sleep 100\n"); time.sleep(0.7)
    os.write(fd, b"\x1a"); until(b"Stopped")
    os.write(fd, b"kill %1; wait; seq 3 | sort -r | tr '\\n' +; exit 5\n"); until(b"3+2+1+")
    while True:
        try:
            if not os.read(fd, 4096): break
        except OSError:
            break
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print("ended", session(sys.argv[1:]))
"#;
    let place = Place::new(User::Own);
    for options in [&["-q"][..], &["-q", "--no-network"]] {
        let inner = place.polc(options, true);
        let mut command = std::process::Command::new("python3");
        command
            .arg("-c")
            .arg(DRIVER)
            .arg(inner.get_program())
            .args(inner.get_args());
        command.args(["/bin/bash", "--norc", "--noprofile", "-i"]);
        command
            .current_dir(place.path("ws"))
            .env("TMPDIR", place.path("tmp"));
        let done = command.output().unwrap();
        assert!(
            text(&done.stdout).contains("ended 5"),
            "{options:?}: {}",
            said(&done)
        );
    }
}

/// A job that the terminal stops stops once, and a terminal that goes away ends the program, also where `polc` is what it
/// was opened for.
#[test]
fn a_job_goes_on_at_the_first_word_and_ends_with_its_terminal() {
    if !landlock() || !have("python3") || !have("bash") {
        return;
    }
    const DRIVER: &str = r#"
import os, pty, select, shlex, sys, time
def begin(words):
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(words[0], words)
    return pid, fd
def until(fd, what):
    seen, end = b"", time.time() + 20
    while what not in seen:
        if time.time() > end or not select.select([fd], [], [], 20)[0]:
            print("waited in vain for", what, "and saw", seen); sys.exit(1)
        seen += os.read(fd, 4096)
def run(script): return sys.argv[1:] + ["/bin/sh", "-c", script]
# Each time anew: who is stopped first is chance. A shell that starts a program cannot be stopped until that has begun, so it
# starts none.
for _ in range(5):
    pid, fd = begin(["bash", "--norc", "--noprofile", "-i"])
    job = " ".join(map(shlex.quote, run("echo be''gun; read line; echo fi''nished")))
    os.write(fd, b"PS1=; " + job.encode() + b"\n"); until(fd, b"begun")
    os.write(fd, b"\x1a"); until(fd, b"Stopped")
    os.write(fd, b"fg\n"); time.sleep(0.3)
    os.write(fd, b"on\n"); until(fd, b"finished")
    os.write(fd, b"exit\n")
    os.close(fd)
    os.waitpid(pid, 0)
pid, fd = begin(run("echo be''gun; exec sleep 100"))
until(fd, b"begun")
os.close(fd)
end = time.time() + 20
while time.time() < end:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        print("ended", os.waitstatus_to_exitcode(status)); sys.exit(0)
    time.sleep(0.05)
os.kill(pid, 9)
print("goes on without its terminal")
"#;
    let place = Place::new(User::Own);
    let inner = place.polc(&["-q"], true);
    let done = std::process::Command::new("python3")
        .arg("-c")
        .arg(DRIVER)
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(place.path("ws"))
        .env("TMPDIR", place.path("tmp"))
        .output()
        .unwrap();
    assert_eq!(text(&done.stdout), "ended -1\n", "{}", said(&done));
}

#[test]
fn a_program_that_lets_its_parent_trace_it_goes_on() {
    if !landlock() || !have("python3") {
        return;
    }
    let place = Place::new(User::Own);
    // PTRACE_TRACEME, in the program, in a thread of it, and once more; then a signal, and another program.
    std::fs::write(
        place.path("ws/traced.py"),
        "import ctypes, os, signal, sys, threading
trace = ctypes.CDLL(None, use_errno=True).ptrace
got = []
signal.signal(signal.SIGUSR1, lambda *a: got.append(1))
for _ in range(2):
    assert trace(0, 0, 0, 0) == 0
    os.kill(os.getpid(), signal.SIGUSR1)
def other():
    assert trace(0, 0, 0, 0) == 0
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
thread = threading.Thread(target=other)
thread.start()
thread.join()
print(len(got), flush=True)
assert trace(0, 0, 0, 0) == 0
os.execv('/bin/sh', ['sh', '-c', 'echo another; kill -TERM $$'])
",
    )
    .unwrap();
    let policy = "version: 1
name: traced
subject: {home: auto, workspace: auto, tmp: auto}
rules:
  - include: builtin:linux-runtime
  - include: builtin:system-programs
  - {name: here, action: allow, operations: [read], paths: ['${workspace}/**']}
  - {name: trace, action: allow, syscalls: [ptrace]}
";
    let done = place.shell_by(policy, "exec python3 traced.py");
    assert_eq!(text(&done.stdout), "3\nanother\n", "{}", said(&done));
    assert_eq!(done.status.signal(), Some(15), "{}", said(&done));
}
