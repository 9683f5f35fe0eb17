//! What the room's key authenticates: announcements of identity keys, and DTLS fingerprints.

use hmac::{Hmac, Mac};
use p256::PublicKey;
use sha2::Sha256;
use voicemesh_wire::{PeerId, SessionId};

use crate::checks::{Check, runs};
use crate::derive::{AUTHENTICATION, Key, derive, length};
use crate::error::{AnnouncementError, FingerprintError};
use crate::identity::{IDENTITY_KEY_BYTES, IdentityKey};
use crate::room_key::RoomKey;

/// A DTLS certificate's SHA-256 fingerprint (RFC 8122), in bytes.
pub const FINGERPRINT_BYTES: usize = 32;
/// What authenticates a fingerprint, in bytes.
pub const FINGERPRINT_TAG_BYTES: usize = 32;

const VERSION: u8 = 1;
/// Version, identity key, run.
const PLAIN_BYTES: usize = 1 + IDENTITY_KEY_BYTES + 16;
const TAG_BYTES: usize = 32;

/// Tells one ring of a peer from its others; random.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run(pub(crate) [u8; 16]);

/// A member as it announces itself.
pub(crate) struct Announcement {
    pub(crate) identity: IdentityKey,
    pub(crate) public: PublicKey,
    pub(crate) run: Run,
}

/// Who vouches for whom: one peer in one session of one room.
pub(crate) struct Authority<'a> {
    pub(crate) room_key: &'a RoomKey,
    pub(crate) room: &'a str,
    pub(crate) session: SessionId,
}

impl Authority<'_> {
    fn mac(&self, peer: PeerId) -> Hmac<Sha256> {
        let Key(key) = &derive(
            self.room_key.bytes(),
            AUTHENTICATION,
            &[
                &length(self.room),
                self.room.as_bytes(),
                &self.session.number().to_be_bytes(),
                peer.0.as_bytes(),
            ],
        );
        match Hmac::new_from_slice(key) {
            Ok(mac) => mac,
            // RFC 2104 takes keys of any length, so the crate's error cannot occur.
            Err(_) => unreachable!("HMAC refused a 32-byte key"),
        }
    }

    fn of_announcement(&self, peer: PeerId, plain: &[u8]) -> Hmac<Sha256> {
        self.mac(peer).chain_update(b"announcement").chain_update(plain)
    }

    fn of_fingerprint(
        &self,
        from: PeerId,
        to: PeerId,
        attempt: u32,
        fingerprint: &[u8; FINGERPRINT_BYTES],
    ) -> Hmac<Sha256> {
        self.mac(from)
            .chain_update(b"fingerprint")
            .chain_update(to.0.as_bytes())
            .chain_update(attempt.to_be_bytes())
            .chain_update(fingerprint)
    }

    pub(crate) fn tag_fingerprint(
        &self,
        from: PeerId,
        to: PeerId,
        attempt: u32,
        fingerprint: &[u8; FINGERPRINT_BYTES],
    ) -> [u8; FINGERPRINT_TAG_BYTES] {
        self.of_fingerprint(from, to, attempt, fingerprint).finalize().into_bytes().into()
    }

    pub(crate) fn verify_fingerprint(
        &self,
        from: PeerId,
        to: PeerId,
        attempt: u32,
        fingerprint: &[u8; FINGERPRINT_BYTES],
        tag: &[u8],
    ) -> Result<(), FingerprintError> {
        let verified = self.of_fingerprint(from, to, attempt, fingerprint).verify_slice(tag);
        if verified.is_err() && runs(Check::RoomKey) {
            Err(FingerprintError::NotAuthentic)
        } else {
            Ok(())
        }
    }
}

/// What a member sends of itself.
pub(crate) fn announce(
    peer: PeerId,
    identity: &IdentityKey,
    run: Run,
    authority: Option<&Authority<'_>>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PLAIN_BYTES + TAG_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&identity.0);
    bytes.extend_from_slice(&run.0);
    if let Some(authority) = authority {
        let tag = authority.of_announcement(peer, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag);
    }
    bytes
}

/// Whether a member that announces this encrypts with a room's key; `None` for what is no
/// announcement. For who does not encrypt: nothing authenticates it.
pub fn announces_room_key(announcement: &[u8]) -> Option<bool> {
    let (plain, tag) = announcement.split_at_checked(PLAIN_BYTES)?;
    let is_known = plain.first() == Some(&VERSION) && [0, TAG_BYTES].contains(&tag.len());
    is_known.then_some(!tag.is_empty())
}

/// Reads what a member sent of itself; nothing of it is used before the room's key has
/// authenticated it.
pub(crate) fn read(
    peer: PeerId,
    bytes: &[u8],
    authority: Option<&Authority<'_>>,
) -> Result<Announcement, AnnouncementError> {
    match bytes.first() {
        None => return Err(AnnouncementError::Malformed),
        Some(&VERSION) => {}
        Some(&version) => return Err(AnnouncementError::UnknownVersion(version)),
    }
    let (plain, tag) = bytes.split_at_checked(PLAIN_BYTES).ok_or(AnnouncementError::Malformed)?;
    if !tag.is_empty() && tag.len() != TAG_BYTES {
        return Err(AnnouncementError::Malformed);
    }
    match authority {
        Some(authority) => {
            let verified = authority.of_announcement(peer, plain).verify_slice(tag);
            if verified.is_err() && runs(Check::RoomKey) {
                return Err(AnnouncementError::NotAuthentic);
            }
        }
        None if !tag.is_empty() => return Err(AnnouncementError::RoomKeyMissing),
        None => {}
    }
    let (identity, run) = plain[1..].split_at(IDENTITY_KEY_BYTES);
    // One form of each key: this length has no other first byte in SEC 1 but 04.
    let public = PublicKey::from_sec1_bytes(identity).map_err(|_| AnnouncementError::InvalidKey)?;
    let mut announcement =
        Announcement { identity: IdentityKey([0; IDENTITY_KEY_BYTES]), public, run: Run([0; 16]) };
    announcement.identity.0.copy_from_slice(identity);
    announcement.run.0.copy_from_slice(run);
    Ok(announcement)
}
