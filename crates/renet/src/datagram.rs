//! What a datagram must satisfy before netcode sees it.
//!
//! renetcode 2.0.0 panics at some that it has not decrypted yet, so anyone who can send one could
//! end a program: at a sequence number of more than eight bytes, at one without room for the tag
//! behind it, and, where overflow is checked, at the greatest numbers. The layout is that of the
//! netcode standard 1.02: the first byte has the type and the number of bytes of the sequence.

use std::net::{IpAddr, SocketAddr};

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

/// The length of the token without its tag.
const TOKEN_BYTES: usize = 1024 - TAG_BYTES;
/// Of its two keys and what its client says of itself, behind the addresses.
const BEHIND_ADDRESSES_BYTES: usize = 32 + 32 + 256;

/// Puts the server's address in the place of those that the client was given: netcode refuses a
/// token without one of the server's own, and a server on all addresses does not know all by which
/// it is reached, nor when further ones come. What lets a client in is the key. False, and without
/// effect, if it is none of this key.
pub(crate) fn name_server(datagram: &mut [u8], key: &[u8; KEY_BYTES], server: SocketAddr) -> bool {
    let Some((open, sealed)) = datagram.split_at_mut_checked(54) else { return false };
    let Some((token, tag)) =
        sealed.get_mut(..1024).and_then(|sealed| sealed.split_at_mut_checked(TOKEN_BYTES))
    else {
        return false;
    };
    let (cipher, nonce) = (XChaCha20Poly1305::new(Key::from_slice(key)), open[30..].to_vec());
    let mut plain = token.to_vec();
    let is_open = cipher.decrypt_in_place_detached(
        XNonce::from_slice(&nonce),
        &open[1..30],
        &mut plain,
        Tag::from_slice(tag),
    );
    if is_open.is_err() {
        return false;
    }
    let Some(rest) = behind_addresses(&plain) else { return false };
    // The client's id and its timeout stay.
    let mut renamed = [&plain[..12], &1_u32.to_le_bytes()[..]].concat();
    match server.ip() {
        IpAddr::V4(ip) => renamed.extend([&[IPV4][..], &ip.octets()].concat()),
        IpAddr::V6(ip) => renamed.extend([&[IPV6][..], &ip.octets()].concat()),
    }
    renamed.extend(server.port().to_le_bytes());
    renamed.extend(rest);
    renamed.resize(TOKEN_BYTES, 0);
    // The text is another under the same nonce: it does not leave this process.
    let Ok(sealed_tag) =
        cipher.encrypt_in_place_detached(XNonce::from_slice(&nonce), &open[1..30], &mut renamed)
    else {
        return false;
    };
    token.copy_from_slice(&renamed);
    tag.copy_from_slice(&sealed_tag);
    true
}

/// Types of addresses in a token.
const IPV4: u8 = 1;
const IPV6: u8 = 2;

fn behind_addresses(token: &[u8]) -> Option<&[u8]> {
    let count = u32::from_le_bytes(token.get(12..16)?.try_into().ok()?);
    let mut rest = token.get(16..)?;
    for _ in 0..count.min(32) {
        let bytes = match *rest.first()? {
            IPV4 => 1 + 4 + 2,
            IPV6 => 1 + 16 + 2,
            _ => return None,
        };
        rest = rest.get(bytes..)?;
    }
    rest.get(..BEHIND_ADDRESSES_BYTES)
}

/// Whether it is the answer to a request that netcode keeps.
pub(crate) fn is_challenge(datagram: &[u8]) -> bool {
    kind(datagram) == Some(CHALLENGE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use renetcode::{
        ClientAuthentication, ConnectToken, NetcodeClient, NetcodeServer, ServerAuthentication,
        ServerConfig, ServerResult,
    };

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
    fn a_token_names_the_server_that_it_has_reached_by_whatever_address() {
        let (now, key) = (Duration::from_secs(1_000), [7; KEY_BYTES]);
        let own: SocketAddr = "[2001:db8::1]:7788".parse().unwrap();
        let mut server = NetcodeServer::new(ServerConfig {
            current_time: now,
            max_clients: 1,
            protocol_id: 1,
            public_addresses: vec![own],
            authentication: ServerAuthentication::Secure { private_key: key },
        });
        let hosts =
            vec![SocketAddr::from(([192, 0, 2, 1], 7777)), "[2001:db8::2]:1".parse().unwrap()];
        let connect_token = ConnectToken::generate(now, 1, 600, 42, 5, hosts, None, &key).unwrap();
        let authentication = ClientAuthentication::Secure { connect_token };
        let mut client = NetcodeClient::new(now, authentication).unwrap();
        let (request, _) = client.update(Duration::from_millis(250)).unwrap();
        let from = "192.0.2.9:9".parse().unwrap();
        let mut unchanged = request.to_vec();
        assert!(matches!(server.process_packet(from, &mut unchanged), ServerResult::None));
        let mut request = request.to_vec();
        assert!(!name_server(&mut request.clone(), &[8; KEY_BYTES], own));
        assert!(!name_server(&mut request[..1077], &key, own));
        let expected = open_request(&request, &key);
        assert!(name_server(&mut request, &key, own));
        assert_eq!(open_request(&request, &key), expected);
        let ServerResult::PacketToSend { payload, .. } = server.process_packet(from, &mut request)
        else {
            panic!("it is answered")
        };
        assert!(is_challenge(payload));
        // The client can read it, so that the keys are as they were.
        assert!(client.process_packet(payload).is_none());
        assert!(
            client
                .update(Duration::from_millis(250))
                .is_some_and(|(answer, _)| { kind(answer) == Some(RESPONSE) })
        );
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
