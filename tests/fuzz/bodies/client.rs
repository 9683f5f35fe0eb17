//! A script of network events and commands against a client: no panic, nothing without bound, no
//! client speaks in another's name.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::client::{ClientConfig, OutgoingFrame, Participant, Phase};
use voicemesh_session::network::{
    Delivery, Destination, DisconnectReason, LinkId, Network, NetworkError, NetworkEvent,
    Reliability, carry_out,
};
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};
use voicemesh_session::{Abilities, Client, ClientEvent, Roster, RosterEntry, TextReader};
use voicemesh_wire::packet::{self, ClockProbe, CodecSettings, Kind, Recipient, Routing};
use voicemesh_wire::{ClientId, GroupId, Permissions, SessionId};

use super::input::{Input, with_header};

const PEERS: u8 = 5;
/// Sessions that a script can name; the first is the usual one.
const SESSIONS: u32 = 4;
const GROUPS: [&str; 4] = ["Global", "Lobby", "", "grün"];
/// As many events as a client keeps.
const EVENTS: usize = 4096;

/// A network that goes nowhere, and that notes what it should not have been given.
struct Nowhere {
    connected: bool,
    takes_links: bool,
    takes_server: bool,
}

impl Network for Nowhere {
    type Peer = u8;
    type ClientParameters = ();
    type ServerParameters = ();

    fn connect(&mut self, _: Duration, (): ()) -> Result<(), NetworkError> {
        Ok(())
    }

    fn disconnect(&mut self, _: Duration) {
        self.connected = false;
    }

    fn host(&mut self, _: Duration, (): ()) -> Result<(), NetworkError> {
        Err(NetworkError::Unsupported("host"))
    }

    fn stop_hosting(&mut self, _: Duration) {}

    fn poll(&mut self, _: Duration) -> Option<NetworkEvent<u8>> {
        None
    }

    fn send_to_server(
        &mut self,
        _: Duration,
        _: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        assert!(self.connected, "nothing is sent before there is a connection, or after");
        let (header, _) = packet::open(&packet).expect("only packets are sent");
        assert_ne!(
            header.kind,
            Kind::HandshakeP2P,
            "a link's handshake never goes through the server"
        );
        if self.takes_server { Ok(()) } else { Err(NetworkError::NotConnected) }
    }

    fn send_to_client(
        &mut self,
        _: Duration,
        _: u8,
        _: Delivery,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        Err(NetworkError::Unsupported("serve"))
    }

    fn send_to_links(
        &mut self,
        _: Duration,
        to: &mut Vec<Destination<u8>>,
        how: Reliability,
        packet: &Bytes,
    ) {
        let (header, _) = packet::open(packet).expect("only packets are sent");
        let handshake = header.kind == Kind::HandshakeP2P;
        assert!(handshake || Routing::read(packet).is_ok(), "{:?} on a link", header.kind);
        assert_eq!(handshake, how == Reliability::Reliable);
        if self.takes_links {
            to.clear();
        }
    }
}

/// A peer's client id is twice its number, in every session; peer 0 has none.
fn roster(session: u32) -> Roster<u8> {
    let mut roster = Roster::of_session(SessionId::new(session)).with_others(Abilities::ALL);
    for peer in 0..PEERS {
        let client = (peer > 0).then_some(ClientId(2 * u16::from(peer)));
        roster.insert(
            peer,
            RosterEntry {
                client,
                abilities: Abilities::ALL,
                permissions: Permissions::default(),
                held_in: Vec::new(),
                text_reader: TextReader::Ready,
                hears_plain: peer % 2 == 0,
            },
        );
    }
    roster
}

/// One input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mode = input.u8();
    let codec =
        CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
    let mut script = Script {
        client: Client::new(ClientConfig::new("fuzz", codec, u16::from(mode) << 8)),
        has_roster: mode & 1 != 0,
        net: Nowhere { connected: false, takes_links: true, takes_server: true },
        now: Duration::ZERO,
    };
    if script.has_roster {
        script.event(NetworkEvent::RosterChanged(Box::new(roster(1))));
    }
    if mode & 2 != 0 {
        script.join();
    }
    while !input.is_over() {
        script.step(&mut input);
        script.check();
    }
    // Without anybody to read them, events stay bounded.
    let mut waiting = 0;
    while script.client.poll_event().is_some() {
        waiting += 1;
    }
    assert!(waiting <= EVENTS);
}

struct Script {
    client: Client<u8>,
    has_roster: bool,
    net: Nowhere,
    now: Duration,
}

impl Script {
    /// Into the usual session as client 1, with clients 2, 4 and 7 in it.
    fn join(&mut self) {
        self.event(NetworkEvent::Connected);
        let mut body = vec![0, 1, 0, 3];
        for id in [2, 4, 7] {
            body.extend_from_slice(&[0, 2, b'a' + id, 0, id, 1, 0, 0, 3, 0xC0, 0, 0, 0xBB, 0x80]);
        }
        body.extend_from_slice(&[
            0, 1, 0, 6, b'L', b'o', b'b', b'b', b'y', 0, 1, 0x56, 0x0C, 2, 0, 2, 0, 7,
        ]);
        self.event(NetworkEvent::FromServer(with_header(5, 1, &body).into()));
        assert_eq!(self.client.phase(), Phase::Joined);
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        match op % 20 {
            0 => self.event(NetworkEvent::Connected),
            1 => self.event(NetworkEvent::Disconnected(DisconnectReason::Lost)),
            2 => self.event(NetworkEvent::FromServer(input.block().to_vec().into())),
            3..=5 => {
                let packet = with_header(input.u8(), session(input), input.block());
                self.event(NetworkEvent::FromServer(packet.into()));
            }
            6 => {
                let link = link(input);
                self.event(NetworkEvent::LinkUp(link));
            }
            7 => {
                let link = link(input);
                self.event(NetworkEvent::LinkDown(link));
            }
            8..=10 => {
                let link = link(input);
                let packet = with_header(input.u8(), session(input), input.block());
                self.event(NetworkEvent::FromLink { link, packet: packet.into() });
            }
            11 => {
                let link = link(input);
                self.event(NetworkEvent::FromLink { link, packet: input.block().to_vec().into() });
            }
            12 => {
                let roster =
                    if self.has_roster { roster(session(input)) } else { Roster::default() };
                self.event(NetworkEvent::RosterChanged(Box::new(roster)));
            }
            13 => self.event(NetworkEvent::PeerRestarted(input.u8() % PEERS)),
            14 => {
                self.now += Duration::from_millis(u64::from(input.u16()));
                self.client.update(self.now);
                self.carry_out();
            }
            15 => {
                let group = GROUPS[usize::from(input.u8()) % GROUPS.len()];
                let _ = self.client.join_group(group);
                self.carry_out();
            }
            16 => {
                let group = GROUPS[usize::from(input.u8()) % GROUPS.len()];
                self.client.leave_group(group);
                self.carry_out();
            }
            17 => self.target(input),
            18 => self.say(input),
            _ => self.fail(input),
        }
    }

    fn carry_out(&mut self) {
        carry_out(self.now, &mut self.client, &mut self.net);
    }

    fn target(&mut self, input: &mut Input<'_>) {
        let what = input.u8();
        let target = match what % 3 {
            0 => VoiceTarget::Group(GROUPS[usize::from(what / 8) % GROUPS.len()].to_owned()),
            1 => VoiceTarget::Peer(what / 8 % PEERS),
            _ => VoiceTarget::Client(ClientId(u16::from(what / 8))),
        };
        if what & 4 == 0 {
            let _ = self.client.open_target(target, TargetOptions::default());
        } else {
            self.client.close_target(self.now, &target);
        }
    }

    fn say(&mut self, input: &mut Input<'_>) {
        let what = input.u8();
        let frame = input.block().to_vec();
        match what % 4 {
            0 => {
                let to =
                    Recipient::Group(GroupId::of(GROUPS[usize::from(what / 4) % GROUPS.len()]));
                let _ = self.client.send_text(to, &String::from_utf8_lossy(&frame));
            }
            1 => {
                let to = Recipient::Client(ClientId(u16::from(what / 4)));
                let _ = self.client.send_text(to, &String::from_utf8_lossy(&frame));
            }
            2 => drop(self.client.send_voice(self.now, frame.into())),
            _ => {
                let copies = [what >> 2 & 7, what >> 5];
                let wants_copies = |_| true;
                let (frame, pause_follows) = (frame.into(), what & 0x80 != 0);
                let per_packet = input.u8() % 6;
                let frames_per_packet = &|_| per_packet;
                let wants_copies = &wants_copies;
                let spoken = OutgoingFrame {
                    frame,
                    pause_follows,
                    copies: &copies,
                    wants_copies,
                    frames_per_packet,
                };
                self.client.send_spoken(self.now, &spoken);
                let who = Participant::Peer(what >> 6);
                self.client.send_to(who, |session, sender| {
                    ClockProbe { sender, asked_us: 1 }.encode(session)
                });
            }
        }
        self.carry_out();
    }

    fn fail(&mut self, input: &mut Input<'_>) {
        match input.u8() % 4 {
            0 => self.net.takes_links = !self.net.takes_links,
            1 => self.net.takes_server = !self.net.takes_server,
            2 => {
                self.net.connected = false;
                self.client.leave();
            }
            _ => while self.client.poll_event().is_some() {},
        }
    }

    fn event(&mut self, event: NetworkEvent<u8>) {
        match &event {
            NetworkEvent::Connected => self.net.connected = true,
            NetworkEvent::Disconnected(_) => self.net.connected = false,
            _ => {}
        }
        let voice_on = match &event {
            NetworkEvent::FromLink { link, .. } => Some(link.peer),
            _ => None,
        };
        let mut earlier = Vec::new();
        while let Some(event) = self.client.poll_event() {
            earlier.push(event);
        }
        self.client.network_event(self.now, event);
        self.carry_out();
        while let Some(event) = self.client.poll_event() {
            self.check_event(voice_on, &event);
        }
    }

    /// On a link, who speaks is the link's peer or, without a roster, the client that it is bound
    /// as.
    fn check_event(&self, link: Option<u8>, event: &ClientEvent<u8>) {
        let from = match event {
            ClientEvent::Voice(voice) => voice.from,
            ClientEvent::Extension { from, .. } => *from,
            _ => return,
        };
        if let (Some(peer), true) = (link, self.has_roster) {
            assert_eq!(from, Participant::Peer(peer));
        }
        let you = self.client.view().map(|view| (view.session(), view.you()));
        assert!(
            you.is_none_or(|(session, you)| from != Participant::Client(session, you)),
            "it hears itself"
        );
    }

    fn check(&self) {
        let view = self.client.view();
        if self.client.phase() == Phase::Joined {
            let view = view.expect("who is in a session has a view of it");
            let own = view.table().member(view.you()).expect("everyone is in the own table");
            let listens: Vec<_> = own.groups.values().map(String::as_str).collect();
            assert_eq!(listens, self.client.groups().collect::<Vec<_>>());
        }
        for member in view.iter().flat_map(|view| view.table().members()) {
            for (id, name) in &member.groups {
                assert_eq!(*id, GroupId::of(name));
            }
        }
    }
}

fn link(input: &mut Input<'_>) -> LinkId<u8> {
    let what = input.u8();
    LinkId { peer: what % PEERS, generation: u32::from(what / PEERS % 6) }
}

fn session(input: &mut Input<'_>) -> u32 {
    match input.u8() {
        0..=200 => 1,
        other => u32::from(other) % SESSIONS,
    }
}
