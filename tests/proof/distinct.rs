//! Each clause by which an artifact differs from a policy has a witness of its own, however many there are.

use polc::backend::{self, Options};
use polc::frontend::{LoadOptions, load};
use polc::policy::{Operation, Policy};
use polc::proof::{Difference, compare};
use polc::semantics::Meaning;
use std::collections::BTreeSet;
use std::fmt::Write;

/// More of each than are tried one by one.
const MANY: usize = 40;

fn policy(rules: &str) -> Policy {
    let text = format!(
        "version: 1\nname: t\nsubject: {{home: /h, workspace: /w, tmp: /tmp}}\nrules:\n{rules}\
         \x20 - {{name: w, action: allow, operations: [read], paths: ['/w/**']}}\n"
    );
    let loaded = load("t.yaml", &text, &LoadOptions::default());
    loaded.unwrap().policy
}

/// The differences of a policy's artifact from the policy without most of its rules, for reading.
fn differences(id: &str, rules: &str) -> Vec<Difference> {
    let (more, meant) = (policy(rules), policy(""));
    let backend = backend::find(id).unwrap();
    let made = backend.compile(&Meaning::new(&more), &Options::default());
    let made = made.unwrap();
    let options = Options {
        files: made.files,
        ..Options::default()
    };
    let read = backend.read_back(&made.artifacts, &options).unwrap();
    let comparison = compare(&Meaning::new(&meant), read.as_ref());
    assert!(!comparison.is_unknown());
    let all = comparison.differences();
    all.filter(|d| d.operation == Operation::Read)
        .cloned()
        .collect()
}

/// By each of the rules, and the line of the artifact that it is: `object` is how its objects begin.
fn held(id: &str, action: &str, place: &str, looser: bool) {
    let mut rules = String::new();
    for i in 0..MANY {
        let _ = writeln!(
            rules,
            "  - {{name: r{i}, action: {action}, operations: [read], paths: ['{place}{i}/**']}}"
        );
    }
    let all = differences(id, &rules);
    let own = all.iter().filter(|d| {
        let object = d.witness.object.to_string();
        d.looser() == looser && object.starts_with(place)
    });
    let (mut tops, mut lines) = (BTreeSet::new(), BTreeSet::new());
    for d in own {
        let clause = d.clause.as_ref().unwrap();
        let object = d.witness.object.to_string();
        // The clause is about the witness, and not about another one.
        let names = object.split('/').take(place.split('/').count());
        let top = names.collect::<Vec<_>>().join("/");
        assert!(clause.text.contains(&top), "{id}: {object}: {clause:?}");
        lines.insert(clause.line);
        tops.insert(top);
    }
    assert_eq!(tops.len(), MANY, "{id}, {action}: {all:#?}");
    assert!(lines.len() >= MANY, "{id}, {action}: {all:#?}");
}

#[test]
fn every_rule_that_allows_more() {
    for id in ["apparmor", "landlock"] {
        held(id, "allow", "/t", true);
    }
}

#[test]
fn every_rule_that_denies_more() {
    for id in ["apparmor", "selinux"] {
        held(id, "deny", "/w/d", false);
    }
}
