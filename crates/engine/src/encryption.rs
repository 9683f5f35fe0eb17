//! End-to-end encryption over a network that has no room to distribute keys (PROTOCOL.md, section
//! 18, "Without a room"): between the session's client and what carries its packets.
//!
//! A member is known to the others by its client id, and announces itself to those who were in the
//! session before it; each answers with its keys. All passes through the session's server, in
//! KeyPackages. Packets are sealed and opened by `voicemesh-sealing`, as in a room.

mod texts;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::NextTimer;
use voicemesh_e2ee::{
    AnnouncementError, Configuration, KeyRing, MemberChange, RoomKey, SafetyCode,
};
use voicemesh_sealing::{
    ForServer, Incoming, MOST_OVERHEAD_BYTES, MemberEncryption, OVERHEAD_BYTES, Outgoing, Seeds,
};
use voicemesh_session::Client;
use voicemesh_session::client::{Phase, UnreadReason, View};
use voicemesh_session::network::{Destination, NetworkEvent, PacketLimits, Reliability};
use voicemesh_wire::identity::InstallationSecret;
use voicemesh_wire::limits::RELAY_DESTINATIONS;
use voicemesh_wire::packet::{self, KeyPackage, KeyRequest, Kind, Relay};
use voicemesh_wire::sealed_state::PLACEHOLDER_NAME;
use voicemesh_wire::{ClientId, PeerId, SessionId};

use texts::{Reading, Sending, WaitingTexts};

/// Members of a session that are given keys, at most.
const MEMBERS: usize = 512;
/// Pair secrets computed in one turn: a millisecond of work.
const AGREEMENTS_PER_TURN: usize = 8;
/// Members are looked at at least this often.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A member is asked for keys, and given keys that it asks for, at most once in this time.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);
/// A member that has not announced itself by then does not encrypt.
const ANNOUNCES_WITHIN: Duration = Duration::from_secs(5);
/// Who was not in the answer to the handshake, because that was full, takes this peer for one that
/// has come later, and is taken for one itself. So it is asked after this, and then after twice as
/// long each time, …
const FIRST_QUESTION: Duration = Duration::from_secs(1);
/// … so many times.
const QUESTIONS: u32 = 4;
/// Packets to the server that the owner has not taken. It takes them after every call, and one makes
/// a package for each member; what is more is dropped, and asked for again.
const PACKETS: usize = 4 * MEMBERS;
/// Events that the owner has not taken; it does so with each update.
const EVENTS: usize = 4096;
/// In place of a room's name, which is never empty.
const NO_ROOM: &str = "";

/// What a peer encrypts with, and what was made known to whom.
#[derive(Debug)]
pub(crate) struct Encryption {
    room_key: RoomKey,
    /// Of the identity: others know this peer by it where it comes back under the same id.
    secret: InstallationSecret,
    seeds: Seeds,
    /// The own name, which only members with the key read.
    name: String,
    /// The time of the latest call that said it.
    now: Duration,
    stay: Option<Stay>,
    out: VecDeque<(Reliability, Bytes)>,
    events: VecDeque<EncryptionEvent>,
}

/// What its owner has to know.
#[derive(Debug)]
pub(crate) enum EncryptionEvent {
    Changed { session: SessionId, client: ClientId, encryption: MemberEncryption },
    Named { session: SessionId, client: ClientId },
    Unread { text: String, why: UnreadReason },
}

/// One membership of a session: its ring lasts as long.
#[derive(Debug)]
struct Stay {
    session: SessionId,
    you: ClientId,
    ring: KeyRing,
    known: BTreeMap<ClientId, Known>,
    texts: WaitingTexts,
    /// Pair secrets are still to be computed.
    is_agreeing: bool,
    /// Members or packages came.
    is_stale: bool,
    /// When the members are looked at next, if nothing happens before.
    due: Duration,
    /// Of those whose announcements are accepted. A millisecond of hashing: not for each question.
    safety_code: SafetyCode,
}

/// What is known of a member besides its keys.
#[derive(Debug)]
struct Known {
    since: Duration,
    /// As it has told by itself.
    name: Option<String>,
    /// It was told the own name.
    is_told: bool,
    refusal: Option<AnnouncementError>,
    reported: Option<MemberEncryption>,
    /// How often it was asked for keys because none came.
    questions: u32,
    asked_at: Option<Duration>,
    answered_at: Option<Duration>,
}

impl Known {
    fn new(since: Duration) -> Self {
        Self {
            since,
            name: None,
            is_told: false,
            refusal: None,
            reported: None,
            questions: 0,
            asked_at: None,
            answered_at: None,
        }
    }
}

/// True at most once in [`REQUEST_INTERVAL`].
fn is_due(last: &mut Option<Duration>, now: Duration) -> bool {
    let is_due = last.is_none_or(|at| now >= at + REQUEST_INTERVAL);
    if is_due {
        *last = Some(now);
    }
    is_due
}

impl Encryption {
    pub(crate) fn new(room_key: RoomKey, mut seeds: Seeds, name: String) -> Self {
        Self {
            room_key,
            secret: seeds.next_secret(),
            seeds,
            name,
            now: Duration::ZERO,
            stay: None,
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// What is known ends with what runs.
    pub(crate) fn reset(&mut self) {
        self.stay = None;
        self.out.clear();
    }

    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// The largest packets that the session may make.
    pub(crate) fn limits(limits: PacketLimits) -> PacketLimits {
        PacketLimits {
            unreliable_bytes: limits.unreliable_bytes.saturating_sub(MOST_OVERHEAD_BYTES),
            reliable_bytes: limits.reliable_bytes.saturating_sub(MOST_OVERHEAD_BYTES),
        }
    }

    /// What the members of the session share, for a person to compare.
    pub(crate) fn safety_code(&self) -> Option<SafetyCode> {
        self.stay.as_ref().map(|stay| stay.safety_code)
    }

    /// Whether a text may still be sent to someone who has not got it.
    pub(crate) fn has_waiting_texts(&self) -> bool {
        self.stay.as_ref().is_some_and(|stay| stay.texts.are_there())
    }

    /// Whether what passes between this peer and a member of the current session is encrypted.
    pub(crate) fn state_of(&self, client: ClientId) -> Option<MemberEncryption> {
        let stay = self.stay.as_ref()?;
        stay.known.get(&client).map(|known| stay.state_of(client, known, self.now))
    }

    /// What a member of the current session is called; `None` while that may still come.
    pub(crate) fn name_of(&self, client: ClientId) -> Option<&str> {
        let stay = self.stay.as_ref()?;
        if client == stay.you {
            return Some(&self.name);
        }
        let known = stay.known.get(&client)?;
        let is_over = known.refusal.is_some() || self.now >= known.since + ANNOUNCES_WITHIN;
        known.name.as_deref().or_else(|| is_over.then_some(PLACEHOLDER_NAME))
    }

    pub(crate) fn timers(&self, next: &mut NextTimer) {
        let Some(stay) = &self.stay else { return };
        next.at(stay.due);
        if stay.is_agreeing || stay.is_stale {
            next.soon();
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<EncryptionEvent> {
        self.events.pop_front()
    }

    /// The next packet to the server.
    pub(crate) fn poll_packet(&mut self) -> Option<(Reliability, Bytes)> {
        self.out.pop_front()
    }

    /// Follows who is in the session, and sends keys to whom they are owed.
    pub(crate) fn follow<P: Copy + Ord + Debug>(&mut self, now: Duration, client: &Client<P>) {
        self.now = now;
        let Some(view) = joined(client) else {
            // Links go on with the keys that are known.
            if let Some(stay) = &mut self.stay {
                (stay.is_agreeing, stay.is_stale) = (false, false);
                stay.due = now + RECHECK_INTERVAL;
            }
            return;
        };
        let (session, you) = (view.session(), view.you());
        if self.stay.as_ref().is_none_or(|stay| (stay.session, stay.you) != (session, you)) {
            self.begin(session, you, view);
        }
        let Self { stay: Some(stay), out, events, name, .. } = self else { return };
        if !stay.is_stale && !stay.is_agreeing && now < stay.due {
            return;
        }
        stay.is_stale = false;
        stay.ring.update(now);
        stay.follow(now, view);
        for client in stay.unannounced(now) {
            put(out, Reliability::Reliable, stay.keys_for(&[client], &[]));
        }
        stay.is_agreeing = (0..AGREEMENTS_PER_TURN).all(|_| stay.ring.agree_next());
        while let Some((peer, package)) = stay.ring.poll_package() {
            if let Some((_, client)) = peer.as_client() {
                put(out, Reliability::Reliable, stay.keys_for(&[client], &package));
                if let Some(named) = stay.name_for(client, name) {
                    put(out, Reliability::Reliable, named);
                }
            }
        }
        stay.send_texts(now, view, out, events);
        stay.report(now, events);
        stay.due = stay.ring.poll_timeout().into_iter().fold(now + RECHECK_INTERVAL, Duration::min);
        stay.mind_texts(now);
    }

    /// A new ring, since its id is another. Those who were there before learn of it.
    fn begin(&mut self, session: SessionId, you: ClientId, view: &View) {
        let configuration = Configuration {
            secret: &self.secret,
            origin: NO_ROOM,
            room: NO_ROOM,
            instance: 0,
            peer: PeerId::of_client(session, you),
            room_key: Some(self.room_key.clone()),
            max_members: MEMBERS,
        };
        let ring = KeyRing::new(configuration, self.seeds.next_seed());
        let stay = Stay {
            session,
            you,
            safety_code: ring.safety_code(),
            ring,
            known: BTreeMap::new(),
            texts: WaitingTexts::new(self.now),
            is_agreeing: false,
            is_stale: true,
            due: self.now,
        };
        if let Some(before) = self.stay.take() {
            before.texts.end(&mut self.events);
        }
        let others: Vec<ClientId> = others(view).collect();
        self.out.clear();
        for others in others.chunks(RELAY_DESTINATIONS) {
            put(&mut self.out, Reliability::Reliable, stay.keys_for(others, &[]));
        }
        self.stay = Some(stay);
    }

    /// A packet of the session for the server. What is to be sent in its place is among the packets.
    pub(crate) fn seal_for_server<P: Copy + Ord + Debug>(
        &mut self,
        reliability: Reliability,
        packet: Bytes,
        client: &Client<P>,
    ) {
        let Self { stay, out, events, now, .. } = self;
        let Some(packet) = voicemesh_sealing::unnamed(packet) else { return };
        let kind = packet::open(&packet).map(|(header, _)| header.kind);
        match (stay, joined(client)) {
            (Some(stay), Some(view)) if kind.is_ok_and(Kind::is_text) => {
                stay.texts.push(&packet, view, events);
                stay.send_texts(*now, view, out, events);
                stay.mind_texts(*now);
            }
            (Some(stay), _) => {
                let session = stay.session;
                let peer_of = |client| Some(PeerId::of_client(session, client));
                let sealed = voicemesh_sealing::seal_for_server(
                    &mut stay.ring,
                    *now,
                    packet,
                    peer_of,
                    |_| false,
                );
                for sealed in sealed {
                    let (ForServer::Packet(packet) | ForServer::Text { sent: packet, .. }) = sealed;
                    put(out, reliability, packet);
                }
            }
            (None, _) => {
                let is_for_others = kind.is_ok_and(|kind| {
                    kind.is_text()
                        || matches!(kind, Kind::ServerRelayReliable | Kind::ServerRelayUnreliable)
                });
                if !is_for_others {
                    put(out, reliability, packet);
                }
            }
        }
    }

    /// What one member is sent on a link; `None` if nothing is sent to it.
    pub(crate) fn seal_for_link<P>(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        to: &Destination<P>,
    ) -> Option<Bytes> {
        let packet = outgoing.plain();
        let (header, _) = packet::open(&packet).ok()?;
        if !header.kind.is_voice() && !header.kind.is_data() {
            return Some(packet);
        }
        let stay = self.stay.as_mut().filter(|stay| header.session_id() == Some(stay.session))?;
        let peer = PeerId::of_client(stay.session, to.client);
        voicemesh_sealing::seal(&mut stay.ring, self.now, outgoing, peer, false)
    }

    /// What the session learns of something that the network reports; `None` if that is nothing.
    /// [`follow`](Self::follow) comes after the session has learnt it.
    pub(crate) fn open<P: Copy + Ord + Debug>(
        &mut self,
        now: Duration,
        event: NetworkEvent<P>,
        client: &Client<P>,
    ) -> Option<NetworkEvent<P>> {
        self.now = now;
        match event {
            NetworkEvent::FromServer(packet) => {
                self.open_relayed(packet, client).map(NetworkEvent::FromServer)
            }
            NetworkEvent::FromLink { link, packet } => {
                let Ok((header, _)) = packet::open(&packet) else {
                    return Some(NetworkEvent::FromLink { link, packet });
                };
                if !header.kind.is_voice() && !header.kind.is_data() {
                    return Some(NetworkEvent::FromLink { link, packet });
                }
                let (session, from) = voicemesh_sealing::sender(&packet)?;
                let stay = self.stay.as_ref()?;
                if session != stay.session || client.client_on(link, session) != Some(from) {
                    return None;
                }
                let packet = self.open_packet(packet, Some(from))?;
                Some(NetworkEvent::FromLink { link, packet })
            }
            NetworkEvent::LinkAnswered { link, round_trip, further_header_bytes } => {
                let further_header_bytes = further_header_bytes + OVERHEAD_BYTES;
                Some(NetworkEvent::LinkAnswered { link, round_trip, further_header_bytes })
            }
            other => Some(other),
        }
    }

    fn open_relayed<P: Copy + Ord + Debug>(
        &mut self,
        packet: Bytes,
        client: &Client<P>,
    ) -> Option<Bytes> {
        let Some(stay) = &mut self.stay else {
            let kind = packet::open(&packet).map(|(header, _)| header.kind);
            let is_secret =
                kind.is_ok_and(|kind| kind.is_voice() || kind.is_data() || kind.is_text());
            return (!is_secret).then_some(packet);
        };
        // It may change who is here.
        let is_speech = packet::open(&packet).is_ok_and(|(header, _)| header.kind.is_voice());
        stay.is_stale |= !is_speech;
        let view = client.view();
        let from = voicemesh_sealing::sender(&packet).filter(|(session, from)| {
            *session == stay.session
                && *from != stay.you
                && view.is_some_and(|view| {
                    view.session() == *session && view.table().member(*from).is_some()
                })
        });
        self.open_packet(packet, from.map(|(_, from)| from))
    }

    fn open_packet(&mut self, packet: Bytes, from: Option<ClientId>) -> Option<Bytes> {
        let Self { stay: Some(stay), out, events, now, .. } = self else { return None };
        let peer = from.map(|from| PeerId::of_client(stay.session, from));
        match voicemesh_sealing::open(&mut stay.ring, *now, &packet, peer, false) {
            Incoming::Packet(packet) => return Some(packet),
            Incoming::Keys(package) => stay.take_keys(*now, from?, &package),
            Incoming::KeysWanted => stay.give_again(*now, from?, out),
            Incoming::NoKey => stay.ask(*now, from?, out),
            Incoming::Name(name) => {
                let (session, client) = (stay.session, from?);
                let known = stay.known.entry(client).or_insert_with(|| Known::new(*now));
                // It is known by the first one.
                if known.name.is_none() {
                    known.name = Some(name);
                    push(events, EncryptionEvent::Named { session, client });
                }
            }
            Incoming::Nothing => {}
        }
        None
    }
}

impl Stay {
    fn peer(&self, client: ClientId) -> PeerId {
        PeerId::of_client(self.session, client)
    }

    fn is_accepted(&self, client: ClientId) -> bool {
        self.ring.identity(self.peer(client)).is_some()
    }

    fn state_of(&self, client: ClientId, known: &Known, now: Duration) -> MemberEncryption {
        let is_accepted = self.is_accepted(client);
        match known.refusal {
            Some(error) if !is_accepted => MemberEncryption::Refused(error),
            _ if is_accepted && self.ring.has_keys_of(self.peer(client)) => {
                MemberEncryption::Encrypted { verified: true }
            }
            _ if is_accepted || now < known.since + ANNOUNCES_WITHIN => MemberEncryption::Waiting,
            _ => MemberEncryption::Unable,
        }
    }

    /// Who came and went.
    fn follow(&mut self, now: Duration, view: &View) {
        let is_here =
            |client: ClientId| view.table().member(client).is_some() || view.keeps(client);
        let gone: Vec<PeerId> = self
            .ring
            .members()
            .filter(|peer| !peer.as_client().is_some_and(|(_, client)| is_here(client)))
            .collect();
        if !gone.is_empty() {
            for peer in gone {
                self.ring.remove_member(now, peer);
            }
            self.safety_code = self.ring.safety_code();
        }
        self.known.retain(|client, _| is_here(*client));
        for client in others(view) {
            self.known.entry(client).or_insert_with(|| Known::new(now));
        }
    }

    /// Those who are to be asked for keys now, since none came.
    fn unannounced(&mut self, now: Duration) -> Vec<ClientId> {
        let Self { ring, known, session, .. } = self;
        let waits = |client: &ClientId, known: &Known| {
            known.refusal.is_none()
                && known.questions < QUESTIONS
                && now >= known.since + FIRST_QUESTION * ((1 << known.questions) * 2 - 1)
                && ring.identity(PeerId::of_client(*session, *client)).is_none()
        };
        let due = known.iter_mut().filter(|(client, known)| waits(client, known));
        due.map(|(client, known)| {
            known.questions += 1;
            *client
        })
        .collect()
    }

    fn report(&mut self, now: Duration, events: &mut VecDeque<EncryptionEvent>) {
        let session = self.session;
        let states: Vec<(ClientId, MemberEncryption)> = self
            .known
            .iter()
            .map(|(client, known)| (*client, self.state_of(*client, known, now)))
            .collect();
        for (client, encryption) in states {
            let Some(known) = self.known.get_mut(&client) else { continue };
            if known.reported.replace(encryption) != Some(encryption) {
                push(events, EncryptionEvent::Changed { session, client, encryption });
            }
        }
    }

    /// The announcement, and a package; without one it is a question.
    fn keys_for(&self, clients: &[ClientId], package: &[u8]) -> Bytes {
        let announcement = self.ring.announcement(self.session);
        let packet = KeyPackage { sender: self.you, announcement: &announcement, package };
        self.relay(clients, &packet.encode(self.session))
    }

    /// The own name, once for each member that was given keys.
    fn name_for(&mut self, client: ClientId, name: &str) -> Option<Bytes> {
        let peer = self.peer(client);
        let known = self.known.get_mut(&client).filter(|known| !known.is_told)?;
        let named =
            voicemesh_sealing::seal_name(&mut self.ring, self.session, self.you, name, peer)?;
        known.is_told = true;
        Some(self.relay(&[client], &named))
    }

    fn relay(&self, clients: &[ClientId], packet: &[u8]) -> Bytes {
        let mut relayed = Vec::new();
        let kind = Kind::ServerRelayReliable;
        Relay::encode_packet(kind, self.session, clients, packet, &mut relayed);
        relayed.into()
    }

    /// A member gives its keys, or only announces itself.
    fn take_keys(&mut self, now: Duration, from: ClientId, package: &KeyPackage<'_>) {
        let KeyPackage { announcement, package, .. } = *package;
        let peer = self.peer(from);
        self.is_stale = true;
        let result = self.ring.set_member(now, self.session, peer, announcement);
        let is_accepted = self.is_accepted(from);
        let known = self.known.entry(from).or_insert_with(|| Known::new(now));
        match result {
            Ok(MemberChange::Unchanged) => {
                known.refusal = None;
                if package.is_empty() && is_due(&mut known.answered_at, now) {
                    self.ring.send_keys_again(peer);
                }
            }
            Ok(MemberChange::Joined | MemberChange::Restarted) => {
                known.refusal = None;
                // In another run it knows no name.
                known.is_told = false;
                self.safety_code = self.ring.safety_code();
            }
            // The package is sealed for that run, and is asked for when it is accepted.
            Err(AnnouncementError::TooSoon) => return,
            Err(error) => {
                tracing::debug!(peer = %peer, %error, "an announcement was refused");
                if !is_accepted {
                    known.refusal = Some(error);
                }
            }
        }
        if !package.is_empty()
            && let Err(error) = self.ring.accept_package(now, peer, package)
        {
            tracing::debug!(peer = %peer, %error, "a package of keys was refused");
        }
    }

    /// A member lacks keys.
    fn give_again(
        &mut self,
        now: Duration,
        to: ClientId,
        out: &mut VecDeque<(Reliability, Bytes)>,
    ) {
        if !self.is_accepted(to) {
            return self.ask(now, to, out);
        }
        let peer = self.peer(to);
        if let Some(known) = self.known.get_mut(&to)
            && is_due(&mut known.answered_at, now)
        {
            self.is_stale = true;
            self.ring.send_keys_again(peer);
        }
    }

    /// Something came that this peer has no key for.
    fn ask(&mut self, now: Duration, from: ClientId, out: &mut VecDeque<(Reliability, Bytes)>) {
        let is_accepted = self.is_accepted(from);
        let Some(known) = self.known.get_mut(&from) else { return };
        // What was refused is refused again.
        if (known.refusal.is_some() && !is_accepted) || !is_due(&mut known.asked_at, now) {
            return;
        }
        let question = if is_accepted {
            self.relay(&[from], &KeyRequest { sender: self.you }.encode(self.session))
        } else {
            self.keys_for(&[from], &[])
        };
        put(out, Reliability::Reliable, question);
    }

    /// Sends what was written to those who can read it by now.
    fn send_texts(
        &mut self,
        now: Duration,
        view: &View,
        out: &mut VecDeque<(Reliability, Bytes)>,
        events: &mut VecDeque<EncryptionEvent>,
    ) {
        let Self { session, ring, known, texts, .. } = self;
        let session = *session;
        let peer_of = |client| PeerId::of_client(session, client);
        let ring = RefCell::new(ring);
        let reading = |client| {
            let (ring, peer) = (ring.borrow(), peer_of(client));
            if ring.was_given_keys(peer) {
                return Reading::Can;
            }
            let will = ring.identity(peer).is_some()
                || known.get(&client).is_some_and(|known| {
                    known.refusal.is_none() && now < known.since + ANNOUNCES_WITHIN
                });
            if will { Reading::Will } else { Reading::Never }
        };
        texts.send(now, view, events, reading, |Sending { packet, readers }| {
            for readers in readers.chunks(RELAY_DESTINATIONS) {
                let mut relayed = Vec::new();
                let kind = Kind::ServerRelayReliable;
                Relay::encode_packet(kind, session, readers, packet, &mut relayed);
                let sealed = voicemesh_sealing::seal_for_server(
                    &mut ring.borrow_mut(),
                    now,
                    relayed.into(),
                    |client| Some(peer_of(client)),
                    |_| false,
                );
                for sealed in sealed {
                    let (ForServer::Packet(packet) | ForServer::Text { sent: packet, .. }) = sealed;
                    put(out, Reliability::Reliable, packet);
                }
            }
        });
    }

    /// Looks at the texts again in time.
    fn mind_texts(&mut self, now: Duration) {
        let mut next = NextTimer::after(now);
        self.texts.timers(&mut next);
        self.due = next.earliest().map_or(self.due, |at| at.min(self.due));
    }
}

fn push(events: &mut VecDeque<EncryptionEvent>, event: EncryptionEvent) {
    if events.len() < EVENTS {
        events.push_back(event);
    }
}

fn put(out: &mut VecDeque<(Reliability, Bytes)>, reliability: Reliability, packet: Bytes) {
    if out.len() < PACKETS {
        out.push_back((reliability, packet));
    }
}

fn joined<P: Copy + Ord + Debug>(client: &Client<P>) -> Option<&View> {
    client.view().filter(|_| client.phase() == Phase::Joined)
}

fn others(view: &View) -> impl Iterator<Item = ClientId> + '_ {
    view.table().members().map(|member| member.info.id).filter(|id| *id != view.you())
}
