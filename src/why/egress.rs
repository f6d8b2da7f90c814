//! The refusals of polc's own proxy: the lines that [`crate::enforce::egress::Refusal`] prints.

use super::{Access, Denial, Layer, Line, on_host};
use crate::fidelity::show_bytes;
use crate::policy::{Address, HostSpec, Operation};
use std::net::IpAddr;

const MARK: &[u8] = b"polc-egress: refused ";

pub(super) fn line(line: &[u8]) -> Option<Line> {
    // At the beginning, or after a logger's prefix.
    let rest = super::record::after(line, MARK)?;
    Some(read(rest).map_or(Line::Unread, |d| Line::Denials(vec![d])))
}

fn read(rest: &[u8]) -> Option<Denial> {
    let text = std::str::from_utf8(rest).ok()?;
    let (head, reason) = text.split_once(": ")?;
    let (target, how) = head.split_once(" via ")?;
    let mut words = how.split(' ');
    if !matches!(words.next()?, "connect" | "http" | "socks") {
        return None;
    }
    let address = words
        .find_map(|w| w.strip_prefix("address="))
        .and_then(|a| a.parse::<IpAddr>().ok());
    let asked = HostSpec::parse(&format!("tcp://{target}"));
    let reason = show_bytes(reason.as_bytes());
    Some(match (asked, address) {
        (Ok(spec), None) => Denial::new(Layer::Egress, on_host(Operation::Connect, spec)),
        // The name is allowed, and its address is not.
        (Ok(spec), Some(ip)) => {
            let note = format!("`{}:{}` has this address: {reason}", name(&spec), spec.port);
            let spec = HostSpec {
                address: Address::Ip(ip),
                ..spec
            };
            Denial::new(Layer::Egress, on_host(Operation::Connect, spec)).note(note)
        }
        (Err(_), _) => Denial::new(
            Layer::Egress,
            Access::Other(format!(
                "a request that no rule can allow: {}",
                show_bytes(target.as_bytes())
            )),
        )
        .note(reason),
    })
}

fn name(spec: &HostSpec) -> String {
    match &spec.address {
        Address::Name(n) => n.clone(),
        Address::Ip(ip) => ip.to_string(),
    }
}
