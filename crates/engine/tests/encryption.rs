//! End-to-end encryption over a game's network: what passes the server, a host's included, is closed
//! to it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_audio::{BLOCK_SAMPLES, Block, level};
use voicemesh_e2ee::RoomKey;
use voicemesh_engine::{
    EngineConfig, EngineEvent, EngineOnNetwork, MemberEncryption, Seeds, VoiceEngine,
};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, PeerKey, ServerParameters};
use voicemesh_session::GLOBAL_GROUP;
use voicemesh_session::client::{ClientEvent, Phase, UnreadReason};
use voicemesh_session::network::{
    Delivery, Destination, LinkId, Network, NetworkError, NetworkEvent, PacketLimits, Reliability,
};
use voicemesh_wire::packet::{self, Kind, Recipient, Relay, SealedPart, TextData};
use voicemesh_wire::{ClientId, GroupId};

pub const TICK: Duration = Duration::from_millis(10);
const KEY: Option<u8> = Some(1);
/// Of a frame or a text, that must be found nowhere.
pub const WINDOW: usize = 12;
const SECRET: &str = "meet me at the third bridge behind the mill";

/// What passes the network, from whichever peer.
#[derive(Clone, Default)]
pub struct Tape(Rc<RefCell<Vec<Bytes>>>);

impl Tape {
    fn finds(&self, text: &[u8]) -> bool {
        let has = |packet: &Bytes, window: &[u8]| {
            packet.windows(window.len()).any(|place| place == window)
        };
        let packets = self.0.borrow();
        text.windows(WINDOW).any(|window| packets.iter().any(|packet| has(packet, window)))
    }

    pub fn take(&self) -> Vec<Bytes> {
        std::mem::take(&mut *self.0.borrow_mut())
    }
}

/// What a server sends in place of a packet, and to whom.
pub type Attack = Box<dyn FnMut(Duration, PeerKey, &Bytes) -> Vec<(PeerKey, Bytes)>>;

/// A network that is listened to.
pub struct Tapped {
    pub inner: Endpoint,
    /// Its server attacks.
    pub attack: RefCell<Option<Attack>>,
    tape: Tape,
    /// So many of its next announcements are lost.
    loses: Cell<usize>,
    /// Its connection stays when the voice hangs up, as a game's does, and is there at once when it
    /// connects again.
    keeps: Cell<bool>,
    connects: Cell<bool>,
    /// It gives one event in each update.
    is_slow: Cell<bool>,
    has_given: Cell<bool>,
    /// The largest reliable packet.
    reliable_bytes: usize,
}

impl Tapped {
    fn note(&self, packet: &Bytes) {
        self.tape.0.borrow_mut().push(packet.clone());
    }
}

impl Network for Tapped {
    type Peer = PeerKey;
    type ClientParameters = ClientParameters;
    type ServerParameters = ServerParameters;

    fn limits(&self) -> PacketLimits {
        PacketLimits { reliable_bytes: self.reliable_bytes, ..self.inner.limits() }
    }

    fn connect(&mut self, now: Duration, to: ClientParameters) -> Result<(), NetworkError> {
        if self.keeps.get() {
            self.connects.set(true);
            return Ok(());
        }
        self.inner.connect(now, to)
    }

    fn disconnect(&mut self, now: Duration) {
        if !self.keeps.get() {
            self.inner.disconnect(now);
        }
    }

    fn host(&mut self, now: Duration, at: ServerParameters) -> Result<(), NetworkError> {
        self.inner.host(now, at)
    }

    fn stop_hosting(&mut self, now: Duration) {
        self.inner.stop_hosting(now);
    }

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<PeerKey>> {
        if self.connects.take() {
            return Some(NetworkEvent::Connected);
        }
        if self.is_slow.get() && self.has_given.take() {
            return None;
        }
        let event = self.inner.poll(now);
        self.has_given.set(event.is_some());
        event
    }

    fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.note(&packet);
        if is_announcement(&packet) && self.loses.get() > 0 {
            self.loses.set(self.loses.get() - 1);
            return Ok(());
        }
        self.inner.send_to_server(now, reliability, packet)
    }

    fn send_to_client(
        &mut self,
        now: Duration,
        to: PeerKey,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.note(&packet);
        let Some(attack) = &mut *self.attack.borrow_mut() else {
            return self.inner.send_to_client(now, to, delivery, packet);
        };
        for (to, packet) in attack(now, to, &packet) {
            // Who has not come yet gets nothing.
            let _ = self.inner.send_to_client(now, to, delivery, packet);
        }
        Ok(())
    }

    fn send_to_links(
        &mut self,
        now: Duration,
        destinations: &mut Vec<Destination<PeerKey>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        self.note(packet);
        self.inner.send_to_links(now, destinations, reliability, packet);
    }

    fn release_link(&mut self, now: Duration, link: LinkId<PeerKey>) {
        self.inner.release_link(now, link);
    }
}

pub type Peer = EngineOnNetwork<Tapped>;

/// A server, first, and clients over memory.
pub struct Lan {
    pub now: Duration,
    hub: Hub,
    pub tape: Tape,
    pub peers: Vec<Peer>,
    /// Of the networks that are made from now on.
    reliable_bytes: usize,
}

impl Lan {
    /// A host, and a client for each further key.
    fn hosted(keys: &[Option<u8>]) -> Self {
        let mut lan = Self::empty();
        let mut host = lan.peer(keys[0]);
        host.run_as_host(lan.now, lan.server()).expect("it hosts");
        lan.peers.push(host);
        lan.run(5, &[]);
        keys[1..].iter().for_each(|key| lan.join(*key));
        lan.run(30, &[]);
        lan
    }

    /// A dedicated server without a key, and a client for each key.
    pub fn dedicated(keys: &[Option<u8>]) -> Self {
        Self::empty().with_server(keys)
    }

    fn with_server(mut self, keys: &[Option<u8>]) -> Self {
        let lan = &mut self;
        let mut server = lan.peer(None);
        server.run_as_dedicated_server(lan.now, lan.server()).expect("it serves");
        lan.peers.push(server);
        keys.iter().for_each(|key| lan.join(*key));
        lan.run(30, &[]);
        self
    }

    fn empty() -> Self {
        Self {
            now: Duration::ZERO,
            hub: Hub::new(),
            tape: Tape::default(),
            peers: Vec::new(),
            reliable_bytes: PacketLimits::default().reliable_bytes,
        }
    }

    fn server(&self) -> ServerParameters {
        ServerParameters { address: "here".to_owned() }
    }

    fn peer(&self, key: Option<u8>) -> Peer {
        let number = self.peers.len() as u8;
        let config = EngineConfig::new(format!("the person behind member {number}"), number.into());
        let mut engine = VoiceEngine::new(config).expect("an engine");
        engine.set_tapped(true);
        let network = Tapped {
            inner: self.hub.endpoint(),
            attack: RefCell::new(None),
            tape: self.tape.clone(),
            loses: Cell::new(0),
            keeps: Cell::new(false),
            connects: Cell::new(false),
            is_slow: Cell::new(false),
            has_given: Cell::new(false),
            reliable_bytes: self.reliable_bytes,
        };
        match key {
            Some(key) => {
                let seeds = Seeds::new([number; 32]);
                EngineOnNetwork::encrypted(engine, network, RoomKey::new([key; 16]), seeds)
            }
            None => EngineOnNetwork::new(engine, network),
        }
    }

    pub fn join(&mut self, key: Option<u8>) {
        let mut client = self.peer(key);
        let to = ClientParameters { address: "here".to_owned() };
        client.run_as_client(self.now, to).expect("it begins");
        self.peers.push(client);
    }

    /// So many times 10 ms, in which these hum. The level that each heard, in dBFS.
    pub fn run(&mut self, ticks: usize, humming: &[usize]) -> Vec<f32> {
        let mut heard = vec![Vec::new(); self.peers.len()];
        for _ in 0..ticks {
            self.now += TICK;
            for (number, peer) in self.peers.iter_mut().enumerate() {
                peer.update(self.now);
                if humming.contains(&number) {
                    peer.capture(self.now, &hum(self.now)).expect("it is encoded");
                }
                let mut block: Block = [0.0; BLOCK_SAMPLES];
                peer.render(self.now, &mut block);
                heard[number].extend_from_slice(&block);
            }
        }
        heard.iter().map(|samples| level::rms_dbfs(samples)).collect()
    }

    /// Whom they hear once speech has begun.
    fn hears(&mut self, humming: usize) -> Vec<bool> {
        self.run(50, &[humming]);
        let levels = self.run(50, &[humming]);
        self.run(60, &[]);
        levels.into_iter().map(|level| level > -25.0).collect()
    }

    pub fn id(&self, peer: usize) -> ClientId {
        let view = self.peers[peer].client().and_then(|client| client.view());
        view.expect("it is in the session").you()
    }

    fn write(&mut self, peer: usize, to: Recipient, text: &str) {
        let now = self.now;
        self.peers[peer].send_text(now, to, text).expect("it is taken");
        self.run(10, &[]);
    }

    fn events(&mut self, peer: usize) -> Vec<EngineEvent<PeerKey>> {
        std::iter::from_fn(|| self.peers[peer].poll_event()).collect()
    }

    pub fn texts(&mut self, peer: usize) -> Vec<String> {
        let text = |event| match event {
            EngineEvent::Session(ClientEvent::Text { text, .. }) => Some(text),
            _ => None,
        };
        self.events(peer).into_iter().filter_map(text).collect()
    }

    fn states(&self, peer: usize) -> Vec<Option<MemberEncryption>> {
        let others = (0..self.peers.len()).filter(|other| *other != peer);
        others.map(|other| self.peers[peer].encryption_of(self.id(other))).collect()
    }
}

fn hum(now: Duration) -> Block {
    let begin = now.as_secs_f32() * 48_000.0;
    std::array::from_fn(|at| {
        0.3 * ((begin + at as f32) * 200.0 * std::f32::consts::TAU / 48_000.0).sin()
    })
}

pub fn everyone() -> Recipient {
    Recipient::Group(GroupId::of(GLOBAL_GROUP))
}

const VERIFIED: Option<MemberEncryption> = Some(MemberEncryption::Encrypted { verified: true });

/// Two clients of a server, or a host and a client, speak and write. Says whether the network had a
/// frame, a text, or a name of theirs.
fn is_seen(key: Option<u8>, is_host: bool) -> [bool; 3] {
    let mut lan = if is_host { Lan::hosted(&[key, key]) } else { Lan::dedicated(&[key, key]) };
    let (one, other) = if is_host { (0, 1) } else { (1, 2) };
    for (peer, other) in [(one, other), (other, one)] {
        let (id, name) = (lan.id(other), format!("the person behind member {other}"));
        assert_eq!(lan.peers[peer].name_of(id), Some(name.as_str()));
    }
    for (speaker, listener) in [(one, other), (other, one)] {
        assert!(lan.hears(speaker)[listener], "{speaker} is heard");
        lan.write(speaker, everyone(), SECRET);
        assert_eq!(lan.texts(listener), [SECRET]);
    }
    let to = lan.id(other);
    lan.write(one, Recipient::Client(to), "for you alone");
    assert_eq!(lan.texts(other), ["for you alone"]);
    let sent = std::iter::from_fn(|| lan.peers[one].poll_frame());
    let sent: Vec<Bytes> =
        sent.filter(|frame| frame.from.is_none()).map(|frame| frame.frame).collect();
    assert!(sent.len() > 40, "{} frames were sent", sent.len());
    let sent = sent.iter().filter(|frame| frame.len() >= WINDOW);
    let is_heard = sent.into_iter().any(|frame| lan.tape.finds(frame));
    [is_heard, lan.tape.finds(SECRET.as_bytes()), lan.tape.finds(b"the person behind")]
}

#[test]
fn with_a_key_speech_and_texts_arrive_and_the_network_sees_none_of_them() {
    for is_host in [true, false] {
        assert_eq!(is_seen(None, is_host), [true; 3], "without a key: host {is_host}");
        assert_eq!(is_seen(KEY, is_host), [false; 3], "with a key: host {is_host}");
    }
}

#[test]
fn over_links_too_the_network_sees_no_speech() {
    for (key, is_seen) in [(None, true), (KEY, false)] {
        let mut lan = Lan::dedicated(&[key, key]);
        let [one, other] = [1, 2].map(|peer| lan.peers[peer].network().inner.key());
        lan.hub.connect_link(one, other);
        lan.run(100, &[]);
        lan.tape.take();
        assert!(lan.hears(1)[2], "over the link");
        let direct = lan.tape.0.borrow().iter().filter(|packet| is_voice(packet)).count();
        assert!(direct > 20, "{direct} packets of speech went over links");
        let sent = std::iter::from_fn(|| lan.peers[1].poll_frame());
        let sent: Vec<Bytes> =
            sent.filter(|frame| frame.from.is_none()).map(|it| it.frame).collect();
        let found = sent.iter().filter(|it| it.len() >= WINDOW).any(|it| lan.tape.finds(it));
        assert_eq!(found, is_seen, "key {key:?}");
    }
}

/// As where it did not fit into the answer to the handshake who is there: they take the newcomer for
/// one that announces itself, and it takes them for those.
#[test]
fn who_was_announced_to_no_one_is_asked_for_keys_a_second_later() {
    let mut lan = Lan::dedicated(&[KEY]);
    lan.join(KEY);
    lan.peers[2].network().loses.set(1);
    lan.run(90, &[]);
    assert_eq!(lan.peers[2].network().loses.get(), 0, "its announcement was lost");
    let waiting = Some(MemberEncryption::Waiting);
    assert_eq!(lan.peers[1].encryption_of(lan.id(2)), waiting);
    lan.run(60, &[]);
    assert_eq!(lan.peers[1].encryption_of(lan.id(2)), VERIFIED);
    assert_eq!(lan.peers[2].encryption_of(lan.id(1)), VERIFIED);
    assert_eq!(lan.hears(2), [false, true, false]);
}

#[test]
fn a_voice_that_starts_again_on_the_same_connection_is_heard_and_hears() {
    let mut lan = Lan::dedicated(&[KEY, KEY]);
    let before = lan.id(2);
    lan.peers[2].network().keeps.set(true);
    let now = lan.now;
    lan.peers[2].stop(now);
    lan.run(150, &[]);
    let (now, to) = (lan.now, ClientParameters { address: "here".to_owned() });
    lan.peers[2].run_as_client(now, to).expect("it begins");
    lan.run(150, &[]);
    assert_eq!(lan.id(2), before, "the connection is the same");
    assert_eq!(lan.peers[1].encryption_of(before), VERIFIED);
    assert_eq!(lan.hears(2), [false, true, false]);
    assert_eq!(lan.hears(1), [false, false, true]);
    let one = lan.id(1);
    assert_eq!(lan.peers[2].name_of(one), Some("the person behind member 1"));
}

fn is_announcement(packet: &Bytes) -> bool {
    let Ok((_, body)) = packet::open(packet) else { return false };
    let inside = Relay::decode(body).and_then(|relay| packet::open(relay.packet));
    inside.is_ok_and(|(header, _)| header.kind == Kind::KeyPackage)
}

fn is_voice(packet: &Bytes) -> bool {
    packet::open(packet).is_ok_and(|(header, _)| header.kind.is_voice())
}

#[test]
fn who_has_no_key_or_another_one_neither_hears_nor_is_heard() {
    let mut lan = Lan::hosted(&[KEY, KEY, None, Some(2)]);
    lan.run(600, &[]);
    (0..4).for_each(|peer| drop(lan.events(peer)));
    assert_eq!(lan.hears(0), [false, true, false, false], "the host");
    assert_eq!(lan.hears(1), [true, false, false, false], "a guest with the key");
    assert_eq!(lan.hears(2), [false; 4], "without a key");
    assert_eq!(lan.hears(3), [false; 4], "with another");
    for writer in 0..4 {
        lan.write(writer, everyone(), &format!("by {writer}"));
    }
    assert_eq!(lan.texts(0), ["by 1"]);
    assert_eq!(lan.texts(1), ["by 0"]);
    assert_eq!(lan.texts(2), [""; 0]);
    let unread = lan.events(3).into_iter().any(|event| {
        let why = UnreadReason::Unreadable;
        event == EngineEvent::Session(ClientEvent::TextUnread { text: "by 3".to_owned(), why })
    });
    assert!(unread, "its writer learns that no one can read it");
    let names = [1, 2, 3].map(|peer| lan.peers[0].name_of(lan.id(peer)));
    assert_eq!(names, [Some("the person behind member 1"), Some("Member"), Some("Member")]);
    let [of_guest, of_plain, of_other] = lan.states(0)[..] else { panic!("three others") };
    assert_eq!((of_guest, of_plain), (VERIFIED, Some(MemberEncryption::Unable)));
    assert!(matches!(of_other, Some(MemberEncryption::Refused(_))), "{of_other:?}");
}

#[test]
fn what_the_server_makes_up_or_says_again_is_not_taken() {
    for (key, is_taken) in [(None, true), (KEY, false)] {
        let mut lan = Lan::dedicated(&[key, key]);
        let (ada, ben, now) = (lan.id(1), lan.id(2), lan.now);
        let session = lan.peers[2].status().session.expect("a session");
        let text = TextData { sender: ada, recipient: Recipient::Client(ben), text: "made up" };
        let made_up = Bytes::from(text.encode(session));
        lan.peers[2].handle(now, NetworkEvent::FromServer(made_up));
        lan.run(2, &[]);
        assert_eq!(lan.texts(2).len(), usize::from(is_taken), "made up, key {key:?}");

        lan.tape.take();
        lan.write(1, everyone(), SECRET);
        assert_eq!(lan.texts(2), [SECRET]);
        let kind = if is_taken { Kind::TextData } else { Kind::SealedText };
        let is_it = |packet: &Bytes| packet::open(packet).is_ok_and(|it| it.0.kind == kind);
        let passed_on = lan.tape.take().into_iter().rfind(is_it).expect("a text");
        let now = lan.now;
        lan.peers[2].handle(now, NetworkEvent::FromServer(passed_on));
        lan.run(2, &[]);
        assert_eq!(lan.texts(2).len(), usize::from(is_taken), "again, key {key:?}");
    }
}

/// The key ids with which the host's speech is sealed now.
fn key_ids(lan: &mut Lan) -> Vec<u8> {
    lan.tape.take();
    lan.run(20, &[0]);
    let mut ids: Vec<u8> = lan.tape.take().iter().filter_map(key_id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The key id of relayed speech (RFC 9605, section 4.3): in the first byte, or in the one behind it.
fn key_id(packet: &Bytes) -> Option<u8> {
    let part = SealedPart::of(packet).ok()??;
    let header = packet[part.clear_bytes];
    let (is_long, short) = (header & 0x80 != 0, (header >> 4) & 7);
    Some(if is_long { packet[part.clear_bytes + 1] } else { short })
}

#[test]
fn who_has_left_gets_no_further_keys_and_who_comes_later_hears_from_then_on() {
    let mut lan = Lan::hosted(&[KEY, KEY, KEY]);
    assert_eq!(lan.hears(0), [false, true, true]);
    let before = key_ids(&mut lan);
    lan.tape.take();
    let now = lan.now;
    lan.peers[2].stop(now);
    lan.run(100, &[]);
    let packages = lan.tape.take();
    let packages = packages.iter().filter(|packet| {
        packet::open(packet).is_ok_and(|(header, body)| {
            let relayed = Relay::decode(body).ok();
            let kind = relayed.and_then(|relay| packet::open(relay.packet).ok());
            header.kind == Kind::KeyPackage || kind.is_some_and(|it| it.0.kind == Kind::KeyPackage)
        })
    });
    assert!(packages.count() >= 2, "those who stay give each other new keys");
    assert_eq!(lan.hears(0), [false, true, false]);
    assert_eq!(lan.hears(1), [true, false, false]);
    let after = key_ids(&mut lan);
    assert!(after.iter().all(|id| id >> 5 != before[0] >> 5), "{before:?}, then {after:?}");

    lan.join(KEY);
    lan.run(30, &[]);
    let later = key_ids(&mut lan);
    assert_ne!(later, after, "another step, which does not open what was said before");
    assert_eq!(lan.hears(0), [false, true, false, true]);
    assert_eq!(lan.hears(3), [true, true, false, false]);
}

#[test]
fn a_text_waits_for_the_keys_of_one_who_has_just_come() {
    let mut lan = Lan::hosted(&[KEY, KEY]);
    lan.join(KEY);
    let mut has_written = false;
    for _ in 0..30 {
        lan.run(1, &[]);
        let is_known = lan.peers[1].client().is_some_and(|client| client.others().len() == 2);
        if is_known && !std::mem::replace(&mut has_written, true) {
            let now = lan.now;
            lan.peers[1].send_text(now, everyone(), "first").expect("it is taken");
            lan.peers[1].send_text(now, everyone(), "second").expect("it is taken");
        }
    }
    assert_eq!(lan.texts(2), ["first", "second"]);
    assert_eq!(lan.texts(0), ["first", "second"]);
}

/// Another one joins, and writes as soon as it is in the session.
fn join_and_write(lan: &mut Lan, text: &str, is_slow: bool) -> usize {
    let newcomer = lan.peers.len();
    lan.join(KEY);
    lan.peers[newcomer].network().is_slow.set(is_slow);
    let is_in = |peer: &Peer| peer.client().is_some_and(|it| it.phase() == Phase::Joined);
    while !is_in(&lan.peers[newcomer]) {
        lan.run(1, &[]);
    }
    let now = lan.now;
    lan.peers[newcomer].send_text(now, everyone(), text).expect("it is taken");
    newcomer
}

fn unread(lan: &mut Lan, peer: usize) -> Option<UnreadReason> {
    lan.events(peer).into_iter().find_map(|event| match event {
        EngineEvent::Session(ClientEvent::TextUnread { why, .. }) => Some(why),
        _ => None,
    })
}

#[test]
fn what_waits_for_the_keys_of_several_is_sealed_once_for_all_of_them() {
    let mut lan = Lan::dedicated(&[KEY; 6]);
    lan.tape.take();
    // Longer than anything else that is sealed.
    let text = SECRET.repeat(10);
    let newcomer = join_and_write(&mut lan, &text, false);
    assert!(lan.peers[newcomer].has_unsent(), "who leaves now waits for their keys");
    lan.run(60, &[]);
    (1..newcomer).for_each(|peer| assert_eq!(lan.texts(peer), [&*text], "{peer}"));
    assert!(!lan.peers[newcomer].has_unsent());
    let relayed = lan.tape.take().into_iter().filter(|packet| {
        packet::open(packet).is_ok_and(|(header, body)| {
            let inside = Relay::decode(body).map(|relay| relay.packet.len());
            header.kind == Kind::ServerRelayReliable && inside.is_ok_and(|it| it > text.len())
        })
    });
    assert_eq!(relayed.count(), 1, "packets with the text");
}

/// Where the answer to the handshake cannot name all who are there.
#[test]
fn a_text_that_is_written_before_the_roster_is_complete_reaches_all_who_are_there() {
    let mut lan = Lan { reliable_bytes: 512, ..Lan::empty() }.with_server(&[KEY; 40]);
    lan.run(50, &[]);
    let newcomer = join_and_write(&mut lan, SECRET, true);
    let known = lan.peers[newcomer].client().map_or(0, |client| client.others().len());
    assert!(known < 40, "{known} are known when it writes");
    lan.run(300, &[]);
    (1..newcomer).for_each(|peer| assert_eq!(lan.texts(peer), [SECRET], "{peer}"));
}

#[test]
fn who_writes_and_is_alone_or_to_a_group_without_listeners_reads_which() {
    let mut lan = Lan::dedicated(&[]);
    let newcomer = join_and_write(&mut lan, SECRET, false);
    assert_eq!(unread(&mut lan, newcomer), None, "others may become known yet");
    lan.run(110, &[]);
    assert_eq!(unread(&mut lan, newcomer), Some(UnreadReason::Alone));
    assert!(!lan.peers[newcomer].has_unsent());
    let now = lan.now;
    lan.peers[newcomer].send_text(now, everyone(), SECRET).expect("it is taken");
    lan.run(1, &[]);
    assert_eq!(unread(&mut lan, newcomer), Some(UnreadReason::Alone), "then at once");
    lan.join(KEY);
    lan.run(110, &[]);
    let now = lan.now;
    lan.peers[newcomer].send_group_text(now, "no one is here", SECRET).expect("it is taken");
    lan.run(1, &[]);
    assert_eq!(unread(&mut lan, newcomer), Some(UnreadReason::NoListeners));
}

#[test]
fn all_start_again_in_another_session() {
    let mut lan = Lan::hosted(&[KEY, KEY]);
    assert_eq!(lan.hears(1), [true, false]);
    for _ in 0..3 {
        let now = lan.now;
        lan.peers.iter_mut().for_each(|peer| peer.stop(now));
        lan.run(5, &[]);
        assert_eq!(lan.peers[0].safety_code(), None);
        let (now, at) = (lan.now, lan.server());
        lan.peers[0].run_as_host(now, at).expect("it hosts again");
        lan.run(5, &[]);
        let to = ClientParameters { address: "here".to_owned() };
        lan.peers[1].run_as_client(lan.now, to).expect("it joins again");
        lan.run(30, &[]);
        assert_eq!(lan.hears(0), [false, true]);
        assert_eq!((lan.states(0), lan.states(1)), (vec![VERIFIED], vec![VERIFIED]));
        assert_eq!(lan.peers[0].safety_code(), lan.peers[1].safety_code());
    }
}

#[test]
fn sixty_four_hear_one_host_and_one_of_them() {
    let mut lan = Lan::hosted(&[KEY; 64]);
    for speaker in [0, 40] {
        let hears = lan.hears(speaker);
        let silent: Vec<usize> = (0..64).filter(|peer| *peer != speaker && !hears[*peer]).collect();
        assert_eq!(silent, [0usize; 0], "{speaker} speaks");
    }
    let states = lan.states(17);
    assert!(states.iter().all(|state| *state == VERIFIED), "{states:?}");
}
