//! Each lint finds its fault, and nothing else.

use super::{Judge, keys, lints};
use crate::frontend::{LoadOptions, load, load_builtin};
use crate::semantics::Meaning;

fn found(rules: &str) -> Vec<(String, String)> {
    let text = format!(
        "version: 1\nname: t\nsubject: {{home: /h, workspace: /w, tmp: /tmp}}\nrules:\n{rules}"
    );
    let policy = load("t.yaml", &text, &LoadOptions::default())
        .unwrap()
        .policy;
    lints(&Meaning::new(&policy), &Judge::default())
        .unwrap()
        .into_iter()
        .map(|d| (d.code.to_owned(), d.message))
        .collect()
}

fn codes(rules: &str) -> Vec<String> {
    found(rules).into_iter().map(|f| f.0).collect()
}

#[test]
fn each_lint_has_its_case_and_its_near_miss() {
    let deny = |name: &str, op: &str, path: &str| {
        format!(
            "  - {{name: {name}, action: deny, operations: [{op}], paths: ['{path}'], message: m}}\n"
        )
    };
    let allow = |name: &str, op: &str, path: &str| {
        format!("  - {{name: {name}, action: allow, operations: [{op}], paths: [{path}]}}\n")
    };
    let srv = allow("srv", "read", "'/srv/**'");
    let cases: &[(String, &[&str])] = &[
        // A rule above takes all of it. The other order is usual.
        (srv.clone() + &deny("late", "read", "/srv/k/**"), &["L001"]),
        (deny("first", "read", "/srv/k/**") + &srv, &[]),
        (
            srv.clone() + &allow("again", "read", "'/srv/x/**', '/opt'"),
            &["L003"],
        ),
        (allow("x", "read", "'/srv/x/**'") + &srv, &["L002"]),
        (
            "  - {name: d, action: deny, operations: [read], paths: ['/nowhere/**']}\n".to_owned()
                + &srv,
            &["L002"],
        ),
        (deny("read-me", "read", "/nowhere/**") + &srv, &[]),
        (
            allow("build", "'write', 'execute'", "'/srv/b/**'"),
            &["L004"],
        ),
        (
            allow("build", "write", "'/srv/b/**'") + &allow("run", "execute", "'/srv/c/**'"),
            &[],
        ),
        (allow("home", "read", "'/h/**'"), &["L005"]),
        (allow("work", "read", "'/w/**'"), &["L005"]),
        (allow("src", "read", "'/h/src/**'"), &[]),
        (allow("hooks", "create", "'/w/.git/hooks/**'"), &["L006"]),
        (allow("docker", "connect", "'/run/docker.sock'"), &["L007"]),
        (allow("other", "connect", "'/run/other.sock'"), &[]),
        (
            deny("keys", "read", "/srv/k/**") + &allow("srv", "'read', 'write'", "'/srv/**'"),
            &["L008"],
        ),
        (
            deny("keys", "'read', 'write'", "/srv/k/**")
                + &allow("srv", "'read', 'write'", "'/srv/**'"),
            &[],
        ),
        (
            deny("no-curl", "execute", "/usr/bin/curl")
                + &allow("bin", "'read', 'execute'", "'/usr/bin/**'"),
            &["L009"],
        ),
        (
            deny("no-curl", "'read', 'execute'", "/usr/bin/curl")
                + &allow("bin", "'read', 'execute'", "'/usr/bin/**'"),
            &[],
        ),
        (
            "  - {name: q, action: ask, syscalls: [mount]}\n".to_owned(),
            &["L010"],
        ),
        (
            "  - {name: q, action: ask, commands: ['git push **']}\n".to_owned(),
            &[],
        ),
    ];
    for (rules, expected) in cases {
        let mut got = codes(rules);
        got.dedup();
        // A `.env` anywhere is a credential, and the other cases are not about that.
        if !expected.contains(&"L005") {
            got.retain(|c| c != "L005");
        }
        assert_eq!(&got, expected, "{rules}\n{:?}", found(rules));
    }
}

#[test]
fn a_lint_can_be_allowed_where_it_is_about() {
    let with = "  - name: build
    action: allow
    operations: [write, execute]
    paths: ['/srv/b/**']
    allow_lints: [{code: L004, reason: it runs what it has built}]
";
    assert_eq!(codes(with), Vec::<String>::new());
    assert_eq!(codes(&with.replace("L004", "L001")), ["L004"]);
}

#[test]
fn the_policies_that_come_with_polc_have_none() {
    for name in crate::frontend::builtin::policies().iter().map(|b| b.name) {
        let policy = load_builtin(name, &LoadOptions::default()).unwrap().policy;
        let found = lints(&Meaning::new(&policy), &Judge::default()).unwrap();
        let told: Vec<String> = found
            .iter()
            .map(|d| format!("{} {}", d.code, d.message))
            .collect();
        assert!(told.is_empty(), "{name}: {told:#?}");
    }
}

/// The `allow_lints` of a stranger's policy do not count, but the homes of the user do.
#[test]
fn a_stranger_is_judged_by_the_homes_of_the_caller() {
    let text = r#"version: 1
name: t
subject: {home: /nonexistent, workspace: /home, tmp: /tmp}
allow_lints: [{code: L005, reason: x}, {code: L006, reason: x}, {code: L013, reason: x}]
rules:
  - include: builtin:credentials
  - name: work
    allow_lints: [{code: L005, reason: x}, {code: L013, reason: x}]
    action: allow
    operations: [read, write]
    paths: ["${workspace}/**"]
"#;
    let policy = load("t.yaml", text, &LoadOptions::default())
        .unwrap()
        .policy;
    let meaning = Meaning::new(&policy);
    let codes = |judge: &Judge| -> Vec<&str> {
        let found = lints(&meaning, judge).unwrap();
        let codes = found.into_iter().map(|d| d.code);
        codes.filter(|c| ["L005", "L013"].contains(c)).collect()
    };
    assert!(codes(&Judge::default()).is_empty());
    let homes = vec![b"/home/me".to_vec()];
    let known = Judge {
        homes: homes.clone(),
        of_a_stranger: false,
    };
    assert!(codes(&known).is_empty());
    let stranger = Judge {
        homes,
        of_a_stranger: true,
    };
    assert_eq!(codes(&stranger), ["L005", "L013"]);
    let found = keys(&meaning, b"/home/me").unwrap();
    assert!(found.iter().any(|k| k.pattern == "/home/me/.ssh/**"));
    assert!(keys(&meaning, b"/nonexistent").unwrap().is_empty());
}
