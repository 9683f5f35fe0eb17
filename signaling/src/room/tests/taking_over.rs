//! A second connection of the same peer and run.

use voicemesh_wire::packet::{
    self, ClientState, CodecSettings, DeltaClientState, HandshakeRequest, HandshakeResponse, Kind, Relay,
};
use voicemesh_wire::{ClientId, GroupId};

use super::*;

const D: ConnectionId = ConnectionId(4);
const CODEC: CodecSettings = CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };

impl World {
    fn shake_hands(&mut self, connection: ConnectionId, person: u8) {
        let request = HandshakeRequest { codec: CODEC, name: format!("person {person}") };
        self.packet(connection, request.encode());
    }

    fn packet(&mut self, from: ConnectionId, packet: Vec<u8>) -> Verdict {
        self.room.packet(self.now, from, &packet.into(), &mut self.sent)
    }

    fn session(&self) -> SessionId {
        self.room.session().session()
    }

    /// The packets that a connection got since the last time.
    fn got(&mut self, connection: ConnectionId) -> Vec<Bytes> {
        let (its, others) = std::mem::take(&mut self.sent.packets).into_iter().partition(|(to, ..)| *to == connection);
        self.sent.packets = others;
        let its: Vec<_> = its;
        its.into_iter().map(|(_, packet, _)| packet).collect()
    }

    /// Speech of `client` for `to`, by the relay.
    fn speak(&mut self, from: ConnectionId, client: ClientId, to: ClientId) -> Verdict {
        let session = self.session();
        let mut voice = Vec::new();
        let header = packet::VoiceHeader { sender: client, burst: packet::BurstCounter::TwoBit(0), sequence: 7 };
        header.encode_packet(session, &[], &[1, 2, 3], &mut voice);
        let mut relay = Vec::new();
        Relay::encode_packet(Kind::ServerRelayUnreliable, session, &[to], &voice, &mut relay);
        self.packet(from, relay)
    }
}

/// Two people in a room, with a session.
fn room() -> (World, Joined, Joined) {
    let mut world = World::new();
    let first = world.join_as(A, Join { metadata: [("seat".to_owned(), "3".to_owned())].into(), ..join_of(1) });
    let second = world.join(B, 2);
    world.shake_hands(A, 1);
    world.shake_hands(B, 2);
    let session = world.session();
    let joins = DeltaClientState { joins: true, client: first.client, group: "red".to_owned() };
    world.packet(A, joins.encode(session));
    world.told(A);
    world.told(B);
    world.sent.packets.clear();
    (world, first, second)
}

#[test]
fn the_same_run_takes_over_and_the_others_are_sent_nothing() {
    let (mut world, first, _) = room();
    let mark = world.room.mark();
    world.now += Duration::from_secs(3);
    let changed = Join { metadata: [("seat".to_owned(), "9".to_owned())].into(), ..join_of(1) };
    let again = world.join_as(C, changed);
    assert_eq!((again.you, again.client, again.order), (first.you, first.client, first.order));
    assert_eq!(again.session, first.session);
    let metadata = again.taken_over.map(|taken_over| taken_over.metadata);
    assert_eq!(metadata, Some([("seat".to_owned(), "3".to_owned())].into()), "what it published stays");
    assert_eq!(again.roster, mark);
    assert_eq!(world.room.owner(), Some(peer_of(1)));

    // Its handshake asks for the state and changes none: neither the groups nor what the others know.
    world.shake_hands(C, 1);
    assert!(world.told(B).is_empty() && world.got(B).is_empty());
    let got = world.got(C);
    let (header, body) = packet::open(&got[0]).expect("a packet");
    assert_eq!(header.kind, Kind::HandshakeResponse);
    let response = HandshakeResponse::decode(body).expect("a response");
    assert_eq!(response.you, first.client);
    let table = world.room.session().table();
    assert!(table.listens(first.client, GroupId::of("red")), "its groups stay");

    // A state that says the same is not sent to the others either.
    let member = table.member(first.client).expect("a member").to_state();
    let session = world.session();
    world.packet(C, ClientState { ..member }.encode(session));
    assert!(world.got(B).is_empty());
    world.leave(A, LeaveReason::Lost);
    assert!(world.told(B).is_empty(), "the end of the old connection is no departure");
    assert_eq!(world.room.len(), 2);
    assert_eq!(world.room.mark(), mark);
}

#[test]
fn what_is_on_its_way_on_the_old_connection_is_still_taken_and_answers_go_to_the_new_one() {
    let (mut world, first, second) = room();
    world.join(C, 1);
    assert_eq!(world.sent.handed_over, [(A, C)]);
    assert_eq!(world.speak(A, first.client, second.client), Verdict::Relayed { copies: 1 });
    assert_eq!(world.got(B).len(), 1);
    assert_eq!(world.speak(C, first.client, second.client), Verdict::Relayed { copies: 1 });
    world.now += Duration::from_millis(500);
    let dropped = Verdict::Dropped(voicemesh_session::server::DropReason::Outdated);
    assert_eq!(world.speak(A, first.client, second.client), dropped, "speech that comes so late is old");
    world.sent.packets.clear();
    world.speak(B, second.client, first.client);
    assert!(world.got(A).is_empty());
    assert_eq!(world.got(C).len(), 1, "speech to the peer takes the new connection");
    world.told(A);
    world.say(A, ClientMessage::Ping { token: 9 });
    assert_eq!(world.told(A), [ServerMessage::Pong { token: 9 }], "a probe is answered where it was asked");
}

#[test]
fn a_written_message_is_passed_on_once_whichever_connection_brings_it() {
    let (mut world, first, _) = room();
    let session = world.session();
    let text = |words: &str| {
        let recipient = packet::Recipient::Group(GroupId::of("Global"));
        packet::TextData { sender: first.client, recipient, text: words }.encode(session)
    };
    world.packet(A, text("one"));
    world.packet(A, text("two"));
    let joined = world.join(C, 1);
    assert_eq!(joined.taken_over.and_then(|taken_over| taken_over.texts), Some(2));
    let dropped = Verdict::Dropped(voicemesh_session::server::DropReason::Outdated);
    assert_eq!(world.packet(A, text("three")), dropped, "it was on its way on the old one");
    world.packet(C, text("three"));
    let again = world.join(D, 1);
    assert_eq!(again.taken_over.and_then(|taken_over| taken_over.texts), Some(1), "of the connection before");
}

#[test]
fn the_old_connection_is_closed_with_a_code_that_its_peer_knows() {
    let (mut world, ..) = room();
    world.join(C, 1);
    assert!(world.sent.closed.is_empty());
    world.now += Duration::from_millis(1_999);
    world.room.tick(world.now, &mut world.sent);
    assert!(world.sent.closed.is_empty());
    world.now += Duration::from_millis(1);
    world.room.tick(world.now, &mut world.sent);
    assert_eq!(world.sent.closed, [(A, CloseReason::TakenOver)]);
    assert!(world.told(A).iter().all(|message| *message != ServerMessage::Replaced));
    world.leave(A, CloseReason::TakenOver.leave_reason());
    assert_eq!(world.room.len(), 2);
}

#[test]
fn a_chain_of_connections_is_one_member_and_leaves_once() {
    let (mut world, first, second) = room();
    world.join(C, 1);
    let third = world.join(D, 1);
    assert_eq!(third.client, first.client);
    for old in [A, C, D] {
        assert_eq!(world.speak(old, first.client, second.client), Verdict::Relayed { copies: 1 });
    }
    world.told(B);
    world.leave(D, LeaveReason::Lost);
    assert_eq!(world.told(B), [ServerMessage::PeerLeft { peer: peer_of(1), reason: LeaveReason::Lost }]);
    assert_eq!(world.sent.closed, [(A, CloseReason::TakenOver), (C, CloseReason::TakenOver)]);
    assert_eq!(
        world.speak(C, first.client, second.client),
        Verdict::Dropped(voicemesh_session::server::DropReason::NotJoined)
    );
    world.leave(A, LeaveReason::Lost);
    world.leave(C, LeaveReason::Lost);
    assert!(world.told(B).is_empty());
}

#[test]
fn a_connection_that_takes_over_needs_no_password() {
    let (mut world, first, _) = room();
    let digest = crate::room::digest(&"sesame".into(), crate::room::Salt([1; 16])).expect("memory");
    world.room.lock = Some(crate::room::Lock::decided(digest));
    assert_eq!(world.join(C, 1).client, first.client);
}
