//! Where encryption has its place in the mesh: between the session and the carrier.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use voicemesh_e2ee::{KeyRing, SafetyCode};
use voicemesh_sealing::{MOST_OVERHEAD_BYTES, MemberEncryption, OVERHEAD_BYTES, Outgoing};
use voicemesh_session::network::{NetworkEvent, PacketLimits};
use voicemesh_session::{RosterEntry, TextReader};
use voicemesh_wire::{PeerId, SessionId};

use crate::announcement::ANNOUNCEMENT_KEY;
use crate::encryption::{Encryption, KeyRoutes};
use crate::event::MeshEvent;
use crate::member::Member;
use crate::queues::Queues;
use crate::roster::Roster;
use crate::{Mesh, MeshConfig};

/// Of a peer that does not encrypt: which members do.
#[derive(Debug, Default)]
pub(crate) struct TheirEncryption {
    /// The roster's changes up to which that is known.
    followed: Option<u64>,
    reported: BTreeMap<PeerId, MemberEncryption>,
}

impl TheirEncryption {
    /// Texts of this peer are not taken by who has a room's key.
    pub(crate) fn adapt(&self, member: &Member, entry: &mut RosterEntry) {
        let takes_none = MemberEncryption::OnlyTheirs { has_room_key: true };
        if self.reported.get(&member.peer) == Some(&takes_none) {
            entry.text_reader = TextReader::Never;
        }
    }

    fn follow(&mut self, roster: &mut Roster, queues: &mut Queues) {
        if self.followed.replace(roster.changes) == Some(roster.changes) {
            return;
        }
        let theirs = |member: &Member| Some((member.peer, only_theirs(member)?));
        let now: BTreeMap<_, _> = roster.members().filter_map(theirs).collect();
        for (&peer, &encryption) in &now {
            if self.reported.get(&peer) != Some(&encryption) {
                queues.tell(MeshEvent::EncryptionChanged { peer, encryption });
            }
        }
        roster.is_changed |= self.reported != now;
        self.reported = now;
    }
}

/// What a member announces to one that does not encrypt.
fn only_theirs(member: &Member) -> Option<MemberEncryption> {
    let announcement = URL_SAFE_NO_PAD.decode(member.metadata.get(ANNOUNCEMENT_KEY)?).ok()?;
    let has_room_key = voicemesh_e2ee::announces_room_key(&announcement)?;
    Some(MemberEncryption::OnlyTheirs { has_room_key })
}

impl Mesh {
    /// A mesh that seals what it sends and opens what it gets (PROTOCOL.md, section 18), with the
    /// ring of its peer id in its room. `without_tls` is the ring of
    /// [`MeshConfig::proof_without_tls`].
    pub fn encrypted(config: MeshConfig, ring: KeyRing, without_tls: Option<KeyRing>) -> Self {
        Self { encryption: Some(Encryption::new(ring, without_tls)), ..Self::new(config) }
    }

    /// Whether it encrypts.
    pub fn encrypts(&self) -> bool {
        self.encryption.is_some()
    }

    /// Whether what passes between this peer and a member is encrypted; `None` if neither of them
    /// encrypts, or there is no such member.
    pub fn encryption_of(&self, peer: PeerId) -> Option<MemberEncryption> {
        let member = self.roster.member(peer)?;
        match &self.encryption {
            Some(encryption) => Some(encryption.state_of(member)),
            None => self.their_encryption.reported.get(&peer).copied(),
        }
    }

    /// Lets a member of this name that cannot encrypt hear what is said here, and so the server, or
    /// no more, without a name: [`MemberEncryption::Unencrypted`]. That ends when the member leaves
    /// or starts again, has another name, or can encrypt. Returns whether something changed: nothing
    /// is allowed where the member is not [unable](MemberEncryption::Unable), has another name or is
    /// not there.
    pub fn allow_unencrypted(&mut self, peer: PeerId, as_name: Option<&str>) -> bool {
        let (Some(encryption), Some(member)) = (&mut self.encryption, self.roster.member(peer))
        else {
            return false;
        };
        let is_changed = encryption.allow_unencrypted(member, as_name);
        self.changed |= is_changed;
        is_changed
    }

    /// Whether it encrypts with the room's key.
    pub fn has_room_key(&self) -> bool {
        self.encryption.as_ref().is_some_and(Encryption::has_room_key)
    }

    /// What the members compare to know that no server is in between.
    pub fn safety_code(&self) -> Option<SafetyCode> {
        self.encryption.as_ref().map(Encryption::safety_code)
    }

    /// The largest packets that the session may make.
    pub(crate) fn limits(&self) -> PacketLimits {
        let mut limits = PacketLimits::default();
        if self.encrypts() {
            limits.unreliable_bytes -= MOST_OVERHEAD_BYTES;
            limits.reliable_bytes -= MOST_OVERHEAD_BYTES;
        }
        limits
    }

    /// What sealing adds to a packet, in bytes.
    pub(crate) fn sealing_bytes(&self) -> u32 {
        if self.encrypts() { OVERHEAD_BYTES } else { 0 }
    }

    /// What a member is sent on a link in place of a packet; `None` if it is sent nothing.
    pub(crate) fn seal_for_link(
        &mut self,
        now: Duration,
        outgoing: &mut Outgoing<'_>,
        to: PeerId,
    ) -> Option<Bytes> {
        match &mut self.encryption {
            Some(encryption) => encryption.seal(now, outgoing, to, &self.roster),
            None => Some(outgoing.plain()),
        }
    }

    /// What the session learns of an event.
    pub(crate) fn opened(&mut self, event: NetworkEvent<PeerId>) -> Option<NetworkEvent<PeerId>> {
        let sealing_bytes = self.sealing_bytes();
        // Without an update nothing has come yet.
        let now = self.updated_at.unwrap_or_default();
        let Self { encryption, roster, connection, links, queues, .. } = self;
        let Some(encryption) = encryption else { return Some(event) };
        if let NetworkEvent::LinkAnswered { link, round_trip, further_header_bytes } = event {
            let further_header_bytes = further_header_bytes + sealing_bytes;
            return Some(NetworkEvent::LinkAnswered { link, round_trip, further_header_bytes });
        }
        let event =
            encryption.open(event, &mut KeyRoutes { now, roster, connection, links, queues });
        // Keys may have come, or are asked for.
        self.changed |= event.is_none();
        event
    }

    pub(crate) fn tick_encryption(&mut self, now: Duration) {
        let Self { encryption, their_encryption, roster, connection, links, queues, .. } = self;
        match encryption {
            Some(encryption) => {
                encryption.tick(&mut KeyRoutes { now, roster, connection, links, queues });
            }
            None => their_encryption.follow(roster, queues),
        }
    }

    /// This peer is in a session: those who are there, and who come later, must know its identity
    /// key.
    pub(crate) fn announce(&mut self, now: Duration, session: SessionId) {
        let Some(encryption) = &self.encryption else { return };
        let announcement = encryption.announcement(session);
        self.publish(now, [(ANNOUNCEMENT_KEY.to_owned(), Some(announcement))].into());
        self.tick_encryption(now);
    }
}
