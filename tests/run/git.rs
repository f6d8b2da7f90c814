//! Repositories that are made inside, and those that were there before.

use super::place::{Place, User, have, is_root, landlock, said, text};
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
