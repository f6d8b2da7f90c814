//! What a policy gets from its base, and what it does not.

use crate::diagnostics::Diagnostics;
use crate::fidelity::Object;
use crate::frontend::{LoadOptions, load_path};
use crate::policy::{Action, Operation, Policy};
use crate::semantics::decide;
use std::path::Path;

/// Writes the files and loads the first one.
fn load(files: &[(&str, &str)]) -> Result<Policy, Diagnostics> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let first = folder.path().join(files[0].0);
    load_path(&first, &LoadOptions::default()).map(|l| l.policy)
}

fn refused(files: &[(&str, &str)]) -> String {
    load(files).expect_err("it loads").to_string()
}

fn read(policy: &Policy, path: &str) -> (Action, String) {
    let d = decide(policy, Operation::Read, &Object::Path(path.into()));
    let by = d.rule.map_or("default", |id| &policy.rule(id).name);
    (d.action, by.to_owned())
}

const RULE: &str = "action: allow, operations: [read]";

#[test]
fn the_rules_of_the_file_are_read_before_those_of_its_base() {
    let policy = load(&[
        (
            "ours.yaml",
            "version: 1\nname: ours\nextends: team/base.yaml\nrules:\n  - {name: keys, action: deny, operations: [read], paths: [/srv/keys/**]}\n",
        ),
        (
            "team/base.yaml",
            "version: 1\nname: team\nextends: ../root.yaml\nrules:\n  - include: set.yaml\n  - {name: keys, action: deny, operations: [read], paths: [/srv/private/**]}\n",
        ),
        (
            "team/set.yaml",
            &format!("version: 1\nname: set\nrules:\n  - {{name: data, {RULE}, paths: [/srv/private/open/**]}}\n"),
        ),
        (
            "root.yaml",
            &format!("version: 1\nname: root\nrules:\n  - {{name: all, {RULE}, paths: [/srv/**]}}\n"),
        ),
    ])
    .unwrap();
    let names: Vec<&str> = policy.rules.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["keys", "set/data", "team/keys", "root/all"]);
    assert_eq!(policy.base_rules.map(|id| id.0), Some(1));
    let places: Vec<String> = policy
        .rules
        .iter()
        .map(|r| policy.sources.place(r.span))
        .map(|p| {
            Path::new(&p)
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        places,
        ["ours.yaml:5", "set.yaml:4", "base.yaml:6", "root.yaml:4"]
    );
    for (path, action, by) in [
        ("/srv/keys/a", Action::Deny, "keys"),
        ("/srv/private/open/a", Action::Allow, "set/data"),
        ("/srv/private/a", Action::Deny, "team/keys"),
        ("/srv/a", Action::Allow, "root/all"),
    ] {
        assert_eq!(read(&policy, path), (action, by.to_owned()), "{path}");
    }
}

#[test]
fn a_key_replaces_the_bases_and_three_lists_are_joined() {
    let policy = load(&[
        (
            "ours.yaml",
            "version: 1\nname: ours\nextends: base.yaml\ndefault_action: deny\nsubject: {home: /home/me}\nrules: []\n\
             limits: {memory: 1GiB}\nenvironment: {pass: [A, B], set: {X: ours}}\ncapabilities: [KILL]\n\
             allow_lints: [{code: L004, reason: ours}]\ntests:\n  - allow: read /x\n  - deny: read ~/y\n",
        ),
        (
            "base.yaml",
            "version: 1\nname: base\ndescription: what it is for\ndefault_action: allow\n\
             subject: {home: /home/base, workspace: ~/work}\nrules:\n  - {name: y, action: deny, operations: [read], paths: [~/y]}\n\
             limits: {memory: 2GiB, processes: 7}\nenvironment: {pass: [B, C], set: {X: base, Y: \"${home}\"}}\n\
             capabilities: [CHOWN]\nallow_lints: [{code: L003, reason: base}]\ntests:\n  - deny: read /x\n  - deny: read ${workspace}/z\n",
        ),
    ])
    .unwrap();
    assert_eq!(policy.name, "ours");
    assert_eq!(policy.description.as_deref(), Some("what it is for"));
    assert_eq!(policy.default_action, Action::Deny);
    assert_eq!(policy.default_span.file.0, 0);
    assert_eq!(policy.subject.home.as_deref(), Some(&b"/home/me"[..]));
    // The base's text uses this file's home.
    assert_eq!(
        policy.subject.workspace.as_deref(),
        Some(&b"/home/me/work"[..])
    );
    assert_eq!(read(&policy, "/home/me/y").1, "base/y");
    assert_eq!(
        (policy.limits.memory, policy.limits.processes),
        (Some(1 << 30), Some(7))
    );
    assert_eq!(policy.environment.pass.as_deref().unwrap(), ["A", "B", "C"]);
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    assert_eq!(
        policy.environment.set,
        [pair("X", "ours"), pair("Y", "/home/me")]
    );
    assert_eq!(policy.capabilities, ["CAP_KILL"]);
    assert_eq!(
        policy.lint_allowed,
        [pair("L004", "ours"), pair("L003", "base")]
    );
    // Two tests of this file, and that one of the base's two tests that asks something else.
    let expected: Vec<Action> = policy.tests.iter().map(|t| t.expect).collect();
    assert_eq!(expected, [Action::Allow, Action::Deny, Action::Deny]);
}

#[test]
fn what_stands_in_the_base_alone_holds() {
    let policy = load(&[
        ("ours.yaml", "version: 1\nname: ours\nextends: base.yaml\nrules: []\nenvironment: {pass: [A]}\n"),
        (
            "base.yaml",
            "version: 1\nname: base\ndefault_action: allow\nsubject: {home: /h}\nrules: []\ncapabilities: [KILL]\nenvironment: {set: {X: y}}\n",
        ),
    ])
    .unwrap();
    assert_eq!(policy.default_action, Action::Allow);
    assert_eq!(policy.default_span.file.0, 1);
    assert_eq!(policy.capabilities, ["CAP_KILL"]);
    // A base without a list of variables adds nothing to this file's list.
    assert_eq!(policy.environment.pass.as_deref().unwrap(), ["A"]);
    assert_eq!(policy.environment.set.len(), 1);
}

#[test]
fn every_built_in_policy_can_be_built_on() {
    for b in crate::frontend::builtin::policies() {
        let text = format!(
            "version: 1\nname: {0}\nextends: builtin:{0}\nrules:\n  - include: builtin:linux-runtime\n",
            b.name
        );
        let policy = load(&[("ours.yaml", &text)]).unwrap_or_else(|e| panic!("{e}"));
        let alone = crate::frontend::load_builtin(b.name, &LoadOptions::default())
            .unwrap()
            .policy;
        // A set that both files include appears once.
        let again = alone
            .rules
            .iter()
            .filter(|r| r.name.starts_with("linux-runtime/"))
            .count();
        let added = policy.rules.len() - alone.rules.len();
        assert!(again == 0 || added == 0, "{}: {again} {added}", b.name);
        assert_eq!(policy.tests.len(), alone.tests.len());
    }
}

#[test]
fn no_file_builds_on_itself() {
    let one = "version: 1\nname: one\nextends: two.yaml\nrules: []\n";
    let two = "version: 1\nname: two\nextends: ./one.yaml\nrules: []\n";
    let said = refused(&[("one.yaml", one), ("two.yaml", two)]);
    assert!(
        said.contains("P302") && said.contains("builds on itself"),
        "{said}"
    );
    let said = refused(&[(
        "one.yaml",
        "version: 1\nname: one\nextends: one.yaml\nrules: []\n",
    )]);
    assert!(said.contains("P302"), "{said}");
    // Through a link, under another name.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.yaml");
    std::fs::write(
        &file,
        "version: 1\nname: one\nextends: two.yaml\nrules: []\n",
    )
    .unwrap();
    std::os::unix::fs::symlink("one.yaml", folder.path().join("two.yaml")).unwrap();
    let said = load_path(&file, &LoadOptions::default())
        .err()
        .unwrap()
        .to_string();
    assert!(said.contains("P302"), "{said}");
}

#[test]
fn there_are_bounds() {
    let mut files = vec![];
    for i in 0..40 {
        files.push((
            format!("{i}.yaml"),
            format!(
                "version: 1\nname: p{i}\nextends: {}.yaml\nrules: []\n",
                i + 1
            ),
        ));
    }
    files.push((
        "40.yaml".to_owned(),
        "version: 1\nname: p\nrules: []\n".to_owned(),
    ));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let said = refused(&files);
    assert!(said.contains("P308"), "{said}");
    assert!(load(&files[26..]).is_ok(), "14 bases are fine");

    let large = format!(
        "version: 1\nname: NAME\nrules: []\n#{}\n",
        "x".repeat(3 << 20)
    );
    let includes: String = (0..8).map(|i| format!("  - include: {i}.yaml\n")).collect();
    let mut files = vec![(
        "ours.yaml".to_owned(),
        format!("version: 1\nname: ours\nrules:\n{includes}"),
    )];
    files.extend((0..8).map(|i| (format!("{i}.yaml"), large.replace("NAME", &format!("s{i}")))));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let said = refused(&files);
    assert!(said.contains("more than 16 MiB together"), "{said}");
}
