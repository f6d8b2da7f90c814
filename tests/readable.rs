//! Artifacts are read by people: how long they get, and what stands at their head.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use polc::backend::{self, Options};
use polc::fidelity::Fidelity;
use polc::frontend::{LoadOptions, load, load_path};
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

/// Most lines of the profile of a built-in policy.
const PROFILE: usize = 500;

#[test]
fn profiles_of_the_built_in_policies_stay_short() {
    for file in files(Path::new("policies")) {
        let Some(name) = file.file_stem().and_then(|s| s.to_str()) else {
            continue;
        };
        let profile = Path::new("snapshots")
            .join(name)
            .join(format!("{name}.apparmor"));
        // Rule sets have no snapshots.
        let Ok(text) = std::fs::read_to_string(&profile) else {
            continue;
        };
        let lines = text.lines().count();
        assert!(lines <= PROFILE, "{name}: {lines} lines");
    }
}

/// The profile of a policy in the text of either language.
fn profile(text: &str) -> String {
    let policy = load("policy.yaml", text, &LoadOptions::default());
    let policy = policy.unwrap_or_else(|d| panic!("{d}\n{text}")).policy;
    let all = backend::all();
    let backend = all.iter().find(|b| b.id() == "apparmor").unwrap();
    let compiled = backend.compile(&Meaning::new(&policy), &Options::default());
    let artifact = compiled.unwrap().artifacts.remove(0);
    String::from_utf8(artifact.bytes).unwrap()
}

/// A native policy of `n` times this rule, or these rules.
fn of_rules(default: &str, n: usize, rule: impl Fn(usize) -> String) -> String {
    let rules: String = (0..n).map(rule).collect();
    format!("version: 1\nname: many\ndefault_action: {default}\nrules:\n{rules}")
}

fn one(name: &str, action: &str, operations: &str, paths: &str, except: &str) -> String {
    format!(
        "  - {{name: {name}, action: {action}, operations: [{operations}], paths: [{paths}], except: [{except}]}}\n"
    )
    .replace(", except: []", "")
}

#[test]
fn a_profile_has_lines_in_proportion_to_its_rules() {
    type Rules = fn(usize) -> String;
    let shapes: [(&str, &str, Rules); 5] = [
        ("denies under a default of allow", "allow", |i| {
            one(
                &format!("d{i}"),
                "deny",
                "read, write",
                &format!("/srv/d{i}/**"),
                "",
            )
        }),
        ("an exception above each deny", "allow", |i| {
            one(
                &format!("a{i}"),
                "allow",
                "read, write",
                &format!("/srv/n{i}/in/**"),
                "",
            ) + &one(
                &format!("d{i}"),
                "deny",
                "read, write",
                &format!("/srv/n{i}/**"),
                "",
            )
        }),
        ("denies within allows", "deny", |i| {
            one(
                &format!("d{i}"),
                "deny",
                "write",
                &format!("/srv/n{i}/.git/**"),
                "",
            ) + &one(
                &format!("a{i}"),
                "allow",
                "read, write",
                &format!("/srv/n{i}/**"),
                "",
            )
        }),
        ("what each allow excepts", "deny", |i| {
            let except = format!("/srv/n{i}/a/**, /srv/n{i}/b{i}, '/srv/n{i}/**/*.pem'");
            one(
                &format!("a{i}"),
                "allow",
                "read, write",
                &format!("/srv/n{i}/**"),
                &except,
            )
        }),
        ("programs", "deny", |i| {
            one(
                &format!("x{i}"),
                "allow",
                "read, execute",
                &format!("'/opt/p{i}/*'"),
                "",
            )
        }),
    ];
    for (what, default, rule) in shapes {
        let lines = |n| profile(&of_rules(default, n, rule)).lines().count();
        let (few, many) = (lines(20), lines(200));
        assert!(many <= few * 10, "{what}: {few} lines of 20, {many} of 200");
        assert!(many <= 200 * 12 + 60, "{what}: {many} lines of 200");
    }
}

#[test]
fn four_rules_of_avakill_are_a_page() {
    // The policy of which issue 12 tells: it came to 2,590 lines.
    let text = r#"
version: "1.0"
default_action: allow
policies:
  - {name: tools, tools: [shell_execute], action: allow, conditions: {command_allowlist: [git, ls, cargo]}}
  - {name: no-shell, tools: [shell_execute], action: deny}
  - name: stay-home
    tools: [file_write, file_edit, file_delete]
    action: deny
    conditions: {path_not_match: {file_path: ["__workspace__", "/tmp/"]}}
  - name: secrets
    tools: [file_read]
    action: deny
    conditions: {path_match: {file_path: ["~/.ssh/", "~/.aws/"]}}
"#;
    let profile = profile(text);
    assert!(profile.lines().count() <= 80, "{profile}");
}
