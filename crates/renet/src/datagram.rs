//! What a datagram must satisfy before netcode sees it.
//!
//! renetcode 2.0.0 panics at some that it has not decrypted yet, so anyone who can send one could
//! end a program: at a sequence number of more than eight bytes, at one without room for the tag
//! behind it, and, where overflow is checked, at the greatest numbers. The layout is that of the
//! netcode standard 1.02: the first byte has the type and the number of bytes of the sequence.

use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{Key, KeyInit as _, Tag, XChaCha20Poly1305, XNonce};

use crate::parameters::KEY_BYTES;

const REQUEST: u8 = 0;
const CHALLENGE: u8 = 2;
const RESPONSE: u8 = 3;
/// Of the authentication.
const TAG_BYTES: usize = 16;
const LONGEST_SEQUENCE_BYTES: usize = 8;

/// A request to be connected, whose token the key has sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The client's id.
    pub(crate) client: u64,
    /// When the token expires, in seconds since 1970.
    pub(crate) expires_at_s: u64,
}

fn kind(datagram: &[u8]) -> Option<u8> {
    datagram.first().map(|first| first & 0xf)
}

/// Whether netcode can be given it.
pub(crate) fn is_well_formed(datagram: &[u8]) -> bool {
    let Some(first) = datagram.first() else { return false };
    // A request has no sequence number, and is read with its length in mind.
    if kind(datagram) == Some(REQUEST) {
        return true;
    }
    let sequence = usize::from(first >> 4);
    let is_greatest = sequence == LONGEST_SEQUENCE_BYTES && datagram.get(sequence) == Some(&0xff);
    sequence <= LONGEST_SEQUENCE_BYTES && datagram.len() > sequence + TAG_BYTES && !is_greatest
}

/// Whether it asks for a connection.
pub(crate) fn is_request(datagram: &[u8]) -> bool {
    kind(datagram) == Some(REQUEST)
}

/// Whether a client that is connected has no need to send it. Netcode takes either for a sign of
/// life, but anyone can make a request, or send a response again that they have seen.
pub(crate) fn only_connects(datagram: &[u8]) -> bool {
    matches!(kind(datagram), Some(REQUEST | RESPONSE))
}

/// The layout: type, version (13 bytes), protocol (8) and expiry (8), which are authenticated with
/// the token; its nonce (24); the token (1,024 with its tag), which begins with the client's id.
pub(crate) fn open_request(datagram: &[u8], key: &[u8; KEY_BYTES]) -> Option<Request> {
    let (open, sealed) = datagram.split_at_checked(54)?;
    let (token, tag) = sealed.get(..1024)?.split_at_checked(1024 - TAG_BYTES)?;
    let mut token = token.to_vec();
    XChaCha20Poly1305::new(Key::from_slice(key))
        .decrypt_in_place_detached(
            XNonce::from_slice(&open[30..]),
            &open[1..30],
            &mut token,
            Tag::from_slice(tag),
        )
        .ok()?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    Some(Request { client: number(&token[..8])?, expires_at_s: number(&open[22..30])? })
}

/// Whether it is the answer to a request that netcode keeps.
pub(crate) fn is_challenge(datagram: &[u8]) -> bool {
    kind(datagram) == Some(CHALLENGE)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use renetcode::{ClientAuthentication, ConnectToken, NetcodeClient};

    use super::*;

    #[test]
    fn sequence_numbers_have_at_most_eight_bytes_and_the_tag_behind_them() {
        for (datagram, expected) in [
            (vec![], false),
            (vec![0xf5; 40], false),
            (vec![0x95; 40], false),
            ([&[0x85][..], &[1; 23]].concat(), false),
            ([&[0x85][..], &[1; 24]].concat(), true),
            ([&[0x85][..], &[1; 7], &[0xff], &[1; 40]].concat(), false),
            ([&[0x75][..], &[0xff; 40]].concat(), true),
            ([&[0x15][..], &[1; 17]].concat(), true),
            ([&[0x15][..], &[1; 16]].concat(), false),
            ([&[0x05][..], &[1; 16]].concat(), true),
            (vec![0], true),
        ] {
            assert_eq!(is_well_formed(&datagram), expected, "{datagram:?}");
        }
    }

    #[test]
    fn who_asks_stands_in_a_token_that_only_the_key_opens() {
        let (now, key) = (Duration::from_secs(1_000), [7; KEY_BYTES]);
        let hosts = vec![SocketAddr::from(([192, 0, 2, 1], 7777))];
        let connect_token = ConnectToken::generate(now, 1, 600, 42, 5, hosts, None, &key).unwrap();
        let authentication = ClientAuthentication::Secure { connect_token };
        let mut client = NetcodeClient::new(now, authentication).unwrap();
        let (request, _) = client.update(Duration::from_millis(250)).unwrap();
        let expected = Request { client: 42, expires_at_s: 1_600 };
        assert!(is_request(request) && only_connects(request));
        assert_eq!(open_request(request, &key), Some(expected));
        assert_eq!(open_request(request, &[8; KEY_BYTES]), None);
        for changed in [1, 22, 30, 54, 1077] {
            let mut request = request.to_vec();
            request[changed] ^= 1;
            assert_eq!(open_request(&request, &key), None, "byte {changed}");
        }
        assert_eq!(open_request(&request[..1077], &key), None);
        assert_eq!(open_request(&[], &key), None);
    }
}
