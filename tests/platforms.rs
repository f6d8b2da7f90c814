//! A rule for one platform is not there for the layers of another.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::backend::{self, Backend, Options};
use polc::diagnostics::{Style, render};
use polc::diff::{Became, Side, diff};
use polc::fidelity::{Fidelity, Object};
use polc::frontend::{LoadOptions, builtin, load, load_builtin};
use polc::lint::{Judge, lints};
use polc::policy::{Action, Operation, Platform, Platforms, Policy};
use polc::proof::{compare, coverage};
use polc::semantics::{Meaning, decide};
use std::fmt::Write;

fn policy(rules: &str) -> Policy {
    let text = format!(
        "version: 1\nname: t\nsubject: {{home: /h, workspace: /w, tmp: /tmp}}\nrules:\n{rules}"
    );
    let loaded = load("t.yaml", &text, &LoadOptions::default());
    loaded
        .unwrap_or_else(|e| panic!("{}", render(&e, Style::Plain)))
        .policy
}

fn refused(text: &str) -> String {
    let Err(e) = load("t.yaml", text, &LoadOptions::default()) else {
        panic!("it is taken: {text}");
    };
    render(&e, Style::Plain)
}

fn of(platform: Platform) -> impl Iterator<Item = &'static dyn Backend> {
    let all = backend::all().iter().copied();
    all.filter(move |b| b.platform() == platform)
}

/// Beginnings of paths that are there on one platform alone, and the others' layers have no use for.
fn foreign(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Linux => &[
            "/Library/",
            "/System/",
            "/Applications/",
            "/Users/",
            "/private/var",
            "/private/etc",
            "/private/tmp",
            "/opt/homebrew",
            "com.apple.",
        ],
        Platform::MacOs => &[
            "\"/proc",
            "\"/run/",
            "/dev/shm",
            "/dev/sd",
            "^/proc",
            "\"/sys/",
            "\"/sys\"",
            "^/sys/",
            "/etc/ld",
            "ld-linux",
            "/nix/store/gnu",
        ],
    }
}

#[test]
fn no_artifact_has_a_path_of_another_system() {
    let mut found = String::new();
    for b in builtin::policies() {
        let loaded = load_builtin(b.name, &LoadOptions::default()).unwrap();
        let meaning = Meaning::new(&loaded.policy).without_ledgers();
        for backend in backend::all() {
            let Ok(made) = backend.compile(&meaning, &Options::default()) else {
                continue;
            };
            for artifact in made.artifacts {
                // A pattern of an artifact may have a dot escaped.
                let text = String::from_utf8_lossy(&artifact.bytes).replace("\\.", ".");
                for (i, line) in text.lines().enumerate() {
                    let all = foreign(backend.platform()).iter();
                    for word in all.filter(|w| line.contains(**w)) {
                        let _ = writeln!(
                            found,
                            "{}: {}:{}: {word}: {line}",
                            b.name,
                            artifact.file_name,
                            i + 1
                        );
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}

const TWO: &str = "
  - {name: mac, platforms: [macos], action: deny, operations: [read, write], paths: ['/w/only-there/**']}
  - {name: pc, platforms: [linux], action: deny, operations: [read, write], paths: ['/w/only-here/**']}
  - {name: tree, action: allow, operations: [read, write], paths: ['/w/**']}
  - {name: calls, platforms: [linux], action: deny, syscalls: [ptrace]}
";

#[test]
fn a_layer_of_another_platform_does_not_see_the_rule() {
    let policy = policy(TWO);
    let meaning = Meaning::new(&policy);
    for (platform, hidden, word) in [
        (Platform::Linux, &["mac"][..], "only-there"),
        (Platform::MacOs, &["pc", "calls"][..], "only-here"),
    ] {
        let seen = policy.seen_by(platform);
        for b in of(platform) {
            let made = b.compile(&meaning, &Options::default()).unwrap();
            for artifact in &made.artifacts {
                let text = String::from_utf8_lossy(&artifact.bytes);
                assert!(!text.contains(word), "{}: {text}", b.id());
            }
            let name = |id| policy.rule(id).name.as_str();
            let entries = made.ledger.entries.iter().filter_map(|e| e.rule.map(name));
            let mut counted = entries.filter(|n| hidden.contains(n));
            assert_eq!(counted.next(), None, "{}", b.id());
            // What is left is compared with what the platform sees of the policy, and only that.
            let options = Options {
                files: made.files.clone(),
                ..Options::default()
            };
            let read = b.read_back(&made.artifacts, &options).unwrap();
            let found = compare(&meaning, read.as_ref());
            let alone = compare(&Meaning::new(&seen), read.as_ref());
            let shown = |c: &polc::proof::Comparison| -> Vec<String> {
                c.differences().map(|d| format!("{d:?}")).collect()
            };
            assert_eq!(shown(&found), shown(&alone), "{}", b.id());
            for (rule, ..) in found.accounts() {
                assert!(
                    !rule.is_some_and(|r| hidden.contains(&name(r))),
                    "{}",
                    b.id()
                );
            }
        }
    }
}

#[test]
fn the_policy_as_a_platform_sees_it_keeps_numbers_and_names() {
    let policy = policy(TWO);
    let asked = |policy: &Policy, path: &str| {
        let decision = decide(policy, Operation::Read, &Object::Path(path.into()));
        (decision.action, decision.rule.map(|r| r.0))
    };
    let (linux, mac) = (
        policy.seen_by(Platform::Linux),
        policy.seen_by(Platform::MacOs),
    );
    assert_eq!(asked(&linux, "/w/only-there/x"), (Action::Allow, Some(2)));
    assert_eq!(asked(&mac, "/w/only-there/x"), (Action::Deny, Some(0)));
    assert_eq!(asked(&linux, "/w/only-here/x"), (Action::Deny, Some(1)));
    assert_eq!(asked(&mac, "/w/only-here/x"), (Action::Allow, Some(2)));
    assert_eq!(linux.rules[0].name, "mac");
    // What a platform sees, it sees again.
    assert!(!linux.hides_from(Platform::Linux));
}

#[test]
fn coverage_leaves_the_rule_out_where_it_is_not() {
    let policy = policy(TWO);
    let layers: Vec<(&'static dyn Backend, Options)> = ["apparmor", "sbpl"]
        .iter()
        .map(|id| (backend::find(id).unwrap(), Options::default()))
        .collect();
    let table = coverage(&Meaning::new(&policy), &layers, &[]).unwrap();
    let mut seen = 0;
    for row in &table.rows {
        let Some(rule) = row.rule else { continue };
        let here = [&row.cells[0], &row.cells[1]].map(Option::is_some);
        match policy.rule(rule).name.as_str() {
            "mac" => assert_eq!(here, [false, true]),
            "pc" | "calls" => assert_eq!(here, [true, false]),
            _ => assert_eq!(here, [true, true]),
        }
        assert!(row.together.is_some());
        seen += 1;
    }
    assert!(seen > 10);
    // Hosts of two platforms are not one host: what one of them loses is lost there.
    let calls = table
        .rows
        .iter()
        .find(|r| r.operation == Operation::Syscall);
    let calls = calls.unwrap().together.as_ref().unwrap();
    assert_eq!(calls.fidelity, Some(Fidelity::Unenforced));
    let gap = table
        .gaps
        .iter()
        .find(|g| g.operation == Operation::Syscall);
    assert!(gap.unwrap().platforms.contains(Platform::Linux));
}

#[test]
fn a_change_is_told_for_the_platform_where_it_is_one() {
    let old = policy("  - {name: a, action: allow, operations: [read], paths: ['/x', '/y']}\n");
    let new = policy(
        "  - {name: a, platforms: [macos], action: allow, operations: [read], paths: ['/x', '/y']}\n",
    );
    let (old, new) = (Meaning::new(&old), Meaning::new(&new));
    let found = diff(&Side::Policy(&old), &Side::Policy(&new)).unwrap();
    assert!(!found.is_empty());
    for change in found {
        assert_eq!(change.became, Became::Denied);
        assert_eq!(change.platforms, Platforms::only(Platform::Linux));
    }
    assert!(
        diff(&Side::Policy(&new), &Side::Policy(&new))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_rule_is_of_no_use_only_where_it_is_of_none_anywhere() {
    let codes = |rules: &str| -> Vec<(String, String)> {
        let policy = policy(rules);
        let found = lints(&Meaning::new(&policy), &Judge::default()).unwrap();
        found
            .into_iter()
            .map(|d| (d.code.to_owned(), d.message))
            .collect()
    };
    let above = "  - {name: above, platforms: [macos], action: allow, operations: [read], paths: ['/x/**']}\n";
    let below = "  - {name: below, action: allow, operations: [read], paths: ['/x/y', '/x/z']}\n";
    assert_eq!(codes(&format!("{above}{below}")), []);
    let mac = below.replace("action: allow", "platforms: [macos], action: allow");
    let found = codes(&format!("{above}{mac}"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "L001");
    // A danger on one platform is one.
    let danger = "  - {name: d, platforms: [macos], action: allow, operations: [write, execute], paths: ['/x/**']}\n";
    assert!(codes(danger).iter().any(|(code, _)| code == "L004"));
}

#[test]
fn a_set_for_a_platform_is_so_with_all_its_rules_and_tests() {
    let loaded = load_builtin("macos-runtime", &LoadOptions::default()).unwrap();
    let only = Platforms::only(Platform::MacOs);
    assert!(loaded.policy.rules.iter().all(|r| r.platforms == only));
    assert!(
        loaded
            .policy
            .tests
            .iter()
            .all(|t| t.platforms == Some(only))
    );
    let included = policy(
        "  - {include: 'builtin:macos-runtime'}\n  - {name: own, action: allow, operations: [read], paths: [/x]}\n",
    );
    let (own, set) = included.rules.split_last().unwrap();
    assert!(set.iter().all(|r| r.platforms == only));
    assert_eq!(own.platforms, Platforms::ALL);
}

#[test]
fn wrong_platforms_are_told() {
    let with = |head: &str, rule: &str| {
        refused(&format!(
            "version: 1\nname: t\n{head}rules:\n  - {{name: r, {rule}action: allow, operations: [read], paths: [/x]}}\n"
        ))
    };
    let typo = with("", "platforms: [linx], ");
    assert!(typo.contains("did you mean `linux`?"), "{typo}");
    let empty = with("", "platforms: [], ");
    assert!(empty.contains("is an empty list"), "{empty}");
    let none = with("platforms: [macos]\n", "platforms: [linux], ");
    assert!(none.contains("no platform that its file is for"), "{none}");
    let set = refused(
        "version: 1\nname: t\nplatforms: [linux]\nrules:\n  - {include: 'builtin:macos-runtime'}\n",
    );
    assert!(set.contains("no platform that the file is for"), "{set}");
}
