//! What an agent does all day.

use super::place::{Place, User, have, is_root, landlock, said, text};

/// The scripts by the tool that they need; each in the workspace of a repository with one commit.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "git",
        "git status && git add -A existing && git commit -qm one && git checkout -q -b side && echo 2 > existing && git stash && git stash pop && git commit -qam two && git log --oneline | grep two",
    ),
    (
        "git",
        "cd $TMPDIR && git init -q new && cd new && echo a > a && git add a && git -c user.name=n -c user.email=e commit -qm a && git status",
    ),
    (
        "python3",
        "python3 -c 'import json, tempfile, subprocess; tempfile.TemporaryFile(); print(subprocess.check_output([\"/bin/echo\", \"x\"]))'",
    ),
    (
        "python3",
        "python3 -c 'import multiprocessing as m; assert m.Pool(2).map(abs, [1, -2]) == [1, 2]'",
    ),
    ("sed", "sed -i s/one/three/ existing && grep three existing"),
    ("sh", "echo two > existing && grep two existing"),
    (
        "mv",
        "mkdir a b && echo f > a/f && mv a/f b/g && mv b c && test -f c/g && test ! -e a/f",
    ),
    (
        "ln",
        "ln -s existing link && test one = \"$(cat link)\" && ln existing hard",
    ),
    (
        "make",
        "printf 'all:\\n\\techo made > out\\n' > Makefile && make && grep made out",
    ),
    (
        "node",
        "node -e 'require(\"fs\").writeFileSync(\"n\", \"x\")' && test -f n",
    ),
    (
        "bash",
        "bash -c 'seq 100 | grep 5 | sort -r | head -3; sleep 0.1 & wait %1; cat <(echo x) | grep x'",
    ),
    (
        "sh",
        "i=0; while [ $i -lt 100 ]; do /bin/true & i=$((i+1)); done; wait; echo done",
    ),
    (
        "sh",
        "echo x > $TMPDIR/f && grep x $TMPDIR/f && rm $TMPDIR/f",
    ),
    (
        "sh",
        "echo x > new && ls | grep new && mkdir -p src/deep && rm -r src new",
    ),
    (
        "grep",
        "grep -q Name /proc/self/status && test -r /proc/meminfo",
    ),
    (
        "sh",
        "echo x > /dev/null && test -c /dev/urandom && head -c 4 /dev/urandom > r",
    ),
];

#[test]
fn ordinary_tools_work() {
    if !landlock() {
        return;
    }
    let users: &[User] = if is_root() {
        &[User::Own, User::Nobody]
    } else {
        &[User::Own]
    };
    for user in users {
        for (tool, script) in SCRIPTS {
            // `nobody` has no way to tools that live in somebody's home.
            if !have(tool) {
                continue;
            }
            let place = Place::new(*user);
            let mut command = place.polc(&["-q"], *user == User::Own);
            let done = command.args(["/bin/sh", "-ec", script]).output().unwrap();
            assert!(done.status.success(), "{user:?}: {script}\n{}", said(&done));
        }
    }
}

#[test]
fn pip_answers() {
    if !landlock() || !have("pip3") {
        return;
    }
    let place = Place::new(User::Own);
    let done = place.shell(&["-q"], "pip3 --help");
    assert!(
        done.status.success() && text(&done.stdout).contains("install"),
        "{}",
        said(&done)
    );
}

#[test]
fn cargo_builds_a_small_crate() {
    if !landlock() || !have("cargo") {
        return;
    }
    let place = Place::new(User::Own);
    std::fs::create_dir_all(place.path("ws/crate/src")).unwrap();
    let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    std::fs::write(place.path("ws/crate/Cargo.toml"), manifest).unwrap();
    let main = "fn main() { println!(\"built inside\"); }\n";
    std::fs::write(place.path("ws/crate/src/main.rs"), main).unwrap();
    let script = "cd crate && env -u CARGO_TARGET_DIR cargo build --offline && target/debug/small";
    let done = place.shell(&["-q"], script);
    assert!(
        text(&done.stdout).contains("built inside"),
        "{}",
        said(&done)
    );
}

#[test]
fn without_namespaces_what_is_there_can_be_changed() {
    if !landlock() {
        return;
    }
    let place = Place::new(User::Own);
    std::fs::create_dir(place.path("ws/src")).unwrap();
    let script = "echo two > existing && echo x > src/new && mkdir src/d && mv src/new src/d/newer && cat src/d/newer";
    let done = place.shell(&["--no-namespaces"], script);
    assert_eq!(text(&done.stdout), "x\n", "{}", said(&done));
    let beside = "echo x > beside && rm beside && echo made";
    let done = place.shell(&["-q", "--no-namespaces"], beside);
    assert_eq!(text(&done.stdout), "made\n", "{}", said(&done));
    // The price without the guard: nothing new beside a path that is denied.
    let options = ["-q", "--no-namespaces", "--guard", "off"];
    let done = place.shell(&options, "echo x > beside");
    assert!(
        !done.status.success() && !place.path("ws/beside").exists(),
        "{}",
        said(&done)
    );
    let done = place.shell(&["-q"], "echo x > beside");
    assert!(
        done.status.success() && place.path("ws/beside").exists(),
        "{}",
        said(&done)
    );
}

/// bash complains of a start-up file that it may not read. People export tokens there.
#[test]
fn bash_starts_without_a_word_and_reads_none_of_its_files() {
    if !landlock() || !have("bash") {
        return;
    }
    let users = match is_root() {
        true => &[User::Own, User::Nobody][..],
        false => &[User::Own],
    };
    for user in users {
        let place = Place::new(*user);
        let secret = "export TOKEN=secret\necho read\n";
        std::fs::write(place.path("home/.bashrc"), secret).unwrap();
        std::fs::write(place.path("home/rc"), secret).unwrap();
        std::os::unix::fs::symlink("rc", place.path("home/.bash_profile")).unwrap();
        place.own_all();
        for bash in ["bash -ic", "bash -lc"] {
            let script = format!(
                "{bash} 'echo [$TOKEN]; cat ~/.bashrc ~/rc; echo x >> ~/.bashrc' 2>&1 | grep -v 'job control\\|process group'"
            );
            let done = place
                .polc(&["-q", "--fail-if-made"], false)
                .args(["sh", "-c", &script])
                .output()
                .unwrap();
            let all = text(&done.stdout);
            assert!(
                all.starts_with("[]\n") && all.lines().count() == 2,
                "{bash}: {}",
                said(&done)
            );
            assert!(!all.contains("secret"), "{}", said(&done));
        }
        let kept = std::fs::read_to_string(place.path("home/.bashrc")).unwrap();
        assert_eq!(kept, secret);
    }
}
