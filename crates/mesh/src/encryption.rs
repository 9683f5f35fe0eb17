//! End-to-end encryption of what members say to each other (PROTOCOL.md, section 18): accepts
//! announcements, distributes keys, has packets sealed and opened between the session and the carrier
//! (`voicemesh-sealing`), and names and metadata between the mesh and the server (`published`).
//!
//! The session handles plain packets only. A member whose announcement was not accepted is not
//! addressed by it ([`Encryption::adapt`]), and sealing leaves it out once more.

mod published;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use voicemesh_common::NextTimer;
use voicemesh_e2ee::{AnnouncementError, KeyRing, MemberChange, RESTART_INTERVAL, SafetyCode};
use voicemesh_sealing::{ForServer, Incoming, MemberEncryption, Outgoing};
use voicemesh_session::network::{NetworkEvent, Reliability};
use voicemesh_session::{RosterEntry, TextReader};
use voicemesh_wire::packet::{self, KeyPackage, KeyRequest, Kind, Relay};
use voicemesh_wire::{ClientId, PeerId, SessionId};

use crate::announcement::ANNOUNCEMENT_KEY;
use crate::checks::{Check, runs};
use crate::connection::Connection;
use crate::event::MeshEvent;
use crate::fingerprints::LinkAuthentication;
use crate::member::Member;
use crate::negotiation::Links;
use crate::queues::Queues;
use crate::roster::Roster;

pub(crate) use published::{hide_sealed, keep_own_name};

/// Pair secrets computed in one turn: a millisecond of work.
const AGREEMENTS_PER_TURN: usize = 8;
/// Members are checked at least this often.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A member is asked for keys, and given keys that it asks for, at most once in this time.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// The key ring of this peer, and what was made known to whom.
#[derive(Debug)]
pub(crate) struct Encryption {
    ring: KeyRing,
    /// Takes its place if the server turns out to speak no TLS.
    without_tls: Option<KeyRing>,
    known: BTreeMap<PeerId, Known>,
    /// Pair secrets are still to be computed.
    is_agreeing: bool,
    /// Packages came, are asked for, or wait for a way.
    is_stale: bool,
    /// The [changes](Roster::changes) that were followed.
    followed: u64,
    /// When the members are looked at next, if nothing happens before.
    due: Duration,
    /// Of those whose announcements are accepted. A millisecond of hashing: not for each question.
    safety_code: SafetyCode,
}

/// What is known of a member besides its keys.
#[derive(Debug, Default)]
struct Known {
    /// What it published last, and the session in which that was looked at.
    published: Option<(SessionId, String)>,
    refusal: Option<AnnouncementError>,
    /// When an announcement that came too soon after a restart is read again.
    retry_at: Option<Duration>,
    /// Of which run of its program.
    reported: Option<(u32, MemberEncryption)>,
    /// It can open what is sealed here now, as the session knows.
    was_given_keys: bool,
    /// There was no way for its package.
    is_undelivered: bool,
    asked_at: Option<Duration>,
    answered_at: Option<Duration>,
    /// The run and the name for which this peer let the server hear what is said to it.
    allowed: Option<(u32, String)>,
}

/// Sends key packets through the server or a link.
pub(crate) struct KeyRoutes<'a> {
    pub(crate) now: Duration,
    pub(crate) roster: &'a mut Roster,
    pub(crate) connection: &'a mut Connection,
    pub(crate) links: &'a Links,
    pub(crate) queues: &'a mut Queues,
}

impl KeyRoutes<'_> {
    /// The session, and the own client id in it.
    fn session(&self) -> Option<(SessionId, ClientId)> {
        self.roster.session.zip(self.roster.own.as_ref().map(|own| own.client))
    }

    /// Sends through the server while it answers, otherwise on a link. Returns false without either.
    fn send(&mut self, to: PeerId, packet: Vec<u8>) -> bool {
        let link = self.links.newest_open_link(to);
        let relay = self.relay_address(to);
        match (relay, link) {
            (Some((session, client)), link)
                if self.connection.server_is_reached() || link.is_none() =>
            {
                let mut relayed = Vec::new();
                let kind = Kind::ServerRelayReliable;
                Relay::encode_packet(kind, session, &[client], &packet, &mut relayed);
                let reliable = Reliability::Reliable;
                self.connection.send_packet(self.now, reliable, relayed.into(), self.queues);
                true
            }
            (_, Some(link)) => {
                self.queues.out.send_link(link, packet.into());
                true
            }
            (_, None) => false,
        }
    }

    fn relay_address(&self, peer: PeerId) -> Option<(SessionId, ClientId)> {
        let (_, session) = self.connection.joined_as()?;
        Some((session, self.roster.client_of(peer)?))
    }

    fn has_way(&self, peer: PeerId) -> bool {
        self.relay_address(peer).is_some() || self.links.newest_open_link(peer).is_some()
    }
}

impl Encryption {
    pub(crate) fn new(ring: KeyRing, without_tls: Option<KeyRing>) -> Self {
        let safety_code = ring.safety_code();
        Self {
            ring,
            without_tls,
            known: BTreeMap::new(),
            is_agreeing: false,
            is_stale: true,
            followed: 0,
            due: Duration::ZERO,
            safety_code,
        }
    }

    /// Before the first join: the own identity is that of a server without TLS.
    pub(crate) fn use_identity_without_tls(&mut self) {
        if let Some(ring) = self.without_tls.take() {
            *self = Self::new(ring, None);
        }
    }

    /// What is published under [`ANNOUNCEMENT_KEY`] in a session.
    pub(crate) fn announcement(&self, session: SessionId) -> String {
        URL_SAFE_NO_PAD.encode(self.ring.announcement(session))
    }

    pub(crate) fn has_room_key(&self) -> bool {
        self.ring.has_room_key()
    }

    pub(crate) fn safety_code(&self) -> SafetyCode {
        self.safety_code
    }

    pub(crate) fn state_of(&self, member: &Member) -> MemberEncryption {
        state_of(&self.ring, self.known.get(&member.peer), member)
    }

    /// See [`Mesh::allow_unencrypted`](crate::Mesh::allow_unencrypted).
    pub(crate) fn allow_unencrypted(&mut self, member: &Member, as_name: Option<&str>) -> bool {
        let is_unable = self.state_of(member) == MemberEncryption::Unable;
        let is_of_another = as_name.is_some_and(|name| name != member.name);
        let known = self.known.entry(member.peer).or_default();
        if is_of_another || (as_name.is_some() && !is_unable) {
            return false;
        }
        let allowed = as_name.map(|name| (member.run, name.to_owned()));
        self.is_stale |= known.allowed != allowed;
        std::mem::replace(&mut known.allowed, allowed.clone()) != allowed
    }

    fn hears_plain(&self, member: &Member) -> bool {
        hears_plain(&self.ring, self.known.get(&member.peer), member)
    }

    /// The session sends no speech to members who are not sent keys, on whichever way, and hears
    /// them only where plain speech is taken. The game's bytes for them wait in their pipe.
    pub(crate) fn adapt(&self, member: &Member, entry: &mut RosterEntry) {
        entry.text_reader = self.text_reader(member);
        if !self.is_accepted(member.peer) {
            entry.hears_plain = self.hears_plain(member);
            entry.permissions.listen &= entry.hears_plain;
            entry.abilities.takes_data = false;
            if !takes_plain(&self.ring, member) {
                (entry.permissions.speak, entry.permissions.data) = (false, false);
            }
        }
    }

    /// Texts wait for the keys that let a member read them.
    fn text_reader(&self, member: &Member) -> TextReader {
        if self.ring.was_given_keys(member.peer) {
            return TextReader::Ready;
        }
        match self.state_of(member) {
            MemberEncryption::Waiting | MemberEncryption::Encrypted { .. } => TextReader::Soon,
            _ => TextReader::Never,
        }
    }

    pub(crate) fn timers(&self, next: &mut NextTimer) {
        next.at(self.due);
        if self.is_agreeing {
            next.soon();
        }
    }

    /// Follows the roster, and sends keys to whom they are owed.
    pub(crate) fn tick(&mut self, routes: &mut KeyRoutes<'_>) {
        let has_changed = self.is_stale || self.is_agreeing;
        if !has_changed && self.followed == routes.roster.changes && routes.now < self.due {
            return;
        }
        self.is_stale = false;
        self.ring.update(routes.now);
        self.is_agreeing = false;
        if let Some((session, you)) = routes.session() {
            self.follow(session, routes);
            self.is_agreeing = (0..AGREEMENTS_PER_TURN).all(|_| self.ring.agree_next());
            self.send_packages(session, you, routes);
            self.report_changes(routes);
        }
        self.followed = routes.roster.changes;
        // What was taken back, or replaced by what is known, is not read again.
        let retries = self.known.values().filter_map(|known| known.retry_at);
        let retries = retries.filter(|at| *at > routes.now);
        let timers = self.ring.poll_timeout().into_iter().chain(retries);
        self.due = timers.fold(routes.now + RECHECK_INTERVAL, Duration::min);
    }

    fn is_accepted(&self, peer: PeerId) -> bool {
        self.ring.identity(peer).is_some()
    }

    fn follow(&mut self, session: SessionId, routes: &mut KeyRoutes<'_>) {
        let gone: Vec<PeerId> =
            self.ring.members().filter(|peer| routes.roster.member(*peer).is_none()).collect();
        let mut has_changed = !gone.is_empty();
        for peer in gone {
            self.ring.remove_member(routes.now, peer);
        }
        self.known.retain(|peer, _| routes.roster.member(*peer).is_some());
        for member in routes.roster.members() {
            let Some(text) = member.metadata.get(ANNOUNCEMENT_KEY) else { continue };
            let known = self.known.entry(member.peer).or_default();
            let is_seen = known
                .published
                .as_ref()
                .is_some_and(|(of, seen)| (*of, seen.as_str()) == (session, text.as_str()));
            if is_seen || known.retry_at.is_some_and(|at| routes.now < at) {
                continue;
            }
            let announcement = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
            let change = self.ring.set_member(routes.now, session, member.peer, &announcement);
            if change == Err(AnnouncementError::TooSoon) {
                known.retry_at = Some(routes.now + RESTART_INTERVAL);
                continue;
            }
            (known.published, known.retry_at) = (Some((session, text.clone())), None);
            has_changed |= change == Ok(MemberChange::Joined);
            known.refusal = change.err();
            if let Some(error) = known.refusal {
                tracing::debug!(peer = %member.peer, %error, "an announcement was refused");
            }
        }
        if has_changed {
            routes.roster.mark_changed();
            self.safety_code = self.ring.safety_code();
        }
    }

    fn send_packages(&mut self, session: SessionId, you: ClientId, routes: &mut KeyRoutes<'_>) {
        for (peer, known) in &mut self.known {
            if known.is_undelivered && routes.has_way(*peer) {
                known.is_undelivered = false;
                self.ring.send_keys_again(*peer);
            }
            self.is_stale |= known.is_undelivered;
        }
        while let Some((peer, package)) = self.ring.poll_package() {
            let announcement = self.ring.announcement(session);
            let packet = KeyPackage { sender: you, announcement: &announcement, package: &package };
            if !routes.send(peer, packet.encode(session)) {
                self.known.entry(peer).or_default().is_undelivered = true;
                self.is_stale = true;
            }
        }
    }

    fn report_changes(&mut self, routes: &mut KeyRoutes<'_>) {
        let mut has_changed = false;
        for member in routes.roster.members() {
            let peer = member.peer;
            let known = self.known.entry(peer).or_default();
            if !hears_plain(&self.ring, Some(&*known), member) {
                // Not if the member has its name, or no way to encrypt, once more.
                known.allowed = None;
            }
            let encryption = state_of(&self.ring, Some(&*known), member);
            let reported = (member.run, encryption);
            if known.reported.replace(reported) != Some(reported) {
                routes.queues.tell(MeshEvent::EncryptionChanged { peer, encryption });
                has_changed = true;
            }
            let was_given_keys = self.ring.was_given_keys(peer);
            has_changed |=
                std::mem::replace(&mut known.was_given_keys, was_given_keys) != was_given_keys;
        }
        if has_changed {
            routes.roster.mark_changed();
        }
    }

    /// A member gives its keys.
    fn take_package(&mut self, from: PeerId, package: &KeyPackage<'_>, routes: &mut KeyRoutes<'_>) {
        let Some(session) = routes.roster.session.filter(|_| routes.roster.member(from).is_some())
        else {
            return;
        };
        self.is_stale = true;
        let now = routes.now;
        let KeyPackage { announcement, package, .. } = *package;
        // It may be ahead of the announcement that the server distributes, or the answer to a
        // question about one that is known.
        match self.ring.set_member(now, session, from, announcement) {
            Ok(change) => {
                self.known.entry(from).or_default().refusal = None;
                if change == MemberChange::Joined {
                    self.safety_code = self.ring.safety_code();
                    routes.roster.mark_changed();
                }
            }
            // The package is sealed for that run, and is asked for when it is accepted.
            Err(AnnouncementError::TooSoon) => return,
            Err(error) => {
                tracing::debug!(peer = %from, %error, "an announcement was refused");
                if !self.is_accepted(from) {
                    self.known.entry(from).or_default().refusal = Some(error);
                }
            }
        }
        if let Err(error) = self.ring.accept_package(now, from, package) {
            tracing::debug!(peer = %from, %error, "a package of keys was refused");
        }
    }

    /// A member lacks keys.
    fn give_again(&mut self, to: PeerId, now: Duration) {
        if let Some(known) = self.known.get_mut(&to)
            && known.answered_at.is_none_or(|at| now >= at + REQUEST_INTERVAL)
        {
            known.answered_at = Some(now);
            self.is_stale = true;
            self.ring.send_keys_again(to);
        }
    }

    /// Something came that this peer has no key for.
    fn ask(&mut self, from: PeerId, routes: &mut KeyRoutes<'_>) {
        let Some((session, you)) = routes.session() else { return };
        let is_accepted = self.is_accepted(from);
        let known = self.known.entry(from).or_default();
        // What was refused is refused again.
        if known.refusal.is_some() && !is_accepted {
            return;
        }
        if known.asked_at.is_none_or(|at| routes.now >= at + REQUEST_INTERVAL) {
            known.asked_at = Some(routes.now);
            routes.send(from, KeyRequest { sender: you }.encode(session));
        }
    }

    /// What one member is sent on a link; `None` if nothing is sent to it.
    pub(crate) fn seal(
        &mut self,
        now: Duration,
        outgoing: &mut Outgoing<'_>,
        to: PeerId,
        roster: &Roster,
    ) -> Option<Bytes> {
        if !runs(Check::Accepted) && !self.is_accepted(to) {
            return Some(outgoing.plain());
        }
        let hears_plain = roster.member(to).is_some_and(|member| self.hears_plain(member));
        voicemesh_sealing::seal(&mut self.ring, now, outgoing, to, hears_plain)
    }

    /// What the server is sent in place of a packet.
    pub(crate) fn seal_for_server(
        &mut self,
        now: Duration,
        packet: Bytes,
        roster: &Roster,
    ) -> Vec<ForServer> {
        let packet =
            if self.has_room_key() { voicemesh_sealing::unnamed(packet) } else { Some(packet) };
        let Some(packet) = packet else { return Vec::new() };
        let Self { ring, known, .. } = self;
        let peer_of = |client| roster.clients.get(&client).copied();
        let allowed: BTreeSet<PeerId> = known
            .iter()
            .filter(|(_, known)| known.allowed.is_some())
            .filter_map(|(peer, known)| {
                let member = roster.member(*peer)?;
                hears_plain(ring, Some(known), member).then_some(*peer)
            })
            .collect();
        let hears_plain = |peer| allowed.contains(&peer);
        voicemesh_sealing::seal_for_server(ring, now, packet, peer_of, hears_plain)
    }

    /// What the session learns of something that the network reports; `None` if that is nothing.
    pub(crate) fn open(
        &mut self,
        event: NetworkEvent<PeerId>,
        routes: &mut KeyRoutes<'_>,
    ) -> Option<NetworkEvent<PeerId>> {
        match event {
            NetworkEvent::FromServer(packet) => {
                let from = sender(&packet, routes.roster);
                self.open_packet(packet, from, routes).map(NetworkEvent::FromServer)
            }
            NetworkEvent::FromLink { link, packet } => {
                if self.is_only_acknowledged(link.peer, &packet) {
                    return Some(NetworkEvent::FromLink { link, packet });
                }
                let packet = self.open_packet(packet, Some(link.peer), routes)?;
                // Written messages come through the server only.
                let is_text = packet::open(&packet).is_ok_and(|(header, _)| header.kind.is_text());
                (!is_text).then_some(NetworkEvent::FromLink { link, packet })
            }
            other => Some(other),
        }
    }

    /// Speech of a member whose announcement was not accepted: the session drops it, since it may
    /// not speak, but acknowledges it, or the member would take the link for a stalled one.
    fn is_only_acknowledged(&self, peer: PeerId, packet: &[u8]) -> bool {
        !self.is_accepted(peer)
            && packet::open(packet).is_ok_and(|(header, _)| header.kind.is_voice())
    }

    fn open_packet(
        &mut self,
        packet: Bytes,
        from: Option<PeerId>,
        routes: &mut KeyRoutes<'_>,
    ) -> Option<Bytes> {
        let member = from.and_then(|from| routes.roster.member(from));
        let takes_plain = member.is_some_and(|member| takes_plain(&self.ring, member));
        match voicemesh_sealing::open(&mut self.ring, routes.now, &packet, from, takes_plain) {
            Incoming::Packet(packet) => return Some(packet),
            Incoming::Keys(package) => self.take_package(from?, &package, routes),
            Incoming::KeysWanted => self.give_again(from?, routes.now),
            Incoming::NoKey => {
                if member.is_some_and(|member| member.capabilities.e2ee) {
                    self.ask(from?, routes);
                }
            }
            // Names are metadata here.
            Incoming::Name(_) | Incoming::Nothing => {}
        }
        None
    }
}

/// Who says to have sent a packet that came through the server.
fn sender(packet: &[u8], roster: &Roster) -> Option<PeerId> {
    let (session, client) = voicemesh_sealing::sender(packet)?;
    roster.clients.get(&client).copied().filter(|_| Some(session) == roster.session)
}

impl LinkAuthentication for Encryption {
    /// A member without the room's key cannot authenticate its end, and nothing is said to it.
    fn may_link(&self, member: &Member) -> bool {
        !self.has_room_key() || !self.state_of(member).is_left_out()
    }

    fn authority(&self) -> Option<&KeyRing> {
        self.has_room_key().then_some(&self.ring)
    }
}

/// Whether what a member says is taken as it is. Who has encrypted before goes on doing so, or the
/// server could put itself in its place.
fn takes_plain(ring: &KeyRing, member: &Member) -> bool {
    let has_encrypted = runs(Check::EncryptedBefore) && ring.was_accepted(member.peer);
    !ring.has_room_key() && !member.capabilities.e2ee && !has_encrypted
}

/// Whether speech is sent to a member as it is. One whose announcement was refused says to encrypt.
fn hears_plain(ring: &KeyRing, known: Option<&Known>, member: &Member) -> bool {
    known.is_some_and(|known| {
        let allowed = known.allowed.as_ref();
        known.refusal.is_none()
            && allowed.is_some_and(|(run, name)| (*run, name) == (member.run, &member.name))
    }) && takes_plain(ring, member)
}

fn state_of(ring: &KeyRing, known: Option<&Known>, member: &Member) -> MemberEncryption {
    let peer = member.peer;
    let refusal = known.and_then(|known| known.refusal);
    let is_accepted = ring.identity(peer).is_some();
    match refusal {
        Some(error) if !is_accepted || error == AnnouncementError::IdentityChanged => {
            MemberEncryption::Refused(error)
        }
        _ if is_accepted && ring.has_keys_of(peer) => {
            MemberEncryption::Encrypted { verified: ring.has_room_key() }
        }
        _ if member.capabilities.e2ee => MemberEncryption::Waiting,
        _ if ring.was_accepted(peer) => MemberEncryption::Stopped,
        _ if hears_plain(ring, known, member) => MemberEncryption::Unencrypted,
        _ => MemberEncryption::Unable,
    }
}
