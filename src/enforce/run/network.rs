//! How the network is kept: which of three ways, and which ports Landlock leaves open.

use super::Error;
use super::choice::Choice;
use crate::backend::landlock::{AccessNet, NetPort, Ruleset};
use crate::fidelity::Object;
use crate::policy::{HostSpec, Operation, Policy, Protocol};
use crate::semantics::{Meaning, decide};
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

/// In a network namespace there is nothing but the loopback interface to connect to: the ports of other hosts,
/// which the proxy reaches, are refused at once.
pub fn own_ports(policy: &Policy, ruleset: &mut Ruleset) {
    let local = |port: &u16| {
        ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| {
            HostSpec::parse(&format!("tcp://{host}:{port}")).is_ok_and(|spec| {
                decide(policy, Operation::Connect, &Object::Host(spec))
                    .action
                    .permits()
            })
        })
    };
    let connect = ruleset
        .ports
        .iter_mut()
        .filter(|p| p.access == AccessNet::ConnectTcp);
    for grant in connect {
        grant.ports.retain(local);
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
