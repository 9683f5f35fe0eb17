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
const VERSION: u8 = 1;
const HAS_PASSWORD: u8 = 1;
const HAS_OWNER: u8 = 2;
const HAS_GRANT: u8 = 4;
/// The room had no password.
const IS_OPEN: u8 = 8;
const COUNTS_SINCE: u8 = 16;
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
    /// The run of the server that sealed it, drawn at random at its start.
    pub server_run: u64,
    /// The room's password as it was then, or that it had none.
    pub password: Option<PasswordRecord>,
    /// The right to moderate the room.
    pub owner: Option<OwnerRight>,
    /// What the member's access token allowed.
    pub grant: Option<Grant>,
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
}

/// A position in the history of something that a room keeps: its password, or who may moderate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Drawn at random when that history began.
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
    /// valid at `unix` (seconds since 1970).
    pub fn open(
        &self,
        ticket: &Ticket,
        room: &str,
        peer: PeerId,
        unix: u64,
    ) -> Option<TicketRecord> {
        let record = self.unseal(ticket)?;
        let is_fresh = record.issued_at <= unix.saturating_add(CLOCK_SKEW)
            && unix <= record.issued_at.saturating_add(LIFETIME);
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
            (self.grant.is_some(), HAS_GRANT),
        ];
        let flags =
            parts.into_iter().filter(|(has, _)| *has).fold(0, |flags, (_, flag)| flags | flag);
        let mut bytes = vec![VERSION, flags];
        bytes.extend_from_slice(&self.issued_at.to_be_bytes());
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
        }
        if let Some(grant) = &self.grant {
            write_grant(grant, &mut bytes);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [version, flags] = reader.take::<2>()?;
        let known = HAS_PASSWORD | HAS_OWNER | HAS_GRANT | IS_OPEN | COUNTS_SINCE;
        let of_password = flags & (HAS_PASSWORD | IS_OPEN | COUNTS_SINCE);
        let is_possible =
            of_password != COUNTS_SINCE && of_password & !COUNTS_SINCE != HAS_PASSWORD | IS_OPEN;
        if version != VERSION || flags & !known != 0 || !is_possible {
            return None;
        }
        let issued_at = u64::from_be_bytes(reader.take()?);
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
        let owner =
            if flags & HAS_OWNER == 0 { None } else { Some(OwnerRight { epoch: reader.epoch()? }) };
        let grant = if flags & HAS_GRANT == 0 { None } else { Some(reader.grant()?) };
        reader.0.is_empty().then_some(Self {
            room,
            peer,
            issued_at,
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
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const SECRET: &[u8] = b"a secret of the operator";

    fn issuer() -> TicketIssuer {
        TicketIssuer::new(TestCipher::key(SECRET, 7), [9; 32])
    }

    fn peer(number: u8) -> PeerId {
        PeerId(Uuid::from_bytes([number; 16]))
    }

    fn record() -> TicketRecord {
        let epoch = Epoch { lineage: 0x0102_0304_0506_0708, number: 3 };
        TicketRecord {
            room: "tea room é".to_owned(),
            peer: peer(1),
            issued_at: NOW,
            server_run: 7,
            password: Some(PasswordRecord {
                hash: Some(SaltedHash { salt: [4; 16], hash: [5; 32] }),
                epoch,
                counts_since: Some(NOW - 1),
            }),
            owner: Some(OwnerRight { epoch: epoch.next() }),
            grant: Some(Grant {
                name: Some("Ana".to_owned()),
                permissions: Permissions { listen: true, moderate: true, ..Permissions::NONE },
                subject: None,
                expires_at: NOW + 60,
            }),
        }
    }

    #[test]
    fn a_ticket_says_what_was_sealed() {
        let longest = "x".repeat(FOLDED_ROOM_NAME_BYTES);
        let open = |counts_since| {
            record().password.map(|of| PasswordRecord { hash: None, counts_since, ..of })
        };
        for record in [
            record(),
            TicketRecord { password: None, ..record() },
            TicketRecord { password: open(None), ..record() },
            TicketRecord { password: open(Some(NOW)), owner: None, ..record() },
            TicketRecord { grant: None, ..record() },
            TicketRecord { owner: None, room: String::new(), ..record() },
            TicketRecord { password: None, owner: None, grant: None, room: longest, ..record() },
        ] {
            let ticket = issuer().seal(&record).expect("a ticket");
            assert!(ticket.len() <= TICKET_BYTES * 3 / 4, "{}", ticket.len());
            let again = TestCipher::key(SECRET, 8);
            assert!(
                again.open(&ticket, &record.room, record.peer, NOW) == Some(record),
                "after a restart as well"
            );
        }
    }

    #[test]
    fn a_ticket_is_for_one_member_of_one_room_for_a_day() {
        let mut issuer = issuer();
        let ticket = issuer.seal(&record()).expect("a ticket");
        let opens = |room: &str, peer, unix| issuer.key().open(&ticket, room, peer, unix).is_some();
        assert!(opens("tea room é", peer(1), NOW) && opens("tea room é", peer(1), NOW + LIFETIME));
        assert!(opens("tea room é", peer(1), NOW - CLOCK_SKEW));
        assert!(!opens("tea room", peer(1), NOW));
        assert!(!opens("tea room é", peer(2), NOW));
        assert!(!opens("tea room é", peer(1), NOW + LIFETIME + 1));
        assert!(!opens("tea room é", peer(1), NOW - CLOCK_SKEW - 1));
        assert!(
            TestCipher::key(b"another secret", 7)
                .open(&ticket, "tea room é", peer(1), NOW)
                .is_none()
        );
    }

    #[test]
    fn a_ticket_that_was_changed_anywhere_is_none() {
        let mut issuer = issuer();
        let ticket = issuer.seal(&record()).expect("a ticket");
        let bytes = URL_SAFE_NO_PAD.decode(ticket.as_str()).expect("base64url");
        let opens = |bytes: &[u8]| {
            let ticket = Ticket::from(URL_SAFE_NO_PAD.encode(bytes));
            issuer.key().open(&ticket, "tea room é", peer(1), NOW).is_some()
        };
        assert!(opens(&bytes));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert!(!opens(&changed), "byte {index}");
            assert!(!opens(&bytes[..index]), "cut at {index}");
        }
        for text in ["", "A", "####", "AAAA"] {
            assert!(
                issuer.key().open(&Ticket::from(text.to_owned()), "", peer(1), NOW).is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_record_of_another_version_or_with_more_than_is_known_is_none() {
        let bytes = record().write();
        assert!(TicketRecord::read(&bytes) == Some(record()));
        for (index, value) in [(0, VERSION + 1), (1, 4), (1, bytes[1] | IS_OPEN), (1, 16), (1, 32)]
        {
            let mut changed = bytes.clone();
            changed[index] = value;
            assert!(TicketRecord::read(&changed).is_none());
        }
        assert!(TicketRecord::read(&[&bytes[..], &[0]].concat()).is_none());
        assert!((0..bytes.len()).all(|end| TicketRecord::read(&bytes[..end]).is_none()));
    }

    #[test]
    fn no_two_tickets_share_a_nonce_and_none_prints_itself() {
        let mut first = issuer();
        let mut second = TicketIssuer::new(first.key().clone(), [10; 32]);
        let tickets: Vec<Ticket> = (0..50)
            .flat_map(|_| [first.seal(&record()), second.seal(&record())])
            .flatten()
            .collect();
        let nonces: std::collections::BTreeSet<&str> =
            tickets.iter().map(|ticket| &ticket.as_str()[..16]).collect();
        assert_eq!(nonces.len(), 100);
        let printed = format!("{:?} {first:?} {:?} {:?}", first.key(), record(), record().password);
        assert_eq!(printed, "TicketKey TicketIssuer TicketRecord Some(PasswordRecord)");
    }
}
