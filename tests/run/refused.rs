//! What must fail, each with an error that says so, and not by waiting.

use super::place::{Place, User, have, is_root, landlock, said, text};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};

/// Tries everything, each in a process of its own, and prints the name of each attempt with the error that it got: `ok`
/// where there was none, `hangs` where there was no answer.
const PROBE: &str = r#"
import ctypes, errno, fcntl, os, resource, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
home, outside, victim, port, udp = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
def call(number, *args):
    # As long as a register, or what lies beside an int on the stack is read too.
    if libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in args)) < 0:
        raise OSError(ctypes.get_errno(), "")
def attempt(name, f):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            f()
            print(name, "ok")
        except OSError as e:
            print(name, errno.errorcode.get(e.errno, e.errno))
        sys.stdout.flush()
        os._exit(0)
    if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        print(name, "hangs")
def start(*words):
    def f():
        status = os.posix_spawn(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
        # The loader says by its status that it could not map it.
        if os.waitstatus_to_exitcode(os.waitpid(status, 0)[1]) == 127:
            raise OSError(errno.EACCES, "")
    return f
def read(path): return lambda: open(path, "rb").read(1)
def append(path): return lambda: os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
def make(path): return lambda: (os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)), os.unlink(path))
def back(old, new): os.rename(old, new); os.rename(new, old)
attempt("read-ssh", read(home + "/.ssh/id_ed25519"))
attempt("read-aws", read(home + "/.aws/credentials"))
attempt("list-home", lambda: os.listdir(home))
attempt("read-secret", read(outside + "/secret"))
attempt("read-env", read(".env"))
attempt("link-secret", lambda: (os.link(outside + "/secret", "stolen"), os.unlink("stolen")))
attempt("link-env", lambda: (os.link(".env", "stolen"), os.unlink("stolen")))
attempt("rename-env", lambda: back(".env", "stolen"))
attempt("symlink-then-read", lambda: (os.symlink(outside + "/secret", "sl"), open("sl").read()))
attempt("make-hook", make(".git/hooks/pre-commit"))
attempt("rename-hook", lambda: (open("h", "w").close(), os.rename("h", ".git/hooks/post-merge")))
attempt("edit-config", append(".git/config"))
attempt("replace-config", lambda: (open("c", "w").close(), os.rename("c", ".git/config")))
attempt("rename-hooks", lambda: back(".git/hooks", ".git/hooks2"))
attempt("rename-git", lambda: back(".git", "git2"))
attempt("rename-above", lambda: back("../ws", "../ws2"))
def by_descriptor():
    d = os.open(".git/hooks", os.O_RDONLY)
    os.close(os.open("pre-commit", os.O_WRONLY | os.O_CREAT, dir_fd=d))
    os.unlink("pre-commit", dir_fd=d)
attempt("hook-by-descriptor", by_descriptor)
attempt("hook-by-proc-fd", lambda: make("/proc/self/fd/%d/pre-commit" % os.open(".git/hooks", os.O_RDONLY))())
attempt("read-by-proc-root", lambda: open("/proc/self/root" + outside + "/secret").read())
attempt("read-by-proc-cwd", lambda: open("/proc/self/cwd/.env").read())
attempt("fd-of-another", lambda: os.readlink("/proc/%d/fd/1" % victim))
attempt("root-of-another", lambda: os.listdir("/proc/%d/root/" % victim))
attempt("reopen-config", lambda: os.open("/proc/self/fd/%d" % os.open(".git/config", os.O_RDONLY), os.O_WRONLY))
attempt("edit-policy", append("polc.yaml"))
attempt("rename-policy", lambda: back("polc.yaml", "p2"))
attempt("edit-bashrc", append(home + "/.bashrc"))
attempt("make-profile", make(home + "/.zshenv"))
attempt("edit-passwd", append("/etc/passwd"))
attempt("make-etc", make("/etc/polc-was-here"))
attempt("make-usr", make("/usr/polc-was-here"))
attempt("edit-usr", append("/usr/lib/os-release"))
attempt("chmod-bashrc", lambda: os.chmod(home + "/.bashrc", 0o777))
attempt("utime-bashrc", lambda: os.utime(home + "/.bashrc"))
def tcp(host, port, family=socket.AF_INET, proto=0):
    def f():
        s = socket.socket(family, socket.SOCK_STREAM, proto)
        s.settimeout(5)
        s.connect((host, port))
    return f
attempt("tcp", tcp("192.0.2.1", 80))
attempt("tcp-443", tcp("192.0.2.1", 443))
attempt("tcp6", tcp("2001:db8::1", 443, socket.AF_INET6))
attempt("mptcp", tcp("192.0.2.1", 443, proto=262))
# To somebody who listens, outside.
def here(family, kind, proto=0): return lambda: socket.socket(family, kind, proto).connect(("127.0.0.1", port))
attempt("tcp-here", here(socket.AF_INET, socket.SOCK_STREAM))
attempt("mptcp-here", here(socket.AF_INET, socket.SOCK_STREAM, 262))
attempt("fastopen-here", lambda: socket.socket().sendto(b"x", 0x20000000, ("127.0.0.1", port)))
def udp_here():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect(("127.0.0.1", udp))
    s.send(b"x")
    s.recv(1)
attempt("udp-here", udp_here)
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)))
attempt("fastopen", lambda: socket.socket().sendto(b"x", 0x20000000, ("192.0.2.1", 443)))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW))
attempt("alg", lambda: socket.socket(38, 5))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("bind", lambda: socket.socket().bind(("0.0.0.0", 9)))
attempt("io-uring", lambda: call(425, 8, ctypes.create_string_buffer(120)))
attempt("docker", lambda: socket.socket(socket.AF_UNIX).connect(home + "/docker.sock"))
attempt("docker-by-relative-name", lambda: socket.socket(socket.AF_UNIX).connect(home + "/relative.sock"))
attempt("socket-outside", lambda: socket.socket(socket.AF_UNIX).connect(outside + "/docker.sock"))
attempt("kill", lambda: os.kill(victim, 0))
attempt("limit-of-another", lambda: resource.prlimit(victim, resource.RLIMIT_CORE, (0, 0)))
attempt("kill-cont", lambda: os.kill(victim, 18))
x86 = os.uname().machine == "x86_64"
attempt("ptrace", lambda: call(101 if x86 else 117, 16, victim, 0, 0))
attempt("vm-read", lambda: call(310 if x86 else 270, victim, 0, 0, 0, 0, 0))
attempt("mem", lambda: open("/proc/%d/mem" % victim, "rb"))
attempt("environ", lambda: open("/proc/%d/environ" % victim, "rb").read())
attempt("mount", lambda: call(165 if x86 else 40, b"none", b"/mnt", b"tmpfs", 0, 0))
attempt("umount", lambda: call(166 if x86 else 39, b".git/config", 2))
attempt("open-tree", lambda: call(428, -100, b"/", 1))
attempt("unshare", lambda: call(272 if x86 else 97, 0x10020000))
attempt("setns", lambda: call(308 if x86 else 268, 0, 0))
attempt("module", lambda: call(313 if x86 else 273, 0, b"", 0))
attempt("key", lambda: call(248 if x86 else 217, b"user", b"a", b"b", 1, -3))
attempt("keyctl", lambda: call(250 if x86 else 219, 0, -3, 0))
attempt("bpf", lambda: call(321 if x86 else 280, 0, 0, 0))
attempt("handle", lambda: call(304 if x86 else 265, -100, 0, 0))
attempt("type-into-terminal", lambda: fcntl.ioctl(1, 0x5412, b"x"))
attempt("mknod", lambda: os.mknod("disk", 0o60600, os.makedev(8, 0)))
attempt("chroot", lambda: os.chroot("."))
attempt("setuid", lambda: os.setuid(1))
attempt("start", start("/usr/bin/unshare", "--version"))
attempt("start-by-descriptor", start("/proc/self/fd/%d" % os.open("/usr/bin/unshare", os.O_RDONLY | os.O_PATH), "--version"))
attempt("start-by-loader", start(sys.argv[6], "/usr/bin/unshare", "--version"))
"#;

/// Who is outside while the probe runs: a process, and somebody who listens for TCP, UDP and on a path.
struct Outside {
    victim: Child,
    tcp: TcpListener,
    udp: UdpSocket,
    _sockets: [UnixListener; 2],
    /// Who listens on a path that it bound by a relative name.
    relative: Child,
}

impl Outside {
    fn new(place: &Place) -> Self {
        let sockets = ["home", "outside"]
            .map(|d| UnixListener::bind(place.path(d).join("docker.sock")).unwrap());
        let listen = "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('relative.sock'); s.listen(); time.sleep(120)";
        let mut relative = Command::new("python3");
        let relative = relative
            .args(["-c", listen])
            .current_dir(place.path("home"));
        let relative = relative.stdin(Stdio::null()).spawn().unwrap();
        while !place.path("home/relative.sock").exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let answers = udp.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut datagram = [0; 1];
            while let Ok((_, from)) = answers.recv_from(&mut datagram) {
                let _ = answers.send_to(&datagram, from);
            }
        });
        let mut sleep = Command::new("sleep");
        Self {
            victim: sleep.arg("120").stdin(Stdio::null()).spawn().unwrap(),
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp,
            _sockets: sockets,
            relative,
        }
    }

    /// What the probe is told.
    fn words(&self, place: &Place) -> Vec<OsString> {
        let loader = polc::backend::landlock::LOADER;
        vec![
            "probe.py".into(),
            place.path("home").into(),
            place.path("outside").into(),
            self.victim.id().to_string().into(),
            self.tcp.local_addr().unwrap().port().to_string().into(),
            self.udp.local_addr().unwrap().port().to_string().into(),
            loader.into(),
        ]
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for child in [&mut self.victim, &mut self.relative] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn answers(done: &Output) -> BTreeMap<String, String> {
    let answers: BTreeMap<_, _> = text(&done.stdout)
        .lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect();
    // The last of them: the probe went through.
    assert!(answers.contains_key("start-by-loader"), "{}", said(done));
    answers
}

fn probe(user: User, options: &[&str]) -> BTreeMap<String, String> {
    let place = Place::new(user);
    std::fs::write(place.path("ws/probe.py"), PROBE).unwrap();
    let outside = Outside::new(&place);
    place.own_all();
    let done = place
        .polc(options, false)
        .arg("/usr/bin/python3")
        .args(outside.words(&place))
        .output()
        .unwrap();
    let answers = answers(&done);
    // What was not to change has not.
    for (file, was) in [
        ("home/.bashrc", "# mine\n"),
        ("outside/secret", "secret\n"),
        ("ws/.env", "TOKEN=secret\n"),
        ("ws/polc.yaml", "version: 1\nname: here\nrules: []\n"),
    ] {
        assert_eq!(
            std::fs::read_to_string(place.path(file)).unwrap(),
            was,
            "{file}"
        );
    }
    for new in [
        "ws/.git/hooks/pre-commit",
        "ws/.git/hooks/post-merge",
        "ws/stolen",
        "home/.zshenv",
    ] {
        assert!(!place.path(new).exists(), "{new}");
    }
    answers
}

/// What cannot be shown to work where nothing is confined: there is no such address, module, mount or handle, or this kernel
/// has no such sockets. It must not be refused there, either.
const UNUSABLE: [&str; 12] = [
    "tcp", "tcp-443", "tcp6", "mptcp", "udp", "fastopen", "alg", "vsock", "umount", "module",
    "handle", "bpf",
];
const UNUSABLE_HERE: [&str; 4] = ["type-into-terminal", "setns", "open-tree", "packet"];

/// Without `polc` everything works that is asked, or the tests below could not fail.
#[test]
fn all_of_it_works_unconfined() {
    if !have("python3") || !have("git") {
        return;
    }
    if !is_root() {
        println!("skipped: only root may do all of it");
        return;
    }
    let place = Place::new(User::Own);
    std::fs::write(place.path("ws/probe.py"), PROBE).unwrap();
    let outside = Outside::new(&place);
    let mut command = Command::new("/usr/bin/python3");
    command
        .args(outside.words(&place))
        .current_dir(place.path("ws"))
        .stdin(Stdio::null());
    // What it mounts is seen by nobody else.
    // SAFETY: unshare and mount may be called between fork and exec, and take constants.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let none = std::ptr::null();
            if libc::unshare(libc::CLONE_NEWNS) != 0
                || libc::mount(none, c"/".as_ptr(), none, private, none.cast()) != 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let done = command.output().unwrap();
    let wrong: Vec<_> = answers(&done)
        .into_iter()
        .filter(|(name, answer)| {
            let usable =
                !UNUSABLE.contains(&name.as_str()) && !UNUSABLE_HERE.contains(&name.as_str());
            (usable && answer != "ok") || ["EACCES", "EPERM"].contains(&answer.as_str())
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What each attempt may answer: EACCES and EPERM everywhere; beside them the kernel's own words for what lies
/// on another mount, is read-only, or is a mount point.
fn judge(answers: &BTreeMap<String, String>, mounts: bool, own_files: bool) {
    let mut wrong = Vec::new();
    for (name, answer) in answers {
        let more: &[&str] = match name.as_str() {
            "make-hook" | "edit-config" | "hook-by-descriptor" | "hook-by-proc-fd"
            | "reopen-config" | "edit-policy" | "chmod-bashrc" | "utime-bashrc" | "edit-bashrc"
            | "make-profile" | "edit-passwd" | "edit-usr" | "make-etc" | "make-usr"
                if mounts =>
            {
                &["EROFS"]
            }
            "link-secret" => &["EXDEV", "ENOENT"],
            "rename-hook" | "link-env" => &["EXDEV"],
            "replace-config" | "rename-hooks" | "rename-git" | "rename-above" | "rename-policy"
            | "rename-env"
                if mounts =>
            {
                &["EBUSY", "EXDEV", "EROFS"]
            }
            // Without a mount namespace nothing on this kernel holds these: the ledger of Landlock says so.
            "chmod-bashrc" | "utime-bashrc" => &["ok"],
            // A user that the namespace does not have.
            "setuid" if !own_files => &["EINVAL"],
            // Landlock grants `.git` whole, so that git works: of denials with wildcards in it the ledger says "looser".
            "rename-hooks" if !mounts => &["ok"],
            "docker" | "docker-by-relative-name" | "socket-outside" | "start-by-loader"
                if !mounts =>
            {
                &["ok"]
            }
            // It lies in the host's /tmp, which the program does not see.
            "read-secret" | "symlink-then-read" | "read-by-proc-root" | "socket-outside"
                if mounts =>
            {
                &["ENOENT"]
            }
            // In a network of its own, in which it may bind any port, nobody listens.
            "tcp-here" | "udp-here" if mounts => &["ECONNREFUSED"],
            // Nor does it see that process.
            "fd-of-another" | "root-of-another" | "mem" | "environ" if mounts => &["ENOENT"],
            "kill" | "kill-cont" | "limit-of-another" if mounts => &["ESRCH"],
            // Where a process of somebody else was when it bound a name is not to be seen; it is said before the start.
            "docker-by-relative-name" if !own_files => &["ok"],
            _ => &[],
        };
        let fine =
            ["EACCES", "EPERM"].contains(&answer.as_str()) || more.contains(&answer.as_str());
        if !fine {
            wrong.push(format!("{name}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_gets_out() {
    if !landlock() || !have("python3") || !have("git") {
        return;
    }
    judge(&probe(User::Own, &["-q"]), true, true);
    judge(&probe(User::Own, &["-q", "--no-network"]), true, true);
    judge(&probe(User::Own, &["-q", "--guard", "off"]), true, true);
}

#[test]
fn nothing_gets_out_without_namespaces() {
    if !landlock() || !have("python3") || !have("git") {
        return;
    }
    for guard in ["auto", "off"] {
        let options = ["-q", "--no-namespaces", "--guard", guard];
        judge(&probe(User::Own, &options), false, true);
    }
}

/// What is not refused without namespaces (the four that `judge` lets pass) is said before the program starts.
#[test]
fn what_is_open_without_namespaces_is_said_first() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let _socket = UnixListener::bind(place.path("outside/docker.sock")).unwrap();
    for guard in ["auto", "off"] {
        let done = place.shell(
            &["--no-namespaces", "--explain-start", "--guard", guard],
            "echo here it begins >&2",
        );
        let message = text(&done.stderr);
        let (before, _) = message.split_once("here it begins").unwrap();
        let loader = "the loader starts programs that may be read but not started: `/";
        assert!(before.contains(loader), "{message}");
        // What the guard keeps.
        for open in [
            "paths that a wildcard denies can be changed, moved and replaced in some directories",
            "can change mode, owner, times and attributes of every file",
            "reaches every unix socket that has a path",
        ] {
            assert_eq!(before.contains(open), guard == "off", "{open}: {message}");
        }
    }
    let done = place.shell(&["--explain-start"], "true");
    assert!(
        !text(&done.stderr).contains("without mounts"),
        "{}",
        said(&done)
    );
}

#[test]
fn nothing_gets_out_of_an_ordinary_user_s() {
    if !landlock() || !have("python3") || !have("git") {
        return;
    }
    if !is_root() {
        eprintln!("skipped: the tests run as an ordinary user already");
        return;
    }
    for guard in ["auto", "off"] {
        judge(&probe(User::Nobody, &["-q", "--guard", guard]), true, false);
    }
}

#[test]
fn a_directory_as_standard_input_is_refused() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    let mut command = place.polc(&[], true);
    command.stdin(std::fs::File::open(place.path("outside")).unwrap());
    let done = command.arg("/bin/true").output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(
        text(&done.stderr).contains("is a directory"),
        "{}",
        said(&done)
    );
}

#[test]
fn descriptors_do_not_come_along() {
    if !landlock() {
        return;
    }
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;
    let place = Place::new(User::Own);
    let secret = std::fs::File::open(place.path("outside/secret")).unwrap();
    let mut command = place.polc(&["-q"], true);
    let fd = secret.as_raw_fd();
    // SAFETY: dup2 may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::dup2(fd, 9);
            Ok(())
        });
    }
    let done = command.args(["/bin/sh", "-c", "cat <&9"]).output().unwrap();
    assert!(
        !text(&done.stdout).contains("secret") && !done.status.success(),
        "{}",
        said(&done)
    );
}
