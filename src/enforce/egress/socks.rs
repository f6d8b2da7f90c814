//! SOCKS5 (RFC 1928): CONNECT, to names and addresses, without authentication.

use super::{HEAD_TIME, Shared, Stop, Via};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;

/// The reply's field, section 6 of the RFC.
#[derive(Debug, Clone, Copy)]
enum Reply {
    Succeeded = 0,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

pub(super) async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    // The client stopped in the middle, or speaks another protocol.
    let Ok(Ok(Some((host, port)))) =
        tokio::time::timeout(HEAD_TIME, request(&mut stream, &shared)).await
    else {
        return;
    };
    let answer = match shared.dial(&host, port, Via::Socks).await {
        Ok(mut out) => {
            if reply(&mut stream, Reply::Succeeded).await.is_ok() {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut out).await;
            }
            return;
        }
        Err(Stop::Refused(_)) => Reply::NotAllowed,
        Err(Stop::Unresolved(_)) => Reply::HostUnreachable,
        Err(Stop::Unreachable(e)) => match e.kind() {
            io::ErrorKind::ConnectionRefused => Reply::Refused,
            io::ErrorKind::NetworkUnreachable => Reply::NetworkUnreachable,
            _ => Reply::HostUnreachable,
        },
    };
    end(&mut stream, answer).await;
}

/// The host and the port that the program asked for. `None`: the proxy has refused already.
async fn request(stream: &mut TcpStream, shared: &Shared) -> io::Result<Option<(Vec<u8>, u16)>> {
    let [_, count] = take::<2>(stream).await?;
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&NO_AUTHENTICATION) {
        stream.write_all(&[VERSION, NO_METHOD]).await?;
        return Ok(None);
    }
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let [version, command, _, kind] = take::<4>(stream).await?;
    if version != VERSION {
        return Ok(None);
    }
    let host = match kind {
        1 => {
            let octets = take::<4>(stream).await?;
            IpAddr::from(Ipv4Addr::from(octets))
                .to_string()
                .into_bytes()
        }
        3 => {
            let [length] = take::<1>(stream).await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            name
        }
        4 => {
            let octets = take::<16>(stream).await?;
            IpAddr::from(Ipv6Addr::from(octets))
                .to_string()
                .into_bytes()
        }
        _ => {
            end(stream, Reply::AddressNotSupported).await;
            return Ok(None);
        }
    };
    let port = u16::from_be_bytes(take::<2>(stream).await?);
    if command != 1 {
        let what = match command {
            2 => "the proxy has no BIND: no server can connect back through it".to_owned(),
            3 => "the proxy has no UDP ASSOCIATE: it carries TCP alone".to_owned(),
            n => format!("SOCKS command {n}"),
        };
        let asked = [host.as_slice(), format!(":{port}").as_bytes()].concat();
        let _ = shared.malformed(&asked, Via::Socks, what);
        end(stream, Reply::CommandNotSupported).await;
        return Ok(None);
    }
    Ok(Some((host, port)))
}

async fn take<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The bound address in the answer is zero, because the program does not need it.
async fn reply(stream: &mut TcpStream, reply: Reply) -> io::Result<()> {
    stream
        .write_all(&[VERSION, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
}

/// Answers, and closes so that the answer arrives: unread data would turn the close into a reset.
async fn end(stream: &mut TcpStream, answer: Reply) {
    if reply(stream, answer).await.is_ok() {
        super::linger(stream).await;
    }
}
