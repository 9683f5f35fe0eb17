//! Tickets: what the server gives each member and reads again when the member comes back, also
//! after a restart.
//!
//! A ticket is a small record of one member of one room, sealed by the caller's [`TicketCipher`].
//! The server keeps no list of tickets: what it finds in one, it has written itself. On the wire a
//! ticket is the base64url of nonce, ciphertext and tag.
//!
//! Pure: given the time, and a seed for nonces.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;
use voicemesh_wire::limits::{FOLDED_ROOM_NAME_BYTES, TICKET_BYTES};
use voicemesh_wire::signaling::Ticket;
use voicemesh_wire::{PeerId, Permissions};

use crate::grant::Grant;

/// How long a ticket is valid, in seconds.
pub const LIFETIME: u64 = 24 * 3600;
/// A member gets a new one this often, in seconds.
pub const RENEWAL: u64 = 3600;
/// A ticket may come from a clock that is this far ahead, in seconds.
const CLOCK_SKEW: u64 = 60;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// The first byte of a record.
const VERSION: u8 = 2;
/// That of records that do not say since when their holder has been a member.
const WITHOUT_SINCE: u8 = 1;
const HAS_PASSWORD: u8 = 1;
const HAS_OWNER: u8 = 2;
const HAS_GRANT: u8 = 4;
/// The room had no password.
const IS_OPEN: u8 = 8;
const COUNTS_SINCE: u8 = 16;
const BEGUN_IN: u8 = 32;
/// Stands for the length of a text that is not there.
const NO_TEXT: u8 = 255;

/// What a ticket says.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketRecord {
    /// The key of the room it is for.
    pub room: String,
    /// The member it is for.
    pub peer: PeerId,
    /// When it was sealed, in seconds since 1970.
    pub issued_at: u64,
    /// Since when its holder has been a member, renewed tickets and returns included.
    pub member_since: MemberSince,
    /// The run of the server that sealed it, drawn at random at its start.
    pub server_run: u64,
    /// The room's password as it was then, or that it had none.
    pub password: Option<PasswordRecord>,
    /// The right to moderate the room.
    pub owner: Option<OwnerRight>,
    /// What the member's access token allowed.
    pub grant: Option<Grant>,
}

/// Since when a peer has been a member of a room: seconds since 1970, and which it was of those who
/// came within one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberSince(u64);

/// Bits for those who came within one second.
const NUMBER_BITS: u32 = 20;

impl MemberSince {
    /// The first of those who came in a second since 1970.
    pub fn second(unix: u64) -> Self {
        Self(unix.min(u64::MAX >> NUMBER_BITS) << NUMBER_BITS)
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What was decided about a room's password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordRecord {
    /// The password; `None` if the room had none.
    pub hash: Option<SaltedHash>,
    /// Which decision this is among those about a room one after the other.
    pub epoch: Epoch,
    /// In seconds since 1970: tickets of earlier runs of the server that were issued until then, and
    /// show a decision about another room of this name, do not count against this one.
    pub counts_since: Option<u64>,
}

/// A slow salted hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaltedHash {
    /// The salt of the hash.
    pub salt: [u8; 16],
    /// Argon2id.
    pub hash: [u8; 32],
}

/// The right to moderate a room, given to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerRight {
    /// Rises when the right is handed on.
    pub epoch: Epoch,
    /// The run of the server in which it began, as tickets of former versions do not say.
    pub begun_in: Option<u64>,
}

impl OwnerRight {
    /// Whether this counts more than another right to moderate the room, after a restart. Within one
    /// run a right begins only after the former one has ended. One of an earlier run may not have
    /// ended, and counts more than what began while its holder was away.
    pub(crate) fn counts_over(self, other: Self) -> bool {
        let (own, others) = (self.epoch.lineage, other.epoch.lineage);
        if self.begun_in.is_some() && self.begun_in == other.begun_in {
            own > others
        } else {
            own < others
        }
    }
}

/// A position in the history of something that a room keeps: its password, or who may moderate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Tells histories apart. Of two rights to moderate the lower one began earlier.
    pub lineage: u64,
    /// Rises by one with each change.
    pub number: u32,
}

/// Authenticated encryption under one key.
pub trait TicketCipher: Send + Sync {
    /// Ciphertext and tag; `None` only if the text is too long for the cipher. A nonce must never
    /// be used for two texts.
    fn seal(&self, nonce: [u8; NONCE_BYTES], text: Vec<u8>) -> Option<Vec<u8>>;

    /// The text, if this key sealed it with this nonce.
    fn open(&self, nonce: [u8; NONCE_BYTES], sealed: Vec<u8>) -> Option<Vec<u8>>;
}

/// Seals and opens tickets.
#[derive(Clone)]
pub struct TicketKey {
    cipher: Arc<dyn TicketCipher>,
    server_run: u64,
}

/// Seals the tickets of one room, each with another nonce.
#[derive(Clone)]
pub struct TicketIssuer {
    key: TicketKey,
    seed: [u8; 32],
    sealed: u64,
}

/// What time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Seconds since 1970.
    pub seconds: u64,
    /// The most that these have been.
    pub latest: u64,
}

impl TimeOfDay {
    /// A time that does not go back with the clock, so that tickets and decisions are ordered by it;
    /// unless the clock was ahead by more than a ticket's life.
    pub(crate) fn in_order(self) -> u64 {
        if self.latest <= self.seconds.saturating_add(LIFETIME) {
            self.latest
        } else {
            self.seconds
        }
    }
}

impl From<u64> for TimeOfDay {
    /// A clock that was never set back.
    fn from(seconds: u64) -> Self {
        Self { seconds, latest: seconds }
    }
}

impl TicketKey {
    /// `server_run` is drawn at random at every start of the server.
    pub fn new(cipher: Arc<dyn TicketCipher>, server_run: u64) -> Self {
        Self { cipher, server_run }
    }

    /// Which run of the server this is.
    pub fn server_run(&self) -> u64 {
        self.server_run
    }

    /// What a ticket says, if this server's secret sealed it for this member of this room and it is
    /// valid at `time`.
    pub fn open(
        &self,
        ticket: &Ticket,
        room: &str,
        peer: PeerId,
        time: TimeOfDay,
    ) -> Option<TicketRecord> {
        let record = self.unseal(ticket)?;
        let is_fresh = record.issued_at <= time.latest.saturating_add(CLOCK_SKEW)
            && time.seconds <= record.issued_at.saturating_add(LIFETIME);
        (is_fresh && record.room == room && record.peer == peer).then_some(record)
    }

    fn unseal(&self, ticket: &Ticket) -> Option<TicketRecord> {
        if ticket.len() > TICKET_BYTES {
            return None;
        }
        let mut nonce = URL_SAFE_NO_PAD.decode(ticket.as_str()).ok()?;
        let sealed = (nonce.len() >= NONCE_BYTES).then(|| nonce.split_off(NONCE_BYTES))?;
        let record = self.cipher.open(nonce.try_into().ok()?, sealed)?;
        TicketRecord::read(&record)
    }

    /// A nonce must never be used for two records.
    fn seal(&self, nonce: [u8; NONCE_BYTES], record: &TicketRecord) -> Option<Ticket> {
        let mut bytes = nonce.to_vec();
        bytes.extend(self.cipher.seal(nonce, record.write())?);
        Some(Ticket::from(URL_SAFE_NO_PAD.encode(bytes)))
    }
}

impl TicketIssuer {
    /// `seed` is drawn at random for each issuer: nonces follow from it.
    pub fn new(key: TicketKey, seed: [u8; 32]) -> Self {
        Self { key, seed, sealed: 0 }
    }

    /// The key, to open tickets.
    pub fn key(&self) -> &TicketKey {
        &self.key
    }

    /// A number that cannot be foreseen.
    pub fn draw(&mut self) -> u64 {
        let mut number = [0; 8];
        if let Some(nonce) = self.nonce() {
            number.copy_from_slice(&nonce[..8]);
        }
        u64::from_be_bytes(number)
    }

    /// Seals a record. `None` only if the record is too long for the cipher, which no record is.
    pub fn seal(&mut self, record: &TicketRecord) -> Option<Ticket> {
        let nonce = self.nonce()?;
        self.key.seal(nonce, record)
    }

    fn nonce(&mut self) -> Option<[u8; NONCE_BYTES]> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.seed).ok()?;
        mac.update(&self.sealed.to_be_bytes());
        self.sealed += 1;
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&mac.finalize().into_bytes()[..NONCE_BYTES]);
        Some(nonce)
    }
}

impl TicketRecord {
    /// Whether the room had a password.
    pub(crate) fn had_password(&self) -> bool {
        self.password.is_some_and(|password| password.hash.is_some())
    }

    fn write(&self) -> Vec<u8> {
        let parts = [
            (self.had_password(), HAS_PASSWORD),
            (self.password.is_some_and(|password| password.hash.is_none()), IS_OPEN),
            (self.password.is_some_and(|password| password.counts_since.is_some()), COUNTS_SINCE),
            (self.owner.is_some(), HAS_OWNER),
            (self.owner.is_some_and(|owner| owner.begun_in.is_some()), BEGUN_IN),
            (self.grant.is_some(), HAS_GRANT),
        ];
        let flags =
            parts.into_iter().filter(|(has, _)| *has).fold(0, |flags, (_, flag)| flags | flag);
        let mut bytes = vec![VERSION, flags];
        bytes.extend_from_slice(&self.issued_at.to_be_bytes());
        bytes.extend_from_slice(&self.member_since.0.to_be_bytes());
        bytes.extend_from_slice(&self.server_run.to_be_bytes());
        bytes.extend_from_slice(self.peer.0.as_bytes());
        let room = &self.room.as_bytes()[..self.room.len().min(FOLDED_ROOM_NAME_BYTES)];
        bytes.extend_from_slice(&(room.len() as u16).to_be_bytes());
        bytes.extend_from_slice(room);
        if let Some(password) = &self.password {
            if let Some(SaltedHash { salt, hash }) = &password.hash {
                bytes.extend_from_slice(salt);
                bytes.extend_from_slice(hash);
            }
            password.epoch.write(&mut bytes);
            bytes.extend(password.counts_since.into_iter().flat_map(u64::to_be_bytes));
        }
        if let Some(owner) = &self.owner {
            owner.epoch.write(&mut bytes);
            bytes.extend(owner.begun_in.into_iter().flat_map(u64::to_be_bytes));
        }
        if let Some(grant) = &self.grant {
            write_grant(grant, &mut bytes);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [version, flags] = reader.take::<2>()?;
        let known = HAS_PASSWORD | HAS_OWNER | HAS_GRANT | IS_OPEN | COUNTS_SINCE | BEGUN_IN;
        let of_password = flags & (HAS_PASSWORD | IS_OPEN | COUNTS_SINCE);
        let is_possible = of_password != COUNTS_SINCE
            && of_password & !COUNTS_SINCE != HAS_PASSWORD | IS_OPEN
            && flags & (HAS_OWNER | BEGUN_IN) != BEGUN_IN;
        if !matches!(version, VERSION | WITHOUT_SINCE) || flags & !known != 0 || !is_possible {
            return None;
        }
        let issued_at = u64::from_be_bytes(reader.take()?);
        let member_since = if version == WITHOUT_SINCE {
            MemberSince::second(issued_at)
        } else {
            MemberSince(u64::from_be_bytes(reader.take()?))
        };
        let server_run = u64::from_be_bytes(reader.take()?);
        let peer = PeerId(Uuid::from_bytes(reader.take()?));
        let room_bytes = usize::from(u16::from_be_bytes(reader.take()?));
        let room = std::str::from_utf8(reader.slice(room_bytes)?).ok()?.to_owned();
        let password = if of_password == 0 {
            None
        } else {
            let hash = if flags & HAS_PASSWORD == 0 {
                None
            } else {
                Some(SaltedHash { salt: reader.take()?, hash: reader.take()? })
            };
            let epoch = reader.epoch()?;
            let counts_since = if flags & COUNTS_SINCE == 0 {
                None
            } else {
                Some(u64::from_be_bytes(reader.take()?))
            };
            Some(PasswordRecord { hash, epoch, counts_since })
        };
        let owner = if flags & HAS_OWNER == 0 {
            None
        } else {
            let epoch = reader.epoch()?;
            let begun_in =
                if flags & BEGUN_IN == 0 { None } else { Some(u64::from_be_bytes(reader.take()?)) };
            Some(OwnerRight { epoch, begun_in })
        };
        let grant = if flags & HAS_GRANT == 0 { None } else { Some(reader.grant()?) };
        reader.0.is_empty().then_some(Self {
            room,
            peer,
            issued_at,
            member_since,
            server_run,
            password,
            owner,
            grant,
        })
    }
}

/// Expiry, permissions, and two texts with a byte of length each; 255 is none.
fn write_grant(grant: &Grant, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&grant.expires_at.to_be_bytes());
    let Permissions { speak, listen, data, moderate } = grant.permissions;
    let bits = [speak, listen, data, moderate]
        .iter()
        .rev()
        .fold(0, |bits, set| bits << 1 | u8::from(*set));
    bytes.push(bits);
    for text in [&grant.name, &grant.subject] {
        // Longer ones are refused where tokens are read.
        match text.as_ref().filter(|text| text.len() < usize::from(NO_TEXT)) {
            Some(text) => {
                bytes.push(text.len() as u8);
                bytes.extend_from_slice(text.as_bytes());
            }
            None => bytes.push(NO_TEXT),
        }
    }
}

impl Epoch {
    /// The position after a change.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number.saturating_add(1), ..self }
    }

    fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.lineage.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn slice(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn grant(&mut self) -> Option<Grant> {
        let expires_at = u64::from_be_bytes(self.take()?);
        let [bits] = self.take()?;
        let bit = |number: u8| bits & (1 << number) != 0;
        let permissions =
            Permissions { speak: bit(0), listen: bit(1), data: bit(2), moderate: bit(3) };
        let (name, subject) = (self.text()?, self.text()?);
        Some(Grant { name, permissions, subject, expires_at })
    }

    fn text(&mut self) -> Option<Option<String>> {
        let [length] = self.take()?;
        if length == NO_TEXT {
            return Some(None);
        }
        Some(Some(std::str::from_utf8(self.slice(length.into())?).ok()?.to_owned()))
    }

    fn epoch(&mut self) -> Option<Epoch> {
        Some(Epoch {
            lineage: u64::from_be_bytes(self.take()?),
            number: u32::from_be_bytes(self.take()?),
        })
    }
}

impl fmt::Debug for TicketRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketRecord")
    }
}

impl fmt::Debug for PasswordRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordRecord")
    }
}

impl fmt::Debug for SaltedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltedHash")
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey")
    }
}

impl fmt::Debug for TicketIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketIssuer")
    }
}

/// A cipher for tests: a keystream and a tag, both of HMAC-SHA-256.
#[cfg(test)]
pub(crate) struct TestCipher(pub(crate) &'static [u8]);

#[cfg(test)]
impl TestCipher {
    pub(crate) fn key(secret: &'static [u8], server_run: u64) -> TicketKey {
        TicketKey::new(Arc::new(Self(secret)), server_run)
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0).expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    fn with_keystream(&self, nonce: [u8; NONCE_BYTES], text: &[u8]) -> Vec<u8> {
        let blocks = text.chunks(32).zip(0_u32..);
        let sum = |(block, number): (&[u8], u32)| -> Vec<u8> {
            let key = self.mac(&[b"key", &nonce, &number.to_be_bytes()]);
            block.iter().zip(key).map(|(byte, key)| byte ^ key).collect()
        };
        blocks.flat_map(sum).collect()
    }
}

#[cfg(test)]
impl TicketCipher for TestCipher {
    fn seal(&self, nonce: [u8; NONCE_BYTES], text: Vec<u8>) -> Option<Vec<u8>> {
        let mut sealed = self.with_keystream(nonce, &text);
        sealed.extend_from_slice(&self.mac(&[b"tag", &nonce, &sealed])[..16]);
        Some(sealed)
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let tag = sealed.split_off(sealed.len().checked_sub(16)?);
        (self.mac(&[b"tag", &nonce, &sealed])[..16] == tag)
            .then(|| self.with_keystream(nonce, &sealed))
    }
}

#[cfg(test)]
mod tests;
