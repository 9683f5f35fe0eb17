//! A room under a virtual clock, with an output that remembers.

mod lobby;
mod locked;
mod moderation;
mod publishing;
mod removed_password;
mod rights;
mod seats;
mod signals;
mod status;
mod taking_over;
mod tickets;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::{Delivery, Verdict};
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::packet::{
    self, ClientInfo, ClientState, CodecSettings, HandshakeRequest, Kind, Probe, Recipient, Relay,
    SealedText, SealedWith, TextData,
};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, ErrorCode, IceServer, Join, Joined, LeaveReason, MemberStatus,
    PROTOCOL_VERSION, Presence, RoomPassword, ServerMessage, Signal, decode_server, roster_hash,
};
use voicemesh_wire::{GroupId, PeerId, Permissions, SessionId};

use super::{IceRules, Part, Room, RoomRules, SharedSecret};
use crate::output::{CloseReason, ConnectionId, Purpose, RoomOutput, Text};
use crate::refusal::Refusal;

#[derive(Default)]
struct Sent {
    texts: BTreeMap<ConnectionId, Vec<ServerMessage>>,
    packets: Vec<(ConnectionId, Bytes, Delivery)>,
    closed: Vec<(ConnectionId, CloseReason)>,
    handed_over: Vec<(ConnectionId, ConnectionId)>,
    /// Takes nothing more of other peers.
    busy: Option<ConnectionId>,
    /// Answers that a send queue may leave out.
    hints: usize,
    policed: usize,
}

impl RoomOutput for Sent {
    fn text(&mut self, to: ConnectionId, message: &Text, purpose: Purpose) -> bool {
        if self.refuses(to, purpose) {
            return false;
        }
        self.hints += usize::from(purpose == Purpose::Hint);
        let text = std::str::from_utf8(message.bytes()).expect("messages are UTF-8");
        self.texts
            .entry(to)
            .or_default()
            .push(decode_server(text).expect("we send what we can read"));
        true
    }

    fn packet(
        &mut self,
        to: ConnectionId,
        packet: Bytes,
        delivery: Delivery,
        purpose: Purpose,
    ) -> bool {
        if delivery == Delivery::Reliable && self.refuses(to, purpose) {
            return false;
        }
        self.packets.push((to, packet, delivery));
        true
    }

    fn defer_snapshot(&mut self, _to: ConnectionId) -> bool {
        false
    }

    fn pong(&mut self, to: ConnectionId, message: &Text) {
        self.text(to, message, Purpose::Answer);
    }

    fn count_refusal(&mut self, _code: &ErrorCode) {}

    fn count_policed(&mut self) {
        self.policed += 1;
    }

    fn hand_over(&mut self, from: ConnectionId, to: ConnectionId) {
        self.handed_over.push((from, to));
    }

    fn close(&mut self, to: ConnectionId, reason: CloseReason) {
        self.closed.push((to, reason));
    }
}

impl Sent {
    fn refuses(&self, to: ConnectionId, purpose: Purpose) -> bool {
        self.busy == Some(to) && matches!(purpose, Purpose::From(_))
    }
}

struct World {
    room: Room,
    sent: Sent,
    now: Duration,
}

const CODEC: CodecSettings =
    CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);
const C: ConnectionId = ConnectionId(3);

fn join_of(person: u8) -> Join {
    Join {
        protocol: PROTOCOL_VERSION,
        room: "lobby".to_owned(),
        name: format!("person {person}"),
        proof: prove(&InstallationSecret([person; 32]), "wss://voice.example", "lobby", 0),
        run: u32::from(person),
        capabilities: Capabilities::default(),
        metadata: BTreeMap::new(),
        status: MemberStatus::default(),
        presence: Presence::Either,
        password: None,
        room_metadata: BTreeMap::new(),
        token: None,
        ticket: None,
    }
}

fn peer_of(person: u8) -> PeerId {
    join_of(person).proof.peer_id()
}

impl World {
    fn with(rules: RoomRules) -> Self {
        let session = SessionId::new(0xABCD).expect("not zero");
        Self {
            room: Room::new(Duration::ZERO, Arc::new(rules), session),
            sent: Sent::default(),
            now: Duration::ZERO,
        }
    }

    fn new() -> Self {
        Self::with(RoomRules::default())
    }

    fn try_join(&mut self, connection: ConnectionId, join: Join) -> Result<PeerId, Refusal> {
        self.room.join(self.now, connection, join, None, &mut self.sent)
    }

    /// Sends a whole snapshot; gives its parts.
    fn refresh(&mut self, to: ConnectionId) -> Vec<Part> {
        let first = Some(Part::default());
        std::iter::successors(first, |part| {
            self.room.refresh(self.now, to, part.clone(), &mut self.sent)
        })
        .collect()
    }

    fn join(&mut self, connection: ConnectionId, person: u8) -> Joined {
        self.join_as(connection, join_of(person))
    }

    fn join_as(&mut self, connection: ConnectionId, join: Join) -> Joined {
        self.try_join(connection, join).expect("the join is in order");
        let received = self.received(connection).into_iter().find_map(|message| match message {
            ServerMessage::Joined(joined) => Some(joined),
            _ => None,
        });
        received.expect("a join is answered")
    }

    fn say(&mut self, from: ConnectionId, message: ClientMessage) {
        self.room.message(self.now, from, message, &mut self.sent);
    }

    fn signal(&mut self, from: ConnectionId, to: PeerId) {
        let signal = Signal::Offer { sdp: "v=0".to_owned() };
        self.say(from, ClientMessage::Signal { to, attempt: 1, signal });
    }

    fn enter_session(&mut self, connection: ConnectionId) {
        let handshake = HandshakeRequest { codec: CODEC, name: "another".to_owned() }.encode();
        self.room.packet(self.now, connection, &handshake.into(), &mut self.sent);
    }

    fn leave(&mut self, connection: ConnectionId, reason: LeaveReason) {
        self.room.leave(self.now, connection, reason, &mut self.sent);
    }

    /// What a connection received since the last time.
    fn received(&mut self, connection: ConnectionId) -> Vec<ServerMessage> {
        self.sent.texts.remove(&connection).unwrap_or_default()
    }

    fn refusals(&mut self, connection: ConnectionId) -> Vec<ErrorCode> {
        let codes = self.received(connection).into_iter().filter_map(|message| match message {
            ServerMessage::Error { code, fatal: false, .. } => Some(code),
            _ => None,
        });
        codes.collect()
    }
}

/// proves: U-05, U-06
#[test]
fn a_joiner_gets_everyone_and_everyone_is_told_of_the_joiner_and_of_leavers() {
    let mut world = World::new();
    let first = world.join(A, 1);
    assert!(first.peers.is_empty());
    let second = world.join(B, 2);
    assert_eq!(second.peers.iter().map(|peer| peer.peer).collect::<Vec<_>>(), [peer_of(1)]);
    assert_eq!((second.peers[0].client, second.peers[0].order), (first.client, first.order));
    assert_ne!(first.client, second.client);

    let received = world.received(A);
    let [ServerMessage::PeerJoined { peer }] = &received[..] else { panic!("{received:?}") };
    assert_eq!((peer.peer, peer.client, peer.order), (peer_of(2), second.client, second.order));
    assert!(world.received(B).is_empty(), "no member is reported to itself");

    world.leave(B, LeaveReason::Lost);
    assert_eq!(
        world.received(A),
        [ServerMessage::PeerLeft { peer: peer_of(2), reason: LeaveReason::Lost }]
    );
    world.leave(B, LeaveReason::Lost);
    assert!(world.received(A).is_empty(), "once");
}

#[test]
fn the_owner_is_the_member_present_longest() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    world.join(C, 3);
    assert_eq!(world.room.owner(), Some(peer_of(1)));
    world.leave(A, LeaveReason::Left);
    assert_eq!(world.room.owner(), Some(peer_of(2)));
    let back = world.join(A, 1);
    assert_eq!(world.room.owner(), Some(peer_of(2)));
    assert!(back.peers.iter().map(|peer| peer.order).is_sorted(), "in order of arrival");
    assert!(back.peers.iter().all(|peer| peer.order < back.order));
}

/// proves: S-01
#[test]
fn a_peer_that_comes_back_has_its_peer_id_and_soon_enough_its_client_id() {
    let mut world = World::new();
    let first = world.join(A, 1);
    world.join(B, 2);
    world.leave(A, LeaveReason::Lost);
    world.now += Duration::from_secs(59);
    let again = world.join(C, 1);
    assert_eq!((again.you, again.client, again.session), (first.you, first.client, first.session));
}

#[test]
fn another_run_of_a_peer_replaces_the_first() {
    let mut world = World::new();
    let first = world.join(A, 1);
    world.join(B, 2);
    world.received(A);
    let again = world.join_as(C, Join { run: 77, ..join_of(1) });
    assert_eq!((again.you, again.client, again.order), (first.you, first.client, first.order));
    assert_eq!(world.received(A), [ServerMessage::Replaced]);
    assert_eq!(world.sent.closed, [(A, CloseReason::Replaced)]);
    let received = world.received(B);
    let [
        ServerMessage::PeerLeft { reason: LeaveReason::Replaced, .. },
        ServerMessage::PeerJoined { peer },
    ] = &received[..]
    else {
        panic!("{received:?}")
    };
    assert_eq!(peer.peer, peer_of(1));
    world.leave(A, LeaveReason::Lost);
    assert!(world.received(B).is_empty(), "the end of the replaced connection is no departure");
    assert_eq!(world.room.len(), 2);
}

#[test]
fn a_full_room_takes_back_its_members_but_no_newcomer() {
    let mut rules = RoomRules::default();
    rules.limits.peers_per_room = 2;
    let mut world = World::with(rules);
    world.join(A, 1);
    world.join(B, 2);
    assert_eq!(
        world.try_join(C, join_of(3)).map_err(|refusal| refusal.code),
        Err(ErrorCode::RoomFull)
    );
    world.join(C, 2);
}

#[test]
fn a_join_can_ask_for_members_or_for_none() {
    let mut world = World::new();
    let with = |person, presence| Join { presence, ..join_of(person) };
    let code = |result: Result<PeerId, Refusal>| result.map_err(|refusal| refusal.code);
    assert_eq!(code(world.try_join(A, with(1, Presence::MustExist))), Err(ErrorCode::RoomMissing));
    assert!(world.try_join(A, with(1, Presence::MustNotExist)).is_ok());
    assert_eq!(
        code(world.try_join(B, with(2, Presence::MustNotExist))),
        Err(ErrorCode::RoomExists)
    );
    assert!(
        world.try_join(C, with(1, Presence::MustNotExist)).is_ok(),
        "its own old connection is no other member"
    );
    assert!(world.try_join(B, with(2, Presence::MustExist)).is_ok());
}

#[test]
fn a_signal_reaches_one_peer_under_its_senders_true_id() {
    let mut world = World::new();
    for (connection, person) in [(A, 1), (B, 2), (C, 3)] {
        world.join(connection, person);
    }
    for connection in [A, B, C] {
        world.received(connection);
    }
    world.signal(A, peer_of(2));
    let received = world.received(B);
    assert!(
        matches!(&received[..], [ServerMessage::Signal { from, attempt: 1, .. }] if *from == peer_of(1)),
        "{received:?}"
    );
    assert!(world.received(A).is_empty() && world.received(C).is_empty());

    world.signal(A, peer_of(9));
    world.signal(A, peer_of(1));
    assert_eq!(world.refusals(A), [ErrorCode::UnknownPeer, ErrorCode::UnknownPeer]);
}

#[test]
fn a_receiver_that_is_behind_is_refused_by_name_once_a_second_and_the_others_are_served() {
    let mut world = World::new();
    let sender = world.join(A, 1);
    let session = SessionId::new(sender.session).expect("not zero");
    let receivers = [world.join(B, 2).client, world.join(C, 3).client];
    [A, B, C].into_iter().for_each(|connection| world.enter_session(connection));
    world.sent.busy = Some(B);
    world.received(A);
    world.sent.packets.clear();
    let mut inside = Probe { sender: sender.client, token: 1 }.encode(session);
    inside[2] = Kind::Unassigned(50).number();
    let mut packet = Vec::new();
    Relay::encode_packet(Kind::ServerRelayReliable, session, &receivers, &inside, &mut packet);
    for _ in 0..10 {
        let verdict = world.room.packet(world.now, A, &packet.clone().into(), &mut world.sent);
        assert_eq!(verdict, Verdict::Relayed { copies: 1 });
    }
    assert_eq!(world.refusals(A), [ErrorCode::ReceiverBusy]);
    assert_eq!(world.sent.packets.iter().filter(|(to, ..)| *to == C).count(), 10);
    world.now += Duration::from_secs(1);
    world.room.packet(world.now, A, &packet.into(), &mut world.sent);
    assert_eq!(world.refusals(A), [ErrorCode::ReceiverBusy]);
}

#[test]
fn each_written_message_that_its_receiver_did_not_take_is_named_by_its_number() {
    let mut world = World::new();
    let sender = world.join(A, 1);
    let session = SessionId::new(sender.session).expect("not zero");
    let receiver = world.join(B, 2).client;
    [A, B].into_iter().for_each(|connection| world.enter_session(connection));
    world.sent.busy = Some(B);
    world.received(A);
    let write = |world: &mut World, recipient| {
        let text = TextData { sender: sender.client, recipient, text: "hi" }.encode(session);
        world.room.packet(world.now, A, &text.into(), &mut world.sent);
    };
    (0..3).for_each(|_| write(&mut world, Recipient::Client(receiver)));
    let refused = |number| Refusal::receiver_busy(peer_of(2)).of_text(Some(number)).answer();
    assert_eq!(world.received(A), [refused(1), refused(2), refused(3)]);
    // Of what goes to many, one receiver that did not take it is named once a second.
    world.now += Duration::from_secs(1);
    let global = Recipient::Group(GroupId::of("Global"));
    (0..3).for_each(|_| write(&mut world, global));
    assert_eq!(world.received(A), [refused(4)]);
    assert_eq!(
        world.room.packet_refused(
            A,
            &TextData { sender: sender.client, recipient: global, text: "hi" }.encode(session)
        ),
        Some(7)
    );
    assert_eq!(world.room.packet_refused(A, &[]), None);
}

#[test]
fn sealed_texts_have_the_rate_and_the_answers_of_texts() {
    let mut world = World::new();
    let sender = world.join(A, 1);
    let session = SessionId::new(sender.session).expect("not zero");
    let receiver = world.join(B, 2).client;
    [A, B].into_iter().for_each(|connection| world.enter_session(connection));
    world.received(A);
    world.sent.packets.clear();
    let write = |world: &mut World| {
        let text = SealedText { sender: sender.client, key: SealedWith::PairKey, sealed: &[0; 20] };
        let mut packet = Vec::new();
        let kind = Kind::ServerRelayReliable;
        Relay::encode_packet(kind, session, &[receiver], &text.encode(session), &mut packet);
        world.room.packet(world.now, A, &packet.into(), &mut world.sent);
    };
    (0..203).for_each(|_| write(&mut world));
    assert_eq!(world.sent.packets.len(), 200);
    let refused = |number| Refusal::receiver_busy(peer_of(2)).of_text(Some(number)).answer();
    assert_eq!(world.received(A), [refused(201), refused(202), refused(203)]);
    assert!(world.room.set_permissions(
        peer_of(1),
        Permissions { data: false, ..Permissions::ALL },
        &mut world.sent
    ));
    world.received(A);
    write(&mut world);
    let refused = Refusal::of(ErrorCode::NotPermitted).of_text(Some(204)).answer();
    assert_eq!(world.received(A), [refused]);
}

#[test]
fn what_is_written_without_the_permission_is_refused_by_its_number() {
    let mut world = World::new();
    let sender = world.join(A, 1);
    let session = SessionId::new(sender.session).expect("not zero");
    let receiver = world.join(B, 2).client;
    [A, B].into_iter().for_each(|connection| world.enter_session(connection));
    assert!(world.room.set_permissions(
        peer_of(1),
        Permissions { data: false, ..Permissions::ALL },
        &mut world.sent
    ));
    world.received(A);
    let text =
        TextData { sender: sender.client, recipient: Recipient::Client(receiver), text: "hi" }
            .encode(session);
    world.room.packet(world.now, A, &text.into(), &mut world.sent);
    assert_eq!(world.received(A), [Refusal::of(ErrorCode::NotPermitted).of_text(Some(1)).answer()]);
}

#[test]
fn the_session_knows_a_member_by_the_name_of_its_join() {
    let mut world = World::new();
    let joined = world.join(A, 1);
    let session = SessionId::new(joined.session).expect("not zero");
    let handshake = HandshakeRequest { codec: CODEC, name: "\u{202e}admin".to_owned() }.encode();
    world.room.packet(world.now, A, &handshake.into(), &mut world.sent);
    let client = ClientInfo { name: "\n".to_owned(), id: joined.client, codec: CODEC };
    let state = ClientState { client, groups: Vec::new() }.encode(session);
    world.room.packet(world.now, A, &state.into(), &mut world.sent);
    let member = world.room.session().table().member(joined.client).expect("it is there");
    assert_eq!(member.info.name, "person 1");
}

#[test]
fn a_snapshot_holds_the_roster_the_metadata_and_the_session() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    let handshake = HandshakeRequest { codec: CODEC, name: String::new() }.encode();
    world.room.packet(world.now, A, &handshake.into(), &mut world.sent);
    world.received(A);
    world.sent.packets.clear();
    world.refresh(A);
    let received = world.received(A);
    let [
        ServerMessage::Roster { peers, .. },
        ServerMessage::RoomMetadata { .. },
        ServerMessage::Locked { locked: false },
        ServerMessage::Password(RoomPassword { set: false, number: 0 }),
    ] = &received[..]
    else {
        panic!("{received:?}");
    };
    assert_eq!(peers.len(), 2);
    let kinds: Vec<_> = world
        .sent
        .packets
        .iter()
        .map(|(_, packet, _)| packet::open(packet).expect("ours").0.kind)
        .collect();
    assert_eq!(kinds, [Kind::HandshakeResponse]);
}

#[test]
fn a_slow_receiver_is_lost_and_not_put_out() {
    assert_eq!(CloseReason::SlowConsumer.leave_reason(), LeaveReason::Lost);
}

/// proves: S-14
#[test]
fn nothing_that_shows_an_address_passes_to_or_from_a_relay_only_peer() {
    let mut world = World::new();
    let hidden = Capabilities { relay_only: true, ..Capabilities::default() };
    world.join(A, 1);
    world.try_join(B, Join { capabilities: hidden, ..join_of(2) }).expect("the join is in order");
    world.received(A);
    world.received(B);
    let signals = [
        Signal::Offer { sdp: "v=0".to_owned() },
        Signal::Answer { sdp: "v=0".to_owned() },
        Signal::Candidate {
            candidate: "candidate:1".to_owned(),
            sdp_mid: None,
            sdp_m_line_index: None,
        },
        Signal::EndOfCandidates,
        Signal::RequestOffer,
    ];
    for signal in signals {
        world.say(A, ClientMessage::Signal { to: peer_of(2), attempt: 1, signal: signal.clone() });
        world.say(B, ClientMessage::Signal { to: peer_of(1), attempt: 1, signal });
        assert_eq!(world.refusals(A), [ErrorCode::RelayOnly]);
        assert_eq!(world.refusals(B), [ErrorCode::RelayOnly]);
    }
}

/// proves: S-14
#[test]
fn a_relay_only_server_passes_no_signal_and_names_no_ice_server() {
    let ice = voicemesh_wire::signaling::IceServer {
        urls: vec!["stun:s".into()],
        username: None,
        credential: None,
    };
    let mut world = World::with(RoomRules {
        relay_only: true,
        ice: IceRules { fixed: vec![ice], shared: None },
        ..RoomRules::default()
    });
    world.join(A, 1);
    let joined = world.join(B, 2);
    assert!(joined.relay_only && joined.ice_servers.is_empty());
    world.received(A);
    world.signal(B, peer_of(1));
    assert!(world.received(A).is_empty());
    assert_eq!(world.refusals(B), [ErrorCode::RelayOnly]);
}

#[test]
fn metadata_is_told_to_all_and_a_change_that_does_not_fit_changes_nothing() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    world.received(A);
    let set = |key: &str, value: &str| ClientMessage::SetMetadata {
        request: None,
        set: [(key.to_owned(), Some(value.to_owned()))].into(),
    };
    world.say(A, set("seat", "3"));
    let metadata: BTreeMap<String, String> = [("seat".to_owned(), "3".to_owned())].into();
    let expected =
        [ServerMessage::Metadata { peer: peer_of(1), metadata: metadata.clone(), changes: 1 }];
    assert_eq!(world.received(A), expected);
    assert_eq!(world.received(B), expected);
    world.say(A, set("long", &"x".repeat(8190)));
    assert_eq!(world.refusals(A), [ErrorCode::BadMetadata]);
    assert!(world.received(B).is_empty());
    assert_eq!(world.join(C, 3).peers[0].metadata, metadata);
}

#[test]
fn a_client_that_counts_and_hashes_agrees_with_every_mark() {
    let mut world = World::new();
    let joined = world.join(A, 1);
    world.join(B, 2);
    world.join(C, 3);
    world.leave(B, LeaveReason::Lost);
    world.say(
        C,
        ClientMessage::SetMetadata {
            request: None,
            set: [("k".to_owned(), Some("v".to_owned()))].into(),
        },
    );
    world.room.tick(world.now, &mut world.sent);
    let received = world.received(A);
    let Some((ServerMessage::RosterMark(mark), changes)) = received.split_last() else {
        panic!("{received:?}")
    };
    assert_eq!(mark.version, joined.roster.version + changes.len() as u64);

    world.say(A, ClientMessage::Roster);
    let received = world.received(A);
    let [ServerMessage::Roster { mark: with_peers, peers }] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(with_peers, mark);
    assert_eq!(roster_hash(peers), mark.hash);
    assert_eq!(peers.iter().map(|peer| peer.peer).collect::<Vec<_>>(), [peer_of(1), peer_of(3)]);
    assert_ne!(joined.roster.hash, mark.hash);
}

#[test]
fn the_mark_comes_every_five_seconds() {
    let mut world = World::new();
    world.join(A, 1);
    world.received(A);
    for _ in 0..600 {
        world.now += Duration::from_millis(100);
        world.room.tick(world.now, &mut world.sent);
    }
    assert_eq!(world.received(A).len(), 12);
}

#[test]
fn leaving_is_told_with_its_reason_and_ends_the_connection() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    world.received(A);
    world.say(B, ClientMessage::Leave);
    assert_eq!(
        world.received(A),
        [ServerMessage::PeerLeft { peer: peer_of(2), reason: LeaveReason::Left }]
    );
    assert_eq!(world.sent.closed, [(B, CloseReason::Left)]);
    world.say(B, ClientMessage::Roster);
    assert!(world.received(B).is_empty(), "who has left is not answered");
}

#[test]
fn an_empty_room_is_over_when_no_client_id_rests_in_it_any_more() {
    let mut world = World::new();
    world.join(A, 1);
    assert!(!world.room.is_over(Duration::from_secs(3_600)));
    world.now = Duration::from_secs(100);
    world.leave(A, LeaveReason::Lost);
    assert!(!world.room.is_over(Duration::from_secs(159)));
    assert!(world.room.is_over(Duration::from_secs(160)));
    world.join(B, 2);
    assert!(!world.room.is_over(Duration::from_secs(160)));
}

#[test]
fn a_connection_that_is_not_in_the_room_is_not_listened_to() {
    let mut world = World::new();
    world.join(A, 1);
    world.received(A);
    world.signal(B, peer_of(1));
    let verdict =
        world.room.packet(world.now, B, &Bytes::from_static(b"nonsense"), &mut world.sent);
    assert!(matches!(verdict, Verdict::Dropped(_)));
    assert!(
        world.received(A).is_empty()
            && world.received(B).is_empty()
            && world.sent.packets.is_empty()
    );
}

#[test]
fn credentials_are_renewed_for_each_member_before_they_expire() {
    let shared =
        SharedSecret::new(vec!["turn:turn.example".to_owned()], "secret", Duration::from_secs(100));
    let stun =
        IceServer { urls: vec!["stun:stun.example".to_owned()], username: None, credential: None };
    let ice = IceRules { fixed: vec![stun.clone()], shared: Some(shared) };
    let mut world = World::with(RoomRules { ice, ..RoomRules::default() });
    let username = |servers: &[IceServer]| servers[1].username.clone().expect("it is named");
    world.room.set_unix_time(1_000);
    let first = world.join(A, 1);
    let second = world.join(B, 2);
    let name = username(&first.ice_servers);
    assert!(name.starts_with("1100:") && name.ends_with(&first.you.to_string()), "{name}");
    assert_ne!(username(&second.ice_servers), name, "each has its own");
    let mut tick = |unix: u64| {
        world.sent.texts.clear();
        world.room.set_unix_time(unix);
        world.room.tick(world.now, &mut world.sent);
        let renewed = |message: &ServerMessage| match message {
            ServerMessage::IceServers { ice_servers } => Some(ice_servers.clone()),
            _ => None,
        };
        [A, B].map(|to| world.sent.texts.get(&to).and_then(|texts| texts.iter().find_map(renewed)))
    };
    assert_eq!(tick(1_049), [None, None], "half of the lifetime is not over");
    let [renewed, other] = tick(1_050);
    let renewed = renewed.expect("new ones");
    assert_eq!(renewed[0], stun);
    assert!(username(&renewed).starts_with("1150:") && other.is_some());
    assert_eq!(tick(1_060), [None, None], "once");
    assert!(tick(500).iter().all(Option::is_some), "the clock was set back");
}
