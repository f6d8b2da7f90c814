//! `polc verify`, `coverage` and `diff` as their users run them.

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
        .output()
        .unwrap()
}

fn out(o: &Output) -> String {
    String::from_utf8_lossy(&o.stdout).into_owned()
}

fn err(o: &Output) -> String {
    String::from_utf8_lossy(&o.stderr).into_owned()
}

fn status(o: &Output) -> i32 {
    o.status.code().unwrap()
}

const POLICY: &str = r#"version: 1
name: small
subject: {home: auto, workspace: auto, tmp: auto}
rules:
  - name: secret
    action: deny
    operations: [read, write]
    paths: ["${workspace}/secret/**", "${workspace}/<script>x"]
  - name: work
    action: allow
    operations: [read, write]
    paths: ["${workspace}/**"]
"#;

fn folder() -> tempfile::TempDir {
    let d = tempfile::tempdir().unwrap();
    std::fs::write(d.path().join("polc.yaml"), POLICY).unwrap();
    d
}

#[test]
fn what_was_emitted_is_verified_and_what_was_edited_is_not() {
    let d = folder();
    for target in ["landlock", "seccomp", "apparmor", "sbpl", "tetragon"] {
        let file = format!("made-{target}");
        assert_eq!(
            status(&polc(d.path(), &["emit", target, "-q", "-o", &file])),
            0
        );
        let o = polc(d.path(), &["verify", &file]);
        assert_eq!(status(&o), 0, "{target}: {}{}", out(&o), err(&o));
        assert!(
            out(&o).contains(&format!("{file}: {target}: means the policy")),
            "{}",
            out(&o)
        );
    }
    // By hand: the denial is gone.
    let file = d.path().join("made-apparmor");
    let text = std::fs::read_to_string(&file).unwrap();
    let edited: Vec<&str> = text
        .lines()
        .filter(|l| !(l.contains("deny") && l.contains("secret")))
        .collect();
    assert!(edited.len() < text.lines().count());
    std::fs::write(&file, edited.join("\n") + "\n").unwrap();
    let o = polc(d.path(), &["verify", "made-apparmor"]);
    assert_eq!(status(&o), 3, "{}", out(&o));
    assert!(
        out(&o).contains("lets through") && out(&o).contains("/workspace/secret"),
        "{}",
        out(&o)
    );
    assert!(
        out(&o).contains("rule `secret` at polc.yaml:5"),
        "{}",
        out(&o)
    );
    let json = polc(d.path(), &["verify", "made-apparmor", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json[0]["target"], "apparmor");
    assert_eq!(json[0]["equal"], false);
}

#[test]
fn what_is_no_artifact_is_refused_with_its_name() {
    let d = folder();
    std::fs::write(d.path().join("x.txt"), "hello").unwrap();
    let o = polc(d.path(), &["verify", "x.txt"]);
    assert_eq!(status(&o), 2);
    assert!(err(&o).contains("x.txt"), "{}", err(&o));
    let missing = polc(d.path(), &["verify", "nowhere.sb"]);
    assert_eq!(status(&missing), 1);
    std::fs::write(
        d.path().join("x.landlock.json"),
        r#"{"abi": 6, "ruleset": [], "more": 1}"#,
    )
    .unwrap();
    let o = polc(d.path(), &["verify", "x.landlock.json"]);
    assert_eq!(status(&o), 2);
    assert!(
        err(&o).contains("E115") && err(&o).contains("more"),
        "{}",
        err(&o)
    );
}

#[test]
fn coverage_is_a_table_and_a_requirement() {
    let d = folder();
    let o = polc(d.path(), &["coverage", "--layers", "landlock,seccomp"]);
    assert_eq!(status(&o), 0, "{}", err(&o));
    let table = out(&o);
    let head = table.lines().next().unwrap();
    assert!(head.starts_with("rule") && head.ends_with(" 3"), "{head}");
    assert!(
        table.contains("columns: 1 landlock, 2 seccomp, 3 together\n"),
        "{table}"
    );
    let o = polc(
        d.path(),
        &[
            "coverage",
            "--layers",
            "landlock,seccomp",
            "--require",
            "safe",
        ],
    );
    assert_eq!(status(&o), 3);
    let json = polc(
        d.path(),
        &[
            "coverage",
            "--layers",
            "landlock,apparmor",
            "--format",
            "json",
        ],
    );
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let row = |rule: &str, operation: &str| {
        let rows = json["rows"].as_array().unwrap();
        let found = rows
            .iter()
            .find(|r| r["rule"] == rule && r["operation"] == operation);
        found
            .unwrap_or_else(|| panic!("{rule} {operation}"))
            .clone()
    };
    // Landlock says nothing of modes, AppArmor does in part: together they are what the better one is.
    assert_eq!(row("secret", "read")["together"]["fidelity"], "exact");
    assert_eq!(
        row("secret", "metadata")["layers"]["landlock"]["fidelity"],
        "unenforced"
    );
    // Both refuse more than the policy in the tree with the hole.
    assert_eq!(
        row("work", "create")["layers"]["landlock"]["fidelity"],
        "stricter"
    );
    assert_eq!(row("work", "create")["together"]["fidelity"], "stricter");
    let markdown = polc(
        d.path(),
        &["coverage", "--layers", "landlock", "--format", "markdown"],
    );
    assert!(out(&markdown).starts_with("| rule | operations | landlock | together |\n"));
    let none = polc(d.path(), &["coverage", "--layers", "windows"]);
    assert_eq!(status(&none), 2);
}

#[test]
fn the_page_holds_hostile_names_as_text() {
    let d = folder();
    std::fs::write(
        d.path().join("polc.yaml"),
        POLICY.replace("\"${workspace}/secret/**\", ", ""),
    )
    .unwrap();
    let o = polc(
        d.path(),
        &[
            "coverage",
            "--layers",
            "landlock,seccomp",
            "--format",
            "html",
            "-o",
            "page.html",
        ],
    );
    assert_eq!(status(&o), 0, "{}", err(&o));
    let page = std::fs::read_to_string(d.path().join("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(
        page.contains("script") && !page.contains("<script"),
        "a name became markup"
    );
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
}

#[test]
fn differences_are_told_and_counted_by_the_exit_status() {
    let d = folder();
    let same = polc(d.path(), &["diff", "polc.yaml", "polc.yaml"]);
    assert_eq!(
        (status(&same), out(&same).as_str()),
        (0, "they mean the same\n")
    );
    std::fs::write(
        d.path().join("new.yaml"),
        POLICY.replace(
            "operations: [read, write]\n    paths: [\"${workspace}/secret",
            "operations: [write]\n    paths: [\"${workspace}/secret",
        ),
    )
    .unwrap();
    let o = polc(d.path(), &["diff", "polc.yaml", "new.yaml"]);
    assert_eq!(status(&o), 1);
    assert!(
        out(&o).starts_with("newly allowed:\n")
            && out(&o).contains("\n  read, list  /workspace/secret/**\n      for example /workspace/secret: was by `secret` at polc.yaml:5, is by `work` at new.yaml:9\n"),
        "{}",
        out(&o)
    );
    let fail_on = |kind: &str| {
        status(&polc(
            d.path(),
            &["diff", "polc.yaml", "new.yaml", "--fail-on", kind],
        ))
    };
    assert_eq!((fail_on("newly-allowed"), fail_on("newly-denied")), (1, 0));
    // Many changes are told in few lines, unless all are asked for.
    let two = ["diff", "builtin:read-only-explorer", "builtin:coding-agent"];
    let (short, whole) = (
        polc(d.path(), &two),
        polc(d.path(), &[&two[..], &["--all"]].concat()),
    );
    assert_eq!((status(&short), status(&whole)), (1, 1));
    let lines = |o: &Output| out(o).lines().count();
    assert!(lines(&short) <= 20 && lines(&whole) > 20, "{}", out(&short));
    assert!(out(&short).ends_with("(`polc diff --all` shows all, with examples)\n"));
    assert!(out(&short).contains("newly allowed:\n") && out(&short).contains(" more\n"));
    assert!(
        out(&whole).contains("      for example "),
        "{}",
        out(&whole)
    );
    // Between a policy and an artifact of it, as far as the artifact can say it.
    assert_eq!(
        status(&polc(d.path(), &["emit", "sbpl", "-q", "-o", "made.sb"])),
        0
    );
    let o = polc(d.path(), &["diff", "made.sb", "made.sb"]);
    assert_eq!(status(&o), 0, "{}", out(&o));
    let o = polc(
        d.path(),
        &["diff", "polc.yaml", "made.sb", "--format", "json"],
    );
    let json: serde_json::Value = serde_json::from_slice(&o.stdout).unwrap();
    let secret = |c: &&serde_json::Value| {
        c["operation"] == "read"
            && c["change"] == "newly-allowed"
            && c["what"].to_string().contains("secret")
    };
    assert!(
        json.as_array().unwrap().iter().find(secret).is_none(),
        "{json:#}"
    );
}

#[test]
fn a_summary_of_the_coverage_has_no_rows() {
    let d = folder();
    let with = |more: &[&str]| {
        let all = [
            &["coverage", "--layers", "landlock,seccomp", "--summary"],
            more,
        ]
        .concat();
        polc(d.path(), &all)
    };
    let text = out(&with(&[]));
    let starts: Vec<&str> = text.lines().map(|l| l.split(' ').next().unwrap()).collect();
    assert_eq!(
        starts[..4],
        ["landlock", "seccomp", "together", ""],
        "{text}"
    );
    assert!(
        text.contains("gaps get through all layers of the table:\n"),
        "{text}"
    );
    let markdown = out(&with(&["--format", "markdown"]));
    assert!(
        markdown.starts_with("| layer | exact | stricter | looser | mixed | unenforced |\n"),
        "{markdown}"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&with(&["--format", "json"]).stdout).unwrap();
    assert!(json.get("rows").is_none() && json["gaps"].is_array());
    let whole = polc(
        d.path(),
        &[
            "coverage",
            "--layers",
            "landlock,seccomp",
            "--format",
            "json",
        ],
    );
    let whole: serde_json::Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(json["counts"], whole["counts"]);
    let rows = whole["rows"].as_array().unwrap();
    let exact = rows
        .iter()
        .filter(|r| r["layers"]["seccomp"]["fidelity"] == "exact")
        .count();
    assert_eq!(json["counts"]["seccomp"]["exact"], exact);
    assert_eq!(status(&with(&["--format", "html"])), 2);
    assert_eq!(status(&with(&["--all"])), 2);
}

#[test]
fn an_artifact_that_confines_somebody_else_is_not_the_policys() {
    let d = folder();
    let policy = POLICY.replace(
        "subject: {home",
        "subject: {executable: '/opt/my agent/bin', kubernetes: {namespace: agents, labels: {app: agent}}, home",
    );
    std::fs::write(d.path().join("polc.yaml"), policy).unwrap();
    let edited = |target: &str, from: &str, to: &str| -> (i32, String) {
        let file = format!("{}.made", target);
        let made = polc(d.path(), &["emit", target, "-q", "-o", &file]);
        assert_eq!(status(&made), 0, "{}", err(&made));
        let path = d.path().join(&file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{target} has no {from}\n{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let o = polc(d.path(), &["verify", &file]);
        (status(&o), out(&o) + &err(&o))
    };
    let not = |what: &str| format!("  does not confine {what}, which is the policy's subject\n");
    let but = |what: &str| format!("  confines {what}, which is not the policy's subject\n");
    let agent = "the program `/opt/my agent/bin`";

    let (code, said) = edited("tetragon", "/opt/my agent/bin", "/opt/other");
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains(&not(agent)) && said.contains(&but("the program `/opt/other`")),
        "{said}"
    );
    let (code, said) = edited("tetragon", "namespace: agents", "namespace: kept");
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains(&not("pods of the namespace `agents` with `app=agent`")),
        "{said}"
    );
    assert!(
        said.contains(&but("pods of the namespace `kept` with `app=agent`")),
        "{said}"
    );
    // More pods than those: nothing that should be confined is left out.
    let (code, said) = edited("tetragon", "app: agent", "app: other");
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains(&but("pods of the namespace `agents` with `app=other`")),
        "{said}"
    );

    let attached = r#""/opt/my\040agent/bin""#;
    let (code, said) = edited(
        "apparmor",
        &format!("{attached} flags"),
        "\"/opt/{other,more}\" flags",
    );
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&not(agent)), "{said}");
    assert!(said.contains(&but("the program `/opt/more`")), "{said}");
    // Wider: all that should be confined is, and more.
    let (code, said) = edited(
        "apparmor",
        &format!("{attached} flags"),
        "\"/opt/*/bin\" flags",
    );
    assert_eq!(code, 3, "{said}");
    assert!(
        !said.contains("does not confine") && said.contains("confines the program `/opt/"),
        "{said}"
    );
    // Another way to write the same.
    let (code, said) = edited(
        "apparmor",
        &format!("{attached} flags"),
        "\"/opt/my\\040agent/{bin,bin}\" flags",
    );
    assert_eq!(code, 0, "{said}");
    // Attached to nothing.
    let (code, said) = edited("apparmor", &format!("{attached} flags"), "flags");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&not(agent)), "{said}");
    let json = polc(d.path(), &["verify", "apparmor.made", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json[0]["equal"], false);
    assert_eq!(json[0]["subject"][0]["what"], agent);
    assert_eq!(json[0]["subject"][0]["artifact"], false);
}

#[test]
fn explain_says_for_each_layer_what_happens_and_why() {
    let d = folder();
    let policy = POLICY.to_owned()
        + r#"  - {name: push, action: ask, commands: ["git push **"]}
  - {name: tools, action: allow, operations: [read, execute], paths: ["/usr/bin/**"]}
  - {name: late, action: deny, operations: [read], paths: ["${workspace}/**"]}
"#;
    std::fs::write(d.path().join("polc.yaml"), policy).unwrap();
    let explain = |words: &[&str]| {
        let o = polc(d.path(), &[&["explain"], words].concat());
        (status(&o), out(&o) + &err(&o))
    };
    let layer = |said: &str, id: &str| -> String {
        let line = said.lines().find(|l| l.trim_start().starts_with(id));
        let line = line.unwrap_or_else(|| panic!("no {id}\n{said}"));
        line.trim_start()[id.len()..].trim_start().to_owned()
    };
    let work = d.path().canonicalize().unwrap();
    let file = |name: &str| work.join(name).to_str().unwrap().to_owned();

    // What decides, and everything below it that would match.
    let (code, said) = explain(&["read", &file("secret/key")]);
    assert_eq!(code, 4, "{said}");
    assert!(said.starts_with("deny: read /"), "{said}");
    assert!(
        said.contains("\n  by rule `secret` at polc.yaml:5\n"),
        "{said}"
    );
    assert!(
        said.contains("\n  below it, rule `work` at polc.yaml:9 would match too: allow\n"),
        "{said}"
    );
    assert!(
        said.contains("\n  below it, rule `late` at polc.yaml:15 would match too: deny\n"),
        "{said}"
    );
    // The deny lies in a tree that is granted.
    assert!(
        layer(&said, "landlock").starts_with("allows it all the same: Landlock takes nothing away"),
        "{said}"
    );
    assert!(
        layer(&said, "seccomp").starts_with("does not restrict it, so it happens: "),
        "{said}"
    );
    assert!(
        layer(&said, "apparmor").starts_with("denies it, by small.apparmor:"),
        "{said}"
    );

    // A name stands for the program in /usr/bin, which is what a layer sees.
    let (code, said) = explain(&["run", "git", "push"]);
    assert_eq!(code, 4, "{said}");
    assert!(
        said.starts_with("ask: execute /usr/bin/git push\n"),
        "{said}"
    );
    for id in ["apparmor", "sbpl", "tetragon"] {
        let why = "allows it all the same: this layer sees the program, not its arguments";
        assert!(layer(&said, id).starts_with(why), "{said}");
    }
    let (code, said) = explain(&["run", "ls"]);
    assert_eq!(code, 0, "{said}");
    for id in ["apparmor", "selinux", "sbpl", "tetragon"] {
        assert!(layer(&said, id).starts_with("allows it"), "{said}");
    }

    // A layer that would have to ask denies.
    let policy = std::fs::read_to_string(d.path().join("polc.yaml")).unwrap();
    let asks = policy.replace(
        "name: secret\n    action: deny",
        "name: secret\n    action: ask",
    );
    assert_ne!(asks, policy);
    std::fs::write(d.path().join("polc.yaml"), asks).unwrap();
    let (_, said) = explain(&["read", &file("secret/key")]);
    assert!(
        layer(&said, "apparmor").starts_with("denies it, because it cannot ask"),
        "{said}"
    );

    // The reason is that of the object: an address is no unix socket.
    let (_, said) = explain(&["connect", "8.8.8.8:53"]);
    assert!(
        layer(&said, "landlock").contains("TCP ports, but no addresses"),
        "{said}"
    );
    // What refuses is no clause that allows something else.
    assert!(
        layer(&said, "seccomp").ends_with(": socket SCMP_ACT_ERRNO"),
        "{said}"
    );
    let (_, said) = explain(&["tool", "shell"]);
    assert!(
        layer(&said, "landlock").contains("tool-call gate"),
        "{said}"
    );
}

#[test]
fn a_difference_in_one_way_is_told_with_the_way() {
    let d = folder();
    // Without a hole in the tree, which would keep anything from being made at its top.
    let (head, rest) = POLICY.split_once("  - name: secret").unwrap();
    let (_, work) = rest.split_once("  - name: work").unwrap();
    let policy = format!("{head}  - name: work{work}");
    std::fs::write(d.path().join("polc.yaml"), policy).unwrap();
    let file = d.path().join("made.landlock.json");
    let made = polc(
        d.path(),
        &["emit", "landlock", "-q", "-o", "made.landlock.json"],
    );
    assert_eq!(status(&made), 0, "{}", err(&made));
    // Links may be made nowhere any more.
    let text = std::fs::read_to_string(&file).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for rule in json["pathBeneath"].as_array_mut().unwrap() {
        let rights = rule["allowedAccess"].as_array_mut().unwrap();
        rights.retain(|r| r != "make_sym");
    }
    std::fs::write(&file, format!("{json:#}")).unwrap();
    let o = polc(d.path(), &["verify", "made.landlock.json"]);
    assert_eq!(status(&o), 3, "{}", out(&o));
    assert!(
        out(&o).contains("1 difference\n  refuses create /"),
        "{}",
        out(&o)
    );
    assert!(
        out(&o).contains(" by make_sym, which the policy allows\n"),
        "{}",
        out(&o)
    );
}
