//! A TCP connection to a host by its name or address, over whichever address family works.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use super::addresses::ordered;
use super::nat64;
use super::race::{Attempt, race};
use super::resolve::{lookup, lookup_ipv6};
use super::segments;
use super::words::socket_words;
use crate::receive_window;
use voicemesh_mesh::{AddressFailure, ConnectFailure, Unreached};

/// All attempts to connect together have this long.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Connects to the first address of `host` that answers. `host` may be a name, an address, or a
/// link-local address with its zone; `suspects` are addresses to try last.
pub(super) async fn dial(
    host: &str,
    port: u16,
    suspects: &[IpAddr],
) -> Result<(SocketAddr, TcpStream), ConnectFailure> {
    let (resolved, later) = lookup(host, port).await?;
    let order = |addresses: &[SocketAddr]| ordered(addresses, suspects);
    let failed = match race(&order(&resolved), later, order, CONNECT_LIMIT, connect).await {
        Ok(connected) => return connected_to(connected),
        Err(failed) => failed,
    };
    let translated = through_nat64(&failed).await;
    let nothing = std::future::ready(Vec::new());
    if let Ok(connected) =
        race(&translated, nothing, <[SocketAddr]>::to_vec, CONNECT_LIMIT, connect).await
    {
        return connected_to(connected);
    }
    Err(ConnectFailure::Unreached(unreached(failed)))
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    segments::limit(&socket);
    // Not needed for correctness: without it the system chooses the window.
    let _ = socket.set_recv_buffer_size(receive_window::FIRST_BYTES as u32);
    socket.connect(address).await
}

fn connected_to(
    (address, stream): (SocketAddr, TcpStream),
) -> Result<(SocketAddr, TcpStream), ConnectFailure> {
    stream.set_nodelay(true).map_err(|error| ConnectFailure::Io(socket_words(&error)))?;
    Ok((address, stream))
}

/// If the host has IPv4 addresses only and this machine has no route to any of them, the addresses
/// by which its network translates from IPv6 (RFC 8305 §7).
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
    let Ok(known) = lookup_ipv6(nat64::WELL_KNOWN_NAME).await else { return Vec::new() };
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
    matches!(
        error.kind(),
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable
    )
}

fn unreached(failed: Vec<Attempt>) -> Unreached {
    let why = |port, error: Option<io::Error>| match error {
        None => AddressFailure::Silent,
        Some(error) if is_no_route(&error) => AddressFailure::NoRoute,
        Some(error) if error.kind() == ErrorKind::ConnectionRefused => {
            AddressFailure::Refused { port }
        }
        Some(error) if error.kind() == ErrorKind::TimedOut => AddressFailure::Silent,
        Some(error) => AddressFailure::Other(socket_words(&error)),
    };
    let attempts = failed.into_iter();
    Unreached(attempts.map(|(at, error)| (at.ip(), why(at.port(), error))).collect())
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
        assert_eq!(
            alike.to_string(),
            "it refuses the connection; nothing seems to listen on port 1"
        );
        let different =
            unreached(vec![attempt("192.0.2.1", refused), attempt("2001:db8::1", None)]);
        assert_eq!(
            different.to_string(),
            "none of its addresses works: 192.0.2.1 refuses the connection; nothing seems to listen on port 1; 2001:db8::1 does not answer"
        );
    }
}
