//! A script of what a server, links and a member send to one that encrypts with a room's key: no
//! panic, nothing without bound, and nothing is given to the session that the member did not seal,
//! or more than once.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use voicemesh_e2ee::{Configuration, KeyRing, Label, RoomKey, Seed};
use voicemesh_mesh::link::{CloseReason, LinkEvent, Stream};
use voicemesh_mesh::{
    CarrierEvent, Connections, Mesh, MeshConfig, MeshOutput, ServerConnection, SocketEvent,
};
use voicemesh_session::network::{LinkId, NetworkEvent};
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::packet::{
    self, DataMessage, KeyPackage, Kind, Recipient, Relay, SealedPart, SealedText, SealedWith,
    TalkspurtCounter, Target, TargetKind, TextData, VoiceHeader,
};
use voicemesh_wire::signaling::{
    Capabilities, Joined, MemberStatus, Metadata, OwnerRightState, PeerInfo, Presence,
    RoomPassword, RosterMark, ServerLimits, ServerMessage, roster_hash,
};
use voicemesh_wire::{ClientId, GroupId, PeerId, Permissions, SessionId};

use super::input::{Input, with_header};

const ORIGIN: &str = "wss://192.168.1.5:8080";
const ROOM: &str = "room";
const SESSION: u32 = 7;
/// Her id is the lower one, so that she offers links.
const ADA: (u8, ClientId) = (2, ClientId(1));
const BO: (u8, ClientId) = (7, ClientId(2));
/// Answers to a script that asks for keys without end: one a second of each kind, and what a joining
/// member gets.
const ANSWERS_AT_ONCE: u64 = 16;

fn peer((number, _): (u8, ClientId)) -> PeerId {
    prove(&InstallationSecret([number; 32]), ORIGIN, ROOM, 0).peer_id()
}

fn session() -> SessionId {
    SessionId::new(SESSION).expect("not zero")
}

fn ring(member: (u8, ClientId)) -> KeyRing {
    let configuration = Configuration {
        secret: &InstallationSecret([member.0; 32]),
        origin: ORIGIN,
        room: ROOM,
        instance: 0,
        peer: peer(member),
        room_key: Some(RoomKey::new([3; 16])),
        max_members: 8,
    };
    KeyRing::new(configuration, Seed::new([member.0; 32]))
}

fn info(member: (u8, ClientId), metadata: Metadata) -> PeerInfo {
    PeerInfo {
        peer: peer(member),
        client: member.1,
        run: 1,
        name: format!("member {}", member.0),
        metadata,
        capabilities: Capabilities { data: true, e2ee: true, ..Capabilities::default() },
        order: u64::from(member.1.0),
        status: MemberStatus::default(),
        permissions: Permissions::default(),
        held_in: Vec::new(),
    }
}

/// One input.
pub fn run(data: &[u8]) {
    reached(data);
}

/// How far an input gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// Links that opened.
    pub links: u32,
    /// What Bo said on one and was heard.
    pub heard_on_links: u32,
    /// Links that ended.
    pub closed: u32,
}

/// One input, and how far it gets.
pub fn reached(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let mut script = Script::new();
    while !input.is_over() {
        script.step(&mut input);
        script.check();
    }
    script.reached
}

struct Script {
    mesh: Mesh,
    bo: KeyRing,
    generation: u32,
    now: Duration,
    number: u16,
    /// What Bo sealed, and the plain packet.
    sealed: Vec<Bytes>,
    genuine: BTreeSet<Bytes>,
    taken: BTreeSet<Bytes>,
    answers: u64,
    /// The link that Ada opened last.
    link: Option<LinkId<PeerId>>,
    reached: Reached,
}

impl Script {
    /// Ada has joined, Bo is there, and each has the other's keys.
    fn new() -> Self {
        assert!(peer(ADA) < peer(BO), "Ada offers links");
        let config = MeshConfig {
            room: ROOM.to_owned(),
            name: "Ada".to_owned(),
            proof: prove(&InstallationSecret([ADA.0; 32]), ORIGIN, ROOM, 0),
            proof_without_tls: None,
            run: 1,
            relay_only: false,
            presence: Presence::Either,
            password: None,
            token: None,
            renews_token: false,
            ticket: None,
            connections: Connections::default(),
            metadata: Metadata::new(),
            frame_ms: vec![20],
            redundancy: true,
            seed: 1,
        };
        let mut mesh = Mesh::encrypted(config, ring(ADA), None);
        mesh.connect(Duration::ZERO);
        let Some(MeshOutput::OpenSocket { generation }) = mesh.poll_output() else {
            panic!("it does not connect")
        };
        let mut script = Self {
            mesh,
            bo: ring(BO),
            generation,
            now: Duration::ZERO,
            number: 0,
            sealed: Vec::new(),
            genuine: BTreeSet::new(),
            taken: BTreeSet::new(),
            answers: 0,
            link: None,
            reached: Reached::default(),
        };
        script.socket(SocketEvent::Connected(ServerConnection::new(true, false, None)));
        script.socket(SocketEvent::Open);
        script.join();
        script
    }

    fn join(&mut self) {
        let announcement = URL_SAFE_NO_PAD.encode(self.bo.announcement(session()));
        let bo = info(BO, [("e2ee".to_owned(), announcement)].into());
        let hash = roster_hash([&info(ADA, Metadata::new()), &bo]);
        self.says(&ServerMessage::Joined(Joined {
            you: peer(ADA),
            client: ADA.1,
            session: SESSION,
            room: ROOM.to_owned(),
            name: None,
            peers: vec![bo],
            order: u64::from(ADA.1.0),
            ice_servers: Vec::new(),
            limits: ServerLimits::default(),
            relay_only: false,
            group_text: true,
            status: false,
            roster: RosterMark { version: 1, hash },
            permissions: Permissions::default(),
            held_in: Vec::new(),
            room_metadata: Metadata::new(),
            locked: false,
            password: RoomPassword::default(),
            owner_right: OwnerRightState::Held,
            taken_over: None,
            ticket: None,
        }));
        self.mesh.update(self.now);
        let ada = ring(ADA).announcement(session());
        self.bo.set_member(self.now, session(), peer(ADA), &ada).expect("it is genuine");
        while self.bo.agree_next() {}
        let (_, package) = self.bo.poll_package().expect("keys for Ada");
        let announcement = self.bo.announcement(session());
        let package = KeyPackage { sender: BO.1, announcement: &announcement, package: &package };
        self.packet(package.encode(session()));
        let genuine = self.seal(0);
        self.packet(genuine.to_vec());
        self.check();
        assert_eq!(self.taken.len(), 1, "what Bo says is heard");
    }

    fn says(&mut self, message: &ServerMessage) {
        self.socket(SocketEvent::Text(message.to_json()));
    }

    fn socket(&mut self, event: SocketEvent) {
        let event = CarrierEvent::Socket { generation: self.generation, event };
        self.mesh.handle(self.now, event);
    }

    fn packet(&mut self, packet: Vec<u8>) {
        self.socket(SocketEvent::Packet(packet.into()));
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 12 {
            0 => self.packet(input.block().to_vec()),
            1 | 2 => {
                let packet = with_header(input.u8(), SESSION, input.block());
                self.packet(packet);
            }
            3 => {
                let sealed = self.seal(input.u8());
                self.packet(sealed.to_vec());
            }
            // What is genuine, changed.
            4..=6 => {
                let sealed = self.seal(input.u8());
                self.sealed.pop();
                let mut changed = sealed.to_vec();
                let at = usize::from(input.u8()) % changed.len();
                match input.u8() % 4 {
                    0 => changed.truncate(at),
                    1 => changed.insert(at, input.u8()),
                    _ => changed[at] ^= input.u8().max(1),
                }
                self.packet(changed);
            }
            7 => {
                if !self.sealed.is_empty() {
                    let at = usize::from(input.u8()) % self.sealed.len();
                    let again = self.sealed[at].to_vec();
                    self.packet(again);
                }
            }
            8 => {
                let opened = self.link.map_or(0, |link| link.generation);
                // Mostly the one that is open or opening.
                let behind = u32::from(input.u8() % 4 / 3);
                let link = LinkId { peer: peer(BO), generation: opened.saturating_sub(behind) };
                let event = match input.u8() % 6 {
                    0 => LinkEvent::Open,
                    3 | 4 => {
                        let stream = if input.u8().is_multiple_of(2) {
                            Stream::Voice
                        } else {
                            Stream::Reliable
                        };
                        LinkEvent::Received { stream, packet: self.seal(input.u8()) }
                    }
                    5 => LinkEvent::Closed(CloseReason::Remote),
                    1 => LinkEvent::Received {
                        stream: Stream::Reliable,
                        packet: with_header(input.u8(), SESSION, input.block()).into(),
                    },
                    _ => LinkEvent::Received {
                        stream: Stream::Voice,
                        packet: input.block().to_vec().into(),
                    },
                };
                self.mesh.handle(self.now, CarrierEvent::Link { link, event });
            }
            9 => {
                let announcement = URL_SAFE_NO_PAD.encode(input.block());
                let metadata = [("e2ee".to_owned(), announcement)].into();
                self.says(&ServerMessage::Metadata { peer: peer(BO), metadata, changes: 1 });
            }
            10 => {
                let announcement = input.block();
                let package = KeyPackage { sender: BO.1, announcement, package: input.block() };
                self.packet(package.encode(session()));
            }
            _ => {
                self.now += Duration::from_millis(u64::from(input.u16() % 2_000));
                self.mesh.update(self.now);
            }
        }
    }

    /// Something that Bo says, each time another.
    fn seal(&mut self, what: u8) -> Bytes {
        self.number = self.number.wrapping_add(1);
        let number = self.number.to_be_bytes();
        let target = match what % 2 {
            0 => Target::plain(TargetKind::Group(GroupId::of("Global"))),
            _ => Target::plain(TargetKind::Client(ADA.1)),
        };
        let header = VoiceHeader {
            sender: BO.1,
            talkspurt: TalkspurtCounter::SevenBit(0),
            sequence: self.number,
        };
        let text = format!("text {}", self.number);
        let plain = match what / 2 % 3 {
            0 => {
                let mut plain = Vec::new();
                header.encode_packet(
                    session(),
                    &[target],
                    &[&number[..], &[9; 30]].concat(),
                    &mut plain,
                );
                plain
            }
            1 => DataMessage { sender: BO.1, on: None, payload: &number }.encode(session()),
            _ => TextData { sender: BO.1, recipient: Recipient::Client(ADA.1), text: &text }
                .encode(session()),
        };
        self.genuine.insert(plain.clone().into());
        let (header, body) = packet::open(&plain).expect("it is a packet");
        let (clear, secret, label, key) = if header.kind.is_text() {
            let key = SealedWith::PairKey;
            let clear = SealedText { sender: BO.1, key, sealed: &[] }.encode(session());
            (clear, [&[header.kind.number()], body].concat(), Label::Data, key)
        } else {
            let part = SealedPart::of(&plain).expect("it is whole").expect("it is sealed");
            let label = if header.kind.is_voice() { Label::Voice } else { Label::Data };
            let (clear, secret) = plain.split_at(part.clear_bytes);
            (clear.to_vec(), secret.to_vec(), label, part.key)
        };
        let mut sealed = clear.clone();
        let result = match key {
            SealedWith::SenderKey => self.bo.seal(self.now, label, &clear, &secret, &mut sealed),
            SealedWith::PairKey => self.bo.seal_to(peer(ADA), label, &clear, &secret, &mut sealed),
        };
        result.expect("the key is not used up");
        self.sealed.push(sealed.clone().into());
        sealed.into()
    }

    fn check(&mut self) {
        while let Some(event) = self.mesh.poll_network_event() {
            let is_on_link = matches!(event, NetworkEvent::FromLink { .. });
            let packet = match event {
                NetworkEvent::FromServer(packet) | NetworkEvent::FromLink { packet, .. } => packet,
                NetworkEvent::LinkUp(_) => {
                    self.reached.links += 1;
                    continue;
                }
                NetworkEvent::LinkDown(_) => {
                    self.reached.closed += 1;
                    continue;
                }
                _ => continue,
            };
            let Ok((header, _)) = packet::open(&packet) else { continue };
            let is_message = header.kind == Kind::DataMessage;
            if header.kind.is_voice() || header.kind.is_text() || is_message {
                assert!(self.genuine.contains(&packet), "Bo did not say it: {packet:?}");
                assert!(self.taken.insert(packet.clone()), "it came again: {packet:?}");
                self.reached.heard_on_links += u32::from(is_on_link);
            }
        }
        while let Some(output) = self.mesh.poll_output() {
            let packet = match output {
                MeshOutput::SendPacket { packet, .. } => match packet::open(&packet) {
                    Ok((_, body)) => Relay::decode(body)
                        .map_or(packet.clone(), |relay| packet.slice_ref(relay.packet)),
                    Err(_) => packet,
                },
                MeshOutput::SendLink { packet, .. } => packet,
                MeshOutput::OpenLink { link, .. } => {
                    self.link = Some(link);
                    continue;
                }
                _ => continue,
            };
            let opened = packet::open(&packet).map(|(header, _)| header.kind);
            self.answers += u64::from(matches!(opened, Ok(Kind::KeyPackage | Kind::KeyRequest)));
        }
        let allowed = ANSWERS_AT_ONCE + 8 * self.now.as_secs();
        assert!(self.answers <= allowed, "{} answers in {:?}", self.answers, self.now);
        while self.mesh.poll_event().is_some() {}
    }
}
