//! Repositories that are made inside, and those that were there before.

use super::place::{Place, User, have, is_root, landlock, said, text};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const IDENTITY: [&str; 4] = ["-c", "user.name=n", "-c", "user.email=e@localhost"];

/// `polc run` where the workspace is found as for whoever types it: the enclosing repository, or the directory.
fn inside(place: &Place, folder: &Path, words: &[&str]) -> Output {
    let mut c = Command::new(place.path("bin/polc"));
    c.args(["run", "-q", "-p", "builtin:coding-agent", "--"])
        .args(words)
        .current_dir(folder)
        .env("HOME", place.path("home"))
        .env("TMPDIR", place.path("tmp"))
        .env("PATH", "/usr/local/bin:/usr/bin:/bin");
    if place.user == User::Nobody {
        std::os::unix::process::CommandExt::uid(&mut c, 65534);
        std::os::unix::process::CommandExt::gid(&mut c, 65534);
    }
    c.output().unwrap()
}

pub fn users() -> &'static [User] {
    if is_root() {
        &[User::Own, User::Nobody]
    } else {
        &[User::Own]
    }
}

fn folder(place: &Place, name: &str) -> PathBuf {
    let path = place.path(name);
    std::fs::create_dir(&path).unwrap();
    place.own_all();
    path
}

#[test]
fn a_repository_is_made_and_used_by_separate_runs() {
    if !landlock() || !have("git") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        let x = folder(&place, "x");
        let step = |arguments: &[&str]| {
            let words: Vec<&str> = ["git"]
                .into_iter()
                .chain(IDENTITY)
                .chain(arguments.iter().copied())
                .collect();
            let done = inside(&place, &x, &words);
            assert!(
                done.status.success(),
                "{user:?} {arguments:?}: {}",
                said(&done)
            );
            text(&done.stdout)
        };
        let write = |line: &str| {
            let done = inside(&place, &x, &["sh", "-c", &format!("echo {line} > file")]);
            assert!(done.status.success(), "{}", said(&done));
        };
        step(&["init", "-q"]);
        assert!(step(&["status"]).contains("No commits yet"));
        write("one");
        step(&["add", "file"]);
        step(&["commit", "-qm", "first"]);
        step(&["checkout", "-q", "-b", "side"]);
        write("two");
        step(&["stash"]);
        assert_eq!(
            std::fs::read_to_string(x.join("file")).unwrap(),
            "one\n",
            "{user:?}"
        );
        step(&["stash", "pop"]);
        assert_eq!(
            std::fs::read_to_string(x.join("file")).unwrap(),
            "two\n",
            "{user:?}"
        );
        assert!(step(&["log", "--oneline"]).contains("first"));
    }
}

#[test]
fn a_repository_is_made_and_used_in_one_run() {
    if !landlock() || !have("git") {
        return;
    }
    let script = "git init -q && echo one > file && git add file && git $ID commit -qm first \
                  && git checkout -q -b side && echo two > file && git $ID stash -q && grep one file \
                  && git $ID stash pop -q && grep two file && git status -s \
                  && git clone -q . copy && cd copy && git log --oneline";
    let script = script.replace("$ID", &IDENTITY.join(" "));
    for user in users() {
        let place = Place::new(*user);
        // In an empty directory, and below a repository that was there.
        std::fs::create_dir(place.path("ws/below")).unwrap();
        for x in [folder(&place, "x"), place.path("ws/below")] {
            let done = inside(&place, &x, &["sh", "-ec", &script]);
            assert!(
                done.status.success() && text(&done.stdout).contains("first"),
                "{user:?} {}: {}",
                x.display(),
                said(&done)
            );
        }
    }
}

/// What is there stays: `git init` once more writes the configuration anew, and is refused; git goes on.
#[test]
fn a_repository_that_was_there_keeps_its_configuration_and_hooks() {
    if !landlock() || !have("git") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        let below = place.path("ws/below");
        std::fs::create_dir(&below).unwrap();
        place.own_all();
        let done = inside(&place, &below, &["git", "init", "-q"]);
        assert!(done.status.success(), "{}", said(&done));
        for repository in [place.path("ws"), below] {
            let config = repository.join(".git/config");
            let before = std::fs::read(&config).unwrap();
            for script in [
                "git init -q",
                "git config core.fsmonitor /tmp/evil",
                "echo x >> .git/config",
                "rm -f .git/config",
                "mv .git/config .git/was",
                "echo x > .git/hooks/pre-commit",
                "echo x > h; mv h .git/hooks/pre-commit",
                "mv .git/hooks .git/was",
                "mv .git was",
            ] {
                let done = inside(&place, &repository, &["sh", "-c", script]);
                assert!(!done.status.success(), "{user:?} {script}: {}", said(&done));
                assert_eq!(std::fs::read(&config).unwrap(), before, "{user:?} {script}");
                assert!(
                    !repository.join(".git/hooks/pre-commit").exists(),
                    "{user:?} {script}"
                );
            }
            // git says what it could not write, and leaves neither a lock nor half of anything behind.
            let done = inside(&place, &repository, &["git", "init"]);
            assert_eq!(done.status.code(), Some(128), "{}", said(&done));
            assert!(said(&done).contains(".git/config"), "{}", said(&done));
            assert!(!repository.join(".git/config.lock").exists(), "{user:?}");
            for words in [
                &["git", "status"][..],
                &["git", "fsck", "--strict"],
                &[
                    "sh",
                    "-c",
                    "git $ID commit -q --allow-empty -m after && git log -1",
                ],
            ] {
                let words: Vec<String> = words
                    .iter()
                    .map(|w| w.replace("$ID", &IDENTITY.join(" ")))
                    .collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let done = inside(&place, &repository, &words);
                assert!(done.status.success(), "{user:?} {words:?}: {}", said(&done));
            }
        }
    }
}

/// A home with a repository `main` whose linked worktree is `wt`, and whose submodule is `main/sub`, made by git itself.
fn checkouts(user: User) -> Place {
    let place = Place::new(user);
    let script = "set -e; mkdir lib main; cd lib; git init -q .; echo l > l; git add l; git $ID commit -qm l; cd ../main; \
                  git init -q -b main .; echo a > a; git add a; git $ID commit -qm a; git worktree add -q ../wt -b feature; git worktree add -q ../other -b other; \
                  git -c protocol.file.allow=always submodule --quiet add \"$PWD/../lib\" sub; git $ID commit -qm sub; \
                  mkdir -p .git/hooks .git/modules/sub/hooks";
    std::fs::create_dir(place.path("c")).unwrap();
    let done = Command::new("sh")
        .args(["-c", &script.replace("$ID", &IDENTITY.join(" "))])
        .current_dir(place.path("c"))
        .env("HOME", place.path("home"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", said(&done));
    place.own_all();
    place
}

#[test]
fn a_linked_worktree_and_a_submodule_are_worked_in() {
    if !landlock() || !have("git") {
        return;
    }
    for user in users() {
        for checkout in ["c/wt", "c/main/sub"] {
            let place = checkouts(*user);
            let folder = place.path(checkout);
            let script = "git status --short && echo b > b && git add b && git $ID commit -qm two && git switch -q -c side \
                          && git stash list && git log --oneline | grep two";
            let script = script.replace("$ID", &IDENTITY.join(" "));
            let done = inside(&place, &folder, &["sh", "-ec", &script]);
            assert!(
                done.status.success() && text(&done.stdout).contains("two"),
                "{user:?} {checkout}: {}",
                said(&done)
            );
        }
    }
}

/// Hooks and configuration of the repository that the checkout belongs to stay as they are, and other checkouts too.
#[test]
fn the_repository_of_a_worktree_keeps_its_configuration_and_hooks() {
    if !landlock() || !have("git") {
        return;
    }
    for user in users() {
        let place = checkouts(*user);
        let git = place.path("c/main/.git");
        let kept = [
            "config",
            "modules/sub/config",
            "worktrees/wt/commondir",
            "worktrees/wt/gitdir",
            "worktrees/other/commondir",
            "worktrees/other/HEAD",
            "HEAD",
        ];
        let contents = || kept.map(|f| std::fs::read(git.join(f)).unwrap());
        let before = contents();
        for (checkout, attacks) in [
            (
                "c/wt",
                &[
                    "echo x > $C/hooks/post-commit",
                    "mv $C/hooks $C/was",
                    "echo '[evil]' >> $C/config",
                    "echo > c; mv c $C/config",
                    "git config core.fsmonitor /tmp/evil",
                    "echo /tmp/evil > $D/commondir",
                    "echo /tmp/evil > $D/gitdir",
                    "echo /tmp/evil > $C/worktrees/other/commondir",
                    "echo evil > $C/worktrees/other/HEAD",
                    "mv $C/worktrees/other $C/was",
                    "echo evil > $C/HEAD",
                    "echo gitdir: /tmp/evil > .git",
                ][..],
            ),
            (
                "c/main/sub",
                &[
                    "echo x > $C/hooks/post-commit",
                    "echo '[evil]' >> $C/config",
                    "git config core.fsmonitor /tmp/evil",
                    "echo x > ../.git/hooks/post-commit",
                    "echo '[evil]' >> ../.git/config",
                    "echo x > ../a",
                ],
            ),
        ] {
            let mut script = "C=$(git rev-parse --path-format=absolute --git-common-dir); D=$(git rev-parse --absolute-git-dir)\n".to_owned();
            for (i, attack) in attacks.iter().enumerate() {
                // Each in a shell of its own, so that one that fails stops no other.
                let _ = writeln!(script, "({attack}) && echo let through: {i}");
            }
            script.push_str("echo done\n");
            let done = inside(&place, &place.path(checkout), &["sh", "-c", &script]);
            let told = text(&done.stdout);
            assert_eq!(told, "done\n", "{user:?} {checkout}: {}", said(&done));
            assert_eq!(contents(), before, "{user:?} {checkout}: {}", said(&done));
            for hook in ["hooks/post-commit", "modules/sub/hooks/post-commit"] {
                assert!(!git.join(hook).exists(), "{user:?} {checkout}");
            }
        }
    }
}

/// Where configurations name hooks and files, those are closed, wherever they lie.
#[test]
fn hooks_and_files_that_a_configuration_names_are_closed() {
    if !landlock() || !have("git") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        let ws = place.path("ws");
        for d in ["ws/ci/hooks", "ws/scripts", "ws/tools"] {
            std::fs::create_dir_all(place.path(d)).unwrap();
        }
        std::fs::write(ws.join("ci/hooks/pre-push"), "#!/bin/sh\n").unwrap();
        std::fs::write(ws.join("scripts/check"), "#!/bin/sh\n").unwrap();
        std::fs::write(ws.join("tools/gitconfig"), "[alias]\n").unwrap();
        let mut config = std::fs::read_to_string(ws.join(".git/config")).unwrap();
        config.push_str("[core]\n\thooksPath = ci/hooks\n[include]\n\tpath = ../tools/gitconfig\n");
        std::fs::write(ws.join(".git/config"), config).unwrap();
        place.own_all();
        let refused = |attacks: &[&str]| {
            let lines: Vec<String> = attacks
                .iter()
                .map(|a| format!("({a}) && echo let through: {a:?}"))
                .collect();
            let script = lines.join("\n") + "\necho done";
            let done = inside(&place, &ws, &["sh", "-c", &script]);
            assert_eq!(text(&done.stdout), "done\n", "{user:?}: {}", said(&done));
        };
        refused(&[
            "echo evil >> ci/hooks/pre-push",
            "echo evil > ci/hooks/pre-commit",
            "mv ci/hooks ci/was",
            "echo evil >> tools/gitconfig",
            "echo evil > t; mv t tools/gitconfig",
        ]);
        let fine = "echo fine >> scripts/other && git status --short";
        let done = inside(&place, &ws, &["sh", "-c", fine]);
        assert!(done.status.success(), "{user:?}: {}", said(&done));
        // A hook that is a link is the file that it leads to.
        std::os::unix::fs::symlink("../../scripts/check", ws.join(".git/hooks/pre-commit"))
            .unwrap();
        refused(&[
            "echo evil >> scripts/check",
            "echo evil > t; mv t scripts/check",
        ]);
    }
}

#[test]
fn a_git_directory_that_no_rule_opens_is_told() {
    if !landlock() || !have("git") {
        return;
    }
    let place = checkouts(User::Own);
    let run = |policy: &str, folder: PathBuf| {
        let file = place.path("own-policy.yaml");
        std::fs::write(&file, policy).unwrap();
        let done = Command::new(place.path("bin/polc"))
            .args(["run", "--explain-start", "-p"])
            .arg(file)
            .args(["--", "sh", "-c", "git status --short"])
            .current_dir(folder)
            .env("HOME", place.path("home"))
            .env("TMPDIR", place.path("tmp"))
            .output()
            .unwrap();
        (done.status.success(), text(&done.stderr))
    };
    let policy = |more: &str| {
        format!(
            "version: 1\nname: own\nsubject: {{home: auto, workspace: auto, tmp: auto}}\nrules:\n  - include: builtin:git-hooks\n{more}  \
             - {{name: repository, action: allow, operations: [read, write], paths: [\"${{workspace}}/**\"]}}\n  \
             - include: builtin:system-programs\n  - include: builtin:toolchains\n  - include: builtin:linux-runtime\n"
        )
    };
    let (worked, told) = run(&policy(""), place.path("c/wt"));
    assert!(
        !worked && told.contains("c/main/.git/worktrees/wt`, outside it"),
        "{told}"
    );
    assert!(
        told.contains("- include: builtin:git-directories"),
        "{told}"
    );
    let (worked, told) = run(
        &policy("  - include: builtin:git-directories\n"),
        place.path("c/wt"),
    );
    assert!(worked && !told.contains("outside it"), "{told}");
    // A `.git` that leads to somebody else's repository opens nothing.
    std::fs::create_dir(place.path("stranger")).unwrap();
    std::fs::write(
        place.path("stranger/.git"),
        format!("gitdir: {}\n", place.path("c/main/.git").display()),
    )
    .unwrap();
    let (worked, told) = run(
        &policy("  - include: builtin:git-directories\n"),
        place.path("stranger"),
    );
    assert!(
        !worked && told.contains("does not lead to a git directory of this workspace"),
        "{told}"
    );
}

/// Where there are no hooks yet, the program makes none.
#[test]
fn hooks_that_are_not_there_cannot_be_made() {
    if !landlock() || !have("git") {
        return;
    }
    for user in users() {
        let place = Place::new(*user);
        std::fs::remove_dir_all(place.path("ws/.git/hooks")).unwrap();
        std::fs::create_dir(place.path("ws/tools")).unwrap();
        let config = place.path("ws/.git/config");
        let old = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, old + "[core]\n\thooksPath = tools/hooks\n").unwrap();
        place.own_all();
        let script = "mkdir -p .git/hooks tools/hooks; echo x > .git/hooks/pre-commit; echo x > tools/hooks/pre-commit
            echo '[core]' > .git/config.worktree; git status --short >/dev/null && echo works";
        let done = inside(&place, &place.path("ws"), &["sh", "-c", script]);
        assert_eq!(
            self::text(&done.stdout),
            "works\n",
            "{user:?}: {}",
            said(&done)
        );
        for made in [".git/hooks/pre-commit", "tools/hooks/pre-commit"] {
            assert!(!place.path("ws").join(made).exists(), "{user:?}: {made}");
        }
        let worktree = std::fs::read(place.path("ws/.git/config.worktree")).unwrap();
        assert!(worktree.is_empty());
    }
}
