//! Real programs behave the same with and without the guard.

use crate::place::{Place, Who, is_root, output, policy, possible};
use crate::tool;
use std::path::Path;

/// Tool and script. Each runs in an empty workspace. Its output and status must be the same as without polc.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "git",
        "git init -q -b main . && git config user.name n && git config user.email e && echo 1 > f && git add f && git commit -qm one \
         && git switch -qc side && echo 2 > g && git add g && git commit -qm two && git switch -q main && echo 3 > h && git add h \
         && git commit -qm three && git switch -q side && git rebase -q main && git log --format=%s && git gc -q && git status --short \
         && git stash list && echo x >> f && git stash -q && git stash pop -q && git diff --stat && git worktree add -q ../tmp/tree main \
         && git worktree remove ../tmp/tree && git mv f ff && git commit -qam moved && git rm -q g && git commit -qm gone && git fsck --no-dangling",
    ),
    (
        "git",
        "git init -q --bare o.git && git clone -q o.git c 2>&1 && cd c && git -c user.name=n -c user.email=e commit -q --allow-empty -m x && git push -q origin HEAD && git log --format=%s",
    ),
    (
        "python3",
        "python3 -m venv --without-pip v && v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'",
    ),
    (
        "python3",
        "python3 -c 'import tempfile, os\nd = tempfile.mkdtemp(); f = tempfile.NamedTemporaryFile(dir=d); f.write(b\"x\"); f.flush(); \
         print(os.listdir(d) != [], tempfile.TemporaryFile().write(b\"x\")); f.close(); os.rmdir(d); \
         s = tempfile.SpooledTemporaryFile(max_size=1); s.write(b\"xx\"); print(s.tell())'",
    ),
    (
        "python3",
        "python3 -c 'import multiprocessing as m\nif __name__ == \"__main__\":\n  print(m.Pool(2).map(abs, [1, -2])); \
         q = m.Queue(); q.put(1); print(q.get()); a = m.Manager().list([3]); a.append(4); print(list(a)); \
         from multiprocessing import shared_memory as s; x = s.SharedMemory(create=True, size=10); x.buf[0] = 7; print(x.buf[0]); x.close(); x.unlink()'",
    ),
    (
        "python3",
        "python3 -c 'import sqlite3\nfor mode in [\"delete\", \"wal\", \"truncate\"]:\n  c = sqlite3.connect(mode + \".db\"); \
         print(c.execute(\"pragma journal_mode=\" + mode).fetchone()); c.execute(\"create table t(a)\"); \
         c.executemany(\"insert into t values(?)\", [(i,) for i in range(100)]); c.commit(); \
         print(c.execute(\"select sum(a) from t\").fetchone()); c.execute(\"vacuum\"); c.close()' && ls",
    ),
    (
        "python3",
        "python3 -c 'import os, pathlib, shutil\np = pathlib.Path(\"p\"); (p / \"q\").mkdir(parents=True); (p / \"q\" / \"f\").write_text(\"x\"); \
         shutil.copytree(p, \"r\"); shutil.move(\"r\", \"s\"); os.replace(\"s/q/f\", \"s/f\"); os.utime(\"s/f\", (1, 2)); os.chmod(\"s/f\", 0o640); \
         shutil.copy2(\"s/f\", \"t\"); os.symlink(\"t\", \"u\"); os.link(\"t\", \"v\"); print(oct(os.stat(\"t\").st_mode), os.stat(\"t\").st_mtime, os.stat(\"t\").st_nlink); \
         shutil.rmtree(\"p\"); shutil.make_archive(\"a\", \"gztar\", \"s\"); print(sorted(os.listdir(\".\")))'",
    ),
    (
        "node",
        "node -e 'const fs = require(\"fs\"), p = fs.promises; (async () => { await p.mkdir(\"a/b\", {recursive: true}); \
         await p.writeFile(\"a/b/f\", \"x\"); await p.rename(\"a/b/f\", \"a/g\"); await p.copyFile(\"a/g\", \"h\"); await p.chmod(\"h\", 0o600); \
         await p.utimes(\"h\", 1, 2); await p.truncate(\"h\", 0); await p.symlink(\"h\", \"s\"); await p.link(\"h\", \"l\"); \
         await p.cp(\"a\", \"c\", {recursive: true}); await p.rm(\"a\", {recursive: true}); console.log((await p.readdir(\".\")).sort(), fs.mkdtempSync(\"t-\").length); \
         await p.appendFile(\"h\", \"more\"); console.log(fs.readFileSync(\"l\", \"utf8\")) })()'",
    ),
    (
        "npm",
        "export npm_config_update_notifier=false; npm init -y >/dev/null && mkdir dep && echo '{\"name\":\"dep\",\"version\":\"1.0.0\"}' > dep/package.json && npm install --offline --no-audit --no-fund --loglevel=error ./dep >/dev/null && ls node_modules && npm ls --offline",
    ),
    (
        "tar",
        "mkdir -p d/e && echo x > d/e/f && ln -s f d/e/s && ln d/e/f d/h && chmod 600 d/e/f && tar cf t.tar d && mkdir o && tar xpf t.tar -C o && ls -lnR --time-style=+ o | grep -v total",
    ),
    (
        "cp",
        "mkdir -p d/e && echo x > d/f && ln -s f d/s && ln d/f d/h && mkfifo d/p && touch -d @1000 d/f && cp -a d c && stat -c '%n %F %a %h %Y' c/f && stat -c '%n %F %a' c/s c/p && cp -r --preserve=all d/f g && mv c n && rm -r d n && ls",
    ),
    (
        "rsync",
        "mkdir d && echo x > d/f && ln -s f d/s && rsync -a d/ e && rsync -a --delete d/ e && ls e",
    ),
    (
        "make",
        "printf 'all: a b\\n\\tcat a b > c\\n%%:\\n\\techo $@ > $@\\n' > Makefile && make -s -j4 && cat c && make -s -q; echo $?",
    ),
    (
        "gcc",
        "echo 'int main(void) { return 7; }' > m.c && gcc -o m m.c; ./m; echo $?",
    ),
    (
        "sed",
        "echo one > f && sed -i s/one/two/ f && cat f && sed -i.bak s/two/three/ f && ls && perl -pi -e s/three/four/ f && cat f",
    ),
    (
        "vim",
        "echo one > f && vim -u NONE -es -c '%s/one/two/' -c 'wq' f; cat f; ls -A",
    ),
    (
        "strace",
        "strace -f -o log -e trace=openat,mkdir sh -c 'mkdir d; echo x > d/f' && grep -c mkdir log && cat d/f",
    ),
    (
        "gdb",
        "gdb -q -batch -ex 'catch syscall mkdir' -ex run -ex continue -ex continue --args /bin/mkdir gdb-made >/dev/null 2>&1; ls",
    ),
    (
        "ssh-agent",
        "eval $(ssh-agent -a $PWD/agent) >/dev/null && ssh-keygen -q -t ed25519 -N '' -f key && ssh-add -q key && ssh-add -l | wc -l; \
         kill $SSH_AGENT_PID; while test -e agent; do sleep 0.1; done; ls",
    ),
    (
        "bash",
        "bash -c 'seq 100 | grep 5 | sort -r | head -3; sleep 0.1 & wait %1; cat <(echo x) | grep x; exec 3>f; echo y >&3; exec 3>&-; cat f; mapfile -t m < f; echo ${m[0]}; set -o noclobber; echo z > f; echo $?'",
    ),
    (
        "bash",
        "bash -c 'coproc cat; echo x >&${COPROC[1]}; read -u ${COPROC[0]} y; echo $y; cat <<< here; trap \"echo caught\" USR1; kill -USR1 $$; echo $(< /dev/stdin) < <(echo in)'",
    ),
    (
        "bash",
        "bash -c 'echo out > /dev/stdout; echo fd > /dev/fd/1; echo proc >> /proc/self/fd/1; exec 5>f; echo five > /dev/fd/5; echo more >&5; cat f; echo err 2>/dev/null > /dev/stderr; exec 6<>f; echo z > /proc/$$/fd/6; cat f'",
    ),
    ("flock", "flock lock -c 'flock -n lock -c true; echo $?'"),
    (
        "mktemp",
        "f=$(mktemp) && echo x > $f && cat $f && rm $f && d=$(mktemp -d) && rmdir $d && mktemp -u x.XXX | wc -c",
    ),
    (
        "install",
        "install -d a/b && echo x > f && install -m 700 f a/b/g && stat -c %a a/b/g && truncate -s 100 f && stat -c %s f && split -n 2 f && ls && dd if=f of=g bs=10 count=2 conv=notrunc 2>/dev/null; stat -c %s g",
    ),
    (
        "find",
        "mkdir -p a/b/c && touch a/1 a/b/2 && find . -name '[0-9]' -delete && find . -type d | sort && find . -depth -type d -empty -delete; ls -A",
    ),
    (
        "sh",
        "umask 077; echo x > f; mkdir d; stat -c %a f d; umask 002; echo y > g; stat -c %a g; echo z >> g; cat g; : > g; cat g; cd d && rmdir ../d; echo q > r; echo $?",
    ),
];

#[test]
fn programs_work_as_without_a_guard() {
    if !possible() {
        return;
    }
    let users: &[Who] = if is_root() {
        &[Who::Own, Who::Ordinary]
    } else {
        &[Who::Own]
    };
    let mut faults = Vec::new();
    for who in users {
        let place = Place::new(*who);
        let only = std::env::var("POLC_GUARD_PROGRAM").ok();
        for (needed, script) in SCRIPTS
            .iter()
            .filter(|s| only.as_ref().is_none_or(|o| o == s.0))
        {
            if !have(needed) {
                continue;
            }
            let mut said = Vec::new();
            for guarded in [false, true] {
                place.renew();
                let words = ["/bin/sh", "-c", script];
                let mut command = if guarded {
                    place.guarded(&rules(), &words)
                } else {
                    place.bare(&words)
                };
                command
                    .env("PATH", "/usr/local/bin:/usr/bin:/bin")
                    .env("LC_ALL", "C")
                    .env("GIT_CONFIG_NOSYSTEM", "1");
                said.push(output(&mut command, 60));
            }
            let [bare, inside] = &said[..] else {
                unreachable!()
            };
            if (bare.status, &bare.stdout) != (inside.status, &inside.stdout) {
                faults.push(format!(
                    "{who:?}: {script}\nbare {}\ninside {}\n",
                    bare.words(),
                    inside.words()
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whether a program is in the PATH of the scripts.
fn have(name: &str) -> bool {
    let there = ["/usr/local/bin", "/usr/bin", "/bin"]
        .iter()
        .any(|d| Path::new(d).join(name).is_file());
    if !there {
        eprintln!("skipped: there is no `{name}`");
    }
    there
}

/// The program may use the workspace, the home directory and the temporary one. It may not use their neighbours.
fn rules() -> String {
    policy(
        "  - {name: debugger, action: allow, syscalls: [ptrace, process_vm_readv, process_vm_writev, personality]}\n  \
         - {name: own, action: allow, operations: [read, write, execute, connect], paths: ['PLACE/{home,tmp}/**', '/dev/shm/**']}\n",
    )
}

#[test]
fn cargo_checks_a_small_crate() {
    if !possible() {
        return;
    }
    let Some(cargo) = option_env!("CARGO").map(Path::new) else {
        return tool::skip("cargo's own path is not known");
    };
    let bin = cargo.parent().unwrap();
    let place = Place::new(Who::Own);
    std::fs::create_dir_all(place.path("ws/src")).unwrap();
    std::fs::write(
        place.path("ws/Cargo.toml"),
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
    )
    .unwrap();
    std::fs::write(
        place.path("ws/src/main.rs"),
        "fn main() { println!(\"built inside\"); }\n",
    )
    .unwrap();
    std::fs::write(
        place.path("ws/build.rs"),
        "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }\n",
    )
    .unwrap();
    let toolchain = bin.parent().unwrap().display();
    let text = policy(&format!(
        "  - {{name: toolchain, action: allow, operations: [read, execute], paths: ['{toolchain}/**']}}\n  \
         - {{name: own, action: allow, operations: [read, write], paths: ['PLACE/{{home,tmp}}/**']}}\n"
    ));
    let script = "cargo check --offline -q && cargo run --offline -q && cargo run --offline -q";
    let mut command = place.guarded(&text, &["/bin/sh", "-c", script]);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    for name in [
        "CARGO_TARGET_DIR",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        "CARGO_HOME",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
    let said = output(&mut command, 120);
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "built inside\nbuilt inside\n",
        "{}",
        said.words()
    );
}

/// Job control of a shell at a terminal: a job is stopped while it waits for a fifo, continued, and interrupted.
#[test]
fn a_shell_at_a_terminal_controls_its_jobs() {
    if !possible() || !have("python3") {
        return;
    }
    let place = Place::new(Who::Own);
    std::fs::write(place.path("ws/type.py"), include_str!("type.py")).unwrap();
    for guarded in [false, true] {
        let words = ["bash", "--norc", "--noprofile", "-i"];
        let command = if guarded {
            place.guarded(&rules(), &words)
        } else {
            place.bare(&words)
        };
        let mut typing = std::process::Command::new("python3");
        typing
            .arg(place.path("ws/type.py"))
            .arg(command.get_program())
            .args(command.get_args());
        typing
            .current_dir(place.path("ws"))
            .env("HOME", place.path("home"))
            .env("TMPDIR", place.path("tmp"));
        typing.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        let said = output(&mut typing, 60);
        assert!(said.ok(), "guarded {guarded}: {}", said.words());
        drop(std::fs::remove_file(place.path("ws/p")));
    }
}
