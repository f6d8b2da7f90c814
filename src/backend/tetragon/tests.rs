use super::lower::{Variant, lower};
use super::model::{MatchArg, Operator, TracingPolicy, render};
use super::*;
use crate::fidelity::{Fidelity, Object};
use crate::policy::{
    Action, HostPattern, Objects, Operation, OperationSet, PathPattern, Policy, Rule, Subject,
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

fn connect(name: &str, action: Action, hosts: &[&str]) -> Rule {
    let hosts = hosts
        .iter()
        .map(|p| HostPattern::parse(p).unwrap())
        .collect();
    Rule::new(
        name,
        action,
        OperationSet::from_word("connect").unwrap(),
        Objects::Hosts {
            hosts,
            except: vec![],
        },
    )
}

fn compiled(policy: &Policy) -> (Vec<TracingPolicy>, crate::fidelity::Ledger) {
    lower(
        &Meaning::new(policy),
        &Variant {
            namespaced: None,
            kill: false,
        },
    )
    .unwrap()
}

/// Whether a filter list matches a path by Tetragon's rules: bytes are compared, and nothing matches the root.
fn matches(filters: &[MatchArg], path: &str) -> bool {
    path != "/"
        && filters
            .iter()
            .filter(|f| f.index == 0)
            .all(|f| match f.operator {
                Operator::Equal => {
                    f.values.iter().any(|v| v == path)
                        || f.values.iter().all(|v| v.parse::<u32>().is_ok())
                }
                Operator::NotEqual => f.values.iter().all(|v| v != path),
                Operator::Prefix => f.values.iter().any(|v| path.starts_with(v)),
                Operator::NotPrefix => f.values.iter().all(|v| !path.starts_with(v)),
                _ => true,
            })
}

fn refused(objects: &[TracingPolicy], call: &str, concern: &str, path: &str) -> bool {
    objects
        .iter()
        .filter(|o| o.metadata.name.as_ref().unwrap().contains(concern))
        .flat_map(|o| &o.spec.kprobes)
        .filter(|k| k.call == call)
        .flat_map(|k| &k.selectors)
        .any(|s| matches(&s.match_args, path))
}

#[test]
fn nests_come_out_as_the_policy_decides() {
    let policy = Policy::of_rules(
        "nest",
        Action::Deny,
        vec![
            rule("inner", Action::Deny, "read", &["/w/a/b/c/**"]),
            rule("middle", Action::Allow, "read", &["/w/a/b/**"]),
            rule("outer", Action::Deny, "read", &["/w/a/**"]),
            rule("one", Action::Deny, "read", &["/w/secret"]),
            rule("tree", Action::Allow, "read", &["/w/**", "/etc/passwd"]),
        ],
    );
    let (objects, _) = compiled(&policy);
    for path in [
        "/w",
        "/wx",
        "/w/x",
        "/w/a",
        "/w/a/x",
        "/w/ab",
        "/w/a/b",
        "/w/a/b/x",
        "/w/a/b/c",
        "/w/a/b/c/d",
        "/w/secret",
        "/w/secret2",
        "/etc",
        "/etc/passwd",
        "/etc/passwd2",
    ] {
        let allowed =
            crate::semantics::decide(&policy, Operation::Read, &Object::Path(path.into()))
                .action
                .permits();
        assert_eq!(
            refused(&objects, "security_file_permission", "read", path),
            !allowed,
            "{path}"
        );
        assert_eq!(
            refused(&objects, "security_mmap_file", "read", path),
            !allowed,
            "{path}"
        );
    }
}

#[test]
fn what_cannot_be_said_is_in_the_ledger() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            rule("env", Action::Deny, "read", &["/**/.env"]),
            rule("lock", Action::Deny, "create", &["/w/lock"]),
            rule("tree", Action::Allow, "read", &["/w/**"]),
            rule("make", Action::Allow, "create", &["/w/**"]),
            rule("sweep", Action::Allow, "delete", &["/w/**"]),
            rule("drop", Action::Allow, "create", &["/d/**"]),
        ],
    );
    let (_, ledger) = compiled(&policy);
    let of = |rule: u32, operation| {
        ledger
            .entries
            .iter()
            .find(|e| e.rule.is_some_and(|r| r.0 == rule) && e.operation == operation)
            .unwrap()
    };
    assert_eq!(of(0, Operation::Read).fidelity, Fidelity::Looser);
    assert_eq!(
        of(0, Operation::Read).witnesses[0].object,
        Object::Path(b"/w/.env".to_vec())
    );
    assert_eq!(of(1, Operation::Create).fidelity, Fidelity::Looser);
    assert_eq!(of(2, Operation::Read).fidelity, Fidelity::Exact);
    // `/w` itself would be made in `/`, and no filter sees that path. So it is allowed, as the policy says.
    assert_eq!(of(3, Operation::Create).fidelity, Fidelity::Exact);
    // If nothing may be deleted, nothing may be moved in.
    assert_eq!(of(5, Operation::Create).fidelity, Fidelity::Stricter);
}

#[test]
fn a_denied_address_stays_denied_beside_an_allowed_name() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            connect("metadata", Action::Deny, &["169.254.169.254"]),
            connect("name", Action::Allow, &["tcp://a.org:443"]),
        ],
    );
    let (objects, ledger) = compiled(&policy);
    let hook = objects
        .iter()
        .flat_map(|o| &o.spec.kprobes)
        .find(|k| k.call == "security_socket_connect")
        .unwrap();
    let of = |operator| {
        hook.selectors
            .iter()
            .flat_map(|s| &s.match_args)
            .filter(move |a| a.operator == operator)
    };
    // An IPv6 socket reaches it by its mapped form.
    let both = ["169.254.169.254/32", "::ffff:169.254.169.254/128"];
    assert!(of(Operator::SAddr).any(|a| a.values == both));
    assert!(of(Operator::NotSPort).all(|a| a.values == ["443"]));
    let entry = |rule: Option<u32>| {
        ledger
            .entries
            .iter()
            .find(|e| e.rule.map(|r| r.0) == rule && e.operation == Operation::Connect)
            .unwrap()
            .fidelity
    };
    assert_eq!(entry(Some(0)), Fidelity::Exact);
    assert_eq!(entry(Some(1)), Fidelity::Exact);
    assert_eq!(entry(None), Fidelity::Looser);
    let sockets = objects
        .iter()
        .flat_map(|o| &o.spec.kprobes)
        .find(|k| k.call == "security_socket_create")
        .unwrap();
    assert_eq!(
        sockets.selectors[0].match_args[1].values,
        ["3", "2"],
        "no UDP, so no UDP sockets"
    );
}

#[test]
fn an_allowed_address_stays_allowed_in_an_ipv6_socket() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![connect("one", Action::Allow, &["tcp://10.0.0.1"])],
    );
    let (objects, _) = compiled(&policy);
    let hooks = objects.iter().flat_map(|o| &o.spec.kprobes);
    let refused: Vec<&String> = hooks
        .filter(|k| k.call == "security_socket_connect")
        .flat_map(|k| &k.selectors)
        .flat_map(|s| &s.match_args)
        .flat_map(|a| &a.values)
        .collect();
    let covers = |address: &str| {
        let ip: std::net::IpAddr = address.parse().unwrap();
        refused.iter().any(|block| {
            let (first, bits) = block.split_once('/').unwrap();
            let bits: u32 = bits.parse().unwrap();
            match (first.parse().unwrap(), ip) {
                (std::net::IpAddr::V4(a), std::net::IpAddr::V4(b)) => {
                    u64::from(u32::from(a) ^ u32::from(b)) >> (32 - bits) == 0
                }
                (std::net::IpAddr::V6(a), std::net::IpAddr::V6(b)) => {
                    bits == 0 || (u128::from(a) ^ u128::from(b)) >> (128 - bits) == 0
                }
                _ => false,
            }
        })
    };
    for address in ["10.0.0.1", "::ffff:10.0.0.1"] {
        assert!(!covers(address), "{address} in {refused:?}");
    }
    for address in [
        "10.0.0.0",
        "::ffff:10.0.0.2",
        "::1",
        "::fffe:10.0.0.1",
        "::1:0:0:0",
        "2001:db8::1",
    ] {
        assert!(covers(address), "{address} not in {refused:?}");
    }
}

#[test]
fn nothing_is_moved_over_what_stays() {
    let policy = Policy::of_rules(
        "p",
        Action::Allow,
        vec![rule("keep", Action::Deny, "delete", &["/b/**"])],
    );
    let (objects, _) = compiled(&policy);
    let kprobes = || objects.iter().flat_map(|o| &o.spec.kprobes);
    let rename = |k: &&super::model::Kprobe| {
        k.call == "security_path_rename" && k.args.iter().all(|a| a.index == 2)
    };
    let values: Vec<&String> = kprobes()
        .filter(rename)
        .flat_map(|k| &k.selectors)
        .flat_map(|s| &s.match_args)
        .flat_map(|a| &a.values)
        .collect();
    assert_eq!(values, ["/b/", "/b"]);
    assert!(kprobes().all(|k| k.call != "security_path_mknod"));
}

#[test]
fn ways_that_no_hook_sees_are_in_the_ledger() {
    let lost = |rules| {
        let (_, ledger) = compiled(&Policy::of_rules("p", Action::Deny, rules));
        let lost: Vec<String> = ledger.lost().map(|s| s.setting.to_string()).collect();
        lost
    };
    let (mapped, unasked) = ("edit through a mapping", "TCP that no hook sees");
    let has = |lost: &[String], name: &str| lost.iter().any(|l| l == name);
    let read = lost(vec![rule("r", Action::Allow, "read", &["/w/**"])]);
    assert!(has(&read, mapped) && !has(&read, unasked), "{read:?}");
    let tcp = lost(vec![connect("c", Action::Allow, &["tcp://*:443"])]);
    assert!(!has(&tcp, mapped) && has(&tcp, unasked), "{tcp:?}");
    let all = ["read", "write"].map(|o| rule(o, Action::Allow, o, &["/**"]));
    assert!(!has(&lost(all.into()), mapped));
}

#[test]
fn every_action_has_a_selector_and_a_subject() {
    let mut policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![rule("t", Action::Allow, "read", &["/w/**"])],
    );
    let bound = |objects: &[TracingPolicy]| {
        objects.iter().all(|o| {
            o.spec.kprobes.iter().all(|k| {
                !k.syscall
                    && !k.selectors.is_empty()
                    && k.selectors.len() <= 5
                    && k.selectors.iter().all(|s| {
                        !s.match_args.is_empty()
                            && s.match_args.len() <= 5
                            && (o.spec.pod_selector.is_some() || !s.match_binaries.is_empty())
                    })
            })
        })
    };
    assert!(bound(&compiled(&policy).0));
    policy.subject = Subject {
        executable: Some(PathPattern::parse("/usr/bin/{a,b}").unwrap()),
        ..Subject::default()
    };
    let (objects, _) = compiled(&policy);
    assert!(bound(&objects));
    assert!(
        objects[0].spec.pod_selector.is_none(),
        "outside Kubernetes a podSelector is refused"
    );
    assert_eq!(
        objects[0].spec.kprobes[0].selectors[0].match_binaries[0].values,
        ["/usr/bin/a", "/usr/bin/b"]
    );
}

#[test]
fn hostile_names_survive_yaml() {
    let name = "/w/a\"b\n- c: 'd' #e\\\t{[&*!|>%@`\u{85}é";
    let pattern = PathPattern::literal(name.as_bytes());
    let rule = Rule::new(
        "x\ny",
        Action::Allow,
        OperationSet::from_word("read").unwrap(),
        Objects::Paths {
            paths: vec![pattern],
            except: vec![],
        },
    );
    let policy = Policy::of_rules("p", Action::Deny, vec![rule]);
    let (objects, ledger) = compiled(&policy);
    let text = render(
        &policy,
        objects.clone(),
        &ledger,
        &crate::backend::Options {
            banner: Some("x\ny".into()),
            ..crate::backend::Options::default()
        },
    )
    .unwrap();
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert_eq!(documents.len(), objects.len());
    for (document, object) in documents.iter().zip(&objects) {
        assert_eq!(*document, serde_json::to_value(object).unwrap());
    }
    assert!(text.contains("NotEqual"));
    let bytes = Rule::new(
        "b",
        Action::Allow,
        OperationSet::from_word("read").unwrap(),
        Objects::Paths {
            paths: vec![PathPattern::literal(b"/\xff")],
            except: vec![],
        },
    );
    let policy = Policy::of_rules("p", Action::Deny, vec![bytes]);
    let Err(d) = lower(
        &Meaning::new(&policy),
        &Variant {
            namespaced: None,
            kill: false,
        },
    ) else {
        panic!()
    };
    assert_eq!(d.items[0].code, "E110");
}
