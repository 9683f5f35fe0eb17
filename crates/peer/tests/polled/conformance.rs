//! A network taken apart keeps the contract as a whole one does.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use voicemesh::over::network::{
    Delivery, Destination, LinkId, NetworkError, NetworkEvent, PacketLimits, Reliability,
};
use voicemesh::over::{Network, Polled, Pump, polled};
use voicemesh_conformance::{Testbed, conformance_tests};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, PeerKey, ServerParameters};

/// Both halves on one thread.
struct Halves {
    voice: Polled<Endpoint>,
    game: Rc<RefCell<Pump<Endpoint>>>,
}

impl Halves {
    fn key(&self) -> PeerKey {
        self.game.borrow().network().key()
    }
}

impl Network for Halves {
    type Peer = PeerKey;
    type ClientParameters = ClientParameters;
    type ServerParameters = ServerParameters;

    fn initialise(&mut self) {
        self.voice.initialise();
    }

    fn limits(&self) -> PacketLimits {
        self.voice.limits()
    }

    fn connect(&mut self, now: Duration, to: ClientParameters) -> Result<(), NetworkError> {
        self.voice.connect(now, to)
    }

    fn disconnect(&mut self, now: Duration) {
        self.voice.disconnect(now);
    }

    fn host(&mut self, now: Duration, at: ServerParameters) -> Result<(), NetworkError> {
        self.voice.host(now, at)
    }

    fn stop_hosting(&mut self, now: Duration) {
        self.voice.stop_hosting(now);
    }

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<PeerKey>> {
        self.voice.poll(now)
    }

    fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.voice.send_to_server(now, reliability, packet)
    }

    fn send_to_client(
        &mut self,
        now: Duration,
        to: PeerKey,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.voice.send_to_client(now, to, delivery, packet)
    }

    fn send_to_links(
        &mut self,
        now: Duration,
        destinations: &mut Vec<Destination<PeerKey>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        self.voice.send_to_links(now, destinations, reliability, packet);
    }

    fn release_link(&mut self, now: Duration, link: LinkId<PeerKey>) {
        self.voice.release_link(now, link);
    }
}

#[derive(Default)]
struct InHalves {
    hub: Hub,
    games: Vec<Weak<RefCell<Pump<Endpoint>>>>,
}

impl Testbed for InHalves {
    type Network = Halves;

    fn peer(&mut self) -> Halves {
        let (voice, game) = polled(self.hub.endpoint());
        let game = Rc::new(RefCell::new(game));
        self.games.push(Rc::downgrade(&game));
        Halves { voice, game }
    }

    fn server_parameters(&mut self, server: usize) -> ServerParameters {
        ServerParameters { address: format!("server {server}") }
    }

    fn client_parameters(&mut self, server: usize) -> ClientParameters {
        ClientParameters { address: format!("server {server}") }
    }

    /// A frame of each game.
    fn pass(&mut self) -> Duration {
        for game in self.games.iter().filter_map(Weak::upgrade) {
            game.borrow_mut().update();
        }
        Duration::from_millis(10)
    }

    fn cut(&mut self, client: &mut Halves) -> bool {
        self.hub.cut_server(client.key())
    }

    fn break_reliability(&mut self, client: &mut Halves) -> bool {
        self.hub.break_reliability(client.key())
    }

    fn link(&mut self, a: &mut Halves, b: &mut Halves) -> bool {
        self.hub.connect_link(a.key(), b.key());
        true
    }
}

conformance_tests!(InHalves::default());
