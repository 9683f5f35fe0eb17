//! The hash over who is in the room.

use super::{PeerInfo, RosterHash};

/// FNV-1a (64 bit, offset basis 0xcbf29ce484222325, prime 0x100000001b3) over, for each peer of the
/// room, the receiver included, in ascending order of arrival: the 16 bytes of its peer id, u16
/// client id, u32 run, u64 order, big-endian.
pub fn roster_hash<'a>(peers: impl IntoIterator<Item = &'a PeerInfo>) -> RosterHash {
    let mut peers: Vec<&PeerInfo> = peers.into_iter().collect();
    peers.sort_unstable_by_key(|peer| peer.order);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for peer in peers {
        feed(peer.peer.0.as_bytes());
        feed(&peer.client.0.to_be_bytes());
        feed(&peer.run.to_be_bytes());
        feed(&peer.order.to_be_bytes());
    }
    RosterHash(hash)
}
