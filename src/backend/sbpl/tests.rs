use super::lower::lower;
use super::model::{Profile, regex_text, render};
use super::*;
use crate::fidelity::{Fidelity, Object};
use crate::policy::{
    Action, HostPattern, Objects, Operation, OperationSet, PathPattern, Policy, Rule,
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

fn connect(action: Action, hosts: &[&str]) -> Rule {
    let hosts = hosts
        .iter()
        .map(|p| HostPattern::parse(p).unwrap())
        .collect();
    let objects = Objects::Hosts {
        hosts,
        except: vec![],
    };
    Rule::new(
        "net",
        action,
        OperationSet::from_word("connect").unwrap(),
        objects,
    )
}

/// Whether the profile's one rule for an operation allows it, by the model of SBPL.
fn allows(profile: &Profile, operation: &str, path: &[u8], directory: bool) -> bool {
    let hit = profile
        .rules
        .iter()
        .any(|r| r.operations.contains(&operation) && r.filter.matches(profile, path, directory));
    hit != profile.default_allow
}

fn text(policy: &Policy, proxy: Option<u16>) -> String {
    let (profile, ledger) = lower(&Meaning::new(policy), proxy).unwrap();
    render(
        &profile,
        policy,
        &ledger,
        &Options {
            banner: Some("x".into()),
            ..Options::default()
        },
    )
    .unwrap()
}

#[test]
fn regular_expressions_match_whole_paths_and_quote() {
    let of = |p: &str| regex_text(&PathPattern::parse(p).unwrap().sequences[0]);
    assert_eq!(of("/**/.env*"), r"^(/[^/]+)*/\.env[^/]*$");
    assert_eq!(of("/a?/[!b-d]"), r"^/a[^/]/[^/bcd]$");
    assert_eq!(of(r"/\[x\]*"), r"^/\[x\][^/]*$");
    assert_eq!(of(r"/[\]\^-]*"), r"^/[]^-][^/]*$");
}

#[test]
fn a_denied_tree_cannot_be_moved_away() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            rule("hooks", Action::Deny, "write", &["/w/.git/hooks/**"], &[]),
            rule("tree", Action::Allow, "write", &["/w/**"], &[]),
        ],
    );
    let (profile, ledger) = lower(&Meaning::new(&policy), None).unwrap();
    for operation in ["file-write-unlink", "file-write-create"] {
        assert!(!allows(&profile, operation, b"/w/.git", true));
        assert!(allows(&profile, operation, b"/w/.git/x", true));
    }
    assert!(allows(&profile, "file-write-data", b"/w/.git/x", false));
    let entry = ledger
        .entries
        .iter()
        .find(|e| e.rule.is_some_and(|r| r.0 == 1) && e.operation == Operation::Delete)
        .unwrap();
    assert_eq!(entry.fidelity, Fidelity::Stricter);
}

#[test]
fn twins_and_quoting() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![Rule::new(
            "n",
            Action::Allow,
            OperationSet::from_word("read").unwrap(),
            Objects::Paths {
                paths: vec![
                    PathPattern::literal(b"/tmp/a\"b\\c\n) (allow default) ;"),
                    PathPattern::tree(b"/var/x"),
                ],
                except: vec![],
            },
        )],
    );
    let text = text(&policy, None);
    assert!(
        text.contains(r#" "/private/tmp/a\"b\\c\n) (allow default) ;")"#),
        "{text}"
    );
    assert!(text.contains(r#"(subpath "/var/x" "/private/var/x")"#));
    let bad = Policy::of_rules(
        "p",
        Action::Deny,
        vec![Rule::new(
            "n",
            Action::Allow,
            OperationSet::from_word("read").unwrap(),
            Objects::Paths {
                paths: vec![PathPattern::literal(b"/\xff")],
                except: vec![],
            },
        )],
    );
    let (profile, ledger) = lower(&Meaning::new(&bad), None).unwrap();
    assert_eq!(
        render(&profile, &bad, &ledger, &Options::default())
            .unwrap_err()
            .items[0]
            .code,
        "E110"
    );
}

#[test]
fn named_hosts_go_through_the_proxy_alone() {
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![connect(Action::Allow, &["tcp://a.org:443", "localhost:80"])],
    );
    let closed = text(&policy, None);
    assert!(closed.contains("(remote tcp \"localhost:80\")") && !closed.contains("a.org:443\")"));
    let open = text(&policy, Some(3128));
    assert!(open.contains("(remote ip \"localhost:3128\")"));
    let fidelity = |proxy, rule: Option<u32>| {
        let (_, ledger) = lower(&Meaning::new(&policy), proxy).unwrap();
        ledger
            .entries
            .iter()
            .find(|e| e.rule.map(|r| r.0) == rule && e.operation == Operation::Connect)
            .unwrap()
            .fidelity
    };
    assert_eq!(fidelity(None, Some(0)), Fidelity::Stricter);
    assert_eq!(fidelity(Some(3128), Some(0)), Fidelity::Exact);
    assert_eq!(
        fidelity(Some(3128), None),
        Fidelity::Looser,
        "the proxy's own port"
    );
}

/// Parentheses must balance outside strings, or the profile does not load.
fn balanced(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped, mut comment) = (0i32, false, false, false);
    for c in text.chars() {
        match (comment, quoted, c) {
            (true, _, '\n') => comment = false,
            (true, ..) => {}
            (_, true, _) if escaped => escaped = false,
            (_, true, '\\') => escaped = true,
            (_, _, '"') => quoted = !quoted,
            (_, false, ';') => comment = true,
            (_, false, '(') => depth += 1,
            (_, false, ')') => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0 && !quoted
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "a*", "?", "[!a]", "**", "\\\"", "\\)"]);
    prop::collection::vec(part, 0..4).prop_map(|c| format!("/{}", c.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_filters_are_what_the_ledger_was_told(
        rules in prop::collection::vec((any::<bool>(), prop::collection::vec(pattern(), 1..3), prop::collection::vec(pattern(), 0..2), prop::sample::select(vec!["read", "list", "write"])), 0..6),
        default_allow in any::<bool>(),
        paths in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "\"", ")", "x"]), 0..4), 1..12),
    ) {
        let rules = rules.iter().enumerate().map(|(i, (allow, p, e, o))| {
            let p: Vec<&str> = p.iter().map(String::as_str).collect();
            let e: Vec<&str> = e.iter().map(String::as_str).collect();
            rule(&format!("r{i}"), if *allow { Action::Allow } else { Action::Deny }, o, &p, &e)
        }).collect();
        let policy = Policy::of_rules("p", if default_allow { Action::Allow } else { Action::Deny }, rules);
        let (profile, ledger) = lower(&Meaning::new(&policy), None).unwrap();
        prop_assert!(balanced(&render(&profile, &policy, &ledger, &Options::default()).unwrap()));
        for path in paths {
            let path = format!("/{}", path.join("/")).into_bytes();
            for (operation, name, directory) in [(Operation::Read, "file-read-data", false), (Operation::List, "file-read-data", true), (Operation::Edit, "file-write-data", false), (Operation::Delete, "file-write-unlink", false)] {
                let policy_says = crate::semantics::decide(&policy, operation, &Object::Path(path.clone()));
                let layer = allows(&profile, name, &path, directory);
                let entry = ledger.entries.iter().find(|e| e.rule == policy_says.rule && e.operation == operation).unwrap();
                let agrees = match entry.fidelity {
                    Fidelity::Exact => layer == policy_says.action.permits(),
                    Fidelity::Stricter => !layer || policy_says.action.permits(),
                    Fidelity::Looser | Fidelity::Unenforced => layer || !policy_says.action.permits(),
                    Fidelity::Mixed => true,
                };
                prop_assert!(agrees, "{operation} {} is {layer}, {:?}", String::from_utf8_lossy(&path), entry);
            }
        }
    }
}

/// `(allow default)` would allow links and clones of files, and the new name would have rights that the file lacks.
#[test]
fn a_second_name_is_refused_where_files_are_told_apart() {
    let text = |rules: Vec<Rule>| {
        let policy = Policy::of_rules("p", Action::Allow, rules);
        let compiled = Sbpl.compile(&Meaning::new(&policy), &Options::default());
        String::from_utf8(compiled.unwrap().artifacts[0].bytes.clone()).unwrap()
    };
    let links = "(deny file-link file-clone)";
    let secret = rule("s", Action::Deny, "read", &["/s/**"], &[]);
    assert!(text(vec![secret]).contains(links));
    assert!(!text(vec![connect(Action::Deny, &["tcp://*:25"])]).contains(links));
    assert!(!text(vec![]).contains(links));
}
