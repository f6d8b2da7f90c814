//! A change is reported by pattern and example. A difference in the text alone is not.

use super::{Became, Side, diff};
use crate::frontend::{LoadOptions, load};
use crate::policy::{PathPattern, Policy};
use crate::semantics::Meaning;

fn policy(rules: &str) -> Policy {
    let text = format!(
        "version: 1\nname: t\nsubject: {{home: /h, workspace: /w, tmp: /tmp}}\nrules:\n{rules}"
    );
    load("t.yaml", &text, &LoadOptions::default())
        .unwrap()
        .policy
}

/// `+|-|? OPERATION [part of] WHAT (EXAMPLE)`
fn changes(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (policy(old), policy(new));
    let (old, new) = (Meaning::new(&old), Meaning::new(&new));
    diff(&Side::Policy(&old), &Side::Policy(&new))
        .unwrap()
        .into_iter()
        .map(|c| {
            let sign = match c.became {
                Became::Allowed => '+',
                Became::Denied => '-',
                Became::Asked => '?',
            };
            let operation = c.operation.map_or("setting", |o| o.name());
            let part = if c.in_part { "part of " } else { "" };
            let example = c.example.map(|e| format!(" ({e})")).unwrap_or_default();
            format!("{sign} {operation} {part}{}{example}", c.what)
        })
        .collect()
}

const WORK: &str = "  - {name: work, action: allow, operations: [edit], paths: ['/w/**']}\n";

#[test]
fn order_and_names_that_change_nothing_are_no_difference() {
    let a = "  - {name: a, action: deny, operations: [edit], paths: ['/w/k']}\n";
    let b = "  - {name: b, action: deny, operations: [edit], paths: ['/w/l']}\n";
    let both = "  - {name: c, action: deny, operations: [edit], paths: ['/w/{l,k}']}\n";
    assert_eq!(
        changes(&format!("{a}{b}{WORK}"), &format!("{both}{WORK}")),
        Vec::<String>::new()
    );
    assert_eq!(
        changes(&format!("{a}{b}{WORK}"), &format!("{b}{a}{WORK}")),
        Vec::<String>::new()
    );
}

#[test]
fn paths_are_told_by_the_patterns_of_the_policies() {
    let hole = "  - {name: hole, action: deny, operations: [edit], paths: ['/w/k/**']}\n";
    let ask = "  - {name: q, action: ask, operations: [edit], paths: ['/w/k/**']}\n";
    let with = format!("{hole}{WORK}");
    assert_eq!(changes(&with, WORK), ["+ edit /w/k/** (/w/k)"]);
    assert_eq!(changes(WORK, &with), ["- edit /w/k/** (/w/k)"]);
    assert_eq!(
        changes(&with, &format!("{ask}{WORK}")),
        ["? edit /w/k/** (/w/k)"]
    );
    assert_eq!(
        changes(hole, &with),
        ["+ edit part of /w/** (/w)"],
        "the hole stays"
    );
    let wide = "  - {name: all, action: allow, operations: [edit], paths: ['/**']}\n";
    assert_eq!(changes(WORK, wide), ["+ edit part of /** (/)"]);
}

#[test]
fn hosts_are_told_where_either_policy_changes() {
    let of = |hosts: &str| {
        format!("  - {{name: n, action: allow, operations: [connect], hosts: [{hosts}]}}\n")
    };
    assert_eq!(
        changes(
            &of("'a.example:443'"),
            &of("'a.example:443', '*.b.example:443'")
        ),
        ["+ connect *.b.example:443 (tcp://polc-any.b.example:443)"]
    );
    assert_eq!(
        changes(&of("'10.0.0.0/8:443'"), &of("'10.0.0.0/9:443'")),
        ["- connect 10.128.0.0/9:443 (tcp://10.128.0.1:443)"]
    );
    assert_eq!(
        changes(&of("'tcp://a.example'"), &of("'a.example'")),
        ["+ connect udp://a.example (udp://a.example:443)"]
    );
    assert_eq!(
        changes(&of("'a.example:80-90'"), &of("'a.example:85-95'")),
        [
            "- connect a.example:80-84 (tcp://a.example:80)",
            "+ connect a.example:91-95 (tcp://a.example:91)"
        ]
    );
}

#[test]
fn arguments_of_programs_are_told_apart() {
    let of = |commands: &str| format!("  - {{name: c, action: allow, commands: [{commands}]}}\n");
    assert_eq!(
        changes(&of("git status"), &of("git status, git diff **")),
        ["+ execute part of git diff ** (/git diff)"]
    );
    assert_eq!(
        changes(&of("git **"), &of("git status")),
        ["- execute part of git ** (/git)"]
    );
    assert_eq!(
        changes(&of("git status"), &of("git status")),
        Vec::<String>::new()
    );
}

#[test]
fn settings_and_system_calls_are_told() {
    let close = "  - {name: s, action: deny, syscalls: ['@io_uring']}\n";
    let open = "  - {name: s, action: allow, syscalls: ['@io_uring']}\n";
    assert_eq!(
        changes(close, open),
        ["+ syscall io_uring_enter io_uring_register io_uring_setup (io_uring_enter)"]
    );
    let (old, new) = (policy("  []\n"), {
        let mut p = policy("  []\n");
        p.limits.open_files = Some(64);
        p.capabilities = vec!["CAP_NET_RAW".to_owned()];
        p.subject.executable = Some(PathPattern::parse("/opt/agent").unwrap());
        p
    });
    let (old, new) = (Meaning::new(&old), Meaning::new(&new));
    let all = diff(&Side::Policy(&old), &Side::Policy(&new)).unwrap();
    let told: Vec<_> = all.iter().map(|c| (c.became, c.what.as_str())).collect();
    assert_eq!(
        told,
        [
            (Became::Allowed, "capabilities: CAP_NET_RAW"),
            (Became::Denied, "subject.executable: /opt/agent is confined"),
            (Became::Denied, "limits.open_files: none to 64")
        ]
    );
}
