//! Matchbox keeps the contract: sockets and time are real.

use std::time::{Duration, Instant};

use bytes::Bytes;
use voicemesh_conformance::{Testbed, conformance_tests};
use voicemesh_matchbox::{ClientParameters, MatchboxNetwork, ServerParameters};
use voicemesh_session::Network;
use voicemesh_session::network::{NetworkError, Reliability};

use crate::signaling::{new_room, no_ice};

const FRAME: Duration = Duration::from_millis(5);

/// How long a host looks for others. On loopback those who are there begin to connect at once.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// Rooms that no other test has.
struct Rooms([String; 3]);

impl Default for Rooms {
    fn default() -> Self {
        Self([new_room(), new_room(), new_room()])
    }
}

impl Testbed for Rooms {
    type Network = MatchboxNetwork;

    fn peer(&mut self) -> MatchboxNetwork {
        MatchboxNetwork::new()
    }

    fn server_parameters(&mut self, server: usize) -> ServerParameters {
        ServerParameters {
            ice: no_ice(),
            clients: 256,
            look_around: LOOK_AROUND,
            ..ServerParameters::new(&self.0[server])
        }
    }

    fn client_parameters(&mut self, server: usize) -> ClientParameters {
        ClientParameters {
            ice: no_ice(),
            timeout: Duration::from_secs(10),
            opens_links: false,
            ..ClientParameters::new(&self.0[server])
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the sockets are real, and so is the time")]
    fn pass(&mut self) -> Duration {
        let began = Instant::now();
        std::thread::sleep(FRAME);
        began.elapsed()
    }

    fn patience(&self) -> usize {
        12_000
    }

    fn vigil(&self) -> usize {
        100
    }

    /// More than may be on its way.
    fn break_reliability(&mut self, client: &mut MatchboxNetwork) -> bool {
        let packet = Bytes::from_static(&[7; 16 * 1024]);
        let send = |_| client.send_to_server(Duration::ZERO, Reliability::Reliable, packet.clone());
        (0..1_000).map(send).any(|sent| sent == Err(NetworkError::ReliabilityBroken))
    }

    fn link(&mut self, a: &mut MatchboxNetwork, b: &mut MatchboxNetwork) -> bool {
        b.id().is_some_and(|b| {
            a.open_link(b);
            true
        })
    }
}

conformance_tests!(Rooms::default());
