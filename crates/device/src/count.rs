//! How many samples a device has moved, counted by its callback and read by anyone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::SAMPLE_RATE;

/// Counts one stream's samples into a total that goes on when the device is opened again, maybe at
/// another rate.
#[derive(Debug)]
pub(crate) struct Counter {
    total: Arc<AtomicU64>,
    rate_hz: u64,
    /// Of a sample of 48 kHz, in parts of `rate_hz`.
    rest: u64,
}

impl Counter {
    pub(crate) fn new(total: &Arc<AtomicU64>, rate_hz: u32) -> Self {
        Self { total: Arc::clone(total), rate_hz: u64::from(rate_hz.max(1)), rest: 0 }
    }

    /// Wait-free: for real-time callbacks too.
    pub(crate) fn moved(&mut self, samples: usize) {
        let parts = samples as u64 * u64::from(SAMPLE_RATE) + self.rest;
        self.rest = parts % self.rate_hz;
        self.total.fetch_add(parts / self.rate_hz, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_sample_is_forgotten_at_another_rate() {
        let total = Arc::default();
        let mut counter = Counter::new(&total, 44_100);
        (0..44_100).for_each(|_| counter.moved(1));
        assert_eq!(total.load(Ordering::Relaxed), 48_000);
        Counter::new(&total, 16_000).moved(160);
        assert_eq!(total.load(Ordering::Relaxed), 48_480, "the total goes on");
    }
}
