//! HTTP/1: `CONNECT`, and plain requests in absolute form (RFC 9112, section 3.2).
//!
//! The proxy reads each request completely, decides about it, and writes it anew on its own connection to the server.
//! Two readers might disagree about where a request ends, or for which host it is. So no two readers see the same
//! bytes.

use super::{HEAD_TIME, Shared, Slot, Stop, Via};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpStream;

type Body = BoxBody<Bytes, hyper::Error>;

/// The longest head of a request: the request line and the headers.
const HEAD_BYTES: usize = 64 * 1024;
const HEADERS: usize = 100;

/// Headers that are about one hop (RFC 9110, section 7.6.1). The proxy writes the framing anew, so it is among them.
const HOP: [HeaderName; 9] = [
    hyper::header::CONNECTION,
    hyper::header::PROXY_AUTHENTICATE,
    hyper::header::PROXY_AUTHORIZATION,
    hyper::header::TE,
    hyper::header::TRAILER,
    hyper::header::TRANSFER_ENCODING,
    hyper::header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>, slot: Slot) {
    let service = hyper::service::service_fn(move |request| {
        let (shared, slot) = (Arc::clone(&shared), Arc::clone(&slot));
        async move { Ok::<_, Infallible>(answer(request, shared, slot).await) }
    });
    // If hyper cannot parse the request, it answers 400 itself, and the connection ends.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        // Some clients close their side after the request.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>, slot: Slot) -> Response<Body> {
    let done = if request.method() == Method::CONNECT {
        connect(request, &shared, slot).await
    } else {
        plain(request, &shared).await
    };
    done.unwrap_or_else(|stop| match stop {
        Stop::Refused(r) if r.peer.is_none() => {
            say(StatusCode::BAD_REQUEST, &format!("polc: {}", r.reason))
        }
        Stop::Refused(r) => say(
            StatusCode::FORBIDDEN,
            &format!("polc: {} is refused: {}", r.target, r.reason),
        ),
        Stop::Unresolved(why) => say(StatusCode::BAD_GATEWAY, &format!("polc: {why}")),
        Stop::Unreachable(e) => say(
            StatusCode::BAD_GATEWAY,
            &format!("polc: cannot connect: {e}"),
        ),
    })
}

fn say(status: StatusCode, line: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{line}\n")));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        hyper::header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    // The next bytes on the connection may be the body of the refused request. They must not be parsed as a request.
    headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn connect(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
    slot: Slot,
) -> Result<Response<Body>, Stop> {
    let uri = request.uri().clone();
    let malformed =
        |why: &str| shared.malformed(uri.to_string().as_bytes(), Via::Connect, why.to_owned());
    let authority = uri
        .authority()
        .ok_or_else(|| malformed("CONNECT names no host and port"))?;
    let (host, port) = split(authority.as_str()).map_err(|why| malformed(&why))?;
    let port = port.ok_or_else(|| malformed("CONNECT names no port"))?;
    let mut out = shared.dial(host.as_bytes(), port, Via::Connect).await?;
    tokio::spawn(async move {
        // The tunnel lives longer than the connection that asked for it.
        let _slot = slot;
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let mut client = TokioIo::new(upgraded);
            let _ = tokio::io::copy_bidirectional(&mut client, &mut out).await;
        }
    });
    Ok(Response::new(
        http_body_util::Empty::new()
            .map_err(|never| match never {})
            .boxed(),
    ))
}

async fn plain(request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Response<Body>, Stop> {
    let (mut head, body) = request.into_parts();
    let uri = head.uri.clone();
    let malformed =
        |why: &str| shared.malformed(uri.to_string().as_bytes(), Via::Http, why.to_owned());
    match uri.scheme_str() {
        Some("http") => {}
        Some(_) => {
            return Err(malformed(
                "only `http://` can be requested in this way; use CONNECT for everything else",
            ));
        }
        None => {
            return Err(malformed(
                "this is a proxy: a request must name its whole target, `http://host/path`",
            ));
        }
    }
    let authority = uri
        .authority()
        .ok_or_else(|| malformed("the request names no host"))?;
    let (host, port) = split(authority.as_str()).map_err(|why| malformed(&why))?;
    let port = port.unwrap_or(80);
    agrees(&head.headers, head.version, host, port).map_err(|why| malformed(&why))?;
    let out = shared.dial(host.as_bytes(), port, Via::Http).await?;

    strip(&mut head.headers);
    head.headers.remove(HOST);
    let named = HeaderValue::from_str(authority.as_str())
        .map_err(|_| malformed("the host cannot be written in a header"))?;
    head.headers.insert(HOST, named);
    head.headers
        .insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    // `http://host?query`: an empty path is the root (RFC 9112, section 3.2.1).
    let root = if path.starts_with('/') { "" } else { "/" };
    head.uri = format!("{root}{path}")
        .parse::<Uri>()
        .map_err(|_| malformed("the path of the request is not valid"))?;
    head.version = Version::HTTP_11;

    let failed = |e: hyper::Error| Stop::Unreachable(std::io::Error::other(e.to_string()));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(out))
        .await
        .map_err(failed)?;
    tokio::spawn(connection);
    let response = sender
        .send_request(Request::from_parts(head, body))
        .await
        .map_err(failed)?;
    let (mut head, body) = response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // The proxy removed `Upgrade`, so the server must not switch.
        return Ok(say(
            StatusCode::BAD_GATEWAY,
            "polc: the server changed the protocol, and the client did not ask for that",
        ));
    }
    strip(&mut head.headers);
    head.version = Version::HTTP_11;
    Ok(Response::from_parts(head, body.boxed()))
}

/// `host[:port]`, where the host may be an IPv6 address in brackets.
fn split(authority: &str) -> Result<(&str, Option<u16>), String> {
    if authority.contains('@') {
        return Err("the target must not contain a user name".to_owned());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    match port {
        None => Ok((host, None)),
        Some(p) if !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) => p
            .parse()
            .map(|n| (host, Some(n)))
            .map_err(|_| format!("`{p}` is not a port")),
        Some(p) => Err(format!("`{p}` is not a port")),
    }
}

/// Whether the `Host` header agrees with the request's target. A server may go by the header, but the decision was
/// about the target.
fn agrees(headers: &HeaderMap, version: Version, host: &str, port: u16) -> Result<(), String> {
    let mut all = headers.get_all(HOST).iter();
    let Some(value) = all.next() else {
        return if version >= Version::HTTP_11 {
            Err("the request has no `Host` header".to_owned())
        } else {
            Ok(())
        };
    };
    if all.next().is_some() {
        return Err("the request has several `Host` headers".to_owned());
    }
    let same = value
        .to_str()
        .ok()
        .and_then(|v| split(v).ok())
        .and_then(|(h, p)| super::address::destination(h.as_bytes(), p.unwrap_or(80)).ok())
        .is_some_and(|named| {
            super::address::destination(host.as_bytes(), port).is_ok_and(|t| t == named)
        });
    if same {
        Ok(())
    } else {
        Err("the `Host` header and the target of the request are not the same".to_owned())
    }
}

/// Removes what is about one hop: the known headers, and those that `Connection` names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(hyper::header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|n| n.trim().parse().ok())
        // A client could name these in `Connection` to remove the framing or the target.
        .filter(|n| *n != HOST && *n != hyper::header::CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP) {
        headers.remove(name);
    }
}
