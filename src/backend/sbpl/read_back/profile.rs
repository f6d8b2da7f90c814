//! Parses rules, operations and filters.

use super::expression::{Fault, Kind, Node, fault};
use super::operations::{OTHER_FILTERS, OTHERS, PARENTS};
use super::regex;
use crate::fidelity::show_bytes;
use crate::policy::ByteSet;
use crate::semantics::{Step, StepsIndex};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::ops::Range;

/// A filter on paths: where it is written, and what it says. Two filters with the same text on one line are one.
#[derive(Debug)]
pub(super) struct Paths {
    /// What it matches: one of [`Profile::patterns`].
    pub pattern: u32,
    pub line: usize,
    range: Range<usize>,
}

/// Which end of a connection, of which protocols, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// `remote`, else `local`.
    pub remote: bool,
    pub tcp: bool,
    pub udp: bool,
    /// It is for unix sockets.
    pub unix: bool,
    /// It is for `localhost` alone.
    pub local_host: bool,
    /// `None`: every port.
    pub port: Option<u16>,
    pub line: usize,
    pub text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// One of [`Profile::paths`].
    Paths(u32),
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    Directory,
    Network(Network),
}

impl Filter {
    /// Whether it matches all addresses or none. `None`: it depends on the address.
    fn elsewhere(&self) -> Option<bool> {
        match self {
            Self::Paths(_) | Self::Directory => Some(false),
            Self::Network(_) => None,
            Self::Not(f) => f.elsewhere().map(|b| !b),
            Self::Any(list) => {
                let all: Option<Vec<bool>> = list.iter().map(Self::elsewhere).collect();
                all.map(|all| all.contains(&true))
            }
            Self::All(list) => {
                let all: Option<Vec<bool>> = list.iter().map(Self::elsewhere).collect();
                all.map(|all| !all.contains(&false))
            }
        }
    }

    /// Whether it asks for more than the path: a directory, or a socket.
    fn is_typed(&self) -> bool {
        match self {
            Self::Paths(_) => false,
            Self::Network(_) | Self::Directory => true,
            Self::Not(f) => f.is_typed(),
            Self::Any(list) | Self::All(list) => list.iter().any(Self::is_typed),
        }
    }
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub allow: bool,
    /// Operations of [`PARENTS`].
    pub operations: Vec<&'static str>,
    /// `None`: unfiltered.
    pub filter: Option<Filter>,
    /// Whether the filter matches addresses, if that does not depend on the address.
    pub elsewhere: Option<bool>,
    /// Whether it asks for the type of the object.
    pub typed: bool,
    pub line: usize,
    /// The beginning of its text: `(allow file-read-data`
    pub head: String,
}

#[derive(Debug)]
pub(super) struct Profile {
    pub default_allow: bool,
    pub default_line: usize,
    pub rules: Vec<Rule>,
    /// The rules about operations that have no objects, on one line each.
    pub others: BTreeSet<String>,
    /// The filters on paths.
    pub paths: Vec<Paths>,
    /// The patterns of those filters. The same filter is written many times, but its patterns are made once.
    pub patterns: Vec<Vec<Vec<Step>>>,
    text: String,
}

impl Profile {
    /// An index of the patterns by their beginnings.
    pub fn index(&self) -> StepsIndex {
        let mut out = StepsIndex::default();
        for (number, lines) in self.patterns.iter().enumerate() {
            lines.iter().for_each(|steps| out.add(steps, number));
        }
        out
    }

    /// The text of a filter on paths, on one line.
    pub fn written(&self, paths: &Paths) -> String {
        on_one_line(&self.text[paths.range.clone()])
    }
}

/// The text of a node on one line, shortened.
fn shown(text: &str, node: &Node<'_>) -> String {
    on_one_line(&text[node.range.clone()])
}

/// The text on one line, shortened.
fn on_one_line(text: &str) -> String {
    let written: Vec<&str> = text.split_whitespace().collect();
    let written = written.join(" ");
    match written.char_indices().nth(160) {
        None => show_bytes(written.as_bytes()),
        Some((cut, _)) => format!("{}…", show_bytes(&written.as_bytes()[..cut])),
    }
}

struct Reader<'t> {
    text: &'t str,
    paths: Vec<Paths>,
    patterns: Vec<Vec<Vec<Step>>>,
    /// By text: the index in `patterns`, and the last of `paths` with this text.
    written: FxHashMap<&'t str, (u32, u32)>,
}

/// The word that a list begins with, and the rest.
fn call<'n, 't>(node: &'n Node<'t>) -> Option<(&'t str, &'n [Node<'t>])> {
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

/// Parses the rules.
pub(super) fn profile(text: &str, nodes: &[Node<'_>]) -> Result<Profile, Fault> {
    let mut reader = Reader {
        text,
        paths: Vec::new(),
        patterns: Vec::new(),
        written: FxHashMap::default(),
    };
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
                ] if *one == "1" => version = true,
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
                let other = |n: &Node<'_>| matches!(&n.kind, Kind::Word(w) if OTHERS.contains(w));
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
        paths: reader.paths,
        patterns: reader.patterns,
        text: text.to_owned(),
    })
}

impl<'t> Reader<'t> {
    /// A rule. `None`: the default.
    fn rule(
        &mut self,
        node: &Node<'t>,
        allow: bool,
        rest: &[Node<'t>],
    ) -> Result<Option<Rule>, Fault> {
        let word = |n: &Node<'t>| match n.kind {
            Kind::Word(w) => Some(w),
            _ => None,
        };
        let names: Vec<&str> = rest.iter().map_while(word).collect();
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
        if names.contains(&"default") {
            return match (names.as_slice(), filters.as_slice()) {
                ([_], []) => Ok(None),
                _ => fault(node.line, "`default` stands alone and takes no filter"),
            };
        }
        let mut operations = Vec::new();
        for name in &names {
            if let Some((known, _)) = PARENTS.iter().find(|(n, _)| n == name) {
                // These are two names of one operation.
                operations.push(if *known == "process-exec" {
                    "process-exec*"
                } else {
                    *known
                });
            } else if matches!(*name, "file-link" | "file-clone") {
                if allow {
                    return fault(
                        node.line,
                        format!(
                            "`{name}` gives a file a second name, which no filter on paths follows"
                        ),
                    );
                }
            } else if !OTHERS.contains(name) {
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
                elsewhere: None,
                typed: false,
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
            elsewhere: filter.as_ref().and_then(Filter::elsewhere),
            typed: filter.as_ref().is_some_and(Filter::is_typed),
            filter,
            line: node.line,
            head: format!("({action} {}", names.join(" ")),
        }))
    }

    /// What a rule does besides. It changes nothing about what is allowed.
    fn with(&self, node: &Node<'t>, rest: &[Node<'t>]) -> Result<(), Fault> {
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
            Some(Kind::Word(w)) if HARMLESS.contains(w) => Ok(()),
            _ => fault(
                node.line,
                format!("`{}` is not read", shown(self.text, node)),
            ),
        }
    }

    /// A filter of a rule that decides nothing about a policy's objects. Checks only that it is a filter.
    fn other(&mut self, node: &Node<'t>) -> Result<(), Fault> {
        match call(node) {
            Some(("require-any" | "require-all" | "require-not", rest)) => {
                rest.iter().try_for_each(|n| self.other(n))
            }
            Some((word, _)) if OTHER_FILTERS.contains(&word) => Ok(()),
            _ => self.filter(node).map(|_| ()),
        }
    }

    fn filters(&mut self, node: &Node<'t>) -> Result<Vec<Filter>, Fault> {
        match call(node) {
            Some((_, rest @ [_, ..])) => rest.iter().map(|n| self.filter(n)).collect(),
            Some((word, [])) => fault(node.line, format!("`({word})` without a filter in it")),
            None => fault(
                node.line,
                format!("`{}` is no filter", shown(self.text, node)),
            ),
        }
    }

    fn filter(&mut self, node: &Node<'t>) -> Result<Filter, Fault> {
        let line = node.line;
        let Some((word, rest)) = call(node) else {
            return fault(line, format!("`{}` is no filter", shown(self.text, node)));
        };
        match word {
            "require-any" => Ok(Filter::Any(self.filters(node)?)),
            "require-all" => Ok(Filter::All(self.filters(node)?)),
            "require-not" => match rest {
                [one] => Ok(Filter::Not(Box::new(self.filter(one)?))),
                _ => fault(line, "`require-not` takes one filter"),
            },
            "literal" | "path" | "path-literal" | "subpath" | "prefix" | "regex" => {
                self.paths(node, word, rest)
            }
            "vnode-type" => match rest {
                [
                    Node {
                        kind: Kind::Word(w),
                        ..
                    },
                ] if *w == "DIRECTORY" => Ok(Filter::Directory),
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

    /// A filter on paths.
    fn paths(&mut self, node: &Node<'t>, word: &str, rest: &[Node<'t>]) -> Result<Filter, Fault> {
        let line = node.line;
        let written = &self.text[node.range.clone()];
        let known = self.written.get(written).copied();
        if let Some((_, at)) = known
            && self.paths[at as usize].line == line
        {
            return Ok(Filter::Paths(at));
        }
        let pattern = match known {
            Some((pattern, _)) => pattern,
            None => {
                let patterns = self.patterns_of(node, word, rest)?;
                self.patterns.push(patterns);
                self.patterns.len() as u32 - 1
            }
        };
        let at = self.paths.len() as u32;
        self.paths.push(Paths {
            pattern,
            line,
            range: node.range.clone(),
        });
        self.written.insert(written, (pattern, at));
        Ok(Filter::Paths(at))
    }

    fn patterns_of(
        &self,
        node: &Node<'t>,
        word: &str,
        rest: &[Node<'t>],
    ) -> Result<Vec<Vec<Step>>, Fault> {
        let mut patterns = Vec::new();
        if rest.is_empty() {
            return fault(node.line, format!("`{word}` without a string"));
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
        Ok(patterns)
    }

    fn network(
        &mut self,
        node: &Node<'t>,
        remote: bool,
        rest: &[Node<'t>],
    ) -> Result<Filter, Fault> {
        let line = node.line;
        let text = self.text;
        let odd = || {
            let shown = shown(text, node);
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
            tcp: matches!(*kind, "tcp" | "ip"),
            udp: matches!(*kind, "udp" | "ip"),
            unix: matches!(*kind, "unix-socket" | "unix"),
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

/// Checks that addresses in the filter are of one of these ends.
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
