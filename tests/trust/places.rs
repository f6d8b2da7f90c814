//! Which home, workspace and temporary directory a policy may have.

use super::*;

/// A policy that sets its places itself, and tries to silence what is said of it.
fn with_subject(subject: &str) -> String {
    let text = POLICY.replace("{home: auto, workspace: auto, tmp: auto}", subject);
    assert_ne!(text, POLICY);
    let silent = "allow_lints: [{code: L005, reason: x}, {code: L006, reason: x}, {code: L013, reason: x}]\n";
    let temporary = "  - name: temporary\n    action: allow\n    operations: [write]\n    paths: [\"${tmp}/**\"]\n";
    format!("{text}{temporary}{silent}")
}

#[test]
fn a_policy_that_is_found_sets_no_place_outside_of_its_own_directory() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.write("home/.bashrc", "mine\n");
    std::fs::create_dir_all(place.path("home/other")).unwrap();
    symlink("..", place.path("home/repo/up")).unwrap();
    let home = place.path("home").display().to_string();
    let above = place.path("").display().to_string();
    let above = above.trim_end_matches('/');
    let cases = [
        (
            format!("{{home: /nonexistent, workspace: {home}, tmp: auto}}"),
            "your home directory",
        ),
        (
            format!("{{home: auto, workspace: {home}, tmp: auto}}"),
            "`workspace` to `",
        ),
        (
            format!("{{home: auto, workspace: {above}, tmp: auto}}"),
            "which contains your home directory",
        ),
        (
            format!("{{home: auto, workspace: {home}/other, tmp: auto}}"),
            "not within the policy's own directory",
        ),
        (
            format!("{{home: auto, workspace: {home}/repo/up/other, tmp: auto}}"),
            "not within the policy's own directory",
        ),
        (
            "{home: auto, workspace: ~/other, tmp: auto}".to_owned(),
            "not within the policy's own directory",
        ),
        (
            "{home: auto, workspace: /, tmp: auto}".to_owned(),
            "the root directory",
        ),
        (
            format!("{{home: auto, workspace: auto, tmp: {home}}}"),
            "`tmp` to `",
        ),
        (
            "{home: auto, workspace: auto, tmp: /}".to_owned(),
            "`tmp` to `/`",
        ),
        (
            "{home: /nonexistent, workspace: auto, tmp: auto}".to_owned(),
            "`home` to `/nonexistent`",
        ),
    ];
    let script = "echo here; echo x >> ~/.bashrc";
    for (subject, why) in cases {
        place.write("home/repo/polc.yaml", &with_subject(&subject));
        let done = place.polc("home/repo", &["trust"]);
        stopped(&done, why);
        // What it would do is shown all the same.
        assert!(err(&done).contains("it sets"), "{subject}: {}", err(&done));
        for done in place.starts("home/repo", script) {
            stopped(&done, why);
            assert!(err(&done).contains("`-p polc.yaml`"), "{}", err(&done));
        }
        let kept = std::fs::read_dir(place.state().join("trust"));
        assert!(kept.is_err(), "{subject}: nothing is trusted");
        let bashrc = std::fs::read_to_string(place.path("home/.bashrc")).unwrap();
        assert_eq!(bashrc, "mine\n", "{subject}");
    }
    // Within its own directory it may, and so may the places of the user.
    for subject in [
        format!("{{home: {home}, workspace: {home}/repo, tmp: {home}/repo/sub}}"),
        format!("{{home: auto, workspace: {home}/repo/sub, tmp: /tmp}}"),
    ] {
        place.write("home/repo/polc.yaml", &with_subject(&subject));
        let done = place.trust();
        let said = err(&done);
        assert!(
            said.contains("  workspace    ") && said.contains("edit, create"),
            "{said}"
        );
        place
            .starts("home/repo", "echo here")
            .iter()
            .for_each(started);
    }
}

#[test]
fn a_place_that_somebody_names_is_taken_and_told() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    let home = place.path("home").display().to_string();
    let subject = format!("{{home: /nonexistent, workspace: {home}, tmp: auto}}");
    place.write("home/repo/polc.yaml", &with_subject(&subject));
    for how in [&["run"][..], &["enforce", "landlock"]] {
        let mut args = how.to_vec();
        args.extend(["-p", "polc.yaml", "--", "sh", "-c", "echo here"]);
        let done = place.polc("home/repo", &args);
        started(&done);
        for words in [
            "the workspace is your home directory",
            "`~` of the policy is `/nonexistent`, not your home directory",
        ] {
            assert!(err(&done).contains(words), "{how:?}: {}", err(&done));
        }
    }
    // With places of the caller's own it is as any other.
    let own = ["--set", "workspace=.", "--set", "home=~"];
    let trust = [&["trust"], &own[..]].concat();
    let done = place.polc("home/repo", &trust);
    assert_eq!(status(&done), 0, "{}", err(&done));
    let run = [&["run"], &own[..], &["--", "sh", "-c", "echo here"]].concat();
    let done = place.polc("home/repo", &run);
    started(&done);
    assert!(!err(&done).contains("your home"), "{}", err(&done));
    // That is consent for such a start alone.
    stopped(
        &place.polc("home/repo", &["run", "--", "true"]),
        "your home directory",
    );
}

/// A built-in policy takes none of these, nor a link to one.
#[test]
fn auto_is_never_more_than_a_project() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    place.write("home/secret", "secret\n");
    symlink("home", place.path("to-home")).unwrap();
    symlink("/", place.path("to-root")).unwrap();
    let folders = [
        "/", "/home", "/etc", "/var", "home", ".", "to-home", "to-root",
    ];
    let secret = place.path("home/secret").display().to_string();
    for policy in ["builtin:coding-agent", "builtin:read-only-explorer"] {
        for folder in folders.into_iter().filter(|f| place.path(f).is_dir()) {
            for how in [&["run"][..], &["enforce", "landlock"]] {
                let mut args = how.to_vec();
                args.extend(["-p", policy, "--", "cat", &secret]);
                let done = place.polc(folder, &args);
                stopped(&done, "the workspace would be `");
            }
        }
        for consent in [".", "repo", "./repo"] {
            let set = format!("workspace={consent}");
            let args = ["run", "-p", policy, "--set", &set, "--", "true"];
            let done = place.polc("home", &args);
            assert_eq!(status(&done), 0, "{policy} {consent}: {}", err(&done));
            let is_home = err(&done).contains("the workspace is your home directory");
            assert_eq!(is_home, consent == ".", "{}", err(&done));
        }
    }
    // The home by the list of users, where HOME is another.
    let listed = Command::new("sh")
        .args(["-c", "getent passwd \"$(id -u)\" | cut -d: -f6"])
        .output()
        .unwrap();
    let listed = out(&listed).trim().to_owned();
    if Path::new(&listed).is_dir() && listed != "/" {
        let args = ["run", "-p", "builtin:coding-agent", "--", "true"];
        stopped(&place.polc(&listed, &args), "your home directory");
    }
}

/// A policy of the user's own that only reads may be used in the home: what it reads is in its rules.
#[test]
fn a_named_policy_that_changes_nothing_starts_in_the_home() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    std::fs::create_dir(place.path("home/.git")).unwrap();
    let reads = POLICY.replace("[read, write]", "[read]");
    place.write("home/repo/polc.yaml", &reads);
    let args = ["run", "-p", "repo/polc.yaml", "--", "sh", "-c", "echo here"];
    let run = || place.polc("home", &args);
    let done = run();
    started(&done);
    let said = "the workspace is your home directory";
    assert!(err(&done).contains(said), "{}", err(&done));
    // One that names no workspace in its rules has no right by it.
    let none = reads.replace("[\"${workspace}/**\"]", "[/srv/x]");
    place.write("home/repo/polc.yaml", &none);
    started(&run());
    place.write("home/repo/polc.yaml", POLICY);
    stopped(&run(), "the workspace would be `");
}

#[test]
fn a_temporary_directory_is_judged_as_a_workspace_is() {
    if !landlock(1) {
        return;
    }
    let place = Place::new();
    std::fs::create_dir_all(place.path("home/group/project/.git")).unwrap();
    std::fs::create_dir_all(place.path("home/group/project/tmp")).unwrap();
    symlink("home", place.path("to-home")).unwrap();
    let run = |tmp: &Path, options: &[&str]| {
        let mut args = vec!["run", "-p", "builtin:coding-agent"];
        args.extend(options);
        args.extend(["--", "sh", "-c", "echo here"]);
        let mut c = place.command("home/group/project", &args);
        c.env("TMPDIR", tmp).output().unwrap()
    };
    for folder in [
        "/",
        "/etc",
        "/usr/lib",
        "home",
        ".",
        "to-home",
        "home/group",
    ] {
        let tmp = place.path(folder);
        let done = run(&tmp, &[]);
        stopped(&done, "the temporary directory would be `");
        for words in ["TMPDIR", "`--set tmp=PATH`"] {
            assert!(err(&done).contains(words), "{}", err(&done));
        }
    }
    let by_variable =
        "`, by the variable TMPDIR: what the policy allows in `${tmp}` it allows there";
    for tmp in ["/tmp", "/var/tmp", "home/group/project/tmp"] {
        let done = run(&place.path(tmp), &[]);
        started(&done);
        assert!(!err(&done).contains(by_variable), "{tmp}: {}", err(&done));
    }
    // Where nobody expects it, it is named.
    for tmp in ["bin", "home/repo"] {
        let path = place.path(tmp);
        let done = run(&path, &[]);
        started(&done);
        let said = format!(
            "the temporary directory is `{}{by_variable}",
            path.display()
        );
        assert!(err(&done).contains(&said), "{tmp}: {}", err(&done));
    }
    let done = run(Path::new("/"), &["--set", "tmp=/tmp"]);
    started(&done);
    // Naming it is consent, and is told.
    let done = run(Path::new("/tmp"), &["--set", "tmp=~"]);
    started(&done);
    let said = "the temporary directory is your home directory";
    assert!(err(&done).contains(said), "{}", err(&done));
    // A policy without rights there takes any.
    let args = [
        "run",
        "-p",
        "../../repo/polc.yaml",
        "--",
        "sh",
        "-c",
        "echo here",
    ];
    let mut c = place.command("home/group/project", &args);
    started(&c.env("TMPDIR", place.path("home")).output().unwrap());
}
