//! Rules, operations and filters.

use super::expression::{Fault, Kind, Node, fault};
use super::regex;
use crate::fidelity::show_bytes;
use crate::policy::ByteSet;
use crate::semantics::Step;
use std::collections::BTreeSet;

/// Paths that one filter matches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Paths {
    pub patterns: Vec<Vec<Step>>,
    pub line: usize,
    /// As written, on one line.
    pub text: String,
}

/// Which end of a connection, of which protocols, where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// `remote`, else `local`.
    pub remote: bool,
    pub tcp: bool,
    pub udp: bool,
    /// Unix sockets.
    pub unix: bool,
    /// `localhost` alone.
    pub local_host: bool,
    /// `None`: every port.
    pub port: Option<u16>,
    pub line: usize,
    pub text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Paths(Paths),
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    Directory,
    Network(Network),
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub allow: bool,
    /// Operations of [`PARENTS`].
    pub operations: Vec<&'static str>,
    /// `None`: unfiltered.
    pub filter: Option<Filter>,
    pub line: usize,
    /// `(allow file-read-data`
    pub head: String,
}

#[derive(Debug)]
pub(super) struct Profile {
    pub default_allow: bool,
    pub default_line: usize,
    pub rules: Vec<Rule>,
    /// The rules that are about operations of no object, on one line each.
    pub others: BTreeSet<String>,
}

/// The operations that decide something for objects of a policy, each with the one that it falls back on; `""`:
/// the default.
const PARENTS: [(&str, &str); 21] = [
    ("file*", ""),
    ("file-read*", "file*"),
    ("file-read-data", "file-read*"),
    ("file-read-xattr", "file-read*"),
    ("file-map-executable", ""),
    ("file-write*", "file*"),
    ("file-write-create", "file-write*"),
    ("file-write-data", "file-write*"),
    ("file-write-unlink", "file-write*"),
    ("file-write-mode", "file-write*"),
    ("file-write-owner", "file-write*"),
    ("file-write-flags", "file-write*"),
    ("file-write-times", "file-write*"),
    ("file-write-xattr", "file-write*"),
    ("process*", ""),
    ("process-exec*", "process*"),
    ("process-exec", "process-exec*"),
    ("network*", ""),
    ("network-outbound", "network*"),
    ("network-inbound", "network*"),
    ("network-bind", "network-inbound"),
];

/// Operations that decide nothing a policy has objects for.
const OTHERS: &[&str] = &[
    "file-ioctl",
    "file-issue-extension",
    "file-read-metadata",
    "file-test-existence",
    "file-write-setugid",
    "ipc*",
    "ipc-posix*",
    "ipc-posix-sem",
    "ipc-posix-shm",
    "ipc-posix-shm*",
    "ipc-posix-shm-read*",
    "ipc-posix-shm-read-data",
    "ipc-posix-shm-read-metadata",
    "ipc-posix-shm-write*",
    "ipc-posix-shm-write-create",
    "ipc-posix-shm-write-data",
    "ipc-posix-shm-write-unlink",
    "ipc-sysv*",
    "ipc-sysv-sem",
    "ipc-sysv-shm",
    "iokit*",
    "iokit-get-properties",
    "iokit-open",
    "lsopen",
    "mach*",
    "mach-bootstrap",
    "mach-host*",
    "mach-lookup",
    "mach-per-user-lookup",
    "mach-priv*",
    "mach-register",
    "mach-task-name",
    "process-fork",
    "process-info*",
    "process-info-dirtycontrol",
    "process-info-listpids",
    "process-info-pidfdinfo",
    "process-info-pidinfo",
    "process-info-setcontrol",
    "pseudo-tty",
    "signal",
    "sysctl*",
    "sysctl-read",
    "sysctl-write",
    "system*",
    "system-fsctl",
    "system-info",
    "system-socket",
    "user-preference-read",
    "user-preference-write",
];

/// Filters of those.
const OTHER_FILTERS: &[&str] = &[
    "extension",
    "global-name",
    "global-name-regex",
    "info-type",
    "iokit-connection",
    "iokit-property",
    "iokit-user-client-class",
    "ipc-posix-name",
    "ipc-posix-name-regex",
    "local-name",
    "preference-domain",
    "socket-domain",
    "socket-protocol",
    "socket-type",
    "sysctl-name",
    "sysctl-name-regex",
    "target",
    "xpc-service-name",
];

/// The operation and those that it falls back on, to the default.
pub(super) fn chain(operation: &'static str) -> impl Iterator<Item = &'static str> {
    let parent = |o: &&'static str| {
        let found = PARENTS.iter().find(|(name, _)| name == o);
        found.map(|(_, parent)| *parent).filter(|p| !p.is_empty())
    };
    std::iter::successors(Some(operation), parent)
}

/// A node on one line, not too long.
fn shown(text: &str, node: &Node) -> String {
    let written: Vec<&str> = text[node.range.clone()].split_whitespace().collect();
    let written = written.join(" ");
    match written.char_indices().nth(160) {
        None => show_bytes(written.as_bytes()),
        Some((cut, _)) => format!("{}…", show_bytes(&written.as_bytes()[..cut])),
    }
}

struct Reader<'t> {
    text: &'t str,
}

/// The word that a list begins with, and what follows.
fn call(node: &Node) -> Option<(&str, &[Node])> {
    match &node.kind {
        Kind::List(items) => match items.split_first() {
            Some((
                Node {
                    kind: Kind::Word(word),
                    ..
                },
                rest,
            )) => Some((word, rest)),
            _ => None,
        },
        _ => None,
    }
}

/// Reads the rules.
pub(super) fn profile(text: &str, nodes: &[Node]) -> Result<Profile, Fault> {
    let reader = Reader { text };
    let mut default: Option<(bool, usize)> = None;
    let mut version = false;
    let mut rules = Vec::new();
    let mut others = BTreeSet::new();
    for node in nodes {
        let Some((word, rest)) = call(node) else {
            return fault(node.line, format!("`{}` is no rule", shown(text, node)));
        };
        match word {
            "version" => match rest {
                [
                    Node {
                        kind: Kind::Word(one),
                        ..
                    },
                ] if one == "1" => version = true,
                _ => return fault(node.line, "polc reads `(version 1)`"),
            },
            "debug" => match rest {
                [
                    Node {
                        kind: Kind::Word(_),
                        ..
                    },
                ] => {}
                _ => return fault(node.line, "`debug` takes one word"),
            },
            "allow" | "deny" => {
                let allow = word == "allow";
                let other =
                    |n: &Node| matches!(&n.kind, Kind::Word(w) if OTHERS.contains(&w.as_str()));
                if rest.iter().any(other) {
                    let written: Vec<&str> = text[node.range.clone()].split_whitespace().collect();
                    others.insert(written.join(" "));
                }
                match reader.rule(node, allow, rest)? {
                    None => default = Some((allow, node.line)),
                    Some(rule) => rules.push(rule),
                }
            }
            other => {
                return fault(
                    node.line,
                    format!("`({other} …)` is not read: what it does is not in this file"),
                );
            }
        }
    }
    if !version {
        return fault(1, "there is no `(version 1)`");
    }
    let Some((default_allow, default_line)) = default else {
        return fault(1, "there is neither `(deny default)` nor `(allow default)`");
    };
    Ok(Profile {
        default_allow,
        default_line,
        rules,
        others,
    })
}

impl Reader<'_> {
    /// A rule; `None`: the default.
    fn rule(&self, node: &Node, allow: bool, rest: &[Node]) -> Result<Option<Rule>, Fault> {
        let word = |n: &Node| match &n.kind {
            Kind::Word(w) => Some(w.clone()),
            _ => None,
        };
        let names: Vec<String> = rest.iter().map_while(word).collect();
        let mut filters = Vec::new();
        for filter in &rest[names.len()..] {
            match call(filter) {
                Some(("with", with)) => self.with(filter, with)?,
                Some(_) => filters.push(filter),
                None => {
                    return fault(
                        filter.line,
                        format!("`{}` is no filter", shown(self.text, filter)),
                    );
                }
            }
        }
        if names.is_empty() {
            return fault(node.line, "a rule without operations");
        }
        if names.iter().any(|n| n == "default") {
            return match (names.as_slice(), filters.as_slice()) {
                ([_], []) => Ok(None),
                _ => fault(node.line, "`default` stands alone and takes no filter"),
            };
        }
        let mut operations = Vec::new();
        for name in &names {
            if let Some((known, _)) = PARENTS.iter().find(|(n, _)| n == name) {
                // Two names of one operation.
                operations.push(if *known == "process-exec" {
                    "process-exec*"
                } else {
                    *known
                });
            } else if matches!(name.as_str(), "file-link" | "file-clone") {
                if allow {
                    return fault(
                        node.line,
                        format!(
                            "`{name}` gives a file a second name, which no filter on paths follows"
                        ),
                    );
                }
            } else if !OTHERS.contains(&name.as_str()) {
                return fault(
                    node.line,
                    format!("`{name}` is no operation that polc knows"),
                );
            }
        }
        if operations.is_empty() {
            for filter in filters {
                self.other(filter)?;
            }
            return Ok(Some(Rule {
                allow,
                operations,
                filter: None,
                line: node.line,
                head: String::new(),
            }));
        }
        let mut read = Vec::with_capacity(filters.len());
        for filter in filters {
            read.push(self.filter(filter)?);
        }
        for operation in &operations {
            let ends: &[bool] = match *operation {
                "network-outbound" => &[true],
                "network-inbound" | "network-bind" => &[false],
                "network*" => &[],
                _ => continue,
            };
            for filter in &read {
                one_end(filter, ends)?;
            }
        }
        let filter = match read.len() {
            0 => None,
            1 => read.pop(),
            _ => Some(Filter::Any(read)),
        };
        let action = if allow { "allow" } else { "deny" };
        Ok(Some(Rule {
            allow,
            operations,
            filter,
            line: node.line,
            head: format!("({action} {}", names.join(" ")),
        }))
    }

    /// What a rule does besides; nothing that changes what is allowed.
    fn with(&self, node: &Node, rest: &[Node]) -> Result<(), Fault> {
        const HARMLESS: [&str; 7] = [
            "message",
            "no-log",
            "no-report",
            "report",
            "send-signal",
            "telemetry",
            "no-callout",
        ];
        match rest.first().map(|n| &n.kind) {
            Some(Kind::Word(w)) if HARMLESS.contains(&w.as_str()) => Ok(()),
            _ => fault(
                node.line,
                format!("`{}` is not read", shown(self.text, node)),
            ),
        }
    }

    /// A filter of a rule that decides nothing a policy has objects for: only that it is one.
    fn other(&self, node: &Node) -> Result<(), Fault> {
        match call(node) {
            Some(("require-any" | "require-all" | "require-not", rest)) => {
                rest.iter().try_for_each(|n| self.other(n))
            }
            Some((word, _)) if OTHER_FILTERS.contains(&word) => Ok(()),
            _ => self.filter(node).map(|_| ()),
        }
    }

    fn filter(&self, node: &Node) -> Result<Filter, Fault> {
        let line = node.line;
        let Some((word, rest)) = call(node) else {
            return fault(line, format!("`{}` is no filter", shown(self.text, node)));
        };
        let all = || -> Result<Vec<Filter>, Fault> {
            if rest.is_empty() {
                return fault(line, format!("`({word})` without a filter in it"));
            }
            rest.iter().map(|n| self.filter(n)).collect()
        };
        match word {
            "require-any" => Ok(Filter::Any(all()?)),
            "require-all" => Ok(Filter::All(all()?)),
            "require-not" => match rest {
                [one] => Ok(Filter::Not(Box::new(self.filter(one)?))),
                _ => fault(line, "`require-not` takes one filter"),
            },
            "literal" | "path" | "path-literal" | "subpath" | "prefix" | "regex" => {
                let mut patterns = Vec::new();
                if rest.is_empty() {
                    return fault(line, format!("`{word}` without a string"));
                }
                for n in rest {
                    let Kind::Text(bytes) = &n.kind else {
                        return fault(
                            n.line,
                            format!(
                                "`{}`: the value is not in this file; write the path itself",
                                shown(self.text, node)
                            ),
                        );
                    };
                    patterns.extend(path_patterns(word, bytes).or_else(|message| {
                        fault(n.line, format!("`{}`: {message}", shown(self.text, node)))
                    })?);
                }
                Ok(Filter::Paths(Paths {
                    patterns,
                    line,
                    text: shown(self.text, node),
                }))
            }
            "vnode-type" => match rest {
                [
                    Node {
                        kind: Kind::Word(w),
                        ..
                    },
                ] if w == "DIRECTORY" => Ok(Filter::Directory),
                _ => fault(line, "polc tells directories from other files, no more"),
            },
            "remote" | "local" => self.network(node, word == "remote", rest),
            _ => fault(
                line,
                format!(
                    "`{}` is no filter that polc reads here",
                    shown(self.text, node)
                ),
            ),
        }
    }

    fn network(&self, node: &Node, remote: bool, rest: &[Node]) -> Result<Filter, Fault> {
        let line = node.line;
        let odd = || {
            let shown = shown(self.text, node);
            fault(
                line,
                format!(
                    "`{shown}` is not read: a filter on addresses is `(remote tcp \"*:443\")`, of \
                     tcp, udp or ip, with the hosts `*` and `localhost`"
                ),
            )
        };
        let Some((
            Node {
                kind: Kind::Word(kind),
                ..
            },
            rest,
        )) = rest.split_first()
        else {
            return odd();
        };
        let mut out = Network {
            remote,
            tcp: matches!(kind.as_str(), "tcp" | "ip"),
            udp: matches!(kind.as_str(), "udp" | "ip"),
            unix: kind == "unix-socket" || kind == "unix",
            local_host: false,
            port: None,
            line,
            text: shown(self.text, node),
        };
        if out.unix {
            return match rest {
                [] => Ok(Filter::Network(out)),
                [one] => match self.filter(one)? {
                    Filter::Paths(paths) => Ok(Filter::Paths(paths)),
                    _ => odd(),
                },
                _ => odd(),
            };
        }
        if !out.tcp && !out.udp {
            return odd();
        }
        match rest {
            [] => {}
            [
                Node {
                    kind: Kind::Text(address),
                    ..
                },
            ] => {
                let address = std::str::from_utf8(address).unwrap_or("");
                let Some((host, port)) = address.rsplit_once(':') else {
                    return odd();
                };
                out.local_host = match host {
                    "*" => false,
                    "localhost" => true,
                    _ => return odd(),
                };
                if port != "*" {
                    match port.parse() {
                        Ok(number) if port.bytes().all(|b| b.is_ascii_digit()) => {
                            out.port = Some(number);
                        }
                        _ => return odd(),
                    }
                }
            }
            _ => return odd(),
        }
        Ok(Filter::Network(out))
    }
}

/// That addresses in the filter are of one of these ends.
fn one_end(filter: &Filter, ends: &[bool]) -> Result<(), Fault> {
    match filter {
        Filter::Any(list) | Filter::All(list) => list.iter().try_for_each(|f| one_end(f, ends)),
        Filter::Not(f) => one_end(f, ends),
        Filter::Network(n) if !ends.contains(&n.remote) && !n.unix => fault(
            n.line,
            format!(
                "`{}`: polc reads `remote` for network-outbound, `local` for network-bind and \
                 network-inbound",
                n.text
            ),
        ),
        _ => Ok(()),
    }
}

fn path_patterns(word: &str, bytes: &[u8]) -> Result<Vec<Vec<Step>>, String> {
    if word == "regex" {
        return regex::patterns(bytes);
    }
    let literal: Vec<Step> = bytes.iter().map(|b| Step::Byte(*b)).collect();
    if word == "prefix" {
        let mut steps = literal;
        steps.push(Step::Star(ByteSet::ALL));
        return Ok(regex::of_paths(steps));
    }
    let canonical = bytes == b"/"
        || (bytes.starts_with(b"/")
            && bytes[1..]
                .split(|b| *b == b'/')
                .all(|c| !c.is_empty() && c != b"." && c != b".."));
    if !canonical || bytes.contains(&0) {
        return Err("the path is not absolute and plain, and matches nothing".into());
    }
    let mut steps = if bytes == b"/" { Vec::new() } else { literal };
    if word == "subpath" {
        steps.push(Step::AnyDepth);
    }
    Ok(vec![steps])
}
