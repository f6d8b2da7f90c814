//! Runs the fuzz targets of `fuzz/` on randomly changed bytes, without a fuzzer. Each target takes a second or two, and
//! the bytes are the same every time. cargo-fuzz finds more. This finds what fails at once.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../fuzz/fuzz_targets/targets.rs"]
mod targets;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long each target runs.
const TIME: Duration = Duration::from_secs(2);
/// The longest time for one input, without optimisation on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

/// A generator of numbers (xorshift). Every run has the same numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit.max(1)
    }
}

/// Texts that are special in one of the languages.
const PIECES: [&str; 40] = [
    "*",
    "**",
    "?",
    "[",
    "]",
    "[!",
    "{",
    "}",
    ",",
    "/",
    "\\",
    "\\x",
    "$",
    "^",
    "(",
    ")",
    "|",
    "+",
    "{2,3}",
    "\n",
    "\0",
    "\"",
    "'",
    ":",
    "- ",
    "#",
    "@{",
    "&a ",
    "*a",
    "\u{feff}",
    "é",
    "\x1b[2J",
    "\u{202e}",
    "=",
    "audit(",
    "65535",
    "-1",
    "CONNECT a:1 HTTP/1.1\r\n\r\n",
    "\x05\x01\0",
    "Content-Length: 5\r\n",
];

fn changed(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seeds[numbers.below(seeds.len())].clone();
    // Long files are slow, and a part of one finds as much.
    if bytes.len() > 4096 {
        let from = numbers.below(bytes.len() - 4096);
        bytes = bytes[from..from + 4096].to_vec();
    }
    for _ in 0..=numbers.below(8) {
        let at = numbers.below(bytes.len() + 1);
        match numbers.below(4) {
            0 => {
                let piece = PIECES[numbers.below(PIECES.len())].bytes();
                bytes.splice(at..at, piece);
            }
            1 => {
                let end = (at + numbers.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                let end = (at + numbers.below(40)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = numbers.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            _ => {
                let byte = u8::try_from(numbers.below(256)).unwrap();
                bytes.splice(at..at, [byte]);
            }
        }
    }
    bytes
}

fn tried(seeds: &[Vec<u8>], target: impl Fn(&[u8])) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let start = Instant::now();
    let mut tried = 0;
    for seed in seeds {
        target(&seed[..seed.len().min(1 << 16)]);
    }
    while start.elapsed() < TIME || tried < 50 {
        let bytes = changed(seeds, &mut numbers);
        let from = Instant::now();
        target(&bytes);
        assert!(
            from.elapsed() < BOUND,
            "{:?}",
            bytes.escape_ascii().to_string()
        );
        tried += 1;
    }
}

/// Files beneath a folder of the repository.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut work = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(path) = work.pop() {
        if path.is_dir() {
            work.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else {
            out.push(path);
        }
    }
    out.sort();
    out
}

fn texts(folder: &str) -> Vec<Vec<u8>> {
    files(folder)
        .iter()
        .map(|f| std::fs::read(f).unwrap())
        .collect()
}

#[test]
fn matching() {
    let seeds = [
        "/a/**/b\n/**/a/*\n/a/b",
        "/**/*a*b*/**/{a,b*}\n/[ab]?/**\n/ab/aab/b",
        "/**/a/**/a/**/a/b\n/a*a*a*b/**\n/a/a/a/b",
        "/{,a}/**\n/\n/",
    ];
    tried(&seeds.map(|s| s.as_bytes().to_vec()), targets::matching);
}

#[test]
fn policies() {
    tried(&texts("tests/policies"), |b| {
        targets::policy("fuzz.yaml", b)
    });
    tried(&texts("tests/avakill"), |b| {
        targets::policy("avakill.yaml", b)
    });
    tried(
        &[b"  - {name: a, tools: ['*_x', all], action: deny}\n".to_vec()],
        targets::avakill,
    );
}

#[test]
fn artifacts() {
    let all = polc::backend::all();
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (i, backend) in all.iter().enumerate() {
        let number = u8::try_from(i).unwrap();
        let of_target: Vec<PathBuf> = files("snapshots")
            .into_iter()
            .filter(|f| f.to_string_lossy().contains(backend.id()))
            .collect();
        // The smallest files: most of a large one repeats.
        let mut texts: Vec<Vec<u8>> = of_target
            .iter()
            .map(|f| std::fs::read(f).unwrap())
            .collect();
        texts.sort_by_key(Vec::len);
        for text in texts.into_iter().take(3) {
            seeds.push([&[number], text.as_slice()].concat());
        }
        seeds.push([&[number], b"{}".as_slice()].concat());
    }
    tried(&seeds, targets::read_back);
}

#[test]
fn logs() {
    let seeds = [
        r#"audit: type=1400 audit(1700000000.123:45): apparmor="DENIED" operation="open" profile="x" name="/h/.ssh/id" pid=1 comm="cat" requested_mask="r" denied_mask="r" fsuid=0 ouid=0"#,
        r#"type=AVC msg=audit(1700000000.123:46): avc:  denied  { read } for  pid=1 comm="cat" name="id" dev="sda" ino=5 scontext=u:r:x_t:s0 tcontext=u:object_r:y_t:s0 tclass=file permissive=0"#,
        r#"type=LANDLOCK_ACCESS msg=audit(1700000000.123:47): domain=1a2b3c blockers=fs.read_file path="/h/.ssh/id" dev="sda" ino=5"#,
        r#"type=SECCOMP msg=audit(1700000000.123:48): auid=0 uid=0 gid=0 ses=1 pid=1 comm="x" exe="/x" sig=0 arch=c000003e syscall=101 compat=0 ip=0x7f code=0x50000"#,
        r#"{"process_kprobe":{"process":{"binary":"/x"},"function_name":"security_file_open","args":[{"file_arg":{"path":"/h/.ssh/id"}}],"action":"KPROBE_ACTION_OVERRIDE"}}"#,
        "polc: refused example.com:443 (CONNECT): rule `web`\n",
    ];
    tried(&seeds.map(|s| s.as_bytes().to_vec()), targets::why);
}

#[cfg(unix)]
#[test]
fn proxy() {
    let seeds: [&[u8]; 6] = [
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
        b"GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\nabc",
        b"POST http://a.example.org/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x01\xbb",
        b"\x05\x02\x00\x02\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x50",
        b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    ];
    tried(&seeds.map(<[u8]>::to_vec), targets::proxy::client);
}
