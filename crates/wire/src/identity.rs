//! Who a peer is: a secret that never leaves the installation, the proof made from it, and the peer
//! id made from that.
//!
//! The server can turn a proof into a peer id and needs no memory of it; another peer, which sees
//! only the id, can turn it into nothing. Because origin and room are part of the proof, ids do not
//! link a person across servers or rooms (PROTOCOL.md, section 2).

use std::fmt;

use hmac::{Hmac, Mac};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::PeerId;

/// Separates these proofs from anything else that might ever be made with the same secret.
const PROOF_DOMAIN: &[u8] = b"voicemesh identity 1";

/// 32 random bytes that an installation draws once and keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct InstallationSecret(pub [u8; 32]);

/// What a peer shows the signaling server when it joins. Anyone who has it can join as that peer in
/// that room: it is for the server alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdentityProof(pub [u8; 32]);

/// The proof for one server, room and instance.
///
/// `origin` is the server's origin as RFC 6454 §6.2 writes it, in lower case and without a default
/// port (`wss://voice.example`, `ws://127.0.0.1:8080`). `instance` is 0 for the first process or
/// tab of this installation and counts up while another one holds the smaller number.
///
/// HMAC-SHA-256 under the secret of: the ASCII text `voicemesh identity 1`; u32 length and bytes of
/// the origin; u32 length and bytes of the room's [key](crate::RoomName::key); u32 instance.
/// Numbers are big-endian.
pub fn prove(
    secret: &InstallationSecret,
    origin: &str,
    room: &str,
    instance: u32,
) -> IdentityProof {
    let mut mac = keyed(secret);
    mac.update(PROOF_DOMAIN);
    for text in [origin, room] {
        mac.update(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        mac.update(text.as_bytes());
    }
    mac.update(&instance.to_be_bytes());
    IdentityProof(mac.finalize().into_bytes().into())
}

fn keyed(secret: &InstallationSecret) -> Hmac<Sha256> {
    match Hmac::new_from_slice(&secret.0) {
        Ok(mac) => mac,
        // RFC 2104 takes keys of any length, so the crate's error cannot occur.
        Err(_) => unreachable!("HMAC refused a 32-byte key"),
    }
}

impl IdentityProof {
    /// The peer id behind this proof: the first 16 bytes of SHA-256 over it, as a UUID of version 8
    /// (RFC 9562 §5.8).
    pub fn peer_id(&self) -> PeerId {
        let digest = Sha256::digest(self.0);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[6] = (bytes[6] & 0x0F) | 0x80;
        bytes[8] = (bytes[8] & 0x3F) | 0x80;
        PeerId(Uuid::from_bytes(bytes))
    }
}

impl fmt::Debug for InstallationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstallationSecret(hidden)")
    }
}

impl fmt::Debug for IdentityProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityProof(hidden)")
    }
}

/// 64 lower-case hexadecimal digits.
impl Serialize for IdentityProof {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        serializer.serialize_str(&text)
    }
}

/// 64 hexadecimal digits of either case.
impl<'de> Deserialize<'de> for IdentityProof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_hex(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom("a proof is 64 hexadecimal digits"))
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(value(pair[0])? << 4 | value(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: InstallationSecret = InstallationSecret([7; 32]);

    /// proves: S-01
    #[test]
    fn the_same_installation_gets_the_same_id_in_the_same_place() {
        let id = || prove(&SECRET, "wss://voice.example", "lobby", 0).peer_id();
        assert_eq!(id(), id());
        assert_eq!(id().0.get_version_num(), 8);
    }

    #[test]
    fn every_part_of_a_proof_changes_the_id() {
        let base = prove(&SECRET, "wss://voice.example", "lobby", 0).peer_id();
        assert_ne!(
            base,
            prove(&InstallationSecret([8; 32]), "wss://voice.example", "lobby", 0).peer_id()
        );
        assert_ne!(base, prove(&SECRET, "wss://other.example", "lobby", 0).peer_id());
        assert_ne!(base, prove(&SECRET, "wss://voice.example", "Lobby", 0).peer_id());
        assert_ne!(base, prove(&SECRET, "wss://voice.example", "lobby", 1).peer_id());
    }

    #[test]
    fn origin_and_room_cannot_be_shifted_into_each_other() {
        assert_ne!(
            prove(&SECRET, "wss://a", "bc", 0).peer_id(),
            prove(&SECRET, "wss://ab", "c", 0).peer_id()
        );
    }

    #[test]
    fn secrets_and_proofs_do_not_print_themselves() {
        let proof = prove(&SECRET, "wss://voice.example", "lobby", 0);
        assert_eq!(
            format!("{SECRET:?} {proof:?}"),
            "InstallationSecret(hidden) IdentityProof(hidden)"
        );
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_proof() {
        let good = "0f".repeat(32);
        assert_eq!(parse_hex(&good), Some([0x0F; 32]));
        assert_eq!(parse_hex(&good[1..]), None);
        assert_eq!(parse_hex(&"0g".repeat(32)), None);
        assert_eq!(parse_hex(&"é".repeat(32)), None);
    }
}
