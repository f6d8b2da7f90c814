//! What the fuzz targets do with their bytes. `tests/fuzzed.rs` does the same without a fuzzer.

use polc::backend::{self, Artifact, Options};
use polc::diagnostics::{Style, json, render, sarif};
use polc::fidelity::Object;
use polc::frontend::{LoadOptions, load_bytes};
use polc::policy::{Operation, PathPattern, Policy, WordPattern};
use polc::semantics::{Meaning, PathSet, decide, intersects, matches_path, matches_word};
use polc::why::{Reader, explain, human, summary};

/// Two patterns and a path, a line each.
pub fn matching(bytes: &[u8]) {
    // With few bytes of few kinds the same text often matches both.
    let mut lines = bytes.splitn(3, |b| *b == b'\n');
    let mut pattern = || {
        let text = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let _ = WordPattern::parse_glob(&text).map(|p| matches_word(&p, text.as_bytes()));
        PathPattern::parse(&text).ok()
    };
    let (first, second) = (pattern(), pattern());
    let path = lines.next().unwrap_or_default();
    let (Some(first), Some(second)) = (first, second) else {
        return;
    };
    if first.sequences.len() * second.sequences.len() > 64 {
        return;
    }
    for pattern in [&first, &second] {
        if !is_a_path(path) {
            break;
        }
        if let Ok(set) = PathSet::of(&pattern.sequences) {
            assert_eq!(matches_path(pattern, path), set.contains(path));
        }
    }
    for a in &first.sequences {
        for b in &second.sequences {
            if let (Ok(x), Ok(y)) = (PathSet::of([a]), PathSet::of([b]))
                && let Ok(witness) = x.common_witness(&y)
            {
                assert_eq!(intersects(a, b), witness.is_some(), "{a} {b}");
            }
        }
    }
}

/// Whether the bytes are a path as a policy speaks of it: absolute, resolved, without NUL. Only those are decided.
fn is_a_path(bytes: &[u8]) -> bool {
    let name = |n: &[u8]| !n.is_empty() && n != b"." && n != b".." && !n.contains(&0);
    bytes == b"/"
        || bytes
            .strip_prefix(b"/")
            .is_some_and(|names| names.split(|b| *b == b'/').all(name))
}

/// A policy of any language: errors can be printed, and what loads can be decided.
pub fn policy(name: &str, bytes: &[u8]) {
    match load_bytes(name, bytes, &LoadOptions::default()) {
        Ok(loaded) => {
            let _ = render(&loaded.warnings, Style::Plain);
            for operation in Operation::ALL {
                let _ = decide(&loaded.policy, operation, &Object::Path(b"/srv/a".to_vec()));
            }
        }
        Err(d) => {
            assert!(d.has_errors());
            let _ = (render(&d, Style::Coloured), json(&d), sarif(&d));
        }
    }
}

/// A policy of AvaKill: its key makes a file one.
pub fn avakill(bytes: &[u8]) {
    policy(
        "avakill.yaml",
        &[b"version: '1.0'\npolicies:\n".as_slice(), bytes].concat(),
    );
}

/// An artifact: the first byte chooses the reader, the rest is the file.
pub fn read_back(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let all = backend::all();
    let reader = all[usize::from(*first) % all.len()];
    let artifact = Artifact {
        file_name: String::new(),
        bytes: rest.to_vec(),
    };
    if let Ok(read) = reader.read_back(&[artifact], &Options::default()) {
        for operation in Operation::ALL {
            let _ = read.allows(operation, &Object::Path(b"/srv/a".to_vec()));
        }
        let _ = read.others();
    }
}

fn small() -> Policy {
    let text = "version: 1\nname: fuzz\nsubject: {home: /h, workspace: /w, tmp: /tmp}\nrules:\n  \
        - {name: keys, action: deny, operations: [read], paths: ['~/.ssh/**'], message: keys stay here}\n  \
        - {name: work, action: allow, operations: [read, write], paths: ['${workspace}/**']}\n  \
        - {name: web, action: allow, operations: [connect], hosts: ['*.example.org:443']}\n";
    load_bytes("fuzz.yaml", text.as_bytes(), &LoadOptions::default())
        .expect("the policy loads")
        .policy
}

/// A log.
pub fn why(bytes: &[u8]) {
    let mut reader = Reader::new();
    if reader.take(bytes).is_err() {
        return;
    }
    let log = reader.finish();
    let policy = small();
    let found = explain(&Meaning::new(&policy), &log);
    let text: String = found.iter().map(human).collect::<String>() + &summary(&log, &found);
    // Nothing in a log gives a terminal an order.
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text:?}"
    );
}

/// A client of the proxy, which has to answer or to close, and to go on serving.
#[cfg(unix)]
pub mod proxy {
    use super::small;
    use polc::enforce::egress::{Egress, Resolve};
    use std::io::{Read, Write};
    use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::sync::mpsc::channel;
    use std::sync::{Arc, OnceLock};
    use std::time::Duration;

    /// No name has an address: nothing is connected to.
    struct Nothing;

    impl Resolve for Nothing {
        fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
            Ok(Vec::new())
        }
    }

    fn address() -> SocketAddr {
        static PROXY: OnceLock<(Egress, SocketAddr)> = OnceLock::new();
        PROXY
            .get_or_init(|| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
                let at = listener.local_addr().expect("its address");
                // Nobody reads what is refused; it is no reason to stop serving.
                let (refusals, _) = channel();
                let proxy = Egress::with_resolver(&small(), listener, refusals, Arc::new(Nothing));
                (proxy.expect("the proxy starts"), at)
            })
            .1
    }

    pub fn client(bytes: &[u8]) {
        let mut stream = TcpStream::connect(address()).expect("the proxy still serves");
        let wait = Some(Duration::from_secs(5));
        stream.set_read_timeout(wait).expect("a timeout");
        // The proxy may close before all is written.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        if let Err(e) = stream.read_to_end(&mut answer) {
            assert_ne!(
                e.kind(),
                std::io::ErrorKind::WouldBlock,
                "no answer and no end"
            );
        }
    }
}
