//! What is kept about a bounded number of peers. When one more does not fit, the oldest of those
//! that may be forgotten go.

use voicemesh_wire::PeerId;

/// Peers of which something is kept.
pub(super) const PEERS: usize = 256;
/// Bytes of variable size that are kept for all of them together.
const BYTES: usize = 16 * 1024;

/// One record of each peer, the oldest first.
#[derive(Debug)]
pub(super) struct PeerRecords<T>(Vec<(PeerId, T)>);

/// What is kept about one peer.
pub(super) trait Record {
    /// Its bytes of variable size.
    fn bytes(&self) -> usize;
}

impl Record for () {
    fn bytes(&self) -> usize {
        0
    }
}

/// Names of groups.
impl Record for Vec<String> {
    fn bytes(&self) -> usize {
        self.iter().map(String::len).sum()
    }
}

impl<T> Default for PeerRecords<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Record> PeerRecords<T> {
    pub(super) fn get(&self, peer: PeerId) -> Option<&T> {
        self.0.iter().find(|(of, _)| *of == peer).map(|(_, record)| record)
    }

    pub(super) fn get_mut(&mut self, peer: PeerId) -> Option<&mut T> {
        self.0.iter_mut().find(|(of, _)| *of == peer).map(|(_, record)| record)
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        self.0.retain(|(of, _)| *of != peer);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        self.0.retain(|(_, record)| stays(record));
    }

    /// Whether [`insert`](Self::insert) would keep a record of so many bytes.
    pub(super) fn has_room(
        &self,
        peer: PeerId,
        bytes: usize,
        may_forget: impl Fn(PeerId, &T) -> bool,
    ) -> bool {
        self.fits(peer, bytes, |of, record| !may_forget(of, record))
    }

    /// Keeps a record in place of the peer's last one. If there is no room for it, the oldest
    /// others that may be forgotten are; if that is not enough, it is not kept, and nor is the
    /// peer's last one.
    pub(super) fn insert(
        &mut self,
        peer: PeerId,
        record: T,
        may_forget: impl Fn(PeerId, &T) -> bool,
    ) {
        self.remove(peer);
        let bytes = record.bytes();
        if !self.has_room(peer, bytes, &may_forget) {
            return;
        }
        while !self.fits(peer, bytes, |_, _| true)
            && let Some(oldest) = self.0.iter().position(|(of, record)| may_forget(*of, record))
        {
            self.0.remove(oldest);
        }
        self.0.push((peer, record));
    }

    /// Whether one more fits beside those of the others that count.
    fn fits(&self, peer: PeerId, bytes: usize, counts: impl Fn(PeerId, &T) -> bool) -> bool {
        let others = self.0.iter().filter(|(of, record)| *of != peer && counts(*of, record));
        let (peers, taken) =
            others.fold((0, 0), |(peers, taken), (_, other)| (peers + 1, taken + other.bytes()));
        peers < PEERS && taken + bytes <= BYTES
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn peer(number: usize) -> PeerId {
        PeerId(Uuid::from_u128(number as u128))
    }

    #[test]
    fn the_oldest_that_may_be_forgotten_goes_and_no_other() {
        let mut records = PeerRecords::default();
        (0..PEERS).for_each(|number| records.insert(peer(number), (), |_, ()| false));
        records.insert(peer(1), (), |_, ()| false);
        assert!(!records.has_room(peer(900), 0, |_, ()| false));
        records.insert(peer(900), (), |of, ()| of == peer(1) || of == peer(2));
        let kept = |number: usize| records.get(peer(number)).is_some();
        assert!(
            kept(900) && kept(0) && kept(1) && !kept(2),
            "what was decided anew is not the oldest"
        );
        assert_eq!(records.0.len(), PEERS);
    }

    #[test]
    fn as_many_are_forgotten_as_their_bytes_ask_for() {
        let names = |bytes: usize| vec!["x".repeat(bytes)];
        let mut records = PeerRecords::default();
        (0..16).for_each(|number| records.insert(peer(number), names(1024), |_, _| false));
        records.insert(peer(20), names(2048), |of, _| of != peer(0));
        let kept: Vec<usize> =
            (0..21).filter(|number| records.get(peer(*number)).is_some()).collect();
        assert_eq!(kept, [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 20]);
        records.insert(peer(3), names(16 * 1024), |of, _| of != peer(0));
        assert!(
            records.get(peer(3)).is_none() && records.get(peer(4)).is_some(),
            "it would not fit"
        );
    }
}
