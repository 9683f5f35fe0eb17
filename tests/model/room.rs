//! A server and clients over the network in memory, and raw ends that a test plays itself.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, PeerKey, ServerParameters};
use voicemesh_session::client::{ClientConfig, Phase, Received};
use voicemesh_session::network::{Delivery, Network, NetworkEvent, carry_out};
use voicemesh_session::{Client, ClientEvent, Server, ServerConfig, ServerOutput, Verdict};
use voicemesh_wire::packet::CodecSettings;
use voicemesh_wire::{ClientId, SessionId};

pub const ADDRESS: &str = "room";
const TICK: Duration = Duration::from_millis(5);

/// One client and its end of the network.
pub struct Guest {
    pub net: Endpoint,
    pub client: Client<PeerKey>,
    pub received: Vec<Received>,
    pub events: Vec<ClientEvent<PeerKey>>,
}

pub struct Room {
    pub now: Duration,
    pub hub: Hub,
    pub host: Endpoint,
    pub server: Server<PeerKey>,
    pub verdicts: Vec<(PeerKey, Verdict)>,
    pub guests: Vec<Guest>,
}

struct Out<'a>(Duration, &'a mut Endpoint);

impl ServerOutput<PeerKey> for Out<'_> {
    fn send(&mut self, to: PeerKey, packet: Bytes, delivery: Delivery) {
        let _ = self.1.send_to_client(self.0, to, delivery, packet);
    }
}

pub fn session(number: u32) -> SessionId {
    SessionId::new(number).unwrap()
}

impl Room {
    pub fn new(guests: usize) -> Self {
        let hub = Hub::new();
        let mut host = hub.endpoint();
        host.host(Duration::ZERO, ServerParameters { address: ADDRESS.into() }).unwrap();
        let server = Server::new(ServerConfig::default(), session(7));
        let mut room = Self {
            now: Duration::ZERO,
            hub,
            host,
            server,
            verdicts: Vec::new(),
            guests: Vec::new(),
        };
        for _ in 0..guests {
            room.add_guest();
        }
        room.settle();
        assert!(room.guests.iter().all(|guest| guest.client.phase() == Phase::Joined));
        room.forget();
        room
    }

    pub fn add_guest(&mut self) -> usize {
        let net = self.hub.endpoint();
        let codec = CodecSettings {
            codec: CodecSettings::OPUS,
            frame_samples: 960,
            sample_rate_hz: 48_000,
        };
        let client =
            Client::new(ClientConfig::new(format!("guest {}", self.guests.len()), codec, 65_500));
        self.guests.push(Guest { net, client, received: Vec::new(), events: Vec::new() });
        let guest = self.guests.len() - 1;
        self.connect(guest);
        guest
    }

    pub fn connect(&mut self, guest: usize) {
        self.guests[guest]
            .net
            .connect(self.now, ClientParameters { address: ADDRESS.into() })
            .unwrap();
    }

    /// What was seen so far is of no interest.
    pub fn forget(&mut self) {
        self.verdicts.clear();
        for guest in &mut self.guests {
            guest.events.clear();
            guest.received.clear();
        }
    }

    pub fn key(&self, guest: usize) -> PeerKey {
        self.guests[guest].net.key()
    }

    pub fn id(&self, guest: usize) -> ClientId {
        self.guests[guest].client.view().unwrap().you()
    }

    pub fn tick(&mut self) {
        self.now += TICK;
        while let Some(event) = self.host.poll(self.now) {
            let mut out = Out(self.now, &mut self.host);
            match event {
                NetworkEvent::FromClient { peer, packet } => {
                    let verdict = self.server.receive(self.now, peer, &packet, &mut out);
                    self.verdicts.push((peer, verdict));
                }
                NetworkEvent::ClientGone { peer } => {
                    self.server.disconnected(self.now, peer, &mut out)
                }
                _ => {}
            }
        }
        for guest in &mut self.guests {
            while let Some(event) = guest.net.poll(self.now) {
                guest.received.push(guest.client.network_event(self.now, event));
                carry_out(self.now, &mut guest.client, &mut guest.net);
            }
            guest.client.update(self.now);
            carry_out(self.now, &mut guest.client, &mut guest.net);
            while let Some(event) = guest.client.poll_event() {
                guest.events.push(event);
            }
        }
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.tick();
        }
    }

    pub fn settle(&mut self) {
        self.run(Duration::from_millis(300));
    }

    /// With a guest's client and its network.
    pub fn with<T>(
        &mut self,
        guest: usize,
        f: impl FnOnce(&mut Client<PeerKey>, Duration, &mut Endpoint) -> T,
    ) -> T {
        let guest = &mut self.guests[guest];
        let done = f(&mut guest.client, self.now, &mut guest.net);
        carry_out(self.now, &mut guest.client, &mut guest.net);
        done
    }

    /// What a guest's client makes of an event.
    pub fn feed(&mut self, guest: usize, event: NetworkEvent<PeerKey>) -> Received {
        self.with(guest, |client, now, _| client.network_event(now, event))
    }

    /// The frames that a guest heard.
    pub fn heard(&self, guest: usize) -> Vec<Bytes> {
        let frame = |event: &ClientEvent<PeerKey>| match event {
            ClientEvent::Voice(voice) => Some(voice.frame.clone()),
            _ => None,
        };
        self.guests[guest].events.iter().filter_map(frame).collect()
    }

    /// The texts that a guest read.
    pub fn read(&self, guest: usize) -> Vec<String> {
        let text = |event: &ClientEvent<PeerKey>| match event {
            ClientEvent::Text { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.guests[guest].events.iter().filter_map(text).collect()
    }
}
