//! Profiles that were written by hand. `tests/native/apparmor/reading.rs` also asks the parser's own automaton what
//! they mean.

use super::{Reading, read, recognises};
use crate::backend::apparmor::AppArmor;
use crate::backend::{Artifact, Backend, Evaluate, Form, OnPaths, Options};
use crate::fidelity::Object;
use crate::frontend::{LoadOptions, load};
use crate::policy::{Address, HostSpec, Operation, Protocol};
use crate::proof::{compare, disagreements};
use crate::semantics::Meaning;
use proptest::prelude::*;

fn artifact(text: &[u8]) -> Artifact {
    Artifact {
        file_name: "hand.apparmor".to_owned(),
        bytes: text.to_vec(),
    }
}

fn whole(rules: &str) -> String {
    format!("abi <abi/3.0>,\nprofile t {{\n{rules}\n}}\n")
}

fn reading(rules: &str) -> Reading {
    match read(&artifact(whole(rules).as_bytes())) {
        Ok(reading) => reading,
        Err(e) => panic!("{rules}: {e}"),
    }
}

/// Whether every way of an operation is open on the file or the directory.
fn every_way(reading: &Reading, operation: Operation, form: Form, path: &str) -> bool {
    let OnPaths::Allows(all) = reading.paths(operation).unwrap() else {
        panic!("silent");
    };
    all.iter()
        .filter(|a| a.form == form)
        .all(|a| a.paths.contains(path.as_bytes()))
}

/// Names of directories end in `/`.
fn reads(reading: &Reading, name: &str) -> bool {
    match name.strip_suffix('/') {
        None => every_way(reading, Operation::Read, Form::File, name),
        Some("") => every_way(reading, Operation::List, Form::Directory, "/"),
        Some(path) => every_way(reading, Operation::List, Form::Directory, path),
    }
}

#[test]
fn globs() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "/a/**",
            &["/a/x", "/a/x/", "/a/.x/y"],
            &["/a", "/a/", "/ab", "/"],
        ),
        (
            "/a/*",
            &["/a/x", "/a/.x"],
            &["/a/", "/a/x/", "/a/x/y", "/a"],
        ),
        ("/a/*/", &["/a/x/"], &["/a/x", "/a/", "/a/x/y/"]),
        (
            "/a{,/,/**}",
            &["/a", "/a/", "/a/x/y", "/a/x/"],
            &["/ab", "/b"],
        ),
        ("/a/{,**}", &["/a/", "/a/x", "/a/x/y/"], &["/a", "/ab"]),
        ("/a**", &["/a", "/a/", "/ab", "/ab/c"], &["/b", "/"]),
        (
            "/a/**/b",
            &["/a/x/b", "/a/x/y/b"],
            &["/a/b", "/a/x/b/", "/a/xb"],
        ),
        (
            "/a/{,**/}b",
            &["/a/b", "/a/x/b", "/a/x/y/b"],
            &["/a/b/", "/ab", "/a/xb"],
        ),
        ("/**", &["/a", "/a/", "/a/b"], &["/"]),
        ("/{,**}", &["/a", "/a/", "/"], &[]),
        ("/{,**/}", &["/a/", "/", "/a/b/"], &["/a", "/a/b"]),
        ("/**[^/]", &["/a", "/a/b"], &["/a/", "/"]),
        ("/", &["/"], &["/a", "/a/"]),
        ("/d?", &["/dx"], &["/d", "/d/", "/dxx", "/dx/"]),
        ("/e[xy]", &["/ex", "/ey"], &["/ez", "/e", "/exy"]),
        ("/e[a-c0]z", &["/eaz", "/ecz", "/e0z"], &["/edz", "/e-z"]),
        ("/e[-a]", &["/e-", "/ea"], &["/eb"]),
        ("/f[^x]", &["/fy", "/f/"], &["/fx", "/fyy"]),
        ("/f[^-/x]", &["/fy"], &["/fx", "/f-", "/f/"]),
        (
            "/{b,c{d,}}/e",
            &["/b/e", "/cd/e", "/c/e"],
            &["/d/e", "/bc/e"],
        ),
        ("/x,y", &["/x,y"], &["/x", "/y"]),
        ("/a//b", &["/a/b"], &["/a"]),
        ("//b", &[], &["/b"]),
        ("/x.y+(z)|$^", &["/x.y+(z)|$^"], &["/xzy+(z)|$^"]),
        ("/a#b", &["/a#b"], &["/a"]),
        (r#""/q/\040\042\n""#, &["/q/ \"\n"], &["/q/ \"", "/q/x"]),
        (r#""/q/ y""#, &["/q/ y"], &["/q/y"]),
        (r"/q/\*", &["/q/*"], &["/q/x", "/q/"]),
        (r"/q/\052", &["/q/*"], &["/q/x"]),
        (r"/q/\[a\]", &["/q/[a]"], &["/q/a"]),
        (r"/q/\{a\,b\}", &["/q/{a,b}"], &["/q/a", "/q/b"]),
        (r"/q/{\,,\},x}", &["/q/,", "/q/}", "/q/x"], &["/q/"]),
        (r"/q/\\y", &["/q/\\y"], &["/q/y"]),
        (r"/q/\x41\d066", &["/q/AB"], &["/q/x41"]),
        (r"/q/[\]\\]", &["/q/]", "/q/\\"], &["/q/a"]),
        (r"/q/[,]", &["/q/,"], &["/q/\\", "/q/a"]),
        (r"/q/[\054]", &["/q/,", "/q/\\"], &["/q/a"]),
        (r"/q\057y", &["/q/y"], &["/qy"]),
    ];
    for (pattern, members, others) in cases {
        let reading = reading(&format!("{pattern} rmk,"));
        for name in *members {
            assert!(reads(&reading, name), "{pattern} and {name}");
        }
        for name in *others {
            assert!(!reads(&reading, name), "{pattern} and {name}");
        }
    }
}

#[test]
fn bytes_that_are_no_text() {
    let reading = reading(r#""/q/\377" rm,"#);
    let on = |path: &[u8]| reading.allows(Operation::Read, &Object::Path(path.to_vec()));
    assert_eq!(on(b"/q/\xff"), Some(true));
    assert_eq!(on(b"/q/\xfe"), Some(false));
}

#[test]
fn deny_wins_whatever_the_order() {
    for rules in [
        "/a/** rwk,\ndeny /a/s/** w,\ndeny /a/s/k r,",
        "audit deny /a/s/k r, deny w /a/s/**,\n  allow file rwk /a/**,",
    ] {
        let reading = reading(rules);
        let on = |o, path| every_way(&reading, o, Form::File, path);
        for (path, read, edit) in [
            ("/a/x", true, true),
            ("/a/s", true, true),
            ("/a/s/x", true, false),
            ("/a/s/k", false, false),
        ] {
            // Without `m` it can be read, but not mapped.
            assert!(!on(Operation::Read, path), "{path}");
            let some = reading.allows(Operation::Read, &Object::Path(path.into()));
            assert_eq!(some, Some(read), "{path}");
            assert_eq!(on(Operation::Edit, path), edit, "{path}");
        }
        let denied = reading
            .clause(Operation::Edit, &Object::Path(b"/a/s/x".to_vec()))
            .unwrap();
        assert!(denied.text.contains("/a/s/**"), "{denied:?}");
    }
}

#[test]
fn what_a_letter_is_for() {
    let r =
        reading("/w/** wk,\n/a/* ak,\n/x/* ix,\n/m/** rmk,\n/n/** rwm,\n/wr/{,**} rw,\n/l/* l,");
    let on = |o, form, path| every_way(&r, o, form, path);
    let some = |o, path: &str| r.allows(o, &Object::Path(path.into())).unwrap();
    for o in [Operation::Create, Operation::Delete] {
        assert!(on(o, Form::File, "/w/x") && on(o, Form::Directory, "/w/x"));
        assert!(!on(o, Form::Directory, "/w") && !on(o, Form::File, "/a/x"));
    }
    assert!(on(Operation::Edit, Form::File, "/w/x"));
    // A file that cannot be locked lacks a way.
    for o in [Operation::Read, Operation::Edit] {
        assert!(!on(o, Form::File, "/n/x") && some(o, "/n/x"), "{o:?}");
    }
    // Appending is one way to change contents, but not every way.
    assert!(!on(Operation::Edit, Form::File, "/a/x") && some(Operation::Edit, "/a/x"));
    assert!(some(Operation::Execute, "/x/p") && !some(Operation::Execute, "/m/p"));
    assert!(on(Operation::Read, Form::File, "/m/x") && !some(Operation::Read, "/x/p"));
    assert!(some(Operation::Create, "/l/x") && !some(Operation::Edit, "/l/x"));
    // Nothing asks about times.
    assert!(some(Operation::Metadata, "/zzz"));
    assert!(!on(Operation::Metadata, Form::File, "/m/x"));
    // Moving an object away also reads it.
    assert!(on(Operation::Delete, Form::Moved, "/wr/x"));
    assert!(!on(Operation::Delete, Form::Moved, "/w/x"));
    assert!(matches!(r.paths(Operation::Connect), Ok(OnPaths::Silent)));
    assert_eq!(
        r.allows(Operation::Syscall, &Object::Syscall("bpf".into())),
        None
    );
}

#[test]
fn what_owners_may_is_not_what_all_may() {
    let r = reading("owner /h/** rwmk,\n/h/pub/** rmk,\ndeny owner /h/pub/no r,");
    assert!(
        r.allows(Operation::Read, &Object::Path(b"/h/x".to_vec()))
            .unwrap()
    );
    assert!(!every_way(&r, Operation::Read, Form::File, "/h/x"));
    assert!(every_way(&r, Operation::Read, Form::File, "/h/pub/x"));
    assert!(!every_way(&r, Operation::Read, Form::File, "/h/pub/no"));
}

#[test]
fn everything_but() {
    let r = reading("file,\ndeny /s{,/,/**} rw,");
    for o in [Operation::Read, Operation::Edit, Operation::Execute] {
        assert!(every_way(&r, o, Form::File, "/x"), "{o:?}");
    }
    assert!(every_way(&r, Operation::List, Form::Directory, "/"));
    assert!(!every_way(&r, Operation::Read, Form::File, "/s/x"));
    assert!(!every_way(&r, Operation::List, Form::Directory, "/s"));
}

#[test]
fn variables() {
    let text = "abi <abi/3.0>,\ninclude <tunables/global>\n@{A} = /x \"/y z\"\n@{A} += /w/ # more\n@{B}=@{A}/b\nprofile t {\n  @{B}/* rmk,\n}\n";
    let r = read(&artifact(text.as_bytes())).unwrap();
    for (name, member) in [
        ("/x/b/1", true),
        ("/y z/b/1", true),
        ("/w/b/1", true),
        ("/x/1", false),
        ("/x/b", false),
    ] {
        assert_eq!(reads(&r, name), member, "{name}");
    }
}

#[test]
fn sockets() {
    let host = |address: &str, protocol| {
        Object::Host(HostSpec {
            protocol: Some(protocol),
            address: Address::Ip(address.parse().unwrap()),
            port: 443,
        })
    };
    let r =
        reading("network inet stream,\nnetwork inet6,\ndeny network inet6 stream,\nnetwork unix,");
    for (address, protocol, may) in [
        ("1.2.3.4", Protocol::Tcp, true),
        ("1.2.3.4", Protocol::Udp, false),
        ("2001:db8::1", Protocol::Tcp, false),
        ("2001:db8::1", Protocol::Udp, true),
    ] {
        for o in [Operation::Connect, Operation::Bind] {
            assert_eq!(
                r.allows(o, &host(address, protocol)),
                Some(may),
                "{address}"
            );
        }
    }
    let none = reading("/x r,");
    assert_eq!(
        none.allows(Operation::Connect, &host("1.2.3.4", Protocol::Tcp)),
        Some(false)
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    for rules in [
        "include <abstractions/base>",
        "#include <abstractions/base>",
        "include if exists <local/x>",
        "/x px,",
        "/x Cx -> y,",
        "/x ux,",
        "/x x,",
        "deny /x ix,",
        "/x rz,",
        "/x wa,",
        "/x R,",
        "/x ,",
        "/x r",
        "x r,",
        "owner deny /x r,",
        "deny audit /x r,",
        "priority=1 /x r,",
        "change_profile -> x,",
        "link /a -> /b,",
        "mount /dev/sda -> /mnt,",
        "network tcp,",
        "network inet stream extra,",
        "capability sys_admin everything,",
        "set rlimit nproc < 3,",
        "signal (send, fly),",
        "unix (send) colour=red,",
        "@{HOME}/x r,",
        "deny file,",
        "profile child { /x r, }",
        "^hat { /x r, }",
        "/x/{a} r,",
        "/x/{a,b r,",
        "/x/a} r,",
        "/x/[a r,",
        "/x/[] r,",
        "/x/[]a] r,",
        "/x/[a-] r,",
        "/x/[a-c-e] r,",
        r"/x/[a\-z] r,",
        r"/x/[\^a] r,",
        r"/x/[a\055] r,",
        r"/x\y r,",
        r"/x\\ r,",
        "\"/x\\\\\" r,",
        r"/x\0 r,",
        r"/x\000 r,",
        r"/x\400 r,",
        "/x/[*] r,",
        "\"/x r,",
    ] {
        match read(&artifact(whole(rules).as_bytes())) {
            Ok(_) => panic!("took {rules}"),
            Err(d) => {
                assert_eq!(d.items[0].code, "E115", "{rules}");
                assert!(d.to_string().contains("`hand.apparmor`, line "), "{d}");
            }
        }
    }
    for text in [
        "profile t { /x r, }",
        "abi <abi/2.0>,\nprofile t { /x r, }",
        "abi <abi/3.0>,\nprofile t flags=(complain) { /x r, }",
        "abi <abi/3.0>,\nprofile t flags=(unconfined) { }",
        "abi <abi/3.0>,\nprofile t xattrs=(a=b) { }",
        "abi <abi/3.0>,\nprofile t { } profile u { }",
        "abi <abi/3.0>,\nprofile t { /x r,",
        "abi <abi/3.0>,\nalias /a -> /b,\nprofile t { }",
        "abi <abi/3.0>,\n$x = true\nprofile t { }",
        "abi <abi/3.0>,\n@{X} += /a\nprofile t { }",
        "abi <abi/3.0>,",
        "",
    ] {
        assert!(read(&artifact(text.as_bytes())).is_err(), "took {text}");
    }
}

#[test]
fn is_recognised() {
    for text in [
        "# words\nabi <abi/3.0>,\nprofile t { }",
        "#include <tunables/global>\n/usr/bin/x { }",
        "profile x { }",
    ] {
        assert!(recognises(&artifact(text.as_bytes())), "{text}");
    }
    for text in [
        "{\"abi\": 4}",
        "(version 1)",
        "policy_module(t, 1.0)",
        "apiVersion: v1",
        "",
    ] {
        assert!(!recognises(&artifact(text.as_bytes())), "{text}");
    }
}

/// Reads the profile of a policy back, and checks its ledger.
fn borne_out(policy: &str) -> Box<dyn Evaluate + Send + Sync> {
    let policy = load("t.yaml", policy, &LoadOptions::default());
    let policy = policy.unwrap().policy;
    let meaning = Meaning::new(&policy);
    let made = AppArmor.compile(&meaning, &Options::default()).unwrap();
    let read = AppArmor.read_back(&made.artifacts, &Options::default());
    let read = read.unwrap();
    let wrong = disagreements(&made.ledger, &compare(&meaning, read.as_ref()));
    assert!(wrong.is_empty(), "{wrong:#?}");
    read
}

#[test]
fn a_star_beside_a_group_takes_a_byte() {
    // Listing is decided separately. So the answers for files are visible on directories.
    let text = "version: 1\nname: t\nrules:\n  - {name: l, action: deny, operations: [list], paths: ['/q/**']}\n  - {name: a, action: allow, operations: [read], paths: ['/q/**', '/x/**/*', '/y/*/**', '/z/*']}\n";
    let read = borne_out(text);
    let listed = |path: &str| read.allows(Operation::List, &Object::Path(path.into()));
    assert_eq!(listed("/x"), Some(false));
    assert_eq!(listed("/y"), Some(false));
    assert_eq!(listed("/z"), Some(false));
}

#[test]
fn a_comma_in_a_class_is_a_comma_alone() {
    let text = "version: 1\nname: t\nrules:\n  - {name: a, action: allow, operations: [read], paths: ['/x/[!,]*', '/y/[!,\\\\-]', '/z/[,-.]']}\n";
    borne_out(text);
}

const HAND: &str = "abi <abi/3.0>,\ninclude <tunables/global>\n@{A} = /x /y\nprofile t \"/a{b,c}\" flags=(attach_disconnected) {\n  network inet stream,\n  signal (send, receive) peer=@{profile_name},\n  unix (send) peer=(label=x),\n  set rlimit nproc <= 4,\n  @{A}/[^a-c]{,**/}b rm,\n  audit deny owner \"/w/\\040{,/,/**}\" wk,\n  file,\n}\n";

proptest! {
    #[test]
    fn garbage_is_refused_or_read_without_a_fall(
        changes in proptest::collection::vec((0usize..400, any::<u8>()), 0..4),
        cut in 1usize..500,
    ) {
        let mut bytes = HAND.as_bytes().to_vec();
        let n = bytes.len();
        for (at, byte) in changes {
            bytes[at % n] = byte;
        }
        bytes.truncate(cut);
        let artifact = artifact(&bytes);
        let _ = recognises(&artifact);
        if let Ok(r) = read(&artifact) {
            let path = Object::Path(b"/w/ ".to_vec());
            let _ = r.allows(Operation::Edit, &path);
            let _ = r.clause(Operation::Edit, &path);
        }
    }

    #[test]
    fn random_patterns_are_read_without_a_fall(pattern in "/[ab*?{},\\[\\]^/\\\\-]{0,14}", name in "/[ab/]{0,8}") {
        if let Ok(r) = read(&artifact(whole(&format!("\"{pattern}\" rmk,")).as_bytes())) {
            // The pattern is matched in two ways: step by step, and over all paths.
            let canonical = name == "/" || !(name.ends_with('/') || name.contains("//"));
            if canonical && name != "/" {
                let set = reads(&r, &name);
                prop_assert_eq!(set, r.profile.files.iter().any(|f| f.glob.matches(name.as_bytes())));
                let directory = format!("{name}/");
                let set = reads(&r, &directory);
                prop_assert_eq!(set, r.profile.files.iter().any(|f| f.glob.matches(directory.as_bytes())));
            }
        }
    }
}
