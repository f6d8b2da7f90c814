//! Directories in which the policy allows nothing: `~/.ssh`, `~/.gnupg`, `~/.docker`, `~/.aws`.
//!
//! Landlock refuses reading the files in them. It does not restrict sockets that somebody makes there later, nor the
//! names: `inotify` needs no right to list. So polc mounts an empty directory of mode 000 over each. Every access
//! beneath it answers `EACCES`, as with Landlock.
//!
//! These are the candidates:
//!
//! - a directory that a rule denies with everything in it, or the uppermost directory around it in which nothing is
//!   allowed (`~/.docker` for `~/.docker/run/**`);
//! - each directory directly in the home directory.
//!
//! A directory of `PATH` is left out, because a link in it may lead to a program that may be started.
//!
//! A rule may allow an object in it by a literal path (`~/.ssh/known_hosts`). If that object exists, polc mounts it in,
//! and the directory has mode 755. If a pattern allows something (`~/.ssh/*.pub`), the directory stays the host's.

use super::{NEEDED, OPERATIONS, above, beneath, deeper, resolved};
use crate::enforce::run::sys;
use crate::policy::{Policy, Rule, Sequence};
use crate::semantics::{Decisions, Meaning, StateId, TooLarge};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

/// How deep an allowed object in such a directory may lie.
const DEEPEST: usize = 16;

/// By operation, for each state: whether nothing is allowed from this state on.
pub(super) struct Closed<'m>(Vec<(&'m Decisions, Vec<bool>)>);

impl<'m> Closed<'m> {
    pub(super) fn new(meaning: &'m Meaning<'_>) -> Result<Self, TooLarge> {
        let one = |operation| {
            let decisions = meaning.decisions(operation)?;
            let nothing = decisions.dfa().all_below(|label| !decisions.permits(label));
            Ok((decisions, nothing))
        };
        OPERATIONS
            .into_iter()
            .map(one)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether nothing is allowed at names that no rule mentions, `depth` levels beneath a path, nor beneath those
    /// names.
    pub(super) fn is_closed(&self, path: &[u8], depth: usize) -> bool {
        self.0.iter().all(|(decisions, nothing)| {
            let state = decisions
                .dfa()
                .run(path)
                .and_then(|state| decisions.enter_fresh(state, depth));
            state.is_none_or(|s| nothing.get(s.index()) == Some(&true))
        })
    }

    /// Whether nothing is allowed beneath a path but existing objects among `named`.
    fn is_closed_but(&self, path: &[u8], named: &[Vec<u8>]) -> bool {
        self.0.iter().all(|(decisions, nothing)| {
            let state = decisions.dfa().run(path);
            state.is_none_or(|s| but(decisions, nothing, s, path, named, DEEPEST))
        })
    }
}

fn but(
    decisions: &Decisions,
    nothing: &[bool],
    state: StateId,
    path: &[u8],
    named: &[Vec<u8>],
    depth: usize,
) -> bool {
    let none = |s: StateId| nothing.get(s.index()) == Some(&true);
    let dfa = decisions.dfa();
    let mut spelled_out = dfa.spelled_out(state);
    depth > 0
        && !decisions.permits_state(state)
        && dfa.unlisted(state).iter().all(|s| none(*s))
        && spelled_out.all(|(name, s)| {
            let child = [path, b"/", name].concat();
            let there = || named.contains(&child) && sys::path(&child).symlink_metadata().is_ok();
            none(s) || there() || but(decisions, nothing, s, &child, named, depth - 1)
        })
}

/// The directories to cover, each with the objects of the host that are mounted into it. `named` are the paths that the
/// run needs. `allowed` are the literal paths that rules allow.
pub(super) fn directories(
    policy: &Policy,
    closed: &Closed<'_>,
    named: &[Vec<u8>],
    allowed: &[Vec<u8>],
) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut out = Vec::new();
    for path in candidates(policy, closed) {
        let is_own = resolved(&path).as_ref() == Some(&path);
        if !is_own || named.iter().any(|n| beneath(n, &path)) {
            continue;
        }
        let inner: Vec<Vec<u8>> = allowed
            .iter()
            .filter(|a| deeper(a, &path))
            .cloned()
            .collect();
        if closed.is_closed(&path, 0) {
            out.push((path, Vec::new()));
        } else if !inner.is_empty() && closed.is_closed_but(&path, &inner) {
            out.push((path, inner));
        }
    }
    out
}

fn candidates(policy: &Policy, closed: &Closed<'_>) -> BTreeSet<Vec<u8>> {
    let places: Vec<&Vec<u8>> = places(policy).collect();
    let may_be_covered =
        |path: &[u8]| !NEEDED.contains(&path) && !places.iter().any(|place| beneath(place, path));
    let deny = policy.rules.iter().filter(|r| !r.action.permits());
    let denied = deny
        .filter(|r| OPERATIONS.iter().any(|o| r.concerns_paths(*o)))
        .flat_map(Rule::sequences)
        .filter_map(Sequence::as_literal_tree);
    let uppermost = |mut path: Vec<u8>| {
        let is_coverable = |path: &[u8]| !path.is_empty() && may_be_covered(path);
        while is_coverable(above(&path)) && closed.is_closed(above(&path), 0) {
            path = above(&path).to_vec();
        }
        path
    };
    let mut out: BTreeSet<Vec<u8>> = denied
        .filter(|path| may_be_covered(path))
        .map(uppermost)
        .filter(|path| sys::path(path).is_dir())
        .collect();
    let home = policy.subject.home.as_deref().unwrap_or_default();
    let programs = directories_of_programs();
    let holds_programs = |path: &[u8]| programs.iter().any(|p| beneath(p, path));
    out.extend(in_home(home).filter(|path| may_be_covered(path)));
    out.retain(|path| !holds_programs(path));
    out
}

/// The directories in which programs are searched by name, with links followed.
fn directories_of_programs() -> Vec<Vec<u8>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|p| p.into_os_string().into_vec())
        .flat_map(|p| [resolved(&p), Some(p)])
        .flatten()
        .collect()
}

fn places(policy: &Policy) -> impl Iterator<Item = &Vec<u8>> {
    let subject = &policy.subject;
    let all = [&subject.home, &subject.workspace, &subject.tmp];
    all.into_iter().flatten()
}

/// The directories in the home directory, on the same file system. Another file system may be somebody else's.
fn in_home(home: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let device = std::fs::metadata(sys::path(home)).map(|m| m.dev()).ok();
    let entries = std::fs::read_dir(sys::path(home)).into_iter().flatten();
    entries.flatten().filter_map(move |entry| {
        let status = entry.metadata().ok()?;
        let same = status.is_dir() && Some(status.dev()) == device;
        same.then(|| entry.path().into_os_string().into_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{LoadOptions, load};

    /// If nothing is allowed at all, the search for the uppermost directory still ends.
    #[test]
    fn a_policy_without_any_allow_covers_what_it_denies() {
        let text = "version: 1\nname: t\nrules:\n\
                    - {name: d, action: deny, operations: [read], paths: [\"/polc-not-there/a/**\", \"/etc/polc/**\"]}\n";
        let policy = load("p.yaml", text, &LoadOptions::default())
            .unwrap()
            .policy;
        let meaning = Meaning::new(&policy);
        let closed = Closed::new(&meaning).unwrap();
        let found = directories(&policy, &closed, &[], &[]);
        assert!(found.iter().all(|(path, _)| path.len() > 1), "{found:?}");
    }
}
