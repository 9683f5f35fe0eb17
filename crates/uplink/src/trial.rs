//! Redundancy was begun, and is to show that it helps.

use std::time::Duration;

use crate::path_history::PacketLoss;

/// Redundancy that has not helped for so long does not.
const TRIAL: Duration = Duration::from_secs(3);
/// Less that stays unrepaired does not matter.
const NO_MATTER: f32 = 0.02;

/// What was known when redundancy began.
#[derive(Clone, Copy, Debug)]
struct Before {
    until: Duration,
    packets: PacketLoss,
    /// The share of frames that stays unrepaired for the listener that has the most of them.
    unrepaired: f32,
}

/// The trial of the present redundancy, if there is any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RedundancyTrial(Option<Before>);

impl RedundancyTrial {
    /// Takes what is known now. True, once, if as much stays unrepaired as before while more is
    /// lost: then redundancy makes matters worse, and that loss is congestion.
    pub(crate) fn has_failed(
        &mut self,
        now: Duration,
        is_redundant: bool,
        packets: PacketLoss,
        unrepaired: f32,
    ) -> bool {
        if !is_redundant {
            self.0 = None;
            return false;
        }
        // In a pause, and when a phrase begins, there is nothing to compare.
        if packets.settled == 0 {
            return false;
        }
        let before = *self.0.get_or_insert(Before { until: now + TRIAL, packets, unrepaired });
        if now < before.until {
            return false;
        }
        self.0 = Some(Before { until: Duration::MAX, ..before });
        unrepaired > before.unrepaired.max(NO_MATTER) && packets.is_more_than(before.packets, 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(lost: u64) -> PacketLoss {
        PacketLoss { settled: 100, lost }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn redundancy_that_loses_more_and_repairs_nothing_has_failed_once() {
        let mut trial = RedundancyTrial::default();
        assert!(!trial.has_failed(at(0), true, lost(10), 0.1));
        assert!(!trial.has_failed(at(2_900), true, lost(40), 0.3), "it is too early to tell");
        assert!(trial.has_failed(at(3_000), true, lost(40), 0.3));
        assert!(!trial.has_failed(at(6_000), true, lost(60), 0.5));
    }

    #[test]
    fn redundancy_that_begins_with_a_phrase_is_judged_by_what_comes_then() {
        let mut trial = RedundancyTrial::default();
        let nothing = PacketLoss::default();
        assert!(!trial.has_failed(at(0), true, nothing, 0.1));
        assert!(!trial.has_failed(at(100), true, lost(10), 0.1));
        assert!(!trial.has_failed(at(3_200), true, nothing, 0.3), "a pause");
        assert!(trial.has_failed(at(3_300), true, lost(40), 0.3));
    }

    #[test]
    fn redundancy_that_helps_or_changes_nothing_stays() {
        for (packets, unrepaired) in [(lost(40), 0.01), (lost(10), 0.3), (lost(40), 0.05)] {
            let mut trial = RedundancyTrial::default();
            assert!(!trial.has_failed(at(0), true, lost(10), 0.05));
            assert!(
                !trial.has_failed(at(3_000), true, packets, unrepaired),
                "{packets:?} {unrepaired}"
            );
        }
    }
}
