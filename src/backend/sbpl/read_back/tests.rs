//! The reader on profiles that were written by hand.

use super::*;
use crate::policy::Protocol;
use proptest::prelude::*;

fn try_read(text: &str, proxy: Option<u16>) -> Result<Seatbelt, Diagnostics> {
    let artifact = Artifact {
        file_name: "t.sb".to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    read(&artifact, proxy)
}

fn seatbelt(rules: &str) -> Seatbelt {
    try_read(&format!("(version 1)\n{rules}"), None).unwrap()
}

/// The answer for one path of a form.
fn on(s: &Seatbelt, operation: Operation, form: Form, path: &str) -> bool {
    let OnPaths::Allows(forms) = s.paths(operation).unwrap() else {
        panic!("never silent");
    };
    let own = forms
        .iter()
        .find(|f| f.form == form || (f.form == Form::Either && form != Form::Moved));
    own.unwrap().paths.contains(path.as_bytes())
}

fn reads(rules: &str, path: &str) -> bool {
    let s = seatbelt(&format!("(deny default)\n{rules}"));
    on(&s, Operation::Read, Form::File, path)
}

#[test]
fn the_last_filtered_rule_wins_and_a_specific_operation_beats_its_wildcard() {
    let cases = [
        (
            "(allow file-read-data (subpath \"/w\")) (deny file-read-data (literal \"/w/k\"))",
            false,
        ),
        (
            "(deny file-read-data (literal \"/w/k\")) (allow file-read-data (subpath \"/w\"))",
            true,
        ),
        (
            "(deny file-read-data (literal \"/w/k\")) (allow file-read* (subpath \"/w\"))",
            false,
        ),
        (
            "(allow file-read-data (literal \"/w/k\")) (deny file* (subpath \"/\"))",
            true,
        ),
        // A rule without a filter does not override one with a filter, but it overrides its wildcard.
        (
            "(deny file-read-data (literal \"/w/k\")) (allow file-read-data)",
            false,
        ),
        (
            "(allow file-read-data) (deny file-read* (literal \"/w/k\"))",
            true,
        ),
        ("(deny file-read*) (allow file*)", false),
        ("(allow file*)", true),
        // Two filters in one rule: either may match.
        (
            "(allow file-read-data (literal \"/x\") (literal \"/w/k\"))",
            true,
        ),
    ];
    for (rules, expected) in cases {
        assert_eq!(reads(rules, "/w/k"), expected, "{rules}");
    }
}

#[test]
fn filters_and_near_misses() {
    let cases = [
        ("(subpath \"/w\")", "/w", true),
        ("(subpath \"/w\")", "/w/a/b", true),
        ("(subpath \"/w\")", "/wx", false),
        ("(subpath \"/\")", "/", true),
        ("(literal \"/\")", "/", true),
        ("(literal \"/\")", "/w", false),
        ("(prefix \"/w\")", "/wx/y", true),
        ("(prefix \"/w/\")", "/w", false),
        ("(regex #\"^/w/[^/]*\\.txt$\")", "/w/a.txt", true),
        ("(regex #\"^/w/[^/]*\\.txt$\")", "/w/a/b.txt", false),
        ("(regex \"^/w/[^/]*\\\\.txt$\")", "/w/a.txt", true),
        ("(regex \"^/w/[^/]*\\\\.txt$\")", "/w/axtxt", false),
        // Without an anchor, it matches anywhere.
        ("(regex #\"/\\.git/\")", "/w/.git/config", true),
        ("(regex #\"/\\.git/\")", "/w/.git", false),
        ("(regex #\"/\\.git(/.*)?$\")", "/w/.git", true),
        ("(regex #\"/\\.git(/.*)?$\")", "/w/.github", false),
        ("(regex #\"^/w/(a|b)+$\")", "/w/abba", true),
        ("(regex #\"^/w/(a|b)+$\")", "/w/", false),
        ("(regex #\"^/w(/[^/]+)*/x$\")", "/w/x", true),
        ("(regex #\"^/w(/[^/]+)*/x$\")", "/w/a/b/x", true),
        ("(regex #\"^/w(/[^/]+)*/x$\")", "/wa/x", false),
        ("(regex #\"^/[^/]*$\")", "/", true),
        ("(regex #\"^/[^/]+$\")", "/", false),
        ("(regex #\"^/ttys[0-9]{2,3}$\")", "/ttys12", true),
        ("(regex #\"^/ttys[0-9]{2,3}$\")", "/ttys1", false),
        ("(regex #\"^/[]^-]$\")", "/]", true),
        ("(regex #\"^/[^]a]$\")", "/]", false),
        ("(require-not (subpath \"/w\"))", "/x", true),
        ("(require-not (subpath \"/w\"))", "/w", false),
        (
            "(require-all (subpath \"/w\") (require-not (require-any (literal \"/w/k\") (require-all (subpath \"/w/d\") (require-not (literal \"/w/d/y\"))))))",
            "/w/d/y",
            true,
        ),
        (
            "(require-all (subpath \"/w\") (require-not (require-any (literal \"/w/k\") (require-all (subpath \"/w/d\") (require-not (literal \"/w/d/y\"))))))",
            "/w/d/n",
            false,
        ),
        (
            "(require-all (subpath \"/w\") (regex #\"\\.txt$\"))",
            "/w/a/b.txt",
            true,
        ),
        (
            "(require-all (subpath \"/w\") (regex #\"\\.txt$\"))",
            "/x/b.txt",
            false,
        ),
        ("(require-not (vnode-type DIRECTORY))", "/w", true),
        ("(vnode-type DIRECTORY)", "/w", false),
        (
            "(literal \"/a\\\"b\\\\c\\n) (allow default) ;\")",
            "/a\"b\\c\n) (allow default) ;",
            true,
        ),
    ];
    for (filter, path, expected) in cases {
        let rules = format!("(allow file-read-data {filter})");
        assert_eq!(reads(&rules, path), expected, "{filter} {path}");
    }
}

/// Whether the first rule that matches a path allows it. Tries the rules one by one.
fn one_by_one(s: &Seatbelt, name: &'static str, asked: Asked, path: &str) -> bool {
    let decider = Decider::new(&s.profile, name, asked);
    let index = s.profile.index();
    let holds = |f: &Formula| {
        let prepared = Prepared::new(&s.profile, f);
        prepared.decide(&s.profile, &index, path.as_bytes()).0
    };
    let one = decider.entries.iter().find(|(_, f)| holds(f));
    one.map_or(decider.default_allow, |(allow, _)| *allow)
}

/// Exceptions that most filters have, that some have, and that one has. Also filters without any, within those with
/// some.
#[test]
fn carve_outs_that_many_share_are_of_those_alone() {
    let mut filters = String::from("(literal \"/w/d3/.env\") (subpath \"/w/d4/open\")");
    for i in 0..120 {
        let some = if i % 2 == 0 { "(regex \"/key$\")" } else { "" };
        let own = format!("(subpath \"/w/d{i}/vendor\")");
        filters += &format!(
            "(require-all (subpath \"/w/d{i}\") (require-not (require-any (regex \"/[.]env$\") \
             (regex \"/hooks(/[^/]+)*$\") {some} {own})))\n"
        );
    }
    let paths = [
        "/w",
        "/w/d3",
        "/w/d3/.env",
        "/w/d4/.env",
        "/w/d4/open/.env",
        "/w/d4/open/key",
        "/w/d4/hooks/x",
        "/w/d4/open/hooks/x",
        "/w/d5/key",
        "/w/d6/key",
        "/w/d6/a/key/b",
        "/w/d7/vendor",
        "/w/d7/vendor/x",
        "/w/d7/d8/vendor/x",
        "/w/d8/vendor/hooks",
        "/w/d121",
    ];
    for default in ["deny", "allow"] {
        let action = if default == "deny" { "allow" } else { "deny" };
        // In the second one, more than the default comes below the rule with exceptions.
        for more in [
            "",
            "(allow file-write* (regex \"/key$\"))",
            "(deny file-write* (subpath \"/w/d4\"))",
        ] {
            let text = format!(
                "({default} default)\n{more}\n({action} file-write-data (require-any {filters}))"
            );
            let s = seatbelt(&text);
            let asked = asked(Operation::Edit, Form::File);
            for path in paths {
                let one = one_by_one(&s, "file-write-data", asked, path);
                let told = on(&s, Operation::Edit, Form::File, path);
                assert_eq!(told, one, "{default} {more} {path}");
            }
            let of = |path| on(&s, Operation::Edit, Form::File, path);
            let open = default == "deny";
            assert_eq!(of("/w/d4/open/.env"), open, "{default} {more}");
            assert_eq!(of("/w/d5/key"), open, "{default} {more}");
            assert_eq!(of("/w/d3/x"), open, "{default} {more}");
            if more.is_empty() {
                assert_eq!(of("/w/d6/key"), !open, "{default}");
                assert_eq!(of("/w/d7/.env"), !open, "{default}");
                assert_eq!(of("/w/d7/vendor/x"), !open, "{default}");
            }
        }
    }
}

#[test]
fn sets_and_single_answers_agree() {
    let s = seatbelt(
        "(deny default)
(allow file-read* (require-all (subpath \"/w\") (require-not (require-any (regex #\"/k$\") (literal \"/w/x\")))))
(deny file-read-data (require-all (prefix \"/w/a\") (require-not (subpath \"/w/a/b\"))))
(allow file-read-data (require-any (require-all (require-not (prefix \"/w\")) (literal \"/q\")) (literal \"/w/ab\")))",
    );
    let paths = [
        "/", "/w", "/w/k", "/w/x", "/w/x/y", "/w/a", "/w/ab", "/w/a/b", "/w/a/b/k", "/w/z", "/z",
    ];
    for path in paths {
        let asked = asked(Operation::Read, Form::File);
        let one = one_by_one(&s, "file-read-data", asked, path);
        assert_eq!(on(&s, Operation::Read, Form::File, path), one, "{path}");
    }
    let expected = [
        ("/z", 2, "(deny default)"),
        ("/w/z", 3, "(allow file-read* … (subpath \"/w\"))"),
        (
            "/w/k",
            3,
            "(allow file-read* … (require-not (regex #\"/k$\")))",
        ),
        ("/w/ac", 4, "(deny file-read-data … (prefix \"/w/a\"))"),
        ("/w/ab", 5, "(allow file-read-data … (literal \"/w/ab\"))"),
    ];
    for (path, line, text) in expected {
        let object = Object::Path(path.as_bytes().to_vec());
        let found = s.clause(Operation::Read, &object).unwrap();
        assert_eq!((found.line, found.text.as_str()), (line, text), "{path}");
    }
}

#[test]
fn directories_are_told_apart_and_move() {
    let s = seatbelt(
        "(deny default)
(allow file-read-data (require-all (vnode-type DIRECTORY) (subpath \"/l\")))
(allow file-write-unlink (subpath \"/w\") (require-all (literal \"/f\") (require-not (vnode-type DIRECTORY))))",
    );
    assert!(on(&s, Operation::List, Form::Directory, "/l/x"));
    assert!(!on(&s, Operation::Read, Form::File, "/l/x"));
    assert!(on(&s, Operation::Delete, Form::File, "/f"));
    assert!(!on(&s, Operation::Delete, Form::Directory, "/f"));
    assert!(!on(&s, Operation::Delete, Form::Moved, "/f"));
    assert!(on(&s, Operation::Delete, Form::Moved, "/w/d"));
    // Each part of `metadata` is a way of its own.
    let s = seatbelt("(deny default) (allow file-write-mode (subpath \"/w\"))");
    let OnPaths::Allows(forms) = s.paths(Operation::Metadata).unwrap() else {
        panic!("never silent");
    };
    let all: Vec<bool> = forms.iter().map(|f| f.paths.contains(b"/w/a")).collect();
    assert_eq!(all, [true, false]);
}

fn connects(s: &Seatbelt, text: &str) -> Option<bool> {
    let (protocol, rest) = text.split_once("://").unwrap();
    let (host, port) = rest.rsplit_once(':').unwrap();
    let address = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => Address::Ip(ip),
        Err(_) => Address::Name(host.to_owned()),
    };
    let protocol = if protocol == "tcp" {
        Protocol::Tcp
    } else {
        Protocol::Udp
    };
    let spec = HostSpec {
        protocol: Some(protocol),
        address,
        port: port.parse().unwrap(),
    };
    s.allows(Operation::Connect, &Object::Host(spec))
}

#[test]
fn addresses() {
    let s = seatbelt(
        "(deny default)
(allow network-outbound (literal \"/run/s\") (remote tcp \"*:443\") (remote ip \"localhost:*\"))
(deny network-outbound (remote udp \"localhost:53\"))
(allow network* (local udp \"*:9\"))"
            .replace("(allow network* (local udp \"*:9\"))", "")
            .as_str(),
    );
    let cases = [
        ("tcp://1.2.3.4:443", true),
        ("tcp://1.2.3.4:444", false),
        ("udp://1.2.3.4:443", false),
        ("tcp://127.0.0.1:80", true),
        ("tcp://[::1]:80", true),
        ("udp://127.9.9.9:52", true),
        ("udp://localhost:53", false),
        ("tcp://example.org:443", true),
        ("tcp://example.org:80", false),
    ];
    for (text, expected) in cases {
        assert_eq!(connects(&s, text), Some(expected), "{text}");
    }
    assert!(on(&s, Operation::Connect, Form::File, "/run/s"));
    assert!(!on(&s, Operation::Connect, Form::File, "/run/t"));
    let cuts = s.host_cuts(Operation::Connect).unwrap();
    assert_eq!(cuts.ports, [53, 54, 443, 444]);
}

#[test]
fn a_proxy_decides_for_other_hosts_only_where_it_can_be_reached() {
    let text = "(version 1)(deny default)(allow network-outbound (remote ip \"localhost:3128\"))";
    let s = try_read(text, Some(3128)).unwrap();
    assert_eq!(connects(&s, "tcp://1.2.3.4:443"), None);
    assert_eq!(connects(&s, "udp://1.2.3.4:443"), Some(false));
    assert_eq!(connects(&s, "tcp://127.0.0.1:443"), Some(false));
    assert_eq!(connects(&s, "tcp://127.0.0.1:3128"), Some(true));
    let s = try_read(text, Some(3129)).unwrap();
    assert_eq!(connects(&s, "tcp://1.2.3.4:443"), Some(false));
    let s = try_read(text, None).unwrap();
    assert_eq!(connects(&s, "tcp://1.2.3.4:443"), Some(false));
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    let refused = [
        "(import \"system.sb\")",
        "(define x 1)",
        "(allow file-frobnicate)",
        "(allow file-read-data (frobnicate \"/x\"))",
        "(allow file-read-data (subpath (param \"HOME\")))",
        "(allow file-read-data (subpath \"/a/\"))",
        "(allow file-read-data (subpath \"a\"))",
        "(allow file-read-data (vnode-type SYMLINK))",
        "(allow file-read-data (regex #\"^/(ab)*$\"))",
        "(allow file-read-data (regex #\"^/[[:alpha:]]$\"))",
        "(allow file-read-data (regex #\"(\"))",
        "(allow file-read-data \"/x\")",
        "(allow file-read-data (with no-sandbox) (literal \"/x\"))",
        "(allow file-link (subpath \"/w\"))",
        "(allow default (literal \"/x\"))",
        "(allow mach-lookup (frobnicate \"x\"))",
        "(allow network-outbound (remote tcp \"example.org:443\"))",
        "(allow network-outbound (remote tcp \"*:https\"))",
        "(allow network-outbound (local tcp \"*:1\"))",
        "(allow network* (remote tcp \"*:1\"))",
        "(allow file-read-data (literal \"/x\")",
        ")",
        "allow",
        "(allow file-read-data (literal \"/x))",
        "(allow file-read-data '(literal \"/x\"))",
    ];
    for rule in refused {
        let text = format!("(version 1)\n(deny default)\n{rule}\n");
        let Err(error) = try_read(&text, None) else {
            panic!("{rule}");
        };
        assert_eq!(error.items[0].code, "E115", "{rule}");
        assert!(error.to_string().contains("line 3"), "{rule}: {error}");
    }
    assert!(try_read("(version 1)", None).is_err());
    assert!(try_read("(deny default)", None).is_err());
    assert!(try_read("(version 3)(deny default)", None).is_err());
}

#[test]
fn names_in_private_are_names_of_the_same() {
    use crate::policy::{Action, OperationSet, PathPattern, Rule};
    let rule = |path: &str| {
        Rule::new(
            "r",
            Action::Allow,
            OperationSet::from_word("read").unwrap(),
            Objects::Paths {
                paths: vec![PathPattern::parse(path).unwrap()],
                except: vec![],
            },
        )
    };
    let s = seatbelt("(deny default)");
    let of = |path: &str| {
        let policy = Policy::of_rules("p", Action::Deny, vec![rule(path)]);
        let meant = s.as_meant(&policy)?;
        let Objects::Paths { paths, .. } = &meant.rules[0].objects else {
            return None;
        };
        let all: Vec<String> = paths[0].sequences.iter().map(ToString::to_string).collect();
        Some(all.join(" "))
    };
    assert_eq!(of("/tmp/x").as_deref(), Some("/tmp/x /private/tmp/x"));
    assert_eq!(
        of("/[te]*/x").as_deref(),
        Some("/[et]*/x /private/tmp/x /private/etc/x")
    );
    assert_eq!(of("/tmpx/y"), None);
    assert_eq!(of("/**/y"), None);
}

proptest! {
    #[test]
    fn nothing_panics(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
        let mut bytes = b"(version 1)\n(deny default) ; c\n(allow file-read* (require-all (subpath \"/w\") \
            (require-not (regex #\"^/w(/[^/]+)*/x{1,2}[a-z]$\"))))\n(allow network-outbound (remote tcp \"localhost:80\"))\n\
            (deny file-write* (literal \"/a\\\"\\x41\") (prefix \"/b\"))".to_vec();
        let end = bytes.len().min(cut.max(60));
        bytes.truncate(end);
        let at = at % bytes.len();
        bytes[at] = byte;
        let artifact = Artifact { file_name: "t.sb".to_owned(), bytes };
        if let Ok(s) = read(&artifact, None) {
            for operation in Operation::ON_PATHS {
                prop_assert!(s.paths(operation).is_ok());
            }
        }
    }
}
