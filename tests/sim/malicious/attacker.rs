//! The server's part that lies. It stands between the real server and the members, and changes what
//! these are sent.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use voicemesh_e2ee::{KeyRing, Label};
use voicemesh_mesh::SocketEvent;
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::packet::{
    self, ClientInfo, ClientState, CodecSettings, Header, KeyPackage, Kind, Recipient, SealedPart,
    SealedText, SealedWith, TalkspurtCounter, Target, TargetKind, TextData, VoiceData, VoiceHeader,
};
use voicemesh_wire::signaling::{LeaveReason, Metadata, PeerInfo, ServerMessage};
use voicemesh_wire::{ClientId, GroupId, PeerId, SessionId};

use crate::encryption::key_ring;
use crate::world::{ORIGIN, ROOM};

/// Where members publish their announcements.
const ANNOUNCEMENT_KEY: &str = "e2ee";
/// What an announcement has before the tag of a room's key.
const PLAIN_ANNOUNCEMENT_BYTES: usize = 82;
const TAG_BYTES: usize = 32;
const GROUP: &str = "Global";
/// Packets that are kept to be sent again.
const RECORDED: usize = 400;
/// What a server says first is its own: a flipped bit in a packet's type or session makes another
/// packet of the server's, which it may send anyway.
const HEADER_BYTES: usize = 7;

/// What the server tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttackKind {
    /// Nothing.
    Honest,
    /// Lists a member that does not exist, and speaks as that one.
    Ghost,
    /// Shows everyone its own identity keys in place of the members', from the join on.
    SwapAtJoin,
    /// The same, of members that are known.
    SwapLater,
    /// Puts its certificate into the descriptions of links.
    Fingerprints,
    /// Sends again what it sent before.
    Replay,
    /// Sends in another order.
    Reorder,
    /// Holds back for good.
    Withhold,
    /// Sends the beginning of a packet, too.
    Truncate,
    /// Sends what was said in another room with the same key.
    SpliceRooms,
    /// Sends what was said in the session before.
    SpliceSessions,
    /// Brings back the keys of before a departure, and what was sealed with them.
    RollBack,
    /// Drops the keys that follow a departure.
    DropRekeys,
    /// Says of one member that it cannot encrypt.
    StripOne,
    /// Says it of all.
    StripAll,
    /// Says of a member that it came back without.
    StripLater,
    /// Sends packets with one bit changed, too.
    FlipBits,
    /// Sends what one member said as said by another.
    OtherName,
    /// Speaks and writes in a member's name, unsealed.
    Unsealed,
}

/// An identity of the server's own, that one member is shown as another.
struct Fake {
    ring: KeyRing,
    /// Keys have been exchanged with that announcement.
    agreed: Option<String>,
    shown: Option<String>,
}

pub struct Attacker {
    pub kind: AttackKind,
    pub is_active: bool,
    /// Of the members' announcements.
    has_room_key: bool,
    seed: u64,
    random: ChaCha8Rng,
    session: Option<SessionId>,
    /// As the real server has them.
    members: BTreeMap<PeerId, PeerInfo>,
    you: BTreeMap<usize, PeerId>,
    fakes: BTreeMap<(usize, PeerId), Fake>,
    ghost: PeerId,
    /// To whom, from whom, and what.
    recorded: Vec<(usize, Option<PeerId>, Bytes)>,
    held: BTreeMap<usize, Vec<Bytes>>,
    /// Of an attack that brings it back: texts and keys.
    pub is_withholding: bool,
    pub withheld: Vec<(usize, Bytes)>,
    packages: Vec<(usize, Bytes)>,
    /// From another room.
    pub foreign: Vec<Bytes>,
    /// What is sent beside what the real server sends.
    pub pending: Vec<(usize, SocketEvent)>,
    has_begun: bool,
    sequence: u16,
    ticks: u64,
    /// What it did, to show that it did something.
    pub attempts: u64,
}

impl Attacker {
    pub fn new(kind: AttackKind, has_room_key: bool, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0xA77A_C4E5);
        let sequence = random.next_u32() as u16;
        let ghost = prove(&InstallationSecret([0x66; 32]), ORIGIN, ROOM, 0).peer_id();
        Self {
            kind,
            is_active: false,
            has_room_key,
            seed,
            random,
            session: None,
            members: BTreeMap::new(),
            you: BTreeMap::new(),
            fakes: BTreeMap::new(),
            ghost,
            recorded: Vec::new(),
            held: BTreeMap::new(),
            is_withholding: false,
            withheld: Vec::new(),
            packages: Vec::new(),
            foreign: Vec::new(),
            pending: Vec::new(),
            has_begun: false,
            sequence,
            ticks: 0,
            attempts: 0,
        }
    }

    /// What a member is sent in place of a word of the real server.
    pub fn word(&mut self, to: usize, event: SocketEvent) -> Vec<SocketEvent> {
        match event {
            SocketEvent::Text(text) => match serde_json::from_str(&text) {
                Ok(message) => self.message(to, message),
                Err(_) => vec![SocketEvent::Text(text)],
            },
            SocketEvent::Packet(packet) => {
                let packets = self.packet(to, packet);
                packets.into_iter().map(SocketEvent::Packet).collect()
            }
            other => vec![other],
        }
    }

    fn message(&mut self, to: usize, message: ServerMessage) -> Vec<SocketEvent> {
        self.learn(to, &message);
        if !self.is_active {
            return vec![text(&message)];
        }
        // Its roster is not the real one.
        let lists_others = matches!(
            self.kind,
            AttackKind::Ghost
                | AttackKind::SwapLater
                | AttackKind::StripOne
                | AttackKind::StripAll
                | AttackKind::StripLater
        );
        if lists_others && matches!(message, ServerMessage::RosterMark(_)) {
            return Vec::new();
        }
        let mut message = message;
        match &mut message {
            ServerMessage::Joined(joined) => {
                for peer in &mut joined.peers {
                    self.rewrite(to, peer);
                }
            }
            ServerMessage::Roster { peers, .. } => {
                for peer in peers {
                    self.rewrite(to, peer);
                }
            }
            ServerMessage::PeerJoined { peer } => self.rewrite(to, peer),
            ServerMessage::Metadata { peer, metadata, .. } => {
                let peer = *peer;
                self.rewrite_metadata(to, peer, metadata);
            }
            _ => {}
        }
        vec![text(&message)]
    }

    fn learn(&mut self, to: usize, message: &ServerMessage) {
        match message {
            ServerMessage::Joined(joined) => {
                let session = SessionId::new(joined.session);
                if session != self.session {
                    self.members.clear();
                }
                self.session = session;
                self.you.insert(to, joined.you);
                self.members.extend(joined.peers.iter().map(|peer| (peer.peer, peer.clone())));
            }
            ServerMessage::Roster { peers, .. } => {
                self.members.extend(peers.iter().map(|peer| (peer.peer, peer.clone())));
            }
            ServerMessage::PeerJoined { peer } => {
                self.members.insert(peer.peer, peer.clone());
            }
            ServerMessage::Metadata { peer, metadata, .. } => {
                if let Some(member) = self.members.get_mut(peer) {
                    member.metadata = metadata.clone();
                }
            }
            _ => {}
        }
    }

    /// Which member an attack on one is aimed at: the one that joined second.
    fn victim(&self) -> Option<PeerId> {
        self.you.get(&1).copied()
    }

    fn is_stripped(&self, peer: PeerId) -> bool {
        match self.kind {
            AttackKind::StripAll => true,
            AttackKind::StripOne | AttackKind::StripLater => self.victim() == Some(peer),
            _ => false,
        }
    }

    fn rewrite(&mut self, to: usize, peer: &mut PeerInfo) {
        let id = peer.peer;
        self.rewrite_metadata(to, id, &mut peer.metadata);
        if self.is_stripped(id) {
            peer.capabilities.e2ee = false;
            self.attempts += 1;
        }
    }

    fn rewrite_metadata(&mut self, to: usize, peer: PeerId, metadata: &mut Metadata) {
        if self.you.get(&to) == Some(&peer) {
            return;
        }
        if self.is_stripped(peer) {
            metadata.remove(ANNOUNCEMENT_KEY);
        }
        let swaps = matches!(self.kind, AttackKind::SwapAtJoin);
        if swaps && metadata.contains_key(ANNOUNCEMENT_KEY) {
            let forged = self.forged_announcement(to, peer);
            metadata.insert(ANNOUNCEMENT_KEY.to_owned(), forged);
        }
    }

    /// What the server makes up for `peer`. In a room with a key it lacks the tag, or has one that
    /// is a guess, or the member's for another key.
    fn forged_announcement(&mut self, to: usize, peer: PeerId) -> String {
        self.attempts += 1;
        let genuine = self.announcement_of(peer);
        let tag = match self.random.next_u32() % 3 {
            _ if !self.has_room_key => Vec::new(),
            0 => genuine.get(PLAIN_ANNOUNCEMENT_BYTES..).unwrap_or_default().to_vec(),
            1 => {
                let mut tag = vec![0; TAG_BYTES];
                self.random.fill_bytes(&mut tag);
                tag
            }
            _ => Vec::new(),
        };
        let session = self.session.expect("the member has joined");
        let fake = self.fake(to, peer);
        let announcement = [fake.ring.announcement(session), tag].concat();
        let shown = URL_SAFE_NO_PAD.encode(announcement);
        fake.shown = Some(shown.clone());
        shown
    }

    fn announcement_of(&self, peer: PeerId) -> Vec<u8> {
        let published = self.members.get(&peer).and_then(|member| member.metadata.get("e2ee"));
        published.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default()
    }

    fn fake(&mut self, to: usize, peer: PeerId) -> &mut Fake {
        let number = self.fakes.len() as u64;
        let seed = self.seed ^ (0xFA4E + number);
        self.fakes.entry((to, peer)).or_insert_with(|| {
            let mut secret = [0xEE; 32];
            secret[..8].copy_from_slice(&seed.to_be_bytes());
            let ring = key_ring(&InstallationSecret(secret), peer, None, seed);
            Fake { ring, agreed: None, shown: None }
        })
    }

    fn packet(&mut self, to: usize, packet: Bytes) -> Vec<Bytes> {
        let Ok((header, _)) = packet::open(&packet) else { return vec![packet] };
        let is_relayed = header.kind.names_its_sender() || header.kind.is_text();
        if !is_relayed {
            return vec![packet];
        }
        if header.kind == Kind::KeyPackage {
            self.packages.push((to, packet.clone()));
        }
        if self.recorded.len() < RECORDED || header.kind.is_text() {
            let from = self.sender(&packet);
            self.recorded.push((to, from, packet.clone()));
        }
        if self.is_withholding
            && to == 1
            && matches!(header.kind, Kind::SealedText | Kind::GroupText | Kind::TextData)
        {
            self.withheld.push((to, packet));
            return Vec::new();
        }
        if !self.is_active {
            return vec![packet];
        }
        match self.kind {
            AttackKind::SwapAtJoin if header.kind == Kind::KeyPackage => Vec::new(),
            AttackKind::StripOne | AttackKind::StripAll
                if header.kind == Kind::KeyPackage
                    && self.seed.is_multiple_of(2)
                    && self.sender(&packet).is_none_or(|from| self.is_stripped(from)) =>
            {
                Vec::new()
            }
            AttackKind::DropRekeys if header.kind == Kind::KeyPackage => {
                self.attempts += 1;
                Vec::new()
            }
            AttackKind::DropRekeys if to == 1 => {
                // The server goes on relaying to who left.
                self.attempts += 1;
                self.pending.push((3, SocketEvent::Packet(packet.clone())));
                vec![packet]
            }
            AttackKind::Withhold if self.random.next_u32().is_multiple_of(8) => {
                self.attempts += 1;
                Vec::new()
            }
            AttackKind::Reorder => self.reorder(to, packet),
            AttackKind::Truncate => {
                self.attempts += 1;
                let cut = self.truncated(&packet);
                self.with_original(packet, cut)
            }
            AttackKind::FlipBits => {
                self.attempts += 1;
                let mut changed = packet.to_vec();
                let bits = 8 * (changed.len() - HEADER_BYTES);
                let bit = 8 * HEADER_BYTES + self.random.next_u32() as usize % bits;
                changed[bit / 8] ^= 1 << (bit % 8);
                self.with_original(packet, changed.into())
            }
            AttackKind::OtherName => match self.under_another_name(to, &packet) {
                Some(changed) => {
                    self.attempts += 1;
                    self.with_original(packet, changed)
                }
                None => vec![packet],
            },
            _ => vec![packet],
        }
    }

    /// Before or behind.
    fn with_original(&mut self, original: Bytes, changed: Bytes) -> Vec<Bytes> {
        if self.random.next_u32().is_multiple_of(2) {
            vec![changed, original]
        } else {
            vec![original, changed]
        }
    }

    fn reorder(&mut self, to: usize, packet: Bytes) -> Vec<Bytes> {
        let held = self.held.entry(to).or_default();
        held.push(packet);
        if held.len() < 8 {
            return Vec::new();
        }
        self.attempts += 1;
        let mut packets = std::mem::take(held);
        for last in (1..packets.len()).rev() {
            packets.swap(last, self.random.next_u32() as usize % (last + 1));
        }
        packets
    }

    /// The beginning; of unsealed speech a shorter frame, so that the packet is whole.
    fn truncated(&mut self, packet: &Bytes) -> Bytes {
        if let Ok((Header { kind: Kind::VoiceData, .. }, body)) = packet::open(packet)
            && let (Ok(voice), Some(session)) = (VoiceData::decode(body), self.session)
            && voice.frame.len() > 1
        {
            let targets: Vec<Target> = voice.targets.iter().collect();
            let frame =
                &voice.frame[..1 + self.random.next_u32() as usize % (voice.frame.len() - 1)];
            let mut cut = Vec::new();
            voice.header.encode_packet(session, &targets, frame, &mut cut);
            return cut.into();
        }
        let most = packet.len() - HEADER_BYTES;
        packet.slice(..HEADER_BYTES + self.random.next_u32() as usize % most)
    }

    fn under_another_name(&mut self, to: usize, packet: &Bytes) -> Option<Bytes> {
        let from = self.sender(packet)?;
        let you = self.you.get(&to).copied();
        let other = self.members.keys().find(|id| **id != from && Some(**id) != you)?;
        with_sender(packet, self.members[other].client)
    }

    fn sender(&self, packet: &[u8]) -> Option<PeerId> {
        let at = sender_at(packet)?;
        let client = ClientId(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        self.members.values().find(|member| member.client == client).map(|member| member.peer)
    }

    /// Once in a step of the world: what the server sends unasked.
    pub fn tick(&mut self, now: Duration) {
        if !self.is_active || self.session.is_none() {
            for (to, held) in std::mem::take(&mut self.held) {
                self.pending
                    .extend(held.into_iter().map(|packet| (to, SocketEvent::Packet(packet))));
            }
            return;
        }
        self.ticks += 1;
        if !std::mem::replace(&mut self.has_begun, true) {
            self.begin();
        }
        match self.kind {
            AttackKind::Ghost | AttackKind::SwapAtJoin | AttackKind::SwapLater => {
                self.speak_sealed(now)
            }
            AttackKind::Unsealed
            | AttackKind::StripOne
            | AttackKind::StripAll
            | AttackKind::StripLater => self.speak_unsealed(),
            AttackKind::Replay => {
                for _ in 0..2 {
                    if let Some((to, _, packet)) = self.any_recorded() {
                        self.send(to, packet);
                    }
                }
            }
            AttackKind::SpliceSessions => {
                if let Some((to, from, packet)) = self.any_recorded() {
                    self.splice(to, from, packet);
                }
            }
            AttackKind::SpliceRooms if !self.foreign.is_empty() => {
                let at = self.random.next_u32() as usize % self.foreign.len();
                let to = self.any_victim();
                let packet = self.foreign[at].clone();
                self.splice(to, None, packet);
            }
            _ => {}
        }
    }

    /// Sends what it brings back from before a departure.
    pub fn bring_back(&mut self) {
        for (to, packet) in self.packages.clone() {
            self.send(to, packet);
        }
        for (to, packet) in std::mem::take(&mut self.withheld) {
            self.send(to, packet);
        }
    }

    fn any_recorded(&mut self) -> Option<(usize, Option<PeerId>, Bytes)> {
        let number = self.recorded.len();
        (number > 0).then(|| self.recorded[self.random.next_u32() as usize % number].clone())
    }

    fn any_victim(&mut self) -> usize {
        let number = self.you.len();
        self.you.keys().copied().nth(self.random.next_u32() as usize % number).unwrap_or(0)
    }

    fn send(&mut self, to: usize, packet: Bytes) {
        self.attempts += 1;
        self.pending.push((to, SocketEvent::Packet(packet)));
    }

    /// As if it were of this session, and of the same member in it, or as it was.
    fn splice(&mut self, to: usize, from: Option<PeerId>, packet: Bytes) {
        let Some(session) = self.session else { return };
        let mut changed = packet.to_vec();
        changed[3..HEADER_BYTES].copy_from_slice(&session.number().to_be_bytes());
        let changed = Bytes::from(changed);
        let client = from.and_then(|from| self.members.get(&from)).map(|member| member.client);
        let renamed = client.and_then(|client| with_sender(&changed, client));
        for packet in [Some(packet), Some(changed), renamed].into_iter().flatten() {
            self.send(to, packet);
        }
    }

    fn begin(&mut self) {
        let victims: Vec<usize> = self.you.keys().copied().collect();
        match self.kind {
            AttackKind::Ghost => {
                for to in victims {
                    self.list_ghost(to);
                }
            }
            AttackKind::SwapLater => {
                for to in victims {
                    for (peer, mut info) in self.members.clone() {
                        if self.you.get(&to) == Some(&peer) {
                            continue;
                        }
                        let forged = self.forged_announcement(to, peer);
                        info.metadata.insert(ANNOUNCEMENT_KEY.to_owned(), forged);
                        let metadata = info.metadata;
                        let message = ServerMessage::Metadata { peer, metadata, changes: 1 };
                        self.pending.push((to, text(&message)));
                    }
                }
            }
            AttackKind::StripLater => {
                let Some(victim) = self.victim() else { return };
                let reason = match self.random.next_u32() % 3 {
                    0 => LeaveReason::Left,
                    1 => LeaveReason::Lost,
                    _ => LeaveReason::Replaced,
                };
                for to in victims {
                    if self.you.get(&to) == Some(&victim) {
                        continue;
                    }
                    let mut peer = self.members[&victim].clone();
                    self.rewrite(to, &mut peer);
                    let messages = [
                        ServerMessage::PeerLeft { peer: victim, reason },
                        ServerMessage::PeerJoined { peer },
                    ];
                    self.pending.extend(messages.iter().map(|message| (to, text(message))));
                }
            }
            _ => {}
        }
    }

    fn list_ghost(&mut self, to: usize) {
        let (ghost, client) = (self.ghost, ClientId(40));
        let Some(session) = self.session else { return };
        let forged = self.forged_announcement(to, ghost);
        let Some(mut model) = self.members.values().next().cloned() else { return };
        // It has no addresses for links.
        model.capabilities.relay_only = true;
        let peer = PeerInfo {
            peer: ghost,
            client,
            run: 1,
            name: "a friend".to_owned(),
            metadata: [(ANNOUNCEMENT_KEY.to_owned(), forged)].into(),
            order: 1_000,
            ..model
        };
        self.pending.push((to, text(&ServerMessage::PeerJoined { peer: peer.clone() })));
        self.members.insert(ghost, peer);
        let codec = CodecSettings {
            codec: CodecSettings::OPUS,
            frame_samples: 960,
            sample_rate_hz: 48_000,
        };
        let client = ClientInfo { name: "a friend".to_owned(), id: client, codec };
        let state = ClientState { client, groups: vec![GROUP.to_owned()] };
        self.send(to, state.encode(session).into());
    }

    /// As a member would: gives keys, and seals with them.
    fn speak_sealed(&mut self, now: Duration) {
        if !self.ticks.is_multiple_of(4) {
            return;
        }
        let Some(session) = self.session else { return };
        let shown: Vec<(usize, PeerId)> = self.fakes.keys().copied().collect();
        self.sequence = self.sequence.wrapping_add(1);
        for (to, peer) in shown {
            let Some(you) = self.you.get(&to).copied() else { continue };
            let Some(client) = self.members.get(&peer).map(|member| member.client) else {
                continue;
            };
            let mut victims = self.announcement_of(you);
            victims.truncate(PLAIN_ANNOUNCEMENT_BYTES);
            let published = URL_SAFE_NO_PAD.encode(&victims);
            let (mut voice, text) = (self.speech(client), self.writing(client));
            let sequence = self.ticks;
            let fake = self.fake(to, peer);
            if fake.agreed.as_ref() != Some(&published) {
                if fake.ring.set_member(now, session, you, &victims).is_err() {
                    continue;
                }
                fake.agreed = Some(published);
            }
            while fake.ring.agree_next() {}
            let shown = fake.shown.clone().unwrap_or_default();
            let announcement = URL_SAFE_NO_PAD.decode(shown).unwrap_or_default();
            let mut packets = Vec::new();
            if sequence.is_multiple_of(200) {
                fake.ring.send_keys_again(you);
            }
            while let Some((_, package)) = fake.ring.poll_package() {
                let package =
                    KeyPackage { sender: client, announcement: &announcement, package: &package };
                packets.push(package.encode(session));
            }
            voice = sealed(&mut fake.ring, now, voice);
            packets.push(voice);
            if sequence.is_multiple_of(40) {
                packets.push(sealed_text(&mut fake.ring, now, session, client, &text));
            }
            for packet in packets {
                self.send(to, packet.into());
            }
        }
    }

    fn speak_unsealed(&mut self) {
        if !self.ticks.is_multiple_of(4) {
            return;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let victims: Vec<(usize, PeerId)> = self.you.iter().map(|(to, you)| (*to, *you)).collect();
        for (to, you) in victims {
            let names = self.members.values().filter(|member| member.peer != you);
            let names: Vec<ClientId> = match self.kind {
                AttackKind::Unsealed => names.map(|member| member.client).collect(),
                _ => names
                    .filter(|member| self.is_stripped(member.peer))
                    .map(|member| member.client)
                    .collect(),
            };
            for client in names {
                let voice = self.speech(client);
                self.send(to, voice.into());
                if self.ticks.is_multiple_of(40) {
                    let text = self.writing(client);
                    self.send(to, text.into());
                }
            }
        }
    }

    fn speech(&mut self, sender: ClientId) -> Vec<u8> {
        let mut frame = [0; 60];
        self.random.fill_bytes(&mut frame);
        let talkspurt = TalkspurtCounter::SevenBit(0);
        let header = VoiceHeader { sender, talkspurt, sequence: self.sequence };
        let target = Target::plain(TargetKind::Group(GroupId::of(GROUP)));
        let mut packet = Vec::new();
        let session = self.session.expect("there is one");
        header.encode_packet(session, &[target], &frame, &mut packet);
        packet
    }

    fn writing(&mut self, sender: ClientId) -> Vec<u8> {
        let recipient = Recipient::Group(GroupId::of(GROUP));
        let text = format!("the server's own words, number {}", self.attempts);
        TextData { sender, recipient, text: &text }.encode(self.session.expect("there is one"))
    }
}

fn text(message: &ServerMessage) -> SocketEvent {
    SocketEvent::Text(message.to_json())
}

/// Where the sender's id is.
fn sender_at(packet: &[u8]) -> Option<usize> {
    let (header, _) = packet::open(packet).ok()?;
    match header.kind {
        // Behind whether it is for a group.
        Kind::TextData => Some(HEADER_BYTES + 1),
        Kind::GroupText => Some(HEADER_BYTES),
        kind => kind.names_its_sender().then_some(HEADER_BYTES),
    }
}

fn with_sender(packet: &Bytes, client: ClientId) -> Option<Bytes> {
    let at = sender_at(packet)?;
    let mut changed = packet.to_vec();
    changed.get_mut(at..at + 2)?.copy_from_slice(&client.0.to_be_bytes());
    Some(changed.into())
}

fn sealed(ring: &mut KeyRing, now: Duration, plain: Vec<u8>) -> Vec<u8> {
    let part = SealedPart::of(&plain).expect("it is ours").expect("speech");
    let (clear, secret) = plain.split_at(part.clear_bytes);
    let mut packet = clear.to_vec();
    ring.seal(now, Label::Voice, clear, secret, &mut packet).expect("its key is new");
    packet
}

fn sealed_text(
    ring: &mut KeyRing,
    now: Duration,
    session: SessionId,
    sender: ClientId,
    plain: &[u8],
) -> Vec<u8> {
    let (header, body) = packet::open(plain).expect("it is ours");
    let secret = [&[header.kind.number()], body].concat();
    let text = SealedText { sender, key: SealedWith::SenderKey, sealed: &[] };
    let clear = text.encode(session);
    let mut packet = clear.clone();
    ring.seal(now, Label::Data, &clear, &secret, &mut packet).expect("its key is new");
    packet
}
