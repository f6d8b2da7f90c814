//! No ledger claims more, or less, than its artefact's bytes bear out.

use crate::corpus::policies;
use polc::backend::{self, Target};
use polc::policy::Policy;
use polc::proof::{Disagreement, compare, disagreements};
use polc::semantics::Meaning;
use std::collections::BTreeMap;

/// Options that make other artefacts of the same policy.
fn variants(backend: &str) -> Vec<BTreeMap<&'static str, String>> {
    let of = |list: &[(&'static str, &str)]| {
        let pairs = list.iter().map(|(k, v)| (*k, (*v).to_owned()));
        pairs.collect::<BTreeMap<_, _>>()
    };
    match backend {
        "landlock" => ["6", "1", "2", "3", "4"]
            .iter()
            .map(|abi| of(&[("abi", abi)]))
            .collect(),
        "seccomp" => vec![of(&[]), of(&[("arch", "aarch64")]), of(&[("bpf", "")])],
        "apparmor" => vec![of(&[]), of(&[("apparmor-abi", "4.0")])],
        "sbpl" => vec![of(&[]), of(&[("proxy-port", "3128")])],
        _ => vec![of(&[])],
    }
}

/// What one target of one policy gets wrong, one line each.
pub fn faults(file: &str, policy: &Policy, id: &str) -> Vec<String> {
    let backend = backend::find(id).unwrap();
    let meaning = Meaning::new(policy);
    let mut out = Vec::new();
    for options in variants(id) {
        let shown: Vec<String> = options.iter().map(|(k, v)| format!("--{k} {v}")).collect();
        let shown = shown.join(" ");
        let mut target = Target {
            options,
            ..Target::default()
        };
        // A policy that the target cannot hold is refused; which ones is pinned by the snapshots.
        let Ok(made) = backend.compile(&meaning, &target) else {
            continue;
        };
        target.files = made.files.clone();
        let read = match backend.read_back(&made.artifacts, &target) {
            Ok(read) => read,
            Err(e) => {
                out.push(format!("{file} {id} {shown}: {e}"));
                continue;
            }
        };
        let comparison = compare(&meaning, read.as_ref());
        assert!(
            !comparison.is_unknown(),
            "{file} {id}: could not be compared"
        );
        for d in disagreements(&made.ledger, &comparison) {
            out.push(format!("{file} {id} {shown}: {}", line(policy, &d)));
        }
    }
    out
}

fn line(policy: &Policy, d: &Disagreement) -> String {
    let rule = d.rule.map_or("default_action", |r| &policy.rule(r).name);
    let word = |f: Option<polc::fidelity::Fidelity>| f.map_or("nothing", |f| f.name());
    let shown = d.shown.as_ref().map_or_else(String::new, |s| {
        let says = if s.looser() { "allows" } else { "denies" };
        let clause = s
            .clause
            .as_ref()
            .map_or_else(String::new, |c| format!(" by line {}: {}", c.line, c.text));
        format!(
            "; the artefact {says} {} ({:?}){clause}",
            s.witness.object, s.form
        )
    });
    format!(
        "`{rule}` {}: the ledger claims {}, found {}{shown}",
        d.operation,
        word(d.claimed),
        word(d.found)
    )
}

fn all(id: &str) {
    let mut faults_found = Vec::new();
    for (file, policy) in policies() {
        faults_found.extend(faults(&file, &policy, id));
    }
    assert!(
        faults_found.is_empty(),
        "{} faults\n{}",
        faults_found.len(),
        faults_found[..faults_found.len().min(60)].join("\n")
    );
}

#[test]
fn landlock() {
    all("landlock");
}

#[test]
fn seccomp() {
    all("seccomp");
}

#[test]
fn sbpl() {
    all("sbpl");
}

#[test]
fn apparmor() {
    all("apparmor");
}

#[test]
fn tetragon() {
    all("tetragon");
}

#[test]
fn selinux() {
    all("selinux");
}
