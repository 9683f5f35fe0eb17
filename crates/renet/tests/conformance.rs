//! Renet keeps the contract: sockets are real and on loopback, the time is the cases' own, ten
//! times as fast as the clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_conformance::{Testbed, conformance_tests};
use voicemesh_renet::{ClientParameters, RenetNetwork, ServerParameters};
use voicemesh_session::Network;
use voicemesh_session::network::{NetworkError, Reliability};

/// Addresses that no other test has.
struct Loopback {
    servers: [SocketAddr; 3],
}

impl Default for Loopback {
    fn default() -> Self {
        static TESTBEDS: AtomicU16 = AtomicU16::new(0);
        let number = TESTBEDS.fetch_add(1, Ordering::Relaxed);
        // Below the ports that systems give out themselves. On Linux all of 127.0.0.0/8 is
        // loopback: each process has its part.
        let process = if cfg!(target_os = "linux") { std::process::id() } else { 0 };
        let [.., high, low] = process.to_be_bytes();
        let ip = IpAddr::V4(Ipv4Addr::new(127, high, low, 1));
        Self { servers: [0, 1, 2].map(|server| SocketAddr::new(ip, 10_000 + 3 * number + server)) }
    }
}

impl Testbed for Loopback {
    type Network = RenetNetwork;

    fn peer(&mut self) -> RenetNetwork {
        RenetNetwork::new()
    }

    fn server_parameters(&mut self, server: usize) -> ServerParameters {
        ServerParameters {
            listen: self.servers[server],
            public: Vec::new(),
            key: [7; 32],
            clients: 256,
        }
    }

    fn client_parameters(&mut self, server: usize) -> ClientParameters {
        ClientParameters {
            servers: vec![self.servers[server]],
            key: [7; 32],
            timeout: Duration::from_secs(5),
        }
    }

    fn pass(&mut self) -> Duration {
        // The kernel moves datagrams on loopback within the call that sends them; other threads'
        // tests have a turn.
        std::thread::yield_now();
        Duration::from_millis(10)
    }

    /// More than renet keeps for a connection.
    fn break_reliability(&mut self, client: &mut RenetNetwork) -> bool {
        let packet = Bytes::from_static(&[7; 16 * 1024]);
        let send = |_| client.send_to_server(Duration::ZERO, Reliability::Reliable, packet.clone());
        (0..1_000).map(send).any(|sent| sent == Err(NetworkError::ReliabilityBroken))
    }

    fn patience(&self) -> usize {
        2_000
    }
}

conformance_tests!(Loopback::default());
