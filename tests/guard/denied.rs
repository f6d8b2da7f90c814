//! Every call at names that the policy denies: it is refused, with one kind of error, and nothing changes on disk.

use crate::place::{Place, Who, output, policy, possible};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The rules for the objects that the program makes.
pub fn rules(more: &str) -> String {
    format!(
        "  - {{name: secrets, action: deny, operations: [read, write, execute, connect], paths: ['${{workspace}}/secret/**', \
         '${{workspace}}/**/.env', '${{workspace}}/**/*.key']}}\n  \
         - {{name: hooks, action: deny, operations: [write], paths: ['${{workspace}}/**/hooks/**', '${{workspace}}/config', \
         '${{workspace}}/vault/in']}}\n{more}"
    )
}

/// Whether the rules above deny writing it.
fn is_denied(path: &str) -> bool {
    let mut parts = path.split('/');
    path == "config"
        || path == "vault/in"
        || path == "secret"
        || path.starts_with("secret/")
        || path.ends_with(".key")
        || path.ends_with("/.env")
        || path == ".env"
        || parts.any(|p| p == "hooks")
}

/// The state of the denied names, one line each: mode, owner, size, links, times of change, contents, attributes.
pub fn snapshot(place: &Place) -> BTreeSet<String> {
    let top = place.path("ws");
    let mut lines = BTreeSet::new();
    walk(&top, &top, &mut lines);
    lines
}

fn walk(top: &Path, directory: &Path, lines: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(top).unwrap().display().to_string();
        let kept = path.symlink_metadata().unwrap();
        if is_denied(&name) {
            let mut line = format!(
                "{name} mode {:o} of {}:{} links {} size {} changed {}.{}",
                kept.mode(),
                kept.uid(),
                kept.gid(),
                kept.nlink(),
                kept.size(),
                kept.ctime(),
                kept.ctime_nsec()
            );
            if kept.is_file() {
                let contents = std::fs::read(&path).unwrap();
                write!(line, " {:?}", String::from_utf8_lossy(&contents)).unwrap();
            }
            lines.insert(line);
        }
        if kept.is_dir() {
            walk(top, &path, lines);
        }
    }
}

#[test]
fn denied_names_stay_as_they_are() {
    if !possible() {
        return;
    }
    for who in Who::all() {
        refused(who);
    }
}

fn refused(who: Who) {
    let place = Place::new(who);
    let program = place.program();
    // The calls without polc, on a file system in memory, which is faster.
    let shm = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() {
        "/dev/shm"
    } else {
        "/tmp"
    })
    .unwrap();
    std::fs::set_permissions(
        shm.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let mut bare = place.bare(&[&program, "denied", "bare"]);
    let bare = output(bare.current_dir(shm.path()), 60);
    assert!(bare.ok(), "{}", bare.words());
    let made = output(&mut place.bare(&[&program, "denied", "objects"]), 20);
    assert!(made.ok(), "{}", made.words());
    let before = snapshot(&place);
    let inside = output(
        &mut place.guarded(&policy(&rules("")), &[&program, "denied"]),
        120,
    );
    let mut faults = Vec::new();
    if !inside.ok() || !inside.stderr.is_empty() {
        faults.push(inside.words());
    }
    let lines = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        text.lines()
            .filter_map(|l| {
                l.split_once(" -> ")
                    .map(|(a, b)| (a.to_owned(), b.to_owned()))
            })
            .collect::<Vec<_>>()
    };
    let would: BTreeMap<String, String> = lines(&bare.stdout)
        .into_iter()
        .map(|(call, answer)| (call.trim_end_matches(", bare").to_owned(), answer))
        .collect();
    assert!(would.len() > 1000, "hardly anything was tried bare");
    let found = lines(&inside.stdout);
    assert!(
        found.len() > 8 * would.len() / 2,
        "hardly anything was tried inside: {}",
        found.len()
    );
    for (call, answer) in &found {
        let (call, way) = call.rsplit_once(", ").unwrap();
        let bare = &would[call];
        if !is_right(call, bare, answer) {
            faults.push(format!("{call}, {way}: {answer}, bare {bare}"));
        }
    }
    let after = snapshot(&place);
    faults.extend(before.difference(&after).map(|l| format!("gone: {l}")));
    faults.extend(after.difference(&before).map(|l| format!("new: {l}")));
    let text = String::from_utf8_lossy(&inside.stdout).into_owned();
    faults.extend(
        text.lines()
            .filter(|l| l.starts_with("LEAK"))
            .map(str::to_owned),
    );
    assert!(
        faults.is_empty(),
        "{who:?}: {} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Whether this is a right answer for a refused call. If the call also fails without polc, that error is right too.
fn is_right(call: &str, bare: &str, answer: &str) -> bool {
    // There is nothing to try: the call takes no descriptor, or it forbids the link on the way.
    if answer == "E0" || (call.contains("no links") && answer == "ELOOP") {
        return true;
    }
    // Calls that are newer than the C library do not exist inside.
    if answer == "ENOSYS"
        && ["setxattrat", "removexattrat", "file_setattr"]
            .iter()
            .any(|c| call.contains(c))
    {
        return true;
    }
    // The third access mode gives a descriptor that can neither read nor write.
    if call.contains("open, neither") && answer == "done" {
        return true;
    }
    // A file that may not be read cannot be opened to change its metadata. A hidden directory cannot be entered.
    let refusals: &[&str] = match call.split(", ").next() {
        Some("metadata") if opens(call) || call.contains(", secret/") => &["EPERM", "EACCES"],
        Some("metadata") => &["EPERM"],
        _ => &["EACCES"],
    };
    refusals.contains(&answer) || (bare != "done" && bare == answer)
}

fn opens(call: &str) -> bool {
    [
        ", fchmod",
        ", fchown",
        ", futimens",
        ", fsetxattr",
        ", fremovexattr",
        ", flags",
        ", attributes",
        ", futimesat of",
    ]
    .iter()
    .any(|c| call.contains(c))
}
