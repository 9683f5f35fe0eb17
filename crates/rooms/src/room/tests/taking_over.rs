//! A second connection of the same peer and run.

use voicemesh_wire::packet::{
    self, ClientState, CodecSettings, DeltaClientState, HandshakeRequest, HandshakeResponse, Kind,
    Relay,
};
use voicemesh_wire::signaling::Moderation;
use voicemesh_wire::{ClientId, GroupId};

use super::*;

const D: ConnectionId = ConnectionId(4);
const CODEC: CodecSettings =
    CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };

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
        let (its, others) = std::mem::take(&mut self.sent.packets)
            .into_iter()
            .partition(|(to, ..)| *to == connection);
        self.sent.packets = others;
        let its: Vec<_> = its;
        its.into_iter().map(|(_, packet, _)| packet).collect()
    }

    /// Speech of `client` for `to`, by the relay.
    fn speak(&mut self, from: ConnectionId, client: ClientId, to: ClientId) -> Verdict {
        let session = self.session();
        let mut voice = Vec::new();
        let header = packet::VoiceHeader {
            sender: client,
            talkspurt: packet::TalkspurtCounter::TwoBit(0),
            sequence: 7,
        };
        header.encode_packet(session, &[], &[1, 2, 3], &mut voice);
        let mut relay = Vec::new();
        Relay::encode_packet(Kind::ServerRelayUnreliable, session, &[to], &voice, &mut relay);
        self.packet(from, relay)
    }
}

/// Two people in a room, with a session.
fn room() -> (World, Joined, Joined) {
    let mut world = World::new();
    let first = world
        .join_as(A, Join { metadata: [("seat".to_owned(), "3".to_owned())].into(), ..join_of(1) });
    let second = world.join(B, 2);
    world.shake_hands(A, 1);
    world.shake_hands(B, 2);
    let session = world.session();
    let joins = DeltaClientState { joins: true, client: first.client, group: "red".to_owned() };
    world.packet(A, joins.encode(session));
    world.received(A);
    world.received(B);
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
    assert_eq!(
        metadata,
        Some([("seat".to_owned(), "3".to_owned())].into()),
        "what it published stays"
    );
    assert_eq!(again.roster, mark);
    assert_eq!(world.room.owner(), Some(peer_of(1)));

    // Its handshake asks for the state and changes none: neither the groups nor what the others
    // know.
    world.shake_hands(C, 1);
    assert!(world.received(B).is_empty() && world.got(B).is_empty());
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
    assert!(world.received(B).is_empty(), "the end of the old connection is no departure");
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
    assert_eq!(
        world.speak(A, first.client, second.client),
        dropped,
        "speech that comes so late is old"
    );
    world.sent.packets.clear();
    world.speak(B, second.client, first.client);
    assert!(world.got(A).is_empty());
    assert_eq!(world.got(C).len(), 1, "speech to the peer takes the new connection");
    world.received(A);
    world.say(A, ClientMessage::Ping { token: 9 });
    assert_eq!(
        world.received(A),
        [ServerMessage::Pong { token: 9 }],
        "a probe is answered where it was asked"
    );
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
    assert_eq!(
        again.taken_over.and_then(|taken_over| taken_over.texts),
        Some(1),
        "of the connection before"
    );
}

#[test]
fn written_messages_count_as_read_unless_they_are_refused_at_the_end() {
    let (mut world, first, _) = room();
    let session = world.session();
    let text = |sender: ClientId| {
        let recipient = packet::Recipient::Group(GroupId::of("Global"));
        packet::TextData { sender, recipient, text: "hello" }.encode(session)
    };
    world.packet(A, text(first.client));
    world.room.packet_refused(A, &text(first.client));
    assert!(matches!(world.packet(A, text(ClientId(999))), Verdict::Dropped(_)), "forged");
    assert!(world.room.set_permissions(
        peer_of(1),
        Permissions { data: false, ..Permissions::default() },
        &mut world.sent
    ));
    assert!(matches!(world.packet(A, text(first.client)), Verdict::Dropped(_)), "not permitted");
    world.room.packet_refused(A, &HandshakeRequest { codec: CODEC, name: String::new() }.encode());
    let joined = world.join(C, 1);
    assert_eq!(
        joined.taken_over.and_then(|taken_over| taken_over.texts),
        Some(3),
        "the answer to the fourth may be lost"
    );
}

#[test]
fn texts_refused_at_the_end_are_sent_and_answered_again_on_the_next_connection() {
    let (mut world, first, _) = room();
    let session = world.session();
    let recipient = packet::Recipient::Group(GroupId::of("Global"));
    let text = packet::TextData { sender: first.client, recipient, text: "hello" }.encode(session);
    let permit = |world: &mut World, data| {
        let permissions = Permissions { data, ..Permissions::default() };
        assert!(world.room.set_permissions(peer_of(1), permissions, &mut world.sent));
    };
    let read = |joined: Joined| joined.taken_over.and_then(|taken_over| taken_over.texts);
    world.packet(A, text.clone());
    permit(&mut world, false);
    world.packet(A, text.clone());
    world.packet(A, text.clone());
    // Neither of the two answers arrives.
    world.received(A);
    assert_eq!(read(world.join_as(C, join_of(1))), Some(1));
    world.received(C);
    world.packet(C, text.clone());
    assert_eq!(world.received(C), [Refusal::of(ErrorCode::NotPermitted).of_text(Some(1)).answer()]);
    permit(&mut world, true);
    world.packet(C, text.clone());
    world.room.packet_refused(C, &text);
    world.room.packet_refused(C, &text);
    assert_eq!(
        read(world.join_as(D, join_of(1))),
        Some(2),
        "what was passed on is not sent again, nor what was before it"
    );
    assert_eq!(read(world.join_as(A, join_of(1))), Some(0));
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
    assert!(world.received(A).iter().all(|message| *message != ServerMessage::Replaced));
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
    world.received(B);
    world.leave(D, LeaveReason::Lost);
    assert_eq!(
        world.received(B),
        [ServerMessage::PeerLeft { peer: peer_of(1), reason: LeaveReason::Lost }]
    );
    assert_eq!(world.sent.closed, [(A, CloseReason::TakenOver), (C, CloseReason::TakenOver)]);
    assert_eq!(
        world.speak(C, first.client, second.client),
        Verdict::Dropped(voicemesh_session::server::DropReason::NotJoined)
    );
    world.leave(A, LeaveReason::Lost);
    world.leave(C, LeaveReason::Lost);
    assert!(world.received(B).is_empty());
}

#[test]
fn a_connection_that_takes_over_needs_no_password() {
    let (mut world, first, _) = room();
    let digest = crate::room::digest(&"sesame".into(), crate::room::Salt([1; 16])).expect("memory");
    world.room.lock = Some(crate::room::Lock::decided(Some(digest), 0));
    assert_eq!(world.join(C, 1).client, first.client);
}

/// Packets of 200 bytes that come, one each millisecond, from the first person to the second.
/// `again` is called each 100 ms, and says by which connection the first speaks from then on.
fn spoken(
    world: &mut World,
    seconds: u64,
    mut again: impl FnMut(&mut World, u64) -> ConnectionId,
) -> (usize, usize) {
    let (first, second) = (world.room.session().client_of(A), world.room.session().client_of(B));
    let (first, second) = (first.expect("it is here"), second.expect("it is here"));
    let session = world.session();
    let mut voice = Vec::new();
    let header = packet::VoiceHeader {
        sender: first,
        talkspurt: packet::TalkspurtCounter::TwoBit(0),
        sequence: 7,
    };
    header.encode_packet(session, &[], &[0; 200], &mut voice);
    let mut relay = Vec::new();
    Relay::encode_packet(Kind::ServerRelayUnreliable, session, &[second], &voice, &mut relay);
    let mut speaker = A;
    let (mut packets, mut bytes) = (0, 0);
    for number in 0..seconds * 1_000 {
        world.now += Duration::from_millis(1);
        if number % 100 == 0 {
            speaker = again(world, number / 100);
            world.room.tick(world.now, &mut world.sent);
        }
        world.packet(speaker, relay.clone());
        let got = world.got(B);
        let got = got.iter().filter(|packet| packet[2] == Kind::VoiceData.number());
        got.for_each(|packet| {
            packets += 1;
            bytes += packet.len();
        });
    }
    (packets, bytes)
}

#[test]
fn who_takes_over_again_and_again_speaks_no_more_than_others() {
    let (mut world, ..) = room();
    spoken(&mut world, 12, |_, _| A);
    let (packets, bytes) = spoken(&mut world, 10, |world, number| {
        let connection = ConnectionId(1_000 + number);
        world.join(connection, 1);
        connection
    });
    assert!(
        packets <= 1_105 && (200_000..=240_500).contains(&bytes),
        "{packets} packets, {bytes} bytes in 10 s"
    );
}

#[test]
fn who_comes_again_as_another_run_speaks_no_more_than_others() {
    let (mut world, ..) = room();
    spoken(&mut world, 12, |_, _| A);
    let (packets, bytes) = spoken(&mut world, 10, |world, number| {
        let connection = ConnectionId(1_000 + number);
        world.join_as(connection, Join { run: 1_000 + number as u32, ..join_of(1) });
        world.shake_hands(connection, 1);
        connection
    });
    assert!(
        packets <= 1_105 && (200_000..=240_500).contains(&bytes),
        "{packets} packets, {bytes} bytes in 10 s"
    );
}

#[test]
fn a_snapshot_comes_in_parts_and_each_is_of_its_own_time() {
    let (mut world, first, second) = room();
    let (third, fourth) = (world.join(C, 3), world.join(D, 4));
    world.shake_hands(C, 3);
    world.shake_hands(D, 4);
    let session = world.session();
    let info = |client| packet::ClientInfo { name: String::new(), id: client, codec: CODEC };
    let long = |of: u8| {
        (0..60).map(|number| format!("{of}.{number}.{}", "x".repeat(240))).collect::<Vec<_>>()
    };
    for (connection, client, of) in
        [(A, first.client, 1), (C, third.client, 3), (D, fourth.client, 4)]
    {
        let state = ClientState { client: info(client), groups: long(of) };
        world.packet(connection, state.encode(session));
    }
    world.received(B);
    world.got(B);
    let mut part = Some(Part::default());
    let mut largest = 0;
    let mut states = Vec::new();
    let mut parts = 0;
    while let Some(now) = part.take() {
        part = world.room.refresh(world.now, B, now, &mut world.sent);
        parts += 1;
        let packets = world.got(B);
        assert!(packets.len() <= 1, "one at a time");
        if let Some(packet) = packets.first() {
            largest = largest.max(packet.len());
            let (header, body) = packet::open(packet).expect("a packet");
            if header.kind == Kind::ClientState {
                states.push(ClientState::decode(body).expect("a state"));
            }
        }
        if parts == 3 {
            // Between two parts one member ceases to listen to a group, and another leaves.
            let leaves =
                DeltaClientState { joins: false, client: third.client, group: long(3)[0].clone() };
            world.packet(C, leaves.encode(session));
            world.leave(D, LeaveReason::Left);
            world.got(B);
        }
    }
    assert!(largest < 17_408, "{largest}");
    assert!(parts <= 5, "{parts}");
    assert_eq!(states.len(), 1, "the one that has left is not listed");
    assert_eq!(
        (states[0].client.id, states[0].groups.len()),
        (third.client, 59),
        "as it is when it is sent"
    );
    assert_eq!(world.room.session().client_of(B), Some(second.client));
}

/// How a member that takes over learns what a message said that waited on its dying connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Learns {
    /// `joined` has the state as it is now.
    FromJoined,
    /// Sent anew behind `joined`, as the state is now.
    FromRepeat,
    /// Its own question or change has no answer: the client asks or sends again, or reports that
    /// there was no answer.
    AsksAgain,
    /// It concerns the connection that ends, and nothing else.
    ConcernsTheOldConnection,
}

/// All messages, so that a new one needs a decision here.
fn learns(message: &ServerMessage) -> Learns {
    match message {
        ServerMessage::Joined(_)
        | ServerMessage::PeerJoined { .. }
        | ServerMessage::PeerLeft {
            reason: LeaveReason::Left | LeaveReason::Lost | LeaveReason::Replaced,
            ..
        }
        | ServerMessage::Metadata { .. }
        | ServerMessage::Status { .. }
        | ServerMessage::Locked { .. }
        | ServerMessage::Password(_)
        | ServerMessage::RoomMetadata { .. }
        | ServerMessage::RosterMark(_)
        | ServerMessage::Roster { .. }
        | ServerMessage::IceServers { .. }
        | ServerMessage::Ticket { .. } => Learns::FromJoined,
        // Of members who are here, `joined` says it; of those who have left, no roster does.
        ServerMessage::PeerLeft { .. }
        | ServerMessage::Permissions { .. }
        | ServerMessage::Held { .. }
        | ServerMessage::Move { .. } => Learns::FromRepeat,
        // Metadata is compared with `taken_over` and sent again; a decision without an answer fails
        // after 10 s; a signal that does not come is asked for again (PROTOCOL.md, section 7);
        // refused texts at the end are not counted as read, so that they are sent and answered
        // again.
        ServerMessage::MetadataSet { .. }
        | ServerMessage::Moderated { .. }
        | ServerMessage::Signal { .. }
        | ServerMessage::Error { request: Some(_), .. }
        | ServerMessage::Error { text: Some(_), .. } => Learns::AsksAgain,
        ServerMessage::Error { .. }
        | ServerMessage::GoingAway { .. }
        | ServerMessage::Replaced
        | ServerMessage::Pong { .. } => Learns::ConcernsTheOldConnection,
    }
}

/// Nothing of what waits on a connection reaches its member, from the third message on; then it
/// takes over.
fn taken_over_after(decide: impl FnOnce(&mut World)) -> (Vec<ServerMessage>, Vec<ServerMessage>) {
    let rules = RoomRules { tickets_outlast_restarts: true, ..RoomRules::default() };
    let mut world = World::with(rules);
    world.issue_tickets(1, 0);
    world.join(A, 1);
    world.join(B, 2);
    world.join(C, 3);
    world.join(D, 4);
    world.received(B);
    decide(&mut world);
    let lost = world.received(B);
    let again = ConnectionId(9);
    world.try_join(again, join_of(2)).expect("it takes over");
    (lost, world.received(again))
}

fn moderate(world: &mut World, action: Moderation) {
    world.say(A, ClientMessage::Moderate { request: None, action });
}

#[test]
fn what_waits_on_a_dying_connection_is_known_after_the_takeover() {
    let (you, third) = (peer_of(2), peer_of(3));
    let groups = |name: &str| vec![name.to_owned()];
    let (lost, received) = taken_over_after(|world| {
        moderate(world, Moderation::Mute { peer: you });
        moderate(world, Moderation::Move { peer: you, groups: groups("Red") });
        moderate(world, Moderation::Move { peer: you, groups: groups("Global") });
        moderate(world, Moderation::Lock);
        world.say(
            A,
            ClientMessage::SetRoomMetadata {
                request: None,
                set: [("map".to_owned(), Some("two".to_owned()))].into(),
            },
        );
        world.say(
            A,
            ClientMessage::SetMetadata {
                request: None,
                set: [("seat".to_owned(), Some("4".to_owned()))].into(),
            },
        );
        moderate(world, Moderation::MakeOwner { peer: you });
        world.leave(C, LeaveReason::Lost);
        world.say(
            B,
            ClientMessage::Moderate { request: None, action: Moderation::Mute { peer: third } },
        );
        world.say(
            B,
            ClientMessage::Moderate {
                request: None,
                action: Moderation::Move { peer: third, groups: groups("Red") },
            },
        );
        world.say(
            B,
            ClientMessage::Moderate {
                request: None,
                action: Moderation::Kick { peer: peer_of(4) },
            },
        );
        world.say(
            B,
            ClientMessage::SetMetadata {
                request: Some(1),
                set: [("a".to_owned(), Some("b".to_owned()))].into(),
            },
        );
        world.say(
            B,
            ClientMessage::Moderate {
                request: Some(2),
                action: Moderation::Unmute { peer: third },
            },
        );
        world.say(
            B,
            ClientMessage::Moderate { request: Some(3), action: Moderation::Mute { peer: third } },
        );
        world.say(B, ClientMessage::SetRoomMetadata { request: Some(4), set: BTreeMap::new() });
        world.signal(A, you);
    });
    let lost_and = |how: Learns| lost.iter().filter(|message| learns(message) == how).count();
    for how in [Learns::FromJoined, Learns::FromRepeat, Learns::AsksAgain] {
        assert!(lost_and(how) >= 3, "{how:?}: {lost:?}");
    }
    let [ServerMessage::Joined(joined), behind @ ..] = received.as_slice() else {
        panic!("{received:?}")
    };
    assert!(
        joined.permissions.moderate
            && !joined.permissions.speak
            && joined.held_in.is_empty()
            && joined.locked
    );
    assert!(joined.ticket.is_some() && joined.owner_right.is_held());
    assert_eq!(joined.room_metadata, [("map".to_owned(), "two".to_owned())].into());
    assert_eq!(
        joined.peers.iter().map(|info| info.peer).collect::<Vec<_>>(),
        [peer_of(1)],
        "two have left"
    );
    assert_eq!(joined.peers[0].metadata, [("seat".to_owned(), "4".to_owned())].into());
    let own = joined.taken_over.as_ref().expect("it takes over");
    assert_eq!(own.metadata, [("a".to_owned(), "b".to_owned())].into());
    let [left_lost @ .., ServerMessage::Roster { mark, .. }, moved] = behind else {
        panic!("{behind:?}")
    };
    assert_eq!(
        left_lost,
        [
            ServerMessage::Permissions {
                peer: third,
                permissions: Permissions::default().without_speak()
            },
            ServerMessage::Held { peer: third, groups: groups("Red") },
            ServerMessage::PeerLeft { peer: peer_of(4), reason: LeaveReason::Kicked },
        ]
    );
    assert_eq!(*mark, joined.roster, "the roster's version ends where it began");
    assert_eq!(*moved, ServerMessage::Move { groups: groups("Global"), number: Some(2) });
}

#[test]
fn a_move_is_repeated_to_the_same_run_also_when_the_server_had_lost_it_and_not_to_another_program()
{
    for (run, reason, repeated) in [
        (2, LeaveReason::Lost, true),
        (2, LeaveReason::Left, false),
        (77, LeaveReason::Lost, false),
        (77, LeaveReason::Replaced, false),
    ] {
        let mut world =
            World::with(RoomRules { tickets_outlast_restarts: true, ..RoomRules::default() });
        world.issue_tickets(1, 0);
        world.join(A, 1);
        world.join(B, 2);
        moderate(
            &mut world,
            Moderation::Move { peer: peer_of(2), groups: vec!["Global".to_owned()] },
        );
        if reason != LeaveReason::Replaced {
            world.leave(B, reason);
        }
        world.try_join(C, Join { run, ..join_of(2) }).expect("it comes back");
        let moves = |message: &ServerMessage| {
            matches!(message, ServerMessage::Move { number: Some(1), .. })
        };
        assert_eq!(world.received(C).iter().any(moves), repeated, "{run}, {reason:?}");
    }
}
