//! Addresses. Filters can name every host, and this host.

use super::model::{Filter, ProfileRule};
use crate::fidelity::Fidelity;
use crate::policy::{Cidr, Operation, Protocol};
use crate::semantics::{HostRegion, LedgerBuilder, Meaning, Peers};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The most ports of a range that are written one by one.
const MAX_PORTS: u32 = 256;

/// What filters can say about hosts: ports of every host, and ports of localhost.
#[derive(Default)]
struct Ports {
    any: Vec<(Protocol, Option<u16>)>,
    local: Vec<(Protocol, Option<u16>)>,
}

impl Ports {
    /// The ports at which a region of this kind has the opposite of the default action.
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

pub(super) fn lower(
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
            // The proxy decides about hosts. Nothing else may leave.
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
                Fidelity::Stricter => "filters know only `*` and `localhost`: named hosts need a proxy (--proxy-port)".into(),
                _ => "filters know only `*` and `localhost`".into(),
            },
        );
    }
}
