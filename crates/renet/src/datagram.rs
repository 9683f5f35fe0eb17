//! What a datagram must satisfy before netcode sees it.
//!
//! renetcode 2.0.0 panics at some that it has not decrypted yet, so anyone who can send one could
//! end a program: at a sequence number of more than eight bytes, at one without room for the tag
//! behind it, and, where overflow is checked, at the greatest numbers. The layout is that of the
//! netcode standard 1.02: the first byte has the type and the number of bytes of the sequence.

const REQUEST: u8 = 0;
const CHALLENGE: u8 = 2;
/// Of the authentication.
const TAG_BYTES: usize = 16;
const LONGEST_SEQUENCE_BYTES: usize = 8;

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

/// When the token of a request expires, in seconds since 1970; nothing for other datagrams.
pub(crate) fn request_expires_at(datagram: &[u8]) -> Option<u64> {
    // Behind type, version (13 bytes) and protocol (8).
    let bytes = datagram.get(22..30).filter(|_| kind(datagram) == Some(REQUEST))?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Whether it is the answer to a request that netcode keeps.
pub(crate) fn is_challenge(datagram: &[u8]) -> bool {
    kind(datagram) == Some(CHALLENGE)
}

#[cfg(test)]
mod tests {
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
    fn the_end_of_a_token_stands_in_its_request() {
        let mut request = vec![0; 1078];
        request[22..30].copy_from_slice(&77_u64.to_le_bytes());
        assert_eq!(request_expires_at(&request), Some(77));
        request[0] = 3;
        assert_eq!(request_expires_at(&request), None);
        assert_eq!(request_expires_at(&[0; 29]), None);
    }
}
