//! What docs/features.md promises of networks, over renet. Sockets are real and on loopback; the
//! time is the tests' own, and what passes between a client and its server can be lost or kept.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, Mode, StartError, VoiceEngine};
use voicemesh_renet::{ClientParameters, RenetNetwork, RenetPeer, ServerParameters};
use voicemesh_session::GLOBAL_GROUP;
use voicemesh_session::client::{ClientEvent, Phase};
use voicemesh_session::network::{
    Delivery, DisconnectReason, Network, NetworkError, NetworkEvent, Reliability,
};

const TICK: Duration = Duration::from_millis(5);
const KEY: [u8; 32] = [7; 32];
/// How long anything may take, in the time of the tests.
const PATIENCE: Duration = Duration::from_secs(60);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn at(address: SocketAddr, public: Vec<SocketAddr>) -> ServerParameters {
    ServerParameters { listen: address, public, key: KEY, clients: 16 }
}

fn to(address: SocketAddr) -> ClientParameters {
    ClientParameters { servers: vec![address], key: KEY, timeout: PATIENCE }
}

fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn engine(name: &str, seed: u64) -> EngineOnNetwork<RenetNetwork> {
    let engine = VoiceEngine::new(EngineConfig::new(name, seed)).unwrap();
    EngineOnNetwork::new(engine, RenetNetwork::new())
}

/// What lies between a client and its server.
struct Wire {
    to_client: UdpSocket,
    to_server: UdpSocket,
    client: Option<SocketAddr>,
    is_dark: bool,
    /// Every so-manieth datagram is lost.
    loses: Option<u32>,
    datagrams: u32,
}

impl Wire {
    fn new() -> Self {
        let (to_client, to_server) = (socket(), socket());
        Self { to_client, to_server, client: None, is_dark: false, loses: None, datagrams: 0 }
    }

    /// Where the client finds its server.
    fn address(&self) -> SocketAddr {
        self.to_client.local_addr().unwrap()
    }

    fn carry(&mut self, server: SocketAddr) {
        let mut buffer = [0; 2048];
        while let Ok((bytes, from)) = self.to_client.recv_from(&mut buffer) {
            self.client = Some(from);
            if self.passes() {
                self.to_server.send_to(&buffer[..bytes], server).unwrap();
            }
        }
        while let Ok((bytes, _)) = self.to_server.recv_from(&mut buffer) {
            if self.passes() {
                self.to_client.send_to(&buffer[..bytes], self.client.unwrap()).unwrap();
            }
        }
    }

    fn passes(&mut self) -> bool {
        self.datagrams += 1;
        let is_lost = self.loses.is_some_and(|every| self.datagrams.is_multiple_of(every));
        !self.is_dark && !is_lost
    }
}

/// A dedicated server and clients with sound, each behind a wire.
struct Session {
    now: Duration,
    server: EngineOnNetwork<RenetNetwork>,
    clients: Vec<EngineOnNetwork<RenetNetwork>>,
    wires: Vec<Wire>,
}

impl Session {
    /// Everyone begins to connect.
    fn begin(clients: usize) -> Self {
        let wires: Vec<Wire> = (0..clients).map(|_| Wire::new()).collect();
        let mut server = engine("server", 1);
        let public = wires.iter().map(Wire::address).collect();
        server.run_as_dedicated_server(TICK, at(any(), public)).unwrap();
        let client = |(number, wire): (usize, &Wire)| {
            let mut client = engine(&format!("client {number}"), 100 + number as u64);
            client.run_as_client(TICK, to(wire.address())).unwrap();
            client
        };
        let clients = wires.iter().enumerate().map(client).collect();
        Self { now: TICK, server, clients, wires }
    }

    /// Everyone sees everyone.
    fn new(clients: usize) -> Self {
        let mut session = Self::begin(clients);
        session.until("all see all", |session| session.see_all());
        session
    }

    fn see_all(&self) -> bool {
        let all = self.clients.len();
        self.clients.iter().all(|client| client.status().members.len() == all)
    }

    fn tick(&mut self) {
        self.now += TICK;
        for client in &mut self.clients {
            client.update(self.now);
        }
        self.carry();
        self.server.update(self.now);
        self.carry();
    }

    fn carry(&mut self) {
        let Some(server) = self.server.network().serves_at() else { return };
        self.wires.iter_mut().for_each(|wire| wire.carry(server));
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.tick();
        }
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let latest = self.now + PATIENCE;
        while !is_so(self) {
            assert!(self.now < latest, "{what}");
            self.tick();
            std::thread::yield_now();
        }
    }
}

/// proves: D-39, D-44
#[test]
fn each_mode_stops_without_leaving_a_socket_and_starts_again() {
    let address = socket().local_addr().unwrap();
    let (mut host, mut guest) = (engine("host", 1), engine("guest", 2));
    let mut now = TICK;
    for round in 0..10 {
        if round % 2 == 0 {
            host.run_as_host(now, at(address, Vec::new())).unwrap();
        } else {
            host.run_as_dedicated_server(now, at(address, Vec::new())).unwrap();
        }
        assert!(UdpSocket::bind(address).is_err(), "it serves there");
        guest.run_as_client(now, to(address)).unwrap();
        let members = 1 + usize::from(host.mode() == Mode::Host);
        let latest = now + PATIENCE;
        while guest.status().members.len() < members {
            assert!(now < latest, "they meet in round {round}");
            now += TICK;
            guest.update(now);
            host.update(now);
            std::thread::yield_now();
        }
        // By turns the one who hosts goes first, and the one who joined.
        let (first, second) =
            if round % 4 < 2 { (&mut host, &mut guest) } else { (&mut guest, &mut host) };
        for engine in [first, second] {
            engine.stop(now);
            engine.stop(now);
            assert_eq!((engine.mode(), engine.status().members.len()), (Mode::None, 0));
            assert_eq!(engine.network().serves_at(), None);
            assert_eq!(engine.peers(), []);
        }
        drop(UdpSocket::bind(address).expect("its address is free"));
    }
}

/// proves: D-42
#[test]
fn nothing_is_bound_or_sent_before_a_server_or_client_is_started() {
    let taken = socket();
    let address = taken.local_addr().unwrap();
    let (mut server, mut client) = (engine("server", 1), engine("client", 2));
    let (serving, joining) = (at(address, Vec::new()), to(address));
    assert_eq!(server.network().serves_at(), None);
    server.update(TICK);
    client.update(TICK);
    let received = || taken.recv_from(&mut [0; 2048]).is_ok();
    assert!(!received(), "nothing was sent");

    let refused = server.run_as_dedicated_server(TICK, serving.clone());
    assert!(matches!(refused, Err(StartError::Network(_))), "{refused:?}");
    client.run_as_client(TICK, joining).unwrap();
    client.update(2 * TICK);
    assert!(received(), "only now");
    drop(taken);
    server.run_as_dedicated_server(TICK, serving).unwrap();
    assert_eq!(server.network().serves_at(), Some(address));
}

/// A handshake without a connection would be refused, and end the session.
///
/// proves: D-43
#[test]
fn a_connect_that_takes_twenty_seconds_is_waited_for_without_a_handshake() {
    let mut session = Session::begin(1);
    session.wires[0].is_dark = true;
    session.run(Duration::from_secs(20));
    assert_eq!(session.clients[0].mode(), Mode::Client);
    assert_eq!(session.clients[0].client().unwrap().phase(), Phase::Offline);
    assert_eq!(session.clients[0].poll_event(), None);
    session.wires[0].is_dark = false;
    session.until("it joins after all", |session| {
        session.clients[0].client().unwrap().phase() == Phase::Joined
    });
}

/// proves: D-45, D-46
#[test]
fn what_clients_send_is_handled_once_and_for_the_connection_that_it_came_by() {
    const ROUNDS: u8 = 20;
    let mut server = RenetNetwork::new();
    server.host(TICK, at(any(), Vec::new())).unwrap();
    let address = server.serves_at().unwrap();
    let mut clients = [0, 1, 2].map(|_| RenetNetwork::new());
    for client in &mut clients {
        client.connect(TICK, to(address)).unwrap();
    }
    let mut now = TICK;
    let mut rounds = [0; 3];
    let mut arrived: BTreeMap<RenetPeer, Vec<[u8; 3]>> = BTreeMap::new();
    while arrived.values().map(Vec::len).sum::<usize>() < 3 * usize::from(ROUNDS) {
        now += TICK;
        assert!(now < PATIENCE, "{arrived:?}");
        for (author, client) in clients.iter_mut().enumerate() {
            while client.poll(now).is_some() {}
            let packet = [author as u8, rounds[author], 0];
            let sends = rounds[author] < ROUNDS;
            let mut send = || {
                client.send_to_server(now, Reliability::Reliable, packet.to_vec().into()).is_ok()
            };
            rounds[author] += u8::from(sends && send());
        }
        while let Some(event) = server.poll(now) {
            let NetworkEvent::FromClient { peer, packet } = event else { continue };
            arrived.entry(peer).or_default().push(packet[..].try_into().unwrap());
        }
        std::thread::yield_now();
    }
    assert_eq!(server.poll(now), None, "each thing once");
    let of = |author: u8| (0..ROUNDS).map(|round| [author, round, 0]).collect::<Vec<_>>();
    let mut authors: Vec<_> = arrived.into_values().collect();
    authors.sort();
    assert_eq!(authors, [of(0), of(1), of(2)], "one connection, one author");
}

/// One server and one client without sound, behind a wire.
struct Pair {
    now: Duration,
    server: RenetNetwork,
    client: RenetNetwork,
    wire: Wire,
    /// By what the server knows the client.
    key: RenetPeer,
    at_server: Vec<Bytes>,
    at_client: Vec<Bytes>,
}

impl Pair {
    fn new() -> Self {
        let wire = Wire::new();
        let (mut server, mut client) = (RenetNetwork::new(), RenetNetwork::new());
        let address = socket().local_addr().unwrap();
        server.host(TICK, at(address, vec![wire.address(), address])).unwrap();
        client.connect(TICK, to(wire.address())).unwrap();
        let (at_server, at_client) = (Vec::new(), Vec::new());
        let mut pair =
            Self { now: TICK, server, client, wire, key: RenetPeer(0), at_server, at_client };
        let hello = Bytes::from_static(b"hello");
        while pair.client.send_to_server(pair.now, Reliability::Reliable, hello.clone()).is_err() {
            pair.tick();
        }
        while pair.at_server.is_empty() {
            pair.tick();
        }
        pair.at_server.clear();
        pair
    }

    fn tick(&mut self) {
        self.now += TICK;
        assert!(self.now < 10 * PATIENCE, "it takes too long");
        while let Some(event) = self.client.poll(self.now) {
            if let NetworkEvent::FromServer(packet) = event {
                self.at_client.push(packet);
            }
        }
        self.wire.carry(self.server.serves_at().unwrap());
        while let Some(event) = self.server.poll(self.now) {
            if let NetworkEvent::FromClient { peer, packet } = event {
                self.key = peer;
                self.at_server.push(packet);
            }
        }
        self.wire.carry(self.server.serves_at().unwrap());
        std::thread::yield_now();
    }
}

/// What is reliable begins with 0, what is not with 1.
fn packet(kind: u8, number: u32) -> Bytes {
    let mut packet = vec![kind; 3];
    packet.extend(number.to_le_bytes());
    packet.into()
}

/// All reliable ones in order; the others at most once, some of them lost: they are not sent again.
fn assert_arrived(arrived: &[Bytes], sent: u32) {
    let of_kind = |kind| arrived.iter().filter(move |packet| packet[0] == kind);
    let reliable: Vec<Bytes> = (0..sent).map(|number| packet(0, number)).collect();
    assert!(of_kind(0).eq(&reliable), "{} of {sent}", of_kind(0).count());
    let mut unreliable: Vec<&Bytes> = of_kind(1).collect();
    let all = unreliable.len();
    unreliable.sort();
    unreliable.dedup();
    assert_eq!(unreliable.len(), all, "none comes twice");
    assert!(all < sent as usize && all > sent as usize / 2, "{all} of {sent}");
}

/// proves: D-47, D-48
#[test]
fn over_a_path_that_loses_what_is_reliable_arrives_in_order_and_the_rest_is_not_repeated() {
    const SENT: u32 = 300;
    let mut pair = Pair::new();
    pair.wire.loses = Some(7);
    for number in 0..SENT {
        let (now, key) = (pair.now, pair.key);
        let client = &mut pair.client;
        client.send_to_server(now, Reliability::Reliable, packet(0, number)).unwrap();
        client.send_to_server(now, Reliability::Unreliable, packet(1, number)).unwrap();
        let server = &mut pair.server;
        server.send_to_client(now, key, Delivery::Reliable, packet(0, number)).unwrap();
        server.send_to_client(now, key, Delivery::Voice, packet(1, number)).unwrap();
        pair.tick();
    }
    let reliable = |arrived: &[Bytes]| arrived.iter().filter(|packet| packet[0] == 0).count();
    while reliable(&pair.at_server).min(reliable(&pair.at_client)) < SENT as usize {
        pair.tick();
    }
    // What would be repeated after that comes within it.
    (0..200).for_each(|_| pair.tick());
    assert_arrived(&pair.at_server, SENT);
    assert_arrived(&pair.at_client, SENT);
}

/// Nothing is acknowledged, until more waits than renet keeps.
///
/// proves: D-49
#[test]
fn a_client_whose_reliable_packets_can_no_longer_be_kept_leaves_its_session_and_says_so() {
    let mut session = Session::new(2);
    while session.clients[0].poll_event().is_some() {}
    session.wires[0].is_dark = true;
    let (now, text) = (session.now, "x".repeat(4_000));
    for _ in 0..1_000 {
        if session.clients[0].send_group_text(now, GLOBAL_GROUP, &text).is_err() {
            break;
        }
    }
    assert_eq!(session.clients[0].mode(), Mode::None, "at once");
    let ended =
        EngineEvent::Session(ClientEvent::SessionEnded(DisconnectReason::ReliabilityBroken));
    let events: Vec<_> = std::iter::from_fn(|| session.clients[0].poll_event()).collect();
    assert!(events.contains(&ended), "{events:?}");
    assert_eq!(session.clients[1].mode(), Mode::Client, "the other stays");
}

/// proves: D-49
#[test]
fn a_server_that_can_no_longer_keep_what_a_client_must_get_ends_that_connection_alone() {
    let mut pair = Pair::new();
    let mut other = RenetNetwork::new();
    other.connect(pair.now, to(pair.server.serves_at().unwrap())).unwrap();
    let hello = Bytes::from_static(b"other");
    while other.send_to_server(pair.now, Reliability::Reliable, hello.clone()).is_err() {
        while other.poll(pair.now).is_some() {}
        pair.tick();
    }
    let key = pair.key;
    while !pair.at_server.contains(&hello) {
        while other.poll(pair.now).is_some() {}
        pair.tick();
    }
    let of_the_other = std::mem::replace(&mut pair.key, key);
    assert_ne!(of_the_other, key);

    pair.wire.is_dark = true;
    let large = Bytes::from(vec![7; 16 * 1024]);
    let (server, now) = (&mut pair.server, pair.now);
    let mut send = |to| server.send_to_client(now, to, Delivery::Reliable, large.clone()).err();
    assert_eq!((0..1_000).find_map(|_| send(key)), Some(NetworkError::ReliabilityBroken));
    assert_eq!((send(key), send(of_the_other)), (Some(NetworkError::NotConnected), None));
    let events: Vec<_> = std::iter::from_fn(|| server.poll(now + TICK)).collect();
    assert_eq!(events, [NetworkEvent::ClientGone { peer: key }]);
    let mut arrived = false;
    while !arrived {
        arrived = std::iter::from_fn(|| other.poll(pair.now))
            .any(|event| event == NetworkEvent::FromServer(large.clone()));
        pair.tick();
    }
}

/// Renet has no links: `send_to_links` reaches none, and all goes through the server.
///
/// proves: D-30, D-31
#[test]
fn without_links_each_destination_gets_one_copy_through_the_server() {
    let mut session = Session::new(3);
    let view = |client: &EngineOnNetwork<RenetNetwork>| {
        let view = client.client().unwrap().view().unwrap();
        (view.session().number(), view.you())
    };
    let (number, own) = view(&session.clients[0]);
    let others = [view(&session.clients[1]).1, view(&session.clients[2]).1];
    let packet = |how: u8| {
        let header = [&[0x8B, 0xC7, 60][..], &number.to_be_bytes(), &own.0.to_be_bytes()].concat();
        Bytes::from([&header[..], &[how; 20]].concat())
    };
    for (how, reliability) in
        [Reliability::Reliable, Reliability::Unreliable].into_iter().enumerate()
    {
        let client = session.clients[0].client_mut().unwrap();
        client.send_to_clients(&others, reliability, &packet(how as u8)).unwrap();
    }
    session.run(Duration::from_secs(1));
    for (client, copies) in [(0, 0), (1, 1), (2, 1)] {
        let arrived: Vec<Bytes> = std::iter::from_fn(|| session.clients[client].poll_event())
            .filter_map(|event| match event {
                EngineEvent::Session(ClientEvent::Extension { packet, .. }) => Some(packet),
                _ => None,
            })
            .collect();
        for how in [0, 1] {
            let count = arrived.iter().filter(|arrived| **arrived == packet(how)).count();
            assert_eq!(count, copies, "client {client}: {arrived:?}");
        }
        assert_eq!(arrived.len(), 2 * copies);
    }
}

#[test]
fn what_a_client_sends_right_before_it_leaves_arrives_before_it_is_gone() {
    let mut now = TICK;
    let mut host = RenetNetwork::new();
    host.host(now, at(any(), Vec::new())).unwrap();
    let mut client = RenetNetwork::new();
    client.connect(now, to(host.serves_at().unwrap())).unwrap();
    while client.poll(now) != Some(NetworkEvent::Connected) {
        now += TICK;
        assert!(now < PATIENCE, "it connects");
        while host.poll(now).is_some() {}
    }
    for words in [&b"my last words"[..], b"and one more"] {
        client.send_to_server(now, Reliability::Reliable, Bytes::from_static(words)).unwrap();
    }
    client.disconnect(now);
    let mut events = Vec::new();
    while !matches!(events.last(), Some(NetworkEvent::ClientGone { .. })) {
        now += TICK;
        assert!(now < PATIENCE, "{events:?}");
        events.extend(std::iter::from_fn(|| host.poll(now)));
    }
    let packets: Vec<Bytes> = events
        .into_iter()
        .filter_map(|event| match event {
            NetworkEvent::FromClient { packet, .. } => Some(packet),
            _ => None,
        })
        .collect();
    assert_eq!(packets, [&b"my last words"[..], b"and one more"]);
}
