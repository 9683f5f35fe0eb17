//! A key ring over bytes: what comes in begins with the 16 bytes of the peer that it is about.

use std::time::Duration;

use uuid::Uuid;
use voicemesh_e2ee::{
    AnnouncementError, Configuration, KeyRing, Label, MemberChange, OpenError, Published, RoomKey,
    Seed,
};
use voicemesh_wire::identity::InstallationSecret;
use voicemesh_wire::{PeerId, SessionId};

/// A call had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysError {
    /// It was refused, or its input makes no sense.
    Refused,
    /// What it opens was sealed with a key that has not come: the sender is asked for it.
    NoKey,
}

type Result<T> = std::result::Result<T, KeysError>;

/// The key ring of one member of one room.
#[derive(Debug)]
pub struct Keys(KeyRing);

impl Keys {
    /// A ring for one run. `input` is the installation's secret (32 bytes), randomness that is used
    /// for nothing else (32), the own peer id (16), the room's key (16, counted only with
    /// `has_room_key`), the origin of the server (`origin_bytes`) and the room's key name.
    ///
    /// # Errors
    /// The input is too short, or its texts are not UTF-8.
    pub fn create(
        input: &[u8],
        origin_bytes: usize,
        instance: u32,
        has_room_key: bool,
        max_members: usize,
    ) -> Result<Self> {
        let (secret, input) = take::<32>(input)?;
        let secret = InstallationSecret(secret);
        let (seed, input) = take::<32>(input)?;
        let (peer, input) = peer(input)?;
        let (room_key, input) = take::<16>(input)?;
        let (origin, room) = input.split_at_checked(origin_bytes).ok_or(KeysError::Refused)?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| KeysError::Refused);
        let configuration = Configuration {
            secret: &secret,
            origin: text(origin)?,
            room: text(room)?,
            instance,
            peer,
            room_key: has_room_key.then(|| RoomKey::new(room_key)),
            max_members,
        };
        Ok(Self(KeyRing::new(configuration, Seed::new(seed))))
    }

    /// The own announcement in a session.
    pub fn announcement(&self, session: u32) -> Result<Vec<u8>> {
        Ok(self.0.announcement(id(session)?))
    }

    /// A member's announcement, behind its id: 0 for a member that was not here, 1 for one that was
    /// started again, 2 for the one that is known, and the negative number of a refusal.
    pub fn set_member(&mut self, now: Duration, session: u32, input: &[u8]) -> i32 {
        let (Ok((peer, announcement)), Ok(session)) = (peer(input), id(session)) else {
            return refusal(AnnouncementError::Malformed);
        };
        match self.0.set_member(now, session, peer, announcement) {
            Ok(MemberChange::Joined) => 0,
            Ok(MemberChange::Restarted) => 1,
            Ok(MemberChange::Unchanged) => 2,
            Err(error) => refusal(error),
        }
    }

    /// A member is gone.
    pub fn remove_member(&mut self, now: Duration, input: &[u8]) {
        if let Ok((peer, _)) = peer(input) {
            self.0.remove_member(now, peer);
        }
    }

    /// The identity key of a member, or the own one.
    ///
    /// # Errors
    /// No announcement of this peer was accepted, or it is gone.
    pub fn identity(&self, input: &[u8], own: bool) -> Result<Vec<u8>> {
        if own {
            return Ok(self.0.own_identity().bytes().to_vec());
        }
        let (peer, _) = peer(input)?;
        self.0.identity(peer).map(|key| key.bytes().to_vec()).ok_or(KeysError::Refused)
    }

    /// Of a member: 1 if it is accepted, 2 if it ever was, 4 if its keys have come, 8 if it was given
    /// those that are in use here.
    pub fn standing(&self, input: &[u8]) -> u32 {
        let Ok((peer, _)) = peer(input) else { return 0 };
        u32::from(self.0.identity(peer).is_some())
            | u32::from(self.0.was_accepted(peer)) << 1
            | u32::from(self.0.has_keys_of(peer)) << 2
            | u32::from(self.0.was_given_keys(peer)) << 3
    }

    /// Computes one more pair secret; false if all are computed.
    pub fn agree_next(&mut self) -> bool {
        self.0.agree_next()
    }

    /// The next package, behind the id of the member that it is for.
    pub fn poll_package(&mut self) -> Option<Vec<u8>> {
        let (peer, package) = self.0.poll_package()?;
        let mut output = peer.0.as_bytes().to_vec();
        output.extend_from_slice(&package);
        Some(output)
    }

    /// Another package for a member follows.
    pub fn send_keys_again(&mut self, input: &[u8]) {
        if let Ok((peer, _)) = peer(input) {
            self.0.send_keys_again(peer);
        }
    }

    /// A package from a member, behind its id.
    ///
    /// # Errors
    /// It was refused.
    pub fn accept_package(&mut self, now: Duration, input: &[u8]) -> Result<()> {
        let (peer, package) = peer(input)?;
        self.0.accept_package(now, peer, package).map(drop).map_err(|_| KeysError::Refused)
    }

    /// The beginning of a packet, as it is, and the rest, sealed for one member (whose id stands
    /// before it) or for everyone.
    ///
    /// # Errors
    /// There is no key to seal with.
    pub fn seal(
        &mut self,
        now: Duration,
        label: u32,
        for_one: bool,
        clear_bytes: usize,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<()> {
        let (peer, packet) = peer(input)?;
        let (clear, secret) = packet.split_at_checked(clear_bytes).ok_or(KeysError::Refused)?;
        let label = named(label)?;
        output.extend_from_slice(clear);
        let sealed = if for_one {
            self.0.seal_to(peer, label, clear, secret, output)
        } else {
            self.0.seal(now, label, clear, secret, output)
        };
        sealed.map_err(|_| KeysError::Refused)
    }

    /// What a member sealed for this one or for everyone: only the plain text is given.
    ///
    /// # Errors
    /// It was not opened.
    pub fn open(
        &mut self,
        now: Duration,
        label: u32,
        for_one: bool,
        clear_bytes: usize,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<()> {
        let (peer, packet) = peer(input)?;
        let (clear, sealed) = packet.split_at_checked(clear_bytes).ok_or(KeysError::Refused)?;
        let label = named(label)?;
        let opened = if for_one {
            self.0.open_from(peer, label, clear, sealed, output)
        } else {
            self.0.open(now, peer, label, clear, sealed, output)
        };
        match opened {
            Ok(_) => Ok(()),
            Err(OpenError::UnknownKey | OpenError::UnknownMember) => Err(KeysError::NoKey),
            Err(_) => Err(KeysError::Refused),
        }
    }

    /// A value of a member's metadata, from the member's id, the value's key of that many bytes and
    /// what is to be published under it; before base64url.
    ///
    /// # Errors
    /// The room has no key.
    pub fn seal_value(
        &mut self,
        key_bytes: usize,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<()> {
        let (place, plain) = place(key_bytes, input)?;
        self.0.seal_room_state(&place, plain, output).map_err(|_| KeysError::Refused)
    }

    /// A value of a member's metadata, from the member's id, the value's key of that many bytes and
    /// what is published under it.
    ///
    /// # Errors
    /// It was not sealed by a member with the room's key, for this member and this key.
    pub fn open_value(
        &mut self,
        key_bytes: usize,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<()> {
        let (place, sealed) = place(key_bytes, input)?;
        self.0.open_room_state(&place, sealed, output).map_err(|_| KeysError::Refused)
    }

    /// The tag of a fingerprint (32 bytes) for a member and an attempt.
    ///
    /// # Errors
    /// The room has no key.
    pub fn tag_fingerprint(&self, session: u32, attempt: u32, input: &[u8]) -> Result<Vec<u8>> {
        let (peer, input) = peer(input)?;
        let (fingerprint, _) = take::<32>(input)?;
        let tag = self.0.tag_fingerprint(id(session)?, peer, attempt, &fingerprint);
        tag.map(|tag| tag.to_vec()).map_err(|_| KeysError::Refused)
    }

    /// Whether a fingerprint (32 bytes) is a member's, by the tag behind it.
    pub fn verify_fingerprint(&self, session: u32, attempt: u32, input: &[u8]) -> bool {
        let verify = || {
            let (peer, input) = peer(input)?;
            let (fingerprint, tag) = take::<32>(input)?;
            let verified =
                self.0.verify_fingerprint(id(session)?, peer, attempt, &fingerprint, tag);
            verified.map_err(|_| KeysError::Refused)
        };
        verify().is_ok()
    }

    /// What the members compare.
    pub fn safety_code(&self) -> String {
        self.0.safety_code().to_string()
    }

    /// Runs timers.
    pub fn update(&mut self, now: Duration) {
        self.0.update(now);
    }

    /// When [`Keys::update`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.0.poll_timeout()
    }
}

fn take<const N: usize>(input: &[u8]) -> Result<([u8; N], &[u8])> {
    let (first, rest) = input.split_first_chunk::<N>().ok_or(KeysError::Refused)?;
    Ok((*first, rest))
}

fn peer(input: &[u8]) -> Result<(PeerId, &[u8])> {
    let (bytes, rest) = take::<16>(input)?;
    Ok((PeerId(Uuid::from_bytes(bytes)), rest))
}

/// What authenticates where a value stands, and what is behind the member's id and the key.
fn place(key_bytes: usize, input: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let (peer, input) = peer(input)?;
    let (key, rest) = input.split_at_checked(key_bytes).ok_or(KeysError::Refused)?;
    let key = std::str::from_utf8(key).map_err(|_| KeysError::Refused)?;
    Ok((Published::Member(peer, key).associated(), rest))
}

fn id(session: u32) -> Result<SessionId> {
    SessionId::new(session).ok_or(KeysError::Refused)
}

fn named(label: u32) -> Result<Label> {
    match label {
        1 => Ok(Label::Voice),
        2 => Ok(Label::Data),
        3 => Ok(Label::State),
        _ => Err(KeysError::Refused),
    }
}

/// `web/src/key-ring.js` has the same numbers.
fn refusal(error: AnnouncementError) -> i32 {
    match error {
        AnnouncementError::UnknownVersion(_) => -2,
        AnnouncementError::OwnId => -3,
        AnnouncementError::InvalidKey => -4,
        AnnouncementError::NotAuthentic => -5,
        AnnouncementError::RoomKeyMissing => -6,
        AnnouncementError::IdentityChanged => -7,
        AnnouncementError::OldRun => -8,
        AnnouncementError::RoomFull => -9,
        AnnouncementError::TooSoon => -10,
        AnnouncementError::TooManyRuns => -11,
        _ => -1,
    }
}
