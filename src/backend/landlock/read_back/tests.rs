//! The reader on rulesets that were written by hand.

use super::*;
use crate::policy::{Address, HostSpec};
use proptest::prelude::*;

fn ruleset(text: &str, files: &[&str]) -> Result<Ruleset, Diagnostics> {
    let artifact = Artifact {
        file_name: "t.landlock.json".to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    let options = Options {
        files: files.iter().map(|f| f.as_bytes().to_vec()).collect(),
        ..Options::default()
    };
    read(&artifact, &options)
}

const HAND: &str = r#"{"pathBeneath": [
  {"parent": ["/w", "/etc/hosts"], "allowedAccess": ["read_file"]},
  {"parent": ["/w"], "allowedAccess": ["read_dir", "make_reg", "remove_file"]},
  {"parent": ["/w/only"], "allowedAccess": ["make_dir", "execute", "write_file"]}
 ],
 "netPort": [{"allowedAccess": ["connect_tcp"], "port": [443]}],
 "abi": 4,
 "ruleset": [
  {"handledAccessFs": ["read_file", "read_dir", "write_file", "execute"]},
  {"handledAccessFs": ["make_reg", "make_dir", "make_sym", "make_fifo", "make_sock", "make_char",
    "make_block", "remove_file", "remove_dir"], "handledAccessNet": ["connect_tcp"]}
 ]}"#;

fn on(r: &Ruleset, operation: Operation, path: &str) -> Option<bool> {
    r.allows(operation, &Object::Path(path.as_bytes().to_vec()))
}

#[test]
fn hierarchies_rights_and_what_is_not_handled() {
    let r = ruleset(HAND, &["/etc/hosts"]).unwrap();
    let yes = [
        (Operation::Read, "/w"),
        (Operation::Read, "/w/a/b"),
        (Operation::Read, "/etc/hosts"),
        (Operation::List, "/w/a"),
        (Operation::Create, "/w/a"),
        (Operation::Create, "/w/only/a"),
        (Operation::Delete, "/w/x/y"),
        (Operation::Edit, "/w/only/x"),
        // The ruleset does not handle cutting, so it is allowed everywhere.
        (Operation::Edit, "/elsewhere"),
        (Operation::Execute, "/w/only/tool"),
    ];
    for (operation, path) in yes {
        assert_eq!(on(&r, operation, path), Some(true), "{operation} {path}");
    }
    let no = [
        (Operation::Read, "/wx"),
        (Operation::Read, "/etc/hosts/x"),
        (Operation::Read, "/"),
        (Operation::List, "/"),
        // A rule on D is for what lies beneath D.
        (Operation::Create, "/w"),
        (Operation::Execute, "/w/tool"),
    ];
    for (operation, path) in no {
        assert_eq!(on(&r, operation, path), Some(false), "{operation} {path}");
    }
    assert_eq!(on(&r, Operation::Metadata, "/w"), None);
    assert_eq!(on(&r, Operation::Connect, "/run/x.sock"), None);
}

#[test]
fn making_differs_by_kind() {
    let r = ruleset(HAND, &[]).unwrap();
    let OnPaths::Allows(forms) = r.paths(Operation::Create).unwrap() else {
        panic!("handled");
    };
    // Files anywhere in the tree, directories in one part of it, and no links.
    let answer =
        |path: &[u8]| -> Vec<bool> { forms.iter().map(|f| f.paths.contains(path)).collect() };
    assert_eq!(answer(b"/w/x"), [true, false, false]);
    assert_eq!(answer(b"/w/only/x"), [true, true, false]);
    assert_eq!(answer(b"/elsewhere/x"), [false, false, false]);
}

#[test]
fn what_is_not_known_for_a_file_is_a_directory() {
    let r = ruleset(HAND, &[]).unwrap();
    assert_eq!(on(&r, Operation::Read, "/etc/hosts/x"), Some(true));
}

#[test]
fn ports_are_tcp_alone() {
    let r = ruleset(HAND, &[]).unwrap();
    let to = |protocol, port| {
        r.allows(
            Operation::Connect,
            &Object::Host(HostSpec {
                protocol: Some(protocol),
                address: Address::Name("x.example".to_owned()),
                port,
            }),
        )
    };
    assert_eq!(to(Protocol::Tcp, 443), Some(true));
    assert_eq!(to(Protocol::Tcp, 444), Some(false));
    assert_eq!(to(Protocol::Udp, 444), Some(true));
    assert!(r.host_cuts(Operation::Bind).is_none());
}

#[test]
fn the_deciding_rule_has_its_line() {
    let r = ruleset(HAND, &[]).unwrap();
    let line = |operation, path: &str| {
        let clause = r.clause(operation, &Object::Path(path.as_bytes().to_vec()));
        clause.map(|c| c.line)
    };
    assert_eq!(line(Operation::Read, "/w/x"), Some(2));
    assert_eq!(line(Operation::List, "/w/x"), Some(3));
    assert_eq!(line(Operation::Create, "/w/only/x/y"), Some(3));
    assert_eq!(line(Operation::Read, "/x"), None);
}

#[test]
fn what_it_does_not_understand_it_refuses() {
    for (text, about) in [
        ("", "EOF"),
        ("[]", "expected"),
        (r#"{"abi": 4, "variable": []}"#, "unknown field `variable`"),
        (
            r#"{"abi": 4, "ruleset": [{"handledAccessFs": ["fly"]}]}"#,
            "unknown variant `fly`",
        ),
        (r#"{"abi": 4, "abi": 5}"#, "duplicate field `abi`"),
        (
            r#"{"abi": 1, "ruleset": [{"handledAccessFs": ["truncate"]}]}"#,
            "ABI 1",
        ),
        (
            r#"{"abi": 4, "pathBeneath": [{"parent": ["/x"], "allowedAccess": ["execute"]}]}"#,
            "does not handle",
        ),
        (
            r#"{"abi": 4, "ruleset": [{"handledAccessFs": ["execute"]}], "pathBeneath": [{"parent": ["/x/../y"], "allowedAccess": ["execute"]}]}"#,
            "not absolute and plain",
        ),
        (
            r#"{"abi": 4, "ruleset": [{"handledAccessFs": ["execute"]}], "pathBeneath": [{"parent": ["${HOME}"], "allowedAccess": ["execute"]}]}"#,
            "variable",
        ),
        (
            r#"{"abi": 4, "ruleset": [{"handledAccessNet": ["bind_tcp"]}], "netPort": [{"port": [70000], "allowedAccess": ["bind_tcp"]}]}"#,
            "70000",
        ),
    ] {
        let refused = match ruleset(text, &[]) {
            Ok(_) => panic!("took {text}"),
            Err(d) => d,
        };
        assert_eq!(refused.items[0].code, "E115");
        assert!(refused.to_string().contains(about), "{refused}");
    }
}

proptest! {
    #[test]
    fn garbage_is_refused_or_read_without_a_fall(cut in 0usize..600, byte in any::<u8>(), at in 0usize..600) {
        let mut bytes = HAND.as_bytes().to_vec();
        let n = bytes.len();
        bytes[at % n] = byte;
        bytes.truncate(cut.max(1));
        let artifact = Artifact { file_name: "x".to_owned(), bytes };
        let _ = recognises(&artifact);
        if let Ok(r) = read(&artifact, &Options::default()) {
            let _ = r.allows(Operation::Edit, &Object::Path(b"/w".to_vec()));
        }
    }
}
