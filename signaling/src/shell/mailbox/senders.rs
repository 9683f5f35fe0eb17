//! How much of each sender waits for one receiver.

use std::collections::BTreeMap;

use voicemesh_wire::PeerId;

/// What may wait of one sender.
const OF_ONE: usize = 64 * 1024;
/// What may wait of all senders together, besides [`OWN`] of each. The first state of a connection that joins counts in
/// it as well.
pub(super) const SHARED: usize = 80 * 1024;
/// What may wait of a sender although others have filled the rest.
const OWN: usize = 1024;
/// Of a full room, the others.
const OTHERS: usize = 63;
/// A bound that holds for any number of senders, those included that have left again.
pub(super) const ALL: usize = SHARED + OTHERS * OWN;

/// Bytes that wait for one receiver, by sender. While several senders' bytes wait, each may take four fifths of what the
/// others leave, so that there is always something left for one more.
#[derive(Debug, Default)]
pub(super) struct Senders {
    waiting: BTreeMap<PeerId, usize>,
    bytes: usize,
}

impl Senders {
    /// Counts a message of this size, or refuses it. So many bytes of the shared ones are taken by the receiver's state.
    pub(super) fn reserve(&mut self, sender: PeerId, bytes: usize, state: usize) -> bool {
        let own = self.waiting.get(&sender).copied().unwrap_or(0);
        let others = self.bytes - own + state;
        let share = (SHARED.saturating_sub(others) / 5 * 4).clamp(OWN, OF_ONE);
        if own + bytes > share || self.bytes + state + bytes > ALL {
            return false;
        }
        *self.waiting.entry(sender).or_default() += bytes;
        self.bytes += bytes;
        true
    }

    /// What waits of all together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A message of this size no longer waits.
    pub(super) fn release(&mut self, sender: PeerId, bytes: usize) {
        if let Some(own) = self.waiting.get_mut(&sender) {
            let released = bytes.min(*own);
            *own -= released;
            self.bytes -= released;
            if *own == 0 {
                self.waiting.remove(&sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn peer(number: u128) -> PeerId {
        PeerId(Uuid::from_u128(number))
    }

    fn fill(senders: &mut Senders, sender: u128) -> usize {
        (0..).take_while(|_| senders.reserve(peer(sender), 256, 0)).count() * 256
    }

    #[test]
    fn one_sender_has_64_kib_and_leaves_something_for_each_of_a_full_room() {
        let mut senders = Senders::default();
        assert_eq!(fill(&mut senders, 1), OF_ONE);
        assert!(fill(&mut senders, 2) >= 12 * 1024);
        assert!(fill(&mut senders, 3) >= 2 * 1024);
        for sender in 4..=OTHERS as u128 {
            assert!(fill(&mut senders, sender) >= OWN, "sender {sender}");
        }
        assert!(senders.bytes <= ALL);
    }

    #[test]
    fn what_is_written_makes_room_and_is_forgotten() {
        let mut senders = Senders::default();
        fill(&mut senders, 1);
        assert!(!senders.reserve(peer(1), 1, 0));
        senders.release(peer(1), 256);
        assert!(senders.reserve(peer(1), 256, 0));
        senders.release(peer(1), OF_ONE);
        assert!(senders.waiting.is_empty() && senders.bytes == 0);
    }

    #[test]
    fn the_state_that_waits_takes_of_what_is_shared_and_not_of_what_each_has() {
        let mut senders = Senders::default();
        let fits =
            |senders: &mut Senders, sender| (0..).take_while(|_| senders.reserve(peer(sender), 256, SHARED)).count();
        for sender in 1..=OTHERS as u128 {
            assert_eq!(fits(&mut senders, sender) * 256, OWN);
        }
        assert_eq!(senders.bytes + SHARED, ALL);
    }
}
