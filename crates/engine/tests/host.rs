//! A host: server and client in one process.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_audio::{BLOCK_SAMPLES, Block, level};
use voicemesh_engine::{
    ClientEndReason, Connection, EngineConfig, EngineError, EngineEvent, EngineOnNetwork,
    EngineOutput, Mode, StartError, VoiceEngine,
};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, ServerParameters};
use voicemesh_session::client::ClientEvent;
use voicemesh_session::network::{DisconnectReason, NetworkEvent, PacketLimits, Reliability};
use voicemesh_session::output::Output;
use voicemesh_wire::GroupId;
use voicemesh_wire::packet::{Recipient, RemoveClient};

const TICK: Duration = Duration::from_millis(10);

fn engine(hub: &Hub, name: &str, seed: u64) -> EngineOnNetwork<Endpoint> {
    EngineOnNetwork::new(VoiceEngine::new(EngineConfig::new(name, seed)).unwrap(), hub.endpoint())
}

fn serve() -> ServerParameters {
    ServerParameters { address: "here".to_owned() }
}

fn join() -> ClientParameters {
    ClientParameters { address: "here".to_owned() }
}

fn hum(now: Duration) -> Block {
    let begin = now.as_secs_f32() * 48_000.0;
    std::array::from_fn(|at| {
        0.3 * ((begin + at as f32) * 200.0 * std::f32::consts::TAU / 48_000.0).sin()
    })
}

/// A host, first, and clients over memory.
struct Lan {
    now: Duration,
    peers: Vec<EngineOnNetwork<Endpoint>>,
}

impl Lan {
    fn new(clients: usize) -> Self {
        let hub = Hub::new();
        let mut lan = Self { now: Duration::ZERO, peers: vec![engine(&hub, "host", 1)] };
        lan.peers[0].run_as_host(lan.now, serve()).unwrap();
        lan.run(5, &[]);
        for number in 0..clients {
            let mut client = engine(&hub, &format!("client {number}"), 100 + number as u64);
            client.run_as_client(lan.now, join()).unwrap();
            lan.peers.push(client);
        }
        lan.run(20, &[]);
        lan
    }

    /// So many times 10 ms, in which these hum. The level that each heard, in dBFS.
    fn run(&mut self, ticks: usize, humming: &[usize]) -> Vec<f32> {
        let mut heard = vec![Vec::new(); self.peers.len()];
        for _ in 0..ticks {
            self.now += TICK;
            for (number, peer) in self.peers.iter_mut().enumerate() {
                peer.update(self.now);
                if humming.contains(&number) {
                    peer.capture(self.now, &hum(self.now)).unwrap();
                }
                let mut block: Block = [0.0; BLOCK_SAMPLES];
                peer.render(self.now, &mut block);
                heard[number].extend_from_slice(&block);
            }
        }
        heard.iter().map(|samples| level::rms_dbfs(samples)).collect()
    }

    fn names(&self, peer: usize) -> Vec<String> {
        self.peers[peer].status().members.into_iter().map(|(_, name)| name).collect()
    }

    fn texts(&mut self, peer: usize) -> Vec<String> {
        std::iter::from_fn(|| self.peers[peer].poll_event()).filter_map(text).collect()
    }
}

fn text<P>(event: EngineEvent<P>) -> Option<String> {
    match event {
        EngineEvent::Session(ClientEvent::Text { text, .. }) => Some(text),
        _ => None,
    }
}

/// proves: D-36, D-52
#[test]
fn a_host_is_server_and_client_and_says_so() {
    let mut lan = Lan::new(2);
    assert_eq!(lan.peers[0].mode(), Mode::Host);
    assert_eq!(lan.peers[0].mode().to_string(), "server & client");
    for peer in 0..3 {
        assert!(lan.peers[peer].status().connected);
        assert_eq!(lan.names(peer), ["host", "client 0", "client 1"]);
        assert_eq!(
            lan.peers[peer].status().session,
            lan.peers[0].server().map(|server| server.session())
        );
    }
    let again = lan.peers[0].run_as_client(lan.now, join());
    assert_eq!(again, Err(StartError::Engine(EngineError::AlreadyRunning(Mode::Host))));

    let now = lan.now;
    lan.peers[1].stop(now);
    lan.run(5, &[]);
    assert_eq!(lan.names(0), ["host", "client 1"]);
    lan.peers[0].stop(now);
    lan.run(5, &[]);
    assert_eq!((lan.peers[0].mode(), lan.names(0)), (Mode::None, Vec::new()));
    assert!(!lan.peers[2].status().connected, "the server is gone");
}

/// proves: D-36
#[test]
fn a_host_speaks_and_hears_and_writes_like_any_other() {
    let mut lan = Lan::new(2);
    lan.run(50, &[0]);
    let loud = lan.run(100, &[0]);
    assert!(loud[0] < -80.0 && loud[1] > -25.0 && loud[2] > -25.0, "the host speaks: {loud:?}");
    lan.run(100, &[]);
    lan.run(50, &[1]);
    let loud = lan.run(100, &[1]);
    assert!(loud[0] > -25.0 && loud[1] < -80.0 && loud[2] > -25.0, "a client speaks: {loud:?}");

    for peer in 0..3 {
        lan.texts(peer);
    }
    let (now, everyone) = (lan.now, Recipient::Group(GroupId::of(voicemesh_session::GLOBAL_GROUP)));
    lan.peers[0].send_text(now, everyone, "from the host").unwrap();
    lan.peers[2].send_text(now, everyone, "from a client").unwrap();
    lan.run(5, &[]);
    assert_eq!(lan.texts(0), ["from a client"]);
    let mut at_the_other = lan.texts(1);
    at_the_other.sort();
    assert_eq!(at_the_other, ["from a client", "from the host"]);
    assert_eq!(lan.texts(2), ["from the host"]);
}

/// A host without a network, and a client of it; packets between them are moved by hand.
struct Pair {
    now: Duration,
    host: VoiceEngine<u8>,
    client: VoiceEngine<u8>,
    /// Packets that the host wanted sent.
    sent: Vec<(u8, Bytes)>,
    /// Connections that the host wanted ended.
    ended: Vec<u8>,
}

const REMOTE: u8 = 7;

impl Pair {
    fn new() -> Self {
        let [mut host, mut client] = [1, 2]
            .map(|seed| VoiceEngine::new(EngineConfig::new(format!("peer {seed}"), seed)).unwrap());
        host.run_as_host(PacketLimits::default()).unwrap();
        client.run_as_client(PacketLimits::default()).unwrap();
        host.handle(Duration::ZERO, NetworkEvent::Hosting);
        client.handle(Duration::ZERO, NetworkEvent::Connected);
        let mut pair =
            Self { now: Duration::ZERO, host, client, sent: Vec::new(), ended: Vec::new() };
        for _ in 0..10 {
            pair.update_client();
            pair.update_host();
        }
        assert_eq!(pair.host.status().members.len(), 2);
        while pair.host.poll_event().is_some() {}
        pair
    }

    fn update_client(&mut self) {
        self.now += TICK;
        self.client.update(self.now);
        while let Some(output) = self.client.poll_output() {
            if let EngineOutput::Client(Output::ToServer { packet, .. }) = output {
                self.host.handle(self.now, NetworkEvent::FromClient { peer: REMOTE, packet });
                self.take_outputs();
            }
        }
    }

    fn update_host(&mut self) {
        self.now += TICK;
        self.host.update(self.now);
        self.take_outputs();
        self.host.follow(self.now);
        self.take_outputs();
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.host.poll_output() {
            match output {
                EngineOutput::ToClient { to, packet, .. } => {
                    assert_eq!(to, REMOTE, "the own client is no connection of the network");
                    self.sent.push((to, packet.clone()));
                    self.client.handle(self.now, NetworkEvent::FromServer(packet));
                }
                EngineOutput::EndClient { to } => self.ended.push(to),
                EngineOutput::Client(output) => {
                    panic!("the host's client wants of the network: {output:?}")
                }
            }
        }
    }

    fn texts(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.host.poll_event()).filter_map(text).collect()
    }
}

/// proves: D-50
#[test]
fn what_the_server_sends_its_own_client_waits_for_the_next_update_and_passes_no_network() {
    let mut pair = Pair::new();
    let everyone = Recipient::Group(GroupId::of(voicemesh_session::GLOBAL_GROUP));
    pair.client.send_text(everyone, "hello").unwrap();
    pair.sent.clear();
    pair.update_client();
    pair.host.follow(pair.now);
    pair.take_outputs();
    assert_eq!(pair.texts(), Vec::<String>::new(), "the server has it, and the own client has not");
    assert_eq!(pair.sent, [], "and it passes no network");
    pair.update_host();
    assert_eq!(pair.texts(), ["hello"]);

    // Its own text goes to the others at once: nothing is inside a call then.
    pair.host.send_text(everyone, "and back").unwrap();
    pair.take_outputs();
    assert_eq!(pair.sent.len(), 1);
}

#[test]
fn a_guest_that_writes_without_end_loses_its_connection_and_nothing_more_of_it_is_taken() {
    let mut pair = Pair::new();
    let (name, client) = (
        "peer 2".to_owned(),
        pair.host.server().unwrap().client_of(Connection::Remote(REMOTE)).unwrap(),
    );
    let everyone = Recipient::Group(GroupId::of(voicemesh_session::GLOBAL_GROUP));
    for _ in 0..1_000 {
        pair.client.send_text(everyone, "hello").unwrap();
        pair.update_client();
    }
    assert_eq!(pair.ended, [REMOTE], "once, though it goes on");
    pair.update_host();
    let events: Vec<_> = std::iter::from_fn(|| pair.host.poll_event()).collect();
    let ended = EngineEvent::ClientEnded { client, name, reason: ClientEndReason::OverBudget };
    assert!(events.contains(&ended), "{events:?}");
    let texts = events.into_iter().filter_map(text).count();
    assert!((200..1_000).contains(&texts), "{texts}");
    assert_eq!(pair.host.status().members.len(), 1, "the host alone");
    // Its network reports the end; then the same connection may be another's.
    pair.sent.clear();
    pair.host.handle(pair.now, NetworkEvent::ClientGone { peer: REMOTE });
    pair.client.stop(pair.now);
    pair.client.run_as_client(PacketLimits::default()).unwrap();
    pair.client.handle(pair.now, NetworkEvent::Connected);
    for _ in 0..10 {
        pair.update_client();
        pair.update_host();
    }
    assert_eq!(pair.host.status().members.len(), 2);
}

/// The host's own program is not hostile to itself.
#[test]
fn a_host_may_write_as_much_as_it_likes() {
    let mut pair = Pair::new();
    let everyone = Recipient::Group(GroupId::of(voicemesh_session::GLOBAL_GROUP));
    for _ in 0..1_000 {
        pair.host.send_text(everyone, "hello").unwrap();
        pair.take_outputs();
    }
    assert_eq!((pair.sent.len() >= 1_000, pair.ended.len()), (true, 0));
}

/// proves: D-51
#[test]
fn what_remote_peers_send_never_reaches_the_hosts_own_client_as_if_its_server_sent_it() {
    let mut pair = Pair::new();
    let session = pair.host.status().session.unwrap();
    let own = pair.host.client().unwrap().view().unwrap().you();
    let forged = Bytes::from(RemoveClient { client: own }.encode(session));
    let server_says = [
        NetworkEvent::FromServer(forged.clone()),
        NetworkEvent::FromClient { peer: REMOTE, packet: forged },
        NetworkEvent::Connected,
        NetworkEvent::Disconnected(DisconnectReason::ReliabilityBroken),
        NetworkEvent::Resumed,
        NetworkEvent::ServerPong(1),
    ];
    for event in server_says {
        pair.host.handle(pair.now, event.clone());
        for _ in 0..3 {
            pair.update_host();
        }
        assert_eq!(pair.host.poll_event(), None, "{event:?}");
        assert!(pair.host.status().connected, "{event:?}");
        assert_eq!(
            pair.host.client().unwrap().view().unwrap().table().members().count(),
            2,
            "{event:?}"
        );
        assert_eq!(pair.host.mode(), Mode::Host, "{event:?}");
    }
    // By what its server knows it, no connection of a network is known.
    let server = pair.host.server().unwrap();
    assert_eq!(server.client_of(Connection::OwnClient), Some(own));
    assert!((0..=u8::MAX).all(|peer| server.client_of(Connection::Remote(peer)) != Some(own)));
}

#[test]
fn a_host_that_cannot_serve_ends_and_says_why() {
    let hub = Hub::new();
    let (mut first, mut second) = (engine(&hub, "first", 1), engine(&hub, "second", 2));
    first.run_as_host(Duration::ZERO, serve()).unwrap();
    assert!(matches!(second.run_as_host(Duration::ZERO, serve()), Err(StartError::Network(_))));
    assert_eq!(second.mode(), Mode::None);

    let mut pair = Pair::new();
    pair.host.handle(pair.now, NetworkEvent::HostingFailed("the socket is gone".to_owned()));
    assert_eq!(pair.host.mode(), Mode::None);
    let events: Vec<_> = std::iter::from_fn(|| pair.host.poll_event()).collect();
    assert!(matches!(
        events[..],
        [EngineEvent::Session(ClientEvent::SessionEnded(_)), EngineEvent::HostingFailed(_)]
    ));
}

/// proves: D-36, D-39
#[test]
fn a_hundred_starts_and_stops_in_any_order_leave_nothing_behind() {
    let hub = Hub::new();
    let mut peers = [engine(&hub, "a", 1), engine(&hub, "b", 2), engine(&hub, "c", 3)];
    let mut now = Duration::ZERO;
    let mut random = fastrand::Rng::with_seed(1);
    let mut rounds = |peers: &mut [EngineOnNetwork<Endpoint>; 3], rounds: usize| {
        for _ in 0..rounds {
            for peer in peers.iter_mut() {
                // Refused by an engine that runs already or finds the address taken: neither leaves
                // anything behind.
                let _ = match random.u8(..5) {
                    0 => peer.run_as_host(now, serve()),
                    1 => peer.run_as_dedicated_server(now, serve()),
                    2 => peer.run_as_client(now, join()),
                    _ => {
                        peer.stop(now);
                        Ok(())
                    }
                };
            }
            for _ in 0..3 {
                now += TICK;
                for peer in peers.iter_mut() {
                    peer.update(now);
                    peer.capture(now, &hum(now)).unwrap();
                    while peer.poll_event().is_some() {}
                }
            }
        }
        for peer in peers.iter_mut() {
            peer.stop(now);
            peer.update(now);
            while peer.poll_event().is_some() {}
            assert_eq!(peer.mode(), Mode::None);
            assert!(peer.peers().is_empty() && peer.status().members.is_empty());
            assert_eq!(peer.poll_output(), None);
        }
    };
    rounds(&mut peers, 100);
    let used = allocation_counter::measure(|| rounds(&mut peers, 200));
    assert!(
        used.bytes_current < 4096,
        "{} bytes more after 200 further rounds",
        used.bytes_current
    );
    let [host, client, _] = &mut peers;
    host.run_as_host(now, serve()).unwrap();
    client.run_as_client(now, join()).unwrap();
    for _ in 0..20 {
        now += TICK;
        host.update(now);
        client.update(now);
    }
    assert_eq!((host.status().members.len(), client.status().members.len()), (2, 2));
}

/// A reliable packet to the own client that cannot be kept ends the session, as a broken path
/// would; speech is lost.
///
/// proves: D-49
#[test]
fn a_host_that_is_not_updated_loses_speech_and_then_its_session() {
    let mut pair = Pair::new();
    let everyone = Recipient::Group(GroupId::of(voicemesh_session::GLOBAL_GROUP));
    let flood = |pair: &mut Pair, texts: usize| {
        for _ in 0..texts {
            // As many as the budget of a client has.
            pair.now += Duration::from_millis(50);
            pair.client.send_text(everyone, "x").unwrap();
            while let Some(output) = pair.client.poll_output() {
                if let EngineOutput::Client(Output::ToServer {
                    packet,
                    reliability: Reliability::Reliable,
                }) = output
                {
                    pair.host.handle(pair.now, NetworkEvent::FromClient { peer: REMOTE, packet });
                }
            }
        }
    };
    flood(&mut pair, 1000);
    pair.update_host();
    assert_eq!(pair.texts().len(), 1000);
    flood(&mut pair, 140_000);
    pair.update_host();
    assert_eq!(pair.host.mode(), Mode::None);
    let events: Vec<_> = std::iter::from_fn(|| pair.host.poll_event()).collect();
    let broken =
        EngineEvent::Session(ClientEvent::SessionEnded(DisconnectReason::ReliabilityBroken));
    assert_eq!(events.last(), Some(&broken));
}
