//! Whatever the bytes are, the front-end answers, soon, and does not panic.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::diagnostics::{Style, json, render, sarif};
use polc::frontend::{LoadOptions, builtin, load, load_bytes};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Loads and renders in every way: none of it may panic.
fn all_of_it(bytes: &[u8]) {
    match load_bytes("fuzz.yaml", bytes, &LoadOptions::default()) {
        Ok(loaded) => {
            let _ = render(&loaded.warnings, Style::Plain);
        }
        Err(d) => {
            assert!(d.has_errors());
            assert!(!render(&d, Style::Coloured).is_empty());
            let _ = (json(&d), sarif(&d));
            for l in d
                .items
                .iter()
                .flat_map(|d| d.primary.iter().chain(&d.secondary))
            {
                let file = d.sources.get(l.span.file).expect("a label's file");
                assert!(
                    file.text.get(l.span.start..l.span.end).is_some(),
                    "a place inside a character"
                );
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = builtin::policies()
        .iter()
        .map(|b| b.text.as_bytes().to_vec())
        .collect();
    for folder in ["tests/policies", "tests/messages"] {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for e in std::fs::read_dir(dir).unwrap() {
            let p = e.unwrap().path();
            if p.extension().is_some_and(|e| e == "yaml") {
                out.push(std::fs::read(p).unwrap());
            }
        }
    }
    out.sort();
    out
}

#[derive(Debug, Clone)]
enum Change {
    Put(u16, Vec<u8>),
    Cut(u16, u8),
    Copy(u16, u16, u8),
}

const PIECES: [&str; 34] = [
    "[", "]", "{", "}", ":", "- ", "\n", "\t", "\r\n", "\"", "'", "&a ", "*a", "<<: ", "!x ",
    "|\n", ">\n", "---\n", "...\n", "#", "\\", "${", "${home}", "~", "**", "*", "[!", "\u{feff}",
    "\u{2028}", "é", "🦀", "\0", "null", "? ",
];

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<u16>(), prop::sample::select(PIECES.to_vec()))
            .prop_map(|(a, p)| Change::Put(a, p.as_bytes().to_vec())),
        (any::<u16>(), prop::collection::vec(any::<u8>(), 1..4))
            .prop_map(|(a, b)| Change::Put(a, b)),
        (any::<u16>(), any::<u8>()).prop_map(|(a, n)| Change::Cut(a, n)),
        (any::<u16>(), any::<u16>(), any::<u8>()).prop_map(|(a, b, n)| Change::Copy(a, b, n)),
    ]
}

fn apply(mut bytes: Vec<u8>, changes: Vec<Change>) -> Vec<u8> {
    for c in changes {
        let at = |a: u16| {
            if bytes.is_empty() {
                0
            } else {
                a as usize % (bytes.len() + 1)
            }
        };
        match c {
            Change::Put(a, b) => {
                let a = at(a);
                bytes.splice(a..a, b);
            }
            Change::Cut(a, n) => {
                let a = at(a);
                let end = (a + n as usize).min(bytes.len());
                bytes.drain(a..end);
            }
            Change::Copy(a, b, n) => {
                let (a, b) = (at(a), at(b));
                let piece = bytes[a..(a + n as usize).min(bytes.len())].to_vec();
                bytes.splice(b..b, piece);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        all_of_it(&bytes);
    }

    #[test]
    fn random_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60)) {
        all_of_it(pieces.concat().as_bytes());
    }

    #[test]
    fn random_patterns(text in "[\\[\\]{}*?,/\\\\a~$!é -]{0,24}") {
        let list = serde_json::to_string(&[&text]).unwrap();
        let both = format!(
            "version: 1\nname: x\nsubject: {{home: /h}}\nrules:\n  - {{name: a, action: deny, operations: [read], paths: {list}}}\n  \
             - {{name: b, action: deny, commands: {list}}}\n  - {{name: c, action: deny, operations: [connect], hosts: {list}}}\n  \
             - {{name: d, action: deny, tools: {list}}}\ntests:\n  - allow: {}\n  - allow: {}\n",
            serde_json::to_string(&format!("read {text}")).unwrap(),
            serde_json::to_string(&format!("run {text}")).unwrap(),
        );
        all_of_it(both.as_bytes());
    }

    #[test]
    fn mutated_policies(seed in any::<prop::sample::Index>(), changes in prop::collection::vec(change(), 1..6)) {
        let seeds = seeds();
        all_of_it(&apply(seeds[seed.index(seeds.len())].clone(), changes));
    }
}

/// In a debug build on a busy machine ten times what is asked for; a quadratic step is a thousand times.
fn soon(what: &str, limit: Duration, f: impl FnOnce()) {
    let start = Instant::now();
    f();
    let took = start.elapsed();
    println!("{what}: {took:?}");
    assert!(took < limit, "{what} took {took:?}");
}

#[test]
fn garbage_fails_soon() {
    let mut seed = 1u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as u8
    };
    let bytes: Vec<u8> = (0..10_000_000).map(|_| random()).collect();
    let ascii: Vec<u8> = bytes.iter().map(|b| b % 95 + 32).collect();
    let small = 4_000_000;
    for (what, text) in [
        ("10 MB of random bytes", bytes),
        ("10 MB of letters", ascii.clone()),
        ("4 MB of letters", ascii[..small].to_vec()),
        ("4 MB of [", vec![b'['; small]),
        ("4 MB of {", vec![b'{'; small]),
        (
            "4 MB of commas",
            [b"[".as_slice(), &vec![b','; small]].concat(),
        ),
        (
            "4 MB of list",
            [b"[".as_slice(), &b"a,".repeat(small / 2)].concat(),
        ),
        ("4 MB of dashes", b"- ".repeat(small / 2)),
        ("4 MB of lines", b"- a\n".repeat(small / 4)),
        (
            "4 MB of keys",
            (0..small / 14)
                .flat_map(|i| format!("k{i:08}: 1\n").into_bytes())
                .collect(),
        ),
        ("4 MB of equal keys", b"version: 1\n".repeat(small / 11)),
        ("4 MB of blanks", vec![b' '; small]),
        ("4 MB of tabs", vec![b'\t'; small]),
        ("4 MB of quotes", vec![b'"'; small]),
        (
            "4 MB of text",
            [b"name: ".as_slice(), &vec![b'a'; small]].concat(),
        ),
        (
            "4 MB of anchors",
            (0..small / 16)
                .flat_map(|i| format!("- &a{i:08} x\n").into_bytes())
                .collect(),
        ),
        ("4 MB of comments", b"# a\n".repeat(small / 4)),
    ] {
        soon(what, Duration::from_secs(10), || all_of_it(&text));
    }
}

#[test]
fn ten_thousand_rules_load_soon() {
    for flow in [false, true] {
        let mut text =
            String::from("version: 1\nname: many\nsubject: {home: /h, workspace: /w}\nrules:");
        text.push_str(if flow { " [" } else { "\n" });
        for i in 0..10_000 {
            if flow {
                text.push_str(&format!("{{name: r{i}, action: allow, operations: [read, write], paths: [\"${{workspace}}/d{i}/**\", \"~/x{i}\"]}}, "));
            } else {
                text.push_str(&format!(
                    "  - name: r{i}\n    action: allow\n    operations: [read, write]\n    paths: [\"${{workspace}}/d{i}/**\", \"~/x{i}\"]\n"
                ));
            }
        }
        text.push_str(if flow { "]\n" } else { "" });
        soon("10,000 rules", Duration::from_secs(8), || {
            let loaded = load("many", &text, &LoadOptions::default()).unwrap();
            assert_eq!(loaded.policy.rules.len(), 10_000);
            let last = &loaded.policy.rules[9_999];
            assert_eq!(&text[last.span.start..last.span.end], "r9999");
        });
        let wrong = text.replace("action: allow", "action: alow");
        soon("10,000 errors", Duration::from_secs(12), || {
            all_of_it(wrong.as_bytes())
        });
    }
}
