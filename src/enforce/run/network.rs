//! How polc restricts the network, and which ports Landlock leaves open.

use super::Error;
use super::choice::Choice;
use crate::backend::landlock::{AccessNet, NetPort, Ruleset};
use crate::fidelity::Object;
use crate::policy::{HostSpec, Operation, Policy, Protocol};
use crate::semantics::{Meaning, decide};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

/// How polc restricts hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The policy allows every host.
    Open,
    /// It allows no host.
    None,
    /// It allows some hosts, which the program reaches through the proxy.
    Proxy,
}

/// What a policy and the user's choice ask for.
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

/// In a network namespace, the program can connect only to its own loopback interface. It may connect to the ports that
/// it may bind. The kernel refuses every other port at once, those of the proxied hosts too.
///
/// If the policy allows binding any port, the kernel may choose it. Then the ports are not known before, and Landlock
/// restricts none. Only the program itself listens there, and routes refuse all other addresses ([`super::routes`]).
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

/// Listens for the proxy. The program may connect to its port, whatever the policy says.
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
