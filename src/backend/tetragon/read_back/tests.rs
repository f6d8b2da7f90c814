//! The reader on objects that were written by hand.

use super::*;
use proptest::prelude::*;

fn try_read(text: &str) -> Result<Policies, Diagnostics> {
    let artifact = Artifact {
        file_name: "t.yaml".to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    read(&artifact)
}

/// One object with these kprobes, in flow style, which no generator writes.
fn object(kprobes: &str) -> String {
    format!(
        "# by hand\napiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: t}}\nspec:\n  options: \
         [{{name: disable-kprobe-multi, value: \"1\"}}]\n  kprobes:\n{kprobes}"
    )
}

fn policies(kprobes: &str) -> Policies {
    try_read(&object(kprobes)).unwrap()
}

const NO: &str = "matchActions: [{action: Override, argError: -13}]";

fn unlink(selectors: &str) -> String {
    format!(
        "  - {{call: security_path_unlink, syscall: false, args: [{{index: 0, type: path}}], selectors: [{selectors}]}}\n"
    )
}

fn execute(selectors: &str) -> Policies {
    policies(&format!(
        "  - {{call: security_bprm_check, syscall: false, args: [{{index: 0, type: linux_binprm}}], selectors: [{selectors}]}}\n"
    ))
}

fn starts(p: &Policies, path: &str) -> bool {
    let object = Object::Path(path.as_bytes().to_vec());
    let by_set = p.allows(Operation::Execute, &object).unwrap();
    let refused = deciding(&p.hooks, &ways(Operation::Execute)[0], path.as_bytes());
    assert_eq!(by_set, !refused.is_some_and(|c| c.denies), "{path}");
    by_set
}

#[test]
fn operators_are_bytewise_and_do_not_see_the_root() {
    let cases: [(&str, &[&str], &[&str]); 8] = [
        (
            "{index: 0, operator: Prefix, values: [/usr/bin]}",
            &["/usr/bin", "/usr/bin/x", "/usr/binx"],
            &["/", "/usr", "/usr/bi"],
        ),
        (
            "{index: 0, operator: Prefix, values: [/usr/bin/, /opt/]}",
            &["/usr/bin/x", "/usr/bin/a/b", "/opt/.x"],
            &["/", "/usr/bin", "/usr/binx", "/opt"],
        ),
        (
            "{index: 0, operator: Prefix, values: [/]}",
            &["/x", "/x/y"],
            &["/"],
        ),
        (
            "{index: 0, operator: NotPrefix, values: [/usr/]}, {index: 0, operator: NotEqual, values: [/usr]}",
            &["/x", "/usrx"],
            &["/", "/usr", "/usr/x"],
        ),
        (
            "{index: 0, operator: Equal, values: [/a, \"/b\\\"]} #\\n\"]}",
            &["/a", "/b\"]} #\n"],
            &["/", "/a/b", "/ab", "/b\"]} #"],
        ),
        (
            "{index: 0, operator: Postfix, values: [.sh]}",
            &["/a.sh", "/x/.sh"],
            &["/", "/a.shx", "/sh"],
        ),
        (
            "{index: 0, operator: Prefix, values: [/a/]}, {index: 0, operator: Postfix, values: [.sh]}, {index: 0, operator: NotPostfix, values: [x.sh]}",
            &["/a/b.sh", "/a/b/c.sh"],
            &["/", "/b.sh", "/a/b", "/a/x.sh"],
        ),
        ("", &["/a", "/a/b"], &["/"]),
    ];
    for (filters, refused, open) in cases {
        let p = execute(&format!("{{matchArgs: [{filters}], {NO}}}"));
        for path in refused {
            assert!(!starts(&p, path), "{filters} {path}");
        }
        for path in open {
            assert!(starts(&p, path), "{filters} {path}");
        }
    }
}

#[test]
fn the_first_selector_that_matches_wins() {
    let let_through = "{matchArgs: [{index: 0, operator: Equal, values: [/w/ok]}], matchActions: [{action: NoPost}]}";
    let refuse = format!("{{matchArgs: [{{index: 0, operator: Prefix, values: [/w/]}}], {NO}}}");
    let p = execute(&format!("{let_through}, {refuse}"));
    assert!(starts(&p, "/w/ok") && !starts(&p, "/w/no") && starts(&p, "/x"));
    let p = execute(&format!("{refuse}, {let_through}"));
    assert!(!starts(&p, "/w/ok"));
    // A kill alone comes after the call.
    let p = execute("{matchArgs: [], matchActions: [{action: Sigkill}]}");
    assert!(
        p.allows(Operation::Execute, &Object::Path(b"/x".to_vec()))
            .is_none()
    );
    // Another hook of the same function refuses what this one allows.
    let one = unlink(
        "{matchArgs: [{index: 0, operator: Prefix, values: [/w/]}], matchActions: [{action: NoPost}]}",
    );
    let other = unlink(&format!(
        "{{matchArgs: [{{index: 0, operator: Prefix, values: [/w/a/]}}], {NO}}}"
    ));
    let text = format!("{}---\n{}", object(&one), object(&other));
    let p = try_read(&text).unwrap();
    let set = open(&p.hooks, &ways(Operation::Delete)[0]).unwrap();
    assert!(set.contains(b"/w/x/y") && !set.contains(b"/w/a/b/y"));
}

#[test]
fn creating_and_deleting_are_judged_by_the_directory() {
    let p = policies(&unlink(&format!(
        "{{matchArgs: [{{index: 0, operator: Prefix, values: [/w/]}}, {{index: 0, operator: NotPrefix, values: [/w/t/]}}], {NO}}}"
    )));
    let set = open(&p.hooks, &ways(Operation::Delete)[0]).unwrap();
    for path in ["/", "/w", "/w/x", "/w/t/u/x", "/x/y"] {
        assert!(set.contains(path.as_bytes()), "{path}");
    }
    for path in ["/w/a/x", "/w/t/x", "/w/a/b/x"] {
        assert!(!set.contains(path.as_bytes()), "{path}");
    }
    // Directories have no hook, so rmdir and rename stay open. Each is a way of its own.
    let OnPaths::Allows(forms) = p.paths(Operation::Delete).unwrap() else {
        panic!("it is hooked");
    };
    let answer = |form: Form| -> Vec<bool> {
        let own = forms.iter().filter(|f| f.form == form);
        own.map(|f| f.paths.contains(b"/w/a/x")).collect()
    };
    assert_eq!(answer(Form::Either), [false, true]);
    assert_eq!(answer(Form::Moved), [true]);
    assert!(matches!(p.paths(Operation::Create), Ok(OnPaths::Silent)));
}

#[test]
fn reading_is_told_from_writing_by_the_mask() {
    let hook = |mask: &str| {
        format!(
            "  - {{call: security_file_permission, syscall: false, args: [{{index: 0, type: file}}, {{index: 1, type: int}}], \
             selectors: [{{matchArgs: [{{index: 0, operator: Prefix, values: [/w/]}}, {mask}], {NO}}}]}}\n"
        )
    };
    let open = |p: &Policies, operation, at: usize| {
        open(&p.hooks, &ways(operation)[at])
            .unwrap()
            .contains(b"/w/x")
    };
    let p = policies(&hook("{index: 1, operator: Equal, values: [\"4\"]}"));
    assert!(!open(&p, Operation::Read, 0) && open(&p, Operation::Edit, 0));
    // Mapping is another way to read.
    assert!(open(&p, Operation::Read, 1));
    assert_eq!(
        p.allows(Operation::Read, &Object::Path(b"/w/x".to_vec())),
        Some(true)
    );
    assert_eq!(
        p.allows(Operation::List, &Object::Path(b"/w/x".to_vec())),
        Some(false)
    );
    let p = policies(&hook("{index: 1, operator: Mask, values: [\"6\"]}"));
    assert!(!open(&p, Operation::Read, 0) && !open(&p, Operation::Edit, 0));
    let p = policies(&hook("{index: 1, operator: Equal, values: [\"2\"]}"));
    assert!(open(&p, Operation::Read, 0) && !open(&p, Operation::Edit, 0));
}

const SOCKETS: &str = "  - {call: security_socket_create, syscall: false, args: [{index: 0, type: int}, {index: 1, type: int}], selectors: [\
    {matchArgs: [{index: 0, operator: Equal, values: [\"2\", \"10\"]}, {index: 1, operator: Equal, values: [\"3\", \"2\"]}], matchActions: [{action: Override, argError: -13}]},\
    {matchArgs: [{index: 0, operator: Equal, values: [\"17\"]}], matchActions: [{action: Override, argError: -13}]}]}\n";

fn connects(p: &Policies, protocol: Protocol, host: &str, port: u16) -> Option<bool> {
    let address = match host.parse() {
        Ok(ip) => Address::Ip(ip),
        Err(_) => Address::Name(host.to_owned()),
    };
    let spec = HostSpec {
        protocol: Some(protocol),
        address,
        port,
    };
    p.allows(Operation::Connect, &Object::Host(spec))
}

#[test]
fn addresses_and_ports() {
    let connect = format!(
        "  - {{call: security_socket_connect, syscall: false, args: [{{index: 1, type: sockaddr}}], selectors: [\
         {{matchArgs: [{{index: 1, operator: SAddr, values: [10.0.0.0/8, 10.0.0.0/9]}}, {{index: 1, operator: NotSPort, values: [\"443\", \"8000:8080\"]}}], {NO}}},\
         {{matchArgs: [{{index: 1, operator: NotSAddr, values: [10.0.0.0/8, \"::1\"]}}], {NO}}}]}}\n"
    );
    let p = policies(&format!("{SOCKETS}{connect}"));
    use Protocol::{Tcp, Udp};
    let cases = [
        (Tcp, "10.1.2.3", 443, true),
        (Tcp, "10.1.2.3", 8080, true),
        (Tcp, "10.1.2.3", 8081, false),
        (Tcp, "11.0.0.0", 443, false),
        (Tcp, "::1", 5, true),
        (Tcp, "::2", 443, false),
        // In its mapped form, it is still the same IPv4 address.
        (Tcp, "::ffff:10.1.2.3", 443, true),
        (Udp, "10.1.2.3", 443, false),
        // Some address is allowed.
        (Tcp, "example.org", 443, true),
        (Tcp, "example.org", 5, true),
    ];
    for (protocol, host, port, expected) in cases {
        assert_eq!(
            connects(&p, protocol, host, port),
            Some(expected),
            "{host}:{port}"
        );
    }
    // An IPv6 socket shows it in another form, which no filter refuses.
    let plain = connect.replacen("NotSAddr", "SAddr", 1);
    let p = policies(&format!("{SOCKETS}{plain}"));
    assert_eq!(connects(&p, Tcp, "10.1.2.3", 8081), Some(true));
    let both = plain.replace("[10.0.0.0/8, ", "[10.0.0.0/8, \"::ffff:10.0.0.0/104\", ");
    let p = policies(&format!("{SOCKETS}{both}"));
    assert_eq!(connects(&p, Tcp, "10.1.2.3", 8081), Some(false));
    assert_eq!(connects(&p, Tcp, "11.1.2.3", 8081), Some(true));
    // Without a filter on raw sockets, the program can send anything.
    let p = policies(&connect);
    assert_eq!(connects(&p, Tcp, "11.0.0.0", 443), Some(true));
    assert_eq!(
        p.allows(Operation::Bind, &Object::Path(b"/x".to_vec())),
        None
    );
    let p = policies(SOCKETS);
    assert_eq!(connects(&p, Udp, "1.1.1.1", 53), Some(false));
    assert_eq!(connects(&p, Tcp, "1.1.1.1", 53), Some(true));
    let clause = p
        .clause(
            Operation::Connect,
            &Object::Host(HostSpec {
                protocol: Some(Udp),
                address: Address::Name("x".into()),
                port: 53,
            }),
        )
        .unwrap();
    assert!(
        clause.line > 0 && clause.text.contains("Equal"),
        "{clause:?}"
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    let good = unlink(&format!(
        "{{matchBinaries: [{{operator: In, values: [/bin/a], followChildren: true}}], matchArgs: [{{index: 0, operator: Prefix, values: [/w/]}}], {NO}}}"
    ));
    assert!(try_read(&object(&good)).is_ok());
    let long = format!("values: [/{}]", "x".repeat(256));
    let changes = [
        ("syscall: false, ", ""),
        ("syscall: false", "syscall: true"),
        ("security_path_unlink", "security_inode_unlink"),
        ("security_path_unlink", "security_path_truncate"),
        ("type: path", "type: string"),
        ("args: [{index: 0", "args: [{index: 1"),
        ("matchArgs: [{index: 0", "matchArgs: [{index: 2"),
        ("operator: Prefix", "operator: Frobnicate"),
        ("operator: Prefix", "operator: SAddr"),
        ("values: [/w/]", "values: []"),
        ("values: [/w/]", "values: [\"\"]"),
        ("values: [/w/]", &long),
        ("values: [/w/]", "values: [/w/], extra: 1"),
        ("operator: In", "operator: NotIn"),
        ("followChildren: true", "followChildren: false"),
        ("argError: -13", "argError: 0"),
        (", argError: -13", ""),
        ("action: Override, argError: -13", "action: Signal"),
        ("matchArgs:", "matchPIDs: [], matchArgs:"),
        ("selectors:", "return: true, selectors:"),
        ("disable-kprobe-multi", "policy-mode"),
        ("value: \"1\"", "value: \"0\""),
        ("kind: TracingPolicy\n", "kind: TracingPolicyNamespaced\n"),
        ("v1alpha1", "v2"),
        ("{name: t}", "{name: t, name: u}"),
        ("  kprobes:", "  lsmhooks: []\n  kprobes:"),
    ];
    for (from, to) in changes {
        let text = object(&good);
        assert!(text.contains(from), "{from}");
        let Err(error) = try_read(&text.replacen(from, to, 1)) else {
            panic!("{from} -> {to}");
        };
        assert_eq!(error.items[0].code, "E115", "{from} -> {to}");
    }
    // The same call twice in one object, six selectors, two subjects, both paths of a rename.
    assert!(try_read(&object(&format!("{good}{good}"))).is_err());
    let one = format!("{{{NO}}}");
    assert!(try_read(&object(&unlink(&vec![one.clone(); 5].join(", ")))).is_ok());
    assert!(try_read(&object(&unlink(&vec![one; 6].join(", ")))).is_err());
    let other = object(&good.replace("unlink", "rmdir").replace("/bin/a", "/bin/b"));
    assert!(try_read(&format!("{}---\n{other}", object(&good))).is_err());
    let both = format!(
        "  - {{call: security_path_rename, syscall: false, args: [{{index: 0, type: path}}, {{index: 2, type: path}}], selectors: [\
         {{matchArgs: [{{index: 0, operator: Prefix, values: [/w/]}}, {{index: 2, operator: Prefix, values: [/x/]}}], {NO}}}]}}\n"
    );
    assert!(try_read(&object(&both)).is_err());
    assert!(try_read("").unwrap().hooks.is_empty());
    assert!(try_read("- 1").is_err());
}

proptest! {
    #[test]
    fn nothing_panics(at in 0usize..2000, byte in any::<u8>(), cut in 40usize..2000) {
        let mut bytes = object(SOCKETS).into_bytes();
        bytes.truncate(cut);
        let at = at % bytes.len();
        bytes[at] = byte;
        let artifact = Artifact { file_name: "t.yaml".to_owned(), bytes };
        if let Ok(p) = read(&artifact) {
            for operation in Operation::ON_PATHS {
                prop_assert!(p.paths(operation).is_ok());
                let _ = p.host_cuts(operation);
            }
        }
    }
}
