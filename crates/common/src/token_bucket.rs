//! A token bucket: so much at once, and so much per second after that.

use std::time::Duration;

/// So much at once, and so much per second after that. Finite, not negative, and exact to a
/// billionth of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// What a rested bucket holds. At most 9 × 10⁹.
    pub burst: f64,
    /// What flows in each second. At most 9 × 10⁹.
    pub per_second: f64,
}

impl Rate {
    /// Parameters as in the fields.
    pub const fn new(burst: f64, per_second: f64) -> Self {
        Self { burst, per_second }
    }

    /// Both so many times over.
    pub fn times(self, factor: f64) -> Self {
        Self { burst: self.burst * factor, per_second: self.per_second * factor }
    }

    fn most(self) -> i128 {
        level(self.burst)
    }

    /// What flows in one nanosecond, in parts of a token as [`TokenBucket::level`] counts them.
    fn per_nanosecond(self) -> i128 {
        billionths(self.per_second)
    }
}

/// In a token: a billionth of a billionth, so that a rate in billionths of a token per second fills
/// by a whole number of them in each nanosecond. Nothing is rounded, however often it is filled.
const PARTS: f64 = 1e18;
const BILLION: i128 = 1_000_000_000;

fn billionths(amount: f64) -> i128 {
    i128::from((amount * 1e9).round() as i64)
}

fn level(amount: f64) -> i128 {
    billionths(amount) * BILLION
}

/// A bucket that begins full. Its rate is named with each call, because many buckets share one and
/// some change it. Time that goes backwards fills nothing.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    level: i128,
    filled_at: Duration,
}

impl TokenBucket {
    /// A full one.
    pub fn full(now: Duration, rate: Rate) -> Self {
        Self { level: rate.most(), filled_at: now }
    }

    /// Lets in what has flowed since the last time.
    pub fn fill(&mut self, now: Duration, rate: Rate) {
        let passed = now.saturating_sub(self.filled_at).as_nanos() as i128;
        let flowed = passed.saturating_mul(rate.per_nanosecond());
        self.level = self.level.saturating_add(flowed).min(rate.most());
        self.filled_at = now.max(self.filled_at);
    }

    /// The latest time of a [`fill`](Self::fill), or of what fills as well: [`take`](Self::take) and
    /// [`has_any`](Self::has_any).
    pub fn filled_at(&self) -> Duration {
        self.filled_at
    }

    /// The tokens that were in it when it was filled; fewer than none after a
    /// [`charge`](Self::charge).
    pub fn tokens(&self) -> f64 {
        self.level as f64 / PARTS
    }

    /// The tokens that will be in it at `now`.
    pub fn tokens_at(&self, now: Duration, rate: Rate) -> f64 {
        let mut then = *self;
        then.fill(now, rate);
        then.tokens()
    }

    /// After what time it holds `amount`, if nothing is taken; zero if it does now, and
    /// [`Duration::MAX`] if it never will.
    pub fn time_until(&self, now: Duration, rate: Rate, amount: f64) -> Duration {
        let mut then = *self;
        then.fill(now, rate);
        let missing = level(amount) - then.level;
        if missing <= 0 {
            return Duration::ZERO;
        }
        if rate.per_nanosecond() <= 0 || level(amount) > rate.most() {
            return Duration::MAX;
        }
        let nanoseconds = (missing - 1) / rate.per_nanosecond() + 1;
        u64::try_from(nanoseconds).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// Whether anything is in it.
    pub fn has_any(&mut self, now: Duration, rate: Rate) -> bool {
        self.fill(now, rate);
        self.level > 0
    }

    /// Takes `amount`, or nothing.
    pub fn take(&mut self, now: Duration, rate: Rate, amount: f64) -> bool {
        self.fill(now, rate);
        let enough = self.level >= level(amount);
        if enough {
            self.charge(amount);
        }
        enough
    }

    /// Takes `amount`, or what there is of it.
    pub fn take_up_to(&mut self, amount: f64) {
        self.level = self.level.saturating_sub(level(amount)).max(self.level.min(0));
    }

    /// Takes what was spent already, even if there is less in it: then it holds less than nothing
    /// for a while.
    pub fn charge(&mut self, amount: f64) {
        self.level = self.level.saturating_sub(level(amount));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate::new(3.0, 2.0);
        let mut bucket = TokenBucket::full(Duration::ZERO, rate);
        let mut take = |at| bucket.take(ms(at), rate, 1.0);
        assert!(take(0) && take(0) && take(0));
        assert!(!take(0) && !take(499));
        assert!(take(500) && !take(500));
        assert!(
            take(60_000) && take(60_000) && take(60_000) && !take(60_000),
            "it holds no more than its burst"
        );
    }

    #[test]
    fn a_bucket_that_was_overcharged_gives_nothing_until_it_is_filled_again() {
        let rate = Rate::new(10.0, 2.0);
        let mut bucket = TokenBucket::full(Duration::ZERO, rate);
        assert!(bucket.has_any(Duration::ZERO, rate));
        bucket.charge(14.0);
        assert!(!bucket.has_any(ms(1_990), rate));
        assert!(bucket.has_any(ms(2_010), rate));
    }

    #[test]
    fn time_that_goes_backwards_fills_nothing() {
        let rate = Rate::new(1.0, 1.0);
        let mut bucket = TokenBucket::full(Duration::from_secs(10), rate);
        assert!(bucket.take(Duration::from_secs(10), rate, 1.0));
        assert!(!bucket.take(Duration::from_secs(5), rate, 1.0));
        assert!(!bucket.take(Duration::from_secs(10), rate, 1.0));
        assert!(bucket.take(Duration::from_secs(11), rate, 1.0));
    }

    /// A tenth of a second a million times is 100,000 s to the nanosecond, and to the token.
    #[test]
    fn nothing_is_rounded_however_often_it_is_filled() {
        let rate = Rate::new(20_000.0, 0.1);
        let mut bucket = TokenBucket::full(Duration::ZERO, rate);
        bucket.charge(20_000.0);
        (1..1_000_000).for_each(|tenth| bucket.fill(ms(100 * tenth), rate));
        assert!(!bucket.take(
            Duration::from_secs(100_000) - Duration::from_nanos(1),
            rate,
            10_000.0
        ));
        assert!(bucket.take(Duration::from_secs(100_000), rate, 10_000.0));
        assert_eq!(bucket.tokens(), 0.0);
    }

    #[test]
    fn after_the_time_that_it_names_it_holds_what_was_asked_for_and_not_before() {
        for rate in [Rate::new(3.0, 1.0 / 3.0), Rate::new(3.0, 1.0 / 12.0), Rate::new(3.0, 7.0)] {
            let mut bucket = TokenBucket::full(ms(5), rate);
            assert_eq!(bucket.time_until(ms(5), rate, 3.0), Duration::ZERO);
            bucket.charge(3.5);
            let after = bucket.time_until(ms(5), rate, 2.0);
            let early = ms(5) + after - Duration::from_nanos(1);
            assert!(!bucket.take(early, rate, 2.0) && bucket.take(ms(5) + after, rate, 2.0));
        }
        let never = Rate::new(1.0, 0.0);
        let mut bucket = TokenBucket::full(ms(0), never);
        assert!(bucket.take(ms(0), never, 1.0));
        assert_eq!(bucket.time_until(ms(0), never, 1.0), Duration::MAX);
        let small = Rate::new(1.0, 1.0);
        assert_eq!(TokenBucket::full(ms(0), small).time_until(ms(0), small, 2.0), Duration::MAX);
    }

    #[test]
    fn what_there_is_of_a_token_is_taken_and_no_more() {
        let rate = Rate::new(1.5, 1.0);
        let mut bucket = TokenBucket::full(ms(0), rate);
        bucket.take_up_to(1.0);
        assert_eq!(bucket.tokens(), 0.5);
        bucket.take_up_to(1.0);
        assert_eq!(bucket.tokens(), 0.0);
        assert_eq!(bucket.tokens_at(ms(250), rate), 0.25);
    }

    /// The numbers of the largest rates, after a year without a call.
    #[test]
    fn large_rates_and_long_times_do_not_overflow() {
        let rate = Rate::new(9e9, 9e9);
        let mut bucket = TokenBucket::full(ms(0), rate);
        bucket.charge(9e9);
        bucket.fill(Duration::from_secs(365 * 24 * 3_600), rate);
        assert_eq!(bucket.tokens(), 9e9);
        bucket.fill(Duration::MAX, rate);
        assert!(bucket.take(Duration::MAX, rate, 9e9) && !bucket.has_any(Duration::MAX, rate));
    }
}
