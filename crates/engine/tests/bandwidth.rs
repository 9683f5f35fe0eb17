//! What speech takes of each one's line: one speaks at 20 kbit/s, three listen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_engine::{EngineConfig, EngineOnNetwork, VoiceEngine};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, PeerKey, ServerParameters};
use voicemesh_session::Network;
use voicemesh_session::network::{
    Delivery, Destination, LinkId, NetworkError, NetworkEvent, PacketLimits, Reliability,
};
use voicemesh_session::route::Route;
use voicemesh_wire::packet::{Kind, Relay, VoiceCopies, VoiceData, open};

const TICK: Duration = Duration::from_millis(5);
/// 50 bytes every 20 ms.
const KBIT_PER_S: f64 = 20.0;
const FRAME: Duration = Duration::from_millis(20);
const FRAME_BYTES: usize = 50;
/// Of the figures above, so much more or less is the same.
const WITHIN: f64 = 0.02;
/// How long the figures are taken over.
const MEASURED: Duration = Duration::from_secs(20);

/// Bytes of encoded speech, without any header.
#[derive(Clone, Copy, Debug, Default)]
struct Payload {
    sent: usize,
    received: usize,
}

/// A network that counts the speech that passes it.
struct Counted {
    inner: Endpoint,
    payload: Arc<Mutex<Payload>>,
}

/// The encoded speech in a packet, which may be one to be passed on.
fn speech_bytes(packet: &[u8]) -> usize {
    let (header, body) = open(packet).unwrap();
    match header.kind {
        Kind::ServerRelayUnreliable => speech_bytes(Relay::decode(body).unwrap().packet),
        Kind::VoiceData => VoiceData::decode(body).unwrap().frame.len(),
        Kind::VoiceCopies => {
            let voice = VoiceCopies::decode(body).unwrap();
            let earlier: usize = voice.copies.iter().map(|copy| copy.frame.len()).sum();
            voice.frame.len() + earlier
        }
        _ => 0,
    }
}

impl Counted {
    fn count(&self, packet: &[u8], times: usize, of: impl Fn(&mut Payload) -> &mut usize) {
        *of(&mut self.payload.lock().unwrap()) += times * speech_bytes(packet);
    }
}

impl Network for Counted {
    type Peer = PeerKey;
    type ClientParameters = ClientParameters;
    type ServerParameters = ServerParameters;

    fn limits(&self) -> PacketLimits {
        self.inner.limits()
    }

    fn connect(&mut self, now: Duration, to: ClientParameters) -> Result<(), NetworkError> {
        self.inner.connect(now, to)
    }

    fn disconnect(&mut self, now: Duration) {
        self.inner.disconnect(now);
    }

    fn host(&mut self, now: Duration, at: ServerParameters) -> Result<(), NetworkError> {
        self.inner.host(now, at)
    }

    fn stop_hosting(&mut self, now: Duration) {
        self.inner.stop_hosting(now);
    }

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<PeerKey>> {
        let event = self.inner.poll(now)?;
        if let NetworkEvent::FromServer(packet)
        | NetworkEvent::FromClient { packet, .. }
        | NetworkEvent::FromLink { packet, .. } = &event
        {
            self.count(packet, 1, |payload| &mut payload.received);
        }
        Some(event)
    }

    fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.count(&packet, 1, |payload| &mut payload.sent);
        self.inner.send_to_server(now, reliability, packet)
    }

    fn send_to_client(
        &mut self,
        now: Duration,
        to: PeerKey,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.count(&packet, 1, |payload| &mut payload.sent);
        self.inner.send_to_client(now, to, delivery, packet)
    }

    fn send_to_links(
        &mut self,
        now: Duration,
        destinations: &mut Vec<Destination<PeerKey>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        let wanted = destinations.len();
        self.inner.send_to_links(now, destinations, reliability, packet);
        self.count(packet, wanted - destinations.len(), |payload| &mut payload.sent);
    }

    fn release_link(&mut self, now: Duration, link: LinkId<PeerKey>) {
        self.inner.release_link(now, link);
    }
}

/// A dedicated server, a speaker and three listeners: first the server, then the speaker.
struct Session {
    now: Duration,
    peers: Vec<(EngineOnNetwork<Counted>, Arc<Mutex<Payload>>)>,
}

impl Session {
    /// With `direct`, everyone has a link to everyone.
    fn new(direct: bool) -> Self {
        let hub = Hub::new();
        let address = || "here".to_owned();
        let mut session = Self { now: Duration::ZERO, peers: Vec::new() };
        for (seed, name) in ["server", "Ada", "Ben", "Cleo", "Dan"].into_iter().enumerate() {
            let config = EngineConfig::new(name, seed as u64);
            let payload = Arc::new(Mutex::default());
            let network = Counted { inner: hub.endpoint(), payload: payload.clone() };
            let mut peer = EngineOnNetwork::new(VoiceEngine::new(config).unwrap(), network);
            if seed == 0 {
                let at = ServerParameters { address: address() };
                peer.run_as_dedicated_server(session.now, at).unwrap();
            } else {
                peer.run_as_client(session.now, ClientParameters { address: address() }).unwrap();
            }
            session.peers.push((peer, payload));
        }
        session.run(Duration::from_millis(500), false);
        if direct {
            let keys: Vec<PeerKey> =
                session.peers[1..].iter().map(|(peer, _)| peer.network().inner.key()).collect();
            for (at, one) in keys.iter().enumerate() {
                keys[at + 1..].iter().for_each(|other| {
                    hub.connect_link(*one, *other);
                });
            }
            session.run(Duration::from_secs(1), false);
        }
        session
    }

    fn run(&mut self, time: Duration, speaks: bool) {
        let until = self.now + time;
        while self.now < until {
            self.now += TICK;
            let is_frame = self.now.as_millis().is_multiple_of(FRAME.as_millis());
            for (number, (peer, _)) in self.peers.iter_mut().enumerate() {
                peer.update(self.now);
                if number == 1 && speaks && is_frame {
                    let frame = Bytes::from_static(&[7; FRAME_BYTES]);
                    peer.client_mut().unwrap().send_voice(self.now, frame);
                }
                while peer.poll_event().is_some() {}
            }
        }
    }

    /// What passes each one's line while the speaker speaks, in kbit/s: sent and received.
    fn measure(&mut self) -> Vec<(f64, f64)> {
        self.run(Duration::from_secs(1), true);
        for (_, payload) in &self.peers {
            *payload.lock().unwrap() = Payload::default();
        }
        self.run(MEASURED, true);
        let kbit_per_s = |bytes: usize| bytes as f64 * 8.0 / 1_000.0 / MEASURED.as_secs_f64();
        self.peers
            .iter()
            .map(|(_, payload)| *payload.lock().unwrap())
            .map(|Payload { sent, received }| (kbit_per_s(sent), kbit_per_s(received)))
            .collect()
    }

    fn routes_of_the_speaker(&self) -> Vec<Route> {
        self.peers[1].0.peers().into_iter().map(|peer| peer.route).collect()
    }
}

fn assert_figures(measured: &[(f64, f64)], expected: &[(f64, f64)]) {
    let is_near = |measured: f64, expected: f64| (measured - expected).abs() <= WITHIN * expected;
    let all = measured.len() == expected.len()
        && measured
            .iter()
            .zip(expected)
            .all(|(is, wanted)| is_near(is.0, wanted.0) && is_near(is.1, wanted.1));
    assert!(all, "kbit/s sent and received: {measured:.2?}, not {expected:?}");
}

/// proves: D-54
#[test]
fn relayed_the_speaker_sends_once_and_the_server_moves_it_four_times() {
    let mut session = Session::new(false);
    let measured = session.measure();
    assert_eq!(session.routes_of_the_speaker(), [Route::Relayed; 3]);
    let listener = (0.0, KBIT_PER_S);
    assert_figures(
        &measured,
        &[(3.0 * KBIT_PER_S, KBIT_PER_S), (KBIT_PER_S, 0.0), listener, listener, listener],
    );
    let moved = measured[0].0 + measured[0].1;
    assert!((moved - 80.0).abs() <= WITHIN * 80.0, "the server moves {moved:.2} kbit/s");
}

/// proves: D-54
#[test]
fn directly_the_speaker_sends_three_times_and_the_server_moves_nothing() {
    let mut session = Session::new(true);
    let measured = session.measure();
    assert_eq!(session.routes_of_the_speaker(), [Route::Direct; 3]);
    let listener = (0.0, KBIT_PER_S);
    assert_figures(&measured, &[(0.0, 0.0), (3.0 * KBIT_PER_S, 0.0), listener, listener, listener]);
}
