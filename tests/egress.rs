//! The egress proxy, with real sockets on loopback.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::enforce::egress::{Egress, Refusal, Resolve, SystemResolver, Via};
use polc::frontend::{LoadOptions, load};
use polc::policy::Policy;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

fn policy(rules: &str) -> Policy {
    let text = format!("version: 1\nname: net\nrules:\n{rules}");
    load("net.yaml", &text, &LoadOptions::default())
        .map(|l| l.policy)
        .unwrap_or_else(|d| panic!("{d}"))
}

fn allow(hosts: &str) -> Policy {
    policy(&format!(
        "  - {{name: out, action: allow, operations: [connect], hosts: {hosts}}}\n"
    ))
}

/// Each question gets the next answer. The last answer repeats.
#[derive(Default)]
struct Fake(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Fake {
    fn with(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
        Arc::new(Self(Mutex::new(
            names
                .iter()
                .map(|(n, answers)| ((*n).to_owned(), answers.iter().map(|a| parse(a)).collect()))
                .collect(),
        )))
    }
}

impl Resolve for Fake {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut all = self.0.lock().unwrap();
        let answers = all.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers[0].clone()
        })
    }
}

struct Proxy {
    address: SocketAddr,
    refusals: Receiver<Refusal>,
    egress: Egress,
}

fn start_with(policy: &Policy, resolver: Arc<dyn Resolve>) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, refusals) = channel();
    let egress = Egress::with_resolver(policy, listener, tell, resolver).unwrap();
    Proxy {
        address,
        refusals,
        egress,
    }
}

fn start(policy: &Policy) -> Proxy {
    start_with(policy, Arc::new(SystemResolver))
}

impl Proxy {
    fn client(&self) -> TcpStream {
        let s = TcpStream::connect(self.address).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        s
    }

    /// Sends, closes the sending side, and reads everything.
    fn say(&self, bytes: &[u8]) -> String {
        let mut s = self.client();
        s.write_all(bytes).unwrap();
        let _ = s.shutdown(Shutdown::Write);
        let mut all = Vec::new();
        let _ = s.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }

    fn refusal(&self) -> Refusal {
        self.refusals.recv_timeout(Duration::from_secs(10)).unwrap()
    }
}

/// A server that sends back every byte it gets. Returns its port.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut copy = stream.try_clone().unwrap();
                let _ = io::copy(&mut stream, &mut copy);
                let _ = copy.shutdown(Shutdown::Write);
            });
        }
    });
    port
}

/// A server that records what each connection sends, up to a blank line and `body` more bytes, and then answers.
fn web(body: usize) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream
                .set_read_timeout(Some(Duration::from_millis(700)))
                .unwrap();
            let mut got = Vec::new();
            let mut buffer = [0; 4096];
            let end = |g: &[u8]| {
                g.windows(4)
                    .position(|w| w == b"\r\n\r\n")
                    .is_some_and(|i| g.len() >= i + 4 + body)
            };
            while !end(&got) {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => got.extend_from_slice(&buffer[..n]),
                }
            }
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\n\r\nok",
            );
            // Further bytes on this connection are recorded too.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                got.extend_from_slice(&buffer[..n]);
            }
            let _ = tell.send(String::from_utf8_lossy(&got).into_owned());
        }
    });
    (port, told)
}

fn told(r: &Receiver<String>) -> String {
    r.recv_timeout(Duration::from_secs(10)).unwrap()
}

fn read_head(s: &mut TcpStream) -> String {
    let mut got = Vec::new();
    let mut one = [0];
    while !got.ends_with(b"\r\n\r\n") && s.read(&mut one).unwrap() == 1 {
        got.push(one[0]);
    }
    String::from_utf8(got).unwrap()
}

fn socks_request(name: &[u8], port: u16) -> Vec<u8> {
    let mut out = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(name.len()).unwrap()];
    out.extend_from_slice(name);
    out.extend_from_slice(&port.to_be_bytes());
    out
}

/// Sends the greeting and a request. Returns the reply's code and the connection.
fn socks(p: &Proxy, name: &[u8], port: u16) -> (u8, TcpStream) {
    let mut s = p.client();
    s.write_all(&socks_request(name, port)).unwrap();
    let mut greeting = [0; 2];
    s.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, [5, 0]);
    let mut reply = [0; 10];
    s.read_exact(&mut reply).unwrap();
    (reply[1], s)
}

fn round_trip(s: &mut TcpStream) {
    s.write_all(b"over and out").unwrap();
    let mut got = [0; 12];
    s.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"over and out");
}

#[test]
fn connect_goes_where_the_policy_allows_and_nowhere_else() {
    let port = echo();
    let p = start(&allow(&format!("[\"localhost:{port}\"]")));
    for host in [
        "localhost",
        "LOCALHOST.",
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
    ] {
        let mut s = p.client();
        write!(s, "CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let head = read_head(&mut s);
        assert!(head.starts_with("HTTP/1.1 200"), "{host}: {head}");
        round_trip(&mut s);
    }
    let answer = p.say(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(
        answer.contains(
            "example.org:443 is refused: no rule allows it: default_action at net.yaml:1"
        ),
        "{answer}"
    );
    let refusal = p.refusal();
    assert_eq!(
        (refusal.target.as_str(), refusal.via, refusal.rule),
        ("example.org:443", Via::Connect, None)
    );
    // Another port of an allowed host is another peer.
    let answer = p.say(format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n\r\n", port ^ 1).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    p.egress.shutdown();
    assert!(TcpStream::connect(p.address).is_err(), "it still listens");
}

#[test]
fn a_refusal_names_the_rule_and_its_line() {
    let p = start(&policy(
        "  - {name: no-evil, action: deny, operations: [connect], hosts: [\"*.evil.example\"]}\n  - {name: gate, action: ask, operations: [connect], hosts: [\"ask.example\"]}\n",
    ));
    let answer = p.say(b"CONNECT a.EVIL.example.:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        answer.contains("denied by rule `no-evil` at net.yaml:4"),
        "{answer}"
    );
    assert!(p.refusal().rule.is_some());
    let (code, _) = socks(&p, b"ask.example", 443);
    assert_eq!(code, 2);
    let refusal = p.refusal();
    assert_eq!(refusal.via, Via::Socks);
    assert!(
        refusal
            .reason
            .contains("rule `gate` at net.yaml:5 says `ask`"),
        "{refusal}"
    );
}

#[test]
fn socks_goes_by_name_and_by_address() {
    let port = echo();
    let p = start(&allow(&format!("[\"localhost:{port}\"]")));
    for name in [
        &b"localhost"[..],
        b"127.0.0.1",
        b"0177.0.0.1",
        b"[::ffff:127.0.0.1]",
    ] {
        let (code, mut s) = socks(&p, name, port);
        assert_eq!(code, 0, "{name:?}");
        round_trip(&mut s);
    }
    let mut s = p.client();
    let mut ask = vec![5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1];
    ask.extend_from_slice(&port.to_be_bytes());
    // One byte at a time. A reader that takes each read for a message would fail here.
    for b in ask {
        s.write_all(&[b]).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    let mut reply = [0; 12];
    s.read_exact(&mut reply).unwrap();
    assert_eq!(reply[3], 0);
    round_trip(&mut s);
    for name in [
        &b"example.org"[..],
        b"10.0.0.1",
        b"a\0b",
        b"a.org\r\nHost: b",
        b"",
    ] {
        assert_eq!(socks(&p, name, port).0, 2, "{name:?}");
    }
}

#[test]
fn udp_and_listening_have_no_way_out() {
    let p = start(&allow("[\"*\"]"));
    for command in [2, 3, 9] {
        let mut s = p.client();
        s.write_all(&[5, 1, 0, 5, command, 0, 1, 0, 0, 0, 0, 0, 53])
            .unwrap();
        let mut reply = [0; 12];
        s.read_exact(&mut reply).unwrap();
        assert_eq!(reply[3], 7, "command {command}");
        assert!(p.refusal().peer.is_none());
    }
}

#[test]
fn socks_with_a_password_alone_is_turned_away() {
    let p = start(&allow("[\"*\"]"));
    let mut s = p.client();
    s.write_all(&[5, 1, 2]).unwrap();
    let mut reply = [0; 2];
    s.read_exact(&mut reply).unwrap();
    assert_eq!(reply, [5, 0xff]);
}

#[test]
fn a_name_that_points_inside_is_refused() {
    let port = echo();
    let resolver = Fake::with(&[
        ("meta.example", &[&["169.254.169.254"]]),
        ("inside.example", &[&["10.0.0.7"]]),
        ("mapped.example", &[&["::ffff:127.0.0.1"]]),
        ("nat64.example", &[&["64:ff9b::7f00:1"]]),
        ("mixed.example", &[&["93.184.216.34", "127.0.0.1"]]),
        ("zero.example", &[&["0.0.0.0"]]),
        ("nothing.example", &[&[]]),
    ]);
    let p = start_with(&allow("[\"*\"]"), resolver);
    for name in ["meta", "inside", "mapped", "nat64", "mixed", "zero"] {
        let (code, _) = socks(&p, format!("{name}.example").as_bytes(), port);
        assert_eq!(code, 2, "{name}");
        let refusal = p.refusal();
        assert!(refusal.address.is_some(), "{refusal}");
    }
    // A name without an address is not a refusal.
    assert_eq!(socks(&p, b"nothing.example", port).0, 4);
    assert_eq!(socks(&p, b"unknown.example", port).0, 4);
    // `*` does not include the addresses of the machine itself.
    assert_eq!(socks(&p, b"127.0.0.1", port).0, 2);
    assert_eq!(socks(&p, b"169.254.169.254", 80).0, 2);
}

#[test]
fn an_address_rule_opens_and_closes_for_names_too() {
    let port = echo();
    let resolver = Fake::with(&[
        ("db.example", &[&["127.0.0.5"]]),
        ("bad.example", &[&["127.0.0.9"]]),
    ]);
    let p = start_with(
        &policy(&format!(
            "  - {{name: bad, action: deny, operations: [connect], hosts: [\"127.0.0.9:{port}\"]}}\n  - {{name: out, action: allow, operations: [connect], hosts: [\"db.example\", \"bad.example\", \"127.0.0.0/8\"]}}\n"
        )),
        resolver,
    );
    let (code, _) = socks(&p, b"bad.example", port);
    assert_eq!(code, 2);
    assert!(
        p.refusal()
            .reason
            .contains("denied by rule `bad` at net.yaml:4")
    );
    // The echo server listens on 127.0.0.1 alone, so an allowed 127.0.0.5 is refused by the kernel: code 5.
    assert_eq!(socks(&p, b"db.example", port).0, 5);
}

#[test]
fn a_name_is_not_bound_anew_between_check_and_connection() {
    let port = echo();
    // A rebinding server: the first answer is fine, the next one is not.
    let resolver = Fake::with(&[("db.example", &[&["127.0.0.1"], &["127.0.0.66"]])]);
    let p = start_with(
        &allow(&format!("[\"db.example\", \"127.0.0.1:{port}\"]")),
        resolver,
    );
    let (code, mut s) = socks(&p, b"db.example", port);
    assert_eq!(code, 0);
    round_trip(&mut s);
    // A second request checks the new address.
    assert_eq!(socks(&p, b"db.example", port).0, 2);
    assert_eq!(p.refusal().address, Some("127.0.0.66".parse().unwrap()));
}

#[test]
fn plain_requests_are_written_anew() {
    let (port, requests) = web(5);
    let p = start(&allow(&format!("[\"localhost:{port}\"]")));
    let answer = p.say(
        format!(
            "POST http://LocalHost:{port}/a?b=c HTTP/1.1\r\nHost: localhost:{port}\r\nProxy-Authorization: Basic c2VjcmV0\r\nProxy-Connection: keep-alive\r\nConnection: X-Mine, keep-alive\r\nX-Mine: 1\r\nX-Kept: 2\r\nContent-Length: 5\r\n\r\nhello"
        )
        .as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("ok"), "{answer}");
    assert!(
        !answer.to_lowercase().contains("keep-alive: timeout"),
        "{answer}"
    );
    let got = told(&requests).to_lowercase();
    assert!(got.starts_with("post /a?b=c http/1.1\r\n"), "{got}");
    assert!(got.ends_with("\r\n\r\nhello"), "{got}");
    assert!(
        got.contains("x-kept: 2") && got.contains(&format!("host: localhost:{port}\r\n")),
        "{got}"
    );
    for gone in ["proxy-", "x-mine", "c2vjcmv0", "keep-alive"] {
        assert!(!got.contains(gone), "{gone}: {got}");
    }
}

#[test]
fn a_target_without_a_path_is_the_root() {
    let (port, requests) = web(0);
    let p = start(&allow(&format!("[\"localhost:{port}\"]")));
    for (asked, sent) in [
        ("", "GET / HTTP/1.1\r\n"),
        ("?a=b", "GET /?a=b HTTP/1.1\r\n"),
    ] {
        let answer = p.say(
            format!(
                "GET http://localhost:{port}{asked} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
            )
            .as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{asked}: {answer}");
        let got = told(&requests);
        assert!(got.starts_with(sent), "{asked}: {got}");
    }
}

#[test]
fn each_request_of_a_connection_is_judged() {
    let (port, requests) = web(0);
    let p = start(&allow(&format!("[\"localhost:{port}\"]")));
    let one = format!("GET http://localhost:{port}/one HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    let two = "GET http://other.example/two HTTP/1.1\r\nHost: other.example\r\n\r\n";
    let answer = p.say(format!("{one}{two}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("HTTP/1.1 403"), "{answer}");
    let got = told(&requests);
    assert!(got.contains("/one") && !got.contains("/two"), "{got}");
}

#[test]
fn what_could_be_read_in_two_ways_is_not_passed_on() {
    let (port, requests) = web(0);
    let p = start(&allow(&format!("[\"localhost:{port}\"]")));
    let at = format!("localhost:{port}");
    for (what, request) in [
        (
            "another Host",
            format!("GET http://{at}/ HTTP/1.1\r\nHost: inner.example\r\n\r\n"),
        ),
        (
            "another port",
            format!("GET http://{at}/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ),
        (
            "two Hosts",
            format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nHost: inner.example\r\n\r\n"),
        ),
        ("no Host", format!("GET http://{at}/ HTTP/1.1\r\n\r\n")),
        (
            "a user",
            format!("GET http://a@{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        ),
        ("no target", format!("GET / HTTP/1.1\r\nHost: {at}\r\n\r\n")),
        (
            "TLS",
            format!("GET https://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n"),
        ),
        (
            "two lengths",
            format!(
                "POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\nx"
            ),
        ),
        (
            "a folded header",
            format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nX: a\r\n  b\r\n\r\n"),
        ),
        (
            "a blank before the colon",
            format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nX : a\r\n\r\n"),
        ),
        (
            "a strange coding",
            format!(
                "POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\nTransfer-Encoding: xchunked\r\n\r\n"
            ),
        ),
        (
            "a bare CONNECT",
            "CONNECT localhost HTTP/1.1\r\n\r\n".to_owned(),
        ),
        (
            "a user in CONNECT",
            format!("CONNECT a@{at} HTTP/1.1\r\n\r\n"),
        ),
        (
            "a port too many",
            format!("CONNECT {at}0000 HTTP/1.1\r\n\r\n"),
        ),
    ] {
        let answer = p.say(request.as_bytes());
        assert!(
            answer.is_empty()
                || answer.starts_with("HTTP/1.1 4")
                || answer.starts_with("HTTP/1.0 4"),
            "{what}: {answer}"
        );
    }
    assert!(requests.recv_timeout(Duration::from_millis(300)).is_err());
    // A request that is hidden in a body must arrive as a body, or not at all.
    let hidden = format!("GET http://{at}/hidden HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let both = format!(
        "POST http://{at}/open HTTP/1.1\r\nHost: {at}\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5
    );
    let answer = p.say(both.as_bytes());
    if !answer.starts_with("HTTP/1.1 4") {
        let got = told(&requests).to_lowercase();
        assert!(
            !(got.contains("content-length") && got.contains("transfer-encoding")),
            "{got}"
        );
        assert!(!got.contains("hidden"), "{got}");
    }
}

#[test]
fn garbage_floods_and_silence_do_no_harm() {
    let port = echo();
    let p = start(&allow(&format!("[\"localhost:{port}\"]")));
    let mut huge = b"GET http://localhost/ HTTP/1.1\r\nX: ".to_vec();
    huge.extend(std::iter::repeat_n(b'a', 300_000));
    let mut many = b"GET http://localhost/ HTTP/1.1\r\n".to_vec();
    for i in 0..5000 {
        many.extend_from_slice(format!("X-{i}: 1\r\n").as_bytes());
    }
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
        b"\x05",
        b"\x05\xff",
        b"\x05\x01\x00\x06\x01\x00\x01",
        b"\x05\x01\x00\x05\x01\x00\x07\x00\x00",
        b"\0\0\0\0",
        &huge,
        &many,
    ] {
        let mut s = p.client();
        // The proxy may close the connection in the middle of a flood.
        let _ = s.write_all(bytes);
        let _ = s.shutdown(Shutdown::Write);
        let mut all = Vec::new();
        let _ = s.read_to_end(&mut all);
        let text = String::from_utf8_lossy(&all);
        assert!(!text.contains(" 200 "), "{text}");
    }
    let _silent: Vec<TcpStream> = (0..50).map(|_| p.client()).collect();
    let (code, mut s) = socks(&p, b"localhost", port);
    assert_eq!(code, 0, "it must still serve");
    round_trip(&mut s);
}

#[test]
fn a_request_in_single_bytes_is_one_request() {
    let port = echo();
    let p = start(&allow(&format!("[\"localhost:{port}\"]")));
    let mut s = p.client();
    for b in format!("CONNECT localhost:{port} HTTP/1.1\r\nHost: a\r\n\r\n").bytes() {
        s.write_all(&[b]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert!(read_head(&mut s).starts_with("HTTP/1.1 200"));
    round_trip(&mut s);
}

#[test]
fn half_a_close_arrives_as_half_a_close() {
    let port = echo();
    let p = start(&allow(&format!("[\"localhost:{port}\"]")));
    let (_, mut s) = socks(&p, b"localhost", port);
    s.write_all(b"last words").unwrap();
    s.shutdown(Shutdown::Write).unwrap();
    let mut all = String::new();
    s.read_to_string(&mut all).unwrap();
    assert_eq!(all, "last words");
}

#[test]
fn a_refusal_is_one_line_whatever_was_asked_for() {
    let p = start(&allow("[\"a.example\"]"));
    let (code, _) = socks(&p, b"x\n\x1b[2J\xffevil", 443);
    assert_eq!(code, 2);
    let line = p.refusal().to_string();
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    assert!(
        line.starts_with("polc-egress: refused x\\x0a\\x1b[2J\\xffevil via socks: "),
        "{line}"
    );
}

#[test]
fn programs_are_told_in_both_spellings() {
    let p = start(&allow("[\"*\"]"));
    let env: HashMap<_, _> = p.egress.environment(p.address).into_iter().collect();
    let url = format!("http://{}", p.address);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"] {
        assert_eq!(env[name], url);
    }
    // A client without SOCKS stops if this names a SOCKS proxy.
    assert!(!env.contains_key("all_proxy") && !env.contains_key("ALL_PROXY"));
    assert!(env["JAVA_TOOL_OPTIONS"].contains(&format!("-Dhttps.proxyPort={}", p.address.port())));
    // An inherited NO_PROXY would make programs avoid the proxy, and no other way leads out.
    assert_eq!(env["NO_PROXY"], "");
}
