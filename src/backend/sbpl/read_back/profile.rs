//! Parses rules, operations and filters.

use super::expression::{Fault, Kind, Node, fault};
pub(super) use super::filter::{Filter, Network, Paths};
use super::operations::{OTHER_FILTERS, OTHERS, PARENTS};
use super::regex;
use crate::fidelity::show_bytes;
use crate::policy::ByteSet;
use crate::semantics::{Step, StepsIndex};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

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
        on_one_line(&format!(
            "({} {})",
            paths.word,
            &self.text[paths.range.clone()]
        ))
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
    written: FxHashMap<(&'static str, &'t str), (u32, u32)>,
    /// The filters with names, each with its size.
    defined: FxHashMap<&'t str, (Filter, usize)>,
    /// Names may stand for filters: in a filter that is given a name they do not, or profiles would grow without end.
    takes_names: bool,
    /// How many filters names have stood for.
    used: usize,
}

/// More filters than this are not put in the place of names.
const MAX_USED: usize = 4_000_000;

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
        defined: FxHashMap::default(),
        takes_names: true,
        used: 0,
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
            "define" => reader.define(node, rest)?,
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
        let names = rest.iter().map_while(word);
        let names: Vec<&str> = names
            .take_while(|w| !self.defined.contains_key(w))
            .collect();
        let mut filters = Vec::new();
        for filter in &rest[names.len()..] {
            match call(filter) {
                Some(("with", with)) => self.with(filter, with)?,
                Some(_) => filters.push(filter),
                None if word(filter).is_some() => filters.push(filter),
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

    /// A filter that is given a name.
    fn define(&mut self, node: &Node<'t>, rest: &[Node<'t>]) -> Result<(), Fault> {
        let [
            Node {
                kind: Kind::Word(name),
                ..
            },
            filter,
        ] = rest
        else {
            return fault(node.line, "polc reads `(define NAME FILTER)`");
        };
        // A name that means something already would change what the rules below say.
        let own = name.starts_with("rule-") || name.starts_with("polc-");
        if !own || self.defined.contains_key(name) {
            return fault(
                node.line,
                format!(
                    "`{name}` cannot be defined: a name begins with `rule-`, and is given once"
                ),
            );
        }
        self.takes_names = false;
        let filter = self.filter(filter);
        self.takes_names = true;
        let filter = filter?;
        let size = filter.size();
        self.defined.insert(name, (filter, size));
        Ok(())
    }

    /// The filter that a name stands for.
    fn by_name(&mut self, line: usize, name: &str) -> Result<Filter, Fault> {
        let Some((filter, size)) = self.defined.get(name).filter(|_| self.takes_names) else {
            return fault(line, format!("`{name}` is no filter, and no name of one"));
        };
        self.used += size;
        if self.used > MAX_USED {
            return fault(line, "names stand for too many filters");
        }
        Ok(filter.clone())
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
        if let Kind::Word(name) = node.kind {
            return self.by_name(line, name);
        }
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

    /// A filter on paths: one for each of its strings.
    fn paths(&mut self, node: &Node<'t>, word: &str, rest: &[Node<'t>]) -> Result<Filter, Fault> {
        const WORDS: [&str; 6] = [
            "literal",
            "path",
            "path-literal",
            "subpath",
            "prefix",
            "regex",
        ];
        let word = WORDS.into_iter().find(|w| *w == word).unwrap_or("literal");
        match rest {
            [] => fault(node.line, format!("`{word}` without a string")),
            [one] => self.path(node, word, one),
            _ => {
                let all = rest.iter().map(|one| self.path(node, word, one));
                Ok(Filter::Any(all.collect::<Result<_, _>>()?))
            }
        }
    }

    fn path(
        &mut self,
        node: &Node<'t>,
        word: &'static str,
        string: &Node<'t>,
    ) -> Result<Filter, Fault> {
        let line = string.line;
        let key = (word, &self.text[string.range.clone()]);
        let known = self.written.get(&key).copied();
        if let Some((_, at)) = known
            && self.paths[at as usize].line == line
        {
            return Ok(Filter::Paths(at));
        }
        let pattern = match known {
            Some((pattern, _)) => pattern,
            None => {
                let Kind::Text(bytes) = &string.kind else {
                    return fault(
                        line,
                        format!(
                            "`{}`: the value is not in this file; write the path itself",
                            shown(self.text, node)
                        ),
                    );
                };
                let patterns = path_patterns(word, bytes).or_else(|message| {
                    fault(line, format!("`{}`: {message}", shown(self.text, node)))
                })?;
                self.patterns.push(patterns);
                self.patterns.len() as u32 - 1
            }
        };
        let at = self.paths.len() as u32;
        self.paths.push(Paths {
            pattern,
            line,
            word,
            range: string.range.clone(),
        });
        self.written.insert(key, (pattern, at));
        Ok(Filter::Paths(at))
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
                    paths @ Filter::Paths(_) => Ok(paths),
                    Filter::Any(list) if list.iter().all(|f| matches!(f, Filter::Paths(_))) => {
                        Ok(Filter::Any(list))
                    }
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
