use super::lower::lower;
use super::model::{Module, render_fc, render_te};
use super::*;
use crate::fidelity::{Fidelity, Ledger};
use crate::frontend::{LoadOptions, load};
use crate::policy::{
    Action, HostPattern, Objects, Operation, OperationSet, PathPattern, Policy, Rule, RuleId,
};

fn rule(name: &str, action: Action, operations: &str, paths: &[&str]) -> Rule {
    let paths = paths
        .iter()
        .map(|p| PathPattern::parse(p).unwrap())
        .collect();
    Rule::new(
        name,
        action,
        OperationSet::from_word(operations).unwrap(),
        Objects::Paths {
            paths,
            except: vec![],
        },
    )
}

fn lowered(policy: &Policy) -> (Module, Ledger) {
    lower(&Meaning::new(policy)).unwrap()
}

#[test]
fn each_set_of_operations_is_one_type() {
    let policy = Policy::of_rules(
        "9 lives",
        Action::Deny,
        vec![
            rule("inner", Action::Allow, "read", &["/w/a/b/**"]),
            rule("hole", Action::Deny, "read", &["/w/a/**"]),
            rule("tree", Action::Allow, "read", &["/w/**", "/v/**"]),
        ],
    );
    let (module, ledger) = lowered(&policy);
    assert_eq!(module.name, "p_9_lives");
    let fc = render_fc(&module);
    for line in [
        "/w/.*\tsystem_u:object_r:p_9_lives_rl_t:s0",
        "/w/a/.*\tsystem_u:object_r:p_9_lives_none_t:s0",
        "/w/a/b\tsystem_u:object_r:p_9_lives_rl_t:s0",
    ] {
        assert!(fc.lines().any(|l| l == line), "{fc}");
    }
    let own: Vec<&String> = module.own_types.iter().collect();
    assert_eq!(
        own,
        ["p_9_lives_exec_t", "p_9_lives_none_t", "p_9_lives_rl_t"]
    );
    for r in 0..3 {
        let e = ledger
            .entries
            .iter()
            .find(|e| e.rule == Some(RuleId(r)) && e.operation == Operation::Read)
            .unwrap();
        assert_eq!(e.fidelity, Fidelity::Exact, "{e:?}");
    }
}

#[test]
fn names_are_escaped_and_comments_end_where_they_should() {
    let objects = Objects::Paths {
        paths: vec![PathPattern::literal(b"/w/a\"b .(\n[\xff")],
        except: vec![],
    };
    let read = OperationSet::from_word("read").unwrap();
    let deny = rule(
        "x\nallow y z:file read;",
        Action::Deny,
        "metadata",
        &["/**/q"],
    );
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![deny, Rule::new("n", Action::Allow, read, objects)],
    );
    let (module, ledger) = lowered(&policy);
    let fc = render_fc(&module);
    assert!(
        fc.contains("/w/a\\x22b\\x20\\.\\(\\x0a\\x5b\\xff\t"),
        "{fc}"
    );
    let te = render_te(
        &module,
        &policy,
        &ledger,
        &Options {
            banner: Some("a\nb".into()),
            ..Options::default()
        },
    )
    .unwrap();
    assert!(
        te.lines().all(|l| !l.starts_with("allow y") && l != "b"),
        "{te}"
    );
}

/// A random policy found this: files cannot be written, but the times of the root, which is no file, can be set.
#[test]
fn the_root_is_no_file() {
    let policy = Policy::of_rules(
        "root",
        Action::Allow,
        vec![
            rule("root", Action::Allow, "write", &["/"]),
            rule("no edits", Action::Deny, "edit", &["/**"]),
        ],
    );
    let (_, ledger) = lowered(&policy);
    let mut entries = ledger.entries.iter();
    let own = entries.find(|e| e.rule == Some(RuleId(0)) && e.operation == Operation::Metadata);
    assert_eq!(own.unwrap().fidelity, Fidelity::Exact);
}

#[test]
fn programs_by_name_and_many_trees_do_not_multiply() {
    let mut text = String::from("version: 1\nname: t\nrules:\n");
    for i in 0..1500 {
        text.push_str(&format!(
            "  - {{name: t{i}, action: allow, operations: [read, write], paths: ['/workspace/m{i}/**']}}\n  - {{name: c{i}, action: allow, commands: ['tool{i} **']}}\n"
        ));
    }
    let policy = load("t.yaml", &text, &LoadOptions::default()).unwrap();
    let meaning = Meaning::new(&policy.policy);
    let made = SeLinux.compile(&meaning, &Options::default());
    assert!(made.is_ok(), "{}", made.err().unwrap());
}

#[test]
fn who_may_bind_nothing_may_not_listen() {
    let listens = |operations: &str| {
        let hosts = vec![HostPattern::parse("tcp://*:80").unwrap()];
        let except = vec![];
        let rule = Rule::new(
            "r",
            Action::Allow,
            OperationSet::from_word(operations).unwrap(),
            Objects::Hosts { hosts, except },
        );
        let (module, _) = lowered(&Policy::of_rules("p", Action::Deny, vec![rule]));
        let own = |r: &&String| r.starts_with("allow p_t self:tcp_socket");
        module.rules.iter().find(own).unwrap().contains(" listen")
    };
    assert!(listens("bind"));
    assert!(!listens("connect"));
}

/// Debian's `lib_t` is within `/opt` too. An object that the module labels there still has the module's type.
#[test]
fn what_is_labelled_within_the_base_policys_trees_is_no_program_of_it() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            rule("no-start", Action::Deny, "execute", &["/opt/lib/**"]),
            rule("libraries", Action::Allow, "read", &["/usr/lib/**"]),
            rule("start", Action::Allow, "execute", &["/usr/lib/**"]),
        ],
    );
    let (module, ledger) = lowered(&policy);
    let fc = render_fc(&module);
    let label = "/opt/lib/.*\tsystem_u:object_r:p_none_t:s0";
    assert!(fc.lines().any(|l| l == label), "{fc}");
    let own = |e: &&crate::fidelity::Entry| {
        e.rule == Some(RuleId(0)) && e.operation == Operation::Execute
    };
    let entry = ledger.entries.iter().find(own).unwrap();
    assert_eq!(entry.fidelity, Fidelity::Exact);
}
