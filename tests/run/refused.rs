//! What must fail, each with an error that says so, and not by waiting.

use super::place::{Place, User, have, is_root, landlock, said, text};
use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

/// Tries everything, and prints the name of each attempt with the error that it got, `ok` where there was none.
const PROBE: &str = r#"
import ctypes, errno, fcntl, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
home, outside, victim = sys.argv[1], sys.argv[2], int(sys.argv[3])
def call(number, *args):
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), "")
def attempt(name, f):
    try:
        f()
        print(name, "ok")
    except OSError as e:
        print(name, errno.errorcode.get(e.errno, e.errno))
    sys.stdout.flush()
def read(path): return lambda: open(path, "rb").read(1)
def append(path): return lambda: os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
def make(path): return lambda: os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
attempt("read-ssh", read(home + "/.ssh/id_ed25519"))
attempt("read-aws", read(home + "/.aws/credentials"))
attempt("list-home", lambda: os.listdir(home))
attempt("read-secret", read(outside + "/secret"))
attempt("read-env", read(".env"))
attempt("link-secret", lambda: os.link(outside + "/secret", "stolen"))
attempt("link-env", lambda: os.link(".env", "stolen"))
attempt("rename-env", lambda: os.rename(".env", "stolen"))
attempt("symlink-then-read", lambda: (os.symlink(outside + "/secret", "sl"), open("sl").read()))
attempt("make-hook", make(".git/hooks/pre-commit"))
attempt("rename-hook", lambda: (open("h", "w").close(), os.rename("h", ".git/hooks/post-merge")))
attempt("edit-config", append(".git/config"))
attempt("replace-config", lambda: (open("c", "w").close(), os.rename("c", ".git/config")))
attempt("rename-hooks", lambda: os.rename(".git/hooks", ".git/hooks2"))
attempt("rename-git", lambda: os.rename(".git", "git2"))
attempt("replace-hooks", lambda: os.rmdir(".git/hooks"))
attempt("hook-by-descriptor", lambda: os.open("pre-commit", os.O_WRONLY | os.O_CREAT, dir_fd=os.open(".git/hooks", os.O_RDONLY)))
attempt("reopen-config", lambda: os.open("/proc/self/fd/%d" % os.open(".git/config", os.O_RDONLY), os.O_WRONLY))
attempt("edit-policy", append("polc.yaml"))
attempt("remove-policy", lambda: os.unlink("polc.yaml"))
attempt("rename-policy", lambda: os.rename("polc.yaml", "p2"))
attempt("edit-bashrc", append(home + "/.bashrc"))
attempt("make-profile", make(home + "/.zshenv"))
attempt("edit-passwd", append("/etc/passwd"))
attempt("make-etc", make("/etc/polc-was-here"))
attempt("make-usr", make("/usr/polc-was-here"))
attempt("edit-usr", append("/usr/bin/env"))
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
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)))
attempt("fastopen", lambda: socket.socket().sendto(b"x", 0x20000000, ("192.0.2.1", 443)))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW))
attempt("alg", lambda: socket.socket(38, 5))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("bind", lambda: socket.socket().bind(("0.0.0.0", 9)))
attempt("io-uring", lambda: call(425, 8, ctypes.create_string_buffer(120)))
attempt("docker", lambda: socket.socket(socket.AF_UNIX).connect(outside + "/docker.sock"))
attempt("kill", lambda: os.kill(victim, 0))
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
attempt("sudo", lambda: os.execv("/usr/bin/su", ["su"]))
attempt("start-reader", lambda: os.execv("/usr/bin/unshare", ["unshare", "--help"]))
"#;

fn probe(user: User, options: &[&str]) -> BTreeMap<String, String> {
    let place = Place::new(user);
    std::fs::write(place.path("ws/probe.py"), PROBE).unwrap();
    let _socket = UnixListener::bind(place.path("outside/docker.sock")).unwrap();
    place.own_all();
    let mut victim = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let done = place
        .polc(options, false)
        .args(["/usr/bin/python3", "probe.py"])
        .args([place.path("home"), place.path("outside")])
        .arg(victim.id().to_string())
        .output()
        .unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    let answers: BTreeMap<_, _> = text(&done.stdout)
        .lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect();
    // The last of them: the probe went through.
    assert!(answers.contains_key("start-reader"), "{}", said(&done));
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

/// What each attempt may answer: EACCES and EPERM everywhere; beside them the kernel's own words for what lies
/// on another mount, is read-only, or is a mount point.
fn judge(answers: &BTreeMap<String, String>, mounts: bool, own_files: bool) {
    let mut wrong = Vec::new();
    for (name, answer) in answers {
        let more: &[&str] = match name.as_str() {
            "make-hook" | "edit-config" | "hook-by-descriptor" | "reopen-config"
            | "edit-policy" | "chmod-bashrc" | "utime-bashrc" | "edit-bashrc" | "make-profile"
            | "edit-passwd" | "edit-usr" | "make-etc" | "make-usr"
                if mounts =>
            {
                &["EROFS"]
            }
            "rename-hook" | "link-env" | "link-secret" => &["EXDEV"],
            "replace-config" | "rename-hooks" | "rename-git" | "replace-hooks"
            | "remove-policy" | "rename-policy" | "rename-env"
                if mounts =>
            {
                &["EBUSY", "EXDEV", "EROFS"]
            }
            // Without a mount namespace nothing on this kernel holds these: the ledger of Landlock says so.
            "chmod-bashrc" | "utime-bashrc" => &["ok"],
            // A user that the namespace does not have.
            "setuid" if !own_files => &["EINVAL"],
            // Landlock grants `.git` whole, so that git works: of denials with wildcards in it the ledger says "looser".
            "rename-hooks" | "replace-hooks" if !mounts => &["ok", "ENOENT", "ENOTEMPTY"],
            "hook-by-descriptor" if !mounts => &["ENOENT"],
            "docker" if !mounts => &["ok"],
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
}

#[test]
fn nothing_gets_out_without_namespaces() {
    if !landlock() || !have("python3") || !have("git") {
        return;
    }
    judge(&probe(User::Own, &["-q", "--no-namespaces"]), false, true);
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
    judge(&probe(User::Nobody, &["-q"]), true, false);
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
