//! Key derivation: HKDF-SHA-256 (RFC 5869) with an empty salt, and an info that begins with a
//! label.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub(crate) const IDENTITY: &str = "voicemesh e2ee identity 1";
pub(crate) const AUTHENTICATION: &str = "voicemesh e2ee authentication 1";
pub(crate) const PAIR: &str = "voicemesh e2ee pair 1";
pub(crate) const PAIR_KEY: &str = "voicemesh e2ee pair key 1";
pub(crate) const SENDER_KEY: &str = "voicemesh e2ee sender key 1";
pub(crate) const STATE_KEY: &str = "voicemesh e2ee state key 1";
pub(crate) const RATCHET: &str = "voicemesh e2ee ratchet 1";
pub(crate) const ROOM_STATE: &str = "voicemesh e2ee room state 1";
pub(crate) const SAFETY_CODE: &str = "voicemesh e2ee safety code 1";
pub(crate) const RANDOM: &str = "voicemesh e2ee random 1";

/// 32 secret bytes, cleared on drop and printed by nothing.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Key(pub(crate) [u8; 32]);

/// HKDF-SHA-256 of a secret; `info` is the label and the parts in a row.
pub(crate) fn derive_into(secret: &[u8], label: &str, parts: &[&[u8]], output: &mut [u8]) {
    let mut info = Vec::with_capacity(parts.len() + 1);
    info.push(label.as_bytes());
    info.extend_from_slice(parts);
    match Hkdf::<Sha256>::new(None, secret).expand_multi_info(&info, output) {
        Ok(()) => {}
        // The limit is 255 hashes, which no caller comes near.
        Err(_) => unreachable!("HKDF refused {} bytes", output.len()),
    }
}

pub(crate) fn derive(secret: &[u8], label: &str, parts: &[&[u8]]) -> Key {
    let mut key = Key([0; 32]);
    derive_into(secret, label, parts, &mut key.0);
    key
}

/// A length before what has none that is fixed, so that two fields cannot be shifted into each
/// other.
pub(crate) fn length(text: &str) -> [u8; 4] {
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes()
}
