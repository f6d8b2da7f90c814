//! Hosts: address blocks and ports.

use super::lower::Hook;
use super::model::{Arg, MatchArg, Operator};
use crate::fidelity::Fidelity;
use crate::policy::{Operation, Protocol};
use crate::semantics::{HostRegion, LedgerBuilder, Meaning, Peers};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of ports, both ends included, ascending and disjoint.
type PortList = Vec<(u16, u16)>;

/// Address intervals by the ports that are allowed there. TCP and UDP share one answer: allowed if either is.
struct Plan {
    groups: BTreeMap<PortList, Vec<(IpAddr, IpAddr)>>,
}

fn merge(mut list: PortList) -> PortList {
    list.sort_unstable();
    let mut out: PortList = Vec::new();
    for (a, b) in list {
        match out.last_mut() {
            Some(last) if u32::from(a) <= u32::from(last.1) + 1 => last.1 = last.1.max(b),
            _ => out.push((a, b)),
        }
    }
    out
}

impl Plan {
    /// `open`: ports at which some name is allowed. A name can stand for any address. So addresses that no rule
    /// mentions are allowed at these ports. Otherwise the program could reach nothing.
    fn of(regions: &[HostRegion], open: &PortList) -> Self {
        let mut intervals: BTreeMap<(IpAddr, IpAddr), PortList> = BTreeMap::new();
        for r in regions {
            let Peers::Addresses(first, last) = r.peers else {
                continue;
            };
            let ports = intervals.entry((first, last)).or_default();
            if r.decision.action.permits() {
                ports.push((r.ports.first, r.ports.last));
            } else if r.decision.rule.is_none() {
                for (a, b) in open {
                    let (a, b) = (*a.max(&r.ports.first), *b.min(&r.ports.last));
                    if a <= b {
                        ports.push((a, b));
                    }
                }
            }
        }
        let mut groups: BTreeMap<PortList, Vec<(IpAddr, IpAddr)>> = BTreeMap::new();
        for (interval, ports) in intervals {
            groups.entry(merge(ports)).or_default().push(interval);
        }
        Self { groups }
    }

    /// The ports at which the answer changes.
    fn cuts(&self) -> Vec<u16> {
        self.groups
            .keys()
            .flatten()
            .flat_map(|(a, b)| [Some(*a), b.checked_add(1)])
            .flatten()
            .collect()
    }

    fn allows(&self, address: IpAddr, port: u16) -> bool {
        self.groups.iter().any(|(ports, intervals)| {
            intervals
                .iter()
                .any(|(a, b)| a.is_ipv4() == address.is_ipv4() && *a <= address && address <= *b)
                && ports.iter().any(|(a, b)| (*a..=*b).contains(&port))
        })
    }

    /// Whether some address is allowed at the port.
    fn allows_somewhere(&self, port: u16) -> bool {
        self.groups
            .keys()
            .flatten()
            .any(|(a, b)| (*a..=*b).contains(&port))
    }

    /// A selector's filters for each group of ports at which something is denied.
    fn filters(&self) -> Vec<Vec<MatchArg>> {
        let mut out = Vec::new();
        for (ports, intervals) in &self.groups {
            if ports.as_slice() == [(0, u16::MAX)] {
                continue;
            }
            let shown = shown(intervals);
            let mut filters = vec![MatchArg {
                index: 1,
                operator: Operator::SAddr,
                values: shown.iter().flat_map(|(a, b)| blocks(*a, *b)).collect(),
            }];
            if !ports.is_empty() {
                let values = ports
                    .iter()
                    .map(|(a, b)| {
                        if a == b {
                            a.to_string()
                        } else {
                            format!("{a}:{b}")
                        }
                    })
                    .collect();
                filters.push(MatchArg {
                    index: 1,
                    operator: Operator::NotSPort,
                    values,
                });
            }
            out.push(filters);
        }
        out
    }
}

/// The intervals as the `sockaddr` of a socket shows them. An IPv6 socket reaches an IPv4 address by its mapped form
/// (RFC 4291, 2.5.5.2; Java makes no other sockets). For the language, that is the IPv4 address.
fn shown(intervals: &[(IpAddr, IpAddr)]) -> Vec<(IpAddr, IpAddr)> {
    let mapped = |a: Ipv4Addr| u128::from(a.to_ipv6_mapped());
    let (low, high) = (mapped(Ipv4Addr::UNSPECIFIED), mapped(Ipv4Addr::BROADCAST));
    let mut out = Vec::new();
    let mut wide: Vec<(u128, u128)> = Vec::new();
    for (first, last) in intervals {
        match (first, last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                out.push((*first, *last));
                wide.push((mapped(*a), mapped(*b)));
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let (a, b) = (u128::from(*a), u128::from(*b));
                let apart = [(a, b.min(low - 1)), (a.max(high + 1), b)];
                wide.extend(apart.into_iter().filter(|(a, b)| a <= b));
            }
            _ => {}
        }
    }
    wide.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (a, b) in wide {
        match merged.last_mut() {
            Some(last) if a <= last.1.saturating_add(1) => last.1 = last.1.max(b),
            _ => merged.push((a, b)),
        }
    }
    let v6 = |n: u128| IpAddr::V6(Ipv6Addr::from(n));
    out.extend(merged.into_iter().map(|(a, b)| (v6(a), v6(b))));
    out
}

/// The fewest blocks that make up an interval.
fn blocks(first: IpAddr, last: IpAddr) -> Vec<String> {
    let (mut lo, hi, width) = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (u128::from(u32::from(a)), u128::from(u32::from(b)), 32u32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a), u128::from(b), 128),
        _ => return Vec::new(),
    };
    let mut out = Vec::new();
    loop {
        // The largest block that begins here and does not go past the end.
        let mut free = lo.trailing_zeros().min(width);
        let end = |free: u32| {
            if free >= 128 {
                u128::MAX
            } else {
                lo | ((1u128 << free) - 1)
            }
        };
        while end(free) > hi {
            free -= 1;
        }
        let address = if width == 32 {
            IpAddr::V4(Ipv4Addr::from(u32::try_from(lo).unwrap_or(u32::MAX)))
        } else {
            IpAddr::V6(Ipv6Addr::from(lo))
        };
        out.push(format!("{address}/{}", width - free));
        let block_end = end(free);
        if block_end >= hi {
            return out;
        }
        lo = block_end + 1;
    }
}

pub fn lower(
    meaning: &Meaning<'_>,
    ledger: &mut LedgerBuilder<'_, '_>,
    hooks: &mut BTreeMap<&'static str, Vec<Hook>>,
) {
    let connect = meaning.hosts(Operation::Connect);
    let bind = meaning.hosts(Operation::Bind);
    let used = |p| connect.any_allowed(p) || bind.any_allowed(p);
    let free = [connect, bind]
        .iter()
        .all(|s| s.regions().iter().all(|r| r.decision.action.permits()));
    if !free {
        hooks
            .entry("network")
            .or_default()
            .push(sockets(used(Protocol::Tcp), used(Protocol::Udp)));
    }
    let mut unasked = false;
    for (operation, space, call) in [
        (Operation::Connect, connect, "security_socket_connect"),
        (Operation::Bind, bind, "security_socket_bind"),
    ] {
        let by_name = |r: &&HostRegion| {
            !matches!(r.peers, Peers::Addresses(..)) && r.decision.action.permits()
        };
        let open: PortList = if operation == Operation::Connect {
            merge(
                space
                    .regions()
                    .iter()
                    .filter(by_name)
                    .map(|r| (r.ports.first, r.ports.last))
                    .collect(),
            )
        } else {
            Vec::new()
        };
        let plan = Plan::of(space.regions(), &open);
        let filters = plan.filters();
        let filters_empty = filters.is_empty();
        if !filters_empty {
            hooks.entry("network").or_default().push(Hook {
                call,
                args: vec![Arg {
                    index: 1,
                    kind: "sockaddr",
                }],
                optional: false,
                filters,
                message: operation.name().to_owned(),
            });
        }
        unasked |= used(Protocol::Tcp) && !filters_empty;
        let regions = space.split_at(&plan.cuts());
        ledger.hosts_in(
            operation,
            &regions,
            |r| match (&r.peers, r.protocol) {
                (_, p) if !used(p) && !free => false,
                // A packet that is sent without connecting passes no filter.
                (_, Protocol::Udp) if operation == Operation::Connect => true,
                (Peers::Addresses(first, _), _) => plan.allows(*first, r.ports.first),
                _ => plan.allows_somewhere(r.ports.first),
            },
            &|_, _| {
                "filters see addresses and ports: a name can be any address, TCP and UDP have one answer, and UDP without a connection passes no hook".into()
            },
        );
    }
    if unasked {
        ledger.setting(
            "TCP that no hook sees",
            Fidelity::Looser,
            "data sent with MSG_FASTOPEN passes no hook on connecting, and `listen` without `bind` passes no hook on binding",
        );
    }
}

/// Refuses sockets for which the policy allows nothing, also raw and packet sockets.
fn sockets(tcp: bool, udp: bool) -> Hook {
    // 2 and 10 are AF_INET and AF_INET6, 17 is AF_PACKET. 1, 2 and 3 are SOCK_STREAM, SOCK_DGRAM and SOCK_RAW. The type
    // has no flags here (net/socket.c).
    let mut kinds = vec!["3".to_owned()];
    if !tcp {
        kinds.push("1".to_owned());
    }
    if !udp {
        kinds.push("2".to_owned());
    }
    let equal = |index, values| MatchArg {
        index,
        operator: Operator::Equal,
        values,
    };
    Hook {
        call: "security_socket_create",
        args: vec![
            Arg {
                index: 0,
                kind: "int",
            },
            Arg {
                index: 1,
                kind: "int",
            },
        ],
        optional: false,
        filters: vec![
            vec![
                equal(0, vec!["2".to_owned(), "10".to_owned()]),
                equal(1, kinds),
            ],
            vec![equal(0, vec!["17".to_owned()])],
        ],
        message: "socket".to_owned(),
    }
}
