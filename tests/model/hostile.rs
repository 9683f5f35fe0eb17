//! A member that keeps to no rule but cannot be anybody else: it has one connection and its own
//! links.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use voicemesh_netsim::Mode;
use voicemesh_session::network::{LinkId, NetworkEvent};
use voicemesh_wire::packet::{
    self, ClientInfo, ClientState, DeltaClientState, HandshakeP2P, HandshakeRequest,
    HandshakeResponse, Kind, Probe, Recipient, Relay, RemoveClient, TalkspurtCounter, Target,
    TargetKind, TextData, VoiceAck, VoiceHeader,
};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use crate::net::Peer;
use crate::reference::groups;
use crate::server::Server;
use crate::world::{CODEC, World};

/// Packets that it remembers, to send them again.
const REMEMBERED: usize = 64;

pub struct Hostile {
    pub peer: Peer,
    heard: VecDeque<Bytes>,
    links: BTreeSet<LinkId<Peer>>,
}

impl Hostile {
    pub fn new(peer: Peer) -> Self {
        Self { peer, heard: VecDeque::new(), links: BTreeSet::new() }
    }

    pub fn hears(&mut self, event: &NetworkEvent<Peer>) {
        match event {
            NetworkEvent::FromServer(packet) | NetworkEvent::FromLink { packet, .. } => {
                if self.heard.len() == REMEMBERED {
                    self.heard.pop_front();
                }
                self.heard.push_back(packet.clone());
            }
            NetworkEvent::LinkUp(link) => drop(self.links.insert(*link)),
            NetworkEvent::LinkDown(link) => drop(self.links.remove(link)),
            _ => {}
        }
    }
}

/// What it draws from.
struct Malice<'a> {
    rng: ChaCha8Rng,
    session: SessionId,
    own: ClientId,
    heard: &'a VecDeque<Bytes>,
}

impl World {
    /// One misdeed, which the seed decides.
    pub fn misbehave(&mut self, seed: u64) {
        let Some(hostile) = &self.hostile else { return };
        let peer = hostile.peer;
        let connection = self.net.client_ends.get(&peer).copied();
        let server = self.server.as_ref();
        let session =
            server.and_then(Server::session).unwrap_or(SessionId::new(1).expect("not zero"));
        let own =
            connection.and_then(|connection| server?.client_of(connection)).unwrap_or(ClientId(1));
        let mut malice =
            Malice { rng: ChaCha8Rng::seed_from_u64(seed), session, own, heard: &hostile.heard };
        let links: Vec<_> = hostile.links.iter().copied().collect();
        let what = malice.below(10);
        let packets: Vec<Bytes> = match what {
            0 => vec![malice.shakes_hands(), malice.own_state()],
            1 => (0..40).map(|_| malice.any()).collect(),
            _ => (0..=malice.below(3)).map(|_| malice.any()).collect(),
        };
        let mode = if malice.below(2) == 0 { Mode::Reliable } else { Mode::Unreliable };
        if what >= 7 && !links.is_empty() {
            let link = links[malice.below(links.len() as u32) as usize];
            let client = if malice.below(2) == 0 { own } else { malice.id() };
            let handshake: Bytes = HandshakeP2P { client }.encode(session).into();
            self.net.send_on_link(self.now, peer, link, Mode::Reliable, handshake);
            for packet in packets {
                self.net.send_on_link(self.now, peer, link, mode, packet);
            }
        } else {
            for packet in packets {
                let _ = self.net.send_up(self.now, peer, mode, packet);
            }
        }
    }
}

impl Malice<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        self.rng.next_u32() % bound
    }

    /// Often the own id, else another one.
    fn id(&mut self) -> ClientId {
        if self.below(3) == 0 { self.own } else { ClientId(self.below(14) as u16) }
    }

    fn session(&mut self) -> SessionId {
        if self.below(8) == 0 {
            SessionId::new(self.below(4) + 1).expect("not zero")
        } else {
            self.session
        }
    }

    fn group(&mut self) -> String {
        let groups = groups();
        groups[self.below(groups.len() as u32) as usize].clone()
    }

    fn shakes_hands(&mut self) -> Bytes {
        HandshakeRequest { codec: CODEC, name: "hostile".into() }.encode().into()
    }

    fn own_state(&mut self) -> Bytes {
        let client = ClientInfo { name: "hostile".into(), id: self.own, codec: CODEC };
        let groups = (0..self.below(4)).map(|_| self.group()).collect();
        ClientState { client, groups }.encode(self.session).into()
    }

    fn any(&mut self) -> Bytes {
        match self.below(8) {
            0 => self.garbage(),
            1 => self.again(),
            2 => self.shakes_hands(),
            3 => self.own_state(),
            4 | 5 => {
                let inside = if self.below(4) == 0 { self.again() } else { self.valid() };
                self.relay(&inside)
            }
            _ => self.valid(),
        }
    }

    fn garbage(&mut self) -> Bytes {
        let mut bytes = vec![0; self.below(60) as usize];
        self.rng.fill_bytes(&mut bytes);
        if self.below(2) == 0 && bytes.len() > 7 {
            bytes[..2].copy_from_slice(&packet::MAGIC.to_be_bytes());
            bytes[2] = self.below(40) as u8;
            bytes[3..7].copy_from_slice(&self.session.number().to_be_bytes());
        }
        bytes.into()
    }

    /// Something heard before, with or without a changed byte.
    fn again(&mut self) -> Bytes {
        if self.heard.is_empty() {
            return self.garbage();
        }
        let mut bytes = self.heard[self.below(self.heard.len() as u32) as usize].to_vec();
        if self.below(2) == 0 && !bytes.is_empty() {
            let at = self.below(bytes.len() as u32) as usize;
            bytes[at] ^= 1 << self.below(8);
        }
        bytes.into()
    }

    fn relay(&mut self, inside: &[u8]) -> Bytes {
        let kind = if self.below(2) == 0 {
            Kind::ServerRelayReliable
        } else {
            Kind::ServerRelayUnreliable
        };
        let to: Vec<_> = (0..self.below(12)).map(|_| ClientId(self.below(14) as u16)).collect();
        let mut packet = Vec::new();
        Relay::encode_packet(kind, self.session, &to, inside, &mut packet);
        packet.into()
    }

    /// A packet of any type that is well formed, with ids that need not be its own.
    fn valid(&mut self) -> Bytes {
        let (session, id, group) = (self.session(), self.id(), self.group());
        let packet = match self.below(12) {
            0 => {
                let client = ClientInfo { name: "forged".into(), id, codec: CODEC };
                ClientState { client, groups: vec![group] }.encode(session)
            }
            1 => DeltaClientState { joins: self.below(2) == 0, client: id, group }.encode(session),
            2 => RemoveClient { client: id }.encode(session),
            3 => packet::error_wrong_session(session),
            4 => {
                let client = ClientInfo { name: "forged".into(), id: self.id(), codec: CODEC };
                let (groups, listeners) = (vec![group], Vec::new());
                HandshakeResponse { you: id, clients: vec![client], groups, listeners }
                    .encode(session)
            }
            5 => HandshakeP2P { client: id }.encode(session),
            6 => {
                let to = if self.below(2) == 0 {
                    Recipient::Client(self.id())
                } else {
                    Recipient::Group(GroupId::of(&group))
                };
                TextData { sender: id, recipient: to, text: "0" }.encode(session)
            }
            7 => VoiceAck {
                sender: id,
                newest: self.rng.next_u32() as u16,
                earlier: self.rng.next_u32(),
                received_ms: None,
            }
            .encode(session),
            8 => Probe { sender: id, token: self.below(8) }.encode(session),
            9 => Probe { sender: id, token: self.below(8) }.encode_echo(session),
            _ => self.voice(session, id, &group),
        };
        packet.into()
    }

    /// Speech that copies the content of an honest frame.
    fn voice(&mut self, session: SessionId, sender: ClientId, group: &str) -> Vec<u8> {
        let targets = [TargetKind::Group(GroupId::of(group)), TargetKind::Client(self.id())]
            .map(Target::plain);
        let talkspurt = TalkspurtCounter::SevenBit(self.below(128) as u8);
        let header = VoiceHeader { sender, talkspurt, sequence: self.rng.next_u32() as u16 };
        let mut packet = Vec::new();
        header.encode_packet(
            session,
            &targets,
            &u64::from(self.below(50)).to_be_bytes(),
            &mut packet,
        );
        packet
    }
}
