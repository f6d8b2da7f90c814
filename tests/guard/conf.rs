//! The same calls bare, and with a guard that allows them all. Every line of their answers must be the same.

use crate::place::{Place, Who, output, policy, possible};
use std::collections::BTreeSet;

/// The beginnings of lines that differ, with the reason.
const KNOWN: &[(&str, &str)] = &[
    (
        "openat2: cached",
        "EAGAIN is the documented answer where the path has to be looked up",
    ),
    (
        "open: nofollow",
        "what is opened again by its descriptor does not show O_NOFOLLOW",
    ),
    ("procfs: /proc/self/cwd/f, nofollow", "the same"),
    ("procfs: /proc/self/root$W/f, nofollow", "the same"),
    ("procfs: /proc/self/fd/../cwd/f, nofollow", "the same"),
    (
        "procfs: unlink",
        "the policy allows no names in /proc, and that is refused first",
    ),
    (
        "procfs: write comm",
        "procfs stays with Landlock, which has no pattern of numbers",
    ),
    ("procfs: comm", "the same"),
    ("procfs: written", "the same"),
    (
        "deleted: nameless",
        "ext4 answers EPERM; the guard says that the directory is gone",
    ),
    (
        "deleted: deleted file by its descriptor",
        "a file without a name is not opened for writing: no rule can speak of it",
    ),
    ("deleted: truncated", "the same"),
    ("deleted: what is left", "the same"),
    (
        "xattr: setxattrat",
        "calls that are newer than C libraries do not exist inside",
    ),
    ("xattr: removexattrat", "the same"),
    ("flags: file_setattr", "the same"),
    ("unix: its process is the client", "the supervisor connects"),
    (
        "unix: of another kind",
        "unix datagrams are refused, since sendmsg would reach any path",
    ),
    ("unix-datagram", "the same"),
    (
        "unix-names: name of \"d/../s2\"",
        "the guard binds in the directory, by the last name",
    ),
    ("unix-names: name of \"ld/s3\"", "the same"),
];

#[test]
fn calls_answer_as_without_a_guard() {
    if !possible() {
        return;
    }
    let mut seen = BTreeSet::new();
    for who in Who::all() {
        seen.extend(differences(who));
    }
    let all: BTreeSet<&str> = KNOWN.iter().map(|k| k.0).collect();
    let stale: Vec<_> = all.difference(&seen).collect();
    assert!(stale.is_empty(), "these do not differ any more: {stale:?}");
}

/// Checks that only the known lines differ.
fn differences(who: Who) -> BTreeSet<&'static str> {
    let place = Place::new(who);
    let program = place.program();
    // For an ordinary user polc makes a user namespace, in which other users have no number.
    let alone = [
        "unshare",
        "--user",
        "--map-user=1000",
        "--map-group=1000",
        &program,
        "conf",
    ];
    let words = if who == Who::Ordinary {
        &alone[..]
    } else {
        &alone[4..]
    };
    let bare = output(&mut place.bare(words), 120);
    assert!(bare.ok(), "{who:?}, bare: {}", bare.words());
    place.renew();
    let inside = output(
        &mut place.guarded(&policy(crate::attack::CALLS), &[&program, "conf"]),
        120,
    );
    let (bare, inside) = (text(&bare.stdout), text(&inside.stdout));
    assert!(bare.lines().count() > 900, "hardly anything was tried");
    let (mut faults, mut known) = (Vec::new(), BTreeSet::new());
    let mut others = inside.lines();
    let mut other = others.next();
    for line in bare.lines() {
        let same_call = other.is_some_and(|o| call(o) == call(line));
        let seen = if same_call { other } else { None };
        if same_call {
            other = others.next();
        }
        if seen == Some(line) {
            continue;
        }
        let found = KNOWN
            .iter()
            .filter(|k| call(line).starts_with(k.0))
            .map(|k| k.0);
        let found: Vec<_> = found.collect();
        known.extend(&found);
        if found.is_empty() {
            faults.push(format!(
                "bare   {line}\ninside {}",
                seen.unwrap_or("nothing")
            ));
        }
    }
    faults.extend(
        other
            .into_iter()
            .chain(others)
            .map(|l| format!("inside alone {l}")),
    );
    assert!(
        faults.is_empty(),
        "{who:?}: {} differ:\n{}",
        faults.len(),
        faults.join("\n")
    );
    known
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The call that a line is about.
fn call(line: &str) -> &str {
    line.split(" -> ").next().unwrap_or(line)
}
