//! How much of what the server sends may be on its way at once.
//!
//! A narrow way here queues packets, and drops what its queue does not hold; TCP takes half a second
//! to send that again, and relayed speech stands still for as long. What the server has in flight is
//! bounded by the receive window (RFC 9293 §3.8.6), which systems make far larger than such a queue.
//! So while relayed speech comes late, the window is what arrives in one round trip and a short
//! while more; what does not fit waits at the server, which drops speech that is too old.
//!
//! A window that was announced cannot be taken back (RFC 9293 §3.8.6.2.1): a smaller one counts when
//! what the former allowed has arrived, and until then the system may have to drop what does not fit
//! its buffer. So a connection begins with a small window, which grows where it is what limits it.

use std::collections::VecDeque;
use std::time::Duration;

/// Between two calls of [`ReceiveWindow::update`].
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);
/// What arrives is taken over so many intervals: 4 s. In a second it may be half as much, while TCP
/// waits, or twice as much, when it has waited …
const INTERVALS: usize = 8;
/// … or over so many, when it is not connected for longer: 1 s.
const LEAST_INTERVALS: usize = 2;
/// The most of so many such rates counts.
const RATES: usize = 8;
/// So much of what arrives may queue on the way.
const QUEUE: Duration = Duration::from_millis(400);
/// Assumed while no round trip is known, in which the window grows and does not shrink.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// In bytes: three full segments. Linux takes no buffer that is much smaller.
const LEAST_BYTES: usize = 4 * 1024;
/// In bytes: what TCP sends in the first round trip, and a little more. 640 kbit/s with a round trip
/// of 200 ms.
pub(crate) const FIRST_BYTES: usize = 16 * 1024;
/// In bytes: all that a connection which begins with [`FIRST_BYTES`] can announce (RFC 7323 §2.3), as
/// Linux scales its window by its first buffer. Before version 6.11 the window stays as it was first.
const MOST_BYTES: usize = 64 * 1024 - 1;
/// When this share of the window arrives in each round trip it may be what limits the connection.
const FILLED: f64 = 0.5;
/// A window that is right is not changed for less than this.
const CHANGE: f64 = 0.25;
/// After speech was late last: links may be opened again until then, and what they send comes on
/// top of it.
const BOUNDED_FOR: Duration = Duration::from_secs(60);

/// Says which receive buffer a connection is to have.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    /// Bytes in all, one for each interval.
    received: VecDeque<u64>,
    /// In bytes per second.
    rates: VecDeque<f64>,
    late_at: Option<Duration>,
    bytes: usize,
}

impl ReceiveWindow {
    /// Of a connection that began with [`FIRST_BYTES`].
    pub(crate) fn new() -> Self {
        Self {
            received: VecDeque::new(),
            rates: VecDeque::new(),
            late_at: None,
            bytes: FIRST_BYTES,
        }
    }

    /// Takes how many bytes have arrived in all, and whether relayed speech comes late. Call it each
    /// [`INTERVAL`]; gives the size of the receive buffer, in bytes, if it is to change.
    pub(crate) fn update(
        &mut self,
        now: Duration,
        received: u64,
        is_late: bool,
        round_trip: Option<Duration>,
    ) -> Option<usize> {
        push(&mut self.received, received, INTERVALS + 1);
        let intervals = self.received.len() - 1;
        if let Some(first) = self.received.front().filter(|_| intervals >= LEAST_INTERVALS) {
            let seconds = INTERVAL.as_secs_f64() * intervals as f64;
            push(&mut self.rates, received.saturating_sub(*first) as f64 / seconds, RATES);
        }
        let wanted = if is_late {
            self.late_at = Some(now);
            self.bounded(round_trip?)?
        } else if self.late_at.take_if(|at| now >= *at + BOUNDED_FOR).is_some() {
            self.bytes.max(FIRST_BYTES)
        } else {
            self.grown(round_trip.unwrap_or(ROUND_TRIP))
        };
        (wanted != self.bytes).then(|| {
            self.bytes = wanted;
            wanted
        })
    }

    /// What arrives in a round trip and a short while more.
    fn bounded(&self, round_trip: Duration) -> Option<usize> {
        let rate = self.rates.iter().copied().reduce(f64::max)?;
        let bytes = (rate * (round_trip + QUEUE).as_secs_f64()) as usize;
        let bytes = bytes.clamp(LEAST_BYTES, MOST_BYTES);
        let before = self.bytes as f64;
        let is_about = (bytes as f64 - before).abs() <= CHANGE * before;
        Some(if is_about { self.bytes } else { bytes })
    }

    fn grown(&self, round_trip: Duration) -> usize {
        let mut latest = self.received.iter().rev();
        let arrived = latest.next().zip(latest.next()).map_or(0, |(now, before)| now - before);
        let rate = arrived as f64 / INTERVAL.as_secs_f64();
        if rate * round_trip.as_secs_f64() < FILLED * self.bytes as f64 {
            return self.bytes;
        }
        (self.bytes * 2).min(MOST_BYTES.max(self.bytes))
    }
}

fn push<T>(queue: &mut VecDeque<T>, value: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection by which `rate` bytes per second arrive, late at these times; when the buffer
    /// changes, in intervals, and to what.
    fn changes(
        rate: impl Fn(u64) -> u64,
        is_late: impl Fn(u64) -> bool,
        round_trip: Duration,
        intervals: u64,
    ) -> Vec<(u64, usize)> {
        let (mut window, mut received) = (ReceiveWindow::new(), 0);
        let mut update = |at: u64| {
            received += rate(at) / 2;
            window.update(INTERVAL * at as u32, received, is_late(at), Some(round_trip))
        };
        (0..intervals).filter_map(|at| Some((at, update(at)?))).collect()
    }

    const NEAR: Duration = Duration::from_millis(20);

    #[test]
    fn speech_that_is_in_time_leaves_the_window_as_it_is_unless_that_is_too_small() {
        assert_eq!(changes(|_| 8_000, |_| false, NEAR, 1_000), []);
        let far = Duration::from_millis(300);
        let grows = [(1, 2 * FIRST_BYTES), (2, MOST_BYTES)];
        assert_eq!(changes(|_| 200_000, |_| false, far, 1_000), grows, "1.6 Mbit/s, far away");
    }

    #[test]
    fn while_speech_is_late_the_window_is_what_arrives_in_a_round_trip_and_0_4_s() {
        let late = |_| true;
        assert_eq!(changes(|_| 8_000, late, NEAR, 1_000), [(2, LEAST_BYTES)], "64 kbit/s");
        assert_eq!(changes(|_| 25_000, late, NEAR, 1_000), [(2, 10_500)], "200 kbit/s");
        let far = Duration::from_millis(600);
        assert_eq!(changes(|_| 25_000, late, far, 1_000), [(2, 25_000)], "200 kbit/s, far away");
        assert_eq!(changes(|_| 10_000_000, late, NEAR, 1_000), [(2, MOST_BYTES)]);
    }

    #[test]
    fn a_moment_in_which_little_arrives_does_not_make_the_window_smaller() {
        let rate = |at| if at % 6 < 2 { 0 } else { 64_000 };
        let late = |at| at >= 10;
        assert_eq!(changes(rate, late, NEAR, 1_000), [(10, 21_504)]);
    }

    #[test]
    fn a_window_that_was_the_limit_itself_grows_until_it_is_not() {
        // As long as the window is all that arrives in a round trip.
        let round_trip = Duration::from_millis(300);
        for is_late in [false, true] {
            let (mut window, mut received, mut buffer) = (ReceiveWindow::new(), 0, LEAST_BYTES);
            window.bytes = buffer;
            for at in 0..200_u32 {
                let rate = (buffer as f64 / round_trip.as_secs_f64()).min(60_000.0);
                received += (rate / 2.0) as u64;
                let change = window.update(INTERVAL * at, received, is_late, Some(round_trip));
                buffer = change.unwrap_or(buffer);
            }
            assert!(buffer as f64 / round_trip.as_secs_f64() > 60_000.0, "{buffer} bytes");
            assert!(buffer <= MOST_BYTES);
        }
    }

    #[test]
    fn the_window_is_as_at_first_a_minute_after_speech_was_late_last() {
        let late = |at| (10..20).contains(&at) || at == 100;
        let changes = changes(|_| 8_000, late, NEAR, 1_000);
        assert_eq!(changes, [(10, LEAST_BYTES), (220, FIRST_BYTES)]);
    }
}
