//! Segments that are short enough for paths on which longer packets vanish; see
//! [`TCP_SEGMENT_BYTES`](voicemesh_wire::limits::TCP_SEGMENT_BYTES).

use tokio::net::TcpSocket;

/// Limits both directions, the server's by what is announced to it. Call before the socket
/// connects.
#[cfg(unix)]
pub(super) fn limit(socket: &TcpSocket) {
    use voicemesh_wire::limits::TCP_SEGMENT_BYTES;
    // Not needed for correctness: without it the path has to say how long packets may be.
    if let Err(error) = socket2::SockRef::from(socket).set_tcp_mss(TCP_SEGMENT_BYTES) {
        tracing::debug!(%error, "segments are as long as the system makes them");
    }
}

/// Windows has no such option.
#[cfg(not(unix))]
pub(super) fn limit(_socket: &TcpSocket) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use voicemesh_wire::limits::TCP_SEGMENT_BYTES;

    use super::*;

    /// The longest segment that a connection sends.
    fn segment_bytes(stream: &TcpStream) -> u32 {
        socket2::SockRef::from(stream).tcp_mss().expect("a connection has one")
    }

    #[tokio::test]
    async fn a_limited_socket_keeps_both_ends_to_short_segments() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let socket = TcpSocket::new_v4().expect("a socket");
        limit(&socket);
        let (near, far) = tokio::join!(socket.connect(address), listener.accept());
        for stream in [near.expect("connected"), far.expect("accepted").0] {
            assert!(segment_bytes(&stream) <= TCP_SEGMENT_BYTES, "{}", segment_bytes(&stream));
        }
    }
}
