//! Artifacts are read by people: how long they get, and what stands at their head.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use polc::backend::{self, Options};
use polc::fidelity::Fidelity;
use polc::frontend::{LoadOptions, load_path};
use polc::semantics::Meaning;
use std::path::{Path, PathBuf};

/// Most lines of a header.
const HEADER: usize = 15;

fn files(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).unwrap();
    let mut out: Vec<PathBuf> = read.map(|e| e.unwrap().path()).collect();
    out.sort();
    out
}

/// The comment that an artifact begins with, without its marks.
fn header(text: &str) -> Vec<&str> {
    text.lines()
        .map_while(|l| l.strip_prefix("# ").or_else(|| l.strip_prefix("; ")))
        .collect()
}

/// How many entries the lines of a header count.
fn counted(header: &[&str]) -> usize {
    let count = |l: &&str| {
        l.strip_prefix("- ")?
            .split(' ')
            .next()?
            .parse::<usize>()
            .ok()
    };
    header.iter().filter_map(count).sum()
}

#[test]
fn headers_are_short_and_say_how_to_use_the_artifact() {
    let mut seen = 0;
    for file in files(Path::new("snapshots")).iter().flat_map(|f| files(f)) {
        // The artifacts that have comments, and no refusal.
        let has_comments = ["apparmor", "te", "sb", "tetragon.yaml"];
        let name = file.to_string_lossy();
        if !has_comments
            .iter()
            .any(|e| name.ends_with(&format!(".{e}")))
        {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let header = header(&text);
        let place = format!("{name}:\n{}", header.join("\n"));
        assert!(header.len() <= HEADER, "{} lines, {place}", header.len());
        for words in [["load: ", "run: "], ["undo: ", "run: "]] {
            let says = |l: &&str| words.iter().any(|w| l.starts_with(w));
            assert!(header.iter().any(says), "{words:?}, {place}");
        }
        seen += 1;
    }
    assert!(seen > 100, "{seen} snapshots with a header");
}

#[test]
fn a_header_counts_every_entry_that_is_not_exact() {
    let mut seen = 0;
    for file in files(Path::new("tests/policies")) {
        let policy = load_path(&file, &LoadOptions::default()).unwrap().policy;
        let meaning = Meaning::new(&policy);
        for target in ["apparmor", "selinux", "sbpl", "tetragon"] {
            let backend = backend::all().iter().find(|b| b.id() == target).unwrap();
            let options = Options {
                banner: Some("made by a test".to_owned()),
                ..Options::default()
            };
            // A name that the target cannot write is refused.
            let Ok(compiled) = backend.compile(&meaning, &options) else {
                continue;
            };
            let artifact = compiled.artifacts.first().unwrap();
            let header = header(std::str::from_utf8(&artifact.bytes).unwrap());
            let place = format!("{target} of {}:\n{}", file.display(), header.join("\n"));
            assert!(header.len() <= HEADER, "{} lines, {place}", header.len());
            assert_eq!(header.first(), Some(&"made by a test"), "{place}");
            let ledger = &compiled.ledger;
            let lost = ledger.entries.len() - ledger.count(Fidelity::Exact);
            assert_eq!(counted(&header), lost, "{place}");
            // What lets something through comes first.
            if ledger.entries.iter().any(|e| e.fidelity.leaks()) {
                let first = header.iter().find(|l| l.starts_with("- ")).unwrap();
                assert!(!first.contains(" stricter: "), "{place}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen} artifacts that let something through");
}
