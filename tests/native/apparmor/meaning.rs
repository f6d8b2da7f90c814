//! What the compiled profile means, against what the policy means, over every path there is.
//!
//! The parser's automaton and the policy's are walked in step, so that each pair of states is visited
//! with a shortest path that leads to it. Directories are asked with their trailing slash, as the
//! kernel names them.

use super::blob::{Profile, Rights, State};
use polc::fidelity::{Fidelity, Ledger, Object};
use polc::policy::Operation;
use polc::semantics::{ByteCursor, Dfa, Meaning, StateId, decide};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// A path as both automata see it.
pub struct Place<'a> {
    /// The label that the policy's automaton gives it.
    pub label: u32,
    /// Its state of the policy's automaton.
    pub state: StateId,
    /// The rights on it as a file; `None` for the root, which is none.
    pub file: Option<Rights>,
    /// The rights on it as a directory.
    pub directory: Rights,
    /// The same two of a process that owns it.
    pub own: (Option<Rights>, Rights),
    /// A shortest path that leads here.
    pub spell: &'a dyn Fn() -> Vec<u8>,
}

const LETTERS_FIRST: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < 256 {
        bytes[i] = (i as u8).wrapping_add(b'a');
        i += 1;
    }
    bytes
};

/// Visits every pair of states at which a path may end, the shortest paths first.
///
/// The kernel never asks of a path with `//`, `.` or `..`, nor does the policy's automaton know them.
pub fn walk(dfa: &Dfa, profile: &Profile, mut visit: impl FnMut(&Place<'_>)) {
    type Pair = (ByteCursor, State);
    let start: Pair = (dfa.cursor(), profile.start());
    let mut seen: HashMap<Pair, Option<(Pair, u8)>> = HashMap::from([(start, None)]);
    let mut queue = VecDeque::from([start]);
    while let Some(pair) = queue.pop_front() {
        let (cursor, compiled) = pair;
        if let Some(state) = dfa.ended(cursor) {
            let root = pair == start;
            let spell = || {
                let mut path = Vec::new();
                let mut at = pair;
                while let Some((before, byte)) = seen[&at] {
                    path.push(byte);
                    at = before;
                }
                path.reverse();
                if path.is_empty() { b"/".to_vec() } else { path }
            };
            let within = profile.step(compiled, b'/');
            visit(&Place {
                label: dfa.label(state),
                state,
                file: (!root).then(|| profile.rights(compiled)),
                directory: profile.rights(within),
                own: (
                    (!root).then(|| profile.own_rights(compiled)),
                    profile.own_rights(within),
                ),
                spell: &spell,
            });
        }
        // Of the bytes that both automata treat alike, one; letters first, for a witness that reads
        // well.
        let mut bytes: Vec<(u8, ByteCursor)> = Vec::new();
        for (low, high, next) in dfa.transitions(cursor) {
            let mut classes = [false; 256];
            for byte in LETTERS_FIRST.iter().filter(|b| (low..=high).contains(b)) {
                if !std::mem::replace(&mut classes[usize::from(profile.class(*byte))], true) {
                    bytes.push((*byte, next));
                }
            }
        }
        bytes.sort_by_key(|(byte, _)| !byte.is_ascii_lowercase());
        for (byte, next) in bytes {
            let to = (next, profile.step(compiled, byte));
            if let Entry::Vacant(place) = seen.entry(to) {
                place.insert(Some((pair, byte)));
                queue.push_back(to);
            }
        }
    }
}

/// What a right on a place stands for: the operation, and the bits that must agree with it.
type Question = (Operation, &'static str, fn(&Place<'_>) -> Option<bool>);

const DIRECTORY_W: &str = "w of a directory";

/// A file's rights answer for files, a directory's for directories; where an operation is about both,
/// both are asked.
const QUESTIONS: [Question; 10] = [
    (Operation::Read, "r of a file", |p| Some(p.file?.read)),
    (Operation::List, "r of a directory", |p| {
        Some(p.directory.read)
    }),
    (Operation::Edit, "w of a file", |p| Some(p.file?.write)),
    (Operation::Edit, "a of a file", |p| Some(p.file?.append)),
    (Operation::Create, "w of a file", |p| Some(p.file?.write)),
    (Operation::Create, DIRECTORY_W, |p| Some(p.directory.write)),
    (Operation::Delete, "w of a file", |p| Some(p.file?.write)),
    (Operation::Delete, DIRECTORY_W, |p| Some(p.directory.write)),
    (Operation::Metadata, "w of a file", |p| Some(p.file?.write)),
    (Operation::Execute, "x of a file", |p| Some(p.file?.exec)),
];

/// Where the compiled profile does not keep what the ledger claims, one line for each rule and right.
///
/// `exact` must be equal, `stricter` must let nothing more through, `looser` nothing less. At every
/// kind of place the reference is asked too, so that the policy's own automaton is not trusted either.
pub fn compare(meaning: &Meaning<'_>, profile: &Profile, ledger: &Ledger) -> Vec<String> {
    let policy = meaning.policy();
    let claimed: BTreeMap<_, _> = ledger
        .entries
        .iter()
        .map(|e| ((e.rule, e.operation), e.fidelity))
        .collect();
    let mut faults = BTreeMap::new();
    for operation in Operation::ON_PATHS {
        let questions: Vec<_> = QUESTIONS.iter().filter(|q| q.0 == operation).collect();
        if questions.is_empty() {
            continue;
        }
        let decisions = meaning.decisions(operation).unwrap();
        // To remove a directory, or to move it away, is the same of everything beneath.
        let deletable = decisions
            .dfa()
            .all_beneath(|label| decisions.permits(label));
        let mut kinds = HashSet::new();
        walk(decisions.dfa(), profile, |place| {
            for (_, what, asks) in &questions {
                let Some(layer) = asks(place) else { continue };
                let whole = operation == Operation::Delete && *what == DIRECTORY_W;
                let beneath = !whole || deletable[place.state.index()];
                if !kinds.insert((place.label, *what, layer, beneath)) {
                    continue;
                }
                let path = (place.spell)();
                let permits = decisions.permits(place.label);
                let shown = path.escape_ascii();
                let by_reference = decide(policy, operation, &Object::Path(path.clone()));
                assert_eq!(
                    by_reference.action.permits(),
                    permits,
                    "{operation:?} {shown}"
                );
                let permits = permits && beneath;
                let rule = decisions.verdicts()[place.label as usize].decision.rule;
                let name = rule.map_or("the default", |id| policy.rule(id).name.as_str());
                let Some(fidelity) = claimed.get(&(rule, operation)) else {
                    let fault = format!("no entry for `{name}`, {} {shown}", operation.name());
                    faults.entry((rule, operation, *what)).or_insert(fault);
                    continue;
                };
                let kept = match fidelity {
                    Fidelity::Exact => layer == permits,
                    Fidelity::Stricter => permits || !layer,
                    Fidelity::Looser => layer || !permits,
                    Fidelity::Mixed | Fidelity::Unenforced => true,
                };
                if !kept {
                    let policy_says = match (permits, beneath) {
                        (true, _) => "allows",
                        (false, true) => "denies",
                        (false, false) => "denies something beneath",
                    };
                    let profile_says = if layer { "has" } else { "has not" };
                    faults.entry((rule, operation, *what)).or_insert(format!(
                        "`{name}` {policy_says} {} {shown}, the profile {profile_says} {what}, \
                         and the ledger says {fidelity}",
                        operation.name()
                    ));
                }
            }
        });
    }
    faults.into_values().collect()
}

mod own {
    //! The comparison itself: it must find a profile that does not mean its policy.

    use super::{Meaning, Operation, compare};
    use polc::fidelity::{Entry, Fidelity, Ledger};
    use polc::frontend::{LoadOptions, load};

    /// The faults of a profile against a policy with one rule, where a ledger claims all of it.
    fn faults(rule: &str, profile: &str, fidelity: Fidelity) -> Option<Vec<String>> {
        let parser = crate::apparmor::parser()?;
        let text = format!(
            "version: 1\nname: t\nsubject: {{home: /h, workspace: /w, tmp: /tmp}}\nrules:\n  - {rule}\n"
        );
        let policy = load("t.yaml", &text, &LoadOptions::default())
            .unwrap()
            .policy;
        let meaning = Meaning::new(&policy);
        let text = format!("abi <abi/3.0>,\nprofile t {{\n{profile}\n}}\n");
        let blob = crate::apparmor::compile_text(&parser, text.as_bytes()).unwrap();
        let rules = policy.rules.iter().map(|r| Some(r.id)).chain([None]);
        let entries = rules.flat_map(|rule| {
            Operation::ALL.map(|operation| Entry {
                rule,
                operation,
                fidelity,
                reason: "".into(),
                witnesses: vec![],
            })
        });
        let ledger = Ledger {
            target: "t",
            entries: entries.collect(),
            settings: vec![],
            warning: None,
        };
        Some(compare(
            &meaning,
            &crate::apparmor::profile(&blob, "t").unwrap(),
            &ledger,
        ))
    }

    const TREE: &str = "{name: tree, action: allow, operations: [read], paths: ['/a/**']}";

    #[test]
    fn finds_what_differs_and_nothing_else() {
        for (profile, found) in [
            ("/a{,/,/**} r,", &[][..]),
            (
                "/a/{,**} r,",
                &["allows read /a, the profile has not r of a file"],
            ),
            (
                "/a/** r, /a r,",
                &["allows list /a, the profile has not r of a directory"],
            ),
            (
                "/a{,/,/**} r, /a?** r,",
                &[
                    "denies list /aa, the profile has r",
                    "denies read /aa, the profile has r",
                ],
            ),
            (
                "/a{,/,/**} r, /a/x a,",
                &["denies edit /a/x, the profile has a of a file"],
            ),
            (
                "/a{,/,/**} r, /a/x/ w,",
                &["denies create /a/x, the profile has w of a directory"],
            ),
            (
                "/a{,/,/**} r, /b/x ix,",
                &["denies execute /b/x, the profile has x of a file"],
            ),
            (
                "/a{,/,/**} r, deny /a/s r,",
                &["allows read /a/s, the profile has not r of a file"],
            ),
        ] {
            let Some(faults) = faults(TREE, profile, Fidelity::Exact) else {
                return;
            };
            assert_eq!(
                faults.is_empty(),
                found.is_empty(),
                "{profile}: {faults:#?}"
            );
            for part in found {
                assert!(
                    faults.iter().any(|f| f.contains(part)),
                    "{profile}: {faults:#?}"
                );
            }
        }
    }

    #[test]
    fn a_directory_above_a_denied_path_must_not_be_moved() {
        let rules = "{name: hooks, action: deny, operations: [delete], paths: ['/a/s/h']}
  - {name: tree, action: allow, operations: [write], paths: ['/a/**']}";
        let moved = "/a{,/,/**} w, deny /a/s/h{,/,/**} w,";
        let Some(found) = faults(rules, moved, Fidelity::Exact) else {
            return;
        };
        let bypass = "`tree` denies something beneath delete /a, the profile has w of a directory";
        assert!(found.iter().any(|f| f.contains(bypass)), "{found:#?}");
        let found = faults(
            rules,
            "/a{,/,/**} w, deny /a/{,s/,s/h,s/h/**} w,",
            Fidelity::Stricter,
        );
        assert_eq!(found, Some(vec![]));
    }

    #[test]
    fn holds_the_ledger_to_what_it_claims() {
        let less = "/a/{,**} r,";
        let more = "/a{,/,/**} r, /b r,";
        for (profile, fidelity, holds) in [
            (less, Fidelity::Stricter, true),
            (less, Fidelity::Looser, false),
            (more, Fidelity::Looser, true),
            (more, Fidelity::Stricter, false),
            (more, Fidelity::Mixed, true),
        ] {
            let Some(faults) = faults(TREE, profile, fidelity) else {
                return;
            };
            assert_eq!(
                faults.is_empty(),
                holds,
                "{profile} as {fidelity}: {faults:#?}"
            );
        }
    }
}
