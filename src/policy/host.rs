//! Network addresses and patterns over them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// The word in the language.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Ports {
    /// Every port.
    pub const ALL: Self = Self {
        first: 0,
        last: u16::MAX,
    };

    /// Whether `port` is in it.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// A block of addresses; host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    /// The first address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl Cidr {
    /// The first and last address as numbers. An IPv4 address is its 32-bit number.
    #[must_use]
    pub fn bounds(self) -> (u128, u128) {
        let (value, width) = match self.address {
            IpAddr::V4(a) => (u128::from(u32::from(a)), 32u32),
            IpAddr::V6(a) => (u128::from(a), 128),
        };
        let free = width.saturating_sub(u32::from(self.prefix));
        let mask = if free >= 128 {
            u128::MAX
        } else {
            (1u128 << free) - 1
        };
        (value & !mask, value | mask)
    }

    /// Whether the block contains the address. An IPv4 address that is mapped into IPv6 counts as the IPv4 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let value = match (self.address, address) {
            (IpAddr::V4(_), IpAddr::V4(a)) => u128::from(u32::from(a)),
            (IpAddr::V6(_), IpAddr::V6(a)) => u128::from(a),
            _ => return false,
        };
        let (lo, hi) = self.bounds();
        (lo..=hi).contains(&value)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The host of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// `*`: every name and address.
    Any,
    /// `localhost`: that name, 127.0.0.0/8 and `::1`.
    Localhost,
    /// A name, in lower case, without a last dot.
    Name(String),
    /// `*.name`: any depth below, not the name itself. In lower case, without the `*.`.
    Below(String),
    /// A block of addresses; a single address is a block of one.
    Addresses(Cidr),
}

/// `[tcp://|udp://]HOST[:PORTS]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// The text in the policy.
    pub text: String,
    /// `None`: both.
    pub protocol: Option<Protocol>,
    /// The host.
    pub host: Host,
    /// The ports.
    pub ports: Ports,
}

/// One peer: a name (lower case) or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// A name. The rules decide about the name itself.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

/// One address to connect to or to bind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostSpec {
    /// `None`: both protocols are asked about, and the stricter answer counts.
    pub protocol: Option<Protocol>,
    /// The peer.
    pub address: Address,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(p) = self.protocol {
            write!(f, "{}://", p.name())?;
        }
        match &self.address {
            Address::Name(n) => write!(f, "{n}:{}", self.port),
            Address::Ip(IpAddr::V4(a)) => write!(f, "{a}:{}", self.port),
            Address::Ip(IpAddr::V6(a)) => write!(f, "[{a}]:{}", self.port),
        }
    }
}

impl Host {
    /// Whether the address belongs to this host.
    #[must_use]
    pub fn matches(&self, address: &Address) -> bool {
        match (self, address) {
            (Self::Any, _) => true,
            (Self::Localhost, Address::Name(n)) => n == "localhost",
            (Self::Localhost, Address::Ip(a)) => a.to_canonical().is_loopback(),
            (Self::Name(p), Address::Name(n)) => p == n,
            (Self::Below(p), Address::Name(n)) => {
                n.len() > p.len() + 1
                    && n.ends_with(p.as_str())
                    && n.as_bytes()[n.len() - p.len() - 1] == b'.'
            }
            (Self::Addresses(c), Address::Ip(a)) => c.contains(*a),
            _ => false,
        }
    }

    /// The address blocks of the host. Names have none.
    #[must_use]
    pub fn blocks(&self) -> Vec<Cidr> {
        let v4 = |a, prefix| Cidr {
            address: IpAddr::V4(a),
            prefix,
        };
        let v6 = |a, prefix| Cidr {
            address: IpAddr::V6(a),
            prefix,
        };
        match self {
            Self::Any => vec![v4(Ipv4Addr::UNSPECIFIED, 0), v6(Ipv6Addr::UNSPECIFIED, 0)],
            Self::Localhost => vec![
                v4(Ipv4Addr::new(127, 0, 0, 0), 8),
                v6(Ipv6Addr::LOCALHOST, 128),
            ],
            Self::Name(_) | Self::Below(_) => Vec::new(),
            Self::Addresses(c) => vec![*c],
        }
    }
}

impl HostPattern {
    /// Whether the pattern matches this protocol, address and port.
    #[must_use]
    pub fn matches(&self, protocol: Protocol, address: &Address, port: u16) -> bool {
        self.protocol.is_none_or(|p| p == protocol)
            && self.ports.contains(port)
            && self.host.matches(address)
    }

    /// Parses `[tcp://|udp://]HOST[:PORTS]`.
    ///
    /// # Errors
    /// One line about the error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (protocol, rest) = scheme(text)?;
        let (host, ports) = split_port(rest)?;
        let ports = match ports {
            None | Some("*") => Ports::ALL,
            Some(p) => match p.split_once('-') {
                Some((a, b)) => Ports {
                    first: port(a)?,
                    last: port(b)?,
                },
                None => {
                    let n = port(p)?;
                    Ports { first: n, last: n }
                }
            },
        };
        if ports.first > ports.last {
            return Err(format!(
                "the range of ports `{}-{}` ends before it starts",
                ports.first, ports.last
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            protocol,
            host: parse_host(host)?,
            ports,
        })
    }
}

impl HostSpec {
    /// Parses `[tcp://|udp://]HOST:PORT`, one name or address and one port.
    ///
    /// # Errors
    /// One line about the error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (protocol, rest) = scheme(text)?;
        let (host, p) = split_port(rest)?;
        let p = p.ok_or_else(|| format!("`{text}` names no port; write `{text}:443`"))?;
        let port = port(p)?;
        let address = match parse_host(host)? {
            Host::Name(n) => Address::Name(n),
            Host::Localhost => Address::Name("localhost".to_owned()),
            Host::Addresses(c) if !host.contains('/') => Address::Ip(c.address),
            _ => return Err(format!("`{host}` is not one host; a question names one")),
        };
        Ok(Self {
            protocol,
            address,
            port,
        })
    }
}

fn scheme(text: &str) -> Result<(Option<Protocol>, &str), String> {
    match text.split_once("://") {
        None => Ok((None, text)),
        Some(("tcp", rest)) => Ok((Some(Protocol::Tcp), rest)),
        Some(("udp", rest)) => Ok((Some(Protocol::Udp), rest)),
        Some((other @ ("http" | "https"), _)) => Err(format!(
            "`{other}://` is not a transport; write the host and its port, such as `example.org:443`"
        )),
        Some((other, _)) => Err(format!("unknown protocol `{other}`; it is `tcp` or `udp`")),
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("a `[` without its `]`")?;
        if host.parse::<Ipv6Addr>().is_err() {
            let block = host
                .split_once('/')
                .is_some_and(|(a, _)| a.parse::<Ipv6Addr>().is_ok());
            if !block {
                return Err(format!("`{host}` in brackets is not an IPv6 address"));
            }
        }
        return match after {
            "" => Ok((host, None)),
            _ => after
                .strip_prefix(':')
                .map(|p| (host, Some(p)))
                .ok_or_else(|| format!("unexpected `{after}` behind the brackets")),
        };
    }
    // An IPv6 address or block without brackets has two or more colons, and no port.
    if text.bytes().filter(|b| *b == b':').count() > 1 {
        return match address_and_port(text) {
            Some((address, port)) => Err(format!(
                "`{text}` can be an address, and `{address}` with the port {port}: write `[{address}]:{port}` for the port, `[{text}]` for the address"
            )),
            None => Ok((text, None)),
        };
    }
    Ok(match text.rsplit_once(':') {
        Some((host, p)) => (host, Some(p)),
        None => (text, None),
    })
}

/// An IPv6 address without brackets whose last part may be meant as a port: `::1:80`.
fn address_and_port(text: &str) -> Option<(&str, u16)> {
    let (address, last) = text.rsplit_once(':')?;
    let digits = !last.starts_with('0') && last.bytes().all(|b| b.is_ascii_digit());
    let block = address.split_once('/').map_or(address, |(a, _)| a);
    let number = last.parse().ok().filter(|_| digits)?;
    block.parse::<Ipv6Addr>().ok()?;
    Some((address, number))
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(p) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(p),
        _ => Err(format!(
            "`{text}` is not a port; it is a number to 65535, a range `8000-8080`, or `*`"
        )),
    }
}

fn parse_host(text: &str) -> Result<Host, String> {
    if text == "*" {
        return Ok(Host::Any);
    }
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Host::Localhost);
    }
    let (address, prefix) = match text.split_once('/') {
        Some((a, p)) => (a, Some(p)),
        None => (text, None),
    };
    if let Ok(ip) = address.parse::<IpAddr>() {
        let ip = if prefix.is_none() {
            ip.to_canonical()
        } else {
            ip
        };
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match prefix {
            None => width,
            Some(p) => p
                .parse::<u8>()
                .ok()
                .filter(|n| *n <= width && p.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| {
                    format!("`/{p}` is not a prefix length; it is a number to {width}")
                })?,
        };
        let cidr = Cidr {
            address: ip,
            prefix: bits,
        };
        let (lo, _) = cidr.bounds();
        let first = match ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(lo).unwrap_or_default())),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(lo)),
        };
        if first != ip {
            return Err(format!(
                "`{text}` has bits set beyond its prefix; write `{first}/{bits}`"
            ));
        }
        return Ok(Host::Addresses(cidr));
    }
    if prefix.is_some() {
        return Err(format!(
            "`{address}` is not an address, and only addresses have a prefix length"
        ));
    }
    let (below, name) = match text.strip_prefix("*.") {
        Some(n) => (true, n),
        None => (false, text),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name.contains('*') {
        return Err(format!(
            "`{text}`: a `*` must be alone or the first label, `*.example.org`"
        ));
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.is_empty() || name.len() > 253 || !name.split('.').all(label) {
        return Err(format!("`{text}` is not a host name or an address"));
    }
    if name
        .rsplit('.')
        .next()
        .is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(format!(
            "`{text}` is neither an address nor a name; a name does not end in a number"
        ));
    }
    Ok(if below {
        Host::Below(name)
    } else {
        Host::Name(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let p = |t: &str| HostPattern::parse(t).unwrap();
        assert_eq!(p("udp://10.0.0.2:53").protocol, Some(Protocol::Udp));
        assert_eq!(
            p("[::1]:8000-8080").ports,
            Ports {
                first: 8000,
                last: 8080
            }
        );
        assert_eq!(p("2001:db8::/32").ports, Ports::ALL);
        for fine in [
            "::1",
            "2001:db8::1",
            "fe80::a9fe",
            "::ffff:10.0.0.1",
            "1:2:3:4:5:6:7:8",
            "[::1:80]",
            "[::1]:80",
        ] {
            p(fine);
        }
        for wrong in ["::1:80", "tcp://::1:443", "::/0:80", "fe80::1:8080"] {
            let said = HostPattern::parse(wrong).unwrap_err();
            assert!(said.contains("]:"), "{said}");
            assert_eq!(HostSpec::parse(wrong).unwrap_err(), said);
        }
        assert_eq!(p("*.Example.org").host, Host::Below("example.org".into()));
        for bad in [
            "http://a",
            "10.0.0.1/8",
            "a:70000",
            "a:+1",
            "a..b",
            "*a.org",
            "1.2.3",
            "[1.2.3.4]:5",
            "",
            ":80",
            "a:9-8",
            "10.0.0.0/33",
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn matching() {
        let m = |p: &str, a: &str| {
            let s = HostSpec::parse(a).unwrap();
            HostPattern::parse(p)
                .unwrap()
                .matches(Protocol::Tcp, &s.address, s.port)
        };
        assert!(m("*.a.org", "x.y.a.org:1"));
        assert!(!m("*.a.org", "a.org:1"));
        assert!(!m("*.a.org", "xa.org:1"));
        assert!(
            m("localhost", "127.9.9.9:1")
                && m("localhost", "localhost:1")
                && m("localhost", "[::1]:1")
        );
        assert!(m("10.0.0.0/8", "[::ffff:10.1.2.3]:1"));
        assert!(!m("udp://*", "a.org:1"));
    }
}
