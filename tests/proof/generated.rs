//! Random policies.

use proptest::prelude::*;

fn component() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "ab", "etc", "usr", "bin", "w", "home", "tmp", "var", "private", "opt", "lib"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["*", "?", "a*", "*b", "[ab]", "{a,b}", "[!a]x", "*.pem"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["a b", "q'q", "x\\\\[y", "p\\\\{q", "h#i", "s(t)", "é"]).prop_map(str::to_owned),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    (prop::collection::vec(component(), 0..4), 0..10u8).prop_map(|(names, tail)| {
        let mut text = String::new();
        for (i, n) in names.iter().enumerate() {
            // A pattern that floats, now and then.
            if i == 1 && tail == 9 {
                text.push_str("/**");
            }
            text.push('/');
            text.push_str(n);
        }
        match tail {
            0..=4 => text + "/**",
            _ if text.is_empty() => "/".to_owned(),
            _ => text,
        }
    })
}

fn host() -> impl Strategy<Value = String> {
    let peers = prop::sample::select(vec![
        "example.org",
        "*.example.org",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "127.0.0.1",
        "localhost",
        "*",
        "192.168.1.7",
        "'[::1]'",
        "'[fd00::]/8'",
    ]);
    let scheme = prop::sample::select(vec!["", "tcp://", "udp://"]);
    let ports = prop::sample::select(vec!["", ":443", ":80", ":8000-8080", ":*"]);
    (scheme, peers, ports).prop_map(|(s, h, p)| format!("'{s}{}{p}'", h.trim_matches('\'')))
}

fn rule() -> impl Strategy<Value = String> {
    let action = prop_oneof![5 => Just("allow"), 4 => Just("deny"), 1 => Just("ask")];
    let operations = prop::sample::subsequence(
        vec![
            "read", "list", "edit", "create", "delete", "metadata", "write", "execute", "connect",
        ],
        1..4,
    );
    let quoted = |list: Vec<String>| {
        let texts: Vec<String> = list
            .iter()
            .map(|p| format!("'{}'", p.replace('\'', "''")))
            .collect();
        texts.join(", ")
    };
    let paths = (
        operations,
        prop::collection::vec(pattern(), 1..4),
        prop::collection::vec(pattern(), 0..2),
    )
        .prop_map(move |(o, p, e)| {
            let except = if e.is_empty() {
                String::new()
            } else {
                format!(", except: [{}]", quoted(e))
            };
            format!(
                "operations: [{}], paths: [{}]{except}",
                o.join(", "),
                quoted(p)
            )
        });
    let hosts = (
        prop::sample::select(vec!["connect", "bind", "connect, bind"]),
        prop::collection::vec(host(), 1..3),
    )
        .prop_map(|(o, h)| format!("operations: [{o}], hosts: [{}]", h.join(", ")));
    let commands = prop::collection::vec(
        prop::sample::select(vec![
            "git **",
            "git push **",
            "ls",
            "/usr/bin/tool *",
            "tool **",
            "'sh -c *'",
        ]),
        1..3,
    )
    .prop_map(|c| {
        format!(
            "commands: [{}]",
            c.iter()
                .map(|c| format!("\"{}\"", c.replace('\'', "")))
                .collect::<Vec<_>>()
                .join(", ")
        )
    });
    let syscalls = prop::sample::subsequence(
        vec![
            "mount",
            "'@io_uring'",
            "ptrace",
            "unlink",
            "chmod",
            "socket",
        ],
        1..3,
    )
    .prop_map(|s| format!("syscalls: [{}]", s.join(", ")));
    let objects = prop_oneof![7 => paths.boxed(), 2 => hosts.boxed(), 1 => commands.boxed(), 1 => syscalls.boxed()];
    let platforms = prop_oneof![
        6 => Just(""),
        1 => Just(", platforms: [linux]"),
        1 => Just(", platforms: [macos]"),
    ];
    (action, objects, platforms).prop_map(|(a, o, p)| format!("action: {a}, {o}{p}"))
}

/// The text of a policy; some are wrong.
pub fn policy() -> impl Strategy<Value = String> {
    (prop::collection::vec(rule(), 0..7), prop::bool::weighted(0.2)).prop_map(|(rules, open)| {
        let default = if open { "allow" } else { "deny" };
        let rules: Vec<String> = rules
            .iter()
            .enumerate()
            .map(|(i, r)| format!("  - {{name: r{i}, {r}}}\n"))
            .collect();
        let rules = if rules.is_empty() { "  []\n".to_owned() } else { rules.concat() };
        format!(
            "version: 1\nname: random\ndefault_action: {default}\nsubject: {{home: /home/a, workspace: /w, tmp: /tmp}}\nrules:\n{rules}"
        )
    })
}
