//! How the native front-end reads a policy: includes, the subject, settings, questions.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::diagnostics::{Diagnostics, Style, render};
use polc::frontend::{AutoPaths, LoadOptions, Loaded, load, load_builtin, load_path, question};
use polc::policy::{Action, Objects, Operation, OperationSet, Policy, Query};
use polc::semantics::decide_query;

fn ok(text: &str) -> Policy {
    with(text, &LoadOptions::default())
}

fn with(text: &str, options: &LoadOptions) -> Policy {
    match load("policy.yaml", text, options) {
        Ok(Loaded { policy, .. }) => policy,
        Err(e) => panic!("{}", render(&e, Style::Plain)),
    }
}

fn codes(d: &Diagnostics) -> Vec<&'static str> {
    d.items.iter().map(|d| d.code).collect()
}

#[test]
fn the_example_of_the_readme_in_all_its_parts() {
    let p = ok(r#"
version: 1
name: coding-agent
description: Works in one repository.
subject:
  executable: /usr/local/bin/agent
  home: /home/agent
  workspace: /workspace
  tmp: /tmp
  kubernetes: {namespace: agents, labels: {app: coding-agent}}
rules:
  - include: builtin:credentials
  - name: repository
    action: allow
    operations: [read, write]
    paths: ["${workspace}/**"]
    except: ["${workspace}/vendor/**"]
  - name: tools
    action: allow
    commands: ["git status", "cargo **"]
    message: as it is
    rate: 10/1m
  - name: registries
    action: allow
    operations: [connect]
    hosts: ["index.crates.io:443", "udp://10.0.0.2:53"]
limits: {memory: 2GiB, cpus: 0.5, processes: 512, open_files: 1024, cpu_time: 1h, wall_time: 90s, file_size: 1MiB}
environment: {pass: [PATH, "LC_*"], set: {HOME: "${home}"}}
capabilities: [net_bind_service, CAP_CHOWN, chown]
tests:
  - allow: read ${workspace}/src/main.rs
  - deny: read ~/.ssh/id_ed25519
  - ask: write /x
"#);
    assert_eq!(p.default_action, Action::Deny, "what is left out is deny");
    assert_eq!(p.limits.memory, Some(2 << 30));
    assert_eq!(p.limits.cpus, Some(500));
    assert_eq!(
        (p.limits.cpu_time, p.limits.wall_time, p.limits.file_size),
        (Some(3600), Some(90), Some(1 << 20))
    );
    assert_eq!(
        p.environment.set,
        [("HOME".to_owned(), "/home/agent".to_owned())]
    );
    assert_eq!(p.capabilities, ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]);
    assert!(p.rules[0].name.starts_with("credentials/"));
    assert!(
        p.rules
            .iter()
            .enumerate()
            .all(|(i, r)| r.id.0 as usize == i)
    );
    let tools = p.rules.iter().find(|r| r.name == "tools").unwrap();
    assert_eq!(tools.rate.unwrap().seconds, 60);
    assert_eq!(
        tools.operations,
        OperationSet::from_iter([Operation::Execute])
    );
    let Objects::Paths { except, .. } = &p
        .rules
        .iter()
        .find(|r| r.name == "repository")
        .unwrap()
        .objects
    else {
        panic!()
    };
    assert_eq!(
        except[0].sequences[0].as_literal_tree().unwrap(),
        b"/workspace/vendor"
    );
    assert_eq!(
        p.tests[0].query,
        Query::Path(
            OperationSet::from_iter([Operation::Read]),
            b"/workspace/src/main.rs".to_vec()
        )
    );
    assert_eq!(
        p.tests[2].query,
        Query::Path(OperationSet::WRITE, b"/x".to_vec())
    );
    // The span of a rule is its name, in the file that it came from.
    for r in &p.rules {
        let text = &p.sources.get(r.span.file).unwrap().text[r.span.start..r.span.end];
        assert_eq!(text, r.name.rsplit('/').next().unwrap());
    }
}

#[test]
fn included_files_are_relative_to_the_one_that_includes_them() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let rule = |name: &str, path: &str| {
        format!("  - {{name: {name}, action: deny, operations: [read], paths: [\"{path}\"]}}\n")
    };
    let policy = write(
        "polc.yaml",
        &format!(
            "version: 1\nname: top\nsubject: {{home: /h}}\nrules:\n{}  - include: sets/a.yaml\n{}",
            rule("first", "/1"),
            rule("last", "/4")
        ),
    );
    write(
        "sets/a.yaml",
        &format!(
            "version: 1\nname: aa\ndefault_action: allow\nrules:\n{}  - include: ../b.yaml\n",
            rule("two", "~/2")
        ),
    );
    write(
        "b.yaml",
        &format!(
            "version: 1\nname: bb\nrules:\n{}tests:\n  - allow: read /nonsense-of-the-set\n",
            rule("three", "/3")
        ),
    );
    let p = load_path(&policy, &LoadOptions::default())
        .unwrap_or_else(|e| panic!("{e}"))
        .policy;
    assert_eq!(
        p.rules.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
        ["first", "aa/two", "bb/three", "last"]
    );
    assert_eq!(p.default_action, Action::Deny, "a set's default is its own");
    assert!(p.tests.is_empty(), "a set's tests are its own");
    assert_eq!(
        p.sources.place(p.rules[2].span),
        format!("{}:4", dir.path().join("sets/../b.yaml").display())
    );

    // A set that includes the policy itself is a cycle too.
    write(
        "b.yaml",
        "version: 1\nname: bb\nrules:\n  - include: polc.yaml\n",
    );
    assert_eq!(
        codes(&load_path(&policy, &LoadOptions::default()).unwrap_err()),
        ["P302"]
    );
    // A file that cannot be read is an error. A fifo does not block polc.
    let fifo = dir.path().join("b.yaml");
    std::fs::remove_file(&fifo).unwrap();
    if std::process::Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .is_ok_and(|s| s.success())
    {
        assert_eq!(
            codes(&load_path(&policy, &LoadOptions::default()).unwrap_err()),
            ["P303"]
        );
    }
}

#[test]
fn auto_is_the_callers_and_set_goes_before_all() {
    let text =
        "version: 1\nname: a\nsubject: {home: auto, workspace: auto, tmp: /var/tmp}\nrules: []\n";
    let options = LoadOptions {
        auto: AutoPaths {
            home: Some(b"/home/\xff".to_vec()),
            workspace: Some(b"/src".to_vec()),
            tmp: None,
        },
        set: vec![("workspace".to_owned(), b"/elsewhere".to_vec())],
        ..LoadOptions::default()
    };
    let p = with(text, &options);
    assert_eq!(p.subject.home.as_deref(), Some(b"/home/\xff".as_slice()));
    assert_eq!(
        p.subject.workspace.as_deref(),
        Some(b"/elsewhere".as_slice())
    );
    assert_eq!(p.subject.tmp.as_deref(), Some(b"/var/tmp".as_slice()));
    assert_eq!(
        ok(text).subject.workspace.as_deref(),
        Some(b"/workspace".as_slice()),
        "what emit takes"
    );

    let nothing = LoadOptions {
        auto: AutoPaths {
            home: None,
            workspace: None,
            tmp: None,
        },
        ..LoadOptions::default()
    };
    assert_eq!(
        codes(&load("p", text, &nothing).unwrap_err()),
        ["P306", "P306"]
    );
    for set in [
        ("hom", "/x"),
        ("home", "x"),
        ("home", "/x/../y"),
        ("home", "/x/"),
    ] {
        let options = LoadOptions {
            set: vec![(set.0.to_owned(), set.1.as_bytes().to_vec())],
            ..LoadOptions::default()
        };
        assert_eq!(
            codes(&load("p", text, &options).unwrap_err()),
            ["P307"],
            "{set:?}"
        );
    }
}

#[test]
fn all_errors_of_all_files_come_together_and_none_twice() {
    let text = "version: 2\nname: a b\nrulse: []\nlimits: {memory: x}\nrules:\n  - {name: a, action: x, commands: [\"'\"]}\n";
    assert_eq!(
        codes(&load("p", text, &LoadOptions::default()).unwrap_err()),
        ["P101", "P102", "P006", "P108", "P104", "P203"]
    );
}

#[test]
fn a_question_is_asked_as_a_test_is() {
    let p = load_builtin("coding-agent", &LoadOptions::default())
        .unwrap()
        .policy;
    for t in &p.tests {
        let file = &p.sources.get(t.span.file).unwrap().text;
        // Within braces a question stands in quotes.
        let text = file[t.span.start..t.span.end].trim_matches('"');
        let asked = question(text, &p.subject).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(asked, t.query);
        assert_eq!(decide_query(&p, &asked).action, t.expect);
    }
    for (bad, code) in [
        ("raed /x", "P105"),
        ("read /x*", "P114"),
        ("connect x", "P202"),
        ("run 'x", "P203"),
        ("read", "P114"),
        ("run ./x", "P114"),
    ] {
        assert_eq!(
            codes(&question(bad, &p.subject).unwrap_err()),
            [code],
            "{bad}"
        );
    }
}

#[test]
fn the_same_text_however_it_is_written() {
    let block = "version: 1\nname: a\nsubject: {home: /h}\nrules:\n- name: r\n  action: deny\n  operations:\n  - read\n  paths:\n  - ~/x y\n  - '/it''s'\n  - |-\n    /literal\n  - \"/a\\x20\\u00e9\"\n";
    let p = ok(block);
    let q = ok(&block.replace('\n', "\r\n"));
    let r = ok(&format!("\u{feff}--- # a comment\n{block}...\n"));
    let json = ok(
        r#"{"version": 1, "name": "a", "subject": {"home": "/h"}, "rules": [{"name": "r", "action": "deny", "operations": ["read"],
        "paths": ["~/x y", "/it's", "/literal", "/a \u00e9"]}]}"#,
    );
    let aliased = ok(
        "version: 1\nname: a\nsubject: {home: /h}\nrules:\n- {name: r, action: deny, operations: &r [read], paths: &p [\"~/x y\", \"/it's\", /literal, \"/a é\"]}\n- {name: s, action: deny, operations: *r, paths: *p}\n",
    );
    let paths = |p: &Policy| {
        let Objects::Paths { paths, .. } = &p.rules.last().unwrap().objects else {
            panic!()
        };
        paths
            .iter()
            .map(|p| String::from_utf8(p.sequences[0].as_literal().unwrap()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(&p), ["/h/x y", "/it's", "/literal", "/a é"]);
    for other in [&q, &r, &json, &aliased] {
        assert_eq!(paths(&p), paths(other));
    }
}
