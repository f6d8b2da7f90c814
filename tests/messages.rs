//! polc's messages about wrong policies: the whole text, with underlines.
//!
//! `tests/messages/NAME.yaml` is the policy, and `NAME.stderr` is the message. With POLC_BLESS=1 the test writes the
//! messages. Read each of them before you commit it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use polc::diagnostics::{Style, json, render, sarif};
use polc::frontend::{LoadOptions, load_bytes};
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let mut out: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    out.sort();
    out
}

fn said(path: &Path) -> (polc::diagnostics::Diagnostics, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let options = LoadOptions {
        directory: Some(PathBuf::from("tests/messages")),
        ..LoadOptions::default()
    };
    let said = match load_bytes(name, &bytes, &options) {
        Ok(_) => panic!("{name} loads"),
        Err(d) => d,
    };
    (said, bytes)
}

#[test]
fn wrong_policies_are_told_what_is_wrong() {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let bless = std::env::var_os("POLC_BLESS").is_some();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 25);
    for path in cases {
        let (diagnostics, _) = said(&path);
        assert!(diagnostics.has_errors());
        let text = render(&diagnostics, Style::Plain);
        let expected = path.with_extension("stderr");
        if bless {
            std::fs::write(&expected, &text).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(format!("{}:\n{text}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "not as in the .stderr file:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn messages_keep_the_style_and_point_into_their_file() {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    for path in cases() {
        let (diagnostics, _) = said(&path);
        for d in &diagnostics.items {
            assert!(
                polc::diagnostics::codes::find(d.code).is_some(),
                "{}",
                d.code
            );
            let first = d.message.chars().next().unwrap();
            assert!(
                !first.is_uppercase() || d.message.starts_with("AvaKill"),
                "{}",
                d.message
            );
            assert!(
                !d.message.ends_with('.') && !d.message.contains('\n'),
                "{}",
                d.message
            );
            for l in d.primary.iter().chain(&d.secondary) {
                let file = diagnostics.sources.get(l.span.file).unwrap();
                // The place is valid: it is on character boundaries, and on the given line and column.
                assert!(
                    file.text.get(l.span.start..l.span.end).is_some(),
                    "{}: {}",
                    path.display(),
                    d.message
                );
                let before = &file.text[..l.span.start];
                assert_eq!(
                    before.matches('\n').count() + 1,
                    l.span.line as usize,
                    "{}: {}",
                    path.display(),
                    d.message
                );
                let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
                assert_eq!(
                    column,
                    l.span.column as usize,
                    "{}: {}",
                    path.display(),
                    d.message
                );
            }
        }
    }
}

#[test]
fn a_suggestion_that_is_taken_mends_what_it_is_for() {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut taken = 0;
    for path in cases() {
        let (before, bytes) = said(&path);
        for (i, d) in before.items.iter().enumerate() {
            let Some(s) = &d.suggestion else { continue };
            if s.span.file.0 != 0 || std::str::from_utf8(&bytes).is_err() {
                continue;
            }
            let mut text = before.sources.get(s.span.file).unwrap().text.to_string();
            text.replace_range(s.span.start..s.span.end, &s.replacement);
            let options = LoadOptions {
                directory: Some(PathBuf::from("tests/messages")),
                ..LoadOptions::default()
            };
            let after = polc::frontend::load("mended.yaml", &text, &options)
                .err()
                .unwrap_or_default();
            let left = after
                .items
                .iter()
                .filter(|a| a.code == d.code && a.message == d.message)
                .count();
            let were = before
                .items
                .iter()
                .filter(|a| a.code == d.code && a.message == d.message)
                .count();
            assert!(
                left < were,
                "{}: {i}: {} with `{}`: {after}",
                path.display(),
                d.message,
                s.replacement
            );
            taken += 1;
        }
    }
    assert!(taken > 20, "{taken}");
}

#[test]
fn programs_get_the_same() {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    for path in cases() {
        let (diagnostics, _) = said(&path);
        let json = json(&diagnostics);
        let sarif = sarif(&diagnostics);
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        assert_eq!(json.as_array().unwrap().len(), diagnostics.items.len());
        assert_eq!(results.len(), diagnostics.items.len());
        for ((d, j), s) in diagnostics
            .items
            .iter()
            .zip(json.as_array().unwrap())
            .zip(results)
        {
            assert_eq!(j["code"], d.code);
            assert_eq!(s["ruleId"], d.code);
            let rule = &sarif["runs"][0]["tool"]["driver"]["rules"]
                [s["ruleIndex"].as_u64().unwrap() as usize];
            assert_eq!(rule["id"], d.code);
            if let Some(p) = &d.primary {
                assert_eq!(j["primary"]["line"], p.span.line);
                assert_eq!(
                    s["locations"][0]["physicalLocation"]["region"]["startLine"],
                    p.span.line
                );
            }
        }
    }
}
