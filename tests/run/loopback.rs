//! The program's own loopback interface, and the services of the host that are not on it.

use super::covers::{by, users};
use super::place::{Place, have, landlock, said, text};
use std::net::TcpListener;

fn policy(port: u16) -> String {
    format!(
        r#"version: 1
name: loopback
subject: {{home: auto, workspace: auto, tmp: auto}}
rules:
  - {{name: tree, action: allow, operations: [read, write], paths: ["${{workspace}}/**", "${{tmp}}/**"]}}
  - {{name: servers, action: allow, operations: [bind], hosts: ["localhost:*"]}}
  - {{name: service, action: allow, operations: [connect], hosts: ["localhost:{port}"]}}
  - include: builtin:system-programs
  - include: builtin:linux-runtime
"#
    )
}

/// Datagrams among its own sockets arrive; those to another address are refused, and so is a service of the host.
const PROGRAM: &str = r#"
import errno, socket, sys
port = int(sys.argv[1])
for family, here in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
    server, client = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    server.settimeout(5); server.bind((here, 0))
    client.sendto(b"x", server.getsockname())
    assert server.recv(1) == b"x"
print("own datagrams arrive")
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))
except OSError as e: print("others:", errno.errorcode[e.errno])
try: socket.create_connection(("127.0.0.1", port), 5)
except OSError as e: print("the host's:", errno.errorcode[e.errno])
"#;

#[test]
fn the_loopback_interface_is_the_programs_own_and_polc_says_what_is_not_there() {
    if !landlock() || !have("python3") {
        return;
    }
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    for user in users() {
        let place = Place::new(user);
        std::fs::write(place.path("ws/program.py"), PROGRAM).unwrap();
        place.own_all();
        let script = format!("python3 program.py {port}");
        let done = by(&place, &policy(port), &[], &script);
        assert_eq!(
            text(&done.stdout),
            "own datagrams arrive\nothers: EACCES\nthe host's: ECONNREFUSED\n",
            "{}",
            said(&done)
        );
        let told = format!(
            "port {port} of this host's localhost is allowed, and most clients do not reach it"
        );
        assert!(text(&done.stderr).contains(&told), "{}", said(&done));
    }
    // Where nothing listens, nothing is said.
    drop(service);
    let place = Place::new(users()[0]);
    place.own_all();
    let done = by(&place, &policy(port), &[], "true");
    assert!(done.status.success(), "{}", said(&done));
    assert!(!text(&done.stderr).contains("localhost"), "{}", said(&done));
}
