//! The program as its users run it: exit status, where the output goes, and that no file is half-written.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn polc(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_polc"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

fn status(o: &Output) -> i32 {
    o.status.code().unwrap()
}

fn err(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

fn out(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

const SMALL: &str = r#"version: 1
name: small
subject: {home: auto, workspace: auto, tmp: auto}
rules:
  - name: secret
    action: deny
    operations: [read]
    paths: ["${workspace}/secret"]
  - name: work
    action: allow
    operations: [read, write]
    paths: ["${workspace}/**"]
tests:
  - allow: read ${workspace}/x
  - deny: read ${workspace}/secret
"#;

fn folder() -> tempfile::TempDir {
    let d = tempfile::tempdir().unwrap();
    std::fs::write(d.path().join("polc.yaml"), SMALL).unwrap();
    d
}

fn names(folder: &Path) -> Vec<String> {
    let mut out: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    out.sort();
    out
}

#[test]
fn artifacts_go_to_stdout_and_words_to_stderr() {
    let d = folder();
    let o = polc(d.path(), &["emit", "landlock"]);
    assert_eq!(status(&o), 0, "{}", err(&o));
    let json: serde_json::Value = serde_json::from_slice(&o.stdout).unwrap();
    assert_eq!(json["abi"], 6);
    let message = err(&o);
    // The home and workspace that the policy leaves open, and the summary of the ledger.
    let made = "note: made for home /home/agent, workspace /workspace, tmp /tmp, because the policy says `auto`; ";
    assert!(message.starts_with(made), "{message}");
    assert!(message.contains("\nlandlock: "), "{message}");
    let quiet = polc(d.path(), &["emit", "landlock", "--quiet"]);
    assert_eq!(
        (
            quiet.stdout,
            err(&polc(d.path(), &["emit", "landlock", "-q"]))
        ),
        (o.stdout, String::new())
    );
}

#[test]
fn one_target_goes_to_a_file_and_all_to_a_folder() {
    let d = folder();
    assert_eq!(
        status(&polc(d.path(), &["emit", "sbpl", "-o", "x.sb", "-q"])),
        0
    );
    assert!(
        std::fs::read_to_string(d.path().join("x.sb"))
            .unwrap()
            .contains("(version 1)")
    );
    let o = polc(d.path(), &["emit", "all", "-o", "made"]);
    assert_eq!(status(&o), 0, "{}", err(&o));
    // The places, a line for each target, and how to see more.
    let message = err(&o);
    let targets = [
        "landlock: ",
        "seccomp: ",
        "apparmor: ",
        "selinux: ",
        "sbpl: ",
        "tetragon: ",
    ];
    for target in targets {
        let lines = message.lines().filter(|l| l.starts_with(target));
        assert_eq!(lines.count(), 1, "{message}");
    }
    assert!(message.contains("`--ledger human` shows"), "{message}");
    assert!(message.lines().count() <= 12, "{message}");
    let check = polc(d.path(), &["emit", "all", "-o", "made", "--check"]);
    assert_eq!(status(&check), 0);
    let fine = "made: all 7 files are as the policy makes them\n";
    assert_eq!((out(&check), err(&check)), (String::new(), fine.to_owned()));
    let made = names(&d.path().join("made"));
    for file in ["small.landlock.json", "small.sb", "small.tetragon.yaml"] {
        assert!(made.iter().any(|m| m == file), "{made:?}");
    }
    let several = polc(d.path(), &["emit", "sbpl", "landlock"]);
    assert_eq!(status(&several), 2);
    assert!(several.stdout.is_empty() && err(&several).contains("-o"));
}

#[test]
fn check_compares_with_what_is_on_disk() {
    let d = folder();
    let missing = polc(d.path(), &["emit", "sbpl", "-o", "x.sb", "--check", "-q"]);
    assert_eq!(
        (status(&missing), out(&missing).as_str()),
        (1, "x.sb: is missing\n")
    );
    assert_eq!(
        status(&polc(d.path(), &["emit", "sbpl", "-o", "x.sb", "-q"])),
        0
    );
    assert_eq!(
        status(&polc(
            d.path(),
            &["emit", "sbpl", "-o", "x.sb", "--check", "-q"]
        )),
        0
    );
    let text = std::fs::read_to_string(d.path().join("x.sb"))
        .unwrap()
        .replace("(deny default)", "(allow default)");
    std::fs::write(d.path().join("x.sb"), &text).unwrap();
    let o = polc(d.path(), &["emit", "sbpl", "-o", "x.sb", "--check", "-q"]);
    assert_eq!(status(&o), 1);
    assert!(
        out(&o).contains("-(allow default)") && out(&o).contains("+(deny default)"),
        "{}",
        out(&o)
    );
    assert_eq!(
        std::fs::read_to_string(d.path().join("x.sb")).unwrap(),
        text,
        "only compared"
    );
}

#[test]
fn strict_writes_nothing_where_a_layer_leaks() {
    let d = folder();
    let o = polc(d.path(), &["emit", "landlock", "-o", "x.json", "--strict"]);
    assert_eq!(status(&o), 3, "metadata is never Landlock's");
    assert_eq!(names(d.path()), ["polc.yaml"]);
    let piped = polc(d.path(), &["emit", "landlock", "--strict"]);
    assert_eq!(status(&piped), 3);
    assert!(piped.stdout.is_empty());
}

#[test]
fn the_whole_ledger_is_json() {
    let d = folder();
    let o = polc(
        d.path(),
        &["emit", "landlock", "sbpl", "-o", "made", "--ledger", "json"],
    );
    let ledgers: serde_json::Value = serde_json::from_slice(&o.stdout).unwrap();
    let entries = ledgers[0]["entries"].as_array().unwrap();
    // Two operations of the first rule, six of the second, ten of the default.
    assert_eq!(entries.len(), 2 + 6 + 10);
    for e in entries {
        let exact = e["fidelity"] == "exact";
        assert_eq!(e["witnesses"].as_array().unwrap().is_empty(), exact, "{e}");
        assert!(exact || !e["reason"].as_str().unwrap().is_empty(), "{e}");
    }
    assert_eq!(entries[0]["place"], "polc.yaml:5");
}

#[test]
fn a_wrong_policy_is_two_and_leaves_nothing() {
    let d = folder();
    std::fs::write(
        d.path().join("bad.yaml"),
        SMALL.replace("operations: [read]", "operation: [read]"),
    )
    .unwrap();
    let o = polc(d.path(), &["emit", "all", "-p", "bad.yaml", "-o", "made"]);
    assert_eq!(status(&o), 2);
    assert!(
        err(&o).contains("bad.yaml:7") && err(&o).contains("operations"),
        "{}",
        err(&o)
    );
    assert_eq!(names(d.path()), ["bad.yaml", "polc.yaml"]);
    let json = polc(d.path(), &["check", "bad.yaml", "--format", "json"]);
    assert_eq!(status(&json), 2);
    assert!(
        serde_json::from_slice::<serde_json::Value>(&json.stdout).is_ok() && json.stderr.is_empty(),
        "{}",
        err(&json)
    );
    let sarif = polc(d.path(), &["check", "bad.yaml", "--format", "sarif"]);
    let value: serde_json::Value = serde_json::from_slice(&sarif.stdout).unwrap();
    assert_eq!(value["version"], "2.1.0");
}

#[test]
fn a_program_reads_one_document_about_all_files() {
    let d = folder();
    for name in ["one.yaml", "two.yaml"] {
        let text = SMALL.replace("operations:", "operation:");
        std::fs::write(d.path().join(name), text).unwrap();
    }
    let read = |args: &[&str]| {
        let o = polc(d.path(), args);
        serde_json::from_slice::<serde_json::Value>(&o.stdout).expect("one document")
    };
    let json = read(&["check", "one.yaml", "two.yaml", "--format", "json"]);
    let named = |n: &str| {
        let of = |i: &&serde_json::Value| i["primary"]["file"] == n;
        json.as_array().unwrap().iter().filter(of).count()
    };
    assert!(named("one.yaml") > 0);
    assert_eq!(named("one.yaml"), named("two.yaml"));
    // An empty result is printed too: an empty file would not close an alert, and is not JSON.
    let clean = read(&["check", "polc.yaml", "--format", "sarif"]);
    assert!(clean["runs"][0]["results"].is_array(), "{clean}");
}

#[cfg(unix)]
#[test]
fn files_that_are_not_utf_8_are_named_on_the_command_line() {
    use std::os::unix::ffi::OsStrExt;
    let d = folder();
    let name = std::ffi::OsStr::from_bytes(b"p\xff.yaml");
    std::fs::copy(d.path().join("polc.yaml"), d.path().join(name)).unwrap();
    for words in [
        ["check"].as_slice(),
        &["test"],
        &["emit", "seccomp", "-q", "-p"],
    ] {
        let o = std::process::Command::new(env!("CARGO_BIN_EXE_polc"))
            .current_dir(d.path())
            .args(words)
            .arg(name)
            .output()
            .unwrap();
        assert_eq!(status(&o), 0, "{words:?}: {}", err(&o));
    }
}

#[test]
fn a_command_line_in_quotes_is_one() {
    let d = folder();
    let apart = polc(d.path(), &["explain", "run", "git", "push", "origin"]);
    let quoted = polc(d.path(), &["explain", "run", "git push origin"]);
    let whole = polc(d.path(), &["explain", "run git push origin"]);
    assert_eq!(out(&apart), out(&quoted));
    assert_eq!(out(&apart), out(&whole));
    assert!(
        out(&quoted).contains("/git push origin"),
        "{}",
        out(&quoted)
    );
}

#[test]
fn a_name_that_a_target_cannot_hold_is_two_and_leaves_nothing() {
    let d = folder();
    std::fs::write(
        d.path().join("odd.yaml"),
        SMALL.replace("${workspace}/secret\"", "${workspace}/\\\\xff\""),
    )
    .unwrap();
    let o = polc(d.path(), &["emit", "all", "-p", "odd.yaml", "-o", "made"]);
    assert_eq!(status(&o), 2, "{}", err(&o));
    assert!(
        err(&o).contains("E110") && err(&o).contains("`secret`"),
        "{}",
        err(&o)
    );
    assert_eq!(names(d.path()), ["odd.yaml", "polc.yaml"]);
}

#[test]
fn the_command_line_is_checked() {
    let d = folder();
    for (args, says) in [
        (&["emit", "landlok"][..], "did you mean `landlock`"),
        (
            &["emit", "sbpl", "--abi", "3"],
            "`--abi` is an option of landlock",
        ),
        (&["emit", "landlock", "--abi", "77"], "--abi"),
        (&["emit", "sbpl", "--proxy-port", "0"], "E102"),
        (&["emit", "sbpl", "-p", "nowhere.yaml"], "nowhere.yaml"),
        (
            &["emit", "sbpl", "-p", "coding-agent"],
            "builtin:coding-agent",
        ),
        (
            &["emit", "sbpl", "-p", "builtin:codng-agent"],
            "coding-agent",
        ),
        (
            &["emit", "sbpl", "--set", "place=/x"],
            "it is workspace, home, tmp, git_dir",
        ),
        (&["explain", "X999"], "X999"),
        (&["explain", "reed", "/x"], "read"),
        (
            &["run", "bash", "-c", "ls"],
            "write `polc run -- bash -c ls`",
        ),
        (
            &["enforce", "landlock", "bash"],
            "write `polc enforce landlock -- bash`",
        ),
        (&["frobnicate"], "frobnicate"),
    ] {
        let o = polc(d.path(), args);
        assert_eq!(status(&o), 2, "{args:?}: {}", err(&o));
        assert!(err(&o).contains(says), "{args:?}: {}", err(&o));
        assert!(o.stdout.is_empty());
    }
    let nowhere = tempfile::tempdir().unwrap();
    let o = polc(nowhere.path(), &["emit", "sbpl"]);
    assert_eq!(status(&o), 2);
    assert!(err(&o).contains("polc init") && err(&o).contains("--policy builtin:coding-agent"));
}

/// A policy from another person's repository may hold any bytes. They must not control the terminal.
#[test]
fn a_message_of_the_policy_gives_the_terminal_no_orders() {
    let d = folder();
    let text = "version: 1\nname: m\nrules:\n  - {name: \"no\", action: deny, operations: [read, execute], \
        paths: [/usr/bin/env], message: \"é \\e[2J\\r\\nover\"}\n";
    std::fs::write(d.path().join("polc.yaml"), text).unwrap();
    let mut said = out(&polc(d.path(), &["explain", "read", "/usr/bin/env"]));
    if cfg!(target_os = "linux") {
        said += &err(&polc(d.path(), &["run", "--", "/usr/bin/env"]));
    }
    assert!(said.contains("é \\x1b[2J\\x0d over"), "{said}");
    let orders = |c: char| c.is_control() && c != '\n';
    assert!(!said.contains(orders), "{said:?}");
}

#[test]
fn explain_and_test_answer_by_exit_status() {
    let d = folder();
    let work = d.path().canonicalize().unwrap();
    let secret = format!("{}/secret", work.display());
    let o = polc(&work, &["explain", "read", &secret]);
    assert_eq!(status(&o), 4);
    assert!(
        out(&o).starts_with("deny: read ")
            && out(&o).contains("rule `secret` at polc.yaml:5")
            && out(&o).contains("rule `work` at polc.yaml:9"),
        "{}",
        out(&o)
    );
    assert_eq!(status(&polc(&work, &["explain", "edit", &secret])), 0);
    assert_eq!(status(&polc(&work, &["test"])), 0);
    std::fs::write(
        work.join("wrong.yaml"),
        SMALL.replace("allow: read ${workspace}/x", "deny: read ${workspace}/x"),
    )
    .unwrap();
    let o = polc(&work, &["test", "wrong.yaml"]);
    assert_eq!(status(&o), 4);
    assert!(
        out(&o)
            .contains("wrong.yaml:14: deny: read ${workspace}/x\n  but it is allow by rule `work`")
            && out(&o).contains("1 passed, 1 failed"),
        "{}",
        out(&o)
    );
    assert_eq!(status(&polc(&work, &["explain", "p001"])), 0);
}

#[test]
fn init_writes_a_few_lines_that_extend_a_built_in_policy() {
    for b in polc::frontend::builtin::policies() {
        let d = tempfile::tempdir().unwrap();
        let folder = d.path().join("our-project");
        std::fs::create_dir(&folder).unwrap();
        let o = polc(&folder, &["init", b.name]);
        assert_eq!(status(&o), 0, "{}", err(&o));
        let entries: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
        assert_eq!(entries.len(), 1, "one file is written: {entries:?}");
        let text = std::fs::read_to_string(folder.join("polc.yaml")).unwrap();
        assert!(text.lines().count() <= 15, "{text}");
        assert!(text.contains("name: our-project\n"), "{text}");
        let commands: &[&str] = if b.name == "coding-agent" {
            &["check", "test"]
        } else {
            &["check"]
        };
        for command in commands {
            let o = polc(&folder, &[command, "-p", "polc.yaml"]);
            assert_eq!(
                status(&o),
                0,
                "{command} {}:\n{}{}",
                b.name,
                out(&o),
                err(&o)
            );
        }
        if b.name != "coding-agent" {
            continue;
        }
        let own = polc(
            &folder,
            &[
                "explain",
                "-p",
                "polc.yaml",
                "read",
                "${workspace}/secrets/x",
            ],
        );
        assert_eq!(status(&own), 4);
        assert!(
            out(&own).contains("by rule `secrets-of-this-project` at polc.yaml:7"),
            "{}",
            out(&own)
        );
        let base = polc(
            &folder,
            &["explain", "-p", "polc.yaml", "read", "/etc/passwd"],
        );
        assert!(out(&base).contains("at builtin:"), "{}", out(&base));
    }
}

#[test]
fn init_writes_a_policy_that_an_editor_understands() {
    let d = tempfile::tempdir().unwrap();
    let o = polc(d.path(), &["init", "--full", "--schema"]);
    assert_eq!(status(&o), 0, "{}", err(&o));
    let text = std::fs::read_to_string(d.path().join("polc.yaml")).unwrap();
    assert_eq!(
        text.lines().next().unwrap(),
        "# yaml-language-server: $schema=./polc.schema.json"
    );
    let schema = std::fs::read_to_string(d.path().join("polc.schema.json")).unwrap();
    assert_eq!(schema, out(&polc(d.path(), &["schema"])));
    assert_eq!(status(&polc(d.path(), &["check"])), 0);
    assert_eq!(status(&polc(d.path(), &["test"])), 0);
    let again = polc(d.path(), &["init", "ci-agent"]);
    assert_eq!(status(&again), 2, "somebody's work is not written over");
    assert_eq!(
        std::fs::read_to_string(d.path().join("polc.yaml")).unwrap(),
        text
    );
    assert_eq!(status(&polc(d.path(), &["init", "ci-agent", "--force"])), 0);
    let list = out(&polc(d.path(), &["init", "--list"]));
    for name in [
        "coding-agent",
        "read-only-explorer",
        "ci-agent",
        "research-agent",
        "data-analyst",
        "credentials",
        "linux-runtime",
        "macos-runtime",
        "git-hooks",
    ] {
        assert!(list.contains(name), "{list}");
    }
}

#[test]
fn enforce_spells_emit() {
    let d = folder();
    for (layer, target) in [("sandbox", "sbpl"), ("tetragon", "tetragon")] {
        assert_eq!(
            status(&polc(d.path(), &["enforce", layer, "--output", "a"])),
            0
        );
        assert_eq!(status(&polc(d.path(), &["emit", target, "-o", "b"])), 0);
        assert_eq!(
            std::fs::read(d.path().join("a")).unwrap(),
            std::fs::read(d.path().join("b")).unwrap()
        );
    }
    let o = polc(d.path(), &["enforce", "landlock", "--dry-run"]);
    assert_eq!(status(&o), 0, "{}", err(&o));
    assert!(
        out(&o).contains("Landlock") && out(&o).contains("polc.yaml"),
        "siblings of the hole are listed: {}",
        out(&o)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let d = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_polc"))
        .args(["emit", "tetragon", "-p", "builtin:coding-agent", "-q"])
        .current_dir(d.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let o = child.wait_with_output().unwrap();
    assert_eq!((o.status.code(), err(&o)), (Some(0), String::new()));
}

#[test]
fn completions_manual_and_targets() {
    let d = folder();
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&polc(d.path(), &["completions", shell])).contains("polc"));
    }
    assert!(out(&polc(d.path(), &["man"])).contains(".TH polc"));
    assert_eq!(status(&polc(d.path(), &["man", "-o", "man"])), 0);
    assert!(
        names(&d.path().join("man"))
            .iter()
            .any(|n| n == "polc-emit.1")
    );
    let targets = out(&polc(d.path(), &["targets"]));
    for b in polc::backend::all() {
        assert!(
            targets.contains(b.id())
                && b.options()
                    .iter()
                    .all(|o| targets.contains(&format!("--{}", o.name)))
        );
    }
}

#[test]
fn one_cause_is_one_error_and_a_wrong_name_is_known() {
    let d = folder();
    let codes = |o: &Output| -> Vec<String> {
        let text = err(o);
        let lines = text.lines().filter_map(|l| l.strip_prefix("error["));
        lines.map(|l| l[..4].to_owned()).collect()
    };
    let set = ["check", "-p", "builtin:coding-agent", "--set", "workspace="];
    let o = polc(d.path(), &set);
    assert_eq!(codes(&o), ["P307"], "{}", err(&o));
    let o = Command::new(env!("CARGO_BIN_EXE_polc"))
        .args(["check", "-p", "builtin:coding-agent"])
        .env_remove("HOME")
        .output()
        .unwrap();
    assert_eq!(codes(&o), ["P306"], "{}", err(&o));
    for (args, meant) in [
        (
            &["check", "-p", "builtin:claude"][..],
            "did you mean `builtin:claude-code`?",
        ),
        (
            &["check", "-p", "claude"],
            "did you mean `builtin:claude-code`?",
        ),
        (
            &["init", "claude", "-o", "x.yaml"],
            "did you mean `claude-code`?",
        ),
    ] {
        let o = polc(d.path(), args);
        assert_eq!(status(&o), 2, "{args:?}: {}", err(&o));
        assert!(err(&o).contains(meant), "{args:?}: {}", err(&o));
    }
    let o = polc(d.path(), &["explain", "read /etc/[x"]);
    assert!(err(&o).contains("| read /etc/[x\n"), "{}", err(&o));
}

#[test]
fn what_init_says_next_can_be_typed() {
    let d = tempfile::tempdir().unwrap();
    let o = polc(d.path(), &["init"]);
    assert!(
        err(&o).ends_with("polc trust, polc run -- COMMAND\n"),
        "{}",
        err(&o)
    );
    let o = polc(d.path(), &["init", "-o", "other.yaml"]);
    assert!(
        err(&o).ends_with("polc run -p other.yaml -- COMMAND\n"),
        "{}",
        err(&o)
    );
}

#[test]
fn the_reference_is_current() {
    let d = tempfile::tempdir().unwrap();
    assert_eq!(status(&polc(d.path(), &["docs", "-o", "docs"])), 0);
    for file in names(&d.path().join("docs")) {
        let made = std::fs::read_to_string(d.path().join("docs").join(&file)).unwrap();
        let kept = std::fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("docs")
                .join(&file),
        )
        .unwrap_or_default();
        assert!(
            made == kept,
            "docs/{file} is not current: `cargo run -- docs -o docs`"
        );
    }
}

/// `explain` answers without waiting for artifacts, even if they take minutes.
#[test]
fn explain_does_not_wait_for_artifacts_for_ever() {
    let d = folder();
    let work = d.path().canonicalize().unwrap();
    let mut hard = "version: 1\nname: hard\nrules:\n".to_owned();
    for i in 0..1000 {
        hard += &format!(
            "- {{name: r{i}, action: deny, operations: [read], paths: ['/w{i}/a*a*a*a*a*a*a*a*a*b/**/{{a,b,c}}{{d,e,f}}{{g,h,i}}/**/x*']}}\n"
        );
    }
    std::fs::write(work.join("hard.yaml"), hard).unwrap();
    let start = std::time::Instant::now();
    let o = polc(
        &work,
        &["explain", "-p", "hard.yaml", "--no-host", "read", "/w7/x"],
    );
    assert!(out(&o).starts_with("deny: read /w7/x"), "{}", out(&o));
    assert!(
        start.elapsed() < std::time::Duration::from_secs(100),
        "{:?}",
        start.elapsed()
    );
    // For each target it says either that there is no artifact or that it did not wait. Which one depends on the
    // machine.
    let said = out(&o);
    let lines = said.lines().filter(|l| {
        l.contains("not known: the policy did not compile for it in") || l.contains("no artifact: ")
    });
    assert_eq!(lines.count(), 6, "{said}");
}
