//! What a change of an AppArmor profile is by the parser's compiled automata: a second opinion on whether it changes
//! what may be done, that shares no code with polc's reader.

#[allow(dead_code)] // the native tools' tests ask more of it
#[path = "../native/apparmor/blob.rs"]
mod blob;

use blob::{Profile, Rights, State};
use polc::semantics::{ByteCursor, PathSet};
use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// What is compiled of a profile; `None`: there is no parser here, or it refuses the profile.
fn compiled(text: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new("/usr/sbin/apparmor_parser")
        .args(["-Q", "-K", "-S", "-M", "/etc/apparmor.d/abi/3.0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(text).ok()?;
    let done = child.wait_with_output().ok()?;
    done.status.success().then_some(done.stdout)
}

/// What a process may do by some bits, as far as one depends on another: a file that cannot be opened is neither locked
/// nor mapped (`apparmor_file_lock` and `apparmor_mmap_file` get an open file), but for a program, which the kernel maps
/// where it starts it.
fn may(rights: Rights) -> Rights {
    let opened = rights.read || rights.write || rights.append;
    Rights {
        lock: rights.lock && opened,
        mmap: rights.mmap && (rights.read || rights.exec),
        ..rights
    }
}

/// A path that two compiled profiles treat differently, and how; `None`: there is none.
///
/// Names as the kernel has them are asked, of files, and of directories with their `/`. A byte 0 is in none of them:
/// it parts the two names of a hard link, which are asked as soon as some name may be the new one. That counts, since a
/// class such as `[^/s]` has it for a member, so that a rule without which the same files can be opened may compile
/// into another automaton.
fn difference(one: &Profile, other: &Profile) -> Option<String> {
    let names = PathSet::all();
    let names = names.dfa();
    type Place = (ByteCursor, State, State);
    let start: Place = (names.cursor(), one.start(), other.start());
    let mut seen: HashSet<Place> = HashSet::from([start]);
    let mut stack = vec![(start, Vec::new())];
    while let Some(((cursor, a, b), path)) = stack.pop() {
        if names.ended(cursor).is_some() {
            let slash = (one.step(a, b'/'), other.step(b, b'/'));
            for (what, a, b) in [("", a, b), ("/", slash.0, slash.1)] {
                let halves = [
                    (one.rights(a), other.rights(b)),
                    (one.own_rights(a), other.own_rights(b)),
                ];
                for (x, y) in halves {
                    if may(x) != may(y) {
                        let path = path.escape_ascii();
                        return Some(format!("{path}{what}: {:?}, {:?}", may(x), may(y)));
                    }
                    if x.link || y.link {
                        return Some(format!("{}{what} may be a link", path.escape_ascii()));
                    }
                }
            }
        }
        for (low, high, next) in names.transitions(cursor) {
            let mut classes = BTreeSet::new();
            for byte in low..=high {
                if classes.insert((one.class(byte), other.class(byte))) {
                    let to = (next, one.step(a, byte), other.step(b, byte));
                    if seen.insert(to) {
                        stack.push((to, [path.as_slice(), &[byte]].concat()));
                    }
                }
            }
        }
    }
    None
}

/// Whether two profiles come to the same; `None`: that cannot be told here.
pub fn same(original: &[u8], mutant: &[u8]) -> Option<bool> {
    let (original, mutant) = (compiled(original)?, compiled(mutant)?);
    if original == mutant {
        return Some(true);
    }
    let [one, other] = [&original, &mutant].map(|blob| {
        let (rest, mut profiles) = blob::split(blob).unwrap();
        assert_eq!(profiles.len(), 1);
        (rest, profiles.remove(0))
    });
    // What is about no file has to be the same to the byte.
    Some(one.0 == other.0 && difference(&one.1, &other.1).is_none())
}

const HEAD: &str = "abi <abi/3.0>,\nprofile t {\n";

/// What two lists of rules differ in; `None`: there is no parser here.
fn between(one: &str, other: &str) -> Option<Option<String>> {
    let read = |rules: &str| {
        let blob = compiled(format!("{HEAD}{rules}\n}}\n").as_bytes())?;
        Some(blob::split(&blob).unwrap().1.remove(0))
    };
    Some(difference(&read(one)?, &read(other)?))
}

#[test]
fn differences_of_compiled_profiles_are_found() {
    let all = "/a/** rmk, /a/b w, deny /a/s r,";
    if between(all, all).is_none() {
        assert!(std::env::var_os("CI").is_none(), "no apparmor_parser");
        return crate::report("skipped: no apparmor_parser");
    }
    for (other, path) in [
        (all, None),
        // The class has the byte 0 for a member, and what it matches otherwise is covered.
        ("/a/** rmk, /a/[^/x]* rmk, /a/b w, deny /a/s r,", None),
        // What cannot be opened is neither locked nor mapped.
        ("/a/** rmk, /a/b w, deny /a/s rk,", None),
        ("/a/** rmk, /a/b w, deny /a/s rm,", None),
        ("/a/** rmk, /a/b w, deny /a/s r, deny /a/t k,", Some("/a/t")),
        ("/a/** rmk, /a/b w, deny /a/s r, deny /a/t m,", Some("/a/t")),
        ("/a/** rmk, /a/b/ w, deny /a/s r,", Some("/a/b")),
        ("/a/** rmk, /a/b w, deny /a/s/ r,", Some("/a/s")),
        ("/a/** rmk, owner /a/b w, deny /a/s r,", Some("/a/b")),
        ("/a/** rmk, /a/b w, deny /a/s r, /a/b l,", Some("/a/b")),
    ] {
        let found = between(all, other).unwrap();
        let at = found.as_deref().and_then(|f| f.split([':', ' ']).next());
        let at = at.map(|f| f.trim_end_matches('/'));
        assert_eq!(at, path, "{other}: {found:?}");
    }
    // What is about no file.
    let text = |rules: &str| format!("{HEAD}{rules}\n}}\n");
    for other in ["/a r, capability kill,", "/a r, network inet,"] {
        let same = same(text("/a r,").as_bytes(), text(other).as_bytes());
        assert_eq!(same, Some(false), "{other}");
    }
}
