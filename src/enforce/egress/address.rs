//! Parses what a request names, and knows the addresses that only an address rule may open.

use crate::fidelity::show_bytes;
use crate::policy::{Address, HostSpec, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads the host and the port that a program asked for. Returns a name as the policy writes names (lower case, no last
/// dot). If a resolver would take the text for an address, it returns that address.
///
/// Refuses names outside ASCII. The policy knows such names only in their `xn--` form, and there are two different
/// conversions to that form (IDNA 2003 and 2008).
///
/// # Errors
/// One line that says what is wrong.
pub(super) fn destination(host: &[u8], port: u16) -> Result<HostSpec, String> {
    let shown = || show_bytes(host.get(..host.len().min(80)).unwrap_or_default());
    if port == 0 {
        return Err(format!(
            "port 0 of `{}` is not a port to connect to",
            shown()
        ));
    }
    let text = std::str::from_utf8(host)
        .ok()
        .filter(|t| t.is_ascii())
        .ok_or_else(|| {
            format!(
                "`{}` is not ASCII; a name outside ASCII is written in its `xn--` form",
                shown()
            )
        })?;
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    let spec = |address| HostSpec {
        protocol: Some(Protocol::Tcp),
        address,
        port,
    };
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(spec(Address::Ip(ip.to_canonical())));
    }
    if let Some(ip) = loose_ipv4(bare) {
        return Ok(spec(Address::Ip(IpAddr::V4(ip))));
    }
    // One dot at the end stands for the root. The policy's own reader does the rest.
    match HostSpec::parse(&format!("tcp://{text}:{port}")) {
        Ok(s) if matches!(s.address, Address::Name(_)) => Ok(s),
        _ => Err(format!("`{}` is not a host name or an address", shown())),
    }
}

/// The forms of an IPv4 address that `inet_aton` and browsers take, and no strict reader does. They have one to four
/// numbers: decimal, octal (`0177.1`) or hexadecimal (`0x7f000001`). The last number fills the remaining bytes.
fn loose_ipv4(text: &str) -> Option<Ipv4Addr> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut numbers = Vec::new();
    for part in text.split('.') {
        let lower = part.to_ascii_lowercase();
        let value = match lower.strip_prefix("0x") {
            Some("") => 0,
            Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                u64::from_str_radix(hex, 16).ok()?
            }
            Some(_) => return None,
            None if lower.is_empty() || !lower.bytes().all(|b| b.is_ascii_digit()) => return None,
            None if lower.len() > 1 && lower.starts_with('0') => {
                u64::from_str_radix(&lower, 8).ok()?
            }
            None => lower.parse().ok()?,
        };
        numbers.push(value);
    }
    let (last, leading) = numbers.split_last()?;
    if leading.len() > 3 || leading.iter().any(|n| *n > 255) {
        return None;
    }
    let room = 8 * (4 - leading.len());
    if *last >= 1u64 << room {
        return None;
    }
    let mut value = 0u64;
    for n in leading {
        value = (value << 8) | n;
    }
    u32::try_from((value << room) | last)
        .ok()
        .map(Ipv4Addr::from)
}

/// The IPv4 address to which a translator or a tunnel sends this IPv6 address: mapped and compatible forms (RFC 4291),
/// NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056).
pub(super) fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let s = v6.segments();
    let v4 = |hi: u16, lo: u16| Ipv4Addr::from((u32::from(hi) << 16) | u32::from(lo));
    match s {
        [0, 0, 0, 0, 0, 0xffff, hi, lo] => Some(v4(hi, lo)),
        [0, 0, 0, 0, 0, 0, hi, lo] if hi != 0 || lo > 1 => Some(v4(hi, lo)),
        [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => Some(v4(hi, lo)),
        [0x64, 0xff9b, 1, _, _, _, hi, lo] => Some(v4(hi, lo)),
        [0x2002, hi, lo, ..] => Some(v4(hi, lo)),
        _ => None,
    }
}

/// Why an address is not one of the public internet, in a few words. `None`: it is one. The ranges come from the
/// registries of special-purpose addresses (RFC 6890 and its updates).
pub(super) fn special(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(a) => special_v4(a),
        IpAddr::V6(a) => special_v6(a),
    }
}

fn special_v4(a: Ipv4Addr) -> Option<&'static str> {
    let o = a.octets();
    Some(match o {
        [0, ..] => "an unspecified address",
        [127, ..] => "a loopback address",
        [10, ..] | [192, 168, ..] => "a private address",
        [172, n, ..] if n & 0xf0 == 16 => "a private address",
        [100, n, ..] if n & 0xc0 == 64 => "a carrier's internal address",
        [169, 254, 169, 254] => "the address of a cloud's metadata service",
        [169, 254, ..] => "a link-local address",
        [192, 0, 0, _] => "an address for protocols",
        [198, 18 | 19, ..] => "an address for benchmarks",
        [n, ..] if n >= 240 => "a reserved address",
        [n, ..] if n >= 224 => "a multicast address",
        _ => return None,
    })
}

fn special_v6(a: Ipv6Addr) -> Option<&'static str> {
    let s = a.segments();
    Some(match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => "an unspecified address",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        [0, 0, 0, 0, 0, 0, _, _] => "an IPv4 address in an outdated form",
        [0x64, 0xff9b, ..] => "an IPv4 address behind a translator",
        [0x2002, ..] => "an IPv4 address behind a tunnel",
        [0x2001, 0, ..] => "an IPv4 address behind a tunnel",
        [0x100, 0, 0, 0, ..] => "an address that discards",
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => "the address of a cloud's metadata service",
        [n, ..] if n & 0xfe00 == 0xfc00 => "a private address",
        [n, ..] if n & 0xffc0 == 0xfe80 => "a link-local address",
        [n, ..] if n & 0xffc0 == 0xfec0 => "a site-local address",
        [n, ..] if n & 0xff00 == 0xff00 => "a multicast address",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_addresses_are_addresses() {
        for text in [
            "127.0.0.1",
            "127.1",
            "0177.0.0.1",
            "0x7f000001",
            "0X7F.1",
            "2130706433",
            "017700000001",
            "127.0.0.1.",
            "[::ffff:127.0.0.1]",
            "::ffff:7f00:1",
        ] {
            let got = destination(text.as_bytes(), 80).unwrap();
            assert_eq!(
                got.address,
                Address::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_as_the_policy_writes_them() {
        let name = |t: &str| destination(t.as_bytes(), 443).unwrap().address;
        assert_eq!(name("Example.ORG."), Address::Name("example.org".into()));
        assert_eq!(name("LOCALHOST"), Address::Name("localhost".into()));
        assert_eq!(name("0xfg.example"), Address::Name("0xfg.example".into()));
    }

    #[test]
    fn junk_is_refused() {
        for bad in [
            &b""[..],
            b".",
            b"a..b",
            b"*",
            b"*.a.org",
            b"a b",
            b"a\0.org",
            b"a\n.org",
            b"user@a.org",
            b"a.org/",
            b"10.0.0.0/8",
            b"a.org:1",
            b"[a.org]",
            b"fe80::1%lo",
            b"256.1.1.1",
            b"1.2.3.4.5",
            b"99999999999",
            b"ex\xc3\xa4mple.org",
            b"\xff",
            b"tcp://a.org",
            b"a%2eorg",
        ] {
            assert!(destination(bad, 443).is_err(), "{}", show_bytes(bad));
        }
        assert!(destination(b"a.org", 0).is_err());
    }

    #[test]
    fn special_addresses() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::808:808",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2002:7f00:1::",
            "::7f00:1",
            "fec0::1",
        ] {
            assert!(special(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(special(text.parse().unwrap()).is_none(), "{text}");
        }
        assert_eq!(
            embedded("64:ff9b::a00:1".parse().unwrap()),
            Some(Ipv4Addr::new(10, 0, 0, 1))
        );
    }
}
