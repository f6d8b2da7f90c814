//! What other programs of the same user have: their sockets, processes, shared memory and terminals.

use super::git::users;
use super::place::{Place, User, have, landlock, said, text};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The same program without polc, as the same user.
fn bare(place: &Place, words: &[&str]) -> Output {
    use std::os::unix::process::CommandExt;
    let mut c = Command::new(words[0]);
    c.args(&words[1..])
        .current_dir(place.path("ws"))
        .env("TMPDIR", place.path("tmp"))
        .stdin(Stdio::null());
    if place.user == User::Nobody {
        c.uid(65534).gid(65534);
    }
    c.output().unwrap()
}

/// A process that is killed when the test is done with it.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Somebody who gives a key to whoever connects.
fn key_server(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = connection.unwrap().write_all(b"the key");
        }
    });
}

/// A path in a directory of the host that every program of the user shares.
struct InShared(PathBuf);

impl InShared {
    fn new(folder: &str, place: &Place, name: &str) -> Self {
        let unique = place.path("").file_name().unwrap().to_owned();
        let unique = unique.into_string().unwrap();
        Self(Path::new(folder).join(format!("{unique}-{name}")))
    }
}

impl Drop for InShared {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const ASK: &str = r#"
import os, socket, sys, time
if sys.argv[1] == "wait":
    open("running", "w").close()
    end = time.time() + 30
    while not os.path.exists("go") and time.time() < end: time.sleep(0.02)
for path in sys.argv[2:]:
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(path); print(s.recv(10).decode())
    except OSError as e: print("refused")
own = os.environ["TMPDIR"] + "/own"
l = socket.socket(socket.AF_UNIX); l.bind(own); l.listen()
socket.socket(socket.AF_UNIX).connect(own)
print("own socket works")
"#;

#[test]
fn sockets_of_others_in_temporary_directories_are_not_reached() {
    if !landlock() || !have("python3") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        let early = [
            InShared(place.path("tmp/early")),
            InShared::new("/tmp", &place, "early"),
            InShared::new("/var/tmp", &place, "early"),
        ];
        // Where a container engine listens, once it is started.
        std::fs::create_dir_all(place.path("home/.docker/run")).unwrap();
        place.own_all();
        let late = [
            InShared(place.path("tmp/late")),
            InShared::new("/tmp", &place, "late"),
            InShared(place.path("home/.docker/run/docker.sock")),
        ];
        early.iter().for_each(|p| key_server(&p.0));
        let paths: Vec<&str> = early
            .iter()
            .chain(&late)
            .map(|p| p.0.to_str().unwrap())
            .collect();
        let mut words = vec!["/usr/bin/python3", "-c", ASK, "now"];
        words.extend(&paths[..3]);
        let free = bare(&place, &words);
        assert_eq!(
            text(&free.stdout).matches("the key").count(),
            3,
            "{}",
            said(&free)
        );
        std::fs::remove_file(place.path("tmp/own")).unwrap();

        let mut run = place.polc(&["--explain-start"], true);
        run.args(["/usr/bin/python3", "-c", ASK, "wait"])
            .args(&paths);
        let child = run.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        until("the program", || place.path("ws/running").exists());
        late.iter().for_each(|p| key_server(&p.0));
        std::fs::write(place.path("ws/go"), "").unwrap();
        let done = child.wait_with_output().unwrap();
        let expected = "refused\n".repeat(6) + "own socket works\n";
        assert_eq!(text(&done.stdout), expected, "{user:?}: {}", said(&done));
        // Without the guard what is made elsewhere later is reached, and that is said.
        let later = "unix socket that another program makes later outside";
        let before = text(&done.stderr);
        assert!(!before.contains(later), "{before}");
        let mut off = place.polc(&["--explain-start", "--guard", "off"], true);
        let before = text(&off.arg("/bin/true").output().unwrap().stderr);
        assert!(before.contains(later), "{before}");

        let mut shared = place.polc(&["--share-tmp", "--explain-start"], true);
        let done = shared.args(&words).output().unwrap();
        assert!(text(&done.stdout).contains("the key"), "{}", said(&done));
        let before = text(&done.stderr);
        let named = before.lines().find(|l| l.contains("in reach")).unwrap();
        assert!(paths[..3].iter().any(|p| named.contains(p)), "{named}");
        // Nobody is told of a /tmp that the program does not have.
        assert!(
            before.contains("with `--share-tmp` `/tmp`, `/var/tmp`"),
            "{before}"
        );
        assert!(
            !before.contains("/tmp and terminals of its own"),
            "{before}"
        );
    }
}

const ABSTRACT: &str = "import socket, sys\n\
    s = socket.socket(socket.AF_UNIX); s.connect('\\0' + sys.argv[1]); print('connected')";

#[test]
fn abstract_sockets_of_others_are_not_reached() {
    use std::os::linux::net::SocketAddrExt;
    if !landlock() || !have("python3") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        let name = format!("polc-test-{}-{user:?}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let _listener = UnixListener::bind_addr(&address).unwrap();
        let words = ["/usr/bin/python3", "-c", ABSTRACT, &name];
        assert_eq!(text(&bare(&place, &words).stdout), "connected\n");
        let done = place.polc(&["-q"], true).args(words).output().unwrap();
        assert!(
            !done.status.success() && done.stdout.is_empty(),
            "{}",
            said(&done)
        );
    }
}

const MEMORY: &str = r#"
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
def old(make):
    number = libc.shmget(int(sys.argv[2]), 4096, 0o1666 if make else 0o666)
    if number < 0: raise OSError(ctypes.get_errno(), "")
    return number, libc.shmat(number, None, 0)
if sys.argv[1] == "make":
    number, at = old(True); ctypes.memmove(at, b"secret", 7)
    open(sys.argv[3], "w").write("secret\n")
    print("made", flush=True); sys.stdin.read(); libc.shmctl(number, 0, None)
else:
    for ask in (lambda: ctypes.string_at(old(False)[1]).decode(), lambda: open(sys.argv[3]).read().strip()):
        try: print(ask())
        except OSError as e: print("refused")
"#;

#[test]
fn shared_memory_of_others_is_not_reached() {
    if !landlock() || !have("python3") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        let key = format!("{}", 0x504f_0000 + std::process::id() % 0xffff);
        let file = InShared::new("/dev/shm", &place, "shared");
        let file = file.0.to_str().unwrap();
        let words = |what| ["/usr/bin/python3", "-c", MEMORY, what, &key, file].map(str::to_owned);
        let mut host = Command::new("/usr/bin/python3");
        let host = host.args(&words("make")[1..]);
        if *user == User::Nobody {
            std::os::unix::process::CommandExt::uid(host, 65534);
        }
        let host = host.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut host = Background(host.spawn().unwrap());
        std::io::Read::read_exact(host.0.stdout.as_mut().unwrap(), &mut [0; 5]).unwrap();
        let look = words("look");
        let look: Vec<&str> = look.iter().map(String::as_str).collect();
        assert_eq!(text(&bare(&place, &look).stdout), "secret\nsecret\n");
        let done = place.polc(&["-q"], true).args(&look).output().unwrap();
        assert_eq!(text(&done.stdout), "refused\nrefused\n", "{}", said(&done));
        // The host's goes away with its maker.
        drop(host.0.stdin.take());
        host.0.wait().unwrap();
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn processes_of_others_are_not_seen() {
    if !landlock() {
        return;
    }
    let all = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
    for user in users() {
        let place = Place::new(*user);
        let mut sleep = Command::new("sleep");
        let sleep = sleep.args(["98", "0.76543"]).stdin(Stdio::null());
        if *user == User::Nobody {
            std::os::unix::process::CommandExt::uid(sleep, 65534);
        }
        let _victim = Background(sleep.spawn().unwrap());
        let free = bare(&place, &["/bin/sh", "-c", all]);
        assert!(text(&free.stdout).contains("0.76543"));
        let done = place.shell(&["-q"], all);
        let seen = text(&done.stdout);
        assert!(
            !seen.contains("0.76543") && seen.contains("/bin/sh"),
            "{}",
            said(&done)
        );
        // Nor polc's own words, in the first process of the namespace; and that one can be neither read nor ended.
        assert!(!seen.contains("builtin:coding-agent"), "{seen}");
        let done = place.shell(
            &["-q"],
            "cat /proc/1/environ; ls -A /proc/1/fd; ls /proc/1/cwd/; kill -9 1; kill -9 -1; sleep 0.1; grep -E 'Cap(Prm|Eff|Amb)' /proc/1/status",
        );
        let zero = |name| format!("{name}:\t0000000000000000\n");
        let expected = zero("CapPrm") + &zero("CapEff") + &zero("CapAmb");
        assert_eq!(text(&done.stdout), expected, "{}", said(&done));
    }
}

/// A daemon that writes as long as it lives.
const DAEMON: &str = "setsid sh -c 'setsid sh -c \"while :; do echo x >> alive; sleep 0.05; done\" &' \
    >/dev/null 2>&1 </dev/null; while ! test -s alive; do sleep 0.02; done; ";

/// Whether nothing writes any more.
fn is_over(place: &Place) -> bool {
    let length = || std::fs::metadata(place.path("ws/alive")).unwrap().len();
    let before = length();
    std::thread::sleep(Duration::from_millis(300));
    length() == before
}

#[test]
fn what_is_left_running_ends_with_the_run() {
    if !landlock() || !have("setsid") {
        return;
    }
    for user in users() {
        for options in [&[][..], &["--no-namespaces"]] {
            let place = Place::new(*user);
            std::fs::write(place.path("ws/alive"), "").unwrap();
            place.own_all();
            let done = place.shell(options, &format!("{DAEMON} exit 7"));
            assert_eq!(done.status.code(), Some(7), "{}", said(&done));
            assert!(is_over(&place), "{user:?} {options:?}");
            let told = text(&done.stderr).contains("left running");
            assert_eq!(told, !options.is_empty(), "{}", said(&done));
        }
    }
}

#[test]
fn all_ends_with_a_supervisor_that_is_killed() {
    if !landlock() || !have("setsid") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        std::fs::write(place.path("ws/alive"), "").unwrap();
        place.own_all();
        let mut run = place.polc(&["-q"], true);
        let run = run.args([
            "/bin/sh",
            "-c",
            &format!("{DAEMON} touch existing2 2>&-; sleep 100"),
        ]);
        let mut run = run.spawn().unwrap();
        until("the daemon", || {
            std::fs::metadata(place.path("ws/alive")).is_ok_and(|m| m.len() > 6)
        });
        run.kill().unwrap();
        run.wait().unwrap();
        until("the end", || is_over(&place));
    }
}

/// Two pseudo terminals: polc is started from one, and the other is somebody else's.
const TERMINALS: &str = r#"
import fcntl, os, pty, select, signal, struct, sys, termios, time
other, theirs = pty.openpty()
name = os.ttyname(theirs)
os.chmod(name, 0o666)
inside = r'''
import errno, fcntl, os, signal, struct, sys, termios
other, control = sys.argv[1], sys.argv[2]
def attempt(what, f):
    try: print(what, f(), flush=True)
    except OSError as e: print(what, errno.errorcode[e.errno], flush=True)
def steal():
    fd = os.open(other, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    os.write(fd, b"written by the program")
    return os.read(fd, 100)
attempt("other", steal)
if control == "free": sys.exit()
attempt("name", lambda: os.ttyname(0))
attempt("by-name", lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)))
attempt("session", lambda: os.close(os.open("/dev/tty", os.O_RDWR)))
attempt("again", lambda: open("/dev/stdout", "w").write(""))
attempt("type", lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"))
attempt("new", lambda: os.ttyname(os.openpty()[1]).startswith("/dev/pts/"))
def size(*_): os.write(1, b"size %d\n" % os.get_terminal_size(0).columns)
signal.signal(signal.SIGWINCH, size)
size()
print("line", sys.stdin.readline().strip(), flush=True)
print("line", sys.stdin.readline().strip(), flush=True)
'''
def session(words, control):
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(words[0], words + ["/usr/bin/python3", "-c", inside, name, control])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen = b""
    def until(what):
        nonlocal seen
        end = time.time() + 30
        while what not in seen:
            try:
                if time.time() > end or not select.select([fd], [], [], 30)[0]: raise OSError
                seen += os.read(fd, 4096)
            except OSError:
                print("waited in vain for", what, "and saw", seen); sys.exit(1)
    if control != "free":
        until(b"size 80")
        os.write(fd, b"one\n"); until(b"line one")
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0)); until(b"size 90")
        os.write(fd, b"two\n"); until(b"line two")
    try:
        while True:
            more = os.read(fd, 4096)
            if not more: break
            seen += more
    except OSError: pass
    print(seen.decode().replace("\r\n", "\n"))
    print(control, "ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
def written():
    got = b""
    while select.select([other], [], [], 0.2)[0]: got += os.read(other, 100)
    return got
os.write(other, b"typed\n")
written()
session(sys.argv[1:], "confined")
print("written", written())
print("still typed", os.read(theirs, 100))
os.write(other, b"typed\n")
written()
session(["env"], "free")
print("written unconfined", written())
"#;

#[test]
fn other_terminals_are_out_of_reach_and_the_own_one_works() {
    if !landlock() || !have("python3") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        let inner = place.polc(&["-q"], true);
        let mut driver = Command::new("/usr/bin/python3");
        driver
            .arg("-c")
            .arg(TERMINALS)
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(place.path("ws"))
            .env("TMPDIR", place.path("tmp"));
        if *user == User::Nobody {
            std::os::unix::process::CommandExt::uid(&mut driver, 65534);
            std::os::unix::process::CommandExt::gid(&mut driver, 65534);
        }
        let done = driver.output().unwrap();
        let got = text(&done.stdout);
        for line in [
            "other ENOENT",
            "name /dev/pts/",
            "by-name None",
            "session None",
            "again 0",
            "type EPERM",
            "new True",
            "size 90",
            "confined ended 0",
            "written b''",
            "still typed b'typed\\n'",
            // Or the test could not fail.
            "other b'typed\\n'",
            "written unconfined b'written by the program'",
        ] {
            assert!(got.contains(line), "{user:?}: {line}: {}", said(&done));
        }
    }
}

const SERVER: &str = r#"
import errno, socket, sys
for port in map(int, sys.argv[2:]):
    try:
        s = socket.socket(); s.bind(("127.0.0.1", port)); s.listen()
        socket.create_connection(s.getsockname(), 5); print("own", port)
    except OSError as e: print("refused", port)
for host, port in (("127.0.0.1", int(sys.argv[1])), ("192.0.2.1", 443), ("2001:db8::1", 443)):
    try: socket.create_connection((host, port), 5); print("out")
    except OSError as e: print(errno.errorcode[e.errno])
"#;

#[test]
fn what_may_be_bound_may_be_connected_to_in_a_network_of_its_own() {
    if !landlock() || !have("python3") {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = listener.local_addr().unwrap().port().to_string();
    for user in users() {
        let place = Place::new(*user);
        for (bind, expected) in [
            // Any port, the kernel's choice too: only what leads out is refused.
            (
                "localhost:*",
                "own 0\nown 3000\nown 4000\nECONNREFUSED\nEACCES\nEACCES\n",
            ),
            (
                "localhost:3000-3005",
                "refused 0\nown 3000\nrefused 4000\nEACCES\nEACCES\nEACCES\n",
            ),
        ] {
            for hosts in ["", ", example.org:443"] {
                let connect = format!("localhost:5432{hosts}");
                let policy = format!(
                    "version: 1\nname: server\nrules:\n- {{name: b, action: allow, operations: [bind], hosts: ['{bind}']}}\n\
                     - {{name: c, action: allow, operations: [connect], hosts: [{connect}]}}\n\
                     - include: builtin:system-programs\n- include: builtin:linux-runtime\n"
                );
                let file = place.path("own-policy.yaml");
                std::fs::write(&file, policy).unwrap();
                let mut c = Command::new(place.path("bin/polc"));
                c.args(["run", "-q", "-p"]).arg(file).arg("--");
                c.args([
                    "/usr/bin/python3",
                    "-c",
                    SERVER,
                    &theirs,
                    "0",
                    "3000",
                    "4000",
                ]);
                if *user == User::Nobody {
                    std::os::unix::process::CommandExt::uid(&mut c, 65534);
                    std::os::unix::process::CommandExt::gid(&mut c, 65534);
                }
                let done = c.current_dir(place.path("ws")).output().unwrap();
                assert_eq!(text(&done.stdout), expected, "{bind}: {}", said(&done));
            }
        }
    }
}

/// A shell with job control makes its jobs the terminal's foreground; what comes after it in a script reads from the
/// terminal again.
const AFTERWARDS: &str = r#"
import os, pty, select, shlex, sys, time
pid, fd = pty.fork()
if pid == 0:
    job = " ".join(map(shlex.quote, sys.argv[1:] + ["/bin/bash", "--norc", "--noprofile", "-i"]))
    os.execv("/bin/sh", ["/bin/sh", "-c", job + "; echo in''side $?; read line; echo \"got $line\""])
seen = b""
def until(what):
    global seen
    end = time.time() + 30
    while what not in seen:
        if time.time() > end or not select.select([fd], [], [], 30)[0]:
            print("waited in vain for", what, "and saw", seen); sys.exit(1)
        seen += os.read(fd, 4096)
os.write(fd, b"PS1=; echo re''ady\n"); until(b"ready")
os.write(fd, b"sleep 0.1; exit 3\n"); until(b"inside 3")
os.write(fd, b"words\n"); until(b"got words")
print("works")
"#;

#[test]
fn the_terminal_is_given_back() {
    if !landlock() || !have("python3") || !have("bash") {
        return;
    }
    let place = Place::new(User::Own);
    let inner = place.polc(&["-q"], true);
    let done = Command::new("python3")
        .arg("-c")
        .arg(AFTERWARDS)
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(place.path("ws"))
        .env("TMPDIR", place.path("tmp"))
        .output()
        .unwrap();
    assert_eq!(text(&done.stdout), "works\n", "{}", said(&done));
}
