//! A session's server that attacks, over a game's own network: nothing that it makes is heard or read
//! as a member's, and nothing of the members' leaves unsealed. Each attack has a twin in which it must
//! succeed: without a key, or with a server that has it. Rooms have the same with more attacks
//! (`tests/sim/malicious.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_e2ee::{Configuration, KeyRing, RoomKey};
use voicemesh_engine::Seeds;
use voicemesh_networks::memory::PeerKey;
use voicemesh_sealing::ForServer;
use voicemesh_session::client::Participant;
use voicemesh_wire::packet::{self, KeyPackage, Kind, Relay, TextData};
use voicemesh_wire::{ClientId, PeerId, SessionId};

use crate::encryption::{Lan, TICK, WINDOW, everyone};

const SEEDS: u64 = 4;
const MEMBERS: u16 = 3;
const KEY: u8 = 1;
const ANOTHER_KEY: u8 = 2;
const MADE_UP: &str = "made up by the server";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Honest,
    /// In place of each member's identity key and keys it gives the others its own, and writes with
    /// them in the member's name.
    SwapKeys,
    /// No announcement arrives: no member seems to encrypt.
    StripAll,
    /// The same of one member.
    StripOne,
    /// What was sent comes again, at once and later.
    Replay,
    /// What one member sends comes in another one's name.
    Relabel,
    /// Bits are changed.
    Flip,
    /// Texts that no one wrote.
    MakeUp,
}

struct Attacker {
    kind: Kinds,
    random: u64,
    members: BTreeMap<PeerKey, ClientId>,
    has_key: bool,
    /// Of the server in a member's name, for another one.
    rings: BTreeMap<(ClientId, ClientId), KeyRing>,
    /// What each has announced.
    announced: BTreeMap<ClientId, Bytes>,
    earlier: Vec<(PeerKey, Bytes)>,
}

/// Whose a packet is that a server sends on for a member; none for its own.
fn sender(packet: &Bytes) -> Option<(SessionId, ClientId)> {
    let (header, _) = packet::open(packet).ok()?;
    let is_members = header.kind.is_voice()
        || header.kind.is_data()
        || header.kind.is_text()
        || header.kind == Kind::KeyPackage;
    is_members.then(|| voicemesh_sealing::sender(packet))?
}

impl Attacker {
    /// One of so many.
    fn draw(&mut self, of: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % of
    }

    fn attack(&mut self, now: Duration, to: PeerKey, packet: &Bytes) -> Vec<(PeerKey, Bytes)> {
        let Some((session, from)) = sender(packet) else { return vec![(to, packet.clone())] };
        let honest = (to, packet.clone());
        let is_announcement =
            packet::open(packet).is_ok_and(|(header, _)| header.kind == Kind::KeyPackage);
        let strikes = self.draw(3) == 0;
        match self.kind {
            Kinds::Honest => vec![honest],
            Kinds::SwapKeys if is_announcement => self.swap(now, session, from, to, packet),
            Kinds::SwapKeys => vec![honest],
            Kinds::StripAll if is_announcement => Vec::new(),
            Kinds::StripOne if is_announcement && from == ClientId(1) => Vec::new(),
            Kinds::StripAll | Kinds::StripOne => vec![honest],
            Kinds::Replay => {
                self.earlier.push(honest.clone());
                let mut sent = vec![honest];
                if self.draw(2) == 0 {
                    sent.push(sent[0].clone());
                }
                if self.draw(4) == 0 {
                    let at = self.draw(self.earlier.len() as u64) as usize;
                    sent.push(self.earlier[at].clone());
                }
                sent
            }
            Kinds::Relabel if !is_announcement && strikes => {
                // The sender is the first that is in a packet behind its header.
                let at = packet.windows(2).skip(7).position(|it| it == from.0.to_be_bytes());
                let at = 7 + at.expect("it names its sender");
                let mut changed = packet.to_vec();
                let other = ClientId(1 + (from.0 + self.draw(2) as u16) % MEMBERS);
                changed[at..at + 2].copy_from_slice(&other.0.to_be_bytes());
                vec![honest, (to, changed.into())]
            }
            Kinds::Flip if !is_announcement && strikes => {
                let at = packet.len() - 1 - self.draw(packet.len() as u64 / 2) as usize;
                let mut changed = packet.to_vec();
                changed[at] ^= 1 << self.draw(8);
                vec![(to, changed.into())]
            }
            Kinds::MakeUp if strikes => {
                let text = TextData { sender: from, recipient: everyone(), text: MADE_UP };
                vec![honest, (to, text.encode(session).into())]
            }
            Kinds::Relabel | Kinds::Flip | Kinds::MakeUp => vec![honest],
        }
    }

    fn swap(
        &mut self,
        now: Duration,
        session: SessionId,
        from: ClientId,
        to: PeerKey,
        packet: &Bytes,
    ) -> Vec<(PeerKey, Bytes)> {
        let victim = self.members[&to];
        let (_, body) = packet::open(packet).expect("a packet");
        let announcement = KeyPackage::decode(body).expect("a package").announcement;
        self.announced.insert(from, packet.slice_ref(announcement));
        let room_key = RoomKey::new([if self.has_key { KEY } else { ANOTHER_KEY }; 16]);
        let mut seeds = Seeds::new([self.draw(256) as u8; 32]);
        let peer_of = |client| PeerId::of_client(session, client);
        let ring = self.rings.entry((from, victim)).or_insert_with(|| {
            let configuration = Configuration {
                secret: &seeds.next_secret(),
                origin: "",
                room: "",
                instance: 0,
                peer: peer_of(from),
                room_key: Some(room_key),
                max_members: 4,
            };
            KeyRing::new(configuration, seeds.next_seed())
        });
        if let Some(theirs) = self.announced.get(&victim) {
            let _ = ring.set_member(now, session, peer_of(victim), theirs);
        }
        while ring.agree_next() {}
        let announcement = ring.announcement(session);
        let package = ring.poll_package().map_or(Vec::new(), |(_, package)| package);
        let keys = KeyPackage { sender: from, announcement: &announcement, package: &package };
        let mut sent = vec![(to, Bytes::from(keys.encode(session)))];
        if ring.was_given_keys(peer_of(victim)) {
            let text = TextData { sender: from, recipient: everyone(), text: MADE_UP };
            let (mut relayed, kind) = (Vec::new(), Kind::ServerRelayReliable);
            Relay::encode_packet(kind, session, &[victim], &text.encode(session), &mut relayed);
            let peer = |client| Some(peer_of(client));
            let sealed =
                voicemesh_sealing::seal_for_server(ring, now, relayed.into(), peer, |_| false);
            for sealed in sealed {
                let (ForServer::Packet(packet) | ForServer::Text { sent: packet, .. }) = sealed;
                let (_, body) = packet::open(&packet).expect("a packet");
                let inside = Relay::decode(body).expect("a relayed one").packet;
                sent.push((to, packet.slice_ref(inside)));
            }
        }
        sent
    }
}

#[derive(Debug, Default)]
struct Outcome {
    /// Heard or read, and not said or written by that member, or not so often.
    foreign: usize,
    /// Packets that show a frame or a text.
    plain: usize,
    /// Of each pair, the frames that arrived.
    heard: BTreeMap<(u16, u16), usize>,
    read: usize,
}

/// Another pitch for each member.
fn voice(member: u16, now: Duration) -> Block {
    let begin = now.as_secs_f32() * 48_000.0;
    let pitch = 180.0 + 60.0 * f32::from(member);
    let tone = move |at: f32| (at * pitch * std::f32::consts::TAU / 48_000.0).sin();
    let noise = move |at: f32| ((at * 12.989 + f32::from(member)).sin() * 43_758.547).fract();
    std::array::from_fn(|at| {
        let at = begin + at as f32;
        0.3 * tone(at) + 0.02 * noise(at)
    })
}

fn play(kind: Kinds, key: Option<u8>, server_has_key: bool, seed: u64) -> Outcome {
    let mut lan = Lan::dedicated(&[]);
    (0..MEMBERS).for_each(|_| lan.join(key));
    let members = (1..=MEMBERS)
        .map(|member| (lan.peers[usize::from(member)].network().inner.key(), ClientId(member)));
    let mut attacker = Attacker {
        kind,
        random: seed,
        members: members.collect(),
        has_key: server_has_key,
        rings: BTreeMap::new(),
        announced: BTreeMap::new(),
        earlier: Vec::new(),
    };
    let attack = move |now, to, packet: &Bytes| attacker.attack(now, to, packet);
    lan.peers[0].network().attack.replace(Some(Box::new(attack)));
    lan.run(60, &[]);
    for member in 1..=MEMBERS {
        assert_eq!(lan.id(member.into()), ClientId(member), "in the order in which they came");
    }
    let session = lan.peers[1].status().session.expect("a session");

    let mut outcome = Outcome::default();
    let (mut said, mut heard) = (BTreeSet::new(), Vec::new());
    let mut windows = BTreeSet::new();
    let mut written = BTreeSet::new();
    for turn in 0..100 {
        lan.now += TICK;
        let now = lan.now;
        for (member, peer) in (0..).zip(&mut lan.peers) {
            peer.update(now);
            if member > 0 {
                peer.capture(now, &voice(member, now)).expect("it is encoded");
                let mut block: Block = [0.0; BLOCK_SAMPLES];
                peer.render(now, &mut block);
            }
            if member > 0 && turn % 25 == 5 {
                let text = format!("words of {member} in turn {turn}, for all who have the key");
                peer.send_text(now, everyone(), &text).expect("it is taken");
                windows.extend(text.as_bytes().windows(WINDOW).map(<[u8]>::to_vec));
                written.insert((member, text));
            }
            for frame in std::iter::from_fn(|| peer.poll_frame()) {
                // A short one may be another member's as well.
                if frame.frame.len() < 2 * WINDOW {
                    continue;
                }
                match frame.from {
                    None => {
                        windows.extend(frame.frame.windows(WINDOW).map(<[u8]>::to_vec));
                        said.insert((member, frame.frame));
                    }
                    Some(from) => heard.push((from, member, frame)),
                }
            }
        }
    }
    lan.run(60, &[]);
    for member in 1..=MEMBERS {
        let peer = &mut lan.peers[usize::from(member)];
        heard.extend(std::iter::from_fn(|| peer.poll_frame()).filter_map(|frame| {
            (frame.frame.len() >= 2 * WINDOW).then(|| Some((frame.from?, member, frame)))?
        }));
    }
    let mut once = BTreeSet::new();
    for (from, listener, frame) in heard {
        let Participant::Client(of, ClientId(speaker)) = from else { panic!("there are no links") };
        let is_said = of == session && said.contains(&(speaker, frame.frame.clone()));
        if is_said && once.insert((speaker, listener, frame.sequence)) {
            *outcome.heard.entry((speaker, listener)).or_default() += 1;
        } else {
            outcome.foreign += 1;
        }
    }
    for reader in 1..=MEMBERS {
        let mut read = BTreeSet::new();
        for text in lan.texts(reader.into()) {
            let is_written = written.iter().any(|(_, it)| *it == text);
            if is_written && read.insert(text) {
                outcome.read += 1;
            } else {
                outcome.foreign += 1;
            }
        }
    }
    let shows = |packet: &Bytes| packet.windows(WINDOW).any(|it| windows.contains(it));
    outcome.plain = lan.tape.take().iter().filter(|packet| shows(packet)).count();
    outcome
}

#[test]
fn a_server_that_attacks_is_neither_heard_nor_read_and_hears_nothing() {
    for seed in 0..SEEDS {
        for kind in [
            Kinds::Honest,
            Kinds::SwapKeys,
            Kinds::StripAll,
            Kinds::StripOne,
            Kinds::Replay,
            Kinds::Relabel,
            Kinds::Flip,
            Kinds::MakeUp,
        ] {
            let outcome = play(kind, Some(KEY), false, seed);
            let what = format!("{kind:?}, seed {seed}: {outcome:?}");
            assert_eq!((outcome.foreign, outcome.plain), (0, 0), "{what}");
            let heard = |pair| outcome.heard.get(&pair).copied().unwrap_or_default();
            let least = (1..=MEMBERS)
                .flat_map(|one| (1..=MEMBERS).map(move |other| (one, other)))
                .filter(|(one, other)| one != other)
                .map(heard)
                .min();
            match kind {
                Kinds::Honest | Kinds::Replay | Kinds::Relabel | Kinds::MakeUp => {
                    assert!(least > Some(30) && outcome.read == 24, "{what}");
                }
                Kinds::Flip => assert!(least > Some(10), "{what}"),
                Kinds::StripOne => assert!(heard((2, 3)) > 30 && heard((1, 2)) == 0, "{what}"),
                Kinds::SwapKeys | Kinds::StripAll => {
                    assert!(outcome.heard.is_empty() && outcome.read == 0, "{what}");
                }
            }
        }
    }
}

#[test]
fn without_a_key_or_with_a_server_that_has_it_the_same_attacks_succeed() {
    for seed in 0..SEEDS {
        let plain = play(Kinds::Honest, None, false, seed);
        assert!(plain.foreign == 0 && plain.plain > 100, "seed {seed}: {plain:?}");
        for kind in [Kinds::Replay, Kinds::Relabel, Kinds::Flip, Kinds::MakeUp] {
            let outcome = play(kind, None, false, seed);
            assert!(outcome.foreign > 0, "{kind:?}, seed {seed}: {outcome:?}");
        }
        let outcome = play(Kinds::SwapKeys, Some(KEY), true, seed);
        assert!(outcome.foreign > 0, "the server has the key, seed {seed}: {outcome:?}");
    }
}
