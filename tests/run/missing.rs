//! `create_missing`: what a rule allows and what is not there is made, and nothing else is.

use super::git::users;
use super::place::{Place, User, have, is_root, landlock, said, text};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// `polc` by a policy of its own, in a home that has nothing in it.
fn polc(place: &Place, policy: &str, words: &[&str]) -> Output {
    let file = place.path("own-policy.yaml");
    std::fs::write(&file, policy).unwrap();
    let (command, rest) = words.split_first().unwrap();
    let mut c = Command::new(place.path("bin/polc"));
    c.arg(command)
        .arg("-p")
        .arg(file)
        .args(rest)
        .current_dir(place.path("ws"))
        .env("HOME", place.path("fresh"))
        .env("TMPDIR", place.path("tmp"))
        .env("PATH", "/usr/local/bin:/usr/bin:/bin");
    if place.user == User::Nobody {
        std::os::unix::process::CommandExt::uid(&mut c, 65534);
        std::os::unix::process::CommandExt::gid(&mut c, 65534);
    }
    c.output().unwrap()
}

fn fresh(user: User) -> Place {
    let place = Place::new(user);
    std::fs::create_dir(place.path("fresh")).unwrap();
    place.own_all();
    place
}

/// A policy of these rules, with all that a shell needs.
fn policy(rules: &str) -> String {
    format!(
        "version: 1\nname: own\nsubject: {{home: auto, workspace: auto, tmp: auto}}\nrules:\n{rules}\n  \
         - include: builtin:system-programs\n  - include: builtin:toolchains\n  - include: builtin:linux-runtime\n  \
         - {{name: repository, action: allow, operations: [read, write], paths: [\"${{workspace}}/**\"]}}\n"
    )
}

#[test]
fn a_package_is_installed_in_a_fresh_home() {
    if !landlock() || !have("npm") {
        return;
    }
    for user in users() {
        let place = fresh(*user);
        std::fs::create_dir(place.path("ws/dependency")).unwrap();
        for (file, json) in [
            ("ws/package.json", r#"{"name": "a", "version": "1.0.0"}"#),
            (
                "ws/dependency/package.json",
                r#"{"name": "dependency", "version": "1.0.0"}"#,
            ),
        ] {
            std::fs::write(place.path(file), json).unwrap();
        }
        place.own_all();
        let script = "npm install --offline --no-audit --no-fund ./dependency && npm cache ls && echo x > ~/.npm/_cacache/x";
        let done = polc(
            &place,
            &policy(""),
            &["run", "--explain-start", "--", "sh", "-ec", script],
        );
        assert!(done.status.success(), "{user:?}: {}", said(&done));
        assert!(place.path("ws/node_modules/dependency").exists());
        for directory in [
            "fresh/.npm",
            "fresh/.npm/_cacache",
            "fresh/.cache/pip",
            "fresh/.cargo/registry",
        ] {
            let found = std::fs::metadata(place.path(directory)).unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, 0o700, "{directory}");
            let owner = std::fs::metadata(place.path("fresh")).unwrap().uid();
            assert_eq!(found.uid(), owner, "{directory}");
        }
        // What belongs to tools that are not installed is not made, and the home directory itself stays closed.
        let here = std::fs::read_dir(place.path("fresh")).unwrap();
        let mut names: Vec<_> = here.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        let installed = |tools: &[&str]| {
            let directories = ["/usr/local/bin", "/usr/bin", "/bin"];
            let mut all = directories
                .iter()
                .flat_map(|d| tools.iter().map(move |t| Path::new(d).join(t)));
            all.any(|p| p.is_file())
        };
        let mut expected = vec![".cache", ".cargo", ".npm"];
        for (tools, name) in [
            (&["gradle"][..], ".gradle"),
            (&["mvn"], ".m2"),
            (&["yarn", "pnpm"], ".local"),
            (&["go"], "go"),
        ] {
            if installed(tools) {
                expected.push(name);
            }
        }
        expected.sort_unstable();
        assert_eq!(names, expected, "{user:?}");
    }
}

#[test]
fn only_what_the_rule_names_is_made() {
    if !landlock() {
        return;
    }
    let place = fresh(User::Own);
    let rules = r#"  - {name: closed, action: deny, operations: [write], paths: ["~/.denied/**", "~/.half/no", "~/.parent"]}
  - name: opened
    action: allow
    operations: [read, write]
    paths: ["~/.denied/x/**", "~/.half/{a,no,b}/**", "~/.parent/x/**", "~/.wild*/**", "~/.file.json", "~/.tree/**"]
    except: ["~/.half/b/**"]
    create_missing: true
  - {name: absent, action: allow, operations: [write], paths: ["~/.absent/**"], create_missing: [no-such-program-anywhere]}
  - {name: present, action: allow, operations: [write], paths: ["~/.present/**"], create_missing: [no-such-program, sh]}"#;
    let script =
        "echo made > ~/.half/a/x && echo '{}' > ~/.file.json && mkdir -p ~/.tree/deep && echo fine";
    let done = polc(
        &place,
        &policy(rules),
        &["run", "--explain-start", "--", "sh", "-ec", script],
    );
    assert!(done.status.success(), "{}", said(&done));
    for there in [".half/a/x", ".file.json", ".tree/deep", ".present"] {
        assert!(place.path("fresh").join(there).exists(), "{there}");
    }
    for not_there in [".denied", ".half/no", ".half/b", ".parent", ".absent"] {
        assert!(!place.path("fresh").join(not_there).exists(), "{not_there}");
    }
    // A directory on the way that a rule denies is told; what the rule itself may not have is not even wanted.
    let told = text(&done.stderr);
    assert!(
        told.contains("/.parent/x`, which rule `opened` allows, does not exist, and polc cannot make it: rule `closed` denies"),
        "{told}"
    );
    assert!(!told.contains(".denied"), "{told}");
}

#[test]
fn nothing_is_made_behind_a_link_or_in_a_directory_of_somebody_else() {
    if !landlock() {
        return;
    }
    let rules = r#"  - {name: own, action: allow, operations: [read, write], paths: ["~/.linked/x/**", "~/.theirs/x/**", "~/.fine/x/**"], create_missing: true}"#;
    let place = fresh(User::Own);
    symlink(place.path("outside"), place.path("fresh/.linked")).unwrap();
    std::fs::create_dir(place.path("fresh/.theirs")).unwrap();
    if is_root() {
        chown(place.path("fresh/.theirs"), Some(12345), Some(12345)).unwrap();
    }
    let done = polc(
        &place,
        &policy(rules),
        &["run", "--explain-start", "--", "sh", "-ec", "true"],
    );
    assert!(done.status.success(), "{}", said(&done));
    let told = text(&done.stderr);
    assert!(!place.path("outside/x").exists(), "{told}");
    assert!(told.contains("/.linked` is a symbolic link"), "{told}");
    assert!(place.path("fresh/.fine/x").is_dir());
    if is_root() {
        assert!(!place.path("fresh/.theirs/x").exists(), "{told}");
        assert!(told.contains("/.theirs` belongs to another user"), "{told}");
    }
    // A home that is not there is not made either.
    std::fs::remove_dir_all(place.path("fresh")).unwrap();
    let home = format!("home={}", place.path("fresh").display());
    let done = polc(
        &place,
        &policy(rules),
        &["run", "--set", &home, "--", "sh", "-ec", "true"],
    );
    assert!(!place.path("fresh").exists(), "{}", said(&done));
}

#[test]
fn explain_says_what_is_made_and_what_is_not_there() {
    let place = fresh(User::Own);
    let rules = r#"  - {name: made, action: allow, operations: [write], paths: ["~/.made/**"], create_missing: true}
  - {name: plain, action: allow, operations: [write], paths: ["~/.plain/**"]}"#;
    let ask = |object: &str| {
        let done = polc(&place, &policy(rules), &["explain", "create", object]);
        assert!(done.status.success(), "{}", said(&done));
        text(&done.stdout)
    };
    assert!(
        ask("~/.made/x")
            .contains(".made` does not exist: `run` makes it before the program starts")
    );
    let plain = ask("~/.plain/x");
    assert!(
        plain.contains(".plain` does not exist, and the program cannot make it"),
        "{plain}"
    );
    assert!(plain.contains("create_missing: true"), "{plain}");
    let inside = ask("${workspace}/new/x");
    assert!(!inside.contains("does not exist"), "{inside}");
    assert!(
        !place.path("fresh/.made").exists(),
        "a question makes nothing"
    );
}

/// What an agent's next run would obey is made before the first start, so that it can be closed.
#[test]
fn settings_of_an_agent_that_are_not_there_cannot_be_made_inside() {
    if !landlock() {
        return;
    }
    for (agent, folder, settings, directory) in [
        ("claude-code", ".claude", "settings.json", "agents"),
        ("gemini-cli", ".gemini", "settings.json", "extensions"),
        ("qwen-code", ".qwen", "settings.json", "commands"),
        ("copilot-cli", ".copilot", "mcp-config.json", "hooks"),
        ("codex", ".codex", "config.toml", "rules"),
    ] {
        let place = fresh(User::Own);
        let script = format!(
            "cd ~/{folder} || exit 1; echo hook > {settings}; rm -f {settings}; echo x > new && mv new {settings}; \
             mv {settings} away; echo x > {directory}/x; mv {directory} away; rmdir {directory}; \
             mkdir -p sessions && echo fine > sessions/x && cat sessions/x"
        );
        let done = Command::new(place.path("bin/polc"))
            .args(["run", "-q", "-p", &format!("builtin:{agent}"), "--set"])
            .arg(format!("workspace={}", place.path("ws").display()))
            .args(["--", "/bin/sh", "-c", &script])
            .current_dir(place.path("ws"))
            .env("HOME", place.path("fresh"))
            .env("TMPDIR", place.path("tmp"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .output()
            .unwrap();
        assert_eq!(text(&done.stdout), "fine\n", "{agent}: {}", said(&done));
        let now = std::fs::read_to_string(place.path("fresh").join(folder).join(settings)).unwrap();
        let made = if settings.ends_with(".json") {
            "{}\n"
        } else {
            ""
        };
        assert_eq!(now, made, "{agent}: {}", said(&done));
        let inside = place.path("fresh").join(folder).join(directory);
        assert_eq!(std::fs::read_dir(inside).unwrap().count(), 0, "{agent}");
    }
}
