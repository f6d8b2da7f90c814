//! Random policies through every back-end and back: what the artefact's bytes say is what the ledger claims.
//!
//! `POLC_RANDOM=N` makes N policies for each back-end in place of the usual number.

use crate::ledgers::faults;
use polc::backend;
use polc::frontend::{LoadOptions, load};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

/// How many policies go through each back-end.
fn cases() -> u32 {
    let asked = std::env::var("POLC_RANDOM").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(3000)
}

fn component() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "ab", "etc", "usr", "bin", "w", "home", "tmp", "var", "private"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["*", "?", "a*", "*b", "[ab]", "{a,b}", "[!a]x", "*.pem"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["a b", "q'q", "x\\\\[y", "p\\\\{q", "h#i", "s(t)", "é"]).prop_map(str::to_owned),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    (prop::collection::vec(component(), 0..4), 0..10u8).prop_map(|(names, tail)| {
        let mut text = String::new();
        for (i, n) in names.iter().enumerate() {
            // A pattern that floats, now and then.
            if i == 1 && tail == 9 {
                text.push_str("/**");
            }
            text.push('/');
            text.push_str(n);
        }
        match tail {
            0..=4 => text + "/**",
            _ if text.is_empty() => "/".to_owned(),
            _ => text,
        }
    })
}

fn host() -> impl Strategy<Value = String> {
    let peers = prop::sample::select(vec![
        "example.org",
        "*.example.org",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "127.0.0.1",
        "localhost",
        "*",
        "192.168.1.7",
        "'[::1]'",
        "'[fd00::]/8'",
    ]);
    let scheme = prop::sample::select(vec!["", "tcp://", "udp://"]);
    let ports = prop::sample::select(vec!["", ":443", ":80", ":8000-8080", ":*"]);
    (scheme, peers, ports).prop_map(|(s, h, p)| format!("'{s}{}{p}'", h.trim_matches('\'')))
}

fn rule() -> impl Strategy<Value = String> {
    let action = prop_oneof![5 => Just("allow"), 4 => Just("deny"), 1 => Just("ask")];
    let operations = prop::sample::subsequence(
        vec![
            "read", "list", "edit", "create", "delete", "metadata", "write", "execute", "connect",
        ],
        1..4,
    );
    let quoted = |list: Vec<String>| {
        let texts: Vec<String> = list
            .iter()
            .map(|p| format!("'{}'", p.replace('\'', "''")))
            .collect();
        texts.join(", ")
    };
    let paths = (
        operations,
        prop::collection::vec(pattern(), 1..4),
        prop::collection::vec(pattern(), 0..2),
    )
        .prop_map(move |(o, p, e)| {
            let except = if e.is_empty() {
                String::new()
            } else {
                format!(", except: [{}]", quoted(e))
            };
            format!(
                "operations: [{}], paths: [{}]{except}",
                o.join(", "),
                quoted(p)
            )
        });
    let hosts = (
        prop::sample::select(vec!["connect", "bind", "connect, bind"]),
        prop::collection::vec(host(), 1..3),
    )
        .prop_map(|(o, h)| format!("operations: [{o}], hosts: [{}]", h.join(", ")));
    let commands = prop::collection::vec(
        prop::sample::select(vec![
            "git **",
            "git push **",
            "ls",
            "/usr/bin/tool *",
            "tool **",
            "'sh -c *'",
        ]),
        1..3,
    )
    .prop_map(|c| {
        format!(
            "commands: [{}]",
            c.iter()
                .map(|c| format!("\"{}\"", c.replace('\'', "")))
                .collect::<Vec<_>>()
                .join(", ")
        )
    });
    let syscalls = prop::sample::subsequence(
        vec![
            "mount",
            "'@io_uring'",
            "ptrace",
            "unlink",
            "chmod",
            "socket",
        ],
        1..3,
    )
    .prop_map(|s| format!("syscalls: [{}]", s.join(", ")));
    (action, prop_oneof![7 => paths.boxed(), 2 => hosts.boxed(), 1 => commands.boxed(), 1 => syscalls.boxed()])
        .prop_map(|(a, o)| format!("action: {a}, {o}"))
}

fn policy() -> impl Strategy<Value = String> {
    (prop::collection::vec(rule(), 0..7), prop::bool::weighted(0.2)).prop_map(|(rules, open)| {
        let default = if open { "allow" } else { "deny" };
        let rules: Vec<String> = rules
            .iter()
            .enumerate()
            .map(|(i, r)| format!("  - {{name: r{i}, {r}}}\n"))
            .collect();
        let rules = if rules.is_empty() { "  []\n".to_owned() } else { rules.concat() };
        format!(
            "version: 1\nname: random\ndefault_action: {default}\nsubject: {{home: /home/a, workspace: /w, tmp: /tmp}}\nrules:\n{rules}"
        )
    })
}

fn through(id: &str) {
    let backend = backend::find(id).unwrap();
    let mut runner = TestRunner::new(Config {
        cases: cases(),
        failure_persistence: None,
        ..Config::default()
    });
    let mut seen = 0u32;
    let mut valid = 0u32;
    let result = runner.run(&policy(), |text| {
        // Some random rules are wrong; those are the front-end's to refuse.
        let Ok(loaded) = load("random.yaml", &text, &LoadOptions::default()) else {
            return Ok(());
        };
        let found = faults("random", &loaded.policy, backend.id());
        if found.is_empty() {
            Ok(())
        } else {
            Err(TestCaseError::fail(format!("{}\n{text}", found.join("\n"))))
        }
    });
    for _ in 0..50 {
        use proptest::strategy::ValueTree;
        let text = policy().new_tree(&mut runner).unwrap().current();
        seen += 1;
        valid += u32::from(load("random.yaml", &text, &LoadOptions::default()).is_ok());
    }
    assert!(
        valid * 2 > seen,
        "most random policies are refused: {valid} of {seen}"
    );
    match result {
        Ok(()) => crate::report(&format!(
            "random policies through {id}: {}, and no ledger that its artefact does not bear out",
            cases()
        )),
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn landlock() {
    through("landlock");
}

#[test]
fn seccomp() {
    through("seccomp");
}

#[test]
fn sbpl() {
    through("sbpl");
}

#[test]
fn apparmor() {
    through("apparmor");
}

#[test]
fn tetragon() {
    through("tetragon");
}

#[test]
fn selinux() {
    through("selinux");
}
