//! A script of connections and packets against a server: no panic, and no false news to any client.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::server::DropReason;
use voicemesh_session::{Delivery, Server, ServerConfig, ServerOutput, Verdict};
use voicemesh_wire::limits::GROUPS_PER_CLIENT;
use voicemesh_wire::packet::{self, Kind, Relay, Routing};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use super::input::{Input, with_header};

/// The server's session; scripts can name it.
const SESSION: u32 = 77;
/// Connections that a script can name.
const PEERS: u8 = 12;

#[derive(Default)]
struct Sent(Vec<(u8, Bytes, Delivery)>);

impl ServerOutput<u8> for Sent {
    fn send(&mut self, to: u8, packet: Bytes, delivery: Delivery) {
        self.0.push((to, packet, delivery));
    }
}

/// One input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let config = ServerConfig { reliable_packet_bytes: 300, ..ServerConfig::default() };
    let mut server = Server::new(config, SessionId::new(SESSION).expect("not zero"));
    let mut now = Duration::ZERO;
    while !input.is_over() {
        let op = input.u8();
        let peer = input.u8() % PEERS;
        let mut sent = Sent::default();
        let packet = match op % 8 {
            0 => {
                server.disconnected(now, peer, &mut sent);
                assert_eq!(server.client_of(peer), None);
                None
            }
            1 => {
                let owner = input.u8();
                let _ = server.admit(now, peer, u128::from(owner % 4), String::new());
                server.set_takes_group_text(peer, owner & 4 != 0);
                None
            }
            2 => {
                now += Duration::from_millis(u64::from(input.u16()));
                None
            }
            3 => Some(input.block().to_vec()),
            4 => Some(relay(&mut input, server.client_of(peer))),
            5 => Some(own(&mut input, server.client_of(peer))),
            _ => Some(with_header(input.u8(), SESSION, input.block())),
        };
        if let Some(packet) = packet {
            let packet = Bytes::from(packet);
            let verdict = server.receive(now, peer, &packet, &mut sent);
            check_verdict(&server, peer, &packet, verdict, &sent);
        }
        check_sent(&server, peer, &sent);
        check_table(&server);
    }
}

/// A packet whose body begins with the sender's own id, wherever its type has that.
fn own(input: &mut Input<'_>, client: Option<ClientId>) -> Vec<u8> {
    let kind = input.u8();
    let [high, low] = client.unwrap_or(ClientId(0)).0.to_be_bytes();
    let mut body = Vec::new();
    if kind == Kind::DeltaClientState.number() || kind == Kind::TextData.number() {
        body.push(input.u8());
    }
    if kind == Kind::ClientState.number() {
        body.extend_from_slice(&[0, 0]);
    }
    body.extend_from_slice(&[high, low]);
    body.extend_from_slice(input.block());
    with_header(kind, SESSION, &body)
}

fn relay(input: &mut Input<'_>, client: Option<ClientId>) -> Vec<u8> {
    let kind =
        if input.u8() & 1 == 0 { Kind::ServerRelayReliable } else { Kind::ServerRelayUnreliable };
    let to: Vec<_> = input.block().iter().map(|id| ClientId(u16::from(*id))).collect();
    let inside = own(input, client);
    let mut packet = Vec::new();
    Relay::encode_packet(
        kind,
        SessionId::new(SESSION).expect("not zero"),
        &to,
        &inside,
        &mut packet,
    );
    packet
}

fn check_verdict(server: &Server<u8>, peer: u8, packet: &Bytes, verdict: Verdict, sent: &Sent) {
    let count = sent.0.len();
    match verdict {
        Verdict::Applied | Verdict::GroupsRefused { .. } => {}
        Verdict::Relayed { copies } => {
            assert_eq!(copies, count);
            let mut to: Vec<_> = sent.0.iter().map(|(to, ..)| *to).collect();
            to.sort_unstable();
            to.dedup();
            assert_eq!(to.len(), count, "each receiver gets one copy");
            assert!(!to.contains(&peer), "never back to the sender");
            for (_, copy, _) in &sent.0 {
                // A text that names its group is made anew for those who know groups by their ids.
                if packet::open(packet).is_ok_and(|(header, _)| header.kind == Kind::GroupText) {
                    continue;
                }
                let inside = copy.as_ptr() as usize - packet.as_ptr() as usize;
                assert_eq!(
                    &packet[inside..inside + copy.len()],
                    &copy[..],
                    "it is passed on, not made anew"
                );
                let (header, _) = packet::open(copy).expect("what is passed on has a header");
                if header.kind != Kind::TextData {
                    let sender = Routing::read(copy).expect("it names its sender").sender;
                    assert_eq!(Some(sender), server.client_of(peer));
                }
            }
        }
        Verdict::Dropped(DropReason::WrongSession) => assert!(count <= 1),
        Verdict::Dropped(_) => assert_eq!(count, 0),
    }
}

fn check_sent(server: &Server<u8>, actor: u8, sent: &Sent) {
    for (to, packet, _) in &sent.0 {
        assert!(
            *to == actor || server.client_of(*to).is_some(),
            "only connected clients receive anything"
        );
        let (header, _) = packet::open(packet).expect("only packets are sent");
        assert_eq!(header.session, Some(SESSION));
        assert!(header.kind != Kind::HandshakeP2P, "the server never passes on a link's handshake");
    }
}

fn check_table(server: &Server<u8>) {
    let mut clients = BTreeMap::new();
    for peer in 0..PEERS {
        if let Some(client) = server.client_of(peer) {
            assert_ne!(client, ClientId(0));
            assert!(clients.insert(client, peer).is_none(), "two connections share a client id");
        }
    }
    let mut names = BTreeMap::new();
    for member in server.table().members() {
        assert!(clients.contains_key(&member.info.id), "a client in the table is not connected");
        assert!(member.groups.len() <= GROUPS_PER_CLIENT);
        for (id, name) in &member.groups {
            assert_eq!(*id, GroupId::of(name));
            assert_eq!(names.entry(*id).or_insert(name), &name, "two names share an id");
            assert!(server.table().listens(member.info.id, *id));
        }
    }
    assert!(
        server
            .table()
            .groups()
            .all(|(id, name, count)| count > 0 && names.get(&id).is_some_and(|n| *n == name))
    );
}
