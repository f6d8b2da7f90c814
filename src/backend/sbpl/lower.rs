//! From a policy's ordered rules to one rule an operation.
//!
//! A path is allowed if some allow rule matches it and no deny rule above that one does. So an operation
//! is a flat union: each run of allow rules, less the denies above it that can meet it.

use super::model::{Filter, Profile, ProfileRule};
use super::moving;
use crate::diagnostics::Diagnostics;
use crate::fidelity::{Fidelity, Ledger};
use crate::policy::{
    Cidr, Component, Objects, Operation, PathPattern, Policy, Protocol, Rule, Sequence,
};
use crate::semantics::{
    HostRegion, LedgerBuilder, Meaning, PathSet, Peers, SequenceIndex, matches_path,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A clause of an operation: patterns, exceptions, and whether it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    pub include: Vec<Sequence>,
    pub except: Vec<Sequence>,
    pub allows: bool,
}

/// Directories of the root that macOS keeps in /private.
const PRIVATE: [&[u8]; 3] = [b"tmp", b"var", b"etc"];

/// The patterns, each followed by those for the names that its objects have in /private.
fn with_twins(list: &[Sequence]) -> Vec<Sequence> {
    let mut out = Vec::with_capacity(list.len());
    for s in list {
        out.push(s.clone());
        let Some((first @ Component::Name(_), rest)) = s.components.split_first() else {
            continue;
        };
        for link in PRIVATE {
            if covers(first, link) {
                let mut twin = Sequence::literal(b"/private");
                twin.components.extend(Sequence::literal(link).components);
                twin.components.extend(rest.iter().cloned());
                out.push(twin);
            }
        }
    }
    out
}

/// Whether some object that the pattern matches has a name in /private too.
pub fn has_twin(s: &Sequence) -> bool {
    let first = s.components.first();
    first.is_some_and(|c| matches!(c, Component::Name(_)) && PRIVATE.iter().any(|l| covers(c, l)))
}

/// Whether a component matches this name in the root.
fn covers(component: &Component, name: &[u8]) -> bool {
    if let Some(literal) = component.literal() {
        return literal == name;
    }
    let pattern = PathPattern {
        text: String::new(),
        sequences: vec![Sequence {
            components: vec![component.clone()],
        }],
    };
    matches_path(&pattern, &[b"/", name].concat())
}

/// What the kernel must be told of clauses: all names of what they match.
fn twinned(clauses: &[Clause]) -> Vec<Clause> {
    let of = |c: &Clause| Clause {
        include: with_twins(&c.include),
        except: with_twins(&c.except),
        allows: c.allows,
    };
    clauses.iter().map(of).collect()
}

fn sequences<'a>(patterns: impl IntoIterator<Item = &'a PathPattern>) -> Vec<Sequence> {
    patterns
        .into_iter()
        .flat_map(|p| p.sequences.iter().cloned())
        .collect()
}

fn literal(path: &str) -> Sequence {
    Sequence::literal(path.as_bytes())
}

/// What a program needs to start, below the policy's rules.
pub fn base(operation: Operation) -> Vec<Sequence> {
    let libraries = [
        "/usr/lib",
        "/System/Library",
        "/System/Volumes/Preboot/Cryptexes/OS",
        "/private/var/db/dyld",
        "/Library/Apple",
    ];
    let devices = [
        "/dev/null",
        "/dev/zero",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
    ];
    match operation {
        // Listing what may be read shows nothing new, and one answer for both is half the profile.
        Operation::Read | Operation::List => {
            let mut out = vec![literal("/")];
            out.extend(devices.iter().map(|d| literal(d)));
            out.extend(libraries.iter().map(|d| literal(d).tree()));
            out
        }
        Operation::Edit => ["/dev/null", "/dev/zero", "/dev/tty"]
            .iter()
            .map(|d| literal(d))
            .collect(),
        _ => Vec::new(),
    }
}

fn clauses(policy: &Policy, operation: Operation) -> Vec<Clause> {
    let mut out = Vec::new();
    if matches!(operation, Operation::Create | Operation::Delete) {
        let above = moving::ancestors(policy);
        if !above.is_empty() {
            out.push(Clause {
                include: above,
                except: Vec::new(),
                allows: false,
            });
        }
    }
    for rule in policy.rules.iter().filter(|r| r.concerns_paths(operation)) {
        let allows = rule.action.permits();
        let (include, except) = match &rule.objects {
            Objects::Paths { paths, except } => (sequences(paths), sequences(except)),
            Objects::Commands { commands, except } => {
                // Only the program is seen: a deny of some argument lists denies nothing here, an allow of
                // some allows the program.
                let whole = |c: &&crate::policy::CommandPattern| allows || c.arguments.is_any();
                let include = sequences(commands.iter().filter(whole).map(|c| &c.program));
                let except_whole =
                    |c: &&crate::policy::CommandPattern| !allows || c.arguments.is_any();
                (
                    include,
                    sequences(except.iter().filter(except_whole).map(|c| &c.program)),
                )
            }
            _ => continue,
        };
        if !include.is_empty() {
            out.push(Clause {
                include,
                except,
                allows,
            });
        }
    }
    if !policy.default_action.permits() {
        let base = base(operation);
        if !base.is_empty() {
            out.push(Clause {
                include: base,
                except: Vec::new(),
                allows: true,
            });
        }
    }
    out
}

/// The members by first match: those on which the deciding clause has the action that is not the default.
fn members(clauses: &[Clause], default_allow: bool) -> Result<PathSet, crate::semantics::TooLarge> {
    PathSet::first_match_except(
        clauses
            .iter()
            .map(|c| (c.include.as_slice(), c.except.as_slice(), c.allows)),
        default_allow,
    )
}

/// The members of clauses that came before, as several operations often have the same.
struct Sets {
    default_allow: bool,
    known: Vec<(Vec<Clause>, PathSet)>,
}

impl Sets {
    fn of(&mut self, clauses: &[Clause]) -> Result<&PathSet, crate::semantics::TooLarge> {
        let at = match self.known.iter().position(|(c, _)| c == clauses) {
            Some(at) => at,
            None => {
                self.known
                    .push((clauses.to_vec(), members(clauses, self.default_allow)?));
                self.known.len() - 1
            }
        };
        Ok(&self.known[at].1)
    }
}

/// The filter for the members of [`members`]; `None`: there are none.
fn filter(clauses: &[Clause], default_allow: bool) -> Option<Filter> {
    let wanted = !default_allow;
    // The patterns of clauses of the other action so far, each with its clause.
    let mut index = SequenceIndex::default();
    let mut owner: Vec<usize> = Vec::new();
    let mut union = Vec::new();
    let mut at = 0;
    while at < clauses.len() {
        if clauses[at].allows != wanted {
            for s in &clauses[at].include {
                index.add(s);
                owner.push(at);
            }
            at += 1;
            continue;
        }
        let run = clauses[at..]
            .iter()
            .take_while(|c| c.allows == wanted)
            .count();
        let run = &clauses[at..at + run];
        at += run.len();
        let mut against: Vec<usize> = run
            .iter()
            .flat_map(|c| &c.include)
            .flat_map(|s| index.numbers(s))
            .collect();
        against.sort_unstable();
        against.dedup();
        let allowed = Filter::Any(parts(run.iter().map(|c| (c, c.include.clone()))));
        if against.is_empty() {
            union.push(allowed);
            continue;
        }
        // Of a clause only the patterns that are met.
        let mut met: BTreeMap<usize, Vec<Sequence>> = BTreeMap::new();
        for n in against {
            met.entry(owner[n]).or_default().push(index.get(n).clone());
        }
        let carved = Filter::Any(parts(
            met.into_iter().map(|(c, include)| (&clauses[c], include)),
        ));
        union.push(Filter::All(vec![allowed, Filter::Not(Box::new(carved))]));
    }
    match union.len() {
        0 => None,
        1 => union.pop(),
        _ => Some(Filter::Any(union)),
    }
}

/// Clauses with these of their patterns: those without exceptions together, the others one by one.
fn parts<'a>(clauses: impl Iterator<Item = (&'a Clause, Vec<Sequence>)>) -> Vec<Filter> {
    let mut plain: Vec<Sequence> = Vec::new();
    let mut out = Vec::new();
    for (clause, include) in clauses {
        if clause.except.is_empty() {
            plain.extend(include);
            continue;
        }
        let except = Filter::Not(Box::new(Filter::Patterns(clause.except.clone())));
        out.push(Filter::All(vec![Filter::Patterns(include), except]));
    }
    if !plain.is_empty() {
        out.insert(0, Filter::Patterns(plain));
    }
    out
}

/// Operations of SBPL by operations of the policy.
const OPERATIONS: [(Operation, &str, &[&str]); 6] = [
    (Operation::Edit, "edit", &["file-write-data"]),
    (Operation::Create, "create", &["file-write-create"]),
    (Operation::Delete, "delete", &["file-write-unlink"]),
    (
        Operation::Metadata,
        "metadata",
        &[
            "file-write-mode",
            "file-write-owner",
            "file-write-flags",
            "file-write-times",
            "file-write-xattr",
        ],
    ),
    (Operation::Execute, "execute", &["process-exec*"]),
    (
        Operation::Connect,
        "connect to unix sockets",
        &["network-outbound"],
    ),
];

pub fn lower(meaning: &Meaning<'_>, proxy: Option<u16>) -> Result<(Profile, Ledger), Diagnostics> {
    let policy = meaning.policy();
    let default_allow = policy.default_action.permits();
    let mut ledger = LedgerBuilder::new(meaning, "sbpl");
    let mut rules = Vec::new();
    let reason = |operation: Operation| {
        move |rule: Option<&Rule>, fidelity: Fidelity| -> Cow<'static, str> {
            match (operation, fidelity) {
                (Operation::Create, Fidelity::Stricter) => {
                    "a directory above a denied path can be neither renamed nor put in place".into()
                }
                (Operation::Delete, Fidelity::Stricter) => {
                    "a directory is moved with what is beneath: only one in which everything may be deleted is removed".into()
                }
                (_, Fidelity::Looser) if rule.is_none() => {
                    "the runtime base: what dyld and every program need to start".into()
                }
                (Operation::Execute, _) => "this layer sees the program, not its arguments".into(),
                _ => "the filters of this layer".into(),
            }
        }
    };

    let mut sets = Sets {
        default_allow,
        known: Vec::new(),
    };
    // Reading and listing are one operation of SBPL, told apart by the object's type.
    let (read, list) = (
        clauses(policy, Operation::Read),
        clauses(policy, Operation::List),
    );
    for (operation, clauses) in [(Operation::Read, &read), (Operation::List, &list)] {
        ledger.paths(operation, sets.of(clauses)?, &reason(operation))?;
    }
    let (read, list) = (
        filter(&twinned(&read), default_allow),
        filter(&twinned(&list), default_allow),
    );
    let data = if read == list {
        read.clone()
    } else {
        let typed = |f: Option<Filter>, directory: bool| {
            let kind = if directory {
                Filter::Directory
            } else {
                Filter::Not(Box::new(Filter::Directory))
            };
            f.map(|f| Filter::All(vec![kind, f]))
        };
        Some(Filter::Any(
            typed(read.clone(), false)
                .into_iter()
                .chain(typed(list, true))
                .collect(),
        ))
    };
    let mut rule = |comment, operations: &[&'static str], filter: Option<Filter>| {
        if let Some(filter) = filter {
            rules.push(ProfileRule {
                comment,
                allow: !default_allow,
                operations: operations.to_vec(),
                filter,
            });
        }
    };
    rule("read and list", &["file-read-data"], data);
    rule(
        "read extended attributes, map as code",
        &["file-read-xattr", "file-map-executable"],
        read,
    );

    for (operation, comment, names) in OPERATIONS {
        let mut clauses = clauses(policy, operation);
        let each = sets.of(&clauses)?.clone();
        ledger.paths(operation, &each, &reason(operation))?;
        let mut filters = Vec::new();
        if operation == Operation::Delete {
            let (trees, single) = moving::by_form(&clauses, default_allow);
            let directories = sets.of(&trees)?;
            ledger.paths(operation, directories, &reason(operation))?;
            ledger.moved_away(directories, &each)?;
            // What is no tree may be removed if it is no directory.
            if let Some(f) = filter(&twinned(&single), default_allow) {
                let file = Filter::Not(Box::new(Filter::Directory));
                filters.push(Filter::All(vec![file, f]));
            }
            clauses = trees;
        }
        filters.extend(filter(&twinned(&clauses), default_allow));
        let either = if filters.len() > 1 {
            Some(Filter::Any(filters))
        } else {
            filters.pop()
        };
        rule(comment, names, either);
    }
    network(meaning, &mut ledger, &mut rules, default_allow, proxy);
    ledger.syscalls_unenforced("a profile names operations, not system calls of Linux");
    settings(policy, &mut ledger);
    Ok((
        Profile {
            default_allow,
            rules,
            with_base: !default_allow,
        },
        ledger.finish(),
    ))
}

/// Most ports of a range that are written out one by one.
const MAX_PORTS: u32 = 256;

/// What filters can say of hosts: ports of every host, and ports of localhost.
#[derive(Default)]
struct Ports {
    any: Vec<(Protocol, Option<u16>)>,
    local: Vec<(Protocol, Option<u16>)>,
}

impl Ports {
    /// Ports at which a region of the kind has the action that is not the default.
    fn of(regions: &[HostRegion], default_allow: bool) -> Self {
        let mut out = Self::default();
        for r in regions
            .iter()
            .filter(|r| r.decision.action.permits() != default_allow && r.decision.rule.is_some())
        {
            let list = match &r.peers {
                Peers::OtherNames => &mut out.any,
                Peers::Name(n) if n == "localhost" => &mut out.local,
                _ => continue,
            };
            if r.ports == crate::policy::Ports::ALL {
                list.push((r.protocol, None));
            } else if u32::from(r.ports.last) - u32::from(r.ports.first) < MAX_PORTS {
                list.extend((r.ports.first..=r.ports.last).map(|p| (r.protocol, Some(p))));
            }
        }
        out.local.retain(|p| !out.any.contains(p));
        out
    }

    fn holds(list: &[(Protocol, Option<u16>)], region: &HostRegion) -> bool {
        list.iter()
            .any(|(p, port)| *p == region.protocol && port.is_none_or(|n| region.ports.contains(n)))
    }

    fn cuts(&self) -> Vec<u16> {
        let ports = self.any.iter().chain(&self.local).filter_map(|(_, p)| *p);
        ports
            .flat_map(|p| [Some(p), p.checked_add(1)])
            .flatten()
            .collect()
    }

    /// Whether the filters match the region.
    fn matches(&self, region: &HostRegion) -> bool {
        let local = match &region.peers {
            Peers::Addresses(first, last) => {
                let local = first.to_canonical().is_loopback() && last.to_canonical().is_loopback();
                local && Self::holds(&self.local, region)
            }
            Peers::Name(n) => n == "localhost" && Self::holds(&self.local, region),
            _ => false,
        };
        local || Self::holds(&self.any, region)
    }

    fn filters(&self, side: &'static str) -> Vec<Filter> {
        let one = |host| {
            move |(p, port): &(Protocol, Option<u16>)| Filter::Network {
                side,
                protocol: p.name(),
                host,
                port: *port,
            }
        };
        self.any
            .iter()
            .map(one("*"))
            .chain(self.local.iter().map(one("localhost")))
            .collect()
    }
}

fn network(
    meaning: &Meaning<'_>,
    ledger: &mut LedgerBuilder<'_, '_>,
    rules: &mut Vec<ProfileRule>,
    default_allow: bool,
    proxy: Option<u16>,
) {
    for (operation, side, names) in [
        (Operation::Connect, "remote", &["network-outbound"][..]),
        (
            Operation::Bind,
            "local",
            &["network-bind", "network-inbound"][..],
        ),
    ] {
        let space = meaning.hosts(operation);
        let through = proxy.filter(|_| operation == Operation::Connect && !default_allow);
        let mut ports = Ports::of(space.regions(), default_allow);
        if through.is_some() {
            // The proxy keeps the hosts; nothing else leaves.
            ports.any.clear();
        }
        let mut filters = ports.filters(side);
        if let Some(port) = through {
            filters.push(Filter::Network {
                side,
                protocol: "ip",
                host: "localhost",
                port: Some(port),
            });
        }
        if !filters.is_empty() {
            let comment = if side == "remote" { "connect" } else { "bind" };
            rules.push(ProfileRule {
                comment,
                allow: !default_allow,
                operations: names.to_vec(),
                filter: Filter::Any(filters),
            });
        }
        let mut cuts = ports.cuts();
        cuts.extend(
            through
                .into_iter()
                .flat_map(|p| [Some(p), p.checked_add(1)])
                .flatten(),
        );
        let blocks = [
            Cidr {
                address: Ipv4Addr::new(127, 0, 0, 0).into(),
                prefix: 8,
            },
            Cidr {
                address: Ipv6Addr::LOCALHOST.into(),
                prefix: 128,
            },
        ];
        let regions = space.split(&cuts, &blocks, &["localhost".to_owned()]);
        ledger.hosts_in(
            operation,
            &regions,
            |r| {
                let local = matches!(&r.peers, Peers::Addresses(a, _) if a.to_canonical().is_loopback())
                    || matches!(&r.peers, Peers::Name(n) if n == "localhost");
                match through {
                    Some(port) if local => r.ports.contains(port) || ports.matches(r),
                    // Through the proxy, which decides by the policy itself.
                    Some(_) => r.decision.action.permits() && r.protocol == Protocol::Tcp,
                    None => ports.matches(r) != default_allow,
                }
            },
            &|_, fidelity| match fidelity {
                Fidelity::Stricter if through.is_some() => "only TCP passes the proxy".into(),
                Fidelity::Stricter => "filters know `*` and `localhost` only: named hosts need a proxy (--proxy-port)".into(),
                _ => "filters know `*` and `localhost` only".into(),
            },
        );
    }
}

fn settings(policy: &Policy, ledger: &mut LedgerBuilder<'_, '_>) {
    let absent = "a profile has no such thing";
    if !policy.limits.is_empty() {
        ledger.setting("limits", Fidelity::Unenforced, absent);
    }
    if policy.environment.pass.is_some() || !policy.environment.set.is_empty() {
        ledger.setting("environment", Fidelity::Unenforced, absent);
    }
    if policy.subject.executable.is_some() {
        ledger.setting(
            "subject.executable",
            Fidelity::Unenforced,
            "the profile confines what sandbox-exec starts",
        );
    }
}
