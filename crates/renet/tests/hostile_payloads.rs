//! Remotes with the key that send what no peer of ours sends. Sockets are real and on loopback; the
//! time is the tests' own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use renetcode::{
    ClientAuthentication, ConnectToken, NetcodeClient, NetcodeServer, ServerAuthentication,
    ServerConfig, ServerResult,
};
use voicemesh_renet::{ClientParameters, RenetNetwork, ServerParameters};
use voicemesh_session::network::{DisconnectReason, Network, NetworkEvent, Reliability};

const TICK: Duration = Duration::from_millis(5);
const KEY: [u8; 32] = [7; 32];
const PROTOCOL: u64 = 0x766d_7265_6e65_7401;
const HONEST: Bytes = Bytes::from_static(b"honest");
const UNRELIABLE: u8 = 0;
const RELIABLE: u8 = 1;
/// The kind of a datagram that answers a challenge.
const RESPONSE: u8 = 3;
/// A whole slice, with its length before it.
fn slice_body() -> Vec<u8> {
    [[0x44, 0xb0].as_slice(), &[0; 1_200]].concat()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Netcode without renet above it: its payloads are what the test says.
struct HostileClient {
    socket: UdpSocket,
    netcode: NetcodeClient,
    /// What it has answered to the host's challenge.
    response: Vec<u8>,
}

impl HostileClient {
    /// `timeout_s`: what its token says; without a limit if it is below 1.
    fn new(host: SocketAddr, timeout_s: i32) -> Self {
        Self::with_id(42, host, timeout_s)
    }

    fn with_id(id: u64, host: SocketAddr, timeout_s: i32) -> Self {
        let now = since_1970();
        let connect_token =
            ConnectToken::generate(now, PROTOCOL, 600, id, timeout_s, vec![host], None, &KEY)
                .unwrap();
        let authentication = ClientAuthentication::Secure { connect_token };
        let netcode = NetcodeClient::new(now, authentication).unwrap();
        Self { socket: socket(), netcode, response: Vec::new() }
    }

    fn update(&mut self) {
        let mut buffer = [0; 1_400];
        while let Ok((bytes, _)) = self.socket.recv_from(&mut buffer) {
            self.netcode.process_packet(&mut buffer[..bytes]);
        }
        if let Some((datagram, host)) = self.netcode.update(TICK) {
            if datagram[0] & 0xf == RESPONSE {
                self.response = datagram.to_vec();
            }
            self.socket.send_to(datagram, host).unwrap();
        }
    }

    fn send(&mut self, payload: &[u8]) {
        if let Ok((host, datagram)) = self.netcode.generate_payload_packet(payload) {
            self.socket.send_to(datagram, host).unwrap();
        }
    }
}

struct Lan {
    now: Duration,
    host: RenetNetwork,
    honest: RenetNetwork,
    hostile: HostileClient,
    /// Hostile clients whom the host has lost.
    gone: usize,
    /// What the host has had from anyone but the honest client.
    packets: Vec<Bytes>,
}

impl Lan {
    fn new() -> Self {
        let mut host = RenetNetwork::new();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        host.host(TICK, ServerParameters { listen, public: Vec::new(), key: KEY, clients: 8 })
            .unwrap();
        let address = host.serves_at().unwrap();
        let mut honest = RenetNetwork::new();
        let servers = vec![address];
        honest
            .connect(TICK, ClientParameters { servers, key: KEY, timeout: Duration::from_secs(5) })
            .unwrap();
        let mut lan = Self {
            now: TICK,
            host,
            honest,
            hostile: HostileClient::new(address, 5),
            gone: 0,
            packets: Vec::new(),
        };
        lan.connect(5);
        lan
    }

    /// The hostile client comes again.
    fn connect(&mut self, timeout_s: i32) {
        self.hostile = HostileClient::new(self.host.serves_at().unwrap(), timeout_s);
        while !(self.is_served() & self.hostile.netcode.is_connected()) {
            assert!(self.now < Duration::from_secs(600), "both connect");
        }
    }

    /// One tick of everyone, in which the honest client sends. Whether the host has heard it.
    fn is_served(&mut self) -> bool {
        self.now += TICK;
        let mut is_served = false;
        // A refusal is that it is not connected yet.
        let _ = self.honest.send_to_server(self.now, Reliability::Reliable, HONEST);
        while let Some(event) = self.honest.poll(self.now) {
            assert_eq!(event, NetworkEvent::Connected);
        }
        self.honest.flush(self.now);
        self.hostile.update();
        while let Some(event) = self.host.poll(self.now) {
            match event {
                NetworkEvent::FromClient { packet, .. } if packet == HONEST => is_served = true,
                NetworkEvent::FromClient { packet, .. } => self.packets.push(packet),
                NetworkEvent::ClientGone { .. } => self.gone += 1,
                NetworkEvent::Hosting => {}
                event => panic!("{event:?}"),
            }
        }
        is_served
    }

    /// The host has the payload, and goes on. Whether it has let go of the one who sent it.
    fn throws_out(&mut self, payload: &[u8]) -> bool {
        let before = self.gone;
        self.hostile.send(payload);
        for _ in 0..4 {
            self.is_served();
        }
        assert!((0..400).any(|_| self.is_served()), "the honest client is served");
        self.gone > before
    }
}

/// Unreliable messages.
fn unreliable(messages: &[&[u8]]) -> Vec<u8> {
    let mut unreliable = vec![1, 1, UNRELIABLE, 0, messages.len() as u8];
    for message in messages {
        unreliable.push(message.len() as u8);
        unreliable.extend_from_slice(message);
    }
    unreliable
}

/// Of renet's format: type, sequence number, channel, and these numbers, each in two bytes.
fn payload(kind: u8, channel: u8, numbers: &[u16], rest: &[u8]) -> Vec<u8> {
    let numbers = numbers.iter().flat_map(|number| (number | 1 << 14).to_be_bytes());
    [kind, 1, channel].into_iter().chain(numbers).chain(rest.iter().copied()).collect()
}

/// A reliable message.
fn small(message: u16, body: &[u8]) -> Vec<u8> {
    let mut small = payload(0, RELIABLE, &[1, message, body.len() as u16], body);
    // The number of messages is not of variable length.
    small[3..5].copy_from_slice(&[0, 1]);
    small
}

#[test]
fn a_client_with_the_key_cannot_end_the_host_with_slices_that_renet_does_not_check() {
    let mut lan = Lan::new();
    let slice = slice_body();
    for (name, hostile) in [
        ("a slice beyond its message", payload(2, RELIABLE, &[0, 5, 2], &slice)),
        ("an unreliable slice beyond its message", payload(3, UNRELIABLE, &[0, 5, 2], &slice)),
        ("more slices than a packet has", payload(2, RELIABLE, &[0, 0, 16_000], &slice)),
        ("no slices", payload(2, RELIABLE, &[0, 0, 0], &slice)),
        ("an unknown channel", payload(0, 9, &[], &[0, 0])),
        ("an unknown type", vec![200, 1, 1]),
        ("a payload cut short", payload(2, RELIABLE, &[0, 0], &[])),
    ] {
        assert!(lan.throws_out(&hostile), "{name}");
        lan.connect(5);
    }
    assert!(!lan.throws_out(&payload(2, RELIABLE, &[0, 0, 2], &slice)), "a lawful slice");
    assert!(lan.throws_out(&payload(2, RELIABLE, &[0, 3, 4], &slice)), "of another message");
}

#[test]
fn messages_too_short_for_a_packet_are_not_kept_whatever_comes_before_them() {
    let mut lan = Lan::new();
    for (name, hostile) in [
        ("unreliable ones of no bytes", unreliable(&[b"", b"", b""])),
        ("behind a good one", unreliable(&[b"abc", b""])),
        ("of two bytes", unreliable(&[b"ab"])),
        ("a reliable one of no bytes", small(7, b"")),
    ] {
        assert!(lan.throws_out(&hostile), "{name}");
        lan.connect(5);
    }
    assert!(!lan.throws_out(&unreliable(&[b"abc", b"abcd"])), "good ones");
}

#[test]
fn messages_that_are_too_far_ahead_are_not_kept_and_are_taken_when_they_come_again() {
    const AHEAD: u16 = 4_096;
    let mut lan = Lan::new();
    lan.packets.clear();
    for message in 1..=AHEAD {
        lan.hostile.send(&small(message, b"early"));
        if message % 32 == 0 {
            lan.is_served();
        }
    }
    // One too many, and its message is another when it comes again: renet keeps what came first.
    assert!(!lan.throws_out(&small(AHEAD + 1, b"dropped")));
    assert!(!lan.throws_out(&small(0, b"first")));
    for _ in 0..2 * usize::from(AHEAD) / 64 {
        lan.is_served();
    }
    assert!(!lan.throws_out(&small(AHEAD + 1, b"again")));
    let packets: Vec<&[u8]> = lan.packets.iter().map(|packet| &packet[..]).collect();
    assert_eq!((packets.len(), packets[0]), (usize::from(AHEAD) + 2, b"first".as_slice()));
    assert_eq!(packets[packets.len() - 1], b"again");
}

#[test]
fn datagrams_that_netcode_does_not_survive_do_not_reach_it() {
    let mut lan = Lan::new();
    for datagram in [
        vec![0xf5; 40],
        [&[0x85][..], &[1; 17]].concat(),
        [&[0x85][..], &[0xff; 60]].concat(),
        vec![0; 18],
        Vec::new(),
    ] {
        let host = lan.host.serves_at().unwrap();
        lan.hostile.socket.send_to(&datagram, host).unwrap();
        // From where no client is.
        socket().send_to(&datagram, host).unwrap();
        lan.is_served();
    }
    assert!((0..400).any(|_| lan.is_served()), "the honest client is served");
}

#[test]
fn payloads_at_random_end_no_host() {
    let mut lan = Lan::new();
    let mut random = 1_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as u32
    };
    for _ in 0..4_000 {
        let length = 1 + next() as usize % 60;
        let mut payload: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        // Most are of a type and a channel that there are, and their numbers are small.
        payload[0] = (next() % 6) as u8;
        payload.iter_mut().skip(1).for_each(|byte| {
            if next() % 2 == 0 {
                *byte &= 3;
            }
        });
        lan.hostile.send(&payload);
        lan.is_served();
        if !lan.hostile.netcode.is_connected() {
            lan.connect(5);
        }
    }
    assert!(lan.gone > 100, "{} thrown out", lan.gone);
    assert!((0..400).any(|_| lan.is_served()), "the honest client is served");
}

#[test]
fn a_client_whose_token_says_that_it_is_never_lost_is_lost_after_a_minute_of_silence() {
    for what in ["nothing", "a request without the key", "what it said once"] {
        let mut lan = Lan::new();
        lan.connect(-1);
        let (before, host) = (lan.gone, lan.host.serves_at().unwrap());
        let datagram = match what {
            "nothing" => None,
            "what it said once" => Some(lan.hostile.response.clone()),
            _ => Some(vec![0; 1_078]),
        };
        assert!(datagram.as_ref().is_none_or(|datagram| datagram.len() > 300));
        // It says nothing more, not even that it is there; others may send this as if they were it.
        lan.hostile.netcode.disconnect().unwrap();
        let since = lan.now;
        while lan.gone == before {
            if let Some(datagram) = &datagram {
                lan.hostile.socket.send_to(datagram, host).unwrap();
            }
            lan.is_served();
            assert!(lan.now - since < Duration::from_secs(61), "it is lost that sends {what}");
        }
        assert!(lan.now - since > Duration::from_secs(55), "it sends {what}");
    }
}

/// Requests of one address, twice as many as may wait.
const UNCONFIRMED: u64 = 128;

#[test]
fn requests_that_are_never_confirmed_keep_no_other_client_of_the_address_out() {
    let mut lan = Lan::new();
    let host = lan.host.serves_at().unwrap();
    let mut silent = Vec::new();
    for id in 1_000..1_000 + UNCONFIRMED {
        let mut client = HostileClient::with_id(id, host, -1);
        // Its request; the challenge is not read.
        let (request, to) = client.netcode.update(TICK).unwrap();
        client.socket.send_to(request, to).unwrap();
        silent.push(client);
        lan.is_served();
    }
    let before = lan.now;
    lan.hostile = HostileClient::with_id(43, host, 5);
    while !lan.hostile.netcode.is_connected() {
        lan.is_served();
        assert!(lan.now - before < Duration::from_secs(2), "the newcomer connects");
    }

    // Each has a place for seconds only: the last of them answers its challenge too late.
    let last = silent.last_mut().unwrap();
    let until = lan.now + Duration::from_secs(11);
    while lan.now < until {
        lan.is_served();
    }
    let mut buffer = [0; 1_400];
    let (bytes, _) = last.socket.recv_from(&mut buffer).unwrap();
    last.netcode.process_packet(&mut buffer[..bytes]);
    for _ in 0..200 {
        let Some((response, to)) = last.netcode.update(TICK) else { continue };
        assert_eq!(response[0] & 0xf, RESPONSE);
        last.socket.send_to(response, to).unwrap();
        lan.is_served();
    }
    assert!(last.socket.recv_from(&mut buffer).is_err(), "it has no answer");
}

/// Answers a client as netcode does, and sends it one payload of the test's.
fn client_of_a_hostile_host(hostile: &[u8]) -> Option<NetworkEvent<voicemesh_renet::RenetPeer>> {
    let socket = socket();
    let address = socket.local_addr().unwrap();
    let mut netcode = NetcodeServer::new(ServerConfig {
        current_time: since_1970(),
        max_clients: 8,
        protocol_id: PROTOCOL,
        public_addresses: vec![address],
        authentication: ServerAuthentication::Secure { private_key: KEY },
    });
    let mut client = RenetNetwork::new();
    let mut now = TICK;
    let parameters =
        ClientParameters { servers: vec![address], key: KEY, timeout: Duration::from_secs(5) };
    client.connect(now, parameters).unwrap();
    let (mut is_connected, mut since) = (false, 0);
    while since < 100 {
        now += TICK;
        netcode.update(TICK);
        let mut buffer = [0; 1_400];
        while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            match netcode.process_packet(from, &mut buffer[..bytes]) {
                ServerResult::PacketToSend { addr, payload }
                | ServerResult::ClientConnected { addr, payload, .. } => {
                    socket.send_to(payload, addr).unwrap();
                }
                _ => {}
            }
        }
        if is_connected {
            since += 1;
            if since == 1 {
                let id = netcode.clients_id()[0];
                let (to, datagram) = netcode.generate_payload_packet(id, hostile).unwrap();
                socket.send_to(datagram, to).unwrap();
            }
        }
        while let Some(event) = client.poll(now) {
            match event {
                NetworkEvent::Connected => is_connected = true,
                event => return Some(event),
            }
        }
        assert!(now < Duration::from_secs(600), "it connects");
    }
    None
}

#[test]
fn a_host_cannot_end_its_clients_with_slices_that_renet_does_not_check() {
    let slice = slice_body();
    assert_eq!(client_of_a_hostile_host(&payload(2, RELIABLE, &[0, 0, 2], &slice)), None);
    for hostile in [
        payload(2, RELIABLE, &[0, 5, 2], &slice),
        payload(3, UNRELIABLE, &[0, 5, 2], &slice),
        vec![200, 1, 1],
    ] {
        let event = client_of_a_hostile_host(&hostile);
        assert_eq!(event, Some(NetworkEvent::Disconnected(DisconnectReason::Lost)));
    }
}
