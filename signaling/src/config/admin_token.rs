//! The token of the admin endpoint.

use std::fmt;
use std::path::Path;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::key_file::{named, read_private};

/// The least that a token may have, in bytes.
const TOKEN_BYTES: usize = 16;

/// The token that every request must bring. Nothing prints it.
#[derive(Clone)]
pub(crate) struct AdminToken(Vec<u8>);

impl AdminToken {
    /// Reads a token's file, which only its owner may be able to read.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = read_private(path)?;
        Self::parse(&text).map_err(|problem| named(path, &problem))
    }

    /// White space around it does not count.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let token = text.trim_ascii();
        if token.len() < TOKEN_BYTES || !token.iter().all(u8::is_ascii_graphic) {
            return Err(format!(
                "a token has at least {TOKEN_BYTES} visible ASCII characters, such as `openssl rand -hex 32`"
            ));
        }
        Ok(Self(token.to_vec()))
    }

    /// Compares in a time that says nothing of either, their lengths included: what is compared are
    /// MACs.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        let mac = |bytes: &[u8]| {
            Hmac::<Sha256>::new_from_slice(&self.0).map(|mac| mac.chain_update(bytes))
        };
        let (Ok(own), Ok(other)) = (mac(&self.0), mac(given)) else { return false };
        own.verify(&other.finalize().into_bytes()).is_ok()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}
