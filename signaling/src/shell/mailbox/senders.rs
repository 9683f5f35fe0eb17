//! How much of each sender waits for one receiver.

use std::collections::BTreeMap;

use crate::outbox::ConnectionId;

/// What may wait of one sender.
const OF_ONE: usize = 64 * 1024;
/// What may wait of all senders together, besides [`OWN`] of each.
const SHARED: usize = 96 * 1024;
/// What may wait of a sender although others have filled the rest.
const OWN: usize = 1024;
/// A bound that holds for any number of senders.
const ALL: usize = SHARED + 16 * OWN;

/// Bytes that wait for one receiver, by sender. While several senders' bytes wait, each may take two thirds of what the
/// others leave, so that there is always something left for one more.
#[derive(Debug, Default)]
pub(super) struct Senders {
    waiting: BTreeMap<ConnectionId, usize>,
    bytes: usize,
}

impl Senders {
    /// Counts a message of this size, or refuses it.
    pub(super) fn reserve(&mut self, sender: ConnectionId, bytes: usize) -> bool {
        let own = self.waiting.get(&sender).copied().unwrap_or(0);
        let others = self.bytes - own;
        let share = (SHARED.saturating_sub(others) / 3 * 2).clamp(OWN, OF_ONE);
        if own + bytes > share || self.bytes + bytes > ALL {
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
    pub(super) fn release(&mut self, sender: ConnectionId, bytes: usize) {
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
    use super::*;

    fn fill(senders: &mut Senders, sender: u64) -> usize {
        (0..).take_while(|_| senders.reserve(ConnectionId(sender), 256)).count() * 256
    }

    #[test]
    fn one_sender_has_64_kib_and_leaves_something_for_each_of_a_full_room() {
        let mut senders = Senders::default();
        assert_eq!(fill(&mut senders, 1), OF_ONE);
        assert!(fill(&mut senders, 2) >= 16 * 1024);
        assert!(fill(&mut senders, 3) >= 4 * 1024);
        let served = (4..20).filter(|sender| fill(&mut senders, *sender) >= OWN).count();
        assert_eq!(served, 16);
        for sender in 20..64 {
            fill(&mut senders, sender);
        }
        assert!(senders.bytes <= ALL);
    }

    #[test]
    fn what_is_written_makes_room_and_is_forgotten() {
        let mut senders = Senders::default();
        fill(&mut senders, 1);
        assert!(!senders.reserve(ConnectionId(1), 1));
        senders.release(ConnectionId(1), 256);
        assert!(senders.reserve(ConnectionId(1), 256));
        senders.release(ConnectionId(1), OF_ONE);
        assert!(senders.waiting.is_empty() && senders.bytes == 0);
    }
}
