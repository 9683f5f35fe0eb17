//! A session of a thousand: one more client joins over a line of 1 MB/s each way.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_engine::{Connection, EngineConfig, EngineOutput, VoiceEngine};
use voicemesh_session::network::{NetworkEvent, PacketLimits};
use voicemesh_session::output::Output;
use voicemesh_session::{GLOBAL_GROUP, Server};
use voicemesh_wire::limits::{RELIABLE_PACKET_BYTES, UNRELIABLE_PACKET_BYTES};
use voicemesh_wire::packet::{
    ClientInfo, ClientState, CodecSettings, FromServer, HandshakeRequest, open,
};
use voicemesh_wire::{ClientId, SessionId};

const STEP: Duration = Duration::from_millis(5);
const BYTES_PER_S: f64 = 1_000_000.0;
/// One way, beside what the bytes take.
const LATENCY: Duration = Duration::from_millis(50);
const CODEC: CodecSettings =
    CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
/// Clients before the one that joins.
const CLIENTS: u32 = 999;
const JOINER: u32 = CLIENTS;

/// One direction of a line.
#[derive(Default)]
struct Line {
    packets: VecDeque<(Duration, Bytes)>,
    busy_until: Duration,
}

impl Line {
    fn send(&mut self, now: Duration, packet: Bytes) {
        self.busy_until =
            self.busy_until.max(now) + Duration::from_secs_f64(packet.len() as f64 / BYTES_PER_S);
        self.packets.push_back((self.busy_until + LATENCY, packet));
    }

    fn arrived(&mut self, now: Duration) -> Option<Bytes> {
        self.packets.pop_front_if(|(at, _)| *at <= now).map(|(_, packet)| packet)
    }
}

fn limits(reliable_bytes: usize) -> PacketLimits {
    PacketLimits { unreliable_bytes: UNRELIABLE_PACKET_BYTES, reliable_bytes }
}

/// A server with its clients, whose own lines are not looked at. Each tenth of them listens to one
/// more group.
fn crowd(reliable_bytes: usize) -> VoiceEngine<u32> {
    let mut server = VoiceEngine::new(EngineConfig::new("server", 1)).unwrap();
    server.run_as_dedicated_server(limits(reliable_bytes)).unwrap();
    server.handle(Duration::ZERO, NetworkEvent::Hosting);
    for peer in 0..CLIENTS {
        let name = format!("client {peer}");
        let request = HandshakeRequest { codec: CODEC, name: name.clone() }.encode();
        server.handle(Duration::ZERO, NetworkEvent::FromClient { peer, packet: request.into() });
        if peer % 10 == 0 {
            let connection = Connection::Remote(peer);
            let id = server.server().unwrap().client_of(connection).unwrap();
            let groups = vec![GLOBAL_GROUP.to_owned(), format!("team {}", peer % 70)];
            let state = ClientState { client: ClientInfo { name, id, codec: CODEC }, groups };
            let packet = state.encode(session(&server)).into();
            server.handle(Duration::ZERO, NetworkEvent::FromClient { peer, packet });
        }
        while server.poll_output().is_some() {}
    }
    assert_eq!(server.server().unwrap().table().members().len(), CLIENTS as usize);
    server
}

fn session(engine: &VoiceEngine<u32>) -> SessionId {
    engine.server().map(Server::session).unwrap()
}

/// What came to the client that joins.
struct Joined {
    took: Duration,
    in_response: BTreeSet<ClientId>,
    by_state: BTreeSet<ClientId>,
}

/// Until it knows all that the server knows.
fn join(reliable_bytes: usize) -> Joined {
    let mut server = crowd(reliable_bytes);
    let mut joiner = VoiceEngine::<u32>::new(EngineConfig::new("joiner", 2)).unwrap();
    joiner.run_as_client(limits(reliable_bytes)).unwrap();
    let (mut up, mut down) = (Line::default(), Line::default());
    let (mut in_response, mut by_state) = (BTreeSet::new(), BTreeSet::new());
    let mut now = Duration::ZERO;
    joiner.handle(now, NetworkEvent::Connected);
    loop {
        joiner.update(now);
        joiner.follow(now);
        while let Some(output) = joiner.poll_output() {
            if let EngineOutput::Client(Output::ToServer { packet, .. }) = output {
                up.send(now, packet);
            }
        }
        while let Some(packet) = up.arrived(now) {
            server.handle(now, NetworkEvent::FromClient { peer: JOINER, packet });
            while let Some(output) = server.poll_output() {
                if let EngineOutput::ToClient { to: JOINER, packet, .. } = output {
                    down.send(now, packet);
                }
            }
        }
        server.update(now);
        while let Some(packet) = down.arrived(now) {
            let (header, body) = open(&packet).unwrap();
            match FromServer::decode(header.kind, body).unwrap() {
                FromServer::HandshakeResponse(response) => {
                    in_response.extend(response.clients.iter().map(|client| client.id));
                }
                FromServer::ClientState(state) => {
                    by_state.insert(state.client.id);
                }
                _ => {}
            }
            joiner.handle(now, NetworkEvent::FromServer(packet));
        }
        let known = joiner.client().unwrap().view().map(|view| view.table());
        if known == server.server().map(Server::table) {
            return Joined { took: now, in_response, by_state };
        }
        now += STEP;
        assert!(
            now < Duration::from_secs(10),
            "{} in the response, {} by state",
            in_response.len(),
            by_state.len()
        );
    }
}

/// proves: D-56
#[test]
fn a_client_that_joins_a_thousand_knows_all_of_them_within_a_second_however_few_the_response_holds()
{
    for (reliable_bytes, holds_some) in
        [(RELIABLE_PACKET_BYTES, true), (UNRELIABLE_PACKET_BYTES, true), (24, false)]
    {
        let joined = join(reliable_bytes);
        let (some, rest) = (joined.in_response.len(), joined.by_state.len());
        assert_eq!(some > 0, holds_some, "{some} in a response of at most {reliable_bytes} bytes");
        assert!(rest > 0 && joined.in_response.is_disjoint(&joined.by_state));
        assert_eq!(some + rest, CLIENTS as usize, "{some} in the response, {rest} by state");
        assert!(
            joined.took < Duration::from_secs(1),
            "{:?} at {reliable_bytes} bytes",
            joined.took
        );
    }
}
