//! How much speech of one speaker is passed on to one listener.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::budget::{Bucket, Rate};
use crate::outbox::ConnectionId;

/// So long after its first packet a pair may speak twice as much: a frame is one packet in each of two sessions while
/// the pair changes from one to the other.
const DOUBLED: Duration = Duration::from_secs(10);

/// What of one speaker is passed on to one listener; what is more is dropped. Known from header and size alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoiceRates {
    /// A frame every 10 ms and a tenth more. At once: what a stalled link had not delivered of the last second.
    pub packets: Rate,
    /// Their bytes.
    pub bytes: Rate,
}

impl Default for VoiceRates {
    fn default() -> Self {
        Self {
            packets: Rate { burst: 128.0, per_second: 110.0 },
            bytes: Rate { burst: 48_000.0, per_second: 24_000.0 },
        }
    }
}

/// All pairs of one room of which one has spoken to the other.
#[derive(Debug, Default)]
pub(super) struct Policing(BTreeMap<(ConnectionId, ConnectionId), Pair>);

#[derive(Clone, Copy, Debug)]
struct Pair {
    since: Duration,
    packets: Bucket,
    bytes: Bucket,
}

impl Policing {
    /// Whether a packet of this size passes.
    pub(super) fn passes(
        &mut self,
        now: Duration,
        rates: &VoiceRates,
        from: ConnectionId,
        to: ConnectionId,
        bytes: usize,
    ) -> bool {
        let pair = self.0.entry((from, to)).or_insert_with(|| Pair {
            since: now,
            packets: Bucket::full(now, rates.packets),
            bytes: Bucket::full(now, rates.bytes),
        });
        let factor = if now < pair.since + DOUBLED { 2.0 } else { 1.0 };
        let steady = |rate: Rate| Rate { per_second: rate.per_second * factor, ..rate };
        pair.packets.take(now, steady(rates.packets), 1.0) && pair.bytes.take(now, steady(rates.bytes), bytes as f64)
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.0.retain(|(from, to), _| *from != connection && *to != connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn passed(policing: &mut Policing, from_ms: u64, to_ms: u64, every_us: u64, bytes: usize) -> u64 {
        let rates = VoiceRates::default();
        let times = (from_ms * 1_000..to_ms * 1_000).step_by(every_us as usize).map(Duration::from_micros);
        times.filter(|now| policing.passes(*now, &rates, A, B, bytes)).count() as u64
    }

    #[test]
    fn speech_in_frames_of_10_ms_passes_whole() {
        let mut policing = Policing::default();
        assert_eq!(passed(&mut policing, 0, 60_000, 10_000, 200), 6_000);
        assert_eq!(passed(&mut policing, 60_000, 120_000, 20_000, 450), 3_000, "at the highest bitrate");
    }

    #[test]
    fn a_flood_passes_at_the_rate_of_speech() {
        let mut policing = Policing::default();
        passed(&mut policing, 0, 12_000, 1_000, 100);
        let passed = passed(&mut policing, 12_000, 22_000, 1_000, 100);
        assert!((1_095..=1_105).contains(&passed), "{passed} in 10 s");
    }

    #[test]
    fn large_packets_pass_at_the_rate_of_speech_in_bytes() {
        let mut policing = Policing::default();
        passed(&mut policing, 0, 12_000, 10_000, 1_200);
        let passed = passed(&mut policing, 12_000, 22_000, 10_000, 1_200);
        assert!((199..=201).contains(&passed), "{passed} in 10 s");
    }

    #[test]
    fn a_second_that_was_not_delivered_passes_at_once() {
        let mut policing = Policing::default();
        passed(&mut policing, 0, 12_000, 20_000, 100);
        passed(&mut policing, 20_000, 20_001, 2_000, 100);
        let rates = VoiceRates::default();
        let at_once = (0..200).filter(|_| policing.passes(Duration::from_secs(25), &rates, A, B, 100)).count();
        assert_eq!(at_once, 128);
        policing.forget(B);
        assert!(policing.0.is_empty());
    }
}
