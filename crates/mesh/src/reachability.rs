//! The token by which a program connects to a peer (the "route" of Discord's networking manager).
//!
//! It says which peer, which run of its program, and how many times the way to it has changed in
//! that run; never an address. Addresses go through the server alone, sealed in the words of an
//! attempt at a link.

use std::fmt;

use voicemesh_wire::PeerId;

/// The metadata key under which every peer publishes its own token by itself. Programs cannot set
/// it.
pub const REACHABILITY_KEY: &str = "reachability";

/// The only version there is.
const VERSION: &str = "r1-";
/// No token is longer.
const TOKEN_BYTES: usize = 512;

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reachability {
    /// Whose it is.
    pub peer: PeerId,
    /// Of which run of its program.
    pub run: u32,
    /// Rises each time that the way to the peer changes.
    pub serial: u32,
}

/// Why a token does not lead to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token, or one of a later version.
    #[error("this is no reachability token")]
    Malformed,
    /// It is another peer's.
    #[error("this reachability token is another peer's")]
    Foreign,
}

impl Reachability {
    /// Reads a token of `peer`.
    ///
    /// # Errors
    ///
    /// When it is none, or another peer's.
    pub fn parse(token: &str, peer: PeerId) -> Result<Self, TokenError> {
        let digits = token
            .strip_prefix(VERSION)
            .filter(|_| token.len() <= TOKEN_BYTES)
            .ok_or(TokenError::Malformed)?;
        if digits.len() != 48
            || !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(TokenError::Malformed);
        }
        let number =
            |range| u128::from_str_radix(&digits[range], 16).map_err(|_| TokenError::Malformed);
        if number(0..32)? != peer.0.as_u128() {
            return Err(TokenError::Foreign);
        }
        Ok(Self { peer, run: number(32..40)? as u32, serial: number(40..48)? as u32 })
    }
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}{:032x}{:08x}{:08x}", self.peer.0.as_u128(), self.run, self.serial)
    }
}

#[cfg(test)]
mod tests {
    use voicemesh_wire::identity::{InstallationSecret, prove};

    use super::*;

    fn peer(number: u8) -> PeerId {
        prove(&InstallationSecret([number; 32]), "ws://test", "room", 0).peer_id()
    }

    /// proves: S-02
    #[test]
    fn a_token_reads_as_it_was_written_and_only_as_its_own_peers() {
        let own = Reachability { peer: peer(1), run: 0xdead_beef, serial: 7 };
        let token = own.to_string();
        assert!(token.len() <= TOKEN_BYTES);
        assert!(
            token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            "{token}: safe in a URL"
        );
        assert_eq!(Reachability::parse(&token, peer(1)), Ok(own));
        assert_eq!(Reachability::parse(&token, peer(2)), Err(TokenError::Foreign));
        for end in 0..token.len() {
            assert_eq!(Reachability::parse(&token[..end], peer(1)), Err(TokenError::Malformed));
        }
        for bad in [
            token.replace("r1-", "r2-"),
            token.to_uppercase(),
            format!("{token}0"),
            token.replace('7', "+"),
        ] {
            assert_eq!(Reachability::parse(&bad, peer(1)), Err(TokenError::Malformed), "{bad}");
        }
    }
}
