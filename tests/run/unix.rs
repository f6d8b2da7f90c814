//! Unix sockets where no rule lets the program connect to one: it has its own, and not those of others.

use super::covers::{by, users};
use super::place::{Place, have, landlock, said, text};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

const POLICY: &str = r#"version: 1
name: own-sockets
subject: {home: auto, workspace: auto, tmp: auto}
rules:
  - name: tree
    action: allow
    operations: [read, write, execute]
    paths: ["${workspace}/**", "${tmp}/**"]
  - name: shared-memory
    action: allow
    operations: [read, write]
    paths: ["/dev/shm/**"]
  - include: builtin:system-programs
  - include: builtin:linux-runtime
"#;

/// What programs do with sockets of their own, and what they try with those of others.
const PROGRAM: &str = r#"
import array, multiprocessing, multiprocessing.managers, os, socket, sys, tempfile, threading

def double(x): return 2 * x

def attempt(name, what):
    try: what()
    except (OSError, EOFError): print(name, "refused")
    else: print(name, "works")

def named():
    path = tempfile.mkdtemp() + "/s"
    with socket.socket(socket.AF_UNIX) as l:
        l.bind(path); l.listen()
        with socket.socket(socket.AF_UNIX) as c:
            c.connect(path); c.sendall(b"x")
            assert l.accept()[0].recv(1) == b"x"

def abstract():
    with socket.socket(socket.AF_UNIX) as l:
        l.bind("\0own"); l.listen()
        with socket.socket(socket.AF_UNIX) as c: c.connect("\0own")

def pairs():
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        a, b = socket.socketpair(socket.AF_UNIX, kind)
        with open("/dev/null") as f: socket.send_fds(a, [b"x"], [f.fileno()])
        assert len(socket.recv_fds(b, 1, 1)[1]) == 1

def datagrams():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    a.send(b"x"); assert b.recv(1) == b"x"

def managed():
    with multiprocessing.managers.SyncManager() as m:
        kept = m.dict(); kept["a"] = 1; assert kept["a"] == 1

def forkserver():
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        assert pool.map(double, [1, 2]) == [2, 4]

def ask(path): socket.socket(socket.AF_UNIX).connect(path)
def send(path): socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", path)
def send_from_pair(path): socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", path)

if __name__ == "__main__":
    for what in (pairs, named, abstract, datagrams, managed, forkserver): attempt(what.__name__, what)
    stream, datagram, name = sys.argv[1:]
    attempt("their stream", lambda: ask(stream))
    attempt("their datagrams", lambda: send(datagram))
    attempt("from a pair", lambda: send_from_pair(datagram))
    attempt("their abstract", lambda: ask("\0" + name))
"#;

/// What is printed where sockets of its own can be made, and where only pairs can.
const OWN: &str =
    "pairs works\nnamed works\nabstract works\ndatagrams works\nmanaged works\nforkserver works\n";
const PAIRS: &str = "pairs works\nnamed refused\nabstract refused\ndatagrams refused\nmanaged refused\nforkserver refused\n";
const THEIRS: &str =
    "their stream refused\ntheir datagrams refused\nfrom a pair refused\ntheir abstract refused\n";

#[test]
fn a_program_has_unix_sockets_of_its_own_and_not_those_of_others() {
    if !landlock() || !have("python3") {
        return;
    }
    for user in users() {
        let place = Place::new(user);
        std::fs::write(place.path("ws/sockets.py"), PROGRAM).unwrap();
        place.own_all();
        let (stream, datagram) = (place.path("outside/s"), place.path("outside/d"));
        let _stream = UnixListener::bind(&stream).unwrap();
        let _datagram = UnixDatagram::bind(&datagram).unwrap();
        for path in [&stream, &datagram] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let name = format!("polc-unix-{}-{user:?}", std::process::id());
        let _abstract =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let script = format!(
            "exec /usr/bin/python3 sockets.py {} {} {name}",
            stream.display(),
            datagram.display()
        );
        let hosts = "  - {name: service, action: allow, operations: [connect], hosts: [\"service.example:443\"]}\n";
        for policy in [POLICY.to_owned(), format!("{POLICY}{hosts}")] {
            let done = by(&place, &policy, &[], &script);
            let expected = format!("{OWN}{THEIRS}");
            assert_eq!(text(&done.stdout), expected, "{user:?}: {}", said(&done));
            // What is made later elsewhere is reached, and that is said.
            let before = text(&done.stderr);
            assert!(before.contains("another program makes later"), "{before}");
        }
        // Where nothing hides the sockets of others, it has none of its own either, and is told so.
        for option in ["--no-namespaces", "--share-tmp"] {
            let done = by(&place, POLICY, &[option], &script);
            let expected = format!("{PAIRS}{THEIRS}");
            assert_eq!(text(&done.stdout), expected, "{option}: {}", said(&done));
            let before = text(&done.stderr);
            assert!(
                before.contains("it can only make pairs")
                    && !before.contains("makes later")
                    && !before.contains("every unix socket"),
                "{option}: {before}"
            );
        }
    }
}
