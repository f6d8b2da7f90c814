//! Services on this host's loopback interface that the policy allows.
//!
//! In a network namespace the program has a loopback interface of its own, so `127.0.0.1` does not lead to these
//! services. The proxy could reach them, but clients do not ask a proxy for `localhost`. So polc names each such port
//! at the start.

use crate::fidelity::Object;
use crate::policy::{HostSpec, Operation, Policy};
use crate::semantics::decide;
use std::collections::BTreeSet;

/// The state `TCP_LISTEN` in `/proc/net/tcp` (include/net/tcp_states.h).
const LISTENS: &str = "0A";

/// The beginning of the loopback address of IPv6.
const ZEROS: &str = "000000000000000000000000";

/// The most ports that polc names.
const NAMED: usize = 6;

/// The TCP ports that the policy allows and on which something listens on this host's loopback interface now.
#[must_use]
pub fn allowed(policy: &Policy) -> BTreeSet<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let ports: BTreeSet<u16> = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|text| text.lines().filter_map(listens).collect::<Vec<_>>())
        .collect();
    let permits = |port: &u16| {
        HostSpec::parse(&format!("tcp://localhost:{port}")).is_ok_and(|host| {
            let decision = decide(policy, Operation::Connect, &Object::Host(host));
            decision.action.permits()
        })
    };
    ports.into_iter().filter(permits).collect()
}

/// The port in a line of `/proc/net/tcp` (proc(5)), if something listens there on a loopback address or on all
/// addresses.
fn listens(line: &str) -> Option<u16> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    if words.nth(1)? != LISTENS {
        return None;
    }
    // Each group of four bytes is written as one number, in the byte order of this processor.
    let every = address.bytes().all(|b| b == b'0');
    let loopback = match address.len() {
        8 => address == group([127, 0, 0, 1]),
        _ => address.strip_prefix(ZEROS) == Some(&group([0, 0, 0, 1])),
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    (every || loopback).then_some(port)
}

/// Four bytes of an address as `/proc/net/tcp` writes them.
fn group(bytes: [u8; 4]) -> String {
    format!("{:08X}", u32::from_ne_bytes(bytes))
}

/// What polc says about them before the start. `None`: there are none.
#[must_use]
pub fn told(ports: &BTreeSet<u16>) -> Option<String> {
    let first: Vec<String> = ports.iter().take(NAMED).map(u16::to_string).collect();
    let rest = match ports.len() - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (named, are) = match first.as_slice() {
        [] => return None,
        [port] => (format!("port {port}"), "is"),
        _ => (format!("ports {}{rest}", first.join(", ")), "are"),
    };
    Some(format!(
        "{named} of this host's localhost {are} allowed, and most clients do not reach it: the program has a localhost of its own. A client that asks the proxy ($HTTP_PROXY) for localhost reaches the host's: start it as `env NO_PROXY= no_proxy= CLIENT` (docs/run.md)"
    ))
}

#[cfg(test)]
mod tests {
    use super::{listens, told};

    #[test]
    fn what_listens_on_loopback_is_found() {
        let line = |address: &str, state: &str| {
            format!(
                "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  0 0 1 1 0 100 0 0 10 0"
            )
        };
        // As a little-endian processor writes it.
        if cfg!(target_endian = "little") {
            assert_eq!(listens(&line("0100007F:3C48", "0A")), Some(15432));
            let six = "00000000000000000000000001000000:0050";
            assert_eq!(listens(&line(six, "0A")), Some(80));
        }
        assert_eq!(listens(&line("00000000:0016", "0A")), Some(22));
        assert_eq!(
            listens(&line("00000000:0016", "01")),
            None,
            "it is connected"
        );
        assert_eq!(
            listens(&line("0200000A:0016", "0A")),
            None,
            "another address"
        );
        assert_eq!(listens("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn many_ports_are_one_line() {
        assert_eq!(told(&[].into()), None);
        assert!(told(&[80].into()).is_some_and(|l| l.starts_with("port 80 of")));
        let many = told(&(1..=20).collect()).unwrap();
        assert!(
            many.starts_with("ports 1, 2, 3, 4, 5, 6 and 14 more of"),
            "{many}"
        );
    }
}
