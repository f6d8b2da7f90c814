//! Every policy × every target: the raw artifact, in `snapshots/<policy>/`.
//!
//! A snapshot shows only that the output did not change; what it means is for the targets' own tools
//! (`tests/native`) and for the comparison with the policy. `POLC_BLESS=1 cargo test --test snapshots` writes
//! them anew; read the difference before you commit it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::backend::{self, Options};
use polc::diagnostics::{Style, render};
use polc::frontend::{LoadOptions, builtin, load, load_builtin, load_path};
use polc::policy::Policy;
use polc::semantics::Meaning;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files that there should be, by path below `snapshots/`.
fn expected(folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no policy in {folder}");
    for file in files {
        let policy = load_path(&file, &LoadOptions::default())
            .unwrap_or_else(|d| panic!("{}", render(&d, Style::Plain)))
            .policy;
        let meaning = Meaning::new(&policy);
        let place = Path::new(file.file_stem().unwrap());
        for b in backend::all() {
            match b.compile(&meaning, &Options::default()) {
                Ok(compiled) => {
                    for a in compiled.artifacts {
                        assert!(
                            out.insert(place.join(&a.file_name), a.bytes).is_none(),
                            "{} twice",
                            a.file_name
                        );
                    }
                }
                Err(d) => {
                    out.insert(
                        place.join(format!("{}.refused.txt", b.id())),
                        render(&d, Style::Plain).into_bytes(),
                    );
                }
            }
        }
    }
    out
}

fn on_disk(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    for folder in std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
    {
        for file in std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path())
        {
            out.insert(
                file.strip_prefix(root).unwrap().to_owned(),
                std::fs::read(&file).unwrap(),
            );
        }
    }
    out
}

#[test]
fn artifacts_are_as_they_were() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let mut expected_files = expected("policies");
    expected_files.extend(expected("tests/policies"));
    if std::env::var_os("POLC_BLESS").is_some() {
        for stale in on_disk(&root)
            .keys()
            .filter(|k| !expected_files.contains_key(*k))
        {
            std::fs::remove_file(root.join(stale)).unwrap();
        }
        for (path, bytes) in &expected_files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let found = on_disk(&root);
    let mut wrong = String::new();
    for path in expected_files
        .keys()
        .chain(found.keys().filter(|k| !expected_files.contains_key(*k)))
    {
        match (found.get(path), expected_files.get(path)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => {
                let (a, b) = (String::from_utf8_lossy(a), String::from_utf8_lossy(b));
                let diff = similar::TextDiff::from_lines(a.as_ref(), b.as_ref());
                let text = diff.unified_diff().context_radius(1).to_string();
                wrong.push_str(&format!(
                    "{} changed:\n{}\n",
                    path.display(),
                    text.lines().take(30).collect::<Vec<_>>().join("\n")
                ));
            }
            (None, _) => wrong.push_str(&format!("{} is new\n", path.display())),
            (_, None) => wrong.push_str(&format!("{} is no longer made\n", path.display())),
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nPOLC_BLESS=1 cargo test --test snapshots writes them anew"
    );
}

#[test]
fn the_same_policy_gives_the_same_bytes() {
    let make = || {
        let policy = load_path(Path::new("builtin:coding-agent"), &LoadOptions::default())
            .unwrap()
            .policy;
        let meaning = Meaning::new(&policy);
        backend::all()
            .iter()
            .map(|b| b.compile(&meaning, &Options::default()).unwrap().artifacts)
            .collect::<Vec<_>>()
    };
    assert_eq!(make(), make());
}

/// The lines of a Seatbelt profile.
fn profile_lines(policy: &Policy) -> usize {
    let sbpl = backend::find("sbpl").unwrap();
    let made = sbpl.compile(&Meaning::new(policy), &Options::default());
    let made = made.unwrap();
    made.artifacts[0].bytes.split(|b| *b == b'\n').count()
}

#[test]
fn profiles_of_built_in_policies_are_short() {
    for b in builtin::policies() {
        let policy = load_builtin(b.name, &LoadOptions::default())
            .unwrap()
            .policy;
        let bound = match b.name {
            "read-only-explorer" | "no-network" => 350,
            "research-agent" => 550,
            "ci-agent" | "coding-agent" => 700,
            _ => 850,
        };
        let lines = profile_lines(&policy);
        assert!(lines <= bound, "{}: {lines} lines, not {bound}", b.name);
    }
}

/// Denied and allowed rules by turns, each denied one within the allowed one below it.
#[test]
fn a_profile_grows_as_its_rules_do() {
    let of = |n: usize| {
        let mut text = String::from("version: 1\nname: t\nrules:\n");
        for i in 0..n {
            text.push_str(&format!(
                "  - {{name: d{i}, action: deny, operations: [read, write], paths: ['/w/{i}/x/**', '/w/{i}/*.key']}}\n  \
                 - {{name: a{i}, action: allow, operations: [read, write], paths: ['/w/{i}/**']}}\n"
            ));
        }
        let loaded = load("t.yaml", &text, &LoadOptions::default());
        profile_lines(&loaded.unwrap().policy)
    };
    let (few, many) = (of(20), of(200));
    assert!(many <= 12 * few, "{few} lines, then {many}");
}
