//! What tickets are sealed with: ChaCha20-Poly1305 (RFC 8439) under a key that is derived by
//! HKDF-SHA-256 (RFC 5869) from the operator's secret.

use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;

use voicemesh_rooms::ticket::{NONCE_BYTES, TicketCipher, TicketKey};

/// The least that a secret may have, in bytes.
pub(crate) const SECRET_BYTES: usize = 16;
/// Separates this key from any other that is ever derived from the same secret.
const KEY_DOMAIN: &[u8] = b"voicemesh ticket key 1";

const _: () = assert!(NONCE_BYTES == NONCE_LEN);

struct ChaCha(LessSafeKey);

/// The key of the operator's secret. `server_run` is drawn at random at every start of the server.
///
/// # Panics
/// Never: the lengths that are asked for are those of the algorithms.
pub fn ticket_key(secret: &[u8], server_run: u64) -> TicketKey {
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    match pseudorandom.expand(&[KEY_DOMAIN], &CHACHA20_POLY1305).map(UnboundKey::from) {
        Ok(key) => TicketKey::new(Arc::new(ChaCha(LessSafeKey::new(key))), server_run),
        Err(_) => unreachable!("HKDF refused to derive 32 bytes"),
    }
}

impl TicketCipher for ChaCha {
    fn seal(&self, nonce: [u8; NONCE_BYTES], mut text: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(nonce, Aad::empty(), &mut text).ok()?;
        Some(text)
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.0.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use voicemesh_wire::PeerId;
    use voicemesh_wire::signaling::Ticket;

    use super::*;
    use voicemesh_rooms::ticket::{MemberSince, TicketIssuer, TicketRecord};

    const NOW: u64 = 1_800_000_000;
    const PEER: PeerId = PeerId(Uuid::from_bytes([1; 16]));

    fn opens(secret: &[u8], ticket: &Ticket) -> bool {
        ticket_key(secret, 8).open(ticket, "tea room", PEER, NOW.into()).is_some()
    }

    fn ticket() -> Ticket {
        let record = TicketRecord {
            room: "tea room".to_owned(),
            peer: PEER,
            issued_at: NOW,
            member_since: MemberSince::second(NOW),
            server_run: 7,
            password: None,
            owner: None,
            grant: None,
        };
        let mut issuer = TicketIssuer::new(ticket_key(b"a secret of the operator", 7), [9; 32]);
        issuer.seal(&record).expect("a ticket")
    }

    #[test]
    fn a_ticket_opens_under_its_own_secret_alone_and_only_unchanged() {
        let ticket = ticket();
        assert!(opens(b"a secret of the operator", &ticket));
        assert!(!opens(b"another secret of his", &ticket));
        let text = ticket.as_str();
        // The last digit has bits that mean nothing.
        for index in 0..text.len() - 1 {
            let mut changed = text.as_bytes().to_vec();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = Ticket::from(String::from_utf8(changed).expect("ASCII"));
            assert!(!opens(b"a secret of the operator", &changed), "digit {index}");
        }
    }

    /// Made by another implementation of RFC 5869 and RFC 8439.
    #[test]
    fn a_ticket_is_sealed_as_the_standards_say() {
        let sealed = "AkxWo39amaSPtioXrTu0W5ufdGALGk4y1annrKkw0MstLClB4Gt5neyBRrqzPrDYRe8CRLzcsTBEbqFis_uiAv95fGLyufX8yq7U4skU8EE";
        assert_eq!(ticket().as_str(), sealed);
    }

    /// As this server's predecessors sealed it: no member is put out by a newer server.
    #[test]
    fn a_ticket_of_the_first_version_still_opens() {
        let first = Ticket::from("AkxWo39amaSPtioXrju0W5ufdGALGk40YTTHrKk30cosLShA4W15neyBRrqzPrHRMItiZc-y3lVV4m2thzZ9INvR3Mlykpqb".to_owned());
        let key = ticket_key(b"a secret of the operator", 8);
        let record = key.open(&first, "tea room", PEER, NOW.into()).expect("it is valid");
        assert_eq!((record.issued_at, record.server_run), (NOW, 7));
        assert_eq!(record.member_since, MemberSince::second(NOW));
    }
}
