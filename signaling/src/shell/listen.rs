//! The listening socket: one for IPv6 and IPv4 where the system has both.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;

use super::error::ServeError;
use crate::config::Config;

/// Connections that the system may keep before they are accepted.
const BACKLOG: i32 = 1024;

/// Listens at `--listen`; without it at `[::]`, which takes IPv4 too, or at 0.0.0.0 on a system
/// without IPv6.
pub(super) fn bind(config: &Config) -> Result<TcpListener, ServeError> {
    let failed = |address| move |source| ServeError::Listen { address, source };
    if let Some(address) = config.listen {
        return listen(address).map_err(failed(address));
    }
    let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, config.port));
    match listen(every) {
        Err(error) if lacks_ipv6(&error) => {
            let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.port));
            listen(every).map_err(failed(every))
        }
        result => result.map_err(failed(every)),
    }
}

/// Whether an address stands for every address of both families: [`bind`] makes such a socket take
/// IPv4 too.
pub(super) fn is_every_address(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if is_every_address(address) {
        socket.set_only_v6(false)?;
    }
    // On Windows this option would let another program take the port over.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    limit_segments(&socket);
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Accepted connections inherit the limit. Browsers set none of their own. Not needed for
/// correctness: without it the path has to say how long packets may be.
#[cfg(unix)]
fn limit_segments(socket: &Socket) {
    if let Err(error) = socket.set_tcp_mss(voicemesh_wire::limits::TCP_SEGMENT_BYTES) {
        tracing::debug!("segments are as long as the system makes them: {error}");
    }
}

/// Windows has no such option.
#[cfg(not(unix))]
fn limit_segments(_socket: &Socket) {}

/// The family is switched off, or no interface has an address of it.
fn lacks_ipv6(error: &io::Error) -> bool {
    let unsupported = error.raw_os_error() == Some(AF_NOT_SUPPORTED);
    unsupported
        || matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// `EAFNOSUPPORT`, which has no [`io::ErrorKind`].
const AF_NOT_SUPPORTED: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    97
} else if cfg!(windows) {
    10_047
} else {
    47
};

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn both_families_reach_a_server_that_was_told_nothing() {
        let config = Config { port: 0, ..Config::default() };
        let listener = bind(&config).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.expect("IPv4 is taken");
        if is_every_address(address) {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).await.expect("IPv6 is taken");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_connections_have_short_segments_both_ways() {
        let config = Config { listen: Some((Ipv4Addr::LOCALHOST, 0).into()), ..Config::default() };
        let listener = bind(&config).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        for stream in [near.expect("connected"), far.expect("accepted").0] {
            let bytes = socket2::SockRef::from(&stream).tcp_mss().expect("a connection has one");
            assert!(bytes <= voicemesh_wire::limits::TCP_SEGMENT_BYTES, "{bytes}");
        }
    }

    #[test]
    fn a_system_without_ipv6_is_told_apart_from_a_port_in_use() {
        assert!(lacks_ipv6(&io::Error::from_raw_os_error(AF_NOT_SUPPORTED)));
        assert!(lacks_ipv6(&io::ErrorKind::AddrNotAvailable.into()));
        assert!(!lacks_ipv6(&io::ErrorKind::AddrInUse.into()));
    }
}
