//! A malicious server in whole rooms: the real server, and an attacker between it and the members
//! who encrypt. Nothing of the server's is heard or read, nothing of the members' leaves unsealed,
//! and what the attack does not withhold arrives.
//!
//! Each attack has a twin in a room without what stops it, where it must succeed: a room without a
//! key, one whose members do not encrypt, or the same with one thing changed (`twin`). Of two the
//! check is inside of the key ring only; their twins are in `crates/e2ee/src/tests/attacks.rs`. That
//! nothing is sent to a member who is said to be unable to encrypt is the mesh's; the twin without
//! that is in `crates/mesh/src/tests/encryption.rs`.
//!
//! `ATTACK_SEEDS=1000` runs so many of each (`make test-long PART=attacks`).

mod attacker;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use voicemesh_e2ee::{RoomKey, SafetyCode};
use voicemesh_engine::EngineEvent;
use voicemesh_mesh::{MemberEncryption, MeshEvent, SocketEvent};
use voicemesh_rooms::RoomRules;
use voicemesh_session::client::{ClientEvent, Participant};
use voicemesh_wire::signaling::Moderation;
use voicemesh_wire::{Permissions, SessionId};

use self::attacker::{AttackKind, Attacker};
use crate::carrier::Attack;
use crate::encryption::key_ring;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// What is looked for in packets that must not show what they carry.
const WINDOW_BYTES: usize = 16;
/// How many seeds of each, unless `ATTACK_SEEDS` says otherwise.
const USUAL_SEEDS: u64 = 2;
const TWIN_SEEDS: u64 = 2;
const MOST_SEEDS: u64 = 1_000;
/// Samples of a member's voice: more than it says.
const VOICE_SAMPLES: usize = 12 * 48_000;

/// What protects a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    /// A key in the link.
    RoomKey,
    /// Encryption, without such a key.
    NoRoomKey,
    /// Nothing: members do not encrypt.
    Unencrypted,
}

/// A change that lets an attack succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weakening {
    None,
    /// What is withheld is brought back while the former keys are still accepted.
    BringsBackSoon,
    /// The departure of a member is not known to the others.
    DepartureUnknown,
    /// Each member lets the server hear what it says to all who cannot encrypt.
    EveryoneConsents,
}

#[derive(Debug, Default)]
struct Outcome {
    /// What was heard or read and was not said or written, or not to whom, or not so often.
    foreign: Vec<String>,
    /// How much of it by a member whose safety code was that of these people in an honest room.
    unnoticed: usize,
    /// Packets that show what they carry.
    plain: usize,
    /// Of each pair that the attack leaves alone, the part that arrived; the least.
    heard: f64,
    /// A member's safety code differs from that of these people in an honest room.
    code_changed: bool,
    /// Whether, before the attack, no member's did; none if there was no such time.
    honest_before: Option<bool>,
    /// Links whose certificate is the server's.
    links: u64,
    attempts: u64,
}

struct Scene {
    world: World,
    attacker: Rc<RefCell<Attacker>>,
    protection: Protection,
    kind: AttackKind,
    seed: u64,
    /// Frames of each member, and those of them that count.
    said: Vec<BTreeSet<Bytes>>,
    counted: Vec<BTreeSet<Bytes>>,
    is_counting: bool,
    heard: BTreeMap<(usize, usize), BTreeSet<Bytes>>,
    windows: HashSet<[u8; WINDOW_BYTES]>,
    written: Vec<BTreeSet<String>>,
    read: BTreeSet<(usize, usize, String)>,
    /// Texts that begin so must not arrive any more.
    stale: Option<&'static str>,
    /// A member that left, and what it must not hear.
    gone: Option<usize>,
    said_without_it: BTreeSet<Bytes>,
    /// The codes in an honest room of those who are there, and of those who stayed; and whose
    /// differed from both before a step.
    honest_codes: Vec<SafetyCode>,
    differs: Vec<bool>,
    everyone_consents: bool,
    outcome: Outcome,
}

impl Scene {
    fn new(kind: AttackKind, protection: Protection, seed: u64) -> Self {
        let mut world = World::new(seed);
        world.encrypts = protection != Protection::Unencrypted;
        world.room_key = (protection == Protection::RoomKey).then(|| RoomKey::new([0xA7; 16]));
        let attacker = Attacker::new(kind, protection == Protection::RoomKey, seed);
        let attacker = Rc::new(RefCell::new(attacker));
        let between = attacker.clone();
        {
            let mut wires = world.wires.borrow_mut();
            wires.links_blocked = kind != AttackKind::Fingerprints;
            wires.server_forges = kind == AttackKind::Fingerprints;
            wires.carried = Some(Vec::new());
            wires.attack =
                Some(Attack(Box::new(move |_, to, event| between.borrow_mut().word(to, event))));
        }
        Self {
            world,
            attacker,
            protection,
            kind,
            seed,
            said: Vec::new(),
            counted: Vec::new(),
            is_counting: false,
            heard: BTreeMap::new(),
            windows: HashSet::new(),
            written: Vec::new(),
            read: BTreeSet::new(),
            stale: None,
            gone: None,
            said_without_it: BTreeSet::new(),
            honest_codes: Vec::new(),
            differs: Vec::new(),
            everyone_consents: false,
            outcome: Outcome::default(),
        }
    }

    fn add_members(&mut self, number: usize) {
        for _ in 0..number {
            let at = self.world.add_peer();
            let peer = &mut self.world.peers[at];
            peer.comms.set_tapped(true);
            let mut noise = ChaCha8Rng::seed_from_u64(self.seed * 64 + at as u64);
            let mut sample = || (noise.next_u32() as f32 / u32::MAX as f32 - 0.5) * 0.4;
            peer.speech = (0..VOICE_SAMPLES).map(|_| sample()).collect();
            self.said.push(BTreeSet::new());
            self.counted.push(BTreeSet::new());
            self.written.push(BTreeSet::new());
        }
        self.honest_codes = vec![self.code_of_an_honest_room(number)];
    }

    fn run(&mut self, time: Duration) {
        let until = self.world.now() + time;
        while self.world.now() < until {
            self.step();
        }
    }

    fn run_until(&mut self, at_most: Duration, what: &str, condition: impl Fn(&World) -> bool) {
        let until = self.world.now() + at_most;
        while !condition(&self.world) {
            assert!(self.world.now() < until, "{what}: not in time (seed {})", self.seed);
            self.step();
        }
    }

    fn step(&mut self) {
        self.differs = self.codes_that_differ();
        self.world.step();
        if self.everyone_consents {
            self.consent();
        }
        self.attacker.borrow_mut().tick(self.world.now());
        self.deliver_pending();
        self.collect_frames();
        self.collect_texts();
        self.look_for_plain_text();
    }

    fn consent(&mut self) {
        for peer in &mut self.world.peers {
            let mesh = &mut peer.comms.network_mut().mesh;
            let members: Vec<_> = mesh.members().map(|it| (it.peer, it.name.clone())).collect();
            for (member, name) in members {
                mesh.allow_unencrypted(member, Some(&name));
            }
        }
    }

    fn deliver_pending(&mut self) {
        let pending = std::mem::take(&mut self.attacker.borrow_mut().pending);
        let mut wires = self.world.wires.borrow_mut();
        for (to, event) in pending {
            let newest =
                wires.sockets.iter().filter(|(of, _)| *of == to).map(|(_, socket)| *socket);
            if let Some(socket) = newest.max() {
                wires.carry_to_peer(to, socket, event);
            }
        }
    }

    fn collect_frames(&mut self) {
        let mut received = Vec::new();
        for (at, peer) in self.world.peers.iter_mut().enumerate() {
            while let Some(frame) = peer.comms.poll_frame() {
                if frame.frame.is_empty() {
                    continue;
                }
                let Some(from) = frame.from else {
                    self.windows.extend(windows(&frame.frame));
                    if self.is_counting {
                        self.counted[at].insert(frame.frame.clone());
                    }
                    if self.gone.is_some() {
                        self.said_without_it.insert(frame.frame.clone());
                    }
                    self.said[at].insert(frame.frame);
                    continue;
                };
                received.push((at, from, frame.frame));
            }
        }
        for (at, from, frame) in received {
            let of = self.world.peers.iter().position(|peer| Participant::Peer(peer.id) == from);
            let Some(of) = of.filter(|of| self.said[*of].contains(&frame)) else {
                self.accepted(at, format!("{at} heard what {from:?} did not say"));
                continue;
            };
            if self.gone == Some(at) && self.said_without_it.contains(&frame) {
                // Whatever its code is: those who stayed know nothing of it.
                self.outcome.unnoticed += 1;
                self.outcome.foreign.push(format!("{at} had left and heard {of}"));
            }
            if !self.heard.entry((at, of)).or_default().insert(frame) {
                self.accepted(at, format!("{at} heard {of} say something again"));
            }
        }
    }

    fn accepted(&mut self, at: usize, what: String) {
        self.outcome.unnoticed +=
            usize::from(!self.differs.get(at).is_some_and(|differs| *differs));
        self.outcome.foreign.push(what);
    }

    fn collect_texts(&mut self) {
        for at in 0..self.world.peers.len() {
            for (_, event) in std::mem::take(&mut self.world.peers[at].events) {
                let EngineEvent::Session(ClientEvent::Text { from, text, .. }) = event else {
                    continue;
                };
                let peers = &self.world.peers;
                let of = peers.iter().position(|peer| Participant::Peer(peer.id) == from);
                let is_genuine = of.is_some_and(|of| self.written[of].contains(&text));
                let is_stale = self.stale.is_some_and(|beginning| text.starts_with(beginning));
                if !is_genuine || is_stale {
                    self.accepted(at, format!("{at} read {text:?} of {from:?}"));
                } else if let Some(of) = of
                    && !self.read.insert((at, of, text.clone()))
                {
                    self.accepted(at, format!("{at} read {text:?} of {of} again"));
                }
            }
        }
    }

    fn look_for_plain_text(&mut self) {
        let carried = self.world.wires.borrow_mut().carried.replace(Vec::new());
        for (.., packet) in carried.expect("it is kept") {
            let shows = windows(&packet).any(|window| self.windows.contains(&window));
            self.outcome.plain += usize::from(shows);
        }
    }

    fn write(&mut self, by: usize, text: String) {
        let at = self.world.now() + self.world.peers[by].clock;
        self.windows.extend(windows(text.as_bytes()));
        self.written[by].insert(text.clone());
        // In a room that the attack has emptied there may be no one to write to.
        let _ = self.world.peers[by].comms.send_group_text(at, "Global", &text);
    }

    fn set_speaking(&mut self, speaking: bool) {
        for peer in self.world.peers.iter_mut().filter(|peer| !peer.frozen) {
            peer.speaking = speaking;
        }
    }

    /// Everyone speaks, and writes now and then.
    fn converse(&mut self, time: Duration) {
        self.set_speaking(true);
        let until = self.world.now() + time;
        let mut number = 0;
        while self.world.now() < until {
            self.run(SECOND / 4);
            let by = number % self.world.peers.len();
            if !self.world.peers[by].frozen {
                let now = self.world.now().as_millis();
                self.write(by, format!("words of member {by} at {now} ms"));
            }
            number += 1;
        }
    }

    fn attack(&self, is_active: bool) {
        self.attacker.borrow_mut().is_active = is_active;
    }

    fn wait_until_encrypted(&mut self) {
        let verified = self.protection == Protection::RoomKey;
        let expected = Some(MemberEncryption::Encrypted { verified });
        let encrypts = self.protection != Protection::Unencrypted;
        let members = self.world.peers.len();
        self.run_until(4 * SECOND, "connected", |world| {
            let pairs = (0..members).flat_map(|at| (0..members).map(move |of| (at, of)));
            pairs.filter(|(at, of)| at != of).all(|(at, of)| {
                let mesh = &world.peers[at].comms.network().mesh;
                let state = mesh.encryption_of(world.peers[of].id);
                world.peers[at].comms.status().members.len() == members
                    && (!encrypts || state == expected)
            })
        });
        self.run(SECOND / 5);
        self.note_codes();
    }

    /// There is no attack yet that changes a code.
    fn note_codes(&mut self) {
        let are_honest = !self.codes_that_differ().contains(&true);
        let before = self.outcome.honest_before.unwrap_or(true);
        self.outcome.honest_before = Some(before && are_honest);
    }

    /// What the first so many members would compare in a room without an attacker.
    fn code_of_an_honest_room(&self, members: usize) -> SafetyCode {
        let ids: Vec<_> = self.world.peers.iter().take(members).map(|peer| peer.id).collect();
        let session = SessionId::new(1).expect("not zero");
        let ring = |number: usize| {
            let secret = self.world.secret(number as u64 + 1);
            key_ring(&secret, ids[number], self.world.room_key.clone(), 1)
        };
        let mut first = ring(0);
        for (number, id) in ids.iter().enumerate().skip(1) {
            let announcement = ring(number).announcement(session);
            first
                .set_member(Duration::ZERO, session, *id, &announcement)
                .expect("an honest announcement is accepted");
        }
        first.safety_code()
    }

    fn codes_that_differ(&self) -> Vec<bool> {
        let codes = self.world.peers.iter().map(|peer| peer.comms.network().mesh.safety_code());
        codes.map(|code| !code.is_some_and(|code| self.honest_codes.contains(&code))).collect()
    }

    /// Whether the attack keeps what these two say from each other.
    fn is_kept_apart(&self, at: usize, of: usize) -> bool {
        match self.kind {
            AttackKind::StripOne | AttackKind::StripLater => at == 1 || of == 1,
            AttackKind::DropRekeys | AttackKind::RollBack => at == 3 || of == 3,
            AttackKind::StripAll | AttackKind::SwapAtJoin => true,
            _ => false,
        }
    }

    fn end(mut self) -> Outcome {
        self.attack(false);
        self.set_speaking(false);
        self.run(SECOND);
        let members = self.world.peers.len();
        let mut least: f64 = 1.0;
        for (at, of) in (0..members).flat_map(|at| (0..members).map(move |of| (at, of))) {
            if at == of || self.is_kept_apart(at, of) {
                continue;
            }
            let counted = &self.counted[of];
            assert!(counted.len() > 50, "{of} said {} frames (seed {})", counted.len(), self.seed);
            let heard = self.heard.get(&(at, of));
            let arrived = heard.map_or(0, |heard| counted.intersection(heard).count());
            least = least.min(arrived as f64 / counted.len() as f64);
        }
        self.outcome.heard = least;
        self.outcome.attempts = self.attacker.borrow().attempts;
        let wires = self.world.wires.borrow();
        if self.kind == AttackKind::Fingerprints {
            self.outcome.links = wires.links_opened;
            self.outcome.attempts = wires.signals.len() as u64;
        }
        drop(wires);
        self.outcome
    }
}

fn windows(bytes: &[u8]) -> impl Iterator<Item = [u8; WINDOW_BYTES]> + '_ {
    bytes.windows(WINDOW_BYTES).map(|window| window.try_into().expect("of this length"))
}

/// One attack in one room.
fn play(kind: AttackKind, protection: Protection, weakening: Weakening, seed: u64) -> Outcome {
    let mut scene = Scene::new(kind, protection, seed);
    scene.everyone_consents = weakening == Weakening::EveryoneConsents;
    match kind {
        _ if is_there_from_the_join(kind) => {
            scene.attack(true);
            scene.add_members(3);
            scene.run(2 * SECOND);
            scene.is_counting = true;
        }
        AttackKind::RollBack => return play_rollback(scene, weakening),
        AttackKind::DropRekeys => return play_departure(scene, weakening),
        AttackKind::Fingerprints => {
            scene.add_members(3);
            scene.wait_until_encrypted();
            scene.is_counting = true;
        }
        AttackKind::SpliceSessions => {
            scene.add_members(3);
            scene.wait_until_encrypted();
            scene.converse(SECOND);
            scene.set_speaking(false);
            scene.world.kill_server();
            scene.run(SECOND);
            scene.world.start_server(RoomRules::default());
            scene.run_until(25 * SECOND, "everyone is back", |world| {
                world.peers.iter().all(|peer| {
                    let joined = |event: &&MeshEvent| matches!(event, MeshEvent::Joined { .. });
                    peer.mesh_events.iter().filter(joined).count() == 2
                        && peer.comms.status().members.len() == 3
                })
            });
            scene.run(SECOND);
            scene.is_counting = true;
        }
        AttackKind::SpliceRooms => {
            scene.attacker.borrow_mut().foreign = said_elsewhere(protection, seed);
            scene.add_members(3);
            scene.wait_until_encrypted();
            scene.is_counting = true;
        }
        _ => {
            scene.add_members(3);
            scene.wait_until_encrypted();
            scene.is_counting = true;
            scene.converse(SECOND / 2);
        }
    }
    scene.attack(true);
    scene.converse(2 * SECOND);
    scene.outcome.code_changed = scene.codes_that_differ().contains(&true);
    scene.end()
}

/// What the server passed on in a room of other people with the same key.
fn said_elsewhere(protection: Protection, seed: u64) -> Vec<Bytes> {
    let mut scene = Scene::new(AttackKind::Honest, protection, seed ^ 0x0E15_E00E);
    scene.add_members(2);
    let passed_on = Rc::new(RefCell::new(Vec::new()));
    let kept = passed_on.clone();
    scene.wait_until_encrypted();
    scene.world.wires.borrow_mut().attack = Some(Attack(Box::new(move |_, _, event| {
        if let SocketEvent::Packet(packet) = &event {
            let opened = voicemesh_wire::packet::open(packet);
            let is_said = opened.is_ok_and(|(header, _)| {
                header.kind.is_voice()
                    || header.kind.is_text()
                    || header.kind == voicemesh_wire::packet::Kind::SealedText
            });
            if is_said {
                kept.borrow_mut().push(packet.clone());
            }
        }
        vec![event]
    })));
    scene.converse(SECOND);
    drop(scene);
    passed_on.take()
}

/// A text is withheld, a member leaves, and the text comes back with the former keys.
fn play_rollback(mut scene: Scene, weakening: Weakening) -> Outcome {
    scene.add_members(4);
    scene.wait_until_encrypted();
    scene.world.set_permissions(1, Permissions::ALL, false);
    scene.attacker.borrow_mut().is_withholding = true;
    for number in 0..4 {
        scene.write(0, format!("from before, number {number}"));
        scene.run(SECOND / 10);
    }
    scene.attacker.borrow_mut().is_withholding = false;
    assert!(!scene.attacker.borrow().withheld.is_empty(), "there is something to bring back");
    kick_the_fourth(&mut scene, usize::MAX);
    scene.run(SECOND);
    // The new keys are in use.
    scene.converse(SECOND / 2);
    scene.set_speaking(false);
    // With the time that the former keys are accepted, 11 s have passed.
    let wait = if weakening == Weakening::BringsBackSoon { SECOND } else { 11 * SECOND };
    scene.run(wait);
    scene.note_codes();
    scene.stale = Some("from before");
    scene.is_counting = true;
    scene.set_speaking(true);
    scene.run(SECOND / 2);
    scene.attacker.borrow_mut().bring_back();
    scene.converse(3 * SECOND / 2);
    scene.end()
}

fn kick_the_fourth(scene: &mut Scene, unheard: usize) {
    let peer = scene.world.peers[3].id;
    scene.honest_codes.push(scene.code_of_an_honest_room(3));
    scene.world.moderate(1, Moderation::Kick { peer }, unheard);
    if unheard == usize::MAX {
        // It stays away.
        scene.world.peers[3].speaking = false;
        scene.world.peers[3].frozen = true;
    }
}

/// A member leaves, the server goes on relaying to it, and the keys that follow are dropped.
fn play_departure(mut scene: Scene, weakening: Weakening) -> Outcome {
    scene.add_members(4);
    scene.wait_until_encrypted();
    scene.world.set_permissions(1, Permissions::ALL, false);
    scene.set_speaking(true);
    scene.run(SECOND);
    scene.attack(true);
    if weakening == Weakening::None {
        kick_the_fourth(&mut scene, 3);
    }
    scene.world.peers[3].speaking = false;
    scene.run(SECOND);
    scene.gone = Some(3);
    // Before it notices that it was put out, and joins again.
    scene.run(SECOND);
    scene.gone = None;
    scene.world.peers[3].frozen = true;
    scene.attack(false);
    // Keys are asked for again with what cannot be opened.
    scene.run(3 * SECOND);
    scene.is_counting = true;
    scene.converse(3 * SECOND / 2);
    scene.end()
}

/// Whether an attack shows in the codes of a room without a key, whatever else it does.
fn changes_identities(kind: AttackKind) -> bool {
    matches!(kind, AttackKind::Ghost | AttackKind::SwapAtJoin | AttackKind::StripAll)
}

fn is_there_from_the_join(kind: AttackKind) -> bool {
    matches!(kind, AttackKind::SwapAtJoin | AttackKind::StripOne | AttackKind::StripAll)
}

fn judge(kind: AttackKind, protection: Protection, seed: u64) -> Outcome {
    let outcome = play(kind, protection, Weakening::None, seed);
    let what = format!("{kind:?} in a room with {protection:?}, seed {seed}: {outcome:?}");
    // A code that always differs would excuse everything.
    assert_eq!(outcome.honest_before, (!is_there_from_the_join(kind)).then_some(true), "{what}");
    assert_eq!(outcome.plain, 0, "{what}");
    assert!(kind == AttackKind::Honest || outcome.attempts > 0, "it did nothing: {what}");
    match protection {
        Protection::RoomKey => {
            assert!(outcome.foreign.is_empty() && outcome.links == 0, "{what}");
            assert!(outcome.heard >= 0.99, "{what}");
        }
        _ => {
            assert_eq!(outcome.unnoticed, 0, "{what}");
            assert!(outcome.code_changed || !changes_identities(kind), "{what}");
        }
    }
    outcome
}

/// The attack where nothing stops it, and whether it succeeded. None if its twin is elsewhere.
fn twin(kind: AttackKind, seed: u64) -> Option<bool> {
    use Protection::{NoRoomKey, RoomKey, Unencrypted};
    let outcome = |protection| play(kind, protection, Weakening::None, seed);
    let accepts_foreign = |outcome: Outcome| !outcome.foreign.is_empty();
    Some(match kind {
        AttackKind::Ghost | AttackKind::SwapAtJoin => accepts_foreign(outcome(NoRoomKey)),
        AttackKind::Fingerprints => outcome(NoRoomKey).links > 0,
        AttackKind::Replay
        | AttackKind::Truncate
        | AttackKind::FlipBits
        | AttackKind::OtherName
        | AttackKind::SpliceRooms
        | AttackKind::SpliceSessions
        | AttackKind::Unsealed => accepts_foreign(outcome(Unencrypted)),
        // Without a key a member may be one that cannot encrypt, and what is said in its name is
        // taken …
        AttackKind::StripOne | AttackKind::StripAll => accepts_foreign(outcome(NoRoomKey)),
        // … unless it has encrypted before.
        AttackKind::StripLater => {
            accepts_foreign(play(AttackKind::StripOne, NoRoomKey, Weakening::None, seed))
        }
        // What tells the order apart from a loss is what arrives.
        AttackKind::Reorder => {
            play(AttackKind::Withhold, RoomKey, Weakening::None, seed).heard < 0.99
        }
        AttackKind::RollBack => {
            accepts_foreign(play(kind, RoomKey, Weakening::BringsBackSoon, seed))
        }
        AttackKind::DropRekeys => {
            accepts_foreign(play(kind, RoomKey, Weakening::DepartureUnknown, seed))
        }
        // It is seen that packets show what they carry.
        AttackKind::Honest => outcome(Unencrypted).plain > 0,
        // `swapped_identity_keys_of_a_known_member_without_a_room_key`.
        AttackKind::SwapLater | AttackKind::Withhold => return None,
    })
}

fn prove(kind: AttackKind) {
    for seed in 1..=seeds(USUAL_SEEDS) {
        judge(kind, Protection::RoomKey, seed);
        judge(kind, Protection::NoRoomKey, seed);
    }
    for seed in 1..=TWIN_SEEDS {
        assert_ne!(twin(kind, seed), Some(false), "{kind:?} proves nothing (seed {seed})");
    }
}

fn seeds(usual: u64) -> u64 {
    std::env::var("ATTACK_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

#[test]
fn what_an_honest_server_passes_on_is_heard_and_nothing_else() {
    prove(AttackKind::Honest);
}

/// proves: B-04
#[test]
fn members_that_do_not_exist_are_neither_heard_nor_sent_anything() {
    prove(AttackKind::Ghost);
}

#[test]
fn identity_keys_that_the_server_put_in_place_of_the_members_are_refused() {
    prove(AttackKind::SwapAtJoin);
}

#[test]
fn identity_keys_of_members_who_are_known_do_not_change() {
    prove(AttackKind::SwapLater);
}

/// proves: B-04
#[test]
fn links_to_the_servers_certificate_do_not_open() {
    prove(AttackKind::Fingerprints);
}

#[test]
fn what_is_sent_again_is_heard_once() {
    prove(AttackKind::Replay);
}

#[test]
fn what_comes_in_another_order_is_heard() {
    prove(AttackKind::Reorder);
}

#[test]
fn the_beginnings_of_packets_are_not_opened() {
    prove(AttackKind::Truncate);
}

#[test]
fn what_was_said_in_another_room_is_not_heard_in_this_one() {
    prove(AttackKind::SpliceRooms);
}

#[test]
fn what_was_said_in_the_former_session_is_not_heard_in_this_one() {
    prove(AttackKind::SpliceSessions);
}

#[test]
fn keys_of_before_a_departure_do_not_come_back() {
    prove(AttackKind::RollBack);
}

#[test]
fn who_left_hears_nothing_though_the_keys_that_follow_are_dropped() {
    prove(AttackKind::DropRekeys);
}

/// proves: B-04
#[test]
fn nothing_is_said_unsealed_because_the_server_says_that_one_member_cannot_encrypt() {
    prove(AttackKind::StripOne);
}

#[test]
fn nothing_is_said_unsealed_because_the_server_says_that_no_member_can_encrypt() {
    prove(AttackKind::StripAll);
}

#[test]
fn nothing_is_said_unsealed_because_the_server_says_that_a_member_cannot_encrypt_any_more() {
    prove(AttackKind::StripLater);
}

/// A permission is for one of whom nothing else is known. That plain speech is seen shows the twin.
#[test]
fn permissions_of_all_give_the_server_nothing_with_a_key_or_of_those_who_have_encrypted() {
    let plain =
        |kind, protection, seed| play(kind, protection, Weakening::EveryoneConsents, seed).plain;
    for seed in 1..=seeds(USUAL_SEEDS) {
        for kind in [AttackKind::StripOne, AttackKind::StripAll, AttackKind::StripLater] {
            assert_eq!(plain(kind, Protection::RoomKey, seed), 0, "{kind:?}, seed {seed}");
        }
        for kind in [AttackKind::Honest, AttackKind::StripLater, AttackKind::SwapLater] {
            assert_eq!(plain(kind, Protection::NoRoomKey, seed), 0, "{kind:?}, seed {seed}");
        }
        assert!(plain(AttackKind::StripAll, Protection::NoRoomKey, seed) > 0, "seed {seed}");
    }
}

#[test]
fn packets_with_a_changed_bit_are_not_opened() {
    prove(AttackKind::FlipBits);
}

#[test]
fn what_one_member_said_is_not_heard_as_said_by_another() {
    prove(AttackKind::OtherName);
}

/// proves: B-04
#[test]
fn what_the_server_says_in_a_members_name_is_not_heard() {
    prove(AttackKind::Unsealed);
}

const ALL: [AttackKind; 17] = [
    AttackKind::Ghost,
    AttackKind::SwapAtJoin,
    AttackKind::SwapLater,
    AttackKind::Fingerprints,
    AttackKind::Replay,
    AttackKind::Reorder,
    AttackKind::Truncate,
    AttackKind::SpliceRooms,
    AttackKind::SpliceSessions,
    AttackKind::RollBack,
    AttackKind::DropRekeys,
    AttackKind::StripOne,
    AttackKind::StripAll,
    AttackKind::StripLater,
    AttackKind::FlipBits,
    AttackKind::OtherName,
    AttackKind::Unsealed,
];

/// What many runs of one attack came to.
#[derive(Default)]
struct Tally {
    attempts: u64,
    least_heard: f64,
    foreign_without_key: usize,
    changed_codes: u64,
    failed: Vec<String>,
}

#[test]
#[ignore = "hours of computing: make test-long PART=attacks"]
fn every_attack_by_many_seeds() {
    let seeds = seeds(MOST_SEEDS);
    let jobs: Vec<(AttackKind, u64)> =
        ALL.into_iter().flat_map(|kind| (1..=seeds).map(move |seed| (kind, seed))).collect();
    let jobs = Mutex::new(jobs.into_iter());
    let tallies: Mutex<BTreeMap<AttackKind, Tally>> = Mutex::default();
    let run = || {
        loop {
            let Some((kind, seed)) = jobs.lock().expect("no one panics with it").next() else {
                return;
            };
            let judged = std::panic::catch_unwind(|| {
                let with_key = judge(kind, Protection::RoomKey, seed);
                (with_key, judge(kind, Protection::NoRoomKey, seed))
            });
            let mut tallies = tallies.lock().expect("no one panics with it");
            let tally = tallies
                .entry(kind)
                .or_insert_with(|| Tally { least_heard: 1.0, ..Tally::default() });
            match judged {
                Ok((with_key, without)) => {
                    tally.attempts += with_key.attempts;
                    tally.least_heard = tally.least_heard.min(with_key.heard);
                    tally.foreign_without_key += without.foreign.len();
                    tally.changed_codes += u64::from(without.code_changed);
                }
                Err(_) => tally.failed.push(format!("{kind:?}, seed {seed}")),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(run);
        }
    });
    let tallies = tallies.into_inner().expect("no one panicked with it");
    let mut rows = format!(
        "\nEach attack by {seeds} seeds, in a room with a key and in one without. Accepted: frames and texts that \
         were not said so; plain: packets of members that show what they carry.\n\n\
         | attack | tries | with a key: accepted | plain | least heard | without: plain | accepted | codes changed |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for (kind, tally) in &tallies {
        let Tally { attempts, least_heard, foreign_without_key, changed_codes, failed } = tally;
        let none = if failed.is_empty() { "0" } else { "FAILED" };
        let _ = writeln!(
            rows,
            "| {kind:?} | {attempts} | {none} | {none} | {:.2} % | {none} | {foreign_without_key} | {changed_codes} of {seeds} |",
            100.0 * least_heard
        );
    }
    report(&rows);
    let failed: Vec<&String> = tallies.values().flat_map(|tally| &tally.failed).collect();
    assert!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
}

/// Appends to the report of `make test-long`.
fn report(text: &str) {
    print!("{text}");
    let Some(path) = std::env::var_os("VOICEMESH_REPORT") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.expect("the report is written");
}
