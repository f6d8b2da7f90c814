//! How the network is kept: which of three ways, and which ports Landlock leaves open.

use super::Error;
use super::choice::Choice;
use crate::backend::landlock::{AccessNet, NetPort, Ruleset};
use crate::fidelity::Object;
use crate::policy::{HostSpec, Operation, Policy, Protocol};
use crate::semantics::{Meaning, decide};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

/// How hosts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Every host is allowed.
    Open,
    /// None is.
    None,
    /// Some are: through the proxy.
    Proxy,
}

/// Which way a policy and a choice ask for.
#[must_use]
pub fn network(meaning: &Meaning<'_>, choice: Choice) -> Network {
    let (connect, bind) = (
        meaning.hosts(Operation::Connect),
        meaning.hosts(Operation::Bind),
    );
    let all = || {
        connect
            .regions()
            .iter()
            .chain(bind.regions())
            .all(|r| r.decision.action.permits())
    };
    if choice.no_network {
        Network::None
    } else if all() {
        Network::Open
    } else if Protocol::ALL.iter().any(|p| connect.any_allowed(*p)) {
        Network::Proxy
    } else {
        Network::None
    }
}

/// Without a network namespace: TCP ports are open only where every host is allowed on them.
///
/// # Errors
/// Landlock has no rules on ports here.
pub fn close_ports(
    meaning: &Meaning<'_>,
    network: Network,
    abi: u32,
    ruleset: &mut Ruleset,
) -> Result<(), Error> {
    let any = |operation| meaning.hosts(operation).any_allowed(Protocol::Tcp);
    let tcp = network == Network::Proxy || any(Operation::Bind) || any(Operation::Connect);
    if tcp && abi < 4 {
        return Err(Error::Network);
    }
    if tcp {
        ruleset.handled_net.insert(AccessNet::ConnectTcp);
        ruleset.handled_net.insert(AccessNet::BindTcp);
        ruleset.ports.retain(|p| p.access == AccessNet::BindTcp);
    }
    Ok(())
}

/// In a network namespace there is nothing but the program's own loopback interface to connect to. What it may bind there it
/// may connect to; every other port is refused at once, the proxied hosts' too.
///
/// Where the policy lets it bind any port, and so one of the kernel's choice, the ports are not known before: then none is restricted. Nobody
/// but the program itself listens there, and routes refuse all other addresses ([`super::routes`]).
pub fn own_ports(policy: &Policy, ruleset: &mut Ruleset) {
    if !ruleset.handled_net.contains(&AccessNet::BindTcp) {
        ruleset.handled_net.clear();
        ruleset.ports.clear();
        return;
    }
    let of = |ruleset: &Ruleset, access| -> BTreeSet<u16> {
        let granted = ruleset.ports.iter().filter(|p| p.access == access);
        granted.flat_map(|p| p.ports.iter().copied()).collect()
    };
    let local = |port: &u16| {
        ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
            HostSpec::parse(&format!("tcp://{host}:{port}")).is_ok_and(|spec| {
                decide(policy, Operation::Connect, &Object::Host(spec))
                    .action
                    .permits()
            })
        })
    };
    let mut ports = of(ruleset, AccessNet::ConnectTcp);
    ports.retain(local);
    ports.extend(of(ruleset, AccessNet::BindTcp));
    ruleset.ports.retain(|p| p.access != AccessNet::ConnectTcp);
    if !ports.is_empty() && ruleset.handled_net.contains(&AccessNet::ConnectTcp) {
        ruleset.ports.push(NetPort {
            access: AccessNet::ConnectTcp,
            ports: ports.into_iter().collect(),
        });
    }
}

/// Listens for the proxy, whose port is reachable beside what the policy says.
///
/// # Errors
/// There is no loopback interface.
pub fn proxy_listener(ruleset: &mut Ruleset) -> Result<TcpListener, Error> {
    let error = |e| Error::Proxy("listen for the proxy", e);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(error)?;
    let port = listener.local_addr().map_err(error)?.port();
    if !ruleset.handled_net.contains(&AccessNet::ConnectTcp) {
        return Ok(listener);
    }
    match ruleset
        .ports
        .iter_mut()
        .find(|p| p.access == AccessNet::ConnectTcp)
    {
        Some(ports) => ports.ports.push(port),
        None => ruleset.ports.push(NetPort {
            access: AccessNet::ConnectTcp,
            ports: vec![port],
        }),
    }
    Ok(listener)
}
