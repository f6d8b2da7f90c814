use super::model::render;
use super::*;
use crate::fidelity::{Fidelity, Object};
use crate::policy::{
    Action, HostPattern, Objects, Operation, OperationSet, PathPattern, Policy, Rule,
};
use crate::semantics::{Meaning, decide};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn rule(name: &str, action: Action, operations: &[&str], paths: &[&str]) -> Rule {
    let paths = paths
        .iter()
        .map(|p| PathPattern::parse(p).unwrap())
        .collect();
    let operations = operations
        .iter()
        .map(|o| OperationSet::from_word(o).unwrap())
        .fold(OperationSet::EMPTY, OperationSet::union);
    Rule::new(
        name,
        action,
        operations,
        Objects::Paths {
            paths,
            except: vec![],
        },
    )
}

/// A file system of names. A trailing `/` marks a directory, and `a -> b` a link.
struct Fake(BTreeMap<Vec<u8>, Kind>, BTreeMap<Vec<u8>, Vec<u8>>);

impl Fake {
    fn new(entries: &[&str]) -> Self {
        let (mut map, mut links) = (BTreeMap::new(), BTreeMap::new());
        for e in entries {
            let (path, kind) = match e.split_once(" -> ") {
                Some((p, to)) => {
                    links.insert(p.into(), to.into());
                    (p, Kind::Link)
                }
                None => match e.strip_suffix('/') {
                    Some(p) => (p, Kind::Directory),
                    None => (*e, Kind::File),
                },
            };
            map.insert(path.into(), kind);
        }
        Self(map, links)
    }
}

impl Host for Fake {
    fn kind(&self, path: &[u8]) -> Kind {
        self.0.get(path).copied().unwrap_or(Kind::Missing)
    }

    fn leads_to(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.1.get(path).cloned()
    }

    fn list(&self, path: &[u8]) -> Vec<(Vec<u8>, Kind)> {
        let prefix = if path == b"/" {
            b"/".to_vec()
        } else {
            [path, b"/"].concat()
        };
        let names = self
            .0
            .iter()
            .filter_map(|(k, kind)| Some((k.strip_prefix(prefix.as_slice())?, *kind)));
        names
            .filter(|(n, _)| !n.is_empty() && !n.contains(&b'/'))
            .map(|(n, kind)| (n.to_vec(), kind))
            .collect()
    }
}

fn granted(lowered: &Lowered, right: AccessFs) -> Vec<String> {
    lowered
        .ruleset
        .paths
        .iter()
        .filter(|p| p.allowed.contains(&right))
        .map(|p| String::from_utf8(p.parent.clone()).unwrap())
        .collect()
}

fn with_hole() -> Policy {
    Policy::of_rules(
        "hole",
        Action::Deny,
        vec![
            rule("hooks", Action::Deny, &["write"], &["/w/.git/hooks/**"]),
            rule(
                "tree",
                Action::Allow,
                &["read", "write"],
                &["/w/**", "/etc/passwd"],
            ),
        ],
    )
}

#[test]
fn a_tree_with_a_hole_shrinks_to_its_siblings() {
    let policy = with_hole();
    let meaning = Meaning::new(&policy);
    let blind = lower(&meaning, 6, None, Holes::Closed).unwrap();
    assert_eq!(
        granted(&blind, AccessFs::WriteFile),
        ["/etc/passwd"],
        "nothing else is known to be there"
    );
    assert_eq!(granted(&blind, AccessFs::ReadDir), ["/w"]);
    let host = Fake::new(&[
        "/etc/",
        "/etc/passwd",
        "/w/",
        "/w/src/",
        "/w/src/x/",
        "/w/a.txt",
        "/w/l -> /etc",
        "/w/.git/",
        "/w/.git/hooks/",
        "/w/.git/index",
        "/w/.git/objects/",
    ]);
    let seen = lower(&meaning, 6, Some(&host), Holes::Closed).unwrap();
    assert_eq!(
        granted(&seen, AccessFs::WriteFile),
        [
            "/etc/passwd",
            "/w/.git/index",
            "/w/.git/objects",
            "/w/a.txt",
            "/w/src"
        ]
    );
    assert_eq!(
        granted(&seen, AccessFs::MakeReg),
        ["/w/.git/objects", "/w/src"],
        "what is made in /w/.git could be made in its hooks"
    );
    assert_eq!(
        granted(&seen, AccessFs::Refer),
        ["/w/.git/objects", "/w/src"]
    );
    assert!(seen.absent.iter().any(|e| e.path == b"/w/l"));
    let entry = |l: &Lowered, rule: u32, o| {
        l.ledger
            .entries
            .iter()
            .find(|e| e.rule.is_some_and(|r| r.0 == rule) && e.operation == o)
            .unwrap()
            .fidelity
    };
    for l in [&blind, &seen] {
        assert_eq!(entry(l, 0, Operation::Edit), Fidelity::Exact);
        assert_eq!(entry(l, 1, Operation::Edit), Fidelity::Stricter);
        assert_eq!(entry(l, 1, Operation::List), Fidelity::Exact);
        assert_eq!(entry(l, 0, Operation::Metadata), Fidelity::Unenforced);
    }
}

#[test]
fn an_open_hole_gives_the_tree_and_the_ledger_says_what_is_lost() {
    let policy = with_hole();
    let meaning = Meaning::new(&policy);
    let host = Fake::new(&["/etc/", "/etc/passwd", "/w/", "/w/.git/", "/w/.git/hooks/"]);
    for host in [None, Some(&host as &dyn Host)] {
        let lowered = lower(&meaning, 6, host, Holes::Open).unwrap();
        for right in [
            AccessFs::WriteFile,
            AccessFs::Truncate,
            AccessFs::MakeReg,
            AccessFs::RemoveFile,
            AccessFs::Refer,
        ] {
            assert!(granted(&lowered, right).contains(&"/w".to_owned()));
        }
        for operation in [Operation::Edit, Operation::Create, Operation::Delete] {
            let lost = |e: &&crate::fidelity::Entry| {
                e.rule.is_some_and(|r| r.0 == 0) && e.operation == operation
            };
            let entry = lowered.ledger.entries.iter().find(lost).unwrap();
            assert_eq!(entry.fidelity, Fidelity::Looser);
            assert!(!entry.witnesses.is_empty());
        }
        let warning = lowered.ledger.warning.unwrap();
        assert!(
            warning.contains("`hooks`: it allows edit /w/.git/hooks; `--holes closed` keeps"),
            "{warning}"
        );
    }
    let closed = lower(&meaning, 6, None, Holes::Closed).unwrap();
    assert_eq!(closed.ledger.warning, None);
}

/// Where the program can make nothing, what stands there is all that it will ever need.
#[test]
fn a_hole_where_nothing_can_be_made_stays_closed_on_a_host() {
    let policy = Policy::of_rules(
        "hole",
        Action::Deny,
        vec![
            rule("shadow", Action::Deny, &["read"], &["/etc/shadow"]),
            rule("settings", Action::Allow, &["read"], &["/etc/**"]),
        ],
    );
    let meaning = Meaning::new(&policy);
    let host = Fake::new(&["/etc/", "/etc/passwd", "/etc/shadow", "/etc/ssl/"]);
    let seen = lower(&meaning, 6, Some(&host), Holes::Open).unwrap();
    assert_eq!(
        granted(&seen, AccessFs::ReadFile),
        ["/etc/passwd", "/etc/ssl"]
    );
    assert_eq!(granted(&seen, AccessFs::ReadDir), ["/etc"]);
    let blind = lower(&meaning, 6, None, Holes::Open).unwrap();
    assert_eq!(granted(&blind, AccessFs::ReadFile), ["/etc"]);
}

#[test]
fn what_everything_may_do_is_not_restricted() {
    let policy = Policy::of_rules(
        "p",
        Action::Allow,
        vec![rule("ssh", Action::Deny, &["read"], &["/home/a/.ssh/**"])],
    );
    let blind = lower(&Meaning::new(&policy), 6, None, Holes::Closed).unwrap();
    assert!(
        blind.ruleset.handled_fs.is_empty(),
        "without a host a default of allow cannot be cut up"
    );
    let entry = blind
        .ledger
        .entries
        .iter()
        .find(|e| e.rule.is_some() && e.operation == Operation::Read)
        .unwrap();
    assert_eq!(entry.fidelity, Fidelity::Looser);
    let host = Fake::new(&[
        "/home/",
        "/home/a/",
        "/home/a/.ssh/",
        "/home/a/x",
        "/home/b/",
        "/usr/",
    ]);
    let seen = lower(&Meaning::new(&policy), 6, Some(&host), Holes::Closed).unwrap();
    assert_eq!(
        granted(&seen, AccessFs::ReadFile),
        ["/home/a/x", "/home/b", "/usr"]
    );
    assert!(!seen.ruleset.handled_fs.contains(&AccessFs::WriteFile));
}

#[test]
fn rights_follow_the_abi() {
    let policy = with_hole();
    for abi in 1..=9 {
        let lowered = lower(&Meaning::new(&policy), abi, None, Holes::Closed).unwrap();
        let all = lowered
            .ruleset
            .paths
            .iter()
            .flat_map(|p| &p.allowed)
            .chain(&lowered.ruleset.handled_fs);
        assert!(all.clone().all(|a| a.since() <= abi));
        assert!(
            lowered
                .ruleset
                .paths
                .iter()
                .all(|p| p.allowed.is_subset(&lowered.ruleset.handled_fs))
        );
        assert!(
            lowered
                .ruleset
                .paths
                .iter()
                .filter(|p| p.file)
                .all(|p| p.allowed.iter().all(|a| a.on_files()))
        );
        assert_eq!(lowered.ruleset.handled_net.is_empty(), abi < 4);
        assert_eq!(lowered.ruleset.scoped.is_empty(), abi < 6);
    }
}

#[test]
fn ports_stand_for_hosts() {
    let hosts = ["tcp://a.org:443", "udp://10.0.0.2:53"]
        .map(|h| HostPattern::parse(h).unwrap())
        .to_vec();
    let connect = OperationSet::from_word("connect").unwrap();
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![Rule::new(
            "net",
            Action::Allow,
            connect,
            Objects::Hosts {
                hosts,
                except: vec![],
            },
        )],
    );
    let lowered = lower(&Meaning::new(&policy), 6, None, Holes::Closed).unwrap();
    assert_eq!(lowered.ruleset.ports[0].ports, [443]);
    assert!(lowered.ruleset.ports[1].ports.is_empty());
    // MPTCP and others avoid the rules on ports. Without a right on ports there are no such rules.
    let unasked = |l: &Lowered| l.ledger.lost().any(|s| s.setting == UNASKED);
    assert!(unasked(&lowered));
    assert!(!unasked(
        &lower(&Meaning::new(&policy), 3, None, Holes::Closed).unwrap()
    ));
    let default = lowered
        .ledger
        .entries
        .iter()
        .find(|e| e.rule.is_none() && e.operation == Operation::Connect)
        .unwrap();
    assert!(default.fidelity.leaks());
}

#[test]
fn names_that_json_cannot_hold_are_refused() {
    for name in [&b"/w/\xff"[..], b"/w/${x}"] {
        let objects = Objects::Paths {
            paths: vec![PathPattern::literal(name)],
            except: vec![],
        };
        let read = OperationSet::from_word("read").unwrap();
        let policy = Policy::of_rules(
            "p",
            Action::Deny,
            vec![Rule::new("n", Action::Allow, read, objects)],
        );
        let lowered = lower(&Meaning::new(&policy), 6, None, Holes::Closed).unwrap();
        assert_eq!(
            render(&lowered.ruleset, &policy).unwrap_err().items[0].code,
            "E110"
        );
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "a*", "?", "**", "a", "b"]);
    prop::collection::vec(part, 0..4).prop_map(|c| format!("/{}", c.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Evaluates the ruleset as the kernel does, and compares that with the ledger.
    #[test]
    fn the_rights_are_what_the_ledger_was_told(
        rules in prop::collection::vec((any::<bool>(), prop::collection::vec(pattern(), 1..3), prop::sample::select(vec!["read", "list", "edit", "create"])), 0..6),
        default_allow in any::<bool>(),
        paths in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "x"]), 0..4), 1..12),
    ) {
        let rules = rules.iter().enumerate().map(|(i, (allow, p, o))| {
            let p: Vec<&str> = p.iter().map(String::as_str).collect();
            rule(&format!("r{i}"), if *allow { Action::Allow } else { Action::Deny }, &[o], &p)
        }).collect();
        let policy = Policy::of_rules("p", if default_allow { Action::Allow } else { Action::Deny }, rules);
        let host = Fake::new(&["/a/", "/b", "/a/a/", "/a/b/", "/a/ab", "/a/a/x", "/a/b/a/", "/a/b/b"]);
        let hosts = [None, Some(&host as &dyn Host)];
        let cases = hosts.iter().flat_map(|h| [(*h, Holes::Open), (*h, Holes::Closed)]);
        for (host, holes) in cases {
            let lowered = lower(&Meaning::new(&policy), 6, host, holes).unwrap();
            for path in &paths {
                let path = format!("/{}", path.join("/")).into_bytes();
                for (operation, right) in [(Operation::Read, AccessFs::ReadFile), (Operation::List, AccessFs::ReadDir), (Operation::Edit, AccessFs::WriteFile), (Operation::Create, AccessFs::MakeReg)] {
                    let reached = |p: &PathBeneath| {
                        let under = path == p.parent || p.parent == b"/" || path.starts_with(&[p.parent.as_slice(), b"/"].concat());
                        // A right on a file reaches that file only.
                        let under = if p.file { path == p.parent } else { under };
                        p.allowed.contains(&right) && under && !(right == AccessFs::MakeReg && path == p.parent)
                    };
                    let layer = !lowered.ruleset.handled_fs.contains(&right) || lowered.ruleset.paths.iter().any(reached);
                    let is_file = lowered.ruleset.paths.iter().any(|p| p.file && p.parent == path && p.allowed.contains(&AccessFs::ReadFile));
                    if right == AccessFs::ReadDir && is_file {
                        continue;
                    }
                    let said = decide(&policy, operation, &Object::Path(path.clone()));
                    let entry = lowered.ledger.entries.iter().find(|e| e.rule == said.rule && e.operation == operation).unwrap();
                    let agrees = match entry.fidelity {
                        Fidelity::Exact => layer == said.action.permits(),
                        Fidelity::Stricter => !layer || said.action.permits(),
                        Fidelity::Looser | Fidelity::Unenforced => layer || !said.action.permits(),
                        Fidelity::Mixed => true,
                    };
                    prop_assert!(agrees, "{operation} {} is {layer}, {:?}", String::from_utf8_lossy(&path), entry);
                }
            }
        }
    }
}
