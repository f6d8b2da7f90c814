//! A proxy beside a confined program. It lets through what the policy's host rules allow.
//!
//! Landlock knows ports and no hosts, and seccomp knows neither. So if a policy names hosts, polc makes this proxy the
//! program's only way to the network. A network namespace or Landlock's port rule closes every other way. The variables
//! of [`Egress::environment`] tell the program about the proxy.
//!
//! # What it speaks
//!
//! One port has two protocols, which the first byte tells apart. SOCKS5 has version byte 5 (RFC 1928; only CONNECT,
//! without authentication). The other is HTTP/1 (`CONNECT`, and plain requests in absolute form). UDP is not supported:
//! a SOCKS `UDP ASSOCIATE` gets the answer "command not supported".
//!
//! # What it decides
//!
//! - The rules decide about the name in the request ([`crate::semantics::decide`]), written as the policy writes names.
//!   `0x7f000001`, `0177.1` and the like are the addresses that resolvers take them for.
//! - Then the proxy resolves the name, once. Every address must pass. An address fails if an address rule denies it. A
//!   special address (loopback, private, link-local, metadata, multicast, or an IPv4 address inside an IPv6 one) passes
//!   only if an address rule or `localhost` allows it; `*` does not. The proxy connects to the addresses that it
//!   checked, and does not ask the resolver again. So nobody can rebind the name in between.
//! - The rules decide about each plain HTTP request of a connection. Its `Host` must agree with its target. The proxy
//!   writes the head anew, so that no two readers can read it in two ways.
//!
//! # What it does not see
//!
//! Inside a `CONNECT` or SOCKS tunnel it sees nothing. A program that may reach one name of a content network can ask
//! the server behind it for another name (domain fronting). The program can also send anything to an allowed server. A
//! proxy limits where data goes, not which data goes there.

mod address;
mod decide;
mod http;
mod socks;

use crate::fidelity::show_bytes;
use crate::policy::{Address, HostSpec, Policy, RuleId};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::net::{TcpListener as Listener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How long a program may take to send its request.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long resolving and connecting may take together.
const DIAL_TIME: Duration = Duration::from_secs(30);
/// How long connecting to one address may take.
const ATTEMPT_TIME: Duration = Duration::from_secs(10);
/// How many connections there may be at once. More connections wait.
const CONNECTIONS: usize = 512;
/// How many refusals are kept, so that a program that is always refused cannot fill the memory.
const REFUSALS: usize = 4096;

/// Resolves a name to its addresses. [`SystemResolver`] is the system's resolver. Tests use their own.
pub trait Resolve: Send + Sync {
    /// The addresses of a name.
    ///
    /// # Errors
    /// The name has no address, or no server could be asked.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The answers of the C library's `getaddrinfo`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let file = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        look(name, &file, |name| {
            Ok((name, 0).to_socket_addrs()?.map(|a| a.ip()).collect())
        })
    }
}

/// A name of one label is for the machine's own files and search list. A longer name is absolute. The dot at its end
/// stops the resolver from asking for it below the machine's domain, where it would be another name. With the dot, the
/// resolver skips the machine's `/etc/hosts`. So polc looks there first, as nsswitch.conf(5) does by default.
fn look(
    name: &str,
    file: &str,
    ask: impl FnOnce(&str) -> io::Result<Vec<IpAddr>>,
) -> io::Result<Vec<IpAddr>> {
    if !name.contains('.') {
        return ask(name);
    }
    let of_line = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let ip: IpAddr = words.next()?.parse().ok()?;
        words.any(|w| w.eq_ignore_ascii_case(name)).then_some(ip)
    };
    let found: Vec<IpAddr> = file.lines().filter_map(of_line).collect();
    if found.is_empty() {
        ask(&format!("{name}."))
    } else {
        Ok(found)
    }
}

/// How a program sent its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// HTTP `CONNECT`.
    Connect,
    /// A plain HTTP request.
    Http,
    /// SOCKS5.
    Socks,
}

impl Via {
    /// The name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Http => "http",
            Self::Socks => "socks",
        }
    }
}

/// One request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The peer that was asked for: `example.org:443`. If the request names no peer, its own words, made printable.
    pub target: String,
    /// The peer, if the request names one.
    pub peer: Option<HostSpec>,
    /// The protocol.
    pub via: Via,
    /// The rule that decided; `None`: the default, or no rule at all (see the reason).
    pub rule: Option<RuleId>,
    /// The refused address, if the name itself is allowed.
    pub address: Option<IpAddr>,
    /// Why: one line.
    pub reason: String,
}

impl fmt::Display for Refusal {
    /// The line that `polc why` reads. It is always one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "polc-egress: refused {} via {}",
            self.target,
            self.via.name()
        )?;
        if let Some(a) = self.address {
            write!(f, " address={a}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The first ten refusals for people, one line each, without repetition.
#[must_use]
pub fn told(refusals: &[Refusal]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for r in refusals {
        // The reason names the rule and its place.
        let line = format!("polc: the proxy refused {}: {}", r.target, r.reason);
        if lines.len() < 10 && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// What every connection of the proxy shares.
struct Shared {
    policy: Policy,
    resolver: Arc<dyn Resolve>,
    refusals: Sender<Refusal>,
    told: AtomicUsize,
}

/// Why there is no connection.
enum Stop {
    /// The policy, or a malformed request.
    Refused(Box<Refusal>),
    /// The name has no address, or no server could be asked.
    Unresolved(String),
    /// None of the addresses could be reached.
    Unreachable(io::Error),
}

impl Shared {
    fn tell(&self, refusal: &Refusal) {
        if self.told.fetch_add(1, Ordering::Relaxed) < REFUSALS {
            // If nobody listens for refusals, the proxy still refuses and goes on.
            let _ = self.refusals.send(refusal.clone());
        }
    }

    /// A request that names no peer.
    fn malformed(&self, asked: &[u8], via: Via, reason: String) -> Stop {
        let refusal = Refusal {
            target: show_bytes(asked.get(..asked.len().min(300)).unwrap_or_default()),
            peer: None,
            via,
            rule: None,
            address: None,
            reason,
        };
        self.tell(&refusal);
        Stop::Refused(Box::new(refusal))
    }

    fn refused(&self, spec: &HostSpec, via: Via, no: decide::No) -> Stop {
        let shown = HostSpec {
            protocol: None,
            ..spec.clone()
        };
        let refusal = Refusal {
            target: shown.to_string(),
            peer: Some(spec.clone()),
            via,
            rule: no.rule,
            address: no.address,
            reason: no.reason,
        };
        self.tell(&refusal);
        Stop::Refused(Box::new(refusal))
    }

    /// Decides about a peer, and connects to one of the addresses that it checked.
    async fn dial(self: &Arc<Self>, host: &[u8], port: u16, via: Via) -> Result<TcpStream, Stop> {
        let spec =
            address::destination(host, port).map_err(|why| self.malformed(host, via, why))?;
        decide::peer(&self.policy, &spec).map_err(|no| self.refused(&spec, via, no))?;
        let work = async {
            let addresses = match &spec.address {
                Address::Ip(ip) => vec![*ip],
                Address::Name(name) => self.resolve(name).await?,
            };
            for ip in &addresses {
                decide::resolved(&self.policy, *ip, port)
                    .map_err(|no| self.refused(&spec, via, no))?;
            }
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for ip in addresses {
                // One address that does not answer must not use up the time of the others.
                let attempt = TcpStream::connect(SocketAddr::new(ip, port));
                match tokio::time::timeout(ATTEMPT_TIME, attempt).await {
                    Ok(Ok(stream)) => {
                        let _ = stream.set_nodelay(true);
                        return Ok(stream);
                    }
                    Ok(Err(e)) => last = e,
                    Err(_) => last = io::ErrorKind::TimedOut.into(),
                }
            }
            Err(Stop::Unreachable(last))
        };
        match tokio::time::timeout(DIAL_TIME, work).await {
            Ok(done) => done,
            Err(_) => Err(Stop::Unreachable(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Stop> {
        let (resolver, asked) = (Arc::clone(&self.resolver), name.to_owned());
        let failed = |e: String| Stop::Unresolved(format!("cannot resolve `{name}`: {e}"));
        let mut found = tokio::task::spawn_blocking(move || resolver.resolve(&asked))
            .await
            .map_err(|e| failed(e.to_string()))?
            .map_err(|e| failed(e.to_string()))?;
        for ip in &mut found {
            *ip = ip.to_canonical();
        }
        found.dedup();
        if found.is_empty() {
            return Err(failed("it has no address".to_owned()));
        }
        Ok(found)
    }
}

/// A running proxy. It ends with [`Egress::shutdown`], or when it is dropped.
#[derive(Debug)]
pub struct Egress {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Egress {
    /// Starts the proxy on a listening socket, in a thread of its own. Sends the first few thousand refused requests to
    /// `refusals`.
    ///
    /// Start it before the calling process is confined. The proxy itself needs the network, and the files that the
    /// resolver reads.
    ///
    /// # Errors
    /// The socket cannot be used, or the kernel makes no thread.
    pub fn start(
        policy: &Policy,
        listener: TcpListener,
        refusals: Sender<Refusal>,
    ) -> io::Result<Self> {
        Self::with_resolver(policy, listener, refusals, Arc::new(SystemResolver))
    }

    /// As [`Egress::start`], with another resolver.
    ///
    /// # Errors
    /// As [`Egress::start`].
    pub fn with_resolver(
        policy: &Policy,
        listener: TcpListener,
        refusals: Sender<Refusal>,
        resolver: Arc<dyn Resolve>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(16)
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            Listener::from_std(listener)?
        };
        let shared = Arc::new(Shared {
            policy: policy.clone(),
            resolver,
            refusals,
            told: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("polc-egress".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, shared) => {}
                        _ = stopped => {}
                    }
                });
                // A name that is being resolved would delay the end until the resolver gives up.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The variables that tell a program about the proxy, in both spellings. `NO_PROXY` is empty, because no other way
    /// leads out. The same port speaks SOCKS5, but no variable says so: clients without SOCKS (httpx of Python) stop if
    /// `ALL_PROXY` names it. The JVM needs options instead of the variables.
    #[must_use]
    pub fn environment(&self, address: SocketAddr) -> Vec<(String, String)> {
        let http = format!("http://{address}");
        let mut out = Vec::new();
        for (name, value) in [
            ("HTTP_PROXY", http.as_str()),
            ("HTTPS_PROXY", http.as_str()),
            ("NO_PROXY", ""),
        ] {
            out.push((name.to_owned(), value.to_owned()));
            out.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        // Node.js uses the variables only if this one says so.
        out.push(("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned()));
        let (host, port) = (address.ip(), address.port());
        let jvm = ["http", "https"]
            .map(|s| format!("-D{s}.proxyHost={host} -D{s}.proxyPort={port}"))
            .join(" ");
        out.push((super::environment::JVM_OPTIONS.to_owned(), jvm));
        out
    }

    /// Ends the proxy and every connection through it, and waits for the thread.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        self.end();
    }
}

async fn accept(listener: Listener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(serve(stream, shared, Arc::new(slot)));
            }
            // There are no descriptors left, or a client went away. A retry at once would not help.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A connection's slot among [`CONNECTIONS`]. The task that serves the connection holds it.
type Slot = Arc<OwnedSemaphorePermit>;

async fn serve(stream: TcpStream, shared: Arc<Shared>, slot: Slot) {
    let _ = stream.set_nodelay(true);
    let mut first = [0u8; 1];
    match tokio::time::timeout(HEAD_TIME, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first == [5] => socks::serve(stream, shared).await,
        Ok(Ok(1)) => http::serve(stream, shared, slot).await,
        _ => {}
    }
}

/// Closes a connection so that the answer arrives. If unread data is left, closing causes a reset, and the other side
/// loses the answer.
async fn linger(stream: &mut TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let _ = stream.shutdown().await;
    let mut sink = [0u8; 4096];
    let mut left = 64 * 1024usize;
    let drain = async {
        while let Ok(n) = stream.read(&mut sink).await {
            if n == 0 || left < n {
                break;
            }
            left -= n;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_own_file_goes_before_the_servers() {
        let file = "127.0.0.1 localhost\n# 10.0.0.9 db.example\n10.0.0.1 other db.example # mine\n::5 DB.example\n";
        let server = |name: &str| match name {
            "db.example." | "else.example." | "other" => Ok(vec![IpAddr::from([192, 0, 2, 1])]),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let found = |name| look(name, file, server).unwrap();
        let own: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "::5".parse().unwrap()];
        assert_eq!(found("db.example"), own);
        for name in ["else.example", "other"] {
            assert_eq!(found(name), [IpAddr::from([192, 0, 2, 1])], "{name}");
        }
    }
}
