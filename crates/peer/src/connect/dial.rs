//! A TCP connection to a host by its name or address, over whichever address family works.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::addresses::ordered;
use super::failure::{AddressFailure, ConnectFailure, Unreached};
use super::race::{Attempt, race};
use super::{nat64, proxy};

/// The system's resolver has this long. It asks each name server twice, five seconds each, before it gives up on one.
const LOOKUP_LIMIT: Duration = Duration::from_secs(15);
/// All attempts to connect together have this long.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Connects to the first address of `host` that answers. `host` may be a name, an address, or a link-local address with its
/// zone; `suspects` are addresses to try last.
pub(super) async fn dial(
    host: &str,
    port: u16,
    suspects: &[IpAddr],
) -> Result<(SocketAddr, TcpStream), ConnectFailure> {
    let addresses = ordered(&lookup(host, port).await?, suspects);
    let failed = match race(&addresses, CONNECT_LIMIT, TcpStream::connect).await {
        Ok(connected) => return connected_to(connected),
        Err(failed) => failed,
    };
    let translated = through_nat64(&failed).await;
    if let Ok(connected) = race(&translated, CONNECT_LIMIT, TcpStream::connect).await {
        return connected_to(connected);
    }
    Err(ConnectFailure::Unreached(unreached(failed)))
}

/// All addresses of a host, in the order in which the system would try them (RFC 6724).
pub(super) async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectFailure> {
    let name = proxy::with_port(host, port);
    match timeout(LOOKUP_LIMIT, lookup_host((host, port))).await {
        Err(_) => Err(ConnectFailure::LookupFailed("this machine's name server does not answer".to_owned())),
        Ok(Ok(addresses)) => {
            let addresses: Vec<SocketAddr> = addresses.collect();
            tracing::debug!(%name, ?addresses, "looked up");
            if addresses.is_empty() { Err(ConnectFailure::UnknownHost) } else { Ok(addresses) }
        }
        Ok(Err(error)) => Err(match host.split_once('%') {
            Some((_, zone)) => ConnectFailure::UnknownZone(zone.to_owned()),
            None => not_looked_up(&error),
        }),
    }
}

/// The resolver's own codes are not passed on by the standard library; its texts are.
fn not_looked_up(error: &io::Error) -> ConnectFailure {
    let text = error.to_string();
    if text.contains("emporary failure") || error.raw_os_error() == Some(WSATRY_AGAIN) {
        return ConnectFailure::LookupFailed("this machine's name server does not answer, or it is offline".to_owned());
    }
    ConnectFailure::UnknownHost
}

/// What Windows says where others say "temporary failure".
const WSATRY_AGAIN: i32 = 11_002;

fn connected_to((address, stream): (SocketAddr, TcpStream)) -> Result<(SocketAddr, TcpStream), ConnectFailure> {
    stream.set_nodelay(true).map_err(|error| ConnectFailure::Io(error.to_string()))?;
    Ok((address, stream))
}

/// If the host has IPv4 addresses only and this machine has no route to any of them, the addresses by which its network
/// translates from IPv6 (RFC 8305 §7).
async fn through_nat64(failed: &[Attempt]) -> Vec<SocketAddr> {
    let mut unrouted = Vec::new();
    for (address, error) in failed {
        match (address, error) {
            (SocketAddr::V4(address), Some(error)) if is_no_route(error) => unrouted.push(*address),
            _ => return Vec::new(),
        }
    }
    if unrouted.is_empty() {
        return Vec::new();
    }
    let Ok(known) = lookup(nat64::WELL_KNOWN_NAME, 0).await else { return Vec::new() };
    let prefixes = nat64::prefixes(known.into_iter().filter_map(|address| match address.ip() {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }));
    let translated = unrouted.iter().flat_map(|address| {
        let synthesized = prefixes.iter().filter_map(|prefix| prefix.synthesize(*address.ip()));
        synthesized.map(|synthesized| SocketAddr::new(synthesized.into(), address.port()))
    });
    translated.collect()
}

fn is_no_route(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable)
}

fn unreached(failed: Vec<Attempt>) -> Unreached {
    let why = |error: Option<io::Error>| match error {
        None => AddressFailure::Silent,
        Some(error) if is_no_route(&error) => AddressFailure::NoRoute,
        Some(error) if error.kind() == ErrorKind::ConnectionRefused => AddressFailure::Refused,
        Some(error) if error.kind() == ErrorKind::TimedOut => AddressFailure::Silent,
        Some(error) => AddressFailure::Other(error.to_string()),
    };
    Unreached(failed.into_iter().map(|(address, error)| (address.ip(), why(error))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_fail_alike_are_one_sentence_and_others_are_listed() {
        let attempt = |address: &str, error: Option<ErrorKind>| {
            (SocketAddr::new(address.parse().expect(address), 1), error.map(io::Error::from))
        };
        let refused = Some(ErrorKind::ConnectionRefused);
        let alike = unreached(vec![attempt("192.0.2.1", refused), attempt("2001:db8::1", refused)]);
        assert_eq!(alike.to_string(), "it refuses the connection; nothing seems to listen on that port");
        let different = unreached(vec![attempt("192.0.2.1", refused), attempt("2001:db8::1", None)]);
        assert_eq!(
            different.to_string(),
            "none of its addresses works: 192.0.2.1 refuses the connection; nothing seems to listen on that port; 2001:db8::1 does not answer"
        );
    }
}
