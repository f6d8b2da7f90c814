//! AvaKill's policy files, in every shape: the reference decides about objects.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::diagnostics::{Diagnostic, Severity};
use polc::fidelity::Object;
use polc::frontend::{AutoPaths, LoadOptions, Loaded, load, load_bytes};
use polc::policy::{Action, Condition, HostSpec, Objects, Operation, Policy, Rate};
use polc::semantics::{Meaning, decide};
use std::path::PathBuf;

fn text(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/avakill")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

fn loaded(name: &str) -> Loaded {
    load(name, &text(name), &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn policy(name: &str) -> Policy {
    loaded(name).policy
}

/// Checks lines such as `deny edit /etc/passwd`, `allow run git push`, `deny connect example.org:443`.
fn check(name: &str, lines: &str) {
    let policy = policy(name);
    let mut wrong = Vec::new();
    for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let mut words = line.split(' ');
        let (action, operation) = (words.next().unwrap(), words.next().unwrap());
        let rest: Vec<&str> = words.collect();
        let (operation, object) = match operation {
            "run" => (
                Operation::Execute,
                Object::Command(rest.iter().map(|w| w.as_bytes().to_vec()).collect()),
            ),
            o => {
                let operation = Operation::ALL.into_iter().find(|x| x.name() == o).unwrap();
                let object = match (operation, rest[0].starts_with('/')) {
                    (Operation::Tool, _) => Object::Tool(rest[0].to_owned()),
                    (_, true) => Object::Path(rest.join(" ").into_bytes()),
                    (_, false) => Object::Host(HostSpec::parse(rest[0]).unwrap()),
                };
                (operation, object)
            }
        };
        let d = decide(&policy, operation, &object);
        if d.action.name() != action {
            let by = d.rule.map_or("the default", |r| &policy.rule(r).name);
            wrong.push(format!("{line}: {} by {by}", d.action));
        }
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

fn noted(policy: &Policy, rule: &str, part: &str) -> bool {
    policy
        .notes
        .iter()
        .any(|n| n.rule.is_some_and(|r| policy.rule(r).name == rule) && n.text.contains(part))
}

#[test]
fn each_tool_stands_for_its_operations() {
    check(
        "tables.yaml",
        "deny delete /home/agent/x
         deny edit /home/agent/x
         deny create /home/agent/x
         allow metadata /home/agent/x
         allow read /home/agent/x
         deny run git status
         deny execute /usr/bin/git
         deny connect example.org:443
         allow bind 127.0.0.1:80
         allow edit /dev/null
         deny create /dev/null
         allow execute /lib64/ld-linux-x86-64.so.2
         deny tool file_delete
         allow tool Read",
    );
    check(
        "edit-only.yaml",
        "deny edit /home/agent/x
         allow create /home/agent/x
         allow delete /home/agent/x",
    );
    check(
        "no-shell.yaml",
        "deny run git\n allow edit /x\n allow connect example.org:443",
    );
}

#[test]
fn an_allow_list_of_commands_becomes_programs() {
    check(
        "allowlist.yaml",
        "allow run git push --force
         allow execute /usr/bin/ls
         deny run rm -rf /
         deny execute /usr/bin/bash
         allow read /home/agent/x
         allow list /home/agent
         deny edit /workspace/x
         deny create /workspace/x
         deny delete /workspace/x
         deny metadata /workspace/x
         deny connect example.org:443
         deny bind 127.0.0.1:80
         deny tool Bash
         deny tool mcp__x__y
         allow read /usr/lib/x86_64-linux-gnu/libc.so.6
         allow execute /lib64/ld-linux-x86-64.so.2
         allow edit /dev/null",
    );
    let policy = policy("allowlist.yaml");
    assert!(noted(&policy, "no-harm", "`args_match` on `command`"));
    assert!(noted(&policy, "plain-programs", "`shell_safe`"));
    let tools = policy
        .rules
        .iter()
        .find(|r| r.name == "plain-programs")
        .unwrap();
    let Objects::Tools { conditions, .. } = &tools.objects else {
        panic!()
    };
    assert!(conditions.contains(&Condition::ShellSafe));
    assert!(conditions.contains(&Condition::CommandIn(vec![
        "git".into(),
        "ls".into(),
        "cargo".into()
    ])));
}

#[test]
fn paths_are_trees_on_a_slash() {
    check(
        "deny-paths.yaml",
        "deny read /etc/passwd
         deny read /etc
         deny edit /etc/passwd
         deny create /etc/cron.d/x
         allow read /etcetera
         deny read /home/agent/.ssh/id_ed25519
         allow read /home/agent/.sshd
         deny list /home/agent/.aws
         allow edit /workspace/x
         allow create /tmp/x
         deny edit /workspaces/x
         deny delete /home/agent/x
         allow delete /workspace/x
         allow edit /dev/null
         deny read /workspace/.env
         deny read /workspace/a/.ENV.local/b
         deny read /home/agent/key.pem
         allow read /workspace/examples/.env
         deny read /srv/x
         allow read /usr/lib/x86_64-linux-gnu/libc.so.6
         allow run git",
    );
    let p = policy("deny-paths.yaml");
    assert!(noted(&p, "system", "no program starts"));
    let rule = |name: &str| {
        p.rules
            .iter()
            .find(|r| r.name == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    assert!(matches!(rule("deny-etc").objects, Objects::Tools { .. }));
    assert!(matches!(
        rule("deny-etc/paths").objects,
        Objects::Paths { .. }
    ));
    assert_eq!(rule("deny-etc").span.line, 4);
}

#[test]
fn the_first_match_stays_the_first() {
    check(
        "order.yaml",
        "allow read /srv/data/public/x
         deny read /srv/data/x
         deny read /srv/data
         allow read /srv/x
         deny read /home/agent/x
         deny edit /srv/x",
    );
}

#[test]
fn a_denial_with_a_condition_that_no_kernel_sees_denies_nothing_else() {
    check(
        "conditional-deny.yaml",
        "allow run rm x
         allow execute /bin/sh
         allow read /workspace/x
         deny read /home/agent/x
         allow connect /run/user/1000/bus
         allow connect example.org:443
         allow bind 127.0.0.1:80
         allow edit /workspace/x
         deny edit /home/agent/x
         allow edit /dev/null
         allow read /usr/bin/rm
         allow execute /usr/bin/chown",
    );
    let p = policy("conditional-deny.yaml");
    for (rule, part) in [
        ("rm", "`args_match` on `command`"),
        ("pip", "cannot ask"),
        ("outside", "`path_not_match` on `command`"),
        ("boundary", "do not have"),
        ("secrets", "`content_scan`"),
        ("short", "`args_match` on `file_path`"),
        ("grep", "searching is refused"),
        ("sql", "do nothing that a kernel sees"),
    ] {
        assert!(noted(&p, rule, part), "{rule}: {part}: {:?}", p.notes);
    }
    // The gate has every one of them.
    for name in [
        "rm", "pip", "outside", "boundary", "secrets", "short", "grep", "sql",
    ] {
        let rule = p.rules.iter().find(|r| r.name == name).unwrap();
        assert!(
            matches!(rule.objects, Objects::Tools { .. }) && rule.action != Action::Allow,
            "{name}"
        );
    }
}

#[test]
fn an_allowance_that_loses_a_condition_keeps_out_of_later_denials() {
    check(
        "conditional-allow.yaml",
        "allow create /workspace/x
         deny create /etc/x
         deny create /home/agent/x
         allow edit /workspace/x
         deny edit /home/agent/x
         allow run git status
         deny run ls
         deny delete /workspace/x
         deny list /workspace
         allow read /workspace/src/main.rs
         deny read /workspace/src/main.py
         deny connect example.org:443",
    );
    assert!(noted(
        &policy("conditional-allow.yaml"),
        "notes",
        "`args_match` on `content`"
    ));
}

#[test]
fn texts_in_a_url_are_hosts() {
    check(
        "web.yaml",
        "deny connect paste.example:443
         deny connect a.paste.example:443
         deny connect drop.example:443
         allow connect a.drop.example:443
         deny connect 169.254.169.254:80
         allow connect docs.rs:443
         allow connect docs.python.org:443
         ask connect python.org:443
         ask connect a.example.net:443
         ask connect example.org:443
         deny run curl https://docs.rs",
    );
    let p = policy("web.yaml");
    let star = |d: &Diagnostic| {
        d.severity == Severity::Warning && d.message.contains("ordinary character")
    };
    assert_eq!(
        loaded("web.yaml")
            .warnings
            .items
            .iter()
            .filter(|d| star(d))
            .count(),
        1
    );
    let questions = p.rules.iter().find(|r| r.name == "questions").unwrap();
    assert_eq!(
        questions.rate,
        Some(Rate {
            calls: 30,
            seconds: 300
        })
    );
}

#[test]
fn advisory_allows_and_soft_denies() {
    check(
        "enforcement.yaml",
        "allow delete /workspace/x
         deny run sudo
         deny connect example.org:443
         ask edit /workspace/x
         ask create /workspace/x
         allow tool file_delete
         deny tool web_fetch",
    );
    let p = policy("enforcement.yaml");
    let again = p.rules.iter().find(|r| r.name == "asked-2").unwrap();
    assert_eq!(
        again.rate,
        Some(Rate {
            calls: 3,
            seconds: 3600
        })
    );
    assert!(noted(&p, "hint", "advisory") && noted(&p, "soft", "overridden"));
}

#[test]
fn the_sandbox_is_the_word_for_the_kernel() {
    check(
        "sandbox.yaml",
        "deny read /home/agent/.ssh/id_rsa
         allow read /home/agent/x
         allow edit /workspace/x
         allow create /tmp/x
         allow delete /tmp/x
         allow metadata /workspace/x
         deny edit /workspace/deploy.key
         deny edit /home/agent/x
         deny delete /home/agent/x
         deny metadata /home/agent/x
         allow edit /dev/null
         allow execute /opt/agent/bin/agent
         deny execute /usr/bin/git
         allow execute /lib64/ld-linux-x86-64.so.2
         allow connect api.example.com:443
         allow connect example.org:8443
         allow connect localhost:53
         deny connect example.org:443
         deny bind 127.0.0.1:80",
    );
    let p = policy("sandbox.yaml");
    assert_eq!(p.limits.memory, Some(512 << 20));
    assert_eq!(p.limits.open_files, Some(100));
    assert_eq!(p.limits.processes, Some(20));
    assert_eq!(p.limits.wall_time, Some(60));
    assert_eq!(p.limits.cpu_time, None);
    assert_eq!(p.environment.pass.as_deref(), Some(&[][..]));
    assert!(noted(&p, "sandbox/no-other-bind", "empty `bind` list"));
    assert_eq!(policy("order.yaml").environment.pass, None);
}

#[test]
fn a_profile_without_rules_is_a_policy() {
    check(
        "profile.yaml",
        "allow run scribe start
         allow execute /usr/bin/git
         allow read /home/agent/.scribe/x
         deny read /home/agent/x
         deny read /tmp/x
         allow edit /tmp/x
         deny edit /home/agent/x
         allow connect api.example.com:443
         deny connect example.org:443
         allow bind 127.0.0.1:18789
         deny bind 127.0.0.1:80",
    );
    let p = policy("profile.yaml");
    assert_eq!(
        (p.name.as_str(), p.description.as_deref()),
        ("scribe", Some("Writes things down."))
    );
    assert!(noted(&p, "sandbox/execute", "nothing would run"));
}

#[test]
fn a_file_that_lets_nothing_start_says_so() {
    let says = |name: &str| {
        policy(name)
            .notes
            .iter()
            .any(|n| n.text.contains("no program may be started"))
    };
    assert!(says("no-shell.yaml") && says("order.yaml"));
    assert!(!says("allowlist.yaml") && !says("sandbox.yaml") && !says("deny-paths.yaml"));
}

#[test]
fn what_only_the_gate_keeps_is_said_where_it_stands() {
    let l = loaded("allowlist.yaml");
    let about = |line: u32, part: &str| {
        l.warnings.items.iter().any(|d| {
            d.severity == Severity::Note
                && d.message.contains(part)
                && d.primary.as_ref().is_some_and(|p| p.span.line == line)
        })
    };
    assert!(about(5, "`args_match` on `command`") && about(11, "`shell_safe`"));
    assert!(about(3, "builtin:linux-runtime"));
    assert!(!l.warnings.has_errors());
}

#[test]
fn names_of_any_kind_are_literal() {
    check(
        "hostile-names.yaml",
        "allow read /srv/a*b
         allow read /srv/a*b/c
         deny read /srv/axb
         allow read /srv/[x]{y}
         deny read /srv/xy
         allow tool mcp__x[
         deny tool Read
         allow tool {Read,Write}",
    );
    let p = policy("hostile-names.yaml");
    assert_eq!(
        decide(
            &p,
            Operation::Read,
            &Object::Path(b"/srv/new\nline/x".to_vec())
        )
        .action,
        Action::Allow
    );
    let names: Vec<&str> = p
        .rules
        .iter()
        .map(|r| r.name.as_str())
        .filter(|n| !n.contains("-runtime/"))
        .collect();
    assert_eq!(names, ["quote-and-newline", "rule-2/paths", "rule-2"]);
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let e = load("wrong.yaml", &text("wrong.yaml"), &LoadOptions::default()).unwrap_err();
    let lines: Vec<u32> = e
        .items
        .iter()
        .map(|d| d.primary.as_ref().unwrap().span.line)
        .collect();
    // Version, default, `policy`, `condition`, the empty list, the action, the rate twice, the variable,
    // the other home, `args_matches`, `reed`, `max_memory`.
    assert_eq!(
        lines,
        [1, 2, 3, 8, 10, 11, 12, 12, 17, 17, 18, 20, 21],
        "{e}"
    );
    let suggested = |line: u32| {
        let d = e
            .items
            .iter()
            .find(|d| d.primary.as_ref().is_some_and(|l| l.span.line == line))
            .unwrap();
        d.suggestion.as_ref().map(|s| s.replacement.clone())
    };
    assert_eq!(suggested(8).as_deref(), Some("conditions"));
    assert_eq!(suggested(18).as_deref(), Some("args_match"));
    assert_eq!(suggested(20).as_deref(), Some("read"));
    let missing = load("x.yaml", "policies: [{name: a}]", &LoadOptions::default()).unwrap_err();
    assert_eq!(missing.items.len(), 2, "{missing}");
}

#[test]
fn windows_are_seconds_minutes_and_hours() {
    let with = |window: &str| {
        let yaml = format!(
            "policies: [{{name: a, tools: [Read], action: allow, rate_limit: {{max_calls: 1, window: '{window}'}}}}]"
        );
        load("x.yaml", &yaml, &LoadOptions::default())
            .map(|l| l.policy.rules.iter().find_map(|r| r.rate).unwrap().seconds)
    };
    for (window, seconds) in [("60s", 60), ("5m", 300), ("1h", 3600), ("007s", 7)] {
        assert_eq!(with(window).unwrap(), seconds);
    }
    for bad in [
        "60",
        "s",
        "-1s",
        "1.5h",
        "1d",
        "60S",
        "99999999h",
        "1 m",
        "",
        "１s",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_places_are_those_of_the_options() {
    let options = LoadOptions {
        auto: AutoPaths {
            home: Some(b"/root".to_vec()),
            workspace: Some(b"/src/app".to_vec()),
            tmp: None,
        },
        set: vec![("workspace".to_owned(), b"/other [place]".to_vec())],
        ..LoadOptions::default()
    };
    let p = load("deny-paths.yaml", &text("deny-paths.yaml"), &options)
        .unwrap()
        .policy;
    let edit = |path: &[u8]| decide(&p, Operation::Edit, &Object::Path(path.to_vec())).action;
    assert_eq!(edit(b"/other [place]/x"), Action::Allow);
    assert_eq!(edit(b"/src/app/x"), Action::Deny);
    assert_eq!(edit(b"/root/.ssh/x"), Action::Deny);
}

#[test]
fn every_input_can_be_decided_as_a_whole() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/avakill");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let Ok(l) = load_bytes(&path.to_string_lossy(), &bytes, &LoadOptions::default()) else {
            assert!(path.ends_with("wrong.yaml"), "{}", path.display());
            continue;
        };
        let meaning = Meaning::new(&l.policy);
        for o in Operation::ON_PATHS {
            meaning.decisions(o).unwrap();
        }
        for (i, r) in l.policy.rules.iter().enumerate() {
            assert_eq!(r.id.0 as usize, i);
            assert!(
                l.policy.sources.get(r.span.file).is_some() && r.span.line > 0,
                "{}",
                r.name
            );
            assert_eq!(
                l.policy.rules.iter().filter(|o| o.name == r.name).count(),
                1,
                "{}",
                r.name
            );
        }
        seen += 1;
    }
    assert!(seen >= 13);
}
