//! Where to serve and to join, and how peers and channels are known.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of a netcode key.
pub const KEY_BYTES: usize = renetcode::NETCODE_KEY_BYTES;

/// Tells this from other programs that speak netcode; a change of the channels changes it.
pub(crate) const PROTOCOL: u64 = 0x766d_7265_6e65_7401;

/// For how long a token is good: long enough for clocks that are wrong by hours.
pub(crate) const TOKEN_SECONDS: u64 = 48 * 60 * 60;

/// Speech and data. First, so that it has the room when there is little.
pub(crate) const UNRELIABLE: u8 = 0;

/// What must arrive in order.
pub(crate) const RELIABLE: u8 = 1;

/// How a peer is known: netcode's client id, drawn at random for each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RenetPeer(pub u64);

/// Where to serve.
#[derive(Clone)]
pub struct ServerParameters {
    /// The address to bind, for example `0.0.0.0:7777`.
    pub listen: SocketAddr,
    /// The addresses by which clients may reach it, where it is bound to one: netcode refuses a
    /// client that was given none of these. Empty for the bound address alone. Bound to all
    /// addresses, it takes clients by whichever leads there.
    pub public: Vec<SocketAddr>,
    /// The secret that lets a client in.
    pub key: [u8; KEY_BYTES],
    /// Clients at one time, at most 1,024.
    pub clients: usize,
}

/// Where to join.
#[derive(Clone)]
pub struct ClientParameters {
    /// The server's addresses, at most 32; they are tried one after the other.
    pub servers: Vec<SocketAddr>,
    /// The server's secret.
    pub key: [u8; KEY_BYTES],
    /// How long each address is tried, and after how long a silence a connection is lost. Whole
    /// seconds, at least one. The server ends a silence after a minute in any case.
    pub timeout: Duration,
}

impl fmt::Debug for ServerParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, public, key: _, clients } = self;
        let mut shown = f.debug_struct("ServerParameters");
        shown.field("listen", listen).field("public", public).field("clients", clients);
        shown.finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, key: _, timeout } = self;
        let mut shown = f.debug_struct("ClientParameters");
        shown.field("servers", servers).field("timeout", timeout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_log_has_the_key() {
        let address = "192.0.2.1:7".parse().unwrap();
        let key = [171; KEY_BYTES];
        let server = ServerParameters { listen: address, public: Vec::new(), key, clients: 1 };
        let client =
            ClientParameters { servers: vec![address], key, timeout: Duration::from_secs(1) };
        for shown in [format!("{server:?}"), format!("{client:?}")] {
            assert!(shown.contains("192.0.2.1:7") && !shown.contains("171"), "{shown}");
        }
    }
}
