//! What is shown to whoever is to trust a policy.

use super::*;

/// A policy that lets much happen, with reasons for each lint.
const SILENT: &str = r#"version: 1
name: silent
subject: {workspace: auto, tmp: auto}
allow_lints: [{code: L005, reason: x}, {code: L006, reason: x}, {code: L013, reason: x}]
rules:
  - name: a
    allow_lints: [{code: L005, reason: x}, {code: L006, reason: x}, {code: L013, reason: x}]
    action: allow
    operations: [read, write]
    paths: ["HOME/.ssh/**", "HOME/.bashrc"]
  - {name: b, action: allow, operations: [list], paths: [/srv/names/**]}
  - {name: c, action: allow, operations: [metadata], paths: [/srv/modes/**]}
  - {name: d, action: allow, syscalls: ["@mount", bpf]}
"#;

#[test]
fn what_a_policy_says_of_lints_silences_nothing_for_whoever_is_to_trust_it() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("home/.ssh")).unwrap();
    let home = place.path("home").display().to_string();
    // No `subject.home`: the user's own counts all the same.
    place.write("home/repo/polc.yaml", &SILENT.replace("HOME", &home));
    let check = place.polc("home/repo", &["check"]);
    assert!(!err(&check).contains("L005"), "{}", err(&check));
    let said = err(&place.polc("home/repo", &["trust", "--show"]));
    let list = place.polc("home/repo", &["trust", "--list"]);
    assert_eq!(out(&list), "", "nothing is trusted by looking");
    let trusted = err(&place.trust());
    for said in [&said, &trusted] {
        for words in [
            "warning[L005]",
            "warning[L006]",
            &format!("it can read {home}/.ssh/**"),
            "  list         /srv/names/**",
            "  metadata     /srv/modes/**",
            "  syscalls     bpf, @mount",
        ] {
            assert!(said.contains(words), "`{words}` in: {said}");
        }
    }
}

#[test]
fn a_small_change_is_told_in_few_lines() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    let extends = |base: &str| {
        format!("version: 1\nname: repo\nextends: builtin:{base}\nrules:\n  - include: more.yaml\n")
    };
    let more = "version: 1\nname: more\nrules: []\n";
    place.write("home/repo/more.yaml", more);
    place.write("home/repo/polc.yaml", &extends("coding-agent"));
    place.trust();
    place.write("home/repo/polc.yaml", &extends("claude-code"));
    let whole = err(&place.polc("home/repo", &["trust", "--show"]));
    let short = err(&place.trust());
    assert!(short.contains("`polc trust --show` shows all"), "{short}");
    assert!(short.lines().count() <= 30, "{short}");
    assert!(whole.lines().count() > short.lines().count(), "{whole}");
    let variables = short.lines().filter(|l| l.contains("environment.pass"));
    assert!(variables.count() <= 1, "{short}");
    // Which file it is, also where nobody can be asked.
    place.write("home/repo/more.yaml", &format!("{more}# a word\n"));
    for done in place.starts("home/repo", "true") {
        stopped(&done, "repo/more.yaml has other contents");
        assert!(err(&done).contains("`polc trust --show`"), "{}", err(&done));
    }
}
