//! Policies on made-up hosts, and on a real one.

use super::{Entry, FileOnDisk, Followed, Found, Link, Place, Resolver, View, follow};
use crate::fidelity::Object;
use crate::frontend::{LoadOptions, load};
use crate::policy::{Action, Operation, Policy};
use crate::semantics::decide;
use std::collections::{BTreeMap, BTreeSet};

/// Links by path. Other paths exist, unless they begin with `/gone`.
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

    fn entries(&self, directory: &[u8], _: usize) -> Vec<(Vec<u8>, Entry)> {
        let in_it = self.0.keys().filter_map(|path| {
            let (above, name) = path.rsplit_once('/')?;
            (above.as_bytes() == directory).then(|| (name.as_bytes().to_vec(), Entry::Link))
        });
        in_it.collect()
    }

    fn file(&self, _: &[u8]) -> Option<FileOnDisk> {
        None
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
    let (policy, followed) = follow(policy, &Made(links.iter().copied().collect()));
    (policy, followed.links)
}

fn read(policy: &Policy, path: &str) -> Action {
    decide(policy, Operation::Read, &Object::Path(path.into())).action
}

fn deny(paths: &str, more: &str) -> String {
    format!("  - {{name: keys, action: deny, operations: [read, write], paths: [{paths}]{more}}}\n")
}

/// Denied patterns, links, and the paths that are then denied and allowed.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    &'static [&'static str],
);

#[test]
fn what_a_denied_name_leads_to_is_denied_in_both_names() {
    let cases: &[Case] = &[
        // Links that are relative, absolute, with `..`, and with unnecessary parts.
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
        // Links in the middle, two links, and one that leads to another.
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
        // A program that replaces `y` changes where the name leads.
        (
            "'~/.aws/**'",
            &[("/home/u/.aws", "w/y/../z"), ("/home/u/w/y", "/data/d/e")],
            &["/home/u/w/y", "/data/d/z/k"],
            &["/home/u/w/z", "/data/d/e"],
        ),
        // A target that does not exist, and a link whose target does not.
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
        // The names stay denied, and every rule's number is its place.
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
    // An exception applies through the link. One for the target's own name does not, because it is not for this name.
    assert_eq!(read(&policy, "/home/u/w/aws/config"), Action::Allow);
    assert_eq!(read(&policy, "/home/u/w/aws/credentials"), Action::Deny);
    // Nothing is derived without a link, from a rule that allows, or if the rule already contains it.
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
    // This is different if the policy permits changing programs there.
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
    // The policy allows nothing there, so there is nothing to report.
    let (policy, links) = followed(&env, &[("/home/u/w/.env", "/etc")]);
    assert!(links.is_empty() && policy.rules.len() == 3);
    // The same link is followed if the user made it. A link from one large directory to another is followed too.
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
    assert!(links.links.iter().any(|l| l.found == Found::ManyPrograms));
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

/// A home directory that exists, and the policy of these rules for it. The policy allows everything in `projects`.
fn at_home(rules: &str, make: impl Fn(&std::path::Path)) -> (tempfile::TempDir, Policy, Followed) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().canonicalize().unwrap();
    std::fs::create_dir_all(home.join("projects/sub")).unwrap();
    make(&home);
    let at = home.display();
    let text = format!(
        "version: 1\nname: t\nsubject: {{home: {at}, workspace: {at}/projects/w, tmp: /nowhere}}\nrules:\n{rules}  - {{name: all, action: allow, operations: [read, write], paths: ['~/projects/**']}}\n"
    );
    let policy = load("t.yaml", &text, &LoadOptions::default())
        .unwrap_or_else(|e| panic!("{e}"))
        .policy;
    let (policy, followed) = follow(policy, &super::RealLinks);
    (folder, policy, followed)
}

#[test]
fn links_beneath_a_denied_directory_are_followed() {
    use std::os::unix::fs::symlink;
    let rules = deny(
        "'~/.aws/**', '~/.ssh/id_*', '~/.big/*/key'",
        ", except: ['~/.aws/open/**']",
    );
    let (folder, policy, followed) = at_home(&rules, |home| {
        for made in [".aws/deep/er", ".aws/open", ".ssh", ".big", "elsewhere"] {
            std::fs::create_dir_all(home.join(made)).unwrap();
        }
        for (target, link) in [
            ("../projects/credentials", ".aws/credentials"),
            ("../../../projects/sub", ".aws/deep/er/sub"),
            ("../far", "projects/sub/further"),
            ("../projects/gone", ".aws/dangling"),
            ("../projects/kept", ".aws/open/kept"),
            ("../elsewhere", ".aws/elsewhere"),
            ("..", ".aws/up"),
            (".", ".aws/deep/loop"),
            ("../projects/id", ".ssh/id_work"),
            ("../projects/other", ".ssh/other"),
            ("../projects/big", ".big/one"),
        ] {
            symlink(target, home.join(link)).unwrap();
        }
        for file in ["credentials", "kept", "id", "other", "far"] {
            std::fs::write(home.join("projects").join(file), "").unwrap();
        }
        std::fs::create_dir_all(home.join("projects/big")).unwrap();
    });
    let home = folder.path().canonicalize().unwrap();
    for (name, action) in [
        ("credentials", Action::Deny),
        ("sub/x", Action::Deny),
        ("far", Action::Deny),
        ("gone", Action::Deny),
        ("gone/x", Action::Deny),
        ("id", Action::Deny),
        ("big/key", Action::Deny),
        ("big/x", Action::Allow),
        ("kept", Action::Allow),
        ("other", Action::Allow),
        ("w/x", Action::Allow),
    ] {
        let path = home.join("projects").join(name);
        assert_eq!(read(&policy, path.to_str().unwrap()), action, "{name}");
    }
    // A target where the policy allows nothing is not reported. One that cannot be denied as a whole stops no program.
    let told: Vec<(bool, bool)> = followed
        .links
        .iter()
        .map(|l| (l.beneath, matches!(l.found, Found::Gap(..))))
        .collect();
    assert!(told.iter().all(|(beneath, _)| *beneath), "{followed:?}");
    assert_eq!(told.iter().filter(|(_, gap)| *gap).count(), 1);
    let none = |l: &Link| !l.followed.real.ends_with(b"/elsewhere");
    assert!(followed.links.iter().all(none));
}

#[test]
fn another_name_of_a_denied_file_is_told() {
    let rules = deny("'~/.ssh/**', '~/.aws/credentials'", "");
    let (folder, _, followed) = at_home(&rules, |home| {
        for made in [".ssh", ".aws"] {
            std::fs::create_dir_all(home.join(made)).unwrap();
        }
        for (file, other) in [
            (".ssh/id", "projects/id"),
            (".aws/credentials", "projects/sub/credentials"),
            // Both names are denied.
            (".ssh/one", ".ssh/two"),
            (".aws/config", "projects/config"),
        ] {
            std::fs::write(home.join(file), "").unwrap();
            std::fs::hard_link(home.join(file), home.join(other)).unwrap();
        }
    });
    let home = folder.path().canonicalize().unwrap();
    let at = |name: &str| home.join(name).into_os_string().into_encoded_bytes();
    let told: BTreeSet<Vec<u8>> = followed.other_names.into_iter().collect();
    let expected = BTreeSet::from([at(".ssh/id"), at(".aws/credentials")]);
    assert_eq!(told, expected);
}

#[test]
fn a_denied_directory_with_very_much_in_it_is_told() {
    let rules = deny("'~/.big/**', '~/.small/**'", "")
        + "  - {name: tools, action: deny, operations: [write], paths: ['~/.tools/**']}\n";
    let (folder, policy, followed) = at_home(&rules, |home| {
        for made in [".big", ".small", ".tools/deep"] {
            std::fs::create_dir_all(home.join(made)).unwrap();
        }
        // A directory that may be read is only searched at its first level, and nothing is reported.
        for i in 0..1_001 {
            std::fs::write(home.join(format!(".tools/deep/{i}")), "").unwrap();
        }
        std::os::unix::fs::symlink("../projects/tool", home.join(".tools/tool")).unwrap();
        std::fs::write(home.join("projects/tool"), "").unwrap();
        for i in 0..1_001 {
            std::fs::write(home.join(format!(".big/{i}")), "").unwrap();
        }
        std::os::unix::fs::symlink("../projects/x", home.join(".small/x")).unwrap();
        std::fs::write(home.join("projects/x"), "").unwrap();
    });
    let home = folder.path().canonicalize().unwrap();
    let big = home.join(".big").into_os_string().into_encoded_bytes();
    assert_eq!(followed.unseen, [big]);
    assert_eq!(
        read(&policy, home.join("projects/x").to_str().unwrap()),
        Action::Deny
    );
    let tool = Object::Path(
        home.join("projects/tool")
            .into_os_string()
            .into_encoded_bytes(),
    );
    let edit = decide(&policy, Operation::Edit, &tool).action;
    assert_eq!(edit, Action::Deny);
}
