//! How much may be on its way to one peer. matchbox_socket keeps all that it is given, without a
//! bound, and says nothing of what it has sent; so the peer is asked.

use voicemesh_session::network::Reliability;

/// What surrounds each packet in memory.
const OVERHEAD_BYTES: u64 = 64;
/// After so many bytes the peer is asked what has arrived.
const PROBE_AFTER_BYTES: u64 = 8 * 1024;

/// Bytes by reliability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    reliable: u64,
    unreliable: u64,
}

impl Totals {
    fn of(&mut self, how: Reliability) -> &mut u64 {
        match how {
            Reliability::Reliable => &mut self.reliable,
            Reliability::Unreliable => &mut self.unreliable,
        }
    }
}

/// What may be on its way to a peer at most, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlightLimits {
    /// More breaks the connection.
    pub(crate) reliable: u64,
    /// More is lost.
    pub(crate) unreliable: u64,
}

/// Counts what was sent to one peer, and by its answers to probes what has arrived there.
#[derive(Debug, Default)]
pub(crate) struct SendLedger {
    sent: Totals,
    arrived: Totals,
    /// The probe without an answer, and what was sent before it.
    probe: Option<(u32, Totals)>,
    number: u32,
}

impl SendLedger {
    /// Counts a packet of this length. False if it would be too much.
    pub(crate) fn try_reserve(
        &mut self,
        how: Reliability,
        bytes: usize,
        limits: InFlightLimits,
    ) -> bool {
        let limit = match how {
            Reliability::Reliable => limits.reliable,
            Reliability::Unreliable => limits.unreliable,
        };
        let cost = cost(bytes);
        let has_room = *self.sent.of(how) - *self.arrived.of(how) + cost <= limit;
        if has_room {
            *self.sent.of(how) += cost;
        }
        has_room
    }

    /// The number of a probe that is to be sent now.
    pub(crate) fn next_probe(&mut self) -> Option<u32> {
        let in_flight = (self.sent.reliable - self.arrived.reliable)
            + (self.sent.unreliable - self.arrived.unreliable);
        if self.probe.is_some() || in_flight < PROBE_AFTER_BYTES {
            return None;
        }
        self.number = self.number.wrapping_add(1);
        self.probe = Some((self.number, self.sent));
        Some(self.number)
    }

    /// The answer to a probe. One that was not asked for has no effect.
    pub(crate) fn answered(&mut self, number: u32) {
        if let Some((asked, sent)) = self.probe
            && asked == number
        {
            (self.arrived, self.probe) = (sent, None);
        }
    }
}

/// What a packet of this length counts.
pub(crate) fn cost(bytes: usize) -> u64 {
    bytes as u64 + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: InFlightLimits = InFlightLimits { reliable: 20_000, unreliable: 10_000 };

    #[test]
    fn what_the_peer_has_not_answered_for_is_bounded_for_each_channel() {
        let mut ledger = SendLedger::default();
        let send = |ledger: &mut SendLedger, how| {
            (0..).take_while(|_| ledger.try_reserve(how, 936, LIMITS)).count()
        };
        assert_eq!(send(&mut ledger, Reliability::Unreliable), 10);
        assert_eq!(send(&mut ledger, Reliability::Reliable), 20);
        let number = ledger.next_probe().unwrap();
        assert_eq!(ledger.next_probe(), None, "one at a time");
        ledger.answered(number.wrapping_add(1));
        assert_eq!(send(&mut ledger, Reliability::Reliable), 0, "that is no answer");
        ledger.answered(number);
        ledger.answered(number);
        assert_eq!(send(&mut ledger, Reliability::Unreliable), 10);
        assert_eq!(send(&mut ledger, Reliability::Reliable), 20);
    }

    #[test]
    fn little_asks_nothing_and_an_answer_is_for_what_was_sent_before_its_probe() {
        let mut ledger = SendLedger::default();
        assert!(ledger.try_reserve(Reliability::Reliable, 7_000, LIMITS));
        assert_eq!(ledger.next_probe(), None);
        assert!(ledger.try_reserve(Reliability::Reliable, 7_000, LIMITS));
        let number = ledger.next_probe().unwrap();
        assert!(ledger.try_reserve(Reliability::Reliable, 5_000, LIMITS));
        assert!(!ledger.try_reserve(Reliability::Reliable, 5_000, LIMITS));
        ledger.answered(number);
        assert!(ledger.try_reserve(Reliability::Reliable, 14_000, LIMITS));
        assert!(!ledger.try_reserve(Reliability::Reliable, 5_000, LIMITS));
    }
}
