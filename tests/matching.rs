//! Matching takes time that is a product of lengths, whatever the pattern and the text are. The results are compared
//! with an engine of regular expressions that shares no code with it.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use polc::frontend::{LoadOptions, load};
use polc::lint::{Judge, lints};
use polc::policy::{Component, PathPattern, Policy, Query, Sequence, Token, WordPattern};
use polc::semantics::{Meaning, PathSet, decide_query, intersects, matches_path, matches_word};
use proptest::prelude::*;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use std::time::{Duration, Instant};

/// Far more than each of these takes, without optimisation on a busy machine. It is far less than a search that tries
/// every split, because each of these patterns has more than 2^40 splits.
const BOUND: Duration = Duration::from_secs(60);

fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = work();
    let took = start.elapsed();
    assert!(took < BOUND, "{what}: {took:?}");
    out
}

fn pattern(text: &str) -> PathPattern {
    PathPattern::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Patterns with texts that nearly match them.
fn worst_paths() -> Vec<(String, Vec<u8>)> {
    let name = "a".repeat(255);
    // 4,095 bytes in names of one byte, and in the longest names that Linux takes.
    let deep = "/a".repeat(2047);
    let long = format!("/{name}").repeat(15);
    vec![
        (
            format!("/w/{}b", "a*".repeat(40)),
            format!("/w/{name}").into(),
        ),
        (
            format!("/w/{}b", "*a".repeat(100)),
            format!("/w/{name}").into(),
        ),
        (
            format!("/w/{}b", "*[ab]?".repeat(60)),
            format!("/w/{name}").into(),
        ),
        (format!("{}/b", "/**/a".repeat(60)), deep.clone().into()),
        (format!("{}/b", "/**/*".repeat(500)), deep.clone().into()),
        (format!("{}/b", "/**/?*a*".repeat(12)), long.clone().into()),
        (format!("{}/b", "/**/*a*a*a*".repeat(14)), long.into()),
        (
            format!("/{{{}}}/b", vec!["**/a/**/a/**/a"; 50].join(",")),
            deep.into(),
        ),
    ]
}

#[test]
fn the_worst_paths_are_matched_soon() {
    for (text, path) in worst_paths() {
        let pattern = pattern(&text);
        assert!(!soon(&text, || matches_path(&pattern, &path)), "{text}");
        let mut near = path.clone();
        near.extend_from_slice(b"/b");
        let last = pattern.sequences[0].components.last();
        let ends_in_b = last.and_then(Component::literal) == Some(b"b");
        assert_eq!(
            soon(&text, || matches_path(&pattern, &near)),
            ends_in_b,
            "{text}"
        );
    }
}

#[test]
fn the_worst_words_are_matched_soon() {
    let word = "a".repeat(4096);
    for text in [
        "a*".repeat(500) + "b",
        "*a?".repeat(500) + "b",
        "*[!b]".repeat(500) + "b",
    ] {
        let glob = WordPattern::parse_glob(&text).unwrap();
        assert!(!soon(&text, || matches_word(&glob, word.as_bytes())));
        assert!(soon(&text, || matches_word(
            &glob,
            format!("{word}b").as_bytes()
        )));
    }
}

#[test]
fn the_worst_pairs_of_patterns_are_compared_soon() {
    let pairs = [
        ("/**/a".repeat(300) + "/b", "/**/a/*".repeat(300) + "/c"),
        (
            format!("/{}b", "a*".repeat(120)),
            format!("/{}c", "*a".repeat(120)),
        ),
        (
            "/**/*a*a*a*".repeat(60) + "/b",
            "/*a*a*a*/**".repeat(60) + "/c",
        ),
    ];
    for (a, b) in &pairs {
        let (a_, b_) = (pattern(a), pattern(b));
        assert!(
            !soon(a, || intersects(&a_.sequences[0], &b_.sequences[0])),
            "{a} {b}"
        );
        assert!(
            soon(a, || intersects(&a_.sequences[0], &a_.sequences[0])),
            "{a}"
        );
    }
}

/// Braces are expanded when a pattern is read. The number of alternatives has a limit.
#[test]
fn braces_that_explode_are_refused_soon() {
    for text in [
        format!("/{}", "{a,b}".repeat(30)),
        format!("/{}x{}", "{a,".repeat(30), "}".repeat(30)),
        format!("/{{{}}}", vec!["{a,b}".repeat(10); 200].join(",")),
        format!("/{}", "{a{b,c}d,e{f,g}h}".repeat(300)),
        format!("/{}", "{,a}".repeat(4000)),
    ] {
        let shown: String = text.chars().take(40).collect();
        let _ = soon(&shown, || PathPattern::parse(&text));
        let _ = soon(&shown, || WordPattern::parse_glob(&text));
    }
    assert!(PathPattern::parse(&format!("/{}", "{a,b}".repeat(30))).is_err());
}

/// The commands' work on a policy: its tests, the sets, the lints, the same rules in another tool's format.
#[test]
fn the_worst_policies_are_decided_soon() {
    let worst = worst_paths();
    let mut rules = String::new();
    let mut tests = String::new();
    for (i, (text, path)) in worst.iter().enumerate() {
        rules += &format!(
            "  - {{name: r{i}, action: {}, operations: [read], paths: ['{text}']}}\n",
            if i % 2 == 0 { "deny" } else { "allow" }
        );
        tests += &format!("  - deny: read {}\n", String::from_utf8_lossy(path));
    }
    rules += &format!(
        "  - {{name: words, action: allow, commands: ['x {} {} **']}}\n",
        "*a".repeat(40),
        "a*b*".repeat(40)
    );
    tests += &format!("  - deny: run x {} {}\n", "a".repeat(200), "ab".repeat(100));
    let text = format!("version: 1\nname: worst\nrules:\n{rules}tests:\n{tests}");
    let policy = soon("load", || {
        load("worst.yaml", &text, &LoadOptions::default())
    })
    .unwrap()
    .policy;
    for test in &policy.tests {
        let shown = match &test.query {
            Query::Path(_, path) => String::from_utf8_lossy(&path[..20]).into_owned(),
            other => format!("{other:?}"),
        };
        soon(&shown, || decide_query(&policy, &test.query));
    }
    // The sets of several of them soon become too large, which is a valid answer. Each alone is decided.
    for rule in &policy.rules {
        let one = Policy::of_rules("one", policy.default_action, vec![rule.clone()]);
        let said = soon(&rule.name, || {
            lints(&Meaning::new(&one), &Judge::default()).is_ok()
        });
        assert!(said, "{}", rule.name);
    }
    let peer = format!(
        "version: '1.0'\npolicies:\n  - {{name: r, tools: ['{}b'], action: allow}}\n",
        "*a".repeat(100)
    );
    let _ = soon("another tool's file", || {
        load("avakill.yaml", &peer, &LoadOptions::default())
    });
}

fn regex(text: &str) -> Regex {
    Regex::builder()
        .syntax(
            syntax::Config::new()
                .unicode(false)
                .utf8(false)
                .dot_matches_new_line(true),
        )
        .build(text)
        .unwrap()
}

fn of_tokens(tokens: &[Token], any: &str) -> String {
    tokens
        .iter()
        .map(|t| match t {
            Token::Byte(b) => format!("\\x{b:02x}"),
            Token::Any => any.to_owned(),
            Token::Star => format!("{any}*"),
            Token::Class(set) => {
                let members: String = set.iter().map(|b| format!("\\x{b:02x}")).collect();
                format!("[{members}]")
            }
        })
        .collect()
}

fn of_sequence(sequence: &Sequence) -> String {
    let parts: String = sequence
        .components
        .iter()
        .map(|c| match c {
            Component::AnyDepth => "(?:/[^/]+)*".to_owned(),
            Component::Name(tokens) => format!("/{}", of_tokens(tokens, "[^/]")),
        })
        .collect();
    format!("^(?:{parts})$")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn paths_match_as_the_regular_expression_does(
        parts in prop::collection::vec("(\\*\\*|[ab*?]{1,5}|\\[ab\\]\\*|[ab]{0,2}\\{a,b\\*\\})", 1..7),
        names in prop::collection::vec("[abc]{1,5}", 0..8),
    ) {
        let text: String = parts
            .iter()
            .map(|p| if p.contains("**") && p != "**" { "/*".to_owned() } else { format!("/{p}") })
            .collect();
        let pattern = pattern(&text);
        let path: String = names.iter().map(|n| format!("/{n}")).collect();
        let expected = pattern.sequences.iter().any(|s| regex(&of_sequence(s)).is_match(&path));
        let asked = if path.is_empty() { "/" } else { &path };
        prop_assert_eq!(matches_path(&pattern, asked.as_bytes()), expected, "{} {}", text, asked);
    }

    #[test]
    fn words_match_as_the_regular_expression_does(
        glob in "[ab*?]{0,8}(\\[!a\\])?[ab*?]{0,8}",
        word in prop::collection::vec(prop::sample::select(b"ab/\xff".to_vec()), 0..12),
    ) {
        let pattern = WordPattern::parse_glob(&glob).unwrap();
        let tokens = &pattern.alternatives[0];
        let expected = regex(&format!("^(?:{})$", of_tokens(tokens, "."))).is_match(&word);
        prop_assert_eq!(matches_word(&pattern, &word), expected, "{} {:?}", glob, word);
    }

    #[test]
    fn patterns_intersect_as_their_sets_do(
        a in prop::collection::vec("(\\*\\*|[ab*?]{1,3}|\\[ab\\])", 0..5),
        b in prop::collection::vec("(\\*\\*|[ab*?]{1,3}|\\[bc\\])", 0..5),
    ) {
        let of = |parts: &[String]| {
            let parts: String = parts
                .iter()
                .map(|p| if p.contains("**") && p != "**" { "/*".to_owned() } else { format!("/{p}") })
                .collect();
            pattern(if parts.is_empty() { "/" } else { &parts }).sequences[0].clone()
        };
        let (a, b) = (of(&a), of(&b));
        let sets = [&a, &b].map(|s| PathSet::of([s]).unwrap());
        let common = sets[0].common_witness(&sets[1]).unwrap();
        prop_assert_eq!(intersects(&a, &b), common.is_some(), "{} {}", a, b);
    }
}
