//! Attacks by the server and by members against a peer that encrypts.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use voicemesh_e2ee::{Configuration, KeyRing, Label, RESTARTS_AT_ONCE, RoomKey, Seed};
use voicemesh_sealing::{ForServer, Outgoing};
use voicemesh_session::Abilities;
use voicemesh_wire::packet::{
    self, DataMessage, KeyPackage, Kind, Relay, SealedText, SealedWith, TalkspurtCounter, Target,
    TargetKind, VoiceHeader,
};
use voicemesh_wire::signaling::{Capabilities, LeaveReason, PeerInfo, ServerMessage};

use super::*;
use crate::checks::{Check, without};

mod published;
mod sealed_packets;

const ORIGIN: &str = "wss://192.168.1.5:8080";
const BO: ClientId = ClientId(2);

/// Ada, who encrypts, and what Bo and the server send her.
struct Room {
    mesh: Mesh,
    generation: u32,
    now: Duration,
    /// What the session has of Bo: what he can do, and may.
    bo: (Abilities, Permissions),
}

fn session() -> SessionId {
    SessionId::new(7).expect("not zero")
}

pub(crate) fn peer(number: u8) -> PeerId {
    prove(&InstallationSecret([number; 32]), ORIGIN, "room", 0).peer_id()
}

pub(crate) fn ring(number: u8, room_key: Option<RoomKey>, seed: u16) -> KeyRing {
    let mut bytes = [number; 32];
    bytes[..2].copy_from_slice(&seed.to_be_bytes());
    let configuration = Configuration {
        secret: &InstallationSecret([number; 32]),
        origin: ORIGIN,
        room: "room",
        instance: 0,
        peer: peer(number),
        room_key,
        max_members: 8,
    };
    KeyRing::new(configuration, Seed::new(bytes))
}

/// Bo, as the server has him.
fn bo(announced: Option<&KeyRing>, e2ee: bool) -> PeerInfo {
    let metadata = announced.map(|ring| {
        (ANNOUNCEMENT_KEY.to_owned(), URL_SAFE_NO_PAD.encode(ring.announcement(session())))
    });
    PeerInfo {
        peer: peer(2),
        client: BO,
        run: 1,
        name: "Bo".to_owned(),
        metadata: metadata.into_iter().collect(),
        capabilities: Capabilities { data: true, e2ee, ..Capabilities::default() },
        order: 2,
        status: MemberStatus::default(),
        permissions: Permissions::default(),
        held_in: Vec::new(),
    }
}

impl Room {
    fn new(key: Option<RoomKey>) -> Self {
        Self::with(Mesh::encrypted(Self::config(), ring(7, key, 0), None))
    }

    /// Ada does not encrypt.
    fn plain() -> Self {
        Self::with(Mesh::new(Self::config()))
    }

    fn config() -> MeshConfig {
        MeshConfig { proof_without_tls: None, relay_only: true, ..config() }
    }

    fn with(mut mesh: Mesh) -> Self {
        mesh.connect(Duration::ZERO);
        let Some(MeshOutput::OpenSocket { generation }) = mesh.poll_output() else {
            panic!("it does not connect")
        };
        let bo = (Abilities::NONE, Permissions::default());
        let mut room = Self { mesh, generation, now: Duration::ZERO, bo };
        let connection = ServerConnection::new(true, false, None);
        for event in [SocketEvent::Connected(connection), SocketEvent::Open] {
            room.happens(event);
        }
        let answer = joined(&room.mesh, "");
        room.happens(SocketEvent::Text(answer));
        room
    }

    fn happens(&mut self, event: SocketEvent) {
        let event = CarrierEvent::Socket { generation: self.generation, event };
        self.mesh.handle(self.now, event);
    }

    fn says(&mut self, message: &ServerMessage) {
        self.happens(SocketEvent::Text(message.to_json()));
    }

    /// The server says that Bo is here, with this announcement.
    fn bo_joins(&mut self, announced: Option<&KeyRing>) {
        self.bo_joins_as(announced, announced.is_some());
    }

    fn bo_joins_as(&mut self, announced: Option<&KeyRing>, e2ee: bool) {
        self.says(&ServerMessage::PeerJoined { peer: bo(announced, e2ee) });
        self.turn();
    }

    fn bo_publishes(&mut self, ring: &KeyRing) {
        let announcement = URL_SAFE_NO_PAD.encode(ring.announcement(session()));
        self.says(&ServerMessage::Metadata {
            peer: peer(2),
            metadata: [(ANNOUNCEMENT_KEY.to_owned(), announcement)].into(),
            changes: 1,
        });
        self.turn();
    }

    fn bo_leaves(&mut self) {
        self.says(&ServerMessage::PeerLeft { peer: peer(2), reason: LeaveReason::Left });
        self.turn();
    }

    /// A package of keys comes from Bo, that no one can open.
    fn bo_gives_keys(&mut self, ring: &KeyRing) {
        let announcement = ring.announcement(session());
        let package = KeyPackage { sender: BO, announcement: &announcement, package: &[0; 90] };
        self.happens(SocketEvent::Packet(package.encode(session()).into()));
    }

    /// Gives the session what is there, and runs timers. Returns the packets that it gets.
    fn turn(&mut self) -> Vec<Bytes> {
        self.now += Duration::from_millis(1);
        self.mesh.update(self.now);
        let mut packets = Vec::new();
        while let Some(event) = self.mesh.poll_network_event() {
            match event {
                NetworkEvent::FromServer(packet) => packets.push(packet),
                NetworkEvent::RosterChanged(roster) => {
                    let bo = Some(peer(2));
                    self.bo = (roster.abilities(bo), roster.permissions(bo));
                }
                _ => {}
            }
        }
        packets
    }

    /// Whether the session is given a plain packet that names Bo as its sender.
    fn takes(&mut self, packet: Vec<u8>) -> bool {
        self.happens(SocketEvent::Packet(packet.clone().into()));
        let taken = self.turn().contains(&packet.into());
        taken && self.bo.1.data
    }

    fn takes_text(&mut self) -> bool {
        let recipient = Recipient::Client(ClientId(1));
        self.takes(TextData { sender: BO, recipient, text: "it is me" }.encode(session()))
    }

    fn state(&self) -> Option<MemberEncryption> {
        self.mesh.encryption_of(peer(2))
    }

    /// The packages of keys that were sent since the last look.
    fn packages(&mut self) -> usize {
        let outputs = std::iter::from_fn(|| self.mesh.poll_output());
        let is_package = |output: MeshOutput| {
            let MeshOutput::SendPacket { packet, .. } = output else { return false };
            let Ok((header, body)) = packet::open(&packet) else { return false };
            header.kind == Kind::ServerRelayReliable
                && packet::open(Relay::decode(body).expect("a relay").packet)
                    .is_ok_and(|(header, _)| header.kind == Kind::KeyPackage)
        };
        outputs.map(is_package).filter(|is| *is).count()
    }
}

/// Ada, and Bo who encrypted, and of whom the server says that he came back without.
fn stripped(key: Option<RoomKey>) -> Room {
    let mut room = Room::new(key.clone());
    let bo = ring(2, key, 0);
    room.bo_joins(Some(&bo));
    assert_eq!(room.state(), Some(MemberEncryption::Waiting));
    assert!(!room.takes_text());
    room.bo_leaves();
    room.bo_joins(None);
    assert_eq!(room.state(), Some(MemberEncryption::Stopped), "and not unable");
    room
}

#[test]
fn a_server_that_says_a_member_came_back_without_encryption_cannot_speak_in_its_place() {
    for key in [None, room_key()] {
        let mut room = stripped(key);
        assert!(!room.takes_text() && !room.bo.1.speak && !room.bo.1.listen);
    }
    let is_taken = without(Some(Check::EncryptedBefore), || stripped(None).takes_text());
    assert!(is_taken, "otherwise it is stopped by something else");
}

#[test]
fn nothing_is_sent_unsealed_to_a_member_of_whom_the_server_says_that_it_cannot_encrypt() {
    let speech = Bytes::from(speech());
    let sent = |mut room: Room, check| {
        let mut outgoing = Outgoing::new(&speech);
        let now = room.now;
        without(check, || room.mesh.seal_for_link(now, &mut outgoing, peer(2)))
    };
    for key in [None, room_key()] {
        let never_able = |key| {
            let mut room = Room::new(key);
            room.bo_joins(None);
            room
        };
        assert_eq!(sent(never_able(key.clone()), None), None);
        assert_eq!(sent(stripped(key.clone()), None), None);
        for room in [never_able(key.clone()), stripped(key)] {
            assert_eq!(sent(room, Some(Check::Accepted)).as_ref(), Some(&speech));
        }
    }
}

/// What Ada sends Bo on a link in place of a packet.
fn sent_to_bo(room: &mut Room, packet: &[u8]) -> Option<Bytes> {
    let packet = Bytes::copy_from_slice(packet);
    let mut outgoing = Outgoing::new(&packet);
    let now = room.now;
    room.mesh.seal_for_link(now, &mut outgoing, peer(2))
}

/// What Ada sends the server in place of this packet for Bo.
fn relayed_to_bo(room: &mut Room, packet: &[u8]) -> Vec<ForServer> {
    let mut relayed = Vec::new();
    let kind = Kind::ServerRelayUnreliable;
    Relay::encode_packet(kind, session(), &[BO], packet, &mut relayed);
    let Mesh { encryption: Some(encryption), roster, .. } = &mut room.mesh else {
        panic!("she encrypts")
    };
    encryption.seal_for_server(room.now, relayed.into(), roster)
}

fn speech() -> Vec<u8> {
    let target = Target::plain(TargetKind::Group(voicemesh_wire::GroupId::of("Global")));
    let header =
        VoiceHeader { sender: ClientId(1), talkspurt: TalkspurtCounter::SevenBit(0), sequence: 1 };
    let mut speech = Vec::new();
    header.encode_packet(session(), &[target], &[7; 40], &mut speech);
    speech
}

/// The user lets the server hear what is said to Bo, who cannot encrypt.
#[test]
fn who_is_allowed_to_hear_unencrypted_gets_speech_and_nothing_else_until_it_leaves() {
    let mut room = Room::new(None);
    let speech = speech();
    let data = DataMessage { sender: ClientId(1), on: None, payload: b"x" }.encode(session());
    let recipient = Recipient::Client(BO);
    let text = TextData { sender: ClientId(1), recipient, text: "hello" }.encode(session());
    assert!(!room.mesh.allow_unencrypted(peer(2), Some("Bo")), "he is not there yet");
    room.bo_joins(None);
    room.turn();
    assert!(!room.bo.1.listen);
    assert!(relayed_to_bo(&mut room, &speech).is_empty());

    assert!(!room.mesh.allow_unencrypted(peer(2), Some("Ben")), "that was another");
    assert!(room.mesh.allow_unencrypted(peer(2), Some("Bo")));
    room.turn();
    assert_eq!(room.state(), Some(MemberEncryption::Unencrypted));
    assert!(room.bo.1.listen && !room.bo.0.takes_data);
    assert_eq!(sent_to_bo(&mut room, &speech).as_deref(), Some(&speech[..]));
    let relayed = relayed_to_bo(&mut room, &speech);
    let [ForServer::Packet(packet)] = &relayed[..] else { panic!("{relayed:?}") };
    let (_, body) = packet::open(packet).expect("a packet");
    let relay = Relay::decode(body).expect("a relay");
    assert_eq!(relay.packet, &speech[..]);
    assert_eq!(relay.destinations.iter().collect::<Vec<_>>(), [BO]);
    for other in [&data, &text] {
        assert_eq!(sent_to_bo(&mut room, other), None);
        assert!(relayed_to_bo(&mut room, other).is_empty());
    }

    assert!(room.mesh.allow_unencrypted(peer(2), None));
    room.turn();
    assert_eq!((room.state(), room.bo.1.listen), (Some(MemberEncryption::Unable), false));
    assert_eq!(sent_to_bo(&mut room, &speech), None);

    room.mesh.allow_unencrypted(peer(2), Some("Bo"));
    room.bo_leaves();
    room.bo_joins(None);
    assert_eq!(room.state(), Some(MemberEncryption::Unable), "who comes back is asked about again");
    assert_eq!(sent_to_bo(&mut room, &speech), None);
}

/// A member that starts again is another one, also where the server tells of both at once; so is one
/// that had another name meanwhile.
#[test]
fn a_permission_to_hear_unencrypted_is_for_one_stay_under_one_name() {
    let speech = speech();
    let allowed = || {
        let mut room = Room::new(None);
        room.bo_joins(None);
        assert!(room.mesh.allow_unencrypted(peer(2), Some("Bo")));
        room.turn();
        std::iter::from_fn(|| room.mesh.poll_event()).for_each(drop);
        room
    };
    let mut again = allowed();
    let back = ServerMessage::PeerJoined { peer: PeerInfo { run: 2, ..bo(None, false) } };
    again.says(&back);
    assert_eq!(sent_to_bo(&mut again, &speech), None, "before a turn as well");
    assert!(relayed_to_bo(&mut again, &speech).is_empty());
    again.turn();
    assert_eq!(again.state(), Some(MemberEncryption::Unable));
    let said = std::iter::from_fn(|| again.mesh.poll_event()).any(|event| {
        matches!(event, MeshEvent::EncryptionChanged { encryption: MemberEncryption::Unable, .. })
    });
    assert!(said, "the question comes again");

    let mut renamed = allowed();
    for name in ["Ben", "Bo"] {
        let named = PeerInfo { name: name.to_owned(), ..bo(None, false) };
        renamed.says(&ServerMessage::PeerJoined { peer: named });
        renamed.turn();
        assert_eq!(sent_to_bo(&mut renamed, &speech), None, "{name}");
    }
    let mut able = allowed();
    for is_able in [true, false] {
        able.says(&ServerMessage::PeerJoined { peer: bo(None, is_able) });
        able.turn();
        assert_eq!(sent_to_bo(&mut able, &speech), None, "able: {is_able}");
    }
}

/// The server claims of a member, or the member shows, that the permission is no longer for it.
#[test]
fn a_permission_to_hear_unencrypted_ends_where_the_member_encrypts_and_holds_for_none_who_did() {
    let speech = speech();
    let allowed = |room: &mut Room| {
        room.bo_joins(None);
        assert!(room.mesh.allow_unencrypted(peer(2), Some("Bo")));
        room.turn();
    };
    let mut with_key = Room::new(room_key());
    with_key.bo_joins(None);
    assert!(!with_key.mesh.allow_unencrypted(peer(2), Some("Bo")));
    assert_eq!(with_key.state(), Some(MemberEncryption::Unable));
    assert_eq!(sent_to_bo(&mut with_key, &speech), None);
    assert!(relayed_to_bo(&mut with_key, &speech).is_empty());

    let mut encrypts = Room::new(None);
    allowed(&mut encrypts);
    encrypts.bo_publishes(&ring(2, None, 0));
    let sealed = sent_to_bo(&mut encrypts, &speech);
    assert!(sealed.is_some_and(|sealed| sealed != speech), "it is sealed from now on");

    let mut did = stripped(None);
    assert!(!did.mesh.allow_unencrypted(peer(2), Some("Bo")));
    assert_eq!(did.state(), Some(MemberEncryption::Stopped));
    assert_eq!(sent_to_bo(&mut did, &speech), None);
}

#[test]
fn data_of_a_member_that_never_encrypted_is_not_taken_and_what_is_for_it_waits() {
    let mut room = Room::new(None);
    room.bo_joins(None);
    assert_eq!(room.state(), Some(MemberEncryption::Unable));
    assert!(room.takes_text(), "what it writes is");
    let message = DataMessage { sender: BO, on: None, payload: b"x" }.encode(session());
    assert!(!room.takes(message), "no acknowledgement could be sent");
    assert!(!room.bo.0.takes_data);
    let mut room = Room::new(None);
    room.bo_joins(Some(&ring(2, None, 0)));
    assert!(room.bo.0.takes_data);
}

#[test]
fn a_member_that_starts_again_without_end_costs_twenty_agreements_and_one_a_second_and_shuts_out_no_other()
 {
    let mut room = Room::new(None);
    room.bo_joins(Some(&ring(2, None, 0)));
    assert_eq!(room.packages(), 1);
    let begun = room.now;
    let mut packages = 0;
    for seed in 1..=3_000 {
        room.bo_gives_keys(&ring(2, None, seed));
        room.turn();
        packages += room.packages();
    }
    assert_eq!(room.now - begun, Duration::from_secs(3));
    let most = RESTARTS_AT_ONCE as usize + 3;
    assert!((most - 1..=most).contains(&packages), "{packages}");
    // The last one is accepted as soon as it may be, from what is published.
    let last = ring(2, None, 3_000);
    room.bo_publishes(&last);
    room.now += Duration::from_secs(1);
    assert!(room.mesh.poll_timeout().is_some_and(|at| at <= room.now));
    room.turn();
    assert_eq!(room.packages(), 1);
    assert_ne!(room.state(), None);
}

#[test]
fn an_announcement_that_came_too_soon_and_was_taken_back_stops_no_timer() {
    let mut room = Room::new(None);
    room.bo_joins(Some(&ring(2, None, 0)));
    // As many as are accepted at once, one more, and the last one before it.
    let at_once = RESTARTS_AT_ONCE as u16;
    for seed in (1..=at_once + 1).chain([at_once]) {
        room.bo_publishes(&ring(2, None, seed));
    }
    for _ in 0..3 {
        room.now += Duration::from_secs(1);
        room.turn();
        let mut next = NextTimer::after(room.now);
        room.mesh.encryption.as_ref().expect("it encrypts").timers(&mut next);
        let due = next.earliest().expect("members are checked again");
        assert!(due <= room.now + Duration::from_secs(1), "{due:?} at {:?}", room.now);
    }
}

/// Keys and what is sealed with them come in one read, where a member writes as soon as it has
/// joined.
#[test]
fn a_text_right_behind_the_keys_is_given_to_a_session_that_knows_of_them() {
    let mut room = Room::new(room_key());
    let mut bo = ring(2, room_key(), 0);
    let ada = room.mesh.encryption.as_ref().expect("it encrypts").announcement(session());
    let ada = URL_SAFE_NO_PAD.decode(ada).expect("as it is published");
    bo.set_member(room.now, session(), room.mesh.you(), &ada).expect("it is genuine");
    while bo.agree_next() {}
    let (_, package) = bo.poll_package().expect("keys for Ada");
    let announcement = bo.announcement(session());
    let keys = KeyPackage { sender: BO, announcement: &announcement, package: &package };
    let recipient = Recipient::Group(voicemesh_wire::GroupId::of("Global"));
    let text = TextData { sender: BO, recipient, text: "at once" }.encode(session());
    let (header, body) = packet::open(&text).expect("a packet");
    let secret = [&[header.kind.number()], body].concat();
    let key = SealedWith::SenderKey;
    let clear = SealedText { sender: BO, key, sealed: &[] }.encode(session());
    let mut sealed = clear.clone();
    bo.seal(room.now, Label::Data, &clear, &secret, &mut sealed).expect("it is sealed");
    room.bo_joins_as(None, true);
    assert!(!room.bo.1.data, "Bo is not accepted yet");
    for packet in [keys.encode(session()), sealed] {
        room.happens(SocketEvent::Packet(packet.into()));
    }
    let mut may_write = false;
    let mut is_given = None;
    while let Some(event) = room.mesh.poll_network_event() {
        match event {
            NetworkEvent::RosterChanged(roster) => {
                may_write = roster.permissions(Some(peer(2))).data
            }
            NetworkEvent::FromServer(packet) if packet == text => is_given = Some(may_write),
            _ => {}
        }
    }
    assert_eq!(is_given, Some(true));
}

#[test]
fn who_does_not_encrypt_knows_which_members_do_and_who_of_them_hears_nothing() {
    for (key, has_room_key) in [(room_key(), true), (None, false)] {
        let mut room = Room::plain();
        room.bo_joins(None);
        assert_eq!(room.state(), None);
        let bo = ring(2, key, 0);
        room.bo_publishes(&bo);
        let state = room.state().expect("a state");
        assert_eq!(state, MemberEncryption::OnlyTheirs { has_room_key });
        assert_eq!(state.is_left_out(), has_room_key);
        let told = |room: &mut Room| {
            let events = std::iter::from_fn(|| room.mesh.poll_event());
            let of_encryption =
                |event: &MeshEvent| matches!(event, MeshEvent::EncryptionChanged { .. });
            events.filter(of_encryption).collect::<Vec<_>>()
        };
        let event = MeshEvent::EncryptionChanged { peer: peer(2), encryption: state };
        assert_eq!(told(&mut room), [event]);
        room.bo_publishes(&bo);
        assert_eq!(told(&mut room), [], "it is the same");
        assert!(room.takes_text());
    }
}

#[test]
fn an_announcement_that_comes_in_a_package_is_made_known_to_the_session() {
    let mut room = Room::new(room_key());
    let bo = ring(2, room_key(), 0);
    room.bo_joins(Some(&ring(2, Some(RoomKey::new([9; 16])), 0)));
    assert!(matches!(room.state(), Some(MemberEncryption::Refused(_))));
    assert!(!room.bo.1.listen);
    room.bo_gives_keys(&bo);
    room.turn();
    room.turn();
    assert_eq!(room.state(), Some(MemberEncryption::Waiting), "the refusal is over");
    assert!(room.bo.1.listen, "it is sent speech");

    // It is ahead of what is published, and the state stays as it was.
    let mut room = Room::new(room_key());
    room.bo_joins_as(None, true);
    assert!(room.state() == Some(MemberEncryption::Waiting) && !room.bo.1.listen);
    room.bo_gives_keys(&bo);
    room.turn();
    room.turn();
    assert_eq!(room.state(), Some(MemberEncryption::Waiting));
    assert!(room.bo.1.listen, "it is sent speech");
}

fn room_key() -> Option<RoomKey> {
    Some(RoomKey::new([3; 16]))
}
