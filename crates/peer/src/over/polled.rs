//! Networks that only the game's own thread may use.
//!
//! The thread of the voice has one half, a [`Network`] that only puts what is to be done into
//! bounded queues; the game has the other, which owns the network and touches it in
//! [`Pump::update`] alone.

mod exchange;
mod pump;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use voicemesh_common::lock;
use voicemesh_session::ServerHealth;
use voicemesh_session::network::{
    Delivery, Destination, LinkId, Network, NetworkError, NetworkEvent, PacketLimits, Reliability,
};

use exchange::{Exchange, Order, Packet};

pub use pump::Pump;

/// Takes a network apart for a game whose networking belongs to one thread: Unity's and most other
/// engines' does. The first half goes to [`Voice::new`](super::Voice::new), the second stays where
/// the network was made, and is [updated](Pump::update) once a frame.
///
/// ```
/// use voicemesh::over::{Options, Voice, polled};
/// use voicemesh::{InputSpec, OutputSpec};
/// use voicemesh_networks::memory::{Hub, ServerParameters};
///
/// # fn main() -> Result<(), voicemesh::JoinError> {
/// let (network, mut pump) = polled(Hub::new().endpoint());
/// let options = Options::new("Ada").input(InputSpec::Silence).output(OutputSpec::Null);
/// let mut voice = Voice::new(options, network)?;
/// voice.run_as_host(ServerParameters { address: "game".to_owned() });
/// while !voice.snapshot().connected {
///     // A frame of the game.
///     pump.update();
///     voice.update();
/// }
/// # Ok(()) }
/// ```
///
/// **Delay.** What is said waits for the next frame, and so does what comes: at 60 frames a second
/// 8 ms on average, each way. While the game stalls nothing is sent; the network keeps or loses
/// what comes, as it does for the game. Afterwards what is older than 400 ms is left out, so that
/// the others hear what is said then.
///
/// **Bounds.** 4,096 unreliable packets wait; of more, the oldest are dropped. What must arrive is
/// never dropped: if more than 1 MiB waits for the server or for one client (64 MiB for all of
/// them), that connection ends, with
/// [`ReliabilityBroken`](voicemesh_session::network::DisconnectReason::ReliabilityBroken).
pub fn polled<N: Network>(network: N) -> (Polled<N>, Pump<N>) {
    let shared = Arc::new(Mutex::new(Exchange::new(network.limits())));
    (Polled { shared: shared.clone() }, Pump::new(network, shared))
}

/// The voice's half of a network that the game's thread runs; see [`polled`].
pub struct Polled<N: Network> {
    shared: Arc<Mutex<Exchange<N>>>,
}

impl<N: Network> fmt::Debug for Polled<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polled").finish_non_exhaustive()
    }
}

impl<N: Network> Drop for Polled<N> {
    fn drop(&mut self) {
        lock(&self.shared).end_voice();
    }
}

impl<N: Network> Network for Polled<N> {
    type Peer = N::Peer;
    type ClientParameters = N::ClientParameters;
    type ServerParameters = N::ServerParameters;

    fn initialise(&mut self) {
        lock(&self.shared).order(Order::Initialise);
    }

    fn limits(&self) -> PacketLimits {
        lock(&self.shared).known.limits
    }

    fn connect(
        &mut self,
        _now: Duration,
        parameters: N::ClientParameters,
    ) -> Result<(), NetworkError> {
        lock(&self.shared).connect(parameters)
    }

    fn disconnect(&mut self, _now: Duration) {
        lock(&self.shared).disconnect();
    }

    fn host(
        &mut self,
        _now: Duration,
        parameters: N::ServerParameters,
    ) -> Result<(), NetworkError> {
        lock(&self.shared).host(parameters)
    }

    fn stop_hosting(&mut self, _now: Duration) {
        lock(&self.shared).stop_hosting();
    }

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<N::Peer>> {
        let mut shared = lock(&self.shared);
        shared.clock = Some((now, Instant::now()));
        shared.voice.get_or_insert_with(thread::current);
        shared.drop_late(now);
        shared.events.pop_front()
    }

    /// The game's half wakes the voice when something has arrived.
    fn poll_timeout(&self, _now: Duration) -> Option<Duration> {
        None
    }

    fn needs_its_owner(&self) -> bool {
        true
    }

    fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        lock(&self.shared).send_to_server(now, reliability, packet)
    }

    fn send_to_client(
        &mut self,
        now: Duration,
        to: N::Peer,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        lock(&self.shared).send_to_client(now, to, delivery, packet)
    }

    fn end_client(&mut self, _now: Duration, client: N::Peer) {
        lock(&self.shared).end_client(client);
    }

    fn send_to_links(
        &mut self,
        now: Duration,
        destinations: &mut Vec<Destination<N::Peer>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        lock(&self.shared).send_to_links(now, destinations, reliability, packet);
    }

    fn server_health(&self) -> ServerHealth {
        lock(&self.shared).known.health
    }

    fn link_stalled(&mut self, now: Duration, link: LinkId<N::Peer>) {
        lock(&self.shared).send_late(now, Packet::LinkStalled(link));
    }

    fn ping_server(&mut self, now: Duration, number: u16, probe: Bytes) {
        lock(&self.shared).send_late(now, Packet::Ping(number, probe));
    }

    fn background_bytes(&self) -> u64 {
        lock(&self.shared).known.background_bytes
    }

    fn server_header_bytes(&self) -> u32 {
        lock(&self.shared).known.server_header_bytes
    }

    fn release_link(&mut self, _now: Duration, link: LinkId<N::Peer>) {
        lock(&self.shared).release_link(link);
    }

    fn replace_link(&mut self, now: Duration, link: LinkId<N::Peer>) {
        lock(&self.shared).send_late(now, Packet::ReplaceLink(link));
    }
}
