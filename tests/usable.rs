//! The policy's own `allow` tests, asked of what polc makes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Landlock cannot let one file of the home directory be made, and not the others.
const POLICY: &str = "version: 1
name: team
subject: {home: /home/agent, workspace: /w, tmp: /tmp}
rules:
  - name: scratch
    action: allow
    operations: [create]
    paths: [\"~/scratch.*\"]
  - name: hooks
    action: deny
    operations: [edit]
    paths: [\"${workspace}/hooks/**\"]
  - name: work
    action: allow
    operations: [read, write]
    paths: [\"${workspace}/**\"]
tests:
  - {allow: \"edit ${workspace}/a\"}
  - {deny: \"edit ${workspace}/hooks/a\"}
";

const FAILS: &str = "  - {allow: create ~/scratch.1}\n";

fn polc(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_polc"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with the policy and one more test.
fn folder(test: &str) -> tempfile::TempDir {
    let d = tempfile::tempdir().unwrap();
    std::fs::write(d.path().join("polc.yaml"), format!("{POLICY}{test}")).unwrap();
    d
}

/// What each command says of the test that fails.
const SAID: &str = "landlock refuses create /home/agent/scratch.1, which the test at polc.yaml:20 allows, by rule `scratch` at polc.yaml:5: a right reaches everything beneath";

#[test]
fn emit_says_first_what_is_refused_though_a_test_allows_it() {
    let d = folder(FAILS);
    for quiet in [&[][..], &["--quiet"]] {
        let o = polc(d.path(), &[&["emit", "landlock"], quiet].concat());
        assert_eq!(o.status.code(), Some(0));
        let said = text(&o.stderr);
        assert!(said.starts_with(&format!("warning: {SAID}")), "{said}");
        assert!(!o.stdout.is_empty());
    }
    let o = polc(
        d.path(),
        &["emit", "landlock", "--require", "usable", "-o", "made"],
    );
    assert_eq!(o.status.code(), Some(3));
    let said = text(&o.stderr);
    assert!(
        said.ends_with("error: `--require usable`: a layer refuses what a test of the policy allows; nothing was written\n"),
        "{said}"
    );
    assert!(!d.path().join("made").exists());
    // Each demand for itself, and both at once.
    let d = folder("");
    for (demand, code) in [("usable", 0), ("safe", 3), ("usable,safe", 3)] {
        let o = polc(d.path(), &["emit", "landlock", "-q", "--require", demand]);
        assert_eq!(o.status.code(), Some(code), "{demand}");
        assert!(!text(&o.stderr).contains("warning: landlock refuses"));
    }
}

#[test]
fn coverage_says_it_first_in_every_form() {
    let d = folder(FAILS);
    let of = |more: &[&str]| {
        let args = ["coverage", "--layers", "landlock,seccomp"];
        polc(d.path(), &[&args, more].concat())
    };
    let o = of(&["--require", "usable"]);
    assert_eq!(o.status.code(), Some(3));
    let said = text(&o.stdout);
    let first = "1 allowed thing that a test of the policy names and a layer refuses:\n  landlock";
    assert!(said.starts_with(first) && said.contains(SAID), "{said}");
    let o = of(&["--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&o.stdout).unwrap();
    assert_eq!(json["usable"], false);
    let refused = &json["refused"][0];
    assert_eq!(refused["target"], "landlock");
    assert_eq!(refused["test"], "polc.yaml:20");
    assert_eq!(refused["rule"], "scratch");
    assert!(refused["reason"].as_str().unwrap().starts_with("a right"));
    let o = of(&["--format", "markdown"]);
    assert!(text(&o.stdout).starts_with("- refused though allowed: landlock refuses"));
    let o = of(&["--format", "html"]);
    let page = text(&o.stdout);
    let at = |t: &str| page.find(t).unwrap_or_else(|| panic!("{t}"));
    assert!(at("What a layer refuses though a test allows it") < at("What gets through"));
    let d = folder("");
    let o = polc(
        d.path(),
        &["coverage", "--layers", "landlock", "--require", "usable"],
    );
    assert_eq!(o.status.code(), Some(0));
}

#[test]
fn verify_asks_the_artifact_as_it_is() {
    let d = folder(FAILS);
    assert!(
        polc(d.path(), &["emit", "landlock", "-q", "-o", "made"])
            .status
            .success()
    );
    let o = polc(d.path(), &["verify", "made"]);
    assert_eq!(o.status.code(), Some(0));
    assert!(text(&o.stdout).starts_with(&format!("made: {SAID}")));
    let o = polc(d.path(), &["verify", "made", "--require", "usable"]);
    assert_eq!(o.status.code(), Some(3));
    // What was edited away is missed, though the compiler grants it.
    let d = folder("");
    let o = polc(d.path(), &["emit", "landlock", "-q", "-o", "made"]);
    assert!(o.status.success());
    let made = std::fs::read_to_string(d.path().join("made")).unwrap();
    std::fs::write(d.path().join("made"), made.replace("\"/w\"", "\"/v\"")).unwrap();
    let o = polc(d.path(), &["verify", "made"]);
    assert!(
        text(&o.stdout).starts_with("made: landlock refuses edit /w/a"),
        "{}",
        text(&o.stdout)
    );
}

#[test]
fn a_layer_s_failure_is_a_failure_unless_the_test_is_for_others() {
    let test = |more: &str| {
        let d = folder(more);
        let o = polc(d.path(), &["test", "--layers", "landlock,seccomp"]);
        (o.status.code().unwrap(), text(&o.stdout))
    };
    let (code, said) = test("");
    assert_eq!(code, 0, "{said}");
    assert!(
        said.starts_with("asked: the policy, and landlock, seccomp\n"),
        "{said}"
    );
    assert!(
        said.contains("landlock  keeps 1, does not keep 1 as its ledger says"),
        "{said}"
    );
    let (code, said) = test(FAILS);
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("FAILED polc.yaml:20: landlock refuses create /home/agent/scratch.1\n  the policy says allow by rule `scratch` at polc.yaml:5\n  landlock: a right"),
        "{said}"
    );
    let (code, said) = test("  - {allow: create ~/scratch.1, layers: [apparmor, seccomp]}\n");
    assert_eq!(code, 0, "{said}");
    // A deny that a test wants of a layer is the layer's.
    let (code, said) = test("  - {deny: \"edit ${workspace}/hooks/b\", layers: [landlock]}\n");
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("landlock lets through edit /w/hooks/b"),
        "{said}"
    );
    let d = folder("  - {allow: read /w/x, layers: [landlok]}\n");
    let o = polc(d.path(), &["check"]);
    assert_eq!(o.status.code(), Some(2));
    let said = text(&o.stderr);
    assert!(
        said.contains("`landlok` is not a layer") && said.contains("did you mean `landlock`?"),
        "{said}"
    );
}

#[test]
fn test_says_which_layers_this_host_has() {
    let d = folder("");
    let o = polc(d.path(), &["test"]);
    let said = text(&o.stdout);
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("asked: the policy"), "{said}");
    if let Some(abi) = polc::enforce::landlock::kernel_abi() {
        assert!(first.contains(&format!("landlock (ABI {})", abi.min(9))));
    }
    assert!(!first.contains("sbpl") || cfg!(target_os = "macos"));
}

/// What a built-in policy allows works under the layers that every Linux host has.
#[test]
fn built_in_policies_pass_their_own_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|e| {
            let name = e.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".yaml").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() >= 14);
    let d = tempfile::tempdir().unwrap();
    for name in names {
        let policy = format!("builtin:{name}");
        let o = polc(
            d.path(),
            &["test", "-p", &policy, "--layers", "landlock,seccomp"],
        );
        let said = text(&o.stdout);
        assert_eq!(o.status.code(), Some(0), "{name}: {said}");
    }
}
