//! Reads TracingPolicies back, and evaluates them as the Tetragon agent and the kernel do.
//!
//! Sources: Tetragon 1.8's source and CRD (schema 1.8.13), the real agent on a 6.1 kernel, and the callers of each
//! function in Linux 6.1 and 6.12. The reader shares nothing with the lowering.
//!
//! - The first selector of a kprobe whose filters all match wins. Of one filter, one value has to match. Of a negated
//!   filter, none may match. Several kprobes on one function are asked one after the other.
//! - `Override` stops the call. `Sigkill` alone does not promise that, so the reader ignores it. `NoPost` above a
//!   refusal is an exception from it.
//! - `Prefix`, `Postfix` and `Equal` compare bytes. The path `/` arrives as an empty string and matches no operator
//!   (seen).
//! - Reading is `security_file_permission` with MAY_READ, or `security_mmap_file`. Listing is the first alone. Changing
//!   contents is the first with MAY_WRITE, a shared mapping for writing, or truncation (another function from Linux 6.2
//!   on). Each is a way. Creating and deleting are checked on the directory in which they happen, and `rename` is both.
//!   Moving a directory away is checked like any rename.
//! - A mapping for writing may be refused only because reading is refused. So it counts as refused only if
//!   `security_file_permission` refuses writing too. A rename onto a name deletes the object with that name, but may be
//!   refused only because creating is refused. So it counts for deleting only if the first way of deleting is refused
//!   too.
//! - The kernel may refuse reading where the policy refuses only writing. So a refused mapping for writing says nothing
//!   about writing if mapping for reading is refused too. A rename onto a name deletes the object with that name. If
//!   that rename is refused as creating, it says nothing about deleting.
//! - Sockets are refused by family and type. TCP and connected UDP are refused by address and port. A packet that is
//!   sent without connecting passes no function here. A raw or packet socket sends anything. A name may have any
//!   address.
//! - Calls such as mknod, mkdir and symlink are checked one by one. A call without a hook is open.
//! - The reader refuses objects that do not bind the subject's children, that exceed the agent's limits, or that bind
//!   different subjects.

mod document;
mod sets;
#[cfg(test)]
mod tests;

use self::document::{Choice, Hook, Kind, Operator};
use self::sets::{
    Sees, Way, deciding, live, numbers_match, open, open_together, refusing, tangled,
};
use crate::backend::{
    Allowed, Answers, Artifact, Clause, Confines, Deciders, Deciding, Evaluate, Form, HostCuts,
    OnPaths,
};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::fidelity::{Object, show_bytes};
use crate::policy::{Address, Cidr, HostSpec, Operation, Platform, Protocol, Sequence};
use crate::semantics::{PathSet, Step, TooLarge};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::OnceLock;

/// TracingPolicies that were read back.
pub(super) struct Policies {
    hooks: Vec<Hook>,
    /// The programs that they apply to.
    binaries: Option<Vec<String>>,
    namespace: Option<String>,
    labels: BTreeMap<String, String>,
    answers: Answers,
    /// Sets of ways with different hooks, made together if possible.
    together: OnceLock<Option<Vec<Together>>>,
    /// Sample addresses, for connect and for bind.
    samples: [OnceLock<Vec<IpAddr>>; 2],
    /// The families and kinds of sockets that packets can leave by.
    closed: OnceLock<Closed>,
}

/// What ways with the same hooks see, the choices of their hooks in words, and the paths at which they are open.
type Together = (Sees, Vec<String>, PathSet);

/// Reads them.
///
/// # Errors
/// The reader does not understand them.
pub(super) fn read(artifact: &Artifact) -> Result<Policies, Diagnostics> {
    let name = show_bytes(artifact.file_name.as_bytes());
    let refuse = |line: usize, message: &str| -> Diagnostics {
        let place = if line == 0 {
            format!("`{name}`")
        } else {
            format!("`{name}`, line {line}")
        };
        let message = show_bytes(message.as_bytes());
        Diagnostic::error("E115", format!("{place}: {message}"))
            .help("`polc emit tetragon` makes the objects anew; what was added by hand can be written as it writes it")
            .into()
    };
    let text = std::str::from_utf8(&artifact.bytes).map_err(|_| refuse(0, "it is not UTF-8"))?;
    let document = document::read(text).map_err(|(line, message)| refuse(line, &message))?;
    let hooks = &document.hooks;
    for way in Operation::ON_PATHS.iter().flat_map(|o| ways(*o)) {
        let mut asked = hooks.iter().filter(|h| h.call == way.call);
        let elsewhere = asked.find_map(|h| h.choices.iter().find(|c| tangled(c, way)));
        if let Some(choice) = elsewhere {
            return Err(refuse(
                choice.line,
                "a selector on both paths of a call is not read",
            ));
        }
    }
    let unix = |kind| closed(hooks, UNIX, kind).is_some();
    if [STREAM, DATAGRAM].into_iter().any(unix) {
        return Err(refuse(
            0,
            "it refuses unix sockets as a family, and a policy has them by path",
        ));
    }
    Ok(Policies {
        hooks: document.hooks,
        binaries: document.binaries,
        namespace: document.namespace,
        labels: document.labels,
        answers: Answers::default(),
        together: OnceLock::new(),
        samples: Default::default(),
        closed: OnceLock::new(),
    })
}

const fn way(call: &'static str, index: u32, sees: Sees, with: &'static [(u32, u64)]) -> Way {
    Way {
        call,
        index,
        sees,
        with,
    }
}

/// MAY_WRITE and MAY_READ of include/linux/fs.h.
const MAY_WRITE: &[(u32, u64)] = &[(1, 2)];
const MAY_READ: &[(u32, u64)] = &[(1, 4)];
/// PROT_READ with MAP_PRIVATE, and PROT_READ|PROT_WRITE with MAP_SHARED.
const MAPPED: &[(u32, u64)] = &[(1, 1), (2, 2)];
const MAPPED_FOR_WRITING: &[(u32, u64)] = &[(1, 3), (2, 1)];
const MAP_FOR_WRITING: Way = way("security_mmap_file", 0, Sees::Object, MAPPED_FOR_WRITING);
/// The object that has the new name already is deleted.
const RENAME_OVER: Way = way("security_path_rename", 2, Sees::Parent, &[]);
const RENAME_AWAY: Way = way("security_path_rename", 0, Sees::Parent, &[]);

/// The ways to do an operation.
fn ways(operation: Operation) -> &'static [Way] {
    use Sees::{Object, Parent};
    const READ: &[Way] = &[
        way("security_file_permission", 0, Object, MAY_READ),
        way("security_mmap_file", 0, Object, MAPPED),
    ];
    const EDIT: &[Way] = &[
        way("security_file_permission", 0, Object, MAY_WRITE),
        way("security_path_truncate", 0, Object, &[]),
        way("security_file_truncate", 0, Object, &[]),
        MAP_FOR_WRITING,
    ];
    const CREATE: &[Way] = &[
        way("security_path_mknod", 0, Parent, &[]),
        way("security_path_mkdir", 0, Parent, &[]),
        way("security_path_symlink", 0, Parent, &[]),
        way("security_path_link", 1, Parent, &[]),
        way("security_path_rename", 2, Parent, &[]),
    ];
    const DELETE: &[Way] = &[
        way("security_path_unlink", 0, Parent, &[]),
        way("security_path_rmdir", 0, Parent, &[]),
        RENAME_AWAY,
        RENAME_OVER,
    ];
    const METADATA: &[Way] = &[
        way("security_path_chmod", 0, Object, &[]),
        way("security_path_chown", 0, Object, &[]),
    ];
    const EXECUTE: &[Way] = &[way("security_bprm_check", 0, Object, &[])];
    match operation {
        Operation::Read => READ,
        Operation::List => &READ[..1],
        Operation::Edit => EDIT,
        Operation::Create => CREATE,
        Operation::Delete => DELETE,
        Operation::Metadata => METADATA,
        Operation::Execute => EXECUTE,
        _ => &[],
    }
}

/// Families and types of sockets (include/linux/socket.h, net.h).
const UNIX: u64 = 1;
const INET: u64 = 2;
const INET6: u64 = 10;
const PACKET: u64 = 17;
const STREAM: u64 = 1;
const DATAGRAM: u64 = 2;
const RAW: u64 = 3;

/// Families and kinds of sockets, each with the hook and the choice in it that refuse it.
type Closed = Vec<((u64, u64), Option<(usize, usize)>)>;

/// The hook, and the choice in it, that refuse to make a socket.
fn closed(hooks: &[Hook], family: u64, kind: u64) -> Option<(usize, usize)> {
    let with = [(0, family), (1, kind)];
    let asked = hooks.iter().enumerate();
    let mut asked = asked.filter(|(_, h)| h.call == "security_socket_create");
    asked.find_map(|(at, hook)| {
        let choice = hook.choices.iter().position(|c| numbers_match(c, &with))?;
        hook.choices[choice].denies.then_some((at, choice))
    })
}

fn network_call(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Connect => Some("security_socket_connect"),
        Operation::Bind => Some("security_socket_bind"),
        _ => None,
    }
}

impl Policies {
    fn denies_by(&self, call: &str) -> bool {
        let mut asked = self.hooks.iter().filter(|h| h.call == call);
        asked.any(|h| h.choices.iter().any(|c| c.denies))
    }

    fn judges_addresses(&self, operation: Operation) -> bool {
        let denies = |call| self.denies_by(call) || self.denies_by("security_socket_create");
        network_call(operation).is_some_and(denies)
    }

    fn answer(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        let ways = ways(operation);
        if !ways.iter().any(|w| self.denies_by(w.call)) {
            return Ok(OnPaths::Silent);
        }
        let mut sets: Vec<(Vec<String>, PathSet)> = Vec::new();
        // For each list of choices: the index in the list above.
        let mut known: Vec<(Vec<String>, usize)> = Vec::new();
        let mut moved = None;
        for way in ways {
            let name = name_of(way);
            // Functions with the same hooks have the same answer.
            let key = self.spelled(way);
            // Another operation needs this refusal. It says nothing about this operation.
            let lent =
                *way == MAP_FOR_WRITING || (*way == RENAME_OVER && operation == Operation::Delete);
            let same = known.iter().find(|k| k.0 == key && !lent);
            let at = match same {
                Some((_, at)) => *at,
                None => {
                    let mut set = self.open(way)?;
                    if lent {
                        set = set.union(&self.open(&ways[0])?)?;
                    }
                    let mut at = None;
                    for (i, (_, other)) in sets.iter().enumerate() {
                        if at.is_none() && other.equals(&set)? {
                            at = Some(i);
                        }
                    }
                    let at = at.unwrap_or_else(|| {
                        sets.push((Vec::new(), set));
                        sets.len() - 1
                    });
                    if !lent {
                        known.push((key, at));
                    }
                    at
                }
            };
            sets[at].0.push(name);
            if *way == RENAME_AWAY {
                moved = Some(sets[at].1.clone());
            }
        }
        if operation == Operation::Metadata {
            sets.push((
                vec!["times and extended attributes".to_owned()],
                PathSet::all(),
            ));
        }
        let mut out: Vec<Allowed> = sets
            .into_iter()
            .map(|(ways, paths)| Allowed {
                form: Form::Either,
                ways,
                paths,
            })
            .collect();
        out.extend(moved.map(|paths| Allowed::new(Form::Moved, paths)));
        Ok(OnPaths::Allows(out))
    }

    /// The paths at which a way is open. Most ways share an automaton.
    fn open(&self, way: &Way) -> Result<PathSet, TooLarge> {
        let together = self.together.get_or_init(|| {
            // Programs need more distinctions than other paths.
            let all = Operation::ON_PATHS_BUT_EXECUTE.into_iter().flat_map(ways);
            let mut distinct: Vec<(Sees, Vec<String>, Way)> = Vec::new();
            for way in all.filter(|w| self.denies_by(w.call)) {
                let spelled = self.spelled(way);
                if !distinct.iter().any(|d| (d.0, &d.1) == (way.sees, &spelled)) {
                    distinct.push((way.sees, spelled, *way));
                }
            }
            let ways: Vec<Way> = distinct.iter().map(|d| d.2).collect();
            let sets = open_together(&self.hooks, &ways)?;
            let keyed = distinct.into_iter().zip(sets);
            Some(keyed.map(|((sees, of, _), set)| (sees, of, set)).collect())
        });
        if let Some(together) = together {
            let key = (way.sees, &self.spelled(way));
            if let Some((.., set)) = together.iter().find(|t| (t.0, &t.1) == key) {
                return Ok(set.clone());
            }
        }
        open(&self.hooks, way)
    }

    /// The choices of a way, in words.
    fn spelled(&self, way: &Way) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for hook in self.hooks.iter().filter(|h| h.call == way.call) {
            for choice in hook.choices.iter().filter(|c| live(c, way)) {
                let paths = choice.filters.iter().filter(|(_, k)| *k == Kind::Path);
                let words: Vec<String> = paths
                    .map(|(f, _)| format!("{:?} {:?}", f.operator, f.values))
                    .collect();
                out.push(format!("{} {}", choice.denies, words.join(" ")));
            }
            out.push(String::new());
        }
        out
    }

    /// The choice that refuses an address, if there is one.
    fn refusing(&self, call: &str, ip: IpAddr, port: u16) -> Option<&Choice> {
        let asked = self.hooks.iter().filter(|h| h.call == call);
        asked
            .filter_map(|h| h.choices.iter().find(|c| address_matches(c, ip, port)))
            .find(|c| c.denies)
    }

    /// The choice that refuses to make a socket. `None`: it can be made.
    fn closed(&self, family: u64, kind: u64) -> Option<&Choice> {
        let table = self.closed.get_or_init(|| {
            let families = [INET, INET6, PACKET].into_iter();
            let all = families.flat_map(|f| [STREAM, DATAGRAM, RAW].map(|k| (f, k)));
            all.map(|(f, k)| ((f, k), closed(&self.hooks, f, k)))
                .collect()
        });
        let (_, found) = table.iter().find(|(of, _)| *of == (family, kind))?;
        found.map(|(hook, choice)| &self.hooks[hook].choices[choice])
    }

    /// The choice that refuses. `None`: the address is allowed. An IPv6 socket can reach an IPv4 address too, and shows
    /// its mapped form. So both forms have to be refused.
    fn refused(
        &self,
        operation: Operation,
        protocol: Protocol,
        ip: IpAddr,
        port: u16,
    ) -> Option<&Choice> {
        let by = |shown| self.refused_as(operation, protocol, shown, port);
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let plain = by(v4.into());
                by(v4.to_ipv6_mapped().into()).and(plain)
            }
            v6 => by(v6),
        }
    }

    /// The same for an address in the form that the socket shows.
    fn refused_as(
        &self,
        operation: Operation,
        protocol: Protocol,
        ip: IpAddr,
        port: u16,
    ) -> Option<&Choice> {
        let family = if ip.is_ipv4() { INET } else { INET6 };
        let kind = if protocol == Protocol::Tcp {
            STREAM
        } else {
            DATAGRAM
        };
        let closed = |family, kind| self.closed(family, kind);
        // Each of these is another way to send the same packets.
        closed(family, RAW)?;
        closed(PACKET, RAW)?;
        closed(PACKET, DATAGRAM)?;
        if let Some(choice) = closed(family, kind) {
            return Some(choice);
        }
        if protocol == Protocol::Udp && operation == Operation::Connect {
            return None;
        }
        self.refusing(network_call(operation)?, ip, port)
    }

    /// One address of each kind that the filters tell apart.
    fn samples(&self, operation: Operation) -> &[IpAddr] {
        let slot = usize::from(operation == Operation::Bind);
        self.samples[slot].get_or_init(|| {
            let mut out = BTreeSet::from([IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8])]);
            for filter in self.filters(operation) {
                for (v6, first, last) in &filter.addresses {
                    out.extend(address(*v6, *first));
                    out.extend(last.checked_add(1).and_then(|n| address(*v6, n)));
                }
            }
            out.into_iter().collect()
        })
    }

    fn filters(&self, operation: Operation) -> impl Iterator<Item = &document::Filter> {
        let call = network_call(operation).unwrap_or_default();
        let asked = self.hooks.iter().filter(move |h| h.call == call);
        asked
            .flat_map(|h| &h.choices)
            .flat_map(|c| c.filters.iter().map(|(f, _)| f))
    }

    /// The choice that refuses a host. `None`: it is allowed.
    fn host(&self, operation: Operation, host: &HostSpec) -> Option<&Choice> {
        let protocols = Protocol::ALL
            .into_iter()
            .filter(|p| host.protocol.is_none_or(|own| own == *p));
        for protocol in protocols {
            let refused = match &host.address {
                Address::Ip(ip) => self.refused(operation, protocol, *ip, host.port),
                Address::Name(_) => {
                    let mut first = None;
                    let mut open = false;
                    for ip in self.samples(operation) {
                        match self.refused(operation, protocol, *ip, host.port) {
                            Some(choice) => first = first.or(Some(choice)),
                            None => open = true,
                        }
                    }
                    first.filter(|_| !open)
                }
            };
            if refused.is_some() {
                return refused;
            }
        }
        None
    }
}

fn address_matches(choice: &Choice, ip: IpAddr, port: u16) -> bool {
    choice
        .filters
        .iter()
        .all(|(filter, _)| match filter.operator {
            Operator::SAddr => filter.has_address(ip),
            Operator::NotSAddr => !filter.has_address(ip),
            Operator::SPort => filter.has_port(port),
            Operator::NotSPort => !filter.has_port(port),
            _ => false,
        })
}

fn address(v6: bool, number: u128) -> Option<IpAddr> {
    if v6 {
        return Some(IpAddr::V6(number.into()));
    }
    u32::try_from(number).ok().map(|n| IpAddr::V4(n.into()))
}

/// The first address of an interval as a block of its own, because only the points matter where answers change. An
/// address in mapped form counts as an IPv4 address.
fn first_of(v6: bool, number: u128) -> Option<Cidr> {
    let address = address(v6, number)?.to_canonical();
    let prefix = if address.is_ipv6() { 128 } else { 32 };
    Some(Cidr { address, prefix })
}

impl Evaluate for Policies {
    fn platform(&self) -> Platform {
        Platform::Linux
    }

    fn paths(&self, operation: Operation) -> Result<OnPaths, TooLarge> {
        self.answers.of(operation, || self.answer(operation))
    }

    fn host_cuts(&self, operation: Operation) -> Option<HostCuts> {
        if !self.judges_addresses(operation) {
            return None;
        }
        let mut cuts = BTreeSet::new();
        let mut blocks = Vec::new();
        for filter in self.filters(operation) {
            for (first, last) in &filter.ports {
                cuts.insert(*first);
                cuts.extend(last.checked_add(1));
            }
            for (v6, first, last) in &filter.addresses {
                // Its first address, and the one after its last.
                blocks.extend(first_of(*v6, *first));
                blocks.extend(last.checked_add(1).and_then(|n| first_of(*v6, n)));
            }
        }
        Some(HostCuts {
            ports: cuts.into_iter().collect(),
            blocks,
            names: Vec::new(),
        })
    }

    fn allows(&self, operation: Operation, object: &Object) -> Option<bool> {
        let path = match object {
            Object::Host(host) => {
                let judges = self.judges_addresses(operation);
                return judges.then(|| self.host(operation, host).is_none());
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

    fn confines(&self) -> Result<Confines, TooLarge> {
        let programs = match self.binaries.as_deref() {
            None => None,
            Some([]) => Some(PathSet::all()),
            Some(list) => {
                let literal = |p: &String| Sequence::literal(p.as_bytes());
                Some(PathSet::of(&list.iter().map(literal).collect::<Vec<_>>())?)
            }
        };
        Ok(Confines {
            programs,
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
        })
    }

    fn deciders(&self, operation: Operation, answer: &Allowed) -> Option<Deciders> {
        let named = |w: &&Way| answer.ways.contains(&name_of(w)) && **w != MAP_FOR_WRITING;
        // A directory is moved away in one way only.
        let moves = |w: &&Way| answer.form == Form::Moved && **w == RENAME_AWAY;
        let mut all = ways(operation).iter();
        let way = all.find(|w| named(w) || moves(w))?;
        let list: Vec<Deciding<Vec<Step>>> = refusing(&self.hooks, way)?
            .into_iter()
            .map(|(include, except, choice)| {
                (include, except, choice.map(|c| written(way.call, c)))
            })
            .collect();
        Deciders::of(&list)
    }

    fn clause(&self, operation: Operation, object: &Object) -> Option<Clause> {
        let (call, choice) = match object {
            Object::Host(host) => {
                let call = network_call(operation)?;
                (call, self.host(operation, host)?)
            }
            Object::Path(path) => self.path_clause(operation, path)?,
            Object::Command(words) => self.path_clause(operation, words.first()?)?,
            _ => return None,
        };
        Some(written(call, choice))
    }
}

/// A choice of a hook, in words.
fn written(call: &str, choice: &Choice) -> Clause {
    let filters: Vec<String> = choice
        .filters
        .iter()
        .map(|(f, _)| {
            let shown: Vec<String> = f
                .values
                .iter()
                .take(3)
                .map(|v| show_bytes(v.as_bytes()))
                .collect();
            let more = if f.values.len() > 3 { ", …" } else { "" };
            format!("{:?} [{}{more}]", f.operator, shown.join(", "))
        })
        .collect();
    Clause {
        artifact: 0,
        line: choice.line,
        text: format!("{call}: {}", filters.join(", ")),
    }
}

/// The name of a way.
fn name_of(way: &Way) -> String {
    format!("{} {} {:?}", way.call, way.index, way.with)
}

impl Policies {
    fn path_clause(&self, operation: Operation, path: &[u8]) -> Option<(&'static str, &Choice)> {
        let found = |way: &Way| deciding(&self.hooks, way, path).map(|c| (way.call, c));
        ways(operation).iter().find_map(found)
    }
}

/// Whether the text looks like one: an object of Tetragon's API group.
pub(super) fn recognises(artifact: &Artifact) -> bool {
    let Ok(text) = std::str::from_utf8(&artifact.bytes) else {
        return false;
    };
    let line = |l: &str| {
        let value = l.strip_prefix("apiVersion:").map(str::trim);
        value.is_some_and(|v| v.trim_matches(['"', '\'']).starts_with("cilium.io/"))
    };
    text.lines().any(line) || artifact.file_name.ends_with(".tetragon.yaml")
}
