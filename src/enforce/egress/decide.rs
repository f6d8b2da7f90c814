//! What the policy says about a peer, by its name and by every address that the name has.

use super::address;
use crate::fidelity::Object;
use crate::policy::{
    Action, Address, Host, HostSpec, Objects, Operation, Policy, Protocol, Rule, RuleId,
};
use crate::semantics::{decide, rule_matches};
use std::net::IpAddr;

/// A refusal, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct No {
    /// The rule; `None`: the default, or the proxy itself.
    pub rule: Option<RuleId>,
    /// The refused address, if the name itself is allowed.
    pub address: Option<IpAddr>,
    /// One line.
    pub reason: String,
}

/// Whether the policy lets the program connect there, as far as polc can tell without resolving a name.
pub(super) fn peer(policy: &Policy, spec: &HostSpec) -> Result<(), No> {
    let decision = decide(policy, Operation::Connect, &Object::Host(spec.clone()));
    if decision.action != Action::Allow {
        return Err(No {
            rule: decision.rule,
            address: None,
            reason: by(policy, decision.rule, decision.action),
        });
    }
    match spec.address {
        Address::Name(_) => Ok(()),
        Address::Ip(ip) => resolved(policy, ip, spec.port).map_err(|no| No {
            address: None,
            ..no
        }),
    }
}

/// Whether the program may connect to an address whose name is allowed. No address rule may deny it. If it is a special
/// address, an address rule must allow it. An IPv4 address within an IPv6 address must pass too.
pub(super) fn resolved(policy: &Policy, ip: IpAddr, port: u16) -> Result<(), No> {
    let said = |ip: IpAddr| {
        let spec = HostSpec {
            protocol: Some(Protocol::Tcp),
            address: Address::Ip(ip),
            port,
        };
        address_rule(policy, &spec)
    };
    let no = |rule: Option<RuleId>, reason| {
        Err(No {
            rule,
            address: Some(ip),
            reason,
        })
    };
    let own = said(ip);
    let inner = address::embedded(ip).map(|v4| said(IpAddr::V4(v4)));
    for rule in [own, inner.flatten()].into_iter().flatten() {
        if rule.action != Action::Allow {
            return no(Some(rule.id), by(policy, Some(rule.id), rule.action));
        }
    }
    match address::special(ip) {
        Some(what) if own.is_none() => no(
            None,
            format!(
                "{ip} is {what}, which only a rule that names the address (or `localhost`) can allow"
            ),
        ),
        _ => Ok(()),
    }
}

/// The first rule that names the address as an address. A rule that denies counts only if no rule above it allows every
/// host (`*`). A rule that denies every host is not about an address whose name is allowed.
fn address_rule<'p>(policy: &'p Policy, spec: &HostSpec) -> Option<&'p Rule> {
    let object = Object::Host(spec.clone());
    let mut open = false;
    for rule in &policy.rules {
        if !rule_matches(rule, Operation::Connect, &object) {
            continue;
        }
        let Objects::Hosts { hosts, .. } = &rule.objects else {
            continue;
        };
        let names_it = hosts.iter().any(|h| {
            let every = match &h.host {
                Host::Any => true,
                Host::Addresses(block) => block.prefix == 0,
                _ => false,
            };
            !every && h.matches(Protocol::Tcp, &spec.address, spec.port)
        });
        if names_it {
            return (rule.action == Action::Allow || !open).then_some(rule);
        }
        open |= rule.action == Action::Allow;
    }
    None
}

/// Who decided, in words.
pub(super) fn by(policy: &Policy, rule: Option<RuleId>, action: Action) -> String {
    match rule.and_then(|id| policy.rules.get(id.0 as usize)) {
        Some(r) if action == Action::Ask => format!(
            "rule `{}` at {} says `ask`, and the proxy cannot ask",
            r.name,
            policy.sources.place(r.span)
        ),
        Some(r) => format!(
            "denied by rule `{}` at {}",
            r.name,
            policy.sources.place(r.span)
        ),
        None => format!(
            "no rule allows it: default_action at {}",
            policy.sources.place(policy.default_span)
        ),
    }
}
