//! What a linked module lets its domain do, against what the policy means.
//!
//! Labels are regular expressions over paths, decided by the base policy too, so this asks about
//! paths: a shortest one for every state of the policy's automaton, with what lies beneath and beside
//! it. `matchpathcon` labels each as a file and as a directory, and the linked policy says what the
//! domain may do with that type.

use super::Allowed;
use polc::fidelity::{Fidelity, Ledger};
use polc::policy::Operation;
use polc::semantics::{Dfa, Meaning};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// An operation on a class of object: the permissions of which any is a leak, and those that it needs.
type Question = (
    Operation,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

// `execute` alone is what mapping a library takes; starting a program in the domain itself takes
// `execute_no_trans` too, and it is opened for reading.
const QUESTIONS: [Question; 10] = [
    (
        Operation::Read,
        "file",
        &["read"],
        &["open", "read", "getattr"],
    ),
    (Operation::List, "dir", &["read"], &["open", "read"]),
    (
        Operation::Edit,
        "file",
        &["write", "append"],
        &["open", "write", "append"],
    ),
    // What is made is of its directory's type: asked of that.
    (Operation::Create, "file", &["create"], &["create"]),
    (Operation::Create, "dir", &["create"], &["create"]),
    (
        Operation::Delete,
        "file",
        &["unlink", "rename"],
        &["unlink", "rename"],
    ),
    (Operation::Delete, "dir", &["rmdir"], &["rmdir"]),
    (Operation::Metadata, "file", &["setattr"], &["setattr"]),
    (Operation::Metadata, "dir", &["setattr"], &["setattr"]),
    (
        Operation::Execute,
        "file",
        &["execute_no_trans"],
        &["execute", "execute_no_trans", "open", "read"],
    ),
];

/// A shortest path to every state of an automaton, and what lies beneath and beside it.
fn places(dfa: &Dfa) -> BTreeSet<Vec<u8>> {
    let mut paths = HashMap::from([(dfa.cursor(), Vec::new())]);
    let mut queue = VecDeque::from([dfa.cursor()]);
    let mut found = BTreeSet::new();
    while let Some(cursor) = queue.pop_front() {
        let path = paths[&cursor].clone();
        if dfa.ended(cursor).is_some() {
            let ends: [&[u8]; 3] = [b"", b"/x", b"x"];
            for end in ends {
                let place = [&path[..], end].concat();
                let place = if place.is_empty() {
                    b"/".to_vec()
                } else {
                    place
                };
                if dfa.label_of(&place).is_some() && !place.contains(&b'\n') {
                    found.insert(place);
                }
            }
        }
        for (low, high, next) in dfa.transitions(cursor) {
            let byte = if (low..=high).contains(&b'q') {
                b'q'
            } else {
                low
            };
            paths.entry(next).or_insert_with(|| {
                queue.push_back(next);
                let mut longer = path.clone();
                longer.push(byte);
                longer
            });
        }
    }
    found
}

/// The directory that an object is in.
fn above(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) if at > 0 => &path[..at],
        _ => b"/",
    }
}

/// All places that a policy tells apart, of all operations, and the directories that they are in.
pub fn all_places(meaning: &Meaning<'_>) -> Vec<Vec<u8>> {
    let mut all = BTreeSet::new();
    for operation in Operation::ON_PATHS {
        all.extend(places(meaning.decisions(operation).unwrap().dfa()));
    }
    let folders: Vec<Vec<u8>> = all.iter().map(|p| above(p).to_vec()).collect();
    all.extend(folders);
    all.into_iter().collect()
}

/// Where the linked policy does not keep what the ledger claims. `labels` gives each place's types as
/// a file and as a directory.
pub fn compare(
    meaning: &Meaning<'_>,
    ledger: &Ledger,
    domain: &Allowed,
    labels: &BTreeMap<Vec<u8>, [String; 2]>,
) -> Vec<String> {
    let policy = meaning.policy();
    let entries = ledger.entries.iter();
    let claimed: BTreeMap<_, _> = entries
        .map(|e| ((e.rule, e.operation), e.fidelity))
        .collect();
    let mut faults = BTreeMap::new();
    for (operation, class, leaks, needs) in QUESTIONS {
        let decisions = meaning.decisions(operation).unwrap();
        for (path, types) in labels {
            let target = &types[usize::from(class == "dir")];
            let root_as_file = class == "file" && path == b"/";
            if root_as_file || target == "<<none>>" {
                continue;
            }
            let Some(verdict) = decisions.verdict(path) else {
                continue;
            };
            let decision = verdict.decision;
            let permits = decision.action.permits();
            let folder = &labels[above(path)][1];
            // Names are added and removed in the directory; the root is in none, and what a transition in `/tmp`
            // does is asked of the kernel (tests/kernel).
            let names: &[&str] = match operation {
                Operation::Create => &["add_name", "search", "write"],
                Operation::Delete => &["remove_name", "search", "write"],
                _ => &[],
            };
            if !names.is_empty() && (path == b"/" || folder == "tmp_t" || folder == "<<none>>") {
                continue;
            }
            let target = match operation {
                Operation::Create => folder,
                _ => target,
            };
            let has = |permission: &&str| domain.allows(target, class, permission);
            let in_folder = names.iter().all(|p| domain.allows(folder, "dir", p));
            let fidelity = claimed.get(&(decision.rule, operation)).copied();
            let gives = match operation {
                Operation::Execute => needs.iter().all(has),
                _ => leaks.iter().any(has),
            };
            let leak = !permits && in_folder && gives;
            let lack = permits && !(in_folder && needs.iter().all(has));
            let kept = match fidelity {
                Some(Fidelity::Exact) => !leak && !lack,
                Some(Fidelity::Stricter) => !leak,
                Some(Fidelity::Looser) => !lack,
                Some(Fidelity::Mixed | Fidelity::Unenforced) => true,
                None => false,
            };
            if !kept {
                let name = decision
                    .rule
                    .map_or("the default", |id| policy.rule(id).name.as_str());
                let says = fidelity.map_or("nothing", Fidelity::name);
                faults.entry((decision.rule, operation, class)).or_insert(format!(
                    "`{name}` {} {} {} ({target}:{class}), which has {:?}, and the ledger says {says}",
                    if permits { "allows" } else { "denies" },
                    operation.name(),
                    path.escape_ascii(),
                    domain.on(target).iter().filter(|p| p.starts_with(class)).collect::<Vec<_>>(),
                ));
            }
        }
    }
    faults.into_values().collect()
}
