//! Engines without a network: what goes in, and what they want done.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOutput, Mode, VoiceEngine};
use voicemesh_session::ClientEvent;
use voicemesh_session::network::{
    DisconnectReason, LinkId, NetworkEvent, PacketLimits, Reliability,
};
use voicemesh_session::output::{LinkPacket, Output};
use voicemesh_wire::packet::{self, Kind};

const SERVER: u8 = 0;
const ADA: u8 = 1;
const BOB: u8 = 2;
const TICK: Duration = Duration::from_millis(10);

/// A server and two clients. Packets between them are moved by hand; a link takes what it is given,
/// or nothing.
struct Table {
    now: Duration,
    server: VoiceEngine<u8>,
    clients: Vec<(u8, VoiceEngine<u8>)>,
    links_take: bool,
    /// Kinds of the packets that Ada wanted sent to the server and over links.
    to_server: Vec<Kind>,
    to_links: Vec<Kind>,
}

fn engine(seed: u64) -> VoiceEngine<u8> {
    VoiceEngine::new(EngineConfig::new(format!("peer {seed}"), seed)).unwrap()
}

fn kind(packet: &Bytes) -> Kind {
    packet::open(packet).unwrap().0.kind
}

impl Table {
    fn new() -> Self {
        let mut server = engine(u64::from(SERVER));
        server.run_as_dedicated_server(PacketLimits::default()).unwrap();
        server.handle(Duration::ZERO, NetworkEvent::Hosting);
        let clients = [ADA, BOB].map(|peer| (peer, engine(u64::from(peer)))).into();
        let mut table = Self {
            now: Duration::ZERO,
            server,
            clients,
            links_take: true,
            to_server: Vec::new(),
            to_links: Vec::new(),
        };
        for (_, client) in &mut table.clients {
            client.run_as_client(PacketLimits::default()).unwrap();
            assert_eq!(client.poll_output(), None, "nothing is sent before there is a connection");
            client.handle(Duration::ZERO, NetworkEvent::Connected);
        }
        table.run(50);
        assert!(table.clients.iter().all(|(_, client)| client.status().connected));
        table
    }

    fn client(&mut self, peer: u8) -> &mut VoiceEngine<u8> {
        &mut self.clients.iter_mut().find(|(other, _)| *other == peer).unwrap().1
    }

    fn connect_link(&mut self) {
        for (at, to) in [(ADA, BOB), (BOB, ADA)] {
            let now = self.now;
            self.client(at).handle(now, NetworkEvent::LinkUp(LinkId { peer: to, generation: 1 }));
        }
    }

    /// So many times 10 ms, in which Ada hums.
    fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now += TICK;
            let now = self.now;
            let hum: Block = std::array::from_fn(|sample| 0.3 * (sample as f32 * 0.1).sin());
            self.client(ADA).capture(now, &hum).unwrap();
            for peer in [ADA, BOB] {
                self.client(peer).update(now);
                self.client(peer).follow(now);
                self.client(peer).render(now, &mut [0.0; BLOCK_SAMPLES]);
            }
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        for peer in [ADA, BOB] {
            while let Some(output) = self.client(peer).poll_output() {
                let EngineOutput::Client(output) = output else {
                    panic!("a client serves nothing")
                };
                self.carry_out(peer, output);
            }
        }
        while let Some(output) = self.server.poll_output() {
            let EngineOutput::ToClient { to, packet, .. } = output else {
                panic!("a server sends to clients only")
            };
            let now = self.now;
            self.client(to).handle(now, NetworkEvent::FromServer(packet));
        }
    }

    fn carry_out(&mut self, peer: u8, output: Output<u8>) {
        let now = self.now;
        match output {
            Output::ToServer { packet, .. } => {
                if peer == ADA {
                    self.to_server.push(kind(&packet));
                }
                self.server.handle(now, NetworkEvent::FromClient { peer, packet });
            }
            Output::ToLinks(refused) if !self.links_take => self.client(peer).refused(now, refused),
            Output::ToLinks(LinkPacket { to, packet, .. }) => {
                if peer == ADA {
                    self.to_links.push(kind(&packet));
                }
                for destination in to {
                    let link = LinkId { peer, ..destination.link };
                    let packet = packet.clone();
                    self.client(destination.link.peer)
                        .handle(now, NetworkEvent::FromLink { link, packet });
                }
            }
            Output::PingServer { number, .. } => {
                self.client(peer).handle(now, NetworkEvent::ServerPong(number))
            }
            Output::ReleaseLink(_) | Output::ReplaceLink(_) | Output::LinkStalled(_) => {}
        }
    }

    /// What Ada sent since the last look, to the server and over links.
    fn sent(&mut self) -> (Vec<Kind>, Vec<Kind>) {
        (std::mem::take(&mut self.to_server), std::mem::take(&mut self.to_links))
    }

    fn events(&mut self, peer: u8) -> Vec<EngineEvent<u8>> {
        let client = self.client(peer);
        std::iter::from_fn(|| client.poll_event()).collect()
    }
}

#[test]
fn two_engines_speak_through_a_third_that_serves() {
    let mut table = Table::new();
    table.run(100);
    let (to_server, to_links) = table.sent();
    assert!(to_server.contains(&Kind::ServerRelayUnreliable));
    assert!(to_links.is_empty());
    let speaking =
        |event: &EngineEvent<u8>| matches!(event, EngineEvent::Speaking { speaking: true, .. });
    assert!(table.events(BOB).iter().any(speaking));
}

#[test]
fn what_a_link_refuses_comes_back_and_goes_through_the_server() {
    let mut table = Table::new();
    table.connect_link();
    table.run(200);
    table.sent();
    table.run(20);
    let (to_server, to_links) = table.sent();
    assert!(to_links.contains(&Kind::VoiceData));
    assert!(!to_server.contains(&Kind::ServerRelayUnreliable), "{to_server:?}");
    table.links_take = false;
    table.run(20);
    let (to_server, to_links) = table.sent();
    assert!(to_links.is_empty());
    assert!(
        to_server.iter().filter(|kind| **kind == Kind::ServerRelayUnreliable).count() >= 10,
        "{to_server:?}"
    );
}

#[test]
fn without_a_reliable_packet_the_session_ends_and_nothing_more_is_sent() {
    let mut table = Table::new();
    let now = table.now;
    table.events(ADA);
    let ada = table.client(ADA);
    ada.join_group("another").unwrap();
    ada.handle(now, NetworkEvent::Disconnected(DisconnectReason::ReliabilityBroken));
    assert_eq!((ada.mode(), ada.poll_output()), (Mode::None, None));
    let ended =
        EngineEvent::Session(ClientEvent::SessionEnded(DisconnectReason::ReliabilityBroken));
    assert!(table.events(ADA).contains(&ended));
}

#[test]
fn what_a_server_did_not_come_to_send_is_gone_with_it() {
    let mut table = Table::new();
    table.client(BOB).join_group("another").unwrap();
    let now = table.now;
    while let Some(EngineOutput::Client(output)) = table.client(BOB).poll_output() {
        if let Output::ToServer { reliability, packet } = output {
            assert_eq!(reliability, Reliability::Reliable);
            table.server.handle(now, NetworkEvent::FromClient { peer: BOB, packet });
        }
    }
    table.server.stop(now);
    assert_eq!((table.server.mode(), table.server.poll_output()), (Mode::None, None));
}

/// proves: D-37
#[test]
fn a_dedicated_server_captures_and_plays_nothing() {
    let mut server = engine(u64::from(SERVER));
    server.run_as_dedicated_server(PacketLimits::default()).unwrap();
    server.handle(Duration::ZERO, NetworkEvent::Hosting);
    let hum: Block = std::array::from_fn(|sample| 0.3 * (sample as f32 * 0.1).sin());
    for tick in 1..=20 {
        server.capture(tick * TICK, &hum).unwrap();
        let mut played: Block = [1.0; BLOCK_SAMPLES];
        server.render(tick * TICK, &mut played);
        assert!(played.iter().all(|sample| *sample == 0.0));
        assert_eq!(server.poll_output(), None);
    }
    assert_eq!(server.frames_spoken(), 0);
}
