//! A healthy network that loses and delays keeps the contract, whatever its seed.

use std::time::Duration;

use crate::testbed::Memory;
use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use voicemesh_conformance::{Outcome, Rig, Testbed, Verdict, cases};
use voicemesh_networks::memory::{ClientParameters, Endpoint, PeerKey, ServerParameters};
use voicemesh_session::network::{
    Delivery, Destination, LinkId, Network, NetworkError, NetworkEvent, PacketLimits, Reliability,
};

/// Of a hundred unreliable packets so many are lost.
const LOST: u32 = 10;

/// An endpoint that loses unreliable packets, and of whose events some wait for a later frame, in
/// their order.
struct Impaired {
    inner: Endpoint,
    random: ChaCha8Rng,
    /// Whether the rest of this frame's events waits.
    waits: bool,
}

impl Impaired {
    fn is_lost(&mut self) -> bool {
        self.random.random_range(0..100) < LOST
    }
}

impl Network for Impaired {
    type Peer = PeerKey;
    type ClientParameters = ClientParameters;
    type ServerParameters = ServerParameters;

    fn limits(&self) -> PacketLimits {
        self.inner.limits()
    }

    fn connect(&mut self, now: Duration, parameters: ClientParameters) -> Result<(), NetworkError> {
        self.inner.connect(now, parameters)
    }

    fn disconnect(&mut self, now: Duration) {
        self.inner.disconnect(now);
    }

    fn host(&mut self, now: Duration, parameters: ServerParameters) -> Result<(), NetworkError> {
        self.inner.host(now, parameters)
    }

    fn stop_hosting(&mut self, now: Duration) {
        self.inner.stop_hosting(now);
    }

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<PeerKey>> {
        if !self.waits && self.random.random_range(0..100) < 30 {
            self.waits = true;
            return None;
        }
        let event = self.inner.poll(now);
        if event.is_none() {
            self.waits = false;
        }
        event
    }

    fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        if reliability == Reliability::Unreliable && self.is_lost() {
            return Ok(());
        }
        self.inner.send_to_server(now, reliability, packet)
    }

    fn send_to_client(
        &mut self,
        now: Duration,
        to: PeerKey,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        if delivery != Delivery::Reliable && self.is_lost() {
            return Ok(());
        }
        self.inner.send_to_client(now, to, delivery, packet)
    }

    fn send_to_links(
        &mut self,
        now: Duration,
        destinations: &mut Vec<Destination<PeerKey>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        self.inner.send_to_links(now, destinations, reliability, packet);
    }

    fn release_link(&mut self, now: Duration, link: LinkId<PeerKey>) {
        self.inner.release_link(now, link);
    }
}

struct Seeded {
    memory: Memory,
    random: ChaCha8Rng,
}

impl Testbed for Seeded {
    type Network = Impaired;

    fn peer(&mut self) -> Impaired {
        let random = ChaCha8Rng::seed_from_u64(self.random.next_u64());
        Impaired { inner: self.memory.peer(), random, waits: false }
    }

    fn server_parameters(&mut self, server: usize) -> ServerParameters {
        self.memory.server_parameters(server)
    }

    fn client_parameters(&mut self, server: usize) -> ClientParameters {
        self.memory.client_parameters(server)
    }

    fn cut(&mut self, client: &mut Impaired) -> bool {
        self.memory.cut(&mut client.inner)
    }

    fn break_reliability(&mut self, client: &mut Impaired) -> bool {
        self.memory.break_reliability(&mut client.inner)
    }

    fn link(&mut self, a: &mut Impaired, b: &mut Impaired) -> bool {
        self.memory.link(&mut a.inner, &mut b.inner)
    }
}

type Case = fn(&mut Rig<Seeded>) -> Verdict;

macro_rules! all {
    ($given:expr, $($case:ident)*) => { [$((stringify!($case), cases::$case as Case)),*] };
}

/// proves: D-53
#[test]
fn a_healthy_network_passes_with_a_hundred_seeds() {
    for (name, case) in voicemesh_conformance::for_each_case!([all], ()) {
        for seed in 0..100 {
            let bed = Seeded { memory: Memory::default(), random: ChaCha8Rng::seed_from_u64(seed) };
            let verdict = case(&mut Rig::new(bed));
            assert_eq!(verdict, Ok(Outcome::Passed), "{name} with seed {seed}");
        }
    }
}
