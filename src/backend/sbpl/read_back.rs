//! Reads a Seatbelt profile back, and evaluates it as Seatbelt does, as far as we know: a **model**.
//!
//! We had no macOS machine. Others measured or read the rules below:
//!
//! - The last match wins: microsoft/mxc, issue 754.
//! - A specific operation beats its wildcard, and an unfiltered rule beats no filtered one: the profiles of Anthropic's
//!   sandbox-runtime and of nono.
//! - Which operation falls back on which: simbple's table (macOS 10.15).
//!
//! The reader shares nothing with the lowering.
//!
//! - The last filtered rule that matches decides an operation. Without one, a rule without a filter decides. Without
//!   that, the operation that it falls back on decides (`file-write-data`, `file-write*`, `file*`), and at last the
//!   default. `file-map-executable` falls back on the default directly. The reader takes `process-exec` and
//!   `process-exec*` for two names of one operation.
//! - `literal` is one path, `subpath` is a path and what lies beneath, and `prefix` compares bytes. A regular
//!   expression may match anywhere in the path unless it is anchored. The reader takes it to be over bytes ([`regex`]).
//! - A filter that asks for something that the object lacks (the path of an address) does not match.
//! - Reading a file and listing a directory are `file-read-data`. Attributes are `file-read-xattr`. Mapping code is
//!   `file-map-executable`. Changing contents is `file-write-data`: truncation has no operation of its own. `metadata`
//!   is five operations, and each is a way.
//! - If `file-write-unlink` is allowed on a directory, the directory can be renamed away with everything beneath.
//! - Listening takes `network-bind` and `network-inbound`. Connecting takes `network-outbound`. `localhost` stands for
//!   the loopback addresses. With `--proxy-port`, the proxy decides about TCP to other hosts, if the profile closes it
//!   and opens the proxy's port on localhost.
//! - /tmp, /var and /etc are links to /private. So a path there has a second name, and what the policy says about one
//!   name holds for the other ([`Evaluate::as_meant`]).
//! - The reader refuses a profile in which a rule allows `file-link` or `file-clone`. It does not look at what `(allow
//!   default)` lets them do.

mod deciding;
mod expression;
mod filter;
mod operations;
mod profile;
mod regex;
mod sets;
#[cfg(test)]
mod tests;

use self::deciding::Prepared;
use self::profile::{Filter, Network, Profile, Rule};
use self::sets::{Asked, Decider, Formula, order};
use crate::backend::{Allowed, Answers, Artifact, Clause, Evaluate, Form, HostCuts, OnPaths};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Object, show_bytes};
use crate::policy::{
    Address, Cidr, Component, HostSpec, Objects, Operation, PathPattern, Platform, Policy,
    Protocol, Sequence,
};
use crate::semantics::{PathSet, StepsIndex, TooLarge, matches_tokens};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A profile that was read back.
pub(super) struct Seatbelt {
    profile: Profile,
    proxy: Option<u16>,
    answers: Answers,
    /// Several operations often have one set of paths.
    sets: Mutex<FxHashMap<Decider, PathSet>>,
    peers: Mutex<FxHashMap<(Operation, Peer), Option<bool>>>,
    index: OnceLock<StepsIndex>,
    /// What decides an operation in its first way.
    deciding: [OnceLock<Deciding>; Operation::ON_PATHS.len()],
}

/// The rule that decides an address, and the part of it that is about the address. `None`: the default decides.
type Decides<'r> = Option<(&'r Rule, Option<&'r Network>)>;

/// The numbers of the rules in the order in which they decide, each with its filter.
type Deciding = Vec<(usize, Option<Prepared>)>;

/// Reads it.
///
/// # Errors
/// The reader does not understand the profile.
pub(super) fn read(artifact: &Artifact, proxy: Option<u16>) -> Result<Seatbelt, Diagnostics> {
    let name = show_bytes(artifact.file_name.as_bytes());
    let refuse = |line: usize, message: String| -> Diagnostics {
        Diagnostic::error("E115", format!("`{name}`, line {line}: {message}"))
            .help("`polc emit sbpl` makes a profile anew; what was added by hand can be written as it writes it")
            .into()
    };
    let text = std::str::from_utf8(&artifact.bytes).map_err(|e| {
        let before = &artifact.bytes[..e.valid_up_to()];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        refuse(line, "it is not UTF-8".to_owned())
    })?;
    let profile = expression::parse(text)
        .and_then(|nodes| profile::profile(text, &nodes))
        .map_err(|f| refuse(f.line, f.message))?;
    Ok(Seatbelt {
        profile,
        proxy,
        answers: Answers::default(),
        sets: Mutex::default(),
        peers: Mutex::default(),
        index: OnceLock::new(),
        deciding: Default::default(),
    })
}

/// The operations of Seatbelt for each operation of the policy, with the form that each is asked for. Each is a way.
fn ways(operation: Operation) -> &'static [(&'static str, Form)] {
    match operation {
        Operation::Read => &[
            ("file-read-data", Form::File),
            ("file-map-executable", Form::File),
            ("file-read-xattr", Form::File),
            ("file-read-xattr", Form::Directory),
        ],
        Operation::List => &[("file-read-data", Form::Directory)],
        Operation::Edit => &[("file-write-data", Form::File)],
        Operation::Create => &[
            ("file-write-create", Form::File),
            ("file-write-create", Form::Directory),
        ],
        Operation::Delete => &[
            ("file-write-unlink", Form::File),
            ("file-write-unlink", Form::Directory),
            ("file-write-unlink", Form::Moved),
        ],
        Operation::Metadata => &[
            ("file-write-mode", Form::File),
            ("file-write-mode", Form::Directory),
            ("file-write-owner", Form::File),
            ("file-write-owner", Form::Directory),
            ("file-write-flags", Form::File),
            ("file-write-flags", Form::Directory),
            ("file-write-times", Form::File),
            ("file-write-times", Form::Directory),
            ("file-write-xattr", Form::File),
            ("file-write-xattr", Form::Directory),
        ],
        Operation::Execute => &[("process-exec*", Form::File)],
        Operation::Connect => &[("network-outbound", Form::File)],
        _ => &[],
    }
}

fn asked(operation: Operation, form: Form) -> Asked {
    Asked {
        directory: matches!(form, Form::Directory | Form::Moved),
        socket: operation == Operation::Connect,
    }
}

impl Seatbelt {
    fn set(&self, decider: &Decider) -> Result<PathSet, TooLarge> {
        let key = decider.by_pattern(&self.profile);
        let known = || self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = known().get(&key) {
            return Ok(set.clone());
        }
        let set = key.set(&self.profile)?;
        known().insert(key, set.clone());
        Ok(set)
    }

    /// What decides the operation in its first way. `None`: it is not an operation on paths.
    fn deciding(&self, operation: Operation) -> Option<&Deciding> {
        let at = Operation::ON_PATHS.iter().position(|o| *o == operation)?;
        let (name, form) = ways(operation).first()?;
        let profile = &self.profile;
        Some(self.deciding[at].get_or_init(|| {
            let prepared = |rule: usize| {
                let filter = profile.rules[rule].filter.as_ref()?;
                let formula = Formula::of(filter, asked(operation, *form), false);
                Some(Prepared::new(profile, &formula))
            };
            let rules = order(profile, name);
            rules.into_iter().map(|r| (r, prepared(r))).collect()
        }))
    }

    fn answer(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        let mut known: Vec<(Decider, PathSet)> = Vec::new();
        let mut out: Vec<(Form, usize, Vec<String>)> = Vec::new();
        // Most ways have the same rules, and these ask for nothing but the path.
        let mut same: Vec<((Vec<usize>, Asked), usize)> = Vec::new();
        for (name, form) in ways(operation) {
            let rules = order(&self.profile, name);
            let asked = asked(operation, *form).of_rules(&self.profile, &rules);
            let key = (rules, asked);
            let at = match same.iter().find(|(k, _)| *k == key) {
                Some((_, at)) => *at,
                None => {
                    let decider = Decider::of(&self.profile, &key.0, asked);
                    let at = match known.iter().position(|(d, _)| *d == decider) {
                        Some(at) => at,
                        None => {
                            let set = self.set(&decider)?;
                            known.push((decider, set));
                            known.len() - 1
                        }
                    };
                    same.push((key, at));
                    at
                }
            };
            let way = format!("{name} {form:?}");
            match out.iter_mut().find(|(f, a, _)| (*f, *a) == (*form, at)) {
                Some((_, _, ways)) => ways.push(way),
                None => out.push((*form, at, vec![way])),
            }
        }
        // One answer for both if the type of the object does not matter.
        let ways_of = |form, at| {
            let own = out.iter().find(|o| (o.0, o.1) == (form, at));
            own.map(|o| o.2.as_slice())
        };
        let mut allowed = Vec::new();
        for (form, at, ways) in &out {
            let (mut form, mut ways) = (*form, ways.clone());
            match form {
                Form::File => {
                    if let Some(more) = ways_of(Form::Directory, *at) {
                        form = Form::Either;
                        ways.extend_from_slice(more);
                    }
                }
                Form::Directory if ways_of(Form::File, *at).is_some() => continue,
                _ => {}
            }
            allowed.push(Allowed {
                form,
                ways,
                paths: known[*at].1.clone(),
            });
        }
        Ok(OnPaths::Allows(allowed))
    }

    /// Whether an address is allowed, and what decides it.
    fn address(&self, name: &'static str, peer: Peer) -> (bool, Decides<'_>) {
        for rule in order(&self.profile, name) {
            let rule = &self.profile.rules[rule];
            let hit = match &rule.filter {
                None => Some(None),
                // Most filters are on paths.
                Some(_) if rule.elsewhere == Some(false) => None,
                Some(filter) => match holds(filter, peer) {
                    (true, network) => Some(network),
                    (false, _) => None,
                },
            };
            if let Some(network) = hit {
                return (rule.allow, Some((rule, network)));
            }
        }
        (self.profile.default_allow, None)
    }

    /// The same as a clause.
    fn address_clause(&self, by: Decides<'_>) -> Clause {
        match by {
            Some((rule, Some(n))) => clause(n.line, format!("{} … {})", rule.head, n.text)),
            Some((rule, None)) => clause(rule.line, format!("{} …)", rule.head)),
            None => self.default_clause(),
        }
    }

    fn default_clause(&self) -> Clause {
        let action = if self.profile.default_allow {
            "allow"
        } else {
            "deny"
        };
        clause(self.profile.default_line, format!("({action} default)"))
    }

    /// Whether an address is allowed. `None`: the proxy decides. Many addresses are one peer.
    fn peer(&self, operation: Operation, peer: Peer) -> Option<bool> {
        let known = || self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = known().get(&(operation, peer)) {
            return *said;
        }
        let allowed = network_operations(operation)
            .iter()
            .all(|name| self.address(name, peer).0);
        let proxied = self.proxy.is_some_and(|port| {
            let proxy = Peer {
                tcp: true,
                local: true,
                port,
            };
            // If everything is open by default, the proxy is not the only way out.
            operation == Operation::Connect
                && !self.profile.default_allow
                && peer.tcp
                && !peer.local
                && self.address("network-outbound", proxy).0
        });
        let said = (allowed || !proxied).then_some(allowed);
        known().insert((operation, peer), said);
        said
    }

    fn host(&self, operation: Operation, host: &HostSpec) -> Option<bool> {
        let mut all = true;
        for protocol in Protocol::ALL {
            if host.protocol.is_none_or(|p| p == protocol) {
                all &= self.peer(operation, Peer::of(host, protocol))?;
            }
        }
        Some(all)
    }
}

fn clause(line: usize, text: String) -> Clause {
    Clause {
        artifact: 0,
        line,
        text,
    }
}

fn network_operations(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::Connect => &["network-outbound"],
        Operation::Bind => &["network-bind", "network-inbound"],
        _ => &[],
    }
}

/// An address as filters see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Peer {
    tcp: bool,
    local: bool,
    port: u16,
}

impl Peer {
    /// A name stands for the addresses of other hosts, unless it is `localhost`. Addresses of this host are asked for
    /// as such.
    fn of(host: &HostSpec, protocol: Protocol) -> Self {
        Self {
            tcp: protocol == Protocol::Tcp,
            local: match &host.address {
                Address::Ip(ip) => ip.to_canonical().is_loopback(),
                Address::Name(name) => name == "localhost",
            },
            port: host.port,
        }
    }
}

/// Whether a filter matches an address, and by which part.
fn holds(filter: &Filter, peer: Peer) -> (bool, Option<&Network>) {
    match filter {
        Filter::Paths(_) | Filter::Directory => (false, None),
        Filter::Not(f) => (!holds(f, peer).0, None),
        Filter::Any(list) => {
            let hit = list.iter().map(|f| holds(f, peer)).find(|h| h.0);
            hit.unwrap_or((false, None))
        }
        Filter::All(list) => {
            let all: Vec<_> = list.iter().map(|f| holds(f, peer)).collect();
            (
                all.iter().all(|h| h.0),
                all.iter().find_map(|h| h.1.filter(|_| h.0)),
            )
        }
        Filter::Network(n) => {
            let protocol = if peer.tcp { n.tcp } else { n.udp };
            let host = peer.local || !n.local_host;
            let port = n.port.is_none_or(|p| p == peer.port);
            (protocol && host && port, Some(n))
        }
    }
}

fn ports(filter: &Filter, out: &mut BTreeSet<u16>) {
    match filter {
        Filter::Any(list) | Filter::All(list) => list.iter().for_each(|f| ports(f, out)),
        Filter::Not(f) => ports(f, out),
        Filter::Network(Network {
            port: Some(port), ..
        }) => {
            out.insert(*port);
            out.extend(port.checked_add(1));
        }
        _ => {}
    }
}

impl Evaluate for Seatbelt {
    fn platform(&self) -> Platform {
        Platform::MacOs
    }

    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        self.answers.of(operation, || self.answer(operation))
    }

    fn host_cuts(&self, operation: Operation) -> Option<HostCuts> {
        let names = network_operations(operation);
        if names.is_empty() {
            return None;
        }
        let mut cuts = BTreeSet::new();
        for rule in names.iter().flat_map(|n| order(&self.profile, n)) {
            if let Some(filter) = &self.profile.rules[rule].filter {
                ports(filter, &mut cuts);
            }
        }
        cuts.extend(self.proxy);
        cuts.extend(self.proxy.and_then(|p| p.checked_add(1)));
        Some(HostCuts {
            ports: cuts.into_iter().collect(),
            blocks: vec![
                Cidr {
                    address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
                    prefix: 8,
                },
                Cidr {
                    address: IpAddr::V6(Ipv6Addr::LOCALHOST),
                    prefix: 128,
                },
            ],
            names: vec!["localhost".to_owned()],
        })
    }

    fn allows(&self, operation: Operation, object: &Object) -> Option<bool> {
        let path = match object {
            Object::Host(host) if !network_operations(operation).is_empty() => {
                return self.host(operation, host);
            }
            Object::Path(path) => path,
            Object::Command(words) => words.first().filter(|p| p.starts_with(b"/"))?,
            _ => return None,
        };
        match self.paths(operation).ok()? {
            OnPaths::Silent => None,
            OnPaths::Allows(forms) => {
                let mut own = forms.iter().filter(|f| f.form != Form::Moved);
                Some(own.any(|f| f.paths.contains(path)))
            }
        }
    }

    fn as_meant(&self, policy: &Policy) -> Option<Policy> {
        let mut out = policy.clone();
        let mut more = false;
        let mut add = |p: &mut PathPattern| {
            let names: Vec<Sequence> = p.sequences.iter().flat_map(second_names).collect();
            more |= !names.is_empty();
            p.sequences.extend(names);
        };
        for rule in &mut out.rules {
            match &mut rule.objects {
                Objects::Paths { paths, except } => {
                    paths.iter_mut().chain(except).for_each(&mut add);
                }
                Objects::Commands { commands, except } => {
                    let programs = commands.iter_mut().chain(except).map(|c| &mut c.program);
                    programs.for_each(&mut add);
                }
                _ => {}
            }
        }
        more.then_some(out)
    }

    fn others(&self) -> BTreeSet<String> {
        self.profile.others.clone()
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        let path = match object {
            Object::Host(host) => {
                let protocol = host.protocol.unwrap_or(Protocol::Tcp);
                let peer = Peer::of(host, protocol);
                let found: Vec<_> = network_operations(operation)
                    .iter()
                    .map(|n| self.address(n, peer))
                    .collect();
                let denies = found.iter().find(|f| !f.0);
                return denies.or(found.first()).map(|f| self.address_clause(f.1));
            }
            Object::Path(path) => path,
            Object::Command(words) => words.first()?,
            _ => return None,
        };
        let profile = &self.profile;
        let index = self.index.get_or_init(|| profile.index());
        let mut nearly = None;
        for (rule, filter) in self.deciding(operation)? {
            let rule = &profile.rules[*rule];
            let Some(filter) = filter else {
                return Some(clause(rule.line, format!("{})", rule.head)));
            };
            let (holds, from) = filter.decide(profile, index, path);
            let from = from.map(|p| &profile.paths[p as usize]);
            match (holds, from) {
                (true, Some(p)) => {
                    let text = format!("{} … {})", rule.head, profile.written(p));
                    return Some(clause(p.line, text));
                }
                (true, None) => return Some(clause(rule.line, format!("{} …)", rule.head))),
                // The path is an exception of the rule.
                (false, Some(p)) => {
                    let written = profile.written(p);
                    let text = format!("{} … (require-not {written}))", rule.head);
                    nearly.get_or_insert(clause(p.line, text));
                }
                (false, None) => {}
            }
        }
        Some(nearly.unwrap_or_else(|| self.default_clause()))
    }
}

/// The names of the same objects in /private.
fn second_names(sequence: &Sequence) -> Vec<Sequence> {
    let Some((Component::Name(first), rest)) = sequence.components.split_first() else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for link in ["tmp", "var", "etc"] {
        if !matches_tokens(first, link.as_bytes()) {
            continue;
        }
        let mut name = Sequence::literal(format!("/private/{link}").as_bytes());
        name.components.extend(rest.iter().cloned());
        out.push(name);
    }
    out
}

/// Whether the text looks like one: its first list is `(version …)`.
pub(super) fn recognises(artifact: &Artifact) -> bool {
    let Ok(text) = std::str::from_utf8(&artifact.bytes) else {
        return artifact.file_name.ends_with(".sb");
    };
    let first = text
        .lines()
        .map(str::trim_start)
        .find(|l| !l.is_empty() && !l.starts_with(';'));
    first.is_some_and(|l| {
        l.strip_prefix('(')
            .is_some_and(|l| l.trim_start().starts_with("version"))
    }) || artifact.file_name.ends_with(".sb")
}
