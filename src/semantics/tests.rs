//! The automata against the reference, on random policies, paths and commands.

use super::*;
use crate::fidelity::{Fidelity, Object};
use crate::policy::*;
use proptest::prelude::*;

fn paths(list: &[&str]) -> Vec<PathPattern> {
    list.iter()
        .map(|p| PathPattern::parse(p).unwrap())
        .collect()
}

fn path_rule(
    name: &str,
    action: Action,
    operations: OperationSet,
    include: &[&str],
    except: &[&str],
) -> Rule {
    Rule::new(
        name,
        action,
        operations,
        Objects::Paths {
            paths: paths(include),
            except: paths(except),
        },
    )
}

fn command(program: &str, words: &[&str], rest: bool) -> CommandPattern {
    let base_name = !program.contains('/');
    let text = if base_name {
        format!("/**/{program}")
    } else {
        program.to_owned()
    };
    let words = words
        .iter()
        .map(|w| WordPattern::from_word(w.as_bytes(), &[]))
        .collect();
    CommandPattern {
        text: program.to_owned(),
        program: PathPattern::parse(&text).unwrap(),
        base_name,
        arguments: ArgumentPattern { words, rest },
    }
}

fn component() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["a", "b", ".a", "ab", "aa"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["*", "?", "a*", "*a", "[ab]", "[!a]*", "a?", "{a,b}", "{a/b,b}", "*a*", r"\*", "\\xff"]).prop_map(str::to_owned),
        1 => Just("**".to_owned()),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    prop::collection::vec(component(), 0..4).prop_map(|c| format!("/{}", c.join("/")))
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b".a",
        b"ab",
        b"aa",
        b"ba",
        b"*",
        b"\xff",
        b"x",
        b".",
        b"..",
        b"",
    ]);
    prop::collection::vec(part, 0..5).prop_map(|c| {
        let mut out = Vec::new();
        for part in c {
            out.push(b'/');
            out.extend_from_slice(part);
        }
        if out.is_empty() { b"/".to_vec() } else { out }
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![Action::Allow, Action::Deny, Action::Ask])
}

fn rule() -> impl Strategy<Value = Rule> {
    let patterns = prop::collection::vec(pattern(), 1..3);
    let word = prop::sample::select(vec!["x", "y", "*", "x*"]);
    let commands = prop::collection::vec(
        (
            prop::sample::select(vec!["a", "b", "/a/*", "*", "[!a]"]),
            prop::collection::vec(word, 0..3),
            any::<bool>(),
        )
            .prop_map(|(p, w, rest)| command(p, &w, rest)),
        1..3,
    );
    let excepts = prop::collection::vec(pattern(), 0..2);
    let command_excepts = prop::collection::vec(
        (
            prop::sample::select(vec!["a", "*"]),
            prop::sample::select(vec!["x", "y*"]),
            any::<bool>(),
        )
            .prop_map(|(p, w, rest)| command(p, &[w], rest)),
        0..2,
    );
    prop_oneof![
        (action(), patterns, excepts, any::<bool>()).prop_map(|(action, p, e, execute)| {
            let operations = if execute { "execute" } else { "read" };
            let p: Vec<&str> = p.iter().map(String::as_str).collect();
            let e: Vec<&str> = e.iter().map(String::as_str).collect();
            path_rule(
                "r",
                action,
                OperationSet::from_word(operations).unwrap(),
                &p,
                &e,
            )
        }),
        (action(), commands, command_excepts).prop_map(|(action, commands, except)| {
            let operations = OperationSet::from_word("execute").unwrap();
            Rule::new(
                "r",
                action,
                operations,
                Objects::Commands { commands, except },
            )
        }),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    (prop::collection::vec(rule(), 0..6), any::<bool>()).prop_map(|(rules, allow)| {
        Policy::of_rules("p", if allow { Action::Allow } else { Action::Deny }, rules)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn automata_decide_as_the_reference(policy in policy(), paths in prop::collection::vec(path(), 1..20)) {
        let meaning = Meaning::new(&policy);
        for path in &paths {
            let canonical = path == b"/" || path[1..].split(|b| *b == b'/').all(|c| !matches!(c, b"" | b"." | b".."));
            for operation in [Operation::Read, Operation::Execute] {
                let decisions = meaning.decisions(operation).unwrap();
                let verdict = decisions.verdict(path).map(|v| v.decision);
                prop_assert_eq!(verdict.is_some(), canonical);
                if canonical {
                    prop_assert_eq!(verdict, Some(decide(&policy, operation, &Object::Path(path.clone()))));
                }
            }
        }
    }

    #[test]
    fn a_program_is_allowed_exactly_if_some_arguments_are(policy in policy(), path in path(), arguments in prop::collection::vec(prop::sample::select(vec!["x", "y", "xy", "z", ""]), 0..3)) {
        let meaning = Meaning::new(&policy);
        let decisions = meaning.decisions(Operation::Execute).unwrap();
        if let Some(verdict) = decisions.verdict(&path) {
            let mut words = vec![path.clone()];
            words.extend(arguments.iter().map(|a| a.as_bytes().to_vec()));
            let decided = decide(&policy, Operation::Execute, &Object::Command(words));
            if decided.action.permits() {
                prop_assert!(verdict.decision.action.permits());
            }
            for (decision, arguments) in verdict.command.iter().flat_map(|c| &c.parts) {
                let mut words = vec![path.clone()];
                words.extend(arguments.iter().cloned());
                prop_assert_eq!(*decision, decide(&policy, Operation::Execute, &Object::Command(words)));
            }
        }
    }

    #[test]
    fn the_ledger_tells_every_difference(policy in policy(), other in policy()) {
        // The other policy plays a layer.
        let meaning = Meaning::new(&policy);
        let layer = Meaning::new(&other);
        let allowed = layer.decisions(Operation::Read).unwrap().allowed().clone();
        let mut builder = LedgerBuilder::new(&meaning, "test");
        builder.paths(Operation::Read, &allowed, &|_, _| "because".into()).unwrap();
        let ledger = builder.finish();
        let mine = meaning.decisions(Operation::Read).unwrap().allowed();
        let equal = mine.difference_witness(&allowed).unwrap().is_none();
        let exact = ledger.entries.iter().all(|e| e.fidelity == Fidelity::Exact);
        prop_assert_eq!(equal, exact);
        for entry in &ledger.entries {
            prop_assert_eq!(entry.witnesses.is_empty(), entry.fidelity == Fidelity::Exact);
            for w in &entry.witnesses {
                let decided = decide(&policy, entry.operation, &w.object);
                prop_assert_eq!(decided, Decision { action: w.policy, rule: entry.rule });
                let Object::Path(p) = &w.object else { panic!() };
                prop_assert_eq!(allowed.contains(p), w.layer_allows);
                prop_assert_ne!(w.layer_allows, decided.action.permits());
            }
        }
    }

    #[test]
    fn host_regions_decide_as_the_reference(
        rules in prop::collection::vec((action(), prop::collection::vec(host(), 1..3), prop::collection::vec(host(), 0..2)), 0..5),
        questions in prop::collection::vec((address(), prop::sample::select(vec![0u16, 1, 79, 80, 81, 443, 65535])), 1..20),
    ) {
        let rules = rules.into_iter().map(|(action, h, e)| {
            let hosts = h.iter().map(|t| HostPattern::parse(t).unwrap()).collect();
            let except = e.iter().map(|t| HostPattern::parse(t).unwrap()).collect();
            Rule::new("r", action, OperationSet::from_word("connect").unwrap(), Objects::Hosts { hosts, except })
        }).collect();
        let policy = Policy::of_rules("p", Action::Deny, rules);
        let space = HostSpace::new(&policy, Operation::Connect);
        for region in space.regions() {
            prop_assert_eq!(decide(&policy, Operation::Connect, &Object::Host(region.sample.clone())), region.decision);
        }
        for (address, port) in questions {
            for protocol in Protocol::ALL {
                let hits: Vec<_> = space.regions().iter().filter(|r| r.protocol == protocol && r.ports.contains(port) && match (&r.peers, &address) {
                    (Peers::Addresses(a, b), Address::Ip(ip)) => a.is_ipv4() == ip.is_ipv4() && a <= ip && ip <= b,
                    (Peers::Name(n), Address::Name(m)) => n == m,
                    _ => false,
                }).collect();
                if matches!(address, Address::Ip(_)) || !hits.is_empty() {
                    prop_assert_eq!(hits.len(), 1);
                    let object = Object::Host(HostSpec { protocol: Some(protocol), address: address.clone(), port });
                    prop_assert_eq!(decide(&policy, Operation::Connect, &object), hits[0].decision);
                }
            }
        }
    }
}

fn host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "*",
        "*:80",
        "a.org",
        "a.org:80-443",
        "*.org",
        "*.a.org:443",
        "10.0.0.0/8",
        "10.1.0.0/16:80",
        "udp://10.1.2.3:1",
        "localhost",
        "localhost:80",
        "::/0",
        "[fe80::/10]:443",
        "tcp://host.example",
        "*.example",
        "0.0.0.0/0:*",
    ])
}

fn address() -> impl Strategy<Value = Address> {
    prop::sample::select(vec![
        "a.org",
        "localhost",
        "10.0.0.0",
        "10.1.2.3",
        "10.1.2.4",
        "11.0.0.0",
        "127.0.0.1",
        "::1",
        "fe80::1",
        "255.255.255.255",
        "0.0.0.0",
        "::",
        "host.example",
    ])
    .prop_map(|t| {
        t.parse()
            .map_or_else(|_| Address::Name(t.to_owned()), Address::Ip)
    })
}

#[test]
fn a_partial_command_is_looser_at_the_program() {
    let run = |name, action, c| {
        Rule::new(
            name,
            action,
            OperationSet::from_word("execute").unwrap(),
            Objects::Commands {
                commands: vec![c],
                except: vec![],
            },
        )
    };
    let policy = Policy::of_rules(
        "p",
        Action::Deny,
        vec![
            run("no-push", Action::Ask, command("git", &["push"], true)),
            run("git", Action::Allow, command("git", &[], true)),
            run("one", Action::Allow, command("ls", &["-l"], false)),
        ],
    );
    let meaning = Meaning::new(&policy);
    let allowed = meaning
        .decisions(Operation::Execute)
        .unwrap()
        .allowed()
        .clone();
    assert!(
        allowed.contains(b"/usr/bin/git")
            && allowed.contains(b"/bin/ls")
            && !allowed.contains(b"/bin/rm")
    );
    let mut builder = LedgerBuilder::new(&meaning, "test");
    builder
        .paths(Operation::Execute, &allowed, &|_, _| "never".into())
        .unwrap();
    let ledger = builder.finish();
    let of = |rule: Option<u32>| {
        ledger
            .entries
            .iter()
            .find(|e| e.rule == rule.map(RuleId) && e.operation == Operation::Execute)
            .unwrap()
    };
    assert_eq!(of(Some(0)).fidelity, Fidelity::Looser);
    assert!(
        of(Some(0)).witnesses[0]
            .object
            .to_string()
            .ends_with("/git push")
    );
    assert_eq!(of(Some(1)).fidelity, Fidelity::Exact);
    assert_eq!(
        of(None).fidelity,
        Fidelity::Looser,
        "ls without -l is the default's"
    );
}

/// Patterns over bytes, of which some go on behind a `/` within a run.
fn step_pattern() -> impl Strategy<Value = Vec<Step>> {
    let mut name = ByteSet::ALL;
    name.remove(b'/');
    name.remove(0);
    let mut not_a = ByteSet::ALL;
    not_a.remove(b'a');
    let step = prop_oneof![
        4 => prop::sample::select(b"/ab.".as_slice()).prop_map(Step::Byte),
        2 => Just(Step::Byte(b'/')),
        1 => Just(Step::Set(name)),
        1 => Just(Step::Set(ByteSet::ALL)),
        1 => Just(Step::Star(name)),
        1 => Just(Step::Star(ByteSet::ALL)),
        1 => Just(Step::Star(not_a)),
        1 => Just(Step::AnyDepth),
    ];
    // A run of names ends where a name does: what follows it begins with `/`.
    let joined = |steps: Vec<Step>| {
        let mut out: Vec<Step> = Vec::new();
        for step in steps {
            let name = !matches!(step, Step::Byte(b'/') | Step::AnyDepth);
            if name && out.last() == Some(&Step::AnyDepth) {
                out.push(Step::Byte(b'/'));
            }
            out.push(step);
        }
        out
    };
    prop::collection::vec(step, 0..7).prop_map(joined)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Sets that share an automaton are those that each is alone.
    #[test]
    fn a_family_is_its_members(
        cases in prop::collection::vec(
            (prop::collection::vec(pattern(), 1..3), prop::collection::vec(pattern(), 0..2), 1u16..8, any::<bool>()),
            0..7,
        ),
        default in any::<bool>(),
    ) {
        let sequences = |texts: &[String]| -> Vec<Sequence> {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            paths(&texts).into_iter().flat_map(|p| p.sequences).collect()
        };
        let cases: Vec<_> = cases
            .iter()
            .map(|(i, e, sets, allows)| (sequences(i), sequences(e), *sets, *allows))
            .collect();
        let together = cases.iter().map(|(include, except, sets, allows)| Case {
            include,
            except,
            sets: *sets,
            allows: *allows,
        });
        let family: [PathSet; 3] = PathSet::family(together, default).unwrap();
        for (i, member) in family.iter().enumerate() {
            let own = cases.iter().filter(|c| c.2 >> i & 1 == 1);
            let own = own.map(|(include, except, _, allows)| (include.as_slice(), except.as_slice(), *allows));
            let alone = PathSet::first_match_except(own, default).unwrap();
            prop_assert_eq!(member.difference_witness(&alone).unwrap(), None);
        }
        let [a, b, _] = family;
        let (both, apart) = (a.intersection(&b).unwrap(), a.complement().complement());
        prop_assert_eq!(both.difference_witness(&b.difference(&b.difference(&apart).unwrap()).unwrap()).unwrap(), None);
    }

    /// Sets of patterns over bytes, alone and combined, against each pattern against the bytes.
    #[test]
    fn sets_of_byte_patterns_match_as_their_patterns(
        cases in prop::collection::vec(
            (prop::collection::vec(step_pattern(), 0..3), prop::collection::vec(step_pattern(), 0..2), any::<bool>()),
            0..4,
        ),
        other in prop::collection::vec(step_pattern(), 0..3),
        paths in prop::collection::vec("(/[ab.c]{1,3}){0,4}", 20),
    ) {
        let list = cases.iter().map(|(i, e, a)| (i.as_slice(), e.as_slice(), *a));
        let set = PathSet::first_match_except(list, false).unwrap();
        let none: &[Vec<Step>] = &[];
        let second = PathSet::first_match_except([(other.as_slice(), none, true)], false).unwrap();
        let valid = |p: &str| p.split('/').skip(1).all(|c| !matches!(c, "." | ".."));
        let matches = |list: &[Vec<Step>], p: &str| list.iter().any(|s| steps_match(s, p.as_bytes()));
        let member = |p: &str| cases
            .iter()
            .find(|(i, e, _)| matches(i, p) && !matches(e, p))
            .is_some_and(|c| c.2);
        let (both, minus) = (set.intersection(&second).unwrap(), set.difference(&second).unwrap());
        for p in paths.iter().filter(|p| valid(p)) {
            let asked = if p.is_empty() { "/" } else { p.as_str() }.as_bytes();
            let (mine, theirs) = (member(p), matches(&other, p));
            prop_assert_eq!(set.contains(asked), mine, "{}", p);
            prop_assert_eq!(second.contains(asked), theirs, "{}", p);
            prop_assert_eq!(both.contains(asked), mine && theirs, "{}", p);
            prop_assert_eq!(minus.contains(asked), mine && !theirs, "{}", p);
            if mine {
                prop_assert!(!set.is_empty());
            }
            if mine && !theirs {
                let path = set.excess_witness(&second).unwrap();
                prop_assert!(path.is_some_and(|p| set.contains(&p) && !second.contains(&p)));
            }
        }
    }
}

#[test]
fn no_name_leads_back_to_the_root() {
    let all = PathSet::all();
    let dfa = all.dfa();
    let below = dfa.enter(dfa.start(), b"a").unwrap();
    assert_ne!(below, dfa.start());
    assert_eq!(dfa.enter(below, b"b"), Some(below));
}
