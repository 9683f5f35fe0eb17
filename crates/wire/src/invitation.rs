//! What an invitation carries behind its `#`: secrets that a browser does not send to any server
//! (PROTOCOL.md, "Invitations").

use std::fmt;

use crate::limits::{INVITATION_BYTES, ROOM_KEY_BYTES, TOKEN_BYTES};
use crate::signaling::AccessToken;

/// The fragment of an invitation: `k=…&t=…`. Nothing prints it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Invitation {
    /// The room's key (PROTOCOL.md, section 18), as text.
    pub key: Option<String>,
    /// An access token.
    pub token: Option<AccessToken>,
}

impl Invitation {
    /// Reads a fragment, with or without its `#`. What is not known or makes no sense is ignored;
    /// of two values of one name the first counts.
    pub fn parse(fragment: &str) -> Self {
        let mut invitation = Self::default();
        if fragment.len() > INVITATION_BYTES {
            return invitation;
        }
        for pair in fragment.strip_prefix('#').unwrap_or(fragment).split('&') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let Some(value) = percent_decoded(value).filter(|value| !value.is_empty()) else {
                continue;
            };
            match name {
                "k" if value.len() <= ROOM_KEY_BYTES => {
                    invitation.key.get_or_insert(value);
                }
                "t" if value.len() <= TOKEN_BYTES => {
                    invitation.token.get_or_insert(AccessToken::from(value));
                }
                _ => {}
            }
        }
        invitation
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// Percent-decoding (RFC 3986 §2.1). A percent sign without two digits, and what is not UTF-8, are
/// no value.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vectors {
        fragments: Vec<Fragment>,
    }

    #[derive(serde::Deserialize)]
    struct Fragment {
        fragment: String,
        k: Option<String>,
        t: Option<String>,
    }

    /// The vectors that the web client's tests read as well.
    #[test]
    fn fragments_are_read_as_the_vectors_say() {
        let vectors: Vectors = serde_json::from_str(voicemesh_vectors::INVITATIONS)
            .expect("the vectors are what this test expects");
        assert!(vectors.fragments.len() > 10);
        for Fragment { fragment, k, t } in vectors.fragments {
            let read = Invitation::parse(&fragment);
            assert_eq!(read.key, k, "{fragment}");
            assert_eq!(read.token, t.map(AccessToken::from), "{fragment}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_read_and_nothing_is_printed() {
        let fits = format!("t={}", "a".repeat(TOKEN_BYTES));
        assert!(Invitation::parse(&fits).token.is_some());
        assert!(Invitation::parse(&format!("{fits}a")).token.is_none());
        assert!(
            Invitation::parse(&format!("k={}&t=x", "a".repeat(ROOM_KEY_BYTES + 1))).key.is_none()
        );
        let padded = format!("x={}&t=abc", "y".repeat(INVITATION_BYTES));
        assert_eq!(Invitation::parse(&padded), Invitation::default());
        assert_eq!(format!("{:?}", Invitation::parse("#k=secret&t=secret")), "hidden");
    }
}
