use super::lower::lower;
use super::model::{Form, Profile, glob, render};
use super::*;
use crate::fidelity::{Fidelity, Ledger};
use crate::policy::{
    Action, Objects, Operation, OperationSet, PathPattern, Policy, Rule, RuleId, Subject,
};
use proptest::prelude::*;

fn rule(name: &str, action: Action, operations: &str, paths: &[&str], except: &[&str]) -> Rule {
    let parse = |list: &[&str]| {
        list.iter()
            .map(|p| PathPattern::parse(p).unwrap())
            .collect()
    };
    let objects = Objects::Paths {
        paths: parse(paths),
        except: parse(except),
    };
    Rule::new(
        name,
        action,
        OperationSet::from_word(operations).unwrap(),
        objects,
    )
}

fn lowered(policy: &Policy) -> (Profile, Ledger) {
    lower(&Meaning::new(policy), "3.0").unwrap()
}

fn text(policy: &Policy) -> String {
    let (profile, ledger) = lowered(policy);
    render(
        &profile,
        policy,
        &ledger,
        &Options {
            banner: Some("a\nb".into()),
            ..Options::default()
        },
    )
    .unwrap()
}

fn fidelity(ledger: &Ledger, rule: Option<u32>, operation: Operation) -> Fidelity {
    ledger
        .entries
        .iter()
        .find(|e| e.rule == rule.map(RuleId) && e.operation == operation)
        .unwrap()
        .fidelity
}

#[test]
fn what_an_allow_leaves_out_is_denied_below_it() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            rule("most", Action::Allow, "read", &["/w/**"], &["/w/s/**"]),
            rule("none", Action::Deny, "read", &["/w/**"], &[]),
            rule("some", Action::Allow, "read", &["/w/s/*.txt"], &[]),
        ],
    );
    let (_, ledger) = lowered(&policy);
    for r in [Some(0), Some(1), Some(2), None] {
        let kept = fidelity(&ledger, r, Operation::Read);
        assert_eq!(kept, Fidelity::Exact, "{r:?} {}", text(&policy));
    }
}

#[test]
fn an_allow_above_a_deny_survives() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            rule("refs", Action::Allow, "read", &["/w/.git/refs/**"], &[]),
            rule("git", Action::Deny, "read", &["/w/.git/**"], &[]),
            rule("env", Action::Deny, "read", &["/**/.env"], &[]),
            rule("tree", Action::Allow, "read", &["/w/**"], &[]),
        ],
    );
    let (_, ledger) = lowered(&policy);
    // The first rule allows `/w/.git/refs/.env`, and the pattern with `**` stays a deny.
    assert_eq!(
        fidelity(&ledger, Some(0), Operation::Read),
        Fidelity::Stricter
    );
    for r in [Some(1), Some(2), Some(3), None] {
        assert_eq!(
            fidelity(&ledger, r, Operation::Read),
            Fidelity::Exact,
            "{r:?}"
        );
    }
    let text = text(&policy);
    assert!(
        text.contains("\"/w/.git/refs{,/,/**}\" rmk,") && !text.contains("deny \"/w/.git"),
        "{text}"
    );
}

#[test]
fn what_can_be_cut_out_is_cut_out_beside_what_cannot() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            rule(
                "most",
                Action::Allow,
                "read",
                &["/w/**"],
                &["/w/vendor/**", "/w/**/*.lock"],
            ),
            rule("vendor", Action::Allow, "read", &["/w/vendor/**"], &[]),
        ],
    );
    let (_, ledger) = lowered(&policy);
    assert_eq!(fidelity(&ledger, Some(0), Operation::Read), Fidelity::Exact);
    // Of `vendor` nothing but the locks is lost.
    let entries = ledger.entries.iter();
    let mut vendor = entries.filter(|e| e.rule == Some(RuleId(1)) && !e.witnesses.is_empty());
    assert!(
        vendor.all(|e| e.witnesses[0].object.to_string().ends_with(".lock")),
        "{}",
        text(&policy)
    );
}

#[test]
fn a_deny_of_everything_else_leaves_what_it_excepts() {
    let policy = Policy::of_rules(
        "p",
        Action::Allow,
        vec![
            rule("tools", Action::Allow, "execute", &["/usr/bin/*"], &[]),
            rule(
                "others",
                Action::Deny,
                "execute",
                &["/**"],
                &["/opt/**", "/srv/*/bin/**"],
            ),
            rule("stay", Action::Deny, "write", &["/**"], &["/w/**"]),
        ],
    );
    let text = text(&policy);
    let classes = text.replace("[^/]", "").contains("[^");
    assert!(!text.contains("audit deny \"") && !classes, "{text}");
    let (_, ledger) = lowered(&policy);
    for operation in [Operation::Execute, Operation::Edit] {
        for r in [Some(0), Some(1), Some(2), None] {
            let entry =
                |e: &&crate::fidelity::Entry| e.rule == r.map(RuleId) && e.operation == operation;
            if let Some(e) = ledger.entries.iter().find(entry) {
                assert_eq!(e.fidelity, Fidelity::Exact, "{e:?} {text}");
            }
        }
    }
}

#[test]
fn forms_of_a_name() {
    let of = |p: &str, form| glob(&PathPattern::parse(p).unwrap().sequences[0], form).unwrap();
    assert_eq!(of("/a/**", Form::Both), r#""/a{,/,/**}""#);
    assert_eq!(of("/a/**", Form::File), r#""/a{,/**[^/]}""#);
    assert_eq!(of("/a/**", Form::Directory), r#""/a/{,**/}""#);
    assert_eq!(of("/a/**/b", Form::File), r#""/a/{,**/}b""#);
    assert_eq!(of("/**", Form::Both), r#""/{,**}""#);
    assert_eq!(of("/", Form::Both), r#""/""#);
    assert!(glob(&PathPattern::parse("/").unwrap().sequences[0], Form::File).is_none());
    assert_eq!(
        of(r#"/a" r,\n#\*\[\x0a\\"#, Form::File),
        r#""/a\042\040r\,n#\*\[\012\134""#
    );
}

#[test]
fn nothing_of_a_policy_ends_a_comment_or_a_rule() {
    let mut policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            rule("x\n  /** rwix,", Action::Deny, "metadata", &["/a"], &[]),
            Rule::new(
                "y\n  /** rwix,\u{2028}",
                Action::Allow,
                OperationSet::from_word("read").unwrap(),
                Objects::Paths {
                    paths: vec![PathPattern::literal(b"/a\",\n/** w,\n\"")],
                    except: vec![],
                },
            ),
        ],
    );
    policy.subject = Subject {
        executable: Some(PathPattern::parse("/bin/{a b,c}").unwrap()),
        ..Subject::default()
    };
    let text = text(&policy);
    assert!(
        text.contains(r#"profile p "/{bin/a\040b,bin/c}" flags"#),
        "{text}"
    );
    for line in text.lines().filter(|l| !l.is_empty()) {
        let fine = [
            "#",
            "  # ",
            "abi ",
            "include ",
            "profile ",
            "}",
            "  \"",
            "  network",
            "  signal",
            "  ptrace",
            "  unix",
            "  audit deny \"",
        ];
        assert!(fine.iter().any(|f| line.starts_with(f)), "{line}");
    }
}

#[test]
fn what_lies_above_a_denied_path_cannot_be_moved() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            rule("hooks", Action::Deny, "write", &["/w/.git/hooks/**"], &[]),
            rule("tree", Action::Allow, "write", &["/w/**"], &[]),
        ],
    );
    let text = text(&policy);
    assert!(text.contains("audit deny \"/w{,/.git}/\" w,"), "{text}");
    let (_, ledger) = lowered(&policy);
    assert_eq!(fidelity(&ledger, Some(1), Operation::Edit), Fidelity::Exact);
    assert_eq!(
        fidelity(&ledger, Some(1), Operation::Delete),
        Fidelity::Stricter
    );
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "a*", "?", "[!a]", "**", "a", "b"]);
    prop::collection::vec(part, 0..4).prop_map(|c| format!("/{}", c.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn reading_is_never_looser(
        rules in prop::collection::vec((any::<bool>(), prop::collection::vec(pattern(), 1..3), prop::collection::vec(pattern(), 0..2)), 0..6),
        default_allow in any::<bool>(),
    ) {
        let rules = rules.iter().enumerate().map(|(i, (allow, p, e))| {
            let p: Vec<&str> = p.iter().map(String::as_str).collect();
            let e: Vec<&str> = e.iter().map(String::as_str).collect();
            rule(&format!("r{i}"), if *allow { Action::Allow } else { Action::Deny }, "read", &p, &e)
        }).collect();
        let policy = Policy::of_rules("p", if default_allow { Action::Allow } else { Action::Deny }, rules);
        let (_, ledger) = lowered(&policy);
        for e in ledger.entries.iter().filter(|e| matches!(e.operation, Operation::Read | Operation::List)) {
            prop_assert!(!e.fidelity.leaks(), "{e:?}");
        }
    }
}
