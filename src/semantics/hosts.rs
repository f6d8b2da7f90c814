//! Network addresses, split into the regions that a policy tells apart.
//!
//! These are *atoms*: every name that the policy mentions, the names below every `*.name`, all other names, and the
//! intervals between the bounds of its address blocks. All members of an atom match the same patterns. For each atom
//! and protocol, the ports split into intervals with one deciding rule each. The regions are exact and cover
//! everything.

use super::reference::Decision;
use crate::policy::{
    Address, Cidr, Host, HostPattern, HostSpec, Objects, Operation, Policy, Ports, Protocol,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The peers of a region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peers {
    /// Addresses of one family, both ends included.
    Addresses(IpAddr, IpAddr),
    /// One name.
    Name(String),
    /// The names below this one that have no region of their own.
    Below(String),
    /// The names that have no region of their own.
    OtherNames,
}

/// Peers and ports that one rule decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRegion {
    /// The protocol.
    pub protocol: Protocol,
    /// The peers.
    pub peers: Peers,
    /// The ports.
    pub ports: Ports,
    /// What decides.
    pub decision: Decision,
    /// One member.
    pub sample: HostSpec,
}

/// All regions of one operation (`connect` or `bind`).
#[derive(Debug, Clone)]
pub struct HostSpace {
    regions: Vec<HostRegion>,
}

/// Intervals of ports with their decisions, ascending.
type PortMap = Vec<(Ports, Decision)>;

struct Flat<'a> {
    rule: usize,
    except: bool,
    pattern: &'a HostPattern,
}

impl HostSpace {
    /// Splits the addresses by the policy's rules for the operation.
    #[must_use]
    pub fn new(policy: &Policy, operation: Operation) -> Self {
        let mut flat: Vec<Flat<'_>> = Vec::new();
        for (rule, r) in policy.rules.iter().enumerate() {
            if let (true, Objects::Hosts { hosts, except }) =
                (r.operations.contains(operation), &r.objects)
            {
                flat.extend(hosts.iter().map(|pattern| Flat {
                    rule,
                    except: false,
                    pattern,
                }));
                flat.extend(except.iter().map(|pattern| Flat {
                    rule,
                    except: true,
                    pattern,
                }));
            }
        }
        let mut out = Self {
            regions: Vec::new(),
        };
        for v6 in [false, true] {
            out.addresses(policy, &flat, v6);
        }
        out.names(policy, &flat);
        out
    }

    /// All of them: addresses first, ascending, then names.
    #[must_use]
    pub fn regions(&self) -> &[HostRegion] {
        &self.regions
    }

    /// The regions, split at these ports too. Each cut is the first port of a region. For layers whose answer changes
    /// there.
    #[must_use]
    pub fn split_at(&self, cuts: &[u16]) -> Vec<HostRegion> {
        split_ports(&self.regions, cuts)
    }

    /// The regions, split wherever a layer's answer may change: at the first ports of its intervals, at the bounds of
    /// its address blocks, and at the names that it knows.
    #[must_use]
    pub fn split(&self, ports: &[u16], blocks: &[Cidr], names: &[String]) -> Vec<HostRegion> {
        let mut bounds: BTreeSet<(bool, u128)> = BTreeSet::new();
        for block in blocks {
            let v6 = block.address.is_ipv6();
            let (lo, hi) = block.bounds();
            bounds.insert((v6, lo));
            bounds.extend(hi.checked_add(1).map(|n| (v6, n)));
        }
        let mut out: Vec<HostRegion> = Vec::new();
        for region in &self.regions {
            match &region.peers {
                Peers::Addresses(lo, hi) => {
                    let (v6, mut first, last) = (lo.is_ipv6(), number(*lo), number(*hi));
                    let inside: Vec<u128> = bounds
                        .range((v6, first)..=(v6, last))
                        .map(|b| b.1)
                        .filter(|b| *b > first)
                        .collect();
                    for end in inside.iter().map(|b| b - 1).chain([last]) {
                        out.push(HostRegion {
                            peers: Peers::Addresses(address(v6, first), address(v6, end)),
                            sample: HostSpec {
                                address: Address::Ip(sample_address(v6, first, end)),
                                ..region.sample.clone()
                            },
                            ..region.clone()
                        });
                        first = end.saturating_add(1);
                    }
                }
                Peers::Name(_) => out.push(region.clone()),
                Peers::Below(_) | Peers::OtherNames => {
                    out.push(region.clone());
                    let own = names
                        .iter()
                        .filter(|n| self.group_of(n) == Some(&region.peers));
                    out.extend(own.map(|n| HostRegion {
                        peers: Peers::Name(n.clone()),
                        sample: HostSpec {
                            address: Address::Name(n.clone()),
                            ..region.sample.clone()
                        },
                        ..region.clone()
                    }));
                }
            }
        }
        split_ports(&out, ports)
    }

    /// The group of peers that a name is in, if the policy does not mention the name. `None`: it does.
    fn group_of(&self, name: &str) -> Option<&Peers> {
        let known = |p: &&HostRegion| matches!(&p.peers, Peers::Name(n) if n == name);
        if self.regions.iter().any(|r| known(&r)) {
            return None;
        }
        let below = |p: &Peers| match p {
            Peers::Below(parent) => name
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.ends_with('.')),
            Peers::OtherNames => true,
            _ => false,
        };
        let length = |p: &Peers| match p {
            Peers::Below(parent) => parent.len(),
            _ => 0,
        };
        let groups = self.regions.iter().map(|r| &r.peers).filter(|p| below(p));
        groups.max_by_key(|p| length(p))
    }

    /// Whether the policy allows any host by this protocol.
    #[must_use]
    pub fn any_allowed(&self, protocol: Protocol) -> bool {
        self.regions
            .iter()
            .any(|r| r.protocol == protocol && r.decision.action.permits())
    }

    fn addresses(&mut self, policy: &Policy, flat: &[Flat<'_>], v6: bool) {
        let max = if v6 { u128::MAX } else { u128::from(u32::MAX) };
        let ip = |n: u128| address(v6, n);
        // At each bound: the patterns that begin, and the patterns that have ended.
        let mut events: BTreeMap<u128, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        events.entry(0).or_default();
        for (i, f) in flat.iter().enumerate() {
            for block in f.pattern.host.blocks() {
                if block.address.is_ipv6() == v6 {
                    let (lo, hi) = block.bounds();
                    events.entry(lo).or_default().0.push(i);
                    if hi < max {
                        events.entry(hi + 1).or_default().1.push(i);
                    }
                }
            }
        }
        let bounds: Vec<u128> = events.keys().copied().collect();
        let mut active: BTreeSet<usize> = BTreeSet::new();
        // (First, last, and for each protocol the ports with their decisions.)
        let mut merged: Vec<(u128, u128, [PortMap; 2])> = Vec::new();
        for (n, lo) in bounds.iter().enumerate() {
            if let Some((begin, end)) = events.get(lo) {
                for e in end {
                    active.remove(e);
                }
                active.extend(begin);
            }
            let hi = bounds.get(n + 1).map_or(max, |b| b - 1);
            let ports = Protocol::ALL.map(|p| port_map(policy, flat, active.iter().copied(), p));
            match merged.last_mut() {
                Some(last) if last.2 == ports => last.1 = hi,
                _ => merged.push((*lo, hi, ports)),
            }
        }
        for (lo, hi, ports) in merged {
            let sample = Address::Ip(sample_address(v6, lo, hi));
            self.push(&Peers::Addresses(ip(lo), ip(hi)), &sample, &ports);
        }
    }

    fn names(&mut self, policy: &Policy, flat: &[Flat<'_>]) {
        let mut exact: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut below: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut every: Vec<usize> = Vec::new();
        for (i, f) in flat.iter().enumerate() {
            match &f.pattern.host {
                Host::Any => every.push(i),
                Host::Localhost => exact.entry("localhost").or_default().push(i),
                Host::Name(n) => exact.entry(n).or_default().push(i),
                Host::Below(n) => below.entry(n).or_default().push(i),
                Host::Addresses(_) => {}
            }
        }
        let matching = |name: &str| {
            let mut hits: BTreeSet<usize> = every.iter().copied().collect();
            hits.extend(exact.get(name).into_iter().flatten());
            let mut rest = name;
            while let Some((_, parent)) = rest.split_once('.') {
                hits.extend(below.get(parent).into_iter().flatten());
                rest = parent;
            }
            hits
        };
        let fresh = |parent: Option<&str>| {
            let name = |n: usize| {
                let label = if n == 0 {
                    "host".to_owned()
                } else {
                    format!("host{n}")
                };
                parent.map_or_else(|| format!("{label}.example"), |p| format!("{label}.{p}"))
            };
            let mentioned = |n: &str| exact.contains_key(n) || below.contains_key(n);
            let free =
                |n: &String| !mentioned(n) && (parent.is_some() || !below.contains_key("example"));
            // There is one more candidate than there are names that could clash.
            (0..=exact.len() + below.len())
                .map(name)
                .find(free)
                .unwrap_or_else(|| format!("polc-{}.test", exact.len()))
        };
        let mut atoms: Vec<(Peers, String)> = exact
            .keys()
            .map(|n| (Peers::Name((*n).to_owned()), (*n).to_owned()))
            .collect();
        atoms.extend(
            below
                .keys()
                .map(|n| (Peers::Below((*n).to_owned()), fresh(Some(n)))),
        );
        atoms.push((Peers::OtherNames, fresh(None)));
        for (peers, sample) in atoms {
            let hits = matching(&sample);
            let ports = Protocol::ALL.map(|p| port_map(policy, flat, hits.iter().copied(), p));
            self.push(&peers, &Address::Name(sample), &ports);
        }
    }

    fn push(&mut self, peers: &Peers, sample: &Address, ports: &[PortMap; 2]) {
        for (protocol, list) in Protocol::ALL.into_iter().zip(ports) {
            for (ports, decision) in list {
                self.regions.push(HostRegion {
                    protocol,
                    peers: peers.clone(),
                    ports: *ports,
                    decision: *decision,
                    sample: HostSpec {
                        protocol: Some(protocol),
                        address: sample.clone(),
                        port: sample_port(*ports),
                    },
                });
            }
        }
    }
}

fn split_ports(regions: &[HostRegion], cuts: &[u16]) -> Vec<HostRegion> {
    let mut out = Vec::with_capacity(regions.len());
    for r in regions {
        let mut inside: Vec<u16> = cuts
            .iter()
            .copied()
            .filter(|c| *c > r.ports.first && *c <= r.ports.last)
            .collect();
        inside.sort_unstable();
        inside.dedup();
        let mut first = r.ports.first;
        for end in inside.iter().map(|c| c - 1).chain([r.ports.last]) {
            let ports = Ports { first, last: end };
            let sample = HostSpec {
                port: sample_port(ports),
                ..r.sample.clone()
            };
            out.push(HostRegion {
                ports,
                sample,
                ..r.clone()
            });
            first = end.saturating_add(1);
        }
    }
    out
}

fn address(v6: bool, n: u128) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::from(n))
    } else {
        IpAddr::V4(Ipv4Addr::from(u32::try_from(n).unwrap_or(u32::MAX)))
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

/// An address of a block. The first one is the network's own, so the second is a better example.
fn sample_address(v6: bool, lo: u128, hi: u128) -> IpAddr {
    let next = hi > lo && lo.trailing_zeros() > 3;
    address(v6, if next { lo + 1 } else { lo })
}

/// A port of the range that makes a good example.
fn sample_port(ports: Ports) -> u16 {
    let usual = [443u16, 80, 22, 53]
        .into_iter()
        .find(|p| ports.contains(*p));
    usual.unwrap_or(if ports.first == 0 {
        ports.last.min(1)
    } else {
        ports.first
    })
}

/// The ports of one atom and protocol with their decisions, ascending, equal neighbours joined. `hits` are the patterns
/// that match the atom, in order.
fn port_map(
    policy: &Policy,
    flat: &[Flat<'_>],
    hits: impl Iterator<Item = usize>,
    protocol: Protocol,
) -> PortMap {
    let hits: Vec<&Flat<'_>> = hits
        .map(|i| &flat[i])
        .filter(|f| f.pattern.protocol.is_none_or(|p| p == protocol))
        .collect();
    let mut cuts: BTreeSet<u32> = BTreeSet::from([0]);
    for f in &hits {
        cuts.insert(u32::from(f.pattern.ports.first));
        cuts.insert(u32::from(f.pattern.ports.last) + 1);
    }
    cuts.remove(&65536);
    let cuts: Vec<u32> = cuts.into_iter().collect();
    let mut out: PortMap = Vec::new();
    for (n, first) in cuts.iter().enumerate() {
        let last = cuts.get(n + 1).map_or(65535, |c| c - 1) as u16;
        let first = *first as u16;
        let mut decision = Decision {
            action: policy.default_action,
            rule: None,
        };
        let mut i = 0;
        while i < hits.len() {
            let rule = hits[i].rule;
            let end = hits[i..].iter().take_while(|f| f.rule == rule).count() + i;
            let matched = |except: bool| {
                hits[i..end]
                    .iter()
                    .any(|f| f.except == except && f.pattern.ports.contains(first))
            };
            if matched(false) && !matched(true) {
                decision = Decision {
                    action: policy.rules[rule].action,
                    rule: Some(policy.rules[rule].id),
                };
                break;
            }
            i = end;
        }
        match out.last_mut() {
            Some(l) if l.1 == decision => l.0.last = last,
            _ => out.push((Ports { first, last }, decision)),
        }
    }
    out
}
