//! What two peers that have nothing to say send. The datagrams are counted on their way; the time
//! is the test's own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, VoiceEngine};
use voicemesh_renet::{ClientParameters, RenetNetwork, ServerParameters};
use voicemesh_session::GLOBAL_GROUP;
use voicemesh_session::client::ClientEvent;

const TICK: Duration = Duration::from_millis(5);
const KEY: [u8; 32] = [7; 32];
/// Datagrams of both peers together: one each in 50 ms, and what the session asks now and then.
const PER_SECOND: usize = 45;

/// Passes datagrams on between a host and one client, and counts them.
struct Wire {
    to_client: UdpSocket,
    to_host: UdpSocket,
    client: Option<SocketAddr>,
    datagrams: usize,
}

impl Wire {
    fn new() -> Self {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        Self { to_client: socket(), to_host: socket(), client: None, datagrams: 0 }
    }

    /// Where the client finds the host.
    fn address(&self) -> SocketAddr {
        self.to_client.local_addr().unwrap()
    }

    fn carry(&mut self, host: SocketAddr) {
        let mut buffer = [0; 2048];
        while let Ok((bytes, from)) = self.to_client.recv_from(&mut buffer) {
            self.client = Some(from);
            self.to_host.send_to(&buffer[..bytes], host).unwrap();
            self.datagrams += 1;
        }
        while let Ok((bytes, _)) = self.to_host.recv_from(&mut buffer) {
            self.to_client.send_to(&buffer[..bytes], self.client.unwrap()).unwrap();
            self.datagrams += 1;
        }
    }
}

struct Pair {
    now: Duration,
    wire: Wire,
    host: EngineOnNetwork<RenetNetwork>,
    client: EngineOnNetwork<RenetNetwork>,
}

impl Pair {
    fn new() -> Self {
        let [mut host, mut client] = [1, 2].map(|seed| {
            let engine = VoiceEngine::new(EngineConfig::new(format!("peer {seed}"), seed)).unwrap();
            EngineOnNetwork::new(engine, RenetNetwork::new())
        });
        let wire = Wire::new();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let parameters =
            ServerParameters { listen, public: vec![wire.address()], key: KEY, clients: 8 };
        host.run_as_host(TICK, parameters).unwrap();
        let servers = vec![wire.address()];
        client
            .run_as_client(
                TICK,
                ClientParameters { servers, key: KEY, timeout: Duration::from_secs(5) },
            )
            .unwrap();
        Self { now: TICK, wire, host, client }
    }

    fn tick(&mut self) {
        self.now += TICK;
        let host = self.host.network().serves_at().unwrap();
        self.client.update(self.now);
        self.wire.carry(host);
        self.host.update(self.now);
        self.wire.carry(host);
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.tick();
        }
    }

    fn are_connected(&self) -> bool {
        self.host.status().members.len() == 2 && self.client.status().members.len() == 2
    }
}

#[test]
fn two_connected_peers_that_say_nothing_send_few_datagrams_and_what_they_send_leaves_at_once() {
    const SECONDS: usize = 20;
    let mut pair = Pair::new();
    while !pair.are_connected() {
        pair.tick();
        assert!(pair.now < Duration::from_secs(30), "both see both");
    }
    pair.run(Duration::from_secs(2));

    pair.wire.datagrams = 0;
    pair.run(Duration::from_secs(SECONDS as u64));
    let datagrams = pair.wire.datagrams;
    assert!(datagrams <= SECONDS * PER_SECOND, "{datagrams} datagrams in {SECONDS} s");
    assert!(pair.are_connected(), "more than netcode's timeout later");

    while pair.host.poll_event().is_some() {}
    let now = pair.now;
    pair.client.send_group_text(now, GLOBAL_GROUP, "hello").unwrap();
    pair.wire.carry(pair.host.network().serves_at().unwrap());
    // The server takes it, and the host's own client has it with the next update.
    pair.host.update(now);
    pair.host.update(now + TICK);
    let texts = std::iter::from_fn(|| pair.host.poll_event())
        .filter(|event| matches!(event, EngineEvent::Session(ClientEvent::Text { text, .. }) if text == "hello"));
    assert_eq!(texts.count(), 1, "without another update of the sender");
}
