//! A client that sends as much as it can. Sockets are real and on loopback; the time is the tests'
//! own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_renet::{ClientParameters, RenetNetwork, RenetPeer, ServerParameters};
use voicemesh_session::network::{Network, NetworkEvent, Reliability};

const TICK: Duration = Duration::from_millis(5);
const KEY: [u8; 32] = [7; 32];
/// What the hostile client sends in one tick: some 40 datagrams, which the system holds for the
/// host.
const FLOOD: usize = 4_000;
/// Packets of one client in one round of polls.
const TAKEN: usize = 64;
/// What a host keeps of one client's packets of speech and data, with what surrounds each in memory.
const WAITING_BYTES: usize = 256 * 1024;
const SURROUNDING_BYTES: usize = 96;
const HONEST: Bytes = Bytes::from_static(b"honest");

struct Lan {
    now: Duration,
    host: RenetNetwork,
    hostile: RenetNetwork,
    honest: RenetNetwork,
    /// By what the host knows the hostile client.
    key: RenetPeer,
}

impl Lan {
    fn new() -> Self {
        let now = TICK;
        let mut host = RenetNetwork::new();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        host.host(now, ServerParameters { listen, public: Vec::new(), key: KEY, clients: 8 })
            .unwrap();
        let servers = vec![host.serves_at().unwrap()];
        let client = || {
            let mut client = RenetNetwork::new();
            let servers = servers.clone();
            client
                .connect(
                    now,
                    ClientParameters { servers, key: KEY, timeout: Duration::from_secs(5) },
                )
                .unwrap();
            client
        };
        let mut lan = Self { now, hostile: client(), honest: client(), host, key: RenetPeer(0) };
        let mut connected = 0;
        while connected < 2 {
            lan.tick();
            for client in [&mut lan.hostile, &mut lan.honest] {
                connected += usize::from(client.poll(lan.now) == Some(NetworkEvent::Connected));
            }
            assert!(lan.now < Duration::from_secs(60), "both connect");
        }
        lan.key = lan.introduce();
        lan
    }

    /// The host learns from a packet which client is which.
    fn introduce(&mut self) -> RenetPeer {
        self.hostile
            .send_to_server(self.now, Reliability::Reliable, Bytes::from_static(b"hostile"))
            .unwrap();
        while self.now < Duration::from_secs(60) {
            for event in self.tick() {
                if let NetworkEvent::FromClient { peer, packet } = event
                    && packet == *b"hostile".as_slice()
                {
                    return peer;
                }
            }
            while self.hostile.poll(self.now).is_some() {}
        }
        panic!("the introduction does not arrive");
    }

    /// Time passes, and the host is polled until it has no more.
    fn tick(&mut self) -> Vec<NetworkEvent<RenetPeer>> {
        self.now += TICK;
        std::iter::from_fn(|| self.host.poll(self.now)).collect()
    }

    /// The hostile client sends these, the honest one a packet of its own; the host is polled.
    /// Packets of each.
    fn flood(&mut self, packets: impl Iterator<Item = Bytes>) -> (Vec<Bytes>, usize) {
        self.honest.send_to_server(self.now, Reliability::Reliable, HONEST).unwrap();
        for packet in packets {
            self.hostile.send_to_server(self.now, Reliability::Unreliable, packet).unwrap();
        }
        self.round()
    }

    fn round(&mut self) -> (Vec<Bytes>, usize) {
        for client in [&mut self.honest, &mut self.hostile] {
            while client.poll(self.now).is_some() {}
        }
        let (mut hostile, mut honest) = (Vec::new(), 0);
        for event in self.tick() {
            match event {
                NetworkEvent::FromClient { peer, packet } if peer == self.key => {
                    hostile.push(packet)
                }
                NetworkEvent::FromClient { packet, .. } if packet == HONEST => honest += 1,
                event => panic!("{event:?}"),
            }
        }
        (hostile, honest)
    }
}

#[test]
fn a_flood_of_small_packets_is_taken_in_portions_between_which_others_are_served() {
    const ROUNDS: usize = 100;
    const GARBAGE: Bytes = Bytes::from_static(b"ninebytes");
    let mut lan = Lan::new();
    let (mut taken, mut served) = (0, 0);
    for round in 0..ROUNDS {
        let (hostile, honest) = lan.flood(std::iter::repeat_n(GARBAGE, FLOOD));
        assert!(hostile.len() <= TAKEN, "{} packets of one client in round {round}", hostile.len());
        taken += hostile.len();
        served += honest;
    }
    assert!(taken > ROUNDS / 2 * TAKEN, "it is not cut off: {taken}");
    let mut waited = 0;
    for round in 0.. {
        let (hostile, honest) = lan.round();
        assert!(hostile.len() <= TAKEN, "{} packets of one client after the flood", hostile.len());
        (waited, served) = (waited + hostile.len(), served + honest);
        // Lost ones of the honest client are sent again after 300 ms.
        if hostile.is_empty() && served == ROUNDS {
            break;
        }
        assert!(
            round < 2_000,
            "{served} of {ROUNDS} packets of the honest client, {waited} more of the hostile one"
        );
    }
    let most = WAITING_BYTES / (GARBAGE.len() + SURROUNDING_BYTES);
    assert!(waited <= most && waited > most / 2, "{waited} packets waited, {most} may");
}
