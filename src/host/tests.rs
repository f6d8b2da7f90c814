//! Policies on hosts that are made up, and on one that is real.

use super::{Found, Link, Place, Resolver, View, follow};
use crate::fidelity::Object;
use crate::frontend::{LoadOptions, load};
use crate::policy::{Action, Operation, Policy};
use crate::semantics::decide;
use std::collections::BTreeMap;

/// Links by path; other paths are there or, if they begin with `/gone`, are not.
struct Made(BTreeMap<&'static str, &'static str>);

impl View for Made {
    fn place(&self, path: &[u8]) -> Place {
        let path = std::str::from_utf8(path).unwrap();
        match self.0.get(path) {
            Some(target) => Place::Link(target.as_bytes().to_vec()),
            None if path.starts_with("/gone") => Place::Missing,
            None => Place::Other,
        }
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        path.ends_with(b"/.ssh")
    }
}

fn policy(rules: &str) -> Policy {
    let text = format!(
        "version: 1\nname: t\nsubject: {{home: /home/u, workspace: /home/u/w, tmp: /tmp}}\nrules:\n{rules}"
    );
    load("t.yaml", &text, &LoadOptions::default())
        .unwrap_or_else(|e| panic!("{e}"))
        .policy
}

const ALLOWED: &str =
    "  - {name: all, action: allow, operations: [read, write], paths: ['/home/u/**', '/gone/**', '/data/**']}
  - {name: installed, action: allow, operations: [read], paths: ['/usr/**']}\n";

fn followed(deny: &str, links: &[(&'static str, &'static str)]) -> (Policy, Vec<Link>) {
    let policy = policy(&format!("{deny}{ALLOWED}"));
    follow(policy, &Made(links.iter().copied().collect()))
}

fn read(policy: &Policy, path: &str) -> Action {
    decide(policy, Operation::Read, &Object::Path(path.into())).action
}

fn deny(paths: &str, more: &str) -> String {
    format!("  - {{name: keys, action: deny, operations: [read, write], paths: [{paths}]{more}}}\n")
}

/// Denied patterns, links, and paths that are denied and allowed then.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    &'static [&'static str],
);

#[test]
fn what_a_denied_name_leads_to_is_denied_in_both_names() {
    let cases: &[Case] = &[
        // Relative, absolute, with `..`, and with what is not needed.
        (
            "'~/.aws/**'",
            &[("/home/u/.aws", "dot/aws")],
            &["/home/u/dot/aws", "/home/u/dot/aws/c"],
            &["/home/u/dot/x"],
        ),
        (
            "'~/.aws/**'",
            &[("/home/u/.aws", "/data/aws")],
            &["/data/aws/c"],
            &["/data/x"],
        ),
        (
            "'~/.aws/**'",
            &[("/home/u/.aws", "./w/../w//aws/.")],
            &["/home/u/w/aws/c"],
            &["/home/u/w/x"],
        ),
        (
            "'~/.aws'",
            &[("/home/u/.aws", "w/aws")],
            &["/home/u/w/aws"],
            &["/home/u/w/aws/c"],
        ),
        // In the middle, two of them, one that leads to another.
        (
            "'~/.config/gh/hosts'",
            &[("/home/u/.config", "dot")],
            &["/home/u/dot/gh/hosts"],
            &["/home/u/dot/gh/x"],
        ),
        (
            "'~/.config/gh/hosts'",
            &[("/home/u/.config", "dot"), ("/home/u/dot/gh", "/data/gh")],
            &["/home/u/dot/gh/hosts", "/data/gh/hosts"],
            &["/data/gh/x"],
        ),
        (
            "'~/.aws/**'",
            &[
                ("/home/u/.aws", "w/a"),
                ("/home/u/w/a", "b"),
                ("/home/u/w/b", "/data/c"),
            ],
            &["/home/u/w/a/k", "/home/u/w/b/k", "/data/c/k"],
            &["/home/u/w/c"],
        ),
        // Who replaces `y` changes where the name leads.
        (
            "'~/.aws/**'",
            &[("/home/u/.aws", "w/y/../z"), ("/home/u/w/y", "/data/d/e")],
            &["/home/u/w/y", "/data/d/z/k"],
            &["/home/u/w/z", "/data/d/e"],
        ),
        // What is not there, and a link whose target is not.
        (
            "'~/.aws/**'",
            &[("/home/u/.aws", "/gone/aws")],
            &["/gone/aws/c"],
            &["/gone/x"],
        ),
        // Alternatives, wildcards behind, `**` that is no directory at all.
        (
            "'~/.{aws,azure}/*/k'",
            &[("/home/u/.azure", "w/z")],
            &["/home/u/w/z/q/k"],
            &["/home/u/w/z/k"],
        ),
        (
            "'${workspace}/**/.git/hooks/**'",
            &[("/home/u/w/.git/hooks", "../h")],
            &["/home/u/w/h/x"],
            &["/home/u/w/x"],
        ),
    ];
    for (paths, links, denied, allowed) in cases {
        let (policy, found) = followed(&deny(paths, ""), links);
        assert!(found.iter().all(|l| l.found == Found::Denied), "{found:?}");
        for path in *denied {
            assert_eq!(
                read(&policy, path),
                Action::Deny,
                "{paths} {links:?} {path}"
            );
        }
        for path in *allowed {
            assert_eq!(
                read(&policy, path),
                Action::Allow,
                "{paths} {links:?} {path}"
            );
        }
        // The names stay denied, and every rule has the number of its place.
        assert!(
            policy
                .rules
                .iter()
                .enumerate()
                .all(|(i, r)| r.id.0 as usize == i)
        );
    }
}

#[test]
fn a_derived_rule_is_its_rule_with_the_link() {
    let (policy, links) = followed(
        &deny(
            "'~/.aws/**'",
            ", except: ['~/.aws/config', '/home/u/w/**'], message: no keys",
        ),
        &[("/home/u/.aws", "w/aws")],
    );
    let derived = &policy.rules[1];
    assert_eq!(
        (derived.name.as_str(), derived.message.as_deref()),
        ("keys", Some("no keys"))
    );
    let link = derived.link.as_ref().unwrap();
    assert_eq!(
        link.to_string(),
        "`/home/u/.aws` is a link to `/home/u/w/aws`"
    );
    assert_eq!(links[0].followed, **link);
    // An exception is seen through the link. One that is about the target's own name is not: it is not about this name.
    assert_eq!(read(&policy, "/home/u/w/aws/config"), Action::Allow);
    assert_eq!(read(&policy, "/home/u/w/aws/credentials"), Action::Deny);
    // Nothing is derived where there is no link, of what allows, and of what the rule says already.
    let none = [
        ("'~/.ssh/**'", [("/home/u/.aws", "w/aws")]),
        ("'~/.aws/**', '/data/a/**'", [("/home/u/.aws", "/data/a")]),
    ];
    for (paths, links) in none {
        assert_eq!(
            followed(&deny(paths, ""), &links).0.rules.len(),
            3,
            "{paths}"
        );
    }
    let (policy, links) = followed("", &[("/home/u", "/home/v")]);
    assert!(policy.rules.len() == 2 && links.is_empty());
}

#[test]
fn a_planted_link_does_not_switch_the_program_off() {
    let env = deny("'${workspace}/.env'", "");
    for (target, paths) in [
        ("..", ["/home/u/w/x", "/home/u/x"]),
        (".", ["/home/u/w/x", "/home/u/x"]),
        ("/", ["/home/u/w/x", "/usr/bin/x"]),
        ("/home", ["/home/u/w/x", "/home/u/x"]),
    ] {
        let tree = deny("'${workspace}/.env/**'", "");
        let (policy, links) = followed(&tree, &[("/home/u/w/.env", target)]);
        assert!(
            matches!(links[0].found, Found::Gap(..)),
            "{target} {links:?}"
        );
        for path in paths {
            assert_eq!(read(&policy, path), Action::Allow, "{target} {path}");
        }
    }
    let (policy, links) = followed(&env, &[("/home/u/w/.env", "/usr/lib/libc.so.6")]);
    assert_eq!(links[0].found, Found::Installed);
    assert_eq!(read(&policy, "/usr/lib/libc.so.6"), Action::Allow);
    // A policy that lets programs be changed there is another matter.
    let changes = "  - {name: root, action: allow, operations: [write], paths: ['/usr/**']}\n";
    let hooks = deny("'${workspace}/.git/hooks/**'", "");
    let to_usr = [("/home/u/w/.git/hooks", "/usr/local/hooks")];
    let (policy, _) = followed(&format!("{hooks}{changes}"), &to_usr);
    let made = decide(
        &policy,
        Operation::Create,
        &Object::Path(b"/usr/local/hooks/x".to_vec()),
    );
    assert_eq!(made.action, Action::Deny);
    // Where the policy allows nothing there is nothing to tell.
    let (policy, links) = followed(&env, &[("/home/u/w/.env", "/etc")]);
    assert!(links.is_empty() && policy.rules.len() == 3);
    // Of one's own the same link is followed; so is one from a wide place to another.
    let (policy, _) = followed(
        &deny("'~/.env'", ""),
        &[("/home/u/.env", "/usr/lib/secret")],
    );
    assert_eq!(read(&policy, "/usr/lib/secret"), Action::Deny);
    let (policy, _) = followed(&deny("'/home/**'", ""), &[("/home", "/usr/home")]);
    assert_eq!(read(&policy, "/usr/home/u"), Action::Deny);
}

#[test]
fn a_program_is_denied_by_what_it_is_but_not_all_that_it_is() {
    let rules = "  - {name: edits, action: deny, commands: ['/bin/vi **', '/bin/wget **']}\n  - {name: rest, action: allow, commands: ['/bin/* **']}\n";
    let made = Made(BTreeMap::from([
        ("/bin/vi", "/etc/alternatives/vi"),
        ("/etc/alternatives/vi", "/bin/vim"),
        ("/bin/wget", "busybox"),
    ]));
    let (policy, links) = follow(policy(rules), &made);
    let starts =
        |path: &str| decide(&policy, Operation::Execute, &Object::Path(path.into())).action;
    assert_eq!(starts("/bin/vim"), Action::Deny);
    assert_eq!(starts("/bin/busybox"), Action::Allow);
    assert!(links.iter().any(|l| l.found == Found::ManyPrograms));
}

#[test]
fn loops_and_long_chains_end() {
    let (policy, links) = followed(
        &deny("'~/.a/**', '~/.b/**'", ""),
        &[("/home/u/.a", ".b"), ("/home/u/.b", ".a")],
    );
    assert_eq!(read(&policy, "/home/u/.a/x"), Action::Deny);
    assert!(links.len() < 100);
    let made = Made(BTreeMap::from([("/l", "l/x")]));
    assert_eq!(Resolver::new(&made).resolve(b"/l/y"), None);
}

#[test]
fn a_path_is_resolved_as_the_kernel_does_it() {
    let made = Made(BTreeMap::from([
        ("/a", "b/c"),
        ("/b/c/d", "../../e"),
        ("/self", "self"),
    ]));
    let resolver = Resolver::new(&made);
    let resolve = |p: &str| {
        resolver
            .resolve(p.as_bytes())
            .map(|p| String::from_utf8(p).unwrap())
    };
    assert_eq!(resolve("/a/d/f").as_deref(), Some("/e/f"));
    assert_eq!(resolve("/a/d/../f").as_deref(), Some("/f"));
    assert_eq!(resolve("/").as_deref(), Some("/"));
    assert_eq!(resolve("/self/x"), None);
    let parent = resolver.resolve_parent(b"/a/d").unwrap();
    assert_eq!(parent, b"/b/c/d");
}

#[test]
fn this_host_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    std::os::unix::fs::symlink("real", dir.join("link")).unwrap();
    std::fs::write(dir.join("file"), "").unwrap();
    let resolver = Resolver::new(&super::RealLinks);
    let resolve = |name: &str| {
        let path = dir.join(name).into_os_string().into_encoded_bytes();
        resolver.resolve(&path).unwrap()
    };
    let at = |name: &str| dir.join(name).into_os_string().into_encoded_bytes();
    assert_eq!(resolve("link/x"), at("real/x"));
    assert_eq!(resolve("file/x"), at("file/x"));
    assert_eq!(
        resolver.resolve(b"/proc/self/exe").unwrap(),
        b"/proc/self/exe"
    );
}
