//! The comparison finds the differences in both directions, and nothing else.

use super::{compare, compare_unaccounted, disagreements};
use crate::backend::{Allowed, Clause, Evaluate, Form, HostCuts, OnPaths};
use crate::fidelity::{Entry, Fidelity, Ledger, Object};
use crate::frontend::{LoadOptions, load};
use crate::policy::PathPattern;
use crate::policy::{Address, Host, HostPattern, Operation, Platform, Policy, RuleId};
use crate::semantics::{Meaning, PathSet, TooLarge};

/// An artifact with the same answer for every operation on paths, in one way or several. It allows a list of hosts.
struct Fake {
    /// A name (or several, separated by blanks), and the paths that this way allows. `None`: it says nothing.
    ways: Option<Vec<(&'static str, Form, PathSet)>>,
    moved: Option<PathSet>,
    hosts: Option<Vec<HostPattern>>,
}

impl Evaluate for Fake {
    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        let Some(ways) = &self.ways else {
            return Ok(OnPaths::Silent);
        };
        let of = |(way, form, paths): &(&str, Form, PathSet)| Allowed {
            form: *form,
            ways: way.split(' ').map(str::to_owned).collect(),
            paths: paths.clone(),
        };
        let mut forms: Vec<Allowed> = ways.iter().map(of).collect();
        if let (Operation::Delete, Some(paths)) = (operation, &self.moved) {
            forms.push(Allowed::new(Form::Moved, paths.clone()));
        }
        Ok(OnPaths::Allows(forms))
    }

    fn host_cuts(&self, _: Operation) -> Option<HostCuts> {
        let mut cuts = HostCuts::default();
        for h in self.hosts.as_ref()? {
            cuts.ports.push(h.ports.first);
            cuts.ports.extend(h.ports.last.checked_add(1));
            cuts.blocks.extend(h.host.blocks());
            if let Host::Name(n) = &h.host {
                cuts.names.push(n.clone());
            }
        }
        Some(cuts)
    }

    fn allows(&self, operation: Operation, object: &Object) -> Option<bool> {
        match object {
            Object::Host(h) => Some(
                self.hosts
                    .as_ref()?
                    .iter()
                    .any(|p| p.matches(h.protocol.unwrap(), &h.address, h.port)),
            ),
            Object::Syscall(_) => None,
            Object::Path(p) => Some(self.ways.as_ref()?.iter().any(|w| w.2.contains(p))),
            _ => panic!("{operation:?} {object}"),
        }
    }

    fn clause(&self, _: Operation, _: &Object) -> Option<Clause> {
        None
    }
}

fn policy(rules: &str) -> Policy {
    let text = format!(
        "version: 1\nname: t\nsubject: {{home: /h, workspace: /w, tmp: /tmp}}\nrules:\n{rules}"
    );
    load("t.yaml", &text, &LoadOptions::default())
        .unwrap()
        .policy
}

fn set(allow: &str, less: &str) -> PathSet {
    let of = |t: &str| PathSet::of(&PathPattern::parse(t).unwrap().sequences).unwrap();
    of(allow).difference(&of(less)).unwrap()
}

fn fake(file: PathSet) -> Fake {
    Fake {
        hosts: Some(vec![]),
        ..several(vec![("Either", Form::Either, file)])
    }
}

/// Several ways to do every operation, each with its answer.
fn several(ways: Vec<(&'static str, Form, PathSet)>) -> Fake {
    Fake {
        ways: Some(ways),
        moved: None,
        hosts: None,
    }
}

const TREE: &str = "  - {name: hole, action: deny, operations: [read, write], paths: ['/w/**/k']}
  - {name: tree, action: allow, operations: [read, write], paths: ['/w/**']}
";

/// The differences as `RULE OPERATION DIRECTION OBJECT`.
fn found(policy: &Policy, fake: &Fake, operations: &[Operation]) -> Vec<String> {
    let meaning = Meaning::new(policy);
    compare(&meaning, fake)
        .differences()
        .filter(|d| operations.contains(&d.operation))
        .map(|d| {
            let rule = d.rule.map_or("default", |r| policy.rule(r).name.as_str());
            let direction = if d.looser() { "looser" } else { "stricter" };
            format!(
                "{rule} {} {direction} {}",
                d.operation.name(),
                d.witness.object
            )
        })
        .collect()
}

#[test]
fn equal_sets_are_equal_and_others_have_a_witness_for_each_rule() {
    let policy = policy(TREE);
    let read = &[Operation::Read][..];
    let cases = [
        (set("/w/**", "/w/**/k"), vec![]),
        (set("/w/**", "/w/k"), vec!["hole read looser /w/a/k"]),
        (set("/w/**", "/**"), vec!["tree read stricter /w"]),
        (set("/**", "/w/**/k"), vec!["default read looser /"]),
        (
            set("/w/k", "/x"),
            vec!["hole read looser /w/k", "tree read stricter /w"],
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(found(&policy, &fake(file), read), expected);
    }
}

#[test]
fn a_silent_layer_is_unenforced_not_equal() {
    let policy = policy(TREE);
    let meaning = Meaning::new(&policy);
    let silent = Fake {
        ways: None,
        ..fake(PathSet::all())
    };
    let comparison = compare(&meaning, &silent);
    let of = |rule| {
        let account = comparison.account(rule, Operation::Read);
        account.and_then(|a| a.fidelity())
    };
    assert_eq!(of(Some(RuleId(0))), Some(Fidelity::Unenforced));
    assert_eq!(of(Some(RuleId(1))), Some(Fidelity::Exact));
    assert_eq!(of(None), Some(Fidelity::Unenforced));
    assert!(!comparison.is_equal());
}

#[test]
fn moving_a_directory_takes_along_what_is_beneath() {
    let policy = policy(TREE);
    let kept = set("/w/**", "/w/**/k");
    let of = |moved: PathSet| {
        let f = Fake {
            moved: Some(moved),
            ..fake(kept.clone())
        };
        found(&policy, &f, &[Operation::Delete])
    };
    assert_eq!(of(PathSet::empty()), Vec::<String>::new());
    assert_eq!(of(set("/w/x", "/y")), ["tree delete looser /w/x"]);
    // The policy denies nothing of it.
    assert_eq!(of(set("/w/k", "/y")), Vec::<String>::new());
}

#[test]
fn addresses_are_compared_where_either_side_changes() {
    let policy = policy(
        "  - {name: web, action: allow, operations: [connect], hosts: ['tcp://10.0.0.0/8:443']}\n",
    );
    let connect = &[Operation::Connect][..];
    let of = |hosts: &[&str]| {
        let f = Fake {
            hosts: Some(
                hosts
                    .iter()
                    .map(|h| HostPattern::parse(h).unwrap())
                    .collect(),
            ),
            ..fake(PathSet::empty())
        };
        let mut all = found(&policy, &f, connect);
        all.retain(|l| !l.contains(" / "));
        all
    };
    // Both deny unix sockets, the other objects of connect.
    assert_eq!(of(&["tcp://10.0.0.0/8:443"]), Vec::<String>::new());
    assert_eq!(
        of(&["tcp://10.0.0.0/9:443"]),
        ["web connect stricter tcp://10.128.0.1:443"]
    );
    assert_eq!(
        of(&["tcp://10.0.0.0/8:443", "tcp://10.3.0.0/16:80"]),
        ["default connect looser tcp://10.3.0.1:80"]
    );
    assert_eq!(
        of(&["tcp://10.0.0.0/8:443", "tcp://odd.example:22"]),
        ["default connect looser tcp://odd.example:22"]
    );
    assert!(matches!(
        HostPattern::parse("odd.example").unwrap().host,
        Host::Name(_)
    ));
    let _ = Address::Name(String::new());
}

#[test]
fn a_ledger_that_claims_too_much_or_too_little_is_found() {
    let policy = policy(TREE);
    let meaning = Meaning::new(&policy);
    let comparison = compare(&meaning, &fake(set("/w/**", "/w/k")));
    let claims = |hole: Fidelity, tree: Fidelity| {
        let entry = |rule, fidelity| Entry {
            rule: Some(RuleId(rule)),
            operation: Operation::Read,
            fidelity,
            reason: "".into(),
            witnesses: vec![],
        };
        let ledger = Ledger {
            target: "fake",
            entries: vec![entry(0, hole), entry(1, tree)],
            settings: vec![],
            warning: None,
        };
        let mut out = disagreements(&ledger, &comparison);
        out.retain(|d| d.operation == Operation::Read && d.rule.is_some());
        out
    };
    assert!(claims(Fidelity::Looser, Fidelity::Exact).is_empty());
    assert!(claims(Fidelity::Unenforced, Fidelity::Exact).is_empty());
    let too_good = claims(Fidelity::Exact, Fidelity::Exact);
    assert_eq!(too_good.len(), 1);
    assert_eq!(too_good[0].rule, Some(RuleId(0)));
    assert!(too_good[0].shown.is_some());
    let too_bad = claims(Fidelity::Looser, Fidelity::Stricter);
    assert_eq!(too_bad.len(), 1);
    assert_eq!(too_bad[0].rule, Some(RuleId(1)));
    assert!(too_bad[0].shown.is_none());
}

#[test]
fn a_change_in_one_way_alone_is_beyond_the_ledger() {
    let policy = policy(TREE);
    let meaning = Meaning::new(&policy);
    let kept = || set("/w/**", "/w/**/k");
    let told = |found: &Fake, fresh: &Fake| -> Vec<String> {
        compare_unaccounted(&meaning, found, fresh)
            .differences()
            .filter(|d| d.operation == Operation::Edit)
            .map(|d| {
                format!(
                    "{} {}",
                    if d.looser() { "looser" } else { "stricter" },
                    d.witness.object
                )
            })
            .collect()
    };
    let fresh = several(vec![("write append", Form::File, kept())]);
    assert_eq!(told(&fresh, &fresh), Vec::<String>::new());
    // One way is stricter, and the other allows the same as before.
    let found = several(vec![
        ("write", Form::File, kept()),
        (
            "append",
            Form::File,
            kept().difference(&set("/w/x", "/y")).unwrap(),
        ),
    ]);
    assert_eq!(told(&found, &fresh), ["stricter /w/x"]);
    // One way is looser, although another allows everything in both.
    let all = || ("times", Form::Either, PathSet::all());
    let fresh = several(vec![("mode", Form::File, kept()), all()]);
    let found = several(vec![("mode", Form::File, set("/w/**", "/w/k")), all()]);
    assert_eq!(told(&found, &fresh), ["looser /w/a/k"]);
    // The ways have exchanged their answers.
    let swapped =
        |a: PathSet, b: PathSet| several(vec![("a", Form::File, a), ("b", Form::File, b)]);
    let less = || set("/w/a/**", "/y");
    let (one, other) = (swapped(kept(), less()), swapped(less(), kept()));
    assert_eq!(told(&one, &other), ["looser /w/a/k", "stricter /w"]);
    // One of them has the same answer for files and directories. The other has not.
    let split = several(vec![
        ("f", Form::File, kept()),
        ("d", Form::Directory, less()),
    ]);
    let joint = several(vec![("f d", Form::Either, kept())]);
    assert_eq!(told(&split, &joint), ["looser /w/a/k", "stricter /w"]);
    // What the ledger explains is not reported, nor is a change towards the policy.
    assert_eq!(told(&split, &split), Vec::<String>::new());
    let nearer = several(vec![
        ("f", Form::File, kept()),
        ("d", Form::Directory, kept()),
    ]);
    assert_eq!(told(&nearer, &split), Vec::<String>::new());
    // A way that the artifact does not check any more.
    assert_eq!(
        told(&several(vec![("f", Form::File, kept())]), &joint),
        ["looser /w/k", "looser /"]
    );
}
