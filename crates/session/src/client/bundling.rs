//! Several frames in one packet (PROTOCOL.md §9): which of them wait for the next.

use std::collections::BTreeMap;

use super::Participant;

/// The most frames that share a packet.
pub const FRAMES_PER_PACKET: u8 = 4;

/// How many of the latest frames wait to share a packet with the next, by listener.
#[derive(Debug)]
pub(super) struct Bundling<P> {
    waiting: BTreeMap<Participant<P>, u8>,
}

impl<P> Default for Bundling<P> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new() }
    }
}

impl<P: Copy + Ord> Bundling<P> {
    /// Whether the frame of this number waits (`None`), or leaves with how many frames before it.
    ///
    /// Packets end at multiples of their length, whenever a listener was added, so that one relayed
    /// packet serves all listeners with packets of that length.
    pub(super) fn next(
        &mut self,
        who: Participant<P>,
        sequence: u16,
        frames_per_packet: u8,
        must_leave: bool,
    ) -> Option<u8> {
        let waiting = self.waiting.get(&who).copied().unwrap_or(0);
        let length = frames_per_packet.clamp(1, FRAMES_PER_PACKET);
        let is_last = sequence % u16::from(length) == u16::from(length) - 1;
        if waiting + 1 < length && !is_last && !must_leave {
            self.waiting.insert(who, waiting + 1);
            return None;
        }
        self.waiting.remove(&who);
        Some(waiting)
    }

    /// What waits, which waits no more.
    pub(super) fn take(&mut self) -> BTreeMap<Participant<P>, u8> {
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_one_length_end_together_whenever_a_listener_was_added() {
        for length in 1..=FRAMES_PER_PACKET {
            let mut bundling = Bundling::default();
            for sequence in 65_500..65_530u16 {
                let listeners = u8::try_from((sequence - 65_500) / 7).unwrap() + 1;
                let leave: Vec<_> = (0..listeners)
                    .map(|who| bundling.next(Participant::Peer(who), sequence, length, false))
                    .collect();
                assert!(
                    leave.iter().all(|one| one.is_some() == leave[0].is_some()),
                    "{length}: {leave:?}"
                );
                assert!(leave.iter().flatten().all(|waiting| *waiting < length));
            }
        }
    }

    #[test]
    fn a_frame_that_must_leave_takes_those_that_wait_along() {
        let mut bundling = Bundling::default();
        assert_eq!(bundling.next(Participant::Peer(1), 9, 3, false), None);
        assert_eq!(bundling.next(Participant::Peer(1), 10, 3, true), Some(1));
        assert!(bundling.is_empty());
        assert_eq!(bundling.next(Participant::Peer(1), 12, 3, false), None);
        assert_eq!(bundling.take().len(), 1);
        assert_eq!(bundling.next(Participant::Peer(1), 13, 3, false), None);
    }
}
