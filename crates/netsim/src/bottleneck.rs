//! The narrowest place on a path: a rate, and what happens to packets that come faster.

use std::time::Duration;

/// What happens to packets that come faster than the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// They wait, and are dropped when they would wait longer than this (a drop-tail queue).
    Queue(Duration),
    /// They are dropped when more than this many bytes came at once (a token bucket).
    Policer {
        /// Bytes that may come at once.
        burst_bytes: u32,
    },
}

/// A shared rate limit that packets pass one after the other.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    rate_bps: u32,
    excess: Excess,
    free_at: Duration,
    tokens: f64,
    filled_at: Duration,
    dropped: u64,
}

impl Bottleneck {
    /// A bottleneck of `rate_bps` bits per second, with nothing in it.
    pub fn new(rate_bps: u32, excess: Excess) -> Self {
        let tokens = match excess {
            Excess::Queue(_) => 0.0,
            Excess::Policer { burst_bytes } => burst_bytes.into(),
        };
        Self {
            rate_bps: rate_bps.max(1),
            excess,
            free_at: Duration::ZERO,
            tokens,
            filled_at: Duration::ZERO,
            dropped: 0,
        }
    }

    /// Changes the rate for packets that come from now on.
    pub fn set_rate_bps(&mut self, rate_bps: u32) {
        self.rate_bps = rate_bps.max(1);
    }

    /// When a packet of so many bytes that comes now has passed; `None` if it is dropped.
    pub fn pass(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        if !self.has_room(now, bytes) {
            self.dropped += 1;
            return None;
        }
        match self.excess {
            Excess::Queue(_) => {
                self.free_at = self.free_at.max(now) + self.transmission(bytes);
                Some(self.free_at)
            }
            Excess::Policer { .. } => {
                self.tokens -= bytes as f64;
                Some(now)
            }
        }
    }

    /// Whether a packet that comes now would pass.
    pub fn has_room(&mut self, now: Duration, bytes: usize) -> bool {
        match self.excess {
            Excess::Queue(longest) => self.free_at.saturating_sub(now) <= longest,
            Excess::Policer { burst_bytes } => {
                let elapsed = now.saturating_sub(self.filled_at).as_secs_f64();
                self.filled_at = self.filled_at.max(now);
                self.tokens = (self.tokens + elapsed * f64::from(self.rate_bps) / 8.0)
                    .min(burst_bytes.into());
                self.tokens >= bytes as f64
            }
        }
    }

    /// How long a packet that comes now would wait.
    pub fn queueing(&self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }

    /// Packets dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn transmission(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 * 8.0 / f64::from(self.rate_bps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_queue_delays_up_to_its_length_and_drops_what_comes_then() {
        // 100 bytes take 100 ms.
        let mut link = Bottleneck::new(8_000, Excess::Queue(150 * MS));
        let passed: Vec<_> = (0..4).map(|_| link.pass(Duration::ZERO, 100)).collect();
        assert_eq!(passed, [Some(100 * MS), Some(200 * MS), None, None]);
        assert_eq!((link.dropped(), link.pass(1_000 * MS, 100)), (2, Some(1_100 * MS)));
    }

    #[test]
    fn a_policer_delays_nothing_and_passes_its_rate() {
        let mut link = Bottleneck::new(8_000, Excess::Policer { burst_bytes: 200 });
        assert!((0..2).all(|_| link.pass(Duration::ZERO, 100) == Some(Duration::ZERO)));
        assert_eq!(link.pass(Duration::ZERO, 100), None);
        let passed = (1..=1_000u32).filter(|ms| link.pass(*ms * MS, 10).is_some()).count();
        assert!((99..=101).contains(&passed), "{passed}");
    }
}
