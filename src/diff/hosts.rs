//! Differences about network addresses.

use super::{Became, Change, Side};
use crate::backend::HostCuts;
use crate::fidelity::Object;
use crate::policy::{Address, Host, Objects, Operation, Platforms, Policy, Ports, Protocol};
use crate::semantics::{HostRegion, HostSpace, Peers};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) fn compare(old: &Side<'_>, new: &Side<'_>, operation: Operation, out: &mut Vec<Change>) {
    // Stand-ins for all names below one. A split by names alone would not find these.
    let mut stand_ins: BTreeMap<String, String> = BTreeMap::new();
    let regions = match (old, new) {
        (Side::Policy(a), b) => split(a.hosts(operation), b, operation, &mut stand_ins),
        (a, Side::Policy(b)) => split(b.hosts(operation), a, operation, &mut stand_ins),
        (Side::Artifact(a), b @ Side::Artifact(_)) => {
            // A side without a policy: one region of everything, split by both.
            let nothing = Policy::of_rules("nothing", crate::policy::Action::Deny, Vec::new());
            let space = HostSpace::new(&nothing, operation);
            let mut cuts = cuts_of(b, operation, &mut stand_ins);
            if let Some(more) = a.host_cuts(operation) {
                cuts.ports.extend(more.ports);
                cuts.blocks.extend(more.blocks);
                cuts.names.extend(more.names);
            }
            space.split(&cuts.ports, &cuts.blocks, &cuts.names)
        }
    };
    // (became, peers, ports), with the protocols, so that a difference for both protocols appears once.
    let mut told: Vec<(Became, String, Vec<Protocol>, HostRegion)> = Vec::new();
    for region in regions {
        let object = Object::Host(region.sample.clone());
        let ((was, _), (is, _)) = (
            old.decide(operation, &object),
            new.decide(operation, &object),
        );
        if was == is {
            continue;
        }
        let what = describe(&region, &stand_ins);
        let became = Became::of(is);
        match told.iter_mut().find(|t| t.0 == became && t.1 == what) {
            Some(same) => same.2.push(region.protocol),
            None => told.push((became, what, vec![region.protocol], region)),
        }
    }
    for (became, what, protocols, region) in told {
        let object = Object::Host(region.sample);
        let scheme = match protocols.as_slice() {
            [one] => format!("{}://", one.name()),
            _ => String::new(),
        };
        out.push(Change {
            operation: Some(operation),
            became,
            what: format!("{scheme}{what}"),
            in_part: false,
            platforms: Platforms::ALL,
            decisions: [
                old.decision(operation, &object),
                new.decision(operation, &object),
            ],
            example: Some(object),
        });
    }
}

fn split(
    space: &HostSpace,
    other: &Side<'_>,
    operation: Operation,
    stand_ins: &mut BTreeMap<String, String>,
) -> Vec<HostRegion> {
    let cuts = cuts_of(other, operation, stand_ins);
    space.split(&cuts.ports, &cuts.blocks, &cuts.names)
}

/// The points at which a side's answers change.
fn cuts_of(
    side: &Side<'_>,
    operation: Operation,
    stand_ins: &mut BTreeMap<String, String>,
) -> HostCuts {
    let meaning = match side {
        Side::Artifact(artifact) => return artifact.host_cuts(operation).unwrap_or_default(),
        Side::Policy(meaning) => meaning,
    };
    let mut cuts = HostCuts::default();
    let rules = meaning.policy().rules.iter();
    for rule in rules.filter(|r| r.operations.contains(operation)) {
        let Objects::Hosts { hosts, except } = &rule.objects else {
            continue;
        };
        for pattern in hosts.iter().chain(except) {
            cuts.ports.push(pattern.ports.first);
            cuts.ports.extend(pattern.ports.last.checked_add(1));
            cuts.blocks.extend(pattern.host.blocks());
            match &pattern.host {
                Host::Name(name) => cuts.names.push(name.clone()),
                Host::Localhost => cuts.names.push("localhost".to_owned()),
                Host::Below(parent) => {
                    let name = format!("polc-any.{parent}");
                    stand_ins.insert(name.clone(), format!("*.{parent}"));
                    cuts.names.push(name);
                }
                Host::Any | Host::Addresses(_) => {}
            }
        }
    }
    cuts.names.sort_unstable();
    cuts.names.dedup();
    cuts
}

fn describe(region: &HostRegion, stand_ins: &BTreeMap<String, String>) -> String {
    let peers = match &region.peers {
        Peers::Name(name) => stand_ins.get(name).unwrap_or(name).clone(),
        Peers::Below(parent) => format!("*.{parent}"),
        Peers::OtherNames => "any other name".to_owned(),
        Peers::Addresses(first, last) => addresses(*first, *last),
    };
    let peers = match (&region.peers, region.sample.address.clone()) {
        (Peers::Addresses(IpAddr::V6(_), _), Address::Ip(_)) => format!("[{peers}]"),
        _ => peers,
    };
    match region.ports {
        Ports::ALL => peers,
        Ports { first, last } if first == last => format!("{peers}:{first}"),
        Ports { first, last } => format!("{peers}:{first}-{last}"),
    }
}

fn addresses(first: IpAddr, last: IpAddr) -> String {
    if first == last {
        return first.to_string();
    }
    let (bits, lo, hi) = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (32, u128::from(u32::from(a)), u128::from(u32::from(b))),
        (IpAddr::V6(a), IpAddr::V6(b)) => (128, u128::from(a), u128::from(b)),
        _ => return format!("{first} to {last}"),
    };
    let differing = lo ^ hi;
    let length = 128 - differing.leading_zeros();
    let block = differing.count_ones() == length && lo & differing == 0;
    if block {
        format!("{first}/{}", bits - length)
    } else {
        format!("{first} to {last}")
    }
}
