//! How many segments may be on their way: as many as the path carries without making anything wait.
//!
//! Speech travels beside the data, so that a queue on the path is speech that comes late. The
//! window therefore follows the delay above the lowest seen (as LEDBAT does, RFC 6817), and only
//! steps back a little for losses, which on a wireless path say nothing about its load.

use std::time::Duration;

use voicemesh_common::RoundTrip;

use super::FLIGHT_SEGMENTS;

/// To begin with, and after a break.
const FIRST_WINDOW: f64 = 16.0;
/// Losses alone make it no smaller than this.
const LOSSY_WINDOW: f64 = 8.0;
/// However slow the path.
const LEAST_WINDOW: f64 = 2.0;
const MOST_WINDOW: f64 = FLIGHT_SEGMENTS as f64;
/// Up to this much above the lowest round trip the window grows. An acknowledgement may be held
/// back for a while.
const CALM: Duration = Duration::from_millis(40);
/// Beyond this much it shrinks.
const CROWDED: Duration = Duration::from_millis(80);
/// Once per round trip, by these.
const CROWDED_FACTOR: f64 = 0.7;
const LOSS_FACTOR: f64 = 0.85;
/// The lowest round trip is looked for over the last one to two of these.
const BASE_SPAN: Duration = Duration::from_secs(15);

/// Without an answer, a segment is sent again after this …
const FIRST_TIMEOUT: Duration = Duration::from_millis(600);
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);
/// … and this at most, each time after twice as long.
const MOST_TIMEOUT: Duration = Duration::from_secs(3);

/// One direction of one pipe.
#[derive(Clone, Debug)]
pub(super) struct Congestion {
    window: f64,
    /// Below it the window doubles each round trip.
    threshold: f64,
    round_trip: RoundTrip,
    base: Base,
    reduced_at: Duration,
    timeouts: u32,
}

/// The lowest round trip of this span and of the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Base {
    began: Duration,
    lowest: Option<Duration>,
    before: Option<Duration>,
}

impl Base {
    fn observe(&mut self, now: Duration, sample: Duration) -> Duration {
        if now >= self.began + BASE_SPAN {
            *self = Self { began: now, lowest: None, before: self.lowest };
        }
        let lowest = self.lowest.map_or(sample, |lowest| lowest.min(sample));
        self.lowest = Some(lowest);
        self.before.map_or(lowest, |before| before.min(lowest))
    }
}

impl Congestion {
    pub(super) fn new() -> Self {
        Self {
            window: FIRST_WINDOW,
            threshold: MOST_WINDOW,
            round_trip: RoundTrip::default(),
            base: Base::default(),
            reduced_at: Duration::ZERO,
            timeouts: 0,
        }
    }

    /// Segments that may be on their way.
    pub(super) fn window(&self) -> usize {
        self.window as usize
    }

    /// The smoothed round trip, acknowledgements' delay included.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.smoothed()
    }

    /// Segments were acknowledged for the first time; `sample` is the round trip of one that was
    /// sent once. The window grows only where it was what held data back.
    pub(super) fn acknowledged(
        &mut self,
        now: Duration,
        count: usize,
        sample: Option<Duration>,
        was_full: bool,
    ) {
        self.timeouts = 0;
        if let Some(sample) = sample {
            self.round_trip.measured(sample);
            let lowest = self.base.observe(now, sample);
            let queueing = sample.saturating_sub(lowest);
            if queueing > CROWDED {
                self.reduce(now, CROWDED_FACTOR, LEAST_WINDOW);
                return;
            }
            if queueing > CALM {
                return;
            }
        }
        if was_full {
            let step = if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
            self.window = (self.window + step * count as f64).min(MOST_WINDOW);
        }
    }

    /// Segments were overtaken by what was sent after them.
    pub(super) fn lost(&mut self, now: Duration) {
        self.reduce(now, LOSS_FACTOR, LOSSY_WINDOW.min(self.window));
    }

    /// Nothing was answered in time.
    pub(super) fn timed_out(&mut self, now: Duration) {
        self.timeouts = (self.timeouts + 1).min(8);
        self.reduce(now, 0.5, LEAST_WINDOW);
    }

    /// Another way is in use; what was known of the former one says nothing of it.
    pub(super) fn moved(&mut self) {
        *self = Self { window: FIRST_WINDOW.min(self.window.max(LOSSY_WINDOW)), ..Self::new() };
    }

    /// A segment sent so long ago without an answer is sent again.
    pub(super) fn timeout(&self) -> Duration {
        let first = self.round_trip().map_or(FIRST_TIMEOUT, |smoothed| {
            (smoothed + 4 * self.round_trip.variation()).max(LEAST_TIMEOUT)
        });
        first.saturating_mul(1 << self.timeouts).min(MOST_TIMEOUT)
    }

    fn reduce(&mut self, now: Duration, factor: f64, least: f64) {
        let round_trip = self.round_trip().unwrap_or(FIRST_TIMEOUT);
        if now < self.reduced_at + round_trip && self.reduced_at > Duration::ZERO {
            return;
        }
        self.reduced_at = now;
        self.window = (self.window * factor).max(least);
        self.threshold = self.window;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_window_grows_while_nothing_waits_and_shrinks_where_a_queue_grows() {
        let mut congestion = Congestion::new();
        for round in 0..20 {
            congestion.acknowledged(ms(round * 20), 16, Some(ms(20)), true);
        }
        assert_eq!(congestion.window(), FLIGHT_SEGMENTS);
        for round in 20..200 {
            congestion.acknowledged(ms(round * 20), 16, Some(ms(220)), true);
        }
        assert!(congestion.window() <= 4, "{}", congestion.window());
    }

    #[test]
    fn losses_alone_leave_a_useful_window() {
        let mut congestion = Congestion::new();
        for round in 0..100 {
            congestion.acknowledged(ms(round * 50), 8, Some(ms(50)), true);
            congestion.lost(ms(round * 50));
        }
        assert!(congestion.window() >= 8);
    }

    #[test]
    fn it_is_asked_again_later_each_time_and_at_once_after_an_answer() {
        let mut congestion = Congestion::new();
        congestion.acknowledged(ms(10), 1, Some(ms(10)), false);
        let first = congestion.timeout();
        assert_eq!(first, LEAST_TIMEOUT);
        for round in 0..20 {
            congestion.timed_out(ms(round * 1_000));
        }
        assert_eq!(congestion.timeout(), MOST_TIMEOUT);
        congestion.acknowledged(ms(30_000), 1, None, false);
        assert_eq!(congestion.timeout(), first);
    }

    #[test]
    fn a_path_that_has_become_longer_is_the_new_normal_after_a_while() {
        let mut congestion = Congestion::new();
        for round in 0..400 {
            congestion.acknowledged(ms(round * 20), 16, Some(ms(20)), true);
        }
        for round in 0..200 {
            congestion.acknowledged(ms(8_000 + round * 200), 16, Some(ms(200)), true);
        }
        assert!(congestion.window() >= FLIGHT_SEGMENTS / 2, "{}", congestion.window());
    }
}
